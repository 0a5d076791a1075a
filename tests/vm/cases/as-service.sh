#!/usr/bin/env bash
#: as service
# Inside alice's own systemd, without a terminal and with what a service inherits.
. ./check.sh

try bryo run --rm -- sh -c 'echo out; echo err >&2; exit 3'
exits 3
prints out
tells err
nothing_left
