#!/usr/bin/env bash
# Install the Debian packages that development and the lab need, and only those that are missing.
set -euo pipefail
here=$(dirname "$0")

mapfile -t wanted < <(sed 's/#.*//' "$here/packages.txt" | tr -s '[:space:]' '\n' | sed '/^$/d')
missing=()
for name in "${wanted[@]}"; do
  dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "These packages are missing, and only root may install them: ${missing[*]}" >&2
  echo "Run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "Installing ${#missing[@]} system packages: ${missing[*]}"
log=$(mktemp)
if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
rm -f "$log"
