//! NICs of one host that share traffic but are set to different MTUs.
//!
//! SMB Multichannel spreads one file over all the pairs that it chooses: what passes whole over one of them has to be cut for the
//! other, and a setting that was forgotten on the second NIC shows nowhere else, because each pair alone is in order.
//! Only pairs that SMB would use together and that were measured to reach each other count: a management NIC at 1500 beside
//! storage NICs at 9000 is as it should be.

use std::collections::BTreeMap;

use pathproof_model::finding::Commands;
use pathproof_model::{Environment, Finding, MtuPath, NodeId, Numbers};
use serde_json::json;

use super::context::Context;
use crate::channels::packet_path::is_tunnel;
use crate::channels::{ChannelNic, Question, Rules, predict};

/// The finding, if there is one.
pub(super) fn differ(paths: &[MtuPath], context: Context<'_>) -> Option<Finding> {
    let (client, server) = (context.client?, context.server?);
    let nics = |host: &Environment| -> Vec<ChannelNic> {
        // By one that leads nowhere no packet goes, whatever it is set to: its addresses are reached over the others. A tunnel must be smaller than
        // what carries it.
        let own = host.nics.iter().filter(|nic| !nic.leads_nowhere() && !is_tunnel(nic));
        own.map(ChannelNic::from_observed).filter(|nic| !nic.is_loopback()).collect()
    };
    let chosen = predict(&nics(client), &nics(server), &Question::new(Rules::Windows)).pairs;
    let reached = |local: &str, remote: &str| {
        paths.iter().any(|path| {
            path.proven_ip_bytes.is_some()
                && path.local_nic == local
                && path.remote_nic.as_deref() == Some(remote)
        })
    };
    let together = || {
        chosen
            .iter()
            .filter(|pair| pair.chosen && reached(&pair.local_nic, &pair.remote_nic))
            .map(|pair| (pair.local_nic.as_str(), pair.remote_nic.as_str()))
    };
    let here = settings(client, together().map(|(local, _)| local));
    let there = settings(server, together().map(|(_, remote)| remote));
    let (mut says, mut does) = (Vec::new(), Vec::new());
    let largest = here.values().chain(there.values()).max().copied()?;
    let mut commands = Commands::new();
    let ends = [
        (&here, "this host's", "here", NodeId::CLIENT),
        (&there, "the peer's", "at the peer", NodeId::SERVER),
    ];
    for (settings, whose, at, node) in ends {
        if settings.values().all(|mtu| Some(mtu) == settings.values().next()) {
            continue;
        }
        let each: Vec<String> = settings.iter().map(|(nic, mtu)| format!("{nic} is set to {mtu}")).collect();
        says.push(format!("{whose} {}", each.join(", ")));
        let low = settings.iter().filter(|(_, mtu)| **mtu < largest);
        for (nic, _) in low {
            commands = commands.at(node, "ip link set dev {} mtu {}", &[nic, &largest.to_string()]);
            does.push(format!("ip link set dev {nic} mtu {largest} {at}"));
        }
    }
    if says.is_empty() {
        return None;
    }
    let evidence = format!("{}, and SMB Multichannel would use them together", says.join("; "));
    let next = format!(
        "Give them the same MTU: {} (Windows: Jumbo Packet {}), if every switch port on that side carries it; otherwise lower \
         the others.",
        does.join(", "),
        Numbers::from_ip_mtu(largest).windows_jumbo_packet_bytes
    );
    let lead =
        format!("{next} The former, and then pathproof mtu once more, because a switch port may be smaller:");
    let next = commands.advice("MTU-NICS-DIFFER", &lead).unwrap_or(next);
    Some(
        Finding::new("MTU-NICS-DIFFER", evidence)
            .with_next(next)
            .with("client", json!(here))
            .with("server", json!(there)),
    )
}

/// What the NICs of these names are set to.
fn settings<'a>(host: &Environment, names: impl Iterator<Item = &'a str>) -> BTreeMap<String, u32> {
    let of = |name: &str| host.nics.iter().find(|nic| nic.name == name)?.ip_mtu_bytes;
    names.filter_map(|name| Some((name.to_owned(), of(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Direction, MtuLimit, Nic, NicAddress};

    /// A host whose NICs are named, set to an MTU, fast or not, and addressed in subnets of their own.
    fn host(end: u8, nics: &[(&str, u32, Option<u64>)]) -> Environment {
        let nic = |(subnet, (name, mtu, speed)): (usize, &(&str, u32, Option<u64>))| Nic {
            name: (*name).into(),
            index: subnet as u32 + 2,
            up: Some(true),
            carrier: Some(true),
            ip_mtu_bytes: Some(*mtu),
            speed_bits_per_s: *speed,
            addresses: vec![NicAddress { address: [10, 0, subnet as u8, end].into(), prefix_len: 24 }],
            ..Nic::default()
        };
        Environment { nics: nics.iter().enumerate().map(nic).collect(), ..Environment::default() }
    }

    fn found(client: &Environment, server: &Environment) -> Option<Finding> {
        let path = |at: usize| MtuPath {
            local_nic: client.nics[at].name.clone(),
            remote_nic: Some(server.nics[at].name.clone()),
            local_address: client.nics[at].addresses[0].address,
            remote_address: server.nics[at].addresses[0].address,
            family: 4,
            direction: Direction::Out,
            method: pathproof_model::MtuMethod::Agent,
            ip_mtu_bytes: client.nics[at].ip_mtu_bytes,
            limit: MtuLimit::None,
            numbers: None,
            proven_ip_bytes: client.nics[at].ip_mtu_bytes,
            reason: None,
            local_ip_mtu_bytes: client.nics[at].ip_mtu_bytes,
            remote_ip_mtu_bytes: server.nics[at].ip_mtu_bytes,
            cached_ip_mtu_bytes: None,
            route: None,
            routers: Vec::new(),
            largest_fragment_bytes: None,
            throttled: false,
            fitting_sent: 2,
            fitting_lost: 0,
            probes: 2,
            loss_rounds: 0,
            fragments: None,
            elapsed_ns: 1,
            tried: Vec::new(),
        };
        let paths: Vec<MtuPath> = (0..client.nics.len()).map(path).collect();
        let context = Context { client: Some(client), server: Some(server), ..Context::default() };
        differ(&paths, context)
    }

    #[test]
    fn a_forgotten_setting_on_the_second_nic_is_found_with_the_command() {
        let nics = [("eth1", 9000, None), ("eth2", 1500, None)];
        let finding = found(&host(1, &nics), &host(2, &nics)).unwrap();
        assert_eq!(finding.code, "MTU-NICS-DIFFER");
        assert!(
            finding.evidence.contains("this host's eth1 is set to 9000, eth2 is set to 1500"),
            "{}",
            finding.evidence
        );
        assert!(finding.next.contains("ip link set dev eth2 mtu 9000 here"), "{}", finding.next);
        assert!(finding.next.contains("ip link set dev eth2 mtu 9000 at the peer"), "{}", finding.next);
    }

    #[test]
    fn equal_nics_and_a_slow_management_nic_are_as_they_should_be() {
        let equal = [("eth1", 9000, None), ("eth2", 9000, None)];
        assert_eq!(found(&host(1, &equal), &host(2, &equal)), None);
        let managed = [("mgmt", 1500, Some(1_000_000_000)), ("sto1", 9000, Some(25_000_000_000))];
        assert_eq!(found(&host(1, &managed), &host(2, &managed)), None);
    }

    #[test]
    fn what_leads_nowhere_and_what_another_nic_carries_is_not_set_like_the_nics() {
        // As hosts that take part in routing have it: the paths to and from the address of loopback were measured, over the other NICs. And an overlay,
        // which has room for less by what its header takes.
        for (kind, ip_mtu_bytes) in [("loopback", 65536), ("dummy", 9000), ("vxlan", 1450), ("gre", 1476)] {
            let with_own = |end| {
                let mut host = host(end, &[("e0", 1500, None), ("own", ip_mtu_bytes, None)]);
                host.nics[1].kind = Some(kind.into());
                host
            };
            assert_eq!(found(&with_own(1), &with_own(2)), None, "{kind}");
        }
        // A NIC that is set so is another thing.
        let nics = [("e0", 1500, None), ("e1", 65536, None)];
        assert!(found(&host(1, &nics), &host(2, &nics)).is_some());
    }
}
