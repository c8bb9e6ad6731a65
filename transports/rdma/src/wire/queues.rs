//! The work requests of a bare wire: a ring of sends with two pieces each, and a ring of receives with one.

use std::io;
use std::sync::Arc;

use pathproof_api::{LoanId, Piece, TransportError, WireDone, WireOp, WireVerb};

use super::account::Account;
use crate::ffi::{IbvRecvWr, IbvSendWr, IbvSge, IbvWc, PollCq, PostRecv, PostSend, ReqNotifyCq, k};
use crate::loans::Loans;
use crate::signals::Signals;
use crate::transport::adapter::Memory;
use crate::verbs::{Context, QueuePair};

/// Marks receives in `wr_id`; the rest is a sequence number.
pub(super) const RECEIVE: u64 = 1 << 63;

#[derive(Clone, Copy)]
struct SendPlace {
    wr: IbvSendWr,
    pieces: [IbvSge; 2],
}

#[derive(Clone, Copy)]
struct RecvPlace {
    wr: IbvRecvWr,
    piece: IbvSge,
    tag: u64,
}

/// Both rings, and the provider's functions for them.
pub(crate) struct Queues {
    post_send: PostSend,
    post_recv: PostRecv,
    poll_cq: PollCq,
    req_notify: ReqNotifyCq,
    inline_bytes: u32,
    signals: Signals,
    sends: Box<[SendPlace]>,
    account: Account,
    recvs: Box<[RecvPlace]>,
    /// Most receives at once.
    recv_places: u64,
    recvs_posted: u64,
    recvs_finished: u64,
}

// SAFETY: the raw pointers in the rings lead into the rings themselves and are set anew for every post; one thread at a
// time uses them (`&mut self`).
unsafe impl Send for Queues {}

impl Queues {
    pub(crate) fn new(
        context: &Arc<Context>,
        sends: u32,
        receives: u32,
        inline_bytes: u32,
        signals: Signals,
    ) -> Result<Queues, TransportError> {
        let functions = context.functions();
        let missing = |what: &str| TransportError::Unsupported {
            what: format!("RDMA on {}", context.device()),
            why: format!("its driver has no {what}"),
            fix: "update rdma-core's provider libraries".into(),
        };
        let empty =
            IbvRecvWr { wr_id: 0, next: std::ptr::null_mut(), sg_list: std::ptr::null_mut(), num_sge: 1 };
        let send = SendPlace { wr: IbvSendWr::empty(), pieces: [IbvSge::default(); 2] };
        let recv = RecvPlace { wr: empty, piece: IbvSge::default(), tag: 0 };
        Ok(Queues {
            post_send: functions.post_send.ok_or_else(|| missing("post_send"))?,
            post_recv: functions.post_recv.ok_or_else(|| missing("post_recv"))?,
            poll_cq: functions.poll_cq.ok_or_else(|| missing("poll_cq"))?,
            req_notify: functions.req_notify_cq.ok_or_else(|| missing("req_notify_cq"))?,
            inline_bytes,
            signals,
            sends: vec![send; ring(sends)].into(),
            account: Account::new(sends as usize),
            recvs: vec![recv; ring(receives)].into(),
            recv_places: u64::from(receives.max(1)),
            recvs_posted: 0,
            recvs_finished: 0,
        })
    }

    /// Whether something of the sending side has not completed that will though nothing follows.
    pub(super) fn sends_under_way(&self) -> bool {
        self.account.awaits()
    }

    /// Posts a prefix of `ops` and returns its length. Receives are posted before the sends that may grant them.
    pub(crate) fn submit(
        &mut self,
        queue_pair: &QueuePair,
        (memory, loans): (&Memory, &mut Loans),
        ops: &[WireOp],
    ) -> Result<usize, TransportError> {
        let (send_from, recv_from) = (self.account.posted(), self.recvs_posted);
        let (mut send_to, mut recv_to, mut taken) = (send_from, recv_from, 0);
        for op in ops {
            if op.verb == WireVerb::Receive {
                if recv_to - self.recvs_finished >= self.recv_places {
                    break;
                }
                self.stage_recv(memory, op, recv_to)?;
                recv_to += 1;
            } else {
                if !self.account.has_room(send_to) {
                    break;
                }
                match op.verb {
                    WireVerb::Bind { loan } => self.stage_bind(loans, loan, op.tag, send_to)?,
                    _ => self.stage_send(memory, op, send_to)?,
                }
                send_to += 1;
            }
            taken += 1;
        }
        self.post_recvs(queue_pair, recv_from, recv_to)?;
        self.post_sends(queue_pair, send_from, send_to)?;
        for op in &ops[..taken] {
            if let WireVerb::Bind { loan } = op.verb {
                loans.posted(loan);
            }
        }
        Ok(taken)
    }

    fn piece(memory: &Memory, piece: Piece) -> Result<IbvSge, TransportError> {
        if piece.len == 0 {
            return Ok(IbvSge::default());
        }
        let registered = memory.get(usize::from(piece.region.0)).and_then(Option::as_ref);
        let registered = registered
            .ok_or_else(|| TransportError::invalid("memory that is not registered on this wire"))?;
        let region = registered.region();
        region
            .check(piece.offset, u64::from(piece.len))
            .map_err(|error| TransportError::invalid(error.to_string()))?;
        Ok(IbvSge {
            addr: region.base_address() as u64 + piece.offset,
            length: piece.len,
            lkey: registered.local_key(),
        })
    }

    fn stage_send(&mut self, memory: &Memory, op: &WireOp, sequence: u64) -> Result<(), TransportError> {
        let pieces = [Queues::piece(memory, op.head)?, Queues::piece(memory, op.body)?];
        let (opcode, address, key) = match op.verb {
            WireVerb::Receive | WireVerb::Bind { .. } | WireVerb::Send => (k::IBV_WR_SEND, 0, 0),
            WireVerb::SendInvalidate { key } => (k::IBV_WR_SEND_WITH_INV, 0, key),
            WireVerb::Write { address, key } => (k::IBV_WR_RDMA_WRITE, address, key),
            WireVerb::Read { address, key } => (k::IBV_WR_RDMA_READ, address, key),
        };
        let len = op.head.len.saturating_add(op.body.len);
        let at = sequence as usize & (self.sends.len() - 1);
        let place = &mut self.sends[at];
        // An empty head would be a piece of nothing, which some devices refuse.
        place.pieces = if op.head.len == 0 { [pieces[1], pieces[0]] } else { pieces };
        let inline = len > 0 && len <= self.inline_bytes && opcode != k::IBV_WR_RDMA_READ;
        // Somebody waits for what was read and for a key that was ended; a write of nothing is there to be told.
        let seldom = match op.verb {
            WireVerb::Send => true,
            WireVerb::Write { .. } => len > 0,
            WireVerb::Receive
            | WireVerb::SendInvalidate { .. }
            | WireVerb::Read { .. }
            | WireVerb::Bind { .. } => false,
        };
        let asks = !seldom || self.account.silent() + 1 >= u64::from(self.signals.every(inline));
        self.account.stage(sequence, op.tag, len, asks);
        let wr = &mut place.wr;
        wr.wr_id = sequence;
        wr.num_sge = i32::from(op.head.len > 0) + i32::from(op.body.len > 0);
        wr.opcode = opcode;
        wr.send_flags =
            if asks { k::IBV_SEND_SIGNALED } else { 0 } | if inline { k::IBV_SEND_INLINE } else { 0 };
        wr.remote_addr = address;
        // libsiw takes the key to invalidate from `wr.rdma.rkey`, all others from its own field.
        wr.rkey = key;
        wr.imm_data_or_rkey = if opcode == k::IBV_WR_SEND_WITH_INV { key } else { 0 };
        Ok(())
    }

    fn stage_bind(
        &mut self,
        loans: &Loans,
        loan: LoanId,
        tag: u64,
        sequence: u64,
    ) -> Result<(), TransportError> {
        let request = loans.request(loan);
        let mut wr = request.ok_or_else(|| TransportError::invalid("a window that is not lent"))?;
        let at = sequence as usize & (self.sends.len() - 1);
        wr.wr_id = sequence;
        self.sends[at] = SendPlace { wr, pieces: [IbvSge::default(); 2] };
        self.account.stage(sequence, tag, 0, true);
        Ok(())
    }

    fn stage_recv(&mut self, memory: &Memory, op: &WireOp, sequence: u64) -> Result<(), TransportError> {
        let piece = Queues::piece(memory, op.head)?;
        let at = sequence as usize & (self.recvs.len() - 1);
        let place = &mut self.recvs[at];
        (place.piece, place.tag) = (piece, op.tag);
        place.wr.wr_id = sequence | RECEIVE;
        place.wr.num_sge = i32::from(op.head.len > 0);
        Ok(())
    }

    fn post_sends(&mut self, queue_pair: &QueuePair, from: u64, to: u64) -> Result<(), TransportError> {
        if from == to {
            return Ok(());
        }
        let mask = self.sends.len() - 1;
        let at = |sequence: u64| sequence as usize & mask;
        if self.signals.last && self.account.silent() > 0 {
            // Nothing may follow, and then this list would never be heard of.
            self.sends[at(to - 1)].wr.send_flags |= k::IBV_SEND_SIGNALED;
            self.account.last_asks(to - 1);
        }
        let base = self.sends.as_mut_ptr();
        let mut bad = std::ptr::null_mut();
        // SAFETY: indices are below the ring's length, and it never moves. Each request is linked to the next and names memory
        // of a registered region (checked when staged) that lives as long as the wire. The places are free: no more than
        // there are is outstanding.
        let code = unsafe {
            for sequence in from..to {
                let place = base.add(at(sequence));
                (*place).wr.sg_list = (&raw mut (*place).pieces).cast();
                (*place).wr.next = if sequence + 1 == to {
                    std::ptr::null_mut()
                } else {
                    &raw mut (*base.add(at(sequence + 1))).wr
                };
            }
            (self.post_send)(queue_pair.as_ptr(), &raw mut (*base.add(at(from))).wr, &mut bad)
        };
        // What was taken before a bad one will complete or be flushed; the wire is over either way.
        self.account.post(to);
        refused("posting a send", code)
    }

    fn post_recvs(&mut self, queue_pair: &QueuePair, from: u64, to: u64) -> Result<(), TransportError> {
        if from == to {
            return Ok(());
        }
        let (base, mask) = (self.recvs.as_mut_ptr(), self.recvs.len() - 1);
        let at = |sequence: u64| sequence as usize & mask;
        let mut bad = std::ptr::null_mut();
        // SAFETY: as in `post_sends`.
        let code = unsafe {
            for sequence in from..to {
                let place = base.add(at(sequence));
                (*place).wr.sg_list = &raw mut (*place).piece;
                (*place).wr.next = if sequence + 1 == to {
                    std::ptr::null_mut()
                } else {
                    &raw mut (*base.add(at(sequence + 1))).wr
                };
            }
            (self.post_recv)(queue_pair.as_ptr(), &raw mut (*base.add(at(from))).wr, &mut bad)
        };
        self.recvs_posted = to;
        refused("posting a receive", code)
    }

    /// Takes completions from the device into `into`.
    pub(super) fn poll(&mut self, queue_pair: &QueuePair, into: &mut [IbvWc]) -> Result<usize, ()> {
        let want = into.len() as i32;
        // SAFETY: the queue lives as long as the queue pair, and the slice has room for `want` entries.
        let got = unsafe { (self.poll_cq)(queue_pair.completions().as_ptr(), want, into.as_mut_ptr()) };
        usize::try_from(got).map(|got| got.min(into.len())).map_err(drop)
    }

    /// Asks for an announcement of the next completion.
    pub(super) fn arm(&self, queue_pair: &QueuePair) {
        // SAFETY: the queue lives as long as the queue pair.
        unsafe { (self.req_notify)(queue_pair.completions().as_ptr(), 0) };
    }

    /// The tag of the receive whose completion `id` has come; `None`: it is not the oldest one that is posted.
    pub(super) fn finish_receive(&mut self, id: u64) -> Option<u64> {
        let expected = self.recvs_finished < self.recvs_posted && id & !RECEIVE == self.recvs_finished;
        let place = &self.recvs[self.recvs_finished as usize & (self.recvs.len() - 1)];
        self.recvs_finished += u64::from(expected);
        expected.then_some(place.tag)
    }

    /// Tag and length of the operation whose completion `id` has come; `None`: it is not under way.
    pub(super) fn find_send(&self, id: u64) -> Option<(u64, u32)> {
        self.account.find(id)
    }

    /// Books how `id` ended; returns the bytes of those that ended with it.
    pub(super) fn finish_send(&mut self, id: u64, done: WireDone) -> u64 {
        self.account.finish(id, done)
    }

    /// The oldest operation, once it has ended.
    pub(super) fn pop_finished(&mut self) -> Option<WireDone> {
        self.account.pop()
    }
}

/// Places of a ring for so many: a power of two, so that a number finds its place by a mask and not by a division.
fn ring(most: u32) -> usize {
    (most as usize).max(1).next_power_of_two()
}

fn refused(what: &str, code: i32) -> Result<(), TransportError> {
    if code == 0 {
        return Ok(());
    }
    let source = if code > 0 { io::Error::from_raw_os_error(code) } else { io::Error::last_os_error() };
    Err(TransportError::Io { operation: what.to_owned(), source })
}
