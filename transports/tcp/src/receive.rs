//! The receiving direction of a lane: bytes go from the socket straight to their place in a region.
//!
//! Two forms. *Raw*: a message is as long as the receive that takes it. *Framed*: a header says what follows;
//! writes are placed without a receive, within the region that was opened for them and nowhere else.

use std::collections::VecDeque;

use pathproof_api::{
    Completion, CompletionStatus, Framing, Gone, LaneSpec, Op, ReceiveMode, RegionId, TransportError, Verb,
};
use pathproof_sys::clock::RealClock;
use pathproof_sys::socket;
use pathproof_sys::transfer::TransferFlags;

use crate::frame::{Frame, FrameKind, HEADER_BYTES};
use crate::link::{Link, OneTry, is_retry};
use crate::wake::Wake;

pub(crate) struct Receiver {
    queue: VecDeque<Op>,
    depth: usize,
    form: Form,
    wake: Wake,
}

enum Form {
    /// Bytes of the first receive that are there, and the flags that place or discard them.
    Raw { done: u32, flags: TransferFlags },
    Framed {
        header: [u8; HEADER_BYTES],
        state: State,
        /// Whether the peer may write without a receive being posted.
        open: bool,
    },
}

enum State {
    /// So many bytes of the next header are there.
    Head(usize),
    /// This frame needs a receive, and none was posted yet.
    Held(Frame),
    /// The payload of this frame goes to `offset` of `region`; `done` bytes of it are there.
    Body { frame: Frame, region: RegionId, offset: u64, done: u32 },
}

impl Receiver {
    /// `open`: a region of ours is open for the peer's writes.
    pub(crate) fn new(spec: &LaneSpec, adaptive_wake: bool, open: bool, clock: &RealClock) -> Receiver {
        let depth = spec.depth as usize;
        let form = match spec.framing {
            Framing::Raw => {
                let discard = spec.receive_mode == ReceiveMode::Discard;
                let flags = if discard { TransferFlags::DISCARD } else { TransferFlags::USUAL };
                Form::Raw { done: 0, flags }
            }
            Framing::Framed => Form::Framed { header: [0; HEADER_BYTES], state: State::Head(0), open },
        };
        let wake = Wake::new(adaptive_wake, spec.framing, clock);
        Receiver { queue: VecDeque::with_capacity(depth), depth, form, wake }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < self.depth
    }

    pub(crate) fn push(&mut self, op: Op) {
        self.queue.push_back(op);
    }

    /// Receives posted and not completed.
    pub(crate) fn posted(&self) -> usize {
        self.queue.len()
    }

    /// Whether bytes that arrive now have a place to go.
    pub(crate) fn wants(&self) -> bool {
        match &self.form {
            Form::Raw { .. } => !self.queue.is_empty(),
            Form::Framed { state: State::Held(_), .. } => !self.queue.is_empty(),
            Form::Framed { .. } => true,
        }
    }

    /// Whether something may come that is worth waking up for while there is something to send: without a receive
    /// and without a region for writes, only a fault of the peer could.
    pub(crate) fn awaits(&self) -> bool {
        match &self.form {
            Form::Framed { state: State::Head(0), open: false, .. } => !self.queue.is_empty(),
            _ => self.wants(),
        }
    }

    /// The wake-up threshold, for the lane to steer.
    pub(crate) fn wake(&mut self) -> &mut Wake {
        &mut self.wake
    }

    /// One `recv` call. `flags`: wait as the socket's timeout says, or not at all.
    pub(crate) fn step(&mut self, link: &mut Link, flags: TransferFlags) -> Result<OneTry, TransportError> {
        match &mut self.form {
            Form::Raw { done, flags: mode } => {
                let Some(op) = self.queue.front().copied() else { return Ok(OneTry::Blocked) };
                let left = op.len - *done;
                // One call per message: a waiting receive returns when the message is whole or time is up.
                let whole = if flags.waits() { TransferFlags::WHOLE } else { TransferFlags::USUAL };
                let at = op.offset + u64::from(*done);
                let result =
                    link.region(op.region)?.recv(link.fd(), at, u64::from(left), flags | whole | *mode);
                let Some(n) = link.received(result)? else {
                    if flags.waits() {
                        self.wake.waited_in_vain(link.fd());
                    }
                    return Ok(OneTry::Blocked);
                };
                link.bytes_received += n as u64;
                let queue = &self.queue;
                self.wake.received(link.fd(), n, || queue.iter().map(|op| u64::from(op.len)).sum());
                if (n as u32) < left {
                    *done += n as u32;
                    return Ok(OneTry::Moved(n));
                }
                *done = 0;
                self.queue.pop_front();
                Ok(OneTry::Completed(completion(&op, op.len, None)))
            }
            Form::Framed { header, state, .. } => {
                framed(&mut self.queue, header, state, &mut self.wake, link, flags)
            }
        }
    }
}

fn framed(
    queue: &mut VecDeque<Op>,
    header: &mut [u8; HEADER_BYTES],
    state: &mut State,
    wake: &mut Wake,
    link: &mut Link,
    flags: TransferFlags,
) -> Result<OneTry, TransportError> {
    loop {
        // Nobody waits for half a body, so its receiver may be woken late; anything else is awaited at once.
        wake.until(
            link.fd(),
            match state {
                State::Body { frame, done, .. } => u64::from(frame.len - *done),
                _ => 1,
            },
        );
        match state {
            State::Head(have) if *have < HEADER_BYTES => {
                let rest = &mut header[*have..];
                let Some(n) = link.received(socket::receive(link.fd(), rest, flags))? else {
                    return Ok(OneTry::Blocked);
                };
                *have += n;
                if *have < HEADER_BYTES {
                    return Ok(OneTry::Moved(n));
                }
            }
            State::Head(_) => {
                let frame = Frame::decode(header).ok_or_else(|| {
                    protocol(format!("{:02x?} where a message header belongs", &header[..4]))
                })?;
                *state = start(frame, queue, link)?;
            }
            State::Held(frame) => {
                if queue.is_empty() {
                    return Ok(OneTry::Blocked);
                }
                *state = start(*frame, queue, link)?;
            }
            State::Body { frame, region, offset, done } => {
                let left = frame.len - *done;
                if left > 0 {
                    // What follows the payload is the next header: one call for both.
                    let at = *offset + u64::from(*done);
                    let memory = link.region(*region)?;
                    let got = memory.recv_with_tail(link.fd(), at, u64::from(left), header, flags);
                    let Some(n) = link.received(got)? else {
                        if flags.waits() {
                            wake.waited_in_vain(link.fd());
                        }
                        return Ok(OneTry::Blocked);
                    };
                    let payload = n.min(left as usize);
                    wake.received(link.fd(), n, || u64::MAX);
                    link.bytes_received += payload as u64;
                    *done += payload as u32;
                    if *done < frame.len {
                        return Ok(OneTry::Moved(n));
                    }
                    let frame = *frame;
                    *state = State::Head(n - payload);
                    return Ok(finish(frame, queue));
                }
                let frame = *frame;
                *state = State::Head(0);
                return Ok(finish(frame, queue));
            }
        }
    }
}

/// Finds the place for a frame's payload, after checking that it may go there.
fn start(frame: Frame, queue: &VecDeque<Op>, link: &Link) -> Result<State, TransportError> {
    if frame.len > link.message_bytes_max {
        return Err(protocol(format!(
            "a message of {} bytes on a lane whose largest is {}",
            frame.len, link.message_bytes_max
        )));
    }
    if frame.kind != FrameKind::Write && queue.is_empty() {
        return Ok(State::Held(frame));
    }
    let (region, offset) = match (frame.kind, queue.front(), link.target) {
        (FrameKind::Send, Some(op), _) if op.len >= frame.len => (op.region, op.offset),
        (FrameKind::Send, Some(op), _) => {
            return Err(protocol(format!(
                "a message of {} bytes for a receive of {} bytes",
                frame.len, op.len
            )));
        }
        (_, _, Some(target)) => (target, frame.remote_offset),
        (_, _, None) => return Err(protocol("a write, though no region is open for writes".into())),
    };
    link.region(region)?
        .check(offset, u64::from(frame.len))
        .map_err(|e| protocol(format!("a write outside the region that is open for writes: {e}")))?;
    Ok(State::Body { frame, region, offset, done: 0 })
}

/// A frame's payload is in its place. A frame that needs a receive was not started without one.
fn finish(frame: Frame, queue: &mut VecDeque<Op>) -> OneTry {
    let immediate = (frame.kind == FrameKind::WriteImmediate).then_some(frame.immediate);
    match frame.kind {
        FrameKind::Write => OneTry::Moved(frame.len as usize),
        FrameKind::Send | FrameKind::WriteImmediate => match queue.pop_front() {
            Some(op) => OneTry::Completed(completion(&op, frame.len, immediate)),
            None => OneTry::Moved(frame.len as usize),
        },
    }
}

fn completion(op: &Op, len: u32, immediate: Option<u32>) -> Completion {
    Completion { tag: op.tag, verb: Verb::Recv, len, immediate, status: CompletionStatus::Ok }
}

fn protocol(detail: String) -> TransportError {
    TransportError::Protocol { operation: "receiving on a tcp lane".into(), detail }
}

impl Link {
    /// Sorts the outcomes of a receive call: bytes, nothing yet (`None`), end of stream or failure (error).
    fn received(&self, result: std::io::Result<usize>) -> Result<Option<usize>, TransportError> {
        match result {
            Ok(0) => Err(TransportError::PeerGone {
                operation: format!("receiving from {}", self.peer_text()),
                how: Some(Gone::Closed),
                detail: "it closed the connection".into(),
            }),
            Ok(n) => Ok(Some(n)),
            Err(e) if is_retry(&e) => Ok(None),
            Err(e) => Err(self.error("receiving", e)),
        }
    }
}
