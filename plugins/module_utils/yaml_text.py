# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data as YAML that people read and every reader takes alike: the counterpart of ``machine_yaml``, which only reads.

Rules of this file: no I/O; block style; text that any YAML could mistake for something else is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/][-A-Za-z0-9/._]*")
_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def dumps(value: Mapping[str, Any]) -> str:
    """One document."""
    return "\n".join([*_lines(value), ""]) if value else "{}\n"


def dumps_all(documents: Iterable[Mapping[str, Any]]) -> str:
    """Several documents, each begun by ``---``."""
    return "".join(f"---\n{dumps(document)}" for document in documents)


def _lines(value: Any, indent: str = "") -> Iterator[str]:
    sequence = isinstance(value, list)
    for key, item in [(None, item) for item in value] if sequence else value.items():
        if isinstance(item, (Mapping, list)) and item:
            if sequence:
                first, *rest = _lines(item, f"{indent}  ")
                yield f"{indent}- {first.lstrip()}"
                yield from rest
            else:
                yield f"{indent}{_scalar(key)}:"
                yield from _lines(item, f"{indent}  ")
        else:
            yield f"{indent}- {_scalar(item)}" if sequence else f"{indent}{_scalar(key)}: {_scalar(item)}"


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (Mapping, list)):
        return "{}" if isinstance(value, Mapping) else "[]"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(_ESCAPES.get(letter, letter) for letter in text) + '"'
