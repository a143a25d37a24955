# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What carries a cluster besides its control plane: the pod network, and the APIs that its own pods answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .cluster_reading import component_pods, components, conditions, full_name
from .reading import entries, is_false, is_true, listed, look_up, looked_at, names, text

METRICS = "metrics.k8s.io"
NO_NETWORK = re.compile(r"cni plugin not initialized|NetworkPluginNotReady")


def trouble(pod: Mapping) -> str:
    """Why a pod does not run, in its own words; empty where it does."""
    for item in entries(pod, "waiting"):
        reason, said = text(item, "reason"), text(item, "message")
        if reason not in ("", "PodInitializing", "ContainerCreating"):
            return f"container {text(item, 'container')} waits: {reason}{f' ({said})' if said else ''}"
    if text(pod, "unscheduled"):
        return f"no node takes it: {text(pod, 'unscheduled')}"
    if text(pod, "phase") == "Failed":
        return f"it failed: {text(pod, 'reason') or 'without a reason'} {text(pod, 'message')}".rstrip()
    return ""


def replaced(pod: Mapping, others: Iterable[Mapping]) -> bool:
    """Whether a pod that failed was left behind, as by an eviction or a reboot, and another one runs in its place."""
    daemon = text(pod, "owner.kind") == "DaemonSet"
    return text(pod, "phase") == "Failed" and any(
        text(one, "phase") == "Running"
        and text(one, "namespace") == text(pod, "namespace")
        and (not daemon or text(one, "node") == text(pod, "node"))
        for one in others
    )


def without_network(facts: Facts) -> list[str]:
    """The nodes that say that they have no pod network."""
    return [
        name for name, status, said, _e in conditions(facts, "Ready") if status != "True" and NO_NETWORK.search(said)
    ]


@check(
    "pod-cidr-not-assigned",
    layer="runtime",
    severity="fatal",
    meaning="A node has no range of addresses for its pods, so flannel cannot start on it.",
    remedy=Remedy(
        "Have the controller manager give one to each node: `kubeadm_pod_subnet` when the cluster is made, which is "
        "--cluster-cidr and --allocate-node-cidrs there; and see that the range is large enough for one more node.",
        ("kubectl get nodes -o custom-columns=NAME:.metadata.name,POD_CIDR:.spec.podCIDR",),
    ),
)
def no_pod_cidr(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not any("flannel" in image for item in components(facts, "cni") for image in names(item, "pod.images")):
        return
    waiting = without_network(facts)
    for node in entries(facts, "nodes"):
        name = text(node, "name")
        if name in waiting and look_up(node, "pod_cidrs") == []:
            yield Match(
                subject=f"node {name}",
                cause=f"{name} has no podCIDR, from which flannel takes the addresses of its pods; expected a range.",
                evidence=(Evidence(f"node {name}", "spec.podCIDR: (none)"),),
            )


@check(
    "cni-pod-not-running",
    layer="runtime",
    severity="fatal",
    meaning="A pod of the pod network does not run, so its node has no network for other pods.",
    remedy=Remedy(
        "Mend what the pod says; its image has a variable, for a mirror.",
        ("kubectl -n <namespace> describe pod <pod>", "kubectl -n <namespace> logs <pod> --all-containers --previous"),
        role="cni",
    ),
    consequence_of=("pod-cidr-not-assigned",),
)
def network_pod(facts: Facts, expect: Expect) -> Iterator[Match]:
    pods = component_pods(facts, "cni")
    for pod in pods:
        why = trouble(pod)
        if why and not replaced(pod, pods):
            where = text(pod, "node")
            yield Match(
                subject=f"pod {full_name(pod)}",
                cause=f"{full_name(pod)}, which brings the pod network{f' to {where}' if where else ''}, does not run: "
                f"{why}. Expected Running.",
                evidence=(Evidence(f"pod {full_name(pod)}", why),),
            )


@check(
    "cni-not-initialized",
    layer="runtime",
    severity="fatal",
    meaning="A node is not ready because its pod network is not there yet.",
    remedy=Remedy(
        "Install the pod network, or look why its DaemonSet does not run on this node. On k3s, a hand-written "
        "config.toml.tmpl also causes this: move it away and restart k3s.",
        ("kubectl get pods -A -o wide --field-selector spec.nodeName=<node>", "ls -l /etc/cni/net.d"),
        role="cni",
    ),
    consequence_of=("pod-cidr-not-assigned", "cni-pod-not-running"),
)
def cni(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, status, said, evidence in conditions(facts, "Ready"):
        if status != "True" and NO_NETWORK.search(said):
            yield Match(
                subject=f"node {name}",
                cause=f"{name} has no pod network: {said}. Expected Ready.",
                evidence=(evidence,),
            )


# ---------------------------------------------------------------- APIs that pods answer


@check(
    "kubelet-serving-certificate-pending",
    layer="kubelet",
    severity="degraded",
    meaning="A kubelet has asked for the certificate with which it serves, and nobody has approved it: logs, exec and "
    "metrics of its node fail.",
    remedy=Remedy(
        "Approve what the node may ask for: the role does, after it has looked whose names and addresses are in it.",
        ("kubectl get csr", "kubectl certificate approve <name>"),
        role="metrics_server",
        tag="metrics_server_certificates",
    ),
)
def serving_pending(facts: Facts, expect: Expect) -> Iterator[Match]:
    waiting: dict[str, list[str]] = {}
    for item in entries(facts, "certificates.serving_pending"):
        waiting.setdefault(text(item, "node") or text(item, "user"), []).append(text(item, "name"))
    for node, requests in waiting.items():
        yield Match(
            subject=f"node {node}",
            cause=f"kubelet of {node} waits for its serving certificate: {listed(requests[:3])} "
            f"{'is' if len(requests) == 1 else 'are'} neither approved nor denied. Expected a certificate of the "
            "cluster's authority.",
            evidence=(Evidence(f"CertificateSigningRequest {requests[0]}", "no condition"),),
        )


def unavailable_metrics(facts: Facts) -> bool:
    return any(
        text(item, "name").endswith(f".{METRICS}") and not is_true(item, "available")
        for item in entries(facts, "apiservices")
    )


@check(
    "kubelet-serving-certificate-self-signed",
    layer="kubelet",
    severity="degraded",
    meaning="kubelets serve with certificates that they signed themselves, which metrics-server refuses.",
    remedy=Remedy(
        "Have kubelets ask the cluster for one: `serverTLSBootstrap: true` in their configuration "
        "(kubeadm_kubelet_config), then approve what they ask for; or say by metrics_server_kubelet_certificates that "
        "they are signed by another authority, or not to be verified.",
        ("kubectl -n kube-system get configmap kubelet-config -o yaml", "kubectl get csr"),
    ),
)
def self_signed(facts: Facts, expect: Expect) -> Iterator[Match]:
    if is_false(facts, "certificates.server_tls_bootstrap") and unavailable_metrics(facts):
        yield Match(
            subject="kubelets",
            cause="kubeadm's kubelet-config has no `serverTLSBootstrap: true`, so each kubelet signs its own serving "
            "certificate, and metrics-server cannot tell it from anybody's; expected it.",
            evidence=(Evidence("ConfigMap kube-system/kubelet-config", "serverTLSBootstrap: (not true)"),),
        )


@check(
    "metrics-server-not-running",
    layer="monitoring",
    severity="degraded",
    meaning="metrics-server does not run, so there is no `kubectl top`, and no autoscaling by use.",
    remedy=Remedy(
        "Mend what its pod says; its image has a variable, for a mirror.",
        ("kubectl -n kube-system describe pod <pod>", "kubectl -n kube-system logs <pod> --previous"),
        role="metrics_server",
    ),
)
def metrics_pod(facts: Facts, expect: Expect) -> Iterator[Match]:
    pods = component_pods(facts, "metrics")
    for pod in pods:
        why = trouble(pod)
        if why and not replaced(pod, pods):
            yield Match(
                subject=f"pod {full_name(pod)}",
                cause=f"{full_name(pod)} does not run: {why}. Expected Running.",
                evidence=(Evidence(f"pod {full_name(pod)}", why),),
            )


@check(
    "api-service-unavailable",
    layer="monitoring",
    severity="degraded",
    meaning="An API that a Service in the cluster should answer is not answered. Besides what uses it, namespaces then "
    "cannot be deleted.",
    remedy=Remedy(
        "Look at the pods behind the Service and at what they log; an API that nobody serves any more is taken away.",
        (
            "kubectl get apiservices",
            "kubectl describe apiservice <name>",
            "kubectl -n <namespace> get endpoints <name>",
        ),
    ),
    consequence_of=(
        "metrics-server-not-running",
        "kubelet-serving-certificate-pending",
        "kubelet-serving-certificate-self-signed",
        "cni-not-initialized",
    ),
)
def api_service(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not looked_at(facts, "apiservices"):
        return
    wanted = [str(name) for name in expect.get("api_services") or []]
    there = {text(item, "name"): item for item in entries(facts, "apiservices")}
    for name in wanted:
        if name not in there:
            yield Match(
                subject=f"APIService {name}",
                cause=f"There is no APIService {name}; expected one, and a Service that answers.",
                evidence=(Evidence(f"APIService {name}", "not there"),),
                severity="fatal",
            )
    for name, item in there.items():
        if is_false(item, "available") or (name in wanted and not is_true(item, "available")):
            said = text(item, "message") or text(item, "reason") or "nobody has looked yet"
            yield Match(
                subject=f"APIService {name}",
                cause=f"{name}, which {text(item, 'service')} should answer, is not available: {said}. Expected "
                "Available.",
                evidence=(Evidence(f"APIService {name}, condition Available", said),),
                severity="fatal" if name in wanted else None,
            )
