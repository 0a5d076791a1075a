//! Whatever a policy says, its program says too: random policies, interpreted around their own values.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "seccomp/mod.rs"]
mod common;

use bryo::plan::seccomp::{Arch, SyscallTables, emit, lower, return_value, verify};
use bryo::spec::seccomp::{
    Abi32, Action, Argument, Call, Comparison, Conditions, Errno, Matching, Operator, Policy,
    PolicyVariant, Rule,
};
use proptest::prelude::*;

use common::{Data, interpret, tables};

const OPERATORS: [Operator; 6] = [
    Operator::Equal,
    Operator::NotEqual,
    Operator::Less,
    Operator::LessOrEqual,
    Operator::Greater,
    Operator::GreaterOrEqual,
];

/// Values at which words, signs and masks turn.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => prop::sample::select(vec![
            0,
            1,
            2,
            0xff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            1 << 32,
            1 << 32 | 1,
            1 << 40,
            u64::MAX,
            u64::MAX - 1,
            u64::MAX << 32,
        ]),
        4 => any::<u64>(),
        1 => any::<u32>().prop_map(u64::from),
    ]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    // Often the same argument, and masks of one word: what the compiler leaves out loads for.
    let index = prop_oneof![3 => Just(0_u64), 1 => 0_u64..6];
    let one_word = vec![0xffff_ffff, 0xf0f0, 0b110, 0b1000, u64::MAX << 32, 0xf0f << 32, 1 << 63];
    let operator = prop_oneof![
        2 => prop::sample::select(OPERATORS[..2].to_vec()),
        1 => prop::sample::select(OPERATORS.to_vec()),
    ];
    let mask = prop_oneof![3 => prop::sample::select(one_word), 1 => value()];
    (index, operator, mask, value()).prop_map(|(index, operator, mask, value)| {
        let argument = Argument::new(index).unwrap();
        let masked = matches!(operator, Operator::Equal | Operator::NotEqual);
        let mask = if masked { mask } else { u64::MAX };
        Comparison::new(argument, mask, operator, value & mask).unwrap()
    })
}

fn action() -> impl Strategy<Value = Action> {
    let errno = |number| Action::Errno(Errno::new(number).unwrap());
    prop_oneof![
        Just(Action::Allow),
        Just(Action::Notify(Errno::EPERM)),
        Just(Action::Log),
        Just(Action::Trap),
        Just(Action::KillThread),
        Just(Action::KillProcess),
        (1_u64..4096).prop_map(errno),
    ]
}

/// Rules with comparisons for any call, then for some calls one that always decides.
fn policy() -> impl Strategy<Value = Policy> {
    let few =
        prop::sample::select(vec![0_u32, 1, 7, 16, 41, 56, 257, 300, 334, 400, 435, 469, 600]);
    let number = prop_oneof![2 => few, 1 => 0_u32..470];
    let numbers = prop::collection::vec(number, 1..6);
    let args = prop_oneof![2 => prop::collection::vec(comparison(), 1), 1 => prop::collection::vec(comparison(), 1..4)];
    let checks = prop::collection::vec((numbers, args, action()), 0..60);
    let always = prop::collection::btree_map(0_u32..470, action(), 0..60);
    let abi32 = prop::sample::select(vec![Abi32::Allow, Abi32::Refuse, Abi32::Kill]);
    (checks, always, action(), action(), abi32).prop_map(
        |(checks, always, default, unknown, abi32)| {
            let rule = |calls: Vec<u32>, args, action| Rule {
                calls: calls.into_iter().map(Call::Number).collect(),
                args,
                only: Conditions::default(),
                action,
                reason: "random".to_owned(),
                inherited: false,
            };
            let checks = checks.into_iter().map(|(calls, args, action)| rule(calls, args, action));
            let always =
                always.into_iter().map(|(call, action)| rule(vec![call], Vec::new(), action));
            Policy {
                name: "random".to_owned(),
                default,
                unknown,
                abi32,
                matching: Matching::First,
                rules: checks.chain(always).collect(),
            }
        },
    )
}

/// What a policy that names calls by number says about a native call.
fn said(
    policy: &Policy,
    tables: &SyscallTables,
    native: Arch,
    number: u32,
    args: [u64; 6],
) -> Action {
    if number == u32::MAX && matches!(policy.unknown, Action::Errno(_)) {
        return Action::Allow;
    }
    let named = |rule: &&Rule| rule.calls.contains(&Call::Number(number));
    let holds = |rule: &&Rule| {
        rule.args.iter().all(|one| one.holds(args[usize::from(one.argument().index())]))
    };
    let mut naming = policy.rules.iter().filter(named).peekable();
    let known = naming.peek().is_some() || tables.of(native).unwrap().name(number).is_some();
    let otherwise = if known { policy.default } else { policy.unknown };
    naming.find(holds).map_or(otherwise, |rule| rule.action)
}

/// Arguments at, below and above the values that the policy compares with.
fn arguments(policy: &Policy) -> Vec<[u64; 6]> {
    let mut sets = vec![[0; 6], [u64::MAX; 6]];
    for rule in &policy.rules {
        let around: [fn(&Comparison) -> u64; 5] = [
            |one| one.value(),
            |one| one.value() | !one.mask(),
            |one| one.value().wrapping_add(1),
            |one| one.value().wrapping_sub(1),
            |one| one.value() ^ 1 << 32,
        ];
        for value in around {
            let mut args = [0x5555_5555_5555_5555; 6];
            for one in &rule.args {
                args[usize::from(one.argument().index())] = value(one);
            }
            sets.push(args);
        }
    }
    sets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_program_says_what_its_policy_says(policy in policy()) {
        let tables = tables();
        for native in [Arch::X86_64, Arch::Aarch64] {
            let lowered = lower(&policy, &PolicyVariant::default(), &tables, native).unwrap();
            let code = emit(&lowered);
            prop_assert_eq!(verify(&code), Ok(()));
            let sets = arguments(&policy);
            for number in (0..480).chain([600, 0x4000_0000, u32::MAX - 1, u32::MAX]) {
                let compared = policy.rules.iter().any(|rule| rule.calls.contains(&Call::Number(number)));
                let sets = if compared { &sets[..] } else { &sets[..1] };
                for args in sets.iter().copied() {
                    let data = Data { arch: native.token(), number, args };
                    let wanted = said(&policy, &tables, native, number, args);
                    prop_assert_eq!(interpret(&code, &data).0, return_value(wanted), "{:x?}", data);
                }
            }
        }
    }
}
