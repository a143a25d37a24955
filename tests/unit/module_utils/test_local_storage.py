# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""local-path-provisioner: every problem at once, nobody fought, no default taken unasked, objects the schemas take."""

from __future__ import annotations

import json
import os
import stat
import subprocess

import pytest
import yaml
from ansible_collections.gpunode.ready.plugins.module_utils import local_storage as core
from ansible_collections.gpunode.ready.plugins.module_utils.checks.cluster_all import judge_cluster
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.expect import cluster_expectations
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.facts import provisioner
from hypothesis import given, settings
from hypothesis import strategies as st

PINNED = {"node_folders": {"store-1": ["/data/a", "/data/b"]}, "other_nodes": "refused"}


def by_kind(given, facts=None):
    return {item["kind"]: item for item in core.objects(given, facts)}


def pod_of(given):
    return by_kind(given)["Deployment"]["spec"]["template"]["spec"]


def helper_of(given):
    return yaml.safe_load(core.configuration(given)["helperPod.yaml"])


def storage_class(name="local-path", **more):
    item = {"name": name, "provisioner": core.PROVISIONER, "reclaim": "Delete", "default": False, "managed_by": ""}
    return {**item, **more}


def facts(*classes, provisioners=(), nodes=(), volumes=None):
    named = [{"name": name, "labels": {core.HOSTNAME: name}} for name in nodes]
    storage = {"classes": list(classes), "provisioners": list(provisioners), "volumes": volumes or {}}
    return {"api": {"problem": None}, "nodes": named, "storage": storage}


OURS = {
    "managed_by": "gpunode.ready",
    "labels": {"app.kubernetes.io/name": core.NAME, "app.kubernetes.io/managed-by": "gpunode.ready"},
}
STANDARD = storage_class("standard", provisioner="ebs.csi.aws.com", default=True, managed_by="Helm")


# ---------------------------------------------------------------- settings


def test_the_defaults_have_no_problem():
    assert core.problems({}) == []


@pytest.mark.parametrize("version", ["0.0.33", "0.1.0", "0.0.38"])
def test_a_version_that_is_not_known_is_refused(version):
    told = f"version is {version}; expected 0.0.34 to 0.0.37, which are known here"

    assert core.problems({"version": version}) == [told]


REFUSED = [
    ({"version": "latest"}, "version is `latest`; expected one such as 0.0.37"),
    ({"reclaim_policy": "Recycle"}, "reclaim_policy is `Recycle`; expected one of Delete, Retain"),
    ({"volume_type": "nfs"}, "volume_type is `nfs`; expected one of local, hostPath"),
    ({"default_class": "yes"}, "default_class is `yes`; expected one of where_none, always, never"),
    ({"image": "rancher/local-path-provisioner:v0.0.37"}, "expected one without a tag"),
    ({"image": ""}, "image is ``; expected one without a tag"),
    ({"helper_image": ""}, "helper_image is empty"),
    ({"namespace": "Storage"}, "namespace is `Storage`; expected lower-case letters"),
    ({"class_name": "local path"}, "class_name is `local path`"),
    ({"demoted_classes": "standard"}, "demoted_classes is `standard`; expected a list"),
    ({"demoted_classes": ["local-path"]}, "demoted_classes has local-path, which is class_name"),
    ({"folder": "/"}, "folder is `/`; expected the absolute path of a folder"),
    ({"folder": "data"}, "folder is `data`; expected the absolute path"),
    ({"folder": "/data/../etc"}, "folder is `/data/../etc`"),
    ({"folder": "/data/"}, "folder is `/data/`"),
    ({"folder": "/data/$(reboot)"}, "folder is `/data/$(reboot)`"),
    ({"folder": "/data\n/x"}, "folder is `/data\n/x`"),
    ({"folder": 'a" && b'}, "folder is `a"),
    ({"folder": "/tmp/volumes"}, "folder is /tmp/volumes, which is no disk or does not outlive a boot"),
    ({"folder": "/run"}, "folder is /run, which is no disk"),
    ({"node_folders": ["/a"]}, "node_folders is list; expected a dictionary"),
    ({"node_folders": {"a": []}}, "node_folders.a is `[]`; expected a list of at least one folder"),
    ({"node_folders": {"a": "/x"}}, "node_folders.a is `/x`; expected a list of at least one folder"),
    ({"node_folders": {"a": ["x"]}}, "node_folders.a is `x`; expected the absolute path"),
    ({"node_folders": {"a": ["/x", "/x"]}}, "node_folders.a has a folder twice"),
    ({"node_folders": {core.OTHERS: ["/x"]}}, f"node_folders has the node `{core.OTHERS}`"),
    ({"other_nodes": "refused"}, "none would have storage"),
]


@pytest.mark.parametrize(("given", "told"), REFUSED, ids=[told[:40] for _given, told in REFUSED])
def test_a_wrong_setting_is_told_with_what_was_expected(given, told):
    assert any(told in problem for problem in core.problems(given)), core.problems(given)


def test_all_problems_are_told_at_once():
    assert len(core.problems({"version": "1.0.0", "folder": "/", "reclaim_policy": "x"})) == 3


def test_a_setting_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match=r"unknown settings: fodler \(known: version"):
        core.settings({"fodler": "/data"})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
TEXTS = ("version", "image", "namespace", "class_name", "folder", "reclaim_policy", "default_class")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*TEXTS, "node_folders"]), anything, max_size=4))
def test_no_setting_makes_the_judgement_raise_and_what_it_lets_pass_can_be_rendered(chosen):
    if not core.problems(chosen):
        json.dumps(core.objects(chosen))


# ---------------------------------------------------------------- what is in the way


def test_a_bare_cluster_is_in_nobodys_way():
    assert core.obstacles({}, facts()) == []


def test_a_second_run_finds_its_own_and_does_not_stop_at_it():
    mine = {"namespace": "local-path-storage", "name": core.NAME, "provisioner": core.PROVISIONER, **OURS}

    assert core.obstacles({}, facts(storage_class(default=True, **OURS), provisioners=[mine])) == []


def test_a_provisioner_of_somebody_else_is_named():
    k3s = {"namespace": "kube-system", "name": "local-path-provisioner", "provisioner": core.PROVISIONER}

    found = core.obstacles({}, facts(storage_class(default=True), provisioners=[{**k3s, "managed_by": "deploy@k3s"}]))

    assert [problem.partition(" is there already")[0] for problem in found] == [
        "Deployment kube-system/local-path-provisioner (by deploy@k3s)",
        "StorageClass local-path (by somebody)",
    ]
    assert all("local_storage_state: adopted" in problem for problem in found)


def test_a_provisioner_of_another_name_serves_other_claims():
    other = {"namespace": "x", "name": "local-path", "provisioner": "cluster.local/x"}

    assert core.obstacles({}, facts(provisioners=[other])) == []


def test_adopted_stops_at_no_provisioner():
    other = {"namespace": "kube-system", "name": "local-path-provisioner", "provisioner": core.PROVISIONER}

    assert core.obstacles({}, facts(storage_class(), provisioners=[other]), "adopted") == []


IN_THE_WAY = [
    ({"default_class": "always"}, facts(STANDARD), "StorageClass standard is the default, and default_class is always"),
    ({"demoted_classes": ["fast"]}, facts(STANDARD), "has fast, and there is no such StorageClass (there: standard)"),
    ({"reclaim_policy": "Retain"}, facts(storage_class(**OURS)), "has reclaimPolicy Delete, reclaim_policy is Retain"),
    ({"class_name": "standard"}, facts(STANDARD), "StorageClass standard (by Helm) is there already"),
    (PINNED, facts(nodes=["gpu-1"]), "node_folders has store-1, and the cluster has no such node (there: gpu-1)"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "there", "told"), IN_THE_WAY, ids=[told[:40] for _g, _f, told in IN_THE_WAY])
def test_what_is_in_the_way_is_told(given, there, told):
    assert any(told in problem for problem in core.obstacles(given, there)), core.obstacles(given, there)


def test_two_defaults_are_made_by_nobody_who_names_the_other():
    chosen = {"default_class": "always", "demoted_classes": ["standard"]}

    assert core.obstacles(chosen, facts(STANDARD)) == []


def test_classes_that_could_not_be_read_are_no_empty_cluster():
    there = {"api": {"problem": None}, "storage": {"unavailable": "forbidden"}}

    assert core.obstacles({}, there) == ["the StorageClasses of the cluster could not be read: forbidden"]


def test_an_api_that_did_not_answer_is_left_to_who_says_why():
    assert core.obstacles({}, {"api": {"problem": {"kind": "refused"}}, "storage": {"unavailable": "refused"}}) == []


def test_the_provisioner_does_not_go_before_its_volumes():
    there = facts(storage_class(**OURS), volumes={"local-path": 2, "standard": 9})

    assert core.obstacles({}, there, "absent")[0].startswith("2 volumes of StorageClass local-path would be left")
    assert core.obstacles({}, facts(storage_class(**OURS), volumes={"standard": 9}), "absent") == []


# ---------------------------------------------------------------- the default


DEFAULT_CASES = {
    "no class at all": ({}, facts(), True),
    "another is the default": ({}, facts(STANDARD), False),
    "another, no default": ({}, facts({**STANDARD, "default": False}), True),
    "it is already": ({}, facts(storage_class(default=True, **OURS)), True),
    "it is, and another too": ({}, facts(storage_class(default=True, **OURS), STANDARD), False),
    "the other is named": ({"demoted_classes": ["standard"]}, facts(STANDARD), True),
    "always": ({"default_class": "always"}, facts(), True),
    "never": ({"default_class": "never"}, facts(), False),
}


@pytest.mark.parametrize("case", DEFAULT_CASES)
def test_it_is_the_default_where_none_is_or_by_choice(case):
    chosen, there, expected = DEFAULT_CASES[case]

    annotations = by_kind(chosen, there)["StorageClass"]["metadata"]["annotations"]

    assert annotations.get(core.DEFAULT) == ("true" if expected else None)


def test_only_a_class_that_is_named_and_is_the_default_is_demoted():
    beta = "storageclass.beta.kubernetes.io/is-default-class"
    fast = storage_class("fast", default=True, default_by=[core.DEFAULT, beta])
    slow = storage_class("slow", default=True, default_by=[core.DEFAULT])

    found = core.demotions({"demoted_classes": ["fast", "gone"]}, facts(fast, slow))

    assert [item["metadata"] for item in found] == [
        {"name": "fast", "annotations": {core.DEFAULT: "false", beta: "false"}}
    ]
    assert set(found[0]) == {"apiVersion", "kind", "metadata"}
    assert core.demotions({"demoted_classes": ["fast"]}, facts({**fast, "default": False})) == []


@pytest.mark.parametrize(
    ("there", "expected"), [(facts(storage_class()), {core.DEFAULT: "true"}), (facts(STANDARD), {})]
)
def test_of_a_class_that_is_adopted_nothing_but_the_default_is_touched(there, expected):
    made = core.adopted({}, there)

    assert [item["metadata"] for item in made] == [{"name": "local-path", "annotations": expected}]
    assert "provisioner" not in made[0]


@pytest.mark.parametrize("manager", ["k3s", "gpunode.ready"])
def test_what_goes_is_ours_alone(manager):
    kinds = [item["kind"] for item in core.removable({}, facts(storage_class(managed_by=manager)))]

    assert "StorageClass" not in kinds
    assert "Namespace" not in kinds
    assert "StorageClass" in [item["kind"] for item in core.removable({}, facts(storage_class(**OURS)))]


# ---------------------------------------------------------------- objects


def test_the_account_and_its_rights_come_before_what_uses_them():
    kinds = [item["kind"] for item in core.objects({})]

    assert kinds == [
        "Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap",
        "Deployment", "StorageClass",
    ]  # fmt: skip


def test_claims_wait_for_their_pod_so_that_a_node_is_known():
    made = by_kind({"reclaim_policy": "Retain"})["StorageClass"]

    assert made["volumeBindingMode"] == "WaitForFirstConsumer"
    assert made["reclaimPolicy"] == "Retain"
    assert made["provisioner"] == "rancher.io/local-path"


def test_every_node_has_the_folder_and_some_have_their_own():
    config = json.loads(core.configuration({"node_folders": {"b": ["/b"], "a": ["/a", "/c"]}})["config.json"])

    assert config == {
        "nodePathMap": [
            {"node": core.OTHERS, "paths": ["/opt/local-path-provisioner"]},
            {"node": "a", "paths": ["/a", "/c"]},
            {"node": "b", "paths": ["/b"]},
        ]
    }


def test_nodes_that_are_refused_are_not_chosen_by_the_scheduler_either():
    there = facts()
    there["nodes"] = [{"name": "store-1", "labels": {core.HOSTNAME: "store-1.example.org"}}]

    config = json.loads(core.configuration(PINNED)["config.json"])
    topologies = by_kind(PINNED, there)["StorageClass"]["allowedTopologies"]

    assert [entry["node"] for entry in config["nodePathMap"]] == ["store-1"]
    assert topologies == [{"matchLabelExpressions": [{"key": core.HOSTNAME, "values": ["store-1.example.org"]}]}]
    assert "allowedTopologies" not in by_kind({})["StorageClass"]


def test_two_of_it_never_run_at_once():
    spec = by_kind({})["Deployment"]["spec"]

    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_a_changed_configuration_makes_a_new_pod():
    def digest(given):
        return by_kind(given)["Deployment"]["spec"]["template"]["metadata"]["annotations"]

    assert digest({}) == digest({"reclaim_policy": "Retain"})
    assert digest({}) != digest({"folder": "/data"})


def test_its_health_is_asked_where_it_answers():
    assert "readinessProbe" in pod_of({})["containers"][0]
    assert "readinessProbe" not in pod_of({"version": "0.0.36"})["containers"][0]


def test_images_come_from_where_they_are_said_to():
    chosen = {"image": "mirror/docker.io/rancher/local-path-provisioner", "helper_image": "mirror/busybox:1"}

    assert pod_of(chosen)["containers"][0]["image"] == "mirror/docker.io/rancher/local-path-provisioner:v0.0.37"
    assert helper_of(chosen)["spec"]["containers"][0]["image"] == "mirror/busybox:1"


def test_the_provisioner_is_told_the_names_of_what_was_made():
    args = pod_of({})["containers"][0]["args"]
    told = dict(zip(args[::2], args[1::2]))
    made = by_kind({})

    assert told["--configmap-name"] == made["ConfigMap"]["metadata"]["name"]
    assert told["--service-account-name"] == made["ServiceAccount"]["metadata"]["name"]
    assert told["--provisioner-name"] == made["StorageClass"]["provisioner"]
    assert os.path.basename(told["--config"]) in made["ConfigMap"]["data"]
    assert os.path.basename(told["--helper-pod-file"]) in made["ConfigMap"]["data"]


def test_what_is_written_for_the_provisioner_is_found_again_in_the_cluster():
    found = provisioner(by_kind({})["Deployment"])

    assert found["provisioner"] == core.PROVISIONER
    assert found["managed_by"] == "gpunode.ready"


# ---------------------------------------------------------------- rights and Pod Security


def test_the_pod_passes_the_level_restricted_of_pod_security():
    """Each field that kubernetes.io/docs/concepts/security/pod-security-standards asks for at that level."""
    pod = pod_of({})

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
    assert {key for volume in pod["volumes"] for key in volume} <= {"name", "configMap", "emptyDir", "secret"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert not [port for port in container["ports"] if "hostPort" in port]


def test_the_namespace_lets_helpers_mount_the_folder():
    labels = by_kind({})["Namespace"]["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"


def test_a_helper_has_no_token_and_no_more_than_it_needs():
    spec = helper_of({})["spec"]

    assert spec["automountServiceAccountToken"] is False
    assert by_kind({})["ServiceAccount"]["automountServiceAccountToken"] is False
    assert not {"DAC_OVERRIDE", "FOWNER"} & set(spec["containers"][0]["securityContext"]["capabilities"]["drop"])
    assert spec["containers"][0]["resources"]["limits"]["memory"]


# validateHelperPodTemplate in util.go of v0.0.37: what a template must not define
FORBIDDEN_IN_POD = {
    "initContainers", "ephemeralContainers", "volumes", "hostNetwork", "hostPID", "hostIPC", "nodeName",
    "serviceAccountName",
}  # fmt: skip
FORBIDDEN_IN_CONTAINER = {"volumeMounts", "envFrom", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe"}


@pytest.mark.parametrize("given", [{}, {"image_pull_secrets": ["mirror"], "priority_class": ""}])
def test_the_provisioner_accepts_the_helper(given):
    spec = helper_of(given)["spec"]
    (container,) = spec["containers"]
    security = container["securityContext"]

    assert not FORBIDDEN_IN_POD & set(spec)
    assert not FORBIDDEN_IN_CONTAINER & set(container)
    assert spec["securityContext"].get("runAsUser") != 0
    assert "add" not in security["capabilities"]
    assert security["allowPrivilegeEscalation"] is False
    assert not security.get("privileged")
    assert container["name"] == "helper-pod"


# ---------------------------------------------------------------- the scripts, run


def run_script(text, volume):
    subprocess.run(["sh", "-c", text], env={"PATH": os.environ["PATH"], "VOL_DIR": str(volume)}, check=True, timeout=30)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("there", [(), ("lost+found",)], ids=["empty", "a filesystem of its own"])
def test_a_new_folder_is_closed_and_a_volume_in_it_open(tmp_path, there):
    folder = tmp_path / "volumes"
    folder.mkdir(mode=0o755)
    for name in there:
        (folder / name).mkdir()

    run_script(core.SETUP, folder / "pvc-1_a_b")
    run_script(core.SETUP, folder / "pvc-1_a_b")

    assert mode(folder) == 0o700
    assert mode(folder / "pvc-1_a_b") == 0o777


def test_a_folder_that_holds_other_things_keeps_its_mode(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    (folder / "theirs").write_text("x")

    run_script(core.SETUP, folder / "pvc-1_a_b")

    assert mode(folder) == 0o755


def test_what_goes_is_the_volume_and_nothing_it_points_to(tmp_path):
    volume, other, outside = tmp_path / "v/pvc-1", tmp_path / "v/pvc-2", tmp_path / "outside"
    for path in (volume, other, outside):
        path.mkdir(parents=True)
    (outside / "kept").write_text("x")
    (volume / "link").symlink_to(outside)

    run_script(core.TEARDOWN, volume)

    assert not volume.exists()
    assert other.is_dir()
    assert (outside / "kept").read_text() == "x"


def test_a_name_with_spaces_and_commands_is_literal(tmp_path):
    folder = tmp_path / "v"
    folder.mkdir()
    odd = folder / "a $(touch hacked) b"

    run_script(core.SETUP, odd)
    assert odd.is_dir()
    run_script(core.TEARDOWN, odd)

    assert list(folder.iterdir()) == []


# ---------------------------------------------------------------- schemas

SETTINGS = {
    "plain": {},
    "pinned": {**PINNED, "reclaim_policy": "Retain", "volume_type": "hostPath"},
    "older": {"version": "0.0.34"},
    "mirror": {"image_pull_secrets": ["mirror"], "priority_class": "", "node_selector": {}, "tolerations": []},
}


@pytest.mark.parametrize("kubernetes", ["1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"])
def test_every_object_fits_the_schemas_of_kubernetes(kubernetes):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed: make setup")

    items = [item for chosen in SETTINGS.values() for item in [*core.objects(chosen, facts()), helper_of(chosen)]]
    for text in {json.dumps(item, sort_keys=True) for item in items}:
        validate.validate(json.loads(text), kubernetes, strict=True)


# ---------------------------------------------------------------- checks

SERVING = {
    "namespace": "local-path-storage", "name": core.NAME, "provisioner": core.PROVISIONER, "desired": 1, "updated": 1,
    "ready": 1, "message": "",
}  # fmt: skip
POD = {"namespace": "local-path-storage", "name": f"{core.NAME}-1-2", "component": "provisioner", "phase": "Pending"}


def judged(there, pods=(), **expect):
    seen = {**there, "pods": {"listed": list(pods)}}
    return {finding.id: finding for finding in judge_cluster(seen, cluster_expectations(expect), layers=["storage"])}


def test_storage_as_it_should_be_has_no_finding():
    there = facts(storage_class(default=True, **OURS), provisioners=[SERVING])

    assert judged(there, storage=True) == {}
    assert judged(there, storage="local-path") == {}


WHY = {
    "no pod": ({}, [], "no pod of it is there"),
    "refused": ({"message": 'pods "x" is forbidden: exceeded quota'}, [POD], "exceeded quota"),
    "unscheduled": ({}, [{**POD, "unscheduled": "0/1 nodes are available: 1 had taint"}], "1 had taint"),
    "image": (
        {},
        [{**POD, "waiting": [{"reason": "ImagePullBackOff", "image": "mirror/x:1", "message": "Back-off"}]}],
        "is ImagePullBackOff mirror/x:1: Back-off",
    ),
    "starting": ({}, [{**POD, "phase": "Running"}], "is Running and not ready"),
    "another's pod": ({}, [{**POD, "namespace": "x", "unscheduled": "no"}], "no pod of it is there"),
}


@pytest.mark.parametrize("case", WHY)
def test_a_provisioner_that_is_not_ready_says_why(case):
    change, pods, told = WHY[case]
    there = facts(storage_class(default=True), provisioners=[{**SERVING, "ready": 0, **change}])

    found = judged(there, pods, storage=True)["storage-provisioner-not-ready"]

    assert told in found.cause
    assert "has 0 of 1 pods ready" in found.cause
    assert "claims of local-path wait for it" in found.cause
    assert found.severity == "fatal"


def test_pods_of_the_former_version_do_not_count():
    there = facts(storage_class(default=True), provisioners=[{**SERVING, "updated": 0}])

    assert "storage-provisioner-not-ready" in judged(there)


def test_a_provisioner_that_is_not_the_expected_one_is_no_reason_to_stop():
    broken = {**SERVING, "provisioner": "cluster.local/x-local-path-provisioner", "ready": 0}
    there = facts(storage_class(default=True), provisioners=[SERVING, broken])

    assert judged(there, storage=True)["storage-provisioner-not-ready"].severity == "degraded"


def test_a_class_that_nobody_serves_is_found():
    there = facts(storage_class(default=True), STANDARD)

    found = judged(there, storage="local-path")["storage-provisioner-not-ready"]

    assert found.cause == (
        "StorageClass local-path names the provisioner rancher.io/local-path, and no Deployment runs it; expected one."
    )
    assert found.severity == "fatal"


def test_storage_that_was_not_looked_at_is_not_judged():
    assert judge_cluster({"storage": {"unavailable": "forbidden"}}, cluster_expectations({"storage": True})) == []


@pytest.mark.parametrize(
    ("there", "expect", "severity", "told"),
    [
        (facts(), {"storage": True}, "fatal", "No StorageClass is the default (there: no StorageClass)"),
        (facts(storage_class(), provisioners=[SERVING]), {"storage": True}, "fatal", "(there: local-path)"),
        (facts(storage_class(), provisioners=[SERVING]), {}, "notice", "a claim that names none waits for ever"),
        (facts(STANDARD), {"storage": "fast"}, "fatal", "There is no StorageClass fast (there: standard)"),
    ],
)
def test_a_class_that_is_lacking_is_found(there, expect, severity, told):
    found = judged(there, **expect)["storageclass-missing"]

    assert told in found.cause
    assert found.severity == severity


def test_a_cluster_without_storage_is_no_finding_where_none_is_expected():
    assert judged(facts()) == {}


def test_two_defaults_are_found_with_who_made_them():
    there = facts(storage_class(default=True, **OURS), STANDARD, provisioners=[SERVING])

    found = judged(there)["default-storageclass-twice"]

    assert (
        found.cause
        == "local-path (by gpunode.ready) and standard (by Helm) are each the default StorageClass; expected one."
    )


def test_a_claim_that_waits_is_the_consequence_of_the_class_that_is_lacking():
    there = facts(storage_class(), provisioners=[SERVING])
    there["storage"]["pending_claims"] = [{"namespace": "a", "name": "data", "class": None, "volume": None}]

    assert judged(there)["pvc-unbound-no-storageclass"].consequence_of == "storageclass-missing"
