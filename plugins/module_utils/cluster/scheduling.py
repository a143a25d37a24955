# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a pod may, or may not, run on a node: selector, affinity, taints and free devices, as the scheduler reads them.

Rules of this file: no I/O. A node and a pod are those of ``facts.py``: plain dicts, any of whose keys may be missing.
``obstacles`` answers in data, so that checks can count, join and word them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# What the DaemonSet controller lets every pod of its own tolerate.
DAEMON_TOLERATED = (
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unschedulable",
)


@dataclass(frozen=True)
class Obstacle:
    """One reason why a pod does not fit a node. ``kind`` is selector, affinity, taint, resource or cordoned."""

    kind: str
    wanted: str  # what the pod asks for, or fails to tolerate
    found: str  # what the node has instead


def obstacles(pod: Mapping[str, Any], node: Mapping[str, Any], free: Mapping[str, int] | None = None, daemon=False):
    """Every reason why ``pod`` cannot run on ``node``. ``free`` are the node's free devices by resource."""
    return list(_obstacles(pod, node, free, daemon))


def _obstacles(
    pod: Mapping[str, Any], node: Mapping[str, Any], free: Mapping[str, int] | None, daemon: bool
) -> Iterator[Obstacle]:
    labels = _dict(node.get("labels"))
    for key, value in sorted(_dict(pod.get("node_selector")).items()):
        if labels.get(key) != value:
            yield Obstacle("selector", f"{key}={value}", _label(labels, key))
    terms = pod.get("node_affinity")
    if isinstance(terms, list) and not any(matches(term, node) for term in terms):
        yield Obstacle("affinity", " or ".join(spell(term) for term in terms) or "no term", _seen(terms, labels))
    tolerations = [item for item in pod.get("tolerations") or [] if isinstance(item, Mapping)]
    for taint in node.get("taints") or []:
        if not isinstance(taint, Mapping) or taint.get("effect") not in ("NoSchedule", "NoExecute"):
            continue
        if daemon and (
            taint.get("key") in DAEMON_TOLERATED
            or (taint.get("key") == "node.kubernetes.io/network-unavailable" and pod.get("host_network"))
        ):
            continue
        if not any(tolerates(toleration, taint) for toleration in tolerations):
            yield Obstacle("taint", "no toleration", spell_taint(taint))
    if node.get("unschedulable") and not daemon:
        cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        already = any(_dict(taint).get("key") == cordon["key"] for taint in node.get("taints") or [])
        if not already and not any(tolerates(toleration, cordon) for toleration in tolerations):
            yield Obstacle("cordoned", "a node that takes pods", "unschedulable: true")
    for resource, amount in sorted(_dict(pod.get("requests")).items()):
        available = (
            _dict(free).get(resource, 0) if free is not None else _dict(node.get("allocatable")).get(resource, 0)
        )
        if amount > available:
            has = _dict(node.get("allocatable")).get(resource, 0)
            yield Obstacle("resource", f"{amount} {resource}", f"{available} free of {has}")


def matches(term: Any, node: Mapping[str, Any]) -> bool:
    """Whether a node selector term holds: all of its expressions and fields; an empty one never does."""
    expressions = _list(_dict(term).get("matchExpressions"))
    fields = _list(_dict(term).get("matchFields"))
    if not expressions and not fields:
        return False
    labels = _dict(node.get("labels"))
    return all(holds(item, labels) for item in expressions) and all(
        holds(item, {"metadata.name": node.get("name")}) for item in fields
    )


def holds(expression: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Whether one expression of a term holds for these labels; an operator that does not exist never does."""
    key, operator = expression.get("key", ""), expression.get("operator")
    values = _list(expression.get("values"))
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return key not in labels or labels[key] not in values
    if operator in ("Gt", "Lt") and len(values) == 1:
        try:
            found, bound = int(labels[key]), int(values[0])
        except (KeyError, TypeError, ValueError):
            return False
        return found > bound if operator == "Gt" else found < bound
    return False


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """Whether a toleration covers a taint: an empty key with Exists covers all, an empty effect every effect."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    key = toleration.get("key") or ""
    operator = toleration.get("operator") or "Equal"
    if not key:
        return operator == "Exists"
    if key != taint.get("key"):
        return False
    return operator == "Exists" or (
        operator == "Equal" and (toleration.get("value") or "") == (taint.get("value") or "")
    )


# ---------------------------------------------------------------- devices


def free_devices(nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """node → resource → devices that no pod holds; a pod that has ended holds none."""
    free = {str(node.get("name")): dict(_dict(node.get("allocatable"))) for node in nodes}
    for pod in pods:
        held = free.get(str(pod.get("node")))
        if held is None or pod.get("phase") in ("Succeeded", "Failed"):
            continue
        for resource, amount in _dict(pod.get("requests")).items():
            held[resource] = held.get(resource, 0) - amount
    return free


# ---------------------------------------------------------------- words


def spell(term: Any) -> str:
    """``a=b and c exists`` of a node selector term."""
    items = [*_list(_dict(term).get("matchExpressions")), *_list(_dict(term).get("matchFields"))]
    return " and ".join(_spell(item) for item in items) or "nothing (an empty term matches no node)"


def _spell(expression: Any) -> str:
    item = _dict(expression)
    key, operator, values = item.get("key"), item.get("operator"), [str(value) for value in _list(item.get("values"))]
    if operator == "Exists":
        return f"{key}"
    if operator == "DoesNotExist":
        return f"no {key}"
    if operator == "In":
        return f"{key}={values[0]}" if len(values) == 1 else f"{key} in ({', '.join(values)})"
    if operator == "NotIn":
        return f"{key} not in ({', '.join(values)})"
    return f"{key} {operator} {', '.join(values)}"


def spell_taint(taint: Mapping[str, Any]) -> str:
    """``nvidia.com/gpu=present:NoSchedule``, as kubectl takes it."""
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"


def _label(labels: Mapping[str, Any], key: str) -> str:
    return f"{key}={labels[key]}" if key in labels else f"no label {key}"


def _seen(terms: Iterable[Any], labels: Mapping[str, Any]) -> str:
    keys = [str(_dict(item).get("key")) for term in terms for item in _list(_dict(term).get("matchExpressions"))]
    return ", ".join(dict.fromkeys(_label(labels, key) for key in keys)) or "its own labels"


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
