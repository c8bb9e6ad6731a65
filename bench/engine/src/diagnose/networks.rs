//! Which network an address lies in.

use std::net::IpAddr;

use pathproof_model::Nic;

/// The addresses of a NIC that lie in a network with room for others.
pub(super) fn of_a_network(nic: &Nic) -> impl Iterator<Item = (IpAddr, u8)> + '_ {
    let usable = nic.up != Some(false) && !nic.is_loopback();
    nic.addresses.iter().filter(move |_| usable).map(|one| (one.address, one.prefix_len)).filter(
        |(ip, len)| match ip {
            IpAddr::V4(ip) => (8..=30).contains(len) && !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(ip) => (16..=120).contains(len) && !ip.is_loopback() && !ip.is_unicast_link_local(),
        },
    )
}

/// The network part of an address.
pub(super) fn network(ip: IpAddr, prefix_len: u8) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)).checked_shr(32 - u32::from(prefix_len)).unwrap_or(0),
        IpAddr::V6(ip) => u128::from(ip).checked_shr(128 - u32::from(prefix_len)).unwrap_or(0),
    }
}
