//! Connections by TCP: one thread for all who have not shown the password, and one for each who has.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{MessagePipe, Wait};
use pathproof_smb2::direct_tcp::DirectTcp;
use pathproof_smb2::server::{Conversation, MESSAGE_BYTES_MAX, STRANGER_BYTES_MAX, Turn};
use pathproof_sys::AsDescriptor;
use pathproof_sys::clock::{Clock as _, Tick};
use pathproof_sys::socket::wait_readable;

use super::{CONNECTIONS_MAX, PATIENCE, Shared, WHOLE_WITHIN, send, silence};
use crate::serve::Place;
use crate::serve::origin::{Origin, canonical};
use crate::serve::stranger_log::StrangerLog;

/// Strangers at once.
const PLACES: usize = 64;
/// Messages that a stranger may send: a logon is three, and some ask first whether anybody is there.
const MESSAGES_MAX: u32 = 12;
/// Connections taken in before the strangers inside are looked at again.
const BATCH: usize = 16;
/// How long nobody is taken in when the kernel gives no connection.
const BREATH: Duration = Duration::from_millis(100);

struct Stranger {
    pipe: DirectTcp,
    conversation: Conversation,
    from: SocketAddr,
    came: Tick,
    messages: u32,
}

/// What became of a stranger.
enum Fate {
    Waits,
    Proven,
    Goes(&'static str),
}

/// All who have not shown the password.
pub struct Strangers {
    listeners: Vec<TcpListener>,
    shared: Arc<Shared>,
    inside: Vec<Stranger>,
    log: StrangerLog,
    message: Vec<u8>,
    answer: Vec<u8>,
}

impl Strangers {
    /// None yet.
    pub fn new(listeners: Vec<TcpListener>, shared: Arc<Shared>) -> Strangers {
        Strangers {
            listeners,
            shared,
            inside: vec![],
            log: StrangerLog::default(),
            message: vec![],
            answer: vec![],
        }
    }

    /// Serves until the process ends.
    pub fn keep(mut self) {
        loop {
            let ready = self.wait();
            let (knocking, said) = ready.split_at(self.listeners.len());
            let (knocking, said) = (knocking.to_vec(), said.to_vec());
            // From the last to the first, so that taking one out leaves the places of those to come.
            for place in (0..said.len()).rev().filter(|place| said[*place]) {
                let stranger = self.inside.swap_remove(place);
                self.attend(stranger);
            }
            let now = self.shared.clock.now();
            while let Some(at) = self.inside.iter().position(|stranger| now >= stranger.came + PATIENCE) {
                let slow = self.inside.swap_remove(at);
                self.log.note(slow.from.ip(), "sink: too slow (no password within 10 s)");
            }
            for listener in (0..knocking.len()).filter(|at| knocking[*at]) {
                self.take_in(listener);
            }
            if let Some(line) = self.log.line(self.shared.clock.now()) {
                tracing::warn!("{line}");
            }
        }
    }

    fn wait(&self) -> Vec<bool> {
        let now = self.shared.clock.now();
        let slowest = self.inside.iter().map(|stranger| stranger.came + PATIENCE).min();
        let next = [slowest, self.log.due(now)].into_iter().flatten().min();
        let doors = self.listeners.iter().map(AsDescriptor::descriptor);
        let all: Vec<_> = doors.chain(self.inside.iter().map(|one| one.pipe.stream().descriptor())).collect();
        wait_readable(&all, next.map(|at| at.since(now))).unwrap_or_else(|error| {
            tracing::warn!("the SMB sink cannot wait for connections: {error}");
            std::thread::sleep(BREATH);
            vec![false; all.len()]
        })
    }

    fn take_in(&mut self, listener: usize) {
        for _ in 0..BATCH {
            let (stream, from) = match self.listeners[listener].accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!("the SMB sink cannot accept: {error}");
                    if pathproof_sys::limits::out_of_files(&error).is_some() {
                        std::thread::sleep(BREATH);
                    }
                    return;
                }
            };
            let from = canonical(from);
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            if self.inside.len() >= PLACES {
                self.make_room();
            }
            let limits = (STRANGER_BYTES_MAX, STRANGER_BYTES_MAX);
            let pipe = DirectTcp::accepted(stream, PATIENCE, limits, &self.shared.clock);
            let conversation = Conversation::new(&self.shared.server);
            let came = self.shared.clock.now();
            self.attend(Stranger { pipe, conversation, from, came, messages: 0 });
        }
    }

    /// The address with most strangers gives up the one that has been here longest.
    fn make_room(&mut self) {
        let mut held: HashMap<Origin, usize> = HashMap::new();
        for stranger in &self.inside {
            *held.entry(Origin::of(stranger.from.ip())).or_default() += 1;
        }
        let most = held.values().max().copied().unwrap_or(0);
        let candidates = self.inside.iter().enumerate();
        let oldest = candidates
            .filter(|(_, stranger)| held[&Origin::of(stranger.from.ip())] == most)
            .min_by_key(|(_, stranger)| stranger.came);
        if let Some((at, _)) = oldest {
            let gone = self.inside.swap_remove(at);
            self.log.note(gone.from.ip(), "sink: made room for others");
        }
    }

    fn attend(&mut self, mut stranger: Stranger) {
        let from = stranger.from;
        match self.hear(&mut stranger) {
            Fate::Waits => self.inside.push(stranger),
            Fate::Goes(why) => self.log.note(from.ip(), why),
            Fate::Proven => {
                let Some(place) = Place::take(&self.shared.inside, CONNECTIONS_MAX) else {
                    return self.log.note(from.ip(), "sink: no place to serve it");
                };
                let shared = self.shared.clone();
                let serve = move || {
                    converse(stranger, &shared);
                    drop(place);
                };
                if std::thread::Builder::new().name("sink".into()).spawn(serve).is_err() {
                    self.log.note(from.ip(), "sink: no thread for it");
                }
            }
        }
    }

    fn hear(&mut self, stranger: &mut Stranger) -> Fate {
        loop {
            match stranger.pipe.poll(&mut self.message, Wait::No) {
                Ok(None) => return Fate::Waits,
                Ok(Some(_)) => {}
                Err(_) => return Fate::Goes("sink: left, or no SMB"),
            }
            stranger.messages += 1;
            if stranger.messages > MESSAGES_MAX {
                return Fate::Goes("sink: talked without logging on");
            }
            let refused = stranger.conversation.refused_logons();
            let (conversation, from) = (&mut stranger.conversation, stranger.from.ip());
            match self.shared.answer(conversation, from, &mut self.message, None, &mut self.answer) {
                Turn::HangUp(_) => return Fate::Goes("sink: broke the protocol before logging on"),
                Turn::Silence => continue,
                Turn::Answer(_) => {}
            }
            if send(&mut stranger.pipe, &self.answer, None).is_err() {
                return Fate::Goes("sink: left before it had its answer");
            }
            if stranger.conversation.refused_logons() > refused {
                return Fate::Goes("sink: wrong user or password");
            }
            if stranger.conversation.is_proven() {
                return Fate::Proven;
            }
        }
    }
}

/// A client that has shown the password, on its own thread.
fn converse(client: Stranger, shared: &Shared) {
    let Stranger { mut pipe, mut conversation, from, .. } = client;
    tracing::info!(%from, "sink: client logged on");
    pipe.allow(WHOLE_WITHIN, (MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX));
    let (mut message, mut answer) = (vec![], vec![]);
    let why = loop {
        match pipe.poll(&mut message, silence()) {
            Ok(Some(_)) => {}
            Ok(None) => break "it was silent for 15 min".to_owned(),
            Err(error) => break error.to_string(),
        }
        match shared.answer(&mut conversation, from.ip(), &mut message, None, &mut answer) {
            Turn::HangUp(why) => break format!("it broke the protocol: {why}"),
            Turn::Silence => {}
            Turn::Answer(_) => {
                if let Err(error) = send(&mut pipe, &answer, None) {
                    break error.to_string();
                }
            }
        }
        if !conversation.is_proven() && conversation.refused_logons() > 0 {
            break "it showed a wrong password".to_owned();
        }
    };
    tracing::info!(%from, "sink: connection over: {why}");
}
