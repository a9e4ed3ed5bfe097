# A bare `make` prints the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto

.PHONY: help
help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "mlma needs Python 3.11, 3.12 or 3.13 on the PATH."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,dev]"
	@touch $@ $(VENV)/.demo $(VENV)/.serve

.PHONY: demo
demo: $(VENV)/.demo ## Replay 21 real streams of seven years; writes mlma-demo.html.
	$(BIN)/mlma demo

$(VENV)/.serve: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[demo,serve]"
	@touch $@

.PHONY: serve-demo
serve-demo: $(VENV)/.serve ## A live agent at work: a real server, a simulated platform, a minute.
	$(BIN)/mlma serve-demo

.PHONY: test
test: $(VENV)/.dev ## Run the whole test suite.
	$(BIN)/python -m pytest -n $(WORKERS)

.PHONY: check
check: $(VENV)/.dev ## Lint, types, import contract, doctests.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -p no:randomly src/mlma

.PHONY: format
format: $(VENV)/.dev ## Format the code and mend what can be mended.
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/.dev ## Measure; prints the tables of docs/validation.md.
	$(BIN)/python benchmarks/quality/level.py
	$(BIN)/python benchmarks/quality/real_streams.py
	$(BIN)/python benchmarks/quality/detection.py
	$(BIN)/python benchmarks/speed/replay_cost.py
	$(BIN)/python benchmarks/speed/cycle_cost.py
	$(BIN)/python benchmarks/speed/live_cycle.py
	$(BIN)/python benchmarks/speed/store_forms.py
	$(BIN)/python benchmarks/speed/http_cost.py
	$(BIN)/python benchmarks/quality/desk.py
	$(BIN)/python benchmarks/speed/pages.py
	$(BIN)/python benchmarks/speed/bulk_orders.py
	$(BIN)/python benchmarks/speed/lab.py

.PHONY: clean
clean: ## Remove the environment and what tools left behind.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
