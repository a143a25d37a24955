# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door to the core of k3s' configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpunode.ready.plugins.module_utils import k3s_config as core


def k3s_problems(settings: Any, look: Any = None, choices: Any = None) -> list[str]:
    """Everything against running k3s on a node."""
    for name, given in (("settings", settings), ("look", look or {}), ("choices", choices or {})):
        if not isinstance(given, Mapping):
            raise AnsibleFilterError(f"k3s_problems: {name} is {type(given).__name__}; expected a dictionary")
    return core.problems(dict(settings), look, choices)


def k3s_config(settings: Any) -> str:
    """The file. Settings with problems are refused."""
    wrong = k3s_problems(settings)
    if wrong:
        raise AnsibleFilterError(f"k3s_config: {'; '.join(wrong)}")
    return core.text(dict(settings))


def k3s_registries(registries: Any) -> str:
    if not isinstance(registries, Mapping):
        raise AnsibleFilterError(f"k3s_registries: {type(registries).__name__}; expected a dictionary")
    return core.registries_text(registries)


def k3s_download(version: str, base_url: str, machine: str) -> dict[str, str]:
    """Where a release's program and its checksums lie."""
    try:
        return core.download(str(base_url), str(version), str(machine))
    except ValueError as error:
        raise AnsibleFilterError(f"k3s_download: {error}") from None


def k3s_checksum(listing: str, name: str) -> str:
    """A file's sha256 in a list of checksums."""
    try:
        return core.checksum_in(str(listing), str(name))
    except ValueError as error:
        raise AnsibleFilterError(f"k3s_checksum: {error}") from None


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "k3s_checksum": k3s_checksum,
            "k3s_config": k3s_config,
            "k3s_download": k3s_download,
            "k3s_problems": k3s_problems,
            "k3s_registries": k3s_registries,
        }
