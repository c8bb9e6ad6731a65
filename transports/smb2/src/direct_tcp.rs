//! Direct TCP (MS-SMB2 2.1): whole messages over a TCP connection, each behind four bytes of length.
//!
//! All memory is taken when the connection is made. A message that the kernel does not take at once is waited for only as long as
//! the server says nothing; what is left of it then is kept here, so that two ends that write to each other never wait for ever.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::wire::Exposed;
use pathproof_api::{
    Access, Arrival, Clock, Gone, LaneStats, MessagePipe, PipeLimits, Queued, Region, RegionId, Tick,
    TransportError, Wait,
};
use pathproof_sys::clock::RealClock;
use pathproof_sys::{socket, tcp_info};

use crate::error::SmbError;
use crate::wire::frame_length;

/// Small answers come several at a time; of a large one so much is copied once more.
const STAGED_BYTES: usize = 16 << 10;
/// So much of a large message is waited for at once, which spares a wake-up for every segment.
const AWAITED_BYTES_MAX: usize = 256 << 10;
/// Most parts of a message.
const PARTS_MAX: usize = 4;

/// One TCP connection to a server, or from a client.
pub struct DirectTcp {
    stream: TcpStream,
    /// This end serves.
    serves: bool,
    clock: RealClock,
    limits: PipeLimits,
    /// How long the TCP handshake took.
    pub connect_time: Duration,
    staged: Box<[u8]>,
    staged_from: usize,
    staged_to: usize,
    /// The message that is coming in: its length is known when it has begun.
    incoming: Vec<u8>,
    filled: usize,
    begun: Option<Tick>,
    /// Bytes that must be there before the kernel says that there are some (`SO_RCVLOWAT`).
    awaited: usize,
    /// What of a message the kernel has not taken yet.
    left: Vec<u8>,
    left_from: usize,
    /// A message was refused because of that.
    refused: bool,
}

impl DirectTcp {
    /// Connects. No message from the server may be longer than `receive_bytes_max`, and none to it
    /// longer than `send_bytes_max`.
    pub fn connect(
        address: SocketAddr,
        within: Duration,
        (send_bytes_max, receive_bytes_max): (usize, usize),
        clock: &RealClock,
    ) -> Result<Self, SmbError> {
        let start = clock.now();
        let failed = |source| SmbError::Connect { address, source };
        let stream = TcpStream::connect_timeout(&address, within).map_err(failed)?;
        let connect_time = clock.now().since(start);
        stream.set_nonblocking(true).map_err(failed)?;
        Ok(Self { connect_time, ..Self::over(stream, within, (send_bytes_max, receive_bytes_max), clock) })
    }

    /// Over a connection from a client, which does not block. A message must be whole, and taken, `within` that time.
    pub fn accepted(
        stream: TcpStream,
        within: Duration,
        bytes_max: (usize, usize),
        clock: &RealClock,
    ) -> Self {
        Self { serves: true, ..Self::over(stream, within, bytes_max, clock) }
    }

    fn over(
        stream: TcpStream,
        within: Duration,
        (send_bytes_max, receive_bytes_max): (usize, usize),
        clock: &RealClock,
    ) -> Self {
        // Nagle would only delay requests; a refusal costs nothing but time.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            serves: false,
            clock: clock.clone(),
            limits: PipeLimits {
                send_bytes_max: send_bytes_max as u64,
                receive_bytes_max: receive_bytes_max as u64,
                one_sided_bytes_max: None,
                whole_within: within,
            },
            connect_time: Duration::ZERO,
            staged: vec![0; STAGED_BYTES].into(),
            staged_from: 0,
            staged_to: 0,
            incoming: Vec::with_capacity(receive_bytes_max),
            filled: 0,
            begun: None,
            awaited: 1,
            left: Vec::with_capacity(4 + send_bytes_max),
            left_from: 0,
            refused: false,
        }
    }

    /// The connection below, to be waited for beside others.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// From now on messages may be so long, which must be whole, and taken, `within` that time.
    pub fn allow(&mut self, within: Duration, (send_bytes_max, receive_bytes_max): (usize, usize)) {
        self.limits.send_bytes_max = send_bytes_max as u64;
        self.limits.receive_bytes_max = receive_bytes_max as u64;
        self.limits.whole_within = within;
    }

    /// This end's address.
    pub fn local(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// Hands on what is left of a message; true when nothing is left.
    fn flush(&mut self) -> Result<bool, TransportError> {
        while self.left_from < self.left.len() {
            match self.stream.write(&self.left[self.left_from..]) {
                Ok(count) => self.left_from += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(TransportError::io("writing to the server", error)),
            }
        }
        self.left.clear();
        self.left_from = 0;
        Ok(true)
    }

    /// Waits until there is something to read, or room for what is to be written. True when there is something to read.
    fn ready(&self, writing: bool, within: Duration) -> Result<bool, TransportError> {
        let ready = socket::wait_ready(&self.stream, writing, within);
        ready.map_err(|error| TransportError::io("waiting for the server", error))
    }

    /// Asks to be woken for as much of a large message as is missing, and for any byte otherwise. To be done whenever this end stops looking:
    /// others may wait for the connection beside it.
    fn await_rest(&mut self) {
        let missing = if self.begun.is_some() { self.incoming.len() - self.filled } else { 1 };
        // Its end comes with what is staged behind it, small answers as they come.
        let awaited = if missing > STAGED_BYTES { missing.min(AWAITED_BYTES_MAX) } else { 1 };
        if awaited != self.awaited && socket::set_receive_low_water(&self.stream, awaited as u32).is_ok() {
            self.awaited = awaited;
        }
    }

    /// Waits until the client takes more.
    fn room_within(&self, patience: Duration) -> Result<(), TransportError> {
        let waiting = |error| TransportError::io("waiting for the client", error);
        if patience.is_zero() {
            let operation = "the client to take its answer".into();
            return Err(TransportError::Timeout { operation, after: self.limits.whole_within });
        }
        socket::wait_writable(&self.stream, patience).map(drop).map_err(waiting)
    }

    /// Reads what is there; zero when nothing is.
    fn fill(&mut self) -> Result<usize, TransportError> {
        debug_assert_eq!(self.staged_from, self.staged_to, "all that was staged is used first");
        let direct = self.begun.is_some() && self.incoming.len() - self.filled > STAGED_BYTES;
        let room = if direct { &mut self.incoming[self.filled..] } else { &mut self.staged[..] };
        let count = match self.stream.read(room) {
            Ok(0) => {
                let detail = "it closed the connection".into();
                let operation = "reading from the server".into();
                return Err(TransportError::PeerGone { operation, how: Some(Gone::Closed), detail });
            }
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Err(error) => return Err(TransportError::io("reading from the server", error)),
        };
        if direct {
            self.filled += count;
        } else {
            (self.staged_from, self.staged_to) = (0, count);
        }
        Ok(count)
    }

    /// Moves what was staged into the message that is coming in; true when it is whole.
    fn assemble(&mut self) -> Result<bool, TransportError> {
        if self.begun.is_none() {
            let staged = &self.staged[self.staged_from..self.staged_to];
            let Some(prefix) = staged.first_chunk::<4>() else { return Ok(false) };
            let length = frame_length(*prefix, self.limits.receive_bytes_max as usize).map_err(|source| {
                let source = io::Error::new(io::ErrorKind::InvalidData, source);
                TransportError::Io { operation: "reading from the server".into(), source }
            })?;
            self.staged_from += 4;
            self.incoming.resize(length, 0);
            self.filled = 0;
            self.begun = Some(self.clock.now());
        }
        let staged = &self.staged[self.staged_from..self.staged_to];
        let count = staged.len().min(self.incoming.len() - self.filled);
        self.incoming[self.filled..self.filled + count].copy_from_slice(&staged[..count]);
        self.filled += count;
        self.staged_from += count;
        Ok(self.filled == self.incoming.len())
    }

    /// Moves a part of a length to the front, where one is staged, so that the rest can follow it.
    fn compact(&mut self) -> Result<usize, TransportError> {
        let (from, to) = (self.staged_from, self.staged_to);
        if from == to {
            return self.fill();
        }
        self.staged.copy_within(from..to, 0);
        let kept = to - from;
        (self.staged_from, self.staged_to) = (0, kept);
        match self.stream.read(&mut self.staged[kept..]) {
            Ok(0) => {
                let detail = "it closed the connection".into();
                let operation = "reading from the server".into();
                Err(TransportError::PeerGone { operation, how: Some(Gone::Closed), detail })
            }
            Ok(count) => {
                self.staged_to += count;
                Ok(count)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(0)
            }
            Err(error) => Err(TransportError::io("reading from the server", error)),
        }
    }
}

impl DirectTcp {
    /// What the kernel counts of it, while it stands.
    pub fn counted(&self) -> Option<tcp_info::TcpConnection> {
        tcp_info::tcp_connection(&self.stream).ok()
    }
}

impl MessagePipe for DirectTcp {
    fn limits(&self) -> &PipeLimits {
        &self.limits
    }

    fn send(&mut self, parts: &[&[u8]], _invalidate: Option<u32>) -> Result<Queued, TransportError> {
        if !self.flush()? {
            self.refused = true;
            return Ok(Queued::Full);
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length as u64 > self.limits.send_bytes_max || parts.len() > PARTS_MAX {
            return Err(TransportError::invalid(format!("a message of {length} bytes is too long to send")));
        }
        let prefix = (length as u32).to_be_bytes();
        let mut slices = [IoSlice::new(&[]); PARTS_MAX + 1];
        slices[0] = IoSlice::new(&prefix);
        for (slice, part) in slices[1..].iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        let mut rest = &mut slices[..=parts.len()];
        let start = self.clock.now();
        while !rest.is_empty() {
            match self.stream.write_vectored(rest) {
                Ok(count) => IoSlice::advance_slices(&mut rest, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let patience = self.limits.whole_within.saturating_sub(self.clock.now().since(start));
                    if self.serves {
                        // A client takes its answers beside asking, or is too slow for them.
                        self.room_within(patience)?;
                        continue;
                    }
                    // A server that speaks may be waiting until it is heard.
                    if patience.is_zero() || self.ready(true, patience)? {
                        rest.iter().for_each(|slice| self.left.extend_from_slice(slice));
                        return Ok(Queued::Yes);
                    }
                }
                Err(error) => return Err(TransportError::io("writing to the server", error)),
            }
        }
        Ok(Queued::Yes)
    }

    fn poll(&mut self, message: &mut Vec<u8>, wait: Wait) -> Result<Option<Arrival>, TransportError> {
        let until = match wait {
            Wait::No => None,
            Wait::AtMost(within) => Some(self.clock.now() + within),
        };
        loop {
            let flushed = self.flush()?;
            if self.assemble()? {
                self.begun = None;
                self.await_rest();
                std::mem::swap(message, &mut self.incoming);
                return Ok(Some(Arrival { fragments: 1, ..Arrival::default() }));
            }
            if self.compact()? > 0 {
                continue;
            }
            self.await_rest();
            if flushed && std::mem::take(&mut self.refused) {
                return Ok(None);
            }
            let now = self.clock.now();
            let late = self.begun.is_some_and(|begun| now.since(begun) > self.limits.whole_within);
            if late {
                let operation = "the rest of a message that the server had begun".into();
                return Err(TransportError::Timeout { operation, after: self.limits.whole_within });
            }
            let left = until.map_or(Duration::ZERO, |until| until.since(now));
            if left.is_zero() {
                return Ok(None);
            }
            self.ready(!flushed, left.min(self.limits.whole_within))?;
        }
    }

    fn expose(&mut self, _region: &Arc<Region>, _access: Access) -> Result<Exposed, TransportError> {
        Err(TransportError::Unsupported {
            what: "access to this end's memory".into(),
            why: "TCP moves messages and nothing else".into(),
            fix: "use SMB Direct".into(),
        })
    }

    fn withdraw(&mut self, _id: RegionId) -> Result<(), TransportError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> LaneStats {
        let address = |address: io::Result<SocketAddr>| address.ok().map(|address| address.to_string());
        let stats = LaneStats {
            local: address(self.stream.local_addr()),
            remote: address(self.stream.peer_addr()),
            connection: self.counted(),
            ..LaneStats::default()
        };
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        stats
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_found_no_room_is_woken_by_it_and_not_by_time() {
        static MESSAGE: [u8; 1 << 20] = [7; 1 << 20];
        let clock = RealClock::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut pipe = DirectTcp::connect(
            listener.local_addr().unwrap(),
            Duration::from_secs(3600),
            (MESSAGE.len(), 64),
            &clock,
        )
        .unwrap();
        let (mut server, _) = listener.accept().unwrap();
        // A server that speaks and takes nothing: what it does not take is kept here, and the next message refused.
        server.write_all(b"\0\0\0\x04word").unwrap();
        let mut handed = 0;
        while pipe.send(&[&MESSAGE], None).unwrap() == Queued::Yes {
            handed += 1;
            assert!(handed < 100, "the kernel takes it all");
        }
        let taking = std::thread::spawn(move || {
            let mut taken = vec![0; handed * (4 + MESSAGE.len())];
            std::thread::sleep(Duration::from_millis(50));
            server.read_exact(&mut taken).unwrap();
            server
        });
        let (mut message, wait) = (vec![], Wait::AtMost(Duration::from_secs(3600)));
        assert!(pipe.poll(&mut message, wait).unwrap().is_some(), "what was said comes first");
        assert!(pipe.poll(&mut message, wait).unwrap().is_none());
        assert_eq!(pipe.send(&[b"more"], None).unwrap(), Queued::Yes);
        let mut more = [0; 8];
        taking.join().unwrap().read_exact(&mut more).unwrap();
        assert_eq!(&more, b"\0\0\0\x04more");
    }
}
