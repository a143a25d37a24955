# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One support bundle of the nodes' parts, what was judged of them, and what the cluster said.

Rules of this file: whatever goes in passes through ``redaction``, or did on its node; one node is held at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import IO, Any

from ..module_utils.redaction import Redactor
from ..module_utils.support_bundle import Archive, members, safe_name
from .report import report
from .report_html import page

TOP = "gpunode-bundle"
LEFT_OUT = ("invocation", "ansible_facts")  # Ansible's own, and the facts once more


@contextlib.contextmanager
def replaced(path: str) -> Iterator[IO[bytes]]:
    """A file for its user alone, that is at ``path`` when all of it was written, and nowhere otherwise."""
    folder, name = os.path.split(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)  # 0600, of a name nobody can guess
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write(
    stream: IO[bytes],
    answers: Mapping[str, Any],
    parts: Mapping[str, Mapping[str, Any]],
    cluster: Mapping[str, Any],
    generated: str,
    title: str,
) -> dict[str, Any]:
    """Write the bundle. ``answers``: what was judged, by host; ``parts``: what ``node_bundle`` answered, by host.

    Gives what it holds: the manifest that stands in the bundle itself.
    """
    redactor = Redactor()
    archive = Archive(stream)
    manifest: dict[str, Any] = {"schema": 1, "generated": generated, "nodes": {}, "cluster": {}}

    def add(name: str, data: bytes) -> str:
        return archive.add(f"{TOP}/{name}", data)

    def document(name: str, value: Any) -> str:
        return add(name, _json(redactor.data(value)))

    slim = {}  # what the report tells of
    for host in sorted(answers):
        answer = answers[host] if isinstance(answers[host], Mapping) else {}
        slim[host] = redactor.data({key: value for key, value in answer.items() if key not in LEFT_OUT})
        if answer.get("cluster") is True:
            document("cluster/findings.json", answer)
            continue
        folder = f"nodes/{safe_name(host).replace('/', '_')}"
        add(f"{folder}/findings.json", _json({key: slim[host][key] for key in slim[host] if key != "facts"}))
        if answer.get("facts"):
            add(f"{folder}/facts.json", _json(slim[host]["facts"]))
        manifest["nodes"][str(host)] = _part(add, folder, parts.get(host) or {})
    if cluster:
        manifest["cluster"] = _cluster(add, document, redactor, cluster)
    told = report([{"host": host, "result": slim[host]} for host in slim], generated, title)
    add("report.json", _json(told))
    add("report.html", page(told).encode())
    manifest = redactor.data(manifest)
    add("manifest.json", _json(manifest))
    archive.close()
    return manifest


def _part(add: Any, folder: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """The node's own files, as its part has them; why there is none, where there is none."""
    told = {"held": part.get("held") or [], "unread": part.get("unread") or []}
    path = part.get("part")
    if not path:
        return {**told, "problem": str(part.get("msg") or "nothing was gathered")}
    try:
        with open(path, "rb") as stream:
            for name, data in members(stream):
                add(f"{folder}/{name}", data)
    except (OSError, ValueError) as error:
        return {**told, "problem": f"its part is not whole: {error}"}
    return told


def _cluster(add: Any, document: Any, redactor: Redactor, cluster: Mapping[str, Any]) -> dict[str, Any]:
    if cluster.get("facts"):
        document("cluster/facts.json", cluster["facts"])
    files = []
    for piece in [*(cluster.get("logs") or []), *chain(*(cluster.get("of_nodes") or {}).values())]:
        source = str(piece.get("source") or "text")
        text = redactor.text(str(piece.get("text") or ""), cut=True)
        files.append({"source": source, "file": add(f"cluster/logs/{_spoken(source)}", text.encode(errors="replace"))})
    return {"held": files, "unread": list(cluster.get("unread") or [])}


def _spoken(source: str) -> str:
    """``pod kube-system/x (main, previous)`` as a path."""
    return source.replace("pod ", "", 1).replace(", ", ".").replace(" (", "/").replace(")", "").replace(" ", "-")


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n").encode(
        errors="replace"
    )
