//! Where on the host the program of a run would be found: for who wants to know before it starts.
//!
//! # Decisions
//! - Only what is certain is said. What the kernel's own file systems and private directories hold, and where the links
//!   of another root lead, is not known before there is a sandbox.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::process::search;
use super::view::{Rules, View};
use crate::spec::rootfs::Base;
use crate::spec::{HostPath, SandboxPath, Spec};

/// Links of ours on the way to a program: `/bin` is one, and leads to no other.
const LINKS: u8 = 8;

/// What of the host a place inside shows.
enum Shown {
    Nothing,
    Host(HostPath),
    Unknown,
}

/// The places of the host that are looked at, in their order; none where that is not known.
pub(super) fn places(spec: &Spec, rules: &Rules, workdir: &SandboxPath) -> Option<Vec<HostPath>> {
    if matches!(spec.rootfs.base, Base::Directory(_)) {
        return None;
    }
    let program = spec.command.argv.first()?.as_bytes();
    let names = if program.contains(&b'/') {
        vec![program.to_vec()]
    } else {
        let directories = search(&spec.command.environment);
        directories.iter().map(|directory| [directory.as_bytes(), program].join(&b'/')).collect()
    };
    let mut found = Vec::new();
    for name in names {
        match shown(rules, &below(workdir, &name)?, LINKS) {
            Shown::Nothing => {}
            Shown::Host(path) => found.push(path),
            Shown::Unknown => return None,
        }
    }
    Some(found)
}

/// A path as it is taken in a directory; none with `..`, which depends on links.
fn below(directory: &SandboxPath, name: &[u8]) -> Option<SandboxPath> {
    let name = OsStr::from_bytes(name);
    if name.as_bytes().starts_with(b"/") {
        SandboxPath::new(name).ok()
    } else {
        directory.join(name).ok()
    }
}

fn shown(rules: &Rules, at: &SandboxPath, links: u8) -> Shown {
    let Some(rule) = rules.deciding(at) else { return Shown::Nothing };
    match &rule.view {
        View::System | View::Read | View::Cow | View::CowAsRoot | View::Write => {
            at.moved(&rule.at, &rule.from).map_or(Shown::Unknown, Shown::Host)
        }
        View::Link(target) if links > 0 => {
            let above = rule.at.parent().unwrap_or_else(SandboxPath::root);
            let led = below(&above, target.as_bytes()).and_then(|to| at.moved(&rule.at, &to));
            led.map_or(Shown::Unknown, |led| shown(rules, &led, links - 1))
        }
        View::Skeleton | View::Hidden | View::Tmpfs { .. } | View::Socket => Shown::Nothing,
        View::Link(_) | View::Private | View::Device | View::File(_) | View::Own(_) => {
            Shown::Unknown
        }
    }
}
