# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages as data: parsers, versions, plans, repository files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import packages as core
from ansible_collections.gpunode.ready.plugins.module_utils.packages import (
    Package,
    Repository,
    Source,
    Wanted,
    compare_debian,
    compare_rpm,
    decide,
    matches,
    newest,
)
from hypothesis import given, settings
from hypothesis import strategies as st

DATA = Path(__file__).parents[1] / "data"


def read(name):
    return (DATA / name).read_text()


# --- What is installed


def test_status_and_query_of_one_machine_agree():
    status = core.parse_dpkg_status(read("dpkg/status-debian12.txt"))
    query = [line.split("\t") for line in read("dpkg/query-debian12.txt").splitlines()]

    assert {name: (item.version, item.state, item.held) for name, item in status.items()} == {
        name.partition(":")[0]: (version, state.split()[2], state.startswith("hold ")) for name, version, state in query
    }


@pytest.mark.parametrize(
    ("line", "state", "held", "broken", "present"),
    [
        ("install ok installed", "installed", False, False, True),
        ("hold ok installed", "installed", True, False, True),
        ("install ok half-configured", "half-configured", False, True, True),
        ("install reinstreq half-installed", "half-installed", False, True, True),
        ("install ok unpacked", "unpacked", False, True, True),
        ("install ok triggers-pending", "triggers-pending", False, False, True),
        ("deinstall ok config-files", "config-files", False, False, False),
    ],
)
def test_each_state_of_dpkg_is_understood(line, state, held, broken, present):
    package = core.parse_dpkg_status(f"Package: cri-o\nStatus: {line}\nVersion: 1.36.3-1.1\n")["cri-o"]

    assert (package.state, package.held, package.broken, package.present) == (state, held, broken, present)


def test_the_journal_of_a_killed_dpkg_is_newer_than_its_status():
    status = "Package: cri-o\nStatus: install ok installed\nVersion: 1.36.2-1.1\nArchitecture: amd64\n"
    journal = "Package: cri-o\nStatus: install ok half-configured\nVersion: 1.36.3-1.1\nArchitecture: amd64\n"

    package = core.parse_dpkg_status(status, journal)["cri-o"]

    assert (package.version, package.state) == ("1.36.3-1.1", "half-configured")


def test_a_package_of_two_architectures_is_told_apart():
    stanza = "Package: libc6\nStatus: install ok installed\nArchitecture: {0}\nVersion: 2.36-9\n"

    found = core.parse_dpkg_status(stanza.format("amd64") + "\n" + stanza.format("i386"))

    assert set(found) == {"libc6", "libc6:i386"}


def test_of_several_kernels_the_newest_counts():
    found = core.parse_rpm(read("rpm/qa-rocky9.txt"))

    assert found["kernel-core"].version == "5.14.0-427.13.1.el9_4"
    assert found["kernel-core-5.14.0-362.24.1.el9_3"].version == "5.14.0-362.24.1.el9_3"
    assert found["nvidia-driver-cuda"].version == "3:580.95.05-1.el9"


def test_the_keys_that_rpm_trusts_are_told_apart_and_are_no_package():
    found = core.parse_rpm("gpg-pubkey\t22462c51-6b02045b\t(none)\ngpg-pubkey\td42d0685-62589a51\t(none)\n")

    assert set(found) == {"gpg-pubkey-22462c51-6b02045b", "gpg-pubkey-d42d0685-62589a51"}


def test_pacman_names_and_versions():
    found = core.parse_pacman("nvidia-utils 590.48.01-1\nlinux 6.17.9.arch1-1\n")

    assert found["linux"].version == "6.17.9.arch1-1"


# --- What is held


def test_versionlock_of_dnf_4():
    text = "# Added lock\nkmod-nvidia-open-dkms-3:580.95.05-1.el9.*\n!kernel-0:5.14.0-1.el9.*\ncri-o-0:1.36.3-*.*\n"

    assert core.parse_versionlock(text) == {"kmod-nvidia-open-dkms", "cri-o"}


def test_versionlock_of_dnf_5():
    text = (
        'version = "1.0"\n\n[[packages]]\nname = "nvidia-open"\n[[packages.conditions]]\nkey = "evr"\nvalue = "3:580"\n'
    )

    assert core.parse_versionlock_toml(text) == {"nvidia-open"}


def test_ignored_packages_of_pacman():
    assert core.parse_ignored(
        "[options]\n#IgnorePkg = a\nIgnorePkg = linux linux-headers # why\nIgnorePkg=nvidia*\n"
    ) == {
        "linux",
        "linux-headers",
        "nvidia*",
    }


def test_a_glob_holds_what_it_matches():
    found = core.with_holds(core.parse_pacman("nvidia-utils 1-1\nlinux 6-1\n"), {"nvidia*"})

    assert (found["nvidia-utils"].held, found["linux"].held) == (True, False)


# --- Versions

DEBIAN_ORDER = [
    "1.0~rc1-1",
    "1.0-1",
    "1.0-1.1",
    "1.0-2",
    "1.0a-1",
    "1.0+dfsg-1",
    "1.2-1",
    "1.10-1",
    "1.36.3-1.1",
    "1.36.10-1.1",
    "1:0.1-1",
]


@pytest.mark.parametrize("place", range(len(DEBIAN_ORDER) - 1))
def test_debian_versions_have_dpkgs_order(place):
    low, high = DEBIAN_ORDER[place], DEBIAN_ORDER[place + 1]

    assert (compare_debian(low, high), compare_debian(high, low), compare_debian(low, low)) == (-1, 1, 0)


debian_version = st.from_regex(r"\A([0-9]:)?[0-9][0-9a-z.+~]{0,6}(-[0-9a-z.+~]{1,4})?\Z")


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is missing, so there is nothing to compare with")
@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(debian_version, debian_version), min_size=20, max_size=20))
def test_any_two_debian_versions_compare_as_dpkg_compares_them(pairs):
    script = "\n".join(f"dpkg --compare-versions '{one}' lt '{other}' && echo y || echo n" for one, other in pairs)
    theirs = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert [compare_debian(one, other) < 0 for one, other in pairs] == [answer == "y" for answer in theirs]


@pytest.mark.parametrize(
    ("low", "high"),
    [  # rpm's own order, of its documentation and test suite (tests/rpmvercmp.at)
        ("1.0", "2.0"),
        ("2.0.1", "2.0.1a"),
        ("5.5p1", "5.5p2"),
        ("5.5p2", "5.6p1"),
        ("10xyz", "10.1xyz"),
        ("xyz.4", "8"),
        ("20101121", "20101122"),
        ("1.0~rc1", "1.0"),
        ("1.0~rc1", "1.0~rc2"),
        ("1.0", "1.0^"),
        ("1.0^20160101", "1.0.1"),
        ("1.0^20160101", "1.0^20160102"),
        ("1.0~rc1^git1", "1.0"),
        ("580.82.07-1.el9", "580.95.05-1.el9"),
        ("580.95.05-1.el9", "3:570.1-1.el9"),
    ],
)
def test_rpm_versions_have_rpms_order(low, high):
    assert (compare_rpm(low, high), compare_rpm(high, low), compare_rpm(low, low)) == (-1, 1, 0)


@pytest.mark.parametrize(
    ("version", "wanted", "answer"),
    [
        ("1.36.3-1.1", "", True),
        ("1.36.3-1.1", "1.36.3-1.1", True),
        ("1.36.3-1.1", "1.36.*", True),
        ("1.36.3-1.1", "1.36.3", True),
        ("1.36.3-1.1", "1.3", False),
        ("1.36.3-1.1", "1.3*", True),
        ("1.36.3-1.1", "1.37.*", False),
        ("3:580.95.05-1.el9", "580.95.05", True),
        ("3:580.95.05-1.el9", "580.*", True),
        ("3:580.95.05-1.el9", "3:580.95.05-1.el9", True),
        ("580.95.05-1", "580.95.0[0-4]", False),
    ],
)
def test_versions_match_with_or_without_epoch_and_revision(version, wanted, answer):
    assert matches(version, wanted) is answer


def test_the_newest_version_that_matches_is_chosen():
    versions = ["1.36.9-1.1", "1.36.10-1.1", "1.37.0-1.1", "1.36.2-1.1"]

    assert newest(versions, "1.36.*", compare_debian) == "1.36.10-1.1"
    assert newest(versions, "1.38.*", compare_debian) is None


# --- The plan


def plan(wanted, *installed, **options):
    return decide(wanted, {item.name: item for item in installed}, compare=compare_debian, **options)


CRIO = Wanted("cri-o", "1.36.*", ("/usr/bin/crio",))


def test_what_is_as_wanted_asks_for_nothing():
    result = plan([CRIO], Package("cri-o", "1.36.3-1.1", held=True), held=True)

    assert result.nothing
    assert not result.problems


def test_what_is_missing_is_installed_and_held():
    result = plan([CRIO], held=True)

    assert [(step.name, step.version, step.before) for step in result.install] == [("cri-o", "1.36.*", None)]
    assert result.hold == ("cri-o",)


def test_what_left_its_configuration_behind_is_installed_again():
    result = plan([CRIO], Package("cri-o", "1.36.3-1.1", state="config-files"))

    assert [step.name for step in result.install] == ["cri-o"]


def test_a_package_whose_binary_is_gone_is_reinstalled_at_its_own_version():
    result = plan([CRIO], Package("cri-o", "1.36.3-1.1"), missing={"cri-o": ["/usr/bin/crio"]})

    assert [(step.name, step.version, step.why) for step in result.reinstall] == [
        ("cri-o", "1.36.3-1.1", "/usr/bin/crio is gone")
    ]
    assert not result.install


def test_an_older_version_is_upgraded_when_it_is_not_held():
    result = plan([CRIO], Package("cri-o", "1.35.1-1.1"))

    assert [(step.before, step.version) for step in result.install] == [("1.35.1-1.1", "1.36.*")]


def test_a_held_package_is_never_changed_unasked():
    result = plan([CRIO], Package("cri-o", "1.35.1-1.1", held=True))

    assert not result.transacts
    assert result.problems[0].startswith("cri-o 1.35.1-1.1 (wanted: 1.36.*): held")
    assert "allow_change" in result.problems[0]


def test_many_held_packages_are_told_in_one_sentence():
    held = [Package(name, "1-1", held=True) for name in ("kubelet", "kubeadm")]

    result = plan([Wanted("kubelet", "2-*"), Wanted("kubeadm", "2-*")], *held)

    assert len(result.problems) == 1
    assert result.problems[0].startswith("kubelet 1-1 (wanted: 2-*), kubeadm 1-1 (wanted: 2-*): held")


def test_a_held_package_is_changed_when_asked():
    result = plan([CRIO], Package("cri-o", "1.35.1-1.1", held=True), allow_change=True)

    assert [step.name for step in result.install] == ["cri-o"]
    assert not result.problems


@pytest.mark.parametrize(
    ("wanted", "installed", "older"),
    [
        ("1.36.3", "1.36.4-1.1", True),
        ("1.36.4", "1.36.3-1.1", False),
        ("29.0.1", "3:28.5.2-1.el9", False),  # an epoch left out is not an epoch of 0
        ("28.5.2", "3:29.0.1-1.el9", True),
        ("2:30.0.0", "3:29.0.1-1.el9", True),
        ("580.*", "3:590.48.01-1.el9", True),
        ("590.*", "3:580.95.05-1.el9", False),
        ("580.9*", "580.82.07-1", False),  # 580.95 would do, and is newer
        ("580*", "590.48.01-1", False),  # as far as it says, 5800 would do
        ("*", "590.48.01-1", False),
    ],
)
@pytest.mark.parametrize("compare", [compare_debian, compare_rpm])
def test_whether_what_is_wanted_is_older_is_known_without_the_epoch_and_of_a_branch(compare, wanted, installed, older):
    assert core.is_older(wanted, installed, compare) is older


def test_an_upgrade_of_a_package_with_an_epoch_is_no_downgrade():
    plan = decide(
        [Wanted("docker-ce", "29.0.1")], {"docker-ce": Package("docker-ce", "3:28.5.2-1.el9")}, compare=compare_rpm
    )

    assert [(step.name, step.version) for step in plan.install] == [("docker-ce", "29.0.1")]
    assert not plan.problems


def test_a_branch_older_than_what_is_installed_is_a_downgrade():
    plan = decide(
        [Wanted("nvidia-open", "580.*")], {"nvidia-open": Package("nvidia-open", "3:590.48-1")}, compare=compare_rpm
    )

    assert not plan.install
    assert "never downgraded unasked" in plan.problems[0]


def test_a_package_is_never_downgraded_unasked():
    result = plan([Wanted("cri-o", "1.36.2-1.1")], Package("cri-o", "1.36.3-1.1"))

    assert "newer" in result.problems[0]
    assert plan([Wanted("cri-o", "1.36.2-1.1")], Package("cri-o", "1.36.3-1.1"), allow_change=True).install


def test_packages_that_must_not_be_there_are_removed_unless_held():
    result = plan([], Package("docker.io", "20.10"), Package("podman", "4", held=True), absent=["docker.io", "podman"])

    assert result.remove == ("docker.io",)
    assert "podman must not be there, but is held" in result.problems[0]


def test_what_belongs_to_it_is_held_along():
    result = plan(
        [Wanted("nvidia-open")],
        Package("nvidia-open", "580"),
        Package("libnvidia-compute", "580"),
        Package("libnvidia-gl", "580", state="config-files"),
        Package("bash", "5"),
        held=True,
        hold_also=["libnvidia-*"],
    )

    assert result.hold == ("nvidia-open", "libnvidia-compute")


def test_what_is_no_longer_to_be_held_is_released():
    result = plan([CRIO], Package("cri-o", "1.36.3-1.1", held=True), held=False)

    assert result.release == ("cri-o",)


def test_holds_are_left_alone_when_nothing_is_said_of_them():
    assert plan([CRIO], Package("cri-o", "1.36.3-1.1", held=True)).nothing
    assert plan([CRIO], Package("cri-o", "1.36.3-1.1", held=False)).nothing


# --- Repositories

KUBERNETES = Repository(
    name="kubernetes",
    url="https://pkgs.k8s.io/core:/stable:/v1.36/deb/",
    key_url="https://pkgs.k8s.io/core:/stable:/v1.36/deb/Release.key",
)


def test_a_flat_repository_reads_back_as_it_was_meant():
    text = core.deb822(KUBERNETES, "/etc/apt/keyrings/kubernetes.asc")

    assert core.parse_deb822(text) == [
        Source((KUBERNETES.url,), ("/",), "/etc/apt/keyrings/kubernetes.asc", enabled=True)
    ]


def test_a_yum_repository_reads_back_as_it_was_meant():
    text = core.yum_repo(KUBERNETES, "/etc/pki/rpm-gpg/RPM-GPG-KEY-kubernetes", "Kubernetes", ["kubelet", "kubeadm"])

    (source,) = core.parse_yum_repo(text)

    assert (source.name, source.uris, source.excluded) == ("kubernetes", (KUBERNETES.url,), ("kubelet", "kubeadm"))
    assert source.signed_by == "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-kubernetes"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../evil"}, "no file name"),
        ({"url": "https://a b/"}, "without spaces"),
        ({"url": "https://a/\nTrusted: yes"}, "without spaces"),
        ({"url": "ftp://a/"}, "no http"),
        ({"suites": ("a b",)}, "not one word"),
        ({"suites": ()}, "suite /"),
        ({"suites": ("stable",)}, "needs at least one"),
        ({"components": ("main",)}, "no components"),
        ({"key_fingerprints": ("F796ECB0",)}, "short ids"),
    ],
)
def test_what_would_break_out_of_a_repository_file_is_refused(changes, said):
    repository = Repository(**{**KUBERNETES.__dict__, **changes})

    assert any(said in problem for problem in repository.problems())


def test_a_sound_repository_has_no_problems():
    assert KUBERNETES.problems() == []


def test_one_line_sources_are_read_with_their_key():
    text = (
        "deb [arch=amd64 signed-by=/k.gpg] https://x/deb stable main\n# deb http://y/ z m\ndeb-src http://z/ s main\n"
    )

    assert core.parse_sources_list(text) == [
        Source(("https://x/deb",), ("stable",), "/k.gpg"),
        Source(("http://z/",), ("s",), ""),
    ]


def test_a_disabled_deb822_entry_and_a_key_inside_it_are_understood():
    text = (
        "Types: deb\nURIs: https://a/ https://b/\nSuites: /\nEnabled: no\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
    )

    (source,) = core.parse_deb822(text)

    assert (source.uris, source.enabled, source.signed_by) == (("https://a/", "https://b/"), False, "(in this file)")


def test_another_file_with_another_key_contradicts_ours():
    files = {
        "/etc/apt/sources.list.d/old.list": [
            Source((KUBERNETES.url.rstrip("/"),), ("/",), "/usr/share/keyrings/k.gpg")
        ],
        "/etc/apt/sources.list.d/same.list": [Source((KUBERNETES.url,), ("/",), "/k.asc")],
        "/etc/apt/sources.list.d/off.sources": [Source((KUBERNETES.url,), ("/",), "/x", enabled=False)],
        "/etc/apt/sources.list": [Source(("http://deb.debian.org/debian",), ("bookworm",), "")],
    }

    assert core.contradictions(KUBERNETES, "/k.asc", files) == ["/etc/apt/sources.list.d/old.list"]


# --- What apt and the kernel answer


def test_versions_that_can_be_had():
    found = core.parse_madison(read("apt/madison-debian12.txt"))

    assert found["containerd"] == ["1.6.20~ds1-1+deb12u3", "1.6.20~ds1-1+deb12u2"]


def test_what_apt_would_remove_is_told():
    text = read("apt/install-debian12.txt")

    assert core.parse_removed(text) == ["containerd", "runc"]
    assert core.parse_removed("The following NEW packages will be installed:\n  sl\n") == []
    assert core.parse_removed("The following packages will be REMOVED:\n  libc6:i386 docker.io*\nNeed to") == [
        "libc6",
        "docker.io",
    ]


def test_locks_name_their_holder_and_waiters_are_left_out():
    text = (
        "1: POSIX  ADVISORY  WRITE 4242 fe:01:131 0 EOF\n"
        "1: -> POSIX  ADVISORY  WRITE 4300 fe:01:131 0 EOF\n"
        "2: FLOCK  ADVISORY  WRITE 77 fe:01:99 0 EOF\n"
        "3: OFDLCK ADVISORY  READ -1 fe:00:16116136 203 203\n"
    )

    found = core.parse_locks(text)

    assert [(lock.kind, lock.pid, lock.inode) for lock in found] == [
        ("POSIX", 4242, 131),
        ("FLOCK", 77, 99),
        ("OFDLCK", -1, 16116136),
    ]


# --- Whatever they are given

PARSERS = [
    core.parse_dpkg_status,
    core.parse_rpm,
    core.parse_pacman,
    core.parse_versionlock,
    core.parse_versionlock_toml,
    core.parse_ignored,
    core.parse_sources_list,
    core.parse_deb822,
    core.parse_yum_repo,
    core.parse_pacman_repositories,
    core.parse_madison,
    core.parse_removed,
    core.parse_locks,
]
LINES = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            [
                "Package: x",
                "Status: install ok installed",
                "Version: 1",
                "",
                "[main]",
                "[x]",
                "baseurl=u",
                "URIs: a",
                " x",
                "deb a b c",
                "Inst a [1] (2 x)",
                "IgnorePkg = ",
                "a\tb\tc",
            ]
        ),
    ),
    max_size=12,
).map("\n".join)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@given(LINES)
def test_no_text_makes_a_parser_raise(parser, text):
    parser(text)


@given(st.text(max_size=12), st.text(max_size=12))
def test_no_text_makes_a_comparison_raise_and_it_is_antisymmetric(one, other):
    assert compare_debian(one, other) == -compare_debian(other, one)
    assert compare_rpm(one, other) in (-1, 0, 1)
    matches(one, other)
