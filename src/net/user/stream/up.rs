//! What the payload sends, on its way to the host.

use std::time::Instant;

use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown};

use super::{Direction, HELD, Means, Stream};
use crate::net::egress::{HOLD, Sight};
use crate::net::user::ring::Stay;
use crate::sys::errno::Errno;

impl Stream {
    /// Takes the payload's next bytes: how many. The rest will come again.
    pub(super) fn take(&mut self, bytes: &[u8], means: &mut Means<'_>) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.shut {
            return Err(Errno::EPIPE);
        }
        let mut taken = 0;
        if self.inspect.is_none() && self.up.is_empty() && self.writable && self.paced.is_none() {
            taken = self.write(bytes)?;
        }
        let (_, rest) = bytes.split_at(taken);
        let stay = if self.inspect.is_some() { Stay::Short } else { Stay::Long };
        let appended = self.up.append(rest, self.most_up().max(HELD), stay, means.pool);
        let (seen, _) = rest.split_at(appended);
        if let Some(inspect) = self.inspect.as_mut().filter(|_| !seen.is_empty()) {
            let sight = inspect.look(seen);
            self.judge(sight, means.now)?;
        }
        Ok(taken + appended)
    }

    pub(super) fn judge(&mut self, sight: Sight, now: Instant) -> Result<(), Errno> {
        match sight {
            Sight::Refuse => return Err(Errno::EACCES),
            Sight::Hold if self.up.len() >= HELD => return Err(Errno::EACCES),
            Sight::Hold => self.hold_until = self.hold_until.or_else(|| now.checked_add(HOLD)),
            Sight::Pass => self.hold_until = None,
            Sight::Trust => {
                self.hold_until = None;
                self.inspect = None;
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(length) => {
                self.writable = length == bytes.len();
                Ok(length)
            }
            Err(rustix::io::Errno::AGAIN) => {
                self.writable = false;
                Ok(0)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes what waits, and passes the payload's end on behind it.
    pub(super) fn flush(&mut self, means: &mut Means<'_>) -> Result<(), Errno> {
        if self.endpoint.has_their_fin() && !self.shut && self.hold_until.is_some() {
            let sight = self.inspect.as_mut().map_or(Sight::Refuse, |inspect| inspect.end());
            self.judge(sight, means.now)?;
            if sight == Sight::Hold {
                return Err(Errno::EACCES);
            }
        }
        while self.writable && self.hold_until.is_none() && !self.up.is_empty() {
            let most = self.may_pass(Direction::Up);
            if most == 0 {
                break;
            }
            let pieces = self.up.gather(0, self.up.len().min(most));
            let mut nothing = SendAncillaryBuffer::default();
            let sent =
                rustix::net::sendmsg(&self.socket, &pieces, &mut nothing, SendFlags::NOSIGNAL);
            match sent {
                Ok(length) => {
                    self.up.consume(length);
                    self.passed(Direction::Up, length, means);
                }
                Err(rustix::io::Errno::AGAIN) => self.writable = false,
                Err(errno) => return Err(errno.into()),
            }
        }
        let done = self.endpoint.has_their_fin() && self.up.is_empty();
        if done && !self.shut {
            self.shut = true;
            // It may be closed by its other end already, which reading tells.
            match rustix::net::shutdown(&self.socket, Shutdown::Write) {
                Ok(()) | Err(rustix::io::Errno::NOTCONN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}
