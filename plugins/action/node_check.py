# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge on the controller what was looked at before; else have the module look, and remember what it saw.

To judge takes no node: a role that changed nothing is verified with no remote execution. See docs/decisions/0007.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gpunode.ready.plugins.module_utils.checks.states import parts_for
from ansible_collections.gpunode.ready.plugins.module_utils.facts.system import unit_name
from ansible_collections.gpunode.ready.plugins.module_utils.node import COLLECTORS
from ansible_collections.gpunode.ready.plugins.module_utils.verdict import ARGUMENTS, verdict


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _validated, params = self.validate_argument_spec(ARGUMENTS)
        look = params.pop("look")
        known = ((task_vars or {}).get("ansible_facts") or {}).get("gpunode") or {}
        parts = parts_for(params["layers"]) or list(COLLECTORS)
        services = (params["expect"] or {}).get("services") or []
        unseen = [part for part in parts if part not in known]
        if "units" in parts and "units" in known:
            unseen += [name for name in services if unit_name(name) not in known["units"]]
        if look or unseen:
            result.update(self._execute_module(task_vars=task_vars))
            if result.get("facts"):
                result["ansible_facts"] = {"gpunode": {**known, **result["facts"]}}
            return result

        started = time.monotonic()
        try:
            judged = verdict(known, **params)
        except ValueError as error:
            raise AnsibleActionFail(f"expect: {error}") from None
        result.update(changed=False, **judged.answer, seconds=round(time.monotonic() - started, 3))
        if judged.failure is not None:
            result.update(failed=True, msg=judged.failure)
        else:
            result["facts"] = {part: known[part] for part in ("schema", *parts)}
        return result
