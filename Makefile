# Two commands do everything: `make demo` and `make test`. PYTHON=python3.12 chooses another Python.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A file of tests stays in one process: its fixtures are made once. Files come in the order of tests/conftest.py.
PARALLEL := --numprocesses=auto --dist=loadfile --no-loadscope-reorder

.PHONY: demo test suite test-long coverage test-all oldest newest check docs pictures dist release-check bounds soak torture fuzz bench clean

demo: $(VENV)/installed
	$(BIN)/pixelwise demo

test: demo suite

# The suite without what is marked `long`.
suite: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(PARALLEL)

# What is marked `long`: tests of more than 3 s that have a shorter sibling.
test-long: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m long $(PARALLEL)

# All tests traced, then the kernels once more in plain Python: so that coverage sees their lines. 20 minutes.
coverage: $(VENV)/installed-dev
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -m "" $(PARALLEL) --cov --cov-report=
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest --quiet $(PARALLEL) --cov --cov-append --cov-report= \
	    tests/kernels tests/methods tests/rasters/test_tiff.py tests/stacks/test_composites.py \
	    --ignore=tests/methods/functions
	$(BIN)/python -m coverage report --skip-covered --fail-under=95

# Every Python from 3.11 on that is on the PATH or under pyenv, each in its own environment.
test-all:
	@for python in $$($(PYTHON) tests/pythons.py); do \
	    version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "== Python $$version"; \
	    $(MAKE) --no-print-directory VENV=.venv-$$version PYTHON=$$python .venv-$$version/installed-dev || exit 1; \
	    .venv-$$version/bin/python -m pytest -q -m "" $(PARALLEL) || exit 1; \
	done

# The oldest packages that pyproject.toml allows, and the newest that there are, each on Python $(PYTHON).
# TESTS="tests/maps tests/jobs" runs only these.
# Extensions that were built for a newer NumPy may warn of it; xarray announces its default of today.
oldest: CONSTRAINTS := constraints-oldest.txt
newest: CONSTRAINTS := /dev/null
oldest newest:
	rm -rf .venv-$@
	$(PYTHON) -m venv .venv-$@
	.venv-$@/bin/python -m pip install --quiet --upgrade pip
	.venv-$@/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[all]' --group dev
	.venv-$@/bin/python -m pytest -q $(PARALLEL) $(TESTS) -W "ignore:numpy.ndarray size changed:RuntimeWarning" \
	    -W "ignore:In a future version, xarray:FutureWarning" -W "ignore:Failed to decode variable:FutureWarning"

check: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/sizes.py

# The site, in site/: it opens from there without a server. Before, the parts of its pages that come from the code.
docs: $(VENV)/installed-dev
	$(BIN)/python docs/generate_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# The sdist and the wheel, in dist/, and the demo of the wheel in an environment that holds nothing else.
dist: .venv-dist/installed
	rm -rf dist .venv-wheel
	.venv-dist/bin/python -m build --quiet --outdir dist .
	.venv-dist/bin/twine check --strict dist/*
	$(PYTHON) tests/distribution.py dist
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	.venv-wheel/bin/pixelwise --version
	cd .venv-wheel && bin/pixelwise demo && bin/pixelwise verify pixelwise-demo/trend.tif

.venv-dist/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	.venv-dist/bin/python -m pip install --quiet --constraint constraints.txt --group dist
	touch $@

# What a release still lacks; fails only where HEAD is tagged vX.Y.Z.
release-check:
	$(PYTHON) tests/release.py

# The pictures of the tutorial and the gallery, and the outputs of the notebook, by their own commands. Two minutes.
pictures: $(VENV)/installed-dev
	$(BIN)/python docs/make_pictures.py

# The suite with kernels that check every index, and memory that is filled when it is handed out and given back.
bounds: $(VENV)/installed-dev
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(CURDIR)/$(VENV)/bounds GLIBC_TUNABLES=glibc.malloc.perturb=165 \
	    $(BIN)/python -m pytest -q -m "" $(PARALLEL)

# Six hundred jobs in one process, failing ones among them: what is left of each, and how memory grows. Four minutes.
soak: $(VENV)/installed-dev
	$(BIN)/python tests/soak.py

# Jobs that are killed some 500 times, at every step of their way, and must end with the same map. Three minutes.
torture: $(VENV)/installed-dev
	$(BIN)/python tests/torture.py

# Ten thousand changed rasters, VRTs, maps' tags, recipes and journals, compared with plain rasterio. Twenty minutes.
fuzz: $(VENV)/installed-dev
	$(BIN)/python tests/fuzz.py

# Half an hour, and 10 GB under the temporary folder: every claim of docs/performance.md, measured again.
# Nothing else should run meanwhile. Programs that are compared with are skipped by name where they are missing.
bench: $(VENV)/installed-bench
	cd benchmarks && for script in pipeline.py "pipeline.py --layouts tile256-lzw,tile256-deflate-p2 --dates 100" \
	    "pipeline.py --layouts tile256-lzw --size 1000 --dates 1000 --rounds 3" \
	    "pipeline.py --layouts tile256-lzw,tile256-deflate-p2 --threads" \
	    "arrays.py --cdo" bands.py kernel_ols.py kernel_methods.py error_rates.py startup.py user_function.py memory.py rectification.py rectify_scenes.py \
	    journal.py outputs.py remote.py "remote.py --size 1000 --dates 200" peers.py accessor.py clusters.py cost_model.py \
	    report.py; do \
	    echo "== $$script"; ../$(BIN)/python $$script || exit 1; done

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev
	touch $@

$(VENV)/installed-bench: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	touch $@

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis pixelwise-demo site
