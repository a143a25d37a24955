# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``cgroups``, ``runtimes`` and ``toolkit`` parts of a node's facts.

What the files say comes from ``runtime_files``; whether it is in force is asked of the runtime itself, through its
socket: CRI for CRI-O, containerd and k3s, the Engine's /info for Docker. One look serves both of the first two parts.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import cgroups as drivers
from .. import docker_engine
from ..cri import NOT_CRI, Cri, CriError, known_handlers
from ..host import PATH, Host
from ..runtime_files import (
    RUNC_TYPE,
    ContainerdConfig,
    CrioConfig,
    DockerConfig,
    Said,
    dig,
    problem,
    read_containerd,
    read_crio,
    read_docker,
    read_toml,
    version_key,
)
from ..runtime_unread import unread
from ..unit_files import unit_files

NAMES = ("crio", "containerd", "docker", "k3s")
PROGRAMS = {"crio": "crio", "containerd": "containerd", "docker": "dockerd", "k3s": "k3s"}
K3S_SOCKET = "/run/k3s/containerd/containerd.sock"
ASK_SECONDS = 2.0
# Where runc, crun and conmon are kept by those who do not put them in PATH.
OCI_FOLDERS = (
    "/usr/libexec/crio",
    "/usr/libexec/podman",
    "/usr/lib/podman",
    "/usr/lib/cri-o-runc/sbin",
    "/usr/lib/crio",
)
K3S_BIN = "/var/lib/rancher/k3s/data/current/bin"
CNI_ENDINGS = (".conf", ".conflist", ".json")

TOOLKIT_FILE = "/etc/nvidia-container-runtime/config.toml"
TOOLKIT_PROGRAMS = (
    "nvidia-ctk",
    "nvidia-cdi-hook",
    "nvidia-container-runtime",
    "nvidia-container-runtime-hook",
    "nvidia-container-cli",
    "nvidia-container-runtime.cdi",
    "nvidia-container-runtime.legacy",
)
REFRESH_UNITS = ("nvidia-cdi-refresh.service", "nvidia-cdi-refresh.path")


@dataclass
class Answer:
    """What a running program said: nothing (``problem`` says why), or its version, handlers, driver and own words."""

    problem: str | None = None
    reason: str | None = None
    name: str | None = None
    version: str | None = None
    handlers: tuple[str, ...] | None = None
    driver: str | None = None
    how: str = ""
    info: Any = None
    conditions: dict[str, Any] = field(default_factory=dict)


@dataclass
class Look:
    """One look at all runtimes of a node: binaries, files, answers."""

    binaries: dict[str, str | None]
    versions: dict[str, str | None]
    files: drivers.Files
    sockets: dict[str, str]
    answers: dict[str, Answer]


_looks: weakref.WeakKeyDictionary[Host, tuple[str, Look]] = weakref.WeakKeyDictionary()


def _look(host: Host, part: str) -> Look:
    """The look that the other part has just taken, once; a fresh one otherwise."""
    taker, taken = _looks.pop(host, (part, None))
    if taken is None or taker == part:
        taken = look(host)
        _looks[host] = (part, taken)
    return taken


def look(host: Host) -> Look:
    binaries = {name: host.which(PROGRAMS[name]) for name in NAMES}
    versions = {name: _version(host, name, path) for name, path in binaries.items()}
    crio = read_crio(host, versions["crio"])
    containerd = read_containerd(host, versions["containerd"])
    docker = read_docker(host, versions["docker"])
    k3s = drivers.read_k3s(host) if binaries["k3s"] else None
    sockets = {
        "crio": str(crio.get("api", "listen").value),
        "containerd": str(containerd.socket().value),
        "docker": docker.socket(),
        "k3s": K3S_SOCKET,
    }
    answers = {}
    for name in NAMES:
        if binaries[name] or host.exists(sockets[name]):
            ask = ask_docker if name == "docker" else ask_cri
            answers[name] = ask(host.path(sockets[name]))
    files = drivers.Files(
        crio if binaries["crio"] else None,
        containerd if binaries["containerd"] else None,
        docker if binaries["docker"] else None,
        k3s,
    )
    return Look(binaries, versions, files, sockets, answers)


def _version(host: Host, name: str, binary: str | None) -> str | None:
    """What the program says when asked --version, which none of them takes its configuration for."""
    if binary is None:
        return None
    done = host.run(binary, "--version")
    found = re.search(r"\sv?(\d+\.\d+\.\d+[^\s,]*)", done.out) if done.ok else None
    return found.group(1) if found else None


# ---------------------------------------------------------------- asking


def ask_cri(path: str, timeout_seconds: float = ASK_SECONDS) -> Answer:
    cri = Cri(path, timeout_seconds)
    try:
        version = cri.version()
        status = cri.status(verbose=True)
    except CriError as error:
        return Answer(problem=str(error), reason=error.reason)
    info = status["info"].get("config")
    answer = Answer(name=version["runtime_name"] or None, version=version["runtime_version"] or None, info=info)
    answer.conditions = {one["type"]: one for one in status["conditions"]}
    answer.handlers = known_handlers(status)
    try:
        answer.driver, answer.how = cri.runtime_config()["cgroup_driver"], "CRI RuntimeConfig"
    except CriError:  # older than the call: its verbose status tells as much
        default = dig(info, "containerd", "defaultRuntimeName")
        if isinstance(default, str):
            answer.driver = drivers.handler_driver(info, default)
            answer.how = f"CRI Status, handler {default}"
        elif dig(info, "crio", "CgroupManagerName"):
            answer.driver, answer.how = dig(info, "crio", "CgroupManagerName"), "CRI Status"
    return answer


def ask_docker(path: str, timeout_seconds: float = ASK_SECONDS) -> Answer:
    """What `docker info` would say, from the Engine itself."""
    try:
        info = docker_engine.info(path, timeout_seconds)
    except docker_engine.EngineError as error:
        return Answer(problem=str(error), reason="failed")
    runtimes = info.get("Runtimes")
    return Answer(
        version=info.get("ServerVersion"),
        handlers=tuple(sorted(runtimes)) if isinstance(runtimes, dict) else None,
        driver=info.get("CgroupDriver") or None,
        how="docker info",
        info=info,
    )


# ---------------------------------------------------------------- cgroups


def cgroups(host: Host) -> dict[str, Any]:
    """Which cgroup driver each program is told and uses, whether they agree, and which to use."""
    taken = _look(host, "cgroups")
    known = {name: answer for name, answer in taken.answers.items() if answer.driver in drivers.DRIVERS}
    asked = drivers.Asked(
        {name: answer.driver or "" for name, answer in known.items()},
        {name: answer.how for name, answer in known.items()},
    )
    return drivers.describe(host, taken.files, asked, taken.sockets)


# ---------------------------------------------------------------- runtimes


def runtimes(host: Host) -> dict[str, Any]:
    """Every container runtime: what is installed, what its files say, and what it answers."""
    taken = _look(host, "runtimes")
    return {
        name: describe(host, name, taken) if taken.binaries[name] or name in taken.answers else absent(name)
        for name in NAMES
    }


def absent(name: str) -> dict[str, Any]:
    return {
        "installed": False,
        "version": None,
        "running_version": None,
        "binary": None,
        "unit": None,
        "socket": None,
        "answers": None,
        "answer_problem": None,
        "conditions": {},
        "config_files": [],
        "config_problem": None,
        "unread": None,
        "default_handler": None,
        "handlers": {},
        "cdi": {"enabled": None, "spec_dirs": []},
        "cni": {"conf_dir": None, "configs": [], "bin_dirs": []},
        "sandbox_image": None,
        "oci_runtimes": {},
        "conmon": None,
    }


def describe(host: Host, name: str, taken: Look) -> dict[str, Any]:
    answer = taken.answers.get(name, Answer(problem="not asked"))
    own = {
        **absent(name),
        "installed": taken.binaries[name] is not None,
        "version": taken.versions[name] or answer.version,
        "running_version": answer.version,
        "binary": taken.binaries[name],
        "socket": taken.sockets[name],
        "answers": answer.problem is None,
        "answer_problem": answer.problem,
        "conditions": {
            kind: {"status": one["status"], "reason": one["reason"], "message": one["message"]}
            for kind, one in answer.conditions.items()
        },
        "oci_runtimes": {program: oci_program(host, program) for program in ("runc", "crun")},
        "conmon": oci_program(host, "conmon"),
    }
    files = taken.files
    if name == "crio":
        own.update(_crio(host, files.crio or read_crio(host, answer.version), answer))
    elif name == "containerd":
        own.update(_containerd(host, files.containerd or read_containerd(host, answer.version), answer))
    elif name == "docker":
        own.update(_docker(host, files.docker or read_docker(host, answer.version), answer))
    elif files.k3s:
        own.update(_containerd(host, files.k3s.containerd, answer, k3s=True))
        own["unit"], own["config_problem"] = files.k3s.service.unit, files.k3s.problem
        default = files.k3s.get("default-runtime")
        own["default_handler"] = default.value if default else own["default_handler"]
    if own["unit"] and not unit_files(host, own["unit"]):
        own["unit"] = None
    return own


def oci_program(host: Host, name: str) -> str | None:
    """Where runc, crun or conmon is: in PATH, or where packages hide it."""
    hidden = (f"{folder}/{name}" for folder in (*OCI_FOLDERS, K3S_BIN))
    return host.which(name) or next((path for path in hidden if host.is_executable(path)), None)


def program(host: Host, name: str | None) -> tuple[str | None, bool | None]:
    """A program as a runtime looks for it: an absolute path as it is, a name through PATH; and whether it is there."""
    if not name:
        return None, None
    if "/" in name:
        return name, host.exists(name)
    found = host.which(name)
    return found or name, found is not None


def in_force(answer: Answer, name: str) -> bool | None:
    return None if answer.handlers is None else name in answer.handlers


def cni(host: Host, folder: str, programs: Iterable[str]) -> dict[str, Any]:
    configs = [name for name in host.list(folder) if name.endswith(CNI_ENDINGS)]
    bin_dirs = [path.rstrip("/") or "/" for path in programs]
    return {"conf_dir": folder.rstrip("/") or "/", "configs": configs, "bin_dirs": bin_dirs}


def text(value: Any) -> str:
    """A string as it is; nothing for what should be one and is not."""
    return value if isinstance(value, str) else ""


def strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _crio(host: Host, config: CrioConfig, answer: Answer) -> dict[str, Any]:
    manager = config.get("runtime", "cgroup_manager").value
    overall = text(config.get("runtime", "conmon").value)
    default = config.default_handler
    default_table = config.handlers.get(default, ({}, None, None))[0]
    handlers: dict[str, Any] = {}
    for name, (given, path, line) in config.handlers.items():
        table = dict(given)
        if table.get("inherit_default_runtime") is True:
            keys = ("runtime_path", "runtime_type", "runtime_config_path", "runtime_root")
            table.update({key: default_table.get(key, "") for key in keys})
            table["runtime_path"] = text(table["runtime_path"]) or host.which(default) or ""
        runtime = text(table.get("runtime_path"))
        found, exists = program(host, runtime or name)
        kind = text(table.get("runtime_type")) or "oci"
        dropped = None
        if kind not in ("oci", "vm", "pod"):
            dropped = f'invalid `runtime_type` "{kind}" for runtime "{name}"'
        elif not exists:
            dropped = (
                f"invalid runtime_path for runtime '{name}': stat {runtime}: no such file or directory"
                if runtime
                else f'"{name}" not found in $PATH'
            )
        if dropped and path is None and name != default:
            continue  # built in, nowhere configured and not there: CRI-O forgets it too
        monitor = overall or text(table.get("monitor_path")) or None
        conmon, conmon_exists = program(host, monitor or "conmon")
        fatal = name == default
        checked = kind == "oci" and (not dropped or fatal)
        handlers[name] = {
            "type": kind,
            "path": found if runtime or exists else None,
            "path_exists": exists,
            "conmon": conmon if monitor or conmon_exists else None,
            "conmon_exists": conmon_exists if checked else None,
            "cgroup_driver": manager if manager in drivers.DRIVERS else None,
            "in_force": in_force(answer, name),
            "configured_in": path,
            "line": line,
            "dropped": dropped if not fatal else None,
            "root": table.get("runtime_root") or None,
        }
    return {
        "unit": config.service.unit,
        "config_files": [file.path for file in config.files],
        "config_problem": config.problem,
        "unread": unread(host, PROGRAMS["crio"], config),
        "default_handler": default,
        "handlers": handlers,
        "cdi": {"enabled": True, "spec_dirs": strings(config.get("runtime", "cdi_spec_dirs").value)},
        "cni": cni(
            host,
            str(config.get("network", "network_dir").value),
            strings(config.get("network", "plugin_dirs").value),
        ),
        "sandbox_image": text(config.get("image", "pause_image").value) or None,
    }


def _shim(kind: str) -> str:
    """The shim of a runtime type: io.containerd.kata.v2 is containerd-shim-kata-v2."""
    return "containerd-shim-" + "-".join(kind.split(".")[-2:])


def _containerd(host: Host, config: ContainerdConfig, answer: Answer, k3s: bool = False) -> dict[str, Any]:
    path = f"{PATH}:{K3S_BIN}" if k3s else PATH
    handlers: dict[str, Any] = {}
    for name, where in config.handlers().items():
        kind = config.handler(name, "runtime_type", default=RUNC_TYPE if name == "runc" else "").value
        kind = text(kind)
        driver = config.cgroup_driver(name)
        if driver is not None:
            binary = text(config.handler(name, "options", "BinaryName").value) or "runc"
        else:
            binary = text(config.handler(name, "runtime_path").value) or _shim(kind)
        if "/" in binary:
            found, exists = binary, host.exists(binary)
        else:
            located = host.which(binary, path)
            found, exists = located or binary, located is not None
        told = drivers.handler_driver(answer.info, name) if in_force(answer, name) else None
        handlers[name] = {
            "type": kind or None,
            "path": found,
            "path_exists": exists,
            "conmon": None,
            "conmon_exists": None,
            "cgroup_driver": driver.value if driver else None,
            "cgroup_driver_in_force": told if driver else None,
            "in_force": in_force(answer, name),
            "configured_in": where.path,
            "line": where.line,
        }
    version = version_key(config.version)
    cdi = config.get("enable_cdi", default=config.modern)
    knows_cdi = config.modern or not config.version or version >= (1, 7)
    folder = config.get("cni", "conf_dir", default="/etc/cni/net.d").value
    one = text(config.get("cni", "bin_dir").value) or "/opt/cni/bin"
    programs = strings(config.get("cni", "bin_dirs").value) or [one]  # a list since 2.1
    return {
        "unit": config.service.unit,
        "config_files": [file.path for file in config.files],
        "config_problem": config.problem,
        "unread": None if k3s else unread(host, PROGRAMS["containerd"], config),
        "config_version": config.files[0].version if config.files else None,
        "default_handler": text(config.default_handler.value) or None,
        "handlers": handlers,
        "cri_enabled": config.cri_enabled and answer.reason != NOT_CRI,
        "disabled_plugins": strings(config.disabled_plugins().value),
        "cdi": {
            "enabled": cdi.value is True and knows_cdi,
            "spec_dirs": strings(config.get("cdi_spec_dirs", default=["/etc/cdi", "/var/run/cdi"]).value),
        },
        "cni": cni(host, str(folder), programs),
        "sandbox_image": config.sandbox_image().value or dig(answer.info, "sandboxImage"),
    }


def _docker(host: Host, config: DockerConfig, answer: Answer) -> dict[str, Any]:
    row = drivers.docker(config, host)
    handlers: dict[str, Any] = {}
    for name, where in config.runtimes().items():
        kind = text(where.value.get("runtimeType"))
        given = text(where.value.get("path")) or (_shim(kind) if kind else name)
        found, exists = program(host, given)
        handlers[name] = {
            "type": kind or "oci",
            "path": found,
            "path_exists": exists,
            "conmon": None,
            "conmon_exists": None,
            "cgroup_driver": row["configured"],
            "in_force": in_force(answer, name),
            "configured_in": where.path,
            "line": where.line,
        }
    features = config.data.get("features")
    asked = features.get("cdi") if isinstance(features, Mapping) else None
    version = version_key(config.version)
    enabled = (version >= (28, 2) if asked is None else asked is True) if version >= (25, 0) else False
    return {
        "unit": config.service.unit,
        "config_files": [config.path] if config.text is not None else [],
        "config_problem": config.problem,
        "unread": unread(host, PROGRAMS["docker"], config),
        "default_handler": text(config.get("default-runtime", "runc").value) or None,
        "handlers": handlers,
        "cdi": {
            "enabled": enabled,
            "spec_dirs": strings(config.get("cdi-spec-dirs").value) or ["/etc/cdi", "/var/run/cdi"],
        },
    }


# ---------------------------------------------------------------- toolkit


def toolkit(host: Host) -> dict[str, Any]:
    """The NVIDIA container toolkit: its programs, its configuration, and the runtime it would hand over to."""
    binaries = {name: host.which(name) for name in TOOLKIT_PROGRAMS}
    asked = binaries["nvidia-ctk"] or binaries["nvidia-container-runtime"]
    version = None
    if asked:
        done = host.run(asked, "--version")
        found = re.search(r"version\s+v?(\d+\.\d+\.\d+[^\s,]*)", done.out)
        version = found.group(1) if found else None
    return {
        "installed": asked is not None,
        "version": version,
        "binaries": binaries,
        "links": {name: host.exists(f"/usr/bin/{name}") for name in ("runc", "crun")},
        "config": toolkit_config(host),
        "refresh_units": [name for name in REFRESH_UNITS if unit_files(host, name)],
    }


def toolkit_config(host: Host) -> dict[str, Any]:
    """nvidia-container-runtime's configuration; the toolkit's defaults where a key is missing."""
    file, wrong = read_toml(host, TOOLKIT_FILE)
    section = ("nvidia-container-runtime",)
    mode, listed = Said("auto"), Said(["runc", "crun"])
    if file:
        mode = file.said(*section, "mode") or mode
        listed = file.said(*section, "runtimes") or listed
        if not isinstance(listed.value, list) or not all(isinstance(item, str) for item in listed.value):
            wrong = wrong or problem(TOOLKIT_FILE, listed.line, "runtimes must be a list of strings")
    candidates = strings(listed.value)
    return {
        "path": TOOLKIT_FILE if host.exists(TOOLKIT_FILE) else None,
        "problem": wrong,
        "mode": mode.value,
        "mode_line": mode.line,
        "runtimes": candidates,
        "runtimes_line": listed.line,
        "resolved": [low_level(host, name) for name in candidates],
    }


def low_level(host: Host, name: str) -> str | None:
    """A candidate as the toolkit finds it: a path must be an executable file, a name is looked for in PATH."""
    if "/" in name:
        return name if host.is_executable(name) else None
    return host.which(name)
