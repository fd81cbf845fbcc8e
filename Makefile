# make demo: the digits example on the simulated array.  make test: lint, types, tests.  make test-all: also the slow ones.
# Everything is installed into .venv; caches of generated and compiled designs lie in build/cache.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# The first Python on the path that the project supports; PYTHON=… chooses another.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	if command -v $$p >/dev/null && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then command -v $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
export SPIKELOOM_CACHE := $(CURDIR)/build/cache
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-all lint clean
demo: build/installed-demo
	$(BIN)/spikeloom demo --out build/demo

test: lint
	$(BIN)/pytest -n 2 -m "not slow"

test-all: lint
	$(BIN)/pytest -n 2

lint: build/installed-dev build/tools
	$(BIN)/ruff check .
	$(BIN)/mypy -p spikeloom
	$(BIN)/mypy examples
	$(BIN)/mypy overlay/collect.py

# Measures again and writes every table and plot of docs/ that takes no frameworks: half an hour on two idle processors, of which the first
# compilation of the simulated arrays takes some minutes, clock.py and synthesis.py ten. Reference data: SPIKELOOM_DATA, else ../shared/data.
.PHONY: bench bench-engine
DATA := $(or $(SPIKELOOM_DATA),../shared/data)
bench: build/installed-dev build/installed-clock
	$(BIN)/python benchmarks/mnist.py --data $(DATA)/mnist --write
	$(BIN)/python benchmarks/all_images.py --data $(DATA)/mnist --write
	$(BIN)/python benchmarks/netx.py --data $(DATA) --write
	$(BIN)/python benchmarks/scaling.py --data $(DATA)/mnist --write
	SPIKELOOM_DATA=$(DATA) $(BIN)/python benchmarks/cycles.py --write
	SPIKELOOM_DATA=$(DATA) $(BIN)/python benchmarks/agreement.py
	$(BIN)/python benchmarks/compile_time.py --write
	$(BIN)/python benchmarks/synthesis.py tiny pynq_z2
	$(BIN)/python benchmarks/resources.py --write
	$(BIN)/python benchmarks/depth.py --write
	$(BIN)/python benchmarks/clock.py --write
	$(BIN)/python benchmarks/published.py --write

# The engine against other simulators, each in an environment of its own, see test-frameworks: half an hour more, and an idle computer.
# Ends with an error where the engine is less than three times as fast as the fastest of the others.
bench-engine: build/installed-dev build/installed-torch build/installed-brainpy build/installed-brian2 build/installed-nest
	OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/engine.py --write --python snntorch=build/venv-torch/bin/python \
		--python norse=build/venv-torch/bin/python --python brainpy=build/venv-brainpy/bin/python \
		--python brian2=build/venv-brian2/bin/python --python nest=build/venv-nest/bin/python

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamps make a second call quick; a changed pyproject.toml installs again. dev contains demo.
build/installed-demo: pyproject.toml | $(BIN)/python build/compiler
	if [[ ! build/installed-dev -nt pyproject.toml ]]; then $(BIN)/pip install --quiet -e '.[demo]'; fi
	touch $@

build/installed-dev: pyproject.toml | $(BIN)/python build/compiler
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@

build/installed-clock: pyproject.toml | build/installed-dev
	$(BIN)/pip install --quiet -e '.[clock]'
	touch $@

$(BIN)/python:
	if [[ -z "$(PYTHON)" ]]; then echo "No Python 3.11 or newer with venv was found: install one, or give PYTHON=…" >&2; exit 1; fi
	"$(PYTHON)" -m venv $(VENV)

# Verilator compiles its simulations with g++, make and perl.
build/compiler:
	mkdir -p build
	$(call need,g++,g++)
	$(call need,perl,perl)
	touch $@

# cocotb's benches run under Icarus; the build's Tcl is executed against stubs.
build/tools:
	mkdir -p build
	$(call need,iverilog,iverilog)
	$(call need,tclsh,tcl)
	touch $@

# need(program, Debian package): install it if it is missing and we may, else say how to get it.
define need
	if ! command -v $(1) >/dev/null; then \
		if [[ $$(id -u) == 0 ]] && command -v apt-get >/dev/null; then \
			DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND; apt-get -qq update && apt-get -qq -y install $(2); \
		else echo "$(1) was not found: install it (Debian, Ubuntu: sudo apt-get install $(2))" >&2; exit 1; fi; \
	fi
endef

# Against the frameworks themselves, each in an environment of its own: torch and jax are large, and sinabs wants an old nir. On a
# machine whose index has no CPU build of torch, `make test-frameworks` brings gigabytes.
.PHONY: test-frameworks test-brainpy
test-frameworks: build/installed-torch build/installed-sinabs
	build/venv-torch/bin/python -m pytest -n 2 tests/test_frameworks.py
	build/venv-sinabs/bin/python -m pytest -n 2 tests/test_frameworks.py -k sinabs

test-brainpy: build/installed-brainpy build/compiler
	build/venv-brainpy/bin/python -m pytest -n 2 tests/test_brainpy.py tests/test_brainpy_errors.py tests/test_brainpy_cuba.py

# The driver, the virtual board and the notebooks on each pynq that boards have; the first notebook in a browser.
.PHONY: test-pynq test-browser
test-pynq: build/compiler
	tests/pynq/matrix "$(PYTHON)"

test-browser: build/installed-browser
	build/venv-browser/bin/python -m pytest -s tests/browser

RUNNER := pytest pytest-timeout pytest-xdist hypothesis
build/installed-torch: tests/frameworks/requirements.txt pyproject.toml | build/compiler
	"$(PYTHON)" -m venv build/venv-torch
	build/venv-torch/bin/pip install --quiet -r $< -e '.[compile]' $(RUNNER)
	touch $@

build/installed-sinabs: tests/frameworks/requirements_sinabs.txt pyproject.toml | build/compiler
	"$(PYTHON)" -m venv build/venv-sinabs
	build/venv-sinabs/bin/pip install --quiet -r $< -e '.[compile]' $(RUNNER)
	touch $@

build/installed-brainpy: pyproject.toml | build/compiler
	"$(PYTHON)" -m venv build/venv-brainpy
	build/venv-brainpy/bin/pip install --quiet -e '.[brainpy,compile,rtl]' $(RUNNER)
	touch $@

build/installed-brian2: | build/compiler
	"$(PYTHON)" -m venv build/venv-brian2
	build/venv-brian2/bin/pip install --quiet brian2 'numpy<2.4'
	touch $@

build/installed-nest: | build/compiler
	"$(PYTHON)" -m venv build/venv-nest
	build/venv-nest/bin/pip install --quiet nest-simulator numpy
	touch $@

build/installed-browser: pyproject.toml | build/compiler
	$(call need,chromium,chromium)
	$(call need,chromedriver,chromium-driver)
	"$(PYTHON)" -m venv build/venv-browser
	build/venv-browser/bin/pip install --quiet -e '.[pynq,demo,notebooks]' pynq==3.1.2 jupyterlab selenium $(RUNNER)
	touch $@
