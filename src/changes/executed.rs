//! Which paths other programs will execute, or be told by what to execute, without being asked again.
//!
//! # Theory of operation
//! A path is looked up by its last name among [`FILES`] (what stands before that name has to agree), by the
//! directory it is in among [`BELOW`], and by the ending of its name. The rules hold anywhere in the tree:
//! a project, a submodule, another home. Letter case is ignored, since some file systems do. What is
//! found is marked in `bryo diff`, and `bryo apply` wants a yes of its own for it. So is what links of the host
//! give such a name ([`links`]), and what the host's git settings name ([`repositories`]).
//!
//! # Decisions
//! - Rather one mark too many: it costs a question. A list cannot be complete, and does not claim it.
//! - A link that stands where a rule has a directory (`.git/hooks -> elsewhere`) is marked: what it leads to
//!   is executed without being in the layer under that name. So is a `.git` that is a file: it names a
//!   repository, whose hooks then run.
//! - Build descriptions are marked when they are new: an existing one is what the user asked to be changed,
//!   and was executed before.
//! - What is deleted executes nothing.
//! - What opens to other users of the machine is marked as well ([`opened`]): they can put there what is executed.
//! - Repositories are looked for above what changed, and in and right below the directory that the caller
//!   stands in. The directories above that were looked at for the path before are not looked at again.
//! - Of a bare repository whose name does not end in `.git` the `HEAD` is marked, for git takes a directory
//!   with `HEAD`, `objects` and `refs` for one, and its `config` names programs that `git status` runs.
//!
//! # Not here
//! Set-id bits, capabilities and devices, which are never applied (`apply`).

mod links;
mod opened;
mod repositories;
mod rules;
mod settings;

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use links::Links;
use repositories::Repositories;
use rules::{BELOW, ENDINGS, FILES, NEW, REPOSITORIES};
use serde::Serialize;

use super::change::{Aspect, Change, FileKind, Kind, Node};
use crate::spec::HostPath;

/// Who executes it, or is told by it what to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executed {
    /// A shell, when it starts or ends.
    Shell,
    /// The login or the graphical session.
    Session,
    /// git.
    Git,
    /// Another version control program.
    VersionControl,
    /// Entering the directory, with direnv and its like.
    Environment,
    /// An editor that opens a file of the project, or any.
    Editor,
    /// A coding agent.
    Agent,
    /// A continuous-integration service.
    Ci,
    /// A build program; of files that are new.
    Build,
    /// A program that fetches and installs packages.
    Packages,
    /// An interpreter or debugger, when it starts.
    Interpreter,
    /// A program that reads commands from its settings.
    Settings,
    /// cron or at.
    Cron,
    /// systemd.
    Systemd,
    /// ssh or its server.
    Ssh,
    /// Whoever types the name of a command.
    Command,
    /// The system: its start, logins, the loader of programs.
    System,
    /// bryo itself.
    Bryo,
    /// Nobody yet: other users of the machine, whom its new permissions let put something there.
    Writers,
    /// Nobody: other users of the machine, who see what they did not.
    Readers,
}

impl Executed {
    /// Whether it lets other users in, and executes nothing by itself.
    pub fn opens(self) -> bool {
        matches!(self, Self::Writers | Self::Readers)
    }

    /// As a remark behind a path.
    pub fn remark(self) -> &'static str {
        match self {
            Self::Shell => "a shell will execute it",
            Self::Session => "the desktop session will execute it",
            Self::Git => "git will execute it, or what it names",
            Self::VersionControl => "version control will execute what it names",
            Self::Environment => "entering the directory will execute it",
            Self::Editor => "an editor may execute what it names",
            Self::Agent => "a coding agent will follow it",
            Self::Ci => "the CI service will execute it",
            Self::Build => "a build will execute it",
            Self::Packages => "a package manager may execute what it names",
            Self::Interpreter => "an interpreter or debugger will execute it",
            Self::Settings => "a program may execute what it names",
            Self::Cron => "cron will execute it",
            Self::Systemd => "systemd will execute it",
            Self::Ssh => "ssh will let in or execute what it names",
            Self::Command => "typing its name will execute it",
            Self::System => "the system will execute it, or what it names",
            Self::Bryo => "bryo will follow it",
            Self::Writers => "other users may be able to write to it",
            Self::Readers => "other users may be able to read it",
        }
    }
}

/// A rule of [`FILES`]: the names before the last one, with a slash at the end, and who executes.
type Rule = (&'static str, Executed);

static BY_NAME: LazyLock<HashMap<&[u8], Vec<Rule>>> = LazyLock::new(|| {
    let mut by_name: HashMap<&[u8], Vec<Rule>> = HashMap::new();
    for (executed, paths) in FILES {
        for path in paths.split_whitespace() {
            let cut = path.rfind('/').map_or(0, |slash| slash + 1);
            let (before, name) = path.split_at(cut);
            by_name.entry(name.as_bytes()).or_default().push((before, *executed));
        }
    }
    by_name
});

static BUILDS: LazyLock<HashSet<&[u8]>> =
    LazyLock::new(|| NEW.split_whitespace().map(str::as_bytes).collect());

/// Tells of changes, one after another, whether something will execute them. Quickest when they are sorted.
#[derive(Debug, Default)]
pub struct Later {
    /// Directories in which commands are looked for: those of `$PATH`, and `~/bin`.
    commands: Vec<HostPath>,
    /// The directory that was asked about last, and what that says of all in it.
    directory: (Vec<u8>, Option<Executed>),
    lower: Vec<u8>,
    /// What bryo itself follows: folders of settings, and stores, as their names are spelt.
    trusted: Vec<HostPath>,
    /// Other names of what links of the host lead to.
    links: Links,
    /// What git executes that no rule knows.
    repositories: Repositories,
    /// The directory that was asked about last: whether it and those above are repositories is known.
    last: Option<HostPath>,
}

impl Later {
    /// For a caller with this home and these directories in `$PATH`, where they are known. Reads links of the
    /// home.
    pub fn new(home: Option<&HostPath>, path: impl IntoIterator<Item = HostPath>) -> Self {
        let bin = home.and_then(|home| home.join("bin").ok());
        let commands: Vec<HostPath> =
            path.into_iter().chain(bin).filter(|path| !path.is_root()).collect();
        let known = |path: &HostPath| is_known(path, &commands);
        let links = home.map(|home| Links::of_home(home, &known)).unwrap_or_default();
        let repositories = home.map(Repositories::of_user).unwrap_or_default();
        Self { commands, links, repositories, ..Self::default() }
    }

    /// And with this project, whatever changed, and those that lie in it.
    #[must_use]
    pub fn with_project(mut self, root: &HostPath) -> Self {
        let commands = &self.commands;
        self.links.add_project(root, &|path| is_known(path, commands));
        for directory in std::iter::once(root.clone()).chain(links::directories(root)) {
            self.look_at(&directory);
        }
        self
    }

    /// And with what bryo itself follows, wherever variables have it. Reads the links on the ways there.
    #[must_use]
    pub fn with_trusted(mut self, names: Vec<HostPath>) -> Self {
        for name in &names {
            self.links.add(name);
            for directory in [name.clone()].into_iter().chain(name.join("profiles")) {
                self.links.read(&directory, &|_| true);
            }
        }
        self.trusted = names;
        self
    }

    /// Looks at the repositories that a directory lies in.
    fn look_above(&mut self, directory: &HostPath) {
        if self.last.as_ref() == Some(directory) {
            return;
        }
        let last = self.last.replace(directory.clone());
        for path in std::iter::once(directory.clone()).chain(directory.ancestors()) {
            if last.as_ref().is_some_and(|last| last.starts_with(&path)) {
                return;
            }
            self.look_at(&path);
        }
    }

    fn look_at(&mut self, directory: &HostPath) {
        if self.repositories.look_at(directory) {
            let commands = &self.commands;
            self.links.add_project(directory, &|path| is_known(path, commands));
        }
    }

    /// Who will execute what a change brings, under its own name or one that a link of the host gives it.
    pub fn executes(&mut self, change: &Change) -> Option<Executed> {
        let now = change.now.as_ref()?;
        let executed = (now.kind != FileKind::Directory).then(|| self.names(change, now)).flatten();
        executed.or_else(|| opened::to_others(change, now))
    }

    /// Who will execute what is no directory.
    fn names(&mut self, change: &Change, now: &Node) -> Option<Executed> {
        if let Some(executed) = self.at(&change.path, change, now) {
            return Some(executed);
        }
        self.look_above(&change.path.parent()?);
        if self.repositories.name(&change.path, now.kind) {
            return Some(Executed::Git);
        }
        let mut names = self.links.names_of(&change.path);
        if now.kind == FileKind::Link {
            names.extend_from_slice(self.links.through(&change.path));
        }
        names.iter().find_map(|name| self.at(name, change, now))
    }

    /// Who would execute it at this path.
    fn at(&mut self, path: &HostPath, change: &Change, now: &Node) -> Option<Executed> {
        let parent = path.parent()?;
        // A link above leads it elsewhere.
        let is_way = |name: &HostPath| now.kind == FileKind::Link && name.starts_with(path);
        if self.trusted.iter().any(|name| path.starts_with(name) || is_way(name)) {
            return Some(Executed::Bryo);
        }
        let path = path.as_bytes();
        self.lower.clear();
        self.lower.extend(path.iter().map(u8::to_ascii_lowercase));
        let cut = self.lower.iter().rposition(|byte| *byte == b'/')? + 1;
        if self.directory.0 != path[..cut] {
            let executed = self.in_directory(&parent, &self.lower[..cut]);
            self.directory = (path[..cut].to_vec(), executed);
        }
        by_name(&self.lower, cut)
            .or_else(|| self.by_directory(now, cut))
            .or_else(|| self.by_kind(change, now, cut))
    }

    /// What lying in a directory says; it is given in small letters and ends in a slash.
    fn in_directory(&self, parent: &HostPath, directory: &[u8]) -> Option<Executed> {
        below(directory).or_else(|| self.commands.contains(parent).then_some(Executed::Command))
    }

    fn by_directory(&self, now: &Node, cut: usize) -> Option<Executed> {
        let executed = self.directory.1?;
        let name = &self.lower[cut..];
        match executed {
            // git passes over what ends so, and writes them into every new repository.
            Executed::Git if name.ends_with(b".sample") => None,
            // What cannot be executed is no command; a link may lead to what can.
            Executed::Command if now.kind == FileKind::File && now.mode & 0o111 == 0 => None,
            _ => Some(executed),
        }
    }

    fn by_kind(&self, change: &Change, now: &Node, cut: usize) -> Option<Executed> {
        let (path, name) = (&self.lower[..], &self.lower[cut..]);
        if matches!(now.kind, FileKind::File | FileKind::Link) && name == b".git" {
            return Some(Executed::Git);
        }
        if now.kind == FileKind::Link
            && let Some(executed) = stands_for(path)
        {
            return Some(executed);
        }
        if is_of_repository(path, cut) {
            return (!name.ends_with(b".sample")).then_some(Executed::Git);
        }
        let ending = ENDINGS.iter().find(|(_, ending)| name.ends_with(ending.as_bytes()));
        if let Some((executed, _)) = ending {
            return Some(*executed);
        }
        let is_new = change.kind == Kind::Added || change.differs.has(Aspect::Type);
        (is_new && BUILDS.contains(name)).then_some(Executed::Build)
    }
}

/// Whether a rule may know what stands at a path or below it, whatever it is.
fn is_known(path: &HostPath, commands: &[HostPath]) -> bool {
    let lower = path.as_bytes().to_ascii_lowercase();
    let cut = lower.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let name = &lower[cut..];
    by_name(&lower, cut).or_else(|| below(&lower[..cut])).or_else(|| stands_for(&lower)).is_some()
        || is_of_repository(&lower, cut)
        || BUILDS.contains(name)
        || ENDINGS.iter().any(|(_, ending)| name.ends_with(ending.as_bytes()))
        || commands.iter().any(|directory| directory.starts_with(path) || path.is_below(directory))
}

/// What lying in a directory says, by the rules alone.
fn below(directory: &[u8]) -> Option<Executed> {
    let fits = |places: &str| places.split_whitespace().any(|at| lies_in(directory, at.as_bytes()));
    BELOW.iter().find(|(_, places)| fits(places)).map(|(executed, _)| *executed)
}

/// By the last name, which begins at `cut`, and those before it.
fn by_name(path: &[u8], cut: usize) -> Option<Executed> {
    let rules = BY_NAME.get(&path[cut..])?;
    let above = &path[..cut];
    let fits = |(before, _): &&Rule| ends_with_names(above, before.as_bytes());
    rules.iter().find(fits).map(|(_, executed)| *executed)
}

/// Whether it is a hook or the configuration of a repository that is not in a `.git` of its own: a bare
/// one, a submodule's, a worktree's. What makes a directory of any name a bare repository is its `HEAD`.
fn is_of_repository(path: &[u8], cut: usize) -> bool {
    let (above, name) = path.split_at(cut);
    let is_in_one = above.ends_with(b".git/") || has_part(above, REPOSITORIES);
    match name {
        // `commondir` tells where the configuration and the hooks are.
        b"config" | b"config.worktree" | b"commondir" => is_in_one,
        b"git-rebase-todo" => has_part(above, REPOSITORIES) || contains(above, b".git/rebase-"),
        b"head" => !is_in_one && !contains(above, b"/.git/"),
        b"attributes" if above.ends_with(b"/info/") => {
            above.ends_with(b".git/info/") || has_part(above, REPOSITORIES)
        }
        _ => {
            let hook = contains(above, b"/hooks/");
            hook && (contains(above, b".git/hooks/") || has_part(above, REPOSITORIES))
        }
    }
}

fn has_part(path: &[u8], parts: &[&str]) -> bool {
    parts.iter().any(|part| contains(path, part.as_bytes()))
}

/// Whether a directory, which ends in a slash, ends with these names.
fn ends_with_names(directory: &[u8], names: &[u8]) -> bool {
    let rest = directory.strip_suffix(names);
    names.is_empty() || rest.is_some_and(|rest| rest.last() == Some(&b'/'))
}

/// Whether a directory, which ends in a slash, is this place or lies below it. One that begins with a slash
/// is meant from the root.
fn lies_in(directory: &[u8], place: &[u8]) -> bool {
    if place.first() == Some(&b'/') {
        return directory.strip_prefix(place).is_some_and(|rest| rest.first() == Some(&b'/'));
    }
    let fits = |at: usize| {
        directory[at + 1..].strip_prefix(place).is_some_and(|rest| rest.first() == Some(&b'/'))
    };
    slashes(directory).any(fits)
}

fn slashes(path: &[u8]) -> impl Iterator<Item = usize> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at)
}

/// Whether names stand in a path, the first one whole.
fn contains(path: &[u8], names: &[u8]) -> bool {
    path.windows(names.len()).any(|part| part == names)
}

/// Who executes what lies below a directory in whose place a link stands.
fn stands_for(path: &[u8]) -> Option<Executed> {
    let fits = |place: &[u8]| match path.strip_suffix(place) {
        Some(rest) if place.first() == Some(&b'/') => rest.is_empty(),
        Some(rest) => rest.last() == Some(&b'/'),
        None => false,
    };
    BELOW.iter().chain(FILES).find_map(|(executed, paths)| {
        let mut places = paths.split_whitespace().flat_map(|rule| {
            let ends = slashes(rule.as_bytes()).filter(|at| *at > 0).chain([rule.len()]);
            ends.map(|end| &rule.as_bytes()[..end])
        });
        places.any(fits).then_some(*executed)
    })
}

#[cfg(test)]
mod tests;
