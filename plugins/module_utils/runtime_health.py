# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a container runtime, over its own socket, whether it is well and which handlers it knows."""

from __future__ import annotations

from dataclasses import dataclass

from . import docker_engine
from .cri import NOT_CRI, UNIMPLEMENTED, Cri, CriError, known_handlers


@dataclass(frozen=True)
class Health:
    """What a runtime says of itself. ``handlers`` is None where it does not tell them."""

    ok: bool
    why: str
    handlers: tuple[str, ...] | None = None
    version: str | None = None
    settled: bool = False  # it answers, and waiting will not change what it says

    def lacks(self, handlers: tuple[str, ...] | list[str]) -> list[str]:
        """Which of these handlers it does not know; none where it does not tell."""
        return [] if self.handlers is None else [name for name in handlers if name not in self.handlers]


def cri_health(path: str, timeout_seconds: float = 5.0) -> Health:
    """CRI's Status call. The pod network is not asked for: it comes with the cluster."""
    try:
        status = Cri(path, timeout_seconds).status(verbose=True)
    except CriError as error:
        return Health(False, str(error), settled=error.reason in (UNIMPLEMENTED, NOT_CRI))
    conditions = {item.get("type"): item for item in status.get("conditions") or []}
    ready = conditions.get("RuntimeReady", {})
    handlers = known_handlers(status)
    if not ready.get("status"):
        why = ready.get("message") or ready.get("reason") or "it says RuntimeReady=false and no reason"
        return Health(False, f"{path}: {why}", handlers)
    return Health(True, "", handlers)


def docker_health(path: str, timeout_seconds: float = 5.0) -> Health:
    """Docker's /info: the runtimes it knows, and whatever it says is wrong."""
    try:
        told = docker_engine.info(path, timeout_seconds)
    except docker_engine.EngineError as error:
        return Health(False, str(error))
    return Health(True, "", tuple(sorted(told.get("Runtimes") or {})), told.get("ServerVersion"))
