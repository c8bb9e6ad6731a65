//! SESSION_SETUP and TREE_CONNECT (MS-SMB2 2.2.5, 2.2.6, 2.2.9): enough to reach IPC$.
//!
//! The security token is raw NTLMSSP, without the SPNEGO wrapping: Windows, Samba and ksmbd all take
//! it, and it saves a DER parser that would face the network.

use crate::error::WireError;
use crate::wire::{HEADER_BYTES, slice_at, u16_at, utf16};

/// The body of one round of SESSION_SETUP.
pub fn encode_setup(token: &[u8]) -> Vec<u8> {
    const FIXED: usize = 24;
    let mut body = Vec::with_capacity(FIXED + token.len());
    body.extend_from_slice(&25u16.to_le_bytes());
    body.push(0); // not binding to another connection
    body.push(1); // signing enabled
    body.extend_from_slice(&[0; 8]); // capabilities, channel
    body.extend_from_slice(&((HEADER_BYTES + FIXED) as u16).to_le_bytes());
    body.extend_from_slice(&(token.len() as u16).to_le_bytes());
    body.extend_from_slice(&[0; 8]); // no previous session
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
            token: ntlm_token(token).to_vec(),
        })
    }
}

/// The NTLMSSP message inside a token. A server may wrap its challenge in SPNEGO although ours was
/// bare; the inner message is then the tail that begins with the signature.
fn ntlm_token(token: &[u8]) -> &[u8] {
    let start = token.windows(8).position(|window| window == b"NTLMSSP\0").unwrap_or(0);
    &token[start..]
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
