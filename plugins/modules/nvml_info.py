#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvml_info
short_description: Ask NVML what the GPUs of a node are and how they fare
version_added: 0.1.0
description:
  - Loads the driver's own C(libnvidia-ml.so.1) and asks it for versions and for each GPU; no package is needed on the
    node, neither C(nvidia-smi) nor C(nvidia-ml-py).
  - Every return code of NVML becomes a named condition with its meaning, usual cause and mend, in RV(condition) for
    NVML itself and in RV(devices[].condition) for one GPU. The module fails only where it cannot run at all.
  - Where no driver is loaded, the answer is V(driver-not-loaded) without asking, because NVML's start loads the kernel
    module where C(nvidia-modprobe) is installed, and this module changes nothing. A library given in O(library) is
    asked in any case.
  - What a GPU does not offer is null, with the reason in RV(devices[].unsupported).
  - NVML is asked in a process of its own. Where it hangs, as it may on a GPU in an error state, that process is killed
    after O(timeout_seconds), and the result tells on which GPU and in which call it hung, with all that was answered
    until then.
options:
  library:
    description:
      - The library to load, or the folder that holds it.
      - Without it, the library is looked for in the loader's cache and in the folders where distributions, clouds, the
        GPU Operator, WSL, Talos, NixOS and Bottlerocket put it.
    type: path
  timeout_seconds:
    description: How long NVML may take for all of its answers. Without persistence mode, each GPU may need seconds.
    type: float
    default: 30.0
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.node_info
  - name: NVML API reference
    description: What the values mean, in NVIDIA's own words.
    link: https://docs.nvidia.com/deploy/nvml-api/
author: The gpunode.ready maintainers (@gpunode)
"""

EXAMPLES = r"""
- name: Ask the GPUs
  gpunode.ready.nvml_info:
  register: nvml

- name: Refuse a node whose GPUs are not all well
  ansible.builtin.assert:
    that:
      - nvml.condition == 'ok'
      - nvml.devices | rejectattr('condition', 'eq', 'ok') | length == 0
      - nvml.devices | map(attribute='recovery_action') | reject('in', ['none', none]) | length == 0
    fail_msg: "{{ nvml.meaning }} {{ nvml.mend }}"

- name: Ask a driver that lies in the GPU Operator's driver container
  gpunode.ready.nvml_info:
    library: /run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1
    timeout_seconds: 60
"""

RETURN = r"""
condition:
  description:
    - What NVML itself is in. V(ok) where it answers.
    - Others come from NVML's return codes, as V(driver-not-loaded), V(version-mismatch), V(no-permission), V(unknown);
      or are this module's own, V(library-not-found), V(library-unloadable), V(timed-out), V(probe-died), V(no-devices).
  returned: always
  type: str
  sample: ok
code:
  description: NVML's own return code for the condition; null for those that NVML has no code for.
  returned: always
  type: int
  sample: 0
meaning:
  description: What the condition means, with the values observed.
  returned: always
  type: str
  sample: >-
    The user-space library and the loaded kernel module are of different driver versions: NVML cannot start.
    (nvmlInit_v2 returned 18) Library: 580.95.05 (/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1); loaded module: 575.57.08
    (/sys/module/nvidia/version).
cause:
  description: The usual cause on a node; empty where all is well.
  returned: always
  type: str
  sample: The driver was upgraded while the old module stayed loaded.
mend:
  description: What usually mends it; empty where there is nothing to mend.
  returned: always
  type: str
  sample: Reboot, or unload and load the nvidia modules, so that the installed driver is the one loaded.
library:
  description: The library that was asked; null where none was found.
  returned: always
  type: str
  sample: /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1
simulated:
  description: Whether the library is this collection's simulation, as on its test nodes.
  returned: always
  type: bool
  sample: false
driver_version:
  description: The version of the driver.
  returned: always
  type: str
  sample: 580.159.04
nvml_version:
  description: The version of NVML.
  returned: always
  type: str
  sample: 13.580.159.04
cuda_version:
  description: The newest version of CUDA that the driver supports. It is not that of an installed toolkit.
  returned: always
  type: str
  sample: '13.0'
device_count:
  description: How many GPUs NVML counts; null where it did not come to count them.
  returned: always
  type: int
  sample: 1
unsupported:
  description: For each of the values above that is null although NVML answers, the reason.
  returned: always
  type: dict
  sample: {}
devices:
  description: One element for each GPU, in NVML's order, which may change between boots.
  returned: always
  type: list
  elements: dict
  contains:
    index:
      description: NVML's index of the GPU.
      type: int
      sample: 0
    condition:
      description: What this GPU is in, V(ok) where it is well; as V(gpu-is-lost), V(reset-required), V(timed-out).
      type: str
      sample: ok
    meaning:
      description: What that means; empty where it is well.
      type: str
      sample: ''
    name:
      description: The product's name.
      type: str
      sample: NVIDIA H200
    uuid:
      description: The GPU's UUID, the same at each boot.
      type: str
      sample: GPU-51e0a200-0000-4000-8000-000000000000
    serial:
      description: The board's serial number. GPUs of one board share it.
      type: str
      sample: '1650000000000'
    pci_bus_id:
      description: The PCI address as sysfs writes it.
      type: str
      sample: '0000:00:05.0'
    minor_number:
      description: The number in C(/dev/nvidia<n>). It may differ from the index.
      type: int
      sample: 0
    architecture:
      description: The generation of the GPU.
      type: str
      sample: hopper
    compute_capability:
      description: CUDA's compute capability.
      type: str
      sample: '9.0'
    memory:
      description: Memory of the GPU. Of old drivers RV(ignore:used_bytes) holds what is reserved, too.
      type: dict
      sample: {total_bytes: 150754820096, used_bytes: 0, free_bytes: 150110986240, reserved_bytes: 643833856}
    temperature_celsius:
      description: Temperature of the GPU's core.
      type: int
      sample: 31
    power_draw_watts:
      description: Power that the GPU draws, on newer generations the average of a second.
      type: float
      sample: 76.54
    power_limit_watts:
      description: The limit in force.
      type: float
      sample: 700.0
    utilisation:
      description: Share of time, in percent, in which a kernel ran and in which memory was read or written.
      type: dict
      sample: {gpu_percent: 0, memory_percent: 0}
    clocks:
      description: Clocks of the streaming multiprocessors and of the memory.
      type: dict
      sample: {sm_mhz: 345, memory_mhz: 3201}
    clocks_event_reasons:
      description: Why the clocks are not higher; no names at full speed.
      type: dict
      sample: {names: [gpu_idle], raw: 1}
    ecc:
      description:
        - Whether error correction is on, now and after the next reset; errors since the driver was loaded (volatile)
          and in the board's life (aggregate).
      type: dict
      sample:
        mode: {current: true, pending: true}
        volatile: {corrected: 0, uncorrected: 0}
        aggregate: {corrected: 0, uncorrected: 0}
    retired_pages:
      description: Pages of memory taken out of use, by cause; up to Turing.
      type: dict
      sample: {single_bit: 0, double_bit: 0, pending: false}
    remapped_rows:
      description: Rows of memory replaced by spare ones; Ampere and newer.
      type: dict
      sample: {corrected: 0, uncorrected: 0, pending: false, failure: false}
    mig:
      description: Whether the GPU is divided into instances, now and after the next reset, and into which.
      type: dict
      sample:
        mode: {current: true, pending: true}
        instances:
          - index: 0
            condition: ok
            meaning: ''
            unsupported: {}
            uuid: MIG-51e0a200-0000-5000-8000-000000000007
            name: NVIDIA H200 MIG 1g.18gb
            profile: 1g.18gb
            gpu_instance_id: 7
            compute_instance_id: 0
            attributes: {gpu_slices: 1, compute_slices: 1, multiprocessors: 16, memory_bytes: 17179869184}
    persistence_mode:
      description: Whether the driver keeps the GPU initialised while nobody uses it.
      type: bool
      sample: true
    compute_mode:
      description: Who may use the GPU for computing.
      type: str
      sample: default
    compute_processes:
      description: How many processes have a compute context on the GPU.
      type: int
      sample: 0
    nvlinks:
      description: Link number to state, V(active) or V(inactive).
      type: dict
      sample: {'0': active, '1': active}
    fabric:
      description: Whether the GPU has joined the NVSwitch fabric; RV(ignore:state) must reach V(completed).
      type: dict
      sample: {state: completed, status: ok, clique_id: 0, cluster_uuid: 00000000-0000-0000-0000-000000000000}
    recovery_action:
      description: What the driver asks for to recover the GPU; V(none) where it is well.
      type: str
      sample: none
    unsupported:
      description: For each field that is null, the reason. A dotted name is a part of a field.
      type: dict
      sample:
        retired_pages: >-
          not-supported: The GPU, or its driver in this mode, does not offer this.
          (nvmlDeviceGetRetiredPages_v2 returned 3)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.nvml import TIMEOUT_SECONDS, look

ARGUMENTS = {
    "library": {"type": "path"},
    "timeout_seconds": {"type": "float", "default": TIMEOUT_SECONDS},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if not module.params["timeout_seconds"] > 0:
        module.fail_json(msg=f"`timeout_seconds` is {module.params['timeout_seconds']:g}: it must be more than 0.")

    module.exit_json(changed=False, **look(Host(), module.params["library"], module.params["timeout_seconds"]))


if __name__ == "__main__":
    main()
