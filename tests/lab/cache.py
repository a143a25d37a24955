# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's cache: artifacts named by a hash of what they are made from, made once, by one process at a time.

A half-made artifact is never seen: it is built beside its place and renamed into it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LAB = Path(__file__).resolve().parent
CHECKOUT = LAB.parent.parent
KEEP = 3  # artifacts of one kind kept; older ones go when a new one is made


class LabError(Exception):
    """What went wrong in the lab, and how to mend it."""


def cache_folder() -> Path:
    """Where the lab keeps what it made."""
    chosen = os.environ.get("GPUNODE_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(chosen) if chosen else base / "gpunode-ready"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def say(text: str) -> None:
    """One line of progress, at once."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the cache's lock ``name``; whoever waits is told for what."""
    path = cache_folder() / f".{name}.lock"
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"waiting for another process that holds {path}")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def digest(*parts: str | bytes | Path) -> str:
    """A short hash of texts and of files (folders: every file below, with name and mode)."""
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            files = [part] if part.is_file() else sorted(p for p in part.rglob("*") if p.is_file())
            for file in files:
                if "__pycache__" in file.parts:
                    continue
                mode = "x" if os.access(file, os.X_OK) else "-"
                whole.update(f"{file.relative_to(part.parent)}\0{mode}\0".encode())
                whole.update(file.read_bytes())
        else:
            whole.update(part.encode() if isinstance(part, str) else part)
        whole.update(b"\0")
    return whole.hexdigest()[:16]


def artifact(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder ``<kind>-<key>`` of the cache; ``build`` fills it when it is not there yet."""
    place = cache_folder() / f"{kind}-{key}"
    if place.is_dir():
        os.utime(place)
        return place
    with locked(kind):
        if place.is_dir():
            return place
        began = time.monotonic()
        making = cache_folder() / f".making-{kind}-{os.getpid()}"
        remove_tree(making)
        making.mkdir()
        try:
            build(making)
        except BaseException:
            if not os.environ.get("GPUNODE_LAB_KEEP"):
                remove_tree(making)
            raise
        making.rename(place)
        say(f"{kind} is ready after {time.monotonic() - began:.0f} s")
        made = sorted(cache_folder().glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in made[KEEP:]:
            if not in_use(old):
                remove_tree(old)
    return place


def in_use(folder: Path) -> bool:
    """Whether a lab node's disk stands on this artifact."""
    return any(folder.name in state.read_text() for state in cache_folder().glob("nodes/*/state.json"))


def remove_tree(folder: Path) -> None:
    """Remove a folder of ours, refusing one that still has something mounted in it."""
    if not folder.exists():
        return
    mounts = Path("/proc/self/mounts").read_text()
    if f" {folder}/" in mounts:
        raise LabError(f"{folder}: something is still mounted below it; unmount it first")
    shutil.rmtree(folder)


def run(*argv: str | Path, log: Path | None = None, timeout: float = 1800, **more: object) -> str:
    """Run a command and give back what it printed; on failure, say its last words."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            **more,  # type: ignore[call-overload]
        )
    except FileNotFoundError:
        raise LabError(f"{words[0]}: no such program; install the packages of {LAB / 'packages.txt'}") from None
    except subprocess.TimeoutExpired as expired:
        raise LabError(
            f"{' '.join(words)}: not done after {timeout:.0f} s: {(expired.stdout or b'')[-2000:]!r}"
        ) from None
    if log is not None:
        with log.open("a") as stream:
            stream.write(f"$ {' '.join(words)}\n{done.stdout}")
    if done.returncode != 0:
        raise LabError(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout
