# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""node_info, node_check, verify and repair, through Ansible itself, on the machine that runs the tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.checks.all import CHECKS
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.all import FAILURES

pytestmark = pytest.mark.stage("process")

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
GONE = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-o ConnectTimeout=2"}
SWAP = "Nov 20 08:00:00 gpu-1 kubelet[9]: failed to run Kubelet: running with swap on is not supported"


def run(tmp_path, program, *arguments):
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TMP": str(tmp_path / "remote"),
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [BIN / program, "-i", tmp_path / "hosts.json", *arguments]
    # from a folder of its own, so that no configuration of this checkout is read
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400, check=False
    )


def inventory(tmp_path, **hosts):
    known = {
        "here": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "gone": GONE,
    }
    groups = {"gpu_nodes": {"hosts": {name: {**known[name], **extra} for name, extra in hosts.items()}}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"other": known["here"]}, "children": groups}}))


def module(tmp_path, name, arguments):
    inventory(tmp_path, here={})
    given = ["-a", json.dumps(arguments)] if arguments else []
    done = run(tmp_path, "ansible", "here", "-m", f"gpunode.ready.{name}", *given)
    assert "=> {" in done.stdout, done.stdout + done.stderr
    return json.loads(done.stdout.partition("=> ")[2])


def playbook(tmp_path, name, hosts, *arguments):
    inventory(tmp_path, **hosts)
    variables = json.dumps({"gpunode_report_dir": str(tmp_path / "report"), "ansible_become": False})
    return run(tmp_path, "ansible-playbook", f"gpunode.ready.{name}", "-e", variables, *arguments)


def test_node_info_returns_every_part_and_fails_for_none(tmp_path):
    answer = module(tmp_path, "node_info", {})

    facts = answer["ansible_facts"]["gpunode"]
    assert not answer["changed"]
    assert facts["os"]["kernel"] == os.uname().release
    assert len(facts) == 20


def test_node_info_returns_only_the_parts_that_are_named(tmp_path):
    answer = module(tmp_path, "node_info", {"parts": ["boot", "swap"]})

    assert sorted(answer["ansible_facts"]["gpunode"]) == ["boot", "schema", "swap"]


def test_node_check_only_looks_at_what_its_layers_need(tmp_path):
    answer = module(tmp_path, "node_check", {"layers": ["host"], "fail_on": "never"})

    assert "nvml" not in answer["facts"]
    assert list(answer["states"]) == ["host"]


def test_node_check_fails_with_all_findings_in_its_message(tmp_path):
    answer = module(tmp_path, "node_check", {"expect": {"gpu_count": 99, "services": ["no-such"]}})

    assert "gpu-count-mismatch" in answer["msg"]
    assert "expected 99" in answer["msg"]
    assert "facts" not in answer


def test_node_check_refuses_an_expectation_that_does_not_exist(tmp_path):
    answer = module(tmp_path, "node_check", {"expect": {"gpu_cuont": 2}})

    assert "gpu_cuont" in answer["msg"]
    assert "gpu_count" in answer["msg"]


def test_a_muted_finding_is_left_out(tmp_path):
    arguments = {"expect": {"gpu_count": 99}, "fail_on": "never", "mute": ["gpu-count-mismatch"]}

    answer = module(tmp_path, "node_check", arguments)

    assert "gpu-count-mismatch" not in [finding["id"] for finding in answer["findings"]]


def test_verify_tells_of_every_node_and_writes_the_report(tmp_path):
    done = playbook(tmp_path, "verify", {"here": {"gpunode_gpu_count": 99}, "gone": {}})

    told = json.loads((tmp_path / "report/report.json").read_text())
    assert done.returncode == 2, done.stdout
    assert {node["name"]: node["state"] for node in told["nodes"]} == {"here": "failed", "gone": "unreachable"}
    assert (tmp_path / "report/report.html").read_text().startswith("<!doctype html>")
    assert "not ready: " in done.stdout + done.stderr
    assert "changed=0" in done.stdout


@pytest.mark.parametrize("limit", ["other", "nobody"])
@pytest.mark.parametrize("name", ["verify", "repair"])
@pytest.mark.case(4, "--limit leaves no node: verify.yml, repair.yml")
def test_a_limit_that_leaves_no_node_fails(tmp_path, name, limit):
    done = playbook(tmp_path, name, {"here": {}}, "--limit", limit)

    assert done.returncode != 0


def test_repair_in_check_mode_shows_the_plan_and_what_needs_a_person(tmp_path):
    done = playbook(tmp_path, "repair", {"here": {"gpunode_gpu_count": 99}}, "--check")

    assert "Roles: " in done.stdout, done.stdout + done.stderr
    assert "gpu-count-mismatch" in done.stdout.split("Needs a person: ")[1].splitlines()[0]


def test_repair_reads_logs_where_asked_and_says_what_they_alone_tell_and_when(tmp_path):
    """In check mode, on this machine, over a planted log; what a look finds here is muted but for what is planted."""
    unresolvable = next(item for item in FAILURES if item.id == "cdi-unresolvable-device").signatures[0].sample
    log = tmp_path / "old.log"
    log.write_text(f"{SWAP}\nNov 21 09:00:00 gpu-1 crio[7]: {unresolvable}\n")
    asked = {
        "gpunode_repair_logs": True,
        "gpunode_diagnose_paths": [str(log)],
        "gpunode_mute": [check.id for check in CHECKS if check.id != "kubelet-swap-on"],
    }

    done = playbook(tmp_path, "repair", {"here": {}}, "--check", "-e", json.dumps(asked))

    assert "cdi (tag cdi_spec) for cdi-unresolvable-device" in done.stdout, done.stdout + done.stderr
    assert "seen once, Nov 21 09:00:00" in done.stdout
    assert "past, for the look shows no more of it: kubelet-swap-on" in done.stdout
    assert "host_prep" not in done.stdout.split("Roles: ")[1].splitlines()[0]


def test_repair_fails_where_the_host_on_which_the_cluster_is_asked_does_not_answer(tmp_path):
    inventory(tmp_path, here={})
    hosts = json.loads((tmp_path / "hosts.json").read_text())
    hosts["all"]["children"]["control_plane"] = {"hosts": {"plane": GONE}}
    (tmp_path / "hosts.json").write_text(json.dumps(hosts))
    asked = {
        "gpunode_report_dir": str(tmp_path / "report"),
        "ansible_become": False,
        "gpunode_kubernetes": "kubeadm",
        "gpunode_mute": [check.id for check in CHECKS],
    }

    done = run(tmp_path, "ansible-playbook", "gpunode.ready.repair", "-e", json.dumps(asked))

    assert done.returncode != 0
    assert re.search("the cluster was not asked: .*via ssh", done.stdout), done.stdout + done.stderr


def plays(tmp_path, *tasks):
    """Run tasks on this machine; what each returned, in order."""
    inventory(tmp_path, here={})
    named = [{"name": f"task {number}", **task} for number, task in enumerate(tasks)]
    (tmp_path / "play.json").write_text(json.dumps([{"hosts": "here", "gather_facts": False, "tasks": named}]))
    done = run(tmp_path, "ansible-playbook", "play.json", "-e", "ansible_callback_result_format=json", "-vvv")
    return done.stdout + done.stderr


def test_what_was_looked_at_before_is_judged_without_the_node(tmp_path):
    said = plays(
        tmp_path,
        {"gpunode.ready.node_info": {}},
        {
            "gpunode.ready.node_check": {"layers": ["host"], "fail_on": "never", "look": False},
            "connection": "ssh",  # nobody answers there: what asks the node fails
            "vars": {"ansible_host": "127.0.0.1", "ansible_port": 1},
        },
    )

    assert "ok=2" in said, said
    assert "unreachable=0" in said


def test_what_was_not_looked_at_yet_is_looked_at_and_remembered(tmp_path):
    said = plays(
        tmp_path,
        {"gpunode.ready.node_check": {"layers": ["host"], "fail_on": "never", "look": False}},
        {"ansible.builtin.assert": {"that": "ansible_facts['gpunode'] is superset(['swap', 'kernel', 'units'])"}},
    )

    assert "ok=2" in said, said
