#!/usr/bin/env bash
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs one scenario, or all of them two at a time, and says how long it took. `make molecule` calls it.
# What runs is the artifact, built and installed with no network as a user would have it, not the checkout.
set -euo pipefail

scenario=${1:-all}
cd "$(dirname "$0")/.."
export MOLECULE_GLOB='molecule/*/molecule.yml'
export ANSIBLE_COLLECTIONS_PATH=$PWD/build/molecule/collections
export PATH=$PWD/.venv/bin:$PATH
GPUNODE_MITOGEN=$(python -c 'import ansible_mitogen, os; print(os.path.dirname(ansible_mitogen.__file__))')/plugins/strategy
export GPUNODE_MITOGEN
rm -rf build/molecule
mkdir -p build/molecule
ansible-galaxy collection build --force --output-path build/molecule >/dev/null
ansible-galaxy collection install --offline --no-deps --collections-path "$ANSIBLE_COLLECTIONS_PATH" \
    build/molecule/gpunode-ready-*.tar.gz >/dev/null

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
    run=(--all --workers "${GPUNODE_LAB_WORKERS:-2}")
else
    run=(--scenario-name "$scenario")
fi
if ! molecule test "${run[@]}" --report 2>&1 | tee build/molecule/said.log; then
    # last, where it is looked for: the report names no test
    sed 's/^.*│ //' build/molecule/said.log | grep -aE '^(E  |FAILED|ERROR) |fatal: \[' | tail -40
    exit 1
fi
echo "Molecule ($scenario): $(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s"
