#!/usr/bin/env python3
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: what a no-change run costs, beside named peers in the same run, interleaved, medians of five.

Prints a table and writes build/bench.json: a list of {"name", "value", "unit", "bound", "peer", "ratio"}. A bound that
is missed is said, and makes the exit status 1. Seconds on a lab guest are seconds under software emulation: compare
ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lab"))
sys.path.insert(0, str(ROOT / "tests/api"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from delay_proxy import DelayProxy
from loopback_fleet import LoopbackFleet

BIN = Path(sys.executable).parent
PEER = "the same promises with builtin modules in loops (tests/bench/peer_host.yml)"
LOOP = "a loop of ansible.posix.sysctl"


class Table:
    """The figures so far."""

    def __init__(self) -> None:
        self.rows: list[dict] = []

    def add(self, name: str, value: float, unit: str, bound: float | None, peer: str = "", ratio: float | None = None):
        row = {"name": name, "value": round(value, 3), "unit": unit, "bound": bound, "peer": peer, "ratio": ratio}
        if ratio is not None:
            row["ratio"] = round(ratio, 3)
        self.rows.append(row)
        print(self.line(row), flush=True)

    @staticmethod
    def line(row: dict) -> str:
        bound = "" if row["bound"] is None else f"≤ {row['bound']:g}"
        verdict = "" if row["bound"] is None else ("ok" if row["value"] <= row["bound"] else "MISSED")
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3f} × {row['peer']}"
        return f"{row['name']:<38} {row['value']:>9.3f} {row['unit']:<12} {bound:<8} {verdict:<7} {ratio}"

    @property
    def missed(self) -> list[str]:
        return [row["name"] for row in self.rows if row["bound"] is not None and row["value"] > row["bound"]]


class Run:
    """One ansible-playbook: its seconds, its controller CPU seconds, and what it executed."""

    def __init__(self, inventory: Path, playbook: Path, *more: str, environment: dict[str, str] | None = None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            counts = Path(folder) / "executions.json"
            variables = {
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
                "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).resolve().parent / "callback"),
                "ANSIBLE_CALLBACKS_ENABLED": "executions",
                "BENCH_EXECUTIONS": str(counts),
                **(environment or {}),
            }
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            started = time.monotonic()
            done = subprocess.run(
                [BIN / "ansible-playbook", "-i", inventory, playbook, *more],
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            self.seconds = time.monotonic() - started
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            self.output = done.stdout + done.stderr
            if done.returncode != 0:
                raise SystemExit(f"{playbook} ended with {done.returncode}:\n{self.output[-6000:]}")
            said = json.loads(counts.read_text())
        self.executions = max(said["hosts"].values(), default=0)
        self.tasks = said["tasks"]
        self.changed = sum(said["changed"].values())


def interleaved(ours, theirs, rounds: int) -> tuple[list[Run], list[Run]]:
    """Ours and theirs by turns, so that a busy moment hits both."""
    pairs = [(ours(), theirs()) for _round in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def median(runs: list[Run], what: str = "seconds") -> float:
    return statistics.median(getattr(run, what) for run in runs)


@contextlib.contextmanager
def lab_node(name: str, keep: bool) -> Iterator[dict]:
    from demo import fixtures_inventory  # the variables that point every repository at the lab's own
    from node import Node

    node = Node(name)
    if not node.running:
        node.up()
    try:
        yield {**node.inventory(), **fixtures_inventory(node)}
    finally:
        if not keep:
            node.down()


def inventory(folder: Path, name: str, hosts: dict[str, dict]) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"gpu_nodes": {"hosts": hosts}}))
    return path


def on_a_node(table: Table, folder: Path, rounds: int, keep: bool) -> None:
    """Figures of one lab node: executions, seconds, the same over a slow line, and 20 settings in one call."""
    site, host = ROOT / "playbooks/site.yml", ROOT / "playbooks/host.yml"
    peer = Path(__file__).resolve().parent / "peer_host.yml"
    with lab_node("bench", keep) as variables:
        node = inventory(folder, "node", {"bench": variables})
        print("converging the node once", flush=True)
        Run(node, site)
        Run(node, peer)

        whole = Run(node, site)
        if whole.changed:
            raise SystemExit(f"a second run changed {whole.changed} things:\n{whole.output[-6000:]}")
        layer = Run(node, site, "--tags", "host")
        other = Run(node, peer)
        table.add(
            "host.remote_executions", layer.executions, "executions", 6, PEER, layer.executions / other.executions
        )
        table.add("node.remote_executions", whole.executions, "executions", 30)
        for task, count in sorted(whole.tasks.items(), key=lambda item: -item[1]):
            print(f"    {count} × {task}")

        ours, theirs = interleaved(lambda: Run(node, host), lambda: Run(node, peer), rounds)
        table.add("host.no_change_seconds", median(ours), "s", None, PEER, median(ours) / median(theirs))

        with DelayProxy("127.0.0.1", variables["ansible_port"], delay_seconds=0.025) as port:
            slow = inventory(folder, "slow", {"bench": {**variables, "ansible_port": port}})
            ours, theirs = interleaved(lambda: Run(slow, host), lambda: Run(slow, peer), rounds)
        table.add("host.no_change_seconds_at_50ms", median(ours), "s", None, PEER, median(ours) / median(theirs))

        settings = {f"net.ipv4.neigh.default.{name}": value for name, value in NEIGHBOUR.items()}
        one, loop = folder / "one.yml", folder / "loop.yml"
        one.write_text(json.dumps(play({"gpunode.ready.kernel_settings": {"name": "bench", "sysctls": settings}})))
        loop.write_text(
            json.dumps(
                play(
                    {
                        "ansible.posix.sysctl": {
                            "name": "{{ item.key }}",
                            "value": "{{ item.value }}",
                            "sysctl_file": "/etc/sysctl.d/98-bench-loop.conf",
                            "sysctl_set": True,
                            "reload": False,
                        },
                        "loop": "{{ settings | dict2items }}",
                        "vars": {"settings": settings},
                    }
                )
            )
        )
        Run(node, one), Run(node, loop)
        ours, theirs = interleaved(lambda: Run(node, one), lambda: Run(node, loop), rounds)
        ratio = median(ours) / median(theirs)
        table.add("kernel_settings.ratio_to_loop", ratio, f"{len(settings)} settings", 0.1, LOOP, ratio)

        mitogen = {"ANSIBLE_STRATEGY_PLUGINS": mitogen_strategies(), "ANSIBLE_STRATEGY": "mitogen_linear"}
        with_it, without = interleaved(lambda: Run(node, host, environment=mitogen), lambda: Run(node, host), rounds)
        table.add("host.mitogen_speedup", median(without) / median(with_it), "×", None, "ssh with pipelining")


def play(task: dict) -> list[dict]:
    return [{"hosts": "gpu_nodes", "gather_facts": False, "become": True, "tasks": [{"name": "Set them", **task}]}]


# 20 settings that any kernel has, at values that harm nobody.
NEIGHBOUR = {
    "anycast_delay": "100",
    "app_solicit": "0",
    "base_reachable_time_ms": "30000",
    "delay_first_probe_time": "5",
    "gc_interval": "30",
    "gc_stale_time": "60",
    "gc_thresh1": "128",
    "gc_thresh2": "512",
    "gc_thresh3": "1024",
    "interval_probe_time_ms": "5000",
    "locktime": "100",
    "mcast_resolicit": "0",
    "mcast_solicit": "3",
    "proxy_delay": "80",
    "proxy_qlen": "64",
    "retrans_time_ms": "1000",
    "ucast_solicit": "3",
    "unres_qlen": "101",
    "unres_qlen_bytes": "212992",
    "retrans_time": "100",
}


def mitogen_strategies() -> str:
    import ansible_mitogen

    return str(Path(ansible_mitogen.__file__).parent / "plugins/strategy")


def on_a_fleet(table: Table, folder: Path, hosts: int, rounds: int) -> None:
    """Figures of many nodes: one sshd on loopback under many names, in check mode, so that nothing here changes."""
    peer = Path(__file__).resolve().parent / "peer_host.yml"
    with LoopbackFleet(folder) as variables:
        # The same work for both: one setting that is already so, and no module, since this kernel may have none.
        settings = {"kernel.pid_max": Path("/proc/sys/kernel/pid_max").read_text().strip()}
        variables = {
            **variables,
            "host_prep_kernel_modules": [],
            "host_prep_sysctls": settings,
            "peer_modules": [],
            "peer_sysctls": settings,
        }
        many = inventory(folder, "fleet", {f"n{number:03}": variables for number in range(hosts)})
        arguments = ("--check", "--forks", "20", "--skip-tags", "verify")
        ours, theirs = interleaved(
            lambda: Run(many, ROOT / "playbooks/host.yml", *arguments), lambda: Run(many, peer, *arguments), rounds
        )
    seconds, cpu = median(ours) / hosts, median(ours, "cpu_seconds") / hosts
    table.add(f"fleet{hosts}.seconds_per_node", seconds, "s", 0.75, PEER, median(ours) / median(theirs))
    ratio = median(ours, "cpu_seconds") / median(theirs, "cpu_seconds")
    table.add("controller.cpu_seconds_per_node", cpu, "s", 0.4, PEER, ratio)


def look(table: Table, rounds: int) -> None:
    """`node_info`'s core on this machine, which is real if it has no GPU; on an accelerator machine see tests/gpu."""
    code = (
        "import time; from ansible_collections.gpunode.ready.plugins.module_utils import host, node;"
        "t = time.monotonic(); node.collect(host.Host()); print(time.monotonic() - t)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True).stdout)
        for _round in range(rounds)
    ]
    table.add("node_info.seconds", statistics.median(seconds), "s", 1.5)


DIAGNOSE = "ansible_collections.gpunode.ready.plugins.module_utils.diagnose"
JOURNAL_MIB = 100
GREP = "grep -c -F -f the literals, same file, same run"
# What programs of a healthy node say, over and over, with other numbers and names.
ORDINARY = (
    'kubelet[{pid}]: I{klog} {pid} kubelet.go:2431] "SyncLoop (PLEG): event for pod" pod="apps/web-{name}"'
    " type=Started",
    'kubelet[{pid}]: I{klog} {pid} pod_startup_latency_tracker.go:104] "Observed pod startup duration"'
    ' pod="apps/{name}"',
    'containerd[{pid}]: time="{iso}" level=info msg="StartContainer for \\"{name}\\" returns successfully"',
    'containerd[{pid}]: time="{iso}" level=info msg="ImageUpdate event name:\\"registry.example/{name}:v1\\""',
    'crio[{pid}]: time="{iso}" level=info msg="Checking image status: registry.example/{name}:v1" id={name}',
    "systemd[1]: Started crio-{name}.scope - libcrio container {name}.",
    "kernel: [{pid}.123456] cni0: port 8(veth{name}) entered forwarding state",
    "systemd-networkd[{pid}]: cali{name}: Link UP",
    "sshd[{pid}]: Accepted publickey for ops from 192.0.2.7 port {pid} ssh2: ED25519 SHA256:{name}",
    'node-exporter[{pid}]: ts={iso} caller=collector.go:169 level=debug msg="collector succeeded" name=cpu'
    " duration={pid}",
)
WRONG = (
    "kernel: [{pid}.123456] NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the"
    " bus.",
    'kubelet[{pid}]: E{klog} {pid} pod_workers.go:1301] "Error syncing pod, skipping" err="failed to get sandbox'
    " runtime:"
    ' no runtime for \\"nvidia\\" is configured" pod="apps/{name}"',
)


def write_journal(path: Path, mebibytes: int) -> None:
    """A journal of that size: one line in two thousand says that something is wrong."""
    chance = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        written, number = 0, 0
        while written < mebibytes << 20:
            number += 1
            minute, second = divmod(number // 50, 60)
            clock = f"{minute // 60 % 24:02}:{minute % 60:02}:{second:02}"
            form = chance.choice(WRONG if number % 2000 == 0 else ORDINARY)
            values = {
                "pid": chance.randrange(1000, 99999),
                "klog": f"1121 {clock}.123456",
                "iso": f"2026-11-21T{clock}.123456789Z",
                "name": f"{chance.getrandbits(48):012x}",
            }
            written += file.write(f"Nov 21 {clock} gpu-1 {form.format(**values)}\n")


def diagnosis(table: Table, folder: Path, rounds: int) -> None:
    """What naming the root cause in a long journal costs beside grep, and what it costs to start."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections"), "LC_ALL": "C"}
    journal, literals = folder / "journal.log", folder / "literals"
    write_journal(journal, JOURNAL_MIB)

    def run(*argv: str | Path, text: str = "", good: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(argv, env=environment, input=text, capture_output=True, text=True, check=False)
        if done.returncode not in good:
            raise SystemExit(f"{argv} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def seconds(*argv: str | Path, good: tuple[int, ...] = (0,)) -> float:
        started = time.monotonic()
        run(*argv, good=good)
        return time.monotonic() - started

    literals.write_text(run(sys.executable, "-m", DIAGNOSE, "--literals"))
    pairs = [
        (
            seconds(sys.executable, "-m", DIAGNOSE, "--json", journal, good=(1,)),
            seconds("grep", "-c", "-F", "-f", literals, journal),
        )
        for _round in range(rounds)
    ]
    ratio = statistics.median(ours for ours, _theirs in pairs) / statistics.median(theirs for _ours, theirs in pairs)
    table.add("diagnose.ratio_to_grep", ratio, f"{JOURNAL_MIB} MiB", 3, GREP, ratio)

    peak = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=__import__('sys').stderr)"
    whole = f"import sys; from {DIAGNOSE} import main; main(['--json', sys.argv[1]]); {peak}"
    used = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, journal], env=environment, capture_output=True, text=True, check=True
            ).stderr
        )
        for code in (whole, peak)
    ]
    table.add("diagnose.peak_mib", (used[0] - used[1]) / 1024, "MiB", 60, "beyond the bare interpreter")

    ten = "\n".join(journal.read_text(encoding="utf-8")[: 1 << 20].splitlines()[1995:2005])
    code = (
        f"import sys, time; from {DIAGNOSE} import diagnose_text; text = sys.stdin.read(); t = time.monotonic();"
        "diagnose_text(text); print(time.monotonic() - t)"
    )
    startup = statistics.median(float(run(sys.executable, "-c", code, text=ten)) for _round in range(rounds))
    table.add("diagnose.startup_seconds", startup, "s", 0.05, "ten lines, after import")


NODES, PODS = 200, 5000


def look_at_a_cluster(table: Table, rounds: int) -> None:
    """`cluster_info`'s facts and findings of a busy cluster on a real API server, in a process that ends afterwards."""
    from control_plane import control_plane
    from inhabitants import populate

    utils = "ansible_collections.gpunode.ready.plugins.module_utils"
    code = (
        "import sys, time; t = time.monotonic();"
        f"from {utils}.cluster import client, facts, expect; from {utils}.checks.cluster_all import judge_cluster;"
        "api = client.Client(client.find_endpoint(sys.argv[1])); seen = facts.collect(api);"
        "found = judge_cluster(seen, expect.cluster_expectations({}));"
        "assert len(seen['nodes']) == 200 and sum(seen['pods']['counts'].values()) == 5000 and found;"
        "print(time.monotonic() - t, api.requests, time.process_time())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    with control_plane() as plane:
        kubeconfig = plane.kubeconfig()
        populate(kubeconfig, NODES, PODS)
        said = [
            subprocess.run(
                [sys.executable, "-c", code, kubeconfig], env=environment, check=True, capture_output=True, text=True
            ).stdout.split()
            for _round in range(rounds)
        ]
    table.add("cluster_info.seconds", statistics.median(float(words[0]) for words in said), "s", 2)
    table.add("cluster_info.cpu_seconds", statistics.median(float(words[2]) for words in said), "s", None)
    table.add("cluster_info.requests", max(int(words[1]) for words in said), "requests", None)


OBJECTS = 20
OBJECT_LOOP = "a loop of kubernetes.core.k8s, server-side apply"


def objects_beside_a_loop(table: Table, folder: Path, rounds: int) -> None:
    """The same objects, there already: one call of ours, and one call of the well-known module for each."""
    from control_plane import control_plane

    items = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"bench-{number}", "namespace": "default"},
            "data": {"number": str(number)},
        }
        for number in range(OBJECTS)
    ]
    with control_plane() as plane:
        kubeconfig = str(plane.kubeconfig())
        ours = {"gpunode.ready.object_set": {"kubeconfig": kubeconfig, "objects": items}}
        theirs = {
            "kubernetes.core.k8s": {
                "kubeconfig": kubeconfig,
                "apply": True,
                "server_side_apply": {"field_manager": "bench", "force_conflicts": True},
                "definition": "{{ item }}",
            },
            "loop": items,
        }
        here = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_become": False,
        }
        local = inventory(folder, "local", {"here": here})
        one, loop = folder / "objects.yml", folder / "objects-loop.yml"
        one.write_text(json.dumps(play(ours)))
        loop.write_text(json.dumps(play(theirs)))
        Run(local, one), Run(local, loop)
        with_it, without = interleaved(lambda: Run(local, one), lambda: Run(local, loop), rounds)
    if any(run.changed for run in with_it):
        raise SystemExit("objects that were there already were changed")
    ratio = median(with_it) / median(without)
    table.add("objects20.ratio_to_loop", ratio, f"{OBJECTS} objects", 0.1, OBJECT_LOOP, ratio)


FAILED_PODS = 10_000
KUBECTL = "kubectl delete pods --all-namespaces --field-selector=status.phase=Failed --force"


def pods_beside_kubectl(table: Table, folder: Path, number: int) -> None:
    """The same number of failed pods, taken away by `pods_cleanup` through Ansible, then by kubectl. Once: filling a
    cluster takes minutes."""
    from control_plane import control_plane
    from inhabitants import Cluster, shares

    kubectl = shutil.which("kubectl")
    if kubectl is None:
        print("maintenance.ratio_to_kubectl is left out: no kubectl in PATH (apt-get install kubernetes-client)")
        return

    def fill(kubeconfig: Path, round_: str) -> None:
        def make(numbers: list[int]) -> None:
            mine = Cluster(kubeconfig)
            for one in numbers:
                mine.pod(
                    f"{round_}-{one:05}",
                    f"bench-{one % 10}",
                    node="gpu-1",
                    status={"phase": "Failed", "reason": "Evicted"},
                    labels={"pod-template-hash": round_},
                    generateName=f"{round_}-",
                )

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(make, shares(range(number), 8)))

    def left() -> int:
        return sum(1 for _pod in cluster.client.list("/api/v1/pods", fieldSelector="status.phase=Failed"))

    with control_plane() as plane:
        kubeconfig = plane.kubeconfig()
        cluster = Cluster(kubeconfig)
        for one in range(10):
            cluster.namespace(f"bench-{one}")
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
        local, task = inventory(folder, "local", {"here": here}), folder / "cleanup.yml"
        task.write_text(json.dumps(play({"gpunode.ready.pods_cleanup": {"kubeconfig": str(kubeconfig)}})))
        fill(kubeconfig, "ours")
        ours = Run(local, task).seconds
        if left():
            raise SystemExit(f"pods_cleanup left {left()} failed pods")
        fill(kubeconfig, "theirs")
        started = time.monotonic()
        subprocess.run([kubectl, "--kubeconfig", kubeconfig, *KUBECTL.split()[1:]], check=True, capture_output=True)
        theirs = time.monotonic() - started
        if left():
            raise SystemExit(f"kubectl left {left()} failed pods")
    table.add("maintenance.cleanup_seconds", ours, f"s, {number} pods", None)
    table.add("maintenance.ratio_to_kubectl", ours / theirs, f"{number} pods", 0.05, KUBECTL, ours / theirs)


EXPORT_START = 1_735_689_600  # 2025-01-01T00:00:00Z
EXPORT_METRICS, EXPORT_POINTS, EXPORT_STEP = 20, 3 * 86400 // 15, 15
EXPORTER = "ansible_collections.gpunode.ready.plugins.plugin_utils.exporter"
DIRECT = "the same pieces asked for by urllib and read as JSON, nothing kept"


def export_beside_direct_queries(table: Table, folder: Path, rounds: int) -> None:
    """Three days of 20 metrics to Parquet, beside the bare queries; every value of the table is held against theirs."""
    from prometheus import blocks, prometheus

    def lines() -> Iterator[str]:
        for metric in range(EXPORT_METRICS):
            yield f"# TYPE bench_{metric} gauge"
            for number in range(EXPORT_POINTS):
                if not 5000 <= number < 5000 + 40 * metric:  # gaps of another length in each
                    yield f"bench_{metric} {(number * 7919 + metric) % 10007 / 7} {EXPORT_START + number * EXPORT_STEP}"

    end = EXPORT_START + (EXPORT_POINTS - 1) * EXPORT_STEP
    queries = {f"m{metric}": f"bench_{metric}" for metric in range(EXPORT_METRICS)}
    begin = "import json, resource, sys, time; given = json.loads(sys.argv[1]);"
    ours = (
        f"{begin} from {EXPORTER} import answer; from {EXPORTER.replace('plugin_utils.exporter', 'module_utils')}"
        ".prometheus_export import ARGUMENTS; t = time.monotonic();"
        "answer({**{name: one.get('default') for name, one in ARGUMENTS.items()}, **given}, False, lambda text: None);"
    )
    theirs = (
        f"{begin} import urllib.parse, urllib.request; t = time.monotonic();"
        "ask = lambda query, start, stop: json.load(urllib.request.urlopen(given['url'] + '/api/v1/query_range', "
        "urllib.parse.urlencode({'query': query, 'start': start, 'end': stop, 'step': 15}).encode()));"
        "size = 11000 * 15;"
        "[ask(query, start, min(start + size - 15, int(given['end']))) for query in given['queries'].values()"
        " for start in range(int(given['start']), int(given['end']) + 1, size)];"
    )
    bare = f"{begin} import {EXPORTER}; t = time.monotonic();"
    said = "print(time.monotonic() - t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    blocks(folder / "export", lines())
    with prometheus(folder / "prometheus", folder / "export") as server:
        given = {
            "url": server.url,
            "path": str(folder / "bench.parquet"),
            "start": str(EXPORT_START),
            "end": str(end),
            "queries": queries,
            "plots": "none",
            "force": True,
        }

        def measure(code: str) -> tuple[float, float]:
            command = [sys.executable, "-c", code + said, json.dumps(given)]
            words = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
            return float(words[0]), int(words[1]) / 1024

        pairs = [(measure(ours), measure(theirs)) for _round in range(rounds)]
        imported = measure(bare)[1]
        differing = compare_with_direct_queries(server.url, folder / "bench.parquet", queries, end)
    seconds = statistics.median(ours[0] for ours, _theirs in pairs)
    ratio = seconds / statistics.median(theirs[0] for _ours, theirs in pairs)
    table.add("export.values_that_differ", differing, "values", 0)
    table.add("export.seconds", seconds, "s", None, DIRECT, ratio)
    peak = statistics.median(ours[1] for ours, _theirs in pairs)
    table.add("export.peak_mib", peak - imported, "MiB", 100, "beyond its libraries")


def compare_with_direct_queries(url: str, path: Path, queries: dict[str, str], end: int) -> int:
    """How many values of the table are not what Prometheus answers, or are in one of the two alone."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    times = [round(moment.timestamp()) for moment in table.column("timestamp").to_pylist()]
    differing = 0
    for name, query in queries.items():
        asked: dict[int, float] = {}
        for start in range(EXPORT_START, end + 1, 5000 * EXPORT_STEP):  # cut otherwise than the export cuts
            stop = min(start + 4999 * EXPORT_STEP, end)
            fields = urllib.parse.urlencode({"query": query, "start": start, "end": stop, "step": EXPORT_STEP})
            with urllib.request.urlopen(f"{url}/api/v1/query_range?{fields}") as answer:
                for one in json.load(answer)["data"]["result"]:
                    asked |= {round(seconds): float(value) for seconds, value in one["values"]}
        exported = {when: value for when, value in zip(times, table.column(name).to_pylist()) if value is not None}
        differing += sum(exported.get(when) != asked.get(when) for when in exported.keys() | asked.keys())
    return differing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument(
        "--only", choices=["node", "fleet", "look", "diagnose", "cluster_info", "objects", "cleanup", "export"]
    )
    parser.add_argument("--pods", type=int, default=FAILED_PODS, help="failed pods that are cleaned up")
    parser.add_argument("--keep", action="store_true", help="leave the lab node running")
    options = parser.parse_args()

    table = Table()
    with tempfile.TemporaryDirectory(prefix="gpunode-bench-") as name:
        folder = Path(name)
        if options.only in (None, "look"):
            look(table, options.rounds)
        if options.only in (None, "diagnose"):
            diagnosis(table, folder, options.rounds)
        if options.only in (None, "cluster_info"):
            look_at_a_cluster(table, options.rounds)
        if options.only in (None, "objects"):
            objects_beside_a_loop(table, folder, options.rounds)
        if options.only in (None, "cleanup"):
            pods_beside_kubectl(table, folder, options.pods)
        if options.only in (None, "export"):
            export_beside_direct_queries(table, folder, options.rounds)
        if options.only in (None, "node"):
            on_a_node(table, folder, options.rounds, options.keep)
        if options.only in (None, "fleet"):
            on_a_fleet(table, folder, options.hosts, options.rounds)

    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    (build / "bench.json").write_text(json.dumps(table.rows, indent=1) + "\n")
    print(f"\nwritten: {build / 'bench.json'}")
    for name in table.missed:
        print(f"missed its bound: {name}")
    return 1 if table.missed else 0


if __name__ == "__main__":
    threading.stack_size(512 * 1024)
    sys.exit(main())
