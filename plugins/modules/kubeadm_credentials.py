#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make what nodes need to join a cluster, for this run, and take it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_credentials
short_description: Make what nodes need to join a kubeadm cluster, for one run, and take it back
description:
  - Makes a bootstrap token through the API, and tells it with the hash of the cluster's CA and the address of its API,
    so that no token stands in a command line or on a console.
  - For control planes, uploads the shared certificates, encrypted by a key that is made for it and told. kubeadm's
    Secret of them ends after two hours.
  - The answer holds secrets. Use it in a task with C(no_log).
  - Runs on a control plane.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  state:
    description: V(absent) takes the token back by its O(token_id).
    type: str
    choices: [present, absent]
    default: present
  token_id:
    description: The public half of the token to take back.
    type: str
  ttl_minutes:
    description: After how long the token ends by itself.
    type: int
    default: 30
  certificates:
    description: Whether the shared certificates are uploaded, for control planes that join.
    type: bool
    default: false
  config:
    description:
      - The configuration that C(kubeadm init) was given, as P(gpunode.ready.kubeadm_config#filter) writes it. Needed
        for O(certificates).
    type: str
  kubeconfig:
    description: An administrator's kubeconfig.
    type: path
    default: /etc/kubernetes/admin.conf
  timeout_seconds:
    description: How long kubeadm, and one answer of the API, may take.
    type: int
    default: 120
extends_documentation_fragment: [gpunode.ready.attributes.writes]
attributes:
  diff_mode:
    description: Shows nothing, because what changes is a secret.
    support: none
seealso:
  - module: gpunode.ready.kubeadm_member
"""

EXAMPLES = r"""
- name: Make a token for this run
  gpunode.ready.kubeadm_credentials:
  register: credentials
  no_log: true
  delegate_to: "{{ groups['control_plane'][0] }}"
  run_once: true

- name: Take it back
  gpunode.ready.kubeadm_credentials:
    state: absent
    token_id: "{{ credentials.token_id }}"
  delegate_to: "{{ groups['control_plane'][0] }}"
  run_once: true
"""

RETURN = r"""
token:
  description: The token. A secret.
  returned: when O(state=present) and not in check mode
  type: str
  sample: abcdef.0123456789abcdef
token_id:
  description: Its public half.
  returned: when O(state=present) and not in check mode
  type: str
  sample: abcdef
expires:
  description: When the token ends.
  returned: when O(state=present) and not in check mode
  type: str
  sample: "2026-11-21T17:30:00Z"
certificate_key:
  description: The key of the uploaded certificates. A secret. Empty where none were asked for.
  returned: when O(state=present) and not in check mode
  type: str
  sample: ""
ca_cert_hash:
  description: The hash of the cluster's CA.
  returned: when O(state=present) and not in check mode
  type: str
  sample: sha256:5bb571cd44be73dd5c38e38cb96f1e65659da086fc1075d8a24aef914eb00e1a
api_server_endpoint:
  description: Where the API is.
  returned: when O(state=present) and not in check mode
  type: str
  sample: 192.0.2.10:6443
"""

import secrets
import string
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils import files
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import (
    ApiError,
    Client,
    ClusterError,
    find_endpoint,
)
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.kubeconfig import KubeconfigError
from ansible_collections.gpunode.ready.plugins.module_utils.kubeadm_call import LOG, call
from ansible_collections.gpunode.ready.plugins.module_utils.kubeadm_run import documents, said, with_certificate_key
from ansible_collections.gpunode.ready.plugins.module_utils.x509 import CertificateError, certificates

SECRETS = "/api/v1/namespaces/kube-system/secrets"
LETTERS = string.ascii_lowercase + string.digits
GROUP = "system:bootstrappers:kubeadm:default-node-token"
ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "token_id": {"type": "str", "no_log": False},
    "ttl_minutes": {"type": "int", "default": 30},
    "certificates": {"type": "bool", "default": False},
    "config": {"type": "str"},
    "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
    "timeout_seconds": {"type": "int", "default": 120},
}


def random_text(length: int) -> str:
    return "".join(secrets.choice(LETTERS) for _letter in range(length))


def bootstrap_secret(token_id: str, secret: str, expires: str) -> dict:
    """The Secret that is a bootstrap token."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "description": "made by gpunode.ready for the nodes that join in one run",
            "token-id": token_id,
            "token-secret": secret,
            "expiration": expires,
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": GROUP,
        },
    }


def upload_certificates(module: AnsibleModule) -> str:
    """The key by which the shared certificates can be read from now on."""
    try:
        config = documents(module.params["config"] or "")
    except ValueError as error:
        module.fail_json(msg=f"certificates: {error}")
    key = secrets.token_hex(32)
    done = call(
        lambda path: ["init", "phase", "upload-certs", "--upload-certs", f"--config={path}",
                      "--skip-certificate-key-print"],
        with_certificate_key(config, key),
        module.params["timeout_seconds"],
    )  # fmt: skip
    if done.rc:
        module.fail_json(
            msg="The certificates that control planes share were not uploaded: "
            f"kubeadm ended with {done.rc}. It said:\n{said(done.output, [key])}\nThe whole is in {LOG}."
        )
    return key


def make(module: AnsibleModule, client: Client, where) -> None:
    given = module.params
    authority = (files.read_text(where.ca_file) or "") if where.ca_file else where.ca
    ca_cert_hash = certificates(authority)[0].key_hash
    if module.check_mode:
        module.exit_json(changed=True)
    key = upload_certificates(module) if given["certificates"] else ""
    token_id, secret = random_text(6), random_text(16)
    expires = (datetime.now(timezone.utc) + timedelta(minutes=given["ttl_minutes"])).strftime("%Y-%m-%dT%H:%M:%SZ")
    client.call("POST", SECRETS, bootstrap_secret(token_id, secret, expires))
    module.exit_json(
        changed=True,
        token=f"{token_id}.{secret}",
        token_id=token_id,
        expires=expires,
        certificate_key=key,
        ca_cert_hash=ca_cert_hash,
        api_server_endpoint=urlsplit(where.server).netloc,
    )


def take_back(module: AnsibleModule, client: Client) -> None:
    path = f"{SECRETS}/bootstrap-token-{module.params['token_id']}"
    try:
        if module.check_mode:
            client.get(path)
        else:
            client.call("DELETE", path)
    except ApiError as error:
        if error.status != 404:
            raise
        module.exit_json(changed=False)
    module.exit_json(changed=True)


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_if=[("state", "absent", ["token_id"]), ("certificates", True, ["config"])],
    )
    given = module.params
    try:
        where = find_endpoint(given["kubeconfig"])
        client = Client(where, min(given["timeout_seconds"], 30), given["timeout_seconds"])
        if given["state"] == "present":
            make(module, client, where)
        else:
            take_back(module, client)
    except (ClusterError, KubeconfigError, CertificateError, files.WriteError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
