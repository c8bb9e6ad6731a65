//! What clients ask, read out of whole messages (MS-SMB2 2.2.3 to 2.2.39). Every offset and length is a stranger's number.
//!
//! Strict where Windows is: a structure of another size, or a buffer that does not lie behind it in its message, is refused.

use crate::error::WireError;
use crate::file::FileId;
use crate::negotiate::{Dialect, ENCRYPTION, MAX_CONTEXTS, PREAUTH, SIGNING};
use crate::status::NtStatus;
use crate::wire::{HEADER_BYTES, Header, array_at, slice_at, u16_at, u32_at, u64_at};

/// One request of a message.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its header.
    pub header: Header,
    /// From its header to its end.
    pub message: &'a [u8],
    /// It came encrypted.
    pub sealed: bool,
}

/// A refusal, or the shape of a request that deserves one.
impl From<WireError> for NtStatus {
    fn from(_: WireError) -> NtStatus {
        NtStatus::INVALID_PARAMETER
    }
}

const WHAT: &str = "request";

impl<'a> Request<'a> {
    /// Checks the size that the structure says it has; `fixed` bytes of it are there then.
    fn structure(&self, size: u16, fixed: usize) -> Result<(), NtStatus> {
        slice_at(self.message, HEADER_BYTES, fixed, WHAT)?;
        match self.word(0)? {
            found if found == size => Ok(()),
            _ => Err(NtStatus::INVALID_PARAMETER),
        }
    }

    fn byte(&self, at: usize) -> Result<u8, NtStatus> {
        Ok(array_at::<1>(self.message, HEADER_BYTES + at, WHAT)?[0])
    }

    fn word(&self, at: usize) -> Result<u16, NtStatus> {
        Ok(u16_at(self.message, HEADER_BYTES + at, WHAT)?)
    }

    fn double(&self, at: usize) -> Result<u32, NtStatus> {
        Ok(u32_at(self.message, HEADER_BYTES + at, WHAT)?)
    }

    fn quad(&self, at: usize) -> Result<u64, NtStatus> {
        Ok(u64_at(self.message, HEADER_BYTES + at, WHAT)?)
    }

    fn file(&self, at: usize) -> Result<FileId, NtStatus> {
        Ok(FileId(array_at(self.message, HEADER_BYTES + at, WHAT)?))
    }

    /// A buffer whose place is told by its offset from the header; it must lie behind the `fixed` bytes.
    fn buffer(&self, offset: usize, length: usize, fixed: usize) -> Result<&'a [u8], NtStatus> {
        if length == 0 {
            return Ok(&[]);
        }
        if offset < HEADER_BYTES + fixed {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        Ok(slice_at(self.message, offset, length, WHAT)?)
    }
}

/// UTF-16LE text; `None` where it is none.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
}

/// NEGOTIATE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiate {
    /// Dialects offered, as they were.
    pub dialects: Vec<u16>,
    /// Security mode: 2 means that the client demands signatures.
    pub security_mode: u16,
    /// Capabilities of the client.
    pub capabilities: u32,
    /// The client.
    pub client_guid: [u8; 16],
    /// With 3.1.1: how many contexts for the logon's hash, and whether SHA-512 is among the hashes.
    pub preauth: (u16, bool),
    /// Ciphers, in the client's order.
    pub ciphers: Vec<u16>,
    /// Signing algorithms, in the client's order.
    pub signing: Vec<u16>,
}

impl Negotiate {
    /// Read it out of a request.
    pub fn decode(request: &Request<'_>) -> Result<Negotiate, NtStatus> {
        request.structure(36, 36)?;
        let count = usize::from(request.word(2)?);
        let list = slice_at(request.message, HEADER_BYTES + 36, count * 2, WHAT)?;
        let mut asked = Negotiate {
            dialects: ids(list),
            security_mode: request.word(4)?,
            capabilities: request.double(8)?,
            client_guid: array_at(request.message, HEADER_BYTES + 12, WHAT)?,
            ..Negotiate::default()
        };
        if count == 0 {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        if asked.dialects.contains(&Dialect::V3_1_1.0) {
            asked.contexts(request.message, request.double(28)? as usize, request.word(32)?)?;
        }
        Ok(asked)
    }

    fn contexts(&mut self, message: &[u8], start: usize, count: u16) -> Result<(), NtStatus> {
        if count > MAX_CONTEXTS || !start.is_multiple_of(8) {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        let mut at = start;
        for _ in 0..count {
            at = at.saturating_add(7) & !7;
            let kind = u16_at(message, at, WHAT)?;
            let length = usize::from(u16_at(message, at.saturating_add(2), WHAT)?);
            let data = slice_at(message, at.saturating_add(8), length, WHAT)?;
            match kind {
                PREAUTH => {
                    let hashes = ids(slice_at(data, 4, usize::from(u16_at(data, 0, WHAT)?) * 2, WHAT)?);
                    self.preauth = (self.preauth.0 + 1, hashes.contains(&1));
                }
                ENCRYPTION => self.ciphers = listed(data)?,
                SIGNING => self.signing = listed(data)?,
                _ => {}
            }
            at = at.saturating_add(8).saturating_add(length);
        }
        Ok(())
    }
}

fn listed(data: &[u8]) -> Result<Vec<u16>, WireError> {
    let count = usize::from(u16_at(data, 0, WHAT)?);
    Ok(ids(slice_at(data, 2, count * 2, WHAT)?))
}

fn ids(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks::<2>().0.iter().map(|id| u16::from_le_bytes(*id)).collect()
}

/// SESSION_SETUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup<'a> {
    /// It is about one more channel of a session.
    pub binding: bool,
    /// The client demands signatures.
    pub signing_required: bool,
    /// A session of the same account that is to end.
    pub previous_session_id: u64,
    /// The security token.
    pub token: &'a [u8],
}

impl<'a> Setup<'a> {
    /// Read it out of a request.
    pub fn decode(request: &Request<'a>) -> Result<Setup<'a>, NtStatus> {
        const FIXED: usize = 24;
        request.structure(25, FIXED)?;
        let (offset, length) = (usize::from(request.word(12)?), usize::from(request.word(14)?));
        Ok(Setup {
            binding: request.byte(2)? & 1 != 0,
            signing_required: request.byte(3)? & 2 != 0,
            previous_session_id: request.quad(16)?,
            token: request.buffer(offset, length, FIXED)?,
        })
    }
}

/// The share that a TREE_CONNECT names, without the server before it.
pub fn tree_name(request: &Request<'_>) -> Result<String, NtStatus> {
    const FIXED: usize = 8;
    request.structure(9, FIXED)?;
    let path = request.buffer(usize::from(request.word(4)?), usize::from(request.word(6)?), FIXED)?;
    let path = text(path).ok_or(NtStatus::INVALID_PARAMETER)?;
    path.strip_prefix("\\\\")
        .and_then(|rest| rest.split_once('\\'))
        .map(|(_, share)| share.to_owned())
        .ok_or(NtStatus::BAD_NETWORK_NAME)
}

/// TREE_DISCONNECT, LOGOFF, ECHO, which say nothing more than their names.
pub fn empty(request: &Request<'_>) -> Result<(), NtStatus> {
    request.structure(4, 4)
}

/// CREATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// The path in the share.
    pub path: String,
    /// What the handle is to be good for.
    pub access: u32,
    /// What others may do meanwhile: 1 read, 2 write, 4 delete.
    pub sharing: u32,
    /// What becomes of the name (2.2.13: 0 to 5).
    pub disposition: u32,
    /// Options.
    pub options: u32,
    /// Attributes for a new file.
    pub attributes: u32,
}

impl Create {
    /// Read it out of a request.
    pub fn decode(request: &Request<'_>) -> Result<Create, NtStatus> {
        const FIXED: usize = 56;
        request.structure(57, FIXED)?;
        let path = request.buffer(usize::from(request.word(44)?), usize::from(request.word(46)?), FIXED)?;
        let (contexts, length) = (request.double(48)? as usize, request.double(52)? as usize);
        check_contexts(request.buffer(contexts, length, FIXED)?)?;
        Ok(Create {
            path: text(path).ok_or(NtStatus::OBJECT_NAME_INVALID)?,
            access: request.double(24)?,
            attributes: request.double(28)?,
            sharing: request.double(32)?,
            disposition: request.double(36)?,
            options: request.double(40)?,
        })
    }
}

/// A chain of create contexts (2.2.13.2). None is served here, and none need be; but the chain must be one.
fn check_contexts(buffer: &[u8]) -> Result<(), NtStatus> {
    let mut rest = buffer;
    while !rest.is_empty() {
        let next = u32_at(rest, 0, WHAT)? as usize;
        let one = if next == 0 { rest } else { slice_at(rest, 0, next, WHAT)? };
        let (name, name_bytes) = (u16_at(one, 4, WHAT)?, u16_at(one, 6, WHAT)?);
        let (data, data_bytes) = (u16_at(one, 10, WHAT)?, u32_at(one, 12, WHAT)?);
        slice_at(one, usize::from(name), usize::from(name_bytes), WHAT)?;
        if data_bytes > 0 {
            slice_at(one, usize::from(data), data_bytes as usize, WHAT)?;
        }
        if name < 16 || !next.is_multiple_of(8) || (next != 0 && next < 16) {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        rest = if next == 0 { &[] } else { &rest[next..] };
    }
    Ok(())
}

/// CLOSE: the handle, and whether attributes are wanted back.
pub fn close(request: &Request<'_>) -> Result<(FileId, bool), NtStatus> {
    request.structure(24, 24)?;
    Ok((request.file(8)?, request.word(2)? & 1 != 0))
}

/// What a client says that it caches no more of (2.2.24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// An oplock of this handle.
    Oplock(FileId),
    /// A lease, by its key and not by a handle.
    Lease,
}

/// OPLOCK_BREAK: the two kinds are told apart by their size.
pub fn acknowledged(request: &Request<'_>) -> Result<Acknowledged, NtStatus> {
    if request.word(0)? == 36 {
        return request.structure(36, 36).map(|()| Acknowledged::Lease);
    }
    request.structure(24, 24)?;
    request.file(8).map(Acknowledged::Oplock)
}

/// FLUSH: the handle.
pub fn flush(request: &Request<'_>) -> Result<FileId, NtStatus> {
    request.structure(24, 24)?;
    request.file(8)
}

/// A piece of the client's memory (MS-SMBD 2.2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Where it begins.
    pub address: u64,
    /// The key that allows it.
    pub token: u32,
    /// Its length in bytes.
    pub bytes: u32,
}

/// Where the data of a READ or WRITE is, or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// In the message, or in the answer.
    Inline(&'a [u8]),
    /// In the client's memory, as long as the request or longer, all together.
    Remote {
        /// Its pieces, in order.
        pieces: Vec<Descriptor>,
        /// The first piece's key ends with the answer.
        invalidate: bool,
    },
}

/// READ or WRITE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// The handle.
    pub file: FileId,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u32,
    /// Fewer are an error.
    pub least_bytes: u32,
    /// Where the data is.
    pub data: Data<'a>,
}

impl<'a> Transfer<'a> {
    /// Read it out of a READ.
    pub fn decode_read(request: &Request<'a>) -> Result<Transfer<'a>, NtStatus> {
        const FIXED: usize = 48;
        request.structure(49, FIXED)?;
        let bytes = request.double(4)?;
        Ok(Transfer {
            file: request.file(16)?,
            offset: request.quad(8)?,
            bytes,
            least_bytes: request.double(32)?,
            data: match request.double(36)? {
                0 => Data::Inline(&[]),
                channel => remote(request, channel, bytes, (44, 46), FIXED)?,
            },
        })
    }

    /// Read it out of a WRITE.
    pub fn decode_write(request: &Request<'a>) -> Result<Transfer<'a>, NtStatus> {
        const FIXED: usize = 48;
        request.structure(49, FIXED)?;
        let (offset, inline) = (usize::from(request.word(2)?), request.double(4)?);
        let (bytes, data) = match request.double(32)? {
            0 => (inline, Data::Inline(request.buffer(offset, inline as usize, FIXED)?)),
            // Nothing inline then, and the length stands in RemainingBytes (3.3.5.13).
            _ if inline != 0 || offset != 0 => return Err(NtStatus::INVALID_PARAMETER),
            channel => {
                let bytes = request.double(36)?;
                (bytes, remote(request, channel, bytes, (40, 42), FIXED)?)
            }
        };
        Ok(Transfer { file: request.file(16)?, offset: request.quad(8)?, bytes, least_bytes: 0, data })
    }
}

fn remote<'a>(
    request: &Request<'a>,
    channel: u32,
    bytes: u32,
    (offset_at, length_at): (usize, usize),
    fixed: usize,
) -> Result<Data<'a>, NtStatus> {
    let (offset, length) = (usize::from(request.word(offset_at)?), usize::from(request.word(length_at)?));
    let list = request.buffer(offset, length, fixed)?;
    let (pieces, rest) = list.as_chunks::<16>();
    let pieces: Vec<Descriptor> = pieces
        .iter()
        .map(|piece| {
            let [a, b, c, d, e, f, g, h, rest @ ..] = *piece;
            let [t0, t1, t2, t3, l0, l1, l2, l3] = rest;
            Descriptor {
                address: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                token: u32::from_le_bytes([t0, t1, t2, t3]),
                bytes: u32::from_le_bytes([l0, l1, l2, l3]),
            }
        })
        .collect();
    let sum: u64 = pieces.iter().map(|piece| u64::from(piece.bytes)).sum();
    // ksmbd of Linux 6.12 moves what there is and says that it moved all.
    if !(1..=2).contains(&channel) || !rest.is_empty() || bytes == 0 || sum < u64::from(bytes) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(Data::Remote { pieces, invalidate: channel == 2 })
}

/// QUERY_INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryInfo {
    /// 1 of a file, 2 of what it lies on, 3 of its rights, 4 of quotas.
    pub kind: u8,
    /// Which information.
    pub class: u8,
    /// Room for the answer, in bytes.
    pub room: u32,
    /// The handle.
    pub file: FileId,
}

impl QueryInfo {
    /// Read it out of a request.
    pub fn decode(request: &Request<'_>) -> Result<QueryInfo, NtStatus> {
        request.structure(41, 40)?;
        Ok(QueryInfo {
            kind: request.byte(2)?,
            class: request.byte(3)?,
            room: request.double(4)?,
            file: request.file(24)?,
        })
    }
}

/// SET_INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetInfo<'a> {
    /// As in [`QueryInfo`].
    pub kind: u8,
    /// Which information.
    pub class: u8,
    /// The handle.
    pub file: FileId,
    /// What it is to be.
    pub value: &'a [u8],
}

impl<'a> SetInfo<'a> {
    /// Read it out of a request.
    pub fn decode(request: &Request<'a>) -> Result<SetInfo<'a>, NtStatus> {
        const FIXED: usize = 32;
        request.structure(33, FIXED)?;
        let (length, offset) = (request.double(4)? as usize, usize::from(request.word(8)?));
        Ok(SetInfo {
            kind: request.byte(2)?,
            class: request.byte(3)?,
            file: request.file(16)?,
            value: request.buffer(offset, length, FIXED)?,
        })
    }
}

/// QUERY_DIRECTORY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryDirectory {
    /// Which information of each entry.
    pub class: u8,
    /// From the beginning again.
    pub restart: bool,
    /// One entry and no more.
    pub single: bool,
    /// The handle of the directory.
    pub file: FileId,
    /// Which names.
    pub pattern: String,
    /// Room for the answer, in bytes.
    pub room: u32,
}

impl QueryDirectory {
    /// Read it out of a request.
    pub fn decode(request: &Request<'_>) -> Result<QueryDirectory, NtStatus> {
        const FIXED: usize = 32;
        request.structure(33, FIXED)?;
        let flags = request.byte(3)?;
        let pattern =
            request.buffer(usize::from(request.word(24)?), usize::from(request.word(26)?), FIXED)?;
        Ok(QueryDirectory {
            class: request.byte(2)?,
            restart: flags & 0x11 != 0,
            single: flags & 0x02 != 0,
            file: request.file(8)?,
            pattern: text(pattern).ok_or(NtStatus::OBJECT_NAME_INVALID)?,
            room: request.double(28)?,
        })
    }
}

/// IOCTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ioctl<'a> {
    /// The control code.
    pub code: u32,
    /// The handle, or all ones.
    pub file: FileId,
    /// What goes with it.
    pub input: &'a [u8],
    /// Room for the answer, in bytes.
    pub room: u32,
}

impl<'a> Ioctl<'a> {
    /// Read it out of a request.
    pub fn decode(request: &Request<'a>) -> Result<Ioctl<'a>, NtStatus> {
        const FIXED: usize = 56;
        request.structure(57, FIXED)?;
        // Only control codes of the file system are spoken of here.
        if request.double(48)? & 1 == 0 {
            return Err(NtStatus::NOT_SUPPORTED);
        }
        Ok(Ioctl {
            code: request.double(4)?,
            file: request.file(8)?,
            input: request.buffer(request.double(24)? as usize, request.double(28)? as usize, FIXED)?,
            room: request.double(44)?,
        })
    }
}

#[cfg(test)]
mod tests;
