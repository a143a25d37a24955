# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import preflight
from hypothesis import given
from hypothesis import strategies as st

FIT = {
    "boot": {"id": "b1", "time_utc": "2026-11-21T09:00:00Z"},
    "os": {
        "id": "debian",
        "family": "debian",
        "name": "Debian GNU/Linux 12 (bookworm)",
        "version": "12",
        "kernel": "6.1.0-40-amd64",
        "architecture": "x86_64",
        "secure_boot": "disabled",
        "container": False,
        "hostname": "gpu-1",
        "python": "3.11.2",
        "package_manager": "apt",
    },
    "kernel": {
        "headers": {"path": "/lib/modules/6.1.0-40-amd64/build", "present": True},
        "releases": ["6.1.0-40-amd64"],
    },
    "gpus": {
        "devices": [{"address": "0000:3b:00.0", "device_id": "2335", "name": "H200", "architecture": "hopper"}],
        "flavour": {"value": "open", "required": False, "conflict": False, "why": ""},
        "oldest_branch": 525,
        "newest_branch": None,
    },
    "driver": {"loaded": None, "installed_module": None, "nouveau": {"loaded": False}},
    "filesystems": [{"mount": "/", "device": "/dev/vda1", "total_bytes": 64 << 30, "free_bytes": 40 << 30}],
    "packages": {"installed": {}},
    "cgroups": {"hierarchy": "v2"},
}
CHOICES = {
    "driver_branch": "580",
    "runtime": "crio",
    "kubernetes": "kubeadm",
    "kubernetes_version": "1.36",
    "crio_version": "1.36.3",
    "now": "2026-11-21T09:05:00Z",
}
VOLTA = {
    "devices": [{"address": "0000:3b:00.0", "device_id": "1db6", "name": "Tesla V100", "architecture": "volta"}],
    "flavour": {"value": "proprietary", "required": True, "conflict": False, "why": ""},
    "oldest_branch": 384,
    "newest_branch": 580,
}

UBUNTU = {"os__id": "ubuntu", "os__version": "24.04", "os__name": "Ubuntu 24.04.3 LTS"}
RHEL_10 = {"os__id": "rocky", "os__version": "10.0", "os__family": "redhat", "os__package_manager": "dnf"}
CONTAINERD = {"containerd": {"version": "1.6.20~ds1-1+b1"}, "runc": {"version": "1.1.5+ds1-1"}}
DOCKERS = {"docker-ce": {"version": "5:29.1.2-1"}, "containerd.io": {"version": "2.2.0-1"}}


def facts(**changes):
    """Facts of a fit node; ``os__version="9"`` changes ``os.version``, ``gpus=...`` a whole part."""
    made = copy.deepcopy(FIT)
    for path, value in changes.items():
        *folders, name = path.split("__")
        here = made
        for folder in folders:
            here = here[folder]
        here[name] = value
    return made


def reasons(given_facts, **choices):
    return [item["id"] for item in preflight.problems(given_facts, {**CHOICES, **choices})]


def test_a_fit_node_has_no_reason_against_it():
    assert reasons(FIT) == []


@pytest.mark.parametrize(
    ("changes", "choices", "expected"),
    [
        ({"os__version": "9"}, {}, "release-unsupported"),
        ({"os__id": "gentoo", "os__name": "Gentoo"}, {}, "system-unsupported"),
        ({"os__architecture": "ppc64le"}, {}, "architecture-unsupported"),
        ({"os__python": "3.8.10"}, {}, "python-too-old"),
        ({"os": {"unavailable": "OSError"}}, {}, "node-unknown"),
        ({"os__container": True}, {}, "container-not-node"),
        ({"gpus__devices": []}, {}, "gpu-missing"),
        ({"gpus": VOLTA}, {"driver_branch": "595"}, "branch-too-new"),
        ({"gpus": VOLTA}, {"driver_flavour": "open"}, "flavour-unfit"),
        ({"gpus__oldest_branch": 590}, {}, "branch-too-old"),
        ({"gpus__flavour__conflict": True}, {}, "gpus-conflict"),
        ({}, {"driver_flavour": "proprietary", "driver_branch": "620"}, "flavour-gone"),
        ({}, {"driver": "preinstalled"}, "driver-not-preinstalled"),
        ({"os__secure_boot": "enabled"}, {}, "secure-boot-unsigned"),
        ({"os__secure_boot": "enabled"}, {"driver_source": "distribution"}, "secure-boot-unsigned"),
        ({"os__secure_boot": "enabled", **UBUNTU}, {}, "secure-boot-unsigned"),
        ({"os__version": "11"}, {"unsupported_systems": "allowed"}, "driver-repository-unknown"),
        ({"os__id": "fedora", "os__version": "45", "os__family": "fedora"}, {}, "driver-repository-unknown"),
        (
            {"os__id": "linuxmint", "os__id_like": ["ubuntu", "debian"], "os__version": "22"},
            {"driver_repository_url": "https://m.example.org/u/"},
            "driver-repository-unknown",
        ),
        (RHEL_10, {}, "driver-key-unpublished"),
        ({"packages__installed": CONTAINERD}, {"runtime": "containerd"}, "other-runtime-installed"),
        ({"packages__installed": CONTAINERD}, {"runtime": "docker"}, "other-runtime-installed"),
        ({"packages__installed": {"runc": {}}}, {"runtime": "containerd"}, "other-runtime-installed"),
        (
            {"packages__installed": DOCKERS},
            {"runtime": "containerd", "runtime_source": "distribution"},
            "other-runtime-installed",
        ),
        ({"driver__nouveau__loaded": True}, {"reboot": "refused"}, "nouveau-loaded"),
        ({"filesystems": [{"mount": "/", "free_bytes": 100 << 20}]}, {}, "disk-too-small"),
        ({"cgroups__hierarchy": "v1"}, {}, "cgroup-v1"),
        ({}, {"crio_version": "1.35.6"}, "crio-kubernetes-apart"),
        ({}, {"now": "2026-11-22T09:00:00Z"}, "clock-off"),
        ({"os__hostname": "gpu_1"}, {}, "hostname-unfit"),
        ({"os__hostname": "localhost.localdomain"}, {}, "hostname-unfit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_succeed_is_refused(changes, choices, expected):
    assert expected in reasons(facts(**changes), **choices)


@pytest.mark.parametrize(
    ("changes", "choices"),
    [
        ({"os__id": "almalinux", "os__version": "9.6", "os__family": "redhat"}, {}),
        (
            {"os__id": "linuxmint", "os__id_like": ["ubuntu", "debian"], "os__version": "22"},
            {
                "driver_repository_url": "https://m.example.org/u/",
                "driver_repository_key_url": "https://m.example.org/k",
            },
        ),
        ({"os__id": "linuxmint", "os__id_like": ["ubuntu", "debian"], "os__version": "22"}, {"driver": "none"}),
        ({"os__id": "ubuntu", "os__version": "24.04"}, {}),
        ({"os__id": "ubuntu", "os__version": "26.04"}, {}),
        ({"os__id": "fedora", "os__version": "44", "os__family": "fedora"}, {}),
        (RHEL_10, {"driver_repository_key_fingerprints": ["AB" * 20]}),
        (RHEL_10, {"driver_repository_key_url": "https://m.example.org/CDF6BA43.pub"}),
        (RHEL_10, {"driver": "preinstalled", "gpu": False}),
        ({"os__id": "arch", "os__version": "", "os__family": "arch"}, {}),
        ({"os__version": "11"}, {"unsupported_systems": "allowed", "driver_source": "distribution"}),
        ({"gpus__devices": []}, {"gpu": "no"}),
        ({"gpus": VOLTA}, {}),
        ({"gpus": VOLTA}, {"driver": "none", "driver_branch": "595"}),
        ({"os__secure_boot": "enabled"}, {"secure_boot": "prepared"}),
        ({"os__secure_boot": "enabled", **UBUNTU}, {"driver_source": "distribution"}),
        ({"packages__installed": CONTAINERD}, {"runtime": "containerd", "runtime_source": "distribution"}),
        ({"packages__installed": CONTAINERD}, {"runtime": "crio"}),
        ({"packages__installed": CONTAINERD}, {"runtime": "containerd", "kubernetes": "k3s"}),
        ({"packages__installed": DOCKERS}, {"runtime": "containerd"}),
        ({"packages__installed": DOCKERS}, {"runtime": "docker"}),
        ({"os__secure_boot": "enabled", "driver__installed_module": {"version": "580.95.05", "signed": True}}, {}),
        ({"os__secure_boot": "enabled", "driver__loaded": {"version": "580.95.05"}}, {}),
        ({"driver__nouveau__loaded": True}, {}),
        ({"cgroups__hierarchy": "v1"}, {"kubernetes_version": "1.34", "crio_version": "1.34"}),
        ({"cgroups__hierarchy": "v1"}, {"kubernetes": "none"}),
        ({}, {"runtime": "containerd", "crio_version": "1.30"}),
        ({}, {"driver_version": "580.95.05"}),
        ({"boot": {}}, {}),
        ({"gpus": {"unavailable": "OSError"}}, {}),
        ({"os__hostname": "gpu_1"}, {"kubernetes": "none"}),
    ],
)
def test_what_may_succeed_is_not(changes, choices):
    assert reasons(facts(**changes), **choices) == []


def test_a_node_that_has_everything_needs_only_the_spare():
    installed = {"nvidia-driver": {}, "cri-o": {}, "nvidia-container-toolkit": {}}
    node = facts(
        packages={"installed": installed},
        driver__loaded={"version": "580.95.05"},
        filesystems=[{"mount": "/", "free_bytes": 600 << 20}],
    )

    assert reasons(node) == []
    assert reasons(node, disk_spare_mib=1024) == ["disk-too-small"]


def test_what_a_filesystem_of_its_own_must_hold_is_counted_there():
    systems = [
        {"mount": "/", "free_bytes": 40 << 30},
        {"mount": "/boot", "device": "/dev/vda2", "free_bytes": 20 << 20, "total_bytes": 512 << 20},
    ]

    (problem,) = preflight.problems(facts(filesystems=systems), CHOICES)

    assert problem["where"] == "/boot"
    assert "20.0 MiB are free on /boot" in problem["what"]
    assert "150.0 MiB" in problem["what"]


# ---------------------------------------------------------------- headers

OFFERED = """linux-headers-6.1.0-40-amd64:
  Installed: (none)
  Candidate: 6.1.153-1
  Version table:
     6.1.153-1 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
base-files:
  Installed: 12.4+deb12u12
  Candidate: 12.4+deb12u12
  Version table:
 *** 12.4+deb12u12 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
"""
GONE = OFFERED[OFFERED.index("base-files") :]
NO_LISTS = """base-files:
  Installed: 12.4+deb12u12
  Candidate: 12.4+deb12u12
  Version table:
 *** 12.4+deb12u12 100
        100 /var/lib/dpkg/status
"""
HEADERLESS = facts(kernel={"headers": {"path": "/lib/modules/x/build", "present": False}, "releases": []})


@pytest.mark.parametrize(("answer", "refused"), [(OFFERED, False), (GONE, True), (NO_LISTS, False), ("", False)])
def test_headers_are_refused_only_where_the_lists_are_there_and_lack_them(answer, refused):
    found = reasons(HEADERLESS, packages_answer={"rc": 0, "stdout": answer})

    assert ("headers-unavailable" in found) is refused


def test_the_question_is_asked_only_where_a_driver_is_to_be_built():
    assert preflight.packages_question(FIT, CHOICES) == []
    assert preflight.packages_question(HEADERLESS, CHOICES) == [
        "apt-cache",
        "policy",
        "linux-headers-6.1.0-40-amd64",
        "base-files",
    ]
    assert preflight.packages_question(HEADERLESS, {**CHOICES, "driver": "preinstalled"}) == []


def test_on_red_hat_dnf_is_asked():
    node = copy.deepcopy(HEADERLESS)
    node["os"].update(id="rocky", version="9.6", family="redhat", package_manager="dnf", kernel="5.14.0-570.el9.x86_64")
    answer = {"rc": 1, "stdout": "", "stderr": "Error: No matching Packages to list"}

    assert preflight.packages_question(node, CHOICES)[-2] == "kernel-devel-5.14.0-570.el9.x86_64"
    assert "headers-unavailable" in reasons(node, packages_answer=answer)
    assert "headers-unavailable" not in reasons(
        node, packages_answer={"rc": 1, "stderr": "Cache-only enabled but no cache"}
    )


# ---------------------------------------------------------------- what the distribution has

ROCKY = {
    "os__id": "rocky",
    "os__version": "9.6",
    "os__family": "redhat",
    "os__package_manager": "dnf",
    "os__kernel": "5.14.0-570.el9.x86_64",
}
LISTED = """Available Packages
kernel-devel.x86_64                      5.14.0-570.el9                      appstream
dkms.noarch                              3.2.2-1.el9                         epel
"""


def test_dkms_of_epel_is_asked_for_where_it_is_missing():
    assert preflight.packages_question(facts(**ROCKY), CHOICES)[-1] == "dkms"
    assert preflight.packages_question(facts(**ROCKY, packages={"installed": {"dkms": {}}}), CHOICES) == []
    assert preflight.packages_question(facts(**ROCKY), {**CHOICES, "driver_source": "distribution"}) == []


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ({"rc": 0, "stdout": LISTED}, []),
        ({"rc": 0, "stdout": LISTED.replace("dkms", "other")}, ["dkms-unavailable"]),
        ({"rc": 0, "stdout": LISTED.replace("5.14.0-570", "5.14.0-427")}, ["headers-unavailable"]),
        (
            {"rc": 1, "stdout": "", "stderr": "Error: No matching Packages to list"},
            ["headers-unavailable", "dkms-unavailable"],
        ),
        ({"rc": 1, "stdout": "", "stderr": "Error: Cache-only enabled but no cache for 'epel'"}, []),
        ({"rc": 127, "stdout": "", "stderr": "dnf: not found"}, []),
        ({}, []),
    ],
    ids=["both", "no dkms", "no headers", "neither", "no cache", "no dnf", "not asked"],
)
def test_what_dnf_answers_decides_about_headers_and_dkms(answer, refused):
    node = facts(**ROCKY, kernel={"headers": {"present": False}, "releases": []})

    assert reasons(node, packages_answer=answer) == refused


@pytest.mark.parametrize(
    ("system", "version", "said"),
    [
        ("rhel", "9.6", "epel-release-latest-9.noarch.rpm"),
        ("rocky", "8.10", "set-enabled powertools"),
        ("almalinux", "10.1", "dnf install epel-release; dnf config-manager --set-enabled crb"),
        ("ol", "9.5", "oracle-epel-release-el9"),
    ],
)
def test_the_mend_is_that_of_the_very_system(system, version, said):
    node = facts(**{**ROCKY, "os__id": system, "os__version": version})
    answer = {"rc": 1, "stderr": "Error: No matching Packages to list"}

    (problem,) = preflight.dkms_unavailable(node, {**CHOICES, "packages_answer": answer})

    assert said in problem["mend"]


def policy(package: str, candidate: str) -> dict:
    block = f"{package}:\n  Installed: (none)\n  Candidate: {candidate}\n  Version table:\n"
    return {"rc": 0, "stdout": block + GONE}


@pytest.mark.parametrize(
    ("answer", "choices", "refused"),
    [
        ({"rc": 0, "stdout": GONE}, {}, ["driver-unavailable"]),
        (policy("nvidia-open-kernel-dkms", "(none)"), {}, ["driver-unavailable"]),
        (policy("nvidia-open-kernel-dkms", "535.247.01-1~deb12u1"), {}, ["branch-unavailable"]),
        (policy("nvidia-open-kernel-dkms", "535.247.01-1~deb12u1"), {"driver_branch": "535"}, []),
        (policy("nvidia-open-kernel-dkms", "535.247.01-1~deb12u1"), {"driver_branch": ""}, []),
        ({"rc": 0, "stdout": NO_LISTS}, {}, []),
    ],
    ids=["main alone", "none", "another branch", "that branch", "any branch", "no lists"],
)
def test_debians_own_driver_must_be_there_and_of_the_branch(answer, choices, refused):
    chosen = {"driver_source": "distribution", **choices}

    assert preflight.packages_question(FIT, {**CHOICES, **chosen}) == [
        "apt-cache",
        "policy",
        "nvidia-open-kernel-dkms",
        "base-files",
    ]
    assert reasons(FIT, packages_answer=answer, **chosen) == refused


PACMAN = """Repository      : extra
Name            : nvidia-open-dkms
Version         : 620.44.01-2
Description     : NVIDIA open kernel modules - module sources
"""


@pytest.mark.parametrize(
    ("branch", "refused"), [("580", ["branch-unavailable"]), ("620", []), ("", [])], ids=["older", "newest", "any"]
)
def test_arch_has_the_newest_branch_alone(branch, refused):
    node = facts(os__id="arch", os__version="", os__family="arch", os__package_manager="pacman")
    answer = {"rc": 0, "stdout": PACMAN}

    assert preflight.packages_question(node, CHOICES) == ["pacman", "-Si", "nvidia-open-dkms"]
    assert reasons(node, driver_branch=branch, packages_answer=answer) == refused


def test_modules_that_the_distribution_signs_need_no_headers():
    node = facts(**UBUNTU, kernel={"headers": {"present": False}, "releases": []})

    assert preflight.packages_question(node, {**CHOICES, "driver_source": "distribution"}) == []
    assert preflight.packages_question(node, CHOICES)[2] == "linux-headers-6.1.0-40-amd64"


def test_secure_boot_names_the_variables_that_people_set():
    (problem,) = preflight.secure_boot(facts(os__secure_boot="enabled"), CHOICES)

    assert "nvidia_driver_secure_boot" in problem["mend"]
    assert "nvidia_driver_source: distribution" in problem["mend"]


@pytest.mark.parametrize(
    ("choices", "mend"),
    [
        ({"runtime": "containerd"}, "Set containerd_source to distribution to keep what is there."),
        ({"runtime": "docker"}, "apt-get remove containerd runc"),
    ],
)
def test_what_is_in_the_way_is_named_with_both_ways_out(choices, mend):
    (problem,) = preflight.other_runtime(facts(packages__installed=CONTAINERD), {**CHOICES, **choices})

    assert "containerd 1.6.20~ds1-1+b1, runc 1.1.5+ds1-1" in problem["what"]
    assert mend in problem["mend"]


# ---------------------------------------------------------------- several nodes


def test_one_machine_under_two_names_is_told_under_both():
    machine = {"boot_id": "b1", "machine_id": "m1", "hostname": "gpu"}

    found = preflight.twins({"a": machine, "b": machine, "c": {**machine, "boot_id": "b2", "hostname": "other"}})

    assert sorted(found) == ["a", "b"]
    assert [item["id"] for item in found["a"]] == ["one-machine-twice"]


def test_two_machines_with_one_host_name_are_told():
    found = preflight.twins({"a": {"boot_id": "1", "hostname": "GPU"}, "b": {"boot_id": "2", "hostname": "gpu"}})

    assert [item["id"] for item in found["b"]] == ["node-name-twice"]


def test_nodes_that_did_not_answer_are_no_twins():
    assert preflight.twins({"a": {}, "b": {}, "c": None}) == {}


# ---------------------------------------------------------------- words and properties


def test_the_report_counts_and_numbers():
    told = preflight.report([preflight.reason("x", "What.", "here", "Mend it.")] * 2, "gpu-1")

    assert told.splitlines()[0] == "2 reasons why this run cannot succeed on gpu-1. Nothing was changed."
    assert told.splitlines()[4:] == ["2. What.", "   where: here", "   mend: Mend it."]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PATHS = sorted({*FIT, *(f"{part}__{name}" for part, value in FIT.items() if isinstance(value, dict) for name in value)})


@given(st.sampled_from(PATHS), JSON, st.sampled_from(sorted(CHOICES)), JSON)
def test_no_facts_and_no_choices_make_it_raise(path, value, choice, chosen):
    node, choices = facts(**{path: value}), {**CHOICES, choice: chosen}

    for item in preflight.problems(node, choices):
        assert set(item) == {"id", "what", "where", "mend"}
    preflight.packages_question(node, choices)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_no_machines_make_comparing_them_raise(machines):
    preflight.twins(machines)
