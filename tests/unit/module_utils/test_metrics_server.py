# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""metrics-server: the version for the cluster, every problem at once, objects that the API's schemas take."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import metrics_server as core
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.facts import service_kind
from hypothesis import given
from hypothesis import strategies as st

CA = (Path(__file__).parent.parent / "data/x509/ca.crt").read_text()
AUTHORITY = {"kubelet_certificates": "authority", "kubelet_authority": CA}
SETTINGS = {
    "plain": {},
    "several": {"replicas": 2, "host_network": True, "port": 4443, "image_pull_secrets": ["mirror"]},
    "authority": AUTHORITY,
    "unverified": {"kubelet_certificates": "unverified"},
    "tls": {"tls_secret": "metrics-tls", "tls_authority": CA},
}


def by_kind(given, version="v1.36.4"):
    return {item["kind"]: item for item in core.objects(given, version)}


def container(given, version="v1.36.4"):
    return by_kind(given, version)["Deployment"]["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [("v1.37.0", "0.9.0"), ("v1.34.2", "0.9.0"), ("v1.33.10", "0.8.1"), ("v1.30.1", "0.7.2"), ("v1.20.2", "0.7.2"),
     ("", "0.9.0")],
)  # fmt: skip
def test_the_newest_version_for_the_cluster_is_taken(cluster, expected):
    assert core.version_for({}, cluster) == expected
    assert container({}, cluster)["image"].endswith(f":v{expected}")


def test_a_cluster_older_than_any_is_told():
    assert core.untried({}, "v1.34.0") == ""
    assert "Kubernetes is v1.20.2, older than 1.27" in core.untried({}, "v1.20.2")


REFUSED = [
    ({"version": "0.9.0"}, "version is 0.9.0, for Kubernetes 1.34 and newer; this one is v1.33.1"),
    ({"version": "0.6.4"}, "version is 0.6.4; expected one of 0.9, 0.8, 0.7"),
    ({"version": "latest"}, "version is `latest`; expected one such as 0.9.0"),
    ({"image": "metrics-server:v1"}, "image is `metrics-server:v1`"),
    ({"replicas": 0}, "replicas is `0`; expected 1 to 9"),
    ({"port": 443}, "port is `443`; expected 1024 to 65535"),
    ({"resolution_seconds": 5}, "resolution_seconds is `5`; expected 12 to 3600"),
    ({"address_types": ["Public"]}, "address_types has Public"),
    ({"address_types": []}, "address_types has empty"),
    ({"kubelet_certificates": "any"}, "kubelet_certificates is `any`"),
    ({"kubelet_certificates": "authority"}, "kubelet_authority is empty"),
    ({"kubelet_authority": CA}, "is given with kubelet_certificates cluster"),
    ({**AUTHORITY, "kubelet_authority": "x"}, "kubelet_authority cannot be read: there is no certificate in it"),
    ({"tls_secret": "a"}, "tls_authority is empty; expected tls_secret and tls_authority together"),
    ({"host_network": True}, "port is 10250 in the network of the node, where kubelet has it"),
]


@pytest.mark.parametrize(("given", "told"), REFUSED, ids=[told[:40] for _given, told in REFUSED])
def test_a_wrong_setting_is_told_with_what_was_expected(given, told):
    assert any(told in problem for problem in core.problems(given, "v1.33.1")), core.problems(given, "v1.33.1")


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_documented_has_no_problem(name):
    assert core.problems(SETTINGS[name], "v1.36.4") == []


NAMES = [name for name in core.DEFAULTS if name != "address_types"]


@given(st.dictionaries(st.sampled_from(NAMES), st.none() | st.integers() | st.sampled_from(["", "x", "0.9.0"])))
def test_no_setting_makes_the_judgement_fall_over(given):
    assert isinstance(core.problems(given, "v1.36.4"), list)


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "unverified"])
def test_kubelets_are_verified_unless_asked_otherwise(name):
    assert "--kubelet-insecure-tls" not in container(SETTINGS[name])["args"]


def test_unverified_is_what_it_says():
    assert "--kubelet-insecure-tls" in container(SETTINGS["unverified"])["args"]


def test_another_authority_is_mounted_where_the_flag_says():
    made = container(AUTHORITY)

    assert "--kubelet-certificate-authority=/etc/kubelet-authority/ca.crt" in made["args"]
    assert {"name": "kubelet-authority", "mountPath": "/etc/kubelet-authority", "readOnly": True} in made[
        "volumeMounts"
    ]
    assert by_kind(AUTHORITY)["ConfigMap"]["data"] == {"ca.crt": CA}


def test_with_an_authority_the_api_server_verifies_who_answers():
    assert by_kind({})["APIService"]["spec"]["insecureSkipTLSVerify"] is True
    spec = by_kind(SETTINGS["tls"])["APIService"]["spec"]
    assert "insecureSkipTLSVerify" not in spec
    assert base64.b64decode(spec["caBundle"]).decode() == CA


def test_the_budget_that_several_left_holds_up_no_drain_of_one():
    spec = by_kind({"replicas": 2})["PodDisruptionBudget"]["spec"]

    assert (spec.get("minAvailable"), spec["maxUnavailable"]) == (None, 1)


def test_the_pod_has_no_privilege():
    pod = by_kind({})["Deployment"]["spec"]["template"]["spec"]
    context = pod["containers"][0]["securityContext"]

    assert context == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert service_kind(pod["containers"]) == "metrics"


def test_whatever_settings_made_can_be_taken_away():
    everything = {(item["kind"], item["metadata"]["name"]) for item in core.all_objects("v1.36.4")}
    made = {
        (item["kind"], item["metadata"]["name"])
        for given in SETTINGS.values()
        for item in core.objects(given, "v1.36.4")
    }

    assert made == everything


def test_an_api_of_somebody_else_is_named():
    ours = {"name": core.API, "service": "kube-system/gpunode-metrics-server", "managed_by": core.MANAGED_BY}
    theirs = {"name": core.API, "service": "kube-system/metrics-server", "managed_by": "minikube addon"}

    assert core.foreign([ours]) == []
    assert core.foreign([theirs]) == [
        "the APIService v1beta1.metrics.k8s.io, answered by kube-system/metrics-server (by minikube addon)"
    ]


@pytest.mark.parametrize("kubernetes", ["1.31", "1.37"])
def test_every_object_fits_the_schemas_of_kubernetes(kubernetes):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed: make setup")

    for item in (item for chosen in SETTINGS.values() for item in core.objects(chosen, kubernetes)):
        if item["kind"] != "APIService":  # of an API of its own, which the schemas leave out
            validate.validate(item, kubernetes, strict=True)
