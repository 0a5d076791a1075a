#!/usr/bin/env bash
# What is written to copies ends at a size; without user attributes on a tmpfs (before Linux 6.6) that is refused.
. ./check.sh
echo old >old
fill='rm old; head -c 3000000 /dev/zero >filled; ls -l filled'

try bryo run --rm -- sh -c "$fill" # the control
exits 0
says ' 3000000 '

try bryo run --name bounded --disk 1m -- sh -c "$fill"
if [ "$KERNEL" = bookworm ]; then
	exits 125
	# shellcheck disable=SC2016  # quotes of a message
	tells 'cannot enforce `--disk`: it takes Linux 6.6'
else
	exits 0
	tells 'No space left on device'
	try bryo diff --name-status bounded
	says "D $PWD/old"
	says "A $PWD/filled"
	bryo rm bounded
fi
nothing_left
