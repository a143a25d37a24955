# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of known failures, from cause to consequence: the order in which diagnoses are told."""

from __future__ import annotations

from . import (
    cdi,
    driver,
    host,
    kubeadm,
    kubelet,
    monitoring,
    nvml,
    packaging,
    plugin,
    runtime,
    scheduler,
    storage,
    toolkit,
    workload,
)
from .catalogue import Failure

_BUILT = driver.FAILURES.index(driver.DKMS) + 1

# The driver's root comes before what is then not found below it. A module that does not build leaves dpkg with packages
# half-installed.
FAILURES: tuple[Failure, ...] = (
    *(failure for failure in packaging.FAILURES if failure is not packaging.BROKEN_PACKAGES),
    *host.FAILURES,
    *driver.FAILURES[:_BUILT],
    packaging.BROKEN_PACKAGES,
    *driver.FAILURES[_BUILT:],
    toolkit.DRIVER_ROOT,
    *nvml.FAILURES,
    *(failure for failure in toolkit.FAILURES if failure is not toolkit.DRIVER_ROOT),
    *runtime.FAILURES,
    *cdi.FAILURES,
    *kubelet.FAILURES,
    *kubeadm.FAILURES,
    *plugin.FAILURES,
    *workload.FAILURES,
    *storage.FAILURES,
    *scheduler.FAILURES,
    *monitoring.FAILURES,
)
