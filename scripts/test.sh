#!/usr/bin/env bash
# Builds all tests and runs them as an ordinary user (see tests/README.md for the tiers).
#
#   scripts/test.sh [FILTER]       FILTER: a part of the names of the tests to run
#
# Root on a checkout that others cannot read: the sources are copied to a folder which everybody can read
# (/var/cache/bryo-test, kept for the next time), because an ordinary user must be able to start the binaries.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022 # what is built here is started by another user
top=$PWD

say() { printf 'test: %s\n' "$*" >&2; }

as_other() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }

# Every source, and the folder of the test binaries if there is one already.
readable_by_others() {
	local refused
	refused=$(as_other find "$top" \( -name target -o -name .git -o -name .build \) -prune -o ! -readable -print -quit 2>&1) &&
		[ -z "$refused" ] && { [ ! -e target/debug/deps ] || as_other test -x "$top/target/debug/deps"; }
}

copy_for_others() { # prints the folder
	local to
	to=/var/cache/bryo-test/$(printf '%s' "$top" | sha256sum | cut -c1-16)
	mkdir -p "$to"
	find "$to" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
	# With the times of change, by which cargo knows what it has built already.
	tar cf - --exclude=./target --exclude=./.git --exclude=./fuzz/target . | tar xpf - -C "$to" --no-same-owner
	chmod -R a+rX "$to"
	printf '%s\n' "$to"
}

if [ "$(id -u)" = 0 ] && [ -z "${BRYO_TEST_COPIED:-}" ] && ! readable_by_others; then
	copy=$(copy_for_others)
	say "others cannot read $top: building in $copy"
	BRYO_TEST_COPIED=1 exec "$copy/scripts/test.sh" "$@"
fi

# One line per test binary: its kind (lib, bin, test), its name, its path.
build() {
	cargo test --no-run --message-format=json-render-diagnostics |
		sed -n 's/.*"kind":\["\([^"]*\)"\].*"name":"\([^"]*\)".*"profile":{[^}]*"test":true}.*"executable":"\([^"]*\)".*/\1 \2 \3/p'
}

list=$(mktemp)
trap 'rm -f "$list"' EXIT
build >"$list"
[ -s "$list" ] || {
	say 'cargo built no test'
	exit 1
}
chmod 644 "$list"
# What was built earlier may have been built with another umask.
[ "$(id -u)" != 0 ] || cut -d ' ' -f 3 "$list" | xargs chmod a+rx target/debug/bryo

# The examples in the documentation are compiled and run by cargo itself.
cargo test --doc --quiet

# The binary that the tests start; where cargo has put it is the default of tests/support.
export BRYO_BIN=${BRYO_BIN:-$top/target/debug/bryo}
export CARGO_BIN_EXE_bryo=$BRYO_BIN CARGO_MANIFEST_DIR=$top
export INSTA_UPDATE=no INSTA_WORKSPACE_ROOT=$top
scripts/ordinary-user.sh scripts/run-tests.sh "$list" "$@"
