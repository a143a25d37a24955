# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""package_set against real apt, dpkg, gpg and HTTP: a throw-away Debian root, and a signed repository on loopback.

Each test has a root of its own, an overlay over the lab's unpacked Debian. Faults are injected for real: locks are
held by processes, packages are left half-configured by dpkg, servers stall.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import hashlib
import http.server
import ipaddress
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DAY = 86400
PROGRAMS = ("gpg", "dpkg-deb", "mount", "chroot", "mmdebstrap")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]

pytestmark = [
    pytest.mark.stage("root"),
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} missing: bash tests/lab/install_packages.sh"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount and chroot"),
]


# --- A repository, and what serves it


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder. ``faults``: what to do instead, by the end of a path."""

    daemon_threads = True

    def __init__(self, folder):
        self.folder = folder
        self.faults = {}
        self.asked = []
        self.clock = None
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_words):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string(timestamp or self.server.clock)

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        self.server.asked.append(self.path)
        fault = next((what for end, what in self.server.faults.items() if self.path.endswith(end)), None)
        file = self.server.folder / self.path.lstrip("/")
        if fault == "404" or (fault is None and not file.is_file()):
            self.answer(404, b"not here")
        elif fault in ("503", "503 once"):
            if fault == "503 once":
                self.server.faults.clear()
            self.answer(503, b"busy")
        elif fault == "stall":
            time.sleep(30)
        elif fault == "page":
            self.answer(200, b"<!DOCTYPE html><html>Please log in</html>")
        elif fault == "truncated":
            data = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif fault == "tampered":
            data = bytearray(file.read_bytes())
            data[-20] ^= 0xFF
            self.answer(200, bytes(data))
        else:
            self.answer(200, file.read_bytes())

    def answer(self, status, data):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(data)


class Gpg:
    """Keys made for one run of the tests."""

    def __init__(self, home):
        self.home = home

    def __call__(self, *argv, at=None, data=None):
        clock = ["--faked-system-time", f"{int(at)}!"] if at else []
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--pinentry-mode", "loopback"]
        done = subprocess.run(
            [*command, "--passphrase", "", *clock, *argv], input=data, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def key(self, name, *, digest="SHA512", expires="never", at=None):
        """Make a signing key; its fingerprint."""
        address = f"{name}@example.org"
        self("--cert-digest-algo", digest, "--quick-gen-key", f"{name} <{address}>", "rsa2048", "sign", expires, at=at)
        return self.fingerprint(f"<{address}>")

    def fingerprint(self, name):
        lines = self("--with-colons", "--list-keys", name).decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr"))


@pytest.fixture(scope="module")
def gpg(tmp_path_factory):
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    yield Gpg(home)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)


@pytest.fixture(scope="module")
def keys(gpg):
    return {
        "good": gpg.key("good"),
        "other": gpg.key("other"),
        "expired": gpg.key("expired", expires="30d", at=time.time() - 400 * DAY),
        "sha1": gpg.key("sha1", digest="SHA1"),
    }


# As that of Debian's docker.io: what the folder leads to is emptied.
NUKE = 'test "$1" != purge || ! test -d /var/lib/data || rm -rf "$(readlink -f /var/lib/data)"/*'


def package(folder, name, version, *, depends="", postinst="", conflicts="", postrm=""):
    """A small package with one program in it."""
    tree = folder / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    program = tree / "usr/bin" / name
    program.write_text(f"#!/bin/sh\necho {name} {version}\n")
    program.chmod(0o755)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Tests <tests@example.org>\n"
    control += f"Depends: {depends}\n" if depends else ""
    control += f"Conflicts: {conflicts}\n" if conflicts else ""
    (tree / "DEBIAN/control").write_text(control + f"Description: {name} for tests\n")
    for script, text in {"postinst": postinst, "postrm": postrm}.items():
        if text:
            (tree / "DEBIAN" / script).write_text(f"#!/bin/sh\nset -e\n{text}\n")
            (tree / "DEBIAN" / script).chmod(0o755)
    subprocess.run(["dpkg-deb", "-Zgzip", "-b", str(tree), str(folder)], check=True, capture_output=True)
    shutil.rmtree(tree)


def publish(folder, gpg, key, *, date=None, valid_until=None):
    """Packages, Release, InRelease and the key of a flat repository."""
    stanzas = []
    for deb in sorted(folder.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "-f", str(deb)], capture_output=True, check=True, text=True).stdout
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        stanzas.append(f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n")
    (folder / "Packages").write_text("\n".join(stanzas))
    (folder / "Packages.gz").write_bytes(gzip.compress((folder / "Packages").read_bytes()))
    release = f"Origin: tests\nLabel: tests\nSuite: stable\nDate: {formatdate(date or time.time(), usegmt=True)}\n"
    if valid_until:
        release += f"Valid-Until: {formatdate(valid_until, usegmt=True)}\n"
    release += "SHA256:\n"
    for name in ("Packages", "Packages.gz"):
        data = (folder / name).read_bytes()
        release += f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n"
    signed = gpg("--local-user", key, "--digest-algo", "SHA512", "--clearsign", data=release.encode())
    (folder / "InRelease").write_bytes(signed)
    (folder / "Release.key").write_bytes(gpg("--armor", "--export", key))


@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("debs")
    package(folder, "gpunode-tool", "1.36.2-1.1")
    package(folder, "gpunode-tool", "1.36.3-1.1")
    package(folder, "gpunode-tool", "1.37.0-1.1")
    package(folder, "gpunode-needs", "1-1", depends="gpunode-tool (>= 1.36)")
    package(folder, "gpunode-nukes", "1-1", depends="gpunode-tool", postrm=NUKE)
    package(folder, "gpunode-rival", "1-1", conflicts="gpunode-tool")
    package(folder, "gpunode-slow", "1-1", postinst="while test -e /slow; do sleep 0.1; done")
    package(folder, "gpunode-fails", "1-1", postinst="echo the licence server does not answer >&2; test -e /mended")
    return folder


@pytest.fixture
def server(tmp_path, debs, gpg, keys):
    folder = tmp_path / "served"
    shutil.copytree(debs, folder)
    publish(folder, gpg, keys["good"])
    with contextlib.closing(Server(folder)) as running:
        running.close = running.server_close
        yield running
        running.shutdown()


# --- A throw-away root


@pytest.fixture(scope="session")
def debian():
    """The lab's unpacked Debian."""
    sys.path.insert(0, str(CHECKOUT / "tests/lab"))
    from image import build_root

    return build_root()


class Node:
    """A throw-away Debian, and the module run in it."""

    def __init__(self, root):
        self.root = root

    def path(self, path):
        return self.root / path.lstrip("/")

    def __call__(self, *argv, check=True):
        done = subprocess.run(
            ["chroot", str(self.root), *argv], capture_output=True, text=True, check=False, env=self.environment()
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @staticmethod
    def environment():
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}

    def set(self, check=False, **params):
        """Run package_set here, and return what it answered."""
        params = {"name": "Tests", **params}
        argv = [sys.executable, "-m", "ansible", "adhoc", "-i", f"{self.root},", "all"]
        argv += ["-c", "community.general.chroot", "-m", "gpunode.ready.package_set", "-a", json.dumps(params)]
        argv += ["-e", "ansible_python_interpreter=/usr/bin/python3", "--diff", *(["--check"] if check else [])]
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
            "ANSIBLE_CONFIG": str(self.root.parent / "none.cfg"),
            "ANSIBLE_REMOTE_TMP": "/tmp/ansible",
            "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
        }
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment, cwd=self.root)
        start = done.stdout.find("=> {")
        assert start >= 0, done.stdout + done.stderr
        answer = json.JSONDecoder().raw_decode(done.stdout[start + 3 :].strip())[0]
        answer["words"] = done.stdout + done.stderr
        return answer

    def state(self, name):
        return self("dpkg-query", "-W", "-f", "${Status} ${Version}", name, check=False).strip()

    def files(self):
        """What a refusal must not touch: where packages come from, programs, and what dpkg knows."""
        found = {}
        for folder in ("etc/apt", "usr/bin", "var/lib/dpkg", "var/lib/gpunode.ready"):
            for path in sorted(self.path(folder).rglob("*")):
                if path.is_file() and not path.is_symlink() and not path.name.startswith("lock"):
                    found[str(path.relative_to(self.root))] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found


@pytest.fixture
def node(tmp_path, debian):
    upper, work, root = (tmp_path / name for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir()
    options = f"lowerdir={debian},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    (root / "etc/apt/sources.list").write_text("")
    for name in ("90gpunode-lab", "99mmdebstrap"):  # the lab's own mirror, and mmdebstrap's leave to forget the date
        (root / "etc/apt/apt.conf.d" / name).unlink(missing_ok=True)
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    yield Node(root)
    subprocess.run(["umount", str(root / "proc")], check=True)
    subprocess.run(["umount", "-l", str(root)], check=True)


def repository(server, keys, key="good", **changes):
    return {
        "name": "tests",
        "url": f"{server.url}/",
        "key_url": f"{server.url}/Release.key",
        "key_fingerprints": [keys[key]],
        "url_variable": "tests_repository_url",
        **changes,
    }


TOOL = {"name": "gpunode-tool", "version": "1.36.*", "binaries": ["/usr/bin/gpunode-tool"]}


# --- What it is for


def test_a_repository_is_set_up_and_a_package_installed_and_held(node, server, keys):
    answer = node.set(repository=repository(server, keys), packages=[TOOL], held=True)

    assert answer.get("msg") is None, answer
    assert answer["changed"]
    assert answer["installed"] == {"gpunode-tool": "1.36.3-1.1"}
    assert answer["held"] == ["gpunode-tool"]
    assert node.state("gpunode-tool") == "hold ok installed 1.36.3-1.1"
    assert node.path("/etc/apt/keyrings/tests.asc").stat().st_mode & 0o777 == 0o644
    assert "Signed-By: /etc/apt/keyrings/tests.asc" in node.path("/etc/apt/sources.list.d/tests.sources").read_text()
    assert not node.path("/var/lib/gpunode.ready/packages.json").exists()


def test_running_twice_changes_nothing_and_starts_nothing(node, server, keys):
    node.set(repository=repository(server, keys), packages=[TOOL], held=True)
    server.asked.clear()
    log = node.path("/var/log/gpunode.ready/packages.log").read_text()

    answer = node.set(repository=repository(server, keys), packages=[TOOL], held=True)

    assert not answer["changed"], answer
    assert server.asked == []
    assert node.path("/var/log/gpunode.ready/packages.log").read_text() == log


def test_check_mode_on_a_bare_node_predicts_the_change_and_makes_none(node, server, keys):
    before = node.files()

    predicted = node.set(repository=repository(server, keys), packages=[TOOL], held=True, check=True)
    untouched = node.files()
    real = node.set(repository=repository(server, keys), packages=[TOOL], held=True)

    assert untouched == before
    assert server.asked[0] == "/Release.key"
    assert predicted["changed"]
    assert (predicted["installed"].keys(), predicted["held"], predicted["files"]) == (
        real["installed"].keys(),
        real["held"],
        real["files"],
    )
    assert "+gpunode-tool 1.36.* (held)" in predicted["words"]
    assert "+Signed-By: /etc/apt/keyrings/tests.asc" in predicted["words"]


@pytest.mark.case(14, "a held package whose binary is gone")
def test_a_package_whose_binary_is_gone_is_installed_again_though_it_is_held(node, server, keys):
    node.set(repository=repository(server, keys), packages=[TOOL], held=True)
    node.path("/usr/bin/gpunode-tool").unlink()

    answer = node.set(repository=repository(server, keys), packages=[TOOL], held=True)

    assert answer["reinstalled"] == ["gpunode-tool"], answer
    assert node("gpunode-tool").strip() == "gpunode-tool 1.36.3-1.1"
    assert node.state("gpunode-tool") == "hold ok installed 1.36.3-1.1"


@pytest.mark.case(14, "a binary that no reinstallation brings")
def test_a_binary_that_no_reinstallation_brings_is_said_and_not_tried_for_ever(node, server, keys):
    tool = {**TOOL, "binaries": ["/usr/bin/gpunode-other"]}

    answer = node.set(repository=repository(server, keys), packages=[tool])

    assert "/usr/bin/gpunode-other is gone" in answer["msg"]


def test_a_held_package_is_not_changed_unless_asked(node, server, keys):
    node.set(repository=repository(server, keys), packages=[TOOL], held=True)
    newer = {**TOOL, "version": "1.37.*"}

    refused = node.set(repository=repository(server, keys), packages=[newer], held=True)
    asked = node.set(repository=repository(server, keys), packages=[newer], held=True, allow_change=True)

    assert "gpunode-tool 1.36.3-1.1 (wanted: 1.37.*): held" in refused["msg"]
    assert asked["installed"] == {"gpunode-tool": "1.37.0-1.1"}
    assert node.state("gpunode-tool") == "hold ok installed 1.37.0-1.1"


def test_a_downgrade_by_pattern_is_refused_unless_asked(node, server, keys):
    node.set(repository=repository(server, keys), packages=[{**TOOL, "version": "1.37.*"}])

    refused = node.set(repository=repository(server, keys), packages=[TOOL])
    asked = node.set(repository=repository(server, keys), packages=[TOOL], allow_change=True)

    assert "downgrade" in refused["msg"]
    assert asked["installed"] == {"gpunode-tool": "1.36.3-1.1"}


def test_holds_are_released_when_they_are_no_longer_wanted(node, server, keys):
    node.set(repository=repository(server, keys), packages=[TOOL], held=True)

    answer = node.set(repository=repository(server, keys), packages=[TOOL], held=False)

    assert answer["released"] == ["gpunode-tool"]
    assert node.state("gpunode-tool") == "install ok installed 1.36.3-1.1"


def test_only_packages_that_are_named_are_removed(node, server, keys):
    node.set(repository=repository(server, keys), packages=[TOOL])
    rival = {"name": "gpunode-rival"}

    refused = node.set(repository=repository(server, keys), packages=[rival])
    still = node.state("gpunode-tool")
    asked = node.set(repository=repository(server, keys), packages=[rival], absent=["gpunode-tool"])

    assert "would remove gpunode-tool" in refused["msg"]
    assert still == "install ok installed 1.36.3-1.1" or still == "install ok installed 1.37.0-1.1"
    assert asked["removed"] == ["gpunode-tool"]
    assert list(asked["installed"]) == ["gpunode-rival"]


def test_a_vendors_own_source_file_makes_way(node, server, keys):
    old = node.path("/etc/apt/sources.list.d/vendor.list")
    old.write_text(f"deb [signed-by=/usr/share/keyrings/vendor.gpg] {server.url} /\n")

    refused = node.set(repository=repository(server, keys), packages=[TOOL])
    old_path = "/etc/apt/sources.list.d/vendor.list"
    asked = node.set(repository=repository(server, keys, replaces=[old_path]), packages=[TOOL])

    assert old_path in refused["msg"]
    assert asked["installed"] == {"gpunode-tool": "1.36.3-1.1"}, asked
    assert not old.exists()
    assert node.path(f"{old_path}.disabled").exists()


# --- Keys


@pytest.mark.parametrize(
    ("key", "told", "said"),
    [
        ("good", "other", "Either somebody put another key there"),
        ("expired", "expired", "expired on"),
        ("sha1", "sha1", "certified with SHA-1 only"),
    ],
)
@pytest.mark.case(17, "a key that is expired, unknown, or signed with SHA-1")
def test_a_bad_key_stops_everything_before_the_first_change(node, server, keys, gpg, key, told, said):
    (server.folder / "Release.key").write_bytes(gpg("--armor", "--export", keys[key]))
    before = node.files()

    answer = node.set(repository=repository(server, keys, key=told), packages=[TOOL])

    assert said in answer["msg"], answer
    assert node.files() == before
    assert server.asked == ["/Release.key"]


def test_a_sha1_key_that_is_known_by_its_fingerprint_is_accepted(node, server, keys, gpg):
    publish(server.folder, gpg, keys["sha1"])

    answer = node.set(
        repository=repository(server, keys, key="sha1", key_sha1_fingerprints=[keys["sha1"]]), packages=[TOOL]
    )

    assert answer.get("installed") == {"gpunode-tool": "1.36.3-1.1"}, answer


def test_a_key_that_nobody_named_is_not_written_beside_one_that_was(node, server, keys, gpg):
    (server.folder / "Release.key").write_bytes(gpg("--armor", "--export", keys["good"], keys["other"]))

    node.set(repository=repository(server, keys), packages=[TOOL])

    written = node.path("/etc/apt/keyrings/tests.asc").read_bytes()
    shown = gpg("--with-colons", "--show-keys", data=written).decode()
    assert keys["good"] in shown
    assert keys["other"] not in shown


@pytest.mark.case(17, "a repository signed by another key")
def test_a_repository_signed_by_another_key_is_refused_and_its_files_taken_away(node, server, keys, gpg):
    publish(server.folder, gpg, keys["other"])
    (server.folder / "Release.key").write_bytes(gpg("--armor", "--export", keys["good"]))

    answer = node.set(repository=repository(server, keys), packages=[TOOL])

    assert keys["other"][-16:] in answer["msg"], answer
    assert not node.path("/etc/apt/sources.list.d/tests.sources").exists()
    assert not node.path("/etc/apt/keyrings/tests.asc").exists()


# --- Downloads


@pytest.mark.parametrize(
    ("end", "fault", "said"),
    [
        ("Release.key", "404", "HTTP 404"),
        ("Release.key", "503", "HTTP 503"),
        ("Release.key", "page", "web page"),
        ("Release.key", "truncated", "cut short"),
        ("Release.key", "stall", "timed out"),
        ("InRelease", "404", "without a Release file"),
        ("Packages.gz", "truncated", ""),
        (".deb", "404", "404"),
        (".deb", "tampered", "changed on its way"),
        (".deb", "truncated", ""),
    ],
)
@pytest.mark.case(16, "404, 503, stalled, truncated, tampered, a web page instead: key, lists, package")
def test_a_failing_download_names_the_url_and_its_variable(node, server, keys, end, fault, said):
    server.faults = {end: fault}
    if end == "InRelease":
        server.faults["Release"] = fault
    if end == "Packages.gz":
        server.faults["Packages"] = fault
    start = time.monotonic()

    answer = node.set(repository=repository(server, keys), packages=[TOOL], download_timeout_seconds=2)

    assert said in answer["msg"], answer
    assert server.url in answer["msg"]
    assert "tests_repository_url" in answer["msg"] or fault == "page"
    assert node.state("gpunode-tool") == ""
    assert time.monotonic() - start < 60


@pytest.mark.case(16, "a repository that stalls")
def test_a_stalled_repository_is_given_up_in_time(node, server, keys):
    server.faults = {"InRelease": "stall", "Release": "stall"}
    start = time.monotonic()

    answer = node.set(repository=repository(server, keys), packages=[TOOL], download_timeout_seconds=1)

    assert server.url in answer["msg"], answer
    assert "tests_repository_url" in answer["msg"]
    assert time.monotonic() - start < 40
    assert not node.path("/etc/apt/sources.list.d/tests.sources").exists()


@pytest.mark.case(16, "a server that is busy once")
def test_a_server_that_was_busy_once_is_asked_again(node, server, keys):
    server.faults = {"Release.key": "503 once"}

    answer = node.set(repository=repository(server, keys), packages=[TOOL])

    assert answer.get("installed") == {"gpunode-tool": "1.36.3-1.1"}, answer
    assert server.asked.count("/Release.key") > 1


def test_a_version_that_cannot_be_had_is_named_with_those_that_can(node, server, keys):
    answer = node.set(repository=repository(server, keys), packages=[{"name": "gpunode-tool", "version": "1.40.*"}])

    assert "1.40.* cannot be had" in answer["msg"]
    assert "1.37.0-1.1" in answer["msg"]


# --- The clock


@pytest.mark.case(21, "the clock is a day behind a repository's date")
def test_a_clock_that_is_a_day_behind_is_blamed(node, server, keys, gpg):
    publish(server.folder, gpg, keys["good"], date=time.time() + DAY)

    answer = node.set(repository=repository(server, keys), packages=[TOOL])

    assert "clock" in answer["msg"], answer
    assert "timedatectl set-ntp true" in answer["msg"]
    assert time.strftime("%Y-%m-%d", time.gmtime()) in answer["msg"]


@pytest.mark.case(21, "a repository past its date")
def test_a_repository_past_its_date_names_clock_and_mirror(node, server, keys, gpg):
    publish(server.folder, gpg, keys["good"], date=time.time() - 9 * DAY, valid_until=time.time() - 2 * DAY)

    answer = node.set(repository=repository(server, keys), packages=[TOOL])

    assert "clock" in answer["msg"], answer
    assert "tests_repository_url" in answer["msg"]


@pytest.fixture
def authority(tmp_path, node):
    """A certificate authority that the node trusts; gives out certificates of any age."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "T")])
    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(subject, public_key, starts, ends, *, authority=False):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + starts).not_valid_after(now + ends)
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
        return (builder if authority else builder.add_extension(address, critical=False)).sign(key, hashes.SHA256())

    days = datetime.timedelta(days=1)
    own = certificate(name, key.public_key(), -900 * days, 900 * days, authority=True)
    path = node.path("/usr/local/share/ca-certificates/tests.crt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(own.public_bytes(serialization.Encoding.PEM))
    node("update-ca-certificates")

    def serve(server, starts, ends):
        other = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        signed = certificate(subject, other.public_key(), starts * days, ends * days)
        private = other.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / "server.pem").write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        return f"https://127.0.0.1:{server.server_address[1]}/Release.key"

    return serve


@pytest.mark.parametrize(("starts", "ends", "words"), [(1, 90, "not yet valid"), (-90, -1, "expired")])
@pytest.mark.parametrize(("skew", "blamed"), [(DAY, True), (0, False)])
@pytest.mark.case(21, "a TLS certificate out of date, the clock right and wrong")
def test_the_clock_is_blamed_for_a_certificate_out_of_date_only_where_it_is_wrong(
    node, server, keys, authority, starts, ends, words, skew, blamed
):
    key_url = authority(server, starts, ends)
    server.clock = time.time() + (skew if starts > 0 else -skew)

    answer = node.set(repository=repository(server, keys, key_url=key_url), packages=[TOOL])

    assert words in answer["msg"], answer
    assert ("The clock is wrong, not TLS" in answer["msg"]) is blamed
    assert ("24.0 hours" in answer["msg"]) is blamed
    assert ("although this node's clock is right" in answer["msg"]) is not blamed


# --- dpkg


HOLDER = """
import fcntl, os, sys, time
file = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(float(sys.argv[1]))
"""


@contextlib.contextmanager
def lock_held(node, seconds):
    process = subprocess.Popen(
        ["chroot", str(node.root), "python3", "-c", HOLDER, str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.case(12, "dpkg's lock is held for some seconds")
def test_a_lock_that_is_released_in_time_is_waited_for(node, server, keys):
    with lock_held(node, 6):
        answer = node.set(repository=repository(server, keys), packages=[TOOL], lock_timeout_seconds=60)

    assert answer.get("installed") == {"gpunode-tool": "1.36.3-1.1"}, answer


@pytest.mark.case(12, "dpkg's lock is never released")
def test_a_lock_that_is_never_released_names_its_holder(node, server, keys):
    before = node.files()
    with lock_held(node, 600) as holder:
        answer = node.set(repository=repository(server, keys), packages=[TOOL], lock_timeout_seconds=2)

    assert f"pid {holder.pid} (python3 -c" in answer["msg"], answer
    assert "/var/lib/dpkg/lock-frontend" in answer["msg"]
    assert node.files() == before


def break_dpkg(node, server):
    """Leave a package half-configured, as dpkg itself does when a script fails."""
    shutil.copy(next(server.folder.glob("gpunode-fails_*.deb")), node.path("/fails.deb"))
    node("dpkg", "-i", "/fails.deb", check=False)
    assert node.state("gpunode-fails") == "install ok half-configured 1-1"


@pytest.mark.case(13, "dpkg half-configured")
def test_what_others_left_half_configured_is_named_and_not_touched(node, server, keys):
    break_dpkg(node, server)
    before = node.files()

    answer = node.set(repository=repository(server, keys), packages=[TOOL])

    assert "gpunode-fails (half-configured)" in answer["msg"], answer
    assert "dpkg --configure -a" in answer["msg"]
    assert node.files() == before


@pytest.mark.case(13, "dpkg half-configured, and nothing to do")
def test_what_others_left_half_configured_is_a_warning_when_there_is_nothing_to_do(node, server, keys):
    node.set(repository=repository(server, keys), packages=[TOOL], held=True)
    break_dpkg(node, server)

    answer = node.set(repository=repository(server, keys), packages=[TOOL], held=True)

    assert not answer["changed"], answer
    assert "dpkg --configure -a" in " ".join(answer["words"].split())


@pytest.mark.case(13, "a package's own script fails")
def test_a_failing_script_is_named_with_the_log_and_finished_by_the_next_run(node, server, keys):
    wanted = [{"name": "gpunode-fails"}]

    failed = node.set(repository=repository(server, keys), packages=wanted)
    node.path("/mended").touch()
    again = node.set(repository=repository(server, keys), packages=wanted)

    assert "gpunode-fails" in failed["msg"], failed
    assert "/var/log/gpunode.ready/packages.log" in failed["msg"]
    assert "the licence server does not answer" in node.path("/var/log/gpunode.ready/packages.log").read_text()
    assert again.get("msg") is None, again
    assert node.state("gpunode-fails") == "install ok installed 1-1"
    assert not node.path("/var/lib/gpunode.ready/packages.json").exists()


@pytest.mark.case(26, "apt and dpkg are killed in the middle of a script")
def test_a_transaction_killed_half_way_is_finished_by_the_next_run(node, server, keys):
    node.path("/slow").touch()
    wanted = [{"name": "gpunode-slow"}, TOOL]
    outcome = []
    run = threading.Thread(
        target=lambda: outcome.append(node.set(repository=repository(server, keys), packages=wanted)), daemon=True
    )
    run.start()
    killed = kill_dpkg(node)
    run.join(60)
    node.path("/slow").unlink()

    again = node.set(repository=repository(server, keys), packages=wanted, held=True)

    assert killed
    assert outcome[0].get("msg"), outcome
    assert again.get("msg") is None, again
    assert node.state("gpunode-slow") == "hold ok installed 1-1"
    assert node.state("gpunode-tool") == "hold ok installed 1.36.3-1.1"


@pytest.mark.case(26, "dpkg is killed while it unpacks a package that is wanted, or one that that needs")
@pytest.mark.parametrize("name", ["gpunode-needs", "gpunode-tool"])
def test_a_package_that_is_only_half_unpacked_is_unpacked_again(node, server, keys, name):
    wanted = [{"name": "gpunode-needs"}]
    node.set(repository=repository(server, keys), packages=wanted, held=True)
    status, journal = node.path("/var/lib/dpkg/status"), node.path("/var/lib/gpunode.ready/packages.json")
    stanzas = status.read_text().split("\n\n")
    at = next(number for number, text in enumerate(stanzas) if text.startswith(f"Package: {name}\n"))
    stanzas[at] = stanzas[at].replace(" ok installed\n", " reinstreq half-installed\n", 1)
    status.write_text("\n\n".join(stanzas))
    journal.write_text(json.dumps({"name": "ours", "packages": ["gpunode-needs"], "started": 0}))
    before = node.state(name)

    answer = node.set(repository=repository(server, keys), packages=wanted, held=True)

    assert "reinstreq half-installed" in before
    assert answer.get("msg") is None, answer
    assert answer["changed"]
    assert node.state("gpunode-needs") == "hold ok installed 1-1"
    assert "ok installed" in node.state("gpunode-tool")
    assert not journal.exists()
    assert not node.set(repository=repository(server, keys), packages=wanted, held=True)["changed"]


def kill_dpkg(node):
    """Kill apt, dpkg and the script of this root, as a power cut would, once the script runs."""
    limit = time.monotonic() + 40
    while time.monotonic() < limit:
        here = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.readlink(entry / "root") == str(node.root):
                    here.append((int(entry.name), (entry / "cmdline").read_bytes()))
        if any(b"gpunode-slow.postinst" in command for _pid, command in here):
            for pid, command in here:
                if b"python" not in command:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)
            return True
        time.sleep(0.05)
    return False


def test_a_package_that_others_hold_is_not_removed(node, server, keys):
    node.set(repository=repository(server, keys), packages=[TOOL], held=True)

    answer = node.set(absent=["gpunode-tool"])

    assert "gpunode-tool must not be there, but is held" in answer["msg"]


# --- What is no package


@pytest.mark.parametrize(
    "params",
    [
        {"packages": [{"name": "-oDPkg::Pre-Invoke::=id"}]},
        {"packages": [{"name": "$(id)"}]},
        {"packages": [{"name": "gpunode-tool", "version": "1 -y"}]},
        {"absent": ["gpunode-tool; rm -rf /"]},
        {"packages": [{"name": "gpunode-tool-"}]},
    ],
)
@pytest.mark.case(11, "options, commands and spaces as names and versions of packages")
def test_values_that_are_no_package_are_refused(node, params):
    before = node.files()

    answer = node.set(**params)

    assert "not the name or version of a package" in answer["msg"]
    assert node.files() == before


def test_a_pin_decides_for_dependencies_too(node, server, keys):
    pins = [{"packages": ["gpunode-*"], "version": "1.36.2-*"}]

    answer = node.set(repository=repository(server, keys), packages=[{"name": "gpunode-needs"}], pins=pins)

    assert answer.get("installed") == {"gpunode-needs": "1-1", "gpunode-tool": "1.36.2-1.1"}, answer
    assert "/etc/apt/preferences.d/tests.pref" in answer["files"]


def test_what_is_pinned_and_held_moves_along_when_a_change_is_asked_for(node, server, keys, gpg):
    for version in ("1-1", "2-1"):
        package(server.folder, "gpunode-library", version)
        package(server.folder, "gpunode-program", version, depends=f"gpunode-library (= {version})")
    publish(server.folder, gpg, keys["good"])
    options = {"held": True, "hold_also": ["gpunode-library"]}

    def want(version, **more):
        return node.set(
            repository=repository(server, keys),
            packages=[{"name": "gpunode-program", "version": version}],
            pins=[{"packages": ["gpunode-*"], "version": version}],
            **options,
            **more,
        )

    want("2-*")
    refused = want("1-*")
    pinned = node.path("/etc/apt/preferences.d/tests.pref").read_text()
    asked = want("1-*", allow_change=True)

    assert "gpunode-program 2-1 (wanted: 1-*): held" in refused["msg"]
    assert "Pin: version 2-*" in pinned
    assert asked.get("installed") == {"gpunode-library": "1-1", "gpunode-program": "1-1"}, asked
    assert node.state("gpunode-library") == "hold ok installed 1-1"


def test_a_refusal_by_apt_leaves_no_trace_of_the_attempt(node, server, keys):
    answer = node.set(repository=repository(server, keys), packages=[{"name": "gpunode-tool", "version": "1.40.*"}])

    assert "cannot be had" in answer["msg"]
    assert not node.path("/etc/apt/sources.list.d/tests.sources").exists()
    assert not node.path("/etc/apt/keyrings/tests.asc").exists()
    assert not node.path("/var/lib/gpunode.ready/packages.json").exists()


# --- And away again

NUKES = {"name": "gpunode-nukes", "binaries": ["/usr/bin/gpunode-nukes"]}


def test_what_was_brought_goes_with_all_that_it_needed_and_nothing_is_left(node, server, keys):
    node("apt-get", "-q", "check")  # apt makes its cache
    before = node.files()
    node.set(repository=repository(server, keys), packages=[NUKES], held=True)

    foretold = node.set(state="absent", check=True)
    answer = node.set(state="absent")

    assert answer.get("msg") is None, answer
    assert sorted(answer["removed"]) == ["gpunode-nukes", "gpunode-tool"] == sorted(foretold["removed"])
    assert node.state("gpunode-tool") == ""
    assert {path for path, digest in node.files().items() if before.get(path) != digest} <= {"var/lib/dpkg/status-old"}
    assert node.files().keys() == before.keys()
    assert not node.path("/var/lib/gpunode.ready").exists()
    assert not node.set(state="absent")["changed"]


def test_what_was_there_before_stays_and_is_no_longer_held(node, server, keys):
    node.set(repository=repository(server, keys), packages=[TOOL])
    shutil.rmtree(node.path("/var/lib/gpunode.ready"))  # as if somebody else had installed it

    node.set(repository=repository(server, keys), packages=[TOOL, NUKES], held=True)
    answer = node.set(state="absent", packages=[TOOL, NUKES])

    assert answer["removed"] == ["gpunode-nukes"], answer
    assert answer["stays"] == ["gpunode-tool"]
    assert node.state("gpunode-tool") == "install ok installed 1.36.3-1.1"


def test_what_something_else_needs_by_now_stays_and_is_told(node, server, keys):
    node.set(repository=repository(server, keys), packages=[NUKES, TOOL])
    node("apt-get", "-qy", "install", "gpunode-needs")

    answer = node.set(state="absent")

    assert answer["removed"] == ["gpunode-nukes"], answer
    assert "gpunode-tool was brought by us, and stays: gpunode-needs needs it now" in answer["words"]
    assert node.state("gpunode-tool").startswith("install ok installed")
    assert not node.set(state="absent")["changed"]


def test_what_somebody_has_asked_for_since_stays_and_is_told(node, server, keys):
    node.set(repository=repository(server, keys), packages=[NUKES])
    node("apt-mark", "manual", "gpunode-tool")

    answer = node.set(state="absent")

    assert answer["removed"] == ["gpunode-nukes"], answer
    assert "gpunode-tool was brought by us, and stays: somebody has asked for it since" in answer["words"]


def test_data_is_kept_from_the_scripts_of_a_package(node, server, keys):
    node.set(repository=repository(server, keys), packages=[NUKES])
    node.path("/var/lib/data").mkdir()
    node.path("/var/lib/data/image").write_text("precious")

    answer = node.set(state="absent", keeps=["/var/lib/data"])

    assert "gpunode-nukes" in answer["removed"], answer
    assert node.state("gpunode-nukes") == ""
    assert node.path("/var/lib/data/image").read_text() == "precious"
    assert not node.path("/var/lib/data.gpunode-kept").exists()


def test_data_that_a_link_leads_to_is_kept_from_them_too(node, server, keys):
    node.set(repository=repository(server, keys), packages=[NUKES])
    node.path("/srv/data").mkdir(parents=True)
    node.path("/srv/data/image").write_text("precious")
    node.path("/var/lib/data").symlink_to("../../srv/data")

    answer = node.set(state="absent", keeps=["/var/lib/data"])

    assert "gpunode-nukes" in answer["removed"], answer
    assert os.readlink(node.path("/var/lib/data")) == "../../srv/data"
    assert node.path("/srv/data/image").read_text() == "precious"


def test_a_removal_that_was_killed_gives_the_data_back_to_whichever_run_comes_next(node, server, keys):
    node.set(repository=repository(server, keys), packages=[NUKES])
    ledger = node.path("/var/lib/gpunode.ready/owned/package_set-tests.json")
    data = json.loads(ledger.read_text())
    data["facts"]["shielded"] = ["/var/lib/data"]
    ledger.write_text(json.dumps(data))
    node.path("/var/lib/data.gpunode-kept").mkdir()
    node.path("/var/lib/data.gpunode-kept/image").write_text("precious")

    answer = node.set(repository=repository(server, keys), packages=[NUKES])

    assert answer.get("msg") is None, answer
    assert node.path("/var/lib/data/image").read_text() == "precious"


def test_packages_of_an_installation_that_was_killed_are_ours_all_the_same(node, server, keys):
    node.set(repository=repository(server, keys), packages=[NUKES])
    ledger = node.path("/var/lib/gpunode.ready/owned/package_set-tests.json")
    data = json.loads(ledger.read_text())
    brought = data["facts"].pop("brought")
    there = node("dpkg-query", "-W", "-f", "${Package}\n").split()
    data["facts"]["before"] = [name for name in there if name not in brought]
    ledger.write_text(json.dumps(data))

    answer = node.set(state="absent")

    assert sorted(answer["removed"]) == brought, answer


def test_a_file_that_made_way_for_ours_is_back(node, server, keys):
    theirs = node.path("/etc/apt/sources.list.d/theirs.list")
    theirs.write_text(f"deb [trusted=yes] {server.url}/ /\n")
    node.set(repository=repository(server, keys, replaces=["/etc/apt/sources.list.d/theirs.list"]), packages=[TOOL])

    node.set(state="absent")

    assert theirs.read_text() == f"deb [trusted=yes] {server.url}/ /\n"
    assert not theirs.with_name("theirs.list.disabled").exists()


def test_it_can_all_come_again(node, server, keys):
    for _again in range(2):
        node.set(repository=repository(server, keys), packages=[TOOL], held=True)
        node.set(state="absent")

    answer = node.set(repository=repository(server, keys), packages=[TOOL], held=True)

    assert answer["installed"] == {"gpunode-tool": "1.36.3-1.1"}, answer
