# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that carry rules, dashboards and configuration into a cluster.

Rules of this file: data only. Rules and dashboards are JSON, which Prometheus and Grafana read as well as YAML, so that
no library is needed to write them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..cluster.manifests import MANAGED_BY, config_map
from .dashboards import dashboards
from .panels import rendered
from .rules import rule_groups
from .settings import Settings

# what the sidecar of kube-prometheus-stack's Grafana looks for
GRAFANA_LABEL = {"grafana_dashboard": "1"}
NO_NAMESPACE_OF_OURS = ("default", "kube-system", "kube-public")


def objects(
    chosen: Settings, files: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The objects, in order. ``files``: prometheus.yml and counters.csv. ``labels`` go on rules and dashboards."""
    own = dict(labels or {})
    found = [] if chosen.namespace in NO_NAMESPACE_OF_OURS else [_namespace(chosen)]
    given = files or {}
    if "prometheus.yml" in given:
        found.append(_config_map(chosen, "gpunode-prometheus", {"prometheus.yml": given["prometheus.yml"]}))
    if "counters.csv" in given:
        found.append(_config_map(chosen, "gpunode-dcgm-counters", {"counters.csv": given["counters.csv"]}))
    groups = {"groups": rule_groups(chosen)}
    if chosen.rule_objects == "prometheusrule":
        meta = _meta(chosen, "gpunode-rules", own)
        found.append(
            {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": meta, "spec": groups}
        )
    else:
        found.append(_config_map(chosen, "gpunode-rules", {"gpunode.json": _text(groups)}, own))
    for board in dashboards(chosen):
        text = {f"{board.uid}.json": _text(rendered(board))}
        found.append(_config_map(chosen, f"{board.uid}-dashboard", text, {**GRAFANA_LABEL, **own}))
    return found


def _text(data: Any) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _meta(chosen: Settings, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    own = {"app.kubernetes.io/managed-by": MANAGED_BY, "app.kubernetes.io/part-of": "monitoring"}
    return {"name": name, "namespace": chosen.namespace, "labels": {**own, **labels}}


def _namespace(chosen: Settings) -> dict[str, Any]:
    meta = _meta(chosen, chosen.namespace, {})
    del meta["namespace"]
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def _config_map(
    chosen: Settings, name: str, data: Mapping[str, str], labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return config_map(_meta(chosen, name, labels or {}), data)
