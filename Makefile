# SPDX-License-Identifier: GPL-3.0-or-later
# What a person types. The work is done by the scripts in tools/, which say more with --help.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

# the interpreter that starts tools/bootstrap.py, which then looks for the newest one
PYTHON3 ?= python3
# set it to build .venv on this interpreter instead of the newest
PYTHON ?=
# more for the command that a target runs, such as: make test-unit ARGS="-k name"
ARGS ?=

VENV := .venv/bin
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.venv/collections
export ANSIBLE_PYTHON_INTERPRETER := $(CURDIR)/.venv/bin/python

.PHONY: help
help: ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: ## .venv: Ansible, the collection and the embedded plane, as locked
	@command -v $(PYTHON3) >/dev/null || { echo "error: there is no $(PYTHON3); mend it with: apt install python3 python3-venv"; exit 1; }
	@$(PYTHON3) tools/bootstrap.py $(if $(PYTHON),--python $(PYTHON))

.PHONY: quickstart
quickstart: venv ## Provision the example inventory on an embedded plane, twice, and show what came of it
	@$(VENV)/python tools/quickstart.py $(ARGS)

.PHONY: plane
plane: venv ## Keep an embedded plane running for play, until Ctrl-C
	@$(VENV)/python tools/quickstart.py --plane $(ARGS)

.PHONY: test
test: venv ## Everything that is tested, and a table of the results
	@$(VENV)/python tools/check.py $(ARGS)

.PHONY: test-unit test-contract test-plane test-agent test-integration sanity lint typecheck check-docs importer molecule matrix
test-unit: venv ## Unit tests of the collection
	@$(VENV)/python tools/check.py --show unit -- $(ARGS)
test-contract: venv ## The embedded plane against the vendor's description, and the flows of its clients
	@$(VENV)/python tools/check.py --show contract -- $(ARGS)
test-plane: venv ## The embedded plane's own tests
	@$(VENV)/python tools/check.py --show plane -- $(ARGS)
test-agent: venv ## The embedded agent's own tests
	@$(VENV)/python tools/check.py --show agent -- $(ARGS)
test-integration: venv ## Modules and playbooks over HTTP against the embedded plane
	@$(VENV)/python tools/check.py --show integration -- $(ARGS)
sanity: venv ## ansible-test sanity
	@$(VENV)/python tools/check.py --show sanity -- $(ARGS)
lint: venv ## ruff, yamllint, shellcheck, ansible-lint
	@$(VENV)/python tools/check.py --show lint
typecheck: venv ## mypy
	@$(VENV)/python tools/check.py --show typecheck
check-docs: venv ## Documentation and changelog
	@$(VENV)/python tools/check.py --show docs
importer: venv ## galaxy-importer on the built tarball
	@$(VENV)/python tools/check.py --show importer
molecule: venv ## The Molecule scenarios
	@$(VENV)/python tools/check.py --show molecule
matrix: venv ## The other releases of ansible-core for which there is an interpreter here
	@$(VENV)/python tools/check.py --show matrix

.PHONY: molecule-agent
molecule-agent: venv ## The Molecule scenario of agent mode, on a host of its own (root)
	@$(VENV)/python extensions/molecule/agent/run.py $(ARGS)

.PHONY: bench
bench: venv ## What is measured: calls, hosts at rest; as root on Debian the role and a cluster (ARGS=part)
	@$(VENV)/python tests/bench/all.py $(ARGS)

.PHONY: payload
payload: venv ## The content bundle of a Kubernetes version (VERSION=1.36.3), built by Go in a cache of its own
	@$(VENV)/python tools/payload.py $(VERSION) $(ARGS)

.PHONY: e2e-agent
e2e-agent: venv ## Agent mode on real hosts (root, Debian; ARGS=--short for one host)
	@$(VENV)/python tests/e2e/agent.py $(ARGS)

.PHONY: dist
dist: venv ## dist/: the collection's tarball, the wheels of what is embedded, checksums
	@$(VENV)/python tools/distribution.py

.PHONY: agent
agent: venv ## dist/: the embedded agent as it is brought to hosts, checksums
	@$(VENV)/python tools/agent.py $(ARGS)

.PHONY: docs
docs: venv ## docs/build: the module pages as HTML
	@$(VENV)/python tools/pages.py docs/build

.PHONY: changelog
changelog: venv ## CHANGELOG.rst from changelogs/fragments and the plugins that are new in this version
	@PATH="$(CURDIR)/$(VENV):$$PATH" antsibull-changelog release --update-existing --reload-plugins

.PHONY: lock
lock: venv ## Write tools/locks/*.txt anew (ARGS=--upgrade moves to the newest versions)
	@$(VENV)/python tools/lock.py $(ARGS)

.PHONY: clean
clean: ## Remove all that make made
	@rm -rf .venv .cache dist docs/build .quickstart .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find embedded plugins tests tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
