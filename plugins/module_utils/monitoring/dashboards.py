# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The five dashboards: which panels, what they ask, in which unit.

Rules of this file: data only. A panel asks for recorded series where there are some, so that a panel and an alert never
disagree. A panel that may rightly be empty says when.
"""

from __future__ import annotations

from .panels import (
    BARS,
    BYTES,
    BYTES_PER_SECOND,
    CELSIUS,
    COUNT,
    GAUGE,
    GREEN,
    HERTZ,
    NONE,
    ORANGE,
    PER_SECOND,
    RATIO,
    RED,
    SECONDS,
    STAT,
    STATES,
    TABLE,
    WATT,
    YELLOW,
    Dashboard,
    Panel,
    Query,
    Row,
    Variable,
)
from .rules import DISK, GPU, GPU_RESOURCE, worst_by
from .settings import CRITICAL, EMPTY, HIGH, MODEST, Settings

CLUSTER = 'cluster=~"$cluster"'
ON_NODE = f'{CLUSTER}, node=~"$node"'
ON_GPU = f'{ON_NODE}, gpu=~"$gpu"'
OF_PODS = f'{CLUSTER}, namespace=~"$namespace"'
OF_PODS_HERE = f'{OF_PODS}, node=~"$node"'
RATE = "$__rate_interval"
DEVICES = 'device!~"(loop|ram|zram|sr|fd)[0-9].*"'
INTERFACES = 'device!~"lo|veth.*|cali.*|cni.*|flannel.*|docker.*|virbr.*|br-.*|tunl.*|kube-.*|dummy.*"'
CONTAINERS = f'{OF_PODS_HERE}, container!="", container!="POD"'
# the cgroup of the whole pod: neither one of its containers nor its sandbox
WHOLE_POD = f'{OF_PODS_HERE}, pod!="", container="", image=""'

CLUSTERS = Variable("cluster", 'label_values(up{job=~"node-exporter|dcgm-exporter"}, cluster)', "Cluster")
NODES = Variable("node", f'label_values(up{{job="node-exporter", {CLUSTER}}}, node)', "Node")
GPU_NODES = Variable("node", f'label_values(up{{job="dcgm-exporter", {CLUSTER}}}, node)', "Node")
GPUS = Variable("gpu", f"label_values(gpu:temperature:celsius{{{ON_NODE}}}, gpu)", "GPU")
NAMESPACES = Variable("namespace", f"label_values(kube_pod_info{{{CLUSTER}}}, namespace)", "Namespace")
MODELS = Variable("model", f"label_values(inference_requests_total{{{OF_PODS}}}, model)", "Model")

NODE_GPU = "{{node}} GPU {{gpu}}"
NO_PSI = "the kernel has no PSI (RHEL and kin need `psi=1` on the kernel's command line)"
NO_PROFILING = "the GPU has no profiling counters (GeForce, older than Volta), or the exporter lacks SYS_ADMIN"
NO_PODS = "no pod holds a GPU, or the exporter cannot reach kubelet's socket of pod resources"


# ---------------------------------------------------------------- system resources


def system() -> Dashboard:
    cpu = f'rate(node_cpu_seconds_total{{{ON_NODE}, mode!="idle"}}[{RATE}])'
    idle = f'rate(node_cpu_seconds_total{{{ON_NODE}, mode=~"idle|iowait|steal"}}[{RATE}])'
    free = f"node_filesystem_avail_bytes{{{ON_NODE}, {DISK}}} / node_filesystem_size_bytes{{{ON_NODE}, {DISK}}}"
    return Dashboard(
        uid="gpunode-system",
        title="System resources",
        says="CPU, memory, disks and network of the nodes, from node-exporter.",
        variables=(CLUSTERS, NODES),
        rows=(
            Row(
                "Now",
                (
                    Panel(
                        "Nodes that answer",
                        COUNT,
                        (Query(f'sum(up{{job="node-exporter", {ON_NODE}}})', "nodes"),),
                        STAT,
                        width=6,
                        height=4,
                    ),
                    Panel(
                        "CPU in use, the busiest node",
                        RATIO,
                        (Query(f"max(node:cpu_utilisation:ratio_rate5m{{{ON_NODE}}})", "busiest"),),
                        STAT,
                        width=6,
                        height=4,
                        steps={ORANGE: 0.7, RED: 0.9},
                        top=1,
                    ),
                    Panel(
                        "Memory in use, the fullest node",
                        RATIO,
                        (Query(f"max(node:memory_used:ratio{{{ON_NODE}}})", "fullest"),),
                        STAT,
                        width=6,
                        height=4,
                        steps={ORANGE: 0.8, RED: 0.9},
                        top=1,
                    ),
                    Panel(
                        "Disk left, the fullest file system",
                        RATIO,
                        (Query(f"min({free})", "fullest"),),
                        STAT,
                        width=6,
                        height=4,
                        top=1,
                    ),
                ),
            ),
            Row(
                "CPU",
                (
                    Panel(
                        "CPU in use",
                        RATIO,
                        (Query(f"1 - avg by (cluster, node) (sum without (mode) ({idle}))", "{{node}}"),),
                        says="Of all cores together. Waiting for disks counts as idle.",
                        top=1,
                        steps={ORANGE: 0.7, RED: 0.9},
                    ),
                    Panel(
                        "CPU in use, by core",
                        RATIO,
                        (Query(f"1 - sum by (cluster, node, cpu) ({idle})", "{{node}} core {{cpu}}"),),
                        top=1,
                    ),
                    Panel(
                        "CPU time by mode",
                        RATIO,
                        (
                            Query(
                                f"sum by (cluster, node, mode) ({cpu})"
                                f" / on (cluster, node) group_left () count by (cluster, node)"
                                f' (node_cpu_seconds_total{{{ON_NODE}, mode="idle"}})',
                                "{{node}} {{mode}}",
                            ),
                        ),
                        stacked=True,
                        width=24,
                    ),
                ),
            ),
            Row(
                "Memory",
                (
                    Panel(
                        "Memory",
                        BYTES,
                        (
                            Query(
                                f"node_memory_MemTotal_bytes{{{ON_NODE}}}"
                                f" - node_memory_MemAvailable_bytes{{{ON_NODE}}}",
                                "{{node}} used",
                            ),
                            Query(f"node_memory_MemAvailable_bytes{{{ON_NODE}}}", "{{node}} available"),
                            Query(f"node_memory_MemTotal_bytes{{{ON_NODE}}}", "{{node}} total"),
                        ),
                        says="Used is what no new program could have: total less available. Cache counts as available.",
                    ),
                    Panel(
                        "Memory in use",
                        RATIO,
                        (Query(f"node:memory_used:ratio{{{ON_NODE}}}", "{{node}}"),),
                        top=1,
                        steps={ORANGE: 0.8, RED: 0.9},
                    ),
                ),
            ),
            Row(
                "Disks",
                (
                    Panel(
                        "Disk reads",
                        BYTES_PER_SECOND,
                        (
                            Query(
                                f"rate(node_disk_read_bytes_total{{{ON_NODE}, {DEVICES}}}[{RATE}])",
                                "{{node}} {{device}}",
                            ),
                        ),
                    ),
                    Panel(
                        "Disk writes",
                        BYTES_PER_SECOND,
                        (
                            Query(
                                f"rate(node_disk_written_bytes_total{{{ON_NODE}, {DEVICES}}}[{RATE}])",
                                "{{node}} {{device}}",
                            ),
                        ),
                    ),
                    Panel(
                        "Disk left",
                        RATIO,
                        (Query(free, "{{node}} {{mountpoint}}"),),
                        says="kubelet removes images below 15 % and evicts pods below 10 %.",
                        top=1,
                    ),
                    Panel(
                        "Disk busy",
                        RATIO,
                        (
                            Query(
                                f"rate(node_disk_io_time_seconds_total{{{ON_NODE}, {DEVICES}}}[{RATE}])",
                                "{{node}} {{device}}",
                            ),
                        ),
                        says="Share of the time with a request under way. A fast disk may take more at 100 %.",
                        top=1,
                    ),
                ),
            ),
            Row(
                "Network",
                (
                    Panel(
                        "Network received",
                        BYTES_PER_SECOND,
                        (
                            Query(
                                f"rate(node_network_receive_bytes_total{{{ON_NODE}, {INTERFACES}}}[{RATE}])",
                                "{{node}} {{device}}",
                            ),
                        ),
                    ),
                    Panel(
                        "Network sent",
                        BYTES_PER_SECOND,
                        (
                            Query(
                                f"rate(node_network_transmit_bytes_total{{{ON_NODE}, {INTERFACES}}}[{RATE}])",
                                "{{node}} {{device}}",
                            ),
                        ),
                    ),
                ),
            ),
        ),
    )


# ---------------------------------------------------------------- GPU performance


def gpu(chosen: Settings) -> Dashboard:
    hot = {ORANGE: float(chosen.gpu_hot_celsius), RED: float(chosen.gpu_too_hot_celsius)}

    xids = worst_by(f"{GPU}, xid", f"DCGM_EXP_XID_ERRORS_COUNT{{{ON_GPU}}}")

    def raw(metric: str) -> str:
        return worst_by(GPU, f"{metric}{{{ON_GPU}}}")

    def grown(metric: str) -> str:
        return worst_by(GPU, f"increase({metric}{{{ON_GPU}}}[{RATE}])")

    shared = (
        "Under time-slicing and MPS the exporter gives every pod the figure of the whole GPU. This panel shows a pod "
        "only where it is alone on its GPU, or where the exporter tells processes apart."
    )
    return Dashboard(
        uid="gpunode-gpu",
        title="GPU performance",
        says="What each GPU does, from NVIDIA's DCGM exporter. A GPU counts once, however many pods share it.",
        variables=(CLUSTERS, GPU_NODES, GPUS, NAMESPACES),
        rows=(
            Row(
                "Now",
                (
                    Panel(
                        "GPUs",
                        COUNT,
                        (Query(f"count(gpu:temperature:celsius{{{ON_GPU}}})", "GPUs"),),
                        STAT,
                        width=4,
                        height=4,
                    ),
                    Panel(
                        "Hottest",
                        CELSIUS,
                        (Query(f"max(gpu:temperature:celsius{{{ON_GPU}}})", "hottest"),),
                        STAT,
                        width=4,
                        height=4,
                        steps=hot,
                    ),
                    Panel(
                        "Power of all",
                        WATT,
                        (Query(f"sum(gpu:power:watts{{{ON_GPU}}})", "all"),),
                        STAT,
                        width=4,
                        height=4,
                    ),
                    Panel(
                        "Mean utilisation",
                        RATIO,
                        (Query(f"avg(gpu:utilisation:ratio{{{ON_GPU}}})", "mean"),),
                        STAT,
                        width=4,
                        height=4,
                        top=1,
                        empty_when="all GPUs are split by MIG: see the graphics engine",
                    ),
                    Panel(
                        "Asked for by pods",
                        COUNT,
                        (
                            Query(
                                f"sum(kube_pod_container_resource_requests{{{ON_NODE}, {GPU_RESOURCE}}}"
                                " * on (cluster, namespace, pod) group_left ()"
                                f' (kube_pod_status_phase{{{CLUSTER}, phase="Running"}} == 1))',
                                "requested",
                            ),
                            Query(f"sum(node:gpus_allocatable:count{{{ON_NODE}}})", "allocatable"),
                        ),
                        STAT,
                        says="Requests of running pods beside what the nodes offer: GPUs, slices and replicas.",
                        width=4,
                        height=4,
                        empty_when=NO_PODS,
                    ),
                    Panel(
                        "Most pods on one GPU",
                        COUNT,
                        (Query(f"max(gpu:pods:count{{{ON_GPU}}})", "pods"),),
                        STAT,
                        says="More than one: GPUs are shared, and figures of a GPU are not a pod's.",
                        width=4,
                        height=4,
                        empty_when=NO_PODS,
                    ),
                ),
            ),
            Row(
                "Together",
                (
                    Panel(
                        "Utilisation, memory, temperature and power",
                        RATIO,
                        (
                            Query(f"gpu:utilisation:ratio{{{ON_GPU}}}", f"{NODE_GPU} utilisation"),
                            Query(f"gpu:memory_used:ratio{{{ON_GPU}}}", f"{NODE_GPU} memory"),
                            Query(f"gpu:temperature:celsius{{{ON_GPU}}}", f"{NODE_GPU} temperature", CELSIUS),
                            Query(f"gpu:power:watts{{{ON_GPU}}}", f"{NODE_GPU} power", WATT),
                        ),
                        width=24,
                        height=9,
                        top=1,
                    ),
                ),
            ),
            Row(
                "Utilisation",
                (
                    Panel(
                        "Utilisation",
                        RATIO,
                        (Query(f"gpu:utilisation:ratio{{{ON_GPU}}}", NODE_GPU),),
                        says="Share of the time in which a kernel ran, on however few SMs. MIG instances have none.",
                        top=1,
                        steps={YELLOW: 0.9},
                        empty_when="all GPUs are split by MIG: see the graphics engine",
                    ),
                    Panel(
                        "Graphics engine, tensor cores, memory interface",
                        RATIO,
                        (
                            Query(f"gpu:engine_active:ratio{{{ON_GPU}}}", f"{NODE_GPU} {{{{GPU_I_ID}}}} engine"),
                            Query(raw("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"), f"{NODE_GPU} {{{{GPU_I_ID}}}} tensor"),
                            Query(raw("DCGM_FI_PROF_DRAM_ACTIVE"), f"{NODE_GPU} {{{{GPU_I_ID}}}} memory interface"),
                        ),
                        says="Profiling counters: how much of the GPU is in use, which utilisation does not tell.",
                        top=1,
                        empty_when=NO_PROFILING,
                    ),
                    Panel(
                        "Memory in use",
                        BYTES,
                        (
                            Query(f"gpu:memory_used:bytes{{{ON_GPU}}}", f"{NODE_GPU} used"),
                            Query(f"gpu:memory_size:bytes{{{ON_GPU}}}", f"{NODE_GPU} size"),
                        ),
                    ),
                    Panel(
                        "Memory in use, share",
                        RATIO,
                        (Query(f"gpu:memory_used:ratio{{{ON_GPU}}}", NODE_GPU),),
                        top=1,
                        steps={YELLOW: 0.95},
                    ),
                ),
            ),
            Row(
                "Heat, power and clocks",
                (
                    Panel(
                        "Temperature",
                        CELSIUS,
                        (
                            Query(f"gpu:temperature:celsius{{{ON_GPU}}}", NODE_GPU),
                            Query(f"gpu:memory_temperature:celsius{{{ON_GPU}}} > 0", f"{NODE_GPU} memory"),
                        ),
                        says="Memory only where the GPU has a sensor for it.",
                        steps=hot,
                    ),
                    Panel(
                        "Power",
                        WATT,
                        (
                            Query(f"gpu:power:watts{{{ON_GPU}}}", NODE_GPU),
                            Query(raw("DCGM_FI_DEV_ENFORCED_POWER_LIMIT"), f"{NODE_GPU} limit"),
                        ),
                    ),
                    Panel("SM clock", HERTZ, (Query(f"gpu:sm_clock:hertz{{{ON_GPU}}}", NODE_GPU),)),
                    Panel("Memory clock", HERTZ, (Query(f"gpu:memory_clock:hertz{{{ON_GPU}}}", NODE_GPU),)),
                    Panel(
                        "What holds the clocks back",
                        COUNT,
                        (
                            Query(
                                f"sum by (cluster, node, gpu, clock_event) (gpu:clock_events:count{{{ON_GPU}}})",
                                f"{NODE_GPU} {{{{clock_event}}}}",
                            ),
                        ),
                        says="Samples of the last five minutes, by reason. gpu_idle and power_cap are usual; "
                        "hw_thermal, hw_power_brake and hw_slowdown are not.",
                        width=24,
                        empty_when="nothing held the clocks back in the last five minutes",
                    ),
                ),
            ),
            Row(
                "Errors",
                (
                    Panel(
                        "Xids of the last five minutes",
                        COUNT,
                        (
                            Query(
                                f"sum by (cluster, node, gpu, xid) ({xids})",
                                f"{NODE_GPU} Xid {{{{xid}}}}",
                            ),
                        ),
                        says="By number. DCGM_FI_DEV_XID_ERRORS is no count: it keeps the last number until the driver "
                        "is loaded anew.",
                    ),
                    Panel(
                        "Memory errors since the driver was loaded",
                        COUNT,
                        (
                            Query(raw("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL"), f"{NODE_GPU} corrected"),
                            Query(raw("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"), f"{NODE_GPU} uncorrectable"),
                        ),
                        empty_when="the GPU has no ECC, or it is off",
                    ),
                    Panel(
                        "Remapped rows",
                        COUNT,
                        (
                            Query(raw("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS"), f"{NODE_GPU} after corrected errors"),
                            Query(
                                raw("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"), f"{NODE_GPU} after uncorrectable errors"
                            ),
                            Query(raw("DCGM_FI_DEV_ROW_REMAP_PENDING"), f"{NODE_GPU} waits for a reset"),
                            Query(raw("DCGM_FI_DEV_ROW_REMAP_FAILURE"), f"{NODE_GPU} failed"),
                        ),
                        empty_when="the GPU is older than Ampere",
                    ),
                    Panel(
                        "PCIe replays",
                        COUNT,
                        (Query(grown("DCGM_FI_DEV_PCIE_REPLAY_COUNTER"), NODE_GPU),),
                        says="Retries on the bus within one interval. Few are harmless; many are a bad seat or riser.",
                    ),
                ),
            ),
            Row(
                "PCIe",
                (
                    Panel(
                        "PCIe from the GPU",
                        BYTES_PER_SECOND,
                        (Query(raw("DCGM_FI_PROF_PCIE_TX_BYTES"), NODE_GPU),),
                        empty_when=NO_PROFILING,
                    ),
                    Panel(
                        "PCIe to the GPU",
                        BYTES_PER_SECOND,
                        (Query(raw("DCGM_FI_PROF_PCIE_RX_BYTES"), NODE_GPU),),
                        empty_when=NO_PROFILING,
                    ),
                ),
            ),
            Row(
                "Pods",
                (
                    Panel(
                        "Who holds which GPU",
                        COUNT,
                        (
                            Query(
                                "count by (cluster, node, gpu, GPU_I_ID, modelName, namespace, pod)"
                                f' (DCGM_FI_DEV_GPU_TEMP{{{ON_GPU}, namespace=~"$namespace", pod!=""}})'
                                " * on (cluster, node, gpu, GPU_I_ID, modelName) group_left ()"
                                " max by (cluster, node, gpu, GPU_I_ID, modelName) (gpu:pods:count)",
                                "Pods on this GPU",
                            ),
                        ),
                        TABLE,
                        columns={
                            "node": "Node",
                            "gpu": "GPU",
                            "GPU_I_ID": "MIG instance",
                            "modelName": "Model",
                            "namespace": "Namespace",
                            "pod": "Pod",
                        },
                        width=24,
                        empty_when=NO_PODS,
                    ),
                    Panel(
                        "Memory by pod",
                        BYTES,
                        (
                            Query(
                                f'gpu_pod:memory_used:bytes{{{ON_GPU}, namespace=~"$namespace"}}',
                                "{{namespace}}/{{pod}} on " + NODE_GPU,
                            ),
                        ),
                        says=shared,
                        empty_when=f"{NO_PODS}; or every GPU is shared and the exporter cannot tell processes apart",
                    ),
                    Panel(
                        "Utilisation by pod",
                        RATIO,
                        (
                            Query(
                                f'gpu_pod:utilisation:ratio{{{ON_GPU}, namespace=~"$namespace"}}',
                                "{{namespace}}/{{pod}} on " + NODE_GPU,
                            ),
                        ),
                        says=shared,
                        top=1,
                        empty_when=f"{NO_PODS}; or every GPU is shared and the exporter cannot tell processes apart",
                    ),
                ),
            ),
        ),
    )


# ---------------------------------------------------------------- container metrics


def containers() -> Dashboard:
    by_pod = "cluster, namespace, pod"
    ask_gpus = f"and on ({by_pod}) kube_pod_container_resource_requests{{{ON_NODE}, {GPU_RESOURCE}}} > 0"
    cpu = f"sum by ({by_pod}) (rate(container_cpu_usage_seconds_total{{{CONTAINERS}}}[{RATE}]))"
    memory = f"sum by ({by_pod}) (container_memory_working_set_bytes{{{CONTAINERS}}})"
    own_network = f'and on ({by_pod}) kube_pod_info{{{OF_PODS}, host_network="false"}}'
    name = "{{namespace}}/{{pod}}"

    def network(way: str) -> str:
        moved = f'container_network_{way}_bytes_total{{{OF_PODS_HERE}, pod!=""}}'
        return f"sum by ({by_pod}) (rate({moved}[{RATE}])) {own_network}"

    def periods(kind: str) -> str:
        return f"sum by ({by_pod}) (rate(container_cpu_cfs_{kind}_total{{{CONTAINERS}}}[{RATE}]))"

    def files(way: str) -> str:
        return f"sum by ({by_pod}) (rate(container_fs_{way}_bytes_total{{{WHOLE_POD}}}[{RATE}]))"

    def psi(kind: str) -> str:
        return f"topk(10, {worst_by(by_pod, f'rate(container_pressure_{kind}_seconds_total{{{WHOLE_POD}}}[{RATE}])')})"

    return Dashboard(
        uid="gpunode-containers",
        title="Container metrics",
        says="What pods use, from kubelet's cAdvisor, and the states they are in, from kube-state-metrics.",
        variables=(CLUSTERS, NODES, NAMESPACES),
        rows=(
            Row(
                "Pods that ask for GPUs",
                (
                    Panel(
                        "CPU of pods with GPUs",
                        COUNT,
                        (Query(f"{cpu} {ask_gpus}", name),),
                        says="In cores.",
                        empty_when="no pod asks for a GPU",
                    ),
                    Panel(
                        "Memory of pods with GPUs",
                        BYTES,
                        (Query(f"{memory} {ask_gpus}", name),),
                        says="The working set: what kubelet's eviction and the OOM killer look at.",
                        empty_when="no pod asks for a GPU",
                    ),
                ),
            ),
            Row(
                "All pods",
                (
                    Panel("CPU", COUNT, (Query(cpu, name),), says="In cores."),
                    Panel("Memory", BYTES, (Query(memory, name),), says="The working set."),
                    Panel(
                        "CPU time denied by limits",
                        RATIO,
                        (
                            Query(
                                f"{periods('throttled_periods')} / ({periods('periods')} > 0)",
                                name,
                            ),
                        ),
                        says="Share of the scheduler's periods in which a CPU limit held the pod back.",
                        top=1,
                        empty_when="no pod has a CPU limit",
                    ),
                    Panel(
                        "Restarts",
                        COUNT,
                        (
                            Query(
                                f"sum by ({by_pod})"
                                f" (increase(kube_pod_container_status_restarts_total{{{OF_PODS}}}[1h]))",
                                name,
                            ),
                        ),
                        says="Within an hour.",
                    ),
                ),
            ),
            Row(
                "Network and files",
                (
                    Panel(
                        "Pod network received",
                        BYTES_PER_SECOND,
                        (Query(network("receive"), name),),
                        says="Pods on the host's network are left out: their figures are the node's.",
                    ),
                    Panel("Pod network sent", BYTES_PER_SECOND, (Query(network("transmit"), name),)),
                    Panel(
                        "Pod file system reads",
                        BYTES_PER_SECOND,
                        (Query(files("reads"), name),),
                        says="What the pod's cgroup read from block devices. kubelet tells of no space by pod.",
                        empty_when="cgroup v1: cAdvisor has them by container only",
                    ),
                    Panel(
                        "Pod file system writes",
                        BYTES_PER_SECOND,
                        (Query(files("writes"), name),),
                        empty_when="cgroup v1: cAdvisor has them by container only",
                    ),
                ),
            ),
            Row(
                "Waiting",
                (
                    Panel(
                        "Waiting for CPU, ten worst",
                        RATIO,
                        (Query(psi("cpu_waiting"), name),),
                        says="PSI of the pod's cgroup.",
                        empty_when="Kubernetes is older than 1.34, or " + NO_PSI,
                    ),
                    Panel(
                        "Waiting for memory and disks, ten worst",
                        RATIO,
                        (Query(psi("memory_waiting"), name + " memory"), Query(psi("io_waiting"), name + " disks")),
                        empty_when="Kubernetes is older than 1.34, or " + NO_PSI,
                    ),
                ),
            ),
            Row(
                "States",
                (
                    Panel(
                        "Pods by state",
                        COUNT,
                        (Query(f"sum by (phase) (kube_pod_status_phase{{{OF_PODS}}})", "{{phase}}"),),
                        stacked=True,
                        width=8,
                        height=10,
                    ),
                    Panel(
                        "Pods",
                        COUNT,
                        (
                            Query(
                                f"sum by (cluster, namespace, pod, phase) (kube_pod_status_phase{{{OF_PODS}}} == 1)",
                                "Pods",
                            ),
                            Query(
                                f"sum by ({by_pod}) (kube_pod_container_status_restarts_total{{{OF_PODS}}})",
                                "Restarts",
                            ),
                        ),
                        TABLE,
                        columns={"namespace": "Namespace", "pod": "Pod", "phase": "State"},
                        width=16,
                        height=10,
                    ),
                ),
            ),
        ),
    )


# ---------------------------------------------------------------- system pressure


def pressure(chosen: Settings) -> Dashboard:
    starts = chosen.states()
    colours = {EMPTY: "blue", MODEST: GREEN, HIGH: ORANGE, CRITICAL: RED}
    words = {level: (state, colours[state]) for level, state in enumerate(starts)}
    bands = {colours[state]: start for state, start in starts.items()}
    told = ", ".join(f"{state} from {start:.0%}" for state, start in starts.items())
    scores = {ORANGE: 50.0, RED: 100.0}

    def psi(kind: str) -> str:
        return worst_by("cluster, node", f"rate(node_pressure_{kind}_seconds_total{{{ON_NODE}}}[{RATE}])")

    return Dashboard(
        uid="gpunode-pressure",
        title="System pressure",
        says="How long tasks wait for CPU, memory and disks (PSI), and how loaded that makes a node.",
        variables=(CLUSTERS, NODES),
        rows=(
            Row(
                "State",
                (
                    Panel(
                        "State of load",
                        NONE,
                        (Query(f"node:load_state:level{{{ON_NODE}}}", "{{node}}"),),
                        STAT,
                        says=f"By the greatest of CPU utilisation and the three pressures: {told}.",
                        width=8,
                        words=words,
                    ),
                    Panel(
                        "Load",
                        RATIO,
                        (Query(f"node:load:ratio{{{ON_NODE}}}", "{{node}}"),),
                        GAUGE,
                        says="The greatest of CPU utilisation and the three pressures (some).",
                        width=8,
                        steps=bands,
                        top=1,
                    ),
                    Panel(
                        "Composite score",
                        COUNT,
                        (Query(f"node:pressure:score{{{ON_NODE}}}", "{{node}}"),),
                        GAUGE,
                        says="The waiting rates of CPU, memory and disks together, times 100: 0 to 300.",
                        width=8,
                        steps=scores,
                        top=300,
                        empty_when=NO_PSI,
                    ),
                    Panel(
                        "State of load over time",
                        NONE,
                        (Query(f"node:load_state:level{{{ON_NODE}}}", "{{node}}"),),
                        STATES,
                        width=24,
                        height=6,
                        words=words,
                    ),
                ),
            ),
            Row(
                "Pressure",
                (
                    Panel(
                        "CPU",
                        RATIO,
                        (Query(psi("cpu_waiting"), "{{node}} some"),),
                        says="Share of the time in which a task waited for a CPU. A whole node has no `full`.",
                        top=1,
                        steps=bands,
                        empty_when=NO_PSI,
                    ),
                    Panel(
                        "Memory",
                        RATIO,
                        (
                            Query(psi("memory_waiting"), "{{node}} some"),
                            Query(psi("memory_stalled"), "{{node}} full"),
                        ),
                        says="some: at least one task waited for memory. full: all of them did.",
                        top=1,
                        steps=bands,
                        empty_when=NO_PSI,
                    ),
                    Panel(
                        "Disks",
                        RATIO,
                        (Query(psi("io_waiting"), "{{node}} some"), Query(psi("io_stalled"), "{{node}} full")),
                        says="some: at least one task waited for a disk. full: all of them did.",
                        top=1,
                        steps=bands,
                        empty_when=NO_PSI,
                    ),
                    Panel(
                        "Interrupts",
                        RATIO,
                        (Query(psi("irq_stalled"), "{{node}} full"),),
                        says="Share of the time that interrupts took from tasks.",
                        top=1,
                        empty_when="the kernel is older than 6.1 or built without CONFIG_IRQ_TIME_ACCOUNTING, or "
                        "node-exporter older than 1.9",
                    ),
                ),
            ),
            Row(
                "History",
                (
                    Panel(
                        "Composite score over time",
                        COUNT,
                        (Query(f"node:pressure:score{{{ON_NODE}}}", "{{node}}"),),
                        steps=scores,
                        empty_when=NO_PSI,
                    ),
                    Panel(
                        "CPU utilisation beside pressure",
                        RATIO,
                        (
                            Query(f"node:cpu_utilisation:ratio_rate5m{{{ON_NODE}}}", "{{node}} CPU in use"),
                            Query(f"node:load:ratio{{{ON_NODE}}}", "{{node}} load"),
                        ),
                        says="Where load is above CPU in use, tasks wait for something else.",
                        top=1,
                    ),
                ),
            ),
        ),
    )


# ---------------------------------------------------------------- inference performance


def inference() -> Dashboard:
    of = f'{OF_PODS_HERE}, model=~"$model"'

    def quantile(share: float, by: str = "model") -> str:
        return (
            f"histogram_quantile({share:g}, sum by ({by}, le) (rate(inference_latency_seconds_bucket{{{of}}}[{RATE}])))"
        )

    served = f"sum by (model) (rate(inference_requests_total{{{of}}}[{RATE}]))"
    waiting = f"sum by (model) (inference_queue_depth{{{of}}})"
    idle = "no inference service with these metrics is scraped: see README of the role, Annotated pods"
    return Dashboard(
        uid="gpunode-inference",
        title="Inference performance",
        says="Latency, throughput and queues of inference services that expose inference_latency_seconds (histogram), "
        "inference_requests_total and inference_queue_depth with the label model, as the examples do.",
        variables=(CLUSTERS, NODES, NAMESPACES, MODELS),
        rows=(
            Row(
                "Latency",
                (
                    *(
                        Panel(
                            f"Latency, {name}",
                            SECONDS,
                            (Query(quantile(share), "{{model}}"),),
                            says="Of the requests within one interval; between two bounds of the histogram, a guess.",
                            width=8,
                            empty_when=idle,
                        )
                        for name, share in (("median", 0.5), ("p95", 0.95), ("p99", 0.99))
                    ),
                    Panel(
                        "Medians compared",
                        SECONDS,
                        (Query(quantile(0.5), "{{model}}"),),
                        BARS,
                        width=24,
                        height=6,
                        empty_when=idle,
                    ),
                ),
            ),
            Row(
                "Work",
                (
                    Panel("Throughput", PER_SECOND, (Query(served, "{{model}}"),), empty_when=idle),
                    Panel("Queue depth", COUNT, (Query(waiting, "{{model}}"),), empty_when=idle),
                    Panel(
                        "Summary",
                        SECONDS,
                        (
                            Query(quantile(0.5), "Median"),
                            Query(quantile(0.95), "p95"),
                            Query(quantile(0.99), "p99"),
                            Query(served, "Requests a second", PER_SECOND),
                            Query(waiting, "Queue", COUNT),
                            Query(
                                f"count by (model) (inference_requests_total{{{of}}})",
                                "Replicas",
                                COUNT,
                            ),
                        ),
                        TABLE,
                        columns={"model": "Model"},
                        width=24,
                        empty_when=idle,
                    ),
                ),
            ),
            Row(
                "Latency under load",
                (
                    Panel(
                        "p95 beside CPU in use",
                        SECONDS,
                        (
                            Query(quantile(0.95, "node, model"), "{{node}} {{model}} p95"),
                            Query(f"node:cpu_utilisation:ratio_rate5m{{{ON_NODE}}}", "{{node}} CPU in use", RATIO),
                        ),
                        says="Whether latency follows the load of the node that serves.",
                        empty_when=idle,
                    ),
                    Panel(
                        "p95 beside GPU in use",
                        SECONDS,
                        (
                            Query(quantile(0.95, "node, model"), "{{node}} {{model}} p95"),
                            Query(
                                f"avg by (cluster, node) (gpu:utilisation:ratio{{{ON_NODE}}})",
                                "{{node}} GPUs in use",
                                RATIO,
                            ),
                        ),
                        empty_when=idle,
                    ),
                ),
            ),
        ),
    )


def dashboards(chosen: Settings) -> tuple[Dashboard, ...]:
    return (system(), gpu(chosen), containers(), pressure(chosen), inference())
