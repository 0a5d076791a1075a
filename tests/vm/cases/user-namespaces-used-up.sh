#!/usr/bin/env bash
#: pre sysctl -q user.max_user_namespaces=0
# The number of user namespaces is limited to none: the kernel's ENOSPC is translated.
. ./check.sh

try bryo run -- true
exits 125
tells 'user.max_user_namespaces'
tells 'hint: '
[[ $err != *'No space left'* ]] || not_so 'the misleading errno is translated'
nothing_left
