# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs of each node, allocated and free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADING = ("node", "gpus", "resource", "total", "used", "free")


def rows(nodes: Any, free: Any) -> list[tuple[str, ...]]:
    """One row a node and resource, and one with the sum of each resource where there are several nodes."""
    found: list[tuple[str, ...]] = []
    sums: dict[str, list[int]] = {}
    for node in nodes if isinstance(nodes, list) else []:
        name = str(node.get("name"))
        left = (free or {}).get(name) or {}
        product = str((node.get("labels") or {}).get("nvidia.com/gpu.product") or "-")
        for resource, total in sorted((node.get("allocatable") or {}).items()):
            unused = int(left.get(resource, total))
            found.append((name, product, resource, str(total), str(total - unused), str(unused)))
            sums.setdefault(resource, []).append(total)
            sums.setdefault(f"{resource} free", []).append(unused)
    if len({row[0] for row in found}) > 1:
        for resource in sorted({row[2] for row in found}):
            total, unused = sum(sums[resource]), sum(sums[f"{resource} free"])
            found.append(("all", "", resource, str(total), str(total - unused), str(unused)))
    return found


def gpu_table(nodes: Any, free: Mapping[str, Any] | None = None) -> list[str]:
    """The rows as lines, columns under each other; a sentence where no node offers a GPU."""
    found = rows(nodes, free)
    if not found:
        return ["No node offers a GPU."]
    table = [HEADING, *found]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADING))]
    return [
        "  ".join(
            cell.rjust(width) if column > 2 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in table
    ]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"gpu_table": gpu_table}
