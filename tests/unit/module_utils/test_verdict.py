# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look comes to: findings, states, and whether that is good enough."""

from __future__ import annotations

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.facts import system
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host
from ansible_collections.gpunode.ready.plugins.module_utils.node import collect
from ansible_collections.gpunode.ready.plugins.module_utils.verdict import verdict

SWAP_ON = {
    "swap": {
        "live": [{"path": "/swap.img", "type": "file", "size_bytes": 1 << 31, "used_bytes": 0}],
        "fstab": [],
        "fstab_duplicates": [],
        "units": [],
        "zram": {"installed": False, "configured_in": [], "masked": False},
        "cron_failsafe": None,
    }
}


def test_a_fatal_finding_is_a_failure_that_says_what_was_seen():
    judged = verdict(SWAP_ON, layers=["host"])

    assert judged.answer["worst"] == "fatal"
    assert judged.answer["states"] == {"host": "failed"}
    assert "/swap.img" in judged.failure


def test_fail_on_never_says_the_same_and_fails_for_nothing():
    judged = verdict(SWAP_ON, layers=["host"], fail_on="never")

    assert judged.failure is None
    assert judged.answer == verdict(SWAP_ON, layers=["host"]).answer


def test_what_is_muted_fails_nothing():
    judged = verdict(SWAP_ON, layers=["host"], mute=["kubelet-swap-on"])

    assert "kubelet-swap-on" not in [finding["id"] for finding in judged.answer["findings"]]


@pytest.mark.parametrize("expect", [{"swop": "disabled"}, {"services": "tuned"}])
def test_an_expectation_that_cannot_be_one_is_refused(expect):
    with pytest.raises(ValueError, match=r"swop|services"):
        verdict(SWAP_ON, expect=expect)


def host_of(load: dict[str, str]) -> Host:
    """A host whose systemctl knows the units of ``load``, by name → LoadState."""

    def run(argv, _timeout):
        names = argv[argv.index("--") + 1 :]
        blocks = [
            f"LoadState={load.get(name, 'not-found')}\nActiveState=inactive\nSubState=dead\nUnitFileState="
            for name in names
        ]
        return Completed(0, "\n\n".join(blocks) + "\n", "")

    return Host(run=run)


def test_a_unit_that_is_expected_is_looked_at_though_no_list_of_ours_knows_it():
    facts = collect(host_of({"multipathd.service": "loaded"}), ["units"], units=["multipathd", "tuned"])

    assert facts["units"]["multipathd.service"]["active"] == "inactive"
    found = verdict(facts, layers=["host"], expect={"services": ["multipathd", "tuned"]}).answer["findings"]
    told = {finding["subject"]: finding["cause"] for finding in found if finding["id"] == "service-not-running"}
    assert told == {
        "multipathd": "multipathd is inactive (dead); expected active.",
        "tuned": "tuned is not installed; expected active.",
    }


def test_the_fixed_list_of_units_is_looked_at_once_even_when_named_again():
    asked = []

    def run(argv, _timeout):
        asked.append(argv[argv.index("--") + 1 :])
        return Completed(1, "", "offline")

    collect(Host(run=run), ["units"], units=["kubelet", "kubelet.service"])

    assert asked[0].count("kubelet.service") == 1
    assert len(asked[0]) == len(system.UNITS)
