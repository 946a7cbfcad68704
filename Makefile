# make run     a fresh machine to a served champion     make test    the tests that CI runs
SHELL := /bin/bash
# Compiled code is kept: a run of the tests starts a hundred processes, and each would compile Karat anew.
unexport PYTHONDONTWRITEBYTECODE
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PROJECT ?=
NAME ?=
ORDER ?=
SEED ?= 1
# One worker has the platform and waits for it; two others keep both cores busy (docs/testing.md).
SPREAD := -n 3 --dist loadscope --no-loadscope-reorder $(if $(filter random,$(ORDER)),--random-order --random-order-seed=$(SEED))
# A worker has less than a core: threads of its libraries would only wait for one another (a sixth of the processor time).
test test-nightly: export POLARS_MAX_THREADS := 1
test test-nightly: export OMP_NUM_THREADS := 1
BENCH_VENV := .bench-venv
# The quickest tests: the names, settings, errors and declarations, and what the documentation and the tree promise.
QUICK := tests/karat/test_errors.py tests/karat/test_names.py tests/karat/test_settings.py tests/karat/declare \
	tests/test_house.py tests/test_docs.py tests/test_contract.py
# The main job is the cost domain of health_monitor: small enough to watch.
RUN := $(if $(PROJECT),$(PROJECT),health_monitor --domain cost)

.PHONY: help install run down check test test-nightly coverage faults kills soak mutants docs bench nightly lint format lock changelog clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

install: $(VENV)/installed  ## the environment from the lock file

$(VENV)/installed: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing $$(grep -c == requirements.lock) pinned packages into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: install  ## starts the platform and runs the main job, or PROJECT=name whole
	@$(BIN)/karat up
	@$(BIN)/karat run $(RUN)

down: install  ## stops what `make run` left standing
	@$(BIN)/karat down

check: install  ## in under a minute: ruff, import contract, mypy, the quickest tests; pre-commit runs it
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/lint-imports --no-cache > $(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -x $(QUICK)

lint: install  ## ruff, mypy and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: install  ## ruff's formatter and its safe fixes
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

test: install  ## all tests; needs no server started beforehand; ORDER=random SEED=1 shuffles them
	@$(BIN)/python -m pytest -m "not faults and not nightly" $(SPREAD)

test-nightly: install  ## the tests without a platform and their slow cases, with twenty times as many random examples
	@HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -m "not platform and not faults" $(SPREAD)

coverage: install  ## the tests that need no platform, with coverage; raises the floor in pyproject.toml, never lowers it
	@$(BIN)/python -m pytest -m "not platform and not faults" -n 2 --dist loadscope --cov --cov-report=
	@$(BIN)/coverage report
	@$(BIN)/python .ci/raise_floor.py

faults: install  ## the whole fault matrix: kill -9 of every part, and at random moments of every write
	@$(BIN)/python -m pytest -m faults

kills: install  ## kill -9 of each part at random moments of a run; PART=supervisor TIMES=20
	@$(BIN)/python -m benchmarks.kills $(foreach part,$(PART),--part $(part)) --times $(or $(TIMES),20)

soak: install  ## memory and open files of every process under light load, flat within 5 %; MINUTES=30
	@$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),30)

mutants: install  ## which random changes of features, training_sets and lifecycle no test notices; SAMPLE=150 of each
	@$(BIN)/python .ci/mutants.py --per-room $(or $(SAMPLE),150)

docs: install  ## the documentation as a site in site/; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: install $(BENCH_VENV)/installed  ## the benchmarks against their peers; NAME=asof_join for one of them
	@$(BIN)/python -m benchmarks $(NAME)

nightly: install  ## all models of all projects become champions on three dates, which move on with the day
	@$(BIN)/python -m benchmarks.champions_by_date --all --dates 3 --last today --processes 2

$(BENCH_VENV)/installed: benchmarks/peers.txt
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	@echo "Installing the peers (Feast, PySpark) into $(BENCH_VENV): apart from the product's environment"
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	@touch $@

lock:  ## writes requirements.lock anew from pyproject.toml
	@infra/lock.sh $(PYTHON)

changelog: install  ## moves the fragments of changes/ into CHANGELOG.md, as VERSION
	@$(BIN)/towncrier build --yes --version $(VERSION)

clean:  ## removes the environment and the local platform's state
	@test ! -x $(BIN)/karat || $(BIN)/karat down
	@rm -rf $(VENV) .karat
