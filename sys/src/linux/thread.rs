//! The calling thread: its CPU time, its processor, its descriptors.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::process::clock_ns;

/// CPU time of the calling thread in ns (`CLOCK_THREAD_CPUTIME_ID`).
pub fn thread_cpu_ns() -> Option<u64> {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Time that the calling thread has waited for a processor in ns; `None` where the kernel does not count it (second field,
/// Documentation/scheduler/sched-stats.rst).
pub fn thread_waited_ns() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// How often the threads of this process that bear that name go to sleep by themselves `within` so long from now: who waits for news does
/// once at most, who looks again and again does it each time.
pub fn sleeps_within(name: &str, within: Duration) -> u64 {
    let sleeps = || -> u64 {
        let Ok(all) = std::fs::read_dir("/proc/self/task") else { return 0 };
        let of = |folder: std::path::PathBuf| {
            let called = std::fs::read_to_string(folder.join("comm")).ok()?;
            let status = std::fs::read_to_string(folder.join("status")).ok()?;
            let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            (called.trim_end() == name).then(|| count.trim().parse::<u64>().ok()).flatten()
        };
        all.filter_map(|entry| of(entry.ok()?.path())).sum()
    };
    let before = sleeps();
    std::thread::sleep(within);
    sleeps().saturating_sub(before)
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
