#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read from a server of k3s what others join by."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_token
short_description: What others join a k3s cluster by, read on one of its servers
description:
  - Reads the tokens that the first server has made. They hold the hash of the cluster's CA, so that who joins by them
    joins no other cluster.
  - A task with this module needs C(no_log).
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options: {}
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.k3s_member
"""

EXAMPLES = r"""
- name: Read what the others join by
  gpunode.ready.k3s_token:
  register: credentials
  no_log: true
  delegate_to: "{{ groups['control_plane'][0] }}"
  run_once: true
"""

RETURN = r"""
server_token:
  description: What servers join by. A secret.
  returned: success
  type: str
  sample: K10...::server:...
agent_token:
  description: What agents join by. A secret, and the same one where the cluster has none of its own for agents.
  returned: success
  type: str
  sample: K10...::server:...
ca_hash:
  description: The hash of the cluster's CA.
  returned: success
  type: str
  sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils import files
from ansible_collections.gpunode.ready.plugins.module_utils.k3s_state import (
    AGENT_TOKEN,
    SERVER_CA,
    SERVER_TOKEN,
    sha256_of,
)

WHOLE = re.compile(r"K10(?P<hash>[0-9a-f]{64})::\S+")


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        server = (files.read_text(SERVER_TOKEN) or "").strip()
        agent = (files.read_text(AGENT_TOKEN) or "").strip() or server
    except files.WriteError as error:
        module.fail_json(msg=str(error))
    if not server:
        module.fail_json(msg=f"{SERVER_TOKEN} is not there: this is no server of k3s, or it has not come up yet.")
    for path, token in ((SERVER_TOKEN, server), (AGENT_TOKEN, agent)):
        if not WHOLE.fullmatch(token):
            module.fail_json(msg=f"{path} holds no token with the hash of the cluster's CA (K10...::...).")
    module.exit_json(changed=False, server_token=server, agent_token=agent, ca_hash=f"sha256:{sha256_of(SERVER_CA)}")


if __name__ == "__main__":
    main()
