# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
import stat

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import k3s_install as core
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed
from ansible_collections.gpunode.ready.plugins.module_utils.k3s_config import BINARY, CONFIG, REGISTRIES, TOKEN
from ansible_collections.gpunode.ready.plugins.module_utils.ownership import Ledger

OLD, NEW = b"old program", b"new program"
VERSION = "v1.36.4+k3s1"
TEMPLATE = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl"


class Tree:
    def __init__(self, root) -> None:
        self.root = root
        self.source = self.put("/srv/k3s", NEW)

    def place(self, path: str) -> str:
        return str(self.root / path.lstrip("/"))

    def put(self, path: str, content: bytes) -> str:
        os.makedirs(os.path.dirname(self.place(path)), exist_ok=True)
        with open(self.place(path), "wb") as file:
            file.write(content)
        return self.place(path)

    def read(self, path: str) -> bytes | None:
        try:
            with open(self.place(path), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def wanted(self, **changes) -> core.Wanted:
        known = {"checksum": hashlib.sha256(NEW).hexdigest(), "binary": self.source, "token": "K10x::server:secret"}
        return core.Wanted("agent", VERSION, "server: https://a:6443\n", **{**known, **changes})

    def seen(self, **changes) -> dict:
        binary = self.read(BINARY)
        return {
            "version": None,
            "checksum": hashlib.sha256(binary).hexdigest() if binary is not None else None,
            "templates": [],
            "unit": {"name": "k3s-agent.service", "active": "inactive", "enabled": "disabled"},
            "other_unit": {"name": "k3s.service", "there": False, "ours": False},
            "node": None,
            "handlers": [],
            "handlers_found": [],
            **changes,
        }

    def install(self, wanted, said=f"k3s version {VERSION} (x)\n", **changes) -> core.Install:
        todo = core.plan(wanted, self.seen(**changes), False, self.place)
        return core.Install(wanted, todo, lambda _argv, _seconds: Completed(0, said, ""), self.place)


RUNS = {"unit": {"name": "k3s-agent.service", "active": "active", "enabled": "enabled"}, "node": {"registered": True}}


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_everything_is_put_in_place_once(tree):
    wanted = tree.wanted()

    tree.install(wanted).write()
    again = core.plan(wanted, tree.seen(**RUNS), False, tree.place)

    assert tree.read(BINARY) == NEW
    assert stat.S_IMODE(os.stat(tree.place(BINARY)).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(tree.place(TOKEN)).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tree.place(CONFIG)).st_mode) == 0o600
    assert again.changed is False


@pytest.mark.parametrize(
    ("changes", "pending", "reason"),
    [
        ({}, True, "a run before this one ended"),
        ({"node": {"registered": False}}, False, "the cluster does not know the node"),
        ({"handlers_found": ["nvidia"]}, False, "nvidia-container-runtime has come since it started"),
        ({"unit": {"name": "x", "active": "failed", "enabled": "enabled"}}, False, "it is failed"),
    ],
)
def test_k3s_is_started_anew_where_that_mends_something(tree, changes, pending, reason):
    wanted = tree.wanted()
    tree.install(wanted).write()

    todo = core.plan(wanted, tree.seen(**{**RUNS, **changes}), pending, tree.place)

    assert len(todo.why_restart) == 1
    assert reason in todo.why_restart[0]


@pytest.mark.parametrize(
    ("changes", "said", "told"),
    [
        ({"checksum": "0" * 64}, None, "expected " + "0" * 64),
        ({}, "k3s version v1.35.0+k3s1 (x)\n", "expected k3s v1.36.4+k3s1 that runs on this node"),
        ({}, "Exec format error", "expected k3s v1.36.4+k3s1 that runs on this node"),
        ({"binary": "/nowhere/k3s"}, None, "cannot be put in place: No such file"),
        ({"binary": ""}, None, "no file was given"),
    ],
)
def test_a_program_that_is_not_the_one_asked_for_leaves_everything(tree, changes, said, told):
    tree.put(BINARY, OLD)
    install = tree.install(tree.wanted(**changes), **({"said": said} if said else {}))

    with pytest.raises(core.InstallError, match=r"\S") as raised:
        install.write()

    assert told in str(raised.value)
    assert tree.read(BINARY) == OLD
    assert os.listdir(os.path.dirname(tree.place(BINARY))) == ["k3s"]
    assert tree.read(CONFIG) is None


def test_what_was_there_is_back_to_the_byte(tree):
    tree.put(BINARY, OLD)
    tree.put(CONFIG, b"debug: true\n")
    tree.put(TEMPLATE, b"broken")
    broken = [{"path": TEMPLATE, "broken": True, "reasons": ["x"]}]
    install = tree.install(tree.wanted(registries="mirrors: {}\n"), templates=broken)
    install.write()
    between = [tree.read(path) for path in (BINARY, core.PREVIOUS, TEMPLATE, f"{TEMPLATE}.gpunode-disabled")]

    install.back()

    assert between == [NEW, OLD, None, b"broken"]
    assert [tree.read(path) for path in (BINARY, CONFIG, TEMPLATE)] == [OLD, b"debug: true\n", b"broken"]
    assert [tree.read(path) for path in (TOKEN, REGISTRIES)] == [None, None]


def test_a_write_that_fails_half_way_leaves_nothing_new(tree):
    tree.put(BINARY, OLD)
    tree.put(CONFIG, b"debug: true\n")
    os.makedirs(tree.place(REGISTRIES))
    wanted = tree.wanted(registries="mirrors: {}\n")
    todo = core.Plan(True, (CONFIG, REGISTRIES), (), ("x",), True)
    install = core.Install(wanted, todo, lambda *_call: Completed(0, f"k3s version {VERSION}\n", ""), tree.place)

    with pytest.raises((core.files.WriteError, IsADirectoryError)):
        install.write()

    assert (tree.read(BINARY), tree.read(CONFIG)) == (OLD, b"debug: true\n")


def test_no_secret_is_written_down_twice_or_shown(tree):
    wanted = tree.wanted(registries="password: hunter2\n")
    install = tree.install(wanted)
    install.write()

    kept = tree.read("/var/lib/gpunode.ready/owned/k3s.json")

    assert b"K10x" not in kept
    assert b"hunter2" not in kept
    assert core._bare("agent-token: hunter2\ndebug: true\n") == "agent-token: (not shown)\ndebug: true\n"
    assert core.secrets_of("# ours\nagent-token: hunter2\ndebug: true\n") == ["hunter2"]


@pytest.mark.parametrize("had", [True, False])
def test_what_was_brought_is_taken_back(tree, had):
    if had:
        tree.put(BINARY, OLD)
    install = tree.install(tree.wanted())
    install.write()
    install.done()

    steps = core.take_back(Ledger("k3s", tree.place), True, tree.place)
    again = core.take_back(Ledger("k3s", tree.place), True, tree.place)

    assert steps
    assert again == []
    assert tree.read(BINARY) == (OLD if had else None)
    assert [tree.read(path) for path in (CONFIG, TOKEN, core.PREVIOUS)] == [None, None, None]


@pytest.mark.parametrize("ours", [True, False])
def test_the_unit_of_what_the_node_was_before_goes_where_it_is_ours(tree, ours):
    other = {"name": "k3s.service", "there": True, "ours": ours}

    todo = core.plan(tree.wanted(), tree.seen(**RUNS, other_unit=other), False, tree.place)

    assert todo.other_unit == ("k3s.service" if ours else "")
    assert ("stop and remove k3s.service" in todo.steps(tree.wanted(), tree.seen())) is ours


def test_a_program_is_ours_also_where_k3s_did_not_come_up_with_it_at_once(tree):
    tree.install(tree.wanted()).write()
    completed = tree.install(
        tree.wanted(), unit={"name": "k3s-agent.service", "active": "failed", "enabled": "enabled"}
    )
    completed.write()
    completed.done()

    core.take_back(Ledger("k3s", tree.place), True, tree.place)

    assert tree.read(BINARY) is None


def test_a_release_of_ours_is_no_program_from_before(tree):
    install = tree.install(tree.wanted())
    install.write()
    install.done()
    newer = tree.put("/srv/newer", b"newer program")
    upgrade = tree.install(tree.wanted(binary=newer, checksum=hashlib.sha256(b"newer program").hexdigest()))
    upgrade.write()
    upgrade.done()
    before = tree.read(core.PREVIOUS)

    core.take_back(Ledger("k3s", tree.place), True, tree.place)

    assert before == NEW
    assert (tree.read(BINARY), tree.read(core.PREVIOUS)) == (None, None)


def test_a_write_that_failed_leaves_nothing_to_start_anew(tree):
    os.makedirs(tree.place(REGISTRIES))
    wanted = tree.wanted(registries="mirrors: {}\n")
    todo = core.Plan(True, (CONFIG, REGISTRIES), (), ("x",), True)

    with pytest.raises((core.files.WriteError, IsADirectoryError)):
        core.Install(wanted, todo, lambda *_call: Completed(0, f"k3s version {VERSION}\n", ""), tree.place).write()

    ledger = Ledger("k3s", tree.place)
    assert (ledger.fact("pending"), ledger.fact("binary")) == (None, None)


def test_a_copy_that_a_killed_run_left_beside_the_program_goes(tree):
    left = tree.put("/usr/local/bin/.k3s.gpunode-4194303-0123456789abcdef", b"half of it")

    tree.install(tree.wanted()).write()

    assert not os.path.exists(left)


def test_a_program_that_was_there_before_is_not_taken_for_ours(tree):
    tree.put(BINARY, NEW)
    install = tree.install(tree.wanted())
    install.write()
    install.done()

    core.take_back(Ledger("k3s", tree.place), True, tree.place)

    assert tree.read(BINARY) == NEW
