//! Landlock and seccomp, installed for real and looked at.

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
};
use rustix::fs::{CWD, Mode, OFlags};

use super::{Maps, Outcome, Subject, Teller, TrialError, in_child};
use crate::sys::clone::CloneFlags;
use crate::sys::errno::Errno;
use crate::sys::seccomp::{self, Instruction};
use crate::sys::{landlock as kernel_landlock, process};

/// How confinement went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// The ABI the kernel claims.
    pub landlock_abi: Result<u32, Errno>,
    /// A ruleset of that ABI; none when the child ended before.
    pub landlock: Option<Outcome>,
    /// A filter of system calls.
    pub seccomp: Option<Outcome>,
    /// One with a listener; `EBUSY` when another one listens already.
    pub listener: Option<Outcome>,
}

/// Classic BPF: `return SECCOMP_RET_ALLOW`.
const ALLOW_ALL: [Instruction; 1] =
    [Instruction { code: 0x06, jump_true: 0, jump_false: 0, operand: 0x7fff_0000 }];

/// Puts each on a child of its own: all of them are for ever.
pub fn try_confinement() -> Result<Confinement, TrialError> {
    let landlock_abi = kernel_landlock::abi();
    let landlock = child(Subject::Landlock, || restrict(landlock_abi?))?;
    let seccomp = child(Subject::Seccomp, || {
        process::irrevocably_set_no_new_privs()?;
        seccomp::irrevocably_install_filter(&ALLOW_ALL)
    })?;
    let listener = child(Subject::SeccompListener, || {
        process::irrevocably_set_no_new_privs()?;
        seccomp::irrevocably_install_notifying_filter(&ALLOW_ALL).map(drop)
    })?;
    Ok(Confinement { landlock_abi, landlock, seccomp, listener })
}

fn child(subject: Subject, body: impl FnOnce() -> Outcome) -> Result<Option<Outcome>, TrialError> {
    let told = in_child(CloneFlags::empty(), Maps::None, |teller: &Teller| {
        teller.tell(subject, body());
    })?;
    Ok(told.of(subject))
}

/// Some kernels claim an ABI without all of it: every right of it must be taken, and then nothing may
/// be read any more.
fn restrict(abi: u32) -> Outcome {
    let abi = ABI::from(i32::try_from(abi).unwrap_or(i32::MAX));
    process::irrevocably_set_no_new_privs()?;
    let refused = |_| Errno::EOPNOTSUPP;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(refused)?;
    let root = rustix::fs::openat(CWD, "/", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
    match (status.ruleset, root) {
        (RulesetStatus::FullyEnforced, Err(rustix::io::Errno::ACCESS)) => Ok(()),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
