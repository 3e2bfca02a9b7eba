# What a newcomer types. `make demo` needs Python >= 3.10 with its headers and a C compiler; nothing else of the system.
#
#   make demo     install into .venv and compare a convolution with and without the coprocessor
#   make test     the tests                           (PYTEST_ARGS="-k decode" selects)
#   make check    ruff and mypy
#   make fuzz, fuzz-parsers, sanitize, coverage    more of the proof than the tests run (docs/testing.md)
#   make bench    host speed beside the other simulators of this machine, into docs/benchmarks/
#   make bench-check    fail if that speed has fallen by more than 20 % since
#   make clean    remove what was built; the environment too
#
# PYTHON=python3.12 chooses the interpreter of a new .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The install is editable: a changed .py needs no new install, a changed description or compiled source does.
# Bytecode is compiled at once: a run that finds none would take longer to start than many a guest.
COMPILED := pyproject.toml setup.py rvsim/_version.py \
  $(shell find rvsim accel \( -name '*.pyx' -o -name '*.pxd' -o -name 'hart_cached.c' -o -name '*.core_desc' -o -name '*.lark' \) 2>/dev/null) \
  $(shell find rvsim/isa -name '*.py' -not -path '*/_*/*' 2>/dev/null) \
  $(shell find rvsim accel -name '*.h' -not -path '*/_generated/*' 2>/dev/null)

.PHONY: demo test check bench bench-check clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/rvsim compare conv_int8.elf --accel off,on

test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest -n auto --dist worksteal -p tests.differential.summary $(PYTEST_ARGS)

check: $(VENV)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(VENV)/.installed
	@mkdir -p docs/benchmarks
	@$(BIN)/rvsim bench --json docs/benchmarks/$$(date -u +%F).json --markdown docs/benchmarks.md

# Against the newest figures kept: a fall of more than 20 % beside qemu-riscv32 fails. Not part of the tests: a busy machine measures badly.
bench-check: $(VENV)/.installed
	@$(BIN)/rvsim bench --check $$(ls docs/benchmarks/*.json | tail -1)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf rvsim/machine/_generated rvsim/isa/_bundle rvsim/machine/_hart.c rvsim/timing/_exact.c accel/conv/_kernel.c accel/conv/_mapping.c
	rm -f rvsim/machine/*.so rvsim/timing/*.so accel/conv/*.so
	find rvsim accel kernels tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.installed: $(COMPILED) | $(BIN)/python
	$(PIP) install --quiet --editable .
	@$(BIN)/python -m compileall -q rvsim accel kernels
	@touch $@

# The project is there: only what the extra names is installed, and nothing is compiled again.
$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install --quiet 'rvsim-accel[test]'
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: expected Python >= 3.10 as $(PYTHON), found none; say which: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "make: expected Python >= 3.10, found $$($(PYTHON) --version); say which: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: expected the modules venv and ensurepip in $(PYTHON), found them missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || { echo "make: expected Python.h of $(PYTHON), found none; on Debian and Ubuntu: apt-get install python3-dev" >&2; exit 1; }
	@command -v $${CC:-cc} >/dev/null || { echo "make: expected a C compiler as $${CC:-cc}, found none; on Debian and Ubuntu: apt-get install gcc libc6-dev" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Random programs on the interpreter, qemu-riscv32 and the evaluator: make fuzz PROGRAMS=20000 SECONDS=inf SEED=
.PHONY: fuzz fuzz-parsers sanitize coverage
fuzz: $(VENV)/.installed-test
	@$(BIN)/python -m tests.differential.fuzz --programs $(or $(PROGRAMS),20000) --seconds $(or $(SECONDS),inf) --seed "$(SEED)"

# Figures that others published, measured again, into docs/validation-accelerators.md: minutes, a RISC-V GCC and the models
.PHONY: validation-accelerators
validation-accelerators: $(VENV)/.installed-test
	@$(BIN)/python -m tests.accel.published_figures

# Damaged files for everything that reads files: make fuzz-parsers TARGET=elf SECONDS=600 SEED=
fuzz-parsers: $(VENV)/.installed-test
	@$(BIN)/python -m tests.fuzz.parsers --target $(or $(TARGET),all) --seconds $(or $(SECONDS),60) --seed "$(SEED)"

# The tests of the extension modules under AddressSanitizer and UndefinedBehaviorSanitizer, in a copy below build/
sanitize: $(VENV)/.installed-test
	@$(BIN)/python tests/instrumented.py sanitize $(PYTEST_ARGS)

# Lines of the Cython modules that the tests execute, in a copy below build/
coverage: $(VENV)/.installed-test
	@$(BIN)/python tests/instrumented.py coverage $(PYTEST_ARGS)
