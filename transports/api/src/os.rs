//! System calls that have no safe wrapper elsewhere, one typed function each. Callers stay free of `unsafe`.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::LaneSample;

/// CPU time of the calling thread in ns (`CLOCK_THREAD_CPUTIME_ID`).
pub fn thread_cpu_ns() -> Option<u64> {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of the whole process in ns (`CLOCK_PROCESS_CPUTIME_ID`).
pub fn process_cpu_ns() -> Option<u64> {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the structure that the pointer names.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) } != 0;
    if failed {
        return None;
    }
    Some(u64::try_from(time.tv_sec).ok()? * 1_000_000_000 + u64::try_from(time.tv_nsec).ok()?)
}

/// Fills the kernel's part of `sample` from `TCP_INFO`. Fields beyond the length that the kernel returned stay
/// unknown.
pub fn tcp_info(fd: BorrowedFd<'_>, sample: &mut LaneSample) -> io::Result<()> {
    // Decoded by offset (linux/tcp.h), because the structure grows with every kernel and the C library's copy
    // of it lags behind.
    let mut info = [0u8; 256];
    let mut len = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `info` and stores the length written.
    let failed = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut len,
        )
    } != 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    let known = &info[..(len as usize).min(info.len())];
    let word = |at: usize| {
        let bytes = known.get(at..at + 4)?;
        Some(u64::from(u32::from_ne_bytes(bytes.try_into().ok()?)))
    };
    let us = |value: Option<u64>| value.map(|v| v * 1000);
    sample.send_segment_bytes = word(16);
    sample.path_ip_mtu_bytes = word(60);
    sample.rtt_ns = us(word(68));
    sample.rtt_variation_ns = us(word(72));
    sample.congestion_window_segments = word(80);
    sample.retransmits = word(100);
    // The kernel's "no sample yet" is all ones.
    sample.rtt_min_ns = us(word(148).filter(|v| *v != u64::from(u32::MAX)));
    Ok(())
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

/// Pins the calling thread to one CPU.
pub fn pin_thread(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: `cpu_set_t` is plain data; CPU_SET stays inside it because of the check above.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the calling thread a descriptor table of its own in which only the standard streams and `keep` are open.
///
/// A system call on a descriptor of a table that threads share counts a reference up and down with atomic
/// operations: some 30 ns for each call, a percent or two of a short exchange. For a thread that does nothing but
/// drive one lane and ends, so that its table goes with it: descriptors that it opens are its own, and those of others
/// are not there. `keep` is not closed by this thread's end.
pub fn private_descriptors(keep: BorrowedFd<'_>) -> io::Result<()> {
    let kept = libc::c_uint::try_from(keep.as_raw_fd()).map_err(io::Error::other)?;
    let first = kept.max(2) + 1;
    // SAFETY: neither call touches memory. Both act on the calling thread's table alone: the first call takes a copy
    // of it, and nobody else sees what is closed in the copy.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) != 0 {
            return Err(io::Error::last_os_error());
        }
        if kept > 3 {
            libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, kept - 1, 0 as libc::c_uint);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_thread_with_descriptors_of_its_own_closes_nobody_elses() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let (mut other, mut end) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                private_descriptors(near.as_fd())?;
                near.write_all(b"kept")?;
                Ok::<_, io::Error>(other.write_all(b"gone"))
            });
            let elsewhere = inside.join().unwrap().expect("the kernel has close_range");
            assert_eq!(elsewhere.unwrap_err().raw_os_error(), Some(libc::EBADF));
        });
        let mut got = [0; 4];
        far.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"kept");
        // Outside that thread all is as it was.
        other.write_all(b"here").unwrap();
        near.write_all(b"here").unwrap();
        end.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"here");
    }
}
