#!/usr/bin/env bash
# ansible-test sanity on what is shipped: the artifact, unpacked, because ansible-test wants a real
# .../ansible_collections/NS/NAME and follows no links. No ignore file, no container. Usage: tests/sanity.sh [TEST ...]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(pwd)

copy=build/sanity/ansible_collections/gpunode/ready
rm -rf build/sanity
mkdir -p "$copy"
.venv/bin/ansible-galaxy collection build --force --output-path build/sanity >/dev/null
tar --extract --gzip --file build/sanity/gpunode-ready-*.tar.gz --directory "$copy"
rm "$copy/MANIFEST.json" "$copy/FILES.json" # Galaxy's own, made anew by every build
if compgen -G "tests/sanity/ignore*.txt" >/dev/null; then
  echo "tests/sanity/ignore*.txt: this collection keeps no ignore file; mend what it hides" >&2
  exit 1
fi

# ansible-test downloads get-pip for each of its virtual environments; where that host is out of reach, Python's own
# ensurepip does the same.
for version in 23_1_2 24_2 25_2; do
  seed="$HOME/.ansible/test/cache/get_pip_$version.py"
  [ -e "$seed" ] && continue
  mkdir -p "$(dirname "$seed")"
  cat >"$seed" <<'PY'
"""Stands in for get-pip.py: bootstraps the bundled pip, then installs what was asked for with it."""
import subprocess
import sys

subprocess.run([sys.executable, "-m", "ensurepip", "--upgrade"], check=True)
wanted = [item for item in sys.argv[1:] if item not in ("--no-setuptools", "--no-wheel")]
subprocess.run([sys.executable, "-m", "pip", "install", *wanted], check=True)
PY
done

# pyenv's shims answer for versions that are not selected, and then fail: offer the interpreters themselves.
PATH=$(tr ':' '\n' <<<"$PATH" | grep -v '/shims$' | paste -s -d :)
for folder in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.{9,1[0-9]}.*/bin; do
  [ -d "$folder" ] && PATH="$PATH:$folder"
done
export PATH

cd "$copy"
git -c init.defaultBranch=main init -q . && git add -A  # ansible-test lists the files by git
tests=()
for name in "$@"; do tests+=(--test "$name"); done
# The virtual environments made for it stay in the cache of ansible-test, outside the checkout.
exec "$root/.venv/bin/ansible-test" sanity --color no --requirements "${tests[@]}"
