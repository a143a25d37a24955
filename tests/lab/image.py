# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base image of the lab's nodes: a bare Debian 12 with its own kernel, and the hardware the lab gives it.

Made in three artifacts, each cached by what it is made from:

``rootfs``  what mmdebstrap unpacks, with the packages that scenarios install lying unopened in apt's archive
``build``   the same with compiler and kernel headers: modules and the simulated NVML are built in it
``image``   the disk, its kernel and initrd, the ssh keys, and the facts that a node is started from
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from cache import LAB, LabError, artifact, cache_folder, digest, locked, run, say

SUITE = "bookworm"
DISK = "12G"
SWAP_MIB = 128

# What a small cloud image of Debian has; python3-apt because Ansible's apt module would fetch it at once.
PACKAGES = [
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "openssh-server",
    "python3",
    "python3-apt",
    "iproute2",
    "kmod",
    "procps",
    "sudo",
    "curl",
    "ca-certificates",
    "gnupg",
    "cron",
    "pciutils",
    "less",
]
# What a compiler needs is slow to unpack under emulation, and cloud images often have it.
TOOLS = ["gcc", "make", "libc6-dev", "dpkg-dev"]
# What scenarios install: fetched into /var/cache/apt/archives, not installed.
ARCHIVE = [
    "containerd",
    "runc",
    "crun",
    "conmon",
    "containernetworking-plugins",
    "iptables",
    "docker.io",
    "dkms",
    "linux-headers-cloud-amd64",
    "python3-debian",
    "socat",
    "ebtables",
    "ethtool",
    "conntrack",
    "apparmor",
]
# The half of the kernel headers that all flavours share: 10,000 files that no role asks for by name. What a role asks
# for, linux-headers-<release>, is not there, as on a bare node.
HEADERS_COMMON = (
    'chroot "$1" sh -c "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends '
    'linux-headers-\\$(ls /lib/modules | sed s/-cloud-amd64//)-common"'
)
# The build root gets these, from the same archive.
BUILD = ["linux-headers-cloud-amd64"]
# The initrd holds what the disk needs and no more: it is unpacked at each boot, by an emulated processor.
INITRD_MODULES = ["virtio_pci", "virtio_blk", "ext4", "crc32c_generic"]

NETWORK = """\
[Match]
Name=eth0

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
DNS=10.0.2.3
"""

# Real hosts collect lines: the duplicate is what host_prep has to fold.
FSTAB = """\
# /etc/fstab: static file system information.
# <file system> <mount point> <type> <options> <dump> <pass>
/dev/vda / ext4 errors=remount-ro 0 1
/swap.img none swap sw 0 0
# added by the installer, again
/swap.img none swap sw 0 0
"""


def debian_sources() -> tuple[list[str], list[str]]:
    """The Debian mirror of this machine's own apt as one-line sources, and the apt options that go with it.

    Read when needed and never written into the repository. On a machine without Debian's archive: deb.debian.org.
    """
    lines = []
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(CODENAME)|$(COMPONENT)|$(ORIGIN)|$(LABEL)",
         "Created-By: Packages"], capture_output=True, text=True, check=False).stdout  # fmt: skip
    for line in dict.fromkeys(listed.splitlines()):
        uri, codename, component, origin, _label = line.split("|")
        if origin == "Debian" and codename.split("-")[0] == SUITE and component == "main":
            lines.append(f"deb {uri} {codename} main")
    if not any(line.split()[2] == SUITE for line in lines):
        lines = [
            f"deb http://deb.debian.org/debian {SUITE} main",
            f"deb http://deb.debian.org/debian {SUITE}-updates main",
            f"deb http://deb.debian.org/debian-security {SUITE}-security main",
        ]
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    wanted = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
    options = [line for line in dumped.splitlines() if line.startswith(wanted)]
    return lines, [*options, 'Acquire::Languages "none";']


def guest_apt(root: Path) -> None:
    """Let the node's apt use the same mirror, seen from inside: this machine is 10.0.2.2 there."""
    lines, options = debian_sources()
    text = "\n".join(lines) + "\n"
    certificates = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    if "https://" in text and certificates.is_file():
        (root / "etc/gpunode-lab").mkdir(exist_ok=True)
        shutil.copy(certificates, root / "etc/gpunode-lab/ca.crt")
        options.append('Acquire::https::CaInfo "/etc/gpunode-lab/ca.crt";')
    for old in (root / "etc/apt/sources.list.d").glob("*sources.list"):
        old.unlink()
    (root / "etc/apt/sources.list").write_text(text.replace("//127.0.0.1", "//10.0.2.2"))
    conf = "\n".join(options).replace("//127.0.0.1", "//10.0.2.2").replace("//localhost", "//10.0.2.2")
    (root / "etc/apt/apt.conf.d/90gpunode-lab").write_text(conf + "\n")


def shorten_index(root: Path) -> None:
    """Leave in apt's lists only what the node has, or has in its archive, as every version of it that Debian offers.

    Of 60,000 packages an emulated processor makes its cache for 10 s, at each change of the sources.
    """
    status = (root / "var/lib/dpkg/status").read_text()
    kept = set(re.findall(r"^Package: (.+)$", status, re.MULTILINE))
    kept |= {path.name.partition("_")[0] for path in (root / "var/cache/apt/archives").glob("*.deb")}
    for path in (root / "var/lib/apt/lists").glob("*_Packages"):
        stanzas = path.read_text().split("\n\n")
        path.write_text(
            "".join(f"{text}\n\n" for text in stanzas if text.partition("\n")[0][len("Package: ") :] in kept)
        )


def rootfs() -> Path:
    """``rootfs.tar``: the bare node's files, as root of Debian's own making."""
    key = digest(SUITE, json.dumps([PACKAGES, TOOLS, ARCHIVE, INITRD_MODULES, HEADERS_COMMON]), "2")

    def build(folder: Path) -> None:
        if os.geteuid() != 0:
            raise LabError("making the image needs chroot: run it as root, once; afterwards the cache has it")
        say("fetching and unpacking Debian (about 1 minute) ...")
        lines, options = debian_sources()
        sources = folder / "sources.list"
        sources.write_text("\n".join(lines) + "\n")
        initramfs = "\\n".join(INITRD_MODULES)
        run(
            "mmdebstrap", "--variant=minbase", "--mode=root", "--components=main",
            f"--include={','.join(PACKAGES + TOOLS)}",
            "--skip=cleanup/apt/lists,cleanup/apt/cache",
            *[f"--aptopt={option.rstrip(';')}" for option in options],
            '--setup-hook=mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"',
            '--setup-hook=printf "MODULES=list\\nCOMPRESS=lz4\\n" > "$1/etc/initramfs-tools/conf.d/gpunode-lab"',
            f'--setup-hook=printf "{initramfs}\\n" > "$1/usr/share/initramfs-tools/modules.d/gpunode-lab"',
            f"--customize-hook={HEADERS_COMMON}",
            '--customize-hook=chroot "$1" apt-get clean',
            '--customize-hook=chroot "$1" apt-get install --yes --download-only '
            f'-o APT::Sandbox::User=root {" ".join(ARCHIVE)}',
            SUITE, folder / "rootfs.tar", sources, log=folder / "log",
        )  # fmt: skip
        sources.unlink()

    return artifact("rootfs", key, build) / "rootfs.tar"


def build_root() -> Path:
    """A folder to chroot into, where things for the node are compiled: its compiler, its C library, its headers."""
    tar = rootfs()
    key = digest(tar.parent.name, json.dumps(BUILD), "1")

    def build(folder: Path) -> None:
        say("preparing the build root: compiler and kernel headers (about 20 s) ...")
        root = folder / "root"
        root.mkdir()
        run("tar", "-xf", tar, "-C", root)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        run("chroot", root, "apt-get", "install", "--yes", "--no-install-recommends", "--no-download", *BUILD,
            env=environment, log=folder / "log")  # fmt: skip
        run("chroot", root, "apt-get", "clean")

    return artifact("build", key, build) / "root"


def kernel_release(root: Path) -> str:
    """The one kernel that the root file system carries."""
    releases = sorted(path.name for path in (root / "usr/lib/modules").iterdir())
    if len(releases) != 1:
        raise LabError(f"{root}: one kernel expected, found {', '.join(releases) or 'none'}")
    return releases[0]


def compiled(name: str, source: Path, command: str) -> Path:
    """``source`` copied into the build root and built there by ``command``; what lies in it then is the artifact."""
    root = build_root()
    key = digest(root.parent.name, source, command)

    def build(folder: Path) -> None:
        with locked("build-root"):
            inside = root / "gpunode-lab" / name
            if inside.exists():
                shutil.rmtree(inside)
            inside.parent.mkdir(exist_ok=True)
            shutil.copytree(source, inside)
            release = kernel_release(root)
            run("chroot", root, "sh", "-ec", f"cd /gpunode-lab/{name}; KERNEL=/lib/modules/{release}/build; {command}",
                log=folder / "log", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})  # fmt: skip
            shutil.copytree(inside, folder / "out")
            shutil.rmtree(inside)

    return artifact(name, key, build) / "out"


def keys() -> Path:
    """The lab's ssh keys: one for root's login, one for every node's host key. They open nothing else."""
    folder = cache_folder() / "ssh"
    with locked("ssh"):
        folder.mkdir(mode=0o700, exist_ok=True)
        for name in ("id_ed25519", "host_ed25519"):
            if not (folder / name).is_file():
                run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"gpunode-lab {name}", "-f", folder / name)
        host_key = (folder / "host_ed25519.pub").read_text().split()
        (folder / "known_hosts").write_text(f"gpunode-lab {host_key[0]} {host_key[1]}\n")
    return folder


def hardware() -> Path | None:
    """The kernel module that gives a node its PCI functions, built for the node's kernel."""
    source = LAB / "sim" / "pci"
    if not (source / "Kbuild").is_file():
        return None
    return compiled("sim-pci", source, 'make -s -C "$KERNEL" M="$PWD" modules')


def image() -> Path:
    """The folder with ``disk.raw``, ``vmlinuz``, ``initrd`` and ``image.json``."""
    tar, ssh, pci = rootfs(), keys(), hardware()
    lines, options = debian_sources()
    key = digest(
        tar.parent.name,
        Path(__file__),
        LAB / "fixtures/fail",
        ssh / "id_ed25519.pub",
        str(pci),
        "\n".join(lines + options),
    )

    def build(folder: Path) -> None:
        say("making the node's disk (about 20 s) ...")
        root = folder / "root"
        root.mkdir()
        run("tar", "-xf", tar, "-C", root)
        release = kernel_release(root)
        guest_apt(root)
        shorten_index(root)
        (root / "etc/gpunode-lab").mkdir(exist_ok=True)
        (root / "usr/lib/gpunode-lab").mkdir()
        shutil.copy(LAB / "fixtures/fail", root / "usr/lib/gpunode-lab/fail")
        (root / "etc/fstab").write_text(FSTAB)
        (root / "etc/hostname").write_text("gpunode-lab\n")
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
        (root / "etc/machine-id").write_text("")
        (root / "etc/resolv.conf").unlink(missing_ok=True)
        (root / "etc/resolv.conf").write_text("nameserver 10.0.2.3\n")
        (root / "etc/systemd/network/10-lab.network").write_text(NETWORK)
        wants = root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / "systemd-networkd.service").symlink_to("/lib/systemd/system/systemd-networkd.service")
        # checks LVM snapshots at boot, for 7 s here; nobody has any
        (root / "etc/systemd/system/default.target.wants/e2scrub_reap.service").unlink(missing_ok=True)
        authorise(root, ssh)
        swap_file(root / "swap.img")
        if pci is not None:
            extra = root / "usr/lib/modules" / release / "extra"
            extra.mkdir()
            shutil.copy(pci / "gpunode_lab_pci.ko", extra)
            (root / "etc/modules-load.d/gpunode-lab.conf").write_text(
                "# The lab's hardware: simulated PCI functions. Not part of gpunode.ready.\ngpunode_lab_pci\n"
            )
            run("chroot", root, "depmod", release)
        shutil.copy(root / f"boot/vmlinuz-{release}", folder / "vmlinuz")
        shutil.copy(root / f"boot/initrd.img-{release}", folder / "initrd")
        run("truncate", "-s", DISK, folder / "disk.raw")
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-d", root, folder / "disk.raw")
        shutil.rmtree(root)
        facts = {"kernel": release, "suite": SUITE, "hardware": pci is not None}
        (folder / "image.json").write_text(json.dumps(facts, indent=2) + "\n")

    return artifact("image", key, build)


def authorise(root: Path, ssh: Path) -> None:
    """Root logs in with the lab's key, and the node answers with the lab's host key."""
    home = root / "root/.ssh"
    home.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(ssh / "id_ed25519.pub", home / "authorized_keys")
    (home / "authorized_keys").chmod(0o600)
    for old in (root / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    shutil.copy(ssh / "host_ed25519", root / "etc/ssh/ssh_host_ed25519_key")
    (root / "etc/ssh/ssh_host_ed25519_key").chmod(0o600)
    shutil.copy(ssh / "host_ed25519.pub", root / "etc/ssh/ssh_host_ed25519_key.pub")


def swap_file(path: Path) -> None:
    """A swap file without holes: its blocks must not be zero, or mke2fs leaves them out and swapon refuses."""
    with path.open("wb") as stream:
        for _ in range(SWAP_MIB):
            stream.write(b"\x01" * (1 << 20))
    path.chmod(0o600)
    run("mkswap", path)
