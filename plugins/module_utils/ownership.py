# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is ours on a node: how a file was before we changed it, what we made of it, and so how to take ours back.

A module writes its ledger before it acts, so that a run that is killed owns what it did. Taking back is a merge of
three texts, by lines or, for JSON, by keys: ours, the one that is there now, and the one before us. What somebody else
changed since stays; where both changed the same place, the file is left as it is, and told. Nothing is guessed: what no
ledger names and no header of ours marks is not ours.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import files

STATE = "/var/lib/gpunode.ready"
FOLDER = "owned"
_GONE = object()


@dataclass(frozen=True)
class Content:
    """What lies at a path: a text, a link, or (both None) nothing."""

    text: str | None = None
    link: str | None = None
    mode: int | None = None

    def same(self, other: Content) -> bool:
        return (self.text, self.link) == (other.text, other.link)

    @property
    def there(self) -> bool:
        return self.text is not None or self.link is not None


NOTHING = Content()


@dataclass(frozen=True)
class Undo:
    """What a path should hold without us. With a problem it is left as it is, and the problem says why."""

    path: str
    before: Content
    after: Content
    problem: str = ""

    @property
    def changed(self) -> bool:
        return not self.problem and not self.before.same(self.after)


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return "".join(character if character.isalnum() else "-" for character in name.lower())


class Ledger:
    """What one caller did. ``place`` says where a path of the node really lies, for tests."""

    def __init__(self, name: str, place: Callable[[str], str] = str) -> None:
        self.name = name
        self.place = place
        self.path = place(f"{STATE}/{FOLDER}/{name}.json")
        self._data: dict[str, Any] | None = None

    # --- what is known

    @property
    def data(self) -> dict[str, Any]:
        if self._data is None:
            text = files.read_text(self.path)
            try:
                data = json.loads(text) if text is not None else {}
            except ValueError:
                raise files.WriteError(
                    self.path,
                    "what gpunode.ready owns cannot be read from it, so nothing is taken back by it. It is JSON: mend "
                    "it, or remove it, and then what it named is yours.",
                ) from None
            self._data = data if isinstance(data, dict) else {}
        return self._data

    @property
    def exists(self) -> bool:
        return bool(self.data)

    @property
    def paths(self) -> list[str]:
        return list(self.data.get("files", {}))

    def fact(self, name: str, default: Any = None) -> Any:
        return self.data.get("facts", {}).get(name, default)

    # --- what is written before acting

    def note(
        self,
        path: str,
        *,
        text: str | None = None,
        link: str | None = None,
        mode: int | None = None,
        follow: bool = False,
    ) -> None:
        """A file is about to be changed to this. Call ``save`` before it is."""
        now, ours = look(self.place(path), follow), Content(text, link, mode)
        layers = self.data.setdefault("files", {}).setdefault(path, {"follow": follow, "layers": []})["layers"]
        # As it was before the last one: that was killed, or taken back.
        if layers and any(_read(layers[-1][side]).same(now) for side in ("ours", "was")):
            layers[-1]["ours"] = _written(ours)
        else:
            layers.append({"was": _written(now), "ours": _written(ours)})
        folder = os.path.dirname(path)
        while folder not in ("", "/") and not os.path.isdir(self.place(folder)):
            folders = self.data.setdefault("folders", [])
            if folder not in folders:
                folders.append(folder)
            folder = os.path.dirname(folder)

    def keep(self, **facts: Any) -> None:
        """Facts besides; one that is known already stays."""
        known = self.data.setdefault("facts", {})
        for name, value in facts.items():
            known.setdefault(name, value)

    def replace(self, **facts: Any) -> None:
        """Facts that change; None takes one away."""
        known = self.data.setdefault("facts", {})
        for name, value in facts.items():
            if value is None:
                known.pop(name, None)
            else:
                known[name] = value

    def save(self) -> None:
        told = {"what": "What gpunode.ready did here, and how it was before. `state: absent` takes it back by this."}
        for folder in (self.place(STATE), os.path.dirname(self.path)):
            files.make_folder(folder, 0o700)
        files.replace_text(self.path, json.dumps({**told, **self.data}, indent=1, sort_keys=True) + "\n", mode=0o600)

    # --- what is taken back

    def undo(self, path: str) -> Undo:
        """How a file of the ledger should be without us. Raises ``files.WriteError`` where it cannot be read."""
        entry = self.data["files"][path]
        now = look(self.place(path), entry["follow"])
        wanted = now
        for layer in reversed(entry["layers"]):
            was, ours = _read(layer["was"]), _read(layer["ours"])
            found = _without(path, was, ours, wanted)
            if found is None:
                return Undo(
                    path, now, now, f"{path} was changed since, at the very place that is ours, so it is left as it is."
                )
            wanted = found
        return Undo(path, now, wanted)

    def forget(self) -> None:
        """All is taken back: folders that we made go where they are empty, then the ledger, then our own folders."""
        for folder in self.data.get("folders", []):
            with contextlib.suppress(OSError):
                os.rmdir(self.place(folder))
        files.remove(self.path)
        self._data = {}
        tidy(self.place)


def put(undo: Undo, place: Callable[[str], str] = str) -> None:
    """Do it. Raises ``files.WriteError``."""
    path = place(undo.path)
    if undo.after.link is not None:
        files.link(path, undo.after.link)
    elif undo.after.text is None:
        files.remove(path)
    else:
        follow = undo.before.link is None
        files.replace_text(path, undo.after.text, mode=undo.after.mode, follow=follow)


def tidy(place: Callable[[str], str] = str) -> None:
    """Remove our own folders where they are empty."""
    for folder in (f"{STATE}/{FOLDER}", f"{STATE}/backup", f"{STATE}/transactions", STATE):
        with contextlib.suppress(OSError):
            os.rmdir(place(folder))


def look(path: str, follow: bool) -> Content:
    if not follow:
        with contextlib.suppress(OSError):
            return Content(link=os.readlink(path))
    text = files.read_text(path)
    return NOTHING if text is None else Content(text, None, stat.S_IMODE(os.stat(path).st_mode))


def _written(content: Content) -> dict[str, Any] | None:
    if content.link is not None:
        return {"link": content.link}
    return None if content.text is None else {"text": content.text, "mode": content.mode}


def _read(told: Mapping[str, Any] | None) -> Content:
    return NOTHING if told is None else Content(told.get("text"), told.get("link"), told.get("mode"))


def _without(path: str, was: Content, ours: Content, now: Content) -> Content | None:
    """One layer taken off; None where that cannot be told."""
    if now.same(ours):
        return was
    if now.same(was) or not now.there:
        return now
    if now.text is None or ours.text is None or was.link is not None:
        return now if ours.link is not None else None  # our link is gone: somebody else's is there
    if path.endswith(".json"):
        text = merge_json(ours.text, now.text, was.text)
    elif was.text is None:
        return None
    else:
        text = merge_lines(ours.text, now.text, was.text)
    if text is None:
        return None
    return NOTHING if text == "" and was.text is None else Content(text, None, now.mode)


def merge_lines(base: str, mine: str, other: str) -> str | None:
    """What ``mine`` changed in ``base``, and what ``other`` did; None where both changed the same lines otherwise."""
    one, two, three = (text.splitlines(keepends=True) for text in (base, mine, other))
    in_two, in_three = _same_lines(one, two), _same_lines(one, three)
    stable = [place for place in range(len(one)) if place in in_two and place in in_three]
    result: list[str] = []
    start, start_two, start_three = 0, 0, 0
    for place in [*stable, len(one)]:
        end_two = in_two.get(place, len(two))
        end_three = in_three.get(place, len(three))
        old, left, right = one[start:place], two[start_two:end_two], three[start_three:end_three]
        if left == old:
            result += right
        elif right in (old, left):
            result += left
        elif left[: len(old)] == old:  # they only added something after what we had changed
            result += right + left[len(old) :]
        elif left[-len(old) :] == old:  # or before it
            result += left[: -len(old)] + right
        else:
            return None
        if place < len(one):
            result.append(two[end_two])
        start, start_two, start_three = place + 1, end_two + 1, end_three + 1
    return "".join(result)


def _same_lines(one: list[str], other: list[str]) -> dict[int, int]:
    blocks = difflib.SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return {block.a + step: block.b + step for block in blocks for step in range(block.size)}


def merge_json(base: str, mine: str, other: str | None) -> str | None:
    """The same for JSON objects, key by key; a list of ours loses our entries. Nothing left: an empty text."""
    try:
        trees = [json.loads(text or "{}") for text in (base, mine, other or "{}")]
    except ValueError:
        return None
    if not all(isinstance(tree, dict) for tree in trees):
        return None
    result = _merged(*trees)
    if not result and other is None:
        return ""
    if other is not None and result == trees[2]:
        return other
    return json.dumps(result, indent=2, ensure_ascii=False) + "\n"


def _merged(base: Mapping[str, Any], mine: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key in [*mine, *(key for key in other if key not in mine)]:
        values = [tree.get(key, _GONE) for tree in (base, mine, other)]
        ours, now, was = values
        if isinstance(now, dict) and isinstance(ours, dict):
            inner = _merged(ours, now, was if isinstance(was, dict) else {})
            value: Any = inner if inner or isinstance(was, dict) else _GONE
        elif now == ours:
            value = was
        elif isinstance(now, list) and isinstance(ours, list):
            before = was if isinstance(was, list) else []
            value = [item for item in now if item not in ours or item in before]
            value = value if value or isinstance(was, list) else _GONE
        else:
            value = now
        if value is not _GONE:
            result[key] = value
    return result


def told(undos: Iterable[Undo]) -> list[str]:
    return [undo.problem for undo in undos if undo.problem]
