//! The input of a prediction: NICs as SMB looks at them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pathproof_model::Nic;

/// A subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// Any address in it.
    pub address: IpAddr,
    /// Bits that count.
    pub len: u8,
}

impl Prefix {
    /// Whether `address` lies inside. Addresses of the other family never do.
    pub fn contains(&self, address: IpAddr) -> bool {
        common_bits(self.address, address).is_some_and(|bits| bits >= u32::from(self.len))
    }
}

/// Leading bits that two addresses of one family share.
pub fn common_bits(a: IpAddr, b: IpAddr) -> Option<u32> {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Some((u32::from(a) ^ u32::from(b)).leading_zeros()),
        (IpAddr::V6(a), IpAddr::V6(b)) => Some((u128::from(a) ^ u128::from(b)).leading_zeros()),
        _ => None,
    }
}

/// One address of a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of its subnet's prefix; `None` where only the address is known, as in an SMB server's list.
    pub prefix_len: Option<u8>,
}

/// One NIC. The order of fields is the order in which lists are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelNic {
    /// Interface number; 0 is what Windows servers give to interfaces that are not to be used.
    pub index: u32,
    /// Name, or whatever identifies it to a reader.
    pub name: String,
    /// Link speed; `None` when unknown.
    pub speed_bits_per_s: Option<u64>,
    /// Receive work is spread over several queues. RSS with one queue counts as none.
    pub rss: bool,
    /// SMB Direct.
    pub rdma: bool,
    /// Why it cannot carry anything now (`it is down`), or `None`.
    pub unusable: Option<String>,
    /// Its addresses.
    pub addresses: Vec<ChannelAddress>,
    /// Subnets beyond its own that the system sends out through it (a default route is a prefix of length 0).
    pub routes: Vec<Prefix>,
}

impl ChannelNic {
    /// A NIC of a pathproof host. Routes are not part of that and stay empty.
    pub fn from_observed(nic: &Nic) -> ChannelNic {
        let unusable = match (nic.up, nic.carrier, &nic.master) {
            (Some(false), _, _) => Some("it is down".to_owned()),
            (_, Some(false), _) => Some("it has no carrier".to_owned()),
            (_, _, Some(master)) if nic.addresses.is_empty() => Some(format!("it belongs to {master}")),
            _ => None,
        };
        let address = |a: &pathproof_model::NicAddress| ChannelAddress {
            address: a.address,
            prefix_len: Some(a.prefix_len),
        };
        ChannelNic {
            index: nic.index,
            name: nic.name.clone(),
            speed_bits_per_s: nic.speed_bits_per_s.filter(|speed| *speed > 0),
            rss: nic.receive_queues.is_some_and(|queues| queues > 1),
            rdma: nic.rdma_device.is_some(),
            unusable,
            addresses: nic.addresses.iter().map(address).collect(),
            routes: Vec::new(),
        }
    }

    /// The NICs of an SMB server's list: entries that share an index are one NIC.
    pub fn from_smb(list: &[pathproof_model::SmbInterface]) -> Vec<ChannelNic> {
        let mut nics: Vec<ChannelNic> = Vec::new();
        for entry in list {
            let address = ChannelAddress { address: entry.address, prefix_len: None };
            // Samba writes 0xFFFFFFFF when it does not know: such entries are NICs of their own.
            let known = entry.index != u32::MAX;
            let same = nics.iter_mut().find(|nic| {
                known
                    && nic.index == entry.index
                    && (nic.speed_bits_per_s, nic.rss, nic.rdma)
                        == (entry.speed_bits_per_s, entry.rss, entry.rdma)
            });
            match same {
                Some(nic) => nic.addresses.push(address),
                None => nics.push(ChannelNic {
                    index: entry.index,
                    name: if known { format!("if{}", entry.index) } else { entry.address.to_string() },
                    speed_bits_per_s: entry.speed_bits_per_s,
                    rss: entry.rss,
                    rdma: entry.rdma,
                    addresses: vec![address],
                    ..ChannelNic::default()
                }),
            }
        }
        nics
    }

    /// Every address is a loopback address.
    pub fn is_loopback(&self) -> bool {
        !self.addresses.is_empty() && self.addresses.iter().all(|a| a.address.is_loopback())
    }

    /// It has an address that is valid beyond the link.
    pub(super) fn has_routable(&self) -> bool {
        self.addresses.iter().any(|a| !is_link_local(a.address))
    }
}

/// Valid on its link only (169.254/16, fe80::/10).
pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// RFC 6724 §2.1: the default policy table's precedence, higher is better.
pub(super) fn precedence(address: IpAddr) -> u8 {
    match address {
        IpAddr::V6(address) if address == Ipv6Addr::LOCALHOST => 50,
        IpAddr::V6(address) if address.is_unique_local() => 3,
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => 35,
        IpAddr::V6(_) => 40,
        IpAddr::V4(address) if address == Ipv4Addr::UNSPECIFIED => 0,
        IpAddr::V4(_) => 35,
    }
}
