# Everything runs from .venv, which the first target that needs it sets up.
# PYTHON=... chooses the interpreter (3.11 or newer) that .venv is made from.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/dev.lock

# More arguments for pytest, e.g. make test PYTEST_ARGS='-k bits'
PYTEST_ARGS ?=
# More arguments for make mutation, e.g. --only kvm_
MUTATION_ARGS ?=
# More arguments for make fuzz, e.g. --executions 1000
FUZZ_ARGS ?=
# Which environments make packages tries: sdist, plain, and the names of extras; all, if none is named
PACKAGES ?=
# How many guests make fleet-check has
FLEET_ROWS ?= 10000000
# More arguments for make lock, e.g. --upgrade
LOCK_ARGS ?=

.PHONY: help setup demo debian test lint bench conformance sweep qemu-releases prove-check fleet-check fuzz soundness properties nightly packages mutation docs lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.stamp ## set up .venv (every target does so by itself)

demo: $(VENV)/.stamp ## show what archcaps does
	@$(BIN)/python demo/run.py

debian: ## install the Debian packages whose programs the tests run (as root; others are told which)
	@tools/debian/install.sh

test: $(VENV)/.stamp ## run the tests
	@if [ "$$(id -u)" = 0 ]; then tools/debian/install.sh || echo "debian: some tests will be skipped" >&2; fi
	@mkdir -p build
	@$(BIN)/pytest -n auto --dist worksteal --junit-xml=build/junit.xml $(PYTEST_ARGS)

lint: $(VENV)/.stamp ## check style, types, the layers and the tables
	@echo "lint: ruff check"
	@$(BIN)/ruff check .
	@echo "lint: ruff format"
	@$(BIN)/ruff format --check .
	@echo "lint: mypy"
	@$(BIN)/mypy
	@echo "lint: import layers"
	@$(BIN)/lint-imports --no-logo --no-cache
	@if [ -f tools/check_tables.py ]; then echo "lint: tables"; $(BIN)/python -m tools.check_tables; fi

bench: $(VENV)/.stamp ## run the benchmarks
	@$(BIN)/python benchmarks/run.py
	@$(BIN)/python benchmarks/prove.py
	@$(BIN)/python benchmarks/qemu.py
	@$(BIN)/python benchmarks/fix.py
	@$(BIN)/python benchmarks/sql.py
	@$(BIN)/python benchmarks/fleet.py

conformance: $(VENV)/.stamp ## compare with every recorded real machine
	@ARCHCAPS_FULL=1 $(BIN)/pytest tests/reality -m "conformance or not conformance" $(PYTEST_ARGS)

sweep: $(VENV)/.stamp ## compare a million random cases with an independent model of KVM
	@ARCHCAPS_SWEEP=1000000 $(BIN)/pytest -n auto tests/oracle $(PYTEST_ARGS)

# The QEMU of each suite is unpacked below build/qemu, not installed.
QEMU_SUITES ?= trixie sid
qemu-releases: $(VENV)/.stamp ## compare the tables with other QEMUs too (QEMU_SUITES, by default Debian's newer ones)
	@for suite in $(QEMU_SUITES); do tools/qemu/unpack $$suite build/qemu/$$suite; \
		ARCHCAPS_QEMU=$$PWD/build/qemu/$$suite/qemu-system-x86_64 $(BIN)/pytest tests/guest_cpu/test_qemu_real.py $(PYTEST_ARGS); done

prove-check: $(VENV)/.stamp ## compare the space of configurations with brute force and other engines
	@ARCHCAPS_SPACE=full $(BIN)/pytest -n auto tests/space $(PYTEST_ARGS)

fleet-check: $(VENV)/.stamp ## compare Spark with DuckDB on ten million guests (FLEET_ROWS), a worker killed midway, and audits with the prover
	@ARCHCAPS_FLEET_ROWS=$(FLEET_ROWS) $(BIN)/pytest tests/fleet/spark tests/fleet/test_counts_of_prove.py $(PYTEST_ARGS)

fuzz: $(VENV)/.stamp ## feed every reader with 100,000 mutants of real examples (FUZZ_ARGS='--only qmp --seed 2')
	@$(BIN)/python -m tools.fuzz.run $(FUZZ_ARGS)

properties: $(VENV)/.stamp ## run the property tests with many more examples, other ones each time
	@HYPOTHESIS_PROFILE=long $(BIN)/pytest -n auto tests/ -k property $(PYTEST_ARGS)

nightly: ## run all that is longer than make test: hours; what fails is told at the end
	@export ARCHCAPS_FULL=1 ARCHCAPS_SQL=full; failed=""; for each in test packages fuzz soundness properties conformance sweep prove-check fleet-check qemu-releases mutation; do \
		echo "nightly: $$each"; $(MAKE) "$$each" || failed="$$failed $$each"; done; \
		[ -z "$$failed" ] || { echo "nightly: failed:$$failed" >&2; exit 1; }

packages: $(VENV)/.stamp ## try wheel and sdist in empty environments, without extras and with each (PACKAGES='plain prove')
	@$(BIN)/python .ci/packages.py $(PACKAGES)

# How many machines with less known of them, or with what no machine has, make soundness asks about
SOUNDNESS ?= 50000
soundness: $(VENV)/.stamp ## take facts away, or replace them by what no machine has: no verdict may get better
	@ARCHCAPS_SOUNDNESS=$(SOUNDNESS) $(BIN)/pytest -n auto tests/faults/test_soundness.py $(PYTEST_ARGS)

mutation: $(VENV)/.stamp ## change the rules one place at a time: a test has to notice (goes on where it stopped)
	@$(BIN)/python -m tools.mutation.run $(MUTATION_ARGS)

docs: $(VENV)/.stamp ## write the generated documents anew
	@$(BIN)/python -m tools.generate

# The header and the options keep index addresses and this checkout's paths out of the lock. Extras stay written
# (coverage[toml]): pip 23 takes a newer release for one that only another package asks for, and then misses its hash.
lock: | $(VENV)/.made ## write requirements/dev.lock anew (LOCK_ARGS=--upgrade for newer versions)
	@echo "lock: $(LOCK)"
	@$(BIN)/pip install -qq --disable-pip-version-check uv
	@$(BIN)/uv --quiet pip compile --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url --no-emit-find-links --no-config \
		--all-extras --no-strip-extras $(LOCK_ARGS) \
		--output-file $(LOCK) pyproject.toml requirements/dev.in
	@{ echo "# Written by 'make lock' from pyproject.toml and requirements/dev.in; not edited by hand."; \
		cat $(LOCK); } > $(LOCK).new
	@mv $(LOCK).new $(LOCK)

clean: ## remove .venv and everything that was built
	@rm -rf $(VENV) build dist .coverage htmlcov .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- .venv ---------------------------------------------------------------------------------

# Made anew: a .venv that came here from another folder, whose Python is gone, or is not the one that PYTHON asks for.
ifneq ($(wildcard $(VENV)/.made),)
$(shell head -n 2 $(BIN)/pip 2>/dev/null | grep -qF "$(CURDIR)/$(BIN)/" \
	&& found="$$($(BIN)/python -c 'import sys; print(sys.version)' 2>/dev/null)" \
	&& { [ -z "$(PYTHON)" ] || [ "$$found" = "$$("$(PYTHON)" -c 'import sys; print(sys.version)' 2>/dev/null)" ]; } \
	|| rm -f $(VENV)/.made $(VENV)/.deps $(VENV)/.stamp)
endif

# --clear: what an interrupted run left behind goes
$(VENV)/.made:
	@py="$${PYTHON:-python3}"; \
	"$$py" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "archcaps needs Python 3.11 or newer, and '$$py' is none: PYTHON=/path/to/python3.12 make ..." >&2; exit 1; }; \
	if ! "$$py" -c 'import ensurepip, venv' 2>/dev/null && [ "$$(id -u)" = 0 ]; then tools/debian/install.sh venv || true; fi; \
	"$$py" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$$py' cannot make a virtual environment: install its venv module (on Debian: python3-venv)" >&2; exit 1; }; \
	echo "setup: $(VENV) with $$("$$py" --version)"; \
	"$$py" -m venv --clear $(VENV)
	@touch $@

$(VENV)/.deps: $(LOCK) | $(VENV)/.made
	@echo "setup: packages from $(LOCK)"
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r $(LOCK) || { \
		echo "setup: the packages could not be installed (above is why): is PyPI, or pip's own index, reached?" >&2; exit 1; }
	@touch $@

$(VENV)/.stamp: $(VENV)/.deps pyproject.toml
	@echo "setup: archcaps itself"
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
