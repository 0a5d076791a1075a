//! Names that links of the host give to what lies elsewhere: `~/.bashrc -> dot/bashrc`.
//!
//! # Theory of operation
//! Whoever writes through such a link changes `dot/bashrc`, which no rule knows, while a shell executes it
//! as `.bashrc`. So the links that stand where rules look are read, and each place on the way of one is
//! kept with the name that leads there. A path at or below a place is then judged by those names too.
//! Looked through are the home's directories in [`HOME`], and of each repository that something
//! changed in, or that the caller stands in, those in [`PROJECT`].
//!
//! # Decisions
//! - Every place on the way counts, not the last alone: of `.bashrc -> dot/bashrc`, `dot -> files`, a payload may
//!   change `files/bashrc`, or put a directory with a `bashrc` in the place of the link `dot`.
//! - A link whose target is missing counts: the payload may have made the target.
//! - Only links that a rule knows are kept: others would cost time with each path and say nothing.
//! - Bounded: so many names of a directory, so many links of a way. The time does not depend on the tree.
//! - Nothing is opened but directories, and nothing in them but links is read.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::spec::HostPath;
use crate::spec::link::names;

/// Names of one directory that are looked at.
const NAMES: usize = 10_000;
/// Links of one way that are followed, as many as the kernel follows.
const HOPS: usize = 40;

/// Directories of a home whose links are read.
const HOME: &[&str] = &[
    "",
    ".config",
    ".ssh",
    "bin",
    ".local",
    ".local/bin",
    ".local/share",
    ".local/share/applications",
    ".config/systemd/user",
    ".claude",
    ".vim",
    ".emacs.d",
    ".gnupg",
    ".cargo",
    ".docker",
];
/// Directories of a repository whose links are read.
const PROJECT: &[&str] = &[
    "",
    ".git",
    ".git/hooks",
    ".git/info",
    ".husky",
    ".githooks",
    ".github",
    ".github/workflows",
    ".vscode",
    ".claude",
    ".cargo",
];

/// Whether a rule knows what stands at a path, or below it.
pub(super) type Known<'a> = &'a dyn Fn(&HostPath) -> bool;

/// What links of the host lead to, with the names of those links.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// By place, the links that lead there.
    names: HashMap<HostPath, Vec<HostPath>>,
    /// By the directories above those places: as many links as there are.
    above: HashMap<HostPath, Vec<HostPath>>,
    /// Directories whose links were read.
    read: HashSet<HostPath>,
}

impl Links {
    /// Reads the links of a home. Of `~/.config` two levels, for programs that link single files make
    /// the directories.
    pub(super) fn of_home(home: &HostPath, known: Known<'_>) -> Self {
        let mut links = Self::default();
        links.read_all(home, HOME, known);
        let Ok(settings) = home.join(".config") else { return links };
        for directory in directories(&settings) {
            links.read(&directory, known);
        }
        links
    }

    /// Reads the links of a project, wherever its root is.
    pub(super) fn add_project(&mut self, root: &HostPath, known: Known<'_>) {
        self.read_all(root, PROJECT, known);
    }

    /// By which other names a path goes.
    pub(super) fn names_of(&self, path: &HostPath) -> Vec<HostPath> {
        if self.names.is_empty() {
            return Vec::new();
        }
        let mut names = Vec::new();
        let mut here = Some(path.clone());
        while let Some(place) = here {
            for link in self.names.get(&place).into_iter().flatten() {
                names.extend(path.moved(&place, link).filter(|name| name != path));
            }
            here = place.parent();
        }
        names
    }

    /// The links whose way leads through a path: a link in its place leads them elsewhere.
    pub(super) fn through(&self, path: &HostPath) -> &[HostPath] {
        self.above.get(path).map_or(&[], Vec::as_slice)
    }

    fn read_all(&mut self, root: &HostPath, directories: &[&str], known: Known<'_>) {
        for directory in directories {
            let path = if directory.is_empty() { Ok(root.clone()) } else { root.join(directory) };
            if let Ok(path) = path {
                self.read(&path, known);
            }
        }
    }

    /// Reads the links in a directory.
    pub(super) fn read(&mut self, directory: &HostPath, known: Known<'_>) {
        if !self.read.insert(directory.clone()) {
            return;
        }
        for (path, kind) in entries(directory) {
            if kind.is_symlink() && known(&path) {
                self.add(&path);
            }
        }
    }

    /// Adds a link, or any name that links lead to.
    pub(super) fn add(&mut self, link: &HostPath) {
        for place in way(link) {
            let mut here = place.parent();
            while let Some(above) = here {
                here = above.parent();
                insert(&mut self.above, above, link);
            }
            insert(&mut self.names, place, link);
        }
    }
}

fn insert(map: &mut HashMap<HostPath, Vec<HostPath>>, key: HostPath, link: &HostPath) {
    let links = map.entry(key).or_default();
    // The places of one link come after each other.
    if links.last() != Some(link) {
        links.push(link.clone());
    }
}

/// What is in a directory. What cannot be read holds nothing that this caller's programs would find.
fn entries(directory: &HostPath) -> impl Iterator<Item = (HostPath, fs::FileType)> {
    let names = fs::read_dir(directory.as_path()).into_iter().flatten().take(NAMES);
    names.filter_map(move |entry| {
        let entry = entry.ok()?;
        Some((directory.join(entry.file_name()).ok()?, entry.file_type().ok()?))
    })
}

/// The directories in a directory, as far as they are looked at.
pub(super) fn directories(directory: &HostPath) -> Vec<HostPath> {
    entries(directory).filter(|(_, kind)| kind.is_dir()).map(|(path, _)| path).collect()
}

/// The places on the way of a link: after each link that is followed the path that is looked up then, and what
/// it ends at, whether or not that is there.
fn way(link: &HostPath) -> Vec<HostPath> {
    let mut places = places(link, Path::new(""));
    places.retain(|place| place != link);
    places
}

/// The places on the way to what a directory and a text name together, links followed; the last is its end.
pub(super) fn places(directory: &HostPath, text: &Path) -> Vec<HostPath> {
    let mut places = Vec::new();
    let (mut here, mut hops) = (HostPath::root(), 0);
    let mut rest: VecDeque<OsString> = names(text).into();
    if !text.is_absolute() {
        for name in directory.names().map(OsString::from).collect::<Vec<_>>().into_iter().rev() {
            rest.push_front(name);
        }
    }
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            here = here.parent().unwrap_or(here);
            continue;
        }
        let Ok(next) = here.join(&name) else { return places };
        let Ok(target) = fs::read_link(next.as_path()) else {
            here = next;
            continue;
        };
        hops += 1;
        if hops > HOPS {
            return places;
        }
        places.extend(below(&next, &rest));
        if target.is_absolute() {
            here = HostPath::root();
        }
        for name in names(&target).into_iter().rev() {
            rest.push_front(name);
        }
    }
    places.push(here);
    places
}

/// A path, and what is looked up below it, as far as no `..` is.
fn below(path: &HostPath, rest: &VecDeque<OsString>) -> Option<HostPath> {
    let mut rest = rest.iter().take_while(|name| *name != "..");
    rest.try_fold(path.clone(), |path, name| path.join(name).ok())
}
