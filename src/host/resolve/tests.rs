//! Resolving over trees made for it.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn at(dir: &tempfile::TempDir, path: &str) -> HostPath {
    let root = std::fs::canonicalize(dir.path()).unwrap();
    HostPath::new(root.join(path)).unwrap()
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(root.join("a/f"), "x").unwrap();
    symlink("b/../f", root.join("a/up")).unwrap();
    symlink(root.join("a"), root.join("abs")).unwrap();
    symlink("loop2", root.join("loop1")).unwrap();
    symlink("loop1", root.join("loop2")).unwrap();
    symlink("a/gone/x", root.join("dangling")).unwrap();
    dir
}

#[test]
fn links_are_followed_wherever_they_stand() {
    let dir = tree();
    let mut resolver = Resolver::default();
    for (asked, real) in [("abs/up", "a/f"), ("abs/b", "a/b"), ("a/b", "a/b"), ("abs", "a")] {
        let found = resolver.resolve(&at(&dir, asked), Last::Follow);
        assert_eq!(found.real, at(&dir, real), "{asked}");
        assert!(found.status.is_some());
    }
    let kept = resolver.resolve(&at(&dir, "abs/up"), Last::Keep);
    assert_eq!((kept.real, kept.kind), (at(&dir, "a/up"), Kind::Link("b/../f".into())));
}

#[test]
fn what_does_not_exist_says_where_it_would_be() {
    let dir = tree();
    let mut resolver = Resolver::default();
    for (asked, real, can_appear) in [
        ("abs/x/y", "a/x/y", true),
        ("dangling/z", "a/gone/x/z", true),
        ("a/f/y", "a/f/y", false),
        ("a/f/y/z", "a/f/y/z", false),
    ] {
        let found = resolver.resolve(&at(&dir, asked), Last::Follow);
        assert_eq!(found.kind, Kind::Absent, "{asked}");
        assert_eq!((found.real, found.can_appear), (at(&dir, real), can_appear), "{asked}");
    }
}

#[test]
fn a_loop_of_links_ends() {
    let dir = tree();
    let found = Resolver::default().resolve(&at(&dir, "loop1/x"), Last::Follow);
    assert_eq!((found.kind, found.can_appear), (Kind::Absent, false));
    let kept = Resolver::default().resolve(&at(&dir, "loop1"), Last::Keep);
    assert_eq!(kept.kind, Kind::Link("loop2".into()));
}

#[test]
fn a_directory_that_cannot_be_entered_forbids_what_is_below() {
    let dir = tree();
    let locked = at(&dir, "a");
    std::fs::set_permissions(locked.as_path(), PermissionsExt::from_mode(0o000)).unwrap();
    let found = Resolver::default().resolve(&at(&dir, "a/f"), Last::Follow);
    // Root enters all the same.
    if !rustix::process::geteuid().is_root() {
        assert_eq!((found.kind, found.forbidden_at), (Kind::Forbidden, Some(locked.clone())));
    }
    std::fs::set_permissions(locked.as_path(), PermissionsExt::from_mode(0o700)).unwrap();
}
