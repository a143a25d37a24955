# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role self_repair: which addresses of a repository tell what others must not read, and what is taken away."""

from __future__ import annotations

import pytest
from rendering import MISSING, Case, render

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

URLS = {
    "https://git.example.org/site.git": False,
    "https://git.example.org:8443/a@b/site.git": False,
    "git@git.example.org:team/site.git": False,
    "ssh://git@git.example.org:2222/site.git": False,
    "/srv/git/site.git": False,
    "": False,
    "https://user:word@git.example.org/site.git": True,
    "https://ghp_0123456789@git.example.org/site.git": True,
    "HTTPS://oauth2:p@ss@git.example.org/site.git": True,
    "ssh://git:word@git.example.org/site.git": True,
}


@pytest.fixture(scope="module")
def rendered():
    show = ("__self_repair_url_tells", "__self_repair_paths")
    return render(
        {
            url: Case(
                "self_repair", {"os": {"id": "debian", "family": "debian"}}, show, {"self_repair_repository_url": url}
            )
            for url in URLS
        }
    )


@pytest.mark.parametrize("url", URLS)
def test_a_password_or_token_in_the_address_is_seen(rendered, url):
    assert rendered[url]["__self_repair_url_tells"] is URLS[url]


def test_all_that_the_role_writes_is_taken_away(rendered):
    assert rendered[""]["__self_repair_paths"] == [
        "/etc/systemd/system/gpunode-self-repair.service",
        "/etc/systemd/system/gpunode-self-repair.timer",
        "/etc/gpunode.ready/inventory.yml",
    ]
