# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVML, nvidia-smi and everybody who calls them print when the driver does not answer."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature, shared

_RETURNS = "NVIDIA/go-nvml:gen/nvml/nvml.h (nvmlReturn_t)"
_CLI = "NVIDIA/libnvidia-container:src/nvc.c, src/error_generic.c"

MISMATCH = shared(
    "nvml-driver-library-version-mismatch",
    (
        Signature(
            pattern=r"API mismatch: the client (?:\S{1,60} )?has the version"
            r" (?P<library>\d{2,3}\.[\d.]{1,12}\d)[^\n]{0,20}"
            r"(?:\s{1,60}[^\n]{0,80}){0,3}?has the version (?P<module>\d{2,3}\.[\d.]{1,12}\d)",
            literals=("API mismatch",),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:src/nvidia/arch/nvalloc/unix/src/osapi.c",
            cause="The user-space library is {library}, the loaded module {module}; expected the same version.",
            sample="NVRM: API mismatch: the client has the version 535.54.03, but\nNVRM: this kernel module has the"
            " version"
            " 530.30.02.  Please",
        ),
        Signature(
            pattern=r"API mismatch: the (?:NVIDIA kernel module|client)",
            literals=("API mismatch",),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:src/nvidia/arch/nvalloc/unix/src/osapi.c",
            cause="User-space library and loaded module are of different driver versions.",
            sample="NVRM: API mismatch: the client has the version 367.44, but",
        ),
        Signature(
            pattern=r"[Dd]river/library version mismatch|LIB_RM_VERSION_MISMATCH|RM has detected an NVML/RM version"
            r" mismatch|SYSTEM_DRIVER_MISMATCH|cudaErrorSystemDriverMismatch|system has unsupported display driver",
            literals=(
                "river/library version mismatch",
                "LIB_RM_VERSION_MISMATCH",
                "NVML/RM version",
                "DRIVER_MISMATCH",
                "DriverMismatch",
                "unsupported display driver",
            ),
            component="nvidia-smi, nvidia-container-cli, NVML's callers, CUDA 803",
            source=_RETURNS,
            cause="User-space library and loaded module are of different driver versions, so NVML cannot start.",
            sample="Failed to initialize NVML: Driver/library version mismatch",
        ),
        Signature(
            pattern=r"kernel version (?P<module>\d{2,3}\.[\d.]{1,12}\d) does not match DSO version"
            r" (?P<library>\d{2,3}\.[\d.]{1,12}\d)",
            literals=("does not match DSO version",),
            component="TensorFlow",
            source="tensorflow/tensorflow:third_party/xla/xla/stream_executor/cuda/cuda_diagnostics.cc",
            cause="The loaded module is {module}, the library {library}; expected the same version.",
            sample="kernel version 525.105.17 does not match DSO version 530.30.2 -- cannot find working devices in"
            " this"
            " configuration",
        ),
        Signature(
            pattern=r"Failed to initialize NVML: Driver/lib|Detected (?:a )?version mismatch[^\n]{0,60}(?:NVML|driver)",
            literals=("initialize NVML: Driver/lib", "version mismatch"),
            component="nvidia-smi, DCGM",
            source="NVIDIA/go-nvml:gen/nvml/nvml.h",
            cause="User-space library and loaded module are of different driver versions.",
            sample="Failed to initialize NVML: Driver/lib",
        ),
    ),
)

LIBRARY = shared(
    "nvml-library-not-found",
    (
        Signature(
            pattern=r"load library failed: libnvidia-ml|nvidia-container-cli: initialization error: load library"
            r" failed",
            literals=("load library failed",),
            component="nvidia-container-cli",
            source=_CLI,
            cause="nvidia-container-cli finds no libnvidia-ml.so.1 on the host; expected the driver's libraries there.",
            sample="nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open"
            " shared"
            " object file: no such file or directory: unknown",
        ),
        Signature(
            pattern=r"couldn.t find libnvidia-ml\.so|NVML Shared Library Not Found|libnvidia-ml\.so(?:\.1)?[\"']?"
            r" (?:was )?not"
            r" found|failed to (?:initialize|init) (?:NVML|nvml): (?:ERROR_LIBRARY_NOT_FOUND|Library Not Found)"
            r"|NVMLError_LibraryNotFound|failed to locate libnvidia-ml",
            literals=(
                "libnvidia-ml",
                "NVML Shared Library Not Found",
                "ERROR_LIBRARY_NOT_FOUND",
                "Library Not Found",
                "LibraryNotFound",
            ),
            component="nvidia-smi, pynvml, nvidia-ctk",
            source=_RETURNS,
            unless=("device-plugin", "dcgm-exporter", "feature-discovery"),
            cause="libnvidia-ml.so.1 is not found; expected the driver's user-space libraries where the loader looks.",
            sample="NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA"
            " Display"
            " Driver is properly installed and present in your system.",
        ),
        Signature(
            pattern=r"libnvidia-ml\.so(?:\.1)?: cannot open shared",
            literals=("libnvidia-ml",),
            component="ld.so",
            source="glibc:elf/dl-load.c",
            unless=("device-plugin", "dcgm-exporter", "feature-discovery"),
            not_with=r"could not load NVML library|Detected non-NVML",
            cause="libnvidia-ml.so.1 cannot be opened; expected the driver's user-space libraries.",
            sample="OSError: libnvidia-ml.so.1: cannot open shared object file: No such file or directory",
            weak=True,
        ),
    ),
    consequence_of=("toolkit-driver-root-wrong", "apt-broken-package-state"),
    mistaken_for=("plugin-without-nvidia-runtime", "monitoring-without-nvidia-runtime", "toolkit-driver-root-wrong"),
)

NOT_LOADED = shared(
    "nvml-driver-not-loaded",
    (
        Signature(
            pattern=r"nvml error: driver not loaded|Driver [Nn]ot [Ll]oaded|ERROR_DRIVER_NOT_LOADED|DRIVER_NOT_LOADED"
            r"|NVMLError_DriverNotLoaded|NVIDIA driver (?:is )?not loaded",
            literals=(
                "river not loaded",
                "river Not Loaded",
                "DRIVER_NOT_LOADED",
                "DriverNotLoaded",
                "driver is not loaded",
            ),
            component="nvidia-container-cli, nvidia-smi, NVML's callers",
            source=_RETURNS,
            cause="NVML says that the NVIDIA kernel module is not loaded; expected it loaded at boot.",
            sample="nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown.",
        ),
        Signature(
            pattern=r"couldn.{0,3}t communicate with the NVIDIA driver|could not communicate with the NVIDIA driver",
            literals=("communicate with the NVIDIA driver",),
            component="nvidia-smi",
            source="nvidia-smi (NVML_ERROR_DRIVER_NOT_LOADED)",
            cause="nvidia-smi cannot speak to the driver: the kernel module is not loaded.",
            sample="NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the"
            " latest"
            " NVIDIA driver is installed and running.",
        ),
        Signature(
            pattern=r"Module nvidia(?:[-_]\w{1,20})? not found in directory|could not insert"
            r" [\"']?nvidia[\w-]{0,20}[\"']?:"
            r" (?:No such device|Unknown symbol|Invalid argument|Exec format error|No such file)"
            r"|[Ff]ailed to (?:load|insert) (?:kernel )?module [\"']?nvidia\b|open(?:ing)? /proc/driver/nvidia/version"
            r"|/proc/driver/nvidia/version[\"']?:? [Nn]o such file",
            literals=("Module nvidia", "could not insert", "ailed to load", "ailed to insert", "/proc/driver/nvidia"),
            component="modprobe, systemd-modules-load",
            source="kmod:tools/modprobe.c",
            cause="The nvidia module cannot be loaded into this kernel; expected a module built for it.",
            sample="modprobe: FATAL: Module nvidia not found in directory /lib/modules/5.15.0-91-generic",
        ),
        Signature(
            pattern=r"nvidia-container-cli: initialization error: driver (?:error|rpc error)|nvidia-container-cli:"
            r" initialization error: cuda error: no cuda-capable device|nvidia-persistenced failed to initialize"
            r"|Failed to query NVIDIA devices|kernel driver does not appear to be running on this host"
            r"|NVIDIA: failed to load the NVIDIA kernel module|Failed to load the NVIDIA kernel module"
            r"|initialization error: nvml error: unknown error",
            literals=(
                "nvidia-container-cli: initialization error",
                "nvidia-persistenced failed",
                "Failed to query NVIDIA devices",
                "driver does not appear to be running",
                "ailed to load the NVIDIA kernel",
                "nvml error: unknown error",
            ),
            component="nvidia-container-cli, nvidia-persistenced, TensorFlow, X",
            source=_CLI,
            cause="The NVIDIA driver does not answer: its kernel module is not loaded, or has no device.",
            sample="nvidia-container-cli: initialization error: driver error: failed to process request",
            weak=True,
        ),
        Signature(
            pattern=r"/dev/nvidia(?:\*|ctl|-uvm|-uvm-tools|\d{1,2})[\"']{0,2}:? [Nn]o such file|device"
            r" [\"']/dev/nvidia\S{0,12}[\"']: no such file|NVIDIA-SMI has failed because it could|nvidia driver"
            r" modules are not yet loaded|could not insert [\"']?nvidia",
            literals=("/dev/nvidia", "NVIDIA-SMI has failed", "driver modules are not yet", "could not insert"),
            component="ls, docker, nvidia-container-runtime",
            source="NVIDIA/nvidia-container-toolkit:cmd/nvidia-ctk-installer",
            cause="The nvidia module is not loaded: its device files are not there.",
            sample="ls: cannot access '/dev/nvidia*': No such file or directory",
            weak=True,
            not_with="Key was rejected|Required key not available",
        ),
    ),
    consequence_of=(
        "nouveau-conflict",
        "secure-boot-unsigned-module",
        "open-kernel-module-required",
        "open-module-unsupported-gpu",
        "driver-too-old-for-gpu",
        "kernel-headers-missing",
        "dkms-build-failed",
        "gpu-lost-off-bus",
        "gsp-firmware-init-failed",
        "rm-init-adapter-failed",
        "toolkit-driver-root-wrong",
    ),
)

UNKNOWN_ERROR = Failure(
    id="nvml-unknown-error-cgroup",
    layer="nvml",
    severity="fatal",
    meaning="A running container lost its GPU devices, because its device cgroup was written anew (as a rule by"
    " `systemctl daemon-reload`).",
    remedy=Remedy(
        "Restart the container. To have it stay: inject GPUs by CDI, so that the runtime itself knows of the devices"
        " (expected: toolkit 1.18 in `auto` mode, or `cdi`); or create the links in /dev/char; or use the same cgroup"
        " driver, cgroupfs, everywhere.",
        ("nvidia-ctk system create-dev-char-symlinks --create-all", "nvidia-ctk config | grep -n mode"),
        role="nvidia_container_toolkit",
        tag="nvidia_container_toolkit_config",
    ),
    signatures=(
        Signature(
            pattern=r"(?:Failed to initialize NVML|[Ff]ailed to (?:initialize|init) nvml|NVML[^\n]{0,20}): (?:Unknown"
            r" Error"
            r"|ERROR_UNKNOWN)\b|NVMLError_Unknown",
            literals=("Unknown Error", "ERROR_UNKNOWN", "NVMLError_Unknown"),
            component="nvidia-smi, NVML's callers in a container",
            source="NVIDIA/nvidia-container-toolkit#48",
            cause="NVML answers Unknown Error: the container may not open /dev/nvidia* any more.",
            sample="Failed to initialize NVML: Unknown Error",
        ),
        Signature(
            pattern=r"[Nn](?:vml|VML)[^\n]{0,40}[Uu]nknown [Ee]rror",
            literals=("nknown Error", "nknown error"),
            component="NVML's callers in a container",
            source="NVIDIA/nvidia-container-toolkit#48",
            cause="NVML answers Unknown Error: the container may not open /dev/nvidia* any more.",
            sample="Error: could not initialize nvml: Unknown Error",
            weak=True,
            not_with="nvidia-container-cli",
        ),
    ),
    mistaken_for=("nvml-insufficient-permissions",),
)

PERMISSIONS = shared(
    "nvml-insufficient-permissions",
    (
        Signature(
            pattern=r"[Ii]nsufficient [Pp]ermissions(?! to (?:access|use) (?:the )?(?:repo|cluster|resource))"
            r"|ERROR_NO_PERMISSION|NVMLError_NoPermission",
            literals=("nsufficient Permissions", "nsufficient permissions", "ERROR_NO_PERMISSION", "NoPermission"),
            component="nvidia-smi, nvidia-container-cli, NVML's callers",
            source=_RETURNS,
            not_with=r"S3|bucket|IAM|AWS|API token|HTTP 403",
            cause="NVML may not open the device files of the GPUs; expected /dev/nvidia* with mode 0666, and no"
            " SELinux in"
            " the way.",
            sample="Failed to initialize NVML: Insufficient Permissions",
        ),
        Signature(
            pattern=r"/dev/nvidia(?:ctl|-uvm|-uvm-tools|\d{1,2})[\"']?:? [Pp]ermission denied",
            literals=("/dev/nvidia",),
            component="any program that opens a device",
            source="the C library's text of EACCES",
            cause="A device file of the GPU may not be opened; expected mode 0666.",
            sample="could not open /dev/nvidiactl: Permission denied",
        ),
    ),
    consequence_of=("selinux-denied",),
    mistaken_for=("selinux-denied", "nvml-unknown-error-cgroup"),
)

FAILURES = (MISMATCH, NOT_LOADED, LIBRARY, UNKNOWN_ERROR, PERMISSIONS)
