#!/usr/bin/env bash
#: delegate cpu cpuset io memory pids
# How fast a disk is used: read and written past the page cache, and through it.
. ./check.sh
# Tenths of a second that a program takes.
took() {
	local from=$EPOCHREALTIME
	try "$@"
	tenths=$(((${EPOCHREALTIME/./} - ${from/./}) / 100000))
	echo "$tenths tenths of a second"
}
write='dd if=/dev/zero of=made bs=256k count=24 oflag=direct status=none'
# A file of its own: one that somebody else wrote counts for them, for a while.
flush='dd if=/dev/zero of=another bs=256k count=24 conv=fsync status=none'
mkdir -p out
cd out

took bryo run --rm --write . -- sh -c "$write" # the control
exits 0
control=$tenths
took bryo run --rm --write . --io-max .:wbps=1m --report ~/report.json -- sh -c "$write"
exits 0
[ "$tenths" -ge 45 ] || not_so '6 MiB take some six seconds'
[ "$tenths" -gt "$control" ] || not_so 'longer than without a limit'
jq -r '.enforced[].detail | select(. != null)' ~/report.json | grep 'io.max is .*wbps=1048576' ||
	not_so 'the limit was read back'

# Through the page cache: counted when it is written out.
took bryo run --rm --write . --io-max .:wbps=1m -- sh -c "$flush"
exits 0
[ "$tenths" -ge 45 ] || not_so '6 MiB take some six seconds'

try bryo run --rm --io-max /tmp:rbps=1m -- true
[ "$status" = 0 ] || tells 'is on no disk that can be bounded'
try bryo run --rm --io-max /proc:rbps=1m -- true
exits 125
# shellcheck disable=SC2016  # quotes of a message
tells '`/proc` is on no disk that can be bounded'
nothing_left
