# kcalc: set-up and the two commands of the README. Needs Python 3.11 to 3.13 only.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: demo test test-all check conformance notebook wheel clean

demo: $(VENV)/installed
	$(BIN)/python recipes/demo.py --out $(DEMO)

test: $(VENV)/installed-test
	$(BIN)/python -m pytest

test-all: $(VENV)/installed-test
	$(BIN)/python -m pytest -m ""

check: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/typos .

conformance: $(VENV)/installed-test
	$(BIN)/python tests/conformance.py

notebook: $(VENV)/installed-test
	$(BIN)/python recipes/notebooks/execute.py

wheel: $(VENV)/installed-test
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/installed: $(VENV)/bin/python setup.cfg
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/bin/python setup.cfg
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo
