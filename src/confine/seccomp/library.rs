//! Docker's policies, through libseccomp: how rules for one call are put together is its language.
//!
//! # Theory of operation
//! The rules that hold for this run are added as runc adds them, libseccomp writes the program, and
//! our floor goes before it. The floor has answered the numbers without a name and, where the file
//! does not list the 32-bit architecture, its calls; so libseccomp's own answer to a foreign
//! architecture is never reached by them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use libseccomp::error::SeccompError as LibraryError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use rustix::fs::{MemfdFlags, memfd_create};

use super::builtin::{NATIVE, floor};
use super::{Program, SeccompError};
use crate::plan::seccomp::{
    Arch, Denial, Following, LowerError, SyscallTables, emit_before, from_bytes, lower_floor,
    to_bytes, verify,
};
use crate::spec::seccomp::{
    Abi32, Action, Call, Comparison, Errno, Nesting, Notifications, Operator, Policy,
    PolicyVariant, Rule,
};

/// libseccomp's binary tree of numbers, instead of a list.
const TREE: u32 = 2;

pub(super) fn compile(
    policy: &Policy,
    variant: PolicyVariant,
    tables: &SyscallTables,
) -> Result<Program, SeccompError> {
    let name = || policy.name.clone();
    let wrong = |source| SeccompError::Policy { name: name(), source };
    let following = Following { policy, is_known: &is_known };
    let lowered = lower_floor(&floor()?, &following, &variant, tables, NATIVE).map_err(wrong)?;
    let filter = filter(policy, &variant)
        .map_err(|source| SeccompError::Library { name: name(), source })?;
    let exported =
        export(&filter).map_err(|source| SeccompError::Export { name: name(), source })?;
    let program = |source| SeccompError::Program { name: name(), source };
    let code = emit_before(&lowered, &from_bytes(&exported).map_err(program)?);
    verify(&code).map_err(program)?;
    let denials = denials(policy, &variant, tables).map_err(wrong)?;
    Ok(Program {
        bytes: Cow::Owned(to_bytes(&code)),
        denials: Cow::Owned(denials),
        unknown_names: lowered.unknown_names,
    })
}

/// Whether libseccomp has a name. What only we know is decided before its program.
fn is_known(name: &str) -> bool {
    ScmpSyscall::from_name(name).is_ok()
}

fn heard(action: Action, variant: &PolicyVariant) -> Action {
    let listening = variant.notify == Notifications::On && variant.nesting == Nesting::Refuse;
    if listening { action } else { action.unheard() }
}

fn filter(policy: &Policy, variant: &PolicyVariant) -> Result<ScmpFilterContext, LibraryError> {
    let default = heard(policy.default, variant);
    let mut filter = ScmpFilterContext::new(library_action(default))?;
    filter.set_ctl_optimize(TREE)?;
    filter.set_act_badarch(ScmpAction::Errno(Errno::ENOSYS.number().into()))?;
    if policy.abi32 == Abi32::Allow {
        filter.add_arch(match NATIVE {
            Arch::X86_64 | Arch::X86 => ScmpArch::X86,
            Arch::Aarch64 | Arch::Arm => ScmpArch::Arm,
        })?;
    }
    for rule in policy.rules.iter().filter(|rule| rule.only.hold(variant, NATIVE.docker_name())) {
        // As runc: libseccomp refuses a rule that says what is the default.
        let action = heard(rule.action, variant);
        if action != default {
            add(&mut filter, rule, action)?;
        }
    }
    Ok(filter)
}

fn add(filter: &mut ScmpFilterContext, rule: &Rule, action: Action) -> Result<(), LibraryError> {
    let args: Vec<ScmpArgCompare> = rule.args.iter().copied().map(library_comparison).collect();
    for call in &rule.calls {
        let syscall = match call {
            Call::Number(number) => ScmpSyscall::from(number.cast_signed()),
            Call::Name(name) => match ScmpSyscall::from_name(name) {
                Ok(syscall) => syscall,
                Err(_) => continue,
            },
        };
        if args.is_empty() {
            filter.add_rule(library_action(action), syscall)?;
        } else {
            filter.add_rule_conditional(library_action(action), syscall, &args)?;
        }
    }
    Ok(())
}

fn export(filter: &ScmpFilterContext) -> io::Result<Vec<u8>> {
    let mut file = File::from(memfd_create("seccomp", MemfdFlags::CLOEXEC)?);
    filter.export_bpf(&file).map_err(io::Error::other)?;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn library_action(action: Action) -> ScmpAction {
    match action {
        Action::Allow => ScmpAction::Allow,
        Action::Errno(errno) => ScmpAction::Errno(errno.number().into()),
        Action::Notify(_) => ScmpAction::Notify,
        Action::Trap => ScmpAction::Trap,
        Action::Log => ScmpAction::Log,
        Action::KillThread => ScmpAction::KillThread,
        Action::KillProcess => ScmpAction::KillProcess,
    }
}

fn library_comparison(comparison: Comparison) -> ScmpArgCompare {
    let operator = match comparison.operator() {
        Operator::Equal if comparison.mask() == u64::MAX => ScmpCompareOp::Equal,
        Operator::Equal => ScmpCompareOp::MaskedEqual(comparison.mask()),
        Operator::NotEqual => ScmpCompareOp::NotEqual,
        Operator::Less => ScmpCompareOp::Less,
        Operator::LessOrEqual => ScmpCompareOp::LessOrEqual,
        Operator::Greater => ScmpCompareOp::Greater,
        Operator::GreaterOrEqual => ScmpCompareOp::GreaterEqual,
    };
    let argument = u32::from(comparison.argument().index());
    ScmpArgCompare::new(argument, operator, comparison.value())
}

/// One errno per call: the supervisor answers from the number alone.
fn denials(
    policy: &Policy,
    variant: &PolicyVariant,
    tables: &SyscallTables,
) -> Result<Vec<Denial>, LowerError> {
    let mut found: BTreeMap<(Arch, u32), Errno> = BTreeMap::new();
    let compat = NATIVE.compat().filter(|_| policy.abi32 == Abi32::Allow);
    for arch in std::iter::once(NATIVE).chain(compat) {
        let table = tables.of(arch).ok_or(LowerError::NoTable(arch))?;
        let holds = |rule: &&Rule| rule.only.hold(variant, NATIVE.docker_name());
        for rule in policy.rules.iter().filter(holds) {
            let Action::Notify(errno) = heard(rule.action, variant) else { continue };
            for call in &rule.calls {
                let Call::Name(name) = call else { continue };
                let Some(number) = table.number(name) else { continue };
                let before = found.insert((arch, number), errno);
                if let Some(other) = before.filter(|before| *before != errno) {
                    let name = name.clone();
                    return Err(LowerError::TwoErrnos { name, one: other, other: errno });
                }
            }
        }
        if let Action::Notify(errno) = heard(policy.default, variant) {
            table.numbers().for_each(|number| {
                found.entry((arch, number)).or_insert(errno);
            });
        }
    }
    Ok(found.into_iter().map(|((arch, number), errno)| Denial { arch, number, errno }).collect())
}
