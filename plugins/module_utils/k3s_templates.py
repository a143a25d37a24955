# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates of containerd's configuration that somebody left for k3s: which one is in force, and what it would break.

k3s renders its own configuration at every start, and finds the NVIDIA runtime by itself. A template of a user's takes
the place of that. Rules of this file: text in, judgement out, no I/O; every reason names the line, or says what lacks.
What cannot be judged without rendering (a key below a condition) is not called broken. Read from
k3s-io/k3s:pkg/agent/containerd/config.go and pkg/agent/templates.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .runtime_files import dig
from .runtime_names import CRI, CRI_IMAGES, CRI_RUNTIME
from .toml import TomlError, parse

V3, V2 = "config-v3.toml.tmpl", "config.toml.tmpl"
NAMES = (V3, V2)  # in the order in which k3s takes the first that is there
# containerd 2 came within two minors: from then on a template of version 3 exists.
CONTAINERD_2 = {31: 6, 32: 2}
_ACTION = re.compile(r"\{\{-?\s*(?P<body>.*?)\s*-?\}\}", re.DOTALL)
_BASE = re.compile(r'\{\{-?\s*template\s+"(?P<name>[^"]*)"[^}]*\}\}')
_DEFINES = re.compile(r'\{\{-?\s*(?:define|block)\s+"(?P<name>[^"]*)"')
_OPENS = ("if", "range", "with", "define", "block")
# What the base declares besides what is in `runtimes`: a second table of that name ends containerd.
_SECTIONS = {V2: CRI, V3: CRI_RUNTIME}
_BASE_TABLES = {
    V2: (
        ("plugins", "io.containerd.internal.v1.opt"),
        ("plugins", CRI),
        ("plugins", CRI, "containerd"),
        ("plugins", CRI, "containerd", "runtimes", "runc"),
        ("plugins", CRI, "containerd", "runtimes", "runc", "options"),
    ),
    V3: (
        ("plugins", "io.containerd.internal.v1.opt"),
        ("plugins", CRI),
        ("plugins", CRI_RUNTIME),
        ("plugins", CRI_IMAGES),
        ("plugins", CRI_IMAGES, "registry"),
        ("plugins", CRI_RUNTIME, "containerd", "runtimes", "runc"),
        ("plugins", CRI_RUNTIME, "containerd", "runtimes", "runc", "options"),
    ),
}
_HEADER = re.compile(r"^[ \t]*\[(?P<name>[^\[\]].*?)\][ \t]*(?:#.*)?$")


@dataclass(frozen=True)
class Judgement:
    """A template: whether k3s takes it, and why what it renders would not work. No reasons: it is left alone."""

    name: str
    in_force: bool
    reasons: tuple[str, ...] = ()
    extends_base: bool = False

    @property
    def broken(self) -> bool:
        return self.in_force and bool(self.reasons)


def knows_version_3(minor: int, patch: int) -> bool:
    """Whether this release of k3s brings containerd 2, and with it templates of version 3."""
    if minor in CONTAINERD_2:
        return patch >= CONTAINERD_2[minor]
    return minor > max(CONTAINERD_2)


def judge(
    texts: Mapping[str, str], version_3: bool, found: Collection[str] = (), flannel: bool = True
) -> list[Judgement]:
    """Each template that is there. ``texts``: by name; ``found``: the handlers that k3s finds on this node itself
    (nvidia, nvidia-cdi, crun); ``flannel``: whether k3s brings the pod network, whose folders containerd must know.
    """
    taken = next((name for name in NAMES if name in texts and (version_3 or name != V3)), None)
    judged = []
    for name in NAMES:
        if name in texts:
            text = texts[name]
            reasons = tuple(_reasons(name, text, found, flannel)) if name == taken else ()
            judged.append(Judgement(name, name == taken, reasons, _extends(text)))
    return judged


def _extends(text: str) -> bool:
    return any(item.group("name") == "base" for item in _BASE.finditer(text))


def _reasons(name: str, text: str, found: Collection[str], flannel: bool) -> Iterator[str]:
    unrendered = list(_cannot_render(text))
    yield from unrendered
    if unrendered:
        return
    if _extends(text):
        yield from _declared_twice(name, text, found, flannel)
        return
    try:
        data = parse(_without_actions(text)).data
    except TomlError as error:
        if not _ACTION.search(text):
            yield f"line {error.line}: it is no TOML ({error.problem}), so containerd does not start"
        return
    yield from _lacks(name, text, data, flannel)


def _cannot_render(text: str) -> Iterator[str]:
    known = {"base", *(item.group("name") for item in _DEFINES.finditer(text))}
    for item in _BASE.finditer(text):
        name = item.group("name")
        if name not in known:
            yield f'line {_line(text, item.start())}: it uses the template "{name}", and k3s has only "base"'
    rest = _ACTION.sub(lambda found: "\n" * found.group(0).count("\n"), text)
    for mark in ("{{", "}}"):
        if mark in rest:
            yield f"line {_line(rest, rest.find(mark))}: `{mark}` without its other half, so k3s cannot render it"
            return
    depth = 0
    for item in _ACTION.finditer(text):
        word = item.group("body").split(None, 1)[:1]
        depth += 1 if word and word[0] in _OPENS else -1 if word == ["end"] else 0
        if depth < 0:
            yield f"line {_line(text, item.start())}: `end` closes nothing, so k3s cannot render it"
            return
    if depth:
        yield "a condition or loop in it has no `end`, so k3s cannot render it"


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, max(place, 0)) + 1


def _declared_twice(name: str, text: str, found: Collection[str], flannel: bool) -> Iterator[str]:
    """Tables that the base, or what k3s found itself, has declared already."""
    section = _SECTIONS[name]
    tables = (*_BASE_TABLES[name], *([("plugins", section, "cni")] if flannel else []))
    known: dict[tuple[str, ...], str] = dict.fromkeys(tables, "it is in k3s' own configuration")
    for handler in found:
        own = ("plugins", section, "containerd", "runtimes", handler)
        why = f"k3s has found {handler} on this node, and declares it itself"
        known.update({own: why, (*own, "options"): why})
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        for item in _ACTION.finditer(line):
            word = item.group("body").split(None, 1)[:1]
            depth += 1 if word and word[0] in _OPENS else -1 if word == ["end"] else 0
        header = _HEADER.match(line)
        if header and depth == 0:
            path = _path(header.group("name"))
            if path in known:
                yield (
                    f"line {number}: it declares [{header.group('name').strip()}] a second time ({known[path]}), so "
                    f"containerd stops at `table {path[-1]} already exists`"
                )
            known.setdefault(path, f"line {number} does already")


def _path(name: str) -> tuple[str, ...]:
    """The keys of a table's header; empty of one that cannot be read."""
    try:
        data: Any = parse(f"[{name}]\n").data
    except TomlError:
        return ()
    path: list[str] = []
    while isinstance(data, Mapping) and data:
        key = next(iter(data))
        path.append(key)
        data = data[key]
    return tuple(path)


def _without_actions(text: str) -> str:
    """What is left without the template's language: a line of it alone goes, a value by it becomes a text."""
    lines = []
    for line in text.splitlines():
        bare = _ACTION.sub("", line)
        if bare != line and not bare.strip():
            lines.append("")
        elif re.search(r'"[^"]*\{\{.*\}\}[^"]*"', line) or bare == line:
            lines.append(_ACTION.sub("rendered", line))
        else:
            lines.append(_ACTION.sub('"rendered"', line))
    return "\n".join(lines)


def _lacks(name: str, text: str, data: Mapping[str, Any], flannel: bool) -> Iterator[str]:
    """What a template that stands for the whole configuration leaves out."""
    sections = [dig(data, "plugins", key) for key in (CRI_RUNTIME, CRI, "cri")]
    own = [section for section in sections if isinstance(section, Mapping)]
    if flannel:
        folders = [dig(section, "cni", key) for section in own for key in ("bin_dir", "bin_dirs")]
        configs = [dig(section, "cni", "conf_dir") for section in own]
        lacking = [
            words
            for words, values in (("bin_dir (or bin_dirs)", folders), ("conf_dir", configs))
            if not any(value for value in values)
        ]
        if lacking:
            yield (
                f'it takes the place of the whole configuration (no {{{{ template "base" . }}}}), and its CNI part has '
                f"no {' and no '.join(lacking)}: containerd then looks in /opt/cni/bin and /etc/cni/net.d, where k3s "
                "puts nothing, and the node stays NotReady with `cni plugin not initialized`"
            )
        for value in folders:
            for path in value if isinstance(value, list) else [value]:
                stale = re.match(r"/var/lib/rancher/k3s/data/[0-9a-f]{64}/", str(path or ""))
                if stale:
                    yield (
                        f"line {_line(text, text.find(stale.group(0)))}: it names {path}, a folder of one release of "
                        "k3s: the next one brings another, and this one goes"
                    )
    runc = [dig(section, "containerd", "runtimes", "runc") for section in own]
    if not any(isinstance(table, Mapping) for table in runc):
        yield (
            "it takes the place of the whole configuration, and declares no handler runc: no pod without a class starts"
        )
