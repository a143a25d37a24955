# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NVIDIA container toolkit: there, whole, and able to find the low-level runtime it hands over to."""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .reading import (
    is_false,
    is_true,
    listed,
    look_up,
    mapping,
    mappings,
    text,
)

_ROLE = "nvidia_container_toolkit"
RUNTIME = "nvidia-container-runtime"


def toolkit_wanted(expect: Expect) -> bool:
    return bool(expect.get("gpu")) and bool(expect.get("handler") or expect.get("cdi"))


@check(
    "toolkit-not-installed",
    layer="toolkit",
    severity="fatal",
    meaning="The NVIDIA container toolkit is not installed, so no container gets a GPU.",
    remedy=Remedy("Install it.", (), role=_ROLE, tag="nvidia_container_toolkit_packages"),
    consequence_of=("apt-broken-package-state", "apt-key-or-repo-failure"),
)
def not_installed(facts: Facts, expect: Expect) -> Iterator[Match]:
    if toolkit_wanted(expect) and is_false(facts, "toolkit.installed"):
        yield Match(
            subject="nvidia-container-toolkit",
            cause="Neither nvidia-ctk nor nvidia-container-runtime is in PATH; expected the NVIDIA container toolkit.",
            evidence=(Evidence("PATH", "no nvidia-ctk"),),
        )


@check(
    "nvidia-runtime-binary-missing",
    layer="toolkit",
    severity="fatal",
    meaning="A program of the toolkit that the runtime or CDI calls does not exist.",
    remedy=Remedy(
        "Reinstall the toolkit's packages: one is missing, or its file was removed.",
        ("apt-get install --reinstall nvidia-container-toolkit nvidia-container-toolkit-base",),
        role=_ROLE,
        tag="nvidia_container_toolkit_packages",
    ),
    consequence_of=("toolkit-not-installed", "apt-broken-package-state"),
)
def binaries(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not toolkit_wanted(expect):
        return
    present = mapping(facts, "toolkit.binaries")
    needed = (["nvidia-ctk"] if expect.get("cdi") else []) + ([RUNTIME] if expect.get("handler") else [])
    absent = [name for name in needed if name in present and present[name] is None]
    if is_true(facts, "toolkit.installed") and absent:
        yield Match(
            subject=listed(absent),
            cause=f"The toolkit {text(facts, 'toolkit.version')} is installed, but {listed(absent)} "
            f"{'is' if len(absent) == 1 else 'are'} not in PATH; expected in /usr/bin.",
            evidence=tuple(Evidence(f"/usr/bin/{name}", "no such file") for name in absent),
        )
    for runtime, handler, state in handlers(facts):
        path = text(state, "path")
        if is_false(state, "path_exists") and "nvidia" in path:
            yield Match(
                subject=f"{runtime}, handler {handler}",
                cause=f"{runtime} calls {path} for its handler {handler}, and that file does not exist; expected the "
                "toolkit's runtime.",
                evidence=(Evidence(path, "no such file"), *configured(state, f"handler {handler}")),
            )


def handlers(facts: Facts) -> Iterator[tuple[str, str, object]]:
    """(runtime, handler, its facts) of every runtime that is installed."""
    for runtime, state in mappings(facts, "runtimes").items():
        if is_true(state, "installed"):
            for handler, own in mappings(state, "handlers").items():
                yield runtime, handler, own


def configured(state: object, told: str) -> tuple[Evidence, ...]:
    """Where a handler is configured; nothing where it is built in."""
    path, line = text(state, "configured_in"), look_up(state, "line")
    return (Evidence(path, told, line if isinstance(line, int) else None),) if path else ()


@check(
    "toolkit-config-invalid",
    layer="toolkit",
    severity="fatal",
    meaning="The toolkit's own configuration cannot be read, so every GPU container fails.",
    remedy=Remedy(
        "Mend the line, or move the file away and let the toolkit write its default.",
        ("nvidia-ctk config", "nvidia-ctk --quiet config --in-place"),
    ),
)
def config_invalid(facts: Facts, expect: Expect) -> Iterator[Match]:
    problem = look_up(facts, "toolkit.config.problem")
    if toolkit_wanted(expect) and problem:
        path = text(facts, "toolkit.config.path") or "/etc/nvidia-container-runtime/config.toml"
        told, line = said(problem)
        yield Match(
            subject=path,
            cause=f"{path}{f':{line}' if line else ''} cannot be read: {told}. Expected valid TOML.",
            evidence=(Evidence(path, told, line),),
        )


def said(problem: object) -> tuple[str, int | None]:
    """(text, line) of a problem, whether it is told as a sentence or as path, line and text."""
    if isinstance(problem, dict):
        line = problem.get("line")
        told = problem.get("text") or problem.get("message") or problem.get("problem") or "cannot be read"
        return str(told).rstrip("."), line if isinstance(line, int) else None
    return str(problem).strip().rstrip("."), None


@check(
    "low-level-runtime-not-found",
    layer="toolkit",
    severity="fatal",
    meaning="The runtime that really starts containers (runc or crun) is not found where it is looked for.",
    remedy=Remedy(
        "Name it with its full path in `runtimes` of /etc/nvidia-container-runtime/config.toml (CRI-O keeps its own in "
        "/usr/libexec/crio), or install runc or crun.",
        ("nvidia-ctk config --in-place --set nvidia-container-runtime.runtimes=/usr/libexec/crio/crun:/usr/sbin/runc",),
        role=_ROLE,
        tag="nvidia_container_toolkit_config",
    ),
)
def low_level(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not toolkit_wanted(expect):
        return
    wanted = look_up(facts, "toolkit.config.runtimes")
    if expect.get("handler") and is_true(facts, "toolkit.installed") and isinstance(wanted, list) and wanted:
        resolved = look_up(facts, "toolkit.config.resolved")
        found = [item for item in resolved if item] if isinstance(resolved, (list, dict)) else None
        if isinstance(resolved, dict):
            found = [path for path in resolved.values() if path]
        if found == []:
            path = text(facts, "toolkit.config.path") or "/etc/nvidia-container-runtime/config.toml"
            told = " ".join(str(item) for item in wanted)
            line = look_up(facts, "toolkit.config.runtimes_line")
            yield Match(
                subject=RUNTIME,
                cause=f"Of its candidates [{told}] not one exists, so every GPU container ends with `no runtime binary "
                f"found from candidate list: [{told}]`; expected at least one.",
                evidence=(Evidence(path, f"runtimes = [{told}]", line if isinstance(line, int) else None),),
            )
    for runtime, handler, state in handlers(facts):
        path = text(state, "path")
        if is_false(state, "path_exists") and path and "nvidia" not in path:
            yield Match(
                subject=f"{runtime}, handler {handler}",
                cause=f"{runtime} calls {path} for its handler {handler}, and that file does not exist; expected "
                "runc or "
                "crun there.",
                evidence=(Evidence(path, "no such file"), *configured(state, f"handler {handler}")),
                remedy=Remedy(
                    f"Give the handler {handler} the path of a runtime that is there.",
                    ("command -v runc crun", "ls /usr/libexec/crio"),
                    role=runtime if runtime in ("crio", "containerd", "docker") else None,
                ),
            )


@check(
    "runtime-link-missing",
    layer="toolkit",
    severity="degraded",
    meaning="runc or crun is not in /usr/bin, where it was asked for; the container runtime keeps it elsewhere.",
    remedy=Remedy(
        "Link it there.",
        ("ln -s /usr/libexec/crio/crun /usr/bin/crun",),
        role=_ROLE,
        tag="nvidia_container_toolkit_links",
    ),
    consequence_of=("low-level-runtime-not-found",),
)
def link_missing(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not expect.get("runtime_links") or not toolkit_wanted(expect):
        return
    runtime = text(expect, "runtime")
    for name, path in mapping(facts, f"runtimes.{runtime}.oci_runtimes").items():
        if path and is_false(facts, f"toolkit.links.{name}"):
            yield Match(
                subject=f"/usr/bin/{name}",
                cause=(
                    f"/usr/bin/{name} does not exist; expected a link to {path} "
                    "(nvidia_container_toolkit_runtime_links)."
                ),
                evidence=(Evidence(f"/usr/bin/{name}", "no such file"),),
            )
