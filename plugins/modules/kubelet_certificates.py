#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Approve the certificates with which kubelets serve."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubelet_certificates
short_description: Approve the serving certificates that kubelets ask for, where each asks for its own names
description:
  - A kubelet with C(serverTLSBootstrap) asks the cluster for the certificate with which it serves its metrics and
    logs, and waits until somebody approves it, for Kubernetes never does by itself.
  - Approves the requests of the signer C(kubernetes.io/kubelet-serving) that a node made for itself, with no name and
    no address but those that the API knows of that node and of no other, and with no use but that of a server.
  - Never approves a name of a Service or an address by which the API server is reached, whatever a node says of itself;
    that of the kubeconfig only for a node with the label C(node-role.kubernetes.io/control-plane).
  - Leaves all others undecided, and says of each why. Denies none.
  - A certificate holds for about a year. kubelet asks for the next one in time, and that has to be approved, too.
  - It needs Python 3.9 or newer where it runs, and no library of Kubernetes.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  nodes:
    description: The nodes whose requests may be approved. The default is all.
    type: list
    elements: str
    default: []
  timeout_seconds:
    description: How long one answer of the API may take.
    type: int
    default: 15
  patience_seconds:
    description: How long an API server that is busy, restarting or not there yet is asked again.
    type: int
    default: 60
extends_documentation_fragment: [gpunode.ready.attributes.writes, gpunode.ready.cluster]
seealso:
  - module: gpunode.ready.cluster_info
"""

EXAMPLES = r"""
- name: Let every node that asks for its own names have its certificate
  gpunode.ready.kubelet_certificates:
    kubeconfig: /etc/kubernetes/admin.conf
  register: certificates

- name: Say what was left undecided
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.why | join('; ') }}"
  loop: "{{ certificates.undecided }}"
"""

RETURN = r"""
approved:
  description: The requests that were approved, or in check mode those that would be.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Its name., type: str, sample: csr-7xk2p}
    node: {description: The node that asked., type: str, sample: gpu-1}
undecided:
  description: The requests that were left as they are.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Its name., type: str, sample: csr-9ffgh}
    user: {description: Who asked., type: str, sample: "system:node:gpu-2"}
    why:
      description: All that speaks against it.
      type: list
      elements: str
      sample: ["it asks for 10.0.0.9; expected addresses of gpu-2, which are 10.0.0.2 and gpu-2"]
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import (
    ApiError,
    Client,
    ClusterError,
    find_endpoint,
)
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.kubeconfig import KubeconfigError
from ansible_collections.gpunode.ready.plugins.module_utils.kubelet_certificates import (
    PATH,
    SERVER,
    USER,
    addresses_of,
    approved,
    host_of,
    objections,
    undecided,
)

ARGUMENTS = {
    "nodes": {"type": "list", "elements": "str", "default": []},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "timeout_seconds": {"type": "int", "default": 15},
    "patience_seconds": {"type": "int", "default": 60},
}


def approve(client, item):
    """Send it. A request that somebody else decided about meanwhile is no longer ours to decide."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        client.call("PUT", f"{PATH}/{item['metadata']['name']}/approval", approved(item, now))
    except ApiError as error:
        if error.status not in (404, 409):
            raise
        return False
    return True


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    done, left = [], []
    try:
        where = find_endpoint(given["kubeconfig"] or "", given["context"] or "")
        client = Client(where, given["timeout_seconds"], given["patience_seconds"])
        waiting = [item for item in client.list(PATH) if undecided(item)]
        nodes = list(client.list("/api/v1/nodes")) if waiting else []
        taken = addresses_of(client.get(SERVER)) if waiting else set()
        for item in waiting:
            name, user = item["metadata"]["name"], item["spec"].get("username") or ""
            why = objections(item, nodes, given["nodes"], taken, host_of(where.server))
            if why:
                left.append({"name": name, "user": user, "why": why})
            elif module.check_mode or approve(client, item):
                done.append({"name": name, "node": user.partition(USER)[2]})
        client.close()
    except (ClusterError, KubeconfigError) as error:
        module.fail_json(msg=str(error), approved=done, undecided=left)

    lines = "".join(f"{item['name']} of {item['node']}\n" for item in done)
    module.exit_json(
        changed=bool(done),
        approved=done,
        undecided=left,
        diff={"before_header": "approved", "after_header": "approved", "before": "", "after": lines},
    )


if __name__ == "__main__":
    main()
