//! Links that came and went while the run lasted, although nobody was asked to take them down; and whether the peer was silent for good behind one, as it
//! is behind a switch port that the spanning tree holds back.

use std::collections::{BTreeMap, BTreeSet};

use pathproof_model::code;
use pathproof_model::told;
use pathproof_model::{ErrorCause, ErrorKind, Finding, FollowUp, NodeId, ResultDoc, Severity, Step};

use super::Rule;

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("LINK-FLAPS")], find: findings }];

pub(super) fn findings(doc: &ResultDoc) -> Vec<Finding> {
    let mut changes: BTreeMap<(NodeId, String), u64> = BTreeMap::new();
    // A NIC that the run itself takes down is no news.
    for step in doc.steps.iter().filter(|step| !takes_down(step)) {
        for evidence in &step.evidence {
            for nic in evidence.nics.iter().flatten() {
                let changed = nic.counts.carrier_changes.unwrap_or(0);
                *changes.entry((evidence.node, nic.nic.clone())).or_default() += changed;
            }
        }
    }
    for (place, changed) in between_steps(doc) {
        *changes.entry(place).or_default() += changed;
    }
    let (part, is_lost) = (part(doc), fell_silent(doc));
    let flapped =
        changes.into_iter().filter(|((node, nic), changed)| *changed > 0 && was_there(doc, *node, nic));
    flapped
        .map(|((node, nic), changed)| {
            let whose = if node == NodeId::CLIENT { "this host's" } else { "the peer's" };
            let lost = changed.div_ceil(2);
            let said = format!(
                "{whose} {nic} lost its link {lost} times during the run ({changed} changes of carrier)"
            );
            let aside = doc.environment(node).is_some() && !part.contains(&(node, nic.clone()));
            let finding =
                Finding::new("LINK-FLAPS", said).tell(told::NIC, nic).with("carrier_changes", changed);
            // A container that ends or a wireless NIC beside the run is no fault of the path.
            match aside {
                true => finding.with_severity(Severity::Info),
                false if is_lost => {
                    let next = format!("{HELD_BACK} {}", finding.next);
                    finding.with_next(next)
                }
                false => finding,
            }
        })
        .collect()
}

/// What is to be done where the run did not outlive a link that came and went.
const HELD_BACK: &str = "The peer was not heard again after it: where the link is back at once and its host half a minute later, the spanning tree of the switch holds the \
                         port back each time; make it an edge port (portfast).";

/// Whether the run ended because nothing came from the peer any more.
fn fell_silent(doc: &ResultDoc) -> bool {
    doc.error.as_ref().is_some_and(|error| {
        let silent = matches!(error.cause, Some(ErrorCause::Silent | ErrorCause::Unreachable));
        error.kind == ErrorKind::PeerLost && silent
    })
}

/// Whether a step took a link down, or was to and did not say that it could not.
fn takes_down(step: &Step) -> bool {
    let loses = step.spec.as_ref().and_then(|spec| spec.contend()?.lost_nic.as_ref()).is_some();
    let lost = step.detail.contend.as_ref().and_then(|detail| detail.lost_nic.as_ref());
    step.detail.failover.is_some() || loses && lost.is_none_or(|lost| lost.taken_down)
}

/// Changes of carrier that no step saw, because they fell between two of them. A run that takes links down itself, or has a NIC start anew
/// because it turns an offload off, makes such changes as well: then nothing is said of them.
fn between_steps(doc: &ResultDoc) -> BTreeMap<(NodeId, String), u64> {
    let touches = |step: &Step| {
        let traffic = step.spec.as_ref().and_then(|spec| spec.traffic());
        takes_down(step)
            || step.follows_up == Some(FollowUp::Loss)
            || traffic.is_some_and(|traffic| !traffic.fail.is_empty() || traffic.offload.is_some())
    };
    if doc.steps.iter().any(touches) {
        return BTreeMap::new();
    }
    let mut last: BTreeMap<(NodeId, &str), u64> = BTreeMap::new();
    let mut found: BTreeMap<(NodeId, String), u64> = BTreeMap::new();
    for evidence in doc.steps.iter().flat_map(|step| &step.evidence) {
        for (nic, now) in evidence.carrier_changes_in_all.iter().flatten() {
            let moved = evidence.nic(nic).and_then(|counts| counts.carrier_changes).unwrap_or(0);
            let before = last.insert((evidence.node, nic.as_str()), *now);
            // An interface that was made anew counts from zero.
            let gap = before.and_then(|before| now.saturating_sub(moved).checked_sub(before)).unwrap_or(0);
            if gap > 0 {
                let sum = found.entry((evidence.node, nic.clone())).or_default();
                *sum = sum.saturating_add(gap);
            }
        }
    }
    found
}

/// Whether an interface was there before the run. One that is made meanwhile has no link that it could have lost.
fn was_there(doc: &ResultDoc, node: NodeId, nic: &str) -> bool {
    doc.environment(node).is_none_or(|host| host.nics.iter().any(|one| one.name == nic))
}

/// Interfaces that carried the run, or that packets to the other end would leave by.
fn part(doc: &ResultDoc) -> BTreeSet<(NodeId, String)> {
    let mut part = super::nics::used(doc);
    for pair in doc.channels.iter().flat_map(|channels| &channels.pairs).filter(|pair| pair.chosen) {
        part.insert((NodeId::CLIENT, pair.local_nic.clone()));
        part.insert((NodeId::SERVER, pair.remote_nic.clone()));
    }
    for node in [NodeId::CLIENT, NodeId::SERVER] {
        let Some(host) = doc.environment(node) else { continue };
        part.extend(host.peers.iter().filter_map(|peer| Some((node, peer.nic.clone()?))));
        // Members of a bundle or a bridge carry what it carries.
        let members: Vec<_> = host.nics.iter().filter_map(|nic| Some((nic, nic.master.clone()?))).collect();
        for (nic, master) in members {
            if part.contains(&(node, master)) {
                part.insert((node, nic.name.clone()));
            }
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::environment::PeerRoute;
    use pathproof_model::{
        ContendDetail, ContendSpec, Environment, Evidence, LostNic, Nic, NicActivity, NicCounts, Node,
        StepError, StepKind, StepSpec, Tool, TrafficSpec,
    };

    #[test]
    fn changes_of_carrier_are_summed_over_the_steps() {
        let mut doc = ResultDoc::new(Tool::default(), "");
        for changed in [0, 2, 4] {
            let counts = NicCounts { carrier_changes: Some(changed), ..NicCounts::still() };
            let nics = Some(vec![NicActivity { nic: "e0".into(), counts }]);
            let mut step = Step::new(StepKind::Reach, "r");
            step.evidence = vec![Evidence { node: NodeId::SERVER, nics, ..Evidence::default() }];
            doc.steps.push(step);
        }
        let found = findings(&doc);
        assert_eq!(found.len(), 1);
        assert!(found[0].evidence.contains("the peer's e0 lost its link 3 times"), "{}", found[0].evidence);
        // A run that outlived it, one that did not, and one whose peer said goodbye.
        assert!(!found[0].next.contains("spanning tree"), "{}", found[0].next);
        let next_of = |doc: &mut ResultDoc, cause: ErrorCause| {
            doc.error = Some(StepError::new(ErrorKind::PeerLost, "gone".into()).caused_by(cause));
            findings(doc).remove(0).next
        };
        let next = next_of(&mut doc, ErrorCause::Silent);
        assert!(next.contains("edge port (portfast)") && next.contains("change cable"), "{next}");
        assert!(!next_of(&mut doc, ErrorCause::Closed).contains("spanning tree"));
        doc.steps.truncate(1);
        assert_eq!(findings(&doc), vec![]);
    }

    #[test]
    fn what_fell_between_two_steps_counts_unless_the_run_itself_touches_links() {
        let document = |steps: &[(u64, u64)]| {
            let step = |(moved, in_all): &(u64, u64)| {
                let counts = NicCounts { carrier_changes: Some(*moved), ..NicCounts::still() };
                let mut step = Step::new(StepKind::Stream, "s");
                step.evidence = vec![Evidence {
                    node: NodeId::SERVER,
                    nics: Some(vec![NicActivity { nic: "e0".into(), counts }]),
                    carrier_changes_in_all: Some([("e0".to_owned(), *in_all)].into()),
                    ..Evidence::default()
                }];
                step
            };
            let steps = steps.iter().map(step).collect();
            ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") }
        };
        let told = |doc: &ResultDoc| findings(doc).first().map(|one| one.values["carrier_changes"].clone());
        // What was counted before the run is none of it.
        assert_eq!(told(&document(&[(0, 7), (0, 7)])), None);
        assert_eq!(told(&document(&[(0, 7), (2, 9), (0, 13)])), Some(6.into()));
        // Made anew, and counting from zero.
        assert_eq!(told(&document(&[(0, 7), (0, 1)])), None);
        let mut own = document(&[(0, 7), (0, 9)]);
        let spec = TrafficSpec { fail: vec!["e0@1s".into()], ..TrafficSpec::default() };
        own.steps[0].spec = Some(StepSpec::Stream(spec));
        assert_eq!(told(&own), None);
    }

    #[test]
    fn a_link_that_a_rehearsal_takes_down_is_no_news_and_one_that_it_left_alone_is() {
        let told = |taken_down| {
            let spec = ContendSpec { lost_nic: Some("e0".into()), ..ContendSpec::default() };
            let lost = LostNic { nic: "e0".into(), taken_down, reason: None };
            let mut step = Step::new(StepKind::Contend, "c");
            step.spec = Some(StepSpec::Contend(spec));
            step.detail.contend = Some(ContendDetail { lost_nic: Some(lost), ..ContendDetail::default() });
            let counts = NicCounts { carrier_changes: Some(2), ..NicCounts::still() };
            let nics = Some(vec![NicActivity { nic: "e0".into(), counts }]);
            step.evidence = vec![Evidence { nics, ..Evidence::default() }];
            let doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
            findings(&doc).len()
        };
        assert_eq!((told(true), told(false)), (0, 1));
    }

    #[test]
    fn a_link_beside_the_run_is_told_and_no_fault_and_one_that_was_made_meanwhile_is_nothing() {
        let nic = |name: &str, master: Option<&str>| Nic {
            name: name.into(),
            master: master.map(str::to_owned),
            ..Nic::default()
        };
        let mut doc = ResultDoc::new(Tool::default(), "");
        let peer = PeerRoute { nic: Some("bond0".into()), ..PeerRoute::to([10, 0, 0, 2].into()) };
        let nics = vec![nic("bond0", None), nic("e0", Some("bond0")), nic("wlan0", None)];
        doc.nodes = vec![Node::here(Some(Environment { nics, peers: vec![peer], ..Environment::default() }))];
        let mut step = Step::new(StepKind::Stream, "s");
        let counts = NicCounts { carrier_changes: Some(2), ..NicCounts::still() };
        let flapped =
            ["e0", "wlan0", "veth9"].map(|nic| NicActivity { nic: nic.into(), counts: counts.clone() });
        step.evidence = vec![Evidence { nics: Some(flapped.into()), ..Evidence::default() }];
        doc.steps.push(step);
        let told: Vec<_> =
            findings(&doc).into_iter().map(|one| (one.values["nic"].clone(), one.severity)).collect();
        assert_eq!(told, [("e0".into(), Severity::Error), ("wlan0".into(), Severity::Info)]);
    }
}
