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
//! ```
//! Numbers are little endian. Page numbers fit 32 bits up to 16 TiB of guest memory.

use std::ops::Range;

/// Bytes of a message slot: the longest message is a reply with hashes.
pub const SLOT_BYTES: u32 = 64 << 10;
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
            1 => Told::Zero(
                entries
                    .chunks_exact(8)
                    .map(|e| {
                        let part = |at: usize| {
                            u64::from(u32::from_le_bytes([e[at], e[at + 1], e[at + 2], e[at + 3]]))
                        };
                        inside(part(0), part(4))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            2 => Told::Barrier(a),
            3 => Told::Reached(a),
            4 if u64::from(count) <= HASH_PAGES_MAX => Told::Hash(inside(a, u64::from(count))?),
            5 => {
                inside(a, u64::from(count))?;
                let hash = |e: &[u8]| e.iter().rev().fold(0u128, |h, b| h << 8 | u128::from(*b));
                Told::Hashes { first: a, hashes: entries.chunks_exact(16).map(hash).collect() }
            }
            6 => Told::End,
            _ => return Err(format!("kind {kind} with {count} entries")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
