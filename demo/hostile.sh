#!/bin/sh
# What a hostile build script might try. Prints one line for each attempt: what was tried, and
#
#   GAINED   it worked, with what was gained
#   DONE     it was done; whether the host has it is for the host to see
#   refused  it did not work, and why
#
# Usage: hostile.sh FACTS inside|outside. FACTS is a file with what the attacker happens to know about the host.
# What would do harm without a sandbox is left out when it is run outside.

# shellcheck source=/dev/null
. "$1" || exit 1
where=$2

attempt() { # what, command...
	what=$1
	shift
	if out=$("$@" 2>&1); then verdict=GAINED; else verdict=refused; fi
	report
}

# The same, where success means nothing by itself.
harm() { # what, command...
	what=$1
	shift
	if out=$("$@" 2>&1); then verdict=DONE; else verdict=refused; fi
	report
}

report() {
	out=$(printf '%s' "${out:-nothing found}" | tail -n 1 | sed 's/.*: \(.*: [^:]*\)$/\1/' | cut -c1-56)
	printf '%s\t%s\t%s\n' "$what" "$verdict" "$out"
}

plant() { # what, file
	# shellcheck disable=SC2016  # expanded by the inner shell
	harm "$1" sh -c '{ echo "planted by hostile.sh" >>"$1"; } 2>/dev/null && echo "$1" || { echo "$1: cannot be written"; false; }' - "$2"
}

# shellcheck disable=SC2317  # called by attempt
read_file() { grep . "$1"; }

attempt 'read the private ssh key' read_file "$HOME/.ssh/id_ed25519"
attempt 'read the cloud credentials' read_file "$HOME/.aws/credentials"
attempt 'read the shell history' read_file "$HOME/.bash_history"
attempt 'read the neighbour'"'"'s notes' read_file "$NEIGHBOUR/notes"
attempt 'find a token in the environment' sh -c 'env | grep DEMO_TOKEN'
attempt 'look at the launcher'"'"'s environment' sh -c 'tr "\0" "\n" </proc/1/environ | grep DEMO_TOKEN'

attempt 'connect to a service on the host'"'"'s loopback' ./hostile tcp "$PORT"
attempt 'connect to a unix socket in the home' ./hostile unix "$HOME/service/agent.sock"
attempt 'connect to an abstract unix socket' ./hostile abstract
attempt 'write into a fifo that the host reads' ./hostile fifo "$HOME/service/fifo"
attempt 'connect to the docker daemon' ./hostile unix /var/run/docker.sock
attempt 'send the key out of the machine' ./hostile send
attempt 'reach the hypervisor (AF_VSOCK)' ./hostile vsock

attempt 'signal a process of the host' kill -0 "$HOST_PROCESS"
attempt 'trace the first process (the sandbox'"'"'s init)' ./hostile trace 1
attempt 'type into the caller'"'"'s terminal (TIOCSTI)' ./hostile type
attempt 'mount in a user namespace of its own' ./hostile mount
attempt 'take the cover off /proc/kcore' ./hostile uncover /proc/kcore
attempt 'leave a set-user-id program behind' ./hostile setuid "$HOME/project/rootshell"
for call in bpf perf_event_open io_uring_setup userfaultfd keyctl init_module kexec_load; do
	attempt "system call $call" ./hostile call "$call"
done
if [ "$where" = inside ]; then
	attempt 'a fork bomb' ./hostile bomb
	harm 'outlive the run' sh -c 'setsid sleep 7777 >/dev/null 2>&1 </dev/null & echo started'
fi

plant 'change /etc/passwd' /etc/passwd
plant 'plant a command in the shell'"'"'s start-up file' "$HOME/.bashrc"
plant 'plant a git hook' "$HOME/project/.git/hooks/pre-commit"
plant 'plant a file in the host'"'"'s /tmp' "/tmp/$PLANT"
plant 'plant a service' "$HOME/.config/systemd/user/evil.service"
if [ "$where" = inside ]; then
	# shellcheck disable=SC2016  # expanded by the inner shell
	harm 'delete the whole project' sh -c 'find "$HOME/project" -mindepth 1 -delete; test -e "$HOME/project/Makefile" && exit 1; echo deleted'
fi
exit 0
