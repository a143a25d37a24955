# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what the module gathered on the node to the controller; the rest of its answer is small enough to remember."""

from __future__ import annotations

import base64
import binascii
import os
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gpunode.ready.plugins.plugin_utils.bundle import replaced


class ActionModule(ActionBase):
    _supports_check_mode = True  # the part is of this run, on the controller: the node is not changed by it
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        folder = self._task.args.get("folder")
        if not folder:
            raise AnsibleActionFail("folder: where the node's part is to be written on the controller")
        result.update(self._execute_module(task_vars=task_vars))
        archive = result.pop("archive", None)
        if archive is None:
            return result
        host = str((task_vars or {}).get("inventory_hostname") or "node")
        # no name of a host is a path
        path = os.path.join(os.path.expanduser(str(folder)), f"{quote(host, safe='')}.tar.gz")
        try:
            data = base64.b64decode(archive, validate=True)
            with replaced(path) as stream:
                stream.write(data)
        except (binascii.Error, OSError) as error:
            result.update(failed=True, msg=f"{path} cannot be written: {error}")
            return result
        result["part"] = path
        return result
