# Slipway: every target sets up .venv by itself from the versions in steps/package/pins.txt.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# A stamp for each set of extras: they are installed again only when pyproject.toml or the pins change.
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(RUN_STAMP) ## the main job on a real model: train, publish, fetch, package, serve, predict
	$(BIN)/python -m pipelines.demo

.PHONY: test
test: $(DEV_STAMP) ## all tests that need no cluster, side by side on up to four cores
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadscope --no-loadscope-reorder

.PHONY: quick
quick: $(DEV_STAMP) ## the tests that load no model and start no service, in about a minute
	$(BIN)/python -m pytest -m "not slow"

.PHONY: test-hard
test-hard: $(DEV_STAMP) ## the fault suite, at most 40 minutes on two cores; writes its scorecard to docs/fault-suite.md
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadscope --no-loadscope-reorder \
		-m "fault or hard" --scorecard=docs/fault-suite.md

.PHONY: coverage
coverage: $(DEV_STAMP) ## all tests, measuring branches in every process that they start; writes docs/coverage.md
	$(BIN)/python -m tests.measure_coverage

.PHONY: lint
lint: $(DEV_STAMP) ## style, docstrings, types, and which module may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(DEV_STAMP) ## format the code, and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: manifests
manifests: $(DEV_STAMP) ## write the CRD and the Kubernetes manifests again, from the code
	$(BIN)/python -m crd.schema
	$(BIN)/python -m pipelines.manifests

.PHONY: pages
pages: $(DEV_STAMP) ## write docs/errors.md, settings.md, commands.md and crd.md again, from the code
	$(BIN)/python -m pipelines.pages

.PHONY: tasks
tasks: $(DEV_STAMP) ## write docs/tasks.md again, from the tests of the tasks
	SLIPWAY_WRITE_TASKS=1 $(BIN)/python -m pytest -q tests/steps/tasks/test_services.py

.PHONY: images
images: ## build the container images (docker, podman or buildah), and push them to REGISTRY if it is set
	REGISTRY=$(REGISTRY) containers/images.sh

.PHONY: kind-up
kind-up: $(DEV_STAMP) ## a kind cluster named slipway with Argo, a store and Slipway in it; needs docker
	SLIPWAY=$(BIN)/slipway containers/kind-up.sh

.PHONY: e2e
e2e: $(DEV_STAMP) ## the tests that need a cluster, in the one that KUBECONFIG names
	$(BIN)/python -m pytest -m cluster tests/cluster tests/steps/store

.PHONY: pins
pins: ## pin the newest versions that pyproject.toml allows, and write what follows from them
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -e '.[ml,gcp,s3,demo,pipelines,operator,dev]'
	$(BIN)/python -m steps.package.pins

.PHONY: wheel
wheel: $(DEV_STAMP) ## dist/*.whl, for an environment outside of this checkout
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist .

.PHONY: clean
clean: ## remove what make run and make test made, the environment included
	rm -rf $(VENV) dist .slipway .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Slipway needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml steps/package/pins.txt | $(VENV)/bin/python
	@echo "Installing pinned packages into $(VENV) (a minute or two, once) …"
	$(PIP) install --quiet -c steps/package/pins.txt -e '.[ml,demo]'
	@touch $@

$(DEV_STAMP): pyproject.toml steps/package/pins.txt | $(VENV)/bin/python
	@echo "Installing pinned packages into $(VENV) (a minute or two, once) …"
	$(PIP) install --quiet -c steps/package/pins.txt -e '.[ml,gcp,s3,demo,pipelines,operator,dev]'
	@touch $@ $(RUN_STAMP)
