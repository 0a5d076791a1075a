#!/usr/bin/env bash
# Everything that can be said about the sources without running bryo. Runs all checks, then fails if one did.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

failed=()
check() { # name command...
	local name=$1
	shift
	printf '== %s\n' "$name"
	"$@" || failed+=("$name")
}

# Every file in the repository that is a shell script, whatever its name. Without git: the same by looking.
shell_scripts() {
	if git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files -z --cached --others --exclude-standard
	else
		find . -name target -prune -o -name .build -prune -o -type f -print0
	fi | while IFS= read -r -d '' file; do
		[ -f "$file" ] || continue
		case $(head -c 64 -- "$file" | head -n 1 | tr -d '\0') in
		'#!'*/sh | '#!'*/bash | '#!'*'env bash' | '#!'*'env sh') printf '%s\0' "$file" ;;
		esac
	done
}

check_scripts() { shell_scripts | xargs -0 shellcheck; }
# Without libFuzzer itself, which needs a C++ compiler.
check_fuzz() { CARGO_TARGET_DIR=target/fuzz cargo check --quiet --manifest-path fuzz/Cargo.toml --no-default-features --bins; }

check 'format' cargo fmt --all --check
check 'clippy' cargo clippy --quiet --all-targets -- -D warnings
check 'layering' cargo test --quiet --test layering
check 'dependencies' cargo deny --log-level error check bans licenses sources
check 'shell scripts' check_scripts
check 'fuzz targets' check_fuzz

if [ ${#failed[@]} -gt 0 ]; then
	printf 'lint: failed: %s\n' "$(printf '%s, ' "${failed[@]}" | sed 's/, $//')" >&2
	exit 1
fi
echo 'lint: all checks passed'
