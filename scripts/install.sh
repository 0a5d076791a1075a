#!/usr/bin/env bash
# Copies what `make install` built to $DESTDIR$PREFIX, and says each thing it does.
#
# Where the distribution lets only programs with an AppArmor profile make user namespaces (Ubuntu),
# bryo needs one file more, which only root can put there.
set -euo pipefail
cd "$(dirname "$0")/.."

prefix=${PREFIX:-/usr/local}
target=${DESTDIR:-}$prefix

put() { # mode from to
	printf 'install: %s\n' "$3"
	install -D -m "$1" "$2" "$3"
}

put 755 target/release/bryo "$target/bin/bryo"
put 644 .build/share/man/man1/bryo.1 "$target/share/man/man1/bryo.1"
for file in bash-completion/completions/bryo zsh/site-functions/_bryo fish/vendor_completions.d/bryo.fish; do
	put 644 ".build/share/$file" "$target/share/$file"
done

restriction=/proc/sys/kernel/apparmor_restrict_unprivileged_userns
if [ -n "${DESTDIR:-}" ] || [ "$(cat "$restriction" 2>/dev/null || echo 0)" = 0 ]; then
	exit 0
fi
profile=/etc/apparmor.d/bryo
printf 'install: %s (this system lets only programs with an AppArmor profile make user namespaces)\n' "$profile"
install -d /etc/apparmor.d
cat >"$profile" <<-EOF
	# Lets bryo make user namespaces; restricts nothing else: bryo confines what it runs by itself.
	abi <abi/4.0>,
	include <tunables/global>
	profile bryo $prefix/bin/bryo flags=(unconfined) {
	  userns,
	  include if exists <local/bryo>
	}
EOF
apparmor_parser --replace "$profile"
