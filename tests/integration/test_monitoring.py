# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role monitoring brings, in a real Prometheus: its configuration, its rules, every query of every panel."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ansible_collections.gpunode.ready.plugins.module_utils.findings import Finding, Remedy
from ansible_collections.gpunode.ready.plugins.module_utils.monitoring import dashboards, panels, rules, settings
from ansible_collections.gpunode.ready.plugins.module_utils.prometheus_text import textfile
from prometheus import programs
from prometheus_stack import TOKEN, Node, Pod, certificate, localised, node_exporter, prometheus, served
from rendering import Case, render

pytestmark = pytest.mark.stage("process")

DATA = Path(__file__).resolve().parent / "data/monitoring"
NODE, OTHER = "datagen-1-35", "gpu-1"  # the node of the captured cluster, and one that stands beside it
INTERVAL = "2s"
CHOSEN = settings.Settings()

# What these sources cannot show, and why. Each other query must return data.
NOT_HERE = {
    "Interrupts": "Debian's node-exporter 1.5 has no node_pressure_irq_stalled_seconds_total; 1.12 has",
}


# ---------------------------------------------------------------- what the role renders

OBJECTS = "__monitoring_settings | gpunode.ready.monitoring_objects(__monitoring_files)"


def rendered(**options) -> dict[str, dict]:
    """The objects that the role would apply, by name, templated by Ansible."""
    case = Case("monitoring", {"os": {"id": "debian", "family": "debian"}}, (OBJECTS,), options)
    return {one["metadata"]["name"]: one for one in render({"": case})[""][OBJECTS]}


@pytest.fixture(scope="module")
def objects():
    return rendered()


def promtool(*arguments, cwd=None):
    command = [programs() / "promtool", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    return SimpleNamespace(code=done.returncode, says=done.stdout + done.stderr)


# ---------------------------------------------------------------- the stack


def pods(ports) -> list:
    name = "app.kubernetes.io/name"
    scrape = {"prometheus.io/scrape": "true"}
    return [
        # node-exporter carries the annotation, too, and must not be counted twice
        Pod("node-exporter-a", NODE, ports["node"], {name: "node-exporter"}, scrape),
        Pod("dcgm-exporter-a", NODE, ports["shared"], {name: "dcgm-exporter"}),
        Pod("nvidia-dcgm-exporter-b", OTHER, ports["l4"], {"app": "nvidia-dcgm-exporter"}, scrape, "gpu-operator"),
        Pod("kube-state-metrics-a", NODE, ports["state"], {name: "kube-state-metrics"}, port_name="http-metrics"),
        Pod("kube-state-metrics-a", NODE, 1, {name: "kube-state-metrics"}, port_name="telemetry"),
        Pod("kube-state-metrics-a", NODE, 1, {name: "kube-state-metrics"}, port_name="metrics"),
        Pod(
            "resnet-0",
            NODE,
            1,  # another port of the pod: the annotation names the right one
            annotations={**scrape, "prometheus.io/port": str(ports["inference"]), "prometheus.io/path": "/stats"},
            namespace="inference",
            port_name="web",
        ),
        Pod(
            "resnet-0",
            NODE,
            2,
            annotations={**scrape, "prometheus.io/port": str(ports["inference"]), "prometheus.io/path": "/stats"},
            namespace="inference",
            port_name="grpc",
        ),
        Pod("finished", NODE, 3, annotations=scrape, phase="Succeeded"),
        Pod("quiet", NODE, 4, annotations={"prometheus.io/scrape": "false"}),
        Node(NODE, ports["kubelet"]),
    ]


@pytest.fixture(scope="module")
def live(tmp_path_factory, objects):
    """Everything runs, and has been scraped and recorded often enough for rates of rates."""
    folder = tmp_path_factory.mktemp("live")
    textfiles = folder / "textfiles"
    textfiles.mkdir()
    (textfiles / "gpunode.prom").write_text(textfile([finding("gpu-lost-off-bus", "fatal")]))
    (folder / "token").write_text(TOKEN)
    (folder / "gpunode.json").write_text(objects["gpunode-rules"]["data"]["gpunode.json"])
    text = {path.name: path.read_text() for path in DATA.glob("*.txt")}
    state = text["kube-state-metrics-2.19.0.txt"] + text["kube-state-metrics.written.txt"]
    kubelet = {"/metrics": text["kubelet.written.txt"], "/metrics/cadvisor": text["cadvisor-kubelet-1.35.0.txt"]}
    with contextlib.ExitStack() as stack:
        start = stack.enter_context
        ports = {
            "node": start(node_exporter(folder, textfiles)),
            "l4": start(served({"/metrics": text["dcgm-exporter-l4.txt"]})),
            "shared": start(served({"/metrics": text["dcgm-exporter-shared.written.txt"]})),
            "state": start(served({"/metrics": merged(state)})),
            "inference": start(served({"/stats": text["inference.written.txt"]})),
            "kubelet": start(served(kubelet, TOKEN, certificate(folder))),
        }
        config = objects["gpunode-prometheus"]["data"]["prometheus.yml"]
        server = start(prometheus(folder, lambda port: localised(config, pods(ports), folder, port, INTERVAL)))
        until = time.monotonic() + 300
        while not settled(server):
            assert time.monotonic() < until, [(one["labels"], one["lastError"]) for one in server.targets()]
            time.sleep(0.2)
        yield SimpleNamespace(server=server, folder=folder)


def settled(server) -> bool:
    up = server.query("count(up == 1) == count(count_over_time(up[1m]) >= 4)")
    last = server.query("count(node:load_state:level) and count(rate(node_cpu_seconds_total[1m]) > 0)")
    return bool(up and last and len(server.targets()) == int(float(up[0]["value"][1])))


def finding(name, severity):
    return Finding(name, "nvml", severity, "GPU 0", "It no longer answers.", Remedy("Power-cycle the machine."))


def merged(text: str) -> str:
    """Two answers as one: the series of a family stand together, under one HELP and TYPE, as exporters write them."""
    families: dict[str, list[str]] = {}
    for line in text.splitlines():
        name = line.split()[2] if line.startswith("#") else re.match(r"[\w:]+", line).group(0)
        lines = families.setdefault(name, [])
        if not line.startswith("#") or not any(one.split()[:2] == line.split()[:2] for one in lines):
            lines.append(line)
    return "\n".join(line for lines in families.values() for line in lines) + "\n"


def numbers(found: list) -> list[float]:
    """The values of an answer. Nothing divided by nothing is none."""
    return [value for value in (float(one["value"][1]) for one in found) if value == value]


def asked(expr: str) -> str:
    """A panel's expression with everything chosen, as Grafana would send it."""
    chosen = re.sub(r"\$(cluster|node|gpu|namespace|model)\b", ".*", expr).replace("$__rate_interval", "30s")
    assert "$" not in chosen, expr
    return chosen


# ---------------------------------------------------------------- promtool


def test_promtool_accepts_the_configuration_with_its_rules(objects, tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    certificate(tmp_path)
    (tmp_path / "gpunode.json").write_text(objects["gpunode-rules"]["data"]["gpunode.json"])
    text = objects["gpunode-prometheus"]["data"]["prometheus.yml"]
    (tmp_path / "theirs.yml").write_text(text)
    (tmp_path / "here.yml").write_text(localised(text, [], tmp_path, 9090, "15s"))

    as_it_is = promtool("check", "config", "--syntax-only", tmp_path / "theirs.yml")
    with_files = promtool("check", "config", tmp_path / "here.yml")
    its_rules = promtool("check", "rules", tmp_path / "gpunode.json")

    # Debian builds Prometheus without discovery of Kubernetes: that alone may be unknown to it
    unknown = [line for line in as_it_is.says.splitlines() if re.match(r" +line \d+: ", line)]
    assert [line for line in unknown if "field kubernetes_sd_configs not found" not in line] == []
    assert as_it_is.code == 0 or unknown, as_it_is.says
    assert with_files.code == 0, with_files.says
    assert its_rules.code == 0, its_rules.says


@pytest.mark.parametrize("chosen", ["self-signed", "cluster"])
def test_kubelets_are_verified_where_the_cluster_signs_for_them(chosen):
    found = rendered(monitoring_kubelet_certificates=chosen)
    config = yaml.safe_load(found["gpunode-prometheus"]["data"]["prometheus.yml"])

    jobs = {job["job_name"]: job for job in config["scrape_configs"]}

    for name in ("kubelet", "cadvisor"):
        assert jobs[name]["tls_config"]["insecure_skip_verify"] is (chosen == "self-signed")


CASES = yaml.safe_load((DATA / "alerts.yml").read_text())
OF = {
    "node": {"cluster": "lab", "node": "n1"},
    "gpu": {"cluster": "lab", "node": "n1", "gpu": "0", "UUID": "GPU-a", "modelName": "NVIDIA L4"},
}
PLACES = {
    "$gpu": ", ".join(f'{name}="{value}"' for name, value in OF["gpu"].items()),
    "$second": 'cluster="lab", node="n1", gpu="1", UUID="GPU-b", modelName="NVIDIA L4"',
    "$beside": 'cluster="lab", node="n2", gpu="0", UUID="GPU-c", modelName="NVIDIA L4"',
    "$node": 'cluster="lab", node="n1"',
}
ALERTS = {alert.name: alert for group in rules.alerts(CHOSEN).values() for alert in group}


def unit_test(series, checks) -> str:
    """A file for ``promtool test rules``: one value a minute."""
    told = [{"series": name, "values": values} for name, values in series.items()]
    one = {"interval": "1m", "input_series": told, **checks}
    groups = [group["name"] for group in rules.rule_groups(CHOSEN)]  # without an order promtool takes them at random
    told = {"rule_files": ["gpunode.json"], "evaluation_interval": "1m", "group_eval_order": groups, "tests": [one]}
    return yaml.safe_dump(told)


def spelled(series, times=1) -> dict[str, str]:
    found = {}
    for name, values in series.items():
        for short, long in PLACES.items():
            name = name.replace(short, long)
        found.update({name.replace("$i", str(number)): values for number in range(times)})
    return found


def passes(objects, folder, text):
    (folder / "gpunode.json").write_text(objects["gpunode-rules"]["data"]["gpunode.json"])
    (folder / "test.yml").write_text(text)
    done = promtool("test", "rules", "test.yml", cwd=folder)
    assert done.code == 0, done.says


@pytest.mark.parametrize("name", CASES)
def test_the_alert_fires_for_this_and_nothing_else(objects, tmp_path, name):
    case, alert = CASES[name], ALERTS[name]
    labels = {**OF.get(case["labels"].get("of"), {}), **case["labels"]}
    labels.pop("of", None)
    anchor = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found.group(1)], alert.anchor)
    said = {
        "summary": case["summary"],
        "description": alert.meaning,
        "runbook_url": f"{CHOSEN.runbook_url}#{anchor}",
    }
    expected = [{"exp_labels": labels, "exp_annotations": said}]

    checks = [{"eval_time": case["quiet"], "alertname": name, "exp_alerts": []}]
    checks += [{"eval_time": at, "alertname": name, "exp_alerts": expected} for at in case["fires"]]

    passes(objects, tmp_path, unit_test(spelled(case["series"], case.get("times", 1)), {"alert_rule_test": checks}))


def test_every_alert_has_a_test():
    assert sorted(CASES) == sorted(ALERTS)


@pytest.mark.parametrize(
    ("idle", "waiting", "level"),
    [(57, 0, 0), (30, 0, 1), (12, 0, 2), (3, 0, 3), (57, 30, 1), (57, 45, 2), (57, 57, 3)],
    ids=["empty", "modest", "high", "critical", "modest by io", "high by io", "critical by io"],
)
def test_the_state_of_load_is_that_of_what_is_scarcest(objects, tmp_path, idle, waiting, level):
    series = {
        'node_cpu_seconds_total{$node, cpu="0", mode="idle"}': f"0+{idle}x20",
        "node_pressure_io_waiting_seconds_total{$node}": f"0+{waiting}x20",
    }
    found = {"labels": 'node:load_state:level{cluster="lab", node="n1"}', "value": level}

    checks = [{"eval_time": "15m", "expr": "node:load_state:level", "exp_samples": [found]}]

    passes(objects, tmp_path, unit_test(spelled(series), {"promql_expr_test": checks}))


# ---------------------------------------------------------------- targets


def test_each_target_is_found_once_and_has_the_labels_that_dashboards_ask_for(live):
    found = sorted(
        ({key: value for key, value in one["labels"].items() if key != "instance"} for one in live.server.targets()),
        key=lambda labels: (labels["job"], labels.get("node", "")),
    )

    here = {"cluster": "kubernetes"}
    assert found == [
        {"job": "annotated-pods", "namespace": "inference", "pod": "resnet-0", "node": NODE, **here},
        {"job": "cadvisor", "node": NODE, **here},
        {"job": "dcgm-exporter", "node": NODE, **here},
        {"job": "dcgm-exporter", "node": OTHER, **here},
        {"job": "kube-state-metrics", **here},
        {"job": "kubelet", "node": NODE, **here},
        {"job": "node-exporter", "node": NODE, **here},
        {"job": "prometheus", **here},
    ]
    assert [one["lastError"] for one in live.server.targets() if one["health"] != "up"] == []


def test_series_keep_the_pod_they_are_about_and_lose_what_changes_with_the_exporter(live):
    (gpu,) = live.server.query(f'DCGM_FI_DEV_GPU_TEMP{{node="{NODE}", gpu="1", pod="e2e-statefulset-0"}}')
    (pod,) = live.server.query('kube_pod_status_phase{pod="e2e-statefulset-0", phase="Running"}')

    assert gpu["metric"]["namespace"] == "scraper"
    assert [name for name in gpu["metric"] if name.lower() in ("hostname", "exported_pod")] == []
    assert pod["metric"]["namespace"] == "scraper"


def test_families_that_nobody_asks_for_are_not_stored(live):
    assert live.server.query("container_tasks_state") == []
    assert live.server.query("kubelet_http_requests_total") == []
    assert live.server.query("kubelet_volume_stats_available_bytes") != []


# ---------------------------------------------------------------- queries

PANELS = [(board, panel) for board in dashboards.dashboards(CHOSEN) for panel in board.panels()]


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=[f"{board.uid}: {panel.title}" for board, panel in PANELS])
def test_every_query_of_the_panel_returns_data(live, board, panel):
    empty = [query.expr for query in panel.queries if not numbers(live.server.query(asked(query.expr)))]

    if panel.title in NOT_HERE:
        assert empty, f"{panel.title} has data here: take it from NOT_HERE"
    else:
        assert empty == []


SHARES = [(board, panel) for board, panel in PANELS if panel.unit == panels.RATIO and panel.top == 1]


@pytest.mark.parametrize(("board", "panel"), SHARES, ids=[f"{board.uid}: {panel.title}" for board, panel in SHARES])
def test_shares_lie_between_nothing_and_all(live, board, panel):
    queries = [query.expr for query in panel.queries if query.unit in ("", panels.RATIO)]

    values = [value for expr in queries for value in numbers(live.server.query(asked(expr)))]

    assert [value for value in values if not -0.02 <= value <= 1.02] == []


@pytest.mark.parametrize(
    ("board", "variable"),
    [(board, one) for board in dashboards.dashboards(CHOSEN) for one in board.variables],
    ids=lambda one: getattr(one, "uid", getattr(one, "name", "")),
)
def test_every_variable_has_something_to_choose(live, board, variable):
    selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable.query).groups()

    found = live.server.ask(f"label/{label}/values", **{"match[]": asked(selector)})

    assert found != []


def test_every_rule_is_healthy_and_every_record_has_data(live):
    found = [rule for group in live.server.ask("rules")["groups"] for rule in group["rules"]]

    assert [rule["name"] for rule in found if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in found if rule["type"] == "recording" and not live.server.query(rule["name"])] == []
    assert len(found) == sum(len(group["rules"]) for group in rules.rule_groups(CHOSEN))


@pytest.mark.parametrize(
    "alert", [one for group in rules.alerts(CHOSEN).values() for one in group], ids=lambda a: a.name
)
def test_every_alert_asks_for_series_that_are_there(live, alert):
    """An alert that is quiet because its metric does not exist is no alert."""
    named = {metric for metric in re.findall(r"[a-zA-Z_][\w:]*(?=[{\[]|\s|\)|$)", alert.expr) if is_metric(metric)}

    assert named
    assert [metric for metric in named if not live.server.query(metric)] == []


def is_metric(word: str) -> bool:
    return bool(re.match(r"(DCGM_|kube_|kubelet_|node_\w|node:|gpunode_|gpu:|up$)", word))


# ---------------------------------------------------------------- honest under time-slicing


def test_a_shared_gpu_counts_once(live):
    of = f'{{node="{NODE}"}}'

    assert live.server.value(f"count(DCGM_FI_DEV_POWER_USAGE{of})") == 4  # two pods on each of two GPUs
    assert live.server.value(f"count(gpu:power:watts{of})") == 2
    assert live.server.value(f"sum(gpu:power:watts{of})") == pytest.approx(111.48 + 412)
    assert live.server.value(f"node:gpus:count{of}") == 2
    assert live.server.value(f'gpu:pods:count{{node="{NODE}", gpu="0"}}') == 2


def test_a_pod_is_given_a_figure_only_where_it_is_its_own(live):
    shares = {
        (one["metric"]["gpu"], one["metric"]["pod"]): float(one["value"][1])
        for one in live.server.query("gpu_pod:memory_used:bytes")
    }

    # the exporter told the processes of GPU 1 apart; for GPU 0 it repeated the whole GPU's figure for each pod
    assert shares == {
        ("1", "e2e-statefulset-0"): 24576 * 1048576,
        ("1", "e2e-hpa-6cd8d99884-tggnr"): 15360 * 1048576,
    }


def test_a_gpu_without_pods_is_still_a_gpu(live):
    assert live.server.value(f'gpu:temperature:celsius{{node="{OTHER}"}}') == 31
    assert live.server.query(f'gpu:pods:count{{node="{OTHER}"}}') == []


def test_what_the_diagnosis_found_becomes_an_alert_that_leads_to_it(live):
    found = {one["labels"]["alertname"]: one for one in live.server.ask("alerts")["alerts"]}

    assert found["FindingFatal"]["labels"]["node"] == NODE
    assert found["FindingFatal"]["annotations"]["runbook_url"].endswith("docs/diagnosis.md#gpu-lost-off-bus")
    assert found["GpuXidApplication"]["annotations"]["summary"] == f"GPU 1 (NVIDIA H200) of {NODE} reports Xid 31."
