# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a fleet as terminal table, as JSON and as one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpunode.ready.plugins.plugin_utils.report import report
from ansible_collections.gpunode.ready.plugins.plugin_utils.report_html import page
from ansible_collections.gpunode.ready.plugins.plugin_utils.report_table import table


def _report(name: str, answers: Any, generated: str, title: str) -> dict[str, Any]:
    if isinstance(answers, Mapping):
        answers = [{"host": host, "result": result} for host, result in answers.items()]
    if not isinstance(answers, (list, tuple)):
        raise AnsibleFilterError(
            f"{name}: expected a mapping of hosts to what gpunode.ready.node_check returned for them, or a list of "
            f"mappings with `host` and `result`; got {type(answers).__name__}."
        )
    now = generated or datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return report(answers, now, title)


def findings_table(answers: Any, generated: str = "", title: str = "") -> list[str]:
    return table(_report("findings_table", answers, generated, title))


def findings_json(answers: Any, generated: str = "", title: str = "") -> str:
    plain = _report("findings_json", answers, generated, title)
    return json.dumps(plain, indent=2, ensure_ascii=False, default=str) + "\n"


def findings_html(answers: Any, generated: str = "", title: str = "") -> str:
    return page(_report("findings_html", answers, generated, title))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "findings_table": findings_table,
            "findings_json": findings_json,
            "findings_html": findings_html,
        }
