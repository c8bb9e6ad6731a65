//! The rings of work requests, and the completions that empty them.

use pathproof_api::{Clock as _, Completion, CompletionStatus, Gone, Op, TransportError, Verb};

use super::ending::Ending;
use super::{BATCH, RdmaLane, Sent};
use crate::credit::GRANT;
use crate::ffi::{IbvRecvWr, IbvSendWr, IbvSge, IbvWc, k};
use crate::verbs::MemoryRegion;

/// Marks receives in `wr_id`; the rest is a sequence number.
const RECEIVE: u64 = 1 << 63;

/// One place of the send ring: the request, its memory, and what to report. What never changes (the link to the
/// next place, the pointer to the memory, the peer's key) is filled in once.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct SendPlace {
    pub(super) wr: IbvSendWr,
    pub(super) sge: IbvSge,
    pub(super) sent: Sent,
}

/// One place of the receive ring.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct RecvPlace {
    pub(super) wr: IbvRecvWr,
    pub(super) sge: IbvSge,
    pub(super) tag: u64,
}

#[derive(Clone, Copy)]
pub(super) struct LocalRegion {
    pub(super) base: u64,
    pub(super) bytes: u64,
    pub(super) key: u32,
}

impl RdmaLane {
    /// The operation's own memory, if it lies inside an attached region.
    #[inline]
    pub(super) fn local_sge(&self, op: &Op) -> Option<IbvSge> {
        let local = self.locals.get(usize::from(op.region.0))?;
        let end = op.offset.checked_add(u64::from(op.len))?;
        (end <= local.bytes).then(|| IbvSge { addr: local.base + op.offset, length: op.len, lkey: local.key })
    }

    /// The peer's memory, if it may be used so and the operation stays inside.
    #[inline]
    pub(super) fn remote_address(&self, op: &Op, allowed: bool) -> Option<u64> {
        let end = op.remote_offset.checked_add(u64::from(op.len))?;
        (allowed && end <= self.window.bytes).then_some(self.window.base + op.remote_offset)
    }

    /// Why an operation could not be staged.
    #[cold]
    pub(super) fn invalid(&self, op: &Op) -> TransportError {
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
    pub(super) fn stage_send(&mut self, op: &Op, sequence: u64) -> bool {
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
        let inline = op.len <= self.inline_bytes && opcode != k::IBV_WR_RDMA_READ;
        let mut flags = if inline { k::IBV_SEND_INLINE } else { 0 };
        self.unsignalled += 1;
        if self.unsignalled >= self.signals.every(inline) {
            flags |= k::IBV_SEND_SIGNALED;
            self.unsignalled = 0;
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
    pub(super) fn register_chunk(&mut self, op: &Op, sequence: u64) -> Result<(), TransportError> {
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
        let (begin, range) = (self.clock.now(), (op.offset, u64::from(op.len)));
        let chunk = MemoryRegion::of(self.queue_pair.domain(), region.region(), range, access)?;
        self.chunk_registration_ns += self.clock.now().ns_since(begin);
        self.chunks_registered += 1;
        self.sends[at].sge.lkey = chunk.local_key();
        self.chunks[at] = Some(chunk);
        Ok(())
    }

    #[inline]
    pub(super) fn stage_recv(&mut self, op: &Op, sequence: u64) -> bool {
        let Some(sge) = self.local_sge(op) else { return false };
        let place = &mut self.recvs[(sequence & self.recv_mask) as usize];
        place.sge = sge;
        place.tag = op.tag;
        place.wr.wr_id = sequence | RECEIVE;
        place.wr.num_sge = i32::from(op.len > 0);
        true
    }

    /// Posts the staged sends `from..to` as one linked list.
    pub(super) fn post_sends(&mut self, from: u64, to: u64) -> Result<(), TransportError> {
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
            if self.signals.last && (*end).send_flags & k::IBV_SEND_SIGNALED == 0 {
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

    pub(super) fn post_recvs(&mut self, from: u64, to: u64) -> Result<(), TransportError> {
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

    /// Moves completions from the device to `out` as far as its spare capacity allows.
    #[inline]
    pub(super) fn drain(&mut self, out: &mut Vec<Completion>) -> usize {
        let before = out.len();
        // A device that gave less than it was asked for had no more (ibv_poll_cq(3)): asking again would hold up what came.
        let mut exhausted = false;
        loop {
            while self.sends_reported < self.sends_finished {
                if out.len() == out.capacity() {
                    return out.len() - before;
                }
                let sent = self.sends[(self.sends_reported & self.send_mask) as usize].sent;
                if let Some(chunk) = self.chunks.get_mut((self.sends_reported & self.send_mask) as usize)
                    && let Some(chunk) = chunk.take()
                {
                    let begin = self.clock.now();
                    drop(chunk);
                    self.chunk_registration_ns += self.clock.now().ns_since(begin);
                }
                let own = self.sends_reported >= self.own_from;
                self.sends_reported += 1;
                if own {
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
                if exhausted {
                    return out.len() - before;
                }
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
                exhausted = got < want;
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
    pub(super) fn finish_sends(&mut self, wc: &IbvWc) {
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

    pub(super) fn finish_grant(&mut self, wc: &IbvWc) {
        self.credit.granted_one();
        if wc.status != k::IBV_WC_SUCCESS {
            self.fail_with(wc, None, 8);
        }
    }

    /// Tells the peer of new receives.
    #[inline]
    pub(super) fn grant(&mut self) -> Result<(), TransportError> {
        if !self.credit.is_due(self.recvs_posted, self.recvs_finished) {
            return Ok(());
        }
        self.post_grant()
    }

    /// Not inlined: the request of 128 bytes would be cleared for every look at whether one is due.
    #[inline(never)]
    fn post_grant(&mut self) -> Result<(), TransportError> {
        let (mut wr, mut sge) = (IbvSendWr::empty(), IbvSge::default());
        if !self.credit.grant(self.recvs_posted, &mut wr, &mut sge) {
            return Ok(());
        }
        let mut bad = std::ptr::null_mut();
        // SAFETY: one request whose memory is the lane's own credit cell; the queue has places for these.
        let code = unsafe { (self.post_send)(self.queue_pair.as_ptr(), &mut wr, &mut bad) };
        if code == 0 { Ok(()) } else { Err(self.refused("posting a credit", code)) }
    }

    /// Whether a message may be sent now, as far as the peer's receives are concerned.
    #[inline]
    pub(super) fn may_send(&mut self, verb: Verb) -> bool {
        if !takes_receive(verb) {
            return true;
        }
        let allowed = self.credit.allows();
        if allowed {
            self.credit.spend();
        }
        self.starved = !allowed;
        allowed
    }

    /// A message that was allowed is not valid, and takes none of them.
    #[cold]
    pub(super) fn not_sent(&mut self, verb: Verb) {
        if takes_receive(verb) {
            self.credit.give_back();
        }
    }

    #[inline]
    pub(super) fn finish_receive(&mut self, wc: &IbvWc, out: &mut Vec<Completion>) {
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
            self.end(Ending::PeerClosed(Some(Gone::Closed), "it closed the connection"));
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
}

/// Whether a receive of the peer's is used up by what this verb sends.
#[inline]
fn takes_receive(verb: Verb) -> bool {
    matches!(verb, Verb::Send | Verb::SendInvalidate | Verb::WriteImmediate)
}

fn status_of(status: u32) -> CompletionStatus {
    if status == k::IBV_WC_WR_FLUSH_ERR {
        CompletionStatus::Flushed
    } else {
        CompletionStatus::Failed(status)
    }
}
