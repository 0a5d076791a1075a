#!/usr/bin/env bash
# The main job, as an ordinary user: builds a real project in a sandbox, then runs a hostile one, and looks at the host.
#
#   demo/run.sh PROJECT      PROJECT: the sources of a C project; bryo is in PATH
#
# $HOME is a folder made for this: keys are planted in it, and outside the sandbox the attacks do work.
# Fails when anything got through, or when the control shows that an attack proves nothing.
set -euo pipefail

sources=$1
here=$(cd "$(dirname "$0")" && pwd)
failed=0

heading() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || heading() { printf '\n%s\n' "$*"; }
note() { printf '  %s\n' "$*"; }
wrong() {
	printf '  WRONG: %s\n' "$*"
	failed=1
}
shows() { printf '$ %s\n' "$*"; }

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# --- a home, with what people have in theirs ---
cd "$HOME"
mkdir -p .ssh .aws .config/systemd/user project/.git/hooks service ../neighbour
cat >.ssh/id_ed25519 <<<'PRIVATE KEY, made for the demo'
cat >.aws/credentials <<<'aws_secret_access_key = made-for-the-demo'
cat >.bash_history <<<'mysql -p made-for-the-demo'
cat >../neighbour/notes <<<'made for the demo: a file of another user that everybody may read'
export DEMO_TOKEN=made-for-the-demo
cp -r "$sources" luajit
rm -f luajit/.from

heading '1. A real build: LuaJIT, inside'
cd luajit
began=$EPOCHREALTIME
shows 'cd luajit; bryo run -- make -j2'
if ! bryo run -- make -s -j2 >"$logs"/build.log 2>&1; then
	tail -n 20 "$logs"/build.log
	exit 1
fi
sed 's/^/  /' "$logs"/build.log | tail -n 5
note "took $(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }') s"
if [ -e src/luajit ]; then wrong 'the host has src/luajit'; else note 'on the host: no src/luajit, nothing changed'; fi

heading '2. What it changed, in its copy-on-write layer'
shows 'bryo diff'
bryo diff >"$logs"/diff.log
sed -n '1,8s/^/  /p' "$logs"/diff.log
note "… $(wc -l <"$logs"/diff.log) paths in all"
grep -q 'src/luajit' "$logs"/diff.log || wrong 'src/luajit is not in the diff'

heading '3. The same, and the program that was built runs inside'
inside='make -s -j2 >/dev/null 2>&1 && ./src/luajit -e "print(jit.version, 6 * 7)"'
shows "bryo run --rm -- sh -c '$inside'"
bryo run --rm -- sh -c "$inside" |
	sed 's/^/  /' | tee "$logs"/answer.log
grep -q '42$' "$logs"/answer.log || wrong 'the program that was built gives no answer'

heading '4. A hostile build script: what it tries, outside and inside'
cd ../project
cp "$here/hostile.c" "$here/hostile.sh" .
printf 'all:\n\tcc -o hostile hostile.c\n\tsh hostile.sh ./facts inside\n' >Makefile
cc -o "$HOME/service/hostile" hostile.c
"$HOME/service/hostile" listen "$HOME/service" &
service=$!
sleep 1000 &
process=$!
trap 'kill $service $process; rm -rf "$logs"' EXIT
while [ ! -e "$HOME/service/port" ]; do sleep 0.05; done
plant=bryo-demo-$$
cat >facts <<-EOF
	PORT=$(cat "$HOME/service/port") HOST_PROCESS=$process NEIGHBOUR=$HOME/../neighbour PLANT=$plant
EOF

# The control, on a copy of the home's files: what is written there must not be taken for the sandbox's doing.
cp "$HOME/service/hostile" .
cp -a "$HOME/.bashrc" "$logs"/bashrc.before 2>/dev/null || : >"$logs"/bashrc.before
sh hostile.sh ./facts outside >"$logs"/outside.log 2>/dev/null </dev/null
rm -rf "/tmp/$plant" .git/hooks/pre-commit rootshell hostile "$HOME/.config/systemd/user/evil.service" "$HOME/service/log"
cp -a "$logs"/bashrc.before "$HOME/.bashrc"

# The store aside, which is where the layers are.
digest() { (cd "$HOME" && find . -path ./.local -prune -o -type f -exec sha256sum {} + -o -printf '%y %m %p\n' | sort); }
before=$(digest)
shows 'bryo run -- make'
# On a terminal of its own, so that there is one to type into; what was typed would be read here.
script -qec "bryo run -- make -s; stty -icanon min 0 time 3; cat >'$logs/typed.log'" /dev/null </dev/null 2>&1 | tr -d '\r' | sed 's/^^@//' >"$logs"/inside.log
# The control's word beside the sandbox's.
awk -F '\t' '
	NR == FNR { outside[$1] = $2; next }
	NF == 3 {
		control = ($1 in outside) ? outside[$1] : "-"
		printf "  %-46s %-8s %-8s %s\n", $1, control, $2 == "DONE" ? "see 5." : $2, $3
	}
' "$logs"/outside.log "$logs"/inside.log >"$logs"/table.log
printf '  %-46s %-8s %-8s %s\n' 'tried' 'outside' 'inside' 'why, or what'
cat "$logs"/table.log
# What bryo itself says at the end of such a run.
grep 'bryo: ' "$logs"/inside.log || wrong 'bryo says nothing about refused calls'
tried=$(wc -l <"$logs"/table.log)
[ "$tried" -ge 34 ] || { sed 's/^/  | /' "$logs"/inside.log; wrong "only $tried attempts were made"; }
grep -c 'GAINED' "$logs"/outside.log >"$logs"/control.log || true
[ "$(cat "$logs"/control.log)" -ge 9 ] || wrong "outside, only $(cat "$logs"/control.log) attacks work: this host proves little"
gained=$(awk -F '\t' 'NF == 3 && $2 == "GAINED" { print $1 }' "$logs"/inside.log)
[ -z "$gained" ] || wrong "got through: $gained"

heading '5. The host afterwards'
sleep 1
after=$(digest)
if [ "$before" = "$after" ]; then note 'every file is as it was'; else
	diff <(echo "$before") <(echo "$after") | sed 's/^/  /' || true
	wrong 'files of the host have changed'
fi
if [ -e "/tmp/$plant" ]; then wrong 'a file in /tmp'; else note 'nothing in /tmp'; fi
if [ -s "$HOME/service/log" ]; then wrong "services were reached: $(sort -u "$HOME/service/log" | paste -sd, -)"; else note 'no service was reached'; fi
if pgrep -u "$(id -u)" -f 'sleep 7777' >/dev/null; then wrong 'a process outlived the run'; else note 'no process is left'; fi
if [ -s "$logs"/typed.log ] || [ -e typed ]; then wrong 'something was typed into the terminal'; else note 'nothing was typed into the terminal'; fi

heading "$([ $failed = 0 ] && echo 'Nothing got through.' || echo 'SOMETHING GOT THROUGH.')"
exit $failed
