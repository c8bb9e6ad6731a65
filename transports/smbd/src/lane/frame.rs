//! What the two ends of a lane say to each other in SMB Direct messages, where a file client and its server say SMB2. A
//! small message carries its bytes; a large one a buffer descriptor, by which the receiver fetches them with an RDMA READ,
//! as a server does for an SMB2 WRITE. Every message tells how many receives its sender has posted, and how many large
//! messages it has fetched, since the lane began: no message comes without a receive, and the memory of a large one is
//! free when it was fetched.

use crate::codec::{BufferDescriptor, DESCRIPTOR_BYTES};

/// Length of the head of every message.
pub const HEAD_BYTES: usize = 16;
/// Length of the head of a large message, with its descriptor.
pub const LARGE_BYTES: usize = HEAD_BYTES + DESCRIPTOR_BYTES;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Nothing but its counts.
    News,
    /// Its bytes follow.
    Small {
        /// How many.
        bytes: u32,
    },
    /// Its bytes are to be fetched.
    Large(BufferDescriptor),
}

/// The head of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub kind: FrameKind,
    /// Receives posted since the lane began, modulo 2^32.
    pub receives: u32,
    /// Large messages fetched since then, modulo 2^32.
    pub fetched: u32,
}

impl Head {
    /// As bytes, and how many of them are sent.
    pub fn encode(&self) -> ([u8; LARGE_BYTES], usize) {
        let mut out = [0; LARGE_BYTES];
        let (kind, bytes, length) = match self.kind {
            FrameKind::News => (1, 0, HEAD_BYTES),
            FrameKind::Small { bytes } => (2, bytes, HEAD_BYTES),
            FrameKind::Large(descriptor) => (3, descriptor.bytes, LARGE_BYTES),
        };
        out[0] = kind;
        out[4..8].copy_from_slice(&self.receives.to_le_bytes());
        out[8..12].copy_from_slice(&self.fetched.to_le_bytes());
        out[12..16].copy_from_slice(&bytes.to_le_bytes());
        if let FrameKind::Large(descriptor) = self.kind {
            out[HEAD_BYTES..].copy_from_slice(&descriptor.encode());
        }
        (out, length)
    }

    /// From the first bytes of a message that is `message_bytes` long in all. `None`: it is none of ours.
    pub fn decode(bytes: &[u8], message_bytes: u64) -> Option<Head> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let (&kind, receives, fetched, length) = (bytes.first()?, word(4)?, word(8)?, word(12)?);
        let (kind, whole) = match kind {
            1 => (FrameKind::News, HEAD_BYTES as u64),
            2 => (FrameKind::Small { bytes: length }, HEAD_BYTES as u64 + u64::from(length)),
            3 => {
                let descriptor = BufferDescriptor::decode(bytes.get(HEAD_BYTES..LARGE_BYTES)?).ok()?;
                (FrameKind::Large(descriptor), LARGE_BYTES as u64)
            }
            _ => return None,
        };
        (whole == message_bytes).then_some(Head { kind, receives, fetched })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written_and_nothing_else_is() {
        let descriptor = BufferDescriptor { address: 0x7f00_1234_5678, token: 9, bytes: 65_536 };
        for kind in [
            FrameKind::News,
            FrameKind::Small { bytes: 0 },
            FrameKind::Small { bytes: 4096 },
            FrameKind::Large(descriptor),
        ] {
            let head = Head { kind, receives: 7, fetched: u32::MAX };
            let (bytes, length) = head.encode();
            let whole =
                length as u64 + if let FrameKind::Small { bytes } = kind { u64::from(bytes) } else { 0 };
            assert_eq!(Head::decode(&bytes[..length], whole), Some(head));
            assert_eq!(Head::decode(&bytes[..length], whole + 1), None);
            assert_eq!(Head::decode(&bytes[..length - 1], whole), None);
        }
        assert_eq!(Head::decode(&[0; LARGE_BYTES], 16), None);
        assert_eq!(Head::decode(&[], 0), None);
    }
}
