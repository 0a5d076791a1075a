//! Decides: from what is wanted and what the host offers to steps with no choice left.
//!
//! # Theory of operation
//! `plan` is pure and deterministic: the same [`Spec`] and [`Facts`] give the same [`Plan`], so
//! that most of bryo is tested without a kernel. One planner per area appends its steps;
//! `check` then verifies the invariants every plan must satisfy, independently of how it was made.
//!
//! | planner | decides |
//! |---|---|
//! | `ids` | namespaces, id maps |
//! | `view`, `places`, `copies`, `twins`, `toolchain`, `workdir`, `trusted`, `moved` | how each place is seen |
//! | `named`, `planted` | what a later run must find again; which links it does not follow |
//! | `fs` | the steps that build that tree |
//! | `pseudo`, `identity` | `/dev`, `/proc`, `/sys`, `/run`; accounts, host name |
//! | `net`, `share`, `segment`, `tool` | network, the one of another sandbox, one of several, one by a program of others |
//! | `limits` | limits, what is watched |
//! | `group` | the control group |
//! | `disk` | how what is written is bounded |
//! | `process`, `stdio` | session, descriptors, exec |
//! | `again` | a plan that goes on with the layers of another run |
//! | `entry` | one more process in a sandbox that runs |
//! | `foresight` | nothing: it tells what a run would meet |
//! | `confine`, `landlock` | capabilities, Landlock, system calls |
//!
//! # Not here
//! Probing (`host`) and acting (`rootfs`, `net`, `confine`, `limits`, `launch`, `state`).

pub mod again;
pub mod check;
pub mod entry;
pub mod errand;
pub mod error;
pub mod facts;
pub mod foresight;
pub mod needs;
pub mod publish;
pub mod render;
pub mod seccomp;
pub mod step;
pub mod traffic;

mod confine;
mod copies;
mod describe;
mod disk;
mod draft;
mod fs;
mod group;
mod identity;
mod ids;
mod landlock;
mod limits;
mod mounts;
mod moved;
mod named;
mod net;
mod places;
mod planted;
mod process;
mod pseudo;
mod resolver;
mod segment;
mod share;
mod stdio;
mod tool;
mod toolchain;
mod trusted;
mod twins;
mod view;
mod workdir;

pub use check::{CheckError, check};
pub use disk::DiskObstacle;
pub use error::PlanError;
pub use facts::Facts;
pub use group::{DELEGATE, GroupObstacle};
pub use ids::{plan_all as plan_all_ids, plan_same as plan_same_ids};
pub use needs::{Needs, TreeNeeds, needs, tree_needs};
pub use planted::refuse_planted;
pub use render::render;
pub use segment::{MemberError, landlock_of_network, seccomp_of_network};
pub use share::ShareError;
pub use step::{Action, Plan, Stage, Step};
pub use tool::{NAMESPACE, ToolError};

use crate::spec::Spec;
use crate::spec::rootfs::Base;
use draft::Draft;
use facts::Kind;
use mounts::MountTable;
use step::{ConfineStep, Notice, ProcessStep};
use view::{Rank, Rule, Rules, View};

/// The steps for a spec on a host.
pub fn plan(spec: &Spec, facts: &Facts) -> Result<Plan, PlanError> {
    process::verify_command(&spec.command)?;
    let mut draft = Draft::of_plan();
    let table = MountTable::new(facts)?;
    let rules = rules(spec, facts, &table, &mut draft)?;
    draft.named = named::named(spec, facts);
    draft.push(Stage::Sandbox, ProcessStep::Undumpable);
    ids::plan_ids(spec, facts, &mut draft)?;
    draft.push(Stage::Sandbox, ProcessStep::Hostname(process::hostname(spec)?.to_owned()));
    net::plan_network(spec, facts, &mut draft)?;
    limits::plan_counts(spec, facts, &mut draft);
    fs::plan_tree(spec, facts, &rules, &table, &mut draft)?;
    planted::plan_note(facts, &rules, &mut draft)?;
    limits::plan_rlimits(spec, facts, &mut draft)?;
    let pty = stdio::has_pty(spec, facts.stdio);
    draft.push(Stage::Sandbox, ProcessStep::Session { pty });
    confine::plan_init(&mut draft);
    plan_payload(spec, facts, &rules, &mut draft)?;
    spec.passed_over.iter().for_each(|file| draft.notice(Notice::PassedOver(file.clone())));
    draft.warn(facts, &rules);
    draft.tell_of_secrets_to_come(facts, &rules);
    draft.tell_of_hidden_names(spec, &rules);
    trusted::tell_of_programs(facts, &rules, &mut draft);
    if spec.rootfs.base == Base::Host {
        draft.tell_of_absent(&rules);
    }
    Ok(draft.finish())
}

/// The payload's process, in the one right order (`confine` says why).
fn plan_payload(
    spec: &Spec,
    facts: &Facts,
    rules: &Rules,
    draft: &mut Draft,
) -> Result<(), PlanError> {
    let workdir = workdir::start(spec, facts, rules, draft);
    let rules = landlock::plan_landlock(spec, facts, draft)?;
    draft.push(Stage::Payload, ConfineStep::Keyring);
    process::plan_payload(spec, facts, workdir, draft)?;
    confine::plan_payload(spec, rules, draft);
    let listens = confine::listens(spec, facts, draft)?;
    confine::plan_filter(spec, facts, listens, draft)?;
    process::plan_exec(&spec.command, draft);
    limits::plan_watches(spec, listens, draft);
    Ok(())
}

/// How each place is seen.
fn rules(
    spec: &Spec,
    facts: &Facts,
    table: &MountTable,
    draft: &mut Draft,
) -> Result<Rules, PlanError> {
    planted::refuse_planted_ways(spec, facts)?;
    let mut rules = open_rules(spec, facts, table, draft)?;
    places::secret_rules(spec, facts, table, &mut rules);
    if spec.rootfs.base == Base::Host {
        places::resolver_rule(spec, facts, &mut rules);
    }
    moved::refuse_system(spec, &rules)?;
    let in_place = match spec.rootfs.base {
        Base::Host => workdir::workdir_rule(spec, facts, &mut rules, draft),
        Base::Empty => workdir::refuse_hidden_workdir(facts, &rules),
        Base::Directory(_) => Ok(()),
    };
    in_place.map_err(|error| moved::with_variable(error, spec))?;
    places::refuse_stores(spec, facts, &rules)?;
    places::refuse_to_hide_nothing(&rules)?;
    copies::refuse_of_others(spec, facts, &rules)?;
    trusted::trusted_rules(spec, facts, &mut rules)?;
    Ok(rules)
}

/// All rules but those for secrets, the store, and the current directory.
fn open_rules(
    spec: &Spec,
    facts: &Facts,
    table: &MountTable,
    draft: &mut Draft,
) -> Result<Rules, PlanError> {
    let mut rules = Rules::default();
    let on_host = spec.rootfs.base == Base::Host;
    view::base_rules(spec, facts, table, &mut rules)?;
    if on_host {
        workdir::home_rules(spec, facts, &mut rules)?;
    }
    let asked = places::request_rules(spec, facts, &mut rules, draft)
        .and_then(|()| places::volume_rules(spec, facts, &mut rules));
    asked.map_err(|error| moved::with_variable(error, spec))?;
    if on_host {
        places::hidden_rules(facts, &mut rules);
    }
    Ok(rules)
}

impl Draft {
    /// Names what the command line hides and what is not there.
    fn tell_of_absent(&mut self, rules: &Rules) {
        let is_absent = |rule: &&Rule| {
            rule.rank == Rank::Flag && rule.view == View::Hidden && rule.kind == Kind::Absent
        };
        for rule in rules.iter().filter(is_absent) {
            self.notice(Notice::HidesNothing(rule.from.clone()));
        }
    }

    /// Names what is written straight to the host and could get a secret that is not there now.
    fn tell_of_secrets_to_come(&mut self, facts: &Facts, rules: &Rules) {
        let is_settings = |rule: &Rule| facts.settings.iter().any(|found| found.path == rule.from);
        let is_absent = |rule: &&Rule| {
            rule.rank == Rank::Secret && rule.kind == Kind::Absent && !is_settings(rule)
        };
        for rule in rules.iter().filter(is_absent) {
            if let Some(written) = places::written_around(rules, &rule.at) {
                self.notice(Notice::SecretsToCome(written.from.clone()));
            }
        }
    }

    /// Names the files that may hold secrets and are shown.
    /// Tells which arguments of the program name what the profile hides: it fails at that, if it opens them.
    fn tell_of_hidden_names(&mut self, spec: &Spec, rules: &Rules) {
        for argument in spec.command.argv.iter().skip(1) {
            let Ok(at) = crate::spec::SandboxPath::new(argument.as_os_str()) else { continue };
            let is_profiles = |rule: &&Rule| {
                rule.view == View::Hidden
                    && rule.kind != Kind::Absent
                    && matches!(rule.rank, Rank::Secret | Rank::Default)
            };
            if let Some(rule) = rules.deciding(&at).filter(is_profiles)
                && let Some(named) = at.moved(&rule.at, &rule.from)
            {
                self.notice(Notice::NamesHidden { named, hidden: rule.from.clone() });
            }
        }
    }

    fn warn(&mut self, facts: &Facts, rules: &Rules) {
        for path in &facts.warned {
            let decides = rules.deciding(&path.same_in_sandbox());
            if decides.is_some_and(|rule| rule.shows_host() && rule.at.same_on_host() == rule.from)
            {
                self.notice(Notice::Warned(path.clone()));
            }
        }
    }
}
