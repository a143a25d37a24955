# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One systemd service: ask its state, restart it and wait, within bounds, until it is up or has said why not.

Every command goes through ``run``, every wait through ``clock`` and ``pause``: tests hand in their own.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable

from .host import Completed, Run, run_command

PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Result",
    "InvocationID",
    "NRestarts",
    "NeedDaemonReload",
)
POLL_SECONDS = 0.2
JOURNAL_LINES = 25
LINE_LIMIT = 600


_TIME = re.compile(r'^time="?[0-9T:.Z+-]+"? ')
_CHATTER = re.compile(r"\blevel=\"?(info|debug|trace)\b")


def telling(lines: Iterable[str]) -> list[str]:
    """The lines that say what is wrong, each once and without its time: chatter only where there is nothing else."""
    bare = list(dict.fromkeys(_TIME.sub("", line)[:LINE_LIMIT] for line in lines))
    return [line for line in bare if not _CHATTER.search(line)][-JOURNAL_LINES:] or bare[-JOURNAL_LINES:]


class UnitError(Exception):
    """Why a unit is not as it should be, in systemd's words."""


class Unit:
    """A systemd service."""

    def __init__(
        self,
        name: str,
        run: Run = run_command,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name if "." in name else f"{name}.service"
        self._run = run
        self._clock = clock
        self._pause = pause
        self._old = ""  # the invocation that was running before a restart: its words are not asked for

    def state(self) -> dict[str, str]:
        """The properties that matter here; empty strings where systemd does not answer."""
        done = self._run(("systemctl", "show", self.name, f"--property={','.join(PROPERTIES)}"), 15.0)
        pairs = (line.split("=", 1) for line in done.out.splitlines() if "=" in line)
        return {**dict.fromkeys(PROPERTIES, ""), **{key: value for key, value in pairs if key in PROPERTIES}}

    def active(self) -> bool:
        return self.state()["ActiveState"] == "active"

    def enable(self) -> None:
        """Have it started at boot. Raises ``UnitError``."""
        self._systemctl("enable", self.name, timeout_seconds=60.0)

    def disable(self) -> None:
        """Have it not started at boot. Raises ``UnitError``."""
        self._systemctl("disable", self.name, timeout_seconds=60.0)

    def stop(self) -> None:
        self._systemctl("stop", self.name, "--no-block")

    def reload(self) -> None:
        """Have it read its configuration again. Raises ``UnitError``."""
        self._systemctl("reload", self.name, timeout_seconds=60.0)

    def restart(self, timeout_seconds: float) -> None:
        """Restart it, or start it, and wait until it is up. Raises ``UnitError`` when it is not within the time.

        One that dies and that systemd starts again gets that one chance: a second death is taken for an answer.
        """
        before = self.state()
        self._old = before["InvocationID"]
        if before["NeedDaemonReload"] == "yes":
            self._systemctl("daemon-reload", timeout_seconds=60.0)
        self._run(("systemctl", "reset-failed", self.name), 15.0)  # a start limit that was hit would refuse the start
        self._systemctl("restart", self.name, "--no-block")
        started = self._clock()
        deaths: set[str] = set()
        state, told = before, "unknown"
        while self._clock() - started < timeout_seconds:
            state = self.state()
            fresh = state["InvocationID"] != before["InvocationID"]
            if fresh and state["ActiveState"] == "active":
                return
            told = f"{state['ActiveState'] or 'unknown'} ({state['SubState'] or '?'}), result {state['Result'] or '?'}"
            if state["ActiveState"] == "failed" and self._clock() - started > 1.0:
                raise UnitError(f"{self.name} failed to start: it is {told}")
            if state["SubState"] == "auto-restart" and fresh:
                deaths.add(state["InvocationID"])
                if len(deaths) > 1:
                    raise UnitError(f"{self.name} died twice while it started: it is {told}")
            self._pause(POLL_SECONDS)
        raise UnitError(f"{self.name} did not come up within {timeout_seconds:g} s: it is {told}")

    def words(self, since: float) -> str:
        """What the service has said since a time, after the restart: each line once, systemd's own only if all is."""
        done = self._run(
            (
                "journalctl",
                f"--unit={self.name}",
                f"--since=@{int(since)}",
                f"--lines={8 * JOURNAL_LINES}",
                "--output=json",
                "--no-pager",
                "--quiet",
            ),
            20.0,
        )
        own: list[str] = []
        others: list[str] = []
        for line in done.out.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            message = entry.get("MESSAGE")
            if isinstance(message, list):  # bytes that are no UTF-8
                message = bytes(message).decode(errors="replace")
            if not isinstance(message, str) or not message.strip():
                continue
            ours = entry.get("_SYSTEMD_UNIT") == self.name and entry.get("_SYSTEMD_INVOCATION_ID") != self._old
            (own if ours else others).append(message.rstrip())
        return "\n".join(telling(own or others))

    def _systemctl(self, *argv: str, timeout_seconds: float = 30.0) -> Completed:
        done = self._run(("systemctl", *argv), timeout_seconds)
        if not done.ok:
            said = (done.err or done.out).strip() or f"exit status {done.rc}"
            raise UnitError(f"systemctl {' '.join(argv)}: {said}")
        return done
