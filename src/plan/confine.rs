//! Plans what the payload's process and init give up: capabilities, `no_new_privs`, system calls.
//!
//! # Decisions
//! - Abstract unix sockets belong to the network namespace. With the host's network, or another sandbox's, they are bounded
//!   by Landlock's scope or, where the kernel has none, by refusing unix sockets in the filter;
//!   with a filter that is not ours to change the run is refused.
//! - `no_new_privs` holds for the payload and for init, always.
//! - The payload's process is in the user namespace that owns the sandbox's mounts, so `CAP_SYS_ADMIN` is kept
//!   only where the filter refuses every call that needs it on a mount. Landlock alone does not do.

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Refuted};
use super::ids;
use super::landlock;
use super::step::{
    ConfineStep, FilterProgram, FsStep, LandlockRules, Missing, MountAccess, Notice, Stage,
};
use crate::spec::order;
use crate::spec::rootfs::Base;
use crate::spec::seccomp::{
    CapabilitySet, KernelVersion, Nesting, Notifications, OpenAt2, PolicyVariant, SetIdModes,
    UnixSockets,
};
use crate::spec::{SeccompChoice, Spec};

/// The built-in policy that init lives under.
const INIT_POLICY: &str = "init";

/// Appends what init takes after the payload was forked.
pub(super) fn plan_init(draft: &mut Draft) {
    draft.push(Stage::Init, ConfineStep::Securebits);
    draft.push(Stage::Init, ConfineStep::Capabilities { keep: Vec::new() });
    draft.push(Stage::Init, ConfineStep::NoNewPrivs);
    let variant = PolicyVariant { notify: Notifications::Off, ..PolicyVariant::default() };
    let program = FilterProgram::Builtin { name: INIT_POLICY.to_owned(), variant };
    draft.push(Stage::Init, ConfineStep::Seccomp { program, listen: false });
}

/// Whether refused calls are told to the supervisor.
pub(super) fn listens(spec: &Spec, facts: &Facts, draft: &mut Draft) -> Result<bool, PlanError> {
    let confine = &spec.confine;
    if !confine.notify || confine.nesting || confine.seccomp == SeccompChoice::Unconfined {
        return Ok(false);
    }
    let possible = facts.seccomp_notify.ok_or(PlanError::Unprobed("seccomp_notify"))?
        && !facts.is_refuted(Refuted::SeccompNotify);
    if !possible {
        draft.notice(Notice::Missing(Missing::SeccompNotify));
    }
    Ok(possible)
}

/// Appends what the payload's process gives up, up to Landlock; its `chdir` is done.
pub(super) fn plan_payload(spec: &Spec, rules: Option<LandlockRules>, draft: &mut Draft) {
    let mut keep = spec.confine.capabilities.clone();
    order::sort(&mut keep);
    keep.dedup();
    draft.push(Stage::Payload, ConfineStep::Securebits);
    draft.push(Stage::Payload, ConfineStep::Capabilities { keep });
    draft.push(Stage::Payload, ConfineStep::NoNewPrivs);
    if let Some(rules) = rules {
        draft.push(Stage::Payload, ConfineStep::Landlock(rules));
    }
    // Access lists are counted neither by a file system nor by a control group.
    let holds = draft.fs_steps().any(|step| matches!(step, FsStep::Hold { .. }));
    if holds || draft.bounds_memory() {
        draft.push(Stage::Payload, ConfineStep::ShortAttributes);
    }
    if spec.confine.nesting {
        draft.notice(Notice::Nesting);
    }
}

/// The filter of the payload; none when the command line asked for none.
pub(super) fn plan_filter(
    spec: &Spec,
    facts: &Facts,
    listen: bool,
    draft: &mut Draft,
) -> Result<(), PlanError> {
    let refuse_unix = !spec.network.is_new() && !landlock::has_scopes(landlock::abi(spec, facts)?);
    let unix_sockets = if refuse_unix { UnixSockets::Refuse } else { UnixSockets::Allow };
    let variant = variant(spec, facts, listen, unix_sockets, draft);
    refuse_power_over_mounts(spec, &variant)?;
    let program = match &spec.confine.seccomp {
        SeccompChoice::Unconfined if refuse_unix => return Err(PlanError::AbstractSocketsOpen),
        SeccompChoice::Unconfined => return Ok(()),
        SeccompChoice::Builtin(name) => FilterProgram::Builtin { name: name.clone(), variant },
        SeccompChoice::File { policy, .. } => {
            FilterProgram::Custom { policy: policy.clone(), variant }
        }
    };
    draft.push(Stage::Payload, ConfineStep::Seccomp { program, listen });
    Ok(())
}

/// Refuses a capability with which every mask is lifted.
fn refuse_power_over_mounts(spec: &Spec, variant: &PolicyVariant) -> Result<(), PlanError> {
    let allows = match &spec.confine.seccomp {
        SeccompChoice::Unconfined => true,
        SeccompChoice::Builtin(_) => spec.confine.nesting,
        SeccompChoice::File { policy, .. } => policy.may_lift_masks(variant),
    };
    let keeps = spec.confine.capabilities.iter().any(|kept| kept.is_sys_admin());
    if keeps && allows {
        return Err(PlanError::LiftsMasks { nesting: spec.confine.nesting });
    }
    Ok(())
}

/// What this run changes in the policy.
fn variant(
    spec: &Spec,
    facts: &Facts,
    listen: bool,
    unix_sockets: UnixSockets,
    draft: &Draft,
) -> PolicyVariant {
    let in_image = matches!(spec.rootfs.base, Base::Directory(_));
    let set_id_modes = if in_image && ids::inside(spec, facts).0 == 0 {
        SetIdModes::Allow
    } else {
        SetIdModes::Refuse
    };
    let writes_host = draft.fs_steps().any(
        |step| matches!(step, FsStep::Bind { flags, .. } if flags.access == MountAccess::Writable),
    );
    let narrow = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    PolicyVariant {
        nesting: if spec.confine.nesting { Nesting::Allow } else { Nesting::Refuse },
        set_id_modes,
        openat2: match set_id_modes {
            SetIdModes::Refuse if writes_host => OpenAt2::Hide,
            SetIdModes::Refuse | SetIdModes::Allow => OpenAt2::Allow,
        },
        unix_sockets,
        notify: if listen { Notifications::On } else { Notifications::Off },
        capabilities: spec.confine.capabilities.iter().copied().collect::<CapabilitySet>(),
        kernel: KernelVersion::new(narrow(facts.kernel.major), narrow(facts.kernel.minor)),
    }
}
