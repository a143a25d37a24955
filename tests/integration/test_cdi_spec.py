# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a process of its own, with real files and a stand-in for nvidia-ctk that checks how it is called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stage("process")

CHECKOUT = Path(__file__).resolve().parents[2]
NVIDIA = (CHECKOUT / "tests/unit/data/cdi/nvidia-0.5.0.yaml").read_text()
OWN = "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: all\n  containerEdits:\n    env: [SITE=1]\n"

NVIDIA_CTK = """#!/bin/sh
# Stands in for nvidia-ctk: takes what `cdi generate` takes, writes the spec given beside it.
here=$(dirname "$0")
[ "$1 $2" = "cdi generate" ] || { echo "unexpected: $*" >&2; exit 64; }
echo "$*" >> "$here/calls"
for argument; do case $argument in --output=*) output=${argument#--output=};; esac; done
if [ -s "$here/fails" ]; then cat "$here/fails" >&2; exit 1; fi
cat "$here/spec" > "$output"
chmod 0644 "$output"
"""


class Node:
    """Two spec folders and an nvidia-ctk."""

    def __init__(self, root: Path) -> None:
        self.low, self.high, self.tools = root / "etc-cdi", root / "run-cdi", root / "bin"
        for folder in (self.low, self.high, self.tools):
            folder.mkdir()
        self.output = self.high / "nvidia.yaml"
        self.ctk = self.tools / "nvidia-ctk"
        self.ctk.write_text(NVIDIA_CTK)
        self.ctk.chmod(0o755)
        (self.tools / "spec").write_text(NVIDIA)

    def converge(self, **options):
        arguments = {
            "output": str(self.output),
            "spec_dirs": [str(self.low), str(self.high)],
            "nvidia_ctk": str(self.ctk),
            **options,
        }
        done = subprocess.run(
            [sys.executable, "-m", "ansible_collections.gpunode.ready.plugins.modules.cdi_spec"],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            env={**os.environ, "PYTHONPATH": str(CHECKOUT / "collections")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def files(self):
        return sorted(
            str(path.relative_to(self.low.parent)) for folder in (self.low, self.high) for path in folder.iterdir()
        )


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_a_bare_node_gets_its_spec(node):
    answer = node.converge()

    assert answer["changed"] is True
    assert node.output.read_text() == NVIDIA
    assert node.output.stat().st_mode & 0o777 == 0o644
    assert "nvidia.com/gpu=all" in answer["devices"]


def test_running_twice_changes_nothing(node):
    node.converge()
    before = node.output.stat()

    answer = node.converge()

    assert answer["changed"] is False
    assert answer["diff"] == []
    assert node.output.stat().st_ino == before.st_ino


def test_a_spec_that_means_the_same_is_not_rewritten(node):
    import yaml

    node.output.write_text(yaml.safe_dump(yaml.safe_load(NVIDIA)))

    assert node.converge()["changed"] is False


def test_a_stale_spec_is_replaced_and_shown(node):
    node.output.write_text(NVIDIA.replace("580.95.05", "575.57.08"))

    answer = node.converge()

    assert answer["changed"] is True
    assert "575.57.08" in answer["diff"][0]["before"]
    assert "580.95.05" in answer["diff"][0]["after"]
    assert node.files() == ["run-cdi/nvidia.yaml"]


ANCHORED = """cdiVersion: 0.5.0
kind: example.com/fpga
devices:
- name: a
  containerEdits: &edits
    env: [SITE=1]
- name: b
  containerEdits: *edits
"""


@pytest.mark.parametrize(
    "text", ["cdiVersion: 0.5.0\nkind: [\n", ANCHORED], ids=["broken", "YAML that only others read"]
)
def test_what_cannot_be_read_is_set_aside_told_and_back_afterwards(node, text):
    node.output.write_text(text)

    predicted = node.converge(_ansible_check_mode=True)
    answer = node.converge()
    kept = node.files()
    again = node.converge()
    removed = node.converge(state="absent")

    assert [item["from"] for item in predicted["disabled"]] == [str(node.output)]
    assert answer["written"] == [str(node.output)]
    assert answer["disabled"][0]["to"] == f"{node.output}.gpunode-disabled"
    assert kept == ["run-cdi/nvidia.yaml", "run-cdi/nvidia.yaml.gpunode-disabled"]
    assert again["changed"] is False
    assert removed["changed"] is True
    assert node.output.read_text() == text
    assert node.files() == ["run-cdi/nvidia.yaml"]


def test_absent_leaves_and_tells_what_cannot_be_read(node):
    node.output.write_text(ANCHORED)
    node.output.with_name("nvidia.yaml.gpunode-disabled").write_text(OWN)

    answer = node.converge(state="absent")

    assert answer["changed"] is False
    assert answer["kept"][0]["path"] == str(node.output)
    assert node.output.read_text() == ANCHORED


def test_a_wrong_mode_is_put_right_and_nothing_else(node):
    node.converge()
    node.output.chmod(0o600)

    answer = node.converge()

    assert answer["changed"] is True
    assert node.output.stat().st_mode & 0o777 == 0o644
    assert node.converge()["changed"] is False


@pytest.mark.parametrize("place", ["low", "high"])
def test_a_duplicate_that_nvidia_ctk_wrote_is_set_aside(node, place):
    duplicate = getattr(node, place) / "old.yaml"
    duplicate.write_text(NVIDIA)

    answer = node.converge()

    assert answer["disabled"][0]["from"] == str(duplicate)
    assert not duplicate.exists()
    assert Path(answer["disabled"][0]["to"]).read_text() == NVIDIA
    assert node.converge()["changed"] is False


def test_a_link_to_the_spec_from_another_folder_is_set_aside(node):
    node.converge()
    (node.low / "nvidia.yaml").symlink_to(node.output)

    answer = node.converge()

    assert [item["from"] for item in answer["disabled"]] == [str(node.low / "nvidia.yaml")]
    assert node.output.read_text() == NVIDIA


def test_a_spec_written_by_hand_in_another_folder_is_kept_and_named(node):
    (node.low / "site.yaml").write_text(OWN)

    answer = node.converge()

    assert (node.low / "site.yaml").read_text() == OWN
    assert answer["kept"][0]["path"] == str(node.low / "site.yaml")


def test_a_spec_written_by_hand_that_would_collide_stops_the_run(node):
    (node.high / "site.yaml").write_text(OWN)

    answer = node.converge()

    assert answer["failed"] is True
    assert "nvidia.com/gpu=all" in answer["msg"]
    assert node.files() == ["run-cdi/site.yaml"]


def test_a_spec_written_by_hand_at_the_output_is_not_replaced(node):
    node.output.write_text(OWN)

    answer = node.converge()

    assert answer["failed"] is True
    assert node.output.read_text() == OWN


def test_when_nvidia_ctk_fails_its_words_are_told_and_the_old_spec_stays(node):
    node.converge()
    words = (
        "failed to generate CDI spec: failed to create device CDI specs: failed to initialize NVML: Driver Not Loaded"
    )
    (node.tools / "fails").write_text(
        f'time="2026-11-21T09:00:00Z" level=info msg="Auto-detected mode as \\"nvml\\""\n'
        f'time="2026-11-21T09:00:00Z" level=error msg="{words}"\n'
    )

    answer = node.converge()

    assert answer["failed"] is True
    assert words in answer["msg"]
    assert "Auto-detected" not in answer["msg"]
    assert node.output.read_text() == NVIDIA


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no CDI spec"),
        ("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n", "no devices"),
        ("kind: [", "no CDI spec"),
    ],
)
def test_a_bad_spec_from_nvidia_ctk_never_replaces_a_good_one(node, text, word):
    node.converge()
    (node.tools / "spec").write_text(text)

    answer = node.converge()

    assert answer["failed"] is True
    assert word in answer["msg"]
    assert node.output.read_text() == NVIDIA


def test_check_mode_predicts_the_change_and_makes_none(node):
    (node.low / "old.yaml").write_text(NVIDIA)

    predicted = node.converge(_ansible_check_mode=True)
    files = node.files()
    real = node.converge()

    assert files == ["etc-cdi/old.yaml"]
    assert predicted["changed"] is True
    assert predicted["written"] == real["written"]
    assert [item["from"] for item in predicted["disabled"]] == [item["from"] for item in real["disabled"]]


def test_check_mode_on_a_node_without_the_toolkit_predicts_a_spec(node):
    answer = node.converge(_ansible_check_mode=True, nvidia_ctk="/nowhere/nvidia-ctk")

    assert answer["changed"] is True
    assert not answer.get("failed")


def test_without_the_toolkit_the_role_that_brings_it_is_named(node):
    answer = node.converge(nvidia_ctk="/nowhere/nvidia-ctk")

    assert answer["failed"] is True
    assert "gpunode.ready.nvidia_container_toolkit" in answer["msg"]


def test_options_reach_nvidia_ctk_as_they_are(node):
    node.converge(
        driver_root="/run/nvidia driver/$(touch pwned)", feature_flags=["no-additional-gids-for-device-nodes"]
    )

    (call,) = (node.tools / "calls").read_text().splitlines()
    assert "--driver-root=/run/nvidia driver/$(touch pwned) " in call
    assert call.endswith("--feature-flag=no-additional-gids-for-device-nodes")


def test_a_runtime_too_old_for_the_spec_is_warned_of_with_the_flag_that_helps(node):
    newer = NVIDIA.replace("cdiVersion: 0.5.0", "cdiVersion: 0.7.0").replace(
        "containerEdits:\n    env:", "containerEdits:\n    additionalGids: [44]\n    env:"
    )
    (node.tools / "spec").write_text(newer)

    answer = node.converge(readers={"containerd": "1.7.12", "crio": "1.36.3"})

    (warning,) = [str(item) for item in answer["warnings"]]
    assert "containerd reads from 1.7.16 on; here is 1.7.12" in warning
    assert "no-additional-gids-for-device-nodes" in warning


def test_a_place_that_no_runtime_reads_is_refused(node):
    answer = node.converge(output=str(node.low.parent / "nvidia.yaml"))

    assert answer["failed"] is True
    assert "no runtime reads it" in answer["msg"]


def test_absent_takes_away_what_nvidia_ctk_wrote(node):
    node.converge()

    assert node.converge(state="absent")["changed"] is True
    assert node.files() == []
    assert node.converge(state="absent")["changed"] is False


def test_absent_puts_back_what_was_set_aside(node):
    node.converge()
    aside = node.output.with_name("old.yaml.gpunode-disabled")
    aside.write_text(OWN)

    assert node.converge(state="absent")["changed"] is True
    assert node.output.with_name("old.yaml").read_text() == OWN
    assert node.converge(state="absent")["changed"] is False


def test_absent_leaves_what_somebody_wrote_by_hand(node):
    node.output.write_text(OWN)

    assert node.converge(state="absent")["failed"] is True
    assert node.output.read_text() == OWN


@pytest.mark.case(47, "a link at the CDI spec")
def test_a_planted_link_at_the_output_is_replaced_and_not_followed(node):
    victim = node.low.parent / "victim"
    victim.write_text("precious")
    node.output.symlink_to(victim)

    node.converge()

    assert victim.read_text() == "precious"
    assert node.output.read_text() == NVIDIA
    assert not node.output.is_symlink()
