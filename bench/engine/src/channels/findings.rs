//! What is worth a warning in a prediction.

use pathproof_model::{ChannelPair, ChannelRule, Channels, Finding, Severity, Side};

/// A pair of NICs that are so many times slower than those in use is there for something else: management beside storage.
const OF_ANOTHER_SORT: u64 = 4;

/// Findings about `channels`. A NIC in another subnet is no finding: management NICs are meant to be elsewhere.
pub fn findings(channels: &Channels) -> Vec<Finding> {
    findings_with(channels, &|_, _| None)
}

/// The same, where it is known how fast the NICs of each end are.
pub(super) fn findings_with(channels: &Channels, speed: &dyn Fn(Side, &str) -> Option<u64>) -> Vec<Finding> {
    let mut out = Vec::new();
    if !channels.pairs.iter().any(|pair| pair.chosen) {
        let seen = channels.pairs.len();
        out.push(Finding::new("CHANNEL-NONE", format!("{seen} pairs of addresses, none usable")));
    }
    if let Some(pair) = channels.pairs.iter().find(|pair| pair.rule == ChannelRule::RoutedElsewhere) {
        let evidence = format!("{} to {}: {}", pair.local, pair.remote, pair.reason);
        out.push(Finding::new("CHANNEL-ONE-ROUTE", evidence));
    }
    if let Some((one, other)) = cross_pair(&channels.pairs) {
        let evidence =
            format!("{} to {} is as good as {} to {}", one.local, one.remote, other.local, other.remote);
        out.push(Finding::new("CHANNEL-CROSS-PAIRS", evidence));
    }
    for nic in &channels.unused {
        let of_nic = |pair: &&ChannelPair| match nic.end {
            Side::Local => pair.local_nic == nic.nic,
            Side::Remote => pair.remote_nic == nic.nic,
        };
        // A NIC that has nothing but the address of its own link was not set up to carry this.
        let set_up = |pair: &ChannelPair| {
            let own = match nic.end {
                Side::Local => pair.local,
                Side::Remote => pair.remote,
            };
            !matches!(own, std::net::IpAddr::V6(own) if own.is_unicast_link_local())
        };
        let by_rank = |pair: &ChannelPair| {
            use ChannelRule::{ClassOutranked, RdmaNotMixed, Slower};
            matches!(pair.rule, ClassOutranked | Slower | RdmaNotMixed) && set_up(pair)
        };
        let mut ranked = channels.pairs.iter().filter(of_nic).filter(|pair| by_rank(pair)).peekable();
        if ranked.peek().is_some() {
            let evidence = format!("{} ({}): {}", nic.nic, nic.end.name(), nic.reason);
            let finding = Finding::new("CHANNEL-NIC-IDLE", evidence);
            let meant = ranked.all(|pair| is_of_another_sort(channels, pair, speed));
            out.push(if meant { finding.with_severity(Severity::Info) } else { finding });
        }
    }
    out
}

/// Whether both ends of a pair are as slow, and far slower than what is in use. One end alone may have fallen back to a lower speed.
fn is_of_another_sort(
    channels: &Channels,
    pair: &ChannelPair,
    speed: &dyn Fn(Side, &str) -> Option<u64>,
) -> bool {
    let ends = (speed(Side::Local, &pair.local_nic), speed(Side::Remote, &pair.remote_nic));
    let in_use =
        channels.pairs.iter().filter(|pair| pair.chosen).filter_map(|pair| pair.speed_bits_per_s).max();
    match (ends, in_use) {
        ((Some(one), Some(other)), Some(best)) => one == other && one.saturating_mul(OF_ANOTHER_SORT) <= best,
        _ => false,
    }
}

/// A pair that was left out only because both its NICs are in use, beside one that was taken.
fn cross_pair(pairs: &[ChannelPair]) -> Option<(&ChannelPair, &ChannelPair)> {
    let one = pairs.iter().find(|pair| pair.rule == ChannelRule::Spread)?;
    let other = pairs.iter().find(|pair| pair.chosen && pair.local_nic == one.local_nic)?;
    Some((one, other))
}
