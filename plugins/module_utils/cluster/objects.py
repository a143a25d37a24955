# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many objects of a cluster as they should be, in one call: server-side apply, or gone.

Each object costs a GET and a PATCH over one connection; each API group one look at what it serves. What the server
answers is compared with what was there, so that a second call changes nothing and says so. Fields that another manager
owns with another value are never taken: the conflict is told, with the manager and the field.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .client import APPLY, MERGE, ApiError, Client, Unreachable

MANAGER = "gpunode.ready"
# What the server keeps for itself: it differs between two looks at the same object.
SERVERS_OWN = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


class ObjectError(Exception):
    """An object could not be made as it should be: which, and what the API said."""


@dataclass(frozen=True)
class Outcome:
    """What became of one object: created, changed, unchanged, deleted, absent or skipped (not there, must exist)."""

    kind: str
    name: str
    namespace: str
    result: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def changed(self) -> bool:
        return self.result in ("created", "changed", "deleted")


def _metadata(item: Mapping[str, Any]) -> Mapping[str, Any]:
    value = item.get("metadata")
    return value if isinstance(value, Mapping) else {}


def label(item: Mapping[str, Any]) -> str:
    """``DaemonSet kube-system/nvidia-device-plugin``."""
    metadata = _metadata(item)
    space = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{item.get('kind')} {space}{metadata.get('name')}"


def problems(items: Sequence[Any]) -> list[str]:
    """What is wrong with a list of objects before anything is sent; all of it at once."""
    found = []
    seen: set[tuple[Any, ...]] = set()
    for number, item in enumerate(items, 1):
        if not isinstance(item, Mapping):
            found.append(f"object {number} is {type(item).__name__}; expected a mapping")
            continue
        metadata = _metadata(item)
        name = metadata.get("name")
        lacks = [key for key in ("apiVersion", "kind") if not isinstance(item.get(key), str) or not item[key]]
        lacks += [] if isinstance(name, str) and name else ["metadata.name"]
        if lacks:
            found.append(f"object {number} ({item.get('kind') or 'no kind'}) has no {' and no '.join(lacks)}")
            continue
        key = (item["apiVersion"], item["kind"], metadata.get("namespace") or "", name)
        if key in seen:
            found.append(f"{label(item)} stands there twice")
        seen.add(key)
    return found


class Objects:
    """Applies and deletes through a client. ``patience_seconds`` also bounds the wait for a kind not served yet."""

    def __init__(
        self,
        client: Client,
        manager: str = MANAGER,
        dry_run: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client = client
        self.manager = manager
        self.dry_run = dry_run
        self._served: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._minor: int | None = None  # of the API server, where it matters
        self._clock = clock
        self._sleep = sleep

    # -- where an object lives

    def path(self, item: Mapping[str, Any], wait: bool = True) -> str:
        """The path of an object; waits, bounded, for a kind that a new CustomResourceDefinition is about to serve."""
        version, kind = item["apiVersion"], item["kind"]
        until = self._clock() + self.client.patience_seconds
        while True:
            resource = self._resources(version).get(kind)
            if resource is not None:
                break
            if not wait or self._clock() > until:
                raise ObjectError(
                    f"{label(item)}: the API serves no {kind} in {version}; install what brings it, or use a version "
                    "that this cluster has"
                )
            self._served.pop(version, None)
            self._sleep(0.5)
        base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if resource.get("namespaced"):
            base += f"/namespaces/{item['metadata'].get('namespace') or 'default'}"
        return f"{base}/{resource['name']}/{item['metadata']['name']}"

    def _resources(self, version: str) -> dict[str, Mapping[str, Any]]:
        if version not in self._served:
            try:
                answer = self.client.get(f"/api/{version}" if "/" not in version else f"/apis/{version}")
            except ApiError as error:
                if error.status != 404:
                    raise
                answer = {}
            kinds = [item for item in answer.get("resources") or [] if "/" not in item["name"]]
            self._served[version] = {item["kind"]: item for item in kinds}
        return self._served[version]

    def current(self, path: str) -> dict[str, Any] | None:
        try:
            return self.client.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    # -- what is done

    def apply(self, items: Iterable[Mapping[str, Any]], force: bool = False, must_exist: bool = False) -> list[Outcome]:
        """Make each object so, in order. Raises ``ObjectError`` at the first that cannot be; what is done stays."""
        done: list[Outcome] = []
        promised: set[str] = set()  # namespaces and kinds that only a real run would have made by now
        for item in items:
            done.append(self._apply(item, force, must_exist, promised))
            if self.dry_run and done[-1].result == "created":
                if item["kind"] == "Namespace":
                    promised.add(f"namespace {item['metadata']['name']}")
                if item["kind"] == "CustomResourceDefinition":
                    spec = item.get("spec") or {}
                    promised.add(f"kind {(spec.get('names') or {}).get('kind')}")
        return done

    def _apply(self, item: Mapping[str, Any], force: bool, must_exist: bool, promised: set[str]) -> Outcome:
        space = item["metadata"].get("namespace") or ""
        if f"kind {item['kind']}" in promised or f"namespace {space}" in promised:
            return Outcome(item["kind"], item["metadata"]["name"], space, "created", {}, item)
        try:
            path = self.path(item)
            before = self.current(path)
            if before is None and must_exist:
                return Outcome(item["kind"], item["metadata"]["name"], space, "skipped", {}, {})
            query = {"fieldManager": self.manager, "force": "true" if force else "", "dryRun": self._dry()}
            after = self._send(path, item, query, before)
        except ApiError as error:
            raise ObjectError(refusal(item, error)) from None
        except Unreachable as error:
            raise ObjectError(f"{label(item)}: {error}") from None
        old, new = comparable(before or {}), comparable(after)
        result = "created" if before is None else "changed" if old != new else "unchanged"
        return Outcome(item["kind"], item["metadata"]["name"], space, result, old, new)

    def _send(
        self, path: str, item: Mapping[str, Any], query: dict[str, Any], before: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        if item["kind"] != "APIService" or not self._older_than_121():
            return self.client.call("PATCH", path, item, query, APPLY)
        # until 1.21 the API server breaks off when it is to apply one: kubernetes/kubernetes issue 89264
        query.pop("force")
        if before is None:
            return self.client.call("POST", path.rpartition("/")[0], item, query)
        return self.client.call("PATCH", path, item, query, MERGE)

    def _older_than_121(self) -> bool:
        if self._minor is None:
            found = re.match(r"v1\.(\d+)\.", str(self.client.get("/version").get("gitVersion")))
            self._minor = int(found[1]) if found else 21
        return self._minor < 21

    def delete(self, items: Iterable[Mapping[str, Any]]) -> list[Outcome]:
        """Take each object away, the last first; what is not there is fine. Raises ``ObjectError``."""
        done = []
        for item in reversed(list(items)):
            name, space = item["metadata"]["name"], item["metadata"].get("namespace") or ""
            try:
                path = self.path(item, wait=False)
                before = self.current(path)
                if before is not None:
                    query = {"dryRun": self._dry(), "propagationPolicy": "Background"}
                    self.client.call("DELETE", path, query=query)
            except ApiError as error:
                if error.status != 404:
                    raise ObjectError(refusal(item, error)) from None
                before = None
            except Unreachable as error:
                raise ObjectError(f"{label(item)}: {error}") from None
            except ObjectError:  # a kind that is not served has no objects
                before = None
            result = "absent" if before is None else "deleted"
            done.append(Outcome(item["kind"], name, space, result, comparable(before or {}), {}))
        return done

    def _dry(self) -> str:
        return "All" if self.dry_run else ""


def refusal(item: Mapping[str, Any], error: ApiError) -> str:
    """What the API said to an object, with the mend where one is known."""
    if error.status == 409 and error.causes:
        told = "; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in error.causes[:6])
        return (
            f"{label(item)}: fields are owned by somebody else, with other values: {told}. Change them there, leave "
            "them out here, or take them over with `force_conflicts: true`."
        )
    if error.status == 403:
        return f"{label(item)}: these credentials may not: {error.message}"
    if error.causes:
        told = "; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in error.causes[:6])
        return f"{label(item)}: {error.reason}: {told}"
    return f"{label(item)}: {error.reason}: {error.message}"


def comparable(item: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what the server keeps for itself."""
    metadata = {key: value for key, value in (item.get("metadata") or {}).items() if key not in SERVERS_OWN}
    rest = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    return {**rest, "metadata": metadata} if item else {}


def differences(before: Any, after: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """path → (before, after) of every field that differs; lists are compared whole."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        found: dict[str, tuple[Any, Any]] = {}
        for key in sorted({*before, *after}):
            found.update(differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key)))
        return found
    return {} if before == after else {path: (before, after)}
