# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each system, source, branch and flavour is asked for the packages that upstream has for it, from the right place."""

from __future__ import annotations

import itertools
from functools import lru_cache
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpunode.ready.plugins.module_utils.nvidia_repository import FOLDERS
from ansible_collections.gpunode.ready.plugins.module_utils.package_managers import Request
from ansible_collections.gpunode.ready.plugins.module_utils.package_set import check
from ansible_collections.gpunode.ready.plugins.module_utils.packages import Pin, Wanted
from ansible_collections.gpunode.ready.plugins.module_utils.preflight import RELEASES
from rendering import MISSING, Case, render

GOLDEN = yaml.safe_load((Path(__file__).parent / "data/packages/golden.yml").read_text())
SYSTEMS = GOLDEN["systems"]
FLAVOURS = ("open", "proprietary")
KIN = (
    "almalinux-9",
    "rocky-8",
    "centos-10",
    "ol-9",
)  # of RHEL, by whose variables they go: the default branch is enough
CELLS = [
    cell
    for cell in itertools.product(SYSTEMS, ("nvidia", "distribution"), GOLDEN["branches"], FLAVOURS)
    if cell[0] not in KIN or cell[2] == "580"
]


def facts(system: str, installed: dict | None = None, **os) -> dict:
    return {
        "os": {"architecture": "x86_64", "id_like": [], "name": system, **SYSTEMS[system], **os},
        "gpus": {"devices": [{"device_id": "2330"}], "nvswitches": [{}], "flavour": {"value": "open"}},
        "driver": {"loaded": None, "installed_module": None},
        "packages": {"installed": installed or {}},
        "cgroups": {"value": "systemd"},
    }


# ---- what is rendered ---------------------------------------------------------------------------------------------

PACKAGES = ("__nvidia_driver_packages", "__nvidia_driver_set.absent", "__nvidia_driver_streams")
PATTERNS = ("__nvidia_driver_hold_also", "__nvidia_driver_pins")
VERSIONS = ("__nvidia_driver_settled", "__nvidia_driver_base_packages", "__nvidia_driver_companions")
ORIGIN = ("__nvidia_driver_from_nvidia", "__nvidia_driver_cuda", "__nvidia_driver_repository")


def driver(node: dict, show: tuple, source="nvidia", branch="580", flavour="open", **options) -> Case:
    chosen = {"source": source, "branch": branch, "flavour": flavour, **options}
    return Case("nvidia_driver", node, show, {f"nvidia_driver_{name}": value for name, value in chosen.items()})


def other(role: str, system: str, source: str) -> Case:
    upstream = f"__{role}_has_upstream" if role == "nvidia_container_toolkit" else f"__{role}_from_upstream"
    shown = (
        (f"__{role}_packages", upstream, f"__{role}_repository")
        if SYSTEMS[system]["id"] != "arch"
        else (
            f"__{role}_packages",
            upstream,
        )
    )
    return Case(role, facts(system), shown, {f"{role}_source": source} if source else {})


OTHERS = [(row, system, source) for row in GOLDEN["others"] for system in row["systems"] for source in row["sources"]]
ALONE = {
    "mint": driver(facts("debian-12", id="linuxmint", id_like=["ubuntu", "debian"], version="22"), ORIGIN[:2]),
    "installed": driver(
        facts("ubuntu-24.04", {"nvidia-dkms-580-open": {"version": "580.126.20-1ubuntu1"}}), (*PACKAGES, *VERSIONS)
    ),
    "bare": driver(facts("ubuntu-24.04"), VERSIONS),
    "exact": driver(facts("rhel-9"), (*PACKAGES, *VERSIONS), version="580.159.04"),
    "signed": driver(
        facts("ubuntu-24.04", {"nvidia-kernel-common-580-server": {"version": "580.173.02-0ubuntu0.24.04.1"}}),
        PACKAGES,
        "distribution",
    ),
}


@lru_cache
def rendered() -> dict:
    if MISSING:
        pytest.skip(MISSING)
    cases = {cell: driver(facts(cell[0]), PACKAGES, *cell[1:]) for cell in CELLS}
    for name in SYSTEMS:
        cases["x86_64", name] = driver(facts(name), (*PATTERNS, *ORIGIN))
        cases["sbsa", name] = driver(facts(name, architecture="aarch64"), ORIGIN)
    cases.update({(row["role"], system, source): other(row["role"], system, source) for row, system, source in OTHERS})
    return render({**cases, **ALONE})


def told(packages: list[dict]) -> list[str]:
    return [f"{item['name']}={item['version']}" if item.get("version") else item["name"] for item in packages]


def row_of(system: str, source: str, branch: str, flavour: str) -> dict:
    rows = [
        row
        for row in GOLDEN["nvidia_driver"]
        if system in row["systems"]
        and (row["source"], row["flavour"]) == (source, flavour)
        and branch in row["branches"]
    ]
    assert len(rows) == 1, "each cell stands in the table exactly once"
    return rows[0]


def filled(text: str, system: str, branch: str) -> str:
    kernel = SYSTEMS[system]["kernel"]
    return (
        text.replace("{kernel-release}", kernel.removesuffix(".x86_64"))
        .replace("{kernel}", kernel)
        .replace("{branch}", branch)
        .replace("@", f"={branch}.*" if branch else "")
    )


# ---- the driver ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("system", "source", "branch", "flavour"), CELLS)
def test_the_driver_is_asked_for_by_the_names_it_has_there(system, source, branch, flavour):
    row = row_of(system, source, branch, flavour)

    role = rendered()[(system, source, branch, flavour)]

    wanted = [filled(item, system, branch) for item in row["packages"]]
    assert sorted(told(role["__nvidia_driver_packages"])) == sorted(wanted)
    assert role["__nvidia_driver_set.absent"] == row["absent"]
    assert role["__nvidia_driver_streams"] == [filled(item, system, branch) for item in row.get("streams", [])]


@pytest.mark.parametrize("folder", ["x86_64", "sbsa"])
@pytest.mark.parametrize("system", GOLDEN["nvidia_driver_repositories"])
def test_the_driver_comes_from_the_folder_of_its_system_signed_with_its_key(system, folder):
    row = GOLDEN["nvidia_driver_repositories"][system]

    role = rendered()[folder, system]

    base = f"https://developer.download.nvidia.com/compute/cuda/repos/{row['folder']}/{folder}/"
    repository = role["__nvidia_driver_repository"]
    assert repository["url"] == base
    assert repository["key_url"] == f"{base}{row['key']}.pub"
    assert repository["key_fingerprints"] == ([row["fingerprint"]] if row["fingerprint"] else [])


@pytest.mark.parametrize("system", ["arch", "arch-lts"])
def test_arch_has_no_repository_of_nvidias(system):
    assert rendered()["x86_64", system]["__nvidia_driver_from_nvidia"] is False


def test_a_system_that_is_not_in_the_table_has_no_folder():
    assert rendered()["mint"]["__nvidia_driver_cuda"] == {"folder": "", "key": "", "fingerprints": []}


def test_every_folder_belongs_to_a_system_of_the_table():
    assert {row["folder"] for row in GOLDEN["nvidia_driver_repositories"].values()} == set(FOLDERS)


def test_every_release_that_preflight_lets_pass_is_in_the_table():
    listed = {(system["id"], system["version"].split(".")[0]) for system in SYSTEMS.values()}
    wanted = {(name, version.split(".")[0]) for name, versions in RELEASES.items() for version in versions or ("",)}
    kin = {"almalinux", "rocky", "centos", "ol"}  # one release of each is enough: their majors are RHEL's

    assert {item for item in wanted - listed if item[0] not in kin and item[0] != "fedora"} == set()
    assert kin <= {name for name, _version in listed}


@pytest.mark.parametrize("system", SYSTEMS)
def test_nothing_that_is_asked_for_would_be_refused_by_package_set(system):
    patterns = rendered()["x86_64", system]

    for cell in CELLS:
        if cell[0] == system:
            role = rendered()[cell]
            check(
                Request(
                    name="NVIDIA driver",
                    wanted=tuple(Wanted(item["name"], item.get("version", "")) for item in role[PACKAGES[0]]),
                    hold_also=tuple(patterns["__nvidia_driver_hold_also"]),
                    absent=tuple(role["__nvidia_driver_set.absent"]),
                    streams=tuple(role["__nvidia_driver_streams"]),
                    pins=tuple(Pin(tuple(pin["packages"]), pin["version"]) for pin in patterns["__nvidia_driver_pins"]),
                )
            )


# ---- its version --------------------------------------------------------------------------------------------------


def test_fabric_manager_is_of_exactly_the_version_that_is_installed():
    role = rendered()["installed"]

    assert role["__nvidia_driver_settled"] is True
    assert "nvidia-fabricmanager=580.126.20" in told(role["__nvidia_driver_packages"])


def test_before_anything_is_installed_the_version_is_open_and_fabric_manager_waits():
    role = rendered()["bare"]

    assert role["__nvidia_driver_settled"] is False
    assert role["__nvidia_driver_companions"] == ["nvidia-fabricmanager"]
    assert "nvidia-fabricmanager" not in " ".join(told(role["__nvidia_driver_base_packages"]))


def test_an_exact_version_settles_it():
    role = rendered()["exact"]

    assert role["__nvidia_driver_settled"] is True
    assert "nvidia-fabricmanager=580.159.04" in told(role["__nvidia_driver_packages"])


def test_signed_modules_of_ubuntu_do_not_carry_the_drivers_version():
    role = rendered()["signed"]

    assert told(role["__nvidia_driver_packages"])[:2] == [
        "linux-modules-nvidia-580-server-open-6.8.0-60-generic",
        "nvidia-kernel-common-580-server=580.173.02",
    ]


# ---- the runtimes and the toolkit ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "system", "source"), OTHERS, ids=[f"{row['role']}-{system}-{source}" for row, system, source in OTHERS]
)
def test_runtimes_and_toolkit_are_asked_for_by_the_names_they_have_there(row, system, source):
    name = row["role"]
    role = rendered()[(name, system, source)]
    repository = role.get(f"__{name}_repository")
    from_upstream = role.get(f"__{name}_from_upstream", role.get(f"__{name}_has_upstream"))

    assert told(role[f"__{name}_packages"]) == row["packages"]
    if from_upstream:
        assert (repository["url"], repository["key_url"]) == (row["url"], row["key"])
        assert repository["key_fingerprints"] == row["fingerprints"]
    else:
        # Red Hat's own are Docker's, whose repository the site has set up
        assert row["url"] is None or source == "distribution"


def test_every_system_and_source_stands_in_the_table_once():
    sources = {"nvidia_container_toolkit": [""]}
    wanted = [
        (name, system, source)
        for name in ("crio", "containerd", "docker", "nvidia_container_toolkit")
        for system in SYSTEMS
        for source in sources.get(name, ["upstream", "distribution"])
    ]

    assert sorted((row["role"], system, source) for row, system, source in OTHERS) == sorted(wanted)


def test_dockers_suite_is_the_release_for_apt():
    assert rendered()[("containerd", "debian-13", "upstream")]["__containerd_repository"]["suites"] == ["trixie"]
