# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.facts import system
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(__file__).parent.parent / "data"
EFI = "/sys/firmware/efi/efivars"


def write(root: Path, path: str, data: str | bytes) -> None:
    real = root / path.lstrip("/")
    real.parent.mkdir(parents=True, exist_ok=True)
    real.write_bytes(data if isinstance(data, bytes) else data.encode())


@pytest.mark.parametrize(
    ("name", "identity", "family", "version", "codename"),
    [
        ("arch", "arch", "arch", None, None),
        ("debian-12", "debian", "debian", "12", "bookworm"),
        ("fedora-42", "fedora", "fedora", "42", None),
        ("opensuse-leap", "opensuse-leap", "suse", "15.6", None),
        ("rhel-9", "rhel", "redhat", "9.5", None),
        ("rocky-9", "rocky", "redhat", "9.5", None),
        ("ubuntu-24.04", "ubuntu", "debian", "24.04", "noble"),
    ],
)
def test_each_distribution_is_known_with_its_family(tmp_path, name, identity, family, version, codename):
    write(tmp_path, "/etc/os-release", (DATA / "os-release" / f"{name}.txt").read_text())

    facts = system.operating_system(Host(str(tmp_path)))

    assert (facts["id"], facts["family"], facts["version"], facts["codename"]) == (identity, family, version, codename)


def test_a_distribution_nobody_knows_is_other():
    assert system.family("plan9", ["unix"]) == "other"
    assert system.family("mine", ["rhel", "fedora"]) == "redhat"


def test_quotes_of_os_release_are_taken_off():
    told = system.os_release('A="say \\"hi\\" for \\$5"\nB=\'x\'\nC=plain\n# no\nD\n=e\n')

    assert told == {"A": 'say "hi" for $5', "B": "x", "C": "plain"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (None, "unsupported"),
        ({}, None),
        ({"Boot0000-x": b"\x07\x00\x00\x00"}, "unsupported"),
        ({"SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\x06\x00\x00\x00\x01"}, "enabled"),
        ({"SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\x06\x00\x00\x00\x00"}, "disabled"),
        (
            {
                "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\x06\x00\x00\x00\x01",
                "MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23": b"\x06\x00\x00\x00\x01",
            },
            "disabled",
        ),
    ],
)
def test_secure_boot_is_read_from_the_firmware(tmp_path, variables, expected):
    if variables is not None:
        (tmp_path / EFI.lstrip("/")).mkdir(parents=True)
    for name, data in (variables or {}).items():
        write(tmp_path, f"{EFI}/{name}", data)

    assert system.secure_boot(Host(str(tmp_path))) == expected


def test_lockdown_is_the_one_in_brackets(tmp_path):
    write(tmp_path, "/sys/kernel/security/lockdown", "none [integrity] confidentiality\n")

    assert system.lockdown(Host(str(tmp_path))) == "integrity"
    assert system.lockdown(Host(str(tmp_path / "none"))) is None


def test_reasons_to_reboot(tmp_path):
    write(tmp_path, "/run/reboot-required", "*** System restart required ***\n")
    write(tmp_path, "/run/reboot-required.pkgs", "linux-base\nlibc6\nlibc6\n")
    write(tmp_path, "/proc/sys/kernel/osrelease", "6.1.0-1\n")
    write(tmp_path, "/lib/modules/6.1.0-2/modules.dep", "")

    assert system.reboot_required(Host(str(tmp_path))) == [
        "/run/reboot-required stands, for libc6, linux-base",
        "the running kernel 6.1.0-1 has no modules left in /lib/modules (there: 6.1.0-2)",
    ]


def test_a_fresh_node_needs_no_reboot(tmp_path):
    write(tmp_path, "/proc/sys/kernel/osrelease", "6.1.0-1\n")
    write(tmp_path, "/lib/modules/6.1.0-1/modules.dep", "")

    assert system.reboot_required(Host(str(tmp_path))) == []


def test_memory_of_a_guest():
    sizes = system.memory_sizes((DATA / "meminfo" / "debian-12.txt").read_text())

    assert sizes["total_bytes"] > sizes["available_bytes"] > 2**28


def test_units_are_told_in_the_order_asked():
    names = ("kubelet.service", "ssh.service", "sshd.service", "systemd-sysctl.service", "swap.target", "nv.service")

    states = system.unit_states(names, (DATA / "systemctl-show" / "debian-12.txt").read_text())

    assert states["kubelet.service"] == {"load": "not-found", "active": "inactive", "sub": "dead", "enabled": None}
    assert states["ssh.service"] == {"load": "loaded", "active": "active", "sub": "running", "enabled": "enabled"}
    assert states["nv.service"]["load"] == "not-found"


def test_an_answer_that_does_not_fit_the_question_is_unavailable():
    assert "unavailable" in system.unit_states(("a.service", "b.service"), "LoadState=loaded\n")


def test_without_systemd_units_are_unavailable_with_its_words(tmp_path):
    host = Host(str(tmp_path), run=lambda argv, limit: Completed(1, "", "System has not been booted with systemd\n"))

    assert system.units(host) == {"unavailable": "System has not been booted with systemd"}


def test_a_path_lies_on_its_deepest_and_last_mount():
    mounts = system.mount_table((DATA / "mountinfo" / "debian-12.txt").read_text())
    mounts.append({"mount": "/", "device": "overlaid", "type": "overlay", "options": []})

    assert system.holding(mounts, "/var/lib")["device"] == "overlaid"
    assert system.holding(mounts, "/run/lock/x")["mount"] == "/run/lock"
    assert system.holding(mounts, "/runner")["mount"] == "/"


def test_each_mount_is_told_once(tmp_path):
    write(
        tmp_path,
        "/proc/self/mountinfo",
        "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro\n"
        "28 27 254:1 / /var ro,relatime shared:2 master:3 - xfs /dev/my\\040disk rw,noquota\n",
    )
    (tmp_path / "var").mkdir()

    found = system.filesystems(Host(str(tmp_path)))

    assert [(item["mount"], item["device"], item["type"]) for item in found] == [
        ("/", "/dev/vda", "ext4"),
        ("/var", "/dev/my disk", "xfs"),
    ]
    assert found[1]["options"] == ["ro", "relatime", "noquota"]
    assert all(item["total_bytes"] > item["free_bytes"] > 0 for item in found)


def test_a_folder_that_packages_fill_is_told_where_it_is_a_mount_of_its_own(tmp_path):
    lines = ["27 1 254:0 / / rw - ext4 /dev/vda rw", "28 27 254:1 / /usr rw - ext4 /dev/vdb rw"]
    write(tmp_path, "/proc/self/mountinfo", "\n".join(lines))

    found = system.filesystems(Host(str(tmp_path)))

    assert [item["mount"] for item in found] == ["/", "/usr"]


def test_the_package_manager_is_the_one_that_installs_here(tmp_path):
    for program in ("apt-get", "dnf"):  # Fedora has apt-get in its repositories, for whoever builds Debian's packages
        write(tmp_path, f"/usr/bin/{program}", "")
        (tmp_path / "usr/bin" / program).chmod(0o755)

    assert system.operating_system(Host(str(tmp_path)))["package_manager"] == "dnf"


def test_this_machine_can_be_looked_at():
    host = Host()

    boot, memory, disks = system.boot(host), system.memory(host), system.filesystems(host)

    assert len(boot["id"]) == 36
    assert boot["clock_synchronized"] in (True, False, None)
    assert memory["total_bytes"] > memory["available_bytes"]
    assert disks[0]["mount"] == "/"


@given(st.text())
def test_no_text_makes_the_readers_raise(text):
    system.os_release(text)
    system.memory_sizes(text)
    system.mount_table(text)
    system.unit_states(("a", "b"), text)
    system.unescape(text)
