#!/usr/bin/env bash
#: as root
# In a service with Delegate=yes: a group in it, nothing asked of systemd, and all of it as before afterwards.
set -euo pipefail
cat >inside.sh <<'S'
. ./check.sh
own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
groups() { find "$own" -mindepth 1 -type d; }
bomb='x = bytearray(160 << 20); print("survived", len(x))'
try bash -c 'bryo run --dry-run --memory 64m -- true | grep -A3 "control group"'
says "take the control group \`$own\`"

try bryo run --rm -- python3 -c "$bomb" # the control
exits 0
try bryo run --rm --memory 64m --memory-swap 64m -- python3 -c "$bomb"
exits 137
[ -z "$(cat "$own/cgroup.subtree_control")" ] || not_so 'the group is as it was'
! groups | grep . || not_so 'no group is left'

# Two at once share it. What a killed one leaves, the next command removes, whichever it is.
bryo run --rm --memory 64m -- sleep 100 >/dev/null 2>&1 </dev/null &
until groups | grep -v supervisor; do sleep 0.5; done
try bryo run --rm --memory 64m -- echo two
prints two
kill -9 $!
sleep 1
groups | grep -q . || not_so 'something was left to be removed'
try bryo ps
exits 0
! groups | grep . || not_so 'no group is left'
[ -z "$(cat "$own/cgroup.subtree_control")" ] || not_so 'the group is as it was'
nothing_left
S
systemd-run --quiet --wait --pipe --collect --uid=alice -p Delegate=yes -p WorkingDirectory="$PWD" \
	--setenv=HOME=/home/alice --setenv=PATH="$PATH" bash inside.sh
