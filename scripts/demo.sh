#!/usr/bin/env bash
# Builds bryo, and shows it at its main job as an ordinary user: demo/run.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

scripts/real-project.sh
cargo build --release

# What an ordinary user starts has to lie where everybody can read.
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
mkdir "$stage/bin"
cp target/release/bryo "$stage/bin/bryo"
cp demo/run.sh demo/hostile.sh demo/hostile.c "$stage/"
cp -r .build/project "$stage/project"
chmod -R a+rX "$stage"

# The home is one for this purpose: keys are planted in it.
if [ "$(id -u)" != 0 ]; then
	home=$PWD/.build/demo/home
	rm -rf .build/demo
	mkdir -p "$home"
	export HOME=$home
fi
# shellcheck disable=SC2016  # expanded by the ordinary user's shell
scripts/ordinary-user.sh bash -c 'export PATH=$1/bin:$PATH; exec "$1/run.sh" "$1/project"' - "$stage"
