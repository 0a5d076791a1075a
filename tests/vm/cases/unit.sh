#!/usr/bin/env bash
#: delegate cpu cpuset io memory pids
# Sandboxes as services of alice's own systemd: ready, watched, handed sockets, bounded, stopped, and not believed.
. ./check.sh
units=~/.config/systemd/user
mkdir -p $units
bryo=$(command -v bryo)
is() { systemctl --user show -P "$1" "bryo-$2"; }
# Waits for a property of a unit to be as wanted.
becomes() {
	for _ in $(seq 60); do
		[ "$(is "$1" "$2")" = "$3" ] && return
		sleep 0.5
	done
	systemctl --user status "bryo-$2" || true
	not_so "$1 of $2 becomes $3, and is $(is "$1" "$2")"
}
installed() {
	try bryo generate systemd "$@" --files -- "${command[@]}"
	exits 0
	systemd-analyze --user verify "./$out" || not_so 'systemd takes the unit'
	mv "$out" $units
	systemctl --user daemon-reload
}

# Each argument arrives as it was typed.
# shellcheck disable=SC2016  # that is what it is about
printf -v odd 'a %%h $HOME ${HOME} $$ \\ "q" '\''s'\'' ; \n\t \x01 é'
# shellcheck disable=SC2016
command=(python3 -c 'import os, sys; open("arguments", "wb").write(b"\0".join(map(os.fsencode, sys.argv[1:])))'
	"$odd" '' ';' '$x' %n @y -)
installed --name odd --write . --restart-policy no
systemctl --user start bryo-odd
becomes ActiveState odd inactive
printf '%s\0' "${command[@]:3}" | cmp - <(cat arguments; printf '\0') || not_so 'the arguments arrive'

try bryo generate systemd -- true $'\xff' # it would be run, but never shown again
exits 125
tells 'into a unit of systemd'

# Ready when the program says so, and nothing else that it says is believed.
cat >speak.py <<'P'
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
assert os.environ["WATCHDOG_PID"] == str(os.getpid())
s.send(b"MAINPID=1\nNOTIFYACCESS=all\nSTATUS=waiting\x1b[31m")
for _ in range(1000):
    try: s.send(os.urandom(60), socket.MSG_DONTWAIT)
    except OSError: time.sleep(0.01)
while not os.path.exists("go"): time.sleep(0.2)
socket.send_fds(s, [b"FDSTORE=1\nFDNAME=kept\nREADY=1"], [0])
while not os.path.exists("hang"):
    s.send(b"WATCHDOG=1")
    time.sleep(0.5)
os.unlink("hang")
while True: time.sleep(1)
P
command=(python3 speak.py)
installed --name speaks --sdnotify payload --watchdog 6s --write .
sed -i 's/^\[Service\]/&\nFileDescriptorStoreMax=5/' $units/bryo-speaks.service
systemctl --user daemon-reload
systemctl --user start --no-block bryo-speaks
becomes StatusText speaks $'waiting\xef\xbf\xbd[31m'
[ "$(is ActiveState speaks)" = activating ] || not_so 'it waits to hear that it is ready'
touch go
becomes ActiveState speaks active
[ "$(is NFileDescriptorStore speaks)" = 0 ] || not_so 'nothing is stored for a payload'
main=$(is MainPID speaks)
[ "$(readlink "/proc/$main/exe")" = "$bryo" ] || not_so 'bryo is the main process'
# The control: from the main process itself systemd believes both.
cat >control.py <<'P'
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
child = os.fork()
if child == 0: time.sleep(100)
socket.send_fds(s, [b"FDSTORE=1"], [0])
s.send(b"MAINPID=%d\nREADY=1" % child)
time.sleep(100)
P
systemd-run --user --quiet --unit bryo-control -p Type=notify -p FileDescriptorStoreMax=5 python3 "$PWD/control.py"
[ "$(is NFileDescriptorStore control)" = 1 ] || not_so 'the control stores a descriptor'
[ "$(ps -o comm= -p "$(ps -o ppid= -p "$(is MainPID control)" | tr -d ' ')")" = python3 ] ||
	not_so 'the control names another main process'
systemctl --user stop bryo-control

# Not heard of any more: started again, after all of it has ended.
touch hang
becomes NRestarts speaks 1
becomes ActiveState speaks active
[ "$(is MainPID speaks)" != "$main" ] || not_so 'another process'
systemctl --user stop bryo-speaks
becomes ActiveState speaks inactive
[ "$(is Result speaks)" = success ] || not_so 'it was stopped well'
! pgrep -f speak.py || not_so 'nothing of it is left'

# Handed a socket, by name, with its own number; no network besides. Bryo itself says that it is ready and well.
cat >serve.py <<'P'
import os, socket
assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDNAMES"] == "web"
s = socket.socket(fileno=3)
while True:
    c, _ = s.accept()
    c.sendall(b"hello from %d\n" % len(os.listdir("/sys/class/net")))
    c.close()
P
command=(python3 serve.py)
installed --name serves --watchdog 5s --memory 64m --memory-swap 64m
printf '[Socket]\nListenStream=127.0.0.1:8099\nFileDescriptorName=web\n' >$units/bryo-serves.socket
systemctl --user daemon-reload
systemctl --user start bryo-serves.socket
try nc -d 127.0.0.1 8099
prints 'hello from 1'
[ "$(is ActiveState serves)" = active ] || not_so 'it runs'
sleep 7
[ "$(is NRestarts serves)" = 0 ] || not_so 'bryo says that all is well'
# Its limits lie within the service's own group, which systemd gave it.
[ "$(is Delegate serves)" = yes ] || not_so 'delegated'
find "/sys/fs/cgroup$(is ControlGroup serves)" -name memory.max -path '*/bryo-*' -exec cat {} + | grep -x 67108864 ||
	not_so 'the limit is within the service'
systemctl --user restart bryo-serves
try nc -d 127.0.0.1 8099
prints 'hello from 1'
# Whoever is killed, systemd starts it again.
kill -9 "$(is MainPID serves)"
becomes NRestarts serves 1
becomes ActiveState serves active
try nc -d 127.0.0.1 8099
prints 'hello from 1'
systemctl --user stop bryo-serves.socket bryo-serves
[ "$(is Result serves)" = success ] || not_so 'it was stopped well'

# One that there is, started again on its layer; one that does not want to end.
# shellcheck disable=SC2016  # the payload's
try bryo run --name again -- sh -c 'echo more >>kept-file; [ $(wc -l <kept-file) = 1 ] || { trap "" TERM; while :; do sleep 1; done; }'
exits 0
try bryo generate systemd again --files --stop-timeout 2s
exits 0
prints bryo-again.service
systemd-analyze --user verify "./$out" || not_so 'systemd takes the unit'
mv "$out" $units
systemctl --user daemon-reload
systemctl --user start bryo-again
[ "$(is ActiveState again)" = active ] || not_so 'it runs again'
try bryo exec again cat kept-file
prints $'more\nmore'
systemctl --user stop bryo-again
becomes ActiveState again failed
[ "$(is Result again)" = timeout ] || not_so 'it was killed'
try bryo ps -a
says again
nothing_left
