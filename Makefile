# make sample | make test | make bench | make lint | make schema | make lock | make clean
# Set-up goes into .venv, from envs/requirements.txt alone: every package at one version, checked by digest.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Where it is set, each of a run's jobs would compile all its libraries anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: sample test bench lint schema lock clean

sample: $(READY)
	$(BIN)/snakemake --cores all all
	@echo
	@echo "Tables: results/tables/    Plots and contact sheets: results/plots/"

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What the machine reaches beside what it could: make bench BENCH='ranking --large'
bench: $(READY)
	PYTHONPATH=workflow_scripts $(BIN)/python -m bench $(BENCH)

# A finding of `snakemake --lint` that is argued away is argued away in tests/helpers/lint_workflow.py, and nowhere else.
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/python tests/helpers/lint_workflow.py

# For editors, from the typed settings and the comments in the config files.
schema: $(READY)
	PYTHONPATH=workflow_scripts $(BIN)/python -m attribench.plan.editor_schema

# Anew from envs/requirements.in, for Linux (x86-64, arm64) and macOS, Python 3.11 and later.
lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  --no-header envs/requirements.in --output-file envs/requirements.txt

$(READY): envs/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); expected Python 3.11 or later (make PYTHON=python3.12 …)"; exit 1; }
	$(PYTHON) -m venv --clear .venv || { echo "venv is missing: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	@awk '/^[^ ]/ { uv = /^uv==/ } uv' envs/requirements.txt > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip install --quiet --require-hashes --python $(BIN)/python -r envs/requirements.txt
	@touch $@

clean:
	rm -rf .venv .snakemake results resources/sample
