# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generated pages say what their sources say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATE = runpy.run_path(str(ROOT / "docs/generate.py"))
PAGES = GENERATE["PAGES"]


@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_page_is_up_to_date(page):
    assert (ROOT / page).read_text() == PAGES[page](), "run: make docs"


def test_figures_of_several_commits_of_none_or_of_changed_files_make_no_page():
    one_commit = GENERATE["one_commit"]

    assert one_commit([{"commit": "a"}, {"commit": "a"}]) == "a"
    for rows, words in (([], "no outcome"), ([{"commit": "a"}, {"commit": "b"}], "mixes"), ([{"commit": "a+"}], "a+")):
        with pytest.raises(ValueError, match=re.escape(words)):
            one_commit(rows)
