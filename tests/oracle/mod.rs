//! What oracles share: a seeded generator of operations, and the simplest comparison of two trees there
//! is: both read wholly, name by name.
#![expect(
    clippy::unwrap_used,
    reason = "allow-unwrap-in-tests does not reach helper functions of integration tests"
)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

mod random;

pub(crate) use random::Random;

impl Random {
    /// A path of one to three names, quoted for bash.
    pub(crate) fn path(&mut self) -> String {
        const NAMES: [&str; 8] =
            ["a", "b", "c", r"-x", r"d\x20e", r"\n", r"\xc3\xbc", r"\xff\x1b[2J"];
        let depth = 1 + self.below(3);
        let names: Vec<&str> = (0..depth).map(|_| self.pick(&NAMES)).collect();
        format!("$'./{}'", names.join("/"))
    }

    /// One line of a script. What fails in it, fails.
    pub(crate) fn operation(&mut self) -> String {
        let (p, q) = (self.path(), self.path());
        let text = self.pick(&["", "1", "2", "1234", "4321"]);
        let file = format!("[ -p {p} ] || [ -L {p} ] ||");
        match self.below(20) {
            0..=2 => format!("{file} printf %s {text} >{p}"),
            3 => format!("{file} printf %s {text} >>{p}"),
            // What a payload does that wants to hide a change.
            4 => format!("{file} {{ printf %s {text} >{p}; touch -d @1000000000 {p}; }}"),
            5 => format!("{file} : <>{p}"),
            6 => format!("rm -rf {p}"),
            7..=8 => format!("mkdir -p {p}"),
            9 => format!("rm -rf {p}; mkdir {p}; printf %s {text} >{p}/new"),
            10 => format!("rmdir {p}"),
            11 => format!("mv -T {p} {q}"),
            12 => format!("ln -sfn {text}x {p}"),
            13 => format!("mkfifo {p}"),
            14 => format!("ln {p} {q}"),
            // A directory that is copied into itself: what comes along is as the entries happen to lie.
            15 if q.starts_with(p.trim_end_matches('\'')) => {
                format!("[ -f {p} ] && cp -aT {p} {q}")
            }
            15 => format!("cp -aT --remove-destination {p} {q}"),
            16 => format!("[ -L {p} ] || [ ! -d {p} ] || chmod {} {p}", self.pick(&["700", "755"])),
            17 => format!("[ -f {p} ] && chmod {} {p}", self.pick(&["600", "644", "755"])),
            18 => format!("[ -L {p} ] || [ -p {p} ] || setfattr -n user.t -v 1{text} {p}"),
            _ => format!("[ -L {p} ] || touch -d @1000000000 {p}"),
        }
    }

    pub(crate) fn script(&mut self, operations: usize) -> String {
        let mut script = String::new();
        for _ in 0..operations {
            writeln!(script, "{}", self.operation()).unwrap();
        }
        script
    }
}

/// A path and the letter it is listed under.
pub(crate) type Listed = BTreeSet<(PathBuf, char)>;

/// The true difference, by reading both trees.
pub(crate) fn difference(was: &Path, now: &Path, at: &Path, listed: &mut Listed) {
    let names: BTreeSet<OsString> = [was, now]
        .into_iter()
        .flat_map(|root| fs::read_dir(root.join(at)).into_iter().flatten())
        .map(|entry| entry.unwrap().file_name())
        .collect();
    for name in names {
        let at = at.join(name);
        let (old, new) = (was.join(&at), now.join(&at));
        match (fs::symlink_metadata(&old), fs::symlink_metadata(&new)) {
            (Ok(_), Err(_)) => _ = listed.insert((at, 'D')),
            (Err(_), Ok(kind)) => {
                listed.insert((at.clone(), 'A'));
                if kind.is_dir() {
                    difference(was, now, &at, listed);
                }
            }
            (Ok(before), Ok(after)) => {
                if differ((&old, &before), (&new, &after)) {
                    listed.insert((at.clone(), 'C'));
                }
                if after.is_dir() {
                    difference(
                        if before.is_dir() { was } else { Path::new("/none") },
                        now,
                        &at,
                        listed,
                    );
                }
            }
            (Err(_), Err(_)) => {}
        }
    }
}

pub(crate) fn differ((old, before): (&Path, &Metadata), (new, after): (&Path, &Metadata)) -> bool {
    let kind = |m: &Metadata| m.mode() & 0o170_000;
    if kind(before) != kind(after) {
        return true;
    }
    if before.is_symlink() {
        return fs::read_link(old).unwrap() != fs::read_link(new).unwrap();
    }
    if before.mode() != after.mode() || before.uid() != after.uid() || before.gid() != after.gid() {
        return true;
    }
    if before.file_type().is_fifo() {
        return false;
    }
    let attribute = |path: &Path| {
        let mut value = [0_u8; 32];
        rustix::fs::getxattr(path, "user.t", &mut value[..]).ok().map(|n| value[..n].to_vec())
    };
    let time = |m: &Metadata| (m.mtime(), m.mtime_nsec());
    attribute(old) != attribute(new)
        || before.is_file()
            && (time(before) != time(after) || fs::read(old).unwrap() != fs::read(new).unwrap())
}
