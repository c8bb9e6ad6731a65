//! How RDMA packets of the classes arrive at this end, where a NIC shows them. It refuses to guess: what no kernel sees is unknown, with the reason.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pathproof_dgram::RoceListener;
use pathproof_model::BeatsEnd;
use pathproof_sys::interfaces::{self, Interface};

/// Looks at once for so many: a flood must not keep the end of the step from being seen.
const LOOKS: usize = 1024;

/// What is listened to, or why it is not, and what came.
pub struct RdmaEar {
    listener: Result<RoceListener, String>,
    /// The NIC that has the address.
    nic: String,
    seen: BTreeMap<u8, u64>,
}

impl RdmaEar {
    /// For what arrives for an address.
    pub fn open(local: IpAddr) -> RdmaEar {
        let (listener, nic) = match nic_of(local) {
            Ok(nic) => (RoceListener::open(nic.index, local).map_err(|error| error.to_string()), nic.name),
            Err(why) => (Err(why), String::new()),
        };
        RdmaEar { listener, nic, seen: BTreeMap::new() }
    }

    /// Takes what has come from there.
    pub fn take(&mut self, from: IpAddr) {
        let Ok(listener) = &mut self.listener else { return };
        for _ in 0..LOOKS {
            let Some((sender, class)) = listener.next_arrival() else { return };
            if sender == from {
                *self.seen.entry(class).or_default() += 1;
            }
        }
    }

    /// Says what was seen, or why nothing was.
    pub fn tell(self, end: &mut BeatsEnd) {
        let nic = self.nic;
        end.rdma_reason = match self.listener {
            Err(why) => Some(why),
            Ok(_) if self.seen.is_empty() => Some(format!(
                "no packet of RoCE v2 was seen at {nic}: adapters take theirs off the wire before the kernel sees them, and iWARP has none; what a driver counts by priority stands in the evidence"
            )),
            Ok(_) => None,
        };
        end.rdma_received = self.seen.into_iter().collect();
    }
}

/// The interface that has an address.
fn nic_of(local: IpAddr) -> Result<Interface, String> {
    let nics = interfaces::list().map_err(|error| format!("the interfaces cannot be listed: {error}"))?;
    let has = |nic: &Interface| nic.addresses.iter().any(|(address, _)| *address == local);
    nics.into_iter().find(has).ok_or_else(|| format!("no interface of this host has the address {local}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_is_unknown_with_its_reason() {
        for (local, says) in [("127.0.0.1", "seen at lo"), ("203.0.113.9", "no interface of this host has")] {
            let mut ear = RdmaEar::open(local.parse().unwrap());
            ear.take([192, 0, 2, 77].into());
            let mut end = BeatsEnd::default();
            ear.tell(&mut end);
            let why = end.rdma_reason.unwrap();
            assert!(
                end.rdma_received.is_empty() && (why.contains(says) || why.contains("CAP_NET_RAW")),
                "{why}"
            );
        }
    }
}
