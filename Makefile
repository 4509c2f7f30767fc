# Slipway: every target sets up .venv by itself from the versions in steps/package/pins.txt.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# A stamp for each set of extras: installing again only when what is wanted changed.
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
format: $(DEV_STAMP) ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: manifests
manifests: $(DEV_STAMP) ## write the generated manifests anew
	$(BIN)/python -m crd.schema
	$(BIN)/python -m pipelines.manifests

.PHONY: pages
pages: $(DEV_STAMP) ## write the reference pages in docs/ anew, from the code
	$(BIN)/python -m pipelines.pages

.PHONY: tasks
tasks: $(DEV_STAMP) ## write the page about the tasks anew, from their tests
	SLIPWAY_WRITE_TASKS=1 $(BIN)/python -m pytest -q tests/steps/tasks/test_services.py

.PHONY: images
images: ## build the container images (docker, podman or buildah), and push them to REGISTRY if it is set
	REGISTRY=$(REGISTRY) containers/images.sh

.PHONY: kind-up
kind-up: $(DEV_STAMP) ## a kind cluster named slipway with Argo, a store and Slipway in it; needs docker
	SLIPWAY=$(BIN)/slipway containers/kind-up.sh

.PHONY: e2e
e2e: $(DEV_STAMP) ## the whole way in the cluster that KUBECONFIG names
	$(BIN)/python -m pytest -m cluster tests/cluster tests/steps/store

.PHONY: pins
pins: ## take the newest versions that pyproject.toml allows, and write them down
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
