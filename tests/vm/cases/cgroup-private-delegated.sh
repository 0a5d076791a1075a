#!/usr/bin/env bash
#: as root
# The same in a group that is delegated.
set -euo pipefail
systemd-run --quiet --wait --pipe --collect --uid=alice -p Delegate=yes -p WorkingDirectory="$PWD" \
	--setenv=HOME=/home/alice --setenv=PATH="$PATH" bash cgroup-private.sh
