//! The sizes that networks are built with, and the overheads that eat into them.
//!
//! Tried first by the search, so that an edge at a common value is found in two rounds, and compared with the
//! edge afterwards, so that "8996" can be read as "9000 minus a VLAN tag".

/// IP MTU values worth a probe of their own, each tested together with its successor. Ascending.
///
/// 576 RFC 791 · 1280 RFC 8200 · 1420 WireGuard · 1450 VXLAN · 1462 GRETAP · 1476 GRE · 1480 IPIP ·
/// 1492 PPPoE or QinQ · 1496 VLAN · 1500 Ethernet · 1504 one tag of slack · 2044 and 4092 IPoIB datagram ·
/// 8950, 8992, 8996 VXLAN, QinQ, VLAN inside 9000 · 9000 · 9198, 9212, 9216 common switch maxima ·
/// 9600 and 9614 server NIC maxima · 16384 · 65520 IPoIB connected.
pub const COMMON_IP_MTU_BYTES: &[u32] = &[
    576, 1280, 1420, 1450, 1462, 1476, 1480, 1492, 1496, 1500, 1504, 2044, 4092, 8950, 8992, 8996, 9000,
    9198, 9212, 9216, 9600, 9614, 16384, 65520,
];

/// Values somebody configures on purpose; an edge slightly below one of them smells of encapsulation.
const CONFIGURED_IP_MTU_BYTES: &[u32] = &[1500, 4200, 9000, 9100, 9198, 9216, 9600, 9614];

/// An encapsulation and the bytes it takes from every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overhead {
    /// How many bytes.
    pub bytes: u32,
    /// What usually costs that much.
    pub name: &'static str,
}

/// Overheads in the order in which they are tried. Only tags (4, 8) are looked for below every configured
/// value; tunnels only below 1500 and 9000, because 9216 − 50 is nobody's setting.
const OVERHEADS: &[Overhead] = &[
    Overhead { bytes: 4, name: "one VLAN tag (IEEE 802.1Q)" },
    Overhead { bytes: 8, name: "two VLAN tags (QinQ, IEEE 802.1ad) or PPPoE" },
    Overhead { bytes: 20, name: "an IP-in-IP tunnel" },
    Overhead { bytes: 24, name: "a GRE tunnel over IPv4" },
    Overhead { bytes: 28, name: "a GRE tunnel with key over IPv4" },
    Overhead { bytes: 38, name: "an Ethernet-over-GRE tunnel over IPv4" },
    Overhead { bytes: 44, name: "a GRE tunnel over IPv6" },
    Overhead { bytes: 50, name: "VXLAN over IPv4 (RFC 7348)" },
    Overhead { bytes: 54, name: "VXLAN over IPv4 with a VLAN tag" },
    Overhead { bytes: 58, name: "Geneve over IPv4 with options, or Ethernet-over-GRE over IPv6" },
    Overhead { bytes: 70, name: "VXLAN over IPv6" },
    Overhead { bytes: 80, name: "WireGuard" },
];

/// If `ip_mtu_bytes` lies a well-known overhead below a value that somebody configures (or below one of
/// `configured`, the values seen on this path's own interfaces), returns that value and the overhead.
///
/// An edge that *is* a configured value is never called an overhead: 9198 is not "9206 minus two tags".
pub fn suspected_overhead(ip_mtu_bytes: u32, configured: &[u32]) -> Option<(u32, Overhead)> {
    if CONFIGURED_IP_MTU_BYTES.contains(&ip_mtu_bytes) || configured.contains(&ip_mtu_bytes) {
        return None;
    }
    let below = |base: u32| base.checked_sub(ip_mtu_bytes);
    // The interfaces of this very path are the best witnesses, so they are asked first.
    for base in configured {
        if let Some(overhead) = below(*base).and_then(|missing| OVERHEADS.iter().find(|o| o.bytes == missing))
        {
            return Some((*base, *overhead));
        }
    }
    for base in CONFIGURED_IP_MTU_BYTES {
        let only_tags = !matches!(base, 1500 | 9000);
        if let Some(overhead) = below(*base)
            .and_then(|missing| OVERHEADS.iter().find(|o| o.bytes == missing && (!only_tags || o.bytes <= 8)))
        {
            return Some((*base, *overhead));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_just_below_configured_values_are_read_as_overhead() {
        assert_eq!(suspected_overhead(8996, &[9000]).map(|(b, o)| (b, o.bytes)), Some((9000, 4)));
        assert_eq!(suspected_overhead(8992, &[]).map(|(b, o)| (b, o.bytes)), Some((9000, 8)));
        assert_eq!(suspected_overhead(1450, &[1500]).map(|(b, o)| (b, o.bytes)), Some((1500, 50)));
        assert_eq!(suspected_overhead(1476, &[1500]).map(|(b, o)| (b, o.bytes)), Some((1500, 24)));
        assert_eq!(suspected_overhead(9212, &[9614]).map(|(b, o)| (b, o.bytes)), Some((9216, 4)));
    }

    #[test]
    fn configured_values_are_not_overhead() {
        for plain in [1500, 9000, 9198, 9216, 9600, 9614, 1280, 8000] {
            assert_eq!(suspected_overhead(plain, &[9614]), None, "{plain}");
        }
    }

    #[test]
    fn the_common_values_ascend() {
        assert!(COMMON_IP_MTU_BYTES.is_sorted());
    }
}
