//! The memory of another process, by `/proc/PID/maps`, `pagemap`, `clear_refs` and `mem`.
//!
//! *Soft-dirty* pages are those that the kernel marks as written (`pagemap` bit 55); exact, and compiled out of many kernels, where it silently
//! reads as "nothing written", so it is tried on our own memory before it is believed. `PAGEMAP_SCAN` knows written pages only of memory
//! that its own process registered with userfaultfd, so it cannot watch another.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;

use crate::process_memory::{PAGE_BYTES, Resident};

const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const SOFT_DIRTY: u64 = 1 << 55;

/// The writable memory of a process, as it was when this was opened.
#[derive(Debug)]
pub struct ProcessMemory {
    pid: u32,
    ranges: Vec<(u64, u64)>,
    pagemap: File,
}

impl ProcessMemory {
    /// That of process `pid`; a process without any is a thread of the kernel.
    pub fn open(pid: u32) -> Result<ProcessMemory, String> {
        let mut maps = String::new();
        let path = format!("/proc/{pid}/maps");
        open(pid, "maps")?.read_to_string(&mut maps).map_err(|error| format!("{path}: {error}"))?;
        let ranges = writable(&maps);
        if ranges.is_empty() {
            return Err("it has no writable memory; is it a kernel thread?".into());
        }
        Ok(ProcessMemory { pid, ranges, pagemap: open(pid, "pagemap")? })
    }

    /// Its pages that are there.
    pub fn resident(&self, mut each: impl FnMut(Resident)) -> io::Result<()> {
        let mut buffer = vec![0u8; 512 << 10];
        for (start, end) in &self.ranges {
            let mut page = start / PAGE_BYTES;
            while page < end / PAGE_BYTES {
                let count = (end / PAGE_BYTES - page).min(buffer.len() as u64 / 8) as usize;
                let read = match self.pagemap.read_at(&mut buffer[..count * 8], page * 8)? {
                    // The range went away since it was listed.
                    0 => break,
                    read => read / 8,
                };
                for (i, entry) in buffer[..read * 8].chunks_exact(8).enumerate() {
                    let entry = u64::from_le_bytes(entry.try_into().unwrap_or_default());
                    if entry & (PRESENT | SWAPPED) != 0 {
                        let at = (page + i as u64) * PAGE_BYTES;
                        each(Resident { at, written: entry & SOFT_DIRTY != 0 });
                    }
                }
                page += read.max(1) as u64;
            }
        }
        Ok(())
    }

    /// From now on no page counts as written.
    pub fn forget_written(&self) -> Result<(), String> {
        forget_written(&self.pid.to_string())
            .map_err(|error| format!("/proc/{}/clear_refs: {error}", self.pid))
    }

    /// What its pages hold, to be read one by one.
    pub fn contents(&self) -> Result<impl Fn(u64, &mut [u8]) -> io::Result<()> + use<>, String> {
        let memory = open(self.pid, "mem")?;
        Ok(move |at, page: &mut [u8]| memory.read_exact_at(page, at))
    }
}

/// Whether this kernel tells written pages, tried on memory of our own; else why not.
pub fn tells_written() -> Result<(), String> {
    let mut memory = vec![1u8; 2 * PAGE_BYTES as usize];
    let base = memory.as_ptr() as u64;
    let at = base.next_multiple_of(PAGE_BYTES);
    let mut told = || -> io::Result<bool> {
        let pagemap = File::open("/proc/self/pagemap")?;
        let dirty = || {
            let mut bytes = [0; 8];
            pagemap.read_exact_at(&mut bytes, at / PAGE_BYTES * 8)?;
            Ok::<bool, io::Error>(u64::from_le_bytes(bytes) & SOFT_DIRTY != 0)
        };
        forget_written("self")?;
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

/// Documentation/admin-guide/mm/soft-dirty.rst.
fn forget_written(whose: &str) -> io::Result<()> {
    File::options().write(true).open(format!("/proc/{whose}/clear_refs"))?.write_all(b"4")
}

fn open(pid: u32, what: &str) -> Result<File, String> {
    let path = format!("/proc/{pid}/{what}");
    File::open(&path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => "there is no such process; ps -e lists those that there are".into(),
        ErrorKind::PermissionDenied => format!(
            "{path} may not be read; run as the same user or as root (and see kernel.yama.ptrace_scope)"
        ),
        _ => format!("{path}: {e}"),
    })
}

/// The writable ranges of a list of mappings.
fn writable(maps: &str) -> Vec<(u64, u64)> {
    let mut ranges = vec![];
    for line in maps.lines() {
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
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_memory_and_what_cannot_be_written_is_left_out() {
        let maps = "1000-3000 rw-p 00000000 00:00 0 [heap]\n\
                    3000-4000 r--p 00000000 08:01 7 /usr/bin/x\n\
                    5000-6000 rw-s 00000000 00:05 9 /dev/vfio/1\n\
                    7000-8000 rw-s 00000000 00:05 9 /dev/shm/guest\n\
                    9000-9000 rw-p 00000000 00:00 0\nnonsense\n";
        assert_eq!(writable(maps), [(0x1000, 0x3000), (0x7000, 0x8000)]);
    }

    #[test]
    fn a_process_reads_its_own_pages() {
        let page = vec![7u8; 3 * PAGE_BYTES as usize];
        let at = (page.as_ptr() as u64).next_multiple_of(PAGE_BYTES);
        let own = ProcessMemory::open(std::process::id()).unwrap();
        let mut found = false;
        own.resident(|resident| found |= resident.at == at).unwrap();
        assert!(found, "a page that was written is there");
        let mut read = [0; 64];
        own.contents().unwrap()(at, &mut read).unwrap();
        assert_eq!(read, [7; 64]);
    }
}
