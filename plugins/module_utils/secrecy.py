# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep other people's secrets out of what is told: a user's file that is shown, a line that is quoted, an address.

It goes by names and by form, so it can miss what is called otherwise; our own secrets are never in such texts at all.
"""

from __future__ import annotations

import re

HIDDEN = "********"

# A name that ends in one of these words, as TOML, JSON, YAML, units and mount options set it, and its value.
_SET = re.compile(
    r"(?P<name>(?:passw(?:or)?d|secret|token|credentials?|api[_-]?key|(?<![\w-])auth)[\"']?[ \t]*[=:][ \t]*)"
    r"(?P<value>\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|(?!(?:true|false|null)\b)[^\s,;\"'\[{][^\s,;\"']*)",
    re.IGNORECASE,
)
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s\"']+(?=@)")


def hide(text: str) -> str:
    """The text without the values of what is named like a secret, and without the users and passwords of addresses."""
    return _USER_IN_ADDRESS.sub(HIDDEN, _SET.sub(_without_value, text))


def passwords(address: str) -> list[str]:
    """The password in an address; none where there is none."""
    return re.findall(r"://[^/@\s:]*:([^/@\s]+)@", address)


def _without_value(found: re.Match[str]) -> str:
    quote = found["value"][0] if found["value"][0] in "\"'" else ""
    return f"{found['name']}{quote}{HIDDEN}{quote}"
