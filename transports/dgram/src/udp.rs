//! The sending end of a UDP probe: DF set, the kernel's path-MTU cache ignored, every kind of answer told apart.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use pathproof_sys::errqueue::{self, Family, Origin, QueuedError, is_about_earlier};
use pathproof_sys::socket;
use socket2::{Domain, Protocol, Socket, Type};

use crate::wire::{self, Datagram, Nonce, ProbeKey};
use crate::{DgramError, headers_bytes};

/// What the local system said to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is on its way.
    Sent,
    /// The interface does not take packets of this size; it names its MTU where it can.
    TooBig {
        /// MTU of the interface.
        ip_mtu_bytes: Option<u32>,
    },
    /// The device dropped it without saying why (`ENOBUFS`): its queue is full, or its other end is smaller.
    Dropped,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer received probe `seq`.
    Arrived {
        /// The probe.
        seq: u32,
        /// Largest fragment, if it came in fragments.
        largest_fragment_bytes: Option<u32>,
        /// Other probes that arrived whole.
        recent: Vec<u32>,
    },
    /// A router refused a probe as too big.
    TooBig {
        /// The probe, if the message quotes enough of it.
        seq: Option<u32>,
        /// The MTU it names.
        ip_mtu_bytes: Option<u32>,
        /// Who says so.
        from: IpAddr,
    },
    /// Somebody says that the destination cannot be reached.
    Unreachable {
        /// The probe, if the message quotes enough of it.
        seq: Option<u32>,
        /// Who says so.
        from: IpAddr,
    },
}

/// What a datagram travels with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Its traffic class.
    pub class: u8,
    /// The priority of the socket, which a VLAN device puts into the tag of the frame; `None` leaves it to the system.
    pub priority: Option<u8>,
}

/// A socket towards an address that somebody else named. All that it can send is a challenge, as small as any packet:
/// only who receives that there, and has the key of the session, can make a [`ProbeSocket`] of it.
#[derive(Debug)]
pub struct UnprovenSocket {
    inner: Inner,
    nonce: Nonce,
    consented: bool,
}

/// What an [`UnprovenSocket`] heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The other end consents to be probed.
    Consent,
    /// Somebody says that the destination cannot be reached.
    Unreachable {
        /// Who says so.
        from: IpAddr,
    },
}

impl UnprovenSocket {
    /// Binds to `local`, and to `nic` if named, so that the packets leave there whatever the routes say. They go to
    /// `to` and nowhere else.
    pub fn bind(
        local: IpAddr,
        nic: Option<&str>,
        to: SocketAddr,
        key: ProbeKey,
    ) -> Result<UnprovenSocket, DgramError> {
        let socket = bound(local, nic)?;
        let family = Family::of(local);
        let fail = |operation| socket_error(local, nic, operation);
        errqueue::probe_path_mtu(socket.as_fd(), family).map_err(fail("set DF"))?;
        errqueue::queue_errors(socket.as_fd(), family).map_err(fail("ask for ICMP errors"))?;
        // A whole round of the largest probes may wait for the wire; without room the device queue is blamed.
        let _ = socket.set_send_buffer_size(4 << 20);
        // Not from the session: the other end knows everything of that, and must not answer for a third.
        let mut nonce = Nonce::default();
        getrandom::fill(&mut nonce).map_err(|error| fail("get random numbers")(error.into()))?;
        let inner = Inner {
            socket,
            family,
            to,
            key,
            mark: Mark::default(),
            buffer: vec![0; 65_536],
            events: VecDeque::new(),
        };
        Ok(UnprovenSocket { inner, nonce, consented: false })
    }

    /// The port that it sends from; 0 where the system does not say.
    pub fn port(&self) -> u16 {
        let local = self.inner.socket.local_addr().ok().and_then(|address| address.as_socket());
        local.map_or(0, |address| address.port())
    }

    /// Sends one challenge.
    pub fn challenge(&mut self) -> Result<Outcome, DgramError> {
        let challenge = wire::challenge(&self.inner.key, self.nonce);
        self.inner.send(&challenge)
    }

    /// The next thing that came back, without waiting.
    pub fn next_event(&mut self) -> Result<Option<Heard>, DgramError> {
        while let Some(came) = self.inner.next()? {
            match came {
                Came::Datagram(Datagram::Consent(nonce)) if nonce == self.nonce => {
                    self.consented = true;
                    return Ok(Some(Heard::Consent));
                }
                Came::Event(Event::Unreachable { from, .. }) => {
                    return Ok(Some(Heard::Unreachable { from }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// A socket that may probe, if the other end has consented.
    pub fn proven(self) -> Option<ProbeSocket> {
        self.consented.then_some(ProbeSocket(self.inner))
    }
}

impl AsFd for UnprovenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.socket.as_fd()
    }
}

/// A socket that sends probes from one address, out of one NIC, to an address that has consented.
#[derive(Debug)]
pub struct ProbeSocket(Inner);

impl ProbeSocket {
    /// Sends one probe: an IP packet of exactly `ip_bytes` bytes.
    pub fn send(&mut self, seq: u32, ip_bytes: u32) -> Result<Outcome, DgramError> {
        // What no IP packet can be is refused here; the loopback interface would take it and lose it.
        let Ok(length) = u16::try_from(ip_bytes) else { return Ok(Outcome::TooBig { ip_mtu_bytes: None }) };
        let payload = (ip_bytes as usize).saturating_sub(headers_bytes(self.0.family));
        let mut datagram = vec![0; payload.max(wire::HEADER_BYTES)];
        wire::write_probe(&mut datagram, &self.0.key, seq, length);
        self.0.send(&datagram)
    }

    /// Sends one probe without DF: an IP packet of `ip_bytes` bytes that leaves in fragments where the interface takes none so long. The
    /// next one by [`send`](ProbeSocket::send) has DF again.
    pub fn send_without_df(&mut self, seq: u32, ip_bytes: u32) -> Result<Outcome, DgramError> {
        let to = self.0.to.ip();
        let fail = |source| DgramError::Send { to, source };
        let family = self.0.family;
        errqueue::allow_fragments(self.0.socket.as_fd(), family).map_err(fail)?;
        let sent = self.send(seq, ip_bytes);
        errqueue::probe_path_mtu(self.0.socket.as_fd(), family).map_err(fail)?;
        sent
    }

    pub(crate) fn family(&self) -> Family {
        self.0.family
    }

    pub(crate) fn key(&self) -> &ProbeKey {
        &self.0.key
    }

    pub(crate) fn send_marked(&mut self, datagram: &[u8], mark: Mark) -> Result<Outcome, DgramError> {
        if self.0.mark != mark {
            self.0.set_mark(mark).map_err(|source| DgramError::Send { to: self.0.to.ip(), source })?;
        }
        self.0.send(datagram)
    }

    /// The next thing that came back, without waiting.
    pub fn next_event(&mut self) -> Result<Option<Event>, DgramError> {
        while let Some(came) = self.0.next()? {
            match came {
                Came::Datagram(Datagram::Answer { seq, largest_fragment_bytes, recent }) => {
                    return Ok(Some(Event::Arrived { seq, largest_fragment_bytes, recent }));
                }
                Came::Event(event) => return Ok(Some(event)),
                // A second consent, or a challenge that somebody sent back.
                Came::Datagram(_) => {}
            }
        }
        Ok(None)
    }
}

impl AsFd for ProbeSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}

/// What both kinds of socket are made of.
#[derive(Debug)]
struct Inner {
    socket: Socket,
    family: Family,
    to: SocketAddr,
    key: ProbeKey,
    /// What it sends with.
    mark: Mark,
    buffer: Vec<u8>,
    events: VecDeque<Event>,
}

enum Came {
    /// From the other end, under the key of the session.
    Datagram(Datagram),
    /// From the network.
    Event(Event),
}

impl Inner {
    /// Over IPv4 a traffic class that changes brings a priority of its own with it.
    fn set_mark(&mut self, mark: Mark) -> io::Result<()> {
        if self.mark.priority.is_some() && mark.priority.is_none() {
            self.socket.set_priority(0)?;
        }
        if self.mark.class != mark.class {
            errqueue::set_traffic_class(self.socket.as_fd(), self.family, mark.class)?;
        }
        if let Some(priority) = mark.priority {
            self.socket.set_priority(priority.into())?;
        }
        self.mark = mark;
        Ok(())
    }

    fn send(&mut self, datagram: &[u8]) -> Result<Outcome, DgramError> {
        let key = &self.key;
        send_one(&self.socket, datagram, self.to, &mut self.buffer, &mut self.events, |quoted| {
            wire::read_quoted(quoted, key)
        })
    }

    fn next(&mut self) -> Result<Option<Came>, DgramError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(Came::Event(event)));
            }
            let key = &self.key;
            drain_errors(&self.socket, &mut self.buffer, &mut self.events, |quoted| {
                wire::read_quoted(quoted, key)
            })?;
            if !self.events.is_empty() {
                continue;
            }
            match errqueue::receive(self.socket.as_fd(), &mut self.buffer) {
                Ok(None) => return Ok(None),
                // Only the address that was asked can answer.
                Ok(Some(received)) if received.from != Some(self.to) => {}
                Ok(Some(received)) => {
                    if let Some(datagram) = wire::read(&self.buffer[..received.bytes], &self.key) {
                        return Ok(Some(Came::Datagram(datagram)));
                    }
                }
                // The error of an ICMP message that arrived meanwhile; its entry is in the queue.
                Err(error) if is_about_earlier(&error) => {}
                Err(error) => return Err(DgramError::Receive(error)),
            }
        }
    }
}

/// A UDP socket on `local`, any port, tied to `nic` if named.
pub(crate) fn bound(local: IpAddr, nic: Option<&str>) -> Result<Socket, DgramError> {
    let fail = |operation| socket_error(local, nic, operation);
    let domain = if local.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(fail("open a UDP socket"))?;
    bind_to(&socket, local, nic)?;
    Ok(socket)
}

pub(crate) fn bind_to(socket: &Socket, local: IpAddr, nic: Option<&str>) -> Result<(), DgramError> {
    let fail = |operation| socket_error(local, nic, operation);
    socket.set_nonblocking(true).map_err(fail("make the socket non-blocking"))?;
    if local.is_ipv6() {
        socket.set_only_v6(true).map_err(fail("restrict the socket to IPv6"))?;
    }
    if let Some(nic) = nic {
        // Refused to ordinary users by kernels before 5.7; the address alone then decides, as it mostly does.
        match socket.bind_device(Some(nic.as_bytes())) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(fail("bind to the NIC")(error));
            }
            _ => {}
        }
    }
    socket.bind(&SocketAddr::new(local, 0).into()).map_err(fail("bind to the address"))
}

pub(crate) fn socket_error(
    local: IpAddr,
    nic: Option<&str>,
    operation: &'static str,
) -> impl FnOnce(io::Error) -> DgramError {
    let nic = nic.map(str::to_string);
    move |source| DgramError::Socket { local, nic, operation, source }
}

/// Sends, and sorts out whose fault a failure is.
///
/// An ICMP error about an *earlier* datagram is also reported by the next send, which then sends nothing: such
/// a send is repeated. Only an entry of local origin in the error queue is about this one.
pub(crate) fn send_one(
    socket: &Socket,
    datagram: &[u8],
    to: SocketAddr,
    buffer: &mut [u8],
    events: &mut VecDeque<Event>,
    sequence: impl Fn(&[u8]) -> Option<u32>,
) -> Result<Outcome, DgramError> {
    for _ in 0..16 {
        let Err(error) = socket.send_to(datagram, &to.into()) else { return Ok(Outcome::Sent) };
        let before = events.len();
        let local = drain_errors(socket, buffer, events, &sequence)?;
        if local.is_some() {
            return Ok(Outcome::TooBig { ip_mtu_bytes: local });
        }
        if events.len() > before {
            continue;
        }
        // Too long for any IP packet: the kernel does not even ask the interface.
        if errqueue::is_too_long(&error) {
            return Ok(Outcome::TooBig { ip_mtu_bytes: None });
        }
        if socket::lacks_room(&error) || error.kind() == io::ErrorKind::WouldBlock {
            return Ok(Outcome::Dropped);
        }
        return Err(DgramError::Send { to: to.ip(), source: error });
    }
    Ok(Outcome::Dropped)
}

/// Empties the error queue into `events`; returns the MTU of a local refusal, if there was one.
pub(crate) fn drain_errors(
    socket: &Socket,
    buffer: &mut [u8],
    events: &mut VecDeque<Event>,
    sequence: impl Fn(&[u8]) -> Option<u32>,
) -> Result<Option<u32>, DgramError> {
    let mut local = None;
    // Bounded, so that a flood of ICMP messages cannot hold the search.
    for _ in 0..256 {
        let entry = match errqueue::next_error(socket.as_fd(), buffer) {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(error) if is_about_earlier(&error) => continue,
            Err(error) => return Err(DgramError::Receive(error)),
        };
        if entry.origin == Origin::Local {
            if entry.is_too_long() {
                local = Some(entry.info);
            }
            continue;
        }
        events.extend(event_of(entry, sequence(&buffer[..entry.bytes])));
    }
    Ok(local)
}

fn event_of(entry: QueuedError, seq: Option<u32>) -> Option<Event> {
    let from = entry.offender?;
    match (entry.origin, entry.icmp_type, entry.icmp_code) {
        // RFC 1191: destination unreachable, fragmentation needed. RFC 4443: packet too big.
        (Origin::Icmp, 3, 4) | (Origin::Icmp6, 2, _) => {
            Some(Event::TooBig { seq, ip_mtu_bytes: Some(entry.info).filter(|mtu| *mtu > 0), from })
        }
        (Origin::Icmp, 3, _) | (Origin::Icmp6, 1, _) => Some(Event::Unreachable { seq, from }),
        _ => None,
    }
}

/// Waits until one of `sockets` has something to read or an error queued, at most for `patience`.
pub fn wait_readable(sockets: &[BorrowedFd<'_>], patience: Duration) -> io::Result<()> {
    socket::wait_readable(sockets, Some(patience)).map(drop)
}
