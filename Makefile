# `make` says what there is. Everything is set up by the first target that needs it.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= python3

# A test that hangs where no exception reaches it (in a library, or in its own clean-up) ends its process, with
# the stacks of all threads on the terminal; the other tests go on in a new one.
HANG_SECONDS := 480
NO_HANGS := -o faulthandler_timeout=$(HANG_SECONDS) -o faulthandler_exit_on_timeout=true

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast repeat-failed test-all check fmt bench verify coverage soak clean

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## watch a spike turn into a flat line (a minute, no Kafka)
	$(BIN)/bufferproxy demo

test: $(STAMP)  ## all tests but the long ones; needs Java and Maven for Kafka, else those are skipped
	$(BIN)/pytest -n 2 --dist worksteal $(NO_HANGS)

test-fast: $(STAMP)  ## unit, property, simulation: no Kafka, no browser, no root (the loop of all day)
	$(BIN)/pytest -q -n 2 --dist worksteal tests/unit tests/property tests/simulation tests/cancellation -m "not kafka"

repeat-failed: $(STAMP)  ## what failed the last time, by itself
	$(BIN)/pytest --last-failed --last-failed-no-failures none $(NO_HANGS)

test-all: test  ## what `test` runs, and the long ones
	$(BIN)/pytest tests/acceptance tests/faults --long

soak: $(STAMP)  ## the promises, under faults, for long (an hour or more); a table for docs/reference/soak.md
	$(BIN)/pytest tests/acceptance tests/faults --long

check: $(STAMP)  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(STAMP)  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

PURE := bufferproxy/policy/*,bufferproxy/drain/window.py,bufferproxy/settle/decide.py,bufferproxy/settle/tiers.py,bufferproxy/settle/lines.py,$\
bufferproxy/accept/admission.py,bufferproxy/accept/preferences.py,bufferproxy/accept/routing.py,$\
bufferproxy/accept/front.py,bufferproxy/accept/demand.py,bufferproxy/accept/fields.py,bufferproxy/accept/answers.py,bufferproxy/envelope.py,bufferproxy/ids.py,bufferproxy/log/partitioning.py,$\
bufferproxy/results/selection.py

coverage: $(STAMP)  ## every branch of what decides is tested
	$(BIN)/coverage run -m pytest -q tests/unit/policy tests/unit/drain tests/unit/settle tests/unit/accept \
	  tests/unit/log/test_partitioning.py tests/unit/test_envelope.py tests/unit/test_letters.py \
	  tests/unit/results/test_selection.py
	$(BIN)/coverage report --fail-under=100 --show-missing --include='$(PURE)'

bench: $(STAMP)  ## measure, against bare ceilings in the same run; JSON and a table
	$(BIN)/python -m benchmarks

clean:  ## remove what was made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage bufferproxy-data
