# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import copy
import json
import os
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import cdi
from ansible_collections.gpunode.ready.plugins.module_utils.facts import cdi_state
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(__file__).parent.parent / "data" / "cdi"
NVIDIA = (DATA / "nvidia-0.5.0.yaml").read_text()
DRIVER = "580.95.05"
NODES = ("nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "dri/renderD128")
FILES = (
    "/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05",
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05",
    "/usr/lib/x86_64-linux-gnu/libnvidia-egl-gbm.so.1.1.2",
    "/usr/bin/nvidia-smi",
    "/usr/bin/nvidia-cdi-hook",
)

OWN = {
    "cdiVersion": "0.5.0",
    "kind": "example.org/fpga",
    "devices": [{"name": "0", "containerEdits": {"env": ["FPGA=0"]}}],
}


@pytest.fixture
def root(tmp_path):
    """A node whose driver, device nodes and libraries are those of nvidia-0.5.0.yaml; no spec yet."""
    for node in NODES:
        path = tmp_path / "dev" / node
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("/dev/null")  # a device whoever runs the tests
    for name in FILES:
        path = tmp_path / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        path.chmod(0o755)
    put(tmp_path, "/sys/module/nvidia/version", f"{DRIVER}\n")
    return tmp_path


def put(root, path, text, mode=0o644):
    file = root / path[1:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text if isinstance(text, str) else json.dumps(text))
    file.chmod(mode)


def look(root):
    return cdi_state.cdi(Host(str(root)))


def problems(root):
    return [item["problem"] for item in look(root)["problems"]]


def spec(**changes):
    return {**copy.deepcopy(OWN), **changes}


# ---------------------------------------------------------------- a node as it should be


def test_what_a_real_nvidia_ctk_wrote_on_a_real_h200_is_read_whole(tmp_path):
    put(tmp_path, "/etc/cdi/nvidia.yaml", (DATA / "nvidia-ctk-h200-580.159.04.yaml").read_text())

    told = cdi_state.cdi(Host(str(tmp_path)))

    assert [device["name"] for device in told["devices"]] == [
        "nvidia.com/gpu=0",
        "nvidia.com/gpu=GPU-5f2c1b7e-90d4-4c3a-8b6e-2d7f10a9c4e1",
        "nvidia.com/gpu=all",
    ]
    assert {problem["problem"] for problem in told["problems"]} == {
        "dangling-library",
        "dangling-hook",
        "dangling-device-node",
    }


def test_a_spec_that_fits_the_node_has_no_problems(root):
    put(root, "/var/run/cdi/nvidia.yaml", NVIDIA)

    found = look(root)

    assert found["problems"] == []
    assert [device["name"] for device in found["devices"]] == [
        "nvidia.com/gpu=0",
        "nvidia.com/gpu=GPU-4f7f9d4e-29f4-6ac4-6a0c-41a6ee0a4c17",
        "nvidia.com/gpu=all",
    ]
    assert found["devices"][0]["device_nodes"] == ["/dev/nvidia0", "/dev/dri/renderD128"]
    assert found["specs"][0]["by_nvidia"] is True
    assert found["specs"][0]["driver_versions"] == [DRIVER]
    assert found["specs"][0]["libraries"] == 4


def test_a_node_without_specs_has_neither_devices_nor_problems(tmp_path):
    found = look(tmp_path)

    assert (found["specs"], found["devices"], found["problems"]) == ([], [], [])


def test_devices_are_listed_in_the_order_people_count(root):
    devices = [{"name": str(number), "containerEdits": {"env": ["A=b"]}} for number in (10, 2, 0)]
    put(root, "/etc/cdi/own.json", spec(devices=devices))

    found = [device["name"] for device in look(root)["devices"]]

    assert found == ["example.org/fpga=0", "example.org/fpga=2", "example.org/fpga=10"]


def test_only_json_and_yaml_files_of_the_folder_itself_are_specs(root):
    put(root, "/etc/cdi/nvidia.yaml.gpunode-disabled", NVIDIA)
    put(root, "/etc/cdi/notes.txt", "hello")
    put(root, "/etc/cdi/below/nvidia.yaml", NVIDIA)

    assert look(root)["specs"] == []


def test_a_folder_reached_by_two_names_is_read_once(root):
    put(root, "/run/cdi/nvidia.yaml", NVIDIA)
    (root / "var").mkdir(exist_ok=True)
    (root / "var/run").symlink_to(root / "run")

    found = cdi.inspect(Host(str(root)), ["/etc/cdi", "/run/cdi", "/var/run/cdi"])

    assert len(found["specs"]) == 1
    assert found["problems"] == []


# ---------------------------------------------------------------- what the node does not have


def test_a_device_node_that_is_gone_is_told_with_its_line(root):
    put(root, "/var/run/cdi/nvidia.yaml", NVIDIA)
    (root / "dev/nvidia0").unlink()

    (problem,) = look(root)["problems"]

    assert problem["problem"] == "dangling-device-node"
    assert problem["subject"] == "/dev/nvidia0"
    assert NVIDIA.splitlines()[problem["line"] - 1].strip() == "- path: /dev/nvidia0"


def test_a_plain_file_is_no_device_node(root):
    put(root, "/var/run/cdi/nvidia.yaml", NVIDIA)
    (root / "dev/nvidia0").unlink()
    (root / "dev/nvidia0").write_text("")

    assert problems(root) == ["dangling-device-node"]


def test_a_device_node_with_other_numbers_than_promised_is_told(root):
    nodes = [{"path": "/dev/nvidia-uvm", "major": 511, "minor": 0}]
    put(root, "/etc/cdi/own.json", spec(containerEdits={"deviceNodes": nodes}))

    (problem,) = look(root)["problems"]

    assert problem["problem"] == "stale-device-node"
    assert "511:0" in problem["cause"]
    assert "1:3" in problem["cause"]  # /dev/null


@pytest.mark.parametrize(
    ("gone", "problem"),
    [
        ("/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05", "dangling-library"),
        ("/usr/bin/nvidia-smi", "dangling-library"),
        ("/usr/bin/nvidia-cdi-hook", "dangling-hook"),
    ],
)
def test_a_file_that_is_gone_is_told_once(root, gone, problem):
    put(root, "/var/run/cdi/nvidia.yaml", NVIDIA)
    (root / gone[1:]).unlink()

    found = look(root)["problems"]

    assert [(item["problem"], item["subject"]) for item in found] == [(problem, gone)]


def test_a_hook_that_cannot_be_executed_is_told(root):
    put(root, "/var/run/cdi/nvidia.yaml", NVIDIA)
    (root / "usr/bin/nvidia-cdi-hook").chmod(0o644)

    assert problems(root) == ["dangling-hook"]


def test_a_spec_written_for_another_driver_is_stale(root):
    put(root, "/var/run/cdi/nvidia.yaml", NVIDIA)
    put(root, "/sys/module/nvidia/version", "580.105.08\n")

    (problem,) = look(root)["problems"]

    assert problem["problem"] == "stale-driver"
    assert "580.95.05" in problem["cause"]
    assert "580.105.08" in problem["cause"]


def test_the_loaded_driver_is_also_read_from_proc(root):
    (root / "sys/module/nvidia/version").unlink()
    put(
        root,
        "/proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build\nGCC version: 14.2.0\n",
    )

    assert look(root)["driver_version"] == "580.159.04"


# ---------------------------------------------------------------- two files, one device


def test_two_files_of_one_folder_that_define_a_device_lose_it_both(root):
    put(root, "/etc/cdi/a.json", OWN)
    put(root, "/etc/cdi/b.json", OWN)

    found = look(root)

    assert found["devices"] == []
    assert [item["problem"] for item in found["problems"]] == ["conflict", "conflict"]


def test_the_later_folder_wins_and_hides_the_earlier(root):
    put(root, "/etc/cdi/nvidia.yaml", NVIDIA.replace("580.95.05", "575.57.08"))
    put(root, "/var/run/cdi/nvidia.yaml", NVIDIA)

    found = look(root)

    assert {device["spec"] for device in found["devices"]} == {"/var/run/cdi/nvidia.yaml"}
    shadowed = [item for item in found["problems"] if item["problem"] == "shadowed"]
    assert [item["spec"] for item in shadowed] == ["/etc/cdi/nvidia.yaml"]


def test_a_conflict_above_does_not_bring_back_the_device_below(root):
    put(root, "/etc/cdi/low.json", OWN)
    put(root, "/var/run/cdi/a.json", OWN)
    put(root, "/var/run/cdi/b.json", OWN)

    found = look(root)

    assert found["devices"] == []
    assert sorted({item["problem"] for item in found["problems"]}) == ["conflict", "shadowed"]


def test_a_file_that_a_runtime_refuses_contends_for_nothing(root):
    put(root, "/etc/cdi/a.json", OWN)
    put(root, "/etc/cdi/b.json", spec(cdiVersion="9.9.9"))

    found = look(root)

    assert [device["spec"] for device in found["devices"]] == ["/etc/cdi/a.json"]
    assert problems(root) == ["version"]


# ---------------------------------------------------------------- files that cannot be read


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("x.json", '{\n  "cdiVersion": "0.5.0",\n  oops\n}', 3),
        ("x.yaml", "cdiVersion: 0.5.0\nkind: [\n", None),
        ("x.yaml", "just text", 1),
        ("x.json", "[]", 1),
        ("x.yaml", "", None),
    ],
)
def test_text_that_is_no_spec_is_told_with_its_line(root, name, text, line):
    put(root, f"/etc/cdi/{name}", text)

    (problem,) = look(root)["problems"]

    assert problem["problem"] in ("unparsable", "unreadable")
    assert line is None or problem["line"] == line
    assert f"/etc/cdi/{name}" in problem["cause"]


def test_a_link_to_nowhere_names_its_target(root):
    (root / "etc/cdi").mkdir(parents=True)
    (root / "etc/cdi/nvidia.yaml").symlink_to("/nowhere/nvidia.yaml")

    (problem,) = look(root)["problems"]

    assert problem["problem"] == "unreadable"
    assert "/nowhere/nvidia.yaml" in problem["cause"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o664])
def test_a_mode_other_than_readable_by_all_and_writable_by_the_owner_is_told(root, mode):
    put(root, "/etc/cdi/own.json", OWN, mode)

    assert problems(root) == ["mode"]


# ---------------------------------------------------------------- validation


def test_a_minimal_spec_is_valid():
    assert cdi.validate(OWN) == []


def test_what_nvidia_ctk_writes_is_valid():
    assert cdi.validate(cdi.parse(NVIDIA)) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"cdiVersion": None}, "cdiVersion is missing"),
        ({"cdiVersion": "2.0.0"}, "unknown"),
        ({"cdiVersion": "0.4.0"}, "0.5.0"),
        ({"kind": ""}, "kind is missing"),
        ({"kind": "gpu"}, "vendor/class"),
        ({"kind": "9vendor/gpu"}, "begin with a letter"),
        ({"kind": "example.org/gpu-"}, "end with a letter or digit"),
        ({"kind": "exa mple/gpu"}, "hold only"),
        ({"devices": []}, "no devices"),
        ({"devices": "all"}, "no devices"),
        ({"devices": [{"name": "a b", "containerEdits": {"env": ["A=b"]}}]}, "a b"),
        ({"devices": [{"name": 0, "containerEdits": {"env": ["A=b"]}}]}, "quotes"),
        ({"devices": [{"name": "0"}]}, "inject nothing"),
        ({"devices": OWN["devices"] * 2}, "two devices"),
        ({"devices": ["0"]}, "no mapping"),
        ({"containerEdits": []}, "containerEdits is no mapping"),
        ({"containerEdits": {"env": ["=x"]}}, "NAME=value"),
        ({"containerEdits": {"mounts": [{"hostPath": "/a"}]}}, "containerPath"),
        ({"containerEdits": {"hooks": [{"hookName": "createdContainer", "path": "/a"}]}}, "createdContainer"),
        ({"containerEdits": {"hooks": [{"hookName": "createContainer"}]}}, "path"),
        ({"containerEdits": {"deviceNodes": [{"path": "/dev/a", "permissions": "rwx"}]}}, "rwx"),
        ({"containerEdits": {"deviceNodes": [{"path": "/dev/a", "type": "d"}]}}, "'d'"),
        ({"containerEdits": {"deviceNodes": "/dev/a"}}, "no list"),
        ({"containerEdits": {"devicenodes": []}}, "unknown field 'devicenodes'"),
        ({"cdiVersoin": "0.5.0"}, "unknown field 'cdiVersoin'"),
    ],
)
def test_what_a_runtime_would_refuse_is_told(changes, word):
    given_spec = {key: value for key, value in spec(**changes).items() if value is not None}

    faults = cdi.validate(given_spec)

    assert any(word in fault for fault in faults), faults


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ({}, "0.3.0"),
        ({"containerEdits": {"mounts": [{"hostPath": "/a", "containerPath": "/a", "type": "bind"}]}}, "0.4.0"),
        ({"containerEdits": {"deviceNodes": [{"path": "/dev/a", "hostPath": "/root/dev/a"}]}}, "0.5.0"),
        ({"annotations": {"a": "b"}}, "0.6.0"),
        ({"kind": "example.org/fpga.v2"}, "0.6.0"),
        ({"containerEdits": {"additionalGids": [44]}}, "0.7.0"),
        ({"containerEdits": {"intelRdt": {"closID": "a"}}}, "0.7.0"),
        ({"containerEdits": {"intelRdt": {"enableMonitoring": True}}}, "1.1.0"),
        ({"containerEdits": {"netDevices": [{"hostInterfaceName": "a", "name": "b"}]}}, "1.1.0"),
    ],
)
def test_the_lowest_version_follows_from_the_fields_used(changes, version):
    devices = [{"name": "a", "containerEdits": {"env": ["A=b"]}}]

    assert cdi.minimum_version(spec(devices=devices, **changes)) == version


@pytest.mark.parametrize(
    ("version", "runtime", "has", "first"),
    [
        ("0.7.0", "containerd", "1.7.12", "1.7.16"),
        ("0.7.0", "containerd", "2.3.4", None),
        ("1.1.0", "crio", "1.29.4", "1.30.0"),
        ("0.6.0", "containerd", "1.7.12", None),
        ("0.7.0", "containerd", None, None),
        ("0.7.0", "runc", "1.0", None),
        ("0.7.0", "containerd", "1.6.20~ds1", None),
    ],
)
def test_a_runtime_too_old_for_a_spec_is_told_its_first_fit_release(version, runtime, has, first):
    assert cdi.refused_by(version, runtime, has) == first


# ---------------------------------------------------------------- whose spec, and is it the same


def test_a_users_own_spec_is_not_taken_for_nvidias():
    own = cdi.parse(NVIDIA)
    own["containerEdits"]["hooks"].append({"hookName": "createContainer", "path": "/opt/site/hook"})

    assert not cdi.generated_by_nvidia(own)
    assert not cdi.generated_by_nvidia(OWN)


def test_the_device_plugins_own_spec_is_not_taken_for_nvidia_ctks():
    plugin = {**cdi.parse(NVIDIA), "kind": "k8s.device-plugin.nvidia.com/gpu"}

    assert not cdi.generated_by_nvidia(plugin)


def test_order_and_format_make_no_difference():
    one = cdi.parse(NVIDIA)
    other = json.loads(json.dumps(one, sort_keys=True))
    other["devices"].reverse()
    other["containerEdits"]["mounts"].reverse()
    other["annotations"] = {}

    assert cdi.same(one, other)


def test_the_order_of_hooks_does():
    one, other = cdi.parse(NVIDIA), cdi.parse(NVIDIA)
    other["containerEdits"]["hooks"].reverse()

    assert not cdi.same(one, other)


def test_another_device_does():
    one, other = cdi.parse(NVIDIA), cdi.parse(NVIDIA)
    other["devices"].pop()

    assert not cdi.same(one, other)


# ---------------------------------------------------------------- generating


def test_the_defaults_need_no_arguments():
    assert cdi.generate_arguments({"mode": "auto", "driver_root": None, "feature_flags": []}) == []


def test_every_option_becomes_its_argument():
    arguments = cdi.generate_arguments(
        {
            "mode": "nvml",
            "driver_root": "/run/nvidia/driver",
            "dev_root": "/",
            "hook_path": "/usr/local/bin/nvidia-cdi-hook",
            "ldconfig_path": "/sbin/ldconfig",
            "device_name_strategies": ["index", "uuid"],
            "feature_flags": ["no-additional-gids-for-device-nodes"],
            "disabled_hooks": ["enable-cuda-compat"],
        }
    )

    assert arguments == [
        "--mode=nvml",
        "--driver-root=/run/nvidia/driver",
        "--dev-root=/",
        "--nvidia-cdi-hook-path=/usr/local/bin/nvidia-cdi-hook",
        "--ldconfig-path=/sbin/ldconfig",
        "--device-name-strategy=index",
        "--device-name-strategy=uuid",
        "--feature-flag=no-additional-gids-for-device-nodes",
        "--disable-hook=enable-cuda-compat",
    ]


# ---------------------------------------------------------------- properties

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
NAMES = sorted(set().union(*cdi._FIELDS.values()))
SPECS = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)


@given(st.text())
def test_no_text_makes_the_parser_raise_anything_but_its_own_error(text):
    for name in ("x.json", "x.yaml"):
        with contextlib.suppress(cdi.CdiError):
            assert isinstance(cdi.parse(text, name), dict)


@given(st.dictionaries(st.sampled_from(NAMES), SPECS, max_size=5))
def test_no_spec_makes_looking_at_it_raise(value):
    file = cdi.SpecFile("/etc/cdi/x.json", 0, text=json.dumps(value), data=value, invalid=tuple(cdi.validate(value)))

    cdi.references(value)
    cdi.driver_versions(value)
    cdi.generated_by_nvidia(value)
    cdi.resolve([file, file])

    assert cdi.same(value, json.loads(json.dumps(value)))


def test_a_device_whose_name_is_a_list_is_a_fault_and_no_traceback():
    faults = cdi.validate({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [{"name": []}, {"name": []}]})

    assert "two devices are named []" in faults


def test_a_spec_nested_beyond_reason_is_refused():
    with pytest.raises(cdi.CdiError):
        cdi.parse('{"a":' + "[" * 100_000, "x.json")


def test_the_node_that_runs_the_tests_can_be_looked_at():
    found = cdi.inspect(Host())

    assert set(found) == {"spec_dirs", "driver_version", "specs", "devices", "problems"}


def test_reading_leaves_the_folder_as_it_was(root):
    put(root, "/etc/cdi/own.json", OWN)
    before = sorted(os.listdir(root / "etc/cdi"))

    look(root)

    assert sorted(os.listdir(root / "etc/cdi")) == before
