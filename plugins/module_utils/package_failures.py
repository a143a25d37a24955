# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a package manager's words mean, and what mends it.

Rules of this file: text in, sentences out, no I/O. ``FAILURES`` is a table; the first entry that matches wins, so what
causes others stands above them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

URL = r"(?P<url>[a-z]+:/[^\s'\"]+)"


# How each package manager tells what it holds.
HELD = {
    "apt": "apt-mark showhold",
    "dnf": "dnf versionlock list; excludepkgs in /etc/dnf/dnf.conf and /etc/yum.repos.d",
    "pacman": "IgnorePkg in /etc/pacman.conf and /etc/pacman.d/gpunode",
}


@dataclass(frozen=True)
class Context:
    """What the words do not say themselves."""

    name: str
    url: str = ""
    url_variable: str = ""
    now: str = ""
    log_path: str = ""
    skew_seconds: float | None = None
    manager: str = "apt"

    @property
    def elsewhere(self) -> str:
        """Where else the downloads can come from, by which variable."""
        if not self.url_variable:
            return "check that the node reaches it (proxy, firewall, DNS), or use a mirror"
        return f"check that the node reaches it (proxy, firewall, DNS), or set `{self.url_variable}` to a mirror"


@dataclass(frozen=True)
class Failure:
    """A known failure: its stable id, how it reads, and the sentence that explains it."""

    id: str
    pattern: str
    say: Callable[[re.Match[str], Context], str]
    # Whether reading the lists of every repository anew may mend it.
    stale: bool = False


def _url(match: re.Match[str], context: Context) -> str:
    found = match.groupdict().get("url") or context.url or "the repository"
    return found.rstrip(".,:")


def _clock(match: re.Match[str], context: Context) -> str:
    return (
        f"the node's clock and the repository {_url(match, context)} disagree: {match.group(0).strip().rstrip('.')}. "
        f"This is the clock, not the repository and not TLS: the node says it is {context.now}{_skew(context)}. "
        "Set it: timedatectl set-ntp true (or chronyc makestep), then run again"
    )


def _skew(context: Context) -> str:
    if context.skew_seconds is None:
        return ""
    hours = abs(context.skew_seconds) / 3600
    way = "ahead of" if context.skew_seconds > 0 else "behind"
    return f", {hours:.1f} hours {way} the server's time"


def _expired(match: re.Match[str], context: Context) -> str:
    told = match.group(0).strip().rstrip(".")
    if context.skew_seconds is not None and abs(context.skew_seconds) < 3600:
        return (
            f"the repository {_url(match, context)} is out of date: {told}. The node's clock is right, so its mirror "
            f"no longer follows upstream; {context.elsewhere}"
        )
    return (
        f"the repository {_url(match, context)} is out of date to this node: {told}. Either the node's clock is wrong "
        f"(it says {context.now}{_skew(context)}; mend it with timedatectl set-ntp true), or the mirror no longer "
        f"follows upstream; {context.elsewhere}"
    )


def _said(match: re.Match[str]) -> str:
    """The words that matter, on one line."""
    groups = match.groupdict()
    words = next((str(value) for name, value in groups.items() if name.startswith("what") and value), match.group(0))
    return "; ".join(" ".join(line.split()) for line in words.strip().splitlines()).rstrip(".")


FAILURES = (
    Failure(
        "dpkg-interrupted",
        r"dpkg was interrupted, you must manually run '(?:sudo )?(?P<command>dpkg --configure -a)'",
        lambda match, context: "dpkg was interrupted earlier; nothing was changed. Mend it: dpkg --configure -a",
    ),
    Failure(
        "disk-full",
        r"No space left on device|You don't have enough free space in (?P<folder>\S+?)\.?(?:\s|$)|"
        r"At least (?P<more>\S+ more space) needed on the (?P<fs>\S+) filesystem|Disk Requirements|"
        r"Partition (?P<partition>\S+) too full",
        lambda match, context: (
            f"the disk is full ({match.group(0).strip().rstrip('.')}). Free space under /var and /usr "
            "(apt-get clean, journalctl --vacuum-size=200M), then run again: it carries on where it stopped"
        ),
    ),
    Failure(
        "clock-behind",
        rf"Release file for {URL} is not valid yet \(invalid for another [^)]*\)",
        _clock,
    ),
    Failure(
        "clock-tls",
        r"certificate is not yet valid|certificate has expired|not yet activated certificate|uses expired certificate|"
        r"chain uses (?:not yet valid|expired) certificate",
        lambda match, context: (
            _clock(match, context)
            if context.skew_seconds is None or abs(context.skew_seconds) > 3600
            else f"the certificate of {_url(match, context)} is not valid now ({match.group(0)}), although the node's "
            f"clock is right; {context.elsewhere}"
        ),
    ),
    Failure("expired", rf"Release file for {URL} is expired \(invalid since [^)]*\)", _expired),
    Failure(
        "locked",
        r"Could not get lock (?P<path>\S+?)\.?(?: It is held by process (?P<pid>\d+) \([^)]*\))?(?:\s|$)|"
        r"Unable to acquire the dpkg frontend lock|dpkg frontend lock was locked by another process|"
        r"unable to lock database|Failed to obtain (?:the )?(?:transaction|rpm) lock|can't create transaction lock",
        lambda match, context: (
            f"another package manager is at work ({match.group(0).strip()}). Wait for it, then run again"
        ),
    ),
    Failure(
        "signed-by",
        rf"Conflicting values set for option Signed-By regarding source {URL}[^:]*: (?P<one>\S+) != (?P<other>\S+)",
        lambda match, context: (
            f"two files name the repository {_url(match, context)} with different keys ({match.group('one')} and "
            f"{match.group('other')}), so apt reads none at all. Remove the older file: grep -rl "
            f"{_url(match, context)} /etc/apt/sources.list /etc/apt/sources.list.d"
        ),
    ),
    Failure(
        "not-signed-by-arch",
        r"key \"(?P<key>[0-9A-F]{8,40})\" (?:is unknown|could not be \S+)|required key missing from keyring|"
        r"failed retrieving file '[^']*\.sig' from \S+ : The requested URL returned error: 40[0-9]|"
        r"missing required signature|signature from [^\n]* is (?:invalid|unknown trust|marginal trust)",
        lambda match, context: (
            f"a package is not signed as it must be ({match.group(0).strip()}): nothing was installed. pacman trusts "
            "the keys of its keyring alone. That may be old: pacman -Sy archlinux-keyring, then run again. If it is "
            "not, the mirror may be tampered with: use another in /etc/pacman.d/mirrorlist"
        ),
    ),
    Failure(
        "key-missing",
        r"(?:NO_PUBKEY|MISSING_KEY|public key is not available[^\n]*) *(?P<key>[0-9A-F]{16,40})",
        lambda match, context: (
            f"{context.url or 'the repository'} is signed with the key {match.group('key')}, which is not the one that "
            "was given: nothing from it is installed. Compare the key at `key_url` with upstream's, and mend "
            "`key_url` and `key_fingerprints`"
        ),
    ),
    Failure(
        "key-refused",
        r"(?:EXPKEYSIG|KEYEXPIRED|REVKEYSIG|BADSIG|EXPSIG) ?(?P<key>[0-9A-F]{16,40})?|is not signed\b|"
        r"Policy rejected [^\n]*|weak (?:security information|algorithm)[^\n]*|"
        r"Sub-process /usr/bin/sqv returned an error[^\n]*|"
        r"GPG (?:check FAILED|key retrieval failed|Keys are configured)[^\n]*|"
        r"Public key for \S+ is not installed[^\n]*|repomd\.xml GPG signature verification error[^\n]*",
        lambda match, context: (
            f"the signature of {context.url or 'the repository'} is refused ({match.group(0).strip()}): nothing from "
            "it is installed. The mirror may be tampered with or out of step with upstream; compare its key with "
            f"upstream's, or set `{context.url_variable or 'the repository url'}` to another mirror"
        ),
    ),
    Failure(
        "no-key-given",
        r"You have enabled checking of packages via GPG keys\.(?:.|\n)*?^Problem repository: (?P<repository>\S+)",
        lambda match, context: (
            f"the repository {match.group('repository')} in /etc/yum.repos.d demands signatures and names no key, and "
            "rpm trusts none yet, so dnf does nothing at all. Give it its `gpgkey`, or disable it (`enabled=0`)"
        ),
    ),
    Failure(
        "changed-on-the-way",
        rf"(?:Failed to fetch {URL}[^\n]*?\s+)?(?P<what>Hash Sum mismatch|File has unexpected size[^\n]*|"
        r"Writing more data than expected[^\n]*|File is (?:smaller|larger) than expected[^\n]*|"
        r"invalid or corrupted package[^\n]*|Downloading successful, but checksum doesn't match[^\n]*|"
        r"Checksum (?:error|mismatch)[^\n]*|unexpected end of (?:file|data)[^\n]*|lzma error[^\n]*)",
        lambda match, context: (
            f"what came from {_url(match, context)} is not what the repository promised "
            f"({match.group('what').strip()}): it was cut short or changed on its way (a proxy, a mirror "
            "that is being updated). Nothing was installed; "
            f"run again in some minutes, or {context.elsewhere}"
        ),
        stale=True,
    ),
    Failure(
        "not-there",
        rf"(?:Failed to fetch {URL}\s+(?:Error reading|[^\n]*?)\s*(?P<code>40[0-9]|410|5\d\d)\s+(?P<what>[^\n]*))|"
        rf"(?:Status code: (?P<code2>\d+) for {URL.replace('url', 'url2')})|"
        rf"(?:The repository '{URL.replace('url', 'url3')}[^']*' (?:does not have|no longer has) a Release file)|"
        r"failed retrieving file '(?P<file>[^']*)' from (?P<host>\S+) : "
        r"The requested URL returned error: (?P<code3>\d+)",
        lambda match, context: (
            f"{_where(match, context)} answers {_code(match)}: it is not there. Nothing was installed; "
            f"{context.elsewhere}"
        ),
        stale=True,
    ),
    Failure(
        "unreachable",
        rf"Failed to fetch {URL}\s+(?P<what>[^\n]*)|"
        r"failed retrieving file '(?P<file>[^']*)' from (?P<host>\S+) : (?P<what0>[^\n]*)|"
        r"(?P<what2>Could not resolve '?[^\s']+'?|Temporary failure resolving '[^']*'|"
        r"Could not connect to [^\n]*|Cannot initiate the connection[^\n]*|Connection (?:failed|timed out)[^\n]*|"
        r"Curl error \(\d+\): [^\n]*|Could not resolve host: \S+|Cannot download [^\n]*|"
        r"Failed to download metadata for repo '[^']*'[^\n]*|failed to synchronize all databases[^\n]*)",
        lambda match, context: (
            f"{_source(match, context)} cannot be read: {_said(match)}. Nothing was installed; {context.elsewhere}"
        ),
    ),
    Failure(
        "excluded",
        r"All matches were filtered out by (?P<what>exclude|modular) filtering for argument: (?P<name>\S+)",
        lambda match, context: (
            f"{match.group('name')} is there, but hidden from dnf by "
            + (
                "another module stream that is enabled (dnf module list --enabled)"
                if match.group("what") == "modular"
                else f"an exclude or a version lock ({HELD['dnf']})"
            )
            + ". Nothing was installed. Lift that, or want a version that it lets through"
        ),
    ),
    Failure(
        "no-such-package",
        r"Unable to locate package (?P<name>\S+)|Package '?(?P<name2>[^\s']+)'? has no installation candidate|"
        r"Version '(?P<version>[^']*)' for '(?P<name3>[^']*)' was not found|Unable to find a match: (?P<name4>[^\n]*)|"
        r"No match for argument: (?P<name5>\S+)|target not found: (?P<name6>\S+)|"
        r"Couldn't find any package by (?:glob|regex) '(?P<name7>[^']*)'",
        lambda match, context: (
            f"no repository of this node has {_named(match)}"
            f"{' at version ' + match.group('version') if match.group('version') else ''}. Check the name and version, "
            f"and that {context.url or 'the repository'} serves this release of the system"
        ),
        stale=True,
    ),
    Failure(
        "held-changed",
        r"Held packages were changed and -y was used without --allow-change-held-packages",
        lambda match, context: (
            "this would change packages that are held. Nothing was changed. Want the versions that are held, or set "
            "`allow_change: true` for one run"
        ),
    ),
    Failure(
        "downgrade",
        r"Packages were downgraded and -y was used without --allow-downgrades",
        lambda match, context: (
            "this would downgrade packages. Nothing was changed. Want the versions that are installed, or set "
            "`allow_change: true` for one run"
        ),
    ),
    Failure(
        "unmet",
        r"The following packages have unmet dependencies:\n(?P<what>(?: [^\n]*\n?)+)|"
        r"(?:Problem: |nothing provides )(?P<what2>[^\n]*)|"
        r"(?P<what3>unresolvable package conflicts detected|could not satisfy dependencies|"
        r"unable to satisfy dependency [^\n]*)",
        lambda match, context: (
            f"what they depend on cannot be had together: {_said(match)}. Nothing was changed. "
            f"Check the versions wanted, and which packages are held ({HELD.get(context.manager, HELD['apt'])})"
        ),
        stale=True,
    ),
    Failure(
        "script-failed",
        r"Errors were encountered while processing:\n(?P<what>(?: [^\n]*\n?)+)|"
        r"(?:%(?:post|pre)\w*|scriptlet)[^\n]*failed[^\n]*",
        lambda match, context: (
            f"packages were unpacked, but could not be configured: {_said(match)}. The reason stands above that in "
            f"{context.log_path or 'the log'}"
        ),
    ),
)


def _where(match: re.Match[str], context: Context) -> str:
    groups = match.groupdict()
    if groups.get("file"):
        return f"{groups['host']}, asked for {groups['file']},"
    for name in ("url", "url2", "url3"):
        if groups.get(name):
            return str(groups[name]).rstrip(".,:")
    return context.url


def _source(match: re.Match[str], context: Context) -> str:
    return _where(match, context).rstrip(",") if match.groupdict().get("host") else _url(match, context)


def _code(match: re.Match[str]) -> str:
    groups = match.groupdict()
    code = groups.get("code") or groups.get("code2") or groups.get("code3")
    return f"{code} {(groups.get('what') or '').split('[')[0].strip()}".strip() if code else "without a Release file"


def _named(match: re.Match[str]) -> str:
    return next(
        (str(value).strip() for name, value in match.groupdict().items() if name.startswith("name") and value),
        "such a package",
    )


def recognise(output: str) -> tuple[Failure, re.Match[str]] | None:
    """The failure that explains the output, and where it stands there; None where none is known."""
    for failure in FAILURES:
        match = re.search(failure.pattern, output, re.MULTILINE)
        if match:
            return failure, match
    return None


def explain(output: str, context: Context) -> str:
    """A sentence that says what a package manager's output means; where that is unknown, its own last words."""
    found = recognise(output)
    told = found[0].say(found[1], context) if found else last_words(output)
    end = f" Its whole output: {context.log_path}." if context.log_path else ""
    return f"{context.name}: {told.rstrip('.')}.{end}"


def last_words(output: str, lines: int = 6) -> str:
    """The errors in an output; where none are marked, its last lines."""
    said = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in said if re.match(r"(?:E:|Err:|dpkg: error|[Ee]rror:)", line)]
    return " / ".join((errors or said)[-lines:]) or "it said nothing"


def may_be_stale(output: str) -> bool:
    """Whether reading every repository anew may mend it."""
    found = recognise(output)
    return found is not None and found[0].stale
