#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cdi_spec
short_description: Keep NVIDIA's CDI spec true to the node
version_added: 0.1.0
description:
  - Has C(nvidia-ctk cdi generate) describe the GPUs as they are now, in a temporary folder that no runtime reads.
  - Validates the result as container runtimes do, compares it with the spec in place by meaning rather than by bytes,
    and replaces that one whole, only where they differ.
  - Then disables what would contradict it, by renaming it to C(*.gpunode-disabled). These are specs that C(nvidia-ctk)
    wrote and that define the same devices, or that were written for a driver other than the loaded one.
  - A file at the output that cannot be read as a spec is set aside in the same way before the new one is written, for
    nobody knows whose it is.
  - Specs that somebody wrote by hand are never touched. One that would collide in the same folder is named, and
    nothing is done.
  - Where C(nvidia-ctk) fails, the spec in place stays, and the module fails with the words of C(nvidia-ctk).
options:
  state:
    description:
      - V(present) keeps the spec in place and true.
      - V(absent) takes it away, for a node whose driver was removed, and puts back the specs that were set aside for
        it. Only what C(nvidia-ctk) wrote is taken away; what cannot be read as a spec is left, and told.
    type: str
    choices: [present, absent]
    default: present
  output:
    description:
      - The spec. It must lie in one of O(spec_dirs) and end in C(.yaml) or C(.json).
      - The default is where NVIDIA's own refresh service writes, and the place with the highest priority.
    type: path
    default: /var/run/cdi/nvidia.yaml
  spec_dirs:
    description: The folders that runtimes read, lowest priority first.
    type: list
    elements: path
    default: [/etc/cdi, /var/run/cdi]
  mode:
    description: How C(nvidia-ctk) discovers the devices. V(auto) suits all but special cases.
    type: str
    default: auto
  device_name_strategies:
    description: How devices are named. An empty list leaves it to C(nvidia-ctk), which names them by index and by UUID.
    type: list
    elements: str
    choices: [index, uuid, type-index]
    default: []
  driver_root:
    description: The root of the driver's files, where a driver container installed it, such as V(/run/nvidia/driver).
    type: path
  dev_root:
    description: The root under which C(/dev) lies, where it is not O(driver_root).
    type: path
  hook_path:
    description: The C(nvidia-cdi-hook) that the spec names, where it is not in the usual place.
    type: path
  ldconfig_path:
    description: The C(ldconfig) that the spec names.
    type: path
  feature_flags:
    description:
      - Feature flags of C(nvidia-ctk). V(no-additional-gids-for-device-nodes) makes toolkit 1.19 and newer write a spec
        that containerd before 1.7.16, Docker before 26.1, podman before 5.1 and CRI-O before 1.30 can read.
    type: list
    elements: str
    default: []
  disabled_hooks:
    description: Hooks to leave out of the spec.
    type: list
    elements: str
    default: []
  readers:
    description:
      - The runtimes on this node with their versions, such as V({"containerd":"1.7.12"}).
      - A spec of a version that one of them cannot read is warned of.
    type: dict
    default: {}
  nvidia_ctk:
    description: The C(nvidia-ctk) program. Looked for in the usual places where not given.
    type: path
  timeout_seconds:
    description: How long C(nvidia-ctk) may take. A GPU that has fallen off the bus can make it hang.
    type: int
    default: 60
extends_documentation_fragment: [gpunode.ready.attributes.writes]
seealso:
  - module: gpunode.ready.cdi_info
  - name: Support for the Container Device Interface
    description: NVIDIA's own guide.
    link: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/cdi-support.html
author: The gpunode.ready maintainers (@gpunode)
"""

EXAMPLES = r"""
- name: Describe the GPUs to container runtimes
  gpunode.ready.cdi_spec:

- name: Keep the spec readable for the podman of Ubuntu 24.04
  gpunode.ready.cdi_spec:
    feature_flags: [no-additional-gids-for-device-nodes]
    readers: {podman: 4.9.3}

- name: Describe a driver that a driver container brought
  gpunode.ready.cdi_spec:
    driver_root: /run/nvidia/driver
    dev_root: /

- name: Take the spec away with the driver
  gpunode.ready.cdi_spec:
    state: absent
"""

RETURN = r"""
path:
  description: The spec.
  returned: always
  type: str
  sample: /var/run/cdi/nvidia.yaml
command:
  description: The arguments C(nvidia-ctk) was called with, without those that name the temporary folder.
  returned: when O(state=present) and C(nvidia-ctk) is there
  type: list
  elements: str
  sample: [/usr/bin/nvidia-ctk, cdi, generate]
devices:
  description: The devices in the spec.
  returned: when a spec was generated
  type: list
  elements: str
  sample: [nvidia.com/gpu=0, nvidia.com/gpu=all]
written:
  description: The files written, or in check mode those that would be.
  returned: always
  type: list
  elements: str
  sample: [/var/run/cdi/nvidia.yaml]
disabled:
  description: Specs that contradicted it or could not be read, why, where each is kept. In check mode C(to) is null.
  returned: always
  type: list
  elements: dict
  sample:
    - from: /etc/cdi/nvidia.yaml
      to: /etc/cdi/nvidia.yaml.gpunode-disabled
      why: it repeats nvidia.com/gpu=0, nvidia.com/gpu=all
kept:
  description: Specs that were left alone and deserve a look, each with the reason.
  returned: always
  type: list
  elements: dict
  sample:
    - path: /etc/cdi/site.yaml
      why: not nvidia-ctk's, yet it defines nvidia.com/gpu=all too
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils.cdi import (
    EXTENSIONS,
    SPEC_DIRS,
    device_names,
    generate_arguments,
    read_specs,
)
from ansible_collections.gpunode.ready.plugins.module_utils.cdi_generate import (
    MODE,
    GenerateError,
    generate,
    place,
    plan,
    unread_by,
)
from ansible_collections.gpunode.ready.plugins.module_utils.driver_version import loaded_version
from ansible_collections.gpunode.ready.plugins.module_utils.files import (
    WriteError,
    difference,
    move_aside,
    read_text,
    remove,
    replace_text,
)
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host

ASIDE = ".gpunode-disabled"
ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "output": {"type": "path", "default": "/var/run/cdi/nvidia.yaml"},
    "spec_dirs": {"type": "list", "elements": "path", "default": list(SPEC_DIRS)},
    "mode": {"type": "str", "default": "auto"},
    "device_name_strategies": {
        "type": "list",
        "elements": "str",
        "choices": ["index", "uuid", "type-index"],
        "default": [],
    },
    "driver_root": {"type": "path"},
    "dev_root": {"type": "path"},
    "hook_path": {"type": "path"},
    "ldconfig_path": {"type": "path"},
    "feature_flags": {"type": "list", "elements": "str", "default": []},
    "disabled_hooks": {"type": "list", "elements": "str", "default": []},
    "readers": {"type": "dict", "default": {}},
    "nvidia_ctk": {"type": "path"},
    "timeout_seconds": {"type": "int", "default": 60},
}


def absent(module, host, answer):
    """Take away what nvidia-ctk wrote at the output, put back what was set aside for it, and nothing else."""
    output = place(answer["path"])
    specs = [spec for spec in read_specs(host, module.params["spec_dirs"]) if place(spec.path) == output]
    aside = [
        (path, path[: -len(ASIDE)])
        for folder in dict.fromkeys(os.path.realpath(folder) for folder in module.params["spec_dirs"])
        for path in host.glob(f"{folder}/*{ASIDE}")
    ]
    for spec in specs:
        if spec.data is not None and not spec.by_nvidia:
            module.fail_json(
                msg=f"{spec.path} is a CDI spec that nvidia-ctk did not write (kind {spec.kind or 'none'}), so it is"
                " not removed. Remove it by hand if it must go.",
                **answer,
            )
        if spec.data is None:
            why = f"it cannot be read as a spec: {spec.error}"
            answer["kept"].append({"path": spec.path, "why": why})
            module.warn(f"{spec.path} was left alone: {why}.")
            continue
        answer.update(changed=True, diff=[difference(spec.path, spec.text, "")])
        if not module.check_mode:
            remove(spec.path)
    for kept, path in aside:
        if os.path.lexists(path) and (place(path) != output or answer["kept"]):
            continue
        answer.update(changed=True, diff=[*answer["diff"], difference(path, "", read_text(kept))])
        answer["written"].append(path)
        if not module.check_mode:
            os.rename(kept, path)
    module.exit_json(**answer)


def new_specs(module, nvidia_ctk, arguments, answer):
    """What nvidia-ctk says of the node now. None in check mode, where it cannot say yet."""
    with tempfile.TemporaryDirectory(prefix="gpunode-cdi-", dir=module.tmpdir) as folder:
        try:
            return generate(
                nvidia_ctk,
                folder,
                answer["path"],
                arguments,
                timeout_seconds=module.params["timeout_seconds"],
            )
        except GenerateError as error:
            if module.check_mode:  # the driver may be what the real run installs before this task
                module.warn(
                    f"{error} In check mode this is taken as: a spec would be written once the driver is there."
                )
                return None
            there = host_has(answer["path"])
            module.fail_json(
                msg=f"{error} No CDI spec was written; {there}. nvidia-ctk needs the loaded driver and its libraries:"
                " see `nvidia-smi`, then run again.",
                **answer,
            )


def host_has(path):
    return f"{path} stays as it was" if os.path.exists(path) else "there was none before either"


def carry_out(module, todo, specs, answer):
    """First the new spec, then what contradicts it: at no time is there none that can be read."""
    shown = {place(spec.path): spec.text for spec in specs}
    for path, why in todo.aside:
        kept = None if module.check_mode else move_aside(path)
        answer["disabled"].append({"from": path, "to": kept, "why": why})
    for item in todo.write:
        answer["diff"].append(difference(item.path, shown.get(place(item.path), ""), item.text))
        answer["written"].append(item.path)
        if not module.check_mode:
            replace_text(item.path, item.text, mode=MODE)
    for path in todo.mode:
        answer["written"].append(path)
        if not module.check_mode:
            replace_text(path, read_text(path) or "", mode=MODE)
    for path, why in todo.disable:
        answer["diff"].append(difference(path, shown.get(place(path), ""), ""))
        kept = None if module.check_mode else move_aside(path)
        answer["disabled"].append({"from": path, "to": kept, "why": why})


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    host = Host()
    output = module.params["output"]
    answer = {"changed": False, "path": output, "written": [], "disabled": [], "kept": [], "diff": []}
    folders = [os.path.realpath(folder) for folder in module.params["spec_dirs"]]
    if os.path.realpath(os.path.dirname(output)) not in folders or not output.endswith(EXTENSIONS):
        module.fail_json(
            msg=f"output: {output} must end in .yaml or .json and lie in one of"
            f" {', '.join(module.params['spec_dirs'])}, or no runtime reads it.",
            **answer,
        )
    try:
        if module.params["state"] == "absent":
            absent(module, host, answer)

        nvidia_ctk = module.params["nvidia_ctk"] or host.which("nvidia-ctk")
        if not nvidia_ctk or not host.is_executable(nvidia_ctk):
            missing = f"{nvidia_ctk or 'nvidia-ctk'} is not on this node"
            if module.check_mode:
                module.warn(f"{missing}; in check mode it is taken to be installed by then, and a spec to be written.")
                module.exit_json(**{**answer, "changed": not os.path.exists(output)})
            module.fail_json(
                msg=f"{missing}, so there is nothing to write a CDI spec with; {host_has(output)}. It comes with the"
                " package nvidia-container-toolkit-base: role gpunode.ready.nvidia_container_toolkit installs it.",
                **answer,
            )
        arguments = generate_arguments(module.params)
        answer["command"] = [nvidia_ctk, "cdi", "generate", *arguments]
        generated = new_specs(module, nvidia_ctk, arguments, answer)
        if generated is None:
            module.exit_json(**{**answer, "changed": not os.path.exists(output)})
        answer["devices"] = [name for item in generated for name in device_names(item.data)]

        specs = read_specs(host, module.params["spec_dirs"])
        todo = plan(specs, generated, output, loaded_version(host))
        answer["kept"] = [{"path": path, "why": why} for path, why in todo.kept]
        if todo.refusal:
            module.fail_json(msg=f"{todo.refusal} Nothing was changed.", **answer)
        for path, why in todo.kept:
            module.warn(f"{path} was left alone: {why}.")
        for sentence in unread_by(generated, module.params["readers"]):
            module.warn(sentence)
        carry_out(module, todo, specs, answer)
    except WriteError as error:
        module.fail_json(msg=str(error), **answer)
    module.exit_json(**{**answer, "changed": todo.changed})


if __name__ == "__main__":
    main()
