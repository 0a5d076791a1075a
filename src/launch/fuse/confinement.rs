//! What the server gives up before it becomes its program.
//!
//! In the order of `confine`: limits, `no_new_privs`, capabilities, then the signal of the launcher's
//! death (a change of credentials would clear it), Landlock, and the filter of system calls last.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::Pid;

use super::root::{LAYER, LIBRARIES, LOWER};
use super::server::{Failed, Order, Outcome, cannot};
use crate::confine::capabilities;
use crate::spec::Capability;
use crate::sys::process;
use crate::sys::resource::{self, Limit, Resource};
use crate::sys::seccomp;
use crate::sys::signal::SignalNumber;

/// Bytes of address space: some million names of files that a payload looked at, and no more.
const MEMORY: u64 = 4 << 30;

/// Gives it up.
pub(super) fn confine(order: &Order<'_>) -> Outcome {
    let limits =
        [(Resource::AddressSpace, MEMORY), (Resource::Core, 0), (Resource::LockedMemory, 0)];
    give_up(&limits, &KEPT, order.launcher)?;
    if let Some(abi) = order.landlock_abi {
        restrict(abi, order.program.as_path())?;
    }
    cannot("filter system calls", seccomp::irrevocably_install_filter(order.filter))
}

/// What every program of others gives up that works for a sandbox from outside: more than these limits, privileges
/// to come, capabilities but these, and its life after the launcher's.
pub(in crate::launch) fn give_up(
    limits: &[(Resource, u64)],
    kept: &[&str],
    launcher: Pid,
) -> Outcome {
    for (which, most) in limits {
        let limit = Limit { soft: Some(*most), hard: Some(*most) };
        let set = resource::get_limit(None, *which).and_then(|old| match old.hard {
            // It cannot be raised, and need not be.
            Some(hard) if hard <= *most => Ok(()),
            _ => resource::set_limit(None, *which, limit),
        });
        cannot("set a limit", set)?;
    }
    cannot("set no_new_privs", process::irrevocably_set_no_new_privs())?;
    let kept = kept.iter().map(|name| Capability::from_name(name)).collect::<Result<Vec<_>, _>>();
    let kept = kept.map_err(|error| Failed("keep capabilities", error.to_string()))?;
    capabilities::irrevocably_drop_capabilities(&kept)
        .map_err(|failure| Failed("drop capabilities", failure.to_string()))?;
    let signal = Some(SignalNumber::KILL);
    cannot("die with the launcher", process::set_parent_death_signal(signal))?;
    if rustix::process::getppid() != Some(launcher) {
        return Err(Failed("go on", "the launcher is gone".to_owned()));
    }
    Ok(())
}

/// What copying up needs beyond what its own ids may do. All of it holds for mapped ids alone: with one
/// id mapped, for what is the caller's anyway.
const KEPT: [&str; 5] = [
    // A file in a directory, or a file itself, that its owner may not write or read.
    "DAC_OVERRIDE",
    // Owners, with several ids mapped; then also modes and times of what is another's by then.
    "CHOWN",
    "FOWNER",
    // Set-group-id bits of directories survive a change of owner.
    "FSETID",
    // A program with file capabilities; they mean something below this user namespace only.
    "SETFCAP",
];

/// Files: its layers, libraries and `/proc`; no ports, and nobody outside can be signalled.
fn restrict(abi: u32, program: &Path) -> Outcome {
    let failed = |error: &dyn std::fmt::Display| Failed("use Landlock", error.to_string());
    let abi = ABI::from(i32::try_from(abi).unwrap_or(i32::MAX));
    let mut ruleset = handled(abi).map_err(|error| failed(&error))?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let layer = AccessFs::from_all(abi) & !(AccessFs::Execute | AccessFs::IoctlDev);
    let libraries = LIBRARIES.iter().map(|place| (Path::new(*place), read | AccessFs::Execute));
    let others = [
        (program, read | AccessFs::Execute),
        (Path::new("/proc"), read),
        (Path::new(LOWER), read),
        (Path::new(LAYER), layer),
    ];
    for (path, rights) in libraries.chain(others) {
        let at = match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => continue,
            opened => cannot("open a place of its root", opened)?,
        };
        let stat = cannot("look at a place of its root", rustix::fs::fstat(&at))?;
        // The kernel refuses rights of directories on anything else.
        let rights = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => rights,
            _ => rights & AccessFs::from_file(abi),
        };
        ruleset = ruleset.add_rule(PathBeneath::new(at, rights)).map_err(|error| failed(&error))?;
    }
    match ruleset.restrict_self().map_err(|error| failed(&error))?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        partly => Err(failed(&format_args!("{partly:?}"))),
    }
}

/// Everything that this version of Landlock can refuse.
fn handled(abi: ABI) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    let (net, scopes) = (AccessNet::from_all(abi), Scope::from_all(abi));
    if !net.is_empty() {
        ruleset = ruleset.handle_access(net)?;
    }
    if !scopes.is_empty() {
        ruleset = ruleset.scope(scopes)?;
    }
    ruleset.create()
}
