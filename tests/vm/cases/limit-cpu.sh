#!/usr/bin/env bash
#: kernels bookworm
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

# Two on one processor: one of a tenth of the weight leaves the other most of it (emulated, so not nine tenths).
bryo run --rm --cpuset-cpus 0 --cpu-weight 10 -- python3 -c "$hog" >~/light 2>/dev/null </dev/null &
try bryo run --rm --cpuset-cpus 0 --cpu-weight 100 -- python3 -c "$hog"
wait $!
printf 'light %s, heavy %s\n' "$(cat ~/light)" "$out"
[ "$out" -gt $((2 * $(cat ~/light))) ] || not_so 'the heavy one gets more than twice as much'
nothing_left
