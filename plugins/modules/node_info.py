#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a node once: everything that any layer or check needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_info
short_description: Look at a GPU node once, at every layer from the swap file to the CDI spec
description:
  - Collects in one execution all that the roles and checks of this collection read - the boot, the operating system,
    swap, kernel modules and sysctls, packages and repositories, NVIDIA PCI functions, the driver, NVML, cgroup drivers,
    container runtimes, the NVIDIA container toolkit, CDI specs, kubelet and kubeadm.
  - What cannot be looked at is C({"unavailable":"<reason>"}) and hides no other part; the module itself does not fail
    for it.
  - It needs Python 3.9 or newer on the node, and nothing else. Run it as root, or much is unavailable.
  - Every part is described in C(docs/facts.md).
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  parts:
    description:
      - The parts to look at. The default is all of them.
      - A part that is not looked at is not returned. What an earlier look found of it stays as it was only if you
        combine the answers yourself, because facts are replaced, not merged.
    type: list
    elements: str
    default: []
    choices:
      - boot
      - os
      - memory
      - filesystems
      - swap
      - kernel
      - units
      - packages
      - repositories
      - gpus
      - driver
      - nvml
      - cgroups
      - runtimes
      - toolkit
      - cdi
      - kubelet
      - kubeadm
      - kubeconfigs
  units:
    description:
      - Systemd units to look at beside those that this collection cares for anyway.
      - A name without a suffix is that of a service.
    type: list
    elements: str
    default: []
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.node_check
  - module: gpunode.ready.nvml_info
  - module: gpunode.ready.cgroup_driver_info
  - module: gpunode.ready.runtime_handler_info
  - module: gpunode.ready.cdi_info
"""

EXAMPLES = r"""
- name: Look at the node
  gpunode.ready.node_info:
  when: ansible_facts['gpunode'] is not defined

- name: Say which NVIDIA GPUs the PCI bus shows
  ansible.builtin.debug:
    msg: "{{ ansible_facts['gpunode']['gpus']['devices'] | map(attribute='name') | list }}"

- name: Look only at swap and at the kernel
  gpunode.ready.node_info:
    parts: [swap, kernel]
  register: look
"""

RETURN = r"""
ansible_facts:
  description: The facts, under one name. They stay for the rest of the play.
  returned: always
  type: dict
  contains:
    gpunode:
      description: Every part that was asked for, as described in C(docs/facts.md).
      returned: always
      type: dict
      sample:
        schema: 1
        boot:
          id: 0b0fb1b0-5a3c-4a06-8f0e-6d9f6c6d3c51
          uptime_seconds: 81213
          time_utc: "2026-11-03T09:21:44Z"
          clock_synchronized: true
          reboot_required: []
        swap:
          live: []
          fstab: []
          fstab_duplicates: []
          units: []
          zram: {installed: false, configured_in: [], masked: false}
          cron_failsafe: null
        nvml: {unavailable: "TimeoutError: no answer within 20 s"}
seconds:
  description: How long the look took on the node.
  returned: always
  type: float
  sample: 0.74
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.node import COLLECTORS, collect

ARGUMENTS = {
    "parts": {"type": "list", "elements": "str", "default": [], "choices": list(COLLECTORS)},
    "units": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    started = time.monotonic()

    facts = collect(Host(), module.params["parts"], units=module.params["units"])

    seconds = round(time.monotonic() - started, 3)
    module.exit_json(changed=False, ansible_facts={"gpunode": facts}, seconds=seconds)


if __name__ == "__main__":
    main()
