//! One connection of a control session, and what it takes to replace it when its path dies.
//!
//! Only silence is survived (a path that carries nothing any more): a connection that the other end closes or
//! resets has been given up there, and so it is here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Select, Sender, bounded, never};
use pathproof_engine::control::{FRAME_BYTES_MAX, FrameDecoder, HELLO_BYTES_MAX, Message};
use pathproof_model::{ErrorCause, ErrorKind};

use crate::gone;
use crate::secure::{SecureReader, SecureWriter};

/// How a connection ended over which something came that was not sent so.
const CHANGED: &str = "a message came with other bytes than were sent (its seal, ChaCha20-Poly1305, does not fit), although every checksum of TCP fitted";

/// Messages that a connection holds before its reader stops reading.
pub const INBOX: usize = 16;

/// What came over a connection.
#[derive(Debug)]
pub enum Heard {
    /// A message, from an end that had seen so many of ours.
    Message(u32, Box<Message>),
    /// Nothing will come any more.
    Lost(Loss),
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub struct Loss {
    /// In words.
    pub how: String,
    /// Nobody closed it: the path fell silent.
    pub silent: bool,
    /// What it counts as when no other connection takes over. Only what the connection itself did is a lost peer.
    pub kind: ErrorKind,
    /// How the other end went, where that is known.
    pub cause: Option<ErrorCause>,
}

impl Loss {
    /// From what the system said.
    pub fn of(error: &io::Error) -> Loss {
        use io::ErrorKind::{
            AddrNotAvailable, HostUnreachable, InvalidData, NetworkDown, NetworkUnreachable, TimedOut,
            UnexpectedEof, WouldBlock,
        };
        let how = match error.kind() {
            UnexpectedEof => "it was closed".into(),
            InvalidData => CHANGED.into(),
            _ => error.to_string(),
        };
        let silent = matches!(
            error.kind(),
            TimedOut | WouldBlock | HostUnreachable | NetworkUnreachable | NetworkDown | AddrNotAvailable
        );
        // Only a piece whose seal is wrong is that: nothing of it was used.
        let changed = (error.kind() == InvalidData).then_some(ErrorCause::Changed);
        Loss { how, silent, kind: ErrorKind::PeerLost, cause: changed.or_else(|| gone::of(error)) }
    }

    /// This end gives the connection up, for a reason that is not the path's.
    pub fn given_up(kind: ErrorKind, how: String) -> Loss {
        Loss { how, silent: false, kind, cause: None }
    }
}

/// A connection with the thread that reads it.
pub struct Link {
    /// The address at this end.
    pub local: SocketAddr,
    /// The address at the other end.
    pub peer: SocketAddr,
    /// The revision of the protocol at the other end, where that was dialled.
    pub revision: Option<u8>,
    writer: SecureWriter,
    inbox: Receiver<Heard>,
    reader: Option<JoinHandle<()>>,
    large: Arc<AtomicBool>,
}

impl Link {
    /// Takes over a secure channel.
    pub fn new(
        (writer, reader): (SecureWriter, SecureReader),
        (local, peer): (SocketAddr, SocketAddr),
    ) -> io::Result<Link> {
        // Bounded: a peer that sends faster than we read is slowed down by TCP, not bought memory.
        let (sender, inbox) = bounded(INBOX);
        let large = Arc::new(AtomicBool::new(false));
        let allowed = large.clone();
        let revision = reader.revision();
        let reader = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || read_messages(reader, &sender, &allowed))?;
        Ok(Link { local, peer, revision, writer, inbox, reader: Some(reader), large })
    }

    /// Allows large messages, once the peer is known.
    pub fn allow_large_messages(&self) {
        self.large.store(true, Ordering::Relaxed);
    }

    /// Sends frames.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Loss> {
        self.writer.send(bytes).map_err(|e| Loss::of(&e))
    }

    /// Whether the other host has acknowledged everything that was sent.
    pub fn is_acknowledged(&self) -> bool {
        self.writer.is_acknowledged() == Some(true)
    }

    /// Wakes whoever waits with `select` when something has come.
    pub fn watch<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.inbox);
    }

    /// What comes within `wait`, if anything does.
    pub fn hear(&self, wait: Duration) -> Option<Heard> {
        match self.inbox.recv_timeout(wait) {
            Ok(heard) => Some(heard),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                Some(Heard::Lost(Loss::given_up(ErrorKind::System, "the reader ended".into())))
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.writer.shutdown();
        // The reader may wait for room in the inbox; it ends when nobody takes anything out any more.
        self.inbox = never();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn read_messages(mut reader: SecureReader, sender: &Sender<Heard>, large: &AtomicBool) {
    let mut decoder = FrameDecoder::new(HELLO_BYTES_MAX);
    let mut plain = Vec::new();
    loop {
        plain.clear();
        if let Err(error) = reader.receive(&mut plain) {
            let _ = sender.send(Heard::Lost(Loss::of(&error)));
            return;
        }
        decoder.push(&plain);
        if large.load(Ordering::Relaxed) {
            decoder.set_cap(FRAME_BYTES_MAX);
        }
        loop {
            match decoder.next_message() {
                Ok(Some((seen, message))) => {
                    if sender.send(Heard::Message(seen, Box::new(message))).is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    let loss = Loss::given_up(ErrorKind::Protocol, error.to_string());
                    let _ = sender.send(Heard::Lost(loss));
                    return;
                }
            }
        }
    }
}

/// A connection on which the other end has come back.
pub struct Fresh {
    /// The connection.
    pub link: Link,
    /// How many of our messages it has.
    pub seen: u32,
}

/// Begins to look for a way back to the server, which has told so many messages.
pub type Dial = Box<dyn Fn(u32) + Send>;

/// How a session gets another connection when its own falls silent.
pub struct Revival {
    /// Where it comes from; an error is the end of all hope.
    pub fresh: Receiver<Result<Fresh, String>>,
    /// For the end that dials; the other one waits.
    pub dial: Option<Dial>,
    /// How long it may take.
    pub patience: Duration,
}
