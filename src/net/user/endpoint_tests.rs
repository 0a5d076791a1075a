//! Tests of the endpoint: the other side is played by hand.

use super::*;
use proptest::prelude::*;

const THEIRS: u32 = u32::MAX - 5;
const OURS: u32 = 0x7fff_fff0;

fn segment(seq: u32, ack: u32, flags: Flags, payload: &[u8]) -> Segment<'_> {
    Segment {
        source: 1,
        destination: 2,
        seq,
        ack,
        flags,
        window: 1000,
        mss: Some(65_480),
        scale: Some(7),
        payload,
    }
}

/// After the handshake; numbers wrap around soon.
fn open(now: Instant) -> Endpoint {
    let mut endpoint = Endpoint::passive(&segment(THEIRS, 0, Flags::SYN, &[]), OURS, 65_480);
    let syn = endpoint.syn(1 << 20, 65_480, now);
    assert_eq!((syn.seq, syn.ack, syn.window), (OURS, THEIRS.wrapping_add(1), u16::MAX));
    assert!(!endpoint.is_open() && endpoint.usable() == 0);
    endpoint.receive(&segment(THEIRS.wrapping_add(1), OURS + 1, Flags::ACK, &[]), now);
    assert!(endpoint.is_open() && endpoint.deadline().is_none());
    assert_eq!(endpoint.usable(), 128_000);
    endpoint
}

fn next(endpoint: &mut Endpoint) -> (u32, u32) {
    let control = endpoint.acknowledgement(1 << 20);
    (control.ack, control.seq)
}

#[test]
fn bytes_in_order_are_taken_and_others_asked_for_again() {
    let now = Instant::now();
    let mut endpoint = open(now);
    let (seq, ack) = next(&mut endpoint);
    let early = endpoint.receive(&segment(seq.wrapping_add(3), ack, Flags::ACK, b"def"), now);
    assert_eq!((early.take, early.answer), (0, true));
    let first = endpoint.receive(&segment(seq, ack, Flags::ACK, b"abc"), now);
    assert_eq!((first.skip, first.take, first.fin), (0, 3, false));
    endpoint.take(3);
    let overlap = endpoint
        .receive(&segment(seq.wrapping_add(1), ack, Flags::FIN.and(Flags::ACK), b"bcdef"), now);
    assert_eq!((overlap.skip, overlap.take, overlap.fin), (2, 3, true));
    endpoint.take(3);
    endpoint.take_fin();
    assert!(endpoint.has_their_fin() && endpoint.owes_answer(0));
    assert_eq!(next(&mut endpoint).0, seq.wrapping_add(7));
    // Once more, as when the answer was lost.
    let again =
        endpoint.receive(&segment(seq.wrapping_add(6), ack, Flags::FIN.and(Flags::ACK), b""), now);
    assert_eq!((again.take, again.fin, again.answer), (0, false, true));
}

#[test]
fn no_more_is_taken_than_was_granted_and_no_grant_is_taken_back() {
    let now = Instant::now();
    let mut endpoint = open(now);
    let mut endpoint_small = Endpoint::passive(&segment(9, 0, Flags::SYN, &[]), 5, 65_480);
    endpoint_small.syn(100, 65_480, now);
    endpoint_small.receive(&segment(10, 6, Flags::ACK, &[]), now);
    let received =
        endpoint_small.receive(&segment(10, 6, Flags::FIN.and(Flags::ACK), &[1; 200]), now);
    assert_eq!((received.take, received.fin, received.answer), (100, false, true));
    let (seq, ack) = next(&mut endpoint);
    // Granted 1 MiB: that holds, though there is no room any more.
    endpoint.acknowledgement(0);
    let received = endpoint.receive(&segment(seq, ack, Flags::ACK, &vec![1; 60_000]), now);
    assert_eq!(received.take, 60_000);
}

#[test]
fn what_is_lost_is_sent_again_and_in_the_end_given_up() {
    let mut now = Instant::now();
    let mut endpoint = open(now);
    endpoint.sent(3000, now);
    assert_eq!((endpoint.in_flight(), endpoint.due(now)), (3000, Due::Nothing));
    now += FIRST_TIMEOUT;
    assert_eq!(endpoint.due(now), Due::Resend);
    // Part of it arrives: the next piece is sent at once.
    let (seq, _) = next(&mut endpoint);
    let partly = endpoint.receive(&segment(seq, OURS + 1 + 1000, Flags::ACK, &[]), now);
    assert_eq!((partly.acknowledged, partly.resend), (1000, true));
    let all = endpoint.receive(&segment(seq, OURS + 1 + 3000, Flags::ACK, &[]), now);
    assert_eq!((all.acknowledged, all.resend), (2000, false));
    assert_eq!((endpoint.in_flight(), endpoint.deadline()), (0, None));
    endpoint.sent(1, now);
    let mut tries = 0;
    loop {
        now = endpoint.deadline().unwrap();
        match endpoint.due(now) {
            Due::Resend => tries += 1,
            due => {
                assert_eq!((due, tries), (Due::Lost, ATTEMPTS));
                return;
            }
        }
    }
}

#[test]
fn three_repeated_answers_ask_for_the_first_piece() {
    let now = Instant::now();
    let mut endpoint = open(now);
    let (seq, ack) = next(&mut endpoint);
    endpoint.sent(5000, now);
    let repeated = segment(seq, ack, Flags::ACK, &[]);
    let resends: Vec<bool> = (0..5).map(|_| endpoint.receive(&repeated, now).resend).collect();
    assert_eq!(resends, [false, false, true, false, false]);
}

#[test]
fn a_closed_window_is_asked_for() {
    let mut now = Instant::now();
    let mut endpoint = open(now);
    let (seq, ack) = next(&mut endpoint);
    let closed = Segment { window: 0, ..segment(seq, ack, Flags::ACK, &[]) };
    endpoint.receive(&closed, now);
    assert_eq!(endpoint.usable(), 0);
    endpoint.wait_for_window(now);
    for _ in 0..100 {
        now = endpoint.deadline().unwrap();
        assert_eq!(endpoint.due(now), Due::Probe);
        assert_eq!(endpoint.probe(0, now).seq, ack.wrapping_sub(1));
        // As long as it is answered, it may stay closed.
        endpoint.receive(&closed, now);
    }
    endpoint.receive(&segment(seq, ack, Flags::ACK, &[]), now);
    assert_eq!(endpoint.usable(), 128_000);
    now = endpoint.deadline().unwrap();
    assert_eq!(endpoint.due(now), Due::Nothing);
}

#[test]
fn a_window_that_reads_as_less_than_a_segment_is_opened() {
    let now = Instant::now();
    let mut endpoint = Endpoint::passive(&segment(THEIRS, 0, Flags::SYN, &[]), OURS, 65_480);
    endpoint.syn(60_000, 65_480, now);
    endpoint.receive(&segment(THEIRS.wrapping_add(1), OURS + 1, Flags::ACK, &[]), now);
    // In steps of 128 bytes that is 65,408: nobody sends 65,480 into it, and nothing else would be heard of.
    assert_eq!(endpoint.acknowledgement(65_500).window, 511);
    assert!(!endpoint.owes_answer(65_500) && endpoint.owes_answer(1 << 20));
    assert_eq!(endpoint.acknowledgement(65_536).window, 512);
    assert!(!endpoint.owes_answer(1 << 20));
}

#[test]
fn only_a_reset_with_the_next_number_counts() {
    let now = Instant::now();
    let mut endpoint = open(now);
    let (seq, ack) = next(&mut endpoint);
    let reset = |seq| segment(seq, ack, Flags::RST, &[]);
    let guessed = endpoint.receive(&reset(seq.wrapping_add(100)), now);
    assert_eq!((guessed.reset, guessed.answer), (false, true));
    let far = endpoint.receive(&reset(seq.wrapping_add(1 << 30)), now);
    assert_eq!((far.reset, far.answer), (false, false));
    // Whoever has sent more than was taken resets at the edge of the window.
    let edge = endpoint.receive(&reset(seq.wrapping_add(1 << 20)), now);
    assert_eq!((edge.reset, edge.answer), (false, true));
    let beyond = endpoint.receive(&reset(seq.wrapping_add((1 << 20) + 1)), now);
    assert_eq!((beyond.reset, beyond.answer), (false, false));
    assert!(endpoint.receive(&reset(seq), now).reset);
    // A SYN in the midst of it, and an answer to what was never sent, are answered and nothing else.
    for strange in
        [segment(seq, ack, Flags::SYN, b"x"), segment(seq, ack.wrapping_add(9), Flags::ACK, b"x")]
    {
        let received = endpoint.receive(&strange, now);
        assert_eq!(received, Received { answer: true, ..Received::default() });
    }
}

#[test]
fn both_ends_close_in_any_order() {
    let now = Instant::now();
    for ours_first in [true, false] {
        let mut endpoint = open(now);
        let (seq, ack) = next(&mut endpoint);
        let fin = segment(seq, ack, Flags::FIN.and(Flags::ACK), &[]);
        if ours_first {
            endpoint.sent_fin(now);
        }
        assert!(endpoint.receive(&fin, now).fin);
        endpoint.take_fin();
        if !ours_first {
            endpoint.sent_fin(now);
        }
        assert!(!endpoint.is_finished() && endpoint.in_flight() == 0);
        let last = endpoint
            .receive(&segment(seq.wrapping_add(1), ack.wrapping_add(1), Flags::ACK, &[]), now);
        assert_eq!(last.acknowledged, 0);
        assert!(endpoint.is_finished() && endpoint.deadline().is_none());
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_or_count_wrong(
        packets in proptest::collection::vec((any::<u8>(), -70_000i32..70_000, -70_000i32..70_000, 0u8..32, any::<u16>(), 0usize..300), 1..60),
    ) {
        let mut now = Instant::now();
        let mut endpoint = open(now);
        let mut kept = 0usize;
        let bytes = [7; 300];
        for (step, seq, ack, flags, window, length) in packets {
            let (their, our) = next(&mut endpoint);
            let packet = Segment {
                window,
                ..segment(their.wrapping_add_signed(seq * i32::from(step & 1)), our.wrapping_add_signed(ack * i32::from(step >> 1 & 1)), Flags(flags), &bytes[..length])
            };
            let received = endpoint.receive(&packet, now);
            prop_assert!(received.acknowledged <= kept, "{} of {kept}", received.acknowledged);
            kept -= received.acknowledged;
            prop_assert!(received.skip + received.take <= length);
            endpoint.take(received.take);
            if received.fin {
                endpoint.take_fin();
            }
            if step & 4 != 0 && !endpoint.has_our_fin() {
                let size = endpoint.usable().min(usize::from(step));
                endpoint.sent(size, now);
                kept += size;
            }
            if step & 0x38 == 0x38 && !endpoint.has_our_fin() {
                endpoint.sent_fin(now);
            }
            prop_assert_eq!(endpoint.in_flight(), kept);
            now += Duration::from_millis(u64::from(step));
            endpoint.due(now);
        }
    }
}

/// After our SYN.
fn asking(now: Instant) -> Endpoint {
    let mut endpoint = Endpoint::active(OURS, 65_480);
    let syn = endpoint.syn(1 << 20, 65_480, now);
    assert_eq!((syn.seq, syn.ack, syn.flags), (OURS, 0, Flags::SYN));
    assert!(!endpoint.is_open() && !endpoint.owes_answer(1 << 20) && endpoint.usable() == 0);
    endpoint
}

#[test]
fn a_connection_that_we_ask_for_stands_with_its_answer() {
    let now = Instant::now();
    let mut endpoint = asking(now);
    let answer =
        Segment { mss: Some(1000), ..segment(THEIRS, OURS + 1, Flags::SYN.and(Flags::ACK), &[]) };
    let received = endpoint.receive(&answer, now);
    assert_eq!(received, Received { answer: true, ..Received::default() });
    assert!(endpoint.is_open() && endpoint.deadline().is_none());
    // The window of a SYN is not scaled; later ones are.
    assert_eq!((endpoint.usable(), endpoint.mss()), (1000, 1000));
    let acknowledgement = endpoint.acknowledgement(1 << 20);
    let (seq, ack) = (OURS + 1, THEIRS.wrapping_add(1));
    assert_eq!((acknowledgement.seq, acknowledgement.ack), (seq, ack));
    assert_eq!(acknowledgement.window, 8192);
    let bytes = endpoint.receive(&segment(ack, seq, Flags::ACK, b"hello"), now);
    assert_eq!((bytes.take, endpoint.usable()), (5, 128_000));
}

#[test]
fn a_refusal_counts_and_what_is_of_another_connection_does_not() {
    let now = Instant::now();
    let mut endpoint = asking(now);
    let rst = Flags::RST.and(Flags::ACK);
    for (seq, ack, flags, stray) in [
        (0, OURS, rst, false),
        (0, OURS + 2, rst, false),
        (THEIRS, 0, Flags::RST, false),
        (THEIRS, 0, Flags::SYN, false),
        (THEIRS, OURS, Flags::ACK, true),
        (THEIRS, OURS + 9, Flags::SYN.and(Flags::ACK), true),
        (THEIRS, OURS + 1, Flags::ACK, false),
    ] {
        let received = endpoint.receive(&segment(seq, ack, flags, b"x"), now);
        assert_eq!(received, Received { stray, ..Received::default() }, "{seq} {ack} {flags:?}");
    }
    assert!(endpoint.receive(&segment(0, OURS + 1, rst, &[]), now).reset);
}

#[test]
fn a_connection_that_nobody_answers_is_given_up() {
    let mut now = Instant::now();
    let mut endpoint = asking(now);
    for _ in 0..ATTEMPTS {
        now = endpoint.deadline().unwrap();
        assert_eq!(endpoint.due(now), Due::Resend);
    }
    assert_eq!(endpoint.due(endpoint.deadline().unwrap()), Due::Lost);
}
