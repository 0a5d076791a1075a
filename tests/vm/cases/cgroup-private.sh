#!/usr/bin/env bash
# A payload that makes control groups itself divides what it was given, and cannot reach what bounds or freezes it.
# From a session: in a scope of systemd's.
. ./check.sh
groups() { find /sys/fs/cgroup -name 'bryo-*' -type d 2>/tmp/e; }
bomb='x = bytearray(100 << 20); print("survived", len(x))'
# Everything of the topmost group into one below, as container engines do; then one with a limit.
# shellcheck disable=SC2016
take_over='cd /sys/fs/cgroup && mkdir own job && for p in $(cat cgroup.procs); do echo $p >own/cgroup.procs; done 2>/dev/null
	echo "+memory +pids" >cgroup.subtree_control && echo 32M >job/memory.max && echo 0 >job/memory.swap.max'
limits=(--memory 256m --memory-swap 256m --cgroup private)

# What it has of its own.
try bryo run --rm "${limits[@]}" -- sh -c 'cat /proc/self/cgroup /sys/fs/cgroup/cgroup.controllers'
says '0::/'
says memory
says pids

# A limit of its own, beside a control without one.
try bryo run --rm "${limits[@]}" -- sh -c "$take_over; python3 -c '$bomb'; sh -c 'echo \$\$ >job/cgroup.procs; exec python3 -c \"\$1\"' sh '$bomb'; echo \$?"
exits 0
says 'survived 104857600
137'

# What bounds it stays: it has no name for it, and no more than it was given below.
try bryo run --rm --memory 64m --memory-swap 64m --cgroup private -- sh -c "$take_over; mkdir big; echo max >big/memory.max
	echo \$\$ >big/cgroup.procs; exec python3 -c '$bomb'"
exits 137
cat >many.py <<'P'
import os
os.chdir("/sys/fs/cgroup")
print([os.path.exists(name) for name in ("../cgroup.procs", "memory.oom.group")])
deep, path = 0, "."
try:
    while True:
        path += "/a"
        os.mkdir(path)
        deep += 1
except OSError:
    print(deep)
wide = 0
try:
    while wide < 2000:
        os.mkdir(f"b{wide}")
        wide += 1
except OSError:
    print("bounded" if wide < 1024 else wide)
P
try bryo run --rm "${limits[@]}" -- python3 many.py
says '[False, True]
62
bounded'

# Others enter beside it, and it is frozen whatever it writes.
bryo run -d --name p "${limits[@]}" -- sh -c "$take_over; mkdir cold; echo 1 >cold/cgroup.freeze; echo ready; sleep 1000" >/dev/null
until [ "$(bryo logs p)" = ready ]; do sleep 0.5; done
try bryo exec p sh -c 'cat /sys/fs/cgroup/job/memory.max; cat /proc/self/cgroup'
exits 0
says 33554432
[ "$(bryo ps --format '{{.State}}')" = running ] || not_so 'it does not look frozen'
try bryo pause p
exits 0
[ "$(bryo ps --format '{{.State}}')" = paused ] || not_so 'it is paused'
try bryo unpause p
exits 0
groups | grep . || not_so 'there are groups to be removed'
try bryo rm -f p
exits 0
sleep 2
! groups | grep -v supervisor || not_so 'no group is left'

# Whatever mode its payload gives a group, and to whichever of its ids, it is removed, and the status is the payload's.
for theirs in 'chmod 0500 a; chmod 0 a/b' 'chown 5:5 a/b; chown 7:7 a'; do
	try bryo run --rm --ids subid --user root --cap-add CAP_CHOWN --cgroup private -- \
		sh -c "cd /sys/fs/cgroup && mkdir a a/b a/b/c && $theirs && exit 3"
	exits 3
	sleep 2
	! groups | grep -v supervisor || not_so 'no group is left'
done

# Helpers are in a leaf of their own, within the limits.
bryo run -d --name f --overlay fuse "${limits[@]}" -- sleep 1000 >/dev/null
group=$(bryo inspect f | sed -n 's/^ *"cgroup": "\(.*\)",$/\1/p')
grep -q . "$group/helpers/cgroup.procs" || not_so 'fuse-overlayfs is in its leaf'
[ -z "$(cat "$group/cgroup.procs")" ] || not_so 'nothing is in the group itself'
try bryo stop f
exits 0
try bryo rm f
exits 0

# Who may mount may mount control groups too.
bryo run -d --name n --nesting --memory 256m -- sh -c 'unshare -rmC sh -c "mount -t cgroup2 x /mnt; mkdir /mnt/own; ls -d /mnt/own /mnt/memory.max; echo 1 >/mnt/cgroup.freeze"; echo ready; sleep 1000' >/dev/null
until bryo logs n 2>/tmp/e | grep ready; do
	# Where it could freeze itself it did, and it is not taken for paused all the same.
	[ "$(bryo ps --format '{{.State}}')" = running ] || not_so 'it does not look paused'
	sleep 1
	[ $((count = ${count:-0} + 1)) -lt 30 ] || break
done
bryo logs n | grep -x /mnt/own || not_so 'it made a group'
! bryo logs n | grep -x /mnt/memory.max || not_so 'it does not see its limit'
[ "$(bryo ps --format '{{.State}}')" = running ] || not_so 'it does not look paused'
try bryo rm -f n
exits 0
sleep 2
! groups | grep -v supervisor || not_so 'no group is left'
nothing_left
