# Everything for a fresh Debian or Ubuntu machine with Python 3.10 to 3.13: `make demo`, `make test`.
# Both install into .venv beside this file and touch nothing else.

PYTHON ?= python3
VENV ?= .venv
# Where a CPU-only torch comes from, when the usual index would bring gigabytes of CUDA libraries:
#   make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# Processes that run tests side by side; each needs up to 2 GB.
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
SOURCES := pyproject.toml CMakeLists.txt $(wildcard kernels/csrc/*)

.PHONY: help demo test lint types unit stub fatbin gpu-check gpu-pipeline sanitize test-aarch64 engines clean

help:
	@echo "make demo    render a drive, run the reference bundle on it, write demo/report.html (no torch)"
	@echo "make test    lint, layers, types and every test"
	@echo "make fatbin        compile the CUDA kernels; registers, shared memory and spills of each"
	@echo "make sanitize      the C++ kernels under the address and undefined-behaviour sanitizers"
	@echo "make test-aarch64  the C++ kernels compiled for aarch64, under an emulator"
	@echo "make engines       engines of real sizes with TensorRT-RTX, no GPU needed; takes hours and 35 GB in build/zoo"
	@echo "make gpu-check     every CUDA kernel against the reference, and its speed, on this machine's GPU"
	@echo "make gpu-pipeline  decisions and pictures on this machine's GPU: ONNX Runtime's CUDA provider and engines, all ways"
	@echo "make clean   remove $(VENV), demo/ and everything built"

demo: $(VENV)/.demo
	$(BIN)/chiasm demo

test: lint types unit

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/lint-imports

# mypy does not see through an editable install: it finds the package by a link that has the package's name.
types: $(VENV)/.test
	@mkdir -p build/types && ln -sfn ../.. build/types/chiasm
	MYPYPATH=build/types $(BIN)/mypy

# After a change of the bindings: install again, and write the extension's signatures anew.
stub: $(VENV)/.test
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) --no-deps --no-build-isolation --editable .
	@{ echo '# Generated: make stub'; echo '# ruff: noqa: C408'; } > kernels/_ext.pyi
	$(BIN)/python -m nanobind.stubgen -q -m chiasm.kernels._ext -o build/_ext.pyi
	@cat build/_ext.pyi >> kernels/_ext.pyi
	$(BIN)/ruff format -q kernels/_ext.pyi

# A file of tests stays in one process, with what its tests share.
unit: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

fatbin: $(VENV)/.test
	$(BIN)/python -m chiasm.kernels.cuda.build --out build/kernels.fatbin

# On a machine with a GPU, nvcc and PyCUDA (its interpreter: make gpu-check PYTHON=python3; nothing is installed):
GPU_RESULT ?= docs/results/gpu-check.json
gpu-check:
	@mkdir -p build/gpu && ln -sfn ../.. build/gpu/chiasm
	PYTHONPATH=build/gpu $(PYTHON) -m chiasm.bench.gpu_check --out $(GPU_RESULT)

# The same, with onnxruntime-gpu, tensorrt-rtx or TensorRT in that interpreter as far as wanted, and what chiasm needs.
GPU_PIPELINE ?= docs/results/gpu-pipeline.json
gpu-pipeline:
	@mkdir -p build/gpu && ln -sfn ../.. build/gpu/chiasm
	PYTHONPATH=build/gpu $(PYTHON) -m chiasm.bench.gpu_pipeline --out $(GPU_PIPELINE)

# The same tests as in `make test`, alone.
sanitize: $(VENV)/.test
	$(BIN)/python tests/kernels/native.py sanitize

test-aarch64: $(VENV)/.test
	$(BIN)/python tests/kernels/native.py aarch64

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "error: chiasm needs Python 3.10 or newer: found $$($(PYTHON) --version 2>&1). Run: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "error: Python cannot make a virtual environment. Run: apt install python3-venv"; exit 1; }

# The OpenCV without windows: unlike opencv-python it needs neither libGL nor X11, which a server lacks.
$(VENV)/.demo: $(BIN)/python $(SOURCES)
	@echo "installing chiasm and what the demo needs into $(VENV) (about a minute)"
	@$(PIP) --editable '.[cpu,camera-headless,report]'
	@touch $@

$(VENV)/.test: $(BIN)/python $(SOURCES)
	@echo "installing chiasm and what the tests need into $(VENV) (torch among it: a few minutes)"
	@$(PIP) --editable '.[cpu,camera-headless,report,search,export,dev]'
	@touch $@ $(VENV)/.demo

engines: $(VENV)/.test
	$(BIN)/python -m chiasm.bench.engines --work build/zoo
	$(BIN)/python -m chiasm.bench.engines --page > docs/engines.md
