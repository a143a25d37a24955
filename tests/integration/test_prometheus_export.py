# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exports from a real Prometheus, through Ansible: each value compared with a direct query, and faults for real.

The blocks are made from OpenMetrics text: gauges, counters that are reset, NaN, gaps, series that come and go. Where a
test has to count requests or to hold one back, a gate stands between, which passes bytes on and changes none.
"""

from __future__ import annotations

import csv
import gzip
import http.client
import http.server
import io
import json
import math
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.prometheus_export import ARGUMENTS, ExportError
from ansible_run import module, playbook, run
from prometheus import blocks, prometheus

ROOT = Path(__file__).resolve().parents[2]

pyarrow = pytest.importorskip("pyarrow.parquet", reason="pyarrow missing: make setup")

from ansible_collections.gpunode.ready.plugins.plugin_utils.exporter import answer  # noqa: E402 - needs pyarrow

pytestmark = pytest.mark.stage("process")

START = 1_735_689_600  # 2025-01-01T00:00:00Z
STEP = 15
MINUTES = 4 * 60  # of data
POINTS = MINUTES * 60 // STEP
LOOKBACK = 5 * 60 // STEP  # points for which a value is seen after its time; from Prometheus 3 on one less
QUERIES = {
    "gpu_temp_celsius": "gpu_temp",
    "jobs_rate": "rate(jobs_total[1m])",
    "ready": "ready",
    "latency_p95_seconds": "histogram_quantile(0.95, sum by (le) (rate(latency_bucket[2m])))",
    "sum": 'sum(gpu_temp{gpu=~"0|1"})',
}
RANGE = {"start": str(START), "end": str(START + (POINTS - 1) * STEP), "step": f"{STEP}s"}


def lines():
    """OpenMetrics text: a family at a time, a series at a time, in the order of time."""
    yield "# TYPE gpu_temp gauge"
    for gpu, there in {
        "0": lambda n: not 300 <= n < 420,  # a gap of 30 minutes
        "1": lambda n: n >= 500,  # comes late
        "2": lambda n: n < 200,  # goes
        'a"b\\c,d': lambda n: 440 <= n < 480,  # with a name that every writer has to mask
    }.items():
        escaped = gpu.replace("\\", "\\\\").replace('"', '\\"')
        for number in filter(there, range(POINTS)):
            value = "NaN" if gpu == "0" and number % 97 == 5 else repr(50 + 10 * math.sin(number / 20) + len(gpu))
            yield f'gpu_temp{{gpu="{escaped}"}} {value} {START + number * STEP}'
    yield "# TYPE ready gauge"
    for number in range(POINTS):
        yield f"ready {['1', '0', '+Inf', '1e-320', '0.30000000000000004'][number % 5]} {START + number * STEP}"
    yield "# TYPE jobs counter"
    for number in range(POINTS):
        yield f"jobs_total {number * 7 % 2000} {START + number * STEP}"
    yield "# TYPE latency histogram"
    for le, share in {"0.1": 0.5, "0.5": 0.9, "+Inf": 1}.items():
        for number in range(POINTS):
            done = number if number < 400 else max(400, number - 200)  # nobody asks for a while: 0 / 0
            yield f'latency_bucket{{le="{le}"}} {done * share} {START + number * STEP}'


KEPT = ("lock", "range.json")  # beside the pieces


def research_lines():
    """What a GPU node and its services export, two pods on one GPU, over ten minutes."""
    for family in ("node_cpu_seconds", *(f"node_pressure_{one}_seconds" for one in PRESSURES), "inference"):
        kind = "histogram" if family == "inference" else "counter"
        name = "inference_latency_seconds" if family == "inference" else family
        yield f"# TYPE {name} {kind}"
        for labels, rate in SERIES.get(family, {'node="gpu-1"': 0.2}).items():
            for number in range(40):
                sample = f"{name}_{'bucket' if kind == 'histogram' else 'total'}{{{labels}}}"
                yield f"{sample} {number * STEP * rate!r} {START + number * STEP}"
    for gauge, series in GAUGES.items():
        yield f"# TYPE {gauge} gauge"
        for labels, value in series.items():
            for number in range(40):
                yield f"{gauge}{{{labels}}} {value} {START + number * STEP}"


PRESSURES = ("cpu_waiting", "memory_waiting", "memory_stalled", "io_waiting", "io_stalled")
SERIES = {
    "node_cpu_seconds": {'node="gpu-1",cpu="0",mode="idle"': 0.25, 'node="gpu-1",cpu="1",mode="idle"': 0.75},
    "inference": {f'node="gpu-1",le="{le}"': rate for le, rate in {"0.1": 5, "0.2": 10, "+Inf": 10}.items()},
}
SHARED = {f'UUID="GPU-{gpu}",node="gpu-1",pod="{pod}"': 40 + 20 * gpu for gpu in (0, 1) for pod in ("a", "b")}
GAUGES = {
    "node_memory_MemTotal_bytes": {'node="gpu-1"': 1000},
    "node_memory_MemAvailable_bytes": {'node="gpu-1"': 250},
    "DCGM_FI_DEV_GPU_UTIL": SHARED,
    "DCGM_FI_DEV_FB_USED": SHARED,
    "DCGM_FI_DEV_POWER_USAGE": SHARED,
}
RESEARCH = {
    "cpu_util_percent": 50,
    "ram_used_bytes": 750,
    "ram_used_percent": 75,
    "gpu_util_percent": 50,
    "gpu_memory_used_bytes": 100 << 20,
    "gpu_power_watts": 100,
    **{f"psi_{one}_percent": 20 for one in ("cpu_some", "memory_some", "memory_full", "io_some", "io_full")},
    "latency_p50_seconds": 0.1,
    "latency_p95_seconds": 0.19,
    "latency_p99_seconds": 0.198,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    blocks(folder / "data", [*lines(), *research_lines()])
    return folder / "data"


@pytest.fixture(scope="module")
def server(data, tmp_path_factory):
    with prometheus(tmp_path_factory.mktemp("server"), data) as running:
        yield running


def arguments(folder, url, path="out.csv", **more):
    return {"url": url, "path": str(folder / path), "queries": QUERIES, "plots": "none", **RANGE, **more}


def export(folder, url, path="out.csv", check=False, **more):
    """What the action plugin answers, without the seconds that Ansible takes to ask it."""
    given = {name: option.get("default") for name, option in ARGUMENTS.items()}
    try:
        return answer({**given, **arguments(folder, url, path, **more)}, check, lambda text: None)
    except ExportError as error:
        return {"failed": True, "msg": str(error)}


def direct(server, query, start=START, end=START + (POINTS - 1) * STEP, step=STEP):
    """(labels, milliseconds) -> value, as Prometheus itself answers."""
    fields = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": step})
    with urllib.request.urlopen(f"{server.url}/api/v1/query_range?{fields}") as answer:
        result = json.load(answer)["data"]["result"]
    return {
        (frozenset(one["metric"].items()), round(seconds * 1000)): float(value)
        for one in result
        for seconds, value in one["values"]
    }


def same(one, other):
    return one == other or (math.isnan(one) and math.isnan(other))


def assert_equal(exported, asked):
    assert exported.keys() == asked.keys()
    assert [key for key in asked if not same(exported[key], asked[key])] == []


def wide(path, manifest, metric):
    """(labels, milliseconds) -> value, as the columns of a metric in a wide CSV say."""
    content = Path(path).read_bytes()
    text = (gzip.decompress(content) if str(path).endswith(".gz") else content).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["timestamp"] for row in rows] == [
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + number * STEP)) for number in range(len(rows))
    ]
    columns = {one["name"]: frozenset(one["labels"].items()) for one in manifest["columns"] if one["metric"] == metric}
    return {
        (labels, (START + number * STEP) * 1000): float(row[name])
        for name, labels in columns.items()
        for number, row in enumerate(rows)
        if row[name] != ""
    }


def columns_of(table, metric):
    """(labels, milliseconds) -> value, as the columns of a metric in a wide Parquet table say."""
    times = table.column("timestamp").cast("int64").to_pylist()
    fields = [field for field in list(table.schema)[1:] if field.metadata[b"metric"].decode() == metric]
    return {
        (frozenset(json.loads(field.metadata[b"labels"]).items()), time_ms): value
        for field in fields
        for time_ms, value in zip(times, table.column(field.name).to_pylist())
        if value is not None
    }


# ---------------------------------------------------------------- what comes out is what is there


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_every_value_of_a_wide_table_is_the_one_that_a_direct_query_gives(server, tmp_path, ending):
    done = export(tmp_path, server.url, f"out.{ending}")

    assert done["changed"], done
    assert done["rows"] == POINTS
    manifest = json.loads((tmp_path / f"out.{ending}.json").read_text())
    for metric, query in QUERIES.items():
        assert_equal(wide(tmp_path / f"out.{ending}", manifest, metric), direct(server, query))


def test_a_parquet_table_holds_the_same_values_and_says_where_they_are_from(server, tmp_path):
    export(tmp_path, server.url, "out.parquet", codec="gzip")

    table = pyarrow.read_table(tmp_path / "out.parquet")
    assert json.loads(table.schema.metadata[b"queries"]) == QUERIES
    for metric, query in QUERIES.items():
        assert_equal(columns_of(table, metric), direct(server, query))


def test_a_long_table_has_a_row_for_each_value_in_the_order_of_time(server, tmp_path):
    done = export(tmp_path, server.url, form="long")

    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert done["rows"] == len(rows) == sum(len(direct(server, query)) for query in QUERIES.values())
    assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)
    for metric, query in QUERIES.items():
        values = sorted(float(row["value"]) for row in rows if row["metric"] == metric and row["value"] != "nan")
        assert values == sorted(value for value in direct(server, query).values() if not math.isnan(value))


@pytest.mark.parametrize(
    "chosen", [{}, {"profile_by": ["node"], "profile_matchers": 'node="gpu-1"'}], ids=["all", "by"]
)
def test_the_research_set_measures_what_its_columns_say(server, tmp_path, chosen):
    ends = {"start": str(START + 8 * STEP), "end": str(START + 38 * STEP)}  # when rates have their window

    done = export(tmp_path, server.url, queries={}, profile="research", **ends, **chosen)

    found = {one["name"]: one["max"] for one in done["columns"]}
    assert found == pytest.approx(RESEARCH)
    assert [one["name"] for one in done["columns"] if one["missing"]] == []


def test_the_manifest_counts_gaps_and_nan_apart(server, tmp_path):
    done = export(tmp_path, server.url)

    columns = {one["name"]: one for one in done["columns"]}
    gaps = columns['gpu_temp_celsius{gpu="0"}']
    assert gaps["missing"] in (120 - LOOKBACK, 120 - LOOKBACK + 1)
    assert gaps["nan"] > 0
    assert gaps["points"] + gaps["missing"] == POINTS
    assert columns['gpu_temp_celsius{gpu="1"}']["first"] == "2025-01-01T02:05:00Z"
    assert columns["jobs_rate"]["min"] >= 0  # a counter that is reset never falls


def test_a_second_run_asks_nothing_and_changes_nothing(server, tmp_path):
    first = export(tmp_path, server.url)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("out*")}

    second = export(tmp_path, server.url)

    assert (second["changed"], second["requests"]) == (False, 0)
    assert second["columns"] == first["columns"]
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("out*")} == before
    assert not list(tmp_path.glob(".out*"))


def test_a_table_that_somebody_changed_is_made_again(server, tmp_path):
    export(tmp_path, server.url)
    kept = (tmp_path / "out.csv").read_bytes()
    (tmp_path / "out.csv").write_bytes(kept[:-20])

    assert export(tmp_path, server.url)["changed"]

    assert (tmp_path / "out.csv").read_bytes() == kept


def test_ansible_hands_it_all_on_and_its_check_mode_writes_nothing(server, tmp_path):
    foretold = module(tmp_path, "prometheus_export", arguments(tmp_path, server.url), "--check")
    there = list(tmp_path.glob("*out*"))
    done = module(tmp_path, "prometheus_export", arguments(tmp_path, server.url))

    assert (foretold["changed"], foretold["requests"], there) == (True, len(QUERIES), [])
    assert (done["changed"], done["rows"]) == (True, POINTS)


def test_check_mode_tries_every_query_and_writes_nothing(server, tmp_path):
    done = export(tmp_path, server.url, check=True)

    assert (done["changed"], done["requests"]) == (True, len(QUERIES))
    assert not list(tmp_path.glob("*out*"))


# ---------------------------------------------------------------- limits


def test_a_range_over_the_limit_is_cut_and_every_value_is_there(server, tmp_path):
    """60,001 points: Prometheus refuses to answer that at once."""
    end = START + 30_000

    done = export(tmp_path, server.url, "out.parquet", queries={"ready": "ready"}, end=str(end), step="500ms")

    asked = {}
    for first in range(START, end + 1, 5000):
        asked |= direct(server, "ready", first, min(first + 4999.5, end), 0.5)
    assert (done["range"]["points"], done["requests"]) == (60_001, 1 + 6)
    assert_equal(columns_of(pyarrow.read_table(tmp_path / "out.parquet"), "ready"), asked)


def test_times_between_seconds_are_written_to_the_millisecond(server, tmp_path):
    export(tmp_path, server.url, queries={"ready": "ready"}, end=str(START + 1), step="500ms")

    stamps = [line.partition(",")[0] for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    assert stamps == ["2025-01-01T00:00:00.000Z", "2025-01-01T00:00:00.500Z", "2025-01-01T00:00:01.000Z"]


def test_four_hundred_days_at_15_seconds_are_cut_and_mostly_empty(server, tmp_path):
    done = export(tmp_path, server.url, queries={"ready": "ready"}, end=str(START + 400 * 86400), form="long")

    assert done["range"]["points"] == 400 * 86400 // 15 + 1
    assert done["requests"] == 1 + math.ceil(done["range"]["points"] / 11_000)
    assert done["rows"] in (POINTS + LOOKBACK, POINTS + LOOKBACK - 1)


def test_where_prometheus_bears_less_less_is_asked_for(data, tmp_path):
    with prometheus(tmp_path / "server", data, "--query.max-samples=600") as small:
        done = export(tmp_path, small.url, queries={"ready": "ready", "jobs_rate": QUERIES["jobs_rate"]})

    assert done["rows"] == POINTS
    assert done["columns"][0]["points"] == POINTS
    assert done["requests"] > 2 + 2


def test_what_is_too_much_for_one_point_is_told_with_its_mend(data, tmp_path):
    with prometheus(tmp_path / "server", data, "--query.max-samples=2") as small:
        done = export(tmp_path, small.url, queries={"sum": "sum(latency_bucket)"})

    assert done["failed"]
    assert "does not answer for a single time: HTTP 422: query processing would load too many samples" in done["msg"]
    assert "--query.max-samples" in done["msg"]


def test_a_query_that_never_ends_in_time_is_told_with_its_mend(data, tmp_path):
    with prometheus(tmp_path / "server", data, "--query.timeout=1ms") as hasty:
        done = export(tmp_path, hasty.url, queries={"slow": "sum(sum_over_time(latency_bucket[4h:1s]))"})

    assert done["failed"]
    assert "HTTP 503: query timed out" in done["msg"]
    assert "--query.timeout" in done["msg"]
    assert not (tmp_path / "out.csv").exists()


# ---------------------------------------------------------------- what is not as it should be


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"queries": {"a": "sum("}}, ["a: ", "HTTP 400", "parse error", "Mend the query", "Query: sum("]),
        ({"queries": {"a": "gpu_temp * on() ready_total or gpu_temp * on(x) gpu_temp"}}, ["HTTP 422", "many-to-many"]),
        ({"queries": {"a": "gpu_temps"}}, ["a has no series", "knows no gpu_temps", "it knows gpu_temp", "empty"]),
        ({"queries": {"a": "gpu_temp > 1e6"}}, ["its metrics are there, and nothing of them is left"]),
        ({"queries": {"a": "ready[5m]"}}, ["HTTP 400", "range"]),
        ({"queries": {"gpu temp": "ready"}}, ["'gpu temp' is no name of a column"]),
        ({"queries": {}}, ["nothing is asked for"]),
        ({"start": "2025-01-01T00:00:00"}, ["has no zone"]),
        ({"end": str(START - 1)}, ["ends (2024-12-31T23:59:59Z) before it starts"]),
        ({"path": "out.xlsx"}, ["names no format", ".parquet"]),
        ({"path": "/proc/no/such/out.csv"}, ["/proc/no/such/", "Let path lie"]),
        ({"series_max": 2}, ["more than 2 series", "Aggregate"]),
        ({"url": "http://ada:secret@127.0.0.1:1"}, ["holds a password"]),
        ({"url": "127.0.0.1:9090"}, ["is no address"]),
        ({"ca_path": "/no/such.crt"}, ["/no/such.crt is not there"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_exported_is_refused_in_words_and_leaves_no_table(server, tmp_path, more, words):
    path = more.get("path", "out.csv")

    done = export(
        tmp_path, more.get("url", server.url), path, **{k: v for k, v in more.items() if k not in ("path", "url")}
    )

    assert done["failed"]
    assert [word for word in words if word not in done["msg"]] == []
    assert "secret" not in json.dumps(done)
    assert not (tmp_path / path).exists()
    assert not [part for part in tmp_path.glob(".*.parts/*") if part.suffix != ".arrow" and part.name not in KEPT]


def test_an_empty_metric_can_be_kept_as_an_empty_column(server, tmp_path):
    done = export(tmp_path, server.url, queries={"ready": "ready", "none": "gpu_temps"}, empty="keep")

    assert done["changed"]
    assert "knows no gpu_temps" in done["warnings"][0]
    with (tmp_path / "out.csv").open(newline="") as stream:
        assert {row["none"] for row in csv.DictReader(stream)} == {""}


def test_a_prometheus_that_is_away_is_told_when_patience_is_over(tmp_path):
    began = time.monotonic()

    done = export(tmp_path, "http://127.0.0.1:9", patience_seconds=2)

    assert done["failed"]
    assert "http://127.0.0.1:9: Connection refused, for 2 s on end" in done["msg"]
    assert time.monotonic() - began < 60


def test_a_page_that_is_no_prometheus_is_told(tmp_path):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = b"<html>please log in</html>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    with serving(Page) as port:
        done = export(tmp_path, f"http://127.0.0.1:{port}")

    assert "text/html came, not the JSON of Prometheus" in done["msg"]


# bcrypt of `test`, from Prometheus' own guide to basic authentication
HASH = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"


def test_credentials_and_certificates_open_the_door_and_wrong_ones_do_not(data, tmp_path):
    name = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", tmp_path / "key.pem", "-out", tmp_path / "crt.pem")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *name, *files]
    subprocess.run(made, check=True, capture_output=True)
    tls = f"{{cert_file: {tmp_path / 'crt.pem'}, key_file: {tmp_path / 'key.pem'}}}"
    web = {"tls_server_config": tls, "basic_auth_users": f"{{admin: {HASH}}}"}
    with prometheus(tmp_path / "server", data, web=web) as closed:
        trusted = {"queries": {"ready": "ready"}, "ca_path": str(tmp_path / "crt.pem")}
        strange = export(tmp_path, closed.url, queries={"ready": "ready"})
        nobody = export(tmp_path, closed.url, **trusted)
        wrong = export(tmp_path, closed.url, **trusted, username="admin", password="tset-s3cret")
        right = export(tmp_path, closed.url, **trusted, username="admin", password="test")

    assert "no trusted connection: self-signed certificate" in strange["msg"]
    assert "ca_path" in strange["msg"]
    assert "HTTP 401" in nobody["msg"]
    assert "HTTP 401" in wrong["msg"]
    assert "s3cret" not in json.dumps(wrong)
    assert right["rows"] == POINTS
    assert '"password"' not in (tmp_path / "out.csv.json").read_text()


def test_without_its_libraries_it_says_which_and_how_to_get_them(server, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys\nfor name in ('pyarrow', 'matplotlib'):\n    sys.modules[name] = None\n"
    )
    os.environ["PYTHONPATH"] = str(hidden)
    try:
        done = module(tmp_path, "prometheus_export", arguments(tmp_path, server.url, plots="png"))
    finally:
        del os.environ["PYTHONPATH"]

    assert "Failed to import the required Python library (pyarrow, matplotlib)" in done["msg"]
    assert "pip install pyarrow matplotlib" in done["msg"]


# ---------------------------------------------------------------- interruptions


@contextmanager
def serving(handler):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        web.daemon_threads = True
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield web.server_address[1]
        web.shutdown()


class Gate:
    """Passes requests on to Prometheus, counts them, and holds back those after ``limit``."""

    def __init__(self, port):
        self.port = port
        self.limit = None
        self.passed = []
        self.held = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def open(self):
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked = {name: values[0] for name, values in urllib.parse.parse_qs(body.decode()).items()}
                with gate._lock:
                    stop = gate.limit is not None and len(gate.passed) >= gate.limit
                    if not stop:
                        gate.passed.append((asked["query"], asked["start"], asked["end"]))
                if stop:
                    gate.held.set()
                    threading.Event().wait(120)
                    return
                onward = http.client.HTTPConnection("127.0.0.1", gate.port)
                onward.request("POST", self.path, body, {"Content-Type": self.headers["Content-Type"]})
                answer = onward.getresponse()
                text = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.getheader("Content-Type"))
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_arguments):
                pass

        with serving(Handler) as port:
            yield f"http://127.0.0.1:{port}"


def test_a_killed_export_goes_on_where_it_was_and_gives_the_same_bytes(server, tmp_path):
    """2 queries over 60,001 points are 12 pieces; the kill comes when 5 of them are there."""
    wanted = {
        "queries": {"ready": "ready", "jobs_rate": QUERIES["jobs_rate"]},
        "end": str(START + 30_000),
        "step": "500ms",
    }
    gate = Gate(server.port)
    (tmp_path / "whole").mkdir()
    with gate.open() as url:
        whole = export(tmp_path / "whole", url, **wanted)
        everything = gate.passed[2:]  # the first two try the queries out
        gate.passed, gate.limit = [], 2 + 5

        started = start(tmp_path, arguments(tmp_path, url, **wanted))
        assert gate.held.wait(240)
        kill(list(family(started.pid)))
        started.wait()
        parts = sorted((tmp_path / ".out.csv.parts").glob("*.arrow"))
        left_behind = {path.name for path in tmp_path.glob("*out*")}
        first, gate.passed, gate.limit = gate.passed[2:], [], None
        done = export(tmp_path, url, **wanted)

    assert len(parts) == len(first) == 5
    assert left_behind == {".out.csv.parts"}  # neither table nor manifest
    assert "failed" not in done, done
    assert gate.passed[2:] == everything[5:]
    assert first + gate.passed[2:] == everything
    assert done["resumed_points"] == 5 * 11_000
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole/out.csv").read_bytes()
    assert done["columns"] == whole["columns"]
    assert not (tmp_path / ".out.csv.parts").exists()


def start(folder, given):
    """An export that goes on while the test does something else."""
    return subprocess.Popen(
        [Path(sys.executable).parent / "ansible", "localhost", "-m", "gpunode.ready.prometheus_export", "-a",
         json.dumps(given)],
        cwd=folder,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        stdin=subprocess.DEVNULL,
        stdout=(folder / "said").open("w"),
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def family(pid):
    """A process and all that it started; Ansible's workers are in sessions of their own."""
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from family(int(child))


def kill(pids):
    """Kill these processes, and wait until the last thread of each has ended: until then it holds what it has open."""
    handles = [os.pidfd_open(pid) for pid in pids]
    for handle in handles:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    for handle in handles:
        assert select.select([handle], [], [], 60)[0], "not ended in 60 s"
        os.close(handle)


def test_a_piece_that_was_spoilt_is_asked_for_again(server, tmp_path):
    gate = Gate(server.port)
    wanted = {"queries": {"ready": "ready"}, "end": str(START + 30_000), "step": "500ms", "empty": "fail"}
    with gate.open() as url:
        export(tmp_path, url, **{**wanted, "queries": {"ready": "ready", "none": "gpu_temps"}})
        parts = sorted((tmp_path / ".out.csv.parts").glob("*.arrow"), key=lambda path: path.stat().st_size)
        parts[-1].write_bytes(parts[-1].read_bytes()[:-100])
        gate.passed = []
        done = export(tmp_path, url, **wanted)

    assert done["requests"] == 1 + 1
    assert done["resumed_points"] == 60_001 - 11_000


def test_a_prometheus_that_restarts_is_waited_for(data, tmp_path):
    with prometheus(tmp_path / "server", data) as server:
        server.stop()
        threading.Timer(4, server.start).start()
        done = export(tmp_path, server.url)

        assert done["rows"] == POINTS


def test_an_interrupted_export_of_relative_times_keeps_its_range_and_says_so(server, tmp_path):
    wanted = {"start": "now-1h", "end": "now"}
    export(tmp_path, server.url, queries={"none": "gpu_temps"}, **wanted)
    before = json.loads((tmp_path / ".out.csv.parts/range.json").read_text())["grid"]

    done = export(tmp_path, server.url, queries={"none": "gpu_temps"}, empty="keep", **wanted)

    assert done["range"]["start"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(before[0] / 1000))
    assert "stays what it was when the interrupted export began" in done["warnings"][0]


# tmpfs in a mount namespace of its own, gone afterwards
TIGHT = shutil.which("unshare") and os.geteuid() == 0


@pytest.mark.skipif(not TIGHT, reason="needs root and unshare, to mount a small file system")
@pytest.mark.parametrize("kib", [16, 400], ids=["at the first pieces", "at the table"])
def test_a_full_disk_is_told_leaves_no_half_table_and_is_gone_on_from(server, tmp_path, kib):
    """The old table stays as it was; with room again, what was done is not asked for once more."""
    (tmp_path / "full").mkdir()
    wanted = {"queries": {"ready": "ready"}, "start": str(START), "end": str(START + 14_000), "step": "1s"}
    task = {"gpunode.ready.prometheus_export": arguments(tmp_path / "full", server.url, **wanted)}
    (tmp_path / "play.json").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    script = f"""
        set -e
        mount -t tmpfs -o size={kib}k none {tmp_path}/full
        echo old > {tmp_path}/full/out.csv
        if {Path(sys.executable).parent}/ansible-playbook play.json > first 2>&1; then exit 3; fi
        cp {tmp_path}/full/out.csv old; ls -AR {tmp_path}/full > parts
        mount -o remount,size=8m {tmp_path}/full
        {Path(sys.executable).parent}/ansible-playbook -v play.json > second 2>&1
        cp {tmp_path}/full/out.csv new; ls -A {tmp_path}/full > left
    """
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_NOCOLOR": "1"}

    ran = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )

    said = {name: (tmp_path / name).read_text() for name in ("first", "second", "old", "parts", "left")}
    assert ran.returncode == 0, (ran.stderr, said)
    assert "no space left in its file system" in said["first"]
    assert "free space and run again" in " ".join(said["first"].split())
    assert said["old"] == "old\n"
    assert ".tmp" not in said["parts"]
    assert sorted(said["left"].split()) == ["out.csv", "out.csv.json"]
    assert len((tmp_path / "new").read_text().splitlines()) == 14_002
    resumed = int(re.search(r'"resumed_points": (\d+)', said["second"]).group(1))
    assert resumed == (0 if kib == 16 else 14_001)


def test_two_exports_to_one_table_do_not_meet(server, tmp_path):
    import fcntl

    (tmp_path / ".out.csv.parts").mkdir()
    with (tmp_path / ".out.csv.parts/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = export(tmp_path, server.url)

    assert "another export to this table runs" in done["msg"]


# ---------------------------------------------------------------- pictures and the playbook


@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_every_metric_has_its_picture_beside_the_table(server, tmp_path, kind, magic):
    done = export(tmp_path, server.url, "day.csv", plots=kind)

    assert sorted(done["plots"]) == sorted(str(tmp_path / f"day.{metric}.{kind}") for metric in QUERIES)
    assert [path for path in done["plots"] if not Path(path).read_bytes().startswith(magic)] == []
    if kind == "svg":
        assert "2025-01-01T00:00:00Z" in re.sub(r"<!-- | -->", "", (tmp_path / "day.ready.svg").read_text())


def test_progress_is_said_while_it_works(server, tmp_path):
    task = {"gpunode.ready.prometheus_export": arguments(tmp_path, server.url)}

    done = playbook(tmp_path, [{"hosts": "here", "gather_facts": False, "tasks": [task]}])

    assert f"prometheus_export: 100 % in {len(QUERIES)} requests" in done.stdout, done.stdout + done.stderr


def test_the_playbook_exports_with_the_choices_of_the_inventory(server, tmp_path):
    choices = {
        "gpunode_export_url": server.url,
        "gpunode_export_path": "data/run.csv.gz",
        "gpunode_export_start": RANGE["start"],
        "gpunode_export_end": RANGE["end"],
        "gpunode_export_profile": "none",
        "gpunode_export_queries": QUERIES,
        "gpunode_export_options": {"plots": "svg", "form": "long"},
    }
    groups = {"gpu_nodes": {"hosts": {"nowhere.invalid": choices}}}

    done = run(tmp_path, "ansible-playbook", str(ROOT / "playbooks/export.yml"), groups=groups)
    again = run(tmp_path, "ansible-playbook", str(ROOT / "playbooks/export.yml"), groups=groups)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in again.stdout, again.stdout + again.stderr
    with gzip.open(tmp_path / "data/run.csv.gz", "rt") as stream:
        assert stream.readline() == '"timestamp","metric","labels","value"\n'
    assert (tmp_path / "data/run.ready.svg").is_file()
