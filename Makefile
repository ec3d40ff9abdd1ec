# Two commands do everything: `make demo` and `make test`. PYTHON=python3.12 chooses another Python.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all check clean

demo: $(VENV)/installed
	$(BIN)/pixelwise demo

test: demo $(VENV)/installed-dev
	$(BIN)/python -m pytest

# Every Python from 3.11 on that is on the PATH or under pyenv, each in its own environment.
test-all:
	@for python in $$($(PYTHON) tests/pythons.py); do \
	    version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "== Python $$version"; \
	    $(MAKE) --no-print-directory VENV=.venv-$$version PYTHON=$$python .venv-$$version/installed-dev || exit 1; \
	    .venv-$$version/bin/python -m pytest -q || exit 1; \
	done

check: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_readme.py

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev
	touch $@

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis pixelwise-demo
