# Two commands do all the set-up:
#
#   make demo    its own virtual environment, memsync in it, and the main job on a sample memory folder
#   make test    the same environment with the development extras; lint, strict types, all tests
#
# Another interpreter: make demo PYTHON=/path/to/python3.12

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest
JOBS   ?= 2

# Tests sync thousands of small files: on a tmpfs that has room for them they take half the time. What a failed run
# leaves stays, to be looked at.
ROOM   := $(shell df -k --output=avail /dev/shm 2>/dev/null | awk 'NR == 2 && $$1 > 4000000 { print "-p /dev/shm" }')
define run_tests
@base=$$(mktemp -d $(ROOM)) && { $(PYTEST) -n $(JOBS) --basetemp "$$base/tests" $(1); code=$$?; \
    [ $$code -ne 0 ] || rm -rf "$$base"; exit $$code; }
endef

SOURCES := $(shell find memstore cli -name '*.py' 2>/dev/null)

# What has been installed stands in these stamps, so that nothing is installed twice. With the development
# install the command runs from the checkout, and serves the demo as well.
INSTALLED  := $(VENV)/.installed
DEVELOPING := $(VENV)/.developing
READY      := $(if $(wildcard $(DEVELOPING)),$(DEVELOPING),$(INSTALLED))

.DEFAULT_GOAL := help
.PHONY: help demo test lint build soak crashtest fuzz drive-live replay peers scale clean

help:
	@echo 'make demo        see memsync at work on a sample memory folder'
	@echo 'make test        lint, strict types, all tests'
	@echo 'make lint        lint and strict types only'
	@echo 'make build       wheel and sdist in dist/'
	@echo 'make soak        the long runs, and the fuzzing'
	@echo 'make crashtest   every crash point'
	@echo 'make fuzz        ten minutes of coverage-guided fuzzing, every parser'
	@echo 'make drive-live  the contract suite against a real Google Drive (needs a token)'
	@echo 'make replay      a git history through memsync: make replay REPO=path/of/a/repository'
	@echo 'make peers       beside git, restic and borg: make peers PEERS="--write docs/benchmarks.md" (an hour)'
	@echo 'make scale       every command on 1,000,000 files and on 100,000 versions, with its memory (hours)'
	@echo 'make clean       remove what was built, and the caches'

demo: $(READY)
	@$(BIN)/memsync demo

test: lint
	$(call run_tests)

lint: $(DEVELOPING)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "some files are not formatted: run '$(BIN)/ruff format'"; exit 1; }
	@$(BIN)/python -m mypy

build: $(DEVELOPING)
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist .

soak: $(DEVELOPING)
	$(call run_tests,-m soak)
	@$(MAKE) --no-print-directory fuzz

crashtest: $(DEVELOPING)
	$(call run_tests,-m crash)

# Ten minutes: make fuzz FUZZ='--seconds 3600 record segment'
fuzz: $(DEVELOPING)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) install --editable '.[fuzz]'
	@$(BIN)/python -m tests.fuzz $(FUZZ)

drive-live: $(DEVELOPING)
	@test -n "$$MEMSYNC_LIVE_TOKEN" || { echo 'name a token file first: MEMSYNC_LIVE_TOKEN=drive_token.json make drive-live'; exit 2; }
	@$(PYTEST) -m live tests/test_drive_live.py
	@$(BIN)/python -m tests.drive_live

# make replay REPO=~/src/notes REPLAY='--name owner/notes --write docs/benchmarks.md'
replay: $(DEVELOPING)
	@test -n "$(REPO)" || { echo "name a git repository: make replay REPO=path/of/a/repository"; exit 2; }
	@$(BIN)/python -m benchmarks.replay "$(REPO)" $(REPLAY)

# make peers PEERS='--rows one-note,log --results measured.json --write docs/benchmarks.md'
peers: $(DEVELOPING)
	@$(BIN)/python -m benchmarks.peers $(PEERS)

# make scale SCALE='--files 20000 --versions 1000'
scale: $(DEVELOPING)
	@$(BIN)/python -m benchmarks.scale $(SCALE)

clean:
	@rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find memstore cli tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { echo "memsync needs Python 3.11 or newer, and there is no '$(PYTHON)' here"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "memsync needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
	    echo "Name a newer one: make $(or $(firstword $(MAKECMDGOALS)),demo) PYTHON=python3.12"; exit 1; }
	@echo 'making the virtual environment $(VENV)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "$(PYTHON) could not make a virtual environment (on Debian and Ubuntu: apt install python3-venv)"; exit 1; }

$(INSTALLED): pyproject.toml $(SOURCES) | $(VENV)/pyvenv.cfg
	@echo 'installing memsync into $(VENV)'
	@$(PIP) install .
	@touch $@

$(DEVELOPING): pyproject.toml | $(VENV)/pyvenv.cfg
	@echo 'installing memsync and the development extras into $(VENV)'
	@$(PIP) install --editable '.[dev]'
	@rm -f $(INSTALLED)
	@touch $@
