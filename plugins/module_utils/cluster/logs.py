# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster's pods and events say: the GPU stack's, and those of pods that are in trouble; bounded in every way.

Two lists, then one call for each container chosen. A log comes from the kubelet of its node: one that does not answer
is asked once, and its other pods are left alone. What could not be read is said, never raised.

Rules of this file: what leaves it passed through ``redaction``; what is over is left out, so that a solved problem is
not told again.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ..redaction import Redactor
from ..wording import count
from .client import PAGE, ApiError, Client, ClusterError, Unreachable
from .facts import component_of, device_requests

CONTAINERS = 40  # logs read of a cluster, the most telling first
LINES = 400  # of each
BYTES = 1 << 17
EVENTS = 500  # warnings kept, the newest
PAGES = 20  # of events looked at
EVENT_CHARACTERS = 4096
RECENT_SECONDS = 3600  # how long ago a container may have ended, or a warning been given, to matter
SILENT_NODES = 3  # kubelets that may fail to answer before no other is asked

# Where the GPU stack and what it needs live, whatever their images are called.
NAMESPACES = re.compile(r"(?:kube-system|gpu-operator(?:-resources)?|nvidia(?:-.+)?|node-feature-discovery)$")
GPU_NAMESPACES = re.compile(r"(?:gpu-operator(?:-resources)?|nvidia(?:-.+)?)$")


@dataclass(frozen=True, order=True)
class Wanted:
    """One container's log to read. ``rank``: how telling it is likely to be, the least first."""

    rank: int
    namespace: str
    pod: str
    container: str
    previous: bool = False
    node: str = ""

    @property
    def source(self) -> str:
        return f"pod {self.namespace}/{self.pod} ({self.container}{', previous' if self.previous else ''})"


@dataclass
class Said:
    """What was read: pieces by node (empty: of no node), what could not be read and why, and what was left out."""

    pieces: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    unread: list[dict[str, str]] = field(default_factory=list)

    def add(self, node: str, source: str, text: str) -> None:
        if text.strip():
            self.pieces.setdefault(node, []).append({"source": source, "text": text})


def read(client: Client, redactor: Redactor, now: float, containers: int = CONTAINERS, lines: int = LINES) -> Said:
    """Read events and logs. Raises ``ClusterError`` where not even the pods can be listed."""
    said = Said()
    pods = list(troubled(client, now))
    try:
        for node, text in events(client, {(pod.namespace, pod.name): pod for pod in pods}, now):
            said.add(node, "events", redactor.text(text))
    except ApiError as error:
        said.unread.append({"source": "events", "reason": str(error)})
    wanted = sorted({item for pod in pods for item in pod.wanted})
    if len(wanted) > containers:
        more = count(len(wanted) - containers, "more container")
        said.unread.append({"source": more, "reason": f"left out: {containers} logs are read at most"})
    client.patience_seconds = 0  # a kubelet that does not answer is not asked again
    silent: dict[str, str] = {}
    for item in wanted[:containers]:
        reason = silent.get(item.node) or ("nodes do not answer" if len(silent) >= SILENT_NODES else "")
        if not reason:
            text, reason, answered = log(client, item, lines)
            if not answered:
                silent[item.node] = reason
            elif not reason:
                said.add(item.node, item.source, redactor.text(text, cut=True))
        if reason:
            said.unread.append({"source": item.source, "reason": redactor.text(reason)})
    return said


# ---------------------------------------------------------------- pods


@dataclass(frozen=True)
class Pod:
    """A pod worth listening to: part of the GPU stack, or in trouble."""

    namespace: str
    name: str
    node: str
    well: bool
    ours: bool  # part of the GPU stack or of what it needs, or it asks for devices
    wanted: tuple[Wanted, ...]


def troubled(client: Client, now: float) -> Iterator[Pod]:
    """The pods of the GPU stack, and those that are in trouble and use it or carry the cluster."""
    for item in pages(client, "/api/v1/pods"):
        found = judged(item, now)
        if found is not None:
            yield found


def judged(item: Mapping[str, Any], now: float) -> Pod | None:
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    namespace, name, node = metadata.get("namespace") or "", metadata["name"], spec.get("nodeName") or ""
    phase = status.get("phase") or "Unknown"
    states = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    stack = bool(component_of(spec.get("containers") or []) or GPU_NAMESPACES.match(namespace))
    well = phase == "Succeeded" or (phase == "Running" and not any(_struggles(state, now) for state in states))
    ours = stack or bool(device_requests(spec)) or bool(NAMESPACES.match(namespace))
    if well and not stack:
        return None
    rank = (0 if stack and not well else 1 if device_requests(spec) else 2 if ours else 3) if not well else 4
    wanted = []
    if phase != "Succeeded" and node and status.get("reason") not in ("Evicted", "UnexpectedAdmissionError"):
        for state in states:
            struggles = _struggles(state, now)
            if not (struggles or (stack and state in (status.get("containerStatuses") or []))):
                continue
            about = (namespace, name, state.get("name") or "")
            waits = "waiting" in (state.get("state") or {}) and "terminated" in (state.get("lastState") or {})
            if struggles and (waits or _ended_recently(state, now)):
                wanted.append(Wanted(rank, *about, previous=True, node=node))
            if _has_log(state):
                wanted.append(Wanted(rank, *about, node=node))
    return Pod(namespace, name, node, well, ours, tuple(wanted))


def _struggles(state: Mapping[str, Any], now: float) -> bool:
    """Whether a container is not what it should be: it waits, it failed, or it was restarted a short while ago."""
    current = state.get("state") or {}
    if "waiting" in current or ((current.get("terminated") or {}).get("exitCode") or 0) != 0:
        return True
    return "running" in current and (state.get("ready") is False or _ended_recently(state, now))


def _ended_recently(state: Mapping[str, Any], now: float) -> bool:
    ended = ((state.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
    return bool(state.get("restartCount")) and bool(ended) and now - seconds(ended) < RECENT_SECONDS


def _has_log(state: Mapping[str, Any]) -> bool:
    """Whether the container has begun: one that only waits for its image has said nothing yet."""
    current = state.get("state") or {}
    return "running" in current or "terminated" in current


def log(client: Client, item: Wanted, lines: int) -> tuple[str, str, bool]:
    """(text, why there is none, whether the node answered) of one container's log."""
    path = f"/api/v1/namespaces/{item.namespace}/pods/{item.pod}/log"
    query = {"container": item.container, "tailLines": lines, "limitBytes": BYTES, "timestamps": "true"}
    try:
        status, text = client.raw(path, **query, **({"previous": "true"} if item.previous else {}))
    except Unreachable as error:
        return "", str(error), False
    except ClusterError as error:
        return "", str(error), True
    if status == 200:
        return text, "", True
    found = re.search(r'"message":\s*"((?:[^"\\]|\\.)*)"', text)
    reason = f"{status}: {found[1] if found else text.strip()[:300]}"
    return "", reason, status < 500


# ---------------------------------------------------------------- events


def events(client: Client, pods: Mapping[tuple[str, str], Pod], now: float) -> list[tuple[str, str]]:
    """(node, lines) of the newest warnings, the oldest first.

    Left out is what is over, or nobody's concern here: warnings about pods that are well or gone, old ones about what
    no state is known of, and why a pod that has nothing to do with GPUs finds no node.
    """
    newest: list[tuple[str, int, str, str]] = []
    for number, item in enumerate(pages(client, "/api/v1/events", limit=PAGES, fieldSelector="type=Warning")):
        about = item.get("involvedObject") or {}
        kind, namespace, name = (about.get(key) or "" for key in ("kind", "namespace", "name"))
        pod = pods.get((namespace, name)) if kind == "Pod" else None
        if kind == "Pod" and (pod is None or pod.well or (item.get("reason") == "FailedScheduling" and not pod.ours)):
            continue
        if kind != "Pod" and now - seconds(when(item)) > RECENT_SECONDS:
            continue
        node = name if kind == "Node" else pod.node if pod else ""
        entry = (when(item), number, node, event_line(item))
        if len(newest) < EVENTS:
            heapq.heappush(newest, entry)
        else:
            heapq.heappushpop(newest, entry)
    told: dict[str, list[str]] = {}
    for _when, _number, node, line in sorted(newest):
        told.setdefault(node, []).append(line)
    return [(node, "\n".join(lines) + "\n") for node, lines in told.items()]


def when(item: Mapping[str, Any]) -> str:
    series = item.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or item.get("lastTimestamp")
        or item.get("eventTime")
        or item["metadata"].get("creationTimestamp")
        or ""
    )


def event_line(item: Mapping[str, Any]) -> str:
    """An event as ``kubectl get events`` tells it, on one line."""
    about = item.get("involvedObject") or {}
    whom = "/".join(str(about[key]) for key in ("kind", "namespace", "name") if about.get(key))
    times = (item.get("series") or {}).get("count") or item.get("count") or 1
    message = " ".join(str(item.get("message") or "").split())[:EVENT_CHARACTERS]
    head = f"{when(item)} {item.get('type') or 'Warning'} {item.get('reason') or ''} {whom}: {message}"
    return head if times == 1 else f"{head} (x{times})"


# ---------------------------------------------------------------- reading lists


def pages(client: Client, path: str, limit: int = 0, **query: Any) -> Iterator[dict[str, Any]]:
    """The objects of a list, one page held at a time; ``limit`` pages at most. An expired list ends where it is."""
    token, number = "", 0
    while True:
        try:
            page = client.get(path, limit=PAGE, **query, **({"continue": token} if token else {}))
        except ApiError as error:
            if error.status == 410 and number:
                return
            raise
        yield from page.get("items") or []
        number += 1
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token or number == limit:
            return


def seconds(text: Any) -> float:
    """The time of an RFC 3339 text, in seconds since 1970; 0 for what is none."""
    found = re.match(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)", str(text))
    if not found:
        return 0.0
    try:
        return datetime(*map(int, found.groups()), tzinfo=timezone.utc).timestamp()  # type: ignore[misc, arg-type]
    except ValueError:
        return 0.0


def by_node(pieces: Mapping[str, Sequence[dict[str, str]]], known: Iterable[str]) -> tuple[dict[str, Any], list[Any]]:
    """Pieces of the nodes that are known, by name, and all others."""
    names = {name.lower(): name for name in known}
    mine: dict[str, Any] = {name: [] for name in names.values()}
    others: list[Any] = []
    for node, items in pieces.items():
        (mine[names[node.lower()]] if node.lower() in names else others).extend(items)
    return mine, others
