# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import k3s_options as core

NEWEST = "v1.36.4+k3s1"


@pytest.mark.parametrize(
    ("config", "member", "version", "told"),
    [
        ({"kubelet-args": ["v=2"]}, "server", NEWEST, "did you mean `kubelet-arg`"),
        ({"something": "x"}, "agent", NEWEST, "`something` is no option of k3s (a server would pass over it"),
        ({"kubelet_arg": ["v=2"]}, "agent", NEWEST, "write `kubelet-arg`"),
        ({"kubelet-arg+": ["v=2"]}, "agent", NEWEST, "write `kubelet-arg`"),
        ({"no-deploy": "traefik"}, "server", NEWEST, "gone from k3s: write `disable`"),
        ({"disable": ["traefik"]}, "agent", NEWEST, "an option of servers, and this is an agent"),
        ({"disable-apiserver-lb": True}, "server", NEWEST, "an option of agents, and this is a server"),
        ({"default-runtime": "nvidia"}, "agent", "v1.28.15+k3s1", "came with 1.29, and k3s_version is v1.28.15+k3s1"),
        ({"selinux": "yes"}, "agent", NEWEST, "`selinux` is 'yes'; expected true or false"),
        ({"https-listen-port": "6443"}, "server", NEWEST, "expected a number"),
        ({"node-name": ["a"]}, "agent", NEWEST, "expected a text"),
        ({"kubelet-arg": []}, "agent", NEWEST, "expected a list of texts"),
        ({"kubelet-arg": [{"v": 2}]}, "agent", NEWEST, "expected a list of texts"),
        ({"node-name": "a\nserver: https://evil"}, "agent", NEWEST, "has a line end in it"),
        ({"flannel-backend": "wireguard"}, "server", NEWEST, "is wireguard; expected one of none, vxlan"),
        ({"disable": ["traefik", "flannel"]}, "server", NEWEST, "is flannel; expected one of coredns"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(config, member, version, told):
    found = core.problems(config, member, version)

    assert len(found) == 1
    assert told in found[0]


@pytest.mark.parametrize("member", ["server", "agent"])
def test_what_k3s_takes_is_taken(member):
    config = {"kubelet-arg": ["max-pods=250"], "node-ip": "192.0.2.1", "selinux": True, "v": 2}
    config |= {"cluster-cidr": ["10.42.0.0/16"], "etcd-snapshot-retention": 3} if member == "server" else {}

    assert core.problems(config, member, NEWEST) == []


def test_a_secret_is_not_shown_where_it_is_wrong():
    found = core.problems({"agent-token": ["hunter2"]}, "server", NEWEST)

    assert "hunter2" not in found[0]


def test_every_option_has_a_name_of_k3s_and_a_kind():
    assert [name for name in core.OPTIONS if not re.fullmatch(r"[a-z][a-z0-9-]*", name)] == []
    assert {option.kind for option in core.OPTIONS.values()} == {"flag", "text", "number", "list"}
    assert set(core.OURS) | set(core.CHOICES) | set(core.SECRETS) | core.ONLY_AGENT <= set(core.OPTIONS)
    assert set(core.GONE).isdisjoint(core.OPTIONS)


@pytest.mark.parametrize(
    ("version", "minor", "order"),
    [
        (NEWEST, 36, (36, 4, 1)),
        ("v1.36.10+k3s2", 36, (36, 10, 2)),
        ("1.36.4+k3s1", 0, ()),
        ("v1.36.4", 0, ()),
        ("", 0, ()),
    ],
)
def test_a_release_is_told_from_what_is_none(version, minor, order):
    assert core.minor_of(version) == minor
    assert core.order_of(version) == order
