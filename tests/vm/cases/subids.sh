#!/usr/bin/env bash
# The whole range of alice's subordinate ids, through newuidmap: root inside owns what it makes, as others too.
. ./check.sh

try bryo run --rm --ids subid --user root --cap-add chown -- sh -c 'id -u; cd /tmp; touch a; chown 1000:1000 a; stat -c %u a'
exits 0
prints $'0\n1000'
nothing_left
