# Renewal's verbs. Each works from a clean checkout: it makes .venv, installs what it needs
# with the tested pins of constraints.txt, and does neither again until they change.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
# Environments of other projects' clients, whose dependencies fight with ours.
CLIENTS := $(VENV)-clients
# What an installation depends on; a stamp is newer than both, or it is done again.
PINS := pyproject.toml constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

.PHONY: help demo test check clients docs bench nightly clean
.DEFAULT_GOAL := help

help:  ## List the verbs.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/.installed-demo  ## Keep a model of the flights of 2013 up to date (ARGS=--quick: under a minute).
	$(BIN)/renewal demo --home ./.renewal-demo $(ARGS)

test: $(VENV)/.installed-test  ## Run the tests (ARGS: options of pytest).
	$(BIN)/python -m pytest -q -m "not slow" $(ARGS)

check: $(VENV)/.installed-dev  ## Lint, formatting, types, the floors of the house, spelling.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@# alhpa, orign: typos that tests make on purpose; pres: a column of the Beijing data
	$(BIN)/codespell -L alhpa,orign,pres src tests bench docs examples README.md CHANGELOG.md changelog.d Makefile

clients: $(CLIENTS)/kserve/.installed $(CLIENTS)/mlserver/.installed  ## Install the clients that tests/clients runs; without them it is skipped.

docs: $(VENV)/.installed-test  ## Run the code of the docs and the docstrings; check their links.
	$(BIN)/python -m pytest -q tests/docs src $(ARGS)

# A script is what has a main, a folder what has __main__.py; figure.py only prints their last
# lines.
bench: $(VENV)/.installed-test  ## Run every script and folder of bench/.
	@set -e; for script in $$(grep -l __main__ bench/*.py | grep -v /figure.py) \
	    $(wildcard bench/*/__main__.py); do \
	  name=$$(echo $$script | sed 's,/__main__,,; s,\.py$$,,; s,/,.,g'); echo "== $$name"; \
	  $(BIN)/python -m $$name $(ARGS); \
	done

nightly: $(VENV)/.installed-test  ## Run all tests, the slow ones too.
	$(BIN)/python -m pytest -q $(ARGS)

clean:  ## Remove what the verbs made.
	rm -rf $(VENV) $(CLIENTS) .renewal-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# dev holds test, test holds demo: what is installed for the larger serves the smaller.
$(VENV)/.installed-%: $(PINS) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e '.[$*]'
	@touch $@

# The lists are whole, so there is nothing to resolve; what is imported is compiled then.
$(CLIENTS)/%/.installed: tests/clients/%.txt | $(BIN)/python
	$(PYTHON) -m venv --clear --without-pip $(@D)
	$(PIP) --python $(@D)/bin/python install --quiet --no-deps --no-compile -r $<
	@touch $@
