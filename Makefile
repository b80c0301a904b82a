# The front door. Two commands matter to a newcomer: make demo, make test.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := src tests bench
TRIALS ?= 200
SESSION_TRIALS ?= 100
FLEET_TRIALS ?= 450
LINK_TRIALS ?= 1
BAD_CASES ?= 2000
PROVIDER_SEEDS ?= 50
CALL_TRIALS ?= 20
ALERT_SEEDS ?= 200
HONEST_WORLDS ?= 300
FORGE_CASES ?= 200
THIEF_TRIALS ?= 100
STOLEN_TRIALS ?= 200
SEED ?= 1
# files of tests played side by side: they wait more than they work
JOBS ?= 8
# what tests import and start is compiled once, not by each of some hundred programs
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := quick
.PHONY: quick test lint suite trials demo bench house lock fix docs clean

# --- environments -------------------------------------------------------------
$(VENV)/.run: requirements/run.txt pyproject.toml
	@scripts/setup.sh run

$(VENV)/.test: requirements/test.txt requirements/run.txt pyproject.toml
	@scripts/setup.sh test

# --- what people run ----------------------------------------------------------
demo: $(VENV)/.run
	@$(if $(HERMES),scripts/setup.sh agent,true)
	@$(BIN)/allegro demo $(if $(ASK),--ask,) $(if $(JSON),--json,) $$([ -e .hermes/.ready ] && echo --hermes .hermes)

quick: lint
	$(BIN)/pytest tests/core tests/link tests/duties tests/bad

test: $(VENV)/.test
	@scripts/setup.sh agent model
	@scripts/setup.sh hint
	@$(MAKE) --no-print-directory -j 2 lint suite

lint: $(VENV)/.test
	$(BIN)/ruff check $(CODE) && $(BIN)/ruff format --check -q $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

suite: $(VENV)/.test
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

trials: $(VENV)/.test
	@scripts/setup.sh agent model
	$(BIN)/python -m tests.bad.test_house_events
	$(BIN)/python -m tests.bad.stolen_lane --trials $(TRIALS) --seed $(SEED)
	ALLEGRO_PATIENCE=1 $(BIN)/python -m tests.system.stolen_trials --trials $(STOLEN_TRIALS) --seed $(SEED)
	ALLEGRO_PATIENCE=1 $(BIN)/python -m tests.system.trials --trials $(TRIALS) --seed $(SEED)
	ALLEGRO_PATIENCE=1 $(BIN)/python -m tests.system.link_trials --trials $(LINK_TRIALS) --seed $(SEED)
	ALLEGRO_PATIENCE=1 $(BIN)/python -m tests.system.session_trials --trials $(SESSION_TRIALS) --seed $(SEED)
	ALLEGRO_PATIENCE=1 $(BIN)/python -m tests.bad.test_effects --count 2000 --seed $(SEED)
	ALLEGRO_PATIENCE=1 $(BIN)/python -m tests.bad.on_programs --cases $(BAD_CASES) --seed $(SEED)
	ALLEGRO_PATIENCE=1 $(BIN)/python -m tests.system.fleet_trials --trials $(FLEET_TRIALS) --seed $(SEED)
	ALLEGRO_PATIENCE=1 $(BIN)/python -m tests.system.call_trials --trials $(CALL_TRIALS) --seed $(SEED)
	$(BIN)/python -m tests.duties.alert_world --seeds $(ALERT_SEEDS) --seed $(SEED)
	$(BIN)/python -m tests.duties.provider_world --seeds $(PROVIDER_SEEDS)
	$(BIN)/python -m tests.duties.honest_world --worlds $(HONEST_WORLDS) --seed $(SEED)
	$(BIN)/python -m tests.duties.alert_world
	$(BIN)/python -m tests.bad.test_providers
	$(BIN)/python -m tests.bad.stolen_sibling --trials $(THIEF_TRIALS) --seed $(SEED)
	ALLEGRO_PATIENCE=1 $(BIN)/python -m tests.bad.stolen_sibling --real --trials $(THIEF_TRIALS) --seed $(SEED)
	$(BIN)/python -m tests.bad.test_house_api
	$(BIN)/python -m tests.bad.test_forge_answers $(FORGE_CASES)
	$(BIN)/python -m tests.bad.test_link
	ALLEGRO_MATRIX=1 $(BIN)/pytest tests/contracts/agent

bench: $(VENV)/.test
	$(BIN)/python -m bench

house: $(VENV)/.test
	$(BIN)/python -m tests.house

docs: $(VENV)/.test
	$(BIN)/python -m tests.docs.render

fix: $(VENV)/.test
	$(BIN)/ruff check --fix $(CODE) ; $(BIN)/ruff format $(CODE)

lock: $(VENV)/.test
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --upgrade -q -o requirements/run.txt requirements/run.in
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --upgrade -q -o requirements/fleet.txt requirements/fleet.in
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --upgrade -q -o requirements/channels.txt requirements/channels.in
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --upgrade -q -o requirements/test.txt requirements/test.in
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --upgrade -q -o requirements/hermes.txt requirements/hermes.in
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --upgrade -q -o requirements/hermes-newer.txt requirements/hermes-newer.in
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --upgrade --no-deps -q -o requirements/local-model.txt requirements/local-model.in

clean:
	rm -rf $(VENV) .hermes .hermes-newer .local-model .mypy_cache .ruff_cache .pytest_cache .hypothesis bench/results
