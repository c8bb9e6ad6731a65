//! SMB Multichannel's own choice of NIC pairs as a pure function of two interface lists.
//!
//! Three sets of rules: [`Rules::Windows`] (MS-SMB2 §3.2.5.14.11 with its product notes), [`Rules::Linux`]
//! (what cifs.ko does) and [`Rules::Manual`]. Every pair of addresses of one family comes out either chosen
//! or with the rule that excluded it, so that "why not this one" always has an answer. Nothing here asks a
//! system for anything: who reaches whom is part of the input.
//!
//! Where the published rules leave a choice open (which of several equal pairs a Windows client takes), the
//! choice made here is deterministic and independent of the order of the lists, and the answers say so.

mod answers;
mod candidates;
mod findings;
pub mod hosts;
mod linux;
mod nic;
pub mod packet_path;
mod rule;
mod windows;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use pathproof_model::channels::Rules;
use pathproof_model::{ChannelPair, Channels, Side, UnusedNic};

use candidates::Candidate;
pub use findings::findings;
pub use nic::{ChannelAddress, ChannelNic, Prefix, common_bits};
pub use rule::Rule;

/// Connections that a Windows client opens over one pair of RDMA NICs.
pub const RDMA_CONNECTIONS: u32 = 2;
/// Connections that a Windows client opens over one pair of RSS NICs (ConnectionCountPerRssNetworkInterface).
pub const RSS_CONNECTIONS: u32 = 4;
/// MaximumConnectionCountPerServer of Windows clients, and the channels that servers allow per session.
pub const SERVER_CONNECTIONS_MAX: u32 = 32;
/// Most channels that cifs.ko takes (`max_channels`).
pub const LINUX_CHANNELS_MAX: u32 = 16;
/// The speed that cifs.ko and ksmbd assume where none is known.
pub const ASSUMED_BITS_PER_S: u64 = 1_000_000_000;

/// What is to be predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose rules.
    pub rules: Rules,
    /// Only these local NICs, by name (`New-SmbMultichannelConstraint`); empty means all.
    pub constrain: Vec<String>,
}

impl Question {
    /// The rules without a constraint.
    pub fn new(rules: Rules) -> Question {
        Question { rules, constrain: Vec::new() }
    }
}

/// Predicts the choice for a client with the NICs `local` towards a server with the NICs `remote`.
pub fn predict(local: &[ChannelNic], remote: &[ChannelNic], question: &Question) -> Channels {
    let local = sorted(local);
    let remote = sorted(remote);
    let candidates = decide(&local, &remote, question);
    let mut channels = Channels {
        policy: question.rules.name().into(),
        class: class(&candidates),
        connections: candidates.iter().map(|c| c.connections).sum(),
        speed_bits_per_s: speed(&candidates),
        pairs: pairs(&candidates),
        reverse_pairs: Vec::new(),
        unused: unused(Side::Local, &local, &candidates, |c| c.local.nic),
        answers: Vec::new(),
        packet_paths: Vec::new(),
    };
    channels.unused.extend(unused(Side::Remote, &remote, &candidates, |c| c.remote.nic));
    channels.answers = answers::answer(&local, &remote, &candidates, question, &channels);
    channels
}

/// Every candidate with its rule.
fn decide<'a>(local: &'a [ChannelNic], remote: &'a [ChannelNic], question: &Question) -> Vec<Candidate<'a>> {
    let mut candidates = candidates::all(local, remote, question);
    match &question.rules {
        Rules::Windows => windows::choose(&mut candidates),
        Rules::Linux { channels } => linux::choose(&mut candidates, (*channels).clamp(1, LINUX_CHANNELS_MAX)),
        Rules::Manual { pairs } => choose_named(&mut candidates, pairs),
    }
    candidates
}

/// NICs in an order that does not depend on the list's.
fn sorted(nics: &[ChannelNic]) -> Vec<ChannelNic> {
    let mut nics = nics.to_vec();
    for nic in &mut nics {
        nic.addresses.sort();
        nic.addresses.dedup();
    }
    nics.sort();
    nics.dedup();
    nics
}

fn choose_named(candidates: &mut [Candidate<'_>], named: &[(String, String)]) {
    for candidate in candidates.iter_mut().filter(|c| c.rule.is_none()) {
        let matches = |(local, remote): &(String, String)| {
            candidate.local.is_called(local) && candidate.remote.is_called(remote)
        };
        match named.iter().filter(|pair| matches(pair)).count() {
            0 => candidate.exclude(Rule::NotNamed),
            times => {
                candidate.connections = times as u32;
                candidate.rule = Some(Rule::Named);
            }
        }
    }
}

fn class(candidates: &[Candidate<'_>]) -> Option<String> {
    let mut chosen = candidates.iter().filter(|c| c.chosen()).peekable();
    chosen.peek()?;
    let class = chosen.map(Candidate::class).min()?;
    Some(class.name().into())
}

/// What the chosen NICs can carry together. A NIC in two pairs counts once, so this is the smaller of both
/// ends' sums and not the sum over pairs.
fn speed(candidates: &[Candidate<'_>]) -> Option<u64> {
    let mut ends: [BTreeMap<usize, u64>; 2] = Default::default();
    for candidate in candidates.iter().filter(|c| c.chosen()) {
        ends[0].insert(candidate.local.at, candidate.local.nic.speed_bits_per_s?);
        ends[1].insert(candidate.remote.at, candidate.remote.nic.speed_bits_per_s?);
    }
    let sums = ends.map(|end| end.values().fold(0u64, |sum, speed| sum.saturating_add(*speed)));
    let sum = sums[0].min(sums[1]);
    (sum > 0).then_some(sum)
}

fn pairs(candidates: &[Candidate<'_>]) -> Vec<ChannelPair> {
    let (chosen, others): (Vec<_>, Vec<_>) = candidates.iter().partition(|c| c.chosen());
    chosen.into_iter().chain(others).map(Candidate::pair).collect()
}

fn unused<'a>(
    end: Side,
    nics: &'a [ChannelNic],
    candidates: &[Candidate<'a>],
    nic_of: impl Fn(&Candidate<'a>) -> &'a ChannelNic,
) -> Vec<UnusedNic> {
    let mut out = Vec::new();
    for nic in nics {
        // Loopback carries no storage traffic between hosts; that it is idle surprises nobody.
        if nic.is_loopback() {
            continue;
        }
        let own: Vec<_> = candidates.iter().filter(|c| std::ptr::eq(nic_of(c), nic)).collect();
        if own.iter().any(|c| c.chosen()) {
            continue;
        }
        let reasons: BTreeSet<String> = own.iter().map(|c| c.reason()).collect();
        let reason = if let Some(why) = &nic.unusable {
            why.clone()
        } else if nic.addresses.is_empty() {
            "it has no address".into()
        } else if reasons.is_empty() {
            "the other end has no address of its family".into()
        } else {
            reasons.into_iter().collect::<Vec<_>>().join("; ")
        };
        out.push(UnusedNic { end, nic: nic.name.clone(), reason });
    }
    out
}
