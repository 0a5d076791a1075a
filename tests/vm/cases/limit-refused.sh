#!/usr/bin/env bash
#: delegate cpu memory pids
# What is not delegated is refused, with the one file that an administrator must add.
. ./check.sh

try bryo run --rm --cpuset-cpus 0 -- true
exits 125
# shellcheck disable=SC2016  # quotes of a message
tells 'cannot enforce `--cpuset-cpus`: the controller `cpuset` is not delegated to you'
tells '/etc/systemd/system/user@.service.d/delegate.conf'

# Nobody shares disks by weight.
try bryo run --rm --io-weight 50 -- true
exits 125
tells 'nothing here shares a disk by weight'

try bryo doctor --fix-script
says delegate_controllers

# Nobody to ask.
try env XDG_RUNTIME_DIR=/nowhere bash -c 'mv /run/user/1000/systemd /run/user/1000/elsewhere; bryo run --rm --memory 64m -- true'
exits 125
tells 'no control group is yours, and no systemd of yours runs'
try env XDG_RUNTIME_DIR=/nowhere bryo run --rm --cgroup private -- true
exits 125
# shellcheck disable=SC2016
tells 'cannot enforce `--cgroup`: no control group is yours, and no systemd of yours runs'
mv /run/user/1000/elsewhere /run/user/1000/systemd
nothing_left
