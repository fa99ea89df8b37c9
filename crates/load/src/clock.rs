//! The two clocks of the kernel: one that never jumps, for what happens when, and that of packets' time stamps.

use std::time::Duration;

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` outlives the call, and both clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// CLOCK_MONOTONIC: what Python's `time.monotonic` shows.
pub(crate) fn monotonic() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}

/// CLOCK_REALTIME in nanoseconds: what the kernel stamps arrivals with.
pub(crate) fn realtime_ns() -> u64 {
    read(libc::CLOCK_REALTIME).as_nanos() as u64
}
