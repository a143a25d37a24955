# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages would go, by dnf and pacman. apt at work is in tests/integration/test_package_set.py."""

from __future__ import annotations

import os
import pathlib
import shutil

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host
from ansible_collections.gpunode.ready.plugins.module_utils.package_data import Data
from ansible_collections.gpunode.ready.plugins.module_utils.package_managers import Dnf, PackageError, Pacman, Request
from ansible_collections.gpunode.ready.plugins.module_utils.package_ownership import (
    brought,
    everything,
    ledger_of,
    remember_end,
    remember_start,
    unshield,
)
from ansible_collections.gpunode.ready.plugins.module_utils.package_withdrawal import shield, withdraw
from ansible_collections.gpunode.ready.plugins.module_utils.packages import Plan, Step, Wanted

BEFORE = "bash\t5.1-1\tx86_64\nkernel-devel\t5.14.0-1\tx86_64\n"
AFTER = f"{BEFORE}kernel-devel\t5.14.0-2\tx86_64\ncri-o\t1.36.3-1\tx86_64\nconmon\t2.1-1\tx86_64\n"
NEEDED = "error: Failed dependencies:\n\tconmon >= 2 is needed by (installed) podman-4:4.9.4-1.el9.x86_64\n"


class Machine(Host):
    """A captured tree whose commands answer what they are told to."""

    def __init__(self, root, answers):
        self.answers = answers
        super().__init__(str(root), self.answer)

    def answer(self, argv, timeout_seconds):
        line = " ".join(argv)
        return next((said for start, said in self.answers.items() if line.startswith(start)), Completed(127, "", ""))


@pytest.fixture
def dnf(tmp_path):
    (tmp_path / "var/lib").mkdir(parents=True)
    machine = Machine(
        tmp_path,
        {
            "rpm -qa": Completed(0, BEFORE, ""),
            "rpm -e --test": Completed(0, "", ""),
            "yum repoquery --userinstalled --queryformat %{name}\n --setopt=disable_excludes=main": Completed(
                0, "bash\ncri-o\n", ""
            ),
        },
    )
    manager = Dnf(machine, Request("CRI-O", wanted=(Wanted("cri-o"),)))
    plan = Plan(install=(Step("cri-o", "", None, "it is not installed"),))
    ledger = ledger_of("CRI-O", machine)
    remember_start(ledger, manager, plan)
    machine.answers["rpm -qa"] = Completed(0, AFTER, "")
    remember_end(ledger, manager)
    return manager


def test_what_came_with_what_was_asked_for_is_ours_each_kernel_by_its_version(dnf):
    ours = brought(ledger_of("CRI-O", dnf.host), everything(dnf))

    assert ours == {"cri-o", "conmon", "kernel-devel-5.14.0-2"}


def test_all_of_it_would_go(dnf):
    foretold = withdraw(dnf, check_mode=True)

    assert foretold.removed == ["conmon", "cri-o", "kernel-devel-5.14.0-2"]
    assert foretold.stays == []


def test_what_another_package_needs_would_stay(dnf):
    dnf.host.answers["rpm -e --test conmon cri-o"] = Completed(1, "", NEEDED)
    dnf.host.answers["rpm -e --test conmon"] = Completed(1, "", NEEDED)
    dnf.host.answers = dict(reversed(dnf.host.answers.items()))

    foretold = withdraw(dnf, check_mode=True)

    assert foretold.removed == ["cri-o", "kernel-devel-5.14.0-2"]
    assert foretold.warnings == ["conmon was brought by us, and stays: podman needs it now"]


def test_a_transaction_that_was_killed_leaves_what_it_brought_ours(dnf):
    ledger = ledger_of("CRI-O", dnf.host)
    ledger.replace(before=["bash"], brought=None)
    ledger.save()

    assert "cri-o" in withdraw(dnf, check_mode=True).removed


def test_what_somebody_installs_after_a_run_that_was_killed_is_theirs(dnf):
    ledger = ledger_of("CRI-O", dnf.host)
    ledger.replace(before=["bash", "kernel-devel-5.14.0-1"], brought=None)
    ledger.save()
    dnf.host.answers["rpm -qa"] = Completed(0, f"{AFTER}postgresql-server\t13-1\tx86_64\n", "")
    dnf.host.answers["yum repoquery"] = Completed(0, "bash\ncri-o\npostgresql-server\n", "")
    dnf.host.answers = dict(reversed(dnf.host.answers.items()))

    foretold = withdraw(dnf, check_mode=True)

    assert foretold.removed == ["conmon", "cri-o", "kernel-devel-5.14.0-2"]
    assert [said for said in foretold.warnings if said.startswith("postgresql-server was brought by us, and stays: ")]


def test_a_kernel_that_somebody_has_asked_for_is_theirs_in_every_version(dnf):
    dnf.host.answers["yum repoquery"] = Completed(0, "kernel-devel\n", "")
    dnf.host.answers = dict(reversed(dnf.host.answers.items()))

    assert withdraw(dnf, check_mode=True).removed == ["conmon", "cri-o"]


def test_nothing_goes_while_nobody_can_tell_who_asked(dnf):
    dnf.host.answers["yum repoquery"] = Completed(1, "", "Error: history database is locked\n")
    dnf.host.answers = dict(reversed(dnf.host.answers.items()))

    with pytest.raises(PackageError, match=r"so none is removed. `yum repoquery --userinstalled`: Error: history"):
        withdraw(dnf)


def test_what_was_removed_or_changed_is_told(dnf):
    ledger = ledger_of("CRI-O", dnf.host)
    ledger.replace(removed={"docker": "20-1"}, changed={"bash": "5.0-1"})
    ledger.save()

    assert withdraw(dnf, check_mode=True).warnings == [
        "bash was 5.0-1 before us, and stays at 5.1-1",
        "docker 20-1 was removed by us, because it was in the way; install it again if you want it",
    ]


def test_without_a_ledger_no_package_is_ours(tmp_path):
    machine = Machine(tmp_path, {"rpm -qa": Completed(0, AFTER, "")})

    assert not withdraw(Dnf(machine, Request("CRI-O", wanted=(Wanted("cri-o"),))), check_mode=True).changed


def test_pacman_names_what_requires_a_package(tmp_path):
    desc = "%NAME%\n{0}\n\n%VERSION%\n1-1\n"
    for name in ("runc", "docker"):
        file = pathlib.Path(f"{tmp_path}/var/lib/pacman/local/{name}-1-1/desc")
        file.parent.mkdir(parents=True)
        file.write_text(desc.format(name))
    said = ":: removing runc breaks dependency 'runc' required by docker\n"
    machine = Machine(tmp_path, {"pacman -Rp": Completed(1, "", said), "pacman -Q": Completed(0, "runc 1-1\n", "")})
    ledger = ledger_of("containerd", machine)
    ledger.replace(brought=["runc"])
    ledger.save()

    foretold = withdraw(Pacman(machine, Request("containerd")), check_mode=True)

    assert foretold.warnings == ["runc was brought by us, and stays: docker needs it now"]


def test_pacman_tells_what_somebody_has_asked_for_since(tmp_path):
    answers = {"pacman -Rp": Completed(0, "", ""), "pacman -Qqe": Completed(0, "containerd\nvim\n", "")}
    answers["pacman -Q"] = Completed(0, "containerd 2-1\nrunc 1-1\nvim 9-1\n", "")
    machine = Machine(tmp_path, answers)
    ledger = ledger_of("containerd", machine)
    ledger.replace(before=["bash"], asked=["containerd"])
    ledger.save()

    foretold = withdraw(Pacman(machine, Request("containerd")), check_mode=True)

    assert foretold.removed == ["containerd", "runc"]
    assert foretold.warnings == ["vim was brought by us, and stays: somebody has asked for it since"]


def test_data_moves_out_of_reach_and_back(tmp_path):
    host = Host(str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/image").write_text("precious")

    shield(host, "Docker", ["/data", "/none"])
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()  # a script made it anew
    unshield(host, ["/data", "/none"])

    assert (tmp_path / "data/image").read_text() == "precious"


def test_of_data_that_lies_elsewhere_the_link_moves_out_of_reach_and_back(tmp_path):
    host = Host(str(tmp_path))
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/image").write_text("precious")
    (tmp_path / "data").symlink_to("disk")
    (tmp_path / "gone").symlink_to("unplugged")

    shield(host, "Docker", ["/data", "/gone"])
    assert not os.path.lexists(tmp_path / "data")
    assert not os.path.lexists(tmp_path / "gone")
    unshield(host, ["/data", "/gone"])

    assert os.readlink(tmp_path / "data") == "disk"
    assert os.readlink(tmp_path / "gone") == "unplugged"
    assert (tmp_path / "data/image").read_text() == "precious"


def test_data_whose_place_was_filled_meanwhile_is_told_with_the_way_back(dnf):
    kept = pathlib.Path(dnf.host.path("/data.gpunode-kept"))
    kept.mkdir()
    (kept / "image").write_text("precious")
    new = pathlib.Path(dnf.host.path("/data"))
    new.mkdir()

    assert withdraw(dnf, ["/data"], check_mode=True).warnings == []
    (new / "image").write_text("new")

    assert withdraw(dnf, ["/data"], check_mode=True).warnings == [
        "/data was filled anew while what had been in it was kept from the packages' scripts, so that still lies in "
        "/data.gpunode-kept. Stop what uses /data, then: mv /data /data.new && mv /data.gpunode-kept /data"
    ]
    assert (kept / "image").read_text() == "precious"


def test_data_on_a_mount_of_its_own_stops_a_purge_that_would_touch_it(tmp_path, monkeypatch):
    def busy(_one, _other):
        raise OSError(16, "Device or resource busy")

    host = Host(str(tmp_path))
    (tmp_path / "data/image").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/info").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/info/nukes.postrm").write_text("rm -rf /data\n")
    monkeypatch.setattr("os.rename", busy)

    shield(host, "Docker", ["/data"], ["harmless"])
    with pytest.raises(
        PackageError, match=r"Docker: /data cannot be kept out of reach .* Unmount /data, then run again"
    ):
        shield(host, "Docker", ["/data"], ["nukes"])


# --- Data that is asked to go

STORAGE = Data("/var/lib/containers/storage", ["cri-o*"], ["crio", "podman"])


def lie(root, path, text="precious"):
    file = pathlib.Path(f"{root}{path}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.fixture
def removed(dnf):
    """Its packages are gone; a run that was killed there got no further."""
    dnf.host.answers["rpm -qa"] = Completed(0, BEFORE, "")
    lie(dnf.host.root, "/var/lib/containers/storage/image")
    return dnf


def test_data_of_what_we_brought_goes_though_the_reset_was_killed_before(removed):
    foretold = withdraw(removed, discards=[STORAGE], check_mode=True)
    assert removed.host.exists(STORAGE.path)

    done = withdraw(removed, discards=[STORAGE])

    assert foretold.discarded == done.discarded == [STORAGE.path]
    assert done.changed
    assert not removed.host.exists(STORAGE.path)
    assert not removed.host.exists("/var/lib/gpunode.ready")
    assert not withdraw(removed, discards=[STORAGE]).changed


def test_data_of_what_others_brought_stays_and_is_told(removed):
    docker = Data("/var/lib/docker", ["docker.io"], ["dockerd"])
    theirs = lie(removed.host.root, "/var/lib/docker/volumes/theirs")

    done = withdraw(removed, discards=[docker, STORAGE])

    assert done.discarded == [STORAGE.path]
    assert done.warnings == [
        "/var/lib/docker stays: nothing says that CRI-O was brought by us. Delete it, if nobody needs it"
    ]
    assert theirs.read_text() == "precious"


def test_data_that_a_program_of_others_uses_stays_and_is_told(removed):
    lie(removed.host.root, "/usr/local/bin/podman").chmod(0o755)

    done = withdraw(removed, discards=[STORAGE])

    assert done.discarded == []
    assert done.warnings == [f"{STORAGE.path} stays: /usr/local/bin/podman is there, and was not brought by us"]
    assert removed.host.exists(f"{STORAGE.path}/image")


def test_data_of_a_package_that_stays_stays(dnf):
    lie(dnf.host.root, "/var/lib/containers/storage/image")
    ledger = ledger_of("CRI-O", dnf.host)
    ledger.replace(asked=[])
    ledger.save()

    foretold = withdraw(dnf, discards=[STORAGE], check_mode=True)

    assert foretold.discarded == []
    assert f"{STORAGE.path} stays: cri-o stays, too" in foretold.warnings


def mount(root, path):
    lie(root, "/proc/self/mountinfo", f"36 28 8:17 / {root}{path} rw,relatime shared:1 - ext4 /dev/sdb1 rw\n")


@pytest.mark.parametrize(
    ("obstacle", "why"),
    [
        (lambda root: mount(root, "/var/lib/containers/storage"), "containers/storage is mounted"),
        (lambda root: mount(root, "/var/lib/containers/storage/volumes/a"), "storage/volumes/a is mounted"),
        (lambda root: lie(root, "/proc/77/comm", "crio\n"), "crio still runs as pid 77"),
    ],
    ids=["a mount", "a mount in it", "a program without a file"],
)
def test_what_is_in_the_way_stops_the_run_and_the_next_one_completes_it(removed, obstacle, why):
    obstacle(removed.host.root)

    with pytest.raises(PackageError, match=why):
        withdraw(removed, discards=[STORAGE])
    assert removed.host.exists(f"{STORAGE.path}/image")
    shutil.rmtree(removed.host.path("/proc"))
    withdraw(removed, discards=[STORAGE])

    assert not removed.host.exists(STORAGE.path)


def test_nothing_is_deleted_through_a_link(removed):
    theirs = lie(removed.host.root, "/srv/storage/image")
    shutil.rmtree(removed.host.path(STORAGE.path))
    os.symlink(theirs.parent, removed.host.path(STORAGE.path))

    with pytest.raises(PackageError, match=r"it is a link to \S+/srv/storage\. No package was removed"):
        withdraw(removed, discards=[STORAGE])

    assert theirs.read_text() == "precious"
