# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs this play: the identity that the lock on a node carries."""

from __future__ import annotations

DOCUMENTATION = r"""
name: controller_run
author: The gpunode.ready maintainers (@gpunode)
version_added: 0.1.0
short_description: Name the run of Ansible that is going on, or tell whether a named one still is
description:
  - Without a term, names this run by user, controller, process and that process's start, as one string.
    It is the C(run_id) of M(gpunode.ready.run_lock).
  - With a term, tells whether the run of that name certainly is over. That is known only for runs of this controller.
options:
  _terms:
    description: The name of a run, as an earlier call without terms gave it.
    required: false
"""

EXAMPLES = r"""
- name: Hold the node
  gpunode.ready.run_lock:
    state: held
    run_id: "{{ lookup('gpunode.ready.controller_run') }}"

- name: Tell whether another run of this controller has ended
  ansible.builtin.debug:
    msg: "{{ lookup('gpunode.ready.controller_run', 'root@controller:4242:918273') }}"
"""

RETURN = r"""
_list:
  description:
    - Without a term, the name of this run, such as C(alice@controller:4242:918273).
    - With a term, C(ended), C(running), or C(unknown) for a run of another controller.
  type: list
  elements: str
"""

import getpass
import os
import socket

from ansible.plugins.lookup import LookupBase


def started_ticks(pid: int) -> str | None:
    """When a process started, in clock ticks since boot (field 22 of /proc/PID/stat); None where it is no more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[19].decode()
    except (OSError, IndexError):
        return None


def main_process() -> int:
    """The process that forked the workers: the eldest ancestor, or this one, that leads this process group.

    Ansible's workers are forked from the process that the user started, and stay in its session and program.
    """
    pid = os.getpid()
    while True:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                parent = int(file.read().rsplit(b")", 1)[1].split()[1])
            with open(f"/proc/{parent}/cmdline", "rb") as file:
                program = file.read().split(b"\0")
        except (OSError, IndexError, ValueError):
            return pid
        if not any(b"ansible" in os.path.basename(word) for word in program[:2]):
            return pid
        pid = parent


def this_run() -> str:
    pid = main_process()
    return f"{getpass.getuser()}@{socket.gethostname()}:{pid}:{started_ticks(pid) or 0}"


def state_of(run_id: str) -> str:
    """``ended``, ``running`` or ``unknown``."""
    owner, _colon, rest = run_id.partition(":")
    pid, _colon, ticks = rest.partition(":")
    if owner.rpartition("@")[2] != socket.gethostname() or not pid.isdigit() or ticks == "0":  # 0: no /proc to ask
        return "unknown"
    return "running" if started_ticks(int(pid)) == ticks else "ended"


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        return [state_of(str(term)) for term in terms] or [this_run()]
