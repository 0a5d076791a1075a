//! The last events of a sandbox: its end, also where its supervisor was killed and cannot tell it; and, before its
//! removal is told, the ends of the programs that `bryo exec` started in it.
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

/// How long is waited for who watches over a program in a sandbox that has ended: he may be stopped, or come late to a
/// processor that many want.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);
/// The status of everything in a sandbox whose launcher was killed.
pub(super) const KILLED: u8 = 0x80 | 9;

/// What is to be told of the end of a sandbox, once it has come to it.
#[derive(Debug)]
pub struct Farewell {
    found: Found,
    name: Option<String>,
    /// The exit status, unless it was told before.
    exit: Option<u8>,
}

impl Farewell {
    /// That it ended, and so, was not told yet.
    #[must_use]
    pub fn of_end(self, exit: u8) -> Self {
        Self { exit: Some(exit), ..self }
    }

    /// It has ended, and stays.
    pub fn tell_end(self) {
        let end = self.end();
        if !end.is_empty() {
            self.found.tell_of(&end);
        }
    }

    /// It is removed.
    pub fn tell_removal(self) {
        // In this order, which their times tell too.
        let mut all = self.end();
        all.push(self.found.event(What::Destroy, self.name.as_deref(), &[]));
        self.found.tell_of(&all);
    }

    fn end(&self) -> Vec<Event> {
        let end = |exit: u8| {
            self.found.event(What::Die, self.name.as_deref(), &[("exit", exit.to_string())])
        };
        self.exit.map(end).into_iter().collect()
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
        self.ending()
    }

    /// Tells that it ended with its launcher, which cannot.
    pub fn tell_lost(&self, record: &Record) {
        self.as_lost(record).into_iter().for_each(Farewell::tell_end);
    }

    /// As [`Self::tell_lost`], to be told later.
    pub(super) fn as_lost(&self, record: &Record) -> Option<Farewell> {
        let is_lost = record.outcome == Outcome::Running;
        is_lost.then(|| self.ending().of_end(KILLED))
    }

    /// What is to be told of its end, by the name that it has now.
    pub fn ending(&self) -> Farewell {
        Farewell { found: self.as_found(), name: self.name_now(), exit: None }
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
        directory.farewell_within(Duration::from_mins(1)).tell_removal();
        visitor.join().unwrap();
        let mut events = store.events();
        let told: Vec<What> =
            std::iter::from_fn(|| events.next_event().unwrap()).map(|event| event.event).collect();
        assert_eq!(told, [What::ExecDie, What::Destroy]);
        // One that never lets go is not waited for.
        let _stopped = directory.as_found().visit().unwrap();
        directory.farewell_within(Duration::ZERO).of_end(3).tell_removal();
        assert_eq!(events.next_event().unwrap().unwrap().event, What::Die);
        assert_eq!(events.next_event().unwrap().unwrap().event, What::Destroy);
    }

    #[test]
    fn an_end_is_told_by_the_name_that_it_has_then() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&HostPath::new(folder.path().join("s")).unwrap()).unwrap();
        let mut events = store.events();
        let mut told = || events.next_event().unwrap().unwrap().name;
        let plain = store.create(None).unwrap();
        plain.ending().tell_removal();
        assert_eq!(told(), None);
        let named = store.create(Some("old")).unwrap();
        named.ending().tell_removal();
        assert_eq!(told().as_deref(), Some("old"));
        for (directory, new) in [(&plain, "first"), (&named, "second")] {
            directory.as_found().rename(new).unwrap();
            directory.ending().tell_removal();
            assert_eq!(told().as_deref(), Some(new));
        }
        named.ending().tell_removal();
        assert_eq!(told().as_deref(), Some("second"));
    }
}
