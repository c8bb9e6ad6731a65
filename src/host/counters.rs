//! What each interface has carried so far, by its own count.

use std::collections::BTreeMap;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::netlink;

/// Bytes as an interface counts them, headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NicBytes {
    /// Sent.
    pub sent_bytes: u64,
    /// Received.
    pub received_bytes: u64,
}

/// The counters of every interface by name; empty when they cannot be read.
pub fn nic_bytes() -> BTreeMap<String, NicBytes> {
    let answers = netlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default())).unwrap_or_default();
    answers
        .iter()
        .filter_map(|answer| {
            let RouteNetlinkMessage::NewLink(link) = answer else { return None };
            let mut name = None;
            let mut bytes = None;
            for attribute in &link.attributes {
                match attribute {
                    LinkAttribute::IfName(text) => name = Some(text.clone()),
                    LinkAttribute::Stats64(stats) => {
                        bytes = Some(NicBytes { sent_bytes: stats.tx_bytes, received_bytes: stats.rx_bytes });
                    }
                    _ => {}
                }
            }
            Some((name?, bytes?))
        })
        .collect()
}
