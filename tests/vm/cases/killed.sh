#!/usr/bin/env bash
# Whatever happens to the launcher, nothing of the run stays; systemd is the reaper here.
. ./check.sh

# What this machine's standard output is, a device, is nothing to hand to a payload.
bryo run -- sh -c '(setsid sleep 1000 &); sleep 1000' >/dev/null 2>&1 &
launcher=$!
for _ in $(seq 100); do
	pgrep -x sleep >/dev/null && break
	sleep 0.1
done
pgrep -x sleep >/dev/null || not_so 'the payload runs'
kill -9 $launcher
nothing_left
! pgrep -x sleep || not_so 'the payload is gone'

try bryo run --rm -- echo again
exits 0
prints again
