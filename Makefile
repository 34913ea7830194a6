# On a fresh machine with Python 3.11+ and make: `make demo`, `make test`. Each sets up what it needs in .venv/.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The Python that was asked for explicitly; empty: whichever built the environment is kept.
CHOSEN := $(if $(filter-out file,$(origin PYTHON)),$(PYTHON))
# Most tests wait for processes and sockets, so three at a time keep two cores busy; a file stays together, and the
# longest come first (tests/conftest.py), not the files with the most tests. A process that ends in the middle of a
# test ends the run: xdist would repeat that test.
PYTEST_ARGS := pytest -n 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
PYTEST := $(BIN)/python -m $(PYTEST_ARGS)
ARGS ?=
MINUTES ?= 60
# The server of URL, else a temporary one.
DEMO_STORE = $(if $(STORE),$(if $(URL),Queue__Provider=$(STORE) Queue__ConnectionString='$(URL)',$(BIN)/python -m tests.support.postgres_server))

.DEFAULT_GOAL := help
.PHONY: help demo run test test-system test-all check lint docs chaos simulate conformance fuzz sbom bench lock screenshots clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 13

demo: $(VENV)/$(if $(STORE),.dev,.runtime) ## the main job on real input; ONCE=1 ends by itself, STORE=postgres [URL=...] uses PostgreSQL
	@$(DEMO_STORE) $(BIN)/insignia-worker demo $(if $(ONCE),--once) $(ARGS)

run: $(VENV)/.runtime ## the service, with the settings of this folder
	@$(BIN)/insignia-worker run $(ARGS)

test: $(VENV)/.dev ## the tests that take minutes; one of them: ARGS=tests/unit/test_job.py
	@$(PYTEST) -m "not kill and not matrix and not system" $(ARGS)

test-system: $(VENV)/.dev ## the unit under systemd, the image under podman; needs root, see docs/testing.md
	@$(BIN)/python -m pytest -n 0 -m system tests/system $(ARGS)

test-all: $(VENV)/.dev ## all tests but those of `test-system`, with branch coverage of the code and of the processes it starts
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(BIN)/coverage run -m $(PYTEST_ARGS) -m "not system" $(ARGS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

check: lint test ## `make lint`, then `make test`

lint: $(VENV)/.dev ## everything of `check` but the tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/codespell
	@$(BIN)/pip-licenses > /dev/null
	@$(BIN)/python -m pytest -q -p no:randomly tests/lint

docs: $(VENV)/.dev ## regenerate what is generated in docs/, config/appsettings.json and the types of the hub's messages
	@$(BIN)/python -m config.docs_generator
	@$(BIN)/python -m worker.observability.log_docs
	@$(BIN)/python -m worker.core.job_docs
	@$(BIN)/python -m worker.hub.message_types

chaos: $(VENV)/.dev ## the service, the JavaScript server and clients under a mix of faults; SEED=1 MINUTES=20 STORE=postgres, more in docs/testing.md
	@$(BIN)/python -m tests.chaos $(if $(STORE),--store $(STORE)) $(if $(SEED),--seed $(SEED)) $(if $(filter-out file,$(origin MINUTES)),--minutes $(MINUTES)) $(ARGS)

simulate: $(VENV)/.dev ## seeds of the simulation, judged by the promises; SEEDS=100000
	@$(BIN)/python -m tests.simulation $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

conformance: $(VENV)/.dev ## Autobahn|Testsuite against the hub's and the link's WebSockets; needs Python 2.7 (PYTHON27)
	@$(BIN)/python -m tests.support.autobahn $(ARGS)

fuzz: $(VENV)/.dev ## coverage-guided fuzzing of every parser of foreign bytes; MINUTES=60 in all
	@$(BIN)/python -m tests.fuzz $$(($(MINUTES) * 60 * $$(nproc) / $$(ls tests/fuzz/corpus | wc -l))) $(ARGS)

sbom: $(VENV)/.dev ## build/sbom.cdx.json: the bill of materials (CycloneDX) of requirements.lock
	@$(BIN)/python -m tests.support.sbom build/sbom.cdx.json

bench: $(VENV)/.dev ## figures: medians, side by side, as ratios
	@$(BIN)/python -m bench $(ARGS)

lock: $(VENV)/.dev ## pin every dependency with its hashes
	@$(BIN)/uv pip compile -q pyproject.toml --extra build --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --custom-compile-command "make lock" -o requirements.lock $(ARGS)
	@$(BIN)/uv pip compile -q pyproject.toml --all-extras -c requirements.lock --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-header --custom-compile-command "make lock" -o requirements-dev.lock $(ARGS)

screenshots: $(VENV)/.dev ## the pictures in docs/screenshots, from a running service, with Chromium (two minutes)
	@$(BIN)/python -m tests.support.screenshots docs/screenshots

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build/coverage

# A development environment serves `make demo` too. It is built again if it is incomplete or has another Python.
UNFIT := $(shell tools/venv.sh fits "$(VENV)" $(CHOSEN) || echo FORCE)
.PHONY: FORCE

$(VENV)/.runtime: requirements.lock pyproject.toml $(UNFIT)
	@tools/venv.sh build "$(VENV)" "$(PYTHON)" runtime $(CHOSEN)

$(VENV)/.dev: requirements-dev.lock pyproject.toml $(UNFIT)
	@tools/venv.sh build "$(VENV)" "$(PYTHON)" dev $(CHOSEN)
