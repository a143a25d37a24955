# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate, as far as one must know it without openssl: whose it is, from whom, until when, and with which key;
and a request for one: for whom, and for which names and addresses.

Rules of this file: bytes or PEM text in, ``Certificate`` or ``Request`` out, no I/O; nothing but ``CertificateError``
is raised, whatever is given. Nothing is verified here: a signature needs more than the standard library has. A request
is read by whoever signs it, too, so one that is built in any other way than the standard's is none: what this reader
passes over, another could take.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

SEQUENCE, SET, OID, UTC_TIME, GENERALIZED_TIME = 0x30, 0x31, 0x06, 0x17, 0x18
BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, ATTRIBUTES = 0x01, 0x02, 0x03, 0x04, 0xA0
TEXTS = (0x0C, 0x13, 0x16)  # UTF8String, PrintableString, IA5String
NAMES = {b"\x55\x04\x03": "CN", b"\x55\x04\x0a": "O", b"\x55\x04\x0b": "OU"}
EXTENSIONS = bytes.fromhex("2a864886f70d01090e")  # of a request: the extensions that it asks for
ALTERNATIVE_NAMES = b"\x55\x1d\x11"
DNS_NAME, ADDRESS = 0x82, 0x87
OTHER_NAMES = {0x81: "e-mail", 0x86: "URI"}
REQUEST = re.compile(
    r"-----BEGIN CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE REQUEST-----\s*"
)
PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


class CertificateError(ValueError):
    """What was given is no certificate."""


@dataclass(frozen=True)
class Certificate:
    """``subject`` and ``issuer`` are (name, value) pairs; ``key_hash`` is what kubeadm pins a cluster's CA by."""

    subject: tuple[tuple[str, str], ...]
    issuer: tuple[tuple[str, str], ...]
    not_before: datetime
    not_after: datetime
    key_hash: str

    @property
    def common_name(self) -> str:
        return dict(self.subject).get("CN", "")


@dataclass(frozen=True)
class Request:
    """What a certificate is asked for: (name, value) pairs, and the names and addresses it would stand for."""

    subject: tuple[tuple[str, str], ...]
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    other_names: tuple[str, ...]  # of a kind that no server is reached by

    @property
    def common_name(self) -> str:
        return dict(self.subject).get("CN", "")

    @property
    def organisations(self) -> tuple[str, ...]:
        return tuple(value for name, value in self.subject if name == "O")


def request(text: str) -> Request:
    """The request that a PEM text is. Raises ``CertificateError``, also where there is anything besides."""
    body = REQUEST.fullmatch(text)
    if body is None:
        raise CertificateError("it is not one certificate request in PEM, alone")
    try:
        data = base64.b64decode("".join(body[1].split()), validate=True)
    except binascii.Error:
        raise CertificateError("between its PEM lines stands no base64") from None
    [whole] = _parts(data, (SEQUENCE,))
    asked, _algorithm, _signature = _parts(whole, (SEQUENCE, SEQUENCE, BIT_STRING))
    _version, subject, _key, attributes = _parts(asked, (INTEGER, SEQUENCE, SEQUENCE, ATTRIBUTES))
    dns: list[str] = []
    addresses: list[str] = []
    others: list[str] = []
    for tag, value in _alternative_names(attributes):
        if tag == DNS_NAME:
            dns.append(value.decode("ascii", "replace"))
        elif tag == ADDRESS:
            addresses.append(_address(value))
        else:
            others.append(OTHER_NAMES.get(tag, f"kind {tag & 0x1F}"))
    return Request(tuple(_asked_name(subject)), tuple(dns), tuple(addresses), tuple(others))


def _alternative_names(attributes: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of each name that the attributes of a request ask for besides its subject."""
    for attribute in _each(attributes, SEQUENCE):
        kind, values = _parts(attribute, (OID, SET))
        if kind != EXTENSIONS:
            continue
        [extensions] = _parts(values, (SEQUENCE,))
        for extension in _each(extensions, SEQUENCE):
            parts = _parts(extension, (OID, OCTET_STRING), (OID, BOOLEAN, OCTET_STRING))
            if parts[0] == ALTERNATIVE_NAMES:
                [names] = _parts(parts[-1], (SEQUENCE,))
                for tag, value, _whole in _values(names):
                    yield tag, value


def _asked_name(data: bytes) -> Iterator[tuple[str, str]]:
    for several in _each(data, SET):
        for pair in _each(several, SEQUENCE):
            kind, value = _parts(pair, *((OID, text) for text in TEXTS))
            if kind in NAMES:
                yield NAMES[kind], value.decode("utf-8", "replace")


def _address(value: bytes) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise CertificateError("an address in it has neither 4 nor 16 octets") from None


def certificates(text: str) -> list[Certificate]:
    """Every certificate of a PEM text. Raises ``CertificateError``, also where there is none."""
    found = []
    for body in PEM.findall(text):
        try:
            found.append(certificate(base64.b64decode("".join(body.split()), validate=True)))
        except binascii.Error:
            raise CertificateError("between its PEM lines stands no base64") from None
    if not found:
        raise CertificateError("there is no certificate in it")
    return found


def certificate(data: bytes) -> Certificate:
    """A certificate in DER. Raises ``CertificateError``."""
    signed = _only(data, SEQUENCE)
    parts = list(_values(_first(signed, SEQUENCE)))
    if parts and parts[0][0] == 0xA0:  # the version, which the first version leaves out
        parts = parts[1:]
    if len(parts) < 6:
        raise CertificateError("it ends before the key")
    _serial, _algorithm, issuer, validity, subject, key = parts[:6]
    times = [_time(tag, value) for tag, value, _whole in _values(validity[1])]
    if len(times) != 2:
        raise CertificateError("it has no time from which and until which it holds")
    return Certificate(
        subject=tuple(_name(subject[1])),
        issuer=tuple(_name(issuer[1])),
        not_before=times[0],
        not_after=times[1],
        key_hash="sha256:" + hashlib.sha256(key[2]).hexdigest(),
    )


def _values(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(tag, content, the whole with its head) of each value."""
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise CertificateError("a value has no length")
        tag, length, start = data[at], data[at + 1], at + 2
        if tag & 0x1F == 0x1F:
            raise CertificateError("a tag is longer than any that certificates have")
        if length & 0x80:
            octets = length & 0x7F
            if not 1 <= octets <= 4:
                raise CertificateError("a length is written as DER has none")
            length = int.from_bytes(data[start : start + octets], "big")
            start += octets
        end = start + length
        if end > len(data):
            raise CertificateError("it ends within a value")
        yield tag, data[start:end], data[at:end]
        at = end


def _parts(data: bytes, *shapes: tuple[int, ...]) -> list[bytes]:
    """The content of each value, which must be of the kinds of one of these shapes, no fewer and no more."""
    found = list(_values(data))
    if tuple(tag for tag, _content, _whole in found) not in shapes:
        raise CertificateError("it is built like no certificate request")
    return [content for _tag, content, _whole in found]


def _each(data: bytes, tag: int) -> Iterator[bytes]:
    """The content of each value, all of which must be of this kind."""
    for found, content, _whole in _values(data):
        if found != tag:
            raise CertificateError("it is built like no certificate request")
        yield content


def _first(data: bytes, tag: int) -> bytes:
    for found, content, _whole in _values(data):
        if found == tag:
            return content
        break
    raise CertificateError("it is built like no certificate")


def _only(data: bytes, tag: int) -> bytes:
    if not data:
        raise CertificateError("it is empty")
    return _first(data, tag)


def _name(data: bytes) -> Iterator[tuple[str, str]]:
    for tag, several, _whole in _values(data):
        if tag != SET:
            continue
        for _tag, pair, _pair in _values(several):
            values = list(_values(pair))
            if len(values) == 2 and values[0][0] == OID and values[0][1] in NAMES:
                yield NAMES[values[0][1]], values[1][1].decode("utf-8", "replace")


def _time(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii", "replace")
    if tag == UTC_TIME and re.fullmatch(r"\d{12}Z", text):
        text = ("20" if int(text[:2]) < 50 else "19") + text
    elif tag != GENERALIZED_TIME or not re.fullmatch(r"\d{14}Z", text):
        raise CertificateError(f"`{text[:20]}` is no time as certificates write it")
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise CertificateError(f"`{text}` is no time") from None
