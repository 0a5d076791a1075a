//! The binary's heap: small blocks from a fixed arena, the rest from libc.
//!
//! # Theory of operation
//! A start makes some ten thousand short-lived allocations of a few bytes each: names, paths, steps.
//! libc's heap finds, splits, and merges blocks for each; that was a tenth of all the time a start
//! takes in user space. Here a size is rounded up to its class, and a freed block heads the list of
//! its class, so that both ways are a few instructions and what was just used is used again. New
//! blocks are cut off the arena one behind the other. The arena is part of the binary's zeroed memory:
//! no call is made for it, and of it only what was touched is there.
//!
//! What is larger than [`LARGEST`], or comes when the arena is used up, is libc's. Whose a block is,
//! its address tells.
//!
//! # Decisions
//! - Blocks are never merged: a class that was once much used keeps its blocks. The arena bounds it.
//! - One lock that nobody waits for: a thread that finds it taken asks libc instead, and a block it
//!   cannot give back is lost. bryo has one thread; this is for correctness alone.
//! - A forked process has a copy of it all, and its lock is free: whoever forks runs, and does not
//!   allocate at that moment.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of the arena.
const ARENA: usize = 1 << 20;
/// The largest block from the arena, in bytes.
const LARGEST: usize = 1024;
/// Sizes are rounded up to this, in bytes; every block is aligned to it.
const STEP: usize = 16;
/// One list of free blocks for each size.
const CLASSES: usize = LARGEST / STEP;

#[repr(C, align(64))]
struct Arena(MaybeUninit<[u8; ARENA]>);

/// What a free block holds.
struct Free {
    next: *mut Free,
}

struct Lists {
    heads: [*mut Free; CLASSES],
    /// Bytes of the arena that were ever handed out.
    used: usize,
}

/// To be named as the global allocator of a binary, once.
pub struct Heap {
    arena: UnsafeCell<Arena>,
    lists: UnsafeCell<Lists>,
    taken: AtomicBool,
}

// SAFETY: the lists and the unused part of the arena are touched by the holder of `taken` alone; a
// block belongs to whoever it was handed to.
unsafe impl Sync for Heap {}

impl Heap {
    /// An arena of which nothing is used.
    #[expect(clippy::new_without_default, reason = "it is a static, made once")]
    pub const fn new() -> Self {
        Self {
            arena: UnsafeCell::new(Arena(MaybeUninit::zeroed())),
            lists: UnsafeCell::new(Lists { heads: [ptr::null_mut(); CLASSES], used: 0 }),
            taken: AtomicBool::new(false),
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
            let (at, size) = (lists.used, (class + 1) * STEP);
            if size > ARENA - at {
                return None;
            }
            lists.used = at + size;
            // SAFETY: `at + size` is within the arena (checked above).
            Some(unsafe { self.start().add(at) })
        })
    }

    fn give_back(&self, block: *mut u8, class: usize) {
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
    fits.then(|| (layout.size() - 1) / STEP)
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    static HEAP: Heap = Heap::new();

    /// A block, filled with one byte.
    struct Block {
        at: *mut u8,
        layout: Layout,
        fill: u8,
    }

    impl Block {
        fn new(heap: &Heap, size: usize, align: usize, fill: u8) -> Self {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the size is not zero.
            let at = unsafe { heap.alloc(layout) };
            assert!(!at.is_null() && at.addr().is_multiple_of(align));
            // SAFETY: the block is that long and ours.
            unsafe { at.write_bytes(fill, size) };
            Self { at, layout, fill }
        }

        fn is_untouched(&self, bytes: usize) -> bool {
            // SAFETY: the block is at least that long, written, and ours.
            let bytes = unsafe { std::slice::from_raw_parts(self.at, bytes) };
            bytes.iter().all(|byte| *byte == self.fill)
        }

        fn resize(&mut self, heap: &Heap, size: usize) {
            // SAFETY: the block is this heap's, of this layout; the size is not zero.
            self.at = unsafe { heap.realloc(self.at, self.layout, size) };
            assert!(!self.at.is_null());
            assert!(self.is_untouched(size.min(self.layout.size())));
            self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
            // SAFETY: the block is that long and ours.
            unsafe { self.at.write_bytes(self.fill, size) };
        }

        fn free(self, heap: &Heap) {
            assert!(self.is_untouched(self.layout.size()));
            // SAFETY: the block is this heap's, of this layout, and not used again.
            unsafe { heap.dealloc(self.at, self.layout) };
        }
    }

    proptest! {
        #[test]
        fn live_blocks_never_overlap_and_keep_what_is_in_them(
            orders in prop::collection::vec((0..3u8, 1..3000usize, 0..5u32, any::<u8>()), 1..400),
        ) {
            let mut blocks: Vec<Block> = Vec::new();
            for (order, size, align, fill) in orders {
                let chosen = size % blocks.len().max(1);
                match order {
                    1 if !blocks.is_empty() => blocks.swap_remove(chosen).free(&HEAP),
                    2 if !blocks.is_empty() => blocks[chosen].resize(&HEAP, size),
                    _ => blocks.push(Block::new(&HEAP, size, 1 << align, fill)),
                }
            }
            for block in blocks {
                block.free(&HEAP);
            }
        }
    }

    #[test]
    fn what_is_freed_is_used_again_and_the_arena_may_run_out() {
        static OWN: Heap = Heap::new();
        let heap = &OWN;
        let first = Block::new(heap, 40, 8, 1);
        let at = first.at;
        first.free(heap);
        let again = Block::new(heap, 48, 16, 2);
        assert_eq!(again.at, at);
        let many: Vec<Block> =
            (0..2 * ARENA / LARGEST).map(|_| Block::new(heap, LARGEST, 1, 3)).collect();
        assert!(many.iter().any(|block| heap.has(block.at)));
        assert!(many.iter().any(|block| !heap.has(block.at)));
        many.into_iter().chain([again]).for_each(|block| block.free(heap));
    }

    #[test]
    fn a_thread_that_finds_the_lists_taken_is_served_by_libc() {
        static TAKEN: Heap = Heap::new();
        TAKEN.taken.store(true, Ordering::Relaxed);
        let block = Block::new(&TAKEN, 8, 8, 1);
        assert!(!TAKEN.has(block.at));
        block.free(&TAKEN);
    }
}
