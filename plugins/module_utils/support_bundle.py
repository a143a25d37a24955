# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a node goes into a support bundle: the configuration of its layers and the newest of its logs, no secrets.

Rules of this file: it only looks; nothing is kept that did not pass through ``redaction``; memory stays bounded, for
one source is held at a time. Files that hold nothing but credentials are read to know what must not pass, and never
kept. The same content gives the same bytes.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import stat
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

from .host import PATH, Host
from .log_sources import journal_command, read_output, with_rotated
from .redaction import Redactor
from .wording import count

SOURCE_BYTES = 1 << 20  # the newest of each log
CONFIG_BYTES = 1 << 18  # of each file of configuration
NODE_BYTES = 16 << 20  # of a node, before it is packed
JOURNAL_LINES = 20_000  # a line of the journal has 50 bytes at least: these make a MiB
EPOCH = 315_532_800  # 1980-01-01: an archive of the same content has the same bytes
_CHUNK = 1 << 16

# Where the layers keep what they are told. What is not there is not missed.
CONFIGURATION = (
    "/etc/crio/crio.conf",
    "/etc/crio/crio.conf.d/*",
    "/etc/containers/registries.conf",
    "/etc/containers/registries.conf.d/*",
    "/etc/crictl.yaml",
    "/etc/containerd/*.toml",
    "/etc/containerd/conf.d/*",
    "/etc/containerd/certs.d/*/hosts.toml",
    "/etc/docker/daemon.json",
    "/etc/nvidia-container-runtime/*.toml",
    "/etc/cdi/*",
    "/var/run/cdi/*",
    "/var/lib/kubelet/config.yaml",
    "/var/lib/kubelet/kubeadm-flags.env",
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
    "/etc/kubernetes/manifests/*.yaml",
    "/etc/cni/net.d/*.conf",
    "/etc/cni/net.d/*.conflist",
    "/etc/rancher/k3s/*.yaml",
    "/etc/rancher/k3s/config.yaml.d/*",
    "/etc/rancher/rke2/*.yaml",
    "/var/lib/rancher/*/agent/etc/containerd/*.toml",
    "/var/lib/rancher/*/agent/etc/containerd/*.tmpl",
    "/etc/systemd/system/k3s*.service.env",
    *(
        f"{folder}/{unit}.service.d/*.conf"
        for folder in ("/etc/systemd/system", "/usr/lib/systemd/system")
        for unit in ("kubelet", "containerd", "crio", "docker", "k3s", "k3s-agent", "nvidia-*")
    ),
    "/etc/modprobe.d/*.conf",
    "/etc/modules-load.d/*.conf",
    "/etc/sysctl.d/*.conf",
    "/proc/cmdline",
    "/proc/driver/nvidia/version",
    "/proc/driver/nvidia/params",
)
# Files that are credentials through and through, in names that match the patterns above.
NEVER = re.compile(r"/(?:k3s|rke2)\.yaml$|kubeconfig|auth\.json$|\.(?:key|pem|crt)$")

# Where credentials lie, and whether the file is nothing else. They are read so that no copy of them passes elsewhere.
CREDENTIALS: tuple[tuple[str, bool], ...] = (
    ("/etc/kubernetes/*.conf", False),
    ("/var/lib/kubelet/*kubeconfig*", False),
    ("/etc/cni/net.d/*kubeconfig*", False),
    ("/etc/rancher/*/*.yaml", False),
    ("/etc/systemd/system/k3s*.service.env", False),
    ("/var/lib/rancher/*/server/*token", True),
    ("/var/lib/rancher/*/server/cred/*", False),
    ("/etc/rancher/node/password", True),
    *(
        (f"{home}/{file}", False)
        for home in ("/root", "/home/*")
        for file in (
            ".kube/config",
            ".docker/config.json",
            ".config/containers/auth.json",
            ".aws/credentials",
            ".netrc",
        )
    ),
    ("/var/lib/kubelet/config.json", False),
    ("/run/containers/*/auth.json", False),
    ("/run/user/*/containers/auth.json", False),
    ("/etc/crio/*auth*", False),
    ("/etc/environment", False),
)


@dataclass(frozen=True)
class Newest:
    """The newest bytes of a source: whole lines, how many bytes before them were left out, why it could not be read."""

    data: bytes = b""
    left_out: int = 0
    problem: str = ""
    more: bool = False  # there was older text, nobody counted how much

    @property
    def cut(self) -> str:
        if self.left_out:
            return f"older lines ({count(self.left_out, 'byte')}) are left out"
        return "older lines are left out" if self.more else ""


# ---------------------------------------------------------------- reading


def newest(stream: IO[bytes], limit: int) -> Newest:
    """The last whole lines of a stream within ``limit`` bytes; the stream may be of any length."""
    kept: deque[bytes] = deque()
    size = total = 0
    while True:
        chunk = stream.read(_CHUNK)
        if not chunk:
            break
        kept.append(chunk)
        size += len(chunk)
        total += len(chunk)
        while size - len(kept[0]) > limit:
            size -= len(kept.popleft())
    data = b"".join(kept)
    return Newest(data) if total <= limit else _whole_lines(data[-limit:], total)


def _whole_lines(data: bytes, total: int) -> Newest:
    """Without the line that was cut through: what is left of it may be half a secret."""
    data = data[data.find(b"\n") + 1 :] if b"\n" in data else b""
    return Newest(data, total - len(data))


def opened(path: str) -> IO[bytes]:
    """A regular file, never a device or a pipe that would not end. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no regular file")
    return os.fdopen(descriptor, "rb")


def newest_of_file(path: str, limit: int) -> Newest:
    """The newest of a file, unpacked where gzip packed it."""
    try:
        with opened(path) as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=stream) as unpacked:
                    return newest(unpacked, limit)  # type: ignore[arg-type]
            size = os.fstat(stream.fileno()).st_size
            if size > limit:
                stream.seek(size - limit)
                return _whole_lines(stream.read(limit), size)
            return Newest(stream.read(limit))
    except (OSError, EOFError) as error:
        return Newest(problem=getattr(error, "strerror", None) or str(error))


def newest_of_command(argv: Sequence[str], limit: int) -> Newest:
    """The newest of what a command prints."""
    environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    found: list[Newest] = []
    problem = read_output(argv, environment, lambda out: found.append(newest(out, limit)))
    return Newest(problem=problem) if problem else found[0]


# ---------------------------------------------------------------- what there is


def configuration_files(host: Host) -> list[str]:
    found = {path for pattern in CONFIGURATION for path in host.glob(pattern)}
    return sorted(path for path in found if not NEVER.search(path))


def learn(host: Host, redactor: Redactor) -> None:
    """Tell the redactor every credential that the node keeps, so that it is known wherever it stands."""
    wanted = {path: whole for pattern, whole in CREDENTIALS for path in host.glob(pattern)}
    for path in configuration_files(host):
        wanted.setdefault(path, False)
    for path, whole in sorted(wanted.items()):
        data = _beginning(host.path(path))
        if data is not None:
            redactor.learn(data[:CONFIG_BYTES].decode(errors="replace"), whole=whole)


def _beginning(path: str) -> bytes | None:
    try:
        with opened(path) as stream:
            return stream.read(CONFIG_BYTES + 1)
    except OSError:
        return None


def configurations(host: Host) -> Iterator[tuple[str, Newest, str]]:
    """(source, what it holds, what was cut) of each file of configuration."""
    for path in configuration_files(host):
        data = _beginning(host.path(path))
        if data is None:
            yield path, Newest(problem="no regular file, or it cannot be read"), ""
            continue
        cut = ""
        if len(data) > CONFIG_BYTES:
            data, cut = data[:CONFIG_BYTES], f"what follows the first {CONFIG_BYTES >> 10} KiB is left out"
            data = data[: data.rfind(b"\n") + 1]
        yield path, Newest(data), cut


def logs(
    host: Host, *, kernel: bool, units: Iterable[str], paths: Iterable[str], rotated: bool, since: str
) -> Iterator[tuple[str, Newest]]:
    """(source, its newest lines) of the same logs that ``diagnose`` reads."""
    if kernel:
        found = _journal((), since, kernel=True)
        yield "kernel", newest_of_command(["dmesg", "--kernel"], SOURCE_BYTES) if found.problem else found
    for unit in units:
        yield f"unit {unit}", _journal([unit], since, kernel=False)
    for given in paths:
        for path in with_rotated(host.path(given)) if rotated else [host.path(given)]:
            yield path[len(host.path("/")) - 1 :], newest_of_file(path, SOURCE_BYTES)


def _journal(units: Sequence[str], since: str, kernel: bool) -> Newest:
    command = journal_command(units, since, kernel, output="short-iso-precise")
    found = newest_of_command([*command, f"--lines={JOURNAL_LINES}"], SOURCE_BYTES)
    if not found.left_out and found.data.count(b"\n") >= JOURNAL_LINES:
        return replace(found, more=True)
    return found


# ---------------------------------------------------------------- the archive


class Archive:
    """A tar.gz that holds nothing of who made it and when: names and contents alone. ``stream`` is not closed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._packed = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=stream, mtime=0)
        self._tar = tarfile.open(fileobj=self._packed, mode="w|", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        self._names: set[str] = set()

    def add(self, name: str, data: bytes) -> str:
        """Add a file; answers the name it got, which is a safe one and no other's."""
        name = chosen = safe_name(name)
        number = 1
        while chosen in self._names:
            number += 1
            chosen = f"{name}.{number}"
        self._names.add(chosen)
        entry = tarfile.TarInfo(chosen)
        entry.size, entry.mtime, entry.mode = len(data), EPOCH, 0o600
        self._tar.addfile(entry, io.BytesIO(data))
        return chosen

    def close(self) -> None:
        self._tar.close()
        self._packed.close()


def safe_name(name: str) -> str:
    """A relative path of plain characters, whatever was given."""
    parts = [re.sub(r"[^\w.@+=,-]", "_", part, flags=re.ASCII) for part in name.split("/")]
    kept = [part[:200] for part in parts if part.strip(".")]
    return "/".join(kept) or "_"


def members(stream: IO[bytes], limit: int = 2 * NODE_BYTES) -> Iterator[tuple[str, bytes]]:
    """The files of an archive that a node sent, one at a time, with safe names; what is no file is left out.

    Raises ``ValueError`` where it is no such archive, or one that would not end.
    """
    total = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|gz") as tar:
            for entry in tar:
                if not entry.isreg():
                    continue
                total += entry.size
                if entry.size > 2 * SOURCE_BYTES or total > limit:
                    raise ValueError(f"{entry.name} is larger than a node's part may be")
                taken = tar.extractfile(entry)
                yield safe_name(entry.name), taken.read() if taken else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"it cannot be read: {error}") from None


# ---------------------------------------------------------------- one node


def gather(
    host: Host,
    stream: IO[bytes],
    *,
    kernel: bool = True,
    units: Iterable[str] = (),
    paths: Iterable[str] = (),
    rotated: bool = False,
    since: str = "boot",
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Write the node's part of a bundle to ``stream``: (what it holds, what could not be read and why)."""
    redactor = Redactor()
    learn(host, redactor)
    archive = Archive(stream)
    held: list[dict[str, Any]] = []
    unread: list[dict[str, str]] = []
    room = NODE_BYTES

    def keep(folder: str, source: str, found: Newest, cut: str) -> None:
        nonlocal room
        if found.problem:
            unread.append({"source": source, "reason": redactor.text(found.problem)})
            return
        text = redactor.text(found.data.decode(errors="replace"), cut=bool(cut))
        data = text.encode(errors="replace")
        if len(data) > room:
            unread.append({"source": source, "reason": f"the node's part would be over {NODE_BYTES >> 20} MiB"})
            return
        room -= len(data)
        name = archive.add(f"{folder}/{source.strip('/').replace(' ', '-')}".removesuffix(".gz"), data) if data else ""
        held.append({"source": source, "file": name, "bytes": len(data), "cut": cut})

    for source, found, cut in configurations(host):
        keep("config", source, found, cut)
    for source, found in logs(host, kernel=kernel, units=units, paths=paths, rotated=rotated, since=since):
        keep("logs", source, found, found.cut)
    archive.close()
    return held, unread
