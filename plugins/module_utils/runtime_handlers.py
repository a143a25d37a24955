# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which handler names a RuntimeClass can carry on a node, and why another cannot. Facts in, judgement out; no I/O."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

GPU_PROGRAM = "nvidia-container-runtime"


def why_not(runtime: str, name: str, handler: Mapping[str, Any]) -> list[str]:
    """Every reason for which pods of this handler cannot start."""
    reasons = []
    path = handler.get("path")
    if handler.get("dropped"):
        reasons.append(f"{runtime} drops the handler at its start: {handler['dropped']}.")
    elif handler.get("path_exists") is False:
        reasons.append(f"{path or name} does not exist.")
    if handler.get("conmon_exists") is False:
        told = (
            f"conmon is not at {handler['conmon']}" if handler.get("conmon") else "no monitor_path, no conmon in PATH"
        )
        reasons.append(f"{told}: {runtime} refuses to start.")
    if handler.get("in_force") is False:
        where = f" ({handler['configured_in']} is read at its next start)" if handler.get("configured_in") else ""
        reasons.append(f"The running {runtime} does not know it{where}.")
    return reasons


def judged(runtime: str, state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The handlers of a runtime, each with ``works`` (null where the runtime does not answer) and ``why``."""
    found = {}
    for name, handler in (state.get("handlers") or {}).items():
        reasons = why_not(runtime, name, handler)
        works: bool | None = not reasons
        if works and handler.get("in_force") is None:
            works = None
            reasons.append(f"{runtime} does not answer, so whether it knows the handler is not known.")
        found[name] = {**handler, "works": works, "why": reasons, "gpu": is_gpu(handler)}
    return found


def is_gpu(handler: Mapping[str, Any]) -> bool:
    """Whether the handler calls NVIDIA's runtime."""
    return os.path.basename(handler.get("path") or "").startswith(GPU_PROGRAM)


def gpu_handler(handlers: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The name for a GPU RuntimeClass: `nvidia` where it works, else the first other that calls NVIDIA's runtime."""
    working = sorted(name for name, handler in handlers.items() if handler["gpu"] and handler["works"])
    return "nvidia" if "nvidia" in working else next(iter(working), None)


def chosen(facts: Mapping[str, Mapping[str, Any]], runtime: str | None) -> str | None:
    """The runtime to look at: the one asked for; else the first installed that kubelet could use, then Docker."""
    if runtime:
        return runtime
    there = [name for name in ("crio", "k3s", "containerd", "docker") if facts.get(name, {}).get("installed")]
    answering = [name for name in there if facts[name].get("answers")]
    if "docker" in there and "containerd" in there and facts["containerd"].get("cri_enabled") is False:
        there, answering = [name for name in there if name != "containerd"], ["docker"]
    return next(iter(answering or there), None)


def from_answer(handlers: tuple[str, ...] | None, info: Any) -> dict[str, dict[str, Any]]:
    """Handlers as a runtime behind a bare socket tells them: names, and the program where its own words have it."""
    found: dict[str, dict[str, Any]] = {}
    for name in handlers or ():
        path = driver = None
        if isinstance(info, Mapping):
            table = _step(_step(_step(info, "containerd"), "runtimes"), name)
            options = _step(table, "options")
            own = _step(_step(_step(info, "crio"), "Runtimes"), name)
            path = options.get("BinaryName") or own.get("RuntimePath") or None
            if options:
                driver = "systemd" if options.get("SystemdCgroup") is True else "cgroupfs"
        found[name] = {"path": path, "path_exists": None, "in_force": True, "cgroup_driver": driver}
    return found


def _step(tree: Any, key: str) -> Mapping[str, Any]:
    value = tree.get(key) if isinstance(tree, Mapping) else None
    return value if isinstance(value, Mapping) else {}
