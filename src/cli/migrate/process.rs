//! `pathproof migrate --pid`: how fast and where a running process writes its memory, so that a rehearsal can
//! do the same.
//!
//! Two methods, the better one first. *Soft-dirty*: the kernel marks written pages (`/proc/PID/clear_refs`,
//! `pagemap` bit 55); exact, and compiled out of many kernels, where it silently reads as "nothing written", so
//! it is tried on our own memory before it is believed. *Page hashes*: a sample of the process's resident pages
//! is read and hashed again and again; portable, blind to writes that store what was there. `PAGEMAP_SCAN` knows
//! written pages only of memory that its own process registered with userfaultfd, so it cannot watch another.

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pathproof_model::migrate::DirtyMeasurement;
use pathproof_model::units::Bytes;
use pathproof_sys::clock::{Clock as _, RealClock};
use twox_hash::XxHash3_64;

const PAGE: u64 = 4096;
/// Most pages hashed in one interval: half a GiB is read in a fraction of a second.
const SAMPLE_PAGES: usize = 131_072;
/// Intervals measured.
const INTERVALS: usize = 4;
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const SOFT_DIRTY: u64 = 1 << 55;

/// Measures process `pid` over intervals of `interval`.
pub fn measure(pid: u32, interval: Duration, clock: &RealClock) -> Result<DirtyMeasurement> {
    let ranges = writable(pid)?;
    match soft_dirty_works() {
        Ok(()) => soft_dirty(pid, &ranges, interval, clock),
        Err(why) => page_hashes(pid, &ranges, interval, why, clock),
    }
}

/// A measurement in a few lines.
pub fn words(measured: &DirtyMeasurement) -> Vec<String> {
    let pages = format!(
        "process {}: {} resident and writable; {} different pages/s dirtied, that is {}/s; working set {}",
        measured.pid,
        Bytes(measured.memory_bytes),
        measured.dirty_bytes_per_s / PAGE,
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

fn open(pid: u32, what: &str) -> Result<File> {
    let path = format!("/proc/{pid}/{what}");
    File::open(&path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("--pid {pid}: there is no such process"),
        ErrorKind::PermissionDenied => anyhow::anyhow!(
            "--pid {pid}: {path} may not be read; run as the same user or as root (and see kernel.yama.ptrace_scope)"
        ),
        _ => anyhow::anyhow!("--pid {pid}: {path}: {e}"),
    })
}

/// The writable memory of a process, as ranges of addresses.
fn writable(pid: u32) -> Result<Vec<(u64, u64)>> {
    use std::io::Read;
    let mut text = String::new();
    open(pid, "maps")?.read_to_string(&mut text).with_context(|| format!("--pid {pid}: /proc/{pid}/maps"))?;
    let mut ranges = vec![];
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let name = words.nth(3).unwrap_or("");
        // Device memory is no guest memory, and reading it may block.
        if !rights.starts_with("rw") || name.starts_with("/dev/") && !name.starts_with("/dev/shm") {
            continue;
        }
        let bounds = range
            .split_once('-')
            .and_then(|(a, b)| Some((u64::from_str_radix(a, 16).ok()?, u64::from_str_radix(b, 16).ok()?)));
        ranges.extend(bounds.filter(|(a, b)| a < b));
    }
    if ranges.is_empty() {
        bail!("--pid {pid}: it has no writable memory; is it a kernel thread?");
    }
    Ok(ranges)
}

/// The pagemap entries of the resident pages, with their addresses.
fn resident(pagemap: &File, ranges: &[(u64, u64)], mut each: impl FnMut(u64, u64)) -> Result<()> {
    let mut buffer = vec![0u8; 512 << 10];
    for (start, end) in ranges {
        let mut page = start / PAGE;
        while page < end / PAGE {
            let count = (end / PAGE - page).min(buffer.len() as u64 / 8) as usize;
            let read = match pagemap.read_at(&mut buffer[..count * 8], page * 8) {
                // The range went away since it was listed.
                Ok(0) => break,
                Ok(read) => read / 8,
                Err(e) => return Err(e).context("pagemap"),
            };
            for (i, entry) in buffer[..read * 8].chunks_exact(8).enumerate() {
                let entry = u64::from_le_bytes(entry.try_into().unwrap_or_default());
                if entry & (PRESENT | SWAPPED) != 0 {
                    each((page + i as u64) * PAGE, entry);
                }
            }
            page += read.max(1) as u64;
        }
    }
    Ok(())
}

/// Whether this kernel tells written pages, tried on memory of our own.
fn soft_dirty_works() -> Result<(), String> {
    let mut memory = vec![1u8; 2 * PAGE as usize];
    let base = memory.as_ptr() as u64;
    let at = base.next_multiple_of(PAGE);
    let mut told = || -> std::io::Result<bool> {
        let pagemap = File::open("/proc/self/pagemap")?;
        let dirty = || {
            let mut bytes = [0; 8];
            pagemap.read_exact_at(&mut bytes, at / PAGE * 8)?;
            Ok::<bool, std::io::Error>(u64::from_le_bytes(bytes) & SOFT_DIRTY != 0)
        };
        File::options().write(true).open("/proc/self/clear_refs")?.write_all(b"4")?;
        let before = dirty()?;
        memory[(at - base) as usize] = std::hint::black_box(2);
        std::hint::black_box(&mut memory);
        Ok(!before && dirty()?)
    };
    match told() {
        Ok(true) => Ok(()),
        Ok(false) => Err("this kernel does not track soft-dirty pages (CONFIG_MEM_SOFT_DIRTY is off), and PAGEMAP_SCAN sees writes only in memory that its own process registered with userfaultfd".into()),
        Err(e) => Err(format!("soft-dirty tracking cannot be tried: {e}")),
    }
}

/// Exact: clear the marks, wait, read them.
fn soft_dirty(
    pid: u32,
    ranges: &[(u64, u64)],
    interval: Duration,
    clock: &RealClock,
) -> Result<DirtyMeasurement> {
    let pagemap = open(pid, "pagemap")?;
    let mut resident_pages = 0;
    resident(&pagemap, ranges, |_, _| resident_pages += 1)?;
    let (mut counts, mut ever, mut took) = (vec![], HashSet::new(), Duration::ZERO);
    for _ in 0..INTERVALS {
        File::options()
            .write(true)
            .open(format!("/proc/{pid}/clear_refs"))
            .and_then(|mut f| f.write_all(b"4"))
            .with_context(|| format!("--pid {pid}: /proc/{pid}/clear_refs"))?;
        let start = clock.now();
        std::thread::sleep(interval);
        let mut count = 0;
        resident(&pagemap, ranges, |at, entry| {
            if entry & SOFT_DIRTY != 0 {
                count += 1;
                ever.insert(at);
            }
        })?;
        took += clock.now().since(start);
        counts.push(count);
    }
    Ok(measured(pid, "soft-dirty", None, resident_pages, &counts, ever.len() as u64, took, 1.0))
}

/// Portable: hash a sample of the resident pages again and again.
fn page_hashes(
    pid: u32,
    ranges: &[(u64, u64)],
    interval: Duration,
    why: String,
    clock: &RealClock,
) -> Result<DirtyMeasurement> {
    let mut pages = vec![];
    resident(&open(pid, "pagemap")?, ranges, |at, _| pages.push(at))?;
    let resident_pages = pages.len() as u64;
    if pages.is_empty() {
        bail!("--pid {pid}: none of its writable memory is resident");
    }
    // A sample spread evenly over all resident pages.
    let step = pages.len().div_ceil(SAMPLE_PAGES);
    let sample: Vec<u64> = pages.into_iter().step_by(step).collect();
    let share = sample.len() as f64 / resident_pages as f64;
    let memory = open(pid, "mem")?;
    let mut buffer = vec![0u8; PAGE as usize];
    let mut hash_all = || -> Vec<Option<u64>> {
        sample
            .iter()
            .map(|at| {
                // A page that went away is no page that was dirtied.
                memory.read_exact_at(&mut buffer, *at).ok().map(|()| XxHash3_64::oneshot(&buffer))
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
        bail!("--pid {pid}: the process ended while it was being measured");
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
        memory_bytes: resident_pages * PAGE,
        interval_ns,
        dirtied_pages: counts.to_vec(),
        dirty_bytes_per_s: (median as f64 * PAGE as f64 / (interval_ns.max(1) as f64 / 1e9)) as u64,
        working_set_bytes: working_set_pages * PAGE,
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
        let pages = measured.working_set_bytes / PAGE;
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
