# The host of the network's measurements, 192.0.2.1, and its one peer, 198.51.100.1, in a namespace beside it.
# $1: the peer's program. Until its input ends.
PATH=/usr/sbin:/sbin:/usr/bin:/bin
peer=$1
ip link set lo up
ip link add up0 type veth peer name pe0
unshare -n "$peer" serve </dev/null >/dev/null &
other=$!
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link set pe0 netns "$other"
ip addr add 192.0.2.1/24 dev up0
ip link set up0 up
n="nsenter -t $other -n"
$n ip link set lo up
$n ip addr add 192.0.2.2/24 dev pe0
$n ip addr add 198.51.100.1/32 dev lo
$n ip link set pe0 up
ip route add default via 192.0.2.2
# Each side has connections that wait for their last packet.
echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range
echo "$(id -g) $(id -g)" >/proc/sys/net/ipv4/ping_group_range
echo ready
cat >/dev/null
trap '' TERM
kill -- -$$
