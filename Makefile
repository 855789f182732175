# Each target is one line of a command line; `make demo` and `make test` need Python 3.11-3.13 and make, nothing else.
PYTHON ?= python3
BIN = .venv/bin
SUDO = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
RUN = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)

.PHONY: demo test lab grade notebooks bench fuzz lint system lock clean help

help:        ## what there is
	@grep -E '^[a-z]+: .*##' Makefile | sed -E 's/:.*##/  /'

demo: .venv/ready        ## the whole chain on one page: build/demo/index.html
	$(RUN)/navcourse demo

test: .venv/ready        ## everything that CI checks
	$(RUN)/navcourse check

lab: .venv/ready        ## JupyterLab on the self-study notebooks
	$(RUN)/navcourse lab

grade: .venv/ready        ## grade what lies in grading/downloaded/half_day/archive
	$(RUN)/navcourse grade

notebooks: .venv/ready        ## derive notebooks/ from notebooks/src
	$(RUN)/navcourse notebooks

bench: .venv/ready        ## speed, measured side by side; never part of the tests
	$(RUN)/pytest tests/benchmarks -p benchmark --benchmark-sort=name

fuzz: .venv/ready        ## 20,000 damaged variants of each file format (half an hour); `make test` tries some hundred
	$(RUN)/python tests/navkit/fuzzing.py --count 20000

lint: .venv/ready        ## style and types only
	$(RUN)/navcourse check --only lint

system:        ## Debian packages that only some checks need (OpenGL, sandbox, browser, database)
	$(SUDO) sh -c 'apt-get -q update && apt-get -q install -y --no-install-recommends libegl1 libgl1-mesa-dri bubblewrap chromium chromium-driver postgresql'

lock: .venv/ready        ## requirements.lock from pyproject.toml (needs the package index)
	$(RUN)/uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-header --python-version 3.11 --output-file requirements.lock

clean:        ## remove what was built and installed
	rm -rf .venv build datasets/made

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] < (3, 14), f"Python 3.11-3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12"'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
