# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of checks, from cause to consequence: the order in which findings are told."""

from __future__ import annotations

from .catalogue import Check

CHECKS: tuple[Check, ...] = ()
