# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role nvidia_driver through ansible-playbook: in which order it does what, on a node that stand-ins make up.

Its own modules are stand-ins that write down what they were asked, so nothing is installed or loaded; its files go to a
folder of the test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
STAND_IN = """\
from ansible.module_utils.basic import AnsibleModule
import json, pathlib

folder = pathlib.Path({folder!r})
name = {name!r}
module = AnsibleModule(argument_spec=json.loads((folder / f"{{name}}.spec").read_text()), supports_check_mode=True)
with open(folder / "calls", "a") as file:
    print(json.dumps([name, module.params]), file=file)
after = folder / "installed.json"
if name == "package_set":
    after.write_text((folder / "after.json").read_text())
    module.exit_json(changed=True)
if name == "node_info":
    facts = after if after.exists() else folder / "before.json"
    module.exit_json(changed=False, ansible_facts={{"gpunode": json.loads(facts.read_text())}})
module.exit_json(changed=False)
"""
SPECS = {
    "package_set": {
        name: {"type": kind}
        for name, kind in {
            "name": "str",
            "repository": "dict",
            "packages": "list",
            "absent": "list",
            "held": "bool",
            "hold_also": "list",
            "pins": "list",
            "streams": "list",
            "allow_change": "bool",
            "lock_timeout_seconds": "int",
        }.items()
    },
    "unit_set": {
        "state": {"type": "str"},
        "name": {"type": "str"},
        **{name: {"type": "list"} for name in ("files", "enabled", "started", "disabled")},
    },
    "node_info": {},
    "node_check": {},  # is looked up, and not run
}
LOADED = {"version": "580.126.20", "flavour": "open", "refcnt": 0}
NODE = {
    "os": {
        "id": "ubuntu",
        "id_like": ["debian"],
        "family": "debian",
        "name": "Ubuntu 24.04.3 LTS",
        "version": "24.04",
        "codename": "noble",
        "kernel": "6.8.0-60-generic",
        "architecture": "x86_64",
        "secure_boot": "disabled",
    },
    "kernel": {"initramfs": {"path": "/boot/initrd.img-6.8.0-60-generic", "older_than": []}},
    "gpus": {"devices": [{"device_id": "2330"}], "nvswitches": [{}], "flavour": {"value": "open"}},
    "driver": {
        "loaded": LOADED,
        "installed_module": LOADED,
        "modprobe_d": [],
        "nouveau": {"loaded": False, "available": True},
        "persistenced": {"persistence_mode_flag": None},
        "dkms": [],
    },
    "packages": {"installed": {}},
    "units": {"nvidia-fabricmanager.service": {"load": "loaded", "active": "active", "enabled": "enabled"}},
}


class Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = json.loads(json.dumps(NODE))
        self.nouveau = folder / "gpunode-nvidia.conf"
        self.rebuilt = folder / "rebuilt"
        collection = folder / "collections/ansible_collections/gpunode/ready"
        (collection / "plugins/modules").mkdir(parents=True)
        for part in ("roles", "meta", "galaxy.yml", "plugins/filter", "plugins/module_utils"):
            (collection / part).symlink_to(CHECKOUT / part)
        for name, spec in SPECS.items():
            text = STAND_IN.format(folder=str(folder), name=name)
            (collection / "plugins/modules" / f"{name}.py").write_text(text)
            (folder / f"{name}.spec").write_text(json.dumps(spec))
        (folder / "hosts").write_text(f"n1 ansible_connection=local ansible_python_interpreter={sys.executable}\n")

    def play(self, installed: str = "580.126.20-1ubuntu1", **options) -> subprocess.CompletedProcess:
        """The part of the role that installs and forbids. ``installed``: what the first installation brings."""
        after = json.loads(json.dumps(self.node))
        after["packages"]["installed"] = {"nvidia-dkms-580-open": {"version": installed}}
        (self.folder / "before.json").write_text(json.dumps(self.node))
        (self.folder / "after.json").write_text(json.dumps(after))
        chosen = {
            "nvidia_driver_persistence": False,
            "__nvidia_driver_nouveau_path": str(self.nouveau),
            "__nvidia_driver_initramfs": ["touch", str(self.rebuilt)],
            **options,
        }
        play = {"hosts": "all", "gather_facts": False, "roles": ["gpunode.ready.nvidia_driver"]}
        (self.folder / "play.yml").write_text(json.dumps([play]))
        return subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                "--inventory=hosts",
                "--tags=nvidia_driver_packages,nvidia_driver_nouveau",
                "--extra-vars",
                json.dumps(chosen),
                "play.yml",
            ],
            cwd=self.folder,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
                "ANSIBLE_COLLECTIONS_PATH": f"{self.folder / 'collections'}:{CHECKOUT / 'collections'}",
                "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
                "ANSIBLE_REMOTE_TEMP": str(self.folder / "tmp"),
                "ANSIBLE_NOCOLOR": "1",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def units(self) -> list[dict]:
        """What was asked of units, without what was left out."""
        asked = [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
        return [{key: value for key, value in given.items() if value} for name, given in asked if name == "unit_set"]

    def installations(self) -> list[list[str]]:
        """Each installation, as the packages that it asked for."""
        calls = self.folder / "calls"
        asked = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
        return [
            [f"{item['name']}={item.get('version', '')}".rstrip("=") for item in given["packages"]]
            for name, given in asked
            if name == "package_set"
        ]


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """A bare node with NVSwitches."""
    stage = Stage(tmp_path_factory.mktemp("first"))
    done = stage.play()
    assert done.returncode == 0, done.stdout + done.stderr
    return stage, done.stdout


def test_fabric_manager_comes_after_the_driver_at_exactly_its_version(first_run):
    first, second = first_run[0].installations()

    assert "nvidia-dkms-580-open=580.*" in first
    assert not [name for name in first if "fabric" in name]
    assert "nvidia-dkms-580-open=580.126.20" in second
    assert "nvidia-fabricmanager=580.126.20" in second


def test_the_initramfs_is_made_again_at_once_where_nouveau_is_forbidden(first_run):
    stage, said = first_run

    assert "blacklist nouveau" in stage.nouveau.read_text()
    assert stage.rebuilt.exists()
    assert said.index("Take it out of the initramfs") < said.index("load | ")


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ({"id": "ubuntu", "version": "28.04", "name": "Ubuntu 28.04 LTS"}, "for Ubuntu 28.04 LTS"),
        ({"id": "rocky", "family": "redhat", "version": "10.1", "name": "Rocky Linux 10.1"}, "CDF6BA43"),
    ],
    ids=["unknown release", "key without a fingerprint"],
)
def test_what_cannot_be_trusted_is_refused_before_anything_changes(stage, system, words):
    stage.node["os"].update(system)

    done = stage.play()

    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert words in said
    assert "Nothing was changed" in said
    assert stage.installations() == []
    assert not stage.nouveau.exists()


@pytest.mark.parametrize(
    "options",
    [
        {"nvidia_driver_repository_key_fingerprints": ["AB" * 20]},
        {"nvidia_driver_repository_key_url": "https://mirror.example.org/CDF6BA43.pub"},
    ],
    ids=["fingerprint", "address"],
)
def test_a_key_that_the_site_names_is_taken(stage, options):
    stage.node["os"].update(id="rocky", family="redhat", version="10.1", name="Rocky Linux 10.1")
    stage.node["gpus"]["nvswitches"] = []

    done = stage.play(**options)

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(stage.installations()) == 1  # without NVSwitches, one is enough


@pytest.mark.parametrize(("older", "rebuilt"), [(True, True), (False, False)], ids=["died before", "done"])
def test_the_next_run_makes_up_for_an_initramfs_that_is_older(stage, older, rebuilt):
    lines = ["blacklist nouveau", "blacklist nova_core", "options nouveau modeset=0"]
    stage.node["driver"]["modprobe_d"] = [{"path": str(stage.nouveau), "text": line} for line in lines]
    stage.node["kernel"]["initramfs"]["older_than"] = [str(stage.nouveau)] if older else ["/etc/modprobe.d/other.conf"]

    done = stage.play()

    assert done.returncode == 0, done.stdout + done.stderr
    assert not stage.nouveau.exists()  # it stood there already, as far as the facts say
    assert stage.rebuilt.exists() is rebuilt


def test_a_kernel_without_nouveau_has_none_in_its_initramfs(stage):
    stage.node["driver"]["nouveau"]["available"] = False

    done = stage.play()

    assert done.returncode == 0, done.stdout + done.stderr
    assert not stage.rebuilt.exists()


DAEMON = "nvidia-persistenced.service"


def test_units_that_are_as_wanted_are_not_asked_for(stage):
    stage.node["units"][DAEMON] = {"load": "loaded", "active": "active", "enabled": "static"}
    stage.node["driver"]["persistenced"]["persistence_mode_flag"] = True

    done = stage.play(nvidia_driver_persistence=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert stage.units() == []


def test_daemons_are_switched_on_by_what_knows_how_they_were_before(stage):
    stage.node["units"] = {DAEMON: {"load": "loaded", "active": "active", "enabled": "enabled"}}
    stage.node["driver"]["persistenced"]["persistence_mode_flag"] = False

    done = stage.play(nvidia_driver_persistence=True)

    assert done.returncode == 0, done.stdout + done.stderr
    daemon, fabric = stage.units()
    assert [file["path"] for file in daemon["files"]] == [f"/etc/systemd/system/{DAEMON}.d/20-gpunode.conf"]
    assert daemon["enabled"] == daemon["started"] == [DAEMON]
    assert fabric["enabled"] == fabric["started"] == ["nvidia-fabricmanager.service"]
    assert daemon["name"] == fabric["name"] == "nvidia_driver"
