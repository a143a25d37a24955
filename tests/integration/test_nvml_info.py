# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module, run by Ansible as it is on a node, against the simulated library."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIMULATION = ROOT / "tests/lab/sim/nvml"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if not (shutil.which("gcc") or shutil.which("cc")) or not shutil.which("make"):
        pytest.skip("the simulated library needs a C compiler: apt-get install gcc libc6-dev make")
    folder = tmp_path_factory.mktemp("nvml")
    subprocess.run(["make", "-s", "-C", str(SIMULATION), f"OUT={folder}"], check=True)
    return folder


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path, monkeypatch):
    (tmp_path / "ansible.cfg").write_text("")
    monkeypatch.setenv("ANSIBLE_CONFIG", str(tmp_path / "ansible.cfg"))


def ansible(world: Path, *options: str, check: bool = False) -> dict:
    """The module's answer; the connection is local, the process the one that a node would run."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "GPUNODE_SIM_GPUS": str(world),
        "GPUNODE_SIM_KERNEL": "any",
    }
    command = [str(Path(sys.executable).parent / "ansible"), "localhost", "-i", "localhost,", "-c", "local"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", "-m", "gpunode.ready.nvml_info"]
    command += ["-a", " ".join(options), *(["--check"] if check else [])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"=> (\{.*\})", done.stdout, re.DOTALL)
    assert found, done.stdout + done.stderr
    return json.loads(found.group(1))


def test_the_gpus_are_told_and_nothing_is_changed(library):
    answer = ansible(SIMULATION / "samples/a16.json", f"library={library}")

    assert answer["changed"] is False
    assert answer["condition"] == "ok"
    assert answer["simulated"] is True
    assert [device["name"] for device in answer["devices"]] == ["NVIDIA A16 (simulated)"] * 4


def test_check_mode_answers_the_same(library):
    answer = ansible(SIMULATION / "samples/h200.json", f"library={library}/libnvidia-ml.so.1", check=True)

    assert answer["condition"] == "ok"
    assert answer["device_count"] == 1


def test_a_hanging_gpu_ends_the_module_in_time(library, tmp_path):
    world = json.loads((SIMULATION / "samples/h200.json").read_text())
    world["devices"][0]["delays"] = {"nvmlDeviceGetTemperatureV": -1}
    (tmp_path / "gpus.json").write_text(json.dumps(world))
    start = time.monotonic()

    answer = ansible(tmp_path / "gpus.json", f"library={library}", "timeout_seconds=1")

    assert time.monotonic() - start < 30
    assert answer["condition"] == "timed-out"
    assert answer["devices"][0]["condition"] == "timed-out"
    assert "nvmlDeviceGetTemperatureV" in answer["meaning"]


def test_a_library_that_is_not_there_is_a_condition_not_a_failure(tmp_path):
    answer = ansible(tmp_path / "none.json", f"library={tmp_path}/libnvidia-ml.so.1")

    assert "msg" not in answer
    assert answer["condition"] == "library-not-found"


def test_no_time_at_all_is_refused(tmp_path):
    answer = ansible(tmp_path / "none.json", "timeout_seconds=0")

    assert answer["msg"] == "`timeout_seconds` is 0: it must be more than 0."
