# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpunode.ready.plugins.plugin_utils import inventory

DOCUMENTATION = r"""
name: inventory_problems
short_description: What is wrong with a host's variables, all of it at once
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
description:
  - Judges a host's variables by the argument specs of all roles of this collection, on the controller and before the
    first role begins. Finds wrong types, unknown choices, values out of range, values with line ends or quotes where
    they would break a file, and variables that look like this collection's and are read by nobody.
  - The name of a variable that nobody reads comes with the nearest valid one.
options:
  _input:
    description: The names of all variables of the host, as P(ansible.builtin.varnames#lookup) gives them.
    type: list
    elements: str
    required: true
  values:
    description: The values of those that have a spec, by name. See P(gpunode.ready.inventory_known#filter).
    type: dict
    required: true
  ignored:
    description: Names, or patterns of names such as V(docker_compose_*), that are meant for something else.
    type: list
    elements: str
    default: []
  sources:
    description: The inventory's files and folders, in which a variable's place is looked for.
    type: list
    elements: str
    default: []
  folders:
    description: Folders with C(group_vars) and C(host_vars), in which a variable's place is looked for.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what is wrong with this host's variables
  ansible.builtin.debug:
    msg: "{{ names | gpunode.ready.inventory_problems(dict(known | zip(query('ansible.builtin.vars', *known)))) }}"
  vars:
    names: "{{ query('ansible.builtin.varnames', '.+') }}"
    known: "{{ names | gpunode.ready.inventory_known }}"
"""

RETURN = r"""
_value:
  description: The problems, each with C(id), C(what), C(where) and C(mend).
  type: list
  elements: dict
  sample:
    - id: unknown-variable
      what: gpunode_runtme is set, but nothing reads a variable of that name.
      where: /home/ada/site/inventory/group_vars/all.yml:3
      mend: Did you mean gpunode_runtime?
"""

ROLES = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "roles")


def inventory_known(names: Any) -> list[str]:
    """Those of ``names`` that a role of this collection has a spec for."""
    known = inventory.known_options(inventory.load_specs(ROLES))
    return sorted(set(names) & set(known))


def inventory_problems(
    names: Any, values: Any, ignored: Any = (), sources: Any = (), folders: Any = ()
) -> list[dict[str, str]]:
    if not isinstance(values, dict):
        raise AnsibleFilterError(f"inventory_problems: expected a mapping of values, got {type(values).__name__}.")
    specs = inventory.load_specs(ROLES)
    if not specs:
        raise AnsibleFilterError(f"inventory_problems: no argument specs below {ROLES}: is the collection whole?")
    return inventory.inventory_problems(names, values, specs, ignored, sources, [item for item in folders if item])


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"inventory_problems": inventory_problems, "inventory_known": inventory_known}
