#!/usr/bin/env bash
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# On a machine with a real GPU: all that is proved there. Changes nothing on it. Results go to $OUT (build/gpu).
# Without ansible-core on the machine, GPUNODE_WHEELS names a folder that holds its wheels.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
export OUT=${OUT:-$PWD/build/gpu} PYTHONDONTWRITEBYTECODE=1
failed=0

python3 tests/gpu/compare.py "$OUT" || failed=1

if ! python3 -c 'import ansible' 2>/dev/null && [ -n "${GPUNODE_WHEELS:-}" ]; then
  site=$(mktemp -d)
  python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$GPUNODE_WHEELS"/*.whl
  export PYTHONPATH=$site
fi
if python3 -c 'import ansible' 2>/dev/null; then
  PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$PWD/collections python3 tests/gpu/modules.py "$OUT" || failed=1
else
  echo "skipped: the modules through Ansible. Install ansible-core, or name a folder of its wheels in GPUNODE_WHEELS." >&2
fi
if python3 -c 'import pytest, hypothesis' 2>/dev/null; then
  python3 -m pytest -q tests/unit/module_utils/test_nvml.py tests/unit/module_utils/test_pci.py \
    tests/unit/module_utils/test_accelerator.py || failed=1
else
  echo "skipped: the unit tests. Install pytest and hypothesis." >&2
fi
exit $failed
