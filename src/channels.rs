//! Brings the NICs of two hosts into the form that Multichannel's rules look at, and the prediction into a
//! result document.

use std::net::IpAddr;

use pathproof_engine::channels::{ChannelNic, Prefix, Question, Rule, Rules, findings, predict};
use pathproof_model::{ChannelPair, Channels, Environment, NodeId, ResultDoc};

/// The NICs of a host, without loopback: between two hosts it leads nowhere, though both have its addresses. A host may
/// say anything of itself, so an address that no other host can have is none.
pub fn nics(environment: &Environment) -> Vec<ChannelNic> {
    let mut nics: Vec<_> = environment.nics.iter().map(ChannelNic::from_observed).collect();
    nics.retain(|nic| !nic.is_loopback());
    nics.iter_mut().for_each(|nic| nic.addresses.retain(|a| may_be_dialled(a.address)));
    nics
}

/// Whether an address may be that of another host: one host's, and not this host itself.
fn may_be_dialled(address: IpAddr) -> bool {
    let nobodys = match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.octets()[0] == 0 || v4.octets()[0] >= 240,
        IpAddr::V6(_) => false,
    };
    let address = address.to_canonical();
    !(nobodys || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

/// This host's NICs, with the subnets that its routers reach; with loopback where the peer is this host too.
pub fn local_nics(environment: &Environment, peer_is_here: bool) -> Vec<ChannelNic> {
    let mut nics = nics(environment);
    if peer_is_here {
        let all = environment.nics.iter().map(ChannelNic::from_observed);
        nics.extend(all.filter(ChannelNic::is_loopback));
    }
    for subnet in pathproof_sys::routes::via_routers() {
        if let Some(nic) = nics.iter_mut().find(|nic| nic.index == subnet.interface) {
            nic.routes.push(Prefix { address: subnet.address, len: subnet.prefix_len });
        }
    }
    nics
}

/// One way from a client's NIC to a server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Address that the client binds to.
    pub local: IpAddr,
    /// Its NIC.
    pub nic: String,
    /// Address of the server.
    pub remote: IpAddr,
}

/// All ways between two hosts that share a subnet, the best first; SMB would not use all of them.
pub fn ways(client: &Environment, server: &Environment) -> Vec<Way> {
    const NONE: [Rule; 4] =
        [Rule::RemoteUnindexed, Rule::RemoteLinkLocal, Rule::LinkLocalMismatch, Rule::Unreachable];
    let leads_nowhere = |rule: &str| {
        rule.ends_with("-unusable") || rule.ends_with("-link-local") || NONE.iter().any(|r| r.word() == rule)
    };
    let channels = predict(&nics(client), &nics(server), &Question::new(Rules::Windows));
    let usable = |pair: &ChannelPair| {
        let link_local = matches!(pair.remote, IpAddr::V6(v6) if v6.is_unicast_link_local());
        !link_local && !leads_nowhere(&pair.rule)
    };
    let pairs = channels.pairs.into_iter().filter(usable);
    pairs.map(|pair| Way { local: pair.local, nic: pair.local_nic, remote: pair.remote }).collect()
}

/// Predicts both directions between two pathproof hosts.
pub fn between(local: &[ChannelNic], remote: &[ChannelNic], question: &Question) -> Channels {
    let mut channels = predict(local, remote, question);
    // A constraint is the client's own affair; the other host as a client has none.
    let free = Question::new(question.rules.clone());
    channels.reverse_pairs = predict(remote, local, &free).pairs;
    channels
}

/// Adds the prediction under Windows' rules to the document of a check between two hosts. It is shown, not judged:
/// a path that is measured and fit is fit, whatever SMB would make of the hosts' other NICs.
pub fn predict_into(doc: &mut ResultDoc) {
    let hosts = (doc.environment(NodeId::CLIENT), doc.environment(NodeId::SERVER));
    let (Some(local), Some(remote), false) = (hosts.0, hosts.1, doc.is_against_itself()) else { return };
    let question = Question::new(Rules::Windows);
    let channels = between(&local_nics(local, false), &nics(remote), &question);
    if channels.pairs.iter().any(|pair| pair.chosen) {
        doc.findings.extend(findings(&channels));
        doc.channels = Some(channels);
    }
}

#[cfg(test)]
mod tests {
    use pathproof_model::{Nic, NicAddress};

    use super::*;

    #[test]
    fn t19_what_a_peer_says_of_its_addresses_leads_to_nobody_else() {
        let host = |addresses: &[&str]| {
            let of = |a: &&str| NicAddress { address: a.parse().unwrap(), prefix_len: 0 };
            let nic = Nic {
                name: "e1".into(),
                index: 2,
                addresses: addresses.iter().map(of).collect(),
                ..Nic::default()
            };
            Environment { nics: vec![nic], ..Environment::default() }
        };
        let here = host(&["10.0.0.1", "fd00::1"]);
        let hostile = [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "ff02::1",
            "::ffff:127.0.0.1",
        ];
        assert_eq!(ways(&here, &host(&hostile)), []);
        assert_eq!(nics(&host(&hostile))[0].addresses, []);
        assert!(!ways(&here, &host(&["10.0.0.2"])).is_empty(), "an honest one stays");
    }
}
