#!/usr/bin/env bash
#: delegate cpu cpuset io memory pids
# What serves a sandbox from outside is bounded with it, and not frozen with it: fuse-overlayfs, and the netstack.
. ./check.sh
mkdir -p out
cd out

# The group of a process, by its name: the sandbox's own, above what is frozen.
helper_is_inside() {
	until pid=$(pgrep -x "$1"); do sleep 0.3; done
	own=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
	[[ $own = */bryo-*.scope/bryo-* && $own != */sandbox ]] || not_so "$1 is in the group: $own"
}

id=$(bryo run -d --overlay fuse --memory 200m -- sh -c 'echo x >made; sleep 100')
helper_is_inside fuse-overlayfs
[ "$(cat "/sys/fs/cgroup$own/memory.max")" = $((200 << 20)) ] || not_so 'its memory is bounded'
try bryo pause "$id"
exits 0
# What is frozen is the sandbox: who serves it still runs.
grep -qx 1 "/sys/fs/cgroup$own/sandbox/cgroup.freeze" || not_so 'the sandbox is frozen'
grep -qx 0 "/sys/fs/cgroup$own/cgroup.freeze" || not_so 'its helpers are not'
try bryo ps
says paused
try bryo unpause "$id"
exits 0
try bryo exec "$id" cat /proc/self/cgroup
prints 0::/
try bryo rm -f "$id"
exits 0

# The netstack, where there is a network.
try bryo run -d --network user --memory 200m -- sleep 100
exits 0
id=$out
own=$(find /sys/fs/cgroup -path "*.scope/bryo-$id*" -prune)
[ "$(wc -l <"$own/cgroup.procs")" = 1 ] || not_so "one process beside the sandbox in \`$own\`"
[ "$(wc -l <"$own/sandbox/cgroup.procs")" = 2 ] || not_so 'init and the program are in the sandbox'
try bryo rm -f "$id"
exits 0

# Disks are used by fuse-overlayfs: the limit holds for what it writes.
write='dd if=/dev/zero of=made bs=256k count=24 conv=fsync status=none'
from=$EPOCHREALTIME
try bryo run --rm --overlay fuse --io-max .:wbps=1m -- sh -c "$write"
exits 0
tenths=$(((${EPOCHREALTIME/./} - ${from/./}) / 100000))
echo "$tenths tenths of a second"
[ "$tenths" -ge 45 ] || not_so '6 MiB take some six seconds'
nothing_left
