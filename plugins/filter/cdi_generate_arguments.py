# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: cdi_generate_arguments
short_description: The arguments of nvidia-ctk cdi generate
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
description:
  - Turns the options of M(gpunode.ready.cdi_spec) into the arguments that module hands to C(nvidia-ctk cdi generate).
  - With it, what runs at boot is rendered from the very options that the module converges to.
options:
  _input:
    description: The options that say how to generate, named as in M(gpunode.ready.cdi_spec).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what a refresh would run
  ansible.builtin.debug:
    msg: "nvidia-ctk cdi generate {{ {'mode': 'nvml'} | gpunode.ready.cdi_generate_arguments | join(' ') }}"
"""

RETURN = r"""
_value:
  description: The arguments, without the output.
  type: list
  elements: str
  sample: [--mode=nvml]
"""

from ansible_collections.gpunode.ready.plugins.module_utils.cdi import generate_arguments


class FilterModule:
    def filters(self):
        return {"cdi_generate_arguments": generate_arguments}
