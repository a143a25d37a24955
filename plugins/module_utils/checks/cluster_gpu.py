# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and the GPU stack on them: ready nodes, a plugin that runs where the GPUs are, as many devices as there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..cluster.scheduling import spell_taint
from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .cluster_reading import (
    common,
    component_pods,
    components,
    conditions,
    devices_of,
    expected_devices,
    full_name,
    gpu_nodes,
    handler_injects,
    has_gpu,
    host_of,
    named,
    nodes_named,
    waiting_for_devices,
    why_not,
    why_not_daemon,
)
from .reading import entries, is_true, listed, look_up, looked_at, mapping, mappings, names, text

_ROLE = "device_plugin"
STACK = {"plugin": "device plugin", "gfd": "GPU feature discovery", "dcgm": "DCGM exporter", "mps": "MPS daemon"}


# ---------------------------------------------------------------- nodes


@check(
    "runtime-handler-missing",
    layer="runtime",
    severity="fatal",
    meaning="A RuntimeClass names a handler that the runtime of a GPU node does not have: its pods stay in "
    "ContainerCreating.",
    remedy=Remedy(
        "Give the node's runtime the handler.",
        ("crictl info | grep -A2 runtimeHandlers", "kubectl get runtimeclass"),
        role="nvidia_container_toolkit",
    ),
)
def handler_missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    told = set()
    for item in entries(facts, "runtimeclasses"):
        name, handler = text(item, "name"), text(item, "handler")
        if name != (expect.get("runtime_class") or "nvidia"):
            continue
        for node in gpu_nodes(facts, expect):
            host = host_of(facts, text(node, "name"))
            running = [state for state in mappings(host or {}, "runtimes").values() if is_true(state, "installed")]
            known = sorted({name for state in running for name in mapping(state, "handlers")})
            if host is not None and running and handler not in known:
                told.add(text(node, "name"))
                yield Match(
                    subject=f"node {text(node, 'name')}, RuntimeClass {name}",
                    cause=f"RuntimeClass {name} names the handler {handler}; the runtime of {text(node, 'name')} has "
                    f"{listed(known, 'no handler')}; expected {handler} among them.",
                    evidence=(Evidence(f"RuntimeClass {name}", f"handler: {handler}"),),
                )
    for event in entries(facts, "events"):
        message = text(event, "message")
        found = re.search(
            r"no runtime for \"(?P<a>[^\"]+)\" is configured|failed to find runtime handler (?P<b>\S+) from"
            r"|unknown runtime handler \"(?P<c>[^\"]+)\"",
            message,
        )
        if text(event, "reason") == "FailedCreatePodSandBox" and found:
            pod = next((item for item in entries(facts, "pods.listed") if same(item, event)), {})
            where, handler = text(pod, "node"), found["a"] or found["b"] or found["c"]
            if where not in told:
                told.add(where)
                yield Match(
                    subject=f"node {where or 'unknown'}, pod {full_name(event)}",
                    cause=f"The runtime of {where or 'its node'} does not know the handler {handler}, which the pod "
                    f"{full_name(event)} asks for; expected that handler.",
                    evidence=(Evidence(f"event of pod {full_name(event)}", message),),
                )


def same(item: Mapping, event: Mapping) -> bool:
    return full_name(item) == full_name(event)


@check(
    "disk-pressure-eviction",
    layer="kubelet",
    severity="degraded",
    meaning="A node is short of disk: kubelet evicts pods and takes no new ones.",
    remedy=Remedy(
        "Free space on that node; remove no image that a pod uses.",
        ("df -h /var/lib", "crictl rmi --prune", "journalctl --vacuum-size=500M"),
    ),
)
def disk_pressure(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, status, said, evidence in conditions(facts, "DiskPressure"):
        if status == "True":
            yield Match(
                subject=f"node {name}",
                cause=f"{name} reports DiskPressure ({said or 'without a message'}); expected none.",
                evidence=(evidence,),
            )


@check(
    "node-not-ready",
    layer="kubelet",
    severity="fatal",
    meaning="A node is not Ready: kubelet does not report, or says what it misses.",
    remedy=Remedy(
        "Look at kubelet and the runtime on that node; `gpunode.ready.verify` judges it from below.",
        ("journalctl -u kubelet -n 50", "kubectl describe node <node>"),
    ),
    consequence_of=("cni-not-initialized", "apiserver-not-ready"),
)
def node_not_ready(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, status, said, evidence in conditions(facts, "Ready"):
        if status != "True":
            yield Match(
                subject=f"node {name}",
                cause=f"{name} has Ready={status}: {said or 'no reason given'}. Expected Ready=True.",
                evidence=(evidence,),
            )


@check(
    "node-cordoned",
    layer="scheduler",
    severity="notice",
    meaning="A GPU node takes no new pods, because somebody cordoned it.",
    remedy=Remedy("Let it take pods again when its maintenance is over.", ("kubectl uncordon <node>",)),
)
def cordoned(facts: Facts, expect: Expect) -> Iterator[Match]:
    for node in gpu_nodes(facts, expect):
        if is_true(node, "unschedulable"):
            name = text(node, "name")
            yield Match(
                subject=f"node {name}",
                cause=f"{name} is cordoned (spec.unschedulable: true), so its GPUs take no new pods.",
                evidence=(Evidence(f"node {name}", "unschedulable: true"),),
                remedy=Remedy(cordoned.remedy.text, (f"kubectl uncordon {name}",)),
            )


# ---------------------------------------------------------------- the plugin


@check(
    "plugin-not-deployed",
    layer="plugin",
    severity="fatal",
    meaning="Nothing in the cluster tells kubelet of the GPUs: no device plugin and no DRA driver.",
    remedy=Remedy("Deploy the device plugin.", ("kubectl get daemonsets -A",), role=_ROLE),
)
def not_deployed(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not expect.get("plugin") or not looked_at(facts, "daemonsets") or not looked_at(facts, "pods"):
        return
    if components(facts, "plugin", "dra") or component_pods(facts, "plugin", "dra"):
        return
    nodes = [text(node, "name") for node in gpu_nodes(facts, expect)]
    if nodes:
        yield Match(
            subject="device plugin",
            cause=f"No DaemonSet and no pod runs a device plugin, and {nodes_named(nodes)} should offer GPUs; expected "
            "one that serves them.",
            evidence=(Evidence("kubectl get daemonsets -A", "no k8s-device-plugin"),),
        )


def unmatched(facts: Facts, expect: Expect, kinds: tuple[str, ...], obstacle: str):
    """(DaemonSet, obstacle, nodes where it stands) of those that want no pod although there are GPU nodes."""
    for item in components(facts, *kinds):
        if item.get("desired"):
            continue
        unknown = [node for node in entries(facts, "nodes") if host_of(facts, text(node, "name")) is None]
        nodes = gpu_nodes(facts, expect) or unknown  # a node that is known to have no GPU is none to label
        per_node = why_not_daemon(facts, mapping(item, "pod"), nodes)
        found = [pair for kind in obstacle.split() for pair in common(per_node, kind)]
        if found:
            yield item, found


def label_matches(facts: Facts, expect: Expect, kinds: tuple[str, ...]) -> Iterator[Match]:
    for item, found in unmatched(facts, expect, kinds, "selector affinity"):
        obstacle, where = found[0]
        what = STACK.get(text(item, "component"), text(item, "component"))
        first = obstacle.wanted.split(" or ")[0].split(" and ")[0]
        label = first if "=" in first and " " not in first else ""
        commands = tuple(f"kubectl label node {name} {label}" for name in where[:4]) if label else ()
        yield Match(
            subject=f"DaemonSet {full_name(item)}",
            cause=f"DaemonSet {full_name(item)} ({what}) has DESIRED 0: it wants nodes with {obstacle.wanted}, and "
            f"{nodes_named(where)} {'has' if len(where) == 1 else 'have'} {obstacle.found}; expected that label on the "
            "GPU nodes.",
            evidence=(Evidence(f"DaemonSet {full_name(item)}", f"{obstacle.kind}: {obstacle.wanted}"),),
            remedy=Remedy(
                "Label the GPU nodes, or run node feature discovery, which does.",
                commands or ("kubectl get nodes --show-labels",),
                role=_ROLE if text(item, "component") in ("plugin", "gfd", "mps") else None,
            ),
        )


@check(
    "plugin-node-label-missing",
    layer="plugin",
    severity="fatal",
    meaning="The device plugin's DaemonSet matches no node, because no node has the label it selects.",
    remedy=Remedy("Label the GPU nodes, or run node feature discovery, which does.", (), role=_ROLE),
)
def label_missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    yield from label_matches(facts, expect, ("plugin", "gfd", "mps"))


@check(
    "dcgm-node-label-missing",
    layer="monitoring",
    severity="degraded",
    meaning="The DCGM exporter's DaemonSet matches no node, because no node has the label it selects.",
    remedy=Remedy("Label the GPU nodes, or take the selector away.", ()),
)
def dcgm_label_missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    yield from label_matches(facts, expect, ("dcgm",))


@check(
    "taint-blocks-scheduling",
    layer="scheduler",
    severity="fatal",
    meaning="A taint keeps the device plugin, or pods that ask for GPUs, off the GPU nodes.",
    remedy=Remedy(
        "Give the pod a toleration for the taint, or take the taint away if it is not meant to be there.",
        ("kubectl describe node <node> | grep -A3 Taints", "kubectl taint node <node> <key>:<effect>-"),
    ),
)
def taint(facts: Facts, expect: Expect) -> Iterator[Match]:
    for item, found in unmatched(facts, expect, tuple(STACK), "taint"):
        obstacle, where = found[0]
        yield Match(
            subject=f"DaemonSet {full_name(item)}",
            cause=f"DaemonSet {full_name(item)} has DESIRED 0: {nodes_named(where)} "
            f"{'has' if len(where) == 1 else 'have'} the taint {obstacle.found}, which its pods do not tolerate; "
            "expected a toleration.",
            evidence=(Evidence(f"node {where[0]}", f"taint {obstacle.found}"),),
            remedy=tolerating(obstacle.found, where),
        )
    blocked: dict[str, list[Mapping]] = {}
    nodes = gpu_nodes(facts, expect)
    for pod, per_node in why_not(facts, waiting_for_devices(facts), nodes):
        # A node that nothing but its taints keeps away is where the pod would run.
        near = {name: found for name, found in per_node.items() if found and all(o.kind == "taint" for o in found)}
        if near and not any(not found for found in per_node.values()):
            blocked.setdefault(common(near, "taint")[0][0].found, []).append(pod)
    for spelt, waiting in blocked.items():
        where = [
            text(node, "name") for node in nodes if spelt in [spell_taint(item) for item in entries(node, "taints")]
        ]
        yield Match(
            subject=f"pod {named(waiting)}",
            cause=f"{named(waiting)} would fit {nodes_named(where)} but for the taint {spelt}, which "
            f"{'it does' if len(waiting) == 1 else 'they do'} not tolerate; expected a toleration.",
            evidence=(Evidence(f"pod {full_name(waiting[0])}", text(waiting[0], "unscheduled")),),
            remedy=tolerating(spelt, where),
        )


def tolerating(spelt: str, where: list[str]) -> Remedy:
    key, _colon, effect = spelt.partition(":")
    name, _equals, _value = key.partition("=")
    toleration = f"{{key: {name}, operator: Exists, effect: {effect}}}"
    return Remedy(
        f"Add the toleration {toleration} to the pod, or take the taint away if it is not meant to be there.",
        (f"kubectl taint node {where[0] if where else '<node>'} {spelt}-",),
    )


@check(
    "runtimeclass-not-found",
    layer="plugin",
    severity="fatal",
    meaning="Pods name a RuntimeClass that the cluster does not have, so the API refuses them.",
    remedy=Remedy(
        "Create the RuntimeClass before what uses it.",
        ("kubectl get runtimeclass",),
        role=_ROLE,
    ),
)
def class_missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not isinstance(look_up(facts, "runtimeclasses"), list):
        return
    there = {text(item, "name") for item in entries(facts, "runtimeclasses")}
    wanted: dict[str, list[str]] = {}
    for item in entries(facts, "daemonsets"):
        if text(item, "pod.runtime_class"):
            wanted.setdefault(text(item, "pod.runtime_class"), []).append(f"DaemonSet {full_name(item)}")
    for event in entries(facts, "events"):
        found = re.search(r'RuntimeClass(?:\.node\.k8s\.io)? "([^"]+)" not found', text(event, "message"))
        if found:
            wanted.setdefault(found[1], []).append(f"{text(event, 'kind')} {full_name(event)}")
    for name, users in wanted.items():
        if name not in there:
            users = list(dict.fromkeys(users))
            yield Match(
                subject=f"RuntimeClass {name}",
                cause=f"{nodes_named(users)} {'names' if len(users) == 1 else 'name'} the RuntimeClass {name}, which "
                f"does not exist (there: {listed(sorted(there))}); expected it with the handler {name}.",
                evidence=(Evidence(users[0], f"runtimeClassName: {name}"),),
            )


@check(
    "pod-creation-refused",
    layer="plugin",
    severity="fatal",
    meaning="The API refuses the pods of the GPU stack: Pod Security, a quota, a webhook.",
    remedy=Remedy(
        "Mend what the message names. A device plugin needs a host path, so its namespace needs "
        "pod-security.kubernetes.io/enforce=privileged; priority system-node-critical needs kube-system or a quota.",
        ("kubectl describe daemonset -A | grep -A5 Warning",),
        role=_ROLE,
    ),
    consequence_of=("runtimeclass-not-found",),
)
def creation_refused(facts: Facts, expect: Expect) -> Iterator[Match]:
    stack = {full_name(item): item for item in entries(facts, "daemonsets")}
    for event in entries(facts, "events"):
        item = stack.get(full_name(event))
        if item is None or text(event, "kind") != "DaemonSet" or text(event, "reason") != "FailedCreate":
            continue
        if (item.get("current") or 0) < (item.get("desired") or 0):
            yield Match(
                subject=f"DaemonSet {full_name(item)}",
                cause=f"DaemonSet {full_name(item)} has {item.get('current')} of {item.get('desired')} pods, because "
                f"the API refuses them: {text(event, 'message')}. Expected all of them.",
                evidence=(Evidence(f"event of DaemonSet {full_name(item)}", text(event, "message")),),
            )


def own_way(pod: Mapping) -> bool:
    """Whether a pod of the stack reaches the driver without the runtime: the host's root, or privileged by name."""
    env = mapping(pod, "env")
    root = bool(env.get("NVIDIA_DRIVER_ROOT") or env.get("DRIVER_ROOT_CTR_PATH"))
    return root and any(path in ("/", "/run/nvidia/driver") for path in names(pod, "host_paths"))


def without_runtime(facts: Facts, expect: Expect, kinds: tuple[str, ...]) -> Iterator[Match]:
    wanted = expect.get("runtime_class")
    for item in components(facts, *kinds):
        pod = mapping(item, "pod")
        if text(pod, "runtime_class") == wanted or not wanted or own_way(pod):
            continue
        mine = [
            one
            for one in component_pods(facts, text(item, "component"))
            if text(one, "owner.name") == text(item, "name")
        ]
        running = {text(one, "node") for one in mine if text(one, "node")}
        verdicts = {name: handler_injects(facts, name) for name in running}
        blind = sorted(name for name, verdict in verdicts.items() if verdict is False)
        why = "which injects no GPU on"
        if not blind:  # nobody looked at the nodes: believe the outcome
            why = "and no device is offered by"
            offers = {text(node, "name"): mapping(node, "allocatable") for node in entries(facts, "nodes")}
            blind = sorted(
                name
                for name in running
                if verdicts[name] is None and has_gpu_named(facts, name) and not any(offers.get(name, {}).values())
            )
        if blind:
            found = text(pod, "runtime_class")
            yield Match(
                subject=f"DaemonSet {full_name(item)}",
                cause=f"DaemonSet {full_name(item)} runs under "
                f"{f'the RuntimeClass {found}' if found else 'the default runtime'}, {why} "
                f'{nodes_named(blind)}: without the NVIDIA runtime it finds no NVML ("Incompatible strategy detected '
                f'auto", "No devices found"); expected runtimeClassName: {wanted}.',
                evidence=(Evidence(f"DaemonSet {full_name(item)}", f"runtimeClassName: {found or '(none)'}"),),
                remedy=Remedy(
                    f"Run it under the RuntimeClass {wanted}.",
                    (
                        f"kubectl -n {text(item, 'namespace')} patch daemonset {text(item, 'name')} --type merge -p "
                        f'\'{{"spec":{{"template":{{"spec":{{"runtimeClassName":"{wanted}"}}}}}}}}\'',
                    ),
                    role=_ROLE if text(item, "component") != "dcgm" else None,
                ),
            )


def has_gpu_named(facts: Facts, name: str) -> bool:
    node = next((item for item in entries(facts, "nodes") if text(item, "name") == name), None)
    return node is not None and has_gpu(facts, node)


@check(
    "plugin-without-nvidia-runtime",
    layer="plugin",
    severity="fatal",
    meaning="The device plugin's pods do not run under the NVIDIA runtime, so they cannot see NVML.",
    remedy=Remedy("Run it under the RuntimeClass of the NVIDIA handler.", (), role=_ROLE),
    consequence_of=("runtimeclass-not-found",),
)
def plugin_without_runtime(facts: Facts, expect: Expect) -> Iterator[Match]:
    yield from without_runtime(facts, expect, ("plugin", "gfd", "mps"))


@check(
    "monitoring-without-nvidia-runtime",
    layer="monitoring",
    severity="degraded",
    meaning="The DCGM exporter's pods do not run under the NVIDIA runtime, so they cannot see NVML.",
    remedy=Remedy("Run it under the RuntimeClass of the NVIDIA handler.", ()),
)
def dcgm_without_runtime(facts: Facts, expect: Expect) -> Iterator[Match]:
    for match in without_runtime(facts, expect, ("dcgm",)):
        # Without node facts, an exporter is only blamed when it does not run.
        if any(entries(item, "waiting") for item in component_pods(facts, "dcgm")) or mapping(facts, "hosts"):
            yield match


@check(
    "plugin-pod-not-running",
    layer="plugin",
    severity="fatal",
    meaning="A pod of the device plugin does not run.",
    remedy=Remedy(
        "Read what it says.",
        ("kubectl -n <namespace> logs <pod> --previous", "kubectl -n <namespace> describe pod <pod>"),
    ),
    consequence_of=(
        "runtime-handler-missing",
        "plugin-without-nvidia-runtime",
        "image-pull-failed",
        "cni-not-initialized",
        "node-not-ready",
    ),
)
def plugin_not_running(facts: Facts, expect: Expect) -> Iterator[Match]:
    for pod in component_pods(facts, "plugin", "gfd", "mps", "dra"):
        waiting = [item for item in entries(pod, "waiting") if text(item, "reason") not in ("PodInitializing", "")]
        if text(pod, "phase") == "Running" and not waiting:
            continue
        if not waiting and text(pod, "phase") not in ("Failed", "Pending"):
            continue
        first = waiting[0] if waiting else {}
        reason = text(first, "reason") or text(pod, "reason") or text(pod, "phase")
        message = text(first, "message") or text(pod, "message") or text(pod, "unscheduled")
        restarts = f" after {text(first, 'restarts')} restarts" if first.get("restarts") else ""
        where = text(pod, "node") or "no node"
        yield Match(
            subject=f"pod {full_name(pod)}",
            cause=f"{full_name(pod)} on {where} is {reason}{restarts}{f': {message}' if message else ''}; expected "
            "Running.",
            evidence=(Evidence(f"pod {full_name(pod)}", message or reason),),
            remedy=Remedy(
                plugin_not_running.remedy.text,
                (
                    f"kubectl -n {text(pod, 'namespace')} logs {text(pod, 'name')} --previous",
                    f"kubectl -n {text(pod, 'namespace')} describe pod {text(pod, 'name')}",
                ),
            ),
        )


@check(
    "plugin-twice",
    layer="plugin",
    severity="degraded",
    meaning="Two device plugins serve the same nodes: each registers the same resource, and the last one wins.",
    remedy=Remedy("Keep one: take the other away, or adopt the one that is there.", ("kubectl get daemonsets -A",)),
)
def twice(facts: Facts, expect: Expect) -> Iterator[Match]:
    for kinds, what in ((("plugin",), "device plugins"), (("plugin", "dra"), "a device plugin and a DRA driver")):
        items = [item for item in components(facts, *kinds) if item.get("desired")]
        if len({text(item, "component") for item in items}) != len(kinds):
            continue
        pods = component_pods(facts, *kinds)
        shared = [
            name
            for name in sorted({text(pod, "node") for pod in pods if text(pod, "node")})
            if len({text(pod, "owner.name") for pod in pods if text(pod, "node") == name}) > 1
        ]
        if len(items) > 1 and shared:
            told = [f"{full_name(item)} (by {text(item, 'managed_by') or 'somebody'})" for item in items]
            yield Match(
                subject=listed(told),
                cause=f"{listed(told)} are {what} that both run on {nodes_named(shared)}; expected one.",
                evidence=tuple(
                    Evidence(f"DaemonSet {full_name(item)}", f"desired {item.get('desired')}") for item in items
                ),
            )


# ---------------------------------------------------------------- devices


@check(
    "allocatable-unlike-devices",
    layer="plugin",
    severity="fatal",
    meaning="A node offers another number of GPUs than it has (times the replicas of a sharing configuration).",
    remedy=Remedy(
        "Read the plugin's log on that node; restart its pod after a GPU was added, lost or repartitioned.",
        ("kubectl -n <namespace> logs -l <plugin> --all-containers", "nvidia-smi -L"),
        role=_ROLE,
    ),
    consequence_of=(
        "runtime-handler-missing",
        "node-not-ready",
        "plugin-not-deployed",
        "plugin-node-label-missing",
        "taint-blocks-scheduling",
        "runtimeclass-not-found",
        "pod-creation-refused",
        "plugin-without-nvidia-runtime",
        "plugin-pod-not-running",
    ),
)
def allocatable(facts: Facts, expect: Expect) -> Iterator[Match]:
    resource = str(expect.get("resource") or "nvidia.com/gpu")
    for node in gpu_nodes(facts, expect):
        name, able = text(node, "name"), mapping(node, "allocatable")
        wanted, why = expected_devices(facts, expect, name)
        least = ""
        if not wanted and expect.get("plugin") and not any(able.values()):
            wanted, why, least = {resource: 1}, "it has a GPU", " at least"
        for kind, number in wanted.items():
            has = able.get(kind, 0)
            if has != number:
                yield Match(
                    subject=f"node {name}",
                    cause=f"{name} has {has} {kind} allocatable; expected{least} {number} ({why}).",
                    evidence=(Evidence(f"node {name}", f"allocatable {kind}: {has}"),),
                    severity=None if has < number else "degraded",
                )


@check(
    "allocatable-below-capacity",
    layer="plugin",
    severity="degraded",
    meaning="Some of a node's GPUs are unhealthy, or the plugin is gone: capacity counts them, allocatable does not.",
    remedy=Remedy(
        "Look for an Xid in the kernel log and in the plugin's; a GPU stays unhealthy until the plugin is restarted.",
        ("dmesg | grep Xid", "kubectl -n <namespace> delete pod <plugin pod of that node>"),
    ),
    consequence_of=("node-not-ready", "plugin-pod-not-running"),
)
def unhealthy(facts: Facts, expect: Expect) -> Iterator[Match]:
    for node in entries(facts, "nodes"):
        name, able = text(node, "name"), mapping(node, "allocatable")
        for resource, amount in mapping(node, "capacity").items():
            if isinstance(amount, int) and able.get(resource, 0) < amount:
                yield Match(
                    subject=f"node {name}",
                    cause=f"{name} has {amount} {resource}, {able.get(resource, 0)} of them allocatable; expected all.",
                    evidence=(Evidence(f"node {name}", f"capacity {amount}, allocatable {able.get(resource, 0)}"),),
                )


@check(
    "node-labels-stale",
    layer="plugin",
    severity="degraded",
    meaning="Labels of a node tell of GPUs that it does not have: pods are sent where they cannot run.",
    remedy=Remedy(
        "Let GPU feature discovery write them anew, or correct them.",
        ("kubectl label node <node> <label>-",),
        role=_ROLE,
    ),
)
def stale_labels(facts: Facts, expect: Expect) -> Iterator[Match]:
    for node in entries(facts, "nodes"):
        name, labels = text(node, "name"), mapping(node, "labels")
        host = host_of(facts, name)
        if host is None:
            continue
        wrong: dict[str, str] = {}
        if look_up(host, "gpus.devices") == [] and labels.get("nvidia.com/gpu.present") == "true":
            wrong["nvidia.com/gpu.present=true"] = "no GPU on the PCI bus"
        count = devices_of(facts, name)
        told = str(labels.get("nvidia.com/gpu.count", ""))
        if count is not None and told.isdigit() and int(told) != count:
            wrong[f"nvidia.com/gpu.count={told}"] = f"{count} by NVML"
        seen = {re.sub(r"[ _]", "-", text(device, "name")) for device in entries(host, "nvml.devices")} - {""}
        product = str(labels.get("nvidia.com/gpu.product", ""))
        if seen and product and not any(product.startswith(one) for one in seen):
            wrong[f"nvidia.com/gpu.product={product}"] = f"{listed(sorted(seen))} by NVML"
        driver, version = text(host, "nvml.driver_version"), str(labels.get("nvidia.com/cuda.driver-version.full", ""))
        if driver and version and version != driver:
            wrong[f"nvidia.com/cuda.driver-version.full={version}"] = f"{driver} by NVML"
        if wrong:
            yield Match(
                subject=f"node {name}",
                cause=f"{name} is labelled {listed(f'{label}, but has {found}' for label, found in wrong.items())}; "
                "expected labels that are true.",
                evidence=tuple(Evidence(f"node {name}", label) for label in wrong),
                remedy=Remedy(
                    stale_labels.remedy.text,
                    tuple(f"kubectl label node {name} {label.partition('=')[0]}-" for label in wrong),
                    role=_ROLE,
                ),
            )
