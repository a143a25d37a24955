#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: unit_set
short_description: Keep systemd units and the files they run as they should be, in one call
version_added: 0.1.0
description:
  - Writes whole files (units, drop-ins, the scripts they run), has systemd read them, enables and starts units, and
    stops and disables others, in one call where M(ansible.builtin.copy) and M(ansible.builtin.systemd_service) take one
    for each.
  - Where all is as it should be, the only command run is one C(systemctl show).
options:
  state:
    description:
      - V(absent) takes back what V(present) did under this O(name). Units in O(enabled) and O(started) are stopped and
        disabled, O(files) are removed, and units that V(present) switched on or off are as they were before.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - What this set is called, so that O(state=absent) knows what to take back. Two callers need different names.
    type: str
    default: gpunode
  files:
    description:
      - Files to own whole. Their folders are made.
      - The text of one that only its owner may read is left out of the difference; hide it elsewhere with C(no_log).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where the file lies.
        type: path
        required: true
      content:
        description: All of its text.
        type: str
        required: true
      mode:
        description: Its mode, in octal.
        type: str
        default: "0644"
  absent:
    description: Files that must not be there.
    type: list
    elements: path
    default: []
  enabled:
    description: Units that must start at boot.
    type: list
    elements: str
    default: []
  started:
    description:
      - Units that must be active now, such as path and timer units.
      - One whose own file or drop-in in O(files) changed is restarted, for systemd only then follows the new text.
    type: list
    elements: str
    default: []
  disabled:
    description: Units that must neither run now nor start at boot. Those that do not exist are passed over.
    type: list
    elements: str
    default: []
extends_documentation_fragment: [gpunode.ready.attributes.writes]
seealso:
  - module: ansible.builtin.systemd_service
author: The gpunode.ready maintainers (@gpunode)
"""

EXAMPLES = r"""
- name: Refresh something whenever its source changes
  gpunode.ready.unit_set:
    files:
      - path: /etc/systemd/system/site-refresh.service
        content: |
          [Service]
          Type=oneshot
          ExecStart=/usr/local/bin/site-refresh
      - path: /etc/systemd/system/site-refresh.path
        content: |
          [Path]
          PathChanged=/etc/site.conf
          [Install]
          WantedBy=multi-user.target
    enabled: [site-refresh.path]
    started: [site-refresh.path]
    disabled: [vendor-refresh.path]

- name: Take it away, and give the work back to the vendor's units
  gpunode.ready.unit_set:
    state: absent
    files:
      - path: /etc/systemd/system/site-refresh.service
        content: ""
      - path: /etc/systemd/system/site-refresh.path
        content: ""
    enabled: [site-refresh.path]
"""

RETURN = r"""
written:
  description: Files written, or in check mode those that would be.
  returned: always
  type: list
  elements: str
  sample: [/etc/systemd/system/site-refresh.path]
removed:
  description: Files taken away.
  returned: always
  type: list
  elements: str
  sample: []
units:
  description: What was done to units, in order.
  returned: always
  type: list
  elements: str
  sample: [disable vendor-refresh.path, enable site-refresh.path, start site-refresh.path]
"""

import os
import stat
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.files import (
    WriteError,
    difference,
    octal,
    read_text,
    remove,
    replace_text,
)
from ansible_collections.gpunode.ready.plugins.module_utils.host import run_command
from ansible_collections.gpunode.ready.plugins.module_utils.ownership import NOTHING, Ledger, Undo, put, slug, tidy
from ansible_collections.gpunode.ready.plugins.module_utils.ownership import look as content_of
from ansible_collections.gpunode.ready.plugins.module_utils.unit_set import PROPERTIES, plan, put_back, states, switched

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "default": "gpunode"},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0644"},
        },
    },
    "absent": {"type": "list", "elements": "path", "default": []},
    "enabled": {"type": "list", "elements": "str", "default": []},
    "started": {"type": "list", "elements": "str", "default": []},
    "disabled": {"type": "list", "elements": "str", "default": []},
}
SYSTEMD_RUNS = "/run/systemd/system"


def shown(path, before, after, mode):
    """A difference for the answer; of what only its owner may read, no more than that there is one."""
    if mode is not None and not mode & 0o077:
        before, after = (text and f"(not shown, {when})\n" for text, when in ((before, "before"), (after, "after")))
    return difference(path, before, after)


def look(module, files, answer):
    """Path -> (text differs, mode differs); the differences go into the answer."""
    found = {}
    for item in files:
        path, before = item["path"], read_text(item["path"])
        mode = stat.S_IMODE(os.stat(path).st_mode) if before is not None else None
        text_differs, mode_differs = before != item["content"], mode != octal(item["mode"])
        found[path] = (text_differs, mode_differs)
        if text_differs:
            answer["diff"].append(shown(path, before, item["content"], octal(item["mode"])))
        elif mode_differs:
            answer["diff"].append(difference(f"{path} (mode)", f"{mode:04o}\n", f"{item['mode']}\n"))
    return found


def own(module, todo):
    """Write down, before it is done, what is ours from now on."""
    files = {item["path"]: item for item in module.params["files"]}
    ledger = ledger_of(module)
    for path in todo.write:
        ledger.note(path, text=files[path]["content"], mode=octal(files[path]["mode"]))
    for path in todo.remove:
        ledger.note(path)
    own_units = {os.path.basename(path) for path in (*files, *module.params["absent"])}
    ledger.replace(units=switched(ledger.fact("units", {}), todo, own_units) or None)
    ledger.save()


def ledger_of(module):
    return Ledger(f"unit_set-{slug(module.params['name'])}")


def take_back(module, answer):
    """O(state=absent): what this set did, undone."""
    wants, ledger = module.params, ledger_of(module)
    undos = [ledger.undo(path) for path in ledger.paths]
    whole = {item["path"] for item in wants["files"]}
    for undo in undos:
        if undo.problem and undo.path not in whole:
            module.warn(undo.problem)
    undos = [undo for undo in undos if undo.changed]
    for path in sorted(whole - {undo.path for undo in undos}):  # of a run that kept no ledger, or changed by hand since
        now = content_of(path, follow=False)
        if now.there:
            undos.append(Undo(path, now, NOTHING))
    ours = sorted({*wants["enabled"], *wants["started"]})
    known = ledger.fact("units", {})
    state = {}
    systemd = os.path.isdir(SYSTEMD_RUNS)
    units = sorted({*ours, *known})
    if systemd and units:
        argv = ["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *units]
        state = states(run_command(argv, 30.0).out, units)
    todo = put_back(known, ours, state, [undo.path for undo in undos if not undo.after.there])
    todo = replace(todo, reload=systemd and bool(undos))
    orders = [*todo.before_files(), *todo.after_files()]
    answer.update(
        changed=todo.changed or bool(undos) or ledger.exists,
        removed=list(todo.remove),
        written=[undo.path for undo in undos if undo.after.there],
        units=[f"{order} {unit}" for order, *named in orders for unit in named],
        diff=[shown(undo.path, undo.before.text, undo.after.text, undo.before.mode) for undo in undos],
    )
    if answer["changed"] and not module.check_mode:
        for order in todo.before_files():
            systemctl(module, order, "No file was changed yet", answer)
        for undo in undos:
            put(undo)
        for order in todo.after_files():
            systemctl(module, order, "The files are as they were", answer)
        ledger.forget()
        tidy()
    module.exit_json(**answer)


def carry_out(module, todo, answer):
    files = {item["path"]: item for item in module.params["files"]}
    for order in todo.before_files():
        systemctl(module, order, "No file was changed yet", answer)
    for path in todo.write:
        replace_text(path, files[path]["content"], mode=octal(files[path]["mode"]))
    for path in todo.remove:
        remove(path)
    for order in todo.after_files():
        systemctl(module, order, "The files are in place", answer)


def systemctl(module, order, so_far, answer):
    done = run_command(["systemctl", *order], 120.0)
    if not done.ok:
        said = (done.err or done.out).strip()
        module.fail_json(
            msg=f"`systemctl {' '.join(order)}` failed (exit status {done.rc}) and said: {said or 'nothing'}."
            f" {so_far}; the next run goes on from here.",
            **answer,
        )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    wants = module.params
    answer = {"changed": False, "written": [], "removed": [], "units": [], "diff": []}
    units = sorted({*wants["enabled"], *wants["started"], *wants["disabled"]})
    try:
        if wants["state"] == "absent":
            take_back(module, answer)
        contents = look(module, wants["files"], answer)
        absent = [path for path in wants["absent"] if os.path.lexists(path)]
        answer["diff"].extend(difference(path, read_text(path), "") for path in absent)
        systemd = os.path.isdir(SYSTEMD_RUNS)
        if units and not systemd:
            module.warn(
                "systemd does not run here (a container, a chroot?): files are written, units left as they are."
            )
            units = []
        state = {}
        if units:
            show = run_command(["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *units], 30.0)
            state = states(show.out, units)
        wants = {**wants, **({} if units else {"enabled": [], "started": [], "disabled": []})}
        todo = plan(contents, absent, state, wants["enabled"], wants["started"], wants["disabled"])
        if not systemd:
            todo = replace(todo, reload=False)
        orders = [*todo.before_files(), *todo.after_files()]
        answer.update(
            changed=todo.changed,
            written=list(todo.write),
            removed=list(todo.remove),
            units=[f"{order} {unit}" for order, *named in orders for unit in named],
        )
        if answer["units"]:
            header = "units"
            answer["diff"].append(difference(header, "", "".join(f"{line}\n" for line in answer["units"])))
        if (todo.changed or todo.reload) and not module.check_mode:
            if todo.changed:
                own(module, todo)
            carry_out(module, todo, answer)
    except ValueError as error:
        module.fail_json(msg=f"files: the mode {error} is not octal, such as 0644.", **answer)
    except WriteError as error:
        module.fail_json(msg=str(error), **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
