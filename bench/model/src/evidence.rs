//! What a host counted while a step ran: differences between before and after, from the kernel and its drivers. It shows
//! what measuring alone cannot: who lost the packets, and where.
//!
//! Every counter knows three things apart. **Absent**: it was looked at and did not move. **A number**: it moved by so much.
//! **Null**: it could not be read, and [`Evidence::unreadable`] says why. A whole part that is absent was not looked at, or
//! could not be read as a whole, which again has its reason in `unreadable`. The kernel counts for the whole host (its
//! network namespace), not for the run.

mod counters;
mod driver;
mod priority;

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use counters::{
    ConnectionColumns, ConnectionCounts, ConnectionFigureColumns, ConnectionFigures, ConntrackCounts,
    FragmentCounts, IcmpCounts, IpCounts, NicCounts, PriorityCounts, QueueCounts, SoftnetCounts, TcpCounts,
    TcpOptionCounts, UdpCounts,
};
pub(crate) use counters::{is_still, of_row, shortest, still};
pub use driver::{DriverActivity, DriverCounter, DriverMeaning};
pub use priority::{PriorityPackets, counts_packets};

use crate::{HostLoad, NodeId};

/// What one node counted during one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Evidence {
    /// The node: 0 ran the command, 1 is its peer.
    pub node: NodeId,
    /// The node on the same host whose entry says all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<NodeId>,
    /// How busy the host was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostLoad>,
    /// TCP, over IPv4 and IPv6 together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpCounts>,
    /// Cookies, and selective acknowledgements of no use, over IPv4 and IPv6 together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_options: Option<TcpOptionCounts>,
    /// UDP over IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<UdpCounts>,
    /// UDP over IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp6: Option<UdpCounts>,
    /// IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpCounts>,
    /// IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip6: Option<IpCounts>,
    /// Fragments over IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragments: Option<FragmentCounts>,
    /// Fragments over IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragments6: Option<FragmentCounts>,
    /// ICMP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpCounts>,
    /// ICMPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp6: Option<IcmpCounts>,
    /// What the kernel's receive path could not keep up with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softnet: Option<SoftnetCounts>,
    /// Interfaces that counted anything; those that are not listed did not move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nics: Option<Vec<NicActivity>>,
    /// How often the carrier of each of those came or went since the interface exists, at the end of the step: what lies between two steps
    /// shows in the difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carrier_changes_in_all: Option<BTreeMap<String, u64>>,
    /// What drivers count for themselves (`ethtool -S`): of each interface the counters that moved and whose meaning this build knows.
    /// Drivers name them as they like; one that is not listed did not move, or its name means nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drivers: Option<Vec<DriverActivity>>,
    /// What adapters count by priority, as far as their drivers tell it: every priority of every interface of which something is counted,
    /// whether it moved or not. One that is not listed is not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priorities: Option<Vec<PriorityActivity>>,
    /// Connection tracking, where the kernel tracks connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conntrack: Option<ConntrackCounts>,
    /// How full its table was at the end of the step; absent where nothing was in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conntrack_table: Option<ConntrackTable>,
    /// Queueing disciplines that dropped or held back anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<Vec<QueueActivity>>,
    /// The peer's addresses whose hardware address became known, changed or stopped answering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<Vec<NeighbourActivity>>,
    /// What switches said meanwhile of the ports that this host's NICs are connected to (LLDP); `null` where nothing was heard, which
    /// says little: they speak every half minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch_ports: Option<Vec<crate::SwitchPort>>,
    /// What could not be read, and why. What the first step with evidence of this host says holds for all later ones, which say only what is new.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

impl Evidence {
    /// Of a node on the host of another one: what that one counted, which stands there.
    pub fn same(node: NodeId, same_as: NodeId) -> Evidence {
        Evidence { node, same_as: Some(same_as), ..Evidence::default() }
    }

    /// What the interface `name` counted: nothing at all where it is not listed. `None` where interfaces were not read.
    pub fn nic(&self, name: &str) -> Option<NicCounts> {
        let listed = self.nics.as_ref()?.iter().find(|nic| nic.nic == name);
        Some(listed.map_or_else(NicCounts::still, |nic| nic.counts.clone()))
    }

    /// Notes why something is unknown.
    pub fn cannot_tell(&mut self, what: impl Into<String>, why: impl ToString) {
        self.unreadable.push(Unreadable { what: what.into(), why: why.to_string() });
    }
}

/// One interface during a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NicActivity {
    /// Its name.
    pub nic: String,
    /// What it counted.
    #[serde(flatten)]
    pub counts: NicCounts,
}

/// One priority at one interface during a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PriorityActivity {
    /// The interface.
    pub nic: String,
    /// The priority, 0 to 7.
    pub priority: u8,
    /// What was counted of it.
    #[serde(flatten)]
    pub counts: PriorityCounts,
    /// Packets of it that arrived and that were sent.
    #[serde(flatten)]
    pub packets: PriorityPackets,
}

/// The connections that a kernel follows, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConntrackTable {
    /// Entries in it.
    pub entries: u64,
    /// How many there can be; beyond that new connections are dropped.
    pub entries_max: u64,
}

/// One queueing discipline during a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QueueActivity {
    /// Its interface.
    pub nic: String,
    /// `tbf`, `htb`, `fq_codel` …
    pub kind: String,
    /// Its handle, as `tc` writes it.
    pub handle: String,
    /// Where it hangs: `root`, or a class of another one.
    pub parent: String,
    /// The most that was seen to stand in it, in bytes; it is looked at once a second.
    pub backlog_highest_bytes: Option<u64>,
    /// What it counted.
    #[serde(flatten)]
    pub counts: QueueCounts,
}

/// One of the peer's addresses, as this host's kernel resolves it, where that is news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NeighbourActivity {
    /// The address.
    pub address: IpAddr,
    /// The interface over which it was asked for.
    pub nic: String,
    /// The hardware addresses that answered, in the order in which they were seen, once a second.
    pub macs: Vec<String>,
    /// Nobody answered in the end.
    pub failed: bool,
}

/// What the kernel knew of a TCP connection when the lane over it ended (`TCP_INFO`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Connection {
    /// Both ends use time stamps (RFC 7323).
    pub timestamps: Option<bool>,
    /// Both ends use selective acknowledgements (RFC 2018).
    pub selective_acknowledgements: Option<bool>,
    /// Both ends scale their windows (RFC 7323).
    pub window_scaling: Option<bool>,
    /// Both ends take marks of congestion (RFC 3168).
    pub congestion_marks: Option<bool>,
    /// The last rate was the sender's: it had nothing to send.
    pub application_limited: Option<bool>,
    /// Numbers; one that is absent is zero.
    #[serde(flatten)]
    pub counts: ConnectionCounts,
    /// More numbers; one that is absent is unknown.
    #[serde(flatten)]
    pub figures: ConnectionFigures,
}

/// Something that a host could not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unreadable {
    /// What, by its place in the evidence: `softnet`, `tcp.syn_retransmits`.
    pub what: String,
    /// The system's words.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_move_is_absent_and_what_is_unknown_is_null() {
        let before =
            TcpCounts { retransmitted: Some(5), sent: Some(100), timeouts: None, ..TcpCounts::still() };
        let after =
            TcpCounts { retransmitted: Some(7), sent: Some(100), timeouts: Some(3), ..TcpCounts::still() };
        let moved = after.since(&before);
        assert_eq!((moved.retransmitted, moved.sent, moved.timeouts), (Some(2), Some(0), None));
        let text = serde_json::to_string(&moved).unwrap();
        assert_eq!(text, r#"{"retransmitted":2,"timeouts":null}"#);
        assert_eq!(serde_json::from_str::<TcpCounts>(&text).unwrap(), moved);
        assert_eq!(moved.unknown(), ["timeouts"]);
        assert_eq!(before.since(&after).retransmitted, None, "a counter that was set back says nothing");
    }

    #[test]
    fn a_nic_that_is_not_listed_stood_still_and_one_that_was_not_read_is_unknown() {
        let counts = NicCounts { sent_bytes: Some(9), ..NicCounts::still() };
        let mut evidence =
            Evidence { nics: Some(vec![NicActivity { nic: "eth0".into(), counts }]), ..Evidence::default() };
        let text = serde_json::to_string(&evidence).unwrap();
        assert_eq!(text, r#"{"node":0,"nics":[{"nic":"eth0","sent_bytes":9}]}"#);
        assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
        assert_eq!(evidence.nic("eth0").unwrap().sent_bytes, Some(9));
        assert_eq!(evidence.nic("eth1").unwrap().sent_bytes, Some(0));
        evidence.nics = None;
        assert_eq!(evidence.nic("eth0"), None);
    }
}
