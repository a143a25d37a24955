# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the objects of all roles of the cluster have in common: settings, labels, namespaces, accounts and rights.

Rules of this file: functions from values to objects; no I/O, and nothing of any one role.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MANAGED_BY = "gpunode.ready"
RBAC = "rbac.authorization.k8s.io"


def merged(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with what was given put over them. Raises ``ValueError`` naming every key that is unknown."""
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ValueError(f"unknown settings: {', '.join(unknown)} (known: {', '.join(defaults)})")
    return {**defaults, **given}


def with_numbers(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A number that a template has made text of, as ansible-core before 2.19 does, is one again."""
    return {name: _typed(value, defaults[name]) for name, value in settings.items()}


def _typed(value: Any, default: Any) -> Any:
    number = isinstance(default, int) and not isinstance(default, bool)
    return int(value) if number and isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) else value


def labels_of(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": MANAGED_BY}


def privileged_namespace(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """For pods that mount folders of the node, which Pod Security allows at the level privileged alone."""
    level = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**labels, **level}}}


def account(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A ServiceAccount whose token is mounted only where a pod asks for it."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }


def config_map(metadata: Mapping[str, Any], data: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}


def role(kind: str, metadata: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``kind``: ``ClusterRole`` or ``Role``."""
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": list(rules)}


def binding(kind: str, metadata: Mapping[str, Any], to: tuple[str, str], who: tuple[str, str]) -> dict[str, Any]:
    """``to``: kind and name of the role. ``who``: namespace and name of the account."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": to[0], "name": to[1]},
        "subjects": [{"kind": "ServiceAccount", "name": who[1], "namespace": who[0]}],
    }
