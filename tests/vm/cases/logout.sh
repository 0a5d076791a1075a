#!/usr/bin/env bash
#: as root
#: kernels backports
# What becomes of `run -d` at the logout: it goes on, or it was told that it would not.
. ./check.sh
bryo=$(command -v bryo)
chmod a+rx "$(dirname "$bryo")" "$bryo"
install -d -o alice -g alice /home/alice/project
# A login of alice's, that ends.
login() {
	XDG_SESSION_CLASS=user XDG_SESSION_TYPE=tty \
		su - alice -c "cd project && PATH=$(dirname "$bryo"):\$PATH && $1" >/tmp/out 2>/tmp/err </dev/null || not_so "$1 succeeds"
	cat /tmp/out /tmp/err
	err=$(cat /tmp/err)
}
runs() { pgrep -f "sleep 10$1" >/dev/null; }
# Nobody is logged in, and the user's systemd has ended.
logged_out() {
	for _ in $(seq 60); do
		systemctl is-active --quiet user@1000.service || return 0
		sleep 0.5
	done
	not_so 'the systemd of alice ends'
}
ends() {
	for _ in $(seq 40); do
		runs "$1" || return 0
		sleep 0.5
	done
	not_so "$2"
}
mkdir -p /etc/systemd/logind.conf.d
logind() {
	printf '[Login]\nUserStopDelaySec=1\n%s\n' "$1" >/etc/systemd/logind.conf.d/test.conf
	systemctl restart systemd-logind
}
scope='systemd-run --user --scope --quiet'

# Lingering, below her systemd: it goes on, and nothing is said.
logind ''
login "$scope bryo run -d --name lingers -- sleep 1001"
quiet
sleep 3
systemctl is-active --quiet user@1000.service || not_so 'the systemd of alice goes on'
runs 01 || not_so 'it goes on'
pkill -f 'sleep 1001'

# Not lingering: it was told, and it is so.
loginctl disable-linger alice
login "$scope bryo run -d --name below -- sleep 1002"
# shellcheck disable=SC2016  # quotes of a message
tells 'it ends when you log out for the last time: `loginctl enable-linger` keeps it'
logged_out
ends 02 'it ends with the systemd of alice'

# In the session itself: where logind ends what is left, that is told, and so it is; else it goes on.
login 'bryo run -d --name stays -- sleep 1003'
quiet
sleep 4
[ "$(loginctl show-user alice -P State)" = closing ] || not_so 'alice is logged out'
runs 03 || not_so 'it goes on'
pkill -f 'sleep 1003'
logind KillUserProcesses=yes
login 'bryo run -d --name session -- sleep 1004'
tells 'it ends when you log out (KillUserProcesses in logind.conf)'
ends 04 'it ends with the session'
login "bryo ps -a --format '{{.Names}} {{.State}}'; bryo rm lingers below stays session"
grep 'session' /tmp/out | grep -v running || not_so 'ps tells that it does not run'
nothing_left
