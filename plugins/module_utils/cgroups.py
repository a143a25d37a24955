# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who manages control groups on a node: what each program is told, by which line, what is in force, what it should be.

Rules of this file: everything is looked at through ``Host``; a running program is asked through ``Asked``, which tests
fill by hand. Nothing is changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .facts.kubernetes import program_version
from .host import Host
from .machine_yaml import YamlError
from .machine_yaml import parse as parse_yaml
from .runtime_files import (
    ContainerdConfig,
    CrioConfig,
    DockerConfig,
    Problem,
    Said,
    Service,
    dig,
    problem,
    read_containerd,
    service,
)

DRIVERS = ("systemd", "cgroupfs")
CGROUPS = "/sys/fs/cgroup"
K3S_CONTAINERD = "agent/etc/containerd/config.toml"
K3S_DATA = "/var/lib/rancher/k3s"
K3S_CONFIG = "/etc/rancher/k3s/config.yaml"
# Since this minor kubelet takes the driver from the runtime, where the runtime tells it (KEP 4033: beta, on).
ASKS_RUNTIME_SINCE = 31


@dataclass(frozen=True)
class Asked:
    """What the running programs answered: name -> driver; and why one did not."""

    drivers: Mapping[str, str] = field(default_factory=dict)
    how: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Files:
    """The configurations read; None where the program is not installed."""

    crio: CrioConfig | None = None
    containerd: ContainerdConfig | None = None
    docker: DockerConfig | None = None
    k3s: K3sConfig | None = None


def hierarchy(host: Host) -> str | None:
    """v1, v2, hybrid (v1 with v2 beside it), or None where no cgroups are mounted."""
    if host.exists(f"{CGROUPS}/cgroup.controllers"):
        return "v2"
    if host.exists(f"{CGROUPS}/unified/cgroup.controllers"):
        return "hybrid"
    return "v1" if any(host.is_dir(f"{CGROUPS}/{name}") for name in ("memory", "cpu", "cpuset", "pids")) else None


def systemd_runs(host: Host) -> bool:
    """As sd_booted(3) has it."""
    return host.is_dir("/run/systemd/system")


def _row(places: list[Said], default: str | None, why_default: str) -> dict[str, Any]:
    """What a program is told: ``places`` weakest first. The last one wins."""
    won = places[-1] if places else None
    value = won.value if won else default
    return {
        "installed": True,
        "configured": value if value in DRIVERS else None,
        "source": won.source if won else (f"default ({why_default})" if default else None),
        "path": won.path if won else None,
        "line": won.line if won else None,
        "places": [{"value": str(said.value), "path": said.path, "line": said.line} for said in places],
        "problem": None if value in DRIVERS or value is None else f"{value} is no cgroup driver (systemd, cgroupfs)",
        "in_force": None,
        "in_force_source": None,
    }


def _absent() -> dict[str, Any]:
    return {**_row([], None, ""), "installed": False}


# ---------------------------------------------------------------- each program


def crio(config: CrioConfig) -> dict[str, Any]:
    return _row(config.places("runtime", "cgroup_manager"), "systemd", "built in")


def containerd(config: ContainerdConfig) -> dict[str, Any]:
    """The driver of the handler that containerd reports; with that of every other handler."""
    name = config.reporting_handler() or "runc"
    row = _row([], "cgroupfs", f"SystemdCgroup of handler {name} is not set")
    said = config.cgroup_driver(name)
    if said and said.path:
        row = _row([said], None, "")
    row["handler"] = name
    drivers = {handler: config.cgroup_driver(handler) for handler in sorted(config.handlers())}
    row["handlers"] = {handler: found.value for handler, found in drivers.items() if found}
    row["places"] = [
        {"value": found.value, "path": found.path, "line": found.line, "handler": handler}
        for handler, found in drivers.items()
        if found and found.path
    ]
    return row


def docker(config: DockerConfig, host: Host) -> dict[str, Any]:
    by_systemd = hierarchy(host) == "v2" and systemd_runs(host)
    why = "cgroup v2 and systemd runs" if by_systemd else "no cgroup v2, or systemd does not run"
    places = config.cgroup_places()
    row = _row(places[:1], "systemd" if by_systemd else "cgroupfs", why)  # the first exec-opt wins
    row["places"] = [{"value": said.value, "path": said.path, "line": said.line} for said in places]
    return row


@dataclass
class K3sConfig:
    """k3s: options of its unit and of config.yaml (flags win), and the containerd configuration that it renders."""

    options: Mapping[str, list[Said]]  # option -> values, strongest last
    data_dir: str
    containerd: ContainerdConfig
    service: Service
    problem: Problem | None

    def get(self, option: str) -> Said | None:
        said = self.options.get(option)
        return said[-1] if said else None


def read_k3s(host: Host) -> K3sConfig:
    own = service(host, "k3s.service", "k3s-agent.service")
    named = own.option(("--config", "-c"), "K3S_CONFIG_FILE")
    path = named.value if named else K3S_CONFIG
    options: dict[str, list[Said]] = {}
    wrong: Problem | None = None
    folder = [f"{path}.d/{name}" for name in host.list(f"{path}.d") if name.endswith((".yaml", ".yml"))]
    for name in [path, *folder]:
        text = host.text(name)
        if text is None:
            continue
        try:
            document = parse_yaml(text)
        except YamlError as error:
            wrong = wrong or problem(name, error.line, error.problem)
            continue
        for key, value in document.data.items() if isinstance(document.data, dict) else ():
            bare = str(key).rstrip("+")  # key+ adds to what earlier files say
            if bare == key:
                options.pop(bare, None)
            for index, item in enumerate(value if isinstance(value, list) else [value]):
                line = document.line(key, index) if isinstance(value, list) else document.line(key)
                options.setdefault(bare, []).append(Said(item, name, line))
    for option in ("kubelet-arg", "data-dir", "default-runtime", "container-runtime-endpoint"):
        given = own.flags(f"--{option}", *(["-d"] if option == "data-dir" else []))
        if given and option != "kubelet-arg":
            options[option] = given
        elif given:
            options.setdefault(option, []).extend(given)
    data = options.get("data-dir", [Said(K3S_DATA)])[-1].value
    rendered = f"{str(data).rstrip('/')}/{K3S_CONTAINERD}"
    inner = read_containerd(host, None, rendered, Service("k3s"))  # k3s renders what its containerd reads
    return K3sConfig(options, str(data), inner, own, wrong or inner.problem)


def k3s(config: K3sConfig, host: Host) -> dict[str, Any]:
    """kubelet's part of k3s: its kubelet-arg, then drop-ins of its own kubelet, then its rule."""
    places: list[Said] = []
    folder = f"{config.data_dir}/agent/etc/kubelet.conf.d"
    for name in host.list(folder):
        if name.endswith(".conf"):
            places += _kubelet_files(host, [f"{folder}/{name}"])[0]
    for said in config.options.get("kubelet-arg", []):
        name, _equals, value = str(said.value).lstrip("-").partition("=")
        if name == "cgroup-driver":
            places.append(Said(value, said.path, said.line))
    by_systemd = systemd_runs(host)
    why = "k3s started by systemd" if by_systemd else "k3s not started by systemd"
    row = _row(places, "systemd" if by_systemd else "cgroupfs", why)
    if config.containerd.files:
        row["containerd"] = containerd(config.containerd)["configured"]
    return row


# ---------------------------------------------------------------- kubelet

KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"


def _kubelet_files(host: Host, paths: list[str]) -> tuple[list[Said], Said | None]:
    """cgroupDriver in each of these files, and the last runtime endpoint. Files that cannot be read say nothing."""
    drivers: list[Said] = []
    endpoint: Said | None = None
    for path in paths:
        text = host.text(path)
        if text is None:
            continue
        try:
            document = parse_yaml(text)  # JSON too
        except YamlError:
            continue
        data = document.data if isinstance(document.data, dict) else {}
        if data.get("cgroupDriver"):
            drivers.append(Said(data["cgroupDriver"], path, document.line("cgroupDriver")))
        if data.get("containerRuntimeEndpoint"):
            endpoint = Said(data["containerRuntimeEndpoint"], path, document.line("containerRuntimeEndpoint"))
    return drivers, endpoint


@dataclass(frozen=True)
class Kubelet:
    binary: str | None
    places: list[Said]
    endpoint: Said | None
    configured: bool  # whether there is any configuration for it


def read_kubelet(host: Host) -> Kubelet:
    """kubelet's cgroup driver: --config, then --config-dir's drop-ins, then flags, the strongest last."""
    own = service(host, "kubelet.service")
    named = own.argv[0][0] if own.argv and os.path.isabs(own.argv[0][0]) else None
    binary = named if named and host.is_executable(named) else host.which("kubelet")
    config = own.option(("--config",))
    folder = own.option(("--config-dir",))
    files = [config.value] if config else [KUBELET_CONFIG]
    if folder:
        files += [f"{folder.value.rstrip('/')}/{name}" for name in host.list(folder.value) if name.endswith(".conf")]
    instance = "/var/lib/kubelet/instance-config.yaml"
    places, endpoint = _kubelet_files(host, files)
    endpoint = _kubelet_files(host, [instance])[1] or endpoint
    places += own.flags("--cgroup-driver")
    flag = own.option(("--container-runtime-endpoint",))
    configured = bool(places) or any(host.exists(path) for path in files)
    return Kubelet(binary, places, flag or endpoint, configured)


def kubelet(host: Host, found: Kubelet) -> dict[str, Any]:
    if found.binary is None:
        return _absent()
    row = _row(found.places, "cgroupfs" if found.configured else None, "KubeletConfiguration has no cgroupDriver")
    row["cri_socket"] = found.endpoint.value if found.endpoint else None
    row["in_force"], row["in_force_source"] = pods_under(host)
    return row


def pods_under(host: Host) -> tuple[str | None, str | None]:
    """The driver that made the control group of all pods: its name ends in .slice under systemd. None where both
    are there (one is a leftover until the next reboot) or neither."""
    bases = (CGROUPS, *(f"{CGROUPS}/{name}" for name in ("memory", "cpu", "cpuset", "systemd")))
    by_name = {
        driver: next((f"{base}/{name}" for base in bases if host.is_dir(f"{base}/{name}")), None)
        for driver, name in (("systemd", "kubepods.slice"), ("cgroupfs", "kubepods"))
    }
    there = {driver: path for driver, path in by_name.items() if path}
    return next(iter(there.items())) if len(there) == 1 else (None, None)


# ---------------------------------------------------------------- the whole


def plain_socket(endpoint: str | None) -> str | None:
    """A CRI endpoint as a path without unix:// and with /run for /var/run."""
    if not endpoint:
        return None
    path = endpoint[len("unix://") :] if endpoint.startswith("unix://") else endpoint
    return path[len("/var") :] if path.startswith("/var/run/") else path


def serving(endpoint: str | None, programs: Mapping[str, Mapping[str, Any]], sockets: Mapping[str, str]) -> str | None:
    """The runtime that kubelet speaks to; the only one installed where it does not say."""
    wanted = plain_socket(endpoint)
    if wanted:
        if "cri-dockerd" in wanted or wanted.endswith("/dockershim.sock"):
            return "docker"
        return next((name for name, socket in sockets.items() if plain_socket(socket) == wanted), None)
    there = [name for name in ("crio", "containerd") if programs.get(name, {}).get("installed")]
    return there[0] if len(there) == 1 else None


def describe(host: Host, files: Files, asked: Asked, sockets: Mapping[str, str]) -> dict[str, Any]:
    """What the module ``cgroup_driver_info`` returns."""
    found = read_kubelet(host)
    programs = {
        "kubelet": kubelet(host, found),
        "crio": crio(files.crio) if files.crio else _absent(),
        "containerd": containerd(files.containerd) if files.containerd else _absent(),
        "docker": docker(files.docker, host) if files.docker else _absent(),
        "k3s": k3s(files.k3s, host) if files.k3s else _absent(),
    }
    for name, driver in asked.drivers.items():
        programs[name]["in_force"] = driver
        programs[name]["in_force_source"] = asked.how.get(name)
    own, runtime = programs["kubelet"], None
    if own["installed"]:
        runtime = serving(own.get("cri_socket"), programs, sockets)
        own["runtime"] = runtime
        own["from_runtime"] = _from_runtime(host, found, programs, runtime)
    agree, why_agree = _agreement(programs, runtime)
    value, why = _choice(host, programs, agree, runtime)
    return {
        "hierarchy": hierarchy(host),
        "systemd": systemd_runs(host),
        "programs": programs,
        "agree": agree,
        "agreement": why_agree,
        "value": value,
        "why": why,
    }


def _from_runtime(
    host: Host, found: Kubelet, programs: Mapping[str, dict[str, Any]], runtime: str | None
) -> bool | None:
    """Whether kubelet takes the driver from the runtime. Asked only where it matters: kubelet is slow to tell."""
    told = programs.get(runtime or "", {})
    if told.get("in_force") is None or "RuntimeConfig" not in (told.get("in_force_source") or ""):
        return False
    if told["in_force"] == programs["kubelet"]["configured"]:
        return None  # it makes no difference
    version = program_version(host, found.binary or "kubelet", "--version")
    minor = re.match(r"1\.(\d+)", version or "")
    return int(minor.group(1)) >= ASKS_RUNTIME_SINCE if minor else None


def _driver(row: Mapping[str, Any]) -> str | None:
    return row.get("in_force") or row.get("configured")


def _agreement(programs: Mapping[str, dict[str, Any]], runtime: str | None) -> tuple[bool | None, str]:
    own = programs["kubelet"]
    if programs["k3s"]["installed"] and not own["installed"]:
        row = programs["k3s"]
        inner = row.get("containerd")
        if not inner or not row["configured"]:
            return None, "k3s has not rendered a containerd configuration yet."
        words = f"k3s tells its kubelet {row['configured']} ({row['source']}) and its containerd {inner}."
        return inner == row["configured"], words
    if not own["installed"]:
        return None, "There is no kubelet to agree with."
    if not runtime:
        return None, f"kubelet speaks to {own.get('cri_socket') or 'no runtime yet'}, which is none that is known here."
    theirs = _driver(programs[runtime])
    if own.get("from_runtime"):
        return True, f"kubelet takes the driver from {runtime}, which reports {theirs}."
    mine = own["in_force"] or own["configured"]
    if mine is None or theirs is None:
        return None, f"kubelet: {mine or 'not configured yet'}; {runtime}: {theirs or 'unknown'}."
    sources = f"kubelet uses {mine} ({own['in_force_source'] or own['source']}), {runtime} {theirs} "
    return mine == theirs, f"{sources}({programs[runtime]['in_force_source'] or programs[runtime]['source']})."


def _choice(
    host: Host, programs: Mapping[str, dict[str, Any]], agree: bool | None, runtime: str | None
) -> tuple[str, str]:
    """The driver to use and why."""
    in_force = programs["kubelet"]["in_force"]
    if agree and in_force and runtime and _driver(programs[runtime]) == in_force:
        return in_force, f"kubelet and {runtime} run pods with it; to change it, the node would have to be drained."
    if not systemd_runs(host):
        return "cgroupfs", "systemd is not the init system (no /run/systemd/system), so nobody else manages cgroups."
    kind = hierarchy(host)
    if kind == "v2":
        return "systemd", "systemd is the init system and cgroup v2 wants a single manager."
    return "systemd", f"systemd is the init system (cgroup {kind or 'unknown'}); two managers starve each other."


def handler_driver(info: Any, name: str) -> str | None:
    """What a running containerd's verbose status says of a handler's driver; None where it does not say."""
    table = dig(info, "containerd", "runtimes", name)
    if not isinstance(table, Mapping):
        return None
    options = table.get("options")
    flag = options.get("SystemdCgroup") if isinstance(options, Mapping) else None
    return "systemd" if flag is True else "cgroupfs"
