//! What holder and netstack say to each other while they serve.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::super::wire::{self, Answer, Tell};
use super::{Answered, Holder, Tie, failure};
use crate::launch::netstack::orders::Said;
use crate::plan::traffic::Flow;
use crate::sys::errno::Errno;
use crate::sys::event::Poller;

/// Whether most of what may wait for a reader does not. One that is stopped hears of few questions: the rest is for
/// the answer to its own.
fn has_room(to: &OwnedFd) -> bool {
    let mut poller = Poller::new();
    poller.writable((), to.as_fd());
    poller.wait(Some(Duration::ZERO)).is_ok_and(|ready| !ready.is_empty())
}

impl Holder<'_> {
    /// The netstack cannot look at files, and neither can this: one of the members' launchers is asked to. One that
    /// does not answer is followed by the next one, when the netstack asks again.
    pub(super) fn hear_uplink(&mut self) {
        match wire::receive::<Said>(&self.ends.uplink) {
            Ok(Some((Said::Look, None))) => {
                let Some((number, to)) = self.next() else { return };
                if has_room(to) {
                    // Who has ended is asked for nothing.
                    wire::send(to, &Answer::Look, None).unwrap_or(());
                }
                self.asked = number;
            }
            Ok(Some((Said::Flow(from, flow), None))) => self.pass_on(from, flow),
            _ => self.lose_uplink(),
        }
    }

    /// Everybody is told; who comes later, then. One that does not read has room for this.
    fn lose_uplink(&mut self) {
        self.uplink_is_lost = true;
        for number in self.ties.keys().filter(|number| self.members.get(**number).is_some()) {
            self.reply(*number, &Answer::Cut);
        }
    }

    /// Who came with a command has no launcher that listens here.
    fn pass_on(&self, from: IpAddr, flow: Box<Flow>) {
        let whose = self.members.at(from).and_then(|number| self.ties.get(&number));
        if let Some(Tie::Connection(to)) = whose
            && has_room(to)
        {
            // Who has ended is told nothing.
            wire::send(to, &Answer::Flow(flow), None).unwrap_or(());
        }
    }

    /// The launcher to ask behind the last one, in a circle. One that is not known yet does not listen.
    fn next(&self) -> Option<(u64, &OwnedFd)> {
        let launchers = || {
            self.ties.iter().filter_map(|(number, tie)| match tie {
                Tie::Connection(to) if self.members.get(*number)?.id.is_some() => {
                    Some((*number, to))
                }
                _ => None,
            })
        };
        launchers().find(|(number, _)| *number > self.asked).or_else(|| launchers().next())
    }

    /// Without a netstack there is nobody to tell, and no name server.
    pub(super) fn tell_one(&mut self, tell: &Tell, fd: Option<&OwnedFd>) -> Answered {
        let fd = fd.map(AsFd::as_fd);
        if !self.uplink_is_lost && wire::send(&self.ends.uplink, tell, fd).is_err() {
            self.lose_uplink();
        }
        let lost = || Answer::Failed(failure("speak with the netstack", Errno::ECONNRESET));
        if self.uplink_is_lost { Err(lost()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;

    #[test]
    fn who_does_not_read_has_room_for_an_answer() {
        let (ours, theirs) = socket::pair().unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        let asked = (0..10_000).take_while(|_| has_room(&ours)).map(|_| {
            wire::send(&ours, &Answer::Look, None).unwrap();
        });
        assert!((1..10_000).contains(&asked.count()));
        wire::send(&ours, &Answer::Done, None).unwrap();
        drop(theirs);
    }
}
