# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a fleet, as plain data: what the terminal table, the JSON and the HTML page all say.

Rules of this file: plain data in, plain data out; whatever shape an answer has, there is a report of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..module_utils.checks.reading import entries, gpus, look_up, mappings, names, number, text
from ..module_utils.checks.states import NODE_LAYERS
from ..module_utils.findings import SEVERITIES, Finding, by_cause, from_dict
from ..module_utils.wording import folded

SCHEMA = 1
# What a node is in one word, the gravest first.
NODE_STATES = ("failed", "unreachable", "unknown", "degraded", "ready")
STATE_OF = {"fatal": "failed", "degraded": "degraded", "notice": "ready"}


def findings_of(value: Any) -> list[Finding]:
    """The findings in a module's answer; what is no finding is left out."""
    found = []
    for item in value if isinstance(value, list) else []:
        try:
            finding = from_dict(dict(item))
            if finding.severity in SEVERITIES and isinstance(finding.cause, str):
                by_cause([finding])  # raises for an unknown layer
                found.append(finding)
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
    return found


def node(name: str, result: Mapping[str, Any] | None) -> dict[str, Any]:
    """One node of the report, of what ``node_check`` answered for it."""
    result = result if isinstance(result, Mapping) else {}
    facts = result.get("facts") if isinstance(result.get("facts"), Mapping) else {}
    findings = findings_of(result.get("findings"))
    states = result.get("states") if isinstance(result.get("states"), Mapping) else {}
    judged = isinstance(result.get("findings"), list)
    reason = ""
    if result.get("unreachable"):
        state, reason = "unreachable", str(result.get("msg") or "The node does not answer.")
    elif not judged:
        state = "unknown"
        reason = str(result.get("msg") or result.get("module_stderr") or "The node was not looked at.")
    else:
        gravest = next((name for name in SEVERITIES if any(item.severity == name for item in findings)), "notice")
        state = STATE_OF[gravest]
    return {
        "name": str(name),
        "state": state,
        "reason": reason,
        "simulated": look_up(facts, "nvml.simulated") is True,
        "layers": {layer: str(states.get(layer, "unknown")) for layer in NODE_LAYERS if layer in states or not states},
        "about": about(facts),
        "findings": [
            {**root.as_dict(), "consequences": [item.as_dict() for item in consequences]}
            for root, consequences in folded(findings)
        ],
        "counts": {name: sum(1 for item in findings if item.severity == name) for name in SEVERITIES},
        "gpus": devices(facts),
        "seconds": number(result, "seconds"),
    }


def about(facts: Mapping[str, Any]) -> dict[str, str]:
    """What a node is, in a few words; what is unknown is left out."""
    driver = text(facts, "driver.loaded.version") or text(facts, "nvml.driver_version")
    flavour = text(facts, "driver.loaded.flavour")
    runtimes = [
        f"{name} {text(state, 'version')}".strip()
        for name, state in mappings(facts, "runtimes").items()
        if state.get("installed") is True
    ]
    told = {
        "os": text(facts, "os.name"),
        "kernel": text(facts, "os.kernel"),
        "driver": f"{driver} {flavour}".strip() if driver else "",
        "cuda": text(facts, "nvml.cuda_version"),
        "runtime": ", ".join(runtimes),
        "toolkit": text(facts, "toolkit.version"),
        "kubelet": text(facts, "kubelet.version"),
        "boot": text(facts, "boot.id"),
        "looked_at": text(facts, "boot.time_utc"),
    }
    return {key: value for key, value in told.items() if value}


def devices(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The GPUs with their figures, as NVML tells them; those that only the PCI bus shows, by name."""
    found = []
    known = set()
    for item in entries(facts, "nvml.devices"):
        known.add(text(item, "pci_bus_id").lower())
        mode = look_up(item, "mig.mode.current")
        found.append(
            {
                "index": number(item, "index"),
                "name": text(item, "name") or "GPU",
                "uuid": text(item, "uuid"),
                "serial": text(item, "serial"),
                "address": text(item, "pci_bus_id"),
                "condition": text(item, "condition") or "ok",
                "architecture": text(item, "architecture"),
                "compute_capability": text(item, "compute_capability"),
                "memory_used_bytes": number(item, "memory.used_bytes"),
                "memory_total_bytes": number(item, "memory.total_bytes"),
                "temperature_celsius": number(item, "temperature_celsius"),
                "power_draw_watts": number(item, "power_draw_watts"),
                "power_limit_watts": number(item, "power_limit_watts"),
                "gpu_percent": number(item, "utilisation.gpu_percent"),
                "sm_mhz": number(item, "clocks.sm_mhz"),
                "slowed": [name for name in names(item, "clocks_event_reasons.names") if "slowdown" in name],
                "ecc": look_up(item, "ecc.mode.current"),
                "ecc_corrected": number(item, "ecc.volatile.corrected"),
                "ecc_uncorrected": number(item, "ecc.volatile.uncorrected"),
                "mig": mode if isinstance(mode, bool) else None,
                "mig_instances": [text(one, "profile") or text(one, "name") for one in entries(item, "mig.instances")],
                "processes": number(item, "compute_processes"),
                "persistence": look_up(item, "persistence_mode"),
            }
        )
    for item in gpus(facts):
        if text(item, "address").lower() not in known:
            found.append(
                {
                    "index": None,
                    "name": text(item, "name") or f"{text(item, 'vendor_id')}:{text(item, 'device_id')}",
                    "address": text(item, "address"),
                    "architecture": text(item, "architecture"),
                    "condition": "unknown to NVML",
                }
            )
    return found


def report(answers: Iterable[Any], generated: str = "", title: str = "") -> dict[str, Any]:
    """The whole report. ``answers``: mappings of ``host`` and ``result``, the answer of ``node_check``.

    A result with ``cluster`` is that of a cluster: it has findings, and is counted as no node.
    """
    nodes, clusters = [], []
    for answer in answers if isinstance(answers, (list, tuple)) else []:
        if isinstance(answer, Mapping) and answer.get("host") is not None:
            result = answer.get("result")
            told = node(str(answer["host"]), result)
            if isinstance(result, Mapping) and result.get("cluster") is True:
                clusters.append({**told, "layers": {}})
            else:
                nodes.append(told)
    nodes.sort(key=lambda item: (NODE_STATES.index(item["state"]), item["name"]))
    counts = {state: sum(1 for item in nodes if item["state"] == state) for state in NODE_STATES}
    return {
        "schema": SCHEMA,
        "title": title or "GPU nodes",
        "generated": generated,
        "summary": {
            "nodes": len(nodes),
            **counts,
            "gpus": sum(len(item["gpus"]) for item in nodes),
            "simulated": sum(1 for item in nodes if item["simulated"]),
            "findings": {name: sum(item["counts"][name] for item in [*nodes, *clusters]) for name in SEVERITIES},
        },
        "clusters": clusters,
        "nodes": nodes,
    }


def headline(summary: Mapping[str, Any]) -> str:
    """``3 of 4 nodes are ready``."""
    total, ready = summary["nodes"], summary["ready"]
    if not total:
        return "No node was looked at"
    if ready == total:
        return "The node is ready" if total == 1 else f"All {total} nodes are ready"
    if total == 1:
        return "The node is not ready" if not summary["degraded"] else "The node works, but not as promised"
    return f"{ready} of {total} nodes {'is' if ready == 1 else 'are'} ready"
