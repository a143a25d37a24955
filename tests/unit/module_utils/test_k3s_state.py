# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import k3s_config, k3s_state
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host

READY = {"registered": True, "ready": True, "kubelet_version": "v1.36.4+k3s1", "problem": ""}
RENDERED = """\
version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""
NVIDIA = RENDERED + (
    "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]\n  runtime_type = \"io.containerd.runc.v2\"\n"
)
AGENT = {
    k3s_state.AGENT_CA: "their CA\n",
    k3s_state.KUBELET: "kubeconfig\n",
    f"{k3s_state.CONTAINERD}/config.toml": NVIDIA,
    k3s_config.CONFIG: f"{k3s_config.HEADER}server: https://192.0.2.1:6443\nnode-name: gpu-7\n",
    "/etc/systemd/system/k3s-agent.service": k3s_config.unit_text("agent"),
}


@pytest.fixture
def seen(tmp_path):
    def look(files=(), active="active", enabled="enabled", told=READY, programs=(), **how):
        for path, text in dict(files).items():
            place = tmp_path / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        for path in (k3s_config.BINARY, *programs):
            place = tmp_path / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("program")
            place.chmod(0o755)

        def run(argv, _seconds):
            if argv[-1] == "--version":
                return Completed(0, "k3s version v1.36.4+k3s1 (abc)\ngo version go1.26\n", "")
            return Completed(0, f"LoadState=loaded\nActiveState={active}\nUnitFileState={enabled}\n", "")

        host = Host(str(tmp_path), run)
        return k3s_state.look(host, ask=lambda _config, _name: told, address=lambda: "192.0.2.7", **how)

    return look


def test_a_bare_node_is_none(seen):
    found = seen(member="agent", active="inactive", enabled="")

    assert (found["state"], found["role"], found["healthy"]) == ("none", "", None)
    assert found["unit"]["name"] == "k3s-agent.service"
    assert found["version"] == "v1.36.4+k3s1"
    assert found["checksum"] == hashlib.sha256(b"program").hexdigest()


def test_an_agent_tells_its_cluster_and_its_handlers(seen):
    found = seen(AGENT, member="agent")

    assert (found["state"], found["healthy"], found["reasons"]) == ("member", True, [])
    assert found["ca_hash"] == f"sha256:{hashlib.sha256(b'their CA' + bytes([10])).hexdigest()}"
    assert found["server"] == "https://192.0.2.1:6443"
    assert found["node_name"] == "gpu-7"
    assert found["handlers"] == ["nvidia", "runc"]
    assert found["foreign_options"] == []


@pytest.mark.parametrize(
    ("how", "state", "told"),
    [
        ({"active": "activating"}, "incomplete", "k3s-agent.service is activating"),
        ({"enabled": "disabled"}, "incomplete", "does not start at boot"),
        ({"told": {**READY, "registered": False}}, "incomplete", "the cluster has no node gpu-7"),
        ({"told": {**READY, "registered": None, "problem": "refused"}}, "member", "the API does not answer: refused"),
        ({"told": {**READY, "ready": False, "problem": "cni"}}, "member", "the node is not Ready: cni"),
    ],
)
def test_what_is_not_as_it_should_be_is_told(seen, how, state, told):
    found = seen(AGENT, member="agent", **how)

    assert found["state"] == state
    assert found["healthy"] is False
    assert any(told in reason for reason in found["reasons"])


def test_a_server_is_told_from_an_agent_by_its_data(seen):
    found = seen({**AGENT, k3s_state.SERVER_CA: "our CA\n"}, member="agent")

    assert found["role"] == "server"
    assert found["unit"]["name"] == "k3s.service"
    assert "its kubelet has no credentials yet" in found["reasons"], "it has no kubeconfig of an administrator"


def test_the_unit_of_what_the_node_was_before_is_noticed(seen):
    server = "/etc/systemd/system/k3s.service"

    found = seen({**AGENT, server: k3s_config.unit_text("server")}, member="agent")
    theirs = seen({server: "[Service]\nExecStart=/usr/local/bin/k3s server\n"}, member="agent")

    assert found["other_unit"] == {"name": "k3s.service", "there": True, "ours": True}
    assert theirs["other_unit"]["ours"] is False


def test_a_name_that_an_installer_left_in_the_environment_is_the_node_s(seen):
    files = {k: v for k, v in AGENT.items() if k != k3s_config.CONFIG}
    environment = "/etc/systemd/system/k3s-agent.service.env"

    found = seen({**files, environment: "K3S_NODE_NAME='gpu-9'\nK3S_URL='https://192.0.2.1:6443'\n"}, member="agent")

    assert (found["node_name"], found["server"]) == ("gpu-9", "https://192.0.2.1:6443")


@pytest.mark.parametrize("option", ["docker: true", "container-runtime-endpoint: unix:///run/crio/crio.sock"])
def test_no_handler_is_expected_of_another_runtime(seen, option):
    config = {k3s_config.CONFIG: f"{k3s_config.HEADER}{option}\n"}

    found = seen({**AGENT, **config}, programs=("/usr/bin/nvidia-container-runtime",))

    assert found["handlers_found"] == []


def test_an_agent_s_template_is_judged_by_the_servers_pod_network(seen):
    path = f"{k3s_state.CONTAINERD}/config-v3.toml.tmpl"
    text = "{{ template \"base\" . }}\n[plugins.'io.containerd.cri.v1.runtime'.cni]\n"

    flannel = seen({**AGENT, path: text}, member="agent")["templates"]
    none = seen({**AGENT, path: text}, member="agent", flannel_backend="none")["templates"]

    assert [item["broken"] for item in flannel + none] == [True, False]


@pytest.mark.parametrize(
    ("programs", "rendered", "lacks"),
    [
        ((), RENDERED, False),
        (("/usr/bin/nvidia-container-runtime",), NVIDIA, False),
        (("/usr/bin/nvidia-container-runtime",), RENDERED, True),
        (("/usr/local/nvidia/toolkit/nvidia-container-runtime",), RENDERED, True),
    ],
)
def test_a_runtime_that_k3s_has_not_found_is_noticed(seen, programs, rendered, lacks):
    found = seen({**AGENT, f"{k3s_state.CONTAINERD}/config.toml": rendered}, programs=programs)

    assert k3s_state.lacks_nvidia(found) is lacks


@pytest.mark.parametrize(
    ("how", "nvidia", "told"),
    [
        ({}, True, ""),
        ({"told": {**READY, "ready": False, "problem": "cni"}}, True, ""),
        ({"told": {**READY, "registered": None, "problem": "refused"}}, True, "the API does not answer: refused"),
        ({"told": {**READY, "registered": False}}, True, "the cluster has no node gpu-7"),
        ({"active": "activating"}, True, "k3s-agent.service is activating"),
        ({"programs": ("/usr/bin/nvidia-container-runtime",)}, True, "no handler nvidia (it has runc)"),
        ({"programs": ("/usr/bin/nvidia-container-runtime",)}, False, ""),
    ],
)
def test_k3s_has_come_up_when_the_cluster_has_said_so(seen, how, nvidia, told):
    found = k3s_state.lacking(seen({**AGENT, f"{k3s_state.CONTAINERD}/config.toml": RENDERED}, **how), nvidia)

    assert len(found) == (1 if told else 0)
    assert told in "".join(found)


def test_k3s_that_has_made_nothing_yet_has_not_come_up(seen):
    assert k3s_state.lacking(seen(member="agent"), True) == ["k3s has made no certificates yet"]


def test_what_somebody_else_set_is_told_with_its_place(seen):
    unit = "/etc/systemd/system/k3s.service"
    files = {
        k3s_config.CONFIG: "disable: [traefik]\n",
        unit: "[Service]\nExecStart=/usr/local/bin/k3s server --cluster-domain=site.local --debug\n",
    }

    found = seen(files)

    assert found["foreign_options"] == ["cluster-domain", "debug", "disable"]
    assert found["foreign_source"] == f"{k3s_config.CONFIG}, {unit}"


def test_a_template_left_behind_is_judged_by_the_release_that_is_to_be(seen):
    path = f"{k3s_state.CONTAINERD}/config-v3.toml.tmpl"

    new = seen({path: "version = 3\n"}, version="v1.36.4+k3s1")["templates"]
    old = seen({path: "version = 3\n"}, version="v1.30.9+k3s1")["templates"]

    assert [(item["path"], item["broken"]) for item in new] == [(path, True)]
    assert [(item["in_force"], item["broken"]) for item in old] == [(False, False)]
