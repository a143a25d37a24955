# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's ~/.kube/config that leads to this node's cluster, written as that user: no link of theirs is followed.

Rules of this file: ``decide`` is pure; ``converge`` runs in a process that has become the user. A kubeconfig of another
cluster, or of several, is the user's own work and is never replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import dataclass
from typing import Any

from . import files
from .cluster.kubeconfig import Endpoint, KubeconfigError, endpoint
from .machine_yaml import YamlError, loads


@dataclass(frozen=True)
class User:
    name: str
    uid: int
    gid: int
    home: str

    @property
    def path(self) -> str:
        return os.path.join(self.home, ".kube", "config")


@dataclass(frozen=True)
class Outcome:
    """What became of a user's kubeconfig: ``result`` is created, changed, unchanged, kept, removed or absent."""

    user: str
    path: str
    result: str
    why: str = ""

    @property
    def changed(self) -> bool:
        return self.result in ("created", "changed", "removed")


def cluster_of(where: Endpoint) -> tuple[str, str]:
    return where.server, "".join(where.ca.split())


def decide(text: str, wanted: str) -> str:
    """Empty where ``text`` may be replaced by ``wanted``; else why it is kept."""
    if not text.strip():
        return ""
    try:
        data = loads(text) if text.lstrip()[:1] != "{" else json.loads(text)
        there, ours = endpoint(text, "config"), endpoint(wanted, "config")
    except (KubeconfigError, YamlError, ValueError):
        return "it is no kubeconfig that can be read"
    several = [key for key in ("clusters", "users", "contexts") if len(data.get(key) or []) > 1]
    if several:
        return f"it has several {' and '.join(several)}"
    if cluster_of(there) != cluster_of(ours):
        return f"it leads to another cluster, {there.server}"
    return ""


def converge(user: User, wanted: str, write: bool = True) -> Outcome:
    """Have the user's kubeconfig be ``wanted``, as the user that this process is. Raises ``files.WriteError``."""
    path, folder = user.path, os.path.dirname(user.path)
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise files.WriteError(path, f"cannot be seen: {error.strerror}") from None
    if found is not None and not stat.S_ISREG(found.st_mode):
        return Outcome(user.name, path, "kept", "it is no regular file")
    same = False
    if found is not None:
        text = _read(path)
        if text is not None:
            same = text == wanted
            why = "" if same else decide(text, wanted)
            if why:
                return Outcome(user.name, path, "kept", why)
    if same and found and stat.S_IMODE(found.st_mode) == 0o600 and found.st_uid == user.uid:
        return Outcome(user.name, path, "unchanged")
    if write:
        files.make_folder(folder, 0o700)
        if found is not None and found.st_uid != user.uid:
            files.remove(path)  # root's file in the user's folder: the new one is the user's
        files.replace_text(path, wanted, mode=0o600, backup=found is not None and not same and found.st_uid == user.uid)
    return Outcome(user.name, path, "changed" if found is not None else "created")


def withdraw(user: User, wanted: str, write: bool = True) -> Outcome:
    """Take the user's kubeconfig away where it is exactly the one that was given."""
    path = user.path
    text = _read(path) if os.path.isfile(path) and not os.path.islink(path) else None
    if text is None:
        return Outcome(user.name, path, "absent")
    if text != wanted:
        why = (decide(text, wanted) if wanted else "the one it was made of is gone") or "it was changed since"
        return Outcome(user.name, path, "kept", why)
    if write:
        files.remove(path)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))
    return Outcome(user.name, path, "removed")


def _read(path: str) -> str | None:
    """The text; None where this user may not read it."""
    try:
        return files.read_text(path)
    except files.WriteError:
        return None


def become(user: User) -> None:
    """This process is that user from now on."""
    os.setgroups([user.gid])
    os.setgid(user.gid)
    os.setuid(user.uid)


def own_folder(user: User) -> bool:
    """Give ~/.kube to its user where it is root's, as `sudo kubectl` leaves it. Done as root; no link is followed."""
    try:
        descriptor = os.open(os.path.dirname(user.path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_uid == user.uid:
            return False
        os.fchown(descriptor, user.uid, user.gid)
        return True
    finally:
        os.close(descriptor)


def as_user(user: User, wanted: str, present: bool, write: bool) -> dict[str, Any]:
    """``converge`` or ``withdraw`` in a process that is the user. Root's own are done here."""
    work = converge if present else withdraw
    if user.uid == os.geteuid():
        return _done(work, user, wanted, write)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        status = 1
        with contextlib.suppress(BaseException):
            os.close(reader)
            become(user)
            told = _done(work, user, wanted, write)
            os.write(writer, json.dumps(told).encode())
            status = 0
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    try:
        return json.loads(answer)
    except ValueError:
        return {"problem": f"{user.path}: the process that should have written it as {user.name} died"}


def _done(work: Any, user: User, wanted: str, write: bool) -> dict[str, Any]:
    try:
        outcome = work(user, wanted, write)
    except files.WriteError as error:
        return {"problem": str(error)}
    return {
        "user": outcome.user,
        "path": outcome.path,
        "result": outcome.result,
        "why": outcome.why,
        "changed": outcome.changed,
    }
