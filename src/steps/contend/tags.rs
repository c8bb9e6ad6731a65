//! Where the tags of frames (802.1Q) are still on, for whoever wants to know with which priority something arrives.

use std::net::IpAddr;

use pathproof_dgram::TagListener;
use pathproof_dgram::wire::ProbeKey;
use pathproof_sys::interfaces::{self, Interface};

/// Listens to what arrives for an address and a port; or says why the tags are not seen there.
pub fn listen(local: IpAddr, port: u16, key: ProbeKey) -> Result<TagListener, String> {
    let nics = interfaces::list().map_err(|error| format!("the interfaces cannot be listed: {error}"))?;
    let nic = where_tags_are(&nics, local)?;
    TagListener::open(nic, local, port, key).map_err(|error| error.to_string())
}

/// The number of the interface at which frames for an address have the tags that they had on the wire.
fn where_tags_are(nics: &[Interface], local: IpAddr) -> Result<u32, String> {
    let has = |nic: &&Interface| nic.addresses.iter().any(|(address, _)| *address == local);
    let nic =
        nics.iter().find(has).ok_or_else(|| format!("no interface of this host has the address {local}"))?;
    let name = &nic.name;
    match nic.kind.as_deref() {
        Some("vlan") => {
            let below = nic.lower.filter(|index| nics.iter().any(|other| other.index == *index));
            below.ok_or_else(|| format!("the NIC below {name} is in another network namespace"))
        }
        Some("ethernet" | "veth" | "bond" | "team") => Ok(nic.index),
        // What lies below it has taken them off.
        Some(kind) => Err(format!(
            "{name} is of the kind {kind}, which frames reach without the tags that they had on the wire"
        )),
        None => Err(format!("nobody says of which kind {name} is")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_a_vlan_is_looked_for_below_it_and_nowhere_else_is_it_made_up() {
        let nic = |index, name: &str, kind: &str, lower, address: &str| Interface {
            index,
            name: name.into(),
            kind: Some(kind.into()),
            lower,
            addresses: vec![(address.parse().unwrap(), 24)],
            ..Interface::default()
        };
        let nics = [
            nic(1, "lo", "loopback", None, "127.0.0.1"),
            nic(2, "eth0", "ethernet", None, "10.0.0.1"),
            nic(3, "eth0.5", "vlan", Some(2), "10.0.5.1"),
            nic(4, "veth0", "veth", Some(2), "fd00::1"),
            nic(5, "br0", "bridge", None, "10.0.6.1"),
            nic(6, "away.5", "vlan", Some(77), "10.0.7.1"),
            nic(7, "far.5", "vlan", None, "10.0.8.1"),
        ];
        let at = |address: &str| where_tags_are(&nics, address.parse().unwrap());
        assert_eq!((at("10.0.0.1"), at("10.0.5.1"), at("fd00::1")), (Ok(2), Ok(2), Ok(4)));
        for (address, says) in [
            ("127.0.0.1", "lo is of the kind loopback"),
            ("10.0.6.1", "br0 is of the kind bridge"),
            ("10.0.7.1", "another network namespace"),
            ("10.0.8.1", "another network namespace"),
            ("10.0.9.1", "no interface of this host has"),
        ] {
            let why = at(address).unwrap_err();
            assert!(why.contains(says), "{address}: {why}");
        }
    }
}
