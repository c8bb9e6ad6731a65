//! Connections as such: those that do not open while others do, and those that somebody else ended.

use pathproof_model::code;
use pathproof_model::evidence::TcpCounts;
use pathproof_model::judge::repeats::dropped_at_home;
use pathproof_model::told;
use pathproof_model::units::Nanoseconds;
use pathproof_model::{
    Direction, End, ErrorCause, ErrorKind, Evidence, Finding, FollowUp, LaneResult, NodeId, PathRecord,
    ResultDoc, Step, StepError,
};

use super::{Rule, lost, planned, whose};

/// So many SYNs must have been sent again.
const SYNS: u64 = 4;

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("CONNECT-PARTIAL")], find: |doc| unanswered(doc).into_iter().collect() },
    Rule {
        codes: &[code!("TCP-RESET")],
        find: |doc| reset(doc).or_else(|| reset_of_a_nic(doc)).into_iter().collect(),
    },
    Rule { codes: &[code!("TCP-RESET")], find: |doc| aged(doc).into_iter().collect() },
    Rule { codes: &[code!("CONNECT-PARTIAL")], find: never_opened },
];

fn tcp(step: &Step, node: NodeId) -> Option<&TcpCounts> {
    step.evidence(node)?.tcp.as_ref()
}

/// SYNs of data lanes that had to be sent again, while what is open loses nothing: new connections are held back, not packets.
fn unanswered(doc: &ResultDoc) -> Option<Finding> {
    // A pair of NICs over which nothing passes answers no SYN either.
    let told = [code!("CONNECT-PARTIAL"), code!("CHANNEL-LOST"), code!("CHANNEL-DEAD"), code!("MTU-UNKNOWN")];
    let known = doc.findings.iter().any(|finding| told.iter().any(|code| finding.is(*code)));
    if known || lost(doc, None) || !super::subnets::strict(doc).is_empty() {
        return None;
    }
    // The step that asks for ports dials those that may be closed; lanes go to the port at which the session was accepted.
    let steps = || planned(doc).filter(|step| step.kind.traits().dials_lanes);
    let sum = |of: fn(&TcpCounts) -> Option<u64>| {
        let ends = steps().flat_map(|step| [NodeId::CLIENT, NodeId::SERVER].map(|node| tcp(step, node)));
        ends.flatten().filter_map(of).fold(0u64, u64::saturating_add)
    };
    let client = |of: fn(&TcpCounts) -> Option<u64>| {
        steps().filter_map(|step| of(tcp(step, NodeId::CLIENT)?)).fold(0u64, u64::saturating_add)
    };
    let again = client(|tcp| tcp.syn_retransmits);
    let sent = client(|tcp| tcp.sent);
    // What this host's own queue dropped nobody on the way held back.
    let outward = steps().filter(|step| step.direction != Some(Direction::In));
    let at_home = outward.map(dropped_at_home).fold(0u64, u64::saturating_add);
    let others = client(|tcp| tcp.retransmitted).saturating_sub(again.saturating_add(at_home));
    // A listener that is out of room does the same, and says so.
    let refused = sum(|tcp| tcp.listen_drops).saturating_add(sum(|tcp| tcp.listen_overflows));
    // One in a hundred lost would have met data as well.
    if again < SYNS || refused > 0 || others.saturating_mul(200) > sent {
        return None;
    }
    let dialled = steps().flat_map(|step| &step.lanes).filter(|lane| lane.end == End::Client);
    let (opened, never) = dialled.fold((0u64, 0u64), |(opened, never), lane| {
        if lane.error.is_some() && lane.bytes == 0 { (opened, never + 1) } else { (opened + 1, never) }
    });
    let said = format!(
        "from this host to the server (out): {again} SYNs of data lanes were not answered and had to be sent again ({opened} lanes opened, \
         {never} did not), while of {sent} other segments {others} were: new connections are held back, and packets are not"
    );
    // A host that counts as many of them as it had no room for names the place.
    let counted: Vec<&Evidence> = planned(doc).flat_map(|step| &step.evidence).collect();
    let table = crate::ports::findings::tracked(counted.iter().copied());
    let table = table.filter(|(_, refused)| *refused >= again);
    let finding = match table {
        Some((who, refused)) => {
            let said = format!(
                "{said}; connection tracking of {who} could not take in {refused} packets of new connections during the run"
            );
            Finding::new("CONNECT-PARTIAL", said).with_next(crate::ports::findings::FULL_TABLE)
        }
        None => Finding::new("CONNECT-PARTIAL", said),
    };
    Some(finding.with("syn_retransmits", again).with("opened", opened))
}

/// NICs tried by themselves over which not one connection opened, while datagrams pass between the same two: a pair that never carried a
/// byte of TCP carries none of SMB either.
fn never_opened(doc: &ResultDoc) -> Vec<Finding> {
    /// Both lanes of such a try asked twice.
    const ASKED: u64 = 2;
    if lost(doc, None) {
        return vec![];
    }
    let passes = |nic: &str| {
        let paths = doc.steps.iter().filter_map(|step| step.detail.loss.as_deref()).flatten();
        paths.filter(|path| path.local_nic == nic).any(|path| {
            let received =
                |flow: &pathproof_model::LossFlow| flow.small.received.saturating_add(flow.full.received);
            path.flows.iter().map(received).fold(0, u64::saturating_add) > 0
        })
    };
    let alone = doc.steps.iter().filter(|step| step.follows_up == Some(FollowUp::Alone));
    let told = alone.filter_map(|step| {
        let mut ours = step.lanes.iter().filter(|lane| lane.end == End::Client).peekable();
        let first = ours.peek().copied()?;
        let [nic] = &first.nics[..] else { return None };
        let silent = |lane: &pathproof_model::LaneResult| {
            let kind = lane.error.as_ref().map(|why| why.kind);
            lane.bytes == 0 && matches!(kind, Some(ErrorKind::Timeout | ErrorKind::OutOfTime))
        };
        let again = tcp(step, NodeId::CLIENT)?.syn_retransmits.filter(|again| *again >= ASKED)?;
        (ours.all(silent) && passes(nic)).then_some((nic, again))
    });
    let finding = |(nic, again): (&String, u64)| {
        let said = format!(
            "{nic}: not one connection opened over it ({again} SYNs were sent again, none was answered), while datagrams pass between the \
             same two addresses"
        );
        Finding::new("CONNECT-PARTIAL", said).tell(told::LOCAL_NIC, nic.clone()).with("syn_retransmits", again).with_next(
            "Look for a firewall between these two addresses that drops TCP, or this port alone, at the peer's NIC and on the way: over this pair \
             nothing that is TCP was seen to work. Let it pass, and run again.",
        )
    };
    told.map(finding).collect()
}

/// Whether a connection was reset, by whomever. An end that does not say how it was lost (an older build) is no witness of a reset.
fn was_reset(why: &StepError) -> bool {
    why.kind == ErrorKind::PeerLost && why.cause == Some(ErrorCause::Reset)
}

/// Connections left silent of which the longer silence is dead, in a step in which the session's own was reset, which is never silent: what they have
/// in common is their age. A peer that went away resets the session as well, and closes what was left silent with it.
fn aged(doc: &ResultDoc) -> Option<Finding> {
    let mut reset = planned(doc).filter(|step| step.error.as_ref().is_some_and(was_reset));
    let (step, (direction, (alive_ns, dead_ns))) = reset.find_map(|step| {
        // Those of another network tell nothing of the session's own.
        let mut records = step.detail.left_silent.iter().flatten().filter(|record| record.subnet.is_none());
        let cut = records.find_map(|record| Some((record.direction, record.forgotten()?)));
        // None that was alive tells no age.
        cut.filter(|(_, (alive_ns, _))| *alive_ns > 0).map(|cut| (step, cut))
    })?;
    let age_ns = step.started_ns.saturating_add(step.elapsed_ns);
    let said = format!(
        "{}: the session's own connection, which is never silent, was reset {} after the run began, and of connections left silent one was alive \
         after {} and one was dead after {}: none was seen to live longer, silent or not",
        crate::ports::findings::way(direction),
        Nanoseconds(age_ns),
        Nanoseconds(alive_ns),
        Nanoseconds(dead_ns)
    );
    let finding = Finding::new("TCP-RESET", said).with("age_ns", age_ns).open(&[code!("PEER-LOST")]);
    Some(finding.with("survived_ns", alive_ns).with("dead_after_ns", dead_ns))
}

/// A connection of a stripe that was reset while the others of it went on, and that opened again at once: no link was down, neither program had ended,
/// and neither end had given it up for its silence.
fn reset_of_a_nic(doc: &ResultDoc) -> Option<Finding> {
    /// Who gives a connection up for its silence has waited for longer, and the other end is then reset by that.
    const NOTICED_NS: u64 = 100_000_000;
    if doc.error.is_some() || doc.findings.iter().any(|finding| finding.is(code!("ADDRESS-DUPLICATE"))) {
        return None;
    }
    let steps = doc.steps.iter().filter(|step| {
        let traffic = step.spec.as_ref().and_then(|spec| spec.traffic());
        let fails = traffic.is_some_and(|traffic| !traffic.fail.is_empty());
        // A path that died by itself has no NIC that was taken down, and no moment at which that was.
        let failover = step.detail.failover.as_ref();
        let asked = failover.is_some_and(|one| one.nic.is_some() || one.failed_at_ns.is_some());
        step.error.is_none() && step.detail.contend.is_none() && !(fails || asked)
    });
    let quick =
        |path: &PathRecord| path.deaths > 0 && path.noticed_after_ns.is_some_and(|ns| ns < NOTICED_NS);
    let told = steps.filter_map(|step| {
        // The kernel of one end at least was sent a reset.
        let ends = [NodeId::CLIENT, NodeId::SERVER];
        let resets: Option<u64> = ends.iter().map(|node| tcp(step, *node)?.connections_reset).sum();
        resets.filter(|resets| *resets > 0)?;
        step.lanes.iter().filter(|lane| lane.end == End::Client).find_map(|lane| {
            let far = step.lanes.iter().find(|one| one.lane == lane.lane && one.end == End::Server)?;
            let (near, far) = (lane.stripe.as_ref()?, far.stripe.as_ref()?);
            // With several connections a NIC it is not known whose each is.
            if near.paths.len() != lane.nics.len() {
                return None;
            }
            let paths = near.paths.iter().zip(&far.paths).zip(&lane.nics);
            let mut died = paths.filter(|((near, far), _)| quick(near) && quick(far));
            let ((path, _), nic) = died.next()?;
            let steady = ends.iter().all(|node| no_link_changed(step, *node));
            let back = near.rejoined.saturating_add(far.rejoined) > 0;
            (steady && back).then_some((step, nic, path.sent_bytes.max(path.received_bytes)))
        })
    });
    let all: Vec<(&Step, &String, u64)> = told.collect();
    let (step, nic, carried) = all.first()?;
    let said = format!(
        "{}: a connection over {nic} was reset after some {}, while its NIC kept its link, both programs and the other connections went on, and it opened \
         again at once; {} steps met it",
        step.name,
        pathproof_model::units::Bytes(*carried),
        all.len()
    );
    let finding = Finding::new("TCP-RESET", said).tell(told::LOCAL_NIC, (*nic).clone());
    Some(finding.with("bytes", *carried).with("steps", all.len() as u64))
}

/// Whether every link of a host surely stayed as it was during a step.
fn no_link_changed(step: &Step, node: NodeId) -> bool {
    let nics = step.evidence(node).and_then(|evidence| evidence.nics.as_ref());
    nics.is_some_and(|nics| nics.iter().all(|nic| nic.counts.carrier_changes == Some(0)))
}

/// A lane that was reset although both programs were there to the end: somebody between them did it.
fn reset(doc: &ResultDoc) -> Option<Finding> {
    // A peer that went away resets what it had.
    if doc.error.is_some() || doc.findings.iter().any(|finding| finding.is(code!("ADDRESS-DUPLICATE"))) {
        return None;
    }
    let cut = |step: &Step| -> Option<(NodeId, u64)> {
        // An end that gave up for another reason, time or silence say, resets what it had: then nobody else did.
        // A lane that was given up because another was reset says nothing more.
        let of_lanes = step.lanes.iter().filter_map(|lane| lane.error.as_ref());
        let errors = step.error.iter().chain(of_lanes.filter(|why| !why.kind.is_interruption()));
        let only = errors.into_iter().all(was_reset);
        let broken = |lane: &&LaneResult| {
            lane.bytes > 0 && lane.error.as_ref().is_some_and(|why| !why.kind.is_interruption())
        };
        let lane = step.lanes.iter().find(broken)?;
        if !only || step.detail.failover.is_some() {
            return None;
        }
        let end = lane.end.node();
        // Both halves came, so neither program had ended; and the kernel counted a reset, no silence.
        let both = [NodeId::CLIENT, NodeId::SERVER].into_iter().all(|node| tcp(step, node).is_some());
        let resets = tcp(step, end)?.connections_reset.filter(|resets| *resets > 0)?;
        both.then_some((end, resets))
    };
    let all: Vec<(&Step, NodeId, u64)> =
        planned(doc).filter_map(|step| cut(step).map(|(end, resets)| (step, end, resets))).collect();
    let (step, end, _) = all.first()?;
    let carried = step.lanes.iter().map(|lane| lane.bytes).max().unwrap_or(0);
    let said = format!(
        "{}: a connection was reset at {} after some {}, while both programs and the session between them went on; {} of {} steps met it",
        step.name,
        whose(*end),
        pathproof_model::units::Bytes(carried),
        all.len(),
        planned(doc).filter(|step| !step.lanes.is_empty()).count()
    );
    Some(Finding::new("TCP-RESET", said).with("bytes", carried).with("steps", all.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;
    use pathproof_model::evidence::{QueueActivity, QueueCounts};
    use pathproof_model::{Failover, StepKind, Tool};

    fn findings(doc: &ResultDoc) -> Vec<Finding> {
        all(RULES, doc)
    }

    fn evidence(node: NodeId, tcp: TcpCounts) -> Evidence {
        Evidence { node, tcp: Some(tcp), ..Evidence::default() }
    }

    fn stream(here: TcpCounts, there: TcpCounts, error: Option<ErrorKind>) -> Step {
        let mut step = Step::new(StepKind::Stream, "tcp stream out");
        step.evidence = vec![evidence(NodeId::CLIENT, here), evidence(NodeId::SERVER, there)];
        let words = "Connection reset by peer (os error 104)";
        let error = error.map(|kind| StepError::new(kind, words.into()).caused_by(ErrorCause::Reset));
        step.lanes = vec![LaneResult { end: End::Client, bytes: 30 << 20, error, ..LaneResult::default() }];
        step
    }

    fn codes(steps: Vec<Step>) -> Vec<String> {
        let doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
        findings(&doc).into_iter().map(|finding| finding.code).collect()
    }

    /// Two connections of a stripe of which the second died after 11 MB, as it was measured through something that resets connections.
    fn stripe(noticed_ns: u64, resets: u64, carrier_changes: u64, rejoined: u64) -> Step {
        use pathproof_model::StripeRecord;
        use pathproof_model::evidence::{NicActivity, NicCounts};
        let reset = TcpCounts { connections_reset: Some(resets), ..TcpCounts::still() };
        let mut step = stream(TcpCounts::still(), reset, None);
        for evidence in &mut step.evidence {
            let counts = NicCounts { carrier_changes: Some(carrier_changes), ..NicCounts::still() };
            evidence.nics = Some(vec![NicActivity { nic: "e1".into(), counts }]);
        }
        let path = |deaths: u64, noticed_ns: u64| PathRecord {
            sent_bytes: 11_665_408,
            deaths,
            noticed_after_ns: (deaths > 0).then_some(noticed_ns),
            ..PathRecord::default()
        };
        let lane = |end: End, noticed_ns: u64| LaneResult {
            end,
            nics: vec!["e0".into(), "e1".into()],
            stripe: Some(StripeRecord {
                paths: vec![path(0, 0), path(1, noticed_ns)],
                rejoined,
                ..StripeRecord::default()
            }),
            ..LaneResult::default()
        };
        step.lanes = vec![lane(End::Client, noticed_ns), lane(End::Server, 0)];
        step.detail.failover = Some(Failover::default());
        step
    }

    #[test]
    fn a_connection_of_a_stripe_that_somebody_reset_is_told_with_its_nic() {
        let told = |step: Step| {
            let doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
            findings(&doc).into_iter().map(|finding| (finding.code, finding.evidence)).next()
        };
        let (code, said) = told(stripe(1_823_520, 1, 0, 1)).unwrap();
        assert_eq!(code, "TCP-RESET");
        assert!(said.contains("over e1"), "{said}");
        // An end gave it up for its silence; nobody was sent a reset; a link went down; and it never opened again.
        assert_eq!(told(stripe(500_000_000, 1, 0, 1)), None);
        assert_eq!(told(stripe(1_823_520, 0, 0, 1)), None);
        assert_eq!(told(stripe(1_823_520, 1, 2, 1)), None);
        assert_eq!(told(stripe(1_823_520, 1, 0, 0)), None);
        // It was the run that took the NIC down.
        let mut asked = stripe(1_823_520, 1, 0, 1);
        asked.detail.failover = Some(Failover { nic: Some("e1".into()), ..Failover::default() });
        assert_eq!(told(asked), None);
    }

    #[test]
    fn syns_that_wait_while_data_flows_are_held_back_and_lost_ones_are_not_told_so() {
        let still = TcpCounts::still;
        let held =
            TcpCounts { syn_retransmits: Some(6), retransmitted: Some(6), sent: Some(20_000), ..still() };
        assert_eq!(codes(vec![stream(held.clone(), still(), None)]), ["CONNECT-PARTIAL"]);
        // A few, as where a connection in ten thousand is unlucky.
        let few = TcpCounts { syn_retransmits: Some(2), ..held.clone() };
        assert_eq!(codes(vec![stream(few, still(), None)]), [""; 0]);
        // Data is lost as well: it is the path.
        let lossy = TcpCounts { retransmitted: Some(900), ..held.clone() };
        assert_eq!(codes(vec![stream(lossy.clone(), still(), None)]), [""; 0]);
        // It is lost in this host's own queue, behind which no SYN stands long.
        let mut own = stream(lossy, still(), None);
        let counts = QueueCounts { drops: Some(894), ..QueueCounts::default() };
        own.evidence[0].queues = Some(vec![QueueActivity { counts, ..QueueActivity::default() }]);
        assert_eq!(codes(vec![own]), ["CONNECT-PARTIAL"]);
        // The listener had no room.
        let full = TcpCounts { listen_drops: Some(6), ..still() };
        assert_eq!(codes(vec![stream(held.clone(), full, None)]), [""; 0]);
        // A table of connections that had no room is named.
        let table = |refused| {
            let mut step = stream(held.clone(), still(), None);
            let counts = pathproof_model::evidence::ConntrackCounts {
                dropped: Some(refused),
                ..pathproof_model::evidence::ConntrackCounts::still()
            };
            step.evidence[1].conntrack = Some(counts);
            let doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
            findings(&doc).remove(0).evidence
        };
        assert!(table(6).contains("tracking of the peer could not take in 6 packets"));
        assert!(!table(5).contains("tracking"));
        // Ports that nobody listens at are asked in vain.
        let mut ports = stream(held, still(), None);
        ports.kind = StepKind::Ports;
        assert_eq!(codes(vec![ports]), [""; 0]);
    }

    #[test]
    fn a_reset_is_somebody_elses_where_both_ends_were_there_to_the_end() {
        let cut = || TcpCounts { connections_reset: Some(1), ..TcpCounts::still() };
        assert_eq!(codes(vec![stream(cut(), cut(), Some(ErrorKind::PeerLost))]), ["TCP-RESET"]);
        // A migration whose destination was reset, and whose source heard nothing and was told.
        let mut told = stream(TcpCounts::still(), cut(), Some(ErrorKind::PeerLost));
        let lane = told.lanes[0].clone();
        let why = StepError::new(ErrorKind::Interrupted, "given up".into());
        told.error = lane.error.clone();
        told.lanes =
            vec![LaneResult { error: Some(why), ..lane.clone() }, LaneResult { end: End::Server, ..lane }];
        assert_eq!(codes(vec![told]), ["TCP-RESET"]);
        // The other end gave up first.
        let mut given_up = stream(cut(), cut(), Some(ErrorKind::PeerLost));
        let message = "it has not answered for 10 s".into();
        given_up.error = Some(StepError::new(ErrorKind::PeerLost, message).caused_by(ErrorCause::Silent));
        assert_eq!(codes(vec![given_up]), [""; 0]);
        // The same words without a cause, as an older build says them, decide nothing.
        let mut older = stream(cut(), cut(), Some(ErrorKind::PeerLost));
        older.lanes[0].error.as_mut().unwrap().cause = None;
        assert_eq!(codes(vec![older]), [""; 0]);
        // Silence, a lane that ended well, and a half that never came.
        assert_eq!(codes(vec![stream(TcpCounts::still(), cut(), Some(ErrorKind::PeerLost))]), [""; 0]);
        assert_eq!(codes(vec![stream(cut(), cut(), None)]), [""; 0]);
        let mut half = stream(cut(), cut(), Some(ErrorKind::PeerLost));
        half.evidence.truncate(1);
        assert_eq!(codes(vec![half]), [""; 0]);
    }

    #[test]
    fn connections_that_are_cut_when_they_are_so_old_are_told_so_and_not_that_they_were_silent() {
        use pathproof_model::{LeftSilent, SilentRecord};
        let ports = |alive: [bool; 4], cause: ErrorCause| {
            let mut step = Step::new(StepKind::Ports, "ports and connections");
            let times = [1_005_727_899, 2_005_876_327, 4_005_865_164, 8_006_049_990];
            let tried = times.into_iter().zip(alive).map(|(silent_ns, alive)| LeftSilent {
                silent_ns,
                alive,
                ..LeftSilent::default()
            });
            let tried = tried.collect();
            step.detail.left_silent = Some(vec![SilentRecord {
                direction: Direction::Out,
                subnet: None,
                tried,
                used_answered_ns: vec![],
            }]);
            (step.started_ns, step.elapsed_ns) = (225_174_703, 8_064_344_084);
            step.error = Some(StepError::new(ErrorKind::PeerLost, "in words".into()).caused_by(cause));
            step
        };
        let reset = ErrorCause::Reset;
        let cut = [true, true, true, false];
        let doc = ResultDoc { steps: vec![ports(cut, reset)], ..ResultDoc::new(Tool::default(), "") };
        let found = findings(&doc);
        assert_eq!((found.len(), &*found[0].code, &*found[0].open[0]), (1, "TCP-RESET", "PEER-LOST"));
        for part in ["reset 8.29 s after the run", "alive after 4.01 s", "dead after 8.01 s", "silent or not"]
        {
            assert!(found[0].evidence.contains(part), "{part} is missing in {}", found[0].evidence);
        }
        // All that was left silent lived, nothing of it did, and a session that ended otherwise.
        assert_eq!(codes(vec![ports([true; 4], reset)]), [""; 0]);
        assert_eq!(codes(vec![ports([false; 4], reset)]), [""; 0]);
        assert_eq!(codes(vec![ports(cut, ErrorCause::Silent)]), [""; 0]);
    }

    #[test]
    fn a_nic_over_which_nothing_opens_is_told_where_datagrams_pass_and_not_where_nobody_waited() {
        let told = |again: u64, received: u64, bytes: u64, kind: ErrorKind| {
            let tcp = TcpCounts { syn_retransmits: Some(again), ..TcpCounts::still() };
            let error = Some(StepError::new(kind, "no answer within 8000 ms".into()));
            let lane = LaneResult {
                end: End::Client,
                nics: vec!["e1".into()],
                bytes,
                error,
                ..LaneResult::default()
            };
            let mut alone = Step::new(StepKind::Stream, "e1 alone");
            alone.follows_up = Some(FollowUp::Alone);
            alone.lanes = vec![lane.clone(), lane];
            alone.evidence = vec![Evidence { tcp: Some(tcp), ..Evidence::default() }];
            let small = pathproof_model::LossCounts { sent: 900, received, ..Default::default() };
            let flow = pathproof_model::LossFlow { port: 1, answered: true, small, ..Default::default() };
            let mut loss = Step::new(StepKind::Loss, "datagram loss");
            let path = super::super::tests::loss_path();
            loss.detail.loss =
                Some(vec![pathproof_model::LossPath { local_nic: "e1".into(), flows: vec![flow], ..path }]);
            let doc = ResultDoc { steps: vec![loss, alone], ..ResultDoc::new(Tool::default(), "") };
            findings(&doc).into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!(told(12, 900, 0, ErrorKind::Timeout), ["CONNECT-PARTIAL"]);
        // Nothing else passes either; it carried; nobody asked twice; it was refused, or its host could not.
        assert_eq!(told(12, 0, 0, ErrorKind::Timeout), [""; 0]);
        assert_eq!(told(12, 900, 9000, ErrorKind::Timeout), [""; 0]);
        assert_eq!(told(1, 900, 0, ErrorKind::OutOfTime), [""; 0]);
        assert_eq!(told(12, 900, 0, ErrorKind::System), [""; 0]);
    }
}
