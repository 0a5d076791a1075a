# A host at 198.51.100.1 whose `/etc` may be changed, and beside it, in a namespace of their own, real servers:
# dnsmasq at 198.51.100.53; nginx, with and without TLS, at 198.51.100.7 and 2001:db8::7; iperf3; git, for $HERE/git; and `peer.py`.
# $1: folder of the scripts; $2: folder for what is made here; then what is run, with $HERE that folder.
# Servers that are wanted: $SERVERS, of `nginx`, `iperf3`, `peer`, `git`; `badwire` for one that loses and delays (`wire.py`). What dnsmasq is asked stands in $HERE/asked.
PATH=/usr/sbin:/sbin:/usr/bin:/bin
scripts=$1 HERE=$2
export HERE
shift 2
set -e
trap 'kill -- -"$peers" $wire 2>/dev/null' EXIT
mkdir -p "$HERE/etc" "$HERE/work" "$HERE/git"
# A resolv.conf as systemd-resolved has it: a link to a file that is replaced.
mkdir "$HERE/run"
printf 'nameserver 198.51.100.53\nsearch lab.test corp.test\noptions edns0\n' >"$HERE/run/resolv.conf"
ln -s "$HERE/run/resolv.conf" "$HERE/etc/resolv.conf"
printf '127.0.0.1 localhost\n198.51.100.7 listed.test\n10.9.9.9 inner.test\n' >"$HERE/etc/hosts"
mount -t overlay -o "userxattr,lowerdir=/etc,upperdir=$HERE/etc,workdir=$HERE/work" overlay /etc
ip link set lo up
cat >"$HERE/peers.sh" <<END
	until ip link show pe0 >/dev/null 2>&1; do sleep 0.02; done
	ip link set lo up
	for last in 7 8 53 54; do ip addr add 198.51.100.\$last/24 dev pe0; done
	ip addr add 2001:db8::7/64 dev pe0 nodad
	ip link set pe0 up
	dnsmasq -k -C '$scripts/dnsmasq.conf' --addn-hosts='$scripts/hosts' --log-facility='$HERE/asked' --pid-file &
	case "$SERVERS" in *nginx*) cp '$scripts/nginx.conf' '$HERE' && nginx -p '$HERE' -c '$HERE/nginx.conf' -e '$HERE/nginx.log' & esac
	case "$SERVERS" in *iperf3*) iperf3 -s >/dev/null & esac
	case "$SERVERS" in *git*) git daemon --export-all --base-path='$HERE/git' & esac
	case "$SERVERS" in *peer*) python3 '$scripts/peer.py' & esac
	wait
END
case "$SERVERS" in *nginx*)
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bed -keyout "$HERE/key.pem" \
		-out "$HERE/ca.pem" -addext 'subjectAltName=DNS:good.test,DNS:*.good.test,DNS:evil.test' 2>/dev/null
	;;
esac
unshare -n setsid sh "$HERE/peers.sh" &
peers=$!
# Until it has a namespace of its own.
while [ "$(readlink /proc/$peers/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
case "$SERVERS" in
*badwire*)
	python3 "$scripts/wire.py" "$peers" "$HERE/wire" &
	wire=$!
	until ip link show up0 >/dev/null 2>&1; do sleep 0.02; done
	;;
*)
	wire=
	ip link add up0 type veth peer name pe0
	ip link set pe0 netns "$peers"
	;;
esac
ip addr add 198.51.100.1/24 dev up0
ip addr add 2001:db8::1/64 dev up0 nodad
ip addr add 10.9.9.9/32 dev lo
ip link set up0 up
ip route add default via 198.51.100.7
ip route add default via 2001:db8::7
echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range 2>/dev/null ||
	echo "$(id -g) $(id -g)" >/proc/sys/net/ipv4/ping_group_range
set +e
wait_for() { # port, address
	until nc -z "$2" "$1" 2>/dev/null; do sleep 0.05; done
}
wait_for 53 198.51.100.53
case "$SERVERS" in *nginx*) wait_for 443 198.51.100.7 ;; esac
case "$SERVERS" in *iperf3*) wait_for 5201 198.51.100.7 ;; esac
case "$SERVERS" in *git*) wait_for 9418 198.51.100.7 ;; esac
case "$SERVERS" in *peer*) wait_for 7000 198.51.100.7 ;; esac
"$@"
status=$?
kill -- -"$peers" "$peers" $wire 2>/dev/null
wait
exit $status
