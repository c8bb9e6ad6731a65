//! NICs tried by themselves over which connections opened late, while what flows over them loses nothing and another NIC had none of it.
//!
//! Refuses to say what holds them up: something that looks at each new connection, and something that loses what comes first after a silence, look alike
//! from the two ends.

use pathproof_model::evidence::TcpCounts;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{End, Finding, FollowUp, NodeId, ResultDoc, Step, code, told};

use super::{Rule, hosts, lost, pressed};

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("CONNECT-SLOW")], find: late }];

/// So many SYNs, or answers to them, were sent again: of two lanes each more than once.
const AGAIN: u64 = 4;
/// A kernel sends the first SYN again after a second.
const LATER_NS: u64 = 1_000_000_000;

fn late(doc: &ResultDoc) -> Vec<Finding> {
    // What opens in part only is told as that, and a host that stands still is late by itself.
    let known = doc.findings.iter().any(|finding| finding.is(code!("CONNECT-PARTIAL")));
    if known || lost(doc, None) || hosts::stands_still(doc) {
        return vec![];
    }
    let alone: Vec<(&str, &Step, u64)> = doc
        .steps
        .iter()
        .filter(|step| step.follows_up == Some(FollowUp::Alone) && step.error.is_none())
        .filter_map(|step| Some((only_nic(step)?, step, sum(step, |tcp| tcp.syn_retransmits)?)))
        .collect();
    let mut found: Vec<Finding> = vec![];
    for (nic, step, again) in alone.iter().copied() {
        let quick = alone.iter().find(|(other, like, syns)| {
            *other != nic && *syns == 0 && step.elapsed_ns >= like.elapsed_ns.saturating_add(LATER_NS)
        });
        let told_of_it = found.iter().any(|one| one.told(told::LOCAL_NIC).as_deref() == Some(nic));
        let Some((other, like, _)) = quick.filter(|_| !told_of_it && again >= AGAIN && !pressed(step)) else {
            continue;
        };
        let Some(others) = sum(step, |tcp| tcp.retransmitted).map(|all| all.saturating_sub(again)) else {
            continue;
        };
        let sent = sum(step, |tcp| tcp.sent).unwrap_or(0);
        // A listener that is out of room does the same, and says so; one in two hundred lost meets what flows as well.
        let full = sum(step, |tcp| tcp.listen_drops).unwrap_or(0) > 0
            || sum(step, |tcp| tcp.listen_overflows).unwrap_or(0) > 0;
        if full || others.saturating_mul(200) > sent {
            continue;
        }
        let said = format!(
            "{nic}: {again} SYNs and answers to SYNs had to be sent again before its connections were open, and {} took {}, where the same over {other} \
             took {} and none was; of {sent} other segments {others} were sent again: what flows is not lost, and what comes first is",
            step.name,
            Nanoseconds(step.elapsed_ns),
            Nanoseconds(like.elapsed_ns)
        );
        let finding =
            Finding::new("CONNECT-SLOW", said).tell(told::LOCAL_NIC, nic).with("syn_retransmits", again);
        found.push(finding.with_next(
            "Look for what loses the first packet after a pause between these two NICs (power saving of NICs and links, flows that a controller has to install), or \
             looks at each new connection (firewall, SYN protection): ping -i 1 and ping -i 0.02 over them tell which; then run again.",
        ));
    }
    found
}

/// What both kernels counted during a step, where both say.
fn sum(step: &Step, of: fn(&TcpCounts) -> Option<u64>) -> Option<u64> {
    let counted = |node| step.evidence(node).and_then(|one| of(one.tcp.as_ref()?));
    Some(counted(NodeId::CLIENT)?.saturating_add(counted(NodeId::SERVER)?))
}

/// The NIC that all lanes of the client were held to.
fn only_nic(step: &Step) -> Option<&str> {
    let mut ours = step.lanes.iter().filter(|lane| lane.end == End::Client);
    let [nic] = &ours.next()?.nics[..] else { return None };
    ours.all(|lane| lane.nics.len() == 1 && lane.nics[0] == *nic).then_some(nic.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{Evidence, HostLoad, LaneResult, StepKind, Tool};

    /// A NIC tried by itself: how long it took, SYNs and other segments that each end sent again, and how long somebody waited for a processor.
    fn alone(nic: &str, elapsed_ms: u64, syns: [u64; 2], others: u64, waited: u64) -> Step {
        let lane = LaneResult { end: End::Client, nics: vec![nic.into()], ..LaneResult::default() };
        let end = |(node, syns): (NodeId, u64)| {
            let tcp = TcpCounts {
                sent: Some(15_000),
                retransmitted: Some(syns + others),
                syn_retransmits: Some(syns),
                ..TcpCounts::still()
            };
            let host = HostLoad { elapsed_ns: 1000, pressure_some_ns: Some(waited), ..HostLoad::default() };
            Evidence { node, tcp: Some(tcp), host: Some(host), ..Evidence::default() }
        };
        let mut step = Step::new(StepKind::Stream, format!("multi stream both ways, {nic} alone"));
        step.follows_up = Some(FollowUp::Alone);
        step.elapsed_ns = elapsed_ms * 1_000_000;
        step.lanes = vec![lane.clone(), lane];
        step.evidence = [NodeId::CLIENT, NodeId::SERVER].into_iter().zip(syns).map(end).collect();
        step
    }

    fn told(steps: Vec<Step>) -> Vec<Finding> {
        late(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") })
    }

    #[test]
    fn a_nic_over_which_connections_open_late_is_told_beside_one_over_which_they_do_not() {
        // As counted over a second network that loses what comes first after 300 ms.
        let quick = || alone("e0", 990, [0, 0], 0, 10);
        let found = told(vec![alone("e1", 5800, [6, 2], 0, 10), quick()]);
        assert_eq!((found.len(), &*found[0].code), (1, "CONNECT-SLOW"));
        assert_eq!(found[0].told(told::LOCAL_NIC).as_deref(), Some("e1"));
        for part in ["e1: 8 SYNs", "took 5.80 s", "over e0 took 990.00 ms", "of 30000 other segments 0 were"]
        {
            assert!(found[0].evidence.contains(part), "{part} is missing in {}", found[0].evidence);
        }
        let none = |steps: Vec<Step>| assert_eq!(told(steps), []);
        // One or two may be chance; it took no longer; what flows is lost as well; a host was busy.
        none(vec![alone("e1", 2800, [2, 1], 0, 10), quick()]);
        none(vec![alone("e1", 1500, [6, 2], 0, 10), quick()]);
        none(vec![alone("e1", 5800, [6, 2], 100, 10), quick()]);
        none(vec![alone("e1", 5800, [6, 2], 0, 900), quick()]);
        // Nothing to hold it against: both are like that, or there is no other.
        none(vec![alone("e1", 5800, [6, 2], 0, 10), alone("e0", 5800, [6, 2], 0, 10)]);
        none(vec![alone("e1", 5800, [6, 2], 0, 10)]);
        // Nobody counted at the other end.
        let mut half = alone("e1", 5800, [6, 2], 0, 10);
        half.evidence.truncate(1);
        none(vec![half, quick()]);
    }
}
