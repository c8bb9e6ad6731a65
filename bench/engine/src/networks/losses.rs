//! Networks that are lost on purpose: which are meant, and what it came to.

use pathproof_model::units::Nanoseconds;
use pathproof_model::{
    Criteria, End, Failover, Finding, FollowUp, MigrationLoss, Network, NetworkLoss, NetworkNic, NodeId,
    ResultDoc, Step, StepSpec, TrafficSpec,
};

/// The word for every network.
const ALL: &str = "all";

/// The networks that are meant by their subnets, by NICs of this host, or by `all`, each once; a sentence where one is none of them.
pub fn named<'a>(networks: &[&'a Network], names: &[String]) -> Result<Vec<&'a Network>, String> {
    let is = |network: &Network, name: &str| {
        let subnets = std::iter::once(&network.subnet).chain(&network.also);
        subnets.into_iter().any(|subnet| subnet == name) || own(network).any(|nic| nic.nic == name)
    };
    if let Some(unknown) = names.iter().find(|name| *name != ALL && !networks.iter().any(|one| is(one, name)))
    {
        let told: Vec<String> = networks.iter().map(|one| words(one)).collect();
        return Err(format!(
            "{unknown} is none of the networks that both hosts share and have up: {}",
            if told.is_empty() { "there are none".into() } else { told.join(", ") }
        ));
    }
    let meant = |network: &&&Network| names.iter().any(|name| name == ALL || is(network, name));
    Ok(networks.iter().filter(meant).copied().collect())
}

fn own(network: &Network) -> impl Iterator<Item = &NetworkNic> {
    network.nics.iter().filter(|nic| nic.node == NodeId::CLIENT)
}

fn words(network: &Network) -> String {
    let nics: Vec<&str> = own(network).map(|nic| nic.nic.as_str()).collect();
    format!("{} ({})", network.subnet, nics.join(", "))
}

/// Puts into the networks of a document what their losses came to, and says where that was too long.
pub fn rehearsed(doc: &mut ResultDoc) -> Vec<Finding> {
    let Some(mut networks) = doc.networks.take() else { return vec![] };
    let usable: Vec<String> =
        networks.iter().filter(|one| one.up != Some(false)).map(|one| one.subnet.clone()).collect();
    let order: Vec<Network> = migration_order(&networks).into_iter().cloned().collect();
    for step in &doc.steps {
        let Some(why @ (FollowUp::Loss | FollowUp::Migration)) = step.follows_up else { continue };
        let Some(nic) = step.spec.as_ref().and_then(StepSpec::traffic).and_then(failing) else { continue };
        let Some(network) = networks.iter_mut().find(|one| own(one).any(|own| own.nic == nic)) else {
            continue;
        };
        if why == FollowUp::Migration {
            network.rehearsed_migration = Some(migration(step, nic, &order));
            continue;
        }
        let left = usable.iter().filter(|subnet| **subnet != network.subnet).cloned().collect();
        network.rehearsed = Some(NetworkLoss { left, ..loss(step, nic) });
    }
    let slow = networks.iter().filter_map(slow).collect();
    doc.networks = Some(networks);
    slow
}

/// Longer than a cluster waits for heartbeats before it gives a host up.
fn slow(network: &Network) -> Option<Finding> {
    let loss = network.rehearsed.as_ref()?;
    let gap_ns = loss.gap_ns.filter(|gap_ns| *gap_ns >= Criteria::default().contend.heartbeat_gap_max_ns)?;
    let evidence = format!(
        "{} was lost ({} down), and for {} nothing arrived over {}",
        network.subnet,
        loss.nic,
        Nanoseconds(gap_ns),
        loss.left.join(" or ")
    );
    Some(Finding::new("NETWORK-REDIRECT-SLOW", evidence).with("gap_ns", gap_ns))
}

/// The NIC of `NIC@DOWN:UP`.
fn failing(traffic: &TrafficSpec) -> Option<&str> {
    traffic.fail.first()?.split('@').next()
}

/// What became of the step when this host's `nic` was taken down, or why that is not known.
fn failed<'a>(step: &'a Step, nic: &str) -> Result<&'a Failover, String> {
    if let Some(error) = &step.error {
        return Err(error.message.clone());
    }
    let own =
        |failover: &&Failover| failover.end == Some(End::Client) && failover.nic.as_deref() == Some(nic);
    step.detail.failover.as_ref().filter(own).ok_or_else(|| "it was not taken down".into())
}

fn loss(step: &Step, nic: &str) -> NetworkLoss {
    let known = NetworkLoss { nic: nic.into(), ..NetworkLoss::default() };
    match failed(step, nic) {
        Err(reason) => NetworkLoss { reason: Some(reason), ..known },
        Ok(failover) => NetworkLoss {
            noticed_after_ns: failover.noticed_after_ns,
            gap_ns: failover.gap_ns,
            returned_after_ns: failover.carried_again_after_ns,
            lost_bytes: failover.lost_bytes,
            ..known
        },
    }
}

/// The networks that migrations take, in their order.
pub fn migration_order(networks: &[Network]) -> Vec<&Network> {
    let mut order: Vec<&Network> = networks.iter().filter(|one| one.order_migration.is_some()).collect();
    order.sort_by_key(|one| one.order_migration);
    order
}

/// What a migration over the networks in their `order` came to when the first of them was lost.
fn migration(step: &Step, nic: &str, order: &[Network]) -> MigrationLoss {
    let subnets = order.iter().map(|one| one.subnet.clone()).collect();
    let known = MigrationLoss { nic: nic.into(), order: subnets, ..MigrationLoss::default() };
    let failover = match failed(step, nic) {
        Err(reason) => return MigrationLoss { reason: Some(reason), ..known },
        Ok(failover) => failover,
    };
    // By what really went over each NIC, not by what the order says.
    let carried = step.detail.nics.iter().flatten();
    let others = carried.filter(|one| one.end == End::Client && one.nic != nic && one.lane_sent_bytes > 0);
    let most = others.max_by_key(|one| one.lane_sent_bytes);
    let of_nic = |name: &str| order.iter().find(|network| own(network).any(|one| one.nic == name));
    MigrationLoss {
        went_on_over: most.and_then(|one| of_nic(&one.nic)).map(|network| network.subnet.clone()),
        noticed_after_ns: failover.noticed_after_ns,
        redirect_ns: failover.gap_ns,
        returned_after_ns: failover.carried_again_after_ns,
        lost_bytes: failover.lost_bytes,
        ..known
    }
}

#[cfg(test)]
mod tests {
    use pathproof_model::{ErrorKind, NicShare, StepError, StepKind, Tool};

    use super::*;

    fn network(subnet: &str, nic: &str) -> Network {
        let address = "10.0.0.1".parse().unwrap();
        let nics = vec![NetworkNic { node: NodeId::CLIENT, nic: nic.into(), address, parent: None }];
        Network { subnet: subnet.into(), nics, ..Network::default() }
    }

    #[test]
    fn networks_are_meant_by_subnet_by_nic_or_all_together_and_nothing_else_is_taken_for_one() {
        let both = [network("10.0.1.0/24", "eth0"), network("10.0.2.0/24", "eth1")];
        let both: Vec<&Network> = both.iter().collect();
        let meant = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            named(&both, &names).map(|lost| lost.iter().map(|one| one.subnet.as_str()).collect::<Vec<_>>())
        };
        assert_eq!(meant(&["all"]).unwrap(), ["10.0.1.0/24", "10.0.2.0/24"]);
        assert_eq!(meant(&["eth1", "10.0.2.0/24"]).unwrap(), ["10.0.2.0/24"], "once");
        assert_eq!(meant(&[]).unwrap(), Vec::<&str>::new());
        let why = meant(&["eth1", "eth9"]).unwrap_err();
        assert!(why.starts_with("eth9 is none") && why.contains("10.0.1.0/24 (eth0)"), "{why}");
    }

    #[test]
    fn a_loss_is_told_of_its_network_and_what_was_not_measured_stays_unknown() {
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.networks = Some(vec![network("10.0.1.0/24", "eth0"), network("10.0.2.0/24", "eth1")]);
        let step = |nic: &str| {
            let traffic = TrafficSpec { fail: vec![format!("{nic}@2s:5s")], ..TrafficSpec::default() };
            Step {
                follows_up: Some(FollowUp::Loss),
                spec: Some(StepSpec::Stream(traffic)),
                ..Step::new(StepKind::Stream, "stream")
            }
        };
        let mut lost = step("eth1");
        lost.detail.failover = Some(Failover {
            nic: Some("eth1".into()),
            end: Some(End::Client),
            gap_ns: Some(7),
            noticed_after_ns: Some(5),
            ..Failover::default()
        });
        let mut refused = step("eth0");
        refused.error = Some(StepError::new(ErrorKind::Unsupported, "run as root".into()));
        doc.steps = vec![lost, refused];
        assert_eq!(rehearsed(&mut doc), []);
        let networks = doc.networks.clone().unwrap();
        let eth1 = networks[1].rehearsed.as_ref().unwrap();
        assert_eq!((eth1.gap_ns, eth1.noticed_after_ns, eth1.returned_after_ns), (Some(7), Some(5), None));
        assert_eq!(eth1.left, ["10.0.1.0/24"]);
        let eth0 = networks[0].rehearsed.as_ref().unwrap();
        assert_eq!((eth0.gap_ns, eth0.reason.as_deref()), (None, Some("run as root")));
        // Half a second less is what a cluster still waits for.
        let slow = |gap_ms: u64, doc: &mut ResultDoc| {
            doc.steps[0].detail.failover.as_mut().unwrap().gap_ns = Some(gap_ms * 1_000_000);
            rehearsed(doc).into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!(slow(4_500, &mut doc), Vec::<String>::new());
        assert_eq!(slow(5_000, &mut doc), ["NETWORK-REDIRECT-SLOW"]);
    }

    #[test]
    fn a_migration_is_told_by_what_its_networks_carried() {
        let place =
            |place, subnet: &str, nic: &str| Network { order_migration: Some(place), ..network(subnet, nic) };
        let mut doc = ResultDoc::new(Tool::default(), "");
        doc.networks = Some(vec![
            place(3, "10.0.1.0/24", "eth0"),
            place(1, "10.0.2.0/24", "eth1"),
            place(2, "10.0.3.0/24", "eth2"),
            network("10.0.4.0/24", "eth3"),
        ]);
        let traffic = TrafficSpec { fail: vec!["eth1@2s:5s".into()], ..TrafficSpec::default() };
        let mut step = Step::new(StepKind::Stream, "stream");
        (step.follows_up, step.spec) = (Some(FollowUp::Migration), Some(StepSpec::Stream(traffic)));
        let share =
            |nic: &str, lane_sent_bytes| NicShare { lane_sent_bytes, ..NicShare::of(End::Client, nic) };
        step.detail.nics = Some(vec![share("eth0", 0), share("eth1", 900), share("eth2", 300)]);
        step.detail.failover = Some(Failover {
            nic: Some("eth1".into()),
            end: Some(End::Client),
            gap_ns: Some(7),
            noticed_after_ns: Some(5),
            carried_again_after_ns: Some(3),
            ..Failover::default()
        });
        doc.steps = vec![step];
        assert_eq!(rehearsed(&mut doc), []);
        let lost = &doc.networks.as_ref().unwrap()[1];
        assert_eq!(lost.rehearsed, None, "a stream over all of them is another step");
        let told = lost.rehearsed_migration.clone().unwrap();
        assert_eq!(told.order, ["10.0.2.0/24", "10.0.3.0/24", "10.0.1.0/24"]);
        assert_eq!(told.went_on_over.as_deref(), Some("10.0.3.0/24"));
        assert_eq!(
            (told.redirect_ns, told.noticed_after_ns, told.returned_after_ns),
            (Some(7), Some(5), Some(3))
        );
        // What went nowhere is said to have gone nowhere.
        doc.steps[0].detail.nics = Some(vec![share("eth1", 900), share("eth2", 0)]);
        rehearsed(&mut doc);
        let told = doc.networks.unwrap()[1].rehearsed_migration.clone().unwrap();
        assert_eq!(told.went_on_over, None);
    }
}
