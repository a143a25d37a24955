# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubeadm is given: documents of v1beta3 or v1beta4 by the version of Kubernetes, and what is wrong with them.

Rules of this file: data first (fields by version), then functions from settings to problems and to documents; no I/O.
Only fields that the version knows are written: kubeadm warns of others, or refuses them, depending on the kind.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .facts.kubernetes import unknown_flags
from .yaml_text import dumps_all

OLDEST, NEWEST = 28, 37  # minors of Kubernetes 1.x
V1BETA4_SINCE = 31
GROUP = "kubeadm.k8s.io"

# ---------------------------------------------------------------- fields, as data
# A field is a type, a mapping of fields, or [what a list holds]. `Since(n, type)`: not before 1.n.

TEXT, FLAG, NUMBER, DURATION, MAP, ANY = "text", "true or false", "a number", "a duration", "a mapping", "anything"
TYPES: dict[str, tuple[type, ...]] = {
    TEXT: (str,),
    FLAG: (bool,),
    NUMBER: (int,),
    DURATION: (str,),
    MAP: (dict,),
    ANY: (object,),
}
DURATION_FORM = re.compile(r"(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")


class Since:
    """A field that a minor of Kubernetes brought."""

    def __init__(self, minor: int, kind: Any) -> None:
        self.minor = minor
        self.kind = kind


def _fields(beta4: bool) -> dict[str, dict[str, Any]]:
    """kind → its fields, in v1beta3 or v1beta4."""
    arguments: Any = [{"name": TEXT, "value": TEXT}] if beta4 else MAP
    environment = {"extraEnvs": [ANY]} if beta4 else {}
    volume = {"name": TEXT, "hostPath": TEXT, "mountPath": TEXT, "readOnly": FLAG, "pathType": TEXT}
    component = {"extraArgs": arguments, "extraVolumes": [volume], **environment}
    image = {"imageRepository": TEXT, "imageTag": TEXT}
    endpoint = {"advertiseAddress": TEXT, "bindPort": NUMBER}
    timeouts = dict.fromkeys(
        (
            "controlPlaneComponentHealthCheck",
            "kubeletHealthCheck",
            "kubernetesAPICall",
            "etcdAPICall",
            "tlsBootstrap",
            "discovery",
            "upgradeManifests",
        ),
        DURATION,
    )
    only4 = {"dryRun": FLAG, "timeouts": timeouts} if beta4 else {}
    registration = {
        "name": TEXT,
        "criSocket": TEXT,
        "taints": [{"key": TEXT, "value": TEXT, "effect": TEXT, "timeAdded": TEXT}],
        "kubeletExtraArgs": arguments,
        "ignorePreflightErrors": [TEXT],
        "imagePullPolicy": TEXT,
        **({"imagePullSerial": FLAG} if beta4 else {}),
    }
    etcd_local = {
        **image,
        "dataDir": TEXT,
        "extraArgs": arguments,
        "serverCertSANs": [TEXT],
        "peerCertSANs": [TEXT],
        **environment,
    }
    etcd_external = {
        "endpoints": [TEXT],
        "caFile": TEXT,
        "certFile": TEXT,
        "keyFile": TEXT,
        **({"httpEndpoints": Since(35, [TEXT])} if beta4 else {}),
    }
    token = {
        "token": TEXT,
        "description": TEXT,
        "ttl": DURATION,
        "expires": TEXT,
        "usages": [TEXT],
        "groups": [TEXT],
    }
    patches = {"directory": TEXT}
    discovery = {
        "bootstrapToken": {
            "token": TEXT,
            "apiServerEndpoint": TEXT,
            "caCertHashes": [TEXT],
            "unsafeSkipCAVerification": FLAG,
        },
        "file": {"kubeConfigPath": TEXT},
        "tlsBootstrapToken": TEXT,
        **({} if beta4 else {"timeout": DURATION}),
    }
    certificates = {
        "certificateValidityPeriod": DURATION,
        "caCertificateValidityPeriod": DURATION,
        "encryptionAlgorithm": TEXT,
    }
    return {
        "InitConfiguration": {
            "bootstrapTokens": [token],
            "nodeRegistration": registration,
            "localAPIEndpoint": endpoint,
            "certificateKey": TEXT,
            "skipPhases": [TEXT],
            "patches": patches,
            **only4,
        },
        "ClusterConfiguration": {
            "kubernetesVersion": TEXT,
            "clusterName": TEXT,
            "controlPlaneEndpoint": TEXT,
            "networking": {"podSubnet": TEXT, "serviceSubnet": TEXT, "dnsDomain": TEXT},
            "etcd": {"local": etcd_local, "external": etcd_external},
            "apiServer": {
                **component,
                "certSANs": [TEXT],
                **({} if beta4 else {"timeoutForControlPlane": DURATION}),
            },
            "controllerManager": component,
            "scheduler": component,
            "dns": {**image, **({"disabled": FLAG} if beta4 else {})},
            "certificatesDir": TEXT,
            "imageRepository": TEXT,
            "featureGates": MAP,
            **({"proxy": {"disabled": FLAG}, **certificates} if beta4 else {}),
        },
        "JoinConfiguration": {
            "nodeRegistration": registration,
            "caCertPath": TEXT,
            "discovery": discovery,
            "controlPlane": {"localAPIEndpoint": endpoint, "certificateKey": TEXT},
            "skipPhases": [TEXT],
            "patches": patches,
            **only4,
        },
    }


FIELDS = {"v1beta3": _fields(beta4=False), "v1beta4": _fields(beta4=True)}

# Gates of kubelet that are gone: setting one ends kubelet.
REMOVED_GATES = {"DevicePluginCDIDevices": 34}

DEFAULTS: dict[str, Any] = {
    "version": "",
    "node_name": "",
    "cri_socket": "",
    "cgroup_driver": "systemd",
    "advertise_address": "",
    "bind_port": 6443,
    "control_plane_endpoint": "",
    "control_planes": 1,
    "pod_subnet": "10.244.0.0/16",
    "service_subnet": "10.96.0.0/12",
    "node_addresses": [],
    "dns_domain": "cluster.local",
    "cluster_name": "kubernetes",
    "image_repository": "",
    "cert_sans": [],
    "taints": None,  # None: kubeadm's own for a control plane; []: none
    "node_labels": {},
    "kubelet_extra_args": {},
    "api_server_extra_args": {},
    "controller_manager_extra_args": {},
    "scheduler_extra_args": {},
    "feature_gates": {},
    "kubelet_config": {},
    "kube_proxy_config": {},
    "skip_phases": [],
    "ignore_preflight_errors": [],
    "timeouts": {},
    "token": "",
    "ca_cert_hashes": [],
    "certificate_key": "",
    "api_server_endpoint": "",
}
JOINS = ("worker", "control_plane")
TOKEN = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")
HASH = re.compile(r"sha256:[0-9a-f]{64}")
KEY = re.compile(r"[0-9a-f]{64}")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# Labels below these that kubelet may not give itself (admission NodeRestriction), and those that it may.
RESTRICTED = ("kubernetes.io", "k8s.io")
ALLOWED = ("kubelet.kubernetes.io", "node.kubernetes.io")
ALLOWED_LABELS = (
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "node.kubernetes.io/instance-type",
)


# ---------------------------------------------------------------- versions


def minor_of(version: Any) -> int | None:
    """36 of ``1.36.4`` or ``v1.36.4``; None where there is no such number."""
    found = re.fullmatch(r"v?1\.(\d+)\.(\d+)", str(version))
    return int(found[1]) if found else None


def kubelet_may_set(label: str) -> bool:
    """Whether kubelet starts with this label among its own."""
    prefix, slash, _name = label.partition("/")
    restricted = slash and any(prefix == end or prefix.endswith(f".{end}") for end in RESTRICTED)
    allowed = any(prefix == end or prefix.endswith(f".{end}") for end in ALLOWED) or label in ALLOWED_LABELS
    return allowed or not restricted


def api_of(minor: int) -> str:
    return "v1beta4" if minor >= V1BETA4_SINCE else "v1beta3"


# ---------------------------------------------------------------- what is wrong


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with what was given put over them. Raises ``ValueError`` naming every key that is unknown."""
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"unknown settings: {', '.join(unknown)} (known: {', '.join(DEFAULTS)})")
    return {**DEFAULTS, **given}


def problems(given: Mapping[str, Any], join: str = "") -> list[str]:
    """Everything wrong with the settings for ``init``, or for joining as ``worker`` or ``control_plane``."""
    what = settings(given)
    minor = minor_of(what["version"])
    if minor is None:
        return [f"version is `{what['version']}`; expected one such as 1.36.4"]
    if not OLDEST <= minor <= NEWEST:
        return [f"version is {what['version']}; expected 1.{OLDEST} to 1.{NEWEST}, which are known here"]
    found = [*_names(what), *_networks(what), *_kubelet(what, minor), *_arguments(what, minor)]
    found += _joining(what, join) if join else _endpoint(what)
    if not found:
        for document in documents(given, join):
            found += unknown_fields(document, minor)
    return found


def _names(what: Mapping[str, Any]) -> Iterator[str]:
    name = what["node_name"]
    if name and not all(LABEL.fullmatch(part) for part in str(name).split(".")):
        yield f"node_name is `{name}`; expected a lower-case DNS name"
    if not all(LABEL.fullmatch(part) for part in str(what["dns_domain"]).split(".")):
        yield f"dns_domain is `{what['dns_domain']}`; expected a DNS name such as cluster.local"
    socket = str(what["cri_socket"])
    if socket and not re.fullmatch(r"unix:///\S+", socket):
        yield f"cri_socket is `{socket}`; expected one such as unix:///var/run/crio/crio.sock"
    if what["cgroup_driver"] not in ("systemd", "cgroupfs"):
        yield f"cgroup_driver is `{what['cgroup_driver']}`; expected systemd or cgroupfs, that of the runtime"
    for key in what["node_labels"]:
        if not kubelet_may_set(str(key)):
            yield f"node_labels has {key}, which kubelet may not give itself; expected it set through the API"
    for taint in what["taints"] or []:
        effect = taint.get("effect") if isinstance(taint, Mapping) else None
        if not isinstance(taint, Mapping) or not taint.get("key"):
            yield f"taints has `{taint}`; expected key, value and effect"
        elif effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            yield f"taints has {taint['key']} with effect `{effect}`; expected NoSchedule, PreferNoSchedule, NoExecute"


def _networks(what: Mapping[str, Any]) -> Iterator[str]:
    known: list[tuple[str, Any]] = []
    for name in ("pod_subnet", "service_subnet"):
        for text in str(what[name]).split(",") if what[name] else []:
            try:
                known.append((name, ipaddress.ip_network(text.strip())))
            except ValueError as error:
                yield f"{name} is `{text.strip()}`: {error}; expected a network such as {DEFAULTS[name]}"
    if not what["service_subnet"]:
        yield f"service_subnet is empty; expected a network such as {DEFAULTS['service_subnet']}"
    for number, (name, network) in enumerate(known):
        for other_name, other in known[number + 1 :]:
            if network.version == other.version and network.overlaps(other):
                yield f"{name} {network} and {other_name} {other} overlap; expected networks apart"
    for text in what["node_addresses"]:
        try:
            address = ipaddress.ip_address(str(text))
        except ValueError:
            yield f"node_addresses has `{text}`; expected an address"
            continue
        for name, network in known:
            if address.version == network.version and address in network:
                yield f"{name} {network} holds the node's address {address}; expected networks apart"
    if what["advertise_address"]:
        try:
            ipaddress.ip_address(str(what["advertise_address"]))
        except ValueError:
            yield f"advertise_address is `{what['advertise_address']}`; expected an address of this node"
    port = what["bind_port"]
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        yield f"bind_port is `{port}`; expected a port"


def _kubelet(what: Mapping[str, Any], minor: int) -> Iterator[str]:
    flags = {str(name): str(value) for name, value in what["kubelet_extra_args"].items()}
    for found in unknown_flags(flags, {}, minor):
        yield f"kubelet_extra_args: {found['why']}"
    gates = what["kubelet_config"].get("featureGates")
    for gate in gates if isinstance(gates, Mapping) else {}:
        if gate in REMOVED_GATES and minor >= REMOVED_GATES[gate]:
            yield f"kubelet_config.featureGates has {gate}, gone since 1.{REMOVED_GATES[gate]}: it would end kubelet"
    driver = what["kubelet_config"].get("cgroupDriver", what["cgroup_driver"])
    if driver != what["cgroup_driver"]:
        yield f"kubelet_config.cgroupDriver is {driver}; expected {what['cgroup_driver']}, as cgroup_driver says"
    timeouts = [key for key in what["kubelet_config"] if key.startswith("conntrack")]
    if timeouts:
        yield f"kubelet_config has {timeouts[0]}, which is kube-proxy's; expected it in kube_proxy_config"


def _arguments(what: Mapping[str, Any], minor: int) -> Iterator[str]:
    for name in ("kubelet", "api_server", "controller_manager", "scheduler"):
        arguments = what[f"{name}_extra_args"]
        for flag, value in arguments.items():
            if str(flag).startswith("-"):
                yield f"{name}_extra_args has `{flag}`; expected it without its dashes"
            if isinstance(value, list) and minor < V1BETA4_SINCE:
                needs = f"1.{V1BETA4_SINCE}; found {what['version']}"
                yield f"{name}_extra_args has {flag} several times, which needs {needs}"
    for name, value in what["timeouts"].items():
        if minor < V1BETA4_SINCE:
            yield f"timeouts has {name}, which needs 1.{V1BETA4_SINCE} or newer; found {what['version']}"
            return
        if not DURATION_FORM.fullmatch(str(value)):
            yield f"timeouts.{name} is `{value}`; expected a duration such as 4m0s"


def _endpoint(what: Mapping[str, Any]) -> Iterator[str]:
    endpoint = str(what["control_plane_endpoint"])
    if endpoint and not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:\d+)?", endpoint):
        yield f"control_plane_endpoint is `{endpoint}`; expected a name or an address, with or without a port"
    if what["control_planes"] > 1 and not endpoint:
        yield (
            f"control_plane_endpoint is empty with {what['control_planes']} control planes; expected a name or address "
            "that leads to all of them, since it cannot be added later"
        )
    if what["certificate_key"] and not KEY.fullmatch(str(what["certificate_key"])):
        yield "certificate_key is not what `kubeadm certs certificate-key` prints; expected 64 hexadecimal digits"


def _joining(what: Mapping[str, Any], join: str) -> Iterator[str]:
    """A token and a key are secrets: what is wrong with one is told without it."""
    if join not in JOINS:
        yield f"a node joins as `{join}`; expected {' or '.join(JOINS)}"
    if not TOKEN.fullmatch(str(what["token"])):
        yield "token is no bootstrap token; expected six and sixteen lower-case letters and digits, a dot between"
    if not what["api_server_endpoint"]:
        yield "api_server_endpoint is empty; expected host:port of the cluster"
    if not what["ca_cert_hashes"]:
        yield "ca_cert_hashes is empty, so the node could not tell the cluster from an impostor; expected sha256:..."
    for one in what["ca_cert_hashes"]:
        if not HASH.fullmatch(str(one)):
            yield f"ca_cert_hashes has `{one}`; expected sha256: and 64 hexadecimal digits"
    if join == "control_plane" and not KEY.fullmatch(str(what["certificate_key"])):
        yield "certificate_key is not what `kubeadm certs certificate-key` prints; expected 64 hexadecimal digits"


def unknown_fields(document: Mapping[str, Any], minor: int) -> list[str]:
    """What strict decoding would say of a kubeadm document: fields that are not there, and values of another type."""
    kind, version = document.get("kind"), str(document.get("apiVersion"))
    if not version.startswith(f"{GROUP}/"):
        return []
    api = version.partition("/")[2]
    if api not in FIELDS:
        return [f"{kind}: apiVersion is {version}; expected {GROUP}/{api_of(minor)}"]
    if api == "v1beta4" and minor < V1BETA4_SINCE:
        return [f"{kind}: {version} needs Kubernetes 1.{V1BETA4_SINCE}; expected {GROUP}/v1beta3"]
    known = FIELDS[api].get(str(kind))
    if known is None:
        return [f"kind is `{kind}`; expected one of {', '.join(FIELDS[api])}"]
    body = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
    return list(_strict(body, known, str(kind), api, minor))


def _strict(value: Any, kind: Any, where: str, api: str, minor: int) -> Iterator[str]:
    if isinstance(kind, Since):
        if minor < kind.minor:
            yield f"{where} is not known to Kubernetes 1.{minor}; expected 1.{kind.minor} or newer"
            return
        kind = kind.kind
    if isinstance(kind, Mapping):
        if not isinstance(value, Mapping):
            yield f"{where} is {type(value).__name__}; expected a mapping"
            return
        for key, inner in value.items():
            if key not in kind:
                yield f"{where}.{key} is no field of {api}; expected one of {', '.join(kind)}"
            else:
                yield from _strict(inner, kind[key], f"{where}.{key}", api, minor)
    elif isinstance(kind, list):
        if not isinstance(value, list):
            yield f"{where} is {type(value).__name__}; expected a list"
            return
        for number, item in enumerate(value):
            yield from _strict(item, kind[0], f"{where}[{number}]", api, minor)
    elif not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind == NUMBER):
        yield f"{where} is `{value}`; expected {kind}"
    elif kind == DURATION and not DURATION_FORM.fullmatch(str(value)):
        yield f"{where} is `{value}`; expected a duration such as 4m0s"


# ---------------------------------------------------------------- documents


def documents(given: Mapping[str, Any], join: str = "") -> list[dict[str, Any]]:
    """The documents of kubeadm's file, for ``init``, or for joining. ``problems`` comes first."""
    what = settings(given)
    minor = minor_of(what["version"]) or NEWEST
    api = f"{GROUP}/{api_of(minor)}"
    if join:
        return [_whole(api, "JoinConfiguration", _join(what, minor, join))]
    made = [
        _whole(api, "InitConfiguration", _init(what, minor)),
        _whole(api, "ClusterConfiguration", _cluster(what, minor)),
        _whole("kubelet.config.k8s.io/v1beta1", "KubeletConfiguration", _kubelet_config(what)),
    ]
    if what["kube_proxy_config"]:
        made.append(_whole("kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration", what["kube_proxy_config"]))
    return made


def text(given: Mapping[str, Any], join: str = "") -> str:
    """kubeadm's file."""
    return dumps_all(documents(given, join))


def _whole(api: str, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, **_without_empty(body)}


def _without_empty(body: Mapping[str, Any]) -> dict[str, Any]:
    """Without what says nothing; an empty list of taints says a great deal, and stays."""
    kept = {}
    for key, value in body.items():
        if isinstance(value, Mapping):
            value = _without_empty(value)
        if value not in ("", None, {}) and not (value == [] and key != "taints"):
            kept[key] = value
    return kept


def _listed(arguments: Mapping[str, Any], minor: int) -> Any:
    """Arguments as this version takes them: a list of names and values, or, before 1.31, a mapping."""
    if minor < V1BETA4_SINCE:
        return {str(name): _spelt(value) for name, value in arguments.items()}
    return [
        {"name": str(name), "value": _spelt(one)}
        for name, value in arguments.items()
        for one in (value if isinstance(value, list) else [value])
    ]


def _spelt(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _registration(what: Mapping[str, Any], minor: int) -> dict[str, Any]:
    arguments = dict(what["kubelet_extra_args"])
    if what["node_labels"]:
        arguments["node-labels"] = ",".join(f"{key}={value}" for key, value in sorted(what["node_labels"].items()))
    made = {
        "name": what["node_name"],
        "criSocket": what["cri_socket"],
        "kubeletExtraArgs": _listed(arguments, minor),
        "ignorePreflightErrors": list(what["ignore_preflight_errors"]),
    }
    if what["taints"] is not None:
        made["taints"] = [dict(taint) for taint in what["taints"]]
    return made


def _local(what: Mapping[str, Any]) -> dict[str, Any]:
    port = what["bind_port"] if what["bind_port"] != DEFAULTS["bind_port"] else None
    return {"advertiseAddress": what["advertise_address"], "bindPort": port}


def _init(what: Mapping[str, Any], minor: int) -> dict[str, Any]:
    return {
        "nodeRegistration": _registration(what, minor),
        "localAPIEndpoint": _local(what),
        "certificateKey": what["certificate_key"],
        "skipPhases": list(what["skip_phases"]),
        "timeouts": dict(what["timeouts"]),
    }


def _cluster(what: Mapping[str, Any], minor: int) -> dict[str, Any]:
    arguments = {name: _listed(what[f"{name}_extra_args"], minor) for name in
                 ("api_server", "controller_manager", "scheduler")}  # fmt: skip
    return {
        "kubernetesVersion": f"v{str(what['version']).lstrip('v')}",
        "clusterName": what["cluster_name"] if what["cluster_name"] != DEFAULTS["cluster_name"] else "",
        "controlPlaneEndpoint": what["control_plane_endpoint"],
        "networking": {
            "podSubnet": what["pod_subnet"],
            "serviceSubnet": what["service_subnet"],
            "dnsDomain": what["dns_domain"],
        },
        "apiServer": {"extraArgs": arguments["api_server"], "certSANs": list(what["cert_sans"])},
        "controllerManager": {"extraArgs": arguments["controller_manager"]},
        "scheduler": {"extraArgs": arguments["scheduler"]},
        "imageRepository": what["image_repository"],
        "featureGates": dict(what["feature_gates"]),
    }


def _kubelet_config(what: Mapping[str, Any]) -> dict[str, Any]:
    return {"cgroupDriver": what["cgroup_driver"], **what["kubelet_config"]}


def _join(what: Mapping[str, Any], minor: int, join: str) -> dict[str, Any]:
    made = {
        "nodeRegistration": _registration(what, minor),
        "discovery": {
            "bootstrapToken": {
                "token": what["token"],
                "apiServerEndpoint": what["api_server_endpoint"],
                "caCertHashes": list(what["ca_cert_hashes"]),
            }
        },
        "skipPhases": list(what["skip_phases"]),
        "timeouts": dict(what["timeouts"]),
    }
    if join == "control_plane":
        made["controlPlane"] = {"localAPIEndpoint": _local(what), "certificateKey": what["certificate_key"]}
    return made
