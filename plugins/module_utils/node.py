# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look once: every part of a node's facts, each from a collector of its own.

A collector is a function of ``Host`` that returns plain dicts, lists, strings and numbers. One that fails yields
``{"unavailable": reason}`` and hides no other part. What each part holds: ``docs/facts.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from .facts import accelerator, cdi_state, containers, kernel, kubernetes, packaging, system
from .host import Host

Collector = Callable[[Host], Any]

# Part of the facts -> who collects it. The order is the order of the answer.
COLLECTORS: dict[str, Collector] = {
    "boot": system.boot,
    "os": system.operating_system,
    "memory": system.memory,
    "filesystems": system.filesystems,
    "swap": kernel.swap,
    "kernel": kernel.kernel,
    "units": system.units,
    "packages": packaging.packages,
    "repositories": packaging.repositories,
    "gpus": accelerator.pci_functions,
    "driver": accelerator.driver,
    "nvml": accelerator.nvml,
    "cgroups": containers.cgroups,
    "runtimes": containers.runtimes,
    "toolkit": containers.toolkit,
    "cdi": cdi_state.cdi,
    "kubelet": kubernetes.kubelet,
    "kubeadm": kubernetes.kubeadm,
    "kubeconfigs": kubernetes.kubeconfigs,
}


def unavailable(reason: str) -> dict[str, str]:
    """What stands in the facts where something could not be looked at."""
    return {"unavailable": reason}


def collect(
    host: Host,
    parts: Iterable[str] = (),
    collectors: Mapping[str, Collector] | None = None,
    *,
    units: Sequence[str] = (),
) -> dict[str, Any]:
    """The facts of a node: all parts, or those named. Raises ``KeyError`` for a part that does not exist.

    ``units``: systemd units to look at beside those of ``system.UNITS``.
    """
    collectors = {**COLLECTORS, "units": partial(system.units, more=units)} if collectors is None else collectors
    facts: dict[str, Any] = {"schema": 1}
    for part in list(parts) or list(collectors):
        try:
            facts[part] = collectors[part](host)
        except Exception as error:  # a collector's own fault must not hide the other layers
            if part not in collectors:
                raise
            facts[part] = unavailable(f"{type(error).__name__}: {error}")
    return facts


def look_up(facts: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path such as ``driver.loaded.version``; ``default`` where any step is missing."""
    here = facts
    for step in path.split("."):
        if not isinstance(here, Mapping) or step not in here:
            return default
        here = here[step]
    return default if here is None else here
