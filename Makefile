# Needs only python3 (3.10 to 3.13, with venv) and make. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.installed
TOOLS := $(VENV)/.tools
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help venv demo test coverage lint types docs wheel check clean

help:  ## List the targets
	@echo "artfp: make TARGET [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-9s%s\n", $$1, $$2}' Makefile

$(BASE): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: no '$(PYTHON)' found; install Python 3.10 to 3.13 or call: make venv PYTHON=..." >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  (3, 10) <= v < (3, 14) or sys.exit("make: $(PYTHON) is Python %d.%d; artfp needs 3.10 to 3.13:" \
	  " call make venv PYTHON=python3.12, say" % v)'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(TOOLS): $(BASE)
	$(PIP) -e '.[test,docs]'
	@touch $@

venv: $(TOOLS)  ## Install artfp and its tools into .venv

demo: $(BASE)  ## Run the whole chain on a small set of photographs; results in demo/
	$(BIN)/artfp demo --output_dir demo

test: $(TOOLS)  ## Run the tests (slow and gpu tests excepted)
	$(BIN)/python -m pytest -n auto

coverage: $(TOOLS)  ## Run the tests and fail below the floor of coverage
	$(BIN)/python -m pytest -n auto --cov=artfp --cov-report=term:skip-covered

lint: $(TOOLS)  ## Check style, format and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(TOOLS)  ## Check the types
	$(BIN)/mypy

docs: $(TOOLS)  ## Build the documents into site/
	$(BIN)/mkdocs build --strict --quiet

wheel: $(TOOLS)  ## Build the wheel, install it alone and run the smoke test
	rm -rf dist $(VENV)-wheel
	$(BIN)/python -m build --wheel --outdir dist >/dev/null
	$(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet -c constraints.txt dist/*.whl
	cd dist && ../$(VENV)-wheel/bin/python ../tests/smoke.py

check: lint types docs coverage  ## lint, types, docs and coverage

clean:  ## Remove the environment, caches and build outputs; keeps your results
	rm -rf $(VENV) $(VENV)-wheel build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find artfp tests -name __pycache__ -type d -prune -exec rm -rf {} +
