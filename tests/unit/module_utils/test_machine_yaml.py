# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math
import re
import textwrap

import pytest
import yaml
from ansible_collections.gpunode.ready.plugins.module_utils.machine_yaml import YamlError, loads, loads_all, parse
from hypothesis import assume, given, settings
from hypothesis import strategies as st

# As `nvidia-ctk cdi generate` writes it: sequences stand under their key without an indent.
CDI_SPEC = """\
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
      major: 195
      fileMode: 438
- name: all   # every device
  containerEdits: {}
containerEdits:
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  hooks:
  - args:
    - nvidia-cdi-hook
    - create-symlinks
    - --link
    - ../libcuda.so::/usr/lib/libcuda.so
    hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
  mounts:
  -
    options: [ro, "nosuid", 'bind']
    hostPath: /usr/lib/libcuda.so.1
"""


def test_a_cdi_spec_is_read():
    spec = loads(CDI_SPEC)

    assert spec == yaml.safe_load(CDI_SPEC)
    assert spec["devices"][0]["name"] == "0"
    assert spec["containerEdits"]["hooks"][0]["args"][2] == "--link"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("cdiVersion",), 2),
        (("devices",), 4),
        (("devices", 0), 5),
        (("devices", 0, "name"), 5),
        (("devices", 0, "containerEdits", "deviceNodes", 0, "major"), 9),
        (("devices", 1, "name"), 11),
        (("containerEdits", "mounts", 0), 25),
        (("containerEdits", "mounts", 0, "options", 1), 26),
        (("absent",), None),
    ],
    ids=str,
)
def test_every_key_knows_its_line(path, line):
    assert parse(CDI_SPEC).line(*path) == line


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("off", False),
        ("0", 0),
        ("-12", -12),
        ("0x1F", 31),
        ("0644", 420),
        ("0o644", 420),
        ("0b101", 5),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        ("1.2.3", "1.2.3"),
        ("v1", "v1"),
        ("10m", "10m"),
        ("24h0m0s", "24h0m0s"),
        ("1:30", "1:30"),
        ("2024-01-31", "2024-01-31"),
        ("a#b", "a#b"),
        ("http://x:80/y?z", "http://x:80/y?z"),
        ("-1x", "-1x"),
        ("--link", "--link"),
        (":x", ":x"),
        ("'it''s'", "it's"),
        ('"\\u00e9\\t\\x41\\/"', "é\tA/"),
        ('"yes"', "yes"),
        ("[]", []),
        ("{}", {}),
        ("[1, {a: b, c}, [],]", [1, {"a": "b", "c": None}, []]),
    ],
)
def test_each_scalar_has_its_type(plain, value):
    assert loads(f"a: {plain}\nb:\n- {plain}\n") == {"a": value, "b": [value]}


def test_not_a_number_is_read():
    assert math.isnan(loads("a: .nan")["a"])


@pytest.mark.parametrize("style", [f"{mark}{chomp}" for mark in "|>" for chomp in ("", "-", "+", "2", "2-", "+2")])
@pytest.mark.parametrize(
    "body",
    [
        "  one\n  two\n",
        "  one\n\n  two\n   more\n  three\n\n\n",
        "\n  one\n\n",
        "  one",
        "\n\n",
        "",
        "  one\n # a comment\n",
        "    one\n   two\n",
    ],
)
def test_block_scalars_are_read_as_pyyaml_reads_them(style, body):
    text = f"a: {style}\n{body}"
    nested = f"- k: {style}\n" + textwrap.indent(body, "  ") if body.endswith("\n") else f"- {style}\n{body}"

    assert told(loads, text, YamlError) == told(yaml.safe_load, text, yaml.YAMLError)
    assert told(loads, nested, YamlError) == told(yaml.safe_load, nested, yaml.YAMLError)


def test_several_documents_are_read():
    text = "---\nkind: InitConfiguration\n---\n# a comment\nkind: ClusterConfiguration\n...\n--- text\n"

    documents = loads_all(text)

    assert documents == [{"kind": "InitConfiguration"}, {"kind": "ClusterConfiguration"}, "text"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: &x 2", 2, "an anchor (&) is beyond"),
        ("a: *x", 1, "an alias (*) is beyond"),
        ("a: !!str 1", 1, "a tag (!) is beyond"),
        ("%YAML 1.1\n---\n", 1, "a directive (%) is beyond"),
        ("a: 1\n<<: {b: 2}", 2, "a merge key"),
        ("? a\n: b", 1, "a key that is no plain word"),
        ("{[a]: b}", 1, "a key that is no plain word"),
        ("a: 1\na: 2", 2, "the key 'a' is given twice (first on line 1)"),
        ("a: 1\n  b: 2", 2, "a second ':' on one line"),
        ("a:\n  b: 1\n c: 2", 3, "indented by 1, where the keys of this mapping are by 0"),
        ("- a\n - b: 1", 2, "a second ':' on one line"),
        ("-\n  - a\n - b", 3, "indented by 1, where the entries of this sequence are by 0"),
        ("a: 1\nb", 2, "expected 'key: value'"),
        ("a: 1\n- b", 2, "a sequence entry among the keys"),
        ("a: - b", 1, "a sequence cannot begin on the line of its key"),
        ("a:\n\tb: 1", 2, "a tab cannot indent YAML"),
        ("-\ta", 1, "a tab cannot indent YAML"),
        ("a: [1,\n  2\n", 1, "this bracket is never closed"),
        ("a: [1 2]\nb: [1}", 2, "expected ',' or ']', found '}'"),
        ("a: [,]", 1, "expected a value, found ','"),
        ("a: 'x\n", 1, "this string is never closed"),
        ('a: "x" y', 1, "expected the end of the line, found 'y'"),
        ('a: "\\q"', 1, "unknown escape \\q"),
        ('a: "\\ud800"', 1, "no Unicode character"),
        ("a: |x\n", 1, "block scalar's header"),
        ("a: 1\n---\nb: 2\n", 3, "another document begins here"),
        ("a: \x01", 1, "control character '\\x01'"),
        ("a: " + "[" * 5000, 1, "values nest more than 100 deep"),
        ("- " * 5000, 1, "values nest more than 100 deep"),
    ],
)
def test_an_error_names_line_and_problem(text, line, words):
    with pytest.raises(YamlError) as caught:
        loads(text)

    assert words in caught.value.problem
    assert caught.value.line == line


def test_windows_line_ends_and_a_byte_order_mark_are_read():
    assert loads("\ufeffa: 1\r\nb:\r\n- 2\r\n") == {"a": 1, "b": [2]}


class GoTyped(yaml.SafeLoader):
    """PyYAML with Go's types: no times, no sexagesimal numbers; a float needs no dot; a key given twice is an error."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _value in node.value]
        if any(key in keys[:index] for index, key in enumerate(keys)):
            raise yaml.constructor.ConstructorError(problem="duplicate key")
        return super().construct_mapping(node, deep)


GoTyped.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in found if tag.rsplit(":")[-1] not in ("timestamp", "int", "float")]
    for start, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
GoTyped.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9]*|0[0-7]+|0x[0-9a-f]+)$"), None)
GoTyped.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"),
    None,
)


def go_typed(text):
    return yaml.load(text, Loader=GoTyped)  # a SafeLoader


def told(read, text, error):
    """The value, compared as text because nan is not itself; None where the text is refused."""
    try:
        return repr(read(text))
    except error:
        return None


FRAGMENTS = ["a", "b", "c", "1", "-2", "0x1f", "1.5", "true", "~", "a b", "a:b", "a#b", "x-y"]
BREAKS = [
    "\n",
    "\n  ",
    "\n    ",
    "\n- ",
    "\n  - ",
    ": ",
    ":\n",
    ":\n  ",
    ", ",
    " ",
    "- ",
    "-",
    ":",
    " #",
    "---\n",
    "---",
]
MARKS = ["[", "]", "{", "}", "'", '"', "''", "\\n", "\\", "|", ">", ">-\n  ", "|\n  ", "|+\n ", "#"]
SOUP = st.lists(
    st.sampled_from(FRAGMENTS + BREAKS + MARKS),
    max_size=24,
).map("".join)


@settings(max_examples=600, deadline=None)
@given(SOUP)
def test_what_is_read_is_read_as_pyyaml_reads_it(text):
    value = told(loads, text, YamlError)
    assume(value is not None)

    assert value == told(go_typed, text, yaml.YAMLError)


WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_categories=["Cc"]), max_size=12)
TEXTS = st.one_of(WORDS, st.lists(WORDS, max_size=12).map(" ".join), st.lists(WORDS, max_size=5).map("\n".join))
KEYS = TEXTS.filter(lambda key: len(key) < 60 and "\n" not in key)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


class Unaliased(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


class Indented(Unaliased):
    """As Go's yaml.v3 writes sequences: indented under their key."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)


@settings(max_examples=300, deadline=None)
@given(
    TREES,
    st.sampled_from([Unaliased, Indented]),
    st.fixed_dictionaries(
        {
            "default_flow_style": st.sampled_from([False, True, None]),
            "default_style": st.sampled_from([None, None, None, "'", '"', "|", ">"]),
            "width": st.sampled_from([20, 80, 10000]),
            "indent": st.sampled_from([2, 4]),
            "allow_unicode": st.booleans(),
            "explicit_start": st.booleans(),
        }
    ),
)
def test_what_pyyaml_writes_is_read_back(tree, dumper, style):
    text = yaml.dump(tree, Dumper=dumper, **style)
    assume("!!" not in text and "? " not in text)  # what default_style and long keys bring in
    assume(yaml.safe_load(text) == tree)  # PyYAML folds what begins with a blank, and does not read it back itself
    assume(go_typed(text) == yaml.safe_load(text))

    assert loads(text) == tree


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(), SOUP, st.text("abc:-[]{},#'\"|>?!&* \n\t\\0")))
def test_no_text_raises_anything_but_its_own_error(text):
    lines = set()
    try:
        lines.update(parse(text).lines.values())
    except YamlError as error:
        lines.add(error.line)

    assert all(1 <= line <= text.count("\n") + 1 for line in lines)
