# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose logs and which events are read, from objects as the API gives them. The real API is in tests/api."""

from __future__ import annotations

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import ApiError, Unreachable
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.logs import EVENTS, by_node, read, seconds
from ansible_collections.gpunode.ready.plugins.module_utils.redaction import Redactor
from hypothesis import given
from hypothesis import strategies as st

NOW = seconds("2026-11-20T08:30:00Z")
PLUGIN = "nvcr.io/nvidia/k8s-device-plugin:v0.20.0"
RUNNING = {"running": {"startedAt": "2026-11-20T06:00:00Z"}}
CRASHED = {"terminated": {"exitCode": 1, "finishedAt": "2026-11-20T08:25:00Z"}}
LONG_AGO = {"terminated": {"exitCode": 1, "finishedAt": "2026-11-19T08:25:00Z"}}
WAITING = {"waiting": {"reason": "CrashLoopBackOff"}}


def pod(name, *states, namespace="kube-system", image=PLUGIN, gpus=0, node="gpu-1", phase="Running", reason=""):
    limits = {"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": image, "resources": limits}]},
        "status": {
            "phase": phase,
            "reason": reason,
            "containerStatuses": [{"name": "main", **state} for state in states],
        },
    }


def warning(kind, name, message, last="2026-11-20T08:00:00Z", namespace="kube-system", **more):
    about = {"kind": kind, "namespace": namespace, "name": name}
    return {"metadata": {}, "involvedObject": about, "message": message, "lastTimestamp": last, "reason": "R", **more}


class Api:
    """Answers lists and logs, and remembers which logs it was asked for."""

    def __init__(self, pods=(), events=(), log=lambda path, query: (200, "said\n")):
        self.lists = {"/api/v1/pods": list(pods), "/api/v1/events": list(events)}
        self.log, self.asked, self.patience_seconds = log, [], 10

    def get(self, path, limit, **query):
        token = int(query.get("continue") or 0)
        found = self.lists[path]
        if isinstance(found, Exception):
            raise found
        rest = {"continue": str(token + limit)} if token + limit < len(found) else {}
        return {"items": found[token : token + limit], "metadata": rest}

    def raw(self, path, **query):
        assert self.patience_seconds == 0
        assert {"tailLines", "limitBytes"} <= set(query)
        self.asked.append(path.split("/")[-2] + (" previous" if query.get("previous") else ""))
        return self.log(path, query)


def listen(*pods, events=(), **more):
    api = Api(pods, events, **more)
    said = read(api, Redactor(), NOW)
    return api, said


@pytest.mark.parametrize(
    ("item", "asked"),
    [
        (pod("plugin", {"state": RUNNING, "ready": True}), ["plugin"]),
        (pod("plugin", {"state": WAITING, "restartCount": 9, "lastState": CRASHED}), ["plugin previous"]),
        (
            pod("plugin", {"state": RUNNING, "ready": True, "restartCount": 9, "lastState": CRASHED}),
            ["plugin", "plugin previous"],
        ),
        (pod("plugin", {"state": RUNNING, "ready": True, "restartCount": 1, "lastState": LONG_AGO}), ["plugin"]),
        (pod("app", {"state": RUNNING, "ready": True}, image="x", gpus=1), []),
        (pod("app", {"state": {"terminated": {"exitCode": 1}}}, image="x", phase="Failed", namespace="a"), ["app"]),
        (pod("app", {"state": {"terminated": {"exitCode": 0}}}, image="x", phase="Succeeded"), []),
        (pod("app", {"state": {"waiting": {"reason": "ImagePullBackOff"}}}, image="x", phase="Pending"), []),
        (pod("app", image="x", node="", gpus=1, phase="Pending"), []),
        (pod("app", {"state": CRASHED}, image="x", phase="Failed", reason="Evicted"), []),
        (pod("driver", {"state": RUNNING, "ready": True}, namespace="gpu-operator", image="x"), ["driver"]),
    ],
)
def test_who_is_listened_to(item, asked):
    api, said = listen(item)

    assert sorted(api.asked) == asked
    assert len([piece for pieces in said.pieces.values() for piece in pieces]) == len(asked)


def test_failing_pods_of_the_gpu_stack_come_first_and_the_number_is_bounded():
    pods = [
        pod(f"other-{number:03}", {"state": CRASHED}, namespace="a", image="x", phase="Failed") for number in range(60)
    ]
    broken = pod("plugin", {"state": WAITING, "lastState": CRASHED})

    api, said = listen(*pods, broken)

    assert api.asked[0] == "plugin previous"
    assert len(api.asked) == 40
    assert said.unread == [{"source": "21 more containers", "reason": "left out: 40 logs are read at most"}]


def test_a_kubelet_that_does_not_answer_is_asked_once():
    def silent(path, query):
        if path.split("/")[-2].startswith("gone"):
            raise Unreachable("timeout", "https://api", "no answer within 15 s")
        return (500, '{"message": "dial tcp: refused"}') if "refused" in path else (200, "said\n")

    pods = [
        pod(f"{node}-{number}", {"state": CRASHED}, node=node) for node in ("gone", "refused", "up") for number in "ab"
    ]
    api, said = listen(*pods, log=silent)

    assert api.asked == ["gone-a", "refused-a", "up-a", "up-b"]
    assert sorted(said.pieces) == ["up"]
    assert {item["source"].split("/")[1].split()[0] for item in said.unread} == {
        "gone-a",
        "gone-b",
        "refused-a",
        "refused-b",
    }
    assert any(item["reason"] == "500: dial tcp: refused" for item in said.unread)


def test_when_many_kubelets_do_not_answer_no_other_is_asked():
    pods = [pod(f"p-{number}", {"state": CRASHED}, node=f"node-{number}") for number in range(9)]

    api, _said = listen(*pods, log=lambda path, query: (502, "bad gateway"))

    assert len(api.asked) == 3


def test_events_about_what_is_well_gone_or_long_over_are_left_out():
    events = [
        warning("Pod", "gone", "of a pod that is gone"),
        warning("Pod", "fine", "of a pod that is well"),
        warning("Pod", "bad", "Error: no runtime for\n  nvidia", series={"count": 3}),
        warning("Node", "gpu-2", "System OOM", namespace=""),
        warning("DaemonSet", "plugin", "forbidden", count=2),
        warning("Node", "gpu-3", "was out of disk", last="2026-11-20T07:00:00Z", namespace=""),
        {**warning("Pod", "web", "0/2 nodes are available", namespace="a"), "reason": "FailedScheduling"},
        {**warning("Pod", "train", "Insufficient nvidia.com/gpu", namespace="a"), "reason": "FailedScheduling"},
    ]
    pods = [
        pod("fine", {"state": RUNNING, "ready": True}),
        pod("bad", {"state": {"waiting": {"reason": "CreateContainerError"}}}, phase="Pending"),
        pod("web", namespace="a", image="x", node="", phase="Pending"),
        pod("train", namespace="a", image="x", node="", phase="Pending", gpus=9),
    ]

    _api, said = listen(*pods, events=events)

    lines = {
        node: piece["text"] for node, pieces in said.pieces.items() for piece in pieces if piece["source"] == "events"
    }
    assert lines == {
        "gpu-1": "2026-11-20T08:00:00Z Warning R Pod/kube-system/bad: Error: no runtime for nvidia (x3)\n",
        "gpu-2": "2026-11-20T08:00:00Z Warning R Node/gpu-2: System OOM\n",
        "": "2026-11-20T08:00:00Z Warning R DaemonSet/kube-system/plugin: forbidden (x2)\n"
        "2026-11-20T08:00:00Z Warning FailedScheduling Pod/a/train: Insufficient nvidia.com/gpu\n",
    }


def test_the_newest_events_are_kept_the_oldest_told_first():
    events = [
        warning("DaemonSet", "x", str(number), f"2026-11-20T08:{number // 60:02}:{number % 60:02}Z")
        for number in range(900)
    ]

    _api, said = listen(events=events[::-1])

    lines = said.pieces[""][0]["text"].splitlines()
    assert len(lines) == EVENTS
    assert lines[0].endswith(": 400")
    assert lines[-1].endswith(": 899")


def test_who_may_not_read_events_still_reads_logs():
    api = Api([pod("plugin", {"state": RUNNING, "ready": True})])
    api.lists["/api/v1/events"] = ApiError(403, {"message": "not allowed"}, "GET /api/v1/events")

    said = read(api, Redactor(), NOW)

    assert said.unread[0]["source"] == "events"
    assert said.pieces["gpu-1"]


def test_no_secret_of_a_log_or_an_event_is_returned():
    planted = "Zq7Plant3dS3cretXy"
    bad = pod("bad", {"state": CRASHED})
    said = listen(
        bad,
        events=[warning("Pod", "bad", f"env K3S_TOKEN={planted}")],
        log=lambda path, query: (200, f"Authorization: Bearer {planted}\n{planted}0000\n"),
    )[1]

    assert planted not in str(listen(bad, log=lambda path, query: (403, f'{{"message": "token={planted}"}}'))[1].unread)
    assert "K3S_TOKEN=<secret removed>" in str(said.pieces)
    assert f"Bearer {planted}" not in str(said.pieces)


def test_pieces_go_to_the_nodes_that_are_known():
    pieces = {"gpu-1": [1], "gpu-9": [2], "": [3]}

    assert by_node(pieces, ["GPU-1", "gpu-2"]) == ({"GPU-1": [1], "gpu-2": []}, [2, 3])


@given(st.text(max_size=40))
def test_any_text_is_taken_for_a_time(text):
    assert isinstance(seconds(text), float)
