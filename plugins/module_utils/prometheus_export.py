# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one export is: its question, what a line of progress says, and the manifest by which a second run knows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .prometheus_profiles import PROFILES
from .prometheus_range import Grid, is_relative, iso
from .prometheus_table import NAME

ARGUMENTS = {
    "url": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "start": {"type": "str", "required": True},
    "end": {"type": "str", "default": "now"},
    "step": {"type": "str", "default": "15s"},
    "queries": {"type": "dict", "default": {}},
    "profile": {"type": "str", "choices": list(PROFILES), "default": "none"},
    "profile_matchers": {"type": "str", "default": ""},
    "profile_by": {"type": "list", "elements": "str", "default": []},
    "profile_window": {"type": "str", "default": "1m"},
    "form": {"type": "str", "choices": ["wide", "long"], "default": "wide"},
    "codec": {"type": "str", "choices": ["zstd", "gzip", "snappy", "none"], "default": "zstd"},
    "plots": {"type": "str", "choices": ["png", "svg", "none"], "default": "png"},
    "empty": {"type": "str", "choices": ["fail", "keep"], "default": "fail"},
    "series_max": {"type": "int", "default": 1000},
    "resume": {"type": "bool", "default": True},
    "force": {"type": "bool", "default": False},
    "timeout_seconds": {"type": "int", "default": 120},
    "patience_seconds": {"type": "int", "default": 60},
    "username": {"type": "str", "default": ""},
    "password": {"type": "str", "default": "", "no_log": True},
    "token": {"type": "str", "default": "", "no_log": True},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
}

FORMATS = (".csv", ".csv.gz", ".parquet")
SCHEMA = 1


class ExportError(Exception):
    """Why there is no table, where, and how to mend it."""


@dataclass(frozen=True)
class Request:
    """What was asked for, as it was asked: of relative times the words."""

    url: str
    queries: Mapping[str, str]
    start: str
    end: str
    step: str
    form: str
    file_format: str
    codec: str
    plots: str

    @property
    def lasting(self) -> bool:
        """Whether the same words mean the same range tomorrow."""
        return not (is_relative(self.start) or is_relative(self.end))

    @property
    def range(self) -> dict[str, str]:
        return {"start": self.start, "end": self.end, "step": self.step}

    def as_dict(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "queries": dict(self.queries),
            **self.range,
            "form": self.form,
            "codec": self.codec,
            "plots": self.plots,
        }


def split_path(path: str) -> tuple[str, str]:
    """(what comes before the ending, the ending) of a table's name. Raises ``ExportError``."""
    for ending in sorted(FORMATS, key=len, reverse=True):
        if path.endswith(ending) and len(path.rpartition("/")[2]) > len(ending):
            return path[: -len(ending)], ending
    raise ExportError(f"path: {path} names no format. Let it end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")


def check_queries(queries: Mapping[str, Any]) -> dict[str, str]:
    """The queries that are not empty, by metric. Raises ``ExportError``."""
    wanted = {str(name): str(query).strip() for name, query in queries.items() if query is not None}
    wanted = {name: query for name, query in wanted.items() if query}
    if not wanted:
        raise ExportError("nothing is asked for: give queries, or a profile.")
    for name in wanted:
        if not NAME.fullmatch(name):
            raise ExportError(f"queries: {name!r} is no name of a column. Use letters, digits and underscores.")
        if name in ("timestamp", "metric", "labels", "value"):
            raise ExportError(f"queries: the table has a column {name} of its own. Call this one otherwise.")
    return wanted


def question(url: str, query: str, grid: Grid) -> str:
    """A short name for what one query asks of one server in one range: what is done of it is kept under this name."""
    text = json.dumps([SCHEMA, url, query, grid.start_ms, grid.end_ms, grid.step_ms])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Progress:
    """A line of progress now and then: how much is there, and how long it will take."""

    def __init__(self, total: int, kept: int, say: Callable[[str], None], clock: Callable[[], float], every: float = 5):
        self.total = total
        self.kept = kept
        self.done = 0
        self.requests = 0
        self._say = say
        self._clock = clock
        self._every = every
        self._began = self._told = clock()
        if kept:
            say(f"resumed: {share(kept, total)} of it is there already")

    def add(self, points: int, what: str) -> None:
        self.done += points
        self.requests += 1
        now = self._clock()
        finished = self.kept + self.done >= self.total
        if now - self._told < self._every and not finished:
            return
        self._told = now
        gone = now - self._began
        left = gone / self.done * (self.total - self.kept - self.done)
        rest = "" if finished else f", about {span(left)} left, now {what}"
        self._say(f"{share(self.kept + self.done, self.total)} in {self.requests} requests and {span(gone)}{rest}")


def share(part: int, whole: int) -> str:
    """Never 100 % before it is all there."""
    return f"{part * 100 // whole if whole else 100} %"


def span(length: float) -> str:
    """Seconds as people say them."""
    whole = round(length)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"


def manifest(request: Request, grid: Grid, result: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside the table: where its numbers are from, and what each column holds."""
    return {
        "schema": SCHEMA,
        "asked": request.as_dict(),
        "range": {
            "start": iso(grid.start_ms),
            "end": iso(grid.time(grid.points - 1)),
            "step_seconds": grid.step_ms / 1000,
            "points": grid.points,
        },
        **result,
    }


def answers(kept: Any, request: Request) -> bool:
    """Whether a manifest is of this very question, and of a range that does not move."""
    return (
        isinstance(kept, dict)
        and kept.get("schema") == SCHEMA
        and kept.get("asked") == request.as_dict()
        and request.lasting
    )
