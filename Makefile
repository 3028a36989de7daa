# Everything below installs what it needs on a bare Debian 12, as root; only Rust comes from https://rustup.rs.

PYTHON := /usr/bin/python3
export PATH := $(HOME)/.cargo/bin:$(PATH)
export CARGO_TERM_COLOR ?= never

.PHONY: help run run-card run-native test test-long bench lint binary image reproduce setup packages peers release

help:            ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# The gateway of `make run`: the SD card in QEMU, or the program itself in a namespace.
GATEWAY ?= card

run: run-$(GATEWAY)  ## boot the card (GATEWAY=native: run the binary) in a whole network, print what to try, stay until Ctrl-C

run-card: packages peers release image
	@image/install.sh qemu
	@$(PYTHON) -m tests.lab run card

run-native: packages peers release
	@$(PYTHON) -m tests.lab run

test: setup      ## every check and test; ends with a line of counts
	@$(PYTHON) -m tests.verify

test-long: setup ## the same with many more generated cases, the lab three times over, and ten minutes of silence
	@$(PYTHON) -m tests.verify --long

bench: peers release ## measure against HAProxy, nginx, Caddy, tailscaled and others, and the path without a cipher (OPTIONS="--help"); benches/README.md says how to read it
	@tests/install.sh haproxy nginx-light libnginx-mod-stream iperf3 wrk nghttp2-client ethtool wireguard-tools
	@tests/peers/build.sh caddy wireguard-go boringtun-cli tokio-uring-relay
	cargo build --release --locked --example null_tunnel
	@$(PYTHON) -m benches $(OPTIONS)

lint: setup      ## formatting, clippy, rustdoc, licences and sources of dependencies
	@$(PYTHON) -m tests.verify --only lint

binary:          ## the static binaries for the SD card (aarch64) and for this machine's kind (x86_64), in target/binary
	@image/install.sh binary
	@image/binary.sh aarch64
	@image/binary.sh x86_64

image:           ## the SD card: target/image/genkan.img.zst
	@image/install.sh binary card
	@$(PYTHON) -m image

reproduce: image ## build the card twice in two folders and compare
	@image/reproduce.sh

setup: packages peers  ## install what the tests need and build the Tailscale clients
	@image/install.sh binary card qemu
	@tests/cargo_deny.sh

packages:
	@tests/install.sh

peers: packages
	@tests/peers/build.sh

release: packages
	cargo build --release --locked
