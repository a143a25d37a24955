# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's patience and its credentials, against a server that answers as told. The real API is in tests/api."""

from __future__ import annotations

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import ApiError, Client, Unreachable
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.kubeconfig import Endpoint, Exec, KubeconfigError


class Server:
    """Answers what it was told, in order, the last for ever; remembers what it was asked."""

    def __init__(self):
        self.answers = [(200, {}, {})]
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                outer.asked.append((self.command, self.path, dict(self.headers), body))
                status, headers, content = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                data = json.dumps(content).encode() if not isinstance(content, str) else content.encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *words):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_address[1]}"


@pytest.fixture
def server():
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def __call__(self):
        return self.now


def client(server, clock=None, patience=30, **more):
    clock = clock or Clock()
    return Client(Endpoint(server=server.url, **more), 5, patience, clock, clock.sleep)


def refusal(status, message="busy"):
    return (status, {}, {"kind": "Status", "message": message, "reason": "Because"})


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(server, status):
    server.answers = [refusal(status), refusal(status), (200, {}, {"items": []})]

    assert client(server).get("/api/v1/nodes") == {"items": []}
    assert len(server.asked) == 3


def test_the_server_says_how_long_to_wait(server):
    clock = Clock()
    server.answers = [(429, {"Retry-After": "7"}, {}), (200, {}, {})]

    client(server, clock).get("/x")

    assert clock.slept == [7.0]


def test_patience_ends_and_then_the_server_is_named(server):
    clock = Clock()
    server.answers = [refusal(503, "etcdserver: request timed out")]

    with pytest.raises(ApiError, match="GET /x: 503 Because: etcdserver: request timed out"):
        client(server, clock, patience=10).get("/x")

    assert sum(clock.slept) <= 10


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_no_is_a_no(server, status):
    server.answers = [refusal(status, "no")]

    with pytest.raises(ApiError) as error:
        client(server).get("/x")

    assert (error.value.status, len(server.asked)) == (status, 1)


def test_a_create_is_not_sent_twice_unless_it_was_not_heard(server):
    server.answers = [refusal(500)]
    with pytest.raises(ApiError):
        client(server).call("POST", "/x", {})
    heard = len(server.asked)
    server.answers = [refusal(429), (201, {}, {})]

    client(server).call("POST", "/x", {})

    assert heard == 1
    assert len(server.asked) == 3


def test_nobody_there_is_told_by_address():
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1: the connection is refused") as error:
        Client(Endpoint(server="http://127.0.0.1:1"), 1, 0).get("/x")

    assert error.value.kind == "refused"


def test_a_connection_that_the_server_closed_is_opened_anew(server):
    server.answers = [(200, {"Connection": "close"}, {"a": 1}), (200, {}, {"a": 2})]
    asking = client(server)

    assert [asking.get("/x")["a"], asking.get("/x")["a"]] == [1, 2]


def test_an_answer_that_is_no_json_is_told_as_it_is(server):
    server.answers = [(404, {}, "page not found")]

    with pytest.raises(ApiError, match="page not found"):
        client(server).get("/x")


def test_a_list_goes_on_where_the_page_ended(server):
    server.answers = [
        (200, {}, {"items": [{"n": 1}], "metadata": {"continue": "to ken&"}}),
        (200, {}, {"items": [{"n": 2}], "metadata": {}}),
    ]

    assert [item["n"] for item in client(server).list("/x", fieldSelector="type=Warning")] == [1, 2]
    assert "continue=to+ken%26" in server.asked[1][1]
    assert "fieldSelector=type%3DWarning" in server.asked[1][1]


def test_a_list_that_expired_half_way_is_begun_anew_once(server):
    page = (200, {}, {"items": [{"n": 1}], "metadata": {"continue": "t"}})
    last = (200, {}, {"items": [{"n": 2}], "metadata": {}})
    server.answers = [page, refusal(410, "expired"), page, last]

    assert [item["n"] for item in client(server).list("/x")] == [1, 2]

    server.answers = [page, refusal(410, "expired"), page, refusal(410, "expired")]
    with pytest.raises(ApiError, match="410"):
        list(client(server).list("/x"))


def test_a_token_is_sent(server):
    client(server, token="secret").get("/x")

    assert server.asked[0][2]["Authorization"] == "Bearer secret"


def test_a_token_from_a_file_is_sent_without_its_line_end(server, tmp_path):
    (tmp_path / "token").write_text("from-file\n")

    client(server, token_file=str(tmp_path / "token")).get("/x")

    assert server.asked[0][2]["Authorization"] == "Bearer from-file"


def test_a_name_and_a_password_are_sent(server):
    client(server, username="me", password="p:w").get("/x")

    assert server.asked[0][2]["Authorization"] == "Basic " + base64.b64encode(b"me:p:w").decode()


def test_a_user_is_impersonated(server):
    client(server, token="t", impersonate="system:serviceaccount:a:b").get("/x")

    assert server.asked[0][2]["Impersonate-User"] == "system:serviceaccount:a:b"


def program(tmp_path, text):
    path = tmp_path / "credentials"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o700)
    return str(path)


def test_a_program_gives_the_token_once(server, tmp_path):
    command = program(
        tmp_path,
        "import json, os, sys\n"
        "assert json.loads(os.environ['KUBERNETES_EXEC_INFO'])['kind'] == 'ExecCredential'\n"
        "open(sys.argv[1], 'a').write('x')\n"
        "print(json.dumps({'status': {'token': os.environ['WHO']}}))\n",
    )
    asking = client(server, exec=Exec(command, (str(tmp_path / "ran"),), (("WHO", "robot"),)))

    asking.get("/x"), asking.get("/x")

    assert [headers["Authorization"] for _m, _p, headers, _b in server.asked] == ["Bearer robot"] * 2
    assert (tmp_path / "ran").read_text() == "x"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sys; sys.exit('log in first')", "ended with 1: log in first"),
        ("print('no json')", "gave no credentials"),
        ("print('{}')", "ended with 0"),
    ],
)
def test_a_program_that_gives_none_is_named(server, tmp_path, text, told):
    with pytest.raises(KubeconfigError, match=told) as error:
        client(server, exec=Exec(program(tmp_path, text))).get("/x")

    assert error.value.kind == "credentials"


def test_a_proxy_is_asked_for_https_only_by_tunnel(server):
    """A plain proxy that refuses CONNECT is told as such."""
    where = Endpoint(server="https://192.0.2.1:6443", proxy=server.url)

    with pytest.raises(Unreachable) as error:
        Client(where, 2, 0).get("/x")

    assert error.value.kind == "proxy"
