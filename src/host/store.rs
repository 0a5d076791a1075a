//! The directories that could hold layers, and whether each can be used.
//!
//! # Not here
//! Which one is taken: `plan`. Making it and checking it again when it is opened: `state`.

use std::ffi::OsString;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode};

use crate::plan::facts::{Caller, StoreCandidate, StoreSource, StoreState};
use crate::spec::HostPath;

use super::HostError;
use super::place::fs_magic;
use super::resolve::{Found, Last, Resolver, Status};

/// What the environment says of stores.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    /// `$BRYO_STORE`.
    pub(super) store: Option<OsString>,
    /// `$XDG_DATA_HOME`.
    pub(super) data_home: Option<OsString>,
}

impl Variables {
    pub(super) fn from_environment() -> Self {
        Self { store: std::env::var_os("BRYO_STORE"), data_home: std::env::var_os("XDG_DATA_HOME") }
    }
}

/// Every candidate, in order of preference.
pub(super) fn probe(
    variables: &Variables,
    caller: &Caller,
    homes: &[HostPath],
    resolver: &mut Resolver,
) -> Result<Vec<StoreCandidate>, HostError> {
    let named = candidates(variables, caller, homes)?;
    Ok(named
        .into_iter()
        .map(|(source, path)| {
            let found = resolver.resolve(&path, Last::Keep);
            let above = existing_directory(&found, resolver);
            StoreCandidate {
                source,
                fs_magic: fs_magic(&above),
                state: state(&found, &above, caller.uid, resolver),
                path: found.real,
            }
        })
        .collect())
}

/// Where stores are looked for, links not resolved.
pub(super) fn candidates(
    variables: &Variables,
    caller: &Caller,
    homes: &[HostPath],
) -> Result<Vec<(StoreSource, HostPath)>, HostError> {
    let mut found = Vec::new();
    if let Some(value) = variables.store.clone().filter(|value| !value.is_empty()) {
        let path = HostPath::new(&value)
            .map_err(|source| HostError::Store { value: value.into(), source })?;
        found.push((StoreSource::Variable, path));
    }
    // A relative one is to be ignored, says the XDG base directory specification.
    let data_home = variables.data_home.as_ref().and_then(|path| HostPath::new(path).ok());
    let data_home =
        data_home.or_else(|| caller.home.as_ref().and_then(|home| home.join(".local/share").ok()));
    let data_home = data_home.and_then(|path| path.join("bryo").ok());
    found.extend(data_home.map(|path| (StoreSource::DataHome, path)));
    let var_tmp = HostPath::new(format!("/var/tmp/bryo-{}", caller.uid));
    found.extend(var_tmp.map(|path| (StoreSource::VarTmp, path)));
    // Last, for the sake of hiding them: other runs, with other variables, keep their layers there.
    for home in caller.home.iter().chain(homes) {
        let path = home.join(".local/share/bryo").ok();
        let path = path.filter(|path| !found.iter().any(|(_, known)| known == path));
        found.extend(path.map(|path| (StoreSource::DataHome, path)));
    }
    Ok(found)
}

/// The store itself, or the nearest directory above it that exists.
fn existing_directory(found: &Found, resolver: &mut Resolver) -> HostPath {
    let mut above = std::iter::once(found.real.clone()).chain(found.real.ancestors());
    above.find(|path| resolver.directory_mode(path).is_some()).unwrap_or_else(HostPath::root)
}

/// Whether it can be used: what is there must be the caller's alone, what is not must be possible
/// to make where nobody else can put something in its place.
fn state(found: &Found, above: &HostPath, uid: u32, resolver: &mut Resolver) -> StoreState {
    let parent_is_open = found
        .real
        .parent()
        .and_then(|parent| resolver.directory_mode(&parent))
        // Anybody may rename what stands in a directory that all can write and that is not sticky.
        .is_some_and(|mode| mode & 0o1002 == 0o002);
    match &found.status {
        _ if parent_is_open => StoreState::Foreign,
        Some(status) if !is_private(status, uid) => StoreState::Foreign,
        Some(_) | None if may_use(above) => StoreState::Usable,
        Some(_) | None => StoreState::Unwritable,
    }
}

fn is_private(status: &Status, uid: u32) -> bool {
    status.file_type == FileType::Directory
        && status.uid == uid
        && !Mode::from_raw_mode(status.mode).intersects(Mode::RWXG | Mode::RWXO)
}

/// By access(2): it knows of read-only mounts.
fn may_use(directory: &HostPath) -> bool {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::accessat(CWD, directory.as_path(), wanted, AtFlags::EACCESS).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn caller(home: &Path) -> Caller {
        Caller {
            uid: rustix::process::geteuid().as_raw(),
            home: HostPath::new(home).ok(),
            ..Caller::default()
        }
    }

    fn state_of(path: &Path) -> StoreState {
        let variables = Variables { store: Some(path.into()), data_home: None };
        let caller = caller(path);
        probe(&variables, &caller, &[], &mut Resolver::default()).unwrap()[0].state
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_candidates_stand_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let home = std::fs::canonicalize(dir.path()).unwrap();
        let at = |path: &str| HostPath::new(home.join(path)).unwrap();
        let sources = |variables: &Variables| -> Vec<_> {
            let found = probe(variables, &caller(&home), &[], &mut Resolver::default()).unwrap();
            found.into_iter().map(|c| (c.source, c.path)).collect()
        };
        let uid = rustix::process::geteuid().as_raw();
        let var_tmp = HostPath::new(format!("/var/tmp/bryo-{uid}")).unwrap();
        assert_eq!(
            sources(&Variables::default()),
            [
                (StoreSource::DataHome, at(".local/share/bryo")),
                (StoreSource::VarTmp, var_tmp.clone())
            ]
        );
        let both = Variables {
            store: Some(home.join("s").into()),
            data_home: Some(home.join("d").into()),
        };
        assert_eq!(
            sources(&both),
            [
                (StoreSource::Variable, at("s")),
                (StoreSource::DataHome, at("d/bryo")),
                (StoreSource::VarTmp, var_tmp),
                // Where runs without these variables keep theirs: last, and hidden with the others.
                (StoreSource::DataHome, at(".local/share/bryo"))
            ]
        );
    }

    #[test]
    fn a_relative_store_is_an_error_and_a_relative_data_home_is_not() {
        let home = Path::new("/");
        let store = Variables { store: Some("s".into()), data_home: None };
        let error = probe(&store, &caller(home), &[], &mut Resolver::default()).unwrap_err();
        assert_eq!(error.to_string(), "cannot use `s` as the store");
        let data = Variables { store: None, data_home: Some("d".into()) };
        assert_eq!(
            candidates(&data, &caller(home), &[]).unwrap()[0].1.to_string(),
            "/.local/share/bryo"
        );
    }

    #[test]
    fn a_store_is_usable_only_when_it_is_the_callers_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = std::fs::canonicalize(dir.path()).unwrap().join("store");
        assert_eq!(state_of(&store), StoreState::Usable);
        assert_eq!(state_of(&store.join("deep/er")), StoreState::Usable);
        std::fs::create_dir(&store).unwrap();
        set_mode(&store, 0o700);
        assert_eq!(state_of(&store), StoreState::Usable);
        set_mode(&store, 0o755);
        assert_eq!(state_of(&store), StoreState::Foreign);
        symlink(&store, store.with_file_name("link")).unwrap();
        assert_eq!(state_of(&store.with_file_name("link")), StoreState::Foreign);
        std::fs::write(store.join("file"), "").unwrap();
        assert_eq!(state_of(&store.join("file")), StoreState::Foreign);
        // Somebody else could put a store of theirs there.
        set_mode(&store, 0o777);
        assert_eq!(state_of(&store.join("mine")), StoreState::Foreign);
    }

    #[test]
    fn a_store_that_cannot_be_made_is_unwritable() {
        // What access(2) tells root is that it may.
        let expected = if rustix::process::geteuid().is_root() {
            StoreState::Usable
        } else {
            StoreState::Unwritable
        };
        assert_eq!(state_of(Path::new("/proc/bryo")), expected);
    }
}
