#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renew certificates of a control plane that end soon."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_certificates
short_description: Renew certificates of a control plane that end soon, and have them taken up
description:
  - Runs C(kubeadm certs renew all) where a certificate that kubeadm made ends within O(within_days), and restarts the
    containers of etcd and of the control plane, because they read theirs at their start. kubelet starts them again, and
    no manifest is moved.
  - Waits until the API answers again. A run that dies between renewal and restart is completed by the next.
  - Authorities and kubelet's own certificate are left alone. kubelet renews its own.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  within_days:
    description: Certificates that end within so many days are renewed.
    type: int
    default: 30
  cri_socket:
    description: The CRI socket of the node.
    type: str
    required: true
  timeout_seconds:
    description: How long each program may take, and then the API to answer again.
    type: int
    default: 180
extends_documentation_fragment: [gpunode.ready.attributes.writes]
attributes:
  diff_mode:
    description: Shows nothing, because what changes are keys.
    support: none
seealso:
  - module: gpunode.ready.kubeadm_info
"""

EXAMPLES = r"""
- name: Renew what ends within a month, one control plane at a time
  gpunode.ready.kubeadm_certificates:
    cri_socket: unix:///run/containerd/containerd.sock
  throttle: 1
"""

RETURN = r"""
renewed:
  description: The files whose certificates ended soon.
  returned: success
  type: list
  elements: str
  sample: [/etc/kubernetes/pki/apiserver.crt]
restarted:
  description: The components that were restarted.
  returned: success
  type: list
  elements: str
  sample: [etcd, kube-controller-manager, kube-scheduler, kube-apiserver]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils import files
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import Client, ClusterError, find_endpoint
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.kubeconfig import KubeconfigError
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.kubeadm_renewal import RenewalError, renew
from ansible_collections.gpunode.ready.plugins.module_utils.kubeadm_state import ADMIN_CONF, look

ARGUMENTS = {
    "within_days": {"type": "int", "default": 30},
    "cri_socket": {"type": "str", "required": True},
    "timeout_seconds": {"type": "int", "default": 180},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    host = Host()

    def alive() -> str:
        try:
            client = Client(find_endpoint(ADMIN_CONF), 10, given["timeout_seconds"])
            client.get("/api/v1/namespaces/kube-system/configmaps/kubeadm-config")
            client.close()
        except (ClusterError, KubeconfigError) as error:
            return str(error)
        return ""

    try:
        told = renew(
            host,
            look(host)["certificates"],
            given["within_days"],
            given["cri_socket"],
            alive,
            given["timeout_seconds"],
            not module.check_mode,
        )
    except (RenewalError, files.WriteError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**told)


if __name__ == "__main__":
    main()
