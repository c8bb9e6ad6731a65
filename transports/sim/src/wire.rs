//! A bare RDMA wire in memory and in virtual time: two ends, a delay, and no mercy. A send that finds no receive posted, a
//! key that is not one, a range outside its memory, an access that was not allowed and a window that is bound while it is open each
//! end the connection, as a reliable queue pair does without retries. It reads the memory of a send when it arrives, so that memory which is used
//! again too early is found out.
//!
//! It refuses more than two ends. Time passes only when an end waits.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pathproof_api::{
    Access, Clock, CompletionStatus, Established, Exposed, Invalidated, LaneStats, Loan, LoanForm, LoanId,
    Piece, PreparedWire, PrivateData, Region, RegionId, Role, Tick, TransportError, Wait, Wire, WireDone,
    WireOp, WireSpec, WireVerb, Wires,
};

/// Two ends and the wire between them.
#[derive(Clone)]
pub struct SimWires(Arc<Mutex<State>>);

struct State {
    now: Tick,
    delay_ns: u64,
    report: Invalidated,
    /// What is lent is a window; without, a registration.
    windows: bool,
    /// A key that has ended may be ended again.
    lenient: bool,
    /// Why the connection is over.
    over: Option<String>,
    /// Nothing arrives any more, and nobody is told.
    silent: bool,
    /// What is sent completes although it does not arrive.
    swallows: bool,
    /// Both ends are told that they are on iWARP.
    iwarp: bool,
    /// What the dialling end sends first is not read until it sends something else.
    deaf: bool,
    ends: [WireEnd; 2],
}

#[derive(Default)]
struct WireEnd {
    connected: bool,
    private_data: Vec<u8>,
    sends_max: usize,
    receives_max: usize,
    memory: Vec<Option<Memory>>,
    receives: VecDeque<(u64, Piece)>,
    under_way: VecDeque<UnderWay>,
    /// Of how many sends the end is told at once, and those that have ended and were not told.
    told_together: u32,
    untold: Vec<WireDone>,
    done: VecDeque<WireDone>,
}

struct Memory {
    region: Arc<Region>,
    access: Access,
    key: u32,
    reach: Reach,
    /// A loan that was taken back, and is a window that may be lent again.
    idle: bool,
}

/// Whether the peer gets in by a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// A window that is not bound yet.
    Unbound,
    Open,
    /// The peer has ended it.
    Ended,
}

struct UnderWay {
    op: WireOp,
    arrives: Tick,
    /// When its sender learns of it.
    completes: Option<Tick>,
}

/// Keys carry a salt, so that a number that is no key is never taken for one.
const KEY_SALT: u32 = 0x5a00_0000;

/// The key of a place; as of a window, the last eight bits are new each time.
fn key(place: usize, turn: u8) -> u32 {
    KEY_SALT ^ (((place as u32) << 8) | u32::from(turn))
}

/// The place that a key would be of.
fn place_of(key: u32) -> usize {
    ((key ^ KEY_SALT) >> 8) as usize
}

impl SimWires {
    /// A wire on which everything takes `delay_ns` each way.
    pub fn new(delay_ns: u64) -> SimWires {
        SimWires(Arc::new(Mutex::new(State {
            now: Tick(0),
            delay_ns,
            report: Invalidated::Flagged(0),
            windows: true,
            lenient: false,
            over: None,
            silent: false,
            swallows: false,
            iwarp: false,
            deaf: false,
            ends: Default::default(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection now, as a cable that is cut and noticed.
    pub fn cut(&self) {
        self.lock().end("the wire was cut");
    }

    /// Lets nothing arrive any more, and tells nobody.
    pub fn fall_silent(&self) {
        self.lock().silent = true;
    }

    /// Lets nothing arrive any more, and completes what is sent: this end's TCP has taken it, as on soft-iWARP. A READ still waits for its data.
    pub fn fall_silent_behind_tcp(&self) {
        let mut state = self.lock();
        (state.silent, state.swallows) = (true, true);
    }

    /// An iWARP wire. Where `deaf`, the acceptor has not read the first message when it came, and looks again only when
    /// something else comes, as soft-iWARP may.
    pub fn iwarp(&self, deaf: bool) {
        let mut state = self.lock();
        (state.iwarp, state.deaf) = (true, deaf);
    }

    /// The device says nothing of keys that end, as soft-iWARP.
    pub fn report_no_invalidation(&self) {
        self.lock().report = Invalidated::NotReported;
    }

    /// The device names keys that end without the flag, as Soft-RoCE.
    pub fn report_without_flag(&self) {
        self.lock().report = Invalidated::Unflagged(0);
    }

    /// There are no memory windows, as on soft-iWARP.
    pub fn without_windows(&self) {
        self.lock().windows = false;
    }

    /// A key that has ended may be ended once more, as Soft-RoCE lets happen.
    pub fn end_keys_again(&self) {
        self.lock().lenient = true;
    }

    /// Lets time pass while both ends are busy elsewhere.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        let until = state.now + by;
        state.pass(until);
    }

    /// Receives that the end of this role has posted and not used.
    pub fn receives_posted(&self, role: Role) -> usize {
        self.lock().ends[index(role)].receives.len()
    }
}

impl Clock for SimWires {
    fn now(&self) -> Tick {
        self.lock().now
    }
}

fn index(role: Role) -> usize {
    usize::from(role == Role::Accept)
}

impl State {
    fn end(&mut self, why: &str) {
        self.over.get_or_insert_with(|| why.to_owned());
    }

    fn next_event(&self) -> Option<Tick> {
        let due = |under: &UnderWay| under.completes.unwrap_or(under.arrives);
        self.ends.iter().flat_map(|end| end.under_way.iter().map(due)).filter(|at| *at > self.now).min()
    }

    /// Moves time to `until`, event by event.
    fn pass(&mut self, until: Tick) {
        self.deliver();
        while let Some(event) = self.next_event().filter(|event| *event <= until) {
            self.now = event;
            self.deliver();
        }
        self.now = self.now.max(until);
    }

    fn deliver(&mut self) {
        for sender in 0..2 {
            if sender == 0 && self.deaf {
                self.deaf = self.ends[0].under_way.len() < 2;
                if self.deaf {
                    continue;
                }
            }
            for at in 0..self.ends[sender].under_way.len() {
                let under = &self.ends[sender].under_way[at];
                if self.silent || self.over.is_some() || !self.ends[1 - sender].connected {
                    break;
                }
                if under.arrives > self.now || under.completes.is_some() {
                    continue;
                }
                let (op, back) = (under.op, self.now.plus_ns(self.delay_ns));
                match self.place(sender, &op) {
                    Ok(()) => self.ends[sender].under_way[at].completes = Some(back),
                    Err(why) => self.end(why),
                }
            }
            let (now, swallows) = (self.now, self.silent && self.swallows);
            let end = &mut self.ends[sender];
            for under in end.under_way.iter_mut().filter(|_| swallows) {
                if !matches!(under.op.verb, WireVerb::Read { .. }) {
                    under.completes.get_or_insert(now);
                }
            }
            while end.under_way.front().is_some_and(|under| under.completes.is_some_and(|at| at <= now)) {
                if let Some(UnderWay { op, .. }) = end.under_way.pop_front() {
                    let len = op.head.len + op.body.len;
                    let seldom = matches!(op.verb, WireVerb::Send | WireVerb::Write { .. }) && len > 0;
                    end.untold.push(WireDone {
                        tag: op.tag,
                        received: false,
                        len,
                        invalidated: Invalidated::NotReported,
                        status: CompletionStatus::Ok,
                    });
                    if !seldom || end.untold.len() >= end.told_together as usize {
                        end.done.extend(end.untold.drain(..));
                    }
                }
            }
        }
    }

    fn gather(&self, end: usize, op: &WireOp) -> Result<Vec<u8>, &'static str> {
        let mut bytes = Vec::new();
        for piece in [op.head, op.body] {
            let from = bytes.len();
            bytes.resize(from + piece.len as usize, 0);
            if piece.len > 0 {
                let region = self.local(end, piece.region)?;
                region
                    .copy_out(piece.offset, &mut bytes[from..])
                    .map_err(|_| "local memory outside its region")?;
            }
        }
        Ok(bytes)
    }

    fn scatter(&self, end: usize, op: &WireOp, bytes: &[u8]) -> Result<(), &'static str> {
        let (head, body) = bytes.split_at((op.head.len as usize).min(bytes.len()));
        for (piece, part) in [(op.head, head), (op.body, body)] {
            if !part.is_empty() {
                let region = self.local(end, piece.region)?;
                region.copy_in(piece.offset, part).map_err(|_| "local memory outside its region")?;
            }
        }
        Ok(())
    }

    fn local(&self, end: usize, id: RegionId) -> Result<&Arc<Region>, &'static str> {
        let memory = self.ends[end].memory.get(usize::from(id.0)).and_then(Option::as_ref);
        memory.map(|memory| &memory.region).ok_or("local memory that is not registered")
    }

    fn remote(&self, end: usize, key: u32, write: bool) -> Result<&Arc<Region>, &'static str> {
        let memory = self.ends[end].memory.get(place_of(key)).and_then(Option::as_ref);
        let memory = memory.filter(|memory| memory.key == key).ok_or("no such key")?;
        let allowed = match memory.access {
            Access::Local => false,
            Access::RemoteRead => !write,
            Access::RemoteWrite => write,
            Access::RemoteReadWrite => true,
        };
        match memory.reach {
            Reach::Unbound => Err("the window of the key is not bound"),
            Reach::Ended => Err("the key has ended"),
            Reach::Open if allowed => Ok(&memory.region),
            Reach::Open => Err("access not allowed"),
        }
    }

    /// Ends a key of `end` because its peer says so.
    fn invalidate(&mut self, end: usize, key: u32) -> Result<Invalidated, &'static str> {
        let memory = self.ends[end].memory.get_mut(place_of(key)).and_then(Option::as_mut);
        let memory = memory.filter(|memory| memory.key == key).ok_or("no such key")?;
        if memory.reach != Reach::Open && !self.lenient {
            return Err("the key has ended");
        }
        memory.reach = Reach::Ended;
        Ok(match self.report {
            Invalidated::NotReported => Invalidated::NotReported,
            Invalidated::Unflagged(_) => Invalidated::Unflagged(key),
            Invalidated::Flagged(_) => Invalidated::Flagged(key),
        })
    }

    fn bind(&mut self, end: usize, loan: LoanId) -> Result<(), &'static str> {
        let memory = self.ends[end].memory.get_mut(usize::from(loan.0)).and_then(Option::as_mut);
        let memory = memory.ok_or("a window that is not there")?;
        if memory.reach == Reach::Open {
            return Err("a window that is bound while it is open");
        }
        memory.reach = Reach::Open;
        Ok(())
    }

    fn place(&mut self, sender: usize, op: &WireOp) -> Result<(), &'static str> {
        let peer = 1 - sender;
        let offset = |region: &Region, address: u64| {
            address.checked_sub(region.base_address() as u64).ok_or("an address outside its memory")
        };
        let outside = "a range outside its memory";
        match op.verb {
            WireVerb::Receive => Ok(()),
            WireVerb::Send | WireVerb::SendInvalidate { .. } => {
                let bytes = self.gather(sender, op)?;
                let (tag, piece) = self.ends[peer].receives.pop_front().ok_or("receiver not ready")?;
                if bytes.len() > piece.len as usize {
                    return Err("a message longer than its receive");
                }
                self.local(peer, piece.region)?.copy_in(piece.offset, &bytes).map_err(|_| outside)?;
                let mut invalidated = Invalidated::NotReported;
                if let WireVerb::SendInvalidate { key } = op.verb {
                    invalidated = self.invalidate(peer, key)?;
                }
                self.ends[peer].done.push_back(WireDone {
                    tag,
                    received: true,
                    len: bytes.len() as u32,
                    invalidated,
                    status: CompletionStatus::Ok,
                });
                Ok(())
            }
            WireVerb::Bind { loan } => self.bind(sender, loan),
            WireVerb::Write { address, key } => {
                let bytes = self.gather(sender, op)?;
                if bytes.is_empty() {
                    // No device looks at address and key then.
                    return Ok(());
                }
                let region = self.remote(peer, key, true)?;
                region.copy_in(offset(region, address)?, &bytes).map_err(|_| outside)
            }
            WireVerb::Read { address, key } => {
                let mut bytes = vec![0; (op.head.len + op.body.len) as usize];
                let region = self.remote(peer, key, false)?;
                region.copy_out(offset(region, address)?, &mut bytes).map_err(|_| outside)?;
                self.scatter(sender, op, &bytes)
            }
        }
    }
}

impl Wires for SimWires {
    fn prepare_wire(&self, spec: &WireSpec) -> Result<Box<dyn PreparedWire>, TransportError> {
        let at = index(spec.role);
        let mut state = self.lock();
        state.ends[at] = WireEnd {
            private_data: match &spec.private_data {
                PrivateData::Bytes(bytes) => bytes.clone(),
                _ => Vec::new(),
            },
            sends_max: spec.sends as usize,
            receives_max: spec.receives as usize,
            told_together: spec.told_together,
            ..WireEnd::default()
        };
        Ok(Box::new(SimWire { wires: self.clone(), at, established: Established::default() }))
    }
}

struct SimWire {
    wires: SimWires,
    at: usize,
    established: Established,
}

impl SimWire {
    fn register(&self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError> {
        let mut state = self.wires.lock();
        let (id, key) = state.ends[self.at].keep(region, access, Reach::Open)?;
        Ok(Exposed { id: RegionId(id), address: region.base_address() as u64, key, bytes: region.len() })
    }
}

impl WireEnd {
    /// A new place for memory, and its key.
    fn keep(
        &mut self,
        region: &Arc<Region>,
        access: Access,
        reach: Reach,
    ) -> Result<(u16, u32), TransportError> {
        let place = self.memory.len();
        let id = u16::try_from(place).map_err(|_| TransportError::invalid("too many registrations"))?;
        let key = key(place, 0);
        self.memory.push(Some(Memory { region: region.clone(), access, key, reach, idle: false }));
        Ok((id, key))
    }

    /// The window of this memory that may be lent again, under its next key.
    fn idle_window(&mut self, region: &Arc<Region>) -> Option<(u16, u32)> {
        let fits = |memory: &Memory| memory.idle && Arc::ptr_eq(&memory.region, region);
        let place = self.memory.iter().position(|memory| memory.as_ref().is_some_and(fits))?;
        let memory = self.memory.get_mut(place)?.as_mut()?;
        memory.idle = false;
        memory.key = key(place, (memory.key as u8).wrapping_add(1));
        // One that is said to have ended and has not stays open, which its binding finds out.
        if memory.reach == Reach::Ended {
            memory.reach = Reach::Unbound;
        }
        Some((place as u16, memory.key))
    }
}

impl PreparedWire for SimWire {
    fn listens_at(&self) -> Option<SocketAddr> {
        (self.at == 1).then(|| SocketAddr::from(([192, 0, 2, 1], 5445)))
    }

    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError> {
        self.register(region, access)
    }

    /// Both ends may call this from one thread: an end that connects first does not wait for the other.
    fn connect(
        mut self: Box<Self>,
        _peer: Option<SocketAddr>,
        receives: &[WireOp],
        _deadline: Duration,
    ) -> Result<Box<dyn Wire>, TransportError> {
        let (private_data, iwarp) = {
            let state = self.wires.lock();
            (state.ends[1 - self.at].private_data.clone(), state.iwarp)
        };
        self.established = Established {
            private_data,
            reads_served: 16,
            reads_issued: 16,
            iwarp,
            local: format!("end {}", self.at),
            remote: format!("end {}", 1 - self.at),
        };
        self.submit(receives)?;
        self.wires.lock().ends[self.at].connected = true;
        Ok(self)
    }
}

impl Wire for SimWire {
    fn established(&self) -> &Established {
        &self.established
    }

    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError> {
        self.register(region, access)
    }

    fn withdraw(&mut self, id: RegionId) -> Result<(), TransportError> {
        let mut state = self.wires.lock();
        let place = state.ends[self.at].memory.get_mut(usize::from(id.0));
        place.and_then(Option::take).map(drop).ok_or_else(|| TransportError::invalid("no such registration"))
    }

    fn lend(&mut self, region: &Arc<Region>, access: Access) -> Result<Loan, TransportError> {
        let mut state = self.wires.lock();
        let form = if state.windows { LoanForm::Window } else { LoanForm::Registration };
        let end = &mut state.ends[self.at];
        let (id, key) = match (form, end.idle_window(region)) {
            (LoanForm::Window, Some(again)) => again,
            (LoanForm::Window, None) => end.keep(region, access, Reach::Unbound)?,
            (LoanForm::Registration, _) => end.keep(region, access, Reach::Open)?,
        };
        Ok(Loan { id: LoanId(id), address: region.base_address() as u64, key, form })
    }

    fn take_back(&mut self, id: LoanId, by_peer: bool) -> Result<(), TransportError> {
        let mut state = self.wires.lock();
        let by_window = state.windows;
        let place = state.ends[self.at].memory.get_mut(usize::from(id.0));
        let place = place.ok_or_else(|| TransportError::invalid("no such loan"))?;
        match place {
            Some(memory) if by_window && by_peer => memory.idle = true,
            place => *place = None,
        }
        Ok(())
    }

    fn submit(&mut self, ops: &[WireOp]) -> Result<usize, TransportError> {
        let mut state = self.wires.lock();
        let (now, arrives) = (state.now, state.now.plus_ns(state.delay_ns));
        let end = &mut state.ends[self.at];
        for (taken, op) in ops.iter().enumerate() {
            if op.verb == WireVerb::Receive {
                if end.receives.len() >= end.receives_max {
                    return Ok(taken);
                }
                end.receives.push_back((op.tag, op.head));
            } else {
                if end.under_way.len() >= end.sends_max {
                    return Ok(taken);
                }
                // What is done here needs no way.
                let arrives = if matches!(op.verb, WireVerb::Bind { .. }) { now } else { arrives };
                end.under_way.push_back(UnderWay { op: *op, arrives, completes: None });
            }
        }
        Ok(ops.len())
    }

    fn poll(&mut self, out: &mut Vec<WireDone>, wait: Wait) -> Result<usize, TransportError> {
        let mut state = self.wires.lock();
        state.deliver();
        if let (Wait::AtMost(wait), true) = (wait, state.ends[self.at].done.is_empty()) {
            let until = state.now + wait;
            let until = state.next_event().map_or(until, |event| event.min(until));
            if state.over.is_none() {
                state.pass(until);
            }
        }
        let room = out.capacity() - out.len();
        let end = &mut state.ends[self.at];
        let count = end.done.len().min(room);
        out.extend(end.done.drain(..count));
        match &state.over {
            Some(why) if count == 0 => {
                let operation = "simulated wire".into();
                Err(TransportError::PeerGone { operation, how: None, detail: why.clone() })
            }
            _ => Ok(count),
        }
    }

    fn close(self: Box<Self>) -> LaneStats {
        self.wires.lock().end("the peer disconnected");
        LaneStats::default()
    }
}

impl Drop for SimWire {
    fn drop(&mut self) {
        self.wires.lock().end("the peer is gone");
    }
}
