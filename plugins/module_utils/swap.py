# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swap off for good: every place it comes from, what to do in each, and doing it.

Five layers, each enough by itself on most nodes, together enough on all: ``live`` (what is on now), ``fstab``,
``units`` (systemd's swap units and the daemons that make swap files), ``zram`` (its generator and services), ``cron``
(a failsafe that turns off, after each boot, whatever turned swap on all the same). Looking runs no command.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from . import files, fstab
from .fstab import Edit
from .host import Completed, Host, Run, run_command
from .ownership import Ledger

LAYERS = ("live", "fstab", "units", "zram", "cron")

# systemd's own order: what an earlier folder says of a unit wins.
UNIT_FOLDERS = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
)
GENERATOR_FOLDERS = (
    "/run/systemd/system-generators",
    "/etc/systemd/system-generators",
    "/usr/local/lib/systemd/system-generators",
    "/usr/lib/systemd/system-generators",
    "/lib/systemd/system-generators",
)
MASK = "/dev/null"
OURS = "/etc/systemd/system"
# Services that make swap: files (Raspbian's, Debian's, Arch's), and compressed memory (Debian's, Ubuntu's, Arch's).
FILE_SERVICES = ("dphys-swapfile.service", "swapspace.service", "systemd-swap.service")
ZRAM_SERVICES = ("zramswap.service", "zram-config.service", "zramd.service")
ZRAM_GENERATOR = "zram-generator"
ZRAM_CONFIGURATION = (
    "/etc/systemd/zram-generator.conf",
    "/etc/systemd/zram-generator.conf.d/*.conf",
    "/run/systemd/zram-generator.conf",
    "/run/systemd/zram-generator.conf.d/*.conf",
    "/usr/local/lib/systemd/zram-generator.conf",
    "/usr/lib/systemd/zram-generator.conf",
    "/usr/lib/systemd/zram-generator.conf.d/*.conf",
    "/etc/default/zramswap",
    "/etc/default/zramd",
)

LEDGER = "swap"
CRON_FILE = "/etc/cron.d/gpunode-swapoff"
CRON_TEXT = """\
# Written by gpunode.ready, module swap: whatever turned swap on during boot, it goes off again.
# kubelet does not start while swap is on.
@reboot root {swapoff} -a
"""


@dataclass(frozen=True)
class Area:
    """A swap area in use."""

    path: str
    type: str
    size_bytes: int
    used_bytes: int


@dataclass(frozen=True)
class Unit:
    """A unit that turns swap on. ``enabled``: masked, generated, enabled or disabled; ``path``: the file in force."""

    name: str
    active: str
    enabled: str
    path: str

    @property
    def masked(self) -> bool:
        return self.enabled == "masked"


@dataclass(frozen=True)
class Source:
    """Something installed that makes zram swap, and the link that would mask it."""

    name: str
    mask_path: str
    masked: bool


@dataclass(frozen=True)
class State:
    """All that a node says of swap."""

    live: tuple[Area, ...] = ()
    fstab: str = ""
    units: tuple[Unit, ...] = ()
    zram: tuple[Source, ...] = ()
    zram_configured_in: tuple[str, ...] = ()
    cron: str | None = None
    cron_folder: bool = True
    systemd: bool = True
    available_bytes: int | None = None
    swapoff: str = "/sbin/swapoff"
    agent_swap: tuple[str, int] | None = None


@dataclass(frozen=True)
class Plan:
    """What is to do in each layer."""

    swapoff: tuple[str, ...] = ()
    fstab: Edit = field(default_factory=lambda: Edit("", ""))
    stop: tuple[str, ...] = ()
    mask_units: tuple[str, ...] = ()
    mask_zram: tuple[str, ...] = ()
    cron: Edit = field(default_factory=lambda: Edit("", ""))
    refusal: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(
            self.swapoff or self.fstab.changed or self.stop or self.mask_units or self.mask_zram or self.cron.changed
        )

    def layers(self) -> dict[str, list[str]]:
        """What is to do, layer by layer, as sentences. A layer where nothing is to do has none."""
        return {
            "live": [f"turned off {path}" for path in self.swapoff],
            "fstab": [f"{fstab.FSTAB}: {fstab.summary(self.fstab)}"] if self.fstab.changed else [],
            "units": [f"stopped {name}" for name in self.stop] + [f"masked {path}" for path in self.mask_units],
            "zram": [f"masked {path}" for path in self.mask_zram],
            "cron": [f"wrote {CRON_FILE}"] if self.cron.changed else [],
        }


# --- looking --------------------------------------------------------------------------------------------------------


def look(host: Host) -> State:
    live = live_areas(host.text("/proc/swaps") or "")
    return State(
        live=tuple(live),
        fstab=files.read_text(host.path(fstab.FSTAB)) or "",
        units=tuple(swap_units(host, live)),
        zram=tuple(zram_sources(host)),
        zram_configured_in=tuple(path for pattern in ZRAM_CONFIGURATION for path in host.glob(pattern)),
        cron=files.read_text(host.path(CRON_FILE)),
        cron_folder=host.is_dir(os.path.dirname(CRON_FILE)),
        systemd=host.is_dir("/run/systemd/system"),
        available_bytes=available_memory(host.text("/proc/meminfo") or ""),
        swapoff=host.which("swapoff") or "/sbin/swapoff",
        agent_swap=agent_swap(host.text("/etc/waagent.conf") or ""),
    )


def live_areas(text: str) -> list[Area]:
    """The areas in the text of /proc/swaps."""
    areas = []
    for line in text.split("\n")[1:]:
        words = line.split()
        if len(words) >= 5 and words[-3].isdigit() and words[-2].isdigit():
            path = _unescape(" ".join(words[:-4]))
            areas.append(Area(path, words[-4], int(words[-3]) * 1024, int(words[-2]) * 1024))
    return areas


def available_memory(text: str) -> int | None:
    found = re.search(r"^MemAvailable:\s+([0-9]+) kB$", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def agent_swap(text: str) -> tuple[str, int] | None:
    """The line by which Azure's agent makes a swap file on the resource disk at each boot."""
    for number, line in enumerate(text.split("\n"), start=1):
        if re.match(r"\s*ResourceDisk\.EnableSwap\s*=\s*y", line, re.IGNORECASE):
            return line.strip(), number
    return None


def swap_units(host: Host, live: Iterable[Area]) -> list[Unit]:
    """Every swap unit that has a file, generated ones too, and every installed service that makes swap files."""
    on = {area.path for area in live}
    names = {path.rsplit("/", 1)[-1] for folder in UNIT_FOLDERS for path in host.glob(f"{folder}/*.swap")}
    found = []
    for name in sorted(names):
        path = _in_force(host, name)
        if path:
            area = _area_of(name)
            real = os.path.realpath(area) if host.root == "/" else area
            found.append(Unit(name, "active" if {area, real} & on else "inactive", _enabled(host, name, path), path))
    for name in FILE_SERVICES:
        path = _in_force(host, name)
        if path:
            found.append(Unit(name, "unknown", _enabled(host, name, path), path))
    return found


def zram_sources(host: Host) -> list[Source]:
    """What is installed that makes zram swap, and whether it is masked."""
    found = []
    generator = [f"{folder}/{ZRAM_GENERATOR}" for folder in GENERATOR_FOLDERS]
    there = [path for path in generator if host.is_link(path) or host.exists(path)]
    if any(not _is_mask(host, path) for path in there):
        masked = bool(there) and _is_mask(host, there[0])
        found.append(Source(ZRAM_GENERATOR, f"/etc/systemd/system-generators/{ZRAM_GENERATOR}", masked))
    for name in ZRAM_SERVICES:
        path = _in_force(host, name)
        shipped = any(host.exists(f"{folder}/{name}") for folder in UNIT_FOLDERS[-4:])
        if path and (shipped or not _is_mask(host, path)):
            found.append(Source(name, f"{OURS}/{name}", _is_mask(host, path)))
    return found


def _in_force(host: Host, name: str) -> str | None:
    """The file that says what a unit is: the first in systemd's order."""
    for folder in UNIT_FOLDERS:
        path = f"{folder}/{name}"
        if host.is_link(path) or host.exists(path):
            return path
    return None


def _is_mask(host: Host, path: str) -> bool:
    """A unit or generator is masked by a link to /dev/null, or by an empty file."""
    if host.readlink(path) == MASK:
        return True
    status = host.stat(path)
    return status is not None and status.st_size == 0 and not host.is_link(path)


def _enabled(host: Host, name: str, path: str) -> str:
    if _is_mask(host, path):
        return "masked"
    if "/generator" in path:
        return "generated"
    wanted = [f"{folder}/*.{kind}/{name}" for folder in UNIT_FOLDERS for kind in ("wants", "requires")]
    return "enabled" if any(host.glob(_literal(pattern, name)) for pattern in wanted) else "disabled"


def _literal(pattern: str, name: str) -> str:
    """The name's own brackets must not be taken for a pattern."""
    return pattern[: -len(name)] + re.sub(r"([*?[])", r"[\1]", name)


def _area_of(unit: str) -> str:
    """The path that a swap unit is named after, as systemd-escape(1) --path writes it."""
    path = unit[: -len(".swap")].replace("-", "/").encode("utf-8", "surrogateescape")
    plain = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes([int(found.group(1), 16)]), path)
    return "/" + plain.decode("utf-8", "surrogateescape")


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-3][0-7]{2})", lambda found: chr(int(found.group(1), 8)), text)


# --- deciding -------------------------------------------------------------------------------------------------------


def plan(state: State, layers: Iterable[str] = LAYERS) -> Plan:
    """What is to do so that swap is off in the given layers, and stays off."""
    chosen = set(layers)
    warnings = []
    off = tuple(area.path for area in state.live) if "live" in chosen else ()
    edit = fstab.without_swap(state.fstab) if "fstab" in chosen else Edit("", "")

    stop: list[str] = []
    mask_units: list[str] = []
    mask_zram: list[str] = []
    if "units" in chosen:
        unmasked = [unit for unit in state.units if not unit.masked]
        mask_units = [f"{OURS}/{unit.name}" for unit in unmasked]
        stop += [unit.name for unit in unmasked if state.systemd and unit.active != "inactive"]
    if "zram" in chosen:
        unmasked_zram = [source for source in state.zram if not source.masked]
        mask_zram = [source.mask_path for source in unmasked_zram]
        if state.systemd:
            stop += [source.name for source in unmasked_zram if source.name.endswith(".service")]
            if any(source.name == ZRAM_GENERATOR for source in state.zram):
                devices = [area.path[len("/dev/") :] for area in state.live if area.path.startswith("/dev/zram")]
                stop += [f"systemd-zram-setup@{device}.service" for device in devices]

    cron = Edit("", "")
    if "cron" in chosen:
        if state.cron_folder:
            cron = Edit(state.cron or "", CRON_TEXT.format(swapoff=state.swapoff))
        else:
            warnings.append(
                "/etc/cron.d is not there, so the failsafe that turns swap off after each boot was not written. "
                "Install cron, or leave `cron` out of the layers."
            )
    if state.agent_swap:
        text, line = state.agent_swap
        warnings.append(
            f"/etc/waagent.conf:{line} says `{text}`: Azure's agent makes a swap file at each boot. Set it to n."
        )
    return Plan(
        swapoff=off,
        fstab=edit,
        stop=tuple(stop),
        mask_units=tuple(mask_units),
        mask_zram=tuple(mask_zram),
        cron=cron,
        refusal=_refusal(state) if off or stop else None,
        warnings=tuple(warnings),
    )


def _refusal(state: State) -> str | None:
    """Turning swap off brings back into memory what is swapped out. Where that does not fit, the kernel would kill."""
    used = sum(area.used_bytes for area in state.live)
    available = state.available_bytes
    if available is None or used <= available:
        return None
    where = ", ".join(f"{area.path} {_mib(area.used_bytes)}" for area in state.live)
    return (
        f"Swap holds {_mib(used)} ({where}), and only {_mib(available)} of memory are available (MemAvailable in "
        "/proc/meminfo): turning swap off would have the kernel kill processes. Nothing was changed. Stop what uses "
        "the memory (`ps -eo pid,comm,rss --sort=-rss | head`), or reboot after taking swap out of /etc/fstab."
    )


def _mib(size: int) -> str:
    return f"{size / 1048576:.0f} MiB"


# --- doing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """What came of it: where the old fstab is kept, what was moved aside, what could not be done."""

    fstab_backup: str | None = None
    moved: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def apply(host: Host, todo: Plan, run: Run = run_command, look_again: Callable[[], State] | None = None) -> Done:
    """Do what the plan says: first what makes it last, then what is on now. One failure does not stop the rest."""
    problems: list[str] = []
    moved: list[str] = []
    backup = None
    try:
        _own(host, todo)
    except files.WriteError as error:
        return Done(problems=(f"{error} Nothing was changed.",))

    def attempt(action: Callable[..., None], *arguments: object) -> None:
        try:
            action(*arguments)
        except files.WriteError as error:
            problems.append(str(error))

    def mask(path: str) -> None:
        moved.extend(_mask(host, path))

    if todo.fstab.changed:
        try:
            path = host.path(fstab.FSTAB)
            backup = files.replace_text(path, todo.fstab.after, follow=True, backup=True).backup
        except files.WriteError as error:
            problems.append(str(error))
    if todo.cron.changed:
        attempt(_write_cron, host, todo.cron.after)

    problems += _swapoff(todo.swapoff, run)
    if todo.stop:
        done = run(["systemctl", "stop", "--", *todo.stop], 600)
        if not done.ok:
            problems.append(f"systemctl stop {' '.join(todo.stop)}: {_words(done)}")
    for path in (*todo.mask_units, *todo.mask_zram):
        attempt(mask, path)
    if (todo.mask_units or todo.mask_zram or todo.fstab.changed) and host.is_dir("/run/systemd/system"):
        done = run(["systemctl", "daemon-reload"], 90)
        if not done.ok:
            problems.append(f"systemctl daemon-reload: {_words(done)}")

    if todo.swapoff:
        again = look_again() if look_again else look(host)
        # a daemon may have turned more on before it was stopped
        problems += _swapoff(tuple(area.path for area in again.live if area.path not in todo.swapoff), run)
        still = live_areas(host.text("/proc/swaps") or "")
        if still and not problems:
            paths = ", ".join(area.path for area in still)
            problems.append(f"Swap is still on (/proc/swaps lists {paths}): something turned it on again meanwhile.")
    return Done(backup, tuple(moved), tuple(problems))


def _own(host: Host, todo: Plan) -> None:
    """Write down, before it is done, what is ours from now on."""
    ledger = Ledger(LEDGER, host.path)
    if todo.fstab.changed:
        ledger.note(fstab.FSTAB, text=todo.fstab.after, follow=True)
    if todo.cron.changed:
        ledger.note(CRON_FILE, text=todo.cron.after, mode=0o644)
    for path in (*todo.mask_units, *todo.mask_zram):
        ledger.note(path, link=MASK)
    ledger.replace(
        live=list(dict.fromkeys([*ledger.fact("live", []), *todo.swapoff])) or None,
        stopped=list(dict.fromkeys([*ledger.fact("stopped", []), *todo.stop])) or None,
    )
    ledger.save()


def _write_cron(host: Host, text: str) -> None:
    files.replace_text(host.path(CRON_FILE), text, mode=0o644)


def _mask(host: Host, path: str) -> list[str]:
    """Link to /dev/null. A file that an administrator wrote at that very place is kept under another name."""
    moved = []
    real = host.path(path)
    if os.path.isfile(real) and not os.path.islink(real):
        moved.append(files.move_aside(real))
    files.link(real, MASK)
    return moved


def _swapoff(paths: Iterable[str], run: Run) -> list[str]:
    problems = []
    for path in paths:
        if path.endswith(" (deleted)"):
            problems.append(f"{path}: this swap file was deleted while in use, so only a reboot turns it off.")
            continue
        done = run(["swapoff", "--", path], 3600)
        if not done.ok:
            problems.append(f"swapoff {path}: {_words(done)}")
    return problems


def _words(done: Completed) -> str:
    return " ".join((done.err or done.out).split()) or f"exit status {done.rc}"
