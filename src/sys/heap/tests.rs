//! Blocks of the arena: that they are disjoint, used again, and left alone where that is wanted.

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
        orders in prop::collection::vec((0..3u8, 1..70_000usize, 0..5u32, any::<u8>()), 1..400),
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
fn every_size_fits_its_class_and_no_smaller_one() {
    for size in 1..=LARGEST {
        let class = class_of_size(size);
        assert!(class < CLASSES && size <= size_of_class(class), "{size}");
        assert!(class == 0 || size > size_of_class(class - 1), "{size}");
    }
    assert_eq!(size_of_class(CLASSES - 1), LARGEST);
    assert!((0..CLASSES).all(|class| size_of_class(class).is_multiple_of(STEP)));
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
fn large_blocks_that_are_free_are_cut_up() {
    static CUT: Heap = Heap::new();
    let (small, large) = (Block::new(&CUT, 3 << 10, 8, 1), Block::new(&CUT, 40_000, 8, 2));
    let inside = large.at.addr()..large.at.addr() + 40_000;
    let kept = Block::new(&CUT, 48, 8, 3);
    small.free(&CUT);
    large.free(&CUT);
    let pieces: Vec<Block> = (0..100).map(|fill| Block::new(&CUT, 64, 8, fill)).collect();
    assert!(pieces.iter().all(|piece| inside.contains(&piece.at.addr())));
    let other = Block::new(&CUT, 39_000, 8, 4);
    assert!(!inside.contains(&other.at.addr()));
    pieces.into_iter().chain([kept, other]).for_each(|block| block.free(&CUT));
}

#[test]
fn before_a_fork_what_was_used_is_left_as_it_is_and_what_comes_after_is_used_again() {
    static LEAVES: Heap = Heap::new();
    let (one, other) = (Block::new(&LEAVES, 32, 8, 1), Block::new(&LEAVES, 32, 8, 2));
    let (freed, kept) = (one.at, other.at);
    one.free(&LEAVES);
    LEAVES.leave_used();
    other.free(&LEAVES);
    // SAFETY: the arena stays, and nobody has this block.
    assert!(unsafe { std::slice::from_raw_parts(kept, 32) }.iter().all(|byte| *byte == 2));
    let after = Block::new(&LEAVES, 32, 8, 3);
    let at = after.at;
    assert!(LEAVES.has(at) && at.addr() / PAGE > freed.addr() / PAGE);
    after.free(&LEAVES);
    let again = Block::new(&LEAVES, 32, 8, 4);
    assert_eq!(again.at, at);
    LEAVES.left.store(0, Ordering::Relaxed);
    Block { at: kept, layout: again.layout, fill: 2 }.free(&LEAVES);
    assert_eq!(Block::new(&LEAVES, 32, 8, 5).at, kept);
}

#[test]
fn a_thread_that_finds_the_lists_taken_is_served_by_libc() {
    static TAKEN: Heap = Heap::new();
    TAKEN.taken.store(true, Ordering::Relaxed);
    let block = Block::new(&TAKEN, 8, 8, 1);
    assert!(!TAKEN.has(block.at));
    block.free(&TAKEN);
}
