# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts, per host, the modules that a run executed on the node, and writes them as JSON to $BENCH_EXECUTIONS."""

from __future__ import annotations

DOCUMENTATION = r"""
name: executions
type: aggregate
short_description: Count remote module executions
description:
  - Counts each result, or each item of a loop, of a task whose action runs a module on the node.
  - Actions that run on the controller alone do not count, nor does a C(node_check) that judged there what was looked at
    before. C(copy) and C(template) count twice, because they ask first.
"""

import collections
import json
import os

from ansible.plugins.callback import CallbackBase

ON_THE_CONTROLLER = {
    "add_host",
    "assert",
    "debug",
    "fail",
    "group_by",
    "import_playbook",
    "import_role",
    "import_tasks",
    "include_role",
    "include_tasks",
    "include_vars",
    "meta",
    "pause",
    "set_fact",
    "set_stats",
    "validate_argument_spec",
}
TWICE = {"copy", "template"}


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "executions"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.counts = collections.Counter()
        self.tasks = collections.Counter()

    def _count(self, result):
        task = result._task
        action = task.action.rpartition(".")[2]
        if action in ON_THE_CONTROLLER or task.delegate_to in ("localhost", "127.0.0.1"):
            return
        if action == "node_check" and "invocation" not in result._result:
            return  # no module ran: its action judged what the node's facts hold
        if task.loop and not result._result.get("_ansible_item_label") and "results" in result._result:
            return  # its items were counted one by one
        weight = 2 if action in TWICE else 1
        self.counts[result._host.name] += weight
        self.tasks[f"{task.get_name()} ({action})"] += weight

    v2_runner_on_ok = v2_runner_item_on_ok = _count

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._count(result)

    v2_runner_item_on_failed = _count

    def v2_playbook_on_stats(self, stats):
        changed = {host: stats.summarize(host)["changed"] for host in stats.processed}
        failed = {
            host: stats.summarize(host)["failures"] + stats.summarize(host)["unreachable"] for host in stats.processed
        }
        with open(os.environ["BENCH_EXECUTIONS"], "w", encoding="utf-8") as file:
            json.dump({"hosts": self.counts, "tasks": self.tasks, "changed": changed, "failed": failed}, file, indent=1)
