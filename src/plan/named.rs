//! Tells where the paths led that were asked for, and holds a later run of the same layers to it.
//!
//! # Theory of operation
//! A payload that writes a directory straight to the host can put a link in the place of whatever stands in it. A
//! path of the spec that leads through there leads elsewhere from then on, and the next run would be shown what the
//! payload chose. So what a plan found at each path is kept with the record, and a run that goes on must find the same.
//!
//! # Decisions
//! - A path that leads elsewhere is refused whoever changed it: that is not known.
//! - Another directory at the same path is refused where the sandbox itself could have put it there. Elsewhere it was
//!   made anew by the caller, as builds do, and nobody but them can show what was not shown before.
//! - Toolchains are left out: where a link may lead one is decided at each run (`toolchain`).
//! - What was not asked for before has nothing to be held against: who asks for it now looks at it now.

use super::facts::{Facts, Kind, Place};
use super::places::resolve;
use super::step::Named;
use crate::spec::rootfs::{Access, Base, Origin, VolumeMode};
use crate::spec::{HostPath, Spec};

/// What a later run finds where this one found something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed<'a> {
    /// A path leads elsewhere.
    Elsewhere { was: &'a Named, is: &'a HostPath },
    /// Another directory stands there.
    Replaced(&'a Named),
}

/// Every place that was asked for, each path once.
pub(super) fn named(spec: &Spec, facts: &Facts) -> Vec<Named> {
    let rootfs = &spec.rootfs;
    let mut found: Vec<Named> = Vec::new();
    let mut add = |asked: &HostPath, written: bool, origin: Origin| {
        let Some(place) = facts.place(asked) else { return };
        // A profile names many places for the few that are there.
        if origin == Origin::Profile && place.kind == Kind::Absent {
            return;
        }
        match found.iter_mut().find(|known| known.asked == *asked) {
            Some(known) => known.written |= written && known.directory.is_some(),
            None => found.push(of(place, written)),
        }
    };
    for request in &rootfs.requests {
        let shows_what_was_asked =
            !matches!(request.access, Access::Hide | Access::Tmpfs { .. } | Access::Toolchain);
        if let Some(asked) = resolve(&request.path, facts).filter(|_| shows_what_was_asked) {
            add(&asked, request.access == Access::Write, request.origin);
        }
    }
    for volume in &rootfs.volumes {
        add(&volume.source, volume.mode == VolumeMode::Rw, Origin::Flag);
    }
    rootfs.climbed.iter().for_each(|path| add(path, false, Origin::Flag));
    if let Base::Directory(directory) = &rootfs.base {
        add(directory, false, Origin::Flag);
    }
    if let Some(workdir) = facts.caller.workdir.path() {
        add(workdir, false, Origin::Flag);
    }
    found
}

fn of(place: &Place, written: bool) -> Named {
    Named {
        asked: place.asked.clone(),
        real: place.real.clone(),
        directory: place.number,
        written: written && place.kind == Kind::Directory,
    }
}

/// The first place of an earlier run that is not what it was.
pub(super) fn changed<'a>(had: &'a [Named], now: &'a [Named]) -> Option<Changed<'a>> {
    let is_writable = |path: &HostPath| had.iter().any(|w| w.written && path.is_below(&w.real));
    had.iter().find_map(|was| {
        let is = now.iter().find(|is| is.asked == was.asked)?;
        if is.real != was.real {
            return Some(Changed::Elsewhere { was, is: &is.real });
        }
        let is_other = was.directory.is_some() && was.directory != is.directory;
        (is_other && is_writable(&was.real)).then_some(Changed::Replaced(was))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> HostPath {
        HostPath::new(path).unwrap()
    }

    fn place(asked: &str, real: &str, directory: u64) -> Named {
        Named { asked: at(asked), real: at(real), directory: Some(directory), written: false }
    }

    fn written(path: &str) -> Named {
        Named { written: true, ..place(path, path, 1) }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_another_place_whoever_changed_it() {
        let had = [place("/p/sub", "/p/sub", 2)];
        let now = [place("/p/sub", "/home/al", 3)];
        let (was, is) = (&had[0], &at("/home/al"));
        assert_eq!(changed(&had, &now), Some(Changed::Elsewhere { was, is }));
        // Also one that was a link before, and back to none.
        assert!(changed(&now, &had).is_some());
        assert_eq!(changed(&had, &had), None);
        // What was not asked for then is not compared, nor what is not asked for now.
        assert_eq!(changed(&[], &now), None);
        assert_eq!(changed(&had, &[]), None);
    }

    #[test]
    fn another_directory_is_another_place_where_the_sandbox_could_put_it_there() {
        let had = [written("/p"), place("/p/a/sub", "/p/a/sub", 2), place("/q", "/q", 4)];
        let swapped = [written("/p"), place("/p/a/sub", "/p/a/sub", 3), place("/q", "/q", 4)];
        assert_eq!(changed(&had, &swapped), Some(Changed::Replaced(&had[1])));
        // A file in its place is no directory.
        let file = [Named { directory: None, ..swapped[1].clone() }];
        assert_eq!(changed(&had, &file), Some(Changed::Replaced(&had[1])));
        // What stands beside, or is written itself and was made anew, the caller put there.
        let anew = [Named { directory: Some(9), ..written("/p") }, place("/q", "/q", 9)];
        assert_eq!(changed(&had, &anew), None);
    }
}
