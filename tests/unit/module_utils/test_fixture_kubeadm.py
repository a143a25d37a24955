# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixture of kubeadm must refuse what kubeadm refuses, in its words; nothing here gets past its preflight."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import kubeadm_config, kubeadm_run

FIXTURES = Path(__file__).parents[3] / "tests" / "lab" / "fixtures" / "kubernetes"
TOKEN = "abcdef.0123456789abcdef"
JOIN = {"token": TOKEN, "ca_cert_hashes": ["sha256:" + "0" * 64], "api_server_endpoint": "127.0.0.1:1"}
SOCKET = {"cri_socket": "unix:///nonexistent/crio.sock", "advertise_address": "127.0.0.1"}


def program(name, *arguments, version="1.36.4"):
    environment = {**os.environ, "KUBERNETES_FIXTURE_VERSION": version}
    argv = [sys.executable, str(FIXTURES / name), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.fixture
def config(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "kubeadm.yaml"
        path.write_text(text)
        path.chmod(mode)
        return f"--config={path}"

    return write


def test_it_says_that_it_is_a_fixture():
    assert "fixture" in program("kubeadm", "version").stdout
    assert program("kubeadm", "version", "-o", "short").stdout == "v1.36.4\n"
    assert program("kubelet", "--version").stdout == "Kubernetes v1.36.4\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["init", "--skip-phase=certs"], "unknown flag: --skip-phase"),
        (["init", "--config=/dev/null", "--token=x"], "can not mix '--config' with arguments [token]"),
        (["join", "--config=/dev/null", "--control-plane"], "can not mix '--config' with arguments [control-plane]"),
        (["init", "--config=/none/kubeadm.yaml"], "open /none/kubeadm.yaml: no such file or directory"),
        (["config", "images", "list", "--pod-network-cidr=x"], "unknown flag: --pod-network-cidr"),
        (["reset", "-f"], "kubeadm reset was called, and nothing here may"),
        (["begin"], 'unknown command "begin"'),
    ],
)
def test_a_command_line_that_kubeadm_does_not_know_is_refused(words, told):
    done = program("kubeadm", *words)

    assert done.returncode != 0
    assert told in done.stderr


def test_phases_are_known_by_their_names_alone(config):
    file = config(kubeadm_config.text({"version": "1.36.4", **SOCKET}))

    done = program("kubeadm", "init", file, "--skip-phases=certificates")

    assert "invalid phase name: certificates" in done.stderr


def test_the_join_command_cannot_be_shown_without_the_phases_it_is_made_of(config):
    file = config(kubeadm_config.text({"version": "1.36.4", **SOCKET}))

    done = program("kubeadm", "init", file, "--skip-phases=preflight,bootstrap-token")

    assert 'needed by "show-join-command" phase' in done.stderr


@pytest.mark.parametrize(
    ("text", "version", "told"),
    [
        ("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodeRegistation: {}\n", "1.36.4",
         "strict decoding error: InitConfiguration.nodeRegistation is no field"),
        ("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n", "1.30.1", "strict decoding error"),
        ("apiVersion: kubeadm.k8s.io/v1beta2\nkind: InitConfiguration\n", "1.36.4", "uses an old API spec"),
        ("a: [", "1.36.4", "error converting YAML to JSON"),
        ("apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n", "1.36.4", "no InitConfiguration or Cluster"),
        ("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n", "1.36.4", "could not fetch a Kubernetes"),
    ],
)  # fmt: skip
def test_a_configuration_that_this_version_does_not_know_is_refused(config, text, version, told):
    done = program("kubeadm", "init", config(text), version=version)

    assert done.returncode != 0
    assert told in done.stderr


def test_v1beta3_is_still_read_with_a_warning(config):
    file = config(kubeadm_config.text({"version": "1.30.1", **SOCKET}).replace("v1.30.1", "v1.36.1"))

    done = program("kubeadm", "config", "validate", file)

    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert "deprecated API spec" in done.stderr


def test_a_file_that_others_can_read_is_refused(config):
    file = config(kubeadm_config.text({"version": "1.36.4", **JOIN}, "worker"), mode=0o644)

    assert "can be read by others" in program("kubeadm", "join", file).stderr


@pytest.mark.parametrize(
    "version", [f"1.{minor}.1" for minor in range(kubeadm_config.OLDEST, kubeadm_config.NEWEST + 1)]
)
@pytest.mark.parametrize("member", ["first_control_plane", "control_plane", "worker"])
def test_what_is_written_for_each_version_is_taken_up_to_the_runtime_that_is_not_there(config, version, member):
    """Flags, phases and fields are those that this version knows: only the socket that does not exist is refused."""
    if member == "first_control_plane":
        text = kubeadm_config.text({"version": version, **SOCKET})
    else:
        key = {"certificate_key": "1" * 64} if member == "control_plane" else {}
        text = kubeadm_config.text({"version": version, **SOCKET, **JOIN, **key}, member)
    state = {"state": "none", "done": [], "missing": []}
    file = config(kubeadm_run.text_of(kubeadm_run.with_short_token(kubeadm_run.documents(text))))

    done = program("kubeadm", *kubeadm_run.arguments(member, state, [], file.partition("=")[2]), version=version)

    assert done.returncode == 2, done.stderr
    assert "[ERROR CRI]: could not connect to the container runtime" in done.stderr


@pytest.mark.parametrize("flag", ["--container-runtime=remote", "--pod-infra-container-image=x", "--maxPods=1"])
def test_a_flag_that_kubelet_does_not_know_ends_it(flag):
    done = program("kubelet", flag)

    assert done.returncode == 1
    assert "failed to parse kubelet flag: unknown flag: " in done.stderr
