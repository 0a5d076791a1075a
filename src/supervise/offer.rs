//! What a supervisor is handed in such a way that it can be taken back.
//!
//! # Theory of operation
//! A descriptor that was sent lies in the other side's socket until that reads it, and stays open there: while a
//! supervisor is stopped, a pipe of somebody who asked it for something and went away would have no end. So what goes
//! along with a request is one end of a pair of sockets, in which the descriptors lie. Who offers them keeps that end
//! too: the first of the two who reads has them, and the other finds nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::errno::Result;
use crate::sys::socket;

/// Descriptors for somebody else; those that he has not taken when this is dropped he does not get.
#[derive(Debug)]
pub struct Offer(OwnedFd);

impl Offer {
    /// Of these.
    pub fn new(fds: &[BorrowedFd<'_>]) -> Result<Self> {
        let (ours, theirs) = socket::pair()?;
        socket::send(ours, &[0], fds)?;
        Ok(Self(theirs))
    }

    /// What was offered. Errors: `EAGAIN`, or no descriptors, when it was taken back.
    pub(super) fn take(offer: impl AsFd) -> Result<Vec<OwnedFd>> {
        socket::receive_now(offer, &mut [0]).map(|(_, fds)| fds)
    }
}

/// What is sent along.
impl AsFd for Offer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // Nothing is there any more where it was taken.
        drop(Self::take(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_had_by_one_of_the_two() {
        let offered = || {
            let (read, write) = rustix::pipe::pipe().unwrap();
            let offer = Offer::new(&[write.as_fd()]).unwrap();
            drop(write);
            let theirs = offer.as_fd().try_clone_to_owned().unwrap();
            (read, offer, theirs)
        };
        let (read, offer, theirs) = offered();
        let taken = Offer::take(&theirs).unwrap();
        drop(offer);
        rustix::io::write(&taken[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&read, &mut [0; 4]), Ok(1));

        let (read, offer, theirs) = offered();
        drop(offer);
        // The end of the pipe, though somebody has not looked yet.
        assert_eq!(rustix::io::read(&read, &mut [0; 4]), Ok(0));
        assert!(Offer::take(theirs).is_ok_and(|taken| taken.is_empty()));
        // Something else than an offer.
        assert!(Offer::take(std::fs::File::open("/dev/null").unwrap()).is_err());
        let (_open, empty) = socket::pair().unwrap();
        assert!(Offer::take(empty).is_err());
    }
}
