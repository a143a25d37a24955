# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts ``gpus``, ``driver`` and ``nvml`` of a node's facts: what is on the bus, what drives it, what it says.

Files first: /sys, /proc, /lib/modules and /var/lib/dkms answer in microseconds what tools take tenths of a second for.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from io import BufferedIOBase
from typing import Any

from .. import nvml as nvml_binding
from .. import pci
from ..driver_version import loaded_version
from ..host import PATH, Host
from ..kernel_settings import MODPROBE_FOLDERS, drop_ins
from ..unit_files import command_line

PCI_DEVICES = "/sys/bus/pci/devices"
DEVICE_NODES = ("/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/nvidia-caps-imex-channels/*")
MODULES = ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nvidia_peermem", "nvidia_fs", "gdrdrv")
BINARIES = f"{PATH}:/usr/local/nvidia/bin:/run/nvidia/driver/usr/bin:/usr/lib/wsl/lib:/run/current-system/sw/bin"
# Where a module may lie in /lib/modules/<kernel>, in depmod's usual order of preference.
MODULE_FOLDERS = (
    "updates/dkms",
    "updates",
    "updates/*",
    "extra",
    "extra/*",
    "weak-updates",
    "weak-updates/*",
    "extramodules",
    "kernel/nvidia*",
    "kernel/drivers/video",
    "kernel/drivers/video/*",
    "misc",
)
MODULE_NAMES = ("nvidia", "nvidia-current", "nvidia-current-open", "nvidia-tesla")


# ---- gpus --------------------------------------------------------------------------------------------------------


def _hex(host: Host, path: str) -> str | None:
    """``2335`` of a file that holds ``0x2335``."""
    line = host.line(path)
    return line[2:].lower() if line and re.fullmatch(r"0x[0-9a-fA-F]+", line) else None


def _function(host: Host, address: str) -> dict[str, Any]:
    at = f"{PCI_DEVICES}/{address}"
    device = _hex(host, f"{at}/device") or "0000"
    maker, board = _hex(host, f"{at}/subsystem_vendor"), _hex(host, f"{at}/subsystem_device")
    subsystem = f"{maker}:{board}" if maker and board else None
    driver = host.readlink(f"{at}/driver")
    node = host.line(f"{at}/numa_node")
    generation = pci.generation(device)
    return {
        "address": address,
        "vendor_id": pci.VENDOR,
        "device_id": device,
        "subsystem_id": subsystem,
        "class_id": _hex(host, f"{at}/class"),
        "architecture": generation.name if generation else None,
        "name": pci.name(device, subsystem) or _name_in_database(host, device, subsystem),
        "driver": os.path.basename(driver) if driver else None,
        "numa_node": int(node) if node and node.isdigit() else None,
    }


def _name_in_database(host: Host, device: str, subsystem: str | None) -> str | None:
    """The name in the distribution's list of PCI ids, where there is one."""
    for path in ("/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"):
        text = host.text(path)
        if text:
            return name_in_pci_ids(text, pci.VENDOR, device, subsystem)
    return None


def name_in_pci_ids(text: str, vendor: str, device: str, subsystem: str | None = None) -> str | None:
    """The name of a device in the text of pci.ids: of the board if it is listed, else of the chip."""
    start = re.search(rf"^{vendor}  .*\n", text, re.MULTILINE)
    if not start:
        return None
    end = re.compile(r"^[0-9a-fA-FC]", re.MULTILINE).search(text, start.end())
    vendors = text[start.end() : end.start() if end else None]
    chip = re.search(rf"^\t{device}  (?P<name>.*)\n(?P<boards>(?:\t\t.*\n)*)", vendors, re.MULTILINE)
    if not chip:
        return None
    if subsystem:
        board = re.search(rf"^\t\t{subsystem.replace(':', ' ')}  (.*)$", chip["boards"], re.MULTILINE)
        if board:
            return board.group(1)
    return chip["name"]


def pci_functions(host: Host) -> dict[str, Any]:
    """NVIDIA's GPUs and NVSwitches on the PCI bus, with what they need of a driver. Needs no driver itself."""
    devices, switches = [], []
    for address in host.list(PCI_DEVICES):
        at = f"{PCI_DEVICES}/{address}"
        class_id = _hex(host, f"{at}/class") or ""
        if _hex(host, f"{at}/vendor") != pci.VENDOR or host.is_link(f"{at}/physfn"):
            continue  # a virtual function is a slice of a GPU for a guest, not a GPU of this host
        if pci.is_gpu(class_id):
            devices.append(_function(host, address))
        elif pci.is_nvswitch(class_id):
            switches.append(_function(host, address))
    oldest, newest = pci.branches(devices)
    return {
        "devices": devices,
        "nvswitches": switches,
        "flavour": pci.required_flavour(devices),
        "oldest_branch": oldest,
        "newest_branch": newest,
    }


# ---- driver ------------------------------------------------------------------------------------------------------


def flavour_of(text: str) -> str | None:
    """open or proprietary, of the text of /proc/driver/nvidia/version; None where it is not that text."""
    found = re.search(r"^NVRM version:(.*)$", text, re.MULTILINE)
    if not found:
        return None
    return "open" if "Open Kernel Module" in found.group(1) else "proprietary"


def flavour_of_licence(licence: str | None) -> str | None:
    """open or proprietary, of what modinfo calls the licence."""
    if not licence:
        return None
    return "open" if "GPL" in licence else "proprietary"


def _loaded(host: Host) -> dict[str, Any] | None:
    if not host.exists("/sys/module/nvidia"):
        return None
    references = host.line("/sys/module/nvidia/refcnt")
    return {
        "version": loaded_version(host),
        "flavour": flavour_of(host.text("/proc/driver/nvidia/version") or ""),
        "refcnt": int(references) if references and references.lstrip("-").isdigit() else None,
    }


def modinfo_fields(text: str) -> dict[str, str]:
    """What ``modinfo`` prints, the first of each field."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        found = re.match(r"([a-z0-9_]+):\s*(.*)$", line)
        if found:
            fields.setdefault(found.group(1), found.group(2).strip())
    return fields


def module_strings(binary: bytes) -> dict[str, str]:
    """The same of a module's own bytes, for nodes without modinfo: the ``key=value`` strings that it holds."""
    fields = {}
    for key in (b"version", b"license"):
        found = re.search(rb"(?:^|\0)" + key + rb"=([ -~]{1,80})\0", binary)
        if found:
            fields[key.decode()] = found.group(1).decode()
    if binary.endswith(b"~Module signature appended~\n"):
        fields["signer"] = "appended"
    return fields


def _module_file(host: Host, kernel: str) -> str | None:
    for folder in MODULE_FOLDERS:
        for module in MODULE_NAMES:
            for path in host.glob(f"/lib/modules/{kernel}/{folder}/{module}.ko*"):
                if re.search(r"\.ko(\.(xz|gz|zst))?$", path):
                    return path
    return None


def _module_bytes(host: Host, path: str) -> bytes:
    """Of what compression the standard library knows; else nothing."""
    openers: dict[str, Callable[..., BufferedIOBase]] = {".xz": lzma.open, ".gz": gzip.open, ".ko": open}
    open_it = openers.get(os.path.splitext(path)[1])
    if not open_it:
        return b""
    try:
        with open_it(host.path(path), "rb") as file:
            return file.read()
    except (OSError, EOFError, lzma.LZMAError):
        return b""


def _installed(host: Host) -> dict[str, Any] | None:
    """The module that ``modprobe nvidia`` would load into the running kernel; None where there is none."""
    kernel = host.line("/proc/sys/kernel/osrelease") or ""
    path = _module_file(host, kernel) if kernel else None
    said = host.run("modinfo", path or "nvidia") if path or host.which("modinfo") else None
    fields = modinfo_fields(said.out) if said and said.ok else {}
    if not fields and path:
        fields = module_strings(_module_bytes(host, path))
    if not fields and not path:
        return None
    return {
        "version": fields.get("version"),
        "flavour": flavour_of_licence(fields.get("license")),
        "path": path or fields.get("filename"),
        "signed": bool(fields.get("signer") or fields.get("sig_id")) if fields else None,
    }


def modprobe_lines(host: Host) -> list[dict[str, Any]]:
    """The lines of modprobe.d that speak of NVIDIA's modules or of nouveau."""
    found = []
    for path in drop_ins(host, MODPROBE_FOLDERS):
        for number, line in enumerate((host.text(path) or "").splitlines(), 1):
            words = line.split()
            if len(words) > 1 and not words[0].startswith("#") and re.match(r"nvidia|nouveau|nova", words[1]):
                found.append({"path": path, "line": number, "text": line.strip()})
    return found


def _nouveau(host: Host, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    never = r"(blacklist\s+nouveau|install\s+nouveau\s+(/usr)?/bin/(true|false))\s*$"
    where = sorted({item["path"] for item in lines if re.match(never, item["text"])})
    for parameter in (host.text("/proc/cmdline") or "").split():
        name, _equals, value = parameter.partition("=")
        if name in ("modprobe.blacklist", "module_blacklist", "rd.driver.blacklist") and "nouveau" in value.split(","):
            where.append("/proc/cmdline")
            break
    kernel = host.line("/proc/sys/kernel/osrelease")
    modules = host.glob(f"/lib/modules/{kernel}/kernel/drivers/gpu/drm/nouveau/nouveau.ko*")
    return {"loaded": host.exists("/sys/module/nouveau"), "available": bool(modules), "blacklisted_in": where}


def dkms_modules(host: Host) -> list[dict[str, Any]]:
    """What DKMS holds of NVIDIA's modules, read from its own tree: ``dkms status`` is a slow shell script."""
    found = []
    for module in host.list("/var/lib/dkms"):
        if not module.startswith("nvidia"):
            continue
        base = f"/var/lib/dkms/{module}"
        installed = {}  # kernel-6.1.0-40-amd64-x86_64 -> 580.95.05/6.1.0-40-amd64/x86_64
        for link in host.list(base):
            target = host.readlink(f"{base}/{link}")
            if link.startswith("kernel-") and target:
                installed[tuple(target.strip("/").split("/")[:3])] = True
        for version in host.list(base):
            if not host.is_link(f"{base}/{version}/source"):
                continue  # no version: the link to an installed one, or a leftover
            log = f"{base}/{version}/build/make.log"
            builds = []
            for kernel in host.list(f"{base}/{version}"):
                for architecture in host.list(f"{base}/{version}/{kernel}") if kernel[:1].isdigit() else ():
                    if not host.is_dir(f"{base}/{version}/{kernel}/{architecture}"):
                        continue
                    state = "installed" if (version, kernel, architecture) in installed else "built"
                    builds.append({"module": module, "version": version, "kernel": kernel, "state": state, "log": None})
            alone = {
                "module": module,
                "version": version,
                "kernel": None,
                "state": "failed" if host.exists(log) else "added",
                "log": log if host.exists(log) else None,
            }
            found.extend(builds or [alone])
    return found


def device_nodes(host: Host, patterns: Iterable[str] = DEVICE_NODES) -> dict[str, dict[str, Any]]:
    """Device nodes by path: numbers and mode."""
    found = {}
    for pattern in patterns:
        for path in host.glob(pattern):
            status = host.stat(path)
            if status and stat.S_ISCHR(status.st_mode):
                found[path] = {
                    "major": os.major(status.st_rdev),
                    "minor": os.minor(status.st_rdev),
                    "mode": f"{stat.S_IMODE(status.st_mode):04o}",
                }
    return found


def _command_line(host: Host, pid_file: str) -> list[str] | None:
    """The arguments of the process that a pid file names; None where it does not run."""
    pid = host.line(pid_file) or ""
    text = host.text(f"/proc/{pid}/cmdline") if pid.isdigit() else None
    return text.rstrip("\0").split("\0") if text else None


def _persistenced(host: Host) -> dict[str, Any]:
    running = _command_line(host, "/run/nvidia-persistenced/nvidia-persistenced.pid")
    configured = running or [word for word, _place in command_line(host, "nvidia-persistenced.service")]
    return {
        "active": running is not None,
        "persistence_mode_flag": "--no-persistence-mode" not in configured if configured else None,
    }


def _fabric_manager(host: Host) -> dict[str, Any]:
    program = host.which("nv-fabricmanager")
    said = host.run(program, "--version") if program else None
    found = re.search(r"(\d+\.\d+(?:\.\d+)?)", said.out) if said and said.ok else None
    pid = _command_line(host, "/run/nvidia-fabricmanager/nv-fabricmanager.pid")
    return {"version": found.group(1) if found else None, "active": pid is not None, "path": program}


def _firmware(host: Host, version: str | None) -> dict[str, Any] | None:
    """The GSP firmware of this very version, without which the open module initialises no GPU."""
    if not version:
        return None
    folders = [f"/lib/firmware/{part}" for part in ("updates", "")]
    chosen = host.line("/sys/module/firmware_class/parameters/path")  # the kernel looks here first
    folders = [f"{folder.rstrip('/')}/nvidia/{version}" for folder in (*([chosen] if chosen else []), *folders)]
    holding = next((folder for folder in folders if host.glob(f"{folder}/gsp*.bin*")), None)
    return {"path": holding or folders[-1], "present": holding is not None}


def driver(host: Host) -> dict[str, Any]:
    """Which driver is loaded, which is installed, and what else decides whether they fit."""
    library = nvml_binding.find_library(host)
    lines = modprobe_lines(host)
    loaded, installed = _loaded(host), _installed(host)
    version = (loaded or {}).get("version") or (installed or {}).get("version")
    return {
        "loaded": loaded,
        "modules": [module for module in MODULES if host.exists(f"/sys/module/{module}")],
        "installed_module": installed,
        "library": {"version": nvml_binding.library_version(host, library), "path": library} if library else None,
        "firmware": _firmware(host, version),
        "nouveau": _nouveau(host, lines),
        "dkms": dkms_modules(host),
        "device_nodes": device_nodes(host),
        "nvidia_smi": host.which("nvidia-smi", BINARIES),
        "persistenced": _persistenced(host),
        "fabric_manager": _fabric_manager(host),
        "modprobe_d": lines,
    }


# ---- nvml --------------------------------------------------------------------------------------------------------


def nvml(host: Host) -> dict[str, Any]:
    """What NVML says: the same as the module ``nvml_info``."""
    return nvml_binding.look(host)
