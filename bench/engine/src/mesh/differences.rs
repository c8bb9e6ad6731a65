//! How the hosts differ: each fact as most of them have it, and who has another one.

use std::collections::BTreeMap;

use pathproof_model::environment::{Environment, Nic};
use pathproof_model::mesh::{Difference, Other, Rank};

/// Longest value of a fact.
const VALUE_CHARS_MAX: usize = 32;
/// A fact that so few of its hosts share is one that every host has of its own, and tells nothing.
const USUAL_MIN: f64 = 0.5;

/// What is compared of a host: what bears on a path, of the host as a whole and of the NIC that leads to the others.
pub fn facts(environment: &Environment, nic: Option<&Nic>) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            facts.insert(name.to_owned(), value.chars().take(VALUE_CHARS_MAX).collect());
        }
    };
    add("kernel", environment.kernel.clone());
    add("operating system", environment.operating_system.clone());
    add("cpu model", environment.cpu_model.clone());
    add("cpus", environment.cpus.map(|n| n.to_string()));
    add("clock source", environment.clock_source.clone());
    for (name, value) in environment.settings.iter().take(32) {
        let name: String = name.chars().take(2 * VALUE_CHARS_MAX).collect();
        add(&name, Some(value.clone()));
    }
    if let Some(nic) = nic {
        add("nic kind", nic.kind.clone());
        add("nic driver", nic.driver.clone());
        add("nic driver version", nic.driver_version.clone());
        add("nic firmware", nic.firmware.clone());
        add("nic ip mtu", nic.ip_mtu_bytes.map(|bytes| bytes.to_string()));
        add("nic speed", nic.speed_bits_per_s.map(|speed| speed.to_string()));
        add("nic receive queues", nic.receive_queues.map(|n| n.to_string()));
        let off: Vec<&str> =
            ["tcp-segmentation-offload", "generic-receive-offload", "generic-segmentation-offload"]
                .into_iter()
                .filter(|name| nic.offloads.get(*name) == Some(&false))
                .collect();
        add("nic offloads off", (!nic.offloads.is_empty()).then(|| off.join(" ")));
        let pfc = nic.dcb.as_ref().and_then(|dcb| dcb.pfc.as_ref());
        add("nic pfc", pfc.map(|pfc| format!("{:?}", pfc.enabled_priorities)));
    }
    facts
}

/// The facts that differ, each with the value of most ranks. Where hardly two agree there is no usual value.
pub fn differences(ranks: &[Rank]) -> Vec<Difference> {
    let mut names: Vec<&String> = ranks.iter().flat_map(|rank| rank.facts.keys()).collect();
    names.sort();
    names.dedup();
    let of = |name: &String| {
        let mut counts = BTreeMap::<&str, u32>::new();
        for value in ranks.iter().filter_map(|rank| rank.facts.get(name)) {
            *counts.entry(value).or_default() += 1;
        }
        let (usual, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        if f64::from(count) <= USUAL_MIN * ranks.len() as f64 {
            return None;
        }
        let differs = |rank: &&Rank| rank.facts.get(name).is_none_or(|value| value != usual);
        let others: Vec<Other> = ranks
            .iter()
            .filter(differs)
            .map(|rank| Other { rank: rank.rank, value: rank.facts.get(name).cloned() })
            .collect();
        (!others.is_empty()).then(|| Difference {
            fact: name.clone(),
            usual: usual.into(),
            ranks: count,
            others,
        })
    };
    names.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(number: u32, facts: &[(&str, &str)]) -> Rank {
        let facts = facts.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Rank { rank: number, facts, ..Rank::default() }
    }

    #[test]
    fn the_odd_one_is_named_and_what_every_host_has_of_its_own_is_not() {
        let ranks: Vec<Rank> = (0..8)
            .map(|n| {
                let congestion = if n == 5 { "reno" } else { "cubic" };
                rank(n, &[("congestion", congestion), ("name", &format!("node{n}")), ("kernel", "6.1")])
            })
            .collect();
        let found = differences(&ranks);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].fact.as_str(), found[0].usual.as_str(), found[0].ranks),
            ("congestion", "cubic", 7)
        );
        assert_eq!(found[0].others, [Other { rank: 5, value: Some("reno".into()) }]);
    }

    #[test]
    fn a_fact_that_one_host_does_not_tell_is_a_difference_without_a_value() {
        let mut ranks: Vec<Rank> = (0..3).map(|n| rank(n, &[("firmware", "1")])).collect();
        ranks[1].facts.clear();
        assert_eq!(differences(&ranks)[0].others, [Other { rank: 1, value: None }]);
        assert!(differences(&[]).is_empty());
        // Half and half: nobody is the odd one.
        let halves: Vec<Rank> =
            (0..4).map(|n| rank(n, &[("mtu", if n < 2 { "1500" } else { "9000" })])).collect();
        assert!(differences(&halves).is_empty());
    }
}
