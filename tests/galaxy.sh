#!/usr/bin/env bash
# What a user gets: the artifact built, checked as Galaxy's importer does, installed with no network, and run;
# the documentation and the execution environment description checked by their own tools.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(pwd)
work=build/galaxy
rm -rf "$work"
mkdir -p "$work"

echo "== build"
ansible-galaxy collection build --force --output-path "$work" >/dev/null
artifact=$(ls "$work"/gpunode-ready-*.tar.gz)
if tar --list --gzip --file "$artifact" | grep -E '^(collections|tests|molecule|\.venv|build)/'; then
  echo "$artifact carries files that are not for users: see build_ignore in galaxy.yml" >&2
  exit 1
fi
echo "   $artifact, $(du -h "$artifact" | cut -f1), $(tar --list --gzip --file "$artifact" | wc -l) files"

echo "== Galaxy's importer"
cat >"$work/importer.cfg" <<'CFG'
[galaxy-importer]
CHECK_REQUIRED_TAGS = False
RUN_ANSIBLE_DOC = True
RUN_ANSIBLE_LINT = True
RUN_ANSIBLE_TEST = False
OFFLINE_ANSIBLE_LINT = True
CFG
# where it stands it leaves its result
(cd "$work" && GALAXY_IMPORTER_CONFIG=importer.cfg python -m galaxy_importer.main "$root/$artifact") \
  >"$work/importer.log" 2>&1 || {
  cat "$work/importer.log" >&2
  exit 1
}
if grep -E '^(ERROR|WARNING):? ' "$work/importer.log"; then
  echo "the importer complains: $work/importer.log" >&2
  exit 1
fi

echo "== antsibull-docs lint"
antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck --validate-collection-refs self . 

echo "== installed offline, gpunode.ready.site runs from it"
ANSIBLE_COLLECTIONS_PATH="$root/$work/installed" ansible-galaxy collection install --offline --no-deps \
  --collections-path "$work/installed" "$artifact" >/dev/null
ANSIBLE_COLLECTIONS_PATH="$root/$work/installed" ansible-galaxy collection verify --offline gpunode.ready >/dev/null
(
  cd "$work" && touch none.cfg
  export ANSIBLE_COLLECTIONS_PATH="$root/$work/installed" ANSIBLE_CONFIG=$PWD/none.cfg
  ansible-playbook -i "$root/inventories/single_node" --list-tasks gpunode.ready.site >site-tasks.txt
  ansible-doc --type module gpunode.ready.node_info >/dev/null
  # An empty inventory must be refused in words by the installed playbook itself.
  if ansible-playbook -i localhost, gpunode.ready.site >refused.txt 2>&1; then
    echo "gpunode.ready.site accepted an inventory without GPU nodes" >&2
    exit 1
  fi
  grep -q 'No GPU node to work on' refused.txt || { cat refused.txt >&2; exit 1; }
)
echo "   $(grep -c 'TAGS:' "$work/site-tasks.txt") tasks and plays listed"

echo "== execution environment"
ansible-builder introspect --sanitize "$work/installed" >"$work/introspect.txt" 2>&1 || { cat "$work/introspect.txt" >&2; exit 1; }
grep -q kubernetes "$work/introspect.txt" || { echo "meta/execution-environment.yml was not read" >&2; cat "$work/introspect.txt" >&2; exit 1; }
