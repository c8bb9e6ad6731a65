//! What each interface counted: bytes, errors, drops, and how often its carrier came and went.

use std::collections::BTreeMap;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use pathproof_model::{Evidence as Record, Half, NicActivity, NicCounts};

use super::{About, Evidence};
use crate::host::netlink;

/// Most interfaces of a record. A host with hundreds of virtual ones carries the test over few of them.
const NICS_MAX: usize = 64;

/// Every interface by name at one moment.
pub struct Nics(Result<BTreeMap<String, NicCounts>, String>);

impl Evidence for Nics {
    fn before(_about: &About) -> Nics {
        let answers = netlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()));
        Nics(answers.map(|all| all.iter().filter_map(counts).collect()).map_err(|e| format!("netlink: {e}")))
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
        record.nics = Some(moved);
    }
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

fn counts(answer: &RouteNetlinkMessage) -> Option<(String, NicCounts)> {
    let RouteNetlinkMessage::NewLink(link) = answer else { return None };
    let mut name = None;
    let mut counts = NicCounts::default();
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::CarrierChanges(changes) => counts.carrier_changes = Some(u64::from(*changes)),
            LinkAttribute::Stats64(stats) => {
                counts.sent_bytes = Some(stats.tx_bytes);
                counts.received_bytes = Some(stats.rx_bytes);
                counts.sent_packets = Some(stats.tx_packets);
                counts.received_packets = Some(stats.rx_packets);
                counts.send_errors = Some(stats.tx_errors);
                counts.receive_errors = Some(stats.rx_errors);
                counts.receive_crc_errors = Some(stats.rx_crc_errors);
                counts.send_drops = Some(stats.tx_dropped);
                counts.receive_drops = Some(stats.rx_dropped);
                counts.receive_missed = Some(stats.rx_missed_errors);
                counts.receive_overruns = stats.rx_over_errors.checked_add(stats.rx_fifo_errors);
                counts.collisions = stats.collisions.checked_add(stats.tx_window_errors);
                counts.send_carrier_errors = Some(stats.tx_carrier_errors);
            }
            _ => {}
        }
    }
    Some((name?, counts))
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
    fn every_counter_of_an_interface_is_read() {
        let Nics(read) = Nics::before(&About::default());
        let all = read.unwrap();
        assert!(all["lo"].unknown().is_empty(), "{all:#?}");
    }
}
