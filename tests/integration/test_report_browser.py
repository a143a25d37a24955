# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML report in a real browser: it renders, asks nobody for anything, complains of nothing, fits a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html import escape, unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.gpunode.ready.plugins.module_utils.checks.all import CHECKS  # noqa: E402 - needs the path
from ansible_collections.gpunode.ready.plugins.module_utils.checks.catalogue import judge_node  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.checks.states import layer_states  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.expect import expectations  # noqa: E402
from ansible_collections.gpunode.ready.plugins.plugin_utils.report import report  # noqa: E402
from ansible_collections.gpunode.ready.plugins.plugin_utils.report_html import page  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not BROWSER, reason="no Chromium: apt-get install chromium"),
]

HEALTHY = json.loads((ROOT / "tests/unit/data/facts/healthy.json").read_text())
LONG = "a" * 300
# Measures the page from inside, in a frame: Chromium's own window is never narrower than 500 pixels. The page's policy
# would refuse the probe, so the copy in the frame has none.
PROBE = """<script>addEventListener('load', function () {
  var wide = [].filter.call(document.querySelectorAll('body *'), function (e) {
    return e.getBoundingClientRect().right > innerWidth + 1 && getComputedStyle(e).position !== 'absolute'; });
  parent.document.documentElement.dataset.probe = JSON.stringify({
    inner: innerWidth,
    scroll: document.documentElement.scrollWidth,
    wide: wide.slice(0, 5).map(function (e) { return e.className || e.tagName; }),
    copies: document.querySelectorAll('.copy:not([hidden])').length,
    background: getComputedStyle(document.body).backgroundColor });
});</script>"""


def answer(host, **parts):
    facts = {**HEALTHY, **parts}
    expect = expectations({})
    findings = judge_node(CHECKS, facts, expect)
    plain = [item.as_dict() for item in findings]
    return {
        "host": host,
        "result": {"findings": plain, "states": layer_states(facts, findings, expect), "facts": facts},
    }


def fleet():
    live = [{"path": f"/{LONG}", "type": "file", "size_bytes": 1 << 31, "used_bytes": 0}]
    return [
        answer("gpu-1"),
        answer("gpu-2", swap={**HEALTHY["swap"], "live": live}),
        answer("lab-1", nvml={**HEALTHY["nvml"], "simulated": True}),
        {"host": LONG, "result": {"unreachable": True, "msg": LONG}},
    ]


@pytest.fixture
def html():
    return page(report(fleet(), "2026-11-21T09:40:00Z"))


def browse(tmp_path, html, *flags):
    """(DOM after the scripts ran, what the browser logged) of a page."""
    file = tmp_path / "report.html"
    file.write_text(html)
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            *flags,
            "--dump-dom",
            f"file://{file}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def probed(tmp_path, page_text, width, *flags):
    """What the probe measured in a window of this width."""
    copy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page_text)
    copy = escape(copy.replace("</body>", f"{PROBE}</body>"), quote=True)
    frame = f'<!doctype html><iframe width="{width}" height="900" frameborder="0" srcdoc="{copy}"></iframe>'
    dom, _log = browse(tmp_path, frame, *flags)
    found = re.search(r'data-probe="([^"]*)"', dom)
    assert found, dom[:500]
    return json.loads(unescape(found.group(1)))


def test_the_page_renders_and_its_script_runs_under_its_own_policy(tmp_path, html):
    dom, log = browse(tmp_path, html)

    assert dom.count('<article class="node') == 4
    assert re.search(r'<div class="tools">', dom), "the script shows the tools, so it ran"
    assert "CONSOLE" not in log, log


def test_the_page_asks_nobody_for_anything(tmp_path, html):
    netlog = tmp_path / "net.json"

    browse(tmp_path, html, f"--log-net-log={netlog}")

    asked = re.findall(r'"url":"((?:https?|wss?|ftp):[^"]*)"', netlog.read_text())
    # Chromium itself may look for its own updates; a page of ours would be the initiator of what it asks for.
    assert [url for url in asked if "google" not in url and "gvt1" not in url] == []


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_window(tmp_path, html, width):
    seen = probed(tmp_path, html, width)

    assert seen["inner"] == width
    assert seen["scroll"] <= width
    assert seen["wide"] == []
    assert seen["copies"] > 0


def test_it_is_dark_where_the_reader_is(tmp_path, html):
    light = probed(tmp_path / "light", html, 1280, "--blink-settings=preferredColorScheme=1")
    dark = probed(tmp_path / "dark", html, 1280, "--blink-settings=preferredColorScheme=0")

    assert light["background"] == "rgb(250, 250, 251)"
    assert dark["background"] == "rgb(11, 12, 14)"


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for name in ("light", "dark"):
        (tmp_path / name).mkdir()
