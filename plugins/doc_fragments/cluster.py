# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the modules that speak to a cluster find it, described once."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - The kubeconfig of the cluster, where the module runs.
      - By default E(KUBECONFIG), then C(~/.kube/config), then the service account of the pod it runs in.
    type: path
  context:
    description: The context of the kubeconfig. The default is its current one.
    type: str
"""
