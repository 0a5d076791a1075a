#!/usr/bin/env bash
# The two commands that everybody types first.
. ./check.sh

echo 'int main(void) { return 0; }' >kept.c
echo old >changed
echo gone >deleted

try bryo run -- sh -c 'id -un; echo new >changed; rm deleted; echo made >added; cat kept.c'
exits 0
says alice
says 'int main'
[ "$(cat changed)" = old ] || not_so 'the host is unchanged'
[ -e deleted ] || not_so 'the host is unchanged'
[ ! -e added ] || not_so 'the host is unchanged'

try bryo diff
exits 0
for name in added changed deleted; do says "$name"; done

try bryo run --rm -- sh -c 'exit 7'
exits 7
nothing_left
