//! Bytes that wait: a ring that grows when it is full, and gives its memory back when it is empty.
//!
//! # Theory of operation
//! A flow that waits for nothing has no buffer at all. Buffers come from one [`Pool`], in a few sizes,
//! and the pool knows how much is out: above its limit no ring grows, and a flow without a
//! buffer gets one of the smallest only as long as there is some reserve. So the memory of all flows
//! together is bounded, whatever a payload does.
//!
//! # Decisions
//! - Buffers are the kernel's and no heap's: after a thousand slow connections at once a heap keeps what they had, since
//!   something small lies above it, and what is used again lies elsewhere each time.
//! - The reserve is for what leaves soon ([`Stay::Short`]). What waits for somebody who may never read does not get at it:
//!   else uploads to such a one would keep everything else from moving for as long as they like.
//! - On a network of several sandboxes each always gets [`OWN`], so that nobody waits for the others.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::IpAddr;

use crate::sys::pages::Pages;

/// The sizes of buffers: each four times the one before.
const SIZES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// The smallest buffer for so many bytes, or the largest there is.
pub fn size_for(bytes: usize) -> usize {
    SIZES.into_iter().find(|size| *size >= bytes).unwrap_or(SIZES[SIZES.len() - 1])
}

/// Buffers of each size that are kept for the next flows: 12 MiB.
const KEPT: [usize; SIZES.len()] = [64, 16, 8, 8];

/// Bytes of all buffers that are out: above this, rings do not grow.
const LIMIT: usize = 96 << 20;

/// Bytes that each of several sandboxes can have, whatever is out.
const OWN: usize = 8 * SIZES[0];

/// How long bytes may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Until the payload's kernel acknowledges them, or a look at them has its end.
    Short,
    /// Until somebody on the host's network takes them.
    Long,
}

/// Hands out buffers.
#[derive(Debug)]
pub struct Pool {
    free: [Vec<Pages>; SIZES.len()],
    out: usize,
    limit: usize,
    /// What each of several sandboxes has, and which one is served now.
    members: Option<(IpAddr, HashMap<IpAddr, usize>)>,
    /// Somebody got nothing.
    short: bool,
    /// Something came back.
    freed: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(LIMIT)
    }
}

impl Pool {
    /// With a limit.
    pub fn new(limit: usize) -> Self {
        Self { free: Default::default(), out: 0, limit, members: None, short: false, freed: false }
    }

    /// Several sandboxes are served from now on. Before the first buffer.
    pub fn share(&mut self) {
        self.members = Some((IpAddr::from([0; 4]), HashMap::new()));
    }

    /// What follows is for this one.
    pub fn serve(&mut self, member: IpAddr) {
        if let Some((now, _)) = &mut self.members {
            *now = member;
        }
    }

    /// Whether somebody got nothing, since this was asked last.
    pub fn was_short(&mut self) -> bool {
        std::mem::take(&mut self.short)
    }

    /// Whether something came back, since this was asked last.
    pub fn has_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// What is out for whom it is that is served.
    fn held(&mut self) -> Option<&mut usize> {
        let (now, held) = self.members.as_mut()?;
        Some(held.entry(*now).or_default())
    }

    /// A buffer of a size; none when too much is out.
    fn get(&mut self, size: usize, stay: Stay) -> Option<Pages> {
        let length = *SIZES.get(size)?;
        let most = match (size, stay) {
            (0, Stay::Short) => self.limit + self.limit / 3,
            _ => self.limit,
        };
        let is_own = |held: &mut usize| *held + length <= OWN;
        if self.out + length > most && !self.held().is_some_and(is_own) {
            return None;
        }
        let buffer = self.free.get_mut(size)?.pop().or_else(|| Pages::new(length))?;
        self.out += length;
        if let Some(held) = self.held() {
            *held += length;
        }
        Some(buffer)
    }

    fn put(&mut self, buffer: Pages) {
        self.freed = true;
        self.out = self.out.saturating_sub(buffer.len());
        if let Some((now, held)) = &mut self.members
            && let Some(one) = held.get_mut(now)
        {
            *one = one.saturating_sub(buffer.len());
            if *one == 0 {
                held.remove(now);
            }
        }
        let sizes = SIZES.iter().zip(KEPT).zip(&mut self.free);
        for ((_, kept), free) in sizes.filter(|((size, _), _)| **size == buffer.len()) {
            if free.len() < kept {
                return free.push(buffer);
            }
        }
    }

    /// Bytes that are out.
    pub fn out(&self) -> usize {
        self.out
    }
}

/// A queue of bytes.
#[derive(Debug, Default)]
pub struct Ring {
    buffer: Option<Pages>,
    start: usize,
    length: usize,
    /// The most there was since the buffer was taken, and in the time before: a flow that gives its buffer
    /// back often gets one at once of the size that it will fill.
    peak: usize,
    before: usize,
}

impl Ring {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn capacity(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.len())
    }

    /// Room behind them, without growing.
    pub fn free(&self) -> usize {
        self.capacity() - self.length
    }

    /// Makes room for more than there is, up to `most` bytes in all. Whether there is more now.
    pub fn grow(&mut self, most: usize, stay: Stay, pool: &mut Pool) -> bool {
        let fits = |size: &usize| *size > self.capacity() && *size <= most;
        let next = SIZES.iter().position(fits);
        let usual = SIZES.iter().position(|size| fits(size) && *size >= self.before);
        let usual = usual.filter(|_| self.buffer.is_none()).and_then(|size| pool.get(size, stay));
        let larger = usual.or_else(|| next.and_then(|size| pool.get(size, stay)));
        let Some(mut larger) = larger else {
            pool.short |= self.buffer.is_none();
            return false;
        };
        let (first, second) = self.slices(0, self.length);
        larger[..first.len()].copy_from_slice(first);
        larger[first.len()..self.length].copy_from_slice(second);
        self.start = 0;
        if let Some(old) = self.buffer.replace(larger) {
            pool.put(old);
        }
        true
    }

    /// Gives the memory back.
    pub fn release(&mut self, pool: &mut Pool) {
        if let Some(buffer) = self.buffer.take() {
            pool.put(buffer);
            self.before = self.peak;
            self.peak = 0;
        }
        self.start = 0;
        self.length = 0;
    }

    /// `length` bytes from `offset` on, in two pieces; fewer when there are fewer.
    pub fn slices(&self, offset: usize, length: usize) -> (&[u8], &[u8]) {
        let Some(buffer) = &self.buffer else { return (&[], &[]) };
        let offset = offset.min(self.length);
        let length = length.min(self.length - offset);
        let from = (self.start + offset) % buffer.len();
        let first = length.min(buffer.len() - from);
        (&buffer[from..from + first], &buffer[..length - first])
    }

    /// The same, for a gathering write.
    pub fn gather(&self, offset: usize, length: usize) -> [IoSlice<'_>; 2] {
        let (first, second) = self.slices(offset, length);
        [IoSlice::new(first), IoSlice::new(second)]
    }

    /// Room for at most `length` bytes behind the last one, for a scattering read; then [`Self::filled`].
    pub fn scatter(&mut self, length: usize) -> [IoSliceMut<'_>; 2] {
        let length = length.min(self.free());
        let (start, used) = (self.start, self.length);
        let Some(buffer) = &mut self.buffer else {
            return [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])];
        };
        let from = (start + used) % buffer.len();
        let first = length.min(buffer.len() - from);
        let (head, tail) = buffer.split_at_mut(from);
        [IoSliceMut::new(&mut tail[..first]), IoSliceMut::new(&mut head[..length - first])]
    }

    /// Notes that `length` bytes were read into it.
    pub fn filled(&mut self, length: usize) {
        self.length = (self.length + length).min(self.capacity());
        self.peak = self.peak.max(self.length);
    }

    /// Appends what there is room for, growing up to `most` bytes; how much that was.
    pub fn append(&mut self, bytes: &[u8], most: usize, stay: Stay, pool: &mut Pool) -> usize {
        while self.free() < bytes.len() && self.grow(most, stay, pool) {}
        let mut done = 0;
        for mut room in self.scatter(bytes.len()) {
            let length = room.len();
            room.copy_from_slice(&bytes[done..done + length]);
            done += length;
        }
        self.filled(done);
        done
    }

    /// Drops the first `length` bytes.
    pub fn consume(&mut self, length: usize) {
        let length = length.min(self.length);
        self.length -= length;
        // From the beginning once it is empty: the same memory, still in the cache.
        self.start = match self.capacity() {
            0 => 0,
            _ if self.length == 0 => 0,
            capacity => (self.start + length) % capacity,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn it_is_a_queue(steps in proptest::collection::vec((any::<bool>(), 0usize..40_000), 1..60)) {
            let mut pool = Pool::default();
            let (mut ring, mut model) = (Ring::default(), VecDeque::<u8>::new());
            let mut next = 0u8;
            for (puts, length) in steps {
                if puts {
                    let bytes: Vec<u8> = (0..length).map(|_| { next = next.wrapping_add(1); next }).collect();
                    let taken = ring.append(&bytes, 256 << 10, Stay::Long, &mut pool);
                    prop_assert!(taken == length || ring.len() == 256 << 10);
                    model.extend(&bytes[..taken]);
                } else {
                    ring.consume(length);
                    model.drain(..length.min(model.len()));
                }
                let (first, second) = ring.slices(0, ring.len());
                let all: Vec<u8> = first.iter().chain(second).copied().collect();
                prop_assert_eq!(&all, &model.iter().copied().collect::<Vec<_>>());
                let (a, b) = ring.slices(5, 7);
                prop_assert_eq!(a.len() + b.len(), ring.len().saturating_sub(5).min(7));
            }
            ring.release(&mut pool);
            prop_assert_eq!(pool.out(), 0);
        }
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let mut pool = Pool::default();
        let mut rings: Vec<Ring> = (0..20_000).map(|_| Ring::default()).collect();
        let most = 1 << 20;
        for ring in &mut rings {
            ring.append(&vec![1; 20_000], most, Stay::Short, &mut pool);
        }
        assert!(pool.out() <= 128 << 20 && pool.out() > LIMIT, "{}", pool.out());
        assert!(rings.iter().any(Ring::is_empty));
        for ring in &mut rings {
            ring.release(&mut pool);
        }
        assert_eq!(pool.out(), 0);
        assert!(pool.free.iter().zip(KEPT).all(|(free, kept)| free.len() <= kept));
        assert!(!pool.free[0].is_empty());
    }

    /// Takes all it can for bytes that may stay; gives what was had.
    fn exhaust(pool: &mut Pool) -> Vec<Ring> {
        let mut rings = Vec::new();
        loop {
            let mut ring = Ring::default();
            if ring.append(&[1; 100], 1 << 20, Stay::Long, pool) == 0 {
                return rings;
            }
            rings.push(ring);
        }
    }

    #[test]
    fn what_may_stay_leaves_memory_for_what_does_not() {
        let mut pool = Pool::new(3 << 20);
        let mut rings = exhaust(&mut pool);
        assert_eq!((pool.out(), pool.was_short(), pool.was_short()), (3 << 20, true, false));
        let mut moving = Ring::default();
        assert_eq!(moving.append(&[2; 100], 1 << 20, Stay::Short, &mut pool), 100);
        assert!(!pool.was_short() && !pool.has_freed());
        rings[0].release(&mut pool);
        assert!(pool.has_freed() && !pool.has_freed());
    }

    #[test]
    fn one_member_takes_nothing_from_what_another_always_gets() {
        let [greedy, other] = [1, 2].map(|last| IpAddr::from([10, 9, 0, last]));
        let mut pool = Pool::new(1 << 20);
        pool.share();
        pool.serve(greedy);
        let mut rings = exhaust(&mut pool);
        pool.serve(other);
        let own = exhaust(&mut pool);
        assert_eq!(own.len() * SIZES[0], OWN);
        assert_eq!(pool.out(), (1 << 20) + OWN);
        pool.serve(greedy);
        assert_eq!(exhaust(&mut pool).len(), 0);
        for ring in &mut rings {
            ring.release(&mut pool);
        }
        assert_eq!(pool.out(), OWN);
        pool.serve(other);
        for mut ring in own {
            ring.release(&mut pool);
        }
        assert_eq!(pool.out(), 0);
        assert!(pool.members.is_some_and(|(_, held)| held.is_empty()));
    }
}
