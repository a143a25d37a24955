#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failed and evicted pods taken away, thousands in a few calls."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pods_cleanup
short_description: Take failed and evicted pods away, thousands in a few calls
description:
  - Deletes pods whose phase is C(Failed), those that were evicted among them. Never one that is pending or runs, never
    one that is being deleted already, and never kubelet's mirror of a static pod.
  - Where all failed pods of a namespace that belong to Deployments or Jobs are to go, they go by collection calls of
    the API, 200 at a time. All others go one by one over four connections, each only while it is the very pod,
    unchanged, that was looked at, by its uid and resource version.
  - With O(reasons) or O(min_age_seconds) all go one by one, because a collection call would also take a pod that fails
    in the same moment.
  - In check mode counts what would go, and has the API say whether it would be allowed.
  - What is gone stays gone. A run that was killed or lost the API is completed by the next.
  - It needs Python 3.9 or newer where it runs, and no library of Kubernetes.
notes:
  - With a failed pod goes what kubelet keeps of it, such as its log. Give O(min_age_seconds) to keep fresh ones.
  - Up to Kubernetes 1.25, a Job that has not ended counts the failed pods that it still sees. It may start more pods
    than its C(backoffLimit) says when they are taken away.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  namespaces:
    description: The namespaces to clean. The default is all of them. One that does not exist is an error.
    type: list
    elements: str
    default: []
  exclude_namespaces:
    description: Namespaces that are left alone.
    type: list
    elements: str
    default: []
  reasons:
    description:
      - The reasons of the pods that go, such as C(Evicted), C(UnexpectedAdmissionError), C(NodeLost), C(NodeShutdown),
        C(OutOfcpu), C(Error) or C(OOMKilled), letter by letter. The default is any.
      - Where the pod's status gives none, the reason of its first container that ended counts, then C(Failed).
    type: list
    elements: str
    default: []
  min_age_seconds:
    description:
      - How long ago a pod must have failed, by the last time that its status names. A pod without such a time is
        taken to have failed just now.
    type: int
    default: 0
  timeout_seconds:
    description: How long one answer of the API may take.
    type: int
    default: 60
  patience_seconds:
    description: How long an API server that is busy, restarting or not there yet is asked again.
    type: int
    default: 60
extends_documentation_fragment: [gpunode.ready.attributes.writes, gpunode.ready.cluster]
seealso:
  - module: gpunode.ready.cluster_info
"""

EXAMPLES = r"""
- name: Take all failed pods away
  gpunode.ready.pods_cleanup:
    kubeconfig: /etc/kubernetes/admin.conf

- name: Only what kubelet evicted or refused more than an hour ago, in two namespaces
  gpunode.ready.pods_cleanup:
    namespaces: [research, inference]
    reasons: [Evicted, UnexpectedAdmissionError]
    min_age_seconds: 3600

- name: Count what would go, and change nothing
  gpunode.ready.pods_cleanup:
  check_mode: true
  register: would_go
"""

RETURN = r"""
total:
  description: How many pods went, or in check mode would go.
  returned: success
  type: int
  sample: 10000
pods:
  description: The same by namespace and reason.
  returned: success
  type: list
  elements: dict
  contains:
    namespace: {description: The namespace., type: str, sample: research}
    reason: {description: Why they failed., type: str, sample: Evicted}
    count: {description: How many., type: int, sample: 9800}
    oldest: {description: When the oldest failed. Empty where none says., type: str, sample: "2026-11-01T08:00:00Z"}
    names: {description: Some of their names., type: list, elements: str, sample: [train-7d4b9c6f5-x2x7k]}
kept:
  description:
    - How many failed pods stayed, by why - C(too_young), C(other_reason), C(excluded), C(terminating), C(static), or
      C(changed) since they were looked at. C(gone) counts those that somebody else was quicker to delete.
  returned: success
  type: dict
  sample: {too_young: 12, terminating: 1}
summary:
  description: The same in words.
  returned: success
  type: str
  sample: |-
    9800 failed pods have gone:
      research: Evicted: 9800 pods, the oldest of 2026-11-01T08:00:00Z
    Left alone, failed too short a time ago: 12 pods
requests:
  description: How many calls of the API it took.
  returned: success
  type: int
  sample: 62
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 9.2
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import Client, find_endpoint
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.kubeconfig import KubeconfigError
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.pods_cleanup import (
    Cleanup,
    CleanupError,
    Wanted,
    listing,
    problems,
    summary,
)

ARGUMENTS = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "namespaces": {"type": "list", "elements": "str", "default": []},
    "exclude_namespaces": {"type": "list", "elements": "str", "default": []},
    "reasons": {"type": "list", "elements": "str", "default": []},
    "min_age_seconds": {"type": "int", "default": 0},
    "timeout_seconds": {"type": "int", "default": 60},
    "patience_seconds": {"type": "int", "default": 60},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    started = time.monotonic()
    wanted = Wanted(
        tuple(given["namespaces"]),
        tuple(given["exclude_namespaces"]),
        tuple(given["reasons"]),
        given["min_age_seconds"],
    )
    wrong = problems(wanted)
    if wrong:
        module.fail_json(msg="; ".join(wrong))

    try:
        where = find_endpoint(given["kubeconfig"] or "", given["context"] or "")
        cleanup = Cleanup(
            lambda: Client(where, given["timeout_seconds"], given["patience_seconds"]), wanted, module.check_mode
        )
        done = cleanup.run()
    except CleanupError as error:
        module.fail_json(msg=str(error), changed=error.done is not None and error.done.total > 0)
    except KubeconfigError as error:
        module.fail_json(msg=str(error))

    module.exit_json(
        changed=done.total > 0,
        total=done.total,
        pods=[
            {
                "namespace": namespace,
                "reason": reason,
                "count": number,
                "oldest": done.oldest.get((namespace, reason), ""),
                "names": sorted(done.names[(namespace, reason)]),
            }
            for (namespace, reason), number in sorted(done.gone.items())
        ],
        kept=dict(sorted(done.kept.items())),
        summary=summary(done, module.check_mode),
        requests=done.requests,
        seconds=round(time.monotonic() - started, 3),
        diff={"before_header": "failed pods", "after_header": "failed pods", "before": listing(done), "after": ""},
    )


if __name__ == "__main__":
    main()
