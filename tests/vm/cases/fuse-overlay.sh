#!/usr/bin/env bash
# The same with fuse-overlayfs; /dev/fuse has udev's own mode here.
. ./check.sh

echo old >a
try bryo run --overlay fuse -- sh -c 'echo new >a; mkdir b; mv b c; cat a'
exits 0
prints new
[ "$(cat a)" = old ] || not_so 'the host is unchanged'
try bryo diff
exits 0
says c
nothing_left
