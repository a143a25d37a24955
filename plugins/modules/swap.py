#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: swap
short_description: Turn swap off now and at every boot
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
description:
  - Turns swap off in every place it comes from, in one call, because kubelet does not start while swap is on.
  - Before swap is turned off, the module looks whether what is swapped out fits into the memory available. Where it
    does not, it refuses with the figures and changes nothing.
  - Nothing is deleted. Lines of C(/etc/fstab) are commented out behind a marker, after a copy of the file was kept
    beside it. Unit files that an administrator wrote are kept under another name. Masks are links to C(/dev/null)
    that C(systemctl unmask) takes away.
options:
  state:
    description:
      - V(disabled) is swap off, now and at every boot. To leave swap alone, do not call this module.
      - V(absent) takes back what V(disabled) did on this node - lines of C(/etc/fstab), masks, the failsafe of cron -
        and turns on again what was in use. What others changed since stays. O(layers) does not matter then.
    type: str
    choices: [disabled, absent]
    default: disabled
  layers:
    description:
      - The places to turn swap off in. Each is one more safeguard; leave out what something else manages.
      - V(live) turns off what is in use now.
      - V(fstab) comments swap out of C(/etc/fstab) and drops lines there that only repeat an earlier one.
      - V(units) stops and masks systemd's swap units, generated ones too, and services that make swap files.
      - V(zram) masks zram-generator, and the services of Debian's, Ubuntu's and Arch's zram packages.
      - V(cron) writes C(/etc/cron.d/gpunode-swapoff), which turns off, after each boot, whatever turned swap on.
    type: list
    elements: str
    choices: [live, fstab, units, zram, cron]
    default: [live, fstab, units, zram, cron]
extends_documentation_fragment: [gpunode.ready.attributes.writes]
seealso:
  - name: systemd.swap(5)
    description: Where systemd takes swap units from.
    link: https://www.freedesktop.org/software/systemd/man/latest/systemd.swap.html
"""

EXAMPLES = r"""
- name: Turn swap off for good
  gpunode.ready.swap:

- name: Have swap again as it was before
  gpunode.ready.swap:
    state: absent

- name: Turn swap off, and leave cron and zram to others
  gpunode.ready.swap:
    layers: [live, fstab, units]
"""

RETURN = r"""
layers:
  description: What was done, or in check mode would be, in each layer. Empty where nothing was to do.
  returned: always
  type: dict
  sample:
    live: ["turned off /swap.img"]
    fstab: ["/etc/fstab: 1 line commented out, 1 line dropped as a repetition"]
    units: ["stopped swap.img.swap", "masked /etc/systemd/system/swap.img.swap"]
    zram: []
    cron: ["wrote /etc/cron.d/gpunode-swapoff"]
fstab_backup:
  description: Where C(/etc/fstab) as it was before is kept.
  returned: when it was changed
  type: str
  sample: /etc/fstab.gpunode-20261121T090500Z
moved:
  description: New names of unit files that stood where a mask had to go.
  returned: when there were any
  type: list
  elements: str
  sample: [/etc/systemd/system/data-swapfile.swap.gpunode-disabled]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils import files, fstab, swap, swap_undo
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host

ARGUMENTS = {
    "state": {"type": "str", "choices": ["disabled", "absent"], "default": "disabled"},
    "layers": {
        "type": "list",
        "elements": "str",
        "choices": ["live", "fstab", "units", "zram", "cron"],
        "default": ["live", "fstab", "units", "zram", "cron"],
    },
}


def difference(state: swap.State, todo: swap.Plan) -> list[dict[str, str]]:
    """The files that change, and the state that no file shows."""
    parts = [(path, edit) for path, edit in ((fstab.FSTAB, todo.fstab), (swap.CRON_FILE, todo.cron)) if edit.changed]
    shown = [files.difference(path, edit.before, edit.after) for path, edit in parts]
    masks = [*todo.mask_units, *todo.mask_zram]
    if todo.swapoff or todo.stop or masks:
        before = [f"swap on: {area.path}" for area in state.live if area.path in todo.swapoff]
        after = [f"masked: {path}" for path in masks]
        lines = ("".join(f"{line}\n" for line in side) for side in (before, after))
        shown.append(files.difference("swap in use, masked units", *lines))
    return shown


def take_back(module: AnsibleModule, host: Host) -> None:
    """O(state=absent): swap as it was before."""
    todo = swap_undo.plan(host)
    for warning in todo.warnings:
        module.warn(warning)
    shown = [
        files.difference(undo.path, undo.before.text or undo.before.link, undo.after.text or undo.after.link)
        for undo in todo.undos
        if undo.changed
    ]
    answer = {"changed": todo.changed, "layers": todo.layers(), "diff": shown}
    if todo.changed and not module.check_mode:
        problems = swap_undo.apply(host, todo)
        if problems:
            module.fail_json(msg=" ".join(problems), **answer)
    module.exit_json(**answer)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    host = Host()
    if module.params["state"] == "absent":
        try:
            take_back(module, host)
        except files.WriteError as error:
            module.fail_json(msg=str(error))
    try:
        state = swap.look(host)
    except files.WriteError as error:
        module.fail_json(msg=f"{error} Nothing was changed.")
    todo = swap.plan(state, module.params["layers"])
    for warning in todo.warnings:
        module.warn(warning)
    answer = {"changed": todo.changed, "layers": todo.layers(), "diff": difference(state, todo)}
    if todo.refusal:
        module.fail_json(msg=todo.refusal, **{**answer, "changed": False})
    if todo.changed and not module.check_mode:
        done = swap.apply(host, todo)
        if done.fstab_backup:
            answer["fstab_backup"] = done.fstab_backup
        if done.moved:
            answer["moved"] = list(done.moved)
        if done.problems:
            msg = f"Swap is not off for good, though all else was done: {' '.join(done.problems)}"
            module.fail_json(msg=msg, **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
