# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions that several checks ask of a cluster's facts, answered once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..cluster.scheduling import Obstacle, free_devices, obstacles
from ..findings import Evidence
from .catalogue import Expect, Facts
from .reading import entries, listed, look_up, mapping, mappings, number, text

# Labels that say of a node that it has an NVIDIA GPU, whoever set them.
GPU_LABELS = (
    ("nvidia.com/gpu.present", "true"),
    ("feature.node.kubernetes.io/pci-10de.present", "true"),
    ("feature.node.kubernetes.io/pci-0300_10de.present", "true"),
    ("feature.node.kubernetes.io/pci-0302_10de.present", "true"),
)


def pods(facts: Facts) -> list[Mapping[str, Any]]:
    return entries(facts, "pods.listed")


def full_name(item: Mapping[str, Any]) -> str:
    """``namespace/name``."""
    return f"{text(item, 'namespace')}/{text(item, 'name')}"


def named(items: list[Mapping[str, Any]], most: int = 3) -> str:
    """``a/b, a/c and 7 more``."""
    told = [full_name(item) for item in items[:most]]
    return listed([*told, f"{len(items) - most} more"]) if len(items) > most else listed(told)


def gpu_nodes(facts: Facts, expect: Expect) -> list[Mapping[str, Any]]:
    """The nodes that should offer GPUs: those named, or those of which anything says that they have one."""
    chosen = expect.get("gpu_nodes")
    if isinstance(chosen, list):
        return [node for node in entries(facts, "nodes") if text(node, "name") in chosen]
    return [node for node in entries(facts, "nodes") if has_gpu(facts, node)]


def has_gpu(facts: Facts, node: Mapping[str, Any]) -> bool:
    host = host_of(facts, text(node, "name"))
    if host is not None and isinstance(look_up(host, "gpus.devices"), list):
        return bool(entries(host, "gpus.devices"))
    labels = mapping(node, "labels")
    return bool(mapping(node, "capacity")) or any(labels.get(key) == value for key, value in GPU_LABELS)


def host_of(facts: Facts, name: str) -> Mapping[str, Any] | None:
    """What ``node_info`` saw on the node of that name, if it was given: by node name or by the host's own."""
    hosts = mappings(facts, "hosts")
    if name in hosts:
        return hosts[name]
    return next((host for host in hosts.values() if text(host, "os.hostname") == name), None)


def devices_of(facts: Facts, name: str) -> int | None:
    """How many whole GPUs NVML counts on a node; None where nobody looked, or where MIG makes other devices of them."""
    host = host_of(facts, name)
    count = number(host, "nvml.device_count") if host is not None else None
    if count is None or any(look_up(device, "mig.mode.current") is True for device in entries(host, "nvml.devices")):
        return None
    return int(count)


def expected_devices(facts: Facts, expect: Expect, name: str) -> tuple[dict[str, int], str]:
    """(resource → how many of it a node should offer, why); none where that is not known."""
    resource = str(expect.get("resource") or "nvidia.com/gpu")
    wanted = expect.get("devices")
    if isinstance(wanted, Mapping):
        wanted = wanted.get(name)
    if isinstance(wanted, Mapping):
        return {str(key): value for key, value in wanted.items() if isinstance(value, int)}, "as asked for"
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        return {resource: wanted}, "as asked for"
    seen = devices_of(facts, name)
    if seen is None:
        return {}, "nobody has counted"
    replicas = expect.get("replicas")
    times = replicas if isinstance(replicas, int) and replicas > 1 else 1
    return {resource: seen * times}, f"NVML sees {seen}" + (f", each shared {times} times" if times > 1 else "")


def conditions(facts: Facts, kind: str) -> Iterator[tuple[str, str, str, Evidence]]:
    """(name, status, what it says of it, that as evidence) of each node that reports this condition."""
    for node in entries(facts, "nodes"):
        name, told = text(node, "name"), mapping(node, f"conditions.{kind}")
        said = text(told, "message") or text(told, "reason")
        if text(told, "status"):
            yield name, text(told, "status"), said, Evidence(f"node {name}, condition {kind}", said)


def components(facts: Facts, *kinds: str) -> list[Mapping[str, Any]]:
    """The DaemonSets of these components."""
    return [item for item in entries(facts, "daemonsets") if text(item, "component") in kinds]


def component_pods(facts: Facts, *kinds: str) -> list[Mapping[str, Any]]:
    return [item for item in pods(facts) if text(item, "component") in kinds]


def handler_injects(facts: Facts, node: str) -> bool | None:
    """Whether the default handler of a node's runtime is NVIDIA's; None where nobody looked."""
    host = host_of(facts, node)
    if host is None:
        return None
    defaults = [
        text(state, "default_handler") for state in mappings(host, "runtimes").values() if state.get("installed")
    ]
    return any(name.startswith("nvidia") for name in defaults if name) if any(defaults) else None


def waiting_for_devices(facts: Facts) -> list[Mapping[str, Any]]:
    """The pods that ask for devices and have no node."""
    return [
        pod
        for pod in pods(facts)
        if text(pod, "phase") == "Pending" and not text(pod, "node") and mapping(pod, "requests")
    ]


def why_not_daemon(facts: Facts, pod: Mapping[str, Any], nodes: list[Mapping[str, Any]]) -> dict[str, list[Obstacle]]:
    """node name → the obstacles between a DaemonSet's pod and that node. It is not asked for free devices."""
    merged = {**with_runtime_class(facts, pod), "requests": {}}
    return {text(node, "name"): obstacles(merged, node, daemon=True) for node in nodes}


def why_not(
    facts: Facts, waiting: Iterable[Mapping[str, Any]], nodes: list[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], dict[str, list[Obstacle]]]]:
    """(pod, node name → the obstacles between the two) for each pod; pods that are alike are judged once."""
    free = free_devices(entries(facts, "nodes"), pods(facts))
    known: dict[str, dict[str, list[Obstacle]]] = {}
    for pod in waiting:
        key = repr([pod.get(name) for name in DECISIVE])
        if key not in known:
            merged = with_runtime_class(facts, pod)
            known[key] = {
                text(node, "name"): obstacles(merged, node, free.get(text(node, "name"), {})) for node in nodes
            }
        yield pod, known[key]


# What of a pod decides where it may run.
DECISIVE = ("runtime_class", "node_selector", "node_affinity", "tolerations", "requests", "host_network")


def with_runtime_class(facts: Facts, pod: Mapping[str, Any]) -> dict[str, Any]:
    """The pod as admission leaves it: a RuntimeClass adds its own selector and tolerations."""
    found = next(
        (item for item in entries(facts, "runtimeclasses") if item.get("name") == pod.get("runtime_class")), None
    )
    if not pod.get("runtime_class") or found is None:
        return dict(pod)
    return {
        **pod,
        "node_selector": {**mapping(found, "node_selector"), **mapping(pod, "node_selector")},
        "tolerations": [*(pod.get("tolerations") or []), *(found.get("tolerations") or [])],
    }


def common(per_node: Mapping[str, list[Obstacle]], kind: str) -> list[tuple[Obstacle, list[str]]]:
    """The obstacles of a kind, each with the nodes where it stands, the most frequent first."""
    where: dict[Obstacle, list[str]] = {}
    for name, found in per_node.items():
        for obstacle in found:
            if obstacle.kind == kind:
                where.setdefault(obstacle, []).append(name)
    return sorted(where.items(), key=lambda item: (-len(item[1]), item[0].wanted))


def nodes_named(names: list[str], most: int = 4) -> str:
    return listed([*names[:most], f"{len(names) - most} more"]) if len(names) > most else listed(names)
