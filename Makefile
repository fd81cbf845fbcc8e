# make demo       the main job on real input
# make test       lint, types and the tests
# make test-all   those, and the heavier runs
# make clean      forget the environment and everything built
# Each installs what it needs: Debian packages when they are missing, the rest into .venv.

PYTHON ?= python3
BIN := .venv/bin
# Simulators and Verilog are built once and kept here.
export SPIKELOOM_CACHE ?= $(CURDIR)/build/cache
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-all check tests system clean

demo: .venv/demo
	$(BIN)/spikeloom demo --out build/demo

test: check tests

test-all: check
	$(BIN)/python -m pytest -n 2

check: .venv/dev
	$(BIN)/ruff check .
	MYPYPATH=src $(BIN)/mypy -p spikeloom

tests: .venv/dev | system
	$(BIN)/python -m pytest -n 2 -m "not slow"

# Icarus simulates the cocotb benches; the C++ compiler, make and perl build the compiled simulation.
system:
	@sh tools/system.sh

.venv/created:
	$(PYTHON) -m venv .venv
	touch $@

.venv/demo: .venv/created pyproject.toml | system
	$(BIN)/python -m pip install --quiet --editable ".[compile,cli,rtl,data]"
	touch $@

.venv/dev: .venv/demo pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv build
