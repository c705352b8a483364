//! Meters for code that runs in this process: the processor time of a thread, and what the allocator gave out.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counting. A benchmark makes it its own by `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations so far.
#[must_use]
pub fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Bytes that are given out now.
#[must_use]
pub fn live() -> u64 {
    LIVE.load(Ordering::Relaxed)
}

/// Processor time of this thread so far: right also on a machine that is busy with something else.
#[must_use]
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Nanoseconds of processor time for each of so many calls.
pub fn nanoseconds_each(times: u64, mut call: impl FnMut(u64)) -> f64 {
    let before = thread_time();
    for number in 0..times {
        call(number);
    }
    (thread_time() - before).as_nanos() as f64 / times.max(1) as f64
}
