#!/usr/bin/env python3
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Prometheus, promtool and node-exporter for tests; a Prometheus on loopback with blocks of OpenMetrics text.

``GPUNODE_PROMETHEUS`` names a folder with the three programs of another version. Without it they come from Debian's
packages, unpacked into the lab's cache and never installed, since those would start services that listen on every
address. ``python3 tests/lab/prometheus.py`` says where they lie.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import LabError, artifact, digest, run
from debian import apt_options, unpack
from image import SUITE

PACKAGES = {"prometheus": ("prometheus", "promtool"), "prometheus-node-exporter": ("prometheus-node-exporter",)}
PROGRAMS = tuple(program for names in PACKAGES.values() for program in names)


def programs() -> Path:
    """The folder with the three programs."""
    chosen = os.environ.get("GPUNODE_PROMETHEUS")
    if chosen:
        missing = [name for name in PROGRAMS if not os.access(Path(chosen) / name, os.X_OK)]
        if missing:
            raise LabError(f"GPUNODE_PROMETHEUS is {chosen}, which has no {' and no '.join(missing)}; mend or unset it")
        return Path(chosen)
    return artifact("prometheus", digest(SUITE, *PROGRAMS, "2"), build)


def build(folder: Path) -> None:
    work = folder / "work"
    unpacked = unpack(work, apt_options(work), folder / "log", *PACKAGES)
    for name in PROGRAMS:
        shutil.copy(unpacked / "usr/bin" / name, folder / name)
    shutil.rmtree(work)


def blocks(data: Path, lines: Iterable[str]) -> None:
    """Fill ``data`` with what OpenMetrics lines say."""
    data.mkdir(parents=True, exist_ok=True)
    text = data.with_suffix(".om")
    with text.open("w") as stream:
        stream.writelines(f"{line}\n" for line in lines)
        stream.write("# EOF\n")
    make = (programs() / "promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet")
    run(*make, "--max-block-duration=1000h", text, data)
    text.unlink()


@dataclass
class Prometheus:
    """A running Prometheus. ``stop`` and ``start`` end it and bring it back at the same address."""

    folder: Path
    data: Path
    port: int
    arguments: tuple[str, ...]
    scheme: str = "http"
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        (self.folder / "prometheus.yml").write_text("global: {}\n")
        with (self.folder / "prometheus.log").open("a") as log:
            self.process = subprocess.Popen(
                [
                    programs() / "prometheus",
                    f"--config.file={self.folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.data}",
                    "--storage.tsdb.retention.time=50y",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    *self.arguments,
                ],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 60
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > until:
                raise LabError(f"Prometheus is not ready:\n{(self.folder / 'prometheus.log').read_text()[-3000:]}")
            time.sleep(0.05)

    def ready(self) -> bool:
        if self.scheme == "https":  # who asks has to be trusted; that it listens is enough here
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return "Server is ready" in (self.folder / "prometheus.log").read_text()
            return False
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@contextlib.contextmanager
def prometheus(folder: Path, data: Path, *arguments: str, web: Mapping[str, str] | None = None) -> Iterator[Prometheus]:
    """A Prometheus of these blocks, that is gone afterwards. ``web``: lines of its web configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    more: tuple[str, ...] = ()
    if web:
        (folder / "web.yml").write_text("".join(f"{name}: {value}\n" for name, value in web.items()))
        more = (f"--web.config.file={folder / 'web.yml'}",)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    scheme = "https" if web and "tls_server_config" in web else "http"
    server = Prometheus(folder, data, port, (*arguments, *more), scheme)
    try:
        server.start()
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    print(programs())
