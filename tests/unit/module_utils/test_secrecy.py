# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import files
from ansible_collections.gpunode.ready.plugins.module_utils.facts import kernel, packaging
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.secrecy import hide, passwords
from hypothesis import given
from hypothesis import strategies as st

PLANTED = "s3cr3t-Value/x+y=="


@pytest.mark.parametrize(
    "line",
    [
        '  password = "{}"',
        "auth = '{}'",
        '{{"identitytoken": "{}", "mirrors": []}}',
        "Environment=REGISTRY_TOKEN={}",
        "//nas/data /mnt/data cifs username=ada,password={},uid=1000 0 0",
        "api_key: {}",
        '"https-proxy": "http://ada:{}@proxy.example.org:3128"',
        "deb https://ada:{}@mirror.example.org/debian bookworm main",
    ],
)
def test_a_secret_is_hidden_and_the_rest_of_its_line_is_not(line):
    planted = "s3cr3t-Value" if "://" in line else PLANTED
    text = line.format(planted)

    told = hide(text)

    assert told == text.replace("ada:" + planted if "://" in line else planted, "********")


@pytest.mark.parametrize(
    "line",
    [
        'global_auth_file = "/etc/crio/auth.json"',
        "token-auth-file=/etc/tokens",
        '"auth": {"registry": []}',
        "tokens = 3",
        "password: null",
        "baseurl=https://mirror.example.org/a@b/",
        "unix:///run/containerd/containerd.sock",
    ],
)
def test_what_is_no_secret_is_shown(line):
    assert hide(line) == line


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://ada:s3cr3t@mirror.example.org/deb/", ["s3cr3t"]),
        ("https://ada@mirror.example.org/deb/", []),
        ("https://[bad", []),
        ("https://mirror.example.org:8443/a:b@c", []),
    ],
)
def test_the_password_in_an_address_is_found(address, found):
    assert passwords(address) == found


@given(st.text())
def test_hiding_twice_hides_no_more(text):
    assert hide(hide(text)) == hide(text)


def test_no_difference_shows_a_secret_of_the_users():
    before = f'[registry.configs."r".auth]\npassword = "{PLANTED}"\n'

    told = files.difference("/etc/containerd/config.toml", before, f"version = 2\n{before}")

    assert PLANTED not in str(told)
    assert told["after"].startswith("version = 2\n")


def test_no_fact_shows_a_secret_of_the_users(tmp_path):
    line = f"//nas/x /x cifs password={PLANTED} 0 0\n"
    source = "Types: deb\nURIs: https://ada:s3cr3t@download.docker.com/linux/debian\nSuites: bookworm\n"
    for path, text in {"fstab": line * 2, "apt/sources.list.d/docker.sources": source}.items():
        file = tmp_path / "etc" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    host = Host(str(tmp_path))

    swap, repositories = kernel.swap(host), packaging.repositories(host)

    assert [item["line"] for item in swap["fstab_duplicates"]] == [2]
    assert PLANTED not in str(swap)
    assert repositories[0]["uris"] == ["https://********@download.docker.com/linux/debian"]
