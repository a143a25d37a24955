# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt, dpkg, dnf, DKMS and the installers print when packages are in the way."""

from __future__ import annotations

from .catalogue import Signature, shared

KEY_OR_REPO = shared(
    "apt-key-or-repo-failure",
    (
        Signature(
            pattern=r"NO_PUBKEY (?P<key>[0-9A-F]{8,40})|public key is not available",
            literals=("NO_PUBKEY", "public key is not available"),
            component="apt",
            source="Debian/apt:methods/gpgv.cc",
            cause="apt has no key {key} for this repository, so its packages cannot be verified; expected the"
            " repository's key in the file that `Signed-By` names.",
            sample="W: GPG error: https://nvidia.github.io/libnvidia-container/ubuntu18.04/amd64  InRelease: The"
            " following"
            " signatures couldn't be verified because the public key is not available: NO_PUBKEY 6ED91CA3AC1160CD",
        ),
        Signature(
            pattern=r"(?P<what>EXPKEYSIG|KEYEXPIRED|REVKEYSIG|BADSIG|EXPSIG|signatures were invalid|At least one"
            r" invalid"
            r" signature was encountered|Clearsigned file isn't valid|is not signed by any accepted key"
            r"|Sub-process /usr/bin/sqv returned an error)",
            literals=(
                "EXPKEYSIG",
                "KEYEXPIRED",
                "REVKEYSIG",
                "BADSIG",
                "EXPSIG",
                "signatures were invalid",
                "invalid signature was",
                "Clearsigned",
                "any accepted key",
                "/usr/bin/sqv",
            ),
            component="apt",
            source="Debian/apt:methods/gpgv.cc, methods/sqv.cc",
            cause="apt refuses the repository's signature ({what}); expected one by a key that is valid today.",
            sample="W: An error occurred during the signature verification. The repository is not updated and the"
            " previous index files will be used. GPG error: https://nvidia.github.io/libnvidia-container/stable/deb"
            "/amd64"
            "  InRelease: The following signatures were invalid: EXPKEYSIG DDCAE044F796ECB0 NVIDIA CORPORATION",
        ),
        Signature(
            pattern=r"The repository [\"'](?P<repository>[^\"'\n]{4,300})[\"'] (?:is not signed|is no longer signed"
            r"|does not have a Release file|no longer has a Release file|is not valid yet|doesn't have the component)",
            literals=(
                "is not signed",
                "no longer signed",
                "have a Release file",
                "has a Release file",
                "is not valid yet",
                "have the component",
            ),
            component="apt",
            source="Debian/apt:apt-pkg/acquire-item.cc",
            cause="apt refuses the repository {repository}: it is unsigned or has no Release file there.",
            sample="E: The repository 'https://nvidia.github.io/libnvidia-container/ubuntu24.04 Release' does not"
            " have a"
            " Release file.",
        ),
        Signature(
            pattern=r"Conflicting values set for option Signed-By regarding source (?P<repository>\S{4,200})",
            literals=("Conflicting values set for option Signed-By",),
            component="apt",
            source="Debian/apt:apt-pkg/sourcelist.cc",
            cause="Two files describe {repository} with different keys (`Signed-By`), so apt reads neither; expected"
            " one.",
            sample="E: Conflicting values set for option Signed-By regarding source"
            " https://nvidia.github.io/libnvidia-container/stable/deb/amd64/ /: /usr/share/keyrings/a.gpg != ",
        ),
        Signature(
            pattern=r"Malformed (?:entry|line|stanza) \d{1,5} in (?:list|source|sources) ?(?:file )?(?P<file>\S{1,200})"
            r"|Type [\"']\S{1,60}[\"'] is not known on line \d{1,5} in source list (?P<list>\S{1,200})"
            r"|The list of sources could not be read|GPG error: ",
            literals=("Malformed ", "is not known on line", "list of sources could not be read", "GPG error: "),
            component="apt",
            source="Debian/apt:apt-pkg/sourcelist.cc",
            cause="apt cannot read or verify its list of sources ({file}{list}); expected lines as in sources.list(5).",
            sample="E: Type '<!doctype' is not known on line 1 in source list"
            " /etc/apt/sources.list.d/nvidia-container-toolkit.list",
        ),
        Signature(
            pattern=r"no valid OpenPGP data found|GPG check FAILED|repomd\.xml (?:GPG )?signature verification"
            r"|Signature verification failed for file|Failed to (?:download metadata for|synchronize cache for) repo"
            r"|Cannot download repomd\.xml|Public key for \S{1,200} is not installed"
            r"|Cannot find a valid baseurl for repo|Failed to retrieve new repository metadata",
            literals=(
                "no valid OpenPGP data",
                "GPG check FAILED",
                "signature verification",
                "Signature verification failed",
                "download metadata for repo",
                "synchronize cache for repo",
                "download repomd.xml",
                "is not installed",
                "valid baseurl for repo",
                "new repository metadata",
            ),
            component="gpg, dnf, zypper",
            source="rpm-software-management/dnf:dnf/base.py",
            cause="The package manager cannot fetch or verify a repository's index.",
            sample="Error: Failed to download metadata for repo 'cuda-rhel8-x86_64': Cannot download repomd.xml: Cannot"
            " download repodata/repomd.xml: All mirrors were tried",
        ),
        Signature(
            pattern=r"Hash Sum mismatch|File has unexpected size|Failed to fetch \S{8,200}\s{1,3}404",
            literals=("Hash Sum mismatch", "has unexpected size", "Failed to fetch"),
            component="apt",
            source="Debian/apt:apt-pkg/acquire-item.cc",
            cause="What apt fetched is not what the repository's signed index promises, or is not there.",
            sample="E: Failed to fetch https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2204/x86_64"
            "/Packages"
            ".gz  File has unexpected size (1041 != 1043). Mirror sync in progress?",
        ),
        Signature(
            pattern=r"Unable to locate package (?P<package>(?:lib)?(?:nvidia|cuda|cri-o|kube|containerd"
            r"|docker)\S{0,80})"
            r"|Package [\"'](?P<named>(?:nvidia|cuda|cri-o|kube)\S{0,80})[\"'] has no installation candidate"
            r"|No match for argument: (?P<rpm>(?:nvidia|cuda|cri-o|kube)\S{0,80})",
            literals=("Unable to locate package", "no installation candidate", "No match for argument"),
            component="apt, dnf",
            source="Debian/apt:apt-private/private-cacheset.cc",
            cause="No configured repository has {package}{named}{rpm}; expected the vendor's repository to be set up.",
            sample="E: Unable to locate package nvidia-container-toolkit",
            weak=True,
        ),
        Signature(
            pattern=r"Unsupported distribution!|repomd\.xml signature could not be verified|Errors during downloading"
            r" metadata for repository|GPG key retrieval failed|Gpg Keys not imported|are ignored as the file has an"
            r" unsupported filetype|SHA1 is not considered secure|Problem with MergeList|Some index files failed to"
            r" download|\[Errno 14\] HTTPS? Error 404",
            literals=(
                "Unsupported distribution!",
                "repomd.xml signature",
                "Errors during downloading metadata",
                "GPG key retrieval failed",
                "Gpg Keys not imported",
                "unsupported filetype",
                "SHA1 is not considered",
                "Problem with MergeList",
                "index files failed to download",
                "[Errno 14]",
            ),
            component="apt, yum, NVIDIA's repository",
            source="Debian/apt:methods, rpm-software-management/yum",
            cause="The repository cannot be verified or read.",
            sample="https://nvidia.github.io/libnvidia-container/stable/centos8/x86_64/repodata/repomd.xml: [Errno"
            " -1] repomd.xml signature could not be verified for libnvidia-container",
        ),
    ),
)

HEADERS = shared(
    "kernel-headers-missing",
    (
        Signature(
            pattern=r"[Kk]ernel headers for kernel (?P<kernel>\S{3,80}) (?:cannot be found|are missing|not found)",
            literals=("ernel headers for kernel",),
            component="dkms",
            source="dkms-project/dkms:dkms.in",
            cause="There are no headers for kernel {kernel}, so DKMS cannot build; expected them in"
            " /lib/modules/{kernel}/build.",
            sample="Error! Your kernel headers for kernel 6.6.15-amd64 cannot be found at"
            " /lib/modules/6.6.15-amd64/build"
            " or /lib/modules/6.6.15-amd64/source.",
        ),
        Signature(
            pattern=r"Missing (?P<kernel>\S{3,80}) kernel headers for module",
            literals=("kernel headers for module",),
            component="dkms (Arch Linux hook)",
            source="archlinux/dkms:hook.sh",
            cause="There are no headers for kernel {kernel}, so DKMS cannot build; expected its headers package.",
            sample="==> ERROR: Missing 6.2.1-zen1-1-zen kernel headers for module nvidia/525.89.02.",
        ),
        Signature(
            pattern=r"(?:Module build for (?:the currently running kernel|kernel \S{3,80}) was skipped since the kernel"
            r" (?:headers|source)|kernel (?:headers|source) for this kernel (?:does|do) not seem to be installed)",
            literals=("was skipped since the kernel", "not seem to be installed"),
            component="dkms",
            source="dkms-project/dkms:dkms_common.postinst",
            cause="DKMS skipped the build, because the running kernel's headers are not installed.",
            sample="Module build for kernel 5.4.0-42-generic was skipped since the kernel headers for this kernel"
            " does not"
            " seem to be installed.",
        ),
        Signature(
            pattern=r"Unable to find the kernel source tree for the currently running kernel"
            r"|The kernel (?:source|header) (?:path|file) [\"']\S{1,200}[\"'] (?:is invalid|does not exist)"
            r"|make sure you have installed the kernel source files",
            literals=(
                "Unable to find the kernel source tree",
                "kernel source path",
                "kernel header file",
                "kernel source files",
            ),
            component="nvidia-installer",
            source="NVIDIA/nvidia-installer:kernel.c",
            cause="NVIDIA's installer finds no source or headers of the running kernel.",
            sample="ERROR: Unable to find the kernel source tree for the currently running kernel. Please make sure you"
            " have installed the kernel source files for your kernel and that they are properly configured",
        ),
        Signature(
            pattern=r"(?:Unable to locate package|Couldn't find any package by (?:glob|regex)|No match for argument:"
            r"|Unable to find a match:|No package) [\"']?(?P<package>(?:linux-headers|kernel-devel|kernel-headers)"
            r"[^\s\"']{0,80})",
            literals=("linux-headers", "kernel-devel", "kernel-headers"),
            component="apt, dnf",
            source="Debian/apt:apt-private/private-cacheset.cc",
            cause="No repository has {package}, the headers of the running kernel; expected them beside the kernel.",
            sample="E: Unable to locate package linux-headers-5.15.0-1034-gcp",
        ),
        Signature(
            pattern=r"/lib/modules/(?P<kernel>[^/\s]{3,80})/(?:build|source): No such file or directory",
            literals=("/build: No such file", "/source: No such file"),
            component="make",
            source="kbuild, as called by dkms and nvidia-installer",
            cause="/lib/modules/{kernel}/build does not exist: the headers of this kernel are not installed.",
            sample="make[1]: *** /lib/modules/5.4.0-42-generic/build: No such file or directory.  Stop.",
        ),
        Signature(
            pattern=r"Could not resolve Linux kernel version|Unable to open the file [\"']/lib/modules/\S{1,80}/"
            r"|The Kernel (?:Headers|sources?) .{0,60}not found",
            literals=("resolve Linux kernel version", "Unable to open the file", "The Kernel "),
            component="nvidia driver container",
            source="NVIDIA/gpu-driver-container:ubuntu22.04/nvidia-driver",
            cause="The driver container finds no headers that fit the running kernel.",
            sample="Resolving Linux kernel version...\nCould not resolve Linux kernel version",
        ),
        Signature(
            pattern=r"(?:[Cc]annot|[Cc]ould not|[Uu]nable to) (?:find|locate) (?:the )?(?:[Kk]ernel|Linux)(?:"
            r" kernel)? (?:headers|sources?\b)|[Kk]ernel headers? (?:are |is |were |was )?(?:not (?:found|installed"
            r"|available)|missing)|Please install the (?:linux-headers|kernel-devel|kernel-headers)|No matching"
            r" package to install: [\"']?kernel-(?:devel|headers)|Kernel configuration is invalid"
            r"|/lib/modules/\S{3,80}/(?:build|source)[\"'`]{0,2}:? (?:does not exist|not found|is not a directory|No"
            r" such file)",
            literals=(
                "find the",
                "find kernel",
                "find Kernel",
                "find Linux",
                "locate kernel",
                "locate the",
                "ernel headers",
                "ernel header ",
                "Please install the",
                "No matching package",
                "Kernel configuration is invalid",
                "/lib/modules/",
            ),
            component="dkms, installers, make",
            source="dkms-project/dkms:dkms.in, kbuild",
            cause="The headers of the running kernel are not installed; expected them in /lib/modules/<kernel>/build.",
            sample="Please install the linux-headers-4.11.1+ package,",
        ),
    ),
)

BROKEN_PACKAGES = shared(
    "apt-broken-package-state",
    (
        Signature(
            pattern=r"dpkg was interrupted, you must manually run",
            literals=("dpkg was interrupted",),
            component="apt",
            source="Debian/apt:apt-pkg/deb/debsystem.cc",
            cause="dpkg was interrupted half-way; expected every package configured.",
            sample="E: dpkg was interrupted, you must manually run 'sudo dpkg --configure -a' to correct the problem.",
        ),
        Signature(
            pattern=r"[Uu]nmet dependencies|you have held broken packages|requested an impossible situation"
            r"|--fix-broken install",
            literals=("nmet dependencies", "held broken packages", "impossible situation", "--fix-broken install"),
            component="apt",
            source="Debian/apt:apt-private/private-install.cc",
            cause="Packages here depend on versions that cannot be installed together.",
            sample="E: Unmet dependencies. Try 'apt --fix-broken install' with no packages (or specify a solution).",
        ),
        Signature(
            pattern=r"dpkg: error processing (?:package|archive) (?P<package>\S{1,200})"
            r"|dependency problems - leaving (?:unconfigured|triggers)|Errors were encountered while processing:"
            r"|Sub-process /usr/bin/dpkg returned an error code|dpkg: dependency problems prevent"
            r"|trying to overwrite [\"']\S{1,200}[\"'], which is also in package|dpkg-deb: error: "
            r"|(?:pre|post)-(?:installation|removal) script (?:subprocess )?returned error",
            literals=(
                "dpkg: error processing",
                "dependency problems",
                "Errors were encountered while processing",
                "Sub-process /usr/bin/dpkg",
                "which is also in package",
                "dpkg-deb: error",
                "returned error",
            ),
            component="dpkg",
            source="Debian/dpkg:src/main/errors.c",
            cause="dpkg stopped at {package} and left packages unconfigured.",
            sample="dpkg: error processing package nvidia-docker2 (--configure):",
        ),
        Signature(
            pattern=r"none of the providers can be installed|nothing provides \S{1,120}.{0,40} needed by"
            r"|conflicting requests$|file /\S{1,200} (?:from install of|conflicts between)"
            r"|error: Failed dependencies:|but none of the providers",
            literals=(
                "none of the providers",
                "nothing provides",
                "conflicting requests",
                "from install of",
                "conflicts between",
                "Failed dependencies",
            ),
            component="dnf, rpm",
            source="openSUSE/libsolv:src/problems.c",
            cause="Packages here depend on versions that cannot be installed together.",
            sample="Problem: package nvidia-container-toolkit-1.14.3-1.x86_64 requires nvidia-container-toolkit-base ="
            " 1.14.3-1, but none of the providers can be installed",
        ),
        Signature(
            pattern=r"very bad inconsistent state|needs to be reinstalled, but I can't find an archive|but it is not"
            r" (?:going to be installed|installable)|rpmdb open failed|cannot install the best (?:update )?candidate"
            r"|could not satisfy dependencies|failed to (?:prepare|commit) transaction",
            literals=(
                "bad inconsistent state",
                "needs to be reinstalled",
                "but it is not ",
                "rpmdb open failed",
                "cannot install the best",
                "could not satisfy dependencies",
                "transaction",
            ),
            component="apt, dpkg, dnf, pacman",
            source="Debian/apt:apt-private/private-output.cc, Debian/dpkg",
            cause="Packages here are half-installed, or depend on versions that cannot be installed together.",
            sample="dpkg: error processing package nvidia-dkms-535 (--remove): Package is in a very bad inconsistent"
            " state; you should reinstall it",
        ),
        Signature(
            pattern=r"Could not get lock /var/lib/(?:dpkg|apt)/|Unable to acquire the dpkg frontend lock|dpkg"
            r" frontend lock (?:is|was) locked",
            literals=("Could not get lock", "dpkg frontend lock"),
            component="apt",
            source="Debian/apt:apt-pkg/deb/debsystem.cc",
            cause="Another package manager holds dpkg's lock, or one died with it.",
            sample="E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1234 (unattended-upgr)",
            weak=True,
        ),
    ),
    consequence_of=("kernel-headers-missing", "dkms-build-failed", "apt-key-or-repo-failure"),
)

FAILURES = (KEY_OR_REPO, HEADERS, BROKEN_PACKAGES)
