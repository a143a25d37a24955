# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reader of OpenPGP keys, beside gpg reading the same keys. Every key is made by gpg when the test runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections import namedtuple

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.openpgp import (
    OpenPgpError,
    armoured,
    plain,
    read_keys,
    spaced,
)
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is missing: apt-get install gnupg")

Gpg = namedtuple("Gpg", "run export twin")
DAY = 86400


@pytest.fixture(scope="module")
def gpg(tmp_path_factory):
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)

    def run(*argv, at=None, data=None):
        clock = ["--faked-system-time", f"{int(at)}!"] if at else []
        command = ["gpg", "--homedir", str(home), "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""]
        done = subprocess.run([*command, *clock, *argv], input=data, capture_output=True, check=False, env=os.environ)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def export(name, *, armour=True):
        return run(*(["--armor"] if armour else []), "--export", f"<{name}>")

    def twin(data):
        """What gpg says of each primary key: fingerprint, creation, expiry or None, validity, user ids."""
        found = []
        for line in run("--with-colons", "--show-keys", "--fixed-list-mode", data=data).decode().splitlines():
            field = line.split(":")
            if field[0] == "pub":
                found.append(
                    {
                        "created": int(field[5]),
                        "expires": int(field[6]) if field[6] else None,
                        "validity": field[1],
                        "uids": [],
                    }
                )
                waits = True
            elif field[0] == "fpr" and waits:
                found[-1]["fingerprint"], waits = field[9], False
            elif field[0] == "uid":
                found[-1]["uids"].append(field[9])
        return found

    yield Gpg(run, export, twin)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)


@pytest.fixture(scope="module")
def keys(gpg):
    """Name -> armoured key, one for each thing that a repository's key can be."""
    past = time.time() - 400 * DAY
    gpg.run("--quick-gen-key", "Plain <plain@example.org>", "rsa2048", "sign", "never")
    gpg.run("--quick-gen-key", "Ed <ed@example.org>", "ed25519", "sign", "2y")
    gpg.run("--quick-gen-key", "Expired <expired@example.org>", "rsa2048", "sign", "30d", at=past)
    gpg.run("--cert-digest-algo", "SHA1", "--quick-gen-key", "Sha1 <sha1@example.org>", "rsa2048", "sign", "never")
    gpg.run("--quick-gen-key", "Extended <extended@example.org>", "rsa2048", "sign", "30d", at=past)
    extended = gpg.twin(gpg.export("extended@example.org"))[0]["fingerprint"]
    gpg.run("--quick-set-expire", extended, "5y")
    gpg.run("--quick-gen-key", "Two Names <two@example.org>", "ed25519", "sign", "1y")
    gpg.run("--quick-add-uid", "<two@example.org>", "Zweiter Name äöü <zwei@example.org>")
    gpg.run("--quick-gen-key", "Subkeyed <subkeyed@example.org>", "ed25519", "cert", "never")
    subkeyed = gpg.twin(gpg.export("subkeyed@example.org"))[0]["fingerprint"]
    gpg.run("--quick-add-key", subkeyed, "ed25519", "sign", "1y")
    names = ("plain", "ed", "expired", "sha1", "extended", "two", "subkeyed")
    return {name: gpg.export(f"{name}@example.org") for name in names}


@pytest.mark.parametrize("name", ["plain", "ed", "expired", "sha1", "extended", "two", "subkeyed"])
def test_a_key_reads_as_gpg_reads_it(gpg, keys, name):
    theirs = gpg.twin(keys[name])

    ours = read_keys(keys[name])

    assert [(key.fingerprint, key.created, key.expires, sorted(key.user_ids)) for key in ours] == [
        (key["fingerprint"], key["created"], key["expires"], sorted(key["uids"])) for key in theirs
    ]
    assert [key.expired(time.time()) for key in ours] == [key["validity"] == "e" for key in theirs]


def test_a_binary_key_reads_like_its_armour(gpg, keys):
    binary = gpg.export("plain@example.org", armour=False)

    assert read_keys(binary) == read_keys(keys["plain"])


def test_an_armoured_copy_reads_the_same_to_gpg(gpg, keys):
    copy = armoured(read_keys(keys["two"]) + read_keys(keys["sha1"]))

    assert gpg.twin(copy.encode()) == gpg.twin(keys["two"]) + gpg.twin(keys["sha1"])


def test_only_a_key_that_rests_on_sha1_alone_is_weak(keys):
    weak = {name for name, data in keys.items() if read_keys(data)[0].weak}

    assert weak == {"sha1"}
    assert read_keys(keys["sha1"])[0].hashes == ("SHA-1",)


def test_a_sha1_key_signed_anew_is_weak_no_more(gpg, keys):
    fingerprint = read_keys(keys["sha1"])[0].fingerprint
    gpg.run("--cert-digest-algo", "SHA512", "--quick-set-expire", fingerprint, "3y")

    key = read_keys(gpg.export("sha1@example.org"))[0]

    assert not key.weak
    assert "SHA-512" in key.hashes


def test_a_revoked_key_says_so(gpg, keys):
    gpg.run("--quick-gen-key", "Revoked <revoked@example.org>", "ed25519", "sign", "never")
    fingerprint = read_keys(gpg.export("revoked@example.org"))[0].fingerprint
    home = next(path for path in gpg.run.__closure__ if hasattr(path.cell_contents, "joinpath")).cell_contents
    certificate = (home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
    gpg.run("--import", data=certificate.encode())

    key = read_keys(gpg.export("revoked@example.org"))[0]

    assert key.revoked
    assert not read_keys(keys["plain"])[0].revoked


def test_several_keys_in_one_file_are_all_found(gpg, keys):
    both = gpg.run("--armor", "--export", "<plain@example.org>", "<ed@example.org>")

    assert {key.fingerprint for key in read_keys(both)} == {key["fingerprint"] for key in gpg.twin(both)}
    assert len(read_keys(keys["plain"] + keys["ed"])) == 2


def test_a_certification_by_somebody_else_changes_nothing(gpg, keys):
    gpg.run("--quick-gen-key", "Friend <friend@example.org>", "ed25519", "sign,cert", "never")
    gpg.run("--quick-gen-key", "Certified <certified@example.org>", "ed25519", "sign", "1y")
    before = read_keys(gpg.export("certified@example.org"))[0]
    gpg.run("--cert-digest-algo", "SHA384", "-u", "<friend@example.org>", "--quick-sign-key", before.fingerprint)

    after = read_keys(gpg.export("certified@example.org"))[0]

    assert len(after.packets) > len(before.packets)
    assert (after.hashes, after.expires) == (before.hashes, before.expires)


def test_a_signing_subkey_is_told_with_its_expiry(keys):
    key = read_keys(keys["subkeyed"])[0]

    assert [(subkey.signs, subkey.revoked) for subkey in key.subkeys] == [(True, False)]
    assert key.subkeys[0].expires == pytest.approx(key.subkeys[0].created + 365 * DAY, abs=2 * DAY)
    assert key.expires is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>blocked</html>", "web page"),
        (b"404: Not Found", "neither"),
        (b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n", "no public key"),
        (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "private key"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n", "no public key"),
    ],
)
def test_what_is_no_key_is_refused_with_what_it_is(data, said):
    with pytest.raises(OpenPgpError, match=said):
        read_keys(data)


def test_a_truncated_key_is_refused(gpg, keys):
    binary = gpg.export("plain@example.org", armour=False)

    with pytest.raises(OpenPgpError, match="cut short"):
        read_keys(keys["plain"][: len(keys["plain"]) // 2])
    with pytest.raises(OpenPgpError, match="middle of a packet"):
        read_keys(binary[: len(binary) // 2])


def test_a_damaged_armour_is_refused(keys):
    text = keys["plain"].decode()
    middle = len(text) // 2
    damaged = text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1 :]

    with pytest.raises(OpenPgpError, match="check sum"):
        read_keys(damaged.encode())


def test_a_secret_key_is_refused(gpg, keys):
    secret = gpg.run("--export-secret-keys", "<ed@example.org>")

    with pytest.raises(OpenPgpError, match="private key"):
        read_keys(secret)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_its_own_error(data):
    for wrapped in (data, b"\x99" + data, b"\xc6" + data, b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n" + data):
        with contextlib.suppress(OpenPgpError):
            read_keys(wrapped)


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.integers(0, 10_000))
def test_no_damage_to_a_real_key_raises_anything_but_its_own_error(gpg, keys, at, byte, cut):
    binary = bytearray(gpg_binary(keys))
    binary[at % len(binary)] = byte

    try:
        read_keys(bytes(binary[: max(1, cut % len(binary))]))
        read_keys(bytes(binary))
    except OpenPgpError:
        pass


def gpg_binary(keys):
    return b"".join(key.packets for key in read_keys(keys["two"]))


def test_fingerprints_compare_however_they_are_written():
    told = "0xC95B 321B 61E8 8C18 09C4  F759 DDCA E044 F796 ecb0"

    assert plain(told) == "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
    assert plain(spaced(plain(told))) == plain(told)
