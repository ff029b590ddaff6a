# Set-up and the main jobs. `make` alone lists them.

PYTHON ?= python3
UV ?= uv==0.13.9
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export IPYTHONDIR := $(CURDIR)/.ipython
# Where the caller forbids .pyc files, every import would stay two to four times slower.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup report test lab bench refresh lint requirements clean

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

setup: $(READY)  ## create .venv and install the pinned packages

report: $(READY)  ## run every notebook and write build/report/index.html
	@$(BIN)/python -m tierlab run

test: $(READY)  ## run all tests, and compare every notebook with its stored outputs
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --nbval --nbval-current-env \
		--nbval-sanitize-with tests/nbval.cfg --nbval-cell-timeout 120 tests tierlab notebooks

lab: $(READY)  ## open JupyterLab
	@$(BIN)/jupyter lab --notebook-dir=notebooks

bench: $(READY)  ## measure pricing speed (minutes; not part of the tests)
	@for script in tests/bench/*.py; do $(BIN)/python $$script || exit 1; done

refresh: $(READY)  ## rewrite the stored outputs of the notebooks and figures/
	@$(BIN)/python -m tierlab refresh

lint: $(READY)  ## check style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

requirements: $(READY)  ## recompile requirements.txt from the ranges in pyproject.toml
	@$(BIN)/uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet "$(UV)"
	@$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --no-annotate --no-emit-index-url \
		--no-emit-find-links --custom-compile-command "make requirements" pyproject.toml -o requirements.txt
	@echo "-e ." >> requirements.txt

clean:  ## delete build output (not .venv)
	rm -rf build

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
		{ echo "tierlab needs Python 3.11 to 3.14; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; about half a minute)"
	@$(PYTHON) -m venv $(VENV)
	@{ $(BIN)/python -m pip install --quiet --disable-pip-version-check "$(UV)" && \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -r requirements.txt; } || \
		{ echo "uv could not install the packages; trying pip" >&2; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt; }
	@touch $@
