# Every target works in a bare checkout: it first installs what it needs from the lock files.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Some machines tell Python to keep no compiled files; the tests start it hundreds of times.
export PYTHONDONTWRITEBYTECODE :=

PY := .venv/bin/python
CODE = $(wildcard quant_core lessons app)
CHECKED = $(CODE) $(wildcard scripts tests bench fuzz)
JOBS ?= 3
BROWSERS ?= 3
IMAGE ?= quant-lesson
COVERAGE_AT_LEAST := 95
SECONDS ?= 60
REQUESTS ?= 100000
SEED ?= 0

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## serve the lesson on http://127.0.0.1:8000 (HOST, PORT, WORKERS)
	@scripts/python scripts/bootstrap.py run
	@exec $(PY) scripts/serve.py

test: prepare-test check-lint check-types check-unit check-browser ## lint, types, unit, app and browser tests

# Not part of `make test`: counting lines makes the tests half as slow again.
coverage: prepare-test ## run the unit tests and require that they reach 95 % of each package
	@OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -q -n $(JOBS) --dist worksteal --doctest-modules --cov --cov-report= \
	    $(CODE) tests --ignore=tests/browser --ignore=app/classroom/migrations
	@for package in $(CODE); do \
	    $(PY) -m coverage report --include="$$package/*" --fail-under=$(COVERAGE_AT_LEAST) || exit 1; \
	done

smollm2: ## add SmolLM2-135M (93 MB), for FIG.05D and FIG.05E
	@scripts/python scripts/bootstrap.py smollm2

lint: prepare-tools check-lint check-types ## ruff and mypy only

format: prepare-tools ## format the code and sort imports with ruff
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

figure: prepare-tools ## create a working figure (NAME, SECTION)
	@$(PY) scripts/new_figure.py $(NAME) $(SECTION)

docs: prepare-tools ## regenerate docs/api.md and the descriptions of figures
	@$(PY) scripts/api_reference.py
	@$(PY) scripts/figure_reference.py

messages: prepare-tools ## collect the messages of the interface for a LANGUAGE, such as de
	@$(PY) scripts/messages.py $(LANGUAGE)

screenshots: prepare-test ## store reference pictures and those of README and guide (NAME: of one figure)
	@SCREENSHOTS=new $(PY) -m pytest -q tests/browser/test_screenshots.py $(if $(NAME),,tests/browser/classroom/test_whole_class.py) $(if $(NAME),-k $(NAME))

interop: prepare-tools ## build llama.cpp if that is possible and compare with it
	@scripts/optional.sh interop

fuzz: prepare-tools ## fuzz the readers of model files with atheris (SECONDS)
	@scripts/optional.sh fuzz $(SECONDS)

count: prepare-tools ## count models with transformers and compare with quant_core
	@scripts/optional.sh count

fuzz-routes: prepare-tools ## send random requests to every route (REQUESTS, SEED)
	@$(PY) fuzz/routes.py $(REQUESTS) $(SEED)

# One BLAS thread for each of its two processes: more would compete for the cores.
measure: prepare-tools ## measure every format and method on the small model
	@OPENBLAS_NUM_THREADS=1 $(PY) scripts/measure.py

maps: prepare-tools ## measure the maps of FIG.05F, after a change to the code that rounds or runs the small model
	@$(PY) scripts/measure_maps.py

continuations: prepare-tools ## record the sentences of the opening's figure again (after `make smollm2`)
	@$(PY) scripts/record_continuations.py

training: prepare-tools ## record the trained layer of FIG.07E again, after a change to quant_core/methods/qat.py or lattice.py
	@OPENBLAS_NUM_THREADS=1 $(PY) scripts/record_training.py

codebooks: prepare-tools ## record the codebook types of FIG.07C again, after a change to their encoders
	@$(PY) scripts/record_codebook_types.py

caches: prepare-tools ## measure key/value caches of fewer bits again (after `make smollm2`)
	@$(PY) scripts/record_kv_cache.py

bench: bench-core bench-web ## run all benchmarks

# PYTHONPATH: ggml's C library for comparison, if `make interop` has built it.
bench-core: prepare-tools ## run the benchmarks of quant_core
	@export PYTHONPATH=$(wildcard .venv-interop/lib/python*/site-packages); \
	for table in ggml methods; do $(PY) bench/$$table.py || exit 1; done

bench-web: prepare-test ## run the benchmarks of pages, server and figures (PARTS: see bench/README.md)
	@$(PY) bench/web.py $(PARTS)

lock: ## rewrite the lock files, with hashes (UPGRADE=1: newest versions)
	@scripts/python scripts/bootstrap.py lock
	@scripts/lock.sh

docker: ## build the container image (IMAGE)
	@scripts/image.sh $(IMAGE)

clean: ## remove everything that make has created, including .venv
	rm -rf .venv .venv.* .venv-interop .venv-oracle node_modules node_modules.* static/vendor .vendor.* .setup.lock build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache test-results
	@find . -path ./.git -prune -o -name __pycache__ -type d -print | xargs rm -rf

prepare-test:
	@scripts/python scripts/bootstrap.py test

prepare-tools:
	@scripts/python scripts/bootstrap.py tools

check-lint:
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

check-types:
	$(PY) -m mypy $(CHECKED)

# One BLAS thread for each of the parallel workers: two would compete for one core.
check-unit:
	OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -q -n $(JOBS) --dist worksteal --doctest-modules \
	    $(CODE) tests --ignore=tests/browser --ignore=app/classroom/migrations

check-browser:
	$(PY) -m pytest -q -n $(BROWSERS) --dist worksteal tests/browser

.PHONY: help run test coverage smollm2 lint format figure docs messages measure maps continuations caches codebooks training screenshots interop fuzz fuzz-routes count bench bench-core bench-web lock docker clean prepare-test prepare-tools check-lint check-types check-unit check-browser
