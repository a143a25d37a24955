# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import random

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import k3s_templates as core

BASE = '{{ template "base" . }}\n'
V2 = 'plugins."io.containerd.grpc.v1.cri"'
V3 = "plugins.'io.containerd.cri.v1.runtime'"
CNI = f'[{V2}.cni]\n  bin_dir = "{{{{ .NodeConfig.AgentConfig.CNIBinDir }}}}"\n  conf_dir = "/x"\n'
RUNC = f'[{V2}.containerd.runtimes.runc]\n  runtime_type = "io.containerd.runc.v2"\n'


def reasons(text, name=core.V2, **how):
    (judged,) = core.judge({name: text}, True, **how)
    return judged.reasons


@pytest.mark.parametrize(
    ("name", "text", "found", "told"),
    [
        (core.V2, "version = 2\n" + RUNC, (), "no bin_dir (or bin_dirs) and no conf_dir"),
        (core.V2, "version = 2\n" + RUNC, (), "`cni plugin not initialized`"),
        (core.V2, "version = 2\n" + CNI, (), "declares no handler runc"),
        (core.V2, BASE + RUNC, (), "line 2: it declares"),
        (core.V2, BASE + RUNC, (), "`table runc already exists`"),
        (core.V2, BASE + f"[{V2}.containerd.runtimes.nvidia]\n", ("nvidia",), "k3s has found nvidia on this node"),
        (
            core.V3,
            BASE + f'[{V3}.containerd.runtimes."nvidia".options]\n',
            ("nvidia",),
            "`table options already exists`",
        ),
        (core.V3, BASE + f"[{V3}.containerd.runtimes.a]\n[{V3}.containerd.runtimes.a]\n", (), "line 2 does already"),
        (core.V3, '{{ template "base.tmpl" . }}\n', (), 'k3s has only "base"'),
        (core.V3, BASE + "{{ if .X }}\n", (), "has no `end`"),
        (core.V3, BASE + "{{ end }}\n", (), "line 2: `end` closes nothing"),
        (core.V3, BASE + "{{ if .X \n", (), "line 2: `{{` without its other half"),
        (core.V3, BASE + f"[{V3}.cni]\n", (), "`table cni already exists`"),
        (core.V3, BASE + "[plugins.'io.containerd.cri.v1.images'.registry]\n", (), "`table registry already exists`"),
        (core.V2, "[plugins\n", (), "line 1: it is no TOML"),
        (
            core.V2,
            RUNC + f'[{V2}.cni]\n  bin_dir = "/var/lib/rancher/k3s/data/{"a" * 64}/bin"\n  conf_dir = "/x"\n',
            (),
            "a folder of one release of k3s",
        ),
    ],
)
def test_what_would_break_is_told_with_its_reason(name, text, found, told):
    assert any(told in reason for reason in reasons(text, name, found=found))


@pytest.mark.parametrize(
    ("name", "text", "how"),
    [
        (core.V3, BASE, {}),
        (core.V3, BASE + f"[{V3}.containerd.runtimes.kata]\n", {"found": ("nvidia",)}),
        (core.V3, BASE + f"[{V3}.containerd.runtimes.nvidia]\n", {}),
        (core.V2, "version = 2\n" + CNI + RUNC, {}),
        (core.V2, "version = 2\n" + RUNC, {"flannel": False}),
        # where k3s brings no pod network, its own configuration has no part on CNI
        (core.V3, BASE + f"[{V3}.cni]\n", {"flannel": False}),
        (core.V3, BASE + '{{ define "own" }}{{ end }}\n{{ template "own" . }}\n', {}),
        # judged only without its conditions, which may never be both true
        (core.V3, BASE + "{{ if .A }}\n" + f"[{V3}.containerd.runtimes.runc]\n" + "{{ end }}\n", {}),
    ],
)
def test_what_works_is_left_alone(name, text, how):
    assert reasons(text, name, **how) == ()


@pytest.mark.parametrize(
    ("version_3", "in_force"), [(True, {core.V3: True, core.V2: False}), (False, {core.V3: False, core.V2: True})]
)
def test_only_the_template_that_k3s_takes_is_judged(version_3, in_force):
    broken = "version = 2\n"

    judged = core.judge({core.V2: broken, core.V3: broken}, version_3)

    assert {item.name: item.in_force for item in judged} == in_force
    assert {item.name: item.broken for item in judged} == in_force


@pytest.mark.parametrize(
    ("minor", "patch", "known"),
    [(30, 14, False), (31, 5, False), (31, 6, True), (32, 1, False), (32, 2, True), (33, 0, True), (36, 4, True)],
)
def test_containerd_2_came_with_these_releases(minor, patch, known):
    assert core.knows_version_3(minor, patch) is known


def test_no_text_makes_it_raise():
    parts = [
        "{{",
        "}}",
        "[",
        "]",
        '"',
        "'",
        "\n",
        " if ",
        "end",
        'template "base" .',
        "plugins",
        "=",
        ".",
        "x",
        "\\",
        "#",
    ]
    chooser = random.Random(1)

    for _attempt in range(3000):
        text = "".join(chooser.choice(parts) for _part in range(chooser.randrange(24)))

        assert len(core.judge({core.V2: text}, True, ("nvidia",))) == 1
