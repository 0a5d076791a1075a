//! Reads the mount table, `/proc/self/mountinfo`: a pure and total parser.
//!
//! # Theory of operation
//! One line per mount: `id parent major:minor root mount-point options [tag…] - type source
//! super-options`. The kernel escapes blank, tab, newline and backslash as three octal digits. What
//! the parser keeps is what a path can still lead to: a mount that another one covers is dropped, so
//! each mount point stands in the table once (see [`reachable`]).
//!
//! # Decisions
//! - A line that cannot be read is an error: a mount that is overlooked would be shown writable.
//! - A table without `/` is not an error: in a chroot the mount that holds the root is not listed.
//!
//! Format: `proc_pid_mountinfo(5)`, and `show_mountinfo` of the kernel.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use foldhash::{HashMap, HashMapExt as _, HashSet};

use crate::plan::facts::Mount;
use crate::spec::{HostPath, Text};

use super::HostError;
use super::bounded::{self, TABLE};

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ends before this field.
    Missing(&'static str),
    /// This field is no number.
    NotANumber(&'static str),
    /// The mount point is no absolute path.
    MountPoint,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "it has no {field}"),
            Self::NotANumber(field) => write!(f, "its {field} is no number"),
            Self::MountPoint => f.write_str("its mount point is no absolute path"),
        }
    }
}

/// One line, with what only this module and its neighbours need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What the planner sees of it.
    pub mount: Mount,
    /// Which directory of its file system is mounted: `/` for the whole.
    pub root: Text,
    /// The device it is on, as the kernel numbers it.
    pub device: (u64, u64),
}

/// The mount table of this process.
pub(super) fn probe() -> Result<Vec<Line>, HostError> {
    parse(&bounded::read_file("/proc/self/mountinfo", TABLE)?)
}

/// Every line of a table, without what is covered, in its order.
pub fn parse(table: &[u8]) -> Result<Vec<Line>, HostError> {
    let mut lines = Vec::new();
    for (index, line) in table.split(|b| *b == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let fault = |fault| HostError::MountTable { line: index + 1, fault };
        lines.push(parse_line(line).map_err(fault)?);
    }
    Ok(reachable(lines))
}

fn parse_line(line: &[u8]) -> Result<Line, Fault> {
    let mut fields = line.split(|b| *b == b' ');
    let mut next = |name| fields.next().ok_or(Fault::Missing(name));
    let id = number(next("id")?, "id")?;
    let parent = number(next("parent's id")?, "parent's id")?;
    let device = device(next("device")?)?;
    let root = next("root")?;
    let at = next("mount point")?;
    let options = next("options")?;
    // Any number of tags, each with letters before a colon, up to the lone hyphen.
    while next("end of its tags")? != b"-" {}
    let fs_type = next("file system type")?;
    next("source")?;
    let at = HostPath::new(OsString::from_vec(unescape(at))).map_err(|_| Fault::MountPoint)?;
    let mount = Mount {
        id,
        parent,
        at,
        fs_type: OsString::from_vec(unescape(fs_type)).into(),
        read_only: options.split(|b| *b == b',').any(|option| option == b"ro"),
        enterable: true,
    };
    Ok(Line { mount, root: OsString::from_vec(unescape(root)).into(), device })
}

fn device(field: &[u8]) -> Result<(u64, u64), Fault> {
    let colon = field.iter().position(|b| *b == b':');
    let (major, minor) = field.split_at(colon.ok_or(Fault::NotANumber("device"))?);
    Ok((number(major, "device")?, number(&minor[1..], "device")?))
}

fn number(field: &[u8], name: &'static str) -> Result<u64, Fault> {
    let digits = std::str::from_utf8(field).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|t| t.parse().ok()).ok_or(Fault::NotANumber(name))
}

/// Undoes `\ooo`. A backslash that no three octal digits of one byte follow stays as it is.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', more @ ..]) =
            (first, after)
        {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = more;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}

/// The mount points that stand on each mount.
type Beside<'a> = HashMap<u64, HashSet<&'a [u8]>>;

/// Leaves out the mounts that no path leads to: those that stand on the same mount as another one
/// whose mount point lies above theirs, and those on whose root another one stands, which then stands where they do.
fn reachable(lines: Vec<Line>) -> Vec<Line> {
    let mut by_parent: Beside = HashMap::new();
    for Line { mount, .. } in &lines {
        // The table's first mount can be its own parent's sibling in a chroot; never its own.
        if mount.id != mount.parent {
            by_parent.entry(mount.parent).or_default().insert(mount.at.as_bytes());
        }
    }
    let by_id: HashMap<u64, &Mount> = lines.iter().map(|l| (l.mount.id, &l.mount)).collect();
    let is_covered = |mount: &Mount| {
        by_parent.get(&mount.id).is_some_and(|below| below.contains(mount.at.as_bytes()))
    };
    let mut known: HashMap<u64, bool> = HashMap::new();
    // Who stays, and on which mount it is seen to stand.
    let keep: Vec<Option<u64>> = lines
        .iter()
        .map(|Line { mount, .. }| {
            let stays = !is_covered(mount) && leads_to(mount, &by_id, &by_parent, &mut known);
            let below =
                std::iter::successors(by_id.get(&mount.parent), |mount| by_id.get(&mount.parent));
            // Bounded, as a table may lead in a circle.
            let below = below.take(lines.len()).take_while(|below| is_covered(below)).last();
            stays.then(|| below.map_or(mount.parent, |below| below.parent))
        })
        .collect();
    let stand = |(line, parent): (Line, Option<u64>)| {
        Some(Line { mount: Mount { parent: parent?, ..line.mount }, ..line })
    };
    lines.into_iter().zip(keep).filter_map(stand).collect()
}

/// The directories above an absolute, normal path, nearest first; none for `/`.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = (0..path.len()).rev().filter(|end| path[*end] == b'/' && path.len() > 1);
    ends.map(|end| &path[..end.max(1)])
}

/// Whether a path leads to the directory a mount stands on. Goes up its parents, each once.
fn leads_to(
    mount: &Mount,
    by_id: &HashMap<u64, &Mount>,
    by_parent: &Beside<'_>,
    known: &mut HashMap<u64, bool>,
) -> bool {
    let mut chain = Vec::new();
    let mut at = mount;
    let verdict = loop {
        if let Some(&verdict) = known.get(&at.id) {
            break verdict;
        }
        // A table with a cycle is not the kernel's: what is in the cycle counts as reachable.
        known.insert(at.id, true);
        chain.push(at.id);
        let hidden = by_parent
            .get(&at.parent)
            .is_some_and(|beside| above(at.at.as_bytes()).any(|above| beside.contains(above)));
        if hidden {
            break false;
        }
        match by_id.get(&at.parent) {
            Some(parent) => at = parent,
            None => break true,
        }
    };
    known.extend(chain.into_iter().map(|id| (id, verdict)));
    verdict
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOT: &str = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n";

    fn points(table: &str) -> Vec<String> {
        parse(table.as_bytes()).unwrap().iter().map(|line| line.mount.at.to_string()).collect()
    }

    fn fault_of(line: &str) -> Fault {
        match parse(line.as_bytes()) {
            Err(HostError::MountTable { line: 1, fault }) => fault,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn a_line_is_read_with_any_number_of_tags() {
        for tags in ["", "shared:2 ", "shared:2 master:3 propagate_from:4 unbindable "] {
            let table =
                format!("36 35 98:0 /sub /mnt ro,nosuid {tags}- fuse.sshfs al@host: rw,x\n");
            let expected = Mount {
                id: 36,
                parent: 35,
                at: HostPath::new("/mnt").unwrap(),
                fs_type: "fuse.sshfs".into(),
                read_only: true,
                enterable: true,
            };
            let lines = parse(table.as_bytes()).unwrap();
            assert_eq!(lines, [Line { mount: expected, root: "/sub".into(), device: (98, 0) }]);
        }
    }

    #[test]
    fn escaped_names_are_what_they_were() {
        let table = "36 35 0:1 / /a\\040b\\011c\\012d\\134e rw - tmpfs x rw\n";
        let at = &parse(table.as_bytes()).unwrap()[0].mount.at;
        assert_eq!(at.as_bytes(), b"/a b\tc\nd\\e");
        // What is no escape of the kernel's stays as it is.
        assert_eq!(unescape(b"\\x\\04\\999\\400\\"), b"\\x\\04\\999\\400\\");
        assert_eq!(unescape(b"\\377\\000"), b"\xff\0");
    }

    #[test]
    fn a_name_that_is_not_utf8_and_an_empty_source_are_read() {
        let lines = parse(b"36 35 0:1 / /\xff rw - tmpfs  rw\n").unwrap();
        assert_eq!(lines[0].mount.at.as_bytes(), b"/\xff");
        assert_eq!(lines[0].mount.fs_type, "tmpfs".into());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error_that_says_why() {
        for (line, fault) in [
            ("x 35 0:1 / /a rw - t s rw", Fault::NotANumber("id")),
            ("-1 35 0:1 / /a rw - t s rw", Fault::NotANumber("id")),
            ("99999999999999999999 35 0:1 / /a rw - t s rw", Fault::NotANumber("id")),
            ("36 +5 0:1 / /a rw - t s rw", Fault::NotANumber("parent's id")),
            ("36 35 0:1 /", Fault::Missing("mount point")),
            ("36 35 0:1 / /a rw shared:1", Fault::Missing("end of its tags")),
            ("36 35 0:1 / /a rw -", Fault::Missing("file system type")),
            ("36 35 0:1 / /a rw - t", Fault::Missing("source")),
            ("36 35 0:1 / a rw - t s rw", Fault::MountPoint),
            ("36 35 0:1 / /a/../b rw - t s rw", Fault::MountPoint),
        ] {
            assert_eq!(fault_of(line), fault, "{line}");
        }
        let error = parse(format!("{ROOT}36\n").as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot understand line 2 of the mount table: it has no parent's id"
        );
    }

    #[test]
    fn autofs_and_what_it_mounted_stand_once() {
        let table = format!(
            "{ROOT}30 27 0:30 / /home rw - autofs auto.home rw,fd=5\n\
             31 30 0:31 / /home/al rw - nfs4 srv:/al rw\n\
             40 27 0:40 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw,direct\n\
             41 40 0:41 / /proc/sys/fs/binfmt_misc rw - binfmt_misc binfmt_misc rw\n"
        );
        let lines = parse(table.as_bytes()).unwrap();
        assert_eq!(points(&table), ["/", "/home", "/home/al", "/proc/sys/fs/binfmt_misc"]);
        assert_eq!((lines[3].mount.id, lines[3].mount.parent), (41, 27));
    }

    #[test]
    fn sixty_snap_loops_are_all_there() {
        use std::fmt::Write as _;
        let mut table = ROOT.to_owned();
        for n in 0..60 {
            let id = 100 + n;
            writeln!(table, "{id} 27 7:{n} / /snap/core/{n} ro,nodev - squashfs /dev/loop{n} ro")
                .unwrap();
        }
        let lines = parse(table.as_bytes()).unwrap();
        assert_eq!(lines.len(), 61);
        assert!(lines[1..].iter().all(|line| line.mount.read_only));
    }

    #[test]
    fn a_chroot_has_no_root_and_that_is_no_error() {
        let table = "22 27 0:21 / /proc rw - proc proc rw\n24 27 0:6 / /dev rw - devtmpfs d rw\n";
        assert_eq!(points(table), ["/proc", "/dev"]);
        assert_eq!(parse(b""), Ok(Vec::new()));
    }

    #[test]
    fn what_another_mount_covers_is_left_out() {
        // On the same place: the later one stands on the earlier.
        let twice =
            format!("{ROOT}30 27 0:30 / /mnt rw - tmpfs a rw\n31 30 0:31 / /mnt rw - tmpfs b rw\n");
        let lines = parse(twice.as_bytes()).unwrap();
        assert_eq!(lines.iter().map(|line| line.mount.id).collect::<Vec<_>>(), [27, 31]);
        // Who looks for it from the root down finds it there.
        assert_eq!(lines[1].mount.parent, 27);
        // Above it: /a/b was mounted before /a was covered, and so was what stands on it.
        let above = format!(
            "{ROOT}30 27 0:30 / /a/b rw - tmpfs x rw\n32 30 0:32 / /a/b/c rw - tmpfs y rw\n\
             31 27 0:31 / /a rw - tmpfs z rw\n33 31 0:33 / /a/b rw - tmpfs w rw\n"
        );
        let lines = parse(above.as_bytes()).unwrap();
        assert_eq!(lines.iter().map(|line| line.mount.id).collect::<Vec<_>>(), [27, 31, 33]);
    }

    #[test]
    fn what_is_above_a_path_ends_with_the_root() {
        let of = |path: &'static str| above(path.as_bytes()).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(of("/a/bc/d"), [5, 2, 1]);
        assert_eq!((of("/a"), of("/")), (vec![1], vec![]));
    }

    #[test]
    fn a_table_that_stands_on_itself_ends() {
        let table =
            "5 6 0:1 / /a/b rw - t s rw\n6 5 0:2 / /a rw - t s rw\n7 7 0:3 / /c rw - t s rw\n";
        assert!(points(table).contains(&"/c".to_owned()));
    }

    #[test]
    fn the_table_of_this_machine_is_read() {
        let lines = probe().unwrap();
        assert!(lines.iter().any(|line| line.mount.at.as_bytes() == b"/proc"));
        let mut seen: Vec<&HostPath> = lines.iter().map(|line| &line.mount.at).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), lines.len(), "a mount point stands in the table twice");
    }

    /// Lines that nearly are of a mount table.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let field = prop_oneof![
            "[0-9]{1,3}",
            "/[a-c/\\\\01]{0,6}",
            Just("-".to_owned()),
            Just("rw".to_owned()),
            Just(String::new()),
        ];
        let line = proptest::collection::vec(field, 0..12).prop_map(|fields| fields.join(" "));
        proptest::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n").into_bytes())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            _ = parse(&bytes);
        }

        #[test]
        fn nothing_that_looks_like_a_table_makes_it_panic(bytes in nearly()) {
            _ = parse(&bytes);
        }

        #[test]
        fn a_mount_point_survives_the_kernels_escapes(name in proptest::collection::vec(1u8..=255, 1..40)) {
            let mut escaped = Vec::new();
            for byte in &name {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
                    _ => escaped.push(*byte),
                }
            }
            prop_assert_eq!(unescape(&escaped), name);
        }
    }
}
