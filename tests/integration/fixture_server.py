# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fixture packages are served by, on loopback, and signed with."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import threading
import time
from pathlib import Path


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder. ``faults``: how a path, by its end, is answered instead. ``clock``: what it says the time is."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, str] = {}
        self.asked: list[str] = []
        self.clock: float | None = None
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_words: object) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(timestamp or self.server.clock)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        fault = next((what for end, what in self.server.faults.items() if self.path.endswith(end)), None)
        file = self.server.folder / self.path.lstrip("/")
        if fault == "404" or (fault is None and not file.is_file()):
            self.answer(404, b"not here")
        elif fault in ("503", "503 once"):
            if fault == "503 once":
                self.server.faults.clear()
            self.answer(503, b"busy")
        elif fault == "stall":
            time.sleep(30)  # that is the fault
        elif fault == "page":
            self.answer(200, b"<!DOCTYPE html><html>Please log in</html>")
        elif fault == "truncated":
            data = file.read_bytes()
            self.answer(200, data[: len(data) // 2], length=len(data))
            self.close_connection = True
        elif fault == "tampered":
            data = bytearray(file.read_bytes())
            data[-20] ^= 0xFF
            self.answer(200, bytes(data))
        else:
            self.answer(200, file.read_bytes())

    def answer(self, status: int, data: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(data)


class Gpg:
    """Keys made for one run of the tests, and worth nothing."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.chmod(0o700)

    def __call__(self, *argv: str, at: float | None = None, data: bytes | None = None) -> bytes:
        clock = ["--faked-system-time", f"{int(at)}!"] if at else []
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--pinentry-mode", "loopback"]
        done = subprocess.run(
            [*command, "--passphrase", "", *clock, *argv], input=data, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def key(self, name: str, *, digest: str = "SHA512", expires: str = "never", at: float | None = None) -> str:
        """Make a signing key; its fingerprint."""
        address = f"{name}@example.org"
        self("--cert-digest-algo", digest, "--quick-gen-key", f"{name} <{address}>", "rsa2048", "sign", expires, at=at)
        return self.fingerprint(f"<{address}>")

    def fingerprint(self, name: str) -> str:
        lines = self("--with-colons", "--list-keys", name).decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr"))

    def end(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, capture_output=True)
