#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a node once and judge it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_check
short_description: Judge a GPU node, and say what is wrong, where, why, and how to mend it
description:
  - Looks at the node as M(gpunode.ready.node_info) does, judges what it sees by the checks of this collection, and
    returns findings, the root cause first and its consequences after it.
  - Each finding carries the values observed and expected, the file and line where they were seen, and the remedy as a
    sentence, as commands and as the role that does it. All of them are listed in C(docs/diagnosis.md).
  - Fails when a finding is at least as grave as O(fail_on), with all findings in the message.
  - The state is asked of the system itself, never of what a role wrote there.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  layers:
    description:
      - The layers to judge. The default is all of them.
      - Only what these layers need is looked at, so one layer costs less than all.
    type: list
    elements: str
    default: []
    choices: [packaging, host, driver, nvml, toolkit, runtime, cdi, kubelet, kubeadm]
  expect:
    description:
      - What this node is expected to be, over the defaults. Values that are null mean the default.
      - C(gpu) (bool, default true) - whether it should have NVIDIA GPUs; C(gpu_count) (int) - how many, by default as
        many as the PCI bus shows.
      - C(swap) (C(disabled), C(untouched)); C(kernel_modules) (list); C(sysctls) (dict); C(debugfs) (bool);
        C(services) (list of units that must be enabled and active).
      - C(driver) (C(managed), C(preinstalled), C(none)); C(driver_branch) (V(580), by default any); C(driver_flavour)
        (C(auto), C(open), C(proprietary)); C(persistence) (bool).
      - C(runtime) (C(crio), C(containerd), C(docker), C(k3s), by default whichever is there); C(handler) (the runtime
        handler that injects GPUs, by default C(nvidia)); C(cgroup_driver) (C(auto), C(systemd), C(cgroupfs)); C(cdi)
        (bool); C(kubernetes) (C(kubeadm), C(k3s), C(none), by default whichever is there).
    type: dict
    default: {}
  mute:
    description: Ids of findings that are known and accepted on this node. They are left out.
    type: list
    elements: str
    default: []
  fail_on:
    description: The least severity at which the module fails. V(never) only reports.
    type: str
    choices: [fatal, degraded, never]
    default: fatal
  look:
    description:
      - Whether to look at the node now. With V(false), what M(gpunode.ready.node_info) or this module saw earlier in
        the play is judged on the controller, with no execution on the node; what was not looked at yet is looked at.
      - V(false) is for where nothing changed since. A look is remembered in C(ansible_facts['gpunode']).
    type: bool
    default: true
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.node_info
"""

EXAMPLES = r"""
- name: The node is what this inventory promises
  gpunode.ready.node_check:
    expect:
      gpu_count: 8
      driver_branch: "580"
      runtime: crio

- name: Judge swap, modules and sysctls only, and take warnings seriously
  gpunode.ready.node_check:
    layers: [host]
    fail_on: degraded

- name: Report without failing
  gpunode.ready.node_check:
    fail_on: never
    mute: [persistence-off]
  register: verdict

- name: The host is as promised, looked at again only where this play changed it
  gpunode.ready.node_check:
    layers: [host]
    look: "{{ swap is changed }}"

- name: Say the root cause
  ansible.builtin.debug:
    msg: "{{ verdict.findings[0].cause }}"
  when: verdict.findings | length > 0
"""

RETURN = r"""
findings:
  description: What is wrong, from root cause to consequence. Empty when nothing is.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: The finding's stable name.
      type: str
      sample: swap-on
    layer:
      description: The layer it belongs to.
      type: str
      sample: host
    severity:
      description: How grave it is - C(fatal), C(degraded) or C(notice).
      type: str
      sample: fatal
    subject:
      description: What it is about.
      type: str
      sample: /swap.img
    cause:
      description: One sentence with the values observed and expected.
      type: str
      sample: Swap is on (/swap.img, a file of 2.0 GiB); expected none, because kubelet refuses to start while it is.
    evidence:
      description: Where it was seen.
      type: list
      elements: dict
      sample: [{source: /proc/swaps, line: null, text: /swap.img file 2147479552 bytes}]
    remedy:
      description: What mends it, as a sentence, as commands, and as the role and tag that does it.
      type: dict
      sample:
        text: Turn swap off now and keep it off.
        commands: [swapoff -a]
        role: host_prep
        tag: host_prep_swap
    consequence_of:
      description: The id of the finding that explains this one, if another does.
      type: str
      sample: null
states:
  description: The state of each layer that was judged - C(ready), C(degraded), C(failed), C(unknown), C(unused).
  returned: always
  type: dict
  sample: {packaging: ready, host: failed, driver: ready, nvml: ready, toolkit: ready, runtime: ready, cdi: ready}
worst:
  description: The gravest severity found.
  returned: always
  type: str
  sample: fatal
facts:
  description: What was looked at, as M(gpunode.ready.node_info) returns it. Left out of a failure, to keep it readable.
  returned: when the module does not fail
  type: dict
  sample: {schema: 1, swap: {live: []}}
expect:
  description: What the node was held against, defaults included.
  returned: always
  type: dict
  sample: {gpu: true, swap: disabled, handler: nvidia}
seconds:
  description: How long the look and the judgement took on the node.
  returned: always
  type: float
  sample: 0.81
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.checks.states import parts_for
from ansible_collections.gpunode.ready.plugins.module_utils.expect import expectations
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.node import collect
from ansible_collections.gpunode.ready.plugins.module_utils.verdict import ARGUMENTS, verdict


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = {name: value for name, value in module.params.items() if name != "look"}
    started = time.monotonic()
    try:
        expect = expectations(params["expect"])
    except ValueError as error:
        module.fail_json(msg=f"expect: {error}")

    facts = collect(Host(), parts_for(params["layers"]), units=expect["services"])
    judged = verdict(facts, **params)

    answer = {"changed": False, **judged.answer, "seconds": round(time.monotonic() - started, 3)}
    if judged.failure is not None:
        module.fail_json(msg=judged.failure, **answer)
    module.exit_json(facts=facts, **answer)


if __name__ == "__main__":
    main()
