# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import kernel_settings as settings
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host
from hypothesis import given
from hypothesis import strategies as st

MODULES = ["overlay", "br_netfilter"]
SYSCTLS = {
    "net.bridge.bridge-nf-call-iptables": 1,
    "net.bridge.bridge-nf-call-ip6tables": 1,
    "net.ipv4.ip_forward": 1,
}
RELEASE = "6.1.0-49-cloud-amd64"


class Node:
    """A captured tree, and a modprobe that brings the folders which the real module brings."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[list[str]] = []
        self.host = Host(str(root))
        self.write("/proc/sys/kernel/osrelease", f"{RELEASE}\n")
        self.write("/proc/sys/net/ipv4/ip_forward", "0\n")
        self.write("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n")
        self.write("/proc/cmdline", "root=/dev/vda rw console=ttyS0\n")
        self.write("/proc/filesystems", "nodev\tsysfs\nnodev\ttmpfs\n\text4\n")
        self.write(f"/lib/modules/{RELEASE}/modules.builtin", "kernel/fs/configfs/configfs.ko\n")
        self.write("/etc/os-release", "ID=debian\n")
        self.write("/etc/fstab", "/dev/vda / ext4 defaults 0 1\n")

    def real(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str) -> None:
        self.real(path).parent.mkdir(parents=True, exist_ok=True)
        self.real(path).write_text(text)

    def text(self, path: str) -> str:
        return self.real(path).read_text()

    def run(self, argv, timeout_seconds):
        self.asked.append(list(argv))
        if argv[0] == "modprobe":
            self.write(f"/sys/module/{argv[2]}/initstate", "live\n")
            if argv[2] == "br_netfilter":
                for name in ("iptables", "ip6tables"):
                    self.write(f"/proc/sys/net/bridge/bridge-nf-call-{name}", "0\n")
        return Completed(0, "", "")

    def plan(self, modules=MODULES, sysctls=SYSCTLS, debugfs=False, name="gpunode") -> settings.Plan:
        return settings.plan(self.host, settings.wanted(name, modules, sysctls, debugfs))

    def apply(self, run=None, **given) -> list[str]:
        return settings.apply(self.host, self.plan(**given), run or self.run)


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_a_bare_node_gets_modules_then_sysctls_and_two_files(node):
    todo = node.plan()

    assert todo.load == ("overlay", "br_netfilter")
    assert todo.set == (
        ("net.bridge.bridge-nf-call-iptables", None, "1"),
        ("net.bridge.bridge-nf-call-ip6tables", None, "1"),
        ("net.ipv4.ip_forward", "0", "1"),
    )
    assert [change.path for change in todo.files] == [
        "/etc/modules-load.d/gpunode.conf",
        "/etc/sysctl.d/99-gpunode.conf",
    ]
    assert (todo.warnings, todo.problems) == ((), ())


def test_everything_is_live_and_persisted_afterwards(node):
    problems = node.apply()

    assert problems == []
    assert node.text("/proc/sys/net/bridge/bridge-nf-call-iptables") == "1\n"
    assert node.text("/etc/modules-load.d/gpunode.conf") == f"{settings.HEADER}overlay\nbr_netfilter\n"
    assert settings.persisted_sysctls(node.host).of("net.ipv4.ip_forward").value == "1"


def test_running_twice_changes_nothing(node):
    node.apply()

    assert node.plan() == settings.Plan()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/proc/sys/net/ipv4/ip_forward", "0\n"),
        ("/etc/sysctl.d/99-gpunode.conf", "net.ipv4.ip_forward = 0\n"),
        ("/etc/modules-load.d/gpunode.conf", ""),
    ],
)
def test_drift_of_what_is_live_or_persisted_is_repaired_alone(node, path, text):
    node.apply()
    good = node.text(path)
    node.write(path, text)

    drifted = node.plan()
    node.apply()

    assert drifted.changed
    assert len(drifted.set) + len(drifted.files) == 1
    assert node.text(path) == good


def test_a_drop_in_that_was_masked_by_a_link_becomes_a_file_again(node):
    node.apply()
    path = node.real("/etc/sysctl.d/99-gpunode.conf")
    path.unlink()
    path.symlink_to("/dev/null")

    node.apply()

    assert not path.is_symlink()
    assert not node.plan().changed


def test_looking_and_planning_write_nothing(node):
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in node.root.rglob("*"))

    node.plan(debugfs=True)

    assert sorted((str(path), path.lstat().st_mtime_ns) for path in node.root.rglob("*")) == before
    assert node.asked == []


def test_what_is_no_longer_wanted_is_no_longer_persisted(node):
    node.apply()

    node.apply(modules=[], sysctls={})

    assert not node.real("/etc/modules-load.d/gpunode.conf").exists()
    assert not node.real("/etc/sysctl.d/99-gpunode.conf").exists()


@pytest.mark.parametrize(
    ("other", "chosen"),
    [
        ("10-early.conf", "99-gpunode.conf"),
        ("99-sysctl.conf", "99-zz-gpunode.conf"),
        ("99-zz-site.conf", "zz-gpunode.conf"),
        ("zz-last.conf", "zzzz-gpunode.conf"),
    ],
)
def test_a_file_read_later_that_says_otherwise_is_outdone_by_name(node, other, chosen):
    node.apply()
    node.write(f"/etc/sysctl.d/{other}", "# site\nnet/ipv4/ip_forward=0\n")

    todo = node.plan()
    node.apply()

    assert settings.persisted_sysctls(node.host).of("net.ipv4.ip_forward").source == f"/etc/sysctl.d/{chosen}"
    assert sorted(node.host.list("/etc/sysctl.d")) == sorted([other, chosen])
    assert node.plan() == settings.Plan()
    if chosen != "99-gpunode.conf":
        assert todo.warnings[0].startswith(
            f"/etc/sysctl.d/{other}:2 sets net.ipv4.ip_forward = 0, where 1 is wanted. It would be read after"
        )


def test_a_file_that_no_name_outdoes_is_told_at_every_run(node):
    node.write("/etc/sysctl.d/zzzzz.conf", "net.ipv4.ip_forward = 0\n")
    node.apply()

    assert node.plan().warnings == (
        "/etc/sysctl.d/zzzzz.conf:1 sets net.ipv4.ip_forward = 0, where 1 is wanted. It is read after "
        "/etc/sysctl.d/zzzz-gpunode.conf, so at the next boot it wins. Take that line away.",
    )


def test_the_usual_name_comes_back_when_the_other_file_goes(node):
    node.write("/etc/sysctl.d/99-sysctl.conf", "net.ipv4.ip_forward = 0\n")
    node.apply()
    node.real("/etc/sysctl.d/99-sysctl.conf").unlink()

    node.apply()

    assert node.host.list("/etc/sysctl.d") == ["99-gpunode.conf"]


def test_sysctl_conf_without_its_link_is_not_read_at_boot_and_told(node):
    node.write("/etc/sysctl.conf", "net.ipv4.ip_forward = 0\n")

    todo = node.plan()

    assert todo.files[1].path == "/etc/sysctl.d/99-gpunode.conf"
    assert "`sysctl -p` and `sysctl --system` apply it" in todo.warnings[0]


def test_sysctl_conf_counts_through_its_link(node):
    node.write("/etc/sysctl.conf", "net.ipv4.ip_forward = 0\n")
    node.real("/etc/sysctl.d").mkdir()
    node.real("/etc/sysctl.d/99-sysctl.conf").symlink_to("../sysctl.conf")

    assert settings.persisted_sysctls(node.host).of("net.ipv4.ip_forward").source == "/etc/sysctl.d/99-sysctl.conf"
    assert node.plan().files[1].path == "/etc/sysctl.d/99-zz-gpunode.conf"


def test_a_firewall_that_sets_it_otherwise_is_told(node):
    node.write("/etc/ufw/ufw.conf", "ENABLED=yes\n")
    node.write("/etc/ufw/sysctl.conf", "net/ipv4/ip_forward=0\n")

    assert "ufw applies it whenever it starts" in node.plan().warnings[0]


def test_a_value_that_the_kernel_refuses_is_not_persisted_and_the_rest_is(node):
    node.real("/proc/sys/vm").mkdir(parents=True)
    node.real("/proc/sys/vm/pretend").mkdir()

    problems = node.apply(sysctls={**SYSCTLS, "vm.pretend": 5})

    assert len(problems) == 1
    assert problems[0].startswith("sysctl vm.pretend: the kernel refuses '5' (/proc/sys/vm/pretend: Is a directory)")
    assert settings.persisted_sysctls(node.host).of("net.ipv4.ip_forward").value == "1"
    assert settings.persisted_sysctls(node.host).of("vm.pretend") is None


def test_a_sysctl_that_needs_a_module_nobody_asked_for_names_it(node):
    todo = node.plan(modules=[], sysctls={"net.bridge.bridge-nf-call-iptables": 1})

    assert todo.problems == (
        f"sysctl net.bridge.bridge-nf-call-iptables: the running kernel {RELEASE} has no such setting "
        "(/proc/sys/net/bridge/bridge-nf-call-iptables). It comes with the module br_netfilter: list that among the "
        "modules.",
    )
    assert not todo.changed


def test_a_misspelt_sysctl_is_told_even_while_modules_are_loaded(node):
    problems = node.apply(sysctls={"net.ipv4.ip_foward": 1})

    assert len(problems) == 1
    assert "Look whether it is spelt right" in problems[0]
    assert settings.persisted_sysctls(node.host).of("net.ipv4.ip_foward") is None


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("/etc/modprobe.d/cis.conf", "# CIS\ninstall overlay /bin/false\n", "/etc/modprobe.d/cis.conf:2 forbids it"),
        ("/usr/lib/modprobe.d/b.conf", "blacklist overlay\n", "/usr/lib/modprobe.d/b.conf:1 forbids it"),
        ("/proc/cmdline", "rw modprobe.blacklist=nouveau,overlay\n", "/proc/cmdline:1 forbids it"),
    ],
)
def test_a_module_that_hardening_forbids_names_the_line(node, path, text, told):
    node.write(path, text)

    assert told in node.plan().problems[0]


@pytest.mark.parametrize(
    ("release", "distribution", "told"),
    [
        (RELEASE, "ID=ubuntu\nID_LIKE=debian\n", f"linux-modules-extra-{RELEASE}"),
        (RELEASE, "ID=debian\n", "linux-image-amd64"),
        (RELEASE, 'ID="rocky"\nID_LIKE="rhel centos fedora"\n', f"kernel-modules-extra-{RELEASE}"),
        (RELEASE, "ID=arch\n", "package of modules"),
        ("6.9.9-gone", "ID=arch\n", "/lib/modules/6.9.9-gone is gone"),
    ],
)
def test_a_module_that_cannot_be_loaded_names_kernel_and_package(node, release, distribution, told):
    node.write("/proc/sys/kernel/osrelease", f"{release}\n")
    node.write("/etc/os-release", distribution)
    refuse = f"modprobe: FATAL: Module overlay not found in directory /lib/modules/{release}"

    problems = node.apply(modules=["overlay"], sysctls={}, run=lambda argv, limit: Completed(1, "", refuse))

    assert f"cannot be loaded into the running kernel {release}: {refuse}" in problems[0]
    assert told in problems[0]


def test_a_feature_built_in_counts_as_loaded(node):
    node.write("/proc/filesystems", "nodev\toverlay\n")
    node.write("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n")

    assert node.plan(modules=["overlay", "br-netfilter", "configfs"], sysctls={}).load == ()


def test_a_module_that_is_still_coming_is_not_loaded(node):
    node.write("/sys/module/overlay/initstate", "coming\n")

    assert node.plan(modules=["overlay"], sysctls={}).load == ("overlay",)


def test_several_numbers_are_equal_whatever_parts_them(node):
    assert node.plan(modules=[], sysctls={"net.ipv4.tcp_rmem": "4096 131072   6291456"}).set == ()


def test_debugfs_is_mounted_now_and_at_boot(node):
    problems = node.apply(debugfs=True)

    assert problems == []
    assert node.asked[-1][:3] == ["mount", "-t", "debugfs"]
    assert "debugfs /sys/kernel/debug debugfs" in node.text("/etc/fstab")
    node.write("/proc/mounts", "debugfs /sys/kernel/debug debugfs rw 0 0\n")
    assert not node.plan(debugfs=True).changed


def test_two_callers_keep_to_their_own_files(node):
    node.apply()

    node.apply(modules=[], sysctls={"net.ipv4.tcp_rmem": "1 2 3"}, name="mine")

    assert node.host.list("/etc/sysctl.d") == ["99-gpunode.conf", "99-mine.conf"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "../x"}, "name '../x'"),
        ({"name": ""}, "name ''"),
        ({"modules": ["overlay; reboot"]}, "kernel module 'overlay; reboot'"),
        ({"modules": ["a\nb"]}, "kernel module"),
        ({"sysctls": {"../../etc/passwd": 1}}, "sysctl '../../etc/passwd'"),
        ({"sysctls": {"net.ipv4.$(reboot)": 1}}, "sysctl 'net.ipv4.$(reboot)'"),
        ({"sysctls": {"kernel.core_pattern": "core\nkernel.panic = 1"}}, "has a line break"),
        ({"sysctls": {"kernel.panic": ""}}, "is empty"),
        ({"sysctls": {"kernel.panic": None}}, "one value is expected"),
        ({"sysctls": {"kernel.panic": [1]}}, "one value is expected"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, told):
    with pytest.raises(settings.SettingError) as refused:
        settings.wanted(**{"name": "gpunode", "modules": [], "sysctls": {}, **given})

    assert told in str(refused.value)


def test_yes_and_no_are_one_and_zero():
    want = settings.wanted("gpunode", [], {"kernel.a": True, "kernel.b": False, "kernel.c": 10, "kernel/d": "x"})

    assert want.sysctls == {"kernel.a": "1", "kernel.b": "0", "kernel.c": "10", "kernel.d": "x"}


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.enp3s0/200.forwarding", "net/ipv4/conf/enp3s0.200/forwarding"),
        ("net/ipv4/conf/enp3s0.200/forwarding", "net/ipv4/conf/enp3s0.200/forwarding"),
    ],
)
def test_dots_and_slashes_are_read_as_systemd_reads_them(written, path):
    assert settings.sysctl_path(written) == path
    assert settings.sysctl_path(settings.sysctl_name(written)) == path


def test_a_file_masks_those_of_its_name_in_lower_folders(node):
    node.write("/usr/lib/sysctl.d/50-a.conf", "kernel.a = 1\n")
    node.write("/etc/sysctl.d/50-a.conf", "kernel.b = 1\n")
    node.write("/usr/lib/sysctl.d/60-b.conf", "kernel.c = 1\n")
    node.real("/run/sysctl.d").mkdir(parents=True)
    node.real("/run/sysctl.d/60-b.conf").symlink_to("/dev/null")

    persisted = settings.persisted_sysctls(node.host)

    assert set(persisted.explicit) == {"kernel.b"}


def test_files_go_by_name_whatever_their_folder_and_the_last_wins(node):
    node.write("/etc/sysctl.d/10-a.conf", "kernel.a = etc\n")
    node.write("/usr/lib/sysctl.d/90-b.conf", "kernel.a = usr\nkernel.a = last\n")
    node.write("/etc/sysctl.d/99-c.conf.bak", "kernel.a = backup\n")

    line = settings.persisted_sysctls(node.host).of("kernel.a")

    assert (line.value, line.source, line.line) == ("last", "/usr/lib/sysctl.d/90-b.conf", 2)


def test_globs_exclusions_and_minus_signs(node):
    node.write(
        "/etc/sysctl.d/a.conf",
        "; comment\nnet.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.all.rp_filter\nnet.ipv4.conf.hub0.rp_filter=1\n"
        "- net.ipv4.conf.x.rp_filter = 7\nno assignment\n= nothing\n",
    )

    persisted = settings.persisted_sysctls(node.host)
    values = {
        name: line.value if (line := persisted.of(f"net.ipv4.conf.{name}.rp_filter")) else None
        for name in ("eth0", "all", "hub0", "x", "a/b")
    }

    assert values == {"eth0": "2", "all": None, "hub0": "1", "x": "7", "a/b": "2"}
    assert persisted.of("net.ipv4.conf.eth0.sub.rp_filter") is None


def test_modules_persisted_by_file_and_by_the_command_line(node):
    node.write("/etc/modules-load.d/k8s.conf", "# needed\n\n br-netfilter \n;overlay\n")
    node.write("/usr/lib/modules-load.d/k8s.conf", "masked\n")
    node.write("/proc/cmdline", "rw modules-load=overlay,zram quiet\n")

    assert settings.persisted_modules(node.host) == {
        "br_netfilter": ["/etc/modules-load.d/k8s.conf"],
        "overlay": ["/proc/cmdline"],
        "zram": ["/proc/cmdline"],
    }


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("chattr"), reason="needs root and chattr (e2fsprogs)")
def test_an_immutable_folder_is_named_and_does_not_keep_the_rest_from_being_done(node):
    folder = node.real("/etc/modules-load.d")
    folder.mkdir()
    if subprocess.run(["chattr", "+i", str(folder)], capture_output=True).returncode:
        pytest.skip(f"needs a file system with file attributes, which {folder} has not")
    try:
        problems = node.apply()
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)

    assert len(problems) == 1
    assert f"chattr -i {folder}" in problems[0]
    assert settings.persisted_sysctls(node.host).of("net.ipv4.ip_forward").value == "1"


@given(st.text())
def test_no_text_makes_the_readers_raise(text):
    settings.Persisted(settings.assignments(text, "x")).of("net.ipv4.ip_forward")
    settings.listed_modules(text)
    settings.sysctl_name(text)


@given(st.text())
def test_what_is_wanted_is_refused_by_its_own_error_or_accepted(text):
    try:
        want = settings.wanted("gpunode", [text], {text: text})
    except settings.SettingError:
        return

    assert all("\n" not in value for value in want.sysctls.values())
