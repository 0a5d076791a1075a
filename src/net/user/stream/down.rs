//! What the host's other end sends, on its way to the payload.

use std::time::Instant;

use super::{Direction, Ends, Means, Stream, TURN};
use crate::net::egress::Sight;
use crate::net::user::packet::Flags;
use crate::net::user::ring::Stay;
use crate::sys::errno::Errno;

/// Bytes under way to the payload, at most.
const DOWN: usize = 1 << 20;

impl Stream {
    /// Reads from the host and sends to the payload; whether there may be more at once.
    pub(super) fn pump(&mut self, means: &mut Means<'_>) -> Result<bool, Errno> {
        let mut moved = 0;
        let mut frees = false;
        while self.readable && !self.host_fin && self.endpoint.is_open() {
            if moved >= TURN {
                return Ok(true);
            }
            let usable = self.endpoint.usable();
            if usable == 0 {
                self.endpoint.wait_for_window(means.now);
                break;
            }
            let most = self.may_pass(Direction::Down);
            if most == 0 {
                break;
            }
            let piece = means.link.most_at_once(self.ends.outside, self.endpoint.mss());
            let want = usable.min(piece).min(most);
            while self.down.free() < want && self.down.grow(DOWN, Stay::Short, means.pool) {}
            let want = want.min(self.down.free());
            if want == 0 {
                break;
            }
            match rustix::io::readv(&self.socket, &mut self.down.scatter(want)) {
                Ok(0) => self.host_fin = true,
                Ok(length) => {
                    self.readable = length == want || self.hung_up;
                    let offset = self.down.len();
                    self.down.filled(length);
                    frees |= self.hear(offset, length, means.now)?;
                    self.send_bytes(offset, length, means);
                    self.passed(Direction::Down, length, means);
                    moved += length;
                }
                Err(rustix::io::Errno::AGAIN) => self.readable = false,
                Err(errno) => return Err(errno.into()),
            }
        }
        if self.down.is_empty() {
            self.down.release(means.pool);
        }
        if self.host_fin && !self.endpoint.has_our_fin() {
            let flags = Flags::FIN;
            let control = self.endpoint.segment(self.down.len(), flags, self.room());
            self.say(&control, means);
            self.endpoint.sent_fin(means.now);
        }
        Ok(frees)
    }

    /// Has the inspection hear new bytes of `down`; whether what it held can go on now.
    fn hear(&mut self, offset: usize, length: usize, now: Instant) -> Result<bool, Errno> {
        let Some(inspect) = &mut self.inspect else { return Ok(false) };
        let (first, second) = self.down.slices(offset, length);
        let mut sight = inspect.hear(first);
        if !second.is_empty() && !matches!(sight, Some(Sight::Trust | Sight::Refuse)) {
            sight = inspect.hear(second).or(sight);
        }
        let Some(sight) = sight else { return Ok(false) };
        self.judge(sight, now)?;
        Ok(self.hold_until.is_none() && !self.up.is_empty())
    }

    /// Sends new bytes of `down` as segments, as many at once as the link takes.
    fn send_bytes(&mut self, offset: usize, length: usize, means: &Means<'_>) {
        let (mss, room) = (self.endpoint.mss(), self.room());
        let most = means.link.most_at_once(self.ends.outside, mss);
        let mss = usize::from(mss);
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let mut size = most.min(end - at);
            let flags = if at + size == end { Flags::PSH } else { Flags::ACK };
            if size <= mss {
                self.send_piece(at, size, flags, room, means);
            } else if !self.send_segments(at, size, flags, room, means) {
                size = mss;
                self.send_piece(at, size, Flags::ACK, room, means);
            }
            self.endpoint.sent(size, means.now);
            at += size;
        }
    }

    fn send_segments(
        &mut self,
        at: usize,
        size: usize,
        flags: Flags,
        room: usize,
        means: &Means<'_>,
    ) -> bool {
        let control = self.endpoint.segment(at, flags, room);
        let (first, second) = self.down.slices(at, size);
        let Ends { inside, outside } = self.ends;
        let mss = self.endpoint.mss();
        self.owes = false;
        means.link.send_segments((outside, inside), &control, mss, [first, second])
    }

    fn send_piece(&mut self, at: usize, size: usize, flags: Flags, room: usize, means: &Means<'_>) {
        let control = self.endpoint.segment(at, flags, room);
        let (first, second) = self.down.slices(at, size);
        let Ends { inside, outside } = self.ends;
        means.link.send_tcp(outside, inside, &control, [first, second]);
        self.owes = false;
    }

    /// Sends the oldest piece once more.
    pub(super) fn resend(&mut self, means: &Means<'_>) {
        if !self.endpoint.is_open() {
            return self.send_syn(means);
        }
        let size = usize::from(self.endpoint.mss()).min(self.down.len());
        let is_last = size == self.down.len() && self.endpoint.has_our_fin();
        let flags = if is_last { Flags::FIN } else { Flags::PSH };
        self.send_piece(0, size, flags, self.room(), means);
    }
}
