# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder beside a table in which an export keeps what is done, so that one that was interrupted goes on from there.

Each piece of each query is one Arrow file, written whole under a name that says what it answers and then renamed into
place: what is there is done. One that cannot be read is asked for again. The folder goes when the table is there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from ..module_utils.prometheus_export import ExportError
from ..module_utils.prometheus_range import Grid, Piece
from ..module_utils.prometheus_table import Labels

try:
    import pyarrow
    import pyarrow.ipc
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

PART = re.compile(r"(?P<question>[0-9a-f]{20})[.](?P<first>\d+)-(?P<after>\d+)[.]arrow")
PLAN = "range.json"
TEMPORARY = ".tmp"


class Store:
    """What is done of one export. ``path``: the table that it will be."""

    def __init__(self, path: str) -> None:
        above, name = os.path.split(path)
        self.path = path
        self.folder = os.path.join(above, f".{name}.parts")
        self._open: dict[str, tuple[Piece, Any]] = {}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The folder, for this process alone. Raises ``ExportError`` where another works on the same table."""
        with told(self.folder):
            os.makedirs(self.folder, exist_ok=True)
            lock = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise ExportError(
                f"{self.path}: another export to this table runs here ({self.folder} is locked). Wait for it or end it."
            ) from None
        try:
            with told(self.folder):
                for name in os.listdir(self.folder):
                    if name.endswith(TEMPORARY):
                        os.unlink(os.path.join(self.folder, name))
            yield
        finally:
            with contextlib.suppress(OSError):
                if not any(PART.fullmatch(name) for name in os.listdir(self.folder)):
                    self.remove()  # nothing is done that could be kept
            os.close(lock)

    # -- the range, which relative times must not move between two runs

    def range(self, asked: Mapping[str, str]) -> Grid | None:
        """The range that an interrupted export of the same words had."""
        try:
            with open(os.path.join(self.folder, PLAN), encoding="utf-8") as stream:
                plan = json.load(stream)
            return Grid(*(int(number) for number in plan["grid"])) if plan["asked"] == dict(asked) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, asked: Mapping[str, str], grid: Grid, questions: Iterable[str]) -> None:
        """Note the range, and let go what is no part of these questions."""
        wanted = set(questions)
        for name in self._names():
            found = PART.fullmatch(name)
            if found and found["question"] not in wanted:
                self._drop(name)
        plan = {"asked": dict(asked), "grid": [grid.start_ms, grid.end_ms, grid.step_ms]}
        with self.put(os.path.join(self.folder, PLAN)) as stream:
            stream.write(json.dumps(plan).encode())

    # -- pieces

    def done(self, question: str) -> list[Piece]:
        """The pieces that are there and can be read, in order."""
        pieces = []
        for name in self._names():
            found = PART.fullmatch(name)
            if not found or found["question"] != question:
                continue
            piece = Piece(int(found["first"]), int(found["after"]))
            try:
                self._read(question, piece)
            except (OSError, ValueError, KeyError):  # Arrow's own errors are ValueErrors and OSErrors
                self._drop(name)
                continue
            pieces.append(piece)
        return sorted(pieces, key=lambda piece: piece.first)

    def keep(self, question: str, piece: Piece, series: Mapping[Labels, list[float | None]]) -> None:
        """Put a piece where the next run finds it. Raises ``ExportError``."""
        fields = [
            pyarrow.field(str(number), pyarrow.float64(), metadata={"labels": json.dumps(labels)})
            for number, labels in enumerate(series)
        ]
        columns = [pyarrow.array(values, pyarrow.float64()) for values in series.values()]
        schema = pyarrow.schema(fields, metadata={"points": str(len(piece))})
        batch = pyarrow.RecordBatch.from_arrays(columns, schema=schema)
        with self.put(self._path(question, piece)) as stream, pyarrow.ipc.new_file(stream, schema) as writer:
            writer.write_batch(batch)

    def series(self, question: str) -> list[Labels]:
        """The labels of every series that any piece has, in order."""
        return sorted({labels for piece in self.done(question) for labels in self._read(question, piece)})

    def column(self, question: str, pieces: Iterable[Piece], labels: Labels, window: Piece) -> Any:
        """The values of one series in a window, null where there are none, as one Arrow array."""
        chunks = []
        for piece in pieces:
            first, after = max(piece.first, window.first), min(piece.after, window.after)
            if first >= after:
                continue
            values = self._held(question, piece).get(labels)
            if values is None:
                chunks.append(pyarrow.nulls(after - first, pyarrow.float64()))
            else:
                chunks.append(values.slice(first - piece.first, after - first))
        return pyarrow.concat_arrays(chunks) if chunks else pyarrow.nulls(len(window), pyarrow.float64())

    def _held(self, question: str, piece: Piece) -> dict[Labels, Any]:
        """A piece; the last one of each question stays at hand."""
        held = self._open.get(question)
        if held is None or held[0] != piece:
            held = self._open[question] = (piece, self._read(question, piece))
        return held[1]

    def _read(self, question: str, piece: Piece) -> dict[Labels, Any]:
        with pyarrow.memory_map(self._path(question, piece)) as source:
            reader = pyarrow.ipc.open_file(source)
            batch = reader.get_batch(0)
            batch.validate()
            if reader.schema.metadata[b"points"] != str(len(piece)).encode():
                raise ValueError("a piece of another length")
            return {labels_in(field): batch.column(number) for number, field in enumerate(batch.schema)}

    def _path(self, question: str, piece: Piece) -> str:
        return os.path.join(self.folder, f"{question}.{piece.first}-{piece.after}.arrow")

    # -- files

    @contextlib.contextmanager
    def put(self, path: str) -> Iterator[IO[bytes]]:
        """A file that is at ``path`` when all of it is written, and nowhere otherwise. Raises ``ExportError``."""
        temporary = os.path.join(self.folder, f"{os.path.basename(path)}{TEMPORARY}")
        with told(path):
            try:
                with open(temporary, "wb") as stream:
                    yield stream
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise

    def forget(self) -> None:
        """Nothing is done: begin anew."""
        for name in self._names():
            if PART.fullmatch(name) or name == PLAN:
                self._drop(name)

    def remove(self) -> None:
        """The table is there: its pieces may go."""
        self._open.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _names(self) -> list[str]:
        with told(self.folder):
            return sorted(os.listdir(self.folder))

    def _drop(self, name: str) -> None:
        with told(self.folder):
            os.unlink(os.path.join(self.folder, name))


def labels_in(field: Any) -> Labels:
    return tuple((str(name), str(value)) for name, value in json.loads(field.metadata[b"labels"]))


@contextlib.contextmanager
def told(path: str) -> Iterator[None]:
    """Turn an ``OSError`` into words that help."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ExportError(
                f"{path}: no space left in its file system ({error.strerror}). What is done is kept: free space and run"
                " again, and the export goes on from there."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ExportError(
                f"{path}: may not be written by user {os.geteuid()} ({error.strerror}). Let path lie where it may."
            ) from error
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}. Let path lie elsewhere.") from error
