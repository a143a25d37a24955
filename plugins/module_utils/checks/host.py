# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host below all GPUs: swap, kernel modules, sysctls, services, clock and disk, now and after the next boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .reading import (
    comes_at_boot,
    entries,
    is_false,
    is_true,
    listed,
    looked_at,
    mapping,
    mappings,
    names,
    number,
    seen,
    size,
    text,
    unit,
)


def _lines(facts: Any, path: str, source: str) -> tuple[Evidence, ...]:
    found = []
    for item in entries(facts, path):
        line = item.get("line")
        found.append(Evidence(source, text(item, "text"), line if isinstance(line, int) else None))
    return tuple(found)


@check(
    "swap-on",
    layer="host",
    severity="fatal",
    meaning="Swap is in use, and kubelet refuses to start while it is.",
    remedy=Remedy(
        "Turn swap off now and at every boot. To keep it, set `host_prep_swap: untouched` and configure kubelet for "
        "it.",
        ("swapoff -a",),
        role="host_prep",
        tag="host_prep_swap",
    ),
)
def swap_live(facts: Facts, expect: Expect) -> Iterator[Match]:
    live = entries(facts, "swap.live")
    if expect.get("swap") != "disabled" or not live:
        return
    told = [
        f"{text(item, 'path')}, a {text(item, 'type') or 'swap area'} of {size(number(item, 'size_bytes') or 0)}"
        f" with {size(number(item, 'used_bytes') or 0)} in use"
        for item in live
    ]
    yield Match(
        subject=listed([text(item, "path") for item in live]),
        cause=f"Swap is on ({'; '.join(told)}); expected none, because kubelet refuses to start while it is.",
        evidence=tuple(Evidence("/proc/swaps", line) for line in told),
    )


@check(
    "swap-returns-at-boot",
    layer="host",
    severity="fatal",
    meaning="Swap is or can be turned off, but something turns it on again at the next boot.",
    remedy=Remedy(
        "Take swap out of /etc/fstab, mask the swap units, and mask zram-generator.",
        ("systemctl list-units --type swap --all", "systemctl mask dev-zram0.swap"),
        role="host_prep",
        tag="host_prep_swap",
    ),
)
def swap_at_boot(facts: Facts, expect: Expect) -> Iterator[Match]:
    if expect.get("swap") != "disabled":
        return
    evidence = _lines(facts, "swap.fstab", "/etc/fstab")
    why = ["/etc/fstab names it"] if evidence else []
    for item in entries(facts, "swap.units"):
        # Units that systemd makes of fstab say the same thing twice, and masked ones nothing.
        if item.get("enabled") in ("enabled", "static") or (item.get("enabled") == "generated" and not evidence):
            why.append(f"the unit {text(item, 'name')} is {text(item, 'enabled')}")
            evidence += (Evidence(text(item, "name"), f"enabled: {text(item, 'enabled')}"),)
    configured = names(facts, "swap.zram.configured_in")
    if configured and not is_true(facts, "swap.zram.masked") and not is_false(facts, "swap.zram.installed"):
        why.append("zram-generator is configured and not masked")
        evidence += tuple(Evidence(path, "zram device configured") for path in configured)
    if why:
        yield Match(
            subject="swap",
            cause=f"Swap comes back at the next boot: {'; '.join(why)}. Expected nothing that turns it on.",
            evidence=evidence,
        )


@check(
    "fstab-duplicates",
    layer="host",
    severity="notice",
    meaning="/etc/fstab holds the same swap or mount line more than once.",
    remedy=Remedy(
        "Keep one of the equal lines; the original is kept as a backup.",
        ("findmnt --verify",),
        role="host_prep",
        tag="host_prep_swap",
    ),
)
def fstab_duplicates(facts: Facts, expect: Expect) -> Iterator[Match]:
    evidence = _lines(facts, "swap.fstab_duplicates", "/etc/fstab")
    if evidence:
        lines = listed([str(item.line) for item in evidence if item.line is not None], "?")
        yield Match(
            subject="/etc/fstab",
            cause=f"/etc/fstab repeats itself at line(s) {lines}; expected each entry once.",
            evidence=evidence,
        )


@check(
    "br-netfilter-missing",
    layer="host",
    severity="fatal",
    meaning="The br_netfilter module is not loaded, so bridged pod traffic passes by iptables and its sysctls are "
    "absent.",
    remedy=Remedy(
        "Load it now and at every boot.",
        ("modprobe br_netfilter", "echo br_netfilter > /etc/modules-load.d/gpunode.conf"),
        role="host_prep",
        tag="host_prep_kernel",
    ),
)
def br_netfilter(facts: Facts, expect: Expect) -> Iterator[Match]:
    if "br_netfilter" in _wanted_modules(expect) and is_false(facts, "kernel.modules.br_netfilter.loaded"):
        yield Match(
            subject="module br_netfilter",
            cause="/sys/module/br_netfilter does not exist: the module is not loaded; expected loaded, because "
            "/proc/sys/net/bridge exists only then and pod networks need it.",
            evidence=(Evidence("/sys/module/br_netfilter", "no such folder"),),
        )


@check(
    "kernel-module-not-loaded",
    layer="host",
    severity="fatal",
    meaning="A kernel module that containers need is neither loaded nor built in.",
    remedy=Remedy(
        "Load it now and at every boot. A module that cannot be found belongs to a kernel package that is not there.",
        ("modprobe <module>", 'ls "/lib/modules/$(uname -r)"'),
        role="host_prep",
        tag="host_prep_kernel",
    ),
)
def modules_live(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name in _wanted_modules(expect):
        if name != "br_netfilter" and is_false(facts, f"kernel.modules.{name}.loaded"):
            yield Match(
                subject=f"module {name}",
                cause=f"The kernel module {name} is neither loaded nor built in; expected loaded.",
                evidence=(Evidence(f"/sys/module/{name}", "no such folder"),),
                remedy=Remedy(
                    modules_live.remedy.text, (f"modprobe {name}",), role="host_prep", tag="host_prep_kernel"
                ),
            )


@check(
    "module-not-persisted",
    layer="host",
    severity="fatal",
    meaning="A kernel module is loaded now, but nothing loads it at the next boot.",
    remedy=Remedy(
        "Name it in a file of /etc/modules-load.d.",
        ("echo <module> >> /etc/modules-load.d/gpunode.conf",),
        role="host_prep",
        tag="host_prep_kernel",
    ),
    consequence_of=("br-netfilter-missing",),
)
def modules_at_boot(facts: Facts, expect: Expect) -> Iterator[Match]:
    missing = []
    for name in _wanted_modules(expect):
        # What is neither loaded nor persisted nor of general interest is not among the facts at all.
        state = mapping(facts, f"kernel.modules.{name}")
        if looked_at(facts, "kernel.modules") and not state.get("builtin") and not state.get("persisted_in"):
            missing.append(name)
    if missing:
        yield Match(
            subject=f"module {listed(missing)}",
            cause=f"No file of /etc/modules-load.d, /usr/lib/modules-load.d or /etc/modules names {listed(missing)}; "
            "expected, because nothing else loads it at the next boot.",
            evidence=(Evidence("/etc/modules-load.d", f"no line {listed(missing)}"),),
            remedy=Remedy(
                modules_at_boot.remedy.text,
                tuple(f"echo {name} >> /etc/modules-load.d/gpunode.conf" for name in missing),
                role="host_prep",
                tag="host_prep_kernel",
            ),
        )


def _wanted_modules(expect: Expect) -> list[str]:
    wanted = expect.get("kernel_modules") or []
    return [name.replace("-", "_") for name in wanted if isinstance(name, str)] if isinstance(wanted, list) else []


def _wanted_sysctls(expect: Expect) -> dict[str, str]:
    wanted = expect.get("sysctls") or {}
    return {str(name): str(value) for name, value in wanted.items()} if isinstance(wanted, Mapping) else {}


def _sysctl(facts: Facts, name: str) -> Mapping[str, Any]:
    return mappings(facts, "kernel.sysctls").get(name) or {}


def _same(one: Any, other: Any) -> bool:
    """Values of sysctls are equal however their columns are parted: ``4096\t131072`` and ``4096 131072``."""
    return str(one).split() == str(other).split()


# kubeadm's own preflight looks at these, and pod networks need them.
_KUBEADM_SYSCTLS = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables", "net.ipv4.ip_forward")


def _drift(facts: Facts, expect: Expect, kubeadm: bool) -> Iterator[tuple[str, str, str]]:
    for name, wanted in _wanted_sysctls(expect).items():
        state = _sysctl(facts, name)
        if (name in _KUBEADM_SYSCTLS) != kubeadm or "live" not in state or isinstance(state["live"], Mapping):
            continue
        if state["live"] is None:
            yield name, "absent", wanted
        elif not _same(state["live"], wanted):
            yield name, str(state["live"]), wanted


def _sysctl_match(found: list[tuple[str, str, str]], role: Remedy) -> Match:
    told = [f"{name} is {live}, expected {wanted}" for name, live, wanted in found]
    return Match(
        subject=listed([name for name, _live, _wanted in found]),
        cause=f"{'; '.join(told)}.",
        evidence=tuple(
            Evidence("/proc/sys/" + name.replace(".", "/"), "no such file" if live == "absent" else live)
            for name, live, _wanted in found
        ),
        remedy=Remedy(
            role.text, tuple(f"sysctl -w {name}='{value}'" for name, _live, value in found), role.role, role.tag
        ),
    )


@check(
    "kubeadm-preflight-sysctl",
    layer="host",
    severity="fatal",
    meaning="A sysctl that pod networks and kubeadm's preflight need is not 1.",
    remedy=Remedy(
        "Set them now and for every boot. A value that falls back is set elsewhere: look for its name in "
        "/etc/sysctl.d.",
        ("sysctl --system",),
        role="host_prep",
        tag="host_prep_kernel",
    ),
    consequence_of=("br-netfilter-missing",),
)
def sysctls_of_kubeadm(facts: Facts, expect: Expect) -> Iterator[Match]:
    found = list(_drift(facts, expect, kubeadm=True))
    if found:
        yield _sysctl_match(found, sysctls_of_kubeadm.remedy)


@check(
    "sysctl-unlike-expected",
    layer="host",
    severity="degraded",
    meaning="A sysctl that this site asks for has another value.",
    remedy=Remedy(
        "Set it now and for every boot. A value that falls back is set elsewhere: look for its name in /etc/sysctl.d.",
        ("sysctl --system",),
        role="host_prep",
        tag="host_prep_kernel",
    ),
)
def sysctls_live(facts: Facts, expect: Expect) -> Iterator[Match]:
    found = list(_drift(facts, expect, kubeadm=False))
    if found:
        yield _sysctl_match(found, sysctls_live.remedy)


@check(
    "sysctl-not-persisted",
    layer="host",
    severity="fatal",
    meaning="A sysctl has its value now, but the files that are read at boot say otherwise or nothing.",
    remedy=Remedy(
        "Write it to a file of /etc/sysctl.d that sorts after the one that says otherwise.",
        ("grep -rn <name> /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d",),
        role="host_prep",
        tag="host_prep_kernel",
    ),
    consequence_of=("br-netfilter-missing",),
)
def sysctls_at_boot(facts: Facts, expect: Expect) -> Iterator[Match]:
    found = []
    for name, wanted in _wanted_sysctls(expect).items():
        state = _sysctl(facts, name)
        persisted = state.get("persisted")
        if not looked_at(facts, "kernel.sysctls") or isinstance(persisted, Mapping) or _same(persisted, wanted):
            continue
        found.append((name, persisted, wanted, state.get("persisted_in")))
    if not found:
        return
    told = [
        f"{name} is {'not written anywhere' if value is None else f'{value} in {where}'}, expected {wanted}"
        for name, value, wanted, where in found
    ]
    yield Match(
        subject=listed([name for name, *_rest in found]),
        cause=f"After the next boot: {'; '.join(told)}.",
        evidence=tuple(
            seen(where if isinstance(where, str) else "/etc/sysctl.d", f"{name} = {value}")
            if value is not None
            else Evidence("/etc/sysctl.d", f"no line {name}")
            for name, value, _wanted, where in found
        ),
    )


@check(
    "debugfs-not-in-fstab",
    layer="host",
    severity="degraded",
    meaning="debugfs is wanted for tracing, but /etc/fstab does not mount it at boot.",
    remedy=Remedy(
        "Give it a line in /etc/fstab.",
        ("echo 'debugfs /sys/kernel/debug debugfs defaults 0 0' >> /etc/fstab", "mount /sys/kernel/debug"),
        role="host_prep",
        tag="host_prep_kernel",
    ),
)
def debugfs(facts: Facts, expect: Expect) -> Iterator[Match]:
    if expect.get("debugfs") and is_false(facts, "kernel.debugfs.in_fstab"):
        mounted = "is mounted now" if is_true(facts, "kernel.debugfs.mounted") else "is not mounted either"
        yield Match(
            subject="/sys/kernel/debug",
            cause=f"/etc/fstab has no line for debugfs, and it {mounted}; expected it at every boot.",
            evidence=(Evidence("/etc/fstab", "no line of type debugfs"),),
        )


def _services(expect: Expect) -> list[str]:
    wanted = expect.get("services") or []
    return [name for name in wanted if isinstance(name, str)] if isinstance(wanted, list) else []


@check(
    "service-not-running",
    layer="host",
    severity="fatal",
    meaning="A service that this node needs does not run.",
    remedy=Remedy("Start it and read why it stopped.", ("systemctl status <unit>", "journalctl -b -u <unit>")),
)
def services_running(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name in _services(expect):
        state = unit(facts, name)
        active, sub = text(state, "active"), text(state, "sub")
        known = mappings(facts, "units")
        missing = not state and (name in known or f"{name}.service" in known)
        if missing or (active and active not in ("active", "activating", "reloading")):
            found = "not installed" if missing else " ".join([active, *([f"({sub})"] if sub else [])])
            yield Match(
                subject=name,
                cause=f"{name} is {found}; expected active.",
                evidence=(Evidence(f"systemctl show {name}", f"ActiveState={active or 'inactive'}"),),
                remedy=Remedy(
                    services_running.remedy.text,
                    (f"systemctl status {name}", f"journalctl -b -u {name}"),
                    role="host_prep",
                    tag="host_prep_services",
                ),
            )


@check(
    "service-not-at-boot",
    layer="host",
    severity="fatal",
    meaning="A service that this node needs is not started at boot.",
    remedy=Remedy("Enable it.", ("systemctl enable --now <unit>",), role="host_prep", tag="host_prep_services"),
    consequence_of=("service-not-running",),
)
def services_at_boot(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name in _services(expect):
        state = unit(facts, name)
        if comes_at_boot(state) is False:
            yield Match(
                subject=name,
                cause=f"{name} is {text(state, 'enabled')}; expected enabled, or it stays down after a reboot.",
                evidence=(Evidence(f"systemctl is-enabled {name}", text(state, "enabled")),),
                remedy=Remedy(
                    services_at_boot.remedy.text,
                    (f"systemctl enable --now {name}",),
                    role="host_prep",
                    tag="host_prep_services",
                ),
            )


@check(
    "clock-not-synchronised",
    layer="host",
    severity="degraded",
    meaning="The clock follows no time source; a wrong clock breaks certificates and downloads with misleading words.",
    remedy=Remedy(
        "Start a time service and let it reach its source (UDP port 123), then look again.",
        ("timedatectl status", "systemctl enable --now systemd-timesyncd"),
    ),
)
def clock(facts: Facts, expect: Expect) -> Iterator[Match]:
    if is_false(facts, "boot.clock_synchronized"):
        yield Match(
            subject="clock",
            cause="The kernel says that the clock is not synchronised (it shows "
            f"{text(facts, 'boot.time_utc') or '?'}); "
            "expected synchronised, because certificates and signed packages are refused when it is off.",
            evidence=(Evidence("timedatectl", "System clock synchronized: no"),),
        )


_FEW_BYTES = 1 << 30
_FEW_BOOT_BYTES = 64 << 20
_READ_ONLY_TYPES = ("squashfs", "iso9660", "erofs")
_NO_INODE_TYPES = ("btrfs", "vfat", "zfs", "bcachefs", "virtiofs", "9p")


@check(
    "disk-low",
    layer="host",
    severity="degraded",
    meaning="A file system is nearly full: kubelet evicts pods under 10 % free, and images and logs cannot be written.",
    remedy=Remedy(
        "Find what fills it. Remove stopped containers before images, and never the images that run.",
        ("df -h", "du -xh --max-depth=2 /var/lib | sort -h | tail -n 20", "journalctl --vacuum-size=500M"),
    ),
)
def disk(facts: Facts, expect: Expect) -> Iterator[Match]:
    for item in entries(facts, "filesystems"):
        total, free, inodes = (number(item, key) for key in ("total_bytes", "free_bytes", "free_inodes"))
        mount, kind = text(item, "mount") or "?", text(item, "type")
        if not total or free is None or kind in _READ_ONLY_TYPES:
            continue
        share = free / total
        if mount.startswith("/boot"):
            low, worst = free < _FEW_BOOT_BYTES, False
        else:
            low, worst = share < 0.10, share < 0.05 or free < min(_FEW_BYTES, total * 0.2)
        if inodes == 0 and kind not in _NO_INODE_TYPES:
            yield Match(
                subject=mount,
                cause=f"{mount} ({text(item, 'device')}) has no free inodes left, so no file can be created there.",
                evidence=(Evidence(f"df -i {mount}", "0 free"),),
                severity="fatal",
            )
        elif low or worst:
            yield Match(
                subject=mount,
                cause=f"{mount} ({text(item, 'device')}) has {size(free)} of {size(total)} free ({share:.0%}); "
                f"expected at least {'64 MiB, for the next initramfs' if mount.startswith('/boot') else '10 %'}.",
                evidence=(Evidence(f"df {mount}", f"{free:.0f} of {total:.0f} bytes free"),),
                severity="fatal" if worst else "degraded",
            )


@check(
    "reboot-required",
    layer="host",
    severity="notice",
    meaning="Packages ask for a reboot: the running kernel or libraries are not the installed ones.",
    remedy=Remedy("Drain the node and reboot it when it suits.", ("systemctl reboot",)),
)
def reboot(facts: Facts, expect: Expect) -> Iterator[Match]:
    reasons = names(facts, "boot.reboot_required")
    if reasons and looked_at(facts, "boot"):
        yield Match(
            subject="node",
            cause=f"A reboot is asked for by {listed(reasons[:6])}.",
            evidence=(Evidence("/run/reboot-required.pkgs", " ".join(reasons)),),
        )
