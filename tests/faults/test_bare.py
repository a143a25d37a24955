# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that nobody has touched: what is refused there before the first change, and what check mode foretells.

The tests go in order on one bare node. The last one converges it, for the files after this one.
"""

from __future__ import annotations

import json
import re

import pytest

pytestmark = pytest.mark.stage("guest")

# The firmware's variable as the kernel shows it: four bytes of attributes, then 1 for enabled.
SECURE_BOOT = r"""
mount -t tmpfs tmpfs /sys/firmware && mkdir -p /sys/firmware/efi/efivars
printf '\006\000\000\000\001' > /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
"""
# The kernel's dummy network module, under nouveau's name: the node's kernel has no nouveau.
NOUVEAU = r"""
python3 - <<'END'
import glob, subprocess
path = glob.glob("/lib/modules/*/kernel/drivers/net/dummy.ko*")[0]
data = open(path, "rb").read()
name, new = b"dummy".ljust(56, b"\0"), b"nouveau".ljust(56, b"\0")
assert data.count(name) == 1, data.count(name)
data = data.replace(name, new)
mark = b"~Module signature appended~\n"
if data.endswith(mark):  # a wrong signature is refused, none is not
    length = int.from_bytes(data[-len(mark) - 4 : -len(mark)], "big")
    data = data[: -len(mark) - 12 - length]
open("/root/nouveau.ko", "wb").write(data)
END
insmod /root/nouveau.ko numdummies=0; ls -d /sys/module/nouveau
"""


@pytest.mark.case(33, "the tag of a layer alone, where those below it are missing")
@pytest.mark.parametrize(("tag", "named"), [("cdi", "nvidia_container_toolkit"), ("verify", "")])
def test_a_layer_without_those_below_it_names_what_is_missing(bare, tag, named):
    packages = bare.ssh("sha256sum /var/lib/dpkg/status")

    alone = bare.play("--tags", tag)

    assert alone.rc != 0
    assert "Traceback" not in alone.text
    assert named in alone.text
    assert bare.ssh("sha256sum /var/lib/dpkg/status") == packages


@pytest.mark.case(32, "the whole site with --check --diff on a bare node")
def test_check_mode_on_a_bare_node_succeeds_and_changes_nothing(bare, figure):
    before = bare.tree()

    bare.foretold = bare.play("--check", "--diff")

    figure("changed tasks foretold", bare.foretold.changed)
    assert bare.foretold.rc == 0, bare.foretold.text
    assert bare.foretold.changed > 0
    after = bare.tree()
    figure("differences in the file tree", sum(a != b for a, b in zip(before.splitlines(), after.splitlines())))
    assert after == before


@pytest.mark.case(8, "a GPU host without an NVIDIA function on its PCI bus", simulated="the bus itself")
def test_a_host_without_a_gpu_is_refused_and_gets_no_driver(bare):
    bare.ssh("modprobe -r gpunode_lab_pci")
    packages = bare.ssh("sha256sum /var/lib/dpkg/status")

    refused = bare.play()

    bare.ssh("modprobe gpunode_lab_pci")
    assert refused.rc != 0
    assert "Nothing was changed" in refused.words
    assert "No NVIDIA GPU is on the PCI bus" in refused.words, refused.text
    assert bare.ssh("sha256sum /var/lib/dpkg/status") == packages
    assert "nvidia" not in bare.ssh("dpkg-query -W -f '${Package}\\n'")


@pytest.mark.case(15, "the disk is full before the run")
def test_a_full_disk_is_refused_with_what_is_free_and_what_is_needed(bare):
    bare.ssh("fallocate -l $(($(df --output=avail -k / | tail -1) - 300000))k /filler")

    refused = bare.play()

    bare.ssh("rm /filler")
    assert refused.rc != 0
    assert "Nothing was changed" in refused.words
    assert re.search(r"MiB", refused.text), refused.text


@pytest.mark.case(22, "no repository has the headers of the running kernel", simulated="a pin hides them from apt")
def test_headers_that_cannot_be_had_are_refused_with_their_package(bare):
    bare.ssh(
        r"printf 'Package: linux-headers-*\nPin: release *\nPin-Priority: -1\n' > /etc/apt/preferences.d/no-headers; "
        "test ! -e /lib/modules/$(uname -r)/build || mv /lib/modules/$(uname -r)/build /root/build"
    )

    refused = bare.play()

    bare.ssh(
        "rm /etc/apt/preferences.d/no-headers; test ! -e /root/build || mv /root/build /lib/modules/$(uname -r)/build"
    )
    assert refused.rc != 0
    assert "Nothing was changed" in refused.words
    assert re.search(r"linux-headers-\S+", refused.text), refused.text


@pytest.mark.case(22, "Secure Boot is on", simulated="the firmware's variable is a file in a tmpfs over /sys/firmware")
def test_secure_boot_is_refused_with_the_steps(bare):
    bare.ssh(SECURE_BOOT)

    refused = bare.play()

    bare.ssh("umount /sys/firmware")
    assert refused.rc != 0
    assert "Nothing was changed" in refused.words
    assert "Secure Boot is enabled" in refused.words
    assert "mokutil --import" in refused.words


@pytest.mark.case(
    22, "nouveau holds the GPUs, and reboots are refused", simulated="the kernel's dummy module bears nouveau's name"
)
def test_nouveau_is_refused_where_nothing_may_reboot(bare):
    bare.ssh(NOUVEAU)

    refused = bare.play(gpunode_reboot="refused")

    bare.ssh("rmmod nouveau; rm /root/nouveau.ko")
    assert refused.rc != 0
    assert "Nothing was changed" in refused.words
    assert "blacklist nouveau" in refused.words


@pytest.mark.case(6, "CRI-O and Kubernetes of different minors")
def test_minors_apart_are_refused(bare):
    refused = bare.play(gpunode_runtime="crio", gpunode_kubernetes="kubeadm", crio_version="1.34")

    assert refused.rc != 0
    assert "Nothing was changed" in refused.words
    assert "1.34" in refused.text
    assert "1.36" in refused.text


def changed_tasks(text: str) -> list[str]:
    """The tasks that said `changed`, by name, without what happens on the controller."""
    found, task = [], ""
    for line in text.splitlines():
        if match := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*?)\]", line):
            task = match.group(1)
        elif line.startswith("changed: "):
            found.append(task)
    return found


@pytest.mark.case(32, "what check mode foretold is what the real run does")
def test_the_real_run_does_what_was_foretold(bare, figure):
    real = bare.play("--diff")

    assert real.rc == 0, real.text
    bare.converged = True
    foretold, done = changed_tasks(bare.foretold.text), changed_tasks(real.text)
    figure("changed tasks in the real run", len(done))
    figure("not foretold", json.dumps([name for name in done if name not in foretold]) if done != foretold else "none")
    # The toolkit's package, once it is there, runs a unit of its own that may write the spec before we look.
    foretold = [name for name in foretold if "cdi : spec" not in name or name in done]
    assert [name for name in foretold if name not in done] == [], "foretold, and not done"
    unforetold = [name for name in done if name not in foretold]
    # Which module is built and loaded is known once the packages are there; that the driver comes is foretold.
    assert [name for name in unforetold if "nvidia_driver : " not in name] == [], unforetold
