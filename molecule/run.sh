#!/usr/bin/env bash
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs one scenario, or all of them two at a time, and says how long it took. `make molecule` calls it.
set -euo pipefail

scenario=${1:-all}
cd "$(dirname "$0")/.."
export MOLECULE_GLOB='molecule/*/molecule.yml'
export ANSIBLE_COLLECTIONS_PATH=$PWD/collections
export PATH=$PWD/.venv/bin:$PATH
mkdir -p build/molecule
rm -f build/molecule/*.log

began=$SECONDS
if [[ $scenario == all ]]; then
    echo "All scenarios, two nodes at a time; what Ansible says as it goes: build/molecule/<scenario>.log"
    for file in molecule/*/molecule.yml; do
        name=$(basename "$(dirname "$file")")
        : >"build/molecule/$name.log"
        # ends with this script
        tail --pid=$$ -n0 -F "build/molecule/$name.log" 2>/dev/null |
            sed -un "s/.*INFO| \\(PLAY\\|TASK\\) \\[\\(.*\\)\\] \\*.*/  $name: \\2/p" &
    done
    molecule test --all --workers "${GPUNODE_LAB_WORKERS:-2}" --report
else
    molecule test --scenario-name "$scenario" --report
fi
echo "Molecule ($scenario): $(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s"
