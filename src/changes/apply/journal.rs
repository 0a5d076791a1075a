//! What an apply is about to do and has done, in the sandbox's directory, so that another can go on.
//!
//! # Theory of operation
//! One JSON value per line, appended and synced before what it announces. A batch is announced with its
//! temporary names (`batch`), then said to be ready when everything stands beside its place (`ready`, with
//! the inodes), then done. Directories are announced with the attributes that they get at the end
//! (`made`). A line that was not written to its end was not written.
//!
//! `own` says which of the host's change times are an apply's own work: what it renames, and the
//! directories it renames in, get a new one, and a later apply of what remains must not take that for
//! somebody else's change. When nothing is under way, only these lines stay.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, fdatasync, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::action::Finish;
use super::places::Side;
use super::recover::PutAside;
use super::seen::{Inode, Moment, Seen};
use crate::plan::step::LayerNumber;
use crate::spec::order;
use crate::spec::{HostPath, Text};

/// Its name in the sandbox's directory.
const NAME: &str = "apply.journal";
const NEW_NAME: &str = "apply.journal.new";
/// Longest journal that is read.
const LONGEST: u64 = 1 << 30;

/// How a path of a batch is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum How {
    /// A new file or directory stands under the temporary name.
    New,
    /// The layer's own file is renamed to the temporary name.
    Moved,
    /// What the host has is renamed to the temporary name, to be removed.
    Aside,
    /// A directory that stands there gets other permissions and attributes; there is no temporary name.
    Adjusted,
}

/// One path of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) path: HostPath,
    pub(super) layer: LayerNumber,
    pub(super) temporary: Text,
    pub(super) how: How,
    pub(super) replaces: Option<Seen>,
    /// The layer's inode, where it has other names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) linked: Option<Inode>,
    /// Permission bits of what the layer has.
    pub(super) mode: u32,
    /// Nobody had changed its directory since the sandbox started.
    pub(super) quiet: bool,
}

/// A directory that was opened up to be written in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Opened {
    pub(super) side: Side,
    pub(super) layer: LayerNumber,
    pub(super) path: HostPath,
    /// Its permission bits before.
    pub(super) mode: u32,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// These are about to be prepared.
    Batch(Vec<Intent>),
    /// All of the batch stand under their temporary names; none where one was given up.
    Ready(Vec<Option<Inode>>),
    /// The batch is over.
    Done,
    /// These directories are about to be made, and get these attributes at the end. Whether nobody had
    /// changed the directory above.
    Made(Vec<(HostPath, LayerNumber, Finish, bool)>),
    /// These are about to be opened up.
    Opened(Opened),
    /// All that were opened up are closed.
    Closed,
    /// What is our own work.
    Own {
        /// Change times.
        times: Vec<(Inode, Moment)>,
        /// Times of modification of files of which only a name went.
        links: Vec<(Inode, Moment)>,
        /// Where files of the layer were put that have other names.
        names: Vec<(Inode, HostPath)>,
    },
    /// An apply has begun.
    Begun,
    /// This could not be put back.
    Kept(PutAside),
}

/// What was under way when an apply was interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pending {
    /// A batch that is not over.
    pub(super) batch: Vec<Intent>,
    /// Its inodes, if it was ready.
    pub(super) ready: Option<Vec<Option<Inode>>>,
    /// Directories that were made or may have been.
    pub(super) made: Vec<(HostPath, LayerNumber, Finish)>,
    /// Directories that were opened up and not closed.
    pub(super) opened: Vec<Opened>,
    /// Every path whose entry in a layer may have gone, and whether its directory was quiet.
    pub(super) touched: Vec<(HostPath, LayerNumber, bool)>,
    /// Directories of the host whose permission bits were changed: their change times are our own work.
    pub(super) changed: Vec<(HostPath, LayerNumber)>,
    /// What could not be put back since an apply last came to its end.
    pub(super) kept: Vec<PutAside>,
    /// An apply had begun and not ended.
    pub(super) interrupted: bool,
}

/// What of the host's change times is an apply's own work.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Own {
    /// Change times.
    pub(super) times: HashMap<Inode, Moment>,
    /// Files with several names, of which an apply replaced one: their change time says nothing as long as
    /// they have this time of modification.
    pub(super) links: HashMap<Inode, Moment>,
    /// Files of the layer that have other names, and where on the host one of them was put.
    pub(super) names: HashMap<Inode, HostPath>,
}

impl Own {
    /// Whether nobody else changed what was seen.
    pub(super) fn explains(&self, seen: &Seen) -> bool {
        self.times.get(&seen.inode) == Some(&seen.changed)
            || self.links.get(&seen.inode) == Some(&seen.modified)
    }

    fn is_empty(&self) -> bool {
        self.times.is_empty() && self.links.is_empty() && self.names.is_empty()
    }
}

/// The journal of one sandbox.
#[derive(Debug)]
pub(super) struct Journal {
    file: OwnedFd,
}

impl Journal {
    /// Reads what was left; nothing if there is no journal.
    pub(super) fn read(sandbox: BorrowedFd<'_>) -> Result<(Pending, Own), Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(sandbox, NAME, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok((Pending::default(), Own::default())),
            Err(error) => return Err(error),
        };
        let size = u64::try_from(fstat(&file)?.st_size).unwrap_or(0);
        if size > LONGEST {
            return Err(Errno::FBIG);
        }
        let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
        let length = super::bytes::read_full(&file, &mut text, 0)?;
        Ok(understand(&text[..length]))
    }

    /// Opens the journal to add to it, and makes it where there is none.
    pub(super) fn open(sandbox: BorrowedFd<'_>) -> Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(Self { file: openat(sandbox, NAME, flags | OFlags::CLOEXEC, mode)? })
    }

    /// Adds a line and waits until it is on the disk.
    pub(super) fn add(&self, line: &Line) -> Result<(), Errno> {
        self.add_lazily(line)?;
        fdatasync(&self.file)
    }

    /// Adds a line whose loss does no harm.
    pub(super) fn add_lazily(&self, line: &Line) -> Result<(), Errno> {
        let mut text = serde_json::to_vec(line).map_err(|_| Errno::INVAL)?;
        // A line that was torn before must not swallow this one.
        text.insert(0, b'\n');
        text.push(b'\n');
        super::bytes::write_full(self.file.as_fd(), &text)
    }
}

/// Ends an apply: only its own change times stay, or nothing.
pub(super) fn close(sandbox: BorrowedFd<'_>, own: &Own) -> Result<(), Errno> {
    if own.is_empty() {
        return match unlinkat(sandbox, NAME, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        };
    }
    let sorted = |map: &HashMap<Inode, Moment>| {
        let mut list: Vec<(Inode, Moment)> = map.iter().map(|(inode, at)| (*inode, *at)).collect();
        order::sort(&mut list);
        list
    };
    let names = own.names.iter().map(|(inode, path)| (*inode, path.clone())).collect();
    let line = Line::Own { times: sorted(&own.times), links: sorted(&own.links), names };
    let text = serde_json::to_vec(&line).map_err(|_| Errno::INVAL)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = openat(sandbox, NEW_NAME, flags | OFlags::CLOEXEC, mode)?;
    super::bytes::write_full(file.as_fd(), &[&text[..], b"\n"].concat())?;
    fdatasync(&file)?;
    renameat(sandbox, NEW_NAME, sandbox, NAME)
}

/// What the lines of a journal come down to.
fn understand(text: &[u8]) -> (Pending, Own) {
    let (mut pending, mut own) = (Pending::default(), Own::default());
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(Line::Begun) => pending.interrupted = true,
            Ok(Line::Batch(batch)) => {
                pending.interrupted = true;
                for intent in &batch {
                    pending.touched.push((intent.path.clone(), intent.layer, intent.quiet));
                    if intent.how == How::Adjusted {
                        pending.changed.push((intent.path.clone(), intent.layer));
                    }
                    let linked = intent.replaces.filter(|old| old.links > 1 && !old.is_directory());
                    own.links.extend(linked.map(|old| (old.inode, old.modified)));
                    own.names.extend(intent.linked.map(|inode| (inode, intent.path.clone())));
                }
                (pending.batch, pending.ready) = (batch, None);
            }
            Ok(Line::Ready(inodes)) => pending.ready = Some(inodes),
            Ok(Line::Done) => (pending.batch, pending.ready) = (Vec::new(), None),
            Ok(Line::Made(made)) => {
                pending.interrupted = true;
                for (path, layer, finish, quiet) in made {
                    pending.touched.push((path.clone(), layer, quiet));
                    pending.made.push((path, layer, finish));
                }
            }
            Ok(Line::Opened(opened)) => {
                if opened.side == Side::Host {
                    pending.changed.push((opened.path.clone(), opened.layer));
                }
                pending.opened.push(opened);
            }
            Ok(Line::Kept(kept)) => pending.kept.push(kept),
            Ok(Line::Closed) => pending.opened.clear(),
            Ok(Line::Own { times, links, names }) => {
                own.names.extend(names);
                own.times.extend(times);
                own.links.extend(links);
            }
            // Torn by a power cut: it was not waited for, so what it announces was not begun.
            Err(_) => {}
        }
    }
    (pending, own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(path: &str) -> Intent {
        Intent {
            path: HostPath::new(path).unwrap(),
            layer: LayerNumber(0),
            temporary: ".bryo-1".into(),
            how: How::New,
            replaces: None,
            linked: None,
            mode: 0o644,
            quiet: true,
        }
    }

    fn written(lines: &[Line]) -> Vec<u8> {
        let line = |line| [&serde_json::to_vec(line).unwrap()[..], b"\n"].concat();
        lines.iter().flat_map(line).collect()
    }

    #[test]
    fn what_is_pending_is_the_last_batch_that_is_not_over() {
        let inode = Inode { device: 1, number: 2 };
        let lines = [
            Line::Begun,
            Line::Batch(vec![intent("/a")]),
            Line::Ready(vec![Some(inode)]),
            Line::Own { times: vec![(inode, (1, 2))], links: vec![], names: vec![] },
            Line::Done,
            Line::Batch(vec![intent("/b")]),
        ];
        let (pending, own) = understand(&written(&lines));
        assert_eq!(pending.batch, [intent("/b")]);
        assert_eq!(pending.ready, None);
        assert_eq!(pending.touched.len(), 2);
        assert_eq!(own.times[&inode], (1, 2));
        // A torn line was never waited for.
        let mut torn = written(&lines[..3]);
        torn.extend_from_slice(b"{\"batch\":[{\"pa\n\"done\"\n");
        assert_eq!(understand(&torn).0.batch, []);
        torn.truncate(torn.len() - 7);
        assert_eq!(understand(&torn).0.ready, Some(vec![Some(inode)]));
        assert!(!understand(&written(&lines[3..4])).0.interrupted);
    }
}
