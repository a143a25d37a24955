# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""package_set against real pacman 6, with fixture packages that are really signed, served on loopback.

No Arch host is run: pacman is Debian's build, and its configuration is set as Arch ships it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import tarfile
import time

import package_nodes
import pytest

pytestmark = [
    pytest.mark.stage("root"),
    pytest.mark.skipif(bool(package_nodes.missing("pacman")), reason=package_nodes.missing("pacman")),
]

LOG = "/var/log/gpunode.ready/packages.log"
LOCK = "/var/lib/pacman/db.lck"
CONFIGURATION = """\
# As Arch ships it, but for the repository.
[options]
HoldPkg     = pacman glibc
Architecture = auto
CheckSpace
GPGDir      = /etc/pacman.d/gnupg/
SigLevel    = Required DatabaseOptional
LocalFileSigLevel = Optional

[fixtures]
Server = {url}
"""


def package(folder, name, version, *, depends=(), install="", blob=0):
    """A small package with one program in it, and as many bytes of nothing as ``blob`` says."""
    program = f"#!/bin/sh\necho {name} {version}\n".encode()
    info = f"pkgname = {name}\npkgver = {version}\npkgdesc = A fixture for tests\narch = any\nbuilddate = 1\n"
    info += f"packager = Tests <tests@example.org>\nlicense = GPL\nsize = {len(program) + blob}\n"
    info += "".join(f"depend = {other}\n" for other in depends)
    contents = {".PKGINFO": (info.encode(), 0o644)}
    if install:
        contents[".INSTALL"] = (install.encode(), 0o644)
    contents[f"usr/bin/{name}"] = (program, 0o755)
    if blob:
        contents[f"usr/share/{name}/blob"] = (bytes(blob), 0o644)
    path = folder / f"{name}-{version}-any.pkg.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for place, (data, mode) in contents.items():
            entry = tarfile.TarInfo(place)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return path


def sign(gpg, key, *files):
    for file in files:
        gpg("--local-user", key, "--output", f"{file}.sig", "--detach-sign", str(file))


def publish(folder, *files):
    """The lists of a repository, with the signatures of the packages in it. repo-add would need makepkg's libraries."""
    with tarfile.open(folder / "fixtures.db", "w:gz") as archive:
        for file in files:
            with tarfile.open(file) as package:
                info = package.extractfile(".PKGINFO").read().decode()
            told = dict(line.split(" = ") for line in info.splitlines())
            data = file.read_bytes()
            fields = {"FILENAME": file.name, "NAME": told["pkgname"], "VERSION": told["pkgver"], "ARCH": "any"}
            fields |= {"CSIZE": len(data), "ISIZE": told["size"], "SHA256SUM": hashlib.sha256(data).hexdigest()}
            fields |= {"DEPENDS": told["depend"]} if "depend" in told else {}
            signature = file.with_name(f"{file.name}.sig")
            if signature.exists():
                fields["PGPSIG"] = base64.b64encode(signature.read_bytes()).decode()
            text = "".join(f"%{name}%\n{value}\n\n" for name, value in fields.items()).encode()
            entry = tarfile.TarInfo(f"{told['pkgname']}-{told['pkgver']}/desc")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))


@pytest.fixture(scope="module")
def gpg(tmp_path_factory):
    made = package_nodes.Gpg(tmp_path_factory.mktemp("gnupg"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def keys(gpg):
    return {"good": gpg.key("good"), "other": gpg.key("other")}


# What a package of a runtime does once it is there, for as long as the file says.
SLOW = "echo begun >>/var/post\nwhile test -e /slow; do sleep 0.1; done\necho ended >>/var/post\n"
SLOW = f"post_install() {{\n{SLOW}}}\npost_upgrade() {{\n{SLOW}}}\n"


@pytest.fixture(scope="module")
def packages(tmp_path_factory, gpg, keys):
    folder = tmp_path_factory.mktemp("packages")
    made = [package(folder, "fixture-driver-libs", version) for version in ("580.10-1", "580.20-1")]
    for version in ("580.10-1", "580.20-1"):
        needs = [f"fixture-driver-libs={version.partition('-')[0]}"]
        made.append(package(folder, "fixture-driver", version, depends=needs, blob=64 << 20))
    made.append(package(folder, "fixture-toolkit", "1.20.0-1"))
    made.append(package(folder, "fixture-runtime", "2:2.1.0-1", install=SLOW))
    sign(gpg, keys["good"], *made)
    return folder


def offer(server, driver="580.10-1"):
    """Arch has one version of each package: which it is now."""
    names = [f"fixture-driver-libs-{driver}", f"fixture-driver-{driver}", "fixture-toolkit-1.20.0-1"]
    publish(
        server.folder, *(server.folder / f"{name}-any.pkg.tar.gz" for name in (*names, "fixture-runtime-2:2.1.0-1"))
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory, gpg, keys):
    """What every node has below it: pacman's keyring, which knows two keys and trusts one, and no dpkg."""
    folder = tmp_path_factory.mktemp("base")
    node = package_nodes.Node(folder)
    node("rm", "/var/lib/dpkg/status", "/usr/bin/dnf")
    node.write("/key.asc", gpg("--armor", "--export", keys["good"], keys["other"]))
    node("mkdir", "-p", "-m", "700", "/etc/pacman.d/gnupg", "/var/cache/pacman/pkg", "/var/lib/pacman")
    node("touch", "/etc/pacman.d/gnupg/pubring.gpg")
    node("gpg", "--homedir", "/etc/pacman.d/gnupg", "--batch", "--import", "/key.asc")
    node.write("/trust", f"{keys['good']}:6:\n")
    node("gpg", "--homedir", "/etc/pacman.d/gnupg", "--batch", "--import-ownertrust", "/trust")
    node.write(
        "/base.pkg.tar.gz", package(folder, "fixture-base", "9-1").read_bytes()
    )  # Arch is never without packages
    node("pacman", "--noconfirm", "-U", "/base.pkg.tar.gz")
    node.end()
    return node.upper


@pytest.fixture
def server(tmp_path, packages):
    folder = tmp_path / "served"
    shutil.copytree(packages, folder, copy_function=shutil.copy)
    running = package_nodes.Server(folder)
    offer(running)
    yield running
    running.end()


@pytest.fixture
def node(tmp_path, base, server):
    made = package_nodes.Node(tmp_path / "node", base)
    made.write("/etc/pacman.conf", CONFIGURATION.format(url=server.url))
    made("pacman", "-Sy")
    yield made
    made.end()


DRIVER = {"name": "fixture-driver", "version": "580.10-1", "binaries": ["/usr/bin/fixture-driver"]}
LIBRARIES = ["fixture-driver-*"]


def state(node, name):
    return node("pacman", "-Q", name, check=False).strip().partition(" ")[2]


# --- What it is for


def test_a_package_is_installed_at_its_version_with_what_it_needs_and_held(node):
    answer = node.set(packages=[DRIVER], held=True, hold_also=LIBRARIES)

    assert answer.get("msg") is None, answer
    assert answer["installed"] == {"fixture-driver": "580.10-1", "fixture-driver-libs": "580.10-1"}
    assert sorted(answer["held"]) == ["fixture-driver", "fixture-driver-libs"]
    assert node("fixture-driver") == "fixture-driver 580.10-1\n"


def test_running_twice_changes_nothing(node, server):
    node.set(packages=[DRIVER], held=True, hold_also=LIBRARIES)
    server.asked.clear()
    log = node.path(LOG).read_text()

    answer = node.set(packages=[DRIVER], held=True, hold_also=LIBRARIES)

    assert not answer["changed"], answer
    assert server.asked == []
    assert node.path(LOG).read_text() == log


def test_check_mode_foretells_the_change_and_makes_none(node):
    before = node.files("/etc", "/usr/bin", "/var/lib/pacman", "/var/cache/pacman")

    foretold = node.set(packages=[{**DRIVER, "version": ""}], held=True, check=True)
    untouched = node.files("/etc", "/usr/bin", "/var/lib/pacman", "/var/cache/pacman")
    real = node.set(packages=[{**DRIVER, "version": ""}], held=True)

    assert untouched == before
    assert foretold["changed"]
    assert (foretold["held"], foretold["files"]) == (real["held"], real["files"])
    assert foretold["installed"] == {"fixture-driver": "580.10-1"}
    assert "fixture-driver 580.10-1 (held)" in foretold["words"]


def test_what_is_held_is_upgraded_neither_by_hand_nor_by_us_unless_asked(node, server):
    newer = {**DRIVER, "version": "580.20-*"}
    options = {"held": True, "hold_also": LIBRARIES}
    node.set(packages=[DRIVER], **options)
    offer(server, "580.20-1")

    node("pacman", "--noconfirm", "-Syu")
    by_hand = state(node, "fixture-driver")
    refused = node.set(packages=[newer], **options)
    asked = node.set(packages=[newer], **options, allow_change=True)

    assert by_hand == "580.10-1"
    assert "fixture-driver 580.10-1 (wanted: 580.20-*): held" in refused["msg"]
    assert asked.get("installed") == {"fixture-driver": "580.20-1", "fixture-driver-libs": "580.20-1"}, asked


# --- What cannot be had


def test_a_version_that_cannot_be_had_is_named_with_the_one_that_can(node):
    answer = node.set(packages=[{**DRIVER, "version": "590.*"}])

    assert "fixture-driver 590.* is wanted, but Arch's repositories have only 580.10-1" in answer["msg"], answer


def test_a_package_that_nobody_serves_is_named(node):
    answer = node.set(packages=[{"name": "fixture-nothing"}, DRIVER])

    assert "no repository of this node has fixture-nothing" in answer["msg"], answer
    assert state(node, "fixture-driver") == ""


@pytest.mark.parametrize(
    ("signed", "said"), [("", ".sig"), ("by another", "unknown trust"), ("for another package", "is invalid")]
)
def test_a_package_that_is_not_signed_by_a_key_that_is_trusted_is_refused(node, server, gpg, keys, signed, said):
    made = package(server.folder, "fixture-forged", "1-1")
    if signed == "by another":
        sign(gpg, keys["other"], made)
    elif signed:
        theirs = server.folder / "fixture-toolkit-1.20.0-1-any.pkg.tar.gz.sig"
        shutil.copy(theirs, made.with_name(f"{made.name}.sig"))
    publish(server.folder, made)
    node("pacman", "-Sy")

    answer = node.set(packages=[{"name": "fixture-forged"}])

    assert "a package is not signed as it must be" in answer["msg"], answer
    assert said in answer["msg"]
    assert state(node, "fixture-forged") == ""


@pytest.mark.parametrize("fault", ["503", "gone", "tampered"])
def test_a_repository_that_does_not_answer_aright_is_named(node, server, fault):
    place = server.url.removeprefix("http://")
    server.faults = {".pkg.tar.gz": fault}
    if fault == "gone":
        server.server_close()

    answer = node.set(packages=[DRIVER])

    assert (place if fault != "tampered" else "is invalid") in answer["msg"], answer
    assert "othing was installed" in answer["msg"]
    assert state(node, "fixture-driver") == ""


# --- Others at work, and power cuts


def wait_for(condition, seconds=60):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_another_pacman_is_waited_for_and_named_where_that_takes_too_long(node):
    node.write("/slow", "")
    other = node.start("pacman", "--noconfirm", "-S", "fixture-runtime")
    wait_for(node.path("/var/post").exists)

    named = node.set(packages=[DRIVER], lock_timeout_seconds=1)
    node.path("/slow").unlink()
    waited = node.set(packages=[DRIVER], lock_timeout_seconds=120)
    other.communicate()

    assert "pacman --noconfirm -S fixture-runtime" in named["msg"], named
    assert LOCK in named["msg"]
    assert waited["installed"]["fixture-driver"] == "580.10-1", waited
    assert state(node, "fixture-runtime") == "2:2.1.0-1"


def test_a_lock_that_somebody_elses_pacman_left_is_named_and_stays(node):
    node.write(LOCK, "")

    answer = node.set(packages=[DRIVER], lock_timeout_seconds=0)

    assert "a pacman that no longer runs" in answer["msg"], answer
    assert node.path(LOCK).exists()


@pytest.mark.case(26, "pacman is killed in the middle of a script")
def test_a_transaction_killed_in_a_script_is_finished_by_the_next_run(node):
    wanted = [{"name": "fixture-runtime"}, {"name": "fixture-toolkit"}]
    node.write("/slow", "")
    node.cut_down("pacman --noconfirm", node.path("/var/post").exists, packages=wanted)
    node.path("/slow").unlink()

    answer = node.set(packages=wanted, lock_timeout_seconds=5)
    again = node.set(packages=wanted)

    assert answer.get("msg") is None, answer
    assert node.path("/var/post").read_text().split() == ["begun", "begun", "ended"]
    assert state(node, "fixture-toolkit") == "1.20.0-1"
    assert not node.path(LOCK).exists()
    assert not node.path("/var/lib/gpunode.ready/packages.json").exists()
    assert not again["changed"], again


@pytest.mark.parametrize("before", ["", "580.10-1"])
@pytest.mark.case(26, "pacman is killed while it unpacks")
def test_a_transaction_killed_while_it_unpacks_is_finished_by_the_next_run(node, server, before):
    if before:
        node.set(packages=[DRIVER], held=True, hold_also=LIBRARIES)
        offer(server, "580.20-1")
        node("pacman", "-Sy")
    program, blob = node.path("/usr/bin/fixture-driver"), node.path("/usr/share/fixture-driver/blob")
    version = "580.20-1" if before else "580.10-1"
    options = {"packages": [{**DRIVER, "version": version}], "held": True, "hold_also": LIBRARIES}
    options["allow_change"] = bool(before)

    def half_unpacked():
        return program.exists() and version in program.read_text() and blob.exists() and blob.stat().st_size < 64 << 20

    node.cut_down("pacman --noconfirm", half_unpacked, **options)
    recorded = node.path(f"/var/lib/pacman/local/fixture-driver-{version}/desc").exists()

    answer = node.set(**options, lock_timeout_seconds=5)
    again = node.set(**options)

    assert not recorded
    assert answer.get("msg") is None, answer
    assert state(node, "fixture-driver") == state(node, "fixture-driver-libs") == version
    assert blob.stat().st_size == 64 << 20
    assert not again["changed"], again


# --- And away again


def test_what_was_brought_goes_and_what_was_there_stays(node):
    node("pacman", "--noconfirm", "-S", "fixture-toolkit")
    before, configuration = node("pacman", "-Q"), node.path("/etc/pacman.conf").read_text()
    wanted = [DRIVER, {"name": "fixture-toolkit"}]
    node.set(packages=wanted, held=True)

    foretold = node.set(state="absent", packages=wanted, check=True)
    answer = node.set(state="absent", packages=wanted)

    assert answer.get("msg") is None, answer
    assert sorted(answer["removed"]) == ["fixture-driver", "fixture-driver-libs"] == sorted(foretold["removed"])
    assert answer["stays"] == ["fixture-toolkit"]
    assert node("pacman", "-Q") == before
    assert node.path("/etc/pacman.conf").read_text() == configuration
    assert not node.path("/etc/pacman.d/gpunode").exists()
    assert not node.path("/var/lib/gpunode.ready").exists()
