# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kubeconfig's text, read as kubectl reads it: which server, how it proves itself, how the user does.

Rules of this file: text in, an ``Endpoint`` out, no I/O. Files that a kubeconfig names are given back by path, relative
ones below the kubeconfig's own folder. Secrets never appear in an error.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..machine_yaml import YamlError, loads

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class KubeconfigError(Exception):
    """What is wrong with a kubeconfig: ``kind`` is missing, permission, invalid or credentials."""

    def __init__(self, kind: str, path: str, problem: str, line: int | None = None) -> None:
        super().__init__(f"{path}{f':{line}' if line else ''}: {problem}")
        self.kind = kind
        self.path = path
        self.problem = problem
        self.line = line


@dataclass(frozen=True)
class Exec:
    """A program that prints credentials, as cloud providers have it."""

    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    api_version: str = "client.authentication.k8s.io/v1"


@dataclass(frozen=True)
class Endpoint:
    """Where the API is and how both sides prove who they are. Each of ca, cert and key is PEM text or a path."""

    server: str
    ca: str = ""
    ca_file: str = ""
    cert: str = field(default="", repr=False)
    cert_file: str = ""
    key: str = field(default="", repr=False)
    key_file: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    insecure: bool = False
    server_name: str = ""
    proxy: str = ""
    exec: Exec | None = None
    impersonate: str = ""
    path: str = ""
    context: str = ""


def endpoint(text: str, path: str, context: str = "") -> Endpoint:
    """The endpoint of ``context``, or of the current one. Raises ``KubeconfigError``."""
    data = _data(text, path)
    wanted = context or _text(data.get("current-context"))
    contexts = _named(data, "contexts", "context")
    if wanted not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        why = f"there is no context `{wanted}`" if wanted else "no context is current and none was asked for"
        raise KubeconfigError("invalid", path, f"{why} (there: {known})")
    chosen = contexts[wanted]
    clusters, users = _named(data, "clusters", "cluster"), _named(data, "users", "user")
    cluster, user = _text(chosen.get("cluster")), _text(chosen.get("user"))
    if cluster not in clusters:
        raise KubeconfigError("invalid", path, f"context `{wanted}` names the cluster `{cluster}`, which is not there")
    if user and user not in users:
        raise KubeconfigError("invalid", path, f"context `{wanted}` names the user `{user}`, which is not there")
    return _endpoint(clusters[cluster], users.get(user, {}), path, wanted)


def _endpoint(cluster: Mapping[str, Any], user: Mapping[str, Any], path: str, context: str) -> Endpoint:
    server = _text(cluster.get("server"))
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise KubeconfigError("invalid", path, f"its server is `{server}`; expected https://host:port")
    if user.get("auth-provider"):
        raise KubeconfigError(
            "credentials", path, "its user has an `auth-provider`, which Kubernetes removed; expected `exec`"
        )
    folder = os.path.dirname(os.path.abspath(path))

    def place(value: Any) -> str:
        return os.path.join(folder, _text(value)) if value else ""

    def pem(holder: Mapping[str, Any], key: str) -> str:
        value = _text(holder.get(key))
        try:
            return base64.b64decode(value, validate=True).decode() if value else ""
        except (binascii.Error, ValueError):
            raise KubeconfigError("invalid", path, f"`{key}` is no base64") from None

    return Endpoint(
        server=server.rstrip("/"),
        ca=pem(cluster, "certificate-authority-data"),
        ca_file=place(cluster.get("certificate-authority")),
        cert=pem(user, "client-certificate-data"),
        cert_file=place(user.get("client-certificate")),
        key=pem(user, "client-key-data"),
        key_file=place(user.get("client-key")),
        token=_text(user.get("token")),
        token_file=place(user.get("tokenFile")),
        username=_text(user.get("username")),
        password=_text(user.get("password")),
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        server_name=_text(cluster.get("tls-server-name")),
        proxy=_text(cluster.get("proxy-url")),
        exec=_exec(user.get("exec"), path),
        impersonate=_text(user.get("as")),
        path=path,
        context=context,
    )


def _exec(value: Any, path: str) -> Exec | None:
    if not value:
        return None
    if not isinstance(value, Mapping) or not _text(value.get("command")):
        raise KubeconfigError("invalid", path, "its `exec` names no command")
    pairs = [item for item in value.get("env") or [] if isinstance(item, Mapping)]
    return Exec(
        command=_text(value["command"]),
        args=tuple(_text(word) for word in value.get("args") or []),
        env=tuple((_text(item.get("name")), _text(item.get("value"))) for item in pairs),
        api_version=_text(value.get("apiVersion")) or Exec.api_version,
    )


def in_cluster(host: str, port: str) -> Endpoint:
    """The endpoint of a pod, of the variables and files that kubelet gives it."""
    name = f"[{host}]" if ":" in host else host
    return Endpoint(
        server=f"https://{name}:{port}",
        ca_file=f"{SERVICE_ACCOUNT}/ca.crt",
        token_file=f"{SERVICE_ACCOUNT}/token",
        path=SERVICE_ACCOUNT,
    )


def _data(text: str, path: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text) if text.lstrip()[:1] == "{" else loads(text)
    except (YamlError, ValueError) as error:
        line = getattr(error, "line", getattr(error, "lineno", None))
        raise KubeconfigError("invalid", path, f"it is not YAML: {getattr(error, 'problem', error)}", line) from None
    if not isinstance(data, Mapping):
        raise KubeconfigError("invalid", path, "it holds no kubeconfig")
    return data


def _named(data: Mapping[str, Any], plural: str, singular: str) -> dict[str, Mapping[str, Any]]:
    items = data.get(plural)
    found: dict[str, Mapping[str, Any]] = {}
    for item in items if isinstance(items, list) else []:
        if isinstance(item, Mapping) and isinstance(item.get(singular), Mapping):
            found.setdefault(_text(item.get("name")), item[singular])
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value)
