# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep other people's secrets out of what is told: a user's file that is shown, a line that is quoted, an address.

It goes by names and by form, so it can miss what is called otherwise; our own secrets are never in such texts at all.
The table of both is ``secret_lines``, imported only where a text holds one of its words: most that modules tell hold
none, and its patterns cost milliseconds, in every execution anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "<secret removed>"

# What a text must hold, in lower case, for any rule of the table to be tried on it.
WORDS = re.compile(
    r"pass|secret|token|key|auth|cred|cookie|bearer|basic|digest|eyj|k10|nvapi-|gh[pousr]_|github_pat|glpat-|hf_"
    r"|xox|sk-|akia|asia|\$|@|login|curl|[a-z0-9+/_-]{48}|(?<![\w./-])[a-z0-9]{6}\.[a-z0-9]{16}(?![\w.-])"
)


def hide(text: str) -> str:
    """The text without what looks like a secret in it, and without who speaks to an address."""
    if not WORDS.search(text.lower()):
        return text
    from .secret_lines import redact

    return "\n".join(redact(text.split("\n")))


def shown(name: str, value: Any) -> str:
    """A value as JSON, for a sentence about what is called ``name`` in a file; without what is secret in it."""
    text = json.dumps(value, default=str)
    if WORDS.search(name.lower()):
        from .secret_lines import NAMED, harmless

        plain = value if isinstance(value, str) else text
        if NAMED.search(name) and (isinstance(value, (Mapping, list)) or not harmless(name, plain, quoted=True)):
            return json.dumps(HIDDEN)
    return hide(text)


def passwords(address: str) -> list[str]:
    """The password in an address; none where there is none."""
    return re.findall(r"://[^/@\s:]*:([^/@\s]+)@", address)
