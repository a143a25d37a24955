# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The signed apt repositories of the lab: fixtures of what cannot be fetched everywhere.

Names, versions and paths are upstream's: below the host's name stands what upstream's host has, so that the whole is
also a mirror for ``gpunode_mirror``. Each package says in its description that it is a fixture. Debian's own conmon,
runc and crun lie in the cri-o package. The guests reach them at http://10.0.2.100/ (see ``serve.py``).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import textwrap
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from cache import CHECKOUT, LAB, LabError, artifact, cache_folder, digest, locked, run, say
from image import compiled, rootfs

URL = "http://10.0.2.100"
FIXTURES = LAB / "fixtures"
MODULE_UTILS = CHECKOUT / "plugins" / "module_utils"  # the fixture of CRI-O reads TOML and gRPC with them
MAINTAINER = "The gpunode.ready maintainers <fixtures@gpunode.invalid>"
LIBRARIES = "usr/lib/x86_64-linux-gnu"

CUDA = "developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64"
CRIO = "download.opensuse.org/repositories/isv:/cri-o:/stable:/v1.36/deb"
TOOLKIT = "nvidia.github.io/libnvidia-container/stable/deb/amd64"
KUBERNETES = "pkgs.k8s.io/core:/stable:/v1.36/deb"
# repository → where its public key lies, named as upstream names it
KEYS = {
    CUDA: f"{CUDA}/8793F200.pub",
    CRIO: f"{CRIO}/Release.key",
    KUBERNETES: f"{KUBERNETES}/Release.key",
    TOOLKIT: "nvidia.github.io/libnvidia-container/gpgkey",
}

DRIVERS = ("580.159.04", "580.178.04")
CRIOS = ("1.36.2", "1.36.3")
TOOLKITS = ("1.19.1", "1.20.0")
KUBERNETESES = ("1.36.2", "1.36.4")
# What the fixtures of Kubernetes take of the collection: the schema of kubeadm's file, and a client of the API.
KUBERNETES_CORE = (
    "kubeadm_config.py",
    "yaml_text.py",
    "machine_yaml.py",
    "unit_files.py",
    "host.py",
    "x509.py",
    "facts/__init__.py",
    "facts/kubernetes.py",
    "cluster/__init__.py",
    "cluster/client.py",
    "cluster/kubeconfig.py",
)


@dataclass
class Package:
    """A binary package: its control fields, its files (path → text, or a file to copy) and its maintainer scripts."""

    name: str
    version: str
    summary: str
    depends: str = ""
    more: dict[str, str] = field(default_factory=dict)
    files: dict[str, str | Path] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    conffiles: tuple[str, ...] = ()
    scripts: dict[str, str] = field(default_factory=dict)
    architecture: str = "amd64"

    def build(self, pool: Path, scratch: Path) -> None:
        """Write ``<name>_<version>_<architecture>.deb`` into ``pool``."""
        tree = scratch / f"{self.name}_{self.version}"
        (tree / "DEBIAN").mkdir(parents=True)
        for folder in self.folders:
            (tree / folder).mkdir(parents=True, exist_ok=True)
        for path, content in self.files.items():
            target = tree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_text(content)
            target.chmod(self.modes.get(path, 0o755 if "/bin/" in path or "/libexec/" in path else 0o644))
        for path, to in self.links.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).symlink_to(to)
        control = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": MAINTAINER,
            "Depends": self.depends,
            **self.more,
            "Description": f"{self.summary} (fixture)\n A fixture of gpunode.ready's lab: "
            "upstream's name and paths, not upstream's program.",
        }
        text = "".join(f"{key}: {value}\n" for key, value in control.items() if value)
        (tree / "DEBIAN/control").write_text(text)
        if self.conffiles:
            (tree / "DEBIAN/conffiles").write_text("".join(f"/{path}\n" for path in self.conffiles))
        for name, body in self.scripts.items():
            (tree / "DEBIAN" / name).write_text(f"#!/bin/sh\nset -e\n{textwrap.dedent(body).strip()}\n")
            (tree / "DEBIAN" / name).chmod(0o755)
        for path in [tree, *(each for each in tree.rglob("*") if each.is_dir() and not each.is_symlink())]:
            path.chmod(0o755)
        pool.mkdir(parents=True, exist_ok=True)
        run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, pool)


def fixture(path: str, version: str) -> str:
    """A fixture's text, with its package's version put in."""
    return (FIXTURES / path).read_text().replace("@VERSION@", version)


# -- the driver


def driver_packages(version: str, prebuilt: dict[str, Path], library: Path) -> list[Package]:
    """NVIDIA's driver of one version, compute only, for Debian, as the CUDA repository has it."""
    full = f"{version}-1"
    branch = version.split(".")[0]
    same = f"(= {full})"
    shared = {f"{LIBRARIES}/libcuda.so.{version}": library / "libcuda.so"}
    ml = f"{LIBRARIES}/libnvidia-ml.so.{version}"
    modes = {ml: 0o644}
    packages = [
        Package("nvidia-open", full, "NVIDIA driver metapackage, open kernel modules",
                f"nvidia-driver-cuda {same}, nvidia-kernel-open-dkms {same}"),
        Package("cuda-drivers", full, "NVIDIA driver metapackage, proprietary kernel modules",
                f"nvidia-driver-cuda {same}, nvidia-kernel-dkms {same}"),
        Package("nvidia-driver-cuda", full, "NVIDIA driver, compute only",
                f"libcuda1 {same}, libnvidia-ml1 {same}, nvidia-smi {same}, nvidia-persistenced {same}, "
                f"nvidia-modprobe {same}, nvidia-kernel-open-dkms {same} | nvidia-kernel-dkms {same}"),
        Package("nvidia-kernel-support", full, "NVIDIA kernel module support files", "kmod", files={
            "usr/lib/modprobe.d/nvidia-blacklists-nouveau.conf":
                "# shipped by nvidia-kernel-support\nblacklist nouveau\noptions nouveau modeset=0\n"}),
        Package("libcuda1", full, "NVIDIA CUDA driver library", "libc6", files=shared,
                links={f"{LIBRARIES}/libcuda.so.1": f"libcuda.so.{version}"}),
        Package("libnvidia-ml1", full, "NVIDIA management library", "libc6",
                files={ml: library / f"libnvidia-ml.so.{version}"}, modes=modes,
                links={f"{LIBRARIES}/libnvidia-ml.so.1": f"libnvidia-ml.so.{version}"}),
        Package("nvidia-smi", full, "NVIDIA system management interface", f"libnvidia-ml1 {same}, python3",
                files={"usr/bin/nvidia-smi": fixture("nvidia/nvidia-smi", version)}),
        Package("nvidia-modprobe", full, "Load the NVIDIA kernel module and make its device files", "kmod",
                files={"usr/bin/nvidia-modprobe": fixture("nvidia/nvidia-modprobe", version)},
                modes={"usr/bin/nvidia-modprobe": 0o4755}),
        Package("nvidia-persistenced", full, "NVIDIA persistence daemon", f"nvidia-modprobe {same}",
                files={"usr/bin/nvidia-persistenced": fixture("nvidia/nvidia-persistenced", version),
                       "lib/systemd/system/nvidia-persistenced.service":
                           fixture("nvidia/nvidia-persistenced.service", version)},
                scripts=unit_scripts("nvidia-persistenced.service", start=True)),
        Package("nvidia-fabricmanager", full, "Fabric Manager for NVSwitch systems", "libc6",
                files={"usr/bin/nv-fabricmanager": fixture("nvidia/nv-fabricmanager", version),
                       "usr/share/nvidia/nvswitch/fabricmanager.cfg": "LOG_LEVEL=4\nDAEMONIZE=0\n",
                       "lib/systemd/system/nvidia-fabricmanager.service":
                           fixture("nvidia/nvidia-fabricmanager.service", version)}),
        Package(f"nvidia-driver-pinning-{branch}", full, f"Keep to driver branch {branch}", architecture="all",
                files={f"etc/apt/preferences.d/nvidia-driver-pinning-{branch}": pinning(f"{branch}.*")}),
        Package(f"nvidia-driver-pinning-{version}", full, f"Keep to driver {version}", architecture="all",
                more={"Conflicts": "nvidia-driver-pinning", "Provides": "nvidia-driver-pinning"},
                files={f"etc/apt/preferences.d/nvidia-driver-pinning-{version}": pinning(f"{version}-*")}),
    ]  # fmt: skip
    for name, flavour in (("nvidia-kernel-open-dkms", "open"), ("nvidia-kernel-dkms", "proprietary")):
        packages.append(dkms_package(name, flavour, version, prebuilt[flavour]))
    return packages


def pinning(version: str) -> str:
    names = "src:*nvidia*:any src:cuda-drivers*:any *nvidia* libcuda1 cuda-drivers* *fabricmanager*"
    return f"Package: {names}\nPin: version {version}\nPin-Priority: 1000\n"


def dkms_package(name: str, flavour: str, version: str, prebuilt: Path) -> Package:
    """The kernel modules as a DKMS source. What DKMS runs as compiler takes the modules that were compiled with the
    image's own headers, if they fit the kernel and unless /etc/gpunode-lab/compile exists: emulated, gcc needs minutes.
    """
    source = f"usr/src/nvidia-{version}"
    modules = ("nvidia", "nvidia-uvm", "nvidia-modeset", "nvidia-drm")
    conf = [f'PACKAGE_NAME="nvidia"\nPACKAGE_VERSION="{version}"\nAUTOINSTALL="yes"\nCLEAN="true"',
            'MAKE[0]="sh ./make-or-take ${kernelver}"']  # fmt: skip
    for index, module in enumerate(modules):
        conf.append(f'BUILT_MODULE_NAME[{index}]="{module}"\nDEST_MODULE_LOCATION[{index}]="/updates/dkms"')
    take = """\
        #!/bin/sh
        set -e
        if [ -d "prebuilt/$1" ] && [ ! -e /etc/gpunode-lab/compile ]; then
            echo "taking the modules that were compiled with the lab's image"
            cp prebuilt/"$1"/*.ko .
        else
            make -C "/lib/modules/$1/build" M="$PWD" modules
        fi
        """
    files: dict[str, str | Path] = {
        f"{source}/dkms.conf": "\n".join(conf) + "\n",
        f"{source}/make-or-take": textwrap.dedent(take),
        f"{source}/version.mk": f"NV_VERSION ?= {version}\nNV_FLAVOUR ?= {flavour}\n",
    }
    for file in sorted((LAB / "sim/driver").iterdir()):
        if file.name != "version.mk":
            files[f"{source}/{file.name}"] = file
    release = json.loads((prebuilt / "release.json").read_text())
    for module in modules:
        files[f"{source}/prebuilt/{release}/{module}.ko"] = prebuilt / f"{module}.ko"
    other = "nvidia-kernel-dkms" if flavour == "open" else "nvidia-kernel-open-dkms"
    return Package(
        name, f"{version}-1", f"NVIDIA {flavour} kernel modules, DKMS source",
        f"dkms, nvidia-kernel-support (>= {version}-1)",
        more={"Conflicts": other, "Provides": f"nvidia-kernel-{version}"},
        files=files,
        scripts={
            "postinst": f"""
                if [ "$1" = configure ]; then
                    /usr/lib/dkms/common.postinst nvidia {version} /usr/share/{name} "" "$2"
                fi
                """,
            "prerm": f"dkms remove -m nvidia -v {version} --all --rpm_safe_upgrade >/dev/null || true",
        },
    )  # fmt: skip


def unit_scripts(unit: str, *, start: bool) -> dict[str, str]:
    """What debhelper writes for a unit: enabled, started, restarted on upgrade, stopped on removal."""
    now = "--now " if start else ""
    return {
        "postinst": f"""
            if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
                systemctl daemon-reload
                [ -n "$2" ] && systemctl try-restart {unit} || systemctl enable {now}--quiet {unit} || true
            fi
            """,
        "prerm": f"""
            if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
                systemctl disable --now --quiet {unit} || true
            fi
            """,
    }


# -- the container toolkit


def toolkit_packages(version: str) -> list[Package]:
    full = f"{version}-1"
    hook = fixture("toolkit/nvidia-cdi-hook", version)
    units = "lib/systemd/system" if version >= "1.20" else "etc/systemd/system"
    refresh = fixture("toolkit/nvidia-cdi-refresh.service", version)
    if version >= "1.20":
        refresh = refresh.replace("ExecStart=", "ExecStartPre=/usr/bin/nvidia-smi -L\nExecStart=")
        refresh = refresh.replace("[Install]", "Restart=on-failure\nRestartSec=1\n\n[Install]").replace(
            "\n\nRestart", "\nRestart"
        )
        refresh = refresh.replace("\n[Service]", "StartLimitIntervalSec=10\nStartLimitBurst=5\n\n[Service]")
    base = Package(
        "nvidia-container-toolkit-base", full, "NVIDIA container toolkit, base", "python3",
        files={
            "usr/bin/nvidia-ctk": fixture("toolkit/nvidia-ctk", version),
            "usr/bin/nvidia-container-runtime": fixture("toolkit/nvidia-container-runtime", version),
            "usr/bin/nvidia-cdi-hook": hook,
            f"{units}/nvidia-cdi-refresh.path": fixture("toolkit/nvidia-cdi-refresh.path", version),
            f"{units}/nvidia-cdi-refresh.service": refresh,
            "etc/nvidia-container-toolkit/nvidia-cdi-refresh.env": "# NVIDIA_CTK_DEBUG=1\n",
        },
        conffiles=("etc/nvidia-container-toolkit/nvidia-cdi-refresh.env",),
        scripts={
            "postinst": """
                if [ "$1" = configure ]; then
                    mkdir -p /etc/nvidia-container-runtime
                    /usr/bin/nvidia-ctk --quiet config --in-place
                    if [ -d /run/systemd/system ]; then
                        systemctl daemon-reload
                        systemctl enable --now --quiet nvidia-cdi-refresh.path || true
                        systemctl enable --quiet nvidia-cdi-refresh.service || true
                        systemctl start nvidia-cdi-refresh.service || true
                    fi
                fi
                """,
            "prerm": """
                if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
                    systemctl disable --now --quiet nvidia-cdi-refresh.path nvidia-cdi-refresh.service || true
                fi
                """,
        },
    )  # fmt: skip
    return [
        base,
        Package("nvidia-container-toolkit", full, "NVIDIA container toolkit",
                f"nvidia-container-toolkit-base (= {full}), libnvidia-container-tools (= {full})",
                files={"usr/bin/nvidia-container-runtime-hook": hook},
                links={"usr/bin/nvidia-container-toolkit": "nvidia-container-runtime-hook"}),
        Package("libnvidia-container-tools", full, "NVIDIA container runtime library, tools",
                f"libnvidia-container1 (= {full})", files={"usr/bin/nvidia-container-cli": hook}),
        Package("libnvidia-container1", full, "NVIDIA container runtime library", "libc6",
                files={"usr/share/doc/libnvidia-container1/README.fixture": "A fixture of gpunode.ready's lab.\n"}),
        Package("nvidia-container-toolkit-operator-extensions", full, "NVIDIA container toolkit, extensions",
                f"nvidia-container-toolkit-base (= {full})",
                files={f"usr/bin/nvidia-container-runtime.{mode}": fixture("toolkit/nvidia-container-runtime", version)
                       for mode in ("cdi", "legacy")}),
    ]  # fmt: skip


# -- CRI-O


def crio_package(version: str, debian: Path) -> Package:
    """CRI-O with Debian's own conmon, runc and crun where upstream's package has its."""
    executable = FIXTURES / "crio"
    if not executable.is_file():
        raise LabError(f"{executable}: the fixture of CRI-O's executable is missing")
    needed = ["iptables", "python3"]
    files: dict[str, str | Path] = {
        "usr/bin/crio": executable.read_text().replace("@VERSION@", version),
        "usr/lib/crio-fixture/toml.py": (MODULE_UTILS / "toml.py").read_text(),
        "usr/lib/crio-fixture/grpc_wire.py": (MODULE_UTILS / "grpc_wire.py").read_text(),
        "usr/bin/pinns": "#!/bin/sh\n# fixture of gpunode.ready\nexit 0\n",
        "etc/crio/crio.conf.d/10-crio.conf": fixture("cri-o/10-crio.conf", version),
        "etc/crio/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
        "etc/containers/registries.conf.d/crio.conf": 'unqualified-search-registries = ["docker.io"]\n',
        "etc/crictl.yaml": 'runtime-endpoint: "unix:///var/run/crio/crio.sock"\ntimeout: 0\ndebug: false\n',
        "etc/default/crio": "# /etc/default/crio: options of crio.service\n",
        "etc/cni/net.d/10-crio-bridge.conflist.disabled": fixture("cri-o/10-crio-bridge.conflist.disabled", version),
        "lib/systemd/system/crio.service": fixture("cri-o/crio.service", version),
    }
    for name in ("conmon", "runc", "crun"):
        found = sorted(debian.glob(f"{name}_*.deb"))
        if not found:
            raise LabError(f"{name}: Debian's package is not in the image's apt archive")
        tree = debian / name
        if not tree.is_dir():
            run("dpkg-deb", "-x", found[-1], tree)
        binary = next(
            path for path in tree.rglob(name) if path.is_file() and os.access(path, os.X_OK) and "bin" in str(path)
        )
        files[f"usr/libexec/crio/{name}"] = binary
        needed.append(run("dpkg-deb", "-f", found[-1], "Depends").strip())
    return Package(
        "cri-o", f"{version}-1.1", "Open Container Initiative-based implementation of the Kubernetes CRI",
        ", ".join(dict.fromkeys(", ".join(needed).split(", "))),
        more={"Recommends": "kubernetes-cni"}, files=files, folders=("var/lib/crio",),
        conffiles=("etc/containers/registries.conf.d/crio.conf", "etc/crictl.yaml", "etc/default/crio"),
        scripts={"postinst": "[ ! -d /run/systemd/system ] || systemctl daemon-reload"},
    )  # fmt: skip


# -- Kubernetes


def kubernetes_packages(version: str) -> list[Package]:
    """kubelet, kubeadm and kubectl, and what comes from the same repository beside them."""
    full, library = f"{version}-1.1", "usr/lib/kubernetes-fixture"
    needs = f"kubernetes-fixture (= {full})"
    core: dict[str, str | Path] = {f"{library}/module_utils/{path}": MODULE_UTILS / path for path in KUBERNETES_CORE}
    unit = "usr/lib/systemd/system/kubelet.service"
    return [
        Package("kubernetes-fixture", full, "What the fixtures of Kubernetes share", "openssl, python3",
                files={**core, f"{library}/kubernetes_fixture.py": fixture("kubernetes/kubernetes_fixture.py", version),
                       f"{library}/kube-apiserver": fixture("kubernetes/kube-apiserver", version)}),
        Package("kubelet", full, "Node agent of Kubernetes", f"{needs}, kubernetes-cni (>= 1.2.0), iptables, mount",
                files={"usr/bin/kubelet": fixture("kubernetes/kubelet", version),
                       unit: fixture("kubernetes/kubelet.service", version),
                       "etc/default/kubelet": "KUBELET_EXTRA_ARGS=\n"},
                folders=("etc/kubernetes/manifests", "var/lib/kubelet"), conffiles=("etc/default/kubelet",),
                scripts=unit_scripts("kubelet.service", start=False)),
        Package("kubeadm", full, "Command-line tool for bootstrapping a Kubernetes cluster", needs,
                files={"usr/bin/kubeadm": fixture("kubernetes/kubeadm", version),
                       f"{unit}.d/10-kubeadm.conf": fixture("kubernetes/10-kubeadm.conf", version)}),
        Package("kubectl", full, "Command-line tool for a Kubernetes cluster", needs,
                files={"usr/bin/kubectl": fixture("kubernetes/kubectl", version)}),
    ]  # fmt: skip


def kubernetes_companions() -> list[Package]:
    """cri-tools and kubernetes-cni, which have versions of their own."""
    return [
        Package("cri-tools", "1.36.0-1.1", "Command-line tool of the container runtime interface", "kubernetes-fixture",
                files={"usr/bin/crictl": fixture("kubernetes/crictl", "1.36.0")}),
        Package("kubernetes-cni", "1.9.1-1.1", "Plugins of the container network interface",
                files={"opt/cni/bin/README.fixture": "A fixture of gpunode.ready's lab: no plugin is here.\n"}),
    ]  # fmt: skip


# -- signing


def gnupg() -> dict[str, str]:
    """The environment of the lab's own key ring, which signs fixtures and nothing else."""
    home = cache_folder() / "gnupg"
    home.mkdir(mode=0o700, exist_ok=True)
    environment = {**os.environ, "GNUPGHOME": str(home)}
    with locked("gnupg"):
        if not (home / "fingerprint").is_file():
            run("gpg", "--batch", "--passphrase", "", "--quick-generate-key",
                "gpunode.ready lab (no vendor's key)", "rsa3072", "sign", "never", env=environment)  # fmt: skip
            listed = run("gpg", "--batch", "--with-colons", "--list-keys", env=environment)
            mark = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
            (home / "public.asc").write_text(run("gpg", "--batch", "--armor", "--export", mark, env=environment))
            (home / "fingerprint").write_text(mark + "\n")
    return environment


def fingerprint() -> str:
    gnupg()
    return (cache_folder() / "gnupg/fingerprint").read_text().strip()


def index(folder: Path, label: str) -> None:
    """Packages, Release, InRelease and Release.gpg of a flat repository."""
    stanzas = []
    for deb in sorted(folder.glob("*.deb")):
        data = deb.read_bytes()
        stanzas.append(
            run("dpkg-deb", "-f", deb).strip()
            + f"\nFilename: ./{deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
    packages = "\n".join(stanzas).encode()
    (folder / "Packages").write_bytes(packages)
    (folder / "Packages.gz").write_bytes(gzip.compress(packages, mtime=0))
    lines = [f"Origin: {label}", f"Label: {label}", "Architectures: all amd64", f"Date: {formatdate(usegmt=True)}",
             "Description: fixtures of gpunode.ready", "SHA256:"]  # fmt: skip
    for name in ("Packages", "Packages.gz"):
        data = (folder / name).read_bytes()
        lines.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}")
    release = folder / "Release"
    release.write_text("\n".join(lines) + "\n")
    sign(folder)


def sign(folder: Path) -> None:
    environment = gnupg()
    release = folder / "Release"
    for option, target in (("--clearsign", "InRelease"), ("--detach-sign", "Release.gpg")):
        run("gpg", "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", "", "--digest-algo", "SHA512",
            "--armor", option, "-o", folder / target, release, env=environment)  # fmt: skip


# -- all of it


def compiled_driver() -> tuple[dict[str, dict[str, Path]], dict[str, Path]]:
    """Kernel modules by version and flavour, and the libraries by version, compiled in the build root."""
    modules: dict[str, dict[str, Path]] = {}
    libraries = {}
    for version in DRIVERS:
        modules[version] = {}
        for flavour in ("open", "proprietary"):
            modules[version][flavour] = compiled(
                f"sim-driver-{flavour}-{version}", LAB / "sim/driver",
                f'make -s -C "$KERNEL" M="$PWD" NV_VERSION={version} NV_FLAVOUR={flavour} modules; '
                "strip --strip-debug *.ko; basename $(dirname $KERNEL) | sed 's/.*/\"&\"/' > release.json",
            )  # fmt: skip
        libraries[version] = compiled(
            f"sim-nvml-{version}", LAB / "sim/nvml",
            f"make -s VERSION={version} OUT=.; : > empty.c; "
            f"gcc -shared -fPIC -Wl,-soname,libcuda.so.1 -o libcuda.so empty.c",
        )  # fmt: skip
    return modules, libraries


def repository() -> Path:
    """The folder that serves as http://10.0.2.100/."""
    modules, libraries = compiled_driver()
    tar = rootfs()
    parts = [str(path) for versions in modules.values() for path in versions.values()] + [
        str(p) for p in libraries.values()
    ]
    key = digest(
        tar.parent.name,
        FIXTURES,
        MODULE_UTILS / "toml.py",
        MODULE_UTILS / "grpc_wire.py",
        *[MODULE_UTILS / path for path in KUBERNETES_CORE],
        Path(__file__),
        LAB / "sim/driver",
        *parts,
        fingerprint(),
    )

    def build(folder: Path) -> None:
        say("building the fixture packages (about 10 s) ...")
        scratch, debian = folder / "scratch", folder / "debian"
        debian.mkdir()
        run("tar", "-xf", tar, "-C", debian, "--strip-components=5", "--wildcards",
            *[f"./var/cache/apt/archives/{name}_*.deb" for name in ("conmon", "runc", "crun")])  # fmt: skip
        for version in DRIVERS:
            for package in driver_packages(version, modules[version], libraries[version]):
                package.build(folder / CUDA, scratch)
        for version in TOOLKITS:
            for package in toolkit_packages(version):
                package.build(folder / TOOLKIT, scratch)
        if (FIXTURES / "crio").is_file():
            for version in CRIOS:
                crio_package(version, debian).build(folder / CRIO, scratch)
        for package in [*(one for version in KUBERNETESES for one in kubernetes_packages(version)),
                        *kubernetes_companions()]:  # fmt: skip
            package.build(folder / KUBERNETES, scratch)
        labels = {
            CUDA: "NVIDIA",
            TOOLKIT: "nvidia-container-toolkit",
            CRIO: "isv:cri-o:stable:v1.36",
            KUBERNETES: "isv:kubernetes:core:stable:v1.36",
        }
        for place, label in labels.items():
            (folder / place).mkdir(parents=True, exist_ok=True)
            index(folder / place, label)
            shutil.copy(cache_folder() / "gnupg/public.asc", folder / KEYS[place])
        shutil.rmtree(scratch)
        shutil.rmtree(debian)
        subprocess.run(["gpgconf", "--kill", "all"], env=gnupg(), check=False)

    return artifact("repository", key, build)


def variables() -> dict[str, object]:
    """The variables of the roles that say where packages come from, as a lab node sees it.

    With GPUNODE_UPSTREAM=1 CRI-O and the toolkit come from upstream; the driver stays a fixture, as the GPU does.
    """
    prefixes = {"nvidia_driver": CUDA, "crio": CRIO, "nvidia_container_toolkit": TOOLKIT, "kubeadm": KUBERNETES}
    if os.environ.get("GPUNODE_UPSTREAM") == "1":
        prefixes = {"nvidia_driver": CUDA}
    found: dict[str, object] = {"containerd_source": "distribution", "docker_source": "distribution"}
    for prefix, place in prefixes.items():
        found[f"{prefix}_repository_url"] = f"{URL}/{place}/"
        found[f"{prefix}_repository_key_url"] = f"{URL}/{KEYS[place]}"
        found[f"{prefix}_repository_key_fingerprints"] = [fingerprint()]
    return found
