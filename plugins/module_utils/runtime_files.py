# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container runtime's files, flags and environment say, read as the runtime itself reads them.

Rules of this file: it looks, through ``Host``, and judges nothing but what makes the runtime refuse its configuration.
Every value comes as ``Said``: with the file and line that won. Read from CRI-O 1.36, containerd 1.6 to 2.3, Docker 29.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .host import Host
from .runtime_names import (
    CONTAINERD_ROOT,
    CRI,
    CRI_IMAGES,
    CRI_RUNTIME,
    CRIO_DROP_INS,
    CRIO_ROOT,
    DAEMON_JSON,
    RUNC_TYPE,
)
from .toml import Document, TomlError, parse
from .unit_files import command_line, environment, unit_files

Problem = dict  # path, line (or None), text


@dataclass(frozen=True)
class Said:
    """A value, and who says so: a file (with line) or a flag's file; ``path`` is None for a built-in default."""

    value: Any
    path: str | None = None
    line: int | None = None

    @property
    def source(self) -> str:
        return "default" if self.path is None else f"{self.path}:{self.line}" if self.line else self.path


def problem(path: str, line: int | None, text: str) -> Problem:
    return {"path": path, "line": line, "text": text}


def dig(tree: Any, *path: str) -> Any:
    """What stands at ``path`` in mappings within mappings; None where a step is missing."""
    for step in path:
        if not isinstance(tree, Mapping) or step not in tree:
            return None
        tree = tree[step]
    return tree


def version_key(version: str | None) -> tuple[int, int]:
    """Major and minor; (0, 0) where unknown."""
    found = re.search(r"(\d+)\.(\d+)", version or "")
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


# ---------------------------------------------------------------- units: flags and environment


@dataclass(frozen=True)
class Service:
    """The command line and environment that a unit gives a program, variables expanded, each with its source."""

    unit: str
    argv: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, Said] = field(default_factory=dict)

    def flags(self, *names: str) -> list[Said]:
        """Every value given for a flag under any of its names (``--config``, ``-c``), in order."""
        found: list[Said] = []
        argv = list(self.argv[1:])
        while argv:
            word, source = argv.pop(0)
            if not word.startswith("-"):
                continue
            name, given, value = word.partition("=")
            if name not in names and not (name.startswith("--") and name[1:] in names):
                continue
            if not given:
                if not argv or argv[0][0].startswith("--"):
                    continue
                value = argv.pop(0)[0]
            found.append(_from(value, source))
        return found

    def option(self, names: Iterable[str], variable: str | None = None) -> Said | None:
        """A flag's value, the last one given; else that of the environment variable that stands for it."""
        given = self.flags(*names)
        return given[-1] if given else self.environment.get(variable or "")


def _from(value: Any, source: str) -> Said:
    """``source`` is path:line, as ``command_line`` tells it."""
    path, colon, line = source.rpartition(":")
    return Said(value, path, int(line)) if colon and line.isdigit() else Said(value, source)


def service(host: Host, *units: str) -> Service:
    """The first of these units that exists; an empty one under the first name where none does."""
    unit = next((name for name in units if unit_files(host, name)), units[0])
    variables = {name: _from(value, source) for name, (value, source) in environment(host, unit).items()}
    return Service(unit, tuple(command_line(host, unit)), variables)


# ---------------------------------------------------------------- TOML files


@dataclass(frozen=True)
class TomlFile:
    path: str
    document: Document

    @property
    def version(self) -> int:
        """The version of containerd's configuration that the file says it is; 0 where it says none."""
        given = self.document.data.get("version")
        return given if isinstance(given, int) else 0

    def said(self, *path: str) -> Said | None:
        value = dig(self.document.data, *path)
        return None if value is None else Said(value, self.path, self.document.line(*path))


def read_toml(host: Host, path: str) -> tuple[TomlFile | None, Problem | None]:
    """A file, or what is wrong with it; neither where there is no such file."""
    try:
        return TomlFile(path, parse(host.read(path))), None
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, problem(path, None, error.strerror or str(error))
    except TomlError as error:
        return None, problem(path, error.line, error.problem)


# ---------------------------------------------------------------- CRI-O

# Where it reads: flags, environment variable
CRIO_CONFIG = (("--config", "-c"), "CONTAINER_CONFIG")
CRIO_CONFIG_DIR = (("--config-dir", "-d"), "CONTAINER_CONFIG_DIR")
# Key of a table -> flags, environment variable
CRIO_OPTIONS = {
    ("runtime", "cgroup_manager"): (("--cgroup-manager",), "CONTAINER_CGROUP_MANAGER"),
    ("runtime", "default_runtime"): (("--default-runtime",), "CONTAINER_DEFAULT_RUNTIME"),
    ("runtime", "conmon"): (("--conmon",), "CONTAINER_CONMON"),
    ("runtime", "conmon_cgroup"): (("--conmon-cgroup",), "CONTAINER_CONMON_CGROUP"),
    ("runtime", "cdi_spec_dirs"): (("--cdi-spec-dirs",), "CONTAINER_CDI_SPEC_DIRS"),
    ("image", "pause_image"): (("--pause-image",), "CONTAINER_PAUSE_IMAGE"),
    ("network", "network_dir"): (("--cni-config-dir",), "CONTAINER_CNI_CONFIG_DIR"),
    ("network", "plugin_dirs"): (("--cni-plugin-dir",), "CONTAINER_CNI_PLUGIN_DIR"),
    ("api", "listen"): (("--listen",), "CONTAINER_LISTEN"),
}


@dataclass
class CrioConfig:
    """CRI-O's configuration. ``handlers`` are whole tables: a later file's replaces an earlier one's."""

    files: list[TomlFile]
    problem: Problem | None
    service: Service
    version: str | None
    handlers: dict[str, tuple[Mapping[str, Any], str | None, int | None]]  # table, file, line

    def places(self, table: str, key: str) -> list[Said]:
        """Everyone who sets a key, weakest first; the built-in default is not among them."""
        found = [said for file in self.files for said in [file.said("crio", table, key)] if said]
        names, variable = CRIO_OPTIONS.get((table, key), ((), None))
        option = self.service.option(names, variable)
        if option:
            is_list = key in ("cdi_spec_dirs", "plugin_dirs")
            found.append(Said(option.value.split(","), option.path, option.line) if is_list else option)
        return found

    def get(self, table: str, key: str) -> Said:
        found = self.places(table, key)
        return found[-1] if found else Said(self.default(table, key))

    def default(self, table: str, key: str) -> Any:
        runc, pause = ("runc", "3.9") if (0, 0) < version_key(self.version) < (1, 31) else ("crun", "3.10.1")
        if (1, 31) <= version_key(self.version) < (1, 34):
            pause = "3.10"
        return {
            ("runtime", "cgroup_manager"): "systemd",
            ("runtime", "default_runtime"): runc,
            ("runtime", "conmon"): "",
            ("runtime", "conmon_cgroup"): "",
            ("runtime", "cdi_spec_dirs"): ["/etc/cdi", "/var/run/cdi"],
            ("image", "pause_image"): f"registry.k8s.io/pause:{pause}",
            ("network", "network_dir"): "/etc/cni/net.d/",
            ("network", "plugin_dirs"): ["/opt/cni/bin/"],
            ("api", "listen"): "/var/run/crio/crio.sock",
        }.get((table, key))

    @property
    def default_handler(self) -> str:
        value = self.get("runtime", "default_runtime").value
        return value if isinstance(value, str) and value else self.default("runtime", "default_runtime")

    def check(self) -> tuple[str, ...]:
        """The arguments with which CRI-O judges its configuration without starting."""
        options = (CRIO_CONFIG, CRIO_CONFIG_DIR, *CRIO_OPTIONS.values())
        given = [(names[0], self.service.option(names, variable)) for names, variable in options]
        return (*(f"{flag}={said.value}" for flag, said in given if said), "config")


def read_crio(host: Host, version: str | None = None) -> CrioConfig:
    own = service(host, "crio.service", "cri-o.service")
    path = own.option(*CRIO_CONFIG) or Said(CRIO_ROOT)
    folder = own.option(*CRIO_CONFIG_DIR) or Said(CRIO_DROP_INS)
    files: list[TomlFile] = []
    wrong: Problem | None = None
    for name in [*([path.value] if path.value else []), *_walk(host, folder.value)]:
        file, found = read_toml(host, name)
        if file is None and found is None and name == path.value and path.path:
            found = problem(name, None, f"no such file, and {path.source} names it")
        wrong = wrong or found
        files += [file] if file else []
    config = CrioConfig(files, wrong, own, version, {})
    built_in = config.default("runtime", "default_runtime")
    config.handlers[built_in] = ({"runtime_type": "oci"}, None, None)
    for file in files:
        tables = dig(file.document.data, "crio", "runtime", "runtimes")
        for name, table in tables.items() if isinstance(tables, Mapping) else ():
            if isinstance(table, Mapping):
                line = file.document.line("crio", "runtime", "runtimes", name)
                config.handlers[name] = (table, file.path, line)
    config.problem = wrong or _crio_refusal(config)
    return config


def _walk(host: Host, folder: str) -> Iterator[str]:
    """Every file below a folder, each folder's entries in lexical order, as Go's filepath.Walk goes."""
    for name in host.list(folder):
        path = f"{folder.rstrip('/')}/{name}"
        if host.is_dir(path) and not host.is_link(path):
            yield from _walk(host, path)
        else:
            yield path


def _crio_refusal(config: CrioConfig) -> Problem | None:
    """What makes CRI-O refuse a configuration that is well-formed."""
    for (table, key), wanted in {("runtime", "default_runtime"): str, ("runtime", "cgroup_manager"): str}.items():
        for said in config.places(table, key):
            if not isinstance(said.value, wanted):
                return problem(said.path or "", said.line, f"{key} must be a string")
    default = config.get("runtime", "default_runtime")
    if default.value and default.value not in config.handlers:
        text = f'default_runtime set to "{default.value}", but no runtime entry table'
        return problem(default.path or "", default.line, f"{text} [crio.runtime.runtimes.{default.value}] was found")
    manager = config.get("runtime", "cgroup_manager")
    if manager.value not in ("systemd", "cgroupfs"):
        return problem(manager.path or "", manager.line, f"invalid cgroup manager: {manager.value}")
    cgroup = config.get("runtime", "conmon_cgroup")
    if cgroup.value and cgroup.value != "pod":
        if manager.value == "cgroupfs" and cgroup.value != "system.slice":
            text = f"cgroupfs manager conmon cgroup should be 'pod' or empty, but got: '{cgroup.value}'"
            return problem(cgroup.path or "", cgroup.line, text)
        if manager.value == "systemd" and not str(cgroup.value).endswith(".slice"):
            return problem(cgroup.path or "", cgroup.line, "conmon cgroup should be 'pod' or a systemd slice")
    return None


# ---------------------------------------------------------------- containerd

_RUNC_TYPES = (RUNC_TYPE, "io.containerd.runc.v1", "io.containerd.runtime.v1.linux")


@dataclass
class ContainerdConfig:
    """containerd's configuration, merged as its version merges: 1.x replaces a plugin's section, 2.x goes deep."""

    files: list[TomlFile]
    problem: Problem | None
    service: Service
    version: str | None

    @property
    def modern(self) -> bool:
        """Whether containerd is 2.x; judged by the files where its version is unknown."""
        if self.version:
            return version_key(self.version) >= (2, 0)
        return any(file.version >= 3 for file in self.files)

    def _sections(self, images: bool) -> list[tuple[TomlFile, tuple[str, ...]]]:
        """The files that configure CRI's runtime (or image) part and the path of that part, weakest first."""
        found: list[tuple[TomlFile, tuple[str, ...]]] = []
        for file in self.files:
            names = ("cri", CRI, CRI_IMAGES if images else CRI_RUNTIME)
            for name in names if self.modern else names[:2]:
                if isinstance(dig(file.document.data, "plugins", name), Mapping):
                    found.append((file, ("plugins", name)))
        if not self.modern and found:  # a later file replaces the whole section
            found = [pair for pair in found if pair[1] == found[-1][1]][-1:]
        return found

    def places(self, *path: str, images: bool = False) -> list[Said]:
        """Everyone who sets a key of the CRI plugin, weakest first; built-in defaults are not among them."""
        return [
            said for file, prefix in self._sections(images) for said in [file.said(*prefix, *path)] if said is not None
        ]

    def get(self, *path: str, default: Any = None, images: bool = False) -> Said:
        found = self.places(*path, images=images)
        return found[-1] if found else Said(default)

    def handlers(self) -> dict[str, Said]:
        """Handler -> where it is first named. runc is built in, but in 1.x any table of handlers takes its place."""
        found: dict[str, Said] = {}
        for said in self.places("containerd", "runtimes"):
            for name, table in said.value.items() if isinstance(said.value, Mapping) else ():
                if isinstance(table, Mapping):
                    found.setdefault(name, Said(table, said.path, self._line(said.path, name)))
        if self.modern or not found:
            found = {"runc": Said({}), **found}
        return found

    def _line(self, path: str | None, handler: str) -> int | None:
        for file, prefix in self._sections(images=False):
            if file.path == path:
                return file.document.line(*prefix, "containerd", "runtimes", handler)
        return None

    def handler(self, name: str, *path: str, default: Any = None) -> Said:
        return self.get("containerd", "runtimes", name, *path, default=default)

    @property
    def default_handler(self) -> Said:
        return self.get("containerd", "default_runtime_name", default="runc")

    def cgroup_driver(self, name: str) -> Said | None:
        """What a handler's OCI runtime is told; None for handlers of other kinds than runc's."""
        kind = self.handler(name, "runtime_type", default=RUNC_TYPE).value
        if not isinstance(kind, str) or kind not in _RUNC_TYPES:
            return None
        flag = self.handler(name, "options", "SystemdCgroup")
        if flag.value is None and not self.modern:
            flag = self.get("systemd_cgroup")  # before handlers had options
        return Said("systemd" if flag.value is True else "cgroupfs", flag.path, flag.line)

    def reporting_handler(self) -> str | None:
        """The handler whose driver the RuntimeConfig call reports: the default, then by name, of runc's kind."""
        names = sorted(self.handlers(), key=lambda name: (name != self.default_handler.value, name))
        return next((name for name in names if self.cgroup_driver(name) is not None), None)

    def disabled_plugins(self) -> Said:
        found = [said for file in self.files for said in [file.said("disabled_plugins")] if said]
        names = [item for said in found if isinstance(said.value, list) for item in said.value]
        last = next((said for said in reversed(found) if said.value), None)
        return Said(list(dict.fromkeys(names)), last.path if last else None, last.line if last else None)

    @property
    def cri_enabled(self) -> bool:
        return not {"cri", CRI, CRI_RUNTIME} & {name for name in self.disabled_plugins().value if isinstance(name, str)}

    def socket(self) -> Said:
        paths = (("grpc", "address"), ("plugins", "io.containerd.server.v1.grpc", "address"))
        found = [said for file in self.files for path in paths for said in [file.said(*path)] if said and said.value]
        return self.service.option(("--address", "-a")) or (
            found[-1] if found else Said("/run/containerd/containerd.sock")
        )

    def sandbox_image(self) -> Said:
        known = {(1, 6): "3.6", (1, 7): "3.8", (2, 0): "3.10", (2, 1): "3.10", (2, 2): "3.10.1", (2, 3): "3.10.2"}
        pause = known.get(version_key(self.version))
        default = f"registry.k8s.io/pause:{pause}" if pause else None
        old, new = self.get("sandbox_image", images=True), self.get("pinned_images", "sandbox", images=True)
        return new if new.value else old if old.value else Said(default)

    def check(self) -> tuple[str, ...]:
        """The arguments with which containerd judges its configuration without starting; none where it has no file."""
        return ("--config", self.files[0].path, "config", "dump") if self.files else ()


def read_containerd(
    host: Host, version: str | None = None, path: str | None = None, own: Service | None = None
) -> ContainerdConfig:
    own = own or service(host, "containerd.service")
    named = own.option(("--config", "-c")) if path is None else None
    root = path or (named.value if named else CONTAINERD_ROOT)
    files: list[TomlFile] = []
    wrong: Problem | None = None
    pending, seen = [(root, named)], set()
    while pending:
        name, importer = pending.pop(0)
        if name in seen:
            continue
        seen.add(name)
        file, found = read_toml(host, name)
        if file is None and found is None and importer:
            found = problem(importer.path or name, importer.line, f"{name}: no such file, and this names it")
        wrong = wrong or found
        if file is None:
            continue
        if files and version_key(version) >= (2, 3) and file.version > files[0].version:
            text = f"drop-in config version {file.version} higher than root config version {files[0].version}"
            wrong = wrong or problem(name, file.document.line("version"), f"{text} ({files[0].path})")
        files.append(file)
        pending += _imports(host, file)
    config = ContainerdConfig(files, wrong, own, version)
    config.problem = wrong or _containerd_refusal(config)
    return config


def _imports(host: Host, file: TomlFile) -> list[tuple[str, Said]]:
    """The files that a file imports, in order; a pattern that matches nothing is no fault, a missing file is."""
    said = file.said("imports")
    found: list[tuple[str, Said]] = []
    for index, pattern in enumerate(said.value if said and isinstance(said.value, list) else ()):
        if not isinstance(pattern, str):
            continue
        path = os.path.normpath(os.path.join(os.path.dirname(file.path), pattern))
        where = Said(pattern, file.path, file.document.line("imports", index))
        found += [(name, where) for name in (host.glob(path) if "*" in path else [path])]
    return found


def _containerd_refusal(config: ContainerdConfig) -> Problem | None:
    """What makes containerd, or its CRI plugin, refuse a configuration that is well-formed."""
    for file in config.files:
        given = file.document.data.get("version")
        if given is not None and not isinstance(given, int):
            return problem(file.path, file.document.line("version"), "version must be a number")
        if config.version and not config.modern and file.version > 2:
            text = f"expected containerd config version `2`, got `{given}`: containerd {config.version} is older"
            return problem(file.path, file.document.line("version"), text)
    default = config.default_handler
    if config.cri_enabled and isinstance(default.value, str) and default.value not in config.handlers():
        text = "no corresponding runtime configured in `containerd.runtimes` for `default_runtime_name"
        text = f'{text} = "{default.value}"`'
        others = config.places("containerd", "runtimes")
        where = default if default.path or not others else others[-1]
        return problem(where.path or CONTAINERD_ROOT, where.line, text)
    return None


# ---------------------------------------------------------------- Docker


@dataclass
class DockerConfig:
    """dockerd's daemon.json and flags. What stands in both, it refuses."""

    path: str
    data: Mapping[str, Any]
    text: str | None
    problem: Problem | None
    service: Service
    version: str | None

    def line(self, *keys: str) -> int | None:
        """The line of a key, by looking for each key in turn."""
        offset = 0
        for key in keys:
            found = re.compile(rf'"{re.escape(key)}"\s*:').search(self.text or "", offset)
            if not found:
                return None
            offset = found.end()
        return (self.text or "").count("\n", 0, offset) + 1 if keys else None

    def get(self, key: str, default: Any = None) -> Said:
        given = self.service.flags(f"--{key}")
        if given:
            return given[-1]
        if key in self.data:
            return Said(self.data[key], self.path, self.line(key))
        return Said(default)

    def cgroup_places(self) -> list[Said]:
        """Everyone who names native.cgroupdriver; the first of all wins, as GetExecOpt has it."""
        given = self.service.flags("--exec-opt")
        listed = self.data.get("exec-opts")
        line = self.line("exec-opts")
        given += [Said(item, self.path, line) for item in (listed if isinstance(listed, list) else ())]
        pairs = [(said, str(said.value).partition("=")) for said in given]
        return [
            Said(value.strip(), said.path, said.line)
            for said, (name, _equals, value) in pairs
            if name.strip().lower() == "native.cgroupdriver"
        ]

    def runtimes(self) -> dict[str, Said]:
        listed = self.data.get("runtimes")
        found = {
            name: Said(table, self.path, self.line("runtimes", name))
            for name, table in (listed.items() if isinstance(listed, Mapping) else ())
            if isinstance(table, Mapping)
        }
        for said in self.service.flags("--add-runtime"):
            name, _equals, path = str(said.value).partition("=")
            found[name] = Said({"path": path}, said.path, said.line)
        return {"runc": Said({"path": "runc"}), **found}

    def socket(self) -> str:
        hosts = self.data.get("hosts")
        listed = [Said(item) for item in (hosts if isinstance(hosts, list) else ())]
        for said in (*self.service.flags("--host", "-H"), *listed):
            if isinstance(said.value, str) and said.value.startswith("unix://"):
                return said.value[len("unix://") :]
        return "/run/docker.sock"

    def check(self) -> tuple[str, ...]:
        """The arguments with which dockerd judges its configuration without starting; none where it has no file."""
        return ("--validate", "--config-file", self.path) if self.text is not None else ()


def read_docker(host: Host, version: str | None = None) -> DockerConfig:
    own = service(host, "docker.service")
    named = own.option(("--config-file",))
    path = named.value if named else DAEMON_JSON
    text, data, wrong = host.text(path), {}, None
    if text is None and named:
        wrong = problem(named.path or path, named.line, f"{path}: no such file, and this names it")
    elif text is not None:
        try:
            data = json.loads(text or "{}")
            if not isinstance(data, dict):
                data, wrong = {}, problem(path, 1, "daemon.json must be one JSON object")
        except RecursionError:
            wrong = problem(path, 1, "values nest too deep")
        except ValueError as error:
            wrong = problem(path, getattr(error, "lineno", None), getattr(error, "msg", None) or str(error))
    config = DockerConfig(path, data, text, wrong, own, version)
    flags = {"exec-opts": "--exec-opt", "runtimes": "--add-runtime", "default-runtime": "--default-runtime"}
    for key, flag in {**flags, "hosts": "--host"}.items():
        given = own.flags(flag, *(["-H"] if key == "hosts" else []))
        if key in data and given and not wrong and key != "runtimes":
            text = f"{key} is specified both as a flag ({given[0].source}) and in the configuration file"
            config.problem = wrong = problem(path, config.line(key), text)
    return config
