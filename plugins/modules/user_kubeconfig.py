#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give users of a node a kubeconfig of their own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: user_kubeconfig
short_description: Give users of a node a kubeconfig of its cluster, theirs alone
description:
  - Has C(~/.kube/config) of each user equal an administrator's kubeconfig, owned by the user, mode 0600, and so again
    whenever that one was renewed. The one before is kept beside it.
  - A kubeconfig that leads to another cluster, has several of anything, is a link or cannot be read is the user's own.
    It is kept, and told.
  - Writes as the user, so that no link in a home leads it elsewhere. C(~/.kube) that root has left there is given to
    the user.
  - Who holds this file may do anything in the cluster.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  users:
    description: The users. One that the node does not know is refused before anything is written.
    type: list
    elements: str
    required: true
  source:
    description: The kubeconfig that they get.
    type: path
    default: /etc/kubernetes/admin.conf
  state:
    description: V(absent) takes away those that equal O(source).
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment: [gpunode.ready.attributes.writes]
attributes:
  diff_mode:
    description: Shows nothing, because the file holds a key.
    support: none
seealso:
  - module: gpunode.ready.kubeadm_member
"""

EXAMPLES = r"""
- name: root and Ada may speak to the cluster
  gpunode.ready.user_kubeconfig:
    users: [root, ada]
"""

RETURN = r"""
kubeconfigs:
  description: What became of each user's kubeconfig.
  returned: success
  type: list
  elements: dict
  contains:
    user: {description: The user., type: str, sample: ada}
    path: {description: The file., type: str, sample: /home/ada/.kube/config}
    result:
      description: C(created), C(changed), C(unchanged), C(kept), C(removed) or C(absent).
      type: str
      sample: kept
    why: {description: Why it is kept., type: str, sample: "it leads to another cluster, https://10.9.9.9:6443"}
"""

import pwd

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils import files
from ansible_collections.gpunode.ready.plugins.module_utils.user_kubeconfig import User, as_user, own_folder

ARGUMENTS = {
    "users": {"type": "list", "elements": "str", "required": True},
    "source": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def known(module: AnsibleModule) -> list:
    users, unknown = [], []
    for name in dict.fromkeys(module.params["users"]):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            unknown.append(name)
        else:
            users.append(User(name, entry.pw_uid, entry.pw_gid, entry.pw_dir))
    if unknown and module.params["state"] == "present":
        module.fail_json(msg=f"users: this node has no {', '.join(unknown)}. Nothing was written.")
    return users


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given, write = module.params, not module.check_mode
    present = given["state"] == "present"
    users = known(module)
    try:
        wanted = files.read_text(given["source"])
    except files.WriteError as error:
        module.fail_json(msg=str(error))
    if wanted is None and present:
        if module.check_mode:  # kubeadm has only promised to write it
            module.exit_json(changed=bool(users), kubeconfigs=[])
        module.fail_json(msg=f"{given['source']}: no such kubeconfig. It is on control planes, once they are complete.")

    told, problems, given_back = [], [], False
    for user in users:
        if present and write and user.uid != 0:
            given_back |= own_folder(user)
        outcome = as_user(user, wanted or "", present, write)
        (problems if "problem" in outcome else told).append(outcome)
    if problems:
        module.fail_json(msg="; ".join(outcome["problem"] for outcome in problems))
    for outcome in told:
        if outcome["result"] == "kept":
            module.warn(
                f"{outcome['path']} is kept, because {outcome['why']}. {given['source']} leads to this cluster: "
                f"`KUBECONFIG={given['source']}`, or move the file away and run again."
            )
    changes = [outcome.pop("changed") for outcome in told]
    module.exit_json(changed=given_back or any(changes), kubeconfigs=told)


if __name__ == "__main__":
    main()
