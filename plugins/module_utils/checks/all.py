# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of checks, from cause to consequence: the order in which findings are told.

A check is in the catalogue when it stands in one of these modules; within a module, the order of the file counts.
"""

from __future__ import annotations

from types import ModuleType

from . import cdi, driver, host, kubelet, nvml, packaging, runtime, toolkit
from .catalogue import Check

# From the packages up to kubelet, as in ``findings.LAYERS``.
MODULES: tuple[ModuleType, ...] = (packaging, host, driver, nvml, toolkit, runtime, cdi, kubelet)


def _checks(module: ModuleType) -> list[Check]:
    return [value for value in vars(module).values() if isinstance(value, Check)]


CHECKS: tuple[Check, ...] = tuple(check for module in MODULES for check in _checks(module))
