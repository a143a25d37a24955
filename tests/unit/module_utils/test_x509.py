# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates are read as openssl reads them, and nothing that is none makes the reader fall over."""

from __future__ import annotations

import base64
import contextlib
from datetime import datetime, timezone
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.x509 import CertificateError, certificate, certificates
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(__file__).parent.parent / "data" / "x509"
CA = (DATA / "ca.crt").read_text()
NODE = (DATA / "node.crt").read_text()
DER = base64.b64decode("".join(NODE.splitlines()[1:-1]))


def test_a_certificate_is_read_as_openssl_reads_it():
    [found] = certificates(NODE)

    assert found.not_before == datetime(2026, 11, 21, 16, 23, 20, tzinfo=timezone.utc)
    assert found.not_after == datetime(2027, 11, 21, 16, 23, 20, tzinfo=timezone.utc)
    assert found.subject == (("O", "system:nodes"), ("CN", "system:node:gpu-1"))
    assert found.issuer == (("CN", "kubernetes"),)
    assert found.common_name == "system:node:gpu-1"


def test_the_hash_of_a_ca_is_the_one_that_kubeadm_documents():
    [found] = certificates(CA)

    assert found.key_hash == "sha256:5bb571cd44be73dd5c38e38cb96f1e65659da086fc1075d8a24aef914eb00e1a"


def test_a_bundle_gives_each_of_its_certificates():
    assert [one.common_name for one in certificates(f"text before\n{CA}{NODE}")] == ["kubernetes", "system:node:gpu-1"]


@pytest.mark.parametrize("text", ["", "no certificate", CA[:200], CA.replace("MII", "!!!", 1)])
def test_what_is_no_certificate_is_told_as_that(text):
    with pytest.raises(CertificateError):
        certificates(text)


@pytest.mark.parametrize("length", range(0, len(DER), 13))
def test_a_certificate_that_was_cut_off_is_told_as_that(length):
    with pytest.raises(CertificateError):
        certificate(DER[:length])


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_no_damaged_byte_raises_anything_else(place, value):
    damaged = DER[:place] + bytes([value]) + DER[place + 1 :]

    with contextlib.suppress(CertificateError):
        certificate(damaged)
