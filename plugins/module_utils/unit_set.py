# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be done so that files and the systemd units they make are as wanted. Decides; runs and writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from .unit_states import STARTS_AT_BOOT

PROPERTIES = ("Id", "Names", "LoadState", "UnitFileState", "ActiveState", "NeedDaemonReload")
# `enabled-runtime` ends with this boot, so it is neither enabled nor in need of being disabled.
SWITCHED_OFF = (
    "disabled",
    "masked",
    "masked-runtime",
    "enabled-runtime",
    "",
    "static",
    "alias",
    "indirect",
    "generated",
    "not-found",
)


@dataclass(frozen=True)
class Plan:
    """The steps, in this order: systemd disables no unit whose file is gone."""

    stop: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    reload: bool = False
    enable: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        steps = (self.write, self.remove, self.stop, self.disable, self.enable, self.start, self.restart)
        return any(steps)

    def before_files(self) -> list[list[str]]:
        """What systemctl is told before files are written and removed."""
        return _orders(stop=self.stop, disable=self.disable)

    def after_files(self) -> list[list[str]]:
        """And what afterwards."""
        reload = [["daemon-reload"]] if self.reload else []
        return reload + _orders(enable=self.enable, start=self.start, restart=self.restart)


def _orders(**units: tuple[str, ...]) -> list[list[str]]:
    return [[order, *names] for order, names in units.items() if names]


def states(text: str, units: Sequence[str]) -> dict[str, dict[str, str]]:
    """Unit -> its properties, from what `systemctl show` prints for several units. Takes any text."""
    found: dict[str, dict[str, str]] = {unit: dict.fromkeys(PROPERTIES, "") for unit in units}
    for block in text.split("\n\n"):
        pairs = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        for name in {pairs.get("Id", ""), *pairs.get("Names", "").split()}:
            if name in found:
                found[name].update({key: value for key, value in pairs.items() if key in PROPERTIES})
    return found


def unit_of(path: str) -> str:
    """The unit that a file makes or, as a drop-in, changes."""
    folder, _slash, name = path.rpartition("/")
    return folder.rsplit("/", 1)[-1][:-2] if folder.endswith(".d") and name.endswith(".conf") else name


def plan(
    contents: Mapping[str, tuple[bool, bool]],
    absent: Sequence[str],
    state: Mapping[str, Mapping[str, str]],
    enabled: Sequence[str],
    started: Sequence[str],
    disabled: Sequence[str],
) -> Plan:
    """``contents``: path -> (text differs, mode differs); ``absent``: the paths that are there and must not be."""
    write = tuple(path for path, differs in contents.items() if any(differs))
    rewritten = {unit_of(path) for path, (text, _mode) in contents.items() if text}
    ours = {unit_of(path) for path in contents}

    def is_now(unit: str, key: str) -> str:
        return str(state.get(unit, {}).get(key, ""))

    # A run that ended between writing a file and restarting its unit leaves systemd with the old text.
    unread = {unit for unit in started if unit in ours and is_now(unit, "NeedDaemonReload") == "yes"}
    anew = {unit for unit in unread if is_now(unit, "ActiveState") == "active"} | rewritten
    there = [unit for unit in disabled if is_now(unit, "LoadState") not in ("not-found", "")]
    return Plan(
        write=write,
        remove=tuple(absent),
        stop=tuple(unit for unit in there if is_now(unit, "ActiveState") in ("active", "activating", "reloading")),
        disable=tuple(unit for unit in there if is_now(unit, "UnitFileState") not in SWITCHED_OFF),
        reload=bool(rewritten or absent) or any(item.get("NeedDaemonReload") == "yes" for item in state.values()),
        enable=tuple(unit for unit in enabled if is_now(unit, "UnitFileState") not in STARTS_AT_BOOT),
        start=tuple(unit for unit in started if is_now(unit, "ActiveState") != "active" and unit not in anew),
        restart=tuple(unit for unit in started if unit in anew),
    )


def switched(known: Mapping[str, Mapping[str, bool]], todo: Plan, own: Collection[str]) -> dict[str, dict[str, bool]]:
    """Unit -> what it was before us (``enabled``, ``active``), of what is changed; ``own`` units were not there."""
    found = {unit: dict(was) for unit, was in known.items()}
    changes = (
        (todo.stop, "active", True),
        (todo.disable, "enabled", True),
        (todo.start, "active", False),
        (todo.enable, "enabled", False),
    )
    for units, key, was in changes:
        for unit in units:
            if unit not in own:
                found.setdefault(unit, {}).setdefault(key, was)
    return found


def put_back(
    known: Mapping[str, Mapping[str, bool]],
    own: Collection[str],
    state: Mapping[str, Mapping[str, str]],
    absent: Sequence[str],
) -> Plan:
    """Units are as they were by what ``switched`` told, the ``own`` are off, and the files of ``absent`` go."""
    there = {unit for unit in known if state.get(unit, {}).get("LoadState") not in (None, "", "not-found")}
    off = {
        key: {*own, *(unit for unit, was in known.items() if was.get(key) is False)} for key in ("enabled", "active")
    }
    todo = plan(
        {},
        absent,
        state,
        [unit for unit, was in known.items() if was.get("enabled") and unit in there],
        [unit for unit, was in known.items() if was.get("active") and unit in there],
        sorted(off["enabled"] | off["active"]),
    )
    return replace(
        todo,
        stop=tuple(unit for unit in todo.stop if unit in off["active"]),
        disable=tuple(unit for unit in todo.disable if unit in off["enabled"]),
    )
