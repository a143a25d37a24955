#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: runtime_handler_info
short_description: Find the runtime handlers that a RuntimeClass can name on a node, and why others would not work
version_added: 0.1.0
description:
  - Tells the handlers of the container runtime as its files configure them and as the running runtime knows them, with
    the program that each calls, whether that program (and for CRI-O, conmon) exists, its cgroup driver and where it is
    configured.
  - Tells of each whether pods of a RuntimeClass with this handler would start, and of those that would not, why.
  - Asks the runtime through its socket. Needs neither C(crictl) nor C(docker).
options:
  runtime:
    description:
      - The runtime to look at.
      - Without it, the one that answers, in the order CRI-O, k3s, containerd, Docker.
    type: str
    choices: [crio, containerd, docker, k3s]
  socket:
    description:
      - Ask the CRI at this socket instead, and read no files. For runtimes in unusual places.
      - Excludes O(runtime).
    type: path
  timeout_seconds:
    description: How long the runtime may take to answer. Only used with O(socket).
    type: float
    default: 2
extends_documentation_fragment: [gpunode.ready.attributes]
seealso:
  - module: gpunode.ready.cgroup_driver_info
  - module: gpunode.ready.node_info
author: The gpunode.ready maintainers (@gpunode)
"""

EXAMPLES = r"""
- name: Look at the runtime handlers
  gpunode.ready.runtime_handler_info:
  register: runtime

- name: Stop where no handler gives GPUs to pods
  ansible.builtin.assert:
    that: runtime.gpu_handler is not none
    fail_msg: "No handler of {{ runtime.runtime }} gives GPUs to pods: {{ runtime.handlers | to_json }}"

- name: Look at a runtime in an unusual place
  gpunode.ready.runtime_handler_info:
    socket: /run/k0s/containerd.sock
"""

RETURN = r"""
runtime:
  description: The runtime examined. Null where none is installed, and with O(socket) the name that it tells of itself.
  returned: always
  type: str
  sample: crio
version:
  description: Its version.
  returned: always
  type: str
  sample: 1.36.3
socket:
  description: The socket that was asked.
  returned: always
  type: str
  sample: /var/run/crio/crio.sock
answers:
  description: Whether the runtime answers there.
  returned: always
  type: bool
  sample: true
answer_problem:
  description: Why it does not.
  returned: always
  type: str
  sample: "/var/run/crio/crio.sock: nobody listens on this socket (is the service running?)"
default_handler:
  description: The handler of pods without a RuntimeClass.
  returned: always
  type: str
  sample: crun
usable:
  description: The names that a RuntimeClass can carry as C(handler), now.
  returned: always
  type: list
  elements: str
  sample: [crun, nvidia]
gpu_handler:
  description: The one of them that calls NVIDIA's runtime. Null where none does.
  returned: always
  type: str
  sample: nvidia
handlers:
  description: >-
    Every handler that is configured, by its name; with O(socket), every one that the running runtime knows.
  returned: always
  type: dict
  sample:
    crun:
      type: oci
      path: /usr/libexec/crio/crun
      path_exists: true
      conmon: /usr/libexec/crio/conmon
      conmon_exists: true
      cgroup_driver: systemd
      in_force: true
      configured_in: /etc/crio/crio.conf.d/10-crio.conf
      line: 7
      dropped: null
      root: /run/crun
      gpu: false
      works: true
      why: []
    nvidia:
      type: oci
      path: /usr/bin/nvidia-container-runtime
      path_exists: false
      conmon: null
      conmon_exists: null
      cgroup_driver: systemd
      in_force: false
      configured_in: /etc/crio/crio.conf.d/99-nvidia.toml
      line: 1
      dropped: "invalid runtime_path for runtime 'nvidia': stat /usr/bin/nvidia-container-runtime: no such file or
        directory"
      root: null
      gpu: true
      works: false
      why:
        - "crio drops the handler at its start: invalid runtime_path for runtime 'nvidia': stat
          /usr/bin/nvidia-container-runtime: no such file or directory."
        - The running crio does not know it (/etc/crio/crio.conf.d/99-nvidia.toml is read at its next start).
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.facts.containers import ask_cri, runtimes
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.runtime_handlers import (
    chosen,
    from_answer,
    gpu_handler,
    judged,
)


def at_socket(path: str, timeout_seconds: float) -> tuple[str, dict]:
    """The state of the runtime behind a socket, from nothing but its answers."""
    answer = ask_cri(path, timeout_seconds)
    info = answer.info if isinstance(answer.info, dict) else {}
    containerd = info.get("containerd") if isinstance(info.get("containerd"), dict) else {}
    crio = info.get("crio") if isinstance(info.get("crio"), dict) else {}
    state = {
        "version": answer.version,
        "socket": path,
        "answers": answer.problem is None,
        "answer_problem": answer.problem,
        "default_handler": containerd.get("defaultRuntimeName") or crio.get("DefaultRuntime"),
        "handlers": from_answer(answer.handlers, info),
    }
    return answer.name or "runtime", state


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "runtime": {"type": "str", "choices": ["crio", "containerd", "docker", "k3s"]},
            "socket": {"type": "path"},
            "timeout_seconds": {"type": "float", "default": 2},
        },
        mutually_exclusive=[("runtime", "socket")],
        supports_check_mode=True,
    )
    if module.params["socket"]:
        name, state = at_socket(module.params["socket"], module.params["timeout_seconds"])
    else:
        facts = runtimes(Host())
        name = chosen(facts, module.params["runtime"])
        state = facts.get(name or "", {})

    handlers = judged(name or "", state)
    module.exit_json(
        changed=False,
        runtime=name,
        version=state.get("version"),
        socket=state.get("socket"),
        answers=bool(state.get("answers")),
        answer_problem=state.get("answer_problem"),
        default_handler=state.get("default_handler"),
        usable=sorted(handler for handler, found in handlers.items() if found["works"]),
        gpu_handler=gpu_handler(handlers),
        handlers=handlers,
    )


if __name__ == "__main__":
    main()
