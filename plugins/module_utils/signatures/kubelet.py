# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubelet prints when it does not start, and when it refuses or evicts pods."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature, shared

UNKNOWN_FLAG = shared(
    "kubelet-unknown-flag",
    (
        Signature(
            pattern=r"failed to parse kubelet flag: unknown (?:shorthand )?flag: (?P<flag>\S{2,80})",
            literals=("failed to parse kubelet flag",),
            component="kubelet",
            source="kubernetes/kubernetes:cmd/kubelet/app/server.go",
            versions=">=1.22; removals: 1.24, 1.27, 1.34, 1.35, 1.37",
            cause="kubelet does not know the flag {flag} (any more); expected it gone, or spelt as `kubelet --help`"
            " has it.",
            sample="failed to parse kubelet flag: unknown flag: --network-plugin",
        ),
        Signature(
            pattern=r"unknown flag: (?P<flag>--(?:network-plugin|cni-\S{2,30}|container-runtime(?![-\w])"
            r"|pod-infra-container-image"
            r"|cgroup[Dd]river|cgroup-driver|allow-privileged|cadvisor-port|keep-terminated-pod-volumes"
            r"|experimental-\S{2,60}|docker"
            r"\S{0,40}|dynamic-config-dir|feature-gates|fail-swap-on|cloud-provider|require-kubeconfig|api-servers"
            r"|non-masquerade-cidr"
            r"|register-schedulable|master-service-namespace|containerd\S{0,20}|image-pull-progress-deadline"
            r"|cluster-dns))",
            literals=("unknown flag: --",),
            component="kubelet",
            source="kubernetes/kubernetes:cmd/kubelet/app/options",
            cause="kubelet does not know the flag {flag} (any more); expected it gone.",
            sample="Error: unknown flag: --allow-privileged",
        ),
        Signature(
            pattern=r"unknown (?:shorthand )?flag: (?P<flag>\S{2,60})",
            literals=("unknown flag: ", "unknown shorthand flag: "),
            component="kubelet",
            source="spf13/pflag:errors.go",
            near=("kubelet",),
            not_with=r"kubectl|helm|docker|minikube|kubeadm|crictl|nvidia-ctk|k3s",
            cause="kubelet does not know the flag {flag}; expected it gone.",
            sample="kubelet[812]: F0801 12:00:00.000000     812 server.go:140] unknown flag: --anything",
            weak=True,
        ),
        Signature(
            pattern=r"(?:failed to set feature gates|failed to parse kubelet|invalid"
            r" argument)[^\n]{0,120}unrecognized feature gate:"
            r" (?P<gate>\w{3,60})",
            literals=("unrecognized feature gate",),
            component="kubelet",
            source="kubernetes/component-base:featuregate/feature_gate.go",
            cause="kubelet does not know the feature gate {gate} any more; expected it gone.",
            sample="failed to set feature gates from initial flags-based config: unrecognized feature gate:"
            " DevicePluginCDIDevices",
        ),
    ),
)

SWAP = shared(
    "kubelet-swap-on",
    (
        Signature(
            pattern=r"[Rr]unning with swap on is not supported",
            literals=("unning with swap on",),
            component="kubelet, kubeadm",
            source="kubernetes/kubernetes:pkg/kubelet/cm/container_manager_linux.go",
            not_with=r"\[WARNING Swap\]",
            cause="Swap is on and kubelet refuses to run; expected none, or failSwapOn: false.",
            sample="failed to run Kubelet: running with swap on is not supported, please disable swap or set"
            " --fail-swap-on flag to"
            " false",
        ),
        Signature(
            pattern=r"\[ERROR Swap\]",
            literals=("[ERROR Swap]",),
            component="kubeadm",
            source="kubernetes/kubernetes:cmd/kubeadm/app/preflight/checks.go",
            cause="Swap is on and kubeadm's preflight refuses it; expected none.",
            sample="\t[ERROR Swap]: running with swap on is not supported. Please disable swap",
        ),
    ),
)

CGROUP_MISMATCH = shared(
    "cgroup-driver-mismatch",
    (
        Signature(
            pattern=r"kubelet cgroup driver: [\"'](?P<kubelet>\w{4,10})[\"'] is different from (?P<runtime>\S{2,20})"
            r" cgroup driver:"
            r" [\"'](?P<other>\w{4,10})[\"']",
            literals=("is different from",),
            component="kubelet",
            source="kubernetes/kubernetes:pkg/kubelet/dockershim/docker_service.go",
            versions="<1.24",
            cause="kubelet uses the cgroup driver {kubelet}, {runtime} uses {other}; expected the same.",
            sample='failed to run Kubelet: misconfiguration: kubelet cgroup driver: "cgroupfs" is different from'
            " docker cgroup driver:"
            ' "systemd"',
        ),
        Signature(
            pattern=r"configured with (?P<runtime>systemd|cgroupfs) cgroup manager, but (?:did not receive|received)"
            r"|expected cgroupsPath to be of format [^\n]{1,80} for systemd cgroups|cgroup-parent for systemd cgroup"
            r" should be a valid"
            r" slice|cgroup path[^\n]{0,80}(?:not|is not) (?:a )?valid[^\n]{0,20}slice|cgroup driver (?:mismatch"
            r"|conflict)",
            literals=(
                "cgroup manager, but",
                "cgroupsPath to be of format",
                "cgroup-parent for systemd",
                "cgroup path",
                "cgroup driver",
            ),
            component="CRI-O, runc, Docker",
            source="cri-o/cri-o:internal/config/cgmgr, opencontainers/runc, moby/moby:daemon/daemon_unix.go",
            cause="The runtime uses another cgroup driver ({runtime}) than kubelet; expected the same.",
            sample="cri-o configured with systemd cgroup manager, but did not receive slice as parent:"
            " /kubepods/besteffort/pod1",
        ),
    ),
)

CGROUP_V1 = shared(
    "kubelet-cgroup-v1-unsupported",
    (
        Signature(
            pattern=r"configured to not run on a host using cgroup v1|\[ERROR SystemVerification\]:"
            r" [^\n]{0,80}cgroups? v1"
            r"|cgroups? v1 (?:support )?is (?:unsupported|not supported|no longer supported)",
            literals=("host using cgroup v1", "cgroup v1", "cgroups v1"),
            component="kubelet, kubeadm",
            source="kubernetes/kubernetes:pkg/kubelet/kubelet.go",
            versions=">=1.35 by default (failCgroupV1)",
            cause="The host uses cgroup v1, and kubelet refuses it; expected cgroup v2.",
            sample="kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is in maintenance"
            " mode",
        ),
        Signature(
            pattern=r"requires cgroups? v2|cgroups? v1 (?:is )?(?:detected|found)[^\n]{0,60}(?:require|unsupported"
            r"|not supported)",
            literals=("requires cgroup", "cgroup v1", "cgroups v1"),
            component="minikube, k3s",
            source="kubernetes/minikube",
            cause="The host uses cgroup v1; expected cgroup v2.",
            sample="Kubernetes 1.35 requires cgroup v2",
        ),
    ),
)

CGROUP_V2 = shared(
    "kubelet-cgroup-v2-unsupported",
    (
        Signature(
            pattern=r"mountpoint for (?P<controller>cpu|memory|cpuset|devices|pids) not found|Following Cgroup"
            r" subsystem not mounted"
            r"|failed to find subsystem mount for required subsystem|missing required cgroups: (?P<missing>[\w ]{3,60})"
            r"|cgroups: cgroup mountpoint does not exist|failed to find (?:cpu|memory|cpuset|pids) cgroup \(v2\)"
            r"|cgroups? v2 is not supported|[Cc]group v2 (?:is )?not (?:yet )?supported|unified cgroup hierarchy is"
            r" not supported",
            literals=(
                "mountpoint for",
                "Cgroup subsystem not mounted",
                "subsystem mount for required",
                "missing required cgroups",
                "cgroup mountpoint does not exist",
                "cgroup (v2)",
                "v2 is not supported",
                "roup v2 ",
                "unified cgroup",
            ),
            component="kubelet, kubeadm, dockerd",
            source="kubernetes/kubernetes:pkg/kubelet/cm/helpers_linux.go (<1.19)",
            versions="<1.19",
            not_with=r"\[WARNING |optional cgroups",
            cause="This version finds no cgroup v1 hierarchy ({controller}{missing}) on a host with cgroup v2;"
            " expected 1.19 or newer.",
            sample="failed to run Kubelet: failed to get the kubelet's cgroup: mountpoint for cpu not found",
        ),
    ),
)

DISK = Failure(
    id="disk-pressure-eviction",
    layer="kubelet",
    severity="fatal",
    meaning="The node evicts or refuses pods for lack of disk.",
    remedy=Remedy(
        "Free space in a safe order: container logs, evicted and failed pods, images that no container uses (never"
        " all images: the"
        " workloads' would have to be pulled again); then give the node a larger disk or lower what fills it.",
        (
            "df -h /var/lib/kubelet /var/lib/containerd /var/lib/containers",
            "journalctl --vacuum-size=500M",
            "kubectl delete pods -A --field-selector=status.phase=Failed",
            "crictl rmi --prune",
        ),
    ),
    signatures=(
        Signature(
            pattern=r"node was low on resource: \[?(?P<resource>ephemeral-storage|nodefs|imagefs|inodes|DiskPressure)"
            r"|node (?:had|has) conditions?: \[[^\]\n]{0,60}DiskPressure|EvictionThresholdMet[^\n]{0,200}(?:ephemeral"
            r"-storage"
            r"|nodefs|imagefs"
            r"|inodes)|[Aa]ttempting to reclaim\"?[^\n]{0,40}(?:ephemeral-storage|inodes|nodefs|imagefs)"
            r"|reduce (?:imagefs|nodefs|containerfs) pressure|must evict pod\(s\) to"
            r" reclaim[^\n]{0,40}(?:ephemeral-storage"
            r"|inodes|nodefs|imagefs)|FreeDiskSpaceFailed"
            r"|[Ff]ailed to garbage collect required amount of images|ImageGCFailed|status is now: NodeHasDiskPressure"
            r"|\bDiskPressure\s{1,30}True\b|KubeletHasDiskPressure|node\.kubernetes\.io/disk-pressure",
            literals=(
                "node was low on resource",
                "node had condition",
                "node has condition",
                "EvictionThresholdMet",
                "ttempting to reclaim",
                "fs pressure",
                "must evict pod(s) to reclaim",
                "FreeDiskSpaceFailed",
                "garbage collect required amount",
                "ImageGCFailed",
                "NodeHasDiskPressure",
                "DiskPressure",
                "disk-pressure",
            ),
            component="kubelet",
            source="kubernetes/kubernetes:pkg/kubelet/eviction/helpers.go, pkg/kubelet/images/image_gc_manager.go",
            not_with=r"disk-pressure:NoSchedule op=Exists|disk-pressure:NoSchedule\s{0,4}$",
            cause="The node is short of {resource}, so kubelet evicts or refuses pods; expected the eviction"
            " thresholds kept.",
            sample="The node was low on resource: ephemeral-storage. Container calico-node was using 92Ki, which"
            " exceeds its request"
            " of 0.",
        ),
        Signature(
            pattern=r"[Nn]o space left on device",
            literals=("o space left on device",),
            component="any program that writes",
            source="the C library's text of ENOSPC",
            cause="A file system is full; expected room.",
            sample="write /var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db: no space left on device",
            weak=True,
        ),
    ),
)

ADMISSION = Failure(
    id="pod-unexpected-admission-after-reboot",
    layer="kubelet",
    severity="degraded",
    meaning="A pod was admitted before the device plugin had registered again, as a rule after a reboot, and stays"
    " failed.",
    remedy=Remedy(
        "Once the node's GPUs are allocatable again, delete the failed pods: their controllers make new ones. To keep"
        " it from"
        " happening, gate the node until its plugin has registered.",
        (
            "kubectl get node <node> -o jsonpath='{.status.allocatable}'",
            "kubectl delete pods -A --field-selector=status.phase=Failed",
        ),
    ),
    signatures=(
        Signature(
            pattern=r"no healthy devices present; cannot allocate|can.t allocate unregistered device"
            r" (?P<resource>\S{3,60})"
            r"|requested number of devices unavailable for (?P<other>\S{3,60})|UnexpectedAdmissionError",
            literals=(
                "no healthy devices present",
                "allocate unregistered device",
                "requested number of devices unavailable",
                "UnexpectedAdmissionError",
            ),
            component="kubelet",
            source="kubernetes/kubernetes:pkg/kubelet/cm/devicemanager/manager.go",
            cause="kubelet had no healthy device {resource}{other} when it admitted the pod; expected the plugin"
            " registered first.",
            sample="Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy"
            " devices"
            " nvidia.com/gpu, which is unexpected",
        ),
        Signature(
            pattern=r"[Aa]llocate failed due to",
            literals=("llocate failed due to",),
            component="kubelet",
            source="kubernetes/kubernetes:pkg/kubelet/cm/devicemanager/manager.go",
            cause="kubelet could not allocate a device when it admitted the pod.",
            sample="Pod was rejected: Allocate failed due to rpc error: code = Unavailable desc = connection error,"
            " which is unexpected",
            weak=True,
        ),
    ),
    consequence_of=(
        "gpu-lost-off-bus",
        "time-slicing-request-greater-than-one",
        "plugin-device-unhealthy-xid",
        "plugin-socket-lost-after-kubelet-restart",
        "xid-ecc-uncorrectable",
    ),
    mistaken_for=("time-slicing-request-greater-than-one", "gpu-lost-off-bus"),
)

FAILURES = (UNKNOWN_FLAG, SWAP, CGROUP_V1, CGROUP_V2, CGROUP_MISMATCH, DISK, ADMISSION)
