#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of an action plugin: all of it happens on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: support_bundle
short_description: Make one support bundle of what was gathered and judged, without secrets
description:
  - Writes one tar.gz on the controller, for its user alone (mode 0600) - for each node its facts, its findings, its
    configuration and its logs as M(gpunode.ready.node_bundle) gathered them, the cluster's facts, findings, events and
    pods' logs, the report as JSON and as HTML page, and a manifest of what it holds, what was cut, and what could not
    be read and why.
  - Private keys, tokens, passwords, credentials of kubeconfigs and of addresses are taken out of all of it; of what
    M(gpunode.ready.node_bundle) gathers, on the node already.
  - The same content gives the same bytes; the archive says nothing of who made it. The parts of one node at a time are
    held in memory.
  - Replaces the bundle that lies at O(path). No node is asked and none is changed.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  path:
    description: The bundle, on the controller. Its folder has to be there.
    type: path
    required: true
  answers:
    description:
      - What M(gpunode.ready.node_check) returned, by the names of the nodes. One with C(cluster) true holds findings of
        the cluster, and is no node.
    type: dict
    required: true
  parts:
    description: What M(gpunode.ready.node_bundle) returned, by the names of the nodes.
    type: dict
    default: {}
  cluster:
    description:
      - What the cluster said - C(facts) of M(gpunode.ready.cluster_info), C(logs), C(of_nodes) and C(unread) of
        M(gpunode.ready.cluster_logs).
    type: dict
    default: {}
  generated:
    description: When the nodes were looked at, as an ISO 8601 time. The default is now.
    type: str
    default: ""
  title:
    description: What the report is called.
    type: str
    default: ""
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.node_bundle
"""

EXAMPLES = r"""
- name: Make one bundle of the nodes' parts
  gpunode.ready.support_bundle:
    path: ./case-4711.tar.gz
    answers: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'verdict'))) }}"
    parts: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'part'))) }}"
  run_once: true
"""

RETURN = r"""
path:
  description: The bundle, on the controller.
  returned: success
  type: str
  sample: /home/ada/case-4711.tar.gz
bytes:
  description: How large it is.
  returned: success
  type: int
  sample: 1048576
manifest:
  description: What it holds, by node, with what was cut and what could not be read and why. The bundle has it, too.
  returned: success
  type: dict
  sample:
    nodes:
      gpu-1:
        held: [{source: kernel, file: logs/kernel, bytes: 1048499, cut: older lines (812733 bytes) are left out}]
        unread: []
"""
