//! What a run may not leave behind on the host.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Everything in a folder but the store: kind, mode, owner, time of change, content.
#[derive(PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<PathBuf, (u32, u32, i64, i64, u64)>);

impl Snapshot {
    /// The tree at `root`, without `but` and what lies below it.
    pub(crate) fn of(root: &Path, but: &Path) -> Self {
        let mut found = BTreeMap::new();
        add(root, but, &mut found);
        Self(found)
    }

    /// The first paths that are not as they were, each with what happened to it.
    pub(crate) fn differences(&self, later: &Self) -> Vec<String> {
        let gone = self.0.keys().filter(|path| !later.0.contains_key(*path));
        let new = later.0.keys().filter(|path| !self.0.contains_key(*path));
        let other =
            self.0.iter().filter(|(path, seen)| later.0.get(*path).is_some_and(|l| l != *seen));
        let mut found: Vec<String> = gone.map(|path| format!("gone: {}", path.display())).collect();
        found.extend(new.map(|path| format!("new: {}", path.display())));
        found.extend(other.map(|(path, _)| format!("changed: {}", path.display())));
        found.truncate(20);
        found
    }
}

type Seen = (u32, u32, i64, i64, u64);

fn add(path: &Path, but: &Path, found: &mut BTreeMap<PathBuf, Seen>) {
    if path == but {
        return;
    }
    let Ok(metadata) = path.symlink_metadata() else { return };
    // The store's own ancestors come and go with it.
    let holds_store = but.starts_with(path);
    let mut content = DefaultHasher::new();
    if metadata.is_file() {
        fs::read(path).unwrap_or_default().hash(&mut content);
    } else if metadata.is_symlink() {
        fs::read_link(path).unwrap_or_default().hash(&mut content);
    }
    if !holds_store {
        let time = (metadata.mtime(), metadata.mtime_nsec());
        found.insert(
            path.to_owned(),
            (metadata.mode(), metadata.uid(), time.0, time.1, content.finish()),
        );
    }
    if metadata.is_dir()
        && let Ok(entries) = fs::read_dir(path)
    {
        entries.flatten().for_each(|entry| add(&entry.path(), but, found));
    }
}

/// Mounts, locks and what is in the store (`src/state/store.rs` says what it looks like) that should not be there, each as a line.
pub(crate) fn find(home: &Path, store: &Path, records: usize) -> Vec<String> {
    let mut found = mounts(home);
    found.extend(locks(store));
    let kept = names_in(&store.join("kept"));
    if kept.len() != records {
        let count = kept.len();
        found.push(format!("{count} records in the store where {records} are expected: {kept:?}"));
    }
    for folder in ["live", "trash"] {
        let there = names_in(&store.join(folder));
        found.extend(there.iter().map(|name| format!("in the store: {folder}/{name}")));
    }
    for name in names_in(&store.join("names")) {
        let id = fs::read_link(store.join("names").join(&name)).unwrap_or_default();
        if !kept.iter().any(|kept| Path::new(kept) == id.file_name().unwrap_or_default()) {
            found.push(format!("in the store: the name {name} of nothing"));
        }
    }
    found
}

fn mounts(home: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let home = home.to_string_lossy();
    table
        .lines()
        .filter(|line| line.contains(&*home))
        .map(|line| format!("mount: {line}"))
        .collect()
}

/// Locks on any file below `folder`, by device and inode.
fn locks(folder: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/locks").unwrap_or_default();
    if table.is_empty() {
        return Vec::new();
    }
    let mut files = Vec::new();
    all_below(folder, &mut files);
    files
        .iter()
        .filter_map(|path| {
            let inode = path.symlink_metadata().ok()?.ino();
            let line = table.lines().find(|line| line.contains(&format!(":{inode} ")))?;
            Some(format!("lock: {} ({line})", path.display()))
        })
        .collect()
}

fn all_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all_below(&entry.path(), found);
        }
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Gives the owner of every directory below `folder` what removing it takes: an overlay leaves one
/// without any permission.
pub(crate) fn make_removable(folder: &Path) {
    let Ok(metadata) = folder.symlink_metadata() else { return };
    if !metadata.is_dir() {
        return;
    }
    if metadata.mode() & 0o700 != 0o700 {
        // What cannot be changed is told when the folder cannot be removed.
        _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        make_removable(&entry.path());
    }
}
