# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that do not run: what keeps each of them, in numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..cluster.scheduling import free_devices
from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .cluster_reading import common, full_name, handler_injects, named, nodes_named, pods, waiting_for_devices, why_not
from .reading import entries, listed, mapping, text

TOO_LARGE = re.compile(
    r"request for '(?P<resource>[^':]+): (?P<amount>\d+)' too large: maximum request size for shared resources is"
)


@check(
    "time-slicing-request-greater-than-one",
    layer="plugin",
    severity="degraded",
    meaning="A pod asks for more than one shared GPU. Two replicas are no more than one, so the plugin refuses.",
    remedy=Remedy(
        "Ask for one; a pod that needs a whole GPU belongs on a node whose GPUs are not shared.",
        ("kubectl get pods -A --field-selector status.phase=Failed",),
    ),
)
def shared_too_large(facts: Facts, expect: Expect) -> Iterator[Match]:
    refused = [(pod, TOO_LARGE.search(text(pod, "message"))) for pod in pods(facts)]
    found = [(pod, match) for pod, match in refused if match]
    if found:
        pod, match = found[0]
        yield Match(
            subject=f"pod {named([item for item, _match in found])}",
            cause=f"{named([item for item, _match in found])} asked for {match['amount']} {match['resource']} where "
            "it is shared with failRequestsGreaterThanOne; expected 1.",
            evidence=(Evidence(f"pod {full_name(pod)}", text(pod, "message")),),
        )


@check(
    "pod-unexpected-admission-after-reboot",
    layer="kubelet",
    severity="degraded",
    meaning="Pods were admitted before the device plugin had registered, as after a reboot; they stay Failed for ever.",
    remedy=Remedy(
        "Delete them: what owns them makes new ones. Bare pods have to be created again.",
        ("kubectl get pods -A --field-selector status.phase=Failed | grep UnexpectedAdmissionError",),
    ),
)
def unexpected_admission(facts: Facts, expect: Expect) -> Iterator[Match]:
    left = [
        pod
        for pod in pods(facts)
        if text(pod, "phase") == "Failed"
        and text(pod, "reason") == "UnexpectedAdmissionError"
        and not TOO_LARGE.search(text(pod, "message"))
    ]
    if left:
        where = sorted({text(pod, "node") for pod in left if text(pod, "node")})
        yield Match(
            subject=f"pod {named(left)}",
            cause=f"{len(left)} {'pod is' if len(left) == 1 else 'pods are'} left Failed with UnexpectedAdmissionError "
            f"on {nodes_named(where) if where else 'no node'} ({named(left)}); expected none.",
            evidence=(Evidence(f"pod {full_name(left[0])}", text(left[0], "message")),),
            remedy=Remedy(
                unexpected_admission.remedy.text,
                tuple(f"kubectl -n {text(pod, 'namespace')} delete pod {text(pod, 'name')}" for pod in left[:4]),
            ),
        )


@check(
    "image-pull-failed",
    layer="workload",
    severity="fatal",
    meaning="An image cannot be pulled.",
    remedy=Remedy(
        "Mend the image's name or the way to its registry; a role's images have variables of their own, for a mirror. "
        "An image built on a node has to be in its runtime, and pulled with imagePullPolicy IfNotPresent.",
        ("kubectl describe pod <pod>", "crictl pull <image>"),
    ),
)
def image_pull(facts: Facts, expect: Expect) -> Iterator[Match]:
    failed: dict[str, list[tuple[Mapping, str]]] = {}
    for pod in pods(facts):
        for item in entries(pod, "waiting"):
            if text(item, "reason") in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"):
                failed.setdefault(text(item, "image"), []).append((pod, text(item, "message") or text(item, "reason")))
    told = {
        full_name(event): text(event, "message")
        for event in entries(facts, "events")
        if text(event, "reason") == "Failed" and "pull" in text(event, "message").lower()
    }
    for image, found in failed.items():
        users = [pod for pod, _message in found]
        message = next((told[full_name(pod)] for pod in users if full_name(pod) in told), found[0][1])
        yield Match(
            subject=f"image {image}",
            cause=f"{image} cannot be pulled for {named(users)}: {message}. Expected the image, from its registry "
            "or from a mirror of it.",
            evidence=(Evidence(f"pod {full_name(users[0])}", message),),
            severity=None if any(text(pod, "component") or mapping(pod, "requests") for pod in users) else "notice",
        )


@check(
    "node-selector-matches-no-node",
    layer="scheduler",
    severity="degraded",
    meaning="A pod that asks for GPUs selects a label, such as a GPU's product, that no node has.",
    remedy=Remedy("Correct the pod's selector, or label the nodes.", ("kubectl get nodes --show-labels",)),
    consequence_of=("plugin-node-label-missing", "node-labels-stale"),
)
def selector_matches_none(facts: Facts, expect: Expect) -> Iterator[Match]:
    nodes = entries(facts, "nodes")
    for pod, per_node in why_not(facts, waiting_for_devices(facts), nodes):
        unlabelled = [
            name for name, found in per_node.items() if any(o.kind in ("selector", "affinity") for o in found)
        ]
        if nodes and len(unlabelled) == len(nodes):
            obstacle, _where = (common(per_node, "selector") or common(per_node, "affinity"))[0]
            there = sorted({other.found for other, _nodes in common(per_node, obstacle.kind)})
            yield Match(
                subject=f"pod {full_name(pod)}",
                cause=f"{full_name(pod)} wants a node with {obstacle.wanted}; none of {len(nodes)} has it "
                f"(there: {listed(there[:3])}). Expected at least one.",
                evidence=(Evidence(f"pod {full_name(pod)}", text(pod, "unscheduled")),),
            )


@check(
    "insufficient-gpu",
    layer="scheduler",
    severity="degraded",
    meaning="Pods wait for GPUs, because no node they may run on has enough free.",
    remedy=Remedy(
        "Wait, end a pod that holds GPUs, add nodes, or share GPUs by time-slicing.",
        ("kubectl describe nodes | grep -A8 'Allocated resources'",),
    ),
    consequence_of=(
        "plugin-not-deployed",
        "plugin-node-label-missing",
        "plugin-pod-not-running",
        "plugin-without-nvidia-runtime",
        "allocatable-unlike-devices",
        "allocatable-below-capacity",
        "node-not-ready",
    ),
)
def insufficient(facts: Facts, expect: Expect) -> Iterator[Match]:
    nodes = entries(facts, "nodes")
    free = free_devices(nodes, pods(facts))
    short: dict[str, list[Mapping]] = {}
    for pod, per_node in why_not(facts, waiting_for_devices(facts), nodes):
        open_to_it = [found for found in per_node.values() if all(obstacle.kind == "resource" for obstacle in found)]
        if open_to_it and all(open_to_it):
            for resource in sorted({o.wanted.partition(" ")[2] for found in open_to_it for o in found}):
                short.setdefault(resource, []).append(pod)
    for resource, waiting in short.items():
        total = sum(mapping(node, "allocatable").get(resource, 0) for node in nodes)
        left = sum(held.get(resource, 0) for held in free.values())
        most = max((held.get(resource, 0) for held in free.values()), default=0)
        asked = [mapping(pod, "requests").get(resource, 0) for pod in waiting]
        largest = max((mapping(node, "allocatable").get(resource, 0) for node in nodes), default=0)
        never = [pod for pod, amount in zip(waiting, asked) if amount > largest]
        holders = sorted(
            {full_name(pod) for pod in pods(facts) if text(pod, "node") and mapping(pod, "requests").get(resource)
             and text(pod, "phase") not in ("Succeeded", "Failed")}
        )  # fmt: skip
        amounts = listed(str(amount) for amount in sorted(set(asked)))
        yield Match(
            subject=f"pod {named(waiting)}",
            cause=f"{named(waiting)} {'asks' if len(waiting) == 1 else 'ask'} for "
            f"{amounts} {resource}; of {total} in the cluster {left} are free, at most {most} on one node"
            + (f", held by {nodes_named(holders)}" if holders else "")
            + (f". {named(never)} can never run: no node has more than {largest}." if never else "."),
            evidence=(Evidence(f"pod {full_name(waiting[0])}", text(waiting[0], "unscheduled")),),
            severity="fatal" if never or not total else None,
        )


@check(
    "workload-without-runtimeclass",
    layer="workload",
    severity="notice",
    meaning="A pod holds a GPU without the NVIDIA RuntimeClass, on a node whose default runtime injects none: it "
    "will not find nvidia-smi or libcuda.",
    remedy=Remedy("Give the pod `runtimeClassName: nvidia`.", ()),
)
def workload_without_class(facts: Facts, expect: Expect) -> Iterator[Match]:
    wanted = expect.get("runtime_class")
    if not wanted:
        return
    blind = [
        pod
        for pod in pods(facts)
        if mapping(pod, "requests")
        and not text(pod, "runtime_class")
        and text(pod, "phase") == "Running"
        and handler_injects(facts, text(pod, "node")) is False
    ]
    if blind:
        yield Match(
            subject=f"pod {named(blind)}",
            cause=f"{named(blind)} {'holds' if len(blind) == 1 else 'hold'} a GPU without a RuntimeClass, and the "
            f"default runtime of {nodes_named(sorted({text(pod, 'node') for pod in blind}))} injects none; expected "
            f"runtimeClassName: {wanted}, or CDI by the plugin.",
            evidence=(Evidence(f"pod {full_name(blind[0])}", "runtimeClassName: (none)"),),
        )


@check(
    "evicted-pods-left",
    layer="workload",
    severity="notice",
    meaning="Evicted pods are left: they hold nothing but their names, and slow every list.",
    remedy=Remedy(
        "Delete them: the playbook gpunode.ready.cleanup takes thousands in a few calls. Or by a field selector,"
        " namespace by namespace.",
        ("kubectl delete pods --field-selector=status.phase=Failed -n <namespace> --wait=false",),
    ),
    consequence_of=("disk-pressure-eviction",),
)
def evicted(facts: Facts, expect: Expect) -> Iterator[Match]:
    per_namespace = {name: n for name, n in mapping(facts, "pods.evicted").items() if isinstance(n, int) and n}
    total = sum(per_namespace.values())
    if total:
        worst = sorted(per_namespace.items(), key=lambda item: -item[1])
        told = listed(f"{n} in {name}" for name, n in worst[:3])
        last = next((text(pod, "message") for pod in pods(facts) if text(pod, "reason") == "Evicted"), "")
        yield Match(
            subject=f"{total} evicted {'pod' if total == 1 else 'pods'}",
            cause=f"{total} evicted {'pod is' if total == 1 else 'pods are'} left ({told}); expected none.",
            evidence=(Evidence("kubectl get pods -A --field-selector=status.phase=Failed", last),),
            remedy=Remedy(
                evicted.remedy.text,
                tuple(
                    f"kubectl delete pods --field-selector=status.phase=Failed -n {name} --wait=false"
                    for name, _n in worst[:3]
                ),
            ),
            severity="degraded" if total >= 1000 else None,
        )
