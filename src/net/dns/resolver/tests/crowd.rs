//! Several who ask one resolver, one of them too much.

use super::*;

#[test]
fn who_asks_most_fails_first_and_nobody_for_it() {
    let mut bench = Bench::new(&["*.test"]);
    for n in 0..LOOKUPS {
        bench.ask(of(1, 1, Over::Datagram), &format!("a{n}.test"), kind::A);
    }
    // Somebody else waits for one of theirs.
    bench.ask(of(2, 2, Over::Datagram), "a0.test", kind::A);
    while bench.resolver.action().is_some() {}
    let failed = |bench: &mut Bench| -> Vec<u64> {
        let actions: Vec<Action> = std::iter::from_fn(|| bench.resolver.action()).collect();
        let failed = actions.into_iter().filter_map(|action| match action {
            Action::Reply(client, bytes) => {
                assert_eq!(bytes[3] & 15, 2);
                Some(client.flow)
            }
            _ => None,
        });
        failed.collect()
    };
    bench.ask(of(1, 3, Over::Datagram), "more.test", kind::A);
    assert_eq!(failed(&mut bench), [3], "its own");
    for n in 0..300 {
        bench.ask(of(2, 4, Over::Datagram), &format!("b{n}.test"), kind::A);
    }
    let mut failed = failed(&mut bench);
    failed.sort_unstable();
    // Of the first half its own, then those that it asks beyond its part.
    assert_eq!(failed, [[1; 128].as_slice(), &[4; 300 - 128]].concat());
    assert_eq!(bench.resolver.lookups.len(), LOOKUPS);
    assert!(bench.resolver.lookups.values().any(|lookup| lookup.name == host("a0.test")));
}

#[test]
fn one_who_asks_a_name_often_keeps_nobody_from_asking_it() {
    let mut bench = Bench::new(&["www.test"]);
    for flow in 0..200 {
        bench.ask(of(1, flow, Over::Datagram), "www.test", kind::A);
    }
    bench.ask(of(2, 999, Over::Datagram), "www.test", kind::A);
    let (number, _, _, query) = bench.sent().unwrap();
    while bench.resolver.action().is_some() {}
    bench.answer(number, &query, &[[192, 0, 2, 7]]);
    let flows = std::iter::from_fn(|| bench.resolver.action()).filter_map(|action| match action {
        Action::Reply(client, _) => Some(client.flow),
        _ => None,
    });
    let flows: Vec<u64> = flows.collect();
    assert_eq!((flows.len(), flows.contains(&999)), (WAITING, true));
}

#[test]
fn many_who_ask_the_same_are_one_question() {
    let mut bench = Bench::new(&["www.test"]);
    for flow in 0..200 {
        bench.ask(of(0, flow, Over::Stream), "www.test", kind::A);
    }
    let (number, _, _, query) = bench.sent().unwrap();
    let mut busy = 0;
    while let Some((code, _)) = bench.told() {
        assert_eq!(code, 2);
        busy += 1;
    }
    assert_eq!(busy, 200 - WAITING);
    bench.answer(number, &query, &[[192, 0, 2, 7]]);
    let mut told = 0;
    while let Some((0, _)) = bench.told() {
        told += 1;
    }
    assert_eq!(told, WAITING);
}
