//! QUERY_INFO and SET_INFO (MS-SMB2 3.3.5.20, 3.3.5.21; layouts of MS-FSCC 2.4 and 2.5), as far as clients of a plain share ask.

use std::sync::atomic::Ordering;

use crate::server::files;
use crate::server::put::Put;
use crate::server::request::{QueryInfo, Request, SetInfo};
use crate::server::session::{Handle, Session, Target};
use crate::server::share::{Facts, Share, Times, access};
use crate::server::window::pays;
use crate::status::NtStatus;
use crate::wire::{HEADER_BYTES, u32_at, u64_at, utf16};

const OF_FILE: u8 = 1;
const OF_VOLUME: u8 = 2;
/// Sector and cluster, in bytes: a share in memory has neither, but clients want to hear some.
const SECTOR_BYTES: u32 = 512;
const CLUSTER_SECTORS: u32 = 8;
/// What this file system calls itself; clients look for the features of this name.
const FILE_SYSTEM: &str = "NTFS";
/// Names keep their case, and are Unicode.
const VOLUME_ATTRIBUTES: u32 = 0x0000_0006;
const LABEL: &str = "pathproof";
const SERIAL: u32 = 0x5050_0001;

/// Answers a question: success, or that the answer was cut to the room for it.
pub fn query(
    request: &Request<'_>,
    asked: QueryInfo,
    session: &Session,
    out: &mut Vec<u8>,
) -> Result<NtStatus, NtStatus> {
    if !pays(request.header.charge, 0, asked.room as usize) || asked.room > crate::server::IO_BYTES_MAX {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let handle = session.handle(asked.file)?;
    let facts = handle.facts();
    let mut info = vec![];
    // Bytes that must have room; what is behind them may be cut.
    let least = match asked.kind {
        OF_FILE => {
            let name = match &handle.opened.target {
                Target::Directory => "",
                Target::File(file) => file.name(),
            };
            of_file(asked.class, &facts, &handle, name, &mut info)?
        }
        OF_VOLUME => of_volume(asked.class, handle.share(), &mut info)?,
        _ => return Err(NtStatus::NOT_SUPPORTED),
    };
    let room = asked.room as usize;
    if room < least {
        return Err(NtStatus::INFO_LENGTH_MISMATCH);
    }
    let whole = info.len() <= room;
    info.truncate(room);
    out.word(9);
    out.word(HEADER_BYTES as u16 + 8);
    out.double(info.len() as u32);
    out.extend_from_slice(&info);
    Ok(if whole { NtStatus::SUCCESS } else { NtStatus::BUFFER_OVERFLOW })
}

fn basic(facts: &Facts, info: &mut Vec<u8>) {
    let times = facts.times;
    for time in [times.created, times.accessed, times.written, times.changed] {
        info.quad(time);
    }
    info.double(files::attributes(facts));
    info.zeros(4);
}

fn standard(facts: &Facts, info: &mut Vec<u8>) {
    info.quad(facts.allocated_bytes);
    info.quad(facts.bytes);
    info.double(1); // links
    info.byte(u8::from(facts.delete_pending));
    info.byte(u8::from(facts.directory));
    info.zeros(2);
}

fn named(name: &str, info: &mut Vec<u8>) {
    let name = utf16(&format!("\\{name}"));
    info.double(name.len() as u32);
    info.extend_from_slice(&name);
}

/// The length of what must have room.
fn of_file(
    class: u8,
    facts: &Facts,
    handle: &Handle,
    name: &str,
    info: &mut Vec<u8>,
) -> Result<usize, NtStatus> {
    let position = handle.position.load(Ordering::Acquire);
    match class {
        4 => basic(facts, info),
        5 => standard(facts, info),
        6 => info.quad(facts.number),
        7 => info.zeros(4), // extended attributes: none
        8 => info.double(handle.opened.access),
        9 | 48 => {
            named(name, info);
            return Ok(8);
        }
        14 => info.quad(0),  // position
        16 => info.zeros(4), // mode
        17 => info.zeros(4), // alignment
        18 => {
            basic(facts, info);
            standard(facts, info);
            info.quad(facts.number);
            info.zeros(4);
            info.double(handle.opened.access);
            info.quad(position);
            info.zeros(8);
            named(name, info);
            return Ok(104);
        }
        // Nothing has a short name.
        21 => return Err(NtStatus::OBJECT_NAME_NOT_FOUND),
        22 => {
            if facts.directory {
                return Ok(0);
            }
            let stream = utf16("::$DATA");
            info.double(0);
            info.double(stream.len() as u32);
            info.quad(facts.bytes);
            info.quad(facts.allocated_bytes);
            info.extend_from_slice(&stream);
            return Ok(32);
        }
        34 => {
            let times = facts.times;
            for time in [times.created, times.accessed, times.written, times.changed] {
                info.quad(time);
            }
            info.quad(facts.allocated_bytes);
            info.quad(facts.bytes);
            info.double(files::attributes(facts));
            info.zeros(4);
        }
        35 => {
            info.double(files::attributes(facts));
            info.zeros(4);
        }
        59 => {
            info.quad(u64::from(SERIAL));
            info.quad(facts.number);
            info.quad(0);
        }
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    }
    Ok(info.len())
}

fn of_volume(class: u8, share: &Share, info: &mut Vec<u8>) -> Result<usize, NtStatus> {
    let (most, taken) = share.room();
    let cluster = u64::from(SECTOR_BYTES * CLUSTER_SECTORS);
    let (units, free) = (most / cluster, most.saturating_sub(taken) / cluster);
    match class {
        1 => {
            let label = utf16(LABEL);
            info.quad(share.directory().times.created);
            info.double(SERIAL);
            info.double(label.len() as u32);
            info.zeros(2);
            info.extend_from_slice(&label);
            return Ok(24);
        }
        3 => {
            info.quad(units);
            info.quad(free);
            info.double(CLUSTER_SECTORS);
            info.double(SECTOR_BYTES);
        }
        4 => {
            info.double(7); // a disk
            info.double(0x20); // that is mounted
        }
        5 => {
            let name = utf16(FILE_SYSTEM);
            info.double(VOLUME_ATTRIBUTES);
            info.double(255);
            info.double(name.len() as u32);
            info.extend_from_slice(&name);
            return Ok(16);
        }
        7 => {
            info.quad(units);
            info.quad(free);
            info.quad(free);
            info.double(CLUSTER_SECTORS);
            info.double(SECTOR_BYTES);
        }
        11 => {
            for size in [SECTOR_BYTES, 4096, 4096, 4096, 0, 0, 0] {
                info.double(size);
            }
        }
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    }
    Ok(info.len())
}

/// Changes what is known of a file.
pub fn set(
    request: &Request<'_>,
    asked: SetInfo<'_>,
    session: &Session,
    out: &mut Vec<u8>,
) -> Result<(), NtStatus> {
    const WHAT: &str = "SET_INFO";
    if !pays(request.header.charge, asked.value.len(), 0) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if asked.kind != OF_FILE {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    let handle = session.handle(asked.file)?;
    let _turn = handle.in_order(request.header.status.0 as u16)?;
    let short = |_| NtStatus::INFO_LENGTH_MISMATCH;
    let value = asked.value;
    match asked.class {
        4 => {
            let quad = |at| u64_at(value, at, WHAT).map_err(short);
            let times =
                Times { created: quad(0)?, accessed: quad(8)?, written: quad(16)?, changed: quad(24)? };
            let attributes = u32_at(value, 32, WHAT).map_err(short)?;
            match &handle.opened.target {
                // Nothing is kept of the directory.
                Target::Directory => {}
                Target::File(_) => handle.file(access::WRITE_ATTRIBUTES)?.set_basic(times, attributes),
            }
        }
        13 => {
            let delete = *value.first().ok_or(NtStatus::INFO_LENGTH_MISMATCH)? != 0;
            if handle.opened.access & access::DELETE == 0 {
                return Err(NtStatus::ACCESS_DENIED);
            }
            match &handle.opened.target {
                Target::Directory => return Err(NtStatus::ACCESS_DENIED),
                Target::File(file) => file.set_delete(delete),
            }
        }
        // Memory is taken as it is written to: more than the file has is granted, less cuts it (MS-FSA 2.1.5.15.1).
        19 => {
            let (bytes, file) = (u64_at(value, 0, WHAT).map_err(short)?, handle.file(access::WRITE)?);
            if bytes > handle.share().room().0 {
                return Err(NtStatus::DISK_FULL);
            }
            if bytes < file.facts().bytes {
                file.set_length(bytes)?;
            }
        }
        20 => handle.file(access::WRITE)?.set_length(u64_at(value, 0, WHAT).map_err(short)?)?,
        14 => handle.position.store(u64_at(value, 0, WHAT).map_err(short)?, Ordering::Release),
        16 => {}
        // Names do not change, and nothing has two.
        10 | 11 | 65 => return Err(NtStatus::NOT_SUPPORTED),
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    }
    out.word(2);
    Ok(())
}
