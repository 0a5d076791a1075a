#!/usr/bin/env bash
# A memory bomb, from a session: a scope of systemd's. It is stopped, told as what it was, and nothing stays.
. ./check.sh
bomb='x = bytearray(160 << 20); print("survived", len(x))'

try bryo run --rm -- python3 -c "$bomb" # the control
exits 0
says survived

try bryo run --rm --memory 64m --memory-swap 64m --report ~/report.json -- python3 -c "$bomb"
exits 137
jq -e '.outcome.exit == "out-of-memory" and .memory_kills.count == 1 and .memory_kills.own_limit' ~/report.json ||
	not_so 'the record tells it'
jq -e '[.enforced[].detail] | index("memory.max is 67108864") and index("memory.swap.max is 0")' ~/report.json ||
	not_so 'the limits were read back'

# One process of several: the run goes on, with its own status.
try bryo run --rm --memory 64m --memory-swap 64m --report ~/report.json -- sh -c "python3 -c '$bomb'; echo \$?"
exits 0
prints 137
jq -e '.outcome.exit.code == 0 and .memory_kills.count == 1' ~/report.json || not_so 'the record tells it'

# What lies in /tmp is memory of the sandbox's.
fill='exec head -c 160000000 /dev/zero >/tmp/filled'
try bryo run --rm -- sh -c "$fill" # the control
exits 0
try bryo run --rm --memory 64m --memory-swap 64m --report ~/report.json -- sh -c "$fill"
exits 137
jq -e '.outcome.exit == "out-of-memory"' ~/report.json || not_so 'the record tells it'
# A size of its own ends it before.
try bryo run --rm --memory 64m --memory-swap 64m --tmpfs /tmp:16m -- sh -c "$fill"
exits 1
tells 'No space left on device'

# Access lists are memory that no group counts: they are short, and so in proportion to what is counted.
lists='import os, struct
entries = [(1, 7, -1)] + [(2, 7, os.getuid())] * 200 + [(4, 7, -1), (16, 7, -1), (32, 7, -1)]
value = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
os.close(os.open("/tmp/file", os.O_CREAT)); os.setxattr("/tmp/file", "system.posix_acl_access", value)'
try bryo run --rm -- python3 -c "$lists" # the control
exits 0
try bryo run --rm --memory 64m -- python3 -c "$lists"
exits 1
tells 'No space left on device'

# What a sandbox sees of its group: the root, whatever it is called outside.
try bryo run --rm --memory 64m -- cat /proc/self/cgroup
prints '0::/'

sleep 1
! find /sys/fs/cgroup -name 'bryo-*' | grep . || not_so 'no group is left'
nothing_left
