# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.stage("process")

COLLECTIONS = str(Path(files.__file__).absolute().parents[5])


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.case(45, "umask 0: files are 0644")
def test_a_new_file_is_0644_whatever_the_umask(tmp_path):
    path = tmp_path / "new" / "deep" / "file.conf"
    before = os.umask(0)

    try:
        written = files.replace_text(str(path), "text\n")
    finally:
        os.umask(before)

    assert written.changed
    assert path.read_text() == "text\n"
    assert mode_of(path) == 0o644
    assert mode_of(tmp_path / "new") == 0o755


def test_mode_and_owner_of_the_old_file_are_kept(tmp_path):
    path = tmp_path / "fstab"
    path.write_text("old\n")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12, 34)
    owner = (path.stat().st_uid, path.stat().st_gid)

    files.replace_text(str(path), "new\n")

    assert mode_of(path) == 0o640
    assert (path.stat().st_uid, path.stat().st_gid) == owner


def test_the_same_text_changes_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_text("text\n")
    before = path.stat()

    written = files.replace_text(str(path), "text\n", backup=True)

    assert not written.changed
    assert written.backup is None
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_same_text_with_another_mode_gets_the_mode(tmp_path):
    path = tmp_path / "file"
    path.write_text("text\n")

    written = files.replace_text(str(path), "text\n", mode=0o600)

    assert written.changed
    assert mode_of(path) == 0o600


def test_the_backup_is_the_old_file_itself_named_after_the_time(tmp_path):
    path = tmp_path / "fstab"
    path.write_text("old\n")
    inode = path.stat().st_ino

    first = files.replace_text(str(path), "new\n", backup=True, now=0)
    second = files.replace_text(str(path), "newer\n", backup=True, now=0)

    assert first.backup == f"{path}.gpunode-19700101T000000Z"
    assert Path(first.backup).read_text() == "old\n"
    assert Path(first.backup).stat().st_ino == inode
    assert Path(second.backup).read_text() == "new\n"
    assert path.read_text() == "newer\n"


@pytest.mark.parametrize("data", [b"caf\xe9 \xff\n", b"a\r\nb\n", b"\x00"])
def test_bytes_that_are_no_utf8_survive(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)

    files.replace_text(str(path), files.read_text(str(path)) + "more\n")

    assert path.read_bytes() == data + b"more\n"


def test_a_link_is_replaced_and_what_it_points_to_left_alone(tmp_path):
    target = tmp_path / "target"
    target.write_text("mine\n")
    path = tmp_path / "file.conf"
    path.symlink_to(target)

    files.replace_text(str(path), "ours\n")

    assert not path.is_symlink()
    assert target.read_text() == "mine\n"


def test_with_follow_the_link_stays_and_its_target_is_replaced(tmp_path):
    target = tmp_path / "target"
    target.write_text("old\n")
    path = tmp_path / "fstab"
    path.symlink_to(target)

    files.replace_text(str(path), "new\n", follow=True)

    assert path.is_symlink()
    assert target.read_text() == "new\n"


def test_a_device_is_never_replaced(tmp_path):
    path = tmp_path / "fstab"
    path.symlink_to("/dev/null")

    with pytest.raises(files.WriteError, match="no regular file"):
        files.replace_text(str(path), "new\n", follow=True)

    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_folder_in_the_way_is_named(tmp_path):
    with pytest.raises(files.WriteError, match="is a folder"):
        files.replace_text(str(tmp_path), "text\n")


@pytest.mark.case(47, "a link at the temporary name of a file")
def test_a_link_planted_at_the_temporary_name_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    planted = tmp_path / ".file.gpunode-planted"
    planted.symlink_to(victim)

    with pytest.raises(FileExistsError):
        files._write_new(str(planted), "ours\n", 0o644, None)

    assert victim.read_text() == "precious\n"


def test_the_temporary_name_cannot_be_guessed(tmp_path):
    names = {files._temporary(str(tmp_path / "file")) for _ in range(100)}

    assert len(names) == 100
    assert all(files.TEMPORARY.match(Path(name).name) for name in names)


def test_what_a_killed_run_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = tmp_path / f".file.gpunode-{gone.pid}-0123456789abcdef"
    living = tmp_path / f".file.gpunode-{os.getpid()}-0123456789abcdef"
    other = tmp_path / f".other.gpunode-{gone.pid}-0123456789abcdef"
    for path in (left, living, other):
        path.write_text("half")

    files.replace_text(str(tmp_path / "file"), "text\n")

    assert names(tmp_path) == sorted([living.name, other.name, "file"])


@pytest.mark.case(15, "no room while a file is written (a limit of the process)")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old\n")
    code = (
        "import resource, signal, sys\n"
        "from ansible_collections.gpunode.ready.plugins.module_utils import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
        "try:\n"
        "    files.replace_text(sys.argv[1], 'x' * 4096)\n"
        "except files.WriteError as error:\n"
        "    print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": COLLECTIONS},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "The old file is intact" in done.stdout
    assert path.read_text() == "old\n"
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root, to mount a small file system")
@pytest.mark.case(15, "no room while a file is written (a full file system)")
def test_a_file_system_without_space_is_said_to_be_full(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs: run as root outside of a container")
    try:
        path = tmp_path / "file"
        path.write_text("old\n")

        with pytest.raises(files.WriteError, match="no space left in its file system"):
            files.replace_text(str(path), "x" * 200_000)

        assert path.read_text() == "old\n"
        assert names(tmp_path) == ["file"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root, to mount a file system")
@pytest.mark.case(20, "a file system mounted read-only")
def test_a_read_only_file_system_is_named(tmp_path):
    options = ["-t", "tmpfs", "-o", "ro", "tmpfs"]
    if subprocess.run(["mount", *options, str(tmp_path)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs: run as root outside of a container")
    try:
        with pytest.raises(files.WriteError, match="mounted read-only"):
            files.replace_text(str(tmp_path / "file"), "text\n")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("chattr"), reason="needs root and chattr (e2fsprogs)")
@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.case(20, "an immutable file, an immutable folder")
def test_an_immutable_file_or_folder_is_named_with_the_command_that_frees_it(tmp_path, what):
    path = tmp_path / "file"
    path.write_text("old\n")
    held = path if what == "file" else tmp_path
    if subprocess.run(["chattr", "+i", str(held)], capture_output=True).returncode:
        pytest.skip(f"needs a file system with file attributes, which {tmp_path} has not")
    try:
        with pytest.raises(files.WriteError, match=f"chattr -i {held}$"):
            files.replace_text(str(path), "new\n")
    finally:
        subprocess.run(["chattr", "-i", str(held)], check=True)
    assert path.read_text() == "old\n"
    assert names(tmp_path) == ["file"]


@pytest.mark.case(25, "a writer is killed between writing and renaming")
def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old\n")
    code = (
        "import os, signal, sys\n"
        "from ansible_collections.gpunode.ready.plugins.module_utils import files\n"
        "os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.replace_text(sys.argv[1], 'new')\n"
    )

    killed = subprocess.run(
        [sys.executable, "-c", code, str(path)], env={**os.environ, "PYTHONPATH": COLLECTIONS}, check=False
    )
    left = path.read_text()
    files.replace_text(str(path), "new\n")

    assert killed.returncode == -signal.SIGKILL
    assert left == "old\n"
    assert path.read_text() == "new\n"
    assert names(tmp_path) == ["file"]


def test_unreadable_is_not_missing(tmp_path):
    assert files.read_text(str(tmp_path / "none")) is None
    with pytest.raises(files.WriteError, match="cannot be read"):
        files.read_text(str(tmp_path))


def test_a_mask_is_a_link_and_made_once(tmp_path):
    path = tmp_path / "deep" / "x.swap"

    first = files.link(str(path), "/dev/null")
    second = files.link(str(path), "/dev/null")

    assert (first, second) == (True, False)
    assert os.readlink(path) == "/dev/null"
    assert names(tmp_path / "deep") == ["x.swap"]


def test_moving_aside_keeps_what_was_moved_before(tmp_path):
    path = tmp_path / "x.swap"
    moved = []

    for text in ("one", "two"):
        path.write_text(text)
        moved.append(Path(files.move_aside(str(path))))

    assert [aside.read_text() for aside in moved] == ["one", "two"]


def test_removing_twice_is_removing_once(tmp_path):
    path = tmp_path / "file"
    path.write_text("")

    assert [files.remove(str(path)), files.remove(str(path))] == [True, False]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_written_back_as_they_were(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    text = files.read_text(str(path))
    path.unlink()

    files.replace_text(str(path), text)

    assert path.read_bytes() == data
    files.printable(text).encode()


def test_every_error_says_that_the_old_file_is_intact():
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
        assert "The old file is intact" in files._reason("/nowhere/file", OSError(number, os.strerror(number)))


@pytest.mark.parametrize("mode", ["rwx", "0999", "-1", "100000", "", "0o644", "6 4 4", "0_6_4"])
def test_what_is_no_mode_is_refused_by_name(mode):
    with pytest.raises(ValueError, match=f"^{re.escape(mode)}$"):
        files.octal(mode)


def test_a_mode_is_read_as_people_write_it():
    assert (files.octal("0644"), files.octal("755"), files.octal(600)) == (0o644, 0o755, 0o600)
