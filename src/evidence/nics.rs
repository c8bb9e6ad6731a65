//! What each interface counted: bytes, errors, drops, and how often its carrier came and went.

use std::collections::BTreeMap;

use pathproof_model::{Evidence as Record, Half, NicActivity, NicCounts};
use pathproof_sys::interfaces::{self, Counters};

use super::{About, Evidence};

/// Most interfaces of a record. A host with hundreds of virtual ones carries the test over few of them.
const NICS_MAX: usize = 64;

/// Every interface by name at one moment.
pub struct Nics(Result<BTreeMap<String, NicCounts>, String>);

impl Evidence for Nics {
    fn before(_about: &About) -> Nics {
        let all = interfaces::list().map_err(|error| format!("netlink: {error}"));
        Nics(all.map(|all| all.into_iter().map(|one| (one.name, counts(&one.counters))).collect()))
    }

    fn during(&mut self) {}

    fn after(self: Box<Self>, _half: &mut Half, record: &mut Record) {
        let (then, now) = match (self.0, Nics::before(&About::default()).0) {
            (Ok(then), Ok(now)) => (then, now),
            (Err(why), _) | (_, Err(why)) => return record.cannot_tell("nics", why),
        };
        for gone in then.keys().filter(|name| !now.contains_key(*name)) {
            record.cannot_tell(format!("nics.{gone}"), "it was gone after the step");
        }
        let mut moved = moved(&then, &now);
        if moved.len() > NICS_MAX {
            let why = format!("{} counted something; those that carried most are listed", moved.len());
            record.cannot_tell("nics", why);
            moved.sort_by_key(|nic| std::cmp::Reverse(nic.counts.sent_bytes.max(nic.counts.received_bytes)));
            moved.truncate(NICS_MAX);
        }
        record.carrier_changes_in_all = Some(carriers(&moved, &now));
        record.nics = Some(moved);
    }
}

/// What the kernel has counted of the carrier of those that are listed, as far as it is known.
fn carriers(listed: &[NicActivity], now: &BTreeMap<String, NicCounts>) -> BTreeMap<String, u64> {
    let known = listed.iter().filter_map(|nic| Some((nic.nic.clone(), now.get(&nic.nic)?.carrier_changes?)));
    known.collect()
}

/// Those that counted anything; one that was not there before counts from zero.
fn moved(then: &BTreeMap<String, NicCounts>, now: &BTreeMap<String, NicCounts>) -> Vec<NicActivity> {
    let blank = NicCounts::still();
    let each = now.iter().map(|(nic, now)| NicActivity {
        nic: nic.clone(),
        counts: now.since(then.get(nic).unwrap_or(&blank)),
    });
    let gone = then
        .keys()
        .filter(|nic| !now.contains_key(*nic))
        .map(|nic| NicActivity { nic: nic.clone(), counts: NicCounts::default() });
    each.filter(|nic| !nic.counts.is_still()).chain(gone).collect()
}

fn counts(counted: &Counters) -> NicCounts {
    NicCounts {
        sent_bytes: counted.sent_bytes,
        received_bytes: counted.received_bytes,
        sent_packets: counted.sent_packets,
        received_packets: counted.received_packets,
        send_errors: counted.send_errors,
        receive_errors: counted.receive_errors,
        receive_crc_errors: counted.receive_crc_errors,
        send_drops: counted.send_drops,
        receive_drops: counted.receive_drops,
        receive_missed: counted.receive_missed,
        receive_overruns: counted.receive_overruns,
        collisions: counted.collisions,
        send_carrier_errors: counted.send_carrier_errors,
        carrier_changes: counted.carrier_changes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_is_listed_and_what_is_gone_is_unknown() {
        let counts = |sent| NicCounts { sent_bytes: Some(sent), ..NicCounts::still() };
        let all =
            |list: &[(&str, u64)]| list.iter().map(|(nic, n)| ((*nic).to_owned(), counts(*n))).collect();
        let then = all(&[("eth0", 5), ("eth1", 7), ("gone", 1)]);
        let now = all(&[("eth0", 9), ("eth1", 7), ("new", 3)]);
        let told: Vec<_> =
            moved(&then, &now).into_iter().map(|nic| (nic.nic, nic.counts.sent_bytes)).collect();
        let expected = [("eth0", Some(4)), ("new", Some(3)), ("gone", None)];
        assert_eq!(told, expected.map(|(nic, bytes)| (nic.to_owned(), bytes)));
    }

    #[test]
    fn the_carriers_of_what_is_listed_are_told_as_they_stand() {
        let counts = |sent, changes| NicCounts {
            sent_bytes: Some(sent),
            carrier_changes: changes,
            ..NicCounts::still()
        };
        let then = [("eth0".to_owned(), counts(5, Some(3))), ("eth1".to_owned(), counts(7, Some(1)))];
        let then = BTreeMap::from(then);
        let now = [
            ("eth0".to_owned(), counts(9, Some(4))),
            ("eth1".to_owned(), counts(7, Some(1))),
            ("eth2".to_owned(), counts(1, None)),
        ];
        let now = BTreeMap::from(now);
        assert_eq!(carriers(&moved(&then, &now), &now), BTreeMap::from([("eth0".to_owned(), 4)]));
    }

    #[test]
    fn every_counter_of_an_interface_is_read() {
        let Nics(read) = Nics::before(&About::default());
        let all = read.unwrap();
        assert!(all["lo"].unknown().is_empty(), "{all:#?}");
    }
}
