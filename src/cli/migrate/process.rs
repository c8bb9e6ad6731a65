//! `pathproof migrate --pid`: how fast and where a running process writes its memory, so that a rehearsal can
//! do the same.
//!
//! Two methods, the better one first: the pages that the kernel *marks* as written, exact where it does; else *page hashes*: a sample of
//! the process's resident pages is read and hashed again and again; portable, blind to writes that store what was there.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pathproof_model::migrate::DirtyMeasurement;
use pathproof_model::units::Bytes;
use pathproof_sys::clock::{Clock as _, RealClock};
use pathproof_sys::process_memory::{PAGE_BYTES, ProcessMemory, tells_written};
use twox_hash::XxHash3_64;

/// Most pages hashed in one interval: half a GiB is read in a fraction of a second.
const SAMPLE_PAGES: usize = 131_072;
/// Intervals measured.
const INTERVALS: usize = 4;

/// Measures process `pid` over intervals of `interval`.
pub fn measure(pid: u32, interval: Duration, clock: &RealClock) -> Result<DirtyMeasurement> {
    let memory = ProcessMemory::open(pid).map_err(|why| of(pid, &why))?;
    match tells_written() {
        Ok(()) => marked(pid, &memory, interval, clock),
        Err(why) => page_hashes(pid, &memory, interval, why, clock),
    }
}

/// What is wrong with a process.
fn of(pid: u32, why: &str) -> anyhow::Error {
    anyhow::anyhow!("--pid {pid}: {why}")
}

/// A measurement in a few lines.
pub fn words(measured: &DirtyMeasurement) -> Vec<String> {
    let pages = format!(
        "process {}: {} resident and writable; {} different pages/s dirtied, that is {}/s; working set {}",
        measured.pid,
        Bytes(measured.memory_bytes),
        measured.dirty_bytes_per_s / PAGE_BYTES,
        Bytes(measured.dirty_bytes_per_s),
        Bytes(measured.working_set_bytes),
    );
    let method = format!(
        "by {}{}",
        measured.method,
        if measured.sampled_share < 1.0 {
            format!(" of {:.0} % of the pages", measured.sampled_share * 100.0)
        } else {
            String::new()
        },
    );
    let why = measured.why.as_ref().map(|why| format!("because {why}"));
    [pages, method].into_iter().chain(why).collect()
}

/// Exact: clear the marks, wait, read them.
fn marked(
    pid: u32,
    memory: &ProcessMemory,
    interval: Duration,
    clock: &RealClock,
) -> Result<DirtyMeasurement> {
    let mut resident_pages = 0;
    memory.resident(|_| resident_pages += 1).context("its pages")?;
    let (mut counts, mut ever, mut took) = (vec![], HashSet::new(), Duration::ZERO);
    for _ in 0..INTERVALS {
        memory.forget_written().map_err(|why| of(pid, &why))?;
        let start = clock.now();
        std::thread::sleep(interval);
        let mut count = 0;
        memory
            .resident(|page| {
                if page.written {
                    count += 1;
                    ever.insert(page.at);
                }
            })
            .context("its pages")?;
        took += clock.now().since(start);
        counts.push(count);
    }
    Ok(measured(pid, "soft-dirty", None, resident_pages, &counts, ever.len() as u64, took, 1.0))
}

/// Portable: hash a sample of the resident pages again and again.
fn page_hashes(
    pid: u32,
    memory: &ProcessMemory,
    interval: Duration,
    why: String,
    clock: &RealClock,
) -> Result<DirtyMeasurement> {
    let mut pages = vec![];
    memory.resident(|page| pages.push(page.at)).context("its pages")?;
    let resident_pages = pages.len() as u64;
    if pages.is_empty() {
        bail!("--pid {pid}: none of its writable memory is resident; name a process that is at work");
    }
    // A sample spread evenly over all resident pages.
    let step = pages.len().div_ceil(SAMPLE_PAGES);
    let sample: Vec<u64> = pages.into_iter().step_by(step).collect();
    let share = sample.len() as f64 / resident_pages as f64;
    let contents = memory.contents().map_err(|why| of(pid, &why))?;
    let mut buffer = vec![0u8; PAGE_BYTES as usize];
    let mut hash_all = || -> Vec<Option<u64>> {
        sample
            .iter()
            .map(|at| {
                // A page that went away is no page that was dirtied.
                contents(*at, &mut buffer).ok().map(|()| XxHash3_64::oneshot(&buffer))
            })
            .collect()
    };
    let mut last = hash_all();
    if last.iter().all(Option::is_none) {
        bail!(
            "--pid {pid}: /proc/{pid}/mem may not be read; run as the same user or as root (and see kernel.yama.ptrace_scope)"
        );
    }
    let (mut counts, mut ever, mut took) = (vec![], vec![false; sample.len()], Duration::ZERO);
    for _ in 0..INTERVALS {
        let start = clock.now();
        std::thread::sleep(interval);
        let now = hash_all();
        took += clock.now().since(start);
        let mut count = 0u64;
        for (i, (before, after)) in last.iter().zip(&now).enumerate() {
            if before.is_some() && after.is_some() && before != after {
                count += 1;
                ever[i] = true;
            }
        }
        counts.push((count as f64 / share) as u64);
        last = now;
    }
    if last.iter().all(Option::is_none) {
        bail!("--pid {pid}: the process ended while it was being measured; name one that goes on");
    }
    let working_set = (ever.iter().filter(|e| **e).count() as f64 / share) as u64;
    Ok(measured(pid, "page-hashes", Some(why), resident_pages, &counts, working_set, took, share))
}

#[expect(clippy::too_many_arguments, reason = "one record, filled in one place")]
fn measured(
    pid: u32,
    method: &str,
    why: Option<String>,
    resident_pages: u64,
    counts: &[u64],
    working_set_pages: u64,
    took: Duration,
    share: f64,
) -> DirtyMeasurement {
    let interval_ns = (took.as_nanos() / counts.len().max(1) as u128) as u64;
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    DirtyMeasurement {
        pid,
        method: method.into(),
        why,
        memory_bytes: resident_pages * PAGE_BYTES,
        interval_ns,
        dirtied_pages: counts.to_vec(),
        dirty_bytes_per_s: (median as f64 * PAGE_BYTES as f64 / (interval_ns.max(1) as f64 / 1e9)) as u64,
        working_set_bytes: working_set_pages * PAGE_BYTES,
        sampled_share: share,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    /// This process writes 256 pages, each many times in an interval, and is found out.
    #[test]
    fn a_working_set_is_found() {
        let stop = Arc::new(AtomicBool::new(false));
        let its = stop.clone();
        let (begun_in, begun) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            let words: Vec<AtomicU64> = (0..256 * 512).map(|_| AtomicU64::new(1)).collect();
            let mut i = 0u64;
            begun_in.send(()).unwrap();
            while !its.load(Ordering::Relaxed) {
                words[(i % 256) as usize * 512].store(i, Ordering::Relaxed);
                i += 1;
                if i.is_multiple_of(256) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        begun.recv().unwrap();
        let measured = measure(std::process::id(), Duration::from_millis(50), &RealClock::new());
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        let measured = measured.unwrap();
        let pages = measured.working_set_bytes / PAGE_BYTES;
        // The test process itself writes a few pages beside.
        assert!((256..2000).contains(&pages), "{measured:?}");
        assert!(measured.dirtied_pages.iter().all(|n| *n >= 256), "{measured:?}");
        assert!(measured.why.is_some() == (measured.method == "page-hashes"));
    }

    #[test]
    fn processes_that_cannot_be_read_are_named() {
        let error = measure(u32::MAX, Duration::from_millis(1), &RealClock::new()).unwrap_err().to_string();
        assert!(error.contains("no such process"), "{error}");
    }
}
