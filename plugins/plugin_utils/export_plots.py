# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of each metric, by matplotlib: what it was over the whole range, however long, with its gaps.

A range is longer than a picture is wide, so a line is the mean of what falls on one place, in a band from the least to
the greatest value there. Where nothing was measured there is no line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import IO, Any

from ..module_utils.prometheus_profiles import unit_of
from ..module_utils.prometheus_range import Grid, Piece, iso
from .export_table import Column

try:
    import matplotlib
    import matplotlib.dates
    import numpy
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

PLACES = 1200
LINES = 10  # as many colours as can be told apart; further series are counted, not drawn


class Sketch:
    """What a series was at each place of the picture."""

    def __init__(self, grid: Grid) -> None:
        self._points = grid.points
        self.places = min(grid.points, PLACES)
        self.least = numpy.full(self.places, numpy.nan)
        self.most = numpy.full(self.places, numpy.nan)
        self._total = numpy.zeros(self.places)
        self._count = numpy.zeros(self.places)

    def see(self, values: Any, window: Piece) -> None:
        numbers = values.to_numpy(zero_copy_only=False)
        there = numpy.isfinite(numbers)
        numbers = numbers[there]
        places = (numpy.arange(window.first, window.after)[there] * self.places) // self._points
        numpy.fmin.at(self.least, places, numbers)
        numpy.fmax.at(self.most, places, numbers)
        numpy.add.at(self._total, places, numbers)
        numpy.add.at(self._count, places, 1)

    @property
    def mean(self) -> Any:
        with numpy.errstate(invalid="ignore"):
            return self._total / numpy.where(self._count, self._count, numpy.nan)


class Plots:
    """The pictures of all metrics, drawn after every window of the table was seen."""

    def __init__(self, grid: Grid, columns: Sequence[Column]) -> None:
        self._grid = grid
        self._columns: dict[str, list[tuple[int, Column]]] = {}
        for number, column in enumerate(columns):
            self._columns.setdefault(column.metric, []).append((number, column))
        self._sketches = {number: Sketch(grid) for drawn in self._columns.values() for number, _column in drawn[:LINES]}

    def see(self, window: Piece, columns: Sequence[Any]) -> None:
        for number, sketch in self._sketches.items():
            sketch.see(columns[number], window)

    def draw(self, metric: str, query: str, stream: IO[bytes], kind: str) -> None:
        """The picture of one metric; the same numbers give the same bytes."""
        columns = self._columns[metric]
        with matplotlib.rc_context({"svg.hashsalt": metric, "font.size": 9, "axes.formatter.limits": (-4, 6)}):
            figure = Figure(figsize=(11, 4.4), dpi=120, layout="constrained")
            axes = figure.add_subplot()
            times = self._times()
            for number, column in columns[:LINES]:
                self._line(axes, times, self._sketches[number], column)
            self._frame(figure, axes, metric, query, [column for _number, column in columns])
            canvas = FigureCanvasSVG(figure) if kind == "svg" else FigureCanvasAgg(figure)
            nobody = {"Date": None} if kind == "svg" else {"Software": None}
            canvas.print_figure(stream, format=kind, metadata=nobody)

    def _times(self) -> Any:
        places = min(self._grid.points, PLACES)
        middles = [self._grid.time(place * self._grid.points // places) for place in range(places)]
        return matplotlib.dates.date2num([datetime.fromtimestamp(ms / 1000, timezone.utc) for ms in middles])

    def _line(self, axes: Any, times: Any, sketch: Sketch, column: Column) -> None:
        label = column.name.removeprefix(column.metric) or column.metric
        alone = numpy.isfinite(sketch.mean)
        alone = alone & ~numpy.roll(alone, 1) & ~numpy.roll(alone, -1)  # a point with no neighbour would not be seen
        (line,) = axes.plot(times, sketch.mean, linewidth=1.1, label=textwrap.shorten(label, 70))
        if alone.any():
            axes.plot(times[alone], sketch.mean[alone], ".", markersize=3, color=line.get_color())
        if self._grid.points > PLACES:
            axes.fill_between(times, sketch.least, sketch.most, alpha=0.2, linewidth=0, color=line.get_color())

    def _frame(self, figure: Any, axes: Any, metric: str, query: str, columns: Sequence[Column]) -> None:
        points = sum(column.points for column in columns)
        whole = self._grid.points * len(columns)
        series = f"{len(columns)} series" if len(columns) > 1 else ""
        left_out = f"{len(columns) - LINES} not drawn" if len(columns) > LINES else ""
        numbers = sum(column.points - column.finite for column in columns)
        said = [
            f"{iso(self._grid.start_ms)} to {iso(self._grid.time(self._grid.points - 1))}",
            f"every {self._grid.step_ms / 1000:g} s",
            series,
            left_out,
            "" if points == whole else f"{whole - points} of {whole} points missing",
            f"{numbers} NaN or infinite" if numbers else "",
        ]
        figure.suptitle(metric, fontsize=12, fontweight="bold")
        axes.set_title(
            "\n".join([*textwrap.wrap(query, 150)[:3], ", ".join(filter(None, said))]), fontsize=7.5, color="0.35"
        )
        start, end = (self._grid.time(index) / 1000 for index in (0, self._grid.points - 1))
        if end > start:
            axes.set_xlim(*(datetime.fromtimestamp(second, timezone.utc) for second in (start, end)))
        locator = matplotlib.dates.AutoDateLocator(tz=timezone.utc)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(matplotlib.dates.ConciseDateFormatter(locator, tz=timezone.utc))
        axes.set_xlabel("UTC")
        axes.set_ylabel(unit_of(metric))
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if len(columns) > 1:
            axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        if not points:
            axes.text(0.5, 0.5, "nothing was there", transform=axes.transAxes, ha="center", color="0.5")
