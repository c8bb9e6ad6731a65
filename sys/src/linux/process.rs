//! The process as a whole: its CPU time and its heap.

/// CPU time of the whole process in ns (`CLOCK_PROCESS_CPUTIME_ID`).
pub fn process_cpu_ns() -> Option<u64> {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

pub(super) fn clock_ns(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the structure that the pointer names.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) } != 0;
    if failed {
        return None;
    }
    Some(u64::try_from(time.tv_sec).ok()? * 1_000_000_000 + u64::try_from(time.tv_nsec).ok()?)
}

/// Gives freed heap memory back to the system, so that a server that has served is as small as one that has not.
/// Does nothing where the C library has no such call.
pub fn release_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no arguments that could be wrong; the allocator takes its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
