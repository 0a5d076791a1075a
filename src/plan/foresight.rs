//! What a run would meet inside: for who wants to know before it starts (`--dry-run`).
//!
//! # Theory of operation
//! The rules by which the tree is built tell of each place whether the sandbox has nothing there, something of its own, or
//! what the host has somewhere. Whoever asks looks at the host and follows links, one name after the other.
//!
//! # Decisions
//! - Only what is certain is said. What the kernel's own file systems hold, and where the links of another root lead, is
//!   not known before there is a sandbox.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Kind};
use super::mounts::MountTable;
use super::process::search;
use super::view::{Rules, View};
use super::workdir;
use crate::spec::rootfs::Base;
use crate::spec::{HostPath, SandboxPath, Spec, Text};

/// What stands at a place of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// Nothing.
    Nothing,
    /// A directory of the sandbox's own.
    Directory,
    /// Something of the sandbox's own that is no directory.
    Other,
    /// A link of the sandbox's own.
    Link(Text),
    /// What the host has here, links not followed.
    Host(HostPath),
    /// That is seen when there is a sandbox.
    Unknown,
}

/// The tree of a run that was not made.
#[derive(Debug)]
pub struct Foresight {
    /// None with another root, whose links lead where the host's do not.
    rules: Option<Rules>,
    workdir: SandboxPath,
}

impl Foresight {
    /// That of a run for `spec`.
    pub fn new(spec: &Spec, facts: &Facts) -> Result<Self, PlanError> {
        let table = MountTable::new(facts)?;
        let mut unheard = Draft::of_plan();
        let rules = super::rules(spec, facts, &table, &mut unheard)?;
        let workdir = workdir::start(spec, facts, &rules, &mut unheard);
        let is_other = matches!(spec.rootfs.base, Base::Directory(_));
        Ok(Self { rules: (!is_other).then_some(rules), workdir })
    }

    /// Where the payload starts.
    pub fn workdir(&self) -> &SandboxPath {
        &self.workdir
    }

    /// The places at which its program is looked for, in their order; none with `..`, which depends on links.
    pub fn programs(&self, spec: &Spec) -> Option<Vec<SandboxPath>> {
        let program = spec.command.argv.first()?.as_bytes();
        let below = |name: &[u8]| match name.first() {
            Some(b'/') => SandboxPath::new(OsStr::from_bytes(name)).ok(),
            _ => self.workdir.join(OsStr::from_bytes(name)).ok(),
        };
        if program.contains(&b'/') {
            return below(program).map(|place| vec![place]);
        }
        let directories = search(&spec.command.environment);
        let names = directories.iter().map(|at| [at.as_bytes(), program].join(&b'/'));
        names.map(|name| below(&name)).collect()
    }

    /// What stands at a place whose parents are no links.
    pub fn at(&self, at: &SandboxPath) -> Behind {
        let Some(rules) = &self.rules else { return Behind::Unknown };
        let Some(rule) = rules.deciding(at) else { return Behind::Nothing };
        let is_it = rule.at == *at;
        match &rule.view {
            View::System | View::Read | View::Cow | View::CowAsRoot | View::Write => {
                at.moved(&rule.at, &rule.from).map_or(Behind::Unknown, Behind::Host)
            }
            View::Own(_) if !is_it => Behind::Unknown,
            View::Link(target) if is_it => Behind::Link(target.clone()),
            View::Link(_) => Behind::Unknown,
            View::Device if rule.kind == Kind::Directory => Behind::Unknown,
            _ if self.holds(at) => Behind::Directory,
            View::Skeleton | View::Tmpfs { .. } | View::Private | View::Own(_) if is_it => {
                Behind::Directory
            }
            View::Hidden if is_it => match rule.kind {
                Kind::Directory => Behind::Directory,
                Kind::Absent => Behind::Nothing,
                Kind::Link(_) | Kind::Forbidden => Behind::Unknown,
                _ => Behind::Other,
            },
            View::Socket | View::Device | View::File(_) if is_it => Behind::Other,
            _ => Behind::Nothing,
        }
    }

    /// Whether something is shown below a place, for which there is a directory then.
    pub fn holds(&self, at: &SandboxPath) -> bool {
        let shows = |view: &View| !matches!(view, View::Hidden);
        let rules = self.rules.iter().flat_map(Rules::iter);
        rules.filter(|rule| shows(&rule.view)).any(|rule| rule.at.is_below(at))
    }
}
