#!/usr/bin/env bash
# Runs test binaries, one after another, and adds up what they say. Called by scripts/test.sh.
#
#   scripts/run-tests.sh LIST [FILTER]     LIST: lines of kind, name and path
#
# The integration tests (`it`) run three times: with overlays of the kernel, with fuse-overlayfs, and without any.
#
# A test that failed among the others is run once more, alone. If it passes then, the machine was too busy for it or
# the test is careless: it is named at the end as unsteady, and is to be mended. Few such refuse no change, since on a
# busy machine one of three thousand says nothing about the change at hand; more than BRYO_TEST_UNSTEADY (3) in a run
# do, and with BRYO_TEST_UNSTEADY=0 each does.
set -euo pipefail

list=$1
shift
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export BRYO_TEST_SKIPS=$logs/skips
: >"$BRYO_TEST_SKIPS"

passed=0 failed=0 broken=() unsteady=()
allowed=${BRYO_TEST_UNSTEADY:-3}

# Runs alone what failed in the run whose output is in $logs/out, and takes what passes from `f` to `p` of the caller.
again() { # title path
	local name names
	# The list at the end; lines above it may have been cut by what programs printed.
	mapfile -t names < <(tac "$logs/out" | sed -n '/^failures:$/q; s/^    \([a-z0-9_:]*\)$/\1/p')
	# What has no result line, or fails all over, is not a matter of one moment.
	[ ${#names[@]} = "$f" ] && [ $((f + ${#unsteady[@]})) -le "$allowed" ] || return 0
	for name in "${names[@]}"; do
		printf '\n== %s, again and alone: %s\n' "$1" "$name"
		if timeout --kill-after=10 600 "$2" --exact "$name"; then
			p=$((p + 1)) f=$((f - 1)) unsteady+=("$1: $name")
		fi
	done
	if [ "$f" = 0 ]; then status=0; fi
}

# A binary that hangs or dies has no result line: that counts as one failure.
run() { # title path [argument...]
	local title=$1 path=$2 status=0 began=$EPOCHSECONDS p=0 f=1
	shift 2
	printf '\n== %s\n' "$title"
	timeout --kill-after=10 "${BRYO_TEST_TIMEOUT:-1800}" "$path" "$@" 2>&1 | tee "$logs/out" || status=$?
	read -r p f < <(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$logs/out" | tail -n 1) ||
		{ p=0 f=1; }
	if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
	if [ "$f" != 0 ]; then again "$title" "$path"; fi
	if [ "$f" != 0 ]; then broken+=("$title (status $status)"); fi
	passed=$((passed + p)) failed=$((failed + f))
	printf '   %s: %s s\n' "$title" $((EPOCHSECONDS - began))
}

while read -r kind name path; do
	if [ "$kind $name" = 'test it' ]; then
		for overlay in ${BRYO_TEST_OVERLAYS:-kernel fuse none}; do
			export BRYO_TEST_OVERLAY=$overlay
			run "integration tests, overlay: $overlay" "$path" "$@"
		done
		unset BRYO_TEST_OVERLAY
	else
		run "$kind $name" "$path" "$@"
	fi
done <"$list"

skipped=$(sort -u "$BRYO_TEST_SKIPS" | wc -l)
echo
if [ "$skipped" != 0 ]; then
	echo 'Skipped, and why (tests/README.md has the list of what may be):'
	sort -u "$BRYO_TEST_SKIPS" | sed 's/^/  /'
fi
for name in "${unsteady[@]}"; do printf 'UNSTEADY, passed alone: %s\n' "$name"; done
for title in "${broken[@]}"; do printf 'FAILED: %s\n' "$title"; done
printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
