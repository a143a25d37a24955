# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a secret looks like in a line of text: the one table that all who hide secrets use.

Two things tell it: the name before it, and its form. What looks like a secret goes, even where it may be none, and that
it went is said in its place. Certificates, hashes of images and of discovery are public and stay.

Rules of this file: text in, text out, no I/O; any text is taken, nothing raises. A line without a word of ``WORDS``
costs one search; every pattern takes time linear in the length of its line.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator

from .secrecy import WORDS

KEY_LINES = 400  # a private key has no more; without an end, what follows stays

# Words of which one stands in every name of a secret. `auth` is one, `author`, `authority`, `authentication` are not.
_NAMING = (
    r"(?:pass(?:word|wd|phrase|code)?(?!ed|ing|es\b|through|ive|thru)|secret|token|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|client-key-data|certificate[ _-]?key|encryption[_-]?key|signing[_-]?key"
    r"|authorization(?![\w-])|auth(?!or|enti|[_-]?mode)|credential|cookie|bearer)"
)
NAMED = re.compile(_NAMING, re.IGNORECASE)
# A quote may be escaped: JSON within JSON.
_QUOTE = r"\\{0,7}[\"']"
SEPARATOR = r"[ \t]{0,8}(?::(?!//)|=>?)[ \t]{0,8}"
NAME = _NAMING + r"[\w.-]{0,40}(?:" + _QUOTE + r"|[\"']?\])?"
# Up to white space; a quote or an escaped break ends it where text of other kind can follow.
BARE = r"(?:[^\s\"'\\]|[\"'\\](?![\s,\]}):;nrt]|$))+"
QUOTED = r"(?P<quote>" + _QUOTE + r")(?P<value>(?:(?!(?P=quote))(?:\\.|[^\n]))*)(?P<end>(?P=quote)|$)"
_PATH_NAME = re.compile(r"(?:file|path|dir|folder|name|store|helpers?|mode|type|ttl|id|url|uri|kind)s?\W{0,8}$", re.I)
HARMLESS = re.compile(
    r"(?:true|false|null|none|nil|yes|no|on|off|latest|v?\d+(?:\.\d+){1,3}|\d{1,6}|\*+|<[^<>]{0,80}>"
    r"|<(?:secret|key|token|credentials|private)|sha256:[0-9a-f]{64})\W{0,4}$",
    re.IGNORECASE,
)

KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")


def gone(what: str) -> str:
    return f"<{what} removed>"


def harmless(name: str, value: str, quoted: bool = False) -> bool:
    """Whether what stands behind the name of a secret says only where the secret is, or that there is none."""
    value = value.strip()
    if not value or HARMLESS.match(value) or value[:2] in ("${", "{{", "$(", "{", "["):
        return True
    if not quoted and re.search(r"authorization\W{0,4}$", name, re.IGNORECASE) and re.match(r"[a-z]+(?:\s|$)", value):
        return True  # prose: a header names its scheme first, and `Bearer x` is known by itself
    return bool(_PATH_NAME.search(name)) and (
        value[:1] == "/" or re.fullmatch(r"[A-Za-z][a-z.-]{0,40}", value) is not None
    )


def _named_quoted(found: re.Match[str]) -> str:
    if harmless(found["name"], found["value"], quoted=True):
        return found[0]
    return f"{found['keep']}{found['quote']}{gone('secret')}{found['end']}"


def _named_bare(found: re.Match[str]) -> str:
    return found[0] if harmless(found["name"], found["value"]) else found["keep"] + gone("secret")


def _every_quoted(found: re.Match[str]) -> str:
    return found["keep"] + _STRING.sub(_inside, found["value"])


def _inside(found: re.Match[str]) -> str:
    return f"{found['quote']}{gone('secret')}{found['end']}" if found["value"] else found[0]


def _scheme(found: re.Match[str]) -> str:
    """`Bearer x`, `Basic x`: prose speaks of `Basic authentication`."""
    value = found["value"]
    return found[0] if value.isalpha() and value.islower() else found["keep"] + gone("credentials")


def _flag(found: re.Match[str]) -> str:
    value = found["value"] if found["quote"] else found["bare"]
    if harmless(found["name"], value):
        return found[0]
    quoting = found["quote"] or ""
    return f"{found['keep']}{quoting}{gone('secret')}{found['end'] if quoting else ''}"


def _prose(found: re.Match[str]) -> str:
    """A value after words: only what no word, path, number, address or image would look like."""
    value = found["value"]
    odd = re.search(r"[A-Za-z]", value) and re.search(r"\d|[a-z][A-Z]", value) and not re.search(r"[/:]|\w\(", value)
    return found["keep"] + gone("secret") if odd and not HARMLESS.match(value) else found[0]


def _encoded(found: re.Match[str]) -> str:
    return (
        gone("key") if any("PRIVATE KEY" in text or "-key-data" in text for text in decodings(found[0])) else found[0]
    )


def decodings(value: str) -> Iterator[str]:
    """What a base64 text says; its beginning may have been cut off, so from each of four places."""
    for start in range(4):
        part = value[start:].rstrip("=")
        part = part[: len(part) - len(part) % 4]
        try:
            yield base64.b64decode(part.replace("-", "+").replace("_", "/")).decode("latin-1")
        except (binascii.Error, ValueError):
            continue


_STRING = re.compile(QUOTED)
Replacement = Callable[["re.Match[str]"], str]
# Each pattern with what stands in its place; `keep` is what is shown of the line.
_RULES: tuple[tuple[re.Pattern[str], str | Replacement], ...] = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, flags, replacement in (
        # a whole private key on one line, its breaks escaped; what has no end goes to the end of the line
        (KEY_BEGINS.pattern + r".*?(?:" + KEY_ENDS.pattern + r"|$)", 0, gone("private key")),
        # a private key, or a kubeconfig with one, in base64
        (r"[A-Za-z0-9+/_-]{48,}={0,2}", 0, _encoded),
        # JSON web tokens: service accounts' and others'
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*)?", 0, gone("token")),
        # tokens of k3s and bootstrap tokens of kubeadm; keys of NGC, GitHub, GitLab, AWS, Slack, OpenAI, Hugging Face
        (r"\bK10[0-9a-f]{64}::[^\s\"'\\]+", 0, gone("token")),
        (r"(?<![\w./-])[a-z0-9]{6}\.[a-z0-9]{16}(?![\w.-])", 0, gone("token")),
        (
            r"\b(?:nvapi-[\w-]{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}"
            r"|xox[abprs]-[\w-]{10,}|sk-[\w-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16})",
            0,
            gone("key"),
        ),
        # hashes of passwords, as crypt(3) and htpasswd write them
        (r"\$(?:1|2[aby]|5|6|7|y|gy|apr1)\$[./A-Za-z0-9$=,]{8,}", 0, gone("hash")),
        # who speaks to an address: a password may hold what an address must not, but a port is none
        (
            r"(?P<keep>\b[A-Za-z][A-Za-z0-9+.-]{1,20}:\\?/\\?/)(?:[^\s\"'/@:]{0,200}:(?!\d{1,5}[/\s\"'])[^\s\"']{0,400}"
            r"|[^\s\"'/@:]{1,200})@",
            0,
            r"\g<keep>" + gone("credentials") + "@",
        ),
        # headers
        (r"(?P<keep>\b(?:set-)?cookie:[ \t]{0,4})\S.*", re.I, r"\g<keep>" + gone("cookie")),
        (r"(?P<keep>\b(?:bearer|basic|digest)[ \t]{1,4})(?P<value>[\w.~+/=-]{8,})", re.I, _scheme),
        # --token abc, --certificate-key=abc, "--password", "abc"
        (
            r"(?P<keep>(?P<name>(?<![\w-])--?[\w-]{0,40}?"
            + _NAMING
            + r"[\w-]{0,40})(?:=|[ \t]{1,4}(?!-(?:[A-Za-z]|-[a-z][a-z-]*)(?:[=\s]|$))|"
            + _QUOTE
            + r"[, \t]{1,4}(?=[\"'\\])))(?:"
            + QUOTED
            + r"|(?P<bare>"
            + BARE
            + r"))",
            re.I,
            _flag,
        ),
        # programs that take a password with a short option
        (
            r"(?P<keep>\b(?:(?:docker|podman|nerdctl|buildah|skopeo|helm|oc)\b.{0,100}?\blogin\b.{0,200}?[ \t]-p"
            r"|(?:crictl|podman|buildah|skopeo)\b.{0,200}?[ \t]--creds"
            r"|curl\b.{0,200}?[ \t](?:-u|--user|--proxy-user)"
            r"|sshpass[ \t]{1,4}-p|reset-admin-password"
            r"|login[ \t]{1,4}\S{1,100}[ \t]{1,4}password)[ \t=]{0,4})" + r"(?![-])" + BARE,
            0,
            r"\g<keep>" + gone("secret"),
        ),
        # a name that says what it is, and its value: YAML, JSON, INI, environment, Go's %v
        (
            r"(?P<keep>(?P<name>" + NAME + r")" + SEPARATOR + r")(?P<value>\[[^\]\n]*(?:\]|$))",
            re.I,
            _every_quoted,
        ),
        (r"(?P<keep>(?P<name>" + NAME + r")" + SEPARATOR + r")" + QUOTED, re.I, _named_quoted),
        (
            r"(?P<keep>^[ \t]{0,60}(?:-[ \t]{1,4}|export[ \t]{1,4}|Environment=)?[\w.-]{0,60}?(?P<name>"
            + NAME
            + r")"
            + SEPARATOR
            + r")(?P<value>[^\s\"'\\\[{<].*)$",
            re.I,
            _named_bare,
        ),
        (
            r"(?P<keep>(?P<name>" + NAME + r")" + SEPARATOR + r")(?P<value>(?![\"'\[{<])" + BARE + r")",
            re.I,
            _named_bare,
        ),
        # an environment variable of a container: {"name": "X_PASSWORD", "value": "y"}
        (
            r"(?P<keep>name"
            + _QUOTE
            + r"[ \t]{0,4}:[ \t]{0,4}"
            + _QUOTE
            + r"[\w.-]{0,60}?(?P<name>"
            + _NAMING
            + r"[\w.-]{0,40})"
            + _QUOTE
            + r"[ \t]{0,4},[ \t]{0,4}"
            + _QUOTE
            + r"value"
            + _QUOTE
            + r"[ \t]{0,4}:[ \t]{0,4})"
            + QUOTED,
            re.I,
            _named_quoted,
        ),
        # prose: `# password of the mirror: x`
        (
            r"(?P<keep>\b(?:password|passphrase|secret|token|key)(?:[ \t]{1,4}[\w.'-]{1,20}){1,5}?"
            r"(?:[ \t]{0,4}[:=]|[ \t]is|[ \t]was)[ \t]{1,4}[\"'`]?)(?P<value>[^\s\"'`]{8,})",
            re.I,
            _prose,
        ),
        # the certificate key that `kubeadm init --upload-certs` prints, alone on its line or behind a log's prefix
        (
            r"(?P<keep>(?:^[ \t]{0,12}|[FP][ \t]{1,4}|:[ \t]{1,12}|\"log\":\"[ \t]{0,4}))[0-9a-f]{64}"
            r"(?P<end>(?:\\n\".{0,200})?[ \t\r]{0,4}$)",
            0,
            r"\g<keep>" + gone("key") + r"\g<end>",
        ),
    )
)


_SECRET_IN_LINE = re.compile(r"kind\\{0,7}\"\s{0,4}:\s{0,4}\\{0,7}\"Secret")
_DATA_IN_LINE = re.compile(r"(?P<keep>\\{0,7}\"(?:data|stringData)\\{0,7}\"\s{0,4}:\s{0,4}\{)[^{}]*(?P<end>\}|$)")

_OPENED = re.compile(
    r"^(?P<indent>[ \t]{0,60})(?:-[ \t]{1,4})?[\"']?[\w.-]{0,60}?(?P<name>"
    + NAME
    + r")"
    + SEPARATOR
    + r"(?P<how>[|>][+\-0-9]{0,2}(?:[ \t]+#.*)?|\"\"\".*|'''.*|\[[^\]]*|)[ \t\r]*$",
    re.IGNORECASE,
)
_VALUE_NAMED_BEFORE = re.compile(
    r"^[ \t]{0,60}(?:-[ \t]{1,4})?[\"']?name[\"']?[ \t]{0,4}:[ \t]{0,4}[\"']?[\w.-]{0,60}?(?P<name>"
    + _NAMING
    + r"[\w.-]{0,40})[\"']?,?[ \t\r]*$",
    re.IGNORECASE,
)
_VALUE = re.compile(r"^(?P<keep>[ \t]{0,60}(?:-[ \t]{1,4})?[\"']?value[\"']?[ \t]{0,4}:[ \t]{0,4})(?P<value>\S.*)$")
_PLAIN_ENTRY = re.compile(r"^(?P<keep>[ \t]{1,60}(?:-[ \t]{1,4})?|-[ \t]{1,4})(?P<value>[^\s#\[{].*)$")
_MAPPING = re.compile(
    r"^[ \t]{0,60}(?:-[ \t]{1,4})?(?:[\w./-]{1,120}|\"[^\"]{0,200}\"|'[^']{0,200}')[ \t]{0,4}:(?:\s|$)"
)


def redact(lines: Iterable[str]) -> Iterator[str]:
    """The lines, without their ends, and without what is secret in them; fewer where a key spans several.

    A private key goes whole, up to its end or, where that is missing, up to a line that cannot be part of it.
    """
    in_key = 0
    until: Callable[[str], str | None] | None = None  # answers what is left of a line of an open value; None: it ended
    for text in lines:
        if in_key:
            ended = KEY_ENDS.search(text)
            in_key = in_key + 1 if not ended and len(text) <= 200 and in_key <= KEY_LINES else 0
            if in_key or ended:
                continue
        if until is not None:
            left = until(text)
            if left is not None:
                yield left
                continue
            until = None
        if not WORDS.search(text.lower()):
            yield text
            continue
        begins = KEY_BEGINS.search(text)
        if begins and not KEY_ENDS.search(text, begins.end()):
            in_key = 1
            yield _without_secrets(text[: begins.start()]) + gone("private key")
            continue
        if _SECRET_IN_LINE.search(text):
            text = _DATA_IN_LINE.sub(r"\g<keep>" + gone("secrets") + r"\g<end>", text)
        opened = _OPENED.match(text)
        if opened:
            until = _continued(opened)
            yield text[: opened.start("how")] + _opening(opened["how"])
            continue
        named = _VALUE_NAMED_BEFORE.match(text)
        if named:
            until = _value_of(named["name"])
            yield text
            continue
        yield _without_secrets(text)


def _opening(how: str) -> str:
    """What is shown of the first line of a value that goes on below."""
    if how[:3] in ('"""', "'''"):
        return how[:3] + (gone("secret") if how[3:].strip() else "")
    return _STRING.sub(_inside, how)


def _continued(opened: re.Match[str]) -> Callable[[str], str | None]:
    """What to make of the lines after one that names a secret and leaves its value open."""
    how, indent, done = opened["how"], len(opened["indent"].expandtabs()), False

    def block(text: str) -> str | None:
        if not text.strip():
            return text
        inner = len(text.expandtabs()) - len(text.expandtabs().lstrip())
        return text[: len(text) - len(text.lstrip())] + gone("secret") if inner > indent else None

    def string(text: str) -> str | None:
        nonlocal done
        if done:
            return None
        end = text.find(how[:3])
        done = end >= 0
        return gone("secret") + (text[end:] if done else "")

    def array(text: str) -> str | None:
        nonlocal done
        if done:
            return None
        done = "]" in text
        return _STRING.sub(_inside, text)

    def below(text: str) -> str | None:
        found = _PLAIN_ENTRY.match(text)
        if not found or _MAPPING.match(text):
            return None
        return found["keep"] + gone("secret")

    if how[:3] in ('"""', "'''"):
        done = how.find(how[:3], 3) >= 0
        return string
    if how[:1] == "[":
        return array
    return block if how else below


def _value_of(name: str) -> Callable[[str], str | None]:
    def value(text: str) -> str | None:
        found = _VALUE.match(text)
        if not found or harmless(name, found["value"].strip("\"', ")):
            return None
        return found["keep"] + gone("secret") + ("," if found["value"].rstrip().endswith(",") else "")

    return value


def _without_secrets(text: str) -> str:
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
