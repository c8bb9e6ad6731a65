//! QUERY_DIRECTORY (MS-SMB2 3.3.5.18): the one directory, a bufferful at a time.

use std::sync::PoisonError;

use crate::server::IO_BYTES_MAX;
use crate::server::files::{attributes, directory};
use crate::server::put::Put;
use crate::server::request::{QueryDirectory, Request};
use crate::server::session::Session;
use crate::server::share::{Facts, NAME_UNITS_MAX, Share};
use crate::server::window::pays;
use crate::status::NtStatus;
use crate::wire::{HEADER_BYTES, utf16};

/// How far the directory was told by a handle: a place in it and not the entries, of which many handles would hold a lot.
pub struct Listing {
    /// Which names, folded.
    pattern: Vec<char>,
    next: Next,
    /// Whether anything was told.
    told: bool,
}

/// What comes next.
enum Next {
    This,
    Parent,
    /// The first file after this name, as names are compared.
    After(String),
}

impl Listing {
    /// Of the names that match, from the first on. No name is as long as a pattern that is refused.
    fn of(pattern: &str) -> Result<Listing, NtStatus> {
        match pattern.encode_utf16().count() > NAME_UNITS_MAX {
            true => Err(NtStatus::OBJECT_NAME_INVALID),
            false => Ok(Listing { pattern: folded(pattern), next: Next::This, told: false }),
        }
    }

    /// The next entry that matches, and what comes after it.
    fn entry(&mut self, share: &Share) -> Option<(String, Facts, Next)> {
        loop {
            let (name, facts, next) = match &self.next {
                Next::This => (".".to_owned(), share.directory(), Next::Parent),
                Next::Parent => ("..".to_owned(), share.directory(), Next::After(String::new())),
                Next::After(name) => {
                    let (key, file) = share.after(name)?;
                    (file.name().to_owned(), file.facts(), Next::After(key))
                }
            };
            if matches(&self.pattern, &name) {
                return Some((name, facts, next));
            }
            self.next = next;
        }
    }
}

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

fn folded(text: &str) -> Vec<char> {
    text.to_uppercase().chars().collect()
}

/// Whether a name matches a folded pattern with `*` and `?`, and with what DOS makes of them (`<`, `>`, `"`; MS-FSA 2.1.4.4). No pattern is all.
fn matches(pattern: &[char], name: &str) -> bool {
    let name = folded(name);
    if pattern.is_empty() {
        return true;
    }
    // The one place to come back to is the last star: earlier ones need not take more than they did.
    let (mut p, mut n, mut back) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*' | '<') => {
                back = Some((p, n));
                p += 1;
            }
            Some('?' | '>') => (p, n) = (p + 1, n + 1),
            Some('"') if name[n] == '.' => (p, n) = (p + 1, n + 1),
            Some(same) if *same == name[n] => (p, n) = (p + 1, n + 1),
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    (p, n) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|rest| matches!(rest, '*' | '<' | '>' | '"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_others_do() {
        for (pattern, name) in [
            ("*", "a"),
            ("", "a"),
            ("*.txt", "A.TXT"),
            ("a?c", "abc"),
            ("*a*b", "xaxxb"),
            ("<.txt", "n.txt"),
            ("*", ".."),
        ] {
            assert!(matches(&folded(pattern), name), "{pattern} {name}");
        }
        for (pattern, name) in [("b", "a"), ("*.txt", "a.txt2"), ("a?c", "ac"), ("a", "ab"), ("*a*b", "b")] {
            assert!(!matches(&folded(pattern), name), "{pattern} {name}");
        }
        // No pattern costs more than its length times the name's.
        assert!(!matches(&folded(&"*a".repeat(100)), &"a".repeat(255).replace('a', "b")));
    }
}
