# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failed pods on a real API server: thousands beside running ones, killed half-way, refused, raced, foretold."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import Client, find_endpoint
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.pods_cleanup import Cleanup, CleanupError, Wanted
from ansible_run import module, run
from control_plane import free_ports
from inhabitants import RUNNING, Cluster, shares

ROOT = Path(__file__).resolve().parents[2]
CORE = "ansible_collections.gpunode.ready.plugins.module_utils.cluster"
FAILED, ALIVE, SPACES = 2000, 200, ("team-1", "team-2", "team-3", "team-4")
FIRST = f"/api/v1/namespaces/team-1/pods/dead-{ALIVE:05}"  # of the first collection call
DEPLOYMENT = {"labels": {"pod-template-hash": "7d4b9c6f5"}}


def fail(cluster, name, namespace="default", why="Evicted", **metadata):
    """A pod that failed; with labels of a Deployment, one whose last five letters the API made up."""
    more = {"generateName": name[:-5]} if "labels" in metadata else {}
    status = {"phase": "Failed", "reason": why, "message": "The node was low on resource: ephemeral-storage."}
    return cluster.pod(name, namespace, node="gpu-1", status=status, **more, **metadata)


def alive(cluster, name, namespace="default", **metadata):
    return cluster.pod(name, namespace, node="gpu-1", status={"phase": "Running", **RUNNING}, **metadata)


def names(cluster, selector="status.phase=Failed"):
    return sorted(item["metadata"]["name"] for item in cluster.client.list("/api/v1/pods", fieldSelector=selector))


def versions(cluster):
    """The running pods, as they are to the last change."""
    running = cluster.client.list("/api/v1/pods", fieldSelector="status.phase=Running")
    return {item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for item in running}


def clean(plane, dry_run=False, user="admin", connect=None, now=None, **wanted):
    where = find_endpoint(str(plane.kubeconfig(user)))
    return Cleanup(connect or (lambda: Client(where, 60)), Wanted(**wanted), dry_run).run(now)


# ---------------------------------------------------------------- many


def fill(plane, cluster):
    for space in SPACES:
        cluster.namespace(space)
    kubeconfig = plane.kubeconfig()

    def make(numbers):
        mine = Cluster(kubeconfig)
        for number in numbers:
            space = SPACES[number % len(SPACES)]
            if number < ALIVE:
                alive(mine, f"alive-{number:05}", space, generateName="alive-", **DEPLOYMENT)
            else:
                fail(mine, f"dead-{number:05}", space, **DEPLOYMENT)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, shares(range(ALIVE + FAILED), 8)))


def test_thousands_go_in_a_few_calls_killed_half_way_or_not_and_no_running_pod_with_them(cluster, plane):
    fill(plane, cluster)
    running = versions(cluster)
    code = (
        f"import sys; sys.path.insert(0, sys.argv[2]); from {CORE} import client, pods_cleanup as it;"
        "where = client.find_endpoint(sys.argv[1]);"
        "it.Cleanup(lambda: client.Client(where, 60, 60), it.Wanted()).run()"
    )

    foretold = clean(plane, dry_run=True)
    untouched = len(names(cluster))
    killed = subprocess.Popen([sys.executable, "-c", code, plane.kubeconfig(), ROOT / "collections"])
    try:
        until = time.monotonic() + 120
        while cluster.client.raw(FIRST)[0] == 200 and killed.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        killed.kill()
        killed.wait()
    half = len(names(cluster))
    completed = clean(plane)
    again = clean(plane)

    assert (foretold.total, untouched) == (FAILED, FAILED)
    assert 0 < half < FAILED
    assert 0 < completed.total <= half
    assert completed.requests < 60
    assert (names(cluster), again.total) == ([], 0)
    assert len(running) == ALIVE
    assert versions(cluster) == running


# ---------------------------------------------------------------- which


def test_only_the_namespaces_and_reasons_that_are_named(cluster, plane):
    for space in ("one", "two", "three"):
        cluster.namespace(space)
        fail(cluster, f"evicted-{space}", space)
        fail(cluster, f"error-{space}", space, why="Error")

    wanted = {"namespaces": ("one", "two"), "exclude_namespaces": ("three",), "reasons": ("Evicted",)}
    foretold = clean(plane, dry_run=True, **wanted)
    untouched = names(cluster)
    done = clean(plane, **wanted)
    left = names(cluster)
    rest = clean(plane, exclude_namespaces=("two",))

    assert (foretold.names, len(untouched)) == (done.names, 6)
    assert done.names == {("one", "Evicted"): ["evicted-one"], ("two", "Evicted"): ["evicted-two"]}
    assert done.kept == {"other_reason": 2}
    assert left == ["error-one", "error-three", "error-two", "evicted-three"]
    assert (names(cluster), rest.kept) == (["error-two"], {"excluded": 1})


def test_a_pod_that_failed_too_short_a_time_ago_stays(cluster, plane):
    later = datetime.now(timezone.utc) + timedelta(hours=2)
    fail(cluster, "old")
    fail(cluster, "young")
    ended = {"exitCode": 1, "finishedAt": (later - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")}
    state = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    status = {"containerStatuses": [{**state, "state": {"terminated": ended}}]}
    cluster.patch("/api/v1/namespaces/default/pods/young/status", {"status": status})

    now = clean(plane, min_age_seconds=3600)
    done = clean(plane, now=later, min_age_seconds=3600)

    assert (now.total, now.kept) == (0, {"too_young": 2})
    assert (done.total, names(cluster)) == (1, ["young"])


def test_a_pod_that_waits_for_a_finalizer_is_deleted_once(cluster, plane):
    fail(cluster, "held", finalizers=["tests.invalid/held"])

    first = clean(plane)
    second = clean(plane)

    assert (first.total, second.total, second.kept) == (1, 0, {"terminating": 1})


# ---------------------------------------------------------------- the module and the playbook


def test_the_module_foretells_in_a_diff_then_cleans_then_changes_nothing(cluster, plane, tmp_path):
    fail(cluster, "a")
    fail(cluster, "b", why="OutOfcpu")
    alive(cluster, "c")
    arguments = {"kubeconfig": str(plane.kubeconfig())}
    words = ("ansible", "here", "-m", "gpunode.ready.pods_cleanup", "-a", json.dumps(arguments), "--check", "--diff")

    told = run(tmp_path, *words).stdout
    untouched = names(cluster)
    first, second = (module(tmp_path, "pods_cleanup", arguments) for _run in range(2))

    assert "-default: Evicted: 1 pod, the oldest of 20" in told
    assert "-default: OutOfcpu: 1 pod" in told
    assert "-  b" in told
    assert untouched == ["a", "b"]
    assert [(item["reason"], item["count"], item["names"]) for item in first["pods"]] == [
        ("Evicted", 1, ["a"]),
        ("OutOfcpu", 1, ["b"]),
    ]
    assert (first["changed"], second["changed"], second["total"]) == (True, False, 0)
    assert names(cluster, "") == ["c"]


def test_the_playbook_foretells_then_cleans(cluster, plane, tmp_path):
    fail(cluster, "a")
    alive(cluster, "b")
    variables = {"gpunode_cleanup_kubeconfig": str(plane.kubeconfig()), "ansible_become": False}
    words = ("ansible-playbook", "gpunode.ready.cleanup", "-e", json.dumps(variables))
    groups = {"gpu_nodes": {"hosts": {"here": {}}}}

    foretold, done = (run(tmp_path, *words, *more, groups=groups) for more in (["--check"], []))

    assert "1 failed pod would go" in foretold.stdout, foretold.stdout + foretold.stderr
    assert "1 failed pod has gone" in done.stdout, done.stdout + done.stderr
    assert "changed=1" in done.stdout
    assert names(cluster, "") == ["b"]


# ---------------------------------------------------------------- changed meanwhile


class Meddled(Client):
    """Just before the first delete, somebody else is quicker."""

    def __init__(self, where, meddle):
        super().__init__(where)
        self.meddle = meddle

    def call(self, method, path, *more, **words):
        if method == "DELETE" and self.meddle:
            self.meddle, meddle = None, self.meddle
            meddle()
        return super().call(method, path, *more, **words)


def replaced(cluster):
    cluster.client.call("DELETE", "/api/v1/namespaces/default/pods/web-0")
    alive(cluster, "web-0")


def annotated(cluster):
    cluster.patch("/api/v1/namespaces/default/pods/web-0", {"metadata": {"annotations": {"keep": "it"}}})


@pytest.mark.parametrize("meddle", [replaced, annotated], ids=["a running pod of that name", "another version of it"])
def test_a_pod_that_is_no_longer_the_one_seen_is_not_deleted(cluster, plane, meddle):
    fail(cluster, "web-0")
    where = find_endpoint(str(plane.kubeconfig()))

    done = clean(plane, connect=lambda: Meddled(where, lambda: meddle(cluster)))

    assert (done.total, dict(done.kept)) == (0, {"changed": 1})
    assert names(cluster, "") == ["web-0"]


# ---------------------------------------------------------------- refused


def allow(cluster, user, *verbs):
    """The verbs on pods of the namespace `default`, for one of the plane's users."""
    group = "rbac.authorization.k8s.io"
    base = f"/apis/{group}/v1/namespaces/default"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": list(verbs)}]
    cluster.put(f"{base}/roles", {"metadata": {"name": "tests"}, "rules": rules})
    subject = {"kind": "User", "name": user, "apiGroup": group}
    reference = {"kind": "Role", "name": "tests", "apiGroup": group}
    cluster.put(f"{base}/rolebindings", {"metadata": {"name": "tests"}, "subjects": [subject], "roleRef": reference})


def test_who_may_not_list_is_told_what_it_takes(cluster, plane):
    with pytest.raises(CleanupError) as refused:
        clean(plane, user="nobody")

    assert 'User "nobody" cannot list resource "pods"' in str(refused.value)
    assert "need list, delete and deletecollection on pods" in str(refused.value)


@pytest.mark.parametrize("dry_run", [True, False], ids=["check", "real"])
def test_who_may_not_delete_is_told_in_check_mode_too(cluster, plane, dry_run):
    fail(cluster, "a")
    allow(cluster, "nobody", "list")

    with pytest.raises(CleanupError, match='User "nobody" cannot delete resource "pods"'):
        clean(plane, dry_run, "nobody", namespaces=("default",))

    assert names(cluster) == ["a"]


def test_who_may_not_delete_collections_deletes_one_by_one(cluster, plane):
    for number in range(25):
        fail(cluster, f"dead-{number:05}", **DEPLOYMENT)
    allow(cluster, "nobody", "list", "delete")

    done = clean(plane, user="nobody", namespaces=("default",))

    assert (done.total, names(cluster)) == (25, [])
    assert done.requests > 25


def test_a_namespace_that_is_not_there_is_named(cluster, plane):
    fail(cluster, "a")

    with pytest.raises(CleanupError, match="namespaces: defualt: no such namespace"):
        clean(plane, namespaces=("default", "defualt"))

    assert names(cluster) == ["a"]


def test_a_token_that_is_not_known_is_told_with_its_mend(cluster, plane):
    where = dataclasses.replace(find_endpoint(str(plane.kubeconfig())), token="expired-token")

    with pytest.raises(CleanupError, match=r"401 Unauthorized.*Renew the kubeconfig") as refused:
        clean(plane, connect=lambda: Client(where))

    assert "expired-token" not in str(refused.value)


def test_an_api_that_is_not_there_is_named(cluster, plane):
    server = f"https://127.0.0.1:{free_ports(1)[0]}"
    where = dataclasses.replace(find_endpoint(str(plane.kubeconfig())), server=server)

    with pytest.raises(CleanupError, match=f"{server}: the connection is refused. Is the API server up"):
        clean(plane, connect=lambda: Client(where, patience_seconds=0))
