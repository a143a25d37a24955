# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the configuration files of CRI-O, containerd and Docker should say. The texts are those the packages ship."""

from __future__ import annotations

import contextlib
import json

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import runtime_config as core
from ansible_collections.gpunode.ready.plugins.module_utils.toml import TomlError, loads
from hypothesis import given
from hypothesis import strategies as st

# /etc/containerd/config.toml of Debian 12's containerd 1.6.20~ds1-1+deb12u3
DEBIAN = """version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""

# the lines in force of Docker's containerd.io package
DOCKER_COM = '#   Copyright 2018-2022 Docker Inc.\n\ndisabled_plugins = ["cri"]\n\n#root = "/var/lib/containerd"\n'

# /etc/crio/crio.conf.d/10-crio.conf of the upstream package
CRIO = """[crio.image]
signature_policy = "/etc/crio/policy.json"

[crio.runtime]
default_runtime = "crun"

[crio.runtime.runtimes.crun]
runtime_path = "/usr/libexec/crio/crun"
runtime_root = "/run/crun"
monitor_path = "/usr/libexec/crio/conmon"
allowed_annotations = ["io.containers.trace-syscall"]

[crio.runtime.runtimes.runc]
runtime_path = "/usr/libexec/crio/runc"
runtime_root = "/run/runc"
monitor_path = "/usr/libexec/crio/conmon"
"""

RUNC = ("containerd", "runtimes", "runc", "options", "SystemdCgroup")
NVIDIA = {"name": "nvidia", "path": "/usr/bin/nvidia-container-runtime", "default": False}
DROP_IN = "/etc/containerd/conf.d/20-gpunode.toml"
JSON = "/etc/docker/daemon.json"


def piece(containerd=(), **settings):
    return core.Piece(DROP_IN, core.cri_table(settings, containerd))


# --- TOML ------------------------------------------------------------------------------------------------------------

PLAIN = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20))
TREES = st.recursive(
    st.dictionaries(st.text(max_size=8), PLAIN | st.lists(PLAIN, max_size=3), max_size=4),
    lambda inner: st.dictionaries(st.text(max_size=8), PLAIN | inner | st.lists(inner, max_size=2), max_size=4),
    max_leaves=12,
)


@given(TREES)
def test_what_is_written_as_toml_reads_back_as_it_was(tree):
    text = core.toml_text(tree)

    assert loads(text) == json.loads(json.dumps(tree))


def test_tables_in_lists_become_arrays_of_tables():
    tree = {"registry": [{"prefix": "docker.io", "mirror": [{"location": "a"}, {"location": "b"}]}]}

    text = core.toml_text(tree, core.HEADER)

    assert "[[registry]]" in text
    assert text.count("[[registry.mirror]]") == 2
    assert loads(text) == tree


@given(TREES, TREES)
def test_setting_values_gives_the_merged_tree_whatever_was_there(old, new):
    text = core.toml_text(old)

    after, _by_key = core.set_in_toml(text, new)

    assert loads(after) == json.loads(json.dumps(core.merged(old, new)))


@given(TREES)
def test_setting_what_is_there_already_changes_not_one_byte(tree):
    text = core.toml_text(tree)

    assert core.set_in_toml(text, tree) == (text, True)


@given(st.text())
def test_no_text_makes_the_edit_raise_anything_but_a_toml_error(text):
    with contextlib.suppress(TomlError):
        core.set_in_toml(text, {"a": {"b": 1}})


def test_comments_order_and_indentation_survive_an_edit():
    text = '# mine\nversion = 2\n\n[plugins]\n  # keep\n  [plugins."x.y"]\n    a = 1  # old\n    b = 2\n'

    after, _by_key = core.set_in_toml(text, {"plugins": {"x.y": {"a": 5, "c": "new"}}})

    assert (
        after == '# mine\nversion = 2\n\n[plugins]\n  # keep\n  [plugins."x.y"]\n    c = "new"\n    a = 5\n    b = 2\n'
    )


def test_a_list_over_many_lines_is_replaced_whole():
    text = 'imports = [\n  "/a",  # one\n  "/b",\n]\n# after\n[x]\ny = 1\n'

    after, _by_key = core.set_in_toml(text, {"imports": ["/a", "/c"]})

    assert after == 'imports = ["/a", "/c"]\n# after\n[x]\ny = 1\n'


@given(TREES, TREES)
def test_every_line_end_stays_as_it_is(old, new):
    text = core.toml_text(old).replace("\n", "\r\n")

    after, _by_key = core.set_in_toml(text, new)

    assert not text or after.count("\n") == after.count("\r\n")
    assert loads(after) == json.loads(json.dumps(core.merged(old, new)))


def test_an_edit_of_a_file_with_other_line_ends_touches_one_line():
    text = "version = 2\r\n# mine\u2028\n[plugins]\r\n  [plugins.a]\r\n    b = [\r\n      1,\r\n    ]\r\n    c = 1"

    after, by_key = core.set_in_toml(text, {"plugins": {"a": {"b": [2]}}})

    assert by_key
    assert after == "version = 2\r\n# mine\u2028\n[plugins]\r\n  [plugins.a]\r\n    b = [2]\r\n    c = 1\r\n"


def test_a_value_with_quotes_and_newlines_stays_one_value():
    nasty = 'x"\n[plugins]\ny = "$(reboot)\\'

    assert loads(core.toml_text({"a": {"b": nasty}})) == {"a": {"b": nasty}}


# --- what is told ----------------------------------------------------------------------------------------------------

SECRET = "OLD-SECRET-1"


@pytest.mark.parametrize("place", ["must", "may"])
def test_no_sentence_about_daemon_json_shows_a_secret(place):
    text = json.dumps({"log-opts": {"splunk-token": SECRET, "labels": "a"}, "proxies": f"http://ada:{SECRET}@proxy"})
    wanted = {"log-opts": {"splunk-token": "NEW-SECRET-2", "labels": "b"}, "proxies": "http://ada:NEW-SECRET-2@proxy"}

    plan = core.merge_json(JSON, text, *((wanted, {}) if place == "must" else ({}, wanted)), {}, {})

    told = str(plan.conflicts + plan.kept)
    assert "splunk-token" in told
    assert '"b"' in told
    assert "SECRET" not in told


def test_a_file_that_loses_its_comments_is_told():
    text = f'# mine\nversion = 2\nplugins = {{"{core.CRI}" = {{sandbox_image = "x"}}}}\n'
    pieces = [piece((1, 6, 20), cgroup_driver="systemd")]

    first = core.plan_containerd(text, pieces, (1, 6, 20), (), {})
    second = core.plan_containerd(first.files[core.CONTAINERD_ROOT], pieces, (1, 6, 20), (), first.memory)

    assert "# mine" not in first.files[core.CONTAINERD_ROOT]
    assert ["without its comments" in told for told in first.conflicts] == [True]
    assert second.conflicts == ()


def test_no_sentence_about_containerd_shows_a_secret():
    auth = {"plugins": {core.CRI: {"registry": {"configs": {"r": {"auth": {"password": "NEW-SECRET-2"}}}}}}}
    text = core.toml_text({"version": 2, **json.loads(json.dumps(auth).replace("NEW-SECRET-2", SECRET))})

    plan = core.plan_containerd(text, [core.Piece(DROP_IN, {}, auth)], (1, 6, 20), (), {})
    override = core.Override("plugins.auth.password", "NEW-SECRET-2", SECRET).told()

    assert "auth.password" in plan.conflicts[0]
    assert "SECRET" not in plan.conflicts[0] + override


@pytest.mark.parametrize(
    "mirror", ["https://robot:{}@mirror.example.org", "robot:{}@mirror.example.org", "ftp://r:{}@m"]
)
def test_what_is_no_mirror_is_named_without_its_password(mirror):
    with pytest.raises(core.ConfigError, match=r"is no mirror of docker\.io") as raised:
        core.mirror_files("containerd", {"docker.io": [mirror.format(SECRET)]})

    assert SECRET not in str(raised.value)


# --- containerd ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "version", "native", "apart"),
    [
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", (1, 6, 20), 2, False),
        ("containerd containerd.io 1.7.28 b98a3aa", (1, 7, 28), 2, False),
        ("containerd github.com/containerd/containerd/v2 v2.0.5 fb4c30d", (2, 0, 5), 3, False),
        ("containerd github.com/containerd/containerd/v2 v2.2.1 abc", (2, 2, 1), 3, True),
        ("containerd github.com/containerd/containerd/v2 v2.3.4 abc", (2, 3, 4), 4, True),
    ],
)
def test_the_version_decides_how_containerd_is_told(said, version, native, apart):
    found = core.version_of(said)

    assert (found, core.native_version(found), core.merges_drop_ins(found)) == (version, native, apart)


def test_an_old_containerd_gets_all_of_it_in_config_toml_beside_what_the_package_wrote():
    plan = core.plan_containerd(DEBIAN, [piece((1, 6, 20), cgroup_driver="systemd", sandbox_image="p:1")], (1, 6, 20))

    after = loads(plan.files[core.CONTAINERD_ROOT])
    table = after["plugins"][core.CRI]
    assert list(plan.files) == [core.CONTAINERD_ROOT]
    assert core.at(table, RUNC) is True
    assert table["sandbox_image"] == "p:1"
    assert table["cni"] == {"bin_dir": "/usr/lib/cni", "conf_dir": "/etc/cni/net.d"}


@pytest.mark.parametrize(("containerd", "version"), [((2, 1, 0), 3), ((2, 2, 4), 3), ((2, 3, 4), 4)])
def test_a_new_containerd_gets_a_drop_in_and_the_import_of_its_folder(containerd, version):
    plan = core.plan_containerd(
        None, [piece(containerd, cgroup_driver="systemd", sandbox_image="p:1", snapshotter="native")], containerd
    )

    root, drop_in = loads(plan.files[core.CONTAINERD_ROOT]), loads(plan.files[DROP_IN])
    assert root == {"version": version, "imports": ["/etc/containerd/conf.d/*.toml"]}
    assert drop_in["version"] == version
    assert core.at(drop_in["plugins"][core.CRI_RUNTIME], RUNC) is True
    assert drop_in["plugins"][core.CRI_IMAGES] == {"pinned_images": {"sandbox": "p:1"}, "snapshotter": "native"}


@pytest.mark.parametrize("containerd", [(1, 6, 20), (1, 7, 28), (2, 0, 5), (2, 2, 1), (2, 3, 4)])
@pytest.mark.parametrize("root", [None, DEBIAN, DOCKER_COM, ""])
def test_planning_again_from_its_own_result_changes_nothing(containerd, root):
    pieces = [piece(containerd, cgroup_driver="systemd", sandbox_image="p:1")]
    first = core.plan_containerd(root, pieces, containerd)

    second = core.plan_containerd(first.files[core.CONTAINERD_ROOT], pieces, containerd)

    assert second.files == first.files
    assert second.conflicts == ()


def test_a_drop_in_is_of_the_version_of_the_root_file_the_user_wrote():
    plan = core.plan_containerd(DEBIAN, [piece((2, 3, 4), cgroup_driver="systemd")], (2, 3, 4))

    drop_in = loads(plan.files[DROP_IN])
    assert drop_in["version"] == 2
    assert core.at(drop_in["plugins"][core.CRI], RUNC) is True
    assert loads(plan.files[core.CONTAINERD_ROOT])["imports"] == ["/etc/containerd/conf.d/*.toml"]


@pytest.mark.parametrize("pattern", ["/etc/containerd/conf.d/*.toml", "conf.d/*.toml", "./conf.d/*.toml"])
def test_a_folder_that_is_imported_already_is_not_imported_twice(pattern):
    root = f'version = 3\nimports = ["{pattern}"]\n'

    plan = core.plan_containerd(root, [piece((2, 2, 0), cgroup_driver="systemd")], (2, 2, 0))

    assert plan.files[core.CONTAINERD_ROOT] == root


def test_the_cri_plugin_that_dockers_package_disables_is_enabled_and_told():
    plan = core.plan_containerd(DOCKER_COM, [piece((1, 7, 28), cgroup_driver="systemd")], (1, 7, 28))

    after = plan.files[core.CONTAINERD_ROOT]
    assert loads(after)["disabled_plugins"] == []
    assert loads(after)["version"] == 2
    assert after.startswith("#   Copyright 2018-2022 Docker Inc.")
    assert "disabled_plugins" in plan.conflicts[0]


def test_another_plugin_that_the_user_disabled_stays_disabled():
    root = f'version = 2\ndisabled_plugins = ["{core.CRI}", "io.containerd.snapshotter.v1.zfs"]\n'

    plan = core.plan_containerd(root, [piece((1, 6, 20))], (1, 6, 20))

    assert loads(plan.files[core.CONTAINERD_ROOT])["disabled_plugins"] == ["io.containerd.snapshotter.v1.zfs"]


def test_a_value_of_the_users_that_gives_way_is_told_with_both_values():
    root = f'version = 2\n[plugins."{core.CRI}"]\n  sandbox_image = "mine:1" # because\n'

    plan = core.plan_containerd(root, [piece((1, 6, 20), sandbox_image="p:1")], (1, 6, 20))

    assert plan.conflicts == (
        '/etc/containerd/config.toml: plugins."io.containerd.grpc.v1.cri".sandbox_image was "mine:1", now "p:1"',
    )


@pytest.mark.parametrize("root", ["version = 1\n", "[plugins.cri]\nsandbox_image = 'x'\n"])
def test_a_configuration_of_version_1_is_left_alone_with_the_command_that_migrates_it(root):
    with pytest.raises(core.ConfigError, match="containerd config migrate"):
        core.plan_containerd(root, [piece((1, 7, 0))], (1, 7, 0))


def test_a_broken_config_toml_is_named_with_its_line():
    with pytest.raises(core.ConfigError, match=r"/etc/containerd/config\.toml, line 2: not valid TOML"):
        core.plan_containerd("version = 2\n[plugins\n", [piece()], (2, 2, 0))


def test_what_we_wrote_for_an_older_containerd_is_carried_over_to_a_newer_one():
    handler = core.cri_handler(NVIDIA, {}, (1, 7, 0))
    both = [piece((1, 7, 0), sandbox_image="p:1"), core.Piece("/etc/containerd/conf.d/99-nvidia.toml", handler)]
    old = core.plan_containerd(None, both, (1, 7, 0)).files[core.CONTAINERD_ROOT]

    plan = core.plan_containerd(old, [piece((2, 2, 0), sandbox_image="p:1")], (2, 2, 0))

    root = loads(plan.files[core.CONTAINERD_ROOT])
    assert root["version"] == 3
    assert "nvidia" in core.cri_runtimes(root)
    assert (
        plan.files
        == core.plan_containerd(
            plan.files[core.CONTAINERD_ROOT], [piece((2, 2, 0), sandbox_image="p:1")], (2, 2, 0)
        ).files
    )


def test_a_handler_has_the_options_of_the_default_one_and_its_own_binary():
    effective = loads(
        f"""[plugins."{core.CRI}".containerd]
default_runtime_name = "runc"
[plugins."{core.CRI}".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
base_runtime_spec = ""
pod_annotations = ["x"]
[plugins."{core.CRI}".containerd.runtimes.runc.options]
BinaryName = ""
SystemdCgroup = true
"""
    )

    table = core.cri_handler(NVIDIA, effective, (1, 6, 20))

    assert table == {
        "containerd": {
            "runtimes": {
                "nvidia": {
                    "runtime_type": "io.containerd.runc.v2",
                    "pod_annotations": ["x"],
                    "options": {"SystemdCgroup": True, "BinaryName": "/usr/bin/nvidia-container-runtime"},
                }
            }
        }
    }


def test_a_handler_that_was_the_default_and_no_longer_should_be_gives_way_to_runc():
    handler = core.cri_handler({**NVIDIA, "default": True}, {}, (1, 7, 0))
    path = "/etc/containerd/conf.d/99-nvidia.toml"
    old = core.plan_containerd(None, [core.Piece(path, handler, {}, "nvidia", True)], (1, 7, 0))
    assert core.default_handler(loads(old.files[core.CONTAINERD_ROOT])) == "nvidia"

    table = core.cri_handler(NVIDIA, {}, (1, 7, 0))
    plan = core.plan_containerd(
        old.files[core.CONTAINERD_ROOT], [core.Piece(path, table, {}, "nvidia", False)], (1, 7, 0)
    )

    assert core.default_handler(loads(plan.files[core.CONTAINERD_ROOT])) == "runc"


@pytest.mark.parametrize(("containerd", "said"), [((1, 6, 20), False), ((1, 7, 28), True), ((2, 2, 0), True)])
def test_cdi_is_switched_only_where_there_is_a_switch(containerd, said):
    assert ("enable_cdi" in core.cri_table({"cdi": True}, containerd)) is said


def test_a_value_that_another_file_has_the_last_word_on_is_told():
    wanted = {"plugins": {core.CRI: {"sandbox_image": "p:1", "unknown_to_old": True}}}
    effective = {"version": 2, "plugins": {core.CRI: {"sandbox_image": "other"}}}

    overrides = core.not_in_force(wanted, effective)

    assert [(item.wanted, item.found) for item in overrides] == [("p:1", "other")]


def test_a_version_2_value_is_found_in_a_version_3_dump():
    wanted = {"plugins": {core.CRI: {"sandbox_image": "p:1"}}}
    effective = {"version": 3, "plugins": {core.CRI_IMAGES: {"pinned_images": {"sandbox": "p:1"}}}}

    assert core.not_in_force(wanted, effective) == []


# --- CRI-O -----------------------------------------------------------------------------------------------------------


def test_the_handler_for_crio_names_conmon_and_its_type():
    effective = core.crio_effective([("10-crio.conf", loads(CRIO))])

    tree = core.crio_handler(NVIDIA, effective, "/usr/libexec/crio/conmon")

    assert tree["crio"]["runtime"] == {
        "runtimes": {
            "nvidia": {
                "runtime_path": "/usr/bin/nvidia-container-runtime",
                "runtime_type": "oci",
                "runtime_root": "/run/nvidia-container-runtime",
                "monitor_path": "/usr/libexec/crio/conmon",
                "allowed_annotations": ["io.containers.trace-syscall"],
            }
        }
    }


def test_a_handler_that_is_there_keeps_its_root_so_that_its_containers_are_found():
    effective = {"crio": {"runtime": {"runtimes": {"nvidia": {"runtime_root": "/run/crun"}}}}}

    tree = core.crio_handler(NVIDIA, effective, "/usr/bin/conmon")

    assert tree["crio"]["runtime"]["runtimes"]["nvidia"]["runtime_root"] == "/run/crun"


def test_a_handler_without_conmon_is_refused():
    with pytest.raises(core.ConfigError, match="conmon was found nowhere"):
        core.crio_handler(NVIDIA, {}, None)


def test_the_last_file_that_names_a_handler_replaces_it_whole():
    files = [
        ("10", {"crio": {"runtime": {"runtimes": {"crun": {"runtime_path": "/a", "monitor_path": "/m"}}}}}),
        ("20", {"crio": {"runtime": {"log_level": "info", "runtimes": {"crun": {"runtime_path": "/b"}}}}}),
    ]

    effective = core.crio_effective(files)

    assert effective["crio"]["runtime"] == {"log_level": "info", "runtimes": {"crun": {"runtime_path": "/b"}}}


def test_settings_of_crio_have_crios_names():
    effective = core.crio_effective([("10-crio.conf", loads(CRIO))])
    settings = {"cgroup_driver": "systemd", "default_handler": "runc", "sandbox_image": "p:1"}

    tree = core.crio_settings(settings, effective, {})

    assert tree == {
        "crio": {"runtime": {"cgroup_manager": "systemd", "default_runtime": "runc"}, "image": {"pause_image": "p:1"}}
    }


def test_cgroupfs_puts_conmon_into_the_pods_cgroup():
    assert core.crio_settings({"cgroup_driver": "cgroupfs"}, {}, {})["crio"]["runtime"]["conmon_cgroup"] == "pod"


def test_a_default_handler_that_no_file_has_gets_a_table():
    found = {"crun": "/usr/bin/crun", "conmon": "/usr/bin/conmon"}

    tree = core.crio_settings({"default_handler": "crun"}, {}, found)

    assert tree["crio"]["runtime"]["runtimes"]["crun"] == {
        "runtime_path": "/usr/bin/crun",
        "runtime_type": "oci",
        "runtime_root": "/run/crun",
        "monitor_path": "/usr/bin/conmon",
    }


def test_a_later_drop_in_that_has_the_last_word_is_named():
    wanted = core.crio_handler(NVIDIA, {}, "/usr/bin/conmon")
    theirs = {"crio": {"runtime": {"runtimes": {"nvidia": {"runtime_path": "/usr/bin/nvidia-container-runtime"}}}}}
    files = [("99-nvidia.conf", wanted), ("99-nvidia.toml", theirs)]

    overrides = core.overridden(wanted, files, "99-nvidia.conf")

    assert {item.by for item in overrides} == {"99-nvidia.toml"}
    assert any("monitor_path" in item.told() for item in overrides)


# --- Docker ----------------------------------------------------------------------------------------------------------


def test_every_key_of_the_users_stays_and_its_indentation_too():
    text = '{\n    "data-root": "/data/docker",\n    "runtimes": {"kata": {"path": "/usr/bin/kata"}}\n}\n'

    plan = core.merge_json(JSON, text, core.docker_handler(NVIDIA), {}, {}, {})

    after = json.loads(plan.files[JSON])
    assert after["data-root"] == "/data/docker"
    assert set(after["runtimes"]) == {"kata", "nvidia"}
    assert after["runtimes"]["nvidia"] == {"path": "/usr/bin/nvidia-container-runtime", "args": []}
    assert '\n    "data-root"' in plan.files[JSON]
    assert plan.conflicts == ()


def test_a_cgroup_driver_of_the_users_gives_way_and_the_other_options_stay():
    text = json.dumps({"exec-opts": ["native.cgroupdriver=cgroupfs", "native.other=1"]})

    plan = core.merge_json(JSON, text, core.docker_settings({"cgroup_driver": "systemd"}, (20, 10, 24)), {}, {}, {})

    assert json.loads(plan.files[JSON])["exec-opts"] == ["native.other=1", "native.cgroupdriver=systemd"]
    assert "native.cgroupdriver=cgroupfs" in plan.conflicts[0]


def test_a_default_of_ours_is_not_set_where_the_user_says_something_else():
    plan = core.merge_json(JSON, '{"log-opts": {"max-size": "100m"}}', {}, {"log-opts": {"max-size": "10m"}}, {}, {})

    assert json.loads(plan.files[JSON]) == {"log-opts": {"max-size": "100m"}}
    assert "100m" in plan.kept[0]


def test_a_default_that_we_set_follows_its_variable():
    first = core.merge_json(JSON, None, {}, {"log-opts": {"max-size": "10m"}}, {}, {})

    second = core.merge_json(JSON, first.files[JSON], {}, {"log-opts": {"max-size": "50m"}}, first.memory, {})

    assert json.loads(second.files[JSON])["log-opts"] == {"max-size": "50m"}
    assert (second.kept, second.conflicts) == ((), ())


def test_a_mirror_that_we_added_goes_when_it_is_no_longer_wanted_and_the_users_stays():
    first = core.merge_json(
        JSON, '{"registry-mirrors": ["https://mine"]}', {"registry-mirrors": ["https://a"]}, {}, {}, {}
    )

    second = core.merge_json(JSON, first.files[JSON], {"registry-mirrors": ["https://b"]}, {}, first.memory, {})

    assert json.loads(first.files[JSON])["registry-mirrors"] == ["https://mine", "https://a"]
    assert json.loads(second.files[JSON])["registry-mirrors"] == ["https://mine", "https://b"]


def test_a_default_runtime_that_we_set_goes_and_one_that_the_user_set_stays():
    drop = {"default-runtime": "nvidia"}
    first = core.merge_json(JSON, None, core.docker_handler({**NVIDIA, "default": True}), {}, {}, {})

    ours = core.merge_json(JSON, first.files[JSON], core.docker_handler(NVIDIA), {}, first.memory, drop)
    theirs = core.merge_json(JSON, '{"default-runtime": "nvidia"}', core.docker_handler(NVIDIA), {}, {}, drop)

    assert "default-runtime" not in json.loads(ours.files[JSON])
    assert json.loads(theirs.files[JSON])["default-runtime"] == "nvidia"
    assert "not set by us" in theirs.kept[0]


@given(TREES, TREES, TREES)
def test_merging_twice_is_merging_once(current, must, may):
    text = json.dumps(current)
    try:
        first = core.merge_json(JSON, text, must, may, {}, {})
    except core.ConfigError:
        return

    second = core.merge_json(JSON, first.files[JSON], must, may, first.memory, {})

    assert second.files == first.files


@given(st.text())
def test_no_text_makes_the_merge_raise_anything_but_its_own_error(text):
    with contextlib.suppress(core.ConfigError):
        core.merge_json(JSON, text, {"a": {"b": [1]}}, {}, {}, {})


def test_a_broken_daemon_json_is_named_with_its_line():
    with pytest.raises(core.ConfigError, match=r"daemon\.json, line 3: not valid JSON"):
        core.merge_json(JSON, '{\n  "a": 1,\n  }\n', {"b": 1}, {}, {}, {})


def test_a_file_that_says_it_all_already_is_left_to_the_byte():
    text = '{"features":   {"cdi":true}}'

    plan = core.merge_json(JSON, text, {"features": {"cdi": True}}, {}, {}, {})

    assert plan.files == {JSON: text}
    assert plan.memory == {}


@pytest.mark.parametrize(
    ("docker", "tree"),
    [
        ((20, 10, 24), {}),
        ((25, 0, 3), {"features": {"cdi": True}}),
        ((27, 5, 1), {"features": {"cdi": True}}),
        ((29, 0, 0), {}),
    ],
)
def test_docker_is_told_of_cdi_only_where_it_knows_it_and_has_it_off(docker, tree):
    assert core.docker_settings({"cdi": True}, docker) == tree


def test_a_docker_that_was_told_to_have_no_cdi_is_told_otherwise():
    current = {"features": {"cdi": False}}

    tree = core.docker_settings({"cdi": True}, (29, 0, 0), current)

    assert tree == {"features": {"cdi": True}}
    assert core.docker_settings({"cdi": True}, (29, 0, 0), tree) == {}


@pytest.mark.parametrize(
    ("before", "after", "enough"),
    [
        ({}, {"runtimes": {"nvidia": {}}}, True),
        ({"runtimes": {"a": {}, "b": {}}}, {"runtimes": {"a": {}}}, False),
        ({"default-runtime": "nvidia"}, {}, False),
        ({}, {"exec-opts": ["x"], "runtimes": {}}, False),
        ({"a": 1}, {"a": 1}, False),
    ],
)
def test_docker_is_reloaded_only_where_that_is_enough(before, after, enough):
    assert core.reload_suffices(before, after) is enough
