//! What a lane lets through, and in which order.

use std::net::IpAddr;

use super::*;
use proptest::prelude::*;

const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 2));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 3));

/// Flows of members that want to move pieces of a size all the time, for a span: what each moved.
fn contend(rate: u64, flows: &[(IpAddr, usize)], span: Duration) -> Vec<usize> {
    let begin = Instant::now();
    let mut lane = Lane::new(rate, begin);
    let mut shares: Vec<Share> = flows.iter().map(|_| Share::default()).collect();
    let mut moved = vec![0; flows.len()];
    for (flow, share) in (0..).zip(&mut shares) {
        share.want();
        assert!(share.lines_up());
        lane.join(flow, flows[usize::try_from(flow).unwrap()].0);
    }
    let mut now = begin;
    while now < begin + span {
        while let Some(turn) = lane.next(now) {
            let at = usize::try_from(turn.flow).unwrap();
            let quantum = lane.quantum();
            let share = &mut shares[at];
            share.begin(quantum);
            while share.room(0) > 0 {
                share.spend(flows[at].1);
                lane.spend(flows[at].1);
                moved[at] += flows[at].1;
            }
            assert!(share.end(turn.was_fresh));
            lane.again(turn);
        }
        now = lane.deadline().unwrap();
    }
    moved
}

/// All turns that there are now, each of so many bytes.
fn turns(lane: &mut Lane, now: Instant, bytes: usize) -> Vec<Turn> {
    let next = || lane.next(now).inspect(|_| lane.spend(bytes));
    std::iter::from_fn(next).collect()
}

/// Flows that had turns already.
fn bulk(lane: &mut Lane, flows: std::ops::RangeInclusive<u64>, now: Instant) {
    let count = flows.clone().count();
    flows.for_each(|flow| lane.join(flow, ONE));
    let turns: Vec<Turn> = (0..count).map(|_| lane.next(now).unwrap()).collect();
    for turn in &turns {
        lane.again(*turn);
    }
    // The next is one that was idle, where there is one.
    lane.was_nobody(Turn { was_fresh: true, ..turns[0] });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whoever_sends_what_gets_the_same_share_of_the_whole_rate(
        rate in 1_000_000_u64..1_000_000_000,
        sizes in proptest::collection::vec(29_usize..65_536, 1..12),
    ) {
        let span = Duration::from_secs(20);
        let flows: Vec<_> = sizes.iter().map(|size| (ONE, *size)).collect();
        let moved = contend(rate, &flows, span);
        let (all, most) = (moved.iter().sum::<usize>(), bytes_in(rate, span));
        let slack = bytes_in(rate, BURST) + 2 * PACKET + 0x1_0000 + 65_536;
        prop_assert!(all <= most + slack, "{all} {most}");
        prop_assert!(all + slack >= most, "{all} {most}");
        let fair = all / sizes.len();
        for (moved, size) in moved.iter().zip(&sizes) {
            prop_assert!(moved.abs_diff(fair) <= 2 * size + 0x2_0000 + fair / 50, "{moved} of {fair}");
        }
    }

    #[test]
    fn each_member_gets_the_same_share_by_however_many_flows(
        rate in 1_000_000_u64..1_000_000_000,
        members in proptest::collection::vec((1_usize..60, 29_usize..65_536), 1..6),
    ) {
        let span = Duration::from_secs(20);
        let address = |who: usize| IpAddr::from([10, 9, 0, u8::try_from(who).unwrap() + 2]);
        let each = members.iter().enumerate();
        let flows: Vec<(IpAddr, usize)> =
            each.flat_map(|(who, (count, size))| vec![(address(who), *size); *count]).collect();
        let moved = contend(rate, &flows, span);
        let fair = moved.iter().sum::<usize>() / members.len();
        for (who, (_, size)) in members.iter().enumerate() {
            let its = flows.iter().zip(&moved).filter(|((whose, _), _)| *whose == address(who));
            let its: usize = its.map(|(_, moved)| moved).sum();
            prop_assert!(its.abs_diff(fair) <= 2 * size + 0x2_0000 + fair / 50, "{its} of {fair}");
        }
    }
}

#[test]
fn members_take_turns_however_many_flows_they_have() {
    let now = Instant::now();
    let mut lane = Lane::new(1_000_000_000, now);
    (0..100).for_each(|flow| lane.join(flow, ONE));
    lane.join(100, OTHER);
    let mut whose = Vec::new();
    for _ in 0..12 {
        let turn = lane.next(now).unwrap();
        lane.spend(lane.quantum());
        whose.push(turn.member);
        lane.again(turn);
    }
    // Once both had a first one.
    let (_, rest) = whose.split_at(4);
    assert!(rest.windows(2).all(|two| two[0] != two[1]), "{whose:?}");
    // Who moves little has as many as it takes for the same.
    lane.join(101, OTHER);
    let small = std::iter::from_fn(|| {
        let turn = lane.next(now)?;
        lane.spend(if turn.member == OTHER { lane.quantum() / 4 } else { lane.quantum() });
        lane.again(turn);
        Some(turn.member)
    });
    let small: Vec<_> = small.take(20).collect();
    assert_eq!(small.iter().filter(|member| **member == OTHER).count(), 16, "{small:?}");
}

#[test]
fn who_sends_by_a_new_flow_each_time_has_no_more_than_its_part() {
    let begin = Instant::now();
    let mut lane = Lane::new(8_000_000, begin);
    let (mut now, mut large, mut usual) = (begin, 0_usize, 0_usize);
    lane.join(0, OTHER);
    for flow in 1..200_000 {
        if large + usual > 20_000_000 {
            break;
        }
        // A datagram of the largest size, whose flow is never seen again.
        lane.join(flow, ONE);
        while let Some(turn) = lane.next(now) {
            if turn.member == ONE {
                lane.spend(65_535);
                large += 65_535;
            } else {
                lane.spend(1500);
                usual += 1500;
                lane.again(turn);
            }
        }
        now += Duration::from_millis(10);
    }
    assert!(large.abs_diff(usual) < 1_000_000, "{large} {usual}");
}

#[test]
fn members_that_nobody_knows_share_what_one_has_and_are_forgotten() {
    let now = Instant::now();
    let mut lane = Lane::new(1_000_000_000, now);
    for number in 0..5000_u32 {
        lane.join(number.into(), IpAddr::V4((0x0a09_0000 + number).into()));
    }
    assert_eq!((lane.len(), lane.members()), (5000, 1025));
    assert_eq!(turns(&mut lane, now, 40).len(), 5000);
    assert!(lane.is_empty());
    lane.retain(|_| true);
    // The one whose turn has begun.
    assert_eq!(lane.members(), 1);
}

#[test]
fn who_was_idle_comes_first_once_and_then_waits_as_everybody() {
    let now = Instant::now();
    let mut lane = Lane::new(1_000_000, now);
    bulk(&mut lane, 1..=8, now);
    lane.join(100, ONE);
    lane.join(101, ONE);
    let order = std::iter::from_fn(|| lane.next(now)).take(5);
    let order: Vec<_> = order.map(|turn| (turn.flow, turn.was_fresh)).collect();
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
    bulk(&mut lane, 2..=2, now);
    for gone in 100..200 {
        lane.join(gone, ONE);
    }
    lane.join(1, ONE);
    let mut order = Vec::new();
    while let Some(turn) = lane.next(now) {
        if turn.flow >= 100 {
            lane.was_nobody(turn);
        } else {
            order.push(turn.flow);
        }
    }
    assert_eq!(order, [1, 2]);
    (0..10).for_each(|flow| lane.join(flow, ONE));
    lane.retain(|flow| flow % 2 == 0);
    assert_eq!(lane.len(), 5);
}

#[test]
fn a_flood_of_what_is_small_leaves_half_to_those_in_the_line() {
    let begin = Instant::now();
    let mut lane = Lane::new(1_000_000, begin);
    let (mut small, mut turns, mut now) = (0, 0, begin);
    lane.join(1, ONE);
    while now < begin + Duration::from_secs(20) {
        while lane.may_pass(now) {
            lane.spend_aside(180);
            small += 180;
        }
        while let Some(turn) = lane.next(now) {
            lane.spend(1500);
            turns += 1500;
            lane.again(turn);
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
    lane.join(1, ONE);
    lane.owe(5_000_000);
    let (mut turns, mut now) = (0, begin);
    let mut pass = |lane: &mut Lane, seconds| {
        let until = now + Duration::from_secs(seconds);
        let before = turns;
        while now < until {
            while let Some(turn) = lane.next(now) {
                lane.spend(1500);
                turns += 1500;
                lane.again(turn);
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
