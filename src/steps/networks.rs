//! The networks that this host shares with an agent's. Nobody is asked for it: both hosts' NICs are known since the greeting, and what passes at
//! the ports on each was found by a step `ports` before.
//!
//! The loss of a network is rehearsed by a stream that goes over all of them while a guardian takes its NIC on this host down and brings it
//! back: that a link is touched is the user's word, and only the links of the user's own host are. That of the network which migrations take
//! first is rehearsed once more, by a stream that goes over one network at a time, as a migration does.

use std::net::{IpAddr, SocketAddr};

use anyhow::anyhow;
use pathproof_api::PathSpec;
use pathproof_engine::differences;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{
    ErrorKind, Finding, FollowUp, Network, NetworkNic, NodeId, ResultDoc, Step, StepError, StepSpec,
    TrafficSpec,
};

use super::traffic::multi::{go_over, go_over_in_order};
use super::{Alone, Kind, Lone, whole};
use crate::registry::{TRANSPORTS, manners};

/// The stream has flowed so long when the network is lost.
const DOWN_NS: u64 = 2_000_000_000;
/// When it is back: longer than connections take to be given up.
const UP_NS: u64 = 5_000_000_000;
/// The end: it has had the time to carry again.
const END_NS: u64 = 9_000_000_000;

/// The kind.
pub struct Shared;

impl Kind for Shared {
    fn name(&self, _spec: &StepSpec) -> String {
        "networks of both hosts".into()
    }

    fn duration_ns(&self, _spec: &StepSpec) -> u64 {
        0
    }

    fn need_ns(&self, _spec: &StepSpec) -> u64 {
        10_000_000
    }

    fn fit(&self, spec: &StepSpec, left_ns: u64) -> Option<StepSpec> {
        whole(spec, self.need_ns(spec), left_ns)
    }
}

impl Alone for Shared {
    fn make(
        &self,
        lone: &mut Lone<'_>,
        _step: &mut Step,
        doc: &mut ResultDoc,
    ) -> Result<Vec<Finding>, StepError> {
        let unknown = |whose: &str| {
            StepError::new(
                ErrorKind::Unsupported,
                format!("{whose} NICs are not known, so there are no networks to tell"),
            )
        };
        let here = doc.environment(NodeId::CLIENT).ok_or_else(|| unknown("this host's"))?;
        let there = doc.environment(lone.spec.node()).ok_or_else(|| unknown("the peer's"))?;
        let networks = pathproof_engine::networks::networks(here, there);
        let mut findings = pathproof_engine::networks::findings(&networks);
        findings.extend(pathproof_engine::networks::routed(here, there, &networks));
        findings.extend(pathproof_engine::networks::overlapping(here, there, &networks));
        // A check looks at what each of these does to the path; here nothing is sent that would show it.
        let differ = differences::of_document(doc, lone.spec.node()).unwrap_or_default();
        findings.extend(differences::finding(&differ));
        // What the step before found at the ports has its place beside the networks.
        let asked = doc.steps.iter_mut().rev().find_map(|step| step.detail.network_ports.take());
        let mut networks = networks;
        pathproof_engine::networks::with_ports(&mut networks, &asked.unwrap_or_default());
        findings.extend(pathproof_engine::networks::closed(&networks));
        doc.networks = Some(networks);
        Ok(findings)
    }
}

/// The stream of a plan that rehearses the loss of networks; [`losses`] makes one of it for each.
pub fn rehearsal() -> anyhow::Result<StepSpec> {
    let over = TRANSPORTS.iter().find(|over| manners(over).several_nics);
    let over = over.ok_or_else(|| {
        anyhow!("this build has no transport over several NICs; pathproof version names those that it has")
    })?;
    Ok(StepSpec::Stream(TrafficSpec {
        over: (*over).into(),
        time_ns: END_NS,
        verify: true,
        ..TrafficSpec::default()
    }))
}

fn invalid(message: String) -> StepError {
    StepError::new(ErrorKind::Invalid, message)
}

/// A step that takes a network down.
pub struct LostNetwork {
    /// The step.
    pub spec: StepSpec,
    /// What it shows.
    pub purpose: FollowUp,
    /// What is said before anything is touched.
    pub told: Finding,
}

/// The steps that a `networks` step comes to which asks for losses, made of the stream after it. `control` is this end's address of the
/// session; `in_order` whether the other end knows lanes that go over one network at a time.
pub fn losses(
    spec: &StepSpec,
    stream: Option<&StepSpec>,
    doc: &ResultDoc,
    control: IpAddr,
    in_order: bool,
) -> Result<Vec<LostNetwork>, StepError> {
    let (StepSpec::Networks(asked), Some(stream)) = (spec, stream.and_then(StepSpec::bulk)) else {
        return Ok(vec![]);
    };
    let all = doc.networks.as_deref().unwrap_or_default();
    let usable: Vec<&Network> = all.iter().filter(|network| network.up != Some(false)).collect();
    let lost = pathproof_engine::networks::named(&usable, &asked.fail).map_err(invalid)?;
    if usable.len() < 2 && !asked.fail.is_empty() {
        return Err(invalid(
            "the hosts share one usable network, so nothing would take over; --fail needs a second one"
                .into(),
        ));
    }
    // Every network has its part, also one that SMB would leave idle.
    let mut at_once = stream.clone();
    go_over(usable.iter().filter_map(|network| path(network)).collect(), &mut at_once.options);
    let step = |network: &Network, stream: &TrafficSpec, purpose: FollowUp| {
        let nic = &own(network)?.nic;
        let seconds = |ns: u64| Nanoseconds(ns).to_string().replace(' ', "");
        let fail = vec![format!("{nic}@{}:{}", seconds(DOWN_NS), seconds(UP_NS))];
        let carries = if purpose == FollowUp::Migration { " while a migration goes over it" } else { "" };
        let of_session = network.nics.iter().any(|one| one.node == NodeId::CLIENT && one.address == control);
        let more = if of_session {
            "; it carries this run's own connection, which goes on over another"
        } else {
            ""
        };
        let evidence =
            format!("{nic} ({}) is down for {}{carries}{more}", network.subnet, Nanoseconds(UP_NS - DOWN_NS));
        let spec = StepSpec::Stream(TrafficSpec { fail, ..stream.clone() });
        let told = Finding::new("NETWORK-TAKEN-DOWN", evidence).with("nic", nic.clone());
        Some(LostNetwork { spec, purpose, told })
    };
    let mut steps: Vec<LostNetwork> =
        lost.iter().copied().filter_map(|network| step(network, &at_once, FollowUp::Loss)).collect();
    // A migration under way uses one network, and the loss of another is nothing to it.
    let order = pathproof_engine::networks::migration_order(all);
    let first = order.first().copied().filter(|first| lost.iter().any(|one| one.subnet == first.subnet));
    if let Some(first) = first.filter(|_| in_order && order.len() > 1) {
        let mut one_by_one = stream.clone();
        let paths = order.iter().filter_map(|network| path(network)).collect();
        go_over_in_order(paths, &mut one_by_one.options);
        steps.extend(step(first, &one_by_one, FollowUp::Migration));
    }
    Ok(steps)
}

/// This host's NIC in a network.
fn own(network: &Network) -> Option<&NetworkNic> {
    network.nics.iter().find(|nic| nic.node == NodeId::CLIENT)
}

/// The way over a network; the port is that of the session.
fn path(network: &Network) -> Option<PathSpec> {
    let own = own(network)?;
    let same =
        |nic: &&NetworkNic| nic.node == NodeId::SERVER && nic.address.is_ipv4() == own.address.is_ipv4();
    let other = network.nics.iter().find(same)?;
    Some(PathSpec {
        local: Some(own.address),
        device: Some(own.nic.clone()),
        remote: Some(SocketAddr::new(other.address, 0)),
    })
}
