# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done about an answer that is none: asked again, asked for less at once, or told with its mend."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass

AGAIN, LESS, REFUSED = "again", "less", "refused"


@dataclass(frozen=True)
class Refusal:
    """``what`` is AGAIN, LESS or REFUSED; ``words``: what the server said; ``mend``: what helps in the end."""

    what: str
    words: str
    mend: str


def judge(status: int, text: str) -> Refusal:
    """What an answer that is no success means. ``text``: its body."""
    kind, said = _said(text)
    words = f"HTTP {status}: {said}"
    low = said.lower()
    if status == 401:
        return Refusal(REFUSED, words, "Give the right username and password, or token.")
    if status == 403:
        return Refusal(REFUSED, words, "Give the credentials of a user who may query.")
    if status == 404 and not kind:
        return Refusal(
            REFUSED, words, "Let url be the address below which /api/v1/query_range lies, with the path of its proxy."
        )
    if "exceeded maximum resolution" in low or "too many samples" in low:
        return Refusal(LESS, words, "Aggregate in the query, or raise --query.max-samples of Prometheus.")
    if kind == "timeout" or "timed out" in low:
        return Refusal(
            LESS,
            words,
            "Raise timeout_seconds and --query.timeout of Prometheus, or have a recording rule work it out.",
        )
    if kind == "bad_data" or status == 400:
        return Refusal(REFUSED, words, "Mend the query.")
    if kind == "execution" or status == 422:
        return Refusal(REFUSED, words, "Mend the query: Prometheus parses it and cannot evaluate it.")
    if status == 429 or status >= 500:
        return Refusal(AGAIN, words, "Look at Prometheus: its log, its memory, and the proxy before it.")
    return Refusal(REFUSED, words, "Let url be the address of Prometheus itself.")


def _said(text: str) -> tuple[str, str]:
    """(error type, message) of Prometheus' envelope; of anything else its first line."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict) and (body.get("errorType") or body.get("error")):
        return str(body.get("errorType") or ""), str(body.get("error") or "no reason given")
    plain = next((line.strip() for line in text.splitlines() if line.strip()), "an empty answer")
    return "", plain[:200]


def nothing_there(name: str, query: str, metrics: Sequence[str], known: Sequence[str], when: str) -> str:
    """Why a query has no series, in words. ``known``: the names of the metrics that Prometheus has in that range."""
    unknown = [metric for metric in metrics if metric not in known]
    if not known:
        why = f"Prometheus has no series at all {when}: is that before its retention, or before its first scrape?"
    elif not unknown:
        why = "its metrics are there, and nothing of them is left by its matchers, functions or operators."
    else:
        near = difflib.get_close_matches(unknown[0], known, 3, 0.6)
        why = f"Prometheus knows no {' and no '.join(unknown)} {when}" + (
            f"; it knows {', '.join(near)}." if near else "."
        )
    return f"{name} has no series: {why} Query: {query}"
