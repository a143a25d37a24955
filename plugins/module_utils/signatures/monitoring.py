# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the DCGM exporter, DCGM and Kepler print."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature

_EXPORTER = "NVIDIA/dcgm-exporter:"

NON_GPU = Failure(
    id="dcgm-exporter-on-non-gpu-node",
    layer="monitoring",
    severity="degraded",
    meaning="dcgm-exporter runs on a machine without an NVIDIA GPU that DCGM supports.",
    remedy=Remedy(
        "Keep the exporter to nodes with a GPU by a node selector (nvidia.com/gpu.present=true). Tegra (Jetson) and"
        " GPUs without NVML are not"
        " supported by DCGM.",
        ("kubectl get ds -A | grep dcgm", "lspci -nn -d 10de:"),
    ),
    signatures=(
        Signature(
            pattern=r"[Ff]ailed to initialize NVML|DCGM initialization error|ERROR_LIBRARY_NOT_FOUND|libnvidia-ml\.so",
            literals=(
                "ailed to initialize NVML",
                "DCGM initialization error",
                "ERROR_LIBRARY_NOT_FOUND",
                "libnvidia-ml.so",
            ),
            component="dcgm-exporter",
            source=_EXPORTER + "internal/pkg/dcgmprovider",
            near=("tegra", "no-nvidia-gpu"),
            cause="The exporter finds no GPU that DCGM supports on this machine.",
            sample='Error: Failed to initialize NVML\nlevel=fatal msg="Error starting nv-hostengine: DCGM'
            ' initialization error"\nLinux orin'
            " 5.10.120-tegra #1 SMP PREEMPT aarch64",
        ),
        Signature(
            pattern=r"[Nn]o supported GPU devices found|[Nn]o (?:supported )?(?:NVIDIA )?GPUs? (?:were |was"
            r" )?(?:found|detected|to monitor)|no GPUs to"
            r" monitor|NVML doesn't exist on this system|GPU driver is not (?:present|installed)",
            literals=(
                "GPU devices found",
                "GPUs ",
                "GPU found",
                "GPU was",
                "GPU detected",
                "GPU driver is not",
                "NVML doesn't exist",
            ),
            component="dcgm-exporter, DCGM",
            source=_EXPORTER + "internal/pkg/collector/gpu_health_collector.go",
            near=("dcgm-exporter",),
            cause="The exporter finds no GPU that DCGM supports on this machine.",
            sample='msg="Starting dcgm-exporter"\nlevel=error msg="No supported GPU devices found"',
        ),
    ),
    mistaken_for=("monitoring-without-nvidia-runtime",),
)

NO_RUNTIME = Failure(
    id="monitoring-without-nvidia-runtime",
    layer="monitoring",
    severity="fatal",
    meaning="dcgm-exporter cannot open NVML, because its pod has no GPU injected.",
    remedy=Remedy(
        "Give the exporter's DaemonSet `runtimeClassName: nvidia`, or make nvidia the default runtime.",
        ("kubectl get ds -A -o wide | grep dcgm", "kubectl get runtimeclass nvidia"),
    ),
    signatures=(
        Signature(
            pattern=r"Cannot init NVML library; err: ERROR_LIBRARY_NOT_FOUND|Cannot initialize the hostengine: Error:"
            r" Failed to initialize NVML|Error starting nv-hostengine: DCGM"
            r" initialization error|[Cc]ould not load"
            r" NVML[^\n]{0,40}dcgm",
            literals=(
                "Cannot init NVML library",
                "Cannot initialize the hostengine",
                "Error starting nv-hostengine",
                "ould not load NVML",
            ),
            component="dcgm-exporter",
            source=_EXPORTER + "internal/pkg/nvmlprovider/provider.go",
            cause="The exporter cannot load NVML in its container; expected libnvidia-ml.so.1 injected by the NVIDIA"
            " runtime.",
            sample='level=ERROR msg="Cannot init NVML library; err: ERROR_LIBRARY_NOT_FOUND"',
        ),
        Signature(
            pattern=r"[Ff]ailed to initialize NVML(?!:)|libnvidia-ml\.so(?:\.1)?[^\n]{0,30}(?:cannot open|not found"
            r"|could not)|ERROR_LIBRARY_NOT_FOUND"
            r"|DCGM initialization error",
            literals=(
                "ailed to initialize NVML",
                "libnvidia-ml.so",
                "ERROR_LIBRARY_NOT_FOUND",
                "DCGM initialization error",
            ),
            component="dcgm-exporter, nv-hostengine",
            source=_EXPORTER + "internal/pkg/dcgmprovider/dcgm.go",
            near=("dcgm-exporter",),
            unless=("device-plugin",),
            not_with=r"nvidia-container-cli",
            cause="The exporter cannot load NVML in its container; expected libnvidia-ml.so.1 injected by the NVIDIA"
            " runtime.",
            sample='time="2021-03-31T01:57:20Z" level=info msg="Starting dcgm-exporter"\nError: Failed to initialize'
            " NVML",
        ),
    ),
    consequence_of=("dcgm-exporter-on-non-gpu-node", "nvml-driver-not-loaded", "nvml-driver-library-version-mismatch"),
    mistaken_for=("dcgm-exporter-on-non-gpu-node", "nvml-library-not-found"),
)

NO_LABEL = Failure(
    id="dcgm-node-label-missing",
    layer="monitoring",
    severity="degraded",
    meaning="The exporter's DaemonSet matches no node: the label that it selects by is missing.",
    remedy=Remedy(
        "Label the GPU nodes as the DaemonSet's selector wants, or change the selector to a label that they have.",
        ("kubectl get ds -A | grep dcgm", "kubectl label node <node> nvidia.com/gpu.present=true"),
    ),
    signatures=(
        Signature(
            pattern=r"\b(?:nvidia-)?dcgm-exporter[\w-]{0,60}\s{1,60}0\s{1,20}0\s{1,20}0\s{1,20}0\s{1,20}0\b",
            literals=("dcgm-exporter",),
            component="kubectl",
            source="kubernetes/kubernetes:pkg/printers/internalversion/printers.go",
            cause="The exporter's DaemonSet wants 0 pods; expected one on each GPU node.",
            sample="dcgm-exporter   0         0         0       0            0           nvidia.com/gpu.present=true "
            "  3d",
        ),
        Signature(
            pattern=r"Desired Number of Nodes Scheduled: 0\b",
            literals=("Desired Number of Nodes Scheduled: 0",),
            component="kubectl describe daemonset",
            source="kubernetes/kubectl:pkg/describe/describe.go",
            near=("dcgm-exporter",),
            cause="The exporter's DaemonSet wants 0 pods; expected one on each GPU node.",
            sample="Name:           dcgm-exporter\nDesired Number of Nodes Scheduled: 0",
        ),
    ),
    mistaken_for=("plugin-node-label-missing",),
)

PROFILING = Failure(
    id="dcgm-profiling-unavailable",
    layer="monitoring",
    severity="degraded",
    meaning="DCP (profiling) metrics cannot be collected.",
    remedy=Remedy(
        "Give the exporter CAP_SYS_ADMIN, stop whatever else profiles the GPU (Nsight, another DCGM), and use a DCGM"
        " as new as the driver; on GPUs"
        " without DCP, take the DCGM_FI_PROF_* fields out of the list of metrics.",
        ("dcgmi modules -l", "dcgmi profile --list"),
    ),
    signatures=(
        Signature(
            pattern=r"third-party Profiling module returned|DcgmModuleProfiling failed to initialize"
            r"|DCGM_PROFILING_SR_\w{3,30} failed|Failed to load"
            r" module 8\b|Skipping loading of module 8\b|EnableMetrics returned -\d{1,3}|[Pp]rofiling (?:module"
            r" )?(?:is )?not (?:supported|available|loaded)"
            r"|[Cc]annot (?:collect|watch) (?:DCP|profiling)|[Ff]ailed to watch[^\n]{0,60}(?:DCP|[Pp]rofiling)|Unable"
            r" to (?:collect|watch)[^\n]{0,40}DCP"
            r"|sufficient privileges to expose profiling metrics|[Pp]rofiling metrics (?:are )?(?:not|un)\w{0,12}",
            literals=(
                "Profiling module",
                "DcgmModuleProfiling",
                "DCGM_PROFILING_SR",
                "module 8",
                "EnableMetrics returned",
                "rofiling",
                "DCP",
            ),
            component="DCGM, dcgm-exporter, dcgmi",
            source="NVIDIA/DCGM:modules/profiling, dcgmlib/src/DcgmHostEngineHandler.cpp",
            not_with=r"level=info|level=INFO|Not collecting DCP metrics",
            cause="DCGM cannot collect profiling metrics here.",
            sample='level=fatal msg="Failed to watch metrics: Error watching fields: The third-party Profiling module'
            " returned an unrecoverable"
            ' error"',
        ),
        Signature(
            pattern=r"(?:[Ee]rror watching fields|[Ff]ailed to (?:watch|start)|[Cc]annot get[^\n]{0,40}metrics"
            r"|[Ff]atal|"
            r"FATAL)[^\n]{0,200}module of DCGM that is not currently loaded",
            literals=("module of DCGM that is not",),
            component="dcgm-exporter",
            source="NVIDIA/DCGM:dcgmlib/dcgm_errors.c (DCGM_ST_MODULE_NOT_LOADED)",
            not_with=r"level=info|level=INFO|Not collecting",
            cause="DCGM has not loaded the module that the metrics asked for need; profiling is one.",
            sample='level=fatal msg="Error watching fields: This request is serviced by a module of DCGM that is not'
            ' currently loaded"',
        ),
        Signature(
            pattern=r"[Pp]rofiling[^\n]{0,60}(?:is |being )?(?:in use|used) by another",
            literals=("rofiling",),
            component="DCGM",
            source="NVIDIA/DCGM:modules/profiling",
            cause="Another process profiles the GPU.",
            sample="Error: Profiling module is in use by another process",
        ),
    ),
)

RAPL = Failure(
    id="rapl-zones-missing",
    layer="monitoring",
    severity="degraded",
    meaning="Kepler finds no RAPL energy counters on this machine.",
    remedy=Remedy(
        "In a virtual machine there are none: do not deploy Kepler there (or set dev.fake-cpu-meter for a test). On"
        " bare metal, load intel_rapl_common"
        " or intel_rapl_msr and see that /sys/class/powercap is mounted into the pod.",
        ("ls /sys/class/powercap", "modprobe intel_rapl_msr"),
    ),
    signatures=(
        Signature(
            pattern=r"failed to read rapl zones|[Nn]o RAPL zones|unable to read class/powercap|(?:open|stat|lstat"
            r"|readdir) \S{0,60}/powercap\S{0,80}:"
            r" [Nn]o such file|failed to (?:init|initialize|read|create)[^\n]{0,40}(?:rapl|RAPL)|RAPL (?:is )?(?:not"
            r" (?:supported|available|found)"
            r"|unavailable)|[Nn]ot able to obtain (?:power|energy), use estimate|[Uu]nable to obtain (?:power|energy)",
            literals=("rapl", "RAPL", "powercap", "obtain power", "obtain energy"),
            component="kepler",
            source="sustainable-computing-io/kepler:internal/device/rapl_sysfs_power_meter.go",
            cause="There is no RAPL zone under /sys/class/powercap; expected at least one.",
            sample="failed to initialize service rapl: failed to read rapl zones: unable to read class/powercap: open"
            " /host/sys/class/powercap: no such"
            " file or directory",
        ),
    ),
)

FAILURES = (NON_GPU, NO_RUNTIME, NO_LABEL, PROFILING, RAPL)
