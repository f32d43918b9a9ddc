# `make` alone lists what there is. Everything sets up what it needs first, and that is quick when nothing is missing.
.DEFAULT_GOAL := help
.PHONY: help setup tools scan up demo recurring promises test faults soak lint check format bench pins clean

POLICY ?= full_discovery
TOOLS ?= amass nuclei
# Recipes read these from the environment, so that no shell ever parses them.
export TARGET POLICY TOOLS

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name what; do \
		printf '%-14s %s\n' "$$name" "$$what"; done

setup: ## make this machine ready: Python packages in .venv, nmap and kin, and where Go is, the tools
	@./setup.sh all

tools: ## build what the system's packages do not have, with Go, into .tools (TOOLS=amass chooses)
	@./setup.sh tools

# Loopback may be scanned here, as this is the user's own machine; `make up` and the API refuse it.
scan: export PULSAR_SCOPE_ALLOW ?= 127.0.0.0/8,::1/128
scan: ## scan TARGET (a name, an address or a network) with POLICY: make scan TARGET=127.0.0.1 POLICY=quick
	@if [ -z "$$TARGET" ]; then echo 'Say what to scan, for example: make scan TARGET=127.0.0.1' >&2; exit 2; fi
	@./setup.sh scan
	@.venv/bin/pulsar scan --policy "$$POLICY" -- "$$TARGET"

up: ## start the platform: Prefect server, worker, API; Ctrl-C stops all of it
	@./setup.sh scan
	@.venv/bin/pulsar up

demo: ## scan an estate of thirty hosts, built in network namespaces of this machine, and judge the scan (needs root)
	@./setup.sh test
	@.venv/bin/python -m tests.estate.demo

recurring: ## scan a small estate every minute while it changes, and see who is told of what (needs root, 7 minutes)
	@./setup.sh test
	@.venv/bin/python -m tests.estate.recurring

promises: ## write a policy, preview it, scan a small network by it, and hold what it promises against the wire (needs root)
	@./setup.sh test
	@.venv/bin/python -m tests.estate.promises

test: ## run the tests (ARGS="-k nmap" chooses some)
	@./setup.sh test
	@.venv/bin/pytest --numprocesses 2 --dist loadfile $(ARGS)

faults: ## the whole fault suite: kills, stalls, floods, a store that is full (ARGS="-k server" chooses some; ten minutes)
	@./setup.sh test
	@.venv/bin/pytest tests/faults --all-faults --numprocesses 2 $(ARGS)

soak: ## scan for ten minutes while parts are killed at random (ARGS="--minutes 5 --seed 7")
	@./setup.sh test
	@.venv/bin/python -m tests.faults.soak $(ARGS)

lint: ## the checks that run nothing: format, ruff, types, import rules
	@./setup.sh lint
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

check: lint test ## the whole gate: lint and test

format: ## put the code in order
	@./setup.sh lint
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: ## measure
	@./setup.sh test
	.venv/bin/python -m tests.bench $(ARGS)

pins: ## write requirements*.txt anew from pyproject.toml
	@./setup.sh pins

clean: ## remove .venv and everything that was built (scans and their home stay)
	rm -rf .venv .tools build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
