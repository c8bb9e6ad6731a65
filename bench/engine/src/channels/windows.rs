//! Windows clients (MS-SMB2 §3.2.5.14.11, product notes 198 and 199).
//!
//! An RDMA pair also has a TCP twin there; the twin belongs to a lower class and is used only when RDMA
//! fails, so it is not listed as a pair of its own.

use std::collections::BTreeSet;

use pathproof_model::units::BitsPerSecond;

use super::candidates::{Candidate, Class};
use super::rule::Rule;
use super::{RDMA_CONNECTIONS, RSS_CONNECTIONS, SERVER_CONNECTIONS_MAX};

/// Decides every candidate that is still open. They come in order of address suitability.
pub(super) fn choose(candidates: &mut [Candidate<'_>]) {
    one_pair_of_addresses_for_each_pair_of_nics(candidates);
    best_class(candidates);
    fastest(candidates);
    spread(candidates);
    connections(candidates);
}

fn open<'c, 'a>(candidates: &'c mut [Candidate<'a>]) -> impl Iterator<Item = &'c mut Candidate<'a>> {
    candidates.iter_mut().filter(|c| c.rule.is_none())
}

fn one_pair_of_addresses_for_each_pair_of_nics(candidates: &mut [Candidate<'_>]) {
    let mut seen: Vec<((usize, usize), String)> = Vec::new();
    for candidate in open(candidates) {
        let nics = (candidate.local.at, candidate.remote.at);
        match seen.iter().find(|(known, _)| *known == nics) {
            Some((_, better)) => candidate.exclude(Rule::BetterAddress { better: better.clone() }),
            None => seen.push((nics, candidate.addresses())),
        }
    }
}

fn best_class(candidates: &mut [Candidate<'_>]) {
    let Some(best) = open(candidates).map(|c| c.class()).min() else { return };
    for candidate in open(candidates).filter(|c| c.class() != best) {
        candidate.exclude(Rule::ClassOutranked { class: candidate.class().name(), by: best.name() });
    }
}

fn fastest(candidates: &mut [Candidate<'_>]) {
    // An unknown speed sorts below every known one.
    let Some(fastest) = open(candidates).map(|c| c.speed_bits_per_s()).max() else { return };
    let words = |speed: Option<u64>| match speed {
        Some(speed) => BitsPerSecond(speed).to_string(),
        None => "unknown speed".into(),
    };
    for candidate in open(candidates).filter(|c| c.speed_bits_per_s() != fastest) {
        let speed = words(candidate.speed_bits_per_s());
        candidate.exclude(Rule::Slower { speed, fastest: words(fastest) });
    }
}

/// Keeps just enough pairs that every eligible NIC of both ends is in one: first pairs of two fresh NICs, then
/// a pair for each NIC left over.
fn spread(candidates: &mut [Candidate<'_>]) {
    let (mut locals, mut remotes) = (BTreeSet::new(), BTreeSet::new());
    let mut kept = BTreeSet::new();
    for both_fresh in [true, false] {
        for (at, candidate) in candidates.iter().enumerate().filter(|(_, c)| c.rule.is_none()) {
            let local_fresh = !locals.contains(&candidate.local.at);
            let remote_fresh = !remotes.contains(&candidate.remote.at);
            let wanted = if both_fresh { local_fresh && remote_fresh } else { local_fresh || remote_fresh };
            if wanted {
                locals.insert(candidate.local.at);
                remotes.insert(candidate.remote.at);
                kept.insert(at);
            }
        }
    }
    for (at, candidate) in candidates.iter_mut().enumerate() {
        if candidate.rule.is_none() && !kept.contains(&at) {
            candidate.exclude(Rule::Spread);
        }
    }
}

fn connections(candidates: &mut [Candidate<'_>]) {
    let mut left = SERVER_CONNECTIONS_MAX;
    for candidate in open(candidates) {
        let class = candidate.class();
        let wanted = match class {
            Class::Rdma => RDMA_CONNECTIONS,
            Class::Rss => RSS_CONNECTIONS,
            Class::Plain => 1,
        };
        if left == 0 {
            candidate.exclude(Rule::ConnectionLimit { limit: SERVER_CONNECTIONS_MAX });
            continue;
        }
        candidate.connections = wanted.min(left);
        left -= candidate.connections;
        candidate.rule = Some(Rule::Best { class: class.name() });
    }
}
