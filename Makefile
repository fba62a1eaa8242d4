# Two commands do everything on a fresh Debian machine, as root: `make up` and `make test`.
SHELL := /bin/bash
TOOLS := $(CURDIR)/.tools
export PATH := $(TOOLS)/bin:$(PATH)
export HANSE_TOOLS := $(TOOLS)/bin
export CARGO_INCREMENTAL := 0
FUZZ_SECONDS ?= 60

.PHONY: help up test check unit e2e tools packages toolchain bench bench-keystone bench-rgw fuzz test-ceph \
  conformance conformance-identity conformance-objectstore conformance-tools docs clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

up: toolchain packages tools ## Build, start the cloud, boot a guest and reach it by ssh
	cargo build --release --package hanse
	target/release/hanse up
	cargo xtask guest-image
	scripts/first-guest

test: toolchain packages tools check unit e2e conformance ## Run all tests

check: toolchain tools ## Format, spelling, house rules, lints
	cargo fmt --check
	typos
	cargo xtask tidy
	cargo clippy --workspace --all-targets --quiet -- --deny warnings

unit: toolchain packages tools ## Unit, service and contract tests, on SQLite and PostgreSQL
	cargo build --workspace --all-targets --quiet
	HANSE_REQUIRED_TESTS=postgres,qemu,qemu-img,netns,strace,mount,root \
	  cargo xtask with-postgres cargo nextest run --workspace -E 'not (package(hanse-e2e) | package(hanse-conformance-tests))'

e2e: toolchain packages tools ## Real clients against the real binary
	cargo build --workspace --all-targets --quiet
	cargo xtask guest-image
	HANSE_REQUIRED_TESTS=e2e,postgres cargo xtask with-postgres cargo nextest run --workspace -E 'package(hanse-e2e)'

test-ceph: toolchain packages tools ## Real clients against a real radosgw behind Hanse; fetches 600 MB of Debian packages
	cargo build --package hanse --package hanse-e2e --quiet
	scripts/ceph-node install
	HANSE_REQUIRED_TESTS=e2e,ceph cargo nextest run --package hanse-e2e -E 'binary(radosgw)'

conformance: toolchain packages conformance-tools ## Tempest, the plugins of keystoneauth, the comparison with Keystone
	cargo build --workspace --all-targets --quiet
	HANSE_REQUIRED_TESTS=e2e,conformance cargo nextest run --workspace -E 'package(hanse-conformance-tests)'

conformance-identity: toolchain packages conformance-tools ## Tempest's identity tests, all of them
	cargo build --package hanse --package hanse-conformance-tests --quiet
	target/debug/hanse-conformance tempest

conformance-objectstore: toolchain packages conformance-tools ## Tempest's object storage tests, all of them
	cargo build --package hanse --package hanse-conformance-tests --quiet
	target/debug/hanse-conformance tempest --suite object-storage

bench: toolchain packages ## Measure the release binary and print a table (BENCH="--help" tells more)
	cargo build --release --package hanse --package hanse-bench
	cargo xtask guest-image
	HANSE_BINARY=$(CURDIR)/target/release/hanse cargo xtask with-postgres --durable target/release/hanse-bench $(BENCH)

bench-keystone: toolchain packages conformance-tools ## Measure Hanse and Keystone in turns and print a table
	cargo build --release --package hanse --package hanse-conformance-tests
	HANSE_BINARY=$(CURDIR)/target/release/hanse target/release/hanse-conformance bench

bench-rgw: toolchain packages ## Measure Hanse's object storage and Ceph's radosgw in turns and print a table
	cargo build --release --package hanse --package hanse-bench
	HANSE_BINARY=$(CURDIR)/target/release/hanse target/release/hanse-bench --only rgw

fuzz: toolchain $(TOOLS)/bin/cargo-fuzz ## Let each fuzzer look for FUZZ_SECONDS (60); needs Rust's nightly
	for target in payload sealed query body s3 record; do \
	  mkdir -p fuzz/corpus/$$target; \
	  cargo +nightly fuzz run $$target fuzz/corpus/$$target $$(ls -d fuzz/seeds/$$target 2>/dev/null) -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -print_final_stats=1 || exit 1; \
	done

$(TOOLS)/bin/cargo-fuzz:
	cargo install cargo-fuzz --version 0.13.2 --locked --root $(TOOLS)

tools: .tools/done ## Install the clients and test tools from PyPI into .tools

.tools/done: scripts/requirements.txt
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --requirement scripts/requirements.txt
	touch $@

conformance-tools: tools .tools/tempest/done .tools/keystone/done ## Install Tempest and Keystone from PyPI into .tools

.tools/%/done: scripts/requirements-%.txt
	python3 -m venv $(TOOLS)/$*
	$(TOOLS)/$*/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

packages: ## Install the Debian packages that guests and tests need
	scripts/install-packages

toolchain:
	@cargo --version >/dev/null 2>&1 || { echo "Rust 1.95 is missing: install rustup (https://rustup.rs), then: rustup toolchain install 1.95"; exit 1; }

docs: ## Write the derived documents anew
	HANSE_WRITE_DOCS=1 cargo test --quiet --package hanse --package hanse-objectstore derived_documents

clean: ## Remove what was built
	rm -rf target .tools
