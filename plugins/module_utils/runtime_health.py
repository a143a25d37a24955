# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a container runtime, over its own socket, whether it is well and which handlers it knows."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .cri import NOT_CRI, UNIMPLEMENTED, Cri, CriError
from .runtime_config import cri_runtimes


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


def known_handlers(status: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The handlers of a Status answer: its own list, which older runtimes lack, else the configuration in its info."""
    names = [str(item.get("name") or "") for item in status.get("handlers") or []]
    if names:
        return tuple(sorted({name for name in names if name}))
    config = (status.get("info") or {}).get("config")
    if not isinstance(config, Mapping):
        return None
    for tree in (config.get("containerd"), config.get("crio"), config):
        if isinstance(tree, Mapping):
            for key in ("runtimes", "Runtimes"):
                if isinstance(tree.get(key), Mapping):
                    return tuple(sorted(tree[key]))
    found = cri_runtimes(config)
    return tuple(sorted(found)) if found else None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def docker_health(path: str, timeout_seconds: float = 5.0) -> Health:
    """Docker's /info: the runtimes it knows, and whatever it says is wrong."""
    connection = _UnixConnection(path, timeout_seconds)
    try:
        connection.request("GET", "/info")
        answer = connection.getresponse()
        text = answer.read(4 << 20).decode(errors="replace")
        data = json.loads(text)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Health(False, f"{path}: {error or type(error).__name__}")
    finally:
        connection.close()
    if answer.status != 200 or not isinstance(data, dict):
        said = data.get("message") if isinstance(data, dict) else None
        return Health(False, f"{path}: {said or f'status {answer.status}'}")
    return Health(True, "", tuple(sorted(data.get("Runtimes") or {})), data.get("ServerVersion"))
