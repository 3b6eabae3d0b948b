# Everything goes through .venv, which `make` builds with any Python from 3.11 on: make test PYTHON=python3.12
PYTHON ?= python3
# What is installed: this folder, or a wheel of it.
PACKAGE ?= .
EDITABLE ?= -e

BIN := .venv/bin
PYTEST_OPTIONS ?=
# Processes that run tests: more than there are processors, since many tests wait.
WORKERS ?= 4
IN_PARALLEL := -n $(WORKERS)
ROUNDS ?= 20
RUNS ?= 1000
# Seconds that each instance of `make cluster-test` runs.
LASTS ?= 300
SEED ?= 1
# How many each machine of `make nightly` plays.
EXAMPLES ?= 5000
# For how many seconds it tries each property that holds for anything at all: there are more than ten of them.
FUZZ ?= 60
# For matrix, pins and build: which versions of Airflow (for matrix also lowest, newest), and which Pythons; all if empty.
# A beta that requirements/ has pins of is tested only if it is named.
AIRFLOW ?=
MATRIX_PYTHON ?=
# The time of everything in wheel and sdist: that of the last commit, or of hatchling where there is no git.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1580601600)
export SOURCE_DATE_EPOCH


.PHONY: help demo ui test test-stack test-browser nightly chaos screenshots cluster-test matrix resolve pins check docs
.PHONY: format bench build clean

help:
	@echo "make demo    run an example DAG through Airflow on a simulated EnOS gateway (DAG=... for another one)"
	@echo "make ui      Airflow with its pages and the example DAGs, on a simulated EnOS gateway, to look at (Airflow 3)"
	@echo "make test    all tests but those of the next two"
	@echo "make test-stack    the tests that run a whole Airflow"
	@echo "make test-browser  the tests that look at its pages, which need a Chromium"
	@echo "make nightly the model-based tests and the fuzzing, long and at random (EXAMPLES=5000 FUZZ=60)"
	@echo "make chaos   kills what runs, at random, and counts the instances (ROUNDS=20 SEED=1)"
	@echo "make screenshots  the pictures in docs/images/, which need a Chromium"
	@echo "make cluster-test"
	@echo "             the same in a distributed Airflow, of many tasks (RUNS=1000 SEED=1 LASTS=300); docs/scale.md"
	@echo "make matrix  all tests, on each supported Airflow (AIRFLOW='lowest newest' for some, MATRIX_PYTHON=3.12)"
	@echo "make resolve whether it can be installed beside each Airflow with the packages of its release day (AIRFLOW=3.0.6)"
	@echo "make pins    new pins for it, for bench and for cluster-test in requirements/ (AIRFLOW=3.3.3 for another version)"
	@echo "make check   lint, types and documentation"
	@echo "make docs    the documentation, in build/docs"
	@echo "make bench   the figures of the README"
	@echo "make format  format the code"
	@echo "make build   wheel and sdist in dist/, the same bytes each time, and what PyPI and a bare Airflow think of them"
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

ui: .venv/installed
	@$(BIN)/python scripts/ui.py

# tests/conftest.py says which tests are which.
test: .venv/installed
	@$(BIN)/pytest $(IN_PARALLEL) -m "not stack and not browser" $(PYTEST_OPTIONS)

test-stack: .venv/installed
	@$(BIN)/pytest $(IN_PARALLEL) -m stack $(PYTEST_OPTIONS)

test-browser: .venv/installed
	@$(BIN)/pytest -m browser $(PYTEST_OPTIONS)

nightly: .venv/installed
	@ENOS_MODEL_EXAMPLES=$(EXAMPLES) $(BIN)/pytest tests/protocol/start/test_starting_model.py tests/operators/test_group_model.py \
		$(PYTEST_OPTIONS)
	@ENOS_FUZZ_SECONDS=$(FUZZ) $(BIN)/pytest tests/fuzzing $(PYTEST_OPTIONS)

chaos: .venv/installed
	@$(BIN)/python tests/stack/chaos.py --rounds $(ROUNDS) --seed $(SEED)

screenshots: .venv/installed
	@ENOS_SCREENSHOTS=1 $(BIN)/pytest tests/browser $(PYTEST_OPTIONS)

# Airflow with Celery and a driver for PostgreSQL; the servers themselves are the machine's.
.cluster/installed: requirements/cluster.txt .venv/installed
	@echo "Installing a distributed Airflow and this package into .cluster (a minute, once)"
	@$(BIN)/python -m uv --quiet venv --clear --python $(BIN)/python .cluster
	@$(BIN)/python -m uv --quiet pip sync --python .cluster/bin/python requirements/cluster.txt
	@$(BIN)/python -m uv --quiet pip install --python .cluster/bin/python --no-deps $(EDITABLE) "$(PACKAGE)"
	@touch $@

cluster-test: .cluster/installed
	@.cluster/bin/python tests/stack/deployment.py --runs $(RUNS) --seed $(SEED) --lasts $(LASTS)

# Without installing anything, in less than a minute. A part of `make matrix`, too.
resolve: .venv/installed
	@$(BIN)/python scripts/resolve.py $(AIRFLOW)

matrix: .venv/installed resolve
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

# What is measured, and beside it the providers that it is compared with, in an environment of their own.
build/benchmark/installed: requirements/benchmark.txt pyproject.toml .venv/installed
	@echo "Installing what is measured, and the dbt Cloud and Databricks providers, into build/benchmark (a minute, once)"
	@$(BIN)/python -m uv --quiet venv --clear --python $(BIN)/python build/benchmark
	@$(BIN)/python -m uv --quiet pip sync --python build/benchmark/bin/python requirements/benchmark.txt
	@$(BIN)/python -m uv --quiet pip install --python build/benchmark/bin/python --no-deps $(EDITABLE) "$(PACKAGE)"
	@touch $@

bench: build/benchmark/installed
	@$(BIN)/python benchmarks/run.py

build: .venv/installed
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist .
	@$(BIN)/python -m twine check --strict dist/*
	@$(BIN)/python scripts/bare_install.py dist/*.whl $(AIRFLOW)

clean:
	rm -rf .venv .cluster .matrix .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
