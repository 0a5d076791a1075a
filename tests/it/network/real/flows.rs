//! Flows that are large, long, slow, or no connections.

use super::among;

#[test]
fn a_large_upload_to_a_slow_reader_arrives_whole() {
    let script = "head -c 25000000 /dev/urandom >sent
        $RUN --allow good.test:7000 -- sh -c 'for n in 1 2; do nc -N good.test 7000 <sent & done; wait'
        python3 -c 'import zlib; b = open(\"sent\", \"rb\").read(); print(len(b), zlib.crc32(b))'";
    let told = among("peer", script).stdout();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("25000000 "), "{told}");
    assert!(lines[0] == lines[2] && lines[1] == lines[2], "{told}");
}

#[test]
fn bytes_arrive_whole_over_a_wire_that_loses_delays_and_reorders() {
    let script = "head -c 1000000 /dev/urandom >sent; seq 60000 >lines
        $RUN --allow good.test:7000-7001 -- sh -c 'nc -N good.test 7000 <sent & nc -N good.test 7001 <lines >back; cmp lines back; wait'
        python3 -c 'import zlib; b = open(\"sent\", \"rb\").read(); print(len(b), zlib.crc32(b))'
        cat $HERE/wire";
    let told = among("peer badwire", script).succeeds().stdout();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("1000000 "), "{told}");
    assert!(lines[0] == lines[1] && lines[2] == "lost and overtaken", "{told}");
}

#[test]
fn a_session_that_was_idle_goes_on() {
    // Longer than anything is held for a name to come (10 s).
    let script = "$RUN --allow good.test:7001 --deny evil.test -- sh -c '(echo one; sleep 12; echo two) | nc -N good.test 7001'";
    among("peer", script).succeeds().stdout_is("one\ntwo\n");
}

#[test]
fn pings_of_every_size_come_back() {
    let script = "cat >pings <<'END'
for size in 0 16 56 1472 1473 8000 60000; do ping -q -c 2 -i 0.2 -W 5 -s $size $1 | grep -c ' [12] received'; done
ping -q -c 1 -W 1 10.9.9.9 2>&1 | grep -o '0 received'
END
        for to in 198.51.100.7 2001:db8::7; do $RUN --network user -- sh pings $to; done";
    among("", script).stdout_is(&format!("{0}0 received\n{0}0 received\n", "1\n".repeat(7)));
}

#[test]
fn streams_are_measured_both_ways() {
    let script = "cat >measure <<'END'
for how in '-P 8' '-P 8 -R' '-P 8 --bidir' '-6 -P 2 -R'; do
	iperf3 -J -t 1 -c good.test $how | python3 -c 'import json, sys; print(min(one[\"receiver\"][\"bytes\"] for one in json.load(sys.stdin)[\"end\"][\"streams\"]) > 100000)'
done
END
        $RUN --allow good.test:5201 -- sh measure";
    among("iperf3", script).succeeds().stdout_is(&"True\n".repeat(4));
}

#[test]
fn clients_of_the_web_get_everything_over_a_bad_wire() {
    // Over one connection each: what is lost of the first holds the second up.
    let script = "head -c 2000000 /dev/urandom >$HERE/git/large
        cat >clients <<'END'
for scheme in http https; do curl -sS -m 60 --cacert here/ca.pem $scheme://good.test/git/large $scheme://good.test/; done
END
        $RUN --allow good.test -- sh clients >got
        for scheme in 1.1 2.0; do cat $HERE/git/large; echo served good.test by HTTP/$scheme; done | cmp - got && cat $HERE/wire";
    among("nginx badwire", script).succeeds().stdout_is("lost and overtaken\n");
}

#[test]
fn a_session_goes_on_for_long_by_some_bytes_at_a_time() {
    // A line now and then is answered before the next is typed, with silence between them.
    let script = "cat >session <<'END'
import socket, time
with socket.create_connection(('good.test', 7001), 30) as one:
    lines, told = one.makefile('r'), 0
    for number in range(300):
        one.sendall(b'%d\\n' % number)
        told += int(lines.readline()) == number
        time.sleep(3 if number in (7, 70) else 0)
    print(told)
END
        $RUN --allow good.test:7001 -- python3 session";
    let script = script.replace("\\\\n", "\\n");
    for servers in ["peer", "peer badwire"] {
        among(servers, &script).succeeds().stdout_is("300\n");
    }
}

#[test]
fn a_protocol_whose_first_line_has_no_end_is_spoken_on_a_port_that_was_named() {
    let script = "git init -q --bare $HERE/git/r.git
        commit=$(git -C $HERE/git/r.git -c user.name=a -c user.email=a@a.test commit-tree -m one $(git -C $HERE/git/r.git mktree </dev/null))
        git -C $HERE/git/r.git update-ref refs/heads/master $commit
        echo 'git clone -q git://good.test/r.git clone 2>/dev/null && git -C clone log --format=%s || echo refused' >clone.sh
        for flags in '--allow good.test:9418' '--network user --deny evil.test' '--allow good.test'; do $RUN $flags -- sh clone.sh; done";
    among("git", script).stdout_is("one\none\nrefused\n");
}
