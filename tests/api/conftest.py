# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real control plane for all tests of a session, and a client of it that starts from an empty cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from control_plane import control_plane
from inhabitants import Cluster


@pytest.fixture(scope="session")
def plane():
    users = {"nobody": "tests:nobody", "applier": "tests:appliers", "system:node:gpu-1": "system:nodes"}
    with control_plane(users) as running:
        yield running


@pytest.fixture
def cluster(plane):
    """The control plane with nothing in it but what a new one has."""
    inside = Cluster(plane.kubeconfig())
    inside.clear()
    return inside
