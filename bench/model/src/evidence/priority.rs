//! What a NIC's driver counts by priority, by the words that drivers share for it.
//!
//! The names are those of mlx5, mlx4, ice, i40e, ixgbe, bnxt_en and cxgb4. What no counter of a driver tells of a priority stays unknown:
//! it never becomes a zero.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DriverMeaning, PriorityCounts};

/// Packets of one priority, whatever became of them: adapters count what the kernel never sees, as RDMA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PriorityPackets {
    /// Those that arrived; absent where the driver does not count them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_packets: Option<u64>,
    /// Those that were sent; absent where the driver does not count them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_packets: Option<u64>,
}

impl PriorityPackets {
    /// The packets of each priority of one adapter, from its driver's counters by name and what each moved by, as far as that is known.
    pub fn of_driver<'a>(
        counters: impl Iterator<Item = (&'a str, Option<u64>)>,
    ) -> BTreeMap<u8, PriorityPackets> {
        let mut all: BTreeMap<u8, PriorityPackets> = BTreeMap::new();
        for (name, moved_by) in counters {
            let Some((priority, is_sent)) = packets_of(name) else { continue };
            let packets = all.entry(priority).or_default();
            let place = if is_sent { &mut packets.sent_packets } else { &mut packets.received_packets };
            *place = moved_by;
        }
        all
    }
}

/// Whether the driver's counter `name` counts packets of a priority.
pub fn counts_packets(name: &str) -> bool {
    packets_of(name).is_some()
}

/// The priority whose packets the driver's counter `name` counts, and whether it is those that were sent: the names of mlx5, mlx4 and bnxt_en.
fn packets_of(name: &str) -> Option<(u8, bool)> {
    let name = name.to_ascii_lowercase();
    let is_sent = name.starts_with("tx_");
    // What has a meaning of its own is a part of them.
    let is_all = name.contains("packets") && DriverMeaning::of(&name).is_none();
    if !is_all || !is_sent && !name.starts_with("rx_") {
        return None;
    }
    Some((priority(&name)?, is_sent))
}

/// What one counter of a priority is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    ReceiveDiscards,
    SendDiscards,
    PausesReceived,
    PausesSent,
    CongestionMarks,
}

impl Part {
    /// The priority that the driver's counter `name` is of, and what it counts.
    fn of(name: &str) -> Option<(u8, Part)> {
        let name = name.to_ascii_lowercase();
        let priority = priority(&name)?;
        // When a pause ended is no pause more.
        if name.contains("xon") {
            return None;
        }
        let is_sent = name.starts_with("tx") || name.contains("_tx");
        let part = match DriverMeaning::of(&name)? {
            DriverMeaning::PauseReceived => Part::PausesReceived,
            DriverMeaning::PauseSent => Part::PausesSent,
            DriverMeaning::CongestionMark => Part::CongestionMarks,
            DriverMeaning::NoReceiveBuffer | DriverMeaning::Discard if is_sent => Part::SendDiscards,
            DriverMeaning::NoReceiveBuffer | DriverMeaning::Discard => Part::ReceiveDiscards,
            DriverMeaning::LinkError | DriverMeaning::Policed | DriverMeaning::Other => return None,
        };
        Some((priority, part))
    }
}

/// The priority in a name: a single digit of 0 to 7 behind one of the words that drivers have for it.
fn priority(name: &str) -> Option<u8> {
    const WORDS: [&str; 6] = ["priority_", "prio_", "prio", "pri", "ppp", "pb_"];
    let digit_at = |at: usize| {
        let mut rest = name.get(at..)?.chars();
        let digit = rest.next()?.to_digit(8)?;
        // Queues have such names too, and more than ten of them.
        let is_alone = rest.next().is_none_or(|next| !next.is_ascii_digit());
        u8::try_from(digit).ok().filter(|_| is_alone)
    };
    WORDS.iter().find_map(|word| name.match_indices(word).find_map(|(at, _)| digit_at(at + word.len())))
}

impl PriorityCounts {
    /// The counts of each priority of one adapter, from its driver's counters by name and what each moved by, as far as that is known.
    pub fn of_driver<'a>(
        counters: impl Iterator<Item = (&'a str, Option<u64>)>,
    ) -> BTreeMap<u8, PriorityCounts> {
        let mut parts: BTreeMap<(u8, Part), Option<u64>> = BTreeMap::new();
        for (name, moved_by) in counters {
            let Some(place) = Part::of(name) else { continue };
            // Drivers count one packet under several names: the most of them is certain, a sum is not.
            let part = parts.entry(place).or_insert(moved_by);
            *part = part.zip(moved_by).map(|(known, moved_by)| known.max(moved_by));
        }
        let mut all: BTreeMap<u8, PriorityCounts> = BTreeMap::new();
        for ((priority, part), moved_by) in parts {
            let counts = all.entry(priority).or_default();
            let place = match part {
                Part::ReceiveDiscards => &mut counts.receive_discards,
                Part::SendDiscards => &mut counts.send_discards,
                Part::PausesReceived => &mut counts.pauses_received,
                Part::PausesSent => &mut counts.pauses_sent,
                Part::CongestionMarks => &mut counts.congestion_marks,
            };
            *place = moved_by;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_a_priority_are_recognised_and_those_of_queues_are_not() {
        let known = [
            // mlx5, mlx4
            ("rx_prio3_pause", Some((3, Part::PausesReceived))),
            ("tx_prio3_pause", Some((3, Part::PausesSent))),
            ("rx_prio3_pause_duration", None),
            ("rx_prio3_pause_transition", None),
            ("rx_prio3_discards", Some((3, Part::ReceiveDiscards))),
            ("rx_prio0_buf_discard", Some((0, Part::ReceiveDiscards))),
            ("rx_prio4_cong_discard", Some((4, Part::ReceiveDiscards))),
            ("rx_prio4_marked", Some((4, Part::CongestionMarks))),
            ("tx_prio3_discards", Some((3, Part::SendDiscards))),
            ("rx_prio3_packets", None),
            ("rx_pause_prio_3", Some((3, Part::PausesReceived))),
            ("tx_pause_prio_3", Some((3, Part::PausesSent))),
            // ice, i40e, ixgbe
            ("rx_priority_3_xoff.nic", Some((3, Part::PausesReceived))),
            ("tx_priority_3_xoff.nic", Some((3, Part::PausesSent))),
            ("tx_priority_3_xon_2_xoff.nic", None),
            ("tx_pb_3_pxoff", Some((3, Part::PausesSent))),
            ("rx_pb_3_pxoff", Some((3, Part::PausesReceived))),
            ("rx_pb_3_pxon", None),
            // bnxt_en, cxgb4
            ("rx_pfc_ena_frames_pri5", Some((5, Part::PausesReceived))),
            ("tx_pfc_ena_frames_pri5", Some((5, Part::PausesSent))),
            ("RxPPP7", Some((7, Part::PausesReceived))),
            ("TxPPP7", Some((7, Part::PausesSent))),
            // Of no priority.
            ("rx_queue_3_drops", None),
            ("rx_discards_phy", None),
            ("rx_global_pause", None),
            ("rx_prio12_pause", None),
            ("rx_prio8_pause", None),
            ("rx_prio", None),
            ("", None),
        ];
        for (name, part) in known {
            assert_eq!(Part::of(name), part, "{name}");
        }
    }

    #[test]
    fn packets_of_a_priority_are_recognised_and_those_of_queues_and_of_discards_are_not() {
        let known = [
            // mlx5, mlx4, bnxt_en
            ("rx_prio3_packets", Some((3, false))),
            ("tx_prio3_packets", Some((3, true))),
            ("rx_prio_3_packets", Some((3, false))),
            ("tx_packets_pri5", Some((5, true))),
            ("rx_prio3_bytes", None),
            ("rx_prio3_buf_discard_packets", None),
            ("rx_prio3_pause", None),
            ("rx3_packets", None),
            ("rx_packets", None),
            ("rx_queue_3_packets", None),
            ("rx_prio12_packets", None),
            ("", None),
        ];
        for (name, part) in known {
            assert_eq!(packets_of(name), part, "{name}");
        }
        let counters =
            [("rx_prio3_packets", Some(7)), ("tx_prio3_packets", None), ("rx_prio4_discards", Some(1))];
        let all = PriorityPackets::of_driver(counters.into_iter());
        // One that was set back is unknown, and so is one that the driver does not have.
        let third = PriorityPackets { received_packets: Some(7), sent_packets: None };
        assert_eq!(all, BTreeMap::from([(3, third)]));
        assert_eq!(serde_json::to_string(&third).unwrap(), r#"{"received_packets":7}"#);
    }

    #[test]
    fn what_no_counter_tells_of_a_priority_is_unknown_and_what_two_tell_counts_once() {
        let counters = [
            ("rx_prio3_discards", Some(7)),
            ("rx_prio3_buf_discard", Some(5)),
            ("rx_prio3_pause", Some(0)),
            ("rx_prio4_pause", None),
            ("rx_prio5_discards", Some(2)),
            ("rx_prio5_buf_discard", None),
            ("rx_packets", Some(9)),
        ];
        let all = PriorityCounts::of_driver(counters.into_iter());
        let third = PriorityCounts {
            receive_discards: Some(7),
            pauses_received: Some(0),
            ..PriorityCounts::default()
        };
        // A counter that was set back, and one of two of which nobody knows whether it is the larger.
        let unknown = PriorityCounts::default();
        assert_eq!(all, BTreeMap::from([(3, third.clone()), (4, unknown.clone()), (5, unknown)]));
        assert_eq!(
            serde_json::to_string(&third).unwrap(),
            r#"{"receive_discards":7,"send_discards":null,"pauses_sent":null,"congestion_marks":null}"#
        );
    }
}
