//! What a part of the program holds in memory, to the byte: every allocation made, grown and freed while it works is
//! counted to it. A program that wants to know says
//! `#[global_allocator] static METER: parlour_sim::memory::Meter = parlour_sim::memory::Meter;`.
//!
//! Keys live in AWS-LC, which is C and asks for memory by itself: that is not seen.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with a count beside it.
pub struct Meter;

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn note(bytes: isize) {
    if COUNTS.get() {
        HELD.set(HELD.get() + bytes);
    }
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Counts what `work` allocates, and what it frees of that: what it frees must have been allocated while it was counted,
/// too. Counts are a thread's own.
pub fn metered<T>(work: impl FnOnce() -> T) -> T {
    struct Counting;
    impl Drop for Counting {
        fn drop(&mut self) {
            COUNTS.set(false);
        }
    }
    COUNTS.set(true);
    let _counting = Counting;
    work()
}

/// The bytes that are held at this moment, of all that was counted on this thread.
pub fn held() -> isize {
    HELD.get()
}

/// Whether the program's allocator is a [`Meter`]: without it nothing would ever be held.
pub fn is_metered() -> bool {
    let before = held();
    let made = metered(|| std::hint::black_box(Box::new([0_u8; 64])));
    let is_seen = held() == before + 64;
    metered(|| drop(made));
    is_seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static METER: Meter = Meter;

    #[test]
    fn what_is_kept_is_held_to_the_byte_until_it_is_freed() {
        assert!(is_metered());
        let before = held();
        let mut kept = metered(|| Vec::<u64>::with_capacity(10));
        drop(vec![0_u8; 1000]);
        assert_eq!(held() - before, 80, "what is done beside is not counted");
        metered(|| kept.extend(0..100));
        assert_eq!(held() - before, 8 * kept.capacity() as isize);
        metered(|| drop((kept, vec![1_u8; 500])));
        assert_eq!(held(), before);
    }

    #[test]
    fn a_panic_ends_the_counting() {
        let before = held();
        let caught =
            std::panic::catch_unwind(|| metered(|| std::panic::resume_unwind(Box::new(()))));
        assert!(caught.is_err());
        let beside = std::hint::black_box(vec![0_u8; 1000]);
        assert!(held() < before + 1000, "{}", beside.len());
    }
}
