# Everything happens in $(VENV) and the node_modules of tests/interop; `make clean` removes them. `make help` lists the targets.
#
#   make test PYTHON=python3.12      that interpreter instead of the first one found
#   make test ARGS="-k heartbeat"    more arguments for pytest
#   make test JOBS=0                 in one process, as a debugger needs it

VENV ?= .venv
PYTHON ?=
ARGS ?=
# Most tests wait for something most of the time, so more processes than cores would still be faster, but less steady.
JOBS ?= 2

VERSIONS := 3.11 3.12 3.13 3.14 3.15
CANDIDATES := $(if $(PYTHON),"$(PYTHON)",python3 python3.15 python3.14 python3.13 python3.12 python3.11 python)
# An interpreter counts if it runs (a pyenv shim may exist and run nothing), is new enough and can make an environment.
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two releases of one package cannot share a node_modules.
NODE_FOLDERS := tests/interop tests/interop/plugins tests/interop/primus6 tests/interop/primus8
NODE_READY := tests/interop/node_modules/.ready
FAST_TESTS := tests/unit tests/scenarios
BROWSER_TESTS := tests/interop/test_browser*.py tests/interop/test_proxies.py
INTEROP_MATRIX := tests/interop/test_transports.py $(BROWSER_TESTS)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv setup node demo test test-unit test-long test-interop matrix matrix-browser test-all lint types completeness format coverage mutants docs docs-check autobahn faults floods fuzz bench golden clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# An environment belongs to one folder and one interpreter. One that was copied here, whose Python has gone, or that was
# made for another PYTHON is made again; so is one older than pyproject.toml.
ifneq ($(shell [ -x $(BIN)/python ] && cat $(READY) 2>/dev/null),$(strip $(CURDIR) $(PYTHON)))
.PHONY: $(READY)
endif
$(READY): pyproject.toml
	@found=; for python in $(CANDIDATES); do \
	  if "$$python" -c '$(USABLE)' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Python >= 3.11 not found (with its venv and ensurepip modules). Tried:" $(CANDIDATES) >&2; \
	  echo "Install one (on Debian and Ubuntu: python3 and python3-venv) or name one: make PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	echo "making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable .
	@echo '$(strip $(CURDIR) $(PYTHON))' >$@

$(VENV)/.group-%: $(READY)
	@echo "installing what '$*' needs"
	@$(BIN)/python -m pip install --quiet --group $*
	@touch $@

$(NODE_READY): $(foreach folder,$(NODE_FOLDERS),$(wildcard $(folder)/package.json $(folder)/package-lock.json))
	@echo "installing the npm packages of tests/interop"
	@for folder in $(NODE_FOLDERS); do \
	  (cd $$folder && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) || exit 1; \
	done
	@touch $@

venv: $(READY) ## the environment with the package in it, editable

node: ## the npm packages the interop tests talk to
	@if [ ! -e tests/interop/package.json ]; then :; \
	elif node --version >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --no-print-directory --silent $(NODE_READY); \
	elif [ "$$PRIMUS_REQUIRE_INTEROP" = 1 ]; then \
	  echo "node or npm not found, and PRIMUS_REQUIRE_INTEROP says the interop tests must run. Install Node.js >= 20 with npm." >&2; exit 1; \
	else \
	  echo "************************************************************************" >&2; \
	  echo "** node or npm not found: THE INTEROP TESTS WILL BE SKIPPED." >&2; \
	  echo "** Nothing is tested against the real Primus until you install Node.js >= 20." >&2; \
	  echo "************************************************************************" >&2; \
	fi

setup: venv $(VENV)/.group-test node ## all that the tests need

demo: venv ## a short tour: a server, two clients, a heartbeat, a reconnect
	@$(BIN)/primus demo

test: setup ## all tests, in JOBS=2 processes
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-unit: $(VENV)/.group-test ## the fast ones: no sockets, virtual time
	$(BIN)/python -m pytest $(FAST_TESTS) $(ARGS)

test-long: $(VENV)/.group-test ## the properties, 10,000 examples of each; takes a while
	$(BIN)/python -m pytest $(FAST_TESTS) -m hypothesis --hypothesis-profile=long -o faulthandler_timeout=0 $(ARGS)

test-interop: setup ## against the real npm packages
	$(BIN)/python -m pytest tests/interop $(ARGS)

matrix: setup ## two tables: the scenarios of the conformance suite on each binding; each way of the real packages
	$(BIN)/python -m pytest tests/conformance --matrix -q $(ARGS)
	$(BIN)/python -m pytest $(INTEROP_MATRIX) --matrix -q $(ARGS)

matrix-browser: setup ## clients in headless Chromium, and sessions through nginx and HAProxy; fails without one of these
	PRIMUS_REQUIRE_PROGRAMS=1 $(BIN)/python -m pytest $(BROWSER_TESTS) $(ARGS)

test-all: ## all tests on every Python of 3.11 to 3.15 there is, each in an environment of its own
	@passed=; failed=; absent=; \
	for version in $(VERSIONS); do \
	  found=; for python in "python$$version" "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version*/bin/"python$$version"; do \
	    if "$$python" -c '$(USABLE)' >/dev/null 2>&1; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then absent="$$absent $$version"; continue; fi; \
	  echo "==== Python $$version ===="; \
	  if $(MAKE) --no-print-directory test PYTHON="$$found" VENV=".venv-$$version"; then passed="$$passed $$version"; \
	  else failed="$$failed $$version"; fi; \
	done; \
	echo "==== passed:$${passed:- none}; failed:$${failed:- none}; absent, so not tested:$${absent:- none} ===="; \
	[ -z "$$failed" ] && [ -n "$$passed" ]

lint: $(VENV)/.group-lint ## ruff: rules and format; the prose of the pages and docstrings
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python docs/prose.py

types: $(VENV)/.group-lint $(VENV)/.group-test ## mypy --strict
	$(BIN)/python -m mypy --strict

completeness: $(VENV)/.group-completeness ## pyright: the share of public names whose types are known; less than 95 % fails. Needs Node.js
	@for package in primus_proto primus_io; do \
	  PATH="$(CURDIR)/$(BIN):$$PATH" pyright --ignoreexternal --verifytypes $$package | \
	    awk -v package=$$package '/^Type completeness score/ { print package ": " $$4; ok = $$4 + 0 >= 95 } END { exit !ok }' \
	    || exit 1; \
	done

format: $(VENV)/.group-lint ## let ruff rewrite what it can
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

coverage: $(VENV)/.group-test ## branches of primus_proto that its own tests reach; less than all of them fails
	$(BIN)/python -m coverage run -m pytest $(FAST_TESTS) $(ARGS)
	$(BIN)/python -m coverage run --append -m pytest tests/conformance -k virtual
	$(BIN)/python -m coverage report

mutants: $(VENV)/.group-mutants ## change the sessions in some 1,600 ways; which changes no test notices. Half an hour
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/mutmut run --max-children 2 $(ARGS)
	$(BIN)/mutmut results
	$(BIN)/mutmut export-cicd-stats && cat mutants/mutmut-cicd-stats.json

docs: $(VENV)/.group-site $(VENV)/.group-test ## the documentation as a site, in site/; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -E -a -b html docs site

docs-check: $(VENV)/.group-test ## run the documentation's examples, follow its links; what a recipe needs and was forgotten
	$(BIN)/python -m pytest tests/test_docs.py tests/test_recipes.py tests/test_reference.py $(ARGS)

bench: setup $(VENV)/.group-bench ## servers side by side, this one and the peers that are found: a table of ratios and bench.svg. Linux
	$(BIN)/python benchmarks/compare.py --plot bench.svg $(ARGS)

autobahn: $(VENV)/.group-autobahn ## the Autobahn cases against both ends on each binding; a case that is not OK is a failure
	$(BIN)/python -m tests.autobahn.run $(ARGS)

faults: setup ## faults on real sockets against each binding: killed peers, resets, no descriptors, churn, SIGTERM
	$(BIN)/python -m tests.faults.run $(ARGS)

floods: setup ## what floods cost: memory for each connection, and the latency of an honest echo beside them
	$(BIN)/python -m tests.faults.floods $(ARGS)

fuzz: $(VENV)/.group-test $(VENV)/.group-fuzz ## fuzz the core, each target for SECONDS=60; needs Python 3.11 to 3.13
	$(BIN)/python -m fuzz --seconds $(or $(SECONDS),60) $(ARGS)

golden: setup ## record the original's behaviour again and say whether it is still what tests/golden has
	$(BIN)/python -m tests.golden.record --check
	$(BIN)/python -m tests.golden.cors --check

clean: ## remove all that was made here
	rm -rf .venv .venv-* $(addsuffix /node_modules,$(NODE_FOLDERS)) build dist htmlcov .coverage .coverage.* \
	  .hypothesis .mypy_cache .pytest_cache .ruff_cache mutants
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
