//! Names that were given addresses, and names that resolvers make.

use super::*;

#[test]
fn what_was_given_is_held_before_it_is_asked_for_and_has_a_name() {
    let entry = |name: &str, address: &str| HostEntry { name: host(name), address: ip(address) };
    let hosts = vec![
        (entry("db.corp", "10.0.0.5"), Source::User),
        (entry("pub.corp", "192.0.2.6"), Source::Answer),
        (entry("hidden.corp", "192.0.2.9"), Source::User),
        // A private address: of the host's file alone it is not told.
        (entry("pub.corp", "10.0.0.6"), Source::Answer),
    ];
    let settings = Settings { hosts, ..Settings::default() };
    let mut bench = Bench::with(&["db.corp", "pub.corp"], settings);
    bench.resolver.hold_given(&bench.policy, bench.now);
    bench.wait(7 * 24 * 3600);
    let names = |bench: &mut Bench, address| bench.resolver.names(ip(address), bench.now);
    assert_eq!(names(&mut bench, "10.0.0.5"), [(host("db.corp"), Source::User)]);
    assert_eq!(names(&mut bench, "192.0.2.6"), []);
    assert_eq!(names(&mut bench, "192.0.2.9"), []);
    for (asked, named) in
        [("5.0.0.10", true), ("6.2.0.192", true), ("9.2.0.192", false), ("6.0.0.10", false)]
    {
        bench.ask(FLOW, &format!("{asked}.in-addr.arpa"), kind::PTR);
        let Some(Action::Reply(_, bytes)) = bench.resolver.action() else { panic!("no reply") };
        assert_eq!(bytes[7] == 1, named, "{asked}");
    }
}

#[test]
fn what_a_resolver_makes_of_a_name_is_not_told_as_another_one() {
    let search = vec![host("corp.test"), host("lab.test")];
    let mut bench = Bench::with(&["good.test"], Settings { search, ..Settings::default() });
    let refused = |bench: &mut Bench, asked: &[&str]| {
        for name in asked {
            bench.ask(FLOW, name, kind::A);
            bench.told().unwrap();
        }
        let refused = bench.resolver.take_refused();
        refused.into_iter().map(|one| one.name.to_string()).collect::<Vec<_>>().join(" ")
    };
    // The name itself first, or last when it has few dots.
    let asked = ["evil.test", "evil.test.corp.test", "evil.test.lab.test", "evil.test"];
    assert_eq!(refused(&mut bench, &asked), "evil.test evil.test");
    assert_eq!(refused(&mut bench, &["good.test.corp.test"]), "");
    assert_eq!(refused(&mut bench, &["db.corp.test", "db"]), "db.corp.test");
    // What nobody made of another one is told.
    assert_eq!(refused(&mut bench, &["git.corp.test", "xcorp.test"]), "git.corp.test xcorp.test");
    assert_eq!(refused(&mut bench, &["alone", "corp.test"]), "alone corp.test");
}

#[test]
fn what_was_asked_of_servers_that_are_gone_is_asked_of_the_new_ones() {
    let mut bench = Bench::new(&["good.test"]);
    bench.ask(FLOW, "good.test", kind::A);
    let (old, server, ..) = bench.sent().unwrap();
    assert_eq!(server.to_string(), "192.0.2.53:53");
    let servers = |text: &str| vec![text.parse::<SocketAddr>().unwrap()];
    // None, and the same ones, change nothing.
    bench.resolver.set_servers(Vec::new(), bench.now);
    let same = ["192.0.2.53:53", "192.0.2.54:53"].map(|text| text.parse().unwrap());
    bench.resolver.set_servers(same.into(), bench.now);
    assert_eq!(bench.sent(), None);
    bench.resolver.set_servers(servers("[fe80::1%7]:53"), bench.now);
    let (new, server, over, _) = bench.sent().unwrap();
    assert_eq!((server.to_string().as_str(), over), ("[fe80::1%7]:53", Over::Datagram));
    // The old one's answer comes too late, and its end is nobody's.
    bench.resolver.broken(old, bench.now);
    assert_eq!(bench.sent(), None);
    bench.resolver.broken(new, bench.now);
    assert_eq!(bench.sent().unwrap().1.to_string(), "[fe80::1%7]:53");
}
