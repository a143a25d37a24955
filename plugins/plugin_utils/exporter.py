# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One export from the question to the files: try every query, fetch what is lacking, write the table and the pictures.

Order that a reader may rely on: pieces first, each kept when it is there; then the table, the pictures and last the
manifest, each whole or not at all. The pieces go when the manifest is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..module_utils.prometheus_export import (
    ExportError,
    Progress,
    Request,
    answers,
    check_queries,
    manifest,
    question,
    split_path,
)
from ..module_utils.prometheus_profiles import profile
from ..module_utils.prometheus_range import POINTS_PER_REQUEST, Grid, Piece, RangeError, cut, iso, lacking, make_grid
from ..module_utils.prometheus_refusals import nothing_there
from ..module_utils.prometheus_table import AnswerError, metrics_read, read
from .export_store import Store
from .export_table import Table, make_table, write
from .prometheus_client import Client, TooMuch, when


class Export:
    """``say`` takes lines of progress; ``warnings`` are for whoever asked."""

    def __init__(
        self,
        request: Request,
        path: str,
        client: Client,
        empty: str = "fail",
        series_max: int = 1000,
        say: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.request = request
        self.path = path
        self.client = client
        self.warnings: list[str] = []
        self._empty = empty
        self._series_max = series_max
        self._say = say
        self._clock = clock
        self._store = Store(path)

    # ---------------------------------------------------------------- what is there already

    @property
    def manifest_path(self) -> str:
        return f"{self.path}.json"

    def plot_path(self, metric: str) -> str:
        return f"{split_path(self.path)[0]}.{metric}.{self.request.plots}"

    @property
    def plots(self) -> dict[str, str]:
        return (
            {} if self.request.plots == "none" else {metric: self.plot_path(metric) for metric in self.request.queries}
        )

    def kept(self) -> dict[str, Any] | None:
        """The manifest of an earlier run that answers this very question, where all its files are as it left them."""
        told = self.old_manifest()
        if told is None or not answers(told, self.request):
            return None
        whole = os.path.isfile(self.path) and digest(self.path) == told.get("sha256")
        return told if whole and all(os.path.isfile(path) for path in self.plots.values()) else None

    def old_manifest(self) -> dict[str, Any] | None:
        try:
            with open(self.manifest_path, encoding="utf-8") as stream:
                told = json.load(stream)
        except (OSError, ValueError):
            return None
        return told if isinstance(told, dict) else None

    # ---------------------------------------------------------------- one run

    def try_out(self, grid: Grid) -> None:
        """Ask every query for one point, so that a mistake in the last one is not found after an hour."""
        for metric, query in self.request.queries.items():
            last = Piece(grid.points - 1, grid.points)
            try:
                self._ask(metric, query, grid, last)
            except TooMuch as error:
                raise self._not_even_one(metric, error) from None

    def run(self, now_ms: int, resume: bool) -> tuple[dict[str, Any], int]:
        """The manifest, and how many points were there before. Raises ``ExportError``; what is done then is kept."""
        if os.path.isdir(self.path):
            raise ExportError(f"path: {self.path} is a folder, where the table should be. Name a file in it.")
        with self._store.held():
            if not resume:
                self._store.forget()
            grid = self._range(now_ms)
            questions = {name: question(self.client.url, query, grid) for name, query in self.request.queries.items()}
            self._store.begin(self.request.range, grid, questions.values())
            kept = self._fetch(grid, questions)
            table = make_table(self._store, grid, questions)
            self._judge_empty(table)
            result = self._write(table)
            self._store.remove()
        return result, kept

    def _range(self, now_ms: int) -> Grid:
        before = self._store.range(self.request.range)
        if before is None:
            return make_grid(self.request.start, self.request.end, self.request.step, now_ms)
        if not self.request.lasting:
            self.warnings.append(
                f"The range {self.request.start} to {self.request.end} stays what it was when the interrupted export"
                f" began: {iso(before.start_ms)} to {iso(before.end_ms)}. For a new one set resume to false."
            )
        return before

    def _fetch(self, grid: Grid, questions: Mapping[str, str]) -> int:
        """Ask for all that is lacking. Gives the number of points that were there before."""
        todo = {name: lacking(grid.whole, self._store.done(asked)) for name, asked in questions.items()}
        total = grid.points * len(questions)
        kept = total - sum(len(piece) for pieces in todo.values() for piece in pieces)
        if kept < total:
            self.try_out(grid)
        progress = Progress(total, kept, self._say, self._clock)
        for name, pieces in todo.items():
            known = set(self._store.series(questions[name]))
            size = POINTS_PER_REQUEST
            waiting = list(reversed(pieces))
            while waiting:
                first, *rest = cut(waiting.pop(), size)
                waiting += reversed(rest)
                try:
                    series = self._ask(name, self.request.queries[name], grid, first)
                except TooMuch as error:
                    if len(first) == 1:
                        raise self._not_even_one(name, error) from None
                    size = (len(first) + 1) // 2
                    waiting.append(first)
                    continue
                known |= set(series)
                self._bound(name, len(known))
                self._store.keep(questions[name], first, series)
                progress.add(len(first), name)
        return kept

    def _not_even_one(self, name: str, error: TooMuch) -> ExportError:
        return ExportError(
            f"{name}: {self.client.url} does not answer for a single time: {error.refusal.words}. {error.refusal.mend}"
            f" Query: {self.request.queries[name]}"
        )

    def _bound(self, name: str, series: int) -> None:
        if series > self._series_max:
            raise ExportError(
                f"{name} has more than {self._series_max} series (series_max), and each is a column. Aggregate in"
                f" the query, such as sum by (node) (...), or raise series_max. Query: {self.request.queries[name]}"
            )

    def _ask(self, name: str, query: str, grid: Grid, piece: Piece) -> Any:
        try:
            body = self.client.query_range(query, grid, piece)
            for text in body.get("warnings") or []:
                if f"{name}: {text}" not in self.warnings:
                    self.warnings.append(f"{name}: {text}")
            return read(body, grid, piece)
        except AnswerError as error:
            raise ExportError(f"{name}: {self.client.url}: {error}. Query: {query}") from None
        except ExportError as error:
            raise ExportError(f"{name}: {error} Query: {query}") from None

    def _judge_empty(self, table: Table) -> None:
        bare = [column.metric for column in table.columns if column.labels is None]
        if not bare:
            return
        known = self.client.metrics(table.grid)
        said = [
            nothing_there(
                metric,
                self.request.queries[metric],
                metrics_read(self.request.queries[metric]),
                known,
                when(table.grid),
            )
            for metric in bare
        ]
        if self._empty == "fail":
            raise ExportError(
                "\n".join(said) + "\nMend the query, leave it out (give it an empty query), or set empty to keep for an"
                " empty column. What was fetched is kept for the next run."
            )
        self.warnings += said

    # ---------------------------------------------------------------- files

    def _write(self, table: Table) -> dict[str, Any]:
        request, store = self.request, self._store
        plots = None
        if self.plots:
            from .export_plots import Plots

            plots = Plots(table.grid, table.columns)
        facts = {"url": request.url, "queries": json.dumps(dict(request.queries))}
        self._say(f"writing {self.path}")
        with store.put(self.path) as stream:
            rows = write(
                table,
                stream,
                request.form,
                split_path(self.path)[1],
                request.codec,
                facts,
                plots.see if plots else None,
            )
        for metric, path in self.plots.items():
            with store.put(path) as stream:
                plots.draw(metric, request.queries[metric], stream, request.plots)
        result = {
            "rows": rows,
            "sha256": digest(self.path),
            "columns": [column.as_dict(table.grid) for column in table.columns],
        }
        told = manifest(request, table.grid, result)
        with store.put(self.manifest_path) as stream:
            stream.write(json.dumps(told, indent=1).encode() + b"\n")
        return told


def digest(path: str) -> str:
    whole = hashlib.sha256()
    with open(path, "rb") as stream:
        while part := stream.read(1 << 20):
            whole.update(part)
    return whole.hexdigest()


# ---------------------------------------------------------------- what the action plugin answers


def answer(params: dict[str, Any], check: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """What an export with these arguments gives. ``check``: nothing is written. Raises ``ExportError``."""
    try:
        return _answer(params, check, say)
    except RangeError as error:
        raise ExportError(str(error)) from None


def _answer(params: dict[str, Any], check: bool, say: Callable[[str], None]) -> dict[str, Any]:
    began = time.monotonic()
    now_ms = time.time_ns() // 1_000_000
    request, path = asked(params)
    grid = make_grid(request.start, request.end, request.step, now_ms)
    client = Client(
        request.url,
        params["timeout_seconds"],
        params["patience_seconds"],
        params["username"],
        params["password"],
        params["token"],
        verify_by(params),
        certificate_of(params),
    )
    export = Export(request, path, client, params["empty"], params["series_max"], say)
    try:
        kept = None if params["force"] else export.kept()
        before = export.old_manifest()
        resumed = 0
        if kept is not None:
            told = kept
        elif check:
            export.try_out(grid)
            told = {"asked": request.as_dict()}
        else:
            told, resumed = export.run(now_ms, params["resume"] and not params["force"])
    finally:
        client.close()
    return {
        "changed": kept is None,
        "path": path,
        "manifest": export.manifest_path,
        "plots": list(export.plots.values()),
        "rows": told.get("rows"),
        "columns": told.get("columns", []),
        "range": told.get("range"),
        "requests": client.requests,
        "resumed_points": resumed,
        "seconds": round(time.monotonic() - began, 1),
        "warnings": export.warnings,
        "diff": {"before": shown(before), "after": shown(told), "before_header": path, "after_header": path},
    }


def asked(params: dict[str, Any]) -> tuple[Request, str]:
    """The question, and where its answer goes. Raises ``ExportError``."""
    path = os.path.abspath(os.path.expanduser(params["path"]))
    _stem, ending = split_path(path)
    url = params["url"].rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ExportError(f"url: {url!r} is no address. Write it as http://gpu-1.example.org:9090.")
    if "@" in parts.netloc:
        raise ExportError("url: it holds a password, which would stand in the manifest. Give username and password.")
    for name in ("series_max", "timeout_seconds"):
        if params[name] < 1:
            raise ExportError(f"{name}: {params[name]} is too little; expected 1 or more.")
    ready = profile(params["profile"], params["profile_matchers"], params["profile_by"], params["profile_window"])
    return Request(
        url=url,
        queries=check_queries({**ready, **params["queries"]}),
        start=params["start"],
        end=params["end"],
        step=params["step"],
        form=params["form"],
        file_format=ending,
        codec=params["codec"],
        plots=params["plots"],
    ), path


def verify_by(params: dict[str, Any]) -> bool | str:
    """What requests verifies certificates by. Raises ``ExportError``."""
    if not params["validate_certs"]:
        return False
    if params["ca_path"] and not os.path.exists(params["ca_path"]):
        raise ExportError(f"ca_path: {params['ca_path']} is not there. Name the file of the authority's certificate.")
    return params["ca_path"] or True


def certificate_of(params: dict[str, Any]) -> tuple[str, str] | str | None:
    """The client's certificate as requests takes it. Raises ``ExportError``."""
    for name in ("client_cert", "client_key"):
        if params[name] and not os.path.exists(params[name]):
            raise ExportError(f"{name}: {params[name]} is not there. Name a file in PEM form on the controller.")
    if params["client_cert"] and params["client_key"]:
        return params["client_cert"], params["client_key"]
    return params["client_cert"] or None


def shown(told: dict[str, Any] | None) -> str:
    return f"{json.dumps(told, indent=1)}\n" if told else ""
