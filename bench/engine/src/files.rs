//! What a file is filled with, and which request comes next: pure, and shared by the threads of several channels without a lock.
//!
//! Every word of the file follows from its position and from its generation, which counts how often it was written, so data that was
//! put elsewhere, kept back or lost is told from what must be there. A piece of the file is never touched by two requests at a time, because then
//! nobody could say what it holds. It moves nothing itself.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Words that the content is made of.
const WORD: usize = 8;
/// Odd, so no two words of a piece are equal (2^64 over the golden ratio).
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;
/// How many generations back are looked for in what is not what it must be.
const LOOKED_BACK: usize = 1 << 16;
/// Set in the record of a piece while a request for it is under way.
const BUSY: u32 = 1 << 31;

/// What a file is filled with.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    /// Different for every run.
    pub seed: u64,
}

impl Content {
    /// Fills `data` with what stands at `position` in this generation. Both are multiples of a word.
    pub fn fill(&self, data: &mut [u8], position: u64, generation: u32) {
        let mut word = self.first(position, generation);
        for chunk in data.chunks_exact_mut(WORD) {
            chunk.copy_from_slice(&word.to_le_bytes());
            word = word.wrapping_add(STRIDE);
        }
    }

    /// Where `data` is first different from what stands at `position` in this generation.
    pub fn difference(&self, data: &[u8], position: u64, generation: u32) -> Option<usize> {
        let first = self.first(position, generation);
        let mut word = first;
        let mut different = 0u64;
        let (words, rest) = data.as_chunks::<WORD>();
        for chunk in words {
            different |= u64::from_le_bytes(*chunk) ^ word;
            word = word.wrapping_add(STRIDE);
        }
        if different == 0 {
            // Data is made of whole words; what is not was not written by us.
            return (!rest.is_empty()).then_some(data.len() - rest.len());
        }
        let wrong = |(at, chunk): (usize, &[u8; WORD])| {
            u64::from_le_bytes(*chunk) != first.wrapping_add(STRIDE.wrapping_mul(at as u64))
        };
        words.iter().enumerate().position(wrong).map(|at| at * WORD)
    }

    /// The generation before this one that `data` holds, the whole of it, if any of those that are looked at does.
    pub fn earlier(&self, data: &[u8], position: u64, generation: u32) -> Option<u32> {
        let found = data.first_chunk::<WORD>().map(|word| u64::from_le_bytes(*word))?;
        let before = (1..generation).rev().take(LOOKED_BACK);
        let mut candidates = before.filter(|earlier| self.first(position, *earlier) == found);
        candidates.find(|earlier| self.difference(data, position, *earlier).is_none())
    }

    fn first(&self, position: u64, generation: u32) -> u64 {
        let key = mix(self.seed ^ (u64::from(generation) << 32 | 0x5A5A_5A5A));
        key.wrapping_add(STRIDE.wrapping_mul(position / WORD as u64))
    }
}

/// Spreads the bits of a number (splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(STRIDE);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A request for one piece of the file. Whoever has it owns the piece until it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which one, from the beginning of the file.
    pub block: u64,
    /// It is written, in a generation of its own; otherwise it is read.
    pub write: bool,
    /// The generation that it holds, or will hold when it is written; 0: nothing was ever written there.
    pub generation: u32,
    /// It went out before, on a channel that was lost.
    pub again: bool,
}

/// Which requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Every piece is written once, in order.
    Fill,
    /// Every piece that was written is read once, in order.
    Check,
    /// Nothing new: what is left of what was begun.
    Rest,
    /// So many reads for so many writes, without end.
    Mix {
        /// Reads …
        reads: u32,
        /// … for so many writes.
        writes: u32,
        /// Anywhere rather than in order.
        random: bool,
    },
}

/// The pieces of a file, and what has become of each.
#[derive(Debug)]
pub struct Pieces {
    /// The generation of each, and whether it is busy.
    records: Vec<AtomicU32>,
    next: AtomicU64,
    seed: u64,
}

impl Pieces {
    /// A file of so many pieces, of which nothing was written yet.
    pub fn new(blocks: u64, seed: u64) -> Pieces {
        let records = (0..blocks).map(|_| AtomicU32::new(0)).collect();
        Pieces { records, next: AtomicU64::new(0), seed }
    }

    /// Begins at the beginning again, for another sort of work.
    pub fn rewind(&self) {
        self.next.store(0, Ordering::Relaxed);
    }

    /// The next request; `None` when there is no more, or when every piece is busy.
    pub fn take(&self, work: Work) -> Option<Piece> {
        let blocks = self.records.len() as u64;
        match work {
            Work::Rest => None,
            Work::Fill | Work::Check => loop {
                let block = self.next.fetch_add(1, Ordering::Relaxed);
                if block >= blocks {
                    return None;
                }
                let write = work == Work::Fill;
                if !write && self.records[block as usize].load(Ordering::Relaxed) == 0 {
                    continue;
                }
                if let Some(piece) = self.claim(block, write) {
                    return Some(piece);
                }
            },
            Work::Mix { reads, writes, random } => {
                let ticket = self.next.fetch_add(1, Ordering::Relaxed);
                let of = (u64::from(reads) + u64::from(writes)).max(1);
                // Spread evenly over the run rather than in bursts.
                let write = (ticket % of).wrapping_mul(u64::from(reads)) % of >= u64::from(reads);
                let write = write || reads == 0;
                let begin = if random { mix(self.seed ^ ticket) % blocks } else { ticket % blocks };
                // Those that are busy are few: there are more pieces than requests under way.
                (0..blocks).find_map(|step| self.claim((begin + step) % blocks, write))
            }
        }
    }

    fn claim(&self, block: u64, write: bool) -> Option<Piece> {
        let record = &self.records[block as usize];
        let generation = record.load(Ordering::Relaxed);
        if generation & BUSY != 0 {
            return None;
        }
        record.compare_exchange(generation, generation | BUSY, Ordering::Acquire, Ordering::Relaxed).ok()?;
        let generation = if write { (generation + 1) & !BUSY } else { generation };
        Some(Piece {
            block,
            write,
            generation: if write { generation.max(1) } else { generation },
            again: false,
        })
    }

    /// The request never left, so the piece holds what it held.
    pub fn put_back(&self, piece: Piece) {
        let held = piece.generation - u32::from(piece.write && piece.generation > 0);
        self.records[piece.block as usize].store(held, Ordering::Release);
    }

    /// The request has been answered, and the piece holds what it says.
    pub fn give_back(&self, piece: Piece) {
        self.records[piece.block as usize].store(piece.generation, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_before_is_told_from_what_was_never_written() {
        let content = Content { seed: 7 };
        let mut data = [0; 4096];
        content.fill(&mut data, 8192, 3);
        assert_eq!(content.earlier(&data, 8192, 9), Some(3));
        assert_eq!(content.earlier(&data, 8192, 3), None, "it is no earlier one");
        assert_eq!(content.earlier(&data, 4096, 9), None, "it belongs elsewhere");
        data[4095] ^= 1;
        assert_eq!(content.earlier(&data, 8192, 9), None, "the whole of it, or nothing");
        assert_eq!(content.earlier(&[0; 4096], 8192, 9), None);
        assert_eq!(content.earlier(&[], 8192, 9), None);
        content.fill(&mut data, 0, 1);
        assert_eq!(content.earlier(&data, 0, u32::MAX), None, "nobody looks back for ever");
    }

    #[test]
    fn content_that_is_elsewhere_old_or_damaged_is_told() {
        let content = Content { seed: 7 };
        let mut data = vec![0; 4096];
        content.fill(&mut data, 8192, 3);
        assert_eq!(content.difference(&data, 8192, 3), None);
        assert_eq!(content.difference(&data, 8200, 3), Some(0), "a word further");
        assert_eq!(content.difference(&data, 8192, 2), Some(0), "of another generation");
        assert_eq!(Content { seed: 8 }.difference(&data, 8192, 3), Some(0), "of another run");
        for at in [0, 7, 8, 4095] {
            let mut damaged = data.clone();
            damaged[at] ^= 0x40;
            assert_eq!(content.difference(&damaged, 8192, 3), Some(at / 8 * 8));
        }
        let mut second = vec![0; 2048];
        content.fill(&mut second, 8192 + 2048, 3);
        assert_eq!(data[2048..], second[..], "it does not depend on how it is cut");
        assert_eq!(content.difference(&data[..12], 8192, 3), Some(8), "half a word is not ours");
    }

    #[test]
    fn no_piece_has_two_requests_and_a_write_is_a_generation_of_its_own() {
        let pieces = Pieces::new(4, 1);
        let work = Work::Mix { reads: 0, writes: 1, random: true };
        let taken: Vec<Piece> = (0..4).map(|_| pieces.take(work).unwrap()).collect();
        let mut blocks: Vec<u64> = taken.iter().map(|piece| piece.block).collect();
        blocks.sort_unstable();
        assert_eq!(blocks, [0, 1, 2, 3]);
        assert_eq!(pieces.take(work), None, "all are busy");
        assert!(taken.iter().all(|piece| piece.write && piece.generation == 1));
        pieces.give_back(taken[0]);
        let again = pieces.take(work).unwrap();
        assert_eq!((again.block, again.generation), (taken[0].block, 2));
    }

    #[test]
    fn a_request_that_never_left_changes_nothing() {
        let pieces = Pieces::new(1, 1);
        let writes = Work::Mix { reads: 0, writes: 1, random: false };
        pieces.put_back(pieces.take(writes).unwrap());
        assert_eq!(pieces.take(Work::Check), None, "nothing was ever written there");
        pieces.give_back(pieces.take(writes).unwrap());
        pieces.put_back(pieces.take(writes).unwrap());
        pieces.put_back(pieces.take(Work::Mix { reads: 1, writes: 0, random: false }).unwrap());
        pieces.rewind();
        assert_eq!(pieces.take(Work::Check).map(|piece| piece.generation), Some(1));
    }

    #[test]
    fn a_mix_keeps_its_proportion_and_order() {
        for (reads, writes) in [(70, 30), (1, 1), (1, 0), (0, 1), (1, 2), (3, 1)] {
            let pieces = Pieces::new(8, 1);
            let total = 100 * (reads + writes);
            let mut read = 0;
            for ticket in 0..total {
                let piece = pieces.take(Work::Mix { reads, writes, random: false }).unwrap();
                assert_eq!(piece.block, u64::from(ticket % 8));
                read += u32::from(!piece.write);
                pieces.give_back(piece);
            }
            assert_eq!(read, 100 * reads, "{reads}:{writes}");
        }
    }

    #[test]
    fn only_what_was_written_is_checked() {
        let pieces = Pieces::new(3, 1);
        pieces.give_back(Piece { block: 1, write: true, generation: 5, again: false });
        let checked = pieces.take(Work::Check).unwrap();
        assert_eq!((checked.block, checked.generation, checked.write), (1, 5, false));
        assert_eq!(pieces.take(Work::Check), None);
        pieces.rewind();
        assert_eq!(pieces.take(Work::Check), None, "it is still busy");
    }
}
