//! Memory of this end that a server is to reach by itself over SMB Direct: buffer descriptors (MS-SMBD 2.2.3.1) and the channel that a READ or WRITE
//! names for them (MS-SMB2 2.2.19, 2.2.21).
//!
//! What a request says of its length is the sum of what its descriptors hold, because servers look at the first and not at the second: ksmbd of Linux
//! 6.12 reports 128 KiB written where it was given 64 KiB to fetch.

/// Length of one descriptor.
pub const DESCRIPTOR_BYTES: usize = 16;
/// Most descriptors in a request here; nobody says how many a server takes.
pub const DESCRIPTORS_MAX: usize = 16;

/// A piece of registered memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Address of its first byte, as the adapter knows it.
    pub address: u64,
    /// The key that allows it.
    pub token: u32,
    /// Its length in bytes.
    pub length: u32,
}

/// What becomes of the first key when the server has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// It lives on (SMB2_CHANNEL_RDMA_V1).
    Kept,
    /// The answer ends it (SMB2_CHANNEL_RDMA_V1_INVALIDATE, from 3.0.2 on).
    Ended,
}

impl Channel {
    pub(crate) fn number(self) -> u32 {
        match self {
            Channel::Kept => 1,
            Channel::Ended => 2,
        }
    }
}

/// The memory of one request, filled or emptied in the order of its descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    bytes: [u8; DESCRIPTORS_MAX * DESCRIPTOR_BYTES],
    count: usize,
    length: u32,
    channel: Channel,
}

impl Placement {
    /// Of these pieces; `None` where they are none, too many, empty, or longer together than a request can say.
    pub fn new(pieces: &[Descriptor], channel: Channel) -> Option<Placement> {
        if pieces.is_empty() || pieces.len() > DESCRIPTORS_MAX {
            return None;
        }
        let mut bytes = [0; DESCRIPTORS_MAX * DESCRIPTOR_BYTES];
        let mut length = 0u32;
        for (piece, room) in pieces.iter().zip(bytes.as_chunks_mut::<DESCRIPTOR_BYTES>().0) {
            length = length.checked_add(piece.length).filter(|_| piece.length > 0)?;
            room[..8].copy_from_slice(&piece.address.to_le_bytes());
            room[8..12].copy_from_slice(&piece.token.to_le_bytes());
            room[12..].copy_from_slice(&piece.length.to_le_bytes());
        }
        Some(Placement { bytes, count: pieces.len(), length, channel })
    }

    /// The descriptors as they go into a request, behind its body.
    pub fn encoded(&self) -> &[u8] {
        &self.bytes[..self.count * DESCRIPTOR_BYTES]
    }

    /// How many bytes they hold together: what the request moves.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// The channel of the request.
    pub fn channel(&self) -> Channel {
        self.channel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(length: u32) -> Descriptor {
        Descriptor { address: 0x7FE4_A5C8_D000, token: 0x0401, length }
    }

    /// The descriptor of a WRITE of 1 MiB to a kernel server, as captured.
    #[test]
    fn a_descriptor_is_laid_out_as_others_do() {
        let one = Placement::new(&[piece(1 << 20)], Channel::Kept).unwrap();
        assert_eq!(
            one.encoded(),
            [0x00, 0xD0, 0xC8, 0xA5, 0xE4, 0x7F, 0, 0, 0x01, 0x04, 0, 0, 0, 0, 0x10, 0]
        );
        assert_eq!((one.length(), one.channel().number()), (1 << 20, 1));
    }

    #[test]
    fn a_request_moves_what_its_descriptors_hold() {
        let three = Placement::new(&[piece(1), piece(4095), piece(65_537)], Channel::Ended).unwrap();
        assert_eq!((three.length(), three.encoded().len(), three.channel().number()), (69_633, 48, 2));
        assert!(Placement::new(&[], Channel::Kept).is_none());
        assert!(Placement::new(&[piece(0)], Channel::Kept).is_none());
        assert!(Placement::new(&[piece(u32::MAX), piece(1)], Channel::Kept).is_none(), "the sum overflows");
        assert!(Placement::new(&[piece(8); DESCRIPTORS_MAX + 1], Channel::Kept).is_none());
    }
}
