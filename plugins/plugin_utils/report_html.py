# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML page that needs nothing else: no network, no font, no image, no second file.

Rules of this file: every value passes through ``esc`` on its way into the page; there are no inline styles and no
inline handlers, so that the page's own Content-Security-Policy allows only the one style and the one script below, by
their hashes. Without the script everything is still there to read.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from typing import Any

from ..module_utils.checks.states import NODE_LAYERS
from ..module_utils.findings import Evidence
from ..module_utils.wording import count, where
from .report import NODE_STATES, headline

# Characters that no text of ours holds, and that could hide or reorder what a reader sees.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def esc(value: Any) -> str:
    """``value`` as text of the page, or of an attribute in quotes."""
    return html.escape(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True)


def prose(value: Any) -> str:
    """The same, with what stands in backticks set as code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", esc(value))


ICONS = {
    "ready": '<path d="M3.5 8.5 6.7 11.5 12.5 4.8"/>',
    "degraded": '<path d="M8 3.2v6"/><path d="M8 12.4v.1"/>',
    "failed": '<path d="m4.5 4.5 7 7m0-7-7 7"/>',
    "unreachable": '<path d="M3 3l10 10"/><circle cx="8" cy="8" r="5.2"/>',
    "unknown": '<path d="M5.9 6a2.1 2.1 0 1 1 3 1.9c-.6.3-.9.8-.9 1.5"/><path d="M8 12.4v.1"/>',
    "unused": '<path d="M4.5 8h7"/>',
}
WORDS = {
    "ready": "Ready",
    "degraded": "Degraded",
    "failed": "Failed",
    "unreachable": "Unreachable",
    "unknown": "Unknown",
    "unused": "Not used",
}
LAYER_NAMES = {"nvml": "NVML", "cdi": "CDI"}


def icon(state: str) -> str:
    return f'<svg class="i" viewBox="0 0 16 16" aria-hidden="true">{ICONS.get(state, ICONS["unknown"])}</svg>'


def layer_name(layer: str) -> str:
    return LAYER_NAMES.get(layer, layer)


def gib(amount: float) -> str:
    size = amount / (1 << 30)
    return f"{size:.0f}" if size >= 10 else f"{size:.1f}"


def meter(share: float | None, label: str) -> str:
    """A bar of which ``share`` (0 to 1) is filled; geometry, not style, so that the policy may stay strict."""
    if share is None:
        return ""
    percent = max(0.0, min(1.0, share)) * 100
    tone = " hot" if percent >= 90 else ""
    return (
        f'<svg class="bar" role="img" aria-label="{esc(label)}" viewBox="0 0 100 4" preserveAspectRatio="none">'
        f'<rect class="track" width="100" height="4"/>'
        f'<rect class="fill{tone}" width="{max(percent, 0.8):.1f}" height="4"/></svg>'
    )


# ---- the parts of a node -----------------------------------------------------------------------------------------


def layers(node: Mapping[str, Any]) -> str:
    chips = []
    for layer in NODE_LAYERS:
        state = node["layers"].get(layer)
        if state is None:
            continue
        word = WORDS.get(state, state)
        chips.append(
            f'<li class="chip {esc(state)}" title="{esc(layer_name(layer))}: {esc(word)}">{icon(state)}'
            f'<span>{esc(layer_name(layer))}</span><span class="sr">: {esc(word)}</span></li>'
        )
    if node["state"] == "unreachable" or not chips:
        return ""
    return f'<ol class="layers" aria-label="Layers, from cause to consequence">{"".join(chips)}</ol>'


def evidence(items: list[Mapping[str, Any]]) -> str:
    if not items:
        return ""
    rows = []
    for item in items:
        seen = Evidence(str(item.get("source", "")), str(item.get("text", "")), item.get("line"))
        rows.append(f"<dt>{esc(where(seen))}</dt><dd>{esc(seen.text) or '&nbsp;'}</dd>")
    return f'<dl class="evidence">{"".join(rows)}</dl>'


def commands(items: list[str], what: str) -> str:
    if not items:
        return ""
    lines = "\n".join(esc(item) for item in items)
    return (
        f'<div class="code"><pre tabindex="0" aria-label="Commands for {esc(what)}"><code>{lines}</code></pre>'
        '<button type="button" class="copy" hidden>Copy</button></div>'
    )


def remedy(finding: Mapping[str, Any]) -> str:
    mend = finding["remedy"]
    told = f'<p class="mend">{prose(mend["text"])}</p>{commands(mend["commands"], finding["id"])}'
    if mend.get("role"):
        tag = f", tag <code>{esc(mend['tag'])}</code>" if mend.get("tag") else ""
        told += f'<p class="role">Mended by the role <code>gpunode.ready.{esc(mend["role"])}</code>{tag}</p>'
    else:
        told += '<p class="role">Needs a person: no role does this for you.</p>'
    return told


def tone_of(item: Mapping[str, Any]) -> str:
    return {"fatal": "failed", "degraded": "degraded"}.get(item["severity"], "minor")


def finding(item: Mapping[str, Any], opened: bool) -> str:
    tone = tone_of(item)
    consequences = item.get("consequences") or []
    hence = ""
    if consequences:
        rows = "".join(
            '<li><span class="pill '
            f'{tone_of(other)}">{esc(other["layer"])}</span>'
            f"<div><code>{esc(other['id'])}</code><p>{prose(other['cause'])}</p></div></li>"
            for other in consequences
        )
        hence = f'<div class="hence"><h4>Explains {count(len(consequences), "more finding")}</h4><ul>{rows}</ul></div>'
    return (
        f'<details class="finding {tone}"{" open" if opened else ""}><summary>'
        f'<span class="pill {tone}">{esc(item["severity"])}</span>'
        f'<span class="head"><span class="cause">{prose(item["cause"])}</span>'
        f'<span class="id">{esc(layer_name(item["layer"]))} · <code>{esc(item["id"])}</code> · {esc(item["subject"])}'
        "</span></span></summary>"
        f'<div class="body">{evidence(item["evidence"])}{remedy(item)}{hence}</div></details>'
    )


def _figure(name: str, value: str, more: str = "") -> str:
    return f'<div class="figure"><dt>{esc(name)}</dt><dd>{value}{more}</dd></div>'


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return '<span class="none">n/a</span>'
    return f'<span class="n">{value:.0f}</span> <span class="u">{esc(unit)}</span>'


def gpu(item: Mapping[str, Any], simulated: bool) -> str:
    title = esc(item["name"])
    index = "" if item.get("index") is None else f'<span class="index">{item["index"]:.0f}</span>'
    badges = '<span class="badge simulated">simulated</span>' if simulated else ""
    condition = item.get("condition") or "ok"
    if condition != "ok":
        badges += f'<span class="badge bad">{esc(condition)}</span>'
    lines = [esc(text) for text in (item.get("uuid"), item.get("address"), item.get("architecture")) if text]
    figures = []
    used, total = item.get("memory_used_bytes"), item.get("memory_total_bytes")
    if used is not None and total:
        told = f'<span class="n">{gib(used)}</span> <span class="u">of {gib(total)} GiB</span>'
        figures.append(_figure("Memory", told, meter(used / total, f"{used / total:.0%} of memory in use")))
    draw, limit = item.get("power_draw_watts"), item.get("power_limit_watts")
    if draw is not None:
        told = f'<span class="n">{draw:.0f}</span> <span class="u">{f"of {limit:.0f} W" if limit else "W"}</span>'
        figures.append(_figure("Power", told, meter(draw / limit if limit else None, f"{draw:.0f} W")))
    if "gpu_percent" in item:
        percent = item.get("gpu_percent")
        share = None if percent is None else percent / 100
        figures.append(_figure("Utilisation", _number(percent, "%"), meter(share, "GPU utilisation")))
        figures.append(_figure("Temperature", _number(item.get("temperature_celsius"), "°C")))
        figures.append(_figure("ECC", _ecc(item)))
        figures.append(_figure("MIG", _mig(item)))
        figures.append(_figure("Processes", _number(item.get("processes"), "")))
        figures.append(_figure("Clock", _number(item.get("sm_mhz"), "MHz")))
    slowed = "".join(
        f'<span class="badge bad">{esc(name.replace("_", " "))}</span>' for name in item.get("slowed") or []
    )
    return (
        f'<li class="gpu"><h4>{index}<span>{title}</span>{badges}{slowed}</h4>'
        f'<p class="ids">{"<br>".join(f"<code>{line}</code>" for line in lines)}</p>'
        + (f'<dl class="figures">{"".join(figures)}</dl>' if figures else "")
        + "</li>"
    )


def _ecc(item: Mapping[str, Any]) -> str:
    mode = item.get("ecc")
    if mode is None:
        return '<span class="none">n/a</span>'
    if not mode:
        return "off"
    bad = item.get("ecc_uncorrected") or 0
    tone = ' class="n alarm"' if bad else ' class="n"'
    return f'<span{tone}>{bad:.0f}</span> <span class="u">uncorrected</span>'


def _mig(item: Mapping[str, Any]) -> str:
    mode = item.get("mig")
    if mode is None:
        return '<span class="none">n/a</span>'
    if not mode:
        return "off"
    instances = item.get("mig_instances") or []
    return f'<span class="n">{len(instances)}</span> <span class="u">{esc(", ".join(sorted(set(instances))))}</span>'


ABOUT = (
    ("os", "System"),
    ("kernel", "Kernel"),
    ("driver", "Driver"),
    ("cuda", "CUDA"),
    ("runtime", "Runtime"),
    ("toolkit", "Toolkit"),
    ("kubelet", "Kubelet"),
)


def node_card(node: Mapping[str, Any], number: int) -> str:
    state, about = node["state"], node["about"]
    badges = '<span class="badge simulated" title="NVML and the GPUs are simulated">simulated</span>'
    facts = "".join(f"<div><dt>{label}</dt><dd>{esc(about[key])}</dd></div>" for key, label in ABOUT if about.get(key))
    findings = node["findings"]
    grave = [item for item in findings if item["severity"] == "fatal"]
    listed = "".join(finding(item, opened=item in (grave or findings)[:1]) for item in findings)
    devices = "".join(gpu(item, node["simulated"]) for item in node["gpus"])
    counts = node["counts"]
    told = ", ".join(f"{counts[name]} {name}" for name in counts if counts[name])
    return (
        f'<article class="node {esc(state)}" data-state="{esc(state)}" aria-labelledby="node-{number}">'
        f'<header><h2 id="node-{number}"><span class="dot {esc(state)}" aria-hidden="true"></span>{esc(node["name"])}'
        f"{badges if node['simulated'] else ''}</h2>"
        f'<p class="state {esc(state)}">{icon(state)}<span>{WORDS.get(state, state)}</span></p></header>'
        + (f'<dl class="about">{facts}</dl>' if facts else "")
        + layers(node)
        + (f'<p class="reason">{esc(node["reason"])}</p>' if node["reason"] else "")
        + (f"<section><h3>Findings <small>{esc(told)}</small></h3>{listed}</section>" if findings else "")
        + (
            f'<section><h3>GPUs <small>{len(node["gpus"])}</small></h3><ul class="gpus">{devices}</ul></section>'
            if devices
            else ""
        )
        + "</article>"
    )


# ---- the page ----------------------------------------------------------------------------------------------------


def shares(summary: Mapping[str, Any]) -> str:
    """One bar of the fleet, parted by state."""
    total = summary["nodes"]
    if not total:
        return ""
    at, parts = 0.0, []
    for state in reversed(NODE_STATES):
        width = 100 * summary[state] / total
        if width:
            parts.append(
                f'<rect class="{state}" x="{at:.2f}" width="{max(width - 0.4, 0.4):.2f}" height="6" rx="0.6"/>'
            )
        at += width
    told = ", ".join(f"{summary[state]} {state}" for state in reversed(NODE_STATES) if summary[state])
    return (
        f'<svg class="fleet" role="img" aria-label="{esc(told)}" viewBox="0 0 100 6" preserveAspectRatio="none">'
        f"{''.join(parts)}</svg>"
    )


def tiles(summary: Mapping[str, Any]) -> str:
    shown = [("Nodes", summary["nodes"], "")]
    shown += [(WORDS[state], summary[state], state) for state in reversed(NODE_STATES) if summary[state]]
    shown += [("GPUs", summary["gpus"], ""), ("Fatal findings", summary["findings"]["fatal"], "")]
    return "".join(
        f'<div class="tile {tone}"><dt>{esc(label)}</dt><dd>{value}</dd></div>' for label, value, tone in shown
    )


def filters(summary: Mapping[str, Any]) -> str:
    buttons = ['<button type="button" data-filter="" aria-pressed="true">All</button>']
    for state in NODE_STATES:
        if summary[state]:
            buttons.append(
                f'<button type="button" data-filter="{state}" aria-pressed="false">{WORDS[state]} '
                f"<b>{summary[state]}</b></button>"
            )
    return "".join(buttons)


def page(report: Mapping[str, Any]) -> str:
    """The whole page."""
    summary = report["summary"]
    told = [*report["nodes"], *report["clusters"]]
    cards = "".join(node_card(node, index) for index, node in enumerate(told))
    policy = (
        f"default-src 'none'; style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    simulated = ""
    if summary["simulated"]:
        simulated = (
            f'<p class="notice"><span class="badge simulated">simulated</span> The GPUs of '
            f"{count(summary['simulated'], 'node')} are simulated: their figures are made up, the software is real.</p>"
        )
    worst = next((state for state in NODE_STATES if summary[state]), "unknown")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="gpunode.ready">
<title>{esc(headline(summary))} · {esc(report["title"])}</title>
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#nodes">Skip to the nodes</a>
<header class="top">
<div class="brand"><svg viewBox="0 0 24 24" aria-hidden="true"><rect x="4" y="4" width="16" height="16" rx="4"/><path
 d="m8.5 12.2 2.4 2.3 4.6-5"/></svg><span>{esc(report["title"])}</span></div>
<button type="button" class="theme" hidden aria-label="Switch between dark and light"><svg viewBox="0 0 16 16"
 aria-hidden="true"><path d="M8 1.8a6.2 6.2 0 1 0 0 12.4V1.8Z"/><circle cx="8" cy="8" r="6.2"/></svg></button>
</header>
<main>
<section class="hero" aria-label="Fleet">
<h1 class="{worst}">{esc(headline(summary))}</h1>
<p class="when">Looked at <time datetime="{esc(report["generated"])}">{esc(report["generated"])}</time></p>
{shares(summary)}
<dl class="tiles">{tiles(summary)}</dl>
{simulated}
</section>
<div class="tools" hidden>
<label class="sr" for="search">Search nodes, findings and GPUs</label>
<input id="search" type="search" placeholder="Search nodes, findings, GPUs" autocomplete="off"
 spellcheck="false">
<div class="filters" role="group" aria-label="Show nodes by state">{filters(summary)}</div>
<p class="shown" role="status" aria-live="polite"></p>
</div>
<div id="nodes" class="nodes">{cards}</div>
<p class="empty" hidden>No node matches.</p>
</main>
<footer><p>Made by <b>gpunode.ready</b>. Findings are listed from root cause to consequence; each is explained in
docs/diagnosis.md.</p></footer>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


STYLE = """
:root{color-scheme:light dark;--bg:#fafafb;--card:#fff;--sunk:#f5f5f7;--line:#e5e5ea;--strong:#d2d3da;--text:#15161a;
--soft:#5c606b;--accent:#3d4fd1;--ready:#0b7a48;--ready-bg:#e7f5ed;--degraded:#8a5300;--degraded-bg:#fdf2dc;
--failed:#b3231b;--failed-bg:#fdecea;--ready-fill:#1ea567;--degraded-fill:#e09a1a;--failed-fill:#e0453b;
--unreachable-fill:#8f62d6;--unreachable:#6b3fa8;--unreachable-bg:#f3ecfb;--unknown:#5c606b;
--unknown-bg:#eeeef2;--shadow:0 1px 2px rgba(16,17,22,.04),0 4px 16px rgba(16,17,22,.04);
--sans:ui-sans-serif,system-ui,-apple-system,"Segoe UI","Inter","Helvetica Neue","Noto Sans","DejaVu Sans",sans-serif;
--mono:ui-monospace,"SF Mono","JetBrains Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
:root[data-theme=light]{color-scheme:light}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){--bg:#0b0c0e;--card:#121316;--sunk:#17191d;
--line:#24262c;--strong:#363942;--text:#ecedf1;--soft:#9b9fab;--accent:#93a1ff;--ready:#4ccb8c;--ready-bg:#10281d;
--degraded:#eab04e;--degraded-bg:#2b210f;--failed:#ff857b;--failed-bg:#331614;--unreachable:#c3a3f5;
--unreachable-bg:#251a37;--unknown:#9b9fab;--unknown-bg:#1f2127;--shadow:none}}
:root[data-theme=dark]{color-scheme:dark;--bg:#0b0c0e;--card:#121316;--sunk:#17191d;--line:#24262c;--strong:#363942;
--text:#ecedf1;--soft:#9b9fab;--accent:#93a1ff;--ready:#4ccb8c;--ready-bg:#10281d;--degraded:#eab04e;
--degraded-bg:#2b210f;--failed:#ff857b;--failed-bg:#331614;--unreachable:#c3a3f5;--unreachable-bg:#251a37;
--unknown:#9b9fab;--unknown-bg:#1f2127;--shadow:none}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--text);font:400 15px/1.55 var(--sans);
font-variant-numeric:tabular-nums;-webkit-font-smoothing:antialiased;overflow-wrap:anywhere}
h1,h2,h3,h4,p,dl,dd,ul,ol,pre{margin:0;padding:0}
ul,ol{list-style:none}
code,pre{font-family:var(--mono);font-size:.92em}
button,input{font:inherit;color:inherit}
[hidden]{display:none!important}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:6px}
.sr,.skip:not(:focus){position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.skip:focus{position:fixed;top:8px;left:8px;padding:8px 12px;background:var(--card);z-index:3;color:var(--text)}
.top,main,footer{max-width:1080px;margin:0 auto;padding:0 24px}
.top{display:flex;align-items:center;justify-content:space-between;padding-top:20px}
.brand{display:flex;align-items:center;gap:9px;font-weight:560;font-size:14px;color:var(--soft)}
.brand svg{width:20px;height:20px;fill:none;stroke:currentColor;stroke-width:1.7;stroke-linecap:round;
stroke-linejoin:round}
.theme{width:34px;height:34px;border:1px solid transparent;border-radius:8px;background:none;cursor:pointer;
color:var(--soft);display:grid;place-items:center}
.theme:hover{border-color:var(--line);background:var(--card);color:var(--text)}
.theme svg{width:16px;height:16px}.theme path{fill:currentColor}
.theme circle{fill:none;stroke:currentColor;stroke-width:1.4}
.hero{padding:44px 0 28px}
h1{font-size:clamp(27px,4.6vw,40px);line-height:1.12;letter-spacing:-.025em;font-weight:640;text-wrap:balance}
.when{color:var(--soft);margin-top:8px;font-size:14px}
.fleet{display:block;width:100%;height:8px;margin:26px 0 20px;border-radius:4px;overflow:hidden}
.fleet .ready{fill:var(--ready-fill)}.fleet .degraded{fill:var(--degraded-fill)}.fleet .failed{fill:var(--failed-fill)}
.fleet .unreachable{fill:var(--unreachable-fill)}.fleet .unknown{fill:var(--unknown)}
.tiles{display:flex;flex-wrap:wrap;gap:10px 40px}
.tile dt{color:var(--soft);font-size:13px}
.tile dd{font-size:25px;line-height:1.25;font-weight:600;letter-spacing:-.02em}
.tile.ready dd{color:var(--ready)}.tile.degraded dd{color:var(--degraded)}.tile.failed dd{color:var(--failed)}
.tile.unreachable dd{color:var(--unreachable)}.tile.unknown dd{color:var(--unknown)}
.notice{margin-top:22px;padding:10px 14px;border:1px dashed var(--strong);border-radius:10px;color:var(--soft);
font-size:14px}
.tools{position:sticky;top:0;z-index:2;display:flex;flex-wrap:wrap;gap:10px;align-items:center;padding:12px 0;
background:var(--bg)}
#search{flex:1 1 240px;min-width:0;padding:8px 12px;border:1px solid var(--line);border-radius:9px;
background:var(--card)}
#search::placeholder{color:var(--soft);opacity:1}
.filters{display:flex;flex-wrap:wrap;gap:6px}
.filters button{padding:6px 11px;border:1px solid var(--line);border-radius:99px;background:var(--card);cursor:pointer;
font-size:13px;color:var(--soft)}
.filters button b{font-weight:600;color:var(--text);margin-left:3px}
.filters button:hover{border-color:var(--strong);color:var(--text)}
.filters button[aria-pressed=true]{background:var(--text);border-color:var(--text);color:var(--bg)}
.filters button[aria-pressed=true] b{color:inherit}
.shown{font-size:13px;color:var(--soft);flex-basis:100%}
.shown:empty{display:none}
.nodes{display:grid;gap:16px;padding:6px 0 40px}
.node{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:20px 22px 22px;
box-shadow:var(--shadow);min-width:0}
.node>header{display:flex;align-items:center;justify-content:space-between;gap:12px}
h2{font-size:18px;line-height:1.3;font-weight:610;letter-spacing:-.01em;display:flex;align-items:center;gap:10px;
flex-wrap:wrap;min-width:0}
.dot{width:9px;height:9px;border-radius:50%;flex:none;background:var(--unknown)}
.dot.ready{background:var(--ready-fill)}.dot.degraded{background:var(--degraded-fill)}.dot.failed{background:var(--failed-fill)}
.dot.unreachable{background:var(--unreachable-fill)}
.state{display:inline-flex;align-items:center;gap:5px;font-size:13.5px;font-weight:560;flex:none;color:var(--unknown)}
.state.ready{color:var(--ready)}.state.degraded{color:var(--degraded)}.state.failed{color:var(--failed)}
.state.unreachable{color:var(--unreachable)}
.i{width:14px;height:14px;flex:none;fill:none;stroke:currentColor;stroke-width:1.9;stroke-linecap:round;stroke-linejoin:round}
.badge{font-size:11.5px;font-weight:560;letter-spacing:.01em;padding:1px 8px;border-radius:99px;line-height:1.6;
border:1px solid currentColor}
.badge.simulated{color:var(--accent);border-style:dashed}
.badge.bad{color:var(--failed)}
.about{display:flex;flex-wrap:wrap;gap:3px 22px;margin-top:8px;font-size:13.5px}
.about div{display:flex;gap:6px;min-width:0}.about dt{color:var(--soft)}.about dd{min-width:0}
.layers{display:flex;flex-wrap:wrap;gap:6px;margin-top:16px}
.chip{display:inline-flex;align-items:center;gap:5px;padding:3px 10px 3px 8px;border-radius:99px;font-size:13px;
font-weight:520;background:var(--unknown-bg);color:var(--unknown)}
.chip.ready{background:var(--ready-bg);color:var(--ready)}
.chip.degraded{background:var(--degraded-bg);color:var(--degraded)}
.chip.failed{background:var(--failed-bg);color:var(--failed)}
.chip.unused{background:none;box-shadow:inset 0 0 0 1px var(--line);color:var(--soft)}
.reason{margin-top:14px;padding:10px 14px;border-radius:10px;background:var(--sunk);font:13px/1.6 var(--mono);
white-space:pre-wrap}
section>h3{margin:22px 0 8px;font-size:13px;font-weight:600;color:var(--soft)}
h3 small{font-weight:400;font-size:13px;margin-left:6px}
.finding{border:1px solid var(--line);border-radius:10px;margin-top:8px;background:var(--card)}
.finding>summary{display:flex;gap:12px;padding:11px 14px;cursor:pointer;list-style:none;align-items:flex-start;
border-radius:10px}
.finding>summary::-webkit-details-marker{display:none}
.finding>summary:hover{background:var(--sunk)}
.finding[open]>summary{border-radius:10px 10px 0 0}
.finding>summary::after{content:"";flex:none;width:7px;height:7px;margin:7px 3px 0 auto;
border:solid var(--soft);border-width:0 1.6px 1.6px 0;transform:rotate(45deg);transition:transform .12s}
.finding[open]>summary::after{transform:translateY(3px) rotate(-135deg)}
.pill{flex:none;font-size:12px;font-weight:580;padding:1px 8px;border-radius:6px;line-height:1.65;
background:var(--unknown-bg);color:var(--unknown)}
.finding>summary .pill{min-width:82px;text-align:center}
.pill.failed{background:var(--failed-bg);color:var(--failed)}
.pill.degraded{background:var(--degraded-bg);color:var(--degraded)}
.head{min-width:0;display:grid;gap:2px}
.cause{font-weight:500}
.id{font-size:13px;color:var(--soft)}
.body{padding:2px 14px 15px;display:grid;gap:12px;min-width:0}
.body>*{min-width:0}
.evidence{display:grid;grid-template-columns:minmax(0,auto) minmax(0,1fr);gap:2px 16px;padding:9px 12px;
border-radius:8px;background:var(--sunk);font:12.5px/1.6 var(--mono)}
.evidence dt{color:var(--soft)}.evidence dd{white-space:pre-wrap}
.mend{max-width:74ch}
.code{position:relative;border:1px solid var(--line);border-radius:8px;background:var(--sunk)}
.code pre{padding:9px 70px 9px 12px;font-size:12.5px;line-height:1.65;white-space:pre-wrap;border-radius:8px}
.code code{font-size:inherit}
.copy{position:absolute;top:6px;right:6px;padding:2px 9px;border:1px solid var(--line);border-radius:6px;
background:var(--card);font-size:12px;cursor:pointer;color:var(--soft)}
.copy:hover{color:var(--text);border-color:var(--strong)}
.role{font-size:13px;color:var(--soft)}
.hence{border-top:1px solid var(--line);padding-top:12px}
.hence h4{font-size:13px;font-weight:560;color:var(--soft);margin-bottom:6px}
.hence li{display:grid;grid-template-columns:68px minmax(0,1fr);gap:10px;padding:4px 0;font-size:13.5px;
align-items:start}
.hence .pill{justify-self:start}
.hence li div{min-width:0}.hence p{color:var(--soft)}
.gpus{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:10px}
.gpu{border:1px solid var(--line);border-radius:10px;padding:13px 15px 14px;min-width:0}
.gpu h4{display:flex;flex-wrap:wrap;align-items:center;gap:4px 8px;font-size:14.5px;font-weight:580}
.index{display:inline-grid;place-items:center;min-width:19px;height:19px;padding:0 4px;border-radius:5px;
background:var(--sunk);color:var(--soft);font-size:12px;font-weight:560}
.ids{margin-top:3px;color:var(--soft);font-size:11.5px;line-height:1.55}
.ids code{font-size:1em}
.figures{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:11px 16px;margin-top:12px}
.figure dt{font-size:12px;color:var(--soft)}
.figure dd{font-size:13.5px;line-height:1.5}
.figure .n{font-weight:580}.u,.none{color:var(--soft)}.figure .u{font-size:12px}
.alarm{color:var(--failed)}
.bar{display:block;width:100%;height:4px;margin-top:4px;border-radius:2px;overflow:hidden}
.track{fill:var(--line)}.fill{fill:var(--text);opacity:.72}.fill.hot{fill:var(--failed-fill);opacity:1}
.empty{padding:36px 0 60px;text-align:center;color:var(--soft)}
footer{padding-top:18px;padding-bottom:44px;color:var(--soft);font-size:13px}
@media (max-width:560px){.top,main,footer{padding-left:16px;padding-right:16px}.hero{padding:30px 0 18px}
.tiles{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:14px 12px}.tile dd{font-size:22px}
.node{padding:16px 15px 17px;border-radius:12px}.node>header{align-items:flex-start}
.finding>summary{padding:10px 11px;flex-wrap:wrap;gap:6px}.finding>summary .head{order:3;flex-basis:100%}
.finding>summary::after{margin-top:8px}.body{padding:2px 11px 12px}
.evidence{grid-template-columns:minmax(0,1fr);gap:0}.evidence dd{margin-bottom:6px}
.hence li{grid-template-columns:minmax(0,1fr);gap:2px}.finding>summary .pill{min-width:0}
.figures{grid-template-columns:repeat(2,minmax(0,1fr))}.tools{position:static}}
@media (prefers-reduced-motion:reduce){*{transition:none!important}}
@media print{:root,:root[data-theme=dark]{color-scheme:light;--bg:#fff;--card:#fff;--sunk:#f6f6f8;--line:#d9d9df;
--strong:#bbb;--text:#000;--soft:#444;--ready:#0b6a3f;--degraded:#7a4800;--failed:#a01d16;--unreachable:#5a3390;
--ready-bg:#e7f5ed;--degraded-bg:#fdf2dc;--failed-bg:#fdecea;--unknown-bg:#eee;--unknown:#444;--shadow:none}
body{font-size:10.5pt}.tools,.theme,.copy,.skip{display:none!important}.top,main,footer{max-width:none;padding:0}
.hero{padding:8pt 0}.node,.finding,.gpu{break-inside:avoid}.finding>summary::after{display:none}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""

SCRIPT = """
(function () {
  'use strict';
  var root = document.documentElement;
  var all = function (selector) { return Array.prototype.slice.call(document.querySelectorAll(selector)); };
  var one = function (selector) { return document.querySelector(selector); };
  var remembered = function (value) {
    try {
      if (value === undefined) { return localStorage.getItem('gpunode-theme'); }
      localStorage.setItem('gpunode-theme', value);
    } catch (error) { /* a page from a file may not remember */ }
    return null;
  };
  var wanted = remembered();
  if (wanted === 'dark' || wanted === 'light') { root.dataset.theme = wanted; }

  var theme = one('.theme');
  theme.hidden = false;
  theme.addEventListener('click', function () {
    var dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
    remembered(root.dataset.theme);
  });

  var nodes = all('.node').map(function (element) {
    return { element: element, text: element.textContent.toLowerCase() };
  });
  var search = one('#search');
  var state = '';
  var show = function () {
    var words = search.value.toLowerCase().split(' ').filter(Boolean);
    var shown = 0;
    nodes.forEach(function (node) {
      var fits = (!state || node.element.dataset.state === state) &&
        words.every(function (word) { return node.text.indexOf(word) >= 0; });
      node.element.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    one('.shown').textContent = shown === nodes.length ? '' : shown + ' of ' + nodes.length + ' nodes shown';
    one('.empty').hidden = shown > 0 || nodes.length === 0;
  };
  one('.tools').hidden = nodes.length < 2;
  search.addEventListener('input', show);
  all('.filters button').forEach(function (button) {
    button.addEventListener('click', function () {
      state = button.dataset.filter;
      all('.filters button').forEach(function (other) {
        other.setAttribute('aria-pressed', String(other === button));
      });
      show();
    });
  });
  document.addEventListener('keydown', function (event) {
    if (event.key === '/' && document.activeElement !== search && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      search.focus();
    } else if (event.key === 'Escape' && document.activeElement === search) {
      search.value = '';
      show();
    }
  });

  var copied = function (button) {
    button.textContent = 'Copied';
    setTimeout(function () { button.textContent = 'Copy'; }, 1500);
  };
  all('.code').forEach(function (block) {
    var button = block.querySelector('.copy');
    button.hidden = false;
    button.addEventListener('click', function () {
      var code = block.querySelector('code');
      var select = function () {
        var range = document.createRange();
        range.selectNodeContents(code);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        if (document.execCommand('copy')) { copied(button); }
      };
      if (navigator.clipboard && isSecureContext) {
        navigator.clipboard.writeText(code.textContent).then(function () { copied(button); }, select);
      } else {
        select();
      }
    });
  });

  var opened = [];
  addEventListener('beforeprint', function () {
    opened = all('details:not([open])');
    opened.forEach(function (item) { item.open = true; });
  });
  addEventListener('afterprint', function () {
    opened.forEach(function (item) { item.open = false; });
  });

  all('time').forEach(function (item) {
    var when = new Date(item.dateTime);
    if (!isNaN(when)) {
      item.title = item.dateTime;
      item.textContent = when.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
    }
  });
})();
"""
