//! IOCTL (MS-SMB2 3.3.5.15): whether the negotiation arrived as it was sent, and this host's NICs. Everything else is refused.

use crate::file::FileId;
use crate::interfaces::{FSCTL_QUERY_NETWORK_INTERFACE_INFO, encode_list};
use crate::negotiate::{Capabilities, Dialect};
use crate::server::negotiate::{Agreed, SECURITY_MODE};
use crate::server::put::Put;
use crate::server::request::{Ioctl, Request};
use crate::server::session::Session;
use crate::server::window::pays;
use crate::server::{IO_BYTES_MAX, Server};
use crate::status::NtStatus;
use crate::wire::{FLAG_RELATED, FLAG_SIGNED, HEADER_BYTES, array_at, slice_at, u16_at, u32_at};

const FSCTL_VALIDATE_NEGOTIATE_INFO: u32 = 0x0014_0204;
const FSCTL_CREATE_OR_GET_OBJECT_ID: u32 = 0x0009_00C0;
const FSCTL_DFS_GET_REFERRALS: u32 = 0x0006_0194;
const FSCTL_DFS_GET_REFERRALS_EX: u32 = 0x0006_01B0;

/// What becomes of an IOCTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controlled {
    /// It has an answer.
    Answered,
    /// Somebody changed the negotiation on its way: the connection ends silently (3.3.5.15.12).
    HangUp,
}

/// Answers one.
pub fn control(
    request: &Request<'_>,
    agreed: &Agreed,
    session: &Session,
    file_before: Option<FileId>,
    server: &Server,
    out: &mut Vec<u8>,
) -> Result<Controlled, NtStatus> {
    let asked = Ioctl::decode(request)?;
    if asked.room > IO_BYTES_MAX || !pays(request.header.charge, asked.input.len(), asked.room as usize) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let of_no_file = asked.file.0 == [0xFF; 16];
    let related = request.header.flags & FLAG_RELATED != 0;
    let answer = match asked.code {
        // At 3.1.1 the logon's hash has shown it already (3.3.5.15.12).
        // Nor would it show anything if everybody on the way could have written it.
        FSCTL_VALIDATE_NEGOTIATE_INFO
            if agreed.dialect == Dialect::V3_1_1
                || !(request.sealed || request.header.flags & FLAG_SIGNED != 0)
                || !is_as_agreed(asked.input, agreed) =>
        {
            return Ok(Controlled::HangUp);
        }
        FSCTL_VALIDATE_NEGOTIATE_INFO => {
            let mut answer = vec![];
            answer.double(agreed.capabilities);
            answer.extend_from_slice(&server.guid);
            answer.word(SECURITY_MODE);
            answer.word(agreed.dialect.0);
            answer
        }
        FSCTL_QUERY_NETWORK_INTERFACE_INFO if !of_no_file => return Err(NtStatus::INVALID_PARAMETER),
        FSCTL_QUERY_NETWORK_INTERFACE_INFO if agreed.capabilities & Capabilities::MULTI_CHANNEL == 0 => {
            return Err(NtStatus::NOT_SUPPORTED);
        }
        FSCTL_QUERY_NETWORK_INTERFACE_INFO => encode_list(&server.interfaces()),
        FSCTL_DFS_GET_REFERRALS | FSCTL_DFS_GET_REFERRALS_EX => return Err(NtStatus::FS_DRIVER_REQUIRED),
        // What remains is about a file, in a compound perhaps about that of the request before.
        code => {
            let named = if of_no_file && related { file_before } else { None };
            let facts = session.handle(named.unwrap_or(asked.file))?.facts();
            if code != FSCTL_CREATE_OR_GET_OBJECT_ID {
                return Err(NtStatus::INVALID_DEVICE_REQUEST);
            }
            let mut answer = server.guid.to_vec();
            answer[..8].copy_from_slice(&facts.number.to_le_bytes());
            answer.zeros(48);
            answer
        }
    };
    if answer.len() > asked.room as usize {
        return Err(NtStatus::BUFFER_TOO_SMALL);
    }
    const FIXED: u32 = 48;
    out.word(49);
    out.zeros(2);
    out.double(asked.code);
    out.extend_from_slice(&asked.file.0);
    let at = HEADER_BYTES as u32 + FIXED;
    [at, 0, at, answer.len() as u32, 0, 0].into_iter().for_each(|field| out.double(field));
    out.extend_from_slice(&answer);
    Ok(Controlled::Answered)
}

/// Whether the client asked in NEGOTIATE what it says now that it asked.
fn is_as_agreed(input: &[u8], agreed: &Agreed) -> bool {
    const WHAT: &str = "VALIDATE_NEGOTIATE_INFO";
    let asked = &agreed.asked;
    let same = || {
        let count = usize::from(u16_at(input, 22, WHAT)?);
        let dialects = slice_at(input, 24, count * 2, WHAT)?;
        Ok::<_, crate::error::WireError>(
            u32_at(input, 0, WHAT)? == asked.capabilities
                && array_at::<16>(input, 4, WHAT)? == asked.client_guid
                && u16_at(input, 20, WHAT)? == asked.security_mode
                && dialects
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|id| u16::from_le_bytes(*id))
                    .eq(asked.dialects.iter().copied()),
        )
    };
    same().unwrap_or(false)
}
