# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far k3s has come on a node: what lies there, whether it runs, and what the cluster says of the node.

Rules of this file: it looks, through ``Host`` and the API's client, and changes nothing. Which cluster a node belongs
to is told by the hash of its CA, as k3s' own tokens tell it. Contents of tokens and keys never leave it.
"""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import k3s_options, k3s_templates
from .cgroups import K3sConfig, read_k3s
from .cluster.client import ApiError, Client, ClusterError, find_endpoint
from .cluster.kubeconfig import KubeconfigError
from .host import Completed, Host
from .k3s_config import BINARY, CONFIG, DATA, HEADER, KUBECONFIG, TOKEN, UNITS
from .kubeadm_state import hostname
from .service_unit import Unit
from .unit_files import unit_files
from .unit_states import STARTS_AT_BOOT

SERVER_CA = f"{DATA}/server/tls/server-ca.crt"
AGENT_CA = f"{DATA}/agent/server-ca.crt"
KUBELET = f"{DATA}/agent/kubelet.kubeconfig"
SERVER_TOKEN = f"{DATA}/server/token"
AGENT_TOKEN = f"{DATA}/server/agent-token"
CONTAINERD = f"{DATA}/agent/etc/containerd"
SYSTEM = "/etc/systemd/system"
# Handler -> the program by which k3s finds it, on its PATH or where the GPU Operator puts it.
FOUND_BY = {
    "nvidia": "nvidia-container-runtime",
    "nvidia-cdi": "nvidia-container-runtime.cdi",
    "nvidia-experimental": "nvidia-container-runtime-experimental",
    "crun": "crun",
}
OPERATOR = "/usr/local/nvidia/toolkit"
_VERSION = re.compile(r"^k3s version (?P<version>\S+)", re.MULTILINE)
Ask = Callable[[str, str], "dict[str, Any]"]


def sha256_of(path: str) -> str:
    """Of a file; empty where there is none."""
    found = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                found.update(piece)
    except OSError:
        return ""
    return found.hexdigest()


def version_of(done: Completed) -> str:
    """The release that ``k3s --version`` told."""
    found = _VERSION.search(done.out)
    return found.group("version") if found else ""


def address_to_the_world() -> str:
    """The address of the default route, which others find the node by; empty without one. Sends nothing."""
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as line:
                line.connect((far, 9))
                return str(line.getsockname()[0])
        except OSError:
            continue
    return ""


def ask_api(kubeconfig: str, node_name: str) -> dict[str, Any]:
    """What the cluster says of a node: registered (None where nobody answers), ready, version; and the problem."""
    told: dict[str, Any] = {"registered": None, "ready": None, "kubelet_version": None, "problem": ""}
    try:
        client = Client(find_endpoint(kubeconfig), 10, 0)
        item = client.get(f"/api/v1/nodes/{node_name}")
    except ApiError as error:
        # kubelet's own right to read its node begins with the node
        gone = error.status == 404
        return {**told, "registered": False if gone else None, "problem": "" if gone else str(error)}
    except (ClusterError, KubeconfigError) as error:
        return {**told, "problem": str(error)}
    status = item.get("status") or {}
    conditions = [row for row in status.get("conditions") or [] if row.get("type") == "Ready"]
    info = status.get("nodeInfo") or {}
    ready = conditions[0].get("status") == "True" if conditions else False
    why = "" if ready or not conditions else str(conditions[0].get("message") or "")
    return {"registered": True, "ready": ready, "kubelet_version": info.get("kubeletVersion"), "problem": why}


def programs_found(host: Host) -> list[str]:
    """The handlers that k3s finds by itself when it starts."""
    return [
        name for name, program in FOUND_BY.items() if host.which(program) or host.is_executable(f"{OPERATOR}/{program}")
    ]


def other_unit(host: Host, unit: str) -> dict[str, Any]:
    """The unit of the other kind of member, which would run beside this one from the next boot on."""
    other = next(name for name in UNITS.values() if name != unit)
    files = unit_files(host, other)
    ours = bool(files) and (host.text(f"{SYSTEM}/{other}") or "").startswith(HEADER)
    return {"name": other, "there": bool(files), "ours": ours}


def templates(host: Host, version: str, found: Iterable[str], flannel: bool) -> list[k3s_templates.Judgement]:
    texts = {name: host.text(f"{CONTAINERD}/{name}") for name in k3s_templates.NAMES}
    order = k3s_options.order_of(version)
    version_3 = k3s_templates.knows_version_3(order[0], order[1]) if order else True
    there = {name: text for name, text in texts.items() if text is not None}
    return k3s_templates.judge(there, version_3, list(found), flannel)


def look(
    host: Host,
    member: str = "server",
    node_name: str = "",
    version: str = "",
    flannel_backend: str = "",
    ask: Ask = ask_api,
    address: Callable[[], str] = address_to_the_world,
) -> dict[str, Any]:
    """Everything. ``version``: the release that is to be, by which templates are judged; empty: the one there.
    ``flannel_backend``: that of the servers, which an agent's own configuration does not tell.
    """
    config = read_k3s(host)
    role = "server" if host.exists(SERVER_CA) else "agent" if host.exists(AGENT_CA) else ""
    name = node_name or _option(config, "node-name") or _variable(config, "K3S_NODE_NAME") or hostname(host).lower()
    installed = version_of(host.run(BINARY, "--version", timeout_seconds=30.0)) if host.is_executable(BINARY) else ""
    unit = UNITS[role or member]
    state = Unit(unit, run=lambda argv, seconds: host.run(*argv, timeout_seconds=seconds)).state()
    joined = host.exists(KUBELET) and (role != "server" or host.exists(KUBECONFIG))
    own = _option(config, "docker") != "True" and not _option(config, "container-runtime-endpoint")
    found = programs_found(host) if own else []
    backend = flannel_backend or _option(config, "flannel-backend")
    judged = templates(host, version or installed, found, backend != "none")
    told = ask(host.path(KUBELET), name) if joined and state["ActiveState"] == "active" else {}
    result: dict[str, Any] = {
        "role": role,
        "version": installed or None,
        "checksum": sha256_of(host.path(BINARY)) or None,
        "ca_hash": _hash(host, SERVER_CA if role == "server" else AGENT_CA),
        "server": _option(config, "server") or _variable(config, "K3S_URL"),
        "flannel_backend": backend,
        "data_dir": config.data_dir,
        "node_name": name,
        "address": address(),
        "unit": {"name": unit, "active": state["ActiveState"] or "unknown", "enabled": state["UnitFileState"] or "no"},
        "other_unit": other_unit(host, unit),
        "node": told or None,
        "handlers": sorted(config.containerd.handlers()) if config.containerd.files else [],
        "handlers_found": found,
        "config_problem": config.problem,
        "token": host.exists(TOKEN),
        "kubeadm": host.exists("/etc/kubernetes/kubelet.conf"),
        "templates": [
            {"path": f"{CONTAINERD}/{item.name}", "in_force": item.in_force, "broken": item.broken,
             "reasons": list(item.reasons)}
            for item in judged
        ],
        **_foreign(host, config, unit),
    }  # fmt: skip
    return {**result, **_state(result, joined)}


def _state(seen: Mapping[str, Any], joined: bool) -> dict[str, Any]:
    """none, incomplete or member, and what is not as it should be."""
    if not seen["role"]:
        return {"state": "none", "reasons": [], "healthy": None}
    unit, node = seen["unit"], seen["node"] or {}
    lacking = [] if joined else ["its kubelet has no credentials yet"]
    if unit["active"] != "active":
        lacking.append(f"{unit['name']} is {unit['active']}")
    if unit["enabled"] not in STARTS_AT_BOOT:
        lacking.append(f"{unit['name']} does not start at boot")
    if node.get("registered") is False:
        lacking.append(f"the cluster has no node {seen['node_name']}")
    unwell = list(lacking)
    if node.get("registered") is None and node:
        unwell.append(f"the API does not answer: {node['problem']}")
    if node.get("registered") and not node.get("ready"):
        unwell.append(f"the node is not Ready: {node['problem'] or 'kubelet has not told why'}")
    return {"state": "incomplete" if lacking else "member", "reasons": unwell, "healthy": not unwell}


def lacks_nvidia(seen: Mapping[str, Any]) -> bool:
    """Whether NVIDIA's runtime is on the node, and k3s, which looks for it only at its start, has no handler of it."""
    return "nvidia" in seen["handlers_found"] and "nvidia" not in seen["handlers"]


def lacking(seen: Mapping[str, Any], nvidia: bool) -> list[str]:
    """What k3s still owes after a start: that the cluster has said that it has the node, and containerd its handler."""
    told = seen["node"] or {}
    found = list(seen["reasons"]) if seen["state"] != "member" else []
    if seen["state"] == "none":
        found = ["k3s has made no certificates yet"]
    elif not found and told.get("registered") is None:
        found = [f"the API does not answer: {told.get('problem') or 'it was not asked'}"]
    if seen["config_problem"]:
        found.append(f"{seen['config_problem']['path']}: {seen['config_problem']['text']}")
    if nvidia and lacks_nvidia(seen):
        found.append(
            "nvidia-container-runtime is on the node, and the containerd configuration that k3s has rendered has no "
            f"handler nvidia (it has {', '.join(seen['handlers']) or 'none'})"
        )
    return found


def _option(config: K3sConfig, name: str) -> str:
    said = config.get(name)
    given = said.value if said else None
    if given is None:
        flags = config.service.flags(f"--{name}")
        given = flags[-1].value if flags else None
    return "" if given is None else str(given)


def _variable(config: K3sConfig, name: str) -> str:
    said = config.service.environment.get(name)
    return str(said.value) if said else ""


def _hash(host: Host, path: str) -> str | None:
    """As k3s names a cluster in its tokens: of the CA's file, byte by byte."""
    found = sha256_of(host.path(path))
    return f"sha256:{found}" if found else None


def _foreign(host: Host, config: K3sConfig, unit: str) -> dict[str, Any]:
    """The options that somebody else has given, in a configuration or a unit that is not ours."""
    names: list[str] = []
    sources: list[str] = []
    text = host.text(CONFIG)
    if text is not None and not text.startswith(HEADER):
        own = [name for name, said in config.options.items() if any(item.path == CONFIG for item in said)]
        names += own
        sources += [CONFIG] if own else []
    for path in unit_files(host, unit):
        content = host.text(path) or ""
        if path.endswith(unit) and not content.startswith(HEADER):
            flags = [word.partition("=")[0].lstrip("-") for word, _source in config.service.argv[1:] if word[:1] == "-"]
            names += flags
            sources += [path] if flags else []
    return {"foreign_options": sorted(set(names)), "foreign_source": ", ".join(sources)}
