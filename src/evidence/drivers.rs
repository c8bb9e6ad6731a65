//! What drivers count for themselves: pause frames, missing buffers, damaged frames.

use std::collections::BTreeMap;

use pathproof_model::evidence::{DriverActivity, DriverCounter, DriverMeaning};
use pathproof_model::{Evidence as Record, Half};
use pathproof_sys::ethtool::{Ethtool, is_not_told};
use pathproof_sys::interfaces;

use super::{About, Evidence};

/// Most counters of one interface in a record; adapters have some for each of their queues.
const COUNTERS_MAX: usize = 32;

/// Most interfaces that are asked, which costs three calls each.
const NICS_MAX: usize = 64;

/// Counters with a meaning by interface and name at one moment, and what could not be read.
pub struct Drivers {
    known: BTreeMap<String, BTreeMap<String, u64>>,
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
                let known = all.into_iter().filter(|(name, _)| DriverMeaning::of(name).is_some());
                drivers.known.insert(nic.name, known.collect());
            }
            Err(error) if is_not_told(&error) => {}
            Err(error) => drivers.unreadable.push((format!("drivers.{}", nic.name), error.to_string())),
        }
    }
    drivers
}

/// The counters that moved; one that was not there before counts for nothing, and one that was set back neither.
fn moved(
    then: &BTreeMap<String, BTreeMap<String, u64>>,
    now: &BTreeMap<String, BTreeMap<String, u64>>,
) -> Vec<DriverActivity> {
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
    fn this_machine_s_drivers_can_be_asked() {
        assert_eq!(read().unreadable, []);
    }
}
