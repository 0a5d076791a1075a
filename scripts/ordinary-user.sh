#!/usr/bin/env bash
# Runs a command as an ordinary user, which is what bryo is for.
#
#   scripts/ordinary-user.sh COMMAND [ARG...]
#
# Not root: runs COMMAND as it is. Root: makes a throw-away user with a home, a second group and ranges of subordinate ids,
# runs COMMAND as that user, then removes the user; a process or a file in /tmp, /var/tmp, /dev/shm or /run that
# COMMAND left behind is told, ended, and turns success into failure. It also gives /dev/fuse and
# /dev/net/tun the mode that udev gives them on every distribution (0666), and says so.
#
# COMMAND gets: HOME, USER, LOGNAME, PATH, TERM, SHELL, LANG, TMPDIR and what begins with BRYO_, INSTA_, RUST_ or CARGO_; the
# current directory stays. No signal is ignored, as SIGINT is where a shell without job control has started this in the
# background. As root, BRYO_TEST_HOMES names the folder that holds the throw-away home, for more of them.
set -euo pipefail

say() { printf 'ordinary-user: %s\n' "$*" >&2; }

if [ "$(id -u)" != 0 ]; then
	exec env --default-signal "$@"
fi

# What a container or a minimal machine leaves out, and each desktop and server has.
for device in /dev/fuse /dev/net/tun; do
	if [ -c "$device" ] && [ "$(stat -c %a "$device")" != 666 ]; then
		say "chmod 0666 $device (the mode it has on every distribution)"
		chmod 0666 "$device"
	fi
done

# useradd and userdel give up when another one runs, so they are called one after another.
accounts() { flock /run/lock/bryo-test-accounts "$@"; }

# A number that nobody has, not even a process without an account: everything of this user is ended afterwards.
free_uid() {
	local uid
	while :; do
		uid=$((30000 + RANDOM % 29000))
		getent passwd "$uid" >/dev/null || getent group "$uid" >/dev/null || pgrep -u "$uid" >/dev/null ||
			break
	done
	echo "$uid"
}

# By its number and not by that of this process, which two have in pid namespaces of their own, and one that was killed
# may have had.
while :; do
	uid=$(free_uid)
	name=bryo-test-$uid
	base=/home/$name # the home, and beside it the homes that tests make
	[ -e "$base" ] || break
done
home=$base/home
mkdir -m 755 "$base"
accounts useradd --uid "$uid" --create-home --home-dir "$home" --shell /bin/bash --user-group "$name"
accounts groupadd --users "$name" "$name-team" # for directories that belong to a group
gid=$(id -g "$name")
# Temporary folders of tests: directories without permissions, as the kernel makes them in a layer, are not
# theirs to remove.
mkdir -m 700 "$base/tmp"
chown "$uid:$gid" "$base" "$base/tmp"

# With an older login.defs, useradd makes no ranges. The numbers are free: one range per user id.
if ! grep -qs "^$name:" /etc/subuid; then
	first=$((1000000 + uid * 65536))
	accounts usermod --add-subuids "$first-$((first + 65535))" --add-subgids "$first-$((first + 65535))" "$name"
fi

# Ends what is left, removes the user, and fails when COMMAND left anything behind.
# shellcheck disable=SC2317  # called by the trap
remove() {
	local status=$? left
	trap '' INT TERM HUP
	# Whatever fails here, the rest is done: files of others in /tmp come and go while find looks.
	set +e
	# A zombie has ended; whether it is reaped is pid 1's business. What was killed takes a moment to end.
	for _ in {1..20}; do
		left=$(ps -o pid=,stat=,args= -u "$uid" | awk '$2 !~ /^Z/')
		[ -n "$left" ] || break
		sleep 0.1
	done
	if [ -n "$left" ]; then
		say "left running:"$'\n'"$left"
		[ "$status" != 0 ] || status=1
	fi
	while pkill -KILL -u "$uid" --runstates DIRST; do sleep 0.1; done
	# The store of a user without a home is no leftover: it is where it belongs.
	rm -rf "/var/tmp/bryo-$uid"
	# All of it is read: a pipe that is closed early would end find, and with it this function.
	left=$(find /tmp /var/tmp /dev/shm /run -xdev -uid "$uid" 2>/dev/null | sed -n 1,20p || true)
	if [ -n "$left" ]; then
		say "left on the disk:"$'\n'"$left"
		find /tmp /var/tmp /dev/shm /run -xdev -depth -uid "$uid" -delete 2>/dev/null
		[ "$status" != 0 ] || status=1
	fi
	accounts groupdel "$name-team" || say "cannot remove the group \`$name-team\`"
	accounts userdel "$name" >/dev/null || say "cannot remove the user \`$name\`"
	rm -rf --one-file-system "$base"
	exit "$status"
}
trap remove EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

environment=(HOME="$home" USER="$name" LOGNAME="$name" SHELL=/bin/bash BRYO_TEST_HOMES="$base" TMPDIR="$base/tmp"
	PATH=/usr/local/bin:/usr/bin:/bin TERM="${TERM:-dumb}" LANG="${LANG:-C.UTF-8}")
while IFS= read -r variable; do
	environment+=("$variable=${!variable}")
done < <(compgen -e | grep -E '^(BRYO|INSTA|RUST|CARGO)_' | grep -v '^BRYO_TEST_HOMES$')

setpriv --reuid "$uid" --regid "$gid" --init-groups --inh-caps=-all --bounding-set=+all \
	env -i --default-signal "${environment[@]}" "$@"
