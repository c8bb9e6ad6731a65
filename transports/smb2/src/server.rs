//! A passive SMB 3 server of one share in memory, for clients that are not ours: so that their files, and their SMB Direct, can be
//! measured against an end without disks.
//!
//! It knows one account and no guests, and keeps nothing: what is written is gone with the process. It is bounded in everything that a
//! client could gather, and strict where Windows is (numbers of messages, charges, signatures, sums of descriptors), which keeps
//! this crate's own client honest. It owns no socket: a [`Conversation`] takes whole messages and makes whole answers, over whatever pipe.
//!
//! It refuses: SMB 1 and 2, guests, subdirectories, renaming, locks, notices, durable handles, compression. Oplocks and leases are passed over.

mod control;
mod conversation;
mod files;
mod info;
mod listing;
mod logon;
mod negotiate;
mod ntlm;
mod place;
mod put;
mod reach;
mod request;
mod session;
mod share;
mod spnego;
mod window;

use std::sync::{Arc, PoisonError, RwLock};

use crate::error::SmbError;
use crate::fresh::random;
use crate::interfaces::Interface;
use crate::ntlm::Credentials;
pub use conversation::{Conversation, Turn};
pub use reach::{Reach, Unreached, cut};
pub use request::Descriptor;
use session::Sessions;
use share::Share;

/// Longest READ, WRITE and answer of other kinds, in bytes.
pub const IO_BYTES_MAX: u32 = 1 << 20;
/// Longest message, either way: one transfer, and room for what is around it.
pub const MESSAGE_BYTES_MAX: usize = IO_BYTES_MAX as usize + (64 << 10);
/// Longest message of somebody who has not shown the password: a token is some hundred bytes.
pub const STRANGER_BYTES_MAX: usize = 16 << 10;

/// What a server is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The one account.
    pub account: Credentials,
    /// What it calls itself.
    pub name: String,
    /// Its share.
    pub share: String,
    /// Memory for the files of the share, in bytes.
    pub bytes: u64,
}

/// A server: what all its connections share.
pub struct Server {
    account: Credentials,
    name: String,
    share_name: String,
    guid: [u8; 16],
    share: Arc<Share>,
    sessions: Sessions,
    interfaces: RwLock<Vec<Interface>>,
}

impl Server {
    /// One with an empty share.
    pub fn new(settings: Settings) -> Result<Arc<Server>, SmbError> {
        let Settings { account, name, share, bytes } = settings;
        Ok(Arc::new(Server {
            account,
            name,
            share_name: share,
            guid: random()?,
            share: Arc::new(Share::new(bytes)),
            sessions: Sessions::default(),
            interfaces: RwLock::default(),
        }))
    }

    /// What it tells of the host's NICs from now on.
    pub fn tell_interfaces(&self, interfaces: Vec<Interface>) {
        *self.interfaces.write().unwrap_or_else(PoisonError::into_inner) = interfaces;
    }

    fn interfaces(&self) -> Vec<Interface> {
        self.interfaces.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        self.sessions.count()
    }

    /// Memory that the files take, in bytes.
    pub fn taken_bytes(&self) -> u64 {
        self.share.room().1
    }
}
