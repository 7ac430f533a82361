# Needs only python3 (3.10 to 3.13, with venv) and make. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint types check clean

help:  ## List the targets
	@echo "artfp: make TARGET [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s%s\n", $$1, $$2}' Makefile

venv: $(STAMP)  ## Install artfp and its tools into .venv

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: no '$(PYTHON)' found; install Python 3.10 to 3.13 or call: make venv PYTHON=..." >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  (3, 10) <= v < (3, 14) or sys.exit("make: $(PYTHON) is Python %d.%d; artfp needs 3.10 to 3.13:" \
	  " call make venv PYTHON=python3.12, say" % v)'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@

demo: venv  ## Run the whole chain on a small set of photographs; results in demo/
	$(BIN)/artfp demo --output_dir demo

test: venv  ## Run the tests (slow and gpu tests excepted)
	$(BIN)/python -m pytest -n auto

lint: venv  ## Check style, format and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: venv  ## Check the types
	$(BIN)/mypy artfp

check: lint types test  ## lint, types and test

clean:  ## Remove the environment, caches and build outputs; keeps your results
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find artfp tests -name __pycache__ -type d -prune -exec rm -rf {} +
