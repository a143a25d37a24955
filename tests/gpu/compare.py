#!/usr/bin/env python3
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On a machine with a real GPU: our own answers beside nvidia-smi's and nvidia-ml-py's, field by field.

It changes nothing on the machine. It needs python3 and the driver only; nvidia-ml-py is asked where it is there.
Prints a table, exits 1 where a field differs, and leaves in the folder given (or $OUT): the facts, the table, and what
the machine said, with serial numbers and UUIDs replaced, in the form that the unit tests read.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))
sys.dont_write_bytecode = True

from ansible_collections.gpunode.ready.plugins.module_utils.facts import accelerator
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host

MIB = 1024 * 1024
NOTHING = ("[N/A]", "N/A", "[Not Supported]", "[GPU requires reset]", "")


def look_up(values: Any, path: str) -> Any:
    """The value at a dotted path; None where any step is missing."""
    for step in path.split("."):
        values = values.get(step) if isinstance(values, dict) else None
    return values


def run(*argv: str) -> str:
    """What a command prints; its message where it fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{argv[0]}: {error}"
    return done.stdout if done.returncode == 0 else f"{done.stdout}{done.stderr}[exit {done.returncode}]"


# ---- nvidia-smi's answers ----------------------------------------------------------------------------------------


def enabled(text: str) -> bool:
    return text in ("Enabled", "Yes", "Active", "1")


def bus_id(text: str) -> str:
    domain, bus, rest = text.lower().split(":")
    return f"{int(domain, 16):04x}:{bus}:{rest}"


def snake(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


# nvidia-smi's field -> our field, how its text becomes our value, how far the two may lie apart (read at two times)
Field = tuple[str, str, Callable[[str], Any], float]
FIELDS: tuple[Field, ...] = (
    ("index", "index", int, 0),
    ("name", "name", str, 0),
    ("uuid", "uuid", str, 0),
    ("serial", "serial", str, 0),
    ("pci.bus_id", "pci_bus_id", bus_id, 0),
    ("compute_cap", "compute_capability", str, 0),
    ("memory.total", "memory.total_bytes", lambda text: int(text) * MIB, MIB),
    ("memory.used", "memory.used_bytes", lambda text: int(text) * MIB, 8 * MIB),
    ("memory.free", "memory.free_bytes", lambda text: int(text) * MIB, 8 * MIB),
    ("memory.reserved", "memory.reserved_bytes", lambda text: int(text) * MIB, 8 * MIB),
    ("temperature.gpu", "temperature_celsius", int, 4),
    ("power.draw", "power_draw_watts", float, 40),
    ("enforced.power.limit", "power_limit_watts", float, 0.01),
    ("utilization.gpu", "utilisation.gpu_percent", int, 100),
    ("utilization.memory", "utilisation.memory_percent", int, 100),
    ("clocks.sm", "clocks.sm_mhz", int, 2000),
    ("clocks.mem", "clocks.memory_mhz", int, 3000),
    ("clocks_event_reasons.active", "clocks_event_reasons.raw", lambda text: int(text, 16), 1),
    ("ecc.mode.current", "ecc.mode.current", enabled, 0),
    ("ecc.mode.pending", "ecc.mode.pending", enabled, 0),
    ("ecc.errors.corrected.volatile.total", "ecc.volatile.corrected", int, 0),
    ("ecc.errors.uncorrected.volatile.total", "ecc.volatile.uncorrected", int, 0),
    ("ecc.errors.corrected.aggregate.total", "ecc.aggregate.corrected", int, 0),
    ("ecc.errors.uncorrected.aggregate.total", "ecc.aggregate.uncorrected", int, 0),
    ("retired_pages.single_bit_ecc.count", "retired_pages.single_bit", int, 0),
    ("retired_pages.double_bit.count", "retired_pages.double_bit", int, 0),
    ("retired_pages.pending", "retired_pages.pending", enabled, 0),
    ("mig.mode.current", "mig.mode.current", enabled, 0),
    ("mig.mode.pending", "mig.mode.pending", enabled, 0),
    ("persistence_mode", "persistence_mode", enabled, 0),
    ("compute_mode", "compute_mode", snake, 0),
    ("fabric.state", "fabric.state", snake, 0),
    ("fabric.status", "fabric.status", lambda text: "ok" if text == "Success" else snake(text), 0),
    ("gpu_recovery_action", "recovery_action", snake, 0),
)
# The XML's element -> our field, likewise.
XML_FIELDS: tuple[Field, ...] = (
    ("product_architecture", "architecture", lambda text: text.lower().replace("ada lovelace", "ada"), 0),
    ("minor_number", "minor_number", int, 0),
    ("remapped_rows/remapped_row_corr", "remapped_rows.corrected", int, 0),
    ("remapped_rows/remapped_row_unc", "remapped_rows.uncorrected", int, 0),
    ("remapped_rows/remapped_row_pending", "remapped_rows.pending", enabled, 0),
    ("remapped_rows/remapped_row_failure", "remapped_rows.failure", enabled, 0),
    ("fabric/cliqueId", "fabric.clique_id", int, 0),
    ("fabric/clusterUuid", "fabric.cluster_uuid", str, 0),
)


def query(smi: str) -> tuple[list[dict[str, str]], list[str]]:
    """nvidia-smi's CSV, one dict a GPU; and the fields that this nvidia-smi does not know."""
    wanted = [name for name, *_rest in FIELDS]
    unknown = []
    while True:
        text = run(smi, f"--query-gpu={','.join(wanted)}", "--format=csv,noheader,nounits")
        refused = re.search(r'Field "([^"]+)" is not a valid field', text)
        if not refused:
            break
        wanted.remove(refused.group(1))
        unknown.append(refused.group(1))
    rows = csv.reader(io.StringIO(text), skipinitialspace=True)
    return [dict(zip(wanted, row)) for row in rows if len(row) == len(wanted)], unknown


def links(text: str) -> list[dict[str, str]]:
    """Of ``nvidia-smi nvlink -s``: link -> state, for each GPU."""
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        if line.startswith("GPU "):
            found.append({})
        link = re.match(r"\s+Link (\d+): (.*)$", line)
        if link and found:
            found[-1][link.group(1)] = "inactive" if "inactive" in link.group(2) else "active"
    return found


# ---- Comparing ---------------------------------------------------------------------------------------------------

Row = tuple[str, str, Any, Any, str]


def judge(ours: Any, theirs: Any, tolerance: float) -> str:
    if ours is None and theirs is None:
        return "same (none)"
    if isinstance(ours, bool) or isinstance(theirs, (bool, str)) or ours is None or theirs is None:
        return "same" if ours == theirs else "DIFFERS"
    if ours == theirs:
        return "same"
    return "close" if isinstance(ours, (int, float)) and abs(ours - theirs) <= tolerance else "DIFFERS"


def converted(convert: Callable[[str], Any], text: str | None) -> Any:
    return None if text is None or text.strip() in NOTHING else convert(text.strip())


def beside_smi(facts: dict[str, Any], smi: str, xml: str) -> Iterator[Row]:
    nvml, gpus = facts["nvml"], facts["gpus"]["devices"]
    rows, unknown = query(smi)
    for name in unknown:
        yield ("nvidia-smi", name, "-", "-", "not known to this nvidia-smi")
    yield ("nvidia-smi", "number of GPUs", len(nvml["devices"]), len(rows), judge(len(nvml["devices"]), len(rows), 0))
    tree = ElementTree.fromstring(xml)
    yield _row("nvidia-smi -q -x", "driver_version", nvml["driver_version"], tree.findtext("driver_version"))
    yield _row("nvidia-smi -q -x", "cuda_version", nvml["cuda_version"], tree.findtext("cuda_version"))
    for device, row in zip(nvml["devices"], rows):
        for name, path, convert, tolerance in FIELDS:
            if name in row:
                ours, theirs = look_up(device, path), converted(convert, row[name])
                yield (f"GPU {device['index']}", name, ours, theirs, judge(ours, theirs, tolerance))
    for device, gpu in zip(nvml["devices"], tree.findall("gpu")):
        for name, path, convert, tolerance in XML_FIELDS:
            found = gpu.findtext(name)
            if found is not None:
                ours, theirs = look_up(device, path), converted(convert, found)
                yield (f"GPU {device['index']}", name, ours, theirs, judge(ours, theirs, tolerance))
        processes = gpu.findall("processes/process_info")
        yield _row(f"GPU {device['index']}", "processes", device["compute_processes"], len(processes))
        function = next((item for item in gpus if item["address"] == device["pci_bus_id"]), {})
        theirs = (gpu.findtext("pci/pci_device_id") or "")[:4].lower()
        yield _row(f"GPU {device['index']}", "PCI device id (sysfs)", function.get("device_id"), theirs)
        sub = (gpu.findtext("pci/pci_sub_system_id") or "").lower()
        yield _row(
            f"GPU {device['index']}", "PCI subsystem (sysfs)", function.get("subsystem_id"), f"{sub[4:]}:{sub[:4]}"
        )
        yield _row(f"GPU {device['index']}", "name (PCI table)", f"NVIDIA {function.get('name')}", device["name"])
        yield _row(
            f"GPU {device['index']}", "architecture (PCI table)", function.get("architecture"), device["architecture"]
        )
        node = facts["driver"]["device_nodes"].get(f"/dev/nvidia{device['minor_number']}", {})
        yield _row(f"GPU {device['index']}", "minor of /dev/nvidia<n>", node.get("minor"), device["minor_number"])
    for device, states in zip(nvml["devices"], links(run(smi, "nvlink", "-s"))):
        yield _row(f"GPU {device['index']}", "nvlinks", device["nvlinks"] or {}, states)


def _row(where: str, what: str, ours: Any, theirs: Any) -> Row:
    return (where, what, ours, theirs, judge(ours, theirs, 0) if not isinstance(ours, dict) else _same(ours, theirs))


def _same(ours: Any, theirs: Any) -> str:
    return "same" if ours == theirs else "DIFFERS"


def beside_files(facts: dict[str, Any]) -> Iterator[Row]:
    driver, version = facts["driver"], facts["nvml"]["driver_version"]
    yield _row("driver", "loaded.version", (driver["loaded"] or {}).get("version"), version)
    yield _row("driver", "library.version", (driver["library"] or {}).get("version"), version)
    yield _row("driver", "library.path", (driver["library"] or {}).get("path"), facts["nvml"]["library"])
    yield _row("gpus", "number on the bus", len(facts["gpus"]["devices"]), len(facts["nvml"]["devices"]))
    bound = {item["driver"] for item in facts["gpus"]["devices"]}
    yield _row("gpus", "driver bound", ",".join(map(str, sorted(bound, key=str))), "nvidia")


def beside_pynvml(facts: dict[str, Any]) -> Iterator[Row]:
    try:
        import pynvml
    except ImportError:
        yield ("nvidia-ml-py", "-", "-", "-", "not installed")
        return
    pynvml.nvmlInit()
    yield _row("nvidia-ml-py", "nvml_version", facts["nvml"]["nvml_version"], pynvml.nvmlSystemGetNVMLVersion())
    for device in facts["nvml"]["devices"]:
        where = f"GPU {device['index']} (py)"
        handle = pynvml.nvmlDeviceGetHandleByIndex(device["index"])

        def asked(call: Callable[..., Any], *arguments: Any) -> Any:
            try:
                return call(*arguments)
            except pynvml.NVMLError as error:
                return None if error.value in (3, 13) else f"error {error.value}"

        yield _row(where, "uuid", device["uuid"], asked(pynvml.nvmlDeviceGetUUID, handle))
        yield _row(where, "serial", device["serial"], asked(pynvml.nvmlDeviceGetSerial, handle))
        memory = asked(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
        for part in ("total", "reserved", "used", "free"):
            ours = look_up(device, f"memory.{part}_bytes")
            yield (where, f"memory {part}", ours, getattr(memory, part), judge(ours, getattr(memory, part), 8 * MIB))
        rows = asked(pynvml.nvmlDeviceGetRemappedRows, handle)
        ours = device["remapped_rows"] and [int(value) for value in device["remapped_rows"].values()]
        yield (where, "remapped rows", ours, rows and list(rows), _same(ours, rows and list(rows)))
        mig = asked(pynvml.nvmlDeviceGetMigMode, handle)
        ours = look_up(device, "mig.mode")
        theirs = mig and {"current": bool(mig[0]), "pending": bool(mig[1])}
        yield (where, "MIG mode", ours, theirs, _same(ours, theirs))
        field = asked(pynvml.nvmlDeviceGetFieldValues, handle, [230])
        theirs = field[0].value.uiVal if field and not field[0].nvmlReturn else None
        ours = device["recovery_action"]
        yield (where, "recovery action", ours, theirs, _same(ours, {0: "none", None: None}.get(theirs, theirs)))
        fabric = pynvml.c_nvmlGpuFabricInfo_v2_t()
        state = asked(pynvml.nvmlDeviceGetGpuFabricInfoV, handle, pynvml.byref(fabric))
        names = {0: None, 1: "not_started", 2: "in_progress", 3: "completed"}
        theirs = names.get(fabric.state, fabric.state) if state == 0 else None
        yield (
            where,
            "fabric state",
            look_up(device, "fabric.state"),
            theirs,
            _same(look_up(device, "fabric.state"), theirs),
        )
    pynvml.nvmlShutdown()


# ---- Capturing ---------------------------------------------------------------------------------------------------


def disguise(facts: dict[str, Any], xml: str) -> Callable[[str], str]:
    """Replaces what identifies the machine, the same everywhere."""
    replace: dict[str, str] = {}
    for device in facts["nvml"]["devices"]:
        if device["uuid"]:
            replace[device["uuid"]] = f"GPU-51e0a200-0000-4000-8000-{device['index']:012d}"
        if device["serial"]:
            replace[device["serial"]] = f"{1650000000000 + device['index']}"
    for element, made in (("chassis_serial_number", "CHASSIS"), ("guid", "GUID"), ("pdi", "PDI")):
        for number, found in enumerate(re.findall(rf"<{element}>([^<]{{6,}})</{element}>", xml)):
            replace.setdefault(found, f"{made}-{number}")

    def text(given: str) -> str:
        for secret, made in replace.items():
            given = given.replace(secret, made)
        return given

    return text


TREE = (
    "/proc/driver/nvidia/version",
    "/proc/driver/nvidia/params",
    "/proc/driver/nvidia/registry",
    "/proc/driver/nvidia/gpus/*/information",
    "/proc/driver/nvidia/gpus/*/power",
    "/proc/driver/nvidia/capabilities/mig/*",
    "/proc/driver/nvidia-caps/*",
    "/proc/driver/nvidia-nvswitch/*",
    "/proc/devices",
    "/proc/cmdline",
    "/proc/sys/kernel/osrelease",
    "/sys/module/nvidia*/version",
    "/sys/module/nvidia*/refcnt",
    "/sys/module/firmware_class/parameters/path",
    "/etc/modprobe.d/*",
    "/etc/os-release",
    "/etc/ld.so.cache",
)
PCI_FILES = ("vendor", "device", "subsystem_vendor", "subsystem_device", "class", "numa_node", "current_link_width")


def capture_tree(into: Path, facts: dict[str, Any], mask: Callable[[str], str]) -> None:
    """A folder that a ``Host`` can be rooted at."""
    host = Host()
    for pattern in TREE:
        for path in host.glob(pattern):
            if not os.path.isfile(path):
                continue
            target = into / path[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                raw = Path(path).read_bytes()
            except OSError as error:
                raw = f"{error}\n".encode()
            target.write_bytes(raw if path.endswith(".cache") else mask(raw.decode(errors="replace")).encode())
    for address in host.list(accelerator.PCI_DEVICES):
        source = Path(accelerator.PCI_DEVICES) / address
        for name in PCI_FILES:
            with_text = host.text(str(source / name))
            if with_text is not None:
                target = into / str(source)[1:] / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(with_text)
        link = host.readlink(str(source / "driver"))
        if link:
            (into / str(source)[1:] / "driver").symlink_to(link)
    library = facts["nvml"]["library"]
    for path in {library, os.path.realpath(library)} if library else ():
        target = into / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.islink(path):
            target.symlink_to(os.readlink(path))
        else:
            with open(path, "rb") as file:
                target.write_bytes(file.read(64))  # its head only: NVIDIA's library is not ours to keep


def main() -> int:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OUT", "build/gpu"))
    out.mkdir(parents=True, exist_ok=True)
    host = Host()
    facts: dict[str, Any] = {}
    for part, collector in (
        ("gpus", accelerator.pci_functions),
        ("driver", accelerator.driver),
        ("nvml", accelerator.nvml),
    ):
        start = time.monotonic()
        facts[part] = collector(host)
        print(f"{part}: {time.monotonic() - start:.3f} s")
    print(json.dumps({key: value for key, value in facts["nvml"].items() if key != "devices"}, indent=1))
    print(json.dumps(facts["gpus"], indent=1))
    print(json.dumps(facts["driver"], indent=1))
    smi = facts["driver"]["nvidia_smi"] or shutil.which("nvidia-smi")
    if not smi:
        print("nvidia-smi was not found: there is nothing to compare with")
        return 2
    xml = run(smi, "-q", "-x")
    mask = disguise(facts, xml)
    (out / "facts.json").write_text(mask(json.dumps(facts, indent=2)) + "\n")

    rows = [*beside_smi(facts, smi, xml), *beside_files(facts), *beside_pynvml(facts)]
    lines = [
        f"{where:18} {what:42} {ours!s:>42} {theirs!s:>42}  {verdict}" for where, what, ours, theirs, verdict in rows
    ]
    different = [row for row in rows if row[-1] == "DIFFERS"]
    lines.append(f"{len(rows)} compared, {len(different)} differ")
    table = mask("\n".join(lines)) + "\n"
    print(table)
    (out / "comparison.txt").write_text(table)

    raw = out / "raw"
    raw.mkdir(exist_ok=True)
    for name, argv in {
        "nvidia-smi-q-x.xml": (smi, "-q", "-x"),
        "nvidia-smi-L.txt": (smi, "-L"),
        "nvidia-smi.txt": (smi,),
        "nvidia-smi-nvlink-s.txt": (smi, "nvlink", "-s"),
        "nvidia-smi-topo-m.txt": (smi, "topo", "-m"),
        "nvidia-smi-query.csv": (smi, f"--query-gpu={','.join(name for name, *_ in FIELDS)}", "--format=csv"),
        "ldconfig-p.txt": ("ldconfig", "-p"),
        "uname.txt": ("uname", "-a"),
        "dev.txt": ("sh", "-c", "ls -l /dev/nvidia* /dev/nvidia-caps"),
        "mounts.txt": ("sh", "-c", "grep -i nvidia /proc/mounts; ls -l /usr/lib/*nvidia-ml* /usr/local/nvidia/lib64"),
        "date.txt": ("date", "-u", "+%Y-%m-%d"),
    }.items():
        (raw / name).write_text(mask(run(*argv)))
    capture_tree(raw / "root", facts, mask)
    with tarfile.open(out / "raw.tgz", "w:gz") as archive:
        archive.add(raw, arcname="raw")
    shutil.rmtree(raw)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
