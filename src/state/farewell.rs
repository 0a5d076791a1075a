//! The end of a sandbox as others are told of it: what is told of one whose supervisor was killed, and that what was
//! told of programs in it comes before its removal.
//!
//! # Theory of operation
//! Who watches over a program in a sandbox (`bryo exec`) has a shared record lock (`F_OFD_SETLK`) on the sandbox's
//! directory until he has told how it ended: nothing to do with the other kind of lock, which is its supervisor's, and
//! no file of its own. Who removes it asks whether there is one, and waits a moment: everything in the sandbox has
//! ended by then, so he is about to learn of it.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::events::{Event, What};
use super::found::Found;
use super::record::{Outcome, Record};
use super::sandbox::SandboxDirectory;
use crate::sys::lease;

/// How long is waited for who watches over a program in a sandbox that has ended: he may be stopped.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(2);
/// Of everything in a sandbox whose supervisor was killed.
const KILLED: u8 = 0x80 | 9;

/// That a sandbox is lost or removed, to be told when it is.
#[derive(Debug)]
pub struct Farewell {
    found: Found,
    event: Event,
}

impl Farewell {
    /// It is.
    pub fn tell(mut self) {
        self.event.time = super::Timestamp::now();
        self.found.tell_of(&[self.event]);
    }
}

impl Found {
    /// Its removal is not told before this is dropped. None where that cannot be had, or it is gone.
    pub fn visit(&self) -> Option<OwnedFd> {
        let (directory, _) = self.open().ok()??;
        lease::share(&directory).ok().map(|()| directory)
    }
}

impl SandboxDirectory {
    /// Before it is removed, and told of that: its name is known now.
    pub fn farewell(&self) -> Farewell {
        self.farewell_within(PATIENCE)
    }

    fn farewell_within(&self, patience: Duration) -> Farewell {
        let until = Instant::now() + patience;
        while lease::is_shared(self.descriptor()).unwrap_or(false) && Instant::now() < until {
            std::thread::sleep(PAUSE);
        }
        let found = self.as_found();
        let event = found.event_as_called(What::Destroy, &[]);
        Farewell { found, event }
    }

    /// Tells that it ended with its supervisor, which cannot: not of one in somebody's foreground, who sees it.
    pub fn tell_lost(&self, record: &Record) {
        self.as_lost(record).into_iter().for_each(Farewell::tell);
    }

    /// As [`Self::tell_lost`], to be told later.
    pub(super) fn as_lost(&self, record: &Record) -> Option<Farewell> {
        let is_lost = record.outcome == Outcome::Running && record.is_apart();
        is_lost.then(|| {
            let found = self.as_found();
            let event = found.event_as_called(What::Die, &[("exit", KILLED.to_string())]);
            Farewell { found, event }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::HostPath;
    use crate::state::Store;

    #[test]
    fn a_removal_is_told_after_the_end_of_what_somebody_watches_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&HostPath::new(folder.path().join("s")).unwrap()).unwrap();
        let directory = store.create(None).unwrap();
        let found = directory.as_found();
        let visit = found.visit().unwrap();
        // Another look at it takes nothing away.
        drop(found.visit());
        let visitor = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            found.tell(What::ExecDie, None, &[]);
            drop(visit);
        });
        directory.farewell_within(Duration::from_mins(1)).tell();
        visitor.join().unwrap();
        let mut events = store.events();
        let told: Vec<What> =
            std::iter::from_fn(|| events.next_event().unwrap()).map(|event| event.event).collect();
        assert_eq!(told, [What::ExecDie, What::Destroy]);
        // One that never lets go is not waited for.
        let _stopped = directory.as_found().visit().unwrap();
        directory.farewell_within(Duration::ZERO).tell();
        assert_eq!(events.next_event().unwrap().unwrap().event, What::Destroy);
    }
}
