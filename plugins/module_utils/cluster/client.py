# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of the Kubernetes API in the standard library: one connection, plain dicts, bounded patience.

What the API refuses is an ``ApiError``; what is not there at all, or no longer, is ``Unreachable`` with the reason in
words. A server that is busy (429, 5xx) or restarting is asked again until ``patience_seconds`` are over; whatever is
sent twice so is safe to send twice. docs/decisions/0009 says why this is not the `kubernetes` package.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from .kubeconfig import Endpoint, Exec, KubeconfigError, endpoint, in_cluster

PAGE = 1000  # objects a list call brings; the API continues from there
BUSY = (429, 500, 502, 503, 504)
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class ClusterError(Exception):
    """The API could not be asked, or said no."""


class Unreachable(ClusterError):
    """Nobody answered: ``kind`` is refused, timeout, tls, name, proxy, closed or busy."""

    def __init__(self, kind: str, server: str, text: str) -> None:
        super().__init__(f"{server}: {text}")
        self.kind = kind
        self.server = server
        self.text = text


class ApiError(ClusterError):
    """The API's own no: HTTP status, reason and message, and the causes it names."""

    def __init__(self, status: int, body: Mapping[str, Any], what: str) -> None:
        self.status = status
        self.reason = str(body.get("reason") or http.client.responses.get(status, "error"))
        self.message = str(body.get("message") or self.reason)
        details = body.get("details")
        causes = details.get("causes") if isinstance(details, Mapping) else None
        self.causes = [dict(cause) for cause in causes or [] if isinstance(cause, Mapping)]
        metadata = body.get("metadata")
        self.resume = str((metadata.get("continue") if isinstance(metadata, Mapping) else "") or "")
        super().__init__(f"{what}: {status} {self.reason}: {self.message}")


# ---------------------------------------------------------------- where the API is


def find_endpoint(path: str = "", context: str = "", environment: Mapping[str, str] | None = None) -> Endpoint:
    """The endpoint of a kubeconfig: the one named, $KUBECONFIG, ~/.kube/config, or the pod's own.

    Raises ``KubeconfigError``. Of a $KUBECONFIG with several files the first that exists counts.
    """
    environment = os.environ if environment is None else environment
    several = [item for item in environment.get("KUBECONFIG", "").split(os.pathsep) if item]
    home = os.path.join(environment.get("HOME") or os.path.expanduser("~"), ".kube/config")
    candidates = [os.path.expanduser(path)] if path else several or [home]
    chosen = next((item for item in candidates if os.path.exists(item)), None)
    if chosen is None:
        host = environment.get("KUBERNETES_SERVICE_HOST")
        if host and not path:
            return in_cluster(host, environment.get("KUBERNETES_SERVICE_PORT") or "443")
        raise KubeconfigError("missing", candidates[0], "no such kubeconfig")
    try:
        with open(chosen, encoding="utf-8", errors="replace") as stream:
            return endpoint(stream.read(), chosen, context)
    except PermissionError:
        who = f"user {os.geteuid()}"
        status = os.stat(chosen)
        found = f"owner {status.st_uid}, mode {status.st_mode & 0o7777:04o}"
        raise KubeconfigError("permission", chosen, f"{who} may not read it ({found})") from None
    except OSError as error:
        raise KubeconfigError("missing", chosen, f"it cannot be read: {error.strerror}") from None


# ---------------------------------------------------------------- the client


class Client:
    """One API server over one connection that is kept open. Not for threads."""

    def __init__(
        self,
        where: Endpoint,
        timeout_seconds: float = 15,
        patience_seconds: float = 30,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.where = where
        self.timeout_seconds = timeout_seconds
        self.patience_seconds = patience_seconds
        self.requests = 0
        self._clock = clock
        self._sleep = sleep
        self._connection: http.client.HTTPConnection | None = None
        self._headers: dict[str, str] | None = None
        self._context: ssl.SSLContext | None = None

    # -- what one asks

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """The object or list at ``path``."""
        return self.call("GET", path, query=query)

    def list(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """The objects of a list, page by page. One that expires half-way (410) is begun anew, once."""
        for attempt in (1, 2):
            token = ""
            seen: list[dict[str, Any]] = []
            try:
                while True:
                    page = self.get(path, limit=PAGE, **query, **({"continue": token} if token else {}))
                    seen.extend(page.get("items") or [])
                    token = (page.get("metadata") or {}).get("continue") or ""
                    if not token:
                        break
            except ApiError as error:
                if error.status != 410 or attempt == 2:
                    raise
                continue
            break
        yield from seen

    def pages(self, path: str, size: int = PAGE, **query: Any) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The objects of a list, one page in memory at a time. One that expires half-way goes on where it stood."""
        token = ""
        while True:
            try:
                page = self.get(path, limit=size, **query, **({"continue": token} if token else {}))
            except ApiError as error:
                if error.status != 410 or not error.resume or error.resume == token:
                    raise
                token = error.resume
                continue
            yield page.get("items") or []
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def raw(self, path: str, **query: Any) -> tuple[int, str]:
        """(status, text) of a path that answers in plain text, such as /readyz."""
        status, body = self._patiently("GET", path, query, None, None, busy=())
        return status, body.decode(errors="replace")

    def call(
        self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None, content: str = ""
    ) -> dict[str, Any]:
        """Send, and give back what the API answers. Raises ``ApiError`` and ``Unreachable``."""
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        status, answer = self._patiently(method, path, query or {}, data, content or "application/json", busy=BUSY)
        try:
            parsed = json.loads(answer) if answer else {}
        except ValueError:
            parsed = {"message": answer[:400].decode(errors="replace").strip()}
        if status >= 400:
            raise ApiError(status, parsed if isinstance(parsed, dict) else {}, f"{method} {path}")
        return parsed

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- how it is sent

    def _patiently(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        data: bytes | None,
        content: str | None,
        busy: tuple[int, ...],
    ) -> tuple[int, bytes]:
        given = {name: value for name, value in query.items() if value not in (None, "")}
        target = f"{path}?{urlencode(given)}" if given else path
        until = self._clock() + self.patience_seconds
        pause = 0.2
        again = method != "POST"  # a create that was heard and not answered would be made twice
        while True:
            try:
                status, body, wait = self._once(method, target, data, content)
                if status not in busy or not (again or status == 429):
                    return status, body
                problem: ClusterError = ApiError(status, _status(body), f"{method} {path}")
            except Unreachable as error:
                if error.kind in ("tls", "name") or not again:
                    raise
                problem, wait = error, 0.0
            pause = max(pause, wait)
            if self._clock() + pause > until:
                raise problem
            self._sleep(pause)
            pause = min(pause * 2, 5.0)

    def _once(self, method: str, target: str, data: bytes | None, content: str | None) -> tuple[int, bytes, float]:
        headers = {**self._authorisation(), **self._as_somebody_else()}
        if data is not None and content:
            headers["Content-Type"] = content
        self.requests += 1
        server = self.where.server
        reused = self._connection is not None
        try:
            connection = self._connect()
            prefix = urlsplit(server).path.rstrip("/")
            connection.request(method, prefix + target, body=data, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if reused and method != "POST" and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                return self._once(method, target, data, content)  # the server had closed the idle connection
            raise _unreachable(error, server, self.timeout_seconds) from None
        if answer.will_close:
            self.close()
        try:
            wait = min(float(answer.headers.get("Retry-After") or 0), 30.0)
        except ValueError:
            wait = 0.0
        return answer.status, body, wait

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is not None:
            return self._connection
        parts = urlsplit(self.where.server)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        proxy = urlsplit(self.where.proxy) if self.where.proxy else None
        near = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
        if parts.scheme == "http":
            self._connection = http.client.HTTPConnection(*near, timeout=self.timeout_seconds)
        else:
            context = self._tls()
            self._connection = _Https(near, context, self.timeout_seconds, self.where.server_name or host)
            if proxy:
                self._connection.set_tunnel(host, port)
        self._connection.connect()
        return self._connection

    def _tls(self) -> ssl.SSLContext:
        if self._context is not None:
            return self._context
        where = self.where
        try:
            context = ssl.create_default_context(cafile=where.ca_file or None, cadata=where.ca or None)
        except (OSError, ValueError) as error:
            raise KubeconfigError("invalid", where.path, f"its certificate authority cannot be read: {error}") from None
        if where.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if where.cert or where.cert_file or self._exec_cert:
            cert, key = self._exec_cert or (where.cert, where.key)
            with _as_file(cert, where.cert_file) as cert_file, _as_file(key, where.key_file) as key_file:
                try:
                    context.load_cert_chain(cert_file, key_file or None)
                except (OSError, ssl.SSLError) as error:
                    raise KubeconfigError(
                        "credentials", where.path, f"its client certificate cannot be used: {error}"
                    ) from None
        self._context = context
        return context

    _exec_cert: tuple[str, str] | None = None

    def _authorisation(self) -> Mapping[str, str]:
        if self._headers is not None:
            return self._headers
        where = self.where
        headers = {"Accept": "application/json", "User-Agent": "gpunode.ready"}
        token = where.token
        if where.token_file:
            try:
                with open(where.token_file, encoding="utf-8") as stream:
                    token = stream.read().strip() or token
            except OSError as error:
                raise KubeconfigError("credentials", where.token_file, f"cannot be read: {error.strerror}") from None
        if where.exec is not None:
            token = self._ask_exec(where.exec) or token
        if token:
            headers["Authorization"] = f"Bearer {token}"
        elif where.username:
            pair = base64.b64encode(f"{where.username}:{where.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        self._headers = headers
        return headers

    def _as_somebody_else(self) -> Mapping[str, str]:
        """kubeconfig's `as`: what kubectl's --as does, for trying out what an account may do."""
        return {"Impersonate-User": self.where.impersonate} if self.where.impersonate else {}

    def _ask_exec(self, plugin: Exec) -> str:
        """The token that the kubeconfig's program prints; its certificate is kept for the connection."""
        info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
        environment = {**os.environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": json.dumps(info)}
        try:
            done = subprocess.run(
                [plugin.command, *plugin.args],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                env=environment,
                check=False,
            )
            status = (json.loads(done.stdout) if done.returncode == 0 else {}).get("status") or {}
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise KubeconfigError(
                "credentials", self.where.path, f"`{plugin.command}` gave no credentials: {type(error).__name__}"
            ) from None
        if not status:
            told = done.stderr.decode(errors="replace").strip()[-300:]
            raise KubeconfigError(
                "credentials", self.where.path, f"`{plugin.command}` ended with {done.returncode}: {told}"
            )
        if status.get("clientCertificateData"):
            self._exec_cert = (status["clientCertificateData"], status.get("clientKeyData") or "")
        return status.get("token") or ""


class _Https(http.client.HTTPSConnection):
    """Verifies the name that the kubeconfig says, whatever address is dialled."""

    def __init__(self, near: tuple[str, int], context: ssl.SSLContext, timeout: float, name: str) -> None:
        super().__init__(near[0], near[1], timeout=timeout, context=context)
        self._name = name
        self._secure = context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        if self.sock is not None:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = self._secure.wrap_socket(self.sock, server_hostname=self._name)


def _status(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = {"message": body[:400].decode(errors="replace").strip()}
    return parsed if isinstance(parsed, dict) else {}


@contextlib.contextmanager
def _as_file(text: str, path: str) -> Iterator[str]:
    """A path for what ssl only reads from files; PEM text lies there for a moment, for this user alone."""
    if not text:
        yield path
        return
    with tempfile.NamedTemporaryFile("w", prefix="gpunode-") as stream:  # 0600, of a name nobody can guess
        stream.write(text)
        stream.flush()
        yield stream.name


def _unreachable(error: Exception, server: str, timeout: float) -> Unreachable:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreachable("tls", server, f"its certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return Unreachable("tls", server, f"no TLS connection: {error.reason or error}")
    if isinstance(error, ConnectionRefusedError):
        return Unreachable("refused", server, "the connection is refused")
    if isinstance(error, (socket.timeout, TimeoutError)):
        return Unreachable("timeout", server, f"no answer within {timeout:g} s")
    if isinstance(error, socket.gaierror):
        return Unreachable("name", server, f"its name is not known ({error.strerror})")
    if isinstance(error, OSError) and "Tunnel connection failed" in str(error):
        return Unreachable("proxy", server, f"the proxy refuses: {error}")
    return Unreachable("closed", server, f"the connection broke: {error or type(error).__name__}")
