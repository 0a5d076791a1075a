#!/usr/bin/env bash
# A fork bomb is held without a group (for alice) and with one.
. ./check.sh
bomb='
import os, time
n = 0
while n < 60:
    try:
        if os.fork() == 0: time.sleep(60); os._exit(0)
    except OSError: break
    n += 1
print(n, flush=True)
os._exit(0)'

try bryo run --rm -- python3 -c "$bomb" # the control
exits 0
prints 60

try bryo run --rm --pids-limit 30 -- python3 -c "$bomb"
exits 0
prints 28

try bryo run --rm --pids-limit 30 --cpu-weight 100 --report ~/report.json -- python3 -c "$bomb"
exits 0
[ "$out" -le 28 ] || not_so 'not more than 28'
jq -e '[.enforced[].detail] | index("pids.max is 30")' ~/report.json || not_so 'the group counts too'
nothing_left
