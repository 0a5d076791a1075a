//! Two trees, compared byte by byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What one path is: all that counts, as text.
pub(crate) type Tree = BTreeMap<PathBuf, String>;

/// Times before this were set on purpose; later ones are those of the run.
const RECENT: i64 = 1_600_000_000;

/// First names by inode; none where hard links do not count.
type Links = Option<BTreeMap<u64, PathBuf>>;

/// Reads a tree. Hard links are the path of the first name.
pub(crate) fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    walk(root, Path::new(""), &mut tree, &mut Some(BTreeMap::new()));
    tree
}

/// As [`read`], without hard links: an overlay does not show all of its own.
pub(crate) fn read_without_links(root: &Path) -> Tree {
    let mut tree = Tree::new();
    walk(root, Path::new(""), &mut tree, &mut None);
    tree
}

fn walk(root: &Path, at: &Path, tree: &mut Tree, inodes: &mut Links) {
    let path = root.join(at);
    let stat = fs::symlink_metadata(&path).unwrap();
    let kind = stat.mode() & 0o170_000;
    let mut text = format!("{kind:o} {:o} {}:{}", stat.mode() & 0o7777, stat.uid(), stat.gid());
    if stat.is_symlink() {
        text = format!("link {}", fs::read_link(&path).unwrap().display());
    } else if stat.is_file() {
        let content = fs::read(&path).unwrap();
        write!(text, " {:?}", String::from_utf8_lossy(&content)).unwrap();
        if let Some(inodes) = inodes {
            let first = inodes.entry(stat.ino()).or_insert_with(|| at.to_owned());
            if first != at {
                write!(text, " = {}", first.display()).unwrap();
            }
        }
        if stat.mtime() < RECENT {
            write!(text, " @{}", stat.mtime()).unwrap();
        }
    }
    let mut value = [0_u8; 64];
    if !stat.is_symlink()
        && !std::os::unix::fs::FileTypeExt::is_fifo(&stat.file_type())
        && let Ok(length) = rustix::fs::getxattr(&path, "user.t", &mut value[..])
    {
        write!(text, " user.t={:?}", String::from_utf8_lossy(&value[..length])).unwrap();
    }
    if !at.as_os_str().is_empty() {
        tree.insert(at.to_owned(), text);
    }
    if stat.is_dir() {
        let mut names: Vec<_> =
            fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            walk(root, &at.join(name), tree, inodes);
        }
    }
}

/// Where two trees differ.
pub(crate) fn differences(expected: &Tree, found: &Tree) -> Vec<String> {
    let mut paths: Vec<&PathBuf> = expected.keys().chain(found.keys()).collect();
    paths.sort();
    paths.dedup();
    let side = |tree: &Tree, path: &PathBuf| tree.get(path).cloned().unwrap_or_default();
    paths
        .into_iter()
        .filter(|path| expected.get(*path) != found.get(*path))
        .map(|path| {
            let name = path.as_os_str().as_bytes().escape_ascii();
            format!("{name}: expected [{}], found [{}]", side(expected, path), side(found, path))
        })
        .collect()
}
