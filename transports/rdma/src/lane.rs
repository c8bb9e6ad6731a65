//! The connected lane: posts work requests, collects completions, and notices when the connection is over.
//! Between connect and close it allocates nothing and takes no lock of its own.
//!
//! Completion moderation: of a list of sends only every `signal_every`-th and the last ask for a completion
//! (IBTA vol. 1, ch. 10.8.6); one such completion ends all sends before it, because a queue pair executes its
//! send queue in order. Where completions may be told late, the last one does not. On iWARP every send asks whose memory is
//! used again, see `signals.rs`. One that fails completes whether it asks or not. Receives always complete one by one. Only
//! `ibv_post_send`, `ibv_post_recv` and `ibv_poll_cq` are used: the extended completion queue of the Soft-RoCE provider
//! in common use reports completions that never happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pathproof_api::{
    AdapterStats, Completion, CompletionStatus, Lane, LaneCaps, LaneSample, LaneStats, Op, SendReports,
    Stopper, TransportError, Verb, Wait, WaitMode,
};
use pathproof_sys::clock::RealClock;

use crate::cm;
use crate::credit::Credit;
use crate::ffi::{IbvRecvWr, IbvSendWr, IbvSge, IbvWc, PollCq, PostRecv, PostSend, ReqNotifyCq};
use crate::memory_window::MemoryWindow;
use crate::signals::Signals;
use crate::verbs::{Context, MemoryRegion, QueuePair};

mod ending;
mod rings;
mod waiting;

use ending::{Ending, Parting, parting};
use rings::{LocalRegion, RecvPlace, SendPlace};

/// Completions taken from the device at once.
const BATCH: usize = 32;
/// Empty polls between two looks at the event descriptors when spinning. A look costs a system call.
const SPINS_PER_LOOK: u32 = 1 << 16;
/// What `close` waits for sends that are still under way.
const DRAIN: Duration = Duration::from_secs(2);
/// What `close` waits for its goodbye to be taken, which a peer that posts no receives never does, and before that for the
/// completion of sends that asked for none: an answer to each may have come long ago, and the peer be gone.
const GOODBYE: Duration = Duration::from_millis(100);

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

/// What is reported of an operation under way.
#[derive(Clone, Copy)]
struct Sent {
    tag: u64,
    verb: Verb,
    len: u32,
    status: CompletionStatus,
}

/// Everything that `connect` hands over.
pub(crate) struct Parts {
    pub clock: RealClock,
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
    pub signals: Signals,
    pub wait_mode: WaitMode,
    pub send_reports: SendReports,
    pub local: String,
    pub remote: String,
    pub retry_words: String,
    pub chosen: BTreeMap<String, String>,
    pub adapter: AdapterStats,
    pub counters: BTreeMap<String, u64>,
    pub events_before: usize,
    /// What else must live as long as the lane: the shared adapter, so that the next lane finds it open.
    pub shared: Arc<dyn Send + Sync>,
}

/// A connected RDMA lane.
pub struct RdmaLane {
    // Fields drop in this order: the queue pair must be destroyed before the memory that it uses, and after the window
    // that is bound to it (IBTA vol. 1, ch. 10.6.7; Soft-RoCE waits 50 s for the window otherwise).
    _exposed: Option<MemoryWindow>,
    clock: RealClock,
    /// The lane's alone; its stopper reaches it as long as it is there.
    queue_pair: Arc<QueuePair>,
    /// The stopper was used.
    stopped: Arc<AtomicBool>,
    /// What whoever watches over the lane heard from the connection manager.
    heard: Arc<Mutex<Option<Parting>>>,
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
    signals: Signals,
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
    /// From this one on what is sent is the lane's own.
    own_from: u64,
    bytes_sent: u64,
    bytes_received: u64,
    caps: LaneCaps,
    local: String,
    remote: String,
    retry_words: String,
    chosen: BTreeMap<String, String>,
    adapter: AdapterStats,
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
        // Two places more than the depth for what the lane itself sends at its end.
        let send_places = (parts.send_depth as usize + 2).next_power_of_two();
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
            clock: parts.clock,
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
            signals: parts.signals,
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
            own_from: u64::MAX,
            bytes_sent: 0,
            bytes_received: 0,
            caps: parts.caps,
            local: parts.local,
            remote: parts.remote,
            retry_words: parts.retry_words,
            chosen: parts.chosen,
            adapter: parts.adapter,
            counters: parts.counters,
            _shared: parts.shared,
            queue_pair: Arc::new(parts.queue_pair),
            stopped: Arc::default(),
            heard: Arc::default(),
            connection: parts.connection,
            _exposed: parts.exposed,
            credit: parts.credit,
            iwarp: parts.iwarp,
            starved: false,
            regions: parts.regions,
            context: parts.context,
        })
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
                if !valid {
                    self.not_sent(op.verb);
                } else if !self.chunks.is_empty() {
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

    /// Where a lane sleeps and only an answer is news. Its wait ends because a queue pair that is stopped flushes the receive that is
    /// posted for the answer.
    fn stopper(&self) -> Option<Stopper> {
        if self.wait_mode != WaitMode::Block || self.send_reports != SendReports::Late {
            return None;
        }
        let (stopped, at_stop) = (self.stopped.clone(), Arc::downgrade(&self.queue_pair));
        let stop = move || {
            stopped.store(true, Ordering::Release);
            if let Some(pair) = at_stop.upgrade() {
                pair.fail();
            }
        };
        let (number, since) = (self.queue_pair.number(), self.events_before);
        let (context, at_news) = (self.context.clone(), Arc::downgrade(&self.queue_pair));
        let manager = self.connection.as_ref().map(|connection| connection.channel().clone());
        let heard = self.heard.clone();
        let look = move || {
            context.pump_events();
            let parted = manager.as_ref().and_then(|channel| parting(channel));
            let is_over = parted.is_some() || context.trouble(number, since).is_some();
            // Left for the lane, which looks what has happened when it wakes.
            if let (Some(parted), Ok(mut heard)) = (parted, heard.lock()) {
                heard.get_or_insert(parted);
            }
            if is_over && let Some(pair) = at_news.upgrade() {
                pair.fail();
            }
        };
        Some(Stopper::new(stop).looking(look))
    }

    fn sample(&mut self, out: &mut LaneSample) {
        *out = LaneSample {
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            ..LaneSample::default()
        };
    }

    fn close(mut self: Box<Self>) -> Result<LaneStats, TransportError> {
        // The last ones may not have asked: those before them first.
        self.settle(DRAIN, |lane| lane.sends_finished + u64::from(lane.unsignalled) >= lane.sends_posted);
        if self.ask_for_the_rest() {
            self.settle(GOODBYE, |lane| lane.sends_finished == lane.sends_posted);
        }
        if self.ending.is_none() && self.connection.is_none() && self.sends_finished == self.sends_posted {
            self.send_goodbye();
            self.settle(GOODBYE, |lane| lane.sends_finished == lane.sends_posted);
        }
        if let Some(connection) = &self.connection {
            connection.disconnect();
        }
        let orderly = matches!(self.ending, None | Some(Ending::PeerClosed(..)));
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
            connection: None,
            adapter: Some(AdapterStats {
                sent_bytes: self.bytes_sent,
                received_bytes: self.bytes_received,
                ..std::mem::take(&mut self.adapter)
            }),
            stripe: None,
            counters: std::mem::take(&mut self.counters),
        })
    }
}
