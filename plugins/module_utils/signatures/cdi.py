# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runtimes and nvidia-ctk print of CDI specifications."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature, shared

MISSING = shared(
    "cdi-spec-missing",
    (
        Signature(
            pattern=r"Found 0 CDI devices|[Nn]o CDI (?:spec(?:ification)?s?|devices?)(?: files?)?(?: (?:was|were))?"
            r" (?:found|exist"
            r"|present|available)|(?:stat|open|lstat|access) [\"']?(?P<file>(?:/etc|/var/run"
            r"|/run)/cdi(?:/[\w.-]{0,60})?)[\"']?: [Nn]o"
            r" such file|no CDI specs? (?:found|loaded)",
            literals=("Found 0 CDI devices", "CDI spec", "CDI device", "/cdi"),
            component="nvidia-ctk, podman",
            source="NVIDIA/nvidia-container-toolkit:cmd/nvidia-ctk/cdi/list/list.go",
            versions="nvidia-ctk >=1.12",
            cause="There is no CDI specification; expected one for the GPUs in /etc/cdi or /var/run/cdi.",
            sample='time="2026-01-01T00:00:00Z" level=info msg="Found 0 CDI devices"',
        ),
    ),
)

STALE = shared(
    "cdi-spec-stale-after-driver-upgrade",
    (
        Signature(
            pattern=r"failed to stat CDI host device [\"']?(?P<device>[^\"'\s]{3,120})",
            literals=("stat CDI host device",),
            component="containerd, CRI-O, podman, Docker",
            source="cncf-tags/container-device-interface:pkg/cdi/container-edits_unix.go",
            cause="The CDI specification names {device}, which does not exist; expected it written anew since this"
            " boot.",
            sample='failed to inject devices: failed to stat CDI host device "/dev/dri/renderD129": no such file or'
            " directory",
        ),
        Signature(
            pattern=r"(?:error stat'ing file|cannot stat|error mounting|failed to fulfil mount request: open|lstat"
            r"|stat|open)"
            r" [\"'`]?(?P<file>/\S{0,160}(?:nvidia|cuda|nvcuvid|nvoptix|GLX"
            r"|EGL)\S{0,60}\.so\.\d{2,3}\.\d{2,3}[\d.]{0,6})[\"'`]?"
            r"(?:: | to rootfs[^\n]{0,400}?)[Nn]o such file",
            literals=(".so.",),
            component="crun, runc",
            source="containers/crun:src/libcrun/linux.c, opencontainers/runc:libcontainer/rootfs_linux.go",
            not_with=r"Skipping library candidate|level=(?:info|debug|warning)",
            cause="The CDI specification names {file}, a file of another driver version; expected it written anew"
            " since the driver"
            " changed.",
            sample="crun: error stat'ing file /lib/x86_64-linux-gnu/libEGL_nvidia.so.535.161.07: No such file or"
            " directory: OCI"
            " runtime attempted to invoke a command that was not found",
        ),
    ),
)

UNRESOLVABLE = Failure(
    id="cdi-unresolvable-device",
    layer="cdi",
    severity="fatal",
    meaning="A CDI device that was asked for stands in no specification that is loaded.",
    remedy=Remedy(
        "List the names that exist and ask for one of them; where there are none, or MIG or the GPUs changed since,"
        " write the"
        " specification anew.",
        ("nvidia-ctk cdi list", "nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml"),
        role="cdi",
        tag="cdi_spec",
    ),
    signatures=(
        Signature(
            pattern=r"unresolvable CDI devices? (?P<devices>[^\n\"]{1,200})|could not resolve CDI devices?"
            r"|failed to resolve CDI device|unresolved CDI device",
            literals=("unresolvable CDI device", "resolve CDI device", "unresolved CDI device"),
            component="containerd, CRI-O, podman, Docker, kata",
            source="cncf-tags/container-device-interface:pkg/cdi/cache.go",
            not_with=r"level=warning",
            cause="No loaded CDI specification has {devices}; expected a name that `nvidia-ctk cdi list` prints.",
            sample="failed to inject CDI devices: unresolvable CDI devices nvidia.com/gpu=all",
        ),
        Signature(
            pattern=r"Error: stat (?P<device>[\w.-]{1,60}/[\w-]{1,30}=[\w:-]{1,80}): no such file",
            literals=("Error: stat ",),
            component="podman",
            source="containers/podman#14763",
            versions="podman <4.1",
            cause="podman takes {device} for a path, because no CDI specification has it.",
            sample="Error: stat nvidia.com/gpu=all: no such file or directory",
        ),
        Signature(
            pattern=r"unknown CDI device|CDI device [^\n]{1,80} (?:not found|does not exist)|failed to inject CDI"
            r" device",
            literals=("CDI device",),
            component="runtimes",
            source="cncf-tags/container-device-interface:pkg/cdi",
            cause="A CDI device that was asked for stands in no specification that is loaded.",
            sample='CDI device "nvidia.com/gpu=9" not found',
            weak=True,
        ),
    ),
    consequence_of=("cdi-spec-missing", "cdi-spec-stale-after-driver-upgrade"),
    mistaken_for=("cdi-spec-missing",),
)

FAILURES = (MISSING, STALE, UNRESOLVABLE)
