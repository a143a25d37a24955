#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_settings
short_description: Have kernel modules loaded and sysctls set, now and at every boot
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
description:
  - Does for any number of modules and sysctls in one call what otherwise takes one task each. Drift of what is in
    force and of what is persisted is repaired alike.
  - Modules are loaded before sysctls are set, because some sysctls exist only with their module. A feature that is
    built in to the kernel counts as loaded.
  - Owns two drop-ins as whole files, C(/etc/modules-load.d/<name>.conf) and C(/etc/sysctl.d/99-<name>.conf). Lines that
    others wrote elsewhere are left alone. Where another file is read later and sets one of these sysctls otherwise,
    ours is named so that it is read last, and a warning names that file and line.
  - A value that the kernel refuses is not persisted. Whatever fails, the rest is done, and the failure names all of it.
options:
  state:
    description:
      - V(present) has modules loaded and sysctls set.
      - V(absent) takes back what V(present) did under this O(name), as the next boot would have it - its files;
        values in force that are still ours; modules that we loaded, where nothing uses them. Other options do not
        matter then.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: What the drop-ins are called. Two callers with different settings need different names.
    type: str
    default: gpunode
  modules:
    description: Kernel modules to have loaded. An empty list takes the drop-in away; nothing is ever unloaded.
    type: list
    elements: str
    default: []
  sysctls:
    description: Sysctls and their values. An empty one takes the drop-in away; what is in force stays until the reboot.
    type: dict
    default: {}
  debugfs:
    description:
      - Whether C(/etc/fstab) mounts debugfs on C(/sys/kernel/debug), and it is mounted now.
      - With V(false) debugfs is left as it is.
    type: bool
    default: false
extends_documentation_fragment: [gpunode.ready.attributes.writes]
seealso:
  - module: ansible.posix.sysctl
  - module: community.general.modprobe
"""

EXAMPLES = r"""
- name: Give a Kubernetes node what its pod network needs
  gpunode.ready.kernel_settings:
    modules: [overlay, br_netfilter]
    sysctls:
      net.bridge.bridge-nf-call-iptables: 1
      net.bridge.bridge-nf-call-ip6tables: 1
      net.ipv4.ip_forward: 1

- name: Take it back
  gpunode.ready.kernel_settings:
    state: absent

- name: Allow many watches, in a drop-in of its own
  gpunode.ready.kernel_settings:
    name: gpunode-watches
    sysctls:
      fs.inotify.max_user_instances: 8192
      fs.inotify.max_user_watches: 524288
"""

RETURN = r"""
loaded:
  description: Modules that were loaded, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [br_netfilter]
set:
  description: Sysctls whose value in force was changed, or in check mode would be, with both values.
  returned: always
  type: dict
  sample:
    net.ipv4.ip_forward: {before: "0", after: "1"}
files:
  description: Files that were written or taken away, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [/etc/modules-load.d/gpunode.conf, /etc/sysctl.d/99-gpunode.conf]
unloaded:
  description: Modules that were unloaded, or in check mode would be.
  returned: when O(state=absent)
  type: list
  elements: str
  sample: [br_netfilter, bridge, stp, llc]
debugfs_mounted:
  description: Whether debugfs was mounted, or in check mode would be.
  returned: always
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils import files, kernel_settings, kernel_settings_undo
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "default": "gpunode"},
    "modules": {"type": "list", "elements": "str", "default": []},
    "sysctls": {"type": "dict", "default": {}},
    "debugfs": {"type": "bool", "default": False},
}


def difference(todo: kernel_settings.Plan) -> list[dict[str, str]]:
    """The files that change, and what is in force, which no file shows."""
    shown = [files.difference(change.path, change.before, change.after) for change in todo.files]
    if todo.load or todo.set or todo.mount_debugfs:
        after = [f"module {name}" for name in todo.load]
        after += [f"{key} = {value}" for key, _before, value in todo.set]
        after += [f"mounted {kernel_settings.DEBUGFS}"] if todo.mount_debugfs else []
        before = [f"{key} = {value}" for key, value, _after in todo.set if value is not None]
        lines = ("".join(f"{line}\n" for line in side) for side in (before, after))
        shown.append(files.difference("the running kernel", *lines))
    return shown


def take_back(module: AnsibleModule, name: str) -> None:
    """O(state=absent): the kernel as it would be without us."""
    host = Host()
    todo = kernel_settings_undo.plan(host, name)
    for warning in todo.warnings:
        module.warn(warning)
    values, paths = kernel_settings_undo.shown(todo)
    undos = [undo for undo in todo.undos if undo.changed]
    shown = [files.difference(undo.path, undo.before.text, undo.after.text) for undo in undos]
    before = [f"{key} = {now}" for key, now, _value in todo.set] + [f"module {name}" for name in todo.unload]
    after = [f"{key} = {value}" for key, _now, value in todo.set]
    if before:
        lines = ("".join(f"{line}\n" for line in side) for side in (before, after))
        shown.append(files.difference("the running kernel", *lines))
    answer = {
        "changed": todo.changed,
        "loaded": [],
        "unloaded": list(todo.unload),
        "set": values,
        "files": paths,
        "debugfs_mounted": False,
        "diff": shown,
    }
    if todo.changed and not module.check_mode:
        problems, stay = kernel_settings_undo.apply(host, name, todo)
        answer["unloaded"] = [item for item in todo.unload if item not in stay]
        if stay:
            module.warn(f"{', '.join(stay)}: loaded by us, and in use, so loaded until the next boot.")
        if problems:
            module.fail_json(msg=" ".join(problems), **answer)
    module.exit_json(**answer)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    wants = {name: value for name, value in module.params.items() if name != "state"}
    try:
        want = kernel_settings.wanted(**wants)
        if module.params["state"] == "absent":
            take_back(module, want.name)
    except files.WriteError as error:
        module.fail_json(msg=str(error))
    except kernel_settings.SettingError as error:
        module.fail_json(msg=f"{error}.")
    host = Host()
    try:
        todo = kernel_settings.plan(host, want)
    except files.WriteError as error:
        module.fail_json(msg=f"{error} Nothing was changed.")
    for warning in todo.warnings:
        module.warn(warning)
    answer = {
        "changed": todo.changed,
        "loaded": list(todo.load),
        "set": {key: {"before": before, "after": after} for key, before, after in todo.set},
        "files": [change.path for change in todo.files],
        "debugfs_mounted": todo.mount_debugfs,
        "diff": difference(todo),
    }
    problems = list(todo.problems)
    if todo.changed and not module.check_mode:
        problems += kernel_settings.apply(host, todo)
    if problems:
        module.fail_json(msg=" ".join(problems), **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
