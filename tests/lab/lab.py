#!/usr/bin/env python3
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab: bare Debian nodes with simulated GPUs, on QEMU, for tests and for `make demo`.

Standard library only; everything it makes lies under ${GPUNODE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/gpunode-ready}.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import LabError
from image import image
from node import Node, nodes
from repository import repository


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "image", help="make the base image and the repositories, unless the cache has them; prints its folder"
    )
    up = commands.add_parser("up", help="boot a node and wait for ssh")
    up.add_argument("name")
    up.add_argument("--memory", type=int, default=2048, metavar="MIB")
    up.add_argument("--from", dest="base", type=Path, metavar="FOLDER", help="another image folder")
    up.add_argument("--devices", metavar="IDS", help="PCI device ids of its GPUs, e.g. 2335,2335; none: no GPU")
    up.add_argument("--hostname", help="the name it calls itself; default: the same")
    for name, text in (
        ("down", "stop a node and remove its disk"),
        ("reboot", "systemctl reboot, and wait for the next boot"),
        ("kill", "cut a node's power; `up` boots the same disk again"),
        ("console", "what a node wrote to its serial console"),
    ):
        commands.add_parser(name, help=text).add_argument("name")
    ssh = commands.add_parser("ssh", help="run a command on a node, or open a shell")
    ssh.add_argument("name")
    ssh.add_argument("words", nargs=argparse.REMAINDER)
    inventory = commands.add_parser("inventory", help="Ansible's inventory of the running nodes, as JSON")
    inventory.add_argument("names", nargs="*")
    commands.add_parser("list", help="the running nodes")
    return parser


def main() -> int:
    options = arguments().parse_args()
    node = Node(options.name) if hasattr(options, "name") else None
    if options.command == "image":
        repository()
        print(image())
    elif options.command == "up":
        node.up(options.memory, options.base, options.devices, options.hostname)
    elif options.command == "down":
        node.down()
    elif options.command == "reboot":
        node.reboot()
    elif options.command == "kill":
        node.cut_power()
    elif options.command == "console":
        sys.stdout.write(node.console)
    elif options.command == "ssh":
        argv = ["ssh", *node.ssh_arguments(), "-p", str(node.state["port"]), "root@127.0.0.1", *options.words]
        os.execvp("ssh", argv)
    elif options.command == "inventory":
        chosen = [Node(name) for name in options.names] or nodes()
        hosts = {each.name: each.inventory() for each in chosen}
        print(json.dumps({"gpu_nodes": {"hosts": list(hosts)}, "_meta": {"hostvars": hosts}}, indent=2))
    elif options.command == "list":
        for each in nodes():
            state = each.state
            print(f"{each.name}\t127.0.0.1:{state['port']}\t{state['memory_mib']} MiB\tpid {state['pid']}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
