//! The outer shapes of SMB2 over TCP: the 4-byte frame and the 64-byte header (MS-SMB2 2.1, 2.2.1).
//!
//! All reading goes through the bounds-checked helpers here, so that no decoder indexes a slice
//! itself. Encrypted, compressed, compounded and SMB 1 messages are refused by name.

use crate::error::WireError;
use crate::status::NtStatus;

/// Longest message accepted from a server. The largest answer we ask for is an interface list of at
/// most [`crate::interfaces::MAX_OUTPUT_BYTES`]; a negotiate answer's blobs are 16-bit lengths.
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// Length of the SMB2 header.
pub const HEADER_BYTES: usize = 64;

const PROTOCOL_ID: [u8; 4] = [0xFE, b'S', b'M', b'B'];

/// The header flag of an answer.
pub const FLAG_RESPONSE: u32 = 0x0000_0001;
/// The header flag of an asynchronous (interim or late) answer.
pub const FLAG_ASYNC: u32 = 0x0000_0002;
/// The header flag of a signed message.
pub const FLAG_SIGNED: u32 = 0x0000_0008;

/// The commands this crate speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Agree on a dialect.
    Negotiate,
    /// Log on.
    SessionSetup,
    /// Attach to a share.
    TreeConnect,
    /// Control codes, among them the interface query.
    Ioctl,
    /// Anything else.
    Other(u16),
}

impl Command {
    fn code(self) -> u16 {
        match self {
            Self::Negotiate => 0,
            Self::SessionSetup => 1,
            Self::TreeConnect => 3,
            Self::Ioctl => 11,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u16) -> Self {
        match code {
            0 => Self::Negotiate,
            1 => Self::SessionSetup,
            3 => Self::TreeConnect,
            11 => Self::Ioctl,
            other => Self::Other(other),
        }
    }
}

/// The fields of the header that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What is asked or answered.
    pub command: Command,
    /// Outcome, in an answer.
    pub status: NtStatus,
    /// Header flags.
    pub flags: u32,
    /// Matches an answer to its question.
    pub message_id: u64,
    /// The share, 0 before any.
    pub tree_id: u32,
    /// The session, 0 before any.
    pub session_id: u64,
}

impl Header {
    /// A question outside any session.
    pub fn request(command: Command, message_id: u64) -> Self {
        Self { command, status: NtStatus::SUCCESS, flags: 0, message_id, tree_id: 0, session_id: 0 }
    }

    /// Header and body as one message, unsigned and unframed.
    pub fn encode(&self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.extend_from_slice(&PROTOCOL_ID);
        out.extend_from_slice(&64u16.to_le_bytes());
        // A charge of 0 is the only value 2.0.2 knows; later dialects read it as 1.
        out.extend_from_slice(&0u16.to_le_bytes());
        out.extend_from_slice(&self.status.0.to_le_bytes());
        out.extend_from_slice(&self.command.code().to_le_bytes());
        // Credits: a few, so that no request of ours is ever without one.
        out.extend_from_slice(&16u16.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&self.message_id.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&self.tree_id.to_le_bytes());
        out.extend_from_slice(&self.session_id.to_le_bytes());
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(body);
        out
    }

    /// Read the header of a message.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let first: [u8; 4] = array_at(message, 0, "SMB2 header")?;
        match first {
            PROTOCOL_ID => {}
            [0xFF, b'S', b'M', b'B'] => return Err(WireError::Smb1),
            [0xFD, b'S', b'M', b'B'] => return Err(WireError::Transformed { kind: "encrypted" }),
            [0xFC, b'S', b'M', b'B'] => return Err(WireError::Transformed { kind: "compressed" }),
            _ => return Err(WireError::NotSmb { first }),
        }
        if message.len() < HEADER_BYTES {
            return Err(WireError::Truncated {
                what: "SMB2 header",
                needed: HEADER_BYTES,
                available: message.len(),
            });
        }
        if u16_at(message, 4, "SMB2 header")? != 64 {
            return Err(WireError::Malformed { what: "SMB2 header", why: "its structure size is not 64" });
        }
        if u32_at(message, 20, "SMB2 header")? != 0 {
            return Err(WireError::Malformed {
                what: "SMB2 header",
                why: "the answer is compounded although the question was not",
            });
        }
        Ok(Self {
            command: Command::from_code(u16_at(message, 12, "SMB2 header")?),
            status: NtStatus(u32_at(message, 8, "SMB2 header")?),
            flags: u32_at(message, 16, "SMB2 header")?,
            message_id: u64_at(message, 24, "SMB2 header")?,
            tree_id: u32_at(message, 36, "SMB2 header")?,
            session_id: u64_at(message, 40, "SMB2 header")?,
        })
    }
}

/// Put a message into its Direct-TCP frame: a zero byte and a 24-bit big-endian length (MS-SMB2 2.1).
pub fn frame(message: &[u8]) -> Vec<u8> {
    // Our own requests are a few hundred bytes: the length always fits.
    let length = (message.len() as u32).to_be_bytes();
    let mut out = Vec::with_capacity(4 + message.len());
    out.extend_from_slice(&[0, length[1], length[2], length[3]]);
    out.extend_from_slice(message);
    out
}

/// The length a frame announces, checked before anything is allocated for it.
pub fn frame_length(prefix: [u8; 4]) -> Result<usize, WireError> {
    if prefix[0] != 0 {
        // NetBIOS session packets have other types here; anything else is another protocol.
        return Err(WireError::NotSmb { first: prefix });
    }
    let length = u32::from_be_bytes([0, prefix[1], prefix[2], prefix[3]]) as usize;
    if length > MAX_MESSAGE_BYTES {
        return Err(WireError::Oversize { length, limit: MAX_MESSAGE_BYTES });
    }
    if length < 4 {
        return Err(WireError::Truncated { what: "frame", needed: 4, available: length });
    }
    Ok(length)
}

/// `length` bytes at `at`, or a sentence saying which structure is short.
pub fn slice_at<'a>(
    bytes: &'a [u8],
    at: usize,
    length: usize,
    what: &'static str,
) -> Result<&'a [u8], WireError> {
    let needed = at.saturating_add(length);
    bytes.get(at..needed).ok_or(WireError::Truncated { what, needed, available: bytes.len() })
}

/// A fixed number of bytes at `at`.
pub fn array_at<const N: usize>(bytes: &[u8], at: usize, what: &'static str) -> Result<[u8; N], WireError> {
    let mut out = [0; N];
    out.copy_from_slice(slice_at(bytes, at, N, what)?);
    Ok(out)
}

/// A little-endian u16 at `at`.
pub fn u16_at(bytes: &[u8], at: usize, what: &'static str) -> Result<u16, WireError> {
    Ok(u16::from_le_bytes(array_at(bytes, at, what)?))
}

/// A little-endian u32 at `at`.
pub fn u32_at(bytes: &[u8], at: usize, what: &'static str) -> Result<u32, WireError> {
    Ok(u32::from_le_bytes(array_at(bytes, at, what)?))
}

/// A little-endian u64 at `at`.
pub fn u64_at(bytes: &[u8], at: usize, what: &'static str) -> Result<u64, WireError> {
    Ok(u64::from_le_bytes(array_at(bytes, at, what)?))
}

/// Text as UTF-16LE, the only encoding SMB2 and NTLM use here.
pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_round_trip() {
        let header = Header {
            command: Command::Ioctl,
            status: NtStatus::ACCESS_DENIED,
            flags: FLAG_RESPONSE,
            message_id: 0x0102_0304_0506_0708,
            tree_id: 9,
            session_id: 0xAABB_CCDD,
        };
        let message = header.encode(b"body");
        assert_eq!(message.len(), 68);
        assert_eq!(Header::decode(&message), Ok(header));
        for cut in 4..HEADER_BYTES {
            assert!(matches!(Header::decode(&message[..cut]), Err(WireError::Truncated { .. })), "{cut}");
        }
    }

    #[test]
    fn frames_are_capped_before_allocation() {
        assert_eq!(frame_length([0, 0, 0, 200]), Ok(200));
        assert_eq!(frame(&[7; 300])[..4], [0, 0, 1, 44]);
        assert!(matches!(frame_length([0, 0xFF, 0xFF, 0xFF]), Err(WireError::Oversize { .. })));
        assert!(matches!(frame_length(*b"SSH-"), Err(WireError::NotSmb { .. })));
        assert!(matches!(frame_length(*b"HTTP"), Err(WireError::NotSmb { .. })));
        assert!(matches!(frame_length([0, 0, 0, 3]), Err(WireError::Truncated { .. })));
    }

    #[test]
    fn other_kinds_of_message_are_named() {
        let with = |id: u8| {
            let mut message = Header::request(Command::Negotiate, 0).encode(&[]);
            message[0] = id;
            Header::decode(&message)
        };
        assert_eq!(with(0xFF), Err(WireError::Smb1));
        assert_eq!(with(0xFD), Err(WireError::Transformed { kind: "encrypted" }));
        assert_eq!(with(0xFC), Err(WireError::Transformed { kind: "compressed" }));
        assert!(matches!(with(0x00), Err(WireError::NotSmb { .. })));
    }

    #[test]
    fn a_compounded_answer_is_refused() {
        let mut message = Header::request(Command::Negotiate, 0).encode(&[]);
        message[20] = 64;
        assert!(matches!(Header::decode(&message), Err(WireError::Malformed { .. })));
    }
}
