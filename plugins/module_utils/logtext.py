# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of logs as people and machines hand them over: prefixes off, escapes undone, what was wrapped joined again.

Rules of this file: text in, text out, no I/O; any text is taken, and nothing here raises. Every pattern is anchored and
bounded, so that a line costs time linear in its length.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import Any

LINE_LIMIT = 8192  # a longer line is looked at in pieces
PIECE_OVERLAP = 512

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]{0,16}[A-Za-z]|\][^\x07\x1b]{0,80}(?:\x07|\x1b\\)?|[@-Z\\-_])")
_ESCAPED_BREAK = re.compile(r"\\{1,8}n|#012")
_ESCAPED_TAB = re.compile(r"\\{1,8}t|#011")
_ESCAPED = re.compile(r"\\{1,8}(?=[\"'`_*()\[\]{}<>/.&-])")
_BOLD = re.compile(r"(?<!\*)\*\*(?!\*)")
_QUOTES = str.maketrans(
    {
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u2018": "'",
        "\u2019": "'",
        "\u201a": "'",
        "\u00b4": "'",
        "\u00a0": " ",
        "\ufeff": " ",
    }
)
_CONTINUED = re.compile(r"(?m)^[ \t]{0,80}NVRM: ")

_TIME = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_NAME = r"[\w.@/()-]{1,80}"
# One prefix each, tried in turn until none fits: what programs put before their message.
_PREFIXES = tuple(
    re.compile(pattern)
    for pattern in (
        # quoted in an issue, spinner of minikube, kmsg priority
        r"(?:[>|] {0,3}){1,4}|[/\\-] (?=[IWEF]\d{4} )|<\d{1,3}>",
        # CRI: time, stream, whole or partial
        r"(?P<time>\d{4}-\d\d-\d\dT" + _TIME + r"(?:Z|[+-]\d\d:?\d\d)?) (?:stdout|stderr) [FP] ",
        # journald and syslog, also with ISO times and other locales' months
        r"(?P<time>(?:[A-Z][a-z]{2} {1,2}\d{1,2}|\d{1,2}\u6708 {1,2}\d{1,2}) "
        + _TIME
        + r") (?P<host>"
        + _NAME
        + r") (?:(?:kern|"
        r"daemon|user|auth|syslog|local\d)\.\w{2,8} )?(?P<program>" + _NAME + r")(?:\[\d{1,10}\])?: ",
        r"(?P<time>\d{4}-\d\d-\d\dT"
        + _TIME
        + r"(?:Z|[+-]\d\d:?\d\d)?) (?P<host>"
        + _NAME
        + r") (?P<program>"
        + _NAME
        + r")"
        r"(?:\[\d{1,10}\])?: ",
        # dmesg
        r"\[ {0,8}(?P<time>\+?\d{1,8}\.\d{4,9})\] ",
        r"\[(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} {1,2}\d{1,2} " + _TIME + r" \d{4})\] ",
        # klog
        r"(?P<level>[IWEF])(?P<time>\d{4} " + _TIME + r") {1,8}\d{1,9} (?P<file>[\w.-]{1,60}\.go):\d{1,6}\] ",
        # Go's log package, Python's and DCGM's
        r"(?P<time>\d{4}[/-]\d\d[/-]\d\d[ T]" + _TIME + r"(?:Z|[+-]\d\d:?\d\d)?)[ \t]{1,4}",
        # logrus on a terminal
        r"(?:INFO|WARN|ERRO|FATA|DEBU)\[(?P<time>[^\]\n]{1,40})\] ",
    )
)
_LEVEL = re.compile(r"level=\"?(\w{4,7})\"?")
_JSON_TIMES = ("time", "ts", "timestamp", "@timestamp", "__REALTIME_TIMESTAMP", "lastTimestamp")
_JSON_TEXTS = ("MESSAGE", "log", "msg", "message", "error", "err", "reason", "note", "stderr")


@dataclass(frozen=True)
class Line:
    """One line: its message without prefixes, and what the prefixes said of time and speaker."""

    text: str
    time: str = ""
    host: str = ""
    program: str = ""
    level: str = ""


def cleaned(raw: str) -> str:
    """Escapes, colours, typographic quotes and HTML undone; breaks that were escaped are breaks again."""
    text = raw
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if "\\" in text:
        text = _ESCAPED.sub("", _ESCAPED_TAB.sub(" ", _ESCAPED_BREAK.sub("\n", text)))
    if "#01" in text:
        text = _ESCAPED_TAB.sub(" ", _ESCAPED_BREAK.sub("\n", text))
    if "&" in text and ";" in text:
        text = html.unescape(text)
    if not text.isascii():
        text = text.translate(_QUOTES)
    if "**" in text:
        text = _BOLD.sub("", text)
    return text.replace("\r", "").replace("\x00", "")


def _json_line(raw: str) -> Line | None:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    texts = [_as_text(record.get(key)) for key in _JSON_TEXTS]
    text = " ".join(text for text in texts if text)
    if not text:
        return None
    time = next((_as_text(record[key]) for key in _JSON_TIMES if record.get(key)), "")
    program = _as_text(record.get("SYSLOG_IDENTIFIER") or record.get("_COMM") or "")
    level = _as_text(record.get("level") or "")
    inner = parsed(text, nested=True)
    return Line(
        text=inner.text,
        time=readable_time(time) or inner.time,
        host=_as_text(record.get("_HOSTNAME") or "") or inner.host,
        program=program or inner.program,
        level=level.lower() or inner.level,
    )


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip("\n")
    if isinstance(value, list) and value and all(isinstance(item, int) and 0 <= item < 256 for item in value):
        return bytes(value).decode(errors="replace")  # journald's form of what is not UTF-8
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return ""


def readable_time(time: str) -> str:
    """Microseconds since 1970, as journald has them, as seconds; every other form as it is."""
    if time.isdigit() and len(time) == 16:
        return f"@{time[:10]}.{time[10:]}"
    return time[:40]


def parsed(raw: str, nested: bool = False) -> Line:
    """The line's message, with what its prefixes said."""
    if not nested:
        stripped = raw.strip()
        if stripped.startswith("{") and stripped.endswith("}"):
            line = _json_line(stripped)
            if line:
                return line
    text = cleaned(raw).strip()
    found: dict[str, str] = {}
    for _round in range(4):
        before = text
        for prefix in _PREFIXES:
            match = prefix.match(text)
            if match:
                for key, value in match.groupdict().items():
                    if value and (key != "time" or "time" not in found):
                        found[key] = value
                text = text[match.end() :]
        if text == before:
            break
        text = text.lstrip()
    if not found.get("level") and "level=" in text:
        match = _LEVEL.search(text[:400])
        if match:
            found["level"] = match.group(1)
    return Line(
        text=_CONTINUED.sub("", text) if "\n" in text else text,
        time=found.get("time", ""),
        host=found.get("host", ""),
        program=found.get("program", ""),
        level=found.get("level", "").lower(),
    )


def plainly(raw: str) -> str:
    """The line as literals are looked for in it: escapes undone, on one line; prefixes may stay."""
    text = raw.strip()
    if text.startswith("{") and text.endswith("}"):
        text = parsed(text).text
    elif "\\" in text or "&" in text or "\x1b" in text or "**" in text or "#01" in text or not text.isascii():
        text = cleaned(text)
    return text.replace("\n", " ").replace("\r", "")


def pieces(raw: str) -> list[str]:
    """A line as it is, or, where it is too long, in pieces that overlap."""
    if len(raw) <= LINE_LIMIT:
        return [raw]
    step = LINE_LIMIT - PIECE_OVERLAP
    return [raw[start : start + LINE_LIMIT] for start in range(0, len(raw) - PIECE_OVERLAP, step)]


def joined(first: str, following: list[str]) -> str:
    """A message and what follows it, as one text: a message that was wrapped, or printed in several lines, is whole."""
    rest = [text[6:] if text.startswith("NVRM: ") else text for text in following]
    return "\n".join([first, *rest])
