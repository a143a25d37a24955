# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The choices that rules and dashboards share: where a GPU is hot, a disk full, a node under load.

Rules of this file: data only. The defaults are those of the role ``monitoring``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# a label of series and a key of taints: neither may end a string of PromQL or of YAML
_PLAIN = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_./]{0,251}[A-Za-z0-9])?")

EMPTY, MODEST, HIGH, CRITICAL = "empty", "modest", "high", "critical"


@dataclass(frozen=True)
class Settings:
    """One site's choices."""

    namespace: str = "monitoring"
    cluster: str = "kubernetes"
    scrape_interval_seconds: int = 15
    rule_objects: str = "configmap"
    runbook_url: str = "https://github.com/gpunode/ready/blob/main/docs/diagnosis.md"
    gate_taint: str = "gpunode.ready/gate"
    gpu_hot_celsius: int = 85
    gpu_too_hot_celsius: int = 90
    gpu_memory_hot_celsius: int = 95
    load_modest_percent: int = 10
    load_high_percent: int = 70
    load_critical_percent: int = 90
    memory_stalled_percent: int = 10
    io_stalled_percent: int = 30
    disk_free_percent: int = 20
    disk_full_hours: int = 24
    certificate_days: int = 14
    evicted_pods: int = 20

    def states(self) -> dict[str, float]:
        """The states of load, each with the share of the node at which it begins."""
        return {
            EMPTY: 0.0,
            MODEST: self.load_modest_percent / 100,
            HIGH: self.load_high_percent / 100,
            CRITICAL: self.load_critical_percent / 100,
        }


RULE_OBJECTS = ("configmap", "prometheusrule")
_PERCENT = tuple(field.name for field in fields(Settings) if field.name.endswith("_percent"))
_CELSIUS = tuple(field.name for field in fields(Settings) if field.name.endswith("_celsius"))
_COUNTS = ("scrape_interval_seconds", "disk_full_hours", "certificate_days", "evicted_pods")


def problems(given: Mapping[str, Any]) -> list[str]:
    """All that is wrong with the settings, one sentence each."""
    known = {field.name: field.default for field in fields(Settings)}
    what = {**known, **given}
    found = [f"`{name}` is no setting of monitoring" for name in given if name not in known]
    for name, default in known.items():
        if isinstance(default, int) and (isinstance(what[name], bool) or not isinstance(what[name], int)):
            found.append(f"{name} is `{what[name]}`; expected a whole number")
        elif isinstance(default, str) and not isinstance(what[name], str):
            found.append(f"{name} is `{what[name]}`; expected text")
    if found:
        return found
    found += [f"{name} is {what[name]}; expected 1 to 100" for name in _PERCENT if not 1 <= what[name] <= 100]
    found += [f"{name} is {what[name]}; expected 30 to 120" for name in _CELSIUS if not 30 <= what[name] <= 120]
    found += [f"{name} is {what[name]}; expected at least 1" for name in _COUNTS if what[name] < 1]
    if not what["load_modest_percent"] < what["load_high_percent"] < what["load_critical_percent"]:
        found.append("load_modest_percent, load_high_percent and load_critical_percent must rise in this order")
    if not what["gpu_hot_celsius"] < what["gpu_too_hot_celsius"]:
        found.append("gpu_hot_celsius must be below gpu_too_hot_celsius")
    if not _DNS_LABEL.fullmatch(what["namespace"]):
        found.append(f"namespace is `{what['namespace']}`, which is no name of a namespace")
    found += [
        f"{name} is `{what[name]}`; expected letters, digits, dots, dashes and slashes"
        for name in ("cluster", "gate_taint")
        if not _PLAIN.fullmatch(what[name])
    ]
    if not re.fullmatch(r"https?://[^\s\"'<>{}\\]+", what["runbook_url"]):
        found.append(f"runbook_url is `{what['runbook_url']}`; expected an address that begins with https://")
    if what["rule_objects"] not in RULE_OBJECTS:
        found.append(f"rule_objects is `{what['rule_objects']}`; expected {' or '.join(RULE_OBJECTS)}")
    return found


def settings(given: Mapping[str, Any]) -> Settings:
    """The settings, completed. Raises ``ValueError`` with every problem at once."""
    wrong = problems(given)
    if wrong:
        raise ValueError("; ".join(wrong))
    return Settings(**given)
