# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What package managers say when they fail, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.package_failures import (
    FAILURES,
    Context,
    explain,
    may_be_stale,
    recognise,
)
from hypothesis import given
from hypothesis import strategies as st

CONTEXT = Context(
    name="CRI-O",
    url="https://mirror.example.org/deb/",
    url_variable="crio_repository_url",
    now="2026-11-21 09:00 UTC",
    log_path="/var/log/gpunode.ready/packages.log",
)

# The words are those of apt 2.6 and 3.0, dpkg 1.21, dnf 4.14 and 5.2, pacman 6 and 7: of their sources and of bug
# reports.
# Those of apt 2.6, dnf 4.14 and pacman 6.0 that tests/integration/test_package_set*.py provoke were seen there as well.
SAMPLES = [
    (
        "not-signed-by-arch",
        "error: fixture-forged: missing required signature\nerror: failed to commit transaction (invalid or corrupted "
        "package (PGP signature))",
        ["missing required signature", "archlinux-keyring", "mirrorlist"],
    ),
    (
        "no-key-given",
        "You have enabled checking of packages via GPG keys. This is a good thing.\nHowever, you do not have any GPG "
        "public keys installed.\n\nProblem repository: baseos\nbandwidth: 0\n",
        ["the repository baseos", "gpgkey"],
    ),
    (
        "excluded",
        "All matches were filtered out by exclude filtering for argument: runc-1.2.4\nError: Unable to find a match: "
        "runc-1.2.4",
        ["runc-1.2.4 is there, but hidden", "dnf versionlock list"],
    ),
    (
        "unreachable",
        "error: failed retrieving file 'runc-1.3.0-1-x86_64.pkg.tar.zst' from mirror.example.org : Could not resolve "
        "host: mirror.example.org",
        ["mirror.example.org, asked for runc-1.3.0-1-x86_64.pkg.tar.zst", "Could not resolve"],
    ),
    (
        "dpkg-interrupted",
        "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
        ["dpkg --configure -a"],
    ),
    (
        "disk-full",
        "E: You don't have enough free space in /var/cache/apt/archives/.",
        ["disk is full", "/var/cache/apt/archives", "apt-get clean"],
    ),
    (
        "disk-full",
        "dpkg: error processing archive x.deb (--unpack):\n cannot copy extracted data: failed to write (No space "
        "left on device)",
        ["disk is full"],
    ),
    (
        "disk-full",
        "Error: Transaction test error:\n  installing package x needs 30MB more space on the / filesystem\n\nDisk "
        "Requirements:",
        ["disk is full"],
    ),
    (
        "clock-behind",
        "E: Release file for https://mirror.example.org/deb/InRelease is not valid yet (invalid for another 1d 2h "
        "3min 4s). "
        "Updates for this repository will not be applied.",
        ["clock", "1d 2h 3min 4s", "2026-11-21 09:00 UTC", "not TLS"],
    ),
    (
        "expired",
        "E: Release file for https://mirror.example.org/deb/InRelease is expired (invalid since 2d 0h). "
        "Updates for this repository will not be applied.",
        ["clock", "crio_repository_url"],
    ),
    (
        "clock-tls",
        "Err:1 https://mirror.example.org/deb InRelease\n  Certificate verification failed: The certificate is NOT "
        "trusted. "
        "The certificate chain uses not yet valid certificate.",
        ["clock", "not TLS"],
    ),
    (
        "clock-tls",
        "Curl error (60): SSL peer certificate was not OK for https://m/ [SSL certificate problem: certificate is "
        "not yet valid]",
        ["clock"],
    ),
    (
        "locked",
        "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4242 (unattended-upgr)\n"
        "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?",
        ["4242 (unattended-upgr)"],
    ),
    ("locked", "error: failed to init transaction (unable to lock database)", ["at work"]),
    (
        "signed-by",
        "E: Conflicting values set for option Signed-By regarding source https://mirror.example.org/deb/ /: "
        "/etc/apt/keyrings/a.asc != /usr/share/keyrings/b.gpg",
        ["/etc/apt/keyrings/a.asc", "/usr/share/keyrings/b.gpg", "grep -rl"],
    ),
    (
        "key-missing",
        "W: GPG error: https://mirror.example.org/deb InRelease: The following signatures couldn't be verified "
        "because the "
        "public key is not available: NO_PUBKEY DDCAE044F796ECB0\nE: The repository 'x' is not signed.",
        ["DDCAE044F796ECB0", "key_fingerprints"],
    ),
    (
        "key-refused",
        "W: GPG error: https://m InRelease: The following signatures were invalid: EXPKEYSIG DDCAE044F796ECB0 Some One",
        ["EXPKEYSIG DDCAE044F796ECB0"],
    ),
    (
        "key-refused",
        "Error: GPG check FAILED",
        ["refused"],
    ),
    (
        "changed-on-the-way",
        "E: Failed to fetch https://mirror.example.org/deb/cri-o_1.36.3.deb  File has unexpected size (10 != 20). "
        "Mirror sync in progress?",
        ["https://mirror.example.org/deb/cri-o_1.36.3.deb", "unexpected size", "crio_repository_url"],
    ),
    (
        "not-there",
        "E: Failed to fetch https://mirror.example.org/deb/cri-o_1.36.3.deb  404  Not Found [IP: 10.0.0.1 443]",
        ["https://mirror.example.org/deb/cri-o_1.36.3.deb answers 404 Not Found", "crio_repository_url"],
    ),
    (
        "not-there",
        "Error: Failed to download metadata for repo 'cri-o': Cannot download repomd.xml: Status code: 404 for "
        "https://mirror.example.org/rpm/repodata/repomd.xml (IP: 10.0.0.1)",
        ["https://mirror.example.org/rpm/repodata/repomd.xml answers 404", "crio_repository_url"],
    ),
    (
        "not-there",
        "E: The repository 'https://mirror.example.org/deb  Release' does not have a Release file.",
        ["https://mirror.example.org/deb", "without a Release file"],
    ),
    (
        "not-there",
        "error: failed retrieving file 'nvidia-utils-590-1.pkg.tar.zst' from mirror.example.org : "
        "The requested URL returned error: 404",
        ["mirror.example.org", "nvidia-utils-590-1.pkg.tar.zst", "404"],
    ),
    (
        "unreachable",
        "W: Failed to fetch https://mirror.example.org/deb/InRelease  Could not resolve 'mirror.example.org'",
        ["https://mirror.example.org/deb/InRelease", "Could not resolve", "crio_repository_url"],
    ),
    (
        "unreachable",
        "Error: Failed to download metadata for repo 'cri-o': Cannot prepare internal mirrorlist: "
        "Curl error (6): Couldn't resolve host name for https://mirror.example.org/",
        ["crio_repository_url"],
    ),
    ("no-such-package", "E: Unable to locate package cri-o", ["no repository of this node has cri-o"]),
    ("no-such-package", "E: Version '1.40' for 'cri-o' was not found", ["cri-o at version 1.40"]),
    ("no-such-package", "Error: Unable to find a match: cri-o-1.40", ["cri-o-1.40"]),
    ("no-such-package", "error: target not found: nvidia-580xx-dkms", ["nvidia-580xx-dkms"]),
    (
        "held-changed",
        "E: Held packages were changed and -y was used without --allow-change-held-packages.",
        ["allow_change"],
    ),
    ("downgrade", "E: Packages were downgraded and -y was used without --allow-downgrades.", ["allow_change"]),
    (
        "unmet",
        "The following packages have unmet dependencies:\n nvidia-driver-cuda : Depends: libcuda1 (= 580.1-1) but "
        "it is not "
        "going to be installed\nE: Unable to correct problems, you have held broken packages.",
        ["libcuda1 (= 580.1-1)", "apt-mark showhold"],
    ),
    (
        "script-failed",
        "dpkg: error processing package nvidia-kernel-open-dkms (--configure):\n installed post-installation script "
        "subprocess returned error exit status 10\nErrors were encountered while processing:\n "
        "nvidia-kernel-open-dkms\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)",
        ["nvidia-kernel-open-dkms", "/var/log/gpunode.ready/packages.log"],
    ),
]


@pytest.mark.parametrize(("name", "words", "said"), SAMPLES, ids=[f"{item[0]}-{at}" for at, item in enumerate(SAMPLES)])
def test_each_failure_is_recognised_and_its_remedy_said(name, words, said):
    found = recognise(words)

    message = explain(words, CONTEXT)

    assert found is not None
    assert found[0].id == name
    assert message.startswith("CRI-O: ")
    for part in said:
        assert part in message


def test_every_known_failure_has_a_sample():
    assert {failure.id for failure in FAILURES} == {name for name, _words, _said in SAMPLES}


def test_a_certificate_out_of_date_under_a_right_clock_is_not_blamed_on_the_clock():
    context = Context(**{**CONTEXT.__dict__, "skew_seconds": 2.0})

    message = explain("Curl error (60): SSL certificate problem: certificate has expired", context)

    assert "although the node's clock is right" in message


def test_a_mirror_out_of_date_under_a_right_clock_is_not_blamed_on_the_clock():
    context = Context(**{**CONTEXT.__dict__, "skew_seconds": -5.0})

    message = explain("E: Release file for https://m/InRelease is expired (invalid since 9d).", context)

    assert "no longer follows upstream" in message
    assert "timedatectl" not in message


def test_what_is_not_known_is_told_in_the_package_managers_own_words():
    message = explain("Reading package lists...\nE: Something quite new\n", CONTEXT)

    assert "Something quite new" in message
    assert CONTEXT.log_path in message


def test_only_what_newer_lists_may_mend_is_tried_again():
    assert may_be_stale("E: Unable to locate package cri-o")
    assert may_be_stale("E: Failed to fetch http://m/x.deb  404  Not Found")
    assert not may_be_stale("E: You don't have enough free space in /var/cache/apt/archives/.")


@given(st.text(max_size=200))
def test_no_words_make_it_raise(words):
    assert explain(words, CONTEXT)


@given(st.sampled_from(SAMPLES), st.integers(0, 400), st.text(max_size=10))
def test_no_part_of_known_words_makes_it_raise(sample, cut, noise):
    assert explain(sample[1][:cut] + noise, Context(name="x"))


@pytest.mark.parametrize(
    ("manager", "said"),
    [("apt", "apt-mark showhold"), ("dnf", "dnf versionlock list"), ("pacman", "IgnorePkg")],
)
def test_what_is_held_is_asked_of_the_package_manager_that_failed(manager, said):
    output = "Error: \n Problem: package nvidia-driver-cuda requires nvidia-kmod = 3:580.1, but none can be installed"

    told = explain(output, replace(CONTEXT, manager=manager))

    assert said in told
    assert ("apt-mark" in told) is (manager == "apt")
