# `make help` lists the targets. Set-up goes into .venv, from envs/requirements.txt alone: every package at one version, checked
# by digest (envs/venv.sh).

PYTHON ?= python3
ADDRESS ?= localhost
PORT ?= 8501
BIN := .venv/bin
READY := .venv/.ready

# Where it is set, each of a run's jobs would compile all its libraries anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: sample report demo test bench lint schema docs lock clean help always

sample: $(READY)  ## draw the sample benchmark and evaluate it (what make alone does)
	$(BIN)/snakemake --cores all all
	@echo
	@echo "Report: results/report.html    Tables: results/tables/    Plots and contact sheets: results/plots/"

report: $(READY)  ## make the page about the run, results/report.html, and what it needs
	$(BIN)/snakemake --cores all report

# CONFIG names config files, as --configfile does, SETTINGS pairs KEY=VALUE, as --config does.
demo: RUN = $(if $(CONFIG),--configfile $(CONFIG)) $(if $(SETTINGS),--config $(SETTINGS))
demo: $(READY)  ## open the live page of what was run: make demo CONFIG=mine.yaml PORT=8502
	@$(BIN)/python workflow_scripts/demo.py $(RUN)
	@$(BIN)/streamlit run workflow_scripts/demo.py --server.address $(ADDRESS) --server.port $(PORT) -- $(RUN)

test: $(READY)  ## run every test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What the machine reaches beside what it could: make bench BENCH='ranking --large'
bench: $(READY)  ## measure the speed of each stage: make bench BENCH='ranking --large'
	PYTHONPATH=workflow_scripts $(BIN)/python -m bench $(BENCH)

# A finding of `snakemake --lint` that is argued away is argued away in tests/helpers/lint_workflow.py, and nowhere else.
lint: $(READY)  ## run the linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/python tests/helpers/lint_workflow.py

# For editors and readers, from the typed settings, the comments in the config files, and the rules.
schema: $(READY)  ## write schemas/config.json and docs/reference/ anew
	PYTHONPATH=workflow_scripts $(BIN)/python -m attribench.plan.editor_schema
	PYTHONPATH=workflow_scripts $(BIN)/python -m attribench.plan.config_reference
	$(BIN)/python tests/helpers/target_reference.py

docs: $(READY)  ## build docs/ as a site in docs/_build/, with its links checked
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build
	@echo
	@echo "Open docs/_build/index.html"

# Anew from envs/requirements.in, for Linux (x86-64, arm64) and macOS, Python 3.11 and later.
lock: $(READY)  ## resolve envs/requirements.in anew into envs/requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  --no-header envs/requirements.in --output-file envs/requirements.txt

# A Python that was given (`make PYTHON=python3.12`, or the variable PYTHON) is the one that .venv is to have.
$(READY): always
	@envs/venv.sh $(PYTHON) $(if $(filter file,$(origin PYTHON)),,chosen)

# `rm -rf` removes a link and nothing behind it; resources/sample lies behind one where resources is a link.
clean:  ## remove .venv, results and the sample; of links, the links alone
	rm -rf .venv .snakemake results
	@if [ -L resources ]; then echo "resources is a link: resources/sample is kept"; else rm -rf resources/sample; fi

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*  ## /make \1	/p' Makefile | expand -t 16
	@echo "PYTHON=python3.12 chooses the Python of .venv"
