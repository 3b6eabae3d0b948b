# Everything goes through .venv, which `make` builds with any Python from 3.11 on: make test PYTHON=python3.12
PYTHON ?= python3
# What is installed: this folder, or a wheel of it.
PACKAGE ?= .
EDITABLE ?= -e

BIN := .venv/bin
PYTEST_OPTIONS ?=
# Processes that run tests. Many tests wait, so a few more than there are processors.
WORKERS ?= 4
IN_PARALLEL := -n $(WORKERS)
ROUNDS ?= 20
SEED ?= 1
# How many each machine of `make nightly` plays.
EXAMPLES ?= 5000
# For matrix and pins: which versions of Airflow, and which Pythons; all of them if empty.
AIRFLOW ?=
MATRIX_PYTHON ?=

.PHONY: help demo test nightly chaos screenshots matrix pins check docs format bench build clean

help:
	@echo "make demo    run an example DAG through Airflow on a simulated EnOS gateway (DAG=... for another one)"
	@echo "make test    all tests"
	@echo "make nightly the model-based tests, long and at random (EXAMPLES=5000)"
	@echo "make chaos   kills what runs, at random, and counts the instances (ROUNDS=20 SEED=1)"
	@echo "make screenshots  the pictures in docs/images/, which need a Chromium"
	@echo "make matrix  all tests, on each supported Airflow (AIRFLOW='2.11.2 newest' for some, MATRIX_PYTHON=3.12)"
	@echo "make pins    new pins for it in requirements/ (AIRFLOW=3.3.3 for another version)"
	@echo "make check   lint, types and documentation"
	@echo "make docs    the documentation, in build/docs"
	@echo "make bench   the figures of the README"
	@echo "make format  format the code"
	@echo "make build   wheel and sdist in dist/"
	@echo "make clean   remove what the others made"

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "This needs Python 3.11 or later, and '$(PYTHON)' is older: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Installing Airflow and this package into .venv (a minute or two, once)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(EDITABLE) "$(PACKAGE)[dev]"
	@touch $@

demo: .venv/installed
	@$(BIN)/python scripts/demo.py

test: .venv/installed
	@$(BIN)/pytest $(IN_PARALLEL) $(PYTEST_OPTIONS)

nightly: .venv/installed
	@ENOS_MODEL_EXAMPLES=$(EXAMPLES) $(BIN)/pytest tests/protocol/test_triggering_model.py $(PYTEST_OPTIONS)

chaos: .venv/installed
	@$(BIN)/python tests/stack/chaos.py --rounds $(ROUNDS) --seed $(SEED)

screenshots: .venv/installed
	@ENOS_SCREENSHOTS=1 $(BIN)/pytest tests/browser $(PYTEST_OPTIONS)

matrix: .venv/installed
	@$(BIN)/python scripts/matrix.py $(addprefix --python=,$(MATRIX_PYTHON)) $(AIRFLOW) -- $(IN_PARALLEL) $(PYTEST_OPTIONS)

pins: .venv/installed
	@$(BIN)/python scripts/matrix.py --renew $(AIRFLOW)

check: .venv/installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory docs

# Without a network. A warning, such as a link that leads nowhere, fails it.
docs: .venv/installed
	@$(BIN)/python -m sphinx -q -W --keep-going -n -E -b dirhtml docs build/docs

format: .venv/installed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/installed
	@$(BIN)/python benchmarks/run.py

build: .venv/installed
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist .

clean:
	rm -rf .venv .matrix .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
