#!/usr/bin/env bash
# Puts the sources of a real C project (LuaJIT) into .build/project, through cargo's own registry.
set -euo pipefail
cd "$(dirname "$0")/.."

to=.build/project
want=$(sha256sum <demo/project/Cargo.lock)
[ "$(cat "$to/.from" 2>/dev/null)" != "$want" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo vendor --quiet --locked --manifest-path demo/project/Cargo.toml "$work/vendor" >/dev/null
rm -rf "$to"
mkdir -p .build
cp -r "$work/vendor/luajit-src/luajit2" "$to"
printf '%s\n' "$want" >"$to/.from"
