# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests' own control plane: real, on loopback alone, gone afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import control_plane
import pytest
from cache import LabError


def ask(plane, path, user="admin", data=None):
    context = ssl.create_default_context(cafile=str(plane.authority))
    headers = {"Authorization": f"Bearer {plane.tokens[user]}", "Content-Type": "application/json"}
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(plane.server + path, headers=headers, data=body)
    with urllib.request.urlopen(request, timeout=20, context=context) as answer:
        return json.load(answer)


def test_it_is_a_kubernetes_that_keeps_what_it_is_given(plane):
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kept"}}

    ask(plane, "/api/v1/namespaces", data=space)

    assert ask(plane, "/api/v1/namespaces/kept")["status"]["phase"] == "Active"
    assert int(ask(plane, "/version")["minor"].rstrip("+")) >= 20


def test_a_user_without_rights_has_none(plane):
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(plane, "/api/v1/nodes", user="nobody")

    assert refused.value.code == 403


def test_it_listens_on_loopback_alone(plane):
    sockets = {name for process in plane.processes for name in open_files(process.pid)}
    listening = [
        fields[1].rpartition(":")[0]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets
    ]

    assert listening
    assert set(listening) == {"0100007F"}


def open_files(pid):
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            yield os.readlink(entry)


def test_secrets_of_it_are_for_its_user_alone(plane):
    files = [plane.kubeconfig(), plane.folder / "tokens.csv"]

    assert [oct(path.stat().st_mode & 0o777) for path in files] == ["0o600", "0o600"]


def test_nothing_of_it_is_left_behind():
    with control_plane.control_plane() as short:
        pids, folder = [process.pid for process in short.processes], short.folder

    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert not folder.exists()


def test_programs_that_are_named_but_not_there_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    with pytest.raises(LabError, match="no etcd and no kube-apiserver"):
        control_plane.programs()


def test_programs_that_are_named_are_taken(monkeypatch, tmp_path):
    for name in control_plane.PROGRAMS:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    assert control_plane.programs() == tmp_path


def test_a_program_that_ends_says_its_last_words(monkeypatch, tmp_path):
    for name in control_plane.PROGRAMS:
        (tmp_path / name).write_text("#!/bin/sh\necho no room on the device\nexit 3\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    with pytest.raises(LabError, match=r"(?s)ended with 3.*no room on the device"), control_plane.control_plane():
        pass
