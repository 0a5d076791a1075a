//! The binary's heap: small blocks from a fixed arena, the rest from libc.
//!
//! # Theory of operation
//! A start makes some ten thousand short-lived allocations of a few bytes each: names, paths, steps.
//! libc's heap finds, splits, and merges blocks for each; that was a tenth of all the time a start
//! takes in user space. Here a size is rounded up to its class, and a freed block heads the list of
//! its class, so that both ways are a few instructions and what was just used is used again. New
//! blocks are cut off the arena one behind the other; but first, what growing lists and tables have left behind, large
//! blocks that nobody asks for again, is cut up. The arena is part of the binary's zeroed memory:
//! no call is made for it, and of it only what was touched is there.
//!
//! What is larger than [`LARGEST`], or comes when the arena is used up, is libc's. Whose a block is,
//! its address tells.
//!
//! After a fork each page that is written to is copied first, and small blocks lie all over the arena. From
//! then on ([`leave_used`]) what was used before is left as it is, free or not, and blocks come from
//! the pages behind, close together; those are used again. When the arena is used up, libc's heap takes over.
//!
//! # Decisions
//! - Blocks are never merged: a class of small ones that was once much used keeps its blocks. The arena bounds it.
//! - One lock that nobody waits for: a thread that finds it taken asks libc instead, and a block it
//!   cannot give back is lost. bryo has one thread; this is for correctness alone.
//! - A forked process has a copy of it all, and its lock is free: whoever forks runs, and does not
//!   allocate at that moment.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::errno::check;

/// Bytes of the arena.
const ARENA: usize = 2 << 20;
/// Bytes of it that nearly every run uses.
const USED: usize = 384 << 10;
/// What the kernel copies at once after a fork, on most machines.
const PAGE: usize = 4096;
/// The largest block from the arena, in bytes.
const LARGEST: usize = 128 << 10;
/// The smallest block that is cut up, in bytes.
const SCRAP: usize = 2 << 10;
/// Up to here sizes are rounded up to a multiple of [`STEP`], in bytes; above, to a quarter of a power of
/// two.
const FINE: usize = 1024;
/// Every block is aligned to this, in bytes.
const STEP: usize = 16;
/// One list of free blocks for each size.
const CLASSES: usize = FINE / STEP + 4 * (LARGEST.ilog2() - FINE.ilog2()) as usize;

#[repr(C, align(4096))]
struct Arena(MaybeUninit<[u8; ARENA]>);

/// What a free block holds.
struct Free {
    next: *mut Free,
}

struct Lists {
    heads: [*mut Free; CLASSES],
    /// Bytes of the arena that were ever handed out.
    used: usize,
    /// What is left of the block that is being cut up, from where to where in the arena.
    scrap: Range<usize>,
}

impl Lists {
    /// Where a new block lies in the arena, which begins at `start`; none when it is used up.
    fn cut(&mut self, size: usize, start: *mut u8) -> Option<usize> {
        if self.scrap.len() < size
            && let Some(scrap) = self.largest(size.max(SCRAP), start)
        {
            self.scrap = scrap;
        }
        let from = if self.scrap.len() < size { &mut self.used } else { &mut self.scrap.start };
        let at = *from;
        (size <= ARENA - at).then(|| {
            *from = at + size;
            at
        })
    }

    /// Takes the largest free block, if it has at least so many bytes.
    fn largest(&mut self, least: usize, start: *mut u8) -> Option<Range<usize>> {
        let large = self.heads.iter_mut().enumerate().skip(class_of_size(least)).rev();
        let (class, head) = large.into_iter().find(|(_, head)| !head.is_null())?;
        let at = head.addr().wrapping_sub(start.addr());
        // SAFETY: what is in a list is a free block of the arena, whose `next` was written when it was put
        // there.
        *head = unsafe { (**head).next };
        Some(at..at + size_of_class(class))
    }
}

/// The heap of this process, to be named as the global allocator of its binary.
pub struct Global;

static HEAP: Heap = Heap::new();

/// Asks the kernel for the memory that a run will use, at once: page by page, it has ten times the price.
pub fn warm_up() {
    HEAP.warm_up();
}

/// What is freed is handed out again, wherever it lies: for a process that goes on for long.
pub fn use_all() {
    HEAP.left.store(0, Ordering::Relaxed);
}

/// From now on nothing is written to a page of the arena for blocks that are or were in it: for who is about to
/// fork.
pub fn leave_used() {
    HEAP.leave_used();
}

// SAFETY: each call goes to the one heap, unchanged.
unsafe impl GlobalAlloc for Global {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller vouches.
        unsafe { HEAP.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { HEAP.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller vouches.
        unsafe { HEAP.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller vouches.
        unsafe { HEAP.realloc(block, layout, size) }
    }
}

/// An arena with its lists.
struct Heap {
    arena: UnsafeCell<Arena>,
    lists: UnsafeCell<Lists>,
    taken: AtomicBool,
    /// Bytes at the arena's beginning of which freed blocks stay as they are.
    left: AtomicUsize,
}

// SAFETY: the lists and the unused part of the arena are touched by the holder of `taken` alone; a
// block belongs to whoever it was handed to.
unsafe impl Sync for Heap {}

impl Heap {
    /// An arena of which nothing is used.
    const fn new() -> Self {
        Self {
            arena: UnsafeCell::new(Arena(MaybeUninit::zeroed())),
            lists: UnsafeCell::new(Lists {
                heads: [ptr::null_mut(); CLASSES],
                used: 0,
                scrap: 0..0,
            }),
            taken: AtomicBool::new(false),
            left: AtomicUsize::new(0),
        }
    }

    /// What `act` does to the lists; nothing when another thread has them.
    fn with_lists<T>(&self, act: impl FnOnce(&mut Lists) -> Option<T>) -> Option<T> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: `taken` was false and is ours now: no other reference to the lists exists, and
        // `act`, which allocates nothing, cannot come here again.
        let done = act(unsafe { &mut *self.lists.get() });
        self.taken.store(false, Ordering::Release);
        done
    }

    fn start(&self) -> *mut u8 {
        self.arena.get().cast()
    }

    fn warm_up(&self) {
        let arena = self.start().cast::<libc::c_void>();
        // SAFETY: the range lies within the arena, which is aligned to pages and mapped readable and
        // writable as long as the process lives; what is in it does not change.
        let populated = unsafe { libc::madvise(arena, USED, libc::MADV_POPULATE_WRITE) };
        // Before Linux 5.14 the pages come one by one.
        check(populated).map(drop).unwrap_or_default();
    }

    fn has(&self, block: *mut u8) -> bool {
        block.addr().wrapping_sub(self.start().addr()) < ARENA
    }

    /// A block of a class, of the list or new.
    fn take(&self, class: usize) -> Option<*mut u8> {
        self.with_lists(|lists| {
            let head = lists.heads.get_mut(class)?;
            if !head.is_null() {
                let block = *head;
                // SAFETY: what is in a list is a free block of the arena, whose `next` was written
                // when it was put there.
                *head = unsafe { (*block).next };
                return Some(block.cast());
            }
            let at = lists.cut(size_of_class(class), self.start())?;
            // SAFETY: the block, and so its beginning, is within the arena.
            Some(unsafe { self.start().add(at) })
        })
    }

    fn leave_used(&self) {
        let left = self.with_lists(|lists| {
            lists.heads = [ptr::null_mut(); CLASSES];
            lists.scrap = 0..0;
            lists.used = lists.used.next_multiple_of(PAGE).min(ARENA);
            Some(lists.used)
        });
        // A thread that has the lists goes on using them.
        self.left.store(left.unwrap_or_default(), Ordering::Relaxed);
    }

    fn give_back(&self, block: *mut u8, class: usize) {
        if block.addr().wrapping_sub(self.start().addr()) < self.left.load(Ordering::Relaxed) {
            return;
        }
        let block: *mut Free = block.cast();
        self.with_lists(|lists| {
            let head = lists.heads.get_mut(class)?;
            // SAFETY: the block is of the arena, aligned to and at least as long as STEP, which is
            // what `Free` needs, and its owner has given it up.
            unsafe { block.write(Free { next: *head }) };
            *head = block;
            Some(())
        });
    }
}

/// Which list serves a layout; none when libc does.
fn class_of(layout: Layout) -> Option<usize> {
    let fits = layout.size() > 0 && layout.size() <= LARGEST && layout.align() <= STEP;
    fits.then(|| class_of_size(layout.size()))
}

/// The class of a size from 1 to [`LARGEST`].
const fn class_of_size(size: usize) -> usize {
    let last = size - 1;
    if size <= FINE {
        return last / STEP;
    }
    let power = last.ilog2();
    let quarter = (last >> (power - 2)) & 3;
    FINE / STEP + 4 * (power - FINE.ilog2()) as usize + quarter
}

/// The largest size of a class, which all of its blocks have.
const fn size_of_class(class: usize) -> usize {
    let Some(coarse) = class.checked_sub(FINE / STEP) else { return (class + 1) * STEP };
    (5 + coarse % 4) << (FINE.ilog2() as usize - 2 + coarse / 4)
}

// SAFETY: blocks of the arena are disjoint, of the class's size, aligned to STEP, and go back to the
// list of the class they came from, as a caller names the same layout; all else is libc's.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(block) = class_of(layout).and_then(|class| self.take(class)) {
            return block;
        }
        // SAFETY: the caller's layout, as the caller vouches for it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class_of(layout) {
            Some(class) if self.has(block) => self.give_back(block, class),
            // SAFETY: not of the arena, so libc gave it out for this layout.
            _ => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if let Some(block) = class_of(layout).and_then(|class| self.take(class)) {
            // SAFETY: a block of a class that holds the layout, and nobody else's.
            unsafe { block.write_bytes(0, layout.size()) };
            return block;
        }
        // What it has fresh from the kernel is zero, and stays untouched.
        // SAFETY: the caller's layout, as the caller vouches for it.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !self.has(block) {
            // SAFETY: not of the arena, so libc gave it out for this layout.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: the caller vouches that `size`, rounded up to the alignment, does not overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if class_of(wanted) == class_of(layout) {
            return block;
        }
        // SAFETY: `wanted` has a size that is not zero, as the caller vouches.
        let new = unsafe { self.alloc(wanted) };
        if !new.is_null() {
            // SAFETY: both are live, disjoint, and as long as the shorter of the two sizes.
            unsafe { ptr::copy_nonoverlapping(block, new, layout.size().min(size)) };
            // SAFETY: the caller's block and layout; it has its new one.
            unsafe { self.dealloc(block, layout) };
        }
        new
    }
}

#[cfg(test)]
mod tests;
