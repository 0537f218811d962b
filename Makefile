.DEFAULT_GOAL := help
.PHONY: help setup demo up down test lint format types arch bench bench-kit bench-ledger tamper faults crash docs lock

bin := .venv/bin

help:            ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1	\2/p' $(MAKEFILE_LIST) | expand -t 10

setup:           ## install everything into .venv, once
	@sh deploy/local/setup.sh

demo: setup      ## 200 referrals through the whole system; ARGS="--referrals 50 --seed 7"
	@./rapport demo $(ARGS)

up: setup        ## start Kafka, PostgreSQL and the four services here
	@./rapport up $(ARGS)

down: setup      ## stop them; the data stays
	@./rapport down $(ARGS)

test: setup      ## all tests; ARGS="-k parking" for some
	@$(bin)/pytest $(ARGS)

lint: setup      ## ruff: rules and format
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .

format: setup    ## ruff: repair what can be repaired
	@$(bin)/ruff check --fix .
	@$(bin)/ruff format .

types: setup     ## mypy --strict
	@$(bin)/mypy services shared tests bench

arch: setup      ## import-linter: who may know whom
	@$(bin)/lint-imports

bench: setup     ## speed; writes bench/results/latest.json
	@$(bin)/python -m bench.journeys $(ARGS)

crash: setup     ## a service killed at every await of its loops; CRASH_POINTS=ways for every way there
	@$(bin)/pytest tests/crash $(ARGS)

bench-kit: setup ## the limit of the kit; writes bench/results/kit.json
	@$(bin)/python -m bench.kit $(ARGS)

bench-ledger: setup ## the ledger's speed, lag and size; writes bench/results/ledger.json
	@$(bin)/python -m bench.ledger $(ARGS)

tamper: setup    ## 10,000 random tamperings with the ledger, each to be found; ARGS="--count 500 --seed 7"
	@$(bin)/python -m bench.tamper $(ARGS)

faults: setup    ## try to break the promises; ARGS="--minutes 3 --seed 7", SEEDED_BUG=no-inbox
	@./rapport faults $(if $(SEEDED_BUG),--bug $(SEEDED_BUG)) $(ARGS)

docs: setup      ## generate docs/events.md and the JSON Schemas from the contracts
	@$(bin)/python -P -m contracts docs

lock: setup      ## write requirements.lock again; ARGS=--upgrade for newer versions
	@.rapport/tools/bin/uv lock -q $(ARGS)
	@.rapport/tools/bin/uv export -q --all-groups --no-emit-workspace --no-header --no-annotate --output-file requirements.lock
