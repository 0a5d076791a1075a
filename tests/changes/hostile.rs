//! Layers that a payload would like to make, and places that are closed: told, and neither obeyed nor followed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use bryo::changes::{Aspect, Change, Kind, Trouble};
use bryo::plan::step::Backend;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, openat};

use super::{Fixture, chmod, inside, is_root, mark, open, whiteout};

#[test]
fn forged_marks_are_told_and_not_obeyed() {
    let fixture = Fixture::new(Backend::Kernel);
    fs::create_dir(fixture.lower("d")).unwrap();
    fs::write(fixture.lower("d/keep"), "").unwrap();
    fs::write(fixture.lower("f"), "0123456789").unwrap();
    fs::create_dir(fixture.upper("d")).unwrap();
    mark(&fixture.upper("d"), "user.overlay.redirect", "/etc");
    fs::create_dir(fixture.upper("x")).unwrap();
    mark(&fixture.upper("x"), "user.overlay.opaque", "x");
    fs::File::create(fixture.upper("f")).unwrap().set_len(10).unwrap();
    mark(&fixture.upper("f"), "user.overlay.metacopy", "");
    let changes = fixture.read();
    assert_eq!(fixture.listed(), ["C d", "C f", "A x"]);
    assert!(changes.iter().all(|c| c.trouble == Some(Trouble::Forged)), "{changes:?}");
    // What a payload sets through the overlay is stored under another name, and is its own.
    mark(&fixture.upper("x"), "user.overlay.opaque", "y");
    mark(&fixture.upper("x"), "user.overlay.overlay.redirect", "/etc");
    assert_eq!(fixture.read()[2].trouble, None);
}

#[test]
fn names_of_whiteouts_mean_something_to_fuse_overlayfs_alone() {
    for (backend, expected) in [
        (Backend::Kernel, vec!["A .wh..", "A .wh...", "A .wh..wh..opq", "A .wh.gone"]),
        (Backend::Fuse, vec!["D gone", "D stays"]),
    ] {
        let fixture = Fixture::new(backend);
        for name in ["gone", "stays"] {
            fs::write(fixture.lower(name), "").unwrap();
        }
        // `mkdir` of these gets through fuse-overlayfs.
        for name in [".wh.gone", ".wh..", ".wh...", ".wh..wh..opq"] {
            fs::create_dir(fixture.upper(name)).unwrap();
        }
        assert_eq!(fixture.listed(), expected, "{backend:?}");
    }
}

#[test]
fn what_the_sandbox_was_not_shown_is_never_deleted_and_what_it_made_there_is_marked() {
    let mut fixture = Fixture::new(Backend::Kernel);
    fixture.masked = ["/.ssh", "/d/secret", "/e/secret", "/absent"].map(inside).to_vec();
    fixture.covered = ["/e/mounted"].map(inside).to_vec();
    for path in [".ssh", "d/secret", "d/plain", "e/secret", "e/mounted/x", "e/plain"] {
        fs::create_dir_all(fixture.lower(path)).unwrap();
    }
    fs::write(fixture.lower(".ssh/id"), "key").unwrap();
    // The payload made a directory of the name; removed one; replaced one.
    fs::create_dir_all(fixture.upper(".ssh")).unwrap();
    fs::write(fixture.upper(".ssh/authorized_keys"), "evil").unwrap();
    mark(&fixture.upper(".ssh"), "user.overlay.opaque", "y");
    whiteout(&fixture.upper("d"));
    fs::create_dir_all(fixture.upper("e/mounted/stray")).unwrap();
    mark(&fixture.upper("e"), "user.overlay.opaque", "y");
    fs::create_dir_all(fixture.upper("absent")).unwrap();
    let changes = fixture.read();
    assert_eq!(
        fixture.listed(),
        ["A .ssh", "A .ssh/authorized_keys", "A absent", "D d", "D e/plain"]
    );
    let hidden: Vec<bool> = changes.iter().map(|change| change.hidden).collect();
    assert_eq!(hidden, [true, true, false, true, false]);
}

#[test]
fn no_link_is_followed_on_either_side() {
    let fixture = Fixture::new(Backend::Kernel);
    let outside = fixture.path("outside");
    fs::create_dir_all(outside.join("in")).unwrap();
    fs::create_dir_all(fixture.lower("a/in")).unwrap();
    symlink(&outside, fixture.upper("a")).unwrap();
    symlink(&outside, fixture.lower("b")).unwrap();
    fs::create_dir_all(fixture.upper("b/in")).unwrap();
    // As the host's side changed after the sandbox had copied the directory.
    let changes = fixture.read();
    assert_eq!(fixture.listed(), ["C a", "C b", "A b/in"]);
    assert!(changes[..2].iter().all(|c| c.differs.iter().eq([Aspect::Type])));
    let target = changes[0].now.as_ref().unwrap().target.clone().unwrap();
    assert_eq!(target.as_os_str(), outside.as_os_str());
}

#[test]
fn pipes_and_sockets_are_never_opened() {
    let fixture = Fixture::new(Backend::Kernel);
    for path in [fixture.lower("pipe"), fixture.upper("pipe"), fixture.upper("new")] {
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    }
    fs::write(fixture.upper("was-pipe"), "x").unwrap();
    mknodat(CWD, fixture.lower("was-pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(fixture.upper("socket")).unwrap());
    assert_eq!(fixture.listed(), ["A new", "A socket", "C was-pipe"]);
}

#[test]
fn any_name_is_listed_as_it_is_and_in_order() {
    let fixture = Fixture::new(Backend::Kernel);
    let long = vec![b'x'; 255];
    let names: [&[u8]; 8] = [b"\n", b"\x1b[2J", b" ", b"-rf", b"a", b"a-b", b"a\xff", &long];
    for name in names {
        fs::create_dir(fixture.upper(OsStr::from_bytes(name))).unwrap();
    }
    fs::create_dir(fixture.upper("a/z")).unwrap();
    let found: Vec<_> = fixture
        .read()
        .iter()
        .map(|c| c.path.as_path().strip_prefix(fixture.path("lower")).unwrap().to_owned())
        .collect();
    let mut expected: Vec<PathBuf> =
        names.iter().map(|name| PathBuf::from(OsStr::from_bytes(name))).collect();
    expected.insert(5, PathBuf::from("a/z"));
    assert_eq!(found, expected);
}

#[test]
fn a_tree_that_is_too_deep_for_a_path_is_told_once_and_left() {
    use rustix::fs::mkdirat;
    // In memory: on a busy disk thousands of directories take their time.
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let fixture = Fixture::in_directory(Backend::Kernel, directory);
    // Side by side with the host's for the first 300 levels.
    for (root, levels) in [(fixture.upper(""), 3000), (fixture.lower(""), 300)] {
        let mut at = open(&root);
        for _ in 0..levels {
            for name in ["d", "e"] {
                mkdirat(&at, name, Mode::RWXU).unwrap();
            }
            at = openat(&at, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
    }
    let (soft, hard) = {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        (limit.current, limit.maximum)
    };
    let limit = |current| {
        let limit = rustix::process::Rlimit { current, maximum: hard };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    };
    limit(Some(256));
    let changes = fixture.read();
    limit(soft);
    let deep: Vec<&Change> = changes.iter().filter(|c| c.trouble.is_some()).collect();
    assert_eq!(deep.len(), 1);
    assert_eq!(deep[0].trouble, Some(Trouble::TooDeep));
    assert!(deep[0].path.as_bytes().len() >= 4090);
    let added = changes.iter().filter(|c| c.kind == Kind::Added).count();
    let levels = deep[0].path.as_path().strip_prefix(fixture.path("lower")).unwrap();
    assert_eq!(added, (levels.components().count() - 300) * 2);
}

#[test]
fn a_directory_that_cannot_be_read_is_told_and_not_opened_by_force() {
    // Not to be read; to be read and not entered; to be entered and not read.
    for mode in [0o000, 0o400, 0o100] {
        let fixture = Fixture::new(Backend::Kernel);
        fs::create_dir(fixture.lower("both")).unwrap();
        for name in ["both", "new"] {
            fs::create_dir_all(fixture.upper(name).join("in")).unwrap();
            whiteout(&fixture.upper(name).join("gone"));
            chmod(&fixture.upper(name), mode);
        }
        let changes = fixture.read();
        let expected = if is_root() {
            vec!["C both", "A both/in", "A new", "A new/in"]
        } else {
            vec!["C both", "A new"]
        };
        assert_eq!(fixture.listed(), expected, "{mode:o}");
        let told = changes.iter().filter(|c| c.trouble == Some(Trouble::Unreadable)).count();
        assert_eq!(told, if is_root() { 0 } else { 2 });
        assert_eq!(fs::metadata(fixture.upper("new")).unwrap().permissions().mode() & 0o777, mode);
        for name in ["both", "new"] {
            chmod(&fixture.upper(name), 0o700);
        }
    }
}

#[test]
fn what_the_host_does_not_let_be_seen_is_told_as_such() {
    for mode in [0o000, 0o400] {
        let fixture = Fixture::new(Backend::Kernel);
        for path in ["d/gone", "d/there"] {
            fs::create_dir_all(fixture.lower(path)).unwrap();
        }
        fs::create_dir(fixture.upper("d")).unwrap();
        chmod(&fixture.upper("d"), 0o700);
        whiteout(&fixture.upper("d/gone"));
        fs::write(fixture.upper("d/there"), "").unwrap();
        chmod(&fixture.lower("d"), mode);
        let changes = fixture.read();
        assert_eq!(fixture.listed(), ["C d", "D d/gone", "C d/there"], "{mode:o}");
        let told = changes[1..].iter().all(|c| c.trouble == Some(Trouble::Unreadable));
        assert_eq!(told, !is_root());
        chmod(&fixture.lower("d"), 0o700);
    }
}
