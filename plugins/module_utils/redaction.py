# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take secrets out of what leaves a node: pods' logs, and all that goes into a support bundle.

Three things tell a secret: the name before it, its form, and that it was seen where secrets are kept (``learn``). What
looks like one goes, even where it may be none, and that it went is said in its place. Certificates, hashes of images
and of discovery are public and stay.

Rules of this file: text in, text out, no I/O; any text is taken, nothing raises. A line without a word of ``_WORDS``
costs one search; every pattern takes time linear in the length of its line.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from .machine_yaml import YamlError, loads_all
from .toml import TomlError
from .toml import loads as toml_loads

KEY_LINES = 400  # a private key has no more; without an end, what follows stays
LEARNT = 2000  # values remembered

# Words of which one stands in every name of a secret. `auth` is one, `author`, `authority`, `authentication` are not.
_NAMING = (
    r"(?:pass(?:word|wd|phrase|code)?(?!ed|ing|es\b|through|ive|thru)|secret|token|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|client-key-data|certificate[ _-]?key|encryption[_-]?key|signing[_-]?key"
    r"|authorization(?![\w-])|auth(?!or|enti|[_-]?mode)|credential|cookie|bearer)"
)
_NAMED = re.compile(_NAMING, re.IGNORECASE)
# A quote may be escaped: JSON within JSON.
_QUOTE = r"\\{0,7}[\"']"
_SEPARATOR = r"[ \t]{0,8}(?::(?!//)|=>?)[ \t]{0,8}"
_NAME = _NAMING + r"[\w.-]{0,40}(?:" + _QUOTE + r"|[\"']?\])?"
# Up to white space; a quote or an escaped break ends it where text of other kind can follow.
_BARE = r"(?:[^\s\"'\\]|[\"'\\](?![\s,\]}):;nrt]|$))+"
_QUOTED = r"(?P<quote>" + _QUOTE + r")(?P<value>(?:(?!(?P=quote))(?:\\.|[^\n]))*)(?P<end>(?P=quote)|$)"
_PATH_NAME = re.compile(r"(?:file|path|dir|folder|name|store|helpers?|mode|type|ttl|id|url|uri|kind)s?\W{0,8}$", re.I)
_HARMLESS = re.compile(
    r"(?:true|false|null|none|nil|yes|no|on|off|latest|v?\d+(?:\.\d+){1,3}|\d{1,6}|\*+|<[^<>]{0,80}>"
    r"|<(?:secret|key|token|credentials|private)|sha256:[0-9a-f]{64})\W{0,4}$",
    re.IGNORECASE,
)

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")


def _gone(what: str) -> str:
    return f"<{what} removed>"


def _harmless(name: str, value: str) -> bool:
    """Whether what stands behind the name of a secret says only where the secret is, or that there is none."""
    value = value.strip()
    if not value or _HARMLESS.match(value) or value[:2] in ("${", "{{", "$(", "{", "["):
        return True
    if re.search(r"authorization\W{0,4}$", name, re.IGNORECASE) and re.match(r"[a-z]+(?:\s|$)", value):
        return True  # prose: a header names its scheme first, and `Bearer x` is known by itself
    return bool(_PATH_NAME.search(name)) and (
        value[:1] == "/" or re.fullmatch(r"[A-Za-z][a-z.-]{0,40}", value) is not None
    )


def _named_quoted(found: re.Match[str]) -> str:
    if _harmless(found["name"], found["value"]):
        return found[0]
    return f"{found['keep']}{found['quote']}{_gone('secret')}{found['end']}"


def _named_bare(found: re.Match[str]) -> str:
    return found[0] if _harmless(found["name"], found["value"]) else found["keep"] + _gone("secret")


def _every_quoted(found: re.Match[str]) -> str:
    return found["keep"] + _STRING.sub(_inside, found["value"])


def _inside(found: re.Match[str]) -> str:
    return f"{found['quote']}{_gone('secret')}{found['end']}" if found["value"] else found[0]


def _scheme(found: re.Match[str]) -> str:
    """`Bearer x`, `Basic x`: prose speaks of `Basic authentication`."""
    value = found["value"]
    return found[0] if value.isalpha() and value.islower() else found["keep"] + _gone("credentials")


def _flag(found: re.Match[str]) -> str:
    value = found["value"] if found["quote"] else found["bare"]
    if _harmless(found["name"], value):
        return found[0]
    quoting = found["quote"] or ""
    return f"{found['keep']}{quoting}{_gone('secret')}{found['end'] if quoting else ''}"


def _prose(found: re.Match[str]) -> str:
    """A value after words: only what no word, path, number, address or image would look like."""
    value = found["value"]
    odd = re.search(r"[A-Za-z]", value) and re.search(r"\d|[a-z][A-Z]", value) and not re.search(r"[/:]|\w\(", value)
    return found["keep"] + _gone("secret") if odd and not _HARMLESS.match(value) else found[0]


def _encoded(found: re.Match[str]) -> str:
    return (
        _gone("key") if any("PRIVATE KEY" in text or "-key-data" in text for text in _decodings(found[0])) else found[0]
    )


def _decodings(value: str) -> Iterator[str]:
    """What a base64 text says; its beginning may have been cut off, so from each of four places."""
    for start in range(4):
        part = value[start:].rstrip("=")
        part = part[: len(part) - len(part) % 4]
        try:
            yield base64.b64decode(part.replace("-", "+").replace("_", "/")).decode("latin-1")
        except (binascii.Error, ValueError):
            continue


_STRING = re.compile(_QUOTED)
Replacement = Callable[["re.Match[str]"], str]
# Each pattern with what stands in its place; `keep` is what is shown of the line.
_RULES: tuple[tuple[re.Pattern[str], str | Replacement], ...] = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, flags, replacement in (
        # a whole private key on one line, its breaks escaped; what has no end goes to the end of the line
        (_KEY_BEGINS.pattern + r".*?(?:" + _KEY_ENDS.pattern + r"|$)", 0, _gone("private key")),
        # a private key, or a kubeconfig with one, in base64
        (r"[A-Za-z0-9+/_-]{48,}={0,2}", 0, _encoded),
        # JSON web tokens: service accounts' and others'
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*)?", 0, _gone("token")),
        # tokens of k3s and bootstrap tokens of kubeadm; keys of NGC, GitHub, GitLab, AWS, Slack, OpenAI, Hugging Face
        (r"\bK10[0-9a-f]{64}::[^\s\"'\\]+", 0, _gone("token")),
        (r"(?<![\w./-])[a-z0-9]{6}\.[a-z0-9]{16}(?![\w.-])", 0, _gone("token")),
        (
            r"\b(?:nvapi-[\w-]{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}"
            r"|xox[abprs]-[\w-]{10,}|sk-[\w-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16})",
            0,
            _gone("key"),
        ),
        # hashes of passwords, as crypt(3) and htpasswd write them
        (r"\$(?:1|2[aby]|5|6|7|y|gy|apr1)\$[./A-Za-z0-9$=,]{8,}", 0, _gone("hash")),
        # who speaks to an address: a password may hold what an address must not, but a port is none
        (
            r"(?P<keep>\b[A-Za-z][A-Za-z0-9+.-]{1,20}:\\?/\\?/)(?:[^\s\"'/@:]{0,200}:(?!\d{1,5}[/\s\"'])[^\s\"']{0,400}"
            r"|[^\s\"'/@:]{1,200})@",
            0,
            r"\g<keep>" + _gone("credentials") + "@",
        ),
        # headers
        (r"(?P<keep>\b(?:set-)?cookie:[ \t]{0,4})\S.*", re.I, r"\g<keep>" + _gone("cookie")),
        (r"(?P<keep>\b(?:bearer|basic|digest)[ \t]{1,4})(?P<value>[\w.~+/=-]{8,})", re.I, _scheme),
        # --token abc, --certificate-key=abc, "--password", "abc"
        (
            r"(?P<keep>(?P<name>(?<![\w-])--?[\w-]{0,40}?"
            + _NAMING
            + r"[\w-]{0,40})(?:=|[ \t]{1,4}(?!-(?:[A-Za-z]|-[a-z][a-z-]*)(?:[=\s]|$))|"
            + _QUOTE
            + r"[, \t]{1,4}(?=[\"'\\])))(?:"
            + _QUOTED
            + r"|(?P<bare>"
            + _BARE
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
            r"|login[ \t]{1,4}\S{1,100}[ \t]{1,4}password)[ \t=]{0,4})" + r"(?![-])" + _BARE,
            0,
            r"\g<keep>" + _gone("secret"),
        ),
        # a name that says what it is, and its value: YAML, JSON, INI, environment, Go's %v
        (
            r"(?P<keep>(?P<name>" + _NAME + r")" + _SEPARATOR + r")(?P<value>\[[^\]\n]*(?:\]|$))",
            re.I,
            _every_quoted,
        ),
        (r"(?P<keep>(?P<name>" + _NAME + r")" + _SEPARATOR + r")" + _QUOTED, re.I, _named_quoted),
        (
            r"(?P<keep>^[ \t]{0,60}(?:-[ \t]{1,4}|export[ \t]{1,4}|Environment=)?[\w.-]{0,60}?(?P<name>"
            + _NAME
            + r")"
            + _SEPARATOR
            + r")(?P<value>[^\s\"'\\\[{<].*)$",
            re.I,
            _named_bare,
        ),
        (
            r"(?P<keep>(?P<name>" + _NAME + r")" + _SEPARATOR + r")(?P<value>(?![\"'\[{<])" + _BARE + r")",
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
            + _QUOTED,
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
            r"\g<keep>" + _gone("key") + r"\g<end>",
        ),
    )
)


# What a line must hold, in lower case, for any rule to be tried on it.
_WORDS = re.compile(
    r"pass|secret|token|key|auth|credential|cookie|bearer|basic|digest|eyj|k10|nvapi-|gh[pousr]_|github_pat|glpat-|hf_"
    r"|xox|sk-|akia|asia|\$|@|login|curl|crictl|docker|podman|nerdctl|buildah|skopeo|helm"
    r"|[a-z0-9+/_-]{48}|(?<![\w./-])[a-z0-9]{6}\.[a-z0-9]{16}(?![\w.-])"
)

_SECRET_KIND = re.compile(r"^(?P<indent>\s{0,40})(?:- )?[\"']?kind[\"']?\s{0,4}:\s{0,4}[\"']?Secret(?:List)?\b", re.M)
_SECRET_IN_LINE = re.compile(r"kind\\{0,7}\"\s{0,4}:\s{0,4}\\{0,7}\"Secret")
_DATA_IN_LINE = re.compile(r"(?P<keep>\\{0,7}\"(?:data|stringData)\\{0,7}\"\s{0,4}:\s{0,4}\{)[^{}]*(?P<end>\}|$)")
_DATA = re.compile(r"^(?P<indent>\s{0,40})[\"']?(?:data|stringData)[\"']?\s{0,4}:\s{0,4}[{]?\s{0,4}$")
_ENTRY = re.compile(r"^(?P<indent>\s{1,60})(?P<keep>[\"']?[\w.-]{1,200}[\"']?\s{0,4}:\s{0,4})\S")

_OPENED = re.compile(
    r"^(?P<indent>[ \t]{0,60})(?:-[ \t]{1,4})?[\"']?[\w.-]{0,60}?(?P<name>"
    + _NAME
    + r")"
    + _SEPARATOR
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


class Redactor:
    """Takes out what looks like a secret, and every value that it was told of or has learnt."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._forms: list[str] = []
        for value in known:
            self._remember(value)

    # -- what is known to be secret

    def learn(self, text: str, whole: bool = False) -> None:
        """Remember the values that a file keeps under names of secrets; ``whole``: the file is a secret itself."""
        if whole:
            for line in text.split("\n"):
                self._remember(line.strip())
                self._remember(line.strip().rpartition(":")[2])
            return
        for value in _structures(text):
            for secret in _secrets_in(value):
                self._remember(secret)
        for line in text.split("\n"):
            for pattern in (_LEARNT_QUOTED, _LEARNT_BARE, _LEARNT_LINE):
                for found in pattern.finditer(line):
                    if not _harmless(found["name"], found["value"]):
                        self._remember(found["value"].strip())
            for found in _IN_ADDRESS.finditer(line):
                self._remember(found["value"])
                self._remember(unquote(found["value"]))

    def _remember(self, value: str) -> None:
        if not isinstance(value, str) or len(self._known) >= LEARNT:
            return
        words = value.split()
        if len(words) == 2 and words[0].lower() in ("basic", "bearer", "digest", "token"):
            self._remember(words[1])
            return
        if "\n" in value:
            for line in value.split("\n"):
                if len(line.strip()) >= 16:
                    self._remember(line.strip())
            return
        if value in self._known or not _worth(value):
            return
        self._known.add(value)
        plain = next(_decodings(value), "") if re.fullmatch(r"[A-Za-z0-9+/_-]{8,}={0,2}", value) else ""
        if plain.isprintable() and ":" in plain:  # `auth` of a registry: user:password
            self._remember(plain)
            self._remember(plain.partition(":")[2])
        elif "PRIVATE KEY" in plain:
            self._remember(plain)
        self._forms = []

    def _without_known(self, text: str) -> str:
        if not self._forms:
            forms = set()
            for value in self._known:
                raw = value.encode(errors="surrogateescape")
                forms |= {value, quote(raw, safe=""), json.dumps(value)[1:-1], html.escape(value)}
                forms.add(base64.b64encode(raw).decode().rstrip("="))
            self._forms = sorted(forms, key=len, reverse=True)
        for form in self._forms:
            if form in text:
                text = text.replace(form, _gone("secret"))
        return text

    # -- taking it out

    def text(self, text: str, cut: bool = False) -> str:
        """The text without what is secret in it. ``cut``: its beginning is missing, and may have begun a key."""
        if cut:
            end, begin = _KEY_ENDS.search(text), _KEY_BEGINS.search(text)
            if end and (not begin or begin.start() > end.start()) and text.count("\n", 0, end.start()) <= KEY_LINES:
                text = _gone("private key") + text[end.end() :]
        documents = re.split(r"(?m)^(---[ \t]*\n)", self._without_known(text))
        return "".join(_document(part) for part in documents)

    def data(self, value: Any, name: str = "") -> Any:
        """Plain data without what is secret in it, by names of keys and by the texts themselves."""
        if isinstance(value, Mapping):
            # {"name": "X_PASSWORD", "value": "y"}: the name of the value stands beside it
            beside = str(value.get("name") or "") if "value" in value else ""
            whole = value.get("kind") == "Secret"
            return {
                self.text(str(key)): _emptied(item)
                if whole and key in ("data", "stringData")
                else self.data(item, beside if key == "value" and beside else str(key))
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.data(item, name) for item in value]
        if isinstance(value, str):
            if name and _NAMED.search(name) and not _harmless(name, value):
                return _gone("secret")
            return self.text(value)
        return value


_LEARNT_QUOTED = re.compile(r"(?P<name>" + _NAME + r")" + _SEPARATOR + _QUOTED, re.IGNORECASE)
_LEARNT_BARE = re.compile(
    r"(?P<name>" + _NAME + r")" + _SEPARATOR + r"(?P<value>(?![\"'\[{<])" + _BARE + r")", re.IGNORECASE
)
_LEARNT_LINE = re.compile(
    r"^[ \t]{0,60}(?:export[ \t]{1,4})?[\w.-]{0,60}?(?P<name>"
    + _NAME
    + r")"
    + _SEPARATOR
    + r"(?P<value>[^\s\"'\[{<].*)$",
    re.IGNORECASE,
)
_IN_ADDRESS = re.compile(r"://[^\s\"'/@:]{0,200}:(?P<value>(?!\d{1,5}[/\s\"'])[^\s\"'@]{1,400})@")


_FOLDER = re.compile(r"/(?:bin|boot|data|dev|etc|home|lib|mnt|opt|proc|root|run|srv|sys|tmp|usr|var)(?:/|$)")


def _worth(value: str) -> bool:
    """Whether a value can be taken out wherever it stands: no path, and no word that other things are called by."""
    if not 8 <= len(value) <= 100_000 or _FOLDER.match(value) or _HARMLESS.match(value):
        return False
    return not re.fullmatch(r"[A-Z]?[a-z]+(?:[._-][a-z]+)*|[\d.:/-]+", value)


def _structures(text: str) -> Iterator[Any]:
    """What a text says as JSON, YAML or TOML, whichever can be read."""
    try:
        yield json.loads(text)
        return
    except (ValueError, RecursionError):
        pass
    with contextlib.suppress(YamlError, RecursionError):
        yield from loads_all(text)
    with contextlib.suppress(TomlError, RecursionError):
        yield toml_loads(text)


def _secrets_in(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _secrets_in(item, str(value.get("name") or "") if key == "value" else str(key))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets_in(item, name)
    elif isinstance(value, str) and _NAMED.search(name) and not _harmless(name, value):
        yield value


def _emptied(value: Any) -> Any:
    return {str(key): _gone("secret") for key in value} if isinstance(value, Mapping) else _gone("secret")


def redact_text(text: str) -> str:
    """The text without what looks like a secret. A document with a Kubernetes Secret loses every value of its data."""
    return Redactor().text(text)


def _document(text: str) -> str:
    lines = text.split("\n")
    if "Secret" in text and _SECRET_KIND.search(text):
        lines = list(_without_data(lines))
    return "\n".join(redact(lines))


def redact(lines: Iterable[str]) -> Iterator[str]:
    """The lines, without their ends, and without what is secret in them; fewer where a key spans several.

    A private key goes whole, up to its end or, where that is missing, up to a line that cannot be part of it.
    """
    in_key = 0
    until: Callable[[str], str | None] | None = None  # answers what is left of a line of an open value; None: it ended
    for text in lines:
        if in_key:
            ended = _KEY_ENDS.search(text)
            in_key = in_key + 1 if not ended and len(text) <= 200 and in_key <= KEY_LINES else 0
            if in_key or ended:
                continue
        if until is not None:
            left = until(text)
            if left is not None:
                yield left
                continue
            until = None
        words = _WORDS.search(text.lower())
        if not words and "-----BEGIN" not in text:
            yield text
            continue
        begins = _KEY_BEGINS.search(text)
        if begins and not _KEY_ENDS.search(text, begins.end()):
            in_key = 1
            yield _without_secrets(text[: begins.start()]) + _gone("private key")
            continue
        if _SECRET_IN_LINE.search(text):
            text = _DATA_IN_LINE.sub(r"\g<keep>" + _gone("secrets") + r"\g<end>", text)
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
        return how[:3] + (_gone("secret") if how[3:].strip() else "")
    return _STRING.sub(_inside, how)


def _continued(opened: re.Match[str]) -> Callable[[str], str | None]:
    """What to make of the lines after one that names a secret and leaves its value open."""
    how, indent, done = opened["how"], len(opened["indent"].expandtabs()), False

    def block(text: str) -> str | None:
        if not text.strip():
            return text
        inner = len(text.expandtabs()) - len(text.expandtabs().lstrip())
        return text[: len(text) - len(text.lstrip())] + _gone("secret") if inner > indent else None

    def string(text: str) -> str | None:
        nonlocal done
        if done:
            return None
        end = text.find(how[:3])
        done = end >= 0
        return _gone("secret") + (text[end:] if done else "")

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
        return found["keep"] + _gone("secret")

    if how[:3] in ('"""', "'''"):
        done = how.find(how[:3], 3) >= 0
        return string
    if how[:1] == "[":
        return array
    return block if how else below


def _value_of(name: str) -> Callable[[str], str | None]:
    def value(text: str) -> str | None:
        found = _VALUE.match(text)
        if not found or _harmless(name, found["value"].strip("\"', ")):
            return None
        return found["keep"] + _gone("secret") + ("," if found["value"].rstrip().endswith(",") else "")

    return value


def _without_secrets(text: str) -> str:
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def _without_data(lines: Iterable[str]) -> Iterator[str]:
    """Every value below ``data:`` and ``stringData:`` removed, block texts too."""
    below: int | None = None
    entry: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if below is not None and line.strip() and indent <= below:
            below = entry = None
        if below is None:
            found = _DATA.match(line)
            if found:
                below = len(found.group("indent"))
            yield line
            continue
        if entry is not None and line.strip() and indent > entry:
            continue  # more of a value in several lines
        found = _ENTRY.match(line)
        if found:
            entry = indent
            ending = "," if line.rstrip().endswith(",") else ""
            yield f"{found.group('indent')}{found.group('keep')}{_gone('secret')}{ending}"
        else:
            yield line
