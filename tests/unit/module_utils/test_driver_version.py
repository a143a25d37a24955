# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import driver_version
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.45.04  Release Build  (a@b)  \n", "595.45.04"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 14:37:44 UTC 2024\n", "470.256.02"),
        ("GCC version:  gcc version 13.2.0\n", None),
    ],
)
def test_the_loaded_version_is_read_from_the_modules_own_words(text, version):
    assert driver_version.version_of(text) == version


@given(st.text())
def test_no_text_makes_the_reader_raise(text):
    driver_version.version_of(text)
