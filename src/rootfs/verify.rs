//! Reads back what stands: the mount table of the finished tree against the plan.
//!
//! The steps' own return values say that each call succeeded; this says that the sum is what was
//! meant, whatever the kernel did with flags that were locked, cleared or inherited. It reads
//! `/proc/self/mountinfo` of the new procfs, after the pivot and before any untrusted code runs.

use super::{Failure, Outcome};
use crate::plan::step::{Action, FsStep, MountAccess, Plan};
use crate::spec::SandboxPath;
use crate::sys::errno::Errno;
use crate::sys::open;

/// What the table must say about the mounts the plan made.
struct Expected<'a> {
    /// Mount points in the plan's order, and whether what stands there may be written.
    mounts: Vec<(&'a SandboxPath, MountAccess)>,
    /// Whether a procfs is there to read from.
    has_proc: bool,
}

impl Expected<'_> {
    /// What the plan says of a mount at `path`: that of the deepest planned mount it is or lies in,
    /// the latest of several at one place. Submounts of a bind are as the bind.
    fn access(&self, path: &[u8]) -> MountAccess {
        let inside = self.mounts.iter().filter(|(at, _)| is_at_or_below(path, at.as_bytes()));
        inside.max_by_key(|(at, _)| at.depth()).map_or(MountAccess::ReadOnly, |(_, access)| *access)
    }
}

/// Checks the mount table: every mount is `nosuid`, and every one the plan does not call writable is
/// read-only, but for those that others cover. Does nothing when the sandbox has no procfs. `EPROTO` and the line
/// when it is not so.
pub fn verify(plan: &Plan) -> Outcome {
    let expected = expected(plan);
    if !expected.has_proc {
        return Ok(());
    }
    let table = open::read_whole("/proc/self/mountinfo", 16 << 10)?;
    match wrong(&table, &expected) {
        None => Ok(()),
        Some(line) => {
            Err(Failure { errno: Errno::EPROTO, said: String::from_utf8_lossy(line).into_owned() })
        }
    }
}

/// The first line of a table that is not as planned.
fn wrong<'t>(table: &'t [u8], expected: &Expected<'_>) -> Option<&'t [u8]> {
    let lines = || table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut parsed = None;
    lines().find(|line| match judge(line, expected) {
        Verdict::AsPlanned => false,
        Verdict::Wrong => true,
        Verdict::Writable => {
            let all =
                parsed.get_or_insert_with(|| lines().filter_map(Line::parse).collect::<Vec<_>>());
            Line::parse(line).is_none_or(|line| !is_covered(&line, all))
        }
    })
}

fn expected(plan: &Plan) -> Expected<'_> {
    let mut expected = Expected { mounts: Vec::new(), has_proc: false };
    for step in &plan.steps {
        let Action::Fs(step) = &step.action else { continue };
        expected.has_proc |= matches!(step, FsStep::Proc { .. });
        if let Some(mount) = mounted(step) {
            expected.mounts.push(mount);
        }
    }
    expected
}

/// Where a step leaves a mount, and whether it can be written.
fn mounted(step: &FsStep) -> Option<(&SandboxPath, MountAccess)> {
    match step {
        FsStep::Bind { at, flags, .. }
        | FsStep::Overlay { at, flags, .. }
        | FsStep::Tmpfs { at, flags, .. } => Some((at, flags.access)),
        FsStep::Proc { at }
        | FsStep::Devpts { at }
        | FsStep::Mqueue { at }
        | FsStep::Cgroups { at } => Some((at, MountAccess::Writable)),
        FsStep::Sysfs { at }
        | FsStep::Seal { at }
        | FsStep::Cover { at, .. }
        | FsStep::FileOver { at, .. } => Some((at, MountAccess::ReadOnly)),
        FsStep::MakePrivate
        | FsStep::Scratch
        | FsStep::Hold { .. }
        | FsStep::ScratchLayer { .. }
        | FsStep::NewRoot
        | FsStep::Directory { .. }
        | FsStep::Link { .. }
        | FsStep::Socket { .. }
        | FsStep::File { .. }
        | FsStep::Pivot => None,
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line<'t> {
    id: &'t [u8],
    parent: &'t [u8],
    /// As the kernel escapes it.
    at: &'t [u8],
    options: &'t [u8],
}

impl<'t> Line<'t> {
    /// A line is `id parent major:minor root mount-point options …`.
    fn parse(line: &'t [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let (id, parent) = (fields.next()?, fields.next()?);
        let mut fields = fields.skip(2);
        Some(Self { id, parent, at: fields.next()?, options: fields.next()? })
    }
}

/// What a line says, held against the plan.
enum Verdict {
    AsPlanned,
    /// It can be written, and must not be seen.
    Writable,
    Wrong,
}

fn judge(line: &[u8], expected: &Expected<'_>) -> Verdict {
    let Some(line) = Line::parse(line) else { return Verdict::Wrong };
    let has = |name: &[u8]| line.options.split(|byte| *byte == b',').any(|option| option == name);
    let is_kept = || has(b"ro") || expected.access(&unescape(line.at)) == MountAccess::Writable;
    match has(b"nosuid") {
        false => Verdict::Wrong,
        true if is_kept() => Verdict::AsPlanned,
        true => Verdict::Writable,
    }
}

/// Whether no path leads to a mount: another one stands on its root, or on that of one it stands in. What is hidden
/// and is a mount point itself lies so below its cover.
fn is_covered(line: &Line<'_>, all: &[Line<'_>]) -> bool {
    let mut here = *line;
    // The way up comes from what stands on the root of `here`, if it does not come from further in.
    let mut from: Option<&[u8]> = None;
    // Bounded, so that a table which leads in a circle does not.
    for _ in 0..all.len() {
        let stands_on_it = |other: &&Line<'_>| {
            other.parent == here.id && other.at == here.at && other.id != here.id
        };
        if all.iter().filter(stands_on_it).any(|other| Some(other.id) != from) {
            return true;
        }
        let Some(parent) = all.iter().find(|other| other.id == here.parent) else { return false };
        from = (parent.at == here.at).then_some(here.id);
        here = *parent;
    }
    false
}

fn is_at_or_below(path: &[u8], base: &[u8]) -> bool {
    path == base
        || base == b"/"
        || path.strip_prefix(base).is_some_and(|rest| rest.starts_with(b"/"))
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = |digits: &[u8]| {
            digits.iter().try_fold(0u8, |sum, digit| match digit {
                b'0'..=b'7' => sum.checked_mul(8)?.checked_add(digit - b'0'),
                _ => None,
            })
        };
        let escaped = tail.get(..3).and_then(octal).filter(|_| first == b'\\');
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_is_writable_without_being_planned_is_found() {
        let home = SandboxPath::new("/home/a b").unwrap();
        let hidden = SandboxPath::new("/home/a b/.ssh").unwrap();
        let expected = Expected {
            mounts: vec![(&home, MountAccess::Writable), (&hidden, MountAccess::ReadOnly)],
            has_proc: true,
        };
        let fine = |line: &str| wrong(line.as_bytes(), &expected).is_none();
        assert!(fine("30 20 0:31 / /usr ro,nosuid,nodev - ext4 /dev/sda ro"));
        assert!(fine("31 20 0:32 / /home/a\\040b rw,nosuid,nodev - overlay bryo rw"));
        assert!(fine("32 31 0:32 / /home/a\\040b/sub rw,nosuid,nodev - overlay bryo rw"));
        assert!(!fine("33 20 0:33 / /home/a\\040bc rw,nosuid,nodev - overlay bryo rw"));
        assert!(!fine("34 20 0:34 / /usr ro,nodev - ext4 /dev/sda ro"));
        assert!(!fine("35 20 0:33 / /home/a\\040b/.ssh rw,nosuid,nodev - tmpfs none rw"));
        assert!(!fine("garbage"));
    }

    #[test]
    fn a_mount_that_others_cover_is_not_judged_by_what_they_hide() {
        let home = SandboxPath::new("/h").unwrap();
        let hidden = SandboxPath::new("/h/disk").unwrap();
        let expected = Expected {
            mounts: vec![(&home, MountAccess::Writable), (&hidden, MountAccess::ReadOnly)],
            has_proc: true,
        };
        let found = |lines: &[&str]| {
            let table = format!(
                "20 1 0:30 / / ro,nosuid - tmpfs t ro\n30 20 8:1 /h /h rw,nosuid - ext4 d rw\n{}\n",
                lines.join("\n")
            );
            let line = wrong(table.as_bytes(), &expected);
            line.map(|line| String::from_utf8_lossy(line).split(' ').next().unwrap().to_owned())
        };
        let disk = "31 30 8:2 / /h/disk rw,nosuid - ext4 e rw";
        let inner = "32 31 8:3 / /h/disk/in rw,nosuid - ext4 f rw";
        let cover = "33 31 0:31 / /h/disk ro,nosuid - tmpfs none ro";
        assert_eq!(found(&[disk, inner, cover]), None);
        assert_eq!(found(&[cover, inner, disk]), None);
        // The control: what is not covered, what lies in the cover, what stands on it, and what only seems to cover.
        assert_eq!(found(&[disk, inner]).as_deref(), Some("31"));
        let beside = "33 30 0:31 / /h/disk/in ro,nosuid - tmpfs none ro";
        assert_eq!(found(&[disk, beside]).as_deref(), Some("31"));
        let within = "34 33 8:3 / /h/disk/in rw,nosuid - ext4 f rw";
        assert_eq!(found(&[disk, cover, within]).as_deref(), Some("34"));
        let over = "34 33 8:3 / /h/disk rw,nosuid - ext4 f rw";
        assert_eq!(found(&[disk, cover, over]).as_deref(), Some("34"));
        assert_eq!(
            found(&[disk, "33 33 0:31 / /h/disk ro,nosuid - t t ro"]).as_deref(),
            Some("31")
        );
        // Even there nothing gives other rights.
        let rights = "31 30 8:2 / /h/disk rw - ext4 e rw";
        assert_eq!(found(&[rights, cover]).as_deref(), Some("31"));
        assert_eq!(found(&[disk, "33 31 0:31"]).as_deref(), Some("31"));
    }
}
