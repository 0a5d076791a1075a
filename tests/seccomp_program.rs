//! Compiled filters, interpreted: against the policy they were made of, and against libseccomp.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "seccomp/mod.rs"]
mod common;

use std::collections::HashMap;

use bryo::confine::seccomp::{builtin, compile};
use bryo::plan::seccomp::{Arch, SyscallTables, emit, lower, return_value};
use bryo::spec::seccomp::{
    Abi32, Action, Call, Comparison, Errno, Nesting, Notifications, Policy, PolicyVariant, Rule,
    docker, file,
};

use common::{Data, all_variants, code_of, compiled, interesting, interpret, numbers, tables};

const NATIVE: Arch = if cfg!(target_arch = "x86_64") { Arch::X86_64 } else { Arch::Aarch64 };

/// All built-in policies but the floor, which is never alone.
const BUILTIN: [&str; 8] =
    ["default", "default-32", "strict", "init", "fuse", "netstack", "holder", "attributes"];

/// What a policy of ours says, word by word: the other implementation.
struct Said<'a> {
    policy: &'a Policy,
    variant: PolicyVariant,
    tables: &'a SyscallTables,
    native: Arch,
    /// The rules of this run that name a call, in order.
    rules: HashMap<&'a str, Vec<&'a Rule>>,
}

impl<'a> Said<'a> {
    fn new(
        policy: &'a Policy,
        variant: PolicyVariant,
        tables: &'a SyscallTables,
        native: Arch,
    ) -> Self {
        let mut rules: HashMap<&str, Vec<&Rule>> = HashMap::new();
        for rule in
            policy.rules.iter().filter(|rule| rule.only.hold(&variant, native.docker_name()))
        {
            for call in &rule.calls {
                if let Call::Name(name) = call {
                    rules.entry(name).or_default().push(rule);
                }
            }
        }
        Self { policy, variant, tables, native, rules }
    }

    fn heard(&self, action: Action) -> Action {
        match (self.variant.notify, self.variant.nesting) {
            (Notifications::On, Nesting::Refuse) => action,
            _ => action.unheard(),
        }
    }

    fn about(&self, data: &Data) -> Action {
        let arch = match (Arch::from_token(data.arch), self.policy.abi32) {
            (Some(arch), _) if arch == self.native => arch,
            (Some(arch), Abi32::Allow) if self.native.compat() == Some(arch) => arch,
            (_, Abi32::Refuse) => return self.heard(Action::Notify(Errno::ENOSYS)),
            (_, Abi32::Allow | Abi32::Kill) => return Action::KillProcess,
        };
        if data.number == u32::MAX && matches!(self.policy.unknown, Action::Errno(_)) {
            return Action::Allow;
        }
        let name = self.tables.of(arch).unwrap().name(data.number);
        let Some(name) = name else { return self.policy.unknown };
        let argument = |one: &Comparison| data.args[usize::from(one.argument().index())];
        let holds = |rule: &&&Rule| rule.args.iter().all(|one| one.holds(argument(one)));
        let rule = self.rules.get(name).and_then(|rules| rules.iter().find(holds));
        self.heard(rule.map_or(self.policy.default, |rule| rule.action))
    }
}

/// Every pair of interesting arguments at two places, the others 0.
fn argument_sets() -> Vec<[u64; 6]> {
    let mut sets = vec![[0; 6]];
    for first in 0..4 {
        for second in first + 1..4 {
            for a in interesting(first) {
                for b in interesting(second) {
                    let mut args = [0; 6];
                    args[first] = a;
                    args[second] = b;
                    sets.push(args);
                }
            }
        }
    }
    sets
}

/// Numbers of calls with a comparison, in either architecture.
fn compared(policy: &Policy, tables: &SyscallTables, arch: Arch) -> Vec<u32> {
    let names =
        policy.rules.iter().filter(|rule| !rule.args.is_empty()).flat_map(|rule| &rule.calls);
    let number = |call: &Call| match call {
        Call::Name(name) => tables.of(arch).unwrap().number(name),
        Call::Number(number) => Some(*number),
    };
    let mut found: Vec<u32> = names.filter_map(number).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn agree_everywhere(native: Arch, name: &str, variant: PolicyVariant, sets: &[[u64; 6]]) {
    let tables = tables();
    let policy = file::builtin(name).unwrap().unwrap();
    let code = emit(&lower(&policy, &variant, &tables, native).unwrap());
    let said = Said::new(&policy, variant, &tables, native);
    for arch in Arch::ALL.map(Arch::token).into_iter().chain([0, 0xc000_0015]) {
        let agrees = |data: Data| {
            let (value, _) = interpret(&code, &data);
            let wanted = said.about(&data);
            assert_eq!(value, return_value(wanted), "{name} {variant:?} {data:x?}: {wanted}");
        };
        for number in numbers() {
            agrees(Data { arch, number, args: [0; 6] });
            agrees(Data { arch, number, args: [u64::MAX; 6] });
        }
        let Some(known) = Arch::from_token(arch) else { continue };
        for number in compared(&policy, &tables, known) {
            for args in sets {
                agrees(Data { arch, number, args: *args });
            }
        }
    }
}

#[test]
fn every_built_in_program_says_what_its_policy_says() {
    let sets = argument_sets();
    for name in BUILTIN {
        agree_everywhere(NATIVE, name, PolicyVariant::default(), &sets);
        let few: Vec<[u64; 6]> = sets.iter().step_by(23).copied().collect();
        for variant in all_variants() {
            agree_everywhere(NATIVE, name, variant, &few);
        }
    }
}

#[test]
fn the_other_architecture_compiles_and_says_what_its_policy_says() {
    let other = if NATIVE == Arch::X86_64 { Arch::Aarch64 } else { Arch::X86_64 };
    let few: Vec<[u64; 6]> = argument_sets().into_iter().step_by(11).collect();
    for name in BUILTIN {
        agree_everywhere(other, name, PolicyVariant::default(), &few);
    }
}

#[test]
fn the_built_in_programs_are_what_compiling_gives_now() {
    for name in ["default", "strict", "init", "fuse", "netstack", "holder", "attributes"] {
        for variant in all_variants() {
            let kept = builtin(name, variant).unwrap();
            let now = compiled(name, variant);
            assert_eq!(kept, now, "{name} {variant:?}");
        }
    }
    assert_eq!(builtin("no-such-policy", PolicyVariant::default()), None);
}

#[test]
fn a_notified_call_is_answered_from_its_number_alone() {
    let policy = file::builtin("default").unwrap().unwrap();
    let (variant, tables) = (PolicyVariant::default(), tables());
    let program = builtin("default", variant).unwrap();
    let code = code_of(&program);
    let said = Said::new(&policy, variant, &tables, NATIVE);
    let mut notified = 0;
    for arch in [NATIVE, NATIVE.compat().unwrap()].map(Arch::token) {
        for number in numbers() {
            for args in
                [[0; 6], [1; 6], [u64::MAX; 6], [40, 0, 0, 0, 0, 0], [0, 0x5412, 0, 0, 0, 0]]
            {
                let data = Data { arch, number, args };
                if interpret(&code, &data).0 == 0x7fc0_0000 {
                    let wanted = said.about(&data);
                    assert_eq!(
                        wanted,
                        Action::Notify(program.errno_for(arch, number)),
                        "{data:x?}"
                    );
                    notified += 1;
                }
            }
        }
    }
    assert!(notified > 100, "{notified}");
}

#[test]
fn a_path_through_the_default_program_is_short() {
    let program = builtin("default", PolicyVariant::default()).unwrap();
    let code = code_of(&program);
    let longest = numbers()
        .into_iter()
        .map(|number| interpret(&code, &Data { arch: NATIVE.token(), number, args: [0; 6] }).1)
        .max();
    assert!(longest.unwrap() <= 24, "{longest:?} of {}", code.len());
    assert!(code.len() <= 160, "{}", code.len());
}

/// Policies that libseccomp can say too, in its own language.
fn docker_policies() -> Vec<(&'static str, String)> {
    let entry = |names: &str, action: &str, args: &str| {
        format!(r#"{{"names":[{names}],"action":"{action}","args":[{args}]}}"#)
    };
    let arg = |index: u32, value: u64, two: u64, op: &str| {
        format!(r#"{{"index":{index},"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{op}"}}"#)
    };
    let file = |default: &str, entries: &[String]| {
        format!(
            r#"{{"defaultAction":"{default}","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_AARCH64"],"syscalls":[{}]}}"#,
            entries.join(",")
        )
    };
    let allow = "SCMP_ACT_ALLOW";
    let mut policies = vec![
        ("nothing", file("SCMP_ACT_ERRNO", &[])),
        ("all", file(allow, &[])),
        ("some", file("SCMP_ACT_ERRNO", &[entry(r#""read","write","close""#, allow, "")])),
        (
            "two arguments",
            file(
                "SCMP_ACT_KILL_PROCESS",
                &[entry(
                    r#""socket""#,
                    allow,
                    &[arg(0, 0xffff_ffff, 16, "MASKED_EQ"), arg(2, 0, 0, "EQ")].join(","),
                )],
            ),
        ),
    ];
    for op in ["NE", "LT", "LE", "EQ", "GE", "GT"] {
        for value in [0, 1, 2, 0x5412, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, u64::MAX] {
            let rule = entry(r#""ioctl""#, allow, &arg(1, value, 0, op));
            policies.push((op, file("SCMP_ACT_ERRNO", &[rule])));
        }
    }
    for (mask, value) in [
        (0xffff_ffff, 0x5412),
        (0o6000, 0),
        (0x7e02_0000, 0),
        (0x1_0000_0f00, 0x1_0000_0100),
        (1 << 40, 1 << 40),
        (u64::MAX, 1),
    ] {
        let rule = entry(r#""ioctl""#, allow, &arg(1, mask, value, "MASKED_EQ"));
        policies.push(("masked", file("SCMP_ACT_ERRNO", &[rule])));
    }
    policies
}

/// The same policy read as one of ours: every rule is alone for its call, so merging is nothing.
#[test]
fn our_compiler_and_libseccomp_agree_where_both_can_say_a_policy() {
    let mut compared = 0;
    for (title, text) in docker_policies() {
        let merged = docker::parse(&text, title).unwrap();
        let first = Policy { matching: bryo::spec::seccomp::Matching::First, ..merged.clone() };
        let variant = PolicyVariant::default();
        let theirs = code_of(&compile(&merged, variant).unwrap());
        let ours = emit(&lower(&first, &variant, &tables(), NATIVE).unwrap());
        // What the floor refuses beside: not part of the comparison.
        let floor = |number: u32, args: &[u64; 6]| {
            number == 16 && matches!(args[1] & 0xffff_ffff, 0x5412 | 0x541c)
        };
        for number in numbers().into_iter().filter(|number| *number != u32::MAX) {
            let sets = if number == 16 || number == 41 { argument_sets() } else { vec![[0; 6]] };
            for args in sets.into_iter().filter(|args| !floor(number, args)) {
                let data = Data { arch: NATIVE.token(), number, args };
                assert_eq!(
                    interpret(&ours, &data).0,
                    interpret(&theirs, &data).0,
                    "{title}: {text} {data:x?}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 100_000, "{compared}");
}
