# SPDX-License-Identifier: Apache-2.0
# The two commands: `make run` and `make test`. Both install the host tools that are missing.

# One profile for both, so that nothing is compiled twice.
LOADGAUGE := target/debug/loadgauge
IGNITION_ORACLE := target/oracles/ignition
PORTAGE_ORACLE := target/oracles/portage
export LOADGAUGE_PORTAGE := $(CURDIR)/$(PORTAGE_ORACLE)
export LOADGAUGE_IGNITION_VALIDATE := $(CURDIR)/$(IGNITION_ORACLE)/usr/bin/ignition-validate

.PHONY: help run test bench fuzz host-tools test-tools build image format lint unit documentation guest

help:
	@echo 'make run    install host tools, build, make the stand-in image, run the default scenarios'
	@echo 'make test   the same preparation, then every test, those that boot guests included'
	@echo 'make bench  what building and starts cost, beside the tools that do the same alone'
	@echo 'make fuzz   broken inputs for whatever reads foreign bytes, half a minute for each'

run: build
	$(LOADGAUGE) image build
	$(LOADGAUGE) run tag:default

# Quickest first: what fails early says so early.
test: host-tools test-tools format lint unit documentation image guest

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
	cargo clippy --locked --workspace --all-targets --features loadgauge/guest-tests -- -D warnings

# Everything that needs no guest.
unit: build test-tools
	cargo test --locked --workspace

documentation:
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps

# Those that the tests boot; the last one is what `loadgauge run` takes.
image: build
	$(LOADGAUGE) image build --release 3654.0.0 --release 4790.0.0 --release 4593.2.0

# Everything that boots one. The tests stand apart by a feature, so that `cargo test` alone does
# not need an image.
guest: image
	cargo test --locked --package loadgauge --features guest-tests --test 'guest_*'
