# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Range queries over HTTP, by requests: asked again while Prometheus is away, in words where it says no."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from ..module_utils.prometheus_export import ExportError, span
from ..module_utils.prometheus_range import Grid, Piece, iso, seconds
from ..module_utils.prometheus_refusals import AGAIN, LESS, Refusal, judge

try:
    import requests
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

ANSWER_BYTES = 32 << 20  # of JSON, which takes about seven times as much once it is read
CONNECT_SECONDS = 10
GRACE_SECONDS = 10  # Prometheus ends a query at its time limit, and says so: wait for that


class TooMuch(Exception):
    """More than is answered at once: ask for less."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.words)
        self.refusal = refusal


class Client:
    """One Prometheus over one session. ``patience_seconds``: how long one that is away is asked again."""

    def __init__(
        self,
        url: str,
        timeout_seconds: float = 120,
        patience_seconds: float = 60,
        username: str = "",
        password: str = "",
        token: str = "",
        verify: bool | str = True,
        certificate: tuple[str, str] | str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.requests = 0
        self._timeout = timeout_seconds
        self._patience = patience_seconds
        self._verify = verify
        self._certificate = certificate
        self._clock = clock
        self._sleep = sleep
        self._method = "POST"  # so that a query may be long; where a proxy does not let it pass, GET
        self._session = requests.Session()
        if token:
            self._session.auth = Bearer(token)
        elif username:
            self._session.auth = (username, password)

    def close(self) -> None:
        self._session.close()

    def query_range(self, query: str, grid: Grid, piece: Piece) -> Any:
        """What Prometheus answers about the points of a piece. Raises ``TooMuch`` and ``ExportError``."""
        ends = {"start": seconds(grid.time(piece.first)), "end": seconds(grid.time(piece.after - 1))}
        limit = {"timeout": f"{round(self._timeout * 1000)}ms", "nocache": "1"}  # VictoriaMetrics would shift the range
        return self._ask("query_range", {"query": query, **ends, "step": seconds(grid.step_ms), **limit})

    def metrics(self, grid: Grid) -> list[str]:
        """The names of the metrics that there are in a range."""
        body = self._ask("label/__name__/values", {"start": seconds(grid.start_ms), "end": seconds(grid.end_ms)}, "GET")
        return [str(name) for name in body.get("data") or []]

    def _ask(self, path: str, fields: dict[str, str], method: str = "") -> Any:
        until = self._clock() + self._patience
        pause = 0.2
        while True:
            try:
                status, kind, text = self._once(path, fields, method or self._method)
                problem = self._unfit(status, kind, text)
            except requests.exceptions.RequestException as error:
                problem = self._broken(error)
            if problem is None:
                return json.loads(text)
            if status_is(problem, 405) and self._method == "POST" and not method:
                self._method = "GET"
                continue
            if problem.what == LESS:
                raise TooMuch(problem)
            if problem.what != AGAIN:
                raise ExportError(f"{self.url}: {problem.words}. {problem.mend}")
            if self._clock() + pause > until:
                raise ExportError(f"{self.url}: {problem.words}, for {span(self._patience)} on end. {problem.mend}")
            self._sleep(pause)
            pause = min(pause * 2, 5)

    def _once(self, path: str, fields: dict[str, str], method: str) -> tuple[int, str, str]:
        """(status, content type, text) of one answer. Raises what requests does, and ``TooMuch``."""
        self.requests += 1
        with self._session.request(
            method,
            f"{self.url}/api/v1/{path}",
            params=fields if method == "GET" else None,
            data=fields if method == "POST" else None,
            timeout=(CONNECT_SECONDS, self._timeout + GRACE_SECONDS),
            verify=self._verify,  # handed over each time, for else $REQUESTS_CA_BUNDLE would win
            cert=self._certificate,
            stream=True,
        ) as answer:
            body = bytearray()
            for part in answer.iter_content(1 << 16):
                body += part
                if len(body) > ANSWER_BYTES:
                    raise TooMuch(
                        Refusal(
                            LESS,
                            f"one point of all series is more than {ANSWER_BYTES >> 20} MiB",
                            "Aggregate in the query: sum by (...), topk(...).",
                        )
                    )
            return answer.status_code, answer.headers.get("Content-Type", ""), body.decode("utf-8", "replace")

    def _unfit(self, status: int, kind: str, text: str) -> Refusal | None:
        """What is wrong with an answer; None where nothing is."""
        if status >= 300:
            return judge(status, text)
        try:
            body = json.loads(text)
        except ValueError:
            body = None
        if isinstance(body, dict) and body.get("status") == "success":
            return None
        said = kind.partition(";")[0] or "something"
        return Refusal(
            "",
            f"{said} came, not the JSON of Prometheus",
            "Let url be Prometheus itself, not a page or a login before it.",
        )

    def _broken(self, error: Exception) -> Refusal:
        """What it means that there is no answer."""
        kinds = requests.exceptions
        if isinstance(error, kinds.SSLError):
            return Refusal(
                "", f"no trusted connection: {reason(error)}", "Give ca_path, or the name in its certificate."
            )
        if isinstance(error, (kinds.InvalidURL, kinds.MissingSchema, kinds.InvalidSchema)):
            return Refusal("", f"is no address: {error}", "Write url as http://gpu-1.example.org:9090.")
        if isinstance(error, kinds.ReadTimeout):
            return Refusal(
                AGAIN, f"no answer within {span(self._timeout + GRACE_SECONDS)}", "See whether it still runs."
            )
        if isinstance(error, kinds.ConnectionError):
            return Refusal(AGAIN, reason(error), "See whether Prometheus runs, and whether this machine reaches it.")
        return Refusal(
            AGAIN, f"the answer broke off: {reason(error)}", "Look at Prometheus, and at the proxy before it."
        )


if MISSING is None:

    class Bearer(requests.auth.AuthBase):
        """As a class of requests, for a plain header gives way to ~/.netrc."""

        def __init__(self, token: str) -> None:
            self._token = token

        def __call__(self, request: Any) -> Any:
            request.headers["Authorization"] = f"Bearer {self._token}"
            return request


def status_is(problem: Refusal, status: int) -> bool:
    return problem.words.startswith(f"HTTP {status}:")


def reason(error: Exception) -> str:
    """The innermost reason of an error of requests, which wraps it three times."""
    text = str(error)
    found = re.findall(r"\[Errno -?\d+\] ([^'\")]+)", text) or re.findall(r"certificate verify failed: ([^(']+)", text)
    if found:
        return found[-1].strip()
    return re.sub(r"^.*\(Caused by \w+\((.*)\)\)$", r"\1", text, flags=re.DOTALL)[:300] or type(error).__name__


def when(grid: Grid) -> str:
    return f"from {iso(grid.start_ms)} to {iso(grid.end_ms)}"
