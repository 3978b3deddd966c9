# Every target installs what it needs first, into .venv, and is quick when that is done.
#   make train    from nothing to a trained model with pictures and numbers, in a few minutes
#   make test     style, types and tests; the last lines are the summary of pytest
#   make test-kernels   the CPU kernels on every kind of CPU that this machine can imitate, and with sanitizers
#   make check    style and types only
#   make long     what takes hours: generated data by the thousand, equal weights on a busy machine, a failing disk, mutants
#   make bench    the claims of the benchmarks folder that need nothing else, measured on this machine
#   make results  the tables of README and docs, and what they have no measurement of yet: hours, resumable; CIFARLAB_DATA=...
#   make bench-gpu PART=a   what is measured on a GPU, in parts of nine minutes: see benchmarks/README.md
#   make docs     write docs/cli.md and docs/recipes.md anew
#   make wheels   installable packages in dist, with compiled CPU kernels for each platform; needs no compiler of the system
#   make messages bring the catalogues of other languages up to date with the messages of the code

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INPUTS := pyproject.toml constraints.txt
CLAIMS := data_path precision small_maps resnet18 floor
PART ?= all

.PHONY: train test test-kernels check long bench bench-gpu results docs messages wheels clean
.NOTPARALLEL:

train: .venv/.installed
	$(BIN)/cifarlab train quick --data sample

test: check
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4

test-kernels: .venv/.installed-dev
	@OMP_NUM_THREADS=1 $(BIN)/python scripts/kernel_tests.py

check: .venv/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

long: .venv/.installed-dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --hypothesis-profile=long tests/images -k generated
	@$(BIN)/python scripts/same_weights.py
	@$(BIN)/python scripts/failing_disk.py
	@$(BIN)/python scripts/mutants.py

bench: .venv/.installed-dev
	@for claim in $(CLAIMS); do echo "$$claim"; $(BIN)/python "benchmarks/$$claim.py" || exit 1; done

results: .venv/.installed-dev
	@$(BIN)/python benchmarks/accuracy.py
	@$(BIN)/python benchmarks/accuracy.py --table

# PEERS=DIR adds the scripts of other projects, from checkouts in DIR; OPTIONS='--tiny' tries it out without a GPU.
bench-gpu: .venv/.installed-dev
	@$(BIN)/python benchmarks/gpu.py --part $(PART) $(if $(PEERS),--peers $(PEERS)) $(OPTIONS)

docs: .venv/.installed-dev
	$(BIN)/python scripts/make_docs.py

messages: .venv/.installed-dev
	$(BIN)/python scripts/messages.py

wheels: .venv/.installed-wheels
	@rm -rf dist
	@$(BIN)/python scripts/wheels.py --out dist
	@$(BIN)/twine check --strict dist/*.whl
	@for wheel in dist/*manylinux*.whl; do $(BIN)/auditwheel show $$wheel || exit 1; done

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .hypothesis

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "cifarlab needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: .venv/.created $(INPUTS)
	@echo "Installing cifarlab into .venv; the first time takes some minutes."
	@$(INSTALL) --editable .
	@touch $@

.venv/.installed-dev: .venv/.created $(INPUTS)
	@echo "Installing cifarlab and its tools into .venv; the first time takes some minutes."
	@$(INSTALL) --editable '.[dev]'
	@touch $@ .venv/.installed

.venv/.installed-wheels: .venv/.created $(INPUTS)
	@echo "Installing what builds wheels into .venv."
	@$(INSTALL) --editable '.[wheels]'
	@touch $@ .venv/.installed
