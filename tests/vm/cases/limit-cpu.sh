#!/usr/bin/env bash
#: delegate cpu cpuset io memory pids
# A hog that takes a fifth of a processor, one that is held to one processor, and one beside a fair neighbour.
. ./check.sh
# How many of a hundred hundredths of the time it ran.
hog='
import time
wall, cpu = time.monotonic(), time.process_time()
while time.monotonic() - wall < 4: pass
print(round(100 * (time.process_time() - cpu) / (time.monotonic() - wall)))'

try bryo run --rm --cpuset-cpus 0 -- python3 -c "$hog" # the control
[ "$out" -gt 60 ] || not_so 'a hog gets a processor'

try bryo run --rm --cpus 0.2 -- python3 -c "$hog"
[ "$out" -le 30 ] || not_so 'a fifth of a processor'

try bryo run --rm --cpuset-cpus 1 -- python3 -c 'import os; print(os.sched_getaffinity(0))'
prints '{1}'
try bryo run --rm --cpuset-cpus 99 -- true
exits 125
tells 'run on the processors 99'

# Beside a neighbour on the same processor: half of it with the same weight, most of it with ten times as much.
beside() {
	bryo run --rm --write . --cpuset-cpus 0 --cpu-weight "$1" -- \
		sh -c 'touch begun; exec timeout 100 sh -c "while :; do :; done"' >/dev/null 2>&1 </dev/null &
	neighbour=$!
	until [ -e begun ]; do sleep 0.5; done
	rm begun
	try bryo run --rm --cpuset-cpus 0 --cpu-weight 1000 -- python3 -c "$hog"
	kill $neighbour
	wait $neighbour || true
}
mkdir -p together
cd together
beside 1000 # the control
[ "$out" -le 65 ] || not_so 'a neighbour of the same weight gets its half'
beside 10
[ "$out" -ge 75 ] || not_so 'a light neighbour gets little'
nothing_left
