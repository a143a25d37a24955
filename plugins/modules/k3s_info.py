#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell how far k3s has come on a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_info
short_description: How far k3s has come on a node, whose cluster it is in, and what is wrong there
description:
  - Looks at the program, its unit, its data and the cluster's word on the node, in one call. Changes nothing, and
    tells no token.
  - Judges templates of containerd's configuration that somebody left for k3s, and says of each that would keep pods or
    their network from starting what in it does.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  member:
    description: What the node is to be, by which its unit is known where there is no data yet.
    type: str
    choices: [server, agent]
    default: server
  node_name:
    description: The node's name, where it is neither its hostname nor the one in its configuration.
    type: str
  version:
    description: The release that is to be, by which templates are judged. Without it, the one that is there.
    type: str
  flannel_backend:
    description: That of the servers, by which an agent's templates are judged. A server tells its own.
    type: str
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.k3s_member
"""

EXAMPLES = r"""
- name: See how far k3s has come
  gpunode.ready.k3s_info:
    member: agent
  register: k3s
"""

RETURN = r"""
state:
  description: C(none), C(incomplete) (data is there, and something lacks) or C(member).
  returned: always
  type: str
  sample: member
healthy:
  description: Whether a member is well. Null where there is none.
  returned: always
  type: bool
  sample: true
reasons:
  description: What lacks, or is not as it should be.
  returned: always
  type: list
  elements: str
  sample: ["k3s-agent.service is activating"]
role:
  description: What its data says that it is, C(server) or C(agent). Empty without data.
  returned: always
  type: str
  sample: agent
version:
  description: The release of the program.
  returned: always
  type: str
  sample: v1.36.4+k3s1
checksum:
  description: The program's sha256.
  returned: always
  type: str
  sample: 0f343b0931126a20f133d67c2b018a3b5a7ba5d6a6a4e5f0f9b4b0a1f7f0c1d2
ca_hash:
  description: The hash of the cluster's CA, as k3s' tokens have it.
  returned: always
  type: str
  sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
server:
  description: The address that the node joined by, where it did.
  returned: always
  type: str
  sample: https://192.0.2.1:6443
flannel_backend:
  description: The network of pods that k3s brings, where its configuration says one. C(none) is none.
  returned: always
  type: str
  sample: vxlan
data_dir:
  description: Where k3s keeps its data.
  returned: always
  type: str
  sample: /var/lib/rancher/k3s
node_name:
  description: The node's name in the cluster.
  returned: always
  type: str
  sample: gpu-1
address:
  description: The node's address towards others.
  returned: always
  type: str
  sample: 192.0.2.2
unit:
  description: The unit, C(name), C(active) and C(enabled), as systemd tells.
  returned: always
  type: dict
  sample: {name: k3s-agent.service, active: active, enabled: enabled}
other_unit:
  description: The unit of the other kind of member, C(name), whether it is C(there), and whether it is C(ours).
  returned: always
  type: dict
  sample: {name: k3s.service, there: false, ours: false}
node:
  description: What the cluster says of the node. Null where it was not asked.
  returned: always
  type: dict
  contains:
    registered: {description: Whether it knows the node. Null where nobody answers., type: bool, sample: true}
    ready: {description: Whether it is Ready., type: bool, sample: true}
    kubelet_version: {description: kubelet's version., type: str, sample: v1.36.4+k3s1}
    problem: {description: Why not., type: str, sample: ""}
handlers:
  description: The runtime handlers in the containerd configuration that k3s has rendered.
  returned: always
  type: list
  elements: str
  sample: [nvidia, runc]
handlers_found:
  description: The handlers that k3s finds on this node when it starts.
  returned: always
  type: list
  elements: str
  sample: [nvidia]
config_problem:
  description: What cannot be read of its configuration, C(path), C(line) and C(text).
  returned: always
  type: dict
token:
  description: Whether the file with what the node joins by is there.
  returned: always
  type: bool
  sample: true
kubeadm:
  description: Whether kubeadm has made the node a member of a cluster.
  returned: always
  type: bool
  sample: false
templates:
  description: The templates of containerd's configuration that are there.
  returned: always
  type: list
  elements: dict
  contains:
    path: {description: Where., type: str, sample: /var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl}
    in_force: {description: Whether k3s takes it., type: bool, sample: true}
    broken: {description: Whether what it renders would not work., type: bool, sample: true}
    reasons:
      description: Why.
      type: list
      elements: str
      sample: ["a condition or loop in it has no `end`, so k3s cannot render it"]
foreign_options:
  description: Options in a configuration or unit that this collection has not written.
  returned: always
  type: list
  elements: str
  sample: [disable]
foreign_source:
  description: Where they stand.
  returned: always
  type: str
  sample: /etc/rancher/k3s/config.yaml
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.k3s_state import look

ARGUMENTS = {
    "member": {"type": "str", "choices": ["server", "agent"], "default": "server"},
    "node_name": {"type": "str"},
    "version": {"type": "str"},
    "flannel_backend": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    named = [given[name] or "" for name in ("node_name", "version", "flannel_backend")]
    seen = look(Host(), given["member"], *named)
    module.exit_json(changed=False, **seen)


if __name__ == "__main__":
    main()
