//! The share in memory: files without directories, within a number of bytes that all of them have together.
//!
//! Memory is taken in pieces as files are written to, and given back with them. It refuses subdirectories, streams, links, rights of
//! its own and anything that would reach a disk.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fresh::filetime_now;
use crate::status::NtStatus;

/// Memory is taken in pieces of so many bytes.
pub const PIECE_BYTES: usize = 64 << 10;
/// Most files.
const FILES_MAX: usize = 1024;
/// Longest name, in UTF-16 units.
pub const NAME_UNITS_MAX: usize = 255;

/// How much of something there may be.
#[derive(Debug)]
struct Budget {
    most: u64,
    taken: AtomicU64,
}

impl Budget {
    fn take(&self, bytes: u64) -> bool {
        let within = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// The bytes of a file: pieces where something was written, nothing elsewhere.
struct Contents {
    pieces: BTreeMap<u64, Box<[u8]>>,
    bytes: u64,
}

/// When something happened to a file, in 100 ns units since 1601.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// It was made.
    pub created: u64,
    /// It was read or written.
    pub accessed: u64,
    /// It was written.
    pub written: u64,
    /// Anything of it changed.
    pub changed: u64,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its number; the directory's is 1.
    pub number: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Memory under it, in bytes.
    pub allocated_bytes: u64,
    /// When what happened.
    pub times: Times,
    /// Attributes (MS-FSCC 2.6).
    pub attributes: u32,
    /// It goes with its last handle.
    pub delete_pending: bool,
    /// It is the directory.
    pub directory: bool,
}

/// How a handle shares its file with others.
#[derive(Clone, Copy, Debug)]
struct Holder {
    handle: u64,
    access: u32,
    sharing: u32,
}

struct State {
    contents: Contents,
    times: Times,
    attributes: u32,
    holders: Vec<Holder>,
    delete_pending: bool,
}

/// A file.
pub struct File {
    number: u64,
    name: String,
    budget: Arc<Budget>,
    state: Mutex<State>,
}

/// Rights of a handle (MS-SMB2 2.2.13.1).
pub mod access {
    /// Read data.
    pub const READ: u32 = 0x0001;
    /// Write data.
    pub const WRITE: u32 = 0x0002;
    /// Write at the end.
    pub const APPEND: u32 = 0x0004;
    /// Run it, for which it is read.
    pub const EXECUTE: u32 = 0x0020;
    /// Change attributes and times.
    pub const WRITE_ATTRIBUTES: u32 = 0x0100;
    /// Delete it.
    pub const DELETE: u32 = 0x0001_0000;
    /// Everything that there is.
    pub const ALL: u32 = 0x001F_01FF;
}

/// Attribute of a file without others.
pub const ATTRIBUTE_NORMAL: u32 = 0x80;
/// Attribute of a directory.
pub const ATTRIBUTE_DIRECTORY: u32 = 0x10;
/// Attributes that a client may set: read-only, hidden, system, archive, temporary, not indexed.
const ATTRIBUTES_SETTABLE: u32 = 0x2127;

impl Drop for File {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.budget.give_back(state.contents.allocated());
    }
}

impl Contents {
    fn allocated(&self) -> u64 {
        self.pieces.len() as u64 * PIECE_BYTES as u64
    }
}

impl File {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever a panic elsewhere left is a file like any other.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is known of it.
    pub fn facts(&self) -> Facts {
        let state = self.state();
        Facts {
            number: self.number,
            bytes: state.contents.bytes,
            allocated_bytes: state.contents.allocated(),
            times: state.times,
            attributes: state.attributes,
            delete_pending: state.delete_pending,
            directory: false,
        }
    }

    /// Puts up to `bytes` bytes from `offset` on behind what is in `out`; how many there were.
    pub fn read(&self, offset: u64, bytes: usize, out: &mut Vec<u8>) -> usize {
        let mut state = self.state();
        state.times.accessed = filetime_now();
        let contents = &state.contents;
        let count = contents.bytes.saturating_sub(offset).min(bytes as u64) as usize;
        let (mut at, mut left) = (offset, count);
        while left > 0 {
            let within = (at % PIECE_BYTES as u64) as usize;
            let some = left.min(PIECE_BYTES - within);
            match contents.pieces.get(&(at / PIECE_BYTES as u64)) {
                Some(piece) => out.extend_from_slice(&piece[within..within + some]),
                None => out.resize(out.len() + some, 0),
            }
            at += some as u64;
            left -= some;
        }
        count
    }

    /// Writes, all or nothing: no room is an error, and nothing has changed then.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), NtStatus> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(data.len() as u64).ok_or(NtStatus::DISK_FULL)?;
        let mut state = self.state();
        self.make_room(&mut state.contents, offset, end)?;
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let within = (at % PIECE_BYTES as u64) as usize;
            let (some, after) = rest.split_at(rest.len().min(PIECE_BYTES - within));
            if let Some(piece) = state.contents.pieces.get_mut(&(at / PIECE_BYTES as u64)) {
                piece[within..within + some.len()].copy_from_slice(some);
            }
            at += some.len() as u64;
            rest = after;
        }
        state.contents.bytes = state.contents.bytes.max(end);
        state.touch();
        Ok(())
    }

    /// Has a piece of memory under every byte from `from` to `to`.
    fn make_room(&self, contents: &mut Contents, from: u64, to: u64) -> Result<(), NtStatus> {
        if to > self.budget.most {
            return Err(NtStatus::DISK_FULL);
        }
        let wanted = from / PIECE_BYTES as u64..to.div_ceil(PIECE_BYTES as u64);
        let there = contents.pieces.range(wanted.clone()).count();
        let missing = (wanted.end - wanted.start) as usize - there;
        if missing > 0 && !self.budget.take((missing * PIECE_BYTES) as u64) {
            return Err(NtStatus::DISK_FULL);
        }
        if missing > 0 {
            for piece in wanted {
                contents.pieces.entry(piece).or_insert_with(|| vec![0; PIECE_BYTES].into());
            }
        }
        Ok(())
    }

    /// Makes it so long: what is cut off is gone, what is added reads as zeroes.
    pub fn set_length(&self, bytes: u64) -> Result<(), NtStatus> {
        if bytes > self.budget.most {
            return Err(NtStatus::DISK_FULL);
        }
        let mut state = self.state();
        state.contents.cut(bytes, &self.budget);
        state.contents.bytes = bytes;
        state.touch();
        Ok(())
    }

    /// Sets times and attributes; zero leaves one as it is.
    pub fn set_basic(&self, times: Times, attributes: u32) {
        let mut state = self.state();
        let set = |field: &mut u64, value: u64| {
            // All ones and one less ask that no time be kept up for this handle (MS-FSCC 2.4.7).
            if value != 0 && value < u64::MAX - 1 {
                *field = value;
            }
        };
        set(&mut state.times.created, times.created);
        set(&mut state.times.accessed, times.accessed);
        set(&mut state.times.written, times.written);
        state.times.changed = filetime_now();
        set(&mut state.times.changed, times.changed);
        if attributes != 0 {
            state.attributes = kept(attributes);
        }
    }

    /// Whether it goes with its last handle.
    pub fn set_delete(&self, delete: bool) {
        self.state().delete_pending = delete;
    }

    /// Forgets what it held, as OVERWRITE does.
    fn overwrite(&self, attributes: u32) {
        let mut state = self.state();
        state.contents.cut(0, &self.budget);
        state.contents.bytes = 0;
        state.attributes = kept(attributes | 0x20);
        state.touch();
    }
}

impl State {
    fn touch(&mut self) {
        let now = filetime_now();
        self.times = Times { accessed: now, written: now, changed: now, ..self.times };
    }
}

impl Contents {
    fn cut(&mut self, bytes: u64, budget: &Budget) {
        let before = self.allocated();
        self.pieces.split_off(&bytes.div_ceil(PIECE_BYTES as u64));
        let within = (bytes % PIECE_BYTES as u64) as usize;
        if bytes < self.bytes
            && let (1.., Some(last)) = (within, self.pieces.get_mut(&(bytes / PIECE_BYTES as u64)))
        {
            last[within..].fill(0);
        }
        budget.give_back(before - self.allocated());
    }
}

fn kept(attributes: u32) -> u32 {
    match attributes & ATTRIBUTES_SETTABLE {
        0 => ATTRIBUTE_NORMAL,
        some => some,
    }
}

/// What a CREATE did (MS-SMB2 2.2.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// Replaced a file.
    Superseded = 0,
    /// Opened what was there.
    Opened = 1,
    /// Made a file.
    Created = 2,
    /// Emptied a file.
    Overwrote = 3,
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// A number that no other handle has.
    pub handle: u64,
    /// What becomes of the name: 0 to 5.
    pub disposition: u32,
    /// Rights.
    pub access: u32,
    /// What others may do meanwhile: 1 read, 2 write, 4 delete.
    pub sharing: u32,
    /// Attributes of a new file.
    pub attributes: u32,
}

/// The share.
pub struct Share {
    budget: Arc<Budget>,
    files: Mutex<Files>,
    made: u64,
}

#[derive(Default)]
struct Files {
    /// By name, as names are compared.
    by_name: BTreeMap<String, Arc<File>>,
    last_number: u64,
}

impl Share {
    /// An empty one for so many bytes.
    pub fn new(bytes: u64) -> Share {
        let files = Files { by_name: BTreeMap::new(), last_number: 1 };
        let budget = Arc::new(Budget { most: bytes, taken: AtomicU64::new(0) });
        Share { budget, files: Mutex::new(files), made: filetime_now() }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in all, and how many of them are taken.
    pub fn room(&self) -> (u64, u64) {
        (self.budget.most, self.budget.taken.load(Ordering::Acquire))
    }

    /// What is known of the directory.
    pub fn directory(&self) -> Facts {
        let times = Times { created: self.made, accessed: self.made, written: self.made, changed: self.made };
        Facts {
            number: 1,
            bytes: 0,
            allocated_bytes: 0,
            times,
            attributes: ATTRIBUTE_DIRECTORY,
            delete_pending: false,
            directory: true,
        }
    }

    /// The first file whose name, as names are compared, comes after `name`; with that name.
    pub fn after(&self, name: &str) -> Option<(String, Arc<File>)> {
        let behind = (Bound::Excluded(name), Bound::Unbounded);
        let files = self.files();
        files.by_name.range::<str, _>(behind).next().map(|(name, file)| (name.clone(), file.clone()))
    }

    /// Whether there is a file of this name.
    pub fn has(&self, name: &str) -> bool {
        key(name).is_ok_and(|key| self.files().by_name.contains_key(&key))
    }

    /// Opens or makes the file of this name.
    pub fn open(&self, name: &str, how: Opening) -> Result<(Arc<File>, Did), NtStatus> {
        let key = key(name)?;
        let mut files = self.files();
        let Some(file) = files.by_name.get(&key).cloned() else {
            return match how.disposition {
                1 | 4 => Err(NtStatus::OBJECT_NAME_NOT_FOUND),
                _ if files.by_name.len() >= FILES_MAX => Err(NtStatus::DISK_FULL),
                _ => Ok((self.make(&mut files, key, name, how), Did::Created)),
            };
        };
        if how.disposition == 2 {
            return Err(NtStatus::OBJECT_NAME_COLLISION);
        }
        {
            let mut state = file.state();
            if state.delete_pending {
                return Err(NtStatus::DELETE_PENDING);
            }
            let mine = Holder { handle: how.handle, access: how.access, sharing: how.sharing };
            // To empty a file is to write it, whatever the handle is good for afterwards (MS-FSA 2.1.5.1.2).
            let now = match how.disposition {
                0 => access::WRITE | access::DELETE,
                4 | 5 => access::WRITE,
                _ => 0,
            };
            let asks = Holder { access: how.access | now, ..mine };
            if state.holders.iter().any(|other| !agree(&asks, other)) {
                return Err(NtStatus::SHARING_VIOLATION);
            }
            state.holders.push(mine);
        }
        let did = match how.disposition {
            0 => Did::Superseded,
            4 | 5 => Did::Overwrote,
            _ => return Ok((file, Did::Opened)),
        };
        file.overwrite(how.attributes);
        Ok((file, did))
    }

    fn make(&self, files: &mut Files, key: String, name: &str, how: Opening) -> Arc<File> {
        files.last_number += 1;
        let now = filetime_now();
        let file = Arc::new(File {
            number: files.last_number,
            name: name.to_owned(),
            budget: self.budget.clone(),
            state: Mutex::new(State {
                contents: Contents { pieces: BTreeMap::new(), bytes: 0 },
                times: Times { created: now, accessed: now, written: now, changed: now },
                attributes: kept(how.attributes | 0x20),
                holders: vec![Holder { handle: how.handle, access: how.access, sharing: how.sharing }],
                delete_pending: false,
            }),
        });
        files.by_name.insert(key, file.clone());
        file
    }

    /// A handle ends. The file goes with it when it is the last, and somebody wanted it gone.
    pub fn close(&self, file: &Arc<File>, handle: u64, delete: bool) {
        let mut files = self.files();
        let mut state = file.state();
        state.holders.retain(|holder| holder.handle != handle);
        state.delete_pending |= delete;
        let goes = state.delete_pending && state.holders.is_empty();
        drop(state);
        if goes && let Ok(key) = key(&file.name) {
            files.by_name.remove(&key);
        }
    }
}

/// Whether two handles allow each other (MS-FSA 2.1.5.1.2.2).
fn agree(one: &Holder, other: &Holder) -> bool {
    let wants = |access: u32| {
        u32::from(access & (access::READ | access::EXECUTE) != 0)
            | u32::from(access & (access::WRITE | access::APPEND) != 0) << 1
            | u32::from(access & access::DELETE != 0) << 2
    };
    let (mine, theirs) = (wants(one.access), wants(other.access));
    // A handle to attributes alone disturbs nobody.
    mine == 0 || theirs == 0 || (mine & !other.sharing == 0 && theirs & !one.sharing == 0)
}

/// A name as names are compared; an error where it can be none.
fn key(name: &str) -> Result<String, NtStatus> {
    if name.contains('\\') {
        return Err(NtStatus::OBJECT_PATH_NOT_FOUND);
    }
    let wrong = |c: char| c.is_control() || "\"*/:<>?|".contains(c);
    let long = name.encode_utf16().count() > NAME_UNITS_MAX;
    if name.is_empty() || name == "." || name == ".." || long || name.contains(wrong) {
        return Err(NtStatus::OBJECT_NAME_INVALID);
    }
    Ok(name.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ_WRITE: u32 = access::READ | access::WRITE;

    fn opening(handle: u64, disposition: u32) -> Opening {
        Opening { handle, disposition, access: READ_WRITE, sharing: 7, attributes: 0 }
    }

    #[test]
    fn what_was_written_is_read_and_holes_are_zeroes() {
        let share = Share::new(1 << 20);
        let (file, did) = share.open("a", opening(1, 2)).unwrap();
        assert_eq!(did, Did::Created);
        let at = PIECE_BYTES as u64 - 3;
        file.write(at, b"across").unwrap();
        let mut out = vec![];
        assert_eq!(file.read(at - 2, 100, &mut out), 8);
        assert_eq!(out, b"\0\0across");
        assert_eq!(file.read(at + 6, 1, &mut out), 0, "the end");
        file.set_length(at + 1).unwrap();
        file.set_length(at + 3).unwrap();
        out.clear();
        file.read(at, 9, &mut out);
        assert_eq!(out, b"a\0\0", "what was cut off does not come back");
    }

    #[test]
    fn no_file_takes_more_memory_than_there_is_and_all_of_it_comes_back() {
        let share = Share::new(4 * PIECE_BYTES as u64);
        let (file, _) = share.open("a", opening(1, 2)).unwrap();
        let (other, _) = share.open("b", opening(2, 2)).unwrap();
        let piece = vec![7; PIECE_BYTES];
        file.write(0, &[&piece[..], &piece, &piece].concat()).unwrap();
        assert_eq!(other.write(5, &piece), Err(NtStatus::DISK_FULL), "two pieces, one is left");
        assert_eq!(other.facts().bytes, 0, "nothing was written");
        other.write(0, &piece).unwrap();
        assert_eq!(share.room().1, 4 * PIECE_BYTES as u64);
        for far in [4 * PIECE_BYTES as u64, u64::MAX - 3, u64::MAX] {
            assert_eq!(file.write(far, b"more"), Err(NtStatus::DISK_FULL));
            assert!(file.set_length(far).is_err() || far == 4 * PIECE_BYTES as u64);
        }
        file.set_length(1).unwrap();
        assert_eq!(share.room().1, 2 * PIECE_BYTES as u64);
        share.close(&file, 1, true);
        share.close(&other, 2, true);
        drop((file, other));
        assert!(share.room().1 == 0 && share.after("").is_none());
    }

    #[test]
    fn a_file_goes_with_its_last_handle_and_not_before() {
        let share = Share::new(1 << 20);
        let (file, _) = share.open("Name", opening(1, 2)).unwrap();
        let (same, did) = share.open("nAME", opening(2, 1)).unwrap();
        assert!(Arc::ptr_eq(&file, &same) && did == Did::Opened);
        share.close(&file, 1, true);
        assert_eq!(share.open("name", opening(3, 1)).err(), Some(NtStatus::DELETE_PENDING));
        share.close(&file, 2, false);
        assert_eq!(share.open("name", opening(3, 1)).err(), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    }

    #[test]
    fn handles_that_do_not_share_keep_others_off() {
        let share = Share::new(1 << 20);
        share.open("a", Opening { sharing: 1, ..opening(1, 2) }).unwrap();
        assert_eq!(share.open("a", opening(2, 1)).err(), Some(NtStatus::SHARING_VIOLATION));
        // The one that is there writes: a reader that does not allow that is refused, too.
        let reader = Opening { access: access::READ, sharing: 1, ..opening(2, 1) };
        assert_eq!(share.open("a", reader).err(), Some(NtStatus::SHARING_VIOLATION));
        share.open("a", Opening { access: access::READ, ..opening(2, 1) }).unwrap();
        share.open("a", Opening { access: 0x80, sharing: 0, ..opening(3, 1) }).unwrap();
    }

    #[test]
    fn nobody_empties_a_file_that_others_do_not_share_for_writing() {
        let share = Share::new(1 << 20);
        let (file, _) = share.open("a", Opening { sharing: 1, ..opening(1, 2) }).unwrap();
        file.write(0, b"precious").unwrap();
        for disposition in [0, 4, 5] {
            // A right to attributes alone disturbs nobody; this is more.
            let empties = Opening { access: 0x80, ..opening(2, disposition) };
            assert_eq!(share.open("a", empties).err(), Some(NtStatus::SHARING_VIOLATION), "{disposition}");
        }
        assert_eq!(file.facts().bytes, 8);
    }

    #[test]
    fn names_are_checked() {
        let share = Share::new(1 << 20);
        for (name, status) in [
            ("", NtStatus::OBJECT_NAME_INVALID),
            ("..", NtStatus::OBJECT_NAME_INVALID),
            ("a:stream", NtStatus::OBJECT_NAME_INVALID),
            ("a*", NtStatus::OBJECT_NAME_INVALID),
            ("..\\etc", NtStatus::OBJECT_PATH_NOT_FOUND),
            (&"x".repeat(256), NtStatus::OBJECT_NAME_INVALID),
        ] {
            assert_eq!(share.open(name, opening(1, 2)).err(), Some(status), "{name}");
        }
        for number in 0..FILES_MAX as u64 {
            share.open(&format!("{number}"), opening(number, 2)).unwrap();
        }
        assert_eq!(share.open("one more", opening(9999, 2)).err(), Some(NtStatus::DISK_FULL));
    }
}
