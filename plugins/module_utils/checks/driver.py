# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the PCI bus to the loaded NVIDIA module: the right GPUs, the right driver, in force and after the next boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .reading import (
    branch_of,
    comes_at_boot,
    driver_wanted,
    entries,
    gpus,
    is_false,
    is_true,
    listed,
    looked_at,
    mapping,
    names,
    text,
    unit,
    version_key,
)

# Which flavour of the kernel module an architecture takes: docs.nvidia.com, driver installation guide, kernel modules.
ONLY_PROPRIETARY = ("fermi", "kepler", "maxwell", "pascal", "volta")
ONLY_OPEN = ("blackwell", "rubin")

_DRIVER = "nvidia_driver"


def _architecture(device: Mapping[str, Any]) -> str:
    return text(device, "architecture").lower()


def _of(devices: list[Mapping[str, Any]], families: tuple[str, ...]) -> list[str]:
    """The devices whose architecture begins with one of ``families``: ``0000:3b:00.0 NVIDIA V100 (volta)``."""
    return [
        f"{text(item, 'address')} {text(item, 'name') or 'GPU'} ({text(item, 'architecture')})"
        for item in devices
        if _architecture(item).startswith(families)
    ]


def _module(facts: Facts) -> Mapping[str, Any]:
    """The module that the next load brings: the installed one, else the loaded one."""
    return mapping(facts, "driver.installed_module") or mapping(facts, "driver.loaded")


def _pci(facts: Facts) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            f"/sys/bus/pci/devices/{text(item, 'address')}",
            f"{text(item, 'vendor_id')}:{text(item, 'device_id')} {text(item, 'name')}".strip(),
        )
        for item in gpus(facts)
    )


@check(
    "gpu-missing-on-bus",
    layer="driver",
    severity="fatal",
    meaning="This node should have NVIDIA GPUs, but the PCI bus shows none.",
    remedy=Remedy(
        "Nothing that runs on the node can mend this. Check that the board sits in its slot and has power, that the "
        "firmware enables the slot, or that the virtual machine has the device; if the node has no GPU, set "
        "`gpunode_gpu: false` for it.",
        ("lspci -nn -d 10de:",),
    ),
)
def missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    if expect.get("gpu") and looked_at(facts, "gpus.devices") and not gpus(facts):
        # WSL and Tegra show their GPUs in no PCI bus; NVML does.
        if entries(facts, "nvml.devices"):
            return
        yield Match(
            subject="PCI bus",
            cause="No PCI function with vendor 10de and class 0300 or 0302 exists; expected at least one NVIDIA GPU.",
            evidence=(Evidence("/sys/bus/pci/devices", "no NVIDIA display or 3D controller"),),
        )


@check(
    "gpu-count-mismatch",
    layer="driver",
    severity="fatal",
    meaning="The PCI bus shows fewer or more GPUs than this node should have.",
    remedy=Remedy(
        "A GPU that vanished from the bus needs a power cycle, and its board a person who looks; if the number is "
        "right, correct the inventory.",
        ("lspci -nn -d 10de:", "dmesg | grep -iE 'NVRM|pcieport|AER'"),
    ),
    consequence_of=("gpu-missing-on-bus",),
)
def gpu_count(facts: Facts, expect: Expect) -> Iterator[Match]:
    wanted = expect.get("gpu_count")
    if not isinstance(wanted, int) or not expect.get("gpu") or not looked_at(facts, "gpus.devices"):
        return
    if len(gpus(facts)) != wanted:
        yield Match(
            subject="PCI bus",
            cause=f"The PCI bus shows {len(gpus(facts))} NVIDIA GPU(s); expected {wanted}.",
            evidence=_pci(facts) or (Evidence("/sys/bus/pci/devices", "no NVIDIA display or 3D controller"),),
        )


@check(
    "nouveau-conflict",
    layer="driver",
    severity="fatal",
    meaning="The nouveau driver holds the GPU, so the NVIDIA module cannot.",
    remedy=Remedy(
        "Keep nouveau from being loaded, rebuild the initramfs and reboot.",
        (
            "printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' > /etc/modprobe.d/blacklist-nouveau.conf",
            "update-initramfs -u || dracut --force",
            "systemctl reboot",
        ),
        role=_DRIVER,
        tag="nvidia_driver_nouveau",
    ),
)
def nouveau(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect) or not gpus(facts):
        return
    held = [text(item, "address") for item in gpus(facts) if text(item, "driver") == "nouveau"]
    if held or is_true(facts, "driver.nouveau.loaded"):
        listed_in = names(facts, "driver.nouveau.blacklisted_in")
        yield Match(
            subject=listed(held) if held else "nouveau",
            cause=f"nouveau is loaded{f' and drives {listed(held)}' if held else ''}; expected not loaded, because a "
            "GPU has one driver at a time"
            + (f". {listed(listed_in)} forbids it already, so a reboot is all that is missing." if listed_in else "."),
            evidence=(
                Evidence("/sys/module/nouveau", "loaded"),
                *(Evidence(f"/sys/bus/pci/devices/{address}/driver", "nouveau") for address in held),
            ),
        )


@check(
    "nouveau-returns-at-boot",
    layer="driver",
    severity="degraded",
    meaning="Nothing forbids nouveau, so that it may take the GPU at the next boot.",
    remedy=Remedy(
        "Forbid it in /etc/modprobe.d and rebuild the initramfs.",
        (
            "printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' > /etc/modprobe.d/blacklist-nouveau.conf",
            "update-initramfs -u || dracut --force",
        ),
        role=_DRIVER,
        tag="nvidia_driver_nouveau",
    ),
    consequence_of=("nouveau-conflict",),
)
def nouveau_at_boot(facts: Facts, expect: Expect) -> Iterator[Match]:
    if expect.get("driver") != "managed" or not expect.get("gpu") or not gpus(facts):
        return
    nothing = looked_at(facts, "driver.nouveau.blacklisted_in") and not names(facts, "driver.nouveau.blacklisted_in")
    there = not is_false(facts, "driver.nouveau.available")  # some kernels have no nouveau at all
    if nothing and there and is_false(facts, "driver.nouveau.loaded") and _module(facts):
        yield Match(
            subject="nouveau",
            cause="No file of modprobe.d says `blacklist nouveau`, and neither does the kernel command line; expected "
            "one, because whichever module is loaded first at boot keeps the GPU.",
            evidence=(Evidence("/etc/modprobe.d", "no line `blacklist nouveau`"),),
        )


@check(
    "gpu-held-by-other-driver",
    layer="driver",
    severity="degraded",
    meaning="A GPU is bound to a driver other than NVIDIA's, such as vfio-pci, so containers cannot have it.",
    remedy=Remedy(
        "Take it from that driver if containers should have it; if it is passed to a virtual machine on purpose, give "
        "`gpu_count` without it.",
        ("lspci -nnk -d 10de:", "grep -rn vfio /etc/modprobe.d /proc/cmdline"),
    ),
)
def other_driver(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect):
        return
    for item in gpus(facts):
        holder = text(item, "driver")
        if holder and holder not in ("nvidia", "nouveau"):
            yield Match(
                subject=text(item, "address"),
                cause=f"{text(item, 'address')} {text(item, 'name')} is bound to {holder}; expected nvidia.",
                evidence=(Evidence(f"/sys/bus/pci/devices/{text(item, 'address')}/driver", holder),),
            )


@check(
    "driver-not-installed",
    layer="driver",
    severity="fatal",
    meaning="There is a GPU, but no NVIDIA driver: neither module nor library.",
    remedy=Remedy("Install the driver that suits the GPU.", (), role=_DRIVER, tag="nvidia_driver_packages"),
    consequence_of=("apt-broken-package-state", "kernel-headers-missing"),
)
def not_installed(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect) or not gpus(facts) or not looked_at(facts, "driver"):
        return
    if _module(facts) or mapping(facts, "driver.library"):
        return
    preinstalled = expect.get("driver") == "preinstalled"
    oldest = text(facts, "gpus.oldest_branch")
    yield Match(
        subject="NVIDIA driver",
        cause=f"{len(gpus(facts))} NVIDIA GPU(s), but no nvidia module for this kernel and no libnvidia-ml.so.1; "
        f"expected {'the driver that the image brings' if preinstalled else 'an installed driver'}"
        + (f" of branch {oldest} or newer." if oldest else "."),
        evidence=_pci(facts),
        remedy=Remedy(
            "The driver is said to be preinstalled, so nothing is installed for you: bring it with the image, or set "
            "`gpunode_driver: managed`."
        )
        if preinstalled
        else None,
    )


@check(
    "secure-boot-unsigned-module",
    layer="driver",
    severity="fatal",
    meaning="Secure Boot or lockdown refuses the NVIDIA module, because it is not signed with a key that is enrolled.",
    remedy=Remedy(
        "Sign the module with a key that the firmware knows: enrol DKMS's own key and confirm it at the console during "
        "the next boot; or use the distribution's signed modules (Ubuntu: linux-modules-nvidia-*); or turn Secure Boot "
        "off in the firmware.",
        ("mokutil --sb-state", "mokutil --import /var/lib/dkms/mok.pub", "systemctl reboot"),
    ),
)
def secure_boot(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect) or mapping(facts, "driver.loaded"):
        return
    enforced = text(facts, "os.secure_boot") == "enabled" or text(facts, "os.lockdown") in (
        "integrity",
        "confidentiality",
    )
    if enforced and is_false(facts, "driver.installed_module.signed"):
        path = text(facts, "driver.installed_module.path") or "nvidia.ko"
        why = "Secure Boot is on" if text(facts, "os.secure_boot") == "enabled" else "the kernel is locked down"
        yield Match(
            subject=path,
            cause=f"{path} carries no signature and {why}, so the kernel answers `Key was rejected by service`; "
            "expected a module signed with an enrolled key.",
            evidence=(
                Evidence("os.secure_boot", text(facts, "os.secure_boot") or "unknown"),
                Evidence("/sys/kernel/security/lockdown", text(facts, "os.lockdown") or "none"),
            ),
        )


@check(
    "gpu-flavours-conflict",
    layer="driver",
    severity="fatal",
    meaning="One node holds GPUs that need the open module and GPUs that need the proprietary one: no driver runs "
    "both.",
    remedy=Remedy(
        "Move one of the generations to another machine, or leave it out by passing it to a virtual machine."
    ),
)
def flavours_conflict(facts: Facts, expect: Expect) -> Iterator[Match]:
    old, new = _of(gpus(facts), ONLY_PROPRIETARY), _of(gpus(facts), ONLY_OPEN)
    if driver_wanted(expect) and old and new:
        yield Match(
            subject="GPUs",
            cause=f"{listed(old)} need(s) the proprietary module, {listed(new)} the open one; expected GPUs that one "
            "module drives.",
            evidence=_pci(facts),
        )


def _flavour_evidence(facts: Facts) -> tuple[Evidence, ...]:
    module = _module(facts)
    source = text(module, "path") or "/proc/driver/nvidia/version"
    return (Evidence(source, f"{text(module, 'flavour')} module {text(module, 'version')}"),)


@check(
    "open-kernel-module-required",
    layer="driver",
    severity="fatal",
    meaning="The proprietary module is installed for a GPU that only works with the open one.",
    remedy=Remedy(
        "Install the open flavour of the same driver, and reboot.", (), role=_DRIVER, tag="nvidia_driver_packages"
    ),
    consequence_of=("gpu-flavours-conflict",),
)
def open_required(facts: Facts, expect: Expect) -> Iterator[Match]:
    needing = _of(gpus(facts), ONLY_OPEN)
    if driver_wanted(expect) and needing and text(_module(facts), "flavour") == "proprietary":
        yield Match(
            subject=listed(needing),
            cause=f"The installed NVIDIA module {text(_module(facts), 'version')} is proprietary; expected the open "
            f"one, because {listed(needing)} is driven by no other.",
            evidence=_flavour_evidence(facts),
        )


@check(
    "open-module-unsupported-gpu",
    layer="driver",
    severity="fatal",
    meaning="The open module is installed for a GPU without GSP, which it cannot drive.",
    remedy=Remedy(
        "Install the proprietary flavour of a branch that still knows the GPU (580 is the last for Maxwell, Pascal and "
        "Volta), and reboot.",
        (),
        role=_DRIVER,
        tag="nvidia_driver_packages",
    ),
    consequence_of=("gpu-flavours-conflict",),
)
def open_unsupported(facts: Facts, expect: Expect) -> Iterator[Match]:
    needing = _of(gpus(facts), ONLY_PROPRIETARY)
    if driver_wanted(expect) and needing and text(_module(facts), "flavour") == "open":
        yield Match(
            subject=listed(needing),
            cause=f"The installed NVIDIA module {text(_module(facts), 'version')} is the open one; expected the "
            f"proprietary one, because {listed(needing)} has no GSP.",
            evidence=_flavour_evidence(facts),
        )


@check(
    "driver-too-old-for-gpu",
    layer="driver",
    severity="fatal",
    meaning="The installed driver branch does not know this GPU yet, or knows it no longer.",
    remedy=Remedy(
        "Install a branch that knows every GPU of the node, and reboot.", (), role=_DRIVER, tag="nvidia_driver_packages"
    ),
)
def too_old(facts: Facts, expect: Expect) -> Iterator[Match]:
    version = text(_module(facts), "version") or text(facts, "driver.library.version")
    branch = branch_of(version)
    oldest, newest = branch_of(text(facts, "gpus.oldest_branch")), branch_of(text(facts, "gpus.newest_branch"))
    if not driver_wanted(expect) or branch is None:
        return
    if (oldest and branch < oldest) or (newest and branch > newest):
        span = f"{oldest or 'any'} to {newest}" if newest else f"{oldest} or newer"
        late = bool(newest and branch > newest)
        yield Match(
            subject=listed([f"{text(item, 'address')} {text(item, 'name')}".strip() for item in gpus(facts)]),
            cause=f"The installed driver is {version}, branch {branch}; expected {span}, because this GPU is "
            f"{'no longer' if late else 'not yet'} driven by branch {branch}.",
            evidence=(*_flavour_evidence(facts), *_pci(facts)),
        )


@check(
    "driver-branch-unlike-expected",
    layer="driver",
    severity="degraded",
    meaning="The installed driver is of another branch than this site asks for.",
    remedy=Remedy(
        "Run the role to change the branch (it reboots only where that is allowed), or correct the inventory.",
        (),
        role=_DRIVER,
        tag="nvidia_driver_packages",
    ),
    consequence_of=("driver-too-old-for-gpu",),
)
def branch_unlike(facts: Facts, expect: Expect) -> Iterator[Match]:
    wanted = branch_of(str(expect.get("driver_branch") or ""))
    version = text(_module(facts), "version")
    if driver_wanted(expect) and wanted and branch_of(version) not in (None, wanted):
        yield Match(
            subject="NVIDIA driver",
            cause=f"The installed driver is {version}; expected branch {wanted}.",
            evidence=_flavour_evidence(facts),
        )


@check(
    "driver-flavour-unlike-expected",
    layer="driver",
    severity="degraded",
    meaning="The NVIDIA module is of another flavour than this site asks for.",
    remedy=Remedy(
        "Run the role to change the flavour, or correct the inventory.", (), role=_DRIVER, tag="nvidia_driver_packages"
    ),
    consequence_of=("open-kernel-module-required", "open-module-unsupported-gpu"),
)
def flavour_unlike(facts: Facts, expect: Expect) -> Iterator[Match]:
    wanted, found = expect.get("driver_flavour"), text(_module(facts), "flavour")
    flavours = ("open", "proprietary")
    if driver_wanted(expect) and wanted in flavours and found in flavours and found != wanted:
        yield Match(
            subject="NVIDIA driver",
            cause=f"The NVIDIA module is the {found} one; expected the {wanted} one.",
            evidence=_flavour_evidence(facts),
        )


@check(
    "dkms-build-failed",
    layer="driver",
    severity="fatal",
    meaning="DKMS knows the NVIDIA module, but did not build and install it for the running kernel.",
    remedy=Remedy(
        "Read why the build failed at the end of make.log; then build again. A driver older than the kernel does not "
        "compile: choose a newer branch.",
        ("tail -n 40 /var/lib/dkms/nvidia/*/build/make.log", 'dkms autoinstall -k "$(uname -r)"'),
        role=_DRIVER,
        tag="nvidia_driver_packages",
    ),
    consequence_of=("kernel-headers-missing", "apt-broken-package-state"),
)
def dkms_failed(facts: Facts, expect: Expect) -> Iterator[Match]:
    running = text(facts, "os.kernel")
    if not driver_wanted(expect) or not running:
        return
    built = [item for item in _dkms(facts) if text(item, "kernel") in (running, "") or not item.get("kernel")]
    if not built or any(_is_installed(item) for item in built) or mapping(facts, "driver.installed_module"):
        return
    told = [f"{text(item, 'module')}/{text(item, 'version')}: {text(item, 'state') or 'added'}" for item in built]
    yield Match(
        subject=f"kernel {running}",
        cause=f"DKMS has {listed(told)} for the running kernel {running}; expected installed, so there is no module to "
        "load.",
        evidence=tuple(Evidence("dkms status", line) for line in told),
    )


def _dkms(facts: Facts) -> list[Mapping[str, Any]]:
    return [item for item in entries(facts, "driver.dkms") if text(item, "module").startswith("nvidia")]


def _is_installed(item: Mapping[str, Any]) -> bool:
    return text(item, "state").startswith("installed")


@check(
    "driver-module-missing",
    layer="driver",
    severity="fatal",
    meaning="The driver's libraries are installed, but the running kernel has no NVIDIA module.",
    remedy=Remedy(
        "Install the module for the running kernel: by DKMS with headers, or as the distribution's prebuilt package.",
        ('dkms autoinstall -k "$(uname -r)"', "modprobe nvidia"),
        role=_DRIVER,
        tag="nvidia_driver_packages",
    ),
    consequence_of=("kernel-headers-missing", "dkms-build-failed", "apt-broken-package-state"),
)
def module_missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect) or not looked_at(facts, "driver") or _module(facts):
        return
    library = mapping(facts, "driver.library")
    # In WSL and in containers the library comes without a module of this kernel.
    if library and gpus(facts) and not is_true(facts, "os.container"):
        release = text(facts, "os.kernel")
        yield Match(
            subject=f"kernel {release}",
            cause=f"libnvidia-ml.so.1 is {text(library, 'version') or 'installed'}, but /lib/modules/{release} holds "
            "no nvidia module; expected one.",
            evidence=(Evidence(f"/lib/modules/{release}", "no nvidia.ko"), Evidence(text(library, "path"), "library")),
        )


@check(
    "driver-module-missing-for-newer-kernel",
    layer="driver",
    severity="degraded",
    meaning="A newer kernel is installed without an NVIDIA module: after the next boot the GPUs would be gone.",
    remedy=Remedy(
        "Install the newer kernel's headers and let DKMS build, or hold the kernel.",
        ("dkms autoinstall -k <release>", "apt-mark hold linux-image-generic linux-headers-generic"),
        role=_DRIVER,
        tag="nvidia_driver_packages",
    ),
)
def next_kernel(facts: Facts, expect: Expect) -> Iterator[Match]:
    running = text(facts, "os.kernel")
    have = {text(item, "kernel") for item in _dkms(facts) if _is_installed(item)}
    if not driver_wanted(expect) or running not in have:
        return
    newer = [
        release
        for release in names(facts, "kernel.releases")
        if version_key(release) > version_key(running) and release not in have
    ]
    if newer:
        yield Match(
            subject=f"kernel {listed(newer)}",
            cause=f"DKMS built the NVIDIA module for {listed(sorted(have))}, not for the installed newer kernel "
            f"{listed(newer)}; expected for every kernel that the machine may boot.",
            evidence=tuple(Evidence(f"/lib/modules/{release}", "no nvidia module by DKMS") for release in newer),
            remedy=Remedy(
                next_kernel.remedy.text,
                tuple(f"dkms autoinstall -k {release}" for release in newer),
                role=_DRIVER,
                tag="nvidia_driver_packages",
            ),
        )


@check(
    "driver-reboot-needed",
    layer="driver",
    severity="fatal",
    meaning="The loaded NVIDIA module is not the installed one: the driver was changed and the node not rebooted "
    "since.",
    remedy=Remedy(
        "Reboot, or stop all that uses the GPUs and load the modules anew.",
        ("systemctl reboot",),
        role=_DRIVER,
        tag="nvidia_driver_reboot",
    ),
)
def reboot_needed(facts: Facts, expect: Expect) -> Iterator[Match]:
    loaded, installed = text(facts, "driver.loaded.version"), text(facts, "driver.installed_module.version")
    if not driver_wanted(expect) or not loaded or not installed or loaded == installed:
        return
    library = text(facts, "driver.library.version")
    works = library == loaded  # the new module waits for the boot, and nothing is broken yet
    yield Match(
        subject="module nvidia",
        cause=f"The loaded nvidia module is {loaded}, the installed one {installed}"
        f"{f', the library {library}' if library else ''}; expected one version for all.",
        evidence=(
            Evidence("/sys/module/nvidia/version", loaded),
            Evidence(text(facts, "driver.installed_module.path") or "modinfo nvidia", installed),
        ),
        severity="degraded" if works else "fatal",
    )


@check(
    "gpu-without-driver",
    layer="driver",
    severity="fatal",
    meaning="The NVIDIA module is loaded, but did not take this GPU.",
    remedy=Remedy(
        "The kernel log says why, in the lines of NVRM: a GPU that is too old or too new for the driver, the wrong "
        "flavour, or a board that does not answer.",
        ("dmesg | grep -E 'NVRM|nvidia'", "lspci -nnk -d 10de:"),
    ),
    consequence_of=(
        "nouveau-conflict",
        "driver-too-old-for-gpu",
        "open-kernel-module-required",
        "open-module-unsupported-gpu",
    ),
)
def without_driver(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect) or not mapping(facts, "driver.loaded"):
        return
    for item in gpus(facts):
        if "driver" in item and item["driver"] is None:
            yield Match(
                subject=text(item, "address"),
                cause=f"{text(item, 'address')} {text(item, 'name')} has no driver, although the nvidia module "
                f"{text(facts, 'driver.loaded.version')} is loaded; expected nvidia.",
                evidence=(Evidence(f"/sys/bus/pci/devices/{text(item, 'address')}/driver", "no such link"),),
            )


@check(
    "device-node-missing",
    layer="driver",
    severity="degraded",
    meaning="A device file of the loaded driver is missing; without /dev/nvidia-uvm, nvidia-smi works and CUDA does "
    "not.",
    remedy=Remedy(
        "Create them now, and let the persistence daemon or the CDI refresh do it at every boot.",
        ("nvidia-modprobe -u -c0", "nvidia-ctk system create-device-nodes --control-devices --load-kernel-modules"),
        role=_DRIVER,
        tag="nvidia_driver_persistence",
    ),
    consequence_of=("driver-reboot-needed", "gpu-without-driver"),
)
def device_nodes(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect) or not mapping(facts, "driver.loaded") or not looked_at(facts, "driver.device_nodes"):
        return
    present = mapping(facts, "driver.device_nodes")
    bound = sum(1 for item in gpus(facts) if text(item, "driver") == "nvidia")
    numbered = [path for path in present if path.startswith("/dev/nvidia") and path[len("/dev/nvidia") :].isdigit()]
    absent = [path for path in ("/dev/nvidiactl", "/dev/nvidia-uvm") if path not in present]
    told = [f"{path} does not exist" for path in absent]
    if len(numbered) < bound:
        told.append(f"{len(numbered)} of {bound} files /dev/nvidia<n> exist")
    if told:
        yield Match(
            subject=listed(absent) if absent else "/dev/nvidia<n>",
            cause=f"{'; '.join(told)}; expected a device file for each GPU, /dev/nvidiactl and /dev/nvidia-uvm.",
            evidence=tuple(Evidence("/dev", line) for line in told),
        )


@check(
    "persistence-off",
    layer="driver",
    severity="degraded",
    meaning="Nothing keeps the GPUs initialised, so first calls take seconds and counters are lost between them.",
    remedy=Remedy(
        "Run nvidia-persistenced with persistence mode, at every boot.",
        ("systemctl enable --now nvidia-persistenced", "nvidia-smi -q -d PERFORMANCE | grep -i persistence"),
        role=_DRIVER,
        tag="nvidia_driver_persistence",
    ),
    consequence_of=(
        "driver-reboot-needed",
        "gpu-without-driver",
        "nvml-driver-library-version-mismatch",
        "nvml-driver-not-loaded",
        "nvml-library-not-found",
    ),
)
def persistence(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect) or not expect.get("persistence") or not mapping(facts, "driver.loaded"):
        return
    devices = entries(facts, "nvml.devices")
    off = [text(item, "pci_bus_id") or text(item, "uuid") for item in devices if _persistence(item) is False]
    on = [item for item in devices if _persistence(item) is True]
    if on and not off:
        return
    if off:
        active = "runs without persistence mode" if is_true(facts, "driver.persistenced.active") else "does not run"
        yield Match(
            subject=listed(off),
            cause=f"Persistence mode is off on {listed(off)}, and nvidia-persistenced {active}; expected on.",
            evidence=tuple(Evidence("NVML", f"{address}: persistence mode off") for address in off),
        )
    elif not devices and is_false(facts, "driver.persistenced.active"):
        yield Match(
            subject="nvidia-persistenced",
            cause="nvidia-persistenced does not run; expected active with persistence mode.",
            evidence=(Evidence("systemctl show nvidia-persistenced", "ActiveState=inactive"),),
        )


def _persistence(device: Mapping[str, Any]) -> bool | None:
    """Persistence mode, whether the answer is a bool, a word or a number."""
    for key in ("persistence", "persistence_mode"):
        value = device.get(key)
        if isinstance(value, Mapping):
            value = value.get("current", value.get("value", value.get("mode")))
        if isinstance(value, bool):
            return value
        if isinstance(value, (int, str)) and str(value).lower() in ("1", "0", "enabled", "disabled", "on", "off"):
            return str(value).lower() in ("1", "enabled", "on")
    return None


@check(
    "persistence-not-at-boot",
    layer="driver",
    severity="degraded",
    meaning="nvidia-persistenced runs now, but is not started at boot.",
    remedy=Remedy(
        "Enable the unit.",
        ("systemctl enable nvidia-persistenced",),
        role=_DRIVER,
        tag="nvidia_driver_persistence",
    ),
    consequence_of=("persistence-off",),
)
def persistence_at_boot(facts: Facts, expect: Expect) -> Iterator[Match]:
    state = unit(facts, "nvidia-persistenced")
    if driver_wanted(expect) and expect.get("persistence") and comes_at_boot(state) is False:
        yield Match(
            subject="nvidia-persistenced.service",
            cause=f"nvidia-persistenced.service is {text(state, 'enabled')}; expected enabled.",
            evidence=(Evidence("systemctl is-enabled nvidia-persistenced", text(state, "enabled")),),
        )


@check(
    "fabric-manager-not-running",
    layer="driver",
    severity="fatal",
    meaning="The node has NVSwitches, but no Fabric Manager runs: CUDA answers 802, system not yet initialised.",
    remedy=Remedy(
        "Install Fabric Manager at exactly the driver's version, and start it.",
        ("systemctl enable --now nvidia-fabricmanager", "journalctl -b -u nvidia-fabricmanager"),
        role=_DRIVER,
        tag="nvidia_driver_packages",
    ),
    consequence_of=("driver-reboot-needed", "fabric-manager-version-mismatch"),
)
def fabric_manager_down(facts: Facts, expect: Expect) -> Iterator[Match]:
    switches = entries(facts, "gpus.nvswitches")
    if driver_wanted(expect) and switches and not is_true(facts, "driver.fabric_manager.active"):
        if not looked_at(facts, "driver") or not mapping(facts, "driver.loaded"):
            return
        version = text(facts, "driver.fabric_manager.version")
        yield Match(
            subject="nvidia-fabricmanager.service",
            cause=f"{len(switches)} NVSwitch(es), but Fabric Manager is "
            f"{f'{version} and does not run' if version else 'not installed'}; expected active.",
            evidence=tuple(Evidence(f"/sys/bus/pci/devices/{text(item, 'address')}", "NVSwitch") for item in switches),
        )


@check(
    "fabric-manager-version-mismatch",
    layer="driver",
    severity="fatal",
    meaning="Fabric Manager and the loaded driver are of different versions, so Fabric Manager refuses to start.",
    remedy=Remedy(
        "Install Fabric Manager at exactly the driver's version, and hold both. NVIDIA's repositories call it"
        " nvidia-fabricmanager since branch 580; before, and in Ubuntu's own archive, its branch is in the name.",
        (
            "apt-get install nvidia-fabricmanager=<driver version>*  # Ubuntu's own: nvidia-fabricmanager-<branch>",
            "dnf install nvidia-fabricmanager-<driver version>",
        ),
        role=_DRIVER,
        tag="nvidia_driver_packages",
    ),
    consequence_of=("driver-reboot-needed",),
)
def fabric_manager_version(facts: Facts, expect: Expect) -> Iterator[Match]:
    version = text(facts, "driver.fabric_manager.version")
    loaded = text(facts, "driver.loaded.version")
    wanted = driver_wanted(expect) and bool(entries(facts, "gpus.nvswitches"))
    if wanted and version and loaded and _upstream(version) != _upstream(loaded):
        yield Match(
            subject="nvidia-fabricmanager.service",
            cause=f"Fabric Manager is {version}, the loaded driver {loaded}; expected exactly the same.",
            evidence=(
                Evidence("/sys/module/nvidia/version", loaded),
                Evidence("nv-fabricmanager --version", version),
            ),
        )


def _upstream(version: str) -> str:
    """``580.95.05`` of ``1:580.95.05-1``."""
    return version.split(":", 1)[-1].split("-", 1)[0]


@check(
    "fabric-manager-no-nvswitch",
    layer="driver",
    severity="notice",
    meaning="Fabric Manager is started on a machine without NVSwitches, where it only fails.",
    remedy=Remedy("Disable it.", ("systemctl disable --now nvidia-fabricmanager",)),
)
def fabric_manager_needless(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not looked_at(facts, "gpus.nvswitches") or entries(facts, "gpus.nvswitches"):
        return
    state = unit(facts, "nvidia-fabricmanager")
    running = is_true(facts, "driver.fabric_manager.active") or text(state, "active") in ("active", "failed")
    if running or comes_at_boot(state):
        told = f"{text(state, 'active') or 'active'}, {text(state, 'enabled') or 'enabled'}"
        yield Match(
            subject="nvidia-fabricmanager.service",
            cause=f"nvidia-fabricmanager.service is {told}, but the PCI bus shows no NVSwitch; expected disabled.",
            evidence=(Evidence("systemctl show nvidia-fabricmanager", told),),
        )
