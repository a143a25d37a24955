# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the variables of a host, judged by the argument specs of all roles at once.

Ansible checks a role's variables when that role begins, which may be long after the first change, and never tells of a
variable that no role knows. This runs on the controller, before anything. Rules of this file: it reads the specs and
inventory files, writes nothing, runs nothing, and shows no value that may be a secret.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import yaml

SITE_PREFIX = "gpunode_"
# Programs that other roles are named after too: a name of theirs is no mistake unless it nearly is one of ours.
COMMON_PREFIXES = ("docker_", "containerd_", "crio_", "k3s_", "cni_", "kubeadm_", "monitoring_", "diagnosis_")
NEAR_ENOUGH = 0.8  # for a name with one of our prefixes
NEARLY_THE_SAME = 0.9  # for any other name

TRUTHS = {"yes", "on", "1", "true", "t", "y", "no", "off", "0", "false", "f", "n"}
SECRET = re.compile(r"passw|secret|token|credential|private_key", re.IGNORECASE)
# Text that goes into unit files, repositories, commands: a quote or a line end in it can only be a mistake or worse.
STRICT = re.compile(
    r"(url|uri|mirror|registry|version|branch|repository|repositories|suite|suites|component|components|package|packages"
    r"|fingerprint|fingerprints|path|paths|root|output|folder|dir|dirs|unit|units|service|services|device|devices|module"
    r"|modules|name|names|node)$"
)
FREE_TEXT = re.compile(r"(content|text|description|comment|message|key|keys|certificate|banner|extra|config)$")
DANGEROUS = (
    ("$(", "a command substitution"),
    ("${", "a shell expansion"),
    ("`", "a backtick"),
    ('"', "a double quote"),
    ("'", "a single quote"),
    (";", "a semicolon"),
    ("|", "a pipe"),
    ("&", "an ampersand"),
    ("<", "a redirection"),
    (">", "a redirection"),
)
# Unit in a name -> the least and the most that makes sense.
RANGES = (
    (re.compile(r"_port$"), 1, 65535),
    (re.compile(r"_percent$"), 0, 100),
    (re.compile(r"_replicas$"), 1, None),
    (re.compile(r"_(seconds|minutes|days|mib|gib|bytes|count|retries)$"), 0, None),
)

Problem = dict


def problem(name: str, what: str, where: str, mend: str) -> Problem:
    return {"id": name, "what": what, "where": where, "mend": mend}


# ---------------------------------------------------------------- the specs


@lru_cache(maxsize=4)
def load_specs(folder: str) -> dict[str, dict[str, Any]]:
    """Role -> its options, of every role below ``folder``. A spec that cannot be read is left out."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, dict[str, Any]] = {}
    for role in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        for name in ("argument_specs.yml", "argument_specs.yaml"):
            try:
                with open(os.path.join(folder, role, "meta", name), encoding="utf-8") as file:
                    data = yaml.load(file, Loader=loader)  # a safe loader either way
            except (OSError, yaml.YAMLError):
                continue
            options: dict[str, Any] = {}
            for entry in ((data or {}).get("argument_specs") or {}).values():
                options.update((entry or {}).get("options") or {})
            found[role] = options
    return found


def known_options(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Variable -> its option, of all roles."""
    return {name: option or {} for options in specs.values() for name, option in options.items()}


# ---------------------------------------------------------------- names


def unknown_names(
    names: Iterable[str], specs: Mapping[str, Mapping[str, Any]], ignored: Iterable[str] = ()
) -> Iterator[tuple[str, str | None]]:
    """(name, the nearest valid one or None) of each variable that looks like ours and is not."""
    known = known_options(specs)
    prefixes = (SITE_PREFIX, *(f"{role}_" for role in specs))
    patterns = list(ignored)
    for name in sorted(set(names)):
        if name in known or name.startswith(("_", "ansible_")) or any(fnmatch.fnmatch(name, item) for item in patterns):
            continue
        ours = name.startswith(prefixes)
        certain = ours and not name.startswith(COMMON_PREFIXES)
        near = difflib.get_close_matches(name, known, n=1, cutoff=NEAR_ENOUGH if ours else NEARLY_THE_SAME)
        if certain and not near:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        if certain or near:
            yield name, near[0] if near else None


# ---------------------------------------------------------------- values


def shown(name: str, value: Any, option: Mapping[str, Any]) -> str:
    """A value as a message may show it."""
    if option.get("no_log") or SECRET.search(name):
        return "(not shown)"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = text if isinstance(value, str) and text.isprintable() and text.strip() == text and text else repr(text)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_int(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d+\s*", value) is not None)


def _is_float(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, (int, float)):
        return True
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str)


def _fits(kind: str, value: Any) -> bool:
    """Whether Ansible takes ``value`` for an option of the type ``kind`` without mangling it."""
    if kind == "bool":
        return isinstance(value, bool) or str(value).strip().lower() in TRUTHS
    if kind == "int":
        return _is_int(value)
    if kind == "float":
        return _is_float(value)
    if kind in ("str", "path"):
        return isinstance(value, (str, int, float))
    if kind == "list":
        return not isinstance(value, Mapping)
    if kind == "dict":
        return isinstance(value, Mapping) or (isinstance(value, str) and ("=" in value or value.lstrip()[:1] == "{"))
    return True


_SPOKEN = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "path": "a path",
    "list": "a list",
    "dict": "a mapping",
}
_A_VALUE_IS = ((bool, "true or false"), (int, "a number"), (float, "a number"), (str, "text"), (Mapping, "a mapping"))


def _kind_of(value: Any) -> str:
    return next((words for kind, words in _A_VALUE_IS if isinstance(value, kind)), "a list")


def value_faults(name: str, value: Any, option: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, str, str]]:
    """(id, what, mend) for each thing wrong with a value. ``at`` is its place inside the variable."""
    place = f"{name}{at}"
    told = shown(name, value, option)
    kind = str(option.get("type") or "str")
    default = option.get("default")
    if value is None:
        if default is not None:
            yield (
                "empty-value",
                f"{place} is empty; expected {_SPOKEN.get(kind, kind)}.",
                f"Give it a value, or take the line out: the default is {shown(name, default, option)}.",
            )
        return
    if not _fits(kind, value):
        given = f"{told}, {_kind_of(value)}" if not isinstance(value, str) else told
        hint = f" such as {shown(name, default, option)}" if default not in (None, "", [], {}) else ""
        yield (
            "wrong-type",
            f"{place} is {given}; expected {_SPOKEN.get(kind, kind)}.",
            f"Set it to {_SPOKEN.get(kind, kind)}{hint}.",
        )
        return
    choices = option.get("choices")
    if choices and kind != "list":
        yield from _choice_faults(place, name, value, option)
    if kind == "int" and _is_int(value):
        yield from _range_faults(place, int(value), option)
    if kind in ("str", "path", "raw") and isinstance(value, str) and not choices:
        yield from _text_faults(place, name, value, option, kind)
    if kind == "list":
        elements = (
            value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
        )
        element = {**option, "type": option.get("elements") or "raw", "default": None, "elements": None}
        for index, item in enumerate(elements):
            yield from value_faults(
                name,
                item.strip() if isinstance(item, str) and isinstance(value, str) else item,
                element,
                f"{at}[{index}]",
            )
    if kind == "dict" and isinstance(value, Mapping):
        options = option.get("options") or {}
        for key, item in value.items():
            if options and key not in options:
                near = difflib.get_close_matches(str(key), options, n=1)
                yield (
                    "unknown-key",
                    f"{place} has the key {key!r}, which nothing reads.",
                    f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(options)}.",
                )
            elif options:
                yield from value_faults(name, item, options[key] or {}, f"{at}.{key}")
            elif isinstance(item, str):
                yield from _text_faults(f"{place}.{key}", name, item, option, "raw")
        for key in (key for key, inner in options.items() if (inner or {}).get("required") and key not in value):
            yield ("missing-key", f"{place} lacks {key}.", f"Add {key}: {(options[key] or {}).get('description', '')}")


def _choice_faults(place: str, name: str, value: Any, option: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    choices = [str(choice) for choice in option["choices"]]
    if str(value) in choices:
        return
    near = difflib.get_close_matches(str(value).lower(), choices, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}? " if near else ""
    yield (
        "unknown-choice",
        f"{place} is {shown(name, value, option)}; expected one of {', '.join(choices)}.",
        f"{hint}{option_words(option)}".strip(),
    )


def option_words(option: Mapping[str, Any]) -> str:
    words = option.get("description") or ""
    words = " ".join(words) if isinstance(words, list) else str(words)
    return re.sub(r"\b[A-Z]\(([^)]*)\)", r"\1", words)


def _range_faults(place: str, value: int, option: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for pattern, least, most in RANGES:
        if pattern.search(place) and (value < least or (most is not None and value > most)):
            span = f"{least} to {most}" if most is not None else f"{least} or more"
            yield ("out-of-range", f"{place} is {value}; expected {span}.", f"Set it to {span}. {option_words(option)}")
            return


def _text_faults(
    place: str, name: str, value: str, option: Mapping[str, Any], kind: str
) -> Iterator[tuple[str, str, str]]:
    free = FREE_TEXT.search(name) is not None
    allowed = "\t\r\n" if free else ""
    control = next((char for char in value if (ord(char) < 32 or ord(char) == 127) and char not in allowed), None)
    if control is not None:
        words = {"\n": "a line end", "\r": "a carriage return", "\t": "a tab", "\0": "a NUL"}
        yield (
            "dangerous-value",
            f"{place} holds {words.get(control, 'a control character')}: {shown(name, value, option)}.",
            "Write it on one line. In YAML, `>-` joins lines and drops the last line end; `|` keeps it.",
        )
        return
    if free or SECRET.search(name) or not (kind == "path" or STRICT.search(name)):
        return
    found = next((words for text, words in DANGEROUS if text in value and not _as_in_url(text, value)), None)
    if found:
        yield (
            "dangerous-value",
            f"{place} holds {found}: {shown(name, value, option)}.",
            "It goes into configuration files as it stands and is never run; such characters would break them."
            " Take it out.",
        )
    elif value != value.strip():
        yield ("dangerous-value", f"{place} begins or ends with a blank: {value!r}.", "Take the blank out.")


def _as_in_url(text: str, value: str) -> bool:
    """An ampersand is at home in an address."""
    return text == "&" and re.match(r"https?://\S+$", value) is not None


# ---------------------------------------------------------------- where a variable is set


def places(names: Iterable[str], sources: Iterable[str], folders: Iterable[str]) -> dict[str, str]:
    """Variable -> path:line, for those set in an inventory file, in group_vars or in host_vars."""
    wanted = set(names)
    found: dict[str, str] = {}
    if not wanted:
        return found
    pattern = re.compile(rf"(?:^|[\s\"'])({'|'.join(re.escape(name) for name in sorted(wanted))})[\"']?\s*[:=]")
    for path in _files(sources, folders):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read(1_000_000).splitlines()
        except OSError:
            continue
        for number, line in enumerate(lines, 1):
            if line.lstrip().startswith("#"):
                continue
            for match in pattern.finditer(line):
                found.setdefault(match.group(1), f"{path}:{number}")
    return found


def _files(sources: Iterable[str], folders: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for source in sources:
        if os.path.isfile(source):
            candidates = [source]
        elif os.path.isdir(source):
            candidates = [os.path.join(source, name) for name in sorted(os.listdir(source))]
            folders = [*folders, source]
        else:
            candidates = []
        for path in candidates:
            if os.path.isfile(path) and path not in seen:
                seen.add(path)
                yield path
    for folder in dict.fromkeys(folders):
        for below in ("group_vars", "host_vars"):
            for here, _folders, names in sorted(os.walk(os.path.join(folder, below))):
                for path in (os.path.join(here, name) for name in sorted(names)):
                    if path not in seen:
                        seen.add(path)
                        yield path


# ---------------------------------------------------------------- all of it


def inventory_problems(
    names: Iterable[str],
    values: Mapping[str, Any],
    specs: Mapping[str, Mapping[str, Any]],
    ignored: Iterable[str] = (),
    sources: Iterable[str] = (),
    folders: Iterable[str] = (),
) -> list[Problem]:
    """Every reason why these variables cannot be what was meant, each with where it is set and how to mend it."""
    known = known_options(specs)
    found: list[tuple[str, str, str, str]] = []
    for name, near in unknown_names(names, specs, ignored):
        mend = f"Did you mean {near}?" if near else "No role has a variable of that name: see `ansible-doc -t role`."
        mend += " Is it meant for something else, name it in preflight_ignored_variables."
        found.append((name, "unknown-variable", f"{name} is set, but nothing reads a variable of that name.", mend))
    for name in sorted(set(values) & set(known)):
        found.extend((name, *fault) for fault in value_faults(name, values[name], known[name]))
    where = places([name for name, *_rest in found], sources, list(folders))
    return [
        problem(kind, what, where.get(name, f"{name}, set on the command line or in a play"), mend)
        for name, kind, what, mend in found
    ]
