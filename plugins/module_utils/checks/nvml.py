# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVML says: whether it answers at all, how many GPUs it knows, and how each of them fares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .reading import (
    driver_wanted,
    entries,
    gpus,
    is_true,
    listed,
    look_up,
    looked_at,
    mapping,
    names,
    number,
    text,
)

_DRIVER = "nvidia_driver"
_REPORT = ("dmesg | grep -E 'NVRM|Xid'", "nvidia-bug-report.sh")

# Why the driver is not in force; each explains what NVML then says.
_ROOTS = (
    "gpu-missing-on-bus",
    "nouveau-conflict",
    "secure-boot-unsigned-module",
    "open-kernel-module-required",
    "open-module-unsupported-gpu",
    "gpu-flavours-conflict",
    "driver-too-old-for-gpu",
    "kernel-headers-missing",
    "dkms-build-failed",
    "driver-not-installed",
    "driver-module-missing",
)


def _condition(facts: Facts) -> str:
    return text(facts, "nvml.condition")


def _said(facts: Facts) -> tuple[Evidence, ...]:
    return (Evidence(f"NVML ({text(facts, 'nvml.library') or 'libnvidia-ml.so.1'})", text(facts, "nvml.meaning")),)


@check(
    "nvml-library-not-found",
    layer="nvml",
    severity="fatal",
    meaning="libnvidia-ml.so.1 is nowhere, or cannot be loaded: the driver's user-space libraries are missing.",
    remedy=Remedy(
        "Install the driver's libraries at the version of its module.",
        ("ldconfig -p | grep libnvidia-ml",),
        role=_DRIVER,
        tag="nvidia_driver_packages",
    ),
    consequence_of=("gpu-missing-on-bus", "driver-not-installed", "apt-broken-package-state"),
)
def library(facts: Facts, expect: Expect) -> Iterator[Match]:
    if driver_wanted(expect) and _condition(facts) in ("library-not-found", "library-unloadable"):
        found = text(facts, "nvml.library")
        yield Match(
            subject="libnvidia-ml.so.1",
            cause=f"{found} cannot be loaded ({text(facts, 'nvml.meaning')}); expected a library for this machine."
            if found
            else "libnvidia-ml.so.1 is neither in the loader's cache nor in any folder where drivers put it; expected, "
            "because nvidia-smi, the toolkit and the device plugin ask the GPUs through it.",
            evidence=_said(facts),
        )


@check(
    "nvml-driver-not-loaded",
    layer="nvml",
    severity="fatal",
    meaning="The NVIDIA kernel module is not loaded.",
    remedy=Remedy(
        "Load it; if it refuses, the kernel log names the reason.",
        ("modprobe nvidia", "dmesg | grep -iE 'nvrm|nvidia|nouveau' | tail -n 20"),
        role=_DRIVER,
        tag="nvidia_driver_reboot",
    ),
    consequence_of=_ROOTS,
)
def not_loaded(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect) or not looked_at(facts, "driver") or mapping(facts, "driver.loaded"):
        return
    if not gpus(facts) and _condition(facts) != "driver-not-loaded":
        return  # a node without GPU says so itself; WSL has no module and an NVML that answers
    if _condition(facts) in ("ok", "no-devices"):
        return
    installed = text(facts, "driver.installed_module.version")
    yield Match(
        subject="module nvidia",
        cause="/sys/module/nvidia does not exist: the module is not loaded"
        f"{f', although {installed} is installed' if installed else ''}; expected loaded.",
        evidence=(Evidence("/sys/module/nvidia", "no such folder"), *(_said(facts) if _condition(facts) else ())),
    )


@check(
    "nvml-driver-library-version-mismatch",
    layer="nvml",
    severity="fatal",
    meaning="The user-space library and the loaded module are of different driver versions, so NVML cannot start.",
    remedy=Remedy(
        "Reboot, or unload and load the nvidia modules, so that the installed driver is the one loaded. If they still "
        "differ then, library and module come from different packages: install both at one version.",
        ("systemctl reboot",),
        role=_DRIVER,
        tag="nvidia_driver_reboot",
    ),
    consequence_of=("driver-reboot-needed",),
)
def version_mismatch(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect):
        return
    loaded, installed = text(facts, "driver.loaded.version"), text(facts, "driver.library.version")
    differ = bool(loaded and installed and loaded != installed)
    # With a library of another version beside the one in use, NVML answers and nothing is wrong.
    if _condition(facts) == "version-mismatch" or (differ and _condition(facts) not in ("ok", "no-devices")):
        path = text(facts, "driver.library.path") or text(facts, "nvml.library") or "libnvidia-ml.so.1"
        yield Match(
            subject="libnvidia-ml.so.1",
            cause=f"{path} is {installed or 'of another version'}, the loaded module {loaded or 'is not'} "
            "(/sys/module/nvidia/version): NVML cannot start; expected the same version.",
            evidence=(
                Evidence("/sys/module/nvidia/version", loaded),
                Evidence(path, installed),
                *_said(facts),
            ),
        )


@check(
    "nvml-insufficient-permissions",
    layer="nvml",
    severity="fatal",
    meaning="The device files of the GPUs may not be opened.",
    remedy=Remedy(
        "Give /dev/nvidia* their usual mode 0666 back: look for NVreg_DeviceFile in /etc/modprobe.d. In a container, "
        "ask for the device through CDI.",
        ("ls -l /dev/nvidia*", "grep -rn NVreg_DeviceFile /etc/modprobe.d"),
    ),
)
def permissions(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect):
        return
    if _condition(facts) in ("no-permission", "operating-system-blocked"):
        nodes = mapping(facts, "driver.device_nodes")
        modes = [f"{path} {text(state, 'mode')}" for path, state in nodes.items() if isinstance(state, Mapping)]
        yield Match(
            subject="/dev/nvidia*",
            cause=f"NVML may not open the device files ({listed(modes[:4], 'their modes are unknown')}); expected "
            "0666.",
            evidence=(*_said(facts), *(Evidence("/dev", line) for line in modes)),
        )


def _address(device: Mapping[str, Any]) -> str:
    return text(device, "pci_bus_id") or text(device, "uuid") or f"GPU {text(device, 'index')}"


def _named(device: Mapping[str, Any]) -> str:
    return (
        f"GPU {text(device, 'index')} ({_address(device)}{', ' if text(device, 'name') else ''}{text(device, 'name')})"
    )


def _devices(facts: Facts, expect: Expect) -> list[Mapping[str, Any]]:
    return entries(facts, "nvml.devices") if driver_wanted(expect) else []


@check(
    "gpu-lost-off-bus",
    layer="nvml",
    severity="fatal",
    meaning="A GPU disappeared from PCIe while the node ran (Xid 79).",
    remedy=Remedy(
        "Drain the node and power-cycle it: a warm reboot is often not enough. If it happens again, have the board, "
        "its power and its slot looked at.",
        ("dmesg | grep -E 'Xid|fallen off'", "lspci -nn -d 10de:"),
    ),
)
def lost(facts: Facts, expect: Expect) -> Iterator[Match]:
    gone = [item for item in _devices(facts, expect) if text(item, "condition") == "gpu-is-lost"]
    for item in gone:
        yield Match(
            subject=_address(item),
            cause=f"{_named(item)} has fallen off the bus; expected to answer.",
            evidence=(Evidence("NVML", text(item, "meaning")),),
        )
    if driver_wanted(expect) and not gone and _condition(facts) == "gpu-is-lost":
        yield Match(subject="GPU", cause="NVML says that a GPU has fallen off the bus.", evidence=_said(facts))


# Conditions that have a finding of their own, or are none.
_TOLD = (
    "",
    "ok",
    "no-devices",
    "library-not-found",
    "library-unloadable",
    "driver-not-loaded",
    "version-mismatch",
    "no-permission",
    "operating-system-blocked",
    "gpu-is-lost",
)


@check(
    "nvml-no-answer",
    layer="nvml",
    severity="fatal",
    meaning="NVML did not answer in time, or died: a GPU or the driver hangs.",
    remedy=Remedy(
        "The kernel log names the GPU. Drain the node and reboot it; if it hangs again, the board needs service.",
        _REPORT,
    ),
    consequence_of=("gpu-lost-off-bus", "nvml-driver-library-version-mismatch"),
)
def no_answer(facts: Facts, expect: Expect) -> Iterator[Match]:
    if driver_wanted(expect) and _condition(facts) in ("timed-out", "probe-died", "nvml-timeout"):
        yield Match(
            subject="NVML",
            cause=f"{text(facts, 'nvml.meaning')} Expected an answer for {len(gpus(facts))} GPU(s).",
            evidence=_said(facts),
        )


@check(
    "nvml-failed",
    layer="nvml",
    severity="fatal",
    meaning="NVML fails with a code that names no common cause.",
    remedy=Remedy("Read the kernel log; reboot the node if the driver is in a bad state.", _REPORT),
    consequence_of=("gpu-lost-off-bus",),
)
def failed(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect):
        return
    if _condition(facts) not in (*_TOLD, "timed-out", "probe-died", "nvml-timeout"):
        yield Match(
            subject="NVML",
            cause=f"NVML answers {_condition(facts)} ({text(facts, 'nvml.code') or 'no code'}): "
            f"{text(facts, 'nvml.meaning')} Expected success.",
            evidence=_said(facts),
            remedy=Remedy(text(facts, "nvml.mend") or failed.remedy.text, _REPORT),
        )
    for item in entries(facts, "nvml.devices"):
        if text(item, "condition") not in (*_TOLD, _condition(facts)):
            yield Match(
                subject=_address(item),
                cause=f"{_named(item)} answers {text(item, 'condition')}; expected success. "
                f"{text(item, 'meaning')}".strip(),
                evidence=(Evidence("NVML", text(item, "meaning")),),
            )


@check(
    "nvml-count-unlike-pci",
    layer="nvml",
    severity="degraded",
    meaning="NVML knows fewer GPUs than the PCI bus shows: one failed to initialise, is excluded, or has another "
    "driver.",
    remedy=Remedy(
        "The kernel log names the GPU and the reason.",
        ("dmesg | grep -E 'NVRM|RmInitAdapter'", "nvidia-smi -L", "lspci -nnk -d 10de:"),
    ),
    consequence_of=(
        "gpu-lost-off-bus",
        "gpu-held-by-other-driver",
        "gpu-without-driver",
        "open-kernel-module-required",
        "open-module-unsupported-gpu",
        "driver-too-old-for-gpu",
        "nvml-no-answer",
        "nvml-failed",
    ),
)
def count_unlike(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect) or not looked_at(facts, "gpus.devices"):
        return
    if _condition(facts) not in ("ok", "no-devices"):
        return
    known = {text(item, "pci_bus_id").lower() for item in entries(facts, "nvml.devices")}
    absent = [text(item, "address") for item in gpus(facts) if text(item, "address").lower() not in known]
    if len(gpus(facts)) > len(known) and absent:
        yield Match(
            subject=listed(absent),
            cause=f"NVML knows {len(known)} GPU(s), the PCI bus shows {len(gpus(facts))}: {listed(absent)} "
            f"{'is' if len(absent) == 1 else 'are'} missing; expected all of them.",
            evidence=tuple(Evidence(f"/sys/bus/pci/devices/{address}", "not known to NVML") for address in absent),
            severity="degraded" if known else "fatal",
        )


@check(
    "xid-ecc-uncorrectable",
    layer="nvml",
    severity="degraded",
    meaning="A GPU counted uncorrectable memory errors since the driver was loaded.",
    remedy=Remedy(
        "Drain the GPU and reset it, so that the damaged rows are replaced. If errors come back, have the board "
        "replaced.",
        ("nvidia-smi -q -d ECC,ROW_REMAPPER", "nvidia-smi --gpu-reset -i <index>"),
    ),
)
def ecc_errors(facts: Facts, expect: Expect) -> Iterator[Match]:
    for item in _devices(facts, expect):
        errors = number(item, "ecc.volatile.uncorrected")
        if errors:
            yield Match(
                subject=_address(item),
                cause=f"{_named(item)} counted {errors:.0f} uncorrectable memory error(s) since the driver was loaded; "
                "expected 0.",
                evidence=(Evidence("NVML ecc.volatile.uncorrected", f"{errors:.0f}"),),
            )


@check(
    "remap-failure",
    layer="nvml",
    severity="fatal",
    meaning="A GPU could not replace damaged memory: it has no spare rows left.",
    remedy=Remedy("Take the GPU out of service and have the board replaced.", ("nvidia-smi -q -d ROW_REMAPPER",)),
    consequence_of=("gpu-lost-off-bus",),
)
def remap_failure(facts: Facts, expect: Expect) -> Iterator[Match]:
    for item in _devices(facts, expect):
        if is_true(item, "remapped_rows.failure"):
            rows = number(item, "remapped_rows.uncorrected") or 0
            yield Match(
                subject=_address(item),
                cause=f"{_named(item)} failed to remap a memory row (uncorrectable rows remapped: {rows:.0f}); "
                "expected no failure.",
                evidence=(Evidence("NVML remapped_rows.failure", "true"),),
            )


@check(
    "remap-pending",
    layer="nvml",
    severity="degraded",
    meaning="Damaged GPU memory is to be replaced at the next reset of the GPU.",
    remedy=Remedy(
        "Reset the GPU when it is free, or reboot the node.", ("nvidia-smi --gpu-reset -i <index>", "systemctl reboot")
    ),
    consequence_of=("remap-failure", "xid-ecc-uncorrectable"),
)
def remap_pending(facts: Facts, expect: Expect) -> Iterator[Match]:
    for item in _devices(facts, expect):
        for path, what in (("remapped_rows.pending", "row remap"), ("retired_pages.pending", "page retirement")):
            if is_true(item, path):
                yield Match(
                    subject=_address(item),
                    cause=f"{_named(item)} has a {what} pending until its next reset; expected none.",
                    evidence=(Evidence(f"NVML {path}", "true"),),
                )


@check(
    "ecc-pending",
    layer="nvml",
    severity="degraded",
    meaning="The ECC mode of a GPU was changed and waits for a reset.",
    remedy=Remedy(
        "Reset the GPU when it is free, or reboot the node.", ("nvidia-smi --gpu-reset -i <index>", "systemctl reboot")
    ),
)
def ecc_pending(facts: Facts, expect: Expect) -> Iterator[Match]:
    for item in _devices(facts, expect):
        yield from _pending(item, "ecc.mode", "ECC")


@check(
    "mig-mode-pending",
    layer="nvml",
    severity="degraded",
    meaning="The MIG mode of a GPU was changed and waits for a reset.",
    remedy=Remedy(
        "Reset the GPU when it is free, or reboot the node.", ("nvidia-smi --gpu-reset -i <index>", "systemctl reboot")
    ),
)
def mig_pending(facts: Facts, expect: Expect) -> Iterator[Match]:
    for item in _devices(facts, expect):
        yield from _pending(item, "mig.mode", "MIG")


def _pending(item: Mapping[str, Any], path: str, what: str) -> Iterator[Match]:
    current, pending = look_up(item, f"{path}.current"), look_up(item, f"{path}.pending")
    if isinstance(current, bool) and isinstance(pending, bool) and current != pending:
        words = {True: "enabled", False: "disabled"}
        yield Match(
            subject=_address(item),
            cause=f"{what} is {words[current]} on {_named(item)} and will be {words[pending]} after a reset; "
            "expected no "
            "change pending.",
            evidence=(Evidence(f"NVML {path}", f"current {words[current]}, pending {words[pending]}"),),
        )


@check(
    "gpu-recovery-action",
    layer="nvml",
    severity="fatal",
    meaning="The driver asks for a recovery: a reset of the GPU, a reboot, or that it be drained.",
    remedy=Remedy(
        "Do what it asks for. Until then new work may fail or compute wrongly.", ("nvidia-smi -q | grep -i recovery",)
    ),
    consequence_of=("gpu-lost-off-bus", "remap-failure", "xid-ecc-uncorrectable"),
)
def recovery(facts: Facts, expect: Expect) -> Iterator[Match]:
    commands = {
        "gpu_reset": ("nvidia-smi --gpu-reset -i <index>",),
        "bus_reset": ("nvidia-smi --gpu-reset -i <index>",),
        "drain_and_reset": ("kubectl drain <node> --ignore-daemonsets", "nvidia-smi --gpu-reset -i <index>"),
        "node_reboot": ("kubectl drain <node> --ignore-daemonsets", "systemctl reboot"),
        "system_reboot": ("kubectl drain <node> --ignore-daemonsets", "systemctl reboot"),
    }
    for item in _devices(facts, expect):
        action = text(item, "recovery_action")
        if action and action != "none":
            index = text(item, "index")
            asked = tuple(line.replace("<index>", index) for line in commands.get(action, recovery.remedy.commands))
            yield Match(
                subject=_address(item),
                cause=f"{_named(item)} asks for the recovery action {action.replace('_', ' ')}; expected none.",
                evidence=(Evidence("NVML field 230", action),),
                remedy=Remedy(recovery.remedy.text, asked),
            )


@check(
    "clocks-thermal-throttle",
    layer="nvml",
    severity="degraded",
    meaning="A GPU lowers its clocks because it is too hot.",
    remedy=Remedy(
        "Look at fans, filters, inlet temperature and blanking panels; in a passive card's slot, at the chassis fans.",
        ("nvidia-smi -q -d TEMPERATURE,PERFORMANCE",),
    ),
)
def thermal(facts: Facts, expect: Expect) -> Iterator[Match]:
    yield from _slowed(facts, expect, ("hw_thermal_slowdown", "sw_thermal_slowdown"), "because it is too hot")


@check(
    "clocks-power-brake",
    layer="nvml",
    severity="degraded",
    meaning="A GPU halves its clocks because the machine's power supply asks for it.",
    remedy=Remedy(
        "Look at the power supplies and their redundancy, and at the power cables of the board.",
        ("nvidia-smi -q -d POWER,PERFORMANCE", "ipmitool sdr type 'Power Supply'"),
    ),
)
def power_brake(facts: Facts, expect: Expect) -> Iterator[Match]:
    yield from _slowed(facts, expect, ("hw_power_brake_slowdown",), "because the power supply asks for it")


@check(
    "clocks-hardware-slowdown",
    layer="nvml",
    severity="degraded",
    meaning="The hardware holds a GPU's clocks down, by heat or by power.",
    remedy=Remedy("Look at cooling and at power.", ("nvidia-smi -q -d TEMPERATURE,POWER,PERFORMANCE",)),
    consequence_of=("clocks-thermal-throttle", "clocks-power-brake"),
)
def slowdown(facts: Facts, expect: Expect) -> Iterator[Match]:
    yield from _slowed(facts, expect, ("hw_slowdown",), "by hardware, from heat or power")


def _slowed(facts: Facts, expect: Expect, reasons: tuple[str, ...], why: str) -> Iterator[Match]:
    for item in _devices(facts, expect):
        found = [name for name in names(item, "clocks_event_reasons.names") if name in reasons]
        if found:
            degrees, watts = number(item, "temperature_celsius"), number(item, "power_draw_watts")
            figures = [f"{degrees:.0f} °C"] if degrees is not None else []
            figures += [f"{watts:.0f} W"] if watts is not None else []
            yield Match(
                subject=_address(item),
                cause=f"{_named(item)} runs at lowered clocks {why} ({listed(found)}"
                f"{'; now ' + ', '.join(figures) if figures else ''}); expected full clocks.",
                evidence=(Evidence("NVML clocks_event_reasons", ", ".join(found)),),
            )


@check(
    "gpu-fabric-not-ready",
    layer="nvml",
    severity="fatal",
    meaning="A GPU has not joined the NVLink fabric of its NVSwitches, so CUDA answers 802 or the GPUs do not see each "
    "other.",
    remedy=Remedy(
        "Fabric Manager makes the fabric: see its log, then restart it.",
        ("nvidia-smi -q | grep -A4 Fabric", "journalctl -b -u nvidia-fabricmanager"),
        role=_DRIVER,
        tag="nvidia_driver_fabric_manager",
    ),
    consequence_of=("fabric-manager-not-running", "fabric-manager-version-mismatch"),
)
def fabric(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not entries(facts, "gpus.nvswitches"):
        return
    for item in _devices(facts, expect):
        state, status = text(item, "fabric.state"), text(item, "fabric.status")
        if state and (state != "completed" or status not in ("ok", "")):
            yield Match(
                subject=_address(item),
                cause=f"The fabric state of {_named(item)} is {state.replace('_', ' ')} ({status or 'no status'}); "
                "expected completed.",
                evidence=(Evidence("NVML fabric", f"state {state}, status {status}"),),
            )


@check(
    "nvlink-inactive",
    layer="nvml",
    severity="degraded",
    meaning="Some NVLinks of a GPU are down while others are up.",
    remedy=Remedy(
        "Reseat the bridge or the board; the error counters tell which link is bad.",
        ("nvidia-smi nvlink -s", "nvidia-smi nvlink -e"),
    ),
    consequence_of=("gpu-lost-off-bus", "gpu-fabric-not-ready"),
)
def nvlinks(facts: Facts, expect: Expect) -> Iterator[Match]:
    for item in _devices(facts, expect):
        links = mapping(item, "nvlinks")
        down = sorted(
            (name for name, state in links.items() if state == "inactive"), key=lambda name: (len(name), name)
        )
        if down and "active" in links.values():
            yield Match(
                subject=_address(item),
                cause=f"NVLink {listed(down)} of {_named(item)} {'is' if len(down) == 1 else 'are'} inactive, "
                f"{len(links) - len(down)} of {len(links)} active; expected all.",
                evidence=(Evidence("NVML nvlinks", f"inactive: {', '.join(down)}"),),
            )
