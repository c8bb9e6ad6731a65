//! The outer shapes of SMB2 over TCP: the 4-byte frame and the 64-byte header (MS-SMB2 2.1, 2.2.1).
//!
//! All reading goes through the bounds-checked helpers here, so that no decoder indexes a slice
//! itself. Encrypted, compressed and SMB 1 messages are refused by name, and so are compounds where none was asked for.

use crate::error::WireError;
use crate::status::NtStatus;

/// Longest message accepted from a server of which no file is read. The largest answer is then an interface list of at
/// most [`crate::interfaces::MAX_OUTPUT_BYTES`]; a negotiate answer's blobs are 16-bit lengths.
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// Length of the SMB2 header.
pub const HEADER_BYTES: usize = 64;

const PROTOCOL_ID: [u8; 4] = [0xFE, b'S', b'M', b'B'];

/// The header flag of an answer.
pub const FLAG_RESPONSE: u32 = 0x0000_0001;
/// The header flag of an asynchronous (interim or late) answer.
pub const FLAG_ASYNC: u32 = 0x0000_0002;
/// Where a header says how far behind it the next one of a compound begins.
pub(crate) const NEXT_AT: usize = 20;

/// The header flag of a request that takes session, share and file from the one before it in a compound.
pub const FLAG_RELATED: u32 = 0x0000_0004;
/// The header flag of a signed message.
pub const FLAG_SIGNED: u32 = 0x0000_0008;
/// The header flag of a request that went out before, on a channel that was lost.
pub const FLAG_REPLAY: u32 = 0x2000_0000;

/// The commands this crate speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Agree on a dialect.
    Negotiate,
    /// Log on.
    SessionSetup,
    /// End the session.
    Logoff,
    /// Attach to a share.
    TreeConnect,
    /// Leave it.
    TreeDisconnect,
    /// Open or make a file.
    Create,
    /// Close it.
    Close,
    /// Have it reach the disk.
    Flush,
    /// Read from it.
    Read,
    /// Write to it.
    Write,
    /// Keep others off a part of a file.
    Lock,
    /// Control codes, among them the interface query.
    Ioctl,
    /// Give up a request; it has no answer of its own.
    Cancel,
    /// Is anybody there?
    Echo,
    /// List a directory.
    QueryDirectory,
    /// Tell of changes in a directory.
    ChangeNotify,
    /// Ask about a file or what it lies on.
    QueryInfo,
    /// Change what is known of a file.
    SetInfo,
    /// Agree to cache less of a file (the acknowledgment of an oplock or lease break).
    OplockBreak,
    /// Anything else.
    Other(u16),
}

impl Command {
    fn code(self) -> u16 {
        match self {
            Self::Negotiate => 0,
            Self::SessionSetup => 1,
            Self::Logoff => 2,
            Self::TreeConnect => 3,
            Self::TreeDisconnect => 4,
            Self::Create => 5,
            Self::Close => 6,
            Self::Flush => 7,
            Self::Read => 8,
            Self::Write => 9,
            Self::Lock => 10,
            Self::Ioctl => 11,
            Self::Cancel => 12,
            Self::Echo => 13,
            Self::QueryDirectory => 14,
            Self::ChangeNotify => 15,
            Self::QueryInfo => 16,
            Self::SetInfo => 17,
            Self::OplockBreak => 18,
            Self::Other(code) => code,
        }
    }

    /// Its name in MS-SMB2, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Negotiate => "NEGOTIATE",
            Self::SessionSetup => "SESSION_SETUP",
            Self::Logoff => "LOGOFF",
            Self::TreeConnect => "TREE_CONNECT",
            Self::TreeDisconnect => "TREE_DISCONNECT",
            Self::Create => "CREATE",
            Self::Close => "CLOSE",
            Self::Flush => "FLUSH",
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Lock => "LOCK",
            Self::Ioctl => "IOCTL",
            Self::Cancel => "CANCEL",
            Self::Echo => "ECHO",
            Self::QueryDirectory => "QUERY_DIRECTORY",
            Self::ChangeNotify => "CHANGE_NOTIFY",
            Self::QueryInfo => "QUERY_INFO",
            Self::SetInfo => "SET_INFO",
            Self::OplockBreak => "OPLOCK_BREAK",
            Self::Other(_) => "a request",
        }
    }

    fn from_code(code: u16) -> Self {
        match code {
            0 => Self::Negotiate,
            1 => Self::SessionSetup,
            2 => Self::Logoff,
            3 => Self::TreeConnect,
            4 => Self::TreeDisconnect,
            5 => Self::Create,
            6 => Self::Close,
            7 => Self::Flush,
            8 => Self::Read,
            9 => Self::Write,
            10 => Self::Lock,
            11 => Self::Ioctl,
            12 => Self::Cancel,
            13 => Self::Echo,
            14 => Self::QueryDirectory,
            15 => Self::ChangeNotify,
            16 => Self::QueryInfo,
            17 => Self::SetInfo,
            18 => Self::OplockBreak,
            other => Self::Other(other),
        }
    }
}

/// The fields of the header that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What is asked or answered.
    pub command: Command,
    /// Credits that a request costs. 0 is the only value that 2.0.2 knows; later dialects read it as 1.
    pub charge: u16,
    /// Outcome, in an answer; in a request of 3.x the number of channels that were lost so far (ChannelSequence).
    pub status: NtStatus,
    /// Credits asked for, or granted.
    pub credits: u16,
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
    /// A question outside any session, which asks for a few credits so that the next one is never without.
    pub fn request(command: Command, message_id: u64) -> Self {
        let status = NtStatus::SUCCESS;
        Self { command, charge: 0, status, credits: 16, flags: 0, message_id, tree_id: 0, session_id: 0 }
    }

    /// The header alone, unsigned.
    pub fn encode_head(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&PROTOCOL_ID);
        out[4..6].copy_from_slice(&64u16.to_le_bytes());
        out[6..8].copy_from_slice(&self.charge.to_le_bytes());
        out[8..12].copy_from_slice(&self.status.0.to_le_bytes());
        out[12..14].copy_from_slice(&self.command.code().to_le_bytes());
        out[14..16].copy_from_slice(&self.credits.to_le_bytes());
        out[16..20].copy_from_slice(&self.flags.to_le_bytes());
        out[24..32].copy_from_slice(&self.message_id.to_le_bytes());
        out[36..40].copy_from_slice(&self.tree_id.to_le_bytes());
        out[40..48].copy_from_slice(&self.session_id.to_le_bytes());
        out
    }

    /// Header and body as one message, unsigned and unframed.
    pub fn encode(&self, body: &[u8]) -> Vec<u8> {
        [&self.encode_head(), body].concat()
    }

    /// Read the header of a message that stands alone.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        match Self::decode_chained(message)? {
            (header, 0) => Ok(header),
            _ => Err(Self::compounded()),
        }
    }

    /// An answer in a compound to a question that was not.
    pub(crate) fn compounded() -> WireError {
        WireError::Malformed {
            what: "SMB2 header",
            why: "the answer is compounded although the question was not",
        }
    }

    /// Read the header of a message that others may follow: it, and where the next begins, or 0.
    pub fn decode_chained(message: &[u8]) -> Result<(Self, usize), WireError> {
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
        let header = Self {
            command: Command::from_code(u16_at(message, 12, "SMB2 header")?),
            charge: u16_at(message, 6, "SMB2 header")?,
            status: NtStatus(u32_at(message, 8, "SMB2 header")?),
            credits: u16_at(message, 14, "SMB2 header")?,
            flags: u32_at(message, 16, "SMB2 header")?,
            message_id: u64_at(message, 24, "SMB2 header")?,
            tree_id: u32_at(message, 36, "SMB2 header")?,
            session_id: u64_at(message, 40, "SMB2 header")?,
        };
        Ok((header, u32_at(message, NEXT_AT, "SMB2 header")? as usize))
    }
}

/// Put a message into its Direct-TCP frame: a zero byte and a 24-bit big-endian length (MS-SMB2 2.1).
pub fn frame(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    let mut out = Vec::with_capacity(4 + message.len());
    out.extend_from_slice(&[0, length[1], length[2], length[3]]);
    out.extend_from_slice(message);
    out
}

/// The length a frame announces, checked before anything is allocated for it.
pub fn frame_length(prefix: [u8; 4], limit: usize) -> Result<usize, WireError> {
    if prefix[0] != 0 {
        // NetBIOS session packets have other types here; anything else is another protocol.
        return Err(WireError::NotSmb { first: prefix });
    }
    let length = u32::from_be_bytes([0, prefix[1], prefix[2], prefix[3]]) as usize;
    if length > limit {
        return Err(WireError::Oversize { length, limit });
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
            charge: 16,
            status: NtStatus::ACCESS_DENIED,
            credits: 0x0102,
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
        assert_eq!(frame_length([0, 0, 0, 200], MAX_MESSAGE_BYTES), Ok(200));
        assert_eq!(frame(&[7; 300])[..4], [0, 0, 1, 44]);
        assert!(matches!(
            frame_length([0, 0xFF, 0xFF, 0xFF], MAX_MESSAGE_BYTES),
            Err(WireError::Oversize { .. })
        ));
        assert!(matches!(frame_length(*b"SSH-", MAX_MESSAGE_BYTES), Err(WireError::NotSmb { .. })));
        assert!(matches!(frame_length(*b"HTTP", MAX_MESSAGE_BYTES), Err(WireError::NotSmb { .. })));
        assert!(matches!(frame_length([0, 0, 0, 3], MAX_MESSAGE_BYTES), Err(WireError::Truncated { .. })));
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
