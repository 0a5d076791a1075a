//! Finds what patterns match: secrets, places that are hidden by default, files to warn about.
//!
//! # Theory of operation
//! A pattern is taken name by name from its base. A literal name is looked at; a name with `*` or
//! `?` is held against the entries of the directory, which is listed once for all patterns. Links of
//! parents are followed, one at the last name is what matched.
//!
//! # Decisions
//! - `*` matches a leading dot too: to hide more is the safe side.
//! - A secret that is a link gives two matches, the link and the caller's own file it leads to, so
//!   that `~/.ssh -> dotfiles/ssh` does not leave the keys visible under their other name, also to who
//!   stands there. Other places that are hidden give way to who stands in what they lead to.
//! - The links in a secret directory are looked at too, for those who keep its files elsewhere, one by one
//!   (`~/.aws/credentials -> dotfiles/aws/credentials`); those in the directories below it are not.
//! - A directory the caller cannot enter stands for what may be below: the payload could make it
//!   readable again in a copy-on-write tree, where the directory is the caller's own.
//! - More entries or matches than the bounds is an error: a secret that was not looked for would be
//!   shown.

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use foldhash::{HashMap, HashMapExt as _};
use rustix::fs::FileType;

use crate::plan::facts::{Caller, Kind, Match};
use crate::spec::HostPath;
use crate::spec::order;
use crate::spec::rootfs::{Pattern, PatternBase};

use super::HostError;
use super::entries::{each_entry, list_names, open_directory};
use super::resolve::{self, Last, Resolver};

/// Most entries of one directory that a wildcard is held against.
const MOST_ENTRIES: usize = 100_000;
/// Most matches of all patterns of one kind.
const MOST_MATCHES: usize = 4096;

/// What the patterns of one kind came down to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matches {
    /// What is there, sorted, nothing below another.
    pub(super) there: Vec<Match>,
    /// Patterns without wildcards that matched nothing; sorted.
    pub(super) absent: Vec<HostPath>,
}

/// Expands patterns for one caller.
pub(super) struct Expander<'a> {
    caller: &'a Caller,
    resolver: &'a mut Resolver,
    listed: HashMap<HostPath, Vec<OsString>>,
    sought: Sought,
}

/// What patterns are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    /// Secrets.
    Secrets,
    /// Places that are hidden by default, files to warn about.
    Others,
}

impl<'a> Expander<'a> {
    pub(super) fn new(caller: &'a Caller, resolver: &'a mut Resolver) -> Self {
        Self { caller, resolver, listed: HashMap::new(), sought: Sought::Others }
    }

    /// All that `patterns` match.
    pub(super) fn expand(
        &mut self,
        patterns: &[Pattern],
        sought: Sought,
    ) -> Result<Matches, HostError> {
        self.sought = sought;
        let mut found = Found::default();
        for pattern in patterns {
            let Some(base) = self.base(pattern) else { continue };
            if has_wildcard(pattern.rest().as_bytes()) {
                for path in self.candidates(base, pattern, &mut found)? {
                    // What is absent here went away meanwhile.
                    self.take(path.as_bytes(), &mut found);
                }
            } else {
                let gone = self.take(&whole(&base, pattern), &mut found);
                found.absent.extend(gone);
            }
            if found.there.len() > MOST_MATCHES {
                return Err(HostError::TooManyMatches { limit: MOST_MATCHES });
            }
        }
        Ok(found.prune())
    }

    fn base(&self, pattern: &Pattern) -> Option<HostPath> {
        match pattern.base() {
            PatternBase::Root => Some(HostPath::root()),
            PatternBase::Home => self.caller.home.clone(),
            PatternBase::Workdir => self.caller.workdir.path().cloned(),
        }
    }

    /// The paths a pattern with wildcards may mean: every name but literal ones was seen.
    fn candidates(
        &mut self,
        base: HostPath,
        pattern: &Pattern,
        found: &mut Found,
    ) -> Result<Vec<HostPath>, HostError> {
        let mut paths = vec![base];
        for name in pattern.rest().names() {
            let mut next = Vec::new();
            for path in paths {
                if has_wildcard(name.as_bytes()) {
                    next.extend(self.fitting(&path, name, found)?);
                } else {
                    next.extend(path.join(name));
                }
            }
            if next.len() > MOST_MATCHES {
                return Err(HostError::TooManyMatches { limit: MOST_MATCHES });
            }
            paths = next;
        }
        Ok(paths)
    }

    /// The entries of a directory that fit a name with wildcards.
    fn fitting(
        &mut self,
        path: &HostPath,
        name: &OsStr,
        found: &mut Found,
    ) -> Result<Vec<HostPath>, HostError> {
        let directory = self.resolver.resolve(path, Last::Follow);
        if !directory.is_directory() {
            found.there.extend(directory.forbidden_at.map(|at| self.closed(at)));
            return Ok(Vec::new());
        }
        if !self.listed.contains_key(&directory.real) {
            let names = match list_names(&directory.real, MOST_ENTRIES) {
                // Its owner could make it readable again, and so could the payload.
                Err(HostError::List { .. }) if self.is_callers(&directory) => {
                    found.there.push((directory.real.clone(), Kind::Directory));
                    Vec::new()
                }
                // Perhaps it can be entered, but the payload knows no more names than we do.
                Err(HostError::List { .. }) => Vec::new(),
                other => other?,
            };
            self.listed.insert(directory.real.clone(), names);
        }
        let names = self.listed.get(&directory.real).into_iter().flatten();
        let fits = names.filter(|entry| matches(name.as_bytes(), entry.as_bytes()));
        Ok(fits.filter_map(|entry| directory.real.join(entry).ok()).collect())
    }

    fn is_callers(&self, found: &resolve::Found) -> bool {
        found.status.is_some_and(|status| status.uid == self.caller.uid)
    }

    /// What stands for all that may be below a place that cannot be looked into.
    fn closed(&mut self, at: HostPath) -> (HostPath, Kind) {
        let is_directory = self.resolver.directory_mode(&at).is_some();
        (at, if is_directory { Kind::Directory } else { Kind::Forbidden })
    }

    /// Adds what stands at `path`; gives its real path when nothing does, but may.
    fn take(&mut self, path: &[u8], to: &mut Found) -> Option<HostPath> {
        let found = self.resolver.resolve_bytes(path, Last::Keep);
        match found.kind {
            Kind::Absent => return Some(found.real).filter(|_| found.can_appear),
            Kind::Forbidden => {
                let at = found.forbidden_at.unwrap_or(found.real);
                to.there.push(self.closed(at));
            }
            Kind::Link(_) => {
                let target = self.resolver.resolve_bytes(path, Last::Follow);
                if self.may_hide(&target, self.sought) {
                    self.take_linked(&target, to);
                    to.there.push((target.real, target.kind));
                }
                to.there.push((found.real, found.kind));
            }
            _ => {
                self.take_linked(&found, to);
                to.there.push((found.real, found.kind));
            }
        }
        None
    }

    /// Adds what the links in a secret directory lead to. One that cannot be read is hidden without them.
    fn take_linked(&mut self, secret: &resolve::Found, to: &mut Found) {
        if self.sought != Sought::Secrets || !secret.is_directory() {
            return;
        }
        let mut links = Vec::new();
        let listed = open_directory(&secret.real).and_then(|directory| {
            each_entry(&directory, |name, kind| {
                if matches!(kind, FileType::Symlink | FileType::Unknown) {
                    links.extend(secret.real.join(OsStr::from_bytes(name.to_bytes())));
                }
                // As many as that end the search for secrets with an error.
                match links.len() {
                    0..=MOST_MATCHES => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            })
        });
        if listed.is_err() {
            return;
        }
        for link in links {
            let target = self.resolver.resolve(&link, Last::Follow);
            // Who stands there is not who wrote that list: a link to the project is no secret.
            if self.may_hide(&target, Sought::Others) {
                to.there.push((target.real, target.kind));
            }
        }
    }

    /// Whether a link leads to something of the caller's that can be hidden: not to `/dev/null`, and
    /// not to a directory that holds the home or, but for a secret, the current directory.
    fn may_hide(&self, target: &resolve::Found, sought: Sought) -> bool {
        let holds = |path: &HostPath| path.starts_with(&target.real);
        matches!(target.kind, Kind::File | Kind::Directory)
            && self.is_callers(target)
            && !self.caller.home.as_ref().is_some_and(holds)
            && (sought == Sought::Secrets || !self.caller.workdir.path().is_some_and(holds))
    }
}

/// What was found so far, in no order.
#[derive(Default)]
struct Found {
    there: Vec<(HostPath, Kind)>,
    absent: Vec<HostPath>,
}

impl Found {
    /// Sorts, and leaves out what lies below another match.
    fn prune(mut self) -> Matches {
        order::sort_by(&mut self.there, |(one, _), (other, _)| one.cmp(other));
        let mut there: Vec<Match> = Vec::new();
        for (path, kind) in self.there {
            // Sorted by names: what lies below a path follows it directly.
            if !there.last().is_some_and(|last| path.starts_with(&last.path)) {
                there.push(Match { path, kind });
            }
        }
        order::sort(&mut self.absent);
        self.absent.dedup();
        self.absent.retain(|path| !there.iter().any(|found| path.starts_with(&found.path)));
        Matches { there, absent: self.absent }
    }
}

/// The bytes of a pattern without wildcards as a path.
fn whole(base: &HostPath, pattern: &Pattern) -> Vec<u8> {
    let (base, rest) = (base.as_bytes(), pattern.rest().as_bytes());
    match (base, rest) {
        (b"/", rest) => rest.to_vec(),
        (base, b"/") => base.to_vec(),
        (base, rest) => [base, rest].concat(),
    }
}

fn has_wildcard(name: &[u8]) -> bool {
    name.iter().any(|b| matches!(b, b'*' | b'?'))
}

/// Whether a name fits a pattern: `*` is any bytes, `?` any one byte. No backtracking beyond the last
/// `*`, so the time is at most the product of the lengths.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b) if *b == b'?' || *b == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests;
