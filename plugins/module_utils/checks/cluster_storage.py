# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage: the StorageClass that claims will ask for, who serves it, and the claims that wait."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .cluster_reading import component_pods, full_name, named
from .reading import entries, listed, look_up, number, text

_ROLE = "local_storage"
# The names under which local-path-provisioner serves: its own, or what its Helm chart makes of a release's.
LOCAL_PATH = re.compile(r"rancher\.io/local-path|cluster\.local/\S*local-path-provisioner")


def class_name(item: Mapping) -> str:
    return text(item, "name")


def wanted_class(facts: Facts, expect: Expect) -> Mapping | None:
    """The StorageClass that stateful pods will ask for, if one is expected and there."""
    wanted = expect.get("storage")
    for item in entries(facts, "storage.classes"):
        if (wanted is True and item.get("default") is True) or (isinstance(wanted, str) and class_name(item) == wanted):
            return item
    return None


@check(
    "storage-provisioner-not-ready",
    layer="storage",
    severity="degraded",
    meaning="The provisioner of a StorageClass does not run: claims of that class wait for it.",
    remedy=Remedy(
        "Mend what keeps its pod: an image has a variable of its role, for a mirror; a taint takes a toleration. Where "
        "nothing runs it, deploy it, or delete the class.",
        ("kubectl get deployments -A | grep local-path", "kubectl -n <namespace> describe pod <pod>"),
        role=_ROLE,
    ),
    consequence_of=("image-pull-failed", "cni-not-initialized", "node-not-ready"),
)
def provisioner_not_ready(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not isinstance(look_up(facts, "storage.provisioners"), list):
        return
    needed = text(wanted_class(facts, expect) or {}, "provisioner")
    served: dict[str, list[str]] = {}
    for item in entries(facts, "storage.classes"):
        served.setdefault(text(item, "provisioner"), []).append(class_name(item))
    for item in entries(facts, "storage.provisioners"):
        desired, name = number(item, "desired"), text(item, "provisioner")
        ready = min(number(item, "ready") or 0, number(item, "updated") or 0)
        if desired is None or (desired and ready >= desired):
            continue
        why = why_not_ready(facts, item)
        yield Match(
            subject=f"Deployment {full_name(item)}",
            cause=f"Deployment {full_name(item)} ({name}) has {ready:g} of {desired:g} pods ready"
            f"{f': {why}' if why else ''}; expected {'all of them' if desired else 'one'}, for claims of "
            f"{listed(served.get(name) or [], 'its classes')} wait for it.",
            evidence=(Evidence(f"Deployment {full_name(item)}", why or f"readyReplicas: {ready:g}"),),
            severity="fatal" if needed and needed == name else None,
        )
    running = {text(item, "provisioner") for item in entries(facts, "storage.provisioners")}
    for name, classes in served.items():
        if LOCAL_PATH.fullmatch(name) and name not in running:
            yield Match(
                subject=f"StorageClass {listed(classes)}",
                cause=f"StorageClass {listed(classes)} names the provisioner {name}, and no Deployment runs it; "
                "expected one.",
                evidence=(Evidence(f"StorageClass {classes[0]}", f"provisioner: {name}"),),
                severity="fatal" if needed == name else None,
            )


def why_not_ready(facts: Facts, item: Mapping) -> str:
    """What keeps a provisioner's pod: what the API, the scheduler, the runtime or the pod itself says."""
    if text(item, "message"):
        return text(item, "message")
    mine = [
        pod
        for pod in component_pods(facts, "provisioner")
        if text(pod, "namespace") == text(item, "namespace") and text(pod, "name").startswith(f"{text(item, 'name')}-")
    ]
    for pod in mine:
        for state in entries(pod, "waiting"):
            if text(state, "reason") not in ("", "PodInitializing"):
                image = f" {text(state, 'image')}" if "mage" in text(state, "reason") else ""
                return f"{full_name(pod)} is {text(state, 'reason')}{image}: {text(state, 'message')}".rstrip(": ")
        told = text(pod, "unscheduled") or text(pod, "message")
        if told:
            return f"{full_name(pod)} is {text(pod, 'phase')}: {told}"
    if mine:
        return f"{full_name(mine[0])} is {text(mine[0], 'phase')} and not ready"
    return "no pod of it is there"


@check(
    "storageclass-missing",
    layer="storage",
    severity="notice",
    meaning="The StorageClass that claims will ask for is not there: the default one, or the one that is expected.",
    remedy=Remedy(
        "Install a provisioner, or mark a StorageClass that is there as the default.",
        (
            "kubectl get storageclass",
            "kubectl annotate storageclass <name> storageclass.kubernetes.io/is-default-class=true",
        ),
        role=_ROLE,
    ),
)
def class_missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    classes = entries(facts, "storage.classes")
    wanted = expect.get("storage")
    # a cluster without any class is none that needs storage, unless somebody says so
    if not isinstance(look_up(facts, "storage.classes"), list) or not (classes or wanted):
        return
    named_one = wanted if isinstance(wanted, str) else ""
    if wanted_class(facts, {"storage": named_one or True}) is None:
        there = listed(sorted(class_name(item) for item in classes), "no StorageClass")
        what = f"There is no StorageClass {named_one}" if named_one else "No StorageClass is the default"
        yield Match(
            subject=f"StorageClass {named_one or '(default)'}",
            cause=f"{what} (there: {there}), so a claim {'of it' if named_one else 'that names none'} waits for ever; "
            "expected one.",
            evidence=(Evidence("kubectl get storageclass", there),),
            severity="fatal" if wanted else None,
        )


@check(
    "default-storageclass-twice",
    layer="storage",
    severity="degraded",
    meaning="Several StorageClasses are the default: a claim that names none gets the newest, whichever that is.",
    remedy=Remedy(
        "Keep one: take the annotation off the others, or name them in local_storage_demoted_classes.",
        ("kubectl annotate --overwrite storageclass <name> storageclass.kubernetes.io/is-default-class=false",),
    ),
)
def default_twice(facts: Facts, expect: Expect) -> Iterator[Match]:
    classes = [item for item in entries(facts, "storage.classes") if item.get("default") is True]
    if len(classes) > 1:
        told = [f"{class_name(item)} (by {text(item, 'managed_by') or 'somebody'})" for item in classes]
        yield Match(
            subject=f"StorageClass {listed(class_name(item) for item in classes)}",
            cause=f"{listed(told)} are each the default StorageClass; expected one.",
            evidence=tuple(
                Evidence(f"StorageClass {class_name(item)}", f"provisioner: {text(item, 'provisioner')}")
                for item in classes
            ),
        )


@check(
    "pvc-unbound-no-storageclass",
    layer="storage",
    severity="degraded",
    meaning="Claims stay Pending, because nothing makes a volume for them: no such StorageClass, or no default one.",
    remedy=Remedy(
        "Install a provisioner, and mark its StorageClass as the default.",
        (
            "kubectl get storageclass",
            "kubectl annotate storageclass <name> storageclass.kubernetes.io/is-default-class=true",
        ),
        role=_ROLE,
    ),
    consequence_of=("storageclass-missing",),
)
def unbound(facts: Facts, expect: Expect) -> Iterator[Match]:
    classes = {text(item, "name"): item for item in entries(facts, "storage.classes")}
    default = [name for name, item in classes.items() if item.get("default") is True]
    homeless: dict[str, list[Mapping]] = {}
    for claim in entries(facts, "storage.pending_claims"):
        wanted = claim.get("class")
        if claim.get("volume") or wanted == "":  # bound by hand, without a class
            continue
        if wanted is None and not default:
            homeless.setdefault("", []).append(claim)
        elif isinstance(wanted, str) and wanted not in classes:
            homeless.setdefault(wanted, []).append(claim)
    for wanted, claims in homeless.items():
        there = listed(sorted(classes), "no StorageClass")
        asks = f"the StorageClass {wanted}" if wanted else "the default StorageClass"
        yield Match(
            subject=f"PersistentVolumeClaim {named(claims)}",
            cause=f"{named(claims)} {'waits' if len(claims) == 1 else 'wait'} for {asks}, and there is "
            f"{'none of that name' if wanted else 'none'} (there: {there}); expected one.",
            evidence=(
                Evidence(f"PersistentVolumeClaim {full_name(claims[0])}", f"storageClassName: {wanted or '(none)'}"),
            ),
        )
