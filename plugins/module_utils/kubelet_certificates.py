# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a kubelet may have the certificate that it asks for: the node itself asks, and for names of its own alone.

Kubernetes approves none of these by itself, because it cannot know whose an address is. What is known here are the
addresses of the nodes in the API. A kubelet reports those of its own node, so one that two nodes claim is nobody's; and
whatever it reports, a name by which the API server or another Service is reached is never a node's: whoever trusts the
cluster's authority would take the node for it.

Rules of this file: facts of the API in, reasons out; no I/O.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from .checks.reading import listed
from .x509 import CertificateError, Request, request

SIGNER = "kubernetes.io/kubelet-serving"
GROUP = "system:nodes"
USER = "system:node:"
# kubelet may not label its own node so: the admission plugin NodeRestriction keeps it from that
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
USAGES = (
    {"digital signature", "server auth"},
    {"digital signature", "key encipherment", "server auth"},
)
PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SERVER = "/api/v1/namespaces/default/services/kubernetes"  # the Service by which pods reach the API server
SERVICES = re.compile(r"kubernetes(\.default)?|[^.]+\.[^.]+\.svc(\..+)?|localhost|.*[*].*")
REASON = "GpunodeReadyApproved"
MESSAGE = "The node asks for its own names and addresses alone."


def undecided(item: Mapping[str, Any]) -> bool:
    """Whether a CertificateSigningRequest is one of a kubelet that serves, and nobody has approved or denied it."""
    conditions = (item.get("status") or {}).get("conditions") or []
    decided = any(condition.get("type") in ("Approved", "Denied", "Failed") for condition in conditions)
    return (item.get("spec") or {}).get("signerName") == SIGNER and not decided


def names_of(node: Mapping[str, Any]) -> set[str]:
    """The names and addresses of a node of the API."""
    told = (node.get("status") or {}).get("addresses") or []
    return {_plain(node["metadata"]["name"]), *(_plain(one.get("address") or "") for one in told)} - {""}


def _plain(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower().rstrip(".")


def addresses_of(service: Mapping[str, Any]) -> set[str]:
    """The addresses of a Service."""
    spec = service.get("spec") or {}
    return {_plain(one) for one in (spec.get("clusterIP"), *(spec.get("clusterIPs") or [])) if one}


def host_of(server: str) -> str:
    """The name or the address in the address of an API server."""
    return _plain(urlsplit(server).hostname or "")


def objections(
    item: Mapping[str, Any],
    nodes: Iterable[Mapping[str, Any]],
    chosen: Iterable[str] = (),
    taken: Iterable[str] = (),
    server: str = "",
) -> list[str]:
    """All reasons against approving a request; none where the node asks for what is its own.

    ``chosen`` are the nodes whose requests may be approved, all where it is empty; ``taken`` are addresses of no node,
    ``server`` is the one by which the API is reached, which may be a control plane's own.
    """
    known = {node["metadata"]["name"]: node for node in nodes}
    spec = item.get("spec") or {}
    asking = known.get(str(spec.get("username") or "").partition(USER)[2], {})
    controls = CONTROL_PLANE in ((asking.get("metadata") or {}).get("labels") or {})
    return list(_objections(spec, known, set(chosen), {*taken, *([] if controls else [server])}))


def _objections(
    spec: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]], chosen: set[str], taken: set[str]
) -> Iterator[str]:
    user = str(spec.get("username") or "")
    name = user.partition(USER)[2] if user.startswith(USER) else ""
    if not name or GROUP not in (spec.get("groups") or []):
        yield f"{user or 'nobody'} asks for it; expected a node, {USER}<name> of the group {GROUP}"
    elif name not in nodes:
        yield f"there is no node {name}; expected one that has joined"
    elif chosen and name not in chosen:
        yield f"{name} is none of the nodes that were named"
    if set(spec.get("usages") or []) not in USAGES:
        yield f"its usages are {', '.join(spec.get('usages') or []) or 'none'}; expected those of a server"
    try:
        wanted = request(base64.b64decode(spec.get("request") or "", validate=True).decode("ascii", "replace"))
    except (CertificateError, binascii.Error) as error:
        yield f"what it asks for cannot be read: {error}"
        return
    yield from _subject(wanted, user)
    yield from _names(wanted, name, nodes)
    strange = [one for one in (*wanted.dns_names, *wanted.addresses) if _of_no_node(_plain(one), taken)]
    if strange:
        yield f"it asks for {listed(strange)}, which lead to the API server, a Service or no machine; expected a node's"


def _of_no_node(name: str, taken: set[str]) -> bool:
    if name in taken:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return bool(SERVICES.fullmatch(name))
    return address.is_loopback or address.is_unspecified or address.is_multicast


def _subject(wanted: Request, user: str) -> Iterator[str]:
    if wanted.common_name != user:
        yield f"it is for {wanted.common_name or 'nobody'}, and {user or 'nobody'} asks; expected the same"
    if wanted.organisations != (GROUP,):
        yield f"its organisation is {', '.join(wanted.organisations) or 'none'}; expected {GROUP} alone"
    if wanted.other_names:
        yield f"it asks for a name of the kind {wanted.other_names[0]}; expected names and addresses of a server"
    if not wanted.dns_names and not wanted.addresses:
        yield "it names no address; expected at least one of its node"


def _names(wanted: Request, name: str, nodes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if name not in nodes:
        return
    own = names_of(nodes[name])
    asked = [_plain(one) for one in (*wanted.dns_names, *wanted.addresses)]
    strange = [one for one in asked if one not in own]
    if strange:
        yield f"it asks for {listed(strange)}; expected addresses of {name}, which are {listed(sorted(own))}"
    for other, node in nodes.items():
        shared = sorted(set(asked) & names_of(node) & own) if other != name else []
        if shared:
            yield f"{listed(shared)} is claimed by {other} too; expected an address of {name} alone"


def approved(item: Mapping[str, Any], now: str) -> dict[str, Any]:
    """The request as it is sent to be approved. ``now`` is a time as the API writes it."""
    condition = {"type": "Approved", "status": "True", "reason": REASON, "message": MESSAGE, "lastUpdateTime": now}
    status = item.get("status") or {}
    return {**item, "status": {**status, "conditions": [*(status.get("conditions") or []), condition]}}
