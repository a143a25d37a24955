#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cgroup_driver_info
short_description: Find the cgroup driver of kubelet and each container runtime, who decides it, and whether they agree
version_added: 0.1.0
description:
  - Tells the version of the control group hierarchy, and for kubelet, CRI-O, containerd, Docker and k3s the driver that
    is configured, with the file and line that decides, and the driver that is in force.
  - Reads every file, flag and environment variable that can say it, in the precedence that the program itself uses.
    For kubelet C(--config), the drop-ins of C(--config-dir), then the flag wherever it stands. For CRI-O C(crio.conf),
    every file below C(crio.conf.d), flags and C(CONTAINER_CGROUP_MANAGER). For containerd its imports and the merge
    rules of its version. For Docker C(daemon.json) and flags. For k3s its options, its kubelet's drop-ins and the
    containerd configuration that it renders.
  - Asks the running runtimes through their sockets (CRI C(RuntimeConfig), Docker's C(/info)), and looks which driver
    made the control group of all pods. Needs neither C(crictl) nor C(docker).
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.runtime_handler_info
  - module: gpunode.ready.node_info
author: The gpunode.ready maintainers (@gpunode)
"""

EXAMPLES = r"""
- name: Look at the cgroup drivers
  gpunode.ready.cgroup_driver_info:
  register: cgroup

- name: Stop before kubeadm init, if kubelet and the runtime do not agree
  ansible.builtin.assert:
    that: cgroup.agree is not false
    fail_msg: "{{ cgroup.agreement }} Use {{ cgroup.value }} for both: {{ cgroup.why }}"

- name: Show the line that tells containerd its driver
  ansible.builtin.debug:
    msg: "{{ cgroup.programs.containerd.configured }} by {{ cgroup.programs.containerd.source }}"
"""

RETURN = r"""
hierarchy:
  description: >-
    C(v1), C(v2), C(hybrid) (v1, with v2 mounted beside it) or null where no control groups are mounted.
  returned: always
  type: str
  sample: v2
systemd:
  description: Whether systemd is the init system.
  returned: always
  type: bool
  sample: true
programs:
  description: Each of C(kubelet), C(crio), C(containerd), C(docker) and C(k3s).
  returned: always
  type: dict
  sample:
    kubelet:
      installed: true
      configured: systemd
      source: /var/lib/kubelet/config.yaml:12
      path: /var/lib/kubelet/config.yaml
      line: 12
      places: [{value: systemd, path: /var/lib/kubelet/config.yaml, line: 12}]
      problem: null
      in_force: systemd
      in_force_source: /sys/fs/cgroup/kubepods.slice
      cri_socket: unix:///run/containerd/containerd.sock
      runtime: containerd
      from_runtime: false
    containerd:
      installed: true
      configured: cgroupfs
      source: default (SystemdCgroup of handler runc is not set)
      path: null
      line: null
      places: []
      problem: null
      in_force: cgroupfs
      in_force_source: CRI Status, handler runc
      handler: runc
      handlers: {runc: cgroupfs, nvidia: systemd}
  contains:
    kubelet:
      description: One program. The others have the same keys.
      type: dict
      returned: always
      contains:
        installed:
          description: Whether its executable is there.
          type: bool
          returned: always
        configured:
          description: C(systemd) or C(cgroupfs), as it is configured, or by default. Null where that is not known.
          type: str
          returned: always
        source:
          description: What decides, as path:line, or C(default) with the reason.
          type: str
          returned: always
        path:
          description: The file that decides. Null for a default.
          type: str
          returned: always
        line:
          description: The line in that file.
          type: int
          returned: always
        places:
          description: Every place that says it, weakest first.
          type: list
          elements: dict
          returned: always
        problem:
          description: What is wrong with the configured value. Null where nothing is.
          type: str
          returned: always
        in_force:
          description: The driver that is used now. Null where nothing tells it.
          type: str
          returned: always
        in_force_source:
          description: What told it.
          type: str
          returned: always
        cri_socket:
          description: The runtime endpoint that kubelet is told. Of kubelet only.
          type: str
          returned: when kubelet is installed
        runtime:
          description: The runtime that kubelet speaks to. Of kubelet only.
          type: str
          returned: when kubelet is installed
        from_runtime:
          description: >-
            Whether kubelet takes the driver from the runtime and ignores its own setting (since 1.31, with a runtime
            that answers C(RuntimeConfig)). Null where that makes no difference. Of kubelet only.
          type: bool
          returned: when kubelet is installed
        handler:
          description: The handler whose driver containerd reports. Of containerd only.
          type: str
          returned: when containerd is installed
        handlers:
          description: The driver of each handler. Of containerd only.
          type: dict
          returned: when containerd is installed
        containerd:
          description: The driver that k3s tells its containerd. Of k3s only.
          type: str
          returned: when k3s has rendered its configuration
agree:
  description: Whether kubelet and the runtime that it speaks to use the same. Null where there is no kubelet yet, or
    one of them says nothing.
  returned: always
  type: bool
  sample: false
agreement:
  description: The same as a sentence, with the values and their sources.
  returned: always
  type: str
  sample: >-
    kubelet uses systemd (/var/lib/kubelet/config.yaml:12), containerd cgroupfs (CRI Status, handler runc).
value:
  description: The driver to use.
  returned: always
  type: str
  sample: systemd
why:
  description: Why that one.
  returned: always
  type: str
  sample: systemd is the init system and cgroup v2 wants a single manager.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.facts.containers import cgroups
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, **cgroups(Host()))


if __name__ == "__main__":
    main()
