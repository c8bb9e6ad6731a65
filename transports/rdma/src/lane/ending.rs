//! How a lane ends: what is noticed, what is said of it, and the goodbye.

use std::io;
use std::time::Duration;

use pathproof_api::{CompletionStatus, Gone, TransportError, Verb};

use super::{BATCH, RdmaLane, Sent};
use crate::cm;
use crate::ffi::{IbvSendWr, IbvWc, k};
use crate::words;

/// Why the lane is over.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// The peer said goodbye, or whoever speaks for it; how, where that is known, and in words.
    PeerClosed(Option<Gone>, &'static str),
    /// An operation failed.
    Status { status: u32, vendor: u32, verb: Option<Verb>, len: u32 },
    /// The device, port or queue pair reported trouble.
    Event(u32),
    /// A verb call was refused.
    Refused { what: &'static str, errno: i32 },
    /// The device returned what it cannot have: a completion nobody asked for.
    Phantom(u64),
}

/// How a connection ended by the connection manager's word, and in words.
pub(super) type Parting = (Option<Gone>, &'static str);

/// What the connection manager says of the end, if anything: a stranger who knocks is no end. Everything that it has said is taken.
pub(super) fn parting(channel: &cm::EventChannel) -> Option<Parting> {
    let mut parting = None;
    while let Some(event) = channel.try_next() {
        parting = parting.or_else(|| cm::ending(event.kind));
    }
    parting
}

impl RdmaLane {
    #[cold]
    pub(super) fn refused(&mut self, what: &'static str, code: i32) -> TransportError {
        let errno =
            if code > 0 { code } else { io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) };
        self.end(Ending::Refused { what, errno });
        self.tell()
    }

    pub(super) fn end(&mut self, ending: Ending) {
        if self.ending.is_none() {
            self.ending = Some(ending);
        }
    }

    /// The ending in words; only meaningful when there is one.
    #[cold]
    pub(super) fn tell(&mut self) -> TransportError {
        self.ending_told = true;
        let device = self.context.device();
        let peer = &self.remote;
        match self.ending.clone() {
            Some(Ending::PeerClosed(how, detail)) => {
                let operation = format!("RDMA lane to {peer}");
                TransportError::PeerGone { operation, how, detail: detail.into() }
            }
            Some(Ending::Status { status, vendor, verb, len }) => {
                let verb =
                    verb.map_or_else(|| "an operation".to_owned(), |v| format!("{v:?} of {len} bytes"));
                let vendor = if vendor == 0 { String::new() } else { format!(", vendor code {vendor:#x}") };
                let operation = format!("{verb} to {peer} over {device}");
                let detail = format!("{}{vendor}; {}", words::status_sentence(status), self.retry_words);
                match status {
                    12 | 13 => TransportError::PeerGone { operation, how: Some(Gone::RetriesSpent), detail },
                    _ => TransportError::Io { operation, source: io::Error::other(detail) },
                }
            }
            // On iWARP the queue pair is a TCP connection, and it breaks with the peer.
            Some(Ending::Event(event)) if event == k::IBV_EVENT_QP_FATAL && self.iwarp => {
                let detail = "the connection under the queue pair broke: the peer left without a goodbye, or the path \
                              was lost";
                let operation = format!("RDMA lane to {peer}");
                TransportError::PeerGone { operation, how: None, detail: detail.into() }
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

    #[cold]
    pub(super) fn fail_with(&mut self, wc: &IbvWc, verb: Option<Verb>, len: u32) {
        if self.ending.is_none() {
            // A flush without a cause of our own means that the connection ended under us: ask why.
            self.look_at_events();
        }
        self.end(if wc.status == k::IBV_WC_WR_FLUSH_ERR {
            // Nothing of ours failed before: the other end has stopped the queue pair.
            Ending::PeerClosed(Some(Gone::Closed), "it closed the connection")
        } else {
            Ending::Status { status: wc.status, vendor: wc.vendor_err, verb, len }
        });
    }

    /// Looks at what device and connection manager have to say. Costs system calls.
    #[cold]
    pub(super) fn look_at_events(&mut self) {
        self.context.pump_events();
        if self.context.epoch() != self.epoch_seen {
            self.epoch_seen = self.context.epoch();
            if let Some(trouble) = self.context.trouble(self.queue_pair.number(), self.events_before) {
                self.end(Ending::Event(trouble.event));
            }
        }
        let Some(connection) = &self.connection else { return };
        let heard = self.heard.lock().ok().and_then(|mut heard| heard.take());
        if let Some((how, words)) = heard.or_else(|| parting(connection.channel())) {
            if self.ending.is_none() {
                self.ending = Some(Ending::PeerClosed(how, words));
            }
            // The manager has stopped the queue pair on RoCE; on iWARP it flushes by itself.
            self.queue_pair.fail();
        }
    }

    /// Where the last sends have not asked for a completion: a write of no bytes behind them asks for all.
    pub(super) fn ask_for_the_rest(&mut self) -> bool {
        let due = self.unsignalled > 0 && self.ending.is_none();
        if due {
            let mut wr = IbvSendWr::empty();
            wr.opcode = k::IBV_WR_RDMA_WRITE;
            (wr.remote_addr, wr.rkey) = self.credit.at_the_peer();
            self.post_own(wr);
        }
        due
    }

    pub(super) fn send_goodbye(&mut self) {
        let mut wr = IbvSendWr::empty();
        wr.opcode = k::IBV_WR_SEND_WITH_IMM;
        self.post_own(wr);
    }

    /// Posts a request of the lane's own, of which nobody is told; one that is refused has no effect.
    fn post_own(&mut self, mut wr: IbvSendWr) {
        let sequence = self.sends_posted;
        let at = (sequence & self.send_mask) as usize;
        self.sends[at].sent = Sent { tag: 0, verb: Verb::Send, len: 0, status: CompletionStatus::Ok };
        wr.wr_id = sequence;
        wr.send_flags = k::IBV_SEND_SIGNALED;
        let mut bad = std::ptr::null_mut();
        // SAFETY: one request without memory; the queue has one place more than the depth for it, which is free: what this
        // lane sent of its own before has completed.
        if unsafe { (self.post_send)(self.queue_pair.as_ptr(), &mut wr, &mut bad) } == 0 {
            self.own_from = self.own_from.min(sequence);
            self.sends_posted = sequence + 1;
            self.unsignalled = 0;
        }
    }

    /// Polls into a scratch vector until `done` says so, the lane ends, or `limit` is over.
    pub(super) fn settle(&mut self, limit: Duration, done: impl Fn(&RdmaLane) -> bool) {
        let until = self.clock.deadline(limit);
        let mut scratch = Vec::with_capacity(BATCH);
        while !done(self) && self.ending.is_none() && !until.is_over() {
            scratch.clear();
            if self.drain(&mut scratch) == 0 {
                self.look_at_events();
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
}
