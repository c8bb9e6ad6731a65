//! Page-wise work on a [`Region`]: finding zero pages at memory speed, and preparing memory before it is
//! measured. Refuses to hand out references to the bytes, like the region itself.

use std::io;

use super::{PAGE_BYTES, Region, RegionError};
use crate::system::mapping;

impl Region {
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
        unsafe { mapping::advise_huge_pages(self.base_address(), self.mapped_bytes() as usize) };
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
            let can = unsafe { mapping::populate(self.base_address().add(start as usize), bytes) }?;
            if !can {
                return Ok(());
            }
            start += PIECE_BYTES;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Pages;

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
