# Two commands do all the set-up: `make demo` and `make test`. Each makes .venv and installs what it needs, once;
# again only after pyproject.toml or constraints.txt has changed.
PYTHON ?= python3
OUT ?= runs/demo
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
RUN_READY := $(VENV)/.ready-to-run
TEST_READY := $(VENV)/.ready-to-test
.DEFAULT_GOAL := help
.PHONY: demo test lint format docs clean help

demo: $(RUN_READY)  ## distil two students from the embedded teacher (CPU, minutes, no network); OUT=runs/demo
	$(BIN)/condistill demo --out $(OUT)

test: lint  ## lint, types and the whole test suite; WORKERS=2
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
	@echo "make test: all passed"

lint: $(TEST_READY)  ## ruff (rules and format) and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(TEST_READY)  ## let ruff rewrite the files as `make lint` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(TEST_READY)  ## the pages in docs/ as a site that opens offline: build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean:  ## remove the environment and every cache of the tools; runs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 18

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "condistill needs Python 3.11 or newer, got $$($(PYTHON) --version 2>&1); try: make PYTHON=python3.12 demo"; exit 2; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "could not make $(VENV); on Debian: apt install python3-venv"; exit 2; }

# torch goes first and alone: it is by far the largest, and the rest then finds it in place. No build isolation: the
# build backend too comes from constraints.txt.
$(RUN_READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing condistill and its libraries into $(VENV) (minutes, once)"
	$(PIP) torch
	$(PIP) hatchling editables
	$(PIP) --no-build-isolation -e .
	@touch $@

# What needs torchvision lies apart: beside a CPU build of torch its wheel does not load, and then no plain process could
# import transformers any more. So does torchao, with which every import of diffusers writes lines to standard error, and
# DeepSpeed, which accelerate and transformers import wherever they find it; it is built here (seconds), without kernels.
# Only tests that ask for them put the folders on their path.
$(TEST_READY): $(RUN_READY)
	$(PIP) --no-build-isolation -e '.[dev,world]'
	$(PIP) --no-deps --upgrade --target $(VENV)/metrics torchvision torch_fidelity open_clip_torch timm
	$(PIP) --no-deps --upgrade --target $(VENV)/engines torchao
	DS_BUILD_OPS=0 $(PIP) --no-deps --no-build-isolation --upgrade --target $(VENV)/zero \
	  deepspeed einops hjson msgpack py-cpuinfo
	@touch $@
