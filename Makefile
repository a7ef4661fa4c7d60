SHELL := /bin/bash
PYTHON ?= python3
export PYTHON
PYTEST_ARGS ?=
NAME = trixie
# Tests wait for containers more than they work: with two, two processors are half idle.
SIDE_BY_SIDE = 3

# Each recipe's own shell knows the cache, the images and the tools.
with_env := . .ci/env &&
# What these runs measure goes into a page of the documentation.
keep_figures := PODMANSPAWNER_FIGURES=1

.DEFAULT_GOAL := help
.PHONY: help demo demo-clean test test-unit test-podman test-hostile test-hub test-browser test-docs test-package test-machines matrix machine crashes soak fuzz bench lint docs setup-test setup-unit setup-fuzz setup-lint setup-docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

demo: ## a Hub on http://127.0.0.1:8000 with servers in rootless Podman; Ctrl-C ends it
	@examples/demo/run

demo-clean: ## remove what the demo made: its accounts and their containers, its data
	@examples/demo/clean

test: setup-test lint ## set-up, lint and all tests
	@$(with_env) pytest -n $(SIDE_BY_SIDE) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-unit: setup-unit ## tests that need no Podman
	@$(with_env) pytest tests/unit $(PYTEST_ARGS)

test-podman: setup-test ## tests against the real engine
	@$(with_env) pytest tests/podman $(PYTEST_ARGS)

test-hostile: setup-test ## what a hostile account may try
	@$(with_env) $(keep_figures) pytest tests/hostile $(PYTEST_ARGS)

fuzz: setup-fuzz ## an hour of random input to all that reads what comes from outside
	@$(with_env) $(keep_figures) pytest tests/unit/test_fuzz.py tests/unit/test_answers.py \
		tests/unit/test_names.py tests/unit/test_options.py tests/unit/test_pulls.py tests/fuzz \
		--hypothesis-profile=hour --timeout=0 $(PYTEST_ARGS)

test-hub: setup-test ## tests of a real Hub from end to end
	@$(with_env) pytest tests/hub $(PYTEST_ARGS)

crashes: setup-test ## the Hub, or the service of an account, killed at every step (half an hour)
	@$(with_env) $(keep_figures) PODMANSPAWNER_CRASH_EVERY=1 pytest tests/hostile/test_crashes.py $(PYTEST_ARGS)

soak: setup-test ## half an hour of starts and stops: memory, descriptors, threads, processes
	@$(with_env) $(keep_figures) PODMANSPAWNER_SOAK_SECONDS=$${PODMANSPAWNER_SOAK_SECONDS:-1800} \
		pytest tests/hub/test_load.py -k starts_and_stops $(PYTEST_ARGS)

bench: setup-test ## what it costs beside what one would use instead (half an hour)
	@$(with_env) tests/bench/bench.py $(PARTS)

test-browser: setup-test ## what people see, in a real browser; UPDATE_SCREENSHOTS=1 takes pictures
	@$(with_env) pytest tests/browser $(PYTEST_ARGS)

test-docs: setup-test ## the documentation: it builds, and what it shows is true
	@$(with_env) pytest tests/docs $(PYTEST_ARGS)

test-package: setup-test ## wheel and sdist, built, installed and used
	@$(with_env) pytest tests/packaging $(PYTEST_ARGS)

test-machines: setup-test ## tests on machines with systemd (Debian 12, 13 and forky)
	@$(with_env) PODMANSPAWNER_MACHINES="bookworm trixie forky" pytest tests/machines $(PYTEST_ARGS)

matrix: setup-test ## the layers on every engine, network helper, runtime, JupyterHub, Python (hours)
	@$(with_env) tests/machines/matrix.py $(RUNS)

machine: setup-test ## a shell as root on a machine with systemd: make machine NAME=bookworm|trixie|forky|limits
	@$(with_env) tests/machines/machine.py $(NAME)

lint: setup-lint ## ruff and mypy
	@$(with_env) ruff check && ruff format --check && mypy

docs: setup-docs ## the web site, in docs/_build/html; a warning is an error
	@$(with_env) python -m sphinx -E -a -W --keep-going -d docs/_build/doctrees docs docs/_build/html

setup-test:
	@.ci/setup test lint docs

setup-unit:
	@.ci/setup unit

setup-fuzz:
	@.ci/setup unit fuzz

setup-lint:
	@.ci/setup lint

setup-docs:
	@.ci/setup docs

clean: ## remove what was built in this checkout
	rm -rf .venv dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
