//! What clients say of EDNS.

use super::*;

#[test]
fn another_version_of_edns_is_told_which_is_spoken() {
    let mut bench = Bench::new(&["www.test"]);
    let mut writer = Writer::new(77, flag::RECURSE);
    writer.question(&question("www.test", kind::A));
    writer.edns(1400);
    let mut query = writer.finish();
    let end = query.len();
    query[end - 5] = 1;
    assert!(bench.resolver.ask(&bench.policy, FLOW, &query, bench.now));
    let Some(Action::Reply(_, told)) = bench.resolver.action() else { panic!("no reply") };
    assert_eq!(told[3] & 15, 0);
    // The root, OPT, a size; the upper bits of 16, version 0.
    assert_eq!(told[told.len() - 11..], [0, 0, 41, 0x04, 0xd0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(bench.resolver.action(), None, "nobody is asked");
    query[end - 5] = 0;
    bench.resolver.ask(&bench.policy, FLOW, &query, bench.now);
    assert!(bench.sent().is_some(), "the control");
}
