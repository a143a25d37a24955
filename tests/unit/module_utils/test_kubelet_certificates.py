# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kubelet may have a certificate for what is its own, and for nothing else."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import kubelet_certificates as core
from ansible_collections.gpunode.ready.plugins.module_utils.x509 import CertificateError, request
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(__file__).parent.parent / "data" / "x509"
TEXTS = {name: (DATA / f"{name}.csr").read_text() for name in ("node", "other", "bare")}
OWN = ["192.0.2.11", "gpu-1.example.org", "2001:db8:0:0::11"]


def node(name="gpu-1", addresses=OWN):
    return {"metadata": {"name": name}, "status": {"addresses": [{"address": one} for one in addresses]}}


def asked(text="node", **more):
    spec = {
        "signerName": core.SIGNER,
        "username": "system:node:gpu-1",
        "groups": ["system:nodes", "system:authenticated"],
        "usages": ["digital signature", "server auth"],
        "request": base64.b64encode(TEXTS.get(text, text).encode()).decode(),
        **more,
    }
    return {"metadata": {"name": "csr-1"}, "spec": spec}


def test_a_request_is_read_as_openssl_wrote_it():
    found = request(TEXTS["node"])

    assert found.common_name == "system:node:gpu-1"
    assert found.organisations == ("system:nodes",)
    assert found.dns_names == ("gpu-1", "gpu-1.example.org")
    assert found.addresses == ("192.0.2.11", "2001:db8::11")
    assert found.other_names == ()


def test_names_of_other_kinds_are_seen():
    assert request(TEXTS["other"]).other_names == ("URI", "e-mail")


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_nothing_but_its_own_error_leaves_the_reader(noise, at, octet):
    body = bytearray(base64.b64decode("".join(TEXTS["node"].splitlines()[1:-1])))
    body[at % len(body)] = octet
    for data in (noise, bytes(body)):
        with contextlib.suppress(CertificateError):
            request(f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.b64encode(data).decode()}\n-----END")


def test_a_node_that_asks_for_its_own_names_may_have_them():
    assert core.objections(asked(), [node(), node("gpu-2", ["192.0.2.12"])]) == []


REFUSED = {
    "not a node": (asked(username="admin", groups=["system:masters"]), [node()], "admin asks for it; expected a node"),
    "not of the group": (asked(groups=["system:authenticated"]), [node()], "of the group system:nodes"),
    "another node": (asked(username="system:node:gpu-2"), [node(), node("gpu-2")], "it is for system:node:gpu-1, and"),
    "unknown": (asked(), [node("gpu-9")], "there is no node gpu-1"),
    "client": (asked(usages=["digital signature", "client auth"]), [node()], "expected those of a server"),
    "stranger": (asked(), [node(addresses=OWN[1:])], "it asks for 192.0.2.11; expected addresses of gpu-1"),
    "shared": (asked(), [node(), node("gpu-2", ["192.0.2.11"])], "192.0.2.11 is claimed by gpu-2 too"),
    "other kinds": (asked("other"), [node()], "a name of the kind URI"),
    "no name": (asked("bare"), [node()], "it names no address"),
    "no request": (asked("nonsense"), [node()], "there is no certificate request in it"),
}


@pytest.mark.parametrize(("item", "nodes", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_its_own_is_not(item, nodes, told):
    assert told in "; ".join(core.objections(item, nodes))


def test_only_nodes_that_were_named_may():
    assert core.objections(asked(), [node()], ["gpu-1"]) == []
    assert core.objections(asked(), [node()], ["gpu-2"]) == ["gpu-1 is none of the nodes that were named"]


@pytest.mark.parametrize("kind", ["Approved", "Denied", "Failed"])
def test_what_is_decided_is_left_alone(kind):
    assert core.undecided(asked())
    assert not core.undecided({**asked(), "status": {"conditions": [{"type": kind}]}})


def test_certificates_of_other_signers_are_none_of_ours():
    assert not core.undecided(asked(signerName="kubernetes.io/kube-apiserver-client-kubelet"))


def test_an_approval_keeps_what_is_there():
    before = {**asked(), "status": {"conditions": [{"type": "Seen"}]}}

    after = core.approved(before, "2026-11-21T20:00:00Z")

    assert [condition["type"] for condition in after["status"]["conditions"]] == ["Seen", "Approved"]
    assert after["spec"] == before["spec"]
