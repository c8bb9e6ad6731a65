//! Attempts to connect, each in a thread of its own, and what is said of those that did not win.
//!
//! They end by themselves: nothing waits for them, and what opens late is closed at once.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use pathproof_api::{Clock, Tick};
use pathproof_model::told;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{ErrorKind, Finding, Severity, StepError};
use pathproof_sys::clock::RealClock;

/// Nothing for so long is silence: the kernel has asked three times.
const SILENT_NS: u64 = 3_200_000_000;

/// What an attempt has come to.
enum Outcome {
    UnderWay,
    Opened,
    Failed(io::Error),
}

struct Attempt {
    address: SocketAddr,
    begun: Tick,
    outcome: Outcome,
}

type Word = (usize, io::Result<Option<TcpStream>>);

/// All attempts at the addresses of one name.
pub struct Beside {
    host: String,
    clock: RealClock,
    reached: Option<SocketAddr>,
    attempts: Vec<Attempt>,
    tell: Sender<Word>,
    told: Receiver<Word>,
    settled: Arc<AtomicBool>,
}

impl Beside {
    pub(super) fn new(host: &str, clock: &RealClock) -> Beside {
        let (tell, told) = unbounded();
        let settled = Arc::new(AtomicBool::new(false));
        Beside {
            host: host.into(),
            clock: clock.clone(),
            reached: None,
            attempts: vec![],
            tell,
            told,
            settled,
        }
    }

    /// Begins an attempt.
    pub(super) fn begin(&mut self, address: SocketAddr, within: Duration) -> Result<(), StepError> {
        let (number, tell, settled) = (self.attempts.len(), self.tell.clone(), self.settled.clone());
        let attempt = move || {
            let opened = super::once(address, within, None);
            let kept = opened.map(|stream| (!settled.load(Ordering::Relaxed)).then_some(stream));
            drop(tell.send((number, kept)));
        };
        if let Err(why) = std::thread::Builder::new().name("dial".into()).spawn(attempt) {
            let message = format!("no thread can be started: {why}; raise the limit (ulimit -u)");
            return Err(StepError::new(ErrorKind::Resource, message));
        }
        self.attempts.push(Attempt { address, begun: self.clock.now(), outcome: Outcome::UnderWay });
        Ok(())
    }

    pub(super) fn attempts_at(&self, address: SocketAddr) -> usize {
        self.attempts.iter().filter(|attempt| attempt.address == address).count()
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.attempts.iter().any(|attempt| matches!(attempt.outcome, Outcome::UnderWay))
    }

    /// How the next attempt ends, if one does within `wait`.
    pub(super) fn outcome(&mut self, wait: Duration) -> Option<(SocketAddr, io::Result<TcpStream>)> {
        let (number, word) = self.told.recv_timeout(wait).ok()?;
        let attempt = &mut self.attempts[number];
        match word {
            Ok(stream) => {
                attempt.outcome = Outcome::Opened;
                Some((attempt.address, Ok(stream?)))
            }
            Err(why) => {
                let copy = why.raw_os_error().map_or_else(|| why.kind().into(), io::Error::from_raw_os_error);
                attempt.outcome = Outcome::Failed(copy);
                Some((attempt.address, Err(why)))
            }
        }
    }

    /// One of them has won; the others only tell what became of them.
    pub(super) fn settle(mut self, won: &TcpStream) -> Beside {
        self.settled.store(true, Ordering::Relaxed);
        self.reached = won.peer_addr().ok();
        self
    }

    /// What is to be said at the end of the run, when those that were silent have been so for long.
    pub fn findings(mut self) -> Vec<Finding> {
        while self.outcome(Duration::ZERO).is_some() {}
        let now = self.clock.now();
        let tried: Vec<Tried> = self
            .attempts
            .iter()
            .map(|one| Tried {
                address: one.address,
                end: DialEnd::of(&one.outcome, now.ns_since(one.begun)),
            })
            .collect();
        self.reached.map_or_else(Vec::new, |reached| conclude(&self.host, reached, &tried))
    }
}

/// An attempt as it stands at the end.
struct Tried {
    address: SocketAddr,
    end: DialEnd,
}

#[derive(Clone, Copy, PartialEq)]
enum DialEnd {
    /// Nothing came, for so long.
    Silent(u64),
    /// The network or the host before it said that nobody is there.
    Nobody,
    /// Whatever else: it opened, was refused, or nobody can tell yet.
    Other,
}

impl DialEnd {
    fn of(outcome: &Outcome, age_ns: u64) -> DialEnd {
        match outcome {
            Outcome::UnderWay if age_ns >= SILENT_NS => DialEnd::Silent(age_ns),
            Outcome::Failed(why) => match why.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                    DialEnd::Silent(age_ns.min(super::CONNECT.as_nanos() as u64))
                }
                io::ErrorKind::HostUnreachable => DialEnd::Nobody,
                _ => DialEnd::Other,
            },
            Outcome::UnderWay | Outcome::Opened => DialEnd::Other,
        }
    }
}

fn conclude(host: &str, reached: SocketAddr, tried: &[Tried]) -> Vec<Finding> {
    let mut addresses: Vec<SocketAddr> = vec![];
    for one in tried {
        if !addresses.contains(&one.address) {
            addresses.push(one.address);
        }
    }
    let at = |address: SocketAddr| tried.iter().filter(move |one| one.address == address);
    let before = |address: SocketAddr| {
        let place = |wanted: SocketAddr| addresses.iter().position(|one| *one == wanted);
        place(address) < place(reached)
    };
    let mut found = vec![];
    for address in addresses.iter().copied().filter(|address| *address != reached) {
        if at(address).any(|one| one.end == DialEnd::Other) {
            continue;
        }
        let why = at(address).find_map(|one| match one.end {
            DialEnd::Silent(ns) => Some(format!("gave no answer for {}", Nanoseconds(ns))),
            DialEnd::Nobody | DialEnd::Other => None,
        });
        let why = why.unwrap_or_else(|| "cannot be reached: nobody has that address on its network".into());
        let place = if before(address) { "stands before" } else { "stands beside" };
        let said = format!("{host} is also {}, which {why}; it {place} {}", address.ip(), reached.ip());
        let finding = Finding::new("NAME-DEAD-ADDRESS", said).tell(told::ADDRESS, address.ip());
        // Who begins with the address that answers does not notice.
        found.push(if before(address) { finding } else { finding.with_severity(Severity::Info) });
    }
    let silent = at(reached).filter(|one| matches!(one.end, DialEnd::Silent(_))).count();
    if silent > 0 {
        let (asked, opened) = (at(reached).count(), at(reached).count() - silent);
        let said = format!(
            "from this host to the server (out), {}/tcp: {opened} of {asked} attempts to connect opened and {silent} stayed silent from their \
             source ports, the kernel's repetitions included, so it depends on the flow: one member of a bundle or one of several routes is dead",
            reached.port()
        );
        found.push(
            Finding::new("CONNECT-PARTIAL", said).with("asked", asked as u64).with("silent", silent as u64),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reached: &str, tried: &[(&str, DialEnd)]) -> Vec<(String, Severity)> {
        let at = |text: &str| format!("{text}:7797").parse::<SocketAddr>().unwrap();
        let tried: Vec<Tried> =
            tried.iter().map(|(address, end)| Tried { address: at(address), end: *end }).collect();
        conclude("stor2", at(reached), &tried).into_iter().map(|one| (one.code, one.severity)).collect()
    }

    #[test]
    fn a_dead_address_of_a_name_is_told_and_one_that_refuses_is_not() {
        let silent = DialEnd::Silent(5_000_000_000);
        let dead = |severity| vec![("NAME-DEAD-ADDRESS".to_owned(), severity)];
        assert_eq!(
            told("10.0.0.2", &[("10.0.0.3", silent), ("10.0.0.2", DialEnd::Other)]),
            dead(Severity::Warning)
        );
        assert_eq!(
            told("10.0.0.2", &[("10.0.0.3", DialEnd::Nobody), ("10.0.0.2", DialEnd::Other)]),
            dead(Severity::Warning)
        );
        assert_eq!(
            told("10.0.0.2", &[("10.0.0.2", DialEnd::Other), ("10.0.0.3", silent)]),
            dead(Severity::Info)
        );
        assert_eq!(told("10.0.0.2", &[("10.0.0.3", DialEnd::Other), ("10.0.0.2", DialEnd::Other)]), []);
        // It was slow once, and answered from another port or later.
        assert_eq!(
            told(
                "10.0.0.2",
                &[("10.0.0.3", silent), ("10.0.0.3", DialEnd::Other), ("10.0.0.2", DialEnd::Other)]
            ),
            []
        );
    }

    #[test]
    fn a_flow_that_stays_silent_beside_one_that_opens_is_a_dead_member() {
        let silent = DialEnd::Silent(5_000_000_000);
        let partial = vec![("CONNECT-PARTIAL".to_owned(), Severity::Error)];
        assert_eq!(told("10.0.0.2", &[("10.0.0.2", silent), ("10.0.0.2", DialEnd::Other)]), partial);
        assert_eq!(told("10.0.0.2", &[("10.0.0.2", DialEnd::Other), ("10.0.0.2", DialEnd::Other)]), []);
    }

    #[test]
    fn what_is_young_or_refused_says_nothing() {
        assert!(DialEnd::of(&Outcome::UnderWay, 500_000_000) == DialEnd::Other);
        assert!(DialEnd::of(&Outcome::UnderWay, SILENT_NS) == DialEnd::Silent(SILENT_NS));
        let failed = |kind: io::ErrorKind| DialEnd::of(&Outcome::Failed(kind.into()), 1);
        assert!(failed(io::ErrorKind::ConnectionRefused) == DialEnd::Other);
        assert!(failed(io::ErrorKind::NetworkUnreachable) == DialEnd::Other);
        assert!(failed(io::ErrorKind::HostUnreachable) == DialEnd::Nobody);
    }
}
