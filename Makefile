# Everything is installed into .venv; nothing else is touched.

PYTHON ?= python3
BIN := .venv/bin
RUN ?=
RUNNER ?= $(BIN)/python

.PHONY: run test unit integration mutants check bench soak pictures clean

run: .venv/installed
	$(BIN)/twistd -n forkecho $(RUN)

test: unit integration

unit: .venv/installed-test
	$(RUNNER) -m twisted.trial -j2 tests.unit

integration: .venv/installed-test
	$(RUNNER) -m pytest --numprocesses 5 --dist loadfile tests/integration

mutants: .venv/installed-test .venv/installed-mutants
	$(RUNNER) -m tests.mutants $(RUN)

check: .venv/installed-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks $(RUN)

soak: .venv/installed-bench
	$(BIN)/python -m benchmarks.soak $(RUN)

# drawn with Graphviz (Debian's package graphviz), and committed: a checkout does not need it
pictures: docs/architecture.svg

docs/%.svg: docs/%.dot
	dot -Tsvg $< -o $@

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/installed-%: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[$*]'
	touch $@ .venv/installed

clean:
	rm -rf .venv build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis _trial_temp*
