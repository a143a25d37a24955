# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which failed pods go and by which call, against an API that answers as told. The real API is in tests/api."""

from __future__ import annotations

import re
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.cluster import pods_cleanup
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import ApiError, Client, Unreachable
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.kubeconfig import Endpoint
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.pods_cleanup import (
    Cleanup,
    CleanupError,
    Wanted,
    failed_at,
    listing,
    problems,
    reason,
    summary,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 20, 8, 30, tzinfo=timezone.utc)
OF_DEPLOYMENT = {"pod-template-hash": "7d4b9c6f5"}
OF_JOB = {"job-name": "train", "controller-uid": "1"}


def pod(name, namespace="work", why="Evicted", at="2026-11-20T08:00:00Z", labels=None, phase="Failed", **metadata):
    generated = {"generateName": name[:-5]} if labels else {}
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-01T00:00:00Z",
            "labels": labels or {},
            **generated,
            **metadata,
        },
        "status": {"phase": phase, "reason": why, "startTime": at},
    }


def many(number, prefix="web", **more):
    return [pod(f"{prefix}-{index:05}", **{"labels": OF_DEPLOYMENT, **more}) for index in range(number)]


class Api:
    """Failed pods by namespace; remembers what was deleted, and how."""

    def __init__(self, *pods):
        self.pods = {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in pods}
        self.collections, self.singles, self.dry = [], [], []
        self.errors = {}
        self.lock = threading.Lock()

    def client(self):
        return Answers(self)

    def clean(self, dry_run=False, **wanted):
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in wanted.items()}
        return Cleanup(self.client, Wanted(**given), dry_run).run(NOW)


class Answers(Client):
    def __init__(self, api):
        super().__init__(Endpoint(server="https://api.invalid"))
        self.api = api

    def call(self, method, path, body=None, query=None, content=""):
        api, query = self.api, dict(query or {})
        self.requests += 1
        words = path.strip("/").split("/")
        namespace = words[3] if words[2] == "namespaces" else ""
        with api.lock:
            error = api.errors.get((method, path))
            if error:
                raise error
            if method == "GET" and words[2:] == ["namespaces", namespace]:
                return {}
            found = [item for key, item in sorted(api.pods.items()) if namespace in ("", key[0])]
            if method == "GET":
                return page([item for item in found if labelled(item, query.get("labelSelector", ""))], query)
            if words[-1] == "pods":
                failed = [item for item in found if item["status"]["phase"] == "Failed"]
                found = [item for item in failed if labelled(item, query["labelSelector"])]
                answer = page(found, query)
                for item in answer["items"]:
                    del api.pods[(namespace, item["metadata"]["name"])]
                api.collections.append((namespace, query["labelSelector"], len(answer["items"]), body))
                return answer
            if body.get("dryRun") == ["All"]:
                api.dry.append(words[-1])
                return {}
            if (namespace, words[-1]) not in api.pods:
                raise no(404)
            api.singles.append((words[-1], body))
            del api.pods[(namespace, words[-1])]
            return {}


def labelled(item, selector):
    return all(key in item["metadata"]["labels"] for key in selector.split(",") if key)


def page(items, query):
    start, size = int(query.get("continue") or 0), query["limit"]
    assert query["fieldSelector"] == "status.phase=Failed"
    more = {"continue": str(start + size)} if start + size < len(items) else {}
    return {"items": items[start : start + size], "metadata": more}


def no(status, message="no", **metadata):
    return ApiError(status, {"message": message, "reason": "Because", "metadata": metadata}, "DELETE /pods")


# ---------------------------------------------------------------- which call


def test_a_namespace_that_goes_whole_goes_by_collection_calls():
    api = Api(*many(550))

    done = api.clean()

    assert [size for _space, _labels, size, _body in api.collections] == [200, 200, 150]
    assert (done.total, api.singles, api.pods) == (550, [], {})


def test_no_call_asks_for_a_grace_period_of_zero():
    api = Api(*many(30), pod("alone"))

    api.clean()

    bodies = [body for *_rest, body in api.collections] + [body for _name, body in api.singles]
    assert len(bodies) == 2
    assert not any("gracePeriodSeconds" in body for body in bodies)


@pytest.mark.parametrize("wanted", [{"reasons": ["Evicted"]}, {"min_age_seconds": 60}], ids=["reasons", "age"])
def test_where_a_pod_that_fails_meanwhile_would_stay_all_go_one_by_one(wanted):
    api = Api(*many(50))

    done = api.clean(**wanted)

    assert (api.collections, len(api.singles), done.total) == ([], 50, 50)


@pytest.mark.parametrize(
    "other",
    [
        pod("web-0", labels=OF_DEPLOYMENT, generateName="web-"),
        pod("web-waits", labels=OF_DEPLOYMENT, finalizers=["tests.invalid/one"]),
        pod(
            "web-going",
            labels=OF_DEPLOYMENT,
            deletionTimestamp="2026-11-20T08:00:00Z",
            finalizers=["tests.invalid/one"],
        ),
    ],
    ids=["a name that may come again", "a finalizer", "being deleted, with a finalizer"],
)
def test_one_pod_that_a_collection_call_should_not_take_forbids_it(other):
    api = Api(*many(50), other)

    api.clean()

    assert api.collections == []
    assert len(api.singles) >= 50


def test_one_that_is_being_deleted_goes_along_and_is_not_counted():
    api = Api(*many(50), pod("web-going", labels=OF_DEPLOYMENT, deletionTimestamp="2026-11-20T08:00:00Z"))

    done = api.clean()

    assert [size for _space, _labels, size, _body in api.collections] == [51]
    assert (done.total, dict(done.kept), api.singles) == (50, {"terminating": 1}, [])


def test_pods_of_stable_names_go_only_as_the_pod_that_was_seen():
    api = Api(*many(50), pod("db-0", labels={"statefulset.kubernetes.io/pod-name": "db-0"}))

    api.clean()

    assert [name for name, _body in api.singles] == ["db-0"]
    assert api.singles[0][1]["preconditions"] == {"uid": "uid-db-0", "resourceVersion": "7"}


def test_jobs_and_deployments_are_calls_of_their_own():
    api = Api(*many(30), *many(30, "train", labels=OF_JOB))

    api.clean()

    assert sorted(labels for _space, labels, *_rest in api.collections) == [
        "job-name,controller-uid",
        "pod-template-hash",
    ]


def test_without_the_right_to_delete_collections_they_go_one_by_one():
    api = Api(*many(30))
    api.errors[("DELETE", "/api/v1/namespaces/work/pods")] = no(403)

    done = api.clean()

    assert (len(api.singles), done.total) == (30, 30)


def test_what_a_call_took_whose_answer_was_lost_is_counted_and_what_it_left_goes_one_by_one():
    class Loses(Answers):
        def call(self, method, path, body=None, query=None, content=""):
            answer = super().call(method, path, body, query, content)
            if method == "DELETE" and "labelSelector" in (query or {}):
                back = answer["items"].pop()
                self.api.pods[("work", back["metadata"]["name"])] = back
                answer["items"] = answer["items"][:10]
            return answer

    api = Api(*many(30))

    done = Cleanup(lambda: Loses(api), Wanted()).run(NOW)

    assert [name for name, _body in api.singles] == ["web-00029"]
    assert (done.total, api.pods) == (30, {})


def test_a_pod_that_lost_its_labels_meanwhile_is_not_taken_for_gone():
    class Relabels(Answers):
        def call(self, method, path, body=None, query=None, content=""):
            if method == "DELETE" and "labelSelector" in (query or {}):
                self.api.pods[("work", "web-00029")]["metadata"]["labels"] = {}
            return super().call(method, path, body, query, content)

    api = Api(*many(30))

    done = Cleanup(lambda: Relabels(api), Wanted()).run(NOW)

    assert [name for name, _body in api.singles] == ["web-00029"]
    assert (done.total, api.pods) == (30, {})


# ---------------------------------------------------------------- which pods


@pytest.mark.parametrize(
    ("item", "wanted", "why"),
    [
        (pod("a", phase="Running"), {}, "running"),
        (pod("a", deletionTimestamp="2026-11-20T08:00:00Z"), {}, "terminating"),
        (pod("a", annotations={"kubernetes.io/config.mirror": "x"}), {}, "static"),
        (pod("a", why="Error"), {"reasons": ["Evicted"]}, "other_reason"),
        (pod("a", at="2026-11-20T08:29:01Z"), {"min_age_seconds": 60}, "too_young"),
        (pod("a", at="soon", creationTimestamp=""), {"min_age_seconds": 60}, "too_young"),
        (pod("a"), {"exclude_namespaces": ["work"]}, "excluded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pod_that_stays_is_counted_by_why(item, wanted, why):
    api = Api(item)

    done = api.clean(**wanted)

    assert (dict(done.kept), done.total, len(api.pods)) == ({why: 1}, 0, 1)


def test_a_pod_is_as_old_as_its_failure_not_as_its_creation():
    item = pod("a", at="2026-11-01T00:00:00Z")
    item["status"]["containerStatuses"] = [{"state": {"terminated": {"finishedAt": "2026-11-20T08:29:30Z"}}}]

    assert failed_at(item) == "2026-11-20T08:29:30Z"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"reason": "Evicted"}, "Evicted"),
        ({"containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled"}}}]}, "OOMKilled"),
        (
            {
                "initContainerStatuses": [{"state": {"terminated": {"reason": "Completed"}}}],
                "containerStatuses": [{"state": {"terminated": {"reason": "Error"}}}],
            },
            "Error",
        ),
        ({}, "Failed"),
    ],
)
def test_the_reason_is_the_pods_or_its_first_container_that_failed(status, expected):
    assert reason({"metadata": {}, "status": status}) == expected


def test_check_mode_counts_asks_the_api_once_a_namespace_and_deletes_nothing():
    api = Api(*many(30), *many(30, namespace="other"))

    done = api.clean(dry_run=True)

    assert done.gone == {("other", "Evicted"): 30, ("work", "Evicted"): 30}
    assert (len(api.pods), len(api.dry), api.singles, api.collections) == (60, 2, [], [])


def test_a_list_that_expires_goes_on_where_it_stood():
    class Expires(Answers):
        def get(self, path, **query):
            if query.get("continue") == "500" and self.api.errors.pop("once", None):
                raise ApiError(410, {"reason": "Expired", "metadata": {"continue": "0500"}}, "GET")
            return super().get(path, **query)

    api = Api(*many(700))
    api.errors["once"] = True

    done = Cleanup(lambda: Expires(api), Wanted(), True).run(NOW)

    assert done.total == 700
    assert "once" not in api.errors


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(("status", "why"), [(404, "gone"), (409, "changed")])
def test_a_pod_that_is_gone_or_changed_is_left_and_counted(status, why):
    api = Api(pod("a"), pod("b"))
    api.errors[("DELETE", "/api/v1/namespaces/work/pods/a")] = no(status)

    done = api.clean()

    assert (dict(done.kept), done.total) == ({why: 1}, 1)


def test_a_pod_that_went_by_a_call_whose_answer_was_lost_is_counted():
    class AsksAgain(Answers):
        def call(self, method, path, body=None, query=None, content=""):
            answer = super().call(method, path, body, query, content)
            if method == "DELETE":
                return super().call(method, path, body, query, content)
            return answer

    api = Api(pod("a"))

    done = Cleanup(lambda: AsksAgain(api), Wanted()).run(NOW)

    assert (done.total, dict(done.kept)) == (1, {})


def test_what_had_gone_before_an_error_is_told_and_the_next_run_goes_on():
    api = Api(pod("a"), pod("b"), pod("c"))
    lost = Unreachable("refused", "https://api.invalid", "the connection is refused")
    api.errors[("DELETE", "/api/v1/namespaces/work/pods/b")] = lost

    with pytest.raises(CleanupError, match=r"refused.*1 pod had gone before; run it again") as error:
        api.clean()
    api.errors.clear()
    again = api.clean()

    assert error.value.done.total == 1
    assert (again.total, api.pods) == (2, {})


@pytest.mark.parametrize(
    ("status", "mend"),
    [(401, "Renew the kubeconfig"), (403, "need list, delete and deletecollection on pods")],
)
def test_a_refusal_names_its_mend(status, mend):
    api = Api(pod("a"))
    api.errors[("GET", "/api/v1/pods")] = no(status)

    with pytest.raises(CleanupError, match=mend):
        api.clean()


def test_check_mode_foretells_a_refusal():
    api = Api(pod("a"))
    api.errors[("DELETE", "/api/v1/namespaces/work/pods/a")] = no(403)

    with pytest.raises(CleanupError, match="deletecollection"):
        api.clean(dry_run=True)


def test_namespaces_that_do_not_exist_are_named_together_before_anything_goes():
    api = Api(pod("a"))
    for name in ("wrok", "tset"):
        api.errors[("GET", f"/api/v1/namespaces/{name}")] = no(404)

    with pytest.raises(CleanupError, match="wrok, tset: no such namespaces"):
        api.clean(namespaces=["work", "wrok", "tset"])

    assert len(api.pods) == 1


def test_all_that_is_wrong_with_what_was_asked_for_is_told_at_once():
    wrong = problems(Wanted(("Work",), ("../x", "a"), ("",), -1))

    assert [line.split(":")[0] for line in wrong] == ["namespaces", "exclude_namespaces", "reasons", "min_age_seconds"]
    assert problems(Wanted(("a",), ("a",)))[0].startswith("a: in namespaces and in exclude_namespaces")
    assert problems(Wanted()) == []


# ---------------------------------------------------------------- what is said


def test_the_listing_counts_by_namespace_and_reason_and_names_some():
    api = Api(*many(pods_cleanup.NAMES + 3), pod("one", why="OutOfcpu", at="2026-11-19T00:00:00Z"))

    told = listing(api.clean(dry_run=True)).splitlines()

    assert told[0] == "work: Evicted: 23 pods, the oldest of 2026-11-20T08:00:00Z"
    assert told[1] == "  web-00000"
    assert "  and 3 more" in told
    assert told[-2:] == ["work: OutOfcpu: 1 pod, the oldest of 2026-11-19T00:00:00Z", "  one"]


def test_the_summary_says_what_stayed_as_well():
    api = Api(pod("a"), pod("b", why="Error"))

    would, has = (summary(api.clean(dry_run, reasons=["Evicted"]), dry_run) for dry_run in (True, False))

    assert would.splitlines() == [
        "1 failed pod would go:",
        "  work: Evicted: 1 pod, the oldest of 2026-11-20T08:00:00Z",
        "Left alone, of another reason: 1 pod",
    ]
    assert has.startswith("1 failed pod has gone:")
    assert summary(Api().clean()) == "0 failed pods have gone"


def test_every_reason_to_stay_has_words():
    source = Path(pods_cleanup.__file__).read_text()

    assert set(re.findall(r'return "([a-z_]+)"', source)) | {"excluded"} == set(pods_cleanup.STAYED)


PODS = st.lists(
    st.builds(
        pod,
        st.integers(0, 99).map(lambda number: f"p-{number:05}"),
        namespace=st.sampled_from(["a", "b"]),
        why=st.sampled_from(["Evicted", "Error", ""]),
        at=st.integers(0, 7200).map(lambda ago: (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")),
        labels=st.sampled_from([None, OF_DEPLOYMENT, OF_JOB]),
        phase=st.sampled_from(["Failed", "Running"]),
    ),
    max_size=40,
)


@given(PODS, st.sampled_from([(), ("Evicted",)]), st.sampled_from([0, 3600]))
def test_whatever_is_there_all_that_is_wanted_goes_and_nothing_that_runs(pods, reasons, age):
    api = Api(*pods)
    before = list(api.pods.values())

    told = api.clean(dry_run=True, reasons=reasons, min_age_seconds=age)
    done = api.clean(reasons=reasons, min_age_seconds=age)

    left = list(api.pods.values())
    assert [item for item in before if item["status"]["phase"] == "Running"] == [
        item for item in left if item["status"]["phase"] == "Running"
    ]
    assert told.gone == done.gone
    assert len(left) == len(before) - done.total
    assert api.clean(reasons=reasons, min_age_seconds=age).total == 0
