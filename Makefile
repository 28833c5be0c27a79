# One line per target; `make help` lists them.
PYTHON ?= python3.11
PY := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help serve web engine test test-full test-quick lint messages pictures vendored bench bench-peers bench-usage bench-pages audit requirements clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: has-python has-chromium web-env dev-env
has-python:
	@command -v $(PYTHON) >/dev/null || { echo "gatehouse: needs Python 3.11; install it, or say PYTHON=/path/to/python3.11" >&2; exit 1; }
web-env: has-python
	@$(PYTHON) core/bootstrap.py requirements.txt
dev-env: has-python
	@$(PYTHON) core/bootstrap.py requirements/dev.txt

CHROMIUMS := chromium-headless-shell chromium chromium-browser google-chrome
# Browser tests need one; without it and without the right to install it they are skipped.
has-chromium:
	@command -v chromium-headless-shell >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	{ apt-get install -qq -y chromium-headless-shell || apt-get install -qq -y chromium; } >/dev/null 2>&1; } || true
	@command -v $(CHROMIUMS) >/dev/null || echo "gatehouse: no Chromium here: the browser tests are skipped; install the package chromium" >&2

serve: export LOCALAI_AUTH ?= true
serve: web-env ## start everything on this machine
	@exec $(PY) manage.py serve

web: export LOCALAI_AUTH ?= true
web: web-env ## start the web processes alone (all engines remote)
	@exec $(PY) manage.py serve --web-only

engine: web-env ## start the engine process alone
	@exec $(PY) manage.py runengine

# Tests run side by side, file by file; what times the servers that it starts runs alone.
APPS := accounts usage inference chat
BESIDE := -n 2 --dist loadfile
test: dev-env has-chromium ## all tests: real engines, both databases, faults
	@failed=; $(PY) -m pytest -q $(BESIDE) core $(APPS) || failed=1; \
	GATEHOUSE_TEST_DATABASE=postgresql $(PY) -m pytest -q $(BESIDE) $(APPS) || failed=1; \
	GATEHOUSE_TEST_DATABASE=postgresql $(PY) -m pytest -q tests/test_two_doors.py || failed=1; \
	$(PY) -m pytest -q -n 3 --dist loadscope --no-loadscope-reorder -m "not alone and not full" tests || failed=1; \
	$(PY) -m pytest -q -m "alone and not full" tests || failed=1; \
	test -z "$$failed"

test-full: export GATEHOUSE_CHECK_ANSWERS := 1
test-full: dev-env has-chromium ## all that test does, the long ones, and every answer held against the document
	@failed=; $(PY) -m pytest -q -m "full or not full" core $(APPS) tests || failed=1; \
	GATEHOUSE_TEST_DATABASE=postgresql $(PY) -m pytest -q $(APPS) tests/test_two_doors.py || failed=1; \
	test -z "$$failed"

test-quick: dev-env ## tests without engine and browser, under a minute
	@$(PY) -m pytest -q $(BESIDE) -m "not slow and not full" core $(APPS) tests/test_two_doors.py

lint: dev-env ## everything static that CI looks at
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .
	@.venv/bin/lint-imports
	@$(PY) -m mypy
	@$(PY) manage.py makemigrations --check --dry-run
	@LOCALAI_AUTH=true LOCALAI_BASE_URL=https://gatehouse.example $(PY) manage.py check --deploy --fail-level WARNING

audit: dev-env ## known holes in what we depend on (needs the network)
	@$(PY) -m pip_audit --strict --require-hashes -r requirements.txt

messages: dev-env ## gather the texts of pages for translation, compile the translations (needs gettext)
	@$(PY) manage.py makemessages --locale de --no-obsolete --add-location file --ignore .venv --ignore staticfiles --ignore tests --ignore bench
	@$(PY) manage.py compilemessages --locale de --ignore .venv

pictures: dev-env has-chromium ## make the README's pictures anew
	@$(PY) -m tests.browser.readme_pictures

vendored: dev-env ## fetch the scripts and fonts of others anew, as static/vendor/manifest.json pins them
	@$(PY) -m core.vendored && $(PY) -m core.vendored tests/browser/vendor/manifest.json

bench: dev-env ## measure product, bare forwarder and engine in one run
	@$(PY) -m bench.run

bench-peers: dev-env ## beside other gateways and at the limits; fails below its bars
	@$(PY) -m bench.lane

bench-usage: dev-env ## the books: recording, draining, reports at 100 million events
	@$(PY) -m bench.usage

bench-pages: dev-env has-chromium ## server time of pages over 10,000 people and a million events, largest paints
	@$(PY) -m bench.pages && $(PY) -m bench.paints

requirements: dev-env ## compile the pinned requirements anew
	@sh requirements/compile.sh

clean: ## remove environments, caches and built files; data stays
	@rm -rf .venv .bench staticfiles .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
