# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm is told only what lacks, by a file that is gone afterwards, and none of its secrets is told on."""

from __future__ import annotations

import os
import stat

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import kubeadm_config, kubeadm_run
from ansible_collections.gpunode.ready.plugins.module_utils.kubeadm_call import call
from hypothesis import given
from hypothesis import strategies as st

TOKEN, KEY = "abcdef.0123456789abcdef", "1" * 64
JOIN = {
    "version": "1.36.4",
    "token": TOKEN,
    "ca_cert_hashes": ["sha256:" + "0" * 64],
    "api_server_endpoint": "192.0.2.10:6443",
    "certificate_key": KEY,
}
NONE = {"state": "none", "done": [], "missing": []}


def half(*done):
    return {"state": "join-incomplete", "done": list(done), "missing": ["etcd-join"]}


@pytest.mark.parametrize("version", ["1.28.1", "1.36.4"])
def test_what_init_makes_of_its_own_accord_ends_soon(version):
    config = kubeadm_run.documents(kubeadm_config.text({"version": version}))

    made = kubeadm_run.with_short_token(config)

    [init] = [item for item in made if item["kind"] == "InitConfiguration"]
    assert [token["ttl"] for token in init["bootstrapTokens"]] == ["10m0s"]
    for item in made:
        assert kubeadm_config.unknown_fields(item, kubeadm_config.minor_of(version)) == []


def test_a_token_that_the_site_names_stays():
    config = [{"kind": "InitConfiguration", "bootstrapTokens": [{"token": TOKEN}]}]

    assert kubeadm_run.with_short_token(config) == config


def test_phases_that_the_site_leaves_out_are_left_out_of_a_command_that_names_others():
    config = kubeadm_run.documents(kubeadm_config.text({"version": "1.36.4", "skip_phases": ["addon/kube-proxy"]}))

    argv = kubeadm_run.arguments("first_control_plane", NONE, kubeadm_run.skipped_by(config), "/run/x")

    assert "--skip-phases=addon/kube-proxy,show-join-command" in argv


@pytest.mark.parametrize(
    ("member", "judged", "skipped"),
    [
        ("worker", NONE, []),
        ("worker", half(), ["--skip-phases=preflight"]),
        ("control_plane", half("control-plane-prepare"), ["--skip-phases=preflight,control-plane-prepare"]),
        (
            "control_plane",
            half("control-plane-prepare", "kubelet-start", "etcd-join", "kubelet-wait-bootstrap"),
            ["--skip-phases=preflight,control-plane-prepare,kubelet-start"],
        ),
    ],
)
def test_a_join_names_only_phases_that_every_version_knows(member, judged, skipped):
    assert kubeadm_run.arguments(member, judged, [], "/run/x") == ["join", "--config=/run/x", *skipped]


def test_every_secret_of_a_configuration_is_known():
    config = kubeadm_run.documents(kubeadm_config.text(JOIN, "control_plane"))

    assert set(kubeadm_run.secrets_of(config)) == {TOKEN, TOKEN[7:], KEY}


@pytest.mark.parametrize("text", [f"using token: {TOKEN}.", f"key:\n{KEY}\n", f"--token {TOKEN} --key={KEY}"])
def test_what_looks_like_a_secret_is_not_told(text):
    told = kubeadm_run.hide(text)

    assert TOKEN not in told
    assert KEY not in told


def test_the_hash_of_the_authority_is_no_secret():
    assert kubeadm_run.hide("sha256:" + "0" * 64) == "sha256:" + "0" * 64


SAID = """W1121 16:23:20.1 1 initconfiguration.go:333] a warning
[preflight] Running pre-flight checks
error execution phase preflight: [preflight] Some fatal errors occurred:
	[ERROR Port-6443]: Port 6443 is in use
	[ERROR DirAvailable--var-lib-etcd]: /var/lib/etcd is not empty
[preflight] If you know what you are doing, you can make a check non-fatal with `--ignore-preflight-errors=...`
"""


def test_of_a_failure_the_errors_are_told_and_the_phase():
    assert kubeadm_run.said(SAID).splitlines()[1:] == [
        "[ERROR Port-6443]: Port 6443 is in use",
        "[ERROR DirAvailable--var-lib-etcd]: /var/lib/etcd is not empty",
    ]
    assert kubeadm_run.failed_phase(SAID) == "preflight"


@given(st.text())
def test_no_output_is_too_strange_to_be_told(text):
    kubeadm_run.said(text, ["x"])


@pytest.mark.parametrize("text", ["", "a: [", "- a\n", "just words"])
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(ValueError, match="configuration"):
        kubeadm_run.documents(text)


# ---------------------------------------------------------------- the edge


@pytest.fixture
def program(tmp_path):
    """A kubeadm that says what it was given, and how its file lay."""
    path = tmp_path / "kubeadm"
    path.write_text(
        '#!/bin/sh\nfile="${2#--config=}"\nstat -c %a "$file"\nstat -c %a "$(dirname "$file")"\ncat "$file"\n'
        'echo "$@"\nexit "${GPUNODE_RC:-0}"\n'
    )
    path.chmod(0o755)
    return str(path)


def run(tmp_path, program, seconds=20):
    config = kubeadm_run.documents(kubeadm_config.text(JOIN, "control_plane"))
    return call(
        lambda path: ["join", f"--config={path}"],
        config,
        seconds,
        program,
        str(tmp_path / "run"),
        str(tmp_path / "log" / "kubeadm.log"),
    )


def test_the_file_is_roots_alone_and_gone_afterwards(tmp_path, program):
    before = os.umask(0)
    try:
        done = run(tmp_path, program)
    finally:
        os.umask(before)

    assert done.output.splitlines()[:2] == ["600", "700"]
    assert list((tmp_path / "run").iterdir()) == []


def test_neither_the_answer_nor_the_log_nor_the_command_line_holds_a_secret(tmp_path, program):
    done = run(tmp_path, program)

    log = tmp_path / "log" / "kubeadm.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    for text in (done.output, log.read_text()):
        assert "JoinConfiguration" in text
        assert TOKEN not in text
        assert TOKEN[7:] not in text
        assert KEY not in text


def test_the_file_goes_when_kubeadm_fails_and_what_a_killed_run_left_goes_too(tmp_path, program, monkeypatch):
    monkeypatch.setenv("GPUNODE_RC", "1")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kubeadm-old.yaml").write_text(TOKEN)

    assert run(tmp_path, program).rc == 1
    assert list((tmp_path / "run").iterdir()) == []


def test_one_that_does_not_end_is_ended(tmp_path, program):
    with open(program, "w") as file:
        file.write("#!/bin/sh\nexec sleep 60\n")

    assert run(tmp_path, program, seconds=0.2).rc == 124
    assert list((tmp_path / "run").iterdir()) == []


def test_a_program_that_is_not_there_is_told(tmp_path):
    assert run(tmp_path, str(tmp_path / "none")).rc == 127
