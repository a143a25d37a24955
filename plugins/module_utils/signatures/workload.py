# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods that use GPUs print, and what is printed of them."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature
from .driver import _XID, _XIDS

NO_CLASS = Failure(
    id="runtimeclass-not-found",
    layer="workload",
    severity="fatal",
    meaning="The RuntimeClass object that a pod names does not exist.",
    remedy=Remedy(
        "Make the RuntimeClass, with the handler's name as it stands in the runtime.",
        (
            "kubectl get runtimeclass",
            "printf 'apiVersion: node.k8s.io/v1\\nkind: RuntimeClass\\nmetadata: {name: nvidia}\\nhandler:"
            " nvidia\\n' | kubectl apply -f -",
        ),
    ),
    signatures=(
        Signature(
            pattern=r"RuntimeClass [\"'](?P<name>[^\"'\n]{1,80})[\"'] not found"
            r"|[Rr]untime[Cc]lass(?:es)?\.node\.k8s\.io"
            r" [\"'](?P<object>[^\"'\n]{1,80})[\"'] (?:not found|is forbidden)|RuntimeClass(?:Name)?"
            r" [\"']?(?P<other>[\w-]{1,60})[\"']? (?:does"
            r" not exist|doesn't exist|is not found)",
            literals=("RuntimeClass", "untimeclass"),
            component="kube-apiserver, kubelet, kubectl",
            source="kubernetes/kubernetes:plugin/pkg/admission/runtimeclass/admission.go",
            versions=">=1.14",
            cause="There is no RuntimeClass {name}{object}{other}; expected one for the handler.",
            sample='pods "prune-test1-ix-chart-6c6f674cbb-" is forbidden: pod rejected: RuntimeClass "nvidia" not'
            " found",
        ),
    ),
    mistaken_for=("runtime-handler-missing",),
)

APPLICATION = Failure(
    id="xid-application-fault",
    layer="workload",
    severity="degraded",
    meaning="A program's own fault on the GPU (Xid 13, 31, 43, 45, 109 and their like): the GPU itself is well.",
    remedy=Remedy(
        "Restart the program and look for the fault in it (compute-sanitizer, CUDA_LAUNCH_BLOCKING=1). The same Xid"
        " from different programs on"
        " one GPU alone speaks for the board.",
        ("compute-sanitizer <program>", "dmesg | grep Xid"),
    ),
    signatures=(
        Signature(
            pattern=_XID + r"8|13|31|32|39|40|41|43|45|68|69|109)\b",
            literals=("Xid",),
            component="kernel",
            source=_XIDS,
            cause="A program faulted on GPU {gpu} (Xid {xid}).",
            sample="NVRM: Xid (PCI:0000:0a:00): 31, pid=13332, name=cuda_plot_k32_v, Ch 00000010, intr 00000000. MMU"
            " Fault: ENGINE CE2"
            " HUBCLIENT_CE0 faulted @ 0x7f29_5b8c9000.",
        ),
        Signature(
            pattern=r"an illegal memory access was encountered|CUDA_ERROR_ILLEGAL_ADDRESS|cudaErrorIllegalAddress"
            r"|device-side assert triggered"
            r"|CUDA_ERROR_LAUNCH_FAILED|unspecified launch failure|an illegal instruction was encountered",
            literals=(
                "illegal memory access",
                "ILLEGAL_ADDRESS",
                "IllegalAddress",
                "device-side assert",
                "LAUNCH_FAILED",
                "unspecified launch failure",
                "illegal instruction was",
            ),
            component="CUDA",
            source="docs.nvidia.com/cuda/cuda-runtime-api (errors 700, 710, 715, 719)",
            cause="A program faulted on the GPU.",
            sample="RuntimeError: CUDA error: an illegal memory access was encountered",
            weak=True,
        ),
    ),
    consequence_of=(
        "gpu-lost-off-bus",
        "xid-ecc-uncorrectable",
        "xid-nvlink-error",
        "xid-gsp-timeout",
    ),
)

WITHOUT_CLASS = Failure(
    id="workload-without-runtimeclass",
    layer="workload",
    severity="fatal",
    meaning="A container runs without GPU injection, so nvidia-smi and libcuda are missing in it.",
    remedy=Remedy(
        "Give the pod `runtimeClassName: nvidia` and a limit on nvidia.com/gpu (with Docker: `--gpus all`), or make"
        " nvidia the default"
        " runtime.",
        (
            "kubectl get pod <pod> -o jsonpath='{.spec.runtimeClassName}'",
            "kubectl get runtimeclass",
        ),
    ),
    signatures=(
        Signature(
            pattern=r"exec: [\"']?(?:/\S{0,80}/)?nvidia-smi[\"']?: (?:executable file not found|stat |no such file)"
            r"|stat /\S{0,80}nvidia-smi: no"
            r" such file|nvidia-smi[\"']?: (?:command )?not found|(?:command"
            r"|executable)[^\n]{0,12}[\"'`]?nvidia-smi[\"'`]?[^\n]{0,12}not found"
            r"|No such file or directory: [\"']nvidia-smi[\"']",
            literals=("nvidia-smi",),
            component="runc, containerd, shell",
            source="golang/go:src/os/exec/lp_unix.go",
            cause="nvidia-smi is not in the container: the NVIDIA runtime did not inject the driver's files.",
            sample="OCI runtime create failed: runc create failed: unable to start container process: exec:"
            ' "nvidia-smi": executable file not'
            " found in $PATH: unknown.",
        ),
        Signature(
            pattern=r"libcuda\.so(?:\.1)?[\"']?: cannot open shared|Could not load dynamic library [\"']libcuda\.so"
            r"|[Cc]ould not (?:find|load)"
            r" (?:library )?[\"']?libcuda\.so|NVIDIA Driver was not detected|Found no NVIDIA driver on your system"
            r"|failed call to cuInit: UNKNOWN"
            r" ERROR \(303\)|unable to (?:find|load) libcuda|libcuda\.so(?:\.1)? not found|[Cc]ould not find cuda"
            r" drivers on your machine",
            literals=(
                "libcuda.so",
                "NVIDIA Driver was not detected",
                "no NVIDIA driver on your",
                "failed call to cuInit",
                "libcuda",
                "find cuda drivers",
            ),
            component="ld.so, TensorFlow, PyTorch, NVIDIA's images",
            source="tensorflow/tensorflow:third_party/xla/xla/stream_executor/cuda/cuda_diagnostics.cc,"
            " pytorch/pytorch:torch/csrc/cuda/Module.cpp",
            not_with=r"Ignoring 32-bit|level=",
            cause="libcuda.so.1 is not in the container: the NVIDIA runtime did not inject the driver's files.",
            sample="OSError: libcuda.so.1: cannot open shared object file: No such file or directory",
        ),
        Signature(
            pattern=r"no CUDA-capable device is detected|CUDA_ERROR_NO_DEVICE|cudaErrorNoDevice",
            literals=("no CUDA-capable device", "CUDA_ERROR_NO_DEVICE", "cudaErrorNoDevice"),
            component="CUDA",
            source="docs.nvidia.com/cuda/cuda-runtime-api (cudaErrorNoDevice, 100)",
            cause="CUDA sees no device in the container: none was injected.",
            sample="CUDA error: no CUDA-capable device is detected",
            weak=True,
        ),
        Signature(
            pattern=r"No CUDA GPUs are available|Torch is not able to use GPU|CUDA is not available",
            literals=("No CUDA GPUs are available", "not able to use GPU", "CUDA is not available"),
            component="PyTorch",
            source="pytorch/pytorch:torch/csrc/cuda/Module.cpp",
            cause="CUDA sees no device in the container: none was injected.",
            sample="RuntimeError: No CUDA GPUs are available",
            weak=True,
        ),
    ),
)

LOCAL_IMAGE = Failure(
    id="image-pull-local-image",
    layer="workload",
    severity="degraded",
    meaning="An image that was built locally is pulled from a registry, where it does not exist.",
    remedy=Remedy(
        "Bring the image to the node's own runtime under exactly the name that the pod uses (`minikube image load`,"
        " `ctr -n k8s.io images"
        " import`, `k3s ctr images import`) and set imagePullPolicy to IfNotPresent or Never; or push it to a"
        " registry and use its full name.",
        ("crictl images | grep <image>", "minikube image load <image>"),
    ),
    signatures=(
        Signature(
            pattern=r"pull access denied(?: for (?P<image>[^\s,\"']{1,120}))?|repository does not exist or may"
            r" require|insufficient_scope:"
            r" authorization failed|requested access to the resource is denied|ErrImageNeverPull|is not present with"
            r" pull policy of Never"
            r"|docker\.io/(?:library|localhost)/(?P<library>[\w./:-]{1,100})[\"']?: (?:not found|failed to)"
            r"|pull[^\n]{0,80}localhost[:/][\w./:-]{1,100}"
            r"[^\n]{0,120}(?:refused|not found|denied)",
            literals=(
                "pull access denied",
                "repository does not exist",
                "insufficient_scope",
                "access to the resource is denied",
                "ErrImageNeverPull",
                "pull policy of Never",
                "docker.io/",
                "localhost/",
            ),
            component="kubelet, containerd, CRI-O, dockerd",
            source="moby/moby:distribution/errors.go, kubernetes/kubernetes:pkg/kubelet/images/image_manager.go",
            not_with=r"pause:|nvcr\.io|registry\.k8s\.io|k8s\.gcr\.io|quay\.io|ghcr\.io",
            cause="No registry has the image {image}{library}; expected it on the node, or under its registry's name.",
            sample='Failed to pull image "outlooktoslack:local": rpc error: code = Unknown desc = failed to resolve'
            " image"
            ' "docker.io/library/outlooktoslack:local": no available registry endpoint: pull access denied,'
            " repository does not exist or may"
            " require authorization",
        ),
        Signature(
            pattern=r"\bErrImagePull\b|\bImagePullBackOff\b",
            literals=("ErrImagePull", "ImagePullBackOff"),
            component="kubelet",
            source="kubernetes/kubernetes:pkg/kubelet/images/types.go",
            near=("local-image",),
            cause="An image with a local name is pulled from a registry; expected it on the node.",
            sample='Pulling image "app:local"\nError: ErrImagePull',
            weak=True,
        ),
        Signature(
            pattern=r"Back-off pulling image [\"'](?P<image>(?:localhost/)?[\w-]{1,60}(?:/[\w-]{1,60})?(?::[\w.-]"
            r"{1,60})?)[\"']",
            literals=("Back-off pulling image",),
            component="kubelet",
            source="kubernetes/kubernetes:pkg/kubelet/images/image_manager.go",
            cause="{image} is pulled from a registry again and again; expected it on the node.",
            sample='Back-off pulling image "web-feature-consumer:121b121c17ed07dc"',
            weak=True,
        ),
    ),
)

FAILURES = (NO_CLASS, WITHOUT_CLASS, APPLICATION, LOCAL_IMAGE)
