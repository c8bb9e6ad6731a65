//! Which hardware address answers for the peer's addresses, and whether that changes while a step runs: two that take
//! turns are two hosts with one address, or one host that answers over the wrong NIC.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pathproof_model::evidence::NeighbourActivity;
use pathproof_model::{Evidence as Record, Half};
use pathproof_sys::neighbours;

use super::{About, Evidence};

/// Most hardware addresses that are kept of one neighbour.
const MACS_MAX: usize = 8;

/// One entry at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    mac: Option<String>,
    failed: bool,
}

/// Entries by address and interface.
type Entries = BTreeMap<(IpAddr, String), Entry>;

/// The peer's addresses as the kernel knows them.
pub struct Neighbours {
    peers: Vec<IpAddr>,
    before: Result<Entries, String>,
    /// The hardware addresses that answered, in the order in which they were seen.
    seen: BTreeMap<(IpAddr, String), Vec<String>>,
}

impl Evidence for Neighbours {
    fn before(about: &About) -> Neighbours {
        let before = entries(&about.peers);
        let mut new = Neighbours { peers: about.peers.clone(), before, seen: BTreeMap::new() };
        if let Ok(before) = new.before.clone() {
            new.note(&before);
        }
        new
    }

    fn during(&mut self) {
        if let Ok(now) = entries(&self.peers) {
            self.note(&now);
        }
    }

    fn after(mut self: Box<Self>, _half: &mut Half, record: &mut Record) {
        let (then, now) = match (self.before.clone(), entries(&self.peers)) {
            (Ok(then), Ok(now)) => (then, now),
            (Err(why), _) | (_, Err(why)) => return record.cannot_tell("neighbours", why),
        };
        self.note(&now);
        record.neighbours = Some(changed(&then, &now, &self.seen));
    }
}

impl Neighbours {
    fn note(&mut self, now: &Entries) {
        for (place, entry) in now {
            let Some(mac) = &entry.mac else { continue };
            let seen = self.seen.entry(place.clone()).or_default();
            if seen.last() != Some(mac) && seen.len() < MACS_MAX {
                seen.push(mac.clone());
            }
        }
    }
}

/// Those that are new, have changed, or do not answer any more.
fn changed(
    then: &Entries,
    now: &Entries,
    seen: &BTreeMap<(IpAddr, String), Vec<String>>,
) -> Vec<NeighbourActivity> {
    let each = now.iter().filter_map(|(place, entry)| {
        let macs = seen.get(place).cloned().unwrap_or_default();
        let news = !then.contains_key(place) || macs.len() > 1 || entry.failed;
        let (address, nic) = place.clone();
        news.then_some(NeighbourActivity { address, nic, macs, failed: entry.failed })
    });
    each.collect()
}

fn entries(peers: &[IpAddr]) -> Result<Entries, String> {
    let all = neighbours::list().map_err(|error| format!("netlink: {error}"))?;
    let of_peers = all.into_iter().filter(|one| peers.contains(&one.address));
    Ok(of_peers
        .map(|one| ((one.address, one.interface), Entry { mac: one.mac, failed: one.failed }))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_take_turns_are_seen_and_what_stays_is_no_news() {
        let place = |last: u8| (IpAddr::from([10, 0, 0, last]), "eth0".to_owned());
        let entry = |mac: &str| Entry { mac: Some(mac.into()), failed: false };
        let then: Entries = [(place(2), entry("aa")), (place(3), entry("cc"))].into();
        let mut neighbours = Neighbours { peers: vec![], before: Ok(then.clone()), seen: BTreeMap::new() };
        neighbours.note(&then);
        neighbours.note(&[(place(2), entry("bb"))].into());
        let dead = Entry { mac: None, failed: true };
        let now: Entries =
            [(place(2), entry("aa")), (place(3), entry("cc")), (place(4), entry("dd")), (place(5), dead)]
                .into();
        neighbours.note(&now);
        let told: Vec<_> = changed(&then, &now, &neighbours.seen)
            .into_iter()
            .map(|one| (one.address, one.macs.join(" "), one.failed))
            .collect();
        let address = |last: u8| place(last).0;
        let expected = [
            (address(2), "aa bb aa".to_owned(), false),
            (address(4), "dd".to_owned(), false),
            (address(5), String::new(), true),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn this_machine_s_neighbours_can_be_read() {
        assert!(entries(&[]).unwrap().is_empty());
    }
}
