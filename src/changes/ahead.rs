//! Reads changes ahead, on a thread of its own, while the ones before are worked on.
//!
//! Finding changes and reading what is in them are both calls to the kernel for every file; on two
//! processors they take half the time.
//!
//! # Decisions
//! - Changes are handed over many at a time, and the reader is never far ahead: who stops early has not
//!   caused a whole layer to be read.
//! - Where no thread can be had, changes are read by whoever asks.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

use super::change::Change;
use super::{Changes, ChangesError};

/// How many changes are handed over together.
const TOGETHER: usize = 128;
/// How many such heaps may wait.
const WAITING: usize = 8;

type Found = Result<Change, ChangesError>;

/// Changes, read ahead.
pub struct InBackground {
    ready: std::vec::IntoIter<Found>,
    rest: Rest,
}

enum Rest {
    Elsewhere(Receiver<Vec<Found>>),
    Here(Changes),
}

impl Changes {
    /// Goes on reading on a thread of its own.
    pub fn in_background(self) -> InBackground {
        let (give, changes) = sync_channel::<Self>(1);
        let (send, receive) = sync_channel(WAITING);
        let read = move || {
            if let Ok(changes) = changes.recv() {
                read(changes, &send);
            }
        };
        let thread = Builder::new().name("bryo-changes".to_owned()).spawn(read);
        let rest = match thread {
            Ok(_) => match give.send(self) {
                Ok(()) => Rest::Elsewhere(receive),
                Err(unsent) => Rest::Here(unsent.0),
            },
            Err(_) => Rest::Here(self),
        };
        InBackground { ready: Vec::new().into_iter(), rest }
    }
}

fn read(changes: Changes, send: &SyncSender<Vec<Found>>) {
    let mut heap = Vec::with_capacity(TOGETHER);
    for found in changes {
        heap.push(found);
        if heap.len() == TOGETHER {
            let full = std::mem::replace(&mut heap, Vec::with_capacity(TOGETHER));
            if send.send(full).is_err() {
                // Nobody wants the rest.
                return;
            }
        }
    }
    // Nor is it a fault that nobody wants the last ones.
    send.send(heap).unwrap_or_default();
}

impl Iterator for InBackground {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if let Some(found) = self.ready.next() {
            return Some(found);
        }
        match &mut self.rest {
            Rest::Here(changes) => changes.next(),
            Rest::Elsewhere(receive) => {
                self.ready = receive.recv().ok()?.into_iter();
                self.ready.next()
            }
        }
    }
}
