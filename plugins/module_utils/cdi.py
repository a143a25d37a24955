# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CDI specs: read, validated as a container runtime's own CDI library does, resolved to devices, compared.

A spec is a promise about *this* boot: these device nodes, these libraries, these hooks. What it promises and the node
does not have is a problem here; how grave that is, the checks decide.

Rules of this file: text and ``Host`` in, plain values out; nothing is written. A spec that cannot be read is a problem
of that spec and hides no other.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .driver_version import loaded_version
from .host import Host
from .machine_yaml import YamlError
from .machine_yaml import loads as load_yaml

# Lowest priority first: of two specs for one device, that in the later folder wins.
SPEC_DIRS = ("/etc/cdi", "/var/run/cdi")
EXTENSIONS = (".json", ".yaml")

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
EARLIEST = "0.3.0"
HOOK_NAMES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
DEVICE_TYPES = ("", "b", "c", "u", "p")

# Spec version -> the first release of each runtime whose CDI library knows it. Only what upstream has stated.
RUNTIME_NEEDS: dict[str, dict[str, str]] = {
    "0.7.0": {"containerd": "1.7.16", "docker": "26.1.0", "podman": "5.1.0", "crio": "1.30.0"},
}
# The first release of each runtime that reads specs at all: an older one is no reader.
CDI_SINCE = {"containerd": "1.7.0", "docker": "25.0.0", "podman": "4.1.0", "crio": "1.23.0"}
# What makes nvidia-ctk write a spec that older runtimes read, by the version it would otherwise write.
OLDER_SPEC_FLAG = {"0.7.0": "no-additional-gids-for-device-nodes"}

NVIDIA_VENDOR = "nvidia.com"
NVIDIA_HOOKS = ("nvidia-ctk", "nvidia-cdi-hook")

# A driver's own libraries carry its version: libcuda.so.580.95.05, but not libEGL.so.1, libnvidia-egl-gbm.so.1.1.2.
_DRIVER_LIBRARY = re.compile(r"/lib(?:cuda|nv|GL|EGL|vdpau)[^/]*\.so\.(\d{3,}\.\d+(?:\.\d+)?)$")
_DRIVER_ARGUMENT = re.compile(r"^--host-driver-version=(\d{3,}\.\d+(?:\.\d+)?)$")
_FIRMWARE = re.compile(r"/firmware/nvidia/(\d{3,}\.\d+(?:\.\d+)?)/")

_FIELDS = {
    "spec": {"cdiVersion", "kind", "annotations", "devices", "containerEdits"},
    "device": {"name", "annotations", "containerEdits"},
    "edits": {"env", "deviceNodes", "mounts", "hooks", "additionalGids", "intelRdt", "netDevices"},
    "node": {"path", "hostPath", "type", "major", "minor", "fileMode", "permissions", "uid", "gid"},
    "mount": {"hostPath", "containerPath", "type", "options"},
    "hook": {"hookName", "path", "args", "env", "timeout"},
    "netDevice": {"hostInterfaceName", "name"},
}


class CdiError(Exception):
    """A spec that cannot be read at all. ``line`` counts from 1 and is None where no line is to blame."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True)
class Reference:
    """Something outside a container that a spec promises: ``what`` is device-node, mount or hook."""

    what: str
    path: str
    device: str | None = None  # None: promised to every device of the spec
    major: int | None = None
    minor: int | None = None


@dataclass(frozen=True)
class SpecFile:
    """A file in a spec folder: its text, and the spec in it or why there is none."""

    path: str
    priority: int
    mode: str | None = None
    owner: int | None = None
    text: str = ""
    data: dict[str, Any] | None = None
    error: str | None = None
    line: int | None = None
    invalid: tuple[str, ...] = field(default=())

    @property
    def usable(self) -> bool:
        """Whether a runtime takes it at all: one fault makes it refuse the whole file."""
        return self.data is not None and not self.invalid

    @property
    def kind(self) -> str:
        return str((self.data or {}).get("kind", ""))

    @property
    def by_nvidia(self) -> bool:
        return self.data is not None and generated_by_nvidia(self.data)

    def line_of(self, text: str) -> int | None:
        """The first line that names ``text``."""
        at = self.text.find(text)
        return None if at < 0 or not text else self.text.count("\n", 0, at) + 1


# ---------------------------------------------------------------- reading


def parse(text: str, name: str = "spec.yaml") -> dict[str, Any]:
    """The spec in ``text``. ``name`` tells JSON from YAML, as its extension does for a runtime. Raises ``CdiError``."""
    try:
        data = json.loads(text) if name.endswith(".json") or text.lstrip()[:1] == "{" else load_yaml(text)
    except json.JSONDecodeError as error:
        raise CdiError(f"not JSON: {error.msg}", error.lineno) from error
    except YamlError as error:
        raise CdiError(f"not YAML: {error.problem}", error.line) from error
    except RecursionError as error:
        raise CdiError("nested too deeply") from error
    if not isinstance(data, dict):
        raise CdiError("no spec in it" if data is None else f"not a spec but a {type(data).__name__}", 1)
    return data


def read_specs(host: Host, spec_dirs: Sequence[str] = SPEC_DIRS) -> list[SpecFile]:
    """Every spec file in the folders, as a runtime finds them: by extension, not below, a folder named twice once."""
    found, seen = [], set()
    for priority, folder in enumerate(spec_dirs):
        real = os.path.realpath(host.path(folder))
        if real in seen:
            continue
        seen.add(real)
        for name in host.list(folder):
            path = f"{folder.rstrip('/')}/{name}"
            if name.endswith(EXTENSIONS) and not host.is_dir(path):
                found.append(read_spec(host, path, priority))
    return found


def read_spec(host: Host, path: str, priority: int = 0) -> SpecFile:
    """One spec file. What is wrong with it stands in it: ``error`` where nothing could be read, else ``invalid``."""
    status = host.stat(path)
    mode, owner = (None, None) if status is None else (f"{stat.S_IMODE(status.st_mode):04o}", status.st_uid)
    try:
        text = host.read(path)
    except OSError as error:
        target = host.readlink(path)
        reason = f"a link to {target}, which does not exist" if target and status is None else str(error.strerror)
        return SpecFile(path, priority, mode, owner, error=reason)
    try:
        data = parse(text, path)
    except CdiError as error:
        return SpecFile(path, priority, mode, owner, text, error=error.message, line=error.line)
    return SpecFile(path, priority, mode, owner, text, data, invalid=tuple(validate(data)))


# ---------------------------------------------------------------- validating


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapped(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _edits(spec: Mapping[str, Any]) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """(device name or None for those of the whole spec, its edits)."""
    yield None, _mapped(spec.get("containerEdits"))
    for device in _listed(spec.get("devices")):
        yield str(_mapped(device).get("name", "")), _mapped(_mapped(device).get("containerEdits"))


def minimum_version(spec: Mapping[str, Any]) -> str:
    """The lowest version of the specification that has every field this spec uses."""
    edits = [mapping for _name, mapping in _edits(spec)]
    devices = [_mapped(device) for device in _listed(spec.get("devices"))]
    rdt = [_mapped(item["intelRdt"]) for item in edits if item.get("intelRdt") is not None]
    nodes = [_mapped(node) for item in edits for node in _listed(item.get("deviceNodes"))]
    mounts = [_mapped(mount) for item in edits for mount in _listed(item.get("mounts"))]
    kind_class = str(spec.get("kind", "")).partition("/")[2]
    if any(item.get("netDevices") for item in edits) or any(
        item.get("schemata") is not None or item.get("enableMonitoring") for item in rdt
    ):
        return "1.1.0"
    if rdt or any(item.get("additionalGids") for item in edits):
        return "0.7.0"
    if spec.get("annotations") or any(device.get("annotations") for device in devices) or "." in kind_class:
        return "0.6.0"
    if any(str(device.get("name", ""))[:1].isdigit() for device in devices) or any(n.get("hostPath") for n in nodes):
        return "0.5.0"
    if any(mount.get("type") for mount in mounts):
        return "0.4.0"
    return EARLIEST


def _name_fault(what: str, name: str, extra: str, first_digit: bool) -> str | None:
    first = "A-Za-z0-9" if first_digit else "A-Za-z"
    if not name:
        return f"the {what} is empty"
    if not re.fullmatch(rf"[{first}]([-A-Za-z0-9_.{extra}]*[A-Za-z0-9])?", name):
        start = "a letter or digit" if first_digit else "a letter"
        allowed = "letters, digits, '_', '-', '.'" + (" and ':'" if extra else "")
        return f"the {what} {name!r} must begin with {start}, end with a letter or digit and hold only {allowed}"
    return None


def _env_faults(where: str, env: Any) -> Iterator[str]:
    if env is not None and not isinstance(env, list):
        yield f"{where}: env is no list"
    for item in _listed(env):
        if not isinstance(item, str) or item.find("=") <= 0:
            yield f"{where}: the environment entry {item!r} is not NAME=value"


def _unknown(where: str, given: Any, known: str) -> Iterator[str]:
    for name in sorted(set(map(str, _mapped(given))) - _FIELDS[known]):
        yield f"{where}: unknown field {name!r}, for which runtimes refuse the whole file"


def _items(where: str, edits: Mapping[str, Any], name: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """(where, item or None for what is no mapping) of a list in the edits."""
    value = edits.get(name)
    if value is not None and not isinstance(value, list):
        yield f"{where}: {name} is no list", None
    for index, item in enumerate(_listed(value)):
        place = f"{where}: {name}[{index}]"
        yield (place, item) if isinstance(item, Mapping) else (f"{place} is no mapping", None)


def _edits_faults(where: str, edits: Any) -> Iterator[str]:
    if edits is None:
        return
    if not isinstance(edits, Mapping):
        yield f"{where}: containerEdits is no mapping"
        return
    yield from _unknown(where, edits, "edits")
    yield from _env_faults(where, edits.get("env"))
    for place, node in _items(where, edits, "deviceNodes"):
        if node is None:
            yield place
            continue
        yield from _unknown(place, node, "node")
        if not node.get("path"):
            yield f"{place}: the device node has no path"
        if node.get("type", "") not in DEVICE_TYPES:
            yield f"{place}: {node.get('path')} has the type {node['type']!r}, not one of b, c, u, p"
        permissions = str(node.get("permissions") or "")
        if permissions != "none" and permissions.strip("rwm"):
            yield f"{place}: {node.get('path')} has the permissions {permissions!r}, which hold more than r, w, m"
    for place, mount in _items(where, edits, "mounts"):
        if mount is None:
            yield place
            continue
        yield from _unknown(place, mount, "mount")
        for name in ("hostPath", "containerPath"):
            if not mount.get(name):
                yield f"{place}: the mount has no {name}"
    for place, hook in _items(where, edits, "hooks"):
        if hook is None:
            yield place
            continue
        yield from _unknown(place, hook, "hook")
        if hook.get("hookName") not in HOOK_NAMES:
            yield f"{place}: unknown hook name {hook.get('hookName')!r} (known: {', '.join(HOOK_NAMES)})"
        if not hook.get("path"):
            yield f"{place}: the hook has no path"
        yield from _env_faults(place, hook.get("env"))
    for place, device in _items(where, edits, "netDevices"):
        if device is None:
            yield place
            continue
        yield from _unknown(place, device, "netDevice")
        for name in ("hostInterfaceName", "name"):
            if not device.get(name):
                yield f"{place}: the network device has no {name}"


def validate(spec: Mapping[str, Any]) -> list[str]:
    """Why a container runtime would refuse the spec; empty where it would not. Never raises."""
    faults: list[str] = list(_unknown("spec", spec, "spec"))
    version = str(spec.get("cdiVersion") or "")
    known = version[1:] if version.startswith("v") else version
    needed = minimum_version(spec)
    if not version:
        faults.append("cdiVersion is missing")
    elif known not in VERSIONS:
        faults.append(f"cdiVersion {version} is unknown (known: {EARLIEST} to {VERSIONS[-1]})")
    elif VERSIONS.index(known) < VERSIONS.index(needed):
        faults.append(f"cdiVersion is {version}, but the spec uses fields of {needed}")

    kind = spec.get("kind")
    vendor, slash, kind_class = str(kind or "").partition("/")
    if not slash:
        faults.append("kind is missing" if not kind else f"kind {kind!r} is not vendor/class, such as nvidia.com/gpu")
    else:
        faults.extend(
            filter(None, (_name_fault("vendor", vendor, "", False), _name_fault("class", kind_class, "", False)))
        )

    faults.extend(_edits_faults("spec", spec.get("containerEdits")))
    devices = spec.get("devices")
    if not isinstance(devices, list) or not devices:
        faults.append("there are no devices in it")
    names: set[str] = set()
    for index, device in enumerate(_listed(devices)):
        if not isinstance(device, Mapping):
            faults.append(f"devices[{index}] is no mapping")
            continue
        name = device.get("name")
        where = f"device {name}"
        fault = _name_fault("device name", str("" if name is None else name), ":", True)
        if fault:
            faults.append(fault)
        elif not isinstance(name, str):
            faults.append(f"the device name {name!r} is no string: write it in quotes")
        known_as = name if isinstance(name, str) else repr(name)
        if known_as in names:
            faults.append(f"two devices are named {name!r}")
        names.add(known_as)
        faults.extend(_unknown(where, device, "device"))
        edits = device.get("containerEdits")
        if not edits:
            faults.append(f"{where} has no containerEdits, so it would inject nothing")
        faults.extend(_edits_faults(where, edits))
    return faults


def refused_by(version: str, runtime: str, runtime_version: str | None) -> str | None:
    """The release of ``runtime`` that first reads specs of ``version``, where the one given is older; else None.

    None also for a runtime from before CDI: it reads no spec, whatever its version.
    """
    if is_before_cdi(runtime, runtime_version):
        return None
    index = VERSIONS.index(version) if version in VERSIONS else -1
    for needs_version, needs in RUNTIME_NEEDS.items():
        first = needs.get(runtime)
        if (
            first
            and runtime_version
            and index >= VERSIONS.index(needs_version)
            and _number(runtime_version) < _number(first)
        ):
            return first
    return None


def is_before_cdi(runtime: str, runtime_version: str | None) -> bool:
    """Whether this release of a runtime knows no CDI yet."""
    return bool(runtime_version) and _number(runtime_version or "") < _number(CDI_SINCE.get(runtime, "0"))


def _number(version: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)


# ---------------------------------------------------------------- what a spec refers to


def references(spec: Mapping[str, Any]) -> list[Reference]:
    """Everything on the host that the spec promises, in its order, each once."""
    found: dict[tuple[str, str, str | None], Reference] = {}
    for device, edits in _edits(spec):
        for node in map(_mapped, _listed(edits.get("deviceNodes"))):
            path = node.get("hostPath") or node.get("path")
            numbers = (node.get("major"), node.get("minor"))
            given = all(isinstance(number, int) for number in numbers)
            if isinstance(path, str) and path:
                entry = Reference("device-node", path, device, *(numbers if given else (None, None)))
                found.setdefault((entry.what, path, device), entry)
        for what, items, key in (("mount", edits.get("mounts"), "hostPath"), ("hook", edits.get("hooks"), "path")):
            for item in map(_mapped, _listed(items)):
                path = item.get(key)
                if isinstance(path, str) and path:
                    found.setdefault((what, path, device), Reference(what, path, device))
    return list(found.values())


def device_names(spec: Mapping[str, Any]) -> list[str]:
    """Qualified names, such as nvidia.com/gpu=0."""
    return [f"{spec.get('kind')}={_mapped(device).get('name')}" for device in _listed(spec.get("devices"))]


def driver_versions(spec: Mapping[str, Any]) -> list[str]:
    """The driver versions that its library names and hooks carry, sorted; more than one is a muddle."""
    versions: set[str] = set()
    for _device, edits in _edits(spec):
        for mount in map(_mapped, _listed(edits.get("mounts"))):
            path = str(mount.get("hostPath") or "")
            found = _DRIVER_LIBRARY.search(path) or _FIRMWARE.search(path)
            versions.update(found.groups() if found else ())
        for hook in map(_mapped, _listed(edits.get("hooks"))):
            for argument in map(str, _listed(hook.get("args"))):
                found = _DRIVER_ARGUMENT.match(argument)
                versions.update(found.groups() if found else ())
    return sorted(versions)


def generated_by_nvidia(spec: Mapping[str, Any]) -> bool:
    """Whether nvidia-ctk wrote it: NVIDIA's own vendor, and nothing but NVIDIA's hooks. A user's own spec is not."""
    if str(spec.get("kind", "")).partition("/")[0] != NVIDIA_VENDOR:
        return False
    hooks = [_mapped(hook) for _name, edits in _edits(spec) for hook in _listed(edits.get("hooks"))]
    env = [str(item) for _name, edits in _edits(spec) for item in _listed(edits.get("env"))]
    paths = [os.path.basename(str(hook.get("path", ""))) for hook in hooks]
    if paths:
        return all(name in NVIDIA_HOOKS for name in paths)
    return any(item.startswith("NVIDIA_VISIBLE_DEVICES=") for item in env)


# ---------------------------------------------------------------- comparing


def canonical(spec: Mapping[str, Any]) -> Any:
    """The spec without what has no meaning: order of keys, of devices, mounts, nodes, env; ``null`` and empty fields.

    Hooks keep their order, for they run in it.
    """

    def tidy(value: Any, name: str = "") -> Any:
        if isinstance(value, Mapping):
            kept = {str(key): tidy(item, str(key)) for key, item in value.items()}
            return {key: kept[key] for key in sorted(kept) if kept[key] not in (None, "", [], {})}
        if isinstance(value, list):
            items = [tidy(item) for item in value]
            if name in ("devices", "deviceNodes", "mounts", "env", "additionalGids", "netDevices"):
                items.sort(key=lambda item: json.dumps(item, sort_keys=True))
            return items
        return value

    return tidy(spec)


def same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two specs inject the same."""
    if one is None or other is None:
        return one is other
    return bool(canonical(one) == canonical(other))


def summary(spec: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a reader wants to compare: devices, versions, and how much is referred to."""
    if spec is None:
        return {}
    refers = references(spec)
    return {
        "cdiVersion": spec.get("cdiVersion"),
        "devices": device_names(spec),
        "driver": ", ".join(driver_versions(spec)) or None,
        "paths": sorted({item.path for item in refers}),
    }


# ---------------------------------------------------------------- judging against the node


def _problem(what: str, spec: SpecFile, subject: str, cause: str, line: int | None = None) -> dict[str, Any]:
    return {
        "problem": what,
        "spec": spec.path,
        "line": line,
        "subject": subject,
        "cause": cause,
        "by_nvidia": spec.by_nvidia,
    }


def _own_problems(spec: SpecFile) -> Iterator[dict[str, Any]]:
    """What is wrong with the file in itself."""
    if spec.error is not None:
        what = "unparsable" if spec.text else "unreadable"
        at = f" (line {spec.line})" if spec.line else ""
        yield _problem(what, spec, spec.path, f"{spec.path} cannot be read{at}: {spec.error}.", spec.line)
        return
    for fault in spec.invalid:
        what = "version" if fault.startswith("cdiVersion") else "invalid"
        where = spec.line_of("cdiVersion") if what == "version" else None
        yield _problem(what, spec, spec.path, f"{spec.path} is no valid CDI spec: {fault}.", where)
    mode = int(spec.mode or "0644", 8)
    if mode & 0o022:
        yield _problem(
            "mode",
            spec,
            spec.path,
            f"{spec.path} has the mode {spec.mode}: others than its owner can write it, and what it says runs as root."
            " Expected 0644.",
        )
    elif mode & 0o444 != 0o444:
        yield _problem(
            "mode",
            spec,
            spec.path,
            f"{spec.path} has the mode {spec.mode}: runtimes and plugins that do not run as root cannot read it."
            " Expected 0644.",
        )


def _dangling(host: Host, spec: SpecFile) -> Iterator[dict[str, Any]]:
    """What it promises and the node does not have."""
    told = set()
    for item in references(spec.data or {}):
        if (item.what, item.path) in told:
            continue
        told.add((item.what, item.path))
        line = spec.line_of(item.path)
        at = f"{spec.path}:{line}" if line else spec.path
        status = host.stat(item.path)
        if item.what == "device-node":
            if status is None:
                cause = f"{at} promises the device node {item.path}, which does not exist."
                yield _problem("dangling-device-node", spec, item.path, cause, line)
            elif not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
                cause = f"{at} promises the device node {item.path}, which exists but is no device."
                yield _problem("dangling-device-node", spec, item.path, cause, line)
            elif item.major is not None:
                now = (os.major(status.st_rdev), os.minor(status.st_rdev))
                if now != (item.major, item.minor):
                    cause = (
                        f"{at} gives {item.path} the numbers {item.major}:{item.minor}; the node has {now[0]}:{now[1]}."
                    )
                    yield _problem("stale-device-node", spec, item.path, cause, line)
        elif status is None:
            what = "library" if ".so" in os.path.basename(item.path) else "file"
            told_as = what if item.what == "mount" else "hook"
            cause = f"{at} refers to the {told_as} {item.path}, which does not exist."
            yield _problem("dangling-hook" if item.what == "hook" else "dangling-library", spec, item.path, cause, line)
        elif item.what == "hook" and not host.is_executable(item.path):
            cause = f"{at} refers to the hook {item.path}, which cannot be executed."
            yield _problem("dangling-hook", spec, item.path, cause, line)


def _stale(spec: SpecFile, driver: str | None) -> Iterator[dict[str, Any]]:
    versions = driver_versions(spec.data or {})
    other = [version for version in versions if version != driver]
    if driver and other:
        line = spec.line_of(other[0])
        at = f"{spec.path}:{line}" if line else spec.path
        yield _problem(
            "stale-driver",
            spec,
            spec.path,
            f"{at} was written for driver {', '.join(other)}; the loaded module is {driver}.",
            line,
        )


def resolve(specs: Iterable[SpecFile]) -> tuple[dict[str, SpecFile], list[dict[str, Any]]]:
    """Which file each device comes from, and what two files contend for, as a runtime settles it.

    In one folder a device named twice is lost to both; between folders the later one wins.
    """
    claims: dict[str, list[SpecFile]] = {}
    for spec in specs:
        for name in device_names(spec.data or {}) if spec.usable else ():
            claims.setdefault(name, []).append(spec)
    devices: dict[str, SpecFile] = {}
    contended: dict[tuple[str, str, str], tuple[SpecFile, SpecFile, list[str]]] = {}
    for name, claimants in claims.items():
        top = max(spec.priority for spec in claimants)
        best = [spec for spec in claimants if spec.priority == top]
        if len(best) == 1:
            devices[name] = best[0]
        for spec in claimants:
            rival = next((other for other in best if other is not spec), None)
            if rival is not None:
                what = "conflict" if spec.priority == top else "shadowed"
                contended.setdefault((what, spec.path, rival.path), (spec, rival, []))[2].append(name)
    problems = []
    for (what, path, rival_path), (spec, rival, names) in contended.items():
        told = ", ".join(names)
        if what == "conflict":
            cause = f"{path} and {rival_path} both define {told}: runtimes then know neither."
        elif same(spec.data, rival.data):
            cause = f"{path} repeats {rival_path}, which hides it: {told}. It is dead weight until it is stale."
        else:
            cause = f"{path} is hidden by {rival_path} and says something else of {told}."
        problems.append(_problem(what, spec, path, cause, spec.line_of("devices")))
    return devices, problems


def inspect(host: Host, spec_dirs: Sequence[str] = SPEC_DIRS) -> dict[str, Any]:
    """Everything ``cdi_info`` returns, from one look at the folders."""
    specs = read_specs(host, spec_dirs)
    driver = loaded_version(host)
    devices, contended = resolve(specs)
    problems: list[dict[str, Any]] = []
    for spec in specs:
        problems.extend(_own_problems(spec))
        if spec.data is not None:
            problems.extend(_dangling(host, spec))
            if spec.by_nvidia:
                problems.extend(_stale(spec, driver))
    problems.extend(contended)
    return {
        "spec_dirs": list(spec_dirs),
        "driver_version": driver,
        "specs": [_spec_fact(spec, devices) for spec in specs],
        "devices": [
            {"name": name, "spec": spec.path, "device_nodes": _nodes_of(spec, name)}
            for name, spec in sorted(devices.items(), key=lambda item: _natural(item[0]))
        ],
        "problems": problems,
    }


def _spec_fact(spec: SpecFile, devices: Mapping[str, SpecFile]) -> dict[str, Any]:
    data = spec.data or {}
    refers = references(data)
    return {
        "path": spec.path,
        "kind": spec.kind or None,
        "version": data.get("cdiVersion"),
        "mode": spec.mode,
        "owner_uid": spec.owner,
        "usable": spec.usable,
        "problem": spec.error or (spec.invalid[0] if spec.invalid else None),
        "line": spec.line,
        "by_nvidia": spec.by_nvidia,
        "driver_versions": driver_versions(data),
        "devices": device_names(data),
        "in_force": [name for name, owner in devices.items() if owner is spec],
        "device_nodes": sorted({item.path for item in refers if item.what == "device-node"}),
        "libraries": len({item.path for item in refers if item.what == "mount"}),
        "hooks": sorted({item.path for item in refers if item.what == "hook"}),
    }


def _nodes_of(spec: SpecFile, qualified: str) -> list[str]:
    name = qualified.partition("=")[2]
    nodes = [item for item in references(spec.data or {}) if item.what == "device-node"]
    return [item.path for item in nodes if item.device == name]


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sorts gpu=2 before gpu=10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]


# ---------------------------------------------------------------- generating


def generate_arguments(options: Mapping[str, Any]) -> list[str]:
    """The arguments of ``nvidia-ctk cdi generate`` for the options of ``cdi_spec``, without the output.

    The one place that knows them: the module runs them and the refresh at boot is rendered from them, so that the two
    cannot differ.
    """
    arguments = []
    if options.get("mode") not in (None, "", "auto"):
        arguments.append(f"--mode={options['mode']}")
    for option, argument in (
        ("driver_root", "--driver-root"),
        ("dev_root", "--dev-root"),
        ("hook_path", "--nvidia-cdi-hook-path"),
        ("ldconfig_path", "--ldconfig-path"),
    ):
        if options.get(option):
            arguments.append(f"{argument}={options[option]}")
    for option, argument in (
        ("device_name_strategies", "--device-name-strategy"),
        ("feature_flags", "--feature-flag"),
        ("disabled_hooks", "--disable-hook"),
    ):
        arguments.extend(f"{argument}={value}" for value in options.get(option) or ())
    return arguments
