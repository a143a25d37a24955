# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of ``k3s server`` and ``k3s agent``, as data, and what is wrong with a configuration that is made of
them.

k3s itself is of little help here: a server passes over a key that it does not know, with one warning in its log, and an
agent does not start. Rules of this file: no I/O. Read from k3s-io/k3s:pkg/cli/cmds/{server,agent}.go and the reference
of docs.k3s.io; the minor that an option came with from the release tags, where that is known (0: before 1.28).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

VERSION = re.compile(r"v1\.(?P<minor>[0-9]+)\.(?P<patch>[0-9]+)\+k3s(?P<build>[0-9]+)")
OLDEST = 28


@dataclass(frozen=True)
class Option:
    """``kind`` is flag, text, number or list (given once or several times); ``since`` a minor of Kubernetes 1."""

    name: str
    kind: str
    agent: bool
    since: int = 0


def _options(kind: str, names: str, agent: bool) -> Iterator[Option]:
    for word in names.split():
        name, _at, since = word.partition("@")
        yield Option(name, kind, agent, int(since or 0))


_BOTH = {
    "flag": """
        debug alsologtostderr with-node-id selinux protect-kernel-defaults docker rootless prefer-bundled-bin
        enable-pprof disable-default-registry-endpoint nonroot-devices@31
    """,
    "text": """
        vmodule log token token-file server data-dir node-name image-credential-provider-bin-dir bind-address
        image-credential-provider-config container-runtime-endpoint default-runtime@29 image-service-endpoint
        pause-image
        snapshotter private-registry resolv-conf flannel-iface flannel-conf flannel-cni-conf vpn-auth vpn-auth-file
    """,
    "number": "v lb-server-port",
    "list": """
        node-label node-taint node-ip node-external-ip node-internal-dns@31 node-external-dns@31 kubelet-arg
        kube-proxy-arg
        airgap-extra-registry
    """,
}
_AGENT = {"flag": "disable-apiserver-lb"}
_SERVER = {
    "flag": """
        tls-san-security flannel-ipv6-masq flannel-external-ip cluster-init cluster-reset etcd-expose-metrics
        etcd-disable-snapshots etcd-snapshot-compress etcd-s3 etcd-s3-skip-ssl-verify etcd-s3-insecure disable-scheduler
        disable-cloud-controller disable-kube-proxy disable-network-policy disable-helm-controller disable-apiserver
        disable-controller-manager disable-etcd disable-agent embedded-registry supervisor-metrics@30 secrets-encryption
        kine-tls@29
    """,
    "text": """
        advertise-address service-node-port-range cluster-domain flannel-backend egress-selector-mode
        servicelb-namespace
        write-kubeconfig write-kubeconfig-mode write-kubeconfig-group@30 helm-job-image agent-token agent-token-file
        cluster-reset-restore-path datastore-endpoint datastore-cafile datastore-certfile datastore-keyfile
        etcd-snapshot-name etcd-snapshot-schedule-cron etcd-snapshot-dir etcd-snapshot-reconcile-interval@32
        etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-access-key etcd-s3-secret-key etcd-s3-session-token@33
        etcd-s3-bucket etcd-s3-bucket-lookup-type@33 etcd-s3-region etcd-s3-folder etcd-s3-proxy@30
        etcd-s3-config-secret@30 etcd-s3-timeout default-local-storage-path system-default-registry
        secrets-encryption-provider@32
    """,
    "number": "https-listen-port advertise-port etcd-snapshot-retention etcd-s3-retention@33",
    "list": """
        tls-san cluster-cidr service-cidr cluster-dns disable kube-apiserver-arg etcd-arg kube-controller-manager-arg
        kube-scheduler-arg kube-cloud-controller-manager-arg
    """,
}
OPTIONS: dict[str, Option] = {
    option.name: option
    for table, agent in ((_BOTH, True), (_SERVER, False), (_AGENT, True))
    for kind, names in table.items()
    for option in _options(kind, names, agent)
}
ONLY_AGENT = frozenset(_AGENT["flag"].split())
# What an older k3s took, and this says it otherwise.
GONE = {
    "no-deploy": "disable",
    "no-flannel": "flannel-backend: none",
    "cluster-secret": "token",
    "disable-selinux": "selinux",
    "kube-controller-arg": "kube-controller-manager-arg",
    "kube-cloud-controller-arg": "kube-cloud-controller-manager-arg",
}
# Each has its own variable, or would end in a cluster that is not the one asked for.
OURS = {
    "token": "the role hands it on by a file, so that it stands in no configuration",
    "token-file": "the role hands it on by a file of its own",
    "server": "set k3s_server_url",
    "cluster-init": "set k3s_servers or k3s_datastore",
    "cluster-reset": "it makes a cluster forget its members: run it by hand",
    "cluster-reset-restore-path": "it replaces a cluster's data: run it by hand",
    "data-dir": "the role knows one place, /var/lib/rancher/k3s",
    "write-kubeconfig": "the role knows one place, /etc/rancher/k3s/k3s.yaml",
    "write-kubeconfig-mode": "list users in k3s_kubeconfig_users, who get one of their own",
    "write-kubeconfig-group": "list users in k3s_kubeconfig_users, who get one of their own",
    "private-registry": "set k3s_registries",
    "rootless": "a GPU node runs k3s as root",
    "disable-agent": "the role takes the node for well when it is a node of the cluster",
    "with-node-id": "the role knows the node by its name: set k3s_node_name",
    "log": "the journal is read when k3s does not come up",
}
CHOICES = {
    "flannel-backend": ("none", "vxlan", "host-gw", "wireguard-native"),
    "egress-selector-mode": ("agent", "cluster", "pod", "disabled"),
    "secrets-encryption-provider": ("aescbc", "secretbox"),
    "disable": ("coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes"),
}
SECRETS = (
    "agent-token",
    "vpn-auth",
    "datastore-endpoint",
    "etcd-s3-access-key",
    "etcd-s3-secret-key",
    "etcd-s3-session-token",
)


def minor_of(version: str) -> int:
    """The minor of Kubernetes of a release of k3s; 0 of what is none."""
    found = VERSION.fullmatch(version)
    return int(found.group("minor")) if found else 0


def order_of(version: str) -> tuple[int, ...]:
    """By which releases are compared; empty of what is none."""
    found = VERSION.fullmatch(version)
    return tuple(int(part) for part in found.groups()) if found else ()


def problems(config: Mapping[str, Any], member: str, version: str) -> list[str]:
    """All that is wrong with a configuration of ``server`` or ``agent``. Values that may be secrets are not shown."""
    return [problem for key, value in config.items() for problem in _problem(str(key), value, member, version)]


def _problem(key: str, value: Any, member: str, version: str) -> Iterator[str]:
    name = key.rstrip("+").replace("_", "-")
    if name != key:
        yield f"`{key}`: write `{name}`"
        return
    option = OPTIONS.get(name)
    if option is None:
        if name in GONE:
            yield f"`{name}` is gone from k3s: write `{GONE[name]}`"
            return
        near = difflib.get_close_matches(name, OPTIONS, 1, 0.7)
        known = f"; did you mean `{near[0]}`?" if near else ""
        yield f"`{name}` is no option of k3s{known} (a server would pass over it, an agent would not start)"
        return
    if member == "agent" and not option.agent:
        yield f"`{name}` is an option of servers, and this is an agent, which would not start with it"
        return
    if member == "server" and name in ONLY_AGENT:
        yield f"`{name}` is an option of agents, and this is a server, which would pass over it"
        return
    minor = minor_of(version)
    if minor and option.since > minor:
        yield f"`{name}` came with 1.{option.since}, and k3s_version is {version}"
    yield from _value(option, value)


def _value(option: Option, value: Any) -> Iterator[str]:
    items = value if isinstance(value, list) else [value]
    shown = "a value that is not shown" if option.name in SECRETS else repr(value)
    scalars = all(isinstance(item, (str, int, float, bool)) for item in items)
    if option.kind == "flag" and not isinstance(value, bool):
        yield f"`{option.name}` is {shown}; expected true or false"
    elif option.kind == "number" and (isinstance(value, bool) or not isinstance(value, int)):
        yield f"`{option.name}` is {shown}; expected a number"
    elif option.kind == "text" and (isinstance(value, (list, bool)) or not scalars or str(value) == ""):
        yield f"`{option.name}` is {shown}; expected a text"
    elif option.kind == "list" and (not items or not scalars or any(str(item) == "" for item in items)):
        yield f"`{option.name}` is {shown}; expected a list of texts"
    elif any("\n" in str(item) for item in items):
        yield f"`{option.name}` has a line end in it"
    else:
        choices = CHOICES.get(option.name, ())
        wrong = [str(item) for item in items if choices and str(item) not in choices]
        if wrong:
            yield f"`{option.name}` is {', '.join(wrong)}; expected one of {', '.join(choices)}"
