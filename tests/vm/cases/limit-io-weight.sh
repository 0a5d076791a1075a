#!/usr/bin/env bash
#: pre modprobe -q bfq || true; echo "254:0 enable=1 ctrl=auto" >/sys/fs/cgroup/io.cost.qos
#: delegate cpu cpuset io memory pids
# A share of the disks is the scope's, is read back, and is refused where nobody looks at it.
. ./check.sh
# shellcheck disable=SC2016  # where the sandbox is
share='bryo run --rm --io-weight 20 --report ~/report.json -- true'
try bash -c "$share"
exits 0
jq -r '.enforced[].detail | select(. != null)' ~/report.json | grep -x 'io.weight is default 20' ||
	not_so 'the share was read back'
bryo run --rm --io-weight 20 -- sleep 100 >/dev/null 2>&1 </dev/null &
until scope=$(find /sys/fs/cgroup -name 'bryo-*.scope') && [ -n "$scope" ] && [ "$(cat "$scope/io.weight")" = 'default 20' ]; do
	sleep 0.5
done
kill $!
wait $! || true

# A profile's may be missing.
mkdir -p ~/.config/bryo/profiles
printf '[limits]\nio-weight = 20\nio-max = ["/proc:rbps=1m", ".:rbps=8m"]\ncgroup-need = "if-available"\n' \
	>~/.config/bryo/profiles/slow.toml
try bryo run --rm --profile slow --report ~/report.json -- true
exits 0
jq -r '.enforced[].detail | select(. != null)' ~/report.json | grep 'io.max is .*rbps=8388608' || not_so 'what there is holds'
jq -c '.notices[]' ~/report.json | grep disks || not_so 'what is missing is told'
nothing_left
