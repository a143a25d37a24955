# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import cri
from ansible_collections.gpunode.ready.plugins.module_utils import grpc_wire as wire
from ansible_collections.gpunode.ready.plugins.module_utils.cri import Cri, CriError
from hypothesis import given, settings
from hypothesis import strategies as st

CAPTURED = Path(__file__).parents[1] / "data" / "cri"


class Replay:
    """A server on a Unix socket that sends what was captured, whatever it is asked."""

    def __init__(self, path: Path, said: bytes, chunk: int = 65536, hang_up: bool = False) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)
        self.said, self.chunk, self.hang_up = said, chunk, hang_up
        self.heard = b""
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self.listener.accept()
                self.heard = connection.recv(65536)
                for here in range(0, len(self.said), self.chunk):
                    connection.sendall(self.said[here : here + self.chunk])
                if self.hang_up:
                    connection.close()
                else:
                    while connection.recv(65536):
                        pass


@pytest.fixture
def replay(tmp_path):
    made = []

    def start(said: bytes, **how) -> Cri:
        made.append(Replay(tmp_path / "cri.sock", said, **how))
        return Cri(str(tmp_path / "cri.sock"), timeout_seconds=1)

    yield start
    for server in made:
        server.listener.close()


def captured(method: str) -> bytes:
    return (CAPTURED / f"containerd-1.6.20-{method}.bin").read_bytes()


@pytest.mark.parametrize("chunk", [1, 7, 65536])
def test_the_version_of_a_real_containerd_is_read(replay, chunk):
    version = replay(captured("Version"), chunk=chunk).version()

    assert version == {
        "version": "0.1.0",
        "runtime_name": "containerd",
        "runtime_version": "1.6.20~ds1",
        "runtime_api_version": "v1",
    }


def test_the_status_of_a_real_containerd_is_read(replay):
    status = replay(captured("Status")).status()

    assert status["conditions"] == [
        {"type": "RuntimeReady", "status": True, "reason": "", "message": ""},
        {
            "type": "NetworkReady",
            "status": False,
            "reason": "NetworkPluginNotReady",
            "message": "Network plugin returns error: cni plugin not initialized",
        },
    ]
    assert status["info"]["config"]["containerd"]["runtimes"]["nvidia"]["options"]["SystemdCgroup"] is True
    assert status["handlers"] == []


def test_a_call_that_an_older_runtime_lacks_is_named(replay):
    with pytest.raises(CriError, match="unknown method RuntimeConfig") as caught:
        replay(captured("RuntimeConfig")).runtime_config()

    assert (caught.value.reason, caught.value.code) == (cri.UNIMPLEMENTED, "UNIMPLEMENTED")


def answer(body: bytes, trailers: list[tuple[str, str]]) -> bytes:
    start = wire.encode_headers([(":status", "200"), ("content-type", "application/grpc")])
    return (
        wire.settings({})
        + wire.frame(wire.PING, 0, 0, b"12345678")
        + wire.frame(wire.HEADERS, wire.END_HEADERS, 1, start)
        + (wire.frame(wire.DATA, 0, 1, wire.message(body)) if body is not None else b"")
        + wire.frame(wire.HEADERS, wire.END_STREAM, 1, wire.encode_headers(trailers)[:3])
        + wire.frame(wire.CONTINUATION, wire.END_HEADERS, 1, wire.encode_headers(trailers)[3:])
    )


@pytest.mark.parametrize(("body", "driver"), [(b"\x0a\x00", "systemd"), (b"\x0a\x02\x08\x01", "cgroupfs"), (b"", None)])
def test_the_cgroup_driver_is_read(replay, body, driver):
    found = replay(answer(body, [("grpc-status", "0")])).runtime_config()

    assert found == {"cgroup_driver": driver}


HTTP_1 = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request"
DISABLED = [("grpc-status", "12"), ("grpc-message", "unknown service runtime.v1.RuntimeService")]


@pytest.mark.parametrize(
    ("said", "hang_up", "reason", "words"),
    [
        (HTTP_1, True, cri.NOT_CRI, "it answers in HTTP/1"),
        (b"220 mail.example.org ESMTP\r\n", True, cri.NOT_CRI, "speaks no gRPC"),
        (answer(None, DISABLED), False, cri.NOT_CRI, "CRI is disabled, or older than v1"),
        (b"", False, cri.TIMEOUT, "no answer to Version within 1 s"),
        (b"", True, cri.FAILED, "closed before the answer was whole"),
        (wire.settings({}) + wire.frame(wire.RST_STREAM, 0, 1, b"\0\0\0\7"), False, cri.FAILED, "HTTP/2 error 7"),
        (wire.frame(wire.GOAWAY, 0, 0, bytes(8) + b"too_many_pings"), False, cri.FAILED, "too_many_pings"),
        (answer(None, [("grpc-status", "13"), ("grpc-message", "50%25 %C3%A9")]), False, cri.FAILED, "INTERNAL: 50% é"),
        (answer(None, [("grpc-status", "4")]), False, cri.TIMEOUT, "DEADLINE_EXCEEDED"),
        (answer(b"\x12\xff", [("grpc-status", "0")]), False, cri.NOT_CRI, "speaks no gRPC"),
    ],
)
def test_each_way_to_fail_has_its_reason(replay, said, hang_up, reason, words):
    with pytest.raises(CriError, match=words) as caught:
        replay(said, hang_up=hang_up).version()

    assert caught.value.reason == reason


def test_no_socket_is_absent(tmp_path):
    with pytest.raises(CriError, match="no such socket") as caught:
        Cri(f"unix://{tmp_path}/none.sock").version()

    assert caught.value.reason == cri.ABSENT


def test_a_socket_nobody_listens_on_is_refused(tmp_path):
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(str(tmp_path / "cri.sock"))
    left_behind.close()

    with pytest.raises(CriError, match="nobody listens") as caught:
        Cri(str(tmp_path / "cri.sock")).version()

    assert caught.value.reason == cri.REFUSED


@pytest.mark.parametrize(
    ("coded", "text"),
    [  # RFC 7541, appendix C.4 and C.6
        ("f1e3c2e5f23a6ba0ab90f4ff", b"www.example.com"),
        ("a8eb10649cbf", b"no-cache"),
        ("25a849e95ba97d7f", b"custom-key"),
        ("d07abe941054d444a8200595040b8166e082a62d1bff", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    ],
)
def test_huffman_strings_are_decoded(coded, text):
    assert wire.huffman_decode(bytes.fromhex(coded)) == text


def test_header_blocks_remember_and_forget():
    """RFC 7541, appendix C.6: three responses on one connection, Huffman coded, with a table of 256 bytes."""
    decoder = wire.HeaderDecoder(256)
    blocks = [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f"
        "3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ]

    first, second, third = (decoder.decode(bytes.fromhex(block)) for block in blocks)

    assert first[0] == (":status", "302")
    assert second == [(":status", "307"), *first[1:]]
    assert third[-1] == ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")
    assert len(decoder.table) == 3


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.text(), st.text(max_size=400))))
def test_headers_come_back_as_they_were_sent(headers):
    clean = [
        (name.encode(errors="replace").decode(), value.encode(errors="replace").decode()) for name, value in headers
    ]

    assert wire.HeaderDecoder().decode(wire.encode_headers(clean)) == clean


FRAMES = st.builds(
    wire.frame,
    st.integers(0, 12),
    st.sampled_from([0, 1, 4, 5, 8, 13, 32, 255]),
    st.integers(0, 3),
    st.binary(max_size=40),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(FRAMES, st.binary(max_size=30))), st.booleans())
def test_no_bytes_raise_anything_but_their_own_errors(pieces, ended):
    exchange = cri._Exchange("/x/Y", b"", 1)

    with contextlib.suppress(wire.WireError, CriError):
        for piece in pieces:
            exchange.receive(piece)
        if ended:
            exchange.receive(b"")
        list(wire.fields(exchange.answer("socket", "Y")))


@settings(max_examples=300, deadline=None)
@given(st.binary())
def test_no_message_raises_anything_but_a_wire_error(message):
    with contextlib.suppress(wire.WireError):
        list(wire.fields(message))


@pytest.mark.parametrize(
    ("status", "handlers"),
    [
        ({"handlers": [{"name": ""}, {"name": "runc"}, {"name": "nvidia"}]}, ("nvidia", "runc")),
        ({"handlers": [], "info": {"config": {"containerd": {"runtimes": {"runc": {}}}}}}, ("runc",)),
        ({"info": {"config": {"crio": {"Runtimes": {"crun": {}, "nvidia": {}}}}}}, ("crun", "nvidia")),
        ({"info": {"config": "text"}}, None),
        ({"handlers": [{"name": ""}]}, None),  # the default one alone, which has no name
        ({}, None),
    ],
)
def test_the_handlers_are_found_wherever_a_runtime_tells_them(status, handlers):
    assert cri.known_handlers(status) == handlers
