# What people type. Each target installs what it needs first (only what is missing, and it says what).
# `make help` lists them.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
RELEASE := target/release/bryo

.PHONY: help setup build release demo test test-vm bench lint install man completions clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: ## install what building needs, and put libseccomp.a into .build/lib
	@scripts/setup.sh build

build: setup ## the debug binary
	$(CARGO) build

release: setup ## the binary that is installed
	$(CARGO) build --release

demo: setup ## builds it, then a real project in a sandbox and a hostile one, as an ordinary user
	@scripts/setup.sh user
	@scripts/demo.sh

test: setup ## everything but the virtual machine; as an ordinary user, also when run by root
	@scripts/setup.sh user test
	@scripts/test.sh $(FILTER)

test-vm: release ## on a real Debian with systemd, Linux 6.1 and 6.12, in an emulated machine
	@scripts/test-vm.sh $(FILTER)

bench: setup ## ratios against other tools, on this machine; ARGS='--json FILE', '--print-only', or a name
	@scripts/setup.sh user bench
	@scripts/bench.sh $(ARGS)

lint: setup ## format, clippy, layering, dependencies, shell scripts, fuzz targets
	@scripts/setup.sh lint
	@scripts/lint.sh

man: release ## the man page, in .build/share/man
	@mkdir -p .build/share/man/man1
	$(RELEASE) man > .build/share/man/man1/bryo.1

completions: release ## shell completions, in .build/share
	@mkdir -p .build/share/bash-completion/completions .build/share/zsh/site-functions \
		.build/share/fish/vendor_completions.d
	$(RELEASE) completions bash > .build/share/bash-completion/completions/bryo
	$(RELEASE) completions zsh > .build/share/zsh/site-functions/_bryo
	$(RELEASE) completions fish > .build/share/fish/vendor_completions.d/bryo.fish

install: man completions ## to PREFIX (/usr/local): binary, man page, completions, AppArmor profile where one is needed
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install.sh

clean: ## everything that was built
	$(CARGO) clean
	rm -rf .build fuzz/target
	[ "$$(id -u)" != 0 ] || rm -rf /var/cache/bryo-test
