# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is broken on a node that was ready: programs gone, files corrupt, disks full, drivers apart, links planted."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.stage("guest")

CONFIG = "/etc/containerd/config.toml"


@pytest.mark.case(14, "the runtime's package is installed, its program is gone")
def test_a_program_that_is_gone_comes_back_once(bench):
    bench.ssh("rm /usr/bin/containerd")

    mended = bench.play("--tags", "runtime")
    again = bench.play("--tags", "runtime")

    assert mended.rc == 0, mended.text
    assert mended.changed > 0
    assert bench.ssh("systemctl is-active containerd; test -x /usr/bin/containerd && echo there").split() == [
        "active",
        "there",
    ]
    assert again.changed == 0, again.text


@pytest.mark.case(15, "the file system fills up while a file is written")
def test_no_room_for_a_file_leaves_the_old_one(bench):
    bench.ssh(
        "mkdir /root/kept && cp -a /etc/sysctl.d/. /root/kept && mount -t tmpfs -o size=64k tmpfs /etc/sysctl.d && "
        "cp -a /root/kept/. /etc/sysctl.d && echo '# an older text' > /etc/sysctl.d/99-gpunode.conf && "
        "{ dd if=/dev/zero of=/etc/sysctl.d/filler bs=4k status=none || true; }"
    )

    refused = bench.play("--tags", "host")

    old = bench.ssh("cat /etc/sysctl.d/99-gpunode.conf; ls -A /etc/sysctl.d").splitlines()
    bench.ssh("umount /etc/sysctl.d; rm -r /root/kept")
    again = bench.play("--tags", "host")
    assert refused.rc != 0
    assert "no space left" in refused.words
    assert "/etc/sysctl.d/99-gpunode.conf" in refused.text
    assert old[0] == "# an older text"
    assert [name for name in old if "gpunode-" in name] == [], "a half-written file was left behind"
    assert again.changed == 0, again.text


@pytest.mark.case(0, "a failed run lets the node go")
@pytest.mark.case(18, "containerd's configuration is no TOML")
def test_a_corrupt_toml_is_named_with_its_line_and_left_alone(bench):
    bench.ssh(f"cp -a {CONFIG} /root/config.toml && sed -i '3i this is = no = toml' {CONFIG}")
    before = bench.ssh(f"sha256sum {CONFIG}")

    refused = bench.play("--tags", "runtime")

    after = bench.ssh(f"sha256sum {CONFIG}; systemctl is-active containerd; ls /run/gpunode.ready; true").split("\n", 1)
    bench.ssh(f"cp -a /root/config.toml {CONFIG} && rm /root/config.toml")
    assert refused.rc != 0
    assert re.search(rf"{CONFIG}[^\n]{{0,40}}(line )?3", refused.words), refused.text
    assert after[0] == before.strip()
    assert after[1].split() == ["active"], "the runtime must run on, and the lock must be gone"


@pytest.mark.case(18, "a CDI spec is no YAML")
def test_a_corrupt_cdi_spec_of_somebody_is_named_and_left_alone(bench):
    bench.ssh("mkdir -p /etc/cdi && printf 'cdiVersion: 0.6.0\\nkind: [example.org/card\\n' > /etc/cdi/mine.yaml")
    before = bench.ssh("sha256sum /etc/cdi/mine.yaml")

    run = bench.play("--tags", "cdi")

    after = bench.ssh("sha256sum /etc/cdi/mine.yaml")
    bench.ssh("rm /etc/cdi/mine.yaml; rmdir /etc/cdi")
    assert after == before
    assert "/etc/cdi/mine.yaml" in run.text, run.text
    assert "Traceback" not in run.text


@pytest.mark.case(18, "Docker's daemon.json is no JSON", simulated="dockerd: a program that only tells its version")
def test_a_corrupt_daemon_json_is_named_with_its_line_and_left_alone(bench):
    path = "/etc/docker/daemon.json"
    bench.ssh(
        r"printf '#!/bin/sh\necho Docker version 20.10.24, build 1\n' > /usr/bin/dockerd; chmod 755 /usr/bin/dockerd; "
        rf"""mkdir -p /etc/docker && printf '{{\n "debug": true,\n "log-opts": {{,}}\n}}\n' > {path}"""
    )
    before = bench.ssh(f"sha256sum {path}")

    refused = bench.module(
        "runtime_config", runtime="docker", files=[{"path": path, "settings": {"cgroup_driver": "systemd"}}]
    )

    after = bench.ssh(f"sha256sum {path}")
    bench.ssh("rm -r /etc/docker /usr/bin/dockerd")
    assert refused.rc != 0
    assert f"{path}, line 3" in refused.words, refused.text
    assert after == before


@pytest.mark.case(18, "the toolkit's own configuration is no TOML")
def test_a_corrupt_configuration_of_the_toolkit_is_named_and_left_alone(bench):
    path = "/etc/nvidia-container-runtime/config.toml"
    bench.ssh(f"cp -a {path} /root/toolkit.toml && sed -i '1i [broken' {path}")
    before = bench.ssh(f"sha256sum {path}")

    refused = bench.play("--tags", "toolkit")

    after = bench.ssh(f"sha256sum {path}")
    bench.ssh(f"cp -a /root/toolkit.toml {path} && rm /root/toolkit.toml")
    assert refused.rc != 0
    assert path in refused.text
    assert after == before


@pytest.mark.case(0, "a value in the runtime's configuration, set by hand, that the runtime refuses")
def test_what_the_runtime_refuses_is_told_in_its_words_and_the_other_layers_converge(bench):
    bench.ssh(
        f"cp -a {CONFIG} /root/config.toml && sed -i '1a oom_score = \"low\"' {CONFIG}; "
        "rm -f /etc/sysctl.d/99-gpunode.conf; sysctl -qw net.ipv4.ip_forward=0"
    )
    before = bench.ssh(f"sha256sum {CONFIG}")

    # The role has something to change, so containerd is asked.
    refused = bench.play("--tags", "host,runtime", containerd_sandbox_image="registry.k8s.io/pause:3.9")

    after = bench.ssh(f"sha256sum {CONFIG}; systemctl is-active containerd; sysctl -n net.ipv4.ip_forward; true")
    bench.ssh(f"cp -a /root/config.toml {CONFIG} && rm /root/config.toml; systemctl restart containerd")
    assert refused.rc != 0
    assert re.search(r"Can't convert|incompatible types", refused.words), f"containerd's own words:\n{refused.text}"
    assert after.split("\n", 1)[0] == before.strip()
    assert after.split("\n", 1)[1].split() == ["active", "1"]


@pytest.mark.case(0, "a configuration that the running runtime has not read, and would refuse at its next start")
def test_a_runtime_that_would_not_come_up_again_is_named_while_it_runs(bench):
    bench.ssh(f"cp -a {CONFIG} /root/config.toml && sed -i '1a oom_score = \"low\"' {CONFIG}")

    judged = bench.play(playbook="verify.yml")

    active = bench.ssh(
        f"systemctl is-active containerd; cp -a /root/config.toml {CONFIG} && rm /root/config.toml; "
        "systemctl restart containerd"
    )
    healthy = bench.play(playbook="verify.yml")
    assert active == "active\n"
    assert f"{CONFIG} changed since, and containerd refuses it" in judged.words, judged.text
    assert re.search(r"Can't convert|incompatible types", judged.words), f"containerd's own words:\n{judged.text}"
    assert healthy.rc == 0, healthy.text
    assert "changed since" not in healthy.words, healthy.text


@pytest.mark.case(24, "files of the user's own in folders that we write to")
def test_files_of_the_users_own_are_kept(bench):
    bench.ssh(
        "echo 'net.ipv4.tcp_syncookies = 1' > /etc/sysctl.d/50-mine.conf; echo loop > /etc/modules-load.d/mine.conf; "
        "mkdir -p /etc/cdi /etc/containerd/conf.d /etc/systemd/system/containerd.service.d; "
        "printf 'cdiVersion: 0.6.0\\nkind: example.org/card\\ndevices:\\n- name: one\\n  containerEdits:\\n"
        "    env: [A=b]\\n' > /etc/cdi/mine.yaml; echo '# mine' > /etc/containerd/conf.d/90-mine.toml; "
        "printf '[Service]\\nEnvironment=MINE=1\\n' > /etc/systemd/system/containerd.service.d/mine.conf; "
        "echo '# mine' > /etc/modprobe.d/mine.conf; echo 'Package: mine' > /etc/apt/preferences.d/mine.pref.off"
    )
    look = (
        "sha256sum /etc/sysctl.d/50-mine.conf /etc/modules-load.d/mine.conf /etc/cdi/mine.yaml "
        "/etc/modprobe.d/mine.conf "
        "/etc/containerd/conf.d/90-mine.toml /etc/systemd/system/containerd.service.d/mine.conf "
        "/etc/apt/preferences.d/mine.pref.off"
    )
    before = bench.ssh(look)
    bench.ssh("rm -f /etc/sysctl.d/99-gpunode.conf /var/run/cdi/nvidia.yaml")

    run = bench.play("--tags", "host,driver,runtime,cdi")

    after = bench.ssh(look)
    bench.ssh(f"rm -f {look[10:]}; rmdir /etc/cdi /etc/containerd/conf.d /etc/systemd/system/containerd.service.d")
    assert run.rc == 0, run.text
    assert after == before


@pytest.mark.case(47, "links at every path that a run writes and whose name is known")
def test_planted_links_are_not_followed(bench, figure):
    planted = [
        "/etc/sysctl.d/99-gpunode.conf", "/etc/modules-load.d/gpunode.conf", "/var/run/cdi/nvidia.yaml",
        "/run/gpunode.ready/lock.json", "/etc/modprobe.d/gpunode-nvidia.conf", "/run/gpunode-cdi",
        "/etc/systemd/system/gpunode-cdi-refresh.service",
    ]  # fmt: skip
    bench.ssh(
        "mkdir -m 700 -p /run/gpunode.ready; "
        + "; ".join(
            f"echo precious > /root/victim.{number}; ln -sfn /root/victim.{number} {path}"
            for number, path in enumerate(planted)
        )
    )

    run = bench.play("--tags", "host,driver,cdi")

    victims = bench.ssh("cat /root/victim.*; stat -c %a /root/victim.*").split()
    bench.ssh("rm -f /root/victim.* /run/gpunode-cdi")
    again = bench.play("--tags", "host,driver,cdi")
    figure("links planted", len(planted))
    figure("links followed", len(planted) - victims.count("precious"))
    assert victims == ["precious"] * len(planted) + ["644"] * len(planted), run.text
    assert again.rc == 0, again.text


@pytest.mark.case(23, "a driver is installed beneath another that is loaded; reboots refused, then allowed")
@pytest.mark.case(0, "the node is held again after the driver's own reboot")
def test_a_driver_that_is_not_the_loaded_one_is_named_and_mended_by_one_reboot(bench, figure):
    loaded = bench.ssh("cat /sys/module/nvidia/version").strip()
    other = next(version for version in ("580.159.04", "580.178.04") if version != loaded)
    driver = {"nvidia_driver_version": other, "nvidia_driver_allow_change": True}

    refused = bench.play("--tags", "driver", gpunode_reboot="refused", **driver)
    judged = bench.play(playbook="verify.yml", gpunode_reboot="refused", **driver)
    bench.ssh("journalctl --sync; journalctl --list-boots --quiet --no-pager | wc -l > /root/boots")
    held, text, task = "", [], ""
    mending = bench.start("--tags", "driver", gpunode_reboot="allowed", **driver)
    for line in mending.stdout:
        text.append(line)
        task = line if line.startswith("TASK [") else task
        rebooted = any("load | Reboot" in each for each in text)
        if rebooted and task.startswith("TASK [hold | Hold the node") and line.startswith("ok:"):
            held = bench.ssh("cat /run/gpunode.ready/lock.json")
    mending.wait()

    assert loaded in judged.text
    assert other in judged.text
    assert re.search(r"[Rr]eboot", judged.text)
    assert judged.rc != 0 or refused.rc != 0
    assert mending.returncode == 0, "".join(text)
    assert bench.ssh("cat /sys/module/nvidia/version").strip() == other
    assert "run_id" in held or "holder" in held, "".join(text)
    figure(
        "reboots to load the driver that is installed",
        bench.ssh("echo $(($(journalctl --list-boots --quiet --no-pager | wc -l) - $(cat /root/boots)))").strip(),
    )
    assert bench.play(playbook="verify.yml", **driver).rc == 0

    assert bench.play("--tags", "driver").rc == 0, "the next test's node is one that asks for no version"
