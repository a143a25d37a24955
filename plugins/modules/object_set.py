#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects as they should be, many in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: object_set
short_description: Make many Kubernetes objects as they should be, in one call
description:
  - Applies objects on the server side with a field manager of its own, in the order given, or takes them away in the
    reverse order.
  - Changes only the fields that are given, and takes none from another manager. A conflict names the manager and the
    field, and fails unless O(force_conflicts) is true.
  - A kind that is not served yet, because its CustomResourceDefinition was only just made, is waited for.
  - An API server that is busy or restarting is asked again for O(patience_seconds). What was applied before a failure
    stays, and the next run completes the rest.
  - It needs Python 3.9 or newer where it runs, and no library of Kubernetes.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  objects:
    description: The objects, each a dictionary with C(apiVersion), C(kind) and C(metadata.name).
    type: list
    elements: dict
    required: true
  state:
    description: Whether the objects are there.
    type: str
    choices: [present, absent]
    default: present
  field_manager:
    description: Who owns the fields that are applied.
    type: str
    default: gpunode.ready
  force_conflicts:
    description: Whether fields that another manager owns with another value are taken over.
    type: bool
    default: false
  must_exist:
    description:
      - Whether objects that are not there are left out rather than created, as for labels of nodes.
    type: bool
    default: false
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
  - module: kubernetes.core.k8s
"""

EXAMPLES = r"""
- name: A namespace that may run the device plugin, and the RuntimeClass of its pods
  gpunode.ready.object_set:
    kubeconfig: /etc/kubernetes/admin.conf
    objects:
      - apiVersion: v1
        kind: Namespace
        metadata:
          name: gpu-system
          labels: {pod-security.kubernetes.io/enforce: privileged}
      - apiVersion: node.k8s.io/v1
        kind: RuntimeClass
        metadata: {name: nvidia}
        handler: nvidia

- name: A label on a node that has joined already
  gpunode.ready.object_set:
    must_exist: true
    objects:
      - apiVersion: v1
        kind: Node
        metadata: {name: gpu-1, labels: {nvidia.com/gpu.present: "true"}}
"""

RETURN = r"""
objects:
  description: What became of each object, in the order in which they were treated.
  returned: always
  type: list
  elements: dict
  contains:
    kind: {description: Its kind., type: str, sample: RuntimeClass}
    name: {description: Its name., type: str, sample: nvidia}
    namespace: {description: Its namespace. Empty for one without., type: str, sample: kube-system}
    result:
      description: C(created), C(changed), C(unchanged), C(deleted), C(absent), or C(skipped) for one that must exist.
      type: str
      sample: created
    fields: {description: The fields that changed., type: list, elements: str, sample: [handler]}
requests:
  description: How many calls of the API it took.
  returned: success
  type: int
  sample: 12
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import Client, ClusterError, find_endpoint
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.kubeconfig import KubeconfigError
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.objects import (
    ObjectError,
    Objects,
    Outcome,
    differences,
    problems,
)

ARGUMENTS = {
    "objects": {"type": "list", "elements": "dict", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "field_manager": {"type": "str", "default": "gpunode.ready"},
    "force_conflicts": {"type": "bool", "default": False},
    "must_exist": {"type": "bool", "default": False},
    "timeout_seconds": {"type": "int", "default": 15},
    "patience_seconds": {"type": "int", "default": 60},
}


def shown(outcome: Outcome, side: str) -> str:
    """One side of the diff: only the fields that change, and no value of a Secret."""
    pairs = differences(outcome.before, outcome.after)
    place = 0 if side == "before" else 1
    values = {
        path: f"(hidden, {side})"
        if outcome.kind == "Secret" and path.split(".")[0] in ("data", "stringData")
        else pair[place]
        for path, pair in pairs.items()
    }
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    wrong = problems(given["objects"])
    if wrong:
        module.fail_json(msg=f"objects: {'; '.join(wrong)}")

    try:
        where = find_endpoint(given["kubeconfig"] or "", given["context"] or "")
        client = Client(where, given["timeout_seconds"], given["patience_seconds"])
        objects = Objects(client, given["field_manager"], dry_run=module.check_mode)
        if given["state"] == "present":
            outcomes = objects.apply(given["objects"], given["force_conflicts"], given["must_exist"])
        else:
            outcomes = objects.delete(given["objects"])
        client.close()
    except (ObjectError, ClusterError, KubeconfigError) as error:
        module.fail_json(msg=str(error))

    changed = [outcome for outcome in outcomes if outcome.changed]
    names = [f"{outcome.kind} {outcome.namespace}/{outcome.name}".replace(" /", " ") for outcome in changed]
    module.exit_json(
        changed=bool(changed),
        objects=[
            {
                "kind": outcome.kind,
                "name": outcome.name,
                "namespace": outcome.namespace,
                "result": outcome.result,
                "fields": sorted(differences(outcome.before, outcome.after)) if outcome.result == "changed" else [],
            }
            for outcome in outcomes
        ],
        requests=client.requests,
        diff=[
            {
                "before_header": name,
                "after_header": name,
                "before": shown(item, "before"),
                "after": shown(item, "after"),
            }
            for name, item in zip(names, changed)
        ],
    )


if __name__ == "__main__":
    main()
