# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVIDIA's device plugin, GPU Feature Discovery, the GPU Operator and kubelet print of GPUs as resources."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature

_PLUGIN = "NVIDIA/k8s-device-plugin:"
_LOG = "kubectl logs -n kube-system ds/nvidia-device-plugin-daemonset"

LIST_STRATEGY = Failure(
    id="invalid-device-list-strategy",
    layer="plugin",
    severity="fatal",
    meaning="--device-list-strategy has an unknown value.",
    remedy=Remedy(
        "Set it to one of envvar, volume-mounts, cdi-annotations, cdi-cri (DEVICE_LIST_STRATEGY, Helm:"
        " deviceListStrategy). `nvml`"
        " belongs to the discovery strategy, `cdi` to none.",
        ("kubectl -n kube-system get ds nvidia-device-plugin-daemonset -o yaml | grep -n -i strategy",),
        role="device_plugin",
        tag="device_plugin_objects",
    ),
    signatures=(
        Signature(
            pattern=r"invalid --device-list-strategy option:? ?(?:invalid strategy: )?(?P<value>[\w,-]{0,60})|invalid"
            r" strategy:"
            r" (?P<strategy>[\w-]{1,40})|invalid deviceListStrategy:? ?(?P<list>[^\n]{0,60})",
            literals=("invalid --device-list-strategy", "invalid strategy: ", "invalid deviceListStrategy"),
            component="nvidia-device-plugin",
            source=_PLUGIN + "api/config/v1/strategy.go, cmd/nvidia-device-plugin/main.go",
            cause="The device list strategy {value}{strategy}{list} does not exist; expected envvar, volume-mounts,"
            " cdi-annotations or"
            " cdi-cri.",
            sample="unable to validate flags: invalid --device-list-strategy option: invalid strategy: nvml",
        ),
    ),
    mistaken_for=("invalid-discovery-strategy",),
)

DISCOVERY = Failure(
    id="invalid-discovery-strategy",
    layer="plugin",
    severity="fatal",
    meaning="--device-discovery-strategy has an unknown value.",
    remedy=Remedy(
        "Set it to auto, nvml or tegra (DEVICE_DISCOVERY_STRATEGY, Helm: deviceDiscoveryStrategy).",
        ("kubectl -n kube-system get ds nvidia-device-plugin-daemonset -o yaml | grep -n -i strategy",),
    ),
    signatures=(
        Signature(
            pattern=r"invalid --device-discovery-strategy option:? ?(?P<value>[\w,-]{0,60})|Incompatible strategy"
            r" detected"
            r" (?P<strategy>(?!auto|nvml|tegra)[\w-]{1,40})|unknown device discovery strategy:? ?(?P<other>\S{0,40})",
            literals=("device-discovery-strategy", "Incompatible strategy detected", "device discovery strategy"),
            component="nvidia-device-plugin, gpu-feature-discovery",
            source=_PLUGIN + "cmd/nvidia-device-plugin/main.go, internal/plugin/factory.go",
            versions=">=0.16",
            cause="The discovery strategy {value}{strategy}{other} does not exist; expected auto, nvml or tegra.",
            sample="unable to validate flags: invalid --device-discovery-strategy option cdi",
        ),
    ),
    mistaken_for=("plugin-without-nvidia-runtime", "invalid-device-list-strategy"),
)

NO_RESOURCES = Failure(
    id="plugin-config-no-resources",
    layer="plugin",
    severity="fatal",
    meaning="A sharing section of the plugin's configuration lists no resources.",
    remedy=Remedy(
        "Give `sharing.timeSlicing` (or `mps`) at least one resource with its replicas, or take the section out:"
        " `resources: [{name:"
        " nvidia.com/gpu, replicas: 4}]`.",
        ("kubectl -n kube-system get configmap -o yaml | grep -n -A8 sharing",),
        role="device_plugin",
        tag="device_plugin_objects",
    ),
    signatures=(
        Signature(
            pattern=r"\bno resources specified\b|no replicas specified|no resource name specified",
            literals=("no resources specified", "no replicas specified", "no resource name specified"),
            component="nvidia-device-plugin, gpu-feature-discovery",
            source=_PLUGIN + "api/config/v1/replicas.go",
            versions=">=0.12",
            cause="The sharing section lists no resources; expected one with its replicas.",
            sample="unable to load config: unable to finalize config: unable to parse config file: error parsing"
            " config file: unmarshal"
            " error: error unmarshaling JSON: while decoding JSON: no resources specified",
        ),
    ),
    mistaken_for=("plugin-config-parse-error",),
)

PARSE = Failure(
    id="plugin-config-parse-error",
    layer="plugin",
    severity="fatal",
    meaning="The configuration file of the plugin or of GPU Feature Discovery cannot be decoded.",
    remedy=Remedy(
        "Mend the field that the message names: `version: v1`, strategies as strings or lists as this version wants"
        " them, replicas of 2"
        " or more. Plugin and GPU Feature Discovery must be of one version.",
        (_LOG,),
    ),
    signatures=(
        Signature(
            pattern=r"(?:unable to parse config file|error parsing config file|unable to finalize"
            r" config)[^\n]{0,400}?: (?P<why>[^\n:]"
            r"{3,160})$|unmarshal error: |number of replicas must be >= ?2|unable to (?:parse|finalize) config|error"
            r" parsing config file"
            r"|error unmarshaling JSON: while decoding JSON|specified config \S{1,80} does not exist|unknown version: ",
            literals=(
                "unable to parse config",
                "error parsing config file",
                "unable to finalize config",
                "unmarshal error: ",
                "number of replicas must be",
                "error unmarshaling JSON",
                "specified config ",
                "unknown version: ",
            ),
            component="nvidia-device-plugin, gpu-feature-discovery, config-manager",
            source=_PLUGIN + "api/config/v1/config.go, cmd/config-manager/main.go",
            versions=">=0.12",
            not_with=r"kubectl|kubelet config|KubeletConfiguration|kubeadm|helm|containerd",
            cause="The plugin cannot read its configuration ({why}); expected the fields of version v1.",
            sample="unable to load config: unable to finalize config: unable to parse config file: error parsing"
            " config file: unmarshal"
            " error: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go struct field"
            " PluginCommandLineFlags.flags.plugin.deviceListStrategy of type string",
        ),
    ),
    consequence_of=("plugin-config-no-resources", "invalid-device-list-strategy"),
    mistaken_for=("k3s-config-template-broken",),
)

GLIBC = Failure(
    id="plugin-library-conflict-glibc",
    layer="plugin",
    severity="fatal",
    meaning="Libraries of the host, mounted into a container, clash with the container's own C library.",
    remedy=Remedy(
        "Take the mount of the host's /usr/lib (or LD_LIBRARY_PATH) out of the pod. The NVIDIA runtime or CDI injects"
        " the driver's"
        " libraries alone; the plugin without it wants the host's root at /driver-root and NVIDIA_DRIVER_ROOT.",
        ("kubectl -n kube-system get ds nvidia-device-plugin-daemonset -o yaml | grep -n -A3 hostPath",),
    ),
    signatures=(
        Signature(
            pattern=r"__tunable_is_initialized|GLIBC_PRIVATE|version [`'\"]?(?P<version>GLIBC(?:XX)?_\d[\d.]{1,8})[`'"
            r"\"]? not found"
            r"|symbol lookup error: \S{0,80}lib(?:c|pthread|m|dl|rt)\.so|Inconsistency detected by ld\.so",
            literals=("__tunable_is_initialized", "GLIBC", "symbol lookup error", "Inconsistency detected by ld.so"),
            component="ld.so",
            source="glibc:elf/dl-version.c, elf/dl-lookup.c",
            cause="A library of the host needs another C library ({version}) than the container has; expected no host"
            " libraries mounted.",
            sample="nvidia-device-plugin: symbol lookup error: /lib/x86_64-linux-gnu/libpthread.so.0: undefined symbol:"
            " __tunable_is_initialized, version GLIBC_PRIVATE",
        ),
    ),
)

MIG = Failure(
    id="mig-strategy-mixed-misconfig",
    layer="plugin",
    severity="fatal",
    meaning="The MIG strategy does not fit the MIG layout of the node.",
    remedy=Remedy(
        "With strategy `single`, give every GPU of the node MIG devices of one profile; with several profiles, or"
        " with GPUs partly in MIG"
        " mode, use `mixed`. MPS goes with neither.",
        ("nvidia-smi mig -lgi", "nvidia-smi -L"),
    ),
    signatures=(
        Signature(
            pattern=r"[Mm]ore than one MIG device type present|device with migEnabled=true was not configured"
            r" correctly|has no MIG devices"
            r" configured|[Ii]nvalid configuration detected for mig-strategy|must be configured with the same"
            r" migEnabled value|[Nn]o MIG"
            r" devices (?:present on|found on|configured)|--mig-strategy=mixed is not supported|unknown MIG strategy:"
            r" (?P<value>\S{1,30})"
            r"|MPS is not supported for MIG|invalid MIG configuration|invalid --mig-strategy|[Mm]ultiple MIG device"
            r" types|MIG-INVALID",
            literals=("MIG", "migEnabled", "mig-strategy"),
            component="nvidia-device-plugin, gpu-feature-discovery",
            source=_PLUGIN + "internal/rm/device_map.go, internal/lm/mig-strategy.go",
            cause="The MIG strategy {value} does not fit how the GPUs are partitioned.",
            sample="panic: At least one device with migEnabled=true was not configured correctly: More than one MIG"
            " device type present on"
            " node",
        ),
    ),
)

UNHEALTHY = Failure(
    id="plugin-device-unhealthy-xid",
    layer="plugin",
    severity="fatal",
    meaning="The plugin marked a GPU unhealthy after a critical Xid; it stays so until the plugin restarts.",
    remedy=Remedy(
        "Read what the Xid says to do (a reset, as a rule, or another board), do it with the node drained, then"
        " restart the plugin's pod on"
        " that node.",
        ("dmesg | grep Xid", "kubectl -n kube-system delete pod <plugin pod of the node>"),
    ),
    signatures=(
        Signature(
            pattern=r"XidCriticalError: Xid=(?P<xid>\d{1,3}) on (?:Device"
            r"|GPU)=(?P<gpu>[\w:.-]{3,60})(?=[^\n]{0,40}unhealthy)",
            literals=("XidCriticalError",),
            component="nvidia-device-plugin, GKE's device plugin",
            source=_PLUGIN + "internal/rm/health.go",
            cause="The plugin took {gpu} out of service after Xid {xid}.",
            sample="XidCriticalError: Xid=79 on Device=GPU-2a4b5c6d; marking device as unhealthy.",
        ),
        Signature(
            pattern=r"device marked unhealthy: (?P<gpu>[\w:.-]{3,60})|[Mm]arking all devices as unhealthy|all devices"
            r" will go unhealthy"
            r"|[Hh]ealth check (?:failed|detected)[^\n]{0,40}[Xx]id|the device will go unhealthy",
            literals=(
                "device marked unhealthy",
                "all devices as unhealthy",
                "all devices will go",
                "ealth check",
                "will go unhealthy",
            ),
            component="nvidia-device-plugin",
            source=_PLUGIN + "internal/plugin/server.go",
            cause="The plugin marked {gpu} unhealthy.",
            sample="'nvidia.com/gpu' device marked unhealthy: GPU-2a4b5c6d",
        ),
    ),
    consequence_of=("gpu-lost-off-bus", "xid-ecc-uncorrectable", "xid-nvlink-error", "xid-gsp-timeout"),
)

TOO_OLD_FOR_HEALTH = Failure(
    id="plugin-gpu-too-old-for-healthcheck",
    layer="plugin",
    severity="degraded",
    meaning="Event-based health checks are not supported by this GPU.",
    remedy=Remedy(
        "Set DP_DISABLE_HEALTHCHECKS=xids on the plugin (old versions mark the GPU unhealthy otherwise), or update"
        " the plugin.",
        ("kubectl -n kube-system set env ds/nvidia-device-plugin-daemonset DP_DISABLE_HEALTHCHECKS=xids",),
    ),
    signatures=(
        Signature(
            pattern=r"too old to support heal\w{0,4} ?checking|Fatal: nvml: Not Supported",
            literals=("too old to support heal", "Fatal: nvml: Not Supported"),
            component="nvidia-device-plugin",
            source=_PLUGIN + "internal/rm/health.go",
            cause="A GPU is too old for the plugin's health checks.",
            sample="Warning: GPU-2a4b5c6d is too old to support healthchecking: NotSupported. Marking it unhealthy.",
        ),
    ),
)

NO_RUNTIME = Failure(
    id="plugin-without-nvidia-runtime",
    layer="plugin",
    severity="fatal",
    meaning="The device plugin's pod does not run under the NVIDIA runtime, so NVML is not visible in it.",
    remedy=Remedy(
        "Give the plugin's DaemonSet `runtimeClassName: nvidia` (with the RuntimeClass and the handler there), or"
        " make nvidia the default"
        " runtime; then delete its pods.",
        (
            "kubectl get runtimeclass nvidia",
            "kubectl -n kube-system patch ds nvidia-device-plugin-daemonset --type=merge -p"
            ' \'{"spec":{"template":{"spec":{"runtimeClassName":"nvidia"}}}}\'',
        ),
        role="device_plugin",
        tag="device_plugin_objects",
    ),
    signatures=(
        Signature(
            pattern=r"Incompatible strategy detected (?:auto|nvml|tegra)|Incompatible platform detected|Unsupported"
            r" platform detected;"
            r" defaulting to nvml",
            literals=(
                "Incompatible strategy detected",
                "Incompatible platform detected",
                "Unsupported platform detected",
            ),
            component="nvidia-device-plugin",
            source=_PLUGIN + "internal/plugin/factory.go, cmd/nvidia-device-plugin/plugin-manager.go",
            versions=">=0.14",
            cause="The plugin finds neither NVML nor Tegra in its container; expected NVML injected by the NVIDIA"
            " runtime.",
            sample="E1110 22:36:55.421956       1 factory.go:112] Incompatible strategy detected auto",
        ),
        Signature(
            pattern=r"could not load NVML library|Detected non-NVML platform",
            literals=("could not load NVML library", "Detected non-NVML platform"),
            component="nvidia-device-plugin, gpu-feature-discovery",
            source=_PLUGIN + "internal/info (0.9 to 0.17)",
            versions="0.9 - 0.17",
            cause="The plugin cannot load NVML in its container; expected libnvidia-ml.so.1 injected by the NVIDIA"
            " runtime.",
            sample="factory.go:107] Detected non-NVML platform: could not load NVML library: libnvidia-ml.so.1:"
            " cannot open shared object"
            " file: No such file or directory",
        ),
        Signature(
            pattern=r"(?:[Ff]ailed to initialize NVML|nvml init failed|NVML not"
            r" detected)[^\n]{0,80}(?:ERROR_LIBRARY_NOT_FOUND|could not load"
            r"|libnvidia-ml|Not Found)|libnvidia-ml\.so(?:\.1)?: cannot open shared",
            literals=("ailed to initialize NVML", "nvml init failed", "NVML not detected", "libnvidia-ml"),
            component="nvidia-device-plugin, gpu-feature-discovery",
            source=_PLUGIN + "internal/plugin/factory.go",
            near=("device-plugin", "feature-discovery"),
            unless=("dcgm-exporter",),
            not_with=r"nvidia-container-cli|load library failed",
            cause="The plugin cannot load NVML in its container; expected libnvidia-ml.so.1 injected by the NVIDIA"
            " runtime.",
            sample="I0320 main.go:279] Retrieving plugins.\nE0320 factory.go:115] Failed to initialize NVML:"
            " ERROR_LIBRARY_NOT_FOUND.",
        ),
        Signature(
            pattern=r"did you (?:configure the NVIDIA Container Toolkit|set the docker default runtime)|invalid"
            r" device discovery strategy"
            r"|options are only supported on NVML-based systems|No devices found\. Waiting indefinitely|Loading NVML"
            r" failed",
            literals=(
                "did you configure the NVIDIA",
                "did you set the docker default",
                "invalid device discovery strategy",
                "on NVML-based systems",
                "Waiting indefinitely",
                "Loading NVML failed",
            ),
            component="nvidia-device-plugin",
            source=_PLUGIN + "internal/plugin/factory.go, cmd/nvidia-device-plugin/main.go",
            not_with=r"configured for MPS",
            cause="The plugin finds no GPU platform in its container; expected NVML injected by the NVIDIA runtime.",
            sample="I0320 main.go:317] No devices found. Waiting indefinitely.",
            weak=True,
        ),
    ),
    consequence_of=(
        "nvml-driver-not-loaded",
        "nvml-driver-library-version-mismatch",
        "nvml-unknown-error-cgroup",
        "nvml-insufficient-permissions",
        "gpu-lost-off-bus",
        "invalid-discovery-strategy",
        "runtime-handler-missing",
    ),
    mistaken_for=("nvml-library-not-found", "invalid-discovery-strategy"),
)

REGISTRATION = Failure(
    id="device-plugin-registration-refused",
    layer="plugin",
    severity="fatal",
    meaning="The plugin cannot register with kubelet.",
    remedy=Remedy(
        "See that kubelet runs and that its folder /var/lib/kubelet/device-plugins (or the one of this distribution)"
        " is mounted into the"
        " plugin; then restart the plugin.",
        ("ls -l /var/lib/kubelet/device-plugins", "systemctl status kubelet", _LOG),
    ),
    signatures=(
        Signature(
            pattern=r"[Cc]ould not (?:register device plugin|contact Kubelet)|[Ff]ailed to register (?:device"
            r" )?plugin|unknown service"
            r" v1beta1\.Registration|device-plugins/kubelet\.sock[\"']?: (?:connect: )?(?:no such file|connection"
            r" refused|permission"
            r" denied)|requested API version [^\n]{1,40} is not supported by kubelet|[Ff]ailed to start"
            r" plugin[^\n]{0,80}kubelet\.sock"
            r"|[Rr]egistration (?:of the device plugin )?(?:was )?(?:failed|refused|rejected)[^\n]{0,60}(?:nvidia"
            r"|kubelet)",
            literals=(
                "register device plugin",
                "ould not contact Kubelet",
                "ailed to register",
                "v1beta1.Registration",
                "kubelet.sock",
                "is not supported by kubelet",
                "egistration",
            ),
            component="nvidia-device-plugin, kubelet",
            source=_PLUGIN + "internal/plugin/server.go",
            cause="kubelet's registration socket does not take the plugin; expected it served at"
            " device-plugins/kubelet.sock.",
            sample="Could not register device plugin: rpc error: code = Unimplemented desc = unknown service"
            " v1beta1.Registration",
        ),
    ),
)

SOCKET_LOST = Failure(
    id="plugin-socket-lost-after-kubelet-restart",
    layer="plugin",
    severity="fatal",
    meaning="The plugin did not come back after kubelet made its socket anew.",
    remedy=Remedy(
        "Delete the plugin's pod on that node; a plugin that watches kubelet.sock and restarts (0.7 and newer) comes"
        " back by itself, unless"
        " it registered before kubelet had made its socket.",
        ("kubectl -n kube-system delete pod -l name=nvidia-device-plugin-ds --field-selector spec.nodeName=<node>",),
    ),
    signatures=(
        Signature(
            pattern=r"inotify: (?P<socket>/\S{0,80}kubelet\.sock) created, restarting",
            literals=("kubelet.sock created",),
            component="nvidia-device-plugin",
            source=_PLUGIN + "cmd/nvidia-device-plugin/main.go",
            ended_by=("plugin-registered",),
            cause="{socket} was made anew, and the plugin has not registered since; expected `Registered device"
            " plugin` after it.",
            sample="inotify: /var/lib/kubelet/device-plugins/kubelet.sock created, restarting.",
        ),
        Signature(
            pattern=r"[Ll]ist(?:AndWatch|andwatch) ended unexpectedly for device plugin|[Mm]ark all resources"
            r" Unhealthy for resource"
            r"|device-plugins/nvidia\S{0,30}\.sock[\"']?: (?:connect: )?(?:no such file|connection refused)|[Ff]ailed"
            r" to (?:dial|connect to)"
            r" device plugin",
            literals=(
                "ended unexpectedly for device",
                "all resources Unhealthy",
                "device-plugins/nvidia",
                "device plugin",
            ),
            component="kubelet",
            source="kubernetes/kubernetes:pkg/kubelet/cm/devicemanager/plugin/v1beta1/client.go",
            ended_by=("plugin-registered",),
            cause="kubelet lost the plugin's socket, and the plugin has not registered since.",
            sample='"ListAndWatch ended unexpectedly for device plugin" err="rpc error: code = Unavailable desc ='
            " error reading from server:"
            ' EOF" resource="nvidia.com/gpu"',
        ),
    ),
)

NO_LABEL = Failure(
    id="plugin-node-label-missing",
    layer="plugin",
    severity="fatal",
    meaning="The device plugin's DaemonSet matches no node: the label that it selects by is missing.",
    remedy=Remedy(
        "Label the GPU nodes as the DaemonSet wants (Helm: nvidia.com/gpu.present=true), or run Node Feature"
        " Discovery, which finds them.",
        ("kubectl label node <node> nvidia.com/gpu.present=true", "kubectl get nodes --show-labels | grep -n 10de"),
    ),
    signatures=(
        Signature(
            pattern=r"\bnvidia-device-plugin[\w-]{0,60}\s{1,60}0\s{1,20}0\s{1,20}0\s{1,20}0\s{1,20}0\b|NFD labels"
            r" missing in the cluster|No GPU"
            r" node can be found in the cluster|No GPU node (?:in the cluster|found)|NFDLabelsMissing",
            literals=("nvidia-device-plugin", "NFD labels missing", "No GPU node", "NFDLabelsMissing"),
            component="kubectl, gpu-operator",
            source="NVIDIA/gpu-operator:controllers/clusterpolicy_controller.go",
            cause="The plugin's DaemonSet wants 0 pods; expected one on each GPU node.",
            sample="nvidia-device-plugin-daemonset   0         0         0       0            0          "
            " nvidia.com/gpu.present=true   4d",
        ),
        Signature(
            pattern=r"Desired Number of Nodes Scheduled: 0\b",
            literals=("Desired Number of Nodes Scheduled: 0",),
            component="kubectl describe daemonset",
            source="kubernetes/kubectl:pkg/describe/describe.go",
            near=("device-plugin",),
            unless=("dcgm-exporter",),
            cause="The plugin's DaemonSet wants 0 pods; expected one on each GPU node.",
            sample="Name:           nvidia-device-plugin-daemonset\nDesired Number of Nodes Scheduled: 0",
        ),
    ),
    mistaken_for=("dcgm-node-label-missing",),
)

SHARED_REQUEST = Failure(
    id="time-slicing-request-greater-than-one",
    layer="plugin",
    severity="degraded",
    meaning="A pod asks for more than one shared (time-sliced or MPS) GPU.",
    remedy=Remedy(
        "Ask for one: a replica is access to a GPU, and two replicas are no more of it. failRequestsGreaterThanOne:"
        " false allows more with"
        " time-slicing, never with MPS.",
        ("kubectl get pod <pod> -o yaml | grep -n nvidia.com/gpu",),
    ),
    signatures=(
        Signature(
            pattern=r"maximum request size for shared resources is 1(?:; found (?P<found>\d{1,5}))?",
            literals=("maximum request size for shared",),
            component="nvidia-device-plugin, kubelet",
            source=_PLUGIN + "internal/rm/rm.go",
            versions=">=0.12",
            cause="A pod asks for {found} shared GPUs; expected 1.",
            sample="request for 'nvidia.com/gpu: 2' too large: maximum request size for shared resources is 1, which"
            " is unexpected",
        ),
    ),
    mistaken_for=("pod-unexpected-admission-after-reboot",),
)

FAILURES = (
    NO_LABEL,
    LIST_STRATEGY,
    DISCOVERY,
    NO_RESOURCES,
    PARSE,
    GLIBC,
    MIG,
    NO_RUNTIME,
    UNHEALTHY,
    TOO_OLD_FOR_HEALTH,
    REGISTRATION,
    SOCKET_LOST,
    SHARED_REQUEST,
)
