# `make demo` and `make test` set up all they need in .venv first.
PYTHON ?= python3
BIN := .venv/bin
# Not relative: a process that is started elsewhere would find nothing there and compile all that it imports.
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/.venv/pycache
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo docs test test-all check lint bench clean

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --editable '.[dev,docs,openvino,tvm]'
	touch $@

# TensorRT-RTX, which builds engines without a GPU, and the Python bindings of TensorRT, without TensorRT: the tests
# build with the one, hold our calls against both, and skip that, saying so, where they cannot be had.
TENSORRT_BINDINGS := 10.16.1.11 11.4.0.106
.venv/tensorrt: .venv/installed
	mkdir -p $@
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --editable '.[tensorrt]' || \
	    echo "no TensorRT-RTX for this machine: its tests will be skipped" >&2
	for version in $(TENSORRT_BINDINGS); do \
	    $(BIN)/pip download --quiet --no-deps --dest $@ tensorrt-cu13-bindings==$$version || \
	    echo "no bindings of TensorRT $$version: its tests will be skipped" >&2; \
	done
	touch $@

# axe-core 4.12, which finds what keeps people from reading the report, as a Python package brings it along.
AXE := axe-playwright-python==0.1.8
.venv/axe: .venv/installed
	mkdir -p $@
	{ $(BIN)/pip download --quiet --no-deps --dest $@ $(AXE) && \
	    $(BIN)/python -m zipfile -e $@/axe_playwright_python-*.whl $@; } || echo "no axe-core: its tests will be skipped" >&2
	touch $@

demo: .venv/installed  ## measure this CPU, validate the table, draw the frontier: a few minutes
	mkdir -p demo
	$(BIN)/python -m hwbench.build_lut --backend onnxruntime --family glyphs --space ofa --out demo/glyphs.jsonl
	$(BIN)/python -m hwbench.validate --lut demo/glyphs.jsonl --subnets 40 --out demo/validate.png
	$(BIN)/python -m hwbench.pareto --space compofa --space ofa --lut demo/glyphs.jsonl --out demo/pareto.png --csv demo/pareto.csv

test: .venv/installed .venv/tensorrt .venv/axe lint  ## everything but what takes minutes
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-all: .venv/installed .venv/tensorrt .venv/axe lint
	$(BIN)/python -m pytest -m ''

check: .venv/installed  ## the gate: do the latency models still predict the golden measurements as well?
	$(BIN)/python -m hwbench.check --golden tests/golden

docs: .venv/installed  ## the documentation, into build/site
	$(BIN)/python -m mkdocs build --strict

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks

bench: .venv/installed  ## the figures of docs/results.md that are speeds
	for what in build evaluate lookup resnet_search startup; do $(BIN)/python benchmarks/bench_$$what.py || exit; done

clean:
	rm -rf .venv demo build dist *.egg-info
