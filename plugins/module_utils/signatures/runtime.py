# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What CRI-O, containerd, Docker, k3s, the CNI plugins and their callers print."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature, shared

_SOCKETS = r"(?:crio|containerd|docker|cri-dockerd|cri-docker|k3s|k0s)"

BINARY_MISSING = shared(
    "crio-binary-missing",
    (
        Signature(
            pattern=r"Unit (?P<unit>(?:crio|cri-o|containerd|docker|cri-docker|cri-dockerd)(?:\.service|\.socket)?)"
            r" (?:not found|could not be found|does not exist|not loaded)",
            literals=("Unit crio", "Unit cri-", "Unit containerd", "Unit docker"),
            component="systemctl",
            source="systemd:src/systemctl/systemctl-util.c",
            cause="There is no unit {unit}: the runtime's package is not installed.",
            sample="Failed to start crio.service: Unit crio.service not found.",
        ),
        Signature(
            pattern=r"(?:Failed to locate executable|Failed at step EXEC spawning|Failed to execute(?: command)?:?"
            r"|Unable to"
            r" locate executable) [\"']?(?P<binary>/\S{0,80}(?:crio|containerd|dockerd|cri-dockerd|k3s))[\"']?: ?No"
            r" such file"
            r"|(?P<unit>(?:crio|containerd|docker|cri-docker)\.service): [^\n]{0,80}status=203/EXEC"
            r"|(?:bash|sh|sudo|zsh|env): (?:line \d{1,4}: |\d{1,4}: )?[\"']?(?P<shell>crio|containerd|dockerd)[\"']?:"
            r" (?:command )?not"
            r" found",
            literals=("EXEC", "ocate executable", "Failed to execute", "crio: ", "containerd: ", "dockerd: "),
            component="systemd, shell",
            source="systemd:src/core/exec-invoke.c",
            cause="{binary}{unit}{shell} is not there, though its service is; expected the runtime's executable.",
            sample="crio.service: Failed to locate executable /usr/bin/crio: No such file or directory",
        ),
        Signature(
            pattern=r"Unit file (?P<unit>(?:crio|cri-o|containerd|docker|cri-docker)\S{0,12}) does not exist"
            r"|(?P<binary>/usr/(?:local/)?s?bin/(?:crio|containerd|dockerd|cri-dockerd))[\"']{0,2}:? ?[Nn]o such file",
            literals=("Unit file ", "bin/crio", "bin/containerd", "bin/dockerd", "bin/cri-dockerd"),
            component="systemctl, shell",
            source="systemd:src/shared/install.c",
            cause="{unit}{binary} is not there; expected the runtime's package installed.",
            sample="Failed to enable unit: Unit file crio.service does not exist.",
        ),
    ),
    consequence_of=("apt-broken-package-state", "apt-key-or-repo-failure"),
)

CONFIG_INVALID = shared(
    "containerd-config-invalid",
    (
        Signature(
            pattern=r"failed to load TOML(?: from)?:? ?(?P<file>/\S{1,160}config\S{0,40}toml|/etc/\S{1,160})?"
            r"|failed to unmarshal TOML|invalid plugin key URI|invalid plugin config:|invalid disabled plugin URI"
            r"|expected containerd config version|unsupported config version|higher than root config version"
            r"|containerd: (?:invalid|unable to (?:load|parse)) config|cannot load TOML value|Near line \d{1,5}"
            r" \(last key parsed|containerd: toml: "
            r"|containerd: \(\d{1,5}, \d{1,5}\): |containerd: [^\n]{0,80}TOML",
            literals=(
                "failed to load TOML",
                "failed to unmarshal TOML",
                "invalid plugin key URI",
                "invalid plugin config",
                "invalid disabled plugin",
                "containerd config version",
                "unsupported config version",
                "root config version",
                "containerd: ",
                "cannot load TOML",
                "last key parsed",
            ),
            component="containerd",
            source="containerd/containerd:cmd/containerd/server/config/config.go",
            unless=("k3s",),
            not_with=r"deprecated|level=(?:info|warning)",
            cause="containerd refuses its configuration ({file}); the message names the place.",
            sample="failed to load TOML from /etc/containerd/config.toml: invalid plugin key URI"
            ' "containerd.runtime.v1.linux"'
            " expect io.containerd.x.vx",
        ),
    ),
    mistaken_for=("k3s-config-template-broken",),
)

CRI_DISABLED = shared(
    "containerd-cri-disabled",
    (
        Signature(
            pattern=r"unknown service runtime\.(?P<version>v1\w{0,8})\.(?:Runtime|Image)Service",
            literals=("unknown service runtime.v1",),
            component="containerd, as told by crictl, kubeadm and kubelet",
            source="containerd/containerd (gRPC: service not registered)",
            cause="The runtime's socket does not serve CRI {version}: the cri plugin is disabled or did not load.",
            sample='validate CRI v1 runtime API for endpoint "unix:///run/containerd/containerd.sock": rpc error:'
            " code ="
            " Unimplemented desc = unknown service runtime.v1.RuntimeService",
        ),
        Signature(
            pattern=r"CRI v1 (?:runtime|image) API is not implemented for endpoint"
            r"|^\s{0,12}disabled_plugins\s{0,4}=\s{0,4}\["
            r"\s{0,4}\"(?:io\.containerd\.grpc\.v1\.)?cri\"",
            literals=("API is not implemented for endpoint", "disabled_plugins"),
            component="crictl, kubelet, config.toml",
            source="kubernetes-sigs/cri-tools:cmd/crictl/main.go",
            cause="containerd runs without its CRI service; expected `cri` not to stand in disabled_plugins.",
            sample="validate service connection: CRI v1 runtime API is not implemented for endpoint"
            ' "unix:///var/run/containerd/containerd.sock"',
        ),
    ),
)

LOW_LEVEL = shared(
    "low-level-runtime-not-found",
    (
        Signature(
            pattern=r"no runtime binary found from candidate list: \[(?P<candidates>[^\]\n]{0,160})\]|error locating"
            r" runtime",
            literals=("no runtime binary found", "error locating runtime"),
            component="nvidia-container-runtime",
            source="NVIDIA/nvidia-container-toolkit:internal/oci/runtime_low_level.go",
            cause="nvidia-container-runtime finds none of [{candidates}] in PATH; CRI-O keeps its own in"
            " /usr/libexec/crio.",
            sample="error constructing low-level runtime: error locating runtime: no runtime binary found from"
            " candidate list:"
            " [runc crun]",
        ),
        Signature(
            pattern=r"[\"'](?P<binary>(?:/\S{0,80}/)?(?:runc|crun|docker-runc|containerd-shim-runc-v2|kata-runtime"
            r"|runsc))[\"']"
            r" not found in \$PATH|exec: [\"'](?P<program>(?:/[^\"'\n]{0,80}/)?(?:runc|crun|docker-runc"
            r"|containerd-shim-runc-v2"
            r"|runsc))[\"']: (?:executable file not found|stat |file does not exist)|fork/exec"
            r" (?P<path>/\S{0,80}/(?:runc|crun"
            r"|docker-runc)): no such file",
            literals=("not found in $PATH", 'exec: "', "exec: '", "fork/exec"),
            component="CRI-O, containerd-shim, dockerd",
            source="cri-o/cri-o:pkg/config/config.go",
            cause="{binary}{program}{path} is not found; expected runc or crun where it is looked for.",
            sample='validating runtime config: runtime validation: "crun" not found in $PATH: exec: "crun":'
            " executable file not"
            " found in $PATH",
        ),
        Signature(
            pattern=r"runtime [\"'](?P<runtime>[^\"'\n]{1,60})[\"'] binary not installed|default OCI runtime"
            r" [\"'](?P<default>runc|crun)[\"'] not found|invalid runtime_path for runtime [\"'](?P<handler>runc"
            r"|crun)[\"']"
            r"|unable to find OCI runtime (?P<oci>runc|crun)|no OCI runtime(?:s)? (?:was |were )?found",
            literals=("binary not installed", "OCI runtime", "invalid runtime_path"),
            component="containerd, podman, CRI-O",
            source="containerd/containerd:core/runtime/v2/shim_manager.go",
            cause="The runtime {runtime}{default}{handler}{oci} is not installed where it is looked for.",
            sample='failed to start shim: failed to resolve runtime path: runtime "io.containerd.runc.v2" binary not'
            " installed"
            ' "containerd-shim-runc-v2": file does not exist',
        ),
    ),
    mistaken_for=("conmon-not-found", "nvidia-runtime-binary-missing"),
)

CONMON = shared(
    "conmon-not-found",
    (
        Signature(
            pattern=r"[\"']?conmon[\"']? not found in \$PATH|exec: [\"']conmon[\"']: executable file not found|could"
            r" not find a"
            r" working conmon|(?:stat|lstat|fork/exec|open) /\S{0,100}/conmon[\"']?: no such file|invalid conmon path"
            r"|failed to translate monitor fields for runtime (?P<handler>\S{1,60}): (?:exec: )?[\"']conmon",
            literals=("conmon", "translate monitor fields"),
            component="CRI-O, podman",
            source="cri-o/cri-o:pkg/config/config.go",
            versions="CRI-O >=1.17",
            cause="CRI-O finds no conmon for the handler {handler}; expected `monitor_path` with its full path.",
            sample='monitor fields translation: failed to translate monitor fields for runtime nvidia: exec: "conmon":'
            " executable file not found in $PATH",
        ),
    ),
    mistaken_for=("low-level-runtime-not-found",),
)

K3S_TEMPLATE = Failure(
    id="k3s-config-template-broken",
    layer="runtime",
    severity="fatal",
    meaning="The containerd template of k3s or RKE2 cannot be rendered, or what it renders cannot be read.",
    remedy=Remedy(
        "Move config.toml.tmpl (config-v3.toml.tmpl) away and restart: k3s and RKE2 find the NVIDIA runtime by"
        " themselves."
        ' Where a template is needed, begin with `{{ template "base" . }}` and add new tables only. Point the GPU'
        " Operator's"
        " toolkit at a drop-in, never at the template.",
        (
            "mv /var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl /root/",
            "systemctl restart k3s",
            "grep -n nvidia /var/lib/rancher/k3s/agent/etc/containerd/config.toml",
        ),
    ),
    signatures=(
        Signature(
            pattern=r"keys cannot contain \{ character|unexpected token type in inline table|unexpected"
            r" token[^\n]{0,40}\{\{",
            literals=("keys cannot contain", "unexpected token"),
            component="nvidia-container-toolkit (operator)",
            source="NVIDIA/nvidia-container-toolkit:pkg/config/engine/containerd",
            cause="The toolkit read a k3s or RKE2 template, which is no TOML; expected a path of a drop-in.",
            sample="Error: unable to load config: (9, 21): unexpected token type in inline table: keys cannot contain {"
            " character",
        ),
        Signature(
            pattern=r"template: compiled_template:\d{1,5}(?::\d{1,5})?: [^\n]{1,200}"
            r"|config(?:-v3)?\.toml\.tmpl[^\n]{0,80}"
            r"(?:error|fail|unexpected|invalid|cannot|can't)|(?:error|fail|invalid|cannot"
            r"|can't)[^\n]{0,120}config(?:-v3)?"
            r"\.toml\.tmpl",
            literals=("compiled_template", ".toml.tmpl"),
            component="k3s, RKE2",
            source="k3s-io/k3s:pkg/agent/templates, pkg/agent/containerd/config.go",
            cause="k3s cannot render its containerd template; expected one written for this version.",
            sample='level=fatal msg="template: compiled_template:97:18: executing "compiled_template" at'
            " <.ExtraRuntimes>: can't"
            ' evaluate field ExtraRuntimes in type templates.ContainerdConfig"',
        ),
        Signature(
            pattern=r"failed to (?:load|unmarshal) TOML|table [^\n]{1,80} already exists|invalid plugin config:"
            r"|/var/lib/rancher/\w{2,8}/agent/etc/containerd/config\.toml:? \(\d",
            literals=(
                "failed to load TOML",
                "failed to unmarshal TOML",
                "already exists",
                "invalid plugin config",
                "/rancher/",
            ),
            component="containerd of k3s or RKE2",
            source="containerd/containerd:cmd/containerd/server/config/config.go",
            near=("k3s",),
            not_with=r"(?:file|namespace|resource|cluster|route|link) [^\n]{0,60}already exists|level=(?:info|warning)",
            cause="containerd cannot read what the k3s or RKE2 template renders; expected no table twice.",
            sample="containerd: failed to load TOML from /var/lib/rancher/k3s/agent/etc/containerd/config.toml:"
            " failed to unmarshal"
            " TOML: toml: table runc already exists",
        ),
    ),
    mistaken_for=("containerd-config-invalid", "plugin-config-parse-error"),
)

NOT_RUNNING = shared(
    "container-runtime-not-running",
    (
        Signature(
            pattern=r"dial unix (?P<socket>/\S{0,120}"
            + _SOCKETS
            + r"\S{0,20}\.sock): (?:connect: )?(?P<why>no such file or"
            r" directory|connection refused|connect: no such file)",
            literals=("dial unix",),
            component="kubelet, crictl, kubeadm",
            source="grpc/grpc-go (dial)",
            ended_by=("runtime-answered",),
            not_with=r"dockershim\.sock",
            cause="{socket} does not answer ({why}): the container runtime does not run; expected it active.",
            sample="failed to create kubelet: rpc error: code = Unavailable desc = connection error: desc ="
            ' "transport: Error while'
            ' dialing dial unix /var/run/crio/crio.sock: connect: no such file or directory"',
        ),
        Signature(
            pattern=r"Cannot connect to the Docker daemon|failed to (?:dial|connect to) [\"']?(?P<socket>/\S{0,80}"
            + _SOCKETS
            + r"\S{0,20}\.sock)|[\"'](?P<endpoint>/\S{0,80}"
            + _SOCKETS
            + r"\S{0,20}\.sock)[\"']: (?:timeout|no such file|context)"
            r"|connect to (?:the )?(?:CRI|container runtime)[^\n]{0,60}fail|container runtime is down",
            literals=(
                "Cannot connect to the Docker",
                "failed to dial",
                "containerd.sock",
                "crio.sock",
                "connect to ",
                "container runtime is down",
            ),
            component="docker, ctr, kubelet",
            source="moby/moby:client/errors.go, kubernetes/kubernetes:pkg/kubelet/runtime.go",
            ended_by=("runtime-answered",),
            not_with=r"ermission denied|dockershim\.sock",
            cause="The container runtime does not answer at {socket}{endpoint}; expected it active.",
            sample="Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        ),
        Signature(
            pattern=r"\[ERROR CRI\]: container runtime is not running|(?:crio|containerd|docker)\.service: (?:Failed"
            r" with result"
            r"|Main process exited, code=exited, status=[1-9])|Failed to start (?:Container Runtime Interface for OCI"
            r"|containerd container runtime|Docker Application Container Engine)|Waiting for containerd startup",
            literals=(
                "container runtime is not running",
                ".service: ",
                "Failed to start ",
                "Waiting for containerd startup",
            ),
            component="kubeadm, systemd, k3s",
            source="kubernetes/kubernetes:cmd/kubeadm/app/preflight/checks.go",
            ended_by=("runtime-answered",),
            cause="The container runtime does not run; expected it active.",
            sample="[ERROR CRI]: container runtime is not running: output: E1120 validate service connection",
            weak=True,
        ),
        Signature(
            pattern=r"connect endpoint [^\n]{3,120}(?:deadline exceeded|refused|no such file)|[Cc]ontainer runtime"
            r" (?:is )?not (?:running|responding|available)",
            literals=("connect endpoint", "ontainer runtime "),
            component="crictl, minikube",
            source="kubernetes-sigs/cri-tools:cmd/crictl/util.go",
            cause="The container runtime does not answer; expected it active.",
            sample="connect: connect endpoint 'unix:///var/run/crio/crio.sock', make sure you are running as root and"
            " the endpoint has been started: context deadline exceeded",
            ended_by=("runtime-answered",),
            weak=True,
        ),
    ),
    consequence_of=(
        "crio-binary-missing",
        "containerd-config-invalid",
        "k3s-config-template-broken",
        "conmon-not-found",
        "low-level-runtime-not-found",
        "containerd-cri-disabled",
        "cgroup-driver-mismatch",
    ),
)

HANDLER = shared(
    "runtime-handler-missing",
    (
        Signature(
            pattern=r"no runtime for [\"'](?P<handler>[^\"'\n]{1,80})[\"'] is configured|failed to find runtime handler"
            r" (?P<crio>\S{1,80}) from runtime list|RuntimeHandler [\"'](?P<shim>[^\"'\n]{1,80})[\"'] not supported"
            r"|unknown or"
            r" invalid runtime name: (?P<docker>[\w.-]{1,40})|[Uu]nknown runtime (?:specified|handler)"
            r" [\"']?(?P<old>[\w.-]{1,60})"
            r"|default OCI runtime [\"'](?P<podman>nvidia[^\"'\n]{0,40})[\"'] not found|runtime handler"
            r" [\"']?(?P<other>[\w-]{1,60})"
            r"[\"']? (?:not found|is not (?:supported|configured))|RuntimeHandler[^\n]{0,40}not found in the (?:CRI"
            r"|runtime)",
            literals=(
                "no runtime for",
                "runtime handler",
                "RuntimeHandler",
                "invalid runtime name",
                "nknown runtime",
                "default OCI runtime",
            ),
            component="containerd, CRI-O, dockerd, dockershim, podman",
            source="containerd/containerd:internal/cri/config/config.go, cri-o/cri-o:pkg/config/config.go,"
            " moby/moby:daemon/runtime_unix.go",
            cause="The runtime does not know the handler {handler}{crio}{shim}{docker}{old}{podman}{other}; expected"
            " it in its"
            " configuration, and the runtime restarted since.",
            sample="Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: no"
            " runtime for"
            ' "nvidia" is configured',
        ),
    ),
    consequence_of=(
        "nvidia-runtime-binary-missing",
        "toolkit-not-installed",
        "containerd-config-invalid",
        "k3s-config-template-broken",
    ),
    mistaken_for=("runtimeclass-not-found",),
)

CNI_MISSING = shared(
    "cni-not-initialized",
    (
        Signature(
            pattern=r"[Cc][Nn][Ii] plugin not initialized|cni config uninitialized|[Nn]o CNI configuration file in"
            r"|no (?:networks|network config|valid networks) found in /\S{1,60}|NetworkPluginNotReady message:"
            r"|runtime network not ready: NetworkReady=false|Unable to update cni config|network plugin is not ready",
            literals=(
                "plugin not initialized",
                "cni config uninitialized",
                "CNI configuration file",
                "found in /",
                "NetworkPluginNotReady",
                "NetworkReady=false",
                "update cni config",
                "network plugin is not ready",
            ),
            component="kubelet, containerd, CRI-O",
            source="containerd/go-cni:errors.go, cri-o/ocicni:pkg/ocicni/ocicni.go",
            cause="The node has no CNI configuration, so it is not Ready; expected the pod network's file in"
            " /etc/cni/net.d.",
            sample='"Container runtime network not ready" networkReady="NetworkReady=false reason:NetworkPluginNotReady'
            ' message:Network plugin returns error: cni plugin not initialized"',
        ),
    ),
    consequence_of=("k3s-config-template-broken", "container-runtime-not-running", "containerd-cri-disabled"),
)

CNI_FAILED = Failure(
    id="cni-sandbox-setup-failed",
    layer="runtime",
    severity="fatal",
    meaning="The CNI plugin fails while it sets up a pod's network.",
    remedy=Remedy(
        "Look at the pod network's own pods on this node, and restart the one that fails; leftovers of another network"
        " (/etc/cni/net.d, the link cni0, /var/lib/cni) go when the node is drained.",
        (
            "ls -l /etc/cni/net.d /opt/cni/bin",
            "kubectl get pods -A -o wide --field-selector spec.nodeName=<node>",
            "ip link show cni0",
        ),
    ),
    signatures=(
        Signature(
            pattern=r"plugin type=[\"'](?P<plugin>[\w.-]{1,40})[\"'](?: name=[\"'][^\"'\n]{1,80}[\"'])? failed"
            r" \((?:add|delete)\)"
            r"|failed to set ?up network for sandbox|[Nn]etworkPlugin cni failed to set up pod|failed to set up"
            r" sandbox container"
            r"|Final result of CNI (?:ADD|DEL) was an error|error adding (?:pod|container|network)[^\n]{0,120} to"
            r" (?:CNI )?network"
            r"|failed to set bridge addr|/run/flannel/subnet\.env: no such file|[Ff]ailed to find plugin"
            r" [\"'][\w.-]{1,40}[\"'] in"
            r" path|/var/lib/calico/nodename: no such file|[Ee]rror (?:adding|setting up) (?:the )?(?:pod )?network"
            r"|cilium-cni[^\n]{0,80}(?:fail|unable|error)|unable to connect to Cilium (?:agent|daemon)",
            literals=(
                "plugin type=",
                "network for sandbox",
                "cni failed to set up pod",
                "failed to set up sandbox",
                "Final result of CNI",
                "rror adding",
                "rror setting up",
                "set bridge addr",
                "subnet.env",
                "ailed to find plugin",
                "calico/nodename",
                "cilium-cni",
                "connect to Cilium",
            ),
            component="kubelet, containerd, CRI-O, CNI plugins",
            source="containerd/containerd:internal/cri/server/sandbox_run.go,"
            " kubernetes/kubernetes:pkg/kubelet/dockershim",
            cause="The CNI plugin {plugin} fails to set up a pod's network.",
            sample="Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox"
            ' "a7dea8bd5cf5e16f": plugin type="calico" failed (add): error getting ClusterInformation: connection is'
            " unauthorized:"
            " Unauthorized",
        ),
    ),
    consequence_of=("cni-not-initialized",),
    mistaken_for=("cni-not-initialized",),
)

PAUSE = Failure(
    id="pause-image-mismatch",
    layer="runtime",
    severity="degraded",
    meaning="The runtime's sandbox (pause) image differs from kubeadm's, or cannot be pulled.",
    remedy=Remedy(
        "Name one pause image in the runtime (`sandbox_image` of containerd, `pause_image` of CRI-O), the one that"
        " kubeadm"
        " lists and that your registry has, and restart the runtime.",
        ("kubeadm config images list | grep pause", "crictl info | grep -i -E 'sandboxImage|pause'"),
    ),
    signatures=(
        Signature(
            pattern=r"sandbox image [\"'](?P<found>[^\"'\n]{3,160})[\"'] of the container runtime is inconsistent"
            r" with that used by"
            r" kubeadm(?:[^\n]{0,60}using [\"'](?P<expected>[^\"'\n]{3,160})[\"'])?",
            literals=("of the container runtime is inconsistent",),
            component="kubeadm",
            source="kubernetes/kubernetes:cmd/kubeadm/app/preflight/checks.go",
            versions=">=1.24",
            cause="The runtime's sandbox image is {found}; kubeadm expects {expected}.",
            sample='detected that the sandbox image "registry.k8s.io/pause:3.7" of the container runtime is'
            " inconsistent with that"
            ' used by kubeadm. It is recommended that using "registry.k8s.io/pause:3.9" as the CRI sandbox image.',
        ),
        Signature(
            pattern=r"failed to (?:get|pull|ensure) (?:sandbox|pause) image|(?:Failed|failed|unable|error)[^\n]{0,40}"
            r" pull(?:ing)?"
            r" (?:the )?(?:sandbox |pause )?image [\"']?(?P<image>\S{0,120}pause(?:-(?:amd64|arm64|arm|ppc64le"
            r"|s390x))?[:@][^\s\"']{1,80})|creating pod"
            r" sandbox with name"
            r"[^\n]{1,160}(?:pause|initializing source)|unable to pull sandbox image",
            literals=("sandbox image", "pause image", "pause:", "pause@", "/pause-", "creating pod sandbox with name"),
            component="containerd, CRI-O, kubelet, kubeadm",
            source="containerd/containerd:internal/cri/server/podsandbox/sandbox_run.go",
            cause="The sandbox image {image} cannot be pulled.",
            sample='failed to get sandbox image "k8s.gcr.io/pause:3.6": failed to pull image "k8s.gcr.io/pause:3.6":'
            " failed to pull"
            " and unpack image",
        ),
    ),
    mistaken_for=("image-pull-local-image",),
)

FAILURES = (
    BINARY_MISSING,
    CONFIG_INVALID,
    K3S_TEMPLATE,
    CONMON,
    LOW_LEVEL,
    CRI_DISABLED,
    HANDLER,
    NOT_RUNNING,
    CNI_MISSING,
    PAUSE,
    CNI_FAILED,
)
