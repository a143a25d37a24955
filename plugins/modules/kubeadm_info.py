#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell how far kubeadm has come on a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_info
short_description: Tell how far kubeadm has come on a node, and which of its phases lack
description:
  - Tells from the node's files, from kubelet and from the API whether the node is no member, half initialised, half
    joined, a member, or a member of another cluster than the one it is meant for, and with which phases of C(kubeadm
    init) or C(kubeadm join) it would be complete.
  - Tells of a member what is wrong with it (kubelet, expired certificates, the API, the node's readiness), and of every
    certificate when it ends. Certificates are read without openssl.
  - The API is asked by the node's own C(/etc/kubernetes/admin.conf), else by its C(kubelet.conf). One that does not
    answer is told, and makes the module neither fail nor guess.
  - Keys and tokens are never returned.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  member:
    description:
      - What the node is meant to be. Without it, what its files make it look like.
    type: str
    choices: [first_control_plane, control_plane, worker]
  ca_cert_hash:
    description:
      - The hash of the CA of the cluster that the node is meant for, as RV(ca_cert_hash) of another member tells it. A
        node of another one is V(foreign).
    type: str
  node_name:
    description: The node's name in the cluster, where its certificate does not tell it. The default is its hostname.
    type: str
  skip_phases:
    description: Phases that this site leaves out, so that they do not count as lacking.
    type: list
    elements: str
    default: []
  timeout_seconds:
    description: How long one answer of the API may take.
    type: int
    default: 10
  patience_seconds:
    description: How long an API server that is restarting or not there yet is asked again.
    type: int
    default: 5
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.kubeadm_member
  - module: gpunode.ready.cluster_info
"""

EXAMPLES = r"""
- name: Look at what kubeadm has done here
  gpunode.ready.kubeadm_info:
  register: kubeadm

- name: Say what lacks
  ansible.builtin.debug:
    msg: "{{ kubeadm.state }}: {{ kubeadm.missing | join(', ') }} ({{ kubeadm.reasons | join('; ') }})"

- name: Refuse a node of another cluster
  gpunode.ready.kubeadm_info:
    member: worker
    ca_cert_hash: "{{ hostvars[groups['control_plane'][0]].kubeadm.ca_cert_hash }}"
  register: worker
  failed_when: worker.state == 'foreign'

- name: Certificates that end within a month
  ansible.builtin.debug:
    msg: "{{ kubeadm.certificates | selectattr('days_left', 'lt', 30) | map(attribute='path') | list }}"
"""

RETURN = r"""
state:
  description:
    - V(none) (nothing of kubeadm's), V(init-incomplete), V(join-incomplete), V(member) or V(foreign).
  returned: always
  type: str
  sample: init-incomplete
member:
  description: What the node is, or was becoming. Empty for none.
  returned: always
  type: str
  sample: first_control_plane
done:
  description: The phases that are complete, in kubeadm's order.
  returned: always
  type: list
  elements: str
  sample: [certs, kubeconfig, etcd, control-plane]
missing:
  description: The phases that lack, in kubeadm's order.
  returned: always
  type: list
  elements: str
  sample: [kubelet-start, wait-control-plane, upload-config, mark-control-plane, bootstrap-token]
reasons:
  description: Why phases count as lacking, what is wrong with a member, or why the node is foreign. Sentences.
  returned: always
  type: list
  elements: str
  sample: ["https://192.0.2.10:6443: the connection is refused"]
healthy:
  description: Whether a member is well. Null for others.
  returned: always
  type: bool
  sample: true
node_name:
  description: The node's name, as its certificate tells it, else as it would be.
  returned: always
  type: str
  sample: gpu-1
node:
  description: The node as the API knows it, or null.
  returned: always
  type: dict
  sample:
    name: gpu-1
    control_plane: true
    taints: [{key: node-role.kubernetes.io/control-plane, value: "", effect: NoSchedule}]
    ready: true
    message: kubelet is posting ready status
    kubelet_version: 1.36.4
reachable:
  description: Whether the API answered. Null where the node has no kubeconfig to ask it by.
  returned: always
  type: bool
  sample: true
problem:
  description: Why the API did not answer, or null.
  returned: always
  type: str
  sample: null
server:
  description: The API server that the node's kubeconfigs name, or null.
  returned: always
  type: str
  sample: https://192.0.2.10:6443
ca_cert_hash:
  description: The hash of the cluster's CA, by which a joining node knows the cluster, or null.
  returned: always
  type: str
  sample: sha256:5bb571cd44be73dd5c38e38cb96f1e65659da086fc1075d8a24aef914eb00e1a
kubelet:
  description: kubelet's unit, whether kubeadm has configured it, and what its C(/healthz) says.
  returned: always
  type: dict
  sample:
    load: loaded
    active: active
    sub: running
    enabled: enabled
    configured: true
    cgroup_driver: systemd
    healthy: true
    said: ok
    client_certificate: true
certificates:
  description: Every certificate, the first to end first.
  returned: always
  type: list
  elements: dict
  sample:
    - name: apiserver
      path: /etc/kubernetes/pki/apiserver.crt
      authority: false
      not_after: "2027-11-21T16:23:20Z"
      days_left: 364
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.kubeadm_state import MEMBERS, observe, report

ARGUMENTS = {
    "member": {"type": "str", "choices": list(MEMBERS)},
    "ca_cert_hash": {"type": "str"},
    "node_name": {"type": "str"},
    "skip_phases": {"type": "list", "elements": "str", "default": []},
    "timeout_seconds": {"type": "int", "default": 10},
    "patience_seconds": {"type": "int", "default": 5},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    observed = observe(
        Host(),
        given["member"] or "",
        given["ca_cert_hash"] or "",
        given["node_name"] or "",
        given["skip_phases"],
        given["timeout_seconds"],
        given["patience_seconds"],
    )
    module.exit_json(changed=False, **report(observed))


if __name__ == "__main__":
    main()
