# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages as data: what is installed and held, which versions match, what to do, and where packages come from.

Rules of this file: text in, data out, no I/O. What runs a package manager lives in ``package_managers.py``; what its
failures mean, in ``package_failures.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

MANAGED = "# Managed by gpunode.ready. Changes made here are overwritten.\n"

# dpkg's states. A package whose triggers wait is complete; apt sees to the triggers by itself.
ABSENT_STATES = ("not-installed", "config-files")
BROKEN_STATES = ("half-installed", "unpacked", "half-configured")


@dataclass(frozen=True)
class Package:
    """One package on the node. ``damaged``: dpkg itself says that it must be installed again."""

    name: str
    version: str
    state: str = "installed"
    held: bool = False
    architecture: str = ""
    damaged: bool = False

    @property
    def present(self) -> bool:
        return self.state not in ABSENT_STATES

    @property
    def broken(self) -> bool:
        return self.damaged or self.state in BROKEN_STATES

    @property
    def half_unpacked(self) -> bool:
        """Whether its files must be unpacked again: to configure it is not enough."""
        return self.damaged or self.state == "half-installed"


Installed = Mapping[str, Package]


# --- What is installed -------------------------------------------------------------------------------------------

_DPKG_FIELD = re.compile(r"^(Package|Status|Version|Architecture):[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)


def parse_dpkg_status(*texts: str) -> dict[str, Package]:
    """/var/lib/dpkg/status, and after it the files of /var/lib/dpkg/updates, which a killed dpkg leaves behind.

    A package of a second architecture is named ``name:architecture``.
    """
    found: dict[str, Package] = {}
    for text in texts:
        for stanza in re.split(r"\n[ \t]*\n", text):
            fields = dict(_DPKG_FIELD.findall(stanza))
            status = fields.get("Status", "").split()
            if "Package" not in fields or len(status) != 3:
                continue
            package = Package(
                name=fields["Package"],
                version=fields.get("Version", ""),
                state=status[2],
                held=status[0] == "hold",
                architecture=fields.get("Architecture", ""),
                damaged=status[1] == "reinstreq",
            )
            known = found.get(package.name)
            foreign = known is not None and known.architecture != package.architecture and known.present
            found[f"{package.name}:{package.architecture}" if foreign else package.name] = package
    return found


# What rpm calls a key that it trusts.
RPM_KEY = "gpg-pubkey"
RPM_FORMAT = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\n"


def rpm_packages(text: str) -> Iterator[Package]:
    """Every package that rpm tells by ``--qf RPM_FORMAT``."""
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == 3:  # not "package x is not installed"
            yield Package(fields[0], fields[1], architecture=fields[2])


def parse_rpm(text: str) -> dict[str, Package]:
    """``rpm -qa --qf RPM_FORMAT``. Of several versions of one package (kernels) the newest counts.

    Kernels and what belongs to them are also named ``name-version``, since the running one need not be the newest.
    Keys, which rpm keeps as packages of one name, are named so alone.
    """
    found: dict[str, Package] = {}
    for package in rpm_packages(text):
        name, version = package.name, package.version
        if name.startswith("kernel") or name == RPM_KEY:
            found[f"{name}-{version}"] = package
        if name != RPM_KEY and (name not in found or compare_rpm(version, found[name].version) > 0):
            found[name] = package
    return found


def parse_pacman(text: str) -> dict[str, Package]:
    """``pacman -Q``: name and version per line."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 2:
            found[fields[0]] = Package(fields[0], fields[1])
    return found


# --- What is held ------------------------------------------------------------------------------------------------


def parse_versionlock(text: str) -> set[str]:
    """The patterns of names in /etc/dnf/plugins/versionlock.list (dnf 4), such as ``nvidia-open-3:580.95.05-1.*``."""
    names = set()
    for line in text.splitlines():
        entry = line.strip()
        if not entry or entry.startswith(("#", "!")):  # "!" excludes a version, it does not lock one
            continue
        match = re.match(r"(?P<name>.+)-(?:\d+:)?[^-]+-[^-]+$", entry)
        names.add(match.group("name") if match else entry)
    return names


def parse_versionlock_toml(text: str) -> set[str]:
    """The names in /etc/dnf/versionlock.toml (dnf 5)."""
    return set(re.findall(r"^[ \t]*name[ \t]*=[ \t]*[\"']([^\"'\n]+)[\"']", text, re.MULTILINE))


def parse_ignored(text: str) -> set[str]:
    """The patterns of ``IgnorePkg`` in a pacman configuration."""
    names: set[str] = set()
    for value in re.findall(r"^[ \t]*IgnorePkg[ \t]*=[ \t]*(.*?)[ \t]*(?:#.*)?$", text, re.MULTILINE):
        names.update(value.split())
    return names


def with_holds(installed: Installed, patterns: Iterable[str]) -> dict[str, Package]:
    """The packages, with those held whose name matches one of the patterns."""
    wanted = list(patterns)
    return {
        name: Package(
            package.name,
            package.version,
            package.state,
            package.held or any(fnmatchcase(name, pattern) for pattern in wanted),
            package.architecture,
            package.damaged,
        )
        for name, package in installed.items()
    }


# --- Versions ----------------------------------------------------------------------------------------------------

Compare = Callable[[str, str], int]


def _split_epoch(version: str) -> tuple[int, str]:
    epoch, colon, rest = version.partition(":")
    if colon and epoch.isdigit():
        return int(epoch), rest
    return 0, version


def _sign(one: int, other: int) -> int:
    return (one > other) - (one < other)


def _debian_order(character: str) -> int:
    """dpkg's order of what is no digit: ``~`` before the end, letters before everything else."""
    if character == "~":
        return -1
    return ord(character) if character.isascii() and character.isalpha() else ord(character) + 256


def _compare_debian_part(one: str, other: str) -> int:
    while one or other:
        head, head2 = re.match(r"[^0-9]*", one).group(), re.match(r"[^0-9]*", other).group()  # type: ignore[union-attr]
        for place in range(max(len(head), len(head2))):
            left = _debian_order(head[place]) if place < len(head) else 0
            right = _debian_order(head2[place]) if place < len(head2) else 0
            if left != right:
                return _sign(left, right)
        one, other = one[len(head) :], other[len(head2) :]
        digits, digits2 = re.match(r"[0-9]*", one).group(), re.match(r"[0-9]*", other).group()  # type: ignore[union-attr]
        if int(digits or 0) != int(digits2 or 0):
            return _sign(int(digits or 0), int(digits2 or 0))
        one, other = one[len(digits) :], other[len(digits2) :]
    return 0


def compare_debian(one: str, other: str) -> int:
    """-1, 0 or 1, as ``dpkg --compare-versions`` orders them."""
    (epoch, rest), (epoch2, rest2) = _split_epoch(one), _split_epoch(other)
    if epoch != epoch2:
        return _sign(epoch, epoch2)
    upstream, _dash, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    upstream2, _dash, revision2 = rest2.rpartition("-") if "-" in rest2 else (rest2, "", "")
    return _compare_debian_part(upstream, upstream2) or _compare_debian_part(revision or "0", revision2 or "0")


_RPM_PART = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")


def _compare_rpm_part(one: str, other: str) -> int:
    parts, parts2 = _RPM_PART.findall(one), _RPM_PART.findall(other)
    for place in range(max(len(parts), len(parts2))):
        left = parts[place] if place < len(parts) else ""
        right = parts2[place] if place < len(parts2) else ""
        if left == right:
            continue
        for mark, before_end in (("~", True), ("^", False)):
            if mark in (left, right):
                if mark == "^" and "" not in (left, right):
                    return -1 if left == mark else 1  # a snapshot after the release, but before the next release
                return (-1 if left == mark else 1) * (1 if before_end else -1)
        if not left or not right:
            return 1 if left else -1
        if left.isdigit() != right.isdigit():
            return 1 if left.isdigit() else -1
        if left.isdigit():
            if int(left) != int(right):
                return _sign(int(left), int(right))
            continue
        return 1 if left > right else -1
    return 0


def compare_rpm(one: str, other: str) -> int:
    """-1, 0 or 1, as rpm orders epoch, version and release. A release that one side does not name is not compared."""
    (epoch, rest), (epoch2, rest2) = _split_epoch(one), _split_epoch(other)
    if epoch != epoch2:
        return _sign(epoch, epoch2)
    version, _dash, release = rest.partition("-")
    version2, _dash, release2 = rest2.partition("-")
    order = _compare_rpm_part(version, version2)
    return order or (_compare_rpm_part(release, release2) if release and release2 else 0)


def is_pattern(version: str) -> bool:
    return any(character in version for character in "*?[")


def matches(version: str, wanted: str) -> bool:
    """Whether a full version is the wanted one: equal or by glob, epoch and revision named or not."""
    if not wanted:
        return True
    bare = _split_epoch(version)[1]
    forms = {version, bare, version.rpartition("-")[0] or version, bare.rpartition("-")[0] or bare}
    return any(form == wanted or fnmatchcase(form, wanted) for form in forms)


def is_older(wanted: str, version: str, compare: Compare) -> bool:
    """Whether all that ``wanted`` can mean is older than ``version``.

    An epoch that it leaves out is not compared, and of a pattern only the parts before the first open one are.
    """
    here = version if ":" in wanted else _split_epoch(version)[1]
    known = wanted
    if is_pattern(wanted):
        known = re.match(r"(.*(?=[.-]))?", re.split(r"[*?\[]", wanted)[0]).group()  # type: ignore[union-attr]
        if not known or re.match(rf"{re.escape(known)}(?![0-9A-Za-z])", here):
            return False
    return compare(known, here) < 0


def newest(versions: Iterable[str], wanted: str, compare: Compare) -> str | None:
    """The newest of the versions that match; None where none does."""
    best: str | None = None
    for version in versions:
        if matches(version, wanted) and (best is None or compare(version, best) > 0):
            best = version
    return best


# --- What to do --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """A package to have. ``first``: installed before the others, because it decides which versions they get."""

    name: str
    version: str = ""
    binaries: tuple[str, ...] = ()
    first: bool = False


@dataclass(frozen=True)
class Step:
    """One package to install (or install again), the version wanted of it, what was there before, and why."""

    name: str
    version: str
    before: str | None
    why: str
    first: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done. With a problem, nothing of it is done."""

    install: tuple[Step, ...] = ()
    reinstall: tuple[Step, ...] = ()
    remove: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def transacts(self) -> bool:
        """Whether packages themselves change, not only what is held."""
        return bool(self.install or self.reinstall or self.remove)

    @property
    def nothing(self) -> bool:
        return not (self.transacts or self.hold or self.release)


def decide(
    wanted: Sequence[Wanted],
    installed: Installed,
    *,
    compare: Compare,
    held: bool | None = None,
    hold_also: Sequence[str] = (),
    absent: Sequence[str] = (),
    missing: Mapping[str, Sequence[str]] | None = None,
    allow_change: bool = False,
) -> Plan:
    """What brings ``installed`` to what is wanted.

    ``missing`` names the files of a package that ought to be there and are not. ``held`` None leaves holds as they are.
    ``hold_also`` are patterns of installed packages that are held, or released, along with the wanted ones.
    """
    install, reinstall, remove, problems = [], [], [], []
    forbidden: dict[str, list[str]] = {}
    for item in wanted:
        package = installed.get(item.name)
        if package is None or not package.present:
            install.append(Step(item.name, item.version, None, "it is not installed", item.first))
        elif package.half_unpacked:
            install.append(Step(item.name, item.version, package.version, f"its state is {package.state}", item.first))
        elif not matches(package.version, item.version):
            kind = "" if allow_change else _forbidden(item, package, compare)
            if kind:
                forbidden.setdefault(kind, []).append(f"{item.name} {package.version} (wanted: {item.version})")
            else:
                why = f"{package.version} is installed, {item.version} is wanted"
                install.append(Step(item.name, item.version, package.version, why, item.first))
        elif (missing or {}).get(item.name):
            why = f"{', '.join((missing or {})[item.name])} is gone"
            reinstall.append(Step(item.name, package.version, package.version, why, item.first))

    for name in absent:
        package = installed.get(name)
        if package is None or not package.present:
            continue
        if package.held and not allow_change:
            problems.append(
                f"{name} must not be there, but is held at {package.version}. Release it (apt-mark unhold {name}, or "
                f"your distribution's way) or set `allow_change: true`."
            )
        else:
            remove.append(name)

    for kind, items in forbidden.items():
        problems.append(
            f"{', '.join(items)}: {kind}. Want what is there, or set `allow_change: true` (of a role, its "
            "variable that ends in _allow_change) for one run."
        )
    hold, release = _holds(wanted, installed, held, hold_also, set(remove), {step.name for step in install})
    return Plan(tuple(install), tuple(reinstall), tuple(remove), hold, release, tuple(problems))


def _forbidden(item: Wanted, package: Package, compare: Compare) -> str:
    """Why a package may not change to what is wanted; empty where it may."""
    if package.held:
        return "held, and a held package is never changed unasked"
    if is_older(item.version, package.version, compare):
        return "newer than what is wanted, and a package is never downgraded unasked"
    return ""


def _holds(
    wanted: Sequence[Wanted],
    installed: Installed,
    held: bool | None,
    hold_also: Sequence[str],
    leaving: set[str],
    coming: set[str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if held is None:
        return (), ()
    ours = [item.name for item in wanted]
    present = [name for name, package in installed.items() if package.present and name not in leaving]
    ours += [name for name in present if name not in ours and any(fnmatchcase(name, glob) for glob in hold_also)]
    unlike = []
    for name in ours:
        package = installed.get(name)
        is_there = (package is not None and package.present) or name in coming
        if is_there and (package is not None and package.held) != held:
            unlike.append(name)
    return (tuple(unlike), ()) if held else ((), tuple(unlike))


# --- Where packages come from ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Repository:
    """A repository of our own, in a file of its own."""

    name: str
    url: str
    key_url: str = ""
    suites: tuple[str, ...] = ("/",)
    components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    key_fingerprints: tuple[str, ...] = ()
    sha1_fingerprints: tuple[str, ...] = ()
    url_variable: str = ""
    replaces: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """What in it could not be written to a file, or would be read there as something else."""
        found = []
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.name):
            found.append(f"repository.name {self.name!r} is no file name: use lower-case letters, digits, . _ and -")
        for option, value in (("url", self.url), ("key_url", self.key_url)):
            if not re.fullmatch(r"(https?|file)://[!-~]+", value):
                found.append(f"repository.{option} {value!r} is no http, https or file URL without spaces")
        for option, values in (
            ("suites", self.suites),
            ("components", self.components),
            ("architectures", self.architectures),
        ):
            found += [
                f"repository.{option}: {value!r} is not one word"
                for value in values
                if not re.fullmatch(r"[!-~]+", value)
            ]
        if not self.suites:
            found.append("repository.suites is empty: a flat repository has the suite /")
        flat = [suite for suite in self.suites if suite.endswith("/")]
        if flat and self.components:
            found.append(f"repository.suites names {flat[0]}, a flat repository, which has no components")
        if not flat and self.suites and not self.components:
            found.append(f"repository.components is empty, but the suite {self.suites[0]} needs at least one")
        found += [
            f"repository.key_fingerprints: {value!r} has not 40 (or 64) hexadecimal digits; short ids can be forged"
            for value in (*self.key_fingerprints, *self.sha1_fingerprints)
            if not re.fullmatch(r"[0-9A-F]{40}|[0-9A-F]{64}", value)
        ]
        return found


def deb822(repository: Repository, key_path: str) -> str:
    """The whole .sources file."""
    fields = [("Types", "deb"), ("URIs", repository.url), ("Suites", " ".join(repository.suites))]
    if repository.components:
        fields.append(("Components", " ".join(repository.components)))
    if repository.architectures:
        fields.append(("Architectures", " ".join(repository.architectures)))
    fields.append(("Signed-By", key_path))
    return MANAGED + "".join(f"{name}: {value}\n" for name, value in fields)


@dataclass(frozen=True)
class Pin:
    """Which version of packages, named by patterns, is preferred over newer ones."""

    packages: tuple[str, ...]
    version: str


def preferences(pins: Sequence[Pin]) -> str:
    """The whole file of apt preferences. Below 1000, so that nothing is ever downgraded by it."""
    return MANAGED + "\n".join(
        f"Package: {' '.join(pin.packages)}\nPin: version {pin.version}\nPin-Priority: 995\n" for pin in pins
    )


def yum_repo(repository: Repository, key_path: str, title: str, excluded: Sequence[str] = ()) -> str:
    """The whole .repo file. ``excluded`` are held: nothing takes them from this repository but we ourselves."""
    lines = [
        f"[{repository.name}]",
        f"name={' '.join(title.split())}",
        f"baseurl={repository.url}",
        "enabled=1",
        "gpgcheck=1",
        f"gpgkey=file://{key_path}",
    ]
    if excluded:
        lines += [
            f"# Held. To change them by hand: dnf --setopt=disable_excludes={repository.name} ...",
            f"excludepkgs={' '.join(excluded)}",
        ]
    return MANAGED + "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Source:
    """One entry of a file that says where packages come from."""

    uris: tuple[str, ...]
    suites: tuple[str, ...] = ()
    signed_by: str = ""
    enabled: bool = True
    name: str = ""
    excluded: tuple[str, ...] = ()


_ONE_LINE = re.compile(
    r"^[ \t]*(?:deb|deb-src)[ \t]+(?:\[(?P<options>[^\]]*)\][ \t]*)?(?P<uri>\S+)[ \t]+(?P<suite>\S+)"
)


def parse_sources_list(text: str) -> list[Source]:
    """A one-line-style file such as /etc/apt/sources.list. Comments, and so disabled lines, are left out."""
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line)
        if match:
            options = dict(re.findall(r"([\w-]+)\+?=(\S+)", match.group("options") or ""))
            found.append(Source((match.group("uri"),), (match.group("suite"),), options.get("signed-by", "")))
    return found


def parse_deb822(text: str) -> list[Source]:
    """A deb822-style file such as /etc/apt/sources.list.d/x.sources. A key inside it is told as ``(in this file)``."""
    found = []
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and last:
                fields[last] += " " + line.strip()
                continue
            name, colon, value = line.partition(":")
            if colon:
                last = name.strip().lower()
                fields[last] = value.strip()
        if not fields.get("uris"):
            continue
        signed_by = fields.get("signed-by", "")
        found.append(
            Source(
                uris=tuple(fields["uris"].split()),
                suites=tuple(fields.get("suites", "").split()),
                signed_by="(in this file)" if "BEGIN PGP" in signed_by else signed_by,
                enabled=fields.get("enabled", "yes").lower() not in ("no", "false", "0", "off"),
            )
        )
    return found


def parse_yum_repo(text: str) -> list[Source]:
    """A .repo file. Variables such as $basearch stay as they stand there."""
    found = []
    for match in re.finditer(r"^\[(?P<name>[^\]\n]+)\][ \t]*$(?P<body>(?:\n(?!\[).*)*)", text, re.MULTILINE):
        fields: dict[str, str] = {}
        last = ""
        for line in match.group("body").splitlines():
            if line[:1] in (" ", "\t") and last and line.strip():
                fields[last] += " " + line.strip()
                continue
            name, equals, value = line.partition("=")
            if equals and not line.lstrip().startswith(("#", ";")):
                last = name.strip().lower()
                fields[last] = value.strip()
        if match.group("name") == "main" and "baseurl" not in fields:
            uris: tuple[str, ...] = ()
        else:
            uris = tuple(
                word
                for option in ("baseurl", "metalink", "mirrorlist")
                for word in re.split(r"[\s,]+", fields.get(option, ""))
                if word
            )
        excluded = f"{fields.get('excludepkgs', '')} {fields.get('exclude', '')}"
        found.append(
            Source(
                uris=uris,
                signed_by=fields.get("gpgkey", ""),
                enabled=fields.get("enabled", "1").lower() not in ("0", "no", "false", "off"),
                name=match.group("name"),
                excluded=tuple(word for word in re.split(r"[\s,]+", excluded) if word),
            )
        )
    return found


def parse_pacman_repositories(text: str) -> list[Source]:
    """The repositories of /etc/pacman.conf, with the files of mirrors that they include."""
    found = []
    for match in re.finditer(r"^\[(?P<name>[^\]\n]+)\][ \t]*$(?P<body>(?:\n(?!\[).*)*)", text, re.MULTILINE):
        if match.group("name") == "options":
            continue
        uris = re.findall(r"^[ \t]*(?:Server|Include)[ \t]*=[ \t]*(\S+)", match.group("body"), re.MULTILINE)
        found.append(Source(uris=tuple(uris), name=match.group("name")))
    return found


def same_place(one: str, other: str) -> bool:
    """Whether two URIs are one to apt, which ignores a slash at the end."""
    return one.rstrip("/") == other.rstrip("/")


def contradictions(repository: Repository, key_path: str, files: Mapping[str, Sequence[Source]]) -> list[str]:
    """The files that name our repository with another key: apt then refuses to read any repository at all."""
    found = []
    for path, sources in files.items():
        for source in sources:
            shared = set(source.suites) & set(repository.suites)
            here = any(same_place(uri, repository.url) for uri in source.uris)
            if source.enabled and here and shared and source.signed_by != key_path:
                found.append(path)
                break
    return found


# --- What apt answers --------------------------------------------------------------------------------------------


def parse_madison(text: str) -> dict[str, list[str]]:
    """``apt-cache madison``: the versions that can be had, by package."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 3 and fields[0] and fields[1] and not fields[2].endswith(" Sources"):
            found.setdefault(fields[0], []).append(fields[1])
    return found


def parse_removed(text: str) -> list[str]:
    """The packages that apt-get says it removes. A star marks those whose configuration goes too."""
    match = re.search(r"^The following packages will be REMOVED:\n(?P<names>(?:[ \t]+.*\n?)+)", text, re.MULTILINE)
    return [name.rstrip("*").partition(":")[0] for name in match.group("names").split()] if match else []


# --- Who holds a lock --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lock:
    """A line of /proc/locks. A pid of 0 or less belongs to another namespace, or to no process alone."""

    kind: str
    pid: int
    inode: int


_LOCK = re.compile(
    r"^\d+: (?P<kind>POSIX|FLOCK|OFDLCK) +\S+ +(?:READ|WRITE) +(?P<pid>-?\d+) +[0-9a-f]+:[0-9a-f]+:(?P<inode>\d+) ",
    re.MULTILINE,
)


def parse_locks(text: str) -> list[Lock]:
    """The locks held, of /proc/locks; a process that waits for one (``->``) holds nothing."""
    return [
        Lock(match.group("kind"), int(match.group("pid")), int(match.group("inode"))) for match in _LOCK.finditer(text)
    ]
