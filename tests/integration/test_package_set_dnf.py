# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""package_set against real dnf 4 and rpm, with fixture packages that are really signed, served on loopback.

No host of Red Hat's family is run: dnf is Debian's build, and its configuration is set as RHEL ships it.
"""

from __future__ import annotations

import shutil
import subprocess
import time

import package_nodes
import pytest

pytestmark = [
    pytest.mark.stage("root"),
    pytest.mark.skipif(
        bool(package_nodes.missing("dnf", "rpmbuild", "rpmsign", "createrepo_c")),
        reason=package_nodes.missing("dnf", "rpmbuild", "rpmsign", "createrepo_c"),
    ),
]

# As RHEL 9 has it. Debian's rpm keeps its database in the home folder otherwise.
DNF = (
    "[main]\ngpgcheck=1\ninstallonly_limit=3\nclean_requirements_on_remove=True\nbest=True\nskip_if_unavailable=False\n"
)
MACROS = "%_dbpath /var/lib/rpm\n%__gpg /usr/bin/gpg\n"
LOG = "/var/log/gpunode.ready/packages.log"
SPEC = """\
Name: {name}
Version: {version}
Release: {release}
{epoch}Summary: A fixture for tests
License: GPL-3.0-or-later
BuildArch: noarch
AutoReqProv: no
{tags}
%description
A fixture: a script that says its name.
%install
mkdir -p %{{buildroot}}/usr/bin
printf '#!/bin/sh\\necho %s\\n' '{name} {version}-{release}' >%{{buildroot}}/usr/bin/{name}
chmod 0755 %{{buildroot}}/usr/bin/{name}
{scripts}
%files
/usr/bin/{name}
"""


def package(folder, name, version, *, tags="", scripts=""):
    """A small package with one program in it. ``version`` is [epoch:]version-release."""
    epoch, _colon, rest = version.rpartition(":")
    number, _dash, release = rest.partition("-")
    text = SPEC.format(
        name=name, version=number, release=release, epoch=f"Epoch: {epoch}\n" if epoch else "", tags=tags,
        scripts=scripts,
    )  # fmt: skip
    top = folder / "build"
    top.mkdir(parents=True, exist_ok=True)
    spec = top / f"{name}.spec"
    spec.write_text(text)
    argv = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {top}", "--define", f"_rpmdir {folder}"]
    argv += ["--define", "__os_install_post %{nil}", "--define", "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.rpm"]
    subprocess.run([*argv, str(spec)], check=True, capture_output=True)
    shutil.rmtree(top)
    return folder / f"{name}-{number}-{release}.rpm"


def sign(gpg, key, *files):
    argv = ["rpmsign", "--addsign", "--define", f"_gpg_path {gpg.home}", "--define", f"_gpg_name {key}"]
    argv += ["--define", "__gpg /usr/bin/gpg", "--define", "_gpg_digest_algo sha256"]
    subprocess.run([*argv, *map(str, files)], check=True, capture_output=True)


def publish(folder):
    subprocess.run(["createrepo_c", "-q", "--no-database", str(folder)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def gpg(tmp_path_factory):
    made = package_nodes.Gpg(tmp_path_factory.mktemp("gnupg"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def keys(gpg):
    return {"good": gpg.key("good"), "other": gpg.key("other")}


# %post waits for as long as the file is there.
SLOW = "%post\necho begun >>/var/post\nwhile test -e /slow; do sleep 0.1; done\necho ended >>/var/post\n"


@pytest.fixture(scope="module")
def rpms(tmp_path_factory, gpg, keys):
    folder = tmp_path_factory.mktemp("rpms")
    for version in ("570.10-1", "580.10-1", "580.20-1"):
        package(folder, "fixture-driver-libs", version)
        package(folder, "fixture-driver", version, tags=f"Requires: fixture-driver-libs = {version}")
    package(folder, "fixture-toolkit", "1.20.0-1")
    package(folder, "fixture-runtime", "3:2.1.0-1", scripts=SLOW)
    package(folder, "fixture-runtime", "3:2.2.0-1", scripts=SLOW)
    sign(gpg, keys["good"], *folder.glob("*.rpm"))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """What every node has below it: rpm's database with a shell in it, dnf as RHEL configures it, and no dpkg."""
    folder = tmp_path_factory.mktemp("base")
    shell = package(folder / "rpms", "fixture-base", "9-1", tags="Provides: /bin/sh, system-release(releasever) = 9")
    node = package_nodes.Node(folder)
    node.write("/etc/rpm/macros", MACROS)
    node.write("/etc/dnf/dnf.conf", DNF)
    node.write("/base.rpm", shell.read_bytes())
    node("rm", "/var/lib/dpkg/status", "/etc/dnf/plugins/local.conf")
    node("rm", "/usr/lib/python3/dist-packages/dnf-plugins/local.py")  # Debian's own, which RHEL does not enable
    node("rpm", "-i", "--force-debian", "/base.rpm")
    node.end()
    return node.upper


@pytest.fixture
def node(tmp_path, base):
    made = package_nodes.Node(tmp_path / "node", base)
    yield made
    made.end()


@pytest.fixture
def server(tmp_path, rpms, gpg, keys):
    folder = tmp_path / "served"
    shutil.copytree(rpms, folder)
    publish(folder)
    (folder / "key.asc").write_bytes(gpg("--armor", "--export", keys["good"]))
    running = package_nodes.Server(folder)
    yield running
    running.end()


def repository(server, keys, **changes):
    return {
        "name": "fixtures",
        "url": f"{server.url}/",
        "key_url": f"{server.url}/key.asc",
        "key_fingerprints": [keys["good"]],
        "url_variable": "fixtures_repository_url",
        **changes,
    }


def state(node, name):
    done = node("rpm", "-q", "--qf", "%{EVR} ", name, check=False).strip()
    return "" if "not installed" in done else done


DRIVER = {"name": "fixture-driver", "version": "580.10-1", "binaries": ["/usr/bin/fixture-driver"]}
RUNTIME = {"name": "fixture-runtime", "version": "2.1.*", "binaries": ["/usr/bin/fixture-runtime"]}


# --- What it is for


def test_a_repository_is_set_up_and_a_package_installed_at_its_version_and_held(node, server, keys):
    answer = node.set(repository=repository(server, keys), packages=[DRIVER], held=True, hold_also=["fixture-driver-*"])

    assert answer.get("msg") is None, answer
    assert answer["installed"] == {"fixture-driver": "580.10-1", "fixture-driver-libs": "580.10-1"}
    assert sorted(answer["held"]) == ["fixture-driver", "fixture-driver-libs"]
    assert node("fixture-driver") == "fixture-driver 580.10-1\n"


def test_running_twice_changes_nothing_and_starts_no_dnf(node, server, keys):
    node.set(repository=repository(server, keys), packages=[DRIVER], held=True)
    server.asked.clear()
    log = node.path(LOG).read_text()

    answer = node.set(repository=repository(server, keys), packages=[DRIVER], held=True)

    assert not answer["changed"], answer
    assert server.asked == []
    assert node.path(LOG).read_text() == log


def test_check_mode_foretells_the_change_and_makes_none(node, server, keys):
    before = node.files("/etc", "/usr/bin", "/var/lib/rpm", "/var/cache/dnf")

    foretold = node.set(repository=repository(server, keys), packages=[DRIVER], held=True, check=True)
    untouched = node.files("/etc", "/usr/bin", "/var/lib/rpm", "/var/cache/dnf")
    real = node.set(repository=repository(server, keys), packages=[DRIVER], held=True)

    assert untouched.keys() == before.keys()
    assert {path for path in before if untouched[path] != before[path]} <= {"var/lib/rpm/rpmdb.sqlite-shm"}
    assert foretold["changed"]
    assert (foretold["held"], foretold["files"]) == (real["held"], real["files"])
    assert foretold["installed"].items() <= real["installed"].items()
    assert "fixture-driver 580.10-1 (held)" in foretold["words"]


def test_what_is_held_is_upgraded_neither_by_hand_nor_by_us_unless_asked(node, server, keys):
    options = {"held": True, "hold_also": ["fixture-driver-*"]}
    newer = {**DRIVER, "version": "580.20-1"}
    node.set(repository=repository(server, keys), packages=[DRIVER], **options)

    node("dnf", "-y", "upgrade")
    by_hand = state(node, "fixture-driver")
    refused = node.set(repository=repository(server, keys), packages=[newer], **options)
    foretold = node.set(repository=repository(server, keys), packages=[newer], **options, allow_change=True, check=True)
    asked = node.set(repository=repository(server, keys), packages=[newer], **options, allow_change=True)

    assert by_hand == "580.10-1"
    assert "fixture-driver 580.10-1 (wanted: 580.20-1): held" in refused["msg"]
    assert foretold["installed"] == {"fixture-driver": "580.20-1"}, foretold
    assert asked["installed"] == {"fixture-driver": "580.20-1", "fixture-driver-libs": "580.20-1"}, asked


def test_what_the_distribution_serves_is_held_by_versionlock_and_moved_when_asked(node, server, keys):
    theirs = f"[baseos]\nname=baseos\nbaseurl={server.url}/\ngpgkey={server.url}/key.asc\n"
    node.write("/etc/yum.repos.d/redhat.repo", theirs)
    libraries = {"name": "fixture-driver-libs", "version": "570.10-1"}
    newer = {**libraries, "version": "580.*"}

    held = node.set(packages=[libraries], held=True)
    node("dnf", "-y", "upgrade")
    by_hand = state(node, "fixture-driver-libs")
    asked = node.set(packages=[newer], held=True, allow_change=True)
    locked = node("dnf", "-q", "versionlock", "list")

    assert held["held"] == ["fixture-driver-libs"], held
    assert by_hand == "570.10-1"
    assert asked["installed"] == {"fixture-driver-libs": "580.20-1"}, asked
    assert locked.split() == ["fixture-driver-libs-0:580.20-1.*"]


# --- What cannot be had


def test_a_version_that_cannot_be_had_is_named_with_those_that_can(node, server, keys):
    answer = node.set(repository=repository(server, keys), packages=[{**DRIVER, "version": "590.*"}])

    assert "fixture-driver 590.* cannot be had: there are 580.20-1, 580.10-1, 570.10-1" in answer["msg"], answer
    assert not node.path("/etc/yum.repos.d/fixtures.repo").exists()


def test_a_package_that_nobody_serves_is_named(node, server, keys):
    answer = node.set(repository=repository(server, keys), packages=[{"name": "fixture-nothing"}])

    assert "no repository of this node has fixture-nothing" in answer["msg"], answer


@pytest.mark.parametrize("key", ["", "other"])
def test_a_package_that_is_not_signed_by_the_key_is_refused_without_a_trace(node, server, keys, gpg, key):
    made = package(server.folder, "fixture-forged", "1-1")
    if key:
        sign(gpg, keys[key], made)
    publish(server.folder)

    answer = node.set(repository=repository(server, keys), packages=[{"name": "fixture-forged"}])

    assert "is refused" in answer["msg"], answer
    assert "fixtures_repository_url" in answer["msg"]
    assert state(node, "fixture-forged") == ""
    assert node("rpm", "-qa", "gpg-pubkey") == ""
    assert not node.path("/etc/yum.repos.d/fixtures.repo").exists()


@pytest.mark.parametrize(("end", "fault"), [("repomd.xml", "503"), ("repomd.xml", "stall"), (".rpm", "404")])
def test_a_repository_that_does_not_answer_is_named_with_its_url(node, server, keys, end, fault):
    node.write(
        "/etc/dnf/dnf.conf", DNF.replace("unavailable=False", "unavailable=True")
    )  # as Debian and others have it
    server.faults = {end: fault}

    answer = node.set(repository=repository(server, keys), packages=[DRIVER], download_timeout_seconds=1)

    assert server.url in answer["msg"], answer
    assert "fixtures_repository_url" in answer["msg"]
    assert state(node, "fixture-driver") == ""


# --- Others at work, and power cuts


def test_another_dnf_is_waited_for_and_named_where_that_takes_too_long(node, server, keys):
    node.set(repository=repository(server, keys), packages=[{"name": "fixture-toolkit"}])
    node.write("/slow", "")
    other = node.start("dnf", "-y", "install", "fixture-runtime")
    wait_for(lambda: node.path("/var/post").exists())

    named = node.set(repository=repository(server, keys), packages=[DRIVER], lock_timeout_seconds=1)
    node.path("/slow").unlink()
    waited = node.set(repository=repository(server, keys), packages=[DRIVER], lock_timeout_seconds=120)
    other.communicate()

    assert "dnf -y install fixture-runtime" in named["msg"], named
    assert waited["installed"]["fixture-driver"] == "580.10-1", waited
    assert state(node, "fixture-runtime") == "3:2.2.0-1"


def wait_for(condition, seconds=60):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.parametrize("before", ["", "2.1.*"])
@pytest.mark.case(26, "dnf is killed in the middle of a script")
def test_a_transaction_that_was_killed_is_finished_by_the_next_run(node, server, keys, before):
    wanted = [{**RUNTIME, "version": "2.2.*"}, {"name": "fixture-toolkit"}]
    if before:
        node.set(repository=repository(server, keys), packages=[{**RUNTIME, "version": before}])
        node.path("/var/post").unlink()
    node.write("/slow", "")
    node.cut_down(
        "install fixture-runtime", node.path("/var/post").exists, repository=repository(server, keys), packages=wanted
    )
    node.path("/slow").unlink()

    answer = node.set(repository=repository(server, keys), packages=wanted, lock_timeout_seconds=5)
    again = node.set(repository=repository(server, keys), packages=wanted)

    assert answer.get("msg") is None, answer
    assert node.path("/var/post").read_text().split() == ["begun", "begun", "ended"]
    assert state(node, "fixture-runtime") == "3:2.2.0-1"
    assert state(node, "fixture-toolkit") == "1.20.0-1"
    assert not node.path("/var/lib/gpunode.ready/packages.json").exists()
    assert not again["changed"], again


# --- And away again


def test_what_was_brought_goes_and_what_was_there_stays(node, server, keys):
    node.write("/etc/yum.repos.d/other.repo", f"[other]\nname=other\nbaseurl={server.url}/\ngpgcheck=0\n")
    node("dnf", "-y", "install", "fixture-toolkit")
    node.path("/etc/yum.repos.d/other.repo").unlink()
    before = node("rpm", "-qa")
    wanted = [DRIVER, {"name": "fixture-toolkit"}]
    node.set(repository=repository(server, keys), packages=wanted, held=True)

    foretold = node.set(state="absent", packages=wanted, check=True)
    answer = node.set(state="absent", packages=wanted)

    assert answer.get("msg") is None, answer
    assert answer["removed"] == foretold["removed"]
    assert {"fixture-driver", "fixture-driver-libs"} < set(answer["removed"])
    assert answer["stays"] == ["fixture-toolkit"]
    assert node("rpm", "-qa") == before
    assert not node.path("/etc/yum.repos.d/fixtures.repo").exists()
    assert not node.path("/etc/pki/rpm-gpg/RPM-GPG-KEY-fixtures").exists()
    assert not node.path("/var/lib/gpunode.ready").exists()
