//! Heartbeats as datagrams, over the path of the control connection: a thread that sends them and one that hears those of the other
//! end. Between them go some that are marked as each class is: how they arrive tells what becomes of the mark.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use pathproof_api::{Clock, Offer};
use pathproof_dgram::wire::{Paced, ProbeKey};
use pathproof_dgram::{Outcome, PacedListener, ProbeSocket, UnprovenSocket, wait_readable};
use pathproof_engine::contend::{Beats, MarksHeard};
use pathproof_model::contend::BEAT_NS;
use pathproof_model::{BeatsEnd, ContendSpec, StepError};
use pathproof_sys::AsDescriptor as _;
use pathproof_sys::clock::RealClock;
use pathproof_sys::ending::{self, Ender, Ending};

use crate::steps::mtu::consent::{Asked, ask};
use crate::steps::mtu::probe_error;
use crate::steps::stage::Cue;
use crate::steps::traffic::Companion;
use crate::steps::{Setup, no_ending};

/// Length of a heartbeat as an IP packet: what every link carries, of either family.
const IP_BYTES: u16 = 88;
/// The strand of the heartbeats; the marks of the classes have those after it.
const STRAND: u16 = 0;
/// With every so many heartbeats a datagram of each mark goes out.
const MARKED_EVERY: u64 = 5;
/// How long what was sent last may be on its way.
const LAST: Duration = Duration::from_millis(300);

/// What is sent.
#[derive(Clone)]
struct Planned {
    /// Heartbeats.
    count: u64,
    /// The traffic class of each strand: of heartbeats, then of each class that is marked.
    classes: Vec<u8>,
}

/// Where this end hears heartbeats, and what it sends them with.
pub struct Ready {
    listener: PacedListener,
    key: ProbeKey,
    local: IpAddr,
    peer: SocketAddr,
    planned: Planned,
    end: (Ender, Ending),
}

impl Ready {
    /// For those of a step.
    pub fn open(setup: &Setup<'_>, spec: &ContendSpec) -> Result<Ready, StepError> {
        let session = setup.session;
        let key = |from| ProbeKey::new(session.probe_key(setup.step, from));
        let local = session.local.ip().to_canonical();
        let listener =
            PacedListener::open(local, None, key(session.end.other())).map_err(|e| probe_error(&e))?;
        let end = ending::pair().map_err(|error| no_ending(&error))?;
        let classes = spec.marked().into_iter().map(|(_, dscp)| dscp << 2).collect();
        let planned = Planned { count: spec.beats(), classes };
        Ok(Ready { listener, key: key(session.end), local, peer: session.peer, planned, end })
    }

    /// The port.
    pub fn offer(&self) -> Offer {
        Offer(self.listener.port().to_le_bytes().to_vec())
    }

    /// The two threads, with what the other end offers, and where they leave what they have counted. `None` for what is no offer.
    pub fn companions(
        self,
        theirs: &Offer,
        clock: &RealClock,
    ) -> Option<([Companion; 2], Receiver<BeatsEnd>)> {
        let port = u16::from_le_bytes(theirs.0.as_slice().try_into().ok()?);
        let Ready { listener, key, local, peer, planned, end: (ender, ending) } = self;
        let to = match peer.ip().to_canonical() {
            IpAddr::V6(_) => SocketAddr::new(peer.ip(), port).scoped_like(peer),
            v4 => SocketAddr::new(v4, port),
        };
        let (tell, told) = unbounded();
        let (telling, clocks) = (tell.clone(), (clock.clone(), clock.clone()));
        let hears = planned.clone();
        let send = move |cue: Cue| send(&cue, (local, to), &key, &planned, &clocks.0, &tell);
        let hear = move |_: Cue| hear(&ending, listener, to.ip(), &hears, &clocks.1, &telling);
        let companions = [
            Companion { name: "heartbeats out", work: Box::new(send), ender: None },
            Companion { name: "heartbeats in", work: Box::new(hear), ender: Some(ender) },
        ];
        Some((companions, told))
    }
}

/// An address with the scope of another: of a link-local one it is part of where it leads.
trait Scoped {
    fn scoped_like(self, other: SocketAddr) -> SocketAddr;
}

impl Scoped for SocketAddr {
    fn scoped_like(mut self, other: SocketAddr) -> SocketAddr {
        if let (SocketAddr::V6(own), SocketAddr::V6(other)) = (&mut self, other) {
            own.set_scope_id(other.scope_id());
        }
        self
    }
}

fn consented(
    local: IpAddr,
    to: SocketAddr,
    key: &ProbeKey,
    clock: &RealClock,
) -> Result<ProbeSocket, String> {
    let socket = UnprovenSocket::bind(local, None, to, key.clone()).map_err(|e| probe_error(&e).message)?;
    match ask(vec![(socket, to.ip(), true)], to.ip(), clock).pop() {
        Some(Asked::Consented(socket)) => Ok(socket),
        Some(Asked::Failed(error)) => Err(probe_error(&error).message),
        Some(Asked::Silent { .. }) | None => Err("no datagram was answered".into()),
    }
}

/// Sends each when it is due. What this host is late with is left out: heartbeats that come in a burst are none.
fn send(
    cue: &Cue,
    (local, to): (IpAddr, SocketAddr),
    key: &ProbeKey,
    planned: &Planned,
    clock: &RealClock,
    tell: &Sender<BeatsEnd>,
) {
    let socket = consented(local, to, key, clock);
    let Some(begin) = cue.begin() else { return };
    let mut socket = match socket {
        Ok(socket) => socket,
        Err(reason) => {
            let _ = tell.send(BeatsEnd { reason: Some(reason), ..BeatsEnd::default() });
            return;
        }
    };
    let (mut beats, mut buffer) = (Beats::of(planned.count), Vec::new());
    let mut marked_sent = vec![0; planned.classes.len()];
    for number in 0..planned.count {
        let due = begin.plus_ns(number.saturating_mul(BEAT_NS));
        if clock.now() >= due.plus_ns(BEAT_NS) {
            continue;
        }
        if !cue.wait_until(due, clock) {
            break;
        }
        let Ok(seq) = u32::try_from(number) else { break };
        for (strand, class) in (STRAND..).zip(&planned.classes) {
            if strand != STRAND && number % MARKED_EVERY != 0 {
                continue;
            }
            let paced = Paced { strand, seq, ip_bytes: IP_BYTES, sent_ns: clock.now().0 };
            // What this host's own queue refused was not sent.
            if let Ok(Outcome::Sent) = socket.send_paced(paced, *class, &mut buffer) {
                marked_sent[usize::from(strand)] += 1;
                if strand == STRAND {
                    beats.mark(number);
                }
            }
        }
        // What came back by ICMP is taken off the queue.
        let _ = socket.next_event();
    }
    let _ = tell.send(BeatsEnd { sent: beats.into_words(), marked_sent, ..BeatsEnd::default() });
}

/// Notes those that come until the step is over, and a little longer.
fn hear(
    ending: &Ending,
    mut listener: PacedListener,
    from: IpAddr,
    planned: &Planned,
    clock: &RealClock,
    tell: &Sender<BeatsEnd>,
) {
    let (mut beats, mut marks) = (Beats::of(planned.count), MarksHeard::of(planned.classes.len()));
    let mut take = |listener: &mut PacedListener| {
        // Bounded, so that a flood does not keep the end of the step from being seen.
        for _ in 0..1024 {
            let Some(arrival) = listener.next_arrival() else { break };
            if arrival.from.ip().to_canonical() != from {
                continue;
            }
            marks.count(arrival.paced.strand.into(), arrival.class);
            if arrival.paced.strand == STRAND {
                beats.mark(arrival.paced.seq.into());
            }
        }
    };
    while ending.wait_readable(&[listener.descriptor()], None).unwrap_or(false) {
        take(&mut listener);
    }
    let until = clock.deadline(LAST);
    while !until.is_over() && wait_readable(&[listener.descriptor()], until.left()).is_ok() {
        take(&mut listener);
    }
    let (received, marked_received) = (beats.into_words(), marks.into_counts());
    let _ = tell.send(BeatsEnd { received, marked_received, ..BeatsEnd::default() });
}

#[cfg(test)]
mod tests {
    use pathproof_sys::thread;

    use super::*;

    #[test]
    fn who_hears_no_heartbeat_sleeps_until_the_step_is_over_and_then_waits_for_the_last_ones() {
        let (clock, here) = (RealClock::new(), IpAddr::from([127, 0, 0, 1]));
        let listener = PacedListener::open(here, None, ProbeKey::new([3; 32])).unwrap();
        let (ender, ending) = ending::pair().unwrap();
        let (tell, told) = unbounded();
        let hears = clock.clone();
        let planned = Planned { count: 4, classes: vec![0] };
        let hear = move || hear(&ending, listener, here, &planned, &hears, &tell);
        let hearing = std::thread::Builder::new().name("hears".into()).spawn(hear).unwrap();
        assert!(thread::sleeps_within("hears", Duration::from_millis(300)) <= 2);
        let over = clock.now();
        drop(ender);
        assert!(told.recv().unwrap().received.iter().all(|word| *word == 0));
        assert!(clock.now().since(over) >= LAST, "what was sent last may still come");
        hearing.join().unwrap();
    }
}
