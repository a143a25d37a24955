# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps what became of each fault that a test injects: build/reliability.json, from which docs/reliability.md is made.

A test says which case it injects with ``@pytest.mark.case(number, fault)``, and ``simulated=`` where not all of it is
real; number 0 is a fault that the list of cases lacks. Its module says on what it runs with
``pytestmark = pytest.mark.stage("guest")``, or another of STAGES. With ``--record``, the outcomes of a session join
those that are there, each with its commit and day; `make faults` begins with none.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "build/reliability.json"
SHIPPED = ("roles", "playbooks", "plugins", "site.yml")
STAGES = ("guest", "root", "process")  # docs/generate.py says what each is


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="keep the outcome of every case in build/reliability.json")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "case(number, fault, simulated=''): the case of docs/reliability.md that a test injects"
    )
    config.addinivalue_line("markers", f"stage(name): on what a case is run: {', '.join(STAGES)}")
    if config.getoption("--record"):
        config.pluginmanager.register(Recorder(git_commit()), "gpunode-recorder")


def git_commit() -> str:
    """The last commit of what is shipped; with a plus sign where the tree differs from it. Tests may be newer."""
    last = subprocess.run(
        ["git", "log", "-1", "--abbrev=12", "--format=%h", "--", *SHIPPED], cwd=ROOT, capture_output=True, text=True
    )
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *SHIPPED], cwd=ROOT, check=False).returncode != 0
    return (last.stdout.strip() or "unknown") + ("+" if changed else "")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, Any], None]:
    """Keeps a figure for docs/reliability.md beside the test's case."""
    kept: dict[str, Any] = {}
    request.node.figures = kept

    def keep(name: str, value: Any) -> None:
        kept[name] = value

    return keep


class Recorder:
    """Writes a row for each case of each test: `not run` when it is found, then what became of it."""

    def __init__(self, commit: str) -> None:
        self.commit = commit

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Before any is deselected, so that what a session leaves out is missing from no count."""
        with rows() as kept:
            for item in items:
                for key, row in self.of(item, "not run", 0):
                    kept.setdefault(key, row)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
        outcome = yield
        report = outcome.get_result()
        if report.when == "call" or not report.passed:
            with rows() as kept:
                kept.update(self.of(item, report.outcome, round(report.duration, 1)))

    def of(self, item: pytest.Item, outcome: str, seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
        for case in item.iter_markers("case"):
            number, fault = case.args
            yield (
                f"{item.nodeid} [{number}]",
                {
                    "case": number,
                    "fault": fault,
                    "stage": stage_of(item),
                    "simulated": case.kwargs.get("simulated", ""),
                    "outcome": outcome,
                    "seconds": seconds,
                    "figures": getattr(item, "figures", {}),
                    "commit": self.commit,
                    "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
                },
            )


@contextlib.contextmanager
def rows() -> Iterator[dict[str, Any]]:
    """The rows that are kept, to be changed; one session at a time."""
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        yield kept
        RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def stage_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("stage")
    if marker is None or marker.args[0] not in STAGES:
        raise pytest.UsageError(f"{item.nodeid}: mark its module with pytest.mark.stage, one of {', '.join(STAGES)}")
    return marker.args[0]
