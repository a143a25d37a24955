# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How kubeadm is called for what lacks, and what of its words may be told.

Rules of this file: no I/O. A call never resets: it runs ``init`` or ``join`` without the phases that are done, which
`--skip-phases` names. Secrets reach kubeadm by its file alone, and nothing that looks like one is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .kubeadm_state import INIT
from .machine_yaml import YamlError, loads_all
from .yaml_text import dumps_all

TOKEN = re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b")
KEY = re.compile(r"\b(?<!sha256:)[0-9a-f]{64}\b")
HIDDEN = "********"
SAID_LINES = 12

# The phases of join that every version from 1.28 on knows by name: another one would be refused as unknown.
JOIN_SKIPPABLE = ("preflight", "control-plane-prepare", "kubelet-start", "control-plane-join")


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of kubeadm's file. Raises ``ValueError`` for what is none."""
    try:
        found = loads_all(text)
    except YamlError as error:
        raise ValueError(f"kubeadm's configuration is not YAML: {error}") from None
    if not found or not all(isinstance(item, dict) for item in found):
        raise ValueError("kubeadm's configuration holds no document")
    return found


def skipped_by(config: Iterable[Mapping[str, Any]]) -> list[str]:
    """The phases that the site leaves out: `--skip-phases` puts the file's own `skipPhases` out of force."""
    for item in config:
        if item.get("kind") in ("InitConfiguration", "JoinConfiguration"):
            return [str(phase) for phase in item.get("skipPhases") or []]
    return []


def kind_for(member: str) -> str:
    return "InitConfiguration" if member == "first_control_plane" else "JoinConfiguration"


def arguments(member: str, judged: Mapping[str, Any], skipped: Iterable[str], path: str) -> list[str]:
    """kubeadm's command line for what lacks, its configuration being at ``path``."""
    resumed = judged["state"] != "none"
    if member == "first_control_plane":
        skip = [phase for phase in INIT if resumed and (phase == "preflight" or phase in judged["done"])]
        # nobody reads the command that it would print, and it insists on phases that are done
        skip = [*skip, *skipped, "show-join-command"]
        return [
            "init",
            f"--config={path}",
            f"--skip-phases={','.join(dict.fromkeys(skip))}",
            "--skip-token-print",
            "--skip-certificate-key-print",
        ]
    skip = [phase for phase in JOIN_SKIPPABLE if resumed and (phase == "preflight" or phase in judged["done"])]
    skip = list(dict.fromkeys([*skip, *skipped]))
    return ["join", f"--config={path}", *([f"--skip-phases={','.join(skip)}"] if skip else [])]


def with_short_token(config: list[dict[str, Any]], ttl: str = "10m0s") -> list[dict[str, Any]]:
    """``init`` makes a token that holds for a day, whether anybody joins or not: this one ends soon."""
    made = []
    for item in config:
        if item.get("kind") == "InitConfiguration" and not item.get("bootstrapTokens"):
            token = {"description": "made by kubeadm init, used by nobody", "ttl": ttl}
            item = {**item, "bootstrapTokens": [token]}
        made.append(item)
    return made


def with_certificate_key(config: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """The configuration for `init phase upload-certs`, by which joining control planes get the shared keys."""
    return [{**item, "certificateKey": key} if item.get("kind") == "InitConfiguration" else item for item in config]


def text_of(config: Iterable[Mapping[str, Any]]) -> str:
    return dumps_all(config)


def hide(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without tokens and keys: those that are known, and whatever has their form."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    return KEY.sub(HIDDEN, TOKEN.sub(HIDDEN, text))


def secrets_of(config: Iterable[Mapping[str, Any]]) -> list[str]:
    """The tokens and keys of a configuration, and the two halves of each token."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key in ("token", "tlsBootstrapToken", "certificateKey") and isinstance(inner, str):
                    found.extend([inner, inner.partition(".")[2]])
                else:
                    walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    for item in config:
        walk(item)
    return [secret for secret in found if secret]


def said(output: str, secrets: Iterable[str] = ()) -> str:
    """What a failed kubeadm said, as few lines as tell why: its errors, else its last words."""
    lines = [line.rstrip() for line in hide(output, secrets).splitlines() if line.strip()]
    errors = [
        line.strip()
        for line in lines
        if "[ERROR " in line or re.match(r"\s*(error|\[kubelet-check\].*fail|could not|timed out|Unfortunately)", line)
    ]
    chosen = list(dict.fromkeys(errors))[:SAID_LINES] or lines[-SAID_LINES:]
    return "\n".join(chosen)


def failed_phase(output: str) -> str:
    found = re.findall(r"error execution phase ([a-z0-9/-]+)", output)
    return found[-1] if found else ""
