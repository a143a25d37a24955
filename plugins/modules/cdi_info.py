#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cdi_info
short_description: Read a node's CDI specs and find what is wrong with them
version_added: 0.1.0
description:
  - Reads every CDI spec on the node, tells which devices a container runtime would find in them and from which file.
  - Finds specs that a runtime refuses (unreadable, invalid, of an unknown version), what they promise and the node
    does not have (device nodes, libraries, hooks), specs written for another driver than the loaded one, and devices
    that two files define.
  - Reads files only. Needs neither C(nvidia-ctk) nor a running container runtime.
options:
  spec_dirs:
    description:
      - The folders with CDI specs, lowest priority first. Name them where the container runtime is configured
        to use others.
    type: list
    elements: path
    default: [/etc/cdi, /var/run/cdi]
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.cdi_spec
  - module: gpunode.ready.node_info
author: The gpunode.ready maintainers (@gpunode)
"""

EXAMPLES = r"""
- name: Look at the CDI specs
  gpunode.ready.cdi_info:
  register: cdi

- name: Show the devices a pod can be given
  ansible.builtin.debug:
    msg: "{{ cdi.devices | map(attribute='name') | list }}"

- name: Look where podman of one user looks too
  gpunode.ready.cdi_info:
    spec_dirs: [/etc/cdi, /var/run/cdi, /home/ada/.config/cdi]
"""

RETURN = r"""
spec_dirs:
  description: The folders examined, lowest priority first.
  returned: always
  type: list
  elements: str
  sample: [/etc/cdi, /var/run/cdi]
driver_version:
  description: The version of the loaded NVIDIA kernel module, with which specs are compared. Null where none is loaded.
  returned: always
  type: str
  sample: 580.95.05
specs:
  description: Every spec file, whether or not a runtime can use it.
  returned: always
  type: list
  elements: dict
  sample:
    - path: /var/run/cdi/nvidia.yaml
      kind: nvidia.com/gpu
      version: 0.5.0
      mode: "0644"
      owner_uid: 0
      usable: true
      problem: null
      line: null
      by_nvidia: true
      driver_versions: [580.95.05]
      devices: [nvidia.com/gpu=0, nvidia.com/gpu=all]
      in_force: [nvidia.com/gpu=0, nvidia.com/gpu=all]
      device_nodes: [/dev/nvidia-uvm, /dev/nvidia0, /dev/nvidiactl]
      libraries: 23
      hooks: [/usr/bin/nvidia-cdi-hook]
devices:
  description: The devices that a runtime finds, each from the file that wins.
  returned: always
  type: list
  elements: dict
  sample:
    - name: nvidia.com/gpu=0
      spec: /var/run/cdi/nvidia.yaml
      device_nodes: [/dev/nvidia0]
problems:
  description:
    - What is wrong, spec by spec. C(problem) is one of V(unreadable), V(unparsable), V(version), V(invalid), V(mode),
      V(dangling-device-node), V(stale-device-node), V(dangling-library), V(dangling-hook), V(stale-driver),
      V(conflict), V(shadowed).
  returned: always
  type: list
  elements: dict
  sample:
    - problem: dangling-device-node
      spec: /var/run/cdi/nvidia.yaml
      line: 7
      subject: /dev/nvidia3
      cause: /var/run/cdi/nvidia.yaml:7 promises the device node /dev/nvidia3, which does not exist.
      by_nvidia: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.cdi import SPEC_DIRS, inspect
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host

ARGUMENTS = {"spec_dirs": {"type": "list", "elements": "path", "default": list(SPEC_DIRS)}}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    module.exit_json(changed=False, **inspect(Host(), module.params["spec_dirs"]))


if __name__ == "__main__":
    main()
