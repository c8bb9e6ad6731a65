//! The four structures of MS-SMBD (section 2.2) as bytes: all little-endian. What is decoded here has every property that
//! a message has by itself; what depends on the connection's state is checked by `credits.rs` and `reassembly.rs`.

/// The only version there is, 1.0.
pub const VERSION: u16 = 0x0100;
/// Length of a negotiate request.
pub const NEGOTIATE_REQUEST_BYTES: usize = 20;
/// Length of a negotiate response.
pub const NEGOTIATE_RESPONSE_BYTES: usize = 32;
/// Length of a data transfer header without payload.
pub const EMPTY_BYTES: usize = 20;
/// Where payload begins in a data transfer message that has some.
pub const PAYLOAD_OFFSET: usize = 24;
/// Length of a buffer descriptor.
pub const DESCRIPTOR_BYTES: usize = 16;
/// Smallest MaxReceiveSize that a peer may name (MS-SMBD 3.1.5.2, 3.1.5.3).
pub const RECEIVE_BYTES_MIN: u32 = 128;
/// Smallest MaxFragmentedSize that a peer may name.
pub const FRAGMENTED_BYTES_MIN: u32 = 131_072;
/// NTSTATUS of a version that is not spoken.
pub const STATUS_NOT_SUPPORTED: u32 = 0xC000_00BB;
/// Bit of [`DataHeader::flags`]: the peer wants to hear something at once (keep-alive).
pub const RESPONSE_REQUESTED: u16 = 0x0001;

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Fewer bytes than the structure has.
    #[error("{what} of {bytes} bytes, shorter than {least}")]
    Short {
        /// The structure.
        what: &'static str,
        /// What came.
        bytes: usize,
        /// What it takes.
        least: usize,
    },
    /// A field has a value that the specification forbids.
    #[error("{field} {value}: {rule}")]
    Field {
        /// The field, by the specification's name.
        field: &'static str,
        /// What it says.
        value: u64,
        /// What it must be.
        rule: &'static str,
    },
    /// The versions have none in common with ours.
    #[error("it speaks SMB Direct versions {min:#06x} to {max:#06x}, and only 0x0100 exists")]
    Version {
        /// Lowest.
        min: u16,
        /// Highest.
        max: u16,
    },
    /// The peer refused.
    #[error("it refused the negotiation with status {0:#010x}")]
    Refused(u32),
}

fn field(field: &'static str, value: impl Into<u64>, rule: &'static str) -> Fault {
    Fault::Field { field, value: value.into(), rule }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn long_enough(what: &'static str, bytes: &[u8], least: usize) -> Result<(), Fault> {
    if bytes.len() < least { Err(Fault::Short { what, bytes: bytes.len(), least }) } else { Ok(()) }
}

/// What the initiator asks (2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegotiateRequest {
    /// Send credits wanted.
    pub credits_requested: u16,
    /// Size of the largest message that it would send, in bytes.
    pub preferred_send_bytes: u32,
    /// Size of the largest message that it takes, in bytes.
    pub max_receive_bytes: u32,
    /// Size of the largest message after reassembly that it takes, in bytes.
    pub max_fragmented_bytes: u32,
}

impl NegotiateRequest {
    /// As bytes.
    pub fn encode(&self) -> [u8; NEGOTIATE_REQUEST_BYTES] {
        let mut out = [0; NEGOTIATE_REQUEST_BYTES];
        out[0..2].copy_from_slice(&VERSION.to_le_bytes());
        out[2..4].copy_from_slice(&VERSION.to_le_bytes());
        out[6..8].copy_from_slice(&self.credits_requested.to_le_bytes());
        out[8..12].copy_from_slice(&self.preferred_send_bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.max_receive_bytes.to_le_bytes());
        out[16..20].copy_from_slice(&self.max_fragmented_bytes.to_le_bytes());
        out
    }

    /// From bytes (3.1.5.2). [`Fault::Version`] is answered with a status, every other fault by dropping the connection.
    pub fn decode(bytes: &[u8]) -> Result<NegotiateRequest, Fault> {
        long_enough("a negotiate request", bytes, NEGOTIATE_REQUEST_BYTES)?;
        let (min, max) = (u16_at(bytes, 0), u16_at(bytes, 2));
        if !(min..=max).contains(&VERSION) {
            return Err(Fault::Version { min, max });
        }
        let request = NegotiateRequest {
            credits_requested: u16_at(bytes, 6),
            preferred_send_bytes: u32_at(bytes, 8),
            max_receive_bytes: u32_at(bytes, 12),
            max_fragmented_bytes: u32_at(bytes, 16),
        };
        at_least_one("CreditsRequested", request.credits_requested)?;
        sizes(request.max_receive_bytes, request.max_fragmented_bytes)?;
        Ok(request)
    }
}

fn at_least_one(name: &'static str, credits: u16) -> Result<(), Fault> {
    if credits == 0 { Err(field(name, credits, "must be at least 1")) } else { Ok(()) }
}

fn sizes(receive: u32, fragmented: u32) -> Result<(), Fault> {
    if receive < RECEIVE_BYTES_MIN {
        return Err(field("MaxReceiveSize", receive, "must be at least 128"));
    }
    if fragmented < FRAGMENTED_BYTES_MIN {
        return Err(field("MaxFragmentedSize", fragmented, "must be at least 131072"));
    }
    Ok(())
}

/// What the acceptor answers (2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegotiateResponse {
    /// Send credits wanted.
    pub credits_requested: u16,
    /// Messages that the initiator may send now.
    pub credits_granted: u16,
    /// Most bytes that one request may have moved by RDMA.
    pub max_read_write_bytes: u32,
    /// Size of the largest message that it will send, in bytes.
    pub preferred_send_bytes: u32,
    /// Size of the largest message that it takes, in bytes.
    pub max_receive_bytes: u32,
    /// Size of the largest message after reassembly that it takes, in bytes.
    pub max_fragmented_bytes: u32,
}

impl NegotiateResponse {
    /// As bytes, with status 0.
    pub fn encode(&self) -> [u8; NEGOTIATE_RESPONSE_BYTES] {
        let mut out = [0; NEGOTIATE_RESPONSE_BYTES];
        for at in [0, 2, 4] {
            out[at..at + 2].copy_from_slice(&VERSION.to_le_bytes());
        }
        out[8..10].copy_from_slice(&self.credits_requested.to_le_bytes());
        out[10..12].copy_from_slice(&self.credits_granted.to_le_bytes());
        out[16..20].copy_from_slice(&self.max_read_write_bytes.to_le_bytes());
        out[20..24].copy_from_slice(&self.preferred_send_bytes.to_le_bytes());
        out[24..28].copy_from_slice(&self.max_receive_bytes.to_le_bytes());
        out[28..32].copy_from_slice(&self.max_fragmented_bytes.to_le_bytes());
        out
    }

    /// The answer to a request of another version: its status, and nothing else (3.1.5.2).
    pub fn refusal() -> [u8; NEGOTIATE_RESPONSE_BYTES] {
        let mut out = [0; NEGOTIATE_RESPONSE_BYTES];
        out[0..2].copy_from_slice(&VERSION.to_le_bytes());
        out[2..4].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&STATUS_NOT_SUPPORTED.to_le_bytes());
        out
    }

    /// From bytes, as the answer to a request that named `max_receive_bytes` (3.1.5.3). A refusal is told before anything
    /// else of it is looked at, because its other fields are zero.
    pub fn decode(bytes: &[u8], max_receive_bytes: u32) -> Result<NegotiateResponse, Fault> {
        long_enough("a negotiate response", bytes, NEGOTIATE_RESPONSE_BYTES)?;
        let status = u32_at(bytes, 12);
        if status != 0 {
            return Err(Fault::Refused(status));
        }
        let version = u16_at(bytes, 4);
        if version != VERSION {
            return Err(Fault::Version { min: version, max: version });
        }
        let response = NegotiateResponse {
            credits_requested: u16_at(bytes, 8),
            credits_granted: u16_at(bytes, 10),
            max_read_write_bytes: u32_at(bytes, 16),
            preferred_send_bytes: u32_at(bytes, 20),
            max_receive_bytes: u32_at(bytes, 24),
            max_fragmented_bytes: u32_at(bytes, 28),
        };
        at_least_one("CreditsRequested", response.credits_requested)?;
        at_least_one("CreditsGranted", response.credits_granted)?;
        if response.preferred_send_bytes > max_receive_bytes {
            let rule = "must not exceed the MaxReceiveSize of the request";
            return Err(field("PreferredSendSize", response.preferred_send_bytes, rule));
        }
        sizes(response.max_receive_bytes, response.max_fragmented_bytes)?;
        Ok(response)
    }
}

/// The head of every message after the negotiation (2.2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataHeader {
    /// Send credits that the sender wants in all.
    pub credits_requested: u16,
    /// Further messages that the receiver of this one may send.
    pub credits_granted: u16,
    /// [`RESPONSE_REQUESTED`], or nothing.
    pub flags: u16,
    /// Bytes of the same message that come after this fragment.
    pub remaining_bytes: u32,
    /// Where the payload begins.
    pub payload_offset: u32,
    /// Bytes of payload; none in a message that only grants.
    pub payload_bytes: u32,
}

impl DataHeader {
    /// The header of a fragment of `payload_bytes`, after which `remaining_bytes` follow.
    pub fn fragment(payload_bytes: u32, remaining_bytes: u32) -> DataHeader {
        let payload_offset = if payload_bytes == 0 { 0 } else { PAYLOAD_OFFSET as u32 };
        DataHeader { payload_bytes, remaining_bytes, payload_offset, ..DataHeader::default() }
    }

    /// As bytes, and how many of them are sent: 20 without payload, otherwise 24 with the padding.
    pub fn encode(&self) -> ([u8; PAYLOAD_OFFSET], usize) {
        let mut out = [0; PAYLOAD_OFFSET];
        out[0..2].copy_from_slice(&self.credits_requested.to_le_bytes());
        out[2..4].copy_from_slice(&self.credits_granted.to_le_bytes());
        out[4..6].copy_from_slice(&self.flags.to_le_bytes());
        out[8..12].copy_from_slice(&self.remaining_bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.payload_offset.to_le_bytes());
        out[16..20].copy_from_slice(&self.payload_bytes.to_le_bytes());
        (out, if self.payload_bytes == 0 { EMPTY_BYTES } else { PAYLOAD_OFFSET })
    }

    /// From the first bytes of a message that is `message_bytes` long (3.1.5.9). Sums are made in 64 bits.
    pub fn decode(
        bytes: &[u8],
        message_bytes: usize,
        max_fragmented_bytes: u32,
    ) -> Result<DataHeader, Fault> {
        let have = &bytes[..bytes.len().min(message_bytes)];
        long_enough("a data transfer message", have, EMPTY_BYTES)?;
        let header = DataHeader {
            credits_requested: u16_at(have, 0),
            credits_granted: u16_at(have, 2),
            flags: u16_at(have, 4),
            remaining_bytes: u32_at(have, 8),
            payload_offset: u32_at(have, 12),
            payload_bytes: u32_at(have, 16),
        };
        at_least_one("CreditsRequested", header.credits_requested)?;
        if !header.payload_offset.is_multiple_of(8) {
            return Err(field("DataOffset", header.payload_offset, "must be a multiple of 8"));
        }
        if header.payload_bytes > 0 && (header.payload_offset as usize) < PAYLOAD_OFFSET {
            return Err(field("DataOffset", header.payload_offset, "must not lie inside the header"));
        }
        let end = u64::from(header.payload_offset) + u64::from(header.payload_bytes);
        if end > message_bytes as u64 {
            return Err(field("DataOffset + DataLength", end, "must not exceed the message"));
        }
        let whole = u64::from(header.payload_bytes) + u64::from(header.remaining_bytes);
        if whole > u64::from(max_fragmented_bytes) {
            let rule = "must not exceed our MaxFragmentedSize";
            return Err(field("DataLength + RemainingDataLength", whole, rule));
        }
        Ok(header)
    }
}

/// Memory of the peer that it allows to be read or written (2.2.3.1): what SMB2 READ and WRITE carry as channel information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferDescriptor {
    /// Address of the first byte.
    pub address: u64,
    /// The key.
    pub token: u32,
    /// Length in bytes.
    pub bytes: u32,
}

impl BufferDescriptor {
    /// As bytes.
    pub fn encode(&self) -> [u8; DESCRIPTOR_BYTES] {
        let mut out = [0; DESCRIPTOR_BYTES];
        out[0..8].copy_from_slice(&self.address.to_le_bytes());
        out[8..12].copy_from_slice(&self.token.to_le_bytes());
        out[12..16].copy_from_slice(&self.bytes.to_le_bytes());
        out
    }

    /// From bytes. A range that leaves the address space is none.
    pub fn decode(bytes: &[u8]) -> Result<BufferDescriptor, Fault> {
        long_enough("a buffer descriptor", bytes, DESCRIPTOR_BYTES)?;
        let address = bytes.get(0..8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        let descriptor = BufferDescriptor { address, token: u32_at(bytes, 8), bytes: u32_at(bytes, 12) };
        if address.checked_add(u64::from(descriptor.bytes)).is_none() {
            return Err(field("Offset", address, "with Length leaves the address space"));
        }
        Ok(descriptor)
    }
}

#[cfg(test)]
mod tests;
