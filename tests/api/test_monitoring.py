# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitoring role against a real API server: twice, a threshold changed, refused, gone."""

from __future__ import annotations

import json
import re

import yaml
from ansible_run import playbook

MAPS = "/api/v1/namespaces/monitoring/configmaps"


def play(plane, folder, *more, **variables):
    role = {"role": "gpunode.ready.monitoring", "vars": {"monitoring_kubeconfig": str(plane.kubeconfig()), **variables}}
    return playbook(folder, [{"hosts": "all", "gather_facts": False, "roles": [role]}], *more)


def changed(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.search(r"changed=(\d+)", done.stdout).group(1))


def maps(cluster) -> dict[str, dict[str, str]]:
    found = cluster.client.get(MAPS)["items"]
    return {one["metadata"]["name"]: one["data"] for one in found if one["metadata"]["name"].startswith("gpunode-")}


def test_the_role_brings_everything_and_changes_nothing_the_second_time(cluster, plane, tmp_path):
    first = play(plane, tmp_path)
    second = play(plane, tmp_path)

    found = maps(cluster)
    assert (changed(first), changed(second)) == (1, 0)
    assert sorted(found) == [
        "gpunode-containers-dashboard",
        "gpunode-dcgm-counters",
        "gpunode-gpu-dashboard",
        "gpunode-inference-dashboard",
        "gpunode-pressure-dashboard",
        "gpunode-prometheus",
        "gpunode-rules",
        "gpunode-system-dashboard",
    ]
    assert json.loads(found["gpunode-gpu-dashboard"]["gpunode-gpu.json"])["title"] == "GPU performance"
    assert yaml.safe_load(found["gpunode-prometheus"]["prometheus.yml"])["scrape_configs"]


def test_a_threshold_that_changes_reaches_the_rules(cluster, plane, tmp_path):
    play(plane, tmp_path)

    done = play(plane, tmp_path, monitoring_gpu_hot_celsius=77)

    assert changed(done) == 1
    assert "gpu:temperature:celsius > 77" in maps(cluster)["gpunode-rules"]["gpunode.json"]


def test_check_mode_says_what_would_change_and_changes_nothing(cluster, plane, tmp_path):
    done = play(plane, tmp_path, "--check", "--diff")

    assert changed(done) == 1
    assert maps(cluster) == {}


def test_thresholds_that_make_no_sense_are_refused_before_anything_is_applied(cluster, plane, tmp_path):
    done = play(plane, tmp_path, monitoring_gpu_hot_celsius=95, monitoring_disk_free_percent=0)

    assert done.returncode != 0
    assert "gpu_hot_celsius must be below gpu_too_hot_celsius" in done.stdout
    assert "disk_free_percent is 0; expected 1 to 100" in done.stdout
    assert maps(cluster) == {}


def test_rules_for_an_operator_that_is_not_there_are_refused_by_name(cluster, plane, tmp_path):
    done = play(plane, tmp_path, monitoring_rule_objects="prometheusrule")

    assert done.returncode != 0
    assert "PrometheusRule" in done.stdout


def test_what_is_taken_away_is_ours_and_the_namespace_stays(cluster, plane, tmp_path):
    play(plane, tmp_path)
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}, "data": {"a": "b"}}
    cluster.put(MAPS, theirs)

    done = play(plane, tmp_path, monitoring_state="absent")

    left = [one["metadata"]["name"] for one in cluster.client.get(MAPS)["items"]]
    assert changed(done) == 1
    assert "theirs" in left
    assert [name for name in left if name.startswith("gpunode-")] == []
