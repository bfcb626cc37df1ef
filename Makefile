# make demo: a search engine over this machine's own docstrings, from nothing
# make test: everything that must pass
# Both make .venv first; PYTHON names the Python (3.11 or newer) to make it with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test venv clean

demo: venv
	@$(BIN)/python benchmarks/demo.py --format table

test: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if $(BIN)/python tests/gpu/there.py; then \
	  echo 'on the GPU:' && SEARCHLIB_TEST_GPU=1 $(BIN)/python -m pytest tests/gpu; fi
	$(BIN)/python -m pytest

venv: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt setup.py $(wildcard */*.[ch] */*/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  f"searchlib needs Python 3.11 or newer; this is {sys.version.split()[0]}: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf build dist .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
