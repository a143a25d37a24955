# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running container runtime has not read yet, and whether it would start with it.

A configuration can be well-formed and still be refused. The process that runs read an older one, so nobody notices
until its next restart, which is often the node's reboot. So the files are compared with the process; only where one is
newer, the program is asked to judge them, by the commands with which it does so without starting: `crio config`,
`containerd config dump`, `dockerd --validate` (Docker 23 and newer).

Rules of this file: it looks, through ``Host``. Where nothing is newer, no program runs.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from typing import Any, Union

from .host import Completed, Host
from .runtime_files import ContainerdConfig, CrioConfig, DockerConfig
from .secrecy import hide
from .service_unit import telling
from .unit_files import unit_files

Config = Union[CrioConfig, ContainerdConfig, DockerConfig]

CHECK_SECONDS = 5.0
# The kernel tells its boot by the whole second, and a file is often written just before the restart that reads it.
MARGIN_SECONDS = 2.0
# In cgroup v2 a service lies in its slice; in v1 below a controller, too. A slice may lie in another one.
CGROUPS = ("/sys/fs/cgroup/*/{unit}/cgroup.procs", "/sys/fs/cgroup/*/*/{unit}/cgroup.procs")


def unread(host: Host, program: str, config: Config) -> dict[str, Any] | None:
    """What changed since the running program read its files; None where nothing did, or where it does not run."""
    unit = config.service.unit
    pid = main_process(host, unit, program)
    since = process_start(host, pid) if pid else None
    if since is None:
        return None
    changed = {path: status.st_ctime for path in _sources(host, config) for status in [host.stat(path)] if status}
    if max(changed.values(), default=0.0) <= since + MARGIN_SECONDS:
        return None
    since = last_read(host, unit, since)
    newer = [path for path, when in changed.items() if when > since + MARGIN_SECONDS]
    if not newer:
        return None
    return {
        "files": newer,
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since)),
        **judged(host, program, config),
    }


def main_process(host: Host, unit: str, program: str) -> int | None:
    """The process of a unit that runs the program; shims and monitors stand in the same cgroup."""
    for pattern in CGROUPS:
        for path in host.glob(pattern.format(unit=unit)):
            for pid in (host.text(path) or "").split():
                if pid.isdigit() and host.line(f"/proc/{pid}/comm") == program:
                    return int(pid)
    return None


def process_start(host: Host, pid: int) -> float | None:
    """When a process began, in seconds since the epoch."""
    boot = re.search(r"^btime ([0-9]+)$", host.text("/proc/stat") or "", re.MULTILINE)
    # fields from the third on: the second is a name in brackets, which may hold blanks and brackets
    fields = (host.text(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    if not boot or len(fields) < 20 or not fields[19].isdigit():
        return None
    return int(boot[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def last_read(host: Host, unit: str, start: float) -> float:
    """When a service that began at ``start`` last came up, or was last reloaded, which changes its state, too."""
    began, changed = "ExecMainStartTimestampMonotonic", "StateChangeTimestampMonotonic"
    told = host.run("systemctl", "show", f"--property={began},{changed}", "--", unit).out
    given = {name: int(value) for name, value in re.findall(r"^(\w+)=([0-9]+)$", told, re.MULTILINE)}
    return start + max(0, given.get(changed, 0) - given[began]) / 1e6 if given.get(began) else start


def judged(host: Host, program: str, config: Config) -> dict[str, Any]:
    """The command that asked the program, whether it accepts its files, and its words where it refuses them.

    Nothing is known where it cannot be asked. Files that cannot even be read are judged elsewhere.
    """
    found: dict[str, Any] = {"command": None, "accepted": None, "refusal": None}
    binary, arguments = host.which(program), config.check()
    if binary is None or config.problem or not arguments:
        return found
    done = host.run(binary, *arguments, timeout_seconds=CHECK_SECONDS)
    if done.rc < 0 or done.rc in (124, 126, 127) or "unknown flag: --validate" in done.err:
        return found
    refusal = None if done.ok else _words(done)
    return {"command": shlex.join([program, *arguments]), "accepted": done.ok, "refusal": refusal}


def _words(done: Completed) -> str:
    said = telling((done.err.strip() or done.out.strip()).splitlines())
    return hide("\n".join(said)) or f"exit status {done.rc}, and no word"


def _sources(host: Host, config: Config) -> list[str]:
    """Every file that says what the program is to do: its configuration, its unit with drop-ins, environment files."""
    own = [config.path] if isinstance(config, DockerConfig) else [file.path for file in config.files]
    variables = [said.path for said in config.service.environment.values() if said.path]
    return list(dict.fromkeys([*own, *unit_files(host, config.service.unit), *variables]))
