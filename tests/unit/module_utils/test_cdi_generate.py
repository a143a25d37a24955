# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import cdi_generate
from ansible_collections.gpunode.ready.plugins.module_utils.cdi import SpecFile, parse
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed
from hypothesis import given
from hypothesis import strategies as st

SPEC = """
cdiVersion: 0.5.0
kind: nvidia.com/{kind}
devices:
- name: {name}
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
containerEdits:
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, enable-cuda-compat, --host-driver-version={driver}]
"""


def text(name="all", kind="gpu", driver="580.95.05"):
    return SPEC.format(name=name, kind=kind, driver=driver)


def there(path, **given):
    return SpecFile(path, 0, "0644", 0, text(**given), parse(text(**given)))


def new(path="/var/run/cdi/nvidia.yaml", **given):
    return cdi_generate.Generated(path, text(**given), parse(text(**given)))


def plan(specs, generated=None, driver="580.95.05"):
    return cdi_generate.plan(specs, generated or [new()], "/var/run/cdi/nvidia.yaml", driver)


def test_a_spec_of_another_kind_for_another_driver_is_disabled():
    todo = plan([there("/etc/cdi/management.yaml", kind="management", driver="575.57.08")])

    assert [path for path, _why in todo.disable] == ["/etc/cdi/management.yaml"]


def test_a_spec_of_another_kind_for_this_driver_is_left_alone():
    todo = plan([there("/etc/cdi/management.yaml", kind="management")])

    assert (todo.disable, todo.kept) == ((), ())


def test_a_companion_that_is_no_longer_written_is_disabled():
    todo = plan([there("/var/run/cdi/nvidia.coherent.yaml", kind="gpu.coherent", name="0")])

    assert [path for path, _why in todo.disable] == ["/var/run/cdi/nvidia.coherent.yaml"]


def test_without_a_loaded_driver_no_spec_is_called_stale():
    todo = plan([there("/etc/cdi/management.yaml", kind="management", driver="575.57.08")], driver=None)

    assert todo.disable == ()


def test_what_cannot_be_read_at_the_output_is_set_aside_and_not_just_replaced():
    unread = SpecFile("/var/run/cdi/nvidia.yaml", 1, "0644", 0, "kind: &k x/fpga", None, "not YAML: an anchor")

    todo = plan([unread])

    assert [item.path for item in todo.write] == ["/var/run/cdi/nvidia.yaml"]
    assert todo.aside == (("/var/run/cdi/nvidia.yaml", "it could not be read as a spec: not YAML: an anchor"),)


def test_companions_come_back_with_their_places(tmp_path):
    def run(command, timeout_seconds):
        (tmp_path / "nvidia.yaml").write_text(text())
        (tmp_path / "nvidia.coherent.yaml").write_text(text(kind="gpu.coherent").replace("0.5.0", "0.6.0"))
        return Completed(0, "", "")

    found = cdi_generate.generate("nvidia-ctk", str(tmp_path), "/etc/cdi/nvidia.yaml", [], run)

    assert [item.path for item in found] == ["/etc/cdi/nvidia.coherent.yaml", "/etc/cdi/nvidia.yaml"]


def test_a_tool_that_hangs_is_told_as_such(tmp_path):
    def run(command, timeout_seconds):
        return Completed(124, "", f"no answer within {timeout_seconds:g} s")

    with pytest.raises(cdi_generate.GenerateError, match="no answer within 60 s"):
        cdi_generate.generate("nvidia-ctk", str(tmp_path), "/etc/cdi/nvidia.yaml", [], run)


@pytest.mark.parametrize(
    ("err", "words"),
    [
        ('time="x" level=error msg="failed: \\"a\\""', 'failed: "a"'),
        ('level=info msg="fine"\nlevel=warning msg="Could not locate libx"\nlevel=error msg=bad', "bad"),
        ("panic: nil pointer\n\ngoroutine 1 [running]:", "panic: nil pointer; goroutine 1 [running]:"),
        ("", "nothing"),
    ],
)
def test_the_tools_own_words_are_found(err, words):
    assert cdi_generate.own_words("", err) == words


@given(st.text(), st.text())
def test_no_output_makes_finding_its_words_raise(out, err):
    assert cdi_generate.own_words(out, err)
