//! The network: ends, what is under way between them, and the virtual clock.
//!
//! Each direction of a lane is a queue of messages under way, in the order sent. A message leaves when the
//! link is free, takes its serialisation time and the path's delay, and is placed when it has arrived *and* its
//! receive is posted. The sender's operation completes one path delay later, when it would learn of it.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pathproof_api::{
    Access, Completion, CompletionStatus, Gone, LaneSample, Op, Region, Role, Tick, TransportError, Verb,
};

use crate::chance::SplitMix;
use crate::cut::Cut;

/// What a path does to messages. The same for both directions.
#[derive(Clone, Debug, PartialEq)]
pub struct SimPath {
    /// One-way delay in ns.
    pub delay_ns: u64,
    /// Up to so much more delay per message in ns, drawn evenly. Order is kept.
    pub jitter_ns: u64,
    /// Link rate in bits per second of payload; `None` takes no time at all.
    pub rate_bits_per_s: Option<u64>,
    /// Chance that a message is lost once and sent again, in parts per million.
    pub loss_ppm: u32,
    /// Time until a lost message is sent again, in ns.
    pub retransmit_ns: u64,
    /// Chance that one bit of a message is flipped on its way, in parts per million.
    pub corruption_ppm: u32,
}

impl Default for SimPath {
    /// A clean 10 Gbit/s path with a round trip of 20 µs.
    fn default() -> Self {
        SimPath {
            delay_ns: 10_000,
            jitter_ns: 0,
            rate_bits_per_s: Some(10_000_000_000),
            loss_ppm: 0,
            retransmit_ns: 200_000,
            corruption_ppm: 0,
        }
    }
}

/// Most ends of lanes that a network holds at once.
const ENDS_MAX: usize = 1024;

/// A network in memory, with its own time.
pub struct SimNetwork {
    state: Mutex<State>,
}

/// A handle on a network's time.
#[derive(Clone)]
pub struct SimClock(Arc<SimNetwork>);

impl SimClock {
    pub(crate) fn network(&self) -> &SimNetwork {
        &self.0
    }
}

/// Index of one end of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndId(usize);

struct State {
    now: Tick,
    path: SimPath,
    random: SplitMix,
    /// Set by [`SimNetwork::cut`]: nothing arrives that had not arrived by then.
    cut: Option<Cut>,
    /// Set by [`SimNetwork::cut_nic`].
    nics_cut: BTreeMap<IpAddr, Cut>,
    ends: Vec<Option<SimEnd>>,
}

struct SimEnd {
    token: [u8; 32],
    role: Role,
    depth: usize,
    /// Where its lane was dialled from.
    nic: Option<IpAddr>,
    phase: Phase,
    regions: Vec<Arc<Region>>,
    target: Option<(Arc<Region>, Access)>,
    /// Operations sent and not yet completed, oldest first.
    under_way: VecDeque<UnderWay>,
    /// Receives posted, oldest first.
    receives: VecDeque<Op>,
    /// Completions of receives, waiting to be collected.
    received: VecDeque<Completion>,
    link_free: Tick,
    last_arrival: Tick,
    sample: LaneSample,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Prepared,
    Open,
    Closed,
}

struct UnderWay {
    op: Op,
    arrives: Tick,
    /// When the sender learns that it was placed; `None` while it was not.
    acknowledged: Option<Tick>,
    failed: Option<u32>,
    /// Bit to flip, counted from the message's start.
    flip: Option<u64>,
}

/// Code of an operation that names memory the peer did not open.
const REMOTE_ACCESS: u32 = 1;
/// Code of a message that is longer than its receive.
const TOO_LONG: u32 = 2;

impl SimNetwork {
    /// A network whose every path behaves as `path`, with all chance drawn from `seed`.
    pub fn new(path: SimPath, seed: u64) -> Arc<SimNetwork> {
        let state = State {
            now: Tick(0),
            path,
            random: SplitMix(seed),
            cut: None,
            nics_cut: BTreeMap::new(),
            ends: Vec::new(),
        };
        Arc::new(SimNetwork { state: Mutex::new(state) })
    }

    /// This network's clock.
    pub fn clock(self: &Arc<Self>) -> SimClock {
        SimClock(self.clone())
    }

    /// The present moment.
    pub fn now(&self) -> Tick {
        self.lock().now
    }

    /// Lets time pass without a lane waiting (a process that is busy elsewhere).
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        let until = state.now + by;
        while let Some(event) = state.next_event().filter(|event| *event <= until) {
            state.now = state.now.max(event);
            state.deliver();
        }
        state.now = until;
    }

    /// Lets time pass until the network's next event, or until `until` where that comes first.
    pub fn advance_to_event(&self, until: Tick) {
        let mut state = self.lock();
        let until = until.max(state.now);
        state.now = state.next_event().map_or(until, |event| event.clamp(state.now, until));
        state.deliver();
    }

    /// Changes how the path treats messages sent from now on.
    pub fn set_path(&self, path: SimPath) {
        self.lock().path = path;
    }

    /// Cuts every path: what has not arrived never will, and lanes learn of it after `silence`.
    pub fn cut(&self, silence: Duration) {
        let mut state = self.lock();
        state.cut = Some(state.cut_now(silence));
    }

    /// As [`SimNetwork::cut`], but for lanes that were dialled from `nic` alone. That an end closes such a lane is not heard at the other
    /// one.
    pub fn cut_nic(&self, nic: IpAddr, silence: Duration) {
        let mut state = self.lock();
        let cut = state.cut_now(silence);
        state.nics_cut.insert(nic, cut);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(
        &self,
        token: [u8; 32],
        role: Role,
        depth: usize,
        nic: Option<IpAddr>,
    ) -> Result<EndId, TransportError> {
        let mut state = self.lock();
        if state.ends.iter().flatten().any(|end| end.token == token && end.role == role) {
            return Err(TransportError::invalid("this lane token is in use; each lane needs its own"));
        }
        // Either end of a lane may be the first.
        let other = state.ends.iter_mut().flatten().find(|end| end.token == token);
        let nic = nic.or(other.as_ref().and_then(|other| other.nic));
        if let Some(other) = other {
            other.nic = nic;
        }
        let end = SimEnd {
            token,
            role,
            depth,
            nic,
            phase: Phase::Prepared,
            regions: vec![],
            target: None,
            under_way: VecDeque::with_capacity(depth),
            receives: VecDeque::with_capacity(depth),
            received: VecDeque::with_capacity(depth),
            link_free: Tick(0),
            last_arrival: Tick(0),
            sample: LaneSample {
                retransmits: Some(0),
                unacknowledged_bytes: Some(0),
                ..LaneSample::default()
            },
        };
        match state.ends.iter().position(Option::is_none) {
            Some(free) => {
                state.ends[free] = Some(end);
                Ok(EndId(free))
            }
            None if state.ends.len() < ENDS_MAX => {
                state.ends.push(Some(end));
                Ok(EndId(state.ends.len() - 1))
            }
            None => Err(TransportError::Resource {
                operation: "preparing a sim lane".into(),
                detail: format!("the network holds {ENDS_MAX} ends already"),
                fix: "close some".into(),
            }),
        }
    }

    pub(crate) fn open(
        &self,
        id: EndId,
        regions: Vec<Arc<Region>>,
        target: Option<(Arc<Region>, Access)>,
        deadline: Duration,
    ) -> Result<(), TransportError> {
        let mut state = self.lock();
        let peer = state.peer(id);
        let Some(end) = state.ends[id.0].as_mut() else {
            return Err(TransportError::invalid("this end has left"));
        };
        (end.regions, end.target, end.phase) = (regions, target, Phase::Open);
        match peer {
            Some(_) => Ok(()),
            // The other end was never prepared, or has gone: that is what a real dialler would wait for.
            None => {
                state.ends[id.0] = None;
                state.now = state.now + deadline;
                Err(TransportError::Timeout { operation: "connecting a sim lane".into(), after: deadline })
            }
        }
    }

    /// The end is gone; its slot is free once the peer is gone too or has learnt of it.
    pub(crate) fn leave(&self, id: EndId) {
        let mut state = self.lock();
        let peer = state.peer(id);
        if let Some(end) = state.ends[id.0].as_mut() {
            end.phase = Phase::Closed;
            // Memory is given back now; what was under way is lost with its sender.
            end.regions.clear();
            end.target = None;
            end.under_way.clear();
        }
        let peer_gone = peer.is_none_or(|peer| state.end(peer).phase == Phase::Closed);
        if peer_gone {
            state.ends[id.0] = None;
            if let Some(peer) = peer {
                state.ends[peer.0] = None;
            }
        }
    }

    /// Whether `op` could be taken, and if so takes it.
    pub(crate) fn submit(&self, id: EndId, op: &Op) -> Result<bool, TransportError> {
        let mut state = self.lock();
        let end = state.end(id);
        let region = end
            .regions
            .get(usize::from(op.region.0))
            .ok_or_else(|| TransportError::invalid(format!("region {} is not attached", op.region.0)))?;
        region.check(op.offset, u64::from(op.len)).map_err(|e| TransportError::invalid(e.to_string()))?;
        if op.verb == Verb::Recv {
            if end.receives.len() + end.received.len() >= end.depth {
                return Ok(false);
            }
            state.end(id).receives.push_back(*op);
            state.deliver();
            return Ok(true);
        }
        if end.under_way.len() >= end.depth {
            return Ok(false);
        }
        state.send(id, op);
        state.deliver();
        Ok(true)
    }

    /// Collects completions of `id` into the spare capacity of `out`. When there is none and `wait` allows, time
    /// passes until the network's next event.
    pub(crate) fn poll(
        &self,
        id: EndId,
        out: &mut Vec<Completion>,
        wait: Option<Duration>,
    ) -> Result<usize, TransportError> {
        let mut state = self.lock();
        state.deliver();
        let count = state.collect(id, out);
        if count > 0 || out.len() == out.capacity() {
            return Ok(count);
        }
        state.check_alive(id)?;
        let Some(wait) = wait else { return Ok(0) };
        let until = state.now + wait;
        let next = state.next_event().map_or(until, |event| event.clamp(state.now, until));
        state.now = next;
        state.deliver();
        Ok(state.collect(id, out))
    }

    /// Lets time pass until everything that `id` sent has been placed, or waits for a receive that is not there.
    pub(crate) fn settle(&self, id: EndId) {
        let mut state = self.lock();
        state.deliver();
        loop {
            let now = state.now;
            let waits = |message: &UnderWay| message.acknowledged.is_none() && message.arrives > now;
            let under_way = state.end(id).under_way.iter().any(waits);
            let Some(event) = state.next_event().filter(|_| under_way) else { return };
            state.now = event;
            state.deliver();
        }
    }

    pub(crate) fn sample(&self, id: EndId) -> LaneSample {
        let mut state = self.lock();
        let round_trip = state.path.delay_ns * 2;
        let end = state.end(id);
        let waiting = end.under_way.iter().map(|message| u64::from(message.op.len)).sum();
        end.sample.unacknowledged_bytes = Some(waiting);
        end.sample.rtt_ns = Some(round_trip);
        end.sample
    }
}

impl State {
    /// An end that its lane still holds.
    fn end(&mut self, id: EndId) -> &mut SimEnd {
        self.ends[id.0].as_mut().expect("an end lives until both lanes have left")
    }

    fn cut_now(&self, silence: Duration) -> Cut {
        Cut { at: self.now, silence_ns: u64::try_from(silence.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// Since when nothing comes from an end, or to it.
    fn cut_of(&self, end: &SimEnd) -> Option<Cut> {
        let of_nic = end.nic.and_then(|nic| self.nics_cut.get(&nic).copied());
        Cut::first(self.cut, of_nic)
    }

    fn peer(&self, id: EndId) -> Option<EndId> {
        let (token, role) = self.ends[id.0].as_ref().map(|end| (end.token, end.role))?;
        let is_peer =
            |end: &Option<SimEnd>| end.as_ref().is_some_and(|end| end.token == token && end.role != role);
        self.ends.iter().position(is_peer).map(EndId)
    }

    /// Puts a message on the link: after what is on it, for as long as its bytes take, and with the path's luck.
    fn send(&mut self, id: EndId, op: &Op) {
        let path = self.path.clone();
        let serialisation_ns = path.rate_bits_per_s.filter(|rate| *rate > 0).map_or(0, |rate| {
            let ns = u128::from(op.len) * 8 * 1_000_000_000 / u128::from(rate);
            u64::try_from(ns).unwrap_or(u64::MAX)
        });
        let mut way_ns = path.delay_ns;
        if path.jitter_ns > 0 {
            way_ns += self.random.below(path.jitter_ns + 1);
        }
        let lost = self.random.chance(path.loss_ppm);
        if lost {
            way_ns += path.retransmit_ns;
        }
        let flip =
            self.random.chance(path.corruption_ppm).then(|| self.random.below(u64::from(op.len).max(1) * 8));
        // A read asks first, and its bytes come back: one way more.
        if op.verb == Verb::Read {
            way_ns += path.delay_ns;
        }
        let now = self.now;
        let end = self.end(id);
        let sent = end.link_free.max(now).plus_ns(serialisation_ns);
        end.link_free = sent;
        let arrives = sent.plus_ns(way_ns).max(end.last_arrival);
        end.last_arrival = arrives;
        if lost {
            end.sample.retransmits = end.sample.retransmits.map(|count| count + 1);
        }
        end.sample.bytes_sent += if op.verb == Verb::Read { 0 } else { u64::from(op.len) };
        end.under_way.push_back(UnderWay { op: *op, arrives, acknowledged: None, failed: None, flip });
    }

    /// The next moment at which something changes by itself.
    fn next_event(&self) -> Option<Tick> {
        let mut next: Option<Tick> = None;
        let mut see = |tick: Tick| next = Some(next.map_or(tick, |known| known.min(tick)));
        for end in self.ends.iter().flatten().filter(|end| end.phase == Phase::Open) {
            // In order: of those not yet placed only the first can be next; those waiting for a receive are
            // in the past and wait for somebody else.
            if let Some(message) = end.under_way.iter().find(|message| message.acknowledged.is_none())
                && message.arrives > self.now
                && self.cut_of(end).is_none_or(|cut| message.arrives <= cut.at)
            {
                see(message.arrives);
            }
            if let Some(at) = end.under_way.front().and_then(|message| message.acknowledged)
                && at > self.now
            {
                see(at);
            }
        }
        for cut in self.cut.iter().chain(self.nics_cut.values()) {
            if cut.noticed() > self.now {
                see(cut.noticed());
            }
        }
        next
    }

    /// Places every message that has arrived and has a place.
    fn deliver(&mut self) {
        for sender in 0..self.ends.len() {
            while self.deliver_first(EndId(sender)) {}
        }
    }

    /// Places the first message of `sender` that is not placed yet; whether there was one to place.
    fn deliver_first(&mut self, sender: EndId) -> bool {
        let (now, delay_ns) = (self.now, self.path.delay_ns);
        let Some(peer) = self.peer(sender) else { return false };
        let Some(from) = self.ends[sender.0].as_ref().filter(|end| end.phase == Phase::Open) else {
            return false;
        };
        let Some(at) = from.under_way.iter().position(|message| message.acknowledged.is_none()) else {
            return false;
        };
        let message = &from.under_way[at];
        if message.arrives > now || self.cut_of(from).is_some_and(|cut| message.arrives > cut.at) {
            return false;
        }
        let (op, flip) = (message.op, message.flip);
        let Some(source) = from.regions.get(usize::from(op.region.0)).cloned() else { return false };
        let end = self.end(peer);
        if end.phase != Phase::Open {
            return false;
        }
        let failed = match op.verb {
            Verb::Send | Verb::WriteImmediate => {
                let Some(receive) = end.receives.front().copied() else { return false };
                let placed = if op.verb == Verb::Send {
                    place_message(&source, &op, end, &receive, flip)
                } else {
                    place_write(&source, &op, end, flip)
                };
                if placed.is_ok() {
                    end.receives.pop_front();
                    end.sample.bytes_received += u64::from(op.len);
                    let immediate = (op.verb == Verb::WriteImmediate).then_some(op.immediate);
                    end.received.push_back(Completion {
                        tag: receive.tag,
                        verb: Verb::Recv,
                        len: op.len,
                        immediate,
                        status: CompletionStatus::Ok,
                    });
                }
                placed.err()
            }
            Verb::Write => {
                end.sample.bytes_received += u64::from(op.len);
                place_write(&source, &op, end, flip).err()
            }
            Verb::Read => match end.target.clone() {
                Some((target, Access::RemoteRead | Access::RemoteReadWrite)) => {
                    copy(&target, op.remote_offset, &source, op.offset, op.len, flip).err()
                }
                _ => Some(REMOTE_ACCESS),
            },
            _ => Some(REMOTE_ACCESS),
        };
        // A read has its bytes when they arrive; everything else hears of it one way later.
        let heard = if op.verb == Verb::Read { 0 } else { delay_ns };
        let from = self.end(sender);
        if op.verb == Verb::Read && failed.is_none() {
            from.sample.bytes_received += u64::from(op.len);
        }
        let message = &mut from.under_way[at];
        message.acknowledged = Some(message.arrives.max(now).plus_ns(heard));
        message.failed = failed;
        true
    }

    fn collect(&mut self, id: EndId, out: &mut Vec<Completion>) -> usize {
        let (before, now) = (out.len(), self.now);
        let end = self.end(id);
        while out.len() < out.capacity() {
            let Some(completion) = end.received.pop_front() else { break };
            out.push(completion);
        }
        while out.len() < out.capacity() {
            let done = |message: &UnderWay| message.acknowledged.is_some_and(|at| at <= now);
            if !end.under_way.front().is_some_and(done) {
                break;
            }
            let Some(UnderWay { op, failed, .. }) = end.under_way.pop_front() else { break };
            let status = failed.map_or(CompletionStatus::Ok, CompletionStatus::Failed);
            out.push(Completion { tag: op.tag, verb: op.verb, len: op.len, immediate: None, status });
        }
        out.len() - before
    }

    /// Tells a lane that its peer is gone, or has been silent for too long.
    fn check_alive(&mut self, id: EndId) -> Result<(), TransportError> {
        let gone = |how: Gone, detail: &str| {
            let operation = "polling a sim lane".into();
            Err(TransportError::PeerGone { operation, how: Some(how), detail: detail.into() })
        };
        let nic = self.end(id).nic;
        let unheard = nic.is_some_and(|nic| self.nics_cut.contains_key(&nic));
        if !unheard && self.peer(id).is_none_or(|peer| self.end(peer).phase == Phase::Closed) {
            return gone(Gone::Closed, "it closed the lane");
        }
        let cut = self.ends[id.0].as_ref().and_then(|end| self.cut_of(end));
        match cut {
            Some(cut) if self.now >= cut.noticed() => gone(Gone::Silent, "nothing was heard from it"),
            _ => Ok(()),
        }
    }
}

fn place_message(source: &Region, op: &Op, end: &SimEnd, receive: &Op, flip: Option<u64>) -> Result<(), u32> {
    if op.len > receive.len {
        return Err(TOO_LONG);
    }
    let target = end.regions.get(usize::from(receive.region.0)).ok_or(REMOTE_ACCESS)?;
    copy(source, op.offset, target, receive.offset, op.len, flip)
}

fn place_write(source: &Region, op: &Op, end: &SimEnd, flip: Option<u64>) -> Result<(), u32> {
    match &end.target {
        Some((target, Access::RemoteWrite | Access::RemoteReadWrite)) => {
            copy(source, op.offset, target, op.remote_offset, op.len, flip)
        }
        _ => Err(REMOTE_ACCESS),
    }
}

/// Copies through a small buffer, because regions lend no references; flips one bit if luck says so.
fn copy(
    source: &Region,
    from: u64,
    target: &Region,
    to: u64,
    len: u32,
    flip: Option<u64>,
) -> Result<(), u32> {
    let len = u64::from(len);
    if source.check(from, len).is_err() || target.check(to, len).is_err() {
        return Err(REMOTE_ACCESS);
    }
    let mut buffer = [0u8; 4096];
    let mut done = 0;
    while done < len {
        let now = (len - done).min(buffer.len() as u64);
        let bytes = &mut buffer[..now as usize];
        source.copy_out(from + done, bytes).map_err(|_| REMOTE_ACCESS)?;
        if let Some(bit) = flip.filter(|bit| (done..done + now).contains(&(bit / 8))) {
            bytes[(bit / 8 - done) as usize] ^= 1 << (bit % 8);
        }
        target.copy_in(to + done, bytes).map_err(|_| REMOTE_ACCESS)?;
        done += now;
    }
    Ok(())
}
