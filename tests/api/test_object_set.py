# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as they should be: once, twice, in check mode, against another owner, with a server that goes and comes."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import Client
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.objects import ObjectError, Objects
from ansible_run import module, run

SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gpu", "labels": {"a": "1"}}}
CLASS = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"}


def settings(name="settings", **data):
    metadata = {"name": name, "namespace": "gpu"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


SET = [SPACE, CLASS, settings(replicas="10")]


def results(answer):
    return [item["result"] for item in answer["objects"]]


def ask(plane, tmp_path, *more, objects=SET, **arguments):
    given = {"kubeconfig": str(plane.kubeconfig()), "objects": objects, **arguments}
    return module(tmp_path, "object_set", given, *more)


def diff(plane, tmp_path, objects):
    """What a person sees of a call in diff mode, without what the call was given."""
    given = {"kubeconfig": str(plane.kubeconfig()), "objects": objects}
    return run(tmp_path, "ansible", "here", "-m", "gpunode.ready.object_set", "-a", json.dumps(given), "--diff").stdout


def test_a_second_call_changes_nothing(cluster, plane, tmp_path):
    first = ask(plane, tmp_path)
    second = ask(plane, tmp_path)

    assert (first["changed"], results(first)) == (True, ["created"] * 3)
    assert (second["changed"], results(second)) == (False, ["unchanged"] * 3)


def test_only_the_field_that_differs_is_told(cluster, plane, tmp_path):
    ask(plane, tmp_path)

    told = diff(plane, tmp_path, [SPACE, CLASS, settings(replicas="4")])
    answer = ask(plane, tmp_path, objects=[SPACE, CLASS, settings(replicas="4", more="5")])

    assert re.findall(r"^[-+].*", told, re.MULTILINE) == [
        "--- before: ConfigMap gpu/settings",
        "+++ after: ConfigMap gpu/settings",
        '-  "data.replicas": "10"',
        '+  "data.replicas": "4"',
    ]
    assert results(answer) == ["unchanged", "unchanged", "changed"]
    assert answer["objects"][2]["fields"] == ["data.more"]


def test_check_mode_predicts_and_makes_nothing(cluster, plane, tmp_path):
    predicted = ask(plane, tmp_path, "--check")
    nothing = cluster.client.raw("/api/v1/namespaces/gpu")[0]
    made = ask(plane, tmp_path)

    assert nothing == 404
    assert results(predicted) == results(made)


def test_check_mode_predicts_a_change(cluster, plane, tmp_path):
    ask(plane, tmp_path)

    predicted = ask(plane, tmp_path, "--check", objects=[settings(replicas="4")])

    assert results(predicted) == ["changed"]
    assert cluster.client.get("/api/v1/namespaces/gpu/configmaps/settings")["data"] == {"replicas": "10"}


def test_a_field_that_is_no_longer_given_goes_and_foreign_ones_stay(cluster, plane, tmp_path):
    ask(plane, tmp_path, objects=[SPACE, settings(replicas="10", old="x")])
    cluster.patch("/api/v1/namespaces/gpu/configmaps/settings", {"data": {"theirs": "kept"}})

    ask(plane, tmp_path, objects=[settings(replicas="10")])

    data = cluster.client.get("/api/v1/namespaces/gpu/configmaps/settings")["data"]
    assert data == {"replicas": "10", "theirs": "kept"}


def test_a_field_of_another_owner_is_never_taken_unasked(cluster, plane, tmp_path):
    ask(plane, tmp_path)
    cluster.patch("/api/v1/namespaces/gpu/configmaps/settings", {"data": {"replicas": "3"}})

    refused = ask(plane, tmp_path)
    kept = cluster.client.get("/api/v1/namespaces/gpu/configmaps/settings")["data"]
    taken = ask(plane, tmp_path, force_conflicts=True)

    assert "ConfigMap gpu/settings: fields are owned by somebody else" in refused["msg"]
    assert ".data.replicas: conflict with" in refused["msg"]
    assert kept == {"replicas": "3"}
    assert taken["changed"]


def test_all_that_is_wrong_with_the_objects_is_told_before_anything_is_sent(cluster, plane, tmp_path):
    answer = ask(plane, tmp_path, objects=[SPACE, {"kind": "Pod"}, CLASS, CLASS])

    assert "object 2 (Pod) has no apiVersion and no metadata.name" in answer["msg"]
    assert "RuntimeClass nvidia stands there twice" in answer["msg"]
    assert cluster.client.raw("/api/v1/namespaces/gpu")[0] == 404


def test_what_the_api_refuses_is_told_with_its_field(cluster, plane, tmp_path):
    wrong = {**CLASS, "handler": "NVIDIA!"}

    answer = ask(plane, tmp_path, objects=[wrong])

    assert "RuntimeClass nvidia: Invalid: handler:" in answer["msg"]


def test_what_is_not_allowed_is_told(cluster, plane, tmp_path):
    answer = module(tmp_path, "object_set", {"kubeconfig": str(plane.kubeconfig("nobody")), "objects": [CLASS]})

    assert "RuntimeClass nvidia: these credentials may not" in answer["msg"]


def test_objects_go_the_last_first_and_what_is_gone_is_fine(cluster, plane, tmp_path):
    ask(plane, tmp_path, objects=[CLASS, SPACE, settings(a="1")])

    first = ask(plane, tmp_path, objects=[CLASS, settings(a="1")], state="absent")
    second = ask(plane, tmp_path, objects=[CLASS, settings(a="1")], state="absent")

    assert [item["kind"] for item in first["objects"]] == ["ConfigMap", "RuntimeClass"]
    assert (results(first), results(second)) == (["deleted"] * 2, ["absent"] * 2)


def test_a_node_that_has_not_joined_is_not_made_up(cluster, plane, tmp_path):
    cluster.node("gpu-1")
    nodes = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"nvidia.com/gpu.present": "true"}}}
        for name in ("gpu-1", "gpu-2")
    ]

    answer = ask(plane, tmp_path, objects=nodes, must_exist=True)

    assert results(answer) == ["changed", "skipped"]
    assert cluster.client.raw("/api/v1/nodes/gpu-2")[0] == 404


def test_a_kind_that_nobody_serves_is_named_when_patience_ends(cluster, plane, tmp_path):
    policy = {"apiVersion": "operator.tigera.io/v1", "kind": "Installation", "metadata": {"name": "default"}}

    answer = ask(plane, tmp_path, objects=[policy], patience_seconds=1)

    assert "Installation default: the API serves no Installation in operator.tigera.io/v1" in answer["msg"]


def test_a_kind_that_was_only_just_defined_is_waited_for(cluster, plane, tmp_path):
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.tests.invalid"},
        "spec": {
            "group": "tests.invalid",
            "names": {"kind": "Widget", "plural": "widgets"},
            "scope": "Cluster",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    widget = {"apiVersion": "tests.invalid/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": {"a": 1}}

    predicted = ask(plane, tmp_path, "--check", objects=[definition, widget])
    made = ask(plane, tmp_path, objects=[definition, widget])
    again = ask(plane, tmp_path, objects=[definition, widget])

    assert results(predicted) == results(made) == ["created"] * 2
    assert results(again) == ["unchanged"] * 2


def test_a_server_that_goes_away_half_way_loses_nothing(cluster, plane, tmp_path):
    client = Client(cluster.client.where, timeout_seconds=1, patience_seconds=1)
    objects = Objects(client)
    objects.apply([SPACE])
    plane.pause()
    try:
        with pytest.raises(ObjectError, match=r"RuntimeClass nvidia: .*no answer within 1 s"):
            objects.apply([CLASS, settings(a="1")])
    finally:
        plane.resume()

    again = Objects(Client(cluster.client.where)).apply([SPACE, CLASS, settings(a="1")])

    assert again[0].result == "unchanged"
    assert cluster.client.get("/api/v1/namespaces/gpu/configmaps/settings")["data"] == {"a": "1"}


def test_a_server_that_comes_back_is_waited_for(cluster, plane):
    client = Client(cluster.client.where, timeout_seconds=1, patience_seconds=30)
    plane.pause()
    resumer = subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {plane.processes[-1].pid}"])
    try:
        outcomes = Objects(client).apply([SPACE])
    finally:
        plane.resume()
        resumer.wait()

    assert [item.name for item in outcomes] == ["gpu"]


def test_a_secret_is_not_in_the_diff(cluster, plane, tmp_path):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}}

    made = diff(plane, tmp_path, [{**secret, "stringData": {"password": "hunter2"}}])
    changed = diff(plane, tmp_path, [{**secret, "stringData": {"password": "hunter3"}}])

    assert "+++ after: Secret default/s" in made
    assert "(hidden, after)" in changed
    assert "hunter" not in made + changed
    assert "aHVudGVy" not in made + changed
