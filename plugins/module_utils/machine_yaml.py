# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the YAML that machines write (nvidia-ctk, kubeadm, kubelet, Go's marshalers) where PyYAML may be missing.

Rules of this file: no I/O; no text raises anything but ``YamlError``, which names the line. What is read is read as
PyYAML and Go read it; what is beyond (anchors, aliases, tags, merge keys, directives, keys that are no plain words) is
refused, never guessed. Two deliberate choices, both Go's: ``1e3`` is a number, and times and ``1:30`` are text. A key
given twice is an error, as it is to kubelet.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

NESTING_LIMIT = 100

KeyPath = tuple  # of keys, and of int where a sequence is entered


class YamlError(ValueError):
    """What is wrong with a text, and where: ``problem``, ``line`` and ``column`` (both from 1)."""

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {problem}")
        self.problem = problem
        self.line = line
        self.column = column


@dataclass(frozen=True)
class Document:
    """The value of a document, and the line of every key and sequence entry by its path."""

    data: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line(self, *path: Any) -> int | None:
        """The line that sets what stands at ``path``; None where nothing does."""
        return self.lines.get(path)


def loads(text: str) -> Any:
    """The value of a text's only document; None where there is none. Raises ``YamlError``."""
    return parse(text).data


def loads_all(text: str) -> list[Any]:
    """The values of all documents of a text. Raises ``YamlError``."""
    return [document.data for document in parse_all(text)]


def parse(text: str) -> Document:
    """A text's only document. Raises ``YamlError``, also where there are several."""
    documents = parse_all(text, limit=1)
    return documents[0] if documents else Document(None)


def parse_all(text: str, limit: int | None = None) -> list[Document]:
    """All documents of a text. Raises ``YamlError``, also where there are more than ``limit``."""
    return _Reader(text).documents(limit)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_HEADER = re.compile(r"([|>])(?:([+-])([1-9])?|([1-9])([+-])?)?(?:[ \t]+#.*|[ \t]*)$")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_RADIX = re.compile(r"([-+]?)(?:0b([01_]*[01])|0x([0-9a-fA-F_]*[0-9a-fA-F])|0o?([0-7_]*[0-7]))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **{form: True for word in ("true", "yes", "on") for form in (word, word.title(), word.upper())},
    **{form: False for word in ("false", "no", "off") for form in (word, word.title(), word.upper())},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_ESCAPES = {
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "t": "\t",
    "\t": "\t",
    "n": "\n",
    "v": "\v",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    " ": " ",
    '"': '"',
    "/": "/",
    "\\": "\\",
    "N": "\x85",
    "_": "\xa0",
    "L": "\u2028",
    "P": "\u2029",
}
_BEYOND = {
    "&": "an anchor",
    "*": "an alias",
    "!": "a tag",
    "%": "a directive",
    "@": "a reserved character",
    "`": "a reserved character",
}


class _Reader:
    """One pass over one text. ``row`` and ``column`` (from 0) are the place of the next character."""

    def __init__(self, text: str) -> None:
        text = text[1:] if text.startswith("\ufeff") else text
        self.lines = text.replace("\r\n", "\n").split("\n")
        self.complete = not self.lines[-1]  # whether the last line ends in a line end
        if self.complete:
            self.lines.pop()
        self.row = 0
        self.column = 0
        self.places: dict[KeyPath, int] = {}
        for row, line in enumerate(self.lines):
            bad = _CONTROL.search(line)
            if bad:
                raise self.error(f"control character {bad.group()!r}", row, bad.start())

    def documents(self, limit: int | None) -> list[Document]:
        found: list[Document] = []
        while True:
            explicit = False
            while self.content() and self.marker():
                here = self.lines[self.row]
                if here.startswith("..."):
                    if here[3:].strip() and not here[3:].lstrip().startswith("#"):
                        raise self.error("'...' must stand alone on its line", self.row, 3)
                    if explicit:
                        break
                    if not found:
                        raise self.error("'...' ends a document that never began")
                    self.next_row()
                    continue
                if explicit:
                    break  # an empty document between two markers
                explicit = True
                self.column = 3
                if not self.rest_is_empty():
                    break
                self.next_row()
            if self.row >= len(self.lines) and not explicit:
                return found
            if found and not explicit:
                raise self.error("expected '---' before another document")
            if limit is not None and len(found) >= limit:
                raise self.error("another document begins here, where only one is expected")
            self.places = {}
            found.append(Document(self.document(), self.places))

    def document(self) -> Any:
        if self.column:  # on the line of its '---'
            value = self.after_indicator((), -1, 0)
        elif not self.content() or self.marker():
            return None
        else:
            value = self.node((), -1, 0)
        if self.content() and not self.marker():
            raise self.error("expected the end of the document; is the line indented as it should be?")
        return value

    # Where we are

    def error(self, problem: str, row: int | None = None, column: int | None = None) -> YamlError:
        row = self.row if row is None else row
        column = self.column if column is None else column
        return YamlError(problem, min(row, max(len(self.lines) - 1, 0)) + 1, column + 1)

    def next_row(self) -> None:
        self.row += 1
        self.column = 0

    def rest(self) -> str:
        return self.lines[self.row][self.column :]

    def rest_is_empty(self) -> bool:
        """Past the blanks; whether nothing but a comment follows on this line."""
        line = self.lines[self.row]
        while self.column < len(line) and line[self.column] in " \t":
            self.column += 1
        return self.column >= len(line) or self.at_comment()

    def at_comment(self) -> bool:
        line = self.lines[self.row]
        return line[self.column] == "#" and (not self.column or line[self.column - 1] in " \t")

    def content(self) -> bool:
        """Go to the first character of the next line with content; whether there is one. Only at a line's start."""
        while self.row < len(self.lines):
            line = self.lines[self.row]
            bare = line.lstrip(" ")
            if bare.lstrip("\t") and not bare.lstrip("\t").startswith("#"):
                self.column = len(line) - len(bare)
                if bare[0] == "\t":
                    raise self.error("a tab cannot indent YAML")
                return True
            self.next_row()
        return False

    def marker(self) -> bool:
        """Whether a document begins or ends on this line."""
        line = self.lines[self.row]
        return line[:3] in ("---", "...") and line[3:4] in ("", " ", "\t")

    def end_of_line(self) -> None:
        if self.row < len(self.lines):
            if not self.rest_is_empty():
                if self.rest().startswith(":"):
                    raise self.error("a second ':' on one line; text with ': ' in it must stand in quotes")
                raise self.error(f"expected the end of the line, found {self.rest()[0]!r}")
            self.next_row()

    # Block style

    def node(self, path: KeyPath, parent: int, depth: int) -> Any:
        """The value that begins here, first on its line or after '- '; its lines are indented past ``parent``."""
        if depth > NESTING_LIMIT:
            raise self.error(f"values nest more than {NESTING_LIMIT} deep")
        if self.at_entry():
            return self.sequence(path, self.column, depth)
        if self.key_end() is not None:
            return self.mapping(path, self.column, depth)
        return self.after_indicator(path, parent, depth)

    def at_entry(self) -> bool:
        line = self.lines[self.row]
        return line.startswith("-", self.column) and line[self.column + 1 : self.column + 2] in ("", " ", "\t")

    def sequence(self, path: KeyPath, indent: int, depth: int) -> list[Any]:
        values: list[Any] = []
        while True:
            item = (*path, len(values))
            self.places[item] = self.row + 1
            self.column += 1
            if self.rest().startswith("\t"):
                raise self.error("a tab cannot indent YAML")
            if self.rest_is_empty():
                self.next_row()
                deeper = self.content() and not self.marker() and self.column > indent
                values.append(self.node(item, indent, depth + 1) if deeper else None)
            else:
                values.append(self.node(item, indent, depth + 1))
            if not self.content() or self.marker() or self.column < indent:
                return values
            if self.column > indent:
                raise self.error(f"indented by {self.column}, where the entries of this sequence are by {indent}")
            if not self.at_entry():
                return values

    def mapping(self, path: KeyPath, indent: int, depth: int) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        while True:
            key = self.key()
            place = (*path, key)
            if key in values:
                raise self.error(f"the key {key!r} is given twice (first on line {self.places[place]})")
            self.places[place] = self.row + 1
            self.column += 1  # past ':'
            if self.rest_is_empty():
                self.next_row()
                if (
                    self.content()
                    and not self.marker()
                    and (self.column > indent or (self.column == indent and self.at_entry()))
                ):
                    values[key] = self.node(place, indent, depth + 1)
                else:
                    values[key] = None
            else:
                if self.at_entry():
                    raise self.error("a sequence cannot begin on the line of its key")
                values[key] = self.after_indicator(place, indent, depth + 1)
            if not self.content() or self.marker() or self.column < indent:
                return values
            if self.column > indent:
                raise self.error(f"indented by {self.column}, where the keys of this mapping are by {indent}")
            if self.at_entry():
                raise self.error("a sequence entry among the keys of a mapping")

    def key_end(self) -> int | None:
        """Where the ':' of the key that begins here stands; None where no key begins here."""
        line = self.lines[self.row]
        start = line[self.column : self.column + 1]
        if start == "?" and line[self.column + 1 : self.column + 2] in ("", " ", "\t"):
            raise self.error("'? ' (a key that is no plain word) is beyond what is read here")
        if start in ('"', "'"):
            pattern = r'"(?:[^"\\]|\\.)*"' if start == '"' else r"'(?:[^']|'')*'"
            found = re.compile(pattern).match(line, self.column)
            end = found.end() if found else len(line)
        elif start in ("[", "{", "|", ">", "#", ",", "]", "}", *_BEYOND):
            return None
        else:
            end = self.plain_end(flow=False)
        while end < len(line) and line[end] in " \t":
            end += 1
        return end if line[end : end + 1] == ":" and line[end + 1 : end + 2] in ("", " ", "\t") else None

    def key(self) -> Any:
        """The key that begins here; afterwards its ':' is the next character."""
        end = self.key_end()
        if end is None:
            raise self.error("expected 'key: value'")
        start, row = self.column, self.row
        if self.rest().startswith(('"', "'")):
            key: Any = self.quoted()
        else:
            self.refuse_start(flow=False)
            key = self.typed(self.lines[row][start:end].rstrip(" \t"))
            if key == "<<":
                raise self.error("a merge key ('<<') is beyond what is read here", row, start)
        self.column = end
        return key

    def after_indicator(self, path: KeyPath, parent: int, depth: int) -> Any:
        """The scalar or flow collection that begins here, to the end of its last line."""
        start = self.rest()[0]
        if start in "|>":
            return self.block_scalar(parent)
        if start in "[{":
            value = self.flow(path, depth)
            self.end_of_line()
            return value
        if start in "\"'":
            value = self.quoted()
            self.end_of_line()
            return value
        return self.typed(self.plain(parent))

    def plain(self, parent: int) -> str:
        """A plain scalar in block style, over as many lines as are indented past ``parent``."""
        self.refuse_start(flow=False)
        parts: list[str] = []
        while True:
            line = self.lines[self.row]
            end = self.plain_end(flow=False)
            parts.append(line[self.column : end])
            self.column = end
            row = self.row
            commented = self.rest_is_empty() and self.column < len(line)
            self.end_of_line()
            if commented or not self.content() or self.marker() or self.column <= parent or self.comment_since(row):
                return "".join(parts)
            parts.append("\n" * (self.row - row - 1) or " ")

    def comment_since(self, row: int) -> bool:
        """Whether a comment stands between line ``row`` and this one; it ends a plain scalar."""
        return any(line.strip() for line in self.lines[row + 1 : self.row])

    def plain_end(self, flow: bool) -> int:
        """The end of the plain scalar on this line, blanks after it left out."""
        line = self.lines[self.row]
        here = self.column
        while here < len(line):
            character = line[here]
            if character == ":" and (here + 1 == len(line) or line[here + 1] in (" \t,[]{}" if flow else " \t")):
                break
            if character == "#" and here and line[here - 1] in " \t":
                break
            if flow and character in ",[]{}":
                break
            here += 1
        return self.column + len(line[self.column : here].rstrip(" \t"))

    def refuse_start(self, flow: bool) -> None:
        """Raise for a character that cannot begin a plain scalar."""
        rest = self.rest()
        start, following = rest[0], rest[1:2]
        if start in _BEYOND:
            raise self.error(f"{_BEYOND[start]} ({start}) is beyond what is read here; text must stand in quotes")
        if start in ",[]{}#|>" or (start in "-?:" and (following in ("", " ", "\t") or (flow and start != "-"))):
            raise self.error(f"expected a value, found {start!r}")

    def block_scalar(self, parent: int) -> str:
        found = _HEADER.match(self.lines[self.row], self.column)
        if not found:
            raise self.error("this block scalar's header is not understood")
        style, chomp, width, width_first, chomp_last = found.groups()
        chomp, width = chomp or chomp_last, width or width_first
        self.next_row()

        least = max(parent + 1, 1)
        if width:
            indent = least + int(width) - 1
        else:
            indent, row = least, self.row
            while row < len(self.lines):
                bare = self.lines[row].lstrip(" ")
                indent = max(indent, len(self.lines[row]) - len(bare))
                if bare:
                    break
                row += 1

        parts: list[str] = []
        breaks = self.empty_lines(indent)
        line_end = ""
        while self.row < len(self.lines) and self.indented(indent):
            parts.append("\n" * breaks)
            line = self.lines[self.row][indent:]
            parts.append(line)
            line_end = "\n" if self.row + 1 < len(self.lines) or self.complete else ""
            self.next_row()
            breaks = self.empty_lines(indent)
            if self.row >= len(self.lines) or not self.indented(indent):
                break
            if style == ">" and line[0] not in " \t" and self.lines[self.row][indent] not in " \t":
                parts.append("" if breaks else " ")
            else:
                parts.append(line_end)
        if chomp != "-":
            parts.append(line_end)
        if chomp == "+":
            parts.append("\n" * breaks)
        return "".join(parts)

    def indented(self, indent: int) -> bool:
        line = self.lines[self.row]
        return len(line) > indent and not line[:indent].strip(" ")

    def empty_lines(self, indent: int) -> int:
        """Past the lines that hold nothing, as far as a block scalar indented so is concerned; how many they are."""
        first = self.row
        while (
            self.row < len(self.lines) and len(self.lines[self.row]) <= indent and not self.lines[self.row].strip(" ")
        ):
            self.next_row()
        last_is_cut = self.row == len(self.lines) and not self.complete and self.row > first
        return self.row - first - last_is_cut

    # Flow style

    def flow_blanks(self, opened: tuple[int, int]) -> str:
        """Past blanks, comments and line ends inside [] or {}; the next character."""
        while self.row < len(self.lines):
            if not self.column and self.marker():
                break
            if not self.rest_is_empty():
                return self.rest()[0]
            self.next_row()
        raise self.error("this bracket is never closed", *opened)

    def flow(self, path: KeyPath, depth: int) -> Any:
        if depth > NESTING_LIMIT:
            raise self.error(f"values nest more than {NESTING_LIMIT} deep")
        opened = (self.row, self.column)
        many = self.rest()[0] == "["
        closing = "]" if many else "}"
        self.column += 1
        values: Any = [] if many else {}
        while True:
            if self.flow_blanks(opened) == closing:
                self.column += 1
                return values
            if many:
                item = (*path, len(values))
                self.places[item] = self.row + 1
                values.append(self.flow_value(item, depth, opened))
            else:
                self.flow_pair(values, path, depth, opened)
            following = self.flow_blanks(opened)
            if following == ",":
                self.column += 1
            elif following != closing:
                raise self.error(f"expected ',' or {closing!r}, found {following!r}")

    def flow_value(self, path: KeyPath, depth: int, opened: tuple[int, int]) -> Any:
        start = self.rest()[0]
        if start in "[{":
            return self.flow(path, depth + 1)
        if start in "\"'":
            return self.quoted()
        return self.typed(self.flow_plain(opened))

    def flow_pair(self, values: dict[Any, Any], path: KeyPath, depth: int, opened: tuple[int, int]) -> None:
        row, column = self.row, self.column
        start = self.rest()[0]
        if start in "[{":
            raise self.error("a key that is no plain word is beyond what is read here")
        key = self.quoted() if start in "\"'" else self.typed(self.flow_plain(opened))
        if key == "<<":
            raise self.error("a merge key ('<<') is beyond what is read here", row, column)
        place = (*path, key)
        if key in values:
            raise self.error(f"the key {key!r} is given twice (first on line {self.places[place]})", row, column)
        self.places[place] = row + 1
        values[key] = None
        key_row = self.row
        if self.flow_blanks(opened) == ":":
            if key_row != row or self.row != row:
                raise self.error("a key and its ':' must stand on one line")
            self.column += 1
            if self.flow_blanks(opened) not in ",}":
                values[key] = self.flow_value(place, depth, opened)

    def flow_plain(self, opened: tuple[int, int]) -> str:
        self.refuse_start(flow=True)
        parts: list[str] = []
        while True:
            line = self.lines[self.row]
            end = self.plain_end(flow=True)
            parts.append(line[self.column : end])
            self.column = end
            if not self.rest_is_empty() or self.column < len(line):
                return "".join(parts)
            row = self.row
            self.next_row()
            following = self.flow_blanks(opened)
            if following in ",[]{}#" or self.comment_since(row):
                return "".join(parts)
            if following == ":" and self.rest()[1:2] in ("", *" \t,[]{}"):
                return "".join(parts)
            parts.append("\n" * (self.row - row - 1) or " ")

    # Quoted scalars

    def quoted(self) -> str:
        """The quoted scalar that begins here, over as many lines as it takes."""
        opened = (self.row, self.column)
        quote = self.rest()[0]
        special = quote if quote == "'" else '"\\'
        self.column += 1
        parts: list[str] = []
        while True:
            line, start = self.lines[self.row], self.column
            while self.column < len(line) and line[self.column] not in special:
                self.column += 1
            piece = line[start : self.column]
            if self.column == len(line):
                empty = self.next_text(opened)
                parts += [piece.rstrip(" \t"), "\n" * empty or " "]
                continue
            parts.append(piece)
            if line[self.column] == "\\":
                if self.column + 1 == len(line):
                    parts.append("\n" * self.next_text(opened))
                else:
                    parts.append(self.escape())
            elif quote == "'" and line.startswith("'", self.column + 1):
                parts.append("'")
                self.column += 2
            else:
                self.column += 1
                return "".join(parts)

    def next_text(self, opened: tuple[int, int]) -> int:
        """To the next line with text in a quoted scalar; how many empty lines were passed."""
        empty = -1
        while True:
            self.next_row()
            empty += 1
            if self.row >= len(self.lines) or self.marker():
                raise self.error("this string is never closed", *opened)
            line = self.lines[self.row]
            if line.strip(" \t"):
                self.column = len(line) - len(line.lstrip(" \t"))
                return empty

    def escape(self) -> str:
        letter = self.rest()[1]
        if letter in _ESCAPES:
            self.column += 2
            return _ESCAPES[letter]
        width = {"x": 2, "u": 4, "U": 8}.get(letter)
        if not width:
            raise self.error(f"unknown escape \\{letter} in a string")
        digits = self.rest()[2 : 2 + width]
        if len(digits) < width or not re.fullmatch("[0-9A-Fa-f]+", digits):
            raise self.error(f"\\{letter} in a string wants {width} hexadecimal digits")
        code = int(digits, 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise self.error(f"\\{letter}{digits} is no Unicode character")
        self.column += 2 + width
        return chr(code)

    # Types

    def typed(self, text: str) -> Any:
        """What a plain scalar means."""
        if text in _WORDS:
            return _WORDS[text]
        if len(text) > 400:
            return text
        found = _INFINITE.fullmatch(text)
        if found:
            return -math.inf if found.group(1) == "-" else math.inf
        if _INTEGER.fullmatch(text):
            return int(text.replace("_", ""))
        found = _RADIX.fullmatch(text)
        if found:
            sign, *digits = found.groups()
            base, number = next((base, part) for base, part in zip((2, 16, 8), digits) if part is not None)
            return int(sign + number.replace("_", ""), base)
        if _FLOAT.fullmatch(text):
            return float(text.replace("_", ""))
        return text
