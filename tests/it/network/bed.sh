# A host at 198.51.100.1, with a service of its own at 192.0.2.1, and its peers in a namespace beside it.
# $1: folder of the scripts; $2: where questions to the name server go; then what is run.
PATH=/usr/sbin:/sbin:/usr/bin:/bin
scripts=$1 asked=$2
shift 2
ip link set lo up
ip addr add 192.0.2.1/32 dev lo
ip addr add 10.9.9.9/32 dev lo
# Addresses that no interface has: by the table that is asked first, and by one that a rule picks.
ip route add local 203.0.113.64/26 dev lo
ip route add local 2001:db8:66::/64 dev lo
ip rule add to 203.0.113.128/26 lookup 77
ip rule add dport 81 lookup 77
unshare -n sh -c "
	until ip link show pe0 >/dev/null 2>&1; do sleep 0.05; done
	ip link set lo up
	for last in 7 8 53; do ip addr add 198.51.100.\$last/24 dev pe0; done
	for one in 169.254.169.254/32 100.100.100.200/32; do ip addr add \$one dev pe0; done
	for one in 2001:db8::7/64 fd12::7/64 64:ff9b::a09:909/96 2002:a09:909::1/48; do ip addr add \$one dev pe0 nodad; done
	ip addr add fe80::7/64 dev pe0 nodad
	ip link set pe0 up
	for each in all pe0; do echo 1 >/proc/sys/net/ipv4/conf/\$each/accept_source_route; done
	exec setsid python3 '$scripts/peer.py' '$asked'" &
peers=$!
# Until it has a namespace of its own.
while [ "$(readlink /proc/$peers/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add up0 type veth peer name pe0
ip link set pe0 netns "$peers"
ip addr add 198.51.100.1/24 dev up0
ip addr add 2001:db8::1/64 dev up0 nodad
ip link set up0 up
ip route add local default dev lo table 77 src 198.51.100.1
ip route add 169.254.169.254/32 dev up0
ip route add 100.100.100.200/32 dev up0
ip route add default via 198.51.100.7
ip route add default via 2001:db8::7
echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range 2>/dev/null ||
	echo "$(id -g) $(id -g)" >/proc/sys/net/ipv4/ping_group_range
setsid python3 "$scripts/peer.py" /dev/null 2>/dev/null &
own=$!
# Until both answer.
until python3 "$scripts/payload.py" get 198.51.100.7 80 x | grep -q served; do sleep 0.1; done
until python3 "$scripts/payload.py" get 192.0.2.1 80 x | grep -q served; do sleep 0.1; done
"$@"
status=$?
kill -- -"$peers" -"$own" "$peers" "$own" 2>/dev/null
exit $status
