# make install | run | test | lint | bench. Each does what it needs first; nothing else has to be done by hand.
PYTHON ?= python3
BIN := .venv/bin
INDEX ?= .index
PORT ?= 8501
ODQA ?= ../shared/data/odqa_ko
# Each worker has one thread: several of them keep the cores busy.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto
SCALE := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder tests/scale
BENCH := $(BIN)/python -m eval.hit_rate --protocol both --overwrite \
	--robustness lexical,base,hybrid,hybrid+rerank --scaling lexical,base,hybrid

.PHONY: help install run test test-browser test-scale torture lint audit format bench clean

help: ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

install: .venv/installed ## make .venv with everything the other targets need

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	$(BIN)/pip check
	@touch $@

run: install ## build the sample index if there is none and serve the chat on http://127.0.0.1:8501
	@test -e $(INDEX)/manifest.json || $(BIN)/rag-app index sample --index $(INDEX)
	RAG_INDEX=$(INDEX) exec $(BIN)/streamlit run streamlit_app.py --server.port $(PORT)

test: install ## run the tests, but for those of the page in a browser and of many machines
	$(PYTEST) --dist worksteal --ignore tests/browser --ignore tests/scale

test-browser: install ## use the page as a person does, in Chromium; pictures in screenshots/
	$(PYTEST) --dist loadfile tests/browser

test-scale: install ## index, search and train on servers, clusters and processes that are started for it
	$(SCALE)

torture: install ## try as often as docs/reliability.md promises, and write down there what came out
	$(PYTEST) --dist worksteal --torture -m 'promise or fault' --reliability=docs/reliability.md
	$(SCALE) --torture

lint: install ## ruff, formatting, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: install ## ask the advisory databases about every pinned dependency; needs a network
	$(BIN)/pytest tests/promises/test_supply_chain.py
	$(BIN)/pip install --quiet --constraint constraints.txt pip-audit
	$(BIN)/python -m tests.audit

format: install ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## measure every retrieval system on the sample and, where present, on $(ODQA); reports in reports/
	$(BENCH) --data sample --report reports/sample
	@if [ -d "$(ODQA)" ]; then set -x; $(BENCH) --data "$(ODQA)" --report reports/odqa_ko; \
		else echo "There is no $(ODQA): name a folder of questions with ODQA=..."; fi

clean: ## remove what make has made
	rm -rf .venv .index dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache screenshots reports/sample reports/odqa_ko
