//! Data center bridging of an interface: which priorities are paused instead of dropped, how classes share the link, and which traffic
//! has which priority.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Data center bridging of an interface (IEEE 802.1Qaz). `None` is what the driver does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dcb {
    /// Priority flow control.
    pub pfc: Option<DcbPfc>,
    /// Enhanced transmission selection.
    pub ets: Option<DcbEts>,
    /// Which traffic gets which priority.
    pub applications: Option<Vec<DcbApplication>>,
}

/// Priority flow control (IEEE 802.1Qbb).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DcbPfc {
    /// Priorities that are paused instead of dropped.
    pub enabled_priorities: Vec<u8>,
    /// How many the adapter can protect at once.
    pub classes_max: Option<u8>,
}

/// Enhanced transmission selection (IEEE 802.1Qaz): how traffic classes share the link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DcbEts {
    /// Share of each traffic class in percent, for classes whose algorithm is `ets`.
    pub bandwidth_percent: Vec<u8>,
    /// Algorithm of each traffic class.
    pub algorithms: Vec<DcbAlgorithm>,
    /// Traffic class of each priority.
    pub class_of_priority: Vec<u8>,
}

/// How a traffic class is served (IEEE 802.1Q, transmission selection algorithms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DcbAlgorithm {
    /// Before all others, by priority.
    Strict,
    /// At a rate of its own.
    #[serde(rename = "credit-based shaper")]
    CreditBasedShaper,
    /// By its percent of the link.
    Ets,
    /// As the vendor has it.
    Vendor,
    /// Something else, or nobody knows how.
    #[default]
    #[serde(other)]
    Unknown,
}

impl DcbAlgorithm {
    /// By its number in 802.1Q.
    pub fn of(number: u8) -> DcbAlgorithm {
        match number {
            0 => DcbAlgorithm::Strict,
            1 => DcbAlgorithm::CreditBasedShaper,
            2 => DcbAlgorithm::Ets,
            255 => DcbAlgorithm::Vendor,
            _ => DcbAlgorithm::Unknown,
        }
    }
}

impl fmt::Display for DcbAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DcbAlgorithm::Strict => "strict",
            DcbAlgorithm::CreditBasedShaper => "credit-based shaper",
            DcbAlgorithm::Ets => "ets",
            DcbAlgorithm::Vendor => "vendor",
            DcbAlgorithm::Unknown => "unknown",
        })
    }
}

/// What the application priority table knows traffic by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DcbSelector {
    /// The type in an Ethernet header.
    Ethertype,
    /// A port of TCP.
    StreamPort,
    /// A port of UDP.
    DgramPort,
    /// A port of TCP or UDP.
    Port,
    /// The mark in an IP header.
    Dscp,
    /// Something else, or nobody knows what.
    #[default]
    #[serde(other)]
    Unknown,
}

impl DcbSelector {
    /// The word that stands in documents.
    pub fn word(self) -> &'static str {
        match self {
            DcbSelector::Ethertype => "ethertype",
            DcbSelector::StreamPort => "stream-port",
            DcbSelector::DgramPort => "dgram-port",
            DcbSelector::Port => "port",
            DcbSelector::Dscp => "dscp",
            DcbSelector::Unknown => "unknown",
        }
    }
}

/// One entry of the application priority table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DcbApplication {
    /// What `protocol` is.
    pub selector: DcbSelector,
    /// The number that traffic is known by.
    pub protocol: u16,
    /// Its priority.
    pub priority: u8,
}

/// UDP port of RoCE v2.
const ROCE_PORT: u16 = 4791;
/// Port of SMB, by which SMB Direct is told apart over iWARP, and by convention over RoCE too.
const SMB_PORT: u16 = 445;

impl Dcb {
    /// The priority of RoCE packets, as far as the table decides it, and by which entry: that of the DSCP in use before
    /// that of the UDP port.
    pub fn roce_priority(&self, dscp: Option<u8>) -> Option<(u8, String)> {
        let table = self.applications.as_deref()?;
        let by_dscp =
            |a: &&DcbApplication| a.selector == DcbSelector::Dscp && Some(a.protocol) == dscp.map(u16::from);
        let by_port = |a: &&DcbApplication| {
            a.protocol == ROCE_PORT && matches!(a.selector, DcbSelector::DgramPort | DcbSelector::Port)
        };
        if let Some(entry) = table.iter().find(by_dscp) {
            return Some((entry.priority, format!("DSCP {}", entry.protocol)));
        }
        table.iter().find(by_port).map(|entry| (entry.priority, format!("UDP port {ROCE_PORT}")))
    }

    /// The priority that the table gives port 445; `None` where it says nothing of it.
    pub fn smb_priority(&self) -> Option<u8> {
        let by_port = |a: &&DcbApplication| {
            a.protocol == SMB_PORT && matches!(a.selector, DcbSelector::StreamPort | DcbSelector::Port)
        };
        self.applications.iter().flatten().find(by_port).map(|a| a.priority)
    }

    /// The priorities that the table gives SMB Direct, by the port of SMB or by that of RoCE below it; none where it says nothing of either.
    pub fn smb_direct_priorities(&self) -> BTreeSet<u8> {
        let by_port = |a: &&DcbApplication| {
            matches!(a.selector, DcbSelector::StreamPort | DcbSelector::DgramPort | DcbSelector::Port)
                && matches!(a.protocol, SMB_PORT | ROCE_PORT)
        };
        self.applications.iter().flatten().filter(by_port).map(|a| a.priority).collect()
    }

    /// Why RoCE packets may be dropped under load here, if they may; `None` when protected or unknown.
    pub fn roce_unprotected(&self, dscp: Option<u8>) -> Option<String> {
        let enabled = &self.pfc.as_ref()?.enabled_priorities;
        if enabled.is_empty() {
            return Some("PFC is enabled on no priority".into());
        }
        let on = enabled.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        match self.roce_priority(dscp) {
            Some((priority, _)) if enabled.contains(&priority) => None,
            Some((priority, by)) => {
                Some(format!("{by} has priority {priority}, and PFC is enabled on priority {on} only"))
            }
            // Without an entry packets have the priority of their VLAN tag, which is not known here.
            None if self.applications.is_some() => Some(format!(
                "PFC is enabled on priority {on}, and no application entry gives RoCE (UDP port {ROCE_PORT}{}) a priority",
                dscp.map_or_else(String::new, |d| format!(" or DSCP {d}"))
            )),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dcb(enabled: &[u8], entries: &[(DcbSelector, u16, u8)]) -> Dcb {
        let applications = entries
            .iter()
            .map(|(selector, protocol, priority)| DcbApplication {
                selector: *selector,
                protocol: *protocol,
                priority: *priority,
            })
            .collect();
        let pfc = DcbPfc { enabled_priorities: enabled.to_vec(), classes_max: Some(8) };
        Dcb { pfc: Some(pfc), ets: None, applications: Some(applications) }
    }

    #[test]
    fn an_algorithm_is_written_as_it_is_shown_and_one_that_is_not_known_is_read() {
        for number in [0, 1, 2, 255, 9] {
            let algorithm = DcbAlgorithm::of(number);
            assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.to_string());
        }
        // Builds before wrote the number of what they did not know.
        let read: Vec<DcbAlgorithm> = serde_json::from_str(r#"["ets", "9", "credit-based shaper"]"#).unwrap();
        let known = [DcbAlgorithm::Ets, DcbAlgorithm::Unknown, DcbAlgorithm::CreditBasedShaper];
        assert_eq!(read, known);
    }

    #[test]
    fn smb_direct_has_the_priorities_of_its_ports_and_of_no_other_table() {
        let of = |entries: &[(DcbSelector, u16, u8)]| {
            dcb(&[3], entries).smb_direct_priorities().into_iter().collect::<Vec<u8>>()
        };
        let (stream, datagram) = (DcbSelector::StreamPort, DcbSelector::DgramPort);
        assert_eq!(of(&[(stream, 445, 3), (datagram, 4791, 3), (stream, 3343, 7)]), [3]);
        assert_eq!(of(&[(DcbSelector::Port, 4791, 4), (stream, 445, 3)]), [3, 4]);
        assert_eq!(of(&[(DcbSelector::Ethertype, 445, 3), (DcbSelector::Dscp, 4791, 3)]), [0u8; 0]);
        assert!(Dcb::default().smb_direct_priorities().is_empty());
        let smb = |entries: &[(DcbSelector, u16, u8)]| dcb(&[3], entries).smb_priority();
        assert_eq!(smb(&[(datagram, 4791, 3), (stream, 445, 4)]), Some(4));
        assert_eq!(smb(&[(datagram, 4791, 3), (DcbSelector::Ethertype, 445, 5)]), None);
    }

    #[test]
    fn the_dscp_in_use_decides_before_the_port() {
        let both = dcb(&[3], &[(DcbSelector::Port, 4791, 3), (DcbSelector::Dscp, 26, 4)]);
        assert_eq!(both.roce_priority(Some(26)).unwrap().0, 4);
        assert_eq!(both.roce_priority(Some(10)).unwrap().0, 3);
        assert_eq!(both.roce_unprotected(None), None);
        assert!(both.roce_unprotected(Some(26)).unwrap().contains("DSCP 26 has priority 4"));
    }

    #[test]
    fn a_priority_without_pfc_is_unprotected_and_unknown_is_no_verdict() {
        assert!(dcb(&[], &[]).roce_unprotected(None).unwrap().contains("no priority"));
        assert!(dcb(&[3], &[]).roce_unprotected(None).unwrap().contains("no application entry"));
        assert!(dcb(&[3], &[(DcbSelector::StreamPort, 4791, 3)]).roce_unprotected(None).is_some());
        assert_eq!(Dcb::default().roce_unprotected(None), None);
        let silent = Dcb { applications: None, ..dcb(&[3], &[]) };
        assert_eq!(silent.roce_unprotected(None), None);
    }
}
