# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring one set of packages to what is wanted: look, decide, refuse or write, install, hold, look again.

Nothing is written before the key has been judged, and nothing is installed from a repository whose lists could not be
read: its files are then put back as they were. A run that finds all as wanted reads files and runs nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .facts.packaging import refuses_sha1
from .files import WriteError, difference, move_aside, read_text, remove, replace_text
from .host import Host
from .openpgp import WEAK_HASHES, Key, OpenPgpError, armoured, read_keys, spaced
from .ownership import Ledger
from .package_managers import (
    MANAGERS,
    Manager,
    PackageError,
    Request,
    close_journal,
    journal,
    open_journal,
)
from .package_ownership import (
    displaced,
    ledger_of,
    remember_end,
    remember_files,
    remember_holds,
    remember_start,
    unshield,
)
from .packages import Package, Plan, Repository, decide

# Returns the bytes at a URL, or raises ``PackageError`` after bounded retries.
Fetch = Callable[[str], bytes]


@dataclass
class Outcome:
    """What was done, or would be."""

    changed: bool = False
    installed: dict[str, str] = field(default_factory=dict)
    reinstalled: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    reboot_hint: str = ""
    stays: list[str] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)


def check(request: Request) -> None:
    """Refuse what a package manager would read as something other than a package. Raises ``PackageError``."""
    name, glob = r"[A-Za-z0-9][A-Za-z0-9+._:-]*(?<!-)", r"[A-Za-z0-9*?\[][A-Za-z0-9+._:*?!\[\]-]*"
    asked = [("packages.name", item.name, name) for item in request.wanted]
    asked += [("packages.version", item.version, r"[A-Za-z0-9*?\[][!-~]*|") for item in request.wanted]
    asked += [("absent", item, name) for item in request.absent]
    asked += [("hold_also", item, glob) for item in request.hold_also]
    asked += [("streams", item, r"[A-Za-z0-9][\w.-]*:[\w.-]+") for item in request.streams]
    asked += [("pins", item, glob) for pin in request.pins for item in pin.packages]
    asked += [("pins.version", pin.version, r"[A-Za-z0-9*?][!-~]*") for pin in request.pins]
    wrong = [f"{option}: {value!r}" for option, value, form in asked if not re.fullmatch(form, value)]
    if wrong:
        raise PackageError(f"{request.name}: not the name or version of a package: {', '.join(wrong)}.")
    twice = {item.name for item in request.wanted} & set(request.absent)
    if twice:
        raise PackageError(f"{request.name}: both wanted and absent: {', '.join(sorted(twice))}.")


def manager_for(host: Host, name: str | None, request: Request) -> Manager:
    kind = MANAGERS.get(name or "")
    if kind is None:
        raise PackageError(
            f"{request.name}: this node's package manager is {name or 'none that is known'}; expected one of apt, dnf, "
            "yum, pacman."
        )
    return kind(host, request)


def missing_binaries(host: Host, request: Request) -> dict[str, list[str]]:
    """By package, the files that ought to be there and are not, or cannot be run."""
    found = {}
    for item in request.wanted:
        gone = [path for path in item.binaries if not host.is_executable(path)]
        if gone:
            found[item.name] = gone
    return found


def plan_for(manager: Manager, installed: Mapping[str, Package]) -> Plan:
    request = manager.request
    return decide(
        request.wanted,
        installed,
        compare=manager.compare,
        held=request.held,
        hold_also=request.hold_also,
        absent=request.absent,
        missing=missing_binaries(manager.host, request),
        allow_change=request.allow_change,
    )


# --- The key -----------------------------------------------------------------------------------------------------


def judge_key(data: bytes, repository: Repository, name: str, *, now: float, refuses_sha1: bool) -> tuple[str, str]:
    """The key file to write, and a warning or nothing. Raises ``PackageError`` for a key that must not be trusted.

    Only the keys whose fingerprint is named are written, whatever else the file holds.
    """
    where = f"{name}: the signing key at {repository.key_url}"
    stop = "Nothing was changed"
    try:
        keys = read_keys(data)
    except OpenPgpError as error:
        raise PackageError(f"{where} cannot be read: {error}. {stop}. Check `key_url`.") from None
    warning = ""
    if repository.key_fingerprints:
        named = [key for key in keys if key.fingerprint in repository.key_fingerprints]
        if not named:
            raise PackageError(
                f"{where} is {' and '.join(spaced(key.fingerprint) for key in keys)} "
                f"({', '.join(key.user_ids[0] for key in keys if key.user_ids) or 'no user id'}); expected "
                f"{' or '.join(spaced(fingerprint) for fingerprint in repository.key_fingerprints)}. {stop}. Either "
                "somebody put another key there, or upstream changed it: compare it with what upstream publishes, then "
                "mend `key_fingerprints`."
            )
        keys = named
    else:
        warning = (
            f"{name}: no fingerprint is given for the key at {repository.key_url}, so whoever answers there is "
            f"trusted. It is {' and '.join(spaced(key.fingerprint) for key in keys)}: name it in `key_fingerprints`."
        )
    sound = [key for key in keys if not _flaw(key, repository, now, refuses_sha1)]
    if not sound:
        flaw = _flaw(keys[0], repository, now, refuses_sha1)
        raise PackageError(f"{where}, {spaced(keys[0].fingerprint)}, {flaw}. {stop}.")
    return armoured(sound), warning


def _flaw(key: Key, repository: Repository, now: float, refuses_sha1: bool) -> str:
    """What forbids to trust a key; nothing where nothing does."""
    if key.revoked:
        return "is revoked by its owner. Ask upstream for its successor"
    if key.created > now + 86400:
        return (
            f"was made on {_day(key.created)}, which is in the future for this node, whose clock says {_day(now)}. "
            "The clock is wrong: timedatectl set-ntp true"
        )
    if key.expired(now):
        return (
            f"expired on {_day(key.expires or 0)} (this node's clock says {_day(now)}). Ask upstream for the extended "
            "key, or check the clock"
        )
    if key.weak and refuses_sha1:
        return (
            f"is certified with {_weak(key)} only, and this node's apt (sqv) has refused such keys since 2026-02-01. "
            "Use a repository whose key is signed anew"
        )
    if key.weak and key.fingerprint not in repository.sha1_fingerprints:
        return (
            f"is certified with {_weak(key)} only, which can be forged. Ask upstream for a key that is signed anew, "
            "or, if you know this very key, name it in `key_sha1_fingerprints`"
        )
    return ""


def _weak(key: Key) -> str:
    return " and ".join(name for name in key.hashes if name in WEAK_HASHES)


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def key_on_disk(text: str | None, repository: Repository, now: float) -> str | None:
    """Why the key file that is there does not do; None where it does."""
    if text is None:
        return "it is not there"
    try:
        keys = read_keys(text.encode("utf-8", "surrogateescape"))
    except OpenPgpError as error:
        return str(error)
    if repository.key_fingerprints and not {key.fingerprint for key in keys} <= set(repository.key_fingerprints):
        return f"it holds {' and '.join(spaced(key.fingerprint) for key in keys)}"
    return None


def key_is_over(text: str | None, now: float) -> bool:
    try:
        return text is not None and all(key.expired(now) or key.revoked for key in read_keys(text.encode()))
    except (OpenPgpError, UnicodeEncodeError):
        return False


# --- The files ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """One file of ours: its text before (None: no such file) and after (None: known once the key was fetched)."""

    path: str
    before: str | None
    after: str | None

    @property
    def changed(self) -> bool:
        return self.after is None or self.before != self.after


def wanted_files(manager: Manager, installed: Mapping[str, Package], *, now: float, will_install: bool) -> list[File]:
    """The key first, so that no repository ever stands without it."""
    files = []
    repository = manager.request.repository
    if repository is not None:
        key_path = manager.key_path(repository)
        key = read_text(key_path)
        stale = key_on_disk(key, repository, now) is not None or (will_install and key_is_over(key, now))
        files.append(File(key_path, key, None if stale else key))
        path = manager.repository_path(repository)
        files.append(File(path, read_text(path), manager.repository_text(repository)))
    for path, text in manager.other_files(installed).items():
        files.append(File(path, read_text(path), text))
    return files


def write(files: Sequence[File]) -> None:
    for file in files:
        if file.changed and file.after is not None:
            replace_text(file.path, file.after, mode=0o644 if file.before is None else None)


def put_back(files: Sequence[File], aside: Mapping[str, str]) -> None:
    """As they were before. What cannot be put back hides neither the rest nor the reason why all this is done."""
    for file in files:
        with contextlib.suppress(WriteError):
            if not file.changed:
                continue
            if file.before is None:
                remove(file.path)
            else:
                replace_text(file.path, file.before)
    for path, moved in aside.items():
        with contextlib.suppress(OSError):
            os.rename(moved, path)


# --- All of it ---------------------------------------------------------------------------------------------------


def converge(manager: Manager, fetch: Fetch, *, check_mode: bool = False) -> Outcome:
    """Do what the request asks for. Raises ``PackageError``, or ``WriteError`` where a file could not be written."""
    request = manager.request
    now = time.time()
    outcome = Outcome()
    if request.repository is not None:
        problems = request.repository.problems()
        problems += [
            f"{path} names the repository {request.repository.url} with another key, so apt would read none at all. "
            f"Remove that file, or name it in `replaces`"
            for path in manager.contradictions(request.repository)
        ]
        if problems:
            raise PackageError(f"{request.name}: {'; '.join(problems)}. Nothing was changed.")

    ledger = ledger_of(request.name, manager.host)
    if not check_mode:
        unshield(manager.host, ledger.fact("shielded", []))  # a removal that was killed
    outcome.warnings += displaced(manager.host, ledger.fact("shielded", []))
    installed = manager.installed()
    if not check_mode and not any(package.broken for package in installed.values()):
        remember_end(ledger, manager)  # an installation that was killed, and has ended since
    plan = plan_for(manager, installed)
    if plan.problems:
        raise PackageError(f"{request.name}: {' '.join(plan.problems)} Nothing was changed.")
    broken = [package for package in installed.values() if package.broken]
    ours = {item.name for item in request.wanted}
    half_done, unfinished = bool(broken or manager.interrupted()), manager.unfinished()
    must_repair = (
        ((half_done or bool(unfinished)) and bool(plan.transacts or plan.hold or plan.release))
        or (half_done and journal() is not None)  # it may be what the wanted ones need that we left so
        or any(package.name in ours for package in broken)
        or not ours.isdisjoint(unfinished)
    )
    if must_repair and journal() is None:
        raise PackageError(_broken(manager, broken))
    if broken and not must_repair:
        outcome.warnings.append(_broken(manager, broken))

    files = wanted_files(manager, installed, now=now, will_install=plan.transacts)
    aside = _to_replace(request)
    changed = [file for file in files if file.changed]
    if plan.nothing and not changed and not aside and not must_repair:
        outcome.reboot_hint = reboot_hint(manager.host)
        return outcome

    outcome.changed = True
    outcome.files = [file.path for file in changed] + aside
    if check_mode:
        _predict(manager, plan, changed, aside, installed, outcome)
        return outcome

    files, warning = _with_key(files, request, fetch, now, manager.host)
    if warning:
        outcome.warnings.append(warning)
    if plan.transacts or plan.hold or plan.release or must_repair:
        manager.wait()
        if must_repair:
            manager.repair()
        installed = manager.installed()  # another package manager may have been at work until now
        plan = plan_for(manager, installed)
        if plan.problems:
            raise PackageError(f"{request.name}: {' '.join(plan.problems)} Nothing was changed.")
        still = [package for package in installed.values() if package.broken]
        if still and plan.transacts:
            raise PackageError(_broken(manager, still))

    moved: dict[str, str] = {}
    known = ledger.exists
    owned = [(file.path, file.after, 0o644 if file.before is None else None) for file in files if file.changed]
    if owned or aside:
        remember_files(ledger, owned, aside)
    try:
        for path in aside:
            moved[path] = move_aside(path, ".disabled")
        write(files)
        if plan.install or plan.reinstall:
            manager.refresh()
    except (PackageError, WriteError, OSError):
        put_back(files, moved)
        if not known:
            ledger.forget()
        raise

    try:
        after = _transact(manager, plan, installed, ledger)
    except PackageError:
        if manager.installed() == installed:  # refused before anything was installed: leave no trace of the attempt
            put_back(files, moved)
            if not known:
                ledger.forget()
        raise
    outcome.reboot_hint = reboot_hint(manager.host)
    _tell(plan, files, aside, installed, after, outcome)
    if must_repair:
        again = [name for name in unfinished if name in installed and name not in outcome.reinstalled]
        outcome.reinstalled += [name for name in again if name not in outcome.installed]
    return outcome


def _to_replace(request: Request) -> list[str]:
    """The files of others that make way for ours."""
    repository = request.repository
    return [path for path in repository.replaces if os.path.lexists(path)] if repository else []


def _with_key(files: Sequence[File], request: Request, fetch: Fetch, now: float, host: Host) -> tuple[list[File], str]:
    repository = request.repository
    if repository is None or all(file.after is not None for file in files):
        return list(files), ""
    data = fetch(repository.key_url)
    text, warning = judge_key(data, repository, request.name, now=now, refuses_sha1=refuses_sha1(host))
    return [File(file.path, file.before, text if file.after is None else file.after) for file in files], warning


def _transact(manager: Manager, plan: Plan, installed: Mapping[str, Package], ledger: Ledger) -> dict[str, Package]:
    """Install, then hold. The journal stands exactly as long as something may lie half-done."""
    request = manager.request
    if plan.transacts:
        remember_start(ledger, manager, plan)
        open_journal(request.name, [step.name for step in (*plan.install, *plan.reinstall)])
        try:
            manager.transact(plan, installed)
        finally:
            if not any(package.broken for package in manager.installed().values()) and not manager.interrupted():
                remember_end(ledger, manager)
                close_journal()
    elif journal() is not None:
        close_journal()
    after = manager.installed()
    rest = plan_for(manager, after)
    if rest.transacts:
        raise PackageError(f"{request.name}: {_undone(rest)} The package manager said all was well; see {manager.log}.")
    if rest.hold or rest.release or (plan.transacts and request.streams):
        remember_holds(ledger, rest.hold, rest.release, request.streams)
    if rest.hold:
        manager.hold(rest.hold)
    if rest.release:
        manager.release(rest.release)
    return manager.installed() if rest.hold or rest.release else after


def _undone(rest: Plan) -> str:
    said = [f"{step.name} was installed, but {step.why}." for step in (*rest.install, *rest.reinstall)]
    said += [f"{name} was removed, but is still there." for name in rest.remove]
    return " ".join(said)


def _broken(manager: Manager, broken: Sequence[Package]) -> str:
    told = ", ".join(f"{package.name} ({package.state})" for package in broken[:5])
    if len(broken) > 5:
        told += f" and {len(broken) - 5} more"
    if not told:
        told = f"an interrupted transaction ({', '.join(manager.interrupted()[:3])})"
    again = [package.name for package in broken if package.half_unpacked]
    then = f", then apt-get install --reinstall {' '.join(again)}" if again and manager.name == "apt" else ""
    return (
        f"{manager.request.name}: another installation was left half-done: {told}. Nothing was changed. It may hide a "
        f"full disk or a failing script, so finish it by hand: {manager.repair_command()}{then}. Then run again."
    )


def _predict(
    manager: Manager,
    plan: Plan,
    changed: Sequence[File],
    aside: Sequence[str],
    installed: Mapping[str, Package],
    outcome: Outcome,
) -> None:
    request = manager.request
    versions = manager.predict(plan)
    outcome.installed = {step.name: versions.get(step.name) or step.version for step in plan.install}
    outcome.reinstalled = [step.name for step in plan.reinstall]
    outcome.removed, outcome.held, outcome.released = list(plan.remove), list(plan.hold), list(plan.release)
    key_url = request.repository.key_url if request.repository else ""
    for file in changed:
        unknown = f"(the key at {key_url}, once its fingerprint is checked)\n"
        outcome.diff.append(difference(file.path, file.before, unknown if file.after is None else file.after))
    outcome.diff += [difference(path, read_text(path), "") for path in aside]
    outcome.diff += _package_diff(installed, _foreseen(plan, versions, installed))


def _foreseen(plan: Plan, versions: Mapping[str, str], installed: Mapping[str, Package]) -> dict[str, Package]:
    after = dict(installed)
    for step in (*plan.install, *plan.reinstall):
        version = versions.get(step.name) or step.version or "(the newest)"
        after[step.name] = Package(step.name, version, held=step.name in installed and installed[step.name].held)
    for name in plan.remove:
        after.pop(name, None)
    for names, held in ((plan.hold, True), (plan.release, False)):
        for name in names:
            if name in after:
                after[name] = Package(name, after[name].version, after[name].state, held)
    return after


def _tell(
    plan: Plan,
    files: Sequence[File],
    aside: Sequence[str],
    before: Mapping[str, Package],
    after: Mapping[str, Package],
    outcome: Outcome,
) -> None:
    outcome.installed = {
        name: package.version
        for name, package in after.items()
        if package.present
        and (name not in before or not before[name].present or before[name].version != package.version)
    }
    outcome.reinstalled = [step.name for step in plan.reinstall]
    outcome.removed = [
        name for name, package in before.items() if package.present and not (name in after and after[name].present)
    ]
    outcome.held = [name for name, item in after.items() if item.held and not (name in before and before[name].held)]
    outcome.released = [name for name, item in before.items() if item.held and name in after and not after[name].held]
    outcome.diff = [difference(file.path, file.before, file.after) for file in files if file.changed]
    outcome.diff += [difference(path, f"{path}\n", f"{path}.disabled\n") for path in aside]
    outcome.diff += _package_diff(before, after)


def _package_diff(before: Mapping[str, Package], after: Mapping[str, Package]) -> list[dict[str, str]]:
    def lines(packages: Mapping[str, Package], names: Sequence[str]) -> str:
        there = [packages[name] for name in names if name in packages and packages[name].present]
        return "".join(f"{item.name} {item.version}{' (held)' if item.held else ''}\n" for item in there)

    def line(package: Package | None) -> tuple[Any, ...] | None:
        return (package.version, package.held) if package is not None and package.present else None

    unlike = sorted(name for name in {*before, *after} if line(before.get(name)) != line(after.get(name)))
    if not unlike:
        return []
    return [difference("packages", lines(before, unlike), lines(after, unlike))]


def reboot_hint(host: Host) -> str:
    """Why the system itself asks for a reboot; empty where it does not."""
    if not host.exists("/run/reboot-required"):
        return ""
    names = sorted(set((host.text("/run/reboot-required.pkgs") or "").split()))
    return f"{', '.join(names) or 'a package'} asks for a reboot (/run/reboot-required)"
