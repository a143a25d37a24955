# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of all that was asked for, by Arrow: window by window, so that memory does not grow with the range."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from ..module_utils.prometheus_range import Grid, Piece, cut, iso
from ..module_utils.prometheus_table import Labels, column_names, spell
from .export_store import Store

try:
    import pyarrow
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.parquet
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

WINDOW = 11000  # rows that are held at once


@dataclass
class Column:
    """A series in the table, and what its values were, for the manifest. ``labels`` None: nothing was there."""

    name: str
    metric: str
    question: str
    labels: Labels | None
    points: int = 0
    nan: int = 0
    finite: int = 0
    total: float = 0.0
    least: float | None = None
    most: float | None = None
    first: int | None = None
    last: int | None = None

    def see(self, values: Any, window: Piece) -> None:
        """Count in the values of a window."""
        compute = pyarrow.compute
        there = compute.indices_nonzero(compute.is_valid(values))
        if not len(there):
            return
        self.points += len(there)
        self.first = window.first + there[0].as_py() if self.first is None else self.first
        self.last = window.first + there[-1].as_py()
        self.nan += compute.sum(compute.is_nan(values)).as_py() or 0
        finite = values.filter(compute.is_finite(values))  # null, where there is none, is not true
        if len(finite):
            ends = compute.min_max(finite).as_py()
            self.finite += len(finite)
            self.total += compute.sum(finite).as_py()
            self.least = ends["min"] if self.least is None else min(self.least, ends["min"])
            self.most = ends["max"] if self.most is None else max(self.most, ends["max"])

    def as_dict(self, grid: Grid) -> dict[str, Any]:
        return {
            "name": self.name,
            "metric": self.metric,
            "labels": dict(self.labels or ()),
            "points": self.points,
            "missing": grid.points - self.points,
            "nan": self.nan,
            "first": None if self.first is None else iso(grid.time(self.first)),
            "last": None if self.last is None else iso(grid.time(self.last)),
            "min": self.least,
            "max": self.most,
            "mean": self.total / self.finite if self.finite else None,
        }


@dataclass
class Table:
    """The columns of an export and where their values lie."""

    store: Store
    grid: Grid
    columns: list[Column]
    pieces: dict[str, list[Piece]] = field(default_factory=dict)

    def windows(self) -> Iterator[tuple[Piece, list[Any]]]:
        """Windows of rows, each with an Arrow array for every column."""
        for window in cut(self.grid.whole, WINDOW):
            yield window, [self._values(column, window) for column in self.columns]

    def _values(self, column: Column, window: Piece) -> Any:
        if column.labels is None:
            return pyarrow.nulls(len(window), pyarrow.float64())
        return self.store.column(column.question, self.pieces[column.question], column.labels, window)


def make_table(store: Store, grid: Grid, questions: Mapping[str, str]) -> Table:
    """The table of what is in the store. ``questions``: by metric."""
    columns = []
    for metric, question in questions.items():
        series = store.series(question)
        names = column_names(metric, series)
        columns += [Column(name, metric, question, labels) for name, labels in zip(names, series)]
        if not series:
            columns.append(Column(metric, metric, question, None))
    return Table(store, grid, columns, {question: store.done(question) for question in questions.values()})


# ---------------------------------------------------------------- writing


def write(
    table: Table,
    stream: IO[bytes],
    form: str,
    file_format: str,
    codec: str,
    facts: Mapping[str, str],
    look: Callable[[Piece, Sequence[Any]], None] | None = None,
) -> int:
    """Write the table and give the number of its rows. ``facts`` go into Parquet; ``look`` sees every window."""
    shape = Wide(table) if form == "wide" else Long(table)
    rows = 0
    with _writer(shape.schema(file_format, facts), stream, file_format, codec, shape.quoting) as put:
        for window, columns in table.windows():
            for column, values in zip(table.columns, columns):
                column.see(values, window)
            if look is not None:
                look(window, columns)
            batch = shape.batch(window, columns)
            if file_format != ".parquet":
                batch = batch.set_column(0, "timestamp", _text(batch.column(0), table.grid))
            if batch.num_rows:
                put(batch)
            rows += batch.num_rows
    return rows


class Wide:
    """timestamp, then one column a series."""

    quoting = "none"  # neither times nor numbers hold what a reader could mistake; the header is quoted all the same

    def __init__(self, table: Table) -> None:
        self._table = table

    def schema(self, file_format: str, facts: Mapping[str, str]) -> Any:
        fields = [
            pyarrow.field(
                column.name,
                pyarrow.float64(),
                metadata={"metric": column.metric, "labels": json.dumps(dict(column.labels or ()))},
            )
            for column in self._table.columns
        ]
        return pyarrow.schema([_timestamp(file_format), *fields], metadata=dict(facts))

    def batch(self, window: Piece, columns: Sequence[Any]) -> Any:
        names = ["timestamp", *(column.name for column in self._table.columns)]
        return pyarrow.table([_times(self._table.grid, window), *columns], names=names)


class Long:
    """timestamp, metric, labels, value: a row for each value that is there."""

    quoting = "needed"

    def __init__(self, table: Table) -> None:
        self._table = table
        self._metrics = pyarrow.array([column.metric for column in table.columns])
        self._labels = pyarrow.array([spell(column.labels or ()) for column in table.columns])

    def schema(self, file_format: str, facts: Mapping[str, str]) -> Any:
        text = [pyarrow.field(name, pyarrow.string()) for name in ("metric", "labels")]
        value = pyarrow.field("value", pyarrow.float64())
        return pyarrow.schema([_timestamp(file_format), *text, value], metadata=dict(facts))

    def batch(self, window: Piece, columns: Sequence[Any]) -> Any:
        times = _times(self._table.grid, window)
        parts = []
        for number, values in enumerate(columns):
            there = values.is_valid()
            value = values.filter(there)
            order = pyarrow.repeat(pyarrow.scalar(number, pyarrow.int32()), len(value))
            parts.append(pyarrow.table([times.filter(there), order, value], names=["timestamp", "order", "value"]))
        rows = pyarrow.concat_tables(parts).sort_by([("timestamp", "ascending"), ("order", "ascending")])
        order = rows.column("order").combine_chunks()
        return pyarrow.table(
            [rows.column("timestamp"), self._metrics.take(order), self._labels.take(order), rows.column("value")],
            names=["timestamp", "metric", "labels", "value"],
        )


def _timestamp(file_format: str) -> Any:
    kind = pyarrow.timestamp("ms", tz="UTC") if file_format == ".parquet" else pyarrow.string()
    return pyarrow.field("timestamp", kind)


def _times(grid: Grid, window: Piece) -> Any:
    return pyarrow.array(
        [grid.time(index) for index in range(window.first, window.after)], pyarrow.timestamp("ms", tz="UTC")
    )


def _text(times: Any, grid: Grid) -> Any:
    """ISO 8601; of a type without a zone, for else Arrow asks for the system's tzdata."""
    whole = grid.start_ms % 1000 == 0 and grid.step_ms % 1000 == 0
    plain = times.cast(pyarrow.int64()).cast(pyarrow.timestamp("ms"))
    return pyarrow.compute.strftime(plain.cast(pyarrow.timestamp("s")) if whole else plain, format="%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def _writer(
    schema: Any, stream: IO[bytes], file_format: str, codec: str, quoting: str
) -> Iterator[Callable[[Any], None]]:
    """Writes tables of this schema into an open file, compressed as the format and the codec say."""
    if file_format == ".parquet":
        with pyarrow.parquet.ParquetWriter(stream, schema, compression=codec) as writer:
            yield lambda rows: writer.write_table(rows.cast(schema))
        return
    with contextlib.ExitStack() as stack:
        sink: Any = stream
        if file_format == ".csv.gz":
            sink = stack.enter_context(gzip.GzipFile("", "wb", fileobj=stream, mtime=0))  # Arrow's closes the file
        options = pyarrow.csv.WriteOptions(quoting_style=quoting)
        writer = stack.enter_context(pyarrow.csv.CSVWriter(sink, schema, write_options=options))
        yield lambda rows: writer.write_table(rows.cast(schema))
