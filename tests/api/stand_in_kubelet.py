# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API server needs of a kubelet to serve pods' logs: HTTPS, and one path. A stand-in, and no kubelet.

It honours what a kubelet honours of a request for a log: the container, the previous one, the newest lines, the number
of bytes.
"""

from __future__ import annotations

import contextlib
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

SIGN = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kubelet")


class Kubelet(http.server.ThreadingHTTPServer):
    """``logs``: text by (namespace, pod, container, whether the previous). ``asked``: which were asked for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.logs: dict[tuple[str, str, str, bool], str] = {}
        self.asked: list[tuple[str, str, str, bool]] = []
        super().__init__(("127.0.0.1", 0), Handler)
        certificate, key = folder / "kubelet.crt", folder / "kubelet.key"
        subprocess.run(
            [*SIGN, "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        return self.server_address[1]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Kubelet

    def log_message(self, *_words: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        _empty, what, *names = parts.path.split("/")
        key = (*names, query.get("previous") == "true")
        self.server.asked.append(key)
        text = self.server.logs.get(key) if what == "containerLogs" and len(names) == 3 else None
        if text is None:
            self.answer(400, f'previous terminated container "{names[-1]}" in pod "{names[1]}" not found')
            return
        lines = text.splitlines(keepends=True)[-int(query.get("tailLines", 1 << 30)) :]
        self.answer(200, "".join(lines)[: int(query.get("limitBytes", 1 << 30))])

    def answer(self, status: int, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def kubelet(folder: Path) -> Iterator[Kubelet]:
    with Kubelet(folder) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running
        running.shutdown()
