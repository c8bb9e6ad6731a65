//! What a plan may ask of an agent of an earlier build: requests are strict, so nothing is asked that it does not know.

use crate::request::{LaneOptions, Share};
use crate::{Class, Finding, LossProbe, LossSpec, Plan, PortsList, PortsWhere, Role, StepSpec};

/// The revision of protocol 2 that knows flows beside a step's first, and steps about ports.
pub const FLOWS_SINCE: u8 = 1;
/// The revision that knows steps about contention.
pub const CONTENTION_SINCE: u8 = 2;
/// The revision that knows the search for a packet rate.
pub const PACKET_RATES_SINCE: u8 = 3;
/// The revision that knows the priorities of classes.
pub const PRIORITIES_SINCE: u8 = 4;
/// The revision that knows the ports of a cluster's administration.
pub const ADMINISTRATION_SINCE: u8 = 5;
/// The revision that asks for ports on every network.
pub const NETWORK_PORTS_SINCE: u8 = 5;
/// The revision that knows marks of heartbeats.
pub const BEAT_MARKS_SINCE: u8 = 5;
/// The revision that marks what goes by adapters.
pub const ADAPTER_MARKS_SINCE: u8 = 5;
/// The revision that knows the bursts of caps.
pub const BURSTS_SINCE: u8 = 5;
/// The revision that knows classes which go a way of their own.
pub const CLASS_WAYS_SINCE: u8 = 5;
/// The revision that knows classes which begin and end within their phases.
pub const CLASS_SPANS_SINCE: u8 = 5;
/// The revision that knows receivers which sleep, and their buffers.
pub const SLEEPERS_SINCE: u8 = 5;
/// The revision that knows lanes which go over their paths one at a time, in order.
pub const ORDERED_SINCE: u8 = 5;

/// The revision that knows lanes which go to a port of the real job.
pub const PORT_STREAMS_SINCE: u8 = 5;

/// What a step may ask for since a revision, where nothing else can take its place: a plan that has it is refused before an agent of an earlier
/// build makes something else of it.
struct Addition {
    since: u8,
    asked: fn(&StepSpec) -> bool,
    /// What is done, up to "builds of protocol".
    what: &'static str,
    /// What can be done beside updating the peer.
    or: &'static str,
}

/// All of them, in the order in which they came. A later one has a line here.
const ADDITIONS: &[Addition] = &[
    Addition {
        since: PACKET_RATES_SINCE,
        asked: |step| step.loss().is_some_and(|loss| loss.probe != LossProbe::Sample),
        what: "packet rates are searched for by",
        or: "",
    },
    Addition {
        since: PRIORITIES_SINCE,
        asked: |step| step.contend().is_some_and(|contend| contend.priority.any()),
        what: "classes are given priorities by",
        or: ", or leave --priority out",
    },
    Addition {
        since: BEAT_MARKS_SINCE,
        asked: |step| {
            step.contend().is_some_and(|all| all.dscp.heartbeat.or(all.priority.heartbeat).is_some())
        },
        what: "heartbeats have marks of their own in",
        or: ", or leave heartbeat= out",
    },
    Addition {
        since: BURSTS_SINCE,
        asked: |step| step.contend().is_some_and(|contend| contend.caps.burst_bytes.any()),
        what: "caps have bursts of their own in",
        or: ", or leave burst= out",
    },
    Addition {
        since: CLASS_WAYS_SINCE,
        asked: |step| step.contend().is_some_and(|contend| contend.ways.any()),
        what: "classes have transports and NICs of their own in",
        or: ", or leave --nic and the transports of single classes out",
    },
    Addition {
        since: CLASS_SPANS_SINCE,
        asked: |step| step.contend().is_some_and(|contend| contend.spans.any()),
        what: "classes begin and end within their phases in",
        or: ", or leave --span out",
    },
    Addition {
        since: SLEEPERS_SINCE,
        asked: |step| step.loss().is_some_and(is_of_a_sleeper),
        what: "receivers sleep, and have buffers of their own, in",
        or: ", or search for the packet rate alone",
    },
    Addition {
        since: ORDERED_SINCE,
        asked: goes_in_order,
        what: "lanes go over their paths in order in",
        or: ", or leave share=ordered out",
    },
    Addition {
        since: PORT_STREAMS_SINCE,
        asked: |step| step.traffic().is_some_and(|traffic| traffic.port.is_some()),
        what: "streams go to ports of the real job in",
        or: ", or leave port out",
    },
];

impl Addition {
    /// Refuses a plan that has it where an agent of `revision` does not know it.
    fn check(&self, plan: &Plan, revision: u8) -> Result<(), String> {
        let Addition { since, asked, what, or } = self;
        if revision >= *since || !plan.steps.iter().any(asked) {
            return Ok(());
        }
        Err(format!(
            "{what} builds of protocol 2.{since} and later, and the peer's speaks 2.{revision}; update pathproof on the peer{or}"
        ))
    }
}

impl Plan {
    /// This plan as an agent of `revision` of protocol 2 can be asked for it, and what it loses by that. What only looks on is
    /// left out; without anything else it would be a measurement of something else, and that is an error.
    pub fn known_at(&self, revision: u8) -> Result<(Plan, Vec<Finding>), String> {
        let mut plan = self.clone();
        let mut left_out = 0;
        let contention = self.without_contention(&mut plan, revision)?;
        ADDITIONS.iter().try_for_each(|addition| addition.check(&plan, revision))?;
        let networks = without_network_ports(&mut plan, revision);
        let administration = first_ports(&mut plan, revision);
        let left = contention.into_iter().chain(networks).chain(administration);
        if revision >= FLOWS_SINCE {
            return Ok((plan, left.collect()));
        }
        for (number, traffic) in
            plan.steps.iter_mut().enumerate().filter_map(|(n, s)| Some((n, s.traffic_mut()?)))
        {
            if traffic.beside.iter().any(|flow| flow.class != Class::Probe) {
                return Err(format!(
                    "step {number} has flows beside its first, which the peer's build (protocol 2.{revision}) does not know; \
                     update pathproof on the peer"
                ));
            }
            left_out += traffic.beside.len();
            traffic.beside.clear();
        }
        let steps = plan.steps.len();
        plan.steps.retain(|step| step.ports().is_none());
        let ports = (plan.steps.len() < steps).then(|| {
            let said = format!(
                "the peer's build (protocol 2.{revision}) knows no steps about ports, so none was asked"
            );
            Finding::new("PLAN-REDUCED", said).with_next("Update pathproof on the peer.")
        });
        let finding = (left_out > 0).then(|| {
            let said = format!(
                "the peer's build (protocol 2.{revision}) knows no flows beside a stream, so latency under load was not measured"
            );
            Finding::new("PLAN-REDUCED", said)
                .with("asked", left_out)
                .with("granted", 0u64)
                .with_next("Update pathproof on the peer.")
        });
        Ok((plan, left.chain(finding).chain(ports).collect()))
    }

    /// Leaves out of `plan` what an agent of `revision` does not know of contention; an error where nothing else was asked for.
    fn without_contention(&self, plan: &mut Plan, revision: u8) -> Result<Option<Finding>, String> {
        if revision >= CONTENTION_SINCE || plan.steps.iter().all(|step| step.contend().is_none()) {
            return Ok(None);
        }
        plan.steps.retain(|step| step.contend().is_none());
        let said = format!(
            "classes that share a path are rehearsed by builds of protocol 2.{CONTENTION_SINCE} and later, and the peer's speaks 2.{revision}"
        );
        match plan.steps.iter().all(|step| step.kind().traits().prepares) {
            true => Err(format!("{said}; update pathproof on the peer")),
            false => Ok(Some(Finding::new("PLAN-REDUCED", said).with_next("Update pathproof on the peer."))),
        }
    }
}

/// Whether a step asks its receiver for more than to read what comes.
fn is_of_a_sleeper(loss: &LossSpec) -> bool {
    loss.probe == LossProbe::Buffer
        || loss.receiver_sleeps_ns.is_some()
        || loss.receive_buffer_bytes.is_some()
}

/// Whether the lanes of a step go over their paths one at a time.
fn goes_in_order(step: &StepSpec) -> bool {
    let options = step.options().map(LaneOptions::of);
    options.is_some_and(|lane| lane.is_ok_and(|lane| lane.share == Some(Share::Ordered)))
}

/// Leaves out of `plan` the ports on every network, where an agent of `revision` cannot be asked for those: it would answer for the
/// addresses of the session.
fn without_network_ports(plan: &mut Plan, revision: u8) -> Option<Finding> {
    if revision >= NETWORK_PORTS_SINCE {
        return None;
    }
    let steps = plan.steps.len();
    plan.steps.retain(|step| step.ports().is_none_or(|ports| ports.at == PortsWhere::Session));
    (plan.steps.len() < steps).then(|| {
        let said = format!(
            "the peer's build (protocol 2.{revision}) cannot be asked for its ports on every network"
        );
        Finding::new("PLAN-REDUCED", said).with_next("Update pathproof on the peer.")
    })
}

/// Leaves the ports out of `plan` that an agent of `revision` does not know; told where a role needs them.
fn first_ports(plan: &mut Plan, revision: u8) -> Option<Finding> {
    if revision >= ADMINISTRATION_SINCE {
        return None;
    }
    let mut needed = false;
    for ports in plan.steps.iter_mut().filter_map(StepSpec::ports_mut) {
        ports.list = PortsList::First;
        needed |= ports.roles.contains(&Role::Cluster);
    }
    // An agent that knows no steps about ports loses them altogether, which is told as that.
    (needed && revision >= FLOWS_SINCE).then(|| {
        let said = format!("the peer's build (protocol 2.{revision}) does not know 135/tcp and 5985/tcp, so these were not asked");
        Finding::new("PLAN-REDUCED", said).with_next("Update pathproof on the peer.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contend::{Caps, ClassSpans, ClassWay, ClassWays, Marks};
    use crate::{ContendSpec, Direction, FlowSpec, PortsSpec, StepRequest, TrafficSpec};

    #[test]
    fn an_agent_of_an_earlier_build_is_asked_only_for_what_it_knows() {
        let stream = |beside| StepSpec::Stream(TrafficSpec { beside, ..TrafficSpec::default() });
        let plan = |beside| Plan { steps: vec![StepSpec::Facts, stream(beside)], ..Plan::default() };
        let probed = plan(vec![FlowSpec::probe(Direction::Out, 100)]);
        assert_eq!(probed.known_at(FLOWS_SINCE), Ok((probed.clone(), vec![])));
        let (less, found) = probed.known_at(0).unwrap();
        assert_eq!(less, plan(vec![]));
        assert_eq!(found[0].code, "PLAN-REDUCED");
        assert!(found[0].next.contains("Update pathproof on the peer"), "{found:?}");
        let asked = serde_json::to_string(&less.request().unwrap()).unwrap();
        assert!(!asked.contains("beside"), "an earlier build reads what it always read: {asked}");
        assert_eq!(less.known_at(0).unwrap().1, vec![], "nothing was left out");
        let ports =
            Plan { steps: vec![StepSpec::Facts, StepSpec::Ports(PortsSpec::default())], ..Plan::default() };
        let (less, found) = ports.known_at(0).unwrap();
        assert_eq!((less.steps, found.len()), (vec![StepSpec::Facts], 1));
        assert_eq!(ports.known_at(ADMINISTRATION_SINCE), Ok((ports.clone(), vec![])));
        let (less, found) = ports.known_at(PRIORITIES_SINCE).unwrap();
        assert_eq!((less.steps[1].ports().unwrap().list, found), (PortsList::First, vec![]));
        let asked = serde_json::to_string(&less.request().unwrap()).unwrap();
        assert!(!asked.contains("list"), "an earlier build reads what it always read: {asked}");
        let cluster = PortsSpec { roles: vec![Role::Cluster], ..PortsSpec::default() };
        let cluster = Plan { steps: vec![StepSpec::Ports(cluster)], ..Plan::default() };
        let (_, found) = cluster.known_at(PRIORITIES_SINCE).unwrap();
        assert!(found.len() == 1 && found[0].evidence.contains("135/tcp"), "{found:?}");
        for at in [PortsWhere::Networks, PortsWhere::Beside] {
            let everywhere = PortsSpec { at, ..PortsSpec::default() };
            let everywhere =
                Plan { steps: vec![StepSpec::Facts, StepSpec::Ports(everywhere)], ..Plan::default() };
            assert_eq!(everywhere.known_at(NETWORK_PORTS_SINCE), Ok((everywhere.clone(), vec![])));
            for revision in 0..NETWORK_PORTS_SINCE {
                let (less, found) = everywhere.known_at(revision).unwrap();
                assert_eq!((less.steps, found.len()), (vec![StepSpec::Facts], 1), "2.{revision}");
            }
        }
        let step = || StepSpec::Contend(ContendSpec::default());
        let contend = Plan { steps: vec![StepSpec::Facts, step()], ..Plan::default() };
        assert_eq!(contend.known_at(CONTENTION_SINCE), Ok((contend.clone(), vec![])));
        let check = Plan { steps: vec![stream(vec![]), step()], ..Plan::default() };
        let (less, found) = check.known_at(1).unwrap();
        assert_eq!(
            (less.steps, found.len(), found[0].code.as_str()),
            (vec![stream(vec![])], 1, "PLAN-REDUCED")
        );
        for revision in 0..CONTENTION_SINCE {
            let why = contend.known_at(revision).unwrap_err();
            assert!(why.contains("2.2") && why.ends_with("update pathproof on the peer"), "{why}");
        }
        let loss = |probe| {
            let loss = LossSpec { probe, ..LossSpec::default() };
            Plan { steps: vec![StepSpec::Loss(loss)], ..Plan::default() }
        };
        assert!(loss(LossProbe::Sample).known_at(0).is_ok());
        let asked = serde_json::to_string(&loss(LossProbe::Sample).request().unwrap()).unwrap();
        assert!(!asked.contains("probe") && !asked.contains("direction"), "{asked}");
        assert!(!asked.contains("receive"), "an earlier build reads what it always read: {asked}");
        let sleepy =
            LossSpec { probe: LossProbe::Rate, receiver_sleeps_ns: Some(10_000_000), ..LossSpec::default() };
        let sleepy = Plan { steps: vec![StepSpec::Loss(sleepy)], ..Plan::default() };
        assert!(sleepy.known_at(SLEEPERS_SINCE).is_ok());
        for plan in [sleepy, loss(LossProbe::Buffer)] {
            let why = plan.known_at(PRIORITIES_SINCE).unwrap_err();
            assert!(why.contains("2.5") && why.contains("update pathproof on the peer"), "{why}");
        }
        assert!(loss(LossProbe::Rate).known_at(PACKET_RATES_SINCE).is_ok());
        let why = loss(LossProbe::Rate).known_at(CONTENTION_SINCE).unwrap_err();
        assert!(why.contains("2.3") && why.ends_with("update pathproof on the peer"), "{why}");
        let with = |priority| {
            let contend = ContendSpec { priority, ..ContendSpec::default() };
            Plan { steps: vec![StepSpec::Contend(contend)], ..Plan::default() }
        };
        let asked = serde_json::to_string(&with(Marks::default()).request().unwrap()).unwrap();
        assert!(!asked.contains("priority"), "an earlier build reads what it always read: {asked}");
        let priority = Marks { storage: Some(3), ..Marks::default() };
        assert!(with(priority).known_at(PRIORITIES_SINCE).is_ok());
        let why = with(priority).known_at(PACKET_RATES_SINCE).unwrap_err();
        assert!(why.contains("2.4") && why.contains("update pathproof on the peer"), "{why}");
        let beats = Marks { heartbeat: Some(7), ..Marks::default() };
        assert!(with(beats).known_at(BEAT_MARKS_SINCE).is_ok());
        let why = with(beats).known_at(PRIORITIES_SINCE).unwrap_err();
        assert!(why.contains("2.5") && why.contains("heartbeat="), "{why}");
        let asked = serde_json::to_string(&with(priority).request().unwrap()).unwrap();
        assert!(!asked.contains("heartbeat"), "an earlier build reads what it always read: {asked}");
        let capped = |text: &str| {
            let caps = Caps::default().and(text).unwrap();
            let contend = ContendSpec { caps, ..ContendSpec::default() };
            Plan { steps: vec![StepSpec::Contend(contend)], ..Plan::default() }
        };
        let asked = serde_json::to_string(&capped("migration=5MB").request().unwrap()).unwrap();
        assert!(!asked.contains("burst"), "an earlier build reads what it always read: {asked}");
        assert!(capped("migration=5MB").known_at(PRIORITIES_SINCE).is_ok());
        assert!(capped("migration=5MB,burst=1MB").known_at(BURSTS_SINCE).is_ok());
        let why = capped("migration=5MB,burst=1MB").known_at(PRIORITIES_SINCE).unwrap_err();
        assert!(why.contains("2.5") && why.contains("burst="), "{why}");
        let way = ClassWay { nics: vec!["SECRET".into()], ..ClassWay::default() };
        let ways = ClassWays { storage: way, ..ClassWays::default() };
        let contend = ContendSpec { over: "multi".into(), ways, ..ContendSpec::default() };
        let apart = Plan { steps: vec![StepSpec::Contend(contend)], ..Plan::default() };
        assert!(apart.known_at(CLASS_WAYS_SINCE).is_ok());
        let why = apart.known_at(PRIORITIES_SINCE).unwrap_err();
        assert!(why.contains("2.5") && why.contains("--nic"), "{why}");
        let asked = serde_json::to_string(&apart.request().unwrap()).unwrap();
        assert!(asked.contains(r#""ways":{"storage":"multi""#) && !asked.contains("SECRET"), "{asked}");
        let asked = serde_json::to_string(&with(Marks::default()).request().unwrap()).unwrap();
        assert!(!asked.contains("ways"), "an earlier build reads what it always read: {asked}");
        let spans = ClassSpans::default().and("backup=1s..3s").unwrap();
        let contend = ContendSpec { spans, backups: 1, ..ContendSpec::default() };
        let timed = Plan { steps: vec![StepSpec::Contend(contend)], ..Plan::default() };
        assert!(timed.known_at(CLASS_SPANS_SINCE).is_ok());
        let why = timed.known_at(PRIORITIES_SINCE).unwrap_err();
        assert!(why.contains("2.5") && why.contains("leave --span out"), "{why}");
        let asked = timed.request().unwrap();
        let StepRequest::Contend(contend) = &asked.steps[0] else { panic!("{asked:?}") };
        assert_eq!(contend.spans, spans, "what crosses are numbers");
        let asked = serde_json::to_string(&with(Marks::default()).request().unwrap()).unwrap();
        assert!(!asked.contains("spans"), "an earlier build reads what it always read: {asked}");
        let shared = |share: &str| {
            let options = [("share".to_owned(), share.to_owned())].into();
            let stream = TrafficSpec { over: "multi".into(), options, ..TrafficSpec::default() };
            Plan { steps: vec![StepSpec::Stream(stream)], ..Plan::default() }
        };
        assert!(shared("fewest").known_at(PRIORITIES_SINCE).is_ok());
        assert!(shared("ordered").known_at(ORDERED_SINCE).is_ok());
        let why = shared("ordered").known_at(PRIORITIES_SINCE).unwrap_err();
        assert!(why.contains("2.5") && why.contains("share=ordered"), "{why}");
        let over_smb = TrafficSpec { port: Some(crate::Port::Smb), ..TrafficSpec::default() };
        let over_smb = Plan { steps: vec![StepSpec::Stream(over_smb)], ..Plan::default() };
        assert!(over_smb.known_at(PORT_STREAMS_SINCE).is_ok());
        let why = over_smb.known_at(PRIORITIES_SINCE).unwrap_err();
        assert!(why.contains("2.5") && why.contains("leave port out"), "{why}");
        let asked = serde_json::to_string(&plan(vec![]).request().unwrap()).unwrap();
        assert!(!asked.contains("port"), "an earlier build reads what it always read: {asked}");
        let why = plan(vec![FlowSpec::default()]).known_at(0).unwrap_err();
        assert!(why.contains("step 1") && why.ends_with("update pathproof on the peer"), "{why}");
    }
}
