# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writing edge: every file that a module puts on a node goes through here.

A file is replaced whole or not at all: the new text is written beside it under a name nobody can guess, opened so that
a planted link is not followed, synced to the disk, given the old file's mode, owner and attributes, and renamed over
it. A full disk, a read-only file system or a power cut leaves the old file as it was. Paths are real ones.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .secrecy import hide

try:  # every Linux has it; a controller on another system imports this file only to document modules
    import fcntl
except ImportError:  # pragma: no cover
    fcntl = None  # type: ignore[assignment]

FS_IOC_GETFLAGS = 0x80086601 if struct.calcsize("l") == 8 else 0x80046601
FS_IMMUTABLE_FL = 0x10
FS_APPEND_FL = 0x20
TEMPORARY = re.compile(r"^\.(?P<name>.+)\.gpunode-(?P<pid>[0-9]+)-[0-9a-f]{16}$", re.DOTALL)


class WriteError(Exception):
    """Why a file could not be written, as a sentence that names the file and what to do. The old file is intact."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Written:
    """What was done to a file: whether anything, and where the file as it was before is kept."""

    changed: bool
    backup: str | None = None


def read_text(path: str) -> str | None:
    """The text of a file so that writing it back gives the same bytes, whatever they are; None where there is none.

    Raises ``WriteError`` where there is something that cannot be read: it must not be taken for missing.
    """
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WriteError(path, f"cannot be read: {error.strerror}") from error


def printable(text: str | None) -> str:
    """A text from ``read_text`` made fit for a module's answer, where bytes that are no UTF-8 cannot go."""
    return (text or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def octal(value: Any) -> int:
    """A mode as people write it: "0644", "644". Raises ``ValueError`` with what is none."""
    text = str(value).strip()
    if not re.fullmatch("[0-7]{3,4}", text):
        raise ValueError(text)
    return int(text, 8)


def difference(header: str, before: str | None, after: str | None) -> dict[str, str]:
    """One part of what a module answers under ``diff``. ``header`` is a path, or says what is compared.

    The files of others may hold secrets, and answers go to consoles and logs.
    """
    return {
        "before_header": header,
        "after_header": header,
        "before": hide(printable(before)),
        "after": hide(printable(after)),
    }


def replace_text(
    path: str,
    text: str,
    *,
    mode: int | None = None,
    follow: bool = False,
    backup: bool = False,
    now: float | None = None,
) -> Written:
    """Make the file's text equal to ``text``; do nothing where it is already (and so is ``mode``, where given).

    ``mode`` is that of the file afterwards; None: that of the old file, 0644 for a new one. With ``follow`` a link is
    kept and what it points to replaced, which is for files that others own; otherwise the link itself is replaced.
    With ``backup`` the file as it was is kept beside it, named after the time. Raises ``WriteError``.
    """
    if follow:
        path = os.path.realpath(path)
    sweep(path)
    old = _lstat(path)
    if old is not None and stat.S_ISDIR(old.st_mode):
        raise WriteError(path, "is a folder, where a file should be. Move it away, then run again.")
    plain = old is not None and stat.S_ISREG(old.st_mode)
    if follow and old is not None and not plain:
        raise WriteError(path, "is no regular file, so it is left alone. Replace it with one, then run again.")
    new_mode = mode if mode is not None else (stat.S_IMODE(old.st_mode) if plain and old else 0o644)
    if plain and old and read_text(path) == text:
        if stat.S_IMODE(old.st_mode) == new_mode:
            return Written(False)
        with _said(path):
            os.chmod(path, new_mode)
        return Written(True)

    temporary = _temporary(path)
    with _said(path):
        make_folder(os.path.dirname(path))
        try:
            _write_new(temporary, text, new_mode, path if plain else None)
            kept = _back_up(path, now) if backup and plain else None
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(path)
    return Written(True, kept)


def remove(path: str) -> bool:
    """Take a file or a link away; False where there is none. Raises ``WriteError``."""
    with _said(path):
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        _sync_folder(path)
    return True


def link(path: str, target: str) -> bool:
    """Make ``path`` a symbolic link to ``target``; False where it is already. A file there is replaced."""
    with contextlib.suppress(OSError):
        if os.readlink(path) == target:
            return False
    temporary = _temporary(path)
    with _said(path):
        make_folder(os.path.dirname(path))
        os.symlink(target, temporary)
        try:
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
        _sync_folder(path)
    return True


def move_aside(path: str, suffix: str = ".gpunode-disabled") -> str:
    """Rename a file that must no longer be in force, and return its new name. An older one of that name is kept."""
    aside, number = f"{path}{suffix}", 1
    while os.path.lexists(aside):
        number += 1
        aside = f"{path}{suffix}.{number}"
    with _said(path):
        os.rename(path, aside)
        _sync_folder(path)
    return aside


def make_folder(path: str, mode: int = 0o755) -> bool:
    """Make a folder and those above it with exactly this mode, whatever the umask; False where it is there already."""
    if os.path.isdir(path) or not path:
        return False
    with _said(path):
        make_folder(os.path.dirname(path), 0o755)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if os.path.isdir(path):
                return False
            raise
        os.chmod(path, mode)
    return True


def _temporary(path: str) -> str:
    """A name beside ``path`` that nobody can guess, that readers of the folder pass over, and that names its writer."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.gpunode-{os.getpid()}-{secrets.token_hex(8)}")


def _write_new(temporary: str, text: str, mode: int, like: str | None) -> None:
    """Write a file that must not exist yet, with the owner and extended attributes of ``like``."""
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
        file.flush()
        if like is not None:
            old = os.lstat(like)
            if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            _copy_attributes(like, temporary)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def _copy_attributes(source: str, target: str) -> None:
    """SELinux labels and the like. What the file system refuses is left as it gives it to new files."""
    try:
        names = os.listxattr(source, follow_symlinks=False)
    except (OSError, AttributeError):
        return
    for name in names:
        with contextlib.suppress(OSError):
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)


def _back_up(path: str, now: float | None) -> str:
    """A second name for the file as it is: renaming another over the first leaves this one with the old bytes."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() if now is None else now))
    kept, number = f"{path}.gpunode-{stamp}", 1
    while True:
        try:
            os.link(path, kept, follow_symlinks=False)
        except FileExistsError:
            number += 1
            kept = f"{path}.gpunode-{stamp}.{number}"
        else:
            return kept


def sweep(path: str) -> None:
    """Take away what an earlier run, killed while it wrote this very file, left beside it."""
    folder, name = os.path.split(path)
    try:
        siblings = os.listdir(folder or ".")
    except OSError:
        return
    for sibling in siblings:
        found = TEMPORARY.match(sibling)
        if not found or found.group("name") != name or _runs(int(found.group("pid"))):
            continue
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, sibling))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WriteError(path, f"cannot be looked at: {error.strerror}") from error


def _sync_folder(path: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _said(path: str) -> Iterator[None]:
    """Turn an ``OSError`` into words that help."""
    try:
        yield
    except OSError as error:
        raise WriteError(path, _reason(path, error)) from error


def _reason(path: str, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"not written, no space left in its file system ({error.strerror}). The old file is intact. Free space."
    if error.errno == errno.EROFS:
        return "not written, its file system is mounted read-only. The old file is intact. Remount it read-write."
    if error.errno in (errno.EPERM, errno.EACCES):
        for held in (path, os.path.dirname(path)):
            attribute = _protection(held)
            if attribute:
                return (
                    f"not written, {held} is {attribute[0]} (chattr +{attribute[1]}), which somebody set on purpose. "
                    f"The old file is intact. If it may change: chattr -{attribute[1]} {held}"
                )
        return f"not written, permission denied ({error.strerror}). The old file is intact. Run as root (become)."
    return f"not written: {error.strerror or error}. The old file is intact."


def _protection(path: str) -> tuple[str, str] | None:
    """Whether chattr(1) protects a file or folder, and by which letter."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, struct.pack("l", 0)))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if flags & FS_IMMUTABLE_FL:
        return "immutable", "i"
    return ("append-only", "a") if flags & FS_APPEND_FL else None
