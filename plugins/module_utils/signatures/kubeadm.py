# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubeadm, kubectl, minikube and k3s print when a control plane is not reached or not made."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature, shared

VERSIONS = shared(
    "kubeadm-version-mismatch",
    (
        Signature(
            pattern=r"[Tt]his version of [Kk]ubeadm only supports deploying clusters with the control plane version"
            r" (?:>=|&gt;="
            r"|at least) ?(?P<least>v?[\d.]{3,12}\w{0,12})(?:[^\n]{0,40}Current version: (?P<asked>v?[\d.]{3,12}))?",
            literals=("version of kubeadm only supports", "version of Kubeadm only supports"),
            component="kubeadm",
            source="kubernetes/kubernetes:cmd/kubeadm/app/util/config/initconfiguration.go",
            cause="kubeadm sets up {least} or newer, and the configuration asks for {asked}; expected kubeadm's own"
            " minor.",
            sample="this version of kubeadm only supports deploying clusters with the control plane version >="
            " 1.13.0. Current"
            " version: v1.11.3",
        ),
        Signature(
            pattern=r"kubelet version is higher than the control plane version|This is not a supported version skew"
            r"|[Kk]ubelet version: \"?(?P<kubelet>v?[\d.]{3,12})\"?[^\n]{0,40}Control plane version:"
            r"|uses an old API spec|no kind \"?(?:ClusterConfiguration|InitConfiguration|JoinConfiguration)\"? is"
            r" registered for"
            r" version|is higher than the kubeadm version|this version of kubeadm (?:is unable|only supports|cannot)"
            r"|unsupported (?:kubeadm )?(?:apiVersion|API version)[^\n]{0,40}kubeadm|kubeadm\.k8s\.io/v1(?:alpha"
            r"|beta)\d\"?\. Please"
            r" use kubeadm|older than the minimum supported|minor version difference of more than one|couldn't parse"
            r" Kubernetes"
            r" version",
            literals=(
                "kubelet version",
                "Kubelet version",
                "supported version skew",
                "old API spec",
                "is registered for version",
                "higher than the kubeadm version",
                "version of kubeadm",
                "PI version",
                "apiVersion",
                "kubeadm.k8s.io/",
                "minimum supported",
                "minor version difference",
                "parse Kubernetes version",
            ),
            component="kubeadm",
            source="kubernetes/kubernetes:cmd/kubeadm/app/preflight/checks.go, cmd/kubeadm/app/util/config/common.go",
            not_with=r"\[WARNING |WARNING: version difference",
            cause="kubeadm, kubelet ({kubelet}) and the configuration are of versions that do not go together.",
            sample="[ERROR KubeletVersion]: the kubelet version is higher than the control plane version. This is not"
            " a supported"
            ' version skew and may lead to a malfunctional cluster. Kubelet version: "1.14.0" Control plane version:'
            ' "1.13.5"',
        ),
        Signature(
            pattern=r"at least one minor release higher|doesn't match patterns for neither semantic version",
            literals=("minor release higher", "match patterns for neither"),
            component="kubeadm",
            source="kubernetes/kubernetes:cmd/kubeadm/app/phases/upgrade/policy.go",
            cause="kubeadm and the version asked for do not go together.",
            sample='Specified version to upgrade to "v1.21.0" is at least one minor release higher than the kubeadm'
            " minor release",
        ),
    ),
    severity="fatal",
)

LEFTOVER = shared(
    "kubeadm-leftover-state",
    (
        Signature(
            pattern=r"\[ERROR (?:FileAvailable|DirAvailable|Port)-[^\]\n]{1,120}\]: (?P<what>[^\n]{3,160})",
            literals=("[ERROR FileAvailable", "[ERROR DirAvailable", "[ERROR Port-"),
            component="kubeadm",
            source="kubernetes/kubernetes:cmd/kubeadm/app/preflight/checks.go",
            cause="State of an earlier cluster is still there: {what}.",
            sample="[ERROR FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml]:"
            " /etc/kubernetes/manifests/kube-apiserver.yaml already exists",
        ),
        Signature(
            pattern=r"^\s{0,12}(?:/etc/kubernetes/\S{0,80}|/var/lib/(?:etcd|kubelet)\S{0,20}) (?:already exists|is"
            r" not empty)"
            r"|^\s{0,12}Port (?:6443|10250|10251|10252|10257|10259|2379|2380) is in use|a Node with name"
            r" \"?\S{1,80}\"? and status"
            r" \"?Ready\"? already exists in the cluster",
            literals=("already exists", "is not empty", " is in use"),
            component="kubeadm",
            source="kubernetes/kubernetes:cmd/kubeadm/app/preflight/checks.go (before 1.9),"
            " cmd/kubeadm/app/cmd/join.go",
            cause="State of an earlier cluster is still there.",
            sample="/etc/kubernetes/manifests is not empty",
        ),
    ),
    severity="fatal",
)

KUBECONFIG = shared(
    "kubeconfig-permission",
    (
        Signature(
            pattern=r"(?:open|stat|lstat|read|mkdir|reading)? ?[\"']?(?P<file>/\S{0,120}(?:\.kube(?:/\S{0,60})?"
            r"|admin\.conf|k3s\.yaml"
            r"|rke2\.yaml|kubelet\.conf|kubeconfig\S{0,20}|scheduler\.conf|controller-manager\.conf"
            r"|microk8s/\S{0,40}client\.config))"
            r"[\"']?: [Pp]ermission denied",
            literals=("ermission denied",),
            component="kubectl, helm, minikube, k3s",
            source="kubernetes/client-go:tools/clientcmd/loader.go",
            cause="{file} may not be read by this user; expected a copy of the user's own with mode 0600.",
            sample='error: error loading config file "/etc/kubernetes/admin.conf": open /etc/kubernetes/admin.conf:'
            " permission denied",
        ),
        Signature(
            pattern=r"Unable to read /etc/rancher/(?:k3s/k3s|rke2/rke2)\.yaml|Insufficient permissions to access"
            r" MicroK8s"
            r"|HOST_KUBECONFIG_PERMISSION|HOST_HOME_PERMISSION",
            literals=(
                "Unable to read /etc/rancher",
                "permissions to access MicroK8s",
                "HOST_KUBECONFIG",
                "HOST_HOME_PERM",
            ),
            component="k3s, MicroK8s, minikube",
            source="k3s-io/k3s:pkg/kubectl/main.go",
            cause="The kubeconfig may not be read by this user; expected a copy of the user's own, or"
            " --write-kubeconfig-mode.",
            sample="Unable to read /etc/rancher/k3s/k3s.yaml, please start server with --write-kubeconfig-mode or"
            " --write-kubeconfig-group to modify kube config permissions",
        ),
    ),
)

WRONG_CA = Failure(
    id="kubeconfig-wrong-ca",
    layer="kubeadm",
    severity="degraded",
    meaning="Client and cluster do not share a CA: the kubeconfig is of an earlier or another cluster.",
    remedy=Remedy(
        "Copy the kubeconfig of this cluster's control plane anew, owned by the user, mode 0600; after a reset, take"
        " the old"
        " copies away first.",
        (
            "install -m 0600 -o <user> /etc/kubernetes/admin.conf <home>/.kube/config",
            "kubectl config view --minify",
        ),
    ),
    signatures=(
        Signature(
            pattern=r"candidate authority certificate [\"'](?P<authority>kubernetes|kubernetes-ca|minikubeCA"
            r"|k3s-\S{1,40}|rke2-\S{1,40}"
            r"|kube-ca|etcd-ca|10\.\S{4,14})[\"']|(?:Unable to connect to the server|couldn't get current server API"
            r" group list"
            r"|unable to recognize|(?:Get|Post) \"?https://[^\s\"]{4,120}(?::6443|:8443|:16443|/api"
            r"|/apis)\S{0,160})[^\n]{0,160}x509:"
            r" certificate signed by unknown authority|Unable to authenticate the request[^\n]{0,120}x509:"
            r" certificate signed by"
            r" unknown authority",
            literals=("candidate authority certificate", "signed by unknown authority"),
            component="kubectl, kubelet, kube-apiserver",
            source="golang/go:src/crypto/x509/verify.go",
            not_with=r"webhook|pull|/v2/|registry",
            cause="The API server's certificate is signed by another CA than this client trusts; expected the"
            " kubeconfig of this"
            " cluster.",
            sample="Unable to connect to the server: x509: certificate signed by unknown authority (possibly because"
            ' of "crypto/rsa:'
            ' verification error" while trying to verify candidate authority certificate "kubernetes")',
        ),
        Signature(
            pattern=r"You must be logged in to the server|the server has asked for the client to provide credentials"
            r"|certificate is valid for [^\n]{3,200}, not \d[\d.]{6,14}",
            literals=("must be logged in to the server", "client to provide credentials", "certificate is valid for"),
            component="kubectl",
            source="kubernetes/kubectl:pkg/cmd/util/helpers.go",
            cause="The cluster does not know this client's certificate; expected the kubeconfig of this cluster.",
            sample="error: You must be logged in to the server (Unauthorized)",
            weak=True,
        ),
        Signature(
            pattern=r"x509: certificate signed by unknown authority",
            literals=("signed by unknown authority",),
            component="kubectl, kubelet",
            source="golang/go:src/crypto/x509/verify.go",
            cause="A certificate is signed by another CA than this client trusts.",
            sample="error: tls: failed to verify certificate: x509: certificate signed by unknown authority",
            weak=True,
            not_with="webhook|pull|/v2/|registry|docker|proxy|git|helm",
        ),
    ),
    mistaken_for=("apiserver-not-ready",),
)

APISERVER = Failure(
    id="apiserver-not-ready",
    layer="kubeadm",
    severity="fatal",
    meaning="kubelet, kubectl or the installer cannot reach the API server.",
    remedy=Remedy(
        "See on the control plane whether its container runs, and read its log and etcd's; with none there, kubelet's"
        " journal says"
        " why it does not start static pods. From a worker, look at address, port and firewall.",
        (
            "crictl ps -a | grep -E 'kube-apiserver|etcd'",
            "journalctl -u kubelet -b -n 50",
            "curl -k https://127.0.0.1:6443/livez",
        ),
    ),
    signatures=(
        Signature(
            pattern=r"The connection to the server (?P<server>\S{3,120}) was refused|No container was found matching"
            r" \"kube-apiserver\"|apiserver process never appeared|K8S_APISERVER_MISSING|(?:apiserver|API server)"
            r" health(?:z|y)?"
            r"[^\n]{0,60}(?:never reported healthy|timed out|deadline exceeded|not (?:ready|healthy))"
            r"|stopped: https://(?P<address>\S{3,80})/healthz: Get|wait(?:ing)? 6m0s for node: wait for (?:healthy"
            r"|apiserver)"
            r"|couldn't initialize a Kubernetes cluster|kube-apiserver (?:is )?(?:not (?:running|healthy|ready)|check"
            r" failed)"
            r"|timed out waiting for the (?:API server|apiserver|kube-apiserver)",
            literals=(
                "The connection to the server",
                "No container was found matching",
                "apiserver process never",
                "K8S_APISERVER_MISSING",
                "apiserver health",
                "API server health",
                "/healthz: Get",
                "6m0s for node",
                "initialize a Kubernetes cluster",
                "kube-apiserver",
                "timed out waiting for the",
            ),
            component="kubectl, minikube, kubeadm",
            source="kubernetes/kubectl:pkg/cmd/util/helpers.go, kubernetes/minikube:pkg/minikube/bootstrapper/bsutil"
            "/kverify",
            ended_by=("node-registered",),
            cause="The API server {server}{address} does not answer; expected it healthy.",
            sample="The connection to the server localhost:8080 was refused - did you specify the right host or port?",
        ),
        Signature(
            pattern=r"(?:[Gg]et|[Pp]ost|[Dd]ial|[Pp]atch|[Ll]ist)[^\n]{0,260}dial tcp"
            r" (?P<server>[\w.:\[\]-]{3,60}:(?:6443|8443|16443|6444"
            r"|8080|443)): (?:connect: |i/o )?(?P<why>connection refused|timeout|no route to host)|[Uu]nable to"
            r" register node with API"
            r" server|failed to get CA certs|Waiting to retrieve agent configuration; server is not ready|[Ee]rror"
            r" getting node\""
            r" err=\"[^\n]{0,40}(?:not found|dial)|dial tcp (?P<other>[\w.:\[\]-]{3,60}:(?:6443|8443|16443|6444)):"
            r" connect: connection"
            r" refused",
            literals=(
                "dial tcp",
                "nable to register node with API",
                "failed to get CA certs",
                "Waiting to retrieve agent",
                "rror getting node",
            ),
            component="kubelet, k3s, kubectl",
            source="kubernetes/kubernetes:pkg/kubelet/kubelet_node_status.go",
            ended_by=("node-registered",),
            not_with=r"registry|docker\.io|/v2/|pull",
            cause="The API server {server}{other} is not reached ({why}); expected it to answer.",
            sample='"Unable to register node with API server" err="Post "https://10.0.0.5:6443/api/v1/nodes": dial'
            " tcp 10.0.0.5:6443:"
            ' connect: connection refused" node="cp1"',
            weak=True,
        ),
        Signature(
            pattern=r"\[kubelet-check\][^\n]{0,120}(?:isn't running|not healthy|unhealthy)"
            r"|[^\n]{0,40}:10248/healthz[^\n]{0,120}refused"
            r"|[Tt]he kubelet is not (?:running|healthy)|Unfortunately, an error has occurred: timed out waiting",
            literals=("[kubelet-check]", ":10248/healthz", "kubelet is not", "timed out waiting"),
            component="kubeadm",
            source="kubernetes/kubernetes:cmd/kubeadm/app/phases/kubelet,"
            " cmd/kubeadm/app/cmd/phases/init/waitcontrolplane.go",
            ended_by=("node-registered",),
            cause="kubelet does not become healthy, so no API server is started.",
            sample="[kubelet-check] It seems like the kubelet isn't running or healthy.",
            weak=True,
        ),
        Signature(
            pattern=r"Unable to connect to the server: (?:dial tcp|net/http|EOF|context|read tcp)|API server is not"
            r" healthy|control plane (?:is|was) not (?:ready|healthy|running)|[Ff]ailed to connect to (?:the )?(?:API"
            r" server|apiserver)",
            literals=(
                "Unable to connect to the server",
                "API server is not healthy",
                "control plane ",
                "ailed to connect to",
            ),
            component="kubectl, kubeadm",
            source="kubernetes/kubectl:pkg/cmd/util/helpers.go",
            cause="The API server does not answer; expected it healthy.",
            sample="Unable to connect to the server: net/http: TLS handshake timeout",
            ended_by=("node-registered",),
        ),
        Signature(
            pattern=r"error execution phase wait-control-plane|couldn't get current server API group list",
            literals=("phase wait-control-plane", "current server API group list"),
            component="kubeadm, kubectl",
            source="kubernetes/kubernetes:cmd/kubeadm/app/cmd/phases/init/waitcontrolplane.go",
            cause="The API server did not come up.",
            sample="error execution phase wait-control-plane: couldn't initialize a Kubernetes cluster",
            ended_by=("node-registered",),
            weak=True,
        ),
    ),
    consequence_of=(
        "kubelet-swap-on",
        "kubelet-unknown-flag",
        "cgroup-driver-mismatch",
        "kubelet-cgroup-v1-unsupported",
        "kubelet-cgroup-v2-unsupported",
        "container-runtime-not-running",
        "containerd-cri-disabled",
        "pause-image-mismatch",
        "kubeconfig-permission",
        "k3s-config-template-broken",
        "disk-pressure-eviction",
    ),
    mistaken_for=("kubeconfig-wrong-ca", "kubeconfig-permission"),
)

FAILURES = (VERSIONS, LEFTOVER, KUBECONFIG, WRONG_CA, APISERVER)
