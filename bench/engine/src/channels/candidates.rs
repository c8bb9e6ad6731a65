//! All pairs of addresses, with the exclusions that every policy shares already applied.

use std::cmp::Reverse;

use pathproof_model::{ChannelPair, ChannelRule};

use super::nic::{ChannelAddress, ChannelNic, Prefix, common_bits, is_link_local, precedence};
use super::rule::Rule;
use super::{Question, Rules};

/// What a pair can do; the better first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Rdma,
    Rss,
    Plain,
}

impl Class {
    pub(super) fn name(self) -> &'static str {
        match self {
            Class::Rdma => "rdma",
            Class::Rss => "rss",
            Class::Plain => "plain",
        }
    }
}

/// One end of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct PairEnd<'a> {
    /// Position of the NIC in its sorted list: its identity.
    pub(super) at: usize,
    pub(super) nic: &'a ChannelNic,
    pub(super) address: ChannelAddress,
}

impl PairEnd<'_> {
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.nic.name == name || self.address.address.to_string() == name
    }
}

/// One pair of addresses and what has been decided about it. `rule` is `None` while undecided.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) local: PairEnd<'a>,
    pub(super) remote: PairEnd<'a>,
    /// Reached through a router rather than on the link.
    routed: bool,
    pub(super) rule: Option<Rule>,
    pub(super) connections: u32,
}

impl Candidate<'_> {
    pub(super) fn exclude(&mut self, rule: Rule) {
        self.rule = Some(rule);
        self.connections = 0;
    }

    pub(super) fn chosen(&self) -> bool {
        self.rule.as_ref().is_some_and(Rule::chooses)
    }

    /// Speed of the slower end; of the other end where one is unknown.
    pub(super) fn speed_bits_per_s(&self) -> Option<u64> {
        match (self.local.nic.speed_bits_per_s, self.remote.nic.speed_bits_per_s) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    pub(super) fn rss(&self) -> bool {
        self.local.nic.rss && self.remote.nic.rss
    }

    pub(super) fn rdma(&self) -> bool {
        self.local.nic.rdma && self.remote.nic.rdma
    }

    pub(super) fn class(&self) -> Class {
        match (self.rdma(), self.rss()) {
            (true, _) => Class::Rdma,
            (false, true) => Class::Rss,
            (false, false) => Class::Plain,
        }
    }

    /// Order of address suitability: on the link before routed, RFC 6724 precedence, longest common prefix;
    /// then NICs and addresses, so that no two pairs are equal.
    pub(super) fn suitability(&self) -> impl Ord + use<> {
        let (local, remote) = (self.local.address.address, self.remote.address.address);
        (
            self.routed,
            Reverse(precedence(remote)),
            Reverse(common_bits(local, remote)),
            self.local.at,
            self.remote.at,
            local,
            remote,
        )
    }

    pub(super) fn addresses(&self) -> String {
        format!("{} to {}", self.local.address.address, self.remote.address.address)
    }

    pub(super) fn reason(&self) -> String {
        let Some(rule) = &self.rule else { return "undecided".into() };
        let mut reason = rule.sentence();
        if self.chosen() && self.routed {
            reason.push_str("; through a router, not on the link");
        }
        reason
    }

    pub(super) fn pair(&self) -> ChannelPair {
        ChannelPair {
            local: self.local.address.address,
            remote: self.remote.address.address,
            local_nic: self.local.nic.name.clone(),
            remote_nic: self.remote.nic.name.clone(),
            speed_bits_per_s: self.speed_bits_per_s(),
            rss: self.rss(),
            rdma: self.rdma(),
            chosen: self.chosen(),
            connections: self.connections,
            rule: self.rule.as_ref().map_or(ChannelRule::Undecided, Rule::name),
            reason: self.reason(),
        }
    }
}

/// Every pair of one family, in a fixed order. A loopback address of this host meets only loopback addresses.
pub(super) fn all<'a>(
    local: &'a [ChannelNic],
    remote: &'a [ChannelNic],
    question: &Question,
) -> Vec<Candidate<'a>> {
    let mut out = Vec::new();
    for (local_at, local_nic) in local.iter().enumerate() {
        for &local_address in &local_nic.addresses {
            for (remote_at, remote_nic) in remote.iter().enumerate() {
                for &remote_address in &remote_nic.addresses {
                    let (l, r) = (local_address.address, remote_address.address);
                    if l.is_ipv4() != r.is_ipv4() || (l.is_loopback() && !r.is_loopback()) {
                        continue;
                    }
                    let local = PairEnd { at: local_at, nic: local_nic, address: local_address };
                    let remote = PairEnd { at: remote_at, nic: remote_nic, address: remote_address };
                    let reach = reach(&local, &remote);
                    let rule = first_exclusion(&local, &remote, reach, question);
                    let routed = reach == Reach::Routed;
                    out.push(Candidate { local, remote, routed, rule, connections: 0 });
                }
            }
        }
    }
    out.sort_by_key(Candidate::suitability);
    out
}

fn first_exclusion(
    local: &PairEnd<'_>,
    remote: &PairEnd<'_>,
    reach: Reach,
    question: &Question,
) -> Option<Rule> {
    let constrain = &question.constrain;
    if !constrain.is_empty() && !constrain.iter().any(|name| local.is_called(name)) {
        return Some(Rule::Constrained);
    }
    if remote.nic.index == 0 {
        return Some(Rule::RemoteUnindexed);
    }
    if let Some(why) = &local.nic.unusable {
        return Some(Rule::LocalUnusable(why.clone()));
    }
    if let Some(why) = &remote.nic.unusable {
        return Some(Rule::RemoteUnusable(why.clone()));
    }
    // The user may join whatever is reachable; SMB's own rules drop link-local addresses first.
    if !matches!(question.rules, Rules::Manual { .. }) {
        let link_local = (is_link_local(local.address.address), is_link_local(remote.address.address));
        if link_local.1 && remote.nic.has_routable() {
            return Some(Rule::RemoteLinkLocal);
        }
        if link_local.0 && local.nic.has_routable() {
            return Some(Rule::LocalLinkLocal);
        }
        if link_local.0 != link_local.1 {
            return Some(Rule::LinkLocalMismatch);
        }
    }
    (reach == Reach::No).then_some(Rule::Unreachable)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    OnLink,
    Routed,
    No,
}

/// Whether packets from one address get to the other, as far as subnets and routes tell.
fn reach(local: &PairEnd<'_>, remote: &PairEnd<'_>) -> Reach {
    let (from, to) = (local.address.address, remote.address.address);
    if from.is_loopback() != to.is_loopback() {
        return Reach::No;
    }
    if is_link_local(from) || is_link_local(to) {
        // Link-local addresses prove nothing about the link being shared, and nothing against it.
        return if is_link_local(from) && is_link_local(to) { Reach::OnLink } else { Reach::No };
    }
    let own = local.address.prefix_len.map(|len| Prefix { address: from, len });
    let theirs = remote.address.prefix_len.map(|len| Prefix { address: to, len });
    if own.is_some_and(|own| own.contains(to)) {
        // The answer has to come back too: a peer with a narrower prefix sends it to its router.
        let back = theirs.is_none_or(|theirs| theirs.contains(from));
        return if back || routes_cover(remote.nic, from) { Reach::OnLink } else { Reach::No };
    }
    if routes_cover(local.nic, to) { Reach::Routed } else { Reach::No }
}

fn routes_cover(nic: &ChannelNic, address: std::net::IpAddr) -> bool {
    nic.routes.iter().any(|route| route.contains(address))
}

/// Length of the longest subnet or route by which the local NIC covers the remote address.
pub(super) fn match_len(candidate: &Candidate<'_>) -> u8 {
    let to = candidate.remote.address.address;
    let nic = candidate.local.nic;
    let own = nic
        .addresses
        .iter()
        .filter_map(|a| a.prefix_len.map(|len| Prefix { address: a.address, len }))
        .filter(|prefix| prefix.contains(to));
    own.chain(nic.routes.iter().copied().filter(|route| route.contains(to)))
        .map(|prefix| prefix.len)
        .max()
        .unwrap_or(0)
}
