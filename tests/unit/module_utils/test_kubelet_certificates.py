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


def pem(data):
    return (
        f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.b64encode(data).decode()}\n-----END CERTIFICATE REQUEST-----\n"
    )


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
            request(pem(data))


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
    "no request": (asked("nonsense"), [node()], "it is not one certificate request in PEM, alone"),
}


@pytest.mark.parametrize(("item", "nodes", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_its_own_is_not(item, nodes, told):
    assert told in "; ".join(core.objections(item, nodes))


# ---------------------------------------------------------------- built so that two readers see two requests


def der(tag, *contents):
    body = b"".join(contents)
    size = len(body).to_bytes(2, "big")
    return bytes([tag]) + (bytes([len(body)]) if len(body) < 128 else b"\x82" + size) + body


def names(*dns):
    return der(0x04, der(0x30, *(der(0x82, one.encode()) for one in dns)))


OWN_NAMES, STRANGE = names("gpu-1"), names("kubernetes.default.svc")
ALTERNATIVE, EXTENSIONS = der(0x06, b"\x55\x1d\x11"), der(0x06, bytes.fromhex("2a864886f70d01090e"))
NODES, NULL = der(0x13, b"system:nodes"), der(0x05)


def attribute(*values, tag=0x31, more=()):
    return der(0x30, EXTENSIONS, der(tag, *values), *more)


def extensions(*contents):
    return der(0x30, der(0x30, ALTERNATIVE, *contents))


def pair(octet, *values):
    return der(0x31, der(0x30, der(0x06, b"\x55\x04" + octet), *values))


def built(*attributes, subject=None, after=(), beside=()):
    whom = subject or (pair(b"\x0a", NODES), pair(b"\x03", der(0x13, b"system:node:gpu-1")))
    asked = der(0x30, der(0x02, b"\0"), der(0x30, *whom), der(0x30), der(0xA0, *attributes), *after)
    return der(0x30, asked, der(0x30), der(0x03, b"\0"), *beside)


OWN_ATTRIBUTE = attribute(extensions(OWN_NAMES))
TRICKS = {
    "a second value of the extension": built(attribute(extensions(STRANGE, OWN_NAMES))),
    "an attribute that is no set, and one with more": built(
        attribute(extensions(OWN_NAMES), tag=0x30), attribute(extensions(STRANGE), more=[NULL])
    ),
    "a second list of extensions": built(attribute(extensions(OWN_NAMES), extensions(STRANGE))),
    "a second list of names": built(
        attribute(der(0x30, der(0x30, ALTERNATIVE, der(0x04, der(0x30, der(0x82, b"gpu-1")), der(0x30)))))
    ),
    "a name with more": built(OWN_ATTRIBUTE, subject=[pair(b"\x0a", NODES, NULL)]),
    "a name that is no text": built(OWN_ATTRIBUTE, subject=[pair(b"\x0a", der(0x04, b"system:nodes"))]),
    "something behind the attributes": built(OWN_ATTRIBUTE, after=[NULL]),
    "something behind the signature": built(OWN_ATTRIBUTE, beside=[NULL]),
    "something behind the request": built(OWN_ATTRIBUTE) + NULL,
    "a long tag": built(OWN_ATTRIBUTE, after=[bytes([0xBF, 0x20, 0x00])]),
}


def test_what_is_built_as_the_standard_says_is_read():
    assert request(pem(built(OWN_ATTRIBUTE))).dns_names == ("gpu-1",)
    assert request(pem(built(attribute(extensions(der(0x01, b"\xff"), OWN_NAMES))))).dns_names == ("gpu-1",)


@pytest.mark.parametrize("data", TRICKS.values(), ids=TRICKS)
def test_a_request_that_another_reader_could_take_for_another_is_none(data):
    with pytest.raises(CertificateError):
        request(pem(data))


FRAMES = {
    "two": TEXTS["node"] + TEXTS["other"],
    "something before": f"own\n{TEXTS['node']}",
    "another end": TEXTS["node"].replace("END CERTIFICATE REQUEST", "END OTHER") + TEXTS["other"],
    "a header": TEXTS["node"].replace("REQUEST-----\n", "REQUEST-----\nA: b\n\n", 1),
}


@pytest.mark.parametrize("text", FRAMES.values(), ids=FRAMES)
def test_a_text_with_more_than_one_request_is_none(text):
    with pytest.raises(CertificateError):
        request(text)


# ---------------------------------------------------------------- names that a node claims and that are not a node's

CLAIMED = [
    "kubernetes",
    "Kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "metrics.kube-system.svc",
    "localhost",
    "*.example.org",
    "10.96.0.1",
    "127.0.0.1",
]


@pytest.mark.parametrize("name", CLAIMED)
def test_a_name_of_a_service_is_no_nodes_whatever_it_claims(name):
    made = pem(built(attribute(extensions(names(name)))))
    taken = core.addresses_of({"spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"]}})

    [told] = core.objections(asked(made), [node(addresses=[name])], taken=taken)

    assert told == f"it asks for {name}, which lead to the API server, a Service or no machine; expected a node's"


@pytest.mark.parametrize(("labels", "count"), [({}, 1), ({core.CONTROL_PLANE: ""}, 0)])
def test_the_address_of_the_api_is_a_control_planes_alone(labels, count):
    own = node()
    own["metadata"]["labels"] = labels

    assert len(core.objections(asked(), [own], server=core.host_of("https://GPU-1.example.org:6443"))) == count


@pytest.mark.parametrize("name", ["gpu-1.svc.example.org", "kubernetes-1.example.org", "10.96.0.2", "svc"])
def test_a_name_that_only_looks_alike_is(name):
    made = pem(built(attribute(extensions(names(name)))))

    assert core.objections(asked(made), [node(addresses=[name])], taken={"10.96.0.1"}) == []


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
