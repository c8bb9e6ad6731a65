//! What drivers count for themselves: pause frames, missing buffers, damaged frames.

use std::collections::{BTreeMap, BTreeSet};

use pathproof_model::evidence::{
    DriverActivity, DriverCounter, DriverMeaning, PriorityActivity, PriorityCounts, PriorityPackets,
    counts_packets,
};
use pathproof_model::{Evidence as Record, Half};
use pathproof_sys::ethtool::{Ethtool, is_not_told};
use pathproof_sys::interfaces;

use super::{About, Evidence};

/// Most counters of one interface in a record; adapters have some for each of their queues.
const COUNTERS_MAX: usize = 32;

/// Most interfaces that are asked, which costs three calls each.
const NICS_MAX: usize = 64;

/// Counters by interface and name.
type Known = BTreeMap<String, BTreeMap<String, u64>>;

/// Counters with a meaning at one moment, and what could not be read.
pub struct Drivers {
    known: Known,
    unreadable: Vec<(String, String)>,
}

impl Evidence for Drivers {
    fn before(_about: &About) -> Drivers {
        read()
    }

    fn during(&mut self) {}

    fn after(self: Box<Self>, _half: &mut Half, record: &mut Record) {
        let now = read();
        let silent = now.unreadable.is_empty();
        for (what, why) in now.unreadable {
            record.cannot_tell(what, why);
        }
        // Where nobody could be asked, nothing is known: that is not the same as that nothing moved.
        let asked = !self.known.is_empty() && !now.known.is_empty();
        if !asked && silent {
            record.cannot_tell("drivers", "no driver of this host's interfaces tells its counters");
        }
        record.drivers = asked.then(|| moved(&self.known, &now.known));
        let priorities = by_priority(&self.known, &now.known);
        if asked && priorities.is_empty() {
            record.cannot_tell("priorities", "no driver of this host's interfaces counts by priority");
        }
        record.priorities = (!priorities.is_empty()).then_some(priorities);
    }
}

fn read() -> Drivers {
    let mut drivers = Drivers { known: BTreeMap::new(), unreadable: Vec::new() };
    let (ethtool, nics) = match (Ethtool::open(), interfaces::list()) {
        (Ok(ethtool), Ok(nics)) => (ethtool, nics),
        (Err(error), _) | (_, Err(error)) => {
            drivers.unreadable.push(("drivers".into(), error.to_string()));
            return drivers;
        }
    };
    if nics.len() > NICS_MAX {
        let why = format!("{} interfaces; the first {NICS_MAX} were asked", nics.len());
        drivers.unreadable.push(("drivers".into(), why));
    }
    for nic in nics.into_iter().take(NICS_MAX).filter(|nic| nic.is_up) {
        match ethtool.statistics(&nic.name) {
            Ok(all) => {
                let known = all
                    .into_iter()
                    .filter(|(name, _)| DriverMeaning::of(name).is_some() || counts_packets(name));
                drivers.known.insert(nic.name, known.collect());
            }
            Err(error) if is_not_told(&error) => {}
            Err(error) => drivers.unreadable.push((format!("drivers.{}", nic.name), error.to_string())),
        }
    }
    drivers
}

/// The counters that moved; one that was not there before counts for nothing, and one that was set back neither.
fn moved(then: &Known, now: &Known) -> Vec<DriverActivity> {
    let each = now.iter().filter_map(|(nic, now)| {
        let then = then.get(nic)?;
        let mut counters: Vec<DriverCounter> = now
            .iter()
            .filter_map(|(name, now)| {
                let moved_by = now.checked_sub(*then.get(name)?).filter(|by| *by > 0)?;
                Some(DriverCounter { meaning: DriverMeaning::of(name)?, name: name.clone(), moved_by })
            })
            .collect();
        counters.sort_by_key(|counter| (counter.meaning, std::cmp::Reverse(counter.moved_by)));
        counters.truncate(COUNTERS_MAX);
        Some(DriverActivity { nic: nic.clone(), counters })
    });
    each.filter(|nic| !nic.counters.is_empty()).collect()
}

/// What each driver counts by priority, moved or not; an interface of which it counts nothing is left out.
fn by_priority(then: &Known, now: &Known) -> Vec<PriorityActivity> {
    let each = now.iter().filter_map(|(nic, now)| {
        let then = then.get(nic)?;
        let moved = || {
            now.iter().filter_map(move |(name, now)| Some((name.as_str(), now.checked_sub(*then.get(name)?))))
        };
        let counts = PriorityCounts::of_driver(moved());
        let packets = PriorityPackets::of_driver(moved());
        let priorities: BTreeSet<u8> = counts.keys().chain(packets.keys()).copied().collect();
        let activity = |priority: u8| PriorityActivity {
            nic: nic.clone(),
            priority,
            // What no counter is about is unknown.
            counts: counts.get(&priority).cloned().unwrap_or_default(),
            packets: packets.get(&priority).copied().unwrap_or_default(),
        };
        Some(priorities.into_iter().map(activity).collect::<Vec<_>>())
    });
    each.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_is_listed_by_meaning_and_what_was_set_back_is_not() {
        let all = |list: &[(&str, u64)]| list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let host = |list: &[(&str, u64)]| BTreeMap::from([("e0".to_owned(), all(list))]);
        let then =
            host(&[("rx_crc_errors", 1), ("rx_prio3_pause", 5), ("rx_drops", 9), ("tx_pause_frames", 2)]);
        let now = host(&[
            ("rx_crc_errors", 4),
            ("rx_prio3_pause", 7),
            ("rx_drops", 0),
            ("tx_pause_frames", 2),
            ("rx_missed_errors", 8),
        ]);
        let told = moved(&then, &now);
        let told: Vec<_> =
            told[0].counters.iter().map(|c| (c.name.as_str(), c.meaning, c.moved_by)).collect();
        let expected = [
            ("rx_prio3_pause", DriverMeaning::PauseReceived, 2),
            ("rx_crc_errors", DriverMeaning::LinkError, 3),
        ];
        assert_eq!(told, expected);
        assert_eq!(moved(&now, &now), []);
        assert_eq!(moved(&BTreeMap::new(), &now), [], "an interface that is new tells no difference");
    }

    #[test]
    fn a_priority_that_is_counted_is_listed_though_it_did_not_move_and_no_other_is() {
        let all = |list: &[(&str, u64)]| list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let counted = [("rx_prio3_discards", 4), ("rx_prio3_pause", 9), ("rx_prio4_discards", 1)];
        let then: Known =
            BTreeMap::from([("e0".to_owned(), all(&counted)), ("e1".to_owned(), all(&[("rx_drops", 4)]))]);
        let mut now = then.clone();
        now.get_mut("e0").unwrap().insert("rx_prio3_discards".into(), 6);
        now.get_mut("e0").unwrap().insert("rx_prio3_pause".into(), 2);
        let told = by_priority(&then, &now);
        let told: Vec<_> = told
            .iter()
            .map(|one| {
                let counts = &one.counts;
                (one.nic.as_str(), one.priority, counts.receive_discards, counts.pauses_received)
            })
            .collect();
        // A counter that was set back is unknown, and so is one that the driver does not have.
        assert_eq!(told, [("e0", 3, Some(2), None), ("e0", 4, Some(0), None)]);
    }

    #[test]
    fn packets_of_a_priority_stand_beside_what_else_is_counted_of_it() {
        let all = |list: &[(&str, u64)]| list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let host = |list: &[(&str, u64)]| Known::from([("e0".to_owned(), all(list))]);
        let then = host(&[("rx_prio3_packets", 5), ("tx_prio3_packets", 5), ("rx_prio4_discards", 1)]);
        let now = host(&[("rx_prio3_packets", 9), ("tx_prio3_packets", 5), ("rx_prio4_discards", 1)]);
        let told = by_priority(&then, &now);
        let told: Vec<_> = told
            .iter()
            .map(|one| (one.priority, one.packets.received_packets, one.packets.sent_packets))
            .collect();
        assert_eq!(told, [(3, Some(4), Some(0)), (4, None, None)]);
        assert_eq!(
            by_priority(&then, &now)[0].counts,
            PriorityCounts::default(),
            "nobody counts its discards"
        );
        assert_eq!(moved(&then, &now), [], "packets by themselves mean nothing");
    }

    #[test]
    fn this_machine_s_drivers_can_be_asked() {
        assert_eq!(read().unreadable, []);
    }
}
