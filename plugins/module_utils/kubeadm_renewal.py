# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of a control plane that end soon, renewed by kubeadm, and the programs that hold the old ones restarted.

What is renewed and not yet taken up is remembered in a file that is written before kubeadm runs, so that a run that
dies between is completed by the next. A container that is stopped is started by kubelet: no manifest is moved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import files
from .host import Completed, Host
from .ownership import STATE

MARK = f"{STATE}/kubeadm-certificates-renewed"
# kube-apiserver last: the others speak through it, and it has most to start.
COMPONENTS = ("etcd", "kube-controller-manager", "kube-scheduler", "kube-apiserver")
KUBELETS_OWN = ("kubelet-client", "kubelet.conf")
STOP_SECONDS = 30


class RenewalError(Exception):
    """Why the certificates are not renewed, or not taken up."""


def ending(certificates: Iterable[Mapping[str, Any]], within_days: int) -> list[dict[str, Any]]:
    """Those that kubeadm can renew and that end within so many days. kubelet renews its own, nobody an authority."""
    return [
        dict(one)
        for one in certificates
        if not one["authority"] and one["name"] not in KUBELETS_OWN and one["days_left"] < within_days
    ]


def containers(text: str) -> dict[str, str]:
    """Component -> id of its running container, from `crictl ps -o json`. Raises ``ValueError``."""
    told = json.loads(text)
    found = {}
    for one in told.get("containers") or [] if isinstance(told, Mapping) else []:
        metadata, labels = one.get("metadata") or {}, one.get("labels") or {}
        name = metadata.get("name")
        if name in COMPONENTS and labels.get("io.kubernetes.pod.namespace", "kube-system") == "kube-system":
            found[name] = str(one.get("id"))
    return found


def renew(
    host: Host,
    certificates: Iterable[Mapping[str, Any]],
    within_days: int,
    socket: str,
    alive: Callable[[], str],
    timeout_seconds: float = 120,
    write: bool = True,
) -> dict[str, Any]:
    """Renew what ends soon, and have it taken up. ``alive`` says why the API does not answer, or nothing."""
    soon = ending(certificates, within_days)
    mark = host.path(MARK)
    unfinished = files.read_text(mark) is not None
    if not soon and not unfinished:
        return {"changed": False, "renewed": [], "restarted": []}
    told = {"changed": True, "renewed": [one["path"] for one in soon], "restarted": list(COMPONENTS)}
    if not write:
        return told
    files.make_folder(host.path(STATE), 0o700)
    files.replace_text(mark, "The control plane is restarted once more, for its renewed certificates.\n", mode=0o600)
    if soon:
        _ok(host.run("kubeadm", "certs", "renew", "all", timeout_seconds=timeout_seconds), "kubeadm certs renew all")
    crictl = ("crictl", f"--runtime-endpoint={socket}")
    listed = _ok(host.run(*crictl, "ps", "-o", "json", timeout_seconds=timeout_seconds), "crictl ps")
    try:
        running = containers(listed)
    except ValueError:
        raise RenewalError("crictl ps told no JSON, so the control plane was not restarted. Run again.") from None
    restarted = [name for name in COMPONENTS if name in running]
    for name in restarted:
        # a container that is gone by now was restarted by somebody else
        host.run(
            *crictl, "stop", f"--timeout={STOP_SECONDS}", running[name], timeout_seconds=STOP_SECONDS + timeout_seconds
        )
    problem = alive()
    if problem:
        raise RenewalError(
            f"The certificates are renewed and the control plane was restarted, but its API does not answer: {problem}."
            " See `crictl ps -a` and `journalctl -u kubelet`; the next run waits for it again."
        )
    files.remove(mark)
    return {**told, "restarted": restarted}


def _ok(done: Completed, what: str) -> str:
    if not done.ok:
        words = " ".join((done.err or done.out).split())[-600:]
        raise RenewalError(f"`{what}` ended with {done.rc}: {words}. What is renewed stays; run again.")
    return done.out
