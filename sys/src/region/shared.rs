//! The only accesses that Rust code of ours makes to memory that others write at the same time: relaxed atomic ones, by
//! whole words of eight bytes at multiples of eight.
//!
//! Who else is there: other threads of ours, through this file only; the kernel, in system calls that were given the
//! address; the adapter, by DMA on behalf of the peer. In Rust's terms two accesses to one place, one of them a write,
//! are a data race (and undefined behaviour) unless both are atomic, and atomic ones of different sizes must not overlap
//! either. One size everywhere leaves only races that are defined: a word is the old or the new one, and what
//! lies in two words may be torn. Kernel and adapter are outside the language, like another process that shares the memory: no
//! compiler can see or move what they do, and to us it looks like such atomic writes.
//!
//! No reference to the bytes exists, and none to the words outlives a statement. What has to be looked at twice (hashed, compressed, parsed) is
//! copied out first.
//!
//! On x86-64 lines of 64 bytes are moved by vector instructions in inline assembly, at the speed of `memcpy`: atomics are not
//! vectorized. To the language such an instruction is one relaxed atomic access for each word that it moves, which is also what the processor makes of
//! it: vectors at multiples of 16 are moved whole (Intel SDM vol. 3A, 9.1.1; AMD64 APM vol. 2, 7.3.2), or in halves.

mod line;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes that are accessed at once; never another number.
const WORD: usize = 8;
/// Bytes that are moved in one turn, where there are so many.
const LINE: usize = 64;

/// The word at `at`.
///
/// # Safety
/// `at` is a multiple of eight, and the word lies in memory that stays mapped for `'a` and is accessed by this file only.
pub(crate) unsafe fn word<'a>(at: *mut u8) -> &'a AtomicU64 {
    debug_assert!(at.addr().is_multiple_of(WORD));
    // SAFETY: the caller vouches for it; atomics may be shared.
    unsafe { AtomicU64::from_ptr(at.cast()) }
}

/// Copies `to.len()` bytes from `from` to private memory.
///
/// # Safety
/// The words that hold the bytes are as [`word`] wants them.
pub(crate) unsafe fn load(from: *mut u8, to: &mut [u8]) {
    let (first, rest) = to.split_at_mut(to_boundary(from, WORD).min(to.len()));
    // SAFETY: all words that are named hold some of the bytes, for which the caller vouches.
    unsafe {
        load_part(from, first);
        let mut at = from.wrapping_add(first.len());
        let (few, rest) = rest.split_at_mut(words_before_lines(at, rest.len()));
        at = load_words(at, few.as_chunks_mut().0);
        let (lines, rest) = rest.as_chunks_mut();
        for line in lines {
            line::load(at, line);
            at = at.wrapping_add(LINE);
        }
        let (words, last) = rest.as_chunks_mut();
        at = load_words(at, words);
        load_part(at, last);
    }
}

/// Copies private memory to `to`. Bytes that share a word with the first or last ones keep their values, also those that
/// somebody writes meanwhile.
///
/// # Safety
/// As for [`load`].
pub(crate) unsafe fn store(to: *mut u8, from: &[u8]) {
    let (first, rest) = from.split_at(to_boundary(to, WORD).min(from.len()));
    // SAFETY: as in `load`.
    unsafe {
        store_part(to, first);
        let mut at = to.wrapping_add(first.len());
        let (few, rest) = rest.split_at(words_before_lines(at, rest.len()));
        at = store_words(at, few.as_chunks().0);
        let (lines, rest) = rest.as_chunks();
        for line in lines {
            line::store(at, line);
            at = at.wrapping_add(LINE);
        }
        let (words, last) = rest.as_chunks();
        at = store_words(at, words);
        store_part(at, last);
    }
}

/// Sets `len` bytes at `to`.
///
/// # Safety
/// As for [`load`].
pub(crate) unsafe fn fill(to: *mut u8, len: usize, byte: u8) {
    let part = [byte; WORD];
    let head = to_boundary(to, WORD).min(len);
    let (words, last) = ((len - head) / WORD, (len - head) % WORD);
    let at = to.wrapping_add(head);
    // SAFETY: as in `load`.
    unsafe {
        store_part(to, &part[..head]);
        line::fill(at, words, u64::from_ne_bytes(part));
        store_part(at.wrapping_add(words * WORD), &part[..last]);
    }
}

/// Whether `len` bytes at `at` are all zero. Reads no further than the first that is not, rounded up to 256 bytes. While
/// others write, the answer is about some mixture of old and new words.
///
/// # Safety
/// As for [`load`].
pub(crate) unsafe fn is_zero(at: *mut u8, len: usize) -> bool {
    let mut part = [0; LINE];
    let head = to_boundary(at, line::ALIGNMENT).min(len);
    let zero = |part: &[u8]| part.iter().all(|byte| *byte == 0);
    // SAFETY: as in `load`.
    unsafe {
        load(at, &mut part[..head]);
        if !zero(&part[..head]) {
            return false;
        }
        let (mut at, mut left) = (at.wrapping_add(head), len - head);
        // A page that is not zero mostly shows it in its first bytes: one line decides, not four.
        if left >= LINE {
            line::load(at, &mut part);
            if part != [0; LINE] {
                return false;
            }
        }
        let blocks = left / line::BLOCK;
        if !line::blocks_are_zero(at, blocks) {
            return false;
        }
        (at, left) = (at.wrapping_add(blocks * line::BLOCK), left % line::BLOCK);
        while left > 0 {
            let bytes = left.min(LINE);
            load(at, &mut part[..bytes]);
            if !zero(&part[..bytes]) {
                return false;
            }
            (at, left) = (at.wrapping_add(bytes), left - bytes);
        }
    }
    true
}

/// Bytes from `at` to the next multiple of `unit`.
fn to_boundary(at: *mut u8, unit: usize) -> usize {
    at.addr().next_multiple_of(unit) - at.addr()
}

/// Bytes of whole words from `at`, of `len` that follow, up to where lines may begin.
fn words_before_lines(at: *mut u8, len: usize) -> usize {
    to_boundary(at, line::ALIGNMENT).min(len / WORD * WORD)
}

/// Part of one word.
///
/// # Safety
/// As for [`load`]; the bytes lie in one word.
unsafe fn load_part(from: *mut u8, to: &mut [u8]) {
    if to.is_empty() {
        return;
    }
    let skip = from.addr() % WORD;
    // SAFETY: the word that holds the first byte, and so all of them.
    let bytes = unsafe { word(from.wrapping_sub(skip)) }.load(Relaxed).to_ne_bytes();
    to.copy_from_slice(&bytes[skip..skip + to.len()]);
}

/// Part of one word: exchanged as a whole, and tried again if somebody else was faster.
///
/// # Safety
/// As for [`load_part`].
unsafe fn store_part(to: *mut u8, from: &[u8]) {
    if from.is_empty() {
        return;
    }
    let skip = to.addr() % WORD;
    let merged = |old: u64| {
        let mut bytes = old.to_ne_bytes();
        bytes[skip..skip + from.len()].copy_from_slice(from);
        Some(u64::from_ne_bytes(bytes))
    };
    // SAFETY: as in `load_part`. It cannot fail: there is always a new value.
    let _ = unsafe { word(to.wrapping_sub(skip)) }.fetch_update(Relaxed, Relaxed, merged);
}

/// Whole words; returns what follows them.
///
/// # Safety
/// As for [`load`]; `from` is a multiple of eight.
unsafe fn load_words(from: *mut u8, to: &mut [[u8; WORD]]) -> *mut u8 {
    let mut at = from;
    for bytes in to {
        // SAFETY: the caller vouches for every word.
        *bytes = unsafe { word(at) }.load(Relaxed).to_ne_bytes();
        at = at.wrapping_add(WORD);
    }
    at
}

/// Whole words; returns what follows them.
///
/// # Safety
/// As for [`load_words`].
unsafe fn store_words(to: *mut u8, from: &[[u8; WORD]]) -> *mut u8 {
    let mut at = to;
    for bytes in from {
        // SAFETY: the caller vouches for every word.
        unsafe { word(at) }.store(u64::from_ne_bytes(*bytes), Relaxed);
        at = at.wrapping_add(WORD);
    }
    at
}

#[cfg(test)]
mod tests {
    use crate::region::{Pages, Region};

    /// Against a plain copy, for every way in which a range can lie to words, vectors and lines.
    #[test]
    fn every_offset_and_length_moves_its_bytes_and_no_others() {
        let region = Region::new(4096, Pages::Small).unwrap();
        let source: Vec<u8> = (0..4096u32).map(|i| (i * 31 + (i >> 8) * 7 + 1) as u8).collect();
        let mut expected = vec![0xA5u8; 4096];
        for offset in 0..80 {
            for len in (0..200).chain([255, 256, 257, 1000]) {
                region.fill(0, 4096, 0xA5).unwrap();
                region.copy_in(offset as u64, &source[..len]).unwrap();
                expected.fill(0xA5);
                expected[offset..offset + len].copy_from_slice(&source[..len]);
                let mut whole = vec![0; 4096];
                region.copy_out(0, &mut whole).unwrap();
                assert!(whole == expected, "in: {len} bytes at {offset}");
                let mut back = vec![0; len];
                region.copy_out(offset as u64, &mut back).unwrap();
                assert!(back == source[..len], "out: {len} bytes at {offset}");
            }
        }
    }

    #[test]
    fn a_filled_range_ends_where_it_should() {
        let region = Region::new(3 * 4096, Pages::Small).unwrap();
        for (offset, len) in [(0, 0), (3, 2), (7, 9), (1, 4095), (5, 8192), (8, 4096)] {
            region.fill(0, 3 * 4096, 0).unwrap();
            region.fill(offset, len, 0xEE).unwrap();
            let mut all = vec![0; 3 * 4096];
            region.copy_out(0, &mut all).unwrap();
            let filled = |at: usize| (offset..offset + len).contains(&(at as u64));
            assert!(
                all.iter().enumerate().all(|(at, byte)| *byte == if filled(at) { 0xEE } else { 0 }),
                "{offset} {len}"
            );
        }
    }

    /// Threads whose bytes lie in the same words: no store brings back what another has overwritten.
    #[test]
    fn neighbours_in_a_word_do_not_lose_each_others_bytes() {
        const ROUNDS: u32 = 20_000;
        let region = Region::new(4096, Pages::Small).unwrap();
        std::thread::scope(|scope| {
            for (offset, len) in [(1u64, 3usize), (4, 7), (11, 2), (13, 70)] {
                let region = &region;
                scope.spawn(move || {
                    let mut back = vec![0; len];
                    for round in 0..ROUNDS {
                        let mine = vec![round as u8; len];
                        region.copy_in(offset, &mine).unwrap();
                        region.copy_out(offset, &mut back).unwrap();
                        assert_eq!(back, mine, "{len} bytes at {offset}, round {round}");
                    }
                });
            }
        });
        assert_eq!(region.load_word(0).unwrap().to_ne_bytes()[0], 0);
    }

    /// What is copied while somebody writes may be torn between words and never within one.
    #[test]
    fn a_word_is_the_old_or_the_new_one() {
        use std::sync::atomic::{AtomicBool, Ordering};
        const BYTES: usize = 4096;
        let region = Region::new(BYTES as u64, Pages::Small).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..20_000u32 {
                    // Whole words all over, by every kind of store.
                    region.copy_in(0, &[round as u8; BYTES]).unwrap();
                    region
                        .store_word(
                            u64::from(round % 512) * 8,
                            0x0101_0101_0101_0101 * u64::from(round as u8),
                        )
                        .unwrap();
                }
                done.store(true, Ordering::Relaxed);
            });
            let mut seen = vec![0; BYTES];
            while !done.load(Ordering::Relaxed) {
                region.copy_out(0, &mut seen).unwrap();
                for word in seen.as_chunks::<8>().0 {
                    assert!(word.iter().all(|byte| *byte == word[0]), "torn: {word:x?}");
                }
            }
        });
    }
}
