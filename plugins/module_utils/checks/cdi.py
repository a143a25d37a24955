# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CDI: a spec that names the GPUs of this boot, one only, in a place where the runtime looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..cdi import is_before_cdi
from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .reading import (
    comes_at_boot,
    entries,
    gpus,
    is_false,
    is_true,
    listed,
    looked_at,
    mappings,
    names,
    text,
    unit,
)
from .runtime import role_of, wanted_runtimes

_REGENERATE = ("nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml", "nvidia-ctk cdi list")


def _wanted(expect: Expect) -> bool:
    return bool(expect.get("gpu")) and bool(expect.get("cdi"))


def _problems(facts: Facts, *kinds: str) -> list[Mapping[str, Any]]:
    return [item for item in entries(facts, "cdi.problems") if text(item, "problem") in kinds]


def _evidence(items: list[Mapping[str, Any]]) -> tuple[Evidence, ...]:
    found = []
    for item in items[:10]:
        line = item.get("line")
        subject = text(item, "subject")
        told = subject if subject and subject != text(item, "spec") else text(item, "cause")
        found.append(Evidence(text(item, "spec"), told, line if isinstance(line, int) else None))
    return tuple(found)


def _by_spec(items: list[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        found.setdefault(text(item, "spec"), []).append(item)
    return found


def _told(items: list[Mapping[str, Any]]) -> str:
    """The first problem in full, and how many more there are."""
    more = len(items) - 1
    return text(items[0], "cause") + (f" So {'do' if more > 1 else 'does'} {more} more." if more else "")


@check(
    "cdi-disabled-in-runtime",
    layer="cdi",
    severity="fatal",
    meaning="The runtime has CDI switched off, so it ignores every CDI device that it is asked for.",
    remedy=Remedy(
        "Switch it on: `enable_cdi = true` in containerd 1.7, `features.cdi` in Docker; older ones have no CDI.",
        ("containerd config dump | grep -i cdi", "docker info --format '{{json .CDISpecDirs}}'"),
    ),
)
def disabled(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, state in wanted_runtimes(facts, expect) if _wanted(expect) else ():
        if expect.get("handler") and is_before_cdi(name, text(state, "version")):
            continue  # the handler injects the GPUs there, and nothing could be switched on
        if is_true(state, "installed") and is_false(state, "cdi.enabled"):
            yield Match(
                subject=name,
                cause=f"{name} {text(state, 'version')} runs with CDI disabled; expected enabled.",
                evidence=tuple(Evidence(file, "CDI not enabled") for file in names(state, "config_files")[:2]),
                severity="degraded" if expect.get("handler") else "fatal",
                remedy=Remedy(
                    disabled.remedy.text,
                    disabled.remedy.commands,
                    role=role_of(name),
                    tag=f"{name}_config" if role_of(name) else None,
                ),
            )


@check(
    "cdi-spec-missing",
    layer="cdi",
    severity="fatal",
    meaning="No CDI specification names the GPUs, so containers that ask for them by CDI fail.",
    remedy=Remedy("Generate it now, and at every boot.", _REGENERATE, role="cdi", tag="cdi_spec"),
    consequence_of=(
        "gpu-missing-on-bus",
        "toolkit-not-installed",
        "nvidia-runtime-binary-missing",
        "nouveau-conflict",
        "driver-not-installed",
        "driver-reboot-needed",
        "nvml-driver-library-version-mismatch",
        "nvml-driver-not-loaded",
        "nvml-library-not-found",
    ),
)
def missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not _wanted(expect) or not looked_at(facts, "cdi.devices"):
        return
    if any(text(item, "name").startswith("nvidia.com/gpu=") for item in entries(facts, "cdi.devices")):
        return
    folders = listed(names(facts, "cdi.spec_dirs"), "/etc/cdi and /var/run/cdi")
    refused = [text(item, "path") for item in entries(facts, "cdi.specs") if is_false(item, "usable")]
    yield Match(
        subject="nvidia.com/gpu",
        cause=f"No usable spec in {folders} defines nvidia.com/gpu devices"
        f"{f' ({listed(refused)} cannot be used)' if refused else ''}; expected one device for each GPU.",
        evidence=tuple(Evidence(path, "unusable") for path in refused)
        or tuple(Evidence(path, "no spec") for path in names(facts, "cdi.spec_dirs")),
    )


@check(
    "cdi-spec-invalid",
    layer="cdi",
    severity="fatal",
    meaning="A CDI specification cannot be read or is refused by the runtimes' own rules.",
    remedy=Remedy(
        "Generate it anew; a spec that is not of nvidia-ctk is yours to mend.", _REGENERATE, role="cdi", tag="cdi_spec"
    ),
)
def invalid(facts: Facts, expect: Expect) -> Iterator[Match]:
    found = _problems(facts, "unreadable", "unparsable", "version", "invalid") if _wanted(expect) else []
    for path, items in _by_spec(found).items():
        ours = any(item.get("by_nvidia") is True for item in items) or "nvidia" in path
        yield Match(
            subject=path,
            cause=f"{_told(items)} Expected a spec that runtimes accept.",
            evidence=_evidence(items),
            severity="fatal" if ours else "degraded",
            remedy=None
            if ours
            else Remedy("It is not of nvidia-ctk: mend it or move it away.", (f"mv {path} {path}.off",)),
        )


@check(
    "cdi-spec-stale-after-driver-upgrade",
    layer="cdi",
    severity="fatal",
    meaning="A CDI specification names files of another driver, or devices that this boot does not have.",
    remedy=Remedy("Generate it anew.", _REGENERATE, role="cdi", tag="cdi_spec"),
    consequence_of=("driver-reboot-needed", "nvml-driver-not-loaded", "device-node-missing"),
)
def stale(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not _wanted(expect):
        return
    found = _problems(
        facts, "stale-driver", "stale-device-node", "dangling-device-node", "dangling-library", "dangling-hook"
    )
    in_force = {text(item, "path"): bool(names(item, "in_force")) for item in entries(facts, "cdi.specs")}
    for path, items in _by_spec(found).items():
        ours = any(item.get("by_nvidia") is True for item in items)
        grave = in_force.get(path, True) and ours
        yield Match(
            subject=path,
            cause=f"{_told(items)} Expected only what this node has now.",
            evidence=_evidence(items),
            severity="fatal" if grave else "degraded",
            remedy=None
            if ours
            else Remedy("It is not of nvidia-ctk: mend it or move it away.", (f"mv {path} {path}.off",)),
        )


@check(
    "cdi-gpu-without-device",
    layer="cdi",
    severity="degraded",
    meaning="A GPU that NVML knows is in no CDI specification: it was added, or MIG changed, after the spec was "
    "written.",
    remedy=Remedy("Generate the spec anew.", _REGENERATE, role="cdi", tag="cdi_spec"),
    consequence_of=("cdi-spec-missing", "cdi-spec-invalid", "cdi-spec-stale-after-driver-upgrade"),
)
def uncovered(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not _wanted(expect) or not looked_at(facts, "cdi.devices"):
        return
    nodes = {path for item in entries(facts, "cdi.specs") for path in names(item, "device_nodes")}
    have = {text(item, "name").partition("=")[2] for item in entries(facts, "cdi.devices")}
    absent = []
    for item in entries(facts, "nvml.devices"):
        minor = item.get("minor_number")
        if not isinstance(minor, int) or text(item, "condition") != "ok":
            continue
        instances = entries(item, "mig.instances")
        wanted = [text(one, "uuid") for one in instances] or [text(item, "uuid")]
        index = text(item, "index")
        by_index = [f"{index}:{text(one, 'index')}" for one in instances] or [index]
        by_type = [f"mig{name}" for name in by_index] if instances else [f"gpu{index}"]
        named = all(any(name in have for name in trio) for trio in zip(wanted, by_index, by_type))
        if f"/dev/nvidia{minor}" not in nodes or not named:
            absent.append(f"GPU {index} ({text(item, 'pci_bus_id')})")
    if absent and have:
        yield Match(
            subject=listed(absent),
            cause=f"{listed(absent)} {'is' if len(absent) == 1 else 'are'} in no CDI spec (there: "
            f"{listed(sorted(have)[:8])}); expected a device for each GPU and each MIG instance.",
            evidence=tuple(Evidence(text(item, "path"), "does not name it") for item in entries(facts, "cdi.specs")),
        )


@check(
    "cdi-duplicate-specs",
    layer="cdi",
    severity="degraded",
    meaning="Two CDI specifications define the same device: in one folder both are lost, in two one hides the other.",
    remedy=Remedy(
        "Keep the one that is refreshed at boot, and move the other away.",
        ("ls -l /etc/cdi /var/run/cdi",),
        role="cdi",
        tag="cdi_spec",
    ),
)
def duplicates(facts: Facts, expect: Expect) -> Iterator[Match]:
    found = _problems(facts, "conflict", "shadowed") if _wanted(expect) else []
    for path, items in _by_spec(found).items():
        conflict = any(text(item, "problem") == "conflict" for item in items)
        yield Match(
            subject=path,
            cause=f"{_told(items)} Expected each device in one spec.",
            evidence=_evidence(items),
            severity="fatal" if conflict else "degraded",
            remedy=Remedy(duplicates.remedy.text, (f"mv {path} {path}.gpunode-disabled",), role="cdi", tag="cdi_spec"),
        )


@check(
    "cdi-spec-mode",
    layer="cdi",
    severity="degraded",
    meaning="A CDI specification can be written by others than root, or not be read by those who need it.",
    remedy=Remedy("Give it back to root with mode 0644.", ("chmod 0644 <spec>",), role="cdi", tag="cdi_spec"),
)
def mode(facts: Facts, expect: Expect) -> Iterator[Match]:
    for path, items in _by_spec(_problems(facts, "mode") if _wanted(expect) else []).items():
        yield Match(
            subject=path,
            cause=_told(items),
            evidence=_evidence(items),
            remedy=Remedy(
                mode.remedy.text, (f"chown root:root {path}", f"chmod 0644 {path}"), role="cdi", tag="cdi_spec"
            ),
        )


@check(
    "cdi-refresh-not-at-boot",
    layer="cdi",
    severity="degraded",
    meaning="The CDI specification lives in /var/run and nothing writes it at boot, so it is gone after a reboot.",
    remedy=Remedy(
        "Enable the refresh units of the toolkit (1.18 and newer) or those of this collection.",
        ("systemctl enable --now nvidia-cdi-refresh.path nvidia-cdi-refresh.service",),
        role="cdi",
        tag="cdi_refresh",
    ),
)
def refresh(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not _wanted(expect) or not gpus(facts) or not mappings(facts, "units"):
        return
    at_boot = [
        name
        for name in ("nvidia-cdi-refresh", "gpunode-cdi-refresh")
        if comes_at_boot(unit(facts, f"{name}.service")) or comes_at_boot(unit(facts, f"{name}.path"))
    ]
    volatile = [
        text(item, "path")
        for item in entries(facts, "cdi.specs")
        if text(item, "path").startswith(("/var/run/", "/run/")) and names(item, "in_force")
    ]
    if volatile and not at_boot:
        yield Match(
            subject=listed(volatile),
            cause=f"{listed(volatile)} is gone after a reboot, and no enabled unit writes it anew (nvidia-cdi-refresh, "
            "gpunode-cdi-refresh); expected one.",
            evidence=(Evidence("systemctl is-enabled nvidia-cdi-refresh.service", "not enabled"),),
        )
