# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.runtime_files import (
    read_containerd,
    read_crio,
    read_docker,
    service,
)
from hypothesis import given, settings
from hypothesis import strategies as st

DATA = Path(__file__).parents[1] / "data" / "containerd"


@pytest.fixture
def node(tmp_path):
    def put(files: dict[str, str]) -> Host:
        for path, text in files.items():
            where = tmp_path / path.lstrip("/")
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_text(text)
        return Host(str(tmp_path))

    return put


def told(said):
    return said.value, said.source


# CRI-O

CRIO_UNIT = """\
[Service]
EnvironmentFile=-/etc/default/crio
ExecStart=/usr/bin/crio $CRIO_CONFIG_OPTIONS $CRIO_RUNTIME_OPTIONS
"""
MANAGER = '[crio.runtime]\ncgroup_manager = "{}"\n'


@pytest.mark.parametrize(
    ("files", "value", "source"),
    [
        ({}, "systemd", "default"),
        ({"/etc/crio/crio.conf": MANAGER.format("cgroupfs")}, "cgroupfs", "/etc/crio/crio.conf:2"),
        (
            {
                "/etc/crio/crio.conf": MANAGER.format("cgroupfs"),
                "/etc/crio/crio.conf.d/00-x": MANAGER.format("systemd"),
            },
            "systemd",
            "/etc/crio/crio.conf.d/00-x:2",
        ),
        (  # every file, whatever its name; folders in their place of the order
            {
                "/etc/crio/crio.conf.d/10-a.conf": MANAGER.format("cgroupfs"),
                "/etc/crio/crio.conf.d/20-b/z.toml": MANAGER.format("systemd"),
                "/etc/crio/crio.conf.d/15.bak": MANAGER.format("cgroupfs"),
            },
            "systemd",
            "/etc/crio/crio.conf.d/20-b/z.toml:2",
        ),
        (
            {
                "/etc/crio/crio.conf.d/10-a.conf": MANAGER.format("systemd"),
                "/usr/lib/systemd/system/crio.service": CRIO_UNIT,
                "/etc/default/crio": "# options\nCRIO_RUNTIME_OPTIONS=--cgroup-manager=cgroupfs\n",
            },
            "cgroupfs",
            "/etc/default/crio:2",
        ),
        (
            {
                "/usr/lib/systemd/system/crio.service": CRIO_UNIT,
                "/etc/systemd/system/crio.service.d/10.conf": "[Service]\n"
                "Environment=CONTAINER_CGROUP_MANAGER=cgroupfs\n",
            },
            "cgroupfs",
            "/etc/systemd/system/crio.service.d/10.conf:2",
        ),
        (
            {
                "/usr/lib/systemd/system/crio.service": CRIO_UNIT,
                "/etc/default/crio": "CRIO_CONFIG_OPTIONS='-d /srv/crio'\n",
                "/srv/crio/1.conf": MANAGER.format("cgroupfs"),
                "/etc/crio/crio.conf.d/10-a.conf": MANAGER.format("systemd"),
            },
            "cgroupfs",
            "/srv/crio/1.conf:2",
        ),
    ],
)
def test_crio_follows_the_precedence_of_crio_itself(node, files, value, source):
    config = read_crio(node(files))

    assert told(config.get("runtime", "cgroup_manager")) == (value, source)
    assert config.problem is None


NVIDIA = "[crio.runtime.runtimes.nvidia]\n"


def test_a_later_file_replaces_the_whole_handler(node):
    host = node(
        {
            "/etc/crio/crio.conf.d/10.conf": f'{NVIDIA}runtime_path = "/a"\nmonitor_path = "/b"\n',
            "/etc/crio/crio.conf.d/20.conf": f'\n{NVIDIA}runtime_path = "/c"\n',
        }
    )

    table, path, line = read_crio(host).handlers["nvidia"]

    assert table == {"runtime_path": "/c"}
    assert (path, line) == ("/etc/crio/crio.conf.d/20.conf", 2)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[crio.runtime]\nlog_level = info\n", 2, "info is no value"),
        ('[crio.runtime]\ndefault_runtime = "nvidia"\n', 2, "no runtime entry table [crio.runtime.runtimes.nvidia]"),
        ('[crio.runtime]\ncgroup_manager = "cgroup"\n', 2, "invalid cgroup manager: cgroup"),
        ("[crio.runtime]\ncgroup_manager = 1\n", 2, "cgroup_manager must be a string"),
        ('[crio.runtime]\nconmon_cgroup = "x"\n', 2, "should be 'pod' or a systemd slice"),
        ('[crio.runtime]\ncgroup_manager = "cgroupfs"\nconmon_cgroup = "x.slice"\n', 3, "should be 'pod' or empty"),
    ],
)
def test_what_crio_refuses_is_told_with_its_line(node, text, line, words):
    problem = read_crio(node({"/etc/crio/crio.conf.d/99-nvidia.toml": text})).problem

    assert (problem["path"], problem["line"]) == ("/etc/crio/crio.conf.d/99-nvidia.toml", line)
    assert words in problem["text"]


@pytest.mark.parametrize(("version", "handler"), [("1.30.4", "runc"), ("1.31.0", "crun"), (None, "crun")])
def test_the_default_handler_depends_on_the_version(node, version, handler):
    assert read_crio(node({}), version).default_handler == handler


# containerd

V2 = 'plugins."io.containerd.grpc.v1.cri"'
V3 = "plugins.'io.containerd.cri.v1.runtime'"


def handler(section: str, name: str, systemd: str) -> str:
    return (
        f"[{section}.containerd.runtimes.{name}]\nruntime_type = 'io.containerd.runc.v2'\n"
        f"[{section}.containerd.runtimes.{name}.options]\nSystemdCgroup = {systemd}\n"
    )


def test_the_default_of_a_real_containerd_is_read(node):
    config = read_containerd(
        node({"/etc/containerd/config.toml": (DATA / "1.6.20-default.toml").read_text()}), "1.6.20"
    )

    assert config.problem is None
    assert list(config.handlers()) == ["runc"]
    assert config.default_handler.value == "runc"
    assert told(config.cgroup_driver("runc")) == ("cgroupfs", "/etc/containerd/config.toml:125")
    assert config.sandbox_image().value == "registry.k8s.io/pause:3.6"
    assert config.socket().value == "/run/containerd/containerd.sock"
    assert config.cri_enabled


def test_the_file_that_debian_ships_leaves_the_default_handler(node):
    config = read_containerd(node({"/etc/containerd/config.toml": (DATA / "1.6.20-debian.toml").read_text()}), "1.6.20")

    assert list(config.handlers()) == ["runc"]
    assert told(config.get("cni", "bin_dir"))[0] == "/usr/lib/cni"


DROP_IN = "/etc/containerd/conf.d/99-nvidia.toml"


def test_version_3_with_a_drop_in_is_merged_deeply(node):
    host = node(
        {
            "/etc/containerd/config.toml": (DATA / "2.1-version3.toml").read_text(),
            DROP_IN: "version = 3\n" + handler(V3, "nvidia", "true"),
        }
    )

    config = read_containerd(host, "2.1.0")

    assert sorted(config.handlers()) == ["nvidia", "runc"]
    assert told(config.cgroup_driver("nvidia")) == ("systemd", f"{DROP_IN}:5")
    assert config.cgroup_driver("runc").value == "systemd"
    assert config.sandbox_image().value == "registry.k8s.io/pause:3.10"


ROOT_V2 = "version = 2\nimports = ['conf.d/*.toml']\n" + handler(V2, "runc", "true")


def test_1_7_replaces_the_whole_plugin_by_a_drop_in(node):
    host = node({"/etc/containerd/config.toml": ROOT_V2, DROP_IN: "version = 2\n" + handler(V2, "nvidia", "true")})

    config = read_containerd(host, "1.7.24")

    assert list(config.handlers()) == ["nvidia"]
    assert "no corresponding runtime configured" in config.problem["text"]
    assert config.problem["path"] == DROP_IN


def test_2_0_merges_a_drop_in_of_version_2(node):
    host = node({"/etc/containerd/config.toml": ROOT_V2, DROP_IN: "version = 2\n" + handler(V2, "nvidia", "false")})

    config = read_containerd(host, "2.0.2")

    assert sorted(config.handlers()) == ["nvidia", "runc"]
    assert (config.cgroup_driver("runc").value, config.cgroup_driver("nvidia").value) == ("systemd", "cgroupfs")
    assert config.reporting_handler() == "runc"


@pytest.mark.parametrize(
    ("version", "root", "drop_in", "path", "line", "words"),
    [
        ("2.1.0", "version = 3\n[plugins\n", "", "/etc/containerd/config.toml", 2, "expected ']'"),
        ("1.7.24", ROOT_V2, "a = \n", DROP_IN, 1, "expected a value"),
        ("2.3.4", ROOT_V2, "\nversion = 3\n", DROP_IN, 2, "drop-in config version 3 higher than root config version 2"),
        ("1.7.24", "version = 3\n", "", "/etc/containerd/config.toml", 1, "equal to or less"),
        ("1.7.24", "imports = [\n'/none.toml']\n", "", "/etc/containerd/config.toml", 2, "/none.toml: no such file"),
        ("1.7.24", f'[{V2}.containerd]\ndefault_runtime_name = "x"\n', "", "/etc/containerd/config.toml", 2, '= "x"'),
    ],
)
def test_what_containerd_refuses_is_told_with_file_and_line(node, version, root, drop_in, path, line, words):
    words = words.replace("equal to or less", "expected containerd config version `2`, got `3`")

    problem = read_containerd(node({"/etc/containerd/config.toml": root, DROP_IN: drop_in}), version).problem

    assert (problem["path"], problem["line"]) == (path, line)
    assert words in problem["text"]


def test_a_pattern_that_matches_nothing_is_no_fault_and_imports_may_go_in_circles(node):
    host = node({"/etc/containerd/config.toml": "imports = ['/none/*.toml', '/etc/containerd/config.toml']\n"})

    assert read_containerd(host, "2.1.0").problem is None


@pytest.mark.parametrize("version", ["1.7.24", "2.1.0"])
def test_the_cri_plugin_can_be_disabled(node, version):
    config = read_containerd(node({"/etc/containerd/config.toml": 'disabled_plugins = ["cri"]\n'}), version)

    assert not config.cri_enabled
    assert config.disabled_plugins().line == 1


def test_a_flag_of_the_unit_names_another_file(node):
    host = node(
        {
            "/lib/systemd/system/containerd.service": "[Service]\n"
            "ExecStart=/usr/bin/containerd -c /srv/c.toml -a /srv/s\n",
            "/srv/c.toml": "version = 2\n" + handler(V2, "runc", "true"),
        }
    )

    config = read_containerd(host, "1.7.24")

    assert told(config.cgroup_driver("runc")) == ("systemd", "/srv/c.toml:5")
    assert config.socket().value == "/srv/s"


# Docker


@pytest.mark.parametrize(
    ("files", "places"),
    [
        ({}, []),
        (
            {"/etc/docker/daemon.json": '{\n "exec-opts": ["native.cgroupdriver=systemd"]\n}'},
            [("systemd", "/etc/docker/daemon.json:2")],
        ),
        (
            {
                "/lib/systemd/system/docker.service": "[Service]\nExecStart=/usr/bin/dockerd -H fd:// \\\n"
                "  --exec-opt native.cgroupdriver=cgroupfs\n"
            },
            [("cgroupfs", "/lib/systemd/system/docker.service:2")],
        ),
    ],
)
def test_docker_is_told_its_driver_by_file_or_flag(node, files, places):
    config = read_docker(node(files))

    assert [told(said) for said in config.cgroup_places()] == places
    assert config.problem is None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{\n "runtimes": {\n  "nvidia": {"path": "x",}\n }\n}', 3, "Expecting property name"),
        ("[]", 1, "one JSON object"),
        ('{\n\n"exec-opts": []}', 3, "both as a flag"),
    ],
)
def test_what_docker_refuses_is_told_with_its_line(node, text, line, words):
    unit = "[Service]\nExecStart=/usr/bin/dockerd --exec-opt native.cgroupdriver=cgroupfs\n"

    problem = read_docker(node({"/etc/docker/daemon.json": text, "/lib/systemd/system/docker.service": unit})).problem

    assert (problem["path"], problem["line"]) == ("/etc/docker/daemon.json", line)
    assert words in problem["text"]


def test_flags_are_found_in_each_of_their_forms(node):
    unit = "[Service]\nExecStart=/usr/bin/x --config=/a -c /b --other --config /d -c=/e --config\n"
    own = service(node({"/etc/systemd/system/x.service": unit}), "x.service")

    assert [said.value for said in own.flags("--config", "-c")] == ["/a", "/b", "/d", "/e"]


# No text makes a reader raise

VALUES = ["1", '"x"', "[]", '["x", 1]', "{}", "true", "1979-05-27", '{ x = "y" }']
KEYS = [
    *(
        "version",
        "imports",
        "disabled_plugins",
        "grpc",
        "grpc.address",
        "plugins",
        "plugins.cri",
        "crio",
        "crio.runtime",
    ),
    *(f"{V2}.containerd.runtimes", f"{V2}.containerd.runtimes.runc", f"{V3}.containerd.default_runtime_name"),
    *(f"{V3}.containerd.runtimes.a.options", f"{V3}.cdi_spec_dirs", f"{V2}.sandbox_image", f"{V3}.cni.conf_dir"),
    *(
        "crio.runtime.runtimes",
        "crio.runtime.runtimes.crun",
        "crio.runtime.runtimes.crun.runtime_path",
        "crio.api.listen",
    ),
    *("crio.runtime.default_runtime", "crio.runtime.conmon", "crio.runtime.conmon_cgroup", "crio.network.network_dir"),
]
ODD = st.lists(st.builds("{} = {}".format, st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=5).map("\n".join)


@settings(max_examples=150, deadline=None)
@given(st.one_of(ODD, st.text()), st.sampled_from([None, "1.6.20", "1.7.24", "2.1.0", "2.3.4"]))
def test_no_configuration_makes_a_collector_raise(text, version):
    from ansible_collections.gpunode.ready.plugins.module_utils.facts import containers

    with tempfile.TemporaryDirectory() as folder:
        for path in ("etc/crio/crio.conf", "etc/containerd/config.toml", "etc/docker/daemon.json"):
            where = Path(folder, path)
            where.parent.mkdir(parents=True)
            where.write_text(text, encoding="utf-8", errors="replace")
        for name in ("crio", "containerd", "dockerd"):
            where = Path(folder, "usr/bin", name)
            where.parent.mkdir(parents=True, exist_ok=True)
            where.touch(0o755)

        facts = containers.runtimes(Host(folder))
        cgroups = containers.cgroups(Host(folder))

        assert set(facts) == {"crio", "containerd", "docker", "k3s"}
        assert cgroups["value"] == "cgroupfs"
        read_containerd(Host(folder), version).cgroup_driver("a")
