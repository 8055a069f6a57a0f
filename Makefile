# Two commands are enough on a fresh machine with Python 3.11 or later:
#   make demo   the main job on the embedded lung scenes: generate, check, train, evaluate, predict, report
#   make test   the tests
# Both make .venv where it is missing and install into it once; pyproject.toml newer than the stamp installs again.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO_ARGS ?=
TEST_ARGS ?=

.PHONY: demo test lint bench clean

demo: .venv/.installed
	$(BIN)/maskwright demo lungs $(DEMO_ARGS)

test: .venv/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --cov=maskwright --cov-report=term:skip-covered --cov-fail-under=90 $(TEST_ARGS)

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet maskwright tests benchmarks
	$(BIN)/mypy

# Those that need no data; each writes benchmarks/results/<name>.md. The others say in their header what to give them.
bench: .venv/.installed-test
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/confusion_speed.py
	$(BIN)/python benchmarks/train_step.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*

.venv/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "maskwright needs Python 3.11 or later and found none; say where it is: make PYTHON=/path/to/python3" >&2; exit 2; }
	@echo "Making .venv with $(PYTHON) and installing maskwright (once; PyTorch is large, so this takes a while) ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) --editable .
	@touch $@
	@echo "Installed."

.venv/.installed-test: .venv/.installed
	@echo "Installing what the tests need (once) ..."
	@$(PIP) --editable '.[test]'
	@touch $@
	@echo "Installed."
