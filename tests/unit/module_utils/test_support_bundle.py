# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into a support bundle: the newest, whole lines, nothing that would not end, and no secret."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import shutil
import string
import tarfile
import tracemalloc

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import support_bundle
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.support_bundle import (
    SOURCE_BYTES,
    Archive,
    gather,
    members,
    newest,
    newest_of_command,
    newest_of_file,
    safe_name,
)
from ansible_collections.gpunode.ready.plugins.plugin_utils.bundle import replaced, write
from hypothesis import given
from hypothesis import strategies as st

PLANTED = "Zq7Plant3dS3cretXy"


def tree(tmp_path, files):
    for path, text in files.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Host(str(tmp_path))


def gathered(host, **asked):
    stream = io.BytesIO()
    held, unread = gather(host, stream, **{"kernel": False, **asked})
    return {name: data.decode() for name, data in members(io.BytesIO(stream.getvalue()))}, held, unread


# ---------------------------------------------------------------- the newest of a log


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=40), st.integers(1, 200))
def test_of_a_long_log_the_newest_whole_lines_are_kept(lines, limit):
    data = b"\n".join([*lines, b""])

    found = newest(io.BytesIO(data), limit)

    assert data.endswith(found.data)
    assert len(found.data) <= limit
    assert found.left_out == len(data) - len(found.data)
    assert found.data in (data, b"") or data[-len(found.data) - 1 : -len(found.data)] == b"\n"


def test_a_file_a_packed_file_and_a_command_are_cut_alike(tmp_path):
    text = b"".join(b"line %06d\n" % number for number in range(1000))
    (tmp_path / "plain").write_bytes(text)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(text))

    found = [
        newest_of_file(str(tmp_path / "plain"), 100),
        newest_of_file(str(tmp_path / "packed.gz"), 100),
        newest_of_command(["cat", str(tmp_path / "plain")], 100),
    ]

    assert {item.data.splitlines()[-1] for item in found} == {b"line 000999"}
    assert {(len(item.data), item.cut) for item in found} == {(96, "older lines (11904 bytes) are left out")}


def test_what_would_not_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    assert newest_of_file(str(tmp_path / "pipe"), 10).problem == "no regular file"
    assert newest_of_file("/dev/zero", 10).problem == "no regular file"
    assert newest_of_file(str(tmp_path), 10).problem


def test_why_a_command_gave_nothing_is_said():
    assert newest_of_command(["sh", "-c", "echo no journal >&2; exit 1"], 10).problem == "no journal"
    assert "no-such-program" in newest_of_command(["no-such-program"], 10).problem


def test_memory_stays_bounded_however_long_a_log_is():
    endless = io.BufferedReader(Endless(64 << 20))

    tracemalloc.start()
    newest(endless, SOURCE_BYTES)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 8 << 20


class Endless(io.RawIOBase):
    """So many bytes of log lines."""

    def __init__(self, size):
        self.left = size

    def readable(self):
        return True

    def readinto(self, buffer):
        size = min(len(buffer), self.left)
        buffer[:size] = (b"a line of a log\n" * (size // 16 + 1))[:size]
        self.left -= size
        return size


# ---------------------------------------------------------------- a node's part


def test_the_layers_configuration_and_the_logs_are_there(tmp_path):
    host = tree(
        tmp_path,
        {
            "etc/crio/crio.conf.d/10-crio.conf": "[crio.runtime]\ndefault_runtime = 'crun'\n",
            "etc/containerd/certs.d/nvcr.io/hosts.toml": 'server = "https://nvcr.io"\n',
            "var/run/cdi/nvidia.yaml": "kind: nvidia.com/gpu\n",
            "var/log/syslog": "new\n",
            "var/log/syslog.1": "older\n",
            "var/log/syslog.2.gz": gzip.compress(b"oldest\n"),
        },
    )

    files, held, unread = gathered(host, paths=["/var/log/syslog", "/var/log/none"], rotated=True)

    assert files == {
        "config/etc/crio/crio.conf.d/10-crio.conf": "[crio.runtime]\ndefault_runtime = 'crun'\n",
        "config/etc/containerd/certs.d/nvcr.io/hosts.toml": 'server = "https://nvcr.io"\n',
        "config/var/run/cdi/nvidia.yaml": "kind: nvidia.com/gpu\n",
        "logs/var/log/syslog": "new\n",
        "logs/var/log/syslog.1": "older\n",
        "logs/var/log/syslog.2": "oldest\n",
    }
    assert unread == [{"source": "/var/log/none", "reason": "No such file or directory"}]
    assert {item["source"] for item in held} >= {"/etc/crio/crio.conf.d/10-crio.conf", "/var/log/syslog.2.gz"}


def test_what_was_cut_is_said_and_begins_with_a_whole_line(tmp_path):
    host = tree(tmp_path, {"var/log/x": b"0123456789\n" * (SOURCE_BYTES // 10)})

    files, held, _unread = gathered(host, paths=["/var/log/x"])

    assert files["logs/var/log/x"].startswith("0123456789\n")
    assert len(files["logs/var/log/x"]) <= SOURCE_BYTES
    assert "are left out" in held[0]["cut"]


def test_a_node_with_much_to_say_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(support_bundle, "NODE_BYTES", 100)
    host = tree(tmp_path, {"var/log/a": "a" * 60 + "\n", "var/log/b": "b" * 60 + "\n"})

    files, _held, unread = gathered(host, paths=["/var/log/a", "/var/log/b"])

    assert list(files) == ["logs/var/log/a"]
    assert [item["source"] for item in unread] == ["/var/log/b"]


def test_what_the_node_keeps_secret_is_gone_wherever_it_stands(tmp_path):
    secrets = {name: f"{PLANTED}{name}" for name in ("kube", "docker", "k3s", "node", "unit")}
    auth = base64.b64encode(f"ada:{secrets['docker']}".encode()).decode()
    host = tree(
        tmp_path,
        {
            "etc/kubernetes/admin.conf": f"users:\n- name: a\n  user:\n    token: {secrets['kube']}\n",
            "root/.docker/config.json": json.dumps({"auths": {"nvcr.io": {"auth": auth}}}),
            "var/lib/rancher/k3s/server/token": f"K10{'ab' * 32}::server:{secrets['k3s']}\n",
            "etc/rancher/k3s/config.yaml": f"token: {secrets['node']}\n",
            "etc/systemd/system/containerd.service.d/proxy.conf": f"Environment=X_PASS={secrets['unit']}\n",
            "var/log/x": "".join(f"odd words {value} here\n" for value in [*secrets.values(), auth]),
        },
    )

    files, _held, _unread = gathered(host, paths=["/var/log/x"])

    assert PLANTED not in json.dumps(files)
    assert auth not in json.dumps(files)
    assert files["logs/var/log/x"].count("odd words <") == 6
    assert not [name for name in files if "admin.conf" in name or "docker" in name or name.endswith("/token")]


KEPT = {
    "etc/kubernetes/admin.conf": "users:\n- user: {{token: '{}'}}\n",
    "root/.docker/config.json": '{{"auths": {{"r": {{"password": "{}"}}}}}}',
    "var/lib/rancher/k3s/server/token": "K10::server:{}\n",
    "etc/containerd/config.toml": '[auth]\npassword = "{}"\n',
    "etc/rancher/k3s/registries.yaml": "configs:\n  r:\n    auth:\n      password: '{}'\n",
    "etc/systemd/system/k3s.service.env": "K3S_TOKEN={}\n",
}


@given(
    st.text(string.ascii_letters + string.digits + "!#%&*+,-./;?@^_|~ ", min_size=10, max_size=40),
    st.sampled_from(sorted(KEPT)),
    st.text(max_size=20),
)
def test_whatever_a_node_keeps_secret_is_in_no_byte_of_its_part(tmp_path_factory, secret, place, around):
    secret = f"7{secret.strip()}Kz"
    words = around.replace("\n", " ").replace("\r", " ")
    log = f"{words}{secret}{words}\n{base64.b64encode(secret.encode()).decode()}\n{json.dumps(secret)}\n"
    folder = tmp_path_factory.mktemp("node")
    host = tree(folder, {place: KEPT[place].format(secret), "var/log/x": log})

    files, _held, _unread = gathered(host, paths=["/var/log/x"])

    shutil.rmtree(folder)
    assert files["logs/var/log/x"]
    assert secret not in "".join(files.values())
    assert base64.b64encode(secret.encode()).decode() not in "".join(files.values())


def test_the_same_node_gives_the_same_bytes(tmp_path):
    host = tree(tmp_path, {"etc/crio/crio.conf": "a = 1\n", "var/log/x": "x\n"})
    one, two = io.BytesIO(), io.BytesIO()

    gather(host, one, kernel=False, paths=["/var/log/x"])
    os.utime(tmp_path / "var/log/x", (1, 1))
    gather(host, two, kernel=False, paths=["/var/log/x"])

    assert one.getvalue() == two.getvalue()


# ---------------------------------------------------------------- archives


@given(st.text(max_size=60))
def test_no_name_leads_out_of_the_archive(name):
    safe = safe_name(name)

    assert not safe.startswith("/")
    assert not set(safe.split("/")) & {"..", ".", ""}


def test_of_a_nodes_archive_only_files_of_a_bounded_size_are_taken():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, kind in (
            ("../../etc/passwd", tarfile.REGTYPE),
            ("link", tarfile.SYMTYPE),
            ("fifo", tarfile.FIFOTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/shadow"
            tar.addfile(entry, io.BytesIO())
    assert [name for name, _data in members(io.BytesIO(stream.getvalue()))] == ["etc/passwd"]

    bomb = io.BytesIO()
    archive = Archive(bomb)
    archive.add("zeros", bytes(3 * SOURCE_BYTES))
    archive.close()
    with pytest.raises(ValueError, match="larger than a node's part"):
        list(members(io.BytesIO(bomb.getvalue())))


@pytest.mark.parametrize("data", [b"", b"no archive", gzip.compress(b"no tar" * 200)], ids=["nothing", "text", "gzip"])
def test_what_is_no_archive_is_said_to_be_none(data):
    with pytest.raises(ValueError, match="cannot be read"):
        list(members(io.BytesIO(data)))


def test_the_bundle_holds_every_node_and_says_what_is_missing(tmp_path):
    host = tree(tmp_path / "node", {"etc/crio/crio.conf": "a = 1\n"})
    part = tmp_path / "gpu-1.tar.gz"
    with part.open("wb") as stream:
        held, unread = gather(host, stream, kernel=False)
    (tmp_path / "broken").write_bytes(b"no archive")
    answers = {
        "gpu-1": {
            "findings": [],
            "states": {},
            "worst": None,
            "facts": {"os": {"hostname": "gpu-1"}, "token": PLANTED},
        },
        "gpu-2": {"unreachable": True, "msg": f"ssh: password={PLANTED}"},
        "../gpu-3": {"findings": [], "facts": {}},
        "the cluster": {"cluster": True, "findings": []},
    }
    parts = {
        "gpu-1": {"part": str(part), "held": held, "unread": unread},
        "../gpu-3": {"part": str(tmp_path / "broken")},
    }
    cluster = {
        "facts": {"nodes": []},
        "logs": [
            {"source": "pod kube-system/plugin-x (main, previous)", "text": f"Bearer {PLANTED}\n"},
            {"source": "events", "text": "Warning\n"},
        ],
        "of_nodes": {"gpu-1": [{"source": "pod a/b (c)", "text": "said"}]},
        "unread": [{"source": "pod a/b (d)", "reason": "403"}],
    }
    stream = io.BytesIO()

    manifest = write(stream, answers, parts, cluster, "2026-11-21T09:40:00Z", "GPU nodes")

    files = dict(members(io.BytesIO(stream.getvalue())))
    assert PLANTED.encode() not in b"".join(files.values())
    assert sorted(name.removeprefix("gpunode-bundle/") for name in files) == [
        "cluster/facts.json",
        "cluster/findings.json",
        "cluster/logs/a/b/c",
        "cluster/logs/events",
        "cluster/logs/kube-system/plugin-x/main.previous",
        "manifest.json",
        "nodes/gpu-1/config/etc/crio/crio.conf",
        "nodes/gpu-1/facts.json",
        "nodes/gpu-1/findings.json",
        "nodes/gpu-2/findings.json",
        "nodes/gpu-3/findings.json",
        "report.html",
        "report.json",
    ]
    assert manifest["nodes"]["gpu-2"]["problem"] == "nothing was gathered"
    assert "not whole" in manifest["nodes"]["../gpu-3"]["problem"]
    assert json.loads(files["gpunode-bundle/manifest.json"]) == manifest
    assert json.loads(files["gpunode-bundle/report.json"])["summary"]["nodes"] == 3


def test_the_same_content_gives_the_same_bundle():
    answers = {"b": {"findings": [], "facts": {"z": 1, "a": 2}}, "a": {"findings": []}}
    one, two = io.BytesIO(), io.BytesIO()

    write(one, answers, {}, {}, "2026-11-21T09:40:00Z", "")
    write(two, dict(reversed(list(answers.items()))), {}, {}, "2026-11-21T09:40:00Z", "")

    assert one.getvalue() == two.getvalue()


def test_a_bundle_is_there_whole_for_its_user_alone_or_not_at_all(tmp_path):
    umask = os.umask(0)
    try:
        with replaced(str(tmp_path / "b.tar.gz")) as stream:
            stream.write(b"new")
        with pytest.raises(RuntimeError):
            half_written(str(tmp_path / "b.tar.gz"))
    finally:
        os.umask(umask)

    assert (tmp_path / "b.tar.gz").read_bytes() == b"new"
    assert oct((tmp_path / "b.tar.gz").stat().st_mode & 0o777) == "0o600"
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar.gz"]


def half_written(path):
    with replaced(path) as stream:
        stream.write(b"half")
        raise RuntimeError
