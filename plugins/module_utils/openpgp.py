# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read OpenPGP public keys (RFC 4880, RFC 9580): who they are, until when they hold, and how they are signed.

Rules of this file: bytes in, data out, no I/O. Nothing is verified but the check sum of the armour: a fingerprint is
computed from the key itself and so identifies it, and whoever trusts a key compares that. What the self-signatures say
(expiry, hash) is told as found; the package manager verifies them before it trusts anything signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

ALGORITHMS = {
    1: "rsa",
    2: "rsa",
    3: "rsa",
    16: "elgamal",
    17: "dsa",
    18: "ecdh",
    19: "ecdsa",
    22: "eddsa",
    25: "x25519",
    26: "x448",
    27: "ed25519",
    28: "ed448",
}
HASHES = {
    1: "MD5",
    2: "SHA-1",
    3: "RIPEMD-160",
    8: "SHA-256",
    9: "SHA-384",
    10: "SHA-512",
    11: "SHA-224",
    12: "SHA3-256",
    14: "SHA3-512",
}
# Whoever can make two documents with one hash can forge what such a signature says.
WEAK_HASHES = ("MD5", "SHA-1", "RIPEMD-160")

PUBLIC_KEY, PUBLIC_SUBKEY, SIGNATURE, USER_ID = 6, 14, 2, 13
SECRET = (5, 7)

ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\r?\n(?P<inside>.*?)-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)
SECRET_ARMOUR = b"-----BEGIN PGP PRIVATE KEY BLOCK-----"


class OpenPgpError(ValueError):
    """These bytes are no OpenPGP public key; the message says why."""


@dataclass(frozen=True)
class Subkey:
    """A key bound to a primary key. ``signs``: whether its binding allows it to sign data."""

    fingerprint: str
    algorithm: str
    created: int
    expires: int | None
    revoked: bool
    signs: bool


@dataclass(frozen=True)
class Key:
    """A primary key with its user ids. Times are seconds since 1970; ``expires`` None: never."""

    fingerprint: str
    version: int
    algorithm: str
    bits: int | None
    created: int
    expires: int | None
    revoked: bool
    user_ids: tuple[str, ...]
    hashes: tuple[str, ...]
    subkeys: tuple[Subkey, ...]
    packets: bytes

    @property
    def weak(self) -> bool:
        """Whether every self-signature rests on a hash that is broken."""
        return bool(self.hashes) and all(name in WEAK_HASHES for name in self.hashes)

    def expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now


@dataclass(frozen=True)
class _Signature:
    kind: int
    hash: str
    created: int
    issuers: tuple[str, ...]
    key_lifetime: int | None
    lifetime: int | None
    flags: int | None


def read_keys(data: bytes) -> list[Key]:
    """Every public key in ``data``, armoured or binary, in its order. Raises ``OpenPgpError``."""
    if SECRET_ARMOUR in data:
        raise OpenPgpError("this is a private key: publish the public one (gpg --armor --export)")
    if b"-----BEGIN PGP" in data:
        binary = _unarmoured(data)
    elif data[:1] and data[0] & 0x80:
        binary = data
    else:
        raise OpenPgpError(_what_it_is_instead(data))
    keys = [_key(group) for group in _groups(binary)]
    if not keys:
        raise OpenPgpError("there is no public key in it")
    return keys


def armoured(keys: list[Key]) -> str:
    """The keys as one armoured block, the form that apt reads from a file named ``.asc``."""
    binary = b"".join(key.packets for key in keys)
    text = base64.b64encode(binary).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    check = base64.b64encode(_crc24(binary).to_bytes(3, "big")).decode()
    return "\n".join(
        ["-----BEGIN PGP PUBLIC KEY BLOCK-----", "", *lines, f"={check}", "-----END PGP PUBLIC KEY BLOCK-----", ""]
    )


def spaced(fingerprint: str) -> str:
    """A fingerprint as people compare it: in groups of four."""
    return " ".join(fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4))


def plain(fingerprint: str) -> str:
    """A fingerprint as it is compared here: hexadecimal digits in upper case, without spaces, colons or 0x."""
    return re.sub(r"^0[xX]", "", re.sub(r"[\s:]", "", fingerprint)).upper()


def _what_it_is_instead(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if not start:
        return "it is empty"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        return "it is a web page, not a key: a proxy or a mirror answered in place of the server"
    return "it is neither an armoured nor a binary OpenPGP key"


def _unarmoured(data: bytes) -> bytes:
    blocks = [match.group("inside") for match in ARMOUR.finditer(data)]
    if not blocks:
        if b"-----BEGIN PGP PUBLIC KEY BLOCK-----" in data:
            raise OpenPgpError("the armoured key is cut short: its END line is missing")
        raise OpenPgpError("this is OpenPGP armour, but no public key")
    return b"".join(_block(block) for block in blocks)


def _block(inside: bytes) -> bytes:
    lines = [line.strip() for line in inside.splitlines()]
    # Headers such as "Version: GnuPG v1" come first and end at an empty line; some programs leave both out.
    while lines and re.match(rb"[A-Za-z][A-Za-z -]*: ", lines[0]):
        lines.pop(0)
    lines = [line for line in lines if line]
    check = None
    if lines and lines[-1].startswith(b"=") and len(lines[-1]) == 5:
        check = lines.pop()[1:]
    try:
        binary = base64.b64decode(b"".join(lines), validate=True)
        expected = None if check is None else int.from_bytes(base64.b64decode(check, validate=True), "big")
    except (binascii.Error, ValueError) as error:
        raise OpenPgpError(f"the armour is damaged: {error}") from None
    if expected is not None and _crc24(binary) != expected:
        raise OpenPgpError("the armour's check sum does not match: the key was damaged on its way")
    return binary


def _crc24(data: bytes) -> int:
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _bit in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc & 0xFFFFFF


def _take(data: bytes, start: int, length: int) -> bytes:
    if length < 0 or start + length > len(data):
        raise OpenPgpError("it ends in the middle of a packet")
    return data[start : start + length]


def _number(data: bytes, start: int, length: int) -> int:
    return int.from_bytes(_take(data, start, length), "big")


def _packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, body and the whole packet, one after the other."""
    here = 0
    while here < len(data):
        first = data[here]
        if not first & 0x80:
            raise OpenPgpError(f"byte {here} starts no packet")
        if first & 0x40:
            tag, start, length = first & 0x3F, *_new_length(data, here + 1)
        else:
            tag, size = (first >> 2) & 0x0F, first & 0x03
            if size == 3:
                raise OpenPgpError("a packet of a key has no length")
            start = here + 1 + (1 << size)
            length = _number(data, here + 1, 1 << size)
        body = _take(data, start, length)
        yield tag, body, data[here : start + length]
        here = start + length


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    """Where the body starts and how long it is, of a packet in the new format."""
    first = _number(data, at, 1)
    if first < 192:
        return at + 1, first
    if first < 224:
        return at + 2, ((first - 192) << 8) + _number(data, at + 1, 1) + 192
    if first == 255:
        return at + 5, _number(data, at + 1, 4)
    raise OpenPgpError("a packet of a key has a partial length")


Group = list[tuple[int, bytes, bytes]]


def _groups(data: bytes) -> Iterator[Group]:
    """The packets, parted at each primary key."""
    group: Group = []
    for tag, body, whole in _packets(data):
        if tag in SECRET:
            raise OpenPgpError("this is a private key: publish the public one (gpg --armor --export)")
        if tag == PUBLIC_KEY:
            if group:
                yield group
            group = []
        elif not group:
            if tag in (PUBLIC_SUBKEY, USER_ID, SIGNATURE):
                raise OpenPgpError("it does not begin with a public key")
            continue
        group.append((tag, body, whole))
    if group:
        yield group


def _fingerprint(body: bytes) -> tuple[int, str]:
    version = _number(body, 0, 1)
    if version == 4:
        prefix, digest = b"\x99" + len(body).to_bytes(2, "big") if len(body) < 65536 else b"", "sha1"
    elif version in (5, 6):
        prefix, digest = (b"\x9a" if version == 5 else b"\x9b") + len(body).to_bytes(4, "big"), "sha256"
    else:
        raise OpenPgpError(f"it is a key of version {version}, which nothing trusts any more")
    if not prefix:
        raise OpenPgpError("a key of version 4 is larger than it can be")
    # Version 4 fingerprints are SHA-1 by definition: a name, not a protection.
    return version, hashlib.new(digest, prefix + body).hexdigest().upper()


def _key_id(version: int, fingerprint: str) -> str:
    return fingerprint[-16:] if version == 4 else fingerprint[:16]


def _algorithm(version: int, body: bytes) -> tuple[str, int | None]:
    number = _number(body, 5, 1)
    name = ALGORITHMS.get(number, f"algorithm {number}")
    bits = None
    if name in ("rsa", "dsa", "elgamal"):
        bits = _number(body, 6 if version == 4 else 10, 2)
    return name, bits


def _key(group: Group) -> Key:
    _tag, body, _whole = group[0]
    version, fingerprint = _fingerprint(body)
    key_id = _key_id(version, fingerprint)
    created = _number(body, 1, 4)
    algorithm, bits = _algorithm(version, body)

    user_ids: list[str] = []
    own: list[_Signature] = []
    revoked = False
    subkeys: list[tuple[bytes, list[_Signature]]] = []
    for tag, content, _packet in group[1:]:
        if tag == USER_ID:
            user_ids.append(content.decode(errors="replace"))
        elif tag == PUBLIC_SUBKEY:
            subkeys.append((content, []))
        elif tag == SIGNATURE:
            signature = _signature(content)
            if signature is None or (signature.issuers and key_id not in signature.issuers):
                continue  # of a kind unknown to us, or a certification by somebody else
            if signature.kind == 0x20:
                revoked = True
            elif subkeys:
                subkeys[-1][1].append(signature)
            elif signature.kind in (0x10, 0x11, 0x12, 0x13, 0x1F):
                own.append(signature)

    newest = max(own, key=lambda signature: signature.created, default=None)
    return Key(
        fingerprint=fingerprint,
        version=version,
        algorithm=algorithm,
        bits=bits,
        created=created,
        expires=_expiry(created, newest),
        revoked=revoked,
        user_ids=tuple(user_ids),
        hashes=tuple(dict.fromkeys(signature.hash for signature in own)),
        subkeys=tuple(_subkey(content, signatures) for content, signatures in subkeys),
        packets=b"".join(packet for _tag, _content, packet in group),
    )


def _expiry(created: int, signature: _Signature | None) -> int | None:
    lifetime = None if signature is None else signature.key_lifetime
    return created + lifetime if lifetime else None


def _subkey(body: bytes, signatures: list[_Signature]) -> Subkey:
    version, fingerprint = _fingerprint(body)
    created = _number(body, 1, 4)
    bindings = [signature for signature in signatures if signature.kind == 0x18]
    newest = max(bindings, key=lambda signature: signature.created, default=None)
    return Subkey(
        fingerprint=fingerprint,
        algorithm=_algorithm(version, body)[0],
        created=created,
        expires=_expiry(created, newest),
        revoked=any(signature.kind == 0x28 for signature in signatures),
        signs=bool(newest is not None and newest.flags is not None and newest.flags & 0x02),
    )


def _signature(body: bytes) -> _Signature | None:
    """What a signature says of itself; None where its version is unknown."""
    version = _number(body, 0, 1)
    if version == 3:
        return _Signature(
            kind=_number(body, 2, 1),
            hash=_hash(_number(body, 16, 1)),
            created=_number(body, 3, 4),
            issuers=(_take(body, 7, 8).hex().upper(),),
            key_lifetime=None,
            lifetime=None,
            flags=None,
        )
    if version not in (4, 5, 6):
        return None
    wide = 4 if version == 6 else 2
    hashed_length = _number(body, 4, wide)
    hashed = _take(body, 4 + wide, hashed_length)
    unhashed_length = _number(body, 4 + wide + hashed_length, wide)
    unhashed = _take(body, 4 + 2 * wide + hashed_length, unhashed_length)

    created, key_lifetime, lifetime, flags = 0, None, None, None
    issuers: list[str] = []
    for kind, content, is_hashed in [
        *((kind, content, True) for kind, content in _subpackets(hashed)),
        *((kind, content, False) for kind, content in _subpackets(unhashed)),
    ]:
        if kind == 16:
            issuers.append(content.hex().upper())
        elif kind == 33 and content:
            issuers.append(_key_id(content[0], content[1:].hex().upper()))
        elif not is_hashed:
            continue  # anybody can add to the unhashed area: of it only the issuer, a hint, is read
        elif kind == 2:
            created = int.from_bytes(content, "big")
        elif kind == 3:
            lifetime = int.from_bytes(content, "big")
        elif kind == 9:
            key_lifetime = int.from_bytes(content, "big")
        elif kind == 27:
            flags = content[0] if content else 0
    return _Signature(
        kind=_number(body, 1, 1),
        hash=_hash(_number(body, 3, 1)),
        created=created,
        issuers=tuple(issuers),
        key_lifetime=key_lifetime,
        lifetime=lifetime,
        flags=flags,
    )


def _hash(number: int) -> str:
    return HASHES.get(number, f"hash {number}")


def _subpackets(data: bytes) -> Iterator[tuple[int, bytes]]:
    here = 0
    while here < len(data):
        first = data[here]
        if first < 192:
            start, length = here + 1, first
        elif first < 255:
            start, length = here + 2, ((first - 192) << 8) + _number(data, here + 1, 1) + 192
        else:
            start, length = here + 5, _number(data, here + 1, 4)
        if length < 1:
            raise OpenPgpError("a signature holds an empty subpacket")
        content = _take(data, start, length)
        yield content[0] & 0x7F, content[1:]
        here = start + length
