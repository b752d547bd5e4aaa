# Everything runs in .venv, which the first target makes: Python 3.10 or newer and make are enough.
#
#   make demo       a FastAPI application under traffic, and what /metrics says of it
#   make demo-batch batch jobs, a Pushgateway, and what Prometheus says of them
#   make demo-federation   two data centres, and Prometheus servers that federate
#   make test       the tests                        (ARGS="-k flask" goes to pytest)
#   make test-all   every Python here, with the oldest and the newest frameworks
#   make test-compiled   those of the doors, with the build that is compiled
#   make wheel      that build, for this Python: dist/*.whl
#   make bench      what requests and scrapes cost, beside other packages
#   make lint       format, lint, types, import contracts
#   make format     writes the format that lint asks for
#   make lock       write requirements/*.txt anew    (ARGS=--upgrade for newer versions)

PYTHON ?= python3
ARGS ?=
UV_VERSION := 0.13.9

# Many of the tests wait for servers: four processes of them keep two cores busy.
# In the order of tests/conftest.py: pytest-xdist would begin with the files that have most tests.
PROCESSES ?= 4
SIDE_BY_SIDE ?= -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

VENV := .venv
BENCH := .venv-bench
UV := $(VENV)/bin/python -m uv
READY := $(VENV)/.ready
HAS_UV := $(VENV)/.uv-$(UV_VERSION)
READY_BENCH := $(BENCH)/.ready
# The compiled build, where PYTHONPATH finds it before the sources.
COMPILED := build/compiled
SOURCES := $(shell find src -name '*.py' -o -name '*.pxd')
# What an application meets first.
DOORS := $(addprefix tests/,asgi wsgi_door flask_door django_door twisted_door instrumentation \
	test_every_door.py test_failsafe.py test_public_surface.py test_reference_model.py test_compiled.py \
	servers/test_real_servers.py)
# Each of their tests starts a project, and shows of a door what others show sooner.
NOT_DOORS := $(addprefix --ignore=tests/django_door/,test_django_auth.py test_installation.py)

# Another project's environment, active or configured, has no say here.
unexport VIRTUAL_ENV UV_PYTHON UV_PROJECT_ENVIRONMENT
# Each of the many processes that tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.PHONY: help demo demo-batch demo-federation test test-all test-compiled wheel bench lint format lock clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(READY)
	@$(VENV)/bin/python examples/demo.py

demo-batch: $(READY)
	@$(VENV)/bin/python examples/demo_batch.py

demo-federation: $(READY)
	@$(VENV)/bin/python examples/federation/run.py

test: $(READY)
	$(VENV)/bin/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

# nox looks for interpreters on the PATH; those of pyenv are added to it.
test-all: $(READY)
	PATH="$$(.ci/pythons | cut -d' ' -f2 | tr '\n' ':')$$PATH" $(VENV)/bin/python -m nox $(ARGS)

test-compiled: $(READY) $(COMPILED)/.ready
	PYTHONPATH=$(CURDIR)/$(COMPILED) PROM_MIDDLEWARE_COMPILED=1 $(VENV)/bin/python -m pytest \
		$(SIDE_BY_SIDE) -m "not interpreted and not once" --hypothesis-profile=matrix \
		$(DOORS) $(NOT_DOORS) $(ARGS)

wheel: $(COMPILED)/.ready
	@mkdir -p dist && cp build/wheel/*.whl dist/ && ls dist/*.whl

# Without a compiler, all but the compiled build is measured.
bench: $(READY_BENCH)
	-@$(MAKE) --no-print-directory $(COMPILED)/.ready
	$(BENCH)/bin/python -m benchmarks $(ARGS)

lint: $(READY)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

format: $(READY)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	--no-emit-package prom-middleware --custom-compile-command "make lock" $(ARGS)

lock: $(HAS_UV)
	$(COMPILE) --all-extras --group dev -o requirements/dev.txt pyproject.toml
	$(COMPILE) --all-extras --group test -c requirements/oldest.in -o requirements/oldest.txt pyproject.toml
	$(COMPILE) --all-extras --group bench -o requirements/bench.txt pyproject.toml

clean:
	rm -rf $(VENV) $(BENCH) .nox build dist .coverage .coverage.* .hypothesis .mypy_cache \
		.pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): $(HAS_UV) requirements/dev.txt pyproject.toml
	@echo "Installing the locked development dependencies into $(VENV) ..."
	@$(UV) pip install --quiet --python $(VENV)/bin/python -r requirements/dev.txt
	@$(UV) pip install --quiet --python $(VENV)/bin/python --no-deps -e .
	@touch $@

$(READY_BENCH): $(HAS_UV) requirements/bench.txt pyproject.toml
	@echo "Installing the packages to compare with into $(BENCH) ..."
	@$(UV) venv --quiet --clear --python $(VENV)/bin/python $(BENCH)
	@$(UV) pip install --quiet --python $(BENCH)/bin/python -r requirements/bench.txt
	@$(UV) pip install --quiet --python $(BENCH)/bin/python --no-deps -e .
	@touch $@

# What is compiled goes into the wheel alone: the sources stay as they are.
$(COMPILED)/.ready: $(HAS_UV) pyproject.toml hatch_build.py $(SOURCES)
	@echo "Compiling for $$($(VENV)/bin/python --version) ..."
	@rm -rf $(COMPILED) build/wheel
	@mkdir -p build && HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 $(UV) build --python $(VENV)/bin/python \
		-o build/wheel >build/compile.log 2>&1 || { cat build/compile.log >&2; \
		echo "It needs a C compiler, and Python's headers: on Debian and Ubuntu," \
			"apt-get install gcc libc6-dev python3-dev" >&2; exit 1; }
	@$(VENV)/bin/python -m zipfile -e build/wheel/*.whl $(COMPILED)
	@touch $@

$(HAS_UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "prom_middleware needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name another: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv --clear $(VENV) || { \
		echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@
