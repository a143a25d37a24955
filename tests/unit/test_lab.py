# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own promises: artifacts made once and whole, repositories served truly, no process of another stopped."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

import cache
import gpus
import node
import serve


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GPUNODE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# -- artifacts


def test_an_artifact_is_made_once():
    made = []

    def build(folder):
        made.append(folder)
        (folder / "disk").write_text("x")

    first = cache.artifact("image", "1", build)
    second = cache.artifact("image", "1", build)

    assert first == second
    assert len(made) == 1


def test_a_build_that_fails_leaves_nothing_behind(own_cache):
    def build(folder):
        (folder / "half").write_text("x")
        raise cache.LabError("no mirror")

    with pytest.raises(cache.LabError):
        cache.artifact("image", "1", build)

    assert [path.name for path in own_cache.iterdir() if not path.name.endswith(".lock")] == []


def test_only_the_newest_artifacts_of_a_kind_are_kept(own_cache):
    for key in range(cache.KEEP + 2):
        place = cache.artifact("image", str(key), lambda folder: None)
        os.utime(place, (key, key))

    cache.artifact("image", "last", lambda folder: None)

    assert len(list(own_cache.glob("image-*"))) == cache.KEEP


def test_an_artifact_that_a_node_stands_on_is_kept(own_cache):
    old = cache.artifact("image", "old", lambda folder: None)
    os.utime(old, (1, 1))
    (own_cache / "nodes" / "n").mkdir(parents=True)
    (own_cache / "nodes" / "n" / "state.json").write_text(json.dumps({"base": str(old)}))

    for key in range(cache.KEEP + 1):
        cache.artifact("image", str(key), lambda folder: None)

    assert old.is_dir()


def test_a_digest_follows_content_and_mode(tmp_path):
    file = tmp_path / "f"
    file.write_text("a")
    before = cache.digest(tmp_path)
    file.chmod(0o755)
    executable = cache.digest(tmp_path)
    file.write_text("b")

    assert len({before, executable, cache.digest(tmp_path)}) == 3


# -- nodes


@pytest.mark.parametrize("name", ["", "A", "a/b", "../x", "a b", "-a", "a;reboot"])
def test_a_name_that_is_no_host_name_is_refused(name):
    with pytest.raises(cache.LabError):
        node.Node(name)


def test_a_process_id_that_now_is_another_process_is_not_the_nodes(own_cache):
    folder = own_cache / "nodes" / "n"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({"pid": os.getpid(), "pid_started": "1"}))

    assert not node.Node("n").running


@pytest.mark.parametrize(
    ("devices", "names"),
    [
        ("none", []),
        ("2335", ["NVIDIA H200 (simulated)"]),
        ("2335,22a3", ["NVIDIA H200 (simulated)"]),
        ("25B6,25b6", ["NVIDIA A16 (simulated)", "NVIDIA A16 (simulated)"]),
    ],
)
def test_nvml_is_told_of_each_gpu_on_the_bus(devices, names):
    found = gpus.gpus(devices)["devices"]

    assert [device["name"] for device in found] == names
    assert len({device["uuid"] for device in found}) == len(names)


# -- the repository's server


@pytest.fixture
def ask(tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.deb").write_bytes(b"0123456789")
    (tmp_path / "secret").write_text("x")
    faults = tmp_path / "faults.json"

    def get(path, method="GET", **wrong):
        faults.write_text(json.dumps(wrong))
        out = io.BytesIO()
        keep = serve.answer(method, path, tmp_path / "pool", faults, out)
        return out.getvalue(), keep

    return get


def test_a_file_is_served_whole(ask):
    answer, keep = ask("/a.deb")

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Content-Length: 10\r\n" in answer
    assert answer.endswith(b"\r\n\r\n0123456789")
    assert keep


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/nothing", "/"])
def test_what_is_not_a_file_below_the_folder_is_not_found(ask, path):
    answer, _keep = ask(path)

    assert answer.startswith(b"HTTP/1.1 404")


def test_head_has_no_body(ask):
    answer, _keep = ask("/a.deb", "HEAD")

    assert answer.endswith(b"\r\n\r\n")


def test_a_fault_of_the_longest_prefix_is_injected(ask):
    refused, _keep = ask("/a.deb", **{"/": {"status": 500}, "/a": {"status": 403}})
    cut, keep = ask("/a.deb", **{"/a.deb": {"truncate_bytes": 3}})

    assert refused.startswith(b"HTTP/1.1 403")
    assert cut.endswith(b"\r\n\r\n012")
    assert not keep
