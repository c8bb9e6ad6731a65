//! cifs.ko (`fs/smb/client/sess.c`): it sorts the *server's* list, leaves the local NIC to the routing table,
//! and uses every NIC of the class in proportion to its speed.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::ASSUMED_BITS_PER_S;
use super::candidates::{Candidate, match_len};
use super::rule::Rule;

/// Decides every candidate that is still open.
pub(super) fn choose(candidates: &mut [Candidate<'_>], channels_max: u32) {
    follow_the_routes(candidates);
    let first = primary(candidates);
    one_kind(candidates);
    if candidates.iter().any(|c| c.rule.is_none()) {
        hand_out(candidates, channels_max);
    } else if let Some(first) = first {
        // Nothing to add: what remains is the connection that the mount itself made.
        candidates[first].rule = Some(Rule::OnlyConnection);
        candidates[first].connections = 1;
    }
}

/// The kernel picks the local end: longest prefix, then the lower interface.
fn follow_the_routes(candidates: &mut [Candidate<'_>]) {
    let mut routes: BTreeMap<std::net::IpAddr, (Reverse<u8>, usize, std::net::IpAddr, String)> =
        BTreeMap::new();
    for candidate in candidates.iter().filter(|c| c.rule.is_none()) {
        let key = (
            Reverse(match_len(candidate)),
            candidate.local.at,
            candidate.local.address.address,
            candidate.local.nic.name.clone(),
        );
        let entry = routes.entry(candidate.remote.address.address).or_insert_with(|| key.clone());
        if key < *entry {
            *entry = key;
        }
    }
    for candidate in candidates.iter_mut().filter(|c| c.rule.is_none()) {
        let (_, at, address, name) = &routes[&candidate.remote.address.address];
        if *at != candidate.local.at {
            candidate.exclude(Rule::RoutedElsewhere { by: name.clone() });
        } else if *address != candidate.local.address.address {
            let better = format!("{address} to {}", candidate.remote.address.address);
            candidate.exclude(Rule::BetterAddress { better });
        }
    }
}

fn server_speed(candidate: &Candidate<'_>) -> u64 {
    candidate.remote.nic.speed_bits_per_s.unwrap_or(ASSUMED_BITS_PER_S)
}

/// Open candidates in cifs.ko's order: RDMA, RSS, speed, address.
fn order(candidates: &[Candidate<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).filter(|&at| candidates[at].rule.is_none()).collect();
    order.sort_by_key(|&at| {
        let candidate = &candidates[at];
        let nic = candidate.remote.nic;
        (!nic.rdma, !nic.rss, Reverse(server_speed(candidate)), candidate.remote.address, at)
    });
    order
}

fn primary(candidates: &[Candidate<'_>]) -> Option<usize> {
    order(candidates).first().copied()
}

/// The mount is over RDMA when some pair can do it (`-o rdma`), else over TCP; NICs of the other kind are
/// passed over.
fn one_kind(candidates: &mut [Candidate<'_>]) {
    let mount_is_rdma = candidates.iter().any(|c| c.rule.is_none() && c.rdma());
    for candidate in candidates.iter_mut().filter(|c| c.rule.is_none()) {
        let fits = if mount_is_rdma { candidate.rdma() } else { !candidate.remote.nic.rdma };
        if !fits {
            candidate.exclude(Rule::RdmaNotMixed { mount_is_rdma });
        }
    }
}

/// Round after round in sorted order, as many to each as its weight; one in all to a NIC without RSS.
fn hand_out(candidates: &mut [Candidate<'_>], channels_max: u32) {
    let order = order(candidates);
    let slowest = order.iter().map(|&at| server_speed(&candidates[at])).min().unwrap_or(1).max(1);
    let mut left = channels_max;
    loop {
        let before = left;
        for &at in &order {
            let candidate = &mut candidates[at];
            let weight = u32::try_from(server_speed(candidate) / slowest).unwrap_or(u32::MAX);
            let wanted = match (candidate.remote.nic.rss, candidate.connections) {
                (true, _) => weight,
                (false, 0) => 1,
                (false, _) => 0,
            };
            let given = wanted.min(left);
            candidate.connections += given;
            left -= given;
        }
        if left == 0 || left == before {
            break;
        }
    }
    for &at in &order {
        let weight = server_speed(&candidates[at]) / slowest;
        let candidate = &mut candidates[at];
        match candidate.connections {
            0 => candidate.exclude(Rule::ConnectionLimit { limit: channels_max }),
            _ => candidate.rule = Some(Rule::Weighted { weight }),
        }
    }
}
