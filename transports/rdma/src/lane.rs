//! The connected lane: posts work requests, collects completions, and notices when the connection is over.
//! Between connect and close it allocates nothing and takes no lock of its own.
//!
//! Completion moderation: of a list of sends only every `signal_every`-th and the last ask for a completion
//! (IBTA vol. 1, ch. 10.8.6); one such completion ends all sends before it, because a queue pair executes its
//! send queue in order. On iWARP every send asks, see `signal_every` in `transport.rs`. Receives always complete
//! one by one. Only `ibv_post_send`, `ibv_post_recv` and `ibv_poll_cq` are used: the extended completion queue of
//! the Soft-RoCE provider in common use reports completions that never happened.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pathproof_api::{
    Completion, CompletionStatus, Lane, LaneCaps, LaneSample, LaneStats, Op, SendReports, TransportError,
    Verb, Wait, WaitMode,
};

use crate::cm;
use crate::credit::{Credit, GRANT};
use crate::ffi::{IbvRecvWr, IbvSendWr, IbvSge, IbvWc, PollCq, PostRecv, PostSend, ReqNotifyCq, k};
use crate::memory_window::MemoryWindow;
use crate::verbs::{Context, MemoryRegion, QueuePair};
use crate::words;

/// Completions taken from the device at once.
const BATCH: usize = 32;
/// Marks receives in `wr_id`; the rest is a sequence number.
const RECEIVE: u64 = 1 << 63;
/// Empty polls between two looks at the event descriptors when spinning. A look costs a system call.
const SPINS_PER_LOOK: u32 = 1 << 16;
/// Empty polls between two looks at the clock when spinning.
const SPINS_PER_CLOCK: u32 = 64;
/// What `close` waits for sends that are still under way.
const DRAIN: Duration = Duration::from_secs(2);
/// What `close` waits for its goodbye to be taken. A peer that posts no receives never takes it.
const GOODBYE: Duration = Duration::from_millis(100);

/// Longest sleep without a look at what else there may be to hear.
const NEWS_LOOK: Duration = Duration::from_millis(20);
/// Between two looks for credits when a sender waits for them.
const STARVED_LOOK: Duration = Duration::from_micros(100);

/// The peer's memory that one-sided verbs may name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    pub base: u64,
    pub bytes: u64,
    pub key: u32,
    pub writable: bool,
    pub readable: bool,
    /// Whether SEND_WITH_INV ends this end's access.
    pub revocable: bool,
}

/// Everything that `connect` hands over.
pub(crate) struct Parts {
    pub queue_pair: QueuePair,
    pub context: Arc<Context>,
    pub regions: Vec<Arc<MemoryRegion>>,
    pub credit: Credit,
    pub iwarp: bool,
    pub connection: Option<cm::Id>,
    pub window: Window,
    pub caps: LaneCaps,
    pub send_depth: u32,
    pub receive_depth: u32,
    pub inline_bytes: u32,
    pub per_chunk: bool,
    pub exposed: Option<MemoryWindow>,
    pub signal_every: u32,
    pub wait_mode: WaitMode,
    pub send_reports: SendReports,
    pub local: String,
    pub remote: String,
    pub retry_words: String,
    pub chosen: BTreeMap<String, String>,
    pub counters: BTreeMap<String, u64>,
    pub events_before: usize,
    /// What else must live as long as the lane: the shared adapter, so that the next lane finds it open.
    pub shared: Arc<dyn Send + Sync>,
}

#[derive(Clone, Copy)]
struct Sent {
    tag: u64,
    verb: Verb,
    len: u32,
    status: CompletionStatus,
}

/// One place of the send ring: the request, its memory, and what to report. What never changes (the link to the
/// next place, the pointer to the memory, the peer's key) is filled in once.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct SendPlace {
    wr: IbvSendWr,
    sge: IbvSge,
    sent: Sent,
}

/// One place of the receive ring.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct RecvPlace {
    wr: IbvRecvWr,
    sge: IbvSge,
    tag: u64,
}

#[derive(Clone, Copy)]
struct LocalRegion {
    base: u64,
    bytes: u64,
    key: u32,
}

/// Why the lane is over.
#[derive(Clone, Debug)]
enum Ending {
    /// The peer said goodbye.
    PeerClosed(&'static str),
    /// An operation failed.
    Status { status: u32, vendor: u32, verb: Option<Verb>, len: u32 },
    /// The device, port or queue pair reported trouble.
    Event(u32),
    /// A verb call was refused.
    Refused { what: &'static str, errno: i32 },
    /// The device returned what it cannot have: a completion nobody asked for.
    Phantom(u64),
}

/// A connected RDMA lane.
pub struct RdmaLane {
    // Fields drop in this order: the queue pair must be destroyed before the memory that it uses, and after the window
    // that is bound to it (IBTA vol. 1, ch. 10.6.7; Soft-RoCE waits 50 s for the window otherwise).
    _exposed: Option<MemoryWindow>,
    queue_pair: QueuePair,
    connection: Option<cm::Id>,
    regions: Vec<Arc<MemoryRegion>>,
    credit: Credit,
    iwarp: bool,
    /// Messages wait for the peer's receives.
    starved: bool,
    context: Arc<Context>,
    post_send: PostSend,
    post_recv: PostRecv,
    poll_cq: PollCq,
    req_notify: ReqNotifyCq,
    locals: Vec<LocalRegion>,
    window: Window,
    /// Registrations of the messages under way, one for each place of the send ring; empty when memory is registered
    /// up front.
    chunks: Box<[Option<MemoryRegion>]>,
    chunk_registration_ns: u64,
    chunks_registered: u64,
    sends: Box<[SendPlace]>,
    send_mask: u64,
    send_depth: u64,
    sends_posted: u64,
    sends_finished: u64,
    sends_reported: u64,
    unsignalled: u32,
    signal_every: u32,
    inline_bytes: u32,
    recvs: Box<[RecvPlace]>,
    recv_mask: u64,
    recv_depth: u64,
    recvs_posted: u64,
    recvs_finished: u64,
    completions: [IbvWc; BATCH],
    completions_at: usize,
    completions_len: usize,
    wait_mode: WaitMode,
    send_reports: SendReports,
    armed: bool,
    empty_polls: u32,
    epoch_seen: u32,
    events_before: usize,
    ending: Option<Ending>,
    ending_told: bool,
    goodbye_sequence: Option<u64>,
    bytes_sent: u64,
    bytes_received: u64,
    caps: LaneCaps,
    local: String,
    remote: String,
    retry_words: String,
    chosen: BTreeMap<String, String>,
    counters: BTreeMap<String, u64>,
    _shared: Arc<dyn Send + Sync>,
}

// SAFETY: the raw pointers are between the lane's own boxed arrays and into verbs objects, which may be used from
// any thread; the lane itself is used by one thread at a time (`&mut self`).
unsafe impl Send for RdmaLane {}

impl RdmaLane {
    pub(crate) fn new(parts: Parts) -> Result<RdmaLane, TransportError> {
        let functions = parts.context.functions();
        let missing = |what: &str| TransportError::Unsupported {
            what: format!("RDMA on {}", parts.context.device()),
            why: format!("its driver has no {what}"),
            fix: "update rdma-core's provider libraries".into(),
        };
        let post_send = functions.post_send.ok_or_else(|| missing("post_send"))?;
        let post_recv = functions.post_recv.ok_or_else(|| missing("post_recv"))?;
        let poll_cq = functions.poll_cq.ok_or_else(|| missing("poll_cq"))?;
        let req_notify = functions.req_notify_cq.ok_or_else(|| missing("req_notify_cq"))?;
        let locals = parts
            .regions
            .iter()
            .map(|mr| LocalRegion {
                base: mr.region().base_address() as u64,
                bytes: mr.region().len(),
                key: mr.local_key(),
            })
            .collect();
        // One place more than the depth for the goodbye.
        let send_places = (parts.send_depth as usize + 1).next_power_of_two();
        let recv_places = (parts.receive_depth as usize).max(1).next_power_of_two();
        let idle = Sent { tag: 0, verb: Verb::Send, len: 0, status: CompletionStatus::Ok };
        let empty_recv =
            IbvRecvWr { wr_id: 0, next: std::ptr::null_mut(), sg_list: std::ptr::null_mut(), num_sge: 1 };
        let mut sends: Box<[SendPlace]> =
            vec![SendPlace { wr: IbvSendWr::empty(), sge: IbvSge::default(), sent: idle }; send_places]
                .into();
        let mut recvs: Box<[RecvPlace]> =
            vec![RecvPlace { wr: empty_recv, sge: IbvSge::default(), tag: 0 }; recv_places].into();
        let (send_base, recv_base) = (sends.as_mut_ptr(), recvs.as_mut_ptr());
        // SAFETY: all indices are below the lengths of the boxed slices, which neither move nor shrink.
        unsafe {
            for at in 0..send_places {
                let wr = &mut (*send_base.add(at)).wr;
                wr.next = &raw mut (*send_base.add((at + 1) % send_places)).wr;
                wr.sg_list = &raw mut (*send_base.add(at)).sge;
                wr.num_sge = 1;
                wr.rkey = parts.window.key;
            }
            for at in 0..recv_places {
                let wr = &mut (*recv_base.add(at)).wr;
                wr.next = &raw mut (*recv_base.add((at + 1) % recv_places)).wr;
                wr.sg_list = &raw mut (*recv_base.add(at)).sge;
            }
        }
        Ok(RdmaLane {
            post_send,
            post_recv,
            poll_cq,
            req_notify,
            locals,
            window: parts.window,
            chunks: (0..if parts.per_chunk { send_places } else { 0 }).map(|_| None).collect(),
            chunk_registration_ns: 0,
            chunks_registered: 0,
            sends,
            send_mask: send_places as u64 - 1,
            send_depth: u64::from(parts.send_depth),
            sends_posted: 0,
            sends_finished: 0,
            sends_reported: 0,
            unsignalled: 0,
            signal_every: parts.signal_every.max(1),
            inline_bytes: parts.inline_bytes,
            recvs,
            recv_mask: recv_places as u64 - 1,
            recv_depth: u64::from(parts.receive_depth),
            recvs_posted: 0,
            recvs_finished: 0,
            completions: [IbvWc::default(); BATCH],
            completions_at: 0,
            completions_len: 0,
            wait_mode: parts.wait_mode,
            send_reports: parts.send_reports,
            armed: false,
            empty_polls: 0,
            epoch_seen: parts.context.epoch(),
            events_before: parts.events_before,
            ending: None,
            ending_told: false,
            goodbye_sequence: None,
            bytes_sent: 0,
            bytes_received: 0,
            caps: parts.caps,
            local: parts.local,
            remote: parts.remote,
            retry_words: parts.retry_words,
            chosen: parts.chosen,
            counters: parts.counters,
            _shared: parts.shared,
            queue_pair: parts.queue_pair,
            connection: parts.connection,
            _exposed: parts.exposed,
            credit: parts.credit,
            iwarp: parts.iwarp,
            starved: false,
            regions: parts.regions,
            context: parts.context,
        })
    }

    /// The operation's own memory, if it lies inside an attached region.
    #[inline]
    fn local_sge(&self, op: &Op) -> Option<IbvSge> {
        let local = self.locals.get(usize::from(op.region.0))?;
        let end = op.offset.checked_add(u64::from(op.len))?;
        (end <= local.bytes).then(|| IbvSge { addr: local.base + op.offset, length: op.len, lkey: local.key })
    }

    /// The peer's memory, if it may be used so and the operation stays inside.
    #[inline]
    fn remote_address(&self, op: &Op, allowed: bool) -> Option<u64> {
        let end = op.remote_offset.checked_add(u64::from(op.len))?;
        (allowed && end <= self.window.bytes).then_some(self.window.base + op.remote_offset)
    }

    /// Why an operation could not be staged.
    #[cold]
    fn invalid(&self, op: &Op) -> TransportError {
        let Op { region, offset, len, remote_offset, verb, .. } = *op;
        let Some(local) = self.locals.get(usize::from(region.0)) else {
            return TransportError::invalid(format!("region {} is not attached to this lane", region.0));
        };
        if offset.checked_add(u64::from(len)).is_none_or(|end| end > local.bytes) {
            return TransportError::invalid(format!(
                "bytes {offset}..+{len} lie outside the region of {} bytes",
                local.bytes
            ));
        }
        let allowed = match verb {
            Verb::Write | Verb::WriteImmediate => self.window.writable,
            Verb::Read => self.window.readable,
            Verb::SendInvalidate => {
                return TransportError::invalid(
                    "the peer's memory is not behind a memory window that could be ended; use --registration window there",
                );
            }
            _ => return TransportError::invalid(format!("{verb:?} is not a verb of this lane")),
        };
        if !allowed {
            return TransportError::invalid(format!("the peer exposes no memory for {verb:?}"));
        }
        TransportError::invalid(format!(
            "bytes {remote_offset}..+{len} lie outside the peer's region of {} bytes",
            self.window.bytes
        ))
    }

    /// Fills the next place of the send ring, without posting it; `false` when the operation is not valid.
    #[inline]
    fn stage_send(&mut self, op: &Op, sequence: u64) -> bool {
        let Some(sge) = self.local_sge(op) else { return false };
        let (writable, readable) = (self.window.writable, self.window.readable);
        let (opcode, remote, immediate) = match op.verb {
            Verb::Send => (k::IBV_WR_SEND, Some(0), 0),
            Verb::Write => (k::IBV_WR_RDMA_WRITE, self.remote_address(op, writable), 0),
            Verb::WriteImmediate => {
                (k::IBV_WR_RDMA_WRITE_WITH_IMM, self.remote_address(op, writable), op.immediate.to_be())
            }
            Verb::Read => (k::IBV_WR_RDMA_READ, self.remote_address(op, readable), 0),
            Verb::SendInvalidate => {
                (k::IBV_WR_SEND_WITH_INV, self.window.revocable.then_some(0), self.window.key)
            }
            _ => return false,
        };
        let Some(remote) = remote else { return false };
        self.unsignalled += 1;
        let mut flags = 0;
        if self.unsignalled >= self.signal_every {
            flags |= k::IBV_SEND_SIGNALED;
            self.unsignalled = 0;
        }
        if op.len <= self.inline_bytes && opcode != k::IBV_WR_RDMA_READ {
            flags |= k::IBV_SEND_INLINE;
        }
        let place = &mut self.sends[(sequence & self.send_mask) as usize];
        place.sge = sge;
        place.sent = Sent { tag: op.tag, verb: op.verb, len: op.len, status: CompletionStatus::Ok };
        let wr = &mut place.wr;
        wr.wr_id = sequence;
        wr.num_sge = i32::from(op.len > 0);
        wr.opcode = opcode;
        wr.send_flags = flags;
        wr.imm_data_or_rkey = immediate;
        wr.remote_addr = remote;
        true
    }

    /// Registers the memory of the send at `sequence` by itself. The only place where a connected lane makes
    /// something: what that costs is what this mode is for.
    #[cold]
    fn register_chunk(&mut self, op: &Op, sequence: u64) -> Result<(), TransportError> {
        let at = (sequence & self.send_mask) as usize;
        if op.len == 0 || self.sends[at].wr.send_flags & k::IBV_SEND_INLINE != 0 {
            return Ok(());
        }
        let Some(region) = self.regions.get(usize::from(op.region.0)) else { return Ok(()) };
        // On iWARP the answer to a READ is a write into it (RFC 5040 §4.4).
        let access = match (op.verb, self.iwarp) {
            (Verb::Read, true) => k::IBV_ACCESS_LOCAL_WRITE | k::IBV_ACCESS_REMOTE_WRITE,
            (Verb::Read, false) => k::IBV_ACCESS_LOCAL_WRITE,
            _ => 0,
        };
        let (begin, range) = (Instant::now(), (op.offset, u64::from(op.len)));
        let chunk = MemoryRegion::of(self.queue_pair.domain(), region.region(), range, access)?;
        self.chunk_registration_ns += u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.chunks_registered += 1;
        self.sends[at].sge.lkey = chunk.local_key();
        self.chunks[at] = Some(chunk);
        Ok(())
    }

    #[inline]
    fn stage_recv(&mut self, op: &Op, sequence: u64) -> bool {
        let Some(sge) = self.local_sge(op) else { return false };
        let place = &mut self.recvs[(sequence & self.recv_mask) as usize];
        place.sge = sge;
        place.tag = op.tag;
        place.wr.wr_id = sequence | RECEIVE;
        place.wr.num_sge = i32::from(op.len > 0);
        true
    }

    /// Posts the staged sends `from..to` as one linked list.
    fn post_sends(&mut self, from: u64, to: u64) -> Result<(), TransportError> {
        if from == to {
            return Ok(());
        }
        let first = (from & self.send_mask) as usize;
        let last = ((to - 1) & self.send_mask) as usize;
        let base = self.sends.as_mut_ptr();
        let mut bad = std::ptr::null_mut();
        // SAFETY: both indices are masked to the ring's length, and the places between them are linked. Each request
        // names memory of a registered region (checked when staged) that lives at least as long as the queue pair.
        // The places are free: fewer than `send_depth` sends are outstanding.
        let code = unsafe {
            let end = &raw mut (*base.add(last)).wr;
            if (*end).send_flags & k::IBV_SEND_SIGNALED == 0 {
                // Nothing may follow, and then this list would never be heard of.
                (*end).send_flags |= k::IBV_SEND_SIGNALED;
                self.unsignalled = 0;
            }
            let link = std::mem::replace(&mut (*end).next, std::ptr::null_mut());
            let code = (self.post_send)(self.queue_pair.as_ptr(), &raw mut (*base.add(first)).wr, &mut bad);
            (*end).next = link;
            code
        };
        if code == 0 {
            self.sends_posted = to;
            return Ok(());
        }
        // What was taken before the bad one will complete or be flushed; the lane is over either way.
        self.sends_posted = if bad.is_null() {
            from
        } else {
            // SAFETY: the library points `bad` at the request of our list that it refused.
            unsafe { (*bad).wr_id }.clamp(from, to)
        };
        Err(self.refused("posting a send", code))
    }

    fn post_recvs(&mut self, from: u64, to: u64) -> Result<(), TransportError> {
        if from == to {
            return Ok(());
        }
        let first = (from & self.recv_mask) as usize;
        let last = ((to - 1) & self.recv_mask) as usize;
        let base = self.recvs.as_mut_ptr();
        let mut bad = std::ptr::null_mut();
        // SAFETY: as in `post_sends`.
        let code = unsafe {
            let end = &raw mut (*base.add(last)).wr;
            let link = std::mem::replace(&mut (*end).next, std::ptr::null_mut());
            let code = (self.post_recv)(self.queue_pair.as_ptr(), &raw mut (*base.add(first)).wr, &mut bad);
            (*end).next = link;
            code
        };
        if code == 0 {
            self.recvs_posted = to;
            return Ok(());
        }
        self.recvs_posted = if bad.is_null() {
            from
        } else {
            // SAFETY: as in `post_sends`.
            (unsafe { (*bad).wr_id } & !RECEIVE).clamp(from, to)
        };
        Err(self.refused("posting a receive", code))
    }

    #[cold]
    fn refused(&mut self, what: &'static str, code: i32) -> TransportError {
        let errno =
            if code > 0 { code } else { io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) };
        self.end(Ending::Refused { what, errno });
        self.tell()
    }

    fn end(&mut self, ending: Ending) {
        if self.ending.is_none() {
            self.ending = Some(ending);
        }
    }

    /// The ending in words; only meaningful when there is one.
    #[cold]
    fn tell(&mut self) -> TransportError {
        self.ending_told = true;
        let device = self.context.device();
        let peer = &self.remote;
        match self.ending.clone() {
            Some(Ending::PeerClosed(how)) => {
                TransportError::PeerGone { operation: format!("RDMA lane to {peer}"), detail: how.into() }
            }
            Some(Ending::Status { status, vendor, verb, len }) => {
                let verb =
                    verb.map_or_else(|| "an operation".to_owned(), |v| format!("{v:?} of {len} bytes"));
                let vendor = if vendor == 0 { String::new() } else { format!(", vendor code {vendor:#x}") };
                let operation = format!("{verb} to {peer} over {device}");
                let detail = format!("{}{vendor}; {}", words::status_sentence(status), self.retry_words);
                match status {
                    12 | 13 => TransportError::PeerGone { operation, detail },
                    _ => TransportError::Io { operation, source: io::Error::other(detail) },
                }
            }
            // On iWARP the queue pair is a TCP connection, and it breaks with the peer.
            Some(Ending::Event(event)) if event == k::IBV_EVENT_QP_FATAL && self.iwarp => {
                let detail = "the connection under the queue pair broke: the peer left without a goodbye, or the path \
                              was lost";
                TransportError::PeerGone { operation: format!("RDMA lane to {peer}"), detail: detail.into() }
            }
            Some(Ending::Event(event)) => {
                let words = words::event_sentence(event).unwrap_or_else(|| format!("event {event}"));
                TransportError::Io {
                    operation: format!("RDMA lane on {device}"),
                    source: io::Error::other(words),
                }
            }
            Some(Ending::Refused { what, errno }) => TransportError::Io {
                operation: format!("{what} on {device}"),
                source: io::Error::from_raw_os_error(errno),
            },
            Some(Ending::Phantom(id)) => TransportError::Io {
                operation: format!("polling completions on {device}"),
                source: io::Error::other(format!(
                    "the driver reported the completion of request {id:#x}, which is not outstanding; results \
                     from this driver cannot be trusted (update rdma-core)"
                )),
            },
            None => TransportError::invalid("the lane has not ended"),
        }
    }

    /// Moves completions from the device to `out` as far as its spare capacity allows.
    #[inline]
    fn drain(&mut self, out: &mut Vec<Completion>) -> usize {
        let before = out.len();
        loop {
            while self.sends_reported < self.sends_finished {
                if out.len() == out.capacity() {
                    return out.len() - before;
                }
                let sent = self.sends[(self.sends_reported & self.send_mask) as usize].sent;
                if let Some(chunk) = self.chunks.get_mut((self.sends_reported & self.send_mask) as usize)
                    && let Some(chunk) = chunk.take()
                {
                    let begin = Instant::now();
                    drop(chunk);
                    self.chunk_registration_ns +=
                        u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                }
                let goodbye = self.goodbye_sequence == Some(self.sends_reported);
                self.sends_reported += 1;
                if goodbye {
                    continue;
                }
                if sent.status == CompletionStatus::Ok {
                    match sent.verb {
                        Verb::Read => self.bytes_received += u64::from(sent.len),
                        _ => self.bytes_sent += u64::from(sent.len),
                    }
                }
                out.push(Completion {
                    tag: sent.tag,
                    verb: sent.verb,
                    len: sent.len,
                    immediate: None,
                    status: sent.status,
                });
            }
            let spare = out.capacity() - out.len();
            if spare == 0 {
                return out.len() - before;
            }
            if self.completions_at == self.completions_len {
                let want = spare.min(BATCH) as i32;
                // SAFETY: the queue lives as long as the lane, and the array has room for `want` entries.
                let got = unsafe {
                    (self.poll_cq)(
                        self.queue_pair.completions().as_ptr(),
                        want,
                        self.completions.as_mut_ptr(),
                    )
                };
                if got <= 0 {
                    if got < 0 {
                        self.end(Ending::Refused { what: "polling completions", errno: libc::EIO });
                    }
                    return out.len() - before;
                }
                self.completions_at = 0;
                self.completions_len = (got as usize).min(BATCH);
            }
            let wc = self.completions[self.completions_at];
            self.completions_at += 1;
            if wc.wr_id & RECEIVE != 0 {
                self.finish_receive(&wc, out);
            } else if wc.wr_id & GRANT != 0 {
                self.finish_grant(&wc);
            } else {
                self.finish_sends(&wc);
            }
        }
    }

    #[inline]
    fn finish_sends(&mut self, wc: &IbvWc) {
        if wc.wr_id < self.sends_finished || wc.wr_id >= self.sends_posted {
            return self.end(Ending::Phantom(wc.wr_id));
        }
        if wc.status != k::IBV_WC_SUCCESS {
            let at = (wc.wr_id & self.send_mask) as usize;
            self.sends[at].sent.status = status_of(wc.status);
            let Sent { verb, len, .. } = self.sends[at].sent;
            self.fail_with(wc, Some(verb), len);
        }
        self.sends_finished = wc.wr_id + 1;
    }

    fn finish_grant(&mut self, wc: &IbvWc) {
        self.credit.granted_one();
        if wc.status != k::IBV_WC_SUCCESS {
            self.fail_with(wc, None, 8);
        }
    }

    /// Tells the peer of new receives.
    #[inline]
    fn grant(&mut self) -> Result<(), TransportError> {
        let (mut wr, mut sge) = (IbvSendWr::empty(), IbvSge::default());
        if !self.credit.grant(self.recvs_posted, self.recvs_finished, &mut wr, &mut sge) {
            return Ok(());
        }
        let mut bad = std::ptr::null_mut();
        // SAFETY: one request whose memory is the lane's own credit cell; the queue has places for these.
        let code = unsafe { (self.post_send)(self.queue_pair.as_ptr(), &mut wr, &mut bad) };
        if code == 0 { Ok(()) } else { Err(self.refused("posting a credit", code)) }
    }

    /// Whether a message may be sent now, as far as the peer's receives are concerned.
    #[inline]
    fn may_send(&mut self, verb: Verb) -> bool {
        if !matches!(verb, Verb::Send | Verb::SendInvalidate | Verb::WriteImmediate) {
            return true;
        }
        let allowed = self.credit.allows();
        if allowed {
            self.credit.spend();
        }
        self.starved = !allowed;
        allowed
    }

    #[inline]
    fn finish_receive(&mut self, wc: &IbvWc, out: &mut Vec<Completion>) {
        let sequence = wc.wr_id & !RECEIVE;
        if sequence < self.recvs_finished || sequence >= self.recvs_posted {
            return self.end(Ending::Phantom(wc.wr_id));
        }
        self.recvs_finished = sequence + 1;
        let tag = self.recvs[(sequence & self.recv_mask) as usize].tag;
        let mut completion =
            Completion { tag, verb: Verb::Recv, len: 0, immediate: None, status: CompletionStatus::Ok };
        if wc.status != k::IBV_WC_SUCCESS {
            completion.status = status_of(wc.status);
            self.fail_with(wc, Some(Verb::Recv), 0);
        } else if wc.wc_flags & k::IBV_WC_WITH_IMM != 0 && wc.opcode == k::IBV_WC_RECV {
            // Only our own goodbye sends an immediate without a write.
            completion.status = CompletionStatus::Flushed;
            self.end(Ending::PeerClosed("it closed the connection"));
        } else {
            // For a write with immediate the length is that of the write.
            completion.len = wc.byte_len;
            self.bytes_received += u64::from(wc.byte_len);
            if wc.opcode == k::IBV_WC_RECV_RDMA_WITH_IMM {
                completion.immediate = Some(u32::from_be(wc.imm_data_or_rkey));
            }
        }
        out.push(completion);
    }

    #[cold]
    fn fail_with(&mut self, wc: &IbvWc, verb: Option<Verb>, len: u32) {
        if self.ending.is_none() {
            // A flush without a cause of our own means that the connection ended under us: ask why.
            self.look_at_events();
        }
        self.end(if wc.status == k::IBV_WC_WR_FLUSH_ERR {
            // Nothing of ours failed before: the other end has stopped the queue pair.
            Ending::PeerClosed("it closed the connection")
        } else {
            Ending::Status { status: wc.status, vendor: wc.vendor_err, verb, len }
        });
    }

    /// Looks at what device and connection manager have to say. Costs system calls.
    #[cold]
    fn look_at_events(&mut self) {
        self.context.pump_events();
        if self.context.epoch() != self.epoch_seen {
            self.epoch_seen = self.context.epoch();
            if let Some(trouble) = self.context.trouble(self.queue_pair.number(), self.events_before) {
                self.end(Ending::Event(trouble.event));
            }
        }
        if let Some(connection) = &self.connection {
            while let Some(event) = connection.channel().try_next() {
                if let Some(how) = cm::ending(event.kind) {
                    if self.ending.is_none() {
                        self.ending = Some(Ending::PeerClosed(how));
                    }
                    // The manager has stopped the queue pair on RoCE; on iWARP it flushes by itself.
                    self.queue_pair.fail();
                }
            }
        }
    }

    /// Sleeps until a completion is announced or `timeout` is over. Other news (device, connection manager) is looked for
    /// when nothing completed for a while: what ends a lane flushes its queue as a rule, and that is announced.
    fn sleep(&mut self, timeout: Duration) {
        let timeout = timeout.min(NEWS_LOOK);
        let channel = self.queue_pair.completions().channel().map(|c| c.fd().as_raw_fd());
        let mut entry = libc::pollfd { fd: channel.unwrap_or(-1), events: libc::POLLIN, revents: 0 };
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
        };
        // SAFETY: one entry, alive during the call; one with descriptor -1 is ignored.
        unsafe { libc::ppoll(&mut entry, 1, &time, std::ptr::null()) };
        if entry.revents == 0 {
            self.look_at_events();
        } else if self.queue_pair.completions().take_event() {
            self.armed = false;
        }
    }

    fn arm(&mut self) {
        if !self.armed {
            // SAFETY: the queue lives as long as the lane.
            unsafe { (self.req_notify)(self.queue_pair.completions().as_ptr(), 0) };
            self.armed = true;
        }
    }

    /// Whether a message that had to wait for the peer's receives may go now; the caller then submits it again.
    #[inline]
    fn may_go_on(&mut self) -> bool {
        let may = self.starved && self.credit.allows();
        self.starved &= !may;
        may
    }

    /// Whether what was added to `out` since `begin` is worth returning for: to a caller who takes reports of sends
    /// lazily, only the answer is.
    #[inline]
    fn is_news(&self, out: &[Completion], begin: usize) -> bool {
        let added = &out[begin..];
        match self.send_reports {
            SendReports::Prompt => !added.is_empty(),
            SendReports::Lazy => {
                added.iter().any(|c| c.verb == Verb::Recv || c.status != CompletionStatus::Ok)
            }
        }
    }

    fn spin(
        &mut self,
        out: &mut Vec<Completion>,
        begin: usize,
        limit: Duration,
    ) -> Result<usize, TransportError> {
        // The clock is read once looking was in vain: an answer that is nearly there must not pay for it.
        let mut start = None;
        loop {
            for _ in 0..SPINS_PER_CLOCK {
                self.drain(out);
                if self.is_news(out, begin) || out.len() == out.capacity() || self.may_go_on() {
                    return Ok(out.len() - begin);
                }
                std::hint::spin_loop();
            }
            self.empty_polls = self.empty_polls.wrapping_add(SPINS_PER_CLOCK);
            if self.empty_polls.is_multiple_of(SPINS_PER_LOOK) {
                self.look_at_events();
            }
            if self.ending.is_some() || start.get_or_insert_with(Instant::now).elapsed() >= limit {
                return self.leave(out, begin);
            }
        }
    }

    fn block(
        &mut self,
        out: &mut Vec<Completion>,
        begin: usize,
        limit: Duration,
    ) -> Result<usize, TransportError> {
        let start = Instant::now();
        loop {
            self.arm();
            // What completed before arming raises no event: look once more (ibv_req_notify_cq(3)).
            self.drain(out);
            if self.is_news(out, begin) || out.len() == out.capacity() || self.may_go_on() {
                return Ok(out.len() - begin);
            }
            let left = limit.saturating_sub(start.elapsed());
            if self.ending.is_some() || left.is_zero() {
                return self.leave(out, begin);
            }
            // Credits arrive in memory without a completion: look often.
            self.sleep(if self.starved { left.min(STARVED_LOOK) } else { left });
            self.drain(out);
            if self.is_news(out, begin) || out.len() == out.capacity() {
                return Ok(out.len() - begin);
            }
        }
    }

    /// Nothing more came: what there is, or the ending, which is due once there is nothing else to give.
    #[inline]
    fn leave(&mut self, out: &[Completion], begin: usize) -> Result<usize, TransportError> {
        if self.ending.is_some() && out.len() == begin { Err(self.tell()) } else { Ok(out.len() - begin) }
    }

    fn send_goodbye(&mut self) {
        let sequence = self.sends_posted;
        let at = (sequence & self.send_mask) as usize;
        self.sends[at].sent = Sent { tag: 0, verb: Verb::Send, len: 0, status: CompletionStatus::Ok };
        let mut wr = IbvSendWr::empty();
        wr.wr_id = sequence;
        wr.opcode = k::IBV_WR_SEND_WITH_IMM;
        wr.send_flags = k::IBV_SEND_SIGNALED;
        let mut bad = std::ptr::null_mut();
        // SAFETY: one request without memory; the queue has one place more than the depth for it.
        if unsafe { (self.post_send)(self.queue_pair.as_ptr(), &mut wr, &mut bad) } == 0 {
            self.goodbye_sequence = Some(sequence);
            self.sends_posted = sequence + 1;
        }
    }

    /// Polls into a scratch vector until `done` says so, the lane ends, or `limit` is over.
    fn settle(&mut self, limit: Duration, done: impl Fn(&RdmaLane) -> bool) {
        let start = Instant::now();
        let mut scratch = Vec::with_capacity(BATCH);
        while !done(self) && self.ending.is_none() && start.elapsed() < limit {
            scratch.clear();
            if self.drain(&mut scratch) == 0 {
                self.look_at_events();
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
}

fn status_of(status: u32) -> CompletionStatus {
    if status == k::IBV_WC_WR_FLUSH_ERR {
        CompletionStatus::Flushed
    } else {
        CompletionStatus::Failed(status)
    }
}

impl Lane for RdmaLane {
    fn caps(&self) -> &LaneCaps {
        &self.caps
    }

    #[inline]
    fn submit(&mut self, ops: &[Op]) -> Result<usize, TransportError> {
        if self.ending.is_some() {
            return Err(self.tell());
        }
        let (send_from, recv_from) = (self.sends_posted, self.recvs_posted);
        let (mut send_to, mut recv_to) = (send_from, recv_from);
        let mut taken = 0;
        let mut valid = true;
        for op in ops {
            if op.verb == Verb::Recv {
                if recv_to - self.recvs_finished >= self.recv_depth {
                    break;
                }
                valid = self.stage_recv(op, recv_to);
                recv_to += u64::from(valid);
            } else {
                // A place is free once its completion was handed to the caller, not earlier: it still holds the tag.
                if send_to - self.sends_reported >= self.send_depth || !self.may_send(op.verb) {
                    break;
                }
                valid = self.stage_send(op, send_to);
                if valid && !self.chunks.is_empty() {
                    self.register_chunk(op, send_to)?;
                }
                send_to += u64::from(valid);
            }
            if !valid {
                break;
            }
            taken += 1;
        }
        // The answer to a send must find a receive; where some are posted already, the message leaves first.
        if self.recvs_finished < recv_from {
            self.post_sends(send_from, send_to)?;
            self.post_recvs(recv_from, recv_to)?;
            self.grant()?;
        } else {
            self.post_recvs(recv_from, recv_to)?;
            self.grant()?;
            self.post_sends(send_from, send_to)?;
        }
        match ops.get(taken) {
            Some(op) if !valid && taken == 0 => Err(self.invalid(op)),
            _ => Ok(taken),
        }
    }

    #[inline]
    fn poll(&mut self, out: &mut Vec<Completion>, wait: Wait) -> Result<usize, TransportError> {
        let begin = out.len();
        self.drain(out);
        if self.is_news(out, begin) {
            return Ok(out.len() - begin);
        }
        if self.ending.is_some() && out.len() == begin {
            return Err(self.tell());
        }
        self.grant()?;
        let Wait::AtMost(limit) = wait else {
            self.empty_polls = self.empty_polls.wrapping_add(1);
            if self.empty_polls.is_multiple_of(SPINS_PER_LOOK) {
                self.look_at_events();
            }
            return self.leave(out, begin);
        };
        match self.wait_mode {
            WaitMode::Spin => self.spin(out, begin, limit),
            WaitMode::Block => self.block(out, begin, limit),
        }
    }

    fn sample(&mut self, out: &mut LaneSample) {
        *out = LaneSample {
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            ..LaneSample::default()
        };
    }

    fn close(mut self: Box<Self>) -> Result<LaneStats, TransportError> {
        self.settle(DRAIN, |lane| lane.sends_finished == lane.sends_posted);
        if self.ending.is_none() && self.connection.is_none() && self.sends_finished == self.sends_posted {
            self.send_goodbye();
            self.settle(GOODBYE, |lane| lane.sends_finished == lane.sends_posted);
        }
        if let Some(connection) = &self.connection {
            connection.disconnect();
        }
        let orderly = matches!(self.ending, None | Some(Ending::PeerClosed(_)));
        if !orderly && !self.ending_told {
            return Err(self.tell());
        }
        let mut last = LaneSample::default();
        self.sample(&mut last);
        self.counters.insert("registered_regions".into(), self.regions.len() as u64);
        if !self.chunks.is_empty() {
            self.counters.insert("chunks_registered".into(), self.chunks_registered);
            self.counters.insert("chunk_registration_ns".into(), self.chunk_registration_ns);
        }
        // Of the lane's whole life, to be held against the device's counters.
        self.counters.insert("lane_sent_bytes".into(), self.bytes_sent);
        self.counters.insert("lane_received_bytes".into(), self.bytes_received);
        Ok(LaneStats {
            last,
            local: Some(std::mem::take(&mut self.local)),
            remote: Some(std::mem::take(&mut self.remote)),
            send_mode: Some("rdma".into()),
            receive_mode: Some("rdma".into()),
            chosen: std::mem::take(&mut self.chosen),
            counters: std::mem::take(&mut self.counters),
        })
    }
}
