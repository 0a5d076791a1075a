//! Waiting: `poll(2)` over a few descriptors, and timers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::errno::Result;

/// A fresh list of descriptors to wait for, each under a key that means something to the caller.
///
/// It is made anew for each wait, as `poll(2)` is: with the handful of descriptors that our
/// processes have that is cheaper than keeping a kernel object in step.
#[derive(Debug)]
pub struct Poller<'fd, K> {
    keys: Vec<K>,
    fds: Vec<PollFd<'fd>>,
}

/// What a descriptor is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready(PollFlags);

impl Ready {
    /// A read will not block: there is something, or the end.
    pub fn readable(self) -> bool {
        self.0.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
    }

    /// A write will not block: there is room, or the other end is gone.
    pub fn writable(self) -> bool {
        self.0.intersects(PollFlags::OUT | PollFlags::ERR)
    }

    /// The other end is closed. There may still be something to read.
    pub fn hung_up(self) -> bool {
        self.0.intersects(PollFlags::HUP | PollFlags::ERR)
    }
}

impl<K: Copy> Default for Poller<'_, K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'fd, K: Copy> Poller<'fd, K> {
    /// Waits for nothing yet.
    pub fn new() -> Self {
        Self { keys: Vec::new(), fds: Vec::new() }
    }

    /// Waits until `fd` can be read.
    pub fn readable(&mut self, key: K, fd: BorrowedFd<'fd>) -> &mut Self {
        self.push(key, fd, PollFlags::IN)
    }

    /// Waits until `fd` can be written.
    pub fn writable(&mut self, key: K, fd: BorrowedFd<'fd>) -> &mut Self {
        self.push(key, fd, PollFlags::OUT)
    }

    /// Waits until a file of the kernel's says that it changed, as those of control groups do.
    pub fn out_of_band(&mut self, key: K, fd: BorrowedFd<'fd>) -> &mut Self {
        self.push(key, fd, PollFlags::PRI)
    }

    /// Waits only until the other end of `fd` is closed.
    pub fn hang_up(&mut self, key: K, fd: BorrowedFd<'fd>) -> &mut Self {
        self.push(key, fd, PollFlags::empty())
    }

    fn push(&mut self, key: K, fd: BorrowedFd<'fd>, flags: PollFlags) -> &mut Self {
        self.keys.push(key);
        self.fds.push(PollFd::from_borrowed_fd(fd, flags));
        self
    }

    /// Waits, at most for `timeout`, and returns what is ready; nothing means that the time is up.
    ///
    /// A signal does not end the wait: signals arrive by their own descriptor.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Vec<(K, Ready)>> {
        // A time too far away to be an instant is no limit.
        let until = timeout.and_then(|span| Instant::now().checked_add(span));
        loop {
            let left = until.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.and_then(|span| Timespec::try_from(span).ok());
            match rustix::event::poll(&mut self.fds, left.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => break,
            }
        }
        let seen = self.keys.iter().zip(&self.fds);
        let ready = seen.filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(key, fd)| (*key, Ready(fd.revents()))).collect())
    }
}

/// `timerfd_create(2)`: a timer to wait for beside other things. It goes on while the machine
/// sleeps, is non-blocking and close-on-exec.
#[derive(Debug)]
pub struct Timer {
    fd: TimerFd,
}

impl Timer {
    /// A timer that is not set.
    pub fn new() -> Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self { fd: TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)? })
    }

    /// Goes off once, `after` from now.
    pub fn set_once(&self, after: Duration) -> Result<()> {
        self.set(Expiration::OneShot(at_least_one(after)))
    }

    /// Goes off again and again, `every` so often.
    pub fn set_interval(&self, every: Duration) -> Result<()> {
        self.set(Expiration::Interval(at_least_one(every)))
    }

    fn set(&self, expiration: Expiration) -> Result<()> {
        Ok(self.fd.set(expiration, TimerSetTimeFlags::empty())?)
    }

    /// Takes the timer back to not being readable; says how often it went off since.
    pub fn acknowledge(&self) -> Result<u64> {
        let mut count = [0; 8];
        match rustix::io::read(&self.fd, &mut count) {
            Ok(_) => Ok(u64::from_ne_bytes(count)),
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Zero would switch the timer off instead of letting it go off at once.
fn at_least_one(span: Duration) -> TimeSpec {
    TimeSpec::from_duration(span.max(Duration::from_nanos(1)))
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Timer> for OwnedFd {
    fn from(timer: Timer) -> Self {
        timer.fd.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;

    #[test]
    fn only_what_is_ready_is_told() {
        let (a, b) = socket::pair().unwrap();
        let (c, _d) = socket::pair().unwrap();
        socket::send(&a, b"x", &[]).unwrap();
        let mut poller = Poller::new();
        poller.readable('b', b.as_fd()).readable('c', c.as_fd()).hang_up('h', b.as_fd());
        let ready = poller.wait(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(ready.len(), 1);
        assert!(ready[0].0 == 'b' && ready[0].1.readable() && !ready[0].1.hung_up());
        drop(a);
        let mut poller = Poller::new();
        let ready = poller.hang_up('h', b.as_fd()).wait(None).unwrap();
        assert!(ready[0].1.hung_up());
    }

    #[test]
    fn a_wait_ends_with_its_time() {
        let (a, _b) = socket::pair().unwrap();
        let before = Instant::now();
        let mut poller = Poller::new();
        poller.readable((), a.as_fd());
        assert_eq!(poller.wait(Some(Duration::from_millis(30))).unwrap(), []);
        assert!(before.elapsed() >= Duration::from_millis(30));
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap(), []);
    }

    #[test]
    fn a_timer_goes_off_and_is_acknowledged() {
        let timer = Timer::new().unwrap();
        assert_eq!(timer.acknowledge(), Ok(0));
        for span in [Duration::ZERO, Duration::from_millis(5)] {
            timer.set_once(span).unwrap();
            let mut poller = Poller::new();
            let ready = poller.readable((), timer.as_fd()).wait(Some(Duration::from_secs(5)));
            assert!(ready.unwrap()[0].1.readable());
            assert_eq!(timer.acknowledge(), Ok(1));
        }
        timer.set_interval(Duration::from_millis(1)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert!(timer.acknowledge().unwrap() > 1);
    }
}
