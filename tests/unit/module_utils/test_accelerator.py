# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import lzma
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.facts import accelerator
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host
from hypothesis import given
from hypothesis import strategies as st

CAPTURED = Path(__file__).resolve().parents[1] / "data/nvidia"
MACHINES = sorted(path.parent for path in CAPTURED.glob("*/facts.json"))


class Tree:
    """A node's root, made file by file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, path: str, content: str | bytes = "") -> Tree:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def link(self, path: str, target: str) -> Tree:
        (self.root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path.lstrip("/")).symlink_to(target)
        return self

    def function(self, address: str, device: str, class_id: str, **more: str) -> Tree:
        at = f"/sys/bus/pci/devices/{address}"
        values = {"vendor": "0x10de", "device": f"0x{device}", "class": f"0x{class_id}", **more}
        for name, value in values.items():
            self.file(f"{at}/{name}", f"{value}\n")
        return self

    def host(self, run=None) -> Host:
        return Host(str(self.root), run)


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path).file("/proc/sys/kernel/osrelease", "6.1.0-40-amd64\n")


# ---- Machines that were really looked at -------------------------------------------------------------------------


@pytest.mark.parametrize("machine", MACHINES, ids=lambda path: path.name)
def test_the_bus_of_a_real_machine_is_read_as_it_was_there(machine):
    facts = json.loads((machine / "facts.json").read_text())

    assert accelerator.pci_functions(Host(str(machine / "root"))) == facts["gpus"]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda path: path.name)
def test_the_driver_of_a_real_machine_is_read_as_it_was_there(machine):
    facts = json.loads((machine / "facts.json").read_text())

    driver = accelerator.driver(Host(str(machine / "root")))

    for field in ("loaded", "modules", "installed_module", "nouveau", "dkms", "modprobe_d"):
        assert driver[field] == facts["driver"][field]
    if os.uname().machine == "x86_64":
        assert driver["library"] == facts["driver"]["library"]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda path: path.name)
def test_nvml_of_a_real_machine_said_what_nvidia_smi_said(machine):
    nvml = json.loads((machine / "facts.json").read_text())["nvml"]
    said = ElementTree.parse(machine / "nvidia-smi-q-x.xml").getroot()

    assert nvml["driver_version"] == said.findtext("driver_version")
    assert nvml["cuda_version"] == said.findtext("cuda_version")
    assert len(nvml["devices"]) == int(said.findtext("attached_gpus"))
    for ours, theirs in zip(nvml["devices"], said.findall("gpu")):
        assert ours["uuid"] == theirs.findtext("uuid")
        assert ours["name"] == theirs.findtext("product_name")
        assert f"0000{ours['pci_bus_id']}".lower() == theirs.get("id").lower()
        assert ours["minor_number"] == int(theirs.findtext("minor_number"))
        assert ours["ecc"]["mode"]["current"] == (theirs.findtext("ecc_mode/current_ecc") == "Enabled")
        assert ours["persistence_mode"] == (theirs.findtext("persistence_mode") == "Enabled")


@pytest.mark.parametrize("machine", MACHINES, ids=lambda path: path.name)
def test_nothing_differed_when_a_real_machine_was_compared(machine):
    assert (machine / "comparison.txt").read_text().rstrip().endswith(", 0 differ")


# ---- gpus --------------------------------------------------------------------------------------------------------


def test_a_function_is_told_with_its_driver_and_node(tree):
    at = "/sys/bus/pci/devices/0000:3b:00.0"
    tree.function("0000:3b:00.0", "25b6", "030200", subsystem_vendor="0x10de", subsystem_device="0x14a9", numa_node="1")
    tree.link(f"{at}/driver", "../../../../bus/pci/drivers/vfio-pci")

    (device,) = accelerator.pci_functions(tree.host())["devices"]

    assert device == {
        "address": "0000:3b:00.0",
        "vendor_id": "10de",
        "device_id": "25b6",
        "subsystem_id": "10de:14a9",
        "class_id": "030200",
        "architecture": "ampere",
        "name": "A16",
        "driver": "vfio-pci",
        "numa_node": 1,
    }


def test_nvswitches_are_kept_apart_and_other_functions_left_out(tree):
    tree.function("0000:01:00.0", "2330", "030200").function("0000:05:00.0", "22a3", "068000")
    tree.function("0000:01:00.1", "22ba", "040300")
    tree.function("0000:00:02.0", "4680", "030000", vendor="0x8086")

    facts = accelerator.pci_functions(tree.host())

    assert [item["address"] for item in facts["devices"]] == ["0000:01:00.0"]
    assert [item["address"] for item in facts["nvswitches"]] == ["0000:05:00.0"]


def test_a_virtual_function_is_no_gpu_of_the_host(tree):
    tree.function("0000:01:00.0", "20f1", "030200").function("0000:01:00.4", "20f1", "030200")
    tree.link("/sys/bus/pci/devices/0000:01:00.4/physfn", "../0000:01:00.0")

    assert [item["address"] for item in accelerator.pci_functions(tree.host())["devices"]] == ["0000:01:00.0"]


PCI_IDS = """# a comment
10dd  Enidan Technologies
10de  NVIDIA Corporation
\t1eb8  TU104GL [Tesla T4]
\t25b6  GA107GL [A2 / A16]
\t\t10de 14a9  A16
\t\t10de 157e  A2
10df  Emulex Corporation
\t0720  OneConnect NIC (Skyhawk)
C 03  Display controller
"""


@pytest.mark.parametrize(
    ("device", "subsystem", "name"),
    [
        ("1eb8", None, "TU104GL [Tesla T4]"),
        ("25b6", "10de:157e", "A2"),
        ("25b6", "10de:ffff", "GA107GL [A2 / A16]"),
        ("0720", None, None),
        ("ffff", None, None),
    ],
)
def test_names_are_read_from_the_list_of_pci_ids(device, subsystem, name):
    assert accelerator.name_in_pci_ids(PCI_IDS, "10de", device, subsystem) == name


def test_a_gpu_that_no_table_names_is_named_by_the_distributions_list(tree):
    tree.function("0000:01:00.0", "1e30", "030000")
    tree.file("/usr/share/misc/pci.ids", "10de  NVIDIA Corporation\n\t1e30  TU102GL [Quadro RTX 6000/8000]\n")

    assert accelerator.pci_functions(tree.host())["devices"][0]["name"] == "TU102GL [Quadro RTX 6000/8000]"


# ---- driver ------------------------------------------------------------------------------------------------------


OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22-I3)\n"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.247.01  Fri May  2 10:11:12 UTC 2025\n"


@pytest.mark.parametrize(("text", "flavour"), [(OPEN, "open"), (CLOSED, "proprietary"), ("", None)])
def test_the_loaded_flavour_is_read_from_the_modules_own_words(text, flavour):
    assert accelerator.flavour_of(text) == flavour


def test_the_loaded_module_is_told(tree):
    tree.file("/sys/module/nvidia/version", "535.247.01\n").file("/sys/module/nvidia/refcnt", "3\n")
    tree.file("/proc/driver/nvidia/version", CLOSED).file("/sys/module/nvidia_uvm/version", "535.247.01\n")

    driver = accelerator.driver(tree.host())

    assert driver["loaded"] == {"version": "535.247.01", "flavour": "proprietary", "refcnt": 3}
    assert driver["modules"] == ["nvidia", "nvidia_uvm"]


MODULE = b"\x7fELF...\0license=Dual MIT/GPL\0srcversion=ABC\0version=580.95.05\0alias=x\0"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("updates/dkms/nvidia.ko", MODULE),
        ("updates/dkms/nvidia-current-open.ko.xz", lzma.compress(MODULE)),
        ("kernel/nvidia-580-server-open/nvidia.ko", MODULE),
        ("extra/nvidia/nvidia.ko", MODULE),
    ],
)
def test_the_installed_module_is_read_from_its_own_bytes_where_there_is_no_modinfo(tree, path, content):
    at = f"/lib/modules/6.1.0-40-amd64/{path}"
    tree.file(at, content)

    installed = accelerator.driver(tree.host())["installed_module"]

    assert installed == {"version": "580.95.05", "flavour": "open", "path": at, "signed": False}


def test_a_signature_at_the_end_of_a_module_is_seen(tree):
    tree.file("/lib/modules/6.1.0-40-amd64/updates/dkms/nvidia.ko", MODULE + b"PKCS7~Module signature appended~\n")

    assert accelerator.driver(tree.host())["installed_module"]["signed"] is True


MODINFO = """filename:       /lib/modules/6.8.0-85-generic/updates/dkms/nvidia.ko.zst
firmware:       nvidia/580.95.05/gsp_tu10x.bin
firmware:       nvidia/580.95.05/gsp_ga10x.bin
version:        580.95.05
license:        NVIDIA
signer:         node Secure Boot Module Signature key
sig_hashalgo:   sha512
parm:           NVreg_ResmanDebugLevel:int
"""


def test_modinfo_is_asked_where_it_is_there(tree):
    tree.file("/lib/modules/6.1.0-40-amd64/updates/dkms/nvidia.ko.zst", b"")
    asked = []

    def run(argv, timeout_seconds):
        asked.append(list(argv))
        return Completed(0, MODINFO, "") if argv[0] == "modinfo" else Completed(127, "", "")

    installed = accelerator.driver(tree.host(run))["installed_module"]

    assert installed["version"] == "580.95.05"
    assert installed["flavour"] == "proprietary"
    assert installed["signed"] is True
    assert asked == [["modinfo", "/lib/modules/6.1.0-40-amd64/updates/dkms/nvidia.ko.zst"]]


def test_a_module_for_another_kernel_is_not_installed(tree):
    tree.file("/lib/modules/6.1.0-41-amd64/updates/dkms/nvidia.ko", MODULE)

    assert accelerator.driver(tree.host())["installed_module"] is None


def test_firmware_of_the_very_version_is_looked_for(tree):
    tree.file("/sys/module/nvidia/version", "580.95.05\n")
    tree.file("/lib/firmware/nvidia/580.65.06/gsp_ga10x.bin")

    before = accelerator.driver(tree.host())["firmware"]
    tree.file("/lib/firmware/nvidia/580.95.05/gsp_ga10x.bin")
    after = accelerator.driver(tree.host())["firmware"]

    assert before == {"path": "/lib/firmware/nvidia/580.95.05", "present": False}
    assert after == {"path": "/lib/firmware/nvidia/580.95.05", "present": True}


def test_an_install_line_that_runs_nothing_forbids_nouveau_too(tree):
    tree.file("/etc/modprobe.d/a.conf", "install nouveau /bin/false\n")
    tree.file("/etc/modprobe.d/b.conf", "install nouveau /sbin/modprobe --ignore-install nouveau\n")

    assert accelerator.driver(tree.host())["nouveau"]["blacklisted_in"] == ["/etc/modprobe.d/a.conf"]


def test_nouveau_is_told_with_what_forbids_it(tree):
    tree.file("/sys/module/nouveau/refcnt", "1\n")
    tree.file("/lib/modules/6.1.0-40-amd64/kernel/drivers/gpu/drm/nouveau/nouveau.ko")
    tree.file("/etc/modprobe.d/blacklist-nouveau.conf", "# no\nblacklist nouveau\noptions nouveau modeset=0\n")
    tree.file("/usr/lib/modprobe.d/other.conf", "#blacklist nouveau\nblacklist pcspkr\n")
    tree.file("/proc/cmdline", "root=/dev/vda modprobe.blacklist=pcspkr,nouveau quiet\n")

    driver = accelerator.driver(tree.host())

    assert driver["nouveau"] == {
        "loaded": True,
        "available": True,
        "blacklisted_in": ["/etc/modprobe.d/blacklist-nouveau.conf", "/proc/cmdline"],
    }
    assert driver["modprobe_d"] == [
        {"path": "/etc/modprobe.d/blacklist-nouveau.conf", "line": 2, "text": "blacklist nouveau"},
        {"path": "/etc/modprobe.d/blacklist-nouveau.conf", "line": 3, "text": "options nouveau modeset=0"},
    ]


def test_a_file_in_etc_hides_its_namesake_in_lib(tree):
    tree.file("/etc/modprobe.d/nvidia.conf", "options nvidia NVreg_DeviceFileMode=0666\n")
    tree.file("/usr/lib/modprobe.d/nvidia.conf", "options nvidia NVreg_DeviceFileMode=0600\n")

    assert [item["path"] for item in accelerator.modprobe_lines(tree.host())] == ["/etc/modprobe.d/nvidia.conf"]


def test_dkms_is_read_from_its_own_tree(tree):
    base = "/var/lib/dkms/nvidia"
    tree.link(f"{base}/580.95.05/source", "/usr/src/nvidia-580.95.05")
    tree.file(f"{base}/580.95.05/6.1.0-40-amd64/x86_64/module/nvidia.ko")
    tree.file(f"{base}/580.95.05/6.1.0-41-amd64/x86_64/module/nvidia.ko")
    tree.link(f"{base}/kernel-6.1.0-40-amd64-x86_64", "580.95.05/6.1.0-40-amd64/x86_64")
    tree.link(f"{base}/575.57.08/source", "/usr/src/nvidia-575.57.08")
    tree.link("/var/lib/dkms/nvidia-current/535.247.01/source", "/usr/src/nvidia-current-535.247.01")
    tree.file("/var/lib/dkms/nvidia-current/535.247.01/build/make.log", "error: implicit declaration\n")
    tree.link("/var/lib/dkms/zfs/2.1.11/source", "/usr/src/zfs-2.1.11")

    told = [
        (item["module"], item["version"], item["kernel"], item["state"])
        for item in accelerator.dkms_modules(tree.host())
    ]

    assert told == [
        ("nvidia", "575.57.08", None, "added"),
        ("nvidia", "580.95.05", "6.1.0-40-amd64", "installed"),
        ("nvidia", "580.95.05", "6.1.0-41-amd64", "built"),
        ("nvidia-current", "535.247.01", None, "failed"),
    ]


def test_device_nodes_are_told_with_numbers_and_mode():
    nodes = accelerator.device_nodes(Host(), ("/dev/null", "/etc/os-release"))

    assert list(nodes) == ["/dev/null"]
    assert (nodes["/dev/null"]["major"], nodes["/dev/null"]["minor"]) == (1, 3)


UNIT = "[Service]\nType=forking\nExecStart=/usr/bin/nvidia-persistenced --user nvpd {}--verbose\n"


@pytest.mark.parametrize(("flag", "expected"), [("", True), ("--no-persistence-mode ", False)])
def test_the_persistence_daemon_is_judged_by_its_unit_while_it_does_not_run(tree, flag, expected):
    tree.file("/usr/lib/systemd/system/nvidia-persistenced.service", UNIT.format(flag))

    assert accelerator.driver(tree.host())["persistenced"] == {"active": False, "persistence_mode_flag": expected}


def test_a_drop_in_that_replaces_the_command_is_heeded(tree):
    tree.file("/usr/lib/systemd/system/nvidia-persistenced.service", UNIT.format("--no-persistence-mode "))
    tree.file(
        "/etc/systemd/system/nvidia-persistenced.service.d/override.conf",
        "[Service]\nExecStart=\nExecStart=/usr/bin/nvidia-persistenced --user nvpd --persistence-mode\n",
    )

    assert accelerator.driver(tree.host())["persistenced"]["persistence_mode_flag"] is True


def test_the_running_daemon_goes_before_its_unit(tree):
    tree.file("/usr/lib/systemd/system/nvidia-persistenced.service", UNIT.format(""))
    tree.file("/run/nvidia-persistenced/nvidia-persistenced.pid", "812\n")
    tree.file("/proc/812/cmdline", "/usr/bin/nvidia-persistenced\0--no-persistence-mode\0")

    assert accelerator.driver(tree.host())["persistenced"] == {"active": True, "persistence_mode_flag": False}


def test_an_empty_node_has_nothing(tree):
    driver = accelerator.driver(tree.host())

    assert driver["loaded"] is driver["installed_module"] is driver["library"] is driver["nvidia_smi"] is None
    assert driver["dkms"] == driver["modprobe_d"] == driver["modules"] == []


# ---- For every input ---------------------------------------------------------------------------------------------


@given(st.text())
def test_no_text_makes_a_reader_raise(text):
    accelerator.flavour_of(text)
    accelerator.modinfo_fields(text)
    accelerator.name_in_pci_ids(f"10de  NVIDIA Corporation\n{text}", "10de", "1eb8", "10de:12a2")


@given(st.binary())
def test_no_bytes_make_the_module_reader_raise(binary):
    accelerator.module_strings(binary)
