# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers are laid on the grid to the point, and every column has a name of its own."""

from __future__ import annotations

import math

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.prometheus_profiles import PROFILES, profile, unit_of
from ansible_collections.gpunode.ready.plugins.module_utils.prometheus_range import Grid, Piece, cut
from ansible_collections.gpunode.ready.plugins.module_utils.prometheus_refusals import (
    AGAIN,
    LESS,
    REFUSED,
    judge,
    nothing_there,
)
from ansible_collections.gpunode.ready.plugins.module_utils.prometheus_table import (
    AnswerError,
    align,
    column_names,
    labels_of,
    metrics_read,
    read,
)
from hypothesis import given
from hypothesis import strategies as st

GRID = Grid(1_735_689_600_250, 1_735_689_600_250 + 99 * 15_000, 15_000)
LABELS = st.dictionaries(st.sampled_from("abc"), st.text('x"\\\n,{}=é', max_size=4), max_size=3).map(labels_of)


def samples(grid, piece, values):
    """What Prometheus answers: seconds with a fraction, values as text, and no sample where there is none."""
    return [
        [grid.time(index) / 1000, repr(value)]
        for index, value in zip(range(piece.first, piece.after), values)
        if value is not None
    ]


@given(
    st.integers(0, 4_000_000_000_000),
    st.integers(1, 500_000),
    st.lists(st.none() | st.floats(width=64), min_size=1, max_size=120),
    st.integers(1, 50),
)
def test_no_value_is_lost_none_comes_twice_and_none_moves(start, step, values, size):
    grid = Grid(start, start + (len(values) - 1) * step, step)

    column = []
    for piece in cut(grid.whole, size):
        column += align(samples(grid, piece, values[piece.first : piece.after]), grid, piece)

    assert len(column) == len(values)
    for got, wanted in zip(column, values):
        assert got == wanted or (got is not None and wanted is not None and math.isnan(got) and math.isnan(wanted))


@pytest.mark.parametrize(
    ("text", "value"), [("+Inf", math.inf), ("-Inf", -math.inf), ("1e-320", 1e-320), ("-0", 0.0), ("15", 15.0)]
)
def test_values_are_read_as_prometheus_writes_them(text, value):
    assert align([[GRID.start_ms / 1000, text]], GRID, Piece(0, 1)) == [value]


def test_nan_is_a_value_and_a_gap_is_none():
    nan, gap = align([[GRID.start_ms / 1000, "NaN"]], GRID, Piece(0, 2))

    assert nan is not None
    assert math.isnan(nan)
    assert gap is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[GRID.start_ms / 1000 + 1, "1"]], "not asked for.*multiple of the step"),
        ([[GRID.time(5) / 1000, "1"]], "not asked for"),
        ([[GRID.time(1) / 1000, "1"], [GRID.time(1) / 1000, "2"]], "two samples"),
    ],
)
def test_a_sample_that_was_not_asked_for_is_refused(values, words):
    with pytest.raises(AnswerError, match=words):
        align(values, GRID, Piece(0, 5))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"data": {"resultType": "vector", "result": []}}, "no matrix"),
        ({}, "no matrix"),
        ([], "no matrix"),
        (
            {"data": {"resultType": "matrix", "result": [{"metric": {"a": "1"}, "histograms": [[1, {}]]}]}},
            "histogram_q",
        ),
        ({"data": {"resultType": "matrix", "result": [{"metric": {}}, {"metric": {"a": ""}}]}}, "twice"),
    ],
)
def test_an_answer_that_is_no_table_is_refused(body, words):
    with pytest.raises(AnswerError, match=words):
        read(body, GRID, Piece(0, 5))


@given(st.lists(LABELS, min_size=1, max_size=8, unique=True))
def test_every_series_has_a_name_of_its_own(series):
    names = column_names("power_watts", series)

    assert len(set(names)) == len(series)
    assert all(name.startswith("power_watts") for name in names)
    assert len(series) > 1 or names == ["power_watts"]


def test_a_name_says_no_more_than_tells_series_apart():
    series = [(("gpu", "0"), ("node", "gpu-1")), (("gpu", "1"), ("node", "gpu-1"))]

    assert column_names("temp", series) == ['temp{gpu="0"}', 'temp{gpu="1"}']


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("DCGM_FI_DEV_GPU_UTIL", ["DCGM_FI_DEV_GPU_UTIL"]),
        (
            'sum by (le, node) (rate(a_bucket{job="b", c=~"d{2}"}[5m] offset 1h)) / on(node) group_left(x) b',
            ["a_bucket", "b"],
        ),
        ('histogram_quantile(0.5, a:b:c) and vector(1) > bool 2 or "text" unless inf', ["a:b:c"]),
        ("max_over_time(a[1h:15s]) @ 1735689600 + a", ["a"]),
    ],
)
def test_the_metrics_of_a_query_are_found(query, names):
    assert metrics_read(query) == names


# ---------------------------------------------------------------- the profile


@pytest.mark.parametrize("metric", PROFILES["research"])
def test_the_research_set_says_its_units_and_fills_in_all(metric):
    plain = profile("research")[metric]
    chosen = profile("research", 'node="gpu-1"', ["node"], "2m")[metric]

    assert unit_of(metric)
    assert "<" not in plain
    assert "{}" not in plain
    assert 'node="gpu-1"' in chosen
    assert "node" in chosen.partition(" by (")[2]


# ---------------------------------------------------------------- what is done about a no


def envelope(kind, text):
    return f'{{"status":"error","errorType":"{kind}","error":"{text}"}}'


@pytest.mark.parametrize(
    ("status", "text", "what"),
    [
        # as Prometheus 2.42 answers
        (400, envelope("bad_data", "invalid parameter query: 1:4: parse error: unexpected end of input"), REFUSED),
        (400, envelope("bad_data", "exceeded maximum resolution of 11,000 points per timeseries."), LESS),
        (422, envelope("execution", "query processing would load too many samples into memory"), LESS),
        (422, envelope("execution", "found duplicate series for the match group"), REFUSED),
        (503, envelope("timeout", "query timed out in expression evaluation"), LESS),
        (503, envelope("unavailable", "TSDB not ready"), AGAIN),
        (503, "Service Unavailable", AGAIN),
        (502, "<html>\n<h1>Bad Gateway</h1>", AGAIN),
        (429, "", AGAIN),
        (401, "Unauthorized", REFUSED),
        (403, "Forbidden", REFUSED),
        (404, "404 page not found", REFUSED),
    ],
)
def test_a_no_is_judged_with_its_mend(status, text, what):
    refusal = judge(status, text)

    assert refusal.what == what
    assert refusal.words.startswith(f"HTTP {status}: ")
    assert refusal.mend.endswith(".")


def test_a_metric_that_nobody_knows_is_told_beside_those_that_are_like_it():
    said = nothing_there(
        "util", "dcgm_gpu_utilization", ["dcgm_gpu_utilization"], ["dcgm_gpu_utilisation", "up"], "today"
    )

    assert "knows no dcgm_gpu_utilization today; it knows dcgm_gpu_utilisation." in said


def test_metrics_that_are_there_and_give_nothing_are_told_otherwise():
    assert "nothing of them is left" in nothing_there("x", "up > 2", ["up"], ["up"], "today")
    assert "before its retention" in nothing_there("x", "up", ["up"], [], "today")
