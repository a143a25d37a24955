# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runtime's own answer, over real sockets; and a service's state and words, as systemd 252 gives them."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed
from ansible_collections.gpunode.ready.plugins.module_utils.runtime_health import (
    Health,
    cri_health,
    docker_health,
)
from ansible_collections.gpunode.ready.plugins.module_utils.service_unit import Unit, UnitError, telling


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def docker(tmp_path):
    answer = {"status": 200, "body": b"{}"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(answer["status"])
            self.end_headers()
            self.wfile.write(answer["body"])

        def address_string(self):
            return "local"

        def log_message(self, *args):
            pass

    path = str(tmp_path / "docker.sock")
    server = _Server(path, Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield path, answer
    server.shutdown()
    server.server_close()


def test_docker_says_which_runtimes_it_knows(docker):
    path, answer = docker
    answer["body"] = json.dumps({"Runtimes": {"runc": {}, "nvidia": {}}, "ServerVersion": "20.10.24"}).encode()

    health = docker_health(path)

    assert (health.ok, health.handlers, health.version) == (True, ("nvidia", "runc"), "20.10.24")


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (500, b'{"message": "database locked"}', "database locked"),
        (200, b"no json", "Expecting value"),
        (200, b"[]", "HTTP status 200"),
    ],
)
def test_a_docker_that_is_not_well_is_told_in_its_words(docker, status, body, told):
    path, answer = docker
    answer.update(status=status, body=body)

    health = docker_health(path)

    assert not health.ok
    assert told in health.why


@pytest.mark.parametrize("ask", [docker_health, cri_health])
def test_a_socket_that_is_not_there_is_named(tmp_path, ask):
    health = ask(str(tmp_path / "no.sock"))

    assert not health.ok
    assert "no.sock" in health.why


def test_a_runtime_that_does_not_tell_its_handlers_is_not_blamed():
    assert Health(True, "", None).lacks(["nvidia"]) == []
    assert Health(True, "", ("runc",)).lacks(["nvidia"]) == ["nvidia"]


# --- the service -----------------------------------------------------------------------------------------------------


class Systemd:
    """A service whose states come one after the other, each time it is asked; time passes only by pauses."""

    def __init__(self, *states, journal=""):
        self.states = list(states)
        self.journal = journal
        self.now = 0.0
        self.calls = []

    def run(self, argv, timeout_seconds):
        self.calls.append(" ".join(argv))
        if argv[0] == "journalctl":
            return Completed(0, self.journal, "")
        if argv[1] != "show":
            return Completed(0, "", "")
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return Completed(0, "".join(f"{key}={value}\n" for key, value in state.items()), "")

    def pause(self, seconds):
        self.now += seconds

    def unit(self):
        return Unit("crio", self.run, lambda: self.now, self.pause)


def state(active, sub="running", invocation="a", **more):
    return {"ActiveState": active, "SubState": sub, "InvocationID": invocation, "Result": "success", **more}


def test_a_restart_is_over_when_a_new_invocation_is_active():
    systemd = Systemd(
        state("active"), state("active"), state("activating", "start", "b"), state("active", invocation="b")
    )

    systemd.unit().restart(60)

    assert "systemctl restart crio.service --no-block" in systemd.calls
    assert systemd.now < 2


def test_a_unit_file_that_changed_is_loaded_first():
    systemd = Systemd(state("active", NeedDaemonReload="yes"), state("active", invocation="b"))

    systemd.unit().restart(60)

    assert systemd.calls.index("systemctl daemon-reload") < systemd.calls.index(
        "systemctl restart crio.service --no-block"
    )


def test_a_second_death_is_an_answer():
    systemd = Systemd(
        state("active"),
        state("activating", "auto-restart", "b", Result="exit-code"),
        state("activating", "start", "c"),
        state("activating", "auto-restart", "c", Result="exit-code"),
    )

    with pytest.raises(UnitError, match="died twice"):
        systemd.unit().restart(60)


def test_one_that_hangs_is_given_up_in_time():
    systemd = Systemd(state("active"), state("activating", "start", "b"))

    with pytest.raises(UnitError, match="within 5 s: it is activating"):
        systemd.unit().restart(5)

    assert systemd.now < 6


def test_the_words_are_those_of_the_new_process_without_chatter():
    entries = [
        {"MESSAGE": "old one", "_SYSTEMD_UNIT": "crio.service", "_SYSTEMD_INVOCATION_ID": "a"},
        {"MESSAGE": "Starting...", "_SYSTEMD_UNIT": "init.scope"},
        {"MESSAGE": 'time="x" level=info msg="hello"', "_SYSTEMD_UNIT": "crio.service", "_SYSTEMD_INVOCATION_ID": "b"},
        {"MESSAGE": list(b"caf\xe9 fatal"), "_SYSTEMD_UNIT": "crio.service", "_SYSTEMD_INVOCATION_ID": "b"},
        {"MESSAGE": None, "_SYSTEMD_UNIT": "crio.service", "_SYSTEMD_INVOCATION_ID": "b"},
    ]
    systemd = Systemd(
        state("active"), state("active", invocation="b"), journal="\n".join(map(json.dumps, entries)) + "\n{"
    )
    unit = systemd.unit()
    unit.restart(60)

    assert unit.words(0) == "caf\ufffd fatal"


def test_where_there_is_only_chatter_it_is_told_each_line_once():
    lines = ['time="2026-11-21T09:33:39.231Z" level=info msg="a"', 'time="2026-11-21T09:33:40.231Z" level=info msg="a"']

    assert telling(lines) == ['level=info msg="a"']
