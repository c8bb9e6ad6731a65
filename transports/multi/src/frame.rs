//! The header that travels before every message of a stripe: 64 bytes, little endian.
//!
//! ```text
//!  0  magic 0x5053    2  kind    3  zero    4  length u32    8  sequence u64    16  target offset u64
//! 24  immediate u32  28  index of the receive that it takes u32
//! 32  every sequence below this has arrived u64    40  bit i: this + 1 + i has arrived too, 3 × u64
//! ```
//!
//! Every header carries the acknowledgements of its direction, so data going back needs no message for them.

/// Length of a header.
pub(crate) const HEAD_BYTES: u32 = 64;

/// Most messages between the oldest unacknowledged and the newest: the acknowledgement's bits and one.
pub(crate) const WINDOW_MAX: u32 = 192;

const MAGIC: u16 = 0x5053;

/// What a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// A message for the peer's next receive.
    Send,
    /// Bytes for a place in the peer's region.
    Write,
    /// The same, and it takes a receive.
    WriteImmediate,
    /// Nothing but acknowledgements.
    Ack,
    /// Path `sequence` is lost at this end; connect its generation `index` next.
    Lost,
    /// This end leaves.
    Bye,
}

impl FrameKind {
    pub(crate) fn takes_receive(self) -> bool {
        matches!(self, FrameKind::Send | FrameKind::WriteImmediate)
    }
}

/// What has arrived, as the receiver tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Everything below.
    pub(crate) below: u64,
    /// Bit i stands for `below + 1 + i`.
    pub(crate) beyond: [u64; 3],
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: FrameKind,
    pub(crate) len: u32,
    pub(crate) sequence: u64,
    pub(crate) offset: u64,
    pub(crate) immediate: u32,
    pub(crate) index: u32,
    pub(crate) arrived: Arrived,
}

impl Head {
    /// A header without a message.
    pub(crate) fn bare(kind: FrameKind, arrived: Arrived) -> Head {
        Head { kind, len: 0, sequence: 0, offset: 0, immediate: 0, index: 0, arrived }
    }

    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES as usize] {
        let mut bytes = [0; HEAD_BYTES as usize];
        bytes[0..2].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[2] = match self.kind {
            FrameKind::Send => 1,
            FrameKind::Write => 2,
            FrameKind::WriteImmediate => 3,
            FrameKind::Ack => 4,
            FrameKind::Lost => 5,
            FrameKind::Bye => 6,
        };
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.immediate.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.index.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.arrived.below.to_le_bytes());
        for (word, at) in self.arrived.beyond.iter().zip([40, 48, 56]) {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// `None` when the bytes are no header.
    pub(crate) fn decode(bytes: &[u8; HEAD_BYTES as usize]) -> Option<Head> {
        let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        if half(0)? != MAGIC || bytes[3] != 0 {
            return None;
        }
        let kind = match bytes[2] {
            1 => FrameKind::Send,
            2 => FrameKind::Write,
            3 => FrameKind::WriteImmediate,
            4 => FrameKind::Ack,
            5 => FrameKind::Lost,
            6 => FrameKind::Bye,
            _ => return None,
        };
        Some(Head {
            kind,
            len: word(4)?,
            sequence: long(8)?,
            offset: long(16)?,
            immediate: word(24)?,
            index: word(28)?,
            arrived: Arrived { below: long(32)?, beyond: [long(40)?, long(48)?, long(56)?] },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_survive_the_wire(
            kind in prop_oneof![Just(FrameKind::Send), Just(FrameKind::Write), Just(FrameKind::WriteImmediate), Just(FrameKind::Ack),
                Just(FrameKind::Lost), Just(FrameKind::Bye)],
            numbers in any::<(u32, u64, u64, u32, u32, u64, [u64; 3])>(),
        ) {
            let (len, sequence, offset, immediate, index, below, beyond) = numbers;
            let arrived = Arrived { below, beyond };
            let head = Head { kind, len, sequence, offset, immediate, index, arrived };
            prop_assert_eq!(Head::decode(&head.encode()), Some(head));
        }

        #[test]
        fn rubbish_is_refused_or_read_never_a_panic(bytes in any::<[u8; 32]>(), more in any::<[u8; 32]>()) {
            let mut all = [0; 64];
            all[..32].copy_from_slice(&bytes);
            all[32..].copy_from_slice(&more);
            if let Some(head) = Head::decode(&all) {
                prop_assert_eq!(Head::decode(&head.encode()), Some(head));
            }
        }
    }
}
