//! What the adapters of a step counted of the priorities that are to lose nothing: those that are paused instead of dropped (PFC), and those
//! of SMB Direct. It refuses to take what no driver counts for nothing.

use std::collections::BTreeSet;

use super::link::nics_of;
use crate::evidence::PriorityCounts;
use crate::{End, Environment, LaneResult, Nic, ResultDoc, Step};

/// A priority that is to lose nothing, at one adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LosslessPriority {
    /// The end that has the adapter.
    pub end: End,
    /// The adapter.
    pub nic: String,
    /// The priority.
    pub priority: u8,
    /// What was counted of it while the step ran, by whomever.
    pub counts: PriorityCounts,
}

/// Those of both ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lossless {
    /// The priorities, adapter by adapter.
    pub priorities: Vec<LosslessPriority>,
    /// Where nobody says which priorities those are, and why.
    pub unknown: Vec<String>,
}

impl LosslessPriority {
    /// Packets of it that the adapter threw away. Where it does not count those that arrived, what it lost on the way out is known to be lost,
    /// and that none was lost is known to nobody.
    pub fn discards(&self) -> Option<u64> {
        let sent = self.counts.send_discards;
        match self.counts.receive_discards {
            Some(received) => Some(received.saturating_add(sent.unwrap_or(0))),
            None => sent.filter(|sent| *sent > 0),
        }
    }
}

/// The priorities that are to lose nothing at the adapters that the lanes of a step went over, and what was counted of them meanwhile.
pub fn lossless(doc: &ResultDoc, step: &Step) -> Lossless {
    let mut found = Lossless::default();
    for end in End::BOTH {
        let told = step.evidence.iter().find(|one| one.node == end.node());
        // Both ends on one host: the other one says all of it.
        if told.is_some_and(|one| one.same_as.is_some()) {
            continue;
        }
        let Some(host) = doc.environment(end.node()) else {
            found.unknown.push(format!("the facts of the {end} are not known"));
            continue;
        };
        let used = used(host, step, end);
        let adapters = || used.iter().filter(|nic| nic.dcb.is_some() || nic.dcb_absent.is_some());
        if adapters().next().is_none() {
            found.unknown.push(format!("no NIC that the {end} used has DCB"));
        }
        for nic in adapters() {
            match priorities(nic) {
                Ok(priorities) => found.priorities.extend(priorities.into_iter().map(|priority| {
                    let counts = counted(step, end, &nic.name, priority);
                    LosslessPriority { end, nic: nic.name.clone(), priority, counts }
                })),
                Err(why) => found.unknown.push(format!("of {} of the {end}: {why}", nic.name)),
            }
        }
    }
    found
}

/// The NICs that an end's lanes went over, with those that they are made of and those that they lie upon.
pub(super) fn used<'a>(host: &'a Environment, step: &Step, end: End) -> Vec<&'a Nic> {
    let lanes = step.lanes.iter().filter(|lane| lane.end == end);
    let mut open: Vec<&Nic> = lanes.flat_map(|lane| under(host, lane)).collect();
    let mut used: Vec<&Nic> = vec![];
    while let Some(nic) = open.pop() {
        if used.iter().any(|known| known.name == nic.name) {
            continue;
        }
        let is_below = |other: &&Nic| {
            other.master.as_ref() == Some(&nic.name) || nic.parent.as_ref() == Some(&other.name)
        };
        open.extend(host.nics.iter().filter(is_below));
        used.push(nic);
    }
    used.sort_by(|one, other| one.name.cmp(&other.name));
    used
}

/// The NICs of one lane: by the adapter that carried it, by name, or by its address.
fn under<'a>(host: &'a Environment, lane: &LaneResult) -> Vec<&'a Nic> {
    let device = lane.adapter.as_ref().map(|adapter| &adapter.device);
    let netdev = host.rdma.iter().find(|one| Some(&one.name) == device).and_then(|one| one.netdev.as_ref());
    match netdev {
        Some(netdev) => host.nics.iter().filter(|nic| nic.name == *netdev).collect(),
        None => nics_of(host, lane).unwrap_or_default(),
    }
}

/// The priorities of a NIC that are to lose nothing, or why nobody knows.
fn priorities(nic: &Nic) -> Result<BTreeSet<u8>, String> {
    let Some(dcb) = &nic.dcb else {
        return Err(nic.dcb_absent.clone().unwrap_or_else(|| "it has no DCB".into()));
    };
    let mut priorities = dcb.smb_direct_priorities();
    priorities.extend(dcb.pfc.iter().flat_map(|pfc| &pfc.enabled_priorities));
    match (&dcb.pfc, priorities.is_empty()) {
        (_, false) => Ok(priorities),
        (Some(_), true) => Err("PFC is on for no priority".into()),
        (None, true) => Err("its driver does not tell for which priorities PFC is on".into()),
    }
}

fn counted(step: &Step, end: End, nic: &str, priority: u8) -> PriorityCounts {
    let all = step.evidence(end.node()).and_then(|evidence| evidence.priorities.as_ref());
    let own = all.into_iter().flatten().find(|one| one.nic == nic && one.priority == priority);
    own.map(|own| own.counts.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::{Dcb, DcbPfc};
    use crate::evidence::PriorityActivity;
    use crate::{Evidence, NicAddress, Node, NodeId, RdmaDevice, StepKind, Tool};

    fn nic(name: &str, pfc: Option<&[u8]>) -> Nic {
        let pfc = pfc.map(|on| DcbPfc { enabled_priorities: on.to_vec(), classes_max: None });
        Nic { name: name.into(), dcb: Some(Dcb { pfc, ..Dcb::default() }), ..Nic::default() }
    }

    fn found(client: Vec<Nic>, lane: LaneResult, counted: Option<Vec<PriorityActivity>>) -> Lossless {
        let rdma = RdmaDevice { name: "mlx5_0".into(), netdev: Some("e1".into()), ..RdmaDevice::default() };
        let host = Environment { nics: client, rdma: vec![rdma], ..Environment::default() };
        let doc = ResultDoc { nodes: vec![Node::here(Some(host))], ..ResultDoc::new(Tool::default(), "") };
        let mut step = Step::new(StepKind::Contend, "contention");
        step.lanes = vec![lane];
        step.evidence = vec![Evidence { priorities: counted, ..Evidence::default() }];
        lossless(&doc, &step)
    }

    fn over(nics: &[&str]) -> LaneResult {
        let nics = nics.iter().map(|name| (*name).to_owned()).collect();
        LaneResult { nics, ..LaneResult::default() }
    }

    fn told(found: &Lossless) -> Vec<(&str, u8, Option<u64>)> {
        found.priorities.iter().map(|one| (one.nic.as_str(), one.priority, one.discards())).collect()
    }

    #[test]
    fn the_adapter_below_what_has_the_address_is_asked() {
        let counts = PriorityCounts { receive_discards: Some(7), ..PriorityCounts::default() };
        let counted = Some(vec![PriorityActivity {
            nic: "e0".into(),
            priority: 3,
            counts,
            ..PriorityActivity::default()
        }]);
        let bond = Nic { name: "bond0".into(), ..Nic::default() };
        let vlan = Nic {
            name: "bond0.5".into(),
            parent: Some("bond0".into()),
            addresses: vec![NicAddress { address: [10, 0, 0, 1].into(), prefix_len: 24 }],
            ..Nic::default()
        };
        let member = |name: &str, on: &[u8]| Nic { master: Some("bond0".into()), ..nic(name, Some(on)) };
        let beside = nic("e9", Some(&[3]));
        let nics = vec![bond, vlan, member("e0", &[3]), member("e1", &[3, 4]), beside];
        let lane = LaneResult { local: Some("10.0.0.1:5".into()), ..LaneResult::default() };
        let all = found(nics, lane, counted);
        assert_eq!(told(&all), [("e0", 3, Some(7)), ("e1", 3, None), ("e1", 4, None)]);
        assert_eq!(all.unknown, ["the facts of the server are not known"]);
    }

    #[test]
    fn a_lane_over_rdma_went_by_its_adapter() {
        let nics = || vec![nic("e0", Some(&[3])), nic("e1", Some(&[4]))];
        assert_eq!(told(&found(nics(), over(&["e0"]), None)), [("e0", 3, None)]);
        let adapter = crate::AdapterRecord { device: "mlx5_0".into(), ..Default::default() };
        let lane = LaneResult { adapter: Some(adapter), ..LaneResult::default() };
        assert_eq!(told(&found(nics(), lane, None)), [("e1", 4, None)]);
    }

    #[test]
    fn where_nobody_says_which_priorities_they_are_the_reason_is_told() {
        let why = |nic: Nic| {
            let all = found(vec![nic], over(&["e0"]), None);
            assert!(all.priorities.is_empty(), "{all:?}");
            all.unknown[0].clone()
        };
        assert_eq!(why(nic("e0", Some(&[]))), "of e0 of the client: PFC is on for no priority");
        assert!(why(nic("e0", None)).ends_with("for which priorities PFC is on"));
        let absent = Some("the driver has no DCB".to_owned());
        let told = why(Nic { dcb: None, dcb_absent: absent, ..nic("e0", None) });
        assert_eq!(told, "of e0 of the client: the driver has no DCB");
        let virtual_one = Nic { dcb: None, ..nic("e0", None) };
        assert_eq!(why(virtual_one), "no NIC that the client used has DCB");
    }

    #[test]
    fn a_host_that_talks_to_itself_is_asked_once() {
        let host = Environment { nics: vec![nic("e0", Some(&[3]))], ..Environment::default() };
        let doc = ResultDoc {
            nodes: vec![Node::here(Some(host.clone())), Node::agent("peer", Some(host))],
            ..ResultDoc::new(Tool::default(), "")
        };
        let mut step = Step::new(StepKind::Contend, "contention");
        step.lanes = End::BOTH.map(|end| LaneResult { end, ..over(&["e0"]) }).to_vec();
        step.evidence = vec![Evidence::default(), Evidence::same(NodeId::SERVER, NodeId::CLIENT)];
        assert_eq!(told(&lossless(&doc, &step)), [("e0", 3, None)]);
        step.evidence = vec![];
        assert_eq!(told(&lossless(&doc, &step)).len(), 2);
    }

    #[test]
    fn what_arrived_must_be_counted_for_none_to_be_lost() {
        let discards = |receive_discards, send_discards| {
            let counts = PriorityCounts { receive_discards, send_discards, ..PriorityCounts::default() };
            LosslessPriority { end: End::Client, nic: "e0".into(), priority: 3, counts }.discards()
        };
        assert_eq!(discards(Some(2), Some(3)), Some(5));
        assert_eq!(discards(Some(0), None), Some(0));
        assert_eq!(discards(None, Some(3)), Some(3));
        assert_eq!(discards(None, Some(0)), None);
        assert_eq!(discards(None, None), None);
    }
}
