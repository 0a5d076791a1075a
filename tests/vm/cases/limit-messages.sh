#!/usr/bin/env bash
# A scope takes no more calls of D-Bus and no more processes beside the sandbox's than `systemd-run --scope` does.
. ./check.sh
# Method calls: what was sent that begins as one, in little-endian order.
calls() { grep -cE 'send(msg|to)\([0-9]+, .*"l\\1' "$1" || true; }

strace -f -o theirs -e trace=sendmsg,sendto systemd-run --user --scope --quiet true
# Only the launcher: what it starts are the sandbox and its payload, with a limit and without.
started() { grep -cE '^(clone3?|v?fork)\(' "$1" || true; }
strace -o ours -e trace=sendmsg,sendto,clone,clone3,fork,vfork bryo run --rm --memory 64m -- true >/dev/null 2>&1 </dev/null
strace -o without -e trace=sendmsg,sendto,clone,clone3,fork,vfork bryo run --rm -- true >/dev/null 2>&1 </dev/null

printf 'calls: %s of systemd-run, %s of ours; processes: %s with a limit, %s without\n' \
	"$(calls theirs)" "$(calls ours)" "$(started ours)" "$(started without)"
[ "$(calls theirs)" -ge 1 ] || not_so 'the calls of systemd-run are counted'
[ "$(calls ours)" = 1 ] || not_so 'one call'
[ "$(calls ours)" -le "$(calls theirs)" ] || not_so 'no more calls than systemd-run'
[ "$(started ours)" = "$(started without)" ] || not_so 'no process for it'
[ "$(calls without)" = 0 ] || not_so 'nothing is asked without a limit'
nothing_left
