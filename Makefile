# Every target works in the environment .venv/ of this checkout, which
# «make install-packages» makes. PYTHON picks the interpreter it is made with.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.packages
DEMO_STAMP := $(VENV)/.demo-packages
PID_FILE := .eventstoredb.pid
PORT ?= 2113

# The first Python that runs, is supported and can make environments.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14 python3.15; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 16))' \
	2>/dev/null && echo $$python && break; done)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 22

$(BIN)/python:
	@echo "Making the environment $(VENV)/ with $(PYTHON)"
	@test -n "$(PYTHON)" || { echo "django-esdb needs Python 3.11 to 3.15 with its venv module; none was found. Say where it is: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml $(wildcard requirements/constraints-*.txt) | $(BIN)/python
	./requirements/install $(BIN)/python
	@touch $(DEMO_STAMP) $@

# The demo needs a part of that only. The full environment has this, too.
$(DEMO_STAMP): pyproject.toml $(wildcard requirements/demo-*.txt) | $(BIN)/python
	@echo "Installing what the demo needs into $(VENV)/"
	@./requirements/install $(BIN)/python demo
	@touch $@

.PHONY: install-packages
install-packages: $(STAMP) ## Make .venv/ and install what the project and its tests need

.PHONY: install
install: $(STAMP) ## Install the project itself into .venv/, editable
	$(BIN)/python -m pip install --quiet --no-deps --editable .

.PHONY: update-packages
update-packages: $(BIN)/python ## Resolve the newest versions and write them down
	./requirements/update $(BIN)/python
	$(MAKE) install-packages

.PHONY: demo
demo: $(DEMO_STAMP) ## Run the example: event store, projections, web site
	@$(BIN)/python -m example_project

.PHONY: start-eventstoredb
start-eventstoredb: $(STAMP) ## Start the embedded event store on port 2113
	@$(BIN)/python -m eventsourcing_eventstoredb.server.daemon start --pid-file $(PID_FILE) --port $(PORT)

.PHONY: stop-eventstoredb
stop-eventstoredb: ## Stop the event store that start-eventstoredb started
	@$(BIN)/python -m eventsourcing_eventstoredb.server.daemon stop --pid-file $(PID_FILE)

# With COVERAGE=yes tests note which code they run.
# With IN_TURN=yes they use one database after the other, which takes longer.
TESTS := $(BIN)/python -m tests $(if $(COVERAGE),--coverage) $(if $(IN_TURN),--in-turn)

.PHONY: test
test: $(STAMP) ## Run all tests but slow ones, on every database that can be reached
	@$(TESTS) -m "not slow" -o faulthandler_timeout=300

# Tests wait most of the time. WORKERS=0 runs them one after the other.
WORKERS ?= 4

.PHONY: test-store
test-store: $(STAMP) ## Run the tests that need an event store with one that runs: URI=esdb://...
	@test -n "$(URI)" || { echo "Say where the event store is: make test-store URI='esdb://host:2113?Tls=false'" >&2; exit 1; }
	@$(BIN)/python -m pytest --store "$(URI)" -n $(WORKERS) --dist worksteal

.PHONY: test-slow
test-slow: $(STAMP) ## Run the tests that are slow, and what draws examples with more of them
	@HYPOTHESIS_PROFILE=thorough $(TESTS) -m "slow or hypothesis"

# In one run, since each costs a start of all its processes. Where it takes long it is
# busy: it may take longer than a run of a part.
.PHONY: test-thorough
test-thorough: $(STAMP) ## Run the tests of both, each once
	@HYPOTHESIS_PROFILE=thorough $(TESTS) --minutes 45

# Each has to reach the limit in pyproject.toml by itself.
PACKAGES := django_esdb eventsourcing_eventstoredb

.PHONY: coverage
coverage: $(STAMP) ## See that tests that have run with COVERAGE=yes ran enough of the code
	@$(BIN)/coverage combine --quiet
	@status=0; for package in $(PACKAGES); do \
		echo "=== Coverage of $$package"; \
		$(BIN)/coverage report --include="$$package/*" || status=1; \
	done; exit $$status

# Of the pairs of Python and Django in tox.ini those whose Python is there. Only what
# depends on them is run, since all tests with each would take hours: for that there is tox.
.PHONY: test-pairs
test-pairs: $(STAMP) ## Run tests with other versions of Python, Django and the client library
	@$(BIN)/python -m tests.support.pairs

# On a clean checkout: what is tested is what was committed.
.PHONY: release-check
release-check: $(STAMP) ## Build the sdist and the wheel, and test them with each Python that is there
	@$(BIN)/python -m tests.support.release $(if $(QUICK),--quick)

.PHONY: test-all
test-all: $(STAMP) ## Run all tests, and see that they run enough of the code
	@$(BIN)/coverage erase
	@$(MAKE) --no-print-directory test-thorough COVERAGE=yes
	@$(MAKE) --no-print-directory coverage
	@$(MAKE) --no-print-directory test-pairs

.PHONY: stress
stress: $(STAMP) ## Kill everything at random moments, see that nothing is lost or done twice
	@$(BIN)/python -m tests.support.stress
	@HYPOTHESIS_PROFILE=stress $(BIN)/python -m tests -m hypothesis tests/integration/app/rows

.PHONY: outages
outages: $(STAMP) ## Measure how soon everything recovers after elections and restarts of the store
	@$(BIN)/python -m tests.support.stress.outages

.PHONY: bench
bench: $(STAMP) ## Run the benchmarks
	@$(BIN)/python -m benchmarks

.PHONY: lint
lint: $(STAMP) ## Check format, style, types, imports, migrations and the root
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python -m tests.support.root

.PHONY: audit
audit: $(STAMP) ## Ask whether vulnerabilities are known in the packages written down
	@./requirements/audit $(BIN)/python

.PHONY: fmt
fmt: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

# What builds the documentation's site is apart from what the project needs.
DOCS_VENV := .venv-docs
DOCS_STAMP := $(DOCS_VENV)/.packages
SPHINX = $(DOCS_VENV)/bin/python -m sphinx --fail-on-warning --keep-going --quiet -c docs

$(DOCS_STAMP): pyproject.toml $(wildcard requirements/docs-*.txt)
	@test -n "$(PYTHON)" || { echo "The documentation needs Python 3.11 to 3.15 with its venv module; none was found. Say where it is: make PYTHON=/path/to/python3.12 docs" >&2; exit 1; }
	$(PYTHON) -m venv $(DOCS_VENV)
	./requirements/install $(DOCS_VENV)/bin/python docs
	@touch $@

.PHONY: docs
docs: $(DOCS_STAMP) ## Build the documentation's site; a link that leads nowhere is an error
	@$(SPHINX) -b html . build/docs
	@echo "The documentation is in build/docs/index.html"

.PHONY: reference
reference: $(STAMP) ## Write the pages of the documentation that are made of the code
	@$(BIN)/python -m tests.support.docs.reference

.PHONY: docs-links
docs-links: $(DOCS_STAMP) ## Ask other sites whether what the documentation links to is there
	@$(SPHINX) -b linkcheck . build/docs-links

# Needs GNU gettext. What is new or has changed is marked as fuzzy or is empty.
.PHONY: messages
messages: $(STAMP) ## Collect the texts to translate, and compile the translations
	@for folder in django_esdb example_project; do (cd $$folder \
		&& $(abspath $(BIN)/python) -m django makemessages --locale de --locale fr \
			--no-location --no-obsolete \
		&& $(abspath $(BIN)/python) -m django compilemessages) || exit 1; done

.PHONY: pictures
pictures: $(STAMP) ## Make the docs' pictures of the admin, with chromium and chromedriver
	@$(BIN)/python -m tests.support.pictures

.PHONY: clean
clean: ## Remove the environment and what the example wrote
	rm -rf $(VENV) $(DOCS_VENV) build/docs build/docs-links .demo
