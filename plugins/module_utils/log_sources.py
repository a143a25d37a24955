# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a node keeps its logs: files and what was rotated away, journald's units, the kernel's ring buffer.

Rules of this file: it only looks, and hands streams to whoever reads them. What cannot be read is said, never raised.
"""

from __future__ import annotations

import glob
import gzip
import io
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, cast

from .diagnose import Matcher, opened, read_stream

Unread = dict[str, str]
_ROTATED = re.compile(r"[.-]\d[\w.-]{0,40}$")


def with_rotated(path: str) -> list[str]:
    """The file and what was rotated away from it (``.1``, ``.2.gz``, ``-20260101``), oldest first."""
    beside = [name for name in glob.glob(glob.escape(path) + "*") if _ROTATED.match(name[len(path) :])]
    return [*sorted(beside, key=_modified), path]


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def journal_command(units: Sequence[str], since: str, kernel: bool, output: str = "json") -> list[str]:
    """``journalctl`` for these units, or for the kernel; ``since`` is ``boot`` or a time that journalctl reads."""
    when = ["-b"] if since == "boot" else [f"--since={since}"]
    # `-k` means this boot, so a time asks for the kernel's transport instead
    what = (["-k"] if since == "boot" else ["_TRANSPORT=kernel"]) if kernel else [f"--unit={unit}" for unit in units]
    return ["journalctl", "--no-pager", "--quiet", f"--output={output}", *when, *what]


def read_command(matcher: Matcher, source: str, argv: Sequence[str]) -> str | None:
    """Feed what a command prints to the matcher. Answers the reason where it could not be read."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return read_output(argv, environment, lambda out: read_stream(matcher, source, out))


def read_output(argv: Sequence[str], environment: Mapping[str, str], read: Callable[[IO[bytes]], object]) -> str | None:
    """Have ``read`` read what a command prints, as it comes. Answers the reason where it could not be read."""
    try:
        # its errors go to a file: a pipe that nobody empties would stop a program that says much
        with tempfile.TemporaryFile() as errors:
            with subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment
            ) as process:
                read(cast("IO[bytes]", process.stdout))  # never None: a pipe was asked for
            errors.seek(0)
            said = errors.read(4096).decode(errors="replace").strip()
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    return (said.splitlines() or [f"{argv[0]} ended with {process.returncode}"])[-1] if process.returncode else None


def read_kernel(matcher: Matcher, since: str, read: Callable[[Matcher, str, Sequence[str]], str | None]) -> str | None:
    """The kernel's messages: from journald, or from the ring buffer itself where there is no journal."""
    reason = read(matcher, "kernel", journal_command((), since, kernel=True))
    return reason and read(matcher, "kernel", ["dmesg", "--kernel"])


def read_files(matcher: Matcher, paths: Iterable[str], rotated: bool) -> Iterator[Unread]:
    """Feed the files; yields what could not be read, and why."""
    for given in paths:
        for path in with_rotated(given) if rotated else [given]:
            try:
                with opened(path) as stream:
                    read_stream(matcher, path, stream, None if isinstance(stream, gzip.GzipFile) else path)
            except (OSError, EOFError) as error:
                yield {"source": path, "reason": getattr(error, "strerror", None) or str(error)}


def read_pieces(matcher: Matcher, pieces: Iterable[dict[str, object]]) -> Iterator[Unread]:
    """Feed texts handed over with the name of where they are from: pods' logs, events."""
    for piece in pieces:
        text = piece.get("text")
        source = str(piece.get("source") or "text")
        if isinstance(text, str):
            read_stream(matcher, source, _bytes(text))
        else:
            yield {"source": source, "reason": f"`text` is {type(text).__name__}, expected a string"}


def _bytes(text: str) -> IO[bytes]:
    return io.BytesIO(text.encode(errors="surrogateescape"))
