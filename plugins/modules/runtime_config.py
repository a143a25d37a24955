#!/usr/bin/python
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change a container runtime's configuration as a whole, prove that it works, or take it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: runtime_config
short_description: Change the configuration of CRI-O, containerd or Docker, and take it back if the runtime refuses it
description:
  - One call renders the files, has the runtime itself validate them in a staging folder (C(crio config),
    C(containerd config dump), C(dockerd --validate)), puts them in place, enables the service, restarts it if anything
    changed, and asks its socket until it is healthy and knows the handlers.
  - Where any of this fails, the old files are put back, the service is restarted with them, and the module fails with
    the runtime's own words.
  - A run that was killed in between leaves a journal in C(/var/lib/gpunode.ready/transactions). The next run takes the
    half-done change back and makes it anew.
  - Nothing of the user's is destroyed. C(daemon.json) is merged, C(config.toml) edited key by key with its comments,
    other people's drop-ins are left alone; a file that is not valid TOML or JSON is not touched at all and named with
    the line. Where the form of C(config.toml) allows no such edit, it is written anew from its values without its
    comments, which is told in RV(conflicts). Every file that is replaced is first copied to
    C(/var/lib/gpunode.ready/backup/<time>/), of which the newest ten are kept.
  - containerd 2.1 and newer merge drop-ins key by key, so there every entry is a file of its own in
    C(/etc/containerd/conf.d), in the configuration version of C(config.toml). Older ones replace a plugin's whole
    section by that of the last file that has it, so there every entry goes into C(/etc/containerd/config.toml) itself.
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
options:
  runtime:
    description: Which runtime this is about.
    type: str
    choices: [crio, containerd, docker]
    required: true
  state:
    description:
      - V(absent) takes back what V(present) did for this O(runtime) under this O(name), by the same transaction. Values
        and files that others changed since stay, and are told. Where the service was not running or enabled before, it
        is not afterwards. Of O(files), only the paths matter then.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - What this part of the configuration is called, so that O(state=absent) knows what to take back. Two callers with
        different files need different names.
    type: str
    default: gpunode
  files:
    description:
      - The files, and what each should say. O(files[].settings) and O(files[].handler) say it once for every runtime
        and version; O(files[].config) adds what the user wants besides, as the installed version spells it.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The absolute path of the file.
        type: path
        required: true
      content:
        description: The whole text of the file. Nothing else may be given with it.
        type: str
      config:
        description: Values, written as TOML, or for C(daemon.json) merged like O(files[].json_merge).
        type: dict
      settings:
        description: What should hold, said neutrally. What the runtime has no notion of is ignored.
        type: dict
        suboptions:
          cgroup_driver:
            description: The cgroup driver of the runtime, and of containerd's C(runc) handler.
            type: str
            choices: [systemd, cgroupfs]
          sandbox_image:
            description: The pause image.
            type: str
          default_handler:
            description: The handler of pods that name none. For CRI-O its table is added where none is configured.
            type: str
          snapshotter:
            description: The snapshotter of containerd.
            type: str
          registry_mirrors:
            description:
              - Mirrors, by registry, that are asked before the registry itself. A mirror with a path is taken to be the
                whole prefix of the API, such as C(https://harbor.example.org/v2/hub) for containerd.
              - For containerd they are C(hosts.toml) files, for CRI-O a file in C(/etc/containers/registries.conf.d).
                Docker knows mirrors of C(docker.io) only. Those of ours that are no longer listed are removed.
            type: dict
          cni_bin_dirs:
            description: Where containerd finds CNI plugins. Before 2.1 it takes one folder, which is the first.
            type: list
            elements: str
          cdi:
            description: Whether the runtime injects CDI devices, where its version has a switch for it.
            type: bool
      handler:
        description:
          - A runtime handler. For CRI-O with the path of conmon, for containerd with the options of the default
            handler, its cgroup driver among them.
        type: dict
        suboptions:
          name:
            description: The name that a RuntimeClass uses.
            type: str
            required: true
          path:
            description: The absolute path of the OCI runtime.
            type: path
            required: true
          default:
            description: Whether it becomes the default handler.
            type: bool
            default: false
          cdi:
            description: As in O(files[].settings.cdi).
            type: bool
      json_merge:
        description: Values that C(daemon.json) must have. One of the user's that differs gives way and is reported.
        type: dict
      json_defaults:
        description:
          - Values that C(daemon.json) gets where it has none, or has what an earlier run set. One of the user's is kept
            and reported.
        type: dict
      mode:
        description: The mode of a file that is ours alone.
        type: str
        default: "0644"
      restart:
        description: Whether the runtime must be restarted for this file.
        type: bool
        default: true
  absent:
    description:
      - Files of ours that should be gone, by path or pattern. Files that are listed in O(files), and files without our
        header, are kept.
    type: list
    elements: path
    default: []
  supersedes:
    description:
      - CRI-O drop-ins that C(nvidia-ctk runtime configure) wrote for the same handler. One that says nothing else is
        removed, after a copy; any other is kept and named.
    type: list
    elements: path
    default: []
  disable:
    description:
      - Files of the runtime's package that should not be in force, such as CRI-O's example network. They are renamed to
        C(<path>.gpunode-disabled). One that no package owns, and that differs from any C(<path>.disabled) beside it, is
        somebody's own and is kept.
    type: list
    elements: path
    default: []
  handlers:
    description: Handlers that the runtime must know afterwards.
    type: list
    elements: str
    default: []
  predict_version:
    description:
      - In check mode, the version to predict for where the runtime is not installed yet. Otherwise the installed one
        decides, and this is ignored.
    type: str
    default: ''
  service:
    description: The systemd service. The default is named like O(runtime).
    type: str
  socket:
    description: The socket to ask. The default is the usual one of O(runtime).
    type: path
  health_timeout_seconds:
    description: How long the service may take to come up, and then to be healthy.
    type: int
    default: 60
extends_documentation_fragment: [gpunode.ready.attributes.writes]
seealso:
  - module: gpunode.ready.runtime_handler_info
  - module: gpunode.ready.cgroup_driver_info
"""

EXAMPLES = r"""
- name: Have containerd use the systemd cgroup driver
  gpunode.ready.runtime_config:
    runtime: containerd
    files:
      - path: /etc/containerd/conf.d/20-gpunode.toml
        settings:
          cgroup_driver: systemd
          sandbox_image: registry.k8s.io/pause:3.10.1

- name: Give CRI-O the nvidia handler
  gpunode.ready.runtime_config:
    runtime: crio
    files:
      - path: /etc/crio/crio.conf.d/99-nvidia.conf
        handler:
          name: nvidia
          path: /usr/bin/nvidia-container-runtime
    handlers: [nvidia]

- name: Take the nvidia handler back, whatever it was written into
  gpunode.ready.runtime_config:
    runtime: crio
    state: absent
    name: nvidia
    files:
      - path: /etc/crio/crio.conf.d/99-nvidia.conf

- name: Rotate Docker's logs unless the user says otherwise
  gpunode.ready.runtime_config:
    runtime: docker
    files:
      - path: /etc/docker/daemon.json
        settings:
          cgroup_driver: systemd
        json_defaults:
          log-driver: json-file
          log-opts:
            max-size: 10m
            max-file: "3"
"""

RETURN = r"""
files:
  description: What was done, or in check mode would be, to each file that was not as it should be.
  returned: always
  type: list
  elements: dict
  sample: [{path: /etc/crio/crio.conf.d/99-nvidia.conf, action: created}]
restarted:
  description: Whether the service was restarted, or started.
  returned: always
  type: bool
  sample: true
reloaded:
  description: Whether the service read its configuration again without a restart. Only Docker does, for a few keys.
  returned: always
  type: bool
  sample: false
enabled:
  description: Whether the service had to be enabled.
  returned: always
  type: bool
  sample: false
recovered:
  description: What was done about an interrupted run, if there was one.
  returned: always
  type: str
  sample: ""
conflicts:
  description: Values of the user's that had to give way, with both values, and a file that lost its comments.
  returned: always
  type: list
  elements: str
  sample:
    - '/etc/docker/daemon.json: exec-opts had ["native.cgroupdriver=cgroupfs"], now ["native.cgroupdriver=systemd"]'
kept:
  description: Values and files of the user's that were kept, against what was asked for.
  returned: always
  type: list
  elements: str
  sample: ['/etc/docker/daemon.json: log-opts.max-size is "100m" and was kept (the role would set "10m")']
overridden:
  description: Values that are in the file as asked for, but that another file has the last word on.
  returned: always
  type: list
  elements: str
  sample:
    - 'crio.runtime.cgroup_manager should be "systemd" but is "cgroupfs", because of /etc/crio/crio.conf.d/50-mine.conf'
handlers:
  description: The handlers that the runtime says it knows; null where it does not tell, and in check mode.
  returned: success
  type: list
  elements: str
  sample: [crun, nvidia, runc]
backup:
  description: The folder that holds the files as they were before; null where none was replaced.
  returned: always
  type: str
  sample: /var/lib/gpunode.ready/backup/20261103T092144Z
rolled_back:
  description: Whether the old files were put back because the runtime refused the new ones.
  returned: failure
  type: bool
  sample: true
words:
  description: What the runtime said.
  returned: failure
  type: str
  sample: 'default_runtime set to "kata", but no runtime entry table [crio.runtime.runtimes.kata] was found'
"""

import glob
import json
import os
import shutil
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpunode.ready.plugins.module_utils import runtime_config as core
from ansible_collections.gpunode.ready.plugins.module_utils.config_transaction import Change, Transaction
from ansible_collections.gpunode.ready.plugins.module_utils.files import WriteError, difference, octal, read_text
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from ansible_collections.gpunode.ready.plugins.module_utils.ownership import FOLDER, STATE, Ledger, slug, tidy
from ansible_collections.gpunode.ready.plugins.module_utils.runtime_health import Health, cri_health, docker_health
from ansible_collections.gpunode.ready.plugins.module_utils.runtime_names import (
    CONTAINERD_DROP_INS,
    CONTAINERD_ROOT,
    CRIO_DROP_INS,
    CRIO_ROOT,
    DAEMON_JSON,
)
from ansible_collections.gpunode.ready.plugins.module_utils.secrecy import hide
from ansible_collections.gpunode.ready.plugins.module_utils.service_unit import POLL_SECONDS, Unit, UnitError, telling
from ansible_collections.gpunode.ready.plugins.module_utils.unit_states import STARTS_AT_BOOT

BINARIES = {"crio": "crio", "containerd": "containerd", "docker": "dockerd"}
NAMES = {"crio": "CRI-O", "containerd": "containerd", "docker": "Docker"}
SOCKETS = {
    "crio": "/var/run/crio/crio.sock",
    "containerd": "/run/containerd/containerd.sock",
    "docker": "/run/docker.sock",
}
DROP_INS = (CRIO_DROP_INS, CONTAINERD_DROP_INS)
OCI_FOLDERS = ("/usr/libexec/crio", "/usr/lib/crio", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
CONMON_FOLDERS = (*OCI_FOLDERS, "/usr/libexec/podman", "/usr/lib/podman")
WORDS_LIMIT = 4000
SETTLES_SECONDS = 5.0
# Where nvidia-ctk of 1.18 and 1.19 wrote drop-ins that nothing reads.
NEVER_READ = {"crio": "/etc/crio/conf.d", "containerd": "/etc/containerd/config.d"}

SETTINGS = {
    "cgroup_driver": {"type": "str", "choices": ["systemd", "cgroupfs"]},
    "sandbox_image": {"type": "str"},
    "default_handler": {"type": "str"},
    "snapshotter": {"type": "str"},
    "registry_mirrors": {"type": "dict"},
    "cni_bin_dirs": {"type": "list", "elements": "str"},
    "cdi": {"type": "bool"},
}
HANDLER = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "default": {"type": "bool", "default": False},
    "cdi": {"type": "bool"},
}
ARGUMENTS = {
    "runtime": {"type": "str", "choices": ["crio", "containerd", "docker"], "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "default": "gpunode"},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str"},
            "config": {"type": "dict"},
            "settings": {"type": "dict", "options": SETTINGS},
            "handler": {"type": "dict", "options": HANDLER},
            "json_merge": {"type": "dict"},
            "json_defaults": {"type": "dict"},
            "mode": {"type": "str", "default": "0644"},
            "restart": {"type": "bool", "default": True},
        },
        "mutually_exclusive": [("content", "config"), ("content", "settings"), ("content", "handler")],
    },
    "absent": {"type": "list", "elements": "path", "default": []},
    "supersedes": {"type": "list", "elements": "path", "default": []},
    "disable": {"type": "list", "elements": "path", "default": []},
    "handlers": {"type": "list", "elements": "str", "default": []},
    "predict_version": {"type": "str", "default": ""},
    "service": {"type": "str"},
    "socket": {"type": "path"},
    "health_timeout_seconds": {"type": "int", "default": 60},
}


class Refused(Exception):
    """The runtime does not want this configuration: why, and its own words."""

    def __init__(self, reason: str, words: str = "") -> None:
        super().__init__(reason)
        self.words = words


class Convergence:
    """One call of the module, from the look at the files to the proof that the runtime is well."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.host = Host()
        self.runtime = module.params["runtime"]
        self.name = NAMES[self.runtime]
        self.unit = Unit(module.params["service"] or self.runtime)
        self.socket = module.params["socket"] or SOCKETS[self.runtime]
        self.timeout = module.params["health_timeout_seconds"]
        self.binary = self.host.which(BINARIES[self.runtime])
        self.version = self._version()
        self.transaction = Transaction(f"runtime_config-{self.runtime}")
        self.ledger = Ledger(f"runtime_config-{self.runtime}-{slug(module.params['name'])}")
        self.memory = f"{STATE}/{self.runtime}-set.json"  # what we set in a file that we share with the user
        self.old = {}  # path -> text as it is now
        self.changes = []  # Change: what is to be written or removed
        self.quiet = set()  # paths of changes that need no restart
        self.moves = []  # (path, aside)
        self.kept = []
        self.foreign = []
        self.plan = core.Plan()
        self.conflicts = []
        self.overridden = []
        self.result = {
            "changed": False,
            "files": [],
            "restarted": False,
            "reloaded": False,
            "enabled": False,
            "recovered": "",
            "conflicts": [],
            "kept": [],
            "overridden": [],
            "handlers": None,
            "backup": None,
        }

    # --- the story, from beginning to end ----------------------------------------------------------------------------

    def converge(self) -> dict:
        recovered = self._recover()
        self._decide()
        state = self._unit_state()
        active = state["ActiveState"] == "active"
        enable = state["UnitFileState"] not in STARTS_AT_BOOT
        differs = bool(self.changes or self.moves)
        self._describe()
        if differs:
            self._validate()
        self._warn()

        if self.module.check_mode:
            self.result.update(changed=differs or enable or not active or recovered, enabled=enable)
            self.result["restarted"] = self._needs_restart() or not active or recovered
            return self.result

        health = Health(False, "it is not running")
        if active and not recovered and not self._needs_restart():
            health = self._wait_until_healthy(min(10.0, self.timeout))
        restart = not health.ok or bool(health.lacks(self.module.params["handlers"]))
        if not (differs or restart or enable):
            self.result["handlers"] = _listed(health)
            return self.result

        self._own(active, not enable)
        started = time.time()
        self.transaction.begin(self.changes, self.moves)
        try:
            self.transaction.place(self.changes, self.moves)
            if enable:
                self.unit.enable()
                self.result["enabled"] = True
            if restart:
                health = self._bring_up(active and not recovered)
        except (WriteError, UnitError, Refused) as error:
            self._take_back(error, active, restart, started)
        self.transaction.end()
        self.result.update(changed=True, backup=self.transaction.backup, handlers=_listed(health))
        return self.result

    def _own(self, active: bool, enabled: bool) -> None:
        """Write down, before it is done, what is ours from now on."""
        for change in self.changes:
            path = os.path.realpath(change.path) if change.shared else change.path
            self.ledger.note(path, text=change.text, mode=change.mode, follow=change.shared)
        moved = {**self.ledger.fact("moved", {}), **{aside: path for path, aside in self.moves}}
        self.ledger.replace(moved=moved or None)
        self.ledger.keep(active=active, enabled=enabled)
        self.ledger.save()

    # --- and the way back --------------------------------------------------------------------------------------------

    def withdraw(self) -> dict:
        """Everything as it was before us, proved by the service that comes up with it."""
        recovered = self._recover()
        self._decide_withdrawal()
        state = self.unit.state()
        active = self.binary is not None and state["ActiveState"] == "active"
        stop = active and self.ledger.fact("active") is False
        disable = self.binary is not None and self.ledger.fact("enabled") is False
        disable = disable and state["UnitFileState"] in ("enabled", "enabled-runtime")
        differs = bool(self.changes or self.moves)
        self._describe()
        if differs and (self.runtime != "containerd" or self._left(CONTAINERD_ROOT) is not None):
            self._validate()
        self._warn()
        restart = active and not stop and self._needs_restart()
        self.result.update(changed=differs or stop or disable or recovered or self.ledger.exists, restarted=restart)
        if self.module.check_mode or not self.result["changed"]:
            return self.result

        started = time.time()
        self.transaction.begin(self.changes, self.moves)
        try:
            self.transaction.place(self.changes, self.moves)
            if stop:
                self.unit.stop()
            elif restart:
                self.unit.restart(self.timeout)
                health = self._wait_until_healthy(min(10.0, self.timeout))
                if not health.ok:
                    self.module.warn(f"{self.unit.name} runs as it was configured before us, where {health.why}.")
            if disable:
                self.unit.disable()
        except (WriteError, UnitError) as error:
            self._take_back(error, active, restart, started)
        self.transaction.end()
        self.ledger.forget()
        if not glob.glob(f"{STATE}/{FOLDER}/runtime_config-{self.runtime}-*.json") and not self.kept:
            self.transaction.discard_backups()
        tidy()
        return self.result

    def _decide_withdrawal(self) -> None:
        known = set()
        for undo in (self.ledger.undo(path) for path in self.ledger.paths):
            known.add(undo.path)
            if undo.path == self.memory or undo.path.startswith(core.CONTAINERD_HOSTS):
                self.quiet.add(undo.path)
            if undo.problem and core.is_ours(undo.before.text):  # its header said so
                self.changes.append(Change(undo.path, None))
            elif undo.problem:
                self.kept.append(undo.problem)
            elif undo.changed:
                self.changes.append(Change(undo.path, undo.after.text, undo.after.mode))
        for path in (entry["path"] for entry in self.module.params["files"]):
            if path not in known and os.path.dirname(path) in DROP_INS and core.is_ours(self._read(path)):
                self.changes.append(Change(path, None))
        for aside, path in self.ledger.fact("moved", {}).items():
            if os.path.lexists(aside) and not os.path.lexists(path):
                self.moves.append((aside, path))

    def _left(self, path: str) -> str | None:
        """The text that a file will have."""
        return next((change.text for change in self.changes if change.path == path), self._read(path))

    def _recover(self) -> bool:
        journal = self.transaction.pending()
        if journal is None:
            return False
        if self.module.check_mode:
            self.result["recovered"] = "an interrupted change would be taken back first"
            return True
        changed_since = self.transaction.take_back()  # the journal stays until this run has proved itself too
        self.result["recovered"] = "an interrupted change was taken back and made anew"
        self.kept += [f"{path}: changed by somebody after the interrupted run, kept so" for path in changed_since]
        return True

    def _bring_up(self, running: bool) -> Health:
        """Make the service read its files, and wait until it is well and knows the handlers."""
        handlers = self.module.params["handlers"]
        if running and self._reload_suffices():
            self.unit.reload()
            health = self._wait_until_healthy(min(5.0, self.timeout), handlers)
            if health.ok and not health.lacks(handlers):
                self.result["reloaded"] = True
                return health
        self.unit.restart(self.timeout)
        self.result["restarted"] = True
        health = self._wait_until_healthy(self.timeout)
        if not health.ok:
            raise Refused(f"{self.unit.name} runs but is not healthy: {health.why}")
        missing = health.lacks(handlers)
        if missing:
            raise Refused(
                f"{self.unit.name} runs but does not know the handler {', '.join(missing)} "
                f"(it knows {', '.join(health.handlers or ()) or 'none'})"
                + (f". {'; '.join(self.overridden)}" if self.overridden else "")
            )
        return health

    def _wait_until_healthy(self, patience: float, handlers: list | None = None) -> Health:
        """Ask until the runtime is well (and, after a reload, knows the handlers), or is dead, or time is up."""
        ask = docker_health if self.runtime == "docker" else cri_health
        ends = time.monotonic() + patience
        settles = time.monotonic() + SETTLES_SECONDS
        while True:
            health = ask(self.socket)
            if health.ok and not health.lacks(handlers or []):
                return health
            if time.monotonic() >= (min(ends, settles) if health.settled else ends):
                return health
            if not health.ok and self.unit.state()["ActiveState"] in ("failed", "inactive"):
                return health
            time.sleep(POLL_SECONDS)

    def _take_back(self, error: Exception, was_active: bool, restart: bool, started: float) -> None:
        """Put everything back as it was, and fail with what the runtime said."""
        words = getattr(error, "words", "") or (self.unit.words(started) if restart else "")
        changed = bool(self.changes or self.moves)
        after = ""
        try:
            kept = self.transaction.take_back()
            self.kept += [f"{path}: changed by somebody in the meantime, kept so" for path in kept]
            if restart and was_active:
                self.unit.restart(self.timeout)
                health = self._wait_until_healthy(self.timeout)
                after = "runs with it and is healthy" if health.ok else f"runs with it but is not healthy: {health.why}"
            elif restart:
                self.unit.stop()
                after = "was not running before and is stopped again"
            self.transaction.end()
        except (WriteError, UnitError) as second:
            after = f"could not be brought back: {second}. The old files are in {self.transaction.backup}"
        if changed:
            told = f"The old configuration is back; {self.unit.name} {after}." if after else "The old files are back."
        else:
            told = f"No file had to be changed, so none was put back; {self.unit.name} {after or 'stays as it is'}."
        self._fail(f"{self.name} refused its configuration: {error}.", told, words, rolled_back=changed)

    def _fail(self, reason: str, told: str, words: str, rolled_back: bool) -> None:
        reason, words = hide(reason), hide(words[-WORDS_LIMIT:])
        said = f"\n{self.name} said:\n{words}" if words else ""
        command = f"journalctl -u {self.unit.name} -n 50"
        answer = {**self.result, "changed": False, "files": [], "kept": self.kept, "overridden": self.overridden}
        self.module.fail_json(
            msg=f"{reason} {told}{said}\nMore: {command}", rolled_back=rolled_back, words=words, **answer
        )

    # --- decide ------------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        params = self.module.params
        if self.binary is None and not self.module.check_mode:
            raise core.ConfigError(
                f"{BINARIES[self.runtime]} is not installed, so there is no {self.name} to configure. "
                f"The role gpunode.ready.{self.runtime} installs it."
            )
        for entry in params["files"]:
            handler = entry["handler"]
            if handler and not self.module.check_mode and not self.host.is_executable(handler["path"]):
                raise core.ConfigError(
                    f"{handler['path']} is no executable file, so the handler {handler['name']} cannot work: "
                    f"{self.name} would drop it or fail every pod that asks for it. Install what brings it first, for "
                    "nvidia the role gpunode.ready.nvidia_container_toolkit."
                )
        decide = {"crio": self._decide_crio, "containerd": self._decide_containerd, "docker": self._decide_docker}
        self.plan = decide[self.runtime]()
        self.conflicts += self.plan.conflicts
        self.kept += self.plan.kept
        try:
            modes = {entry["path"]: octal(entry["mode"]) for entry in params["files"]}
        except ValueError as error:
            raise core.ConfigError(f"files: the mode {error} is not octal, such as 0644.") from None
        quiet = {entry["path"] for entry in params["files"] if not entry["restart"]}
        shared = (CONTAINERD_ROOT, DAEMON_JSON)
        for path, text in self.plan.files.items():
            old = self._read(path)
            if text == old:
                continue
            if path in quiet:
                self.quiet.add(path)
            if text is not None and old is not None and path not in (*shared, self.memory) and not core.is_ours(old):
                self.foreign.append(path)
            self.changes.append(Change(path, text, None if path in shared else modes.get(path, 0o644), path in shared))
        for pattern in [*params["absent"], *self._mirror_patterns()]:
            for path in sorted(glob.glob(pattern)):
                if path in self.plan.files:
                    continue
                if core.is_ours(self._read(path)):
                    self.changes.append(Change(path, None))
                    if path.startswith(core.CONTAINERD_HOSTS):
                        self.quiet.add(path)
                elif path == pattern:
                    self.kept.append(f"{path}: not written by gpunode.ready, kept")
        folder = NEVER_READ.get(self.runtime)
        if folder and any(entry["handler"] for entry in params["files"]):
            self.kept += [
                f"{path}: {self.name} never reads this folder; nvidia-ctk of toolkit 1.18 and 1.19 wrote there by "
                "mistake. The file is without effect and was left; it can be removed"
                for path in sorted(glob.glob(f"{folder}/*.toml"))
            ]
        for path in params["disable"]:
            if not os.path.lexists(path):
                continue
            if self._of_a_package(path):
                self.moves.append((path, f"{path}.gpunode-disabled"))
            else:
                self.kept.append(f"{path}: belongs to no package, so it is somebody's own and was kept in force")

    def _mirrors(self) -> dict | None:
        """The mirrors asked for; None where this call says nothing about them."""
        found = [(entry["settings"] or {}).get("registry_mirrors") for entry in self.module.params["files"]]
        found = [item for item in found if item is not None]
        return {registry: urls for item in found for registry, urls in item.items()} if found else None

    def _mirror_patterns(self) -> list:
        if self._mirrors() is None:
            return []
        patterns = {"crio": core.CRIO_REGISTRIES, "containerd": f"{core.CONTAINERD_HOSTS}/*/hosts.toml"}
        return [patterns[self.runtime]] if self.runtime in patterns else []

    def _supersede(self, trees: list) -> list:
        names = [entry["handler"]["name"] for entry in self.module.params["files"] if entry["handler"]]
        left = []
        for path, tree in trees:
            if path in self.module.params["supersedes"] and any(core.says_only(tree, name) for name in names):
                self.changes.append(Change(path, None))
            else:
                left.append((path, tree))
        return left

    def _decide_crio(self) -> core.Plan:
        mine = {entry["path"] for entry in self.module.params["files"]}
        others = [path for path in self._crio_files() if path not in mine]
        trees = self._supersede([(path, core.read_toml(path, self._read(path) or "")) for path in others])
        effective = core.crio_effective(trees)
        files, wanted = {}, {}
        for entry in self.module.params["files"]:
            path = entry["path"]
            if entry["content"] is not None:
                text = entry["content"]
                files[path] = text if core.is_ours(text) else core.HEADER + text
                continue
            said = core.crio_settings(core.given(entry["settings"]), effective, self._found_binaries())
            handler = core.given(entry["handler"])
            if handler:
                own = self._tree_or_nothing(path)
                present = core.merged(effective, own) if own else effective
                said = core.merged(said, core.crio_handler(handler, present, self._conmon(effective)))
            said = core.merged(said, entry["config"] or {})
            files[path] = core.toml_text(said, core.HEADER)
            effective = core.crio_effective([("", effective), (path, said)])
            if path.startswith(f"{CRIO_DROP_INS}/"):
                trees = sorted([*trees, (path, said)], key=lambda pair: (pair[0] != CRIO_ROOT, pair[0]))
                wanted[path] = said
        files.update(core.mirror_files("crio", self._mirrors() or {}))
        for path, said in wanted.items():
            self.overridden += [item.told() for item in core.overridden(said, trees, path)]
        return core.Plan(files=files)

    def _decide_containerd(self) -> core.Plan:
        root = self._read(CONTAINERD_ROOT)
        effective = None
        pieces, files = [], {}
        for entry in self.module.params["files"]:
            path, handler = entry["path"], core.given(entry["handler"])
            if os.path.dirname(path) != CONTAINERD_DROP_INS:
                files[path] = (
                    core.HEADER + entry["content"]
                    if entry["content"] is not None
                    else core.toml_text(entry["config"] or {}, core.HEADER)
                )
                continue
            config = core.read_toml(path, entry["content"]) if entry["content"] else entry["config"] or {}
            table = core.cri_table(core.given(entry["settings"]), self.version)
            if handler:
                effective = self._dump(CONTAINERD_ROOT) if effective is None else effective
                table = core.merged(table, core.cri_handler(handler, effective, self.version))
            pieces.append(core.Piece(path, table, config, handler.get("name"), bool(handler.get("default"))))
        mirrors = core.mirror_files("containerd", self._mirrors() or {})
        files.update(mirrors)
        self.quiet.update(mirrors)
        if not pieces:
            return core.Plan(files=files)
        stale = [path for path in glob.glob(f"{CONTAINERD_DROP_INS}/*.toml") if core.is_ours(self._read(path))]
        plan = core.plan_containerd(root, pieces, self.version, stale, _object(read_text(self.memory)))
        files.update(self._remembered(plan.memory or {}))
        return core.Plan(files={**plan.files, **files}, conflicts=plan.conflicts, wanted=plan.wanted)

    def _decide_docker(self) -> core.Plan:
        memory = _object(read_text(self.memory))
        files, conflicts, kept = {}, [], []
        text = self._read(DAEMON_JSON)
        for entry in self.module.params["files"]:
            if entry["path"] != DAEMON_JSON:
                files[entry["path"]] = core.HEADER + (entry["content"] or "")
                continue
            current = core.read_json(DAEMON_JSON, text or "")
            must = core.docker_settings(core.given(entry["settings"]), self.version, current)
            others = sorted(set(self._mirrors() or {}) - {"docker.io"})
            if others:
                kept.append(f"Docker can mirror docker.io only: mirrors of {', '.join(others)} have no effect")
            handler, drop = core.given(entry["handler"]), {}
            if handler:
                must = core.merged(must, core.docker_handler(handler))
                must = core.merged(must, core.docker_settings({"cdi": handler.get("cdi")}, self.version, current))
                drop = {} if handler.get("default") else {"default-runtime": handler["name"]}
            if entry["content"] is not None:
                must = core.merged(must, core.read_json(f"content of {DAEMON_JSON}", entry["content"]))
            must = core.merged(core.merged(must, entry["json_merge"] or {}), entry["config"] or {})
            if self._mirrors() == {} and "registry-mirrors" in memory:
                must.setdefault("registry-mirrors", [])  # ours go, the user's stay
            may = core.docker_defaults(current, must, entry["json_defaults"] or {}, memory)
            plan = core.merge_json(DAEMON_JSON, text, must, may, memory, drop)
            text, memory = plan.files[DAEMON_JSON], plan.memory or {}
            conflicts += plan.conflicts
            kept += plan.kept
        if text is not None:
            files[DAEMON_JSON] = text
        files.update(self._remembered(memory))
        return core.Plan(files=files, conflicts=tuple(conflicts), kept=tuple(kept))

    def _remembered(self, memory: dict) -> dict:
        """The file of what we set in a file that we share with the user."""
        self.quiet.add(self.memory)
        if not memory and not os.path.exists(self.memory):
            return {}
        return {self.memory: json.dumps(memory, indent=2, sort_keys=True) + "\n"}

    # --- look --------------------------------------------------------------------------------------------------------

    def _read(self, path: str) -> str | None:
        if path not in self.old:
            self.old[path] = read_text(path)
        return self.old[path]

    def _tree_or_nothing(self, path: str) -> dict:
        """The values of a file of ours that is about to be written anew, which may be broken."""
        try:
            return core.read_toml(path, self._read(path) or "")
        except core.ConfigError:
            return {}

    def _crio_files(self) -> list:
        """As CRI-O reads them: crio.conf, then every file of the folder, whatever it is called, in order."""
        found = [CRIO_ROOT] if os.path.isfile(CRIO_ROOT) else []
        for folder, folders, names in os.walk(CRIO_DROP_INS):
            folders.sort()
            found += [os.path.join(folder, name) for name in names]
        return sorted(found, key=lambda path: (path != CRIO_ROOT, path.split("/")))

    def _found_binaries(self) -> dict:
        found = {}
        for name in ("runc", "crun"):
            path = self._first_executable(OCI_FOLDERS, (name, f"crio-{name}"))
            if path:
                found[name] = path
        conmon = self._first_executable(CONMON_FOLDERS, ("conmon", "crio-conmon"))
        return {**found, "conmon": conmon} if conmon else found

    def _conmon(self, effective: dict) -> str | None:
        runtime = core.at(effective, ("crio", "runtime"), {})
        default = core.at(runtime, ("runtimes", runtime.get("default_runtime") or ""), {})
        tables = [default, *(runtime.get("runtimes") or {}).values()]
        named = [runtime.get("conmon"), *(table.get("monitor_path") for table in tables)]
        for path in named:
            if path and self.host.is_executable(path):
                return path
        found = self._first_executable(CONMON_FOLDERS, ("conmon", "crio-conmon"))
        if found is None and self.module.check_mode:
            return "/usr/libexec/crio/conmon"  # where upstream's package, not yet installed, will put it
        return found

    def _first_executable(self, folders: tuple, names: tuple) -> str | None:
        paths = (f"{folder}/{name}" for folder in folders for name in names)
        return next((path for path in paths if self.host.is_executable(path)), None)

    def _of_a_package(self, path: str) -> bool:
        """Whether a package brought the file, or brought the same one in disabled form beside it."""
        if read_text(path) is not None and read_text(f"{path}.disabled") == read_text(path):
            return True
        for argv in (("dpkg-query", "--search", path), ("rpm", "--query", "--file", path), ("pacman", "-Qoq", path)):
            if self.host.which(argv[0]) and self.host.run(*argv).ok:
                return True
        return False

    def _version(self) -> tuple:
        if self.runtime == "crio":
            return ()
        if self.binary is None:
            return core.version_of(self.module.params["predict_version"])
        return core.version_of(self.host.run(self.binary, "--version").out)

    def _dump(self, path: str) -> dict:
        """The merged configuration as containerd itself says it; of the defaults where there is no file. One that
        containerd cannot read is read by us, for the little that is needed."""
        if self.binary is None:
            return {}
        argv = ("--config", path, "config", "dump") if os.path.exists(path) else ("config", "default")
        done = self.host.run(self.binary, *argv, timeout_seconds=30.0)
        text = done.out if done.ok else self._read(path) or ""
        try:
            return core.read_toml(path, text)
        except core.ConfigError:
            return {}

    def _unit_state(self) -> dict:
        state = self.unit.state()
        if self.module.check_mode:
            return state
        if state["UnitFileState"] == "masked" or state["LoadState"] == "masked":
            raise core.ConfigError(
                f"{self.unit.name} is masked, which somebody did on purpose: systemd refuses to start it. If "
                f"{self.name} should run here: systemctl unmask {self.unit.name}"
            )
        if state["LoadState"] == "not-found":
            raise core.ConfigError(
                f"{self.unit.name} does not exist on this node: its package is not installed, or whole."
            )
        return state

    # --- validate and tell -------------------------------------------------------------------------------------------

    def _needs_restart(self) -> bool:
        return bool(self.moves) or any(change.path not in self.quiet for change in self.changes)

    def _reload_suffices(self) -> bool:
        if self.runtime != "docker" or self.moves:
            return False
        loud = [change for change in self.changes if change.path not in self.quiet]
        if [change.path for change in loud] != [DAEMON_JSON]:
            return False
        before, after = _object(self._read(DAEMON_JSON)), _object(loud[0].text)
        return core.reload_suffices(before, after)

    def _validate(self) -> None:
        """Have the runtime read a staged copy of its files with ours among them."""
        if self.binary is None or not self._needs_restart():
            return
        stage = os.path.join(self.module.tmpdir, "stage")
        shutil.rmtree(stage, ignore_errors=True)
        os.makedirs(stage, mode=0o700)
        texts = {change.path: change.text for change in self.changes}
        argv = {"crio": self._stage_crio, "containerd": self._stage_containerd, "docker": self._stage_docker}[
            self.runtime
        ](stage, texts)
        done = self.host.run(self.binary, *argv, timeout_seconds=30.0)
        unknown = self.runtime == "docker" and "unknown flag: --validate" in done.err
        if done.ok and self.runtime == "containerd":
            effective = core.read_toml("what containerd dumps", done.out)
            self.overridden += [item.told() for item in core.not_in_force(self.plan.wanted, effective)]
        if not done.ok and not unknown:
            words = "\n".join(telling((done.err or done.out).replace(stage, "").strip().splitlines()))
            self._fail(
                f"{self.name} would not start with this configuration (exit status {done.rc} of "
                f"`{os.path.basename(self.binary)} {' '.join(argv)}`).".replace(stage, ""),
                "No file was changed.",
                words,
                rolled_back=False,
            )

    def _stage_crio(self, stage: str, texts: dict) -> tuple:
        folder = os.path.join(stage, CRIO_DROP_INS.lstrip("/"))
        os.makedirs(folder)
        root = os.path.join(stage, CRIO_ROOT.lstrip("/"))
        _write(root, texts.get(CRIO_ROOT, self._read(CRIO_ROOT)) or "")
        for path in {*self._crio_files(), *texts}:
            text = texts.get(path, self._read(path))
            if path.startswith(f"{CRIO_DROP_INS}/") and text is not None:
                target = os.path.join(stage, path.lstrip("/"))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                _write(target, text)
        return ("--config", root, "--config-dir", folder, "config")

    def _stage_containerd(self, stage: str, texts: dict) -> tuple:
        root = os.path.join(stage, CONTAINERD_ROOT.lstrip("/"))
        folder = os.path.join(stage, CONTAINERD_DROP_INS.lstrip("/"))
        os.makedirs(folder)
        text = texts.get(CONTAINERD_ROOT, self._read(CONTAINERD_ROOT)) or ""
        _write(root, text.replace(CONTAINERD_DROP_INS, folder))
        for path in {*glob.glob(f"{CONTAINERD_DROP_INS}/*"), *texts}:
            text = texts.get(path, self._read(path) if os.path.isfile(path) else None)
            if os.path.dirname(path) == CONTAINERD_DROP_INS and text is not None:
                _write(os.path.join(folder, os.path.basename(path)), text)
        return ("--config", root, "config", "dump")

    def _stage_docker(self, stage: str, texts: dict) -> tuple:
        path = os.path.join(stage, "daemon.json")
        _write(path, texts.get(DAEMON_JSON, self._read(DAEMON_JSON)) or "{}")
        return ("--validate", "--config-file", path)

    def _describe(self) -> None:
        """What is done to each file, and in diff mode its text before and after."""
        diffs = []
        for change in self.changes:
            if change.path == self.memory:
                continue
            old = self._read(change.path)
            action = "removed" if change.text is None else "created" if old is None else "changed"
            self.result["files"].append({"path": change.path, "action": action})
            diffs.append(difference(change.path, old, change.text))
        for path, aside in self.moves:
            self.result["files"].append({"path": path, "action": "disabled"})
            diffs.append({"before": f"{path}\n", "after": f"{aside}\n", "before_header": path, "after_header": aside})
        if self.module._diff:
            self.result["diff"] = diffs

    def _warn(self) -> None:
        self.conflicts, self.kept = [hide(told) for told in self.conflicts], [hide(told) for told in self.kept]
        self.overridden = [hide(told) for told in self.overridden]
        self.result.update(conflicts=self.conflicts, kept=self.kept, overridden=self.overridden)
        where = core.BACKUPS
        for path in self.foreign:
            self.module.warn(f"{path} was not written by gpunode.ready; it is replaced, and kept under {where}.")
        for told in self.conflicts:
            self.module.warn(f"{told}. The file as it was is kept under {where}.")
        for told in [*self.kept, *self.overridden]:
            self.module.warn(told)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def _object(text: str | None) -> dict:
    try:
        data = json.loads(text or "{}")
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _listed(health: Health) -> list | None:
    return None if health.handlers is None else list(health.handlers)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    convergence = Convergence(module)
    try:
        result = convergence.withdraw() if module.params["state"] == "absent" else convergence.converge()
    except (core.ConfigError, WriteError, UnitError) as error:
        module.fail_json(msg=hide(str(error)), rolled_back=False, words="", **convergence.result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
