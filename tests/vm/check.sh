# shellcheck shell=bash
# What the cases say about bryo. Sourced by each, which then is in an
# empty project; ends the case at the first thing that is not as it should be.
set -euo pipefail
export PATH=$PWD:$PATH
mkdir -p ~/project
cd ~/project

# Runs a command; keeps its status, stdout and stderr in $status, $out and $err.
try() {
	status=0
	"$@" >/tmp/out 2>/tmp/err </dev/null || status=$?
	out=$(cat /tmp/out) err=$(cat /tmp/err)
	printf '$ %s\n%s%sstatus %s\n' "$*" "${out:+$out$'\n'}" "${err:+$err$'\n'}" "$status"
}

not_so() {
	printf 'NOT SO: %s\n' "$1"
	exit 1
}

exits() { [ "$status" = "$1" ] || not_so "exit status is $1"; }
says() { [[ $out = *"$1"* ]] || not_so "stdout has: $1"; }
prints() { [ "$out" = "$1" ] || not_so "stdout is exactly: $1"; }
tells() { [[ $err = *"$1"* ]] || not_so "stderr has: $1"; }
quiet() { [ -z "$err" ] || not_so "stderr is empty"; }

# Nothing of a run is left: no process of a sandbox, no mount.
nothing_left() {
	# The machine is slow: what is ending ends within ten seconds.
	for _ in $(seq 20); do
		sleep 0.5
		pgrep '^bryo' >/dev/null || break
	done
	! pgrep '^bryo' || not_so "no bryo process is left"
	! pgrep -x fuse-overlayfs || not_so "no fuse-overlayfs is left"
	! grep bryo /proc/self/mountinfo || not_so "no mount is left"
}
