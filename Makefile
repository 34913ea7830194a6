# On a fresh machine with Python 3.11+ and make: `make demo`, `make test`. Each sets up what it needs in .venv/.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
# Most tests wait for processes and sockets, so three at a time keep two cores busy; a file stays together.
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo run test check lint bench lock clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

demo: $(VENV)/.runtime ## the main job on real input; ONCE=1 ends by itself
	@$(BIN)/insignia-worker demo $(if $(ONCE),--once) $(ARGS)

run: $(VENV)/.runtime ## the service, with the settings of this folder
	@$(BIN)/insignia-worker run $(ARGS)

test: $(VENV)/.dev ## all tests
	@$(PYTEST) $(ARGS)

check: $(VENV)/.dev lint ## format, lint, types, import layers, lock, all tests
	@$(PYTEST) -q $(ARGS)

lint: $(VENV)/.dev ## everything of `check` but the tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev ## figures: medians, side by side, as ratios
	@$(BIN)/python -m bench $(ARGS)

lock: $(VENV)/.dev ## pin every dependency with its hashes
	@$(BIN)/uv pip compile -q pyproject.toml --extra build --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --custom-compile-command "make lock" -o requirements.lock $(ARGS)
	@$(BIN)/uv pip compile -q pyproject.toml --all-extras -c requirements.lock --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-header --custom-compile-command "make lock" -o requirements-dev.lock $(ARGS)

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# A dev environment serves `make demo` too, so whichever came first is kept.
$(VENV)/.runtime: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once)" >&2
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) for development (once)" >&2
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $(VENV)/.runtime $@
