# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge to kubeadm: its file is there, for root alone, as long as it runs, and what it says is kept without secrets.

The file lies below /run, which no disk holds and no reboot keeps. One that a killed run left is removed by the next.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from . import files
from .host import PATH
from .kubeadm_run import hide, secrets_of, text_of

FOLDER = "/run/gpunode.ready"
LOG = "/var/log/gpunode.ready/kubeadm.log"


@dataclass(frozen=True)
class Called:
    """How kubeadm ended, and what it said, without secrets. 127: no such program; 124: it ran past its time."""

    rc: int
    output: str


def call(
    arguments: Callable[[str], list[str]],
    config: Iterable[Mapping[str, Any]],
    timeout_seconds: float,
    program: str = "kubeadm",
    folder: str = FOLDER,
    log: str = LOG,
) -> Called:
    """Run kubeadm with its configuration at a path that ``arguments`` is told. Raises ``files.WriteError``."""
    config = list(config)
    files.make_folder(folder, 0o700)
    for left in glob.glob(os.path.join(glob.escape(folder), "kubeadm-*.yaml")):
        files.remove(left)
    path = os.path.join(folder, f"kubeadm-{secrets.token_hex(8)}.yaml")
    try:
        files.replace_text(path, text_of(config), mode=0o600)
        return _run([program, *arguments(path)], secrets_of(config), timeout_seconds, log)
    finally:
        files.remove(path)


def _run(argv: list[str], hidden: list[str], timeout_seconds: float, log: str) -> Called:
    environment = {**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8"}
    files.make_folder(os.path.dirname(log))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    lines: list[str] = []
    with open(descriptor, "w", encoding="utf-8", buffering=1) as kept:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        kept.write(f"--- {now} {hide(' '.join(argv), hidden)}\n")
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                text=True,
                errors="replace",
            )
        except OSError as error:
            kept.write(f"{error}\n")
            return Called(127, f"{argv[0]}: {error.strerror}")
        late = threading.Event()

        def stop() -> None:
            late.set()
            with contextlib.suppress(OSError):
                process.kill()

        clock = threading.Timer(timeout_seconds, stop)
        clock.start()
        try:
            for line in process.stdout or ():
                told = hide(line.rstrip("\n"), hidden)
                lines.append(told)
                kept.write(f"{told}\n")
            rc = process.wait()
        finally:
            clock.cancel()
    return Called(124 if late.is_set() else rc, "\n".join(lines))
