# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import pci
from hypothesis import given
from hypothesis import strategies as st

ids = st.integers(min_value=0, max_value=0xFFFF).map(lambda number: f"{number:04x}")


def gpu(device_id, address="0000:3b:00.0"):
    known = pci.generation(device_id)
    return {
        "address": address,
        "device_id": device_id,
        "name": pci.name(device_id),
        "architecture": known.name if known else None,
    }


@pytest.mark.parametrize(
    ("device_id", "architecture"),
    [
        ("102d", "kepler"),
        ("1080", "fermi"),
        ("17fd", "maxwell"),
        ("15f8", "pascal"),
        ("1b80", "pascal"),
        ("1db6", "volta"),
        ("1eb8", "turing"),
        ("2184", "turing"),
        ("20b5", "ampere"),
        ("2235", "ampere"),
        ("25b6", "ampere"),
        ("2331", "hopper"),
        ("2335", "hopper"),
        ("2348", "hopper"),
        ("2684", "ada"),
        ("27b8", "ada"),
        ("2901", "blackwell"),
        ("2d04", "blackwell"),
        ("2e12", "blackwell"),
        ("3182", "blackwell"),
        ("0042", None),
    ],
)
def test_the_generation_is_known_by_the_device_id(device_id, architecture):
    known = pci.generation(device_id)

    assert (known.name if known else None) == architecture


CHIPS = {
    "GF": "fermi",
    "GK": "kepler",
    "GM": "maxwell",
    "GP": "pascal",
    "GV": "volta",
    "TU": "turing",
    "GA": "ampere",
    "GH": "hopper",
    "AD": "ada",
}
LISTED = Path(__file__).resolve().parents[1] / "data/pci-ids/nvidia-2023.04.10.txt"


def test_ranges_agree_with_the_chip_of_every_listed_gpu():
    listed = [line.split() for line in LISTED.read_text().splitlines()]

    told = {device_id: pci.generation(device_id) for device_id, _chip in listed}

    assert len(listed) > 600
    assert {device_id: known and known.name for device_id, known in told.items()} == {
        device_id: CHIPS[chip[:2]] for device_id, chip in listed
    }


def test_every_named_gpu_has_a_generation():
    assert [key for key in pci.NAMES if pci.generation(key[:4]) is None] == []


def test_ranges_do_not_overlap():
    ranges = sorted(pci.RANGES)

    assert all(before[1] < after[0] for before, after in zip(ranges, ranges[1:]))


@pytest.mark.parametrize(
    ("subsystem_id", "name"), [("10de:14a9", "A16"), ("10de:157e", "A2"), ("10de:0000", None), (None, None)]
)
def test_boards_of_one_chip_are_told_apart_by_their_subsystem(subsystem_id, name):
    assert pci.name("25b6", subsystem_id) == name


@pytest.mark.parametrize(
    ("device_id", "value", "required", "oldest", "newest"),
    [
        ("1db6", "proprietary", True, 384, 580),  # V100
        ("1b80", "proprietary", True, 375, 580),  # GTX 1080
        ("102d", "proprietary", True, None, 470),  # K80
        ("1eb8", "open", False, 410, None),  # T4
        ("25b6", "open", False, 450, None),  # A16
        ("2335", "open", False, 525, None),  # H200
        ("2342", "open", True, 525, None),  # GH200
        ("2901", "open", True, 570, None),  # B200
        ("2d04", "open", True, 575, None),  # RTX 5060 Ti
        ("ffff", "open", True, None, None),  # newer than this collection
        ("0042", None, False, None, None),  # older than this collection's tables
    ],
)
def test_each_gpu_gets_the_flavour_and_branches_that_drive_it(device_id, value, required, oldest, newest):
    answer = pci.required_flavour([gpu(device_id)])

    assert (answer["value"], answer["required"], answer["conflict"]) == (value, required, False)
    assert pci.branches([gpu(device_id)]) == (oldest, newest)
    assert "0000:3b:00.0" in answer["why"]


def test_a_host_without_a_gpu_needs_no_flavour():
    answer = pci.required_flavour([])

    assert answer == {
        "value": None,
        "required": False,
        "conflict": False,
        "why": "There is no NVIDIA GPU on the PCI bus.",
    }


def test_volta_beside_turing_needs_the_proprietary_flavour():
    answer = pci.required_flavour([gpu("1db6"), gpu("1eb8", "0000:af:00.0")])

    assert (answer["value"], answer["required"]) == ("proprietary", True)


def test_volta_beside_blackwell_cannot_be_driven_and_both_are_named():
    answer = pci.required_flavour([gpu("1db6"), gpu("2901", "0000:af:00.0")])

    assert (answer["value"], answer["conflict"]) == (None, True)
    assert "0000:3b:00.0 (Tesla V100-PCIE-32GB, volta)" in answer["why"]
    assert "0000:af:00.0 (B200, blackwell)" in answer["why"]


def test_gpus_whose_branches_do_not_meet_are_a_conflict():
    answer = pci.required_flavour([gpu("102d"), gpu("26b9", "0000:af:00.0")])  # K80: until 470; L40S: from 525

    assert answer["conflict"] is True
    assert "525" in answer["why"]
    assert "470" in answer["why"]


@pytest.mark.parametrize(
    ("class_id", "is_gpu", "is_switch"),
    [("030000", True, False), ("030200", True, False), ("068000", False, True), ("040300", False, False)],
)
def test_functions_are_told_apart_by_their_class(class_id, is_gpu, is_switch):
    assert (pci.is_gpu(class_id), pci.is_nvswitch(class_id)) == (is_gpu, is_switch)


@given(st.lists(ids, max_size=8))
def test_any_host_gets_an_answer_and_a_reason(device_ids):
    answer = pci.required_flavour([gpu(device_id) for device_id in device_ids])

    assert answer["why"]
    assert answer["value"] in ("open", "proprietary", None)
    assert not (answer["conflict"] and answer["value"])
    if answer["value"]:
        assert all(answer["value"] in (pci.flavours(item) or ("open", "proprietary")) for item in device_ids)
