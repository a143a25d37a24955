#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read logs and name the root cause."""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnose
short_description: Name the root cause that the logs of a GPU node or its cluster show
description:
  - Reads text, files, journald units, the kernel's messages, and logs and events handed over, and knows what programs
    print of 84 root causes, from a package's missing key to a pod that asks for two shares of one GPU. The catalogue is
    C(docs/diagnosis.md).
  - Returns findings, the root cause first and what follows from it after it, each with the lines it was seen in, how
    often, and its remedy. Findings of M(gpunode.ready.node_check) can be handed over, and are told together with those
    of the logs.
  - Says what was read, and what was not and why; where nothing known was found, it says so rather than guess.
  - The text may be of any kind - with prefixes of journald, syslog, CRI, klog or logfmt, as JSON, coloured, wrapped -
    and of any length.
  - What looks like a secret, and what the node keeps as one, is taken out of the lines that are told.
  - Changes nothing.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  text:
    description: Text to read, for example what somebody pasted into a report.
    type: str
  path:
    description: Files to read on the node, also packed by gzip.
    type: list
    elements: path
    default: []
    aliases: [paths]
  rotated:
    description: Whether what was rotated away from each of O(path) (C(.1), C(.2.gz)) is read as well, the oldest first.
    type: bool
    default: false
  units:
    description: Units whose journal is read.
    type: list
    elements: str
    default: []
  kernel:
    description: Whether the kernel's messages are read, from journald or, without a journal, from the ring buffer.
    type: bool
    default: false
  since:
    description:
      - From when on the journal is read - V(boot), or a time as C(journalctl --since) takes it, such as V(-2h) or
        V(2026-01-31 12:00).
    type: str
    default: boot
  logs:
    description: Texts from elsewhere, such as pods' logs and events, each with the name of where it is from.
    type: list
    elements: dict
    default: []
    suboptions:
      source:
        description: Where the text is from.
        type: str
        required: true
      text:
        description: The text.
        type: str
        required: true
  findings:
    description: Findings of M(gpunode.ready.node_check) on the same node, to be told together with those of the logs.
    type: list
    elements: dict
    default: []
  mute:
    description: Ids of findings that are known and accepted. They are left out.
    type: list
    elements: str
    default: []
  fail_on:
    description: The least severity at which the module fails. V(never) only reports.
    type: str
    choices: [fatal, degraded, never]
    default: never
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.node_check
"""

EXAMPLES = r"""
- name: Say why the device plugin does not start
  gpunode.ready.diagnose:
    path: /tmp/plugin.log

- name: Say what is wrong on the node since it booted
  gpunode.ready.diagnose:
    kernel: true
    units: [kubelet, crio, containerd, nvidia-persistenced, nvidia-fabricmanager]
  register: diagnosis

- name: Judge the node and read its logs, and tell both together
  gpunode.ready.diagnose:
    kernel: true
    units: [kubelet, crio]
    findings: "{{ verdict.findings }}"
    fail_on: fatal

- name: Diagnose what a pod printed
  gpunode.ready.diagnose:
    logs:
      - source: pod kube-system/nvidia-device-plugin-daemonset-abcde
        text: "{{ plugin_log.log }}"

- name: Say the root cause
  ansible.builtin.debug:
    msg: "{{ diagnosis.findings[0].cause }}"
  when: diagnosis.findings | length > 0
"""

RETURN = r"""
findings:
  description: What is wrong, from root cause to consequence. Empty where nothing known was found.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: The finding's stable name.
      type: str
      sample: plugin-without-nvidia-runtime
    layer:
      description: The layer it belongs to.
      type: str
      sample: plugin
    severity:
      description: How grave it is - C(fatal), C(degraded) or C(notice).
      type: str
      sample: fatal
    subject:
      description: Which program on which node said it.
      type: str
      sample: nvidia-device-plugin
    cause:
      description: One sentence with the values observed and expected.
      type: str
      sample: The plugin finds neither NVML nor Tegra in its container; expected NVML injected by the NVIDIA runtime.
    evidence:
      description: The lines it was seen in, and how often, first and last.
      type: list
      elements: dict
      sample: [{source: plugin.log, line: 2, text: Incompatible strategy detected auto}]
    remedy:
      description: What mends it, as a sentence, as commands, and as the role and tag that does it.
      type: dict
      sample:
        text: "Give the plugin's DaemonSet `runtimeClassName: nvidia`."
        commands: [kubectl get runtimeclass nvidia]
        role: null
        tag: null
    consequence_of:
      description: The id of the finding that explains this one, if another does.
      type: str
      sample: null
worst:
  description: The gravest severity found.
  returned: always
  type: str
  sample: fatal
read:
  description: What was read.
  returned: always
  type: list
  elements: str
  sample: [kernel, unit kubelet]
unread:
  description: What could not be read, and why.
  returned: always
  type: list
  elements: dict
  sample: [{source: /var/log/pods/x.log, reason: No such file or directory}]
msg:
  description: The findings in words, or that nothing known was found in what was read.
  returned: always
  type: str
  sample: "Nothing known found. Read: kernel, unit kubelet."
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.diagnose import Matcher, merged, nothing_found
from ansible_collections.gpunode.ready.plugins.module_utils.findings import SEVERITIES, from_dict, worst
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.log_sources import (
    journal_command,
    read_command,
    read_files,
    read_kernel,
    read_pieces,
)
from ansible_collections.gpunode.ready.plugins.module_utils.redaction import Redactor
from ansible_collections.gpunode.ready.plugins.module_utils.support_bundle import learn
from ansible_collections.gpunode.ready.plugins.module_utils.wording import summary, tell

ARGUMENTS = {
    "text": {"type": "str"},
    "path": {"type": "list", "elements": "path", "default": [], "aliases": ["paths"]},
    "rotated": {"type": "bool", "default": False},
    "units": {"type": "list", "elements": "str", "default": []},
    "kernel": {"type": "bool", "default": False},
    "since": {"type": "str", "default": "boot"},
    "logs": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"source": {"type": "str", "required": True}, "text": {"type": "str", "required": True}},
    },
    "findings": {"type": "list", "elements": "dict", "default": []},
    "mute": {"type": "list", "elements": "str", "default": []},
    "fail_on": {"type": "str", "choices": ["fatal", "degraded", "never"], "default": "never"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    asked = module.params
    if asked["text"] is None and not any(asked[name] for name in ("path", "units", "kernel", "logs", "findings")):
        module.fail_json(msg="nothing to read: give one of text, path, units, kernel, logs, findings.")
    try:
        others = [from_dict(plain) for plain in asked["findings"]]
    except (KeyError, TypeError) as error:
        module.fail_json(msg=f"findings: one of them is not as node_check returns it: {error}")

    matcher = Matcher()
    unread = []
    if asked["kernel"]:
        reason = read_kernel(matcher, asked["since"], read_command)
        unread += [{"source": "kernel", "reason": reason}] if reason else []
    for unit in asked["units"]:
        reason = read_command(matcher, f"unit {unit}", journal_command([unit], asked["since"], kernel=False))
        unread += [{"source": f"unit {unit}", "reason": reason}] if reason else []
    unread += read_files(matcher, asked["path"], asked["rotated"])
    pieces = [{"source": "text", "text": asked["text"]}] if asked["text"] is not None else []
    unread += read_pieces(matcher, pieces + asked["logs"])

    muted = set(asked["mute"])
    findings = [finding for finding in merged(matcher.findings(), others) if finding.id not in muted]
    if findings:  # lines of logs are told, and a log may hold what the node keeps secret
        redactor = Redactor()
        learn(Host(), redactor)
        findings = [finding.without_secrets(redactor.text) for finding in findings]
    gravest = worst(findings)
    failed = {item["source"] for item in unread}
    read = [source for source in matcher.sources if source not in failed]
    result = {
        "changed": False,
        "findings": [finding.as_dict() for finding in findings],
        "worst": gravest,
        "read": read,
        "unread": unread,
    }
    told = tell(findings) if findings else nothing_found(read, 0)
    if asked["fail_on"] != "never" and gravest in SEVERITIES[: SEVERITIES.index(asked["fail_on"]) + 1]:
        module.fail_json(msg=f"{summary(findings)}. Root causes first:\n{told}", **result)
    if unread and not read and not findings:
        module.fail_json(msg="; ".join(f"{item['source']}: {item['reason']}" for item in unread), **result)
    module.exit_json(msg=told, **result)


if __name__ == "__main__":
    main()
