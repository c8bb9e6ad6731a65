//! What a client has here once it has logged on: its session, the shares that it is attached to, the handles that it holds.
//!
//! Everything goes when the session goes, and that goes with its last connection. All of it is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::crypto::Signer;
use crate::file::FileId;
use crate::negotiate::Dialect;
use crate::seal::Sealer;
use crate::server::place::Listing;
use crate::server::share::{Facts, File, Share, access};
use crate::status::NtStatus;

/// Most sessions of all clients together.
pub const SESSIONS_MAX: usize = 64;
/// Most connections of one session.
pub const CHANNELS_MAX: u16 = 32;
/// Most shares that a session is attached to.
const TREES_MAX: usize = 16;
/// Most handles of one session.
pub const HANDLES_MAX: usize = 512;

/// A share by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// The share with files.
    Disk,
    /// What clients ask about the server by.
    Pipes,
}

/// What a handle stands for.
pub enum Target {
    /// The directory.
    Directory,
    /// A file.
    File(Arc<File>),
}

/// A handle.
pub struct Handle {
    /// What it was made of, and stays.
    pub opened: Opened,
    /// How far the directory was listed by it.
    pub listing: Mutex<Option<Listing>>,
    /// Where its last READ ended; nobody reads from there, but some ask.
    pub position: AtomicU64,
    /// Channels that its client had lost when it last wrote (MS-SMB2 3.3.5.2.10).
    sequence: Mutex<u16>,
    share: Arc<Share>,
}

impl Handle {
    /// What is known of what it stands for.
    pub fn facts(&self) -> Facts {
        match &self.opened.target {
            Target::Directory => self.share.directory(),
            Target::File(file) => file.facts(),
        }
    }

    /// The file, where it is one and the handle is good for that.
    pub fn file(&self, needs: u32) -> Result<&Arc<File>, NtStatus> {
        match &self.opened.target {
            Target::Directory => Err(NtStatus::INVALID_DEVICE_REQUEST),
            Target::File(_) if self.opened.access & needs == 0 => Err(NtStatus::ACCESS_DENIED),
            Target::File(file) => Ok(file),
        }
    }

    /// The share.
    pub fn share(&self) -> &Share {
        &self.share
    }

    /// The turn of a request that changes something, for as long as it is kept: one of before a channel was lost may not undo what came
    /// after, nor be in the middle of it when that comes.
    pub fn in_order(&self, sequence: u16) -> Result<MutexGuard<'_, u16>, NtStatus> {
        let mut known = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        if (sequence.wrapping_sub(*known) as i16) < 0 {
            return Err(NtStatus::FILE_NOT_AVAILABLE);
        }
        *known = sequence;
        Ok(known)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let Opened { target, number, delete_on_close, .. } = &self.opened;
        if let Target::File(file) = target {
            self.share.close(file, *number, *delete_on_close);
        }
    }
}

/// A session.
pub struct Session {
    /// What it was made of, and stays.
    pub founding: Founding,
    state: Mutex<State>,
    last_tree: AtomicU64,
}

#[derive(Default)]
struct State {
    /// It was ended: nothing is opened any more.
    over: bool,
    connections: u16,
    /// Connections so far; each has nonces of its own by this number.
    channels: u16,
    trees: BTreeMap<u32, Tree>,
    handles: BTreeMap<u64, Arc<Handle>>,
}

/// What a session is made of.
pub struct Founding {
    /// Its number.
    pub id: u64,
    /// The dialect of all its connections.
    pub dialect: Dialect,
    /// The client of all its connections.
    pub client_guid: [u8; 16],
    /// The key of its first connection, by which further ones prove that they are its client's.
    pub signer: Signer,
    /// Its ciphers, where some were agreed.
    pub sealer: Option<Sealer>,
    /// Its requests must be signed, or encrypted.
    pub signing_required: bool,
}

impl Session {
    /// One with nothing.
    pub fn new(founding: Founding) -> Session {
        Session { founding, state: Mutex::default(), last_tree: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more connection: its number, or why not.
    pub fn join(&self) -> Result<u16, NtStatus> {
        let mut state = self.state();
        if state.over {
            return Err(NtStatus::USER_SESSION_DELETED);
        }
        // Numbers never come back: two connections with one would use nonces twice.
        if state.connections >= CHANNELS_MAX || state.channels == u16::MAX {
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        let number = state.channels;
        state.connections += 1;
        state.channels += 1;
        Ok(number)
    }

    /// A connection less; true when it was the last.
    pub fn leave(&self) -> bool {
        let mut state = self.state();
        state.connections = state.connections.saturating_sub(1);
        state.connections == 0
    }

    /// Ends it: handles and shares go.
    pub fn end(&self) {
        let mut state = self.state();
        state.over = true;
        let (trees, handles) = (std::mem::take(&mut state.trees), std::mem::take(&mut state.handles));
        drop(state);
        drop((trees, handles));
    }

    /// Whether it was ended.
    pub fn is_over(&self) -> bool {
        self.state().over
    }

    /// Attaches to a share: its number.
    pub fn attach(&self, tree: Tree) -> Result<u32, NtStatus> {
        let mut state = self.state();
        if state.trees.len() >= TREES_MAX {
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        let id = (self.last_tree.fetch_add(1, Ordering::AcqRel) as u32).wrapping_add(1);
        state.trees.insert(id, tree);
        Ok(id)
    }

    /// Which share that is.
    pub fn tree(&self, id: u32) -> Result<Tree, NtStatus> {
        self.state().trees.get(&id).copied().ok_or(NtStatus::NETWORK_NAME_DELETED)
    }

    /// Leaves a share, and closes what was opened by it.
    pub fn detach(&self, id: u32) -> Result<(), NtStatus> {
        let mut state = self.state();
        state.trees.remove(&id).ok_or(NtStatus::NETWORK_NAME_DELETED)?;
        let (gone, kept): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut state.handles)
            .into_iter()
            .partition(|(_, handle)| handle.opened.tree_id == id);
        state.handles = kept;
        drop(state);
        drop(gone);
        Ok(())
    }

    /// Room for one more handle, or none.
    pub fn has_room(&self) -> Result<(), NtStatus> {
        let state = self.state();
        match state.over || state.handles.len() >= HANDLES_MAX {
            true => Err(NtStatus::INSUFFICIENT_RESOURCES),
            false => Ok(()),
        }
    }

    /// Keeps a handle.
    pub fn keep(&self, share: &Arc<Share>, opened: Opened) -> Result<FileId, NtStatus> {
        let number = opened.number;
        let handle = Arc::new(Handle {
            sequence: Mutex::new(opened.sequence),
            opened,
            listing: Mutex::new(None),
            position: AtomicU64::new(0),
            share: share.clone(),
        });
        let mut state = self.state();
        if state.over || state.handles.len() >= HANDLES_MAX {
            drop(state);
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        state.handles.insert(number, handle);
        Ok(id_of(number))
    }

    /// The handle of this name.
    pub fn handle(&self, id: FileId) -> Result<Arc<Handle>, NtStatus> {
        number_of(id)
            .and_then(|number| self.state().handles.get(&number).cloned())
            .ok_or(NtStatus::FILE_CLOSED)
    }

    /// Gives a handle up.
    pub fn release(&self, id: FileId) -> Result<Arc<Handle>, NtStatus> {
        number_of(id).and_then(|number| self.state().handles.remove(&number)).ok_or(NtStatus::FILE_CLOSED)
    }
}

/// What a handle is made of.
pub struct Opened {
    /// A number that no other handle has.
    pub number: u64,
    /// The share that it was opened by.
    pub tree_id: u32,
    /// What it stands for.
    pub target: Target,
    /// What it is good for.
    pub access: u32,
    /// Its file goes with it.
    pub delete_on_close: bool,
    /// Channels that the client had lost by then.
    pub sequence: u16,
}

/// A handle's name: its number, twice.
fn id_of(number: u64) -> FileId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    id[8..].copy_from_slice(&number.to_le_bytes());
    FileId(id)
}

fn number_of(id: FileId) -> Option<u64> {
    let (first, second) = id.0.split_first_chunk::<8>()?;
    (first[..] == second[..]).then_some(u64::from_le_bytes(*first))
}

/// The sessions of a server.
#[derive(Default)]
pub struct Sessions {
    by_id: Mutex<BTreeMap<u64, Arc<Session>>>,
}

impl Sessions {
    fn by_id(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Session>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new one in.
    pub fn add(&self, session: Arc<Session>) -> Result<(), NtStatus> {
        let mut sessions = self.by_id();
        if sessions.len() >= SESSIONS_MAX {
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        sessions.insert(session.founding.id, session);
        Ok(())
    }

    /// The session of this number.
    pub fn find(&self, id: u64) -> Option<Arc<Session>> {
        self.by_id().get(&id).cloned()
    }

    /// Ends a session.
    pub fn end(&self, id: u64) {
        let gone = self.by_id().remove(&id);
        if let Some(session) = gone {
            session.end();
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_id().len()
    }
}

/// The rights that an access mask asks for, once its generic ones are spelled out (MS-SMB2 3.3.5.9).
pub fn spelled_out(mask: u32) -> u32 {
    const GENERIC: [(u32, u32); 4] = [
        (0x8000_0000, 0x0012_0089),
        (0x4000_0000, 0x0012_0116),
        (0x2000_0000, 0x0012_00A0),
        (0x1000_0000, access::ALL),
    ];
    const MAXIMUM_ALLOWED: u32 = 0x0200_0000;
    let all = if mask & MAXIMUM_ALLOWED != 0 { access::ALL } else { 0 };
    GENERIC
        .iter()
        .filter(|(bit, _)| mask & bit != 0)
        .fold(mask & access::ALL | all, |sum, (_, means)| sum | means)
}
