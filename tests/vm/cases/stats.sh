#!/usr/bin/env bash
# What a control group counts is what stats tells.
. ./check.sh
bryo run -d --name s --memory 200m --cpus 0.5 -- python3 -c 'x = bytearray(60 << 20)
while True: pass' >/dev/null
sleep 8
value() { python3 -c "import json; print(json.load(open('/tmp/out'))[0]['$1'])"; }
try bryo stats --no-stream --json s
exits 0
[ "$(value memory_limit)" = 209715200 ] || not_so 'the limit is told'
[ "$(value memory)" -gt 60000000 ] || not_so 'the memory is told'
case $(value of_group) in *cpu*memory*tasks*) ;; *) not_so 'the group counted them' ;; esac
# Half a processor, however the clock of the machine runs.
python3 -c "import sys; sys.exit(not 5 < $(value cpu_percent) < 75)" || not_so 'the time is told'
try bryo pause s
exits 0
try bryo stats --no-stream --json s
[ "$(value cpu_percent)" = 0.0 ] || not_so 'nothing is used while it is paused'
try bryo top s
says 'python3 -c'
try bryo rm -f s
exits 0
nothing_left
