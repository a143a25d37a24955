# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to the API: the kubeconfig, the certificate, the user's rights, the API server itself, versions."""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .reading import entries, is_false, listed, look_up, minor_of, names, text

SKEW = 3  # minors that kubelet may be older than the API server


def kind(facts: Facts) -> str:
    return text(facts, "api.problem.kind")


def told(facts: Facts) -> tuple[Evidence, ...]:
    line = look_up(facts, "api.problem.line")
    where = text(facts, "api.problem.path") or text(facts, "api.server")
    return (Evidence(where, text(facts, "api.problem.text"), line if isinstance(line, int) else None),)


@check(
    "kubeconfig-missing",
    layer="kubeadm",
    severity="fatal",
    meaning="There is no kubeconfig where one was looked for, so the cluster cannot be asked.",
    remedy=Remedy(
        "Name the kubeconfig (option `kubeconfig`, or $KUBECONFIG), or copy the control plane's admin.conf, "
        "owned by its user, mode 0600.",
        ("ls -l /etc/kubernetes/admin.conf /etc/rancher/k3s/k3s.yaml ~/.kube/config",),
    ),
)
def missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    if kind(facts) == "kubeconfig-missing":
        path = text(facts, "api.problem.path")
        yield Match(path, f"{path}: {text(facts, 'api.problem.text')}; expected a kubeconfig.", told(facts))


@check(
    "kubeconfig-permission",
    layer="kubeadm",
    severity="fatal",
    meaning="The kubeconfig cannot be read by the user who asks.",
    remedy=Remedy(
        "Give the file to its user, mode 0600.", ("chown <user>: <home>/.kube/config", "chmod 0600 <home>/.kube/config")
    ),
)
def permission(facts: Facts, expect: Expect) -> Iterator[Match]:
    if kind(facts) == "kubeconfig-permission":
        path = text(facts, "api.problem.path")
        cause = f"{path}: {text(facts, 'api.problem.text')}; expected the asking user as owner, mode 0600."
        yield Match(path, cause, told(facts))


@check(
    "kubeconfig-invalid",
    layer="kubeadm",
    severity="fatal",
    meaning="The kubeconfig is there, but says nothing usable: no YAML, no such context, no server.",
    remedy=Remedy(
        "Mend it, or take a fresh copy of the control plane's.",
        ("kubectl config view --kubeconfig <path>", "kubectl config get-contexts --kubeconfig <path>"),
    ),
)
def invalid(facts: Facts, expect: Expect) -> Iterator[Match]:
    if kind(facts) == "kubeconfig-invalid":
        path = text(facts, "api.problem.path")
        cause = f"{told_at(facts)}: {text(facts, 'api.problem.text')}; expected a context with a cluster and a user."
        yield Match(path, cause, told(facts))


def told_at(facts: Facts) -> str:
    line = look_up(facts, "api.problem.line")
    return f"{text(facts, 'api.problem.path')}{f':{line}' if line else ''}"


@check(
    "kubeconfig-credentials-refused",
    layer="kubeadm",
    severity="fatal",
    meaning="The API server does not accept who the kubeconfig says we are: an expired certificate or token.",
    remedy=Remedy(
        "Renew the credentials and take a fresh copy of the kubeconfig.",
        ("kubeadm certs check-expiration", "kubeadm certs renew admin.conf"),
    ),
)
def credentials(facts: Facts, expect: Expect) -> Iterator[Match]:
    if kind(facts) in ("unauthorized", "kubeconfig-credentials"):
        server = text(facts, "api.server") or text(facts, "api.problem.path")
        cause = f"{server} does not accept the credentials of {text(facts, 'api.problem.path') or 'the kubeconfig'}: "
        yield Match(server, f"{cause}{text(facts, 'api.problem.text')}; expected a known user.", told(facts))


@check(
    "kubeconfig-wrong-ca",
    layer="kubeadm",
    severity="fatal",
    meaning="The API server's certificate is not signed by the authority in the kubeconfig: it is of another cluster, "
    "or of this one before it was made anew.",
    remedy=Remedy(
        "Take a fresh copy of the control plane's kubeconfig; look at the clock first, since a wrong one makes every "
        "certificate look expired or not yet valid.",
        ("timedatectl", "cp /etc/kubernetes/admin.conf ~/.kube/config", "chmod 0600 ~/.kube/config"),
    ),
)
def wrong_ca(facts: Facts, expect: Expect) -> Iterator[Match]:
    if kind(facts) == "tls":
        server = text(facts, "api.server")
        said = text(facts, "api.problem.text")
        yield Match(
            server, f"{server}: {said}; expected a certificate of the authority in the kubeconfig.", told(facts)
        )


@check(
    "apiserver-not-ready",
    layer="kubeadm",
    severity="fatal",
    meaning="The API server does not answer, or says that it is not ready.",
    remedy=Remedy(
        "On the control plane, look at the static pods kube-apiserver and etcd, and at kubelet, which runs them.",
        (
            "crictl ps -a --name 'kube-apiserver|etcd'",
            "journalctl -u kubelet -n 50",
            "kubectl get --raw '/readyz?verbose'",
        ),
    ),
)
def not_ready(facts: Facts, expect: Expect) -> Iterator[Match]:
    server = text(facts, "api.server")
    if kind(facts) in ("refused", "timeout", "name", "proxy", "closed", "busy"):
        said = text(facts, "api.problem.text")
        yield Match(server, f"{server} does not answer: {said}; expected the Kubernetes API.", told(facts))
    elif is_false(facts, "api.ready") and not kind(facts):
        failed = names(facts, "api.failed")
        cause = f"{server}/readyz fails at {listed(failed, 'an unnamed check')}; expected every check to pass."
        yield Match(server, cause, (Evidence(f"{server}/readyz", f"[-] {' '.join(failed)}"),))


@check(
    "cluster-permission-missing",
    layer="kubeadm",
    severity="degraded",
    meaning="The user of the kubeconfig may not list something that the checks read, so they stay silent about it.",
    remedy=Remedy(
        "Use an administrator's kubeconfig, or grant `get` and `list` on what is named.",
        ("kubectl auth can-i --list",),
    ),
)
def forbidden(facts: Facts, expect: Expect) -> Iterator[Match]:
    parts = {
        part: text(value, "unavailable") for part, value in facts.items() if part != "hosts" and isinstance(value, dict)
    }
    refused = {part: why for part, why in parts.items() if " 403 " in why}
    if refused:
        yield Match(
            subject=listed(sorted(refused)),
            cause=f"{listed(sorted(refused))} cannot be listed with these credentials; expected the right to.",
            evidence=tuple(Evidence(part, why) for part, why in sorted(refused.items())),
        )


@check(
    "kubeadm-version-mismatch",
    layer="kubeadm",
    severity="degraded",
    meaning="A node's kubelet is newer than the API server, or more than three minors older.",
    remedy=Remedy(
        "Upgrade the control plane first, then each node, one minor at a time.",
        ("kubectl get nodes -o wide", "kubectl version"),
    ),
)
def skew(facts: Facts, expect: Expect) -> Iterator[Match]:
    version = text(facts, "api.version")
    server = minor_of(version)
    for node in entries(facts, "nodes"):
        kubelet = minor_of(text(node, "kubelet_version"))
        if not server or not kubelet or kubelet[0] != server[0]:
            continue
        if kubelet > server or server[1] - kubelet[1] > SKEW:
            oldest = max(server[1] - SKEW, 0)
            yield Match(
                subject=f"node {text(node, 'name')}",
                cause=f"kubelet on {text(node, 'name')} is {text(node, 'kubelet_version')}, the API server {version}; "
                f"expected 1.{oldest} to 1.{server[1]}.",
                evidence=(Evidence(f"node {text(node, 'name')}", f"kubeletVersion: {text(node, 'kubelet_version')}"),),
            )
