#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: toolkit_config
short_description: Set the NVIDIA container toolkit's own configuration, and link the runtimes it hands over to
version_added: 0.1.0
description:
  - Has C(nvidia-ctk config) make the new text, and writes it whole where it differs. Every other value stays as it is.
  - Makes links in PATH where nothing is. A program that is there, or a link to one, is never replaced.
  - What was there before is kept for O(state=absent), before anything is written.
options:
  state:
    description:
      - V(absent) takes back what V(present) did. What others changed in the file since stays.
    type: str
    choices: [present, absent]
    default: present
  path:
    description: The toolkit's configuration.
    type: path
    default: /etc/nvidia-container-runtime/config.toml
  settings:
    description: What to set, as C(nvidia-ctk config --set) takes it - C(key=value), the elements of a list with colons.
    type: list
    elements: str
    default: []
  links:
    description: Links to make, from each path to what it points to.
    type: dict
    default: {}
  discard:
    description:
      - With O(state=absent), that the toolkit itself was taken off the node in this run. Its file then goes whole, and
        the folder where it is empty, for the package does not count it among its own.
    type: bool
    default: false
extends_documentation_fragment: [gpunode.ready.attributes.writes]
seealso:
  - module: gpunode.ready.runtime_config
author: The gpunode.ready maintainers (@gpunode)
"""

EXAMPLES = r"""
- name: Hand over to runc by its full path, and make it findable for others too
  gpunode.ready.toolkit_config:
    settings:
      - nvidia-container-runtime.runtimes=/usr/local/sbin/runc:/usr/libexec/crun
      - nvidia-container-runtime.mode=auto
    links:
      /usr/bin/runc: /usr/local/sbin/runc

- name: Take it back
  gpunode.ready.toolkit_config:
    state: absent
"""

RETURN = r"""
written:
  description: Files written, or in check mode those that would be.
  returned: always
  type: list
  elements: str
  sample: [/etc/nvidia-container-runtime/config.toml]
linked:
  description: Links made, or in check mode those that would be.
  returned: always
  type: list
  elements: str
  sample: [/usr/bin/runc]
removed:
  description: Files and links taken away, or in check mode those that would be.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils import toolkit_config
from ansible_collections.gpunode.ready.plugins.module_utils.files import WriteError, difference
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.ownership import Ledger
from ansible_collections.gpunode.ready.plugins.module_utils.secrecy import hide

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "path": {"type": "path", "default": "/etc/nvidia-container-runtime/config.toml"},
    "settings": {"type": "list", "elements": "str", "default": []},
    "links": {"type": "dict", "default": {}},
    "discard": {"type": "bool", "default": False},
}


def present(module: AnsibleModule, host: Host, answer: dict) -> None:
    path, settings = module.params["path"], module.params["settings"]
    todo = toolkit_config.plan(host, path, settings, module.params["links"], foretell=module.check_mode)
    comes = bool(settings) and todo.after is None  # with the toolkit, which this check run does not install
    if comes:
        module.warn(f"nvidia-ctk is not on this node; in check mode it is taken to come, and {path} to be set by it.")
    answer["written"] = [path] if todo.rewrites or comes else []
    answer["linked"] = sorted(todo.links)
    answer["changed"] = bool(answer["written"] or answer["linked"])
    if todo.rewrites:
        answer["diff"].append(difference(path, todo.before, todo.after))
    answer["diff"].extend(difference(name, "", f"link to {target}\n") for name, target in sorted(todo.links.items()))
    if not module.check_mode:
        toolkit_config.apply(host, todo)


def absent(module: AnsibleModule, host: Host, answer: dict) -> None:
    path = module.params["path"]
    undos = toolkit_config.plan_absent(host, path, module.params["discard"])
    for undo in undos:
        if undo.problem:
            module.warn(undo.problem)
    changes = [undo for undo in undos if undo.changed]
    answer["removed"] = [undo.path for undo in changes if not undo.after.there]
    answer["written"] = [undo.path for undo in changes if undo.after.there]
    answer["diff"] = [difference(undo.path, undo.before.text, undo.after.text) for undo in changes]
    answer["changed"] = bool(changes) or Ledger(toolkit_config.LEDGER, host.path).exists
    if answer["changed"] and not module.check_mode:
        toolkit_config.apply_absent(host, path, undos)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    answer = {"changed": False, "written": [], "linked": [], "removed": [], "diff": []}
    try:
        (present if module.params["state"] == "present" else absent)(module, Host(), answer)
    except (toolkit_config.ToolkitError, WriteError) as error:
        module.fail_json(msg=hide(str(error)), **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
