# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The package managers as far as files decide: what they write, hold and wait for. Real locks, by real processes.

At work they are in tests/integration/test_package_set.py, test_package_set_dnf.py and test_package_set_pacman.py.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import package_managers
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host
from ansible_collections.gpunode.ready.plugins.module_utils.openpgp import read_keys
from ansible_collections.gpunode.ready.plugins.module_utils.package_managers import (
    Apt,
    Dnf,
    Manager,
    PackageError,
    Pacman,
    Request,
    cut_short,
    described,
    lock_owner,
)
from ansible_collections.gpunode.ready.plugins.module_utils.package_set import (
    File,
    check,
    judge_key,
    manager_for,
    plan_for,
    put_back,
)
from ansible_collections.gpunode.ready.plugins.module_utils.packages import (
    Pin,
    Plan,
    Repository,
    Step,
    Wanted,
    parse_ignored,
    parse_yum_repo,
)

CRIO = Repository(name="cri-o", url="https://m/rpm/", key_url="https://m/key")
TOOLS = (Wanted("cri-o"), Wanted("cri-tools"))


class Machine(Host):
    """A captured tree whose commands answer what they are told to, and are written down."""

    def __init__(self, root, answers=None):
        self.asked = []
        self.answers = answers or {}
        super().__init__(str(root), self.answer)

    def answer(self, argv, timeout_seconds):
        self.asked.append(list(argv))
        return next(
            (answer for start, answer in self.answers.items() if " ".join(argv).startswith(start)),
            Completed(127, "", ""),
        )

    def write(self, path, text):
        file = pathlib.Path(self.path(path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


# --- Who holds a lock

HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "lock-frontend"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield path, process
    process.kill()
    process.wait()


def test_the_holder_of_a_lock_is_named_with_its_command(lock):
    path, process = lock

    owner = lock_owner(str(path))

    assert owner.startswith(f"pid {process.pid} (")
    assert "lock-frontend" in owner


def test_a_lock_that_nobody_holds_has_no_owner(tmp_path, lock):
    path, process = lock
    process.kill()
    process.wait()

    assert lock_owner(str(path)) is None
    assert lock_owner(str(tmp_path / "missing")) is None


def test_waiting_ends_at_the_limit_and_names_lock_holder_and_option(machine, lock):
    path, process = lock
    manager = Manager(machine, Request("CRI-O", lock_timeout_seconds=0.3))
    manager.locks = (str(path),)
    start = time.monotonic()

    with pytest.raises(PackageError) as caught:
        manager.wait()

    assert time.monotonic() - start < 3
    for part in ("CRI-O", f"pid {process.pid}", str(path), "lock_timeout_seconds", "Nothing was changed"):
        assert part in str(caught.value)


def test_a_process_that_is_gone_is_still_described():
    assert described(2**22 + 1) == f"pid {2**22 + 1} (its command is unknown)"


def test_what_cannot_be_put_back_does_not_keep_the_rest_from_it(tmp_path):
    key, source, moved = tmp_path / "key.asc", tmp_path / "x.sources", tmp_path / "old.list.disabled"
    key.mkdir()  # somebody put a folder there meanwhile
    source.write_text("new")
    moved.write_text("old")

    put_back(
        [File(str(key), None, "key"), File(str(source), None, "new")],
        {str(tmp_path / "gone.list"): str(tmp_path / "gone.disabled"), str(tmp_path / "old.list"): str(moved)},
    )

    assert not source.exists()
    assert (tmp_path / "old.list").read_text() == "old"


def test_a_full_disk_is_told_before_a_package_manager_is_started(machine):
    manager = Manager(machine, Request("CRI-O"))
    manager.log = "/dev/full"

    with pytest.raises(PackageError) as caught:
        manager.logged("true", timeout_seconds=5, killable=True)

    for part in ("CRI-O", "/dev/full", "No space left on device", "`true`"):
        assert part in str(caught.value)


def test_a_log_that_is_a_link_is_not_followed(machine, tmp_path):
    target = tmp_path / "target"
    target.write_text("")
    (tmp_path / "packages.log").symlink_to(target)
    manager = Manager(machine, Request("CRI-O"))
    manager.log = str(tmp_path / "packages.log")

    with pytest.raises(PackageError, match=r"packages\.log"):
        manager.logged("true", timeout_seconds=5, killable=True)

    assert target.read_text() == ""


@pytest.mark.parametrize(
    ("kind", "answers", "words"),
    [
        (Apt, {}, "/var/lib/dpkg/status"),
        (Pacman, {"pacman -Q": Completed(1, "", "error: could not open database\n")}, "could not open database"),
    ],
)
def test_a_list_of_packages_that_cannot_be_read_is_told_in_one_sentence(tmp_path, kind, answers, words):
    manager = kind(Machine(tmp_path, answers), Request("NVIDIA driver"))

    with pytest.raises(PackageError) as caught:
        manager.installed()

    assert words in str(caught.value)


# --- apt


def test_pins_go_to_a_file_named_after_the_repository(machine):
    manager = Apt(machine, Request("CRI-O", repository=CRIO, pins=(Pin(("cri-*",), "1.36.*"),)))

    (path, text), *rest = manager.other_files({}).items()

    assert not rest
    assert path == "/etc/apt/preferences.d/cri-o.pref"
    assert "Package: cri-*\nPin: version 1.36.*\nPin-Priority: 995\n" in text


# --- dnf


def test_packages_of_our_own_repository_are_held_in_its_file(machine):
    manager = Dnf(machine, Request("CRI-O", TOOLS, CRIO, held=True, hold_also=("conmon*",)))

    (source,) = parse_yum_repo(manager.repository_text(CRIO))

    assert source.excluded == ("cri-o", "cri-tools", "conmon*")
    assert source.signed_by == "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-cri-o"


def test_our_own_transactions_lift_the_hold(machine):
    manager = Dnf(machine, Request("CRI-O", TOOLS, CRIO, held=True))

    assert "--setopt=disable_excludes=cri-o" in manager._options()


def test_holds_stay_as_they_are_when_nothing_is_said_of_them(machine):
    held = Dnf(machine, Request("CRI-O", TOOLS, CRIO, held=True)).repository_text(CRIO)
    machine.write("/etc/yum.repos.d/cri-o.repo", held)

    assert Dnf(machine, Request("CRI-O", TOOLS, CRIO)).repository_text(CRIO) == held
    assert "excludepkgs" not in Dnf(machine, Request("CRI-O", TOOLS, CRIO, held=False)).repository_text(CRIO)


def test_what_a_repository_file_excludes_counts_as_held(tmp_path):
    text = "cri-o\t1.36.3-1.1\tx86_64\ncri-tools\t1.36.0-1.1\tx86_64\n"
    machine = Machine(tmp_path, {"rpm -qa": Completed(0, text, "")})
    request = Request("CRI-O", TOOLS, CRIO, held=True)
    machine.write("/etc/yum.repos.d/cri-o.repo", Dnf(machine, request).repository_text(CRIO))

    plan = plan_for(Dnf(machine, request), Dnf(machine, request).installed())

    assert plan.nothing
    assert machine.asked == [["rpm", "-qa", "--qf", machine.asked[0][3]]]


def test_the_headers_of_the_running_kernel_are_found_by_their_version(tmp_path):
    text = "kernel-devel\t5.14.0-503.el9\tx86_64\nkernel-devel\t5.14.0-570.el9\tx86_64\n"
    machine = Machine(tmp_path, {"rpm -qa": Completed(0, text, "")})
    manager = Dnf(machine, Request("NVIDIA driver", (Wanted("kernel-devel-5.14.0-503.el9"),)))

    assert plan_for(manager, manager.installed()).nothing
    assert machine.asked == [["rpm", "-qa", "--qf", machine.asked[0][3]]]  # given that name, rpm would find nothing


def test_what_a_pattern_excludes_is_not_held(tmp_path):
    text = "".join(f"{name}\t580-1\tx86_64\n" for name in ("nvidia-open", "nvidia-settings", "nvidia-ctk"))
    machine = Machine(tmp_path, {"rpm -qa": Completed(0, text, "")})
    request = Request("NVIDIA driver", (Wanted("nvidia-open"),), CRIO, held=True, hold_also=("nvidia-[!c]*",))

    assert plan_for(Dnf(machine, request), Dnf(machine, request).installed()).hold == ("nvidia-open", "nvidia-settings")


def test_packages_of_the_distribution_cannot_be_held_without_versionlock_and_that_is_said(machine):
    manager = Dnf(machine, Request("containerd", (Wanted("containerd"),), held=True))

    with pytest.raises(PackageError, match="versionlock"):
        manager.hold(["containerd"])


class Recorded(Dnf):
    """dnf whose orders are written down instead of run."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.orders = []

    def _dnf(self, *argv, killable, limit=None):
        self.orders.append(list(argv))
        return Completed(0, "", "")


def test_dnf_5_holds_without_a_plugin_and_before_it_has_locked_anything(machine):
    machine.write("/usr/bin/dnf5", "")
    (pathlib.Path(machine.root) / "usr/bin/dnf5").chmod(0o755)
    manager = Recorded(machine, Request("containerd", (Wanted("containerd"),), held=True))

    manager.hold(["containerd"])

    assert manager.orders == [["versionlock", "add", "containerd"]]


@pytest.mark.parametrize(
    ("before", "order"), [("3:28.5.2-1.el9", "install"), ("3:29.5.0-1.el9", "downgrade"), ("28.5.2-1", "install")]
)
def test_dnf_is_asked_to_downgrade_only_where_it_is_one(machine, before, order):
    manager = Recorded(machine, Request("Docker"))

    manager.transact(Plan(install=(Step("docker-ce", "29.0.1", before, ""),)), {})

    assert manager.orders == [[order, "docker-ce-29.0.1"]]


def test_the_enabled_module_stream_is_read_from_dnfs_own_file(machine):
    machine.write("/etc/dnf/modules.d/nvidia-driver.module", "[nvidia-driver]\nstream=580-open\nstate=enabled\n")
    machine.write("/etc/dnf/modules.d/php.module", "[php]\nstream=8\nstate=\n")
    manager = Dnf(machine, Request("NVIDIA driver"))

    assert manager.stream_of("nvidia-driver") == "580-open"
    assert manager.stream_of("php") is None
    assert manager.stream_of("nodejs") is None


def test_a_dnf_at_work_is_found_by_its_pid_file(machine):
    process = subprocess.Popen(["sleep", "60"])
    machine.write("/var/cache/dnf/metadata_lock.pid", str(process.pid))

    held = Dnf(machine, Request("x")).holder()
    process.kill()
    process.wait()

    assert held[0] == "/var/cache/dnf/metadata_lock.pid"
    assert held[1].startswith(f"pid {process.pid} (")
    assert Dnf(machine, Request("x")).holder() is None


def journal(monkeypatch, tmp_path, *packages):
    path = tmp_path / "packages.json"
    path.write_text(json.dumps({"name": "x", "packages": packages, "started": 1795294734}))
    monkeypatch.setattr(package_managers, "JOURNAL", str(path))


@pytest.mark.parametrize(("ended", "unfinished"), [("1795294740", []), ("0", ["runc"])])
def test_dnf_4_knows_whether_it_came_to_its_end(machine, monkeypatch, tmp_path, ended, unfinished):
    journal(monkeypatch, tmp_path, "runc")
    machine.write("/var/lib/dnf/history.sqlite", "")
    with contextlib.closing(sqlite3.connect(machine.path("/var/lib/dnf/history.sqlite"))) as history:
        history.execute("CREATE TABLE trans (dt_begin INTEGER NOT NULL, dt_end INTEGER)")
        history.execute(f"INSERT INTO trans VALUES (1700000000, 0), (1795294735, {ended})")
        history.commit()

    assert Dnf(machine, Request("x")).unfinished() == unfinished


def test_where_dnf_does_not_tell_a_transaction_of_ours_counts_as_unfinished(machine, monkeypatch, tmp_path):
    journal(monkeypatch, tmp_path, "runc")

    assert Dnf(machine, Request("x")).unfinished() == ["runc"]


# --- pacman


def test_pacmans_log_tells_a_transaction_that_never_ended():
    log = (
        "[2026-11-21T21:02:46+0000] [ALPM] transaction started\n[2026-11-21T21:02:46+0000] [ALPM] installed a (1-1)\n"
        "[2026-11-21T21:02:57+0000] [ALPM] transaction completed\n"
    )
    begun = f"{log}[2026-11-21T21:05:57+0000] [ALPM] transaction started\n"

    assert cut_short("") is None
    assert cut_short(log) is None
    assert cut_short(begun) == []
    assert cut_short(f"{begun}[2026-11-21T21:05:57+0000] [ALPM] upgraded b (1-1 -> 2:2-1)\n") == ["b"]


@pytest.mark.parametrize(("locked", "unfinished"), [(False, []), (True, ["runc"])])
def test_a_lock_that_nobody_holds_any_more_is_ours_where_the_journal_says_so(
    machine, monkeypatch, tmp_path, locked, unfinished
):
    journal(monkeypatch, tmp_path, "runc")
    if locked:
        machine.write("/var/lib/pacman/db.lck", "")
    manager = Pacman(machine, Request("x"))

    assert manager.unfinished() == unfinished
    assert manager.holder() is None


def test_pacman_holds_by_an_included_file_and_one_line_in_its_configuration(machine):
    machine.write("/etc/pacman.conf", "[options]\nHoldPkg = pacman\n\n[core]\nInclude = /etc/pacman.d/mirrorlist\n")
    manager = Pacman(machine, Request("NVIDIA driver", (Wanted("nvidia-utils"),), held=True, hold_also=("linux",)))

    files = manager.other_files({})

    assert parse_ignored(files["/etc/pacman.d/gpunode/nvidia-driver.conf"]) == {"nvidia-utils", "linux"}
    lines = files["/etc/pacman.conf"].splitlines()
    assert lines[:3] == ["[options]", "Include = /etc/pacman.d/gpunode/*.conf", "HoldPkg = pacman"]
    assert lines[-2:] == ["[core]", "Include = /etc/pacman.d/mirrorlist"]


def test_pacmans_configuration_is_changed_once(machine):
    machine.write("/etc/pacman.conf", f"[options]\n{Pacman.include}\n")

    files = Pacman(machine, Request("x", (Wanted("a"),), held=True)).other_files({})

    assert list(files) == ["/etc/pacman.d/gpunode/x.conf"]


def test_arch_has_no_repository_of_ours(machine):
    with pytest.raises(PackageError, match="omit `repository`"):
        Pacman(machine, Request("CRI-O", repository=CRIO)).key_path(CRIO)


# --- What is refused before anything is looked at


def test_a_package_cannot_be_wanted_and_absent():
    with pytest.raises(PackageError, match="both wanted and absent: cri-o"):
        check(Request("x", (Wanted("cri-o"),), absent=("cri-o",)))


@pytest.mark.parametrize("name", [None, "zypper", "apk"])
def test_another_package_manager_is_named(machine, name):
    with pytest.raises(PackageError, match=f"{name or 'none that is known'}; expected one of apt, dnf, yum, pacman"):
        manager_for(machine, name, Request("x"))


# --- Keys


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    if shutil.which("gpg") is None:
        pytest.skip("gpg is missing: apt-get install gnupg")
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)

    def gpg(*argv):
        command = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", *argv]
        return subprocess.run(command, capture_output=True, check=True).stdout

    gpg("--cert-digest-algo", "SHA1", "--quick-gen-key", "Sha1 <sha1@example.org>", "rsa2048", "sign", "30d")
    yield gpg("--armor", "--export", "<sha1@example.org>")
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)


def judged(data, *, now=None, refuses_sha1=False, **changes):
    repository = Repository(**{**CRIO.__dict__, **changes})
    return judge_key(data, repository, "CRI-O", now=now or time.time(), refuses_sha1=refuses_sha1)


def test_a_sha1_key_is_refused_unless_named_and_always_by_an_apt_that_refuses_it(key):
    fingerprint = read_keys(key)[0].fingerprint
    named = {"key_fingerprints": (fingerprint,), "sha1_fingerprints": (fingerprint,)}

    with pytest.raises(PackageError, match="SHA-1 only, which can be forged"):
        judged(key, key_fingerprints=(fingerprint,))
    with pytest.raises(PackageError, match="sqv"):
        judged(key, refuses_sha1=True, **named)
    text, warning = judged(key, **named)

    assert read_keys(text.encode())[0].fingerprint == fingerprint
    assert warning == ""


def test_a_key_from_the_future_blames_the_clock(key):
    with pytest.raises(PackageError, match="The clock is wrong"):
        judged(key, now=time.time() - 40 * 86400)


def test_an_expired_key_names_the_day(key):
    with pytest.raises(PackageError, match=r"expired on 20\d\d-\d\d-\d\d"):
        judged(key, now=time.time() + 40 * 86400)


def test_a_key_without_a_fingerprint_is_trusted_with_a_warning(key):
    _text, warning = judged(key, sha1_fingerprints=(read_keys(key)[0].fingerprint,))

    assert "name it in `key_fingerprints`" in warning
