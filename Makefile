# SPDX-License-Identifier: Apache-2.0
# The two commands: `make run` and `make test`. Both install the host tools that are missing.

# One profile for both, so that nothing is compiled twice.
LOADGAUGE := target/debug/loadgauge
IGNITION_ORACLE := target/oracles/ignition
PORTAGE_ORACLE := target/oracles/portage
export LOADGAUGE_PORTAGE := $(CURDIR)/$(PORTAGE_ORACLE)
export LOADGAUGE_IGNITION_VALIDATE := $(CURDIR)/$(IGNITION_ORACLE)/usr/bin/ignition-validate

.PHONY: help run test test-all bench fuzz host-tools test-tools build image format lint supply-chain
.PHONY: spelling unit documentation guest all-guests

help:
	@echo 'make run    install host tools, build, make the stand-in image, run the default scenarios'
	@echo 'make test   the same preparation, then the tests, with one guest of each kind booted'
	@echo 'make test-all  the same with all guests: the whole catalogue, every release by every firmware'
	@echo 'make bench  time of building and of starts, as ratios to the bare tools'
	@echo 'make fuzz   broken inputs for all code that reads foreign bytes, half a minute a target'

run: build
	$(LOADGAUGE) image build
	$(LOADGAUGE) run tag:default

# Quickest first, so that failures are reported early.
test: host-tools test-tools format lint supply-chain spelling unit documentation image guest

# Over an hour on two cores without KVM.
test-all: host-tools test-tools format lint supply-chain spelling unit documentation image all-guests

# Ratios within one run, against the bare tools: mksquashfs, mkfs.erofs, veritysetup, emerge, QEMU.
bench: build test-tools
	$(LOADGAUGE) image build
	cargo run --locked --package loadgauge-builder --example pack_speed -- \
		"$$($(LOADGAUGE) build docker --format directory)"
	cargo test --locked --package loadgauge-builder --test gentoo -- --ignored --nocapture speed
	cargo run --locked --package loadgauge --example starts -- $(LOADGAUGE) target/bench/starts.json

# Longer with FUZZ='--seconds 600'; one target alone with FUZZ='deb'.
fuzz: host-tools
	cargo run --locked --package loadgauge-fuzz -- $(FUZZ)

host-tools:
	@sh images/host-tools.sh

test-tools: host-tools
	@sh images/host-tools.sh --test
	@sh ignition/tests/fetch-oracle.sh $(IGNITION_ORACLE)
	@sh harness/builder/tests/gentoo/fetch-portage.sh $(PORTAGE_ORACLE)

build: host-tools
	cargo build --locked

format:
	cargo fmt --all --check

lint: test-tools
	shellcheck images/*.sh ignition/tests/*.sh harness/builder/tests/gentoo/*.sh
	cargo clippy --locked --workspace --all-targets --features loadgauge/all-guest-tests -- -D warnings

# Both tools are optional here and run in CI in any case.
supply-chain:
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check; \
	else echo 'skipped: cargo-deny is not installed (cargo install --locked cargo-deny)'; fi

spelling:
	@if command -v typos >/dev/null; then typos; \
	else echo 'skipped: typos is not installed (cargo install --locked typos-cli)'; fi

# Everything that needs no guest.
unit: build test-tools
	cargo test --locked --workspace

documentation:
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps

# Those that the tests boot; the last one is what `loadgauge run` takes.
image: build
	$(LOADGAUGE) image build --release 3654.0.0 --release 4790.0.0 --release 4593.2.0

# Everything that boots a guest. A feature keeps these tests apart, so that `cargo test` alone needs
# no image.
guest: image
	cargo test --locked --no-fail-fast --package loadgauge --features guest-tests --test 'guest_*'

all-guests: image
	cargo test --locked --no-fail-fast --package loadgauge --features all-guest-tests --test 'guest_*'
