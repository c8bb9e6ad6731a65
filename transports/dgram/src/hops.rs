//! Through which routers a path leads at its two ends, as they tell it themselves: a datagram that may cross nobody is refused by the first
//! one, and one that records its route names the last one to the host that it reaches ([`PacedListener`](crate::PacedListener)).
//!
//! Routes do not say it: a gateway's address may belong to several routers, and who sends back what comes in only that one's routes say.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use pathproof_sys::errqueue::{self, Family, Origin};
use pathproof_sys::recorded_route;
use socket2::Socket;

use crate::DgramError;
use crate::udp::{bound, socket_error};
use crate::wire::{self, Nonce, ProbeKey};

/// ICMP: time exceeded in transit (RFC 792).
const TIME_EXCEEDED: (u8, u8) = (11, 0);
/// Of each kind so many are sent, for one may be lost.
const TRIES: usize = 2;

/// Asks for the routers of one path over IPv4, once. What it sends are challenges, which the other end answers and nobody listens to.
#[derive(Debug)]
pub struct HopProbe {
    /// Of datagrams that end at the first router.
    near: Socket,
    /// Kept so that answers find a port.
    _far: Socket,
}

impl HopProbe {
    /// Sends all that is sent: from `local` (and out of `nic`), to the listener at `to`, which has consented.
    pub fn send(
        local: IpAddr,
        nic: Option<&str>,
        to: SocketAddr,
        key: &ProbeKey,
    ) -> Result<HopProbe, DgramError> {
        let fail = |operation| socket_error(local, nic, operation);
        let (near, far) = (bound(local, nic)?, bound(local, nic)?);
        errqueue::queue_errors(near.as_fd(), Family::V4).map_err(fail("ask for ICMP errors"))?;
        near.set_ttl_v4(1).map_err(fail("set the time to live"))?;
        recorded_route::record_route(far.as_fd()).map_err(fail("record the route"))?;
        let challenge = wire::challenge(key, Nonce::default());
        for socket in [&near, &far].repeat(TRIES) {
            // A refusal is the answer to one before, or this host's own: nothing is known then.
            let _ = socket.send_to(&challenge, &to.into());
        }
        Ok(HopProbe { near, _far: far })
    }

    /// The first router, if it has said so by now.
    pub fn first_router(&self) -> Option<IpAddr> {
        let mut buffer = [0; 128];
        // Bounded, so that a flood of ICMP messages cannot hold the caller.
        for _ in 0..64 {
            let entry = errqueue::next_error(self.near.as_fd(), &mut buffer).ok().flatten()?;
            if entry.origin == Origin::Icmp && (entry.icmp_type, entry.icmp_code) == TIME_EXCEEDED {
                return entry.offender;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PacedListener;

    #[test]
    fn where_no_router_is_none_is_told() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let key = || ProbeKey::new([5; 32]);
        let mut listener = PacedListener::open(here, None, key()).unwrap();
        let probe = HopProbe::send(here, None, (here, listener.port()).into(), &key()).unwrap();
        assert_eq!(listener.next_arrival(), None);
        assert_eq!((probe.first_router(), listener.last_router(here)), (None, None));
    }
}
