#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a cluster once and judge it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Look at a cluster once through its API, and say why its GPUs are not scheduled
description:
  - Reads nodes, RuntimeClasses, the DaemonSets and pods of the GPU stack and of the pod network, pending and failed
    pods, warnings, StorageClasses, provisioners, volumes, claims, aggregated APIs and the kubelets' requests for
    certificates in a few list calls, whatever the size of the cluster, and judges them.
  - Says why a DaemonSet has DESIRED 0 (the label, taint or affinity by name), why a pod is Pending, which RuntimeClass
    or handler is lacking, which node offers another number of GPUs than it has, which pods a reboot or an eviction left
    behind, which claims nothing will bind, which provisioner does not run, whether no or more than one StorageClass is
    the default, and what is wrong with the kubeconfig or the API server itself.
  - Where O(node_facts) are given, joins what M(gpunode.ready.node_info) saw on the nodes with what the API tells of
    them.
  - An API that does not answer is a finding like any other. The module fails for findings only where O(fail_on) asks.
  - It needs Python 3.9 or newer where it runs, and no library of Kubernetes.
  - The facts are described in C(docs/facts.md), the findings in C(docs/diagnosis.md).
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  parts:
    description: The parts to look at. The default is all of them. Checks stay silent about what was not looked at.
    type: list
    elements: str
    default: []
    choices: [api, nodes, runtimeclasses, daemonsets, pods, events, storage, apiservices, certificates]
  node_facts:
    description:
      - What M(gpunode.ready.node_info) saw, by node name (or by inventory name, where the node's own hostname is the
        node's name).
    type: dict
    default: {}
  expect:
    description:
      - What the cluster is expected to be, over the defaults.
      - C(plugin) (bool, default true) - whether a device plugin should serve the GPUs; C(gpu_nodes) (list) - the nodes
        that should have GPUs, by default those that look like it; C(resource) (default C(nvidia.com/gpu)); C(devices) -
        how many of it each of these nodes should offer, or that by node name (a number, or numbers by resource), by
        default what NVML sees times C(replicas) (int, default 1); C(runtime_class) (default C(nvidia); null where the
        runtime's default handler injects GPUs); C(api_services) (list, default none) - APIs that a Service in the
        cluster should answer, such as C(v1beta1.metrics.k8s.io); C(storage) (default false) - V(true) where claims
        should find a default StorageClass, or the name of the one that they ask for.
    type: dict
    default: {}
  layers:
    description: The layers to judge. The default is all of them.
    type: list
    elements: str
    default: []
    choices: [runtime, kubelet, kubeadm, plugin, scheduler, workload, storage, monitoring]
  fail_on:
    description:
      - The least severity at which the module fails, with all findings in the message. V(never) only reports.
      - With C(until) it waits for a cluster to become ready, and says on time-out why it is not.
    type: str
    choices: [fatal, degraded, never]
    default: never
  mute:
    description: Ids of findings that are known and accepted. They are left out.
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
    default: 10
extends_documentation_fragment: [gpunode.ready.attributes, gpunode.ready.cluster]
seealso:
  - module: gpunode.ready.node_info
  - module: gpunode.ready.node_check
"""

EXAMPLES = r"""
- name: Look at the cluster from its control plane
  gpunode.ready.cluster_info:
    kubeconfig: /etc/kubernetes/admin.conf
  register: cluster

- name: Say why GPUs are not scheduled
  ansible.builtin.debug:
    msg: "{{ cluster.findings | map(attribute='cause') | list }}"

- name: Hold the API's view against the nodes' own
  gpunode.ready.cluster_info:
    node_facts: "{{ dict(ansible_play_hosts | zip(seen)) }}"
    expect:
      replicas: 10
  delegate_to: "{{ groups['control_plane'][0] }}"
  run_once: true
  vars:
    seen: "{{ ansible_play_hosts | map('extract', hostvars, ['ansible_facts', 'gpunode']) }}"

- name: Wait until every GPU can be allocated, and say why not when time is over
  gpunode.ready.cluster_info:
    layers: [kubeadm, plugin]
    fail_on: fatal
  register: verdict
  until: verdict is success
  retries: 60
  delay: 5

- name: Refuse to deploy what is stateful where its claims would wait for ever
  gpunode.ready.cluster_info:
    parts: [pods, storage]
    layers: [kubeadm, storage]
    expect: {storage: true}
    fail_on: fatal

- name: GPUs of each node, as the API sees them
  ansible.builtin.debug:
    msg: "{{ item.name }} offers {{ item.allocatable }}"
  loop: "{{ cluster.facts.nodes }}"
"""

RETURN = r"""
findings:
  description: What is wrong, from root cause to consequence, each as M(gpunode.ready.node_check) describes it.
  returned: always
  type: list
  elements: dict
  sample:
    - id: plugin-node-label-missing
      layer: plugin
      severity: fatal
      subject: DaemonSet kube-system/nvidia-device-plugin
      cause: >-
        DaemonSet kube-system/nvidia-device-plugin (device plugin) has DESIRED 0: it wants nodes with
        nvidia.com/gpu.present=true, and gpu-1 has no label nvidia.com/gpu.present; expected that label on the GPU
        nodes.
      evidence:
        - source: DaemonSet kube-system/nvidia-device-plugin
          line: null
          text: "selector: nvidia.com/gpu.present=true"
      remedy:
        text: Label the GPU nodes, or run node feature discovery, which does.
        commands: [kubectl label node gpu-1 nvidia.com/gpu.present=true]
        role: device_plugin
        tag: null
      consequence_of: null
worst:
  description: The gravest severity found, or null.
  returned: always
  type: str
  sample: fatal
summary:
  description: All findings in words, root causes first.
  returned: always
  type: str
  sample: nothing wrong
facts:
  description: What was looked at, as described in C(docs/facts.md). Left out of a failure, to keep it readable.
  returned: when the module does not fail
  type: dict
  sample: {schema: 1, nodes: [{name: gpu-1, allocatable: {nvidia.com/gpu: 8}}]}
free:
  description: The devices of each node that no pod holds.
  returned: always
  type: dict
  sample: {gpu-1: {nvidia.com/gpu: 3}}
requests:
  description: How many calls of the API it took.
  returned: always
  type: int
  sample: 11
seconds:
  description: How long the look and the judgement took.
  returned: always
  type: float
  sample: 0.31
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.checks.cluster_all import CLUSTER_LAYERS, judge_cluster
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import Client, find_endpoint
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.expect import cluster_expectations
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.facts import COLLECTORS, collect, without_api
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.kubeconfig import KubeconfigError
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.scheduling import free_devices
from ansible_collections.gpunode.ready.plugins.module_utils.findings import SEVERITIES, worst
from ansible_collections.gpunode.ready.plugins.module_utils.wording import summary, tell

ARGUMENTS = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "parts": {"type": "list", "elements": "str", "default": [], "choices": list(COLLECTORS)},
    "node_facts": {"type": "dict", "default": {}},
    "expect": {"type": "dict", "default": {}},
    "layers": {"type": "list", "elements": "str", "default": [], "choices": list(CLUSTER_LAYERS)},
    "fail_on": {"type": "str", "choices": ["fatal", "degraded", "never"], "default": "never"},
    "mute": {"type": "list", "elements": "str", "default": []},
    "timeout_seconds": {"type": "int", "default": 15},
    "patience_seconds": {"type": "int", "default": 10},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    started = time.monotonic()
    try:
        expect = cluster_expectations(given["expect"])
    except ValueError as error:
        module.fail_json(msg=f"expect: {error}")

    requests = 0
    try:
        where = find_endpoint(given["kubeconfig"] or "", given["context"] or "")
    except KubeconfigError as error:
        facts = without_api(error, given["parts"])
    else:
        client = Client(where, given["timeout_seconds"], given["patience_seconds"])
        facts = collect(client, given["parts"])
        client.close()
        requests = client.requests
    findings = judge_cluster(facts, expect, given["node_facts"], given["mute"], given["layers"])

    listed = facts.get("nodes") if isinstance(facts.get("nodes"), list) else []
    pods = facts["pods"].get("listed", []) if isinstance(facts.get("pods"), dict) else []
    gravest = worst(findings)
    result = {
        "changed": False,
        "findings": [finding.as_dict() for finding in findings],
        "worst": gravest,
        "summary": tell(findings) or "nothing wrong",
        "free": free_devices(listed, pods),
        "requests": requests,
        "seconds": round(time.monotonic() - started, 3),
    }
    if given["fail_on"] != "never" and gravest in SEVERITIES[: SEVERITIES.index(given["fail_on"]) + 1]:
        heading = f"The cluster is not as it should be: {summary(findings)}. Root causes first:"
        module.fail_json(msg=tell(findings, heading), **result)
    module.exit_json(facts=facts, **result)


if __name__ == "__main__":
    main()
