# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import re

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import files
from ansible_collections.gpunode.ready.plugins.module_utils.facts import kernel, packaging
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.secrecy import hide, passwords, shown
from hypothesis import given
from hypothesis import strategies as st

PLANTED = "s3cr3t-Value/x+y=="


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('  password = "{}"', '  password = "<secret removed>"'),
        ("auth = '{}'", "auth = '<secret removed>'"),
        ('{{"identitytoken": "{}", "mirrors": []}}', '{{"identitytoken": "<secret removed>", "mirrors": []}}'),
        ("Environment=REGISTRY_TOKEN={}", "Environment=REGISTRY_TOKEN=<secret removed>"),
        ("//nas/x /x cifs user=ada,password={},uid=1 0 0", "//nas/x /x cifs user=ada,password=<secret removed> 0 0"),
        ("//nas/x /x cifs user=ada,pass={} 0 0", "//nas/x /x cifs user=ada,pass=<secret removed> 0 0"),
        ("api_key: {}", "api_key: <secret removed>"),
        ('aws_secret_access_key = "{}"', 'aws_secret_access_key = "<secret removed>"'),
        ('Authorization = ["Basic {}"]', 'Authorization = ["<secret removed>"]'),
        ('"https-proxy": "http://ada:{}@proxy:3128"', '"https-proxy": "http://<credentials removed>@proxy:3128"'),
        ("deb https://ada:{}@mirror/debian x main", "deb https://<credentials removed>@mirror/debian x main"),
    ],
)
def test_a_secret_is_hidden_and_the_rest_of_its_line_is_not(line, shown):
    assert hide(line.format(PLANTED)) == shown.format()


# as people choose them, but no version or asterisks; a mount option ends at a comma, a value in quotes at its quote
SECRETS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\"'\\<>{}[]$,*"), min_size=9
).filter(lambda secret: not re.match(r"v?\d", secret))
FILES = [
    "//srv/x /mnt cifs user=u,pass={} 0 0\n",
    "LABEL=x /mnt cifs credentials=/root/x,password={}\n",
    '[plugins."c".registry.configs.r.auth]\n  password = "{}"\n',
    '[host."https://r".header]\n  Authorization = ["Basic {}"]\n',
    '[host."https://r".header]\n  Authorization = [\n    "Bearer {}",\n  ]\n',
    '{{\n  "log-opts": {{\n    "splunk-token": "{}"\n  }}\n}}\n',
    'aws_secret_access_key = "{}"\n',
    "aws_secret_access_key = {}\n",
    'Environment="HTTPS_PROXY=http://ada:{}@proxy:3128" NO_PROXY=10.0.0.0/8\n',
    "baseurl=https://ada:{}@mirror/rpm\n",
]


@given(SECRETS, st.sampled_from(FILES))
def test_no_difference_shows_what_is_planted_in_a_file(secret, file):
    text = file.format(secret)

    told = files.difference("/etc/x", f"first\n{text}", f"first\n{text}last\n")

    assert secret not in str(told.values())
    assert told["before"].startswith("first\n")
    assert told["after"].endswith("\nlast\n")


@given(SECRETS, st.sampled_from(["log-opts.splunk-token", 'configs."r".auth.password', "Authorization", "a.api_key.b"]))
def test_no_value_is_shown_that_its_name_calls_secret(secret, name):
    for value in (secret, [secret], {"x": secret}, f"Basic {secret}"):
        assert secret not in shown(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("log-opts.max-size", "100m"),
        ("crio.image.global_auth_file", "/etc/crio/auth.json"),
        ("exec-opts", ["native.cgroupdriver=systemd"]),
        ("features.token", True),
        ("registry.configs.r.auth", None),
    ],
)
def test_a_value_that_is_no_secret_is_shown(name, value):
    assert shown(name, value) == json.dumps(value)


@pytest.mark.parametrize("value", ["http://ada:{}@proxy:3128", ["splunk-token={}"], {"auth": {"password": "{}"}}])
def test_a_value_that_holds_a_secret_is_shown_without(value):
    planted = json.loads(json.dumps(value).replace("{}", PLANTED))

    assert PLANTED not in shown("proxies", planted)


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
    assert repositories[0]["uris"] == ["https://<credentials removed>@download.docker.com/linux/debian"]
