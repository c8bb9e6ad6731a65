//! Lines of shared memory: many words at once, by the rule of the module above. Vector instructions on x86-64, plain atomics
//! elsewhere (and under Miri, which runs no assembly).

use super::LINE;

/// Lines begin at multiples of this: vectors there are never torn within a word.
pub(super) const ALIGNMENT: usize = 16;
/// Bytes of a block: one test for so many, with enough loads in flight to hide their latency.
pub(super) const BLOCK: usize = 4 * LINE;

#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) use vector::{blocks_are_zero, fill, load, store};
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) use words::{blocks_are_zero, fill, load, store};

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod vector {
    use std::arch::asm;
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_loadu_si128, _mm_storeu_si128, _mm256_or_si256, _mm256_testz_si256,
    };

    use super::{BLOCK, LINE, words};

    /// # Safety
    /// As for [`super::super::load`]; `from` is a multiple of [`super::ALIGNMENT`].
    #[inline(always)]
    pub(in super::super) unsafe fn load(from: *mut u8, to: &mut [u8; LINE]) {
        let (a, b, c, d): (__m128i, __m128i, __m128i, __m128i);
        // SAFETY: reads the line, for which the caller vouches: eight relaxed atomic loads, to the language.
        unsafe {
            asm!(
                "movdqa {a}, [{from}]",
                "movdqa {b}, [{from} + 16]",
                "movdqa {c}, [{from} + 32]",
                "movdqa {d}, [{from} + 48]",
                from = in(reg) from,
                a = out(xmm_reg) a,
                b = out(xmm_reg) b,
                c = out(xmm_reg) c,
                d = out(xmm_reg) d,
                options(nostack, preserves_flags, readonly),
            );
        }
        let to = to.as_mut_ptr().cast::<__m128i>();
        for (index, part) in [a, b, c, d].into_iter().enumerate() {
            // SAFETY: four times 16 bytes of the array; unaligned stores are allowed.
            unsafe { _mm_storeu_si128(to.add(index), part) };
        }
    }

    /// # Safety
    /// As for [`load`].
    #[inline(always)]
    pub(in super::super) unsafe fn store(to: *mut u8, from: &[u8; LINE]) {
        let from = from.as_ptr().cast::<__m128i>();
        // SAFETY: four times 16 bytes of the array; unaligned loads are allowed.
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| unsafe { _mm_loadu_si128(from.add(index)) });
        // SAFETY: writes the line, for which the caller vouches: eight relaxed atomic stores, to the language.
        unsafe {
            asm!(
                "movdqa [{to}], {a}",
                "movdqa [{to} + 16], {b}",
                "movdqa [{to} + 32], {c}",
                "movdqa [{to} + 48], {d}",
                to = in(reg) to,
                a = in(xmm_reg) a,
                b = in(xmm_reg) b,
                c = in(xmm_reg) c,
                d = in(xmm_reg) d,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Sets `count` words from `to` on.
    ///
    /// # Safety
    /// As for [`super::super::load`]; `to` is a multiple of eight.
    pub(in super::super) unsafe fn fill(to: *mut u8, count: usize, value: u64) {
        // It takes as long to begin as so many stores.
        const WORTH_IT: usize = 128;
        if count < WORTH_IT {
            // SAFETY: as the caller vouches.
            return unsafe { words::fill(to, count, value) };
        }
        // SAFETY: writes the words, for which the caller vouches, one after the other: relaxed atomic stores, to the
        // language. The direction flag is clear, as it always is between instructions of Rust code.
        unsafe {
            asm!(
                "rep stosq",
                inout("rcx") count => _,
                inout("rdi") to => _,
                in("rax") value,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Whether `blocks` blocks from `at` on are all zero.
    ///
    /// # Safety
    /// As for [`load`].
    pub(in super::super) unsafe fn blocks_are_zero(at: *mut u8, blocks: usize) -> bool {
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: AVX2 is there; the caller vouches for the blocks.
            return unsafe { blocks_are_zero_avx2(at, blocks) };
        }
        // SAFETY: the caller vouches for the blocks.
        unsafe { words::blocks_are_zero(at, blocks) }
    }

    /// # Safety
    /// As for [`load`]; also the processor must have AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn blocks_are_zero_avx2(at: *mut u8, blocks: usize) -> bool {
        for block in 0..blocks {
            let (a, b): (__m256i, __m256i);
            // SAFETY: reads one of the blocks: 32 relaxed atomic loads, to the language.
            unsafe {
                asm!(
                    "vmovdqu {a}, [{at}]",
                    "vmovdqu {b}, [{at} + 32]",
                    "vpor {a}, {a}, [{at} + 64]",
                    "vpor {b}, {b}, [{at} + 96]",
                    "vpor {a}, {a}, [{at} + 128]",
                    "vpor {b}, {b}, [{at} + 160]",
                    "vpor {a}, {a}, [{at} + 192]",
                    "vpor {b}, {b}, [{at} + 224]",
                    at = in(reg) at.wrapping_add(block * BLOCK),
                    a = out(ymm_reg) a,
                    b = out(ymm_reg) b,
                    options(nostack, preserves_flags, readonly),
                );
            }
            let any = _mm256_or_si256(a, b);
            if _mm256_testz_si256(any, any) == 0 {
                return false;
            }
        }
        true
    }
}

#[cfg_attr(
    all(target_arch = "x86_64", not(miri)),
    allow(dead_code, reason = "what other processors use, and the tests")
)]
mod words {
    use std::sync::atomic::Ordering::Relaxed;

    use super::super::{WORD, load_words, store_words, word};
    use super::{BLOCK, LINE};

    /// # Safety
    /// As for [`super::super::load`]; `from` is a multiple of eight.
    pub(in super::super) unsafe fn load(from: *mut u8, to: &mut [u8; LINE]) {
        // SAFETY: as the caller vouches.
        unsafe { load_words(from, to.as_chunks_mut().0) };
    }

    /// # Safety
    /// As for [`load`].
    pub(in super::super) unsafe fn store(to: *mut u8, from: &[u8; LINE]) {
        // SAFETY: as the caller vouches.
        unsafe { store_words(to, from.as_chunks().0) };
    }

    /// Sets `count` words from `to` on.
    ///
    /// # Safety
    /// As for [`load`].
    pub(in super::super) unsafe fn fill(to: *mut u8, count: usize, value: u64) {
        for index in 0..count {
            // SAFETY: as the caller vouches.
            unsafe { word(to.wrapping_add(index * WORD)) }.store(value, Relaxed);
        }
    }

    /// Whether `blocks` blocks from `at` on are all zero.
    ///
    /// # Safety
    /// As for [`load`].
    pub(in super::super) unsafe fn blocks_are_zero(at: *mut u8, blocks: usize) -> bool {
        (0..blocks).all(|block| {
            let start = at.wrapping_add(block * BLOCK);
            // SAFETY: as the caller vouches.
            let load = |index: usize| unsafe { word(start.wrapping_add(index * WORD)) }.load(Relaxed);
            // Four sums, so that one load need not wait for another.
            let mut any = [0; 4];
            for index in 0..BLOCK / WORD {
                any[index % 4] |= load(index);
            }
            any == [0; 4]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::{Pages, Region};

    #[test]
    fn both_ways_to_move_a_line_agree() {
        let region = Region::new(4096, Pages::Small).unwrap();
        let source: [u8; LINE] = std::array::from_fn(|i| i as u8 * 3 + 1);
        let at = region.base_address();
        for offset in [0, 16, 48, 64, 4096 - LINE] {
            let (mut a, mut b) = ([0; LINE], [0; LINE]);
            // SAFETY: inside the region, at multiples of 16.
            unsafe {
                store(at.wrapping_add(offset), &source);
                words::load(at.wrapping_add(offset), &mut a);
                words::store(at.wrapping_add(offset), &a);
                load(at.wrapping_add(offset), &mut b);
            }
            assert!(a == source && b == source, "{offset}");
        }
    }

    #[test]
    fn both_ways_to_fill_agree() {
        let region = Region::new(4096, Pages::Small).unwrap();
        let mut all = [0; 4096];
        let fills: [unsafe fn(*mut u8, usize, u64); 2] = [fill, words::fill];
        for (byte, fill) in (1u8..).zip(fills) {
            for (from, count) in [(0, 512), (8, 0), (8, 1), (24, 77)] {
                region.fill(0, 4096, 0xEE).unwrap();
                // SAFETY: words inside the region.
                unsafe {
                    fill(region.base_address().wrapping_add(from), count, u64::from_ne_bytes([byte; 8]))
                };
                region.copy_out(0, &mut all).unwrap();
                let filled = from..from + 8 * count;
                let right = |at: usize| if filled.contains(&at) { byte } else { 0xEE };
                assert!(
                    all.iter().enumerate().all(|(at, found)| *found == right(at)),
                    "{count} words at {from}"
                );
            }
        }
    }

    #[test]
    fn both_ways_to_look_for_zeroes_agree() {
        let region = Region::new(4096, Pages::Small).unwrap();
        // SAFETY: two blocks inside the region.
        let look = || unsafe {
            let at = region.base_address().wrapping_add(16);
            (blocks_are_zero(at, 2), words::blocks_are_zero(at, 2))
        };
        assert_eq!(look(), (true, true));
        for byte in 0..2 * BLOCK as u64 {
            region.copy_in(16 + byte, &[0x40]).unwrap();
            assert_eq!(look(), (false, false), "byte {byte}");
            region.copy_in(16 + byte, &[0]).unwrap();
        }
        region.fill(0, 16, 1).unwrap();
        region.fill(16 + 2 * BLOCK as u64, 64, 1).unwrap();
        assert_eq!(look(), (true, true), "neighbours do not count");
    }
}
