# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading facts without trusting their shape: every reader answers with the type it promises, whatever stands there.

A part may be ``{"unavailable": reason}``, a value null; a check asks through these and stays short.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..findings import Evidence
from ..node import look_up
from ..unit_states import STARTS_AT_BOOT

Facts = Mapping[str, Any]


def entries(facts: Any, path: str) -> list[Mapping[str, Any]]:
    """The mappings in the list at ``path``; empty where there is no such list."""
    value = look_up(facts, path)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def names(facts: Any, path: str) -> list[str]:
    """The strings in the list at ``path``; empty where there is no such list."""
    value = look_up(facts, path)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def mapping(facts: Any, path: str) -> dict[str, Any]:
    """The mapping at ``path``; empty where there is none or where it was unavailable."""
    value = look_up(facts, path)
    return dict(value) if isinstance(value, Mapping) and "unavailable" not in value else {}


def mappings(facts: Any, path: str) -> dict[str, Mapping[str, Any]]:
    """The mapping at ``path``, of mappings by name; what is no mapping is left out."""
    return {name: value for name, value in mapping(facts, path).items() if isinstance(value, Mapping)}


def text(facts: Any, path: str) -> str:
    """The string at ``path``; empty where there is none. Numbers are spelt out."""
    value = look_up(facts, path)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def number(facts: Any, path: str) -> float | None:
    """The number at ``path``; None where there is none."""
    value = look_up(facts, path)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def is_true(facts: Any, path: str) -> bool:
    return look_up(facts, path) is True


def is_false(facts: Any, path: str) -> bool:
    """Whether it was seen to be false: not where it is unknown."""
    return look_up(facts, path) is False


def looked_at(facts: Facts, path: str) -> bool:
    """Whether something other than ``unavailable`` stands at ``path``; null counts as looked at where the key is."""
    here: Any = facts
    for step in path.split("."):
        if not isinstance(here, Mapping) or "unavailable" in here or step not in here:
            return False
        here = here[step]
    return not (isinstance(here, Mapping) and "unavailable" in here)


def version_key(version: str) -> tuple[tuple[int, Any], ...]:
    """Sorts versions and kernel releases as people read them: 6.1.0-9 before 6.1.0-10."""
    return tuple((0, int(part)) if part.isdigit() else (-1, part) for part in re.findall(r"\d+|[a-z]+", version))


def minor_of(version: str) -> tuple[int, int] | None:
    """(1, 36) of ``v1.36.4-1.1``; None where there is no such number."""
    found = re.match(r"\D{0,2}(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


def branch_of(version: str) -> int | None:
    """580 of ``580.95.05-1`` or of ``580``; None where there is no such number. An epoch is skipped."""
    found = re.match(r"(?:\d+:)?(\d{3,4})(?:\D|$)", version)
    return int(found[1]) if found else None


def size(amount: float) -> str:
    """``2.0 GiB``, for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def listed(words: Iterable[str], empty: str = "none") -> str:
    """``a, b and c``."""
    words = list(words)
    if len(words) < 2:
        return words[0] if words else empty
    return f"{', '.join(words[:-1])} and {words[-1]}"


def seen(source: str, told: str = "") -> Evidence:
    """Evidence of a source that may be told as ``path:line``."""
    path, _colon, line = source.rpartition(":")
    return Evidence(path, told, int(line)) if path and line.isdigit() else Evidence(source, told)


def driver_wanted(expect: Mapping[str, Any]) -> bool:
    """Whether this node should have GPUs and an NVIDIA driver on the host."""
    return bool(expect.get("gpu")) and expect.get("driver") != "none"


def gpus(facts: Facts) -> list[Mapping[str, Any]]:
    """The NVIDIA GPUs on the PCI bus."""
    return entries(facts, "gpus.devices")


def unit(facts: Facts, name: str) -> Mapping[str, Any]:
    """What systemd says of a unit, named with or without ``.service``; empty where it is unknown or not installed."""
    units = mappings(facts, "units")
    found = units.get(name) or units.get(f"{name}.service") or {}
    return {} if found.get("load") in ("not-found", "masked-not-found") else found


def comes_at_boot(state: Mapping[str, Any]) -> bool | None:
    """Whether a unit is started at boot, as far as its own state tells; None where it is unknown."""
    enabled = state.get("enabled")
    if not isinstance(enabled, str) or not enabled:
        return None
    return enabled in STARTS_AT_BOOT
