//! Finds a profile and everything it extends, and merges the row.
//!
//! # Theory of operation
//! A reference with a slash is a file; any other is a name: built in, or `NAME.toml` in the
//! directory of user profiles. The row is found depth first, parents before children and each
//! profile once, so that two profiles that extend the same third can be combined without its values
//! coming back over theirs.
//!
//! # Decisions
//! - A built-in name means the built-in profile. Typed, it is an error where the user has a file of it; in `extends` or
//!   where no name is typed the file is passed over, and told.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::spec::rootfs::{Access, Pattern};
use crate::spec::{Text, is_valid_name};

use super::builtin;
use super::embedded;
use super::error::ProfileError;
use super::read::{MAX_SIZE, ProfileFile, parse_profile};
use super::settings::{Keyed, List, Settings};
use super::value::nearest;

/// How many profiles one row can have.
const MOST: usize = 32;

/// What a profile that says nothing about it extends.
const IMPLIED: &str = "default";

/// A profile, as somebody refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// By name.
    Name(String),
    /// By file: it was written with a slash.
    File(PathBuf),
}

impl Reference {
    /// Reads what follows `--profile` or stands in `extends`.
    pub fn parse(text: &OsStr) -> Result<Self, ProfileError> {
        if text.as_encoded_bytes().contains(&b'/') {
            return Ok(Self::File(PathBuf::from(text)));
        }
        match text.to_str().filter(|name| is_valid_name(name)) {
            Some(name) => Ok(Self::Name(name.to_owned())),
            None => Err(ProfileError::BadName(Text::from(shorten(text)))),
        }
    }
}

/// What is quoted of a name in a message.
fn shorten(name: &OsStr) -> OsString {
    OsString::from_vec(name.as_bytes().iter().take(100).copied().collect())
}

/// Where a profile comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Compiled in.
    Builtin,
    /// A file.
    File(Text),
}

/// A merged row of profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The name of the profile asked for; the file's own name without `.toml` for a file.
    pub name: String,
    /// For whom it is.
    pub description: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// The names of the row, the profile itself last.
    pub row: Vec<String>,
    /// The row, merged.
    pub settings: Settings,
    /// What profiles of the row remove from lists that do not have it.
    pub idle: Settings,
    /// Files of the user's that have the name of a built-in profile which is used in their place.
    pub passed_over: Vec<Text>,
}

/// One line of `bryo profile list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Its name.
    pub name: String,
    /// For whom it is.
    pub description: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// Why it cannot be used, when it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// All profiles there are.
#[derive(Debug, Clone, Default)]
pub struct Library {
    directory: Option<PathBuf>,
}

/// One profile of a row that is being put together.
struct Member {
    name: String,
    origin: Origin,
    file: ProfileFile,
    /// The user's file of its name.
    shadow: Option<Text>,
}

impl Library {
    /// The built-in profiles and those in `directory`, when there is one.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// The profile of who names none. An error would let a file that somebody put there stop every run.
    pub fn resolve_usual(&self) -> Result<Resolved, ProfileError> {
        let usual = embedded::resolved(IMPLIED).map_or_else(|| resolve_builtin(IMPLIED), Ok)?;
        Ok(Resolved { passed_over: self.shadow(IMPLIED).into_iter().collect(), ..usual })
    }

    /// The merged row of a profile. One that is named must not have two meanings.
    pub fn resolve(&self, reference: &Reference) -> Result<Resolved, ProfileError> {
        if let Reference::Name(name) = reference
            && builtin::source(name).is_some()
        {
            self.refuse_shadow(name)?;
            return embedded::resolved(name).map_or_else(|| resolve_builtin(name), Ok);
        }
        let mut row = Vec::new();
        self.collect(reference, Path::new(""), &mut Vec::new(), &mut row)?;
        merge_row(row)
    }

    /// The text of a profile as it was written.
    pub fn source(&self, reference: &Reference) -> Result<(Origin, Vec<u8>), ProfileError> {
        if let Reference::Name(name) = reference
            && let Some(text) = builtin::source(name)
        {
            self.refuse_shadow(name)?;
            return Ok((Origin::Builtin, text.as_bytes().to_vec()));
        }
        let path = self.path_of(reference, Path::new(""))?;
        Ok((Origin::File(Text::from(path.as_os_str())), read_bounded(&path)?))
    }

    /// Every profile: the built-in ones, then the user's by name.
    pub fn list(&self) -> Result<Vec<Listing>, ProfileError> {
        let mut names: Vec<String> = builtin::NAMES.iter().map(|name| (*name).to_owned()).collect();
        names.extend(self.user_names()?.into_iter().filter(|name| builtin::source(name).is_none()));
        Ok(names.into_iter().map(|name| self.listing(name)).collect())
    }

    fn listing(&self, name: String) -> Listing {
        let reference = Reference::Name(name.clone());
        let origin = match self.path_of(&reference, Path::new("")) {
            Ok(path) if builtin::source(&name).is_none() => {
                Origin::File(Text::from(path.into_os_string()))
            }
            _ => Origin::Builtin,
        };
        match self.resolve(&reference) {
            Ok(resolved) => {
                Listing { name, description: resolved.description, origin, problem: None }
            }
            Err(error) => Listing { name, description: None, origin, problem: Some(chain(&error)) },
        }
    }

    /// Names of the files in the directory that can be profiles, sorted.
    fn user_names(&self) -> Result<BTreeSet<String>, ProfileError> {
        let Some(directory) = &self.directory else { return Ok(BTreeSet::new()) };
        let unreadable =
            |source| ProfileError::Unreadable { file: Text::from(directory.as_os_str()), source };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name();
            names.extend(
                name.to_str()
                    .and_then(|name| name.strip_suffix(".toml"))
                    .filter(|name| is_valid_name(name))
                    .map(str::to_owned),
            );
        }
        Ok(names)
    }

    /// The user's file of a name, when there is one.
    fn user_file(&self, name: &str) -> Option<PathBuf> {
        let file = self.directory.as_ref()?.join(format!("{name}.toml"));
        fs::symlink_metadata(&file).is_ok().then_some(file)
    }

    /// The user's file that has the name of a built-in profile.
    fn shadow(&self, name: &str) -> Option<Text> {
        self.user_file(name).map(|file| Text::from(file.into_os_string()))
    }

    fn refuse_shadow(&self, name: &str) -> Result<(), ProfileError> {
        let shadow = self.shadow(name);
        shadow.map_or(Ok(()), |file| Err(ProfileError::Shadows { name: name.to_owned(), file }))
    }

    /// The file of a reference that is not built in; `from` is the directory of the one that refers.
    fn path_of(&self, reference: &Reference, from: &Path) -> Result<PathBuf, ProfileError> {
        match reference {
            Reference::File(path) => Ok(from.join(path)),
            Reference::Name(name) => self.user_file(name).ok_or_else(|| self.not_found(name)),
        }
    }

    fn not_found(&self, name: &str) -> ProfileError {
        // A directory that cannot be read has no names to suggest.
        let names = self.user_names().unwrap_or_default();
        let known = builtin::NAMES.iter().copied().chain(names.iter().map(String::as_str));
        ProfileError::NotFound {
            name: Text::from(name),
            nearest: nearest(name, known).map(str::to_owned),
        }
    }

    fn read(&self, reference: &Reference, from: &Path) -> Result<(Member, PathBuf), ProfileError> {
        if let Reference::Name(name) = reference
            && let Some(text) = builtin::source(name)
        {
            let file = parse_profile(&Text::from(name.as_str()), text.as_bytes())?;
            let (name, shadow) = (name.clone(), self.shadow(name));
            return Ok((Member { name, origin: Origin::Builtin, file, shadow }, PathBuf::new()));
        }
        let path = self.path_of(reference, from)?;
        let shown = Text::from(path.as_os_str());
        let file = parse_profile(&shown, &read_bounded(&path)?)?;
        let name = match reference {
            Reference::Name(name) => name.clone(),
            Reference::File(_) => path
                .file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
        };
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok((Member { name, origin: Origin::File(shown), file, shadow: None }, parent))
    }

    /// Appends the row of `reference` to `row`. `open` holds those whose parents are being collected.
    fn collect(
        &self,
        reference: &Reference,
        from: &Path,
        open: &mut Vec<(Origin, String)>,
        row: &mut Vec<Member>,
    ) -> Result<(), ProfileError> {
        let (member, directory) = self.read(reference, from)?;
        let same = |origin: &Origin, name: &str| *origin == member.origin && name == member.name;
        if let Some(at) = open.iter().position(|(origin, name)| same(origin, name)) {
            return Err(ProfileError::Cycle(
                open[at..].iter().map(|(_, name)| name.clone()).collect(),
            ));
        }
        if row.iter().any(|known| same(&known.origin, &known.name)) {
            return Ok(());
        }
        if row.len() + open.len() >= MOST {
            return Err(ProfileError::TooMany { name: member.name, limit: MOST });
        }
        open.push((member.origin.clone(), member.name.clone()));
        let implied = vec![IMPLIED.to_owned()];
        for parent in member.file.extends.as_ref().unwrap_or(&implied) {
            let parent = Reference::parse(parent.as_ref())?;
            self.collect(&parent, &directory, open, row)?;
        }
        open.pop();
        row.push(member);
        Ok(())
    }
}

/// Merges a row from the left; its last member gives the name.
fn merge_row(row: Vec<Member>) -> Result<Resolved, ProfileError> {
    let names = row.iter().map(|member| member.name.clone()).collect();
    let mut merged = Resolved {
        name: String::new(),
        description: None,
        origin: Origin::Builtin,
        row: names,
        settings: Settings::default(),
        idle: Settings::default(),
        passed_over: row.iter().filter_map(|member| member.shadow.clone()).collect(),
    };
    for member in row {
        merged.name = member.name;
        merged.origin = member.origin;
        merged.description = member.file.description;
        let idle = merged.settings.idle_removals(&member.file.settings);
        merged.idle = merged.idle.merge(idle);
        merged.settings = merged.settings.merge(member.file.settings);
    }
    refuse_still_hidden(&merged.settings)?;
    Ok(merged)
}

/// A profile's own request does not open what a list hides: the list's entry has to go.
fn refuse_still_hidden(settings: &Settings) -> Result<(), ProfileError> {
    let paths = &settings.paths;
    let in_list =
        |list: &List<Pattern>, path: &Pattern| list.entries.iter().any(|entry| entry == path);
    for entry in &paths.requests.entries {
        let access = match entry.access {
            Access::Hide => continue,
            access => access_key(access),
        };
        let list = match () {
            () if in_list(&paths.secrets, entry.key()) => "secrets",
            () if in_list(&paths.hidden, entry.key()) => "hidden",
            () => continue,
        };
        return Err(ProfileError::StillHidden {
            path: Text::from(entry.path.clone()),
            access,
            list,
        });
    }
    Ok(())
}

/// The key of `[paths]` for an access.
pub fn access_key(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::Cow => "cow",
        Access::Hide => "hide",
        Access::Tmpfs { .. } => "tmpfs",
        Access::Socket => "socket",
        Access::Device => "device",
        Access::Toolchain => "toolchain",
    }
}

/// A file's bytes, when it is a regular file of bounded size. Does not wait for a FIFO's writer.
fn read_bounded(path: &Path) -> Result<Vec<u8>, ProfileError> {
    let file = Text::from(path.as_os_str());
    let unreadable = |source| ProfileError::Unreadable { file: file.clone(), source };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(unreadable)?;
    if !opened.metadata().map_err(unreadable)?.is_file() {
        return Err(ProfileError::NotAFile(file));
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_SIZE).unwrap_or(u64::MAX);
    opened.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > MAX_SIZE {
        return Err(ProfileError::TooLarge { file, limit: MAX_SIZE });
    }
    Ok(bytes)
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Reads and merges the files of a built-in profile, as `build.rs` does once.
pub fn resolve_builtin(name: &str) -> Result<Resolved, ProfileError> {
    let mut row = Vec::new();
    Library::default().collect(
        &Reference::Name(name.to_owned()),
        Path::new(""),
        &mut Vec::new(),
        &mut row,
    )?;
    merge_row(row)
}
