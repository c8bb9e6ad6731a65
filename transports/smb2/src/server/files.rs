//! CREATE, CLOSE, FLUSH, READ and WRITE (MS-SMB2 3.3.5.9 to 3.3.5.13).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::file::{FileId, READ_DATA_AT};
use crate::server::IO_BYTES_MAX;
use crate::server::put::Put;
use crate::server::reach::Reach;
use crate::server::request::{self, Acknowledged, Create, Data, Request, Transfer};
use crate::server::session::{Handle, Opened, Session, Target, Tree, spelled_out};
use crate::server::share::{ATTRIBUTE_NORMAL, Did, Facts, Opening, Share, access};
use crate::server::window::pays;
use crate::status::NtStatus;

const DIRECTORY_FILE: u32 = 0x0000_0001;
const NON_DIRECTORY_FILE: u32 = 0x0000_0040;
const DELETE_ON_CLOSE: u32 = 0x0000_1000;

/// No file reaches further: so NTFS has it, and clients ask.
const OFFSET_MAX: u64 = 0x0FFF_FFFF_0000;
/// Numbers of handles: none is ever used twice.
static HANDLES: AtomicU64 = AtomicU64::new(1);

/// CREATE: the handle that was made.
pub fn create(
    request: &Request<'_>,
    session: &Session,
    tree_id: u32,
    share: &Arc<Share>,
    out: &mut Vec<u8>,
) -> Result<FileId, NtStatus> {
    let asked = Create::decode(request)?;
    if session.tree(tree_id)? == Tree::Pipes {
        return Err(NtStatus::OBJECT_NAME_NOT_FOUND);
    }
    let unheard = asked.disposition > 5 || asked.sharing > 7 || asked.access == 0;
    if unheard || asked.options & (DIRECTORY_FILE | NON_DIRECTORY_FILE) == DIRECTORY_FILE | NON_DIRECTORY_FILE
    {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if asked.path.starts_with('\\') {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    session.has_room()?;
    let rights = spelled_out(asked.access);
    let delete_on_close = asked.options & DELETE_ON_CLOSE != 0;
    if delete_on_close && rights & access::DELETE == 0 {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let number = HANDLES.fetch_add(1, Ordering::AcqRel);
    let (target, did) = if asked.path.is_empty() {
        match asked {
            Create { options, .. } if options & NON_DIRECTORY_FILE != 0 => {
                return Err(NtStatus::FILE_IS_A_DIRECTORY);
            }
            Create { disposition: 2, .. } => return Err(NtStatus::OBJECT_NAME_COLLISION),
            Create { disposition: 0 | 4 | 5, .. } => return Err(NtStatus::INVALID_PARAMETER),
            _ if delete_on_close => return Err(NtStatus::ACCESS_DENIED),
            _ => (Target::Directory, Did::Opened),
        }
    } else {
        if asked.options & DIRECTORY_FILE != 0 {
            // There is one directory here; whether a file is in the way is told apart from that.
            return Err(match (share.has(&asked.path), asked.disposition) {
                (true, 2) => NtStatus::OBJECT_NAME_COLLISION,
                (true, _) => NtStatus::NOT_A_DIRECTORY,
                (false, 1) => NtStatus::OBJECT_NAME_NOT_FOUND,
                (false, _) => NtStatus::ACCESS_DENIED,
            });
        }
        let how = Opening {
            handle: number,
            disposition: asked.disposition,
            access: rights,
            sharing: asked.sharing,
            attributes: asked.attributes,
        };
        let (file, did) = share.open(&asked.path, how)?;
        (Target::File(file), did)
    };
    let sequence = request.header.status.0 as u16;
    let opened = Opened { number, tree_id, target, access: rights, delete_on_close, sequence };
    let id = session.keep(share, opened)?;
    let facts = session.handle(id)?.facts();
    out.word(89);
    // No oplock, whichever was asked for: it would have to be asked back before another client may look. A lease that is asked for by a context
    // is passed over, as by any server that does not say in NEGOTIATE that it has leases (3.3.5.9).
    out.zeros(2);
    out.double(did as u32);
    times_and_sizes(&facts, out);
    out.double(facts.attributes);
    out.zeros(4);
    out.extend_from_slice(&id.0);
    out.zeros(8); // no contexts
    Ok(id)
}

fn times_and_sizes(facts: &Facts, out: &mut Vec<u8>) {
    let times = facts.times;
    for time in [times.created, times.accessed, times.written, times.changed] {
        out.quad(time);
    }
    out.quad(facts.allocated_bytes);
    out.quad(facts.bytes);
}

/// CLOSE.
pub fn close(
    request: &Request<'_>,
    session: &Session,
    file: FileId,
    out: &mut Vec<u8>,
) -> Result<(), NtStatus> {
    let (_, wants_attributes) = request::close(request)?;
    let facts = session.release(file)?.facts();
    out.word(60);
    out.word(u16::from(wants_attributes));
    out.zeros(4);
    match wants_attributes {
        true => {
            times_and_sizes(&facts, out);
            out.double(facts.attributes);
        }
        false => out.zeros(52),
    }
    Ok(())
}

/// OPLOCK_BREAK (3.3.5.22): the refusal. No oplock or lease is ever granted here, so nobody was asked to give one back.
pub fn acknowledge(request: &Request<'_>, session: &Session) -> NtStatus {
    match request::acknowledged(request) {
        Err(status) => status,
        Ok(Acknowledged::Oplock(file)) => {
            session.handle(file).err().unwrap_or(NtStatus::INVALID_DEVICE_STATE)
        }
        Ok(Acknowledged::Lease) => NtStatus::OBJECT_NAME_NOT_FOUND,
    }
}

/// FLUSH: memory has nothing to be flushed to.
pub fn flush(session: &Session, file: FileId, out: &mut Vec<u8>) -> Result<(), NtStatus> {
    session.handle(file)?;
    out.word(4);
    out.zeros(2);
    Ok(())
}

/// What a READ or WRITE leaves to be done with its answer: a key of the peer that ends with it.
pub type Ends = Option<u32>;

/// READ.
pub fn read(
    request: &Request<'_>,
    session: &Session,
    file: FileId,
    reach: Option<&mut dyn Reach>,
    out: &mut Vec<u8>,
) -> Result<Ends, NtStatus> {
    let asked = Transfer::decode_read(request)?;
    check_length(request, &asked, 0)?;
    let handle = session.handle(file)?;
    let target = handle.file(access::READ | access::EXECUTE)?;
    let begin = out.len();
    out.word(17);
    out.byte(READ_DATA_AT as u8);
    out.byte(0);
    out.zeros(12);
    let data_at = out.len();
    let count = target.read(asked.offset, asked.bytes as usize, out) as u32;
    handle.position.store(asked.offset.saturating_add(u64::from(count)), Ordering::Release);
    if (count == 0 && asked.bytes > 0) || count < asked.least_bytes {
        return Err(NtStatus::END_OF_FILE);
    }
    // Inline the count stands in DataLength, by RDMA in DataRemaining.
    let (count_at, ends) = match &asked.data {
        Data::Inline(_) => (begin + 4, None),
        Data::Remote { pieces, invalidate } => {
            let reach = allowed(session, reach, *invalidate)?;
            reach.place(&out[data_at..], pieces).map_err(|_| NtStatus::INVALID_PARAMETER)?;
            out.truncate(data_at);
            (begin + 8, invalidate.then(|| pieces[0].token))
        }
    };
    out[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
    Ok(ends)
}

/// WRITE.
pub fn write(
    request: &Request<'_>,
    session: &Session,
    file: FileId,
    reach: Option<&mut dyn Reach>,
    out: &mut Vec<u8>,
) -> Result<Ends, NtStatus> {
    let asked = Transfer::decode_write(request)?;
    let inline = if let Data::Inline(data) = asked.data { data.len() } else { 0 };
    check_length(request, &asked, inline)?;
    if asked.bytes > 0 && asked.offset + u64::from(asked.bytes) > OFFSET_MAX {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let handle = session.handle(file)?;
    let target = handle.file(access::WRITE | access::APPEND)?;
    let in_order = || handle.in_order(request.header.status.0 as u16);
    let ends = match &asked.data {
        Data::Inline(data) => {
            let _turn = in_order()?;
            target.write(asked.offset, data)?;
            None
        }
        Data::Remote { pieces, invalidate } => {
            let reach = allowed(session, reach, *invalidate)?;
            let begin = out.len();
            out.zeros(asked.bytes as usize);
            let fetched = reach.fetch(pieces, &mut out[begin..]).map_err(|_| NtStatus::INVALID_PARAMETER);
            // How long that took is the client's affair: only what follows it is done in turn.
            let written =
                fetched.and_then(|()| in_order()).and_then(|_turn| target.write(asked.offset, &out[begin..]));
            out.truncate(begin);
            written?;
            invalidate.then(|| pieces[0].token)
        }
    };
    out.word(17);
    out.zeros(2);
    out.double(asked.bytes);
    out.zeros(8);
    Ok(ends)
}

/// No transfer is longer than was said in NEGOTIATE, reaches past the end of numbers, or is paid too low.
fn check_length(request: &Request<'_>, asked: &Transfer<'_>, sent: usize) -> Result<(), NtStatus> {
    let fits = asked.bytes <= IO_BYTES_MAX
        && asked.offset.checked_add(u64::from(asked.bytes)).is_some_and(|end| end <= i64::MAX as u64);
    match fits && pays(request.header.charge, sent, asked.bytes as usize) {
        true => Ok(()),
        false => Err(NtStatus::INVALID_PARAMETER),
    }
}

/// The peer's memory, where the connection reaches it and the dialect knows the request.
fn allowed<'a>(
    session: &Session,
    reach: Option<&'a mut dyn Reach>,
    invalidate: bool,
) -> Result<&'a mut dyn Reach, NtStatus> {
    let known = !invalidate || session.founding.dialect > crate::negotiate::Dialect::V3_0;
    reach.filter(|_| known).ok_or(NtStatus::INVALID_PARAMETER)
}

/// Attributes as a listing or a question shows them; never none.
pub fn attributes(facts: &Facts) -> u32 {
    if facts.attributes == 0 { ATTRIBUTE_NORMAL } else { facts.attributes }
}

/// The handle, where it is the directory's.
pub fn directory(handle: &Handle) -> Result<&Share, NtStatus> {
    match handle.opened.target {
        Target::Directory => Ok(handle.share()),
        Target::File(_) => Err(NtStatus::INVALID_PARAMETER),
    }
}
