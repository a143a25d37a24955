# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The device plugin: only what its version knows, every problem at once, objects that the API's schemas take."""

from __future__ import annotations

import itertools
import json
import re

import pytest
import yaml
from ansible_collections.gpunode.ready.plugins.module_utils import device_plugin as core
from hypothesis import given, settings
from hypothesis import strategies as st

SLICING = {"sharing": {"timeSlicing": {"resources": [{"name": "nvidia.com/gpu", "replicas": 10}]}}}
MIXED = {"flags": {"migStrategy": "mixed"}}
BOTH = {"configs": {"shared": SLICING, "whole": {}}, "default_config": "whole"}
VERSIONS = ["0.14.5", "0.15.1", "0.16.2", "0.17.4", "0.18.2", "0.19.3", "0.20.0"]


def by_kind(given):
    return {item["kind"]: item for item in core.objects(given)}


def pod_of(given):
    return by_kind(given)["DaemonSet"]["spec"]["template"]["spec"]


def env_of(given):
    return {pair["name"]: pair.get("value") for pair in pod_of(given)["containers"][0]["env"]}


# ---------------------------------------------------------------- versions


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_from_014_to_020_has_no_problem_by_default(version):
    assert core.problems({"version": version}) == []


@pytest.mark.parametrize("version", ["0.13.0", "1.0.0", "0.21.0"])
def test_a_version_that_is_not_known_is_refused(version):
    assert core.problems({"version": version}) == [f"version is {version}; expected 0.14 to 0.20, which are known here"]


# option, a value that is not its default, the first version that takes it
BROUGHT = [
    ("discovery_strategy", "nvml", "0.16"),
    ("device_list_strategies", ["cdi-cri"], "0.15"),
    ("device_list_strategies", ["cdi-annotations"], "0.14"),
    ("gdrcopy", True, "0.18"),
    ("cdi_feature_flags", ["disable-nvsandbox-utils"], "0.18"),
    ("allocation_policy", "packed", "0.20"),
    ("watched_xids", [13], "0.18"),
    ("mig_strategy", "mixed", "0.14"),
]


@pytest.mark.parametrize(("name", "value", "since"), BROUGHT, ids=[f"{name}-{value}" for name, value, _s in BROUGHT])
@pytest.mark.parametrize("version", VERSIONS)
def test_an_option_is_refused_before_the_version_that_brought_it(name, value, since, version):
    known = core.version_of(version) >= tuple(map(int, since.split(".")))

    found = core.problems({"version": version, name: value})

    assert found == [] if known else "which the plugin" in found[0] and f"expected {since} or newer" in found[0]


def test_defaults_are_not_told_to_the_plugin():
    assert core.environment(core.settings({})) == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"mig_strategy": "single"}, {"MIG_STRATEGY": "single"}),
        ({"fail_on_init_error": False}, {"FAIL_ON_INIT_ERROR": "false"}),
        ({"device_list_strategies": ["cdi-cri", "envvar"]}, {"DEVICE_LIST_STRATEGY": "cdi-cri,envvar"}),
        ({"ignored_xids": [13, 31]}, {"DP_DISABLE_HEALTHCHECKS": "13,31"}),
        ({"cdi_hook_path": "/x", "version": "0.15.1"}, {"NVIDIA_CTK_PATH": "/x"}),
        ({"cdi_hook_path": "/x", "version": "0.16.2"}, {"NVIDIA_CDI_HOOK_PATH": "/x"}),
    ],
)
def test_an_option_becomes_the_variable_that_its_version_reads(given, expected):
    assert core.environment(core.settings(given)) == expected


# ---------------------------------------------------------------- wrong values

REFUSED = [
    ({"mig_strategy": "all"}, "mig_strategy has `all`; expected one of none, single, mixed"),
    ({"discovery_strategy": "cdi"}, "discovery_strategy has `cdi`; expected one of auto, nvml, tegra"),
    ({"device_list_strategies": ["nvml"]}, "device_list_strategies has `nvml`; expected some of envvar"),
    ({"device_list_strategies": []}, "device_list_strategies is empty"),
    ({"device_list_strategies": "envvar"}, "device_list_strategies is `envvar`; expected a list"),
    ({"device_list_strategies": ["cdi-cri"], "discovery_strategy": "tegra"}, "cdi-cri with discovery_strategy tegra"),
    ({"fail_on_init_error": "yes"}, "fail_on_init_error is `yes`; expected true or false"),
    ({"ignored_xids": ["many"]}, "ignored_xids has `many`; expected Xid numbers or `all`"),
    ({"watched_xids": ["all"]}, "watched_xids has `all`; expected Xid numbers"),
    ({"version": "latest"}, "version is `latest`; expected one such as 0.20.0"),
    ({"configs": {"a": SLICING}, "default_config": "b"}, "default_config is `b`; expected one of a"),
    ({"configs": {"a": SLICING, "b": {}}}, "default_config is not set, and there are 2 configs"),
    ({"configs": {"a/b": {}}}, "configs has the name `a/b`"),
]


@pytest.mark.parametrize(("given", "told"), REFUSED, ids=[told[:40] for _given, told in REFUSED])
def test_a_wrong_setting_is_told_with_what_was_expected(given, told):
    assert any(told in problem for problem in core.problems(given)), core.problems(given)


def sharing(**resource):
    return {"sharing": {"timeSlicing": {"resources": [{"name": "nvidia.com/gpu", "replicas": 4, **resource}]}}}


WRONG_CONFIGS = [
    (
        {"sharing": {"timeSlicing": {"resources": []}}},
        'resources is empty: the plugin stops with "no resources specified"',
    ),
    ({"sharing": {"timeSlicing": {}}}, "no resources specified"),
    ({"sharing": {"timeSlicing": None}}, "sharing.timeSlicing is empty"),
    (sharing(replicas=0), "resources[0].replicas is `0`; expected a number of at least 2"),
    (sharing(replicas=1), "replicas is `1`"),
    (sharing(replicas="10"), "replicas is `10`; expected a number"),
    (sharing(replicas=True), "replicas is `True`"),
    ({"sharing": {"timeSlicing": {"resources": [{"name": "nvidia.com/gpu"}]}}}, "resources[0] has no replicas"),
    (sharing(name="gpu"), "name is `gpu`; expected a resource such as nvidia.com/gpu"),
    (sharing(name="nvidia.com/mig-1g.5gb"), "exists with the MIG strategy mixed alone; found none"),
    (sharing(name="nvidia.com/" + "a" * 60), "71 characters"),
    (sharing(rename="nvidia.com/slice"), "rename is ignored by the plugin"),
    (sharing(devices=[0, 1]), "devices is ignored by the plugin"),
    (sharing(replica=3), "replica is unknown; expected one of name, replicas"),
    ({"sharing": {"timeSlicing": SLICING["sharing"]["timeSlicing"], "mps": {}}}, "one of them"),
    ({"sharing": {"mps": SLICING["sharing"]["timeSlicing"]}}, "MPS control daemon"),
    ({"sharing": {"timeslicing": {}}}, "sharing.timeslicing is unknown; expected timeSlicing"),
    ({"version": "v2"}, "version is `v2`; expected v1"),
    ({"flag": {}}, "`flag` is unknown; expected one of version, flags"),
    ({"flags": {"migstrategy": "none"}}, "flags.migstrategy is unknown"),
    ({"flags": {"migStrategy": "all"}}, "flags.migStrategy has `all`"),
    ({"flags": {"failOnInitError": "true"}}, "flags.failOnInitError is `true`; expected true or false"),
    ({"flags": {"plugin": {"deviceListStrategy": ["nvml"]}}}, "flags.plugin.deviceListStrategy has `nvml`"),
    ({"flags": {"deviceDiscoveryStrategy": "cdi"}}, "flags.deviceDiscoveryStrategy has `cdi`"),
    ({"resources": {"gpus": [{"pattern": "*", "name": "gpu"}]}}, "`resources` is ignored by the plugin"),
    ("version: v1\nsharing: [", "line 2"),
    ([], "it is list"),
]


@pytest.mark.parametrize(("config", "told"), WRONG_CONFIGS, ids=[told[:40] for _config, told in WRONG_CONFIGS])
def test_a_configuration_that_would_not_do_is_refused_before_it_is_applied(config, told):
    found = core.config_problems(config)

    assert any(told in problem for problem in found), found


def test_all_problems_are_told_at_once_and_by_name():
    given = {
        "mig_strategy": "x",
        "configs": {"a": sharing(replicas=0, devices=[0]), "b": {"flag": 1}},
        "default_config": "a",
    }

    found = core.problems(given)

    assert len(found) == 4
    assert [problem.partition(":")[0] for problem in found[1:]] == ["configs.a", "configs.a", "configs.b"]


@pytest.mark.parametrize(
    ("flags", "version"),
    [
        ({"deviceDiscoveryStrategy": "nvml"}, "0.15.1"),
        ({"gdrcopyEnabled": True}, "0.17.4"),
        ({"plugin": {"sharedDevicesAllocationPolicy": "packed"}}, "0.19.3"),
        ({"plugin": {"deviceListStrategy": "cdi-cri"}}, "0.14.5"),
        ({"mpsRoot": "/run/nvidia/mps"}, "0.14.5"),
    ],
)
def test_a_flag_of_a_newer_version_is_refused_in_a_configuration_too(flags, version):
    assert core.config_problems({"flags": flags}, core.version_of("0.20.0")) == []
    assert "not known to the plugin" in core.config_problems({"flags": flags}, core.version_of(version))[0]


def test_mig_slices_may_be_shared_where_the_strategy_is_mixed():
    config = {**sharing(name="nvidia.com/mig-1g.5gb"), "flags": {"migStrategy": "mixed"}}

    assert core.config_problems(config) == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 12) | st.sampled_from(["nvidia.com/gpu", "all", "v1", "none", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*core.TOP, *core.FLAGS, *core.SHARED, *core.SHARED_RESOURCE, "timeSlicing", "mps"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(anything)
def test_no_configuration_makes_the_judgement_raise(config):
    core.config_problems(config)


@settings(max_examples=200, deadline=None)
@given(anything)
def test_what_has_no_problem_can_be_rendered_and_counted(config):
    if isinstance(config, dict) and not core.config_problems(config):
        core.objects({"configs": {"a": config}})
        assert sum(core.advertised(config, 8).values()) >= 8


# ---------------------------------------------------------------- configurations as text


def plain(depth=3):
    scalars = (
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii", exclude_categories=["Cc"]))
    )
    keys = st.from_regex(r"[a-zA-Z][a-zA-Z0-9]{0,8}", fullmatch=True).filter(
        lambda word: word.lower() not in ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
    )
    return st.dictionaries(
        keys,
        st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)),
    )


@settings(deadline=None)
@given(plain())
def test_what_is_written_is_read_back(config):
    assert yaml.safe_load(core.text_of(config)) == {"version": "v1", **config}


def test_a_configuration_written_by_hand_is_kept_as_it_is():
    text = "# ours\nversion: v1\n"

    assert by_kind({"configs": {"a": text}})["ConfigMap"]["data"] == {"a": text}


def test_a_configuration_reads_as_people_write_it():
    assert core.text_of(SLICING) == (
        "version: v1\nsharing:\n  timeSlicing:\n    resources:\n      - name: nvidia.com/gpu\n        replicas: 10\n"
    )


# ---------------------------------------------------------------- objects


def test_the_runtime_class_comes_before_what_uses_it():
    kinds = [item["kind"] for item in core.objects({})]

    assert kinds.index("RuntimeClass") < kinds.index("DaemonSet")
    assert pod_of({})["runtimeClassName"] == "nvidia"


def test_no_class_is_made_where_the_default_handler_injects_gpus():
    assert "RuntimeClass" not in by_kind({"runtime_class": ""})
    assert "runtimeClassName" not in pod_of({"runtime_class": ""})


def test_a_namespace_of_its_own_allows_the_host_path():
    made = core.objects({"namespace": "gpu"})

    assert made[0]["kind"] == "Namespace"
    assert made[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert {item["metadata"].get("namespace", "gpu") for item in made} == {"gpu"}


@pytest.mark.parametrize("given", [{}, {"configs": {"a": SLICING}}, BOTH], ids=["none", "one", "several"])
def test_it_runs_with_nothing_it_does_not_need(given):
    pod = pod_of(given)

    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert container["resources"]["limits"]["memory"]
    assert "hostNetwork" not in pod
    assert "hostPID" not in pod


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"mig_strategy": "mixed"}, {"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        ({"configs": {"a": MIXED}}, {"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        ({"device_list_strategies": ["volume-mounts"]}, {"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        ({"device_list_strategies": ["cdi-cri"]}, {"drop": ["ALL"]}),
    ],
)
def test_only_options_that_need_more_get_more(given, expected):
    assert pod_of(given)["containers"][0]["securityContext"]["capabilities"] == expected


def test_rights_are_given_only_where_a_label_chooses_the_configuration():
    assert "ClusterRole" not in by_kind({"configs": {"a": SLICING}})
    assert pod_of({"configs": {"a": SLICING}})["automountServiceAccountToken"] is False

    made = by_kind(BOTH)
    assert made["ClusterRole"]["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}
    ]
    assert pod_of(BOTH)["automountServiceAccountToken"] is True


def test_a_changed_configuration_makes_new_pods_where_nothing_else_would():
    def annotations(replicas):
        config = sharing(replicas=replicas)
        return by_kind({"configs": {"a": config}})["DaemonSet"]["spec"]["template"]["metadata"]["annotations"]

    assert annotations(4) == annotations(4)
    assert annotations(4) != annotations(8)
    assert "annotations" not in by_kind(BOTH)["DaemonSet"]["spec"]["template"]["metadata"]


def test_the_image_may_come_from_a_mirror():
    image = pod_of({"image": "mirror.example.org/nvidia/k8s-device-plugin", "version": "v0.19.3"})["containers"][0][
        "image"
    ]

    assert image == "mirror.example.org/nvidia/k8s-device-plugin:v0.19.3"


def test_cdi_brings_the_folder_of_its_specs():
    def mounted(given):
        return [mount["name"] for mount in pod_of(given)["containers"][0]["volumeMounts"]]

    assert "cdi" in mounted({"device_list_strategies": ["cdi-cri"]})
    assert "cdi" not in mounted({})


@pytest.mark.parametrize("given", [{}, {"configs": {"a": SLICING}}, BOTH, {"driver_root": "/run/nvidia/driver"}])
def test_every_mount_has_its_volume_and_every_volume_its_mount(given):
    pod = pod_of(given)
    containers = [*pod["containers"], *pod.get("initContainers", [])]

    mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}

    assert mounted == {volume["name"] for volume in pod["volumes"]}


# ---------------------------------------------------------------- schemas

SETTINGS = {
    "plain": {},
    "namespace": {"namespace": "gpu-system"},
    "one": {"configs": {"a": SLICING}},
    "several": BOTH,
    "cdi": {"device_list_strategies": ["cdi-cri"], "driver_root": "/run/nvidia/driver"},
    "mig": {"mig_strategy": "mixed"},
    "devices": {"pass_device_specs": True},
    "mirror": {"image_pull_secrets": ["mirror"], "priority_class": "", "node_selector": {}},
}


@pytest.mark.parametrize("kubernetes", ["1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"])
def test_every_object_fits_the_schemas_of_kubernetes(kubernetes):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed: make setup")

    different = {json.dumps(item, sort_keys=True) for chosen in SETTINGS.values() for item in core.objects(chosen)}
    for item in different:
        validate.validate(json.loads(item), kubernetes, strict=True)


def test_the_schemas_would_notice():
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed: make setup")
    item = by_kind({})["DaemonSet"]
    item["spec"]["template"]["spec"]["runtimeClass"] = "nvidia"

    with pytest.raises(validate.ValidationError):
        validate.validate(item, "1.37", strict=True)


# ---------------------------------------------------------------- devices and labels


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {"nvidia.com/gpu": 2}),
        (SLICING, {"nvidia.com/gpu": 20}),
        ({"sharing": {"timeSlicing": {**SLICING["sharing"]["timeSlicing"], "renameByDefault": True}}},
         {"nvidia.com/gpu.shared": 20}),
        (core.text_of(SLICING), {"nvidia.com/gpu": 20}),
    ],
)  # fmt: skip
def test_a_node_offers_its_gpus_times_the_replicas(config, expected):
    assert core.advertised(config, 2) == expected


def test_each_node_is_counted_by_the_configuration_it_chose():
    found = core.expected_devices(BOTH, {"a": 1, "b": 1}, {"b": "shared"})

    assert found == {"a": {"nvidia.com/gpu": 1}, "b": {"nvidia.com/gpu": 10}}


H200 = {
    "nvml": {
        "device_count": 8,
        "driver_version": "580.159.04",
        "cuda_version": "13.0",
        "devices": [
            {
                "name": "NVIDIA H200",
                "architecture": "hopper",
                "compute_capability": "9.0",
                "memory": {"total_bytes": 150754820096},
                "mig": {"mode": {"current": False, "pending": False}},
            }
        ],
    }
}


def test_labels_say_what_nvml_says():
    assert core.node_labels(H200, SLICING) == {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.count": "8",
        "nvidia.com/gpu.product": "NVIDIA-H200-SHARED",
        "nvidia.com/gpu.replicas": "10",
        "nvidia.com/gpu.sharing-strategy": "time-slicing",
        "nvidia.com/gpu.family": "hopper",
        "nvidia.com/gpu.memory": "143771",
        "nvidia.com/gpu.compute.major": "9",
        "nvidia.com/gpu.compute.minor": "0",
        "nvidia.com/mig.capable": "true",
        "nvidia.com/cuda.driver-version.full": "580.159.04",
        "nvidia.com/cuda.driver-version.major": "580",
        "nvidia.com/cuda.driver-version.minor": "159",
        "nvidia.com/cuda.driver-version.revision": "04",
        "nvidia.com/cuda.runtime-version.full": "13.0",
        "nvidia.com/cuda.runtime-version.major": "13",
        "nvidia.com/cuda.runtime-version.minor": "0",
    }


@pytest.mark.parametrize("facts", [{}, {"nvml": {"unavailable": "x"}}, {"nvml": {"device_count": 0, "devices": []}}])
def test_a_node_without_gpus_gets_no_labels(facts):
    assert core.node_labels(facts) == {}
    assert core.node_objects({"n": core.node_labels(facts)}) == []


@given(st.text(max_size=90))
def test_every_label_is_one_that_the_api_takes(name):
    facts = json.loads(json.dumps(H200))
    facts["nvml"]["devices"][0]["name"] = name

    values = core.node_labels(facts).values()

    assert [value for value in values if not re.fullmatch(r"[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?", value)] == []


def test_a_plugin_of_somebody_else_is_named_with_its_maker():
    ours = {"component": "plugin", "namespace": "kube-system", "name": core.NAME, "managed_by": "gpunode.ready"}
    addon = {"component": "plugin", "namespace": "kube-system", "name": "addon", "managed_by": "minikube addon"}

    assert core.foreign([ours, addon, {"component": "dcgm"}], "kube-system") == [
        "kube-system/addon (by minikube addon)"
    ]


def test_settings_that_do_not_exist_are_refused_with_those_that_do():
    with pytest.raises(ValueError, match=r"unknown settings: replcas \(known: version"):
        core.problems({"replcas": 3})


def test_versions_and_options_are_data_that_agree():
    assert set(core.OPTIONS) < set(core.DEFAULTS)
    envs = [option.env for option in core.OPTIONS.values()]
    assert not [pair for pair in itertools.combinations(envs, 2) if pair[0] == pair[1]]
