# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what is wrong from what programs printed: text in, findings out, root cause first.

    python3 -m ansible_collections.gpunode.ready.plugins.module_utils.diagnose [--json] [FILE ...]

It wants the checkout's folder ``collections`` on PYTHONPATH, and reads standard input without FILE; gzip may have
packed a FILE. It ends with 0 where nothing known was found, with 1 where something was, with 2 where a file could not
be read.

Rules of this file: it streams, so memory stays the same however long the text; any bytes are taken; the matcher knows
no failure by name. What is known of failures stands in ``signatures/``.
"""

from __future__ import annotations

import argparse
import bisect
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO

from .checks.all import CHECKS
from .findings import Evidence, Finding, by_cause
from .logtext import Line, joined, parsed, pieces, plainly
from .prometheus_text import textfile
from .signatures.all import FAILURES
from .signatures.benign import BENIGN
from .signatures.catalogue import Benign, Failure, Mark, Signature, compiled
from .signatures.marks import MARKS
from .wording import count, tell

NEAR_LINES = 60  # how far context reaches
JOINED_LINES = 3  # how many lines after a line may belong to it
CHUNK_LINES = 512
KEPT = 24  # places kept of each signature and mark, the first and the last
EVIDENCE_LIMIT = 400
GREP_FROM_BYTES = 2 * 1024 * 1024  # from here on grep chooses the lines worth a look
LINE_KEY = 4096
_SKELETON_LIMIT = 50_000
Numbered = tuple[int, bytes, bool]  # a line's number, the line, and whether it holds a literal for all that is known
_NOTHING: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
_BY_GREP = re.compile(rb"(\d{1,12})([:-])")
_DIGITS = b"0123456789abcdefABCDEF"


@dataclass
class Places:
    """Where something was seen: how often, and the first and last places."""

    count: int = 0
    first: list[int] = field(default_factory=list)
    last: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, place: int) -> None:
        self.count += 1
        if len(self.first) < KEPT:
            self.first.append(place)
        else:
            self.last.append(place)

    def all(self) -> list[int]:
        return [*self.first, *self.last]

    @property
    def latest(self) -> int:
        return self.last[-1] if self.last else self.first[-1]


@dataclass
class Hit:
    """What one signature found in one source."""

    failure: Failure
    signature: Signature
    source: str
    line: int
    text: str
    values: dict[str, str]
    program: str
    host: str
    first_time: str
    last_time: str
    last_raw: bytes = b""  # of the latest line like one that was judged: its time is read where it is told
    places: Places = field(default_factory=Places)


class Matcher:
    """Takes lines, remembers what they said, and judges at the end. One for all sources of a diagnosis."""

    def __init__(
        self,
        failures: Sequence[Failure] = FAILURES,
        marks: Sequence[Mark] = MARKS,
        benign: Sequence[Benign] = BENIGN,
    ) -> None:
        self._failures = failures
        self._rules = [(failure, signature) for failure in failures for signature in failure.signatures]
        self._marks = marks
        self._benign = benign
        self._by_literal: dict[str, list[tuple[str, int]]] = {}
        kinds: dict[str, Sequence[Signature | Mark | Benign]] = {
            "rule": [signature for _failure, signature in self._rules],
            "mark": marks,
            "benign": benign,
        }
        for kind, items in kinds.items():
            for index, item in enumerate(items):
                for literal in item.literals:
                    self._by_literal.setdefault(literal, []).append((kind, index))
        self._hits: dict[tuple[int, str], Hit] = {}
        self._seen_marks: dict[str, Places] = {}
        self._place = 0
        self._skeletons: dict[tuple[bytes, bytes], tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._ids = {failure.id for failure in failures}
        self.lines = 0
        self.sources: list[str] = []

    @property
    def literals(self) -> list[str]:
        """The fixed texts of which a line of a long text must hold one to be looked at."""
        common = {literal for mark in self._marks if mark.common for literal in mark.literals}
        needed = {literal for _failure, signature in self._rules for literal in signature.literals}
        # A quote may be escaped in the text (JSON, logfmt), so only what stands between quotes is looked for.
        return sorted({max(name.split('"'), key=len) for name in set(self._by_literal) - (common - needed)})

    def feed(self, source: str, lines: Iterable[Numbered], sparse: bool = False) -> None:
        """Look at numbered lines. ``sparse``: lines were left out, so that neighbours may not be next to each other."""
        if source not in self.sources:
            self.sources.append(source)
        self._place += NEAR_LINES * 2  # what stands in another source is not near
        base = self._place
        chunk: list[Numbered] = []
        for item in lines:
            chunk.append(item)
            if len(chunk) >= CHUNK_LINES + JOINED_LINES:
                self._look(source, base, chunk, len(chunk) - JOINED_LINES, sparse)
                chunk = chunk[-JOINED_LINES:]
        self._look(source, base, chunk, len(chunk), sparse)

    def _look(self, source: str, base: int, chunk: list[Numbered], heads: int, sparse: bool) -> None:
        """Judge the first ``heads`` lines of the chunk; the others are there to be joined to them."""
        if not chunk:
            return
        self.lines += 0 if sparse else heads
        if heads:
            self._place = base + chunk[heads - 1][0]
        keys: dict[int, tuple[bytes, bytes]] = {}
        if sparse:
            bare = [raw[:LINE_KEY].translate(None, _DIGITS) for _number, raw, _held in chunk]
            bare.append(b"")
            for index in range(heads):
                if not chunk[index][2]:
                    continue
                key = (bare[index], bare[index + 1])
                known = self._skeletons.get(key)
                if known is None:
                    keys[index] = key
                elif known != _NOTHING:
                    self._again(known, source, base + chunk[index][0], chunk[index])
            if not keys:
                return
        raws = [raw.decode(errors="replace") for _number, raw, _held in chunk]
        lines: dict[int, Line] = {}

        def line_at(index: int) -> Line:
            if index not in lines:
                lines[index] = parsed(raws[index])
            return lines[index]

        for index, present in self._candidates(raws, heads, keys if sparse else None).items():
            number = chunk[index][0]
            rules: list[int] = []
            marks: list[int] = []
            following = []
            for step in range(1, JOINED_LINES + 1):
                if index + step >= len(chunk) or chunk[index + step][0] != number + step:
                    break
                following.append(line_at(index + step).text[:1024])
            for piece in pieces(raws[index]):
                line = line_at(index) if len(piece) == len(raws[index]) else parsed(piece)
                self._judge(source, number, base + number, line, following, present, rules, marks)
            if sparse and (rules or marks):
                self._remember(keys.pop(index), (tuple(rules), tuple(marks)))
        for key in keys.values():
            self._remember(key, _NOTHING)

    def _remember(self, key: tuple[bytes, bytes], said: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        if len(self._skeletons) >= _SKELETON_LIMIT:
            self._skeletons.clear()
        self._skeletons[key] = said

    def _candidates(
        self, raws: list[str], heads: int, wanted: dict[int, tuple[bytes, bytes]] | None
    ) -> dict[int, set[str]]:
        """Which lines are worth a look, and for which literals: those that hold one, and, where every line is there
        (``wanted`` is None), those before it, since a message may begin there."""
        chosen = list(range(len(raws))) if wanted is None else sorted(wanted)
        # A prefix stays, for it names the speaker: `kubelet[812]: ...`
        plain = [plainly(raws[index]) for index in chosen]
        starts, position = [], 0
        for text in plain:
            starts.append(position)
            position += len(text) + 1
        flat = " ".join(plain)
        reach = JOINED_LINES if wanted is None else 0
        answer: dict[int, set[str]] = {}
        for literal in self._by_literal:
            found = flat.find(literal)
            while found >= 0:
                place = bisect.bisect_right(starts, found) - 1
                index = chosen[place]
                for near in range(max(0, index - reach), min(index + 1, heads)):
                    answer.setdefault(near, set()).add(literal)
                following = starts[place + 1] if place + 1 < len(starts) else len(flat)
                found = flat.find(literal, max(found + 1, following - len(literal)))
        return dict(sorted(answer.items()))

    def _judge(
        self,
        source: str,
        number: int,
        place: int,
        line: Line,
        following: list[str],
        present: set[str],
        rules: list[int],
        marks: list[int],
    ) -> None:
        if not line.text:
            return
        whole = joined(line.text, following)
        wanted = sorted({item for literal in present for item in self._by_literal[literal]})
        head = len(line.text)
        harmless: list[tuple[int, int, set[str]]] = []  # a message that was escaped holds lines of its own
        for kind, index in wanted:
            if kind == "benign":
                benign = self._benign[index]
                for said in compiled(benign.pattern).finditer(whole):
                    if said.start() < head:
                        end = whole.find("\n", said.end())
                        start = whole.rfind("\n", 0, said.start()) + 1
                        harmless.append((start, end if end >= 0 else len(whole), set(benign.ids) or self._ids))
        for kind, index in wanted:
            if kind == "mark":
                mark = self._marks[index]
                speaker = f"{line.program}: " if line.program else ""
                match = compiled(mark.pattern).search(speaker + whole)
                if match and match.start() < head + len(speaker):
                    self._seen_marks.setdefault(mark.name, Places()).add(place)
                    marks.append(index)
            elif kind == "rule":
                failure, signature = self._rules[index]
                refused = [(start, end) for start, end, ids in harmless if failure.id in ids]
                match = next(
                    (
                        match
                        for match in compiled(signature.pattern).finditer(whole)
                        if not any(start <= match.start() <= end for start, end in refused)
                    ),
                    None,
                )
                if not match or match.start() >= head:
                    continue
                if signature.not_with and compiled(signature.not_with).search(line.text):
                    continue
                self._hit(index, source, number, place, line, match.groupdict())
                rules.append(index)

    def _hit(self, index: int, source: str, number: int, place: int, line: Line, values: dict[str, str | None]) -> None:
        hit = self._hits.get((index, source))
        if hit is None:
            failure, signature = self._rules[index]
            hit = self._hits[(index, source)] = Hit(
                failure=failure,
                signature=signature,
                source=source,
                line=number,
                text=line.text[:EVIDENCE_LIMIT],
                values={key: " ".join(value.split())[:200] for key, value in values.items() if value},
                program=line.program,
                host=line.host,
                first_time=line.time,
                last_time=line.time,
            )
        hit.places.add(place)
        hit.last_time = line.time or hit.last_time
        hit.last_raw = b""

    def _again(self, known: tuple[tuple[int, ...], tuple[int, ...]], source: str, place: int, item: Numbered) -> None:
        """A line like one that was judged: the same signatures and marks, without trying a pattern."""
        rules, marks = known
        for index in rules:
            hit = self._hits.get((index, source))
            if hit is None:  # it was judged in another source
                self._hit(index, source, item[0], place, parsed(item[1].decode(errors="replace")), {})
            else:
                hit.places.add(place)
                hit.last_raw = item[1][:256]
        for index in marks:
            self._seen_marks.setdefault(self._marks[index].name, Places()).add(place)

    # judging ---------------------------------------------------------------------------------------------------------

    def _near(self, places: Places, names: Sequence[str]) -> bool:
        marks = [place for name in names if name in self._seen_marks for place in self._seen_marks[name].all()]
        return any(abs(place - mark) <= NEAR_LINES for place in places.all() for mark in marks)

    def _holds(self, hit: Hit) -> bool:
        signature = hit.signature
        if signature.near and not self._near(hit.places, signature.near):
            return False
        if signature.unless and self._near(hit.places, signature.unless):
            return False
        ends = [self._seen_marks[name].latest for name in signature.ended_by if name in self._seen_marks]
        return not any(end > hit.places.latest for end in ends)

    def findings(self) -> list[Finding]:
        """All that was found, root cause first; what another finding explains is marked as its consequence."""
        held: dict[str, list[Hit]] = {}
        for hit in self._hits.values():
            if self._holds(hit):
                held.setdefault(hit.failure.id, []).append(hit)
        place = {failure.id: index for index, failure in enumerate(self._failures)}
        weak = {name: all(hit.signature.weak for hit in hits) for name, hits in held.items()}
        ordered = sorted(held, key=lambda name: (weak[name], place[name]))
        rank = {name: index for index, name in enumerate(ordered)}
        answer = []
        for name in ordered:
            hits = sorted(held[name], key=lambda hit: (hit.signature.weak, hit.places.first[0]))
            failure = hits[0].failure
            causes = [cause for cause in failure.consequence_of if cause in rank and rank[cause] < rank[name]]
            answer.append(_finding(failure, hits, min(causes, key=rank.__getitem__) if causes else None))
        return [
            *(item for item in answer if item.consequence_of is None),
            *(item for item in answer if item.consequence_of is not None),
        ]


def _finding(failure: Failure, hits: list[Hit], cause: str | None) -> Finding:
    first = hits[0]
    values = _Values({key: value for hit in reversed(hits) for key, value in hit.values.items()})
    values.update(first.values)
    sentence = " ".join((first.signature.cause or failure.meaning).format_map(values).split())
    sentence = sentence.replace(" ()", "").replace("( ", "(").replace(" ;", ";").replace(" ,", ",").replace(" .", ".")
    evidence: list[Evidence] = []
    for hit in hits[:4]:
        if any((item.source, item.line) == (hit.source, hit.line) for item in evidence):
            continue  # another of its signatures claims the same line
        evidence.append(Evidence(source=hit.source, text=" ".join(hit.text.split()), line=hit.line or None))
        last = parsed(hit.last_raw.decode(errors="replace")).time or hit.last_time
        times = f", first {hit.first_time}, last {last}" if hit.first_time else ""
        if hit.places.count > 1:
            evidence.append(Evidence(source=hit.source, text=f"seen {hit.places.count} times{times}"))
        elif hit.first_time:
            evidence.append(Evidence(source=hit.source, text=f"seen once, {hit.first_time}"))
    program = first.program or first.signature.component
    return Finding(
        id=failure.id,
        layer=failure.layer,
        severity=failure.severity,
        subject=f"{program} on {first.host}" if first.host else program,
        cause=sentence,
        remedy=failure.remedy,
        evidence=tuple(evidence),
        consequence_of=cause,
    )


class _Values(dict):
    """Captured values for a cause; what was not captured is left out."""

    def __missing__(self, key: str) -> str:
        return ""


# reading -------------------------------------------------------------------------------------------------------------


def numbered(stream: IO[bytes]) -> Iterator[Numbered]:
    """Lines with their numbers. A line without end is read in parts, so that memory stays bounded."""
    number, fresh = 0, True
    while True:
        raw = stream.readline(1 << 16)
        if not raw:
            return
        number += fresh
        fresh = raw.endswith(b"\n")
        if b"\r" in raw:
            parts = raw.rstrip(b"\r\n").split(b"\r")
            for part in parts:
                yield number, part, True
        else:
            yield number, raw.rstrip(b"\n"), True


def opened(path: str) -> IO[bytes]:
    """The file, unpacked where gzip packed it. Raises ``OSError``."""
    raw = open(path, "rb")  # noqa: SIM115 - closed by who reads it
    try:
        magic = raw.read(2)
        raw.seek(0)
    except OSError:
        raw.close()
        raise
    return gzip.GzipFile(fileobj=raw) if magic == b"\x1f\x8b" else raw  # type: ignore[return-value]


class Chosen:
    """The lines of a long text that hold a literal, and those around them, as grep finds them."""

    def __init__(self, literals: Sequence[str]) -> None:
        self._literals = literals
        self.lines = 0

    def read(self, program: str, stream: IO[bytes], head: bytes, path: str | None) -> Iterator[Numbered]:
        """``path`` where grep can read the file itself; else ``stream`` is handed on, after ``head``."""
        with tempfile.NamedTemporaryFile(mode="w", suffix=".literals", encoding="utf-8") as patterns:
            patterns.write("\n".join(self._literals) + "\n")
            patterns.flush()
            command = [program, "-a", "-n", "-F", f"-A{JOINED_LINES}", "-f", patterns.name]
            with subprocess.Popen(
                [*command, "--", path] if path else [*command, "-"],
                stdin=subprocess.DEVNULL if path else subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=1 << 20,
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C", "PATH": os.environ.get("PATH", "")},
            ) as grep:
                feeder = None
                if not path:
                    feeder = threading.Thread(target=self._pass, args=(stream, head, grep.stdin), daemon=True)
                    feeder.start()
                for raw in grep.stdout or ():
                    prefix = _BY_GREP.match(raw)  # `12:text` is a hit, `12-text` stands beside one, `--` between
                    if prefix:
                        yield int(prefix.group(1)), raw[prefix.end() :].rstrip(b"\r\n"), prefix.group(2) == b":"
                if feeder:
                    feeder.join()

    @staticmethod
    def _pass(stream: IO[bytes], head: bytes, into: IO[bytes]) -> None:
        try:
            into.write(head)
            shutil.copyfileobj(stream, into, 1 << 18)
        except (OSError, EOFError, ValueError):
            pass  # what could be read was judged
        finally:
            into.close()


def read_stream(matcher: Matcher, source: str, stream: IO[bytes], path: str | None = None) -> None:
    """Feed one text to the matcher: line by line where it is short, through grep where it is long and grep is there."""
    head = stream.read(GREP_FROM_BYTES)
    program = shutil.which("grep")
    if len(head) < GREP_FROM_BYTES or not program:
        matcher.feed(source, numbered(io.BufferedReader(_Chain(head, stream), 1 << 16)))
        return
    matcher.feed(source, Chosen(matcher.literals).read(program, stream, head, path), sparse=True)


class _Chain(io.RawIOBase):
    """Bytes that were read already, and then the stream they came from."""

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        super().__init__()
        self._head = memoryview(head)
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def, override]
        if len(self._head):
            size = min(len(buffer), len(self._head))
            buffer[:size] = self._head[:size]
            self._head = self._head[size:]
            return size
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def diagnose_text(text: str | bytes, source: str = "text") -> list[Finding]:
    """The findings in one text, root cause first."""
    matcher = Matcher()
    raw = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    read_stream(matcher, source, io.BytesIO(raw))
    return matcher.findings()


def merged(
    found: Iterable[Finding], others: Sequence[Finding], failures: Sequence[Failure] = FAILURES
) -> list[Finding]:
    """What logs say and what checks judge, as one list, root cause first.

    A cause that both name is told once: in the check's words, with the log's evidence added to the check's. Each
    finding that another of them explains is marked as its consequence.
    """
    if not others:
        return list(found)
    told: dict[tuple[str, str], Finding] = {}
    for finding in others:
        told[(finding.id, finding.subject)] = finding
    known = {name for name, _subject in told}
    for finding in found:
        if finding.id not in known:
            told[(finding.id, finding.subject)] = finding
            continue
        for key, other in told.items():
            if key[0] == finding.id:
                told[key] = replace(other, evidence=(*other.evidence, *finding.evidence))
                break
    causes = {check.id: check.consequence_of for check in CHECKS}
    causes.update({failure.id: (*failure.consequence_of, *causes.get(failure.id, ())) for failure in failures})
    present = {finding.id for finding in told.values()}
    settled = []
    for finding in told.values():
        cause = finding.consequence_of or next((name for name in causes.get(finding.id, ()) if name in present), None)
        settled.append(replace(finding, consequence_of=cause if cause != finding.id else None))
    return by_cause(settled, [failure.id for failure in failures] + [check.id for check in CHECKS])


# the command ---------------------------------------------------------------------------------------------------------


def nothing_found(sources: Sequence[str], lines: int) -> str:
    read = ", ".join(sources) or "nothing"
    told = f" ({count(lines, 'line')})" if lines else ""
    return f"Nothing known found. Read: {read}{told}."


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Answers the exit status."""
    parser = argparse.ArgumentParser(prog="diagnose", description="Name the root cause that logs of a GPU node show.")
    parser.add_argument("--json", action="store_true", help="print an array of findings, root cause first")
    parser.add_argument(
        "--prometheus", action="store_true", help="print metrics for the textfile collector of node_exporter"
    )
    parser.add_argument(
        "--literals", action="store_true", help="print the fixed texts that a line is chosen by, and end"
    )
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="logs, also packed by gzip; standard input without any"
    )
    options = parser.parse_args(arguments)
    matcher = Matcher()
    if options.literals:
        say("\n".join(matcher.literals))
        return 0
    unread = 0
    for path in options.files or ["-"]:
        try:
            if path == "-":
                read_stream(matcher, "standard input", sys.stdin.buffer)
            else:
                with opened(path) as stream:
                    read_stream(matcher, path, stream, path if not isinstance(stream, gzip.GzipFile) else None)
        except (OSError, EOFError) as error:
            unread += 1
            sys.stderr.write(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}\n")
    findings = [finding for finding in matcher.findings() if finding.severity != "notice"]
    if options.json:
        say(json.dumps([finding.as_dict() for finding in findings], indent=1, ensure_ascii=False))
    elif options.prometheus:
        sys.stdout.write(textfile(findings))
    elif findings:
        say(tell(findings))
    else:
        say(nothing_found(matcher.sources, matcher.lines))
    if unread:
        return 2
    return 1 if findings else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except BrokenPipeError:
        raise SystemExit(2) from None
