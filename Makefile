# Each line below is one that you could type yourself. Needs Python 3.11 or newer and make; nothing else.
#   make demo                       see it            LHEXPLORE_LAB=0 make demo    stop before JupyterLab
#   make test PYTHON=python3.12     with another Python (only when .venv does not exist yet)

PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

help:
	@echo 'make demo    train on handwritten digits, compute every spectrum, open JupyterLab'
	@echo 'make test    run every test: units, properties, notebooks, browser'
	@echo 'make lint    check style, types and the direction of imports'
	@echo 'make bench   measure everything against its goal, beside other tools: more than an hour'
	@echo 'make clean   remove .venv, .venv-bench, demo/ and what the tools left behind; results in your cache folder stay'

demo: .venv/.installed-demo
	.venv/bin/python -m lhexplore demo

test: .venv/.installed-test
	.venv/bin/pytest tests -m "not alone and not browser" -n auto --dist loadfile
	.venv/bin/pytest tests -m "browser and not alone" -n auto --dist loadfile
	.venv/bin/pytest tests -m alone
	.venv/bin/pytest --nbval --nbval-current-env notebooks

lint: .venv/.installed-dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv-bench/.installed .venv/.installed-test
	.venv-bench/bin/python benchmarks/peers/run.py
	.venv-bench/bin/python benchmarks/limits.py --write
	.venv-bench/bin/python benchmarks/linear.py
	.venv/bin/python benchmarks/hesd_coverage.py
	.venv/bin/python benchmarks/diagnosis.py
	.venv/bin/python benchmarks/diagnose_time.py
	.venv/bin/python benchmarks/monitor.py
	.venv/bin/python benchmarks/imports.py
	.venv/bin/python benchmarks/memory.py
	.venv/bin/python benchmarks/scrub.py

clean:
	rm -rf .venv .venv-bench
	rm -rf demo .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache build dist

# Installed once for each extra; again when the settings or the versions change.
.venv/.installed-%: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/python -m pip install -c constraints.txt -e '.[$*]'
	@touch $@

# Other tools live beside lhexplore in an environment of their own; one that replaced torch would spoil every ratio.
.venv-bench/.installed: pyproject.toml constraints.txt benchmarks/peers/*.txt | .venv-bench/bin/pip
	.venv-bench/bin/python -m pip install -c constraints.txt torch
	.venv-bench/bin/python -m pip install -c constraints.txt -r benchmarks/peers/requirements.txt
	.venv-bench/bin/python -m pip install --no-deps -r benchmarks/peers/without-dependencies.txt
	.venv-bench/bin/python -m pip install -c constraints.txt -e .
	.venv-bench/bin/python benchmarks/peers/run.py --version
	@touch $@

# Some systems ship venv without ensurepip: there the pip of $(PYTHON) fills the new environment.
.venv/bin/pip .venv-bench/bin/pip: %/bin/pip:
	@"$(PYTHON)" -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "lhexplore needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Name a newer one: make PYTHON=python3.12" % sys.version_info[:2])'
	"$(PYTHON)" -m venv $* || "$(PYTHON)" -m venv --clear --without-pip $*
	test -x $@ || "$(PYTHON)" -m pip --python $*/bin/python install pip
