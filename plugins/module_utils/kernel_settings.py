# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel modules and sysctls, live and persisted: what is, what should be, what to do about it.

Persisted is what systemd-modules-load and systemd-sysctl would make of the drop-ins at the next boot, by their own
rules: a file masks those of the same name in lower folders; files go in the order of their names, wherever they lie;
the last assignment wins; an explicit assignment beats any glob; ``/etc/sysctl.conf`` counts only where a link in
``/etc/sysctl.d`` leads to it. A feature built in to the kernel counts as loaded.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import files, fstab
from .host import Completed, Host, Run, run_command
from .ownership import Ledger

SYSCTL_FOLDERS = (
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
)
MODULES_FOLDERS = tuple(folder.replace("sysctl.d", "modules-load.d") for folder in SYSCTL_FOLDERS)
MODPROBE_FOLDERS = tuple(folder.replace("sysctl.d", "modprobe.d") for folder in SYSCTL_FOLDERS)

# What shows that a feature is there although its module has no folder in /sys/module.
FEATURES = {
    "br_netfilter": "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "nf_conntrack": "/proc/sys/net/netfilter/nf_conntrack_max",
    "ip_vs": "/proc/net/ip_vs",
    "tun": "/sys/class/misc/tun",
    "configfs": "/sys/kernel/config",
}
# Sysctls that exist only with a module, by the start of their names.
PROVIDERS = (
    ("net.bridge.", "br_netfilter"),
    ("net.netfilter.", "nf_conntrack"),
    ("net.nf_conntrack_max", "nf_conntrack"),
    ("net.ipv4.vs.", "ip_vs"),
    ("sunrpc.", "sunrpc"),
)

MODULE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SYSCTL_NAME = re.compile(r"[A-Za-z0-9_:@-]+([./][A-Za-z0-9_:@-]+)+")
DROP_IN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

HEADER = "# Written by gpunode.ready, module kernel_settings: what is changed here by hand is overwritten.\n"
DEBUGFS = "/sys/kernel/debug"


class SettingError(ValueError):
    """A setting that cannot be meant: which one, and why."""


@dataclass(frozen=True)
class Assignment:
    """One line of a sysctl drop-in. ``value`` is None for ``-key``, which keeps globs away from the key."""

    key: str
    value: str | None
    source: str
    line: int


@dataclass(frozen=True)
class FileChange:
    """A drop-in of ours: its text now (None: not there) and as it should be (None: gone)."""

    path: str
    before: str | None
    after: str | None
    backup: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to do, in the order of doing it, and what stands in the way."""

    load: tuple[str, ...] = ()
    set: tuple[tuple[str, str | None, str], ...] = ()
    files: tuple[FileChange, ...] = ()
    mount_debugfs: bool = False
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    name: str = "gpunode"

    @property
    def changed(self) -> bool:
        return bool(self.load or self.set or self.files or self.mount_debugfs)


@dataclass(frozen=True)
class Wanted:
    """What a node should have. Names are plain ones: modules with underscores, sysctls with dots."""

    name: str = "gpunode"
    modules: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    debugfs: bool = False


def wanted(name: str, modules: Iterable[Any], sysctls: Mapping[str, Any], debugfs: bool = False) -> Wanted:
    """What a person wrote, made plain. Raises ``SettingError`` naming the first that cannot be meant."""
    if not DROP_IN_NAME.fullmatch(name):
        raise SettingError(f"name {name!r}: becomes part of file names, so only a-z, 0-9, - and _ may be in it")
    plain_modules = []
    for module in modules:
        if not MODULE_NAME.fullmatch(str(module)):
            raise SettingError(f"kernel module {module!r}: a name such as br_netfilter is expected")
        plain_modules.append(module_name(str(module)))
    plain_sysctls = {}
    for key, value in sysctls.items():
        if not SYSCTL_NAME.fullmatch(str(key)):
            raise SettingError(f"sysctl {key!r}: a name such as net.ipv4.ip_forward is expected")
        if value is None or isinstance(value, (list, dict)):
            raise SettingError(f"sysctl {key}: one value is expected, not {value!r}")
        told = str(int(value)) if isinstance(value, bool) else str(value)
        if any(ord(character) < 32 and character != "\t" for character in told) or not told.strip():
            raise SettingError(f"sysctl {key}: the value {told!r} is empty or has a line break or control character")
        plain_sysctls[sysctl_name(str(key))] = plain_value(told)
    return Wanted(name, tuple(dict.fromkeys(plain_modules)), plain_sysctls, debugfs)


def module_name(name: str) -> str:
    """The kernel writes modules with underscores; people and file names may use dashes."""
    return name.replace("-", "_")


def plain_value(value: str) -> str:
    """A value as it is compared: the kernel parts several numbers by tabs, people by blanks."""
    return " ".join(value.split())


def sysctl_path(key: str) -> str:
    """Where a sysctl lies under /proc/sys: where the first separator is a dot, dots and slashes trade places."""
    first = re.search(r"[./]", key)
    if first and first.group() == ".":
        key = key.translate(str.maketrans("./", "/."))
    return key.strip("/")


def sysctl_name(key: str) -> str:
    """The plain name of a sysctl, however it was written: with dots, a dot inside a part being a slash."""
    return sysctl_path(key).translate(str.maketrans("./", "/."))


# --- drop-ins -------------------------------------------------------------------------------------------------------


def drop_ins(host: Host, folders: Sequence[str]) -> list[str]:
    """The drop-ins in force, in the order in which they are read; of several with one name, the highest folder's."""
    by_name: dict[str, str] = {}
    for folder in folders:
        for name in host.list(folder):
            if name.endswith(".conf") and not name.startswith("."):
                by_name.setdefault(name, f"{folder}/{name}")
    return [by_name[name] for name in sorted(by_name)]


def assignments(text: str, source: str) -> list[Assignment]:
    """The assignments of one sysctl drop-in. Lines that are none are passed over, as systemd-sysctl does."""
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        key, equals, value = line.partition("=")
        key = key.strip()
        if equals:
            found.append(Assignment(sysctl_name(key.lstrip("-").strip()), plain_value(value), source, number))
        elif key.startswith("-"):
            found.append(Assignment(sysctl_name(key[1:].strip()), None, source, number))
    return [assignment for assignment in found if assignment.key]


class Persisted:
    """What systemd-sysctl would set at boot, and by which line."""

    def __init__(self, lines: Iterable[Assignment]) -> None:
        self.explicit: dict[str, Assignment] = {}
        self.globs: list[Assignment] = []
        self.excluded: set[str] = set()
        for line in lines:
            if line.value is None:
                self.excluded.add(line.key)
            elif re.search(r"[*?\[]", line.key):
                self.globs.append(line)
            else:
                self.explicit[line.key] = line

    def of(self, key: str) -> Assignment | None:
        """The assignment that decides ``key``; None where nothing sets it."""
        if key in self.explicit:
            return self.explicit[key]
        if key in self.excluded:
            return None
        return next((line for line in reversed(self.globs) if _matches(key, line.key)), None)


def _matches(key: str, pattern: str) -> bool:
    """As glob(7) matches paths: a star stays within its part."""
    parts, patterns = sysctl_path(key).split("/"), sysctl_path(pattern).split("/")
    return len(parts) == len(patterns) and all(
        fnmatch.fnmatchcase(part, wildcard) for part, wildcard in zip(parts, patterns)
    )


def persisted_sysctls(host: Host, without: Iterable[str] = ()) -> Persisted:
    """What the drop-ins say, leaving out the paths in ``without``."""
    left_out = set(without)
    paths = [path for path in drop_ins(host, SYSCTL_FOLDERS) if path not in left_out]
    return Persisted(line for path in paths for line in assignments(host.text(path) or "", path))


def persisted_modules(host: Host) -> dict[str, list[str]]:
    """Module -> the files, or the kernel's command line, that have it loaded at boot."""
    found: dict[str, list[str]] = {}
    for path in drop_ins(host, MODULES_FOLDERS):
        for name in listed_modules(host.text(path) or ""):
            found.setdefault(name, []).append(path)
    for option, value in _command_line(host):
        if option == "modules_load":
            for name in filter(None, value.split(",")):
                found.setdefault(module_name(name), []).append("/proc/cmdline")
    return {name: list(dict.fromkeys(sources)) for name, sources in found.items()}


def listed_modules(text: str) -> list[str]:
    """The modules that a modules-load drop-in names."""
    lines = (line.strip() for line in text.split("\n"))
    return [module_name(line) for line in lines if line and line[0] not in "#;"]


def _command_line(host: Host) -> list[tuple[str, str]]:
    words = (host.text("/proc/cmdline") or "").split()
    return [(word.partition("=")[0].replace("-", "_"), word.partition("=")[2]) for word in words]


# --- the running kernel ---------------------------------------------------------------------------------------------


def release(host: Host) -> str | None:
    return host.line("/proc/sys/kernel/osrelease")


def builtin_modules(host: Host) -> set[str]:
    """What the running kernel has built in, as its package lists it."""
    kernel = release(host)
    for folder in ("/lib/modules", "/usr/lib/modules"):
        text = host.text(f"{folder}/{kernel}/modules.builtin")
        if text:
            return {module_name(line.rsplit("/", 1)[-1].split(".ko")[0]) for line in text.split("\n") if line}
    return set()


def module_state(host: Host, name: str, builtin: set[str], filesystems: set[str]) -> dict[str, bool]:
    """Whether a module, or the feature it brings, is there now; and whether as part of the kernel itself.

    /sys/module has a folder for each loaded module and for built-in ones with parameters; only loaded ones have an
    ``initstate``. Built-in ones without parameters show by what they bring, or in the kernel's own list.
    """
    if host.is_dir(f"/sys/module/{name}"):
        state = host.line(f"/sys/module/{name}/initstate")
        if state is not None:
            return {"loaded": state == "live", "builtin": False}
        return {"loaded": True, "builtin": True}
    feature = FEATURES.get(name)
    if name in builtin or name in filesystems or (feature and host.exists(feature)):
        return {"loaded": True, "builtin": True}
    return {"loaded": False, "builtin": False}


def known_filesystems(host: Host) -> set[str]:
    """The file systems the running kernel knows: what is there need not be loaded."""
    return {line.split("\t")[-1].strip() for line in (host.text("/proc/filesystems") or "").split("\n") if line}


def live_sysctl(host: Host, key: str) -> str | None:
    """The value in force; None where the kernel has no such setting or does not show it."""
    text = host.text(f"/proc/sys/{sysctl_path(key)}")
    return None if text is None else plain_value(text)


def debugfs_mounted(host: Host) -> bool:
    mounts = (
        line.split(" ") for line in (host.text("/proc/self/mounts") or host.text("/proc/mounts") or "").split("\n")
    )
    return any(len(mount) > 2 and mount[1] == DEBUGFS and mount[2] == "debugfs" for mount in mounts)


def forbidden(host: Host, name: str) -> list[tuple[str, int, str]]:
    """The lines that keep a module from being loaded at boot, or at all: where, and what they say."""
    found = []
    for path in drop_ins(host, MODPROBE_FOLDERS):
        for number, line in enumerate((host.text(path) or "").split("\n"), start=1):
            words = line.split()
            if len(words) < 2 or module_name(words[1]) != name:
                continue
            if words[0] == "blacklist" or (words[0] == "install" and _refuses(words[2:])):
                found.append((path, number, line.strip()))
    for option, value in _command_line(host):
        if option in ("modprobe.blacklist", "module_blacklist") and name in map(module_name, value.split(",")):
            found.append(("/proc/cmdline", 1, f"{option}={value}"))
    return found


def _refuses(command: Sequence[str]) -> bool:
    return bool(command) and command[0].rsplit("/", 1)[-1] in ("true", "false")


# --- deciding -------------------------------------------------------------------------------------------------------


def sysctl_names(name: str) -> list[str]:
    """What our sysctl drop-in may be called: the usual name, and those that sort after more and more others."""
    return [f"{prefix}-{name}.conf" for prefix in ("99", "99-zz", "zz", "zzzz")]


def plan(host: Host, want: Wanted) -> Plan:
    """Look, and decide. Changes nothing. Raises ``files.WriteError`` where a file of ours cannot even be read."""
    warnings: list[str] = []
    problems: list[str] = []

    builtin, filesystems = builtin_modules(host), known_filesystems(host)
    missing = [name for name in want.modules if not module_state(host, name, builtin, filesystems)["loaded"]]
    for name in want.modules:
        for path, line, text in forbidden(host, name):
            problems.append(
                f"kernel module {name}: {path}:{line} forbids it (`{text}`), so it is not loaded at boot. "
                f"Take that line away, or the module out of the list."
            )

    changes = []
    modules_text = HEADER + "".join(f"{name}\n" for name in want.modules)
    changes += _change(host, f"/etc/modules-load.d/{want.name}.conf", modules_text if want.modules else None)

    ours = [f"/etc/sysctl.d/{name}" for name in sysctl_names(want.name)]
    others = persisted_sysctls(host, without=ours)
    chosen, overridden = _winning_name(want, ours, others)
    warnings += _other_writers(host, want)

    settings = []
    possible = dict(want.sysctls)
    for key, value in want.sysctls.items():
        now = live_sysctl(host, key)
        if now is None and not host.exists(f"/proc/sys/{sysctl_path(key)}"):
            provider = next((module for start, module in PROVIDERS if key.startswith(start)), None)
            if not missing or (provider and provider not in missing):
                problems.append(_no_such_sysctl(host, key, provider, want.modules))
                del possible[key]
                continue
        if now != value:
            settings.append((key, now, value))
    sysctl_text = HEADER + "".join(f"{key} = {value}\n" for key, value in possible.items())
    sysctl_changes = [
        change for path in ours for change in _change(host, path, sysctl_text if possible and path == chosen else None)
    ]
    changes += sysctl_changes
    # a name that already lets ours win needs telling only once
    warnings += [told for told, wins in overridden if not wins or sysctl_changes]

    mount = False
    if want.debugfs:
        edit = fstab.with_debugfs(files.read_text(host.path(fstab.FSTAB)) or "")
        if edit.changed:
            changes.append(FileChange(fstab.FSTAB, edit.before, edit.after, backup=True))
        mount = not debugfs_mounted(host)
    return Plan(tuple(missing), tuple(settings), tuple(changes), mount, tuple(warnings), tuple(problems), want.name)


def _change(host: Host, path: str, after: str | None) -> list[FileChange]:
    before = files.read_text(host.path(path))
    # a drop-in that is a link (to /dev/null, it may be) is not ours until it is a file
    if before == after and not (after is not None and host.is_link(path)):
        return []
    return [FileChange(path, before, after)]


def _winning_name(want: Wanted, ours: Sequence[str], others: Persisted) -> tuple[str, list[tuple[str, bool]]]:
    """The first of our names that sorts after every other file that sets one of our sysctls otherwise.

    And what to tell of each such line that the usual name would have lost against, with whether ours wins now.
    """
    against = []
    for key, value in want.sysctls.items():
        line = others.explicit.get(key)
        if line and line.value != value and _file_name(line.source) > _file_name(ours[0]):
            against.append((key, value, line))
    last = max((_file_name(line.source) for _key, _value, line in against), default="")
    chosen = next((path for path in ours if _file_name(path) > last), ours[-1])
    told = []
    for key, value, line in against:
        wins = _file_name(chosen) > _file_name(line.source)
        text = f"{line.source}:{line.line} sets {key} = {line.value}, where {value} is wanted. "
        if wins:
            text += f"It would be read after {ours[0]}, so ours is called {chosen}."
        else:
            text += f"It is read after {chosen}, so at the next boot it wins. Take that line away."
        told.append((text, wins))
    return chosen, told


def _file_name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _other_writers(host: Host, want: Wanted) -> list[str]:
    """What systemd-sysctl does not read, but something else may apply over our values."""
    warnings = []
    linked = any(
        (host.readlink(f"/etc/sysctl.d/{name}") or "").endswith("sysctl.conf") for name in host.list("/etc/sysctl.d")
    )
    places = (
        [] if linked else [("/etc/sysctl.conf", "`sysctl -p` and `sysctl --system` apply it, though boot does not")]
    )
    if re.search(r"^ENABLED=[\"']?yes", host.text("/etc/ufw/ufw.conf") or "", re.MULTILINE):
        places.append(("/etc/ufw/sysctl.conf", "ufw applies it whenever it starts, so also at boot"))
    for path, when in places:
        told = Persisted(assignments(host.text(path) or "", path))
        for key, value in want.sysctls.items():
            line = told.of(key)
            if line and line.value != value:
                warnings.append(f"{path}:{line.line} sets {key} = {line.value}, where {value} is wanted: {when}.")
    return warnings


def _no_such_sysctl(host: Host, key: str, provider: str | None, modules: Sequence[str]) -> str:
    text = f"sysctl {key}: the running kernel {release(host)} has no such setting (/proc/sys/{sysctl_path(key)})."
    if provider and provider not in modules:
        return f"{text} It comes with the module {provider}: list that among the modules."
    return f"{text} Look whether it is spelt right, or take it out of the list."


# --- doing ----------------------------------------------------------------------------------------------------------


def apply(host: Host, todo: Plan, run: Run = run_command) -> list[str]:
    """Do what the plan says: modules, then sysctls, then what makes both last. Returns what could not be done.

    One that fails does not keep the others from being done; a value that the kernel refuses is not persisted.
    """
    problems: list[str] = []
    ledger = Ledger(ledger_name(todo.name), host.path)
    try:
        _own(host, todo, ledger)
    except files.WriteError as error:
        return [f"{error} Nothing was changed."]
    before = loaded_modules(host)
    for name in todo.load:
        problem = _load(host, name, run)
        if problem:
            problems.append(problem)
    if todo.load:
        _own_loaded(host, ledger, before)
    refused = set()
    for key, _before, value in todo.set:
        problem = set_live(host, key, value)
        if problem:
            problems.append(problem)
            refused.add(key)
    for change in todo.files:
        try:
            _write(host, change, refused)
        except files.WriteError as error:
            problems.append(str(error))
    if todo.mount_debugfs:
        done = run(["mount", "-t", "debugfs", "-o", "nosuid,nodev,noexec", "debugfs", DEBUGFS], 30)
        if not done.ok:
            problems.append(f"{DEBUGFS} could not be mounted: {_words(done)}")
    return problems


def ledger_name(name: str) -> str:
    return f"kernel_settings-{name}"


def loaded_modules(host: Host) -> set[str]:
    """What is loaded, and so could be unloaded: what is built in has no ``initstate``."""
    return {name for name in host.list("/sys/module") if host.exists(f"/sys/module/{name}/initstate")}


def _own(host: Host, todo: Plan, ledger: Ledger) -> None:
    """Write down, before it is done, what is ours from now on."""
    for change in todo.files:
        shared = change.path == fstab.FSTAB
        ledger.note(change.path, text=change.after, mode=None if shared else 0o644, follow=shared)
    known = ledger.fact("sysctls", {})
    values = {key: [known.get(key, [before])[0], value] for key, before, value in todo.set}
    ledger.replace(sysctls={**known, **values} or None, mounted=True if todo.mount_debugfs else ledger.fact("mounted"))
    if todo.load:  # what they bring along is seen only when they are there, and a killed run never gets there
        ledger.replace(loaded=list(dict.fromkeys([*ledger.fact("loaded", []), *todo.load])))
    ledger.save()


def _own_loaded(host: Host, ledger: Ledger, before: set[str]) -> None:
    """Modules that came along with those that were asked for."""
    known = ledger.fact("loaded", [])
    came = [name for name in sorted(loaded_modules(host) - before) if name not in known]
    if came:
        ledger.replace(loaded=[*known, *came])
        ledger.save()


def _write(host: Host, change: FileChange, refused: set[str]) -> None:
    path = host.path(change.path)
    if change.after is None:
        files.remove(path)
        return
    text = change.after
    if refused and change.path.startswith("/etc/sysctl.d/"):
        lines = text.split("\n")
        text = "\n".join(line for line in lines if line.partition(" = ")[0] not in refused)
    shared = change.path == fstab.FSTAB
    files.replace_text(path, text, mode=None if shared else 0o644, follow=shared, backup=change.backup)


def _load(host: Host, name: str, run: Run) -> str | None:
    done = run(["modprobe", "--", name], 60)
    if done.ok and module_state(host, name, builtin_modules(host), known_filesystems(host))["loaded"]:
        return None
    kernel = release(host)
    text = f"kernel module {name} cannot be loaded into the running kernel {kernel}: {_words(done)}."
    if done.rc == 127:
        return f"{text} Install the package kmod."
    blocked = forbidden(host, name)
    if blocked:
        path, line, said = blocked[0]
        return f"{text} {path}:{line} forbids it: `{said}`. Take that line away, then run again."
    if not any(host.is_dir(f"{folder}/{kernel}") for folder in ("/lib/modules", "/usr/lib/modules")):
        return f"{text} /lib/modules/{kernel} is gone: another kernel was installed since this one booted. Reboot."
    return f"{text} {package_hint(host, kernel or '')}"


def package_hint(host: Host, kernel: str) -> str:
    """Which package would bring a module that the running kernel's folder lacks."""
    identity = host.text("/etc/os-release") or ""
    words = set(re.findall(r"[a-z]+", " ".join(re.findall(r"^ID(?:_LIKE)?=(.*)$", identity, re.MULTILINE))))
    if "ubuntu" in words:
        return f"Install linux-modules-extra-{kernel}, which holds what the small image lacks."
    if "debian" in words:
        return (
            f"`dpkg -V linux-image-{kernel}` tells whether it is whole. A cloud kernel lacks some: linux-image-amd64."
        )
    if words & {"rhel", "fedora", "centos"}:
        return f"Install kernel-modules-{kernel} and kernel-modules-extra-{kernel}."
    return f"Install the kernel's package of modules for {kernel}."


def set_live(host: Host, key: str, value: str) -> str | None:
    """Set a sysctl now. Returns why the kernel did not take it."""
    path = f"/proc/sys/{sysctl_path(key)}"
    try:
        with open(host.path(path), "r+b", buffering=0) as file:
            file.write(f"{value}\n".encode())
    except FileNotFoundError:
        return _no_such_sysctl(host, key, None, ())
    except OSError as error:
        now = live_sysctl(host, key)
        return f"sysctl {key}: the kernel refuses {value!r} ({path}: {error.strerror}); it stays {now!r}."
    now = live_sysctl(host, key)
    if now is not None and now != value:
        return f"sysctl {key}: set to {value!r}, the kernel made {now!r} of it. Write the value as the kernel shows it."
    return None


def _words(done: Completed) -> str:
    return " ".join((done.err or done.out).split()) or f"exit status {done.rc}"
