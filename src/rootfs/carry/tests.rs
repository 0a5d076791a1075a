//! Copies of trees with everything in them that a layer can have.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;
use rustix::fs::{CWD, Dev, setxattr};

/// Two directories, and the copy of one in the other.
fn carried(fill: impl FnOnce(&Path)) -> (tempfile::TempDir, LeftOut) {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    std::fs::create_dir(&to).unwrap();
    fill(&from);
    let open = |path: &Path| openat(CWD, path, DIRECTORY, Mode::empty()).unwrap();
    let left_out =
        carry(open(&from).as_fd(), open(&to).as_fd(), open(dir.path()).as_fd(), Lists::Any)
            .unwrap();
    assert!(!dir.path().join(LINKS).exists());
    (dir, left_out)
}

/// What a listing of a tree tells: kind and mode, owner, size, names, times, target.
fn listing(root: &Path) -> Vec<String> {
    let command = "find . -printf '%P %y %m %U %G %n %T@ %l %b\\n' | sed 's/^ d/. d/' | sort; \
                   find . -type f -exec sha256sum {} + | sort";
    let out = std::process::Command::new("sh").args(["-c", command]).current_dir(root).output();
    String::from_utf8_lossy(&out.unwrap().stdout).lines().map(str::to_owned).collect()
}

#[test]
fn everything_comes_out_as_it_was() {
    let (dir, left_out) = carried(|from| {
        std::fs::create_dir_all(from.join("d/e")).unwrap();
        std::fs::write(from.join("d/a"), "x".repeat(300_000)).unwrap();
        std::fs::set_permissions(from.join("d/a"), PermissionsExt::from_mode(0o640)).unwrap();
        std::fs::hard_link(from.join("d/a"), from.join("d/e/b")).unwrap();
        symlink("nowhere\n/at all", from.join("l")).unwrap();
        let sparse = std::fs::File::create(from.join("sparse")).unwrap();
        sparse.write_all_at(b"in the middle", 5 << 20).unwrap();
        sparse.set_len(20 << 20).unwrap();
        let none = Dev::default();
        mknodat(CWD, from.join("white"), FileType::CharacterDevice, Mode::empty(), none).unwrap();
        std::fs::hard_link(from.join("white"), from.join("d/white")).unwrap();
        mknodat(CWD, from.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o604), none).unwrap();
        mknodat(CWD, from.join("sock"), FileType::Socket, Mode::RUSR, none).unwrap();
        setxattr(from.join("d"), "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        setxattr(from.join("d/a"), "user.x", &[0, 255, 10], XattrFlags::empty()).unwrap();
        std::fs::set_permissions(from.join("d/e"), PermissionsExt::from_mode(0o1777)).unwrap();
        let old = Timespec { tv_sec: 5, tv_nsec: 7 };
        let times = Timestamps { last_access: old, last_modification: old };
        for name in ["d/e", "l", "fifo", "d", "d/a"] {
            utimensat(CWD, from.join(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
        std::fs::set_permissions(from, PermissionsExt::from_mode(0o711)).unwrap();
    });
    assert_eq!(left_out, LeftOut::default());
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    assert_eq!(listing(&from), listing(&to));
    let white = std::fs::symlink_metadata(to.join("white")).unwrap();
    assert_eq!((white.rdev(), white.nlink()), (0, 2));
    assert!(std::fs::metadata(to.join("sparse")).unwrap().blocks() < 100);
    let value = |name: &str, attribute: &str| {
        let mut value = [0; 10];
        let length = rustix::fs::getxattr(to.join(name), attribute, &mut value[..]).unwrap();
        value[..length].to_vec()
    };
    assert_eq!(value("d", "user.overlay.opaque"), b"y");
    assert_eq!(value("d/a", "user.x"), [0, 255, 10]);
}

#[test]
fn no_depth_is_too_deep_and_no_name_too_odd() {
    const DEPTH: usize = 3000;
    let name = std::ffi::OsStr::new("d\u{7f}\n");
    let (dir, left_out) = carried(|from| {
        let mut here = openat(CWD, from, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..DEPTH {
            mkdirat(&here, name, Mode::RWXU).unwrap();
            here = openat(&here, name, DIRECTORY, Mode::empty()).unwrap();
        }
        symlinkat("end", &here, "end").unwrap();
    });
    assert_eq!(left_out.count, 0);
    let mut here = openat(CWD, dir.path().join("to"), DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..DEPTH {
        here = openat(&here, name, DIRECTORY, Mode::empty()).unwrap();
    }
    assert_eq!(readlinkat(&here, "end", Vec::new()).unwrap(), c"end".to_owned());
    // What removes the test's directory goes by paths.
    std::process::Command::new("rm").arg("-rf").arg(dir.path()).status().unwrap();
}

#[test]
fn what_cannot_be_held_is_left_out_and_named_and_the_rest_comes() {
    const HUGE: u64 = 1 << 62;
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let disk = tempfile::tempdir().unwrap();
    std::fs::create_dir(memory.path().join("d")).unwrap();
    std::fs::File::create(memory.path().join("d/huge")).unwrap().set_len(HUGE).unwrap();
    std::fs::write(memory.path().join("d/z"), "z").unwrap();
    // On a tmpfs, or XFS, it can be.
    let fits = tempfile::tempfile().unwrap().set_len(HUGE).is_ok();
    let to = disk.path().join("to");
    std::fs::create_dir(&to).unwrap();
    let open = |path: &Path| openat(CWD, path, DIRECTORY, Mode::empty()).unwrap();
    let (from, beside) = (open(memory.path()), open(disk.path()));
    let left_out = carry(from.as_fd(), open(&to).as_fd(), beside.as_fd(), Lists::Any).unwrap();
    let expected = if fits {
        LeftOut::default()
    } else {
        LeftOut { count: 1, first: Some(b"d/huge".to_vec()) }
    };
    assert_eq!(left_out, expected);
    assert_eq!(to.join("d/huge").exists(), fits);
    assert_eq!(std::fs::read(to.join("d/z")).unwrap(), b"z");
}

#[test]
fn a_full_target_ends_the_copy_and_says_where() {
    for errno in [Errno::FBIG, Errno::NAMETOOLONG, Errno::PERM] {
        assert!(is_out_of_reach(errno));
    }
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::ROFS, Errno::ACCESS] {
        assert!(!is_out_of_reach(errno));
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["from/d", "to"] {
        std::fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    std::fs::write(dir.path().join("from/d/a"), "x").unwrap();
    // In the way of what is to be made: any errno that is not one thing's own.
    std::fs::create_dir(dir.path().join("to/d")).unwrap();
    let open = |name: &str| openat(CWD, dir.path().join(name), DIRECTORY, Mode::empty()).unwrap();
    let stuck =
        carry(open("from").as_fd(), open("to").as_fd(), open(".").as_fd(), Lists::Any).unwrap_err();
    assert_eq!(stuck, Stuck { at: b"d".to_vec(), errno: Errno::EXIST });
}
