# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take secrets out of what goes into a support bundle: text in, text out.

Rules of this file: line by line and bounded, so any length streams; what looks like a secret goes, even where it may be
none. Certificates, hashes of images and of discovery are public and stay. What is taken is said in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----")
_NAME = (
    r"(?:[\w.-]{0,60}?(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|client-key-data"
    r"|certificate[_-]?key|encryption[_-]?key|auth(?!ority|or|enticat)|credentials?|cookie|bearer)[\w.-]{0,30})"
)


def _gone(what: str) -> str:
    return f"<{what} removed>"


# Each pattern and what stands in its place; `keep` is what is shown of the line.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # a whole private key on one line, its breaks escaped
        (
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.{0,16000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----",
            _gone("private key"),
        ),
        # a private key in base64, as kubeconfigs and Secrets have it ("-----BEGIN ... PRIVATE KEY")
        (
            r"(?P<keep>client-key-data[\"']?\s{0,4}[:=]\s{0,4}[\"']?)[A-Za-z0-9+/=_-]{8,16000}",
            r"\g<keep>" + _gone("key"),
        ),
        (
            r"\bLS0tLS1CRUdJTi[A-Za-z0-9+/]{0,60}(?:UFJJVkFURSBLRVk|BSSVZBVEUgS0VZ"
            r"|QUklWQVRFIEtFW)[A-Za-z0-9+/=]{0,16000}",
            _gone("key"),
        ),
        # JSON web tokens: service accounts' and others'
        (r"\beyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{2,8000}\.[A-Za-z0-9_-]{2,4000}", _gone("token")),
        # bootstrap tokens of kubeadm, tokens of k3s, keys of NGC, GitHub, AWS, Slack, OpenAI, Hugging Face
        (r"(?<![\w.])[a-z0-9]{6}\.[a-z0-9]{16}(?![\w.])", _gone("token")),
        (r"\bK10[0-9a-f]{64}::[\w.-]{1,80}:[\w.-]{1,200}", _gone("token")),
        (
            r"\b(?:nvapi-[\w-]{20,200}|gh[pousr]_\w{20,100}|github_pat_\w{20,120}|hf_[A-Za-z0-9]{20,80}"
            r"|xox[abprs]-[\w-]{10,200}"
            r"|sk-[\w-]{20,200}|(?:AKIA|ASIA)[A-Z0-9]{16})",
            _gone("key"),
        ),
        # credentials in an address, and in a header
        (
            r"(?P<keep>\b[a-z][a-z0-9+.-]{1,20}://)[^\s/:@\"']{0,200}:[^\s/@\"']{1,400}@",
            r"\g<keep>" + _gone("credentials") + "@",
        ),
        (
            r"(?P<keep>\bAuthorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:Bearer|Basic|Digest"
            r"|Token)\s{1,4})[^\s\"']{1,8000}",
            r"\g<keep>" + _gone("credentials"),
        ),
        # --token abc, --certificate-key=abc, --password abc
        (
            r"(?P<keep>--?(?:token|certificate-key|password|passwd|secret|api-key|agent-token|access-key"
            r"|auth-token)(?:="
            r"|\s{1,4}))"
            r"[^\s\"']{1,4000}",
            r"\g<keep>" + _gone("secret"),
        ),
        # a name that says what it is, and its value: YAML, JSON, INI, environment
        (
            r"(?P<keep>(?<![\w./-])[\"']?" + _NAME + r"[\"']?\s{0,4}(?::(?!//)|=)\s{0,4})(?P<quote>[\"'])"
            r"(?:(?!(?P=quote)).){1,16000}(?P=quote)",
            r"\g<keep>\g<quote>" + _gone("secret") + r"\g<quote>",
        ),
        (
            r"(?P<keep>(?<![\w./-])" + _NAME + r"\s{0,4}(?::(?!//)|=)[ \t]{0,4})(?!<|\{|\[|[\"']"
            r"|null\b|true\b|false\b|none\b"
            r"|\d{1,6}(?:\s|$))[^\s,;}\]\"']{1,16000}",
            r"\g<keep>" + _gone("secret"),
        ),
        # certificate key of `kubeadm init --upload-certs`, printed alone on its line
        (r"^(?P<keep>\s{0,12})[0-9a-f]{64}(?P<end>\s{0,4})$", r"\g<keep>" + _gone("key") + r"\g<end>"),
    )
)
_SECRET_KIND = re.compile(r"^(?P<indent>\s{0,40})(?:- )?[\"']?kind[\"']?\s{0,4}:\s{0,4}[\"']?Secret\b")
_DATA = re.compile(r"^(?P<indent>\s{0,40})[\"']?(?:data|stringData)[\"']?\s{0,4}:\s{0,4}[{]?\s{0,4}$")
_ENTRY = re.compile(r"^(?P<indent>\s{1,60})(?P<keep>[\"']?[\w.-]{1,200}[\"']?\s{0,4}:\s{0,4})\S")


def redact(lines: Iterable[str]) -> Iterator[str]:
    """The lines without what is secret in them; their number may shrink where a key spans several.

    A private key goes whole, up to its end or, where that is missing, up to a line that cannot be part of it. Of a
    Kubernetes Secret written as YAML or JSON every value of ``data`` and ``stringData`` goes, whatever its name.
    """
    in_key = False
    data_indent: int | None = None
    for line in lines:
        ending = line[len(line.rstrip("\r\n")) :]
        text = line[: len(line) - len(ending)]
        if in_key:
            in_key = not _KEY_ENDS.search(text) and len(text) <= 200
            if in_key or _KEY_ENDS.search(text):
                continue
        if _KEY_BEGINS.search(text) and not _KEY_ENDS.search(text):
            in_key = True
            yield _KEY_BEGINS.split(text)[0] + _gone("private key") + ending
            continue
        data = _DATA.match(text)
        if data:
            data_indent = len(data.group("indent"))
            yield line
            continue
        if data_indent is not None:
            indent = len(text) - len(text.lstrip())
            if text.strip() and indent <= data_indent:
                data_indent = None
        yield _without_secrets(text) + ending


def _without_secrets(text: str) -> str:
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_text(text: str) -> str:
    """``redact`` for a whole text. Documents that hold a Kubernetes Secret lose every value of their data."""
    documents = re.split(r"(?m)^(---[ \t]*\n)", text)
    return "".join(_document(part) for part in documents)


def _document(text: str) -> str:
    lines = text.splitlines(keepends=True)
    if any(_SECRET_KIND.match(line) for line in lines):
        lines = list(_without_data(lines))
    return "".join(redact(lines))


def _without_data(lines: Iterable[str]) -> Iterator[str]:
    """Every value below ``data:`` and ``stringData:`` removed, block texts too."""
    below: int | None = None
    entry: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if below is not None and line.strip() and indent <= below:
            below = entry = None
        if below is None:
            found = _DATA.match(line.rstrip("\r\n"))
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
            yield f"{found.group('indent')}{found.group('keep')}{_gone('secret')}{ending}\n"
        else:
            yield line
