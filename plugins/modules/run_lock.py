#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: run_lock
short_description: Let one run at a time change a node
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
description:
  - Takes a node for a run, or refuses by name, with how long the other run's lock still lasts and how to release it.
  - The lock is C(/run/gpunode.ready/lock.json), readable by root alone. It expires by itself, and a reboot clears it.
  - The lock is no part of what a node is to be, so taking and releasing it is never reported as a change.
options:
  state:
    description:
      - V(held) takes the node, or prolongs what this run holds already.
      - V(released) gives it back. A lock that another run holds stays.
    type: str
    choices: [held, released]
    default: held
  holder:
    description: Who runs, for whoever is refused to read. Required with O(state=held).
    type: str
  run_id:
    description: What tells this run from others. The same run may take the node again and again.
    type: str
    required: true
  expires_seconds:
    description: After how long the lock counts as left behind by a run that died.
    type: int
    default: 3600
  supersedes:
    description: Identifiers of runs known to have ended without releasing the node, whose lock may be taken over.
    type: list
    elements: str
    default: []
extends_documentation_fragment: [gpunode.ready.attributes.writes]
"""

EXAMPLES = r"""
- name: Take the node
  gpunode.ready.run_lock:
    holder: "{{ lookup('ansible.builtin.env', 'USER') }}@{{ lookup('ansible.builtin.pipe', 'hostname') }}"
    run_id: "{{ run_id }}"

- name: Give the node back
  gpunode.ready.run_lock:
    state: released
    run_id: "{{ run_id }}"
"""

RETURN = r"""
held:
  description: Whether this run holds the node now.
  returned: always
  type: bool
  sample: true
why:
  description: What was found when the node was asked for.
  returned: always
  type: str
  sample: free
boot_id:
  description: The boot in which the node answered. A lock does not outlive it.
  returned: always
  type: str
  sample: 0b0fb1b0-5a3c-4a06-8f0e-6d9f6c6d3c51
lock:
  description: The lock in force, whoever holds it.
  returned: when there is one
  type: dict
  sample:
    holder: ada@control-1
    run_id: 7f3a6c1e
    since: "2026-11-21T09:05:00Z"
    expires: "2026-11-21T10:05:00Z"
    since_uptime_seconds: 1318.85
    expires_uptime_seconds: 4918.85
taken_over:
  description: The lock of another run that this run replaced, because it had expired or was superseded.
  returned: when there was one
  type: dict
  sample:
    holder: bob@control-1
    run_id: 1b2c3d4e
    since: "2026-11-21T07:00:00Z"
    expires: "2026-11-21T08:00:00Z"
    since_uptime_seconds: 12.5
    expires_uptime_seconds: 3612.5
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils import run_lock
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host

ARGUMENTS = {
    "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
    "holder": {"type": "str"},
    "run_id": {"type": "str", "required": True},
    "expires_seconds": {"type": "int", "default": 3600},
    "supersedes": {"type": "list", "elements": "str", "default": []},
}


def hold(module: AnsibleModule) -> run_lock.Outcome:
    arguments = (module.params["holder"], module.params["run_id"], module.params["expires_seconds"])
    supersedes = module.params["supersedes"]
    if module.check_mode:
        return run_lock.judge(run_lock.look(), *arguments, run_lock.clock(), supersedes)
    return run_lock.hold(*arguments, supersedes)


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS, required_if=[("state", "held", ["holder"])], supports_check_mode=True
    )
    if module.params["expires_seconds"] < 1:
        module.fail_json(msg="expires_seconds: must be at least 1, or the lock would protect nothing.")
    holding = module.params["state"] == "held"
    try:
        if holding:
            outcome = hold(module)
        elif module.check_mode:
            outcome = run_lock.Outcome(True, run_lock.look(), why="not released in check mode")
        else:
            outcome = run_lock.release(module.params["run_id"])
    except run_lock.LockError as error:
        module.fail_json(msg=str(error))

    answer = {
        "changed": False,
        "held": holding and outcome.granted,
        "why": outcome.why,
        "boot_id": Host().line("/proc/sys/kernel/random/boot_id") or "",
        "diff": {},
    }
    if outcome.lock:
        answer["lock"] = run_lock.as_dict(outcome.lock)
    if holding and outcome.granted and outcome.other:
        answer["taken_over"] = run_lock.as_dict(outcome.other)
    if holding and not outcome.granted and outcome.other:
        told = run_lock.refusal(outcome.other, run_lock.clock())
        if not module.check_mode:  # a run that only looks disturbs nobody, but may see a node half changed
            module.fail_json(msg=told, **answer)
        module.warn(told)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
