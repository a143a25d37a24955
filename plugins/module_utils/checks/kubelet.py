# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubelet and kubeadm, as far as one node tells: swap, cgroups, flags, sockets, kubeconfigs, leftovers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .reading import (
    comes_at_boot,
    entries,
    is_false,
    is_true,
    listed,
    look_up,
    mappings,
    minor_of,
    seen,
    text,
    unit,
)
from .runtime import wanted_runtimes
from .toolkit import said


def _by_kubeadm(facts: Facts, expect: Expect) -> bool:
    """Whether a kubelet of its own is expected here: k3s brings one inside."""
    return expect.get("kubernetes") == "kubeadm" or (
        expect.get("kubernetes") is None and is_true(facts, "kubelet.installed")
    )


@check(
    "kubelet-not-installed",
    layer="kubelet",
    severity="fatal",
    meaning="This node should run Kubernetes by kubeadm, but has no kubelet.",
    remedy=Remedy(
        "Install kubelet, kubeadm and kubectl at your cluster's minor, and hold them.",
        (),
        role="kubeadm",
        tag="kubeadm_packages",
    ),
    consequence_of=("apt-broken-package-state", "apt-key-or-repo-failure"),
)
def kubelet_missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    if expect.get("kubernetes") == "kubeadm" and is_false(facts, "kubelet.installed"):
        yield Match(
            subject="kubelet",
            cause="kubelet is not in PATH; expected, because this node's Kubernetes comes by kubeadm.",
            evidence=(Evidence("/usr/bin/kubelet", "no such file"),),
        )


@check(
    "kubelet-swap-on",
    layer="kubelet",
    severity="fatal",
    meaning="Swap is active and kubelet refuses to run.",
    remedy=Remedy(
        "Turn swap off, or set `failSwapOn: false` in kubelet's configuration.",
        ("swapoff -a", "systemctl restart kubelet"),
        role="host_prep",
        tag="host_prep_swap",
    ),
    consequence_of=("swap-on",),
)
def swap(facts: Facts, expect: Expect) -> Iterator[Match]:
    live = entries(facts, "swap.live")
    refuses = is_true(facts, "kubelet.installed") and is_true(facts, "kubelet.fail_swap_on")
    if _by_kubeadm(facts, expect) and live and refuses:
        path = text(facts, "kubelet.config_path") or "/var/lib/kubelet/config.yaml"
        yield Match(
            subject="kubelet",
            cause=f"Swap is on ({listed([text(item, 'path') for item in live])}) and kubelet's failSwapOn is "
            "true: it "
            "exits at start. Expected swap off, or failSwapOn false.",
            evidence=(Evidence("/proc/swaps", text(live[0], "path")), Evidence(path, "failSwapOn: true")),
        )


@check(
    "kubelet-cgroup-v1-unsupported",
    layer="kubelet",
    severity="fatal",
    meaning="kubelet 1.35 and newer refuses a host on cgroup v1.",
    remedy=Remedy(
        "Boot with the unified hierarchy (`systemd.unified_cgroup_hierarchy=1` on the kernel command line, and no "
        "option that says otherwise); until then `failCgroupV1: false` keeps 1.35 to 1.37 going.",
        ("stat -fc %T /sys/fs/cgroup", "cat /proc/cmdline"),
    ),
)
def cgroup_v1(facts: Facts, expect: Expect) -> Iterator[Match]:
    version = minor_of(text(facts, "kubelet.version"))
    if _hierarchy(facts) != 1 or not _by_kubeadm(facts, expect) or version is None or version < (1, 35):
        return
    if not is_false(facts, "kubelet.fail_cgroup_v1"):
        yield Match(
            subject="kubelet",
            cause=f"The host runs cgroup v1 and kubelet is {text(facts, 'kubelet.version')}, which exits there unless "
            "failCgroupV1 is false; expected cgroup v2.",
            evidence=(Evidence("/sys/fs/cgroup", f"hierarchy {look_up(facts, 'cgroups.hierarchy')}"),),
        )


@check(
    "kubelet-cgroup-v2-unsupported",
    layer="kubelet",
    severity="fatal",
    meaning="A kubelet older than 1.19 cannot run on a host with cgroup v2.",
    remedy=Remedy("Upgrade kubelet: no release that old is supported.", ("kubelet --version",)),
)
def cgroup_v2(facts: Facts, expect: Expect) -> Iterator[Match]:
    version = minor_of(text(facts, "kubelet.version"))
    if _hierarchy(facts) == 2 and _by_kubeadm(facts, expect) and version is not None and version < (1, 19):
        yield Match(
            subject="kubelet",
            cause=f"The host runs cgroup v2 and kubelet is {text(facts, 'kubelet.version')}; expected 1.19 or newer.",
            evidence=(Evidence("/sys/fs/cgroup", "cgroup2fs"),),
        )


def _hierarchy(facts: Facts) -> int | None:
    """1 or 2, however it is told; None where it is unknown, and for the hybrid that kubelet counts as v1."""
    value = look_up(facts, "cgroups.hierarchy")
    if isinstance(value, Mapping):
        value = value.get("version", value.get("value"))
    found = str(value).lower().lstrip("cgroup ").lstrip("v")
    if found.startswith("2") or found == "unified":
        return 2
    return 1 if found.startswith("1") or found in ("legacy", "hybrid") else None


@check(
    "kubelet-unknown-flag",
    layer="kubelet",
    severity="fatal",
    meaning="kubelet is started with a flag it does not know (any more), and exits at once.",
    remedy=Remedy(
        "Take the flag out where it stands, and restart kubelet.",
        ("systemctl cat kubelet", "cat /var/lib/kubelet/kubeadm-flags.env /etc/default/kubelet"),
    ),
)
def unknown_flags(facts: Facts, expect: Expect) -> Iterator[Match]:
    value = look_up(facts, "kubelet.unknown_flags")
    for item in value if isinstance(value, list) and _by_kubeadm(facts, expect) else []:
        flag = text(item, "flag") if isinstance(item, Mapping) else str(item)
        source = text(item, "source") if isinstance(item, Mapping) else ""
        why = text(item, "why") if isinstance(item, Mapping) else f"kubelet has no flag {flag}."
        yield Match(
            subject="kubelet",
            cause=f"{why} Expected only flags that kubelet {text(facts, 'kubelet.version')} knows.",
            evidence=(seen(source or "systemctl cat kubelet", flag),),
        )


@check(
    "kubelet-config-invalid",
    layer="kubelet",
    severity="fatal",
    meaning="kubelet's configuration cannot be read.",
    remedy=Remedy("Mend the line; kubeadm writes the file anew with `kubeadm upgrade node phase kubelet-config`."),
)
def kubelet_config(facts: Facts, expect: Expect) -> Iterator[Match]:
    problem = look_up(facts, "kubelet.config_problem")
    if problem and _by_kubeadm(facts, expect):
        told, line = said(problem)
        path = text(problem, "path") or text(facts, "kubelet.config_path") or "/var/lib/kubelet/config.yaml"
        yield Match(
            subject=path,
            cause=f"{path}{f':{line}' if line else ''} cannot be read: {told}. Expected a KubeletConfiguration.",
            evidence=(Evidence(path, told, line),),
        )


@check(
    "cgroup-driver-mismatch",
    layer="kubelet",
    severity="fatal",
    meaning="kubelet and the container runtime use different cgroup drivers, so pods fail or the node becomes "
    "unstable.",
    remedy=Remedy(
        "Give both the same, systemd where systemd is the init: in the runtime's drop-in and in kubelet's "
        "cgroupDriver.",
        ("crictl runtime-config", "grep -n cgroupDriver /var/lib/kubelet/config.yaml"),
    ),
)
def cgroup_mismatch(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not is_false(facts, "cgroups.agree") or expect.get("kubernetes") == "none":
        return
    told, evidence = [], []
    for name, state in mappings(facts, "cgroups.programs").items():
        driver = text(state, "in_force") or text(state, "configured")
        if driver and not is_false(state, "installed"):
            told.append(f"{name} {driver}")
            source = text(state, "in_force_source") if text(state, "in_force") else text(state, "source")
            evidence.append(seen(source or name, f"{name}: {driver}"))
            if text(state, "path"):
                line = look_up(state, "line")
                configured = text(state, "configured")
                evidence.append(Evidence(text(state, "path"), configured, line if isinstance(line, int) else None))
    wanted = text(facts, "cgroups.value")
    runtime = next((name for name, _state in wanted_runtimes(facts, expect)), "")
    yield Match(
        subject="cgroup driver",
        cause=f"{listed(told, 'The programs')} do not agree on the cgroup driver; expected "
        f"{f'{wanted} for all' if wanted else 'the same for all'}.",
        evidence=tuple(evidence),
        remedy=Remedy(
            cgroup_mismatch.remedy.text,
            cgroup_mismatch.remedy.commands,
            role=runtime if runtime in ("crio", "containerd", "docker") else None,
            tag=f"{runtime}_config" if runtime in ("crio", "containerd", "docker") else None,
        ),
    )


@check(
    "cgroup-driver-unlike-expected",
    layer="kubelet",
    severity="degraded",
    meaning="The cgroup driver in use is not the one that this site asks for.",
    remedy=Remedy("Run the runtime's role, or correct `gpunode_cgroup_driver`.", ("crictl runtime-config",)),
    consequence_of=("cgroup-driver-mismatch",),
)
def cgroup_unlike(facts: Facts, expect: Expect) -> Iterator[Match]:
    wanted = expect.get("cgroup_driver")
    if wanted not in ("systemd", "cgroupfs"):
        return
    other = []
    used = {
        "kubelet",
        *(name for name, _state in wanted_runtimes(facts, expect)),
    }  # Docker's containerd is Docker's own
    for name, state in mappings(facts, "cgroups.programs").items():
        driver = text(state, "in_force") or text(state, "configured")
        unlike = driver in ("systemd", "cgroupfs") and driver != wanted
        if name in used and unlike and not is_false(state, "installed"):
            other.append(f"{name} {driver}")
    if other:
        yield Match(
            subject="cgroup driver",
            cause=f"{listed(other)}; expected {wanted}.",
            evidence=tuple(Evidence("cgroup driver", line) for line in other),
        )


@check(
    "kubelet-cri-socket-unlike-runtime",
    layer="kubelet",
    severity="fatal",
    meaning="kubelet speaks to another socket than the runtime that this site chose listens at.",
    remedy=Remedy(
        "Point kubelet at the runtime's socket: `containerRuntimeEndpoint` in /var/lib/kubelet/instance-config.yaml or "
        "config.yaml, or the flag in kubeadm-flags.env.",
        (
            "grep -rn -e containerRuntimeEndpoint -e container-runtime-endpoint /var/lib/kubelet/*.yaml "
            "/var/lib/kubelet/*.env",
        ),
    ),
)
def cri_socket(facts: Facts, expect: Expect) -> Iterator[Match]:
    wanted = expect.get("runtime")
    asked = _path(text(facts, "kubelet.cri_socket"))
    listening = _path(text(facts, f"runtimes.{wanted}.socket")) if isinstance(wanted, str) else ""
    if not _by_kubeadm(facts, expect) or wanted == "docker" or not asked or not listening or asked == listening:
        return
    yield Match(
        subject="kubelet",
        cause=f"kubelet speaks to {asked}, {wanted} listens at {listening}; expected the same.",
        evidence=(Evidence(text(facts, "kubelet.config_path") or "kubelet", asked),),
    )


def _path(socket: str) -> str:
    path = socket.replace("unix://", "", 1)
    return path.replace("/var/run/", "/run/", 1) if path.startswith("/var/run/") else path


@check(
    "kubelet-not-running",
    layer="kubelet",
    severity="fatal",
    meaning="The node belongs to a cluster, but its kubelet does not run.",
    remedy=Remedy(
        "Read why it stopped, then start it.", ("journalctl -b -u kubelet -n 50", "systemctl restart kubelet")
    ),
    consequence_of=(
        "kubelet-swap-on",
        "swap-on",
        "kubelet-unknown-flag",
        "kubelet-config-invalid",
        "kubelet-cgroup-v1-unsupported",
        "cgroup-driver-mismatch",
        "kubelet-cri-socket-unlike-runtime",
        "container-runtime-not-running",
    ),
)
def kubelet_down(facts: Facts, expect: Expect) -> Iterator[Match]:
    state = unit(facts, "kubelet")
    active = text(state, "active")
    if is_true(facts, "kubeadm.initialised") and active and active not in ("active", "reloading"):
        yield Match(
            subject="kubelet.service",
            cause=f"kubelet.service is {active} ({text(state, 'sub')}); expected active, because this node has "
            "joined a "
            "cluster.",
            evidence=(Evidence("systemctl show kubelet", f"ActiveState={active} SubState={text(state, 'sub')}"),),
        )


@check(
    "kubelet-not-at-boot",
    layer="kubelet",
    severity="fatal",
    meaning="kubelet is not started at boot, so the node stays NotReady after its next reboot.",
    remedy=Remedy("Enable it.", ("systemctl enable kubelet",), role="kubeadm", tag="kubeadm_packages"),
)
def kubelet_at_boot(facts: Facts, expect: Expect) -> Iterator[Match]:
    state = unit(facts, "kubelet")
    if is_true(facts, "kubeadm.initialised") and comes_at_boot(state) is False:
        yield Match(
            subject="kubelet.service",
            cause=f"kubelet.service is {text(state, 'enabled')}; expected enabled.",
            evidence=(Evidence("systemctl is-enabled kubelet", text(state, "enabled")),),
        )


@check(
    "kubelet-device-plugin-socket-missing",
    layer="kubelet",
    severity="degraded",
    meaning="kubelet runs, but its device-plugin socket is not there, so no plugin can register a GPU.",
    remedy=Remedy("Restart kubelet.", ("systemctl restart kubelet", "ls -l /var/lib/kubelet/device-plugins")),
    consequence_of=("kubelet-not-running",),
)
def plugin_socket(facts: Facts, expect: Expect) -> Iterator[Match]:
    value = look_up(facts, "kubelet.device_plugin_socket")
    present = value.get("present") if isinstance(value, Mapping) else value
    if (
        present is False
        and text(unit(facts, "kubelet"), "active") == "active"
        and is_true(facts, "kubeadm.initialised")
    ):
        yield Match(
            subject="kubelet",
            cause="/var/lib/kubelet/device-plugins/kubelet.sock does not exist, although kubelet is active; expected.",
            evidence=(Evidence("/var/lib/kubelet/device-plugins/kubelet.sock", "no such file"),),
        )


@check(
    "kubeadm-version-mismatch",
    layer="kubeadm",
    severity="degraded",
    meaning="kubeadm and kubelet are of minors that do not go together.",
    remedy=Remedy(
        "Install both at the cluster's minor; kubelet may be older by up to three, never newer.",
        ("kubeadm version -o short", "kubelet --version"),
    ),
)
def versions(facts: Facts, expect: Expect) -> Iterator[Match]:
    kubeadm, kubelet = minor_of(text(facts, "kubeadm.version")), minor_of(text(facts, "kubelet.version"))
    if not kubeadm or not kubelet or expect.get("kubernetes") not in (None, "kubeadm"):
        return
    if kubelet > kubeadm or kubeadm[1] - kubelet[1] > 3:
        yield Match(
            subject="kubelet",
            cause=f"kubelet is {text(facts, 'kubelet.version')}, kubeadm {text(facts, 'kubeadm.version')}; expected "
            "kubelet of the same minor, or up to three older.",
            evidence=(
                Evidence("kubelet --version", text(facts, "kubelet.version")),
                Evidence("kubeadm version", text(facts, "kubeadm.version")),
            ),
        )


@check(
    "kubeadm-leftover-state",
    layer="kubeadm",
    severity="degraded",
    meaning="Files of an earlier or half-made cluster are still there; kubeadm's preflight refuses to go on.",
    remedy=Remedy(
        "Make sure that nothing of it is needed, then reset. `kubeadm reset` deletes the cluster's state on this node, "
        "so nothing here runs it for you.",
        ("kubeadm reset",),
    ),
)
def leftovers(facts: Facts, expect: Expect) -> Iterator[Match]:
    value = look_up(facts, "kubeadm.leftovers")
    found = value if isinstance(value, list) and expect.get("kubernetes") in (None, "kubeadm") else []
    paths = [text(item, "path") if isinstance(item, Mapping) else str(item) for item in found]
    why = [text(item, "why") if isinstance(item, Mapping) else f"{item} is still there." for item in found]
    if paths:
        yield Match(
            subject=listed(paths[:4]),
            cause=f"{' '.join(why[:4])}{f' And {len(why) - 4} more.' if len(why) > 4 else ''} Expected a cluster "
            "that is "
            "complete, or nothing of it.",
            evidence=tuple(Evidence(path, "left over") for path in paths),
        )


@check(
    "kubeconfig-permission",
    layer="kubeadm",
    severity="degraded",
    meaning="A kubeconfig cannot be read by the user whose it is, or can be read by everybody.",
    remedy=Remedy(
        "Give the file to its user, mode 0600. On a control plane, the role does for `kubeadm_kubeconfig_users`.",
        ("chown <user>: <home>/.kube/config", "chmod 0600 <home>/.kube/config"),
        role="kubeadm",
        tag="kubeadm_keep",
    ),
)
def kubeconfigs(facts: Facts, expect: Expect) -> Iterator[Match]:
    plane = any(text(item, "path") == "/etc/kubernetes/admin.conf" for item in entries(facts, "kubeconfigs"))
    for item in entries(facts, "kubeconfigs"):
        path, user = text(item, "path"), text(item, "user") or text(item, "owner")
        given = plane and path.endswith("/.kube/config")  # there, users get theirs of the role
        found = f"owner {text(item, 'owner')}, mode {text(item, 'mode')}"
        if is_false(item, "readable_by_owner"):
            cause = f"{user} cannot read {path} ({found}); expected owner {user}, mode 0600."
        elif is_true(item, "readable_by_others") or _open(text(item, "mode")):
            cause = (
                f"{path} can be read by others than its owner ({found}), and holds a key to the cluster; expected 0600."
            )
        else:
            continue
        yield Match(
            subject=path,
            cause=cause,
            evidence=(Evidence(path, found),),
            remedy=Remedy(
                kubeconfigs.remedy.text,
                (f"chown {user}: {path}", f"chmod 0600 {path}"),
                role="kubeadm" if given else None,
                tag="kubeadm_keep" if given else None,
            ),
        )


def _open(mode: str) -> bool:
    try:
        return bool(int(mode, 8) & 0o044)
    except ValueError:
        return False
