# gpunode.ready: `make help` tells what there is. Everything sets itself up; a second call finds it done.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

ROOT := $(CURDIR)
VENV := $(ROOT)/.venv
BIN := $(VENV)/bin
PYTHON ?= python3
SCENARIO ?= all
export PATH := $(BIN):$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(ROOT)/collections
export MOLECULE_GLOB := molecule/*/molecule.yml
export PYTHONDONTWRITEBYTECODE := 1

STAMP := $(VENV)/.ready-$(shell sha256sum requirements.txt | cut -c1-16)

.PHONY: help setup packages lab warm stages lint unit check api sanity integration molecule faults figures test demo bench docs changelog build galaxy lock clean

help: ## This page
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

packages:
	@bash tests/lab/install_packages.sh

$(STAMP): requirements.txt | packages
	@echo "Setting up .venv (about a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install -qq --no-warn-conflicts --requirement requirements.txt
	@touch $@

setup: $(STAMP) ## System packages and .venv

lab: packages ## What nodes are booted from, made into the cache
	@$(PYTHON) tests/lab/lab.py image >/dev/null

warm: lab ## All that tests have built, made into the cache
	@$(PYTHON) tests/api/control_plane.py >/dev/null

lint: $(STAMP) ## ruff, mypy, yamllint, shellcheck, ansible-lint (production), argument specs
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/yamllint --strict .
	@git ls-files '*.sh' .ci/run | xargs shellcheck
	@$(BIN)/ansible-lint --offline --profile production

unit: $(STAMP) ## The pure cores, captured data, properties: seconds
	@$(BIN)/python -m pytest tests/unit -q -n 2

check: $(STAMP) ## Lint and unit tests, beside each other: under two minutes
	@$(MAKE) --no-print-directory -j2 lint unit

integration: $(STAMP) ## Modules, filters and playbooks through Ansible itself; the report in a browser
	@$(BIN)/python -m pytest tests/integration -q -m "not lab" -n 2 --dist loadfile

api: $(STAMP) ## Everything that speaks to Kubernetes, against a real etcd and kube-apiserver
	@$(BIN)/python -m pytest tests/api -q -n 2 --dist loadfile

sanity: $(STAMP) ## ansible-test sanity on a copy, without an ignore file
	@bash tests/sanity.sh

galaxy: $(STAMP) ## Build, import as Galaxy would, install offline, run; docs and execution environment
	@bash tests/galaxy.sh

molecule: $(STAMP) ## Real guests: check, converge, idempotence, reboot, verify (SCENARIO=crio for one)
	@bash molecule/run.sh $(SCENARIO)

STAGES := check sanity galaxy integration api molecule

test: $(STAMP) ## All of it; what later stages have built is made beside the first ones
	@$(MAKE) --no-print-directory -j2 warm stages

stages:
	@for stage in $(STAGES); do MAKEFLAGS= $(MAKE) --no-print-directory $$stage; done

demo: ## A lab node from bare to ready, through a reboot, with a report
	@$(MAKE) --no-print-directory -j2 setup lab
	@$(BIN)/python tests/lab/demo.py

bench: $(STAMP) ## The figures of docs/performance.md, side by side with their peers
	@$(BIN)/python tests/bench/bench.py

faults: $(STAMP) ## Every case of docs/reliability.md, injected for real; outcomes in build/reliability.json
	@rm -f build/reliability.json
	@failed=0; for tests in "unit -m case" "integration -m 'case and not lab'" "integration/lab -m case" "faults -m case"; do \
	  eval "$(BIN)/python -m pytest -q --record tests/$$tests" || failed=1; done; exit $$failed

figures: ## Keep the figures that make faults and make bench left in build/
	@mkdir -p docs/figures && cp build/reliability.json build/bench.json docs/figures/

docs: $(STAMP) ## Generate docs/diagnosis.md, compatibility.md, reliability.md and performance.md
	@$(BIN)/python docs/generate.py

changelog: $(STAMP) ## Lint the changelog fragments
	@$(BIN)/antsibull-changelog lint

build: $(STAMP) ## The artifact for Galaxy, in build/
	@mkdir -p build && $(BIN)/ansible-galaxy collection build --force --output-path build

lock: ## Make requirements.txt from requirements.in
	@rm -rf build/lock && $(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet --requirement requirements.in
	@{ head -1 requirements.txt; build/lock/bin/pip freeze --exclude pip --exclude setuptools; } > build/requirements.txt
	@mv build/requirements.txt requirements.txt

clean: ## Remove what was built here (the cache outside the checkout stays)
	@rm -rf build .venv
