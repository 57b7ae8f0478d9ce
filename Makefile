# `make` lists the targets. What a target needs from the system, it installs, or says what to install.

SHELL := /bin/sh
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# The demo's sink: stdout, kafka or nats. ARGS are further arguments of `mongo-observer demo`.
SINK ?= stdout
ARGS ?=

# What each sink needs: Cargo features, servers, system packages.
demo_features_stdout := connector,servers
demo_features_kafka  := connector,servers,kafka
demo_features_nats   := connector,servers,nats
demo_servers_stdout  := mongodb
demo_servers_kafka   := mongodb kafka
demo_servers_nats    := mongodb nats
demo_packages_stdout := compiler python
demo_packages_kafka  := compiler librdkafka python java
demo_packages_nats   := compiler python
demo_cargo = --no-default-features --features $(demo_features_$(SINK))

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-22s %s\n", $$1, $$2 }'

.PHONY: demo
demo: ## watch changes of a private MongoDB go by; SINK=kafka or SINK=nats sends them there, ARGS="--seconds 20"
	@$(if $(demo_features_$(SINK)),,echo "SINK=$(SINK) is none of stdout, kafka, nats" >&2; exit 2)
	@tests/services/system-packages $(demo_packages_$(SINK))
	@tests/services/fetch $(demo_servers_$(SINK)) & fetch=$$!; \
	trap 'kill $$fetch 2>/dev/null; exit 130' INT TERM; \
	cargo build --bin mongo-observer $(demo_cargo); built=$$?; \
	wait $$fetch && exit $$built
	@cargo run --quiet --bin mongo-observer $(demo_cargo) -- demo --sink $(SINK) $(ARGS)

.PHONY: packages
packages: ## install the system packages that builds and tests need
	@tests/services/system-packages

.PHONY: services
services: ## fetch MongoDB in four versions, Kafka and NATS into target/services
	@tests/services/system-packages python java
	@tests/services/fetch all

.PHONY: build
build: ## build the program for use
	@tests/services/system-packages compiler librdkafka
	cargo build --release

.PHONY: test
test: packages services ## run the tests, against real servers
	cargo test $(ARGS)

.PHONY: test-all
test-all: packages services ## run the tests, also the long ones, with ten times as many simulated schedules
	SIM_SCHEDULES=1000000 cargo test $(ARGS) -- --include-ignored --skip harvest

.PHONY: bench
bench: packages services ## measure the pipeline and live collections
	cargo bench --bench pipeline $(ARGS)
	cargo bench --bench reactive

.PHONY: check
check: ## look at format, lints and documentation, as CI does
	@tests/services/system-packages compiler librdkafka
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

.PHONY: clean-services
clean-services: ## remove the servers that were fetched
	rm -rf "$${SERVICES_DIR:-target/services}"
