//! Requests that hide whose they are, to real servers: nginx, and Python's, which takes any word for a method.

use std::collections::BTreeMap;

use super::among;

/// Who answered, by port and attempt (`smuggle.py`), in a run with `flags`.
fn tried(flags: &str) -> BTreeMap<(String, String), String> {
    let script = format!(
        "cp $SCRIPTS/smuggle.py .
        $RUN {flags} -- python3 smuggle.py 80 8080 8081 7002"
    );
    let told = among("nginx peer", &script).succeeds().stdout();
    let mut all = BTreeMap::new();
    for line in told.lines() {
        let (port, attempts) = line.split_once(' ').unwrap();
        for attempt in attempts.split(' ') {
            let (name, who) = attempt.split_once('=').unwrap();
            all.insert((port.to_owned(), name.to_owned()), who.to_owned());
        }
    }
    assert!(all.len() > 200, "{told}");
    all
}

/// What gets through to the other host where nobody looks, at the least.
const EFFECTIVE: &[(&str, &str)] = &[
    (
        "80",
        "plain lines-before feed-before unknown absolute absolute-odd nine dot capital feeds behind behind-chunks",
    ),
    (
        "8080",
        "plain lines-before unknown two-blanks absolute nine feeds behind behind-body proxy-method",
    ),
    ("8081", "proxy proxy-unknown proxy-2"),
    (
        "7002",
        "plain nul-before lower-case unknown no-token no-token-long nul-method odd-before odd-blanks returns control feeds",
    ),
];

#[test]
fn no_server_is_asked_for_another_host_by_what_it_takes_for_a_request() {
    let control = tried("--network user");
    for (port, names) in EFFECTIVE {
        for name in names.split(' ') {
            let who = &control[&((*port).to_owned(), name.to_owned())];
            assert_eq!(who, "evil", "{port} {name}: {control:?}");
        }
    }
    let allow =
        "--allow good.test --allow good.test:8080 --allow good.test:8081 --allow good.test:7002";
    for flags in [allow, "--network user --deny evil.test"] {
        let tried = tried(flags);
        let through: Vec<_> = tried.iter().filter(|(_, who)| *who == "evil").collect();
        assert!(through.is_empty(), "{flags}: {through:?}");
        for (port, name) in [("80", "good"), ("8080", "good-by-any"), ("7002", "good-by-any")] {
            let who = &tried[&(port.to_owned(), name.to_owned())];
            assert_eq!(who, "good", "{flags} {port} {name}: {tried:?}");
        }
    }
}
