# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take secrets out of what leaves a node: pods' logs, and all that goes into a support bundle.

Three things tell a secret: the name before it, its form (``secret_lines``), and that it was seen where secrets are kept
(``learn``).

Rules of this file: text in, text out, no I/O; any text is taken, nothing raises.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from .machine_yaml import YamlError, loads_all
from .secret_lines import (
    BARE,
    HARMLESS,
    KEY_BEGINS,
    KEY_ENDS,
    KEY_LINES,
    NAME,
    NAMED,
    QUOTED,
    SEPARATOR,
    decodings,
    gone,
    harmless,
    redact,
)
from .toml import TomlError
from .toml import loads as toml_loads

LEARNT = 2000  # values remembered

_SECRET_KIND = re.compile(r"^(?P<indent>\s{0,40})(?:- )?[\"']?kind[\"']?\s{0,4}:\s{0,4}[\"']?Secret(?:List)?\b", re.M)
_DATA = re.compile(r"^(?P<indent>\s{0,40})[\"']?(?:data|stringData)[\"']?\s{0,4}:\s{0,4}[{]?\s{0,4}$")
_ENTRY = re.compile(r"^(?P<indent>\s{1,60})(?P<keep>[\"']?[\w.-]{1,200}[\"']?\s{0,4}:\s{0,4})\S")


class Redactor:
    """Takes out what looks like a secret, and every value that it was told of or has learnt."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._forms: list[str] = []
        for value in known:
            self._remember(value)

    # -- what is known to be secret

    def learn(self, text: str, whole: bool = False) -> None:
        """Remember the values that a file keeps under names of secrets; ``whole``: the file is a secret itself."""
        if whole:
            for line in text.split("\n"):
                self._remember(line.strip())
                self._remember(line.strip().rpartition(":")[2])
            return
        for value in _structures(text):
            for secret in _secrets_in(value):
                self._remember(secret)
        for line in text.split("\n"):
            for pattern in (_LEARNT_QUOTED, _LEARNT_BARE, _LEARNT_LINE):
                for found in pattern.finditer(line):
                    if not harmless(found["name"], found["value"]):
                        self._remember(found["value"].strip())
            for found in _IN_ADDRESS.finditer(line):
                self._remember(found["value"])
                self._remember(unquote(found["value"]))

    def _remember(self, value: str) -> None:
        if not isinstance(value, str) or len(self._known) >= LEARNT:
            return
        words = value.split()
        if len(words) == 2 and words[0].lower() in ("basic", "bearer", "digest", "token"):
            self._remember(words[1])
            return
        if "\n" in value:
            for line in value.split("\n"):
                if len(line.strip()) >= 16:
                    self._remember(line.strip())
            return
        if value in self._known or not _worth(value):
            return
        self._known.add(value)
        plain = next(decodings(value), "") if re.fullmatch(r"[A-Za-z0-9+/_-]{8,}={0,2}", value) else ""
        if plain.isprintable() and ":" in plain:  # `auth` of a registry: user:password
            self._remember(plain)
            self._remember(plain.partition(":")[2])
        elif "PRIVATE KEY" in plain:
            self._remember(plain)
        self._forms = []

    def _without_known(self, text: str) -> str:
        if not self._forms:
            forms = set()
            for value in self._known:
                raw = value.encode(errors="surrogateescape")
                forms |= {value, quote(raw, safe=""), json.dumps(value)[1:-1], html.escape(value)}
                forms.add(base64.b64encode(raw).decode().rstrip("="))
            self._forms = sorted(forms, key=len, reverse=True)
        for form in self._forms:
            if form in text:
                text = text.replace(form, gone("secret"))
        return text

    # -- taking it out

    def text(self, text: str, cut: bool = False) -> str:
        """The text without what is secret in it. ``cut``: its beginning is missing, and may have begun a key."""
        if cut:
            end, begin = KEY_ENDS.search(text), KEY_BEGINS.search(text)
            if end and (not begin or begin.start() > end.start()) and text.count("\n", 0, end.start()) <= KEY_LINES:
                text = gone("private key") + text[end.end() :]
        documents = re.split(r"(?m)^(---[ \t]*\n)", self._without_known(text))
        return "".join(_document(part) for part in documents)

    def data(self, value: Any, name: str = "") -> Any:
        """Plain data without what is secret in it, by names of keys and by the texts themselves."""
        if isinstance(value, Mapping):
            # {"name": "X_PASSWORD", "value": "y"}: the name of the value stands beside it
            beside = str(value.get("name") or "") if "value" in value else ""
            whole = value.get("kind") == "Secret"
            return {
                self.text(str(key)): _emptied(item)
                if whole and key in ("data", "stringData")
                else self.data(item, beside if key == "value" and beside else str(key))
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.data(item, name) for item in value]
        if isinstance(value, str):
            if name and NAMED.search(name) and not harmless(name, value):
                return gone("secret")
            return self.text(value)
        return value


_LEARNT_QUOTED = re.compile(r"(?P<name>" + NAME + r")" + SEPARATOR + QUOTED, re.IGNORECASE)
_LEARNT_BARE = re.compile(
    r"(?P<name>" + NAME + r")" + SEPARATOR + r"(?P<value>(?![\"'\[{<])" + BARE + r")", re.IGNORECASE
)
_LEARNT_LINE = re.compile(
    r"^[ \t]{0,60}(?:export[ \t]{1,4})?[\w.-]{0,60}?(?P<name>"
    + NAME
    + r")"
    + SEPARATOR
    + r"(?P<value>[^\s\"'\[{<].*)$",
    re.IGNORECASE,
)
_IN_ADDRESS = re.compile(r"://[^\s\"'/@:]{0,200}:(?P<value>(?!\d{1,5}[/\s\"'])[^\s\"'@]{1,400})@")


_FOLDER = re.compile(r"/(?:bin|boot|data|dev|etc|home|lib|mnt|opt|proc|root|run|srv|sys|tmp|usr|var)(?:/|$)")


def _worth(value: str) -> bool:
    """Whether a value can be taken out wherever it stands: no path, and no word that other things are called by."""
    if not 8 <= len(value) <= 100_000 or _FOLDER.match(value) or HARMLESS.match(value):
        return False
    return not re.fullmatch(r"[A-Z]?[a-z]+(?:[._-][a-z]+)*|[\d.:/-]+", value)


def _structures(text: str) -> Iterator[Any]:
    """What a text says as JSON, YAML or TOML, whichever can be read."""
    try:
        yield json.loads(text)
        return
    except (ValueError, RecursionError):
        pass
    with contextlib.suppress(YamlError, RecursionError):
        yield from loads_all(text)
    with contextlib.suppress(TomlError, RecursionError):
        yield toml_loads(text)


def _secrets_in(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _secrets_in(item, str(value.get("name") or "") if key == "value" else str(key))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets_in(item, name)
    elif isinstance(value, str) and NAMED.search(name) and not harmless(name, value):
        yield value


def _emptied(value: Any) -> Any:
    return {str(key): gone("secret") for key in value} if isinstance(value, Mapping) else gone("secret")


def redact_text(text: str) -> str:
    """The text without what looks like a secret. A document with a Kubernetes Secret loses every value of its data."""
    return Redactor().text(text)


def _document(text: str) -> str:
    lines = text.split("\n")
    if "Secret" in text and _SECRET_KIND.search(text):
        lines = list(_without_data(lines))
    return "\n".join(redact(lines))


def _without_data(lines: Iterable[str]) -> Iterator[str]:
    """Every value below ``data:`` and ``stringData:`` removed, block texts too."""
    below: int | None = None
    entry: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if below is not None and line.strip() and indent <= below:
            below = entry = None
        if below is None:
            found = _DATA.match(line)
            if found:
                below = len(found.group("indent"))
            yield line
            continue
        if entry is not None and line.strip() and indent > entry:
            continue  # more of a value in several lines
        found = _ENTRY.match(line)
        if found:
            entry = indent
            ending = "," if line.rstrip().endswith(",") else ""
            yield f"{found.group('indent')}{found.group('keep')}{gone('secret')}{ending}"
        else:
            yield line
