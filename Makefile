# The virtual environment is made from nothing by whichever target first needs it.
#   make demo PYTHON=python3.12     another interpreter
#   make test VENV=.venv-new        another environment
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Named here, because a comma would end an argument of $(call).
DEV := .[dev,engines]

.DELETE_ON_ERROR:
.PHONY: help demo demo-ising test slow coverage mutations lint format docs bench clean

help:
	@echo "make demo       install bayescg into $(VENV) and run the main job, water; results in demo/"
	@echo "make demo-ising the paper's Ising study (half an hour); results in demo/ising/"
	@echo "make test       the tests (minutes)"
	@echo "make slow       the tests left out of 'make test'"
	@echo "make coverage   the tests, and which lines they run (90 % at least)"
	@echo "make mutations  whether the tests see code that is made wrong"
	@echo "make lint       style, formatting and types"
	@echo "make format     rewrite the source in the project's format"
	@echo "make docs       HTML documentation in docs/_build/html"
	@echo "make bench      side-by-side measurements"
	@echo "make clean      remove what was built; $(VENV) stays"

# An environment that works is kept and brought up to date; one that does not is made anew.
usable = -c 'import sys; sys.exit(sys.version_info < (3, 11))'
define install
	@$(BIN)/python $(usable) 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  $(PYTHON) $(usable) 2>/dev/null || { \
	    echo "bayescg needs Python 3.11 or newer, '$(PYTHON)' is not; try: make PYTHON=python3.12" >&2; exit 1; }; \
	  echo "making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "installing $(1) into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '$(1)'
	@touch $@
endef

$(VENV)/.installed: pyproject.toml setup.py
	$(call install,.)

$(VENV)/.installed-dev: pyproject.toml setup.py
	$(call install,$(DEV))

$(VENV)/.installed-docs: pyproject.toml setup.py
	$(call install,.[docs])

demo: $(VENV)/.installed
	$(BIN)/bayescg demo -o demo

demo-ising: $(VENV)/.installed
	$(BIN)/bayescg demo ising -o demo/ising

# Compiling is most of what the tests do: they have it done lightly. The slow lane compiles as users do.
test: export XLA_FLAGS := $(or $(XLA_FLAGS),--xla_backend_optimization_level=1)
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

coverage: export XLA_FLAGS := $(or $(XLA_FLAGS),--xla_backend_optimization_level=1)
coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

mutations: $(VENV)/.installed-dev
	$(BIN)/python -m tests.mutations

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf build dist *.egg-info demo docs/_build docs/api .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name .venv\* -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
