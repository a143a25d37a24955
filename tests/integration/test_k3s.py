# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role k3s on nodes of namespaces, with fixtures of k3s and systemd: no real Kubernetes takes part."""

from __future__ import annotations

import json
import re
import shutil
import stat

import pytest
from k3s_nodes import VERSION, K3sSite, release
from kubeadm_nodes import missing

pytestmark = [
    pytest.mark.stage("process"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]
PASSWORD = re.compile(r"K10[0-9a-f]{64}::|server:[0-9a-f]{32}")
TEMPLATES = "/var/lib/rancher/k3s/agent/etc/containerd"
BINARY = "/usr/local/bin/k3s"
CONFIG = "/etc/rancher/k3s/config.yaml"


@pytest.fixture
def site(tmp_path):
    made = K3sSite(tmp_path)
    yield made
    made.end()


def changes(done) -> dict[str, int]:
    """Changed tasks by host."""
    return {
        name: int(number)
        for name, number in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", done.stdout, re.MULTILINE)
    }


def ok(done):
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done


def told(done) -> str:
    """All that a run said, with its lines as they were before they were wrapped."""
    return " ".join((done.stdout + done.stderr).split())


def nodes(server) -> dict:
    return json.loads(server.path("/var/lib/rancher/k3s/server/db/fixture.json").read_text())["nodes"]


def tree(node) -> str:
    places = ["/etc/rancher", "/etc/systemd/system", "/usr/local/bin", "/var/lib/rancher", "/var/lib/gpunode.ready"]
    return node.run("find", *places, "-type", "f", "-exec", "sha256sum", "{}", "+", check=False)


def test_a_cluster_is_made_and_made_again_without_a_change(site):
    first, server, agent = (site.node(name) for name in ("n1", "n2", "w3"))
    agent.nvidia()
    three = {"k3s_servers": 3, "k3s_disable": ["traefik"]}
    before = [tree(node) for node in (first, server, agent)]

    predicted = ok(site.play("--check", "--diff", **three))
    untouched = [tree(node) for node in (first, server, agent)]
    done = ok(site.play("-vvv", "--diff", **three))
    again = ok(site.play(**three))

    assert sorted(nodes(first)) == ["n1", "n2", "w3"]
    assert untouched == before
    assert min(changes(predicted).values()) > 0, "check mode tells what each node would become"
    assert changes(again) == {"n1": 0, "n2": 0, "w3": 0}
    # no secret on the console, nor in a file that others may read
    assert PASSWORD.findall(done.stdout) == []
    assert stat.S_IMODE(agent.path("/etc/rancher/k3s/join-token").stat().st_mode) == 0o600
    assert "K10" not in agent.path(CONFIG).read_text()
    assert "K10" not in agent.path("/var/lib/gpunode.ready/owned/k3s.json").read_text()
    assert stat.S_IMODE(first.path("/root/.kube/config").stat().st_mode) == 0o600
    assert not agent.path("/root/.kube/config").exists()
    assert not first.path("/var/lib/gpunode.ready/k3s").exists(), "what was brought for the run is gone"
    # the runtime that was there when k3s started
    assert "nvidia-container-runtime" in agent.path(f"{TEMPLATES}/config.toml").read_text()
    assert "nvidia" not in first.path(f"{TEMPLATES}/config.toml").read_text()


def test_a_program_with_another_checksum_leaves_the_old_one(site):
    node = site.node("n1")
    ok(site.play())
    before, started = tree(node), node.started()
    newer, _sha256 = release(site.folder, "v1.36.5+k3s1")

    done = site.play(
        k3s_file=newer, k3s_checksums={"amd64": "0" * 64}, k3s_version="v1.36.5+k3s1", k3s_allow_change=True
    )

    assert done.returncode != 0
    assert "its sha256 is" in done.stdout
    assert tree(node) == before
    assert node.started() == started
    assert changes(ok(site.play())) == {"n1": 0}


def test_a_release_that_does_not_come_up_is_taken_back(site):
    node = site.node("n1")
    ok(site.play())
    before, started = tree(node), node.started()
    newer, sha256 = release(site.folder, "v1.36.5+k3s1", broken="starting kubernetes: this build is broken")
    wanted = {"k3s_version": "v1.36.5+k3s1", "k3s_file": newer, "k3s_checksums": {"amd64": sha256}}

    refused = site.play(**wanted)
    done = site.play(**wanted, k3s_allow_change=True, k3s_disable=["traefik"])

    assert "set k3s_allow_change for one run to upgrade" in refused.stdout
    assert done.returncode != 0
    assert "this build is broken" in done.stdout
    assert "The program and the files from before are back, and k3s runs with them" in done.stdout
    kept = [line for line in tree(node).splitlines() if "/gpunode.ready/" not in line and "/db/" not in line]
    assert set(kept) >= {line for line in before.splitlines() if BINARY in line or CONFIG in line or ".service" in line}
    assert VERSION in node.run(BINARY, "--version")
    assert node.started() != started
    assert changes(ok(site.play())) == {"n1": 0}


def test_an_upgrade_takes_the_servers_first_and_keeps_the_old_program(site):
    first, agent = site.node("n1"), site.node("w2")
    ok(site.play())
    newer, sha256 = release(site.folder, "v1.37.0+k3s1")
    wanted = {"k3s_version": "v1.37.0+k3s1", "k3s_file": newer, "k3s_checksums": {"amd64": sha256}}

    done = ok(site.play(**wanted, k3s_allow_change=True))

    versions = {name: item["status"]["nodeInfo"]["kubeletVersion"] for name, item in nodes(first).items()}
    assert versions == {"n1": "v1.37.0+k3s1", "w2": "v1.37.0+k3s1"}
    assert done.stdout.index("The first server is well") < done.stdout.index("The agent is a member")
    assert VERSION in agent.run("/usr/local/bin/.k3s.gpunode-previous", "--version")
    assert changes(ok(site.play(**wanted))) == {"n1": 0, "w2": 0}
    assert "k3s does not go back" in site.play().stdout


def test_a_template_that_breaks_networking_is_moved_aside_with_its_text(site):
    node = site.node("n1")
    node.nvidia()
    ok(site.play())
    path = node.path(f"{TEMPLATES}/config.toml.tmpl")
    text = ('version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]\n'
            '  runtime_type = "io.containerd.runc.v2"\n')  # fmt: skip
    path.write_text(text)
    node.run("/usr/local/sbin/systemctl", "restart", "k3s.service")

    kept = site.play(k3s_containerd_templates="kept", k3s_nvidia="ignored")
    still = path.exists()
    done = ok(site.play())

    assert still, "a template that is the user's own stays"
    assert kept.returncode == 0, kept.stdout[-3000:]
    assert "cni plugin not initialized" in told(done), "the reason is told"
    assert not path.exists()
    assert node.path(f"{TEMPLATES}/config.toml.tmpl.gpunode-disabled").read_text() == text
    assert "'nvidia'" in node.path(f"{TEMPLATES}/config.toml").read_text()
    assert nodes(node)["n1"]["status"]["conditions"][0]["status"] == "True"
    assert changes(ok(site.play())) == {"n1": 0}


def test_a_template_that_declares_what_k3s_finds_itself_does_not_keep_k3s_down(site):
    node = site.node("n1")
    node.nvidia()
    folder = node.path(TEMPLATES)
    folder.mkdir(parents=True)
    table = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]\n  runtime_type = 'x'\n"
    (folder / "config-v3.toml.tmpl").write_text(f'{{{{ template "base" . }}}}\n\n{table}')

    kept = site.play(k3s_containerd_templates="kept", k3s_timeout_seconds=10)
    done = ok(site.play())

    assert kept.returncode != 0
    assert "failed to load TOML" in kept.stdout, "what containerd said is told"
    assert "table nvidia already exists" in told(done)
    assert (folder / "config-v3.toml.tmpl.gpunode-disabled").exists()
    assert changes(ok(site.play())) == {"n1": 0}


def test_a_template_that_adds_a_handler_is_left_alone(site):
    node = site.node("n1")
    folder = node.path(TEMPLATES)
    folder.mkdir(parents=True)
    table = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata]\n  runtime_type = 'x'\n"
    (folder / "config-v3.toml.tmpl").write_text(f'{{{{ template "base" . }}}}\n\n{table}')

    ok(site.play())

    assert (folder / "config-v3.toml.tmpl").exists()
    assert "kata" in (folder / "config.toml").read_text()
    assert changes(ok(site.play())) == {"n1": 0}


def test_the_nvidia_runtime_that_came_later_is_found_by_starting_anew(site):
    node = site.node("n1")
    ok(site.play())
    node.nvidia()

    done = ok(site.play())

    assert changes(done) == {"n1": 1}
    assert "'nvidia'" in node.path(f"{TEMPLATES}/config.toml").read_text()
    assert changes(ok(site.play())) == {"n1": 0}


def test_a_member_of_another_cluster_is_refused_before_any_change(site, tmp_path_factory):
    other = K3sSite(tmp_path_factory.mktemp("other"))
    try:
        stranger = other.node("n0")
        ok(other.play())
        ca = stranger.path("/var/lib/rancher/k3s/server/tls/server-ca.crt").read_text()
    finally:
        other.end()
    first, agent = site.node("n1"), site.node("w2")
    agent.path("/var/lib/rancher/k3s/agent").mkdir(parents=True)
    agent.path("/var/lib/rancher/k3s/agent/server-ca.crt").write_text(ca)
    before = tree(agent)

    none_yet = site.play()
    none_made = not first.path(BINARY).exists()
    ok(site.play("--limit", "n1"))
    beside = site.play()

    assert none_yet.returncode != 0
    assert "another one would be made beside it" in none_yet.stdout
    assert none_made, "no second cluster where one node says that there is a first"
    assert beside.returncode != 0
    assert "Nothing was changed" in beside.stdout
    assert tree(agent) == before


def test_a_join_that_fails_is_told_and_completed_by_the_next_run(site):
    first, _agent = site.node("n1"), site.node("w2")
    ok(site.play("--limit", "n1"))

    # a token of another cluster: the agent tries for ever, as k3s does
    path = first.path("/var/lib/rancher/k3s/server/token")
    token = path.read_text()
    path.write_text(f"K10{'0' * 64}::{token.partition('::')[2]}")
    failed = site.play(k3s_timeout_seconds=6)
    path.write_text(token)
    done = ok(site.play())

    assert failed.returncode != 0
    assert "token CA hash does not match the Cluster CA certificate hash" in failed.stdout
    assert "the next run goes on from there" in failed.stdout
    assert PASSWORD.findall(failed.stdout) == []
    assert changes(done)["w2"] >= 1
    assert sorted(nodes(first)) == ["n1", "w2"]
    assert changes(ok(site.play())) == {"n1": 0, "w2": 0}


def test_a_port_in_use_is_told_in_k3s_words_and_the_next_run_completes_it(site):
    node = site.node("n1")
    node.run("sh", "-c", "setsid python3 -c 'import socket,time; s=socket.socket(); s.bind((\"\", 6443)); s.listen(); "
             "open(\"/run/bound\", \"w\"); time.sleep(600)' >/dev/null 2>&1 & echo $! >/run/holder; "
             "until [ -e /run/bound ]; do :; done")  # fmt: skip

    failed = site.play()
    node.run("sh", "-c", "kill $(cat /run/holder)")
    done = ok(site.play())

    assert failed.returncode != 0
    assert "bind: address already in use" in failed.stdout
    assert changes(done)["n1"] >= 1
    assert changes(ok(site.play())) == {"n1": 0}


def test_what_k3s_would_pass_over_or_refuse_is_told_before_any_change(site):
    node = site.node("n1")
    before = tree(node)

    done = site.play(k3s_config={"kubelet-args": ["v=2"], "token": "x", "flannel-backend": "vxlam"}, k3s_servers=2)

    assert done.returncode != 0
    for words in (
        "did you mean `kubelet-arg`",
        "the role hands it on by a file",
        "expected one of none, vxlan",
        "odd number",
    ):
        assert words in done.stdout
    assert tree(node) == before


def test_a_k3s_that_somebody_else_set_up_keeps_what_it_was_given(site):
    node = site.node("n1")
    ok(site.play())
    config, unit = node.path(CONFIG), node.path("/etc/systemd/system/k3s.service")
    config.write_text("disable:\n  - traefik\n")
    unit.write_text(unit.read_text().partition("\n")[2].replace("k3s server", "k3s server --cluster-domain=site.local"))
    before = tree(node)

    refused = site.play()
    same = tree(node)
    done = ok(site.play(k3s_disable=["traefik"], k3s_config={"cluster-domain": "site.local"}))

    assert refused.returncode != 0
    assert "with `cluster-domain`, `disable`" in refused.stdout
    assert same == before
    assert changes(done) == {"n1": 1}


def test_the_program_of_a_mirror_is_judged_by_the_list_beside_it(site):
    node = site.node("n1")
    program, sha256 = release(site.folder)
    folder = node.path(f"/srv/mirror/{VERSION}")
    folder.mkdir(parents=True)
    shutil.copy(program, folder / "k3s")
    (folder / "sha256sum-amd64.txt").write_text(f"{'1' * 64}  k3s-airgap-images-amd64.tar\n{'2' * 64}  k3s\n")
    node.run("sh", "-c", "cd /srv/mirror && setsid python3 -m http.server 8123 --bind 127.0.0.1 >/dev/null 2>&1 & "
             "until python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8123))' 2>/dev/null; do "
             ":; done")  # fmt: skip
    mirror = {"k3s_base_url": "http://127.0.0.1:8123"}

    broken = site.play(**mirror)
    (folder / "sha256sum-amd64.txt").write_text(f"{'1' * 64}  k3s-airgap-images-amd64.tar\n{sha256}  k3s\n")
    absent = not node.path(BINARY).exists()
    ok(site.play(**mirror))
    again = ok(site.play(**mirror))

    assert broken.returncode != 0
    assert f"expected {'2' * 64}" in broken.stdout
    assert absent, "a program that is not what it should be is nowhere"
    assert changes(again) == {"n1": 0}


def test_what_the_role_brought_goes_where_no_cluster_is_left(site):
    node = site.node("n1")
    before = tree(node)
    ok(site.play())
    play = [{"hosts": "all", "gather_facts": False, "tasks": [
        {"ansible.builtin.import_role": {"name": "gpunode.ready.k3s", "tasks_from": "absent.yml"}}]}]  # fmt: skip

    refused = site.run_play(play)
    node.run("/usr/local/sbin/systemctl", "stop", "k3s.service")
    node.run("mv", "/var/lib/rancher/k3s", "/root/k3s-data")
    node.run("rm", "/etc/rancher/k3s/k3s.yaml")
    ok(site.run_play(play))
    again = ok(site.run_play(play))

    assert "what a cluster holds is not taken away" in told(refused)
    assert tree(node) == before
    assert changes(again) == {"n1": 0}


def test_a_server_that_becomes_an_agent_is_no_server_at_the_next_boot(site):
    first, other = site.node("n1"), site.node("n2")
    ok(site.play(k3s_servers=3))
    other.run("/usr/local/sbin/systemctl", "stop", "k3s.service")
    other.run("mv", "/var/lib/rancher/k3s", "/root/k3s-data")
    other.run("rm", "/etc/rancher/k3s/k3s.yaml")
    site.members["n2"] = "agent"

    done = ok(site.play(k3s_servers=1, k3s_datastore="etcd"))

    assert changes(done) == {"n1": 0, "n2": 1}
    assert not other.path("/etc/systemd/system/k3s.service").exists()
    assert not other.path("/etc/systemd/system/multi-user.target.wants/k3s.service").is_symlink()
    assert not other.path("/var/lib/rancher/k3s/server").exists()
    assert sorted(nodes(first)) == ["n1", "n2"]
    assert changes(ok(site.play(k3s_servers=1, k3s_datastore="etcd"))) == {"n1": 0, "n2": 0}
