# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus and node-exporter on loopback, and pods that are text files behind HTTP. Ended by process id.

Discovery alone is stood in for: each ``kubernetes_sd_configs`` of the role's configuration becomes ``static_configs``
whose targets carry the ``__meta_kubernetes_*`` labels that the API would give. Relabelling is the role's own.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from cache import LabError, run
from control_plane import free_ports
from prometheus import programs

TOKEN = secrets.token_hex(16)
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
RULES = "/etc/prometheus/rules"


# ---------------------------------------------------------------- pods that are text


def running(text: str, seconds: float) -> str:
    """The same exposition some time later: counters and histograms have grown in proportion to what they were."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    lines = []
    for line in text.splitlines():
        name = re.match(r"[a-zA-Z_:][\w:]*", line)
        base = re.sub(r"_(bucket|sum|count)$", "", name.group(0)) if name else ""
        if name and (kinds.get(name.group(0)) == "counter" or kinds.get(base) == "histogram"):
            head, value, *stamp = re.fullmatch(r"(.+?[} ]) ?([-+\w.]+)( \d+)?", line).groups()
            lines.append(f"{head} {float(value) * (1 + seconds / 60):.6f}{stamp[0] or ''}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


class _Answer(BaseHTTPRequestHandler):
    def __init__(self, pages: Mapping[str, str], began: float, token: str, *given: Any) -> None:
        self.pages, self.began, self.token = pages, began, token
        super().__init__(*given)

    def do_GET(self) -> None:
        page = self.pages.get(self.path)
        if self.token and self.headers.get("Authorization") != f"Bearer {self.token}":
            self.send_error(401)
        elif page is None:
            self.send_error(404)
        else:
            body = running(page, time.monotonic() - self.began).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def served(pages: Mapping[str, str], token: str = "", certificate: Path | None = None) -> Iterator[int]:
    """The port on loopback where ``pages`` (path → exposition) are served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Answer, pages, time.monotonic(), token))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---------------------------------------------------------------- targets


@dataclass(frozen=True)
class Pod:
    """A pod as service discovery sees it: one target for each declared port."""

    name: str
    node: str
    port: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "monitoring"
    port_name: str = "metrics"
    phase: str = "Running"

    def meta(self) -> dict[str, str]:
        meta = {
            "__address__": f"127.0.0.1:{self.port}",
            "namespace": self.namespace,
            "pod_name": self.name,
            "pod_phase": self.phase,
            "pod_node_name": self.node,
            "pod_container_port_name": self.port_name,
            **{f"pod_label_{plain(key)}": value for key, value in self.labels.items()},
            **{f"pod_annotation_{plain(key)}": value for key, value in self.annotations.items()},
        }
        return {key if key.startswith("__") else f"__meta_kubernetes_{key}": value for key, value in meta.items()}


@dataclass(frozen=True)
class Node:
    name: str
    port: int

    def meta(self) -> dict[str, str]:
        return {"__address__": f"127.0.0.1:{self.port}", "__meta_kubernetes_node_name": self.name}


def plain(name: str) -> str:
    """A label or annotation as Prometheus spells it."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def matches(target: Pod | Node, discovery: Mapping[str, Any]) -> bool:
    """Whether the API would give this target to that ``kubernetes_sd_configs``."""
    if discovery["role"] != type(target).__name__.lower():
        return False
    wanted = dict(
        pair.split("=", 1) for one in discovery.get("selectors", []) for pair in one.get("label", "").split(",") if pair
    )
    return isinstance(target, Node) or wanted.items() <= dict(target.labels).items()


def localised(text: str, targets: Sequence[Pod | Node], folder: Path, own_port: int, interval: str) -> str:
    """The role's configuration for this machine."""
    config = yaml.safe_load(text.replace(SERVICE_ACCOUNT, str(folder)).replace(RULES, str(folder)))
    config["global"].update(scrape_interval=interval, evaluation_interval=interval, scrape_timeout=interval)
    for job in config["scrape_configs"]:
        given = [target for one in job.pop("kubernetes_sd_configs", []) for target in targets if matches(target, one)]
        if given:
            job["static_configs"] = [
                {"targets": [meta.pop("__address__")], "labels": meta} for meta in (target.meta() for target in given)
            ]
        elif job["job_name"] == "prometheus":
            job["static_configs"] = [{"targets": [f"127.0.0.1:{own_port}"]}]
    return yaml.safe_dump(config, sort_keys=False)


# ---------------------------------------------------------------- Prometheus


@dataclass
class Prometheus:
    port: int

    def ask(self, path: str, **given: Any) -> Any:
        """What ``/api/v1`` answers; its own words where it refuses."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(given, doseq=True)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{given}: {json.load(error).get('error')}") from None

    def query(self, expr: str) -> list[dict[str, Any]]:
        return self.ask("query", query=expr)["result"]

    def value(self, expr: str) -> float:
        (found,) = self.query(expr)
        return float(found["value"][1])

    def targets(self) -> list[dict[str, Any]]:
        return self.ask("targets", state="active")["activeTargets"]


@contextlib.contextmanager
def process(argv: Sequence[str | Path], log: Path) -> Iterator[subprocess.Popen]:
    with log.open("w") as stream:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=log.parent)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def node_exporter(folder: Path, textfiles: Path) -> Iterator[int]:
    (port,) = free_ports(1)
    argv = [
        programs() / "prometheus-node-exporter",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--collector.textfile.directory={textfiles}",
    ]
    with process(argv, folder / "node-exporter.log") as child:
        wait(child, lambda: _answers(f"http://127.0.0.1:{port}/metrics"), folder / "node-exporter.log", 30)
        yield port


@contextlib.contextmanager
def prometheus(folder: Path, config: Callable[[int], str]) -> Iterator[Prometheus]:
    """A Prometheus with that configuration, ready, its data below ``folder``."""
    (port,) = free_ports(1)
    (folder / "prometheus.yml").write_text(config(port))
    argv = [
        programs() / "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with process(argv, folder / "prometheus.log") as child:
        wait(child, lambda: _answers(f"http://127.0.0.1:{port}/-/ready"), folder / "prometheus.log", 60)
        yield Prometheus(port)


def wait(child: subprocess.Popen, ready: Callable[[], bool], log: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not ready():
        if child.poll() is not None or time.monotonic() > until:
            raise LabError(f"{Path(child.args[0]).name} is not ready\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def certificate(folder: Path) -> Path:
    """A serving certificate signed by itself, as kubeadm's kubelets have; its authority as the service account's."""
    key, cert, both = folder / "kubelet.key", folder / "ca.crt", folder / "kubelet.pem"
    subject = ["-subj", "/CN=kubelet", "-addext", "subjectAltName=IP:127.0.0.1"]
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    run(*new, *subject, "-keyout", key, "-out", cert)
    both.write_text(key.read_text() + cert.read_text())
    return both
