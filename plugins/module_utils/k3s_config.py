# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was chosen for a node to k3s' configuration, its unit, and why k3s would fail there or must not be run.

Rules of this file: no I/O; settings and looks in, texts and sentences out, every reason at once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from . import k3s_options
from .kubeadm_config import kubelet_may_set
from .yaml_text import dumps

FOLDER = "/etc/rancher/k3s"
CONFIG = f"{FOLDER}/config.yaml"
REGISTRIES = f"{FOLDER}/registries.yaml"
TOKEN = f"{FOLDER}/join-token"
DATA = "/var/lib/rancher/k3s"
KUBECONFIG = f"{FOLDER}/k3s.yaml"
BINARY = "/usr/local/bin/k3s"
UNITS = {"server": "k3s.service", "agent": "k3s-agent.service"}
HEADER = "# Written by gpunode.ready (role k3s), whole: change the role's variables instead.\n"
DEFAULTS: dict[str, Any] = {
    "member": "server",
    "version": "",
    "first": True,
    "servers": 1,
    "datastore": "auto",
    "server_url": "",
    "node_name": "",
    "node_ips": [],
    "node_labels": {},
    "node_taints": [],
    "tls_sans": [],
    "pod_subnet": "",
    "service_subnet": "",
    "disable": [],
    "default_runtime": "",
    "config": {},
}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_TAINT = re.compile(r"[^=:\s]+(=[^=:\s]*)?:(NoSchedule|PreferNoSchedule|NoExecute)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# What a set-up by others says in its own way, and the role says in its: nothing is lost.
HANDED_ON = ("token", "token-file", "server", "cluster-init", "config", "data-dir")
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm"}
FILES = {"amd64": "k3s", "arm64": "k3s-arm64", "arm": "k3s-armhf"}


def with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Raises ``ValueError`` for a name that is none of ours."""
    unknown = sorted(set(settings) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"unknown settings: {', '.join(unknown)}")
    return {**DEFAULTS, **settings}


def uses_etcd(given: Mapping[str, Any]) -> bool:
    """Whether the first server begins an etcd of its own."""
    chosen = given["datastore"]
    return chosen == "etcd" or (chosen == "auto" and int(given["servers"]) > 1 and not _external(given))


def _external(given: Mapping[str, Any]) -> bool:
    """Whether the cluster's data lies in a database of the site."""
    return bool(given["config"].get("datastore-endpoint"))


def options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options by name, as k3s knows them."""
    given = with_defaults(settings)
    server = given["member"] == "server"
    found: dict[str, Any] = {}
    if given["first"] and server:
        if uses_etcd(given):
            found["cluster-init"] = True
    else:
        found["server"] = given["server_url"]
        found["token-file"] = TOKEN
    texts = (("node-name", "node_name"), ("default-runtime", "default_runtime"))
    found.update({option: given[key] for option, key in texts if given[key]})
    if given["node_ips"]:
        found["node-ip"] = list(given["node_ips"])
    if given["node_labels"]:
        found["node-label"] = [f"{key}={value}" for key, value in given["node_labels"].items()]
    if given["node_taints"]:
        found["node-taint"] = list(given["node_taints"])
    if server:
        lists = (("tls-san", given["tls_sans"]), ("disable", given["disable"]))
        found.update({option: list(value) for option, value in lists if value})
        nets = (("cluster-cidr", given["pod_subnet"]), ("service-cidr", given["service_subnet"]))
        found.update({option: value.split(",") for option, value in nets if value})
    return {**found, **given["config"]}


def text(settings: Mapping[str, Any]) -> str:
    """/etc/rancher/k3s/config.yaml."""
    return HEADER + dumps(options(settings))


def registries_text(registries: Mapping[str, Any]) -> str:
    return HEADER + dumps(registries)


def unit_text(member: str, binary: str = BINARY) -> str:
    """The systemd unit. Everything that differs between nodes stands in the configuration."""
    unit = UNITS[member]
    return f"""{HEADER}[Unit]
Description=Kubernetes by k3s ({member})
Documentation=https://docs.k3s.io
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
# as upstream's installer leaves proxies and the like
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/{unit}.env
# containers outlive a restart of k3s
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart={binary} {member}

[Install]
WantedBy=multi-user.target
"""


# ---------------------------------------------------------------- where the program comes from


def download(base_url: str, version: str, machine: str) -> dict[str, str]:
    """Where a release's program and its checksums lie, by the node's machine. Raises ``ValueError``."""
    architecture = ARCHITECTURES.get(machine)
    if architecture is None:
        raise ValueError(f"k3s is not built for {machine}; expected one of {', '.join(sorted(set(ARCHITECTURES)))}")
    folder = f"{base_url.rstrip('/')}/{version.replace('+', '%2B')}"
    name = FILES[architecture]
    return {
        "architecture": architecture,
        "name": name,
        "url": f"{folder}/{name}",
        "checksums_url": f"{folder}/sha256sum-{architecture}.txt",
    }


def checksum_in(listing: str, name: str) -> str:
    """A file's sha256 in what ``sha256sum`` printed. Raises ``ValueError`` where it is not in there once."""
    rows = (line.split() for line in listing.splitlines())
    found = {row[0].lower() for row in rows if len(row) == 2 and row[1].lstrip("*./") == name}
    if len(found) != 1 or not _SHA256.fullmatch(min(found)):
        raise ValueError(f"the checksums name `{name}` {len(found)} times with a sha256; expected once")
    return found.pop()


# ---------------------------------------------------------------- what speaks against it


def problems(
    settings: Mapping[str, Any], look: Mapping[str, Any] | None = None, choices: Mapping[str, Any] | None = None
) -> list[str]:
    """Everything against running k3s here.

    ``look``: what ``k3s_info`` told. ``choices``: ``allow_change``, ``checksums``, ``machine``, ``file``,
    ``first_server``, ``ca_hash`` (its cluster's), ``addresses`` (of the play's nodes), ``members`` (name to CA hash of
    those in the play that belong to a cluster), ``hosts`` (of the inventory).
    """
    try:
        given = with_defaults(settings)
    except ValueError as error:
        return [str(error)]
    found = [*_settings(given)]
    if choices is not None:
        found += _choices(given, choices)
    if look is not None:
        found += [*_foreign(given, look, choices or {}), *_change(given, look, choices or {})]
    return list(dict.fromkeys(found))


def _settings(given: Mapping[str, Any]) -> Iterator[str]:
    version, member = str(given["version"]), given["member"]
    if not k3s_options.VERSION.fullmatch(version):
        yield f"k3s_version is `{version}`; expected a release such as v1.36.4+k3s1"
    elif k3s_options.minor_of(version) < k3s_options.OLDEST:
        yield f"k3s_version is {version}; expected 1.{k3s_options.OLDEST} or newer"
    if member not in UNITS:
        yield f"k3s_member is `{member}`; expected server or agent"
        return
    if given["first"] and member == "agent":
        yield "k3s_member is agent on the first server: set k3s_first_server to the name of a server"
    servers = int(given["servers"])
    external = _external(given)
    if servers < 1 or (servers % 2 == 0 and not external):
        yield f"k3s_servers is {servers}; expected an odd number, for etcd needs a majority"
    if given["datastore"] not in ("auto", "etcd", "sqlite"):
        yield f"k3s_datastore is `{given['datastore']}`; expected auto, etcd or sqlite"
    if given["datastore"] == "sqlite" and servers > 1:
        yield f"k3s_datastore is sqlite, which serves one server, and k3s_servers is {servers}; expected etcd or auto"
    if external and given["datastore"] == "etcd":
        yield "k3s_datastore is etcd, and k3s_config has a `datastore-endpoint`: leave one out"
    if given["node_name"] and not _NAME.fullmatch(str(given["node_name"])):
        yield f"k3s_node_name is `{given['node_name']}`; expected lower-case letters, digits, `-` and `.`"
    url = urlsplit(str(given["server_url"]))
    if given["server_url"] and (url.scheme != "https" or not url.hostname):
        yield f"k3s_server_url is `{given['server_url']}`; expected https://<name or address>:6443"
    for key, value in given["node_labels"].items():
        if not _LABEL.fullmatch(str(key)) or not _LABEL_VALUE.fullmatch(str(value)):
            yield f"k3s_node_labels: `{key}: {value}` is no label"
        elif not kubelet_may_set(str(key)):
            yield f"k3s_node_labels has {key}, with which kubelet does not start; expected it set through the API"
    for taint in given["node_taints"]:
        if not _TAINT.fullmatch(str(taint)):
            yield (
                f"k3s_node_taints: `{taint}` is no taint; expected key=value:NoSchedule, PreferNoSchedule or NoExecute"
            )
    for address in given["node_ips"]:
        if not _address(address):
            yield f"k3s_node_ips: `{address}` is no address"
    nets = []
    for name in ("pod_subnet", "service_subnet"):
        for text in str(given[name]).split(",") if given[name] else ():
            try:
                nets.append((name, ipaddress.ip_network(text.strip())))
            except ValueError as error:
                yield f"k3s_{name}: {error}"
    for index, (name, net) in enumerate(nets):
        for other, beside in nets[index + 1 :]:
            if net.version == beside.version and net.overlaps(beside):
                yield f"k3s_{name} {net} and k3s_{other} {beside} overlap; expected them apart"
    yield from _own_options(given)


def _own_options(given: Mapping[str, Any]) -> Iterator[str]:
    for key in given["config"]:
        if key in k3s_options.OURS:
            yield f"k3s_config: `{key}`: {k3s_options.OURS[key]}"
    made = options({**given, "config": {}})
    for key in sorted(set(made) & set(given["config"])):
        if key not in k3s_options.OURS:
            yield f"k3s_config: `{key}` is set by a variable of its own as well; expected one of them"
    rest = {key: value for key, value in {**given["config"], **made}.items() if key not in k3s_options.OURS}
    for problem in k3s_options.problems(rest, given["member"], str(given["version"])):
        yield f"k3s_config: {problem}"


def _address(value: Any) -> bool:
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return False
    return True


def _choices(given: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    machine = str(choices.get("machine") or "")
    if machine and machine not in ARCHITECTURES:
        yield f"k3s is not built for {machine}; expected one of {', '.join(sorted(ARCHITECTURES))}"
    for architecture, value in (choices.get("checksums") or {}).items():
        if architecture not in FILES:
            yield f"k3s_checksums: `{architecture}` is none; expected {', '.join(FILES)}"
        elif not _SHA256.fullmatch(str(value)):
            yield f"k3s_checksums: `{architecture}` is no sha256 of 64 hexadecimal digits"
    if choices.get("file") and not (choices.get("checksums") or {}).get(ARCHITECTURES.get(machine, "")):
        yield "k3s_file is set without a checksum for this node: give k3s_checksums, as the release's list has it"
    first, hosts = choices.get("first_server"), choices.get("hosts")
    if first and hosts is not None and first not in hosts:
        yield f"k3s_first_server is `{first}`, which the inventory does not have"


def _foreign(given: Mapping[str, Any], look: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    if look.get("kubeadm"):
        yield (
            "kubeadm has made a kubelet here (/etc/kubernetes/kubelet.conf), and two on one node are at odds: take the "
            "node out of that cluster first"
        )
    role, own, wanted = look.get("role"), look.get("ca_hash"), choices.get("ca_hash")
    member = given["member"]
    other = look.get("other_unit") or {}
    if other.get("there") and not other["ours"]:
        yield (
            f"{other['name']} is on this node too, and was not written here: two k3s on one node are at odds. Stop it "
            "and remove it, with its file"
        )
    way_out = (
        "Drain the node, delete it in that cluster, stop k3s and move /var/lib/rancher/k3s away, if nothing there is "
        "needed any more; or correct the inventory. Nothing here does that for you"
    )
    if role and role != member:
        yield (
            f"this node is a k3s {role} ({look.get('server') or 'of its own cluster'}); expected "
            f"{_a(member)}. {way_out}"
        )
        return
    first = choices.get("first_server") or "the first server"
    if not given["first"]:
        if not given["server_url"]:
            yield (
                f"where to find {first} is not known, because it was not looked at in this run: run it for {first} as "
                "well, or set k3s_server_url"
            )
        if own and wanted and own != wanted:
            yield (
                f"this node belongs to the cluster at {look.get('server') or 'an unknown address'}, whose CA is {own}; "
                f"expected that of {first}, {wanted}. {way_out}"
            )
        elif own and wanted == "":
            yield (
                f"this node belongs to a cluster whose CA is {own} (at {look.get('server') or 'an unknown address'}), "
                f"and {first} has none yet, so another one would be made beside it. Set k3s_first_server to a server "
                f"of that cluster. {way_out}"
            )
        return
    server = urlsplit(str(look.get("server") or "")).hostname
    known = choices.get("addresses")
    members = [value for value in (choices.get("members") or {}).values() if value]
    # a first server that is lost leaves the others, and what they joined by
    if own and server and known is not None and server not in known and members.count(own) < 2:
        yield f"this node joined the cluster at {look['server']}, which is none of this play's nodes. {way_out}"
    others = {name: value for name, value in (choices.get("members") or {}).items() if value and value != own}
    if not own and others:
        names = ", ".join(sorted(others))
        yield (
            f"{names} already belong to a cluster, and this first server has none, so another one would be made beside "
            "it. Set k3s_first_server to a server of that cluster"
        )


def _a(member: str) -> str:
    return "an agent" if member == "agent" else "a server"


def _change(given: Mapping[str, Any], look: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    runs, wanted = str(look.get("version") or ""), str(given["version"])
    now, then = k3s_options.order_of(runs), k3s_options.order_of(wanted)
    if look.get("role") and now and then and now != then:
        if then < now:
            yield (
                f"k3s {runs} has data here, and k3s_version is {wanted}: k3s does not go back. Expected {runs} or newer"
            )
        elif then[0] > now[0] + 1:
            yield f"k3s {runs} is here, and k3s_version is {wanted}: one minor at a time. Expected 1.{now[0] + 1} next"
        elif not choices.get("allow_change"):
            yield (
                f"k3s {runs} is a member here, and k3s_version is {wanted}: set k3s_allow_change for one run to upgrade"
            )
    place = look.get("data_dir") or DATA
    if place != DATA:
        yield f"k3s keeps its data in {place} here, and the role knows one place, {DATA}: leave this node to its owner"
    kept = {*options(given), *HANDED_ON}
    lost = [f"`{name}`" for name in look.get("foreign_options") or [] if name not in kept]
    if lost and not choices.get("allow_change"):
        yield (
            f"k3s is set up here by somebody else, with {', '.join(lost)} ({look.get('foreign_source')}), which the "
            "role would drop: put them into the role's variables, or set k3s_allow_change for one run"
        )
