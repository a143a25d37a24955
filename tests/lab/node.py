# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab node: one QEMU guest with an overlay disk, a forwarded ssh port and a console that is watched for panics.

Only processes that the lab started are ever stopped: by process id, and only if it is still the same process.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

from cache import LAB, LabError, cache_folder, in_use, locked, run, say
from gpus import gpus
from image import image, keys
from repository import repository, variables

FIRST_PORT = 42200
LIFETIME_SECONDS = 4 * 3600  # a forgotten node stops by itself
BOOT_SECONDS = 240
REPOSITORY_ADDRESS = "10.0.2.100"  # inside the guest; QEMU starts serve.py for each connection to it
PANIC = re.compile(r"Kernel panic.*|Unable to mount root fs.*|You are in emergency mode.*")


class Node:
    """A node by name; its folder holds all that is known about it."""

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", name):
            raise LabError(f"{name!r}: a node's name is lower-case letters, digits and dashes, as a host name is")
        self.name = name
        self.folder = cache_folder() / "nodes" / name

    @property
    def state(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / "state.json").read_text())
        except FileNotFoundError:
            raise LabError(f"{self.name}: no such node; start it with `lab.py up {self.name}`") from None

    @property
    def exists(self) -> bool:
        return (self.folder / "state.json").is_file()

    @property
    def running(self) -> bool:
        if not self.exists:
            return False
        state = self.state
        return bool(state.get("pid")) and started_at(state["pid"]) == state["pid_started"]

    @property
    def console(self) -> str:
        path = self.folder / "console.log"
        return path.read_text(errors="replace") if path.is_file() else ""

    # -- life

    def up(
        self,
        memory_mib: int = 2048,
        base: Path | None = None,
        devices: str | None = None,
        hostname: str | None = None,
    ) -> None:
        """Boot the node, from a fresh disk unless it already has one, and wait until ssh answers."""
        if self.running:
            say(f"{self.name} is already running")
            return
        base = base or image()
        available = memory_available_mib()
        if available < memory_mib + 512:
            raise LabError(f"{self.name}: {memory_mib} MiB wanted, {available} MiB free; stop another node first")
        self.folder.mkdir(parents=True, exist_ok=True)
        disk = self.folder / "disk.qcow2"
        if not disk.exists():
            run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base / "disk.raw", disk)
        elif self.exists:
            base = Path(self.state["base"])
        for attempt in (1, 2):
            self._start(memory_mib, base, devices)
            try:
                took = self.wait_for_ssh()
                break
            except LabError as error:
                self.stop()
                if attempt == 2:
                    raise
                say(f"{error}; trying once more")
        self._name_itself(hostname or self.name)
        say(f"{self.name} answers ssh after {took:.0f} s (127.0.0.1:{self.state['port']}, {self.state['accelerator']})")

    def _start(self, memory_mib: int, base: Path, devices: str | None) -> None:
        from accelerator import accelerator

        chosen, packages = accelerator(base), repository()
        with locked("nodes"):
            port = self.state["port"] if self.exists and port_is_free(self.state["port"]) else free_port()
            (self.folder / "console.log").write_text("")
            (self.folder / "qmp.sock").unlink(missing_ok=True)
            cmdline = (
                "root=/dev/vda rw console=ttyS0 net.ifnames=0 systemd.show_status=0 loglevel=4"
                " mitigations=off init_on_alloc=0"
            )
            if devices is not None:
                cmdline += f" gpunode_lab_pci.devices={devices}"
            serve = f"python3 -S {LAB}/serve.py {packages} {self.folder}/repository-faults.json"
            argv = [
                "timeout", "--signal=TERM", str(LIFETIME_SECONDS), "qemu-system-x86_64", *chosen.arguments,
                "-name", f"gpunode-lab-{self.name}", "-m", str(memory_mib), "-smp", "2",
                "-uuid", str(uuid.UUID(hashlib.md5(self.name.encode()).hexdigest())),
                "-display", "none", "-vga", "none", "-monitor", "none", "-nodefaults",
                "-chardev", f"socket,id=con,path={self.folder}/console.sock,server=on,wait=off,"
                            f"logfile={self.folder}/console.log,logappend=on",
                "-serial", "chardev:con",
                "-qmp", f"unix:{self.folder}/qmp.sock,server=on,wait=off",
                "-kernel", str(base / "vmlinuz"), "-initrd", str(base / "initrd"), "-append", cmdline,
                "-drive", f"file={self.folder}/disk.qcow2,format=qcow2,if=virtio,cache=unsafe,discard=unmap",
                "-device", "virtio-rng-pci",
                "-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{port}-:22,"
                        f"guestfwd=tcp:{REPOSITORY_ADDRESS}:80-cmd:{serve}",
            ]  # fmt: skip
            with (self.folder / "qemu.log").open("w") as log:
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
                )
            state = {
                "name": self.name, "pid": process.pid, "pid_started": started_at(process.pid), "port": port,
                "memory_mib": memory_mib,
                "base": str(base), "repository": str(packages), "devices": devices, "accelerator": chosen.name,
            }  # fmt: skip
            (self.folder / "state.json").write_text(json.dumps(state, indent=2) + "\n")
            time.sleep(0.3)
            if process.poll() is not None:
                raise LabError(f"{self.name}: QEMU stopped at once: {(self.folder / 'qemu.log').read_text().strip()}")

    def _name_itself(self, hostname: str) -> None:
        """Tell a fresh node its name, and its simulated NVML which GPUs are on the bus."""
        table = json.dumps(gpus(self.state["devices"] or "2335"))
        self.ssh(
            "test -e /etc/gpunode-lab/gpus.json && exit 0\n"
            f"hostnamectl hostname {hostname}; echo '127.0.1.1 {hostname}' >> /etc/hosts\n"
            f"cat > /etc/gpunode-lab/gpus.json <<'END'\n{table}\nEND\n"
        )

    def wait_for_ssh(self, other_than: str | None = None, limit: float = BOOT_SECONDS) -> float:
        """Wait until sshd answers (after a reboot: under another boot id). A panic ends the wait at once."""
        began = time.monotonic()
        while time.monotonic() - began < limit:
            if match := PANIC.search(self.console):
                raise LabError(f"{self.name} did not boot: {match.group(0).strip()} (see {self.folder}/console.log)")
            if not self.running:
                raise LabError(
                    f"{self.name}: QEMU stopped: {(self.folder / 'qemu.log').read_text().strip() or 'no word'}"
                )
            if self._ssh_banner() and (other_than is None or self.boot_id(quiet=True) not in (None, other_than)):
                return time.monotonic() - began
            time.sleep(0.5)
        last = "\n".join(self.console.splitlines()[-5:])
        raise LabError(f"{self.name}: no ssh after {limit:.0f} s; the console ends with:\n{last}")

    def _ssh_banner(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.state["port"]), timeout=5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def boot_id(self, quiet: bool = False) -> str | None:
        done = self._ssh_process("cat /proc/sys/kernel/random/boot_id", 15)
        if done.returncode != 0:
            if quiet:
                return None
            raise LabError(f"{self.name}: {done.stderr.strip()}")
        return done.stdout.strip()

    def reboot(self) -> None:
        """``systemctl reboot`` in the node; waits for the next boot."""
        before = self.boot_id()
        (self.folder / "console.log").write_text("")
        self._ssh_process("systemctl reboot", 30)
        took = self.wait_for_ssh(other_than=before)
        say(f"{self.name} is back after {took:.0f} s")

    def cut_power(self) -> None:
        """End the guest's process: what it had not written to its disk is lost. ``up`` boots it again."""
        self._end(signal.SIGTERM)
        say(f"{self.name}: power cut")

    def stop(self) -> None:
        """Ask the guest to power off, for at most 20 seconds, then end its process."""
        if self.running:
            self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if not self.running:
            return
        pid = self.state["pid"]
        os.kill(pid, number)
        for _ in range(100):
            if not self.running:
                return
            time.sleep(0.1)
        os.killpg(pid, signal.SIGKILL)

    def down(self) -> None:
        """Stop the node and remove its disk."""
        self._end(signal.SIGTERM)
        if self.folder.is_dir():
            shutil.rmtree(self.folder)
            say(f"{self.name} is down")

    # -- talk

    def ssh_arguments(self) -> list[str]:
        folder = keys()
        return [
            "-F", "/dev/null", "-i", str(folder / "id_ed25519"), "-o", "IdentitiesOnly=yes",
            "-o", f"UserKnownHostsFile={folder / 'known_hosts'}", "-o", "HostKeyAlias=gpunode-lab",
            "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR",
        ]  # fmt: skip

    def _ssh_process(self, command: str, timeout: float) -> subprocess.CompletedProcess[str]:
        argv = ["ssh", *self.ssh_arguments(), "-p", str(self.state["port"]), "root@127.0.0.1", command]
        try:
            return subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 124, "", f"no answer within {timeout:.0f} s")

    def ssh(self, command: str, timeout: float = 120) -> str:
        done = self._ssh_process(command, timeout)
        if done.returncode != 0:
            raise LabError(f"{self.name}: `{command}` ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _control_path(self) -> Path:
        """Short, because a Unix socket's path may have 108 characters and ssh adds some of its own."""
        return keys() / f"cp-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}-%r"  # %r: one a user

    def inventory(self) -> dict[str, Any]:
        """The node's variables for Ansible: how to reach it, and where its packages come from."""
        arguments = [word for word in self.ssh_arguments() if word not in ("-F", "/dev/null")]
        key = arguments.index("-i")
        private = arguments[key + 1]
        connection = {
            "ansible_host": "127.0.0.1",
            "ansible_user": "root",
            "ansible_ssh_private_key_file": private,
            # one connection a node, for Ansible and testinfra alike: a login costs the emulated node seconds
            "ansible_ssh_common_args": " ".join(
                arguments[:key] + arguments[key + 2 :] + ["-o", f"ControlPath={self._control_path()}"]
            ),
            "ansible_python_interpreter": "/usr/bin/python3",
            "gpunode_mute": ["clock-not-synchronised"],  # QEMU's user network lets no time protocol through
            **variables(),
        }
        if self.exists:
            connection["ansible_port"] = self.state["port"]
        return connection


def nodes() -> list[Node]:
    """Every node that runs."""
    found = [Node(path.parent.name) for path in sorted(cache_folder().glob("nodes/*/state.json"))]
    return [node for node in found if node.running]


def started_at(pid: int) -> str | None:
    """When a process started, in clock ticks since boot: with it, a process id is never mistaken for another's."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def memory_available_mib() -> int:
    match = re.search(r"^MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(match.group(1)) // 1024 if match else 1 << 20


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that no node was given and nobody listens on."""
    taken = {json.loads(path.read_text()).get("port") for path in cache_folder().glob("nodes/*/state.json")}
    for port in range(FIRST_PORT, FIRST_PORT + 500):
        if port not in taken and port_is_free(port):
            return port
    raise LabError("no free port for ssh between 42200 and 42700")


__all__ = ["Node", "in_use", "nodes"]
