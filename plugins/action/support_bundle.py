# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make one support bundle on the controller, of what is there already: no node is asked."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.gpunode.ready.plugins.plugin_utils.bundle import replaced, write

ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "answers": {"type": "dict", "required": True},
    "parts": {"type": "dict", "default": {}},
    "cluster": {"type": "dict", "default": {}},
    "generated": {"type": "str", "default": ""},
    "title": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):
    _supports_check_mode = True  # the bundle is of this run, on the controller
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _validated, params = self.validate_argument_spec(ARGUMENTS)
        path = os.path.abspath(os.path.expanduser(params["path"]))
        generated = params["generated"] or datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            with replaced(path) as stream:
                manifest = write(
                    stream, params["answers"], params["parts"], params["cluster"], generated, params["title"]
                )
        except OSError as error:
            result.update(failed=True, msg=f"{path} cannot be written: {error.strerror or error}")
            return result
        # the controller keeps a record of its run: nothing that is managed was changed
        result.update(changed=False, path=path, bytes=os.path.getsize(path), manifest=manifest)
        return result
