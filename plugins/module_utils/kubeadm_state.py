# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far kubeadm has come on a node: nothing, a half-done init or join, a member, or a member of another cluster.

Rules of this file: ``look`` sees the node through ``Host``, ``ask`` the cluster through its client; ``judge`` turns
what both saw into a state and the phases that lack, and touches neither. Nothing here writes, and no key is kept.
"""

from __future__ import annotations

import http.client
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from .cluster.client import ApiError, Client, ClusterError, find_endpoint
from .cluster.kubeconfig import KubeconfigError, endpoint
from .host import Host
from .machine_yaml import YamlError
from .machine_yaml import loads as load_yaml
from .x509 import Certificate, CertificateError, certificates

KUBERNETES = "/etc/kubernetes"
PKI = f"{KUBERNETES}/pki"
MANIFESTS = f"{KUBERNETES}/manifests"
KUBELET = "/var/lib/kubelet"
KUBELET_CONF = f"{KUBERNETES}/kubelet.conf"
BOOTSTRAP_CONF = f"{KUBERNETES}/bootstrap-kubelet.conf"
ADMIN_CONF = f"{KUBERNETES}/admin.conf"
CLIENT_PEM = f"{KUBELET}/pki/kubelet-client-current.pem"
ETCD_DATA = "/var/lib/etcd"
HEALTHZ_PORT = 10248

MEMBERS = ("first_control_plane", "control_plane", "worker")
STATES = ("none", "init-incomplete", "join-incomplete", "member", "foreign")

# In kubeadm's own order (cmd/init.go and cmd/join.go of 1.36); the names of all versions from 1.28 on are among them.
INIT = (
    "preflight",
    "certs",
    "kubeconfig",
    "etcd",
    "control-plane",
    "kubelet-start",
    "wait-control-plane",
    "upload-config",
    "upload-certs",
    "mark-control-plane",
    "bootstrap-token",
    "kubelet-finalize",
    "addon/coredns",
    "addon/kube-proxy",
    "show-join-command",
)
JOIN = (
    "preflight",
    "control-plane-prepare",
    "kubelet-start",
    "etcd-join",
    "kubelet-wait-bootstrap",
    "control-plane-join",
)

SHARED = ("ca", "front-proxy-ca", "etcd/ca")  # of all control planes, with sa
LEAVES = (
    "apiserver",
    "apiserver-kubelet-client",
    "front-proxy-client",
    "etcd/server",
    "etcd/peer",
    "etcd/healthcheck-client",
    "apiserver-etcd-client",
)
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
INIT_KUBECONFIGS = ("admin", "kubelet", "controller-manager", "scheduler")
JOIN_KUBECONFIGS = ("admin", "controller-manager", "scheduler")
ROLE_LABEL = "node-role.kubernetes.io/control-plane"

# What a complete init has left in the API, by its last step: phase -> (path, what it is).
IN_API: dict[str, tuple[tuple[str, str], ...]] = {
    "upload-config": (
        ("/api/v1/namespaces/kube-system/configmaps/kubeadm-config", "ConfigMap kube-system/kubeadm-config"),
        ("/api/v1/namespaces/kube-system/configmaps/kubelet-config", "ConfigMap kube-system/kubelet-config"),
    ),
    "bootstrap-token": (
        ("/api/v1/namespaces/kube-public/configmaps/cluster-info", "ConfigMap kube-public/cluster-info"),
        (
            "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public/rolebindings/kubeadm:bootstrap-signer-clusterinfo",
            "RoleBinding kube-public/kubeadm:bootstrap-signer-clusterinfo",
        ),
    ),
    "addon/coredns": (
        ("/apis/apps/v1/namespaces/kube-system/deployments/coredns", "Deployment kube-system/coredns"),
        ("/api/v1/namespaces/kube-system/services/kube-dns", "Service kube-system/kube-dns"),
    ),
    "addon/kube-proxy": (
        ("/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy", "DaemonSet kube-system/kube-proxy"),
    ),
}


Health = Callable[[int], "tuple[bool, str]"]


# ---------------------------------------------------------------- the node


def healthz(port: int = HEALTHZ_PORT, timeout_seconds: float = 3.0) -> tuple[bool, str]:
    """Whether kubelet says that it is well, and what it said."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        text = answer.read(400).decode(errors="replace").strip()
        return answer.status == 200, text or str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        return False, f"127.0.0.1:{port} does not answer: {getattr(error, 'strerror', None) or error}"
    finally:
        connection.close()


def look(
    host: Host, now: datetime | None = None, health: Callable[[int], tuple[bool, str]] = healthz
) -> dict[str, Any]:
    """All that the node itself tells. Secrets are read where a certificate lies beside them, and never kept."""
    now = now or datetime.now(timezone.utc)
    pki = {name: _pki(host, name) for name in (*SHARED, *LEAVES)}
    configs = {name: _kubeconfig(host, f"{KUBERNETES}/{name}.conf") for name in INIT_KUBECONFIGS}
    configs["super-admin"] = _kubeconfig(host, f"{KUBERNETES}/super-admin.conf")
    client = _certificate(host, CLIENT_PEM)
    ca = pki["ca"]["certificate"]
    found: dict[str, Any] = {
        "pki": {name: {key: row[key] for key in ("path", "whole", "problem")} for name, row in pki.items()},
        "service_account_keys": all(_filled(host, f"{PKI}/sa.{ending}") for ending in ("key", "pub")),
        "ca_key": _filled(host, f"{PKI}/ca.key"),
        "ca_cert_hash": ca.key_hash if ca else "",
        "kubeconfigs": {name: _told(row) for name, row in configs.items()},
        "bootstrap": host.exists(BOOTSTRAP_CONF),
        "manifests": [name[:-5] for name in host.list(MANIFESTS) if name.endswith(".yaml")],
        "etcd_data": bool(host.list(f"{ETCD_DATA}/member")),
        "kubelet": _kubelet(host, health),
        "node_name": _node_name(client or configs["kubelet"]["client"]),
        "certificates": _expiry(now, pki, configs, client),
    }
    found["kubelet"]["client_certificate"] = client is not None
    return found


def _filled(host: Host, path: str) -> bool:
    status = host.stat(path)
    return status is not None and stat.S_ISREG(status.st_mode) and status.st_size > 0


def _certificate(host: Host, path: str) -> Certificate | None:
    try:
        return certificates(host.text(path) or "")[0]
    except CertificateError:
        return None


def _pki(host: Host, name: str) -> dict[str, Any]:
    """A certificate of /etc/kubernetes/pki, and whether it can be used: it is one, and its key lies beside it."""
    path = f"{PKI}/{name}.crt"
    row: dict[str, Any] = {"path": path, "certificate": None, "whole": False, "problem": ""}
    text = host.text(path)
    if text is None:
        return row
    try:
        row["certificate"] = certificates(text)[0]
    except CertificateError as error:
        row["problem"] = f"{path} is no certificate: {error}"
        return row
    row["whole"] = _filled(host, f"{PKI}/{name}.key")
    if not row["whole"]:
        row["problem"] = f"{PKI}/{name}.key is not there"
    return row


def _kubeconfig(host: Host, path: str) -> dict[str, Any]:
    """A kubeconfig's server, the hash of its CA, and its client certificate, where that stands in it."""
    row: dict[str, Any] = {"path": path, "exists": False, "problem": "", "server": "", "ca": "", "client": None}
    text = host.text(path)
    if text is None:
        return row
    row["exists"] = True
    try:
        where = endpoint(text, path)
    except KubeconfigError as error:
        return {**row, "problem": str(error)}
    authority = where.ca or (host.text(where.ca_file) if where.ca_file else "") or ""
    try:
        row["ca"] = certificates(authority)[0].key_hash if authority else ""
        row["client"] = certificates(where.cert)[0] if where.cert else None
    except CertificateError as error:
        row["problem"] = f"{path}: {error}"
    return {**row, "server": where.server, "client_file": where.cert_file}


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("path", "exists", "problem", "server")},
        "ca_cert_hash": row["ca"],
        "client_in_file": row["client"] is not None,
    }


def _node_name(client: Certificate | None) -> str:
    name = client.common_name if client else ""
    return name[len("system:node:") :] if name.startswith("system:node:") else ""


def _kubelet(host: Host, health: Health) -> dict[str, Any]:
    shown = host.run("systemctl", "show", "kubelet.service", "--property=LoadState,ActiveState,SubState,UnitFileState")
    unit = dict(line.partition("=")[::2] for line in shown.out.splitlines() if "=" in line) if shown.ok else {}
    text = host.text(f"{KUBELET}/config.yaml")
    try:
        config = load_yaml(text) if text else None
    except YamlError:
        config = None
    config = config if isinstance(config, dict) else {}
    port = config.get("healthzPort", HEALTHZ_PORT)
    active = unit.get("ActiveState", "")
    well, said = health(port) if active == "active" and isinstance(port, int) and port else (False, "")
    return {
        "load": unit.get("LoadState", ""),
        "active": active,
        "sub": unit.get("SubState", ""),
        "enabled": unit.get("UnitFileState", ""),
        "configured": bool(config) and host.exists(f"{KUBELET}/kubeadm-flags.env"),
        "cgroup_driver": str(config.get("cgroupDriver") or ""),
        "healthy": well,
        "said": said,
    }


def _expiry(
    now: datetime, pki: Mapping[str, Any], configs: Mapping[str, Any], client: Certificate | None
) -> list[dict[str, Any]]:
    """When each certificate ends, the first to end first."""
    rows = [(name, row["path"], row["certificate"], name in SHARED) for name, row in pki.items()]
    rows += [(f"{name}.conf", row["path"], row["client"], False) for name, row in configs.items()]
    rows.append(("kubelet-client", CLIENT_PEM, client, False))
    told = [
        {
            "name": name,
            "path": path,
            "authority": authority,
            "not_after": one.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "days_left": int((one.not_after - now).total_seconds() // 86400),
        }
        for name, path, one, authority in rows
        if one is not None
    ]
    return sorted(told, key=lambda row: (row["not_after"], row["name"]))


# ---------------------------------------------------------------- the cluster


def ask(client: Client, node_name: str, phases: Iterable[str] = ()) -> dict[str, Any]:
    """What the API knows of the node, and of what ``phases`` of init leave there. Never raises."""
    told: dict[str, Any] = {"reachable": False, "problem": "", "node": None, "objects": {}}
    try:
        if node_name:
            told["node"] = _node(_there(client, f"/api/v1/nodes/{node_name}"))
        for phase in phases:
            told["objects"][phase] = [what for path, what in IN_API.get(phase, ()) if _there(client, path) is None]
    except (ClusterError, KubeconfigError) as error:
        told["problem"] = str(error)
        told["refused"] = isinstance(error, ApiError)
        return told
    return {**told, "reachable": True}


def _there(client: Client, path: str) -> dict[str, Any] | None:
    try:
        return client.get(path)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _node(item: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if item is None:
        return None
    metadata, spec, status = (item.get(key) or {} for key in ("metadata", "spec", "status"))
    ready: Mapping[str, Any] = next((one for one in status.get("conditions") or [] if one.get("type") == "Ready"), {})
    return {
        "name": metadata.get("name", ""),
        "control_plane": ROLE_LABEL in (metadata.get("labels") or {}),
        "taints": [
            {key: taint.get(key) or "" for key in ("key", "value", "effect")} for taint in spec.get("taints") or []
        ],
        "ready": ready.get("status") == "True",
        "message": str(ready.get("message") or ""),
        "kubelet_version": str((status.get("nodeInfo") or {}).get("kubeletVersion") or "").lstrip("v"),
    }


# ---------------------------------------------------------------- the judgement


def judge(
    seen: Mapping[str, Any],
    told: Mapping[str, Any] | None = None,
    member: str = "",
    ca_cert_hash: str = "",
    skipped: Iterable[str] = (),
) -> dict[str, Any]:
    """The state, the phases that are done and those that lack, and the reasons for what is not as it should be.

    ``told`` is what ``ask`` gave; None where nobody could be asked. ``member``: what the node is meant to be; empty: as
    it looks. ``ca_cert_hash``: of the cluster it is meant for. ``skipped``: phases that the site leaves out.
    """
    told = told or {"reachable": False, "problem": "", "node": None, "objects": {}}
    looks = _looks_like(seen)
    meant = member or looks
    answer: dict[str, Any] = {"state": "none", "member": "", "done": [], "missing": [], "reasons": [], "healthy": None}
    if not looks:
        return answer
    foreign = _foreign(seen, looks, meant, ca_cert_hash)
    if foreign:
        return {**answer, "state": "foreign", "member": looks, "reasons": foreign}
    done = _init_done(seen, told) if meant == "first_control_plane" else _join_done(seen, told, meant)
    order = INIT if meant == "first_control_plane" else JOIN
    left_out = {"preflight", "upload-certs", "show-join-command", *skipped}
    if meant == "worker":
        left_out |= {"control-plane-prepare", "etcd-join", "control-plane-join"}
    missing = [
        phase
        for phase in order
        if phase not in done and not {phase, phase.partition("/")[0]} & left_out and phase != "wait-control-plane"
    ]
    if missing and meant == "first_control_plane":
        missing = sorted({*missing, "wait-control-plane"}, key=order.index)
    answer.update(member=meant, done=[phase for phase in order if phase in done], missing=missing)
    if missing:
        state = "init-incomplete" if meant == "first_control_plane" else "join-incomplete"
        return {**answer, "state": state, "reasons": list(_why_missing(seen, told, missing))}
    reasons = list(_unwell(seen, told))
    return {**answer, "state": "member", "healthy": not reasons, "reasons": reasons}


def _looks_like(seen: Mapping[str, Any]) -> str:
    """What the files make of a node; empty: nothing of kubeadm's."""
    configs, manifests = seen["kubeconfigs"], seen["manifests"]
    static = any(name in manifests for name in (*COMPONENTS, "etcd"))
    plane = static or configs["admin"]["exists"] or seen["ca_key"]
    if plane and (configs["super-admin"]["exists"] or configs["kubelet"]["client_in_file"]):
        return "first_control_plane"
    if plane:
        # after kubelet-finalize a first control plane looks like any other
        return "control_plane" if seen["bootstrap"] or not configs["kubelet"]["exists"] else "first_control_plane"
    return "worker" if configs["kubelet"]["exists"] or seen["bootstrap"] else ""


def _foreign(seen: Mapping[str, Any], looks: str, meant: str, ca_cert_hash: str) -> list[str]:
    configs = seen["kubeconfigs"]
    reasons = []
    known = {
        path: found
        for path, found in (
            (f"{PKI}/ca.crt", seen["ca_cert_hash"]),
            (KUBELET_CONF, configs["kubelet"]["ca_cert_hash"]),
            (ADMIN_CONF, configs["admin"]["ca_cert_hash"]),
        )
        if found
    }
    if ca_cert_hash:
        for path, found in known.items():
            if found != ca_cert_hash:
                server = configs["kubelet"]["server"] or configs["admin"]["server"]
                where = f" at {server}" if server else ""
                reasons.append(f"{path} is of another cluster{where}: its CA is {found}; expected {ca_cert_hash}")
    elif len(set(known.values())) > 1:
        listed = ", ".join(f"{path} {found}" for path, found in known.items())
        reasons.append(f"the files are of more than one cluster ({listed}); expected one CA in all of them")
    if looks == "worker" and meant != "worker" and configs["kubelet"]["exists"]:
        server = configs["kubelet"]["server"] or "an unknown server"
        reasons.append(f"{KUBELET_CONF} makes this node a worker of {server}; expected a control plane")
    elif looks == "worker" and meant == "first_control_plane":
        reasons.append(f"{BOOTSTRAP_CONF} is of a worker that was joining a cluster; expected a first control plane")
    if looks != "worker" and meant == "worker":
        reasons.append(f"{KUBERNETES} holds a control plane; expected a worker")
    return reasons


def _prepared(seen: Mapping[str, Any], kubeconfigs: Iterable[str]) -> dict[str, bool]:
    configs = seen["kubeconfigs"]
    return {
        "certs": all(row["whole"] for row in seen["pki"].values()) and seen["service_account_keys"],
        "kubeconfig": all(configs[name]["exists"] and not configs[name]["problem"] for name in kubeconfigs),
        "control-plane": all(name in seen["manifests"] for name in COMPONENTS),
        "etcd": "etcd" in seen["manifests"],
    }


def _init_done(seen: Mapping[str, Any], told: Mapping[str, Any]) -> set[str]:
    steps = _prepared(seen, INIT_KUBECONFIGS)
    configs, kubelet = seen["kubeconfigs"], seen["kubelet"]
    if configs["kubelet"]["exists"] and not configs["kubelet"]["client_in_file"] and kubelet["client_certificate"]:
        steps["kubelet-finalize"] = True
    steps["kubelet-start"] = kubelet["configured"]
    reached = told["reachable"]
    if reached:
        node = told["node"]
        steps["mark-control-plane"] = node is not None and node["control_plane"]
        steps.update({phase: not lacking for phase, lacking in told["objects"].items()})
        # where rotation is switched off, kubelet has no certificate of its own and the phase does nothing
        others = all(steps.values())
        if others and not kubelet["client_certificate"]:
            steps["kubelet-finalize"] = True
    elif steps.get("kubelet-finalize"):
        # it was complete once: that the API does not answer is an illness, and no reason to make anything anew
        steps.update(dict.fromkeys(("mark-control-plane", *IN_API), True))
    return {phase for phase, is_done in steps.items() if is_done}


def _join_done(seen: Mapping[str, Any], told: Mapping[str, Any], meant: str) -> set[str]:
    joined = seen["kubeconfigs"]["kubelet"]["exists"] and not seen["kubeconfigs"]["kubelet"]["problem"]
    done = set()
    if joined:
        done.add("kubelet-start")
        if not seen["bootstrap"]:
            done.add("kubelet-wait-bootstrap")
    if meant == "control_plane":
        steps = _prepared(seen, JOIN_KUBECONFIGS)
        if steps["certs"] and steps["kubeconfig"] and steps["control-plane"]:
            done.add("control-plane-prepare")
        if steps["etcd"]:
            done.add("etcd-join")
        node = told["node"]
        if node["control_plane"] if node else joined and not told["reachable"] and steps["etcd"]:
            done.add("control-plane-join")
    return done


def _why_missing(seen: Mapping[str, Any], told: Mapping[str, Any], missing: Iterable[str]) -> Iterable[str]:
    for row in seen["pki"].values():
        if row["problem"] and {"certs", "control-plane-prepare"} & set(missing):
            yield row["problem"]
    for row in seen["kubeconfigs"].values():
        if row["problem"]:
            yield row["problem"]
    for phase, lacking in told["objects"].items():
        if phase in missing:
            yield from (f"{what} is not there" for what in lacking)
    if told["problem"]:
        yield told["problem"]
    if "kubelet-wait-bootstrap" in missing and seen["bootstrap"]:
        yield f"{BOOTSTRAP_CONF} is still there, which kubeadm removes once kubelet has its own certificate"


def _unwell(seen: Mapping[str, Any], told: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong with a node that is complete."""
    kubelet = seen["kubelet"]
    if kubelet["active"] != "active":
        yield f"kubelet.service is {kubelet['active'] or 'not there'} ({kubelet['sub'] or 'no state'}); expected active"
    elif not kubelet["healthy"]:
        yield f"kubelet is not well: {kubelet['said'] or 'it does not answer'}; expected ok from /healthz"
    for row in seen["certificates"]:
        if row["days_left"] < 0:
            yield f"{row['path']} ended on {row['not_after']}; expected a certificate that still holds"
    if not told["reachable"]:
        yield told["problem"] or "the API was not asked"
    elif told["node"] is None:
        yield "the API knows no node of this name; expected it registered"
    elif not told["node"]["ready"]:
        yield f"the node is not Ready: {told['node']['message'] or 'kubelet has not said why'}"


def kubeconfig_of(seen: Mapping[str, Any]) -> str:
    """By which kubeconfig of the node the API can be asked; empty: by none."""
    configs = seen["kubeconfigs"]
    if configs["admin"]["exists"]:
        return ADMIN_CONF
    return KUBELET_CONF if configs["kubelet"]["exists"] else ""


def observe(
    host: Host,
    member: str = "",
    ca_cert_hash: str = "",
    node_name: str = "",
    skipped: Iterable[str] = (),
    timeout_seconds: float = 10,
    patience_seconds: float = 5,
    health: Health = healthz,
) -> dict[str, Any]:
    """Look, ask and judge, once each."""
    seen = look(host, health=health)
    name = seen["node_name"] or node_name or hostname(host)
    config, told = kubeconfig_of(seen), None
    if config:
        left_out = {*skipped}
        first = config == ADMIN_CONF and member != "control_plane"
        phases = [phase for phase in IN_API if not {phase, phase.partition("/")[0]} & left_out] if first else []
        try:
            client = Client(find_endpoint(host.path(config)), timeout_seconds, patience_seconds)
            told = ask(client, name, phases)
            client.close()
        except KubeconfigError as error:
            told = {"reachable": False, "problem": str(error), "node": None, "objects": {}}
    judged = judge(seen, told, member, ca_cert_hash, skipped)
    return {"seen": seen, "told": told, "judged": judged, "node_name": name}


def report(observed: Mapping[str, Any]) -> dict[str, Any]:
    """What a module tells of what was observed."""
    seen, told, judged = (observed[key] or {} for key in ("seen", "told", "judged"))
    configs = seen["kubeconfigs"]
    return {
        **judged,
        "node_name": observed["node_name"],
        "node": told.get("node"),
        "reachable": told.get("reachable"),
        "problem": told.get("problem") or None,
        "server": configs["admin"]["server"] or configs["kubelet"]["server"] or None,
        "ca_cert_hash": seen["ca_cert_hash"] or configs["kubelet"]["ca_cert_hash"] or None,
        "kubelet": seen["kubelet"],
        "certificates": seen["certificates"],
    }


def hostname(host: Host) -> str:
    """The name that kubeadm would give the node."""
    return (host.line("/proc/sys/kernel/hostname") or os.uname().nodename).strip().lower()
