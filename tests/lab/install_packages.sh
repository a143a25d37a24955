#!/usr/bin/env bash
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what packages.txt (or the list given) names and is not there yet. Nothing is asked and nothing is upgraded.
set -euo pipefail

# shellcheck source=/dev/null
system=$(. /etc/os-release && echo "$ID")
missing=()
while read -r package only; do
    case $package in '' | \#*) continue ;; esac
    [[ -z $only || $only == "$system" ]] || continue
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == 'install ok installed' ]] || missing+=("$package")
done <"${1:-$(dirname "$0")/packages.txt}"
[[ ${#missing[@]} -eq 0 ]] && exit 0

command -v apt-get >/dev/null || {
    echo "These Debian packages are needed and this machine has no apt-get: ${missing[*]}" >&2
    exit 1
}
as_root=()
[[ $EUID -eq 0 ]] || as_root=(sudo)
echo "Installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null
