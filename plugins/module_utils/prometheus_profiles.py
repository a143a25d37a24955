# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sets of queries that come ready: what researchers need to learn how a node behaves, one series a metric.

``<match>`` stands for label matchers that are added, ``<by>`` for the labels that are kept, ``<window>`` for the window
of rates. A GPU that several pods share is exported once for each of them by some exporters: it is counted once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

AVAILABLE = "node_memory_MemAvailable_bytes{<match>}"
TOTAL = "node_memory_MemTotal_bytes{<match>}"
PRESSURE = "100 * avg<by> (rate(node_pressure_{}_seconds_total{{<match>}}[<window>]))"
LATENCY = "histogram_quantile({}, sum by (le<,by>) (rate(inference_latency_seconds_bucket{{<match>}}[<window>])))"

PROFILES: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "research": {
        "cpu_util_percent": '100 * (1 - avg<by> (rate(node_cpu_seconds_total{mode="idle",<match>}[<window>])))',
        "ram_used_bytes": f"sum<by> ({TOTAL} - {AVAILABLE})",
        "ram_used_percent": f"100 * (1 - sum<by> ({AVAILABLE}) / sum<by> ({TOTAL}))",
        "gpu_util_percent": "avg<by> (max by (UUID<,by>) (DCGM_FI_DEV_GPU_UTIL{<match>}))",
        "gpu_memory_used_bytes": "1048576 * sum<by> (max by (UUID<,by>) (DCGM_FI_DEV_FB_USED{<match>}))",
        "gpu_power_watts": "sum<by> (max by (UUID<,by>) (DCGM_FI_DEV_POWER_USAGE{<match>}))",
        "psi_cpu_some_percent": PRESSURE.format("cpu_waiting"),
        "psi_memory_some_percent": PRESSURE.format("memory_waiting"),
        "psi_memory_full_percent": PRESSURE.format("memory_stalled"),
        "psi_io_some_percent": PRESSURE.format("io_waiting"),
        "psi_io_full_percent": PRESSURE.format("io_stalled"),
        "latency_p50_seconds": LATENCY.format(0.5),
        "latency_p95_seconds": LATENCY.format(0.95),
        "latency_p99_seconds": LATENCY.format(0.99),
    },
}

UNITS = {
    "percent": "%",
    "bytes": "bytes",
    "watts": "W",
    "seconds": "s",
    "celsius": "°C",
    "ratio": "ratio",
    "mib": "MiB",
}


def profile(name: str, matchers: str = "", by: Sequence[str] = (), window: str = "1m") -> dict[str, str]:
    """The queries of a profile, of the series that ``matchers`` (``node="gpu-1"``) leave; ``by``: labels kept apart."""
    kept = ", ".join(by)
    words = {
        "<match>": matchers.strip().strip(",").strip(),
        "<by>": f" by ({kept})" if kept else "",
        "<,by>": f", {kept}" if kept else "",
        "<window>": window,
    }
    return {metric: _filled(query, words) for metric, query in PROFILES[name].items()}


def _filled(query: str, words: Mapping[str, str]) -> str:
    for mark, text in words.items():
        query = query.replace(mark, text)
    return re.sub(r"(\w)\{\}", r"\1", query.replace(",}", "}"))


def unit_of(metric: str) -> str:
    """The unit that a metric's name ends with, as an axis shows it."""
    return UNITS.get(metric.rpartition("_")[2].lower(), "")
