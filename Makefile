# make demo | build | test | lint | fuzz | soak | bench | clean      (make help tells more)
# What a person reads while it builds goes to stderr: stdout of `make demo` is the link alone.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PYTHON ?= python3
CARGO ?= cargo
VENV := .venv
STAMPS := .cache/stamps
export CARGO_TARGET_DIR ?= $(CURDIR)/target
say = @printf '\033[1m▸ %s\033[0m\n' "$(1)" >&2

WEB_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
PIP_INSTALL := $(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes

.PHONY: help demo build test lint fuzz soak bench clean core web generate lock format

help:
	@echo 'make demo [PORT=] [MEDIA_PORT=]   build everything, start a server with a robot in a room, print one link'
	@echo 'make build                        build everything; then .venv/bin/parlour is there'
	@echo 'make test                         lint, Rust, TypeScript, Python and browser tests'
	@echo 'make lint                         the lint alone'
	@echo 'make fuzz [SECONDS=600]           fuzz the parsers of network input'
	@echo 'make soak [SEEDS=1000] [NETWORK_SECONDS=300]'
	@echo '                                  simulate calls on bad networks, one a seed; then browsers call on them (as root)'
	@echo 'make bench [RECORD=1]             measure the speed, each figure beside its target; RECORD=1 keeps it in the docs'
	@echo 'make generate                     write anew what is generated: error codes, protocol types, their pages'
	@echo 'make clean                        remove what was built; the demo data in .demo stays'

demo: build
	$(call say,Starting)
	@exec $(VENV)/bin/parlour demo $(if $(PORT),--port $(PORT)) $(if $(MEDIA_PORT),--media-port $(MEDIA_PORT))

build: $(STAMPS)/python core $(STAMPS)/editable web

$(STAMPS)/python: requirements/demo.txt | $(STAMPS)
	$(call say,Python packages into $(VENV))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Parlour needs Python 3.11 or newer; this is " + sys.version.split()[0])'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) -r requirements/demo.txt >&2
	@touch $@

# Tests and lint need more than the demo does.
$(STAMPS)/dev: requirements/dev.txt requirements/media.txt $(STAMPS)/python
	$(call say,Python packages of the tests)
	@$(PIP_INSTALL) -r requirements/dev.txt >&2
	@touch $@

# In place and through maturin, as the editable install does it: one set of flags, nothing is compiled twice.
core: | $(STAMPS)/python
	@command -v $(CARGO) >/dev/null || { echo 'Parlour needs a Rust toolchain (cargo 1.89 or newer)' >&2; exit 1; }
	$(call say,The media core (Rust; some minutes the first time))
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)" \
	  maturin develop --release --locked --skip-install >&2

$(STAMPS)/editable: pyproject.toml build_backend/parlour_build.py | $(STAMPS)/python core
	$(call say,The parlour command)
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --no-build-isolation --no-deps -e . >&2
	@touch $@

web: $(STAMPS)/web

$(STAMPS)/node: web/package-lock.json web/package.json | $(STAMPS)
	@command -v npm >/dev/null || { echo 'Parlour needs Node.js 20 or newer with npm' >&2; exit 1; }
	$(call say,Node packages of web/)
	@cd web && npm ci --no-audit --no-fund --loglevel=error >&2
	@touch $@

$(STAMPS)/web: $(STAMPS)/node $(WEB_SOURCES)
	$(call say,The browser SDK and the pages)
	@cd web && npm run --silent build >&2
	@touch $@

$(STAMPS):
	@mkdir -p $@

test:
	@scripts/test

lint: build $(STAMPS)/dev
	@scripts/lint

SECONDS ?= 600
fuzz: build $(STAMPS)/dev
	@fuzz/run $(SECONDS)
	$(call say,The parsers written in Python)
	@FUZZ_FACTOR=$$(( $(SECONDS) / 15 + 1 )) $(VENV)/bin/python -m pytest -q -o timeout=0 \
	  tests/unit/test_usersig_fuzz.py tests/unit/test_sdp.py tests/unit/test_signaling_connection.py tests/unit/test_admin_bodies.py
	@$(VENV)/bin/python fuzz/python/rest_bodies.py -max_total_time=$(SECONDS) -max_len=2000

SEEDS ?= 1000
NETWORK_SECONDS ?= 300
soak: build $(STAMPS)/dev
	@$(CARGO) run --release --locked --quiet -p parlour-sim --bin sweep -- --seeds $(SEEDS)
	@$(CARGO) run --release --locked --quiet -p parlour-sim --bin sweep -- --scenario endurance --seconds 300 \
	  --seeds $$(( ($(SEEDS) + 19) / 20 ))
	$(call say,Calls of $(NETWORK_SECONDS) s each on bad networks)
	@$(VENV)/bin/python -m bench.networks --seconds $(NETWORK_SECONDS)

# RECORD=1 keeps what was measured: the results files, and the page that is made of them.
bench: build $(STAMPS)/dev
	@scripts/debian-packages bench || echo 'Going on without them: without Janus nothing is measured beside ours.' >&2
	@$(VENV)/bin/python -m bench.media $(if $(RECORD),--json bench/results/media.json)
	@if command -v perf >/dev/null; then $(VENV)/bin/python -m bench.shares $(if $(RECORD),--json bench/results/shares.json); \
	  else echo 'Going on without perf: what a packet'"'"'s time goes to is not told.' >&2; fi
	@$(VENV)/bin/python -m bench.accounts $(if $(RECORD),--json bench/results/accounts.json)
	@$(if $(RECORD),$(VENV)/bin/python -m bench.page,true)

generate: $(STAMPS)/python core
	@$(VENV)/bin/python -m parlour.errors.generate
	@$(VENV)/bin/python -m parlour.protocol.generate
	@$(VENV)/bin/python -m tests.scenarios.generate
	@$(VENV)/bin/python -m tests.browser.reached
	@$(VENV)/bin/python -m parlour.admin.generate

format: $(STAMPS)/dev
	@$(VENV)/bin/ruff check --fix --quiet . ; $(VENV)/bin/ruff format --quiet . ; $(CARGO) fmt --all

lock:
	@scripts/lock

clean:
	rm -rf $(VENV) .cache target web/node_modules web/*/dist python/parlour/static python/parlour/_media.abi3.so fuzz/target
