# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus answers to a range query, laid on the grid that was asked for, and what its columns are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .prometheus_range import Grid, Piece, iso

# what a series is known by: its labels, sorted
Labels = tuple[tuple[str, str], ...]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class AnswerError(ValueError):
    """An answer that is not what was asked for."""


def labels_of(metric: Mapping[str, str]) -> Labels:
    return tuple(sorted((str(name), str(value)) for name, value in metric.items() if value != ""))


def read(body: Any, grid: Grid, piece: Piece) -> dict[Labels, list[float | None]]:
    """The series of an answer, each with a value or None for every point of the piece. Raises ``AnswerError``."""
    data = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(data, Mapping) or data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
        raise AnswerError("the answer holds no matrix, as every answer to a range query does")
    series = {}
    for one in data["result"]:
        labels = labels_of(one.get("metric") or {})
        if one.get("histograms"):
            raise AnswerError(
                f"{spell(labels) or 'the series'} holds native histograms, which are no column. Ask for what is wanted"
                " of them: histogram_quantile(0.95, ...), histogram_avg(...), histogram_count(...)"
            )
        if labels in series:
            raise AnswerError(f"the series {spell(labels)} is there twice")
        series[labels] = align(one.get("values") or [], grid, piece)
    return series


def align(values: Iterable[Sequence[Any]], grid: Grid, piece: Piece) -> list[float | None]:
    """Samples ``[seconds, "value"]`` on the points of a piece; None where there is none. Raises ``AnswerError``."""
    column: list[float | None] = [None] * len(piece)
    for stamp, text in values:
        time_ms = round(float(stamp) * 1000)
        index = grid.index(time_ms)
        if index is None or not piece.first <= index < piece.after:
            raise AnswerError(
                f"a sample is of {iso(time_ms)}, which was not asked for: the server aligns ranges by itself. Let"
                f" start be a multiple of the step ({grid.step_ms / 1000:g} s)"
            )
        if column[index - piece.first] is not None:
            raise AnswerError(f"two samples of one series are of {iso(time_ms)}")
        column[index - piece.first] = float(text)
    return column


# ---------------------------------------------------------------- names


def spell(labels: Labels) -> str:
    """``{gpu="0",node="gpu-1"}``, as PromQL writes it."""
    inside = ",".join(f"{name}={_quoted(value)}" for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def column_names(name: str, series: Sequence[Labels]) -> list[str]:
    """The names of a query's columns: its own where it has one series, else with the labels that tell them apart."""
    if len(series) == 1:
        return [name]
    values: dict[str, set[str | None]] = {}
    for labels in series:
        for label, value in labels:
            values.setdefault(label, set()).add(value)
    known = [dict(labels) for labels in series]
    telling = [label for label in sorted(values) if len({one.get(label) for one in known}) > 1]
    return [name + spell(tuple((label, one[label]) for label in telling if label in one)) for one in known]


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


# ---------------------------------------------------------------- what a query reads

STRING = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`')
NOT_NAMES = re.compile(
    r"\{[^}]*\}|\[[^]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\b(?:offset|@)\s*-?\w+", re.I
)
IDENTIFIER = re.compile(r"(?<![\w:.])([A-Za-z_:][\w:]*)(?!\s*\()(?![\w:])")
WORDS = re.compile(
    "and|or|unless|bool|inf|nan|atan2|by|without|on|ignoring|group_left|group_right|sum|min|max|avg|group|stddev|stdvar"
    "|count|count_values|bottomk|topk|quantile|limitk|limit_ratio",
    re.IGNORECASE,
)


def metrics_read(query: str) -> list[str]:
    """The metrics that a query names, for a message; found by the look of it, not by parsing PromQL."""
    bare = NOT_NAMES.sub(" ", STRING.sub('""', query))
    found = [name for name in IDENTIFIER.findall(bare) if not WORDS.fullmatch(name)]
    return list(dict.fromkeys(found))
