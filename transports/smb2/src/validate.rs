//! FSCTL_VALIDATE_NEGOTIATE_INFO (MS-SMB2 2.2.31.4, 2.2.32.6): a server of 3.0 or 3.0.2 is asked, signed, what was agreed on in the open before there was
//! a key. 3.1.1 hashes the negotiation into its keys and needs no such question.

use crate::error::WireError;
use crate::negotiate::{Capabilities, Dialect, NegotiateResponse, SECURITY_MODE};
use crate::wire::{HEADER_BYTES, array_at, slice_at, u16_at, u32_at};

/// The control code of the question.
pub const FSCTL_VALIDATE_NEGOTIATE_INFO: u32 = 0x0014_0204;

/// Length of what an IOCTL says before its input.
const FIXED_BYTES: usize = 56;
/// Length of the answer's own part.
const ANSWER_BYTES: usize = 24;

/// The body of the question: once more what NEGOTIATE said.
pub fn encode(dialects: &[Dialect], client_guid: [u8; 16]) -> Vec<u8> {
    let mut input = Vec::with_capacity(24 + 2 * dialects.len());
    input.extend_from_slice(&Capabilities::ALL.0.to_le_bytes());
    input.extend_from_slice(&client_guid);
    input.extend_from_slice(&SECURITY_MODE.to_le_bytes());
    input.extend_from_slice(&(dialects.len() as u16).to_le_bytes());
    for dialect in dialects {
        input.extend_from_slice(&dialect.0.to_le_bytes());
    }
    let mut body = Vec::with_capacity(FIXED_BYTES + input.len());
    body.extend_from_slice(&57u16.to_le_bytes());
    body.extend_from_slice(&0u16.to_le_bytes());
    body.extend_from_slice(&FSCTL_VALIDATE_NEGOTIATE_INFO.to_le_bytes());
    body.extend_from_slice(&[0xFF; 16]); // no file: the question is to the server
    let at = (HEADER_BYTES + FIXED_BYTES) as u32;
    for field in [at, input.len() as u32, 0, 0, 0, ANSWER_BYTES as u32, 1, 0u32] {
        body.extend_from_slice(&field.to_le_bytes());
    }
    body.extend_from_slice(&input);
    body
}

/// What differs between the answer and what NEGOTIATE had answered; `None` where nothing does.
pub fn difference(message: &[u8], agreed: &NegotiateResponse) -> Result<Option<&'static str>, WireError> {
    const WHAT: &str = "VALIDATE_NEGOTIATE_INFO answer";
    if u16_at(message, HEADER_BYTES, WHAT)? != 49 {
        return Err(WireError::Malformed { what: WHAT, why: "its structure size is not 49" });
    }
    let offset = u32_at(message, HEADER_BYTES + 32, WHAT)? as usize;
    let length = u32_at(message, HEADER_BYTES + 36, WHAT)? as usize;
    if length != ANSWER_BYTES || offset < HEADER_BYTES + 48 {
        return Err(WireError::Malformed { what: WHAT, why: "it is not where or as long as it must be" });
    }
    let answer = slice_at(message, offset, length, WHAT)?;
    Ok(if u32_at(answer, 0, WHAT)? != agreed.capabilities.0 {
        Some("capabilities")
    } else if array_at::<16>(answer, 4, WHAT)? != agreed.server_guid {
        Some("identity")
    } else if (u16_at(answer, 20, WHAT)? & 2 != 0) != agreed.signing_required {
        Some("signing rule")
    } else if u16_at(answer, 22, WHAT)? != agreed.dialect.0 {
        Some("dialect")
    } else {
        None
    })
}
