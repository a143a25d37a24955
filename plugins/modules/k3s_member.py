#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a node a member of a k3s cluster, or leave it as it was."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_member
short_description: Make a node a server or an agent of a k3s cluster, as one transaction
description:
  - Puts k3s' program, configuration, registries, token and systemd unit in place, starts it, and waits until the
    cluster has the node and containerd has the NVIDIA handler. A node where all of that is so already is left alone.
  - The program is verified by its sha256 and tried before it takes the place of the old one. Where k3s worked before
    and does not come up with what is new, the old program and files are back and started, and k3s' own words are told.
    Where it never worked, it is stopped, and the next run goes on from there.
  - A template of containerd's configuration that keeps pods or their network from starting is moved aside, its text
    kept under another name, and told with the reason.
  - The unit of a server that this collection has made on what is now an agent, or the other way round, is stopped and
    removed.
  - A node that belongs to another cluster is refused, before any change. Data is never removed.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  state:
    description:
      - V(absent) takes back what V(present) brought, on a node that has no data of a cluster. Others are refused.
    type: str
    choices: [present, absent]
    default: present
  member:
    description: What the node is to be. Needed for V(present).
    type: str
    choices: [server, agent]
  version:
    description: The release, such as V(v1.36.4+k3s1). Needed for V(present).
    type: str
  config:
    description: The text of C(/etc/rancher/k3s/config.yaml), as P(gpunode.ready.k3s_config#filter) writes it.
    type: str
  checksum:
    description: The program's sha256. Without it, its version alone says whether it is the one asked for.
    type: str
  binary:
    description:
      - A file on the node with the program, where the one that is there is another.
      - One below C(/var/lib/gpunode.ready/k3s) is taken away once k3s is up with it.
    type: path
  token:
    description: What the node joins by, as M(gpunode.ready.k3s_token) tells it. Without it, what is there stays.
    type: str
  registries:
    description: The text of C(/etc/rancher/k3s/registries.yaml). Without it, what is there stays.
    type: str
  templates:
    description: Whether templates that would not work are moved aside (V(mended)), or are yours (V(kept)).
    type: str
    choices: [mended, kept]
    default: mended
  nvidia:
    description:
      - With V(expected), k3s has the handler C(nvidia) wherever the NVIDIA runtime is on the node. It is started anew
        for that, since it looks for the runtime only then. Where k3s uses another container runtime than its own,
        nothing is expected.
    type: str
    choices: [expected, ignored]
    default: expected
  ca_hash:
    description: The hash of the cluster's CA, for one who joins. A node of another cluster is refused.
    type: str
  node_name:
    description: The node's name, where it is not its hostname.
    type: str
  flannel_backend:
    description: That of the servers, by which an agent's templates are judged. A server tells its own.
    type: str
  timeout_seconds:
    description: How long k3s may take to come up, and the cluster to have the node.
    type: int
    default: 300
extends_documentation_fragment: [gpunode.ready.attributes.writes]
attributes:
  diff_mode:
    description: Shows all but the token, the registries and the options that are secrets.
    support: partial
seealso:
  - module: gpunode.ready.k3s_info
  - module: gpunode.ready.k3s_token
"""

EXAMPLES = r"""
- name: The first server
  gpunode.ready.k3s_member:
    member: server
    version: v1.36.4+k3s1
    binary: /srv/files/k3s
    checksum: "{{ k3s_sha256 }}"
    config: "{{ {'version': 'v1.36.4+k3s1', 'servers': 3} | gpunode.ready.k3s_config }}"

- name: An agent
  gpunode.ready.k3s_member:
    member: agent
    version: v1.36.4+k3s1
    binary: /srv/files/k3s
    checksum: "{{ k3s_sha256 }}"
    token: "{{ credentials.agent_token }}"
    ca_hash: "{{ credentials.ca_hash }}"
    config: >-
      {{ {'member': 'agent', 'first': false, 'version': 'v1.36.4+k3s1', 'server_url': 'https://192.0.2.1:6443'}
         | gpunode.ready.k3s_config }}
"""

RETURN = r"""
steps:
  description: What was done, or in check mode would be, in order.
  returned: success
  type: list
  elements: str
  sample: ["program: v1.36.3+k3s1 -> v1.36.4+k3s1", "start k3s.service anew: what it reads has changed"]
state:
  description: The node's state afterwards, as M(gpunode.ready.k3s_info) tells it. In check mode, as it is.
  returned: success
  type: str
  sample: member
node_name:
  description: The node's name in the cluster.
  returned: success
  type: str
  sample: gpu-1
handlers:
  description: The runtime handlers that k3s has rendered.
  returned: success
  type: list
  elements: str
  sample: [nvidia, runc]
templates:
  description: Templates that were moved aside, or in check mode would be, each with C(path) and C(reasons).
  returned: success
  type: list
  elements: dict
  sample: []
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils import files
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host, run_command
from ansible_collections.gpunode.ready.plugins.module_utils.k3s_install import (
    Install,
    InstallError,
    Wanted,
    differences,
    plan,
    secrets_of,
    take_back,
)
from ansible_collections.gpunode.ready.plugins.module_utils.k3s_state import SYSTEM, lacking, look
from ansible_collections.gpunode.ready.plugins.module_utils.ownership import Ledger
from ansible_collections.gpunode.ready.plugins.module_utils.secrecy import hide
from ansible_collections.gpunode.ready.plugins.module_utils.service_unit import Unit, UnitError

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "member": {"type": "str", "choices": ["server", "agent"]},
    "version": {"type": "str"},
    "config": {"type": "str"},
    "checksum": {"type": "str"},
    "binary": {"type": "path"},
    "token": {"type": "str", "no_log": True},
    "registries": {"type": "str", "no_log": True},
    "templates": {"type": "str", "choices": ["mended", "kept"], "default": "mended"},
    "nvidia": {"type": "str", "choices": ["expected", "ignored"], "default": "expected"},
    "ca_hash": {"type": "str"},
    "node_name": {"type": "str"},
    "flannel_backend": {"type": "str"},
    "timeout_seconds": {"type": "int", "default": 300},
}
SYSTEMD_RUNS = "/run/systemd/system"
POLL_SECONDS = 0.5


def see(module: AnsibleModule) -> dict:
    given = module.params
    named = [given[name] or "" for name in ("node_name", "version", "flannel_backend")]
    return look(Host(), given["member"] or "server", *named)


def refuse_foreign(module: AnsibleModule, seen: dict) -> None:
    """Another cluster's node, or one that is something else in this one."""
    given = module.params
    if seen["role"] and seen["role"] != given["member"]:
        found, wanted = f"a k3s {seen['role']}", "an agent" if given["member"] == "agent" else "a server"
    elif seen["ca_hash"] and given["ca_hash"] and seen["ca_hash"] != given["ca_hash"]:
        found = f"in the cluster at {seen['server'] or 'its own address'}, whose CA is {seen['ca_hash']}"
        wanted = f"in the one whose CA is {given['ca_hash']}"
    else:
        return
    module.fail_json(
        msg=f"This node is {found}; expected {wanted}. Nothing was changed. Drain it, delete it in that cluster, stop "
        "k3s and move /var/lib/rancher/k3s away, if nothing there is needed any more; or correct the inventory."
    )


def wait_until_well(module: AnsibleModule, wanted: Wanted, deadline: float) -> dict:
    """Until the cluster has the node, and containerd the handler. Raises ``UnitError``."""
    while True:
        seen = see(module)
        reasons = lacking(seen, wanted.nvidia)
        if not reasons:
            return seen
        if time.monotonic() > deadline:
            raise UnitError(f"{wanted.unit} runs, but {'; '.join(reasons)}")
        time.sleep(POLL_SECONDS)


def present(module: AnsibleModule) -> None:
    given = module.params
    missing = [name for name in ("member", "version", "config") if not given[name]]
    if missing:
        module.fail_json(msg=f"state=present needs {', '.join(missing)}.")
    module.no_log_values.update(secrets_of(given["config"]))
    seen = see(module)
    refuse_foreign(module, seen)
    wanted = Wanted(
        member=given["member"],
        version=given["version"],
        config=given["config"],
        checksum=(given["checksum"] or "").lower(),
        binary=given["binary"] or "",
        token=given["token"],
        registries=given["registries"],
        mend_templates=given["templates"] == "mended",
        nvidia=given["nvidia"] == "expected",
    )
    todo = plan(wanted, seen, bool(Ledger("k3s").fact("pending")))
    moved = [item for item in seen["templates"] if item["path"] in todo.templates]
    answer = {
        "steps": todo.steps(wanted, seen),
        "templates": [{"path": item["path"], "reasons": item["reasons"]} for item in moved],
        "diff": differences(wanted, todo),
    }
    for item in moved:
        module.warn(
            f"{item['path']} {'would be' if module.check_mode else 'is'} moved aside, its text kept in "
            f"{item['path']}.gpunode-disabled: {'; '.join(item['reasons'])}."
        )
    told = {key: seen[key] for key in ("state", "node_name", "handlers")}
    if not todo.changed or module.check_mode:
        module.exit_json(changed=todo.changed, **answer, **told)
    if not os.path.isdir(SYSTEMD_RUNS):
        module.fail_json(msg="systemd does not run here, and k3s is run by it. Nothing was changed.")
    seen = carry_out(module, wanted, todo, worked=seen["unit"]["active"] == "active" and seen["state"] == "member")
    module.exit_json(changed=True, **answer, **{key: seen[key] for key in ("state", "node_name", "handlers")})


def carry_out(module: AnsibleModule, wanted: Wanted, todo, worked: bool) -> dict:
    """All of the plan. ``worked``: k3s was a member of its cluster before, so there is something to go back to."""
    timeout = float(module.params["timeout_seconds"])
    install, unit = Install(wanted, todo, run_command), Unit(wanted.unit)
    began, deadline = time.time(), time.monotonic() + timeout
    if todo.other_unit:
        remove_unit(todo.other_unit)
    try:
        install.write()
    except InstallError as error:
        module.fail_json(msg=str(error))
    try:
        if todo.texts or todo.enable:
            reload_units()
        if todo.enable:
            unit.enable()
        if todo.why_restart:
            unit.restart(timeout)
        seen = wait_until_well(module, wanted, deadline)
    except UnitError as error:
        words = hide(unit.words(began))
        if module.params["token"]:
            words = words.replace(module.params["token"], "<token>")
        after = go_back(install, unit, timeout) if worked else give_up(unit)
        module.fail_json(msg=f"k3s did not come up: {error}. It said:\n{words or 'nothing'}\n{after}")
    install.done()
    return seen


def remove_unit(name: str) -> None:
    """One of ours, of what the node was before. Raises ``UnitError`` or ``files.WriteError``."""
    run_command(["systemctl", "stop", name], 120.0)  # one that was never started is not
    Unit(name).disable()
    files.remove(f"{SYSTEM}/{name}")
    reload_units()


def reload_units() -> None:
    done = run_command(["systemctl", "daemon-reload"], 60.0)
    if not done.ok:
        raise UnitError(f"systemctl daemon-reload: {(done.err or done.out).strip()}")


def go_back(install: Install, unit: Unit, timeout: float) -> str:
    try:
        install.back()
        reload_units()
        unit.restart(timeout)
    except (UnitError, OSError, files.WriteError) as error:
        return (
            f"The program and the files from before are back, as far as that was possible, and k3s did not come up "
            f"with them either: {error}."
        )
    install.done()
    return "The program and the files from before are back, and k3s runs with them."


def give_up(unit: Unit) -> str:
    try:
        unit.stop()
    except UnitError as error:
        return f"It could not be stopped: {error}."
    return "It is stopped, and what was put in place stays: mend the cause, and the next run goes on from there."


def absent(module: AnsibleModule) -> None:
    seen = see(module)
    if seen["role"]:
        module.fail_json(
            msg=f"This node is a k3s {seen['role']} ({seen['state']}), and what a cluster holds is not taken away. "
            "Nothing was changed. Drain it, delete it in the cluster, stop k3s and move /var/lib/rancher/k3s away, if "
            "nothing there is needed any more; then run this again."
        )
    ledger = Ledger("k3s")
    unit = ledger.fact("unit")
    write = not module.check_mode
    stop = [f"stop and disable {unit}"] if unit and ledger.exists else []
    if stop and write and os.path.isdir(SYSTEMD_RUNS):
        for order in (["stop", unit], ["disable", unit]):
            run_command(["systemctl", *order], 120.0)  # one that was never started is neither
    steps = [*stop, *take_back(ledger, write)]
    if steps and write and os.path.isdir(SYSTEMD_RUNS):
        reload_units()
    module.exit_json(
        changed=bool(steps),
        steps=steps,
        templates=[],
        diff=[files.difference("k3s", "", "".join(f"{step}\n" for step in steps))],
        **{key: seen[key] for key in ("state", "node_name", "handlers")},
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        (present if module.params["state"] == "present" else absent)(module)
    except (files.WriteError, UnitError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
