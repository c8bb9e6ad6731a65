//! Compression on the way (Hyper-V's option): pages are gathered until they fill LZ4's window, compressed together,
//! and sent as they are where that does not pay. Knows no lane.

use std::ops::Range;

use pathproof_api::Region;

use crate::drive::Meter;
use crate::migrate::PAGE_BYTES;

/// Pages that are compressed together: LZ4 looks back 64 KiB and no further.
pub const PAGES_MAX: u64 = 16;

/// Sums of one lane.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packed {
    /// Bytes of pages before.
    pub plain_bytes: u64,
    /// Bytes sent for them.
    pub sent_bytes: u64,
    /// Bytes of pages sent as they are.
    pub raw_bytes: u64,
    /// CPU time of compressing, in ns.
    pub cpu_ns: u64,
}

/// Gathers and compresses the pages of one lane.
pub struct Packer {
    runs: Vec<Range<u64>>,
    pages: u64,
    plain: Vec<u8>,
    packed: Vec<u8>,
    packed_bytes: usize,
    sums: Packed,
}

impl Default for Packer {
    fn default() -> Packer {
        Packer::new()
    }
}

impl Packer {
    /// Empty. All memory is taken here.
    pub fn new() -> Packer {
        let plain = vec![0; (PAGES_MAX * PAGE_BYTES) as usize];
        let packed = vec![0; lz4_flex::block::get_maximum_output_size(plain.len())];
        let runs = Vec::with_capacity(PAGES_MAX as usize);
        Packer { runs, pages: 0, plain, packed, packed_bytes: 0, sums: Packed::default() }
    }

    /// Takes as many pages from the front of `run` as there is room for.
    pub fn take(&mut self, run: &mut Range<u64>) {
        let count = (run.end - run.start).min(PAGES_MAX - self.pages);
        if count > 0 {
            self.runs.push(run.start..run.start + count);
            self.pages += count;
            run.start += count;
        }
    }

    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// Whether there is no room for another page.
    pub fn is_full(&self) -> bool {
        self.pages == PAGES_MAX
    }

    /// The pages taken.
    pub fn runs(&self) -> &[Range<u64>] {
        &self.runs
    }

    /// Compresses what was taken as it is in `guest` now; says whether that pays: a quarter must be saved, or the
    /// destination works for nothing.
    pub fn compress(&mut self, guest: &Region, meter: &mut dyn Meter) -> bool {
        let began = meter.cpu_ns();
        let mut at = 0;
        for run in &self.runs {
            let bytes = ((run.end - run.start) * PAGE_BYTES) as usize;
            // Pages come from a bitmap of the guest, all of which lies in the region.
            let _ = guest.copy_out(run.start * PAGE_BYTES, &mut self.plain[at..at + bytes]);
            at += bytes;
        }
        let packed = lz4_flex::block::compress_into(&self.plain[..at], &mut self.packed);
        let pays = packed.as_ref().is_ok_and(|bytes| *bytes <= at / 4 * 3);
        self.packed_bytes = packed.unwrap_or(0);
        let spent = meter.cpu_ns().zip(began).map_or(0, |(now, then)| now.saturating_sub(then));
        self.sums.cpu_ns += spent;
        self.sums.plain_bytes += at as u64;
        if pays {
            self.sums.sent_bytes += self.packed_bytes as u64;
        } else {
            self.sums.sent_bytes += at as u64;
            self.sums.raw_bytes += at as u64;
        }
        pays
    }

    /// The compressed pages.
    pub fn packed(&self) -> &[u8] {
        &self.packed[..self.packed_bytes]
    }

    /// Forgets the pages taken.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.pages = 0;
    }

    /// Counts from zero again: what came before was a measurement.
    pub fn forget(&mut self) {
        self.sums = Packed::default();
    }

    /// Sums so far.
    pub fn sums(&self) -> Packed {
        self.sums
    }
}

/// Puts compressed pages in their places; the error is what is wrong with them.
pub fn unpack(guest: &Region, runs: &[Range<u64>], bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
    let pages = runs.iter().try_fold(0u64, |sum, run| sum.checked_add(run.end - run.start));
    let pages = pages.filter(|pages| *pages <= PAGES_MAX);
    let pages = pages.ok_or_else(|| format!("more than {PAGES_MAX} pages compressed together"))?;
    plain.resize((PAGES_MAX * PAGE_BYTES) as usize, 0);
    let plain = &mut plain[..(pages * PAGE_BYTES) as usize];
    let got = lz4_flex::block::decompress_into(bytes, plain).map_err(|e| format!("compressed pages: {e}"))?;
    if got != plain.len() {
        return Err(format!("{got} bytes in place of {pages} pages"));
    }
    let mut at = 0;
    for run in runs {
        let bytes = ((run.end - run.start) * PAGE_BYTES) as usize;
        guest.copy_in(run.start * PAGE_BYTES, &plain[at..at + bytes]).map_err(|e| e.to_string())?;
        at += bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pathproof_api::Pages;

    use super::super::contents::Contents;
    use super::*;
    use crate::drive::NoMeter;

    #[test]
    fn pages_come_out_as_they_went_in_and_noise_is_left_alone() {
        let pages = 64;
        let [from, to] = [(); 2].map(|()| Region::new(pages * PAGE_BYTES, Pages::Small).unwrap());
        for (compressible, pays) in [(100, true), (0, false)] {
            let contents = Contents { seed: 3, zero_percent: 0, compressible_percent: compressible };
            contents.fill(&from, 0..pages);
            let mut packer = Packer::new();
            // The same place in every block of noise, which must not make them alike.
            for page in (0..pages).step_by(16) {
                packer.take(&mut (page..page + 1));
            }
            let mut run = 17..60;
            packer.take(&mut run);
            assert!(packer.is_full() && run == (29..60));
            assert_eq!(packer.compress(&from, &mut NoMeter), pays, "{compressible} % compressible");
            let sums = packer.sums();
            assert_eq!(sums.plain_bytes, PAGES_MAX * PAGE_BYTES);
            assert_eq!(sums.raw_bytes, if pays { 0 } else { sums.plain_bytes });
            if pays {
                assert!(sums.sent_bytes < sums.plain_bytes / 3, "{sums:?}");
                unpack(&to, packer.runs(), packer.packed(), &mut vec![]).unwrap();
                for page in packer.runs().iter().cloned().flatten() {
                    let (mut a, mut b) = ([0; 4096], [1; 4096]);
                    from.copy_out(page * PAGE_BYTES, &mut a).unwrap();
                    to.copy_out(page * PAGE_BYTES, &mut b).unwrap();
                    assert_eq!(a, b, "page {page}");
                }
                let broken = &packer.packed()[..packer.packed().len() / 2];
                assert!(unpack(&to, packer.runs(), broken, &mut vec![]).is_err());
                assert!(unpack(&to, std::slice::from_ref(&(0..64)), packer.packed(), &mut vec![]).is_err());
                assert!(unpack(&to, std::slice::from_ref(&(0..2)), packer.packed(), &mut vec![]).is_err());
            }
        }
    }
}
