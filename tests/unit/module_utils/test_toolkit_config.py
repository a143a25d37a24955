# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The toolkit's own configuration, set by the lab's stand-in for nvidia-ctk, and taken back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import toolkit_config
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host

FIXTURE = Path(__file__).resolve().parents[3] / "tests/lab/fixtures/toolkit/nvidia-ctk"
CONFIG = "/etc/nvidia-container-runtime/config.toml"
SETTINGS = ["nvidia-container-runtime.runtimes=/usr/bin/runc", "nvidia-container-runtime.mode=cdi"]
DEFAULT = """\
disable-require = false

[nvidia-container-runtime]
log-level = "info"
mode = "auto"
runtimes = ["runc", "crun"]
"""


class Node:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = Host(str(root), self.run)
        self.write("/usr/bin/nvidia-ctk", "", 0o755)
        self.write(CONFIG, DEFAULT)

    def run(self, argv, timeout_seconds):
        program, *rest = argv
        assert program == "/usr/bin/nvidia-ctk"
        rest = [str(self.root) + one if one == CONFIG else one for one in rest]
        done = subprocess.run([sys.executable, FIXTURE, *rest], capture_output=True, text=True, check=False)
        return Completed(done.returncode, done.stdout, done.stderr)

    def path(self, path: str) -> Path:
        return self.root / path[1:]

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)
        self.path(path).chmod(mode)

    def read(self, path: str) -> str:
        return self.path(path).read_text()

    def set(self, settings=SETTINGS, links=None) -> toolkit_config.Plan:
        todo = toolkit_config.plan(self.host, CONFIG, settings, links or {})
        toolkit_config.apply(self.host, todo)
        return todo

    def take_back(self, discard=False):
        undos = toolkit_config.plan_absent(self.host, CONFIG, discard)
        toolkit_config.apply_absent(self.host, CONFIG, undos)
        return undos


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_only_what_is_asked_for_changes(node):
    todo = node.set()

    assert todo.rewrites
    assert 'mode = "cdi"' in node.read(CONFIG)
    assert 'runtimes = ["/usr/bin/runc"]' in node.read(CONFIG)
    assert 'log-level = "info"' in node.read(CONFIG)


def test_what_is_so_already_is_not_written(node):
    node.set()
    before = os.stat(node.path(CONFIG))

    todo = node.set()

    assert not todo.rewrites
    assert os.stat(node.path(CONFIG)) == before


def test_a_file_that_is_not_there_is_made(node):
    node.path(CONFIG).unlink()

    node.set()

    assert 'mode = "cdi"' in node.read(CONFIG)


def test_a_file_that_the_toolkit_cannot_read_is_told_in_its_words_and_stays(node):
    node.write(CONFIG, "[nvidia-container-runtime\n")

    with pytest.raises(toolkit_config.ToolkitError, match=r"exit status 1.*config.*Nothing was changed"):
        node.set()

    assert node.read(CONFIG) == "[nvidia-container-runtime\n"


def test_without_the_toolkit_nothing_is_set_and_in_check_mode_it_is_taken_to_come(node):
    node.path("/usr/bin/nvidia-ctk").unlink()

    with pytest.raises(toolkit_config.ToolkitError, match="nvidia-container-toolkit-base"):
        toolkit_config.plan(node.host, CONFIG, SETTINGS, {})

    assert toolkit_config.plan(node.host, CONFIG, SETTINGS, {}, foretell=True).after is None


def test_a_link_is_made_where_nothing_is_and_no_program_is_replaced(node):
    node.write("/usr/sbin/runc", "", 0o755)
    node.write("/usr/bin/crun", "theirs", 0o755)

    todo = node.set([], {"/usr/bin/runc": "/usr/sbin/runc", "/usr/bin/crun": "/usr/sbin/crun"})

    assert dict(todo.links) == {"/usr/bin/runc": "/usr/sbin/runc"}
    assert os.readlink(node.path("/usr/bin/runc")) == "/usr/sbin/runc"
    assert node.read("/usr/bin/crun") == "theirs"
    assert node.read(CONFIG) == DEFAULT


def test_a_link_that_is_as_asked_for_is_not_made_again_even_where_it_leads_to_nothing_yet(node):
    links = {"/usr/bin/runc": "/usr/sbin/runc"}
    node.set([], links)

    assert node.set([], links).links == {}


def test_all_of_it_is_taken_back(node):
    os.symlink("/opt/gone/crun", node.path("/usr/bin/crun"))
    node.set(links={"/usr/bin/runc": "/usr/sbin/runc", "/usr/bin/crun": "/usr/sbin/crun"})

    node.take_back()

    assert node.read(CONFIG) == DEFAULT
    assert not os.path.lexists(node.path("/usr/bin/runc"))
    assert os.readlink(node.path("/usr/bin/crun")) == "/opt/gone/crun"
    assert not node.path("/var/lib/gpunode.ready").exists()


def test_what_somebody_set_since_stays(node):
    node.set()
    node.write(CONFIG, node.read(CONFIG).replace("require = false", "require = true"))

    node.take_back()

    assert node.read(CONFIG) == DEFAULT.replace("require = false", "require = true")


@pytest.mark.parametrize("discard", [True, False], ids=["in this run", "in one that was killed"])
def test_the_file_goes_with_the_toolkit(node, discard):
    node.set()
    node.path("/usr/bin/nvidia-ctk").unlink()

    node.take_back(discard)

    assert not node.path(CONFIG).parent.exists()


def test_the_file_of_a_toolkit_that_somebody_else_took_away_stays(node):
    node.path("/usr/bin/nvidia-ctk").unlink()

    assert node.take_back() == []

    assert node.read(CONFIG) == DEFAULT


def test_a_run_that_was_killed_before_it_wrote_owns_nothing_it_did_not_do(node, monkeypatch):
    todo = toolkit_config.plan(node.host, CONFIG, SETTINGS, {"/usr/bin/runc": "/usr/sbin/runc"})
    monkeypatch.setattr(toolkit_config.files, "replace_text", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        toolkit_config.apply(node.host, todo)
    monkeypatch.undo()

    node.take_back()

    assert node.read(CONFIG) == DEFAULT
    assert not os.path.lexists(node.path("/usr/bin/runc"))
