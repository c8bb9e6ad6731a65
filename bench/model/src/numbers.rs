//! The numbers people type: one IP MTU in the units of every tool that asks for it.
//!
//! Refuses to round: a value that a tool cannot express is `None`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// IPv4 header without options (RFC 791).
const IPV4_HEADER_BYTES: u32 = 20;
/// IPv6 header (RFC 8200).
const IPV6_HEADER_BYTES: u32 = 40;
/// ICMP or ICMPv6 echo header; UDP has the same length.
const ECHO_HEADER_BYTES: u32 = 8;
/// TCP header without options (RFC 9293).
const TCP_HEADER_BYTES: u32 = 20;
/// The TCP timestamps option with its padding (RFC 7323), which Linux and Windows Server use by default.
const TCP_TIMESTAMPS_BYTES: u32 = 12;
/// Ethernet header: two addresses and the type.
const ETHERNET_HEADER_BYTES: u32 = 14;
/// Ethernet frame check sequence.
const ETHERNET_FCS_BYTES: u32 = 4;
/// One IEEE 802.1Q tag.
pub const VLAN_TAG_BYTES: u32 = 4;
/// What Linux verbs subtract from the IP MTU before choosing a RoCE path MTU (`rdma_core`'s
/// `iboe_get_mtu`: IB headers of a RoCEv2 packet, rounded up).
const ROCE_OVERHEAD_BYTES: u32 = 96;

/// The largest RoCE path MTU that Linux gives a port of this IP MTU.
pub fn largest_rdma_mtu(ip_mtu_bytes: u32) -> Option<u32> {
    [4096, 2048, 1024, 512, 256].into_iter().find(|mtu| ip_mtu_for_rdma(*mtu) <= ip_mtu_bytes)
}

/// The IP MTU that a RoCE path MTU needs on every hop.
pub fn ip_mtu_for_rdma(rdma_path_mtu_bytes: u32) -> u32 {
    rdma_path_mtu_bytes.saturating_add(ROCE_OVERHEAD_BYTES)
}

/// One IP MTU in everybody's units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Numbers {
    /// Largest IP packet.
    pub ip_mtu_bytes: u32,
    /// What the Windows NIC property "Jumbo Packet" (`*JumboPacket`) must read: header included, FCS not.
    pub windows_jumbo_packet_bytes: u32,
    /// `ping -f -l N` (Windows) and `ping -M do -s N` (Linux) over IPv4.
    pub ping_payload_v4_bytes: Option<u32>,
    /// The same over IPv6.
    pub ping_payload_v6_bytes: Option<u32>,
    /// TCP segment size over IPv4 without options.
    pub tcp_mss_v4_bytes: Option<u32>,
    /// TCP segment size over IPv6 without options.
    pub tcp_mss_v6_bytes: Option<u32>,
    /// TCP payload per segment over IPv4 with timestamps, which is what a bulk transfer really carries.
    pub tcp_payload_timestamps_v4_bytes: Option<u32>,
    /// Switch port setting needed when the switch counts IP bytes only (most L3 "ip mtu" settings).
    pub switch_l3_bytes: u32,
    /// ... when it counts the Ethernet header but neither tag nor FCS.
    pub switch_l2_bytes: u32,
    /// ... when it counts header and FCS.
    pub switch_l2_fcs_bytes: u32,
    /// ... when it counts header, FCS and one VLAN tag. A setting at or above this carries the packet under
    /// every reading.
    pub switch_l2_fcs_tag_bytes: u32,
    /// The largest RoCE path MTU that fits (Linux verbs: 1024, 2048, 4096 need 1120, 2144, 4192).
    pub rdma_path_mtu_bytes: Option<u32>,
}

impl Numbers {
    /// Converts one IP MTU.
    pub fn from_ip_mtu(ip_mtu_bytes: u32) -> Numbers {
        let less = |headers: u32| ip_mtu_bytes.checked_sub(headers).filter(|rest| *rest > 0);
        Numbers {
            ip_mtu_bytes,
            windows_jumbo_packet_bytes: ip_mtu_bytes + ETHERNET_HEADER_BYTES,
            ping_payload_v4_bytes: less(IPV4_HEADER_BYTES + ECHO_HEADER_BYTES),
            ping_payload_v6_bytes: less(IPV6_HEADER_BYTES + ECHO_HEADER_BYTES),
            tcp_mss_v4_bytes: less(IPV4_HEADER_BYTES + TCP_HEADER_BYTES),
            tcp_mss_v6_bytes: less(IPV6_HEADER_BYTES + TCP_HEADER_BYTES),
            tcp_payload_timestamps_v4_bytes: less(
                IPV4_HEADER_BYTES + TCP_HEADER_BYTES + TCP_TIMESTAMPS_BYTES,
            ),
            switch_l3_bytes: ip_mtu_bytes,
            switch_l2_bytes: ip_mtu_bytes + ETHERNET_HEADER_BYTES,
            switch_l2_fcs_bytes: ip_mtu_bytes + ETHERNET_HEADER_BYTES + ETHERNET_FCS_BYTES,
            switch_l2_fcs_tag_bytes: ip_mtu_bytes
                + ETHERNET_HEADER_BYTES
                + ETHERNET_FCS_BYTES
                + VLAN_TAG_BYTES,
            rdma_path_mtu_bytes: largest_rdma_mtu(ip_mtu_bytes),
        }
    }

    /// Whether a switch port set to `setting_bytes` carries this IP MTU under each of the four readings that
    /// vendors use: IP only, with Ethernet header, with header and FCS, with header, FCS and one tag.
    pub fn carried_by_switch(&self, setting_bytes: u32) -> [(&'static str, bool); 4] {
        [
            ("IP bytes", setting_bytes >= self.switch_l3_bytes),
            ("with Ethernet header", setting_bytes >= self.switch_l2_bytes),
            ("with header and FCS", setting_bytes >= self.switch_l2_fcs_bytes),
            ("with header, FCS and one VLAN tag", setting_bytes >= self.switch_l2_fcs_tag_bytes),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published table: IP MTU, Jumbo Packet, L2 with FCS, with tag, ping v4, ping v6, MSS, MSS with
    /// timestamps.
    #[test]
    fn the_frame_size_table() {
        for row in [
            [1500, 1514, 1518, 1522, 1472, 1452, 1460, 1448],
            [4200, 4214, 4218, 4222, 4172, 4152, 4160, 4148],
            [9000, 9014, 9018, 9022, 8972, 8952, 8960, 8948],
            [9600, 9614, 9618, 9622, 9572, 9552, 9560, 9548],
        ] {
            let n = Numbers::from_ip_mtu(row[0]);
            assert_eq!(n.windows_jumbo_packet_bytes, row[1]);
            assert_eq!(n.switch_l2_fcs_bytes, row[2]);
            assert_eq!(n.switch_l2_fcs_tag_bytes, row[3]);
            assert_eq!(n.ping_payload_v4_bytes, Some(row[4]));
            assert_eq!(n.ping_payload_v6_bytes, Some(row[5]));
            assert_eq!(n.tcp_mss_v4_bytes, Some(row[6]));
            assert_eq!(n.tcp_payload_timestamps_v4_bytes, Some(row[7]));
        }
    }

    #[test]
    fn roce_path_mtu_needs_96_bytes_of_headers() {
        let fits = |ip_mtu| Numbers::from_ip_mtu(ip_mtu).rdma_path_mtu_bytes;
        assert_eq!(fits(1119), Some(512));
        assert_eq!(fits(1120), Some(1024));
        assert_eq!(fits(2143), Some(1024));
        assert_eq!(fits(2144), Some(2048));
        assert_eq!(fits(4191), Some(2048));
        assert_eq!(fits(4192), Some(4096));
        assert_eq!(fits(351), None);
    }

    #[test]
    fn a_switch_at_9216_carries_9000_under_every_reading_and_9600_under_none() {
        assert!(Numbers::from_ip_mtu(9000).carried_by_switch(9216).iter().all(|(_, fits)| *fits));
        assert!(Numbers::from_ip_mtu(9600).carried_by_switch(9216).iter().all(|(_, fits)| !*fits));
        assert!(Numbers::from_ip_mtu(9600).carried_by_switch(12000).iter().all(|(_, fits)| *fits));
    }

    #[test]
    fn tiny_values_have_no_payload() {
        assert_eq!(Numbers::from_ip_mtu(40).tcp_mss_v4_bytes, None);
        assert_eq!(Numbers::from_ip_mtu(0).ping_payload_v4_bytes, None);
    }
}
