# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real binding against the simulated library, compiled here, with nvidia-ml-py as its twin."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import nvml
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
SIMULATION = ROOT / "tests/lab/sim/nvml"
CAPTURED = ROOT / "tests/unit/data/nvidia"
VERSION = "580.159.04"
RETURN_CODES = [item for item in nvml.CONDITIONS if item.code]
ELF = {"x86_64": 62, "aarch64": 183, "ppc64le": 21}


def elf_head(bits: int = 64, machine: int | None = None) -> bytes:
    own = ELF.get(os.uname().machine, 62)
    return b"\x7fELF" + bytes([bits // 32, 1]) + bytes(12) + struct.pack("<H", own if machine is None else machine)


def built(folder: Path, *flags: str) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("the simulated library needs a C compiler: apt-get install gcc libc6-dev")
    library = folder / f"libnvidia-ml.so.{VERSION}"
    shape = ["-std=gnu11", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-soname,libnvidia-ml.so.1"]
    says = [f'-DVERSION="{VERSION}"', *flags]
    subprocess.run([compiler, *shape, *says, "-o", str(library), str(SIMULATION / "nvml.c")], check=True)
    (folder / "libnvidia-ml.so.1").symlink_to(library.name)
    return folder / "libnvidia-ml.so.1"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(built(tmp_path_factory.mktemp("nvml")))


@pytest.fixture(scope="session")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(built(tmp_path_factory.mktemp("nvml-old"), "-DOLD"))


@pytest.fixture(autouse=True)
def _no_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GPUNODE_SIM_KERNEL", "any")
    monkeypatch.setenv("GPUNODE_SIM_GPUS", str(tmp_path / "none.json"))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Put GPUs into the simulation: those of a sample file, changed as said."""

    def put(sample: str, change: Callable[[dict[str, Any]], None] = lambda world: None) -> None:
        world = json.loads((SIMULATION / f"samples/{sample}.json").read_text())
        change(world)
        path = tmp_path / "gpus.json"
        path.write_text(json.dumps(world))
        monkeypatch.setenv("GPUNODE_SIM_GPUS", str(path))

    return put


def failing(call: str, code: int, device: int | None = None) -> Callable[[dict[str, Any]], None]:
    def change(world: dict[str, Any]) -> None:
        where = world if device is None else world["devices"][device]
        where.setdefault("failures", {})[call] = code

    return change


# ---- What it answers ---------------------------------------------------------------------------------------------


def test_a_gpu_is_told_in_full(library, gpus):
    gpus("h200")

    answer = nvml.probe(library, 10)

    (device,) = answer["devices"]
    assert (answer["condition"], answer["simulated"], answer["device_count"]) == ("ok", True, 1)
    assert (answer["driver_version"], answer["nvml_version"], answer["cuda_version"]) == (
        VERSION,
        f"13.{VERSION}",
        "13.0",
    )
    assert device["name"] == "NVIDIA H200 (simulated)"
    assert device["architecture"] == "hopper"
    assert device["pci_bus_id"] == "0000:00:05.0"
    assert device["memory"]["total_bytes"] == 150754820096
    assert device["power_draw_watts"] == 76.54
    assert device["clocks_event_reasons"] == {"names": ["gpu_idle"], "raw": 1}
    assert device["ecc"]["mode"] == {"current": True, "pending": True}
    assert device["mig"] == {"mode": {"current": False, "pending": False}, "instances": []}
    assert device["nvlinks"] == {str(link): "active" for link in range(18)}
    assert device["fabric"]["state"] == "completed"
    assert device["recovery_action"] == "none"
    assert device["condition"] == "ok"
    assert set(device["unsupported"]) == {"retired_pages"}


def test_each_gpu_of_a_board_is_told(library, gpus):
    gpus("a16")

    devices = nvml.probe(library, 10)["devices"]

    assert [device["index"] for device in devices] == [0, 1, 2, 3]
    assert len({device["uuid"] for device in devices}) == 4
    assert len({device["serial"] for device in devices}) == 1


def test_what_a_gpu_does_not_offer_is_null_with_the_reason(library, gpus):
    gpus("a16")

    device = nvml.probe(library, 10)["devices"][0]

    assert (device["mig"], device["fabric"], device["nvlinks"]) == (None, None, None)
    assert device["condition"] == "ok"
    for field in ("mig", "fabric", "nvlinks", "retired_pages"):
        assert device["unsupported"][field].startswith("not-supported: ")


def test_every_null_has_a_reason_and_every_reason_a_null(library, gpus):
    gpus("a16", lambda world: world["devices"][0].pop("ecc"))

    device = nvml.probe(library, 10)["devices"][0]

    nulls = {field for field, value in device.items() if value is None}
    assert nulls == set(device["unsupported"])


def test_a_driver_without_a_gpu_is_a_condition_of_its_own(library, gpus):
    gpus("none")

    answer = nvml.probe(library, 10)

    assert (answer["condition"], answer["device_count"], answer["devices"]) == ("no-devices", 0, [])
    assert answer["driver_version"] == VERSION


def test_mig_instances_are_told_with_their_profile(library, gpus):
    def divide(world):
        world["devices"][0]["mig"] = {
            "current": 1,
            "pending": 1,
            "instances": [
                {
                    "name": "NVIDIA H200 MIG 1g.18gb (simulated)",
                    "uuid": "MIG-51e0a200-0000-5000-8000-000000000007",
                    "gpu_instance_id": 7,
                    "compute_instance_id": 0,
                    "gpu_slices": 1,
                    "compute_slices": 1,
                    "multiprocessors": 16,
                    "memory_mib": 16384,
                }
            ],
        }

    gpus("h200", divide)

    (instance,) = nvml.probe(library, 10)["devices"][0]["mig"]["instances"]

    assert instance["profile"] == "1g.18gb"
    assert instance["uuid"] == "MIG-51e0a200-0000-5000-8000-000000000007"
    assert (instance["gpu_instance_id"], instance["compute_instance_id"]) == (7, 0)
    assert instance["attributes"] == {
        "gpu_slices": 1,
        "compute_slices": 1,
        "multiprocessors": 16,
        "memory_bytes": 16384 * 1024 * 1024,
    }


@pytest.mark.parametrize("count", [0, 1, 23])
def test_compute_processes_are_counted(library, gpus, count):
    gpus("h200", lambda world: world["devices"][0].update(processes=[{"pid": pid + 1} for pid in range(count)]))

    assert nvml.probe(library, 10)["devices"][0]["compute_processes"] == count


def test_retired_pages_are_counted_by_cause(library, gpus):
    gpus(
        "a16", lambda world: world["devices"][0].update(retired_pages={"single_bit": 3, "double_bit": 0, "pending": 1})
    )

    pages = nvml.probe(library, 10)["devices"][0]["retired_pages"]

    assert pages == {"single_bit": 3, "double_bit": 0, "pending": True}


def test_an_old_library_leaves_out_what_it_does_not_know(old_library, gpus):
    gpus("h200")

    answer = nvml.probe(old_library, 10)

    device = answer["devices"][0]
    assert answer["condition"] == "ok"
    assert device["temperature_celsius"] == 31
    assert device["clocks_event_reasons"]["names"] == ["gpu_idle"]
    assert device["memory"]["reserved_bytes"] is None
    assert device["memory"]["used_bytes"] == 642973696  # the older call counts what is reserved as used
    assert device["compute_processes"] == 0
    for field in ("architecture", "remapped_rows", "mig", "fabric", "recovery_action"):
        assert device[field] is None
        assert device["unsupported"][field].startswith("function-not-found: ")


# ---- What can go wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", RETURN_CODES, ids=lambda item: item.id)
def test_every_return_code_of_init_is_a_named_condition(library, gpus, condition):
    gpus("h200", failing("nvmlInit_v2", condition.code))

    answer = nvml.probe(library, 10)

    assert (answer["condition"], answer["code"]) == (condition.id, condition.code)
    assert answer["meaning"].startswith(condition.meaning)
    assert answer["devices"] == []


@pytest.mark.parametrize("condition", RETURN_CODES, ids=lambda item: item.id)
def test_every_return_code_of_one_field_leaves_the_others_standing(library, gpus, condition):
    gpus("h200", failing("nvmlDeviceGetPowerUsage", condition.code))

    device = nvml.probe(library, 10)["devices"][0]

    assert device["power_draw_watts"] is None
    assert device["unsupported"]["power_draw_watts"].startswith(f"{condition.id}: ")
    assert device["name"] == "NVIDIA H200 (simulated)"
    assert device["condition"] == (condition.id if condition.code in nvml.GRAVE else "ok")


def test_a_return_code_of_the_future_keeps_its_number(library, gpus):
    gpus("h200", failing("nvmlInit_v2", 77))

    answer = nvml.probe(library, 10)

    assert (answer["condition"], answer["code"]) == ("unknown", 77)
    assert "77" in answer["meaning"]


def test_a_lost_gpu_does_not_hide_its_neighbours(library, gpus):
    gpus("a16", failing("*", 15, device=1))

    devices = nvml.probe(library, 10)["devices"]

    assert [device["condition"] for device in devices] == ["ok", "gpu-is-lost", "ok", "ok"]
    assert devices[1]["uuid"] is None
    assert devices[1]["unsupported"]["uuid"].startswith("gpu-is-lost: ")


def test_a_hanging_gpu_is_named_and_what_was_answered_before_is_kept(library, gpus):
    def hang(world):
        world["devices"][2]["delays"] = {"nvmlDeviceGetPowerUsage": -1}

    gpus("a16", hang)
    start = time.monotonic()

    answer = nvml.probe(library, 0.5)

    assert time.monotonic() - start < 3
    assert answer["condition"] == "timed-out"
    assert "nvmlDeviceGetPowerUsage on GPU 2 (0000:07:00.0)" in answer["meaning"]
    assert answer["device_count"] == 4
    assert [device["condition"] for device in answer["devices"]] == ["ok", "ok", "timed-out"]
    assert answer["devices"][2]["name"] == "NVIDIA A16 (simulated)"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_hanging_init_is_a_time_out(library, gpus):
    gpus("h200", lambda world: world.update(delays={"nvmlInit_v2": -1}))

    answer = nvml.probe(library, 0.3)

    assert answer["condition"] == "timed-out"
    assert "It hung in nvmlInitWithFlags; 0.3 s were allowed." in answer["meaning"]


def test_a_slow_gpu_within_the_time_is_no_fault(library, gpus):
    gpus("h200", lambda world: world.update(delays={"nvmlInit_v2": 200}))

    assert nvml.probe(library, 10)["condition"] == "ok"


def test_a_crash_of_the_library_is_a_condition(library, gpus):
    gpus("a16", failing("nvmlDeviceGetUUID", -signal.SIGSEGV, device=1))

    answer = nvml.probe(library, 10)

    assert answer["condition"] == "probe-died"
    assert f"by signal {int(signal.SIGSEGV)} in nvmlDeviceGetUUID on GPU 1" in answer["meaning"]
    assert [device["condition"] for device in answer["devices"]] == ["ok", "probe-died"]


def test_without_a_library_nothing_is_asked():
    answer = nvml.probe(None)

    assert (answer["condition"], answer["code"], answer["library"]) == ("library-not-found", 12, None)


def test_a_file_that_is_no_library_is_told(tmp_path):
    path = tmp_path / "libnvidia-ml.so.1"
    path.write_text("not a library")

    answer = nvml.probe(str(path), 10)

    assert answer["condition"] == "library-unloadable"
    assert str(path) in answer["meaning"]


def test_a_library_that_is_not_nvml_is_told():
    answer = nvml.probe(ctypes.util.find_library("m") or "libm.so.6", 10)

    assert answer["condition"] == "library-unloadable"
    assert "no nvmlInit" in answer["meaning"]


def test_the_library_is_never_loaded_into_the_caller(library, gpus):
    gpus("h200")

    nvml.probe(library, 10)

    assert "libnvidia-ml" not in Path("/proc/self/maps").read_text()


def test_the_asking_process_dies_with_its_parent(library, gpus):
    gpus("h200", lambda world: world.update(delays={"nvmlInit_v2": -1}))
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'collections')!r})\n"
        "from ansible_collections.gpunode.ready.plugins.module_utils import nvml\n"
        f"nvml.probe({library!r}, 60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    deadline = time.monotonic() + 20

    def alive(pid: int) -> bool:
        state = Path(f"/proc/{pid}/stat")
        return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z"

    def hanging() -> list[int]:
        """The children that have loaded the library: from then on they die with their parent."""
        pids = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        return [pid for pid in pids if "libnvidia-ml" in Path(f"/proc/{pid}/maps").read_text()]

    if not children.exists():
        parent.kill()
        parent.wait()
        pytest.skip("this kernel does not list children in /proc (CONFIG_PROC_CHILDREN)")
    while not hanging() and time.monotonic() < deadline:
        time.sleep(0.01)
    (child,) = hanging()
    parent.kill()
    parent.wait()

    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(child)


# ---- What the node's files add -----------------------------------------------------------------------------------


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> Path:
    """A node's root with the library in it; its kernel is the tree's."""
    root = tmp_path / "root"
    folder = root / "usr/lib/x86_64-linux-gnu"
    folder.mkdir(parents=True)
    shutil.copy(os.path.realpath(library), folder / f"libnvidia-ml.so.{VERSION}")
    (folder / "libnvidia-ml.so.1").symlink_to(f"libnvidia-ml.so.{VERSION}")
    monkeypatch.setenv("GPUNODE_SIM_KERNEL", "look")
    monkeypatch.setenv("GPUNODE_SIM_ROOT", str(root))
    return root


def load(root: Path, version: str) -> None:
    (root / "sys/module/nvidia").mkdir(parents=True)
    (root / "sys/module/nvidia/version").write_text(f"{version}\n")
    (root / "proc/driver/nvidia").mkdir(parents=True)
    (root / "proc/driver/nvidia/version").write_text(
        f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (root@node)\n"
        "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
    )


def test_without_a_driver_nothing_is_asked_for_asking_would_load_it(node, gpus):
    gpus("h200", lambda world: world.update(delays={"*": -1}))

    answer = nvml.look(Host(str(node)), timeout_seconds=10)

    assert (answer["condition"], answer["code"]) == ("driver-not-loaded", 9)
    assert answer["library"] == "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
    assert answer["simulated"] is True


def test_nvml_itself_says_that_the_driver_is_not_loaded(node, gpus):
    gpus("h200")
    (node / "dev").mkdir()
    (node / "dev/nvidiactl").write_text("")  # left behind by a module that was unloaded

    answer = nvml.look(Host(str(node)), timeout_seconds=10)

    assert answer["condition"] == "driver-not-loaded"
    assert "nvmlInitWithFlags returned 9" in answer["meaning"]


def test_a_library_that_was_given_is_asked_in_any_case(library, gpus, tmp_path):
    gpus("h200")
    (tmp_path / "lib").mkdir()
    shutil.copy(os.path.realpath(library), tmp_path / "lib/libnvidia-ml.so.1")

    assert nvml.look(Host(str(tmp_path)), "/lib", 10)["condition"] == "ok"


def test_a_version_mismatch_names_both_versions(node, gpus):
    gpus("h200")
    load(node, "575.57.08")

    answer = nvml.look(Host(str(node)), timeout_seconds=10)

    assert answer["condition"] == "version-mismatch"
    assert VERSION in answer["meaning"]
    assert "575.57.08" in answer["meaning"]


def test_library_and_module_of_one_version_agree(node, gpus):
    gpus("h200")
    load(node, VERSION)

    assert nvml.look(Host(str(node)), timeout_seconds=10)["condition"] == "ok"


def test_a_library_that_was_given_but_is_not_there_is_named(tmp_path):
    answer = nvml.look(Host(str(tmp_path)), "/opt/libnvidia-ml.so.1")

    assert answer["condition"] == "library-not-found"
    assert "/opt/libnvidia-ml.so.1 does not exist" in answer["meaning"]


# ---- Where the library lies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", nvml.FOLDERS)
def test_the_library_is_found_where_systems_put_it(tmp_path, folder):
    place = folder.replace("*-linux-gnu", "x86_64-linux-gnu").replace("*-bottle", "x86_64-bottle").replace("*", "x")
    (tmp_path / place[1:]).mkdir(parents=True)
    (tmp_path / place[1:] / "libnvidia-ml.so.1").write_bytes(elf_head())

    assert nvml.find_library(Host(str(tmp_path))) == f"{place}/libnvidia-ml.so.1"


def test_a_library_for_another_processor_is_passed_over(tmp_path):
    for place, head in (
        ("usr/lib/i386-linux-gnu", elf_head(32, 3)),
        ("usr/lib/riscv64-linux-gnu", elf_head(64, 243)),
        ("usr/lib64", elf_head()),
    ):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "libnvidia-ml.so.1").write_bytes(head)

    assert nvml.find_library(Host(str(tmp_path))) == "/usr/lib64/libnvidia-ml.so.1"


def test_the_library_of_a_real_machine_is_found_in_its_loaders_cache():
    host = Host(str(CAPTURED / "h200-580.159.04/root"))

    path = nvml.find_library(host)

    if os.uname().machine != "x86_64":
        pytest.skip("the captured library is for x86_64")
    assert path == "/usr/local/nvidia/lib64/libnvidia-ml.so.1"
    assert nvml.library_version(host, path) == "580.159.04"


def test_a_folder_may_be_given(tmp_path):
    (tmp_path / "opt/nvidia").mkdir(parents=True)
    (tmp_path / "opt/nvidia/libnvidia-ml.so.1").write_bytes(b"")

    assert nvml.find_library(Host(str(tmp_path)), "/opt/nvidia/") == "/opt/nvidia/libnvidia-ml.so.1"


def test_links_that_go_round_in_a_circle_end(tmp_path):
    (tmp_path / "libnvidia-ml.so.1").symlink_to("/other")
    (tmp_path / "other").symlink_to("/libnvidia-ml.so.1")

    assert nvml.library_version(Host(str(tmp_path)), "/libnvidia-ml.so.1") is None


# ---- NVML's numbers and structures: nvidia-ml-py is the twin -----------------------------------------------------


@pytest.fixture(scope="session")
def pynvml() -> Any:
    return pytest.importorskip("pynvml", reason="the twin is not installed: pip install nvidia-ml-py")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("PciInfo", "nvmlPciInfo_t"),
        ("Memory", "c_nvmlMemory_t"),
        ("MemoryV2", "c_nvmlMemory_v2_t"),
        ("Temperature", "c_nvmlTemperature_v1_t"),
        ("Utilisation", "c_nvmlUtilization_t"),
        ("Process", "c_nvmlProcessInfo_v2_t"),
        ("Attributes", "c_nvmlDeviceAttributes"),
        ("FabricV2", "c_nvmlGpuFabricInfo_v2_t"),
        ("FieldValue", "c_nvmlFieldValue_t"),
    ],
)
def test_structures_are_laid_out_as_nvmls(pynvml, ours, theirs):
    own, twin = getattr(nvml, ours), getattr(pynvml, theirs)

    own_offsets = [getattr(own, field[0]).offset for field in own._fields_]
    twin_offsets = [getattr(twin, field[0]).offset for field in twin._fields_]
    assert ctypes.sizeof(own) == ctypes.sizeof(twin)
    assert own_offsets == twin_offsets


@pytest.mark.parametrize(
    ("structure", "version", "name"),
    [
        ("MemoryV2", 2, "nvmlMemory_v2"),
        ("Temperature", 1, "nvmlTemperature_v1"),
        ("FabricV2", 2, "nvmlGpuFabricInfo_v2"),
    ],
)
def test_version_words_are_nvmls(pynvml, structure, version, name):
    assert nvml.version_word(getattr(nvml, structure), version) == getattr(pynvml, name)


def test_every_return_code_of_nvml_has_its_name(pynvml):
    theirs = {
        value: name for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_") and isinstance(value, int)
    }

    assert {item.code: item.name for item in RETURN_CODES} == theirs


def test_architectures_are_nvmls(pynvml):
    for number, name in nvml.ARCHITECTURES.items():
        assert getattr(pynvml, f"NVML_DEVICE_ARCH_{name.upper()}") == number


TWIN = """
import json, pynvml as n
n.nvmlInit()
answer = {"driver_version": n.nvmlSystemGetDriverVersion(), "nvml_version": n.nvmlSystemGetNVMLVersion(), "devices": []}
for index in range(n.nvmlDeviceGetCount()):
    h = n.nvmlDeviceGetHandleByIndex(index)
    memory = n.nvmlDeviceGetMemoryInfo(h, n.nvmlMemory_v2)
    answer["devices"].append({
        "name": n.nvmlDeviceGetName(h),
        "uuid": n.nvmlDeviceGetUUID(h),
        "serial": n.nvmlDeviceGetSerial(h),
        "minor_number": n.nvmlDeviceGetMinorNumber(h),
        "compute_capability": "%d.%d" % n.nvmlDeviceGetCudaComputeCapability(h),
        "memory": {"total_bytes": memory.total, "used_bytes": memory.used, "free_bytes": memory.free,
                   "reserved_bytes": memory.reserved},
        "temperature_celsius": n.nvmlDeviceGetTemperatureV(h, 0),
        "power_draw_watts": n.nvmlDeviceGetPowerUsage(h) / 1000,
        "power_limit_watts": n.nvmlDeviceGetEnforcedPowerLimit(h) / 1000,
        "clocks": {"sm_mhz": n.nvmlDeviceGetClockInfo(h, 1), "memory_mhz": n.nvmlDeviceGetClockInfo(h, 2)},
        "compute_processes": len(n.nvmlDeviceGetComputeRunningProcesses(h)),
        "pci_bus_id": n.nvmlDeviceGetPciInfo(h).busId.lower()[4:],
    })
print(json.dumps(answer))
"""


@pytest.mark.parametrize("sample", ["h200", "a16", "none"])
def test_nvidia_ml_py_reads_the_same_from_the_same_library(pynvml, library, gpus, sample):
    gpus(sample, lambda world: [device.update(processes=[{"pid": 7}, {"pid": 9}]) for device in world["devices"]])

    ours = nvml.probe(library, 10)
    environment = {**os.environ, "LD_LIBRARY_PATH": os.path.dirname(library)}
    theirs = json.loads(
        subprocess.run([sys.executable, "-c", TWIN], env=environment, capture_output=True, check=True).stdout
    )

    assert {key: ours[key] for key in ("driver_version", "nvml_version")} == {
        key: theirs[key] for key in ("driver_version", "nvml_version")
    }
    assert [{key: own[key] for key in twin} for own, twin in zip(ours["devices"], theirs["devices"])] == theirs[
        "devices"
    ]
    assert len(ours["devices"]) == len(theirs["devices"])


# ---- For every input ---------------------------------------------------------------------------------------------


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_every_bit_of_the_clocks_event_reasons_has_one_name(mask):
    names = nvml.clocks_event_reasons(mask)

    assert len(set(names)) == len(names) == bin(mask).count("1")


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_make_the_cache_reader_raise(body, with_magic):
    nvml.cached_libraries(b"glibc-ld.so.cache1.1" + body if with_magic else body)


PIECES = [
    {"simulated": True},
    {"call": "nvmlInitWithFlags"},
    {"condition": "ok", "code": 0, "meaning": "NVML answers.", "cause": "", "mend": ""},
    {"call": "nvmlSystemGetDriverVersion"},
    {"driver_version": "580.159.04"},
    {"unsupported": {"cuda_version": "function-not-found: ..."}},
    {"device_count": 2},
    {"call": "nvmlDeviceGetName"},
    {"read": ["name", "NVIDIA H200"]},
    {"read": ["ecc.mode", {"current": True, "pending": True}]},
    {"device": {"index": 0, "condition": "ok"}},
    {"call": "nvmlDeviceGetUUID"},
    {"read": ["uuid", "GPU-1"]},
    {"device": {"index": 1, "condition": "ok"}},
    {"done": True},
]
WRITTEN = "".join(json.dumps(piece) + "\n" for piece in PIECES).encode()


@given(st.integers(min_value=0, max_value=len(WRITTEN)), st.booleans(), st.sampled_from([None, 0, 9, 11]))
def test_wherever_the_asking_process_ends_the_answer_is_whole(length, finished, status):
    answer = nvml._assemble(nvml._blank("/lib/libnvidia-ml.so.1"), WRITTEN[:length], finished, status, 1.0)

    assert set(answer) == set(nvml._blank(None))
    assert answer["condition"] in ("ok" if length == len(WRITTEN) else "probe-died" if finished else "timed-out")
    assert [device["index"] for device in answer["devices"]] == list(range(len(answer["devices"])))


@given(st.text())
def test_no_text_makes_the_reader_of_profiles_raise(text):
    nvml.mig_profile(text)


def test_ids_of_conditions_are_unique():
    assert len({item.id for item in nvml.CONDITIONS}) == len(nvml.CONDITIONS)
