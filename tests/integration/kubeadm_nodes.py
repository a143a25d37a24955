# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that are no guests: each has a root file system, a network, a name and processes of its own, on this kernel.

The root is this machine's, with a layer of its own over it that holds the fixtures of kubeadm, kubelet and their kin at
upstream's paths. systemd is played by a few lines of shell. Ansible reaches a node by an interpreter that enters it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FIXTURES = CHECKOUT / "tests" / "lab" / "fixtures"
SYSTEMCTL = """\
#!/bin/sh
# Plays systemd for kubelet.service alone.
pid=/run/fixture-kubelet.pid
runs() { [ -s $pid ] && kill -0 "$(cat $pid)" 2>/dev/null; }
for word; do case $word in -*|*.service|kubelet) ;; *) verb=${verb:-$word} ;; esac; done
case $verb in
    show) runs && state=active || state=inactive
          printf 'LoadState=loaded\\nActiveState=%s\\nSubState=running\\nUnitFileState=enabled\\n' $state ;;
    start) runs && exit 0
           [ -r /var/lib/kubelet/kubeadm-flags.env ] && . /var/lib/kubelet/kubeadm-flags.env
           setsid /usr/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \\
               --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS \\
               </dev/null >>/var/log/kubelet.log 2>&1 &
           echo $! >$pid ;;
    stop) runs && kill "$(cat $pid)" && while runs; do sleep 0.05; done; rm -f $pid ;;
    daemon-reload) ;;
    *) exit 1 ;;
esac
exit 0
"""
BEGIN = """
set -e
mount -t overlay overlay -o "lowerdir=/,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/run"
mkdir -p "$ROOT/run/containerd"
touch "$ROOT/run/containerd/containerd.sock"
hostname "$NAME"
ip link set lo up
exec chroot "$ROOT" /bin/sleep infinity
"""
STAND_IN = """\
from ansible.module_utils.basic import AnsibleModule
import json, pathlib

module = AnsibleModule(argument_spec=json.loads({spec!r}), supports_check_mode=True)
{body}
"""
FACTS = {
    "os": {"id": "debian", "family": "debian", "version": "12", "codename": "bookworm", "architecture": "x86_64"},
    "runtimes": {"containerd": {"installed": True, "answers": True, "socket": "/run/containerd/containerd.sock"}},
    "cgroups": {"hierarchy": "v2", "value": "systemd", "programs": {"containerd": {"in_force": "systemd"}}},
    "swap": {"live": []},
    "kubeadm": {"leftovers": []},
}
ANY = {name: {"type": "raw"} for name in (
    "name", "repository", "packages", "held", "allow_change", "lock_timeout_seconds", "state", "layers", "expect",
    "look",
)}  # fmt: skip
BODIES = {
    "node_info": f"module.exit_json(changed=False, ansible_facts={{'gpunode': {FACTS!r}}})",
    "package_set": "module.exit_json(changed=False)",
    "node_check": "module.exit_json(changed=False)",
}


def missing() -> str:
    """Why no such node can be made here; empty where it can."""
    if os.geteuid() != 0:
        return "only root may make a node's root and network"
    for program in ("unshare", "nsenter", "ip", "openssl"):
        if not shutil.which(program):
            return f"{program} is not installed: apt-get install util-linux iproute2 openssl"
    done = subprocess.run(
        ["unshare", "-mnup", "-f", "ip", "link", "add", "a0", "type", "veth"], capture_output=True, check=False
    )
    return "" if done.returncode == 0 else "this kernel gives no namespaces with a network of their own"


class Node:
    def __init__(self, folder: Path, name: str, address: str) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.upper = folder / "upper"
        for part in ("upper", "work", "root"):
            (folder / part).mkdir(parents=True)
        self.install()
        environment = {**os.environ, "NAME": name, "UPPER": str(self.upper), "WORK": str(folder / "work"),
                       "ROOT": str(folder / "root")}  # fmt: skip
        self.process = subprocess.Popen(
            ["unshare", "-mnup", "--propagation", "private", "--fork", "--kill-child", "sh", "-c", BEGIN],
            env=environment,
        )
        self.pid = self.entered()
        self.python = folder / "python"
        self.python.write_text(f'#!/bin/sh\nexec {" ".join(self.enter())} {sys.executable} "$@"\n')
        self.python.chmod(0o755)

    def install(self) -> None:
        source = FIXTURES / "kubernetes"
        library = self.upper / "usr/lib/kubernetes-fixture"
        library.mkdir(parents=True)
        shutil.copytree(
            CHECKOUT / "plugins/module_utils", library / "module_utils", ignore=shutil.ignore_patterns("__pycache__")
        )
        for name in ("kubernetes_fixture.py", "kube-apiserver"):
            shutil.copy(source / name, library / name)
        programs = {f"usr/bin/{name}": source / name for name in ("kubeadm", "kubelet", "kubectl", "crictl")}
        for path, origin in {**programs, "usr/lib/gpunode-lab/fail": FIXTURES / "fail"}.items():
            (self.upper / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, self.upper / path)
            (self.upper / path).chmod(0o755)
        systemctl = self.upper / "usr/local/sbin/systemctl"
        systemctl.parent.mkdir(parents=True)
        systemctl.write_text(SYSTEMCTL)
        systemctl.chmod(0o755)

    def entered(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for _attempt in range(500):
            for child in children.read_text().split():
                if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"/bin/sleep"):
                    return int(child)
            assert self.process.poll() is None, "the node ended before it began"
            time.sleep(0.02)
        raise AssertionError("the node did not begin")

    def enter(self) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-u", "-p", "-r", "-w"]

    def run(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run([*self.enter(), *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout

    def path(self, path: str) -> Path:
        """A file of the node, as long as it runs."""
        return Path(f"/proc/{self.pid}/root{path}")

    def fails(self, **how: dict) -> None:
        """Which calls of the fixtures shall fail."""
        table = {name.replace("_", " "): value for name, value in how.items()}
        self.path("/etc/gpunode-lab").mkdir(exist_ok=True)
        self.path("/etc/gpunode-lab/fail.json").write_text(json.dumps(table) if table else "")

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Site:
    """Nodes on one network, and Ansible to speak to them."""

    make: type[Node] = Node

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: dict[str, Node] = {}
        bridge = "ip link add br0 type bridge && ip link set br0 up && echo up && exec sleep infinity"
        self.switch = subprocess.Popen(["unshare", "-n", "sh", "-c", bridge], stdout=subprocess.PIPE, text=True)
        assert self.switch.stdout
        assert self.switch.stdout.readline() == "up\n"
        collection = folder / "collections/ansible_collections/gpunode/ready"
        (collection / "plugins/modules").mkdir(parents=True)
        for part in (
            "roles",
            "meta",
            "galaxy.yml",
            "plugins/filter",
            "plugins/module_utils",
            "plugins/doc_fragments",
            "plugins/plugin_utils",
        ):
            (collection / part).symlink_to(CHECKOUT / part)
        for module in (CHECKOUT / "plugins/modules").glob("*.py"):
            target = collection / "plugins/modules" / module.name
            if module.stem in BODIES:
                target.write_text(STAND_IN.format(spec=json.dumps(ANY), body=BODIES[module.stem]))
            else:
                target.symlink_to(module)

    def node(self, name: str) -> Node:
        number = len(self.nodes) + 1
        made = self.make(self.folder / name, name, f"192.0.2.{number}")
        self.nodes[name] = made
        inside = ["nsenter", "-t", str(self.switch.pid), "-n", "ip", "link"]
        subprocess.run(
            [*inside, "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", str(made.pid)],
            check=True,
        )
        subprocess.run([*inside, "set", f"port{number}", "master", "br0", "up"], check=True)
        for words in (f"addr add {made.address}/24 dev eth0", "link set eth0 up", "route add default dev eth0"):
            made.run("ip", *words.split())
        made.path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        return made

    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": f"{self.folder / 'collections'}:{CHECKOUT / 'collections'}",
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        }

    def play(self, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """The role on all nodes: the first is the first control plane, one called cp… another, the others workers."""
        first = next(iter(self.nodes))
        hosts = {}
        for name, node in self.nodes.items():
            member = "first_control_plane" if name == first else "control_plane" if name.startswith("cp") else "worker"
            hosts[name] = {"ansible_connection": "local", "ansible_python_interpreter": str(node.python),
                           "kubeadm_member": member, "kubeadm_first_control_plane": first}  # fmt: skip
        (self.folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
        play = {"hosts": "all", "gather_facts": False, "roles": ["gpunode.ready.kubeadm"]}
        (self.folder / "play.yml").write_text(json.dumps([play]))
        given = {"kubeadm_version": "1.36.4",
                 "kubeadm_timeouts": {"kubeletHealthCheck": "20s", "controlPlaneComponentHealthCheck": "30s",
                                      "tlsBootstrap": "20s", "discovery": "10s"}, **variables}  # fmt: skip
        return subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "play.yml",
             "-e", json.dumps(given), *options],
            cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip

    def end(self) -> None:
        for node in self.nodes.values():
            node.end()
        self.switch.kill()
        self.switch.wait()
