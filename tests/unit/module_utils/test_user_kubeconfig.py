# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user gets a kubeconfig of this cluster, and keeps whatever leads elsewhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.user_kubeconfig import User, as_user, converge, withdraw
from kubeadm_trees import LEAF, kubeconfig

ADMIN = kubeconfig("admin")
RENEWED = ADMIN.replace("client-key-data: ", "client-key-data: AAAA")


@pytest.fixture
def user(tmp_path):
    return User("ada", os.geteuid(), os.getegid(), str(tmp_path / "ada"))


@pytest.fixture
def home(user):
    os.mkdir(user.home)
    return user.home


def put(user, text, mode=0o600):
    os.makedirs(os.path.dirname(user.path), exist_ok=True)
    with open(user.path, "w") as file:
        file.write(text)
    os.chmod(user.path, mode)


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_one_who_has_none_gets_it_whatever_the_umask(user, home):
    before = os.umask(0)
    try:
        outcome = converge(user, ADMIN)
    finally:
        os.umask(before)

    assert outcome.result == "created"
    assert (mode_of(user.path), mode_of(os.path.dirname(user.path))) == (0o600, 0o700)


def test_a_second_time_changes_nothing(user, home):
    converge(user, ADMIN)

    assert converge(user, ADMIN).result == "unchanged"


def test_a_mode_that_others_can_read_is_closed(user, home):
    put(user, ADMIN, 0o644)

    assert converge(user, ADMIN).result == "changed"
    assert mode_of(user.path) == 0o600


def test_one_of_this_cluster_follows_a_renewal_and_stays_beside_it(user, home):
    put(user, ADMIN)

    assert converge(user, RENEWED).result == "changed"
    assert Path(user.path).read_text() == RENEWED
    assert len(os.listdir(os.path.dirname(user.path))) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (kubeconfig("admin", server="https://10.9.9.9:6443"), "another cluster, https://10.9.9.9:6443"),
        (kubeconfig("admin", ca=LEAF), "another cluster"),
        (
            ADMIN.replace("clusters:\n", "clusters:\n- name: second\n  cluster: {server: https://b}\n"),
            "several clusters",
        ),
        ("my notes: [\n", "no kubeconfig"),
    ],
    ids=["server", "authority", "several", "damaged"],
)
def test_what_a_user_has_made_is_kept(user, home, text, why):
    put(user, text)

    outcome = converge(user, ADMIN)

    assert (outcome.result, why in outcome.why) == ("kept", True), outcome
    assert Path(user.path).read_text() == text


def test_a_link_is_not_followed(user, home, tmp_path):
    target = tmp_path / "elsewhere"
    os.mkdir(os.path.dirname(user.path))
    os.symlink(target, user.path)

    assert converge(user, ADMIN).result == "kept"
    assert not target.exists()


def test_check_mode_writes_nothing(user, home):
    assert converge(user, ADMIN, write=False).result == "created"
    assert os.listdir(home) == []


def test_it_is_taken_back_where_it_is_what_was_given(user, home):
    converge(user, ADMIN)

    assert withdraw(user, ADMIN).result == "removed"
    assert os.listdir(home) == []
    assert withdraw(user, ADMIN).result == "absent"


@pytest.mark.parametrize("wanted", [ADMIN, ""], ids=["changed since", "nothing to compare it with"])
def test_one_that_is_not_what_was_given_stays(user, home, wanted):
    put(user, RENEWED)

    assert withdraw(user, wanted).result == "kept"


def opened(path):
    """pytest's own folders are for root alone."""
    for folder in (path, *path.parents):
        if folder.stat().st_mode & 0o077 == 0:
            os.chmod(folder, 0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_it_is_written_by_the_user_not_by_root(tmp_path):
    opened(tmp_path)
    nobody = User("nobody", 65534, 65534, str(tmp_path / "home"))
    os.mkdir(nobody.home)
    os.chown(nobody.home, 65534, 65534)

    told = as_user(nobody, ADMIN, present=True, write=True)

    assert told["result"] == "created", told
    assert os.stat(nobody.path).st_uid == 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_home_that_leads_to_a_folder_of_roots_gets_nothing(tmp_path):
    opened(tmp_path)
    (tmp_path / "roots").mkdir()
    nobody = User("nobody", 65534, 65534, str(tmp_path / "home"))
    os.mkdir(nobody.home)
    os.symlink(tmp_path / "roots", os.path.join(nobody.home, ".kube"))

    told = as_user(nobody, ADMIN, present=True, write=True)

    assert "problem" in told
    assert list((tmp_path / "roots").iterdir()) == []
