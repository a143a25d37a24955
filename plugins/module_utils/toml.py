# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read TOML 1.0: text in, plain Python out. Nodes may run Python 3.9, which brings no reader of its own.

Rules of this file: no I/O; no text raises anything but ``TomlError``, which names the line. ``loads`` answers with the
values, ``parse`` also with the line of every key, so that a check can say where a value comes from.
Beyond TOML 1.0: a byte order mark is skipped. Short of it: integers are 64 bits wide, values nest at most 100 deep.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, Union

NESTING_LIMIT = 100

KeyPath = tuple[Union[str, int], ...]  # int where an array is entered


class TomlError(ValueError):
    """What is wrong with a text, and where: ``problem``, ``line`` and ``column`` (both from 1)."""

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {problem}")
        self.problem = problem
        self.line = line
        self.column = column


@dataclass(frozen=True)
class Document:
    """The values of a text, and the line of every key and table header by its path."""

    data: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line(self, *path: str | int) -> int | None:
        """The line that sets what stands at ``path``; of a table that others' headers imply, the first of those."""
        exact = self.lines.get(path)
        if exact is not None:
            return exact
        return min((line for key, line in self.lines.items() if key[: len(path)] == path), default=None)


def loads(text: str) -> dict[str, Any]:
    """The values of a TOML text. Raises ``TomlError``."""
    return parse(text).data


def parse(text: str) -> Document:
    """The values of a TOML text and the lines they stand on. Raises ``TomlError``."""
    return _Reader(text).document()


# What a table is, which settles whether it may still be added to.
_IMPLIED, _HEADED, _DOTTED, _INLINE = "implied", "headed", "dotted", "inline"

_BLANKS = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_COMMENT = re.compile(r"#[^\n]*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PLAIN_BASIC = re.compile(r'[^"\\\x00-\x08\x0a-\x1f\x7f]*')
_PLAIN_BASIC_LINES = re.compile(r'[^"\\\x00-\x08\x0b-\x1f\x7f]*')
_FOLD = re.compile(r"\\[ \t]*\n[ \t\n]*")
_WORD = re.compile(r"[A-Za-z0-9_.+-]+")
_DECIMAL = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)")
_RADIX = re.compile(r"0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*")
_FLOAT = re.compile(
    r"[+-]?(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?|[+-]?(?:inf|nan)"
)
_TIME = r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
_LOCAL_TIME = re.compile(_TIME)
_DATE = re.compile(rf"([0-9]{{4}})-([0-9]{{2}})-([0-9]{{2}})(?:[Tt ]{_TIME}([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})?)?")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


class _Reader:
    """One pass over one text. ``here`` is the offset of the next character."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.here = 1 if self.text.startswith("\ufeff") else 0
        self.root: dict[str, Any] = {}
        self.kinds: dict[int, str] = {id(self.root): _HEADED}  # of every table, by identity
        self.table_arrays: set[int] = set()  # the arrays that [[headers]] made, by identity
        self.lines: dict[KeyPath, int] = {}
        self.line_number = 1  # of the offset ``counted``: lines are counted as the reading goes
        self.counted = 0

    def document(self) -> Document:
        table = self.root
        path: KeyPath = ()
        while self.here < len(self.text):
            self.blanks()
            if self.text.startswith("[", self.here):
                table, path = self.header()
            elif self.here < len(self.text) and self.text[self.here] not in "\n#":
                self.assignment(table, path)
            self.end_of_line()
        return Document(self.root, self.lines)

    # Where we are

    def line(self) -> int:
        """The line of ``here``, which never moves back past what was counted."""
        if self.here > self.counted:
            self.line_number += self.text.count("\n", self.counted, self.here)
            self.counted = self.here
        return self.line_number

    def error(self, problem: str, at: int | None = None) -> TomlError:
        at = self.here if at is None else at
        line = self.text.count("\n", 0, at) + 1
        return TomlError(problem, line, at - self.text.rfind("\n", 0, at))

    def next(self) -> str:
        """The next character, named so that a message can show it."""
        if self.here >= len(self.text):
            return "the end of the text"
        character = self.text[self.here]
        return "the end of the line" if character == "\n" else repr(character)

    def past(self, pattern: re.Pattern[str]) -> int:
        """Where the characters of a kind that stand here end; here itself where there are none."""
        found = pattern.match(self.text, self.here)
        return found.end() if found else self.here

    def blanks(self) -> None:
        self.here = self.past(_BLANKS)

    def comment(self) -> None:
        found = _COMMENT.match(self.text, self.here)
        if found:
            bad = _CONTROL.search(found.group())
            if bad:
                raise self.error(f"control character {bad.group()!r} in a comment", self.here + bad.start())
            self.here = found.end()

    def end_of_line(self) -> None:
        self.blanks()
        self.comment()
        if self.here < len(self.text):
            if self.text[self.here] != "\n":
                raise self.error(f"expected the end of the line, found {self.next()}")
            self.here += 1

    def blank_lines(self) -> None:
        """Past blanks, comments and line ends, as they may stand inside an array."""
        while True:
            self.blanks()
            self.comment()
            if not self.text.startswith("\n", self.here):
                return
            self.here += 1

    # Tables

    def header(self) -> tuple[dict[str, Any], KeyPath]:
        start, line = self.here, self.line()
        many = self.text.startswith("[[", self.here)
        self.here += 2 if many else 1
        key = self.key()
        closing = "]]" if many else "]"
        if not self.text.startswith(closing, self.here):
            raise self.error(f"expected {closing!r} to close the table header, found {self.next()}")
        self.here += len(closing)

        table = self.root
        path: KeyPath = ()
        for part in key[:-1]:
            table, path = self.enter(table, path, part, start)
        name, path = key[-1], (*path, key[-1])
        there: Any = table.get(name)
        if many:
            if name not in table:
                there = table[name] = []
                self.table_arrays.add(id(there))
            elif id(there) not in self.table_arrays:
                raise self.error(f"{_dotted(key)} is already defined, and not as an array of tables", start)
            path = (*path, len(there))
            there.append({})
            there = there[-1]
        elif name not in table:
            there = table[name] = {}
        elif self.kinds.get(id(there)) != _IMPLIED:
            raise self.error(f"{_dotted(key)} is defined twice{self.first_line(path)}", start)
        self.kinds[id(there)] = _HEADED
        self.lines[path] = line
        return there, path

    def enter(self, table: dict[str, Any], path: KeyPath, part: str, start: int) -> tuple[dict[str, Any], KeyPath]:
        """The table named ``part`` on the way to the one that a header names; made where there is none."""
        path = (*path, part)
        if part not in table:
            table[part] = {}
            self.kinds[id(table[part])] = _IMPLIED
        there = table[part]
        if id(there) in self.table_arrays:
            path = (*path, len(there) - 1)
            there = there[-1]
        if self.kinds.get(id(there)) in (None, _INLINE):
            raise self.error(f"{_dotted(path)} is not a table that can be added to{self.first_line(path)}", start)
        return there, path

    def first_line(self, path: KeyPath) -> str:
        line = self.lines.get(path)
        return "" if line is None else f" (first on line {line})"

    def assignment(self, table: dict[str, Any], path: KeyPath, depth: int = 0) -> None:
        start, line = self.here, self.line()
        key = self.key()
        if not self.text.startswith("=", self.here):
            raise self.error(f"expected '=' after the key {_dotted(key)}, found {self.next()}")
        self.here += 1
        self.blanks()

        for part in key[:-1]:
            path = (*path, part)
            if part not in table:
                table[part] = {}
                self.lines[path] = line
            elif self.kinds.get(id(table[part])) not in (_IMPLIED, _DOTTED):
                raise self.error(f"{_dotted(path)} is already defined{self.first_line(path)}", start)
            table = table[part]
            self.kinds[id(table)] = _DOTTED
        path = (*path, key[-1])
        if key[-1] in table:
            raise self.error(f"{_dotted(path)} is defined twice{self.first_line(path)}", start)
        self.lines[path] = line
        table[key[-1]] = self.value(path, depth)

    def key(self) -> list[str]:
        parts = []
        while True:
            self.blanks()
            found = _BARE_KEY.match(self.text, self.here)
            if found:
                parts.append(found.group())
                self.here = found.end()
            elif self.text.startswith(('"', "'"), self.here):
                parts.append(self.string(lines=False))
            else:
                raise self.error(f"expected a key, found {self.next()}")
            self.blanks()
            if not self.text.startswith(".", self.here):
                return parts
            self.here += 1

    # Values

    def value(self, path: KeyPath, depth: int) -> Any:
        if depth > NESTING_LIMIT:
            raise self.error(f"values nest more than {NESTING_LIMIT} deep")
        start = self.text[self.here : self.here + 1]
        if start in ('"', "'"):
            return self.string(lines=True)
        if start == "[":
            return self.array(path, depth)
        if start == "{":
            return self.inline_table(path, depth)
        found = _DATE.match(self.text, self.here)
        if found:
            return self.checked(found, _date)
        found = _LOCAL_TIME.match(self.text, self.here)
        if found:
            return self.checked(found, lambda parts: _time(*parts))
        return self.word()

    def checked(self, found: re.Match[str], make: Callable[[tuple[Any, ...]], Any]) -> Any:
        try:
            made = make(found.groups())
        except (ValueError, OverflowError) as error:
            raise self.error(f"{found.group()} is no date or time: {error}") from None
        self.here = found.end()
        return made

    def word(self) -> Any:
        found = _WORD.match(self.text, self.here)
        word = found.group() if found else ""
        if not found:
            raise self.error(f"expected a value, found {self.next()}")
        if word in ("true", "false"):
            made: Any = word == "true"
        elif _DECIMAL.fullmatch(word):
            made = self.integer(word, 10)
        elif _RADIX.fullmatch(word):
            made = self.integer(word, 0)
        elif _FLOAT.fullmatch(word):
            made = float(word.replace("_", ""))
        else:
            raise self.error(f"{word} is no value (text must stand in quotes)")
        self.here = found.end()
        return made

    def integer(self, word: str, base: int) -> int:
        digits = word.replace("_", "")
        if len(digits) <= 70:
            number = int(digits, base)
            if -(2**63) <= number < 2**63:
                return number
        raise self.error("this integer does not fit in 64 bits")

    def array(self, path: KeyPath, depth: int) -> list[Any]:
        opened = self.here
        self.here += 1
        values: list[Any] = []
        while True:
            self.blank_lines()
            if self.text.startswith("]", self.here):
                self.here += 1
                return values
            if self.here >= len(self.text):
                raise self.error("this array is never closed", opened)
            item = (*path, len(values))
            self.lines[item] = self.line()
            values.append(self.value(item, depth + 1))
            self.blank_lines()
            if self.text.startswith(",", self.here):
                self.here += 1
            elif self.here >= len(self.text):
                raise self.error("this array is never closed", opened)
            elif not self.text.startswith("]", self.here):
                raise self.error(f"expected ',' or ']' in the array, found {self.next()}")

    def inline_table(self, path: KeyPath, depth: int) -> dict[str, Any]:
        self.here += 1
        table: dict[str, Any] = {}
        self.blanks()
        if self.text.startswith("}", self.here):
            self.here += 1
        else:
            while True:
                self.assignment(table, path, depth + 1)
                self.blanks()
                if self.text.startswith("}", self.here):
                    self.here += 1
                    break
                if not self.text.startswith(",", self.here):
                    raise self.error(f"expected ',' or '}}' in the inline table, found {self.next()}")
                self.here += 1
        self.kinds[id(table)] = _INLINE
        return table

    # Strings

    def string(self, lines: bool) -> str:
        """The string that begins here; over several lines only where ``lines`` allows it."""
        quote = self.text[self.here]
        if lines and self.text.startswith(quote * 3, self.here):
            return self.long_string(quote)
        opened = self.here
        self.here += 1
        if quote == "'":
            end = self.text.find("'", self.here)
            body = self.text[self.here : end if end >= 0 else len(self.text)]
            bad = _CONTROL.search(body)
            if bad:
                raise self.bad_in_string(self.here + bad.start(), opened)
            if end < 0:
                raise self.error("this string is never closed", opened)
            self.here = end + 1
            return body
        made = []
        while True:
            stop = self.past(_PLAIN_BASIC)
            made.append(self.text[self.here : stop])
            self.here = stop
            if self.text.startswith('"', self.here):
                self.here += 1
                return "".join(made)
            if not self.text.startswith("\\", self.here):
                raise self.bad_in_string(self.here, opened)
            made.append(self.escape())

    def long_string(self, quote: str) -> str:
        opened = self.here
        self.here += 3
        if self.text.startswith("\n", self.here):
            self.here += 1
        made = []
        while True:
            if quote == "'":
                end = self.text.find("'", self.here)
                body = self.text[self.here : end if end >= 0 else len(self.text)]
                bad = _CONTROL_IN_LINES.search(body)
                stop = self.here + bad.start() if bad else self.here + len(body)
            else:
                stop = self.past(_PLAIN_BASIC_LINES)
            made.append(self.text[self.here : stop])
            self.here = stop
            if self.text.startswith(quote, self.here):
                run = 1
                while run < 5 and self.text.startswith(quote, self.here + run):
                    run += 1
                self.here += run
                if run >= 3:
                    made.append(quote * (run - 3))
                    return "".join(made)
                made.append(quote * run)
            elif self.text.startswith("\\", self.here) and quote == '"':
                fold = _FOLD.match(self.text, self.here)
                if fold:
                    self.here = fold.end()
                else:
                    made.append(self.escape())
            else:
                raise self.bad_in_string(self.here, opened)

    def bad_in_string(self, at: int, opened: int) -> TomlError:
        if at >= len(self.text):
            return self.error("this string is never closed", opened)
        if self.text[at] == "\n":
            return self.error("this string is not closed on its line", opened)
        return self.error(f"control character {self.text[at]!r} in a string", at)

    def escape(self) -> str:
        letter = self.text[self.here + 1 : self.here + 2]
        if letter in _ESCAPES:
            self.here += 2
            return _ESCAPES[letter]
        width = {"u": 4, "U": 8}.get(letter)
        if not width:
            raise self.error(f"unknown escape \\{letter} in a string")
        digits = self.text[self.here + 2 : self.here + 2 + width]
        if len(digits) < width or not re.fullmatch("[0-9A-Fa-f]+", digits):
            raise self.error(f"\\{letter} in a string wants {width} hexadecimal digits")
        code = int(digits, 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise self.error(f"\\{letter}{digits} is no Unicode character")
        self.here += 2 + width
        return chr(code)


def _dotted(key: list[str] | KeyPath) -> str:
    """A key as one would write it."""
    parts = [part if isinstance(part, str) else f"[{part}]" for part in key]
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_\[\]-]+", part) else f'"{part}"' for part in parts)


def _time(hour: str, minute: str, second: str, fraction: str | None) -> time:
    return time(int(hour), int(minute), int(second), int((fraction or "0")[:6].ljust(6, "0")))


def _date(parts: tuple[Any, ...]) -> date:
    year, month, day, hour, minute, second, fraction, offset = parts
    whole = date(int(year), int(month), int(day))
    if hour is None:
        return whole
    zone = None
    if offset in ("Z", "z"):
        zone = timezone.utc
    elif offset:
        hours, minutes = int(offset[1:3]), int(offset[4:6])
        if hours > 23 or minutes > 59:
            raise ValueError("the offset is out of range")
        zone = timezone((-1 if offset[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes))
    return datetime.combine(whole, _time(hour, minute, second, fraction), zone)
