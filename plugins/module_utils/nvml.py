# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVML, asked through ctypes: what the GPUs of this node are and how they fare, with no package on the node.

Rules of this file. The library is loaded in a forked child only: NVML may block for ever, or die, on a sick GPU, and
then the child is what is lost; the caller gets a named condition, and all that was answered until then. What a GPU
does not offer is None, with the reason under ``unsupported``; nothing here raises for what a GPU does or lacks.
Structures and names follow NVML's C interface; each call falls back to its older name where the library is older.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .driver_version import loaded_version
from .host import Host

SONAME = "libnvidia-ml.so.1"
TIMEOUT_SECONDS = 30.0

# Where drivers put the library, most usual first; the loader's own cache is asked before.
FOLDERS = (
    "/usr/lib/*-linux-gnu",  # Debian, Ubuntu
    "/usr/lib64",  # RHEL, Fedora, SUSE
    "/usr/lib",  # Arch
    "/usr/lib/*-linux-gnu/nvidia/current",  # Debian's alternatives
    "/usr/lib64/nvidia",
    "/usr/local/nvidia/lib64",  # Google's images, many clouds
    "/usr/local/nvidia/lib",
    "/home/kubernetes/bin/nvidia/lib64",  # Container-Optimized OS
    "/run/nvidia/driver/usr/lib/*-linux-gnu",  # the GPU Operator's driver container
    "/run/nvidia/driver/usr/lib64",
    "/run/nvidia/driver/usr/lib",
    "/usr/lib/wsl/lib",  # WSL 2
    "/usr/lib/wsl/drivers/*",
    "/usr/local/glibc/usr/lib",  # Talos
    "/run/opengl-driver/lib",  # NixOS
    "/*-bottlerocket-linux-gnu/sys-root/usr/lib/nvidia/*",  # Bottlerocket
    "/usr/lib/*-linux-gnu/nvidia",  # Jetson
)


@dataclass(frozen=True)
class Condition:
    """What NVML can be in: a stable id, NVML's own number and name for it, and what to make of it."""

    id: str
    code: int | None  # NVML's return code; None for conditions that NVML itself has no code for
    name: str | None
    meaning: str
    cause: str  # the usual one on a node being provisioned
    mend: str


def _condition(code: int, identifier: str, name: str, meaning: str, cause: str = "", mend: str = "") -> Condition:
    return Condition(identifier, code, f"NVML_ERROR_{name}" if code else "NVML_SUCCESS", meaning, cause, mend)


_REPORT = "Run nvidia-bug-report.sh and look in the kernel log (dmesg) for lines with NVRM or Xid."

CONDITIONS: tuple[Condition, ...] = (
    _condition(0, "ok", "", "NVML answers."),
    _condition(
        1, "uninitialized", "UNINITIALIZED", "NVML was asked before it was initialised.", "A fault of the caller.", ""
    ),
    _condition(
        2,
        "invalid-argument",
        "INVALID_ARGUMENT",
        "NVML does not accept an argument, or knows no such device, link or sensor.",
        "The library is of another generation than the caller expects.",
        "Update the driver; report it if the driver is current.",
    ),
    _condition(3, "not-supported", "NOT_SUPPORTED", "The GPU, or its driver in this mode, does not offer this."),
    _condition(
        4,
        "no-permission",
        "NO_PERMISSION",
        "The caller may not open the GPU's device nodes.",
        "The modes of /dev/nvidia* were narrowed (NVreg_DeviceFileMode), or a device cgroup forbids them.",
        "Run as root, or look at `ls -l /dev/nvidia*` and at NVreg_DeviceFile* in /etc/modprobe.d.",
    ),
    _condition(5, "already-initialized", "ALREADY_INITIALIZED", "NVML was initialised twice (old libraries only)."),
    _condition(6, "not-found", "NOT_FOUND", "What was asked for does not exist."),
    _condition(7, "insufficient-size", "INSUFFICIENT_SIZE", "The buffer given to NVML is too small for its answer."),
    _condition(
        8,
        "insufficient-power",
        "INSUFFICIENT_POWER",
        "A GPU's external power cables are not attached properly.",
        "A loose or missing power connector.",
        "Power the machine off and check the GPU's power connectors.",
    ),
    _condition(
        9,
        "driver-not-loaded",
        "DRIVER_NOT_LOADED",
        "The NVIDIA kernel module is not loaded.",
        "It was not built for this kernel, is not signed while Secure Boot is on, nouveau holds the GPU, or its "
        "flavour (open or proprietary) does not know the GPU.",
        "`modprobe nvidia` and `dmesg | grep -i -e nvrm -e nouveau` name the reason; role nvidia_driver mends it.",
    ),
    _condition(
        10, "nvml-timeout", "TIMEOUT", "NVML itself gave up waiting for the GPU.", "The GPU is busy or hangs.", _REPORT
    ),
    _condition(
        11,
        "irq-issue",
        "IRQ_ISSUE",
        "The kernel delivers no interrupts of a GPU.",
        "Interrupt routing of the board or of the virtual machine.",
        "Update the firmware of the board; in a virtual machine, look at how the GPU is passed through.",
    ),
    _condition(
        12,
        "library-not-found",
        "LIBRARY_NOT_FOUND",
        f"{SONAME} was not found.",
        "The driver's user-space libraries are not installed, or lie in an unusual folder.",
        "Install the driver (role nvidia_driver), or name the library in the option `library`.",
    ),
    _condition(
        13,
        "function-not-found",
        "FUNCTION_NOT_FOUND",
        "The installed library does not know this call.",
        "The driver is older than the call.",
        "Nothing is wrong: update the driver if the value is wanted.",
    ),
    _condition(
        14,
        "corrupted-inforom",
        "CORRUPTED_INFOROM",
        "The checksum of a GPU's infoROM is wrong.",
        "Damaged configuration memory on the board.",
        "Have the board serviced.",
    ),
    _condition(
        15,
        "gpu-is-lost",
        "GPU_IS_LOST",
        "A GPU has fallen off the bus, or cannot be reached any more.",
        "Hardware, power or PCIe link (Xid 79).",
        "Drain the node and reboot it. If it comes back, have the board, its power and its slot looked at.",
    ),
    _condition(
        16,
        "reset-required",
        "RESET_REQUIRED",
        "A GPU has to be reset before it can be used.",
        "A fatal error left it in an undefined state.",
        "Stop what uses it and run `nvidia-smi --gpu-reset -i <index>`, or reboot the node.",
    ),
    _condition(
        17,
        "operating-system-blocked",
        "OPERATING_SYSTEM",
        "The operating system blocks the GPU's control device.",
        "A device cgroup, SELinux or AppArmor forbids /dev/nvidiactl.",
        "Look in the audit log; in a container, ask for the device through CDI.",
    ),
    _condition(
        18,
        "version-mismatch",
        "LIB_RM_VERSION_MISMATCH",
        "The user-space library and the loaded kernel module are of different driver versions: NVML cannot start.",
        "The driver was upgraded while the old module stayed loaded.",
        "Reboot, or unload and load the nvidia modules, so that the installed driver is the one loaded.",
    ),
    _condition(19, "in-use", "IN_USE", "The GPU is in use by another process.", "", "Stop what uses it."),
    _condition(20, "out-of-memory", "MEMORY", "NVML cannot get memory.", "The node is out of memory.", ""),
    _condition(21, "no-data", "NO_DATA", "There is no data yet for what was asked."),
    _condition(
        22, "vgpu-ecc-not-supported", "VGPU_ECC_NOT_SUPPORTED", "This vGPU profile does not work while ECC is enabled."
    ),
    _condition(23, "insufficient-resources", "INSUFFICIENT_RESOURCES", "The GPU is out of a critical resource."),
    _condition(24, "frequency-not-supported", "FREQ_NOT_SUPPORTED", "The GPU does not run at this frequency."),
    _condition(
        25,
        "argument-version-mismatch",
        "ARGUMENT_VERSION_MISMATCH",
        "The library does not accept this version of a structure.",
        "The library is older or newer than the caller expects.",
        "Nothing is wrong with the node; report it.",
    ),
    _condition(26, "deprecated", "DEPRECATED", "The installed library no longer offers this call."),
    _condition(27, "not-ready", "NOT_READY", "The system is not ready for what was asked.", "", "Ask again later."),
    _condition(28, "gpu-not-found", "GPU_NOT_FOUND", "No GPU was found for what was asked."),
    _condition(29, "invalid-state", "INVALID_STATE", "The GPU is not in a state that allows this."),
    _condition(
        30, "reset-type-not-supported", "RESET_TYPE_NOT_SUPPORTED", "The GPU does not offer this kind of reset."
    ),
    _condition(
        999,
        "unknown",
        "UNKNOWN",
        "An internal error of the driver.",
        "In a container that worked before: its device cgroup was rewritten, as by `systemctl daemon-reload`. On a "
        "node: the driver is in a bad state.",
        _REPORT,
    ),
    Condition(
        "library-unloadable",
        None,
        None,
        "The library is there but cannot be loaded.",
        "It is of another architecture, damaged, or lacks a library it needs.",
        "Reinstall the driver's user-space libraries (role nvidia_driver).",
    ),
    Condition(
        "timed-out",
        None,
        None,
        "NVML did not answer in time, as on a GPU in an error state.",
        "A GPU hangs; or, without persistence mode, many GPUs are initialised anew at each call.",
        f"{_REPORT} Where nothing is logged, allow more time in `timeout_seconds` and enable nvidia-persistenced.",
    ),
    Condition(
        "probe-died",
        None,
        None,
        "The process that asked NVML died before it had all answers.",
        "The library crashed, or the kernel killed it for want of memory.",
        "Reinstall the driver if it happens again: library and kernel module may not belong together.",
    ),
    Condition(
        "no-devices",
        None,
        None,
        "The driver is loaded, but it drives no GPU.",
        "The GPU failed to initialise, needs the other flavour of the kernel module, is bound to vfio-pci or nouveau, "
        "or is not in this machine.",
        "`dmesg | grep NVRM` names the reason (RmInitAdapter failed, or `requires use of the NVIDIA open kernel "
        "modules`).",
    ),
)
BY_CODE: dict[int, Condition] = {item.code: item for item in CONDITIONS if item.code is not None}
BY_ID: dict[str, Condition] = {item.id: item for item in CONDITIONS}

# A GPU that answers any call with one of these is itself in that condition, the gravest first; so is one that does not
# tell who it is, whatever the reason.
GRAVE = (15, 16, 14, 11, 8)
IDENTITY = ("name", "uuid", "pci_bus_id")
LOST = 15
UNSUPPORTED, NOT_FOUND, INSUFFICIENT_SIZE, FUNCTION_NOT_FOUND, INVALID = 3, 6, 7, 13, 2


def condition_of(code: int) -> Condition:
    """The condition of a return code; one that is not in the table is unknown, under its own number."""
    known = BY_CODE.get(code)
    if known:
        return known
    return Condition(
        "unknown", code, None, f"NVML returned {code}, which this collection does not know.", "", BY_CODE[999].mend
    )


class NvmlError(Exception):
    """A call that NVML did not answer with success."""

    def __init__(self, code: int, call: str) -> None:
        self.code = code
        self.call = call
        self.condition = condition_of(code)
        super().__init__(f"{self.condition.id}: {self.condition.meaning} ({call} returned {code})")


# ---- NVML's structures, to the byte ------------------------------------------------------------------------------


class PciInfo(ctypes.Structure):
    _fields_ = (
        ("bus_id_legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("device_id", ctypes.c_uint),
        ("subsystem_id", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    )


class Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class MemoryV2(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint),
        ("total", ctypes.c_ulonglong),
        ("reserved", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class Temperature(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint), ("sensor", ctypes.c_uint), ("celsius", ctypes.c_int))


class Utilisation(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class Process(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_uint),
        ("memory", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class Attributes(ctypes.Structure):
    _fields_ = (
        ("multiprocessors", ctypes.c_uint),
        ("copy_engines", ctypes.c_uint),
        ("decoders", ctypes.c_uint),
        ("encoders", ctypes.c_uint),
        ("jpegs", ctypes.c_uint),
        ("ofas", ctypes.c_uint),
        ("gpu_slices", ctypes.c_uint),
        ("compute_slices", ctypes.c_uint),
        ("memory_mib", ctypes.c_ulonglong),
    )


class FabricV2(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint),
        ("cluster", ctypes.c_ubyte * 16),
        ("status", ctypes.c_uint),
        ("clique", ctypes.c_uint),
        ("state", ctypes.c_ubyte),
        ("health", ctypes.c_uint),
    )


class Value(ctypes.Union):
    _fields_ = (
        ("d", ctypes.c_double),
        ("ui", ctypes.c_uint),
        ("ul", ctypes.c_ulong),
        ("ull", ctypes.c_ulonglong),
        ("sll", ctypes.c_longlong),
        ("si", ctypes.c_int),
        ("us", ctypes.c_ushort),
    )


class FieldValue(ctypes.Structure):
    _fields_ = (
        ("field", ctypes.c_uint),
        ("scope", ctypes.c_uint),
        ("timestamp", ctypes.c_longlong),
        ("latency", ctypes.c_longlong),
        ("type", ctypes.c_uint),
        ("code", ctypes.c_uint),
        ("value", Value),
    )


def version_word(structure: type[ctypes.Structure], version: int) -> int:
    """What NVML wants in the first word of a versioned structure: its size and its version."""
    return ctypes.sizeof(structure) | version << 24


# ---- What NVML's numbers mean ------------------------------------------------------------------------------------

ARCHITECTURES = {
    2: "kepler",
    3: "maxwell",
    4: "pascal",
    5: "volta",
    6: "turing",
    7: "ampere",
    8: "ada",
    9: "hopper",
    10: "blackwell",
    13: "rubin",
}
COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}
FABRIC_STATES = {1: "not_started", 2: "in_progress", 3: "completed"}
RECOVERY_ACTION_FIELD = 230
RECOVERY_ACTIONS = {
    0: "none",
    1: "gpu_reset",
    2: "node_reboot",
    3: "drain_p2p",
    4: "drain_and_reset",
    5: "recover_imex_domain",
    6: "bus_reset",
    7: "system_reboot",
}
CLOCKS_EVENT_REASONS = (
    "gpu_idle",
    "applications_clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "display_clock_setting",
    "board_limit",
    "reliability",
)
MAX_LINKS = 36


def clocks_event_reasons(mask: int) -> list[str]:
    """The names of the bits that are set; ``bit_<n>`` for those that have no name yet."""
    names = []
    for bit in range(64):
        if mask >> bit & 1:
            names.append(CLOCKS_EVENT_REASONS[bit] if bit < len(CLOCKS_EVENT_REASONS) else f"bit_{bit}")
    return names


def mig_profile(name: str) -> str | None:
    """``1g.18gb`` of ``NVIDIA H200 MIG 1g.18gb``."""
    found = re.search(r"\bMIG (\d+[cg]\.\S+)", name)
    return found.group(1) if found else None


# ---- Asking ------------------------------------------------------------------------------------------------------


class Library:
    """The loaded library. ``announce`` hears the name of each call before it is made."""

    def __init__(self, handle: Any, announce: Callable[[str], None] = lambda call: None) -> None:
        self._handle = handle
        self._announce = announce

    def has(self, symbol: str) -> bool:
        return hasattr(self._handle, symbol)

    def call(self, names: str, *arguments: Any) -> str:
        """Make the first of these calls ("newer older") that the library has; which one it was. Raises NvmlError."""
        for name in names.split():
            if not self.has(name):
                continue
            self._announce(name)
            code = getattr(self._handle, name)(*arguments)
            if code == FUNCTION_NOT_FOUND and name != names.split()[-1]:
                continue  # the library has the name, the driver below it not
            if code:
                raise NvmlError(code, name)
            return name
        raise NvmlError(FUNCTION_NOT_FOUND, names.split()[0])

    def text(self, name: str, *arguments: Any, room: int = 96) -> str:
        buffer = ctypes.create_string_buffer(room)
        self.call(name, *arguments, buffer, ctypes.c_uint(room))
        return buffer.value.decode(errors="replace")

    def number(self, names: str, *arguments: Any, kind: Any = ctypes.c_uint) -> int:
        value = kind()
        self.call(names, *arguments, ctypes.byref(value))
        return value.value

    def numbers(self, name: str, count: int, *arguments: Any) -> list[int]:
        values = [ctypes.c_uint() for _each in range(count)]
        self.call(name, *arguments, *map(ctypes.byref, values))
        return [value.value for value in values]


Handle = ctypes.c_void_p
Read = Callable[[Library, Any], Any]


def _pci_bus_id(nvml: Library, device: Handle) -> str:
    info = PciInfo()
    nvml.call("nvmlDeviceGetPciInfo_v3 nvmlDeviceGetPciInfo_v2", device, ctypes.byref(info))
    return f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}.0"


def _compute_capability(nvml: Library, device: Handle) -> str:
    return "{}.{}".format(*nvml.numbers("nvmlDeviceGetCudaComputeCapability", 2, device))


def _memory(nvml: Library, device: Handle) -> dict[str, int | None]:
    newer = MemoryV2(version=version_word(MemoryV2, 2))
    try:
        nvml.call("nvmlDeviceGetMemoryInfo_v2", device, ctypes.byref(newer))
    except NvmlError as error:
        if error.code not in (FUNCTION_NOT_FOUND, 25):
            raise
        older = Memory()  # here `used` holds what is reserved, too
        nvml.call("nvmlDeviceGetMemoryInfo", device, ctypes.byref(older))
        return {"total_bytes": older.total, "used_bytes": older.used, "free_bytes": older.free, "reserved_bytes": None}
    return {
        "total_bytes": newer.total,
        "used_bytes": newer.used,
        "free_bytes": newer.free,
        "reserved_bytes": newer.reserved,
    }


def _temperature(nvml: Library, device: Handle) -> int:
    newer = Temperature(version=version_word(Temperature, 1))
    try:
        nvml.call("nvmlDeviceGetTemperatureV", device, ctypes.byref(newer))
    except NvmlError as error:
        if error.code not in (FUNCTION_NOT_FOUND, 25):
            raise
        return nvml.number("nvmlDeviceGetTemperature", device, ctypes.c_uint(0))
    return newer.celsius


def _utilisation(nvml: Library, device: Handle) -> dict[str, int]:
    rates = Utilisation()
    nvml.call("nvmlDeviceGetUtilizationRates", device, ctypes.byref(rates))
    return {"gpu_percent": rates.gpu, "memory_percent": rates.memory}


def _clock(kind: int) -> Read:
    return lambda nvml, device: nvml.number("nvmlDeviceGetClockInfo", device, ctypes.c_uint(kind))


def _reasons(nvml: Library, device: Handle) -> dict[str, Any]:
    names = "nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetCurrentClocksThrottleReasons"
    mask = nvml.number(names, device, kind=ctypes.c_ulonglong)
    return {"names": clocks_event_reasons(mask), "raw": mask}


def _modes(name: str) -> Read:
    def read(nvml: Library, device: Handle) -> dict[str, bool]:
        current, pending = nvml.numbers(name, 2, device)
        return {"current": bool(current), "pending": bool(pending)}

    return read


def _ecc_errors(kind: int, counter: int) -> Read:
    return lambda nvml, device: nvml.number(
        "nvmlDeviceGetTotalEccErrors", device, ctypes.c_uint(kind), ctypes.c_uint(counter), kind=ctypes.c_ulonglong
    )


def _retired_pages(cause: int) -> Read:
    def read(nvml: Library, device: Handle) -> int:
        count = ctypes.c_uint(0)
        for _attempt in range(4):  # pages may be retired between two calls
            room = count.value
            addresses, times = (ctypes.c_ulonglong * max(room, 1))(), (ctypes.c_ulonglong * max(room, 1))()
            arguments = (device, ctypes.c_uint(cause), ctypes.byref(count), addresses if room else None)
            try:
                if nvml.has("nvmlDeviceGetRetiredPages_v2"):
                    nvml.call("nvmlDeviceGetRetiredPages_v2", *arguments, times if room else None)
                else:
                    nvml.call("nvmlDeviceGetRetiredPages", *arguments)
            except NvmlError as error:
                if error.code != INSUFFICIENT_SIZE or count.value <= room:
                    raise
                continue
            break
        return count.value

    return read


def _remapped_rows(nvml: Library, device: Handle) -> dict[str, Any]:
    corrected, uncorrected, pending, failure = nvml.numbers("nvmlDeviceGetRemappedRows", 4, device)
    return {
        "corrected": corrected,
        "uncorrected": uncorrected,
        "pending": bool(pending),
        "failure": bool(failure),
    }


def _mig_instances(nvml: Library, device: Handle) -> list[dict[str, Any]]:
    current, _pending = nvml.numbers("nvmlDeviceGetMigMode", 2, device)
    if not current:
        return []
    found = []
    for index in range(nvml.number("nvmlDeviceGetMaxMigDeviceCount", device)):
        instance = Handle()
        try:
            nvml.call("nvmlDeviceGetMigDeviceHandleByIndex", device, ctypes.c_uint(index), ctypes.byref(instance))
        except NvmlError as error:
            if error.code in (NOT_FOUND, INVALID):
                continue  # a free place
            raise
        found.append(_fields(nvml, instance, MIG_FIELDS, {"index": index}))
    return found


def _mig_attributes(nvml: Library, instance: Handle) -> dict[str, int]:
    read = Attributes()
    nvml.call("nvmlDeviceGetAttributes_v2 nvmlDeviceGetAttributes", instance, ctypes.byref(read))
    return {
        "gpu_slices": read.gpu_slices,
        "compute_slices": read.compute_slices,
        "multiprocessors": read.multiprocessors,
        "memory_bytes": read.memory_mib * 1024 * 1024,
    }


def _links(nvml: Library, device: Handle) -> dict[str, str]:
    states: dict[str, str] = {}
    refusal = None
    for link in range(MAX_LINKS):
        try:
            active = nvml.number("nvmlDeviceGetNvLinkState", device, ctypes.c_uint(link))
        except NvmlError as error:
            refusal = refusal or error
            if error.code == UNSUPPORTED and states:
                continue  # a link that this board does not wire
            if error.code in (INVALID, UNSUPPORTED):
                break  # past the last link
            raise
        states[str(link)] = "active" if active else "inactive"
    if not states and refusal:
        raise NvmlError(UNSUPPORTED, refusal.call)
    return states


def _fabric(nvml: Library, device: Handle) -> dict[str, Any]:
    # The older call without a version word is left out: its structure was of two sizes.
    info = FabricV2(version=version_word(FabricV2, 2))
    nvml.call("nvmlDeviceGetGpuFabricInfoV", device, ctypes.byref(info))
    if not info.state:
        raise NvmlError(UNSUPPORTED, "nvmlDeviceGetGpuFabricInfoV")
    raw = bytes(info.cluster).hex()
    return {
        "state": FABRIC_STATES.get(info.state, f"state_{info.state}"),
        "status": condition_of(info.status).id,
        "clique_id": info.clique,
        "cluster_uuid": "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:])),
    }


def _recovery_action(nvml: Library, device: Handle) -> str:
    asked = FieldValue(field=RECOVERY_ACTION_FIELD)
    nvml.call("nvmlDeviceGetFieldValues", device, ctypes.c_int(1), ctypes.byref(asked))
    if asked.code:
        raise NvmlError(asked.code, "nvmlDeviceGetFieldValues")
    return RECOVERY_ACTIONS.get(asked.value.ui, f"action_{asked.value.ui}")


def _compute_processes(nvml: Library, device: Handle) -> int:
    names = (
        "nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetComputeRunningProcesses_v2 "
        "nvmlDeviceGetComputeRunningProcesses"
    )
    count = ctypes.c_uint(0)
    for _attempt in range(4):  # processes come and go between two calls
        room = count.value
        buffer = (Process * max(room, 1))()
        try:
            nvml.call(names, device, ctypes.byref(count), buffer if room else None)
            break
        except NvmlError as error:
            if error.code != INSUFFICIENT_SIZE:
                raise
            count.value = count.value * 2 + 5
    return count.value


def _watts(name: str) -> Read:
    return lambda nvml, device: round(nvml.number(name, device) / 1000, 3)


def _plain(name: str) -> Read:
    return lambda nvml, device: nvml.number(name, device)


def _named(name: str, table: dict[int, str], other: str) -> Read:
    def read(nvml: Library, device: Handle) -> str:
        number = nvml.number(name, device)
        return table.get(number, other.format(number))

    return read


# Field of the answer (dotted where it is a part of one) -> how it is read. The order is the order of the answer.
DEVICE_FIELDS: tuple[tuple[str, Read], ...] = (
    ("name", lambda nvml, device: nvml.text("nvmlDeviceGetName", device)),
    ("uuid", lambda nvml, device: nvml.text("nvmlDeviceGetUUID", device)),
    ("serial", lambda nvml, device: nvml.text("nvmlDeviceGetSerial", device, room=64)),
    ("pci_bus_id", _pci_bus_id),
    ("minor_number", _plain("nvmlDeviceGetMinorNumber")),
    ("architecture", _named("nvmlDeviceGetArchitecture", ARCHITECTURES, "architecture_{}")),
    ("compute_capability", _compute_capability),
    ("memory", _memory),
    ("temperature_celsius", _temperature),
    ("power_draw_watts", _watts("nvmlDeviceGetPowerUsage")),
    ("power_limit_watts", _watts("nvmlDeviceGetEnforcedPowerLimit")),
    ("utilisation", _utilisation),
    ("clocks.sm_mhz", _clock(1)),
    ("clocks.memory_mhz", _clock(2)),
    ("clocks_event_reasons", _reasons),
    ("ecc.mode", _modes("nvmlDeviceGetEccMode")),
    ("ecc.volatile.corrected", _ecc_errors(0, 0)),
    ("ecc.volatile.uncorrected", _ecc_errors(1, 0)),
    ("ecc.aggregate.corrected", _ecc_errors(0, 1)),
    ("ecc.aggregate.uncorrected", _ecc_errors(1, 1)),
    ("retired_pages.single_bit", _retired_pages(0)),
    ("retired_pages.double_bit", _retired_pages(1)),
    (
        "retired_pages.pending",
        lambda nvml, device: bool(nvml.number("nvmlDeviceGetRetiredPagesPendingStatus", device)),
    ),
    ("remapped_rows", _remapped_rows),
    ("mig.mode", _modes("nvmlDeviceGetMigMode")),
    ("mig.instances", _mig_instances),
    ("persistence_mode", lambda nvml, device: bool(nvml.number("nvmlDeviceGetPersistenceMode", device))),
    ("compute_mode", _named("nvmlDeviceGetComputeMode", COMPUTE_MODES, "mode_{}")),
    ("compute_processes", _compute_processes),
    ("nvlinks", _links),
    ("fabric", _fabric),
    ("recovery_action", _recovery_action),
)
MIG_FIELDS: tuple[tuple[str, Read], ...] = (
    ("uuid", lambda nvml, device: nvml.text("nvmlDeviceGetUUID", device)),
    ("name", lambda nvml, device: nvml.text("nvmlDeviceGetName", device)),
    ("profile", lambda nvml, device: mig_profile(nvml.text("nvmlDeviceGetName", device))),
    ("gpu_instance_id", _plain("nvmlDeviceGetGpuInstanceId")),
    ("compute_instance_id", _plain("nvmlDeviceGetComputeInstanceId")),
    ("attributes", _mig_attributes),
)


def _put(into: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        into = into.setdefault(parent, {})
    into[last] = value


def _fold(values: dict[str, Any], unsupported: dict[str, str], path: str = "") -> None:
    """A group of which the GPU offers no part is None itself, with one reason."""
    for key, value in list(values.items()):
        here = f"{path}{key}"
        if not isinstance(value, dict) or here in unsupported:
            continue
        _fold(value, unsupported, f"{here}.")
        reasons = [unsupported.get(f"{here}.{part}") for part in value]
        if value and all(reasons):
            for part in value:
                del unsupported[f"{here}.{part}"]
            unsupported[here] = str(reasons[0])
            values[key] = None


def _fields(
    nvml: Library,
    handle: Any,
    fields: tuple[tuple[str, Read], ...],
    into: dict[str, Any],
    lost: NvmlError | None = None,
    tell: Callable[[str, Any], None] = lambda path, value: None,
) -> dict[str, Any]:
    """Every field of a device, None where it is not offered; its own condition; why what is None is None."""
    unsupported: dict[str, str] = {}
    refusals: dict[int, NvmlError] = {lost.code: lost} if lost else {}
    grave = lost
    for path, read in fields:
        value = None
        try:
            if lost:
                raise lost
            value = read(nvml, handle)
        except NvmlError as error:
            refusals.setdefault(error.code, error)
            unsupported[path] = str(error)
            if path in IDENTITY and not grave:
                grave = error
            if error.code == LOST:
                lost = error  # it answers nothing more, and each answer may take seconds
        _put(into, path, value)
        tell(path, value)
    _fold(into, unsupported)
    grave = next((refusals[code] for code in GRAVE if code in refusals), grave)
    into["condition"] = grave.condition.id if grave else "ok"
    into["meaning"] = str(grave) if grave else ""
    into["unsupported"] = unsupported
    return into


def _device(nvml: Library, index: int, tell: Callable[[str, Any], None]) -> dict[str, Any]:
    handle = Handle()
    refusal = None
    try:
        nvml.call(
            "nvmlDeviceGetHandleByIndex_v2 nvmlDeviceGetHandleByIndex", ctypes.c_uint(index), ctypes.byref(handle)
        )
    except NvmlError as error:
        refusal = error
    return _fields(nvml, handle, DEVICE_FIELDS, {"index": index}, refusal, tell)


def _sentence(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _said(condition: Condition, detail: str = "") -> dict[str, Any]:
    return {
        "condition": condition.id,
        "code": condition.code,
        "meaning": _sentence(condition.meaning, detail),
        "cause": condition.cause,
        "mend": condition.mend,
    }


def ask(nvml: Library, tell: Callable[[str, Any], None] = lambda path, value: None) -> Iterator[dict[str, Any]]:
    """What NVML says, piece by piece: parts of the answer, then one ``{"device": ...}`` for each GPU. ``tell`` hears
    each field of a GPU as soon as it is read."""
    yield {"simulated": nvml.has("gpunode_simulated")}
    try:
        if nvml.has("nvmlInitWithFlags"):
            nvml.call("nvmlInitWithFlags", ctypes.c_uint(1))  # 1: a driver without a GPU is no failure
        else:
            nvml.call("nvmlInit_v2 nvmlInit")
        yield _said(BY_ID["ok"])
        for field, read in (
            ("driver_version", lambda: nvml.text("nvmlSystemGetDriverVersion", room=80)),
            ("nvml_version", lambda: nvml.text("nvmlSystemGetNVMLVersion", room=80)),
            (
                "cuda_version",
                lambda: nvml.number(
                    "nvmlSystemGetCudaDriverVersion_v2 nvmlSystemGetCudaDriverVersion", kind=ctypes.c_int
                ),
            ),
        ):
            try:
                value = read()
            except NvmlError as error:
                yield {"unsupported": {field: str(error)}}
                continue
            yield {field: f"{value // 1000}.{value % 1000 // 10}" if isinstance(value, int) else value}
        count = nvml.number("nvmlDeviceGetCount_v2 nvmlDeviceGetCount")
    except NvmlError as error:
        yield _said(error.condition, f"({error.call} returned {error.code})")
        return
    yield {"device_count": count}
    if not count:
        yield _said(BY_ID["no-devices"])
    for index in range(count):
        yield {"device": _device(nvml, index, tell)}


# ---- The child process, and what it leaves behind ----------------------------------------------------------------


def _child(library: str, pipe: int) -> None:
    """Ask, and write each piece as a line of JSON, and before each call its name: the last line tells where it hung."""

    def send(piece: dict[str, Any]) -> None:
        line = json.dumps(piece).encode() + b"\n"
        while line:
            line = line[os.write(pipe, line) :]

    try:
        handle = ctypes.CDLL(library)
    except OSError as error:
        send({**_said(BY_ID["library-unloadable"], f"({error})"), "done": True})
        return
    nvml = Library(handle, lambda call: send({"call": call}))
    if not (nvml.has("nvmlInit_v2") or nvml.has("nvmlInit")):
        send({**_said(BY_ID["library-unloadable"], "(It has no nvmlInit: it is no NVML.)"), "done": True})
        return
    try:
        for piece in ask(nvml, lambda path, value: send({"read": [path, value]})):
            send(piece)
    except Exception as error:  # of this file's own: it must be told, the caller cannot see it
        send({**_said(BY_ID["probe-died"], f"({type(error).__name__}: {error})"), "done": True})
    send({"done": True})


def _isolate(pipe: int, parent: int) -> None:
    """Let nothing of the caller's hang on this process: it may never end. It dies with its parent."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != pipe:
            with contextlib.suppress(OSError):
                os.close(int(name))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died before that was said
        os._exit(0)


def _reap(pid: int, seconds: float) -> int | None:
    """The wait status of a child that ends; None where even killing does not end it (it hangs in the kernel)."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            done, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return 0
        if done:
            return status
        if time.monotonic() > deadline:
            return None
        select.select([], [], [], 0.01)


def _blank(library: str | None) -> dict[str, Any]:
    return {
        "condition": "library-not-found",
        "code": 12,
        "meaning": "",
        "cause": "",
        "mend": "",
        "library": library,
        "simulated": False,
        "driver_version": None,
        "nvml_version": None,
        "cuda_version": None,
        "device_count": None,
        "devices": [],
        "unsupported": {},
    }


def probe(library: str | None, timeout_seconds: float = TIMEOUT_SECONDS) -> dict[str, Any]:
    """What NVML says, asked in a child process that has ``timeout_seconds`` for all of it. Never raises for what NVML
    does: hanging and crashing are conditions, too."""
    answer = _blank(library)
    if library is None:
        answer.update(_said(BY_ID["library-not-found"]))
        return answer
    reader, writer = os.pipe()
    caller = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:  # out of memory, or of processes
        os.close(reader)
        os.close(writer)
        answer.update(_said(BY_ID["probe-died"], f"(It could not even be started: {error.strerror}.)"))
        return answer
    if not pid:
        try:
            _isolate(writer, caller)
            _child(library, writer)
        finally:
            os._exit(0)
    os.close(writer)
    deadline = time.monotonic() + timeout_seconds
    text = b""
    finished = False
    try:
        while not finished:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([reader], [], [], left)[0]:
                break
            chunk = os.read(reader, 65536)
            finished = not chunk
            text += chunk
    finally:
        os.close(reader)
        if not finished:
            os.kill(pid, signal.SIGKILL)
        status = _reap(pid, 2.0)
    return _assemble(answer, text, finished, status, timeout_seconds)


def _assemble(
    answer: dict[str, Any], text: bytes, finished: bool, status: int | None, timeout_seconds: float
) -> dict[str, Any]:
    """The answer, of the lines that the child wrote until it ended or was ended."""
    call, done = "", False
    partial: dict[str, Any] = {}
    for line in text.split(b"\n")[:-1]:
        piece = json.loads(line)
        done = piece.pop("done", done)
        if "call" in piece:
            call = piece["call"]
        elif "read" in piece:
            _put(partial, *piece["read"])
        elif "device" in piece:
            answer["devices"].append(piece["device"])
            partial = {}
        elif "unsupported" in piece:
            answer["unsupported"].update(piece["unsupported"])
        else:
            answer.update(piece)
    if done:
        return answer

    condition = BY_ID["probe-died" if finished else "timed-out"]
    where = f"in {call}" if call else "while the library was loaded"
    stuck = len(answer["devices"])
    if answer["device_count"] is not None and stuck < answer["device_count"]:
        named = partial.get("pci_bus_id") or partial.get("uuid")
        where += f" on GPU {stuck}" + (f" ({named})" if named else "")
        meaning = f"{condition.meaning} The last call was {call}."
        answer["devices"].append(
            {**blank_device(), **partial, "index": stuck, "condition": condition.id, "meaning": meaning}
        )
    if not finished:
        detail = f"It hung {where}; {timeout_seconds:g} s were allowed."
        if status is None:
            detail += " Even killing the asking process did not end it: only a reboot will."
    else:
        how = f"by signal {os.WTERMSIG(status)}" if status is not None and os.WIFSIGNALED(status) else "early"
        detail = f"It ended {how} {where}."
    answer.update(_said(condition, detail))
    return answer


def blank_device() -> dict[str, Any]:
    """A device of which nothing is known: every field None."""
    blank: dict[str, Any] = {"index": 0}
    for path, _read in DEVICE_FIELDS:
        blank[path.split(".")[0]] = None
    return {**blank, "condition": "unknown", "meaning": "", "unsupported": {}}


# ---- Where the library lies --------------------------------------------------------------------------------------

MACHINES = {"x86_64": 62, "aarch64": 183, "ppc64le": 21}


def fits(host: Host, path: str, machine: str) -> bool:
    """Whether a file is a library for this processor: a 32-bit one often lies beside it."""
    try:
        with open(host.path(path), "rb") as file:
            head = file.read(20)
    except OSError:
        return False
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return False
    order = "<" if head[5] == 1 else ">"
    wanted = MACHINES.get(machine)
    return head[4] == 2 and (wanted is None or struct.unpack(f"{order}H", head[18:20])[0] == wanted)


def cached_libraries(cache: bytes, soname: str = SONAME) -> list[str]:
    """Where the loader's cache (/etc/ld.so.cache) says that a library lies. Empty for what is no such cache."""
    start = cache.find(b"glibc-ld.so.cache1.1")
    if start < 0 or len(cache) < start + 48:
        return []
    body = cache[start:]
    (count,) = struct.unpack_from("<I", body, 20)
    wanted, found = soname.encode(), []
    for entry in range(min(count, (len(body) - 48) // 24)):
        _flags, key, value = struct.unpack_from("<iII", body, 48 + 24 * entry)
        if body[key : key + len(wanted) + 1] == wanted + b"\0":
            end = body.find(b"\0", value)
            found.append(body[value : end if end >= 0 else None].decode(errors="replace"))
    return found


def find_library(host: Host, given: str | None = None) -> str | None:
    """The path of NVML's library: the one given (a file, or the folder that holds it), else the loader's, else the
    first in the folders where drivers put it. None where there is none for this processor."""
    machine = os.uname().machine
    if given:
        path = f"{given.rstrip('/')}/{SONAME}" if host.is_dir(given) else given
        return path if host.exists(path) else None
    try:
        with open(host.path("/etc/ld.so.cache"), "rb") as file:
            cached = cached_libraries(file.read())
    except OSError:
        cached = []
    placed = (path for folder in FOLDERS for path in host.glob(f"{folder}/{SONAME}"))
    for path in (*cached, *placed):
        if path.startswith("/") and fits(host, path, machine):
            return path
    return None


def library_version(host: Host, path: str | None) -> str | None:
    """The driver version in the library's file name: 580.159.04 of libnvidia-ml.so.580.159.04."""
    name = path or ""
    for _step in range(8):  # libnvidia-ml.so.1 -> /etc/alternatives/... -> libnvidia-ml.so.580.159.04
        found = re.search(r"libnvidia-ml\.so\.(\d+\.\d+(?:\.\d+)?)$", name)
        if found:
            return found.group(1)
        target = host.readlink(name) if name else None
        if target is None:
            return None
        name = target if target.startswith("/") else os.path.normpath(os.path.join(os.path.dirname(name), target))
    return None


# One of these is there wherever NVML can work: on a plain host, in a sandbox, under WSL, on Jetson.
SIGNS_OF_A_DRIVER = (
    "/sys/module/nvidia",
    "/proc/driver/nvidia/version",
    "/dev/nvidiactl",
    "/dev/dxg",
    "/dev/nvhost-ctrl",
    "/dev/nvgpu",
)


def _not_loaded(host: Host, library: str) -> dict[str, Any]:
    """The answer where there is no driver to ask. NVML would load the module, and whoever looks changes nothing."""
    try:
        with open(host.path(library), "rb") as file:
            simulated = b"gpunode_simulated" in file.read()
    except OSError:
        simulated = False
    detail = f"(None of {', '.join(SIGNS_OF_A_DRIVER)} exists; {library} was not asked.)"
    return {**_blank(library), **_said(BY_CODE[9], detail), "simulated": simulated}


def look(host: Host, given: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> dict[str, Any]:
    """Find the library, ask it, and say what the node's files know of the condition.

    A library that was given is asked in any case. Else it is asked only where a driver is loaded: initialising NVML
    loads the module, where nvidia-modprobe is installed.
    """
    library = find_library(host, given)
    if library and not given and not any(map(host.exists, SIGNS_OF_A_DRIVER)):
        return _not_loaded(host, library)
    answer = probe(None if library is None else host.path(library), timeout_seconds)
    answer["library"] = library
    if answer["condition"] == "library-not-found" and library is None:
        places = f"{given} does not exist." if given else f"Looked in the loader's cache and in {', '.join(FOLDERS)}."
        answer["meaning"] = _sentence(answer["meaning"], places)
    elif answer["condition"] == "version-mismatch":
        answer["meaning"] = _sentence(
            answer["meaning"],
            f"Library: {library_version(host, library) or 'unknown'} ({library});",
            f"loaded module: {loaded_version(host) or 'unknown'} (/sys/module/nvidia/version).",
        )
    return answer
