//! What a change opens to other users of the machine.
//!
//! # Decisions
//! - Writing: what everybody gains, of files and directories; and what a group gains, of directories that were there,
//!   for who may write to `.git` or `bin` has the owner execute something. With an access list the group's bits are the
//!   most that anybody in it has.
//! - Reading: what was its owner's alone, as keys are.
//! - A directory that was there and whose attributes differ counts as opened: an access list is one, and little else
//!   has a reason to be set there.
//! - A directory with the sticky bit is made for everybody.

use super::Executed;
use crate::changes::change::{Aspect, Change, FileKind, Node};

const STICKY: u32 = 0o1000;
/// All that anybody but the owner may do.
const OTHERS: u32 = 0o077;

/// To whom a change opens what it brings.
pub(super) fn to_others(change: &Change, now: &Node) -> Option<Executed> {
    let is_directory = now.kind == FileKind::Directory;
    if !is_directory && now.kind != FileKind::File {
        return None;
    }
    let was = change.was.as_ref();
    // What was a link or a pipe had bits that say nothing.
    let before = was.filter(|was| was.kind == now.kind).map(|was| was.mode);
    let gained = now.mode & !before.unwrap_or(0);
    let is_shared = is_directory && now.mode & STICKY != 0;
    let by_everybody = gained & 0o002 != 0 && !is_shared;
    let by_group = is_directory && before.is_some() && gained & 0o020 != 0;
    let by_list = is_directory && before.is_some() && change.differs.has(Aspect::Attributes);
    if by_everybody || by_group || by_list {
        return Some(Executed::Writers);
    }
    let was_private = before.is_some_and(|before| before & OTHERS == 0);
    (was_private && now.mode & 0o044 != 0).then_some(Executed::Readers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::change::{Aspects, Kind};
    use crate::plan::step::LayerNumber;
    use crate::spec::HostPath;
    use crate::state::Timestamp;

    fn node(kind: FileKind, mode: u32) -> Node {
        Node {
            kind,
            mode,
            owner: 1000,
            group: 1000,
            links: 1,
            inode: (1, 2),
            size: None,
            data: 0,
            target: None,
            device: None,
            modified: Timestamp::from_parts(0, 0),
            changed: Timestamp::from_parts(0, 0),
        }
    }

    fn opened(kind: FileKind, was: Option<u32>, now: u32, list: bool) -> Option<Executed> {
        let mut differs = Aspects::default();
        differs.set(Aspect::Attributes, list);
        let change = Change {
            path: HostPath::new("/p").unwrap(),
            kind: if was.is_some() { Kind::Changed } else { Kind::Added },
            differs,
            now: Some(node(kind, now)),
            was: was.map(|mode| node(kind, mode)),
            hidden: false,
            stale: false,
            trouble: None,
            layer: LayerNumber(0),
        };
        to_others(&change, &node(kind, now))
    }

    #[test]
    fn what_lets_others_in_is_told() {
        use Executed::{Readers, Writers};
        use FileKind::{Directory, Fifo, File};
        for (kind, was, now, told) in [
            (Directory, Some(0o755), 0o777, Some(Writers)),
            (Directory, Some(0o755), 0o775, Some(Writers)),
            (Directory, Some(0o700), 0o711, None),
            (Directory, Some(0o700), 0o755, Some(Readers)),
            (Directory, Some(0o777), 0o777, None),
            (Directory, Some(0o755), 0o700, None),
            (Directory, Some(0o755), 0o1777, Some(Writers)),
            (Directory, None, 0o775, None),
            (Directory, None, 0o777, Some(Writers)),
            (Directory, None, 0o1777, None),
            (File, Some(0o600), 0o644, Some(Readers)),
            (File, Some(0o600), 0o700, None),
            (File, Some(0o644), 0o664, None),
            (File, Some(0o644), 0o666, Some(Writers)),
            (File, None, 0o644, None),
            (Fifo, Some(0o600), 0o666, None),
        ] {
            assert_eq!(opened(kind, was, now, false), told, "{kind:?} {was:?} {now:o}");
        }
        assert_eq!(opened(Directory, Some(0o755), 0o755, true), Some(Writers));
        assert_eq!(opened(Directory, None, 0o755, true), None);
        assert_eq!(opened(File, Some(0o644), 0o644, true), None);
    }
}
