# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a node keeps its logs."""

from __future__ import annotations

import gzip
import os

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.diagnose import Matcher
from ansible_collections.gpunode.ready.plugins.module_utils.log_sources import (
    journal_command,
    read_command,
    read_files,
    read_kernel,
    read_pieces,
    with_rotated,
)

LOST = "NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"


def found(matcher: Matcher) -> list[str]:
    return [finding.id for finding in matcher.findings()]


def test_what_was_rotated_away_is_read_oldest_first(tmp_path):
    log = tmp_path / "syslog"
    for age, name in enumerate(["syslog", "syslog.1", "syslog.2.gz", "syslog-20260101", "syslog.conf", "syslogger"]):
        (tmp_path / name).write_bytes(gzip.compress(LOST.encode()) if name.endswith(".gz") else b"")
        os.utime(tmp_path / name, (1000 - age, 1000 - age))

    names = [os.path.basename(path) for path in with_rotated(str(log))]
    matcher = Matcher()
    unread = list(read_files(matcher, [str(log)], rotated=True))

    assert names == ["syslog-20260101", "syslog.2.gz", "syslog.1", "syslog"]
    assert unread == []
    assert found(matcher) == ["gpu-lost-off-bus"]


def test_a_file_that_cannot_be_read_is_said_and_hides_no_other(tmp_path):
    log = tmp_path / "kern.log"
    log.write_text(LOST)
    matcher = Matcher()

    unread = list(read_files(matcher, [str(tmp_path / "absent"), str(tmp_path), str(log)], rotated=False))

    assert [item["reason"] for item in unread] == ["No such file or directory", "Is a directory"]
    assert found(matcher) == ["gpu-lost-off-bus"]


@pytest.mark.parametrize(
    ("units", "since", "kernel", "tail"),
    [
        (["kubelet", "crio"], "boot", False, ["-b", "--unit=kubelet", "--unit=crio"]),
        (["kubelet"], "-2h", False, ["--since=-2h", "--unit=kubelet"]),
        ([], "boot", True, ["-b", "-k"]),
        ([], "yesterday", True, ["--since=yesterday", "_TRANSPORT=kernel"]),
    ],
)
def test_journalctl_is_asked_for_json_of_these_units_since_then(units, since, kernel, tail):
    argv = journal_command(units, since, kernel)

    assert argv[:4] == ["journalctl", "--no-pager", "--quiet", "--output=json"]
    assert argv[4:] == tail


def test_a_unit_s_name_is_never_taken_for_an_option():
    assert journal_command(["--flush"], "boot", False)[-1] == "--unit=--flush"


def test_what_a_command_prints_is_read(tmp_path):
    log = tmp_path / "kern.log"
    log.write_text(LOST)
    matcher = Matcher()

    assert read_command(matcher, "kernel", ["cat", str(log)]) is None
    assert found(matcher) == ["gpu-lost-off-bus"]


def test_a_command_that_fails_or_is_missing_says_why():
    matcher = Matcher()

    assert read_command(matcher, "kernel", ["cat", "/nowhere"]) == "cat: /nowhere: No such file or directory"
    assert read_command(matcher, "kernel", ["no-such-program"]) == "no-such-program: No such file or directory"
    assert read_command(matcher, "kernel", ["false"]) == "false ended with 1"


def test_without_a_journal_the_ring_buffer_is_read():
    asked = []

    def read(matcher, source, argv):
        asked.append(argv[0])
        return "no journal" if argv[0] == "journalctl" else None

    assert read_kernel(Matcher(), "boot", read) is None
    assert asked == ["journalctl", "dmesg"]


def test_pieces_are_read_under_their_own_names():
    matcher = Matcher()

    unread = list(read_pieces(matcher, [{"source": "pod x", "text": LOST}, {"source": "pod y", "text": None}]))

    assert matcher.findings()[0].evidence[0].source == "pod x"
    assert unread == [{"source": "pod y", "reason": "`text` is NoneType, expected a string"}]
