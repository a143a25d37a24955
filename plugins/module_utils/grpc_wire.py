# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of gRPC: HTTP/2 frames (RFC 9113), HPACK (RFC 7541), length-prefixed messages, protocol buffers.

Rules of this file: bytes in, values out, no I/O. Bytes that make no sense raise ``WireError`` and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

HEADER_TABLE_SIZE, _PUSH, _STREAMS, INITIAL_WINDOW_SIZE = 1, 2, 3, 4
LARGEST_FRAME = 2**14  # what both sides start with; we never ask for more
LARGEST_HEADERS = 2**16


class WireError(Exception):
    """Bytes that are no HTTP/2, HPACK, gRPC or protocol buffers."""


# HTTP/2 frames


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", name, value) for name, value in values.items()))


class Frames:
    """Cuts a stream of bytes into frames: ``feed`` it, then take what is whole."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, more: bytes) -> None:
        self._bytes += more

    def take(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of every frame that has arrived whole."""
        while len(self._bytes) >= 9:
            length = int.from_bytes(self._bytes[:3], "big")
            if length > LARGEST_FRAME:
                raise WireError(f"a frame of {length} bytes, more than {LARGEST_FRAME}")
            if len(self._bytes) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self._bytes[3:9])
            payload = bytes(self._bytes[9 : 9 + length])
            del self._bytes[: 9 + length]
            yield kind, flags, stream & 0x7FFFFFFF, payload


def unpadded(flags: int, payload: bytes) -> bytes:
    """The content of a DATA or HEADERS frame without its padding and priority."""
    padding = 0
    if flags & PADDED:
        if not payload:
            raise WireError("a padded frame without its length of padding")
        padding, payload = payload[0], payload[1:]
    if flags & HAS_PRIORITY:
        if len(payload) < 5:
            raise WireError("a frame too short for its priority")
        payload = payload[5:]
    if padding > len(payload):
        raise WireError("more padding than frame")
    return payload[: len(payload) - padding]


# HPACK

_STATIC_NAMES = """
:authority :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200 :status=204
:status=206 :status=304 :status=400 :status=404 :status=500 accept-charset accept-encoding=gzip,_deflate
accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control
content-disposition content-encoding content-language content-length content-location content-range content-type cookie
date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified
link location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie
strict-transport-security transfer-encoding user-agent vary via www-authenticate
"""
STATIC_TABLE = tuple(
    (name.encode(), value.replace("_", " ").encode())
    for name, _equals, value in (entry.partition("=") for entry in _STATIC_NAMES.split())
)

# The code of RFC 7541's appendix B is canonical: the symbols of each length, in order, are all it takes.
_SYMBOLS_BY_LENGTH = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2",
    21: b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6",
    22: b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9",
    23: b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf"
    b"\xc5\xe7\xef",
    24: b"\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed",
    25: b"\xc7\xcf\xea\xeb",
    26: b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
    27: b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
    28: b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"
    b"\xdc\xf9",
    30: b"\n\r\x16",
}


def _codes() -> dict[tuple[int, int], int]:
    """(length, code) -> symbol."""
    found, code, before = {}, 0, 5
    for length, symbols in _SYMBOLS_BY_LENGTH.items():
        code <<= length - before
        before = length
        for symbol in symbols:
            found[length, code] = symbol
            code += 1
    return found


_CODES = _codes()


def huffman_decode(coded: bytes) -> bytes:
    decoded = bytearray()
    code = length = 0
    for byte in coded:
        for place in range(7, -1, -1):
            code = code << 1 | byte >> place & 1
            length += 1
            symbol = _CODES.get((length, code))
            if symbol is not None:
                decoded.append(symbol)
                code = length = 0
            elif length > 30:
                raise WireError("no Huffman code")
    if length > 7 or code != (1 << length) - 1:
        raise WireError("a Huffman string ends in the middle of a code")
    return bytes(decoded)


def _integer(block: bytes, here: int, bits: int) -> tuple[int, int]:
    """The integer that begins in the low ``bits`` of a byte, and where it ends."""
    limit = (1 << bits) - 1
    value = block[here] & limit
    here += 1
    if value < limit:
        return value, here
    for shift in range(0, 35, 7):
        if here >= len(block):
            break
        value += (block[here] & 0x7F) << shift
        here += 1
        if not block[here - 1] & 0x80:
            return value, here
    raise WireError("an HPACK integer without an end")


def _string(block: bytes, here: int) -> tuple[bytes, int]:
    if here >= len(block):
        raise WireError("an HPACK string is missing")
    coded = bool(block[here] & 0x80)
    length, here = _integer(block, here, 7)
    text = block[here : here + length]
    if len(text) < length:
        raise WireError("an HPACK string is cut short")
    return (huffman_decode(text) if coded else text), here + length


class HeaderDecoder:
    """Decodes the header blocks of one direction of one connection, in order."""

    def __init__(self, size: int = 4096) -> None:
        self.limit = self.size = size
        self.table: list[tuple[bytes, bytes]] = []  # newest first

    def decode(self, block: bytes) -> list[tuple[str, str]]:
        found: list[tuple[bytes, bytes]] = []
        here = 0
        while here < len(block):
            byte = block[here]
            if byte & 0x80:
                index, here = _integer(block, here, 7)
                found.append(self._entry(index))
            elif byte & 0xE0 == 0x20:
                self.size, here = _integer(block, here, 5)
                if self.size > self.limit:
                    raise WireError("an HPACK table larger than agreed")
                self._trim()
            else:
                keep = bool(byte & 0x40)
                index, here = _integer(block, here, 6 if keep else 4)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, here = _string(block, here)
                value, here = _string(block, here)
                found.append((name, value))
                if keep:
                    self.table.insert(0, (name, value))
                    self._trim()
        return [(name.decode(errors="replace"), value.decode(errors="replace")) for name, value in found]

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if 1 <= index <= len(STATIC_TABLE):
            return STATIC_TABLE[index - 1]
        if 1 <= index <= len(STATIC_TABLE) + len(self.table):
            return self.table[index - len(STATIC_TABLE) - 1]
        raise WireError(f"no HPACK entry {index}")

    def _trim(self) -> None:
        while self.table and sum(len(name) + len(value) + 32 for name, value in self.table) > self.size:
            self.table.pop()


def _length(length: int) -> bytes:
    """An HPACK string length, not Huffman coded."""
    if length < 127:
        return bytes([length])
    length -= 127
    coded = bytearray([127])
    while length >= 128:
        coded.append(length & 0x7F | 0x80)
        length >>= 7
    coded.append(length)
    return bytes(coded)


def encode_headers(headers: Iterable[tuple[str, str]]) -> bytes:
    """Every header as a literal that no table remembers: longer, and always right."""
    block = bytearray()
    for header in headers:
        block += b"\x00"
        for part in header:
            block += _length(len(part.encode())) + part.encode()
    return bytes(block)


# gRPC messages


def message(content: bytes) -> bytes:
    return struct.pack(">BI", 0, len(content)) + content


def only_message(body: bytes) -> bytes:
    """The content of a body that holds exactly one message, not compressed."""
    if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
        raise WireError("the answer is not one whole, uncompressed gRPC message")
    return body[5:]


# Protocol buffers

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def _varint(content: bytes, here: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if here >= len(content):
            break
        value |= (content[here] & 0x7F) << shift
        here += 1
        if not content[here - 1] & 0x80:
            return value, here
    raise WireError("a protocol buffers number without an end")


def fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message: a number, or bytes (text, or a message within)."""
    here = 0
    while here < len(content):
        tag, here = _varint(content, here)
        kind = tag & 7
        if kind == VARINT:
            value, here = _varint(content, here)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            length, here = _varint(content, here)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise WireError(f"unknown protocol buffers wire type {kind}")
        part = content[here : here + length]
        if len(part) < length:
            raise WireError("a protocol buffers field is cut short")
        here += length
        yield tag >> 3, part


def _encoded_varint(number: int) -> bytes:
    coded = bytearray()
    while number >= 128:
        coded.append(number & 0x7F | 0x80)
        number >>= 7
    coded.append(number)
    return bytes(coded)


def field(number: int, value: bool | int | str | bytes) -> bytes:
    """One field as bytes; nothing for a zero or empty text, as proto3 has it (an empty message is written)."""
    if isinstance(value, (bool, int)):
        return _encoded_varint(number << 3) + _encoded_varint(int(value)) if value else b""
    if isinstance(value, str):
        value = value.encode()
        if not value:
            return b""
    return _encoded_varint(number << 3 | BYTES) + _encoded_varint(len(value)) + value
