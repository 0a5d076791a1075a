//! Landlock: one ruleset that repeats in the kernel's own words what the tree grants.
//!
//! # Decisions
//! Everything is a hard requirement of the crate: which rights exist is decided in the plan by the
//! ABI, so a right that cannot be handled is a failure and never silently left out.

use std::os::fd::BorrowedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope,
};
use rustix::fs::{FileType, Mode, OFlags};

use super::Failure;
use crate::plan::step::{LandlockGrant, LandlockRules};
use crate::sys::errno::Errno;

/// Restricts this thread and what it starts. `no_new_privs` must be set.
pub fn irrevocably_restrict(rules: &LandlockRules) -> Result<(), Failure> {
    let abi = ABI::from(i32::try_from(rules.abi).unwrap_or(i32::MAX));
    let created = handled(rules, abi)?.create().map_err(|error| Failure::of(&error))?;
    let status =
        grant(created, rules, abi)?.restrict_self().map_err(|error| Failure::of(&error))?;
    enforced(status)
}

/// Restricts a process of ours, and what it starts, to no file, and to nobody else's abstract sockets and processes. In
/// `removes_in` it may remove files. `no_new_privs` must be set.
pub fn irrevocably_restrict_helper(
    abi: u32,
    removes_in: Option<BorrowedFd<'_>>,
) -> Result<(), Failure> {
    let abi = ABI::from(i32::try_from(abi).unwrap_or(i32::MAX));
    let restrict = || {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(abi))?;
        let scopes = Scope::from_all(abi);
        if !scopes.is_empty() {
            ruleset = ruleset.scope(scopes)?;
        }
        let mut ruleset = ruleset.create()?;
        if let Some(directory) = removes_in {
            ruleset = ruleset.add_rule(PathBeneath::new(directory, AccessFs::RemoveFile))?;
        }
        ruleset.restrict_self()
    };
    enforced(restrict().map_err(|error: RulesetError| Failure::of(&error))?)
}

fn enforced(status: RestrictionStatus) -> Result<(), Failure> {
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        partly => Err(Failure { errno: Errno::EOPNOTSUPP, said: format!("{partly:?}") }),
    }
}

fn handled(rules: &LandlockRules, abi: ABI) -> Result<Ruleset, Failure> {
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if !rules.paths.is_empty() {
        ruleset =
            ruleset.handle_access(AccessFs::from_all(abi)).map_err(|error| Failure::of(&error))?;
    }
    if rules.tcp.is_some() {
        ruleset =
            ruleset.handle_access(AccessNet::from_all(abi)).map_err(|error| Failure::of(&error))?;
    }
    if rules.scope_abstract_unix {
        ruleset = ruleset.scope(Scope::AbstractUnixSocket).map_err(|error| Failure::of(&error))?;
    }
    if rules.scope_signals {
        ruleset = ruleset.scope(Scope::Signal).map_err(|error| Failure::of(&error))?;
    }
    Ok(ruleset)
}

fn grant(
    mut ruleset: RulesetCreated,
    rules: &LandlockRules,
    abi: ABI,
) -> Result<RulesetCreated, Failure> {
    for path in &rules.paths {
        let at = rustix::fs::open(path.at.as_path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(Errno::from)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&at).map_err(Errno::from)?.st_mode);
        let mut access = rights(path.grant, abi);
        if kind != FileType::Directory {
            // The kernel refuses rights of directories on anything else.
            access &= AccessFs::from_file(abi);
        }
        ruleset =
            ruleset.add_rule(PathBeneath::new(at, access)).map_err(|error| Failure::of(&error))?;
    }
    let tcp = rules.tcp.clone().unwrap_or_default();
    let ports = tcp.bind.into_iter().map(|port| (port, AccessNet::BindTcp));
    for (port, access) in
        ports.chain(tcp.connect.into_iter().map(|port| (port, AccessNet::ConnectTcp)))
    {
        ruleset =
            ruleset.add_rule(NetPort::new(port, access)).map_err(|error| Failure::of(&error))?;
    }
    Ok(ruleset)
}

/// A grant in the rights that `abi` has.
fn rights(grant: LandlockGrant, abi: ABI) -> BitFlags<AccessFs> {
    let all = AccessFs::from_all(abi);
    let devices = AccessFs::IoctlDev | AccessFs::MakeChar | AccessFs::MakeBlock;
    let wanted = match grant {
        LandlockGrant::ReadExecute => AccessFs::from_read(abi),
        LandlockGrant::All => all & !devices,
        LandlockGrant::Device => {
            AccessFs::ReadFile
                | AccessFs::ReadDir
                | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::IoctlDev
        }
        LandlockGrant::Socket => AccessFs::ResolveUnix.into(),
    };
    wanted & all
}
