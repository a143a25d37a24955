# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's device plugin, 0.14 to 0.20: what each version knows, what is wrong with a configuration, and its objects.

Rules of this file: data first, then functions from settings to problems and to Kubernetes objects; no I/O. A setting at
its default is left out of what is rendered, so that an old version is never told of what it does not know.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .cluster.manifests import account, binding, config_map, labels_of, merged, privileged_namespace, role
from .machine_yaml import YamlError, loads
from .yaml_text import dumps

OLDEST, NEWEST = (0, 14), (0, 20)
NAME = "gpunode-device-plugin"
CONFIG_LABEL = "nvidia.com/device-plugin.config"
PRESENT_LABEL = "nvidia.com/gpu.present"
PLUGINS = "/var/lib/kubelet/device-plugins"
RESOURCE = re.compile(r"nvidia\.com/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
LONGEST = 63  # characters of a resource's name, as the plugin takes them
KEY = re.compile(r"[-._a-zA-Z0-9]+")  # of a ConfigMap


@dataclass(frozen=True)
class Option:
    """An option of the plugin: its variable, the version that brought it, and the values it takes (none: any)."""

    env: str
    since: tuple[int, int] = OLDEST
    values: tuple[str, ...] = ()
    default: Any = None
    several: bool = False
    later: tuple[tuple[str, tuple[int, int]], ...] = ()  # values that a later version brought


OPTIONS: dict[str, Option] = {
    "mig_strategy": Option("MIG_STRATEGY", values=("none", "single", "mixed"), default="none"),
    "fail_on_init_error": Option("FAIL_ON_INIT_ERROR", default=True),
    "device_list_strategies": Option(
        "DEVICE_LIST_STRATEGY",
        values=("envvar", "volume-mounts", "cdi-annotations", "cdi-cri"),
        default=["envvar"],
        several=True,
        later=(("cdi-cri", (0, 15)),),
    ),
    "device_id_strategy": Option("DEVICE_ID_STRATEGY", values=("uuid", "index"), default="uuid"),
    "discovery_strategy": Option(
        "DEVICE_DISCOVERY_STRATEGY", since=(0, 16), values=("auto", "nvml", "tegra"), default="auto"
    ),
    "pass_device_specs": Option("PASS_DEVICE_SPECS", default=False),
    "driver_root": Option("NVIDIA_DRIVER_ROOT", default=""),
    "cdi_hook_path": Option("NVIDIA_CDI_HOOK_PATH", default=""),
    "cdi_feature_flags": Option("CDI_FEATURE_FLAGS", since=(0, 18), default=[], several=True),
    "gdrcopy": Option("GDRCOPY_ENABLED", since=(0, 18), default=False),
    "gds": Option("GDS_ENABLED", default=False),
    "mofed": Option("MOFED_ENABLED", default=False),
    "allocation_policy": Option(
        "SHARED_DEVICES_ALLOCATION_POLICY", since=(0, 20), values=("distributed", "packed"), default="distributed"
    ),
    "ignored_xids": Option("DP_DISABLE_HEALTHCHECKS", default=[], several=True),
    "watched_xids": Option("DP_ENABLE_HEALTHCHECKS", since=(0, 18), default=[], several=True),
}
# Before 0.16 the variable had another name.
OLDER_ENV = {"cdi_hook_path": ("NVIDIA_CTK_PATH", (0, 16))}

# key of a configuration file → (the version that brought it, the type it must have); of version v1
FLAGS: dict[str, tuple[tuple[int, int], tuple[type, ...]]] = {
    "migStrategy": (OLDEST, (str,)),
    "failOnInitError": (OLDEST, (bool,)),
    "nvidiaDriverRoot": (OLDEST, (str,)),
    "gdsEnabled": (OLDEST, (bool,)),
    "mofedEnabled": (OLDEST, (bool,)),
    "plugin": (OLDEST, (dict,)),
    "gfd": (OLDEST, (dict,)),
    "mpsRoot": ((0, 15), (str,)),
    "useNodeFeatureAPI": ((0, 15), (bool,)),
    "nvidiaDevRoot": ((0, 16), (str,)),
    "deviceDiscoveryStrategy": ((0, 16), (str,)),
    "gdrcopyEnabled": ((0, 18), (bool,)),
}
PLUGIN_FLAGS: dict[str, tuple[tuple[int, int], tuple[type, ...]]] = {
    "passDeviceSpecs": (OLDEST, (bool,)),
    "deviceListStrategy": (OLDEST, (str, list)),
    "deviceIDStrategy": (OLDEST, (str,)),
    "cdiAnnotationPrefix": (OLDEST, (str,)),
    "nvidiaCTKPath": (OLDEST, (str,)),
    "containerDriverRoot": (OLDEST, (str,)),
    "sharedDevicesAllocationPolicy": ((0, 20), (str,)),
}
SHARED = {"renameByDefault": bool, "failRequestsGreaterThanOne": bool, "resources": list}
SHARED_RESOURCE = {"name": str, "replicas": int, "rename": str, "devices": object}
TOP = ("version", "flags", "resources", "sharing", "imex")

DEFAULTS: dict[str, Any] = {
    "version": "0.20.0",
    "image": "nvcr.io/nvidia/k8s-device-plugin",
    "namespace": "kube-system",
    "runtime_class": "nvidia",
    "runtime_handler": "nvidia",
    "priority_class": "system-node-critical",
    "node_selector": {PRESENT_LABEL: "true"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    "image_pull_secrets": [],
    "configs": {},
    "default_config": "",
    **{name: option.default for name, option in OPTIONS.items()},
}


# ---------------------------------------------------------------- versions


def version_of(text: Any) -> tuple[int, int] | None:
    """(0, 20) of ``0.20.0`` or ``v0.20.0``; None where there is no such number."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)(-[\w.]+)?", str(text))
    return (int(found[1]), int(found[2])) if found else None


def spelt(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


# ---------------------------------------------------------------- what is wrong


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with what was given put over them. Raises ``ValueError`` naming every key that is unknown."""
    return merged(given, DEFAULTS)


def problems(given: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with these settings, each with the value found and the value expected."""
    return list(_problems(settings(given)))


def _problems(chosen: Mapping[str, Any]) -> Iterator[str]:
    version = version_of(chosen["version"])
    if version is None:
        yield f"version is `{chosen['version']}`; expected one such as {DEFAULTS['version']}"
        version = NEWEST
    elif not OLDEST <= version <= NEWEST:
        yield f"version is {chosen['version']}; expected {spelt(OLDEST)} to {spelt(NEWEST)}, which are known here"
    for name, option in OPTIONS.items():
        yield from _option_problems(name, option, chosen[name], version)
    lists = chosen["device_list_strategies"]
    if isinstance(lists, list) and chosen["discovery_strategy"] == "tegra":
        cdi = [item for item in lists if str(item).startswith("cdi-")]
        if cdi:
            yield f"device_list_strategies has {cdi[0]} with discovery_strategy tegra; expected one without CDI there"
    yield from _config_problems(chosen, version)


def _option_problems(name: str, option: Option, value: Any, version: tuple[int, int]) -> Iterator[str]:
    if isinstance(option.default, bool):
        if not isinstance(value, bool):
            yield f"{name} is `{value}`; expected true or false"
            return
    elif option.several and not isinstance(value, list):
        yield f"{name} is `{value}`; expected a list"
        return
    elif option.several and not value and option.default:
        yield f"{name} is empty; expected at least one of {', '.join(option.values)}"
        return
    if value == option.default:
        return
    if version < option.since:
        yield f"{name} is set, which the plugin {spelt(version)} does not know; expected {spelt(option.since)} or newer"
    for one in value if option.several else [value]:
        if option.values and one not in option.values:
            yield f"{name} has `{one}`; expected {'some' if option.several else 'one'} of {', '.join(option.values)}"
        since = dict(option.later).get(one) if isinstance(one, str) else None
        if since and version < since:
            yield f"{name} has {one}, which the plugin {spelt(version)} does not know; expected {spelt(since)} or newer"
    if name.endswith("_xids"):
        wrong = [item for item in value if not re.fullmatch(r"\d+", str(item)) and not _word(name, item)]
        if wrong:
            yield f"{name} has `{wrong[0]}`; expected Xid numbers{' or `all`' if name == 'ignored_xids' else ''}"


def _word(name: str, item: Any) -> bool:
    return name == "ignored_xids" and item in ("all", "xids")


def _config_problems(chosen: Mapping[str, Any], version: tuple[int, int]) -> Iterator[str]:
    configs = chosen["configs"]
    if not isinstance(configs, Mapping):
        yield f"configs is {type(configs).__name__}; expected a dictionary of named configurations"
        return
    default = chosen["default_config"]
    if default and default not in configs:
        known = ", ".join(map(str, configs)) or "the names in configs, of which there is none"
        yield f"default_config is `{default}`; expected one of {known}"
    if len(configs) > 1 and not default:
        yield f"default_config is not set, and there are {len(configs)} configs; expected one of {', '.join(configs)}"
    for name, config in configs.items():
        if not KEY.fullmatch(str(name)) or len(str(name)) > LONGEST:
            yield f"configs has the name `{name}`; expected letters, digits, dots, dashes, at most {LONGEST}"
        for problem in config_problems(config, version, chosen["mig_strategy"]):
            yield f"configs.{name}: {problem}"


def config_problems(config: Any, version: tuple[int, int] = NEWEST, mig_strategy: Any = "none") -> list[str]:
    """Everything for which the plugin would not start, or would silently do something else, with this configuration."""
    if isinstance(config, str):
        try:
            config = loads(config)
        except YamlError as error:
            return [f"line {error.line}: {error.problem}"]
    return list(_walk(config, version, mig_strategy))


def _walk(config: Any, version: tuple[int, int], mig_strategy: Any) -> Iterator[str]:
    if not isinstance(config, Mapping):
        yield f"it is {type(config).__name__}; expected a mapping with `version: v1`"
        return
    if config.get("version", "v1") != "v1":
        yield f"version is `{config['version']}`; expected v1"
    for key in config:
        if key not in TOP:
            yield f"`{key}` is unknown; expected one of {', '.join(TOP)}"
    if config.get("resources"):
        yield "`resources` is ignored by the plugin; expected it left out"
    if "imex" in config and version < (0, 17):
        yield f"`imex` is not known to the plugin {spelt(version)}; expected 0.17 or newer"
    flags = config.get("flags")
    if flags is not None:
        yield from _flag_problems("flags", flags, FLAGS, version)
        if isinstance(flags, Mapping):
            mig_strategy = flags.get("migStrategy") or mig_strategy
            if isinstance(flags.get("plugin"), Mapping):
                yield from _flag_problems("flags.plugin", flags["plugin"], PLUGIN_FLAGS, version)
            yield from _values(flags, version)
    yield from _sharing_problems(config.get("sharing"), version, mig_strategy)


def _flag_problems(
    where: str,
    flags: Any,
    known: Mapping[str, tuple[tuple[int, int], tuple[type, ...]]],
    version: tuple[int, int],
) -> Iterator[str]:
    if not isinstance(flags, Mapping):
        yield f"{where} is {type(flags).__name__}; expected a mapping"
        return
    for key, value in flags.items():
        if key not in known:
            yield f"{where}.{key} is unknown; expected one of {', '.join(known)}"
            continue
        since, types = known[key]
        if version < since:
            yield f"{where}.{key} is not known to the plugin {spelt(version)}; expected {spelt(since)} or newer"
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            names = {str: "text", bool: "true or false", list: "a list", dict: "a mapping"}
            yield f"{where}.{key} is `{value}`; expected {' or '.join(names[kind] for kind in types)}"


def _values(flags: Mapping[str, Any], version: tuple[int, int]) -> Iterator[str]:
    given = flags.get("plugin")
    plugin = given if isinstance(given, Mapping) else {}
    pairs = (
        ("flags.migStrategy", flags.get("migStrategy"), "mig_strategy"),
        ("flags.deviceDiscoveryStrategy", flags.get("deviceDiscoveryStrategy"), "discovery_strategy"),
        ("flags.plugin.deviceListStrategy", plugin.get("deviceListStrategy"), "device_list_strategies"),
        ("flags.plugin.deviceIDStrategy", plugin.get("deviceIDStrategy"), "device_id_strategy"),
        (
            "flags.plugin.sharedDevicesAllocationPolicy",
            plugin.get("sharedDevicesAllocationPolicy"),
            "allocation_policy",
        ),
    )
    for where, value, name in pairs:
        option = OPTIONS[name]
        for one in value if isinstance(value, list) else [value]:
            if one is not None and one not in option.values:
                yield f"{where} has `{one}`; expected one of {', '.join(option.values)}"
            since = dict(option.later).get(one) if isinstance(one, str) else None
            if since and version < since:
                yield f"{where} has {one}, not known to the plugin {spelt(version)}; expected {spelt(since)} or newer"


def _sharing_problems(sharing: Any, version: tuple[int, int], mig_strategy: Any) -> Iterator[str]:
    if sharing is None:
        return
    if not isinstance(sharing, Mapping):
        yield f"sharing is {type(sharing).__name__}; expected a mapping with timeSlicing"
        return
    for key in sharing:
        if key not in ("timeSlicing", "mps"):
            yield f"sharing.{key} is unknown; expected timeSlicing"
    if "timeSlicing" in sharing and "mps" in sharing:
        yield "sharing has timeSlicing and mps; expected one of them, since a GPU is shared in one way only"
    if "mps" in sharing:
        yield (
            "sharing.mps needs NVIDIA's MPS control daemon beside the plugin, which is not deployed here; expected "
            "timeSlicing, or the plugin adopted from NVIDIA's Helm chart, which brings the daemon"
        )
    for method in ("timeSlicing", "mps"):
        if method in sharing:
            yield from _shared_problems(f"sharing.{method}", sharing[method], mig_strategy)


def _shared_problems(where: str, shared: Any, mig_strategy: Any) -> Iterator[str]:
    if not isinstance(shared, Mapping):
        yield f"{where} is {'empty' if shared is None else type(shared).__name__}; expected a mapping with resources"
        return
    for key, value in shared.items():
        if key not in SHARED:
            yield f"{where}.{key} is unknown; expected one of {', '.join(SHARED)}"
        elif SHARED[key] is bool and not isinstance(value, bool):
            yield f"{where}.{key} is `{value}`; expected true or false"
    resources = shared.get("resources")
    if not resources:
        yield f'{where}.resources is empty: the plugin stops with "no resources specified"; expected at least one'
        return
    if not isinstance(resources, list):
        yield f"{where}.resources is {type(resources).__name__}; expected a list"
        return
    seen: set[str] = set()
    for number, item in enumerate(resources):
        yield from _resource_problems(f"{where}.resources[{number}]", item, shared, seen, mig_strategy)


def _resource_problems(
    where: str, item: Any, shared: Mapping[str, Any], seen: set[str], mig_strategy: Any
) -> Iterator[str]:
    if not isinstance(item, Mapping):
        yield f"{where} is `{item}`; expected a mapping with name and replicas"
        return
    for key in item:
        if key not in SHARED_RESOURCE:
            yield f"{where}.{key} is unknown; expected one of {', '.join(SHARED_RESOURCE)}"
    name = item.get("name")
    if not isinstance(name, str) or not RESOURCE.fullmatch(name):
        yield f"{where}.name is `{name}`; expected a resource such as nvidia.com/gpu"
    else:
        if name in seen:
            yield f"{where}.name is {name} a second time; expected each resource once"
        seen.add(name)
        longest = len(name) + (len(".shared") if shared.get("renameByDefault") is True else 0)
        if longest > LONGEST:
            yield f"{where}.name has {longest} characters with what is added to it; expected at most {LONGEST}"
        if name.startswith("nvidia.com/mig-") and mig_strategy not in ("mixed", None):
            yield f"{where}.name is {name}, which exists with the MIG strategy mixed alone; found {mig_strategy}"
    replicas = item.get("replicas")
    if replicas is None:
        yield f"{where} has no replicas; expected a number of at least 2"
    elif not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 2:
        yield f"{where}.replicas is `{replicas}`; expected a number of at least 2 (leave sharing out for 1)"
    if item.get("rename"):
        yield f"{where}.rename is ignored by the plugin; expected renameByDefault beside resources"
    if item.get("devices", "all") != "all":
        yield f"{where}.devices is ignored by the plugin, which shares every GPU of the node; expected it left out"


# ---------------------------------------------------------------- what comes of it


def advertised(config: Any, gpus: int) -> dict[str, int]:
    """resource → how many of it a node with ``gpus`` whole GPUs offers under a configuration, MIG aside."""
    if isinstance(config, str):
        config = loads(config)
    sharing = config.get("sharing") if isinstance(config, Mapping) else None
    shared = (sharing or {}).get("timeSlicing") or (sharing or {}).get("mps") or {}
    for item in shared.get("resources") or []:
        if item.get("name") == "nvidia.com/gpu":
            name = "nvidia.com/gpu.shared" if shared.get("renameByDefault") else "nvidia.com/gpu"
            return {name: gpus * item["replicas"]}
    return {"nvidia.com/gpu": gpus}


def expected_devices(
    given: Mapping[str, Any], gpus: Mapping[str, int], chosen: Mapping[str, str] | None = None
) -> dict[str, dict[str, int]]:
    """node → resource → how many, for nodes with so many GPUs, some of which chose a configuration by name."""
    what = settings(given)
    configs = what["configs"]
    default = what["default_config"] or (next(iter(configs)) if len(configs) == 1 else "")
    return {
        node: advertised(configs.get((chosen or {}).get(node) or default) or {}, count) for node, count in gpus.items()
    }


# ---------------------------------------------------------------- objects


def objects(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects, in the order in which they must be made. ``problems`` comes first: this trusts the settings."""
    what = settings(given)
    made: list[dict[str, Any]] = []
    if what["namespace"] != "kube-system":
        made.append(_namespace(what))
    made.extend(runtime_class(what))
    made.append(_account(what))
    if by_node_label(what):
        made.extend(_rights(what))
    if what["configs"]:
        made.append(_configs(what))
    made.append(_daemonset(what))
    return made


def by_node_label(what: Mapping[str, Any]) -> bool:
    """Whether a label of each node chooses among several configurations: that takes NVIDIA's config-manager."""
    return len(what["configs"]) > 1


def runtime_class(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The RuntimeClass, unless the runtime's default handler injects GPUs."""
    what = settings(given)
    if not what["runtime_class"]:
        return []
    return [
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": what["runtime_class"]},
            "handler": what["runtime_handler"],
        }
    ]


def _labels() -> dict[str, str]:
    return labels_of(NAME)


def _metadata(what: Mapping[str, Any], name: str = NAME) -> dict[str, Any]:
    return {"name": name, "namespace": what["namespace"], "labels": _labels()}


def _namespace(what: Mapping[str, Any]) -> dict[str, Any]:
    """The plugin mounts a folder of the node, which Pod Security allows at the level privileged alone."""
    return privileged_namespace(what["namespace"], _labels())


def _account(what: Mapping[str, Any]) -> dict[str, Any]:
    """An account of its own, whose token is mounted nowhere but where config-manager needs it."""
    return account(_metadata(what))


def _rights(what: Mapping[str, Any]) -> list[dict[str, Any]]:
    """config-manager watches the label of its node, and may do nothing else."""
    metadata = {"name": NAME, "labels": _labels()}
    rule = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}
    return [
        role("ClusterRole", metadata, [rule]),
        binding("ClusterRoleBinding", dict(metadata), ("ClusterRole", NAME), (what["namespace"], NAME)),
    ]


def _configs(what: Mapping[str, Any]) -> dict[str, Any]:
    data = {str(name): text_of(config) for name, config in what["configs"].items()}
    return config_map(_metadata(what, f"{NAME}-configs"), data)


def text_of(config: Any) -> str:
    """A configuration as the text of its file: what was written is kept, what is data is written."""
    if isinstance(config, str):
        return config
    return dumps({"version": "v1", **config})


def environment(what: Mapping[str, Any]) -> dict[str, str]:
    """The plugin's variables: those that differ from its defaults, under the names that its version knows."""
    version = version_of(what["version"]) or NEWEST
    found = {}
    for name, option in OPTIONS.items():
        value = what[name]
        if value == option.default:
            continue
        older = OLDER_ENV.get(name)
        env = older[0] if older and version < older[1] else option.env
        if isinstance(value, bool):
            found[env] = str(value).lower()
        else:
            found[env] = ",".join(str(item) for item in value) if option.several else str(value)
    return found


def uses_mig(what: Mapping[str, Any]) -> bool:
    strategies = [what["mig_strategy"]]
    for config in what["configs"].values():
        data = loads(config) if isinstance(config, str) else config
        strategies.append(((data or {}).get("flags") or {}).get("migStrategy"))
    return any(strategy not in (None, "none") for strategy in strategies)


def security(what: Mapping[str, Any]) -> dict[str, Any]:
    """No more than the options need: MIG and volume mounts take SYS_ADMIN, passing device nodes takes all there is."""
    if what["pass_device_specs"]:
        return {"privileged": True, "readOnlyRootFilesystem": True}
    if uses_mig(what) or "volume-mounts" in what["device_list_strategies"]:
        # beside SYS_ADMIN the API refuses allowPrivilegeEscalation: false
        return {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "readOnlyRootFilesystem": True}
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def _daemonset(what: Mapping[str, Any]) -> dict[str, Any]:
    configs = what["configs"]
    digest = hashlib.sha256("\0".join(f"{k}={text_of(v)}" for k, v in sorted(configs.items())).encode()).hexdigest()
    # a configuration that is mounted alone is read at start only: a change has to make new pods
    annotations = {"gpunode.ready/configuration": digest[:16]} if configs and not by_node_label(what) else {}
    pod: dict[str, Any] = {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": by_node_label(what),
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": _containers(what),
        "volumes": _volumes(what),
        "tolerations": list(what["tolerations"]),
    }
    if what["runtime_class"]:
        pod["runtimeClassName"] = what["runtime_class"]
    if what["priority_class"]:
        pod["priorityClassName"] = what["priority_class"]
    if what["node_selector"]:
        pod["nodeSelector"] = dict(what["node_selector"])
    if what["image_pull_secrets"]:
        pod["imagePullSecrets"] = [{"name": name} for name in what["image_pull_secrets"]]
    if by_node_label(what):
        pod["shareProcessNamespace"] = True  # config-manager tells the plugin to read its configuration anew
        pod["initContainers"] = [_config_manager(what, once=True)]
        pod["containers"].append(_config_manager(what, once=False))
    template: dict[str, Any] = {"metadata": {"labels": _labels()}, "spec": pod}
    if annotations:
        template["metadata"]["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": _metadata(what),
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": template,
        },
    }


def image_of(what: Mapping[str, Any]) -> str:
    return f"{what['image']}:v{str(what['version']).lstrip('v')}"


def _containers(what: Mapping[str, Any]) -> list[dict[str, Any]]:
    env = {
        **environment(what),
        **({"CONFIG_FILE": "/config/config.yaml"} if what["configs"] else {}),
        **({"NVIDIA_MIG_MONITOR_DEVICES": "all"} if uses_mig(what) else {}),
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
    }
    if what["driver_root"]:
        older = (version_of(what["version"]) or NEWEST) < (0, 16)
        env["CONTAINER_DRIVER_ROOT" if older else "DRIVER_ROOT_CTR_PATH"] = "/driver-root"
    mounts: list[dict[str, Any]] = [{"name": "device-plugins", "mountPath": PLUGINS}]
    if uses_cdi(what):
        mounts.append({"name": "cdi", "mountPath": "/var/run/cdi"})
    if what["driver_root"]:
        mounts.append({"name": "driver-root", "mountPath": "/driver-root", "readOnly": True})
    if what["configs"]:
        mounts.append({"name": "config", "mountPath": "/config", "readOnly": True})
    return [
        {
            "name": "device-plugin",
            "image": image_of(what),
            "imagePullPolicy": "IfNotPresent",
            "command": ["nvidia-device-plugin"],
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "resources": dict(what["resources"]),
            "securityContext": security(what),
            "volumeMounts": mounts,
        }
    ]


def uses_cdi(what: Mapping[str, Any]) -> bool:
    return any(str(item).startswith("cdi-") for item in what["device_list_strategies"])


def _config_manager(what: Mapping[str, Any], once: bool) -> dict[str, Any]:
    env = {
        "ONESHOT": str(once).lower(),
        "KUBECONFIG": "",
        "NODE_LABEL": CONFIG_LABEL,
        "CONFIG_FILE_SRCDIR": "/available-configs",
        "CONFIG_FILE_DST": "/config/config.yaml",
        "DEFAULT_CONFIG": what["default_config"],
        "FALLBACK_STRATEGIES": "named,single",
        "SEND_SIGNAL": str(not once).lower(),
        "SIGNAL": "" if once else "1",
        "PROCESS_TO_SIGNAL": "" if once else "nvidia-device-plugin",
    }
    node = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}
    return {
        "name": "config-init" if once else "config-manager",
        "image": image_of(what),
        "imagePullPolicy": "IfNotPresent",
        "command": ["config-manager"],
        "env": [node, *({"name": name, "value": value} for name, value in env.items())],
        "resources": dict(what["resources"]),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "available-configs", "mountPath": "/available-configs", "readOnly": True},
            {"name": "config", "mountPath": "/config"},
        ],
    }


def _volumes(what: Mapping[str, Any]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"name": "device-plugins", "hostPath": {"path": PLUGINS, "type": "Directory"}}]
    if uses_cdi(what):
        made.append({"name": "cdi", "hostPath": {"path": "/var/run/cdi", "type": "DirectoryOrCreate"}})
    if what["driver_root"]:
        made.append({"name": "driver-root", "hostPath": {"path": what["driver_root"], "type": "Directory"}})
    configs = what["configs"]
    if by_node_label(what):
        made.append({"name": "available-configs", "configMap": {"name": f"{NAME}-configs"}})
        made.append({"name": "config", "emptyDir": {}})
    elif configs:
        key = what["default_config"] or next(iter(configs))
        items = [{"key": key, "path": "config.yaml"}]
        made.append({"name": "config", "configMap": {"name": f"{NAME}-configs", "items": items}})
    return made


# ---------------------------------------------------------------- labels of nodes


def node_labels(facts: Mapping[str, Any], config: Any = None) -> dict[str, str]:
    """What GPU feature discovery would say of a node, of what NVML says there; empty where NVML says nothing."""
    told = facts.get("nvml")
    nvml = told if isinstance(told, Mapping) else {}
    devices = [item for item in nvml.get("devices") or [] if isinstance(item, Mapping)]
    count = nvml.get("device_count")
    if not isinstance(count, int) or not count or not devices:
        return {}
    first = devices[0]
    shared = advertised(config or {}, 1)
    replicas = next(iter(shared.values()))
    renamed = "nvidia.com/gpu.shared" in shared
    labels: dict[str, Any] = {
        "gpu.present": "true",
        "gpu.count": count,
        "gpu.product": _product(first.get("name")) + ("-SHARED" if replicas > 1 and not renamed else ""),
        "gpu.replicas": replicas,
        "gpu.sharing-strategy": "time-slicing" if replicas > 1 else "none",
        "gpu.family": first.get("architecture"),
        "mig.capable": "true" if (first.get("mig") or {}).get("mode") else "false",
    }
    total = (first.get("memory") or {}).get("total_bytes")
    labels["gpu.memory"] = total // (1 << 20) if isinstance(total, int) else None
    major, _dot, minor = str(first.get("compute_capability") or "").partition(".")
    labels["gpu.compute.major"], labels["gpu.compute.minor"] = major, minor
    driver = str(nvml.get("driver_version") or "")
    numbers = driver.split(".")
    labels["cuda.driver-version.full"] = driver
    for place, part in zip(("major", "minor", "revision"), numbers):
        labels[f"cuda.driver-version.{place}"] = part
    cuda = str(nvml.get("cuda_version") or "")
    labels["cuda.runtime-version.full"] = cuda
    for place, part in zip(("major", "minor"), cuda.split(".")):
        labels[f"cuda.runtime-version.{place}"] = part
    spelled = {f"nvidia.com/{name}": str(value) for name, value in labels.items() if value not in (None, "")}
    return {
        name: value for name, value in spelled.items() if re.fullmatch(r"[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?", value)
    }


def _product(name: Any) -> str:
    return re.sub(r"[^-A-Za-z0-9_.]+", "-", str(name or "")).strip("-")


def has_no_gpu(facts: Mapping[str, Any]) -> bool:
    """Whether somebody looked at the PCI bus of a node and saw no GPU."""
    gpus = facts.get("gpus")
    return isinstance(gpus, Mapping) and gpus.get("devices") == []


def node_objects(labels: Mapping[str, Mapping[str, str] | None]) -> list[dict[str, Any]]:
    """Nodes with nothing but these labels, for an apply that takes only those. No labels at all: ours are taken away;
    None: nothing is known of the node, and it is left alone.
    """
    return [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": dict(own)}}
        for name, own in sorted(labels.items())
        if own is not None
    ]


def foreign(daemonsets: Iterable[Any], namespace: str) -> list[str]:
    """Device plugins in the cluster that are not this one, each with who made it."""
    found = []
    for item in daemonsets:
        if not isinstance(item, Mapping) or item.get("component") not in ("plugin", "dra"):
            continue
        if (item.get("namespace"), item.get("name")) != (namespace, NAME):
            found.append(f"{item.get('namespace')}/{item.get('name')} (by {item.get('managed_by') or 'somebody'})")
    return found
