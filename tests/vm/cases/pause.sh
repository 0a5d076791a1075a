#!/usr/bin/env bash
# A paused sandbox does not run, and everything that ends it ends it all the same.
. ./check.sh
# shellcheck disable=SC2016
script='echo up; i=0; while :; do i=$((i+1)); echo $i >count; done'
begin() { bryo run -d --name p --cpu-weight 100 "$@" -- sh -c "trap 'echo got; exit 4' TERM; $script" >/dev/null; }
moves() {
	local before
	for _ in 1 2 3 4 5 6; do
		before=$(bryo exec p cat count 2>/tmp/e) || return 1
		sleep 1
		# Between opening and writing it is empty.
		[ -z "$before" ] || [ "$before" = "$(bryo exec p cat count 2>/tmp/e)" ] || return 0
	done
	return 1
}
state() { bryo ps -a --filter name=p --format '{{.State}}'; }
over() { try bryo wait p && prints "$1" && try bryo rm p && exits 0; }

begin
moves || not_so 'it runs' # the control
try bryo unpause p
exits 125
tells 'it is not paused'
try bryo pause p
exits 0
group=$(bryo inspect p | sed -n 's/^ *"cgroup": "\(.*\)",$/\1/p')
grep -q 'frozen 1' "$group/sandbox/cgroup.events" || not_so 'nothing in the group runs'
[ "$(state)" = paused ] || not_so 'ps says paused'
try bryo ps -q --filter status=paused
[ -n "$out" ] || not_so 'a filter knows it'
used() { sed -n 's/usage_usec //p' "$group/cpu.stat"; }
before=$(used)
sleep 2
[ "$before" = "$(used)" ] || not_so 'nothing is used'
try bryo pause p
tells 'it is paused already'
for verb in 'exec p true' 'attach p'; do
	# shellcheck disable=SC2086
	try bryo $verb
	exits 125
	tells 'it is paused'
	tells 'bryo unpause'
done
# Another signal than the one that ends it waits.
try bryo kill -s USR2 p
exits 0
[ "$(state)" = paused ] || not_so 'it is still paused'
try bryo unpause p
exits 0
over 140
try bryo events --since 1h --until 1ms
says ' pause '
says ' unpause '

# Nothing is asked of a sandbox that is paused, and the time of a check stands still.
begin --health-cmd 'sleep 1' --health-interval 200ms --health-timeout 5s --health-retries 1
for _ in $(seq 50); do [ "$(bryo ps --format '{{.Health}}')" = healthy ] && break; sleep 0.2; done
try bryo ps
says 'running (healthy)'
try bryo pause p
exits 0
before=$(bryo inspect p | grep '"ended"' | tail -1)
sleep 7
[ "$before" = "$(bryo inspect p | grep '"ended"' | tail -1)" ] || not_so 'no check ends'
try bryo ps
says 'paused (healthy)'
try bryo unpause p
for _ in $(seq 50); do [ "$before" = "$(bryo inspect p | grep '"ended"' | tail -1)" ] || break; sleep 0.2; done
try bryo ps
says 'running (healthy)'
try bryo rm -f p
exits 0

begin
try bryo pause p
try bryo stop p
exits 0
over 4

begin
try bryo pause p
try bryo kill p
exits 0
over 137

begin --timeout 5s
try bryo pause p
over 124

begin
try bryo pause p
try bryo rm -f p
exits 0

# What was begun by exec ends with it.
begin
bryo exec p sleep 1000 >/tmp/e 2>&1 </dev/null &
sleep 2
try bryo pause p
try bryo kill p
over 137
wait $! || true

# Its supervisor killed: nothing of it is left, frozen or not.
begin
try bryo pause p
kill -9 "$(bryo inspect p | sed -n '/"launcher"/,/}/s/.*"pid": \([0-9]*\).*/\1/p')"
sleep 2
[ "$(state)" = died ] || not_so 'it died'
try bryo pause p
exits 125
tells 'it is not running'
try bryo rm p
exits 0

# One in somebody's foreground.
bryo run --rm --name p --cpu-weight 100 -- sh -c "$script" >/dev/null 2>&1 </dev/null &
sleep 4
try bryo pause p
exits 0
[ "$(state)" = paused ] || not_so 'ps says paused'
kill -TERM $!
status=0
wait $! || status=$?
exits 143
nothing_left
