# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import yaml
from ansible_collections.gpunode.ready.plugins.module_utils import k3s_config as core

NEWEST = "v1.36.4+k3s1"
FIRST = {"version": NEWEST}
AGENT = {"version": NEWEST, "member": "agent", "first": False, "server_url": "https://192.0.2.1:6443"}
OURS, THEIRS = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
BARE = {"role": "", "version": None, "ca_hash": None, "server": "", "kubeadm": False, "data_dir": core.DATA}


def seen(**changes):
    return {**BARE, **changes}


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (FIRST, {}),
        ({**FIRST, "servers": 3}, {"cluster-init": True}),
        ({**FIRST, "datastore": "etcd"}, {"cluster-init": True}),
        (
            {**FIRST, "servers": 2, "config": {"datastore-endpoint": "postgres://x"}},
            {"datastore-endpoint": "postgres://x"},
        ),
        (
            {**FIRST, "first": False, "server_url": "https://a:6443", "disable": ["traefik"], "servers": 3},
            {"server": "https://a:6443", "token-file": core.TOKEN, "disable": ["traefik"]},
        ),
        (
            {**AGENT, "node_labels": {"gpu": "h100"}, "node_taints": ["nvidia.com/gpu=:NoSchedule"], "tls_sans": ["x"]},
            {
                "server": "https://192.0.2.1:6443",
                "token-file": core.TOKEN,
                "node-label": ["gpu=h100"],
                "node-taint": ["nvidia.com/gpu=:NoSchedule"],
            },
        ),
        (
            {**FIRST, "pod_subnet": "10.1.0.0/16,fd01::/56", "default_runtime": "nvidia", "config": {"selinux": True}},
            {"cluster-cidr": ["10.1.0.0/16", "fd01::/56"], "default-runtime": "nvidia", "selinux": True},
        ),
    ],
)
def test_the_configuration_says_what_was_chosen_and_no_more(settings, options):
    text = core.text(settings)

    assert (yaml.safe_load(text) or {}) == options
    assert text.startswith(core.HEADER)
    assert core.problems(settings) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": "1.36"}, "k3s_version is `1.36`; expected a release such as v1.36.4+k3s1"),
        ({"version": "v1.27.16+k3s1"}, "expected 1.28 or newer"),
        ({"member": "worker"}, "k3s_member is `worker`"),
        ({"member": "agent"}, "k3s_member is agent on the first server"),
        ({"servers": 2}, "expected an odd number"),
        ({"datastore": "sqlite", "servers": 3}, "which serves one server"),
        ({"datastore": "etcd", "config": {"datastore-endpoint": "postgres://x"}}, "leave one out"),
        ({"node_name": "GPU_1"}, "k3s_node_name is `GPU_1`"),
        ({"node_ips": ["gpu-1"]}, "k3s_node_ips: `gpu-1` is no address"),
        ({"node_labels": {"a b": "c"}}, "`a b: c` is no label"),
        ({"node_labels": {"node-role.kubernetes.io/gpu": ""}}, "with which kubelet does not start"),
        ({"config": {"with-node-id": True}}, "the role knows the node by its name"),
        ({"node_taints": ["gpu"]}, "`gpu` is no taint"),
        ({"server_url": "http://a:6443"}, "expected https://"),
        ({"pod_subnet": "10.0.0.0/8", "service_subnet": "10.43.0.0/16"}, "overlap; expected them apart"),
        ({"pod_subnet": "ten"}, "k3s_pod_subnet: "),
        ({"config": {"token": "x"}}, "the role hands it on by a file"),
        ({"config": {"disable": ["traefik"]}, "disable": ["traefik"]}, "set by a variable of its own as well"),
        ({"config": {"kubelet-args": ["x"]}}, "k3s_config: `kubelet-args` is no option"),
        ({"colour": "red"}, "unknown settings: colour"),
    ],
)
def test_settings_that_k3s_would_not_serve_are_told(changes, told):
    assert any(told in problem for problem in core.problems({**FIRST, **changes}))


@pytest.mark.parametrize(
    ("settings", "look", "choices", "told"),
    [
        (
            AGENT,
            seen(role="agent", ca_hash=THEIRS, server="https://9.9.9.9:6443"),
            {"ca_hash": OURS},
            "at https://9.9.9.9",
        ),
        (AGENT, seen(role="agent", ca_hash=THEIRS), {"ca_hash": ""}, "another one would be made beside it"),
        (AGENT, seen(role="server", ca_hash=OURS), {"ca_hash": OURS}, "this node is a k3s server"),
        (FIRST, seen(role="agent", ca_hash=OURS), {}, "this node is a k3s agent"),
        (FIRST, seen(), {"members": {"w2": THEIRS, "w3": None}}, "w2 already belong to a cluster"),
        (
            FIRST,
            seen(role="server", ca_hash=OURS, server="https://9.9.9.9:6443"),
            {"addresses": ["192.0.2.1"]},
            "which is none of this play's nodes",
        ),
        (FIRST, seen(kubeadm=True), {}, "kubeadm has made a kubelet here"),
        (
            AGENT,
            seen(other_unit={"name": "k3s.service", "there": True, "ours": False}),
            {},
            "k3s.service is on this node too",
        ),
        ({**AGENT, "server_url": ""}, seen(), {"first_server": "n1"}, "where to find n1 is not known"),
        (FIRST, seen(role="server", version="v1.37.0+k3s1"), {}, "k3s does not go back"),
        (FIRST, seen(role="server", version="v1.34.9+k3s1"), {"allow_change": True}, "one minor at a time"),
        (FIRST, seen(role="server", version="v1.36.3+k3s1"), {}, "set k3s_allow_change"),
        (FIRST, seen(data_dir="/data/k3s"), {"allow_change": True}, "leave this node to its owner"),
        (FIRST, seen(foreign_options=["disable"], foreign_source=core.CONFIG), {}, "with `disable`"),
        (FIRST, seen(), {"file": "/srv/k3s", "machine": "x86_64"}, "without a checksum for this node"),
        (FIRST, seen(), {"checksums": {"amd64": "abc"}}, "no sha256"),
        (FIRST, seen(), {"checksums": {"x86_64": "a" * 64}}, "`x86_64` is none; expected amd64, arm64, arm"),
        (FIRST, seen(), {"machine": "riscv64"}, "k3s is not built for riscv64"),
        (FIRST, seen(), {"first_server": "n9", "hosts": ["n1"]}, "which the inventory does not have"),
    ],
)
def test_a_node_that_must_not_be_touched_is_refused(settings, look, choices, told):
    found = core.problems(settings, look, choices)

    assert any(told in problem for problem in found), found


@pytest.mark.parametrize(
    ("settings", "look", "choices"),
    [
        (AGENT, seen(role="agent", ca_hash=OURS), {"ca_hash": OURS}),
        (AGENT, seen(), {"ca_hash": ""}),
        (AGENT, seen(role="agent", ca_hash=OURS), {"ca_hash": None}),
        (FIRST, seen(role="server", version="v1.35.9+k3s1"), {"allow_change": True}),
        (FIRST, seen(role="server", ca_hash=OURS), {"members": {"w2": OURS}}),
        # the server that it joined by is lost, and it is the first one now
        (
            FIRST,
            seen(role="server", ca_hash=OURS, server="https://9.9.9.9:6443"),
            {"addresses": ["192.0.2.1"], "members": {"n2": OURS, "n3": OURS}},
        ),
        (AGENT, seen(other_unit={"name": "k3s.service", "there": True, "ours": True}), {}),
        ({**FIRST, "node_labels": {"nvidia.com/gpu.present": "true", "node.kubernetes.io/x": ""}}, seen(), {}),
        (FIRST, seen(foreign_options=["token", "server"], foreign_source="x"), {}),
        ({**FIRST, "disable": ["traefik"]}, seen(foreign_options=["disable"], foreign_source="x"), {}),
    ],
)
def test_a_node_of_this_cluster_is_let_through(settings, look, choices):
    assert core.problems(settings, look, choices) == []


@pytest.mark.parametrize(
    ("machine", "name", "listing"),
    [("x86_64", "k3s", "amd64"), ("aarch64", "k3s-arm64", "arm64"), ("armv7l", "k3s-armhf", "arm")],
)
def test_a_release_lies_where_upstream_has_it(machine, name, listing):
    where = core.download("https://m.example.org/k3s/", NEWEST, machine)

    assert where["url"] == f"https://m.example.org/k3s/v1.36.4%2Bk3s1/{name}"
    assert where["checksums_url"] == f"https://m.example.org/k3s/v1.36.4%2Bk3s1/sha256sum-{listing}.txt"


def test_a_checksum_is_that_of_the_very_name():
    listing = f"{'1' * 64}  k3s-airgap-images-amd64.tar\n{'2' * 64}  k3s\n"

    assert core.checksum_in(listing, "k3s") == "2" * 64


@pytest.mark.parametrize(
    "listing", ["", "<html>404</html>", f"{'1' * 64}  k3s-arm64\n", "12  k3s\n", f"{'1' * 64}  k3s\n{'2' * 64}  k3s\n"]
)
def test_a_list_that_does_not_name_the_file_once_is_refused(listing):
    with pytest.raises(ValueError, match="the checksums name `k3s`"):
        core.checksum_in(listing, "k3s")


@pytest.mark.parametrize("member", ["server", "agent"])
def test_the_unit_starts_k3s_and_waits_for_its_word(member):
    text = core.unit_text(member)

    assert f"\nExecStart=/usr/local/bin/k3s {member}\n" in text
    assert "\nType=notify\n" in text
    assert "\nWantedBy=multi-user.target\n" in text
    assert f"/etc/systemd/system/{core.UNITS[member]}.env" in text
