#!/usr/bin/env bash
#: as root
#: kernels bookworm
# In the machine's topmost group, where an init that makes no groups leaves everybody: nothing is bounded, nobody is moved,
# and what the refusal says to do helps. Alice's systemd does not run.
. ./check.sh
top=/sys/fs/cgroup
systemctl stop user@1000.service
unset XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS
echo $$ >$top/cgroup.procs
# Where every other process is: none may be moved.
for process in /proc/[0-9]*; do
	echo "$process $(sed -n 's/^0:://p' "$process/cgroup" 2>/dev/null)"
done >before
for flags in '--memory 64m' '--cgroup private' '--pids-limit 50'; do
	# shellcheck disable=SC2086  # two words
	try bryo run --rm $flags -- true
	exits 125
done
try bryo run --rm --memory 64m -- true
tells 'no control group is yours, and no systemd of yours runs'
try bryo doctor
says 'version 2, nothing delegated'
while read -r process place; do
	now=$(sed -n 's/^0:://p' "$process/cgroup" 2>/dev/null) || continue
	[ "$now" = "$place" ] || not_so "$process is where it was, and not in $now"
done <before

# A group that root is in by chance, as with a daemon: not its own either.
mkdir $top/daemons
setsid sleep 1000 &
daemon=$!
sleep 1
echo $daemon >$top/daemons/cgroup.procs
echo +memory >$top/cgroup.subtree_control
echo $$ >$top/daemons/cgroup.procs
try bryo run --rm --cgroup private -- true
exits 125
[ "$(sed -n 's/^0:://p' /proc/$daemon/cgroup)" = /daemons ] || not_so 'the daemon is where it was'
kill $daemon
sleep 1
# The control: once it is alone there, it is its own.
try bryo run --rm --cgroup private -- sh -c 'mkdir /sys/fs/cgroup/inner && echo made'
exits 0
prints made

# Alice, as the hint says.
echo $$ >$top/cgroup.procs
rmdir $top/daemons
chmod -R a+rX .
mkdir /home/alice/project && chown alice: /home/alice/project
cat >/tmp/as-alice <<'S'
cd ~/project
export PATH=$1:$PATH
bomb='x = bytearray(160 << 20); print("survived", len(x))'
if [ "$2" = refused ]; then exec bryo run --rm --memory 64m -- true; fi
exec bryo run --rm --memory 64m --memory-swap 64m -- python3 -c "$bomb"
S
alice() { setpriv --reuid=alice --regid=alice --init-groups env HOME=/home/alice bash /tmp/as-alice "${PATH%%:*}" "$1"; }
try alice refused
exits 125
tells 'echo +cpu +cpuset +io +memory +pids >cgroup.subtree_control && mkdir NAME'
# shellcheck disable=SC2016  # quotes of a message
hint=$(sed -n 's/^hint: .*`\(cd .*\)`$/\1/p' <<<"$err" | sed "s/NAME/alice/g; s/NUMBER/$$/")
(eval "$hint") || not_so 'the hint can be followed'
try alice bounded
exits 137
echo $$ >$top/cgroup.procs
! find $top -name 'bryo-*' | grep . || not_so 'no group is left'
nothing_left
