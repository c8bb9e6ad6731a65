//! What paths lose, reorder and copy of datagrams at a low pace, held against what a sample can show.

use super::names;
use super::passed::tcp_passed;
use super::repeats::Repeats;
use super::segments;
use crate::criteria::LossCriteria;
use crate::offloads::ERRORS_MIN;
use crate::{
    Check, Criteria, Direction, LossCounts, LossFlow, LossPath, NodeId, Outcome, ResultDoc, Role, Share,
    Step, Unit,
};

/// For each path and direction: whether all flows carry, and what is lost; reordering and copies where there are too many.
pub(super) fn paths<'a>(doc: &ResultDoc, steps: &[&'a Step], criteria: &Criteria) -> Vec<Check> {
    // RDMA sends everything again from a gap on; who says that RoCE is what the path is for is to know before it carries any.
    let over_rdma = doc.steps.iter().any(|step| step.detail.proof.is_some())
        || doc.requested.as_ref().is_some_and(|plan| plan.is_for(Role::Roce));
    let limits = &criteria.loss;
    let share_max = if over_rdma { limits.rdma_share_max } else { limits.share_max };
    let of = |step: &&'a Step| {
        let step: &'a Step = step;
        let paths = step.detail.loss.as_deref().unwrap_or_default();
        paths.iter().map(move |path| (path, dropped_by_receiver(step, path.direction), busy_host(step)))
    };
    let all: Vec<(&LossPath, u64, Option<String>)> = steps.iter().flat_map(of).collect();
    // Where no pair answers, datagrams may be filtered as such; where others do, this one is dead. Who answers the other way, or an
    // echo, is not, and no more is one over which TCP passes.
    let ends = |path: &LossPath| (path.local_address, path.remote_address);
    let others_answer = |silent: &LossPath| {
        let answers = |path: &LossPath| !path.by_echo && path.flows.iter().any(|flow| flow.answered);
        let same = all.iter().any(|(path, ..)| ends(path) == ends(silent) && !path.is_silent());
        let (ours, theirs) = (silent.local_nic.as_str(), silent.remote_nic.as_str());
        let tcp = || tcp_passed(doc, (ours, silent.local_address), (theirs, silent.remote_address));
        !same && all.iter().any(|(path, ..)| answers(path)) && !tcp()
    };
    let check = |(path, dropped, busy): &(&LossPath, u64, Option<String>)| match path.is_silent() {
        _ if path.by_echo => vec![echoed(path, share_max)],
        true => vec![silent(doc, path, others_answer(path), share_max)],
        false => {
            let mut checks = path_checks(doc, path, *dropped, limits, share_max);
            checks.extend(late(path, busy.as_deref(), limits.late_share_max));
            checks
        }
    };
    let checks: Vec<Check> = all.iter().flat_map(check).collect();
    if checks.is_empty() {
        let text = "no pair of NICs shares a network, so no datagrams were sent";
        return vec![Check::not_judged(names::LOSS_SHARE, text)];
    }
    checks
}

/// Packets that the receiving host of a direction threw away itself while a step ran: before any socket, because a processor could not keep
/// up, and at UDP sockets without room that are not known to be the step's own. They are counted for the whole host, so they may be others'.
pub fn dropped_by_receiver(step: &Step, direction: Direction) -> u64 {
    let node = if direction == Direction::Out { NodeId::SERVER } else { NodeId::CLIENT };
    let Some(evidence) = step.evidence(node) else { return 0 };
    let before = evidence.softnet.as_ref().and_then(|softnet| softnet.dropped).unwrap_or(0);
    let udp = [&evidence.udp, &evidence.udp6].into_iter().flatten();
    let at_sockets = udp.filter_map(|udp| udp.receive_buffer_drops).fold(0, u64::saturating_add);
    let paths = step.detail.loss.iter().flatten().filter(|path| path.direction == direction);
    let own = paths.map(|path| path.overflowed).fold(0, u64::saturating_add);
    before.saturating_add(at_sockets.saturating_sub(own))
}

/// Which host had so little time for its threads that it may have sent or read datagrams late itself.
fn busy_host(step: &Step) -> Option<String> {
    /// Part of the time in which somebody waited for a processor, or a quota held everybody back.
    const PRESSED: f64 = 0.4;
    const HELD: f64 = 0.05;
    step.evidence.iter().find_map(|evidence| {
        let load = evidence.host.as_ref().filter(|load| load.elapsed_ns > 0)?;
        let share = |ns: Option<u64>| ns.map_or(0.0, |ns| ns as f64 / load.elapsed_ns as f64);
        let (pressed, held) = (share(load.pressure_some_ns), share(load.throttled_ns));
        let who = if evidence.node == NodeId::CLIENT { "this host" } else { "the peer" };
        (pressed >= PRESSED || held >= HELD).then(|| {
            format!("{who} was busy (PSI {:.0} %, throttled {:.0} %)", pressed * 100.0, held * 100.0)
        })
    })
}

/// So many times the limit no sender is late that is stopped between reading the clock and sending: when datagrams arrive is the
/// kernel's word, so how long the receiving thread waits does not matter.
const HOST_LATE: f64 = 10.0;

/// Datagrams that came long after the fastest, where there are too many; open where a host may have held them back itself.
fn late(path: &LossPath, busy: Option<&str>, share_max: f64) -> Option<Check> {
    // There is no path that could hold anything back.
    if path.local_address.is_loopback() {
        return None;
    }
    let counts = path.flows.iter().flat_map(|flow| [flow.small, flow.full]);
    let share = counts.fold(Share::default(), |sum, one| sum + Share { part: one.late, of: one.received });
    let check =
        at_most("late-share", &path.name(), "came 50 ms after the fastest and later", share, share_max);
    if check.outcome == Outcome::Pass {
        return None;
    }
    let busy = busy.filter(|_| share.bounds().0 < share_max * HOST_LATE);
    Some(match busy {
        Some(who) => Check {
            outcome: Outcome::Inconclusive,
            text: format!("cannot tell: {who}: {}", check.text),
            ..check
        },
        None => check,
    })
}

fn path_checks(
    doc: &ResultDoc,
    path: &LossPath,
    dropped: u64,
    limits: &LossCriteria,
    share_max: f64,
) -> Vec<Check> {
    let name = path.name();
    if let Some(reason) = &path.reason {
        return vec![Check::not_judged(names::LOSS_SHARE, format!("{name}: not judged: {reason}"))];
    }
    let live: Vec<&LossFlow> = path.flows.iter().filter(|flow| !flow.is_dead()).collect();
    let mut all = LossCounts::default();
    for flow in &live {
        all += flow.small;
        // Where a flow carries no packet of full size, that is a matter of size.
        if !flow.lacks_full_size() {
            all += flow.full;
        }
    }
    if live.is_empty() {
        let text = format!(
            "{name}: not one of {} datagrams arrived",
            path.flows.iter().fold(0u64, |sum, flow| sum.saturating_add(flow.small.sent))
        );
        return vec![Check::fail(names::LOSS_SHARE, text).numbers(1.0, share_max, Unit::Share)];
    }
    let mut checks = vec![lost(doc, &name, path, all, dropped, share_max)];
    checks.extend(refused_here(&name, path, share_max));
    checks.extend(flows(&name, path, &live));
    for (criterion, what, share, max) in [
        ("reordered-share", "overtaken by later ones", all.out_of_order(), limits.reordered_share_max),
        ("duplicated-share", "copies", all.copies(), limits.duplicated_share_max),
    ] {
        let check = at_most(criterion, &name, what, share, max);
        checks.extend((check.outcome != Outcome::Pass).then_some(check));
    }
    checks.extend(corrupted(&name, path, limits.corrupted_share_max));
    checks
}

/// What arrived with other bits than it was sent with, where that is too much. One or two may be anybody's: the count is the host's.
fn corrupted(name: &str, path: &LossPath, share_max: f64) -> Option<Check> {
    let share = path.shares.as_ref()?.corrupted?.counted();
    let check = at_most("corrupted-share", name, "damaged on the way", share, share_max);
    (share.part >= ERRORS_MIN && check.outcome != Outcome::Pass).then_some(check)
}

/// What the sending host itself refused is lost to whoever sends.
fn refused_here(name: &str, path: &LossPath, share_max: f64) -> Option<Check> {
    let share = path.refused_here();
    (share.part > 0)
        .then(|| at_most("refused-share", name, "refused by the sending host itself", share, share_max))
}

/// Echoes in the place of datagrams. Whoever limits them makes them look lost, so that much is no proof of loss.
fn echoed(path: &LossPath, share_max: f64) -> Check {
    let counts = path.flows.iter().fold(LossCounts::default(), |mut sum, flow| {
        sum += flow.small;
        if !flow.lacks_full_size() {
            sum += flow.full;
        }
        sum
    });
    let check = at_most(names::LOSS_SHARE, &path.name(), "lost", counts.lost(), share_max);
    if check.outcome == Outcome::Pass {
        return check;
    }
    let text = format!("cannot tell: echoes may be limited on the way or by a host: {}", check.text);
    Check { outcome: Outcome::Inconclusive, text, ..check }
}

/// A pair over which not one challenge was answered.
fn silent(doc: &ResultDoc, path: &LossPath, others_answer: bool, share_max: f64) -> Check {
    let (name, flows) = (path.name(), path.flows.len());
    if others_answer {
        let text = format!("{name}: not one of {flows} flows was answered, while other pairs were");
        return Check::fail(names::LOSS_SHARE, text).numbers(1.0, share_max, Unit::Share);
    }
    let text = format!("{name}: no datagram was answered, so UDP is filtered on the way or at the peer");
    let by_tcp =
        sent_again(doc, path).map(|share| at_most(names::LOSS_SHARE, &name, "sent again", share, share_max));
    match by_tcp.filter(|check| check.outcome == Outcome::Pass) {
        Some(check) => Check { text: format!("{text}; of TCP's segments, {}", check.text), ..check },
        None => Check::inconclusive(names::LOSS_SHARE, format!("cannot tell: {text}")),
    }
}

/// What TCP sent again between the two addresses of a path in its direction, in the stream that had to do so least: every stream
/// fills the queues of the path, and what is lost there is not lost at a low pace.
fn sent_again(doc: &ResultDoc, path: &LossPath) -> Option<Share> {
    let streams = doc.steps.iter().filter(|step| {
        step.follows_up.is_none() && step.error.is_none() && step.direction == Some(path.direction)
    });
    let between = streams
        .filter(|step| segments(&[*step], path.local_address, path.remote_address, path.direction).is_some());
    let shares =
        between.filter_map(Repeats::of).map(|repeats| Share { part: repeats.again, of: repeats.sent });
    shares.min_by(|a, b| a.bounds().1.total_cmp(&b.bounds().1))
}

/// What was lost on the way; what found no room at the receiving socket is not the path's, and where the host threw as many away
/// itself nobody can tell.
fn lost(
    doc: &ResultDoc,
    name: &str,
    path: &LossPath,
    all: LossCounts,
    dropped: u64,
    share_max: f64,
) -> Check {
    let lost = all.lost();
    let share = Share { part: lost.part.saturating_sub(path.overflowed), of: lost.of };
    let check =
        enough(doc, path, share, at_most(names::LOSS_SHARE, name, "lost", share, share_max), share_max);
    if check.outcome != Outcome::Fail || dropped < share.part {
        return check;
    }
    let text = format!(
        "cannot tell: the receiving host itself dropped {dropped} packets of all sorts before its sockets, or at sockets without room: {}",
        check.text
    );
    Check { outcome: Outcome::Inconclusive, text, ..check }
}

/// A sample that passes by being small says nothing: on a slow path few datagrams are sent, and none of them lost does not mean that few
/// are. The segments of a stream that had to send few again say it as well.
fn enough(doc: &ResultDoc, path: &LossPath, share: Share, check: Check, share_max: f64) -> Check {
    /// A sample is too small to pass that may hide so many times the limit.
    const HIDES: f64 = 20.0;
    let most = |share: Share| share.bounds().1;
    if check.outcome != Outcome::Pass || most(share) <= share_max * HIDES {
        return check;
    }
    let by_tcp = sent_again(doc, path).filter(|again| most(*again) <= share_max * HIDES);
    let percent = most(share) * 100.0;
    match by_tcp {
        Some(Share { part, of }) => {
            let text = format!("{}; of about {of} segments of TCP {part} were sent again", check.text);
            Check { text, ..check }
        }
        None => {
            let why = "so few say no more than that it is below";
            let text = format!("cannot tell: {}; {why} {percent:.1} %; run longer", check.text);
            Check { outcome: Outcome::Inconclusive, text, ..check }
        }
    }
}

/// Fails where the whole interval lies above the limit, and is open where only the count itself does: chance can do that.
fn at_most(criterion: &str, name: &str, what: &str, share: Share, max: f64) -> Check {
    let (low, high) = share.bounds();
    let point = share.point().unwrap_or(0.0);
    let percent = |share: f64| format!("{:.3} %", share * 100.0);
    let text = format!("{name}: {} of {} datagrams {what} ({})", share.part, share.of, percent(point));
    let check = if low > max {
        Check::fail(
            criterion,
            format!("{text}, at least {}, above the limit of {}", percent(low), percent(max)),
        )
    } else if point > max {
        let interval = format!("{} to {}", percent(low), percent(high));
        Check::inconclusive(
            criterion,
            format!(
                "{text}: the sample speaks for {interval}, and the limit is {}; run longer",
                percent(max)
            ),
        )
    } else {
        Check::pass(
            criterion,
            format!("{text} (95 % interval up to {}, limit {})", percent(high), percent(max)),
        )
    };
    check.numbers(share.point(), max, Unit::Share)
}

/// Flows that differ only in their source port must fare alike.
fn flows(name: &str, path: &LossPath, live: &[&LossFlow]) -> Option<Check> {
    const NAME: &str = "flows-carried";
    let (of, dead) = (path.flows.len(), path.flows.len() - live.len());
    let small_only = live.iter().filter(|flow| flow.lacks_full_size()).count();
    let (text, odd) = if dead > 0 {
        (format!("{name}: {dead} of {of} flows carry nothing"), dead)
    } else if small_only > 0 && small_only < of {
        (
            format!("{name}: {small_only} of {of} flows carry no packets of {} bytes", path.full_ip_bytes),
            small_only,
        )
    } else {
        return None;
    };
    Some(Check::fail(NAME, text).numbers((of - odd) as f64, of as f64, Unit::Count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_damaged_fails_from_three_on_where_its_share_is_too_much() {
        let of = |part: u64, of: u64| {
            let change = |path: &mut LossPath| {
                let corrupted = Some(Share { part, of }.into());
                path.shares = Some(crate::LossShares { corrupted, ..crate::LossShares::default() });
            };
            judged(&[(4000, 4000, 1000, 1000)], change)
        };
        assert_eq!((of(2, 5000).0, of(3, 40_000).0), (Outcome::Pass, Outcome::Pass));
        let (outcome, reason) = of(3, 5000);
        assert!(outcome == Outcome::Fail && reason.contains("3 of 5000 datagrams damaged"), "{reason}");
    }

    use crate::evidence::UdpCounts;
    use crate::{Evidence, LossMark, StepKind, Tool};

    fn judged(flows: &[(u64, u64, u64, u64)], change: impl FnOnce(&mut LossPath)) -> (Outcome, String) {
        judged_for(flows, change, vec![])
    }

    fn judged_for(
        flows: &[(u64, u64, u64, u64)],
        change: impl FnOnce(&mut LossPath),
        roles: Vec<Role>,
    ) -> (Outcome, String) {
        let counts = |sent, received| LossCounts { sent, received, ..LossCounts::default() };
        let flow = |(number, (ss, sr, fs, fr)): (usize, &(u64, u64, u64, u64))| LossFlow {
            port: number as u16,
            answered: true,
            small: counts(*ss, *sr),
            full: counts(*fs, *fr),
            ..LossFlow::default()
        };
        let mut path = LossPath {
            local_nic: "a".into(),
            remote_nic: "b".into(),
            local_address: [10, 0, 0, 1].into(),
            remote_address: [10, 0, 0, 2].into(),
            direction: Direction::In,
            by_echo: false,
            small_ip_bytes: 88,
            full_ip_bytes: 9000,
            reason: None,
            flows: flows.iter().enumerate().map(flow).collect(),
            marks: vec![LossMark::default()],
            overflowed: 0,
            delay_variation_ns: None,
            first_router: None,
            last_router: None,
            questions_heard: None,
            changed: None,
            shares: None,
        };
        change(&mut path);
        let mut step = Step::new(StepKind::Loss, "loss");
        step.detail.loss = Some(vec![path]);
        let mut doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
        let steps = vec![crate::StepSpec::Ports(crate::PortsSpec { roles, ..crate::PortsSpec::default() })];
        doc.requested = Some(crate::Plan { steps, ..crate::Plan::default() });
        let verdicts = crate::judge(&doc, &Criteria::default());
        let verdict =
            verdicts.iter().find(|verdict| verdict.subject == crate::Subject::Loss).expect("judged");
        (verdict.outcome, verdict.reason.clone())
    }

    #[test]
    fn what_is_meant_for_roce_is_held_to_its_limit_before_it_carries_any() {
        // Nine of ten thousand: TCP lives with it, and RoCE sends everything again from each on.
        let of = |roles: Vec<Role>| judged_for(&[(80_000, 79_928, 20_000, 19_982)], |_| {}, roles);
        assert_eq!(of(vec![Role::Smb]).0, Outcome::Pass);
        let (outcome, reason) = of(vec![Role::Roce]);
        assert!(outcome == Outcome::Fail && reason.contains("limit of 0.050 %"), "{reason}");
    }

    #[test]
    fn a_share_is_judged_by_what_the_sample_can_show() {
        let of = |lost: u64| judged(&[(8000, 8000 - lost, 2000, 2000)], |_| {});
        assert_eq!(of(0).0, Outcome::Pass);
        // One in ten thousand is worth a warning at most.
        assert_eq!(of(1).0, Outcome::Pass);
        let (outcome, reason) = of(12);
        assert!(outcome == Outcome::Inconclusive && reason.contains("run longer"), "{reason}");
        let (outcome, reason) = of(100);
        assert!(
            outcome == Outcome::Fail && reason.contains("100 of 10000") && reason.contains("b IPv4 in"),
            "{reason}"
        );
    }

    #[test]
    fn what_a_host_refuses_to_send_is_not_hidden_and_a_few_are_no_matter() {
        let of = |failed: u64| judged(&[(8000, 8000, 2000, 2000)], |path| path.flows[0].failed = failed);
        let (outcome, reason) = of(500);
        assert!(
            outcome == Outcome::Fail && reason.contains("refused by the sending host itself"),
            "{reason}"
        );
        assert_eq!(of(1).0, Outcome::Pass);
    }

    #[test]
    fn what_comes_late_fails_unless_a_host_was_busy() {
        let judged = |late: u64, pressure: Option<u64>| {
            let mut paths = vec![];
            judged(&[(1600, 1600, 400, 400)], |path| {
                path.flows[0].small.late = late;
                paths.push(path.clone());
            });
            let mut step = Step::new(StepKind::Loss, "loss");
            step.detail.loss = Some(paths);
            let load = crate::HostLoad {
                elapsed_ns: 1000,
                pressure_some_ns: pressure,
                ..crate::HostLoad::default()
            };
            step.evidence = vec![Evidence { host: Some(load), ..Evidence::default() }];
            let doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
            let verdict = crate::judge(&doc, &Criteria::default()).remove(0);
            (verdict.outcome, verdict.reason)
        };
        assert_eq!(judged(0, None).0, Outcome::Pass);
        assert_eq!(judged(5, None).0, Outcome::Pass);
        assert_eq!(judged(127, Some(100)).0, Outcome::Fail);
        // As seen over a path that stood still, on a machine where somebody waited for three quarters of the time.
        assert_eq!(judged(1143, Some(740)).0, Outcome::Fail);
        let (outcome, reason) = judged(60, Some(930));
        assert!(
            outcome == Outcome::Inconclusive && reason.contains("this host was busy (PSI 93 %"),
            "{reason}"
        );
    }

    #[test]
    fn dead_flows_fail_and_a_size_that_no_flow_carries_is_the_path_mtus_affair() {
        let (outcome, reason) = judged(&[(80, 80, 20, 20), (80, 0, 20, 0)], |_| {});
        assert!(outcome == Outcome::Fail && reason.contains("1 of 2 flows carry nothing"), "{reason}");
        let (outcome, reason) = judged(&[(80, 80, 20, 20), (80, 80, 20, 0)], |_| {});
        assert!(outcome == Outcome::Fail && reason.contains("9000 bytes"), "{reason}");
        assert_eq!(judged(&[(800, 800, 200, 0), (800, 800, 200, 0)], |_| {}).0, Outcome::Pass);
        assert_eq!(judged(&[(80, 0, 20, 0)], |_| {}).0, Outcome::Fail);
    }

    #[test]
    fn what_the_receiving_host_may_have_dropped_itself_is_open() {
        let judged = |dropped| {
            let mut paths = vec![];
            judged(&[(8000, 7900, 2000, 2000)], |path| paths.push(path.clone()));
            let mut step = Step::new(StepKind::Loss, "loss");
            step.detail.loss = Some(paths);
            let softnet = crate::evidence::SoftnetCounts {
                dropped: Some(dropped),
                ..crate::evidence::SoftnetCounts::still()
            };
            // The path leads in.
            step.evidence =
                vec![Evidence { node: NodeId::CLIENT, softnet: Some(softnet), ..Evidence::default() }];
            let doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
            crate::judge(&doc, &Criteria::default()).remove(0).outcome
        };
        assert_eq!((judged(99), judged(100)), (Outcome::Fail, Outcome::Inconclusive));
    }

    #[test]
    fn what_sockets_of_the_receiving_host_had_no_room_for_counts_beside_what_is_known_to_be_the_steps_own() {
        let mut step = Step::new(StepKind::Loss, "loss");
        let mut paths = vec![];
        judged(&[(8000, 7900, 2000, 2000)], |path| paths.push(path.clone()));
        let direction = paths[0].direction;
        paths[0].overflowed = 30;
        step.detail.loss = Some(paths);
        let full = |drops| UdpCounts { receive_buffer_drops: Some(drops), ..UdpCounts::still() };
        let evidence =
            |node| Evidence { node, udp: Some(full(90)), udp6: Some(full(10)), ..Evidence::default() };
        let (receiver, sender) = match direction {
            Direction::Out => (NodeId::SERVER, NodeId::CLIENT),
            Direction::In | Direction::Both => (NodeId::CLIENT, NodeId::SERVER),
        };
        step.evidence = vec![evidence(receiver)];
        assert_eq!(dropped_by_receiver(&step, direction), 70);
        // Those of the sender are not.
        step.evidence = vec![evidence(sender)];
        assert_eq!(dropped_by_receiver(&step, direction), 0);
    }

    #[test]
    fn a_silent_pair_is_dead_where_another_answers_and_unknown_where_none_does() {
        let silence = |path: &mut LossPath| path.flows.iter_mut().for_each(|flow| flow.answered = false);
        let (outcome, reason) = judged(&[(0, 0, 0, 0)], silence);
        assert!(outcome == Outcome::Inconclusive && reason.contains("filtered"), "{outcome:?} {reason}");
        let mut step = Step::new(StepKind::Loss, "loss");
        let mut paths = vec![];
        judged(&[(8000, 8000, 2000, 2000)], |path| paths.push(path.clone()));
        judged(&[(0, 0, 0, 0)], |path| {
            silence(path);
            path.remote_address = [10, 0, 1, 2].into();
            paths.push(path.clone());
        });
        step.detail.loss = Some(paths);
        let doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
        let verdict = crate::judge(&doc, &Criteria::default()).remove(0);
        assert!(
            verdict.outcome == Outcome::Fail && verdict.reason.contains("while other pairs"),
            "{}",
            verdict.reason
        );
    }

    #[test]
    fn a_sample_too_small_to_show_anything_does_not_pass_unless_tcp_shows_it() {
        // Three hundred datagrams may hide no more than twenty times the limit.
        assert_eq!(judged(&[(240, 240, 60, 60)], |_| {}).0, Outcome::Pass);
        let mut paths = vec![];
        let (outcome, reason) = judged(&[(120, 120, 30, 30)], |path| {
            path.direction = Direction::Out;
            paths.push(path.clone());
        });
        assert!(outcome == Outcome::Inconclusive && reason.contains("below 2.5 %"), "{reason}");
        let mut step = Step::new(StepKind::Loss, "loss");
        step.detail.loss = Some(paths);
        let mut stream = super::super::segments::tests::document(1448, 10 << 20).steps.remove(0);
        stream.direction = Some(Direction::Out);
        (stream.summary.bytes, stream.summary.retransmits) = (Some(10 << 20), Some(20));
        let mut doc = ResultDoc { steps: vec![step, stream], ..ResultDoc::new(Tool::default(), "") };
        let of = |doc: &ResultDoc| {
            let verdicts = crate::judge(doc, &Criteria::default());
            let loss = verdicts.into_iter().find(|verdict| verdict.subject == crate::Subject::Loss).unwrap();
            (loss.outcome, loss.reason)
        };
        assert_eq!(of(&doc).0, Outcome::Pass, "{}", of(&doc).1);
        doc.steps[1].summary.retransmits = Some(200);
        assert_eq!(of(&doc).0, Outcome::Inconclusive);
    }

    #[test]
    fn echoes_can_clear_a_path_and_never_accuse_it() {
        let echo = |received| {
            judged(&[(160, received, 40, 40)], |path| {
                (path.by_echo, path.direction) = (true, Direction::Both);
            })
        };
        let (outcome, reason) = echo(160);
        assert!(outcome == Outcome::Pass && reason.contains("both by echo"), "{reason}");
        let (outcome, reason) = echo(80);
        assert!(outcome == Outcome::Inconclusive && reason.contains("echoes may be limited"), "{reason}");
    }

    #[test]
    fn the_other_direction_of_a_pair_does_not_make_it_dead() {
        let mut paths = vec![];
        judged(&[(8000, 8000, 2000, 2000)], |path| paths.push(path.clone()));
        judged(&[(0, 0, 0, 0)], |path| {
            path.direction = Direction::Out;
            path.flows[0].answered = false;
            paths.push(path.clone());
        });
        let mut step = Step::new(StepKind::Loss, "loss");
        step.detail.loss = Some(paths);
        let mut doc = ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") };
        let of = |doc: &ResultDoc| {
            let verdicts = crate::judge(doc, &Criteria::default());
            let loss = verdicts.into_iter().find(|verdict| verdict.subject == crate::Subject::Loss).unwrap();
            (loss.outcome, loss.reason)
        };
        assert_eq!(of(&doc).0, Outcome::Inconclusive);
        // What TCP did not have to send again arrived.
        let mut stream = super::super::segments::tests::document(1448, 100 << 20).steps.remove(0);
        stream.direction = Some(Direction::Out);
        (stream.summary.bytes, stream.summary.retransmits) = (Some(100 << 20), Some(2));
        doc.steps.push(stream);
        let (outcome, reason) = of(&doc);
        assert_eq!(outcome, Outcome::Pass, "{reason}");
        doc.steps[1].summary.retransmits = Some(200);
        assert_eq!(of(&doc).0, Outcome::Inconclusive);
    }

    #[test]
    fn what_the_host_had_no_room_for_and_what_was_not_sent_is_no_loss_of_the_path() {
        assert_eq!(judged(&[(8000, 7900, 2000, 2000)], |path| path.overflowed = 100).0, Outcome::Pass);
        let (outcome, reason) = judged(&[], |path| path.reason = Some("UDP is filtered".into()));
        assert!(outcome != Outcome::Pass && reason.contains("UDP is filtered"), "{outcome:?} {reason}");
    }
}
