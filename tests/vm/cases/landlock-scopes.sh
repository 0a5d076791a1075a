#!/usr/bin/env bash
# Landlock bounds signals and abstract sockets from ABI 6. Below, the host's network is refused or loses unix sockets.
. ./check.sh

python3 - <<-'P' &
	import socket, time
	s = socket.socket(socket.AF_UNIX); s.bind("\0host-service"); s.listen(); time.sleep(60)
P
sleep 2
connect='import socket; s = socket.socket(socket.AF_UNIX); s.connect("\0host-service"); print("connected")'

try python3 -c "$connect" # the control
exits 0
prints connected

try bryo run --rm --network host -- python3 -c "$connect"
[ "$status" != 0 ] || not_so 'an abstract socket of the host is out of reach'
[[ $out != *connected* ]] || not_so 'an abstract socket of the host is out of reach'

# The network itself is there.
try bryo run --rm --network host -- python3 -c 'import socket; socket.socket(socket.AF_INET); print("inet")'
exits 0
prints inet
nothing_left
