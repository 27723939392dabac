# All that a fresh machine needs: git, make, and Python 3.11 to 3.14 with its venv module.
# Every target works as the only command in a fresh clone.

PYTHON ?= python3
DIR ?=
UPGRADE ?=
LARGE ?=
SECONDS ?= 60
OSV ?=

UV := .bootstrap/bin/uv
BIN := .venv/bin
EXPORT := $(UV) export --quiet --locked --offline --no-header --no-annotate --no-emit-project

# The environment is exactly what uv.lock says, made with the Python that was asked for.
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME
# What images of containers like to say: each of thousands of processes would compile us again.
unexport PYTHONDONTWRITEBYTECODE

TESTS := $(BIN)/python -m pytest --numprocesses 3 --dist worksteal --hypothesis-profile quick

.PHONY: help demo test test-all checked compiled check bench docs picture fuzz audit lock wheel clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo [DIR=folder]  the whole road on real flight data, in a folder of its own'
	@echo 'make test               wheel, check, and the tests that take minutes'
	@echo 'make test-all           and the extended ones: what CI runs'
	@echo 'make check              lint, format, types'
	@echo 'make bench [LARGE=--large]  docs/BENCHMARKS.md: side by side with the peers; LARGE: the gate at 10M rows too'
	@echo 'make fuzz [SECONDS=60]     each loader of what others wrote, with bytes that lead to new code'
	@echo 'make audit              every pinned package against known vulnerabilities; asks OSV and npm'
	@echo 'make docs               the site, in docs/_build'
	@echo 'make picture            docs/demo.svg, of a real run of the demo'
	@echo 'make wheel              dist/*.whl, built through the sdist'
	@echo 'make lock               uv.lock and the exports of it in requirements/'
	@echo 'make clean              remove what the targets above made'

demo: .venv/ready
	@$(BIN)/python -m compileall -q gitops
	@dir='$(DIR)'; [ -n "$$dir" ] || dir="$$(mktemp -d)/demo"; $(BIN)/gitops demo "$$dir"

test: checked
	$(TESTS) -m 'not extended'

test-all: checked
	$(TESTS)

# The types are one processor's work; beside it the tests' modules are compiled, once for all workers.
checked: wheel
	@$(MAKE) --no-print-directory --jobs 2 check compiled

compiled: .venv/ready
	@$(BIN)/python -m pytest --collect-only --quiet >/dev/null

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready
	$(BIN)/python -m benchmarks $(LARGE) --write docs/BENCHMARKS.md

fuzz: .venv/ready
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

# Of all locks: ours with every extra and group, those of the tools apart, and npm's.
audit: .audit/ready
	@$(UV) export --quiet --frozen --offline --no-header --no-annotate --no-emit-project --all-extras --all-groups \
		--output-file .audit/lock.txt >/dev/null
	@failed=0; for file in .audit/lock.txt requirements/*.txt; do echo "$$file"; \
		.audit/bin/pip-audit --vulnerability-service osv $(OSV) --strict --require-hashes --disable-pip --progress-spinner off \
			--requirement "$$file" || failed=1; done; \
	for folder in tests/azurite tests/octokit tests/validators; do echo "$$folder"; \
		npm audit --prefix "$$folder" --package-lock-only --omit=optional || failed=1; done; exit $$failed

docs: .venv/ready
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build
	@echo "docs/_build/index.html"

picture: .venv/ready
	$(BIN)/python docs/picture.py

wheel: .venv/ready
	rm -rf dist
	$(UV) build --quiet --offline --no-build-isolation --python $(BIN)/python --out-dir dist
	@ls dist/*.whl

lock: .bootstrap/ready
	$(UV) lock $(UPGRADE)
	$(EXPORT) --no-dev --extra s3 --extra azure --extra serve --extra sql --extra infra --output-file requirements/tool.txt >/dev/null
	$(EXPORT) --only-group bootstrap --output-file requirements/uv.txt >/dev/null
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		$(UPGRADE) --output-file requirements/checkov.txt requirements/checkov.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		$(UPGRADE) --output-file requirements/azureml.txt requirements/azureml.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		$(UPGRADE) --output-file requirements/audit.txt requirements/audit.in

clean:
	rm -rf .bootstrap .venv .checkov .azureml .audit dist docs/_build docs/reference .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find gitops tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

.venv/ready: .bootstrap/ready pyproject.toml uv.lock
	$(UV) sync --locked --all-extras --all-groups --compile-bytecode \
		--python "$$(.bootstrap/bin/python -c 'import sys; print(sys._base_executable)')"
	@touch $@

# An auditor of pipelines that tests use where it is there; its own pins would hold ours back.
.checkov/ready: .bootstrap/ready requirements/checkov.txt
	$(UV) venv --quiet --clear --python .bootstrap/bin/python .checkov
	$(UV) pip install --quiet --python .checkov --require-hashes --only-binary :all: --requirement requirements/checkov.txt
	@touch $@

# The official reader of Azure ML's files; likewise.
.azureml/ready: .bootstrap/ready requirements/azureml.txt
	$(UV) venv --quiet --clear --python .bootstrap/bin/python .azureml
	$(UV) pip install --quiet --compile-bytecode --python .azureml --require-hashes --only-binary :all: --requirement requirements/azureml.txt
	@touch $@

# What knows of vulnerabilities; likewise.
.audit/ready: .bootstrap/ready requirements/audit.txt
	$(UV) venv --quiet --clear --python .bootstrap/bin/python .audit
	$(UV) pip install --quiet --python .audit --require-hashes --only-binary :all: --requirement requirements/audit.txt
	@touch $@

.bootstrap/ready: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { echo \
		"error: '$(PYTHON)' is missing, or not Python 3.11 to 3.14; fix: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo \
		"error: '$(PYTHON)' cannot make environments; fix: install its venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv --clear .bootstrap
	.bootstrap/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --only-binary :all: --requirement requirements/uv.txt
	@touch $@
