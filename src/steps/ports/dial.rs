//! Speaks to the other end's ports. It dials the session's peer and ports of the list alone: there is no way to name another.
//!
//! Silence is believed after several attempts from different source ports, so that neither a lost packet nor one dead member of a
//! bundle passes for a filter. A datagram is sent from each of them several times: who forwards may lose the first of every flow, and of its way back.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use pathproof_api::{Clock, Tick};
use pathproof_engine::ports::{Heard, Listens};
use pathproof_model::{LeftSilent, OpenedAtOnce, Port};
use pathproof_sys::AsDescriptor;
use pathproof_sys::clock::RealClock;
use pathproof_sys::socket::{is_under_way, may_pass, wait_connected, wait_readable};
use socket2::{Domain, Socket, Type};

/// How long the first attempt at a port may take, one port after the other: a limit on new connections must not pass for a filter.
const FIRST: Duration = Duration::from_millis(60);
/// How long the later attempts may take, at all silent ports together, where a role needs them: the kernel sends its SYN again after
/// a second.
const LATER: [Duration; 2] = [Duration::from_millis(1300), Duration::from_millis(700)];
/// How long the one later attempt at the others may take at least and at most; between that it is four times what an answer took.
const BESIDE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(400));
/// Rounds of datagrams to ports that no role needs.
const ROUNDS_BESIDE: usize = 2;
/// How long the other end's word may take after the connection opened.
const WORD: Duration = Duration::from_secs(1);
/// How long each round of datagrams is listened for.
const ROUNDS: [Duration; 5] = [
    Duration::from_millis(150),
    Duration::from_millis(250),
    Duration::from_millis(400),
    Duration::from_millis(600),
    Duration::from_millis(800),
];
/// How long connections of a burst may take: two attempts of the kernel's.
const BURST: Duration = Duration::from_millis(1400);
/// How long a connection that was silent may take to answer.
const REVIVAL: Duration = Duration::from_secs(2);
/// How often a silent end looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);
/// How often a connection is used beside silent ones.
const USED_EVERY: Duration = Duration::from_millis(500);
/// How long its answer may take: where what comes first is lost, a kernel whose handshake was late sends again after up to 3 s (RFC 6298, 5.7).
const USED_ANSWER: Duration = Duration::from_millis(3500);
/// What is later than that over a connection in use was sent again by a kernel, as a rule ...
const USED_LATE: Duration = Duration::from_millis(150);
/// ... and is asked so many times then, however long each takes.
const USED_LEAST: usize = 4;
/// Silent connections that are tried again.
const AGAIN_MAX: usize = 4;

/// The longest that all of it takes, with the datagrams at a pace that follow where ports of UDP answered soon.
pub const LONGEST: Duration = Duration::from_millis(6 * 60 + 400 + 1300 + 700 + 6000 + 2 * 1400);
/// What it may take where some of it is silent, and the run has no more.
pub const USUAL: Duration = Duration::from_millis(6 * 60 + 400 + 2 * 1400);
/// What silent ports that a role needs may take beside that.
pub const CERTAIN: Duration = Duration::from_millis(1300 + 700);
/// What the ports that a role needs may take where some of them are silent, and nothing else is asked.
pub const NEEDED_ALONE: Duration = Duration::from_millis(6 * 60 + 400 + 1300 + 700);

/// A port that is spoken to.
#[derive(Clone, Copy)]
pub struct Asked {
    /// Which.
    pub port: Port,
    /// Who listens there.
    pub listens: Listens,
    /// Whether a role needs it in this direction, so that silence must be certain.
    pub needed: bool,
}

/// From where and to whom this end speaks.
pub struct Dialler<'a> {
    /// This end's address; its port does not matter.
    pub local: SocketAddr,
    /// The peer's address; its port does not matter.
    pub peer: SocketAddr,
    /// The peer's word.
    pub told: [u8; 32],
    /// With what this end asks.
    pub asks: [u8; 32],
    /// Whether it asks over connections as well, so that the peer knows this end's address and may speak to it.
    pub shows: bool,
    /// When it must be over.
    pub until: Tick,
    /// The clock.
    pub clock: &'a RealClock,
}

/// What became of one connection.
enum Opening {
    Open(TcpStream),
    Refused,
    Unreachable,
    Silent,
    Impossible(String),
}

impl Dialler<'_> {
    /// A wait, as far as there is time for it.
    pub fn within(&self, wait: Duration) -> Duration {
        wait.min(self.until.since(self.clock.now()))
    }

    /// The peer's address with a port.
    pub fn at(&self, port: u16) -> SocketAddr {
        let mut peer = self.peer;
        peer.set_port(port);
        peer
    }

    /// A TCP socket that begins to connect from `source`, where 0 is any.
    fn begin(&self, port: u16, source: u16) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.peer), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let mut local = self.local;
        local.set_port(source);
        socket.bind(&local.into())?;
        match socket.connect(&self.at(port).into()) {
            Err(error) if !is_under_way(&error) => Err(error),
            _ => Ok(socket),
        }
    }

    /// Opens a connection to each of `to` (a port, and the source port or 0), all at once; with the source ports that were used.
    fn open(&self, to: &[(u16, u16)], wait: Duration) -> Vec<(u16, Opening)> {
        self.open_timed(to, wait).into_iter().map(|(source, opening, _)| (source, opening)).collect()
    }

    /// The same, with the time after which each was known, in ns since all began.
    fn open_timed(&self, to: &[(u16, u16)], wait: Duration) -> Vec<(u16, Opening, u64)> {
        let began = self.clock.now();
        let deadline = self.clock.deadline(self.within(wait));
        let mut pending: Vec<Option<Socket>> = vec![];
        let mut found: Vec<(u16, Opening, u64)> = vec![];
        for (port, source) in to {
            let (socket, source, opening) = match self.begin(*port, *source) {
                Ok(socket) => {
                    let bound = socket.local_addr().ok().and_then(|address| address.as_socket());
                    (Some(socket), bound.map_or(*source, |address| address.port()), Opening::Silent)
                }
                Err(error) => (None, *source, ended(&error)),
            };
            pending.push(socket);
            found.push((source, opening, 0));
        }
        while pending.iter().any(Option::is_some) && !deadline.is_over() {
            let waiting: Vec<usize> = (0..pending.len()).filter(|at| pending[*at].is_some()).collect();
            let sockets: Vec<_> = pending.iter().flatten().map(AsDescriptor::descriptor).collect();
            let Ok(ready) = wait_connected(&sockets, deadline.left()) else { break };
            for (at, _) in waiting.into_iter().zip(ready).filter(|(_, ready)| *ready) {
                let Some(socket) = pending[at].take() else { continue };
                found[at].2 = self.clock.now().ns_since(began);
                found[at].1 = match socket.take_error() {
                    Ok(None) => Opening::Open(socket.into()),
                    Ok(Some(error)) | Err(error) => ended(&error),
                };
            }
        }
        found
    }

    /// Speaks to TCP ports; what was heard at each, in their order.
    pub fn ask_tcp(&self, ports: &[Asked]) -> Vec<Heard> {
        let mut quickest: Option<Duration> = None;
        let mut heard = vec![];
        for asked in ports {
            let began = self.clock.now();
            let first = self.attempts(std::slice::from_ref(asked), FIRST);
            let took = self.clock.now().since(began);
            if first.contains(&Heard::Token) {
                quickest = Some(quickest.map_or(took, |quickest| quickest.min(took)));
            }
            heard.extend(first);
        }
        let beside = quickest.map_or(BESIDE.1, |quickest| (quickest * 4).clamp(BESIDE.0, BESIDE.1));
        self.again(ports, &mut heard, beside, |_| true);
        // Where not one opened, it may be that new connections take longer than that: then the other end's own ports are asked patiently once.
        let none = !heard.iter().any(|one| matches!(one, Heard::Token | Heard::Opened));
        let slow = none && self.within(LATER[0]) >= LATER[0];
        let worth = |asked: &Asked| asked.needed || (slow && asked.listens == Listens::Agent);
        self.again(ports, &mut heard, LATER[0], worth);
        self.again(ports, &mut heard, LATER[1], |asked| asked.needed);
        heard
    }

    /// One more attempt at those that were silent, of those that are worth it.
    fn again(&self, ports: &[Asked], heard: &mut [Heard], wait: Duration, worth: impl Fn(&Asked) -> bool) {
        let silent: Vec<usize> =
            (0..ports.len()).filter(|at| heard[*at] == Heard::Nothing && worth(&ports[*at])).collect();
        if silent.is_empty() {
            return;
        }
        let again: Vec<Asked> = silent.iter().map(|at| ports[*at]).collect();
        for (at, now) in silent.into_iter().zip(self.attempts(&again, wait)) {
            heard[at] = now;
        }
    }

    /// One attempt at each port, all at once.
    fn attempts(&self, ports: &[Asked], wait: Duration) -> Vec<Heard> {
        if self.within(wait) < wait {
            return ports.iter().map(|_| Heard::NotAsked("the time of the run was up".into())).collect();
        }
        let to: Vec<(u16, u16)> = ports.iter().map(|asked| (asked.port.number(), 0)).collect();
        let opened = self.open(&to, wait);
        let heard = opened.into_iter().zip(ports).map(|((_, opening), asked)| match opening {
            Opening::Open(mut stream) => {
                if asked.listens == Listens::Agent && self.has_word(&mut stream) {
                    if self.shows {
                        // What comes of it is the other end's affair.
                        let _ = stream.write_all(&self.asks);
                    }
                    Heard::Token
                } else {
                    Heard::Opened
                }
            }
            Opening::Refused => Heard::Refused,
            Opening::Unreachable => Heard::Unreachable,
            Opening::Silent => Heard::Nothing,
            Opening::Impossible(why) => Heard::NotAsked(why),
        });
        heard.collect()
    }

    /// Whether the other end says its word.
    fn has_word(&self, stream: &mut TcpStream) -> bool {
        let mut word = [0; 32];
        let patient = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(WORD)));
        patient.and_then(|()| stream.read_exact(&mut word)).is_ok() && word == self.told
    }

    /// Asks UDP ports, each round from a new source port and from those of earlier rounds, and in the middle of the round once more; what was heard at
    /// each, in their order.
    pub fn ask_udp(&self, ports: &[Asked]) -> Vec<Heard> {
        let mut heard = vec![Heard::Nothing; ports.len()];
        let mut asking: Vec<(usize, UdpSocket)> = vec![];
        for (round, wait) in ROUNDS.into_iter().enumerate() {
            let worth = |at: &usize| round < ROUNDS_BESIDE || ports[*at].needed;
            let silent: Vec<usize> =
                (0..ports.len()).filter(|at| heard[*at] == Heard::Nothing && worth(at)).collect();
            if silent.is_empty() {
                break;
            }
            if self.within(wait) < wait {
                silent
                    .into_iter()
                    .for_each(|at| heard[at] = Heard::NotAsked("the time of the run was up".into()));
                break;
            }
            self.send_again(&asking, &mut heard);
            for at in silent {
                match self.question(ports[at].port.number()) {
                    Ok(socket) => asking.push((at, socket)),
                    Err(error) => heard[at] = Heard::NotAsked(format!("it could not be asked: {error}")),
                }
            }
            self.hear(&asking, &mut heard, wait / 2);
            self.send_again(&asking, &mut heard);
            self.hear(&asking, &mut heard, wait - wait / 2);
        }
        heard
    }

    /// Sends the question once more from each socket whose port was silent so far.
    fn send_again(&self, asking: &[(usize, UdpSocket)], heard: &mut [Heard]) {
        for (at, socket) in asking {
            if heard[*at] == Heard::Nothing
                && let Err(error) = socket.send(&self.asks)
                && let Some(now) = said_by(&error)
            {
                heard[*at] = now;
            }
        }
    }

    /// Takes in what comes within a time, unless nothing is silent any more.
    fn hear(&self, asking: &[(usize, UdpSocket)], heard: &mut [Heard], wait: Duration) {
        let deadline = self.clock.deadline(wait);
        while !deadline.is_over() && heard.contains(&Heard::Nothing) {
            let sockets: Vec<_> = asking.iter().map(|(_, socket)| socket.descriptor()).collect();
            let Ok(ready) = wait_readable(&sockets, Some(deadline.left())) else { break };
            // A refusal is an answer to one question; who answers another one was only late.
            for (_, (at, socket)) in ready.iter().zip(asking).filter(|(ready, _)| **ready) {
                match self.answer_to(socket) {
                    Some(Heard::Refused) if heard[*at] != Heard::Nothing => {}
                    Some(now) => heard[*at] = now,
                    None => {}
                }
            }
        }
    }

    fn question(&self, port: u16) -> io::Result<UdpSocket> {
        let mut local = self.local;
        local.set_port(0);
        let socket = UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        // Connected, so that nobody else can answer and refusals come back as errors.
        socket.connect(self.at(port))?;
        socket.send(&self.asks)?;
        Ok(socket)
    }

    fn answer_to(&self, socket: &UdpSocket) -> Option<Heard> {
        let mut word = [0; 64];
        match socket.recv(&mut word) {
            Ok(bytes) => (word[..bytes] == self.told).then_some(Heard::Token),
            Err(error) => said_by(&error),
        }
    }

    /// Opens connections that are left silent, each for its own time, and then used once. The shortest time comes first.
    pub fn leave_silent(
        &self,
        port: Port,
        silences_ns: &[u64],
        is_over: &mut dyn FnMut() -> bool,
    ) -> Vec<LeftSilent> {
        let began = self.clock.now();
        let opened = self.open(&vec![(port.number(), 0); silences_ns.len()], WORD);
        let mut waiting = vec![];
        for ((_, opening), silent_ns) in opened.into_iter().zip(silences_ns) {
            // The other end's word is read at once, so that nothing is on its way while the connection is silent.
            if let Opening::Open(mut stream) = opening
                && self.has_word(&mut stream)
            {
                waiting.push((stream, began.plus_ns(*silent_ns)));
            }
        }
        let silent_since = self.clock.now();
        let mut tried = vec![];
        for (mut stream, due) in waiting {
            if due.plus_ns(REVIVAL.as_nanos() as u64) > self.until {
                break;
            }
            // Looks now and then whether somebody wants to stop.
            while self.clock.now() < due && !is_over() {
                let wait = due.since(self.clock.now()).min(LOOK);
                if wait_readable(&[stream.descriptor()], Some(wait)).is_ok_and(|ready| ready == [true]) {
                    break;
                }
            }
            if is_over() {
                break;
            }
            let asked_at = self.clock.now();
            let silent_ns = asked_at.ns_since(silent_since);
            let alive = self.is_answered(&mut stream, REVIVAL);
            let answered_after_ns = alive.then(|| self.clock.now().ns_since(asked_at));
            tried.push(LeftSilent { silent_ns, alive, answered_after_ns });
        }
        tried
    }

    /// The same beside a connection that is used all the time, with how long each answer over that one took, in ns. Where it is dead in the end
    /// it was not the silence, and of the silent ones nothing is told.
    pub fn leave_silent_beside_one(
        &self,
        port: Port,
        silences_ns: &[u64],
        is_over: &mut dyn FnMut() -> bool,
    ) -> (Vec<LeftSilent>, Vec<u64>) {
        let nothing = (vec![], vec![]);
        let Some((_, Opening::Open(mut used))) = self.open(&[(port.number(), 0)], WORD).pop() else {
            return nothing;
        };
        let mut lives = self.has_word(&mut used);
        if !lives {
            return nothing;
        }
        let (mut used_at, mut took_ns) = (self.clock.now(), vec![]);
        let mut tried = self.leave_silent(port, silences_ns, &mut || {
            if lives && self.clock.now().since(used_at) >= USED_EVERY {
                let took = self.used_once(&mut used, is_over);
                lives = took.is_some();
                took_ns.extend(took);
                used_at = self.clock.now();
            }
            is_over()
        });
        let later = |took_ns: &[u64], than: Duration| took_ns.iter().any(|ns| *ns > than.as_nanos() as u64);
        while lives && took_ns.len() < USED_LEAST && later(&took_ns, USED_LATE) && !is_over() {
            // Nothing comes meanwhile but its end.
            let wait = self.within(USED_EVERY);
            if wait_readable(&[used.descriptor()], Some(wait)).is_ok_and(|ready| ready == [true]) {
                break;
            }
            let took = self.used_once(&mut used, is_over);
            lives = took.is_some();
            took_ns.extend(took);
        }
        let lives = lives && self.used_once(&mut used, is_over).is_some();
        // Where the one in use waits so long for an answer, a silent one without an answer may have been later still.
        let late = later(&took_ns, WORD);
        tried.retain(|one| lives && (one.alive || !late));
        (tried, took_ns)
    }

    /// How long an answer over the connection in use took, in ns; `None` where none came, or it was over before.
    fn used_once(&self, used: &mut TcpStream, is_over: &mut dyn FnMut() -> bool) -> Option<u64> {
        let asked_at = self.clock.now();
        used.write_all(&self.asks).ok()?;
        let deadline = self.clock.deadline(self.within(USED_ANSWER));
        while !deadline.is_over() && !is_over() {
            let ready = wait_readable(&[used.descriptor()], Some(deadline.left().min(LOOK))).ok()?;
            if ready == [true] {
                return self.has_word(used).then(|| self.clock.now().ns_since(asked_at));
            }
        }
        None
    }

    /// Whether a question over an open connection is answered by the other end's word.
    fn is_answered(&self, stream: &mut TcpStream, within: Duration) -> bool {
        let asked = stream.write_all(&self.asks).is_ok();
        let patient = stream.set_read_timeout(Some(within)).is_ok();
        let mut word = [0; 32];
        asked && patient && stream.read_exact(&mut word).is_ok() && word == self.told
    }

    /// Opens `asked` connections to one port at once and holds them until all had their time; some of the silent ones are tried
    /// again alone, from the same source ports.
    pub fn burst(&self, port: Port, asked: u32) -> Option<OpenedAtOnce> {
        if self.within(2 * BURST) < 2 * BURST {
            return None;
        }
        let number = port.number();
        let opened = self.open_timed(&vec![(number, 0); asked as usize], BURST);
        let count = |wanted: fn(&Opening) -> bool| opened.iter().filter(|(_, o, _)| wanted(o)).count() as u32;
        let open = opened.iter().filter(|(_, opening, _)| matches!(opening, Opening::Open(_)));
        let mut took: Vec<u64> = open.map(|(.., ns)| *ns).collect();
        took.sort_unstable();
        let mut burst = OpenedAtOnce {
            port: number,
            asked: asked - count(|opening| matches!(opening, Opening::Impossible(_))),
            opened: count(|opening| matches!(opening, Opening::Open(_))),
            refused: count(|opening| matches!(opening, Opening::Refused | Opening::Unreachable)),
            silent: count(|opening| matches!(opening, Opening::Silent)),
            median_ns: took.get(took.len() / 2).copied(),
            ..OpenedAtOnce::default()
        };
        let silent = opened.iter().filter(|(_, opening, _)| matches!(opening, Opening::Silent));
        let again: Vec<(u16, u16)> = silent.take(AGAIN_MAX).map(|(source, ..)| (number, *source)).collect();
        drop(opened);
        if !again.is_empty() {
            let tried = self.open(&again, BURST);
            let possible = tried.iter().filter(|(_, opening)| !matches!(opening, Opening::Impossible(_)));
            burst.again = possible.count() as u32;
            burst.again_opened =
                tried.iter().filter(|(_, opening)| matches!(opening, Opening::Open(_))).count() as u32;
        }
        (burst.asked > 0).then_some(burst)
    }
}

/// What ICMP messages of routers and firewalls come back as.
fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable)
}

/// What the error of a socket of datagrams says of an earlier one, where it says something.
fn said_by(error: &io::Error) -> Option<Heard> {
    match error.kind() {
        ErrorKind::ConnectionRefused => Some(Heard::Refused),
        _ if is_unreachable(error) => Some(Heard::Unreachable),
        _ => None,
    }
}

/// What the error of a connection says.
fn ended(error: &io::Error) -> Opening {
    match error.kind() {
        ErrorKind::TimedOut => Opening::Silent,
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Opening::Refused,
        // The session's own connection goes to the same host, so it is there: somebody says that it is not to be reached.
        ErrorKind::PermissionDenied => Opening::Unreachable,
        _ if is_unreachable(error) => Opening::Unreachable,
        _ if may_pass(error) => Opening::Refused,
        _ => Opening::Impossible(format!("no connection could be tried: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use super::*;

    const TOLD: [u8; 32] = [1; 32];
    const ASKS: [u8; 32] = [2; 32];

    /// What is heard at the port of heartbeats, where somebody answers each source port after so many of its questions, until it is told to stop.
    fn asked(host: u8, unanswered: Option<usize>) -> Heard {
        let there = IpAddr::from([127, 79, host, 2]);
        let listening = UdpSocket::bind((there, Port::Heartbeat.number())).unwrap();
        let answering = unanswered.map(|unanswered| {
            let listening = listening.try_clone().unwrap();
            std::thread::spawn(move || {
                let mut questions: BTreeMap<SocketAddr, usize> = BTreeMap::new();
                let mut word = [0; 64];
                while let Ok((bytes, from)) = listening.recv_from(&mut word) {
                    if word[..bytes] != ASKS {
                        break;
                    }
                    let known = questions.entry(from).or_default();
                    *known += 1;
                    if *known > unanswered {
                        listening.send_to(&TOLD, from).unwrap();
                    }
                }
                questions.into_values().max()
            })
        });
        // Where nobody answers nobody is there: the kernel refuses.
        let stop = unanswered.is_some().then(|| listening.local_addr().unwrap());
        drop(listening);
        let clock = RealClock::new();
        let dialler = Dialler {
            local: (IpAddr::from([127, 79, host, 1]), 0).into(),
            peer: (there, 0).into(),
            told: TOLD,
            asks: ASKS,
            shows: false,
            until: clock.now() + Duration::from_secs(20),
            clock: &clock,
        };
        let port = Asked { port: Port::Heartbeat, listens: Listens::Agent, needed: false };
        let mut heard = dialler.ask_udp(&[port]);
        if let (Some(at), Some(answering)) = (stop, answering) {
            UdpSocket::bind((there, 0)).unwrap().send_to(b"stop", at).unwrap();
            let most = answering.join().unwrap();
            assert!(
                most.is_some_and(|most| most > 1),
                "one port was asked {most:?} times from one source port"
            );
        }
        heard.remove(0)
    }

    #[test]
    fn a_port_of_datagrams_is_asked_again_from_the_same_source_port_before_silence_is_believed() {
        // Who forwards loses the first packet of a flow, and the first of its way back.
        assert_eq!(asked(1, Some(2)), Heard::Token);
        assert_eq!(asked(2, Some(usize::MAX)), Heard::Nothing);
        assert_eq!(asked(3, None), Heard::Refused);
    }

    #[test]
    fn a_connection_in_use_may_be_late_by_more_than_a_second_and_a_silent_one_beside_it_is_not_called_dead() {
        let there = IpAddr::from([127, 79, 4, 2]);
        let listening = std::net::TcpListener::bind((there, Port::SmbDirect.number())).unwrap();
        let answering = std::thread::spawn(move || {
            let (mut used, _) = listening.accept().unwrap();
            used.write_all(&TOLD).unwrap();
            let (mut silent, _) = listening.accept().unwrap();
            silent.write_all(&TOLD).unwrap();
            let (mut word, mut first) = ([0; 32], true);
            while used.read_exact(&mut word).is_ok() {
                if std::mem::take(&mut first) {
                    // Nothing comes over this one yet.
                    silent.set_read_timeout(Some(Duration::from_millis(1200))).unwrap();
                    assert!(silent.read(&mut word).is_err());
                }
                used.write_all(&TOLD).unwrap();
            }
        });
        let clock = RealClock::new();
        let dialler = Dialler {
            local: (IpAddr::from([127, 79, 4, 1]), 0).into(),
            peer: (there, 0).into(),
            told: TOLD,
            asks: ASKS,
            shows: false,
            until: clock.now() + Duration::from_secs(20),
            clock: &clock,
        };
        let (tried, took_ns) =
            dialler.leave_silent_beside_one(Port::SmbDirect, &[600_000_000], &mut || false);
        answering.join().unwrap();
        // It never answers, as one whose kernel waits for longer still.
        assert_eq!(tried, []);
        let (late, others) = took_ns.split_first().unwrap();
        assert!(*late > 1_000_000_000 && others.len() == USED_LEAST - 1, "{took_ns:?}");
        assert!(others.iter().all(|ns| *ns < 1_000_000_000), "{took_ns:?}");
    }
}
