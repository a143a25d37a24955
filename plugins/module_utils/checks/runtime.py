# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Container runtimes: there, accepted by themselves, answering, with the handler that injects GPUs, and at boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .reading import (
    comes_at_boot,
    is_false,
    is_true,
    listed,
    look_up,
    looked_at,
    mapping,
    mappings,
    minor_of,
    names,
    text,
    unit,
)
from .toolkit import configured, said

UNITS = {"crio": "crio.service", "containerd": "containerd.service", "docker": "docker.service", "k3s": "k3s.service"}
_TOOLKIT = "nvidia_container_toolkit"


def role_of(runtime: str) -> str | None:
    return runtime if runtime in ("crio", "containerd", "docker") else None


def wanted_runtimes(facts: Facts, expect: Expect) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, facts) of the runtime expected; where none is named, of each that is installed."""
    known = mappings(facts, "runtimes")
    wanted = expect.get("runtime")
    if isinstance(wanted, str):
        return [(wanted, known.get(wanted, {}))] if looked_at(facts, "runtimes") and wanted in known else []
    # containerd beside Docker is Docker's own, and not for kubelet to use.
    found = [(name, state) for name, state in known.items() if is_true(state, "installed")]
    if any(name == "docker" for name, _state in found):
        found = [(name, state) for name, state in found if name != "containerd"]
    return found


def unit_of(runtime: str, state: Mapping[str, Any]) -> str:
    return text(state, "unit") or UNITS.get(runtime, runtime)


@check(
    "crio-binary-missing",
    layer="runtime",
    severity="fatal",
    meaning="The runtime's service or package is there, but its executable is not.",
    remedy=Remedy(
        "Reinstall the package: its state says installed, so a plain installation does nothing.",
        ("apt-get install --reinstall cri-o",),
    ),
    consequence_of=("apt-broken-package-state",),
)
def binary_missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    packages = {"crio": ("cri-o",), "containerd": ("containerd", "containerd.io"), "docker": ("docker.io", "docker-ce")}
    for name, state in mappings(facts, "runtimes").items():
        if expect.get("runtime") not in (None, name) or look_up(state, "binary") is not None:
            continue
        installed = mappings(facts, "packages.installed")
        package = next((item for item in packages.get(name, ()) if item in installed), None)
        has_unit = text(unit(facts, unit_of(name, state)), "load") == "loaded"
        if looked_at(state, "binary") and (package or has_unit):
            told = f"the package {package}" if package else f"the unit {unit_of(name, state)}"
            yield Match(
                subject=name,
                cause=f"{told[0].upper()}{told[1:]} is installed, but its executable is nowhere in PATH; expected "
                "there.",
                evidence=(Evidence(package or unit_of(name, state), "installed, without its executable"),),
                remedy=Remedy(
                    binary_missing.remedy.text,
                    (f"apt-get install --reinstall {package or name}",),
                    role=role_of(name),
                    tag=f"{name}_packages" if role_of(name) else None,
                ),
            )


@check(
    "container-runtime-not-installed",
    layer="runtime",
    severity="fatal",
    meaning="The container runtime that this site chose is not installed, or none is.",
    remedy=Remedy("Install it, or correct `gpunode_runtime`."),
    consequence_of=("crio-binary-missing", "apt-broken-package-state", "apt-key-or-repo-failure"),
)
def not_installed(facts: Facts, expect: Expect) -> Iterator[Match]:
    known, wanted = mappings(facts, "runtimes"), expect.get("runtime")
    if not looked_at(facts, "runtimes") or not known:
        return
    present = [name for name, state in known.items() if is_true(state, "installed")]
    if isinstance(wanted, str) and is_false(known.get(wanted, {}), "installed"):
        yield Match(
            subject=wanted,
            cause=f"{wanted} is not installed (there: {listed(present)}); expected, because this site chose it.",
            evidence=(Evidence("PATH", f"no {wanted}"),),
            remedy=Remedy(
                not_installed.remedy.text,
                (),
                role=role_of(wanted),
                tag=f"{wanted}_packages" if role_of(wanted) else None,
            ),
        )
    elif wanted is None and not present and expect.get("gpu") and expect.get("handler"):
        yield Match(
            subject="container runtime",
            cause="No container runtime is installed; expected CRI-O, containerd, Docker or k3s.",
            evidence=(Evidence("PATH", f"none of {listed(known)}"),),
        )


def _config_match(facts: Facts, name: str, state: Mapping[str, Any]) -> Match:
    told, line = said(look_up(state, "config_problem"))
    problem = look_up(state, "config_problem")
    files = names(state, "config_files")
    path = (problem.get("path") if isinstance(problem, Mapping) else None) or (files[-1] if files else name)
    return Match(
        subject=str(path),
        cause=f"{name} refuses its configuration ({path}{f':{line}' if line else ''}): {told}. Expected a "
        f"configuration that {name} itself accepts.",
        evidence=(Evidence(str(path), told, line),),
        remedy=Remedy(
            "Mend the line it names, or move the file away. Drop-ins of ours are written anew by the role.",
            {
                "containerd": ("containerd config dump > /dev/null", "journalctl -b -u containerd -n 20"),
                "crio": ("crio config > /dev/null", "journalctl -b -u crio -n 20"),
                "docker": ("dockerd --validate --config-file /etc/docker/daemon.json",),
            }.get(name, (f"journalctl -b -u {unit_of(name, state)} -n 20",)),
            role=role_of(name),
            tag=f"{name}_config" if role_of(name) else None,
        ),
    )


@check(
    "containerd-config-invalid",
    layer="runtime",
    severity="fatal",
    meaning="containerd refuses its config.toml or a file that it imports.",
    remedy=Remedy("Mend the line it names.", ("containerd config dump",), role="containerd", tag="containerd_config"),
)
def containerd_config(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, state in wanted_runtimes(facts, expect):
        if name == "containerd" and look_up(state, "config_problem"):
            yield _config_match(facts, name, state)


@check(
    "runtime-config-invalid",
    layer="runtime",
    severity="fatal",
    meaning="CRI-O, Docker or k3s refuses its configuration.",
    remedy=Remedy("Mend the line it names.", ("crio config", "dockerd --validate")),
)
def other_config(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, state in wanted_runtimes(facts, expect):
        if name != "containerd" and look_up(state, "config_problem"):
            yield _config_match(facts, name, state)


@check(
    "runtime-config-refused-at-restart",
    layer="runtime",
    severity="degraded",
    meaning="A configuration changed since the runtime started, and the runtime refuses it: it runs until its next "
    "restart, or until the node's reboot.",
    remedy=Remedy(
        "Mend the file as the words say, or move it away, and have the runtime judge it before anything restarts. "
        "Drop-ins of ours are written anew by the role.",
        ("containerd config dump > /dev/null", "crio config > /dev/null", "dockerd --validate"),
    ),
)
def refused_at_restart(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, state in wanted_runtimes(facts, expect):
        if not is_false(state, "unread.accepted"):
            continue
        files, words = names(state, "unread.files"), text(state, "unread.refusal")
        command = text(state, "unread.command") or name
        reason = (words.splitlines() or ["it does not say why"])[-1].rstrip(".")
        path = next((file for file in names(state, "config_files") if file in files), files[0] if files else name)
        yield Match(
            subject=path,
            cause=f"{name} runs with what it read at {text(state, 'unread.since')}; {listed(files)} changed since, and "
            f"{name} refuses it: {reason}. Expected a configuration that it accepts: restarted with this one, at the "
            "latest by the node's next boot, it does not come up.",
            evidence=(
                Evidence(command, words),
                *(Evidence(file, f"newer than the running {name}") for file in files),
            ),
            remedy=Remedy(
                f"Mend {path} as the words say, or move it away; do not restart {unit_of(name, state)} before it is "
                "accepted. Drop-ins of ours are written anew by the role.",
                (f"{command} > /dev/null", f"systemctl restart {unit_of(name, state)}"),
                role=role_of(name),
                tag=f"{name}_config" if role_of(name) else None,
            ),
        )


@check(
    "runtime-config-not-read",
    layer="runtime",
    severity="notice",
    meaning="A configuration or unit file is newer than the running runtime: what it says is not in force, and comes "
    "with the next restart.",
    remedy=Remedy(
        "Restart the runtime when it suits: Docker stops its containers unless live-restore is on, CRI-O and "
        "containerd leave theirs running.",
        ("systemctl daemon-reload", "systemctl restart <unit>"),
    ),
)
def not_read(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, state in wanted_runtimes(facts, expect):
        files = names(state, "unread.files")
        if not files or is_false(state, "unread.accepted") or look_up(state, "config_problem"):
            continue
        yield Match(
            subject=unit_of(name, state),
            cause=f"{name} runs with what it read at {text(state, 'unread.since')}; {listed(files)} changed since"
            f"{f', and {name} would accept it' if is_true(state, 'unread.accepted') else ''}. Expected in force.",
            evidence=tuple(Evidence(file, f"newer than the running {name}") for file in files),
            remedy=Remedy(
                not_read.remedy.text, ("systemctl daemon-reload", f"systemctl restart {unit_of(name, state)}")
            ),
        )


@check(
    "containerd-cri-disabled",
    layer="runtime",
    severity="fatal",
    meaning="containerd runs without its CRI service, so kubelet gets `unknown service runtime.v1.RuntimeService`.",
    remedy=Remedy(
        "Take `cri` out of `disabled_plugins` in /etc/containerd/config.toml (Docker's containerd.io package puts it "
        "there), and restart containerd.",
        ("grep -n disabled_plugins /etc/containerd/config.toml", "systemctl restart containerd"),
        role="containerd",
        tag="containerd_config",
    ),
    consequence_of=("containerd-config-invalid",),
)
def cri_disabled(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, state in wanted_runtimes(facts, expect):
        if name != "containerd" or not is_true(state, "installed"):
            continue
        disabled = [item for item in names(state, "disabled_plugins") if "cri" in item.replace(".", " ").split()]
        if disabled or is_false(state, "cri_enabled"):
            files = names(state, "config_files")
            yield Match(
                subject="containerd",
                cause="containerd runs with its CRI service disabled "
                f"({f'disabled_plugins names {listed(disabled)}' if disabled else 'the socket knows no CRI'}); "
                "expected enabled, because kubelet speaks nothing else.",
                evidence=(
                    Evidence(files[0] if files else "/etc/containerd/config.toml", f"disabled: {listed(disabled)}"),
                ),
            )


@check(
    "conmon-not-found",
    layer="runtime",
    severity="fatal",
    meaning="CRI-O cannot find conmon for a runtime handler, and refuses to start.",
    remedy=Remedy(
        "Give the handler `monitor_path` with the full path: CRI-O's packages keep conmon in /usr/libexec/crio.",
        ("ls -l /usr/libexec/crio/conmon", "grep -rn monitor_path /etc/crio"),
        role=_TOOLKIT,
        tag="nvidia_container_toolkit_runtime",
    ),
)
def conmon(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, state in wanted_runtimes(facts, expect):
        if name != "crio":
            continue
        for handler, own in mappings(state, "handlers").items():
            if is_false(own, "conmon_exists") and text(own, "type") in ("oci", ""):
                path = text(own, "conmon")
                told = (
                    f"monitor_path {path}, which does not exist" if path else "no monitor_path, and PATH has no conmon"
                )
                yield Match(
                    subject=f"crio, handler {handler}",
                    cause=f"The handler {handler} has {told}; expected the path of conmon.",
                    evidence=configured(own, f"handler {handler}") or (Evidence("PATH", "no conmon"),),
                )


@check(
    "container-runtime-not-running",
    layer="runtime",
    severity="fatal",
    meaning="The container runtime's socket is not there or does not answer.",
    remedy=Remedy("Start it, and read why it stopped.", ("systemctl status <unit>", "journalctl -b -u <unit>")),
    consequence_of=(
        "crio-binary-missing",
        "containerd-config-invalid",
        "runtime-config-invalid",
        "conmon-not-found",
        "low-level-runtime-not-found",
        "containerd-cri-disabled",
    ),
)
def not_running(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, state in wanted_runtimes(facts, expect):
        if not is_true(state, "installed") or not is_false(state, "answers"):
            continue
        service = unit_of(name, state)
        active = text(unit(facts, service), "active")
        socket = text(state, "socket") or "its socket"
        yield Match(
            subject=service,
            cause=f"{name} {text(state, 'version')} does not answer at {socket}"
            f"{f' and {service} is {active}' if active else ''}; expected an answer.",
            evidence=(
                Evidence(socket, text(state, "answer_problem") or "no answer"),
                *((Evidence(f"systemctl show {service}", f"ActiveState={active}"),) if active else ()),
            ),
            remedy=Remedy(
                not_running.remedy.text,
                (f"systemctl start {service}", f"systemctl status {service}", f"journalctl -b -u {service} -n 50"),
                role=role_of(name),
                tag=f"{name}_config" if role_of(name) else None,
            ),
        )


@check(
    "runtime-not-enabled-at-boot",
    layer="runtime",
    severity="fatal",
    meaning="The container runtime is not started at boot, so the node stays down after its next reboot.",
    remedy=Remedy("Enable its unit.", ("systemctl enable <unit>",)),
    consequence_of=("container-runtime-not-installed", "crio-binary-missing"),
)
def at_boot(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, state in wanted_runtimes(facts, expect):
        service = unit_of(name, state)
        if name == "k3s" and not unit(facts, service):
            service = "k3s-agent.service"
        if is_true(state, "installed") and comes_at_boot(unit(facts, service)) is False:
            enabled = text(unit(facts, service), "enabled")
            yield Match(
                subject=service,
                cause=f"{service} is {enabled}; expected enabled, or nothing runs after a reboot.",
                evidence=(Evidence(f"systemctl is-enabled {service}", enabled),),
                remedy=Remedy(
                    at_boot.remedy.text,
                    (f"systemctl enable --now {service}",),
                    role=role_of(name),
                    tag=f"{name}_config" if role_of(name) else None,
                ),
            )


@check(
    "runtime-handler-missing",
    layer="runtime",
    severity="fatal",
    meaning="The runtime does not know the handler that injects GPUs, so pods of its RuntimeClass cannot start.",
    remedy=Remedy(
        "Configure the handler in the runtime and restart it.",
        ("crictl info | grep -A2 -i handler",),
        role=_TOOLKIT,
        tag="nvidia_container_toolkit_runtime",
    ),
    consequence_of=(
        "toolkit-not-installed",
        "nvidia-runtime-binary-missing",
        "containerd-config-invalid",
        "runtime-config-invalid",
        "runtime-config-refused-at-restart",
        "containerd-cri-disabled",
        "container-runtime-not-running",
    ),
)
def handler_missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    handler = expect.get("handler")
    if not expect.get("gpu") or not isinstance(handler, str) or not handler:
        return
    for name, state in wanted_runtimes(facts, expect):
        if not is_true(state, "installed") or not looked_at(state, "handlers"):
            continue
        known = mapping(state, "handlers")
        files = names(state, "config_files")
        if handler not in known:
            yield Match(
                subject=f"{name}, handler {handler}",
                cause=f"{name} knows the handlers {listed(known)}; expected {handler} among them.",
                evidence=tuple(Evidence(file, f"no handler {handler}") for file in files),
            )
        elif is_false(known[handler], "in_force"):
            mend = "Restart the runtime. If the handler still is not there, the file is none that it reads."
            commands: tuple[str, ...] = (f"systemctl restart {unit_of(name, state)}",)
            if is_false(state, "unread.accepted"):
                mend = "Mend the configuration that the runtime refuses, then restart it: not before, for it would end."
                commands = (f"{text(state, 'unread.command') or name} > /dev/null", *commands)
            why = text(known[handler], "dropped") or "it was not restarted since, or reads another file"
            yield Match(
                subject=f"{name}, handler {handler}",
                cause=f"{name} is configured for the handler {handler}, but the running {name} does not know it: "
                f"{why}. Expected in force.",
                evidence=(
                    Evidence(text(state, "socket") or name, f"no handler {handler}"),
                    *configured(known[handler], f"handler {handler}"),
                ),
                remedy=Remedy(mend, commands, role=_TOOLKIT, tag="nvidia_container_toolkit_runtime"),
            )


@check(
    "handler-cgroup-driver-differs",
    layer="runtime",
    severity="degraded",
    meaning="A runtime's handlers use different cgroup drivers, so GPU pods are accounted apart from all others.",
    remedy=Remedy(
        "Give every handler the same: in containerd, `SystemdCgroup = true` on each of them.",
        ("containerd config dump | grep -B6 SystemdCgroup",),
        role=_TOOLKIT,
        tag="nvidia_container_toolkit_runtime",
    ),
)
def handler_cgroups(facts: Facts, expect: Expect) -> Iterator[Match]:
    handler = expect.get("handler")
    for name, state in wanted_runtimes(facts, expect):
        drivers = {own: text(item, "cgroup_driver") for own, item in mappings(state, "handlers").items()}
        default = drivers.get(text(state, "default_handler")) or drivers.get("runc") or ""
        mine = drivers.get(handler, "") if isinstance(handler, str) else ""
        if default and mine and default != mine:
            yield Match(
                subject=f"{name}, handler {handler}",
                cause=f"The handler {handler} uses the cgroup driver {mine}, the default handler {default}; expected "
                "one for all.",
                evidence=configured(look_up(state, "handlers", {}).get(handler), f"{handler}: {mine}")
                or (Evidence(name, f"{handler}: {mine}"),),
            )


@check(
    "crio-kubernetes-minor-mismatch",
    layer="runtime",
    severity="degraded",
    meaning="CRI-O and kubelet are of different minors; they are released and tested in pairs.",
    remedy=Remedy(
        "Install the CRI-O minor of your Kubernetes.",
        ("crio version", "kubelet --version"),
        role="crio",
        tag="crio_packages",
    ),
)
def crio_minor(facts: Facts, expect: Expect) -> Iterator[Match]:
    crio, kubelet = minor_of(text(facts, "runtimes.crio.version")), minor_of(text(facts, "kubelet.version"))
    used = expect.get("runtime") in (None, "crio") and is_true(facts, "runtimes.crio.installed")
    if used and crio and kubelet and crio != kubelet:
        yield Match(
            subject="crio",
            cause=f"CRI-O is {text(facts, 'runtimes.crio.version')}, kubelet {text(facts, 'kubelet.version')}; "
            f"expected CRI-O {kubelet[0]}.{kubelet[1]}.",
            evidence=(Evidence("crio version", text(facts, "runtimes.crio.version")),),
        )


@check(
    "cni-not-initialized",
    layer="runtime",
    severity="degraded",
    meaning="The node belongs to a cluster, but has no CNI configuration: pods stay in ContainerCreating.",
    remedy=Remedy(
        "Install the pod network, or look why its DaemonSet does not run on this node.",
        ("ls -l /etc/cni/net.d", "kubectl get pods -A -o wide --field-selector spec.nodeName=<node>"),
    ),
    consequence_of=("container-runtime-not-running", "containerd-cri-disabled"),
)
def cni(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not is_true(facts, "kubeadm.initialised"):
        return
    for name, state in wanted_runtimes(facts, expect):
        if name in ("crio", "containerd") and looked_at(state, "cni.configs") and not names(state, "cni.configs"):
            folder = text(state, "cni.conf_dir") or "/etc/cni/net.d"
            yield Match(
                subject=folder,
                cause=f"{folder} holds no CNI configuration, so the runtime reports its network not ready; expected "
                "one from the cluster's pod network.",
                evidence=(Evidence(folder, "no *.conf, *.conflist or *.json"),),
            )


@check(
    "cni-default-config-in-the-way",
    layer="runtime",
    severity="degraded",
    meaning="CRI-O's own bridge configuration sorts before the cluster's pod network, and pods get unroutable "
    "addresses.",
    remedy=Remedy(
        "Rename it, so that the runtime no longer reads it.",
        ("mv /etc/cni/net.d/<name> /etc/cni/net.d/<name>.gpunode-disabled",),
        role="crio",
        tag="crio_config",
    ),
)
def cni_default(facts: Facts, expect: Expect) -> Iterator[Match]:
    for name, state in wanted_runtimes(facts, expect):
        configs = [item.rsplit("/", 1)[-1] for item in names(state, "cni.configs")]
        default = [item for item in configs if "crio" in item and "bridge" in item]
        if name == "crio" and default and expect.get("kubernetes") != "none" and is_true(facts, "kubelet.installed"):
            folder = text(state, "cni.conf_dir") or "/etc/cni/net.d"
            yield Match(
                subject=f"{folder}/{default[0]}",
                cause=f"{folder}/{default[0]} is in force (there: {listed(configs)}); expected only the pod network "
                "of the "
                "cluster.",
                evidence=(Evidence(f"{folder}/{default[0]}", "enabled"),),
            )
