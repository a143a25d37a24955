# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kernel, kubeadm and audit print of the host: modules, sysctls, SELinux, AppArmor."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature, shared

SELINUX = Failure(
    id="selinux-denied",
    layer="host",
    severity="fatal",
    meaning="SELinux denies a container access to device nodes, sockets or driver files.",
    remedy=Remedy(
        "Restore the labels of /dev/nvidia* and of the driver's files, and install the policy module of the runtime"
        " (container-selinux, nvidia-container-selinux); `container_use_devices` allows devices to containers.",
        ("ausearch -m avc -ts boot", "restorecon -Rv /dev /usr/lib64", "setsebool -P container_use_devices on"),
    ),
    signatures=(
        Signature(
            pattern=r"avc:\s{1,4}denied\s{1,4}\{ (?P<what>[^}\n]{1,60}) \}(?=[^\n]{0,600}(?:container|spc_t|svirt"
            r"|kubelet|nvidia"
            r"|device_t|crio|rpm_t|k3s))(?![^\n]{0,900}permissive=1)",
            literals=("avc:",),
            component="kernel audit",
            source="torvalds/linux:security/selinux/avc.c",
            cause="SELinux denied `{what}` to a container; expected a policy or label that allows it.",
            sample='type=AVC msg=audit(1683468487.052:3337): avc:  denied  { map } for  pid=699282 comm="vainfo"'
            ' path="/dev/dri/renderD128" dev="devtmpfs" ino=947 scontext=system_u:system_r:container_t:s0:c260,c628'
            " tcontext=system_u:object_r:dri_device_t:s0 tclass=chr_file permissive=0",
        ),
        Signature(
            pattern=r"^Source Context\s{1,40}\S{0,80}:(?P<domain>container\w{0,30}_t|spc_t|svirt\w{0,20}_t|kubelet_t|"
            r"nvidia\w{0,30}_t)\b",
            literals=("Source Context",),
            component="setroubleshoot",
            source="fedora-selinux/setroubleshoot:src/setroubleshoot/signature.py",
            cause="SELinux denied a process of the domain {domain} what it asked for.",
            sample="Source Context                system_u:system_r:container_t:s0:c100,c200",
        ),
        Signature(
            pattern=r"SELinux is preventing (?P<program>\S{1,200}) from (?P<what>[^\n]{1,120})",
            literals=("SELinux is preventing",),
            component="setroubleshoot",
            source="fedora-selinux/setroubleshoot:server/util.py",
            cause="SELinux keeps {program} from {what}.",
            sample="SELinux is preventing nvidia-smi from open access on the chr_file /dev/nvidiactl.",
        ),
        Signature(
            pattern=r"/proc/(?:self|thread-self)/attr/keycreate: [Pp]ermission denied|failed to set selinux label"
            r"|(?:error|failed)[^\n]{0,40} relabel[^\n]{0,120}(?:permission denied|not permitted|not supported)"
            r"|SELinux relabeling of \S{1,120} is not allowed",
            literals=("attr/keycreate", "selinux label", "relabel"),
            component="runc, CRI-O, podman",
            source="opencontainers/selinux:go-selinux",
            cause="SELinux refuses the container's label.",
            sample="write /proc/self/attr/keycreate: permission denied",
        ),
    ),
    mistaken_for=("nvml-insufficient-permissions",),
)

APPARMOR = Failure(
    id="apparmor-denied",
    layer="host",
    severity="fatal",
    meaning="AppArmor blocks the runtime or a container: signals, mounts, exec, or the profile itself cannot be"
    " loaded.",
    remedy=Remedy(
        "Correct or unload the profile that the message names; with a profile on runc, crun or containerd itself,"
        " update"
        " the package that ships it, or disable that profile.",
        ("aa-status", "journalctl -k -g 'apparmor=\"DENIED\"'", "aa-disable /etc/apparmor.d/<profile>"),
    ),
    signatures=(
        Signature(
            pattern=r"apparmor=\"DENIED\" operation=\"(?P<what>[^\"\n]{1,40})\"(?=[^\n]{0,700}(?:container|docker|crio"
            r"|cri-o|runc|crun|podman|kube|k3s|microk8s|lxc|nvidia|buildkit|unpriv))",
            literals=('apparmor="DENIED"',),
            component="kernel audit",
            source="torvalds/linux:security/apparmor/audit.c",
            cause="AppArmor denied `{what}` to a container or its runtime; expected a profile that allows it.",
            sample='audit: type=1400 audit(1606289025.169:54559): apparmor="DENIED" operation="signal"'
            ' profile="cri-containerd.apparmor.d" pid=2184447 comm="runc" requested_mask="receive"'
            ' denied_mask="receive" signal=term peer="snap.microk8s.daemon-containerd"',
        ),
        Signature(
            pattern=r"apparmor failed to apply profile|unable to apply apparmor profile|applying apparmor profile to"
            r" container|get apparmor_|apparmor_parser: Unable to|attempted to load a profile while confined"
            r"|Cannot enforce AppArmor|[Uu]nable to (?:re)?load AppArmor profile|AppArmor enabled on system but the"
            r"|apparmor[^\n]{0,40} profile (?:is )?not (?:found|loaded)|apparmor profile \S{1,80} not found",
            literals=("pparmor", "AppArmor", "load a profile while confined"),
            component="runc, containerd, CRI-O, kubelet, apparmor_parser",
            source="opencontainers/runc:libcontainer/apparmor/apparmor_linux.go, cri-o/cri-o:pkg/config/config.go",
            cause="The AppArmor profile of a container cannot be loaded or applied.",
            sample='apparmor_parser: Unable to remove "containerd".  Permission denied; attempted to load a profile'
            " while"
            " confined?",
        ),
        Signature(
            pattern=r"unable to signal init: permission denied|(?:runc|crun|nvidia-container-runtime) did not terminate"
            r" successfully: exit status 1: unable to signal",
            literals=("unable to signal",),
            component="runc",
            source="opencontainers/runc:libcontainer/container_linux.go",
            cause="runc may not signal the container's first process: an AppArmor profile on runc forbids it.",
            sample="ctr: unknown error after kill: /usr/bin/nvidia-container-runtime did not terminate successfully:"
            " exit"
            " status 1: unable to signal init: permission denied",
        ),
        Signature(
            pattern=r"[Ff]ailed to create[^\n]{0,160}[Aa]pp[Aa]rmor|OCI runtime[^\n]{0,240}apparmor",
            literals=("pparmor", "ppArmor"),
            component="containerd, runc",
            source="opencontainers/runc:libcontainer/apparmor",
            cause="A container cannot be created because of its AppArmor profile.",
            sample="OCI runtime create failed: runc create failed: unable to start container process: error during"
            " container init: unable to apply apparmor profile: apparmor failed to apply profile",
            not_with="disabled|not enabled",
        ),
    ),
)

BR_NETFILTER = shared(
    "br-netfilter-missing",
    (
        Signature(
            pattern=r"/proc/sys/net/bridge/bridge-nf-call-(?P<table>ip6tables|iptables|arptables)[\"']?\]?:?\s{0,2}"
            r"(?:does not exist|: ?[Nn]o such file|[Nn]o such file)|bridge-nf-call-(?:ip6tables|iptables"
            r"|arptables)[\"']?"
            r"(?:: |, ignoring: )[Nn]o such file|bridge-nf-call-(?:ip6tables|iptables)[\"'] is an unknown key",
            literals=("bridge-nf-call-",),
            component="sysctl, kubeadm, flannel, systemd-sysctl",
            source="kubernetes/kubernetes:cmd/kubeadm/app/preflight/checks.go, procps:src/sysctl.c",
            cause="bridge-nf-call-{table} does not exist, because br_netfilter is not loaded; expected it loaded.",
            sample="[ERROR FileContent--proc-sys-net-bridge-bridge-nf-call-iptables]:"
            " /proc/sys/net/bridge/bridge-nf-call-iptables does not exist",
        ),
        Signature(
            pattern=r"cannot stat /proc/sys/net/bridge|Module br_netfilter not found|Missing br-netfilter module"
            r"|Failed to check br_netfilter|br_netfilter (?:module )?(?:is )?not loaded",
            literals=("/proc/sys/net/bridge", "br_netfilter", "br-netfilter"),
            component="sysctl, modprobe, kube-proxy, flannel",
            source="kubernetes/kubernetes:pkg/proxy/iptables/proxier.go, flannel-io/flannel:main.go",
            cause="The module br_netfilter is not loaded; expected it loaded now and at every boot.",
            sample="sysctl: cannot stat /proc/sys/net/bridge/bridge-nf-call-iptables: No such file or directory",
        ),
    ),
)

SYSCTL = shared(
    "kubeadm-preflight-sysctl",
    (
        Signature(
            pattern=r"(?P<file>/proc/sys/net/\S{4,120}) contents are not set to 1",
            literals=("contents are not set to 1",),
            component="kubeadm",
            source="kubernetes/kubernetes:cmd/kubeadm/app/preflight/checks.go",
            cause="{file} is not 1; expected 1, because pod networks need it.",
            sample="[ERROR FileContent--proc-sys-net-ipv4-ip_forward]: /proc/sys/net/ipv4/ip_forward contents are not"
            " set"
            " to 1",
        ),
        Signature(
            pattern=r"IPv4 forwarding is disabled|ip_forward is (?:not enabled|disabled|0\b|not set to 1)"
            r"|net\.ipv4\.ip_forward (?:must|should|needs to) be",
            literals=("IPv4 forwarding is disabled", "ip_forward"),
            component="docker, CNI plugins",
            source="moby/moby:daemon/info_unix.go",
            cause="net.ipv4.ip_forward is 0; expected 1.",
            sample="WARNING: IPv4 forwarding is disabled. Networking will not work.",
            weak=True,
        ),
    ),
)

FAILURES = (SELINUX, APPARMOR, BR_NETFILTER, SYSCTL)
