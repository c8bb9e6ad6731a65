//! Heartbeats as datagrams, over the path of the control connection: a thread that sends them and one that hears those of the other
//! end. Between them go some that are marked as each class is: how they arrive tells what becomes of the mark.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use pathproof_api::{Clock, Offer};
use pathproof_dgram::wire::{Paced, ProbeKey};
use pathproof_dgram::{
    Mark, Outcome, PacedListener, ProbeSocket, TagListener, UnprovenSocket, wait_readable,
};
use pathproof_engine::contend::{Beats, MarksHeard};
use pathproof_model::contend::{BEAT_NS, MarkedClass};
use pathproof_model::{BeatsEnd, ContendSpec, StepError};
use pathproof_sys::AsDescriptor as _;
use pathproof_sys::clock::RealClock;
use pathproof_sys::ending::{self, Ender, Ending};

use super::roce::RdmaEar;
use super::{by_adapter, tags};
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
    /// The mark of each strand: of heartbeats, then of each class that is marked.
    marks: Vec<Mark>,
}

/// What is listened to: the datagrams themselves, and the frames that they come in or why those are not seen; and where a class goes by RDMA its
/// packets.
struct Ears {
    datagrams: PacedListener,
    tags: Result<TagListener, String>,
    rdma: Option<RdmaEar>,
}

/// Where this end hears heartbeats, and what it sends them with.
pub struct ReadyBeats {
    ears: Ears,
    key: ProbeKey,
    local: IpAddr,
    peer: SocketAddr,
    planned: Planned,
    end: (Ender, Ending),
}

impl ReadyBeats {
    /// For those of a step.
    pub fn open(setup: &Setup<'_>, spec: &ContendSpec) -> Result<ReadyBeats, StepError> {
        let session = setup.session;
        let key = |from| ProbeKey::new(session.probe_key(setup.step, from));
        let local = session.local.ip().to_canonical();
        let datagrams =
            PacedListener::open(local, None, key(session.end.other())).map_err(|e| probe_error(&e))?;
        let tags = tags::listen(local, datagrams.port(), key(session.end.other()));
        let rdma = (!by_adapter(spec).is_empty()).then(|| RdmaEar::open(local));
        let ears = Ears { datagrams, tags, rdma };
        let end = ending::pair().map_err(|error| no_ending(&error))?;
        let mark = |marked: MarkedClass| Mark { class: marked.dscp << 2, priority: marked.priority };
        let marks = spec.marked().into_iter().map(mark).collect();
        let planned = Planned { count: spec.beats(), marks };
        Ok(ReadyBeats { ears, key: key(session.end), local, peer: session.peer, planned, end })
    }

    /// The port.
    pub fn offer(&self) -> Offer {
        Offer(self.ears.datagrams.port().to_le_bytes().to_vec())
    }

    /// The two threads, with what the other end offers, and where they leave what they have counted. `None` for what is no offer.
    pub fn companions(
        self,
        theirs: &Offer,
        clock: &RealClock,
    ) -> Option<([Companion; 2], Receiver<BeatsEnd>)> {
        let port = u16::from_le_bytes(theirs.0.as_slice().try_into().ok()?);
        let ReadyBeats { ears, key, local, peer, planned, end: (ender, ending) } = self;
        let to = match peer.ip().to_canonical() {
            IpAddr::V6(_) => SocketAddr::new(peer.ip(), port).scoped_like(peer),
            v4 => SocketAddr::new(v4, port),
        };
        let (tell, told) = unbounded();
        let (telling, clocks) = (tell.clone(), (clock.clone(), clock.clone()));
        let hears = planned.clone();
        let send = move |cue: Cue| send(&cue, (local, to), &key, &planned, &clocks.0, &tell);
        let hear = move |_: Cue| hear(&ending, ears, to.ip(), &hears, &clocks.1, &telling);
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
    let (mut marked_sent, mut refused) = (vec![0; planned.marks.len()], None);
    for number in 0..planned.count {
        let due = begin.plus_ns(number.saturating_mul(BEAT_NS));
        if clock.now() >= due.plus_ns(BEAT_NS) {
            continue;
        }
        if !cue.wait_until(due, clock) {
            break;
        }
        let Ok(seq) = u32::try_from(number) else { break };
        for (strand, mark) in (STRAND..).zip(&planned.marks) {
            if strand != STRAND && number % MARKED_EVERY != 0 {
                continue;
            }
            let paced = Paced { strand, seq, ip_bytes: IP_BYTES, sent_ns: clock.now().0 };
            // What this host's own queue refused was not sent.
            match socket.send_paced(paced, *mark, &mut buffer) {
                Ok(Outcome::Sent) => {
                    marked_sent[usize::from(strand)] += 1;
                    if strand == STRAND {
                        beats.mark(number);
                    }
                }
                Err(error) if strand == STRAND => refused = Some(probe_error(&error).message),
                Ok(Outcome::TooBig { .. } | Outcome::Dropped) | Err(_) => {}
            }
        }
        // What came back by ICMP is taken off the queue.
        let _ = socket.next_event();
    }
    // A priority that takes rights, for example: then none went out at all.
    let reason = refused.filter(|_| marked_sent[usize::from(STRAND)] == 0);
    let _ = tell.send(BeatsEnd { reason, sent: beats.into_words(), marked_sent, ..BeatsEnd::default() });
}

/// What has come: heartbeats by their number, and of every strand how it was marked.
struct Heard {
    beats: Beats,
    marks: MarksHeard<u8>,
    priorities: MarksHeard<Option<u8>>,
}

impl Ears {
    /// Takes what has come from there.
    fn take(&mut self, from: IpAddr, heard: &mut Heard) {
        // Bounded, so that a flood does not keep the end of the step from being seen.
        for _ in 0..1024 {
            let Some(arrival) = self.datagrams.next_arrival() else { break };
            if arrival.from.ip().to_canonical() != from {
                continue;
            }
            if let Some(class) = arrival.class {
                heard.marks.count(arrival.paced.strand.into(), class);
            }
            if arrival.paced.strand == STRAND {
                heard.beats.mark(arrival.paced.seq.into());
            }
        }
        if let Some(rdma) = &mut self.rdma {
            rdma.take(from);
        }
        // The NIC sees each before its socket does, so nobody has to wait for these.
        for _ in 0..1024 {
            let Some(tagged) = self.tags.as_mut().ok().and_then(TagListener::next_arrival) else { break };
            if tagged.from == from {
                heard.priorities.count(tagged.strand.into(), tagged.priority);
            }
        }
    }
}

/// Notes those that come until the step is over, and a little longer.
fn hear(
    ending: &Ending,
    mut ears: Ears,
    from: IpAddr,
    planned: &Planned,
    clock: &RealClock,
    tell: &Sender<BeatsEnd>,
) {
    let strands = planned.marks.len();
    let mut heard = Heard {
        beats: Beats::of(planned.count),
        marks: MarksHeard::of(strands),
        priorities: MarksHeard::of(strands),
    };
    while ending.wait_readable(&[ears.datagrams.descriptor()], None).unwrap_or(false) {
        ears.take(from, &mut heard);
    }
    let until = clock.deadline(LAST);
    while !until.is_over() && wait_readable(&[ears.datagrams.descriptor()], until.left()).is_ok() {
        ears.take(from, &mut heard);
    }
    let Heard { beats, marks, priorities } = heard;
    let (priorities_received, priorities_reason) = match ears.tags {
        Ok(_) => (priorities.into_counts(), None),
        Err(why) => (vec![], Some(why)),
    };
    let mut told = BeatsEnd {
        received: beats.into_words(),
        marked_received: marks.into_counts(),
        priorities_received,
        priorities_reason,
        ..BeatsEnd::default()
    };
    if let Some(rdma) = ears.rdma {
        rdma.tell(&mut told);
    }
    let _ = tell.send(told);
}

#[cfg(test)]
mod tests {
    use pathproof_sys::thread;

    use super::*;

    #[test]
    fn who_hears_no_heartbeat_sleeps_until_the_step_is_over_and_then_waits_for_the_last_ones() {
        let (clock, here) = (RealClock::new(), IpAddr::from([127, 0, 0, 1]));
        let datagrams = PacedListener::open(here, None, ProbeKey::new([3; 32])).unwrap();
        let ears = Ears { datagrams, tags: Err("loopback".into()), rdma: None };
        let (ender, ending) = ending::pair().unwrap();
        let (tell, told) = unbounded();
        let hears = clock.clone();
        let planned = Planned { count: 4, marks: vec![Mark::default()] };
        let hear = move || hear(&ending, ears, here, &planned, &hears, &tell);
        let hearing = std::thread::Builder::new().name("hears".into()).spawn(hear).unwrap();
        assert!(thread::sleeps_within("hears", Duration::from_millis(300)) <= 2);
        let over = clock.now();
        drop(ender);
        let told = told.recv().unwrap();
        assert!(told.received.iter().all(|word| *word == 0));
        assert_eq!((told.priorities_received, told.priorities_reason), (vec![], Some("loopback".into())));
        assert!(clock.now().since(over) >= LAST, "what was sent last may still come");
        hearing.join().unwrap();
    }
}
