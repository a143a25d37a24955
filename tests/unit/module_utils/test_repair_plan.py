# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a repair will do, of what looks and logs say: the look wins, and nothing is dropped silently."""

from __future__ import annotations

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import repair_plan as core
from ansible_collections.gpunode.ready.plugins.module_utils.diagnose import diagnose_text, merged
from ansible_collections.gpunode.ready.plugins.module_utils.findings import Evidence, Finding, Remedy, worst
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.all import FAILURES

ROLES = ["host_prep", "nvidia_driver", "crio", "nvidia_container_toolkit", "cdi"]
READY = {"host": "ready", "driver": "ready", "toolkit": "ready", "runtime": "ready", "cdi": "ready", "kubelet": "ready"}
SWAP = "Nov 21 09:00:00 gpu-1 kubelet[1]: failed to run Kubelet: running with swap on is not supported"


def finding(name, role=None, tag=None, severity="fatal", layer="host", cause=None, evidence=()):
    return Finding(
        id=name,
        layer=layer,
        severity=severity,
        subject="gpu-1",
        cause=f"{name} is so.",
        remedy=Remedy("Mend it.", ("mend --it",), role=role, tag=tag),
        evidence=evidence,
        consequence_of=cause,
    )


def node(*found, states=READY):
    return core.look_at_node([item.id for item in found], states)


def sampled(name):
    failure = next(item for item in FAILURES if item.id == name)
    return [item for item in diagnose_text(failure.signatures[0].sample) if item.id == name]


def test_roles_run_from_the_lowest_layer_upwards_each_once():
    found = [finding("a", "cdi"), finding("b", "host_prep"), finding("c", "cdi")]

    plan = core.planned(found, ROLES, node(*found))

    assert plan.roles == ("host_prep", "cdi")
    assert [item.id for item in plan.mended] == ["a", "b", "c"]


def test_what_needs_a_person_is_told_and_what_it_explains_waits():
    found = [finding("bad-board"), finding("hence", "cdi", cause="bad-board"), finding("other", "host_prep")]

    plan = core.planned(found, ROLES, node(*found))

    assert plan.roles == ("host_prep",)
    assert [item.id for item in plan.by_hand] == ["bad-board"]
    assert [item.id for item in plan.waiting] == ["hence"]


def test_a_notice_runs_nothing():
    found = [finding("a", "cdi", severity="notice")]

    plan = core.planned(found, ROLES, node(*found))

    assert plan == core.Plan()


def test_a_role_that_does_not_belong_here_is_told_and_not_run():
    found = [finding("a", "docker")]

    plan = core.planned(found, ROLES, node(*found))

    assert plan.roles == ()
    assert [item.id for item in plan.elsewhere] == ["a"]


# ---------------------------------------------------------------- what only logs say


def test_a_log_of_what_no_check_knows_runs_its_role_and_says_when_it_was_seen():
    [text] = diagnose_text(
        "Nov 21 09:00:00 gpu-1 kubelet[1]: nvidia-container-cli: mount error: failed to add device rules: unable to "
        "find any existing device filters attached to the cgroup: bpf_prog_query(BPF_CGROUP_DEVICE) failed"
    )
    look = node()

    plan = core.planned([text], ROLES, look)

    assert plan.roles == (text.remedy.role,)
    [line] = core.lines(plan, look)[2:]
    assert f"{text.remedy.role} (tag {text.remedy.tag}) for {text.id}" in line
    assert "only a log says so - text:1: " in line
    assert "seen once, Nov 21 09:00:00" in line


def test_an_old_line_that_the_look_denies_runs_nothing_and_is_told_as_past():
    texts = diagnose_text(SWAP)
    look = node()

    plan = core.planned(texts, ROLES, look)

    assert [item.id for item in texts] == ["kubelet-swap-on"]
    assert plan.roles == ()
    assert [item.id for item in plan.past] == ["kubelet-swap-on"]
    assert "past, for the look shows no more of it: kubelet-swap-on" in core.lines(plan, look)[-1]


def test_what_was_not_looked_at_denies_nothing():
    texts = diagnose_text(SWAP)

    plan = core.planned(texts, ROLES, node(states={**READY, "kubelet": "unknown"}))

    assert plan.roles == ("host_prep",)


def test_what_the_log_and_the_look_both_know_is_the_looks():
    seen = finding("kubelet-swap-on", "host_prep", layer="kubelet", evidence=(Evidence("/proc/swaps", "/swap.img"),))
    both = merged(diagnose_text(SWAP), [seen])
    look = node(seen)

    plan = core.planned(both, ROLES, look)

    assert plan.roles == ("host_prep",)
    assert "[seen - /proc/swaps: /swap.img; text:1: " in core.lines(plan, look)[-1]


def test_an_old_line_that_needed_a_person_keeps_nothing_from_being_mended():
    old = finding("gpu-lost-off-bus", layer="nvml")
    now = finding("swap-on", "host_prep", cause="gpu-lost-off-bus")

    plan = core.planned([old, now], ROLES, node(now, states={**READY, "nvml": "ready"}))

    assert plan.roles == ("host_prep",)


def test_the_time_of_the_journal_is_told_as_people_read_it():
    text = finding("a", "cdi", evidence=(Evidence("unit crio", "seen once, @1795251600.000000"),))
    look = node()

    told = core.lines(core.planned([text], ROLES, look), look)

    assert "seen once, 2026-11-21T" in told[2]


# ---------------------------------------------------------------- the cluster


@pytest.mark.parametrize(
    "name", ["invalid-device-list-strategy", "plugin-config-no-resources", "plugin-without-nvidia-runtime"]
)
def test_what_the_plugin_prints_names_the_role_of_the_plugin(name):
    [text] = sampled(name)

    assert (text.remedy.role, text.remedy.tag) == ("device_plugin", "device_plugin_objects")


def test_a_cluster_that_was_looked_at_denies_what_a_plugins_old_log_says():
    texts = sampled("plugin-without-nvidia-runtime")

    plan = core.planned(texts, ["device_plugin"], core.look_at_cluster([]))

    assert plan.roles == ()
    assert [item.id for item in plan.past] == ["plugin-without-nvidia-runtime"]


@pytest.mark.parametrize("name", ["apiserver-not-ready", "kubeconfig-missing", "cluster-permission-missing"])
def test_a_cluster_that_shows_nothing_denies_nothing(name):
    texts = sampled("plugin-without-nvidia-runtime")

    plan = core.planned(texts, ["device_plugin"], core.look_at_cluster([name]))

    assert plan.roles == ("device_plugin",)


@pytest.mark.parametrize(
    ("nodes", "severities"),
    [
        ([node()], ["notice"]),
        ([node(), node(states={**READY, "kubelet": "unknown"})], ["fatal"]),
        ([node(), core.look_at_node([], {})], ["fatal"]),
        ([node(), node(finding("kubelet-swap-on"))], []),
        ([], ["fatal"]),
    ],
    ids=["all denied it", "one could not tell", "one was not looked at", "one has it and tells it", "none looked at"],
)
def test_what_a_pods_log_says_of_its_node_is_past_where_every_node_denies_it(nodes, severities):
    texts = diagnose_text(SWAP)

    left = core.left([], texts, core.look_at_cluster([], nodes), [])

    assert [item.severity for item in left] == severities


def test_a_cluster_that_shows_nothing_lets_the_nodes_deny_what_is_theirs():
    swap, plugin = diagnose_text(SWAP), sampled("plugin-without-nvidia-runtime")
    look = core.look_at_cluster(["apiserver-not-ready"], [node()])

    plan = core.planned([*swap, *plugin], ["device_plugin"], look)

    assert [item.id for item in plan.past] == ["kubelet-swap-on"]
    assert plan.roles == ("device_plugin",)


# ---------------------------------------------------------------- what is left


def test_what_the_look_denies_and_what_a_role_ran_for_are_notices_afterwards():
    past, ran = diagnose_text(SWAP)[0], finding("in-a-log", "cdi")

    left = core.left([], [past, ran], node(), ["cdi"])

    assert {item.id: item.severity for item in left} == {"kubelet-swap-on": "notice", "in-a-log": "notice"}
    assert worst(left) == "notice"
    assert "Role cdi ran for it" in next(item.cause for item in left if item.id == "in-a-log")


def test_what_a_role_failed_on_and_what_needs_a_person_is_left():
    before = [finding("in-a-log", "cdi"), finding("bad-board")]

    left = core.left([], before, node(), [])

    assert worst(left) == "fatal"
    assert [item.id for item in left] == ["in-a-log", "bad-board"]


def test_what_the_look_found_before_and_no_more_is_gone_and_what_it_finds_now_is_left():
    before = [finding("swap-on", "host_prep"), finding("disk-low")]
    now = [finding("disk-low", severity="degraded")]

    left = core.left(now, before, node(*now), ["host_prep"])

    assert [(item.id, item.severity) for item in left if item.severity != "notice"] == [("disk-low", "degraded")]


def test_what_a_person_has_to_do_is_told_with_its_remedy():
    found = [finding("bad-board"), finding("heard", severity="notice")]

    assert core.by_hand(found) == ["[fatal] bad-board (gpu-1): bad-board is so. Mend it. $ mend --it"]
