# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta, timezone

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.toml import TomlError, loads, parse
from hypothesis import assume, given, settings
from hypothesis import strategies as st

EVERY_KIND = """\
# a file with every kind of value
title = "TOML \\u00e9 \\U0001F600 \\t\\"" # comment
'quoted.key' = 'C:\\path'
"also quoted" = \"\"\"
first
second \\
   joined ""quotes"" \"\"\"\"\"
plain = '''
it''s'''
site."google.com".port = +8_080
hex = 0xDEAD_beef
oct = 0o755
bin = 0b1101
float = -6.626e-34
endless = [inf, -inf]
yes = true
when = 1979-05-27T07:32:00.999999-07:00
spaced = 1979-05-27 07:32:00Z
local = 1979-05-27T00:32:00
day = 1979-05-27
clock = 07:32:00.5
mixed = [ [ 1, 2 ], ["a"], { x = 1, y.z = 2 }, # comment in an array
]
empty = {}
[servers.alpha]
ip = "10.0.0.1"
[servers]
count = 2
[[products]]
name = "Hammer"
[products.size]
mm = 3
[[products]]
[[products.parts]]
id = 7
"""


def test_every_kind_of_value_is_read():
    data = loads(EVERY_KIND)

    assert data == {
        "title": 'TOML é 😀 \t"',
        "quoted.key": "C:\\path",
        "also quoted": 'first\nsecond joined ""quotes"" ""',
        "plain": "it''s",
        "site": {"google.com": {"port": 8080}},
        "hex": 0xDEADBEEF,
        "oct": 0o755,
        "bin": 13,
        "float": -6.626e-34,
        "endless": [math.inf, -math.inf],
        "yes": True,
        "when": datetime(1979, 5, 27, 7, 32, 0, 999999, timezone(timedelta(hours=-7))),
        "spaced": datetime(1979, 5, 27, 7, 32, tzinfo=timezone.utc),
        "local": datetime(1979, 5, 27, 0, 32),
        "day": date(1979, 5, 27),
        "clock": time(7, 32, 0, 500000),
        "mixed": [[1, 2], ["a"], {"x": 1, "y": {"z": 2}}],
        "empty": {},
        "servers": {"alpha": {"ip": "10.0.0.1"}, "count": 2},
        "products": [{"name": "Hammer", "size": {"mm": 3}}, {"parts": [{"id": 7}]}],
    }


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("site", "google.com", "port"), 10),
        (("endless", 1), 15),
        (("mixed", 2, "y", "z"), 22),
        (("servers", "alpha"), 25),
        (("servers", "alpha", "ip"), 26),
        (("servers",), 27),
        (("products", 0, "size", "mm"), 32),
        (("products", 1), 33),
        (("products", 1, "parts", 0, "id"), 35),
        (("products", 1, "parts"), 34),
        (("absent",), None),
    ],
    ids=str,
)
def test_every_key_knows_its_line(path, line):
    assert parse(EVERY_KIND).line(*path) == line


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a = 1\nb = ", 2, "expected a value, found the end of the text"),
        ("a = 1\nb = \n", 2, "expected a value, found the end of the line"),
        ("a = 1\na = 2", 2, "a is defined twice (first on line 1)"),
        ("[x]\n[y]\n[x]\n", 3, "x is defined twice (first on line 1)"),
        ("[x]\ny = 1\n[x.y]\n", 3, "x.y is defined twice (first on line 2)"),
        ("[x]\ny = 1\n[x.y.z]\n", 3, "x.y is not a table that can be added to (first on line 2)"),
        ("x = {y = 1}\n[x.z]\n", 2, "x is not a table that can be added to (first on line 1)"),
        ("x = {y = 1}\nx.z = 2\n", 2, "x is already defined (first on line 1)"),
        ("[a]\nb.c = 1\n[a.b]\n", 3, "a.b is defined twice (first on line 2)"),
        ("[a.b.c]\nz = 9\n[a]\nb.c.t = 1\n", 4, "a.b.c is already defined (first on line 1)"),
        ("x = []\n[[x]]\n", 2, "x is already defined, and not as an array of tables"),
        ("[[x]]\n[x]\n", 2, "x is defined twice"),
        ('a = "x\nb = 1', 1, "this string is not closed on its line"),
        ("a = 1\nb = '''\n\n\n", 2, "this string is never closed"),
        ("a = 'x", 1, "this string is never closed"),
        ("a = [1,\n2\nb = 2\n", 3, "expected ',' or ']' in the array, found 'b'"),
        ("a = [1,\n2\n", 1, "this array is never closed"),
        ("a = {b = 1,\n}", 1, "expected a key, found the end of the line"),
        ("a = {b = 1 c = 2}", 1, "expected ',' or '}' in the inline table, found 'c'"),
        ("a = yes", 1, "yes is no value (text must stand in quotes)"),
        ("a = 012", 1, "012 is no value"),
        ("a = 1__0", 1, "1__0 is no value"),
        ("a = 9223372036854775808", 1, "does not fit in 64 bits"),
        ("a = 1979-02-30", 1, "1979-02-30 is no date or time"),
        ("a = 1 b = 2", 1, "expected the end of the line, found 'b'"),
        ("a 1", 1, "expected '=' after the key a, found '1'"),
        ("[a", 1, "expected ']' to close the table header, found the end of the text"),
        ("[[a]", 1, "expected ']]' to close the table header, found ']'"),
        ('a = "\\q"', 1, "unknown escape \\q in a string"),
        ('a = "\\ud800"', 1, "is no Unicode character"),
        ('a = "\\u12"', 1, "wants 4 hexadecimal digits"),
        ("# a\x00", 1, "control character '\\x00' in a comment"),
        ("a = '\x01'", 1, "control character '\\x01' in a string"),
        ("a = " + "[" * 5000, 1, "values nest more than 100 deep"),
        ("a = " + "9" * 5000, 1, "does not fit in 64 bits"),
    ],
)
def test_an_error_names_line_and_problem(text, line, words):
    with pytest.raises(TomlError) as caught:
        loads(text)

    assert words in caught.value.problem
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}, column ")


def test_windows_line_ends_and_a_byte_order_mark_are_read():
    assert loads('\ufeffa = 1\r\nb = """x\r\ny"""\r\n') == {"a": 1, "b": "x\ny"}


# Differential: what Python 3.11's own reader says of the same text.

FRAGMENTS = [
    "a",
    "b",
    "c",
    "1",
    "0x1F",
    "-2",
    "3.5e2",
    "inf",
    "nan",
    "true",
    '"s"',
    "'s'",
    '"""',
    "'''",
    "\\",
    "\\n",
    "\\u00e9",
    "=",
    ".",
    ",",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "#",
    '"',
    "'",
    "_",
    "+",
    "-",
    "0",
    "07:32:00",
    "1979-05-27",
    "1979-05-27T07:32:00Z",
    "1979-05-27",
    "07:32:00.123",
    "+08:00",
    "é",
]
SOUP = st.lists(st.sampled_from([*FRAGMENTS, " ", "\n", "\n", "\t", "\r\n", "\x00"]), max_size=40).map("".join)
LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "[a]",
                "[a.b]",
                "[a.b.c]",
                "[b]",
                "[[a]]",
                "[[a.b]]",
                "[[b]]",
                "a=1",
                "a.b=1",
                "a.b.c=2",
                "b={}",
                "b={c=1}",
                "b.c={d=1}",
                "b=[]",
                "b=[{c=1}]",
                "c.d.e=1",
                "a.c=[1,2,]",
                "'a'.\"b\"=3",
                "[a.c]",
                "[a.c.d]",
                "[c]",
                "[b.c]",
                "[b.c.d]",
                "d={a.b=1,a.c=2}",
                "d={a={b=1},a.c=2}",
                "e=[[],[{}]]",
            ]
        ),
        SOUP,
    ),
    max_size=8,
).map("\n".join)


def told(read, text, error):
    """The values, compared as text because nan is not itself; None where the text is refused."""
    try:
        return repr(read(text))
    except error:
        return None


@settings(max_examples=400, deadline=None)
@given(st.one_of(SOUP, LINES))
def test_the_standard_library_reads_the_same(text):
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 has the reader to compare with")

    assert told(loads, text, TomlError) == told(tomllib.loads, text, tomllib.TOMLDecodeError)


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.none() | st.just(timezone.utc)),
)
TREES = st.dictionaries(
    KEYS,
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)),
    max_size=5,
)


@settings(max_examples=400, deadline=None)
@given(TREES)
def test_what_another_library_writes_is_read_back(tree):
    tomlkit = pytest.importorskip("tomlkit", reason="writes the documents to read")
    text = tomlkit.dumps(tree)
    try:  # its own faults are no concern of ours
        assume(tomlkit.parse(text).unwrap() == tree)
    except tomlkit.exceptions.TOMLKitError:
        assume(False)

    assert loads(text) == tree


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), SOUP, LINES))
def test_no_text_raises_anything_but_its_own_error(text):
    lines = set()
    try:
        lines.update(parse(text).lines.values())
    except TomlError as error:
        lines.add(error.line)

    assert all(1 <= line <= text.count("\n") + 1 for line in lines)
