#!/usr/bin/env python3
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves one HTTP connection of a lab node on standard input and output: GET and HEAD of files below a folder.

QEMU starts one for each connection that the guest opens to 10.0.2.100:80, so no port is taken on the controller and
nothing is left behind when the guest ends. The second argument is a file of faults, read at each request:

    {"/cri-o/": {"status": 404}, "/cuda/": {"delay_seconds": 20}, "/": {"truncate_bytes": 100}, "/x": {"drop": true}}

The longest prefix that fits a path decides.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from email.utils import formatdate
from pathlib import Path
from urllib.parse import unquote

IDLE_SECONDS = 60


def fault(path: str, faults: Path) -> dict[str, object]:
    """What shall go wrong with this request; nothing, usually."""
    try:
        table = json.loads(faults.read_text())
    except (OSError, ValueError):
        return {}
    fitting = [prefix for prefix in table if path.startswith(prefix)]
    return table[max(fitting, key=len)] if fitting else {}


def answer(method: str, target: str, root: Path, faults: Path, out) -> bool:
    """Answer one request. False: the connection ends."""
    path = unquote(target.split("?")[0])
    wrong = fault(path, faults)
    time.sleep(float(wrong.get("delay_seconds", 0)))
    if wrong.get("drop"):
        return False
    file = Path(os.path.normpath(f"{root}/{path}"))
    status = int(wrong.get("status", 200))
    if status == 200 and not (file.is_file() and str(file).startswith(f"{root}/")):
        status = 404
    if status != 200:
        body = f"{status}: {path}\n".encode()
        out.write(f"HTTP/1.1 {status} Lab\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        out.write(body if method == "GET" else b"")
        out.flush()
        return True
    body = file.read_bytes()
    modified = formatdate(file.stat().st_mtime, usegmt=True)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nLast-Modified: {modified}\r\n\r\n"
    out.write(head.encode())
    if method == "GET":
        cut = wrong.get("truncate_bytes")
        out.write(body if cut is None else body[: int(cut)])
        out.flush()
        return cut is None
    out.flush()
    return True


def main() -> None:
    root, faults = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    request, out = sys.stdin.buffer, sys.stdout.buffer
    while True:
        signal.alarm(IDLE_SECONDS)
        line = request.readline(8192)
        if not line:
            return
        method, target, *_ = [*line.decode("latin-1").split(), "", ""]
        keep = "1.1" in line.decode("latin-1")
        while (header := request.readline(8192)) not in (b"\r\n", b"\n", b""):
            if header.lower().startswith(b"connection:") and b"close" in header.lower():
                keep = False
        signal.alarm(0)
        if not method:
            continue
        if not answer(method, target, root, faults, out) or not keep:
            return


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    try:
        main()
    except (BrokenPipeError, ConnectionError):
        os._exit(0)
