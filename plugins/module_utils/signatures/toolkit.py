# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docker, nvidia-container-cli and nvidia-ctk print of the NVIDIA container toolkit."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature, shared

_CLI = "NVIDIA/libnvidia-container:src"

NOT_INSTALLED = shared(
    "toolkit-not-installed",
    (
        Signature(
            pattern=r"could not select device driver [\"'](?P<driver>[^\"'\n]{0,40})[\"'] with capabilities:"
            r" \[\[",
            literals=("could not select device driver",),
            component="dockerd",
            source="moby/moby:daemon/devices.go",
            versions=">=19.03",
            cause="Docker has no GPU device driver ({driver}): the NVIDIA container toolkit is not installed, or"
            " Docker was"
            " not restarted since.",
            sample='Error response from daemon: could not select device driver "nvidia" with capabilities: [[gpu]]',
        ),
        Signature(
            pattern=r"failed to discover GPU vendor from CDI|no known GPU vendor found",
            literals=("GPU vendor",),
            component="dockerd",
            source="moby/moby:daemon/devices.go",
            versions=">=28.3",
            cause="Docker finds neither the toolkit's hook nor a CDI specification for a GPU; expected one of them.",
            sample="docker: Error response from daemon: failed to discover GPU vendor from CDI: no known GPU vendor"
            " found.",
        ),
        Signature(
            pattern=r"nvidia-docker2?: (?:command )?not found",
            literals=("nvidia-docker",),
            component="shell",
            source="NVIDIA/nvidia-docker",
            cause="nvidia-docker is not installed; expected nvidia-container-toolkit.",
            sample="bash: nvidia-docker: command not found",
        ),
    ),
)

BINARY_MISSING = shared(
    "nvidia-runtime-binary-missing",
    (
        Signature(
            pattern=r"fork/exec (?P<binary>/\S{0,160}nvidia-(?:container-runtime|ctk|cdi-hook|container-toolkit"
            r"|container-cli)\S{0,40}): no such file",
            literals=("fork/exec",),
            component="containerd-shim, dockerd, runc",
            source="golang/go:src/os/exec",
            cause="{binary} does not exist, though the configuration names it; expected the toolkit's package"
            " installed.",
            sample="fork/exec /usr/bin/nvidia-container-runtime: no such file or directory: unknown",
        ),
        Signature(
            pattern=r"exec: [\"'](?P<binary>[^\"'\n]{0,160}nvidia-(?:container-runtime|container-runtime-hook"
            r"|container-toolkit|container-cli|ctk|cdi-hook)[\w.-]{0,40})[\"']: (?:executable file not found|stat"
            r" |file does not exist)",
            literals=("nvidia-container-", "nvidia-ctk", "nvidia-cdi-hook"),
            component="dockerd, containerd, runc, nerdctl",
            source="golang/go:src/os/exec/lp_unix.go",
            cause="{binary} is not found in PATH; expected the toolkit's package installed.",
            sample='OCI runtime create failed: exec: "nvidia-container-runtime-hook": executable file not found in'
            " $PATH:"
            " unknown.",
        ),
        Signature(
            pattern=r"(?:stat|lstat|error stat'ing file|cannot stat|invalid runtime_path for runtime"
            r" [\"']\S{1,60}[\"']:)"
            r"[^\n]{0,60}?(?P<binary>/\S{0,160}nvidia-(?:container-runtime(?:-hook)?|ctk|cdi-hook|container-toolkit"
            r"|container-cli)(?:\.\w{1,12})?)[\"'`]?:? (?:no such file|No such file)",
            literals=("nvidia-container-", "nvidia-ctk", "nvidia-cdi-hook"),
            component="CRI-O, runc, crun",
            source="cri-o/cri-o:pkg/config/config.go",
            cause="{binary} does not exist; expected the toolkit's package installed.",
            sample='Runtime handler "nvidia" is being ignored due to: invalid runtime_path for runtime'
            " 'nvidia': \"stat"
            ' /usr/bin/nvidia-container-runtime: no such file or directory"',
        ),
        Signature(
            pattern=r"nvidia-container-(?:runtime|cli|toolkit|runtime-hook)[\"']?: (?:command )?not found"
            r"|runtime [\"']?(?:/\S{0,80})?nvidia-container-runtime[\"']? (?:binary )?not (?:found|installed)"
            r"|executable nvidia-container-\S{1,40} not found",
            literals=("nvidia-container-",),
            component="shell, podman, toolkit container",
            source="NVIDIA/nvidia-container-toolkit:cmd/nvidia-ctk-installer",
            cause="A program of the toolkit is not installed; expected nvidia-container-toolkit.",
            sample="bash: nvidia-container-runtime: command not found",
        ),
        Signature(
            pattern=r"(?P<binary>/\S{0,120}nvidia-container-runtime(?:-hook)?(?:\.\w{1,12})?)[\"'`]{0,2}: (?:stat"
            r" [^\n]{1,160}: )?[Nn]o such file",
            literals=("nvidia-container-runtime",),
            component="containerd, CRI-O",
            source="golang/go:src/os/exec",
            cause="{binary} does not exist; expected the toolkit's package installed.",
            sample="failed to create shim: /usr/local/nvidia/toolkit/nvidia-container-runtime: no such file or"
            " directory",
        ),
    ),
)

DRIVER_ROOT = Failure(
    id="toolkit-driver-root-wrong",
    layer="toolkit",
    severity="fatal",
    meaning="The toolkit looks for the driver's files under the wrong root.",
    remedy=Remedy(
        "Say where the driver is: `/` where the host installed it, /run/nvidia/driver where the GPU Operator's driver"
        " container did. It stands in `root` of /etc/nvidia-container-runtime/config.toml, in NVIDIA_DRIVER_ROOT of the"
        " plugin, and in `driver.enabled` and `toolkit.env` of the operator.",
        ("nvidia-ctk config | grep -nE 'root|ldconfig|path'", "ls /run/nvidia/driver /usr/bin/nvidia-smi"),
        role="nvidia_container_toolkit",
        tag="nvidia_container_toolkit_config",
    ),
    signatures=(
        Signature(
            pattern=r"(?:open failed|stat failed|lstat|path error|mount operation failed|stat|open):?"
            r" (?P<path>/run/nvidia/"
            r"driver[^\s:\"']{0,160})[\"']?: ?[Nn]o such file|failed to change root directory: No such file",
            literals=("/run/nvidia/driver", "change root directory"),
            component="nvidia-container-cli, toolkit container",
            source=_CLI + "/nvc_ldcache.c",
            not_with=r"level=info|level=debug|Skipping library candidate",
            cause="{path} does not exist: the driver is not under /run/nvidia/driver; expected the root where it is.",
            sample="nvidia-container-cli: ldcache error: open failed: /run/nvidia/driver/sbin/ldconfig.real: no such"
            " file or"
            " directory",
        ),
        Signature(
            pattern=r"failed to (?:locate|get|find)[^\n]{0,120}libcuda\.so[^\n]{0,80}(?:not found|no such)|failed to"
            r" create"
            r" discoverer for driver (?:files|libraries)|failed to (?:locate|get|find) (?:the )?driver (?:root"
            r"|libraries)"
            r"|failed to get libraries for driver version|could not locate driver root|unable to locate driver root"
            r"|failed to (?:determine|get|resolve)(?: the)? driver root",
            literals=("libcuda.so", "discoverer for driver", "driver root", "driver libraries", "libraries for driver"),
            component="nvidia-ctk, device plugin, toolkit container",
            source="NVIDIA/nvidia-container-toolkit:pkg/nvcdi/driver-nvml.go",
            not_with=r"level=(?:info|warning|debug)",
            cause="No driver library is found under the driver root that the toolkit was given.",
            sample="error starting plugins: unable to create CDI spec file: failed to get CDI spec: failed to create"
            " discoverer"
            " for common entities: failed to create discoverer for driver files: failed to create discoverer for driver"
            " libraries: failed to get libraries for driver version: failed to locate libcuda.so.535.104.05: pattern"
            " libcuda.so.535.104.05 not found",
        ),
        Signature(
            pattern=r"using root (?P<root>/[\w.-]{1,60}\S{0,100})",
            literals=("using root /",),
            component="nvidia-container-cli",
            source=_CLI + "/nvc.c",
            near=("cli-failed",),
            cause="nvidia-container-cli looks under {root}, and finds no driver there.",
            sample="nvc.c:350] using root /run/nvidia/driver\nnvidia-container-cli: initialization error: load"
            " library failed:"
            " libnvidia-ml.so.1",
        ),
        Signature(
            pattern=r"chroot: failed to run command .{0,3}nvidia-smi",
            literals=("chroot: failed to run command",),
            component="gpu-operator-validator",
            source="NVIDIA/gpu-operator:cmd/nvidia-validator",
            cause="There is no nvidia-smi under the driver root that the operator looks in.",
            sample="chroot: failed to run command 'nvidia-smi': No such file or directory",
        ),
    ),
    mistaken_for=("nvml-library-not-found", "toolkit-ldconfig-failed"),
)

CGROUP_RULES = Failure(
    id="toolkit-cgroup-device-rules-failed",
    layer="toolkit",
    severity="fatal",
    meaning="libnvidia-container cannot write the container's device cgroup.",
    remedy=Remedy(
        "Update the toolkit (cgroup v2 needs libnvidia-container 1.8 or newer); in rootless or nested containers set"
        " `no-cgroups = true`; best, inject GPUs by CDI, which needs none of this.",
        (
            "nvidia-container-cli --version",
            "nvidia-ctk config --in-place --set nvidia-container-cli.no-cgroups=true",
        ),
        role="nvidia_container_toolkit",
        tag="nvidia_container_toolkit_config",
    ),
    signatures=(
        Signature(
            pattern=r"failed to add device rules|cgroup subsystem devices not found|bpf_prog_(?:query|attach"
            r"|load)[^\n]{0,60}"
            r"failed|unable to find any existing device filters|failed to get (?:device )?cgroup(?: mount path)?"
            r"|relative path in mount prefix",
            literals=(
                "failed to add device rules",
                "subsystem devices not found",
                "bpf_prog_",
                "existing device filters",
                "cgroup mount path",
                "failed to get cgroup",
                "relative path in mount prefix",
            ),
            component="nvidia-container-cli",
            source=_CLI + "/cgroup_legacy.c, " + _CLI.partition(":")[0] + ":src/nvcgo",
            cause="nvidia-container-cli cannot allow the GPU's devices in the container's cgroup.",
            sample="nvidia-container-cli: container error: cgroup subsystem devices not found: unknown.",
        ),
        Signature(
            pattern=r"(?:open failed|write error|write failed|mount error)[^\n]{0,40}:"
            r" /sys/fs/cgroup[^\s:]{0,200}(?:devices"
            r"\.allow|cgroup\.procs)?: (?P<why>[Pp]ermission denied|[Oo]peration not permitted)",
            literals=("/sys/fs/cgroup",),
            component="nvidia-container-cli",
            source=_CLI + "/cgroup_legacy.c",
            cause="nvidia-container-cli may not write devices.allow ({why}).",
            sample="nvidia-container-cli: mount error: open failed: /sys/fs/cgroup/devices/user.slice/devices.allow:"
            " permission denied",
        ),
        Signature(
            pattern=r"nvidia-container-cli[\w.]{0,8}: (?:container|mount) error:[^\n]{0,240}cgroup",
            literals=("nvidia-container-cli",),
            component="nvidia-container-cli",
            source="NVIDIA/libnvidia-container:src",
            cause="nvidia-container-cli cannot allow the GPU's devices in the container's cgroup.",
            sample="nvidia-container-cli: mount error: failed to add device rules: cgroup v2 bpf program attach failed",
        ),
    ),
)

LDCONFIG = Failure(
    id="toolkit-ldconfig-failed",
    layer="toolkit",
    severity="fatal",
    meaning="The ldconfig run that makes the driver's libraries known in a container fails.",
    remedy=Remedy(
        "Point `ldconfig` in /etc/nvidia-container-runtime/config.toml at the host's own (`@/sbin/ldconfig.real` on"
        " Debian"
        " and Ubuntu, `@/sbin/ldconfig` elsewhere), and update the toolkit; an error code 127 or 139 comes from an"
        " image"
        " whose C library is too old or of another architecture.",
        ("nvidia-ctk config | grep -n ldconfig", "ls -l /sbin/ldconfig /sbin/ldconfig.real"),
        role="nvidia_container_toolkit",
        tag="nvidia_container_toolkit_config",
    ),
    signatures=(
        Signature(
            pattern=r"process (?P<program>/\S{1,80}ldconfig\S{0,10}) (?:failed with error code: (?P<code>\d{1,3})"
            r"|terminated with signal)",
            literals=("ldconfig",),
            component="nvidia-container-cli",
            source=_CLI + "/nvc_ldcache.c",
            cause="{program} failed in the container (code {code}); expected 0.",
            sample="nvidia-container-cli: ldcache error: process /sbin/ldconfig.real failed with error code: 1:"
            " unknown.",
        ),
        Signature(
            pattern=r"ldcache error|could not start /\S{1,60}ldconfig|error (?:mounting|reading|creating|bind"
            r" mounting) (?:host"
            r" )?ldconfig|failed to (?:run|execute|update)[^\n]{0,60}(?:ldconfig|ld\.so\.cache|ldcache)"
            r"|update-ldcache[^\n]{0,160}(?:exit status [1-9]|failed|error)|ldconfig[^\n]{0,40}: (?:exit status [1-9]"
            r"|signal:)",
            literals=("ldcache", "ldconfig"),
            component="nvidia-container-cli, nvidia-cdi-hook",
            source="NVIDIA/nvidia-container-toolkit:internal/ldconfig",
            not_with=r"ldcache error: open failed: /run/nvidia/driver",
            cause="The toolkit could not run ldconfig for the container.",
            sample="nvc_ldcache.c:403] could not start /usr/sbin/ldconfig: mount operation failed: /dev: operation not"
            " permitted",
        ),
    ),
    mistaken_for=("toolkit-driver-root-wrong",),
)

REQUIREMENT = Failure(
    id="cuda-requirement-unsatisfied",
    layer="toolkit",
    severity="fatal",
    meaning="The image requires a newer CUDA, and so a newer driver, than the host has.",
    remedy=Remedy(
        "Upgrade the driver to a branch that brings the CUDA version named, or use an image built for an older CUDA."
        " NVIDIA_DISABLE_REQUIRE=true skips the check where forward compatibility covers it.",
        ("nvidia-smi | head -n 4",),
        role="nvidia_driver",
        tag="nvidia_driver_packages",
    ),
    signatures=(
        Signature(
            pattern=r"unsatisfied condition: (?P<condition>[^\n,]{3,80})",
            literals=("unsatisfied condition",),
            component="nvidia-container-cli, nvidia-container-runtime",
            source=_CLI + "/cli/dsl.c, NVIDIA/nvidia-container-toolkit:internal/requirements",
            cause="The image requires {condition}, which the host's driver does not satisfy.",
            sample="nvidia-container-cli: requirement error: unsatisfied condition: cuda>=11.0, please update your"
            " driver to a"
            " newer version, or use an earlier cuda container: unknown.",
        ),
        Signature(
            pattern=r"CUDA driver version is insufficient for CUDA runtime|NVIDIA driver on your system is too old"
            r"|cudaErrorInsufficientDriver|forward compatibility was attempted on non supported HW"
            r"|cudaErrorCompatNotSupportedOnDevice|PTX was compiled with an unsupported toolchain"
            r"|cudaErrorUnsupportedPtxVersion",
            literals=(
                "driver version is insufficient",
                "on your system is too old",
                "InsufficientDriver",
                "forward compatibility was attempted",
                "CompatNotSupported",
                "unsupported toolchain",
                "UnsupportedPtxVersion",
            ),
            component="CUDA, PyTorch",
            source="docs.nvidia.com/cuda/cuda-runtime-api (errors 35, 804, 222)",
            cause="The program needs a newer CUDA than the host's driver brings.",
            sample="CUDA driver version is insufficient for CUDA runtime version",
        ),
        Signature(
            pattern=r"requirement error:|built for NVIDIA Driver Release \S{3,12} or later, but|compatibility mode is"
            r" UNAVAILABLE|NVIDIA driver (?:version )?(?:is )?too old|driver version \S{3,14} is (?:too old|older"
            r" than)",
            literals=(
                "requirement error:",
                "built for NVIDIA Driver Release",
                "mode is UNAVAILABLE",
                "too old",
                "older than",
            ),
            component="nvidia-container-cli, NVIDIA's images",
            source="NVIDIA NGC images (entrypoint.d)",
            cause="The image requires a newer driver than the host has.",
            sample="ERROR: This container was built for NVIDIA Driver Release 470.57 or later, but version 450.51.06"
            " was detected and compatibility mode is UNAVAILABLE.",
            not_with="health",
        ),
    ),
)

FAILURES = (NOT_INSTALLED, BINARY_MISSING, DRIVER_ROOT, CGROUP_RULES, LDCONFIG, REQUIREMENT)
