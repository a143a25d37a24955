# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a container runtime through its CRI socket, as kubelet does: runtime.v1.RuntimeService, the calls that only look.

The standard library alone: nodes have no grpcio, and crictl is a package that may be missing. Everything that can go
wrong is a ``CriError``, whose ``reason`` says which of them it is.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from . import grpc_wire as wire

# Reasons
ABSENT = "absent"  # no such socket
REFUSED = "refused"  # a socket file that nobody listens on
DENIED = "denied"  # no permission
NOT_CRI = "not_cri"  # somebody listens who does not speak gRPC, or not this service
UNIMPLEMENTED = "unimplemented"  # a CRI, but older than this call
TIMEOUT = "timeout"
FAILED = "failed"  # the runtime answered with an error, or broke off

_SERVICE = "runtime.v1.RuntimeService"
_WINDOW = 2**24  # bytes an answer may have
_CODES = [
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
]


class CriError(Exception):
    """Why a runtime did not answer. ``reason`` is one of the names above; ``code`` gRPC's own, where it sent one."""

    def __init__(self, reason: str, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.code = code


class Cri:
    """A runtime behind a Unix socket. Each call is a connection of its own, and ends within ``timeout_seconds``."""

    def __init__(self, socket_path: str, timeout_seconds: float = 2.0) -> None:
        self.socket_path = socket_path[len("unix://") :] if socket_path.startswith("unix://") else socket_path
        self.timeout_seconds = timeout_seconds

    def version(self) -> dict[str, str]:
        """``version`` (of kubelet's API), ``runtime_name``, ``runtime_version``, ``runtime_api_version``."""
        names = {1: "version", 2: "runtime_name", 3: "runtime_version", 4: "runtime_api_version"}
        found = dict.fromkeys(names.values(), "")
        for number, value in self._call("Version", wire.field(1, "0.1.0")):
            if number in names:
                found[names[number]] = _text(value)
        return found

    def status(self, verbose: bool = True) -> dict[str, Any]:
        """How the runtime is.

        ``conditions`` [``type``, ``status``, ``reason``, ``message``], ``handlers`` [``name``,
        ``recursive_read_only_mounts``, ``user_namespaces``] (empty before CRI of Kubernetes 1.30; "" is the default
        one) and, when verbose, ``info`` with the runtime's own words, JSON decoded where it is JSON.
        """
        found: dict[str, Any] = {"conditions": [], "handlers": [], "info": {}}
        for number, value in self._call("Status", wire.field(1, verbose)):
            if number == 1:
                for inner, condition in wire.fields(_message(value)):
                    if inner == 1:
                        found["conditions"].append(_condition(condition))
            elif number == 2:
                pair = dict(wire.fields(_message(value)))
                found["info"][_text(pair.get(1, b""))] = _decoded(_text(pair.get(2, b"")))
            elif number == 3:
                found["handlers"].append(_handler(value))
        return found

    def runtime_config(self) -> dict[str, Any]:
        """``cgroup_driver``: systemd, cgroupfs, or None where the runtime does not say (it is no Linux runtime)."""
        driver = None
        for number, value in self._call("RuntimeConfig", b""):
            if number == 1:
                code = dict(wire.fields(_message(value))).get(1, 0)
                driver = {0: "systemd", 1: "cgroupfs"}.get(code if isinstance(code, int) else -1)
        return {"cgroup_driver": driver}

    def _call(self, method: str, request: bytes) -> list[tuple[int, int | bytes]]:
        deadline = time.monotonic() + self.timeout_seconds
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout_seconds)
            connection.connect(self.socket_path)
            exchange = _Exchange(f"/{_SERVICE}/{method}", request, self.timeout_seconds)
            with contextlib.suppress(BrokenPipeError):  # who hangs up first may still have said why
                connection.sendall(exchange.opening())
            while not exchange.done:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise socket.timeout
                connection.settimeout(left)
                received = connection.recv(65536)
                answer = exchange.receive(received)
                if answer:
                    connection.sendall(answer)
            return list(wire.fields(exchange.answer(self.socket_path, method)))
        except socket.timeout:
            raise CriError(
                TIMEOUT, f"{self.socket_path}: no answer to {method} within {self.timeout_seconds:g} s"
            ) from None
        except wire.WireError as error:
            raise CriError(NOT_CRI, f"{self.socket_path}: whoever listens here speaks no gRPC: {error}") from None
        except (OSError, ValueError) as error:
            raise self._unreachable(error, method) from None
        finally:
            connection.close()

    def _unreachable(self, error: Exception, method: str) -> CriError:
        number = error.errno if isinstance(error, OSError) else None
        if number in (errno.ENOENT, errno.ENOTDIR):
            return CriError(ABSENT, f"{self.socket_path}: no such socket")
        if number == errno.ECONNREFUSED:
            return CriError(REFUSED, f"{self.socket_path}: nobody listens on this socket (is the service running?)")
        if number in (errno.EACCES, errno.EPERM):
            return CriError(DENIED, f"{self.socket_path}: no permission to connect (become root)")
        return CriError(FAILED, f"{self.socket_path}: {method}: {getattr(error, 'strerror', None) or error}")


class _Exchange:
    """One unary call on a new connection: what to send for what was received. No I/O."""

    def __init__(self, path: str, request: bytes, timeout_seconds: float) -> None:
        self._path = path
        self._request = request
        self._timeout_ms = max(1, int(timeout_seconds * 1000))
        self._frames = wire.Frames()
        self._decoder = wire.HeaderDecoder()
        self._headers: dict[str, str] = {}
        self._block: bytearray | None = None  # a header block that goes on
        self._block_ends_stream = False
        self._body = bytearray()
        self._first = True
        self._broke_off: str | None = None
        self.done = False

    def opening(self) -> bytes:
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", self._path),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("user-agent", "gpunode.ready"),
            ("te", "trailers"),
            ("grpc-timeout", f"{self._timeout_ms}m"),
        ]
        return (
            wire.PREFACE
            + wire.settings({wire.INITIAL_WINDOW_SIZE: _WINDOW})
            + wire.frame(wire.WINDOW_UPDATE, 0, 0, _WINDOW.to_bytes(4, "big"))
            + wire.frame(wire.HEADERS, wire.END_HEADERS, 1, wire.encode_headers(headers))
            + wire.frame(wire.DATA, wire.END_STREAM, 1, wire.message(self._request))
        )

    def receive(self, received: bytes) -> bytes:
        """What to send in answer to what came; ``done`` once the call has ended."""
        if self._first and received:
            self._first = False
            if received.startswith(b"HTTP/1"):
                raise wire.WireError("it answers in HTTP/1")
        if not received:
            self.done = True
            self._broke_off = self._broke_off or "the connection was closed before the answer was whole"
            return b""
        self._frames.feed(received)
        answer = b""
        for kind, flags, stream, payload in self._frames.take():
            answer += self._frame(kind, flags, stream, payload)
            if self.done:
                break
        return answer

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        if self._block is not None and kind != wire.CONTINUATION:
            raise wire.WireError("a header block is not continued")
        if kind == wire.SETTINGS and not flags & wire.ACK:
            return wire.frame(wire.SETTINGS, wire.ACK, 0)
        if kind == wire.PING and not flags & wire.ACK:
            return wire.frame(wire.PING, wire.ACK, 0, payload)
        if kind == wire.GOAWAY:
            last = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
            self._broke_off = payload[8:].decode(errors="replace") or "the runtime is going away"
            self.done = last < 1
        elif kind == wire.HEADERS:
            self._headers_begin(flags, wire.unpadded(flags, payload))
        elif kind == wire.CONTINUATION:
            self._headers_go_on(flags, payload)
        elif stream == 1 and kind == wire.DATA:
            self._body += wire.unpadded(flags & ~wire.HAS_PRIORITY, payload)
            if len(self._body) > _WINDOW:
                raise wire.WireError(f"an answer of more than {_WINDOW} bytes")
            self.done = bool(flags & wire.END_STREAM)
        elif stream == 1 and kind == wire.RST_STREAM:
            self._broke_off = f"the runtime reset the call (HTTP/2 error {int.from_bytes(payload[:4], 'big')})"
            self.done = True
        return b""

    def _headers_begin(self, flags: int, block: bytes) -> None:
        self._block = bytearray()
        self._block_ends_stream = bool(flags & wire.END_STREAM)
        self._headers_go_on(flags, block)

    def _headers_go_on(self, flags: int, block: bytes) -> None:
        if self._block is None:
            raise wire.WireError("a header block goes on that never began")
        self._block += block
        if len(self._block) > wire.LARGEST_HEADERS:
            raise wire.WireError("a header block without an end")
        if flags & wire.END_HEADERS:
            self._headers.update(self._decoder.decode(bytes(self._block)))
            self._block = None
            self.done = self._block_ends_stream

    def answer(self, socket_path: str, method: str) -> bytes:
        """The message of the answer. Raises ``CriError`` where there is none."""
        status = self._headers.get("grpc-status")
        if status is None:
            if self._headers.get(":status", "200") != "200":
                raise wire.WireError(f"it answers with HTTP status {self._headers[':status']}")
            raise CriError(FAILED, f"{socket_path}: {method}: {self._broke_off or 'no grpc-status in the answer'}")
        if status == "0":
            return wire.only_message(bytes(self._body))
        code = _CODES[int(status)] if status.isdecimal() and int(status) < len(_CODES) else status
        text = urllib.parse.unquote(self._headers.get("grpc-message", ""), errors="replace")
        said = f"{socket_path}: {method}: {code}: {text}"
        if code == "UNIMPLEMENTED" and "unknown service" in text:
            raise CriError(NOT_CRI, f"{said} (the runtime's CRI is disabled, or older than v1)", code)
        if code == "UNIMPLEMENTED":
            raise CriError(UNIMPLEMENTED, said, code)
        raise CriError(TIMEOUT if code == "DEADLINE_EXCEEDED" else FAILED, said, code)


def known_handlers(status: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The handlers that a ``status`` tells: its own list, which older runtimes lack, else the configuration in its
    info. None where it tells none."""
    names = {str(item.get("name") or "") for item in status.get("handlers") or []} - {""}
    config = (status.get("info") or {}).get("config")
    for program, key in (("containerd", "runtimes"), ("crio", "Runtimes")):
        own = config.get(program) if isinstance(config, Mapping) else None
        table = own.get(key) if isinstance(own, Mapping) else None
        if not names and isinstance(table, Mapping):
            names = set(table)
    return tuple(sorted(names)) or None


def _text(value: int | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _message(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise wire.WireError("a number where a message should be")
    return value


def _decoded(text: str) -> Any:
    """JSON as what it means; any other text as it is."""
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _condition(value: int | bytes) -> dict[str, Any]:
    found = dict(wire.fields(_message(value)))
    return {
        "type": _text(found.get(1, b"")),
        "status": bool(found.get(2, 0)),
        "reason": _text(found.get(3, b"")),
        "message": _text(found.get(4, b"")),
    }


def _handler(value: int | bytes) -> dict[str, Any]:
    found = dict(wire.fields(_message(value)))
    features = dict(wire.fields(_message(found.get(2, b""))))
    return {
        "name": _text(found.get(1, b"")),
        "recursive_read_only_mounts": bool(features.get(1, 0)),
        "user_namespaces": bool(features.get(2, 0)),
    }
