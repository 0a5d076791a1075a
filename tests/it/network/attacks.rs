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
fn forged_packets_reach_nobody_and_break_nothing() {
    let what = "forge 3000 + get 198.51.100.7 80 x + udp 198.51.100.7 9";
    let raw = inside("--network user --cap-add NET_RAW", what);
    assert_eq!(raw, "forged\nserved x\nanswered\n");
    // Without the capability there are no raw sockets.
    assert_eq!(inside("--network user", "forge 1"), "refused\n");
}
