# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of package_set by real dnf and real pacman share: nodes that are no guests, keys, and a server.

A node is this machine's root file system with a layer of its own over it, in mount and process namespaces of its own:
what is installed there is gone with the test, and this machine is as it was. The layer hides dpkg, so that the package
manager that is left is the one under test. Packages are *fixtures*: a script each, named for what they stand for
(``fixture-driver``, ``fixture-toolkit``, ``fixture-runtime``), with nothing of NVIDIA's or anybody else's in them.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
BEGIN = """
set -e
mount -t overlay overlay -o "lowerdir=/,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/run"
mount -t tmpfs tmpfs "$ROOT/tmp"
mkdir -p "$ROOT$CHECKOUT"
mount --bind "$CHECKOUT" "$ROOT$CHECKOUT"
exec chroot "$ROOT" "$PYTHON" -c "$INIT"
"""
# The first process of a node. As any init it lets no child that has ended linger: dnf takes such a one for alive.
INIT = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); [signal.pause() for _ in iter(int, 1)]"
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "PYTHONPATH": str(CHECKOUT / "collections"),
    "PYTHONDONTWRITEBYTECODE": "1",
}


def missing(*programs: str) -> str:
    """Why no such node can be made here; empty where it can."""
    if os.geteuid() != 0:
        return "needs root, to mount over this machine's folders"
    gone = [program for program in ("unshare", "nsenter", "gpg", *programs) if shutil.which(program) is None]
    return f"{', '.join(gone)} missing: bash tests/lab/install_packages.sh" if gone else ""


class Node:
    """A throw-away machine, and the module run in it. ``like``: the layer of another, which it begins with."""

    def __init__(self, folder: Path, like: Path | None = None) -> None:
        self.upper = folder / "upper"
        for part in ("work", "root") if like else ("upper", "work", "root"):
            (folder / part).mkdir(parents=True)
        if like:
            subprocess.run(["cp", "-a", str(like), str(self.upper)], check=True)
        environment = {
            **os.environ,
            "UPPER": str(self.upper),
            "WORK": str(folder / "work"),
            "ROOT": str(folder / "root"),
            "CHECKOUT": str(CHECKOUT),
            "PYTHON": sys.executable,
            "INIT": INIT,
        }
        argv = ["unshare", "-mp", "--propagation", "private", "--fork", "--kill-child", "sh", "-c", BEGIN]
        self.process = subprocess.Popen(argv, env=environment)
        self.pid = self._entered()

    def _entered(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for _attempt in range(3000):
            for child in children.read_text().split():
                with contextlib.suppress(OSError):
                    if (
                        Path(f"/proc/{child}/cmdline").read_bytes().rstrip(b"\0").endswith(INIT.encode())
                        and os.readlink(f"/proc/{child}/root") != "/"
                    ):
                        return int(child)
            assert self.process.poll() is None, "the node ended before it began"
            time.sleep(0.02)
        raise AssertionError("the node did not begin")

    def enter(self, *argv: str) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-m", "-p", "-r", "-w", *argv]

    def __call__(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run(self.enter(*argv), capture_output=True, text=True, check=False, env=ENVIRONMENT)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """A command that goes on beside what the test does."""
        pipe = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(self.enter(*argv), text=True, env=ENVIRONMENT, **pipe)

    def path(self, path: str) -> Path:
        """A file of the node, as long as it runs."""
        return Path(f"/proc/{self.pid}/root{path}")

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        file.chmod(mode)

    def set(self, check: bool = False, **params: object) -> dict:
        """Run package_set here as a node does, and return what it answered."""
        given = {"name": "Fixtures", **params, "_ansible_check_mode": check, "_ansible_diff": True}
        argv = self.enter(sys.executable, "-m", "ansible_collections.gpunode.ready.plugins.modules.package_set")
        told = json.dumps({"ANSIBLE_MODULE_ARGS": given})
        done = subprocess.run(argv, input=told, capture_output=True, text=True, check=False, env=ENVIRONMENT)
        assert done.stdout.strip().startswith("{"), done.stdout + done.stderr
        answer = json.loads(done.stdout)
        answer["words"] = done.stdout
        return answer

    def processes(self) -> dict[int, str]:
        """The processes of this node but its first: their pids outside, and command lines."""
        namespace = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.pid:
                with contextlib.suppress(OSError):
                    if os.readlink(entry / "ns/pid") == namespace:
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def cut_power(self, who: str, when: Callable[[], bool], seconds: float = 120) -> bool:
        """Kill all that runs here, as a power cut would, once it is time: first the command that is in the midst of it.

        Whether that time came.
        """
        found: list[int] = []
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if not found or not os.path.isdir(f"/proc/{found[0]}"):
                found = [pid for pid, command in self.processes().items() if who in command]
            elif when():
                for pid in (*found, *self.processes()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return True
            time.sleep(0.002)
        return False

    def cut_down(self, who: str, when: Callable[[], bool], **params: object) -> None:
        """The module runs until what it has started is there, and then the power goes."""
        ended: list[object] = []

        def run() -> None:
            with contextlib.suppress(AssertionError):  # it was killed, so it says nothing
                ended.append(self.set(**params))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        killed = self.cut_power(who, when)
        thread.join(60)
        assert killed, ended
        assert not ended, ended

    def files(self, *folders: str) -> dict[str, str]:
        """What is there, by its digest."""
        found = {}
        for folder in folders:
            for path in sorted(self.path(folder).rglob("*")):
                if path.is_file() and not path.is_symlink():
                    name = str(path).partition("/root/")[2]
                    found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder on loopback. ``faults``: how a path, by its end, is answered instead."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, str] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_words: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        fault = next((what for end, what in self.server.faults.items() if self.path.endswith(end)), "")
        file = self.server.folder / self.path.lstrip("/")
        if fault == "503":
            self.answer(503, b"busy")
        elif fault == "404" or not file.is_file():
            self.answer(404, b"not here")
        elif fault == "stall":
            time.sleep(30)
        else:
            data = bytearray(file.read_bytes())
            if fault == "tampered":
                data[-20] ^= 0xFF
            self.answer(200, bytes(data))

    do_HEAD = do_GET

    def answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(b"" if self.command == "HEAD" else data)


class Gpg:
    """Keys made for one run of the tests, and worth nothing."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.chmod(0o700)

    def __call__(self, *argv: str) -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--pinentry-mode", "loopback"]
        done = subprocess.run([*command, "--passphrase", "", *argv], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def key(self, name: str) -> str:
        """Make a signing key; its fingerprint."""
        self("--quick-gen-key", f"{name} (fixture) <{name}@example.org>", "rsa2048", "sign", "never")
        lines = self("--with-colons", "--list-keys", f"<{name}@example.org>").decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr"))

    def end(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, capture_output=True)
