# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.gpunode.ready.plugins.module_utils import unit_set
from hypothesis import given
from hypothesis import strategies as st

SHOWN = """Id=a.path
Names=a.path
LoadState=loaded
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=no

Id=docker.service
Names=docker.service alias.service
LoadState=loaded
ActiveState=inactive
UnitFileState=disabled
NeedDaemonReload=no

Id=b.service
Names=b.service
LoadState=not-found
ActiveState=inactive
UnitFileState=
NeedDaemonReload=no
"""
FILE = "/etc/systemd/system/a.path"


def plan(contents=None, absent=(), enabled=(), started=(), disabled=()):
    units = ["a.path", "alias.service", "b.service"]
    return unit_set.plan(contents or {}, absent, unit_set.states(SHOWN, units), enabled, started, disabled)


def test_what_is_as_wanted_needs_nothing():
    todo = plan({FILE: (False, False)}, enabled=["a.path"], started=["a.path"], disabled=["alias.service", "b.service"])

    assert not todo.changed
    assert not todo.reload


def test_a_path_unit_whose_file_changed_is_restarted_after_a_reload():
    todo = plan({FILE: (True, False)}, enabled=["a.path"], started=["a.path"])

    assert (todo.write, todo.reload, todo.restart, todo.start) == ((FILE,), True, ("a.path",), ())


def test_a_mode_alone_restarts_nothing():
    todo = plan({FILE: (False, True)}, started=["a.path"])

    assert (todo.write, todo.reload, todo.restart) == ((FILE,), False, ())


def test_a_unit_that_does_not_exist_yet_is_enabled_and_started():
    todo = plan({"/etc/systemd/system/b.service": (True, True)}, enabled=["b.service"], started=["alias.service"])

    assert (todo.enable, todo.start) == (("b.service",), ("alias.service",))


def test_what_runs_and_must_not_is_stopped_and_disabled():
    todo = plan(disabled=["a.path"])

    assert (todo.stop, todo.disable) == (("a.path",), ("a.path",))


def test_a_unit_is_disabled_while_its_file_is_still_there():
    todo = plan(absent=[FILE], disabled=["a.path"])

    assert todo.before_files() == [["stop", "a.path"], ["disable", "a.path"]]
    assert todo.after_files() == [["daemon-reload"]]


def test_a_unit_whose_new_file_systemd_has_not_read_yet_is_restarted():
    interrupted = SHOWN.replace("NeedDaemonReload=no", "NeedDaemonReload=yes", 1)
    state = unit_set.states(interrupted, ["a.path"])

    todo = unit_set.plan({FILE: (False, False)}, (), state, ["a.path"], ["a.path"], ())

    assert todo.after_files() == [["daemon-reload"], ["restart", "a.path"]]


def test_a_unit_whose_drop_in_changed_is_restarted():
    todo = plan({"/etc/systemd/system/a.path.d/20-gpunode.conf": (True, False)}, started=["a.path"])

    assert todo.after_files() == [["daemon-reload"], ["restart", "a.path"]]


def test_what_is_known_of_a_unit_from_before_is_not_forgotten_when_it_is_switched_back():
    off = unit_set.switched({}, unit_set.Plan(stop=("a.service",), disable=("a.service",)), ())
    on = unit_set.switched(off, unit_set.Plan(start=("a.service",), enable=("a.service",)), ())

    assert on == off == {"a.service": {"active": True, "enabled": True}}


def test_units_that_come_with_our_files_have_no_before():
    assert unit_set.switched({}, unit_set.Plan(enable=("own.path", "b.service")), ["own.path"]) == {
        "b.service": {"enabled": False}
    }


def put_back(known, own=(), shown=SHOWN):
    return unit_set.put_back(known, own, unit_set.states(shown, ["a.path", "docker.service", "b.service"]), ())


def test_a_unit_that_ran_before_and_was_only_enabled_is_only_disabled():
    todo = put_back({"a.path": {"enabled": False}})

    assert (todo.stop, todo.disable) == ((), ("a.path",))


def test_a_unit_that_was_switched_off_is_switched_on_and_one_that_is_gone_passed_over():
    was = {"active": True, "enabled": True}

    todo = put_back({"docker.service": was, "b.service": was})

    assert todo.after_files() == [["enable", "docker.service"], ["start", "docker.service"]]
    assert todo.before_files() == []


def test_own_units_are_stopped_and_disabled():
    assert put_back({}, own=["a.path"]).before_files() == [["stop", "a.path"], ["disable", "a.path"]]


def test_a_unit_of_others_that_systemd_has_not_read_yet_is_not_restarted():
    state = unit_set.states(SHOWN.replace("NeedDaemonReload=no", "NeedDaemonReload=yes", 1), ["a.path"])

    todo = unit_set.plan({}, (), state, (), ["a.path"], ())

    assert todo.after_files() == [["daemon-reload"]]


def test_a_unit_enabled_until_the_next_boot_only_is_enabled_for_good_and_not_disabled():
    state = unit_set.states(SHOWN.replace("UnitFileState=enabled", "UnitFileState=enabled-runtime", 1), ["a.path"])

    assert unit_set.plan({}, (), state, ["a.path"], (), ()).enable == ("a.path",)
    assert unit_set.plan({}, (), state, (), (), ["a.path"]).disable == ()


def test_a_unit_asked_for_by_another_of_its_names_is_found():
    assert unit_set.states(SHOWN, ["alias.service"])["alias.service"]["UnitFileState"] == "disabled"


@given(st.text())
def test_no_text_makes_reading_states_raise(text):
    assert set(unit_set.states(text, ["a.service"])) == {"a.service"}
