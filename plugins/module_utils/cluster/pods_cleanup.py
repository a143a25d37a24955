# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failed pods of a cluster, thousands of them, taken away in a few bounded calls; never a pod that runs.

The API deletes a whole collection in one call, but by name: between its list and its delete, another pod may have got
that name. So a collection call is sent only where it takes nothing else: every failed pod of the namespace that has
the labels is wanted, none is left out by age or reason, and the names are of a kind that is never used again (those of
a Deployment's ReplicaSets and of Jobs end in random letters). All others go one by one, each only while it is the very
pod, unchanged, that was looked at. No pod is deleted with a grace period of zero: of a failed pod nothing is left to
wait for, and any other would get the time that is its own.

Rules of this file: no Ansible, a client a thread. What is gone stays gone: a run that was killed is completed by the
next.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import quote

from ..wording import count
from .client import ApiError, Client, ClusterError, Unreachable

FAILED = "status.phase=Failed"
PAGE = 500  # pods a list call brings
BATCH = 200  # pods a collection call takes: about a second of the server's time
ALONE = 100  # pods that one thread takes one by one before it looks whether to stop
COLLECT_FROM = 20  # fewer are as quick one by one
THREADS = 4
NAMES = 20  # names kept for telling, of each namespace and reason
MIRROR = "kubernetes.io/config.mirror"
RANDOM = re.compile(r"[a-z0-9]{5}\Z")  # what the API adds to a generateName
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")

# Labels that only pods whose names end in random letters bear, the most common first.
FAMILIES = ("pod-template-hash", "job-name,controller-uid")

STAYED = {
    "running": "Left alone, because they run after all",
    "terminating": "Being deleted already",
    "static": "Left alone, mirrors of static pods",
    "other_reason": "Left alone, of another reason",
    "too_young": "Left alone, failed too short a time ago",
    "excluded": "Left alone, of excluded namespaces",
    "changed": "Left alone, changed since they were looked at",
    "gone": "Gone before, by somebody else",
}

VERBS = "list, delete and deletecollection"


class CleanupError(Exception):
    """Why it cannot go on, in words, with the mend; ``done`` says what had gone before."""

    def __init__(self, message: str, done: Done | None = None) -> None:
        super().__init__(message)
        self.done = done


@dataclass(frozen=True)
class Wanted:
    """Which failed pods are to go. Empty namespaces: all; empty reasons: any."""

    namespaces: tuple[str, ...] = ()
    exclude_namespaces: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    min_age_seconds: float = 0

    @property
    def everything(self) -> bool:
        """Whether a pod that fails only now would be wanted as well."""
        return not self.reasons and self.min_age_seconds <= 0


class Pod(NamedTuple):
    """What is kept of a failed pod."""

    namespace: str
    name: str
    uid: str
    version: str
    reason: str
    failed: str
    family: str


@dataclass
class Done:
    """What has gone, or would go: pods by namespace and reason, some of their names, and why others were kept."""

    gone: Counter[tuple[str, str]] = field(default_factory=Counter)
    names: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    oldest: dict[tuple[str, str], str] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)
    requests: int = 0

    @property
    def total(self) -> int:
        return sum(self.gone.values())

    def add(self, pod: Pod) -> None:
        key = (pod.namespace, pod.reason)
        self.gone[key] += 1
        some = self.names.setdefault(key, [])
        if len(some) < NAMES:
            some.append(pod.name)
        if pod.failed and pod.failed < self.oldest.get(key, "~"):
            self.oldest[key] = pod.failed


def problems(wanted: Wanted) -> list[str]:
    """What is wrong with what was asked for; all of it at once."""
    found = []
    for option in ("namespaces", "exclude_namespaces"):
        wrong = [name for name in getattr(wanted, option) if not NAMESPACE.match(name)]
        if wrong:
            names = ", ".join(f"`{name}`" for name in wrong)
            found.append(f"{option}: {names}: no name of a namespace; expected lower case letters, digits and `-`")
    both = sorted(set(wanted.namespaces) & set(wanted.exclude_namespaces))
    if both:
        found.append(f"{', '.join(both)}: in namespaces and in exclude_namespaces; expected one of the two")
    if any(not reason.strip() for reason in wanted.reasons):
        found.append("reasons: one is empty; expected words such as Evicted, or an empty list for any")
    if wanted.min_age_seconds < 0:
        found.append(f"min_age_seconds: {wanted.min_age_seconds:g}; expected 0 or more")
    return found


# ---------------------------------------------------------------- what a pod is


def failed_pod(item: Mapping[str, Any]) -> Pod:
    """The few words that are kept of a pod of the API."""
    metadata = item["metadata"]
    labels = metadata.get("labels") or {}
    prefix, name = str(metadata.get("generateName") or ""), str(metadata["name"])
    generated = bool(prefix) and name.startswith(prefix) and bool(RANDOM.match(name[len(prefix) :]))
    family = next((it for it in FAMILIES if all(key in labels for key in it.split(","))), "")
    return Pod(
        namespace=metadata.get("namespace") or "default",
        name=name,
        uid=metadata.get("uid") or "",
        version=metadata.get("resourceVersion") or "",
        reason=reason(item),
        failed=failed_at(item),
        family=family if generated else "",
    )


def reason(item: Mapping[str, Any]) -> str:
    """Why a pod failed, as the API or else its first container that ended says; ``Failed`` where nobody does."""
    status = item.get("status") or {}
    if status.get("reason"):
        return str(status["reason"])
    for state in _ended(status):
        if state.get("reason") and state["reason"] != "Completed":
            return str(state["reason"])
    return "Failed"


def failed_at(item: Mapping[str, Any]) -> str:
    """The last time that the pod's status names, as the API writes it: not before it failed, or empty."""
    status = item.get("status") or {}
    times = [str(state.get("finishedAt") or "") for state in _ended(status)]
    times += [str(it.get("lastTransitionTime") or "") for it in status.get("conditions") or []]
    times += [str(status.get("startTime") or ""), str(item["metadata"].get("creationTimestamp") or "")]
    return max(times)


def _ended(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or []:
            ended = (container.get("state") or {}).get("terminated")
            if ended:
                yield ended


def age_seconds(pod: Pod, now: datetime) -> float:
    """How long ago it failed; 0 where that cannot be told, so that nothing unknown counts as old."""
    try:
        then = datetime.strptime(pod.failed, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return 0.0
    return max(0.0, (now - then).total_seconds())


def why_kept(item: Mapping[str, Any], pod: Pod, wanted: Wanted, now: datetime) -> str:
    """Why a pod stays, or empty: ``running``, ``terminating``, ``static``, ``other_reason`` or ``too_young``."""
    if (item.get("status") or {}).get("phase") != "Failed":
        return "running"  # the field selector lets none through; this holds whatever answers
    if item["metadata"].get("deletionTimestamp"):
        return "terminating"
    if MIRROR in (item["metadata"].get("annotations") or {}):
        return "static"  # kubelet's mirror of a file on the node: it would come back
    if wanted.reasons and pod.reason not in wanted.reasons:
        return "other_reason"
    if wanted.min_age_seconds > 0 and age_seconds(pod, now) < wanted.min_age_seconds:
        return "too_young"
    return ""


# ---------------------------------------------------------------- what is done


class Cleanup:
    """Looks, and takes away, or only says what would go. ``connect`` makes a client; each thread has its own."""

    def __init__(self, connect: Callable[[], Client], wanted: Wanted, dry_run: bool = False) -> None:
        self.connect = connect
        self.wanted = wanted
        self.dry_run = dry_run
        self.done = Done()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._mine = threading.local()
        self._clients: list[Client] = []

    def run(self, now: datetime | None = None) -> Done:
        """Raises ``CleanupError`` and ``KubeconfigError``; then what had gone by then is gone."""
        now = now or datetime.now(timezone.utc)
        futures: list[Future[None]] = []
        try:
            self._refuse_unknown_namespaces()
            with ThreadPoolExecutor(THREADS) as pool:
                try:
                    for namespace, pods, whole in self._by_namespace(now):
                        if self.dry_run:
                            self._foretell(namespace, pods)
                            continue
                        futures += [pool.submit(self._or_stop, work) for work in self._work(namespace, pods, whole)]
                        self._raise_first(futures)
                except BaseException:
                    self._stop.set()
                    raise
            self._raise_first(futures)
        except ClusterError as error:
            raise CleanupError(told(error, self.done.total), self.done) from None
        finally:
            for client in self._clients:
                client.close()
            self.done.requests = sum(client.requests for client in self._clients)
        return self.done

    def _or_stop(self, work: Callable[[], None]) -> None:
        """One thread's work. Where it fails, the others stop as well."""
        try:
            work()
        except BaseException:
            self._stop.set()
            raise

    @staticmethod
    def _raise_first(futures: Iterable[Future[None]]) -> None:
        """The error of the first that failed, once it has; waits for nobody."""
        for future in futures:
            if future.done():
                future.result()

    @property
    def client(self) -> Client:
        """This thread's own."""
        mine: Client | None = getattr(self._mine, "client", None)
        if mine is None:
            mine = self._mine.client = self.connect()
            with self._lock:
                self._clients.append(mine)
        return mine

    # -- looking

    def _refuse_unknown_namespaces(self) -> None:
        unknown = []
        for name in self.wanted.namespaces:
            try:
                self.client.get(f"/api/v1/namespaces/{quote(name, safe='')}")
            except ApiError as error:
                if error.status == 404:
                    unknown.append(name)
                elif error.status != 403:  # who may clean a namespace need not be allowed to read its object
                    raise
        if unknown:
            raise CleanupError(
                f"namespaces: {', '.join(unknown)}: no such {'namespace' if len(unknown) == 1 else 'namespaces'} in "
                f"{self.client.where.server}. Mend the {'name' if len(unknown) == 1 else 'names'}, or leave "
                "`namespaces` out to clean all of them."
            )

    def _pages(self) -> Iterator[Sequence[Mapping[str, Any]]]:
        for name in dict.fromkeys(self.wanted.namespaces):
            yield from self.client.pages(_pods(name), PAGE, fieldSelector=FAILED)
        if not self.wanted.namespaces:
            yield from self.client.pages("/api/v1/pods", PAGE, fieldSelector=FAILED)

    def _by_namespace(self, now: datetime) -> Iterator[tuple[str, list[Pod], set[str]]]:
        """Each namespace with its pods that are to go, and the families of which none is to stay."""
        seen = ((item, failed_pod(item)) for page in self._pages() for item in page)
        for namespace, items in groupby(seen, key=lambda both: both[1].namespace):
            pods: list[Pod] = []
            partly: set[str] = set()
            for item, pod in items:
                why = "excluded" if namespace in self.wanted.exclude_namespaces else ""
                why = why or why_kept(item, pod, self.wanted, now)
                if why:
                    with self._lock:
                        self.done.kept[why] += 1
                # one that is being deleted loses nothing by a second call, as a run leaves it that was killed half-way
                stays = why not in ("", "terminating")
                if stays or not pod.family or item["metadata"].get("finalizers"):
                    partly.update(_families(item))
                if not why:
                    pods.append(pod)
            if pods:
                whole = set(FAMILIES) - partly if self.wanted.everything else set()
                yield namespace, pods, whole

    def _foretell(self, namespace: str, pods: Sequence[Pod]) -> None:
        """Count them, and let the API say whether they might be deleted at all."""
        self._delete(pods[0], dry_run=True)
        for pod in pods:
            self.done.add(pod)

    # -- taking away

    def _work(self, namespace: str, pods: Sequence[Pod], whole: set[str]) -> Iterator[Callable[[], None]]:
        """Who does what: a collection call, again and again, for a family that goes whole; the rest in portions."""
        single: list[Pod] = []
        for family in (*FAMILIES, ""):
            members = [pod for pod in pods if pod.family == family]
            if family in whole and len(members) >= COLLECT_FROM:
                yield partial(self._collection, namespace, family, members)
            else:
                single += members
        for start in range(0, len(single), ALONE):
            yield partial(self._one_by_one, single[start : start + ALONE])

    def _collection(self, namespace: str, family: str, members: Sequence[Pod]) -> None:
        selector = {"fieldSelector": FAILED, "labelSelector": family}
        seen: set[str] = set()
        for _round in range(len(members) // BATCH + 2):  # those that fail from now on are the next run's
            if self._stop.is_set():
                return
            try:
                answer = self.client.call("DELETE", _pods(namespace), _options(), {**selector, "limit": BATCH})
            except ApiError as error:
                if error.status == 403:  # it may delete pods, but no collection of them
                    break
                if error.status == 409:  # one of them was changed in that moment
                    continue
                raise
            taken = [item for item in answer.get("items") or [] if not item["metadata"].get("deletionTimestamp")]
            gone = [pod for pod in map(failed_pod, taken) if pod.uid not in seen]
            with self._lock:
                for pod in gone:
                    self.done.add(pod)
            seen.update(pod.uid for pod in gone)
            if not gone or not (answer.get("metadata") or {}).get("continue"):
                break
        rest = [pod for pod in members if pod.uid not in seen]
        if rest:
            self._settle(namespace, rest)

    def _settle(self, namespace: str, rest: Sequence[Pod]) -> None:
        """What no answer named: gone by a call whose answer was lost, or still there, and then taken one by one."""
        there = {
            item["metadata"].get("uid")
            for page in self.client.pages(_pods(namespace), PAGE, fieldSelector=FAILED)
            for item in page
        }
        with self._lock:
            for pod in rest:
                if pod.uid not in there:
                    self.done.add(pod)
        self._one_by_one([pod for pod in rest if pod.uid in there])

    def _one_by_one(self, pods: Sequence[Pod]) -> None:
        for pod in pods:
            if self._stop.is_set():
                return
            why = self._delete(pod)
            with self._lock:
                if why:
                    self.done.kept[why] += 1
                else:
                    self.done.add(pod)

    def _delete(self, pod: Pod, dry_run: bool = False) -> str:
        """Delete that very pod as it was seen. Why it was not: ``changed`` or ``gone``; empty where it was."""
        options = _options(uid=pod.uid, resourceVersion=pod.version)
        if dry_run:
            options["dryRun"] = ["All"]  # here: beside a body, the API does not look at the query
        before = self.client.requests
        try:
            self.client.call("DELETE", f"{_pods(pod.namespace)}/{quote(pod.name, safe='')}", options)
        except ApiError as error:
            if error.status == 404 and self.client.requests - before > 1:
                return ""  # it was asked twice, because the first answer, that it went, was lost
            if error.status == 404:
                return "gone"
            if error.status == 409:
                return "changed"
            raise
        return ""


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"


def _options(**preconditions: str) -> dict[str, Any]:
    options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    return {**options, "preconditions": preconditions} if preconditions else options


def _families(item: Mapping[str, Any]) -> list[str]:
    """Every family whose collection call would take this pod."""
    labels = item["metadata"].get("labels") or {}
    return [family for family in FAMILIES if all(key in labels for key in family.split(","))]


# ---------------------------------------------------------------- what is said


def told(error: ClusterError, gone: int) -> str:
    """An error in words, with the mend, and what had gone before."""
    so_far = f" {count(gone, 'pod')} had gone before; run it again, and it goes on from there." if gone else ""
    if isinstance(error, Unreachable):
        return f"{error}. Is the API server up, and is this its address?{so_far}"
    if isinstance(error, ApiError) and error.status == 401:
        return (
            f"{error}: the API does not know these credentials: a token or certificate that has expired, or another "
            f"cluster's. Renew the kubeconfig.{so_far}"
        )
    if isinstance(error, ApiError) and error.status == 403:
        return (
            f"{error}. These credentials need {VERBS} on pods: in a Role of each namespace that `namespaces` names, or "
            f"in a ClusterRole. Or use a kubeconfig that has them, such as /etc/kubernetes/admin.conf.{so_far}"
        )
    return f"{error}{so_far}"


def listing(done: Done) -> str:
    """What goes, for people: a line for each namespace and reason, and some of the names below it."""
    lines = []
    for key in sorted(done.gone):
        lines.append(_counted(done, key))
        names = sorted(done.names[key])
        lines += [f"  {name}" for name in names]
        if done.gone[key] > len(names):
            lines.append(f"  and {done.gone[key] - len(names)} more")
    return "".join(f"{line}\n" for line in lines)


def summary(done: Done, dry_run: bool = False) -> str:
    """What went and what stayed, without names."""
    verb = "would go" if dry_run else ("has gone" if done.total == 1 else "have gone")
    head = f"{count(done.total, 'failed pod')} {verb}{':' if done.total else ''}"
    kept = [f"{STAYED[why]}: {count(number, 'pod')}" for why, number in sorted(done.kept.items())]
    return "\n".join([head, *(f"  {_counted(done, key)}" for key in sorted(done.gone)), *kept])


def _counted(done: Done, key: tuple[str, str]) -> str:
    since = f", the oldest of {done.oldest[key]}" if done.oldest.get(key) else ""
    return f"{key[0]}: {key[1]}: {count(done.gone[key], 'pod')}{since}"
