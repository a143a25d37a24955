# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why kubeadm would fail on a node, or should not be run on it, known before anything changes: every reason at once.

Rules of this file: facts, state and choices in, sentences out; each with what was found, what was expected, and a way
out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import kubeadm_config
from .node import look_up

Facts = Mapping[str, Any]
CERTIFICATE_DAYS = 365  # certificateValidityPeriod, where nobody sets it: 8760h
SOCKETS = {
    "crio": "/var/run/crio/crio.sock",
    "containerd": "/run/containerd/containerd.sock",
    "docker": "/run/cri-dockerd.sock",
}


def socket_of(facts: Facts, runtime: str) -> str:
    """The CRI socket of a runtime as kubeadm takes it; Docker's is that of cri-dockerd."""
    told = look_up(facts, f"runtimes.{runtime}.socket") if runtime != "docker" else None
    path = str(told or SOCKETS.get(runtime, ""))
    return f"unix://{path}" if path.startswith("/") else path


def driver_of(facts: Facts, runtime: str, chosen: str = "auto") -> str:
    """kubelet's cgroup driver: the one chosen, else the one that the runtime has in force, else systemd."""
    if chosen in ("systemd", "cgroupfs"):
        return chosen
    row = look_up(facts, f"cgroups.programs.{runtime}", {})
    found = (row.get("in_force") or row.get("configured")) if isinstance(row, Mapping) else None
    return str(found or look_up(facts, "cgroups.value") or "systemd")


def problems(facts: Facts, state: Mapping[str, Any], choices: Mapping[str, Any]) -> list[str]:
    """Everything against running kubeadm here.

    ``state``: what ``kubeadm_info`` told. ``choices``: ``settings`` (as ``kubeadm_config`` takes them), ``member``,
    ``runtime``, ``cgroup_driver`` (as chosen), ``certificates_days`` (0: not renewed), ``allow_change``,
    ``first_control_plane``, ``ca_cert_hash`` (its cluster's), ``hosts`` (of the inventory).
    """
    found: list[str] = []
    for check in (_settings, _foreign, _other_cluster, _cluster, _runtime, _host, _leftovers, _version, _days):
        found += check(facts, state, choices)
    return list(dict.fromkeys(found))


def _settings(facts: Facts, state: Mapping[str, Any], choices: Mapping[str, Any]) -> list[str]:
    try:
        told = kubeadm_config.problems(choices["settings"])
    except ValueError as error:
        return [str(error)]
    return [f"kubeadm_{problem}" for problem in told]


def _foreign(facts: Facts, state: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    if state.get("state") == "foreign":
        for reason in state.get("reasons") or []:
            yield (
                f"{reason}. Drain the node, delete it in that cluster and run `kubeadm reset` on it, if nothing there "
                "is needed any more; or correct the inventory. Nothing here resets a node"
            )


def _other_cluster(facts: Facts, state: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    found, wanted = state.get("ca_cert_hash"), choices.get("ca_cert_hash")
    if state.get("state") in ("member", "join-incomplete") and found and wanted and found != wanted:
        first = choices.get("first_control_plane")
        yield (
            f"this node is {state['state']} of the cluster at {state.get('server')}, whose CA is {found}; expected "
            f"that of {first}, {wanted}. Nothing here resets a node"
        )


def _cluster(facts: Facts, state: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    number = choices["settings"].get("control_planes", 1)
    if isinstance(number, int) and number > 1 and number % 2 == 0:
        yield (
            f"there would be {number} control planes, of which etcd can lose no more than of {number - 1}; expected an "
            "odd number of them"
        )
    first, hosts = str(choices.get("first_control_plane") or ""), _listed(choices.get("hosts"))
    if first and hosts and first not in hosts:
        yield f"kubeadm_first_control_plane is `{first}`, which the inventory does not have; expected one of its hosts"
    if choices.get("member") != "first_control_plane" and not first:
        yield "kubeadm_first_control_plane is empty, and this node joins; expected the host that makes its credentials"


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) else []


def _runtime(facts: Facts, state: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    runtime, chosen = str(choices.get("runtime")), str(choices.get("cgroup_driver") or "auto")
    row = look_up(facts, f"runtimes.{runtime}", {})
    if choices.get("runtime_expected", True):
        if not isinstance(row, Mapping) or not row.get("installed"):
            yield f"{runtime} is not installed; expected it, because kubeadm_runtime says so: run its role first"
        elif row.get("answers") is False:
            why = row.get("answer_problem") or "no reason given"
            yield f"{runtime} does not answer at {row.get('socket')}: {why}; see `systemctl status {runtime}`"
        elif runtime == "docker" and not _shimmed(facts, choices):
            yield "kubelet cannot speak to Docker itself; expected cri-dockerd, running, at kubeadm_cri_socket"
    driver = look_up(facts, f"cgroups.programs.{runtime}", {})
    in_force = driver.get("in_force") if isinstance(driver, Mapping) else None
    if chosen in ("systemd", "cgroupfs") and in_force and in_force != chosen:
        yield (
            f"kubeadm_cgroup_driver is {chosen} and {runtime} has {in_force} in force; expected the same, or kubelet "
            "and its pods end in different trees"
        )


def _shimmed(facts: Facts, choices: Mapping[str, Any]) -> bool:
    """Whether cri-dockerd stands between, as far as its socket and its unit tell."""
    units = look_up(facts, "units", {})
    unit = units.get("cri-docker.socket") if isinstance(units, Mapping) else None
    runs = not isinstance(unit, Mapping) or unit.get("active") == "active"
    return runs and "cri-docker" in str(choices["settings"].get("cri_socket", ""))


def _host(facts: Facts, state: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    config = choices["settings"].get("kubelet_config")
    live = look_up(facts, "swap.live", [])
    if live and (not isinstance(config, Mapping) or config.get("failSwapOn", True) is not False):
        items = live if isinstance(live, list) else []
        paths = ", ".join(str(item.get("path")) for item in items if isinstance(item, Mapping))
        yield (
            f"swap is on ({paths}), so kubelet would not start; expected it off (role host_prep), or failSwapOn "
            "false in kubeadm_kubelet_config"
        )
    minor = kubeadm_config.minor_of(choices["settings"].get("version"))
    refused = not isinstance(config, Mapping) or config.get("failCgroupV1", True) is not False
    if look_up(facts, "cgroups.hierarchy") == "v1" and minor is not None and minor >= 35 and refused:
        yield (
            f"this host runs cgroup v1, which kubelet 1.{minor} refuses; expected v2 "
            "(`systemd.unified_cgroup_hierarchy=1` on the kernel command line)"
        )


def _leftovers(facts: Facts, state: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    if state.get("state") != "none":
        return
    left = look_up(facts, "kubeadm.leftovers", [])
    for item in left if isinstance(left, list) else []:
        # a configuration of the pod network is not in kubeadm's way
        if isinstance(item, Mapping) and not str(item.get("path")).startswith("/etc/cni/"):
            why = str(item.get("why", "")).rstrip(".")
            yield f"{why}; expected nothing of it. `kubeadm reset` on this node deletes it, if nothing of it is needed"


def _version(facts: Facts, state: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    wanted = str(choices["settings"].get("version") or "")
    node = state.get("node")
    running = node.get("kubelet_version") if isinstance(node, Mapping) else None
    if state.get("state") == "member" and running and running != wanted and not choices.get("allow_change"):
        yield (
            f"this node is a member with kubelet {running}, and kubeadm_version is {wanted}; expected the version that "
            "runs. Another one is an upgrade, which drains the node and goes control plane by control plane"
        )


def _days(facts: Facts, state: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    days = choices.get("certificates_days")
    if isinstance(days, int) and days >= CERTIFICATE_DAYS:
        yield (
            f"kubeadm_certificates_days is {days}, and a certificate that kubeadm renews ends in {CERTIFICATE_DAYS} "
            f"days; expected fewer than {CERTIFICATE_DAYS}, or every run would renew them and restart the control plane"
        )
