#!/usr/bin/env bash
# Runs tests/vm/cases/*.sh with the release binary on a real Debian, on each kernel.
#
#   scripts/test-vm.sh [FILTER]      FILTER: a part of the names of the cases to run
#
# What a case is: see tests/vm/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'test-vm: %s\n' "$*" >&2; }
vm=tests/vm/testvm
export TESTVM_DIR=${TESTVM_DIR:-/var/cache/bryo-testvm}

# The reasons for which all of this may be skipped; tests/vm/README.md has the same list.
skip() {
	say "SKIPPED, nothing was tested: $1"
	exit 0
}
[ "$(uname -m)" = x86_64 ] || skip "the image and its kernels are for x86-64"
command -v apt-get >/dev/null || skip "the image is built with apt, and this is not a Debian"
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || skip "building the image needs root or sudo"
	say "sudo is asked for: $vm build (in $TESTVM_DIR)"
	sudo env TESTVM_DIR="$TESTVM_DIR" "$vm" build
else
	"$vm" build
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/share"
cp target/release/bryo tests/vm/check.sh tests/vm/cases/*.sh "$work/share/"

# The lines "#: NAME VALUE" of a case, or nothing.
setting() { sed -n "s/^#: $2 //p" "$1"; }

passed=0 failed=()
for case in tests/vm/cases/*"${1:-}"*.sh; do
	name=$(basename "$case" .sh)
	kernels=$(setting "$case" kernels)
	options=()
	for option in pre as delegate append; do
		value=$(setting "$case" "$option")
		[ -z "$value" ] || options+=("--$option" "$value")
	done
	for kernel in ${kernels:-bookworm backports}; do
		status=0
		"$vm" run --kernel "$kernel" "${options[@]}" --share "$work/share" --env KERNEL="$kernel" \
			-- bash "$name.sh" >"$work/out" 2>&1 || status=$?
		if [ "$status" = 0 ]; then
			passed=$((passed + 1))
			printf 'ok      %s (%s)\n' "$name" "$kernel"
		else
			failed+=("$name ($kernel)")
			printf 'FAILED  %s (%s), status %s\n' "$name" "$kernel" "$status"
			sed 's/^/        /' "$work/out"
		fi
	done
done

for name in "${failed[@]}"; do printf 'FAILED: %s\n' "$name"; done
printf '%s passed, %s failed\n' "$passed" ${#failed[@]}
[ ${#failed[@]} = 0 ] && [ "$passed" != 0 ]
