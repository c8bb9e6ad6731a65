//! What source and destination tell each other on their lanes, beside the one-sided writes that carry pages.
//!
//! ```text
//! kind u32 | count u32 | a u64 | then `count` entries
//! 1 zero      entries (first page u32, pages u32): clear these pages
//! 2 barrier   a = number: everything before it on this lane has been placed; answer with 3
//! 3 reached   a = number
//! 4 hash      a = first page, count = pages: answer with 5
//! 5 hashes    a = first page, entries are 128-bit page hashes
//! 6 end       the lane is done
//! 7 block     a = block of a disk, count = bytes, which follow
//! 8 packed    entries (first page u32, pages u32), then those pages as one LZ4 block
//! 9 forget    what came before was a measurement of the path: count from here
//! ```
//! Numbers are little endian. Page numbers fit 32 bits up to 16 TiB of guest memory.

use std::ops::Range;

/// Bytes of a message slot: the longest message carries a block of a disk.
pub const SLOT_BYTES: u32 = (64 << 10) + 4096;
/// Bytes before the entries.
pub const HEAD_BYTES: usize = 16;
/// Most pages of one hash question.
pub const HASH_PAGES_MAX: u64 = 2048;
/// Most ranges in one zero message.
pub const ZERO_RANGES_MAX: usize = (SLOT_BYTES as usize - HEAD_BYTES) / 8;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Clear these pages.
    Zero(Vec<Range<u64>>),
    /// Say when everything before this has been placed.
    Barrier(u64),
    /// It has.
    Reached(u64),
    /// Hash these pages.
    Hash(Range<u64>),
    /// Their hashes.
    Hashes {
        /// The first page.
        first: u64,
        /// One for each page.
        hashes: Vec<u128>,
    },
    /// No more from this lane.
    End,
    /// What came before was a measurement and does not count.
    Forget,
}

impl Told {
    /// As bytes, at most [`SLOT_BYTES`] of them, written to `out` from its start.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        let (kind, count, a) = match self {
            Told::Zero(ranges) => (1u32, ranges.len() as u32, 0),
            Told::Barrier(number) => (2, 0, *number),
            Told::Reached(number) => (3, 0, *number),
            Told::Hash(pages) => (4, (pages.end - pages.start) as u32, pages.start),
            Told::Hashes { first, hashes } => (5, hashes.len() as u32, *first),
            Told::End => (6, 0, 0),
            Told::Forget => (9, 0, 0),
        };
        out.extend(kind.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend(a.to_le_bytes());
        match self {
            Told::Zero(ranges) => {
                for range in ranges {
                    out.extend((range.start as u32).to_le_bytes());
                    out.extend(((range.end - range.start) as u32).to_le_bytes());
                }
            }
            Told::Hashes { hashes, .. } => {
                for hash in hashes {
                    out.extend(hash.to_le_bytes());
                }
            }
            _ => {}
        }
        debug_assert!(out.len() <= SLOT_BYTES as usize);
    }

    /// From bytes that came over the network, for a guest of `pages`; the error says what is wrong with them.
    pub fn decode(bytes: &[u8], pages: u64) -> Result<Told, String> {
        let word =
            |at: usize| bytes.get(at..at + 4).and_then(|b| Some(u32::from_le_bytes(b.try_into().ok()?)));
        let (Some(kind), Some(count)) = (word(0), word(4)) else { return Err("it is cut short".into()) };
        let Some(a) = bytes.get(8..16).and_then(|b| Some(u64::from_le_bytes(b.try_into().ok()?))) else {
            return Err("it is cut short".into());
        };
        let entries = &bytes[HEAD_BYTES..];
        let entry_bytes = match kind {
            1 => 8,
            5 => 16,
            _ => 0,
        };
        if entries.len() != count as usize * entry_bytes && entry_bytes != 0 {
            return Err(format!("{count} entries in {} bytes", entries.len()));
        }
        let inside = |first: u64, count: u64| match first.checked_add(count) {
            Some(end) if end <= pages => Ok(first..end),
            _ => Err(format!("pages {first}..+{count} of a guest with {pages}")),
        };
        Ok(match kind {
            1 => {
                let range = |e: &[u8]| {
                    let part =
                        |at: usize| u64::from(u32::from_le_bytes([e[at], e[at + 1], e[at + 2], e[at + 3]]));
                    inside(part(0), part(4))
                };
                let ranges: Vec<Range<u64>> = entries.chunks_exact(8).map(range).collect::<Result<_, _>>()?;
                // No page is cleared twice by one message: its work is bounded by the guest, not by its ranges.
                let cleared = ranges.iter().map(|range| range.end - range.start).sum::<u64>();
                if cleared > pages {
                    return Err(format!("{cleared} zero pages of a guest with {pages}"));
                }
                Told::Zero(ranges)
            }
            2 => Told::Barrier(a),
            3 => Told::Reached(a),
            4 if u64::from(count) <= HASH_PAGES_MAX => Told::Hash(inside(a, u64::from(count))?),
            5 => {
                inside(a, u64::from(count))?;
                let hash = |e: &[u8]| e.iter().rev().fold(0u128, |h, b| h << 8 | u128::from(*b));
                Told::Hashes { first: a, hashes: entries.chunks_exact(16).map(hash).collect() }
            }
            6 => Told::End,
            9 => Told::Forget,
            _ => return Err(format!("kind {kind} with {count} entries")),
        })
    }
}

/// A message that carries contents, which are not copied to be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A block of a disk.
    Block {
        /// Its number.
        block: u64,
        /// Its contents.
        bytes: &'a [u8],
    },
    /// Pages of a guest.
    Packed {
        /// Which.
        runs: Vec<Range<u64>>,
        /// All of them, compressed together.
        bytes: &'a [u8],
    },
}

/// Begins a message with `block`; its `len` bytes are to be appended.
pub fn begin_block(out: &mut Vec<u8>, block: u64, len: usize) {
    out.clear();
    out.extend(7u32.to_le_bytes());
    out.extend((len as u32).to_le_bytes());
    out.extend(block.to_le_bytes());
}

/// Begins a message with the pages `runs`; their compressed contents are to be appended.
pub fn begin_packed(out: &mut Vec<u8>, runs: &[Range<u64>]) {
    out.clear();
    out.extend(8u32.to_le_bytes());
    out.extend((runs.len() as u32).to_le_bytes());
    out.extend(0u64.to_le_bytes());
    for run in runs {
        out.extend((run.start as u32).to_le_bytes());
        out.extend(((run.end - run.start) as u32).to_le_bytes());
    }
}

/// The contents that `message` carries, or `None` when it is one of [`Told`]. `most` are the blocks or pages that
/// there are.
pub fn payload(message: &[u8], most: u64) -> Option<Result<Payload<'_>, String>> {
    let word = |at: usize| message.get(at..at + 4).and_then(|b| Some(u32::from_le_bytes(b.try_into().ok()?)));
    let (kind, count) = (word(0)?, word(4)? as usize);
    let (low, high) = (word(8)?, word(12)?);
    let rest = message.get(HEAD_BYTES..)?;
    match kind {
        7 => {
            let block = u64::from(high) << 32 | u64::from(low);
            Some(if block >= most || rest.len() != count {
                Err(format!("block {block} of a disk with {most}, {} of {count} bytes", rest.len()))
            } else {
                Ok(Payload::Block { block, bytes: rest })
            })
        }
        8 => {
            let Some((entries, bytes)) = count.checked_mul(8).and_then(|n| rest.split_at_checked(n)) else {
                return Some(Err(format!("{count} runs of pages in {} bytes", rest.len())));
            };
            let mut runs = Vec::with_capacity(count);
            for entry in entries.chunks_exact(8) {
                let part = |at: usize| {
                    u64::from(u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]))
                };
                let (first, end) = (part(0), part(0) + part(4));
                if end > most {
                    return Some(Err(format!("pages {first}..{end} of a guest with {most}")));
                }
                runs.push(first..end);
            }
            Some(Ok(Payload::Packed { runs, bytes }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_survive_the_wire_and_lies_about_them_do_not() {
        let mut bytes = vec![];
        begin_block(&mut bytes, 9, 3);
        bytes.extend([1, 2, 3]);
        assert_eq!(payload(&bytes, 10), Some(Ok(Payload::Block { block: 9, bytes: &[1, 2, 3] })));
        assert!(payload(&bytes, 9).unwrap().is_err(), "a block beyond the disk");
        bytes.pop();
        assert!(payload(&bytes, 10).unwrap().is_err(), "cut short");
        let runs = [3..5, 7..8];
        begin_packed(&mut bytes, &runs);
        bytes.push(42);
        assert_eq!(payload(&bytes, 8), Some(Ok(Payload::Packed { runs: runs.to_vec(), bytes: &[42] })));
        assert!(payload(&bytes, 7).unwrap().is_err(), "pages beyond the guest");
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(payload(&bytes, u64::MAX).unwrap().is_err(), "more runs than bytes");
        Told::Barrier(1).encode(&mut bytes);
        assert_eq!(payload(&bytes, 10), None);
        assert_eq!(payload(&bytes[..7], 10), None);
    }

    #[test]
    fn messages_survive_the_wire() {
        let hashes = vec![0, 1, u128::MAX, 0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10];
        for told in [
            Told::Zero(vec![0..1, 5..99]),
            Told::Barrier(u64::MAX),
            Told::Reached(7),
            Told::Hash(90..100),
            Told::Hashes { first: 96, hashes },
            Told::End,
            Told::Forget,
        ] {
            let mut bytes = vec![];
            told.encode(&mut bytes);
            assert_eq!(Told::decode(&bytes, 100), Ok(told));
        }
    }

    #[test]
    fn lies_are_refused() {
        let mut bytes = vec![];
        Told::Zero(vec![0..1, 5..101]).encode(&mut bytes);
        assert!(Told::decode(&bytes, 100).is_err(), "pages beyond the guest");
        Told::Hash(99..101).encode(&mut bytes);
        assert!(Told::decode(&bytes, 100).is_err());
        Told::Zero(vec![0..1, 2..3]).encode(&mut bytes);
        assert!(Told::decode(&bytes[..bytes.len() - 1], 100).is_err(), "cut short");
        Told::Zero(vec![0..100; 8000]).encode(&mut bytes);
        assert!(Told::decode(&bytes, 100).is_err(), "one message that clears the guest 8000 times");
        Told::Zero(vec![50..100, 0..50]).encode(&mut bytes);
        assert!(Told::decode(&bytes, 100).is_ok(), "all of it once");
        Told::Zero(vec![0..1, 2..3]).encode(&mut bytes);
        for len in 0..HEAD_BYTES {
            assert!(Told::decode(&bytes[..len], 100).is_err());
        }
        bytes[0] = 77;
        assert!(Told::decode(&bytes, 100).is_err(), "unknown kind");
        // A count that would need more memory than the message has bytes.
        bytes[0] = 5;
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Told::decode(&bytes, u64::MAX).is_err());
    }
}
