//! The header before each message of a framed lane: 20 bytes, little endian.
//!
//! ```text
//!  0  magic 'P'    1  verb (1 send, 2 write, 3 write with immediate)    2..4  zero
//!  4..8  length    8..16  offset in the receiver's region    16..20  immediate
//! ```

use pathproof_api::{Op, Verb};

/// Length of a header.
pub(crate) const HEADER_BYTES: usize = 20;

const MAGIC: u8 = b'P';

/// What a frame asks of its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Send,
    Write,
    WriteImmediate,
}

/// A header, read or to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) len: u32,
    pub(crate) remote_offset: u64,
    pub(crate) immediate: u32,
}

impl Frame {
    /// The header for `op`. `submit` lets no verb through that has none.
    pub(crate) fn of(op: &Op) -> Frame {
        let kind = match op.verb {
            Verb::Write => FrameKind::Write,
            Verb::WriteImmediate => FrameKind::WriteImmediate,
            _ => FrameKind::Send,
        };
        Frame { kind, len: op.len, remote_offset: op.remote_offset, immediate: op.immediate }
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = MAGIC;
        bytes[1] = match self.kind {
            FrameKind::Send => 1,
            FrameKind::Write => 2,
            FrameKind::WriteImmediate => 3,
        };
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.remote_offset.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.immediate.to_le_bytes());
        bytes
    }

    /// `None` when the bytes are no header of ours.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Frame> {
        let kind = match bytes[1] {
            1 => FrameKind::Send,
            2 => FrameKind::Write,
            3 => FrameKind::WriteImmediate,
            _ => return None,
        };
        if bytes[0] != MAGIC || bytes[2..4] != [0, 0] {
            return None;
        }
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let remote_offset = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
        Some(Frame { kind, len: word(4)?, remote_offset, immediate: word(16)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_api::RegionId;

    #[test]
    fn headers_survive_the_wire_and_rubbish_does_not() {
        let op =
            Op { immediate: 9, verb: Verb::WriteImmediate, ..Op::write(1, RegionId(0), 0, 4096, 1 << 40) };
        let bytes = Frame::of(&op).encode();
        let back = Frame::decode(&bytes).unwrap();
        assert_eq!(
            (back.kind, back.len, back.remote_offset, back.immediate),
            (FrameKind::WriteImmediate, 4096, 1 << 40, 9)
        );
        for spoiled in 0..4 {
            let mut bytes = bytes;
            bytes[spoiled] = 77;
            assert_eq!(Frame::decode(&bytes), None, "byte {spoiled}");
        }
    }
}
