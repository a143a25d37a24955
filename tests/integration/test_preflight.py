# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role preflight through ansible-playbook: real inventories with real mistakes, facts as a node would give them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.stage("process")

CHECKOUT = Path(__file__).resolve().parents[2]

FACTS = {
    "boot": {"id": "6d1b4a50-7d7e-4f30-8f0a-2f3b6f1d3c11"},
    "os": {
        "id": "debian",
        "id_like": [],
        "family": "debian",
        "name": "Debian GNU/Linux 12 (bookworm)",
        "version": "12",
        "kernel": "6.1.0-40-amd64",
        "architecture": "x86_64",
        "secure_boot": "disabled",
        "container": False,
        "hostname": "gpu-1",
        "machine_id": "0f3a",
        "python": "3.11.2",
        "package_manager": "apt",
    },
    "kernel": {"headers": {"path": "/lib/modules/6.1.0-40-amd64/build", "present": True}, "releases": []},
    "gpus": {
        "devices": [
            {"address": "0000:3b:00.0", "device_id": "2335", "name": "H200 SXM 141GB", "architecture": "hopper"},
        ],
        "flavour": {"value": "open", "required": False, "conflict": False, "why": ""},
        "oldest_branch": 525,
        "newest_branch": None,
    },
    "driver": {"loaded": None, "installed_module": None, "nouveau": {"loaded": False}},
    "filesystems": [
        {"mount": "/", "device": "/dev/vda1", "total_bytes": 64 << 30, "free_bytes": 40 << 30},
    ],
    "packages": {"installed": {}},
}
SITE = {
    "preflight_driver_branch": "{{ gpunode_driver_branch }}",
    "preflight_gpu": "{{ gpunode_gpu }}",
    "preflight_runtime": "{{ gpunode_runtime }}",
}


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = {"gpu-1": json.loads(json.dumps(FACTS))}
        (folder / "group_vars").mkdir()
        (folder / "ansible.cfg").write_text("[defaults]\nresult_format = json\n")

    def variables(self, text: str) -> None:
        (self.folder / "group_vars/all.yml").write_text(text)

    def run(self, *arguments: str, python: str = sys.executable, look: bool = False) -> subprocess.CompletedProcess:
        """``look``: leave the look at the node to the role itself, on this very machine."""
        local = {"ansible_connection": "local", "ansible_python_interpreter": python}
        inventory = {"all": {"children": {"gpu_nodes": {"hosts": dict.fromkeys(self.facts, local)}}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        play = {
            "hosts": "gpu_nodes",
            "gather_facts": False,
            "pre_tasks": []
            if look
            else [
                {
                    "name": "Stand in for the look at the node",
                    "ansible.builtin.set_fact": {"gpunode": "{{ captured[inventory_hostname] }}", "cacheable": True},
                    "vars": {"captured": self.facts},
                }
            ],
            "roles": [
                {"role": "gpunode.ready.preflight", "vars": SITE},
                {"role": "gpunode.ready.gpunode", "tags": ["never"]},  # its defaults count, its tasks do not
            ],
        }
        (self.folder / "play.yml").write_text(json.dumps([play]))
        return subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                "-i",
                "hosts.yml",
                "play.yml",
                *arguments,
            ],
            cwd=self.folder,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
                "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
                "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
                "ANSIBLE_NOCOLOR": "1",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def refusal(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode != 0, done.stdout + done.stderr
        assert "changed=0" in done.stdout
        assert "Nothing was changed" in done.stdout, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_sound_inventory_and_a_fit_node_pass_without_a_change(site):
    site.variables('gpunode_runtime: crio\ngpunode_driver_branch: "580"\ncdi_refresh: vendor\nmy_own_variable: 1\n')

    done = site.run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout
    assert "unreachable=0" in done.stdout


@pytest.mark.case(1, "a misspelt variable, in check mode")
def test_check_mode_judges_the_same(site):
    site.variables("gpunode_runtme: crio\n")

    assert "Did you mean gpunode_runtime?" in site.refusal("--check")


@pytest.mark.case(1, "a misspelt variable in group_vars")
@pytest.mark.case(2, "unknown choices, wrong types")
@pytest.mark.case(9, "an unsupported release", simulated="the node's facts")
@pytest.mark.case(11, "a command substitution in a value")
def test_every_reason_is_told_at_once_with_its_place(site):
    site.variables(
        "---\n"
        "gpunode_runtme: crio\n"
        "gpunode_driver: mangaed\n"
        "cdi_timeout_seconds: soon\n"
        "host_prep_debugfs: maybe\n"
        "gpunode_lock_seconds: -1\n"
        'gpunode_mirror: "https://mirror.example.org/$(touch pwned)"\n'
    )
    site.facts["gpu-1"]["gpus"]["oldest_branch"] = 590
    site.facts["gpu-1"]["os"]["version"] = "9"

    told = site.refusal()

    for words in (
        "8 reasons why this run cannot succeed on gpu-1",
        "Did you mean gpunode_runtime?",
        "group_vars/all.yml:2",
        "gpunode_driver is mangaed; expected one of managed, preinstalled, none",
        "Did you mean managed?",
        "cdi_timeout_seconds is soon; expected a whole number",
        "host_prep_debugfs is maybe; expected true or false",
        "gpunode_lock_seconds is -1; expected 0 or more",
        "gpunode_mirror holds a command substitution",
        "Driver branch 580 does not know",
        "expected release 12, 13",
    ):
        assert words in told, words
    assert not (site.folder / "pwned").exists()


@pytest.mark.case(1, "a misspelt variable on the command line")
def test_a_misspelt_variable_on_the_command_line_is_found(site):
    told = site.refusal("-e", "gpunode_runtme=crio")

    assert "Did you mean gpunode_runtime?" in told
    assert "set on the command line or in a play" in told


@pytest.mark.case(2, "wrong types")
def test_a_value_of_a_wrong_type_does_not_stop_at_ansibles_own_check(site):
    site.variables("gpunode_gpu: perhaps\ngpunode_runtime: [crio]\n")

    told = site.refusal()

    assert "gpunode_gpu is perhaps; expected true or false" in told
    assert "gpunode_runtime is" in told


@pytest.mark.case(11, "a line end in a value")
def test_a_value_with_a_line_end_is_refused(site):
    site.variables("gpunode_mirror: |\n  https://mirror.example.org\n")

    assert "gpunode_mirror holds a line end" in site.refusal()


@pytest.mark.case(44, "secrets in refused variables, -vvv")
def test_a_secret_is_never_shown(site):
    site.variables("gpunode_admin_passwrd: hunter2\nmonitoring_grafana_password: [hunter2]\n")

    told = site.refusal("-vvv")

    assert "gpunode_admin_passwrd" in told
    assert "hunter2" not in told


def test_variables_meant_for_something_else_can_be_named(site):
    site.variables("gpunode_of_another_team: 1\npreflight_ignored_variables: [gpunode_of_*]\n")

    done = site.run()

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.case(3, "two names, one machine", simulated="the nodes' facts")
def test_one_machine_under_two_names_is_refused_under_both(site):
    site.facts["gpu-2"] = json.loads(json.dumps(FACTS))

    told = site.refusal()

    assert "gpu-1 and gpu-2 are one machine" in told
    assert "gpu-2 and gpu-1 are one machine" in told


def test_one_unfit_node_does_not_hide_a_fit_one(site):
    site.facts["gpu-2"] = json.loads(json.dumps(FACTS))
    site.facts["gpu-2"]["boot"]["id"] = "other"
    site.facts["gpu-2"]["os"]["hostname"] = "gpu-2"
    site.facts["gpu-2"]["gpus"]["devices"] = []

    told = site.refusal()

    assert "cannot succeed on gpu-2" in told
    assert "cannot succeed on gpu-1" not in told


def test_values_may_refer_to_other_variables(site):
    site.variables(
        "branch_of_choice: '580'\n"
        "gpunode_driver_branch: '{{ branch_of_choice }}'\n"
        "cdi_timeout_seconds: '{{ 30 + 30 }}'\n"
        "cdi_feature_flags: \"{{ ['a', 'b'] }}\"\n"
    )

    done = site.run()

    assert done.returncode == 0, done.stdout + done.stderr


OLD_PYTHONS = sorted(
    path for version in ("3.6", "3.7", "3.8") for path in (Path.home() / ".pyenv/versions").glob(f"{version}.*")
)


@pytest.mark.skipif(not OLD_PYTHONS, reason="needs a Python before 3.9, such as pyenv installs")
@pytest.mark.parametrize("python", OLD_PYTHONS, ids=lambda path: path.name)
@pytest.mark.parametrize("mode", [(), ("--check",)], ids=["run", "check"])
@pytest.mark.case(9, "Python 3.6, 3.7, 3.8")
def test_a_python_too_old_is_one_line_and_no_traceback(site, python, mode):
    done = site.run(*mode, python=str(python / "bin/python"), look=True)

    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"Python on gpu-1 is {python.name} ({python}/bin/python)" in told
    assert "expected 3.9 or newer" in told
    assert "Traceback" not in told
    assert "SyntaxError" not in told


def test_a_node_that_cannot_be_looked_at_for_another_reason_says_it(site):
    done = site.run(
        "-e",
        '{"ansible_become": true, "ansible_become_user": "nobody", "ansible_become_exe": "/nowhere/sudo"}',
        look=True,
    )

    assert done.returncode != 0
    assert "/nowhere/sudo" in done.stdout + done.stderr
