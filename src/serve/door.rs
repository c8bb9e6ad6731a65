//! The door: finds out what each fresh connection is, without spending anything on it that a stranger could use up.
//!
//! One thread serves all who have not proved themselves yet: a socket and a hundred bytes each, no thread, no
//! wait. A connection has [`PATIENCE`] for everything together, from the first byte to the proof of the key, however it spreads
//! its bytes. When places run out, the address that holds most of them gives up its oldest one: honest clients are through
//! within two round trips, so those who stay are the ones to go. While nobody knocks the thread sleeps.
//!
//! It refuses to judge what a client wants: that begins after the door.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use pathproof_engine::control::{LANE_MAGIC, MAGIC, PREAMBLE_BYTES, Preamble};
use pathproof_sys::AsDescriptor;
use pathproof_sys::clock::{Clock, Tick};
use pathproof_sys::limits;
use pathproof_sys::socket::wait_readable;
use pathproof_tcp::{LANE_PREAMBLE_BYTES, LanePreamble};
use snow::StatelessTransportState;

use super::origin::{Origin, canonical};
use super::stranger_log::StrangerLog;
use super::wrong_keys::WrongKeys;
use super::{Place, Shared, converse};
use crate::run::prepare_socket;
use crate::secure::handshake::{Answering, PROOF_BYTES};
use crate::secure::{Refusal, SecureError};

/// How long a connection may take, in all, to say what it is and to prove the key.
const PATIENCE: Duration = Duration::from_secs(5);
/// Strangers at once; fewer where the process may have few descriptors.
const PLACES: usize = 256;
/// Connections taken in before the strangers inside are looked at again: few enough that an honest client, which is looked
/// at twice, is never the oldest of [`PLACES`] by then.
const BATCH: usize = 32;
/// How long nobody is taken in when there are no descriptors.
const BREATH: Duration = Duration::from_millis(100);
/// Proved clients that may be greeting, or being refused with reasons, beside those that are served.
const GREETING_MAX: u32 = 32;

/// What is known of a connection so far.
enum Stage {
    /// It has not said what it is.
    FirstBytes,
    /// It wants to be a data lane.
    Lane,
    /// It wants to be a client.
    Preamble,
    /// It was asked to prove the key.
    Proof(Box<Answering>),
}

impl Stage {
    fn wants(&self) -> usize {
        match self {
            Stage::FirstBytes => MAGIC.len(),
            Stage::Lane => LANE_PREAMBLE_BYTES,
            Stage::Preamble => PREAMBLE_BYTES,
            Stage::Proof(_) => PROOF_BYTES,
        }
    }
}

/// A connection that has proved nothing yet.
struct Stranger {
    stream: TcpStream,
    from: SocketAddr,
    came: Tick,
    stage: Stage,
    /// It has heard this end's preamble.
    greeted: bool,
    bytes: [u8; PROOF_BYTES],
    have: usize,
}

/// What became of a stranger.
enum Fate {
    /// It has more to say.
    Waits,
    /// It is the data connection of a lane.
    Lane(LanePreamble),
    /// It is a client, which hears the answer and is one then.
    Client(Vec<u8>, Box<StatelessTransportState>),
    /// It is turned away.
    Goes(Why),
}

/// Why a stranger is turned away.
#[derive(Clone, Copy)]
enum Why {
    Left,
    Slow,
    Crowded,
    Stray,
    NoLane,
    OtherVersion,
    NoKey,
    NoKeyHere,
    WrongKey,
    SlowedDown(Duration),
    ServingMany,
    Failed,
}

impl Why {
    /// For the log, after a count.
    fn words(self) -> &'static str {
        match self {
            Why::Left => "left before it said what it is",
            Why::Slow => "too slow (no proof of the key within 5 s)",
            Why::Crowded => "made room for others",
            Why::Stray => "stray connection (not pathproof)",
            Why::NoLane => "data connection refused (no session expects it)",
            Why::OtherVersion => "handshake failed (another protocol version)",
            Why::NoKey => "handshake failed (no key)",
            Why::NoKeyHere => "handshake failed (a key where none is used)",
            Why::WrongKey => "handshake failed (wrong key)",
            Why::SlowedDown(_) => "sent off to wait after wrong keys",
            Why::ServingMany => "no place to serve it",
            Why::Failed => "no socket or thread for it",
        }
    }

    /// What it hears, if it would understand.
    fn refusal(self) -> Option<Refusal> {
        match self {
            Why::Slow => Some(Refusal::TooSlow),
            Why::Crowded | Why::ServingMany => Some(Refusal::Busy),
            Why::NoKey => Some(Refusal::KeyNeeded),
            Why::NoKeyHere => Some(Refusal::NoKeyHere),
            Why::WrongKey => Some(Refusal::WrongKey),
            Why::SlowedDown(wait) => {
                let seconds = wait.as_millis().div_ceil(1000).try_into().unwrap_or(u16::MAX);
                Some(Refusal::SlowedDown { seconds })
            }
            Why::Left | Why::Stray | Why::NoLane | Why::OtherVersion | Why::Failed => None,
        }
    }
}

/// The door of a server.
pub struct Door {
    listeners: Vec<TcpListener>,
    shared: Arc<Shared>,
    places: usize,
    strangers: Vec<Stranger>,
    wrong_keys: WrongKeys,
    log: StrangerLog,
    /// Nobody is taken in before then: there were no descriptors.
    closed_until: Option<Tick>,
}

impl Door {
    /// A door behind `listeners`, which do not block.
    pub fn new(listeners: Vec<TcpListener>, shared: Arc<Shared>) -> Door {
        let descriptors = limits::open_files_max();
        // Most descriptors are for the sessions: sockets of lanes, files of devices.
        let share = descriptors.map_or(PLACES, |n| usize::try_from(n / 4).unwrap_or(PLACES));
        Door {
            listeners,
            shared,
            places: share.clamp(1, PLACES),
            strangers: vec![],
            wrong_keys: WrongKeys::default(),
            log: StrangerLog::default(),
            closed_until: None,
        }
    }

    fn now(&self) -> Tick {
        self.shared.settings.clock.now()
    }

    /// Serves until the process ends.
    pub fn keep(mut self) {
        loop {
            let (knocking, ready) = self.wait();
            // From the last to the first, so that taking one out leaves the places of those to come.
            for place in ready.into_iter().rev() {
                let stranger = self.strangers.swap_remove(place);
                if let Some(stays) = self.attend(stranger) {
                    self.strangers.push(stays);
                }
            }
            self.send_the_slow_away();
            for listener in knocking {
                self.take_in(listener);
            }
            let now = self.now();
            if let Some(line) = self.log.line(now) {
                tracing::warn!("{line}");
            }
        }
    }

    /// Sleeps until there is something to do: which listeners have somebody, and which strangers said something.
    fn wait(&mut self) -> (Vec<usize>, Vec<usize>) {
        let now = self.now();
        self.closed_until = self.closed_until.filter(|until| *until > now);
        let slowest = self.strangers.iter().map(|stranger| stranger.came + PATIENCE).min();
        let next = [slowest, self.log.due(now), self.closed_until].into_iter().flatten().min();
        let open = if self.closed_until.is_none() { self.listeners.len() } else { 0 };
        let doors = self.listeners[..open].iter().map(AsDescriptor::descriptor);
        let inside = self.strangers.iter().map(|stranger| stranger.stream.descriptor());
        let all: Vec<_> = doors.chain(inside).collect();
        let ready = wait_readable(&all, next.map(|at| at.since(now))).unwrap_or_else(|error| {
            tracing::warn!("cannot wait for connections: {error}");
            std::thread::sleep(BREATH);
            vec![false; all.len()]
        });
        let said = |ready: &[bool]| -> Vec<usize> {
            ready.iter().enumerate().filter(|(_, ready)| **ready).map(|(at, _)| at).collect()
        };
        let (doors, inside) = ready.split_at(open);
        (said(doors), said(inside))
    }

    fn take_in(&mut self, listener: usize) {
        for _ in 0..BATCH {
            match self.listeners[listener].accept() {
                Ok((stream, from)) => {
                    let from = canonical(from);
                    if stream.set_nonblocking(true).is_err() {
                        self.log.note(from.ip(), Why::Failed.words());
                        continue;
                    }
                    let newcomer = Stranger {
                        stream,
                        from,
                        came: self.now(),
                        stage: Stage::FirstBytes,
                        greeted: false,
                        bytes: [0; PROOF_BYTES],
                        have: 0,
                    };
                    // Most have said something by now: whoever is done at once takes nobody's place.
                    if let Some(stays) = self.attend(newcomer) {
                        if self.strangers.len() >= self.places {
                            self.make_room();
                        }
                        self.strangers.push(stays);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if limits::out_of_files(&error).is_some() => {
                    if self.strangers.is_empty() {
                        tracing::warn!(
                            "too few file descriptors to take in more connections; raise the limit (ulimit -n)"
                        );
                        self.closed_until = Some(self.now() + BREATH);
                        return;
                    }
                    self.make_room();
                }
                // A connection that was given up while it waited, or a network that is down: the next one is tried.
                Err(error) => {
                    tracing::debug!("accept: {error}");
                    return;
                }
            }
        }
    }

    /// The address with most strangers gives up the one that has been here longest.
    fn make_room(&mut self) {
        let mut held: HashMap<Origin, usize> = HashMap::new();
        for stranger in &self.strangers {
            *held.entry(Origin::of(stranger.from.ip())).or_default() += 1;
        }
        let most = held.values().max().copied().unwrap_or(0);
        let candidates = self.strangers.iter().enumerate();
        let oldest = candidates
            .filter(|(_, stranger)| held[&Origin::of(stranger.from.ip())] == most)
            .min_by_key(|(_, stranger)| stranger.came);
        if let Some((at, _)) = oldest {
            let stranger = self.strangers.swap_remove(at);
            self.turn_away(stranger, Why::Crowded);
        }
    }

    fn send_the_slow_away(&mut self) {
        let now = self.now();
        while let Some(at) = self.strangers.iter().position(|stranger| now >= stranger.came + PATIENCE) {
            let stranger = self.strangers.swap_remove(at);
            self.turn_away(stranger, Why::Slow);
        }
    }

    /// Hears what a stranger has to say, and keeps it only while it has more.
    fn attend(&mut self, mut stranger: Stranger) -> Option<Stranger> {
        match self.hear(&mut stranger) {
            Fate::Waits => return Some(stranger),
            Fate::Goes(why) => self.turn_away(stranger, why),
            Fate::Lane(preamble) => {
                let Stranger { stream, from, .. } = stranger;
                let handed = stream.set_nonblocking(false).is_ok()
                    && self.shared.registry.door().deliver(&preamble, stream).is_ok();
                if !handed {
                    self.log.note(from.ip(), Why::NoLane.words());
                }
            }
            Fate::Client(answer, cipher) => self.let_in(stranger, &answer, *cipher),
        }
        None
    }

    fn hear(&mut self, stranger: &mut Stranger) -> Fate {
        loop {
            let wants = stranger.stage.wants();
            while stranger.have < wants {
                // Never more than the stage wants: what follows belongs to whoever takes the connection over.
                match stranger.stream.read(&mut stranger.bytes[stranger.have..wants]) {
                    Ok(0) => return Fate::Goes(Why::Left),
                    Ok(n) => stranger.have += n,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Fate::Waits,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return Fate::Goes(Why::Left),
                }
            }
            match std::mem::replace(&mut stranger.stage, Stage::FirstBytes) {
                Stage::FirstBytes if stranger.bytes.starts_with(&LANE_MAGIC) => stranger.stage = Stage::Lane,
                Stage::FirstBytes if stranger.bytes.starts_with(&MAGIC) => stranger.stage = Stage::Preamble,
                Stage::FirstBytes => return Fate::Goes(Why::Stray),
                Stage::Lane => {
                    let bytes = stranger.bytes.first_chunk();
                    return bytes.and_then(LanePreamble::decode).map_or(Fate::Goes(Why::Stray), Fate::Lane);
                }
                Stage::Preamble => {
                    stranger.stage = Stage::Preamble;
                    match self.ask(stranger) {
                        Ok(answering) => stranger.stage = Stage::Proof(Box::new(answering)),
                        Err(why) => return Fate::Goes(why),
                    }
                    stranger.have = 0;
                }
                Stage::Proof(answering) => return self.check(stranger, *answering),
            }
        }
    }

    /// Answers a client's preamble with this end's, and with the beginning of the key exchange.
    fn ask(&mut self, stranger: &mut Stranger) -> Result<Answering, Why> {
        let (access, from) = (&self.shared.settings.access, stranger.from.ip());
        let Some(preamble) = stranger.bytes.first_chunk() else { return Err(Why::Stray) };
        if !access.allows(from) {
            return Err(Why::NoKey);
        }
        self.look_at_wrong_keys(stranger.from)?;
        prepare_socket(&stranger.stream).map_err(|_| Why::Failed)?;
        let (answer, answering) = Answering::begin(access, preamble);
        // A socket that has sent nothing yet has room for a hundred bytes.
        stranger.stream.write_all(&answer).map_err(|_| Why::Left)?;
        stranger.greeted = true;
        answering.map_err(|error| match error {
            SecureError::Refused(Refusal::KeyNeeded) => Why::NoKey,
            SecureError::Refused(_) => Why::NoKeyHere,
            _ => Why::OtherVersion,
        })
    }

    fn look_at_wrong_keys(&self, from: SocketAddr) -> Result<(), Why> {
        self.wrong_keys.wait(from.ip(), self.now()).map_or(Ok(()), |wait| Err(Why::SlowedDown(wait)))
    }

    /// Looks at a client's one guess. Others from the same address may have been wrong since it was asked.
    fn check(&mut self, stranger: &Stranger, answering: Answering) -> Fate {
        if let Err(why) = self.look_at_wrong_keys(stranger.from) {
            return Fate::Goes(why);
        }
        match answering.finish(&stranger.bytes) {
            Ok((answer, cipher)) => Fate::Client(answer, Box::new(cipher)),
            Err(_) => {
                // Where there is no key, there is none to guess, and nobody to be slowed down.
                if self.shared.settings.access.is_keyed() {
                    self.wrong_keys.count(stranger.from.ip(), self.now());
                }
                Fate::Goes(Why::WrongKey)
            }
        }
    }

    /// From here on a client has a thread.
    fn let_in(&mut self, mut stranger: Stranger, answer: &[u8], cipher: StatelessTransportState) {
        let most = self.shared.settings.limits.clients.saturating_add(GREETING_MAX);
        let Some(place) = Place::take(&self.shared.inside, most) else {
            return self.turn_away(stranger, Why::ServingMany);
        };
        let (shared, from) = (self.shared.clone(), stranger.from);
        let told = stranger.stream.write_all(answer).and_then(|()| stranger.stream.set_nonblocking(false));
        let spawned = told.and_then(|()| {
            std::thread::Builder::new().name("client".into()).spawn(move || {
                converse(stranger.stream, cipher, from, &shared);
                drop(place);
            })
        });
        if spawned.is_err() {
            self.log.note(from.ip(), Why::Failed.words());
        }
    }

    /// Says why, if that can be said, and closes.
    fn turn_away(&mut self, mut stranger: Stranger, why: Why) {
        self.log.note(stranger.from.ip(), why.words());
        let is_lane = matches!(stranger.stage, Stage::Lane);
        let Some(refusal) = why.refusal().filter(|_| !is_lane) else { return };
        let ours = Preamble::ours(self.shared.settings.access.is_keyed()).encode();
        let unheard: &[u8] = if stranger.greeted { &[] } else { &ours };
        let said = stranger.stream.write_all(&[unheard, &refusal.encode()].concat());
        let _ = said.and_then(|()| stranger.stream.shutdown(Shutdown::Write));
        // Closing on bytes that were not read is a reset, which may overtake what was just said.
        let mut unread = [0; 256];
        for _ in 0..4 {
            if !matches!(stranger.stream.read(&mut unread), Ok(n) if n > 0) {
                break;
            }
        }
    }
}
