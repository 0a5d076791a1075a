//! What a lane lets through, and in which order.

use super::*;
use proptest::prelude::*;

/// Flows that want to move pieces of a size all the time, for a span: what each moved.
fn contend(rate: u64, sizes: &[usize], span: Duration) -> Vec<usize> {
    let begin = Instant::now();
    let mut lane = Lane::new(rate, begin);
    let mut shares: Vec<Share> = sizes.iter().map(|_| Share::default()).collect();
    let mut moved = vec![0; sizes.len()];
    for (flow, share) in (0..).zip(&mut shares) {
        share.want();
        assert!(share.lines_up());
        lane.join(flow);
    }
    let mut now = begin;
    while now < begin + span {
        while let Some((flow, was_fresh)) = lane.next(now) {
            let at = usize::try_from(flow).unwrap();
            let quantum = lane.quantum();
            let share = &mut shares[at];
            share.begin(quantum);
            while share.room(0) > 0 {
                share.spend(sizes[at]);
                lane.spend(sizes[at]);
                moved[at] += sizes[at];
            }
            assert!(share.end(was_fresh));
            lane.again(flow);
        }
        now = lane.deadline().unwrap();
    }
    moved
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whoever_sends_what_gets_the_same_share_of_the_whole_rate(
        rate in 1_000_000_u64..1_000_000_000,
        sizes in proptest::collection::vec(29_usize..65_536, 1..12),
    ) {
        let span = Duration::from_secs(20);
        let moved = contend(rate, &sizes, span);
        let (all, most) = (moved.iter().sum::<usize>(), bytes_in(rate, span));
        let slack = bytes_in(rate, BURST) + 2 * PACKET + 0x1_0000 + 65_536;
        prop_assert!(all <= most + slack, "{all} {most}");
        prop_assert!(all + slack >= most, "{all} {most}");
        let fair = all / sizes.len();
        for (moved, size) in moved.iter().zip(&sizes) {
            prop_assert!(moved.abs_diff(fair) <= 2 * size + 0x2_0000 + fair / 50, "{moved} of {fair}");
        }
    }
}

#[test]
fn who_was_idle_comes_first_once_and_then_waits_as_everybody() {
    let now = Instant::now();
    let mut lane = Lane::new(1_000_000, now);
    for bulk in 1..=8 {
        lane.again(bulk);
    }
    lane.join(100);
    lane.join(101);
    let order: Vec<_> = std::iter::from_fn(|| lane.next(now)).take(5).collect();
    assert_eq!(order, [(100, true), (1, false), (101, true), (2, false), (3, false)]);
    // Its turn used or not, it stands behind the others once.
    let mut share = Share::default();
    share.want();
    assert!(share.lines_up() && !share.lines_up());
    share.begin(1500);
    assert!(share.end(true) && !share.lines_up());
    share.begin(1500);
    assert!(!share.end(false));
    share.want();
    assert!(share.lines_up());
}

#[test]
fn an_overdrawn_share_is_paid_before_it_moves_again() {
    let mut share = Share::default();
    share.begin(1500);
    share.spend(4000);
    assert!(share.end(false));
    share.begin(1500);
    assert_eq!(share.room(0), 0);
    share.end(false);
    share.begin(1500);
    assert_eq!(share.room(40), 460);
}

#[test]
fn queues_are_short_and_their_bytes_come_back() {
    let mut pace = Pace::new(Rate { down: 16_000, up: 100_000_000 }, Instant::now());
    let mut queues: Vec<Queue> = (0..100).map(|_| Queue::default()).collect();
    for queue in &mut queues {
        for _ in 0..1000 {
            queue.push(0, &[0; 1000], &mut pace);
        }
        assert!(queue.bytes <= QUEUE);
    }
    assert!(pace.queued <= QUEUES && pace.queued > QUEUES / 2);
    let queue = &mut queues[0];
    assert!(queue.pop(&mut pace).is_none());
    queue.shares.of(Direction::Up).begin(1500);
    assert!(queue.pop(&mut pace).is_some() && queue.pop(&mut pace).is_some());
    assert!(queue.pop(&mut pace).is_none());
    for queue in &mut queues {
        queue.clear(&mut pace);
    }
    assert_eq!(pace.queued, 0);
}

#[test]
fn what_is_small_passes_out_of_turn_up_to_a_bound() {
    let begin = Instant::now();
    let mut lane = Lane::new(1_000_000, begin);
    let flood = |lane: &mut Lane, now| {
        std::iter::from_fn(|| lane.may_pass(now).then(|| lane.spend_aside(60))).count() * 60
    };
    let first = flood(&mut lane, begin);
    assert!((65_000..80_000).contains(&first), "{first}");
    let second = flood(&mut lane, begin + Duration::from_millis(400));
    assert!((24_900..25_200).contains(&second), "{second}");
}

#[test]
fn a_slow_rate_does_not_keep_datagrams_for_long_but_takes_the_largest() {
    let mut pace = Pace::new(Rate { down: 16_000, up: 160_000 }, Instant::now());
    let mut queue = Queue::default();
    for _ in 0..1000 {
        queue.push(0, &[0; 172], &mut pace);
    }
    // A quarter of a second.
    assert_eq!((queue.bytes, queue.held.len()), (5000, 25));
    queue.clear(&mut pace);
    queue.push(0, &vec![0; 65_000], &mut pace);
    queue.push(0, &[0; 1], &mut pace);
    assert_eq!((queue.bytes, queue.held.len()), (65_028, 1));
}

#[test]
fn long_answers_hold_back_the_next_question() {
    let begin = Instant::now();
    let mut pace = Pace::new(Rate { down: 1_000_000, up: 100_000_000 }, begin);
    let (mut answered, mut now) = (0, begin);
    while now < begin + Duration::from_mins(1) {
        while pace.up.may_pass(now) {
            pace.named((60, 4000));
            answered += 4000;
        }
        now += Duration::from_millis(1);
    }
    // Half a minute of it, and what may be owed.
    assert!((3_600_000..3_900_000).contains(&answered), "{answered}");
}

#[test]
fn who_is_gone_has_no_turn_and_takes_none_away() {
    let now = Instant::now();
    let mut lane = Lane::new(1_000_000, now);
    for gone in 100..200 {
        lane.join(gone);
    }
    lane.join(1);
    lane.again(2);
    let mut order = Vec::new();
    while let Some((flow, was_fresh)) = lane.next(now) {
        if flow >= 100 {
            lane.was_nobody(was_fresh);
        } else {
            order.push(flow);
        }
    }
    assert_eq!(order, [1, 2]);
    (0..10).for_each(|flow| lane.join(flow));
    lane.retain(|flow| flow % 2 == 0);
    assert_eq!(lane.len(), 5);
}

#[test]
fn a_flood_of_what_is_small_leaves_half_to_those_in_the_line() {
    let begin = Instant::now();
    let mut lane = Lane::new(1_000_000, begin);
    let (mut small, mut turns, mut now) = (0, 0, begin);
    lane.again(1);
    while now < begin + Duration::from_secs(20) {
        while lane.may_pass(now) {
            lane.spend_aside(180);
            small += 180;
        }
        while let Some((flow, _)) = lane.next(now) {
            lane.spend(1500);
            turns += 1500;
            lane.again(flow);
        }
        now += Duration::from_millis(1);
    }
    assert!((1_150_000..1_330_000).contains(&turns), "{turns}");
    assert!((1_250_000..1_350_000).contains(&small), "{small}");
}

#[test]
fn what_is_owed_is_paid_by_half_the_rate_and_turns_have_the_other() {
    let begin = Instant::now();
    let mut lane = Lane::new(1_000_000, begin);
    lane.again(1);
    lane.owe(5_000_000);
    let (mut turns, mut now) = (0, begin);
    let mut pass = |lane: &mut Lane, seconds| {
        let until = now + Duration::from_secs(seconds);
        let before = turns;
        while now < until {
            while let Some((flow, _)) = lane.next(now) {
                lane.spend(1500);
                turns += 1500;
                lane.again(flow);
            }
            now += Duration::from_millis(1);
        }
        (turns - before, lane.may_pass(now))
    };
    let (turns, may) = pass(&mut lane, 20);
    assert!((1_150_000..1_260_000).contains(&turns) && !may, "{turns}");
    // Paid after 80 seconds.
    let (_, may) = pass(&mut lane, 62);
    assert!(may);
    let (turns, _) = pass(&mut lane, 20);
    assert!((2_490_000..2_510_000).contains(&turns), "{turns}");
}
