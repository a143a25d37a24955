# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From text to the root cause: whatever the text looks like."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import diagnose
from ansible_collections.gpunode.ready.plugins.module_utils.checks.all import CHECKS
from ansible_collections.gpunode.ready.plugins.module_utils.diagnose import (
    JOINED_LINES,
    Matcher,
    diagnose_text,
    merged,
    read_stream,
)
from ansible_collections.gpunode.ready.plugins.module_utils.findings import Evidence, Finding, from_dict
from ansible_collections.gpunode.ready.plugins.module_utils.logtext import cleaned, parsed, pieces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests/unit/data/diagnosis"
CASES = [
    json.loads(line) for name in ("cases.jsonl", "holdout.jsonl") for line in (DATA / name).read_text().splitlines()
]
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"


def ids(text: str | bytes) -> list[str]:
    return [finding.id for finding in diagnose_text(text)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_the_first_diagnosis_of_a_real_log_is_its_root_cause(case):
    assert ids(case["text"])[:1] == case["expected"][:1]


def test_every_case_says_where_it_is_from_and_who_established_the_cause():
    assert [case["id"] for case in CASES if not (case["source"] and case["why"] and case["component"])] == []
    assert len({case["id"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    "line",
    [
        MISMATCH,
        f"2026-01-02T03:04:05.678901234Z stderr F {MISMATCH}",
        f"Jan  2 03:04:05 gpu-1 nvidia-persistenced[812]: {MISMATCH}",
        f"2026-01-02T03:04:05+00:00 gpu-1 app[812]: {MISMATCH}",
        f"[   12.345678] {MISMATCH}",
        f"[Fri Jan  2 03:04:05 2026] {MISMATCH}",
        f"E0102 03:04:05.678901       1 main.go:123] {MISMATCH}",
        f'time="2026-01-02T03:04:05Z" level=error msg="{MISMATCH}"',
        f"2026/01/02 03:04:05 {MISMATCH}",
        f"ERRO[0000] {MISMATCH}",
        f"\x1b[31mERROR\x1b[0m {MISMATCH}",
        "Failed to initialize NVML: \x1b[1mDriver/library\x1b[0m version mismatch",
        f"> > {MISMATCH}",
        "Failed to initialize NVML: Driver/library\nversion mismatch",
        "Failed to initialize NVML:\r\n   Driver/library version\r\n   mismatch",
        json.dumps({"log": MISMATCH + "\n", "stream": "stderr", "time": "2026-01-02T03:04:05Z"}),
        json.dumps({"MESSAGE": MISMATCH, "SYSLOG_IDENTIFIER": "app", "__REALTIME_TIMESTAMP": "1767323045000000"}),
        json.dumps({"MESSAGE": list(MISMATCH.encode() + b"\xff"), "_COMM": "app"}),
        json.dumps({"level": "error", "ts": 1767323045.1, "msg": "startup failed", "error": MISMATCH}),
        json.dumps({"msg": json.dumps({"error": json.dumps(MISMATCH)})}),
    ],
)
def test_a_message_is_known_in_whatever_it_is_wrapped(line):
    assert ids(line) == ["nvml-driver-library-version-mismatch"]


def test_prefixes_say_when_and_who():
    line = parsed('Nov 18 16:23:44 xi containerd[14192]: time="2026-11-19T16:23:44Z" level=error msg="no"')

    assert (line.time, line.host, line.program, line.level) == ("Nov 18 16:23:44", "xi", "containerd", "error")


def test_a_message_in_several_kernel_lines_is_one():
    text = (
        "[   73.757880] NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:25a0)\n"
        "[   73.757881] NVRM: installed in this system is not supported by the\n"
        "[   73.757882] NVRM: NVIDIA 520.56.06 driver release.\n"
    )

    finding = diagnose_text(text)[0]

    assert finding.id == "driver-too-old-for-gpu"
    assert "520.56.06" in finding.cause


def test_repetitions_are_counted_with_their_first_and_last_time():
    text = "\n".join(f"Jan  2 03:04:{second:02} gpu-1 app[1]: {MISMATCH}" for second in range(10, 22))

    finding = diagnose_text(text, "app.log")[0]

    assert finding.evidence[0].source == "app.log"
    assert finding.evidence[0].line == 1
    assert finding.evidence[1].text == "seen 12 times, first Jan  2 03:04:10, last Jan  2 03:04:21"
    assert finding.subject == "app on gpu-1"


def test_a_consequence_is_folded_under_its_cause():
    text = (
        "NVRM: installed in this system requires use of the NVIDIA open kernel modules.\n"
        "NVRM: GPU 0000:02:00.0: RmInitAdapter failed! (0x22:0x56:884)\n"
    )

    first, second = diagnose_text(text)

    assert (first.id, first.consequence_of) == ("open-kernel-module-required", None)
    assert (second.id, second.consequence_of) == ("rm-init-adapter-failed", "open-kernel-module-required")


def test_context_of_another_source_does_not_count():
    matcher = Matcher()

    read_stream(matcher, "exporter.log", io.BytesIO(b"Starting dcgm-exporter\n"))
    read_stream(matcher, "app.log", io.BytesIO(b"OSError: libnvidia-ml.so.1: cannot open shared object file\n"))

    assert [finding.id for finding in matcher.findings()] == ["nvml-library-not-found"]


def test_what_was_mended_later_in_the_log_is_no_diagnosis():
    lost = "inotify: /var/lib/kubelet/device-plugins/kubelet.sock created, restarting.\n"
    back = "Registered device plugin for 'nvidia.com/gpu' with Kubelet\n"

    assert ids(back + lost) == ["plugin-socket-lost-after-kubelet-restart"]
    assert ids(lost + back) == []


def test_findings_are_those_of_the_design():
    for case in CASES:
        for finding in diagnose_text(case["text"]):
            assert from_dict(json.loads(json.dumps(finding.as_dict()))) == finding
            assert finding.cause
            assert "{" not in finding.cause or "{" in case["text"]


@settings(max_examples=300, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=4000))
def test_no_bytes_make_it_raise(raw):
    diagnose_text(raw)


FRAGMENTS = sorted({*Matcher().literals, *(line for case in CASES for line in case["text"].splitlines()[:2])})


@settings(max_examples=200, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.one_of(
            st.sampled_from(FRAGMENTS), st.text(max_size=40), st.sampled_from(['{"', "\\", '"', "\n", "\x1b[", "("])
        ),
        max_size=30,
    )
)
def test_no_mixture_of_what_programs_print_makes_it_raise(parts):
    for finding in diagnose_text("".join(parts)):
        assert from_dict(finding.as_dict()) == finding


@given(st.text(max_size=400))
def test_cleaning_and_parsing_take_any_text(text):
    assert isinstance(cleaned(text), str)
    assert isinstance(parsed(text).text, str)
    assert "".join(pieces(text)) == text


def _journal(lines: int) -> bytes:
    """Ordinary lines of several programs; the last of them is the only one that says what is wrong."""
    chance = random.Random(1)
    words = ["started", "container", "network", "pod", "image", "volume", "unit", "probe", "status", "cache"]
    text = [
        f"Nov 21 10:{chance.randrange(60):02}:00 gpu-1 {chance.choice(['kubelet', 'containerd', 'systemd'])}"
        f"[{chance.randrange(99999)}]: {' '.join(chance.choices(words, k=12))} {chance.getrandbits(128):032x}"
        for _line in range(lines)
    ]
    text.append(f"Nov 21 11:00:00 gpu-1 app[1]: {MISMATCH}")
    return "\n".join(text).encode()


def test_a_long_text_is_answered_like_a_short_one(tmp_path):
    journal = _journal(30_000)
    assert len(journal) > diagnose.GREP_FROM_BYTES
    path, packed = tmp_path / "journal.log", tmp_path / "journal.log.1.gz"
    path.write_bytes(journal)
    packed.write_bytes(gzip.compress(journal, 1))

    answers = []
    for name in (path, packed):
        matcher = Matcher()
        with diagnose.opened(str(name)) as stream:
            read_stream(matcher, "journal", stream, str(name) if name == path else None)
        answers.append(matcher.findings())
    whole = Matcher()
    whole.feed("journal", diagnose.numbered(io.BytesIO(journal)))

    assert answers[0] == answers[1] == whole.findings()
    assert answers[0][0].evidence[0].line == 30_001


def test_a_long_text_whose_quotes_are_escaped_is_answered_like_a_short_one():
    denied = next(case["text"] for case in CASES if case["id"] == "case-153").splitlines()[0]
    line = json.dumps({"MESSAGE": denied, "SYSLOG_IDENTIFIER": "kernel"})

    findings = diagnose_text(_journal(30_000) + b"\n" + line.encode())

    assert "apparmor-denied" in [finding.id for finding in findings]


def test_without_grep_a_long_text_is_read_line_by_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    findings = diagnose_text(_journal(30_000))

    assert [finding.id for finding in findings] == ["nvml-driver-library-version-mismatch"]


def test_a_line_without_end_is_read_in_bounded_memory():
    class Endless(io.RawIOBase):
        left = 256 << 20

        def readable(self):
            return True

        def readinto(self, buffer):
            size = min(len(buffer), self.left)
            buffer[:size] = b"x" * size
            self.left -= size
            return size

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    matcher = Matcher()
    for _number, line, _held in diagnose.numbered(io.BufferedReader(Endless())):
        assert len(line) <= 1 << 16
    matcher.feed("endless", [(1, b"x" * (1 << 16), True)] * (JOINED_LINES + 1))

    assert matcher.findings() == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024


def test_ten_lines_take_less_than_50_ms_after_import():
    text = "\n".join(line for case in CASES[:3] for line in case["text"].splitlines()[:4])[:4000]
    lines = "\n".join(text.splitlines()[:10])
    code = (
        "import sys, time; from ansible_collections.gpunode.ready.plugins.module_utils.diagnose import diagnose_text;"
        "text = sys.stdin.read(); t = time.process_time(); diagnose_text(text); print(time.process_time() - t)"
    )

    seconds = [float(run("-c", code, text=lines).stdout) for _round in range(3)]

    assert min(seconds) < 0.05


def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    return subprocess.run(
        [sys.executable, *arguments], input=text, capture_output=True, text=True, env=environment, check=False
    )


MODULE = ("-m", "ansible_collections.gpunode.ready.plugins.module_utils.diagnose")


def test_the_command_answers_people(tmp_path):
    log = tmp_path / "plugin.log"
    log.write_text(MISMATCH + "\n")

    done = run(*MODULE, str(log))

    assert done.returncode == 1
    assert "1. [fatal] nvml: nvml-driver-library-version-mismatch" in done.stdout
    assert "$ systemctl reboot" in done.stdout


def test_the_command_answers_programs():
    done = run(*MODULE, "--json", text=MISMATCH)

    assert done.returncode == 1
    assert [item["id"] for item in json.loads(done.stdout)] == ["nvml-driver-library-version-mismatch"]


def test_the_command_says_what_it_read_where_it_knows_nothing(tmp_path):
    log = tmp_path / "quiet.log"
    log.write_text("all is well\nand stays so\n")

    said, told = run(*MODULE, str(log)), run(*MODULE, "--json", str(log))

    assert (said.returncode, said.stdout) == (0, f"Nothing known found. Read: {log} (2 lines).\n")
    assert (told.returncode, json.loads(told.stdout)) == (0, [])


def test_the_command_ends_with_2_where_it_could_not_read(tmp_path):
    log = tmp_path / "plugin.log"
    log.write_text(MISMATCH)

    done = run(*MODULE, "--json", str(tmp_path / "absent.log"), str(log), str(tmp_path))

    assert done.returncode == 2
    assert f"{tmp_path}/absent.log: cannot be read: No such file or directory" in done.stderr
    assert [item["id"] for item in json.loads(done.stdout)] == ["nvml-driver-library-version-mismatch"]


def test_a_packed_file_that_is_cut_off_ends_with_2(tmp_path):
    log = tmp_path / "plugin.log.2.gz"
    log.write_bytes(gzip.compress(os.urandom(5000))[:2000])

    done = run(*MODULE, "--json", str(log))

    assert (done.returncode, json.loads(done.stdout)) == (2, [])


def test_the_same_line_a_million_times_is_quick():
    line = b"Jan  2 03:04:05 gpu-1 app[1]: " + MISMATCH.encode() + b"\n"

    started = time.process_time()
    finding = diagnose_text(line * 200_000)[0]

    assert "seen 200000 times" in finding.evidence[1].text
    assert time.process_time() - started < 20


def test_what_a_check_judged_too_is_told_once_with_the_evidence_of_both():
    check = next(item for item in CHECKS if item.id == "nvml-driver-library-version-mismatch")
    judged = Finding(check.id, check.layer, check.severity, "node", "Differs.", check.remedy, (Evidence("/proc"),))

    findings = merged(diagnose_text(MISMATCH, "app.log"), [judged])

    assert [(finding.id, finding.cause) for finding in findings] == [(check.id, "Differs.")]
    assert [item.source for item in findings[0].evidence] == ["/proc", "app.log"]


def test_what_a_log_shows_is_folded_under_what_a_check_judged():
    check = next(item for item in CHECKS if item.id == "secure-boot-unsigned-module")
    judged = Finding(check.id, check.layer, check.severity, "nvidia", "Not signed.", check.remedy)

    findings = merged(diagnose_text("Failed to initialize NVML: Driver Not Loaded"), [judged])

    assert [(finding.id, finding.consequence_of) for finding in findings] == [
        ("secure-boot-unsigned-module", None),
        ("nvml-driver-not-loaded", "secure-boot-unsigned-module"),
    ]


def test_merging_nothing_keeps_the_order():
    text = "\n".join(case["text"] for case in CASES[:40])

    assert merged(diagnose_text(text), []) == diagnose_text(text)


def test_a_warning_excuses_its_own_line_of_an_escaped_message_alone():
    said = (
        r'fatal: [node1]: FAILED! => {"stderr": "\t[WARNING Swap]: running with swap on is not supported\n'
        r'\t[ERROR NumCPU]: the number of available CPUs 1 is less than the required 2"}'
    )
    swap = r'fatal: [node1]: FAILED! => {"stderr": "\t[WARNING Hostname]: x\n\t[ERROR Swap]: running with swap on"}'

    assert "kubelet-swap-on" not in [finding.id for finding in diagnose_text(said)]
    assert [finding.id for finding in diagnose_text(swap)] == ["kubelet-swap-on"]
