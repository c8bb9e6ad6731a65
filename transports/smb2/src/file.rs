//! The bodies of requests about one file and of their answers: CREATE, READ, WRITE, FLUSH, CLOSE, QUERY_INFO (MS-SMB2 2.2.13 to 2.2.38).
//!
//! READ and WRITE are laid out without allocating. What an answer says is bounded by what was asked before anybody looks at it.

use crate::direct::Placement;
use crate::error::WireError;
use crate::wire::{HEADER_BYTES, array_at, slice_at, u16_at, u32_at, u64_at, utf16};

/// A file that a server holds open for a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct FileId(pub [u8; 16]);

impl FileId {
    /// In a compound of related requests: the file of the one before (MS-SMB2 3.2.4.1.4).
    pub const BEFORE: FileId = FileId([0xFF; 16]);
}

/// What is to become of a name that a CREATE names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It must be there.
    Open,
    /// It must not be there yet.
    Create,
}

/// What a CREATE asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create<'a> {
    /// The path in the share, its parts separated by backslashes.
    pub path: &'a str,
    /// Whether it must be new.
    pub disposition: Disposition,
    /// Data may be read and written; without it the file may only be deleted.
    pub data: bool,
    /// Nothing is kept back from the disk when a write is answered.
    pub write_through: bool,
}

impl Create<'_> {
    /// The body. The file is always deleted with its last handle, by the server, whatever becomes of this end; and nobody else may open it.
    pub fn encode(&self) -> Vec<u8> {
        const FIXED: usize = 56;
        const READ_WRITE: u32 = 0x0000_0001 | 0x0000_0002;
        const ATTRIBUTES_DELETE: u32 = 0x0000_0080 | 0x0001_0000;
        const WRITE_THROUGH: u32 = 0x0000_0002;
        const NO_DIRECTORY_DELETE_ON_CLOSE: u32 = 0x0000_0040 | 0x0000_1000;
        let name = utf16(self.path);
        let access = ATTRIBUTES_DELETE | if self.data { READ_WRITE } else { 0 };
        let options = NO_DIRECTORY_DELETE_ON_CLOSE | if self.write_through { WRITE_THROUGH } else { 0 };
        let disposition = match self.disposition {
            Disposition::Open => 1u32,
            Disposition::Create => 2,
        };
        let mut body = Vec::with_capacity(FIXED + name.len());
        body.extend_from_slice(&57u16.to_le_bytes());
        body.extend_from_slice(&[0; 2]); // security flags; no oplock
        body.extend_from_slice(&2u32.to_le_bytes()); // impersonation
        body.extend_from_slice(&[0; 16]);
        // A temporary file, as far as a server makes use of that.
        for field in [access, 0x80, 0, disposition, options] {
            body.extend_from_slice(&field.to_le_bytes());
        }
        body.extend_from_slice(&((HEADER_BYTES + FIXED) as u16).to_le_bytes());
        body.extend_from_slice(&(name.len() as u16).to_le_bytes());
        body.extend_from_slice(&[0; 8]); // no contexts
        body.extend_from_slice(&name);
        body
    }
}

/// The answer to a CREATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// The file.
    pub file: FileId,
    /// The server made it just now.
    pub is_new: bool,
    /// Its length, in bytes.
    pub end_of_file: u64,
}

impl Created {
    /// Read it out of a whole message.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "CREATE answer";
        if u16_at(message, HEADER_BYTES, WHAT)? != 89 {
            return Err(WireError::Malformed { what: WHAT, why: "its structure size is not 89" });
        }
        Ok(Self {
            file: FileId(array_at(message, HEADER_BYTES + 64, WHAT)?),
            is_new: u32_at(message, HEADER_BYTES + 4, WHAT)? == 2,
            end_of_file: u64_at(message, HEADER_BYTES + 48, WHAT)?,
        })
    }
}

/// Length of a READ's body.
pub const READ_BYTES: usize = 49;

/// The body of a READ.
pub fn encode_read(file: FileId, offset: u64, length: u32) -> [u8; READ_BYTES] {
    let mut body = [0; READ_BYTES];
    body[..2].copy_from_slice(&49u16.to_le_bytes());
    body[2] = READ_DATA_AT as u8;
    body[4..8].copy_from_slice(&length.to_le_bytes());
    body[8..16].copy_from_slice(&offset.to_le_bytes());
    body[16..32].copy_from_slice(&file.0);
    body
}

/// Length of the body of a READ or WRITE before its descriptors.
pub const DIRECT_BYTES: usize = 48;

/// The body of a READ whose data the server puts into memory of this end; [`Placement::encoded`] follows it.
pub fn encode_read_into(file: FileId, offset: u64, placement: &Placement) -> [u8; DIRECT_BYTES] {
    let mut body = [0; DIRECT_BYTES];
    body.copy_from_slice(&encode_read(file, offset, placement.length())[..DIRECT_BYTES]);
    name_descriptors(&mut body, 36, 44, placement);
    body
}

/// The body of a WRITE whose data the server fetches from memory of this end; [`Placement::encoded`] follows it.
pub fn encode_write_from(
    file: FileId,
    offset: u64,
    placement: &Placement,
    write_through: bool,
) -> [u8; DIRECT_BYTES] {
    let mut body = encode_write(file, offset, 0, write_through);
    // No data in the message: its length stands as what remains.
    body[2..4].fill(0);
    body[36..40].copy_from_slice(&placement.length().to_le_bytes());
    name_descriptors(&mut body, 32, 40, placement);
    body
}

/// Puts in the channel, at `channel_at`, and where the descriptors stand, at `where_at`.
fn name_descriptors(
    body: &mut [u8; DIRECT_BYTES],
    channel_at: usize,
    where_at: usize,
    placement: &Placement,
) {
    body[channel_at..channel_at + 4].copy_from_slice(&placement.channel().number().to_le_bytes());
    body[where_at..where_at + 2].copy_from_slice(&((HEADER_BYTES + DIRECT_BYTES) as u16).to_le_bytes());
    body[where_at + 2..where_at + 4].copy_from_slice(&(placement.encoded().len() as u16).to_le_bytes());
}

/// How many bytes of a READ the server says that it put into memory of this end, of the `asked` that there was room for.
pub fn decode_read_into(message: &[u8], asked: u32) -> Result<u32, WireError> {
    const WHAT: &str = "READ answer";
    if !decode_read(message, asked)?.is_empty() {
        let why = "it holds the data itself, which was to be put into memory by RDMA";
        return Err(WireError::Malformed { what: WHAT, why });
    }
    match u32_at(message, HEADER_BYTES + 8, WHAT)? {
        more if more > asked => {
            Err(WireError::Malformed { what: WHAT, why: "it says that more was put than there is room for" })
        }
        put => Ok(put),
    }
}

/// Where data is asked to begin in the answer to a READ.
pub(crate) const READ_DATA_AT: usize = HEADER_BYTES + 16;

/// The data in the answer to a READ of `asked` bytes, which may be fewer.
pub fn decode_read(message: &[u8], asked: u32) -> Result<&[u8], WireError> {
    const WHAT: &str = "READ answer";
    if u16_at(message, HEADER_BYTES, WHAT)? != 17 {
        return Err(WireError::Malformed { what: WHAT, why: "its structure size is not 17" });
    }
    let at = usize::from(u16_at(message, HEADER_BYTES + 2, WHAT)? & 0xFF);
    let length = u32_at(message, HEADER_BYTES + 4, WHAT)?;
    if length > asked {
        return Err(WireError::Malformed { what: WHAT, why: "it holds more than was asked for" });
    }
    if length > 0 && at < READ_DATA_AT {
        return Err(WireError::Malformed { what: WHAT, why: "its data overlaps its header" });
    }
    slice_at(message, at.min(message.len()), length as usize, WHAT)
}

/// Length of a WRITE's body before its data.
pub const WRITE_BYTES: usize = 48;

/// The body of a WRITE, before its data.
pub fn encode_write(file: FileId, offset: u64, length: u32, write_through: bool) -> [u8; WRITE_BYTES] {
    let mut body = [0; WRITE_BYTES];
    body[..2].copy_from_slice(&49u16.to_le_bytes());
    body[2..4].copy_from_slice(&((HEADER_BYTES + WRITE_BYTES) as u16).to_le_bytes());
    body[4..8].copy_from_slice(&length.to_le_bytes());
    body[8..16].copy_from_slice(&offset.to_le_bytes());
    body[16..32].copy_from_slice(&file.0);
    body[44] = u8::from(write_through);
    body
}

/// How many bytes a WRITE wrote.
pub fn decode_write(message: &[u8]) -> Result<u32, WireError> {
    const WHAT: &str = "WRITE answer";
    if u16_at(message, HEADER_BYTES, WHAT)? != 17 {
        return Err(WireError::Malformed { what: WHAT, why: "its structure size is not 17" });
    }
    u32_at(message, HEADER_BYTES + 4, WHAT)
}

/// The body of a FLUSH, and of a CLOSE that wants no attributes back.
pub fn encode_handle(file: FileId) -> [u8; 24] {
    let mut body = [0; 24];
    body[0] = 24;
    body[8..].copy_from_slice(&file.0);
    body
}

/// Longest answer to a QUERY_INFO that is asked for.
const INFO_BYTES: u32 = 256;

/// The body of the question how much room there is where a file lies (FileFsFullSizeInformation).
pub fn encode_room_query(file: FileId) -> Vec<u8> {
    encode_info_query(file, 2, 7)
}

/// The body of the question how long a file is (FileStandardInformation).
pub fn encode_length_query(file: FileId) -> Vec<u8> {
    encode_info_query(file, 1, 5)
}

fn encode_info_query(file: FileId, kind: u8, class: u8) -> Vec<u8> {
    let mut body = Vec::with_capacity(41);
    body.extend_from_slice(&41u16.to_le_bytes());
    body.extend_from_slice(&[kind, class]);
    body.extend_from_slice(&INFO_BYTES.to_le_bytes());
    body.extend_from_slice(&[0; 16]); // no input, no additional information, no flags
    body.extend_from_slice(&file.0);
    body.push(0);
    body
}

/// The buffer of a QUERY_INFO answer.
fn decode_info(message: &[u8]) -> Result<&[u8], WireError> {
    const WHAT: &str = "QUERY_INFO answer";
    if u16_at(message, HEADER_BYTES, WHAT)? != 9 {
        return Err(WireError::Malformed { what: WHAT, why: "its structure size is not 9" });
    }
    let at = usize::from(u16_at(message, HEADER_BYTES + 2, WHAT)?);
    let length = u32_at(message, HEADER_BYTES + 4, WHAT)?;
    if length > INFO_BYTES || at < HEADER_BYTES + 8 {
        return Err(WireError::Malformed {
            what: WHAT,
            why: "its buffer is not where or as long as it may be",
        });
    }
    slice_at(message, at, length as usize, WHAT)
}

/// Bytes that this account may still write, in the answer to a question about room.
pub fn decode_room(message: &[u8]) -> Result<u64, WireError> {
    const WHAT: &str = "room on the share";
    let info = decode_info(message)?;
    let units = u64_at(info, 8, WHAT)?;
    let unit = u64::from(u32_at(info, 24, WHAT)?).saturating_mul(u64::from(u32_at(info, 28, WHAT)?));
    Ok(units.saturating_mul(unit))
}

/// The length of a file, in the answer to a question about it.
pub fn decode_length(message: &[u8]) -> Result<u64, WireError> {
    u64_at(decode_info(message)?, 8, "length of the file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::direct::{Channel, Descriptor};
    use crate::status::NtStatus;
    use crate::wire::{Command, Header};

    fn message(command: Command, body: &[u8]) -> Vec<u8> {
        Header { status: NtStatus::SUCCESS, ..Header::request(command, 1) }.encode(body)
    }

    /// The captures of a life against a kernel server: header fields aside, the same bytes.
    #[test]
    fn a_read_and_a_write_are_laid_out_as_others_do() {
        let file = FileId([7; 16]);
        let read = encode_read(file, 0x10_0000, 0x1_0000);
        assert_eq!(read[..8], [0x31, 0, 0x50, 0, 0, 0, 1, 0]);
        assert_eq!(read[8..16], 0x10_0000u64.to_le_bytes());
        let write = encode_write(file, 5, 9, true);
        assert_eq!(write[..8], [0x31, 0, 112, 0, 9, 0, 0, 0]);
        assert_eq!((write[32..44].iter().sum::<u8>(), write[44]), (0, 1), "no channel, write-through");
        assert_eq!(encode_handle(file)[..8], [24, 0, 0, 0, 0, 0, 0, 0]);
    }

    /// As a client sent them to a kernel server, with the answer to the READ.
    #[test]
    fn a_read_and_a_write_by_rdma_are_laid_out_as_others_do() {
        let piece = Descriptor { address: 0x7FE4_A5C8_D000, token: 0x0401, length: 1 << 20 };
        let placement = Placement::new(&[piece], Channel::Kept).unwrap();
        let file = FileId([7; 16]);
        let write = encode_write_from(file, 0, &placement, false);
        assert_eq!(write[..8], [0x31, 0, 0, 0, 0, 0, 0, 0], "no data offset, no length");
        assert_eq!(write[32..], [1, 0, 0, 0, 0, 0, 0x10, 0, 0x70, 0, 0x10, 0, 0, 0, 0, 0]);
        let read = encode_read_into(file, 0, &placement);
        assert_eq!(read[..8], [0x31, 0, 0x50, 0, 0, 0, 0x10, 0]);
        assert_eq!(read[32..], [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x70, 0, 0x10, 0]);
        let mut answer = vec![0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0];
        assert_eq!(decode_read_into(&message(Command::Read, &answer), 1 << 20), Ok(1 << 20));
        assert!(decode_read_into(&message(Command::Read, &answer), (1 << 20) - 1).is_err(), "no such room");
        answer[2..8].copy_from_slice(&[80, 0, 4, 0, 0, 0]);
        answer.extend_from_slice(b"data");
        let inline = decode_read_into(&message(Command::Read, &answer), 1 << 20);
        assert!(inline.unwrap_err().to_string().contains("by RDMA"), "fragments are no RDMA");
    }

    #[test]
    fn no_answer_holds_more_than_was_asked_for() {
        let mut body = vec![17, 0, 80, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        body.extend_from_slice(b"data");
        let whole = message(Command::Read, &body);
        assert_eq!(decode_read(&whole, 4).unwrap(), b"data");
        assert!(matches!(decode_read(&whole, 3), Err(WireError::Malformed { .. })));
        for cut in HEADER_BYTES..whole.len() {
            assert!(decode_read(&whole[..cut], 4).is_err(), "{cut}");
        }
        body[2] = 64;
        assert!(matches!(decode_read(&message(Command::Read, &body), 4), Err(WireError::Malformed { .. })));
    }

    #[test]
    fn room_is_units_times_their_size_and_never_overflows() {
        let answer = |units: u64, sectors: u32, bytes: u32| {
            let mut body = vec![9, 0, 72, 0, 32, 0, 0, 0];
            for field in [100, units, 50] {
                body.extend_from_slice(&field.to_le_bytes());
            }
            body.extend_from_slice(&sectors.to_le_bytes());
            body.extend_from_slice(&bytes.to_le_bytes());
            message(Command::QueryInfo, &body)
        };
        assert_eq!(decode_room(&answer(10, 8, 512)), Ok(40_960));
        assert_eq!(decode_room(&answer(u64::MAX, u32::MAX, u32::MAX)), Ok(u64::MAX));
        assert!(decode_room(&answer(1, 1, 1)[..HEADER_BYTES + 39]).is_err());
    }
}
