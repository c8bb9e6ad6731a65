//! The SMB sink of a server: one share in memory that foreign clients may mount (`pathproof serve --smb-sink`).
//!
//! What is said is decided by `pathproof_smb2::server`; here are sockets, threads and places. The rules of the door hold here, too
//! (`serve/door.rs`): one thread serves all who have not shown the password, each of them has a few seconds in all, a few messages and a few
//! kilobytes; who has shown it gets a thread, while there are places. It has an account of its own, which has nothing to do with the key.

mod direct;
mod strangers;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use pathproof_api::{MessagePipe, Queued, TransportError, Wait};
use pathproof_smb2::Interface;
use pathproof_smb2::server::{Conversation, Reach, Server, Turn};
use pathproof_sys::clock::{Clock as _, RealClock};

use super::listen;
use super::wrong_keys::WrongKeys;

/// How long somebody who has not shown the password may take to do so.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may say nothing: longer than the time after which others ask whether anybody is there.
const SILENCE: Duration = Duration::from_secs(900);
/// Within what time a message that has begun must be whole, and an answer taken.
const WHOLE_WITHIN: Duration = Duration::from_secs(30);
/// Connections of clients at once, TCP and SMB Direct together.
const CONNECTIONS_MAX: u32 = 64;

/// What a sink is.
pub struct Settings {
    /// Account, share and memory.
    pub server: pathproof_smb2::server::Settings,
    /// Where it listens by TCP.
    pub listen: Vec<SocketAddr>,
    /// Where it listens by SMB Direct: addresses of RDMA devices.
    pub direct: Vec<SocketAddr>,
    /// The clock of the process.
    pub clock: RealClock,
    /// This host's NICs, as clients are told of them.
    pub interfaces: Vec<Interface>,
}

/// A sink with its listeners bound.
pub struct Sink {
    listeners: Vec<TcpListener>,
    direct: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

/// What all connections share.
struct Shared {
    server: Arc<Server>,
    clock: RealClock,
    wrong_passwords: Mutex<WrongKeys>,
    inside: Arc<AtomicU32>,
}

impl Shared {
    fn wrong_passwords(&self) -> MutexGuard<'_, WrongKeys> {
        self.wrong_passwords.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a message over, with what is known of wrong passwords from that address, and counts one more where it is one.
    fn answer(
        &self,
        conversation: &mut Conversation,
        from: IpAddr,
        message: &mut [u8],
        reach: Option<&mut dyn Reach>,
        out: &mut Vec<u8>,
    ) -> Turn {
        let now = self.clock.now();
        conversation.locked_out = self.wrong_passwords().wait(from, now).is_some();
        let before = conversation.refused_logons();
        let turn = conversation.answer(message, reach, out);
        if conversation.refused_logons() > before {
            self.wrong_passwords().count(from, now);
        }
        turn
    }
}

impl Sink {
    /// Listens, or says where it cannot.
    pub fn bind(settings: Settings) -> anyhow::Result<Sink> {
        let Settings { server, listen, direct, clock, interfaces } = settings;
        let listeners = listen::on(&listen).context("the SMB sink")?;
        let server = Server::new(server).context("the SMB sink")?;
        server.tell_interfaces(interfaces);
        let shared =
            Arc::new(Shared { server, clock, wrong_passwords: Mutex::default(), inside: Arc::default() });
        Ok(Sink { listeners, direct, shared })
    }

    /// The addresses listened on by TCP, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves on threads of this process for as long as it lives.
    pub fn run_in_background(self) {
        for address in self.direct {
            let shared = self.shared.clone();
            std::thread::spawn(move || direct::listen(address, &shared));
        }
        std::thread::spawn(move || strangers::Strangers::new(self.listeners, self.shared).keep());
    }
}

/// One answer on its way, whatever the pipe.
fn send(pipe: &mut dyn MessagePipe, answer: &[u8], ends: Option<u32>) -> Result<(), TransportError> {
    match pipe.send(&[answer], ends)? {
        Queued::Yes => Ok(()),
        Queued::Full => {
            let detail = "it asks for more than it takes".into();
            Err(TransportError::PeerGone { operation: "answering a client".into(), how: None, detail })
        }
    }
}

/// How long until a client that says nothing is given up.
fn silence() -> Wait {
    Wait::AtMost(SILENCE)
}
