//! The connected bare wire: posts what it is given, takes completions, and notices the end. No credit, no goodbye, no
//! message of its own. Every operation is told: who speaks over it counts by them. Which of them ask the device for a
//! completion is the business of `signals.rs` and `wire/account.rs`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, AdapterStats, CompletionStatus, Established, Exposed, Gone, Invalidated, LaneStats, Loan, LoanId,
    Region, RegionId, TransportError, Wait, WaitMode, Wire, WireDone, WireOp,
};
use pathproof_sys::clock::{Clock as _, RealClock};

use crate::cm;
use crate::ffi::{IbvWc, k};
use crate::loans::Loans;
use crate::transport::adapter::{Adapter, Memory};
use crate::verbs::QueuePair;
use crate::words;

mod account;
mod queues;

pub(crate) use queues::Queues;
use queues::RECEIVE;

/// Completions taken from the device at once.
const BATCH: usize = 32;
/// Empty polls between two looks at the clock when spinning.
const SPINS_PER_CLOCK: u32 = 64;
/// Empty polls between two looks at the event descriptors when spinning. Those cost system calls.
const SPINS_PER_LOOK: u32 = 1 << 16;
/// What `close` waits for operations that are still under way.
const DRAIN: Duration = Duration::from_secs(2);
/// The kernel's bit for an invalidated key, which Soft-RoCE hands to user space as it is.
const KERNEL_WC_WITH_INVALIDATE: u32 = 1 << 2;
/// The library's bit for it.
const IBV_WC_WITH_INV: u32 = 1 << 3;

/// Everything that `connect` hands over.
pub(crate) struct Parts {
    pub clock: RealClock,
    pub queue_pair: QueuePair,
    pub queues: Queues,
    pub connection: cm::Id,
    pub memory: Memory,
    pub loans: Loans,
    pub adapter: Arc<Adapter>,
    pub established: Established,
    pub wait_mode: WaitMode,
    pub chosen: BTreeMap<String, String>,
    pub adapter_used: AdapterStats,
    pub events_before: usize,
}

/// Why it is over.
enum Ending {
    Closed(Option<Gone>, &'static str),
    Failed(String),
}

/// A connected wire.
pub(crate) struct BareWire {
    // Fields drop in this order: windows before the queue pair that they are bound to (Soft-RoCE waits 50 s for them otherwise), that before its
    // memory, that before the adapter.
    loans: Loans,
    queue_pair: QueuePair,
    connection: cm::Id,
    queues: Queues,
    memory: Memory,
    adapter: Arc<Adapter>,
    clock: RealClock,
    established: Established,
    wait_mode: WaitMode,
    chosen: BTreeMap<String, String>,
    adapter_used: AdapterStats,
    events_before: usize,
    epoch_seen: u32,
    completions: [IbvWc; BATCH],
    armed: bool,
    /// Polls in vain while spinning, over all waits: each may be shorter than the time between two looks.
    empty_polls: u32,
    ending: Option<Ending>,
}

impl BareWire {
    pub(crate) fn new(parts: Parts) -> BareWire {
        BareWire {
            epoch_seen: parts.adapter.context.epoch(),
            queue_pair: parts.queue_pair,
            connection: parts.connection,
            queues: parts.queues,
            loans: parts.loans,
            memory: parts.memory,
            adapter: parts.adapter,
            clock: parts.clock,
            established: parts.established,
            wait_mode: parts.wait_mode,
            chosen: parts.chosen,
            adapter_used: parts.adapter_used,
            events_before: parts.events_before,
            completions: [IbvWc::default(); BATCH],
            armed: false,
            empty_polls: 0,
            ending: None,
        }
    }

    fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    fn operation(&self) -> String {
        format!("RDMA wire to {} over {}", self.established.remote, self.adapter.context.device())
    }

    #[cold]
    fn tell(&self) -> TransportError {
        match &self.ending {
            Some(Ending::Failed(detail)) => {
                TransportError::Io { operation: self.operation(), source: io::Error::other(detail.clone()) }
            }
            Some(Ending::Closed(how, detail)) => {
                let detail = (*detail).to_owned();
                TransportError::PeerGone { operation: self.operation(), how: *how, detail }
            }
            None => TransportError::invalid("the wire has not ended"),
        }
    }

    /// Moves completions from the device to `out` as far as its spare capacity allows.
    fn drain(&mut self, out: &mut Vec<WireDone>) {
        // A device that gave less than it was asked for had no more (ibv_poll_cq(3)).
        let mut exhausted = false;
        loop {
            while out.len() < out.capacity()
                && let Some(done) = self.queues.pop_finished()
            {
                out.push(done);
            }
            let spare = (out.capacity() - out.len()).min(BATCH);
            if spare == 0 || exhausted {
                return;
            }
            match self.queues.poll(&self.queue_pair, &mut self.completions[..spare]) {
                Ok(0) => return,
                Ok(got) => {
                    exhausted = got < spare;
                    (0..got).for_each(|at| self.book(self.completions[at], out));
                }
                Err(()) => {
                    return self.end(Ending::Failed("the device cannot be asked for completions".into()));
                }
            }
        }
    }

    fn book(&mut self, wc: IbvWc, out: &mut Vec<WireDone>) {
        if wc.wr_id & RECEIVE != 0 {
            if let Some(tag) = self.queues.finish_receive(wc.wr_id) {
                let done = self.done(&wc, tag, 0);
                return out.push(done);
            }
        } else if let Some((tag, len)) = self.queues.find_send(wc.wr_id) {
            let done = self.done(&wc, tag, len);
            self.adapter_used.sent_bytes += self.queues.finish_send(wc.wr_id, done);
            return;
        }
        self.end(Ending::Failed(format!(
            "the driver reported the completion of request {:#x}, which is not outstanding",
            wc.wr_id
        )));
    }

    fn done(&mut self, wc: &IbvWc, tag: u64, len: u32) -> WireDone {
        let received = wc.wr_id & RECEIVE != 0;
        let mut done = WireDone {
            tag,
            received,
            len,
            invalidated: Invalidated::NotReported,
            status: CompletionStatus::Ok,
        };
        if wc.status != k::IBV_WC_SUCCESS {
            done.len = 0;
            done.status = self.failed(wc, received);
            return done;
        }
        if received {
            done.len = wc.byte_len;
            let key = wc.imm_data_or_rkey;
            if wc.wc_flags & IBV_WC_WITH_INV != 0 {
                done.invalidated = Invalidated::Flagged(key);
            } else if wc.wc_flags & KERNEL_WC_WITH_INVALIDATE != 0 && key != 0 {
                done.invalidated = Invalidated::Unflagged(key);
            }
            self.adapter_used.received_bytes += u64::from(done.len);
        } else {
            self.adapter_used.sent_bytes += u64::from(len);
        }
        done
    }

    #[cold]
    fn failed(&mut self, wc: &IbvWc, received: bool) -> CompletionStatus {
        if self.ending.is_none() {
            // A flush without a cause of our own means that the connection ended under us: ask why.
            self.look_at_events();
        }
        if wc.status == k::IBV_WC_WR_FLUSH_ERR {
            self.end(Ending::Closed(Some(Gone::Closed), "it closed the connection"));
            return CompletionStatus::Flushed;
        }
        self.end(Ending::Failed(match received {
            true => format!("a receive failed: {}", words::receive_sentence(wc.status)),
            false => format!("an operation failed: {}", words::status_sentence(wc.status)),
        }));
        CompletionStatus::Failed(wc.status)
    }

    /// Looks at what device and connection manager have to say. Costs system calls.
    #[cold]
    fn look_at_events(&mut self) {
        let context = self.adapter.context.clone();
        context.pump_events();
        if context.epoch() != self.epoch_seen {
            self.epoch_seen = context.epoch();
            if let Some(trouble) = context.trouble(self.queue_pair.number(), self.events_before) {
                // On iWARP the queue pair is a TCP connection, and it breaks with the peer.
                self.end(if trouble.event == k::IBV_EVENT_QP_FATAL && self.established.iwarp {
                    Ending::Closed(None, "the connection under the queue pair broke")
                } else {
                    let words = words::event_sentence(trouble.event);
                    Ending::Failed(words.unwrap_or_else(|| format!("event {}", trouble.event)))
                });
            }
        }
        while let Some(event) = self.connection.channel().try_next() {
            if let Some((how, words)) = cm::ending(event.kind) {
                self.end(Ending::Closed(how, words));
                // The manager has stopped the queue pair on RoCE; on iWARP it flushes by itself.
                self.queue_pair.fail();
            }
        }
    }

    /// Sleeps until a completion is announced or `timeout` is over.
    fn sleep(&mut self, timeout: Duration) {
        match self.queue_pair.completions().sleep(timeout) {
            None => self.look_at_events(),
            Some(taken) => self.armed &= !taken,
        }
    }

    fn spin(&mut self, out: &mut Vec<WireDone>, limit: Duration) {
        // The clock is read once looking was in vain, and there is no pause between two looks, as in lanes.
        let (came, mut begin) = (out.len(), None);
        loop {
            for _ in 0..SPINS_PER_CLOCK {
                self.drain(out);
                if out.len() > came {
                    return;
                }
            }
            self.empty_polls = self.empty_polls.wrapping_add(SPINS_PER_CLOCK);
            if self.empty_polls.is_multiple_of(SPINS_PER_LOOK) {
                self.look_at_events();
            }
            let now = self.clock.now();
            if self.ending.is_some() || now.since(*begin.get_or_insert(now)) >= limit {
                return;
            }
        }
    }

    fn block(&mut self, out: &mut Vec<WireDone>, limit: Duration) {
        let (begin, came) = (self.clock.now(), out.len());
        let mut left = limit;
        loop {
            if !self.armed {
                self.queues.arm(&self.queue_pair);
                self.armed = true;
            }
            // What completed before arming raises no event: look once more (ibv_req_notify_cq(3)).
            self.drain(out);
            if out.len() > came || self.ending.is_some() || left.is_zero() {
                return;
            }
            self.sleep(left);
            self.drain(out);
            if out.len() > came {
                return;
            }
            left = limit.saturating_sub(self.clock.now().since(begin));
        }
    }

    fn wait(&mut self, out: &mut Vec<WireDone>, limit: Duration) {
        match self.wait_mode {
            WaitMode::Spin => self.spin(out, limit),
            WaitMode::Block => self.block(out, limit),
        }
    }
}

impl Wire for BareWire {
    fn established(&self) -> &Established {
        &self.established
    }

    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError> {
        self.adapter.expose(&mut self.memory, self.established.iwarp, region, access)
    }

    fn withdraw(&mut self, id: RegionId) -> Result<(), TransportError> {
        let place = self.memory.get_mut(usize::from(id.0));
        place.and_then(Option::take).map(drop).ok_or_else(|| TransportError::invalid("no such registration"))
    }

    fn lend(&mut self, region: &Arc<Region>, access: Access) -> Result<Loan, TransportError> {
        self.loans.lend(&self.adapter.domain, self.established.iwarp, region, access)
    }

    fn take_back(&mut self, id: LoanId, by_peer: bool) -> Result<(), TransportError> {
        self.loans.take_back(id, by_peer)
    }

    fn submit(&mut self, ops: &[WireOp]) -> Result<usize, TransportError> {
        if self.ending.is_some() {
            return Err(self.tell());
        }
        self.queues.submit(&self.queue_pair, (&self.memory, &mut self.loans), ops).inspect_err(|error| {
            self.ending.get_or_insert(Ending::Failed(error.to_string()));
        })
    }

    fn poll(&mut self, out: &mut Vec<WireDone>, wait: Wait) -> Result<usize, TransportError> {
        let came = out.len();
        self.drain(out);
        if let (Wait::AtMost(limit), true, None) = (wait, out.len() == came, &self.ending) {
            self.wait(out, limit);
        }
        if self.ending.is_some() && out.len() == came {
            return Err(self.tell());
        }
        Ok(out.len() - came)
    }

    fn close(mut self: Box<Self>) -> LaneStats {
        let until = self.clock.deadline(DRAIN);
        let mut scratch = Vec::with_capacity(BATCH);
        while self.queues.sends_under_way() && self.ending.is_none() && !until.is_over() {
            scratch.clear();
            self.wait(&mut scratch, until.left().min(Duration::from_millis(5)));
        }
        self.connection.disconnect();
        LaneStats {
            local: Some(std::mem::take(&mut self.established.local)),
            remote: Some(std::mem::take(&mut self.established.remote)),
            send_mode: Some("rdma".into()),
            receive_mode: Some("rdma".into()),
            chosen: std::mem::take(&mut self.chosen),
            adapter: Some(std::mem::take(&mut self.adapter_used)),
            ..LaneStats::default()
        }
    }
}
