//! Paced datagrams: one way, in numbered strands, so that the receiving end can tell what became of each. The sending
//! socket is a [`ProbeSocket`], so nothing goes to an address that has not consented.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use pathproof_sys::errqueue::{self, Family};
use pathproof_sys::recorded_route;
use socket2::Socket;

use crate::udp::{Mark, Outcome, ProbeSocket, bound, socket_error};
use crate::wire::{self, Datagram, Paced, ProbeKey};
use crate::{DgramError, headers_bytes};

/// At most so many addresses are remembered, with their routers and how often they asked.
const ADDRESSES_MAX: usize = 64;

impl ProbeSocket {
    /// Sends one paced datagram, marked so: an IP packet of exactly `paced.ip_bytes` bytes, made in `buffer`.
    pub fn send_paced(
        &mut self,
        paced: Paced,
        mark: Mark,
        buffer: &mut Vec<u8>,
    ) -> Result<Outcome, DgramError> {
        let payload = usize::from(paced.ip_bytes).saturating_sub(headers_bytes(self.family()));
        buffer.resize(payload.max(wire::HEADER_BYTES), 0);
        wire::write_paced(buffer, self.key(), paced);
        self.send_marked(buffer, mark)
    }
}

/// A paced datagram as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Where it came from.
    pub from: SocketAddr,
    /// What it says of itself.
    pub paced: Paced,
    /// The traffic class that it arrived with, where the kernel tells.
    pub class: Option<u8>,
    /// How long it lay here until it was read: a reader that waits for a processor is no slow path.
    pub lay: Duration,
    /// Its padding is not the one that it was sent with, although its checksum fits.
    pub changed: bool,
}

/// The receiving end for one address: hands out what arrives under the key of the other end's datagrams, and consents to
/// its challenges.
#[derive(Debug)]
pub struct PacedListener {
    socket: Socket,
    family: Family,
    key: ProbeKey,
    port: u16,
    overflowed: u32,
    /// Who handed over what came from whom, as the other end's challenges recorded it.
    last_routers: Vec<(IpAddr, IpAddr)>,
    /// How many challenges came from whom.
    challenges: Vec<(IpAddr, u64)>,
    buffer: Vec<u8>,
}

impl PacedListener {
    /// Opens a socket on `local` (and `nic`). `key` is that of the other end.
    pub fn open(local: IpAddr, nic: Option<&str>, key: ProbeKey) -> Result<PacedListener, DgramError> {
        let socket = bound(local, nic)?;
        let family = Family::of(local);
        let fail = |operation| socket_error(local, nic, operation);
        errqueue::report_traffic_class(socket.as_fd(), family).map_err(fail("ask for traffic classes"))?;
        errqueue::report_overflow(socket.as_fd()).map_err(fail("ask for overflows"))?;
        errqueue::report_arrival(socket.as_fd()).map_err(fail("ask for arrival times"))?;
        if family == Family::V4 {
            // Where it is refused nothing is told.
            let _ = recorded_route::report_route(socket.as_fd());
        }
        // What waits here for a processor must not be taken for lost on the way.
        let _ = socket.set_recv_buffer_size(8 << 20);
        let address = socket.local_addr().map_err(fail("read the port"))?;
        let port = address.as_socket().map_or(0, |address| address.port());
        Ok(PacedListener {
            socket,
            family,
            key,
            port,
            overflowed: 0,
            last_routers: vec![],
            challenges: vec![],
            buffer: vec![0; 65_536],
        })
    }

    /// Asks the kernel for a buffer of so many bytes in the place of the large one. What it gave, by its own count: twice what it allows, its
    /// share of each packet included; `None` where it does not tell.
    pub fn ask_for_buffer(&self, bytes: u32) -> Option<u64> {
        let _ = self.socket.set_recv_buffer_size(bytes as usize);
        self.socket.recv_buffer_size().ok().map(|given| given as u64)
    }

    /// The port that datagrams are to be sent to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Datagrams that this end had no room for.
    pub fn overflowed(&self) -> u32 {
        self.overflowed
    }

    /// The last router on the way from `from`, where a challenge of that address recorded one.
    pub fn last_router(&self, from: IpAddr) -> Option<IpAddr> {
        self.last_routers.iter().find(|(known, _)| *known == from).map(|(_, router)| *router)
    }

    /// Challenges that came from `from`: its questions arrive here, whatever becomes of the answers.
    pub fn challenges(&self, from: IpAddr) -> u64 {
        self.challenges.iter().find(|(known, _)| *known == from).map_or(0, |(_, count)| *count)
    }

    fn count_challenge(&mut self, from: IpAddr) {
        if let Some((_, count)) = self.challenges.iter_mut().find(|(known, _)| *known == from) {
            *count += 1;
        } else if self.challenges.len() < ADDRESSES_MAX {
            self.challenges.push((from, 1));
        }
    }

    /// The next arrival, without waiting. Challenges are answered on the way.
    pub fn next_arrival(&mut self) -> Option<Arrival> {
        // Bounded, so that a flood of something else cannot hold the caller.
        for _ in 0..1024 {
            // Errors here are about consents that could not be delivered, which the other end asks for again.
            let received = errqueue::receive(self.socket.as_fd(), &mut self.buffer).ok().flatten()?;
            self.overflowed = received.overflowed.unwrap_or(self.overflowed);
            let data = &self.buffer[..received.bytes];
            match (wire::read(data, &self.key), received.from) {
                (Some(Datagram::Challenge(nonce)), Some(from)) => {
                    let router = received.last_sender.map(IpAddr::V4).filter(|sender| *sender != from.ip());
                    if let Some(router) = router
                        && self.last_router(from.ip()).is_none()
                        && self.last_routers.len() < ADDRESSES_MAX
                    {
                        self.last_routers.push((from.ip(), router));
                    }
                    self.count_challenge(from.ip().to_canonical());
                    let _ = self.socket.send_to(&wire::consent(&self.key, nonce), &from.into());
                }
                // Something on the way that changes the length must not pass for an arrival.
                (Some(Datagram::Paced(paced)), Some(from))
                    if data.len() + headers_bytes(self.family) == usize::from(paced.ip_bytes) =>
                {
                    let lay = received.lay.unwrap_or_default();
                    let changed = !wire::is_padded_as_sent(data, paced.seq);
                    return Some(Arrival { from, paced, class: received.traffic_class, lay, changed });
                }
                _ => {}
            }
        }
        None
    }
}

impl AsFd for PacedListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Heard, UnprovenSocket, wait_readable};

    fn key() -> ProbeKey {
        ProbeKey::new(*b"0123456789abcdef0123456789abcdef")
    }

    #[test]
    fn what_is_sent_after_consent_arrives_with_its_size_and_class_and_strangers_do_not() {
        for local in ["127.0.0.1", "::1"] {
            let local: IpAddr = local.parse().unwrap();
            let mut listener = PacedListener::open(local, None, key()).unwrap();
            let to = (local, listener.port()).into();
            let mut asking = UnprovenSocket::bind(local, None, to, key()).unwrap();
            asking.challenge().unwrap();
            assert_eq!(listener.next_arrival(), None, "a challenge is no arrival");
            assert_eq!((listener.challenges(local), listener.challenges([10, 0, 0, 9].into())), (1, 0));
            wait_readable(&[asking.as_fd()], Duration::from_secs(5)).unwrap();
            assert_eq!(asking.next_event().unwrap(), Some(Heard::Consent));
            let mut sender = asking.proven().expect("it consented");
            let mut buffer = Vec::new();
            for (seq, ip_bytes, class) in [(0, 88, 0u8), (1, 1500, 0x68 | 2), (2, 9000, 0xc0)] {
                let paced = Paced { strand: 7, seq, ip_bytes, sent_ns: 5 };
                let mark = Mark { class, priority: (seq == 1).then_some(3) };
                assert_eq!(sender.send_paced(paced, mark, &mut buffer).unwrap(), Outcome::Sent);
                let arrival =
                    listener.next_arrival().unwrap_or_else(|| panic!("{local}: {seq} did not arrive"));
                assert_eq!((arrival.from.ip(), arrival.paced, arrival.class), (local, paced, Some(class)));
                assert!(!arrival.changed, "{local}: {seq}");
            }
            // As if somebody had turned a bit on the way, and made the checksum fit.
            let (paced, mut turned) = (Paced { strand: 7, seq: 9, ip_bytes: 128, sent_ns: 5 }, vec![0; 128]);
            turned.truncate(128 - headers_bytes(Family::of(local)));
            wire::write_paced(&mut turned, &key(), paced);
            turned[60] ^= 1;
            std::net::UdpSocket::bind((local, 0)).unwrap().send_to(&turned, to).unwrap();
            let arrival = listener.next_arrival().expect("its seal fits");
            assert!(arrival.paced == paced && arrival.changed);
            let mut stranger = vec![0; 100];
            let other = ProbeKey::new([9; 32]);
            wire::write_paced(&mut stranger, &other, Paced { strand: 7, seq: 3, ip_bytes: 128, sent_ns: 5 });
            std::net::UdpSocket::bind((local, 0)).unwrap().send_to(&stranger, to).unwrap();
            assert_eq!(listener.next_arrival(), None);
            assert_eq!(listener.overflowed(), 0);
            let given = listener.ask_for_buffer(16 << 10).expect("the kernel tells");
            assert_eq!(given, 32 << 10, "what every kernel allows, and its own share");
        }
    }
}
