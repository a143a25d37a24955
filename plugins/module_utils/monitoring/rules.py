# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus records and when it warns, as data: name, expression, what it means and what mends it.

Rules of this file: each expression names only metrics that the pinned exporters expose (DCGM exporter 4.5.3-4.8.2 with
``roles/monitoring/files/counters.csv``, node-exporter 1.12, kube-state-metrics 2.20, kubelet). A GPU is one series of a
recorded ``gpu:`` metric however many pods share it: the exporter repeats its figures for every pod, so a sum over them
counts a shared GPU many times. ``docs/diagnosis.md`` is generated from the alerts; their names are stable for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .settings import Settings

GPU = "cluster, node, gpu, UUID, modelName, GPU_I_ID, GPU_I_PROFILE"
GPU_POD = f"{GPU}, namespace, pod"
MEBIBYTE = 1048576
MEGAHERTZ = 1000000

GPU_RESOURCE = 'resource=~"nvidia_com_(gpu|mig).*"'
PLUGIN = 'daemonset=~".*nvidia.*device-plugin.*"'
# what a user's data or an image can fill; the rest is memory, read-only, or somebody else's
DISK = 'fstype!~"tmpfs|ramfs|devtmpfs|overlay|squashfs|iso9660|fuse.*|nfs.*|cifs", mountpoint!~"/boot/efi|/run.*"'

# Xids by who has to act: docs.nvidia.com/deploy/xid-errors
XID_HARDWARE = "46|48|62|64|74|79|95|109|110|119|120|136|140|143|155|158"
XID_APPLICATION = "13|31|43|45|94"
THROTTLED = "hw_slowdown|hw_thermal|hw_power_brake|sw_thermal"


@dataclass(frozen=True)
class Record:
    """A recorded series. ``name`` is level:metric:operation, ``unit`` that of its value."""

    name: str
    expr: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Alert:
    """A warning. ``findings``: ids of docs/diagnosis.md that tell the cause, or are the same seen by the diagnosis."""

    name: str
    expr: str
    severity: str  # critical: somebody gets up. warning: somebody looks today. info: worth knowing
    summary: str
    meaning: str
    mend: str
    wait: str = "0m"
    keep: str = ""
    findings: tuple[str, ...] = ()
    runbook: str = ""  # the anchor in docs/diagnosis.md; empty: the alert's own section

    @property
    def anchor(self) -> str:
        return self.runbook or self.name.lower()


def worst_by(labels: str, expr: str) -> str:
    return f"max by ({labels}) ({expr})"


def gpu_records() -> list[Record]:
    """One series a GPU (or MIG instance), whatever the number of pods on it."""
    # The exporter repeats the figure of the whole GPU for each pod. Where it can tell processes apart, it adds a series
    # without a pod for the GPU, and gives pods their own share. Only those, or of a pod alone on its GPU, are a pod's.
    own = "cluster, node, gpu, GPU_I_ID"

    def of_pods(metric: str) -> str:
        return worst_by(GPU_POD, metric + '{pod!=""}')

    def told_apart(metric: str) -> str:
        return f'((gpu:pods:count == 1) or {metric}{{pod=""}})'

    return [
        Record("gpu:temperature:celsius", worst_by(GPU, "DCGM_FI_DEV_GPU_TEMP"), "celsius", "The core's temperature."),
        Record(
            "gpu:memory_temperature:celsius",
            worst_by(GPU, "DCGM_FI_DEV_MEMORY_TEMP"),
            "celsius",
            "HBM's; 0: no sensor.",
        ),
        Record(
            "gpu:utilisation:ratio",
            f"{worst_by(GPU, 'DCGM_FI_DEV_GPU_UTIL')} / 100",
            "ratio",
            "Time with a kernel running.",
        ),
        Record(
            "gpu:engine_active:ratio", worst_by(GPU, "DCGM_FI_PROF_GR_ENGINE_ACTIVE"), "ratio", "The same, MIG too."
        ),
        Record("gpu:power:watts", worst_by(GPU, "DCGM_FI_DEV_POWER_USAGE"), "watt", "The board's power draw."),
        Record(
            "gpu:sm_clock:hertz", f"{worst_by(GPU, 'DCGM_FI_DEV_SM_CLOCK')} * {MEGAHERTZ}", "hertz", "The SM clock."
        ),
        Record(
            "gpu:memory_clock:hertz",
            f"{worst_by(GPU, 'DCGM_FI_DEV_MEM_CLOCK')} * {MEGAHERTZ}",
            "hertz",
            "The memory clock.",
        ),
        Record(
            "gpu:memory_used:bytes", f"{worst_by(GPU, 'DCGM_FI_DEV_FB_USED')} * {MEBIBYTE}", "bytes", "Memory in use."
        ),
        Record(
            "gpu:memory_size:bytes",
            "("
            + " + ".join(worst_by(GPU, f"DCGM_FI_DEV_FB_{part}") for part in ("USED", "FREE", "RESERVED"))
            + f") * {MEBIBYTE}",
            "bytes",
            "Used, free and reserved together: the exporter has no total by default.",
        ),
        Record("gpu:memory_used:ratio", "gpu:memory_used:bytes / gpu:memory_size:bytes", "ratio", "Memory in use."),
        Record(
            "gpu:pods:count",
            f'count by ({GPU}) (count by ({GPU_POD}) (DCGM_FI_DEV_GPU_TEMP{{pod!=""}}))',
            "count",
            "Pods that hold the GPU: more than one where it is shared.",
        ),
        Record(
            "gpu_pod:memory_used:bytes",
            f"{of_pods('DCGM_FI_DEV_FB_USED')} * {MEBIBYTE} and on ({own}) {told_apart('DCGM_FI_DEV_FB_USED')}",
            "bytes",
            "A pod's memory: only where it is alone on its GPU or the exporter could tell processes apart.",
        ),
        Record(
            "gpu_pod:utilisation:ratio",
            f"{of_pods('DCGM_FI_DEV_GPU_UTIL')} / 100 and on ({own}) {told_apart('DCGM_FI_DEV_GPU_UTIL')}",
            "ratio",
            "A pod's share of the GPU's time, on the same condition.",
        ),
        Record(
            "gpu:xid_errors:count",
            worst_by(f"{GPU}, xid", 'DCGM_EXP_XID_ERRORS_COUNT{xid!="", xid!="0"}'),
            "count",
            "Xids of the last five minutes by number; no series where there was none.",
        ),
        Record(
            "gpu:clock_events:count",
            worst_by(f"{GPU}, clock_event", 'DCGM_EXP_CLOCK_EVENTS_COUNT{clock_event!=""}'),
            "count",
            "Samples of the last five minutes in which the clocks were held back, by reason.",
        ),
        Record(
            "node:gpus:count",
            "count by (cluster, node) (count by (cluster, node, UUID) (DCGM_FI_DEV_GPU_TEMP))",
            "count",
            "GPUs that the exporter of a node sees.",
        ),
        Record(
            "node:gpus_allocatable:count",
            f"sum by (cluster, node) (kube_node_status_allocatable{{{GPU_RESOURCE}}})",
            "count",
            "GPUs, slices and replicas that a node offers.",
        ),
    ]


def node_records(chosen: Settings) -> list[Record]:
    def psi(kind: str) -> str:
        return worst_by("cluster, node", f"rate(node_pressure_{kind}_seconds_total[5m])")

    shares = {
        "cpu": "node:cpu_utilisation:ratio_rate5m",
        "cpu pressure": "node:pressure_cpu_some:ratio_rate5m",
        "memory pressure": "node:pressure_memory_some:ratio_rate5m",
        "io pressure": "node:pressure_io_some:ratio_rate5m",
    }
    parts = " or ".join(f'label_replace({name}, "share", "{share}", "", "")' for share, name in shares.items())
    idle = 'sum without (mode) (rate(node_cpu_seconds_total{mode=~"idle|iowait|steal"}[5m]))'
    states = [f"(node:load:ratio >= bool {start:g})" for start in chosen.states().values() if start]
    return [
        Record(
            "node:cpu_utilisation:ratio_rate5m",
            f"1 - avg by (cluster, node) ({idle})",
            "ratio",
            "CPU time in use, of all cores.",
        ),
        Record(
            "node:memory_used:ratio",
            f"1 - {worst_by('cluster, node', 'node_memory_MemAvailable_bytes')}"
            f" / {worst_by('cluster, node', 'node_memory_MemTotal_bytes')}",
            "ratio",
            "Memory that no new program could have.",
        ),
        Record("node:pressure_cpu_some:ratio_rate5m", psi("cpu_waiting"), "ratio", "PSI cpu, some."),
        Record("node:pressure_memory_some:ratio_rate5m", psi("memory_waiting"), "ratio", "PSI memory, some."),
        Record("node:pressure_memory_full:ratio_rate5m", psi("memory_stalled"), "ratio", "PSI memory, full."),
        Record("node:pressure_io_some:ratio_rate5m", psi("io_waiting"), "ratio", "PSI io, some."),
        Record("node:pressure_io_full:ratio_rate5m", psi("io_stalled"), "ratio", "PSI io, full."),
        Record(
            "node:pressure:score",
            "100 * (node:pressure_cpu_some:ratio_rate5m + node:pressure_memory_some:ratio_rate5m"
            " + node:pressure_io_some:ratio_rate5m)",
            "score",
            "The three waiting rates together, times 100: 0 to 300.",
        ),
        Record(
            "node:load:ratio",
            worst_by("cluster, node", parts),
            "ratio",
            "The greatest of CPU utilisation and the three pressures.",
        ),
        Record(
            "node:load_state:level",
            " + ".join(states),
            "level",
            "0 empty, 1 modest, 2 high, 3 critical.",
        ),
    ]


def gpu_alerts(chosen: Settings) -> list[Alert]:
    where = "GPU {{ $labels.gpu }} ({{ $labels.modelName }}) of {{ $labels.node }}"
    return [
        Alert(
            "GpuHot",
            f"gpu:temperature:celsius > {chosen.gpu_hot_celsius}",
            "warning",
            where + " is at {{ $value }} °C.",
            "A GPU is warmer than it should be under load; before long it slows itself down.",
            "Look at fans, air flow and inlet temperature, and at what runs on the other GPUs of the machine.",
            wait="5m",
            findings=("clocks-thermal-throttle",),
        ),
        Alert(
            "GpuTooHot",
            f"gpu:temperature:celsius > {chosen.gpu_too_hot_celsius}",
            "critical",
            where + " is at {{ $value }} °C.",
            "A GPU is so hot that it slows down, and shuts itself off a few degrees further on.",
            "Drain the node and mend its cooling. `nvidia-smi -q -d TEMPERATURE` says where this GPU stops.",
            wait="1m",
            findings=("clocks-thermal-throttle",),
        ),
        Alert(
            "GpuMemoryHot",
            f"gpu:memory_temperature:celsius > {chosen.gpu_memory_hot_celsius}",
            "warning",
            "The memory of " + where + " is at {{ $value }} °C.",
            "The GPU's HBM is hotter than it is meant to be.",
            "As for GpuHot; HBM heats up by memory traffic where the core stays cool.",
            wait="5m",
            findings=("clocks-thermal-throttle",),
        ),
        Alert(
            "GpuThrottled",
            f'gpu:clock_events:count{{clock_event=~"{THROTTLED}"}} > 0',
            "warning",
            where + " is held back: {{ $labels.clock_event }}.",
            "Heat or the power supply holds the clocks back; jobs take longer than they should.",
            "The label `clock_event` names the reason: hw_thermal and sw_thermal are cooling, hw_power_brake is the "
            "power supply, hw_slowdown is one of both.",
            wait="10m",
            findings=("clocks-thermal-throttle", "clocks-power-brake", "clocks-hardware-slowdown"),
        ),
        Alert(
            "GpuXidHardware",
            f'gpu:xid_errors:count{{xid=~"{XID_HARDWARE}"}} > 0',
            "critical",
            where + " reports Xid {{ $labels.xid }}.",
            "The driver reports an error that the GPU, its memory, its link or its firmware made, not a program.",
            "Drain the node, look up the Xid in the kernel's log (`journalctl -k -g Xid`), reset the GPU or reboot; "
            "replace it where it comes back.",
            keep="1h",
            findings=("xid-ecc-uncorrectable", "xid-nvlink-error", "xid-gsp-timeout", "gpu-lost-off-bus"),
        ),
        Alert(
            "GpuXidApplication",
            f'gpu:xid_errors:count{{xid=~"{XID_APPLICATION}"}} > 0',
            "info",
            where + " reports Xid {{ $labels.xid }}.",
            "A program on the GPU failed: an access out of bounds, an exception, or a channel that was torn down.",
            "Look at the pod's log. Where different programs fail on the same GPU, treat it as GpuXidHardware.",
            keep="1h",
            findings=("xid-application-fault", "plugin-device-unhealthy-xid"),
        ),
        Alert(
            "GpuXidOther",
            f'gpu:xid_errors:count{{xid!~"{XID_HARDWARE}|{XID_APPLICATION}"}} > 0',
            "warning",
            where + " reports Xid {{ $labels.xid }}.",
            "The driver reports an Xid that is neither known as the hardware's nor as a program's.",
            "Look it up in NVIDIA's list of Xids and in the kernel's log (`journalctl -k -g Xid`).",
            keep="1h",
        ),
        Alert(
            "GpuEccUncorrectable",
            f"{worst_by(GPU, 'increase(DCGM_FI_DEV_ECC_DBE_VOL_TOTAL[1h])')} > 0",
            "critical",
            where + " had memory errors that could not be corrected.",
            "Data in GPU memory was lost; the program that used it was ended, or should not be trusted.",
            "Drain the node and reset the GPU, so that the row is remapped; replace the GPU where it happens again.",
            findings=("xid-ecc-uncorrectable", "ecc-pending"),
        ),
        Alert(
            "GpuRowRemapFailed",
            f"{worst_by(GPU, 'DCGM_FI_DEV_ROW_REMAP_FAILURE')} == 1",
            "critical",
            where + " has no spare rows left for a broken one.",
            "A row of GPU memory is broken and cannot be replaced.",
            "Replace the GPU (NVIDIA's RMA criterion).",
            findings=("remap-failure",),
        ),
        Alert(
            "GpuRowRemapPending",
            f"{worst_by(GPU, 'DCGM_FI_DEV_ROW_REMAP_PENDING')} == 1",
            "warning",
            where + " waits for a reset to replace a broken row.",
            "A row of GPU memory will be replaced at the next reset; until then errors there may come back.",
            "Drain the node when it suits, then reset the GPU or reboot.",
            wait="1h",
            findings=("remap-pending",),
        ),
        Alert(
            "GpuOffBus",
            "(max_over_time(node:gpus:count[1d]) - node:gpus:count > 0)"
            ' or sum by (cluster, node) (gpu:xid_errors:count{xid="79"}) > 0',
            "critical",
            "{{ $labels.node }} has lost {{ $value }} GPU(s) that it had within the last day.",
            "A GPU no longer answers on PCIe (Xid 79), or the exporter no longer sees it.",
            "Drain the node, look at the kernel's log, power-cycle the machine (a reboot may not do).",
            wait="2m",
            findings=("gpu-lost-off-bus", "gpu-missing-on-bus", "gpu-count-mismatch"),
        ),
    ]


def stack_alerts(chosen: Settings) -> list[Alert]:
    capacity = f"sum by (cluster, node) (kube_node_status_capacity{{{GPU_RESOURCE}}})"
    return [
        Alert(
            "ExporterDown",
            'up{job=~"dcgm-exporter|node-exporter|kube-state-metrics|kubelet|cadvisor"} == 0',
            "critical",
            "{{ $labels.job }} {{ with $labels.node }}of {{ . }} {{ end }}does not answer.",
            "Prometheus finds the exporter and gets no answer: what it measures is unknown, and its alerts are silent.",
            "Look at the target's error in Prometheus (Status, Targets), then at the pod's log.",
            wait="5m",
            findings=("monitoring-without-nvidia-runtime", "dcgm-exporter-on-non-gpu-node"),
        ),
        Alert(
            "GpuExporterSilent",
            'up{job="dcgm-exporter"} == 1 unless on (cluster, node) node:gpus:count',
            "critical",
            "The DCGM exporter of {{ $labels.node }} answers, and reports no GPU.",
            "The exporter runs without a GPU it could measure: the driver fails, or all GPUs are gone.",
            "Run `nvidia-smi -L` on the node; verify.yml names the cause.",
            wait="5m",
            findings=("nvml-driver-not-loaded", "gpu-lost-off-bus", "monitoring-without-nvidia-runtime"),
        ),
        Alert(
            "GpuExporterMissing",
            f'{capacity} > 0 unless on (cluster, node) up{{job="dcgm-exporter"}}',
            "warning",
            "{{ $labels.node }} has GPUs and no DCGM exporter.",
            "A node offers GPUs and nothing measures them.",
            "Look at the DaemonSet's node selector and at the labels and taints of the node.",
            wait="15m",
            findings=("dcgm-node-label-missing",),
        ),
        Alert(
            "KubeStateMetricsMissing",
            f'absent(up{{job="kube-state-metrics", cluster="{chosen.cluster}"}} == 1)',
            "critical",
            "No kube-state-metrics answers.",
            "All alerts on pods, nodes and allocatable GPUs are silent.",
            "Look at its Deployment, and at the error of its target in Prometheus.",
            wait="10m",
        ),
        Alert(
            "GpuAllocatableFewer",
            "(node:gpus:count > on (cluster, node) node:gpus_allocatable:count)"
            " or (node:gpus:count unless on (cluster, node) node:gpus_allocatable:count)"
            f" or ({capacity} > on (cluster, node) node:gpus_allocatable:count)",
            "critical",
            "{{ $labels.node }} has {{ $value }} GPU(s) and offers fewer.",
            "Fewer GPUs may be scheduled than are installed: the device plugin does not run, or calls some unhealthy.",
            "gpu_info says which node and why. Look at the device plugin's log, then at the GPU's.",
            wait="10m",
            findings=("allocatable-unlike-devices", "allocatable-below-capacity", "plugin-device-unhealthy-xid"),
        ),
        Alert(
            "DevicePluginNotReady",
            f"kube_daemonset_status_number_ready{{{PLUGIN}}}"
            f" < kube_daemonset_status_desired_number_scheduled{{{PLUGIN}}}",
            "critical",
            "{{ $labels.namespace }}/{{ $labels.daemonset }}: only {{ $value }} pods are ready.",
            "On some node the device plugin does not run, and no new pod gets a GPU there.",
            "Look at the pods that are not ready; cluster_info names the cause.",
            wait="10m",
            findings=("plugin-pod-not-running", "plugin-without-nvidia-runtime", "plugin-twice"),
        ),
        Alert(
            "DevicePluginNowhere",
            f"kube_daemonset_status_desired_number_scheduled{{{PLUGIN}}} == 0",
            "critical",
            "{{ $labels.namespace }}/{{ $labels.daemonset }} is meant for no node.",
            "The device plugin is deployed, and its node selector or tolerations match no node.",
            "Compare the DaemonSet's node selector with the labels of the nodes.",
            wait="15m",
            findings=("plugin-node-label-missing",),
        ),
        Alert(
            "NodeGateClosed",
            f'kube_node_spec_taint{{key="{chosen.gate_taint}"}} == 1',
            "warning",
            "{{ $labels.node }} has not passed its GPU checks since it booted.",
            "The reboot gate keeps pods away from the node until its GPUs are checked; it has been shut for long.",
            "Run verify.yml on the node: its first finding is the cause. repair.yml mends what a role can.",
            wait="15m",
            findings=("taint-blocks-scheduling", "node-not-ready"),
        ),
        Alert(
            "NodeNotReady",
            'kube_node_status_condition{condition="Ready", status="true"} == 0',
            "critical",
            "{{ $labels.node }} is not ready.",
            "kubelet does not answer, or says that it cannot run pods.",
            "Run verify.yml on the node; look at kubelet's and the runtime's journal.",
            wait="5m",
            findings=("node-not-ready", "kubelet-not-running", "container-runtime-not-running"),
        ),
        Alert(
            "CertificateNearExpiry",
            f"kubelet_certificate_manager_client_ttl_seconds < {chosen.certificate_days * 86400}",
            "warning",
            "The certificate of kubelet on {{ $labels.node }} ends in {{ $value | humanizeDuration }}.",
            "kubelet renews its certificate long before; it could not. When it ends, the node is NotReady for good.",
            "Look at kubelet's journal for why renewal fails, and at the node's clock. Those of the control plane: "
            "`kubeadm certs check-expiration`, and the module kubeadm_certificates.",
            wait="15m",
            findings=("clock-not-synchronised", "kubeconfig-credentials-refused"),
        ),
        Alert(
            "EvictedPodsPilingUp",
            f'sum by (cluster, namespace) (kube_pod_status_reason{{reason="Evicted"}} == 1) > {chosen.evicted_pods}',
            "warning",
            "{{ $value }} evicted pods lie in {{ $labels.namespace }}.",
            "A node runs out of disk or memory again and again; each round leaves pods behind that slow the API down.",
            "Mend the pressure first (DiskFilling, NodeLoadCritical), then remove them: "
            "`kubectl delete pods -A --field-selector=status.phase=Failed`.",
            wait="15m",
            findings=("evicted-pods-left", "disk-pressure-eviction"),
        ),
    ]


def node_alerts(chosen: Settings) -> list[Alert]:
    free = chosen.disk_free_percent / 100
    ahead = chosen.disk_full_hours * 3600
    disk_left = f"node_filesystem_avail_bytes{{{DISK}}} / node_filesystem_size_bytes{{{DISK}}}"
    volume_left = "kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes"
    return [
        Alert(
            "DiskFilling",
            f"(predict_linear(node_filesystem_avail_bytes{{{DISK}}}[6h], {ahead}) < 0 and {disk_left} < 0.5)",
            "warning",
            "{{ $labels.mountpoint }} of {{ $labels.node }} will be full within " + f"{chosen.disk_full_hours} hours.",
            "At the rate of the last six hours the disk fills up. Then kubelet removes images and evicts pods.",
            "See what grows: images and build cache, logs, a pod's volume. Never remove images that pods use.",
            wait="30m",
            findings=("disk-low", "disk-pressure-eviction"),
        ),
        Alert(
            "DiskAlmostFull",
            f"{disk_left} < {free:g}",
            "critical",
            "{{ $labels.mountpoint }} of {{ $labels.node }} has {{ $value | humanizePercentage }} left.",
            "kubelet begins to remove images at 15 % free and to evict pods at 10 %.",
            "Free space now, in this order: build cache, dangling images, images unused for long, the journal.",
            wait="10m",
            findings=("disk-low", "disk-pressure-eviction"),
        ),
        Alert(
            "PvcFilling",
            f"(predict_linear(kubelet_volume_stats_available_bytes[6h], {ahead}) < 0 and {volume_left} < 0.5)"
            f" or {volume_left} < {free / 2:g}",
            "warning",
            "The volume {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} is filling up.",
            "A claim is nearly full, or will be at its rate of the last six hours. Host path volumes, such as those of "
            "local-path-provisioner, report nothing: there DiskFilling warns.",
            "Make the claim larger where its class allows, or let the application keep less.",
            wait="30m",
            findings=("disk-low",),
        ),
        Alert(
            "NodeLoadCritical",
            f"node:load:ratio > {chosen.load_critical_percent / 100:g}",
            "warning",
            "{{ $labels.node }} is at {{ $value | humanizePercentage }} of what it can do.",
            "CPU utilisation, or the time that tasks wait for CPU, memory or disks, has been critical for long.",
            "The dashboard System pressure says which of them; move pods or give them limits.",
            wait="15m",
        ),
        Alert(
            "MemoryStalled",
            f"node:pressure_memory_full:ratio_rate5m > {chosen.memory_stalled_percent / 100:g}",
            "critical",
            "All tasks of {{ $labels.node }} wait for memory {{ $value | humanizePercentage }} of the time.",
            "The node thrashes: nothing runs while memory is reclaimed, and the OOM killer is near.",
            "Find the pod that grew (dashboard Container metrics) and give it a limit or another node.",
            wait="10m",
        ),
        Alert(
            "IoStalled",
            f"node:pressure_io_full:ratio_rate5m > {chosen.io_stalled_percent / 100:g}",
            "warning",
            "All tasks of {{ $labels.node }} wait for disks {{ $value | humanizePercentage }} of the time.",
            "The disks are the bottleneck; etcd and kubelet suffer with everything else.",
            "Find the device and the pod (dashboards System resources and Container metrics).",
            wait="15m",
        ),
        Alert(
            "FindingFatal",
            'gpunode_finding{severity="fatal"} == 1',
            "critical",
            "{{ $labels.node }}: {{ $labels.id }}.",
            "The diagnosis on the node found what keeps its GPUs from working.",
            "The link leads to the finding: its cause and its mend.",
            wait="5m",
            runbook="{{ $labels.id }}",
        ),
        Alert(
            "FindingDegraded",
            'gpunode_finding{severity="degraded"} == 1',
            "warning",
            "{{ $labels.node }}: {{ $labels.id }}.",
            "The diagnosis on the node found what works and is not as promised.",
            "The link leads to the finding: its cause and its mend.",
            wait="1h",
            runbook="{{ $labels.id }}",
        ),
    ]


def records(chosen: Settings) -> dict[str, list[Record]]:
    """The recorded series by group, in the order in which they need each other."""
    return {"gpunode-gpu-records": gpu_records(), "gpunode-node-records": node_records(chosen)}


def alerts(chosen: Settings) -> dict[str, list[Alert]]:
    """The alerts by group."""
    return {
        "gpunode-gpu": gpu_alerts(chosen),
        "gpunode-stack": stack_alerts(chosen),
        "gpunode-node": node_alerts(chosen),
    }


def rule_groups(chosen: Settings) -> list[dict[str, Any]]:
    """All of it as Prometheus reads it: ``groups`` of a rule file, or of a PrometheusRule."""
    groups: list[dict[str, Any]] = [
        {"name": name, "rules": [{"record": one.name, "expr": one.expr} for one in group]}
        for name, group in records(chosen).items()
    ]
    for name, group in alerts(chosen).items():
        groups.append({"name": name, "rules": [_alert(one, chosen) for one in group]})
    return groups


def _alert(one: Alert, chosen: Settings) -> dict[str, Any]:
    return {
        "alert": one.name,
        "expr": one.expr,
        "for": one.wait,
        **({"keep_firing_for": one.keep} if one.keep else {}),
        "labels": {"severity": one.severity},
        "annotations": {
            "summary": one.summary,
            "description": one.meaning,
            "runbook_url": f"{chosen.runbook_url}#{one.anchor}",
        },
    }
