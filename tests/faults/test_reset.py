# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is after it was reset: the tree that it was before its first run, file by file.

On a bare node of its own, for the session's is converged. GPUNODE_RESET_NODE=name takes one that is there and bare.
"""

from __future__ import annotations

import fnmatch
import os
import signal
from collections.abc import Iterator

import pytest
from conftest import Bench
from node import Node

pytestmark = pytest.mark.stage("guest")

# What README and decision 8 say is left, and nothing else.
LEFT = (
    "/var/lib/containerd*",  # data: kept unless asked for
    "/etc/passwd*", "/etc/shadow*", "/etc/group*", "/etc/gshadow*", "/etc/subuid*", "/etc/subgid*",  # users of packages
    "/etc/cni", "/etc/cni/net.d",  # empty: containerd makes them when it starts
    "/var/lib/dkms", "/var/lib/dkms/mok.*",  # the key that dkms signs modules with
    "/etc/ld.so.cache", "/etc/.pwd.lock",
)  # fmt: skip
# What the system writes of itself while time passes.
NOT_LOOKED_AT = (
    "/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache", "/var/lib/apt", "/var/lib/systemd",
    "/root/.ansible", "/var/lib/logrotate", "/swap.img",
)  # fmt: skip
THEIRS = "# somebody was here since"
NETWORK = (
    "sshd -T; cat /etc/ssh/sshd_config; nft list ruleset 2>/dev/null; iptables-save 2>/dev/null | grep -v '^#'; true"
)


def files(bench: Bench) -> dict[str, str]:
    """Every file, folder and link: mode, owner, size; and what is in it, where people and packages write."""
    pruned = " -o ".join(f"-path {path}" for path in NOT_LOOKED_AT)
    find = rf"find / -xdev \( {pruned} -o -name '*-old' -o -name '*.pyc' -o -name __pycache__ \) -prune -o"
    written = "/etc /usr/local /opt /root /boot/grub /lib/modules/*/modules.dep /var/lib/dpkg/status /var/spool/cron"
    said = bench.ssh(
        rf"{find} \( -type d -printf '%p\t%m %u %g\n' -o -printf '%p\t%m %u %g %s %l\n' \); echo; "
        rf"find $(ls -d {written} 2>/dev/null) -type f -not -path '/root/.ansible/*' -print0 | xargs -0 sha256sum",
        timeout=600,
    )
    known, _blank, sums = said.partition("\n\n")
    found = dict(line.split("\t", 1) for line in known.splitlines() if "\t" in line)
    for line in sums.splitlines():
        digest, _blanks, path = line.partition("  ")
        if path in found:
            found[path] += f" {digest}"
    return found


def unlike(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The paths that differ, but for what is said to be left."""
    paths = [path for path in {*before, *after} if before.get(path) != after.get(path)]
    return sorted(path for path in paths if not any(fnmatch.fnmatch(path, pattern) for pattern in LEFT))


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, dict[str, str], str]]:
    """A bare node, its tree, what its network says; then converged, and used by somebody."""
    kept = os.environ.get("GPUNODE_RESET_NODE")
    node = Node(kept or "faults-reset")
    if not kept:
        node.down()
    if not node.running:
        node.up()
    bench = Bench(node, tmp_path_factory.mktemp("reset"))
    bench.ssh("python3 -c 'import ssl, email'; systemctl daemon-reload; apt-get -q check")
    before, network = files(bench), bench.ssh(NETWORK)
    first = bench.play()
    assert first.rc == 0, first.text
    bench.ssh("mkdir -p /var/lib/containerd/theirs; echo precious > /var/lib/containerd/theirs/image")
    bench.ssh(f"echo '{THEIRS}' >> /etc/fstab")
    yield bench, before, network
    if not kept:
        node.down()


def reset(bench: Bench, *arguments: str, **variables: object):
    return bench.play("-e", f"reset_confirm={bench.node.name}", *arguments, playbook="reset.yml", **variables)


@pytest.mark.case(35, "uninstall, of a node that nobody has named")
def test_a_node_that_is_not_named_is_refused(used):
    bench, _before, _network = used

    unnamed = bench.play(playbook="reset.yml")
    other = bench.play("-e", "reset_confirm=another", playbook="reset.yml")

    for refused in (unnamed, other):
        assert refused.rc != 0
        assert f"-e reset_confirm={bench.node.name}" in refused.text
        assert refused.changed in (0, -1)


@pytest.mark.case(35, "uninstall, in check mode")
def test_check_mode_tells_what_would_go_and_takes_nothing(used):
    bench, _before, _network = used
    converged = bench.tree()

    foretold = reset(bench, "--check", "--diff")

    assert foretold.rc == 0, foretold.text
    assert foretold.changed > 5
    assert "nvidia-container-toolkit" in foretold.text
    assert bench.tree() == converged


@pytest.mark.case(35, "uninstall")
def test_the_tree_is_as_it_was_before_the_first_run(used, figure):
    bench, before, network = used

    done = reset(bench)
    theirs = bench.ssh(f"grep -cxF '{THEIRS}' /etc/fstab; sed -i '/^{THEIRS}$/d' /etc/fstab")
    left = files(bench)
    again = reset(bench)

    assert done.rc == 0, done.text
    figure("files looked at", len(before))
    figure("files that differ", len(unlike(before, left)))
    assert unlike(before, left) == []
    assert theirs == "1\n"
    assert bench.ssh(NETWORK) == network
    assert bench.ssh("cat /var/lib/containerd/theirs/image") == "precious\n"
    assert again.rc == 0, again.text
    assert again.changed == 0, again.text


@pytest.mark.case(35, "uninstall, killed at a task")
def test_a_reset_that_is_killed_is_completed_by_the_next(used, figure):
    bench, before, _network = used
    converged = bench.play()
    assert converged.rc == 0, converged.text
    run = bench.start("-e", f"reset_confirm={bench.node.name}", playbook="reset.yml")
    tasks = 0
    for line in run.stdout:
        tasks += line.startswith("TASK [gpunode.ready.")
        if "absent | Packages, repository, pins and holds of this role are gone" in line:
            os.killpg(run.pid, signal.SIGKILL)
            break
    run.wait()

    completed = reset(bench)

    assert completed.rc == 0, completed.text
    assert unlike(before, files(bench)) == []
    figure("killed at task", tasks)


@pytest.mark.case(35, "uninstall, then a reboot")
def test_the_kernel_is_as_it_was_after_the_next_boot(used):
    bench, before, _network = used

    bench.node.reboot()

    assert "br_netfilter" not in bench.ssh("lsmod")
    assert bench.ssh("cat /proc/sys/net/ipv4/ip_forward") == "0\n"
    assert unlike(before, files(bench)) == []


@pytest.mark.case(35, "uninstall, with the data on another disk")
def test_data_that_a_link_leads_to_stays_and_so_does_the_link(used):
    bench, before, _network = used
    bench.ssh("rm -rf /var/lib/containerd; mkdir -p /srv/containerd; ln -s /srv/containerd /var/lib/containerd")
    converged = bench.play()
    assert converged.rc == 0, converged.text
    bench.ssh("echo precious > /srv/containerd/image")

    done = reset(bench)
    said = bench.ssh(
        "readlink /var/lib/containerd; cat /srv/containerd/image; rm -rf /srv/containerd /var/lib/containerd"
    )

    assert done.rc == 0, done.text
    assert said == "/srv/containerd\nprecious\n"
    assert unlike(before, files(bench)) == []


@pytest.mark.case(35, "uninstall, with the data asked for")
def test_data_goes_where_it_is_asked_for(used):
    bench, _before, _network = used
    converged = bench.play()
    assert converged.rc == 0, converged.text

    bench.ssh("mkdir -p /var/lib/docker/volumes; echo precious > /var/lib/docker/volumes/theirs")

    done = reset(bench, "-e", "reset_data=true")

    assert done.rc == 0, done.text
    assert "/var/lib/docker stays" in done.text
    assert bench.ssh("cat /var/lib/docker/volumes/theirs; rm -r /var/lib/docker") == "precious\n"
    assert bench.ssh("ls -d /var/lib/containerd 2>/dev/null || echo gone") == "gone\n"
