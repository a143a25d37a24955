# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel, DKMS and Fabric Manager print of the NVIDIA driver, and the Xids."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature, shared

_XID = r"Xid \((?:PCI:)?(?P<gpu>[^)\n]{4,60})\)[^:\n]{0,40}: (?P<xid>"
_AFTER = r"caused by previous Xid "  # Xid 45 of branch 590 and newer names the one before it
_XIDS = "NVIDIA/open-gpu-kernel-modules:src/nvidia/src/kernel/gpu (nverror.h); docs.nvidia.com/deploy/xid-errors"

NOUVEAU = shared(
    "nouveau-conflict",
    (
        Signature(
            pattern=r"NVIDIA probe routine was not called for (?P<count>\d{1,3}) device",
            literals=("probe routine was not called",),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:kernel-open/nvidia/nv.c",
            cause="The NVIDIA module was not offered {count} device(s), because another driver, nouveau as a rule,"
            " holds"
            " them; expected them free.",
            sample="NVRM: The NVIDIA probe routine was not called for 1 device(s).",
        ),
        Signature(
            pattern=r"Kernel driver in use: nouveau|is already bound to (?:the )?nouveau",
            literals=("Kernel driver in use: nouveau", "already bound to"),
            component="lspci, kernel",
            source="pciutils:ls-kernel.c, NVIDIA/open-gpu-kernel-modules:kernel-open/nvidia/nv.c",
            cause="nouveau is bound to the GPU; expected the nvidia module.",
            sample="\tKernel driver in use: nouveau",
        ),
        Signature(
            pattern=r"Nouveau kernel driver is currently in use|nouveau (?:kernel )?(?:driver|module) (?:is )?"
            r"(?:currently )?(?:loaded|in use)",
            literals=("ouveau",),
            component="nvidia-installer",
            source="NVIDIA/nvidia-installer:nouveau.c",
            cause="nouveau is loaded, so the NVIDIA driver cannot be; expected it unloaded and blacklisted.",
            sample="ERROR: The Nouveau kernel driver is currently in use by your system.  This driver is incompatible"
            " with"
            " the NVIDIA driver, and must be disabled before proceeding.",
        ),
        Signature(
            pattern=r"^nouveau\s{1,40}\d{5,9}\s{1,20}(?P<users>[1-9]\d{0,3})\b",
            literals=("nouveau ",),
            component="lsmod",
            source="kmod:tools/lsmod.c",
            near=("driver-asked",),
            cause="nouveau is loaded and used {users} times; expected the nvidia module.",
            sample="nouveau              1949696  4\n$ nvidia-smi\nNVIDIA-SMI has failed because it couldn't"
            " communicate with"
            " the NVIDIA driver.",
        ),
        Signature(
            pattern=r"Module nouveau is in use|nouveau[^\n]{0,60}(?:conflict|incompatible with the NVIDIA)|disable"
            r" (?:the )?[Nn]ouveau (?:kernel )?driver before",
            literals=("Module nouveau", "nouveau", "Nouveau"),
            component="modprobe, installers",
            source="kmod:tools/modprobe.c",
            cause="nouveau holds the GPU; expected it unloaded and blacklisted.",
            sample="modprobe: FATAL: Module nouveau is in use.",
        ),
    ),
)

SECURE_BOOT = shared(
    "secure-boot-unsigned-module",
    (
        Signature(
            pattern=r"Key was rejected by service|Required key not available|Loading of (?:unsigned )?module (?:with"
            r" (?:unavailable key|unsupported crypto) )?is rejected|unsigned module loading is restricted"
            r"|module with (?:unavailable key|unsupported crypto) is rejected",
            literals=(
                "Key was rejected by service",
                "Required key not available",
                "is rejected",
                "unsigned module loading",
            ),
            component="kernel, modprobe",
            source="torvalds/linux:kernel/module/signing.c",
            cause="The kernel refuses a module whose signature it cannot verify; expected one signed with an enrolled"
            " key.",
            sample="modprobe: ERROR: could not insert 'nvidia': Key was rejected by service",
        ),
        Signature(
            pattern=r"kernel could not verify its signature|signed kernel module failed to load because|could not be"
            r" loaded[^\n]{0,80}[Ss]ecure [Bb]oot|[Ss]ecure [Bb]oot (?:is )?enabled[^\n]{0,80}(?:unsigned|not signed"
            r"|reject)|nvidia[^\n]{0,60}not signed[^\n]{0,60}[Ss]ecure [Bb]oot",
            literals=("verify its signature", "signed kernel module", "ecure Boot", "ecure boot"),
            component="nvidia-installer",
            source="NVIDIA/nvidia-installer:kernel.c",
            cause="The NVIDIA module is not signed with a key that Secure Boot trusts.",
            sample="ERROR: The signed kernel module failed to load because the kernel could not verify its signature",
        ),
        Signature(
            pattern=r"^SecureBoot enabled",
            literals=("SecureBoot enabled",),
            component="mokutil",
            source="lcp/mokutil:src/mokutil.c",
            cause="Secure Boot is on and the NVIDIA module is not loaded: it is not signed with a key that is"
            " enrolled.",
            sample="SecureBoot enabled\nNVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            near=("smi-failed",),
        ),
    ),
)

OPEN_REQUIRED = shared(
    "open-kernel-module-required",
    (
        Signature(
            pattern=r"requires? (?:the )?use of the NVIDIA open kernel modules?|only supported by (?:the )?(?:NVIDIA"
            r" )?open"
            r" kernel modules?",
            literals=("open kernel module",),
            component="kernel",
            source="NVIDIA kernel module, branches 560 and newer",
            versions=">=560",
            cause="The loaded module is the proprietary one; this GPU works with the open one alone.",
            sample="NVRM: installed in this system requires use of the NVIDIA open kernel modules.",
        ),
    ),
)

OPEN_UNSUPPORTED = shared(
    "open-module-unsupported-gpu",
    (
        Signature(
            pattern=r"not supported by open|does not include the required GPU|Open nvidia\.ko is only ready for use"
            r"|OpenRmEnableUnsupportedGpus",
            literals=(
                "not supported by open",
                "include the required GPU",
                "Open nvidia.ko",
                "OpenRmEnableUnsupportedGpus",
            ),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:src/nvidia/arch/nvalloc/unix/src/osinit.c",
            versions=">=515",
            cause="The loaded module is the open one, and this GPU has no GSP; expected the proprietary module.",
            sample="NVRM: installed in this system is not supported by open\nNVRM: nvidia.ko because it does not"
            " include"
            " the required GPU\nNVRM: System Processor (GSP).",
        ),
    ),
)

TOO_OLD = shared(
    "driver-too-old-for-gpu",
    (
        Signature(
            pattern=r"(?:is|are) not supported by the (?:NVIDIA )?(?P<driver>\d{2,3}\.[\d.]{1,10})"
            r"|NVIDIA GPU installed in this system is supported through the|supported through the NVIDIA \S{3,10}"
            r" Legacy",
            literals=("not supported by the", "is supported through the", "supported through the NVIDIA"),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:kernel-open/nvidia/nv.c",
            cause="Driver {driver} does not support this GPU; expected a branch that does.",
            sample="NVRM: installed in this system is not supported by the 367.57\nNVRM: NVIDIA Linux driver release.",
        ),
        Signature(
            pattern=r"installed in this system is not supported by the (?:NVIDIA )?\S{3,12}",
            literals=("installed in this system is not supported by the",),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:kernel-open/nvidia/nv.c",
            cause="This driver release does not support the GPU; expected a branch that does.",
            sample="NVRM: installed in this system is not supported by the\nNVRM: NVIDIA 520.56.06 driver release.",
        ),
        Signature(
            pattern=r"do not appear to have an NVIDIA GPU supported by the (?P<driver>\d{2,3}\.[\d.]{1,10})"
            r"|No NVIDIA GPU supported by (?:this|the)",
            literals=("NVIDIA GPU supported by",),
            component="nvidia-installer",
            source="NVIDIA/nvidia-installer:misc.c",
            cause="NVIDIA's installer finds no GPU that driver {driver} supports.",
            sample="WARNING: You do not appear to have an NVIDIA GPU supported by the 470.57.02 NVIDIA Linux graphics"
            " driver"
            " installed in this system.",
        ),
    ),
)

DKMS = shared(
    "dkms-build-failed",
    (
        Signature(
            pattern=r"Bad return status for module build on kernel: (?P<kernel>\S{3,80})",
            literals=("Bad return status for module build",),
            component="dkms",
            source="dkms-project/dkms:dkms.in",
            cause="The module does not compile for kernel {kernel}; its make.log says why.",
            sample="Error! Bad return status for module build on kernel: 6.4.1-zen1-1-zen (x86_64)",
        ),
        Signature(
            pattern=r"DKMS module '?nvidia\S{0,40} failed to build|Building DKMS module '?nvidia[^\n]{1,120} FAILED"
            r"|dkms (?:autoinstall|kernel_preinst|kernel_postinst)[^\n]{1,120} failed for"
            r"|modules failed to install during autoinstall|\(bad exit status: \d{1,3}\)"
            r"|/var/lib/dkms/\S{1,160}\.c:\d{1,6}:\d{1,4}: error:|Consult /var/lib/dkms/nvidia",
            literals=(
                "DKMS module",
                "dkms ",
                "failed to install during autoinstall",
                "(bad exit status",
                "/var/lib/dkms/",
            ),
            component="dkms",
            source="dkms-project/dkms:dkms.in",
            cause="DKMS could not build and install the module for this kernel.",
            sample="dkms autoinstall on 6.8.10-300.fc40.x86_64/x86_64 failed for nvidia(10)",
        ),
        Signature(
            pattern=r"Building kernel modules[\"']?[^\n]{0,80}(?:fail|error)|performing the step: [\"']?Building kernel"
            r"|Unable to build the NVIDIA kernel module|Failed to run `/usr/sbin/dkms|Compiler version check failed"
            r"|Error while building the NVIDIA|Failed to build the NVIDIA|Building rpms failed"
            r"|kernel module nvidia[^\n]{0,20} (?:failed to build|was not created)|nvidia\.ko failed"
            r"|unrecognized command[- ]line option .-ftrivial-auto-var-init",
            literals=(
                "Building kernel modules",
                "performing the step",
                "Unable to build the NVIDIA",
                "Failed to run `/usr/sbin/dkms",
                "Compiler version check failed",
                "building the NVIDIA",
                "Failed to build the NVIDIA",
                "Building rpms failed",
                "kernel module nvidia",
                "nvidia.ko failed",
                "-ftrivial-auto-var-init",
            ),
            component="nvidia-installer, akmods",
            source="NVIDIA/nvidia-installer:kernel.c",
            cause="The NVIDIA module could not be built for the running kernel.",
            sample='ERROR: An error occurred while performing the step: "Building kernel modules". See'
            " /var/log/nvidia-installer.log for details.",
        ),
        Signature(
            pattern=r"make(?:\[\d\])?: \*\*\* \[[^\]\n]{0,200}(?:nvidia|conftest|nv-)[^\]\n]{0,120}\] Error \d"
            r"|\bnvidia(?:-uvm|-drm|-modeset|-peermem)?/[\w./-]{1,60}\.[ch]:\d{1,6}:\d{1,4}:"
            r" error:",
            literals=("make[", "make: *** ", ": error:"),
            component="make",
            source="kbuild, as called by dkms and nvidia-installer",
            cause="The NVIDIA module's source does not compile against this kernel.",
            sample="make[2]: *** [scripts/Makefile.build:244: /var/lib/dkms/nvidia/535.54.03/build/nvidia/nv-acpi.o]"
            " Error 1",
        ),
    ),
    consequence_of=("kernel-headers-missing",),
)

GSP_INIT = Failure(
    id="gsp-firmware-init-failed",
    layer="driver",
    severity="fatal",
    meaning="The GPU's GSP firmware cannot be loaded or booted, so the GPU does not initialise.",
    remedy=Remedy(
        "Install the firmware files of exactly this driver version (they stand in /lib/firmware/nvidia/<version>), then"
        " power-cycle the node. Where files are there, update the driver and the VBIOS; with the proprietary module,"
        " NVreg_EnableGpuFirmware=0 does without GSP.",
        ("ls /lib/firmware/nvidia/", "dmesg | grep -iE 'gsp|NVRM' | tail -n 40"),
        role="nvidia_driver",
        tag="nvidia_driver_packages",
    ),
    signatures=(
        Signature(
            pattern=r"Cannot initialize GSP firmware|(?:failed|unable) to (?:load|boot|initialize|fetch)[^\n]{0,40}GSP"
            r"|RmFetchGspRmImages|No firmware image found|GSP firmware (?:image )?(?:not found|missing|fail)",
            literals=("GSP", "No firmware image found", "RmFetchGspRmImages"),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:src/nvidia/arch/nvalloc/unix/src/osinit.c",
            not_with=r"Xid|Timeout waiting for RPC|because it does not include|GPU System Processor",
            cause="The driver cannot start the GSP firmware of this GPU.",
            sample="NVRM: RmInitAdapter: Cannot initialize GSP firmware RM",
        ),
        Signature(
            pattern=r"firmware load for nvidia/(?P<file>\S{3,80}gsp\S{0,40}\.bin) failed|(?:failed|unable|cannot)"
            r"[^\n]{0,60}(?P<blob>gsp_\w{1,12}\.bin)|(?P<other>gsp_\w{1,12}\.bin)[^\n]{0,80}(?:fail|not found|No such)",
            literals=("gsp_", "gsp.bin"),
            component="kernel",
            source="torvalds/linux:drivers/base/firmware_loader/main.c",
            cause="The firmware file {file}{blob}{other} is not there; expected the file of exactly this driver"
            " version.",
            sample="nvidia 0000:01:00.0: Direct firmware load for nvidia/555.58.02/gsp_tu10x.bin failed with error -2",
        ),
        Signature(
            pattern=r"GFW[_ ][Bb][Oo][Oo][Tt]|kgsp(?:Boot|Init|Wait|Extract|Prepare|Execute|Setup|Parse|Allocate|Load"
            r"|Calculate|Bootstrap)\w{0,40}: [^\n]{0,120}(?:fail|unexpected|error|timed? ?out|cannot|unable)"
            r"|unexpected WPR2 already up",
            literals=("GFW_BOOT", "GFW boot", "kgsp", "WPR2 already up"),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:src/nvidia/src/kernel/gpu/gsp/kernel_gsp.c",
            cause="The GSP of this GPU does not boot.",
            sample="NVRM: kgspWaitForGfwBootOk_TU102: failed to wait for GFW boot complete: 0x65 VBIOS version"
            " 94.02.59.00.05",
        ),
    ),
    mistaken_for=("rm-init-adapter-failed", "xid-gsp-timeout"),
)

GPU_LOST = shared(
    "gpu-lost-off-bus",
    (
        Signature(
            pattern=_XID + r"79)\b|" + _AFTER + r"79\b",
            literals=("Xid",),
            component="kernel",
            source=_XIDS,
            cause="GPU {gpu} fell off the PCIe bus (Xid {xid}).",
            sample="NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
        ),
        Signature(
            pattern=r"fallen off the bus|GPU is lost|ERROR_GPU_IS_LOST|GPU_IS_LOST|gpu (?:is )?lost\b",
            literals=("fallen off the bus", "GPU is lost", "GPU_IS_LOST", "gpu is lost", "gpu lost"),
            component="kernel, nvidia-smi, NVML's callers",
            source="NVIDIA/go-nvml:gen/nvml/nvml.h (NVML_ERROR_GPU_IS_LOST)",
            cause="A GPU disappeared from the PCIe bus while the node ran.",
            sample="Unable to determine the device handle for GPU 0000:C1:00.0: GPU is lost.  Reboot the system to"
            " recover"
            " this GPU",
        ),
        Signature(
            pattern=r"NVIDIA Corporation[^\n]{0,160}\(rev ff\)|Unknown header type 7f",
            literals=("(rev ff)", "Unknown header type 7f"),
            component="lspci",
            source="pciutils:lspci.c",
            cause="The GPU answers no PCI configuration reads any more: it fell off the bus.",
            sample="01:00.0 VGA compatible controller: NVIDIA Corporation GA102 [GeForce RTX 3090] (rev ff) (prog-if"
            " ff)",
        ),
        Signature(
            pattern=r"Unable to determine the device handle for (?:GPU|gpu) ?[0-9A-Fa-f:.]{4,20}: Unknown Error",
            literals=("Unable to determine the device handle",),
            component="nvidia-smi",
            source="nvidia-smi (NVML_ERROR_UNKNOWN)",
            cause="nvidia-smi gets no handle for a GPU that the driver had: it does not answer on the bus.",
            sample="Unable to determine the device handle for GPU 0000:02:00.0: Unknown Error",
            weak=True,
        ),
    ),
    mistaken_for=("pod-unexpected-admission-after-reboot", "rm-init-adapter-failed"),
)

ECC = shared(
    "xid-ecc-uncorrectable",
    (
        Signature(
            pattern=_XID + r"48|63|64|92|94|95|140|171|172)\b|" + _AFTER + r"(?:48|94|95|140|171|172)\b",
            literals=("Xid",),
            component="kernel",
            source=_XIDS,
            cause="GPU {gpu} reported an uncorrectable memory error or its repair (Xid {xid}).",
            sample="NVRM: Xid (PCI:0000:10:1c): 63, pid=1850, Row Remapper: New row marked for remapping, reset gpu to"
            " activate",
        ),
        Signature(
            pattern=r"uncorrectable ECC error|CUDA_ERROR_ECC_UNCORRECTABLE|cudaErrorECCUncorrectable"
            r"|DOUBLE[ _]BIT ECC|double[- ]bit ECC error|[Rr]ow [Rr]emapper: New row marked",
            literals=(
                "uncorrectable ECC error",
                "ECC_UNCORRECTABLE",
                "ECCUncorrectable",
                "BIT ECC",
                "bit ECC error",
                "New row marked",
            ),
            component="CUDA, kernel",
            source="docs.nvidia.com/cuda/cuda-runtime-api (cudaErrorECCUncorrectable, 214)",
            cause="A GPU met an uncorrectable memory error.",
            sample="RuntimeError: CUDA error: uncorrectable ECC error encountered",
        ),
        Signature(
            pattern=r"[Uu]ncontained (?:ECC|memory) error|Contained ECC error|Remapping Failure Occurred\s{1,30}: Yes"
            r"|[Rr]ow [Rr]emap\w{0,6} [Ff]ailure|[Dd]ouble[- ][Bb]it ECC",
            literals=(
                "ncontained ECC",
                "ncontained memory",
                "Contained ECC",
                "Remapping Failure",
                "emap",
                "ouble-bit ECC",
                "ouble Bit ECC",
                "ouble bit ECC",
            ),
            component="kernel, nvidia-smi, DCGM",
            source="docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt",
            cause="A GPU met an uncorrectable memory error.",
            sample="Uncontained ECC error on GPU 3",
            not_with="double[- ]bit ECC\\s{0,30}:\\s{0,4}(?:0|N/A)|Bit ECC\\s{0,30}: (?:0|N/A)",
        ),
    ),
    severity="fatal",
)

GSP_TIMEOUT = Failure(
    id="xid-gsp-timeout",
    layer="driver",
    severity="fatal",
    meaning="The GSP firmware of a running GPU hung or crashed (Xid 119, 120).",
    remedy=Remedy(
        "Drain the node, reset the GPU, and power-cycle where a reset does not help; then update the driver. If it"
        " comes"
        " back with the newest driver of the branch, collect nvidia-bug-report and ask NVIDIA.",
        ("nvidia-smi --gpu-reset -i <index>", "nvidia-bug-report.sh"),
    ),
    signatures=(
        Signature(
            pattern=r"_kgsp(?:IsHeartbeatTimedOut|LogRpcTimeout|LogGspTimeout)|GSP (?:Timeout|RPC Timeout) \*|GSP"
            r" task timeout"
            r"|Timeout"
            r" (?:while )?waiting for RPC from GSP",
            literals=(
                "_kgspIsHeartbeatTimedOut",
                "_kgspLogRpcTimeout",
                "_kgspLogGspTimeout",
                "GSP Timeout",
                "GSP RPC Timeout",
                "GSP task",
                "waiting for RPC from GSP",
            ),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:src/nvidia/src/kernel/gpu/gsp/kernel_gsp.c",
            versions=">=510",
            cause="The driver waited in vain for the GPU's GSP.",
            sample="NVRM: GPU6 _kgspIsHeartbeatTimedOut: Heartbeat timed out, currentTimeMs 812751949 heartbeat"
            " 1899482",
        ),
        Signature(
            pattern=_XID + r"119|120)\b|" + _AFTER + r"1(?:19|20)\b",
            literals=("Xid",),
            component="kernel",
            source=_XIDS,
            versions=">=510",
            cause="The GSP of GPU {gpu} does not answer any more (Xid {xid}).",
            sample="NVRM: Xid (PCI:0000:61:00): 119, pid=1346198, name=nvidia-smi, Timeout waiting for RPC from GSP!"
            " Expected function 103 (GSP_RM_ALLOC) (0x80 0x38).",
        ),
        Signature(
            pattern=r"Timeout (?:after \S{1,12} )?(?:of \S{1,20} )?waiting for RPC (?:response )?from GSP|GSP[-"
            r" ](?:RM )?"
            r"(?:has )?(?:crashed|timed? ?out)|_kgspRpcRecvPoll|kgspHealthCheck\w{0,20}: \*{4}",
            literals=("for RPC", "GSP", "_kgspRpcRecvPoll", "kgspHealthCheck"),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:src/nvidia/src/kernel/gpu/gsp/kernel_gsp.c",
            cause="The GSP of a GPU does not answer any more.",
            sample="NVRM: GPU0 _kgspRpcRecvPoll: LibOS heap allocation failed",
        ),
    ),
    mistaken_for=("gsp-firmware-init-failed",),
)

NVLINK = Failure(
    id="xid-nvlink-error",
    layer="driver",
    severity="fatal",
    meaning="An NVLink or NVSwitch reported a link error (Xid 74, 144 to 150, SXid).",
    remedy=Remedy(
        "Drain the node and reset the GPUs of that fabric together; restart Fabric Manager after it. Errors of one link"
        " that come back are cabling, tray or board: have it looked at.",
        ("nvidia-smi nvlink -s", "nvidia-smi nvlink -e", "systemctl restart nvidia-fabricmanager"),
    ),
    signatures=(
        Signature(
            pattern=_XID + r"74|136|137|14[4-9]|150)\b|" + _AFTER + r"(?:74|136|137|14[4-9]|150)\b",
            literals=("Xid",),
            component="kernel",
            source=_XIDS,
            cause="A link of GPU {gpu} reported an error (Xid {xid}).",
            sample="NVRM: Xid (PCI:0018:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x00000000"
            " 0x00000000"
            " 0x00000000 0x00000000 0x00000000)",
        ),
        Signature(
            pattern=r"SXid \((?:PCI:)?(?P<switch>[^)\n]{4,40})\): (?P<sxid>\d{4,6})",
            literals=("SXid",),
            component="kernel (nvidia-nvswitch)",
            source="docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide (NVSwitch errors)",
            cause="NVSwitch {switch} reported SXid {sxid}.",
            sample="nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
        ),
        Signature(
            pattern=r"uncorrectable NVLink error|CUDA_ERROR_NVLINK_UNCORRECTABLE|cudaErrorNvlinkUncorrectable",
            literals=("uncorrectable NVLink error", "NVLINK_UNCORRECTABLE", "NvlinkUncorrectable"),
            component="CUDA",
            source="docs.nvidia.com/cuda/cuda-runtime-api (cudaErrorNvlinkUncorrectable, 220)",
            cause="CUDA met an uncorrectable NVLink error.",
            sample="CUDA error: uncorrectable NVLink error detected during the execution",
        ),
        Signature(
            pattern=r"NVSwitch (?:non-?)?fatal error|knvlink\w{3,60}: [^\n]{0,80}(?:[Ff]ailed|error)",
            literals=("NVSwitch ", "knvlink"),
            component="nv-fabricmanager, kernel",
            source="NVIDIA/open-gpu-kernel-modules:src/nvidia/src/kernel/gpu/nvlink",
            cause="An NVLink or NVSwitch reports an error.",
            sample="NVRM: knvlinkUpdatePostRxDetectLinkMask_IMPL: Failed to update Rx Detect Link mask!",
            weak=True,
        ),
    ),
)

RM_INIT = Failure(
    id="rm-init-adapter-failed",
    layer="driver",
    severity="fatal",
    meaning="The driver is loaded, but the GPU does not initialise, and no message names the reason.",
    remedy=Remedy(
        "Power-cycle the node. Then look, in this order, at PCIe (slot, power, resizable BAR and above-4G decoding in"
        " the"
        " firmware; in a guest, the size of the MMIO window), at a newer driver branch, and at the board in another"
        " slot.",
        ("dmesg | grep -E 'NVRM|nvidia' | tail -n 40", "lspci -vv -d 10de:"),
    ),
    signatures=(
        Signature(
            pattern=r"RmInitAdapter failed! ?\((?P<code>[^)\n]{3,40})\)|rm_init_adapter failed",
            literals=("RmInitAdapter failed", "rm_init_adapter failed"),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:src/nvidia/arch/nvalloc/unix/src/osinit.c",
            cause="The GPU does not initialise (RmInitAdapter {code}).",
            sample="NVRM: RmInitAdapter failed! (0x26:0xffff:1375)",
        ),
        Signature(
            pattern=r"PCI I/O region assigned to your NVIDIA device is invalid|BAR\d is \d{1,6}M @ 0x0 "
            r"|Can't find an IRQ for your NVIDIA card|BAR \d[^\n]{0,40}: (?:no space for|failed to"
            r" assign)[^\n]{0,60}nvidia",
            literals=("PCI I/O region assigned", "@ 0x0", "find an IRQ for your NVIDIA", "no space for"),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:kernel-open/nvidia/nv-pci.c",
            cause="The firmware gave the GPU no usable PCI region or interrupt.",
            sample="NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:\nNVRM: BAR1 is 0M @ 0x0"
            " (PCI:0000:0b:00.0)",
        ),
        Signature(
            pattern=r"^No devices were found|Unable to determine the device handle for (?:GPU|gpu)"
            r" ?[0-9A-Fa-f:.]{4,20}:"
            r" Not Found|The NVIDIA probe routine failed for",
            literals=("No devices were found", "Unable to determine the device handle", "probe routine failed for"),
            component="nvidia-smi, kernel",
            source="nvidia-smi (exit status 6), NVIDIA/open-gpu-kernel-modules:kernel-open/nvidia/nv.c",
            cause="The driver is loaded, but offers no usable GPU.",
            sample="No devices were found",
            weak=True,
        ),
        Signature(
            pattern=r"failed to copy vbios to system memory|nvidia: probe of \S{4,20} failed with error|nvidia"
            r" \S{4,20}: probe with driver nvidia failed",
            literals=("failed to copy vbios", "nvidia: probe of", "probe with driver nvidia failed"),
            component="kernel",
            source="NVIDIA/open-gpu-kernel-modules:kernel-open/nvidia/nv-pci.c",
            cause="The driver could not take the GPU.",
            sample="nvidia: probe of 0000:01:00.0 failed with error -1",
            weak=True,
        ),
    ),
    consequence_of=(
        "gpu-lost-off-bus",
        "gsp-firmware-init-failed",
        "open-kernel-module-required",
        "open-module-unsupported-gpu",
        "driver-too-old-for-gpu",
        "xid-gsp-timeout",
    ),
    mistaken_for=("gsp-firmware-init-failed", "open-kernel-module-required"),
)

FM_VERSION = shared(
    "fabric-manager-version-mismatch",
    (
        Signature(
            pattern=r"driver interface version (?P<manager>\d{2,3}\.[\d.]{1,12}) (?:don't|doesn't|does not) match with"
            r" driver version (?P<driver>\d{2,3}\.[\d.]{1,12}\d)|[Ff]abric ?[Mm]anager[^\n]{0,80}version[^\n]{0,60}"
            r"(?:mismatch|(?:don't|doesn't|does not) match)",
            literals=("driver interface version", "abric"),
            component="nv-fabricmanager",
            source="NVIDIA Fabric Manager, all branches",
            cause="Fabric Manager is of version {manager}, the loaded driver {driver}; expected the same.",
            sample="fabric manager NVIDIA GPU driver interface version 460.91.03 don't match with driver version"
            " 460.73.01."
            " Please update with matching NVIDIA driver package.",
        ),
    ),
)

FM_NO_SWITCH = shared(
    "fabric-manager-no-nvswitch",
    (
        Signature(
            pattern=r"NV_WARN_NOTHING_TO_DO|failed to (?:query|detect|find|get)[^\n]{0,60}NVSwitch|[Nn]o"
            r" NVSwitch(?:es)?"
            r"(?: devices?)? (?:found|detected|present|available)|NVSwitch(?:es)? (?:devices? )?(?:is|are|was|were)?"
            r" ?not"
            r" (?:found|detected|present)",
            literals=("NV_WARN_NOTHING_TO_DO", "NVSwitch"),
            component="nv-fabricmanager",
            source="NVIDIA Fabric Manager, all branches",
            cause="Fabric Manager finds no NVSwitch on this machine; expected it to run where there are some alone.",
            sample="nv-fabricmanager[4177]: request to query NVSwitch device information from NVSwitch driver failed"
            " with"
            " error:WARNING Nothing to do [NV_WARN_NOTHING_TO_DO]",
        ),
        Signature(
            pattern=r"/dev/nvidia-nvswitch\w{0,6}[^\n]{0,60}(?:[Nn]o such|not found|does not exist)|does not have"
            r" (?:any )?NVSwitch",
            literals=("nvidia-nvswitch", "NVSwitch"),
            component="nv-fabricmanager",
            source="NVIDIA Fabric Manager, all branches",
            cause="There is no NVSwitch on this machine.",
            sample="Failed to open /dev/nvidia-nvswitchctl: No such file or directory",
        ),
    ),
    severity="degraded",
)

FM_DOWN = shared(
    "fabric-manager-not-running",
    (
        Signature(
            pattern=r"system not yet initialized|cudaErrorSystemNotReady|CUDA_ERROR_SYSTEM_NOT_READY"
            r"|code ?= ?802\b|\berror \(?802\b|Error 802\b",
            literals=(
                "system not yet initialized",
                "SystemNotReady",
                "SYSTEM_NOT_READY",
                "code=802",
                "rror 802",
                "rror (802",
            ),
            component="CUDA",
            source="docs.nvidia.com/cuda/cuda-runtime-api (cudaErrorSystemNotReady, 802)",
            cause="CUDA answers 802, system not yet initialised: no Fabric Manager has set up the NVSwitches.",
            sample="RuntimeError: cuda runtime error (802) : system not yet initialized at"
            " /opt/conda/conda-bld/pytorch/work/aten/src/THC/THCGeneral.cpp:50",
        ),
        Signature(
            pattern=r"[Ff]abric ?[Mm]anager (?:service )?(?:is )?not (?:running|active|started|installed)"
            r"|nv-fabricmanager executable not found|nvidia-fabricmanager\.service (?:not found|could not be found)"
            r"|nvidia-fabricmanager\.service: (?:Failed with result|Main process exited|Control process exited)"
            r"|Failed to start (?:nvidia-fabricmanager|NVIDIA [Ff]abric)",
            literals=("abric",),
            component="systemd, DCGM, gpud",
            source="systemd:src/core/service.c, NVIDIA/DCGM:nvvs",
            cause="Fabric Manager does not run on a system with NVSwitches; expected it active.",
            sample="nvidia-fabricmanager.service: Failed with result 'exit-code'.",
            weak=True,
        ),
        Signature(
            pattern=r"(?:CUDA|[Cc]uda|cuInit|cu[A-Z]\w{3,30})[^\n]{0,80}\b802\b|^Fabric\s{1,40}State\s{1,60}: (?:In"
            r" Progress|Not Started)",
            literals=("802", "Fabric"),
            component="CUDA, nvidia-smi -q",
            source="docs.nvidia.com/cuda/cuda-driver-api (CUDA_ERROR_SYSTEM_NOT_READY, 802)",
            cause="CUDA answers 802, system not yet initialised: no Fabric Manager has set up the NVSwitches.",
            sample="cuInit err: 802",
        ),
    ),
    consequence_of=("fabric-manager-version-mismatch", "fabric-manager-no-nvswitch", "xid-nvlink-error"),
)

FAILURES = (
    NOUVEAU,
    SECURE_BOOT,
    OPEN_REQUIRED,
    OPEN_UNSUPPORTED,
    TOO_OLD,
    DKMS,
    GPU_LOST,
    ECC,
    NVLINK,
    GSP_TIMEOUT,
    GSP_INIT,
    RM_INIT,
    FM_VERSION,
    FM_NO_SWITCH,
    FM_DOWN,
)
