# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge to the node: every file, folder and command that a collector looks at goes through a ``Host``.

Rooted at ``/`` on a node; tests root it at a captured tree and hand in a ``run`` of their own. It only looks:
what writes to a node lives in ``files.py``.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Completed:
    """What a command said: exit status, standard output, standard error. 127: no such program; 124: timed out."""

    rc: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.rc == 0


Run = Callable[[Sequence[str], float], Completed]


def run_command(argv: Sequence[str], timeout_seconds: float) -> Completed:
    """Run ``argv`` without a shell, in the C locale. Never raises: the exit status says what went wrong."""
    environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": os.environ.get("HOME", "/root")}
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        return Completed(127, "", f"{argv[0]}: no such program")
    except subprocess.TimeoutExpired:
        return Completed(124, "", f"{' '.join(argv)}: no answer within {timeout_seconds:g} s")
    except OSError as error:
        return Completed(126, "", f"{argv[0]}: {error.strerror}")
    except ValueError as error:  # a NUL in an argument, or text that is no UTF-8
        return Completed(126, "", f"{argv[0]!r}: {error}")
    return Completed(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


class Host:
    """A node's file system and commands. Paths are absolute, as the node itself names them."""

    def __init__(self, root: str = "/", run: Run | None = None) -> None:
        self.root = root.rstrip("/") or "/"
        self._run = run or (run_command if self.root == "/" else self._captured)

    @staticmethod
    def _captured(argv: Sequence[str], timeout_seconds: float) -> Completed:
        return Completed(127, "", f"{argv[0]}: not run, this is a captured tree")

    def path(self, path: str) -> str:
        """Where ``path`` really lies."""
        return path if self.root == "/" else self.root + path

    def read(self, path: str) -> str:
        """The text of a file. Raises ``OSError``; bytes that are not UTF-8 are replaced."""
        with open(self.path(path), "rb") as file:
            return file.read().decode(errors="replace")

    def text(self, path: str) -> str | None:
        """The text of a file, or None where there is none or it cannot be read."""
        try:
            return self.read(path)
        except OSError:
            return None

    def line(self, path: str) -> str | None:
        """The text of a one-line file such as those of /proc and /sys, stripped; None where there is none."""
        text = self.text(path)
        return None if text is None else text.strip()

    def exists(self, path: str) -> bool:
        return os.path.exists(self.path(path))

    def is_dir(self, path: str) -> bool:
        return os.path.isdir(self.path(path))

    def is_link(self, path: str) -> bool:
        return os.path.islink(self.path(path))

    def is_executable(self, path: str) -> bool:
        return os.path.isfile(self.path(path)) and os.access(self.path(path), os.X_OK)

    def readlink(self, path: str) -> str | None:
        try:
            return os.readlink(self.path(path))
        except OSError:
            return None

    def glob(self, pattern: str) -> list[str]:
        """The node's own names of the paths that match, sorted."""
        cut = 0 if self.root == "/" else len(self.root)
        return sorted(found[cut:] for found in glob.glob(self.path(pattern)))

    def list(self, path: str) -> list[str]:
        """The names in a folder, sorted; empty where there is no such folder."""
        try:
            return sorted(os.listdir(self.path(path)))
        except OSError:
            return []

    def stat(self, path: str) -> os.stat_result | None:
        try:
            return os.stat(self.path(path))
        except OSError:
            return None

    def statvfs(self, path: str) -> os.statvfs_result | None:
        try:
            return os.statvfs(self.path(path))
        except OSError:
            return None

    def which(self, program: str, path: str = PATH) -> str | None:
        """The absolute path of a program, looked for in ``path``; None where there is none."""
        if self.root == "/":
            return shutil.which(program, path=path)
        for folder in path.split(":"):
            if self.is_executable(f"{folder}/{program}"):
                return f"{folder}/{program}"
        return None

    def run(self, *argv: str, timeout_seconds: float = 10.0) -> Completed:
        """Run a command that only looks. Never raises."""
        return self._run(argv, timeout_seconds)
