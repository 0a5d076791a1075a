//! Follows no link that an earlier payload may have planted: what it could write is noted for later runs, and held against
//! the links on the way to what this one is asked for.
//!
//! # Decisions
//! - A link counts as planted where it lies in what a run could write and leads out of all that it could: within that, it leads to
//!   what the payload could have put there itself.
//! - Who made a link is not known: the caller's own is refused as well, and the error says how to name what is meant.
//! - A profile's place is passed over, and that is told: anybody who may write around it could stop all runs otherwise.
//! - What takes away (`--hide`, `--tmpfs`) is done wherever a link leads: it shows nothing.
//! - Letters count alike, large or small, as on some file systems they are: a link of `/Data` is one of `/data`.
//!
//! # Not here
//! Restarts, which find their places where they were (`named`). Secrets and settings, which are reached through no link
//! (`places`). The notes themselves (`host::written`).

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Kind, Place, StoreCandidate, StoreSource, StoreState, Written};
use super::step::{Stage, StoreStep};
use super::view::{Rule, Rules, View};
use crate::spec::{HostPath, Spec, order};

/// A link that may be an earlier payload's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Planted<'f> {
    link: &'f HostPath,
    /// In what it lies.
    written: &'f HostPath,
}

/// The first link on the way to `real` that a run could put there and that leads out of what that could write.
fn planted<'f>(
    links: &'f [HostPath],
    real: &HostPath,
    written: &'f [Written],
) -> Option<Planted<'f>> {
    let leads_out = |run: &&Written| !run.places.iter().any(|place| real.starts_with(place));
    written.iter().filter(leads_out).flat_map(|run| &run.places).find_map(|place| {
        let link = links.iter().find(|link| lies_in(link, place))?;
        Some(Planted { link, written: place })
    })
}

/// Whether a path lies below a directory, however the letters are written.
fn lies_in(path: &HostPath, directory: &HostPath) -> bool {
    let folded = |path: &HostPath| path.as_path().to_string_lossy().to_lowercase();
    path.is_below(directory) || {
        let (path, directory) = (folded(path), folded(directory));
        path.strip_prefix(&directory).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Refuses a place that is reached through such a link.
pub fn refuse_planted(place: &Place, flag: &'static str, facts: &Facts) -> Result<(), PlanError> {
    match planted(&place.links, &place.real, &facts.written) {
        None => Ok(()),
        Some(Planted { link, written }) => Err(PlanError::LinkPlanted {
            asked: place.asked.clone(),
            real: place.real.clone(),
            link: link.clone(),
            written: written.clone(),
            flag,
        }),
    }
}

/// Refuses a `..` that climbed from where one led, and a current directory that was reached through one, as far as the
/// shell tells.
pub(super) fn refuse_planted_ways(spec: &Spec, facts: &Facts) -> Result<(), PlanError> {
    for climbed in &spec.rootfs.climbed {
        let place = facts.place(climbed).ok_or(PlanError::Unprobed("places"))?;
        refuse_planted(place, "`..` after it", facts)?;
    }
    let spelt = facts.caller.workdir_spelt.as_ref();
    let Some(place) = spelt.and_then(|spelt| facts.place(spelt)) else { return Ok(()) };
    match planted(&place.links, &place.real, &facts.written) {
        None => Ok(()),
        Some(Planted { link, written }) => Err(PlanError::WorkdirPlanted {
            asked: place.asked.clone(),
            real: place.real.clone(),
            link: link.clone(),
            written: written.clone(),
        }),
    }
}

/// The step that notes what the payload can write.
pub(super) fn plan_note(facts: &Facts, rules: &Rules, draft: &mut Draft) -> Result<(), PlanError> {
    let is_written = |rule: &&Rule| rule.view == View::Write && rule.kind == Kind::Directory;
    let written = rules.iter().filter(is_written).map(|rule| rule.from.clone());
    let mut places: Vec<HostPath> = written.collect();
    order::sort(&mut places);
    places.dedup();
    let Some(first) = places.first() else { return Ok(()) };
    let store = draft.store.as_ref().or_else(|| usable_store(facts)).cloned();
    let store = store.ok_or_else(|| PlanError::CannotNote(first.clone()))?;
    draft.push(Stage::Prepare, StoreStep::Note { store, places });
    Ok(())
}

/// The store of a run without layers. One that was named is the only one.
fn usable_store(facts: &Facts) -> Option<&HostPath> {
    let is_usable = |store: &&StoreCandidate| store.state == StoreState::Usable;
    let named = facts.stores.iter().find(|store| store.source == StoreSource::Variable);
    let found = match named {
        Some(named) => Some(named).filter(is_usable),
        None => facts.stores.iter().find(is_usable),
    };
    found.map(|store| &store.path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn at(path: &str) -> HostPath {
        HostPath::new(path).unwrap()
    }

    fn paths(all: &[&str]) -> Vec<HostPath> {
        all.iter().map(|path| at(path)).collect()
    }

    /// The link that is refused, and in what it lies.
    fn refused(links: &[&str], real: &str, runs: &[&[&str]]) -> Option<(String, String)> {
        let written: Vec<Written> = runs.iter().map(|run| Written { places: paths(run) }).collect();
        let links = paths(links);
        let found = planted(&links, &at(real), &written)?;
        Some((found.link.to_string(), found.written.to_string()))
    }

    fn by(link: &str, written: &str) -> (String, String) {
        (link.to_owned(), written.to_owned())
    }

    #[test]
    fn a_link_in_what_a_run_could_write_is_refused_where_it_leads_out_of_that() {
        let w: &[&[&str]] = &[&["/w"]];
        assert_eq!(refused(&["/w/out"], "/home/al", w), Some(by("/w/out", "/w")));
        assert_eq!(refused(&["/w/a/b/out"], "/home/al", w), Some(by("/w/a/b/out", "/w")));
        // One of several, the last or the first of a way.
        assert_eq!(refused(&["/mine", "/w/out"], "/home/al", w), Some(by("/w/out", "/w")));
        assert_eq!(refused(&["/w/out", "/mine"], "/home/al", w), Some(by("/w/out", "/w")));
        // Within what it could write, wherever the way goes in between.
        assert_eq!(refused(&["/w/out"], "/w/in", w), None);
        assert_eq!(refused(&["/w/out"], "/w", w), None);
        assert_eq!(refused(&["/w/out", "/mine"], "/w/in", w), None);
        // Beside it, on the way to it, with a longer name: nobody could put those there.
        assert_eq!(refused(&["/mine"], "/home/al", w), None);
        assert_eq!(refused(&["/w"], "/home/al", w), None);
        assert_eq!(refused(&["/with"], "/home/al", w), None);
        assert_eq!(refused(&["/ww/out"], "/home/al", w), None);
        assert_eq!(refused(&[], "/home/al", w), None);
        assert_eq!(refused(&["/w/out"], "/home/al", &[]), None);
    }

    #[test]
    fn what_one_run_could_write_is_one_and_that_of_another_is_not() {
        assert_eq!(refused(&["/w/out"], "/v/in", &[&["/v", "/w"]]), None);
        assert_eq!(refused(&["/w/out"], "/v/in", &[&["/v"], &["/w"]]), Some(by("/w/out", "/w")));
        // Whoever else could put it there.
        let both: &[&[&str]] = &[&["/v", "/w"], &["/w"]];
        assert_eq!(refused(&["/w/out"], "/v/in", both), Some(by("/w/out", "/w")));
        let inner: &[&[&str]] = &[&["/w"], &["/w/in"]];
        assert_eq!(refused(&["/w/in/out"], "/w/other", inner), Some(by("/w/in/out", "/w/in")));
    }

    #[test]
    fn letters_count_alike_large_or_small() {
        let w: &[&[&str]] = &[&["/Data/Wörk"]];
        assert_eq!(
            refused(&["/data/WÖRK/out"], "/home", w),
            Some(by("/data/WÖRK/out", "/Data/Wörk"))
        );
        assert_eq!(refused(&["/data/WÖRKS/out"], "/home", w), None);
        // Names that are no text are names.
        let raw = |bytes: &[u8]| HostPath::new(std::ffi::OsStr::from_bytes(bytes)).unwrap();
        let written = [Written { places: vec![raw(b"/w\xff")] }];
        assert!(planted(&[raw(b"/w\xff/out")], &at("/home"), &written).is_some());
    }
}
