#!/usr/bin/env bash
# A default run works on a default Debian, and doctor knows it.
. ./check.sh

try bryo doctor
exits 0
case $KERNEL in
bookworm) says 6.1 ;;
backports) says 6.12 ;;
esac

try bryo doctor --json
exits 0
printf '%s' "$out" | jq -e . >/dev/null || not_so 'doctor --json is JSON'
