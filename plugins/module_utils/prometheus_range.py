# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as people write them, the grid of a range query, and how it is cut into pieces that Prometheus answers.

All times are whole milliseconds since 1970, as inside Prometheus, so that no point is lost to rounding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

# web/api/v1/api.go: (end - start) / step > 11000 is refused, so that 11,001 points still pass; one is left in reserve
POINTS_PER_REQUEST = 11000

UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
DURATION = re.compile("".join(rf"(?:(?P<{unit}>\d+){unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms")))
NUMBER = re.compile(r"\d+(\.\d+)?")
ISO = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d(:\d\d)?)(?P<fraction>\.\d+)?(?P<zone>Z|[+-]\d\d:?\d\d)?", re.I
)
RELATIVE = re.compile(r"now\s*(?:-\s*(?P<back>\w+))?")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class RangeError(ValueError):
    """A time, a duration or a range that cannot be, with its mend."""


@dataclass(frozen=True)
class Piece:
    """The points ``first`` to ``after``, which is not one of them, of a grid."""

    first: int
    after: int

    def __len__(self) -> int:
        return self.after - self.first


@dataclass(frozen=True)
class Grid:
    """The times at which a range query is evaluated: ``start_ms``, then every ``step_ms`` as long as there is range."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def points(self) -> int:
        return (self.end_ms - self.start_ms) // self.step_ms + 1

    @property
    def whole(self) -> Piece:
        return Piece(0, self.points)

    def time(self, index: int) -> int:
        return self.start_ms + index * self.step_ms

    def index(self, time_ms: int) -> int | None:
        """The number of the point at this time; None where there is none."""
        index, beside = divmod(time_ms - self.start_ms, self.step_ms)
        return index if not beside and 0 <= index < self.points else None


# ---------------------------------------------------------------- what people write


def duration_ms(text: str, name: str) -> int:
    """``15s``, ``1h30m``, ``500ms``, or seconds as a number. Raises ``RangeError``."""
    text = text.strip()
    found = DURATION.fullmatch(text)
    if text and found:
        length = sum(int(count) * UNITS[unit] for unit, count in found.groupdict().items() if count)
    elif NUMBER.fullmatch(text):
        length = round(float(text) * 1000)
    else:
        raise RangeError(f"{name}: {text!r} is no duration. Write it as Prometheus does: 15s, 1h30m, 500ms, 3d.")
    if length < 1:
        raise RangeError(f"{name}: {text!r} is no time at all; expected at least 1ms.")
    return length


def is_relative(text: str) -> bool:
    """Whether this time is another one tomorrow."""
    return RELATIVE.fullmatch(text.strip()) is not None


def moment_ms(text: str, name: str, now_ms: int) -> int:
    """An ISO 8601 time with its zone, seconds since 1970, ``now``, or ``now-3d``. Raises ``RangeError``."""
    text = text.strip()
    relative = RELATIVE.fullmatch(text)
    if relative:
        return now_ms - (duration_ms(relative["back"], name) if relative["back"] else 0)
    if NUMBER.fullmatch(text):
        return round(float(text) * 1000)
    found = ISO.fullmatch(text)
    if not found:
        raise RangeError(
            f"{name}: {text!r} is no time. Write 2026-11-21T08:00:00Z, seconds since 1970, now, or now-3d."
        )
    if not found["zone"]:
        raise RangeError(f"{name}: {text!r} has no zone, so it could be many times. Write {text}Z for UTC, or +01:00.")
    zone = "+00:00" if found["zone"].upper() == "Z" else found["zone"]
    zone = zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        whole = datetime.fromisoformat(f"{found['day']}T{found['clock']}{zone}")
    except ValueError as error:
        raise RangeError(f"{name}: {text!r} is no time: {error}.") from None
    return (whole - EPOCH) // timedelta(milliseconds=1) + int((found["fraction"] or ".")[1:4].ljust(3, "0"))


def iso(time_ms: int) -> str:
    """``2026-11-21T08:00:00Z``, with milliseconds where there are any."""
    moment = EPOCH + timedelta(milliseconds=time_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{time_ms % 1000:03}Z" if time_ms % 1000 else "Z")


def seconds(time_ms: int) -> str:
    """Seconds since 1970 as Prometheus takes them, exactly."""
    whole, rest = divmod(time_ms, 1000)
    return f"{whole}.{rest:03}" if rest else str(whole)


def make_grid(start: str, end: str, step: str, now_ms: int) -> Grid:
    """The grid of a range. A relative time is rounded down to a multiple of the step. Raises ``RangeError``."""
    step_ms = duration_ms(step, "step")
    ends = []
    for name, text in (("start", start), ("end", end)):
        time_ms = moment_ms(text, name, now_ms)
        ends.append(time_ms - time_ms % step_ms if is_relative(text) else time_ms)
    start_ms, end_ms = ends
    if end_ms < start_ms:
        raise RangeError(f"the range ends ({iso(end_ms)}) before it starts ({iso(start_ms)}). Swap start and end.")
    if end_ms > now_ms:
        raise RangeError(
            f"end: {iso(end_ms)} is still to come (it is {iso(now_ms)}), and what is not there yet would be missing for"
            " good. Use now, or run again later."
        )
    return Grid(start_ms, end_ms, step_ms)


# ---------------------------------------------------------------- pieces


def cut(piece: Piece, size: int) -> Iterator[Piece]:
    """The piece in pieces of at most ``size`` points."""
    for first in range(piece.first, piece.after, size):
        yield Piece(first, min(first + size, piece.after))


def lacking(piece: Piece, done: Iterable[Piece]) -> list[Piece]:
    """What of the piece none of those that are done covers."""
    left = []
    first = piece.first
    for one in sorted(done, key=lambda one: (one.first, one.after)):
        if one.first > first:
            left.append(Piece(first, min(one.first, piece.after)))
        first = max(first, one.after)
        if first >= piece.after:
            break
    if first < piece.after:
        left.append(Piece(first, piece.after))
    return [one for one in left if len(one) > 0]
