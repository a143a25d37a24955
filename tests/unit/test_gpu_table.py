# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs of each node, allocated and free, as people read them."""

from __future__ import annotations

from ansible_collections.gpunode.ready.plugins.filter.gpu_table import gpu_table

NODES = [
    {"name": "gpu-1", "allocatable": {"nvidia.com/gpu": 8}, "labels": {"nvidia.com/gpu.product": "NVIDIA-H200"}},
    {"name": "gpu-02", "allocatable": {"nvidia.com/gpu": 2, "nvidia.com/mig-1g.5gb": 14}, "labels": {}},
    {"name": "plane", "allocatable": {}, "labels": {}},
]


def test_columns_stand_under_each_other_and_are_summed():
    free = {"gpu-1": {"nvidia.com/gpu": 3}, "gpu-02": {"nvidia.com/gpu": 0, "nvidia.com/mig-1g.5gb": 14}}

    assert gpu_table(NODES, free) == [
        "node    gpus         resource               total  used  free",
        "gpu-1   NVIDIA-H200  nvidia.com/gpu             8     5     3",
        "gpu-02  -            nvidia.com/gpu             2     2     0",
        "gpu-02  -            nvidia.com/mig-1g.5gb     14     0    14",
        "all                  nvidia.com/gpu            10     7     3",
        "all                  nvidia.com/mig-1g.5gb     14     0    14",
    ]


def test_one_node_is_not_summed():
    assert len(gpu_table(NODES[:1], {})) == 2


def test_no_gpu_is_said_in_words():
    assert gpu_table(NODES[2:], {}) == ["No node offers a GPU."]
    assert gpu_table({"unavailable": "x"}, None) == ["No node offers a GPU."]
