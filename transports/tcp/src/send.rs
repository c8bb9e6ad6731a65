//! The sending direction of a lane: a bounded queue of operations, sent from their place in order.

use std::collections::VecDeque;

use pathproof_api::{Completion, CompletionStatus, Framing, LaneSpec, Op, SendMode, TransportError};
use pathproof_sys::socket;
use pathproof_sys::transfer::TransferFlags;

use crate::frame::{Frame, HEADER_BYTES};
use crate::link::{Link, OneTry, is_retry};
use crate::zero_copy::InFlight;

/// Zero-copy calls that may await their notification, per operation of depth: a call may send part of one.
const CALLS_PER_OPERATION: usize = 4;

pub(crate) struct Sender {
    queue: VecDeque<Op>,
    depth: usize,
    framed: bool,
    /// Bytes of the first operation that have left, its header included.
    done: usize,
    in_flight: Option<InFlight>,
}

impl Sender {
    pub(crate) fn new(spec: &LaneSpec) -> Sender {
        let depth = spec.depth as usize;
        let zero_copy = spec.send_mode == SendMode::ZeroCopy;
        Sender {
            queue: VecDeque::with_capacity(depth),
            depth,
            framed: spec.framing == Framing::Framed,
            done: 0,
            in_flight: zero_copy.then(|| InFlight::new(depth * CALLS_PER_OPERATION, depth)),
        }
    }

    /// Whether one more operation may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() + self.awaited() < self.depth
    }

    /// Queues an operation; the caller has asked [`Sender::has_room`].
    pub(crate) fn push(&mut self, op: Op) {
        self.queue.push_back(op);
    }

    /// Whether there is something to send.
    pub(crate) fn pending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Operations sent whose memory the kernel may still read.
    pub(crate) fn awaited(&self) -> usize {
        self.in_flight.as_ref().map_or(0, InFlight::operations)
    }

    /// Operations that were accepted and not fully sent.
    pub(crate) fn unsent(&self) -> usize {
        self.queue.len()
    }

    /// Zero-copy notifications that said the kernel had copied.
    pub(crate) fn copied_after_all(&self) -> Option<u64> {
        self.in_flight.as_ref().map(|flight| flight.copied)
    }

    /// One `send` call for the first operation.
    pub(crate) fn step(&mut self, link: &mut Link, flags: TransferFlags) -> Result<OneTry, TransportError> {
        let Some(op) = self.queue.front().copied() else { return Ok(OneTry::Blocked) };
        let head_bytes = if self.framed { HEADER_BYTES } else { 0 };
        let total = head_bytes + op.len as usize;
        let mut zero_copy = self.in_flight.as_ref().is_some_and(InFlight::has_room);
        let region = link.region(op.region)?;
        let result = if self.done < head_bytes {
            let head = Frame::of(&op).encode();
            if zero_copy {
                // The header lives on this stack; only what lies in the region may be sent from its place.
                zero_copy = false;
                let flags = flags | TransferFlags::MORE_FOLLOWS;
                region.send_with_head(link.fd(), &head[self.done..], op.offset, 0, flags)
            } else {
                region.send_with_head(link.fd(), &head[self.done..], op.offset, u64::from(op.len), flags)
            }
        } else {
            let sent = (self.done - head_bytes) as u64;
            let flags = if zero_copy { flags | TransferFlags::ZERO_COPY } else { flags };
            region.send(link.fd(), op.offset + sent, u64::from(op.len) - sent, flags)
        };
        let n = match result {
            Ok(n) => n,
            // A zero-copy call may also meet the limit on locked memory; it passes when notifications come.
            Err(e) if is_retry(&e) || socket::lacks_room(&e) => return Ok(OneTry::Blocked),
            Err(e) => return Err(link.error("sending", e)),
        };
        let payload_before = self.done.saturating_sub(head_bytes);
        self.done += n;
        link.bytes_sent += (self.done.saturating_sub(head_bytes) - payload_before) as u64;
        let finished = self.done == total;
        if finished {
            self.done = 0;
            self.queue.pop_front();
        }
        match &mut self.in_flight {
            Some(flight) if zero_copy => {
                flight.called(finished.then_some(op));
                Ok(OneTry::Moved(n))
            }
            // Sent by copy, and yet its turn to complete comes after those still in flight.
            Some(flight) if finished && flight.operations() > 0 => {
                flight.copied_op(op);
                Ok(OneTry::Moved(n))
            }
            _ if finished => Ok(OneTry::Completed(completion(&op))),
            _ => Ok(OneTry::Moved(n)),
        }
    }

    /// The next operation whose memory the kernel has let go of.
    pub(crate) fn reap(&mut self, link: &Link) -> Result<Option<Completion>, TransportError> {
        let Some(flight) = &mut self.in_flight else { return Ok(None) };
        loop {
            if let Some(op) = flight.next_free() {
                return Ok(Some(completion(&op)));
            }
            if flight.is_empty() {
                return Ok(None);
            }
            match socket::next_zero_copy_done(link.fd()) {
                Ok(Some(done)) => flight.note(done),
                Ok(None) => return Ok(None),
                Err(e) => return Err(link.error("reading zero-copy notifications", e)),
            }
        }
    }
}

fn completion(op: &Op) -> Completion {
    Completion { tag: op.tag, verb: op.verb, len: op.len, immediate: None, status: CompletionStatus::Ok }
}
