# make up     the whole chain with simulated meters, on this machine
# make test   every test, on real parts, JOBS=4 files at a time, for most of them wait; each failure is in
#             .test-reports/latest/ as soon as it happens
# make unit   the tests without sockets or servers, within a minute
# make mms    the tests of MMS with the wait hook (mms_bridge/libiec61850/wait_hook.py) and again without it
# make soak   a minute of births under SCADA clients, then minutes of faults on the real chain and the ledger:
#             BIRTHS=200 SECONDS=600 SEED=7 DATABASE=sqlite|postgresql; then make debs-test and make containers
# make month  200 simulated houses, a month: what is computed of it against the truth, a replay: SEED=7
# make dist   wheel, sdist and the Debian packages, in dist/
# make debs-test   the Debian packages installed, run, upgraded and purged in Debian 12 and 13 (chroots, root)
# make containers  compose.yaml with podman: all services, and their meters over MMS and HTTPS (root)
# make hostile mutants of real MMS sessions against the MMS bridge: MESSAGES=100000 SEED=7
# make alerts Prometheus's promtool over docs/monitoring/alerts.yml and its tests; it is taken out of Debian's package
# make fuzz   hostile bytes against the parsers, with atheris: SECONDS=60 for each of them
# make audit  known vulnerabilities of the locked packages: OSV=all.zip where the network has no database
# make sbom   the software bill of materials of a release, dist/meter61850-VERSION.cdx.json
# make check  lint, types, import rules
# make bench  the benchmarks
# make lock   the lock files, after pyproject.toml changed
# make docs   the generated files: topics, cli, settings and conformance in docs/, mosquitto.conf
# make vendor the page's npm packages, downloaded again into web/static/vendor
# make clean  removes .venv and the caches
#
# `make up` and `make test` need Python 3.11 or newer and make, and nothing else: they create .venv and
# install the locked packages, each with its hash. ARGS="…" is passed to the program.

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3.14 python3) python3)
VENV   ?= .venv
ARGS   ?=
TESTS  ?= tests
JOBS   ?= 4
# By file: what a module's fixtures start serves one process. In the order of the folders: the unit tests, whose files
# are short, come last, so that no process is left alone with a long one.
DIST   := loadfile --no-loadscope-reorder
SECONDS ?= 600
SEED   ?=
DATABASE ?= sqlite
MESSAGES ?= 100000
BIRTHS  ?= 200
SOURCES := adapters admin bench bridge broker meter_firmware mms_bridge registrar scl_builder tests tools web

PY := $(VENV)/bin/python
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.PHONY: up test unit mms soak month dist debs-test containers hostile alerts fuzz audit sbom check bench lock docs vendor clean servers debian
.DEFAULT_GOAL := up

up: $(VENV)/.installed
	@exec $(VENV)/bin/meter61850 up $(ARGS)

test: $(VENV)/.installed-dev servers
	$(PY) -m pytest -n $(JOBS) --dist $(DIST) $(TESTS) $(ARGS)

unit: $(VENV)/.installed-dev
	$(PY) -m pytest -n $(JOBS) --dist $(DIST) tests/unit $(ARGS)

MMS := $(wildcard tests/*/test_*mms*.py)

mms: $(VENV)/.installed-dev servers
	$(PY) -m pytest -n $(JOBS) --dist $(DIST) $(MMS) $(ARGS)
	$(PY) -m pytest -n $(JOBS) --dist $(DIST) --wait-hook off $(MMS) $(ARGS)

soak: $(VENV)/.installed-dev servers alerts
	$(PY) -m tests.births --births $(BIRTHS) --seconds 60
	$(PY) -m tests.faults --seconds $(SECONDS) --database $(DATABASE) $(if $(SEED),--seed $(SEED)) $(ARGS)
	@$(MAKE) --no-print-directory debs-test containers

WHEEL := dist/meter61850-$(VERSION)-py3-none-any.whl

dist: $(VENV)/.installed-dev
	@mkdir -p dist
	$(PY) -m hatchling build -d dist -t sdist -t wheel
	$(PY) -m tools.debian --wheel $(WHEEL) --folder dist $(ARGS)

month: $(VENV)/.installed-dev servers
	$(PY) -m tests.month $(if $(SEED),--seed $(SEED)) $(ARGS)

debs-test: $(VENV)/.installed-dev
	@command -v debootstrap >/dev/null || $(MAKE) --no-print-directory debian PACKAGES=debootstrap
	$(PY) -m tests.debs $(ARGS)

# podman-compose and what it needs decide nothing of ours.
COMPOSE := $(VENV)-compose
PODMAN  := podman runc netavark aardvark-dns iptables catatonit buildah debootstrap

$(COMPOSE)/.installed: requirements/compose.lock
	@$(PYTHON) -m venv --clear $(COMPOSE) >&2
	@$(COMPOSE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

containers: $(VENV)/.installed-dev $(COMPOSE)/.installed
	@command -v podman >/dev/null || $(MAKE) --no-print-directory debian PACKAGES="$(PODMAN)"
	$(PY) -m tests.containers --compose $(COMPOSE)/bin/podman-compose $(ARGS)

hostile: $(VENV)/.installed-dev servers
	$(PY) -m tests.hostile --messages $(MESSAGES) $(if $(SEED),--seed $(SEED)) $(ARGS)

# promtool alone: the package of Prometheus needs fonts and JavaScript, and starts a service.
PROMTOOL := $(shell command -v promtool || echo $(VENV)/promtool/usr/bin/promtool)

alerts: $(PROMTOOL)
	@$(PROMTOOL) check config --syntax-only docs/monitoring/prometheus.yml
	@$(PROMTOOL) check rules docs/monitoring/alerts.yml
	@$(PROMTOOL) test rules tests/monitoring/alerts_test.yml

$(VENV)/promtool/usr/bin/promtool:
	@mkdir -p $(VENV)/promtool
	@cd $(VENV)/promtool && apt-get download -qq prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb \
	  | tar -x ./usr/bin/promtool && rm prometheus_*.deb

# atheris is in a lock file of its own: it has no wheels for ARM, macOS or Python 3.14.
fuzz: SECONDS = 60
fuzz: $(VENV)/.installed-fuzz
	$(PY) -m tests.fuzz --seconds $(SECONDS) $(ARGS)

$(VENV)/.installed-fuzz: requirements/fuzz.lock $(VENV)/.installed-dev
	@$(PIP_INSTALL) --require-hashes --no-deps -r $<
	@touch $@

# In an environment of their own, so that the tools' own dependencies decide nothing of ours.
AUDIT := $(VENV)-audit

$(AUDIT)/.installed: requirements/audit.lock
	@$(PYTHON) -m venv --clear $(AUDIT) >&2
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

audit: $(AUDIT)/.installed
	@$(AUDIT)/bin/python -m tests.supply.audit $(if $(OSV),--osv $(OSV)) requirements/run.lock requirements/dev.lock

sbom: $(AUDIT)/.installed
	@mkdir -p dist
	@$(AUDIT)/bin/cyclonedx-py requirements requirements/run.lock --pyproject pyproject.toml --output-reproducible \
	  --output-file dist/meter61850-$(VERSION).cdx.json
	@echo "dist/meter61850-$(VERSION).cdx.json"

check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/mypy
	$(PY) -m pytest -q tests/unit/test_imports.py

bench: $(VENV)/.installed-dev servers
	$(PY) -m bench.ingest $(ARGS)
	$(PY) -m bench.transfer $(ARGS)
	$(PY) -m bench.mms $(ARGS)
	$(PY) -m bench.control $(ARGS)
	$(PY) -m bench.tls $(ARGS)
	$(PY) -m bench.web $(ARGS)

docs: $(VENV)/.installed-dev
	$(PY) -m tools.docs.cli

# A machine with nothing but Python: an environment of our own, from the locked hashes.
$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "meter61850 needs Python 3.11 or later; $(PYTHON) is older: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "$(PYTHON) lacks ensurepip: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) >&2

# The build backend is in the locks too: nothing is downloaded without a hash.
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check

define install
$(PY) -m tools.install $(1)
$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
touch $@
endef

$(VENV)/.installed: requirements/run.lock pyproject.toml | $(PY)
	@echo "installing into $(VENV), once: some minutes" >&2
	@$(call install,requirements/run.lock)

$(VENV)/.installed-dev: requirements/dev.lock requirements/sparkplug.lock pyproject.toml | $(PY)
	@echo "installing into $(VENV) with the developer's tools (once)" >&2
	@$(call install,requirements/dev.lock)
	@$(PIP_INSTALL) --require-hashes --no-deps -r requirements/sparkplug.lock
	@touch $(VENV)/.installed

# Real parts for the tests: Mosquitto, PostgreSQL, Chromium, nginx, npm and Wireshark's tshark from Debian when they are
# missing, and by npm what checks the pages' accessibility, each package with its hash.
servers:
	@missing=""; \
	PATH="$$PATH:/usr/sbin" command -v mosquitto >/dev/null || missing="$$missing mosquitto"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$$missing postgresql"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v chromedriver >/dev/null || missing="$$missing chromium-driver"; \
	PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || missing="$$missing nginx-light"; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	command -v tshark >/dev/null || missing="$$missing tshark"; \
	command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	[ -z "$$missing" ] || $(MAKE) --no-print-directory debian PACKAGES="$$missing"
	@[ tests/node/node_modules/.package-lock.json -nt tests/node/package-lock.json ] \
	  || npm ci --prefix tests/node --ignore-scripts --no-audit --no-fund --silent

debian:
	@missing="$(PACKAGES)"; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "the tests need$$missing: apt-get install$$missing (or your system's packages), then make test again" >&2; exit 1; \
	fi; \
	echo "installing$$missing" >&2; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null

# The page's third-party assets are in the repository, so that `make up` needs no Node.js.
vendor:
	cd web/static/vendor && npm ci --ignore-scripts --no-audit --no-fund \
	  && cp node_modules/uplot/dist/uPlot.iife.min.js node_modules/uplot/dist/uPlot.min.css . \
	  && cp node_modules/uplot/LICENSE uPlot.LICENSE && rm -rf node_modules

# For every platform, without index hosts or paths. A meter's packages are locked once more by themselves, for its
# Debian package.
BUILD := 'hatchling>=1.25,<2' 'editables>=0.5,<1'

lock: | $(PY)
	$(PIP_INSTALL) uv
	for lock in "requirements/run.lock" "requirements/dev.lock --extra dev"; do \
	  set -- $$lock; file=$$1; shift; \
	  printf '%s\n' $(BUILD) | $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-emit-index-url --extra adapter --extra mbus --extra server --extra postgres $$* pyproject.toml - -o $$file || exit 1; \
	done
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --constraint requirements/run.lock --extra firmware --extra mbus pyproject.toml \
	  -o requirements/meter.lock
	for tools in fuzz audit compose; do \
	  $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url requirements/$$tools.in -o requirements/$$tools.lock || exit 1; \
	done

clean:
	rm -rf $(VENV) $(AUDIT) $(COMPOSE) .fuzz .roots .test-reports dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
