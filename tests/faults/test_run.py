# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run can suffer: two at once, a controller killed, a node lost in the middle, a host that does not answer."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stage("guest")

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
UNDO = (
    "rm -f /etc/sysctl.d/99-gpunode.conf /etc/modules-load.d/gpunode.conf /var/run/cdi/nvidia.yaml /etc/cdi/nvidia.yaml"
)


def kill_at_task(process: subprocess.Popen[str], number: int) -> str | None:
    """SIGKILL the controller's process group when its n-th task begins; the task's name, None if it ended first."""
    seen = 0
    for line in process.stdout:
        if line.startswith("TASK ["):
            seen += 1
            if seen == number:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return re.match(r"TASK \[(.*?)\]", line).group(1)
    process.wait()
    return None


@pytest.mark.case(25, "the controller is killed (SIGKILL) at a task")
def test_the_next_run_completes_a_killed_one(bench, figure):
    every = int(os.environ.get("GPUNODE_FAULT_STEP", "9"))
    recovered, tried, number = 0, 0, 1
    while True:
        bench.ssh(UNDO)
        name = kill_at_task(bench.start(), number)
        if name is None:
            break
        tried += 1
        completed = bench.play()
        assert completed.rc == 0, f"killed at task {number} ({name}):\n{completed.text}"
        recovered += 1
        number += every

    figure("interruption points tried", tried)
    figure("interruption points recovered", recovered)
    assert tried > 0


@pytest.mark.case(29, "two runs at once")
def test_a_second_run_is_refused_by_name(bench):
    first = bench.start("--tags", "host")
    for line in first.stdout:
        if line.startswith("TASK [gpunode.ready.host_prep"):
            break
    os.killpg(first.pid, signal.SIGSTOP)  # so that it has not ended before the second has begun

    second = bench.play("--tags", "host")

    os.killpg(first.pid, signal.SIGCONT)
    first.communicate()
    assert second.rc != 0
    assert "being changed by" in second.words
    assert first.returncode == 0


@pytest.mark.case(27, "the node reboots in the middle of a run")
def test_a_run_after_a_reboot_in_the_middle_completes(bench):
    bench.ssh(UNDO)
    run = bench.start("--tags", "host,driver,cdi")
    for line in run.stdout:
        if line.startswith("TASK [gpunode.ready.nvidia_driver"):
            break
    bench.node.reboot()
    run.communicate(timeout=600)

    again = bench.play("--tags", "host,driver,cdi")

    assert again.rc == 0, again.text


@pytest.mark.case(30, "one host of two does not answer")
def test_the_others_finish_and_the_exit_status_tells(bench):
    gone = {"ansible_port": 1, "ansible_ssh_common_args": "-o ConnectTimeout=2 -o StrictHostKeyChecking=no"}
    inventory = bench.inventory(hosts={bench.node.name: {}, "gone": gone})

    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", inventory, ROOT / "playbooks/site.yml", "--tags", "host"],
        env=bench.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert re.search(rf"{bench.node.name}\s+: ok=\d+ .*unreachable=0 +failed=0", done.stdout), done.stdout
    assert re.search(r"gone\s+: .*unreachable=1", done.stdout), done.stdout


@pytest.mark.case(33, "each tag alone")
@pytest.mark.parametrize("tag", ["host", "driver", "runtime", "toolkit", "cdi", "verify"])
def test_each_tag_works_alone(bench, tag):
    alone = bench.play("--tags", tag)

    assert alone.rc == 0, alone.text
    assert alone.changed == 0, alone.text


@pytest.mark.case(34, "a wrong become password")
def test_a_wrong_become_password_is_one_line(bench):
    bench.ssh(
        "id gpu >/dev/null 2>&1 || useradd -m -s /bin/bash gpu; echo 'gpu ALL=(ALL) ALL' > /etc/sudoers.d/gpu;"
        "echo gpu:right | chpasswd; install -d -o gpu -g gpu -m 700 /home/gpu/.ssh;"
        "install -o gpu -g gpu -m 600 /root/.ssh/authorized_keys /home/gpu/.ssh/authorized_keys"
    )

    refused = bench.play(ansible_user="gpu", ansible_become_password="wrong")

    bench.ssh("userdel -r gpu; rm -f /etc/sudoers.d/gpu")
    assert refused.rc != 0
    assert "Traceback" not in refused.text
    assert re.search(r"[Ii]ncorrect (sudo|become) password|[Ii]ncorrect .*password", refused.words), refused.text


@pytest.mark.case(45, "umask 0")
def test_the_lock_is_root_s_alone_even_under_umask_0(bench):
    bench.ssh(
        "rm -rf /run/gpunode.ready; echo 'umask 000' > /etc/profile.d/zz-umask.sh; echo 'umask 000' >> /root/.bashrc"
    )
    run = bench.start("--tags", "host")
    for line in run.stdout:
        if line.startswith("TASK [gpunode.ready.host_prep"):
            break

    modes = bench.ssh("stat -c '%a %n' /run/gpunode.ready /run/gpunode.ready/lock.json")

    run.communicate()
    bench.ssh("sed -i '/^umask 000$/d' /root/.bashrc; rm /etc/profile.d/zz-umask.sh")
    assert modes.splitlines() == ["700 /run/gpunode.ready", "600 /run/gpunode.ready/lock.json"]


@pytest.mark.case(26, "ssh is cut while apt installs")
def test_the_next_run_completes_what_a_cut_connection_left(bench):
    bench.ssh(
        "apt-get -qq remove --allow-change-held-packages -y nvidia-container-toolkit nvidia-container-toolkit-base "
        "libnvidia-container-tools libnvidia-container1"
    )
    run = bench.start("--tags", "toolkit")
    at_work = "for turn in $(seq 600); do pgrep -x dpkg >/dev/null && echo found && exit; sleep 0.2; done"
    found = bench.ssh(at_work, timeout=400)
    # by a unit of its own and a moment later, or it would cut itself off
    bench.ssh(
        "systemd-run --quiet --on-active=1s --timer-property=AccuracySec=100ms "
        "systemctl kill --kill-whom=all --signal=KILL 'session-*.scope'"
    )
    cut, _nothing = run.communicate(timeout=900)

    again = bench.play("--tags", "toolkit")

    assert "found" in found, cut
    assert run.returncode != 0, cut
    assert again.rc == 0, again.text
    assert bench.ssh("dpkg --audit; dpkg-query -W -f '${Status}' nvidia-container-toolkit") == "hold ok installed"


SECRET = "xyzzy-0ne-0f-4-kind"


@pytest.mark.case(44, "secrets in variables: -vvv, --diff, the fact cache, the report, the node")
def test_no_secret_is_told_anywhere(bench, figure, tmp_path):
    cache, report = tmp_path / "facts", tmp_path / "report"
    environment = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(cache)}
    bench.ssh("rm -f /etc/sysctl.d/99-gpunode.conf")

    secrets = {
        "ansible_become_password": SECRET,
        "self_repair_state": "disabled",
        "self_repair_variables": {"registry_token": SECRET},
        "my_registry_password": SECRET,
        "gpunode_report_dir": str(report),
    }
    run = bench.play("-vvv", "--diff", "--tags", "host,self_repair", environment=environment, **secrets)
    judged = bench.play("-vvv", "--diff", playbook="verify.yml", environment=environment, **secrets)

    told = {"the console": run.text.count(SECRET) + judged.text.count(SECRET)}
    for place in (cache, report):
        told[place.name] = sum(path.read_text().count(SECRET) for path in place.rglob("*") if path.is_file())
    told["the node"] = int(
        bench.ssh(f"grep -rlsF {SECRET} /etc /var/log /var/lib/gpunode.ready /run /tmp /root | wc -l")
    )
    figure("secret hits", sum(told.values()))
    assert (run.rc, judged.rc) == (0, 0), run.text + judged.text
    assert list(cache.iterdir())
    assert list(report.iterdir())
    assert set(told.values()) == {0}, told
