# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges: whatever start, end and step, no point in time is lost and none is there twice."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.prometheus_range import (
    POINTS_PER_REQUEST,
    Grid,
    Piece,
    RangeError,
    cut,
    duration_ms,
    iso,
    lacking,
    make_grid,
    moment_ms,
    seconds,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_795_219_200_123  # 2026-11-21T00:00:00.123Z
PIECES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 90)).map(lambda two: Piece(two[0], sum(two))))
GRIDS = st.builds(
    lambda start, length, step: Grid(start, start + length, step),
    st.integers(0, 2_000_000_000_000),
    st.integers(0, 10_000_000),
    st.integers(1_000, 700_000),
)


def evaluated(grid):
    """Every time at which Prometheus evaluates: `for ts := start; ts <= end; ts += interval`."""
    times, time = [], grid.start_ms
    while time <= grid.end_ms:
        times.append(time)
        time += grid.step_ms
    return times


@given(GRIDS, st.integers(1, 400))
def test_the_pieces_of_a_range_hold_each_point_once(grid, size):
    pieces = list(cut(grid.whole, size))

    times = [grid.time(index) for piece in pieces for index in range(piece.first, piece.after)]
    assert times == evaluated(grid)
    assert all(0 < len(piece) <= size for piece in pieces)


@given(GRIDS, st.integers(1, 400))
def test_what_prometheus_evaluates_for_the_pieces_is_what_it_would_for_the_whole(grid, size):
    asked = [Grid(grid.time(one.first), grid.time(one.after - 1), grid.step_ms) for one in cut(grid.whole, size)]

    assert [time for piece in asked for time in evaluated(piece)] == evaluated(grid)


@given(st.integers(1, 10_000_000), st.integers(1, 86_400_000))
def test_no_piece_is_over_the_limit_of_prometheus(points, step):
    grid = Grid(0, (points - 1) * step, step)

    widest = max(grid.time(one.after - 1) - grid.time(one.first) for one in cut(grid.whole, POINTS_PER_REQUEST))

    assert widest // step < 11000


@given(PIECES, st.integers(0, 200), st.integers(0, 250))
def test_what_is_done_and_what_is_lacking_are_the_whole(done, first, length):
    whole = Piece(first, first + length)
    there = {index for piece in done for index in range(piece.first, piece.after)}

    left = [index for piece in lacking(whole, done) for index in range(piece.first, piece.after)]

    assert left == [index for index in range(whole.first, whole.after) if index not in there]


@given(GRIDS, st.integers(-10, 20_000))
def test_every_time_of_a_grid_is_found_by_its_number_and_no_other(grid, index):
    inside = 0 <= index < grid.points

    assert grid.index(grid.time(index)) == (index if inside else None)
    assert grid.index(grid.time(index) + 1) is None or grid.step_ms == 1


@given(st.integers(0, 4_102_444_800_000))
def test_a_time_survives_being_written(time_ms):
    assert moment_ms(iso(time_ms), "start", NOW) == time_ms
    assert moment_ms(seconds(time_ms), "start", NOW) == time_ms


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("15s", 15_000),
        ("15", 15_000),
        ("0.25", 250),
        ("500ms", 500),
        ("1h30m", 5_400_000),
        ("3d", 259_200_000),
        ("1w", 604_800_000),
        ("1m500ms", 60_500),
    ],
)
def test_durations_are_read_as_prometheus_writes_them(text, length):
    assert duration_ms(text, "step") == length


@pytest.mark.parametrize("text", ["", "0", "0s", "-15s", "15 s", "s", "15x", "1s1m", "1e3", "nan"])
def test_a_duration_that_is_none_is_refused_by_name(text):
    with pytest.raises(RangeError, match=r"^step: "):
        duration_ms(text, "step")


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T08:00:00Z",
        "2026-11-21 08:00:00+00:00",  # what YAML makes of a time without quotes
        "2026-11-21T08:00Z",
        "2026-11-21T08:00:00.0Z",
        "2026-11-21T09:00:00+01:00",
        "2026-11-21T03:30:00-0430",
        "1795248000",
    ],
)
def test_times_are_read_with_their_zone(text):
    known = int(datetime(2026, 11, 21, 8, tzinfo=timezone.utc).timestamp() * 1000)

    assert moment_ms(text, "start", NOW) == known


def test_relative_times_count_from_now():
    assert moment_ms("now", "end", NOW) == NOW
    assert moment_ms("now-1h30m", "start", NOW) == NOW - 5_400_000
    assert moment_ms("now - 3d", "start", NOW) == NOW - 259_200_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-11-21T08:00:00", "has no zone"),
        ("2026-11-21", "is no time"),
        ("2026-02-30T08:00:00Z", "is no time"),
        ("2026-11-21T25:00:00Z", "is no time"),
        ("yesterday", "is no time"),
        ("now+1h", "is no time"),
        ("", "is no time"),
    ],
)
def test_a_time_that_is_none_is_refused_with_its_mend(text, words):
    with pytest.raises(RangeError, match=words) as raised:
        moment_ms(text, "start", NOW)

    assert str(raised.value).startswith("start: ")
    assert "Write" in str(raised.value) or "day" in str(raised.value) or "hour" in str(raised.value)


@given(st.text(max_size=30))
def test_no_text_makes_a_time_raise_anything_but_its_own_error(text):
    try:
        found = moment_ms(text, "start", NOW)
    except RangeError:
        return

    assert isinstance(found, int)


def test_a_relative_range_lies_on_multiples_of_the_step():
    grid = make_grid("now-1h", "now", "15s", NOW)

    assert (grid.start_ms % 15_000, grid.end_ms % 15_000, grid.points) == (0, 0, 241)


def test_a_range_keeps_the_start_that_was_named():
    grid = make_grid("1795219193.5", "1795219200", "4s", NOW)

    assert [grid.time(index) for index in range(grid.points)] == [1_795_219_193_500, 1_795_219_197_500]


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [("now", "now-1h", "ends .* before it starts"), ("now-1h", "1795219201", "still to come")],
)
def test_a_range_that_cannot_be_is_refused(start, end, words):
    with pytest.raises(RangeError, match=words):
        make_grid(start, end, "15s", NOW)
