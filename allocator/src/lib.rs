//! The allocator of the npm package: free lists by size class, over pages that are never given back.
//!
//! The allocator of the standard library joins neighbouring free blocks, which costs 4.7 kB of code and time at each
//! `free`. A phone asks for the same few sizes again and again, so that a freed block finds its next user anyway.
//! A block serves only its own class, and the memory in use is at most a quarter more than what was asked for; the module
//! keeps the peak of each class. (WebAssembly has no instruction to give memory back.)
//!
//! A crate of its own, as the phone itself forbids unsafe code.
#![cfg_attr(not(test), no_std)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr::null_mut;

#[cfg(target_feature = "atomics")]
compile_error!("the free lists have no lock: this allocator is for modules without threads");

/// The alignment of every block, and the size of the smallest. WebAssembly has no type that needs more.
const ALIGN: usize = 16;

/// The page of WebAssembly, in bytes.
const PAGE: usize = 65_536;

/// Four classes for each power of two that a size can have.
const CLASSES: usize = 4 * usize::BITS as usize;

/// Where memory comes from.
pub trait Source {
    /// The address of this many new pages, behind all earlier ones where there is room; `None` when there is no more.
    fn grow(&self, pages: usize) -> Option<usize>;
}

/// The linear memory of the module.
#[derive(Debug, Default)]
pub struct LinearMemory;

#[cfg(target_arch = "wasm32")]
impl Source for LinearMemory {
    fn grow(&self, pages: usize) -> Option<usize> {
        let before = core::arch::wasm32::memory_grow(0, pages);
        (before != usize::MAX).then(|| before.wrapping_mul(PAGE))
    }
}

/// The allocator.
#[derive(Debug)]
pub struct SizeClasses<S = LinearMemory> {
    source: S,
    /// The first free block of each class; a free block begins with the address of the next one, 0 for none.
    free: UnsafeCell<[usize; CLASSES]>,
    /// What has never been in use.
    fresh: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: the module has no threads (see above), and nothing in here calls back.
unsafe impl<S> Sync for SizeClasses<S> {}

impl<S> SizeClasses<S> {
    /// An allocator that has no memory yet.
    pub const fn new(source: S) -> Self {
        Self { source, free: UnsafeCell::new([0; CLASSES]), fresh: Cell::new(0), end: Cell::new(0) }
    }
}

/// The number of the class and the size of its blocks: the size asked for, rounded up to a quarter of its power of
/// two. `None`: there is no such block.
fn class(layout: Layout) -> Option<(usize, usize)> {
    if layout.align() > ALIGN {
        return None;
    }
    let last = layout.size().max(ALIGN) - 1;
    let power = last.ilog2();
    let step = ALIGN.max((1 << power) >> 2);
    let size = (last | (step - 1)).checked_add(1)?;
    // A size is one step or more above its power of two; from a step of `ALIGN` on it is a whole number of them.
    let quarter = (last >> power.saturating_sub(2)) & 3;
    Some((4 * power as usize + if step == ALIGN { (last / ALIGN) & 3 } else { quarter }, size))
}

impl<S: Source> SizeClasses<S> {
    /// A block that has never been in use.
    fn take_fresh(&self, size: usize) -> *mut u8 {
        let mut start = self.fresh.get();
        if self.end.get().wrapping_sub(start) < size {
            let pages = size.div_ceil(PAGE);
            let Some(grown) = self.source.grow(pages) else { return null_mut() };
            // Somebody else may have taken the pages behind the last ones.
            if grown != self.end.get() {
                start = grown;
            }
            // The last page may end where addresses do.
            self.end.set(grown.wrapping_add(pages * PAGE));
        }
        self.fresh.set(start.wrapping_add(size));
        start as *mut u8
    }
}

// SAFETY: a block is in one place only, a free list or its user's hands, and as large and aligned as its class says.
unsafe impl<S: Source> GlobalAlloc for SizeClasses<S> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((class, size)) = class(layout) else { return null_mut() };
        // SAFETY: there is one thread, and this is the only reference. A class is below `CLASSES`.
        let head = unsafe { &mut *self.free.get().cast::<usize>().add(class) };
        if *head == 0 {
            return self.take_fresh(size);
        }
        let block = *head as *mut usize;
        // SAFETY: a block in a list begins with the next one's address.
        *head = unsafe { *block };
        block.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((class, _)) = class(layout) else { return };
        // SAFETY: as in `alloc`; the block is no longer in use, and has room for an address.
        unsafe {
            let head = self.free.get().cast::<usize>().add(class);
            *block.cast() = *head;
            *head = block as usize;
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps to the rules of `Layout`.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if class(layout) == class(wanted) {
            return block;
        }
        // SAFETY: the new block is another one, and both have room for the smaller size.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many pages, with a page that somebody else takes after each third.
    struct Pages {
        memory: Box<[std::cell::UnsafeCell<[u128; PAGE / 16]>]>,
        used: Cell<usize>,
        shared: bool,
    }

    impl Pages {
        fn new(count: usize, shared: bool) -> Self {
            let memory = (0..count).map(|_| std::cell::UnsafeCell::new([0; PAGE / 16])).collect();
            Self { memory, used: Cell::new(0), shared }
        }
    }

    impl Source for Pages {
        fn grow(&self, pages: usize) -> Option<usize> {
            let mut first = self.used.get();
            if self.shared && first % 3 == 2 {
                first += 1;
            }
            let last = first.checked_add(pages)?;
            (last <= self.memory.len()).then(|| {
                self.used.set(last);
                self.memory.as_ptr().addr() + first * PAGE
            })
        }
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    #[test]
    fn a_class_has_room_and_wastes_a_quarter_at_most() {
        let mut known = std::collections::BTreeMap::new();
        for size in (1..5_000).chain((5_000..3_000_000).step_by(997)) {
            let (number, block) = class(layout(size)).unwrap();
            assert!(block >= size && block % ALIGN == 0, "{size} in {block}");
            assert!(block <= (size + size / 4).max(size + ALIGN - 1), "{size} in {block}");
            assert_eq!(*known.entry(number).or_insert(block), block, "class {number}");
            assert!(number < CLASSES);
        }
        let sizes: std::collections::BTreeSet<_> = known.values().collect();
        assert_eq!(sizes.len(), known.len(), "two classes of one size");
    }

    #[test]
    fn what_cannot_be_had_is_null_and_loses_nothing() {
        let allocator = SizeClasses::new(Pages::new(2, false));
        let alloc = |layout| unsafe { allocator.alloc(layout) };
        assert!(alloc(Layout::from_size_align(64, 32).unwrap()).is_null());
        assert!(alloc(layout(isize::MAX as usize - 8)).is_null());
        assert!(alloc(layout(3 * PAGE)).is_null());
        let all = alloc(layout(2 * PAGE));
        assert!(!all.is_null());
        assert!(alloc(layout(1)).is_null());
        let kept = unsafe { allocator.realloc(all, layout(2 * PAGE), 2 * PAGE - 8) };
        assert_eq!(kept, all);
        assert!(unsafe { allocator.realloc(all, layout(2 * PAGE), 3 * PAGE) }.is_null());
        unsafe { allocator.dealloc(all, layout(2 * PAGE)) };
        assert_eq!(alloc(layout(2 * PAGE)), all);
    }

    #[test]
    fn blocks_do_not_overlap_and_keep_what_was_written() {
        for shared in [false, true] {
            let allocator = SizeClasses::new(Pages::new(256, shared));
            let mut random = 1_u64;
            let mut next = |below: u64| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below
            };
            let mut blocks: Vec<(*mut u8, usize, u8)> = Vec::new();
            let filled = |block: *mut u8, size: usize, with: u8| {
                unsafe { std::slice::from_raw_parts(block, size) }.iter().all(|byte| *byte == with)
            };
            let fill = |block: *mut u8, size: usize, with: u8| unsafe { block.write_bytes(with, size) };
            for round in 0..40_000_u32 {
                let with = round as u8;
                let power = 1 + next(17);
                let size = 1 + next(1 << power) as usize;
                match next(3) {
                    0 if !blocks.is_empty() => {
                        let (block, size, with) = blocks.swap_remove(next(blocks.len() as u64) as usize);
                        assert!(filled(block, size, with));
                        unsafe { allocator.dealloc(block, layout(size)) };
                    }
                    1 if !blocks.is_empty() => {
                        let at = next(blocks.len() as u64) as usize;
                        let (block, old, kept) = blocks[at];
                        let moved = unsafe { allocator.realloc(block, layout(old), size) };
                        assert!(!moved.is_null());
                        assert!(filled(moved, old.min(size), kept));
                        fill(moved, size, with);
                        blocks[at] = (moved, size, with);
                    }
                    _ if blocks.len() < 64 => {
                        let block = unsafe { allocator.alloc(layout(size)) };
                        assert!(!block.is_null() && block.addr() % ALIGN == 0);
                        fill(block, size, with);
                        blocks.push((block, size, with));
                    }
                    _ => {}
                }
            }
            assert!(blocks.iter().all(|(block, size, with)| filled(*block, *size, *with)));
        }
    }
}
