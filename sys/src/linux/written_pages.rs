//! Which pages of a [`Region`] were written since the last question, whoever wrote them.
//!
//! `PAGEMAP_SCAN` (Linux 6.7) over pages that an asynchronous userfaultfd write-protects, the way a process can watch
//! memory that it does not write itself. The kernel feature is tested on real pages before it is believed, because some
//! interfaces of this kind (soft-dirty) read as "nothing written" when they are compiled out.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use crate::region::{PAGE_BYTES, Pages, Region};

/// The kernel's answer for one region: `PAGEMAP_SCAN`.
#[derive(Debug)]
pub struct WrittenPages {
    /// Keeps the write protection alive.
    _userfaultfd: OwnedFd,
    pagemap: File,
    region: Arc<Region>,
    found: Vec<PageRegion>,
}

/// `struct page_region` of `<linux/fs.h>`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of `<linux/fs.h>`.
#[repr(C)]
#[derive(Debug, Default)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const UFFD_API: u64 = 0xAA;
const UFFD_USER_MODE_ONLY: i32 = 1;
const UFFD_FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
const UFFDIO_API: u64 = 0xC018_AA3F;
const UFFDIO_REGISTER: u64 = 0xC020_AA00;
const UFFDIO_REGISTER_MODE_WP: u64 = 2;
const PAGEMAP_SCAN: u64 = 0xC060_6610;
const PM_SCAN_WP_MATCHING: u64 = 1;
const PM_SCAN_CHECK_WPASYNC: u64 = 2;
const PAGE_IS_WRITTEN: u64 = 2;

impl WrittenPages {
    /// Whether this kernel can do it, tried on real pages; the error is the sentence for the user.
    pub fn self_test() -> Result<(), String> {
        const PAGES: u64 = 256;
        let region = Region::new(PAGES * PAGE_BYTES, Pages::Small).map_err(|e| e.to_string())?;
        let region = Arc::new(region);
        let mut tracker = WrittenPages::new(&region)?;
        let mut expected = vec![0u64; 4];
        for page in [0, 1, 77, 255] {
            region.store_word(page * PAGE_BYTES + 8, page + 1).map_err(|e| e.to_string())?;
            expected[(page / 64) as usize] |= 1 << (page % 64);
        }
        for expected in [expected, vec![0; 4]] {
            let mut words = vec![0u64; 4];
            tracker.harvest(&mut words).map_err(|e| format!("PAGEMAP_SCAN failed: {e}"))?;
            if words != expected {
                return Err(format!(
                    "PAGEMAP_SCAN answers wrongly on this kernel: {words:x?} instead of {expected:x?}"
                ));
            }
        }
        Ok(())
    }

    /// Watches `region` (made of [`Pages::Small`], or a write shows as 512 pages), all clean from now on.
    pub fn new(region: &Arc<Region>) -> Result<WrittenPages, String> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY;
        // SAFETY: the call takes one integer and makes a descriptor or fails.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        if fd < 0 {
            return Err(format!("userfaultfd: {}", io::Error::last_os_error()));
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let userfaultfd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let mut api = [UFFD_API, UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC, 0];
        // SAFETY: `struct uffdio_api` is three u64, which the kernel reads and writes.
        if unsafe { libc::ioctl(userfaultfd.as_raw_fd(), UFFDIO_API as _, api.as_mut_ptr()) } != 0 {
            return Err(format!(
                "this kernel's userfaultfd has no asynchronous write protection ({}; Linux 6.7 has)",
                io::Error::last_os_error()
            ));
        }
        let base = region.base_address() as u64;
        let mut register = [base, region.mapped_bytes(), UFFDIO_REGISTER_MODE_WP, 0];
        // SAFETY: `struct uffdio_register` is four u64; the range is the region's own mapping, and write
        // protection that resolves itself changes nothing that its users can see.
        if unsafe { libc::ioctl(userfaultfd.as_raw_fd(), UFFDIO_REGISTER as _, register.as_mut_ptr()) } != 0 {
            return Err(format!("registering memory with userfaultfd: {}", io::Error::last_os_error()));
        }
        let pagemap = File::open("/proc/self/pagemap").map_err(|e| format!("/proc/self/pagemap: {e}"))?;
        let mut tracker = WrittenPages {
            _userfaultfd: userfaultfd,
            pagemap,
            region: region.clone(),
            found: vec![PageRegion::default(); 4096],
        };
        let mut words = vec![0; (region.mapped_bytes() / PAGE_BYTES).div_ceil(64) as usize];
        tracker
            .harvest(&mut words)
            .map_err(|e| format!("PAGEMAP_SCAN is missing or refused ({e}; Linux 6.7 has it)"))?;
        Ok(tracker)
    }

    /// Adds to `words` (bit 0 of word 0 is page 0) the pages written since the last harvest, and forgets them. A write that
    /// happens meanwhile is reported now or next time, never lost.
    pub fn harvest(&mut self, words: &mut [u64]) -> io::Result<()> {
        let base = self.region.base_address() as u64;
        let end = base + self.region.mapped_bytes();
        let mut at = base;
        while at < end {
            let mut arg = ScanArg {
                size: size_of::<ScanArg>() as u64,
                flags: PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
                start: at,
                end,
                vec: self.found.as_mut_ptr() as u64,
                vec_len: self.found.len() as u64,
                category_mask: PAGE_IS_WRITTEN,
                return_mask: PAGE_IS_WRITTEN,
                ..ScanArg::default()
            };
            // SAFETY: the kernel reads `arg`, writes `walk_end` into it and at most `vec_len` entries into
            // `found`, which outlives the call.
            let count = unsafe { libc::ioctl(self.pagemap.as_raw_fd(), PAGEMAP_SCAN as _, &mut arg) };
            let Ok(count) = usize::try_from(count) else { return Err(io::Error::last_os_error()) };
            for run in self.found.iter().take(count) {
                let first = run.start.saturating_sub(base) / PAGE_BYTES;
                let last = run.end.saturating_sub(base) / PAGE_BYTES;
                for page in first..last {
                    if let Some(word) = words.get_mut((page / 64) as usize) {
                        *word |= 1 << (page % 64);
                    }
                }
            }
            if arg.walk_end <= at {
                return Err(io::Error::other("PAGEMAP_SCAN made no progress"));
            }
            at = arg.walk_end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_exactly_where_it_can() {
        if let Err(reason) = WrittenPages::self_test() {
            assert!(std::env::var_os("PATHPROOF_REQUIRE_LAB").is_none(), "{reason}");
            use std::io::Write;
            #[expect(clippy::disallowed_methods, reason = "a test says why it could not run")]
            let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
            return;
        }
        let pages = 16_384;
        let region = Arc::new(Region::new(pages * PAGE_BYTES, Pages::Small).unwrap());
        region.populate(0, pages * PAGE_BYTES / 2).unwrap();
        let mut tracker = WrittenPages::new(&region).unwrap();
        let mut expected = vec![0u64; pages as usize / 64];
        for i in 0..5_000u64 {
            let page = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 50;
            region.store_word(page * PAGE_BYTES + 16, i).unwrap();
            expected[(page / 64) as usize] |= 1 << (page % 64);
        }
        let mut words = vec![0u64; pages as usize / 64];
        tracker.harvest(&mut words).unwrap();
        assert_eq!(words, expected);
        // What the kernel itself writes (a socket's receive) counts too, and the second harvest is empty.
        let mut words = vec![0u64; pages as usize / 64];
        tracker.harvest(&mut words).unwrap();
        assert!(words.iter().all(|w| *w == 0));
    }
}
