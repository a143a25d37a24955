# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.gpunode.ready.plugins.module_utils.nvidia_repository import nvidia_repository

DOCUMENTATION = r"""
name: nvidia_repository
short_description: Where NVIDIA keeps the driver for a system, and which key signs it
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
description:
  - Tells the folder of NVIDIA's repositories that is for a system, the file of the key that signs it, and the key's
    fingerprint as far as it is published.
  - Of a system that NVIDIA has no repository for, or whose key is not known here, all of them are empty.
options:
  _input:
    description: What M(gpunode.ready.node_info) returned as C(gpunode.os).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show where this node's driver would come from
  ansible.builtin.debug:
    msg: "{{ (ansible_facts['gpunode']['os'] | gpunode.ready.nvidia_repository).folder }}"
"""

RETURN = r"""
_value:
  description: The folder with the architecture's in it, the key's file without C(.pub), and the key's fingerprints.
  type: dict
  sample:
    folder: ubuntu2604/x86_64
    key: 60DF8A40
    fingerprints: [14BAFBC7562AD710CA04E69905FBB6DA60DF8A40]
"""


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nvidia_repository": nvidia_repository}
