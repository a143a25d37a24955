#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a node a member of its cluster, by the phases of kubeadm that lack."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_member
short_description: Make a node a member of a cluster, by those phases of kubeadm that lack
description:
  - Runs C(kubeadm init) or C(kubeadm join) on a node that is no member yet. What a run that died has left half-done is
    completed - the phases that are done are named in C(--skip-phases), the others run.
  - A member is left alone, whether it is well or not. C(kubeadm reset) is never run, and a member of another cluster is
    refused.
  - The configuration goes to kubeadm by a file below C(/run), mode 0600, that is gone when the module ends. Tokens and
    keys stand in no command line. What kubeadm says goes, without them, to C(/var/log/gpunode.ready/kubeadm.log).
  - The token that C(kubeadm init) makes by itself ends after ten minutes, unless O(config) says otherwise. Tokens for
    joining are those of M(gpunode.ready.kubeadm_credentials).
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  member:
    description: What the node is to be.
    type: str
    choices: [first_control_plane, control_plane, worker]
    required: true
  config:
    description: kubeadm's configuration, as P(gpunode.ready.kubeadm_config#filter) writes it.
    type: str
    required: true
  ca_cert_hash:
    description: The hash of the cluster's CA, for one who joins. A node of another cluster is refused.
    type: str
  node_name:
    description: The node's name, where it is not its hostname.
    type: str
  timeout_seconds:
    description: How long kubeadm may take. It waits up to four minutes for kubelet and the control plane by itself.
    type: int
    default: 900
extends_documentation_fragment: [gpunode.ready.attributes.writes]
attributes:
  diff_mode:
    description: What changes is told as the phases that lack, in RV(missing).
    support: none
seealso:
  - module: gpunode.ready.kubeadm_info
  - module: gpunode.ready.kubeadm_credentials
"""

EXAMPLES = r"""
- name: The first control plane
  gpunode.ready.kubeadm_member:
    member: first_control_plane
    config: "{{ cluster | gpunode.ready.kubeadm_config }}"

- name: A worker, by a token that was made for this run
  gpunode.ready.kubeadm_member:
    member: worker
    ca_cert_hash: "{{ credentials.ca_cert_hash }}"
    config: >-
      {{ cluster | combine({'token': credentials.token, 'ca_cert_hashes': [credentials.ca_cert_hash],
                            'api_server_endpoint': credentials.api_server_endpoint})
         | gpunode.ready.kubeadm_config('worker') }}
"""

RETURN = r"""
state:
  description: The node's state afterwards, as M(gpunode.ready.kubeadm_info) tells it. In check mode, as it is.
  returned: success
  type: str
  sample: member
missing:
  description: The phases that lacked, and were run. Empty for a member, and for a node that had none of them.
  returned: success
  type: list
  elements: str
  sample: [kubelet-start, wait-control-plane, upload-config, mark-control-plane, bootstrap-token]
resumed:
  description: Whether a half-done init or join was completed.
  returned: success
  type: bool
  sample: false
node_name:
  description: The node's name.
  returned: success
  type: str
  sample: gpu-1
ca_cert_hash:
  description: The hash of the cluster's CA, or null.
  returned: success
  type: str
  sample: sha256:5bb571cd44be73dd5c38e38cb96f1e65659da086fc1075d8a24aef914eb00e1a
server:
  description: The API server that the node's kubeconfigs name, or null.
  returned: success
  type: str
  sample: https://192.0.2.10:6443
log:
  description: Where kubeadm's own words are.
  returned: always
  type: str
  sample: /var/log/gpunode.ready/kubeadm.log
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils import files
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.kubeadm_call import LOG, call
from ansible_collections.gpunode.ready.plugins.module_utils.kubeadm_run import (
    arguments,
    documents,
    failed_phase,
    kind_for,
    said,
    secrets_of,
    skipped_by,
    with_short_token,
)
from ansible_collections.gpunode.ready.plugins.module_utils.kubeadm_state import (
    BOOTSTRAP_CONF,
    MEMBERS,
    observe,
    report,
)

ARGUMENTS = {
    "member": {"type": "str", "choices": list(MEMBERS), "required": True},
    "config": {"type": "str", "required": True, "no_log": True},
    "ca_cert_hash": {"type": "str"},
    "node_name": {"type": "str"},
    "timeout_seconds": {"type": "int", "default": 900},
}
TOLD = ("state", "node_name", "ca_cert_hash", "server")
LAST_OF_JOIN = ["kubelet-wait-bootstrap"]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    member = given["member"]
    try:
        config = documents(given["config"])
    except ValueError as error:
        module.fail_json(msg=str(error), log=LOG)
    if kind_for(member) not in [item.get("kind") for item in config]:
        module.fail_json(msg=f"`config` holds no {kind_for(member)}, which a {member} needs.", log=LOG)
    skipped = skipped_by(config)
    host = Host()

    def look() -> dict:
        name, pinned = given["node_name"] or "", given["ca_cert_hash"] or ""
        return report(observe(host, member, pinned, name, skipped))

    before = look()
    if before["state"] == "foreign":
        module.fail_json(
            msg=f"This node is not made a {member.replace('_', ' ')}, and nothing was changed: "
            f"{'; '.join(before['reasons'])}. Take it out of the cluster it is in (drain it, delete it there, and then "
            "`kubeadm reset` on it), or correct the inventory.",
            log=LOG,
        )
    result = {"missing": before["missing"], "resumed": before["state"].endswith("incomplete"), "log": LOG}
    if before["state"] == "member" or module.check_mode:
        told = {key: before[key] for key in TOLD}
        module.exit_json(changed=before["state"] != "member", **result, **told)

    verb = "init" if member == "first_control_plane" else "join"
    try:
        if before["missing"] != LAST_OF_JOIN:
            done = call(
                lambda path: arguments(member, before, skipped, path),
                with_short_token(config),
                given["timeout_seconds"],
            )
            if done.rc:
                module.fail_json(msg=_failure(verb, done, given["timeout_seconds"], secrets_of(config)), log=LOG)
        after = look()
        if after["missing"] == LAST_OF_JOIN:
            # all that kubeadm would do still: a bootstrap kubeconfig holds a token, and kubelet needs it no longer
            files.remove(BOOTSTRAP_CONF)
            after = look()
    except files.WriteError as error:
        module.fail_json(msg=str(error), log=LOG)
    if after["state"] != "member":
        module.fail_json(
            msg=f"`kubeadm {verb}` said that it succeeded, but these phases lack: {', '.join(after['missing'])} "
            f"({'; '.join(after['reasons']) or 'no reason seen'}). The next run goes on from there.",
            log=LOG,
        )
    module.exit_json(changed=True, **result, **{key: after[key] for key in TOLD})


def _failure(verb, done, timeout_seconds: int, hidden: list) -> str:
    if done.rc == 127:
        return "kubeadm is not there: install it first (role kubeadm, tag kubeadm_packages)."
    how = f"did not end within {timeout_seconds} s" if done.rc == 124 else f"ended with {done.rc}"
    phase = failed_phase(done.output)
    where = f" in phase {phase}" if phase else ""
    return (
        f"`kubeadm {verb}` {how}{where}. It said:\n{said(done.output, hidden)}\n"
        "What is done stays, and the next run goes on from there; nothing was reset. "
        f"The whole is in {LOG}, and kubelet's reasons in `journalctl -u kubelet`."
    )


if __name__ == "__main__":
    main()
