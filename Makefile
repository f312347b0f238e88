PYTHON ?= python3
PROFILE ?= nano
VENV := .venv
BIN := $(VENV)/bin
# llama.cpp is compiled here, for this processor, and without what the course does not use
export CMAKE_ARGS ?= -DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF

.PHONY: course test site slides offline

course: $(VENV)/installed
	$(BIN)/python -m tinyagent_helpers course --profile $(PROFILE)

test: $(VENV)/installed
	$(BIN)/python -m pytest

site: $(VENV)/installed
	$(BIN)/python -m tinyagent_helpers site --profile $(PROFILE)

slides: $(VENV)/installed
	$(BIN)/python -m tinyagent_helpers slides --profile $(PROFILE)

offline: $(VENV)/installed
	$(BIN)/python -m tinyagent_helpers offline $(if $(PLATFORMS),--platform $(PLATFORMS))

$(VENV)/installed: requirements.txt requirements-bfcl.txt pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Python {v[0]}.{v[1]} will not do: the course needs 3.11 or 3.12. Try make course PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-bfcl.txt
	touch $@
