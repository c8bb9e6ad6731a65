//! QUERY_DIRECTORY (MS-SMB2 3.3.5.18): the one directory, a bufferful at a time.

use std::sync::PoisonError;

use crate::server::IO_BYTES_MAX;
use crate::server::files::{attributes, directory};
use crate::server::place::Listing;
use crate::server::put::Put;
use crate::server::request::{QueryDirectory, Request};
use crate::server::session::Session;
use crate::server::share::Facts;
use crate::server::window::pays;
use crate::status::NtStatus;
use crate::wire::{HEADER_BYTES, utf16};

/// Fields before the name, by information class (MS-FSCC 2.4).
fn fixed_bytes(class: u8) -> Option<usize> {
    Some(match class {
        1 => 64,
        2 => 68,
        3 => 94,
        12 => 12,
        37 => 104,
        38 => 80,
        _ => return None,
    })
}

/// Answers with the next entries.
pub fn list(
    request: &Request<'_>,
    asked: QueryDirectory,
    session: &Session,
    out: &mut Vec<u8>,
) -> Result<(), NtStatus> {
    let fixed = fixed_bytes(asked.class).ok_or(NtStatus::INVALID_INFO_CLASS)?;
    if asked.room > IO_BYTES_MAX || !pays(request.header.charge, 0, asked.room as usize) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let handle = session.handle(asked.file)?;
    let share = directory(&handle)?;
    let mut kept = handle.listing.lock().unwrap_or_else(PoisonError::into_inner);
    if asked.restart {
        *kept = None;
    }
    let listing = match &mut *kept {
        Some(listing) => listing,
        none => none.insert(Listing::of(&asked.pattern)?),
    };
    let begin = out.len();
    out.word(9);
    out.word(HEADER_BYTES as u16 + 8);
    out.double(0);
    let entries = out.len();
    let mut last = None;
    let mut more = false;
    while let Some((name, facts, next)) = listing.entry(share) {
        let at = (out.len() - entries).next_multiple_of(8);
        let name = utf16(&name);
        if at + fixed + name.len() > asked.room as usize {
            more = true;
            break;
        }
        out.resize(entries + at, 0);
        if let Some(last) = last.replace(at) {
            out[entries + last..entries + last + 4].copy_from_slice(&((at - last) as u32).to_le_bytes());
        }
        entry(asked.class, &facts, &name, out);
        listing.next = next;
        if asked.single {
            break;
        }
    }
    if last.is_none() {
        return Err(match (more, listing.told) {
            (true, _) => NtStatus::INFO_LENGTH_MISMATCH,
            (false, true) => NtStatus::NO_MORE_FILES,
            (false, false) => NtStatus::NO_SUCH_FILE,
        });
    }
    listing.told = true;
    let bytes = (out.len() - entries) as u32;
    out[begin + 4..begin + 8].copy_from_slice(&bytes.to_le_bytes());
    Ok(())
}

fn entry(class: u8, facts: &Facts, name: &[u8], out: &mut Vec<u8>) {
    out.zeros(8); // the next entry, patched where there is one; no index
    if class == 12 {
        out.double(name.len() as u32);
        out.extend_from_slice(name);
        return;
    }
    let times = facts.times;
    for time in [times.created, times.accessed, times.written, times.changed] {
        out.quad(time);
    }
    out.quad(facts.bytes);
    out.quad(facts.allocated_bytes);
    out.double(attributes(facts));
    out.double(name.len() as u32);
    if class != 1 {
        out.zeros(4); // extended attributes: none
    }
    if matches!(class, 3 | 37) {
        out.zeros(26); // no short name
    }
    match class {
        37 => {
            out.zeros(2);
            out.quad(facts.number);
        }
        38 => {
            out.zeros(4);
            out.quad(facts.number);
        }
        _ => {}
    }
    out.extend_from_slice(name);
}
