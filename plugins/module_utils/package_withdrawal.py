# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking away the packages, holds and files of a package manager that are ours (``package_ownership``).

What was there before us stays; so does what something of somebody else's needs by now, and what somebody has asked for
since. Data stays, whatever the scripts of a package would do to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from .files import difference, read_text
from .host import Host
from .ownership import NOTHING, Ledger, Undo, put, tidy
from .ownership import look as content_of
from .package_data import Data, discard, to_discard
from .package_failures import last_words
from .package_managers import Manager, PackageError, close_journal, journal, open_journal
from .package_ownership import SHIELD, brought, displaced, everything, ledger_of, unshield
from .package_set import Outcome
from .packages import MANAGED, Package, parse_removed


def asked_for_since(manager: Manager, packages: Mapping[str, Package]) -> set[str]:
    """Those that somebody has asked for by name since: they are not marked as what others need."""
    if not packages:
        return set()
    if manager.name != "apt":
        asked = _asked_for(manager)
        return {name for name, package in packages.items() if package.name in asked}
    text = manager.host.text("/var/lib/apt/extended_states") or ""
    automatic = {
        match.group(1)
        for stanza in text.split("\n\n")
        if re.search(r"^Auto-Installed: 1$", stanza, re.MULTILINE)
        for match in [re.search(r"^Package: (\S+)$", stanza, re.MULTILINE)]
        if match
    }
    return {name for name in packages if name.partition(":")[0] not in automatic}


def _asked_for(manager: Manager) -> set[str]:
    """All that somebody has asked for by name, or that dnf knows no reason for: after a power cut, what it was at."""
    argv: tuple[str, ...] = ("pacman", "-Qqe")
    if manager.name == "dnf":
        program = "dnf" if manager.host.which("dnf") else "yum"
        # It reads no repository. What an exclude names would be hidden. dnf 5 refuses --installed beside it, and ends
        # no line by itself.
        argv = (program, "repoquery", "--userinstalled", "--queryformat", "%{name}\n", "--setopt=disable_excludes=main")
    answer = manager.host.run(*argv, timeout_seconds=120)
    if not answer.ok:
        raise PackageError(
            f"{manager.request.name}: which packages somebody has asked for since cannot be told, so none is removed. "
            f"`{' '.join(argv[:3])}`: {last_words(answer.err or answer.out)}. Mend that, then run again."
        )
    return {line.strip() for line in answer.out.splitlines()}


def needed_by_others(manager: Manager, names: Sequence[str]) -> dict[str, list[str]]:
    """Of the packages to go, those that something else needs, and what. They are asked singly only where any is."""
    kept: dict[str, list[str]] = {}
    going = list(names)
    while going and _taken_along(manager, going, going):
        found = {name: _taken_along(manager, [name], going) for name in going}
        found = {name: others for name, others in found.items() if others}
        if not found:  # only together do they take something along
            return {name: _taken_along(manager, going, going) for name in going} | kept
        kept.update(found)
        going = [name for name in going if name not in found]
    return kept


def _taken_along(manager: Manager, names: Sequence[str], going: Sequence[str]) -> list[str]:
    """What else would have to go with them."""
    if manager.name == "apt":
        answer = manager.host.run(
            "apt-get", "-qsy", "-oAPT::Get::AutomaticRemove=false", "remove", "--allow-change-held-packages", *names,
            timeout_seconds=120,
        )  # fmt: skip
        if not answer.ok:
            raise PackageError(f"{manager.request.name}: apt-get -s remove: {(answer.err or answer.out).strip()}")
        return [name for name in parse_removed(answer.out) if name not in going]
    if manager.name == "dnf":
        answer = manager.host.run("rpm", "-e", "--test", *names, timeout_seconds=120)
        pattern = r"is needed by \(installed\) (\S+?)-[^-\s]+-[^-\s]+$"
    else:
        answer = manager.host.run("pacman", "-Rp", *names, timeout_seconds=120)
        pattern = r"required by (\S+)$"
    found = re.findall(pattern, f"{answer.out}\n{answer.err}", re.MULTILINE)
    return [name for name in dict.fromkeys(found) if name not in going]


def take_away(manager: Manager, names: Sequence[str], purge: bool) -> None:
    """Remove packages; with ``purge`` their configuration too (rpm and pacman know no difference that matters here)."""
    if not names:
        return
    request = manager.request
    if manager.name == "apt":
        argv = [
            "apt-get", "-qy", "-oDpkg::Use-Pty=0", "-oDPkg::Lock::Timeout=60", "-oAPT::Get::AutomaticRemove=false",
            "--allow-change-held-packages", "purge" if purge else "remove", *names,
        ]  # fmt: skip
    elif manager.name == "dnf":
        argv = ["rpm", "-e", *names]
    else:
        argv = ["pacman", "--noconfirm", "-Rn", *names]
    answer = manager.logged(*argv, timeout_seconds=request.timeout_seconds, killable=False)
    if not answer.ok:
        raise manager.fail(answer)


# --- Data ----------------------------------------------------------------------------------------------------------


def shield(host: Host, name: str, folders: Iterable[str], packages: Iterable[str] = ()) -> None:
    """Put data out of reach of what packages do when they are purged.

    Of a folder that is a link to elsewhere the link is renamed: Debian's docker.io follows it and empties what it leads
    to. A mount cannot be renamed: there it is enough that no script of these packages speaks of it.
    """
    scripts = "".join(host.text(f"/var/lib/dpkg/info/{package}.postrm") or "" for package in packages)
    for folder in folders:
        path = host.path(folder)
        if not os.path.islink(path) and not host.list(folder):  # nothing is there that could be lost
            continue
        try:
            os.rename(path, f"{path}{SHIELD}")
        except OSError as error:
            if folder not in scripts:
                continue
            raise PackageError(
                f"{name}: {folder} cannot be kept out of reach while packages are purged ({error.strerror}; is it a "
                "mount of its own?), and their scripts may delete what is in it. The packages are removed, their "
                f"configuration is not yet. Unmount {folder}, then run again."
            ) from None


# --- All of it -----------------------------------------------------------------------------------------------------


def withdraw(
    manager: Manager, keeps: Sequence[str] = (), discards: Sequence[Data] = (), *, check_mode: bool = False
) -> Outcome:
    """Take away what is ours. Raises ``PackageError``, or ``WriteError`` where a file could not be written."""
    host, request = manager.host, manager.request
    ledger = ledger_of(request.name, host)
    outcome = Outcome()
    if not check_mode:
        unshield(host, keeps)
    there = everything(manager)
    mine = brought(ledger, there)
    ours = sorted(name for name in mine if _something_left(there.get(name)))
    by_hand = asked_for_since(manager, {name: there[name] for name in ours if name not in ledger.fact("asked", [])})
    going = [name for name in ours if name not in by_hand or not there[name].present]
    needed = needed_by_others(manager, [name for name in going if there[name].present]) if going else {}
    going = [name for name in going if name not in needed]
    who = "somebody has asked for it since" + (", or dnf does not know why it came" if manager.name == "dnf" else "")
    outcome.warnings += _left(ledger, dict.fromkeys(sorted(by_hand), who), needed, there)
    gone = set(going)
    release = [name for name in ledger.fact("held", []) if name in there and there[name].held and name not in gone]
    hold = [name for name in ledger.fact("released", []) if name in there and there[name].present]
    hold = [name for name in hold if not there[name].held]
    undos = [ledger.undo(path) for path in ledger.paths]
    known = {undo.path for undo in undos if not undo.problem}
    undos = [undo for undo in undos if undo.changed]
    for path in _own_paths(manager):  # of a run that kept no ledger, or changed by hand since
        now = content_of(host.path(path), follow=False)
        if path not in known and (now.text or "").startswith(MANAGED):
            undos.append(Undo(path, now, NOTHING))
    aside = [(moved, path) for moved, path in ledger.fact("aside", {}).items() if _free(host, moved, path)]
    held = [name for name in ledger.fact("held", []) if name in gone and there[name].held]

    staying = [name for name, package in there.items() if package.present and name not in gone]
    data, told = to_discard(host, request.name, discards, mine, staying)
    outcome.warnings += told

    outcome.changed = bool(ledger.exists or going or release or hold or undos or aside)
    outcome.removed = [name for name in going if there[name].present]
    outcome.stays = [item.name for item in request.wanted if item.name in there and there[item.name].present]
    outcome.stays = [name for name in outcome.stays if name not in gone]
    outcome.released, outcome.held = release, hold
    outcome.discarded = [item.path for item in data]
    outcome.files = [undo.path for undo in undos] + [path for _moved, path in aside]
    outcome.diff = [difference(undo.path, undo.before.text, undo.after.text) for undo in undos]
    outcome.diff += [difference(path, "", read_text(host.path(moved))) for moved, path in aside]
    outcome.diff += [difference(path, f"{path}\n", "") for path in outcome.discarded]
    shown = [f"{name} {there[name].version}{' (held)' if there[name].held else ''}\n" for name in outcome.removed]
    if shown:
        outcome.diff.append(difference("packages", "".join(shown), ""))
    if check_mode or not outcome.changed:
        outcome.warnings += displaced(host, keeps)
        return outcome

    if going or release or hold:
        manager.wait()
        if journal() is not None and (manager.interrupted() or manager.unfinished()):
            manager.repair()
    if release or held:
        manager.release([*release, *held])
    if going:
        # what is ours can no longer be seen once it is gone
        ledger.replace(brought=sorted(mine), before=None, shielded=list(keeps) or None)
        ledger.save()
        open_journal(request.name, going)
        present = [name for name in going if there[name].present]
        if any(os.path.lexists(host.path(folder)) for folder in keeps):
            take_away(manager, present, purge=False)  # so that services have ended before their data is moved
            shield(host, request.name, keeps, going)
        try:
            left = everything(manager) if keeps else there
            take_away(manager, [name for name in going if _something_left(left.get(name))], purge=True)
        finally:
            unshield(host, keeps)
        close_journal()
    if hold:
        manager.hold(hold)
    _reset_streams(manager, ledger.fact("streams", []))
    for undo in undos:
        put(undo, host.path)
    for moved, path in aside:
        os.rename(host.path(moved), host.path(path))
    for item in data:
        theirs = discard(host, request.name, item)
        if theirs:
            outcome.discarded.remove(item.path)
            outcome.warnings.append(theirs)
    ledger.forget()
    tidy(host.path)
    outcome.warnings += displaced(host, keeps)
    return outcome


def _something_left(package: Package | None) -> bool:
    """Installed, or, of dpkg, removed but for its configuration."""
    return package is not None and package.state != "not-installed"


def _left(
    ledger: Ledger, by_hand: Mapping[str, str], needed: Mapping[str, Sequence[str]], there: Mapping[str, Package]
) -> list[str]:
    """What is not as it was before us, and why."""
    told = [f"{name} was brought by us, and stays: {', '.join(others)} needs it now" for name, others in needed.items()]
    told += [f"{name} was brought by us, and stays: {why}" for name, why in by_hand.items()]
    told += [
        f"{name} was {version} before us, and stays at {there[name].version}"
        for name, version in ledger.fact("changed", {}).items()
        if name in there and there[name].present and name not in ledger.fact("brought", [])
    ]
    told += [
        f"{name} {version} was removed by us, because it was in the way; install it again if you want it"
        for name, version in ledger.fact("removed", {}).items()
        if name not in there or not there[name].present
    ]
    return told


def _own_paths(manager: Manager) -> list[str]:
    repository = manager.request.repository
    if repository is None or manager.name == "pacman":
        return []
    return [manager.repository_path(repository)]


def _free(host: Host, moved: str, path: str) -> bool:
    return os.path.lexists(host.path(moved)) and not os.path.lexists(host.path(path))


def _reset_streams(manager: Manager, streams: Sequence[str]) -> None:
    for stream in streams:
        module, _colon, wanted = stream.partition(":")
        if getattr(manager, "stream_of", lambda _module: None)(module) == wanted:
            manager.logged(
                "dnf", "-y", "module", "reset", module, timeout_seconds=manager.request.timeout_seconds, killable=False
            )
