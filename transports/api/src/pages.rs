//! Page-wise work on a [`Region`]: finding zero pages at memory speed, and preparing memory before it is
//! measured. Refuses to hand out references to the bytes, like the region itself.

use std::io;

use crate::region::PAGE_BYTES;
use crate::{Region, RegionError};

impl Region {
    /// Whether `len` bytes at `offset` are all zero. Reads no further than the first byte that is not, rounded
    /// up to 256 bytes; on the whole it runs at the speed of memory.
    pub fn is_zero(&self, offset: u64, len: u64) -> Result<bool, RegionError> {
        self.check(offset, len)?;
        // SAFETY: the range was checked to lie inside the mapping, which lives as long as `self`.
        Ok(unsafe { all_zero(self.base_address().add(offset as usize), len as usize) })
    }

    /// Whether `page` is all zero, and how many pages from it on, at most `pages`, are like it in that. For memory
    /// that is in no cache: the heads of later pages are asked for while this one is looked at, or the processor
    /// would wait for memory once a page.
    pub fn zero_run(&self, page: u64, pages: u64) -> Result<(bool, u64), RegionError> {
        const AHEAD_PAGES: u64 = 16;
        let outside = || RegionError::Range { offset: page, len: pages, bytes: self.len() };
        let start = page.checked_mul(PAGE_BYTES).ok_or_else(outside)?;
        self.check(start, pages.checked_mul(PAGE_BYTES).ok_or_else(outside)?)?;
        let first = self.is_zero(start, PAGE_BYTES)?;
        for next in 1..pages {
            if next + AHEAD_PAGES < pages {
                self.prefetch(start + (next + AHEAD_PAGES) * PAGE_BYTES);
            }
            if self.is_zero(start + next * PAGE_BYTES, PAGE_BYTES)? != first {
                return Ok((first, next));
            }
        }
        Ok((first, pages))
    }

    /// Asks for the cache line at `offset`; nothing happens outside the region.
    fn prefetch(&self, offset: u64) {
        #[cfg(target_arch = "x86_64")]
        if offset < self.len() {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a prefetch reads nothing and cannot fault; the address lies inside the mapping.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.base_address().add(offset as usize).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = offset;
    }

    /// Asks for huge pages where the system grants them on request only (`MADV_HUGEPAGE`). Advice: a kernel
    /// that cannot is no fault.
    pub fn prefer_huge_pages(&self) {
        // SAFETY: the range is the region's own mapping; the advice changes no contents.
        unsafe {
            libc::madvise(self.base_address().cast(), self.mapped_bytes() as usize, libc::MADV_HUGEPAGE)
        };
    }

    /// Makes every page of `len` bytes at `offset` present and writable now (`MADV_POPULATE_WRITE`, Linux
    /// 5.14), so that no page fault falls into a measurement. Contents stay. Says what the system said where
    /// it cannot, out of memory above all.
    ///
    /// Works in pieces: the kernel holds the process's memory map for the length of a call, and threads that
    /// start or stop would wait for it.
    pub fn populate(&self, offset: u64, len: u64) -> io::Result<()> {
        const PIECE_BYTES: u64 = 16 << 20;
        self.check(offset, len).map_err(io::Error::other)?;
        let end = offset + len;
        let mut start = offset / PAGE_BYTES * PAGE_BYTES;
        while start < end {
            let bytes = (end - start).min(PIECE_BYTES) as usize;
            // SAFETY: the piece lies inside the mapping (its start rounded down to its page); contents stay.
            let failed = unsafe {
                let at = self.base_address().add(start as usize);
                libc::madvise(at.cast(), bytes, libc::MADV_POPULATE_WRITE)
            } != 0;
            if failed {
                let error = io::Error::last_os_error();
                // An older kernel does not know the advice: the pages come when they are first touched.
                return if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) };
            }
            start += PIECE_BYTES;
        }
        Ok(())
    }
}

/// Whether `len` bytes at `at` are all zero.
///
/// # Safety
/// The range must be readable for the whole call. Others may write it meanwhile: the answer is then about some
/// mixture of old and new bytes, which is what a migration of a running guest sees too.
unsafe fn all_zero(at: *const u8, len: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    if len.is_multiple_of(256) && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 is there; the caller vouches for the range.
        return unsafe { all_zero_avx2(at, len) };
    }
    let mut done = 0;
    while done + 64 <= len {
        let mut any = 0u64;
        for word in 0..8 {
            // SAFETY: `done + 64` is at most `len`, for which the caller vouches; unaligned reads are allowed.
            any |= unsafe { at.add(done + word * 8).cast::<u64>().read_unaligned() };
        }
        if any != 0 {
            return false;
        }
        done += 64;
    }
    while done < len {
        // SAFETY: inside the range.
        if unsafe { at.add(done).read() } != 0 {
            return false;
        }
        done += 1;
    }
    true
}

/// 256 bytes a turn: eight loads in flight hide the latency, one test ends the turn.
///
/// # Safety
/// As for [`all_zero`]; also the processor must have AVX2 and `len` be a multiple of 256.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn all_zero_avx2(at: *const u8, len: usize) -> bool {
    use std::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_or_si256, _mm256_testz_si256};
    // A page that is not zero mostly shows it in its first bytes: one cache line decides, not four.
    // SAFETY: `len` is a multiple of 256, so there are 64 bytes unless there are none.
    if len > 0 && unsafe { first_64_differ_from_zero(at) } {
        return false;
    }
    let mut done = 0;
    while done < len {
        // SAFETY: `done + 256` is at most `len`; unaligned loads are allowed.
        let load = |i: usize| unsafe { _mm256_loadu_si256(at.add(done + i * 32).cast::<__m256i>()) };
        let a = _mm256_or_si256(_mm256_or_si256(load(0), load(1)), _mm256_or_si256(load(2), load(3)));
        let b = _mm256_or_si256(_mm256_or_si256(load(4), load(5)), _mm256_or_si256(load(6), load(7)));
        let any = _mm256_or_si256(a, b);
        if _mm256_testz_si256(any, any) == 0 {
            return false;
        }
        done += 256;
    }
    true
}

/// Whether any of the 64 bytes at `at` is not zero.
///
/// # Safety
/// They must be readable; also the processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn first_64_differ_from_zero(at: *const u8) -> bool {
    use std::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_or_si256, _mm256_testz_si256};
    // SAFETY: the caller vouches for 64 bytes; unaligned loads are allowed.
    let any = unsafe {
        _mm256_or_si256(
            _mm256_loadu_si256(at.cast::<__m256i>()),
            _mm256_loadu_si256(at.add(32).cast::<__m256i>()),
        )
    };
    _mm256_testz_si256(any, any) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pages;

    #[test]
    fn one_bit_anywhere_makes_a_page_not_zero() {
        let region = Region::new(3 * PAGE_BYTES, Pages::Small).unwrap();
        assert!(region.is_zero(0, 3 * PAGE_BYTES).unwrap());
        for at in (0..PAGE_BYTES).step_by(37).chain([PAGE_BYTES - 1]) {
            region.copy_in(PAGE_BYTES + at, &[0x10]).unwrap();
            let zero = |page: u64| region.is_zero(page * PAGE_BYTES, PAGE_BYTES).unwrap();
            assert_eq!([zero(0), zero(1), zero(2)], [true, false, true], "byte {at}");
            region.copy_in(PAGE_BYTES + at, &[0]).unwrap();
        }
        // Odd lengths and offsets take the plain path.
        region.copy_in(100, &[1]).unwrap();
        assert!(region.is_zero(101, 77).unwrap() && !region.is_zero(99, 77).unwrap());
        assert!(!region.is_zero(1, 100).unwrap() && region.is_zero(1, 99).unwrap());
        assert!(region.is_zero(0, 3 * PAGE_BYTES + 1).is_err());
    }

    #[test]
    fn runs_of_like_pages_end_where_the_next_kind_begins() {
        let region = Region::new(100 * PAGE_BYTES, Pages::Small).unwrap();
        for page in (40..90).chain([95]) {
            // The last byte, which the look at the first line does not see.
            region.copy_in((page + 1) * PAGE_BYTES - 1, &[1]).unwrap();
        }
        assert_eq!(region.zero_run(0, 100).unwrap(), (true, 40));
        assert_eq!(region.zero_run(0, 7).unwrap(), (true, 7));
        assert_eq!(region.zero_run(40, 60).unwrap(), (false, 50));
        assert_eq!(region.zero_run(90, 10).unwrap(), (true, 5));
        assert_eq!(region.zero_run(95, 5).unwrap(), (false, 1));
        assert!(region.zero_run(95, 6).is_err() && region.zero_run(u64::MAX, 2).is_err());
    }

    #[test]
    fn populated_pages_keep_their_contents() {
        let region = Region::new(64 * PAGE_BYTES, Pages::Default).unwrap();
        region.copy_in(5000, b"kept").unwrap();
        region.prefer_huge_pages();
        region.populate(100, 63 * PAGE_BYTES).unwrap();
        let mut back = [0; 4];
        region.copy_out(5000, &mut back).unwrap();
        assert_eq!(&back, b"kept");
        assert!(region.populate(0, 65 * PAGE_BYTES).is_err());
    }
}
