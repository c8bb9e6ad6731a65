//! The addresses that an SMB server lists, dialled from the NIC that a client would open a channel from: one that is listed and takes
//! no connection looks like a second channel and is none.
//!
//! Refuses to dial anything but the server's own port, at addresses that lie in a network of this host's.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pathproof_engine::channels::common_bits;
use pathproof_model::told;
use pathproof_model::{Environment, Finding, SmbInterface};

use crate::dial;
use pathproof_engine::channels::hosts::{Way, nics};

/// The kernel asks three times within it.
const WAIT: Duration = Duration::from_millis(3200);
/// Most addresses that are dialled; the server says how many there are.
const WAYS_MAX: usize = 16;

/// From which NIC each listed address would be dialled, and at what port; the one that answered already is left out.
pub(super) fn ways(here: &Environment, listed: &[SmbInterface], answered: SocketAddr) -> Vec<(Way, u16)> {
    let ours = nics(here);
    let own = |address: IpAddr| ours.iter().flat_map(|nic| &nic.addresses).any(|one| one.address == address);
    // Index 0 is what clients skip.
    let listed = listed.iter().filter(|nic| nic.index != 0).map(|nic| nic.address.to_canonical());
    let mut ways: Vec<(Way, u16)> = vec![];
    for remote in listed.filter(|address| *address != answered.ip().to_canonical() && !own(*address)) {
        let link_local = matches!(remote, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let near = ours.iter().filter(|nic| nic.unusable.is_none()).find_map(|nic| {
            let mut addresses = nic.addresses.iter();
            let local = addresses.find(|one| {
                let shared = common_bits(one.address, remote);
                one.prefix_len.is_some_and(|len| len > 0 && shared >= Some(u32::from(len)))
            })?;
            Some(Way { local: local.address, nic: nic.name.clone(), remote })
        });
        let known = ways.iter().any(|(way, _)| way.remote == remote);
        if let Some(way) = near.filter(|_| !link_local && !known && ways.len() < WAYS_MAX) {
            ways.push((way, answered.port()));
        }
    }
    ways
}

/// Connects to all of them at once, and says of those that took no connection how.
pub(super) fn dial(ways: Vec<(Way, u16)>, patience: Duration) -> Vec<Finding> {
    let wait = WAIT.min(patience / 2);
    let threads: Vec<_> = ways
        .into_iter()
        .map(|(way, port)| {
            std::thread::spawn(move || {
                let to = SocketAddr::new(way.remote, port);
                dial::once(to, wait, Some(&way)).err().and_then(|why| dead(&way, port, &why))
            })
        })
        .collect();
    threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
}

fn dead(way: &Way, port: u16, why: &io::Error) -> Option<Finding> {
    use io::ErrorKind as Io;
    let how = match why.kind() {
        Io::TimedOut | Io::WouldBlock => "does not answer",
        Io::ConnectionRefused => "refuses connections",
        Io::HostUnreachable => {
            "cannot be reached: nobody has that address on its network, or something prohibits it"
        }
        // What this host could not do says nothing about the server.
        _ => return None,
    };
    let said = format!(
        "{}, port {port}, {how}, dialled from {} ({}); the server lists it",
        way.remote, way.nic, way.local
    );
    Some(
        Finding::new("SMB-ADDRESS-DEAD", said)
            .tell(told::ADDRESS, way.remote)
            .tell(told::NIC, way.nic.clone()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Nic, NicAddress};

    fn host(address: &str) -> Environment {
        let address = NicAddress { address: address.parse().unwrap(), prefix_len: 24 };
        let nic =
            Nic { name: "e1".into(), index: 3, up: Some(true), addresses: vec![address], ..Nic::default() };
        Environment { nics: vec![nic], ..Environment::default() }
    }

    fn listed(addresses: &[(u32, &str)]) -> Vec<SmbInterface> {
        let interface = |(index, address): &(u32, &str)| SmbInterface {
            index: *index,
            address: address.parse().unwrap(),
            speed_bits_per_s: None,
            rss: true,
            rdma: false,
        };
        addresses.iter().map(interface).collect()
    }

    #[test]
    fn only_what_a_channel_would_use_is_dialled() {
        let answered: SocketAddr = "10.9.0.2:445".parse().unwrap();
        let remotes = |addresses: &[(u32, &str)]| -> Vec<String> {
            let all = ways(&host("10.9.1.1"), &listed(addresses), answered);
            all.into_iter().map(|(way, _)| way.remote.to_string()).collect()
        };
        assert_eq!(remotes(&[(2, "10.9.0.2"), (3, "10.9.1.2"), (3, "10.9.1.2")]), ["10.9.1.2"]);
        // Another network, an index that clients skip, this host itself.
        assert_eq!(remotes(&[(4, "192.168.7.2"), (0, "10.9.1.3"), (5, "10.9.1.1"), (6, "fe80::1")]), [""; 0]);
    }

    #[test]
    fn silence_and_refusals_are_told_and_what_this_host_cannot_do_is_not() {
        let way = Way { local: [10, 9, 1, 1].into(), nic: "e1".into(), remote: [10, 9, 1, 2].into() };
        let told = |kind: io::ErrorKind| dead(&way, 445, &kind.into()).map(|finding| finding.evidence);
        assert!(told(io::ErrorKind::TimedOut).unwrap().contains("10.9.1.2, port 445, does not answer"));
        assert!(told(io::ErrorKind::ConnectionRefused).unwrap().contains("refuses"));
        assert_eq!(told(io::ErrorKind::PermissionDenied), None);
        assert_eq!(told(io::ErrorKind::AddrNotAvailable), None);
    }
}
