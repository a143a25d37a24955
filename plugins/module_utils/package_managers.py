# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""apt, dnf and pacman: how each is asked, waited for and told to hold. The edge; what to do is decided in ``packages``.

A transaction runs in a session of its own and writes to a log file, not to a pipe: when the controller dies or ssh is
cut, it goes on to its end, and the next run waits for it. A journal beside it says that it is ours, so that the next
run may finish what a power cut left half-done; what others left half-done is named and not touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cmp_to_key

from .facts.packaging import apt_files, installed_packages
from .files import make_folder, remove, replace_text
from .host import PATH, Completed, Host
from .ownership import STATE, slug
from .package_failures import Context, explain, last_words, may_be_stale, recognise
from .packages import (
    MANAGED,
    RPM_FORMAT,
    RPM_KEY,
    Compare,
    Package,
    Pin,
    Plan,
    Repository,
    Step,
    Wanted,
    compare_debian,
    compare_rpm,
    contradictions,
    deb822,
    is_older,
    matches,
    newest,
    parse_ignored,
    parse_locks,
    parse_madison,
    parse_removed,
    parse_rpm,
    parse_versionlock,
    preferences,
    rpm_packages,
    yum_repo,
)

LOG = "/var/log/gpunode.ready/packages.log"
JOURNAL = f"{STATE}/packages.json"
LOG_LIMIT = 8 << 20

# No questions, no restarts of services behind our back, no configuration files of the user's replaced.
ENVIRONMENT = {
    "PATH": PATH,
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    "APT_LISTBUGS_FRONTEND": "none",
    "NEEDRESTART_MODE": "l",
    "NEEDRESTART_SUSPEND": "1",
    "UCF_FORCE_CONFFOLD": "1",
}


class PackageError(Exception):
    """Why the packages are not as wanted, as sentences that say what is wrong and what mends it."""


@dataclass(frozen=True)
class Request:
    """What a task asks for. ``held`` None: holds are left as they are."""

    name: str
    wanted: tuple[Wanted, ...] = ()
    repository: Repository | None = None
    held: bool | None = None
    hold_also: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    pins: tuple[Pin, ...] = ()
    allow_change: bool = False
    recommends: bool = False
    lock_timeout_seconds: float = 300
    download_timeout_seconds: float = 30
    timeout_seconds: float = 3600


def described(pid: int) -> str:
    """A process as people look for it: its pid and command line."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read(4096).replace(b"\0", b" ").decode(errors="replace").strip()
        if not command:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                command = file.read().strip()
    except OSError:
        command = ""
    return f"pid {pid} ({command or 'its command is unknown'})"


def lock_owner(path: str) -> str | None:
    """Who holds a POSIX lock on a file, described; None where nobody does or there is no such file."""
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _whence, _start, _length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
        inode = os.fstat(descriptor).st_ino
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if kind == fcntl.F_UNLCK:
        return None
    if pid <= 0:  # held through another namespace, or by an open file rather than a process
        with contextlib.suppress(OSError), open("/proc/locks", encoding="ascii", errors="replace") as file:
            pid = next((lock.pid for lock in parse_locks(file.read()) if lock.inode == inode and lock.pid > 0), 0)
    return described(pid) if pid > 0 else "a process outside this container or namespace"


def opener_of(path: str) -> str | None:
    """Which process has a file open, described; None where none has."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{entry}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{entry}/fd/{descriptor}") == path:
                        return described(int(entry))
    return None


class Manager:
    """What all package managers share. ``skew`` tells by how much the node's clock is off, as far as that is known."""

    name = ""
    compare: Compare = staticmethod(compare_rpm)
    locks: tuple[str, ...] = ()
    log = LOG

    def __init__(self, host: Host, request: Request) -> None:
        self.host = host
        self.request = request
        self.skew_seconds: float | None = None

    # What there is

    def installed(self) -> dict[str, Package]:
        """Every package of the node. rpm's own patterns are no help: they know no versions, and [!c] means ! or c."""
        try:
            return installed_packages(self.host, self.name)
        except OSError as error:
            raise PackageError(
                f"{self.request.name}: what is installed on this node cannot be read: {error}. Nothing was changed."
            ) from None

    def interrupted(self) -> list[str]:
        """What an interrupted transaction left, beside packages in a broken state."""
        return []

    def unfinished(self) -> list[str]:
        """What a killed transaction of ours was at, where the package database may call it whole although it is not.

        dpkg's own states tell that; neither rpm nor pacman knows whether the scripts of a package were run.
        """
        return []

    # Files

    def key_path(self, repository: Repository) -> str:
        raise NotImplementedError

    def repository_path(self, repository: Repository) -> str:
        raise NotImplementedError

    def repository_text(self, repository: Repository) -> str:
        raise NotImplementedError

    def other_files(self, installed: Mapping[str, Package]) -> dict[str, str]:
        """Files of our own beside the repository's, such as those that hold packages."""
        return {}

    def contradictions(self, repository: Repository) -> list[str]:
        return []

    # Locks

    def holder(self) -> tuple[str, str] | None:
        """The lock that is held, and by whom."""
        for path in self.locks:
            owner = lock_owner(path)
            if owner is not None:
                return path, owner
        return None

    def wait(self) -> None:
        """Wait until no other package manager is at work. Raises ``PackageError`` at the limit, naming the holder."""
        start = time.monotonic()
        while True:
            held = self.holder()
            if held is None:
                return
            waited = time.monotonic() - start
            if waited >= self.request.lock_timeout_seconds:
                raise PackageError(
                    f"{self.request.name}: {held[1]} has held {held[0]} for the {waited:.0f} s that this run waited "
                    "(`lock_timeout_seconds`). Nothing was changed. Let it finish (or stop it, if it hangs), then run "
                    "again."
                )
            time.sleep(min(0.5, max(0.05, self.request.lock_timeout_seconds - waited)))

    # Doing

    def refresh(self) -> None:
        """Read the lists of our repository anew."""

    def repair(self) -> None:
        """Finish a transaction of ours that was interrupted."""
        raise PackageError(f"{self.request.name}: packages are broken, and {self.name} cannot mend that by itself.")

    def repair_command(self) -> str:
        return ""

    def transact(self, plan: Plan, installed: Mapping[str, Package]) -> None:
        raise NotImplementedError

    def hold(self, names: Sequence[str]) -> None:
        """Hold packages; where a file does it, nothing is left to do."""

    def release(self, names: Sequence[str]) -> None:
        """The inverse of ``hold``."""

    def versions(self, names: Iterable[str]) -> dict[str, list[str]]:
        """What can be had of each, the newest first, as far as that is known without changing anything."""
        return {}

    def predict(self, plan: Plan) -> dict[str, str]:
        """The versions that the plan would install, as far as they are known without changing anything."""
        steps = [*plan.install, *plan.reinstall]
        known = self.versions(step.name for step in steps) if steps else {}
        return {
            step.name: newest(known.get(step.name, []), step.version, self.compare) or step.version for step in steps
        }

    # Running

    def context(self) -> Context:
        repository = self.request.repository
        return Context(
            name=self.request.name,
            url=repository.url if repository else "",
            url_variable=repository.url_variable if repository else "",
            now=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            log_path=self.log,
            skew_seconds=self.skew_seconds,
            manager=self.name,
        )

    def fail(self, answer: Completed) -> PackageError:
        return PackageError(explain(answer.out, self.context()))

    def logged(self, *argv: str, timeout_seconds: float, killable: bool) -> Completed:
        """Run a command into the log. One that must not be killed is left to end by itself when the time is up."""
        descriptor = self._open_log(" ".join(argv))
        try:
            start = os.fstat(descriptor).st_size
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=descriptor,
                    stderr=subprocess.STDOUT,
                    env={**ENVIRONMENT, **{name: os.environ[name] for name in PROXIES if name in os.environ}},
                    start_new_session=True,
                )
            except OSError as error:
                return Completed(127, f"{argv[0]}: {error.strerror}", "")
            try:
                rc = process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                if not killable:
                    raise PackageError(
                        f"{self.request.name}: {' '.join(argv[:4])} … has run for {timeout_seconds:.0f} s "
                        f"(`timeout_seconds`) and goes on as pid {process.pid}: to kill it would leave packages "
                        f"half-installed. Its progress: tail -f {self.log}. Run again when it is done."
                    ) from None
                rc = 124
                for order in (signal.SIGTERM, signal.SIGKILL):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, order)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(10)
                        break
        finally:
            os.close(descriptor)
        with open(self.log, "rb") as file:
            file.seek(start)
            output = file.read().decode(errors="replace")
        return Completed(rc, output, "")

    def _open_log(self, command: str) -> int:
        """The log, with a line that says what is run now. Raises ``PackageError`` where it cannot be written."""
        make_folder(os.path.dirname(self.log), 0o750)
        with contextlib.suppress(OSError):
            if os.lstat(self.log).st_size > LOG_LIMIT:
                os.replace(self.log, f"{self.log}.1")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            descriptor = os.open(self.log, flags, 0o640)
            try:
                os.write(descriptor, f"\n=== {stamp} {self.request.name}: {command}\n".encode())
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            raise PackageError(
                f"{self.request.name}: {self.log}, where the package manager's words go, cannot be written "
                f"({error.strerror}), so it was not started: `{command}`. Free space under /var/log, or see who keeps "
                "the file from being written, then run again."
            ) from None
        return descriptor

    def too_slow(self, what: str, seconds: float) -> PackageError:
        context = self.context()
        return PackageError(
            f"{self.request.name}: {what} from {context.url or 'the repositories'} was not done within {seconds:.0f} s "
            f"and was stopped; nothing was installed. The server or the way to it is too slow: {context.elsewhere}. "
            f"Its whole output: {self.log}."
        )


PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


# --- The journal: whether what lies half-done is ours -------------------------------------------------------------


def open_journal(name: str, packages: Iterable[str]) -> None:
    """Say, on disk, that a transaction of ours is under way."""
    text = json.dumps({"name": name, "packages": sorted(packages), "started": int(time.time())}) + "\n"
    replace_text(JOURNAL, text, mode=0o600)


def close_journal() -> None:
    remove(JOURNAL)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(JOURNAL))


@dataclass(frozen=True)
class Journal:
    """A transaction of ours that was interrupted: its packages, and when it began, in seconds since the epoch."""

    packages: tuple[str, ...] = ()
    started: float = 0


def journal() -> Journal | None:
    """The transaction that was interrupted; None where none of ours was. One that cannot be read names no package."""
    try:
        with open(JOURNAL, encoding="utf-8") as file:
            told = json.load(file)
        return Journal(tuple(str(name) for name in told["packages"]), float(told["started"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Journal()


# --- apt ---------------------------------------------------------------------------------------------------------


class Apt(Manager):
    name = "apt"
    compare = staticmethod(compare_debian)
    locks = (
        "/var/lib/dpkg/lock-frontend",
        "/var/lib/dpkg/lock",
        "/var/lib/apt/lists/lock",
        "/var/cache/apt/archives/lock",
    )

    def interrupted(self) -> list[str]:
        return self.host.glob("/var/lib/dpkg/updates/[0-9]*")

    def repair_command(self) -> str:
        return "dpkg --configure -a"

    def key_path(self, repository: Repository) -> str:
        return f"/etc/apt/keyrings/{repository.name}.asc"

    def repository_path(self, repository: Repository) -> str:
        return f"/etc/apt/sources.list.d/{repository.name}.sources"

    def repository_text(self, repository: Repository) -> str:
        return deb822(repository, self.key_path(repository))

    def other_files(self, installed: Mapping[str, Package]) -> dict[str, str]:
        if not self.request.pins:
            return {}
        repository = self.request.repository
        name = repository.name if repository else slug(self.request.name)
        return {f"/etc/apt/preferences.d/{name}.pref": preferences(self.request.pins)}

    def contradictions(self, repository: Repository) -> list[str]:
        files = {
            path: sources
            for path, sources in apt_files(self.host).items()
            if path != self.repository_path(repository) and path not in repository.replaces
        }
        return contradictions(repository, self.key_path(repository), files)

    def _options(self) -> list[str]:
        stall = f"{self.request.download_timeout_seconds:.0f}"
        return [
            "-qy",
            "-oAcquire::Retries=3",
            f"-oAcquire::http::Timeout={stall}",
            f"-oAcquire::https::Timeout={stall}",
            "-oAcquire::Languages=none",
            "-oDpkg::Use-Pty=0",
            "-oDPkg::Lock::Timeout=60",
            "-oDpkg::Options::=--force-confdef",
            "-oDpkg::Options::=--force-confold",
        ]

    def _get(self, *argv: str, killable: bool, limit: float | None = None) -> Completed:
        seconds = self.request.timeout_seconds if limit is None else min(limit, self.request.timeout_seconds)
        while True:
            answer = self.logged("apt-get", *self._options(), *argv, timeout_seconds=seconds, killable=killable)
            found = recognise(answer.out) if not answer.ok else None
            if found is None or found[0].id != "locked" or self.holder() is None:
                return answer
            self.wait()  # somebody was quicker between our look and apt's own

    def refresh(self) -> None:
        repository = self.request.repository
        if repository is None:
            return
        limit = max(120.0, 10 * self.request.download_timeout_seconds)
        answer = self._get(
            f"-oDir::Etc::sourcelist={self.repository_path(repository)}",
            "-oDir::Etc::sourceparts=-",
            "-oAPT::Get::List-Cleanup=0",
            "update",
            killable=True,
            limit=limit,
        )
        if answer.rc == 124:
            raise self.too_slow("reading the lists", limit)
        # Older apt calls a repository that it could not read a warning, and succeeds.
        unread = any(
            line.startswith(("W: Failed to fetch", "E:", "W: GPG error", "W: Some index files"))
            for line in answer.out.splitlines()
        )
        if not answer.ok or unread:
            raise self.fail(answer)

    def _refresh_all(self) -> None:
        """The lists of every repository. One of somebody else's that fails is no failure of ours."""
        limit = max(300.0, 20 * self.request.download_timeout_seconds)
        self._get("update", killable=True, limit=limit)

    def repair(self) -> None:
        answer = self.logged(
            "dpkg",
            "--force-confdef",
            "--force-confold",
            "--configure",
            "-a",
            timeout_seconds=self.request.timeout_seconds,
            killable=False,
        )
        if not answer.ok:
            raise self.fail(answer)
        # what it was killed in the middle of unpacking has nothing to configure yet
        half = [one.name for one in self.installed().values() if one.half_unpacked]
        if half:
            answer = self._get("--reinstall", "install", *half, killable=False)
            if not answer.ok:
                raise self.fail(answer)

    def versions(self, names: Iterable[str]) -> dict[str, list[str]]:
        return parse_madison(self.host.run("apt-cache", "madison", *names, timeout_seconds=60).out)

    def _specs(self, steps: Sequence[Step], resolve: bool) -> list[str]:
        """What apt is asked for: each package, at the newest version that matches.

        apt itself knows patterns that only end in a star. Every look at its lists costs, so unless one of them failed
        (``resolve``) those are left to it.
        """
        asked = [step for step in steps if step.version and (resolve or not re.fullmatch(r"[^*?[]+\*", step.version))]
        known = self.versions(step.name for step in asked) if asked else {}
        specs = []
        for step in steps:
            if step not in asked:
                specs.append(f"{step.name}={step.version}" if step.version else step.name)
                continue
            chosen = newest(known.get(step.name, []), step.version, compare_debian)
            if chosen is None:
                raise Unavailable(step, known.get(step.name, []))
            specs.append(f"{step.name}={chosen}")
        return specs

    def _install(
        self, steps: Sequence[Step], reinstall: Sequence[Step], absent: Sequence[str], resolve: bool
    ) -> list[str]:
        extra = ["--reinstall"] if reinstall or any(step.before for step in steps) else []
        extra += [] if self.request.recommends else ["--no-install-recommends"]
        if self.request.allow_change:
            extra += ["--allow-change-held-packages", "--allow-downgrades"]
        return [*extra, "install", *self._specs([*steps, *reinstall], resolve), *(f"{name}-" for name in absent)]

    def transact(self, plan: Plan, installed: Mapping[str, Package]) -> None:
        early = [step for step in plan.install if step.first]
        late = [step for step in plan.install if not step.first] + self._companions(installed)
        if early:
            self._transact(early, (), (), installed)
        if late or plan.reinstall or plan.remove:
            self._transact(late, plan.reinstall, plan.remove, installed)

    def _companions(self, installed: Mapping[str, Package]) -> list[Step]:
        """Installed packages that a pin moves along. apt changes no held package, and downgrades none, unless named."""
        if not self.request.allow_change:
            return []
        named = {item.name for item in self.request.wanted} | set(self.request.absent)
        steps = [
            Step(name, pin.version, package.version, "it follows")
            for pin in self.request.pins
            for name, package in installed.items()
            if package.present
            and name not in named
            and any(fnmatchcase(name, pattern) for pattern in pin.packages)
            and not matches(package.version, pin.version)
        ]
        known = self.versions(step.name for step in steps) if steps else {}
        return [step for step in steps if newest(known.get(step.name, []), step.version, compare_debian)]

    def _transact(
        self,
        steps: Sequence[Step],
        reinstall: Sequence[Step],
        absent: Sequence[str],
        installed: Mapping[str, Package],
    ) -> None:
        for attempt in (1, 2):
            try:
                argv = self._install(steps, reinstall, absent, attempt == 2)
            except Unavailable as error:
                if attempt == 2:
                    raise PackageError(f"{self.request.name}: {error}") from None
                self._refresh_all()
                continue
            fetched = self._get("--download-only", *argv, killable=True)
            if fetched.ok:
                self._guard(fetched.out, absent)
                break
            if fetched.rc == 124:
                raise self.too_slow("downloading packages", self.request.timeout_seconds)
            if attempt == 2 or not may_be_stale(fetched.out):
                raise self.fail(fetched)
            self._refresh_all()
        done = self._get(*argv, killable=False)
        if not done.ok:
            raise self.fail(done)

    def _guard(self, foretold: str, absent: Sequence[str]) -> None:
        """Refuse what would take away packages that nobody named."""
        lost = [name for name in parse_removed(foretold) if name not in absent]
        if lost:
            raise PackageError(
                f"{self.request.name}: this would remove {', '.join(lost)}, which nobody asked for. Nothing was "
                f"changed. If they may go, name them in `absent`; if not, want versions that live beside them."
            )

    def hold(self, names: Sequence[str]) -> None:
        self._mark("hold", names)

    def release(self, names: Sequence[str]) -> None:
        self._mark("unhold", names)

    def _mark(self, order: str, names: Sequence[str]) -> None:
        answer = self.host.run("apt-mark", order, *names, timeout_seconds=120)
        if not answer.ok:
            raise PackageError(
                f"{self.request.name}: apt-mark {order} {' '.join(names)}: {last_words(answer.err or answer.out)}"
            )


class Unavailable(Exception):
    """No repository has a package at the version wanted."""

    def __init__(self, step: Step, known: Sequence[str]) -> None:
        there = f"there are {', '.join(known[:5])}" if known else "no repository of this node has the package at all"
        super().__init__(
            f"{step.name} {step.version} cannot be had: {there}. Nothing was installed. Want one of those, or give the "
            "repository that has it."
        )


# --- dnf, yum ----------------------------------------------------------------------------------------------------


class Dnf(Manager):
    """dnf 4 (yum on RHEL 8 is its other name) and dnf 5.

    Packages of our own repository are held by ``excludepkgs`` in its file: that works without the versionlock plugin,
    which RHEL does not install, and is what upstream advises for Kubernetes. Our own transactions lift it. Packages of
    the distribution's repositories can only be held by versionlock, and only where that is there.
    """

    name = "dnf"
    locks = ("/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock")
    pid_files = (
        "/var/cache/dnf/metadata_lock.pid",
        "/var/cache/dnf/download_lock.pid",
        "/var/lib/dnf/rpmdb_lock.pid",
        "/run/yum.pid",
    )
    versionlock = "/etc/dnf/plugins/versionlock.list"
    history = "/var/lib/dnf/history.sqlite"

    @property
    def program(self) -> str:
        return "dnf" if self.host.which("dnf") else "yum"

    def unfinished(self) -> list[str]:
        left = journal()
        return list(left.packages) if left and left.packages and not self._ended(left.started) else []

    def _ended(self, began: float) -> bool:
        """Whether dnf 4 itself says that it came to the end of all that was begun since, or that nothing was."""
        try:
            import sqlite3

            with contextlib.closing(sqlite3.connect(f"file:{self.host.path(self.history)}?mode=ro", uri=True)) as file:
                rows = file.execute(
                    "SELECT count(*) FROM trans WHERE dt_begin >= ? AND coalesce(dt_end, 0) = 0", (int(began),)
                )
                return rows.fetchone()[0] == 0
        except Exception:  # no history, none of dnf 4, or a Python without sqlite: then it is looked at again
            return False

    def repair(self) -> None:
        """Install again what it was at, so that its scripts are run to their end, and take away what that replaced."""
        there = self.installed()
        names = [name for name in self.unfinished() if name in there]
        answer = self.host.run("rpm", "-q", "--qf", RPM_FORMAT, *names, timeout_seconds=120) if names else None
        older = [
            f"{one.name}-{one.version}"
            for one in rpm_packages(answer.out if answer else "")
            if not one.name.startswith("kernel") and one.name in there and one.version != there[one.name].version
        ]
        if older:
            self._erase(older)
        if names:
            self._must("reinstall", *(f"{name}-{there[name].version}" for name in names))

    def holder(self) -> tuple[str, str] | None:
        for path in self.pid_files:
            pid = self.host.line(path)
            if pid and pid.isdigit() and os.path.isdir(f"/proc/{pid}"):
                return path, described(int(pid))
        return super().holder()

    def key_path(self, repository: Repository) -> str:
        return f"/etc/pki/rpm-gpg/RPM-GPG-KEY-{repository.name}"

    def repository_path(self, repository: Repository) -> str:
        return f"/etc/yum.repos.d/{repository.name}.repo"

    def repository_text(self, repository: Repository) -> str:
        held = self.request.held
        if held is None:  # left as it is
            held = "excludepkgs=" in (self.host.text(self.repository_path(repository)) or "")
        names = [item.name for item in self.request.wanted] + list(self.request.hold_also) if held else []
        return yum_repo(repository, self.key_path(repository), self.request.name, names)

    def _options(self) -> list[str]:
        repository = self.request.repository
        options = [
            "-y",
            f"--setopt=timeout={self.request.download_timeout_seconds:.0f}",
            "--setopt=retries=3",
            f"--setopt=install_weak_deps={self.request.recommends}",
        ]
        if repository is not None:
            options.append(f"--setopt=disable_excludes={repository.name}")
            # The file of dnf itself may say that repositories which do not answer are passed over in silence.
            options.append(f"--setopt={repository.name}.skip_if_unavailable=False")
        return options

    def versions(self, names: Iterable[str]) -> dict[str, list[str]]:
        """What can be had, by what dnf has read of the repositories already; nothing where it has read none."""
        if not self.host.glob("/var/cache/dnf/*/repodata") and not self.host.glob("/var/cache/libdnf5/*/repodata"):
            return {}  # to ask would make a cache where there is none
        excludes = f"--setopt=disable_excludes={self.request.repository.name if self.request.repository else ''}"
        answer = self.host.run(
            self.program, "-q", "-C", excludes, "repoquery", "--available", "--queryformat", "%{name} %{evr}\n", *names,
            timeout_seconds=120,
        )  # fmt: skip
        found: dict[str, list[str]] = {}
        for line in answer.out.splitlines() if answer.ok else ():
            name, _space, version = line.partition(" ")
            if version:
                found.setdefault(name, []).append(version)
        return {name: sorted(set(there), key=cmp_to_key(compare_rpm), reverse=True) for name, there in found.items()}

    def _dnf(self, *argv: str, killable: bool, limit: float | None = None) -> Completed:
        seconds = self.request.timeout_seconds if limit is None else min(limit, self.request.timeout_seconds)
        return self.logged(self.program, *self._options(), *argv, timeout_seconds=seconds, killable=killable)

    def refresh(self) -> None:
        repository = self.request.repository
        if repository is None:
            return
        limit = max(120.0, 10 * self.request.download_timeout_seconds)
        answer = self._dnf(f"--repo={repository.name}", "--refresh", "makecache", killable=True, limit=limit)
        if answer.rc == 124:
            raise self.too_slow("reading the lists", limit)
        if not answer.ok:
            raise self.fail(answer)

    def repair_command(self) -> str:
        return "dnf check"

    def stream_of(self, module: str) -> str | None:
        """The stream of a module that is enabled."""
        text = self.host.text(f"/etc/dnf/modules.d/{module}.module") or ""
        fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        return fields.get("stream") if fields.get("state") == "enabled" else None

    def transact(self, plan: Plan, installed: Mapping[str, Package]) -> None:
        for wanted in self.request.streams:
            module, _colon, stream = wanted.partition(":")
            if self.stream_of(module) not in (stream, None):
                self._must("module", "reset", module)
            if self.stream_of(module) != stream:
                self._must("module", "enable", wanted)
        if plan.remove:
            self._erase(plan.remove)
        older: list[Step] = []
        newer: list[Step] = []
        for step in plan.install:
            down = step.before and step.version and is_older(step.version, step.before, compare_rpm)
            (older if down else newer).append(step)
        early, late = [step for step in newer if step.first], [step for step in newer if not step.first]
        keys = self._keys()
        with self._unlocked([step.name for step in plan.install if step.name in installed], installed):
            try:
                for order, steps in (
                    ("install", early),
                    ("install", late),
                    ("downgrade", older),
                    ("reinstall", plan.reinstall),
                ):
                    if steps:
                        self._change(order, steps)
            except PackageError:
                come = sorted(self._keys() - keys)  # dnf trusts a key before it looks at what is signed with it
                if come and self.installed() == installed:
                    self._erase(come)
                raise

    def _keys(self) -> set[str]:
        """The keys that rpm trusts."""
        answer = self.host.run("rpm", "-qa", RPM_KEY, "--qf", RPM_FORMAT, timeout_seconds=120)
        return set(parse_rpm(answer.out))

    def _erase(self, names: Sequence[str]) -> None:
        """By rpm, which refuses where others need them; dnf would take the others along."""
        answer = self.logged("rpm", "-e", *names, timeout_seconds=600, killable=False)
        if not answer.ok:
            raise self.fail(answer)

    @contextlib.contextmanager
    def _unlocked(self, names: Sequence[str], installed: Mapping[str, Package]) -> Iterator[None]:
        """versionlock hides all but the version it names, so what may change is released, and locked again as it is."""
        locked = parse_versionlock(self.host.text(self.versionlock) or "")
        mine = [name for name in names if installed[name].held and name in locked] if self.request.allow_change else []
        if mine:
            self._must("versionlock", "delete", *mine)
        try:
            yield
        finally:
            if mine:
                self._must("versionlock", "add", *mine)

    def _change(self, order: str, steps: Sequence[Step]) -> None:
        specs = (f"{step.name}-{step.version}" if step.version else step.name for step in steps)
        answer = self._dnf(order, *specs, killable=False)
        if answer.ok:
            return
        found = recognise(answer.out)
        if found is not None and found[0].id == "no-such-package":
            known = self.versions(step.name for step in steps)
            for step in steps:
                if step.version and newest(known.get(step.name, []), step.version, compare_rpm) is None:
                    raise PackageError(f"{self.request.name}: {Unavailable(step, known.get(step.name, []))}")
        raise self.fail(answer)

    def _must(self, *argv: str) -> None:
        answer = self._dnf(*argv, killable=False)
        if not answer.ok:
            raise self.fail(answer)

    def hold(self, names: Sequence[str]) -> None:
        if self.request.repository is not None:
            return  # the repository's file does it
        if not self.host.which("dnf5") and not self.host.exists(self.versionlock):  # dnf 5 brings it along
            raise PackageError(
                f"{self.request.name}: {', '.join(names)} come from the distribution's own repositories, which can "
                "only be held by dnf's versionlock plugin, and that is not installed. dnf install "
                "'dnf-command(versionlock)', or set `held: false`."
            )
        self._must("versionlock", "add", *names)

    def release(self, names: Sequence[str]) -> None:
        if self.request.repository is None:
            self._must("versionlock", "delete", *names)


# --- pacman ------------------------------------------------------------------------------------------------------


class Pacman(Manager):
    """Arch has one version of each package, the newest; anything else is a whole upgrade, which is not ours to do."""

    name = "pacman"
    database_lock = "/var/lib/pacman/db.lck"
    include = "Include = /etc/pacman.d/gpunode/*.conf"
    history = "/var/log/pacman.log"

    def unfinished(self) -> list[str]:
        """pacman takes its lock away when it ends, and leaves it where it is killed; and its log then tells no end."""
        left = journal()
        locked = self.host.exists(self.database_lock)
        if not left or (locked and opener_of(self.database_lock)):
            return []
        return list(left.packages) if locked or cut_short(self.host.text(self.history) or "") is not None else []

    def repair(self) -> None:
        """Take the lock away. Where packages were being changed, install them again, over the files that lie there.

        Before it changes the first, pacman has seen that they overwrite nobody else's.
        """
        names = self.unfinished()
        remove(self.database_lock)
        begun = cut_short(self.host.text(self.history) or "")
        if begun is None:
            return
        # pacman refuses all while a package that it was unpacking has no description yet.
        for entry in self.host.glob("/var/lib/pacman/local/*-*-*"):
            if self.host.is_dir(entry) and not self.host.exists(f"{entry}/desc"):
                begun.append(os.path.basename(entry).rsplit("-", 2)[0])
                shutil.rmtree(self.host.path(entry))
        with self._lifted() as options:
            self._pacman(*options, "-S", "--overwrite", "*", *dict.fromkeys([*names, *begun]))

    def holder(self) -> tuple[str, str] | None:
        if not self.host.exists(self.database_lock) or self.unfinished():
            return None
        owner = opener_of(self.database_lock)
        return self.database_lock, owner or (
            "a pacman that no longer runs (if no other is at work, remove the file: that is what pacman itself advises)"
        )

    def key_path(self, repository: Repository) -> str:
        raise PackageError(f"{self.request.name}: on Arch, packages come from its own repositories: omit `repository`.")

    repository_path = key_path

    def hold_path(self) -> str:
        return f"/etc/pacman.d/gpunode/{slug(self.request.name)}.conf"

    def other_files(self, installed: Mapping[str, Package]) -> dict[str, str]:
        if self.request.held is None or (not self.request.held and not self.host.exists(self.hold_path())):
            return {}
        names = [item.name for item in self.request.wanted] + list(self.request.hold_also)
        held = f"[options]\nIgnorePkg = {' '.join(names)}\n" if self.request.held and names else ""
        files = {self.hold_path(): MANAGED + held}
        text = self.host.text("/etc/pacman.conf") or "[options]\n"
        if self.include not in text.splitlines():
            files["/etc/pacman.conf"] = text.replace("[options]\n", f"[options]\n{self.include}\n", 1)
        return files

    def repair_command(self) -> str:
        return "pacman -Dk"

    def _pacman(self, *argv: str) -> None:
        answer = self.logged(
            "pacman", "--noconfirm", *argv, timeout_seconds=self.request.timeout_seconds, killable=False
        )
        if not answer.ok:
            told = explain(answer.out, self.context())
            if may_be_stale(answer.out):
                told += (
                    " The lists of this node may be old: `pacman -Syu`, then run again (Arch knows no part upgrade)."
                )
            raise PackageError(told)

    def transact(self, plan: Plan, installed: Mapping[str, Package]) -> None:
        steps = [*plan.install, *plan.reinstall]
        if steps:
            offered = self.predict(plan)
            for step in steps:
                if step.name in offered and not matches(offered[step.name], step.version):
                    raise PackageError(
                        f"{self.request.name}: {step.name} {step.version} is wanted, but Arch's repositories have only "
                        f"{offered[step.name]}. Nothing was changed. Want that version, or install yours from the "
                        "Arch Linux Archive."
                    )
        if plan.remove:
            self._pacman("-R", *plan.remove)
        if steps:
            with self._lifted() as options:
                self._pacman(*options, "-S", *(step.name for step in steps))

    @contextlib.contextmanager
    def _lifted(self) -> Iterator[list[str]]:
        """Options that lift our own hold: pacman installs nothing that needs an ignored package, be it new or not.

        What is held beside what is wanted, and is there already, stays ignored, unless a change is allowed.
        """
        own = parse_ignored(self.host.text(self.hold_path()) or "")
        if not own:
            yield []
            return
        others = (path for path in self.host.glob("/etc/pacman.d/gpunode/*.conf") if path != self.hold_path())
        include = "\n".join(f"Include = {path}" for path in others)
        text = self.host.text("/etc/pacman.conf") or ""
        named = {item.name for item in self.request.wanted}
        stay = [
            name
            for name in ([] if self.request.allow_change else self.installed())
            if name not in named and any(fnmatchcase(name, pattern) for pattern in own)
        ]
        with tempfile.NamedTemporaryFile("w", prefix="gpunode-pacman-", suffix=".conf", encoding="utf-8") as file:
            file.write("".join(f"{include if line == self.include else line}\n" for line in text.splitlines()))
            file.flush()
            yield ["--config", file.name, *(["--ignore", ",".join(stay)] if stay else [])]

    def predict(self, plan: Plan) -> dict[str, str]:
        names = [step.name for step in (*plan.install, *plan.reinstall)]
        if not names:
            return {}
        with self._lifted() as options:
            answer = self.host.run("pacman", *options, "-Sp", "--print-format", "%n %v", *names, timeout_seconds=60)
        return dict(line.split(" ", 1) for line in answer.out.splitlines() if " " in line)


def cut_short(log: str) -> list[str] | None:
    """The packages that came in the last transaction of pacman's log, if that never ended; else None."""
    _before, started, after = log.rpartition("[ALPM] transaction started\n")
    if not started or re.search(r"\[ALPM\] transaction (?:completed|interrupted|failed)$", after, re.MULTILINE):
        return None
    return re.findall(r"\[ALPM\] (?:installed|upgraded|downgraded|reinstalled) (\S+) ", after)


MANAGERS: dict[str, type[Manager]] = {"apt": Apt, "dnf": Dnf, "yum": Dnf, "pacman": Pacman}
