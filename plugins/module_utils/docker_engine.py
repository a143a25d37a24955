# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask Docker through its own socket what `docker info` would say. The standard library alone."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

LARGEST_ANSWER = 1 << 24


class EngineError(Exception):
    """Why Docker did not say, with the socket that was asked."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def info(path: str, timeout_seconds: float) -> dict[str, Any]:
    """The answer to /info. Raises ``EngineError``."""
    connection = _UnixConnection(path, timeout_seconds)
    try:
        connection.request("GET", "/info")
        reply = connection.getresponse()
        told = json.loads(reply.read(LARGEST_ANSWER))
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise EngineError(f"{path}: {error or type(error).__name__}") from None
    finally:
        connection.close()
    if reply.status != 200 or not isinstance(told, dict):
        said = told.get("message") if isinstance(told, dict) else None
        raise EngineError(f"{path}: {said or f'HTTP status {reply.status}'}")
    return told
