//! The lane itself: what is tried when, and how it waits.
//!
//! The usual cases cost one system call per message. With one direction pending the lane sleeps in `send` or
//! `recv` itself, bounded by the socket's own timeout (a timer for every call, some 7 % of a short exchange) or, with a
//! watcher that holds its stopper, by nothing; `ppoll` is used when both directions are pending, when
//! the wait is too short for the kernel's timer ticks, and for zero-copy notifications. A spinning lane calls
//! `recv` without waiting until time is up.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Clock as _, Completion, Framing, Lane, LaneCaps, LaneSample, LaneSpec, LaneStats, Op, Readiness,
    ReceiveMode, Region, RegionId, SendMode, SendReports, Stopper, TransportError, Verb, Wait, WaitMode,
};
use pathproof_sys::clock::RealClock;
use pathproof_sys::socket::Interest;
use pathproof_sys::transfer::TransferFlags;
use pathproof_sys::{socket, tcp_info};
use socket2::SockRef;

use crate::link::{Link, OneTry, is_retry};
use crate::receive::Receiver;
use crate::send::Sender;

/// A poll call that has moved so much returns, so that its completions are stamped while they are fresh.
const TURN_BYTES: u64 = 64 * 1024;

/// Socket timeouts count in scheduler ticks (up to 10 ms each) and round up: a shorter wait goes through `ppoll`,
/// and a longer one leaves this much out, so that "at most" holds.
const TICKS: Duration = Duration::from_millis(16);

/// Longest single sleep in `send` or `recv`.
const SLEEP_MS_MAX: u64 = 128;

/// A spinning lane looks at the clock once in so many tries.
const TRIES_PER_CLOCK: u32 = 16;

/// How long `close` waits for the peer to take what was sent.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// A connected TCP lane.
pub(crate) struct TcpLane {
    clock: RealClock,
    link: Link,
    caps: LaneCaps,
    sender: Sender,
    receiver: Receiver,
    spin: bool,
    lazy_sends: bool,
    /// Which direction the next poll tries first, when both are pending.
    receive_first: bool,
    send_timeout: Option<Duration>,
    receive_timeout: Option<Duration>,
    failed: Option<TransportError>,
    stats: LaneStats,
}

impl TcpLane {
    pub(crate) fn new(
        stream: TcpStream,
        spec: &LaneSpec,
        regions: Vec<Arc<Region>>,
        target: Option<RegionId>,
        chosen: BTreeMap<String, String>,
        clock: &RealClock,
    ) -> TcpLane {
        let mut caps = crate::caps();
        caps.depth_max = spec.depth;
        caps.message_bytes_max = spec.message_bytes_max;
        if spec.framing == Framing::Raw {
            caps.verbs = vec![Verb::Send, Verb::Recv];
        }
        let send_mode = match spec.send_mode {
            SendMode::Copy => "copy",
            SendMode::ZeroCopy => "zero-copy",
        };
        let receive_mode = match spec.receive_mode {
            ReceiveMode::Copy => "copy",
            ReceiveMode::Discard => "discard",
        };
        let stats = LaneStats {
            local: stream.local_addr().ok().map(|a| a.to_string()),
            remote: stream.peer_addr().ok().map(|a| a.to_string()),
            send_mode: Some(send_mode.into()),
            receive_mode: Some(receive_mode.into()),
            chosen,
            ..LaneStats::default()
        };
        let spin = spec.wait_mode == WaitMode::Spin;
        TcpLane {
            clock: clock.clone(),
            link: Link {
                stream: Arc::new(stream),
                regions,
                target,
                message_bytes_max: spec.message_bytes_max,
                bytes_sent: 0,
                bytes_received: 0,
            },
            caps,
            sender: Sender::new(spec),
            receiver: Receiver::new(spec, !spin, target.is_some(), clock),
            spin,
            lazy_sends: spec.send_reports != SendReports::Prompt,
            receive_first: false,
            send_timeout: None,
            receive_timeout: None,
            failed: None,
            stats,
        }
    }

    fn check(&self, op: &Op) -> Result<(), TransportError> {
        // Every tcp lane can do these two.
        if !matches!(op.verb, Verb::Send | Verb::Recv) && !self.caps.can(op.verb) {
            return Err(TransportError::invalid(format!("this tcp lane cannot {:?}", op.verb)));
        }
        if op.len > self.link.message_bytes_max {
            return Err(TransportError::invalid(format!(
                "a message of {} bytes on a lane prepared for at most {}",
                op.len, self.link.message_bytes_max
            )));
        }
        if op.len == 0 && !self.caps.can(Verb::Write) {
            return Err(TransportError::invalid("an empty message cannot be recognised on a raw lane"));
        }
        let region = self.link.region(op.region)?;
        region.check(op.offset, u64::from(op.len)).map_err(|e| TransportError::invalid(e.to_string()))
    }

    /// Runs one direction until nothing more is done without waiting. Only the first try may wait.
    fn run(
        &mut self,
        direction: OneWay,
        out: &mut Vec<Completion>,
        flags: TransferFlags,
    ) -> Result<(), TransportError> {
        let (mut flags, mut bytes) = (flags, 0);
        while out.len() < out.capacity() && bytes < TURN_BYTES {
            let step = match direction {
                OneWay::Send if self.sender.pending() => self.sender.step(&mut self.link, flags)?,
                OneWay::Receive if self.receiver.wants() => self.receiver.step(&mut self.link, flags)?,
                _ => return Ok(()),
            };
            match step {
                OneTry::Completed(completion) => {
                    bytes += u64::from(completion.len);
                    out.push(completion);
                    // The other direction's turn: an answer leaves before the next question is looked for.
                    self.receive_first = direction == OneWay::Send;
                }
                OneTry::Moved(n) => bytes += n.max(1) as u64,
                OneTry::Blocked => return Ok(()),
            }
            flags |= TransferFlags::AT_ONCE;
        }
        Ok(())
    }

    fn reap(&mut self, out: &mut Vec<Completion>) -> Result<(), TransportError> {
        while out.len() < out.capacity() {
            match self.sender.reap(&self.link)? {
                Some(completion) => out.push(completion),
                None => break,
            }
        }
        Ok(())
    }

    /// Tries what is pending once, without waiting, until one direction has completed something.
    fn try_all(&mut self, out: &mut Vec<Completion>) -> Result<(), TransportError> {
        let before = out.len();
        self.reap(out)?;
        let order = if self.receive_first {
            [OneWay::Receive, OneWay::Send]
        } else {
            [OneWay::Send, OneWay::Receive]
        };
        for direction in order {
            self.run(direction, out, TransferFlags::AT_ONCE)?;
            if out.len() > before {
                break;
            }
        }
        Ok(())
    }

    fn turn(&mut self, out: &mut Vec<Completion>, wait: Wait) -> Result<(), TransportError> {
        if out.len() == out.capacity() {
            return Ok(());
        }
        let mut before = out.len();
        let Wait::AtMost(wait) = wait else { return self.try_all(out) };
        if self.lazy_sends && self.sender.pending() && self.receiver.wants() {
            self.run(OneWay::Send, out, TransferFlags::AT_ONCE)?;
            if out.len() == out.capacity() {
                return Ok(());
            }
            if !self.sender.pending() {
                // What has left is no reason to return: the wait is for what comes.
                before = out.len();
            }
        }
        if !self.spin && wait >= TICKS && self.sender.awaited() == 0 {
            match (self.sender.pending(), self.receiver.wants()) {
                (true, _) if !self.receiver.awaits() => {
                    self.limit_sleep(OneWay::Send, wait)?;
                    return self.run(OneWay::Send, out, TransferFlags::USUAL);
                }
                (false, true) => {
                    self.limit_sleep(OneWay::Receive, wait)?;
                    return self.run(OneWay::Receive, out, TransferFlags::USUAL);
                }
                _ => {}
            }
        }
        // The clock is read only once the first tries have failed: most polls find something at once.
        let mut start = None;
        loop {
            if self.spin {
                self.spin(out, before)?;
            } else {
                self.try_all(out)?;
            }
            if out.len() > before {
                return Ok(());
            }
            if wait == Duration::MAX && !self.spin {
                self.sleep(None)?;
                continue;
            }
            let now = self.clock.now();
            let left = wait.saturating_sub(now.since(*start.get_or_insert(now)));
            if left.is_zero() {
                return Ok(());
            }
            if !self.spin {
                self.sleep(Some(left))?;
            }
        }
    }

    /// Tries [`TRIES_PER_CLOCK`] times, or until there is a completion beyond `before`.
    fn spin(&mut self, out: &mut Vec<Completion>, before: usize) -> Result<(), TransportError> {
        // Nothing to send and nothing to reap: each try is the system call and little else, because what a try
        // costs is how late a message is seen.
        let only_receives = !self.sender.pending() && self.sender.awaited() == 0;
        for _ in 0..TRIES_PER_CLOCK {
            if !only_receives {
                self.try_all(out)?;
            } else if let OneTry::Completed(completion) =
                self.receiver.step(&mut self.link, TransferFlags::AT_ONCE)?
            {
                out.push(completion);
                self.receive_first = false;
            }
            if out.len() > before {
                break;
            }
        }
        Ok(())
    }

    /// Makes blocking calls of one direction return within `wait`. Costs a system call only when the rounded
    /// time differs from the one in force.
    fn limit_sleep(&mut self, direction: OneWay, wait: Duration) -> Result<(), TransportError> {
        let ms = u64::try_from((wait - TICKS / 2).as_millis()).unwrap_or(u64::MAX).min(SLEEP_MS_MAX);
        // Rounded down to a power of two, so that a wait that shrinks as a step ends changes it rarely.
        let timeout = (wait < Duration::MAX).then(|| Duration::from_millis(1 << ms.max(1).ilog2()));
        let (in_force, set) = match direction {
            OneWay::Send => (
                &mut self.send_timeout,
                TcpStream::set_write_timeout as fn(&TcpStream, Option<Duration>) -> io::Result<()>,
            ),
            OneWay::Receive => (&mut self.receive_timeout, TcpStream::set_read_timeout as _),
        };
        if *in_force != timeout {
            set(&self.link.stream, timeout)
                .map_err(|e| TransportError::io("setting the timeout of a tcp lane", e))?;
            *in_force = timeout;
        }
        Ok(())
    }

    /// Sleeps until something pending can be done, an error is there, or `left` is over.
    fn sleep(&mut self, left: Option<Duration>) -> Result<(), TransportError> {
        let interest = Interest { read: self.receiver.wants(), write: self.sender.pending() };
        let ended = match socket::wait_for(self.link.fd(), interest, left) {
            Ok(ended) => ended,
            Err(e) => return Err(self.link.error("waiting", e)),
        };
        let idle = interest == Interest::default() && self.sender.awaited() == 0;
        if idle && ended {
            // Nobody else would look, and the next sleep would end at once.
            return Err(match self.link.stream.take_error().ok().flatten() {
                Some(source) => self.link.error("waiting", source),
                // It is over, and the kernel does not say how.
                None => TransportError::PeerGone {
                    operation: format!("waiting ({})", self.link.peer_text()),
                    how: None,
                    detail: io::Error::from(io::ErrorKind::ConnectionReset).to_string(),
                },
            });
        }
        Ok(())
    }

    /// Sends what is queued and waits until the peer's kernel has it, within a bound.
    fn drain(&mut self) {
        let until = self.clock.deadline(CLOSE_PATIENCE);
        let mut out = Vec::with_capacity(1);
        while self.failed.is_none() && !until.is_over() && self.sender.pending() {
            out.clear();
            let sent = self.run(OneWay::Send, &mut out, TransferFlags::AT_ONCE).and_then(|()| {
                out.clear();
                self.reap(&mut out)?;
                if self.sender.pending() { self.sleep(Some(until.left())) } else { Ok(()) }
            });
            if sent.is_err() {
                return;
            }
        }
        if self.link.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        // Closing with bytes unread, or met by bytes later, makes the kernel answer with a reset, which may
        // overtake what the peer has not yet acknowledged. So read on until it has.
        let fd = self.link.fd();
        let mut scrap = [0u8; 4096];
        while !until.is_over() && socket::send_queue_bytes(fd).is_some_and(|bytes| bytes > 0) {
            match socket::receive(fd, &mut scrap, TransferFlags::AT_ONCE) {
                Ok(1..) => continue,
                Ok(0) => {}
                Err(e) if is_retry(&e) => {}
                Err(_) => return,
            }
            let _ = socket::wait_for(fd, Interest::default(), Some(Duration::from_millis(1)));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OneWay {
    Send,
    Receive,
}

impl Lane for TcpLane {
    fn caps(&self) -> &LaneCaps {
        &self.caps
    }

    fn submit(&mut self, ops: &[Op]) -> Result<usize, TransportError> {
        for (accepted, op) in ops.iter().enumerate() {
            match self.check(op) {
                Ok(()) => {}
                // The wrong one is reported when it comes first; those before it are already ours.
                Err(_) if accepted > 0 => return Ok(accepted),
                Err(e) => return Err(e),
            }
            if op.verb == Verb::Recv {
                if !self.receiver.has_room() {
                    return Ok(accepted);
                }
                self.receiver.push(*op);
            } else {
                if !self.sender.has_room() {
                    return Ok(accepted);
                }
                self.receiver.wake().forbid(self.link.stream.as_fd());
                self.sender.push(*op);
            }
        }
        Ok(ops.len())
    }

    fn poll(&mut self, out: &mut Vec<Completion>, wait: Wait) -> Result<usize, TransportError> {
        if let Some(failed) = &self.failed {
            return Err(TransportError::PeerGone {
                operation: "polling a tcp lane that has failed".into(),
                how: failed.how(),
                detail: failed.to_string(),
            });
        }
        let before = out.len();
        let result = self.turn(out, wait);
        let added = out.len() - before;
        match result {
            Ok(()) => Ok(added),
            Err(e) => {
                // Completions come first; the error is told by the next poll. One that can be told now is
                // told in its own words, and kept as words for those who ask again.
                if added > 0 {
                    self.failed = Some(e);
                    return Ok(added);
                }
                self.failed = Some(TransportError::PeerGone {
                    operation: "tcp lane".into(),
                    how: e.how(),
                    detail: e.to_string(),
                });
                Err(e)
            }
        }
    }

    fn readiness(&self) -> Option<Readiness<'_>> {
        Some(Readiness {
            fd: self.link.stream.as_fd(),
            read: self.receiver.wants(),
            write: self.sender.pending(),
        })
    }

    fn stopper(&self) -> Option<Stopper> {
        // A lane that spins looks at the clock itself.
        if self.spin {
            return None;
        }
        // It keeps the connection of no lane that is gone.
        let stream = Arc::downgrade(&self.link.stream);
        Some(Stopper::new(move || _ = stream.upgrade().map(|stream| stream.shutdown(Shutdown::Both))))
    }

    fn sample(&mut self, out: &mut LaneSample) {
        *out = LaneSample {
            bytes_sent: self.link.bytes_sent,
            bytes_received: self.link.bytes_received,
            unacknowledged_bytes: socket::send_queue_bytes(self.link.fd()),
            ..LaneSample::default()
        };
        // Fields that the kernel does not give stay unknown.
        let info = tcp_info::tcp_info(self.link.fd()).unwrap_or_default();
        out.rtt_ns = info.rtt_ns;
        out.rtt_variation_ns = info.rtt_variation_ns;
        out.rtt_min_ns = info.rtt_min_ns;
        out.retransmits = info.retransmits;
        out.send_segment_bytes = info.send_segment_bytes;
        out.path_ip_mtu_bytes = info.path_ip_mtu_bytes;
        out.congestion_window_segments = info.congestion_window_segments;
    }

    fn close(mut self: Box<Self>) -> Result<LaneStats, TransportError> {
        self.drain();
        Ok(self.leave())
    }

    fn abandon(mut self: Box<Self>) -> Result<LaneStats, TransportError> {
        // Otherwise the kernel would go on sending for as long as it takes. A refusal leaves just that.
        let _ = SockRef::from(&self.link.stream).set_linger(Some(Duration::ZERO));
        Ok(self.leave())
    }
}

impl TcpLane {
    /// What the lane knows about itself in the end.
    fn leave(&mut self) -> LaneStats {
        let mut stats = std::mem::take(&mut self.stats);
        let mut last = LaneSample::default();
        self.sample(&mut last);
        stats.last = last;
        stats.connection = tcp_info::tcp_connection(self.link.fd()).ok();
        let highest = self.receiver.wake().highest_bytes;
        if highest > 1 {
            let why =
                format!("up to {highest} bytes: nothing here waits for fewer, and they come within 0.2 ms");
            stats.chosen.insert("receive_wake_threshold".into(), why);
        }
        stats.counters.insert("sends_unsent".into(), self.sender.unsent() as u64);
        stats.counters.insert("receives_unfilled".into(), self.receiver.posted() as u64);
        if let Some(copied) = self.sender.copied_after_all() {
            stats.counters.insert("zero_copy_notifications_copied".into(), copied);
        }
        stats
    }
}
