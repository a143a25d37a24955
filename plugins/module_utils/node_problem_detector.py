# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of signatures as configuration of node-problem-detector's system log monitor.

    python3 -m ansible_collections.gpunode.ready.plugins.module_utils.node_problem_detector kernel > gpunode-kernel.json

Rules of this file: only what one line shows can be a rule there, so a signature that needs context, or that is a mere
symptom, is left out, as is a pattern that Go's regular expressions cannot say (looking ahead). What is fatal in the
kernel's log becomes a condition as well; node-problem-detector clears it when it restarts.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from .signatures.all import FAILURES
from .signatures.catalogue import Failure, Signature

CONDITION = "GPUNodeProblem"
# Source of log -> how node-problem-detector reads it, and the words that tell whose messages a signature's are.
SOURCES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "kernel": ({"plugin": "kmsg", "logPath": "/dev/kmsg"}, ("kernel",)),
    "kubelet": ({"plugin": "journald", "pluginConfig": {"source": "kubelet"}}, ("kubelet",)),
    "containerd": ({"plugin": "journald", "pluginConfig": {"source": "containerd"}}, ("containerd",)),
    "crio": ({"plugin": "journald", "pluginConfig": {"source": "crio"}}, ("CRI-O",)),
}
_LOOKS_AROUND = re.compile(r"\(\?(?:[=!]|<[=!])")


def reason(name: str) -> str:
    """``gpu-lost-off-bus`` as node-problem-detector names reasons: ``GpuLostOffBus``."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("-"))


def fits(signature: Signature) -> bool:
    """Whether one line alone shows it, in a pattern that Go can run."""
    context = signature.near or signature.unless or signature.ended_by or signature.not_with or signature.weak
    return not context and "\n" not in signature.sample and not _LOOKS_AROUND.search(signature.pattern)


def rules(source: str, failures: Sequence[Failure] = FAILURES) -> Iterator[dict[str, str]]:
    """The rules for one source of log, from cause to consequence."""
    speakers = SOURCES[source][1]
    for failure in failures:
        for signature in failure.signatures:
            if not fits(signature) or not any(speaker in signature.component for speaker in speakers):
                continue
            lasting = source == "kernel" and failure.severity == "fatal"
            rule = {"type": "permanent", "condition": CONDITION} if lasting else {"type": "temporary"}
            # node-problem-detector matches the whole of what it buffered, so the line around the message is allowed
            yield {**rule, "reason": reason(failure.id), "pattern": f".*(?:{signature.pattern}).*"}


def configuration(source: str, failures: Sequence[Failure] = FAILURES) -> dict[str, Any]:
    """One configuration file. Raises ``KeyError`` for a source that is not in ``SOURCES``."""
    reading = SOURCES[source][0]
    return {
        **reading,
        "lookback": "5m",
        "bufferSize": 10,
        "source": f"gpunode-{source}",
        "metricsReporting": True,
        "conditions": [{"type": CONDITION, "reason": "GPUNodeIsReady", "message": "no known GPU problem"}]
        if source == "kernel"
        else [],
        "rules": list(rules(source, failures)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Answers the exit status."""
    parser = argparse.ArgumentParser(prog="node_problem_detector", description=__doc__.splitlines()[0])
    parser.add_argument("source", choices=sorted(SOURCES), help="whose log it is for")
    sys.stdout.write(json.dumps(configuration(parser.parse_args(arguments).source), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
