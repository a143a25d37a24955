# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Export metrics on the controller, and say how far it is: a module could not, for it is heard only when it ends."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible.plugins.action import ActionBase
from ansible_collections.gpunode.ready.plugins.module_utils.prometheus_export import ARGUMENTS, ExportError

# What needs the libraries is imported where it is used: Ansible reads this file before it forks.


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _validated, params = self.validate_argument_spec(ARGUMENTS, mutually_exclusive=[["token", "username"]])
        missing = lacking_libraries(params["plots"])
        if missing:
            result.update(failed=True, msg=missing)
            return result

        from ansible_collections.gpunode.ready.plugins.plugin_utils.exporter import answer

        try:
            result.update(answer(params, self._task.check_mode, self._say))
        except ExportError as error:
            result.update(failed=True, msg=str(error))
        return result

    def _say(self, text: str) -> None:
        self._display.display(f"prometheus_export: {text}")


def lacking_libraries(plots: str) -> str:
    """The libraries that are not there, in words; empty where all are."""
    from ansible_collections.gpunode.ready.plugins.plugin_utils import export_table, prometheus_client

    found = {"requests": prometheus_client.MISSING, "pyarrow": export_table.MISSING}
    if plots != "none":
        from ansible_collections.gpunode.ready.plugins.plugin_utils import export_plots

        found["matplotlib"] = export_plots.MISSING
    lacking = [name for name, error in found.items() if error is not None]
    if not lacking:
        return ""
    why = "; ".join(f"{name}: {found[name]}" for name in lacking)
    spare = " Without matplotlib it works with plots set to none." if lacking == ["matplotlib"] else ""
    return (
        f"{missing_required_lib(', '.join(lacking))}. The export runs beside Ansible itself: pip install"
        f" {' '.join(lacking)} (pipx inject ansible-core {' '.join(lacking)}).{spare} ({why})"
    )
