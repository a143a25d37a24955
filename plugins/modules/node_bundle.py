#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gather a node's part of a support bundle."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_bundle
short_description: Gather a node's part of a support bundle, without its secrets
description:
  - Gathers, in one execution, the configuration of every layer (container runtimes, registries, NVIDIA container
    toolkit, CDI specs, kubelet, static pods, systemd drop-ins, kernel modules) and the newest MiB of each log that
    M(gpunode.ready.diagnose) would read, and keeps them on the controller as one tar.gz that only its user can read.
  - Private keys, tokens, passwords, credentials of kubeconfigs and registries, and credentials in addresses are taken
    out on the node, before anything leaves it. What the node keeps in its kubeconfigs, registry logins and tokens is
    looked for in every text, under whatever name it stands there; those files themselves are never gathered.
  - A node's part has at most 16 MiB of text. What was cut or could not be read is told.
  - Changes nothing on the node. M(gpunode.ready.support_bundle) makes one bundle of the parts.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  folder:
    description: The folder on the controller that the part is written to. It is named after the host.
    type: path
    required: true
  kernel:
    description: Whether the kernel's messages are gathered, from journald or, without a journal, from the ring buffer.
    type: bool
    default: true
  units:
    description: Units whose journal is gathered.
    type: list
    elements: str
    default: []
  path:
    description: Logs on the node, also packed by gzip.
    type: list
    elements: path
    default: []
    aliases: [paths]
  rotated:
    description: Whether what was rotated away from each of O(path) (C(.1), C(.2.gz)) is gathered as well.
    type: bool
    default: false
  since:
    description:
      - From when on the journal is gathered - V(boot), or a time as C(journalctl --since) takes it, such as V(-2h).
    type: str
    default: boot
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.support_bundle
  - module: gpunode.ready.diagnose
"""

EXAMPLES = r"""
- name: Gather what a support case needs of each node
  gpunode.ready.node_bundle:
    folder: /tmp/case-4711
    units: [kubelet, crio]
    path: [/var/log/syslog]
    rotated: true
    since: -2h
  register: part

- name: Say what was left out
  ansible.builtin.debug:
    msg: "{{ part.held | selectattr('cut') | list + part.unread }}"
"""

RETURN = r"""
part:
  description: The archive on the controller, mode 0600.
  returned: success
  type: str
  sample: /tmp/case-4711/gpu-1.tar.gz
held:
  description: What the part holds - the source, its name in the archive (empty where there was no text), its bytes, and
    what of it was cut.
  returned: success
  type: list
  elements: dict
  sample:
    - source: kernel
      file: logs/kernel
      bytes: 1048499
      cut: older lines (812733 bytes) are left out
unread:
  description: What could not be read, and why.
  returned: success
  type: list
  elements: dict
  sample: [{source: unit docker, reason: "Failed to search journal"}]
"""

import base64
import io

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.support_bundle import gather

ARGUMENTS = {
    "folder": {"type": "path", "required": True},
    "kernel": {"type": "bool", "default": True},
    "units": {"type": "list", "elements": "str", "default": []},
    "path": {"type": "list", "elements": "path", "default": [], "aliases": ["paths"]},
    "rotated": {"type": "bool", "default": False},
    "since": {"type": "str", "default": "boot"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    asked = module.params
    stream = io.BytesIO()
    held, unread = gather(
        Host(),
        stream,
        kernel=asked["kernel"],
        units=asked["units"],
        paths=asked["path"],
        rotated=asked["rotated"],
        since=asked["since"],
    )
    # the action plugin of the same name writes it on the controller, and hands on the rest
    module.exit_json(changed=False, held=held, unread=unread, archive=base64.b64encode(stream.getbuffer()).decode())


if __name__ == "__main__":
    main()
