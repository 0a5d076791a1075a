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
/// read-only. Does nothing when the sandbox has no procfs. `EPROTO` and the line when it is not so.
pub fn verify(plan: &Plan) -> Outcome {
    let expected = expected(plan);
    if !expected.has_proc {
        return Ok(());
    }
    let table = open::read_whole("/proc/self/mountinfo", 16 << 10)?;
    match table
        .split(|byte| *byte == b'\n')
        .find(|line| !line.is_empty() && !is_as_planned(line, &expected))
    {
        None => Ok(()),
        Some(line) => {
            Err(Failure { errno: Errno::EPROTO, said: String::from_utf8_lossy(line).into_owned() })
        }
    }
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

/// A line is `id parent major:minor root mount-point options …`.
fn is_as_planned(line: &[u8], expected: &Expected<'_>) -> bool {
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let (Some(at), Some(options)) = (fields.next(), fields.next()) else { return false };
    let has = |name: &[u8]| options.split(|byte| *byte == b',').any(|option| option == name);
    let at = unescape(at);
    has(b"nosuid") && (has(b"ro") || expected.access(&at) == MountAccess::Writable)
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
        let fine = |line: &str| is_as_planned(line.as_bytes(), &expected);
        assert!(fine("30 20 0:31 / /usr ro,nosuid,nodev - ext4 /dev/sda ro"));
        assert!(fine("31 20 0:32 / /home/a\\040b rw,nosuid,nodev - overlay bryo rw"));
        assert!(fine("32 31 0:32 / /home/a\\040b/sub rw,nosuid,nodev - overlay bryo rw"));
        assert!(!fine("33 20 0:33 / /home/a\\040bc rw,nosuid,nodev - overlay bryo rw"));
        assert!(!fine("34 20 0:34 / /usr ro,nodev - ext4 /dev/sda ro"));
        assert!(!fine("35 20 0:33 / /home/a\\040b/.ssh rw,nosuid,nodev - tmpfs none rw"));
        assert!(!fine("garbage"));
    }
}
