#!/usr/bin/env bash
# Makes this machine ready to build, test, measure or lint bryo.
#
#   scripts/setup.sh SET...      SET: build, user, test, bench, lint
#
# Installs only what is missing, and asks sudo only when it is not run by root.
# Where there is no dpkg (another distribution), it says what must be there and goes on.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
	say "$1"
	[ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
	exit 1
}

# The Debian packages of each set, and why they are wanted.
packages() {
	case $1 in
	build)
		echo gcc libc6-dev make # the linker, and the demo's project
		echo libseccomp-dev     # libseccomp.a and its header
		;;
	user) # what scripts/ordinary-user.sh and demo/run.sh call
		echo passwd procps util-linux bsdutils uidmap
		;;
	test)
		echo uidmap         # newuidmap, newgidmap: `--ids subid`
		echo fuse-overlayfs # the second pass of the integration tests
		echo bubblewrap     # the tool whose cases ours are compared with
		echo strace attr acl libcap2-bin
		echo netcat-openbsd iproute2 # peers in a test's own network namespace
		echo curl                    # a client with a network of its own
		echo passt slirp4netns       # `--network pasta`, `--network slirp4netns`
		echo dnsmasq-base bind9-dnsutils nginx-light openssl iperf3 wrk iputils-ping wget # real peers
		echo git less umoci          # the default pager; read back what `bryo export` writes
		echo python3-minimal         # a payload that is an interpreter; sockets without a compiler
		;;
	bench)
		echo bubblewrap crun
		echo slirp4netns passt iproute2 # what `--network user` is compared with, and two hosts in namespaces
		;;
	lint) echo shellcheck ;;
	*) die "no such set: \`$1\`" "the sets are build, user, test, bench, lint" ;;
	esac
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		say "sudo is asked for: $*"
		sudo "$@"
	else
		die "cannot install packages: not root, and there is no sudo" "as root: $*"
	fi
}

install_missing() { # package...
	local p missing=()
	for p in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	say "installing ${missing[*]}"
	as_root apt-get -o DPkg::Lock::Timeout=600 -qq update
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 \
		install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# libseccomp is linked statically, from a folder that holds nothing else (see .cargo/config.toml).
copy_libseccomp() {
	local from to=.build/lib/libseccomp.a
	from=$("${CC:-cc}" -print-file-name=libseccomp.a)
	if [ ! -e "$from" ]; then
		[ ! -e "$to" ] || return 0
		die "cannot find \`libseccomp.a\`" \
			'install the static library of libseccomp (Debian: libseccomp-dev; Fedora: libseccomp-static; Alpine: libseccomp-static)'
	fi
	cmp -s "$from" "$to" && return 0
	mkdir -p .build/lib
	# Renamed into place: two builds may be doing this at once.
	cp "$from" "$to.$$"
	mv "$to.$$" "$to"
}

command -v cargo >/dev/null ||
	die "cannot find \`cargo\`" "install the Rust toolchain (the version is rust-version in Cargo.toml)"

wanted=()
for set in "$@"; do
	mapfile -t -O "${#wanted[@]}" wanted < <(packages "$set" | tr ' ' '\n')
done
if command -v dpkg-query >/dev/null; then
	[ ${#wanted[@]} -eq 0 ] || install_missing "${wanted[@]}"
else
	say "not a Debian: what is called ${wanted[*]} there must be installed"
fi
for set in "$@"; do
	case $set in
	build) copy_libseccomp ;;
	lint)
		if ! cargo deny --version >/dev/null 2>&1; then
			say "installing cargo-deny (compiles for some minutes, once)"
			cargo install --locked --quiet cargo-deny
		fi
		;;
	esac
done
