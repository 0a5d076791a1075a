//! Other ways out than a connection to a named host: spellings, datagrams, echoes, greetings, other name servers,
//! forged packets. Each works on the host itself, and not from inside.

use super::{inside, tries};

fn on_host(what: &str) -> String {
    tries(None, what).0
}

fn lines(text: &str, count: usize) -> String {
    format!("{text}\n").repeat(count)
}

/// Joins attempts; how many there are.
fn all(attempts: &[&str]) -> (String, usize) {
    (attempts.join(" + "), attempts.len())
}

#[test]
fn no_spelling_of_an_inner_address_is_reached() {
    let (what, count) = all(&[
        "tcp 192.0.2.1 80",
        "tcp 10.9.9.9 80",
        "tcp 169.254.169.254 80",
        "tcp 100.100.100.200 80",
        "tcp ::ffff:10.9.9.9 80",
        "tcp ::ffff:c000:201 80",
        "tcp fd12::7 80",
        "tcp 64:ff9b::a09:909 80",
        "tcp 2002:a09:909::1 80",
        "tcp 2001:db8::1 80",
        "tcp 0x0a.0x09.0x0909 80",
        "tcp 168364297 80",
    ]);
    assert_eq!(on_host(&what), lines("connected", count));
    for flags in ["--network user", "--allow 0.0.0.0/0 --allow ::/0"] {
        assert_eq!(inside(flags, &what), lines("refused", count), "{flags}");
    }
    // A zone names an interface, and inside there is another one.
    assert_eq!(on_host("tcp fe80::7%up0 80"), "connected\n");
    assert_eq!(inside("--network user", "tcp fe80::7%tun0 80"), "refused\n");
    let opened = inside("--allow 10.9.9.9", "tcp 10.9.9.9 80 + tcp 64:ff9b::a09:909 80");
    assert!(opened.starts_with("connected\n"), "{opened}");
}

#[test]
fn what_a_route_leads_to_the_host_is_out_of_reach() {
    let (what, count) =
        all(&["tcp 203.0.113.77 80", "tcp 203.0.113.130 80", "tcp 2001:db8:66::9 80"]);
    assert_eq!(on_host(&what), lines("connected", count));
    for flags in ["--network user", "--allow 203.0.113.0/24 --allow ::/0"] {
        assert_eq!(inside(flags, &what), lines("refused", count), "{flags}");
    }
    let others = "ping 203.0.113.77 + udp 203.0.113.77 9";
    assert_eq!(on_host(others), lines("answered", 2));
    let all = format!("{others} + ping 203.0.113.130 + udp 203.0.113.130 9");
    assert_eq!(inside("--network user", &all), lines("refused", 4));
    // By one port alone: elsewhere it is another host.
    let both = "tcp 198.51.100.8 80 + tcp 198.51.100.8 81";
    assert_eq!(on_host(both), lines("connected", 2));
    assert_eq!(inside("--network user", both), "connected\nrefused\n");
    assert_eq!(inside("--allow 203.0.113.77", "tcp 203.0.113.77 80"), "connected\n");
}

#[test]
fn echoes_and_datagrams_keep_to_the_rules() {
    let what = "ping 192.0.2.1 + ping 169.254.169.254 + udp 192.0.2.1 9";
    assert_eq!(on_host(what), lines("answered", 3));
    let control = inside("--network user", "ping 198.51.100.7 + udp 198.51.100.7 9");
    assert_eq!(control, lines("answered", 2));
    let tried = inside("--network user", what);
    assert_eq!(tried, lines("refused", 3));
    // A rule with a port is about that alone.
    let named = "look good.test + ping 198.51.100.7 + udp 198.51.100.7 9";
    let tried = inside("--allow good.test", named);
    assert_eq!(tried, "198.51.100.7\nanswered\nrefused\n");
    let tried = inside("--allow good.test:443 --allow 198.51.100.7:80", named);
    assert_eq!(tried, "198.51.100.7\nrefused\nrefused\n");
}

#[test]
fn what_is_no_host_is_refused_at_once_and_told() {
    let (what, count) =
        all(&["tcp 240.0.0.1 80", "udp 240.0.0.1 9", "udp 224.0.0.9 9", "ping 240.0.0.1"]);
    for flags in ["--network user", "--allow good.test --allow 240.0.0.0/5:1"] {
        let (told, _) = super::on_bed(|bryo, scripts| {
            let run = format!("{bryo} run -q --rm --dns 198.51.100.53 {flags}");
            let events = format!(
                "{bryo} events --since 1h --until 1ms -f event=refuse --format '{{{{.Details}}}}'"
            );
            format!(
                "{run} -- python3 {scripts}/payload.py '{what} + took 240.0.0.1 80'; sleep 0.1; {events}"
            )
        });
        let (tried, recorded) =
            told.split_once("EHOSTUNREACH at once\n").unwrap_or_else(|| panic!("{flags}: {told}"));
        assert_eq!(tried, lines("refused", count), "{flags}");
        for one in [
            "240.0.0.1,port=80,protocol=tcp",
            "240.0.0.1,port=9,protocol=udp",
            "224.0.0.9,port=9,protocol=udp",
        ] {
            assert!(recorded.contains(one), "{flags}: {recorded}");
        }
    }
}

#[test]
fn a_datagram_that_is_too_long_for_the_link_is_an_error_and_no_silence() {
    let what = "long 198.51.100.7 65492 + long 198.51.100.7 65493 + long 2001:db8::7 65472 + long 2001:db8::7 65473";
    let told = inside("--network user", what);
    assert_eq!(told, "came back\nEMSGSIZE\ncame back\nEMSGSIZE\n");
}

#[test]
fn quic_is_refused_where_a_rule_is_a_name() {
    let what = "look good.test + udp 198.51.100.7 443";
    let control = "198.51.100.7\nanswered\n";
    assert_eq!(inside("--network user", what), control);
    assert_eq!(inside("--allow good.test", what), "198.51.100.7\nrefused\n");
    assert_eq!(inside("--allow good.test:443/udp", what), control);
}

#[test]
fn no_other_name_server_is_asked() {
    let what = "ask 198.51.100.53 s3cr3t.evil.test";
    let (control, asked) = tries(Some("--network user"), what);
    assert_eq!((control.as_str(), asked.as_str()), ("answered\n", "s3cr3t.evil.test\n"));
    let (tried, asked) = tries(Some("--allow good.test"), &format!("{what} + look good.test"));
    assert_eq!((tried.as_str(), asked.as_str()), ("refused\n198.51.100.7\n", "good.test\n"));
}

#[test]
fn a_greeting_must_name_an_allowed_host_in_whatever_pieces() {
    let bad = "hello 198.51.100.7 evil.test 4096 + hello 198.51.100.7 evil.test 7 + \
               hello 198.51.100.7 - 4096 + records 198.51.100.7 evil.test";
    assert_eq!(on_host(bad), lines("heard", 4));
    let good = "hello 198.51.100.7 good.test 4096 + hello 198.51.100.7 good.test 7 + \
                records 198.51.100.7 good.test";
    let tried = inside("--allow good.test", &format!("look good.test + {good} + {bad}"));
    assert_eq!(tried, format!("198.51.100.7\n{}{}", lines("heard", 3), lines("refused", 4)));
}

#[test]
fn a_second_greeting_must_name_an_allowed_host_too() {
    let bad = "retry 198.51.100.7 good.test evil.test";
    assert_eq!(on_host(bad), "again\n");
    let what = format!("look good.test + retry 198.51.100.7 good.test good.test + {bad}");
    assert_eq!(inside("--allow good.test", &what), "198.51.100.7\nagain\nrefused\n");
    let denied = inside("--network user --deny evil.test", &what);
    assert_eq!(denied, "198.51.100.7\nagain\nrefused\n");
}

#[test]
fn a_tunnel_that_is_not_made_hides_no_request() {
    let to = |name| format!("198.51.100.7 80 203.0.113.5:443 {name}");
    let bad = format!("tunnel {} + behind {}", to("evil.test"), to("evil.test"));
    assert_eq!(on_host(&bad), lines("served evil.test", 2));
    let what = format!("look good.test + tunnel {} + {bad}", to("good.test"));
    let tried = inside("--allow good.test --allow 203.0.113.5", &what);
    assert_eq!(tried, "198.51.100.7\nserved good.test\nrefused\nrefused\n");
}

#[test]
fn a_web_socket_passes_where_its_host_is_allowed_and_http_2_in_the_clear_does_not() {
    let what = "frame good.test 80 good.test + frame good.test 80 evil.test + prior good.test 80";
    assert_eq!(inside("--network user", what), "framed\nframed\nheard\n");
    for flags in ["--allow good.test", "--network user --deny evil.test"] {
        assert_eq!(inside(flags, what), "framed\nrefused\nrefused\n", "{flags}");
    }
}

#[test]
fn a_request_by_a_long_method_is_one() {
    let to = |name| format!("method good.test 8080 {name} 32 + method good.test 8080 {name} 9000");
    let what = format!("{} + {}", to("good.test"), to("evil.test"));
    let (good, evil) = (lines("served good.test", 2), lines("served evil.test", 2));
    assert_eq!(inside("--network user", &what), format!("{good}{evil}"));
    for flags in ["--allow good.test:8080", "--network user --deny evil.test"] {
        assert_eq!(inside(flags, &what), format!("{good}{}", lines("refused", 2)), "{flags}");
    }
}

#[test]
fn forged_packets_reach_nobody_and_break_nothing() {
    let what = "forge 3000 + get 198.51.100.7 80 x + udp 198.51.100.7 9";
    let raw = inside("--network user --cap-add NET_RAW", what);
    assert_eq!(raw, "forged\nserved x\nanswered\n");
    // Without the capability there are no raw sockets.
    assert_eq!(inside("--network user", "forge 1"), "refused\n");
}

#[test]
fn a_route_that_a_packet_names_is_not_taken() {
    // Hosts that take such routes: the one inside the bed, from the host.
    let what = "routed 198.51.100.7 198.51.100.8";
    assert_eq!(on_host(what), "answered answered answered\n");
    let tried = inside("--network user --cap-add NET_RAW", what);
    assert_eq!(tried, "answered silence silence\n");
}

#[test]
fn nonsense_for_the_name_server_leaves_it_as_it_was() {
    // What its netstack has after the nonsense: KiB and places for descriptors, and before it.
    let (told, _) = super::on_bed(|bryo, scripts| {
        let held = "for one in /proc/[0-9]*; do if grep -qs bryo-netstack $one/comm && \
                    [ \"$(readlink $one/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]; then \
                    echo $(awk \"/^Rss/{print \\$2}\" $one/smaps_rollup) $(awk \"/^FDSize/{print \\$2}\" $one/status); fi; done";
        let payload = format!("python3 {scripts}/payload.py");
        format!(
            "go=$(mktemp -u); said=$(mktemp -u); mkfifo $go $said; \
             {bryo} run -q --rm --dns 198.51.100.53 --allow good.test -- sh -c '\
             {payload} junk 2000 + look good.test; read -r _; \
             {payload} junk 20000 + look good.test + look evil.test; read -r _' <$go >$said & \
             exec 4>$go 3<$said; rm $go $said; read -r line <&3; echo $line; read -r line <&3; echo $line; {held}; \
             echo >&4; for each in 1 2 3; do read -r line <&3; echo $line; done; {held}; echo >&4; wait $!"
        )
    });
    let lines: Vec<&str> = told.lines().collect();
    let [sent, good, before, again, still, evil, after] = lines[..] else { panic!("{told}") };
    assert_eq!(
        [sent, good, again, still, evil],
        ["sent", "198.51.100.7", "sent", "198.51.100.7", "refused"]
    );
    let pair = |line: &str| {
        let (memory, descriptors) = line.split_once(' ').unwrap_or_else(|| panic!("{told}"));
        (memory.parse::<u64>().unwrap(), descriptors.parse::<u64>().unwrap())
    };
    let ((memory, _), (then, places)) = (pair(before), pair(after));
    assert!(then < memory + 2048, "{told}");
    // A thousand connections came.
    assert!((1..=256).contains(&places), "{told}");
}
