# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role cdi runs at boot: rendered by Ansible from the role's own defaults, then run by sh.

In the rendered script only the folders it looks into are moved below a temporary root.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stage("process")

CHECKOUT = Path(__file__).resolve().parents[2]
ROLE = CHECKOUT / "roles/cdi"
NVIDIA = (CHECKOUT / "tests/unit/data/cdi/nvidia-0.5.0.yaml").read_text()
NVIDIA_CTK = """#!/bin/sh
here=$(dirname "$0")
for argument; do printf '%s\\n' "$argument"; done > "$here/called"
for argument; do case $argument in --output=*) output=${argument#--output=};; esac; done
if [ -e "$here/fails" ]; then echo "failed to initialize NVML: Driver Not Loaded" >&2; exit 1; fi
cat "$here/spec" > "$output"
"""


def render(folder: Path, **variables) -> Path:
    playbook = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
            "tasks": [
                {
                    "ansible.builtin.copy": {
                        "content": f"{{{{ lookup('ansible.builtin.template', '{ROLE}/templates/{name}.j2') }}}}",
                        "dest": str(folder / name),
                        "mode": "0755",
                    }
                }
                for name in ("cdi-refresh.sh", "gpunode-cdi-refresh.service", "gpunode-cdi-refresh.path")
            ],
        }
    ]
    (folder / "ansible.cfg").write_text("")  # nothing of whoever runs the tests
    (folder / "play.yml").write_text(json.dumps(playbook))
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            "localhost,",
            str(folder / "play.yml"),
            "-e",
            json.dumps({"ansible_python_interpreter": sys.executable, **variables}),
        ],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Node:
    def __init__(self, root: Path, rendered: Path) -> None:
        self.root = root
        self.output = root / "run/cdi/nvidia.yaml"
        self.tools = root / "bin"
        for folder in ("run", "bin", "sys/module/nvidia", "proc/driver", "dev", "lib/modules"):
            (root / folder).mkdir(parents=True)
        (self.tools / "nvidia-ctk").write_text(NVIDIA_CTK)
        (self.tools / "nvidia-ctk").chmod(0o755)
        (self.tools / "spec").write_text(NVIDIA)
        text = (rendered / "cdi-refresh.sh").read_text()
        for path in ("/sys/module", "/proc/driver", "/dev/dxg", "/lib/modules", "/run/gpunode-cdi"):
            text = text.replace(path, f"{root}{path}")
        text = text.replace("PATH=/usr/local/sbin", f"PATH={self.tools}:/usr/local/sbin", 1)
        text = text.replace("output=/var/run/cdi", f"output={root}/run/cdi")
        (root / "cdi-refresh").write_text(text)

    def refresh(self):
        done = subprocess.run(
            ["/bin/sh", str(self.root / "cdi-refresh")], capture_output=True, text=True, timeout=30, check=False
        )
        assert not list((self.root / "run").glob("gpunode-cdi.*")), "temporary folder left behind"
        return done

    def unload(self):
        (self.root / "sys/module/nvidia").rmdir()

    def specs(self):
        return sorted(path.name for path in self.output.parent.iterdir()) if self.output.parent.is_dir() else []


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    return render(tmp_path_factory.mktemp("rendered"))


@pytest.fixture
def node(tmp_path, rendered):
    return Node(tmp_path, rendered)


def test_after_a_boot_the_spec_is_written(node):
    done = node.refresh()

    assert done.returncode == 0, done.stderr
    assert node.output.read_text() == NVIDIA
    assert node.output.stat().st_mode & 0o777 == 0o644
    assert node.specs() == ["nvidia.yaml"]


def test_a_spec_that_is_true_is_not_touched(node):
    node.refresh()
    before = node.output.stat()

    done = node.refresh()

    assert done.stdout == ""
    assert (node.output.stat().st_ino, node.output.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_stale_spec_is_replaced(node):
    node.refresh()
    (node.tools / "spec").write_text(NVIDIA.replace("580.95.05", "580.105.08"))

    node.refresh()

    assert "580.105.08" in node.output.read_text()


def test_when_nvidia_ctk_fails_the_spec_stays_and_its_words_are_told(node):
    node.refresh()
    (node.tools / "fails").write_text("")

    done = node.refresh()

    assert done.returncode == 1  # systemd tries again
    assert "Driver Not Loaded" in done.stderr
    assert node.output.read_text() == NVIDIA


def test_an_empty_spec_replaces_nothing(node):
    node.refresh()
    (node.tools / "spec").write_text("")

    assert node.refresh().returncode == 1
    assert node.output.read_text() == NVIDIA


def test_the_spec_goes_with_the_driver(node):
    node.refresh()
    node.unload()

    done = node.refresh()

    assert done.returncode == 0, done.stderr
    assert "removed" in done.stdout
    assert node.specs() == []


def test_a_driver_that_is_installed_but_not_loaded_yet_is_no_reason_to_remove_the_spec(node):
    node.refresh()
    node.unload()
    modules = node.root / "lib/modules" / os.uname().release
    modules.mkdir()
    (modules / "modules.dep").write_text("updates/dkms/nvidia.ko.zst:\n")

    node.refresh()

    assert node.output.read_text() == NVIDIA


def test_without_the_toolkit_nothing_is_touched(node):
    node.refresh()
    (node.tools / "nvidia-ctk").unlink()

    done = node.refresh()

    assert done.returncode == 0
    assert node.output.read_text() == NVIDIA


@pytest.mark.case(47, "a link at the CDI spec, at boot")
def test_a_link_planted_at_the_spec_is_not_followed(node):
    victim = node.root / "victim"
    victim.write_text("precious")
    node.output.parent.mkdir()
    node.output.symlink_to(victim)

    node.refresh()

    assert victim.read_text() == "precious"


@pytest.mark.case(11, "quotes, spaces, $(…) in paths of the boot script")
def test_options_are_arguments_and_never_commands(tmp_path):
    hostile = "/opt/a b/$(touch pwned)'\"`id`"
    folder = tmp_path / "rendered"
    folder.mkdir()
    node = Node(tmp_path / "node", render(folder, cdi_hook_path=hostile, cdi_feature_flags=["x y"]))

    done = node.refresh()

    assert done.returncode == 0, done.stderr
    called = (node.tools / "called").read_text().splitlines()
    assert called[3:] == [f"--nvidia-cdi-hook-path={hostile}", "--feature-flag=x y"]
    assert called[:2] == ["cdi", "generate"]


def test_the_units_are_what_systemd_takes(rendered):
    service = (rendered / "gpunode-cdi-refresh.service").read_text()
    path = (rendered / "gpunode-cdi-refresh.path").read_text()

    assert "ExecStart=/bin/sh /usr/local/libexec/gpunode.ready/cdi-refresh\n" in service
    assert "TimeoutStartSec=90\n" in service
    assert "StartLimitIntervalSec=0\n" in service.partition("[Service]")[0]  # a limit would fail the path unit too
    assert "Restart=on-failure\nRestartSec=30\n" in service
    assert path.endswith("WantedBy=multi-user.target\n")
