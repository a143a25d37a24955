#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what a cluster's pods and events say."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_logs
short_description: Read the logs and events of a cluster that tell of its GPUs
description:
  - Reads, through the API, the warnings of the cluster, the logs of the GPU stack's pods (device plugin, GPU feature
    discovery, DCGM exporter, the GPU operator's), and of pods that are in trouble; of a container that was restarted a
    short while ago also the log of the one before. M(gpunode.ready.diagnose) takes them as they are.
  - Bounded however large the cluster is - two lists, at most O(containers) logs of O(lines) lines and 128 KiB each, the
    500 newest warnings. Warnings about pods that are well by now, or gone, are left out.
  - A kubelet that does not answer is asked once; what could not be read is told with its reason.
  - What looks like a secret, and what the node that it runs on keeps as one, is taken out before it is returned.
  - Without a kubeconfig it returns RV(asked=false) and nothing else.
  - Changes nothing.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  nodes:
    description: Names of nodes whose pods' logs are returned apart, as RV(of_nodes).
    type: list
    elements: str
    default: []
  containers:
    description: How many logs are read at most, those of failing pods of the GPU stack first.
    type: int
    default: 40
  lines:
    description: How many lines of each, the newest.
    type: int
    default: 400
  timeout_seconds:
    description: How long one answer of the API may take.
    type: int
    default: 15
  patience_seconds:
    description: How long an API server that is busy, restarting or not there yet is asked again for its lists.
    type: int
    default: 10
extends_documentation_fragment: [gpunode.ready.attributes, gpunode.ready.cluster]
seealso:
  - module: gpunode.ready.diagnose
  - module: gpunode.ready.cluster_info
"""

EXAMPLES = r"""
- name: Read what the cluster's pods say
  gpunode.ready.cluster_logs:
    kubeconfig: /etc/kubernetes/admin.conf
  register: said

- name: Name the root cause
  gpunode.ready.diagnose:
    logs: "{{ said.logs }}"
  when: said.logs | length > 0
"""

RETURN = r"""
asked:
  description: Whether there was a kubeconfig to ask the cluster with.
  returned: always
  type: bool
  sample: true
logs:
  description: Texts with the name of where each is from, without those of RV(of_nodes). The option O(nodes) parts them.
  returned: always
  type: list
  elements: dict
  sample:
    - source: pod kube-system/nvidia-device-plugin-daemonset-abcde (nvidia-device-plugin-ctr, previous)
      text: "2026-11-20T08:00:00Z Incompatible strategy detected auto"
    - source: events
      text: "2026-11-20T08:00:00Z Warning BackOff Pod/default/x: Back-off restarting failed container"
of_nodes:
  description: The same of the pods on each node of O(nodes).
  returned: always
  type: dict
  sample: {gpu-1: [{source: events, text: "2026-11-20T08:00:00Z Warning SystemOOM Node/gpu-1: System OOM"}]}
unread:
  description: What could not be read, or was left out, and why.
  returned: always
  type: list
  elements: dict
  sample: [{source: pod default/x (main), reason: "500: dial tcp 192.0.2.7:10250: connect: connection refused"}]
requests:
  description: How many calls of the API it took.
  returned: always
  type: int
  sample: 7
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import Client, ClusterError, find_endpoint
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.kubeconfig import KubeconfigError
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.logs import CONTAINERS, LINES, by_node, read
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.redaction import Redactor
from ansible_collections.gpunode.ready.plugins.module_utils.support_bundle import learn

ARGUMENTS = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "nodes": {"type": "list", "elements": "str", "default": []},
    "containers": {"type": "int", "default": CONTAINERS},
    "lines": {"type": "int", "default": LINES},
    "timeout_seconds": {"type": "int", "default": 15},
    "patience_seconds": {"type": "int", "default": 10},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    nothing = {"changed": False, "logs": [], "of_nodes": {name: [] for name in given["nodes"]}, "requests": 0}
    try:
        where = find_endpoint(given["kubeconfig"] or "", given["context"] or "")
    except KubeconfigError as error:
        module.exit_json(asked=False, unread=[{"source": "the cluster", "reason": str(error)}], **nothing)

    redactor = Redactor([where.token, where.password, where.key])
    learn(Host(), redactor)
    client = Client(where, given["timeout_seconds"], given["patience_seconds"])
    try:
        said = read(client, redactor, time.time(), given["containers"], given["lines"])
    except (ClusterError, KubeconfigError) as error:
        reason = redactor.text(str(error))
        module.exit_json(asked=True, unread=[{"source": "the cluster", "reason": reason}], **nothing)
    finally:
        client.close()
    of_nodes, logs = by_node(said.pieces, given["nodes"])
    module.exit_json(
        changed=False, asked=True, logs=logs, of_nodes=of_nodes, unread=said.unread, requests=client.requests
    )


if __name__ == "__main__":
    main()
