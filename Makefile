# What one can do here. `make demo` and `make test` set themselves up; nothing else is needed first.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.installed

.PHONY: help setup demo test lint format generate bench faults interop docs clean
help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(SETUP) ## make .venv with everything that the other targets need
$(SETUP): pyproject.toml constraints.txt stillwatch.py verifier/rows/native.c # an editable install copies this one file
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m verifier.rows.native || true # faster hashing and reading; needs a C compiler, and nothing needs it
	@touch $@

demo: $(SETUP) ## watch labs pause together, and some defect
	$(BIN)/stillwatch demo

test: $(SETUP) ## run the tests with coverage: units on every core, then two by two what runs whole systems, which mostly waits
	$(BIN)/python -m pytest tests/unit tests/conformance --numprocesses auto --dist loadfile --cov --cov-report=
	$(BIN)/python -m pytest --ignore tests/unit --ignore tests/conformance --numprocesses 2 --dist loadfile --cov --cov-append --cov-report=term:skip-covered --cov-fail-under=90

lint: $(SETUP) ## formatting, lint, types, protocol definitions and generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/buf lint protos
	$(BIN)/python -m protos.generate --check

format: $(SETUP) ## put code in the one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

generate: $(SETUP) ## make the modules of protos/ anew
	$(BIN)/python -m protos.generate

bench: $(SETUP) ## measure, print a table, write build/bench.json
	$(BIN)/python -m tests.bench

faults: $(SETUP) ## kill, fail disks, cut the power and flip bits, for an hour or more
	$(BIN)/python -m pytest tests/faults tests/integration -m slow -v -rA --numprocesses auto --dist load --override-ini addopts='--strict-markers --import-mode=importlib'

interop: $(SETUP) ## compare with other people's vectors and tools (STILLWATCH_VECTORS, STILLWATCH_TRACES)
	$(BIN)/python -m pytest tests/conformance -m "slow or not slow"

docs: $(SETUP) ## check that every link and command in the documentation holds
	$(BIN)/python -m pytest tests/unit/test_docs.py

clean: ## remove what the targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
