# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time per node: a small file that names who is changing it, and until when that is believed.

The file lies in /run, so a reboot clears it. It is read, judged and renamed into place under flock(2) on its folder,
which the kernel releases when a process dies. Times are told twice: as a date for people, and as seconds since boot
for deciding, so that a clock set while a run lasts neither ends nor prolongs a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from . import files

FOLDER = "/run/gpunode.ready"
LOCK = f"{FOLDER}/lock.json"


@dataclass(frozen=True)
class Lock:
    """Who holds a node. ``*_uptime_seconds`` count since boot."""

    holder: str
    run_id: str
    since: str
    expires: str
    since_uptime_seconds: float
    expires_uptime_seconds: float

    def stale(self, uptime: float) -> bool:
        return uptime >= self.expires_uptime_seconds


@dataclass(frozen=True)
class Clock:
    """Now, as a date and as seconds since boot."""

    date: float
    uptime: float


@dataclass(frozen=True)
class Outcome:
    """What came of asking. ``lock``: what is in force afterwards; ``other``: what stood or stands in the way."""

    granted: bool
    lock: Lock | None = None
    other: Lock | None = None
    why: str = ""


class LockError(Exception):
    """Why the lock could not even be looked at, as a sentence."""


def clock() -> Clock:
    return Clock(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


def parse(text: str) -> Lock | None:
    """The lock that a file's text holds; None where it holds none, which is what a damaged file counts as."""
    try:
        told = json.loads(text)
        return Lock(
            holder=str(told["holder"]),
            run_id=str(told["run_id"]),
            since=str(told["since"]),
            expires=str(told["expires"]),
            since_uptime_seconds=float(told["since_uptime_seconds"]),
            expires_uptime_seconds=float(told["expires_uptime_seconds"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def judge(
    current: Lock | None, holder: str, run_id: str, expires_seconds: int, now: Clock, supersedes: Sequence[str] = ()
) -> Outcome:
    """Whether ``run_id`` may have the node: it is free, its own already, superseded, or held by a lock that expired."""
    if current is None:
        why = "free"
    elif current.run_id == run_id:
        why = "held by this run already"
    elif current.run_id in supersedes:
        why = "held by a run known to have ended"
    elif current.stale(now.uptime):
        why = "held by a lock that has expired"
    else:
        return Outcome(False, current, current, "held by another run")
    resumed = current is not None and current.run_id == run_id
    lock = Lock(
        holder=holder,
        run_id=run_id,
        since=current.since if current and resumed else _date(now.date),
        expires=_date(now.date + expires_seconds),
        since_uptime_seconds=current.since_uptime_seconds if current and resumed else now.uptime,
        expires_uptime_seconds=now.uptime + expires_seconds,
    )
    return Outcome(True, lock, None if resumed else current, why)


def refusal(other: Lock, now: Clock, path: str = LOCK) -> str:
    """What a run that was refused is told."""
    return (
        f"This node is being changed by {other.holder} (run {other.run_id}) since {other.since}, "
        f"{_span(now.uptime - other.since_uptime_seconds)} ago, so this run leaves it alone. Wait for that run to end; "
        f"its lock expires in {_span(other.expires_uptime_seconds - now.uptime)}, at {other.expires}. If that run is "
        f"known to be dead, release the node by hand: rm {path}"
    )


def look(path: str = LOCK) -> Lock | None:
    """The lock as it stands, stale or not. A link or a folder at its place is no lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return parse(file.read(65536).decode(errors="replace"))


def hold(
    holder: str,
    run_id: str,
    expires_seconds: int,
    supersedes: Sequence[str] = (),
    path: str = LOCK,
    now: Clock | None = None,
) -> Outcome:
    """Take the node for ``run_id``, or learn who has it. Raises ``LockError``."""
    with _alone(path):
        outcome = judge(look(path), holder, run_id, expires_seconds, now or clock(), supersedes)
        if outcome.granted and outcome.lock:
            text = json.dumps(asdict(outcome.lock), indent=2) + "\n"
            try:
                files.replace_text(path, text, mode=0o600)
            except files.WriteError as error:
                raise LockError(f"The node could not be locked. {error}") from error
    return outcome


def release(run_id: str, path: str = LOCK, now: Clock | None = None) -> Outcome:
    """Give the node back. A lock of another run stays, unless it has expired. Raises ``LockError``."""
    if not os.path.lexists(path):
        return Outcome(True, why="free")
    with _alone(path):
        current = look(path)
        if current and current.run_id != run_id and not current.stale((now or clock()).uptime):
            return Outcome(False, current, current, "held by another run")
        try:
            files.remove(path)
        except files.WriteError as error:
            raise LockError(f"The node could not be released. {error}") from error
    return Outcome(True, other=current, why="released")


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Nobody else reads and writes the lock meanwhile. The folder must be root's own, not a link planted for us."""
    folder = os.path.dirname(path)
    try:
        files.make_folder(folder, 0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, files.WriteError) as error:
        raise LockError(f"{folder}, where the lock is kept, cannot be used: {error}. It must be a folder.") from error
    try:
        owner = os.fstat(descriptor)
        if owner.st_uid != os.geteuid() or stat.S_IMODE(owner.st_mode) & 0o022:
            raise LockError(
                f"{folder}, where the lock is kept, belongs to user id {owner.st_uid} with mode "
                f"{stat.S_IMODE(owner.st_mode):04o}: others could plant a lock there. Take it away, then run again."
            )
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def as_dict(lock: Lock | None) -> dict[str, Any] | None:
    return asdict(lock) if lock else None


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _span(seconds: float) -> str:
    seconds = max(0, int(seconds))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
