//! Where strangers come from, in the units in which they are counted.

use std::net::{IpAddr, SocketAddr};

/// An address, or the part of one that its owner cannot change at will: whoever has one IPv6 address usually has
/// all of its /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// One address.
    Address(IpAddr),
    /// An IPv6 /64.
    Network([u8; 8]),
}

impl Origin {
    /// What shares the places at the door with this address: an IPv4 address its own, an IPv6 address its /64.
    pub fn of(address: IpAddr) -> Origin {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Origin::Network([a, b, c, d, e, f, g, h])
            }
            v4 => Origin::Address(v4),
        }
    }
}

/// An IPv4 address that came through an IPv6 socket, as the IPv4 address it is. Others keep their scope.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_64_is_one_origin_and_a_mapped_address_is_the_ipv4_one() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("fd00:1::1"), of("fd00:1::ffff:2"));
        assert_ne!(of("fd00:1::1"), of("fd00:1:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(canonical("[::ffff:10.0.0.1]:7".parse().unwrap()).to_string(), "10.0.0.1:7");
        assert_eq!(canonical("[fe80::1%3]:7".parse().unwrap()).to_string(), "[fe80::1%3]:7");
    }
}
