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
  - Without a term, names this run by user, controller, process, that process's start and PID namespace, as one string.
    It is the C(run_id) of M(gpunode.ready.run_lock).
  - With a term, tells whether the run of that name certainly is over. That is known only for runs of this controller
    in the same PID namespace, and not where C(/proc) hides the processes of other users.
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
    msg: "{{ lookup('gpunode.ready.controller_run', 'root@controller:4242:918273:4026531836') }}"
"""

RETURN = r"""
_list:
  description:
    - Without a term, the name of this run, such as C(alice@controller:4242:918273:4026531836).
    - With a term, C(ended), C(running), or C(unknown) for one that cannot be judged from here.
  type: list
  elements: str
"""

import getpass
import multiprocessing
import os
import socket

from ansible.executor.process.worker import WorkerProcess
from ansible.plugins.lookup import LookupBase


def started_ticks(pid: int) -> str | None:
    """When a process started, in clock ticks since boot (field 22 of /proc/PID/stat); None where it is no more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[19].decode()
    except (OSError, IndexError):
        return None


def main_process() -> int:
    """The process that the user started. A worker of Ansible's is its child, however it was started and is called."""
    worker, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    return parent.pid if parent is not None and isinstance(worker, WorkerProcess) else os.getpid()


def namespace() -> str:
    """In which process IDs mean the same: containers of one controller may share its name, and have their own."""
    try:
        return "".join(character for character in os.readlink("/proc/self/ns/pid") if character.isdigit())
    except OSError:
        return "0"


def this_run() -> str:
    pid = main_process()
    return f"{getpass.getuser()}@{socket.gethostname()}:{pid}:{started_ticks(pid) or 0}:{namespace()}"


def state_of(run_id: str, ticks_of=started_ticks, send=os.kill) -> str:
    """``ended``, ``running`` or ``unknown``."""
    owner, pid, ticks, space = (*run_id.rsplit(":", 3), "", "", "")[:4]
    if (owner.rpartition("@")[2], space) != (socket.gethostname(), namespace()) or not pid.isdigit() or ticks == "0":
        return "unknown"  # 0: no /proc to ask
    found = ticks_of(int(pid))
    if found is not None:
        return "running" if found == ticks else "ended"
    try:  # where /proc hides what others run, there is a process without a start
        send(int(pid), 0)
    except ProcessLookupError:
        return "ended"
    except (OSError, OverflowError):
        return "unknown"
    return "unknown"


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        return [state_of(str(term)) for term in terms] or [this_run()]
