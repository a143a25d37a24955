# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that mends itself at boot: the role's units, an Ansible of the node's own, and nobody at the controller."""

from __future__ import annotations

import subprocess
import sysconfig
import tarfile
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.stage("guest")

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = Path(sysconfig.get_paths()["purelib"])
# What ansible-core needs, in pure Python; the rest of it is not used by a local run.
NEEDED = ("ansible", "jinja2", "markupsafe", "yaml", "packaging", "resolvelib")
METADATA = ("ansible_core", "jinja2", "markupsafe", "pyyaml", "packaging", "resolvelib")
COLLECTIONS = ("ansible/posix", "community/general")
RUNS = "ExecMainExitTimestampMonotonic=0"  # it has not ended, or not even begun
PLAYBOOK = """#!/bin/sh
PYTHONPATH=/opt/ansible/lib exec /usr/bin/python3 -m ansible playbook "$@"
"""


@pytest.fixture
def with_ansible(bench, tmp_path):
    """The node with an Ansible of its own, and this collection installed."""
    archive = tmp_path / "ansible.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name in NEEDED:
            tar.add(LIBRARIES / name, f"opt/ansible/lib/{name}", filter=without_caches)
        for folder in LIBRARIES.glob("*.dist-info"):
            if folder.name.partition("-")[0].lower() in METADATA:
                tar.add(folder, f"opt/ansible/lib/{folder.name}")
        for name in COLLECTIONS:
            tar.add(
                LIBRARIES / "ansible_collections" / name,
                f"root/.ansible/collections/ansible_collections/{name}",
                filter=without_caches,
            )
        for name in ("galaxy.yml", "meta", "playbooks", "plugins", "roles"):
            tar.add(
                ROOT / name,
                f"root/.ansible/collections/ansible_collections/gpunode/ready/{name}",
                filter=without_caches,
            )
    with archive.open("rb") as stream:
        argv = ["ssh", *bench.node.ssh_arguments(), "-p", str(bench.node.state["port"]), "root@127.0.0.1"]
        subprocess.run([*argv, "tar -xz --no-same-owner -C /"], stdin=stream, check=True, timeout=600)
    bench.ssh(f"mkdir -p /opt/ansible/bin; cat > /opt/ansible/bin/ansible-playbook <<'END'\n{PLAYBOOK}END\n"
              "chmod 755 /opt/ansible/bin/ansible-playbook")  # fmt: skip
    yield bench
    bench.ssh("rm -rf /opt/ansible /root/.ansible/collections")


def without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    unwanted = ("__pycache__", "/tests/", "/docs/", "/changelogs/", "/ansible_test/", "/.git", "/gpunode-report")
    return None if any(word in f"{member.name}/" for word in unwanted) else member


@pytest.mark.case(0, "drift at a boot, mended by the node itself (self_repair, method local)")
def test_the_node_mends_itself_after_a_boot(with_ansible, figure):
    bench = with_ansible
    wanted = {
        "self_repair_state": "enabled",
        "self_repair_method": "local",
        "self_repair_executables_dir": "/opt/ansible/bin",
        "self_repair_delay_seconds": 5,
        "self_repair_variables": {
            name: value for name, value in bench.variables.items() if not name.startswith("ansible_")
        },
    }

    installed = bench.play("--tags", "self_repair", **wanted)
    assert installed.rc == 0, installed.text
    bench.ssh("rm -f /etc/sysctl.d/99-gpunode.conf /etc/modules-load.d/gpunode.conf; sync")
    bench.node.reboot()
    began, state = time.monotonic(), RUNS
    while time.monotonic() - began < 900 and RUNS in state.splitlines():
        time.sleep(10)
        state = bench.ssh(
            f"systemctl show gpunode-self-repair.service -p Result,ExecMainStatus,{RUNS.partition('=')[0]}"
        )

    log = bench.ssh("journalctl -u gpunode-self-repair --no-pager -o cat | tail -40")
    forwarding = bench.ssh("cat /etc/sysctl.d/99-gpunode.conf; sysctl -n net.ipv4.ip_forward; ls /run/gpunode.ready")
    removed = bench.play("--tags", "self_repair", self_repair_state="disabled")
    figure("seconds from boot to the end of self_repair", round(time.monotonic() - began))
    assert "Result=success" in state, log
    assert "ExecMainStatus=0" in state, log
    assert "net.ipv4.ip_forward" in forwarding
    assert "lock.json" not in forwarding
    assert removed.rc == 0, removed.text
    assert "not-found" in bench.ssh("systemctl show gpunode-self-repair.timer -p LoadState")
