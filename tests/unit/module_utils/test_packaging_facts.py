# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts ``packages`` and ``repositories`` of a node's facts, on captured trees."""

from __future__ import annotations

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.facts.packaging import (
    cared_for,
    key_paths,
    packages,
    repositories,
)
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host


def tree(root, **files):
    for path, text in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Host(str(root))


def stanza(name, status="install ok installed", version="1-1"):
    return f"Package: {name}\nStatus: {status}\nArchitecture: amd64\nVersion: {version}\n"


def test_packages_cared_for_are_told_with_version_state_and_hold(tmp_path):
    status = "\n".join(
        [
            stanza("cri-o", "hold ok installed", "1.36.3-1.1"),
            stanza("nvidia-driver-cuda", version="580.159.04-1"),
            stanza("vim"),
            stanza("docker.io", "deinstall ok config-files"),
        ]
    )

    found = packages(tree(tmp_path, **{"/var/lib/dpkg/status": status}))

    assert found == {
        "manager": "apt",
        "broken": [],
        "interrupted": False,
        "installed": {
            "cri-o": {"version": "1.36.3-1.1", "state": "installed", "held": True},
            "nvidia-driver-cuda": {"version": "580.159.04-1", "state": "installed", "held": False},
        },
    }


def test_every_broken_package_is_told_whether_cared_for_or_not(tmp_path):
    status = "\n".join(
        [stanza("vim", "install ok half-configured"), stanza("runc", "install reinstreq half-installed")]
    )

    found = packages(tree(tmp_path, **{"/var/lib/dpkg/status": status, "/var/lib/dpkg/updates/0001": ""}))

    assert [(item["name"], item["state"]) for item in found["broken"]] == [
        ("runc", "half-installed, to be installed again"),
        ("vim", "half-configured"),
    ]
    assert found["interrupted"]


def test_a_node_without_a_known_package_manager_says_so(tmp_path):
    assert "no package manager" in packages(Host(str(tmp_path)))["unavailable"]


def test_rpm_packages_are_asked_of_rpm_and_holds_of_the_files(tmp_path):
    host = tree(
        tmp_path,
        **{
            "/usr/bin/dnf": "",
            "/etc/yum.repos.d/cri-o.repo": "[cri-o]\nbaseurl=https://m/\nexcludepkgs=cri-o\n",
            "/etc/dnf/plugins/versionlock.list": "runc-4:1.2.4-1.el9.*\n",
        },
    )
    (tmp_path / "usr/bin/dnf").chmod(0o755)
    listing = (
        "cri-o\t1.36.3-1.1\tx86_64\nrunc\t4:1.2.4-1.el9\tx86_64\nkernel-core\t5.14.0-1.el9\tx86_64\nbash\t5\tx86_64\n"
    )
    host._run = lambda argv, timeout: Completed(0, listing, "") if argv[0] == "rpm" else Completed(127, "", "")

    found = packages(host)

    assert {name: item["held"] for name, item in found["installed"].items()} == {
        "cri-o": True,
        "kernel-core": False,
        "runc": True,
    }


SOURCES = {
    "/etc/apt/sources.list": "deb http://deb.debian.org/debian bookworm main\n",
    "/etc/apt/sources.list.d/kubernetes.list": "deb [signed-by=/k.asc] https://pkgs.k8s.io/v1.36/deb/ /\n",
    "/etc/apt/sources.list.d/mirror.sources": (
        "# Managed by gpunode.ready. Changes made here are overwritten.\n"
        "Types: deb\nURIs: https://mirror.example.org/x/\nSuites: /\nSigned-By: /etc/apt/keyrings/x.asc\n"
    ),
    "/etc/apt/sources.list.d/docker.sources": (
        "Types: deb\nURIs: https://download.docker.com/linux/debian\nSuites: bookworm\nEnabled: no\n"
    ),
}


def test_only_repositories_that_serve_these_packages_are_told(tmp_path):
    found = repositories(tree(tmp_path, **SOURCES))

    assert [(item["path"].rpartition("/")[2], item["uris"], item["enabled"]) for item in found] == [
        ("kubernetes.list", ["https://pkgs.k8s.io/v1.36/deb/"], True),
        ("docker.sources", ["https://download.docker.com/linux/debian"], False),
        ("mirror.sources", ["https://mirror.example.org/x/"], True),
    ]


def test_a_missing_and_an_unreadable_key_are_told_apart(tmp_path):
    host = tree(tmp_path, **SOURCES, **{"/etc/apt/keyrings/x.asc": "<html>"})

    found = {item["path"].rpartition("/")[2]: item for item in repositories(host)}

    assert found["kubernetes.list"]["signed_by_exists"] is False
    assert found["kubernetes.list"]["problem"] is None
    assert found["mirror.sources"]["signed_by_exists"] is True
    assert "web page" in found["mirror.sources"]["problem"]
    assert found["docker.sources"]["signed_by_exists"] is None


def test_a_yum_repository_is_told_with_its_key_file(tmp_path):
    text = "[cuda]\nname=cuda\nbaseurl=https://developer.download.nvidia.com/x\nenabled=1\ngpgkey=file:///etc/pki/k\n"

    (found,) = repositories(
        tree(tmp_path, **{"/etc/yum.repos.d/cuda.repo": text, "/etc/yum.repos.d/os.repo": "[os]\n"})
    )

    assert (found["name"], found["signed_by"], found["signed_by_exists"]) == ("cuda", "file:///etc/pki/k", False)


@pytest.mark.parametrize(
    ("signed_by", "paths"),
    [
        ("/usr/share/keyrings/a.gpg", ["/usr/share/keyrings/a.gpg"]),
        ("/k/a.gpg,/k/b.gpg", ["/k/a.gpg", "/k/b.gpg"]),
        ("file:///etc/pki/a, file:///etc/pki/b", ["/etc/pki/a", "/etc/pki/b"]),
        ("https://example.org/key file:///etc/pki/a", ["/etc/pki/a"]),
        ("file:///etc/pki/rpm-gpg/RPM-GPG-KEY-rpmfusion-nonfree-fedora-$releasever", []),
        ("573BFD6B3D8FBC641079A6ABABF5BD827BD9BF62", []),
        ("(in this file)", []),
        ("", []),
    ],
)
def test_the_key_files_of_a_repository_are_known_by_their_paths(signed_by, paths):
    assert key_paths(signed_by) == paths


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("nvidia-driver-580-open", True),
        ("libnvidia-compute-580", True),
        ("linux-modules-nvidia-580-server-open-generic", True),
        ("linux-headers-6.1.0-40-amd64", True),
        ("kubelet", True),
        ("libc6", False),
        ("kernel-tools", False),
        ("linux-libc-dev", False),
        ("libcuda1:i386", True),
    ],
)
def test_what_is_cared_for_goes_by_name(name, answer):
    assert cared_for(name) is answer
