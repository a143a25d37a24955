# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd's files say of a service: its unit, the drop-ins, the environment files, and the command they make.

Read as systemd reads them, and through ``Host`` alone: no unit has to be loaded, and nothing is asked of systemd. Every
word and variable comes with the file and line that it stands on.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from .host import Host

# systemd's own order: what an earlier folder says of a unit, or in a drop-in of one name, wins.
FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


def unit_files(host: Host, unit: str) -> list[str]:
    """The unit file that is in force, then its drop-ins as systemd applies them; empty where there is none."""
    main = next((f"{folder}/{unit}" for folder in FOLDERS if host.exists(f"{folder}/{unit}")), None)
    if main is None:
        return []
    drop_ins: dict[str, str] = {}
    for folder in FOLDERS:
        for name in host.list(f"{folder}/{unit}.d"):
            if name.endswith(".conf"):
                drop_ins.setdefault(name, f"{folder}/{unit}.d/{name}")
    return [main, *(drop_ins[name] for name in sorted(drop_ins))]


def service_settings(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, key, value) of the [Service] section; continued lines joined. Takes any text."""
    section, number, pending, start = "", 0, "", 0
    for line in text.split("\n"):
        number += 1
        stripped = line.strip()
        if pending == "":
            start = number
            if not stripped or stripped[0] in "#;":
                continue
        elif stripped[:1] in ("#", ";"):
            continue
        if stripped.endswith("\\"):
            pending += stripped[:-1] + " "
            continue
        whole, pending = pending + stripped, ""
        if whole.startswith("[") and whole.endswith("]"):
            section = whole[1:-1]
        elif section == "Service" and "=" in whole:
            key, _equals, value = whole.partition("=")
            yield start, key.strip(), value.strip()


def words(text: str) -> list[str]:
    """Split as systemd and environment files do: on blanks, with quotes. What is not well quoted is split on blanks."""
    try:
        return shlex.split(text, comments=False)
    except ValueError:
        return text.split()


def environment_file(text: str) -> dict[str, tuple[str, int]]:
    """Name -> (value, line) of an environment file. Takes any text."""
    found: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;" or "=" not in stripped:
            continue
        name, _equals, value = stripped.partition("=")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name.strip()] = (value, number)
    return found


def environment(host: Host, unit: str) -> dict[str, tuple[str, str]]:
    """Name -> (value, path:line) of the variables that a unit gives its program."""
    found: dict[str, tuple[str, str]] = {}
    files: list[str] = []
    for path, line, key, value in _settings(host, unit):
        if key == "Environment":
            if not value:
                found.clear()
            for word in words(value):
                name, equals, content = word.partition("=")
                if equals:
                    found[name] = (content, f"{path}:{line}")
        elif key == "EnvironmentFile":
            files = [*files, value.lstrip("-")] if value else []
    for pattern in files:  # read when the unit starts, so after every Environment=
        for path in host.glob(pattern) if re.search(r"[*?[]", pattern) else [pattern]:
            for name, (content, line) in environment_file(host.text(path) or "").items():
                found[name] = (content, f"{path}:{line}")
    return found


def command_line(host: Host, unit: str) -> list[tuple[str, str]]:
    """(word, where it comes from) of the command that the unit runs, variables expanded."""
    command, source = "", ""
    for path, line, key, value in _settings(host, unit):
        if key == "ExecStart":
            command, source = value, f"{path}:{line}"
    if not command:
        return []
    variables = environment(host, unit)
    found: list[tuple[str, str]] = []
    for word in words(command.lstrip("-@:+!")):
        whole = re.fullmatch(r"\$(\w+)", word)
        if whole:
            content, place = variables.get(whole.group(1), ("", source))
            found.extend((piece, place) for piece in words(content))
            continue
        places = [variables[name][1] for name in re.findall(r"\$\{(\w+)\}", word) if name in variables]
        expanded = re.sub(r"\$\{(\w+)\}", lambda match: variables.get(match.group(1), ("", ""))[0], word)
        found.append((expanded, places[0] if places else source))
    return found


def _settings(host: Host, unit: str) -> Iterator[tuple[str, int, str, str]]:
    """(path, line, key, value) of the unit file in force and its drop-ins, in the order in which they apply."""
    for path in unit_files(host, unit):
        for line, key, value in service_settings(host.text(path) or ""):
            yield path, line, key, value
