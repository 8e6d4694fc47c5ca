# Every target sets itself up: bootstrap/setup.sh makes .venv from a lock, and is done at once if .venv is as it says.
# `make PYTHON=python3.12 train` names the Python to make it from.

# pip's released wheel, in the repo since a bare Debian has no pip, nor a venv module that could bring one
PIP_WHEEL := bootstrap/pip-26.3-py3-none-any.whl
PIP_WHEEL_SHA256 := f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13

setup := sh bootstrap/setup.sh $(PIP_WHEEL) $(PIP_WHEEL_SHA256)
python := .venv/bin/python

# They belong to another environment, whose packages must not mix with .venv's; and no library's warning is an error
unexport PYTHONHOME PYTHONPATH PYTHONWARNINGS

.PHONY: help train sweep resume reproduce report findings papers gc bench forecasts records test lint ui tensorboard lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

train: ## Train a model and track the run: make train ARGS="model=gru data.time_steps=40"
	@$(setup) venv .venv requirements.lock
	@$(python) src/train.py $(ARGS)

# The other workers are silent: the first one's bar and lines tell of them all, and it alone notifies. Ctrl-C reaches
# every one.
sweep: STUDY ?= default
sweep: WORKERS ?= 1
sweep: ## Search with Optuna, by several workers if asked: make sweep STUDY=grid WORKERS=2 ARGS="model=gru"
	@$(setup) venv .venv requirements.lock
	@trap 'kill $$(jobs -p) 2>/dev/null' INT TERM; \
	worker=1; while [ $$worker -lt $(WORKERS) ]; do worker=$$((worker + 1)); \
	  LSTM_LAB_NOTIFY= $(python) src/train.py -m sweeps=$(STUDY) $(ARGS) >/dev/null & done; \
	$(python) src/train.py -m sweeps=$(STUDY) $(ARGS); status=$$?; wait; exit $$status

# As typed, whatever its characters mean to make or to the shell: a study's name may hold any
run := '$(subst ','\'',$(value RUN))'
needs_run = test -n $(run) || { echo "which run? make $@ RUN=ID (its first digits, as make report shows them), or RUN=last" >&2; exit 2; }

resume: ## Go on with a run that was cut short: make resume RUN=ID ARGS="training.steps=400"
	@$(needs_run)
	@$(setup) venv .venv requirements.lock
	@$(python) src/train.py resume=$(run) $(ARGS)

reproduce: ## Train a run again and compare the bits: make reproduce RUN=ID ARGS="tolerance=1e-6 --checkout"
	@$(setup) venv .venv requirements.lock
	@$(python) src/reproduce.py $(if $(value RUN),run=$(run)) $(ARGS)

report: ## List and compare tracked runs: make report ARGS="runs=ID,ID" or ARGS="best=5 --compare"
	@$(setup) venv .venv requirements.lock
	@$(python) src/report.py $(ARGS)

findings: SEEDS ?= 20
findings: ## Run the studies that are missing and write FINDINGS.md from MLflow: make findings SEEDS=3
	@$(setup) venv .venv requirements.lock
	@$(python) src/findings.py seeds=$(SEEDS)

papers: SEEDS ?= 10
papers: ## Train the papers' tasks that are missing and write PAPERS.md from MLflow, in two hours: make papers SEEDS=2
	@$(setup) venv .venv requirements.lock
	@$(python) src/papers.py seeds=$(SEEDS)

gc: ## Say what runs left that nobody owns; remove it: make gc ARGS=--yes or ARGS="--yes older=30"
	@$(setup) venv .venv requirements.lock
	@$(python) src/tidy.py $(ARGS)

bench: ## Measure this repo beside what others use, in two hours; in ten minutes: make bench ARGS=--quick
	@$(setup) venv .venv requirements.lock
	@$(setup) venv benchmarks/.venv benchmarks/requirements.lock benchmarks/requirements-torch.lock
	@$(python) benchmarks/bench.py $(ARGS)

forecasts: SEEDS ?= 10
forecasts: ## Hold the LSTM against what people forecast with, half an hour: make forecasts SEEDS=1 SERIES="nile co2"
	@$(setup) venv .venv requirements.lock
	@$(setup) venv benchmarks/.venv-forecasts benchmarks/requirements-forecasts.lock
	@$(python) benchmarks/forecasts.py --seeds $(SEEDS) $(if $(SERIES),--series $(SERIES))

records: ## Train the recipes of RECORDS.md again and compare the bits, in minutes: make records ROW=best
	@$(setup) venv .venv requirements.lock
	@$(python) benchmarks/records.py $(if $(ROW),--row $(ROW))

test: ## Run the tests, in a quarter of an hour, or some: make test ARGS="-k data"
	@test -n '$(subst ','\'',$(value ARGS))' || echo 'about a quarter of an hour on two cores; make test ARGS="-k data" runs a part'
	@$(setup) venv .venv requirements-test.lock
	@$(python) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: ## Check style, types, and which room imports which: ruff, mypy and import-linter
	@$(setup) venv .venv requirements-test.lock
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy
	@PYTHONPATH=src .venv/bin/lint-imports --no-cache

ui: ## Browse the tracked runs in MLflow: make ui PORT=5001
	@$(setup) venv .venv requirements.lock
	@exec $(python) src/ui.py $(if $(PORT),port=$(PORT))

# Said before the server starts: TensorBoard would say so in the midst of much else
free_port = $(python) -c "import socket; socket.create_server(('127.0.0.1', $(PORT)))" 2>/dev/null || \
  { echo "port $(PORT) cannot be had, maybe another program has it; choose one: make $@ PORT=..." >&2; exit 1; }

# TensorBoard as `tensorboard` starts it, but without TensorFlow and the quick loader, whose notices would hide the address
define board
import signal, sys
sys.modules["tensorboard.compat.notf"] = sys  # a module of that name tells it to do without
from tensorboard import default, program
server = program.TensorBoard(plugins=default.get_plugins())
server.configure(["", "--logdir=mlruns/tensorboard", "--host=127.0.0.1", "--port=$(PORT)", "--load_fast=false"])
signal.signal(signal.SIGINT, signal.SIG_DFL)
print(f"TensorBoard: {server.launch()} (Ctrl-C ends it)", flush=True)
signal.pause()
endef

tensorboard: PORT ?= 6006
tensorboard: export BOARD = $(board)
tensorboard: ## Browse graphs and costs in TensorBoard: make tensorboard PORT=6007
	@test -n "$$(ls mlruns/tensorboard 2>/dev/null)" || { echo "no run yet: make train leaves one" >&2; exit 1; }
	@$(setup) venv .venv requirements.lock
	@$(free_port)
	@exec $(python) -c "$$BOARD"

lock: ## Make the locks anew from pyproject.toml, pins kept: make lock ARGS=--upgrade
	@$(setup) locks bootstrap/requirements.lock $(ARGS)

clean: ## Remove .venv, the benchmarks' .venv and all caches, never mlruns/ or mlflow.db
	@rm -rf .venv benchmarks/.venv benchmarks/.venv-forecasts benchmarks/quick .mypy_cache .pytest_cache .ruff_cache
	@find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
