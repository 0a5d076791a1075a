#!/usr/bin/env bash
#: pre sysctl -q kernel.unprivileged_userns_clone=0
# Debian's own switch forbids user namespaces: a refusal that names it, and a doctor that knows the remedy.
. ./check.sh

try bryo run -- true
exits 125
tells 'user namespace'
tells 'hint: '
tells 'kernel.unprivileged_userns_clone'

try bryo doctor
[ "$status" != 0 ] || not_so 'doctor says that a default run does not work'
says kernel.unprivileged_userns_clone
nothing_left
