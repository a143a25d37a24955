# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide what a container runtime's configuration files should say: texts in, texts out.

Rules of this file: no I/O. What a user wrote is kept: TOML is edited key by key, comments and order survive, and every
edit is read back and compared before it is believed; JSON is merged. What had to give way, and what another file
overrides, is reported.

Where containerd 2.1 and newer merge drop-ins key by key, ours are files of their own in conf.d. Older ones replace a
plugin's whole section by that of the last file that names it, so there everything goes into config.toml itself.
"""

from __future__ import annotations

import fnmatch
import json
import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from .ownership import STATE
from .runtime_names import CONTAINERD_DROP_INS, CONTAINERD_ROOT, CRI, CRI_IMAGES, CRI_RUNTIME, RUNC_TYPE
from .secrecy import HIDDEN, shown
from .toml import TomlError, loads, parse

MARK = "Managed by gpunode.ready"
HEADER = f"# {MARK}: what is changed here by hand is lost at its next run.\n# Set the role's variables instead.\n"
BACKUPS = f"{STATE}/backup"

CONTAINERD_HOSTS = "/etc/containerd/certs.d"
CRIO_REGISTRIES = "/etc/containers/registries.conf.d/20-gpunode.conf"

# Settings that dockerd takes over on SIGHUP; everything else needs a restart, which stops containers
# unless live-restore is on.
DOCKER_RELOADS = frozenset(
    {
        "debug",
        "default-runtime",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    }
)

KeyPath = tuple  # of str
Version = tuple  # of int


class ConfigError(Exception):
    """Why a configuration cannot be decided upon: a file, the line where it has one, and what to do."""


# --- plain trees -----------------------------------------------------------------------------------------------------


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` put over ``base``, table by table; both stay as they are."""
    result = {key: deepcopy(value) for key, value in base.items()}
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = deepcopy(value)
    return result


def leaves(tree: Mapping[str, Any], path: KeyPath = ()) -> dict[KeyPath, Any]:
    """Every value by its path; an empty table counts as a value."""
    found: dict[KeyPath, Any] = {}
    for key, value in tree.items():
        here = (*path, key)
        if isinstance(value, Mapping) and value:
            found.update(leaves(value, here))
        else:
            found[here] = value
    return found


def at(tree: Any, path: Sequence[str], default: Any = None) -> Any:
    """The value at a path; ``default`` where any step is missing."""
    for key in path:
        if not isinstance(tree, Mapping) or key not in tree:
            return default
        tree = tree[key]
    return tree


def nest(path: Sequence[str], value: Any) -> dict[str, Any]:
    """``{"a": {"b": value}}`` for the path a, b."""
    for key in reversed(path):
        value = {key: value}
    return value


def dotted(path: Sequence[str]) -> str:
    """A path as TOML writes it: ``plugins."io.containerd.grpc.v1.cri".sandbox_image``."""
    return ".".join(_key(part) for part in path)


def given(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options without those left out, for which a role's variable may hold an empty text."""
    return {key: value for key, value in (options or {}).items() if value is not None and value != ""}


# --- TOML ------------------------------------------------------------------------------------------------------------

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_HEADER_LINE = re.compile(r"\s*\[(?!\[)")


def toml_value(value: Any) -> str:
    """One value as TOML. Raises ``ConfigError`` for what TOML cannot say."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    isoformat = getattr(value, "isoformat", None)
    if isoformat is not None:  # dates and times, which only a user's own file brings
        return isoformat()
    raise ConfigError(f"{value!r}: no TOML value")


def toml_text(tree: Mapping[str, Any], header: str = "") -> str:
    """A tree as TOML: plain values first, then each table under its own header, in the order given."""
    lines: list[str] = []
    _tables(tree, (), lines)
    return header + ("\n" if header and lines else "") + "".join(f"{line}\n" for line in lines).lstrip("\n")


def set_in_toml(text: str, wanted: Mapping[str, Any]) -> tuple[str, bool]:
    """``text`` with every value of ``wanted`` set, and whether nothing else was touched.

    The result is read back: where key-by-key editing cannot do it (inline tables, arrays over many lines in odd
    places), the file is written anew from its values, and only comments are lost. Raises ``TomlError``.
    """
    goal = merged(loads(text), wanted)
    edited = text
    for path, value in leaves(wanted).items():
        edited = _set_one(edited, path, value)
    try:
        if loads(edited) == goal:
            return edited, True
    except TomlError:
        pass
    return toml_text(goal).replace("\n", _line_end(text)), False


def _line_end(text: str) -> str:
    return "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"


def _set_one(text: str, path: KeyPath, value: Any) -> str:
    try:
        document = parse(text)
    except TomlError:
        return text  # an earlier edit of this round went wrong: the caller notices
    missing = object()
    present = at(document.data, path, missing)
    if present == value and type(present) is type(value):
        return text
    end = _line_end(text)
    if isinstance(value, Mapping):  # an empty table
        return text if isinstance(present, Mapping) else f"{text.rstrip()}{end * 2}[{dotted(path)}]{end}".lstrip()
    lines = _lines(text, end)
    assignment = f"{_key(path[-1])} = {toml_value(value)}{end}"
    if present is not missing:
        first = (document.line(*path) or 1) - 1
        last = _extent(lines, first)
        indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
        before = lines[first].split("=", 1)[0].rstrip()
        return "".join([*lines[:first], f"{before or indent} = {toml_value(value)}{end}", *lines[last:]])
    if len(path) == 1:
        telling = (i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#"))
        above = next(telling, None)
        if above is None:
            return "".join([*lines, *([end] if lines else []), assignment])
        gap = [end] if _HEADER_LINE.match(lines[above]) else []
        return "".join([*lines[:above], assignment, *gap, *lines[above:]])
    table = document.line(*path[:-1])
    if table is not None and _HEADER_LINE.match(lines[table - 1]):
        header = lines[table - 1]
        indent = header[: len(header) - len(header.lstrip())]
        indent += "  " if indent else ""  # as `containerd config default` indents
        following = lines[table] if table < len(lines) else ""
        if following.strip() and not following.lstrip().startswith(("[", "#")):
            indent = following[: len(following) - len(following.lstrip())]
        return "".join([*lines[:table], indent + assignment, *lines[table:]])
    gap = [end] if lines and lines[-1].strip() else []
    return "".join([*lines, *gap, f"[{dotted(path[:-1])}]{end}", assignment])


def _lines(text: str, end: str) -> list[str]:
    """The lines of a text, each with the end that it has."""
    lines = text.split("\n")
    last = lines.pop()
    return [*(f"{line}\n" for line in lines), *([last + end] if last else [])]


def _extent(lines: Sequence[str], first: int) -> int:
    """The line after the assignment that begins at ``first``: the fewest lines that can be read on their own."""
    for last in range(first + 1, min(len(lines), first + 200) + 1):
        try:
            loads("".join(lines[first:last]))
        except TomlError:
            continue
        return last
    return first + 1


def _tables(tree: Mapping[str, Any], path: KeyPath, lines: list[str], headed: bool = False) -> None:
    plain = {key: value for key, value in tree.items() if not isinstance(value, Mapping) and not _is_tables(value)}
    if path and not headed and (plain or not tree):
        lines += ["", f"[{dotted(path)}]"]
    lines += [f"{_key(key)} = {toml_value(value)}" for key, value in plain.items()]
    for key, value in tree.items():
        if isinstance(value, Mapping):
            _tables(value, (*path, key), lines)
        elif _is_tables(value):
            for item in value:
                lines += ["", f"[[{dotted((*path, key))}]]"]
                _tables(item, (*path, key), lines, headed=True)


def _is_tables(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _key(key: str) -> str:
    return key if _BARE.match(key) else _string(key)


def _string(text: str) -> str:
    quoted = json.dumps(text.encode("utf-8", "replace").decode("utf-8"), ensure_ascii=False)
    return quoted.replace("\x7f", "\\u007f")


# --- files of ours and of others -------------------------------------------------------------------------------------


def is_ours(text: str | None) -> bool:
    """Whether a file carries our header."""
    return MARK in "\n".join((text or "").splitlines()[:3])


def read_toml(path: str, text: str) -> dict[str, Any]:
    """The values of a file. Raises ``ConfigError`` that names file, line, and that it was left alone."""
    try:
        return loads(text)
    except TomlError as error:
        raise ConfigError(
            f"{path}, line {error.line}: not valid TOML ({error.problem}). The file was left as it is, and so was "
            f"everything else. Mend that line or move the file away, then run again."
        ) from error


def read_json(path: str, text: str) -> dict[str, Any]:
    """The values of a JSON file; nothing in it counts as no values. Raises ``ConfigError`` likewise."""
    if not text.strip():
        return {}
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        problem = getattr(error, "msg", "nested too deep")
        raise ConfigError(
            f"{path}, line {line}: not valid JSON ({problem}). The file was left as it is, and so was everything "
            f"else. Mend that line or move the file away, then run again."
        ) from error
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: holds {type(data).__name__} where an object {{…}} is expected. It was left as it is."
        )
    return data


@dataclass(frozen=True)
class Override:
    """A value that another file has the last word on."""

    key: str
    wanted: Any
    found: Any
    by: str | None = None

    def told(self) -> str:
        by = f", because of {self.by}" if self.by else ""
        return f"{self.key} should be {shown(self.key, self.wanted)} but is {shown(self.key, self.found)}{by}"


@dataclass(frozen=True)
class Plan:
    """The files as they should be: a text, or None for a file that should not be there; and what must be told."""

    files: dict[str, str | None] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()  # a value of the user's that had to give way
    kept: tuple[str, ...] = ()  # a value of the user's that was kept, against what the role would choose
    memory: dict[str, Any] | None = None  # what we set in files we share, for the next merge
    wanted: dict[str, Any] = field(default_factory=dict)  # the values that must be in force afterwards


# --- registries ------------------------------------------------------------------------------------------------------

_REGISTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?\Z|_default\Z")
_MIRROR = re.compile(r"(?P<scheme>https?)://(?P<location>[A-Za-z0-9.\[\]:-]+(?P<path>/[^\s?#]*)?)\Z")


def mirror_files(runtime: str, mirrors: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The files that send pulls of a registry to its mirrors first, by path. Docker has none: see ``docker_settings``.

    Raises ``ConfigError`` for what is no registry or no URL.
    """
    tables = []
    files: dict[str, str] = {}
    for registry, urls in mirrors.items():
        if not _REGISTRY.match(str(registry)):
            raise ConfigError(f"{registry!r} is no registry to mirror: expected a host such as docker.io or host:5000.")
        found = []
        for url in [urls] if isinstance(urls, str) else urls:
            match = _MIRROR.match(str(url))
            if not match:
                user, _at, host = str(url).rpartition("@")
                told = f"{HIDDEN}@{host}" if user else host
                raise ConfigError(f"{told!r} is no mirror of {registry}: expected a URL, https://host[/path].")
            found.append(match)
        server = "https://registry-1.docker.io" if registry == "docker.io" else f"https://{registry}"
        hosts = {}
        for match in found:
            hosts[match.group().rstrip("/")] = {
                "capabilities": ["pull", "resolve"],
                **({"override_path": True} if (match.group("path") or "/") != "/" else {}),
            }
        tree = {} if registry == "_default" else {"server": server}
        files[f"{CONTAINERD_HOSTS}/{registry}/hosts.toml"] = toml_text({**tree, "host": hosts}, HEADER)
        tables.append(
            {
                "prefix": registry,
                "location": registry,
                "mirror": [
                    {"location": match.group("location").rstrip("/"), "insecure": match.group("scheme") == "http"}
                    for match in found
                ],
            }
        )
    if runtime == "containerd":
        return files
    return {CRIO_REGISTRIES: toml_text({"registry": tables}, HEADER)} if tables and runtime == "crio" else {}


# --- CRI-O -----------------------------------------------------------------------------------------------------------

CRIO_RUNTIMES = ("crio", "runtime", "runtimes")


def crio_effective(files: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """All files in the order CRI-O reads them, as it merges them: the last to name a handler replaces it whole."""
    result: dict[str, Any] = {}
    for _path, tree in files:
        handlers = {**at(result, CRIO_RUNTIMES, {}), **at(tree, CRIO_RUNTIMES, {})}
        result = merged(result, tree)
        if handlers:
            result["crio"]["runtime"]["runtimes"] = deepcopy(handlers)
    return result


def crio_settings(
    settings: Mapping[str, Any], effective: Mapping[str, Any], found: Mapping[str, str]
) -> dict[str, Any]:
    """The tables that make neutral settings hold in CRI-O.

    ``found`` maps runc, crun and conmon to where they lie on the node.
    """
    runtime: dict[str, Any] = {}
    tree: dict[str, Any] = {"crio": {"runtime": runtime}}
    driver = settings.get("cgroup_driver")
    if driver:
        runtime["cgroup_manager"] = driver
        if driver == "cgroupfs":
            runtime["conmon_cgroup"] = "pod"
    default = settings.get("default_handler")
    if default:
        runtime["default_runtime"] = default
        if default not in at(effective, CRIO_RUNTIMES, {}) and default in found:
            table = {"runtime_path": found[default], "runtime_type": "oci", "runtime_root": f"/run/{default}"}
            if "conmon" in found:
                table["monitor_path"] = found["conmon"]
            runtime["runtimes"] = {default: table}
    if settings.get("sandbox_image"):
        tree["crio"]["image"] = {"pause_image": settings["sandbox_image"]}
    if not runtime:
        del tree["crio"]["runtime"]
    return tree if tree["crio"] else {}


def crio_handler(handler: Mapping[str, Any], effective: Mapping[str, Any], conmon: str | None) -> dict[str, Any]:
    """The table of a handler, complete: CRI-O merges none of it from anywhere.

    Raises ``ConfigError`` where no conmon is known: without ``monitor_path`` CRI-O looks for it in PATH and, where it
    lies elsewhere, does not start.
    """
    name = handler["name"]
    present = at(effective, (*CRIO_RUNTIMES, name), {})
    default = at(effective, ("crio", "runtime", "default_runtime"))
    lower = at(effective, (*CRIO_RUNTIMES, default or ""), {}) if default != name else {}
    if not lower:
        others = at(effective, CRIO_RUNTIMES, {})
        lower = others.get("crun") or others.get("runc") or {}
    if not conmon:
        raise ConfigError(
            "conmon was found nowhere: neither in a runtime table of CRI-O's configuration nor in /usr/libexec/crio, "
            "/usr/bin or /usr/libexec/podman. CRI-O starts no container without it, and does not start itself when the "
            f"handler {name} cannot find it. Install the package that brings it (cri-o, or conmon), then run again."
        )
    table: dict[str, Any] = {
        "runtime_path": handler["path"],
        "runtime_type": "oci",
        # Containers started under an earlier table are found again only under its runtime_root.
        "runtime_root": present.get("runtime_root") or f"/run/{os.path.basename(handler['path'])}",
        "monitor_path": conmon,
    }
    for key in ("monitor_cgroup", "monitor_env", "allowed_annotations"):
        if lower.get(key):
            table[key] = lower[key]
    runtime: dict[str, Any] = {"runtimes": {name: table}}
    if handler.get("default"):
        runtime = {"default_runtime": name, **runtime}
    return {"crio": {"runtime": runtime}}


def says_only(tree: Mapping[str, Any], handler: str) -> bool:
    """Whether a drop-in is about one handler and nothing else, as ``nvidia-ctk runtime configure`` writes them."""
    return bool(tree) and all(
        path[:4] == (*CRIO_RUNTIMES, handler) or (path == ("crio", "runtime", "default_runtime") and value == handler)
        for path, value in leaves(tree).items()
    )


def overridden(wanted: Mapping[str, Any], files: Sequence[tuple[str, Mapping[str, Any]]], path: str) -> list[Override]:
    """Which values of the drop-in at ``path`` later files have the last word on."""
    names = [name for name, _tree in files]
    later = files[names.index(path) + 1 :] if path in names else []
    answer = []
    for key, value in leaves(wanted).items():
        if isinstance(value, Mapping):
            continue
        for name, tree in reversed(later):
            handler = key[:4] if key[:3] == CRIO_RUNTIMES else None
            found = at(tree, key, None)
            if handler and at(tree, handler) is not None and found is None:
                found = "not set"
            if found is not None and found != value:
                answer.append(Override(dotted(key), value, found, name))
            if found is not None:
                break
    return answer


# --- containerd ------------------------------------------------------------------------------------------------------


def version_of(text: str) -> Version:
    """(1, 6, 20) of ``containerd github.com/containerd/containerd 1.6.20~ds1``; () where there is none."""
    found = re.search(r"(?:^|[\s:v])v?(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()


def native_version(containerd: Version) -> int:
    """The version of configuration that this containerd writes itself.

    A root file below it would make containerd 2.3 refuse any drop-in that is not.
    """
    if containerd and containerd < (2,):
        return 2
    return 4 if containerd >= (2, 3) else 3


def merges_drop_ins(containerd: Version) -> bool:
    """Whether this containerd merges a drop-in key by key. Older ones replace a plugin's whole section."""
    return not containerd or containerd >= (2, 1)


def cri_table(settings: Mapping[str, Any], containerd: Version) -> dict[str, Any]:
    """Neutral settings as the one CRI table of configuration version 2."""
    table: dict[str, Any] = {}
    if settings.get("sandbox_image"):
        table["sandbox_image"] = settings["sandbox_image"]
    if settings.get("cdi") is not None and (not containerd or containerd >= (1, 7)):
        table["enable_cdi"] = settings["cdi"]
    inner: dict[str, Any] = {}
    if settings.get("snapshotter"):
        inner["snapshotter"] = settings["snapshotter"]
    if settings.get("default_handler"):
        inner["default_runtime_name"] = settings["default_handler"]
    driver = settings.get("cgroup_driver")
    if driver:
        options = {"SystemdCgroup": driver == "systemd"}
        inner["runtimes"] = {"runc": {"runtime_type": RUNC_TYPE, "options": options}}
    if inner:
        table["containerd"] = inner
    if settings.get("registry_mirrors"):
        table["registry"] = {"config_path": CONTAINERD_HOSTS}
    folders = settings.get("cni_bin_dirs")
    if folders:
        lists = not containerd or containerd >= (2, 1)
        table["cni"] = {"bin_dirs": list(folders)} if lists else {"bin_dir": folders[0]}
    return table


def cri_handler(handler: Mapping[str, Any], effective: Mapping[str, Any], containerd: Version) -> dict[str, Any]:
    """A handler as part of the CRI table: the options of the default low-level handler, and its own binary."""
    runtimes = cri_runtimes(effective)
    default = default_handler(effective)
    candidates = [name for name in (default, "runc", "crun") if name and name != handler["name"]]
    usable = (runtimes[name] for name in candidates if name in runtimes and not name.startswith("nvidia"))
    lower: Mapping[str, Any] = next(usable, {})
    copied = {
        key: value
        for key, value in lower.items()
        if key in ("base_runtime_spec", "container_annotations", "pod_annotations", "snapshotter") and value
    }
    options = {key: value for key, value in lower.get("options", {}).items() if value not in ("", 0, [], None)}
    options.update({"BinaryName": handler["path"]})
    options.setdefault("SystemdCgroup", False)
    inner: dict[str, Any] = {"runtimes": {handler["name"]: {"runtime_type": RUNC_TYPE, **copied, "options": options}}}
    if handler.get("default"):
        inner = {"default_runtime_name": handler["name"], **inner}
    table = {"containerd": inner}
    if handler.get("cdi") is not None and (not containerd or containerd >= (1, 7)):
        table["enable_cdi"] = handler["cdi"]
    return table


# Keys of version 2's CRI table that version 3 moved to the images plugin, and where to.
_TO_IMAGES = {
    ("sandbox_image",): ("pinned_images", "sandbox"),
    ("containerd", "snapshotter"): ("snapshotter",),
    ("containerd", "disable_snapshot_annotations"): ("disable_snapshot_annotations",),
    ("containerd", "discard_unpacked_layers"): ("discard_unpacked_layers",),
    ("image_pull_progress_timeout",): ("image_pull_progress_timeout",),
    ("max_concurrent_downloads",): ("max_concurrent_downloads",),
}
_TO_STREAM = (
    "disable_tcp_service",
    "enable_tls_streaming",
    "stream_idle_timeout",
    "stream_server_address",
    "stream_server_port",
    "x509_key_pair_streaming",
)


def cri_plugins(table: Mapping[str, Any], config_version: int) -> dict[str, Any]:
    """Version 2's CRI table as the plugin tables of a configuration version."""
    if not table:
        return {}
    if config_version <= 2:
        return {CRI: deepcopy(dict(table))}
    plugins: dict[str, Any] = {}
    for path, value in leaves(table).items():
        if path in _TO_IMAGES:
            target = (CRI_IMAGES, *_TO_IMAGES[path])
        elif path[0] in ("registry", "image_decryption"):
            target = (CRI_IMAGES, *path)
        elif path[0] in _TO_STREAM:
            target = (CRI, *path)
        else:
            target = (CRI_RUNTIME, *path)
        plugins = merged(plugins, nest(target, value))
    return plugins


def cri_runtimes(effective: Mapping[str, Any]) -> dict[str, Any]:
    """The handlers of a containerd configuration of any version from 2."""
    plugins = effective.get("plugins") or {}
    return {
        **at(plugins, (CRI, "containerd", "runtimes"), {}),
        **at(plugins, (CRI_RUNTIME, "containerd", "runtimes"), {}),
    }


def default_handler(effective: Mapping[str, Any]) -> str | None:
    plugins = effective.get("plugins") or {}
    old = at(plugins, (CRI, "containerd", "default_runtime_name"))
    return at(plugins, (CRI_RUNTIME, "containerd", "default_runtime_name"), old) or None


@dataclass(frozen=True)
class Piece:
    """What one drop-in of ours should say, before it is known where and how containerd must be told."""

    path: str
    table: dict[str, Any] = field(default_factory=dict)  # version 2's CRI table
    config: dict[str, Any] = field(default_factory=dict)  # as the user wrote it, for the version that is installed
    handler: str | None = None
    default: bool = False


def plan_containerd(
    root: str | None,
    pieces: Sequence[Piece],
    containerd: Version,
    stale: Sequence[str] = (),
    memory: Mapping[str, Any] | None = None,
) -> Plan:
    """Where each piece goes. ``root`` is config.toml; ``stale`` are our drop-ins that are there now; ``memory`` is what
    we set in config.toml before, by its key, so that a change of ours is not told as one of the user's.

    Raises ``ConfigError`` for a root file that is no TOML, or of configuration version 1.
    """
    tree = read_toml(CONTAINERD_ROOT, root) if root is not None else {}
    native = native_version(containerd)
    fresh = root is None or (is_ours(root) and tree.get("version", 0) > native)
    if fresh:
        tree, root = {}, HEADER
    version = _root_version(tree, native)
    edits: dict[str, Any] = {} if tree.get("version") == version else {"version": version}
    conflicts = []
    disabled = list(tree.get("disabled_plugins") or [])
    enabled = [name for name in disabled if name not in ("cri", CRI, CRI_RUNTIME, CRI_IMAGES)]
    if enabled != disabled:
        edits["disabled_plugins"] = enabled
        conflicts.append(
            f"{CONTAINERD_ROOT}: disabled_plugins named the CRI plugin, without which kubelet cannot talk to "
            "containerd; it was taken off the list"
        )
    files: dict[str, str | None] = {}
    wanted: dict[str, Any] = {}
    ours = dict(memory or {})
    apart = merges_drop_ins(containerd)
    if apart:
        imports = list(tree.get("imports") or [])
        if not any(_imports(pattern, CONTAINERD_DROP_INS) for pattern in imports):
            edits["imports"] = [*imports, f"{CONTAINERD_DROP_INS}/*.toml"]
        if is_ours(root) and not fresh and CRI in tree.get("plugins", {}) and native > 2:
            # Written by us for an older containerd: carry it over, so that no handler is lost on the way.
            files[CONTAINERD_ROOT] = toml_text(
                {
                    "version": native,
                    "imports": edits.get("imports", tree.get("imports")),
                    "plugins": cri_plugins(tree["plugins"][CRI], native),
                },
                HEADER,
            )
            version, edits = native, {}
    for piece in pieces:
        said = merged({"plugins": cri_plugins(piece.table, version)} if piece.table else {}, piece.config)
        wanted = merged(wanted, said)
        if apart:
            files[piece.path] = toml_text({"version": version, **said}, HEADER)
            continue
        if piece.handler and not piece.default and default_handler(tree) == piece.handler:
            lower = next((name for name in ("runc", "crun") if name in cri_runtimes(tree)), "runc")
            said = merged(said, {"plugins": cri_plugins({"containerd": {"default_runtime_name": lower}}, version)})
            wanted = merged(wanted, said)
        for path, value in leaves(said).items():
            found, name = at(tree, path), dotted(path)
            theirs = not is_ours(root) and ours.get(name) != found
            if found != value:
                ours[name] = value
            if found is not None and found != value and theirs and not isinstance(value, Mapping):
                conflicts.append(f"{CONTAINERD_ROOT}: {name} was {shown(name, found)}, now {shown(name, value)}")
        edits = merged(edits, said)
    if not apart:
        files.update(dict.fromkeys(stale))
    if CONTAINERD_ROOT not in files:
        try:
            files[CONTAINERD_ROOT], by_key = set_in_toml(root or "", edits) if edits else (root, True)
        except TomlError as error:
            raise ConfigError(f"{CONTAINERD_ROOT}, line {error.line}: {error.problem}") from error
        if not by_key and "#" in (root or "") and not is_ours(root):
            conflicts.append(
                f"{CONTAINERD_ROOT}: its form allows no edit key by key, so it was written anew from its values, "
                "without its comments"
            )
    if fresh:
        files[CONTAINERD_ROOT] = toml_text({"version": version, **edits}, HEADER)
    return Plan(files=files, conflicts=tuple(conflicts), memory=ours, wanted=wanted)


def _root_version(tree: Mapping[str, Any], native: int) -> int:
    """The version to write in, which is the root file's own if it has one."""
    version = tree.get("version")
    if not tree:
        return native
    if isinstance(version, int) and version >= 2:
        return version
    old = sorted(name for name in tree.get("plugins", {}) if "." not in name)
    if version == 1 or old:
        named = f" (it has plugins.{', plugins.'.join(old)})" if old else ""
        raise ConfigError(
            f"{CONTAINERD_ROOT} is of configuration version 1{named}, which containerd 2 no longer reads and which has "
            "other names for everything. It was left as it is. Migrate it with `containerd config migrate`, or move it "
            "away, then run again."
        )
    return native


def _imports(pattern: str, folder: str) -> bool:
    if not os.path.isabs(pattern):
        pattern = os.path.join(os.path.dirname(CONTAINERD_ROOT), pattern)
    return fnmatch.fnmatchcase(f"{folder}/20-gpunode.toml", os.path.normpath(pattern))


def not_in_force(wanted: Mapping[str, Any], effective: Mapping[str, Any]) -> list[Override]:
    """Which wanted values the merged configuration, as containerd dumps it, does not have.

    A value that is nowhere in the dump is an older containerd's not knowing the key, or one that the dump leaves out:
    no override.
    """
    plugins = dict(wanted.get("plugins") or {})
    dump_version = effective.get("version", 2)
    if CRI in plugins and dump_version >= 3:
        table = plugins.pop(CRI)
        plugins = merged(cri_plugins(table, dump_version), plugins)
    answer = []
    for path, value in leaves(plugins).items():
        found = at(effective, ("plugins", *path))
        if found is not None and found != value and not isinstance(value, Mapping):
            answer.append(Override(dotted(("plugins", *path)), value, found))
        elif found is None and value and path[-1] in ("BinaryName", "SystemdCgroup"):
            answer.append(Override(dotted(("plugins", *path)), value, "not set"))
    return answer


# --- Docker ----------------------------------------------------------------------------------------------------------


def docker_settings(
    settings: Mapping[str, Any], docker: Version, current: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Neutral settings as keys of daemon.json. ``current`` is what stands there now."""
    tree: dict[str, Any] = {}
    driver = settings.get("cgroup_driver")
    if driver:
        tree["exec-opts"] = [f"native.cgroupdriver={driver}"]
    if settings.get("default_handler"):
        tree["default-runtime"] = settings["default_handler"]
    mirrors = (settings.get("registry_mirrors") or {}).get("docker.io")
    if mirrors:
        tree["registry-mirrors"] = [mirrors] if isinstance(mirrors, str) else list(mirrors)
    # 25 to 28.2 know the feature and have it off; newer ones have it on unless told; older ones do not know it.
    wanted = settings.get("cdi")
    told_off = at(current or {}, ("features", "cdi")) is False
    if wanted is not None and docker and docker >= (25,) and (wanted is False or docker < (28, 3) or told_off):
        tree["features"] = {"cdi": wanted}
    return tree


def docker_defaults(
    current: Mapping[str, Any], must: Mapping[str, Any], may: Mapping[str, Any], memory: Mapping[str, Any]
) -> dict[str, Any]:
    """The defaults without the log options, where another log driver than theirs is chosen: Docker refuses options that
    its log driver does not know."""
    theirs = must.get("log-driver") or current.get("log-driver")
    ours = may.get("log-driver")
    foreign = theirs not in (None, ours) and ("log-driver" in must or memory.get("log-driver") != theirs)
    return {key: value for key, value in may.items() if not (foreign and key == "log-opts")}


def docker_handler(handler: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {"runtimes": {handler["name"]: {"path": handler["path"], "args": []}}}
    if handler.get("default"):
        tree["default-runtime"] = handler["name"]
    return tree


def merge_json(
    path: str,
    text: str | None,
    must: Mapping[str, Any],
    may: Mapping[str, Any],
    memory: Mapping[str, Any],
    drop: Mapping[str, Any],
) -> Plan:
    """daemon.json with our values in it and every key of the user's kept.

    ``must`` holds afterwards: a value of the user's that differs gives way and is reported. ``may`` is set only where
    the user says nothing, or where what stands there is what we set last time (``memory``: path → value). ``drop`` are
    values to take out again, if they are ours. Lists are joined, in which ``exec-opts`` has one value for each option.
    """
    current = read_json(path, text or "")
    result = deepcopy(current)
    conflicts, kept = [], []
    ours = {key: deepcopy(value) for key, value in memory.items()}
    for key, value in leaves(drop).items():
        name = dotted(key)
        if at(result, key) != value:
            ours.pop(name, None)
        elif name in ours:
            del at(result, key[:-1], result)[key[-1]]
            del ours[name]
        else:
            kept.append(f"{path}: {name} is {shown(name, value)}, which was not set by us and was kept")
    strong = leaves(must)
    for key, value in leaves(merged(may, must)).items():
        name, found, mine = dotted(key), at(result, key), ours.get(dotted(key))
        blocked = _blocked(result, key)
        if blocked is not None:
            raise ConfigError(
                f"{path}: {dotted(blocked)} holds {shown(dotted(blocked), at(result, blocked))} where an object is "
                "expected. The file was left as it is. Mend it, then run again."
            )
        if isinstance(value, list) and isinstance(found, list):
            before = mine if isinstance(mine, list) else []
            joined = _joined_list(key[-1], found, value, before)
            gone = [item for item in found if item not in joined and item not in before]
            if gone and key not in strong:
                kept.append(_kept(path, key, found, value))
                continue
            if gone:
                conflicts.append(f"{path}: {name} had {shown(name, gone)}, now {shown(name, joined)}")
            added = [item for item in value if item not in found or item in before]
            if added:
                ours[name] = added
            result = merged(result, nest(key, joined))
        elif found != value or type(found) is not type(value):
            if found is not None and found != mine:
                if key not in strong:
                    kept.append(_kept(path, key, found, value))
                    ours.pop(name, None)
                    continue
                conflicts.append(f"{path}: {name} was {shown(name, found)}, now {shown(name, value)}")
            ours[name] = value
            result = merged(result, nest(key, value))
    if result == current and text is not None:
        return Plan(files={path: text}, conflicts=tuple(conflicts), kept=tuple(kept), memory=ours)
    after = json.dumps(result, indent=_indent(text or ""), ensure_ascii=False) + "\n"
    return Plan(files={path: after}, conflicts=tuple(conflicts), kept=tuple(kept), memory=ours)


def _kept(path: str, key: KeyPath, found: Any, value: Any) -> str:
    name = dotted(key)
    return f"{path}: {name} is {shown(name, found)} and was kept (the role would set {shown(name, value)})"


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}


def reload_suffices(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether dockerd takes the change over on SIGHUP. It forgets nothing on one: what was removed needs a restart."""
    changed = changed_keys(before, after)
    removed = {key for key in changed if key not in after}
    removed |= {
        key for key in changed if isinstance(before.get(key), dict) and set(before[key]) - set(after.get(key) or {})
    }
    return bool(changed) and changed <= DOCKER_RELOADS and not removed


def _blocked(tree: Mapping[str, Any], key: KeyPath) -> KeyPath | None:
    """The first step of a path that holds something other than an object."""
    for length in range(1, len(key)):
        found = at(tree, key[:length])
        if found is not None and not isinstance(found, Mapping):
            return key[:length]
    return None


def _joined_list(key: str, found: list[Any], wanted: list[Any], ours: list[Any]) -> list[Any]:
    """The user's entries in their order, then ours; those of ours that are no longer wanted go."""
    if key == "exec-opts":  # one value for each option, and ours is asked for
        options = {str(item).split("=", 1)[0] for item in wanted}
        found = [item for item in found if item in wanted or str(item).split("=", 1)[0] not in options]
    left = [item for item in found if item in wanted or item not in ours]
    return [*left, *(item for item in wanted if item not in left)]


def _indent(text: str) -> Any:
    """The indentation that a JSON text has, so that a diff shows our lines only."""
    found = re.search(r"^\{\s*\n([ \t]+)", text)
    if not found:
        return 2
    return found.group(1) if "\t" in found.group(1) else len(found.group(1))
