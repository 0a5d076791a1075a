#!/usr/bin/env bash
# Builds the release binary and the benchmark, and runs it as an ordinary user.
#
#   scripts/bench.sh [ARGUMENT...]     as tests/bench/bench.rs takes them
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

scripts/real-project.sh
cargo build --release
# The driver itself need not be optimised, and then shares what `make test` has built.
driver=$(cargo test --no-run --bench bench --message-format=json-render-diagnostics |
	sed -n 's/.*"kind":\["bench"\].*"executable":"\([^"]*\)".*/\1/p')

# What an ordinary user starts has to lie where everybody can read.
stage=$(mktemp -d)
# shellcheck disable=SC2317  # called by the trap
finish() {
	[ -z "${sampler:-}" ] || kill "$sampler"
	rm -rf "$stage"
}
trap finish EXIT
chmod 755 "$stage"
cp "$driver" "$stage/bench"
cp target/release/bryo "$stage/bryo"
cp -r .build/project "$stage/project"
chmod -R a+rX "$stage"
export BRYO_BIN=$stage/bryo BRYO_BENCH_PROJECT=$stage/project

# A file for --json is written by root, where root wants it.
arguments=() json=''
while [ $# -gt 0 ]; do
	case $1 in
	--json)
		json=${2:?--json needs a file}
		shift
		;;
	*) arguments+=("$1") ;;
	esac
	shift
done
if [ -n "$json" ]; then
	install -m 666 /dev/null "$stage/json"
	arguments+=(--json "$stage/json")
fi

# The memory of a process that is not dumpable can be looked at by root only.
if [ "$(id -u)" = 0 ]; then
	mkdir -m 777 "$stage/questions"
	mkdir -m 755 "$stage/answers"
	export BRYO_BENCH_SAMPLER=$stage
	while sleep 0.02; do
		for question in "$stage"/questions/*; do
			pid=${question##*/}
			[[ $pid =~ ^[0-9]+$ ]] || continue
			rm -f "$question"
			{ cat "/proc/$pid/smaps_rollup" 2>/dev/null || true; echo end; } >"$stage/answers/$pid"
		done
	done &
	sampler=$!
fi

status=0
scripts/ordinary-user.sh "$stage/bench" "${arguments[@]}" || status=$?
[ -z "$json" ] || cp "$stage/json" "$json"
exit "$status"
