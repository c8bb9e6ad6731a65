//! SESSION_SETUP, TREE_CONNECT and their ends (MS-SMB2 2.2.5 to 2.2.12): enough to reach a share and to leave it.

use crate::error::WireError;
use crate::wire::{HEADER_BYTES, slice_at, u16_at, u32_at, utf16};

/// What a logon is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A new session. The one of this number, where it is not 0, is ours and ends with all that it holds open.
    New {
        /// The session that is to end.
        previous_session_id: u64,
    },
    /// One more channel of the session whose number the header carries.
    Binding,
}

/// The body of one round of SESSION_SETUP.
pub fn encode_setup(token: &[u8], purpose: Purpose) -> Vec<u8> {
    let (flags, previous) = match purpose {
        Purpose::New { previous_session_id } => (0, previous_session_id),
        Purpose::Binding => (1, 0),
    };
    const FIXED: usize = 24;
    let mut body = Vec::with_capacity(FIXED + token.len());
    body.extend_from_slice(&25u16.to_le_bytes());
    body.push(flags);
    body.push(1); // signing enabled
    body.extend_from_slice(&[0; 8]); // capabilities, channel
    body.extend_from_slice(&((HEADER_BYTES + FIXED) as u16).to_le_bytes());
    body.extend_from_slice(&(token.len() as u16).to_le_bytes());
    body.extend_from_slice(&previous.to_le_bytes());
    body.extend_from_slice(token);
    body
}

/// The answer to one round of SESSION_SETUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupAnswer {
    /// The server let the caller in as a guest instead.
    pub guest: bool,
    /// The session has no identity.
    pub anonymous: bool,
    /// The server will talk to this session only encrypted.
    pub encryption_required: bool,
    /// The server's token.
    pub token: Vec<u8>,
}

impl SetupAnswer {
    /// Read it out of a whole message (header included).
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "SESSION_SETUP answer";
        if u16_at(message, HEADER_BYTES, WHAT)? != 9 {
            return Err(WireError::Malformed { what: WHAT, why: "its structure size is not 9" });
        }
        let flags = u16_at(message, HEADER_BYTES + 2, WHAT)?;
        let offset = u16_at(message, HEADER_BYTES + 4, WHAT)? as usize;
        let length = u16_at(message, HEADER_BYTES + 6, WHAT)? as usize;
        let token = if length == 0 { &[] } else { slice_at(message, offset, length, WHAT)? };
        Ok(Self {
            guest: flags & 1 != 0,
            anonymous: flags & 2 != 0,
            encryption_required: flags & 4 != 0,
            token: token.to_vec(),
        })
    }
}

/// The body that attaches to a share, for example `\\server\IPC$`.
pub fn encode_tree_connect(path: &str) -> Vec<u8> {
    const FIXED: usize = 8;
    let path = utf16(path);
    let mut body = Vec::with_capacity(FIXED + path.len());
    body.extend_from_slice(&9u16.to_le_bytes());
    body.extend_from_slice(&0u16.to_le_bytes());
    body.extend_from_slice(&((HEADER_BYTES + FIXED) as u16).to_le_bytes());
    body.extend_from_slice(&(path.len() as u16).to_le_bytes());
    body.extend_from_slice(&path);
    body
}

/// The answer to TREE_CONNECT, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeAnswer {
    /// The share holds files.
    pub is_disk: bool,
    /// The server will serve this share only encrypted.
    pub encryption_required: bool,
}

impl TreeAnswer {
    /// Read it out of a whole message.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "TREE_CONNECT answer";
        if u16_at(message, HEADER_BYTES, WHAT)? != 16 {
            return Err(WireError::Malformed { what: WHAT, why: "its structure size is not 16" });
        }
        let kind = u16_at(message, HEADER_BYTES + 2, WHAT)? & 0xFF;
        let flags = u32_at(message, HEADER_BYTES + 4, WHAT)?;
        Ok(Self { is_disk: kind == 1, encryption_required: flags & 0x8000 != 0 })
    }
}

/// The body of TREE_DISCONNECT and of LOGOFF.
pub const LEAVE: [u8; 4] = [4, 0, 0, 0];
