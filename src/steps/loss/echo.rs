//! Where no datagram is answered: ICMP echoes at a slow pace, to the one address that is known to be the peer's.
//!
//! Hosts and firewalls limit echoes, so they come far more slowly than datagrams; those that come back clear both directions, and
//! those that do not prove nothing.

use std::net::IpAddr;

use pathproof_dgram::wire::ProbeKey;
use pathproof_dgram::{EchoSocket, Event, Outcome};
use pathproof_engine::loss::Packet;
use pathproof_model::{LossCounts, LossFlow};

use super::{Path, SMALL_IP_BYTES};
use crate::steps::mtu::device;

/// Echoes per second; limits of hosts and firewalls begin well above.
const PACE_MAX: u64 = 100;

/// The echoes of one path.
pub struct Echoes {
    socket: EchoSocket,
    to: IpAddr,
    full_ip_bytes: u32,
    /// One for so many datagrams of the schedule.
    every: u64,
    /// Whether each was of full size, and whether it came back.
    sent: Vec<(bool, bool)>,
    refused: u64,
}

impl Echoes {
    /// For a path whose other end is `known` to be the peer, where this process may send echoes.
    pub fn open(
        path: &Path<'_>,
        key: &ProbeKey,
        known: IpAddr,
        full_ip_bytes: u32,
        packets_per_s: u32,
    ) -> Option<Echoes> {
        let (here, to) = (path.here, path.there.address);
        if to != known {
            return None;
        }
        let socket = EchoSocket::open(here.address, device(here), key.clone()).ok()?;
        let every = u64::from(packets_per_s).div_ceil(PACE_MAX).max(1);
        Some(Echoes { socket, to, full_ip_bytes, every, sent: Vec::new(), refused: 0 })
    }

    /// Sends what takes the place of a datagram, if it is an echo's turn, and takes in what came back.
    pub fn turn(&mut self, number: u64, packet: Packet) {
        self.take();
        if !number.is_multiple_of(self.every) {
            return;
        }
        let ip_bytes = if packet.full { self.full_ip_bytes } else { SMALL_IP_BYTES };
        // A socket that fails sends nothing, and nothing is claimed of what was not sent.
        match self.socket.send(self.to, self.sent.len() as u32, ip_bytes) {
            Ok(Outcome::Sent) => self.sent.push((packet.full, false)),
            Ok(Outcome::TooBig { .. }) => self.refused += 1,
            Ok(Outcome::Dropped) | Err(_) => {}
        }
    }

    fn take(&mut self) {
        while let Ok(Some(event)) = self.socket.next_event() {
            if let Event::Arrived { seq, .. } = event
                && let Some((_, came_back)) = self.sent.get_mut(seq as usize)
            {
                *came_back = true;
            }
        }
    }

    /// What became of them.
    pub fn ended(mut self) -> LossFlow {
        self.take();
        let mut flow = LossFlow {
            full: LossCounts { refused: self.refused, ..LossCounts::default() },
            ..LossFlow::default()
        };
        for (full, came_back) in self.sent {
            let counts = if full { &mut flow.full } else { &mut flow.small };
            counts.sent += 1;
            counts.received += u64::from(came_back);
            flow.answered |= came_back;
        }
        flow
    }
}
