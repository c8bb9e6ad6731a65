//! The search for the packet rate at which loss begins: which rate is tried next, what the trials come to, and who loses.
//!
//! A rate loses where it did so twice: once may be a host that was kept from reading. It holds where it did so once.

use pathproof_model::{
    Direction, Evidence, Finding, FollowUp, LossPath, LossPlace, LossProbe, LossSpec, NodeId, PacketPath,
    PacketPathKind, PacketRate, RateTrial, ResultDoc, Step, StepSpec,
};

use crate::channels::packet_path::of_nic;

/// Where the search begins.
const FIRST: u32 = 1000;
/// What loses at so few packets a second loses for another reason than their rate.
const LEAST: u32 = 50;
/// One packet of so many may be lost.
const LOST_IN: u64 = 1000;
/// The search ends where both sides of the edge are so near.
const NEAR: f64 = 1.03;
/// Of what a trial asks for a host that keeps up sends this part.
const KEPT_UP: f64 = 0.97;
/// However it goes.
const TRIALS_MAX: usize = 40;
/// A counter that accounts for this part of what was lost names the place.
const ACCOUNTS: f64 = 0.5;

/// What a rate, or a buffer, came to, as often as it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Held,
    Lost,
    /// The sender could not send so many.
    Unsent,
    /// Not often enough to tell.
    Open,
}

/// The next step of the search that `search` stands for: one way after the other. `None` at its end.
pub fn next(search: &LossSpec, doc: &ResultDoc) -> Option<LossSpec> {
    ways(search).find_map(|direction| {
        let steps: Vec<&Step> = steps(doc, LossProbe::Rate, direction).collect();
        // What could not be made once will not be the next time.
        if steps.iter().any(|step| step.error.is_some() || trial(step).is_none()) {
            return None;
        }
        let trials: Vec<RateTrial> = steps.iter().filter_map(|step| trial(step)).collect();
        let packets_per_s = rate(&trials, search.packets_per_s)?;
        Some(LossSpec { packets_per_s, direction, ..search.clone() })
    })
}

/// Which ways are searched, one after the other.
pub(super) fn ways(search: &LossSpec) -> impl Iterator<Item = Direction> {
    let asked = search.direction;
    let ways = [Direction::Out, Direction::In];
    ways.into_iter().filter(move |way| matches!(asked, Direction::Both) || asked == *way)
}

/// The steps of a search one way.
pub(super) fn steps(doc: &ResultDoc, probe: LossProbe, direction: Direction) -> impl Iterator<Item = &Step> {
    let of_search = doc.steps.iter().filter(|step| step.follows_up == Some(FollowUp::Search));
    of_search.filter(move |step| {
        let spec = step.spec.as_ref().and_then(StepSpec::loss);
        spec.is_some_and(|spec| spec.probe == probe && spec.direction == direction)
    })
}

/// The one path of such a step that carried anything.
fn path(step: &Step) -> Option<&LossPath> {
    let paths = step.detail.loss.as_deref()?;
    paths
        .iter()
        .find(|path| path.reason.is_none() && !path.by_echo && path.flows.iter().any(|flow| flow.answered))
}

/// What a step of a search came to.
pub(super) fn trial(step: &Step) -> Option<RateTrial> {
    let spec = step.spec.as_ref()?.loss()?;
    let flows = &path(step)?.flows;
    let sum =
        |count: fn(&pathproof_model::LossFlow) -> u64| flows.iter().map(count).fold(0, u64::saturating_add);
    Some(RateTrial {
        packets_per_s: spec.packets_per_s,
        asked: super::Schedule::new(spec).total(),
        sent: sum(|flow| flow.small.sent),
        received: sum(|flow| flow.small.received),
    })
}

fn came(trials: &[RateTrial], rate: u32) -> Came {
    let own: Vec<RateTrial> = trials.iter().filter(|trial| trial.packets_per_s == rate).copied().collect();
    came_of(&own)
}

/// What the trials of one rate, or of one buffer, come to.
pub(super) fn came_of(own: &[RateTrial]) -> Came {
    let unsent = |trial: &RateTrial| (trial.sent as f64) < trial.asked as f64 * KEPT_UP;
    let lost = |trial: &&RateTrial| trial.sent.saturating_sub(trial.received) > trial.sent / LOST_IN;
    if own.iter().any(|trial| !unsent(trial) && !lost(&trial)) {
        return Came::Held;
    }
    match (own.iter().filter(lost).count(), own.len()) {
        (2.., _) => Came::Lost,
        // Slower, and not lost twice.
        (_, 3..) => Came::Unsent,
        _ => Came::Open,
    }
}

/// The nearest rates on both sides of the edge, and whether the upper one is where the sender gave up.
fn sides(trials: &[RateTrial]) -> (Option<u32>, Option<(u32, Came)>) {
    let mut rates: Vec<u32> = trials.iter().map(|trial| trial.packets_per_s).collect();
    rates.sort_unstable();
    let ended = |came: &Came| matches!(came, Came::Lost | Came::Unsent);
    let upper = rates.iter().map(|rate| (*rate, came(trials, *rate))).find(|(_, came)| ended(came));
    let below = |rate: &&u32| upper.is_none_or(|(upper, _)| **rate < upper);
    let lower = rates.iter().filter(below).filter(|rate| came(trials, **rate) == Came::Held).max();
    (lower.copied(), upper)
}

/// The rate that tells most after `trials`, of at most `most`.
fn rate(trials: &[RateTrial], most: u32) -> Option<u32> {
    if trials.len() >= TRIALS_MAX {
        return None;
    }
    let open = |trial: &&RateTrial| came(trials, trial.packets_per_s) == Came::Open;
    if let Some(again) = trials.iter().find(open) {
        return Some(again.packets_per_s);
    }
    match sides(trials) {
        (None, None) => Some(FIRST.min(most)),
        (Some(held), None) => (held < most).then(|| held.saturating_mul(2).min(most)),
        (None, Some((lost, _))) => (lost > LEAST).then(|| (lost / 2).max(LEAST)),
        (Some(held), Some((lost, _))) => {
            let between = (f64::from(held) * f64::from(lost)).sqrt() as u32;
            let is_near = f64::from(lost) <= f64::from(held) * NEAR;
            (!is_near && between > held && between < lost).then_some(between)
        }
    }
}

/// What the searches of a document found, way by way.
pub fn found(doc: &ResultDoc) -> Vec<PacketRate> {
    [Direction::Out, Direction::In].into_iter().filter_map(|direction| one(doc, direction)).collect()
}

fn one(doc: &ResultDoc, direction: Direction) -> Option<PacketRate> {
    let steps: Vec<(&Step, RateTrial)> =
        steps(doc, LossProbe::Rate, direction).filter_map(|step| Some((step, trial(step)?))).collect();
    let trials: Vec<RateTrial> = steps.iter().map(|(_, trial)| *trial).collect();
    let per_s = |trial: &RateTrial, count: u64| {
        let rate = u128::from(count) * u128::from(trial.packets_per_s) / u128::from(trial.asked.max(1));
        u64::try_from(rate).ok()
    };
    let (lower, upper) = sides(&trials);
    let lossy: Vec<&(&Step, RateTrial)> =
        steps.iter().filter(|(_, trial)| came(&trials, trial.packets_per_s) == Came::Lost).collect();
    let fastest = lossy.iter().max_by_key(|(_, trial)| trial.packets_per_s);
    let lost =
        lossy.iter().map(|(_, trial)| trial.sent.saturating_sub(trial.received)).fold(0, u64::saturating_add);
    // Where the sender gave up first, the edge was not found, and nobody is said to lose.
    let edge = upper.filter(|(_, came)| *came == Came::Lost).map(|(rate, _)| rate);
    let (place, counted) =
        place(lossy.iter().map(|(step, _)| *step), direction, lost).filter(|_| edge.is_some()).unzip();
    let first = trials.first()?;
    let gave_up = upper.filter(|(_, came)| *came == Came::Unsent).map(|(rate, _)| rate);
    let most_sent = |rate: u32| {
        trials
            .iter()
            .filter(|trial| trial.packets_per_s == rate)
            .filter_map(|trial| per_s(trial, trial.sent))
            .max()
    };
    let path_of = |(node, nic): (NodeId, &str)| {
        let host = doc.environment(node)?;
        Some(of_nic(host, host.nics.iter().find(|one| one.name == nic)?))
    };
    // They all went over one pair of NICs.
    let ends = steps.first().and_then(|(step, _)| ends(step, direction));
    let (sender_path, receiver_path): (Option<PacketPath>, Option<PacketPath>) =
        ends.map_or((None, None), |(from, to)| (path_of(from), path_of(to)));
    Some(PacketRate {
        direction,
        lossless_packets_per_s: lower,
        lossy_packets_per_s: edge,
        ceiling_packets_per_s: fastest.and_then(|(_, trial)| per_s(trial, trial.received)),
        sender_limit_packets_per_s: gave_up.and_then(most_sent),
        place,
        sender_path,
        receiver_path,
        counted,
        lost,
        trials: if first.asked > 0 { trials } else { vec![] },
    })
}

/// A node and one of its NICs.
type Place<'a> = (NodeId, &'a str);

/// The host that sends and the one that receives, each with the NIC that its packets go by.
fn ends(step: &Step, direction: Direction) -> Option<(Place<'_>, Place<'_>)> {
    let path = path(step)?;
    let (here, there) = ((NodeId::CLIENT, &path.local_nic[..]), (NodeId::SERVER, &path.remote_nic[..]));
    Some(match direction {
        Direction::In => (there, here),
        Direction::Out | Direction::Both => (here, there),
    })
}

/// Where the steps lost their packets, and how many of them its counters account for; `None` where a counter that would have told could
/// not be read, or nothing was lost.
pub(super) fn place<'a>(
    steps: impl Iterator<Item = &'a Step>,
    direction: Direction,
    lost: u64,
) -> Option<(LossPlace, u64)> {
    let mut sums = [0u64; 4];
    let mut all_known = true;
    for step in steps {
        let ((sender, out), (receiver, into)) = ends(step, direction)?;
        let (from, to) = (step.evidence(sender), step.evidence(receiver));
        let counts = [
            from.and_then(|from| sent_nowhere(from, out)),
            to.and_then(|to| ring(to, into)),
            to.and_then(|to| to.softnet.as_ref()?.dropped),
            Some(path(step)?.overflowed),
        ];
        for (sum, count) in sums.iter_mut().zip(counts) {
            all_known &= count.is_some();
            *sum = sum.saturating_add(count.unwrap_or(0));
        }
    }
    const PLACES: [LossPlace; 4] = [
        LossPlace::SenderQueue,
        LossPlace::ReceiverRing,
        LossPlace::ReceiverBacklog,
        LossPlace::ReceiverSocket,
    ];
    let (place, counted) = PLACES.into_iter().zip(sums).max_by_key(|(_, sum)| *sum)?;
    match counted as f64 >= lost as f64 * ACCOUNTS {
        _ if lost == 0 => None,
        true => Some((place, counted)),
        false => all_known.then_some((LossPlace::Between, 0)),
    }
}

/// Packets that a host threw away before they left it.
fn sent_nowhere(host: &Evidence, nic: &str) -> Option<u64> {
    let nic_drops = host.nic(nic)?.send_drops?;
    let queues = host.queues.as_ref()?.iter().filter(|queue| queue.nic == nic);
    // Of a tree of queues the root counts what its leaves drop.
    let queue_drops = queues.filter_map(|queue| queue.counts.drops).max().unwrap_or(0);
    Some(nic_drops.max(queue_drops))
}

/// Packets for which the ring of a NIC had no room.
fn ring(host: &Evidence, nic: &str) -> Option<u64> {
    let counts = host.nic(nic)?;
    // Drivers that have no ring do not count it.
    let own =
        [counts.receive_missed, counts.receive_overruns].into_iter().flatten().fold(0, u64::saturating_add);
    let of_driver = host.drivers.iter().flatten().filter(|driver| driver.nic == nic);
    let no_buffer = of_driver
        .flat_map(|driver| &driver.counters)
        .filter(|counter| counter.meaning == pathproof_model::evidence::DriverMeaning::NoReceiveBuffer);
    let told = no_buffer.map(|counter| counter.moved_by).max().unwrap_or(0);
    Some(own.max(told))
}

/// A rate at which loss begins, with what holds more where it is lost.
pub fn rate_findings(rates: &[PacketRate]) -> Vec<Finding> {
    rates.iter().filter_map(finding).collect()
}

fn finding(rate: &PacketRate) -> Option<Finding> {
    let lossy = rate.lossy_packets_per_s?;
    let held = rate.lossless_packets_per_s.map_or_else(
        || "and at every lower rate that was tried".to_owned(),
        |held| format!("and not at {held}"),
    );
    let place = rate.place.map_or("at a place that no counter tells", LossPlace::words);
    let known = rate.receiver_path.as_ref().filter(|path| path.kind != PacketPathKind::Unknown);
    let by = known.map_or_else(String::new, |path| {
        format!("; they come to the receiver by {} ({})", path.through.join(" over "), path.kind.words())
    });
    let evidence =
        format!("{}: packets are lost at {lossy} a second {held}, {place}{by}", rate.direction.name());
    let finding = Finding::new("PACKET-RATE-LIMIT", evidence)
        .with("direction", rate.direction.name())
        .with("packets_per_s", lossy);
    Some(match rate.place {
        Some(place) => finding.with_next(format!("What holds more there: {}.", knob(place, known))),
        None => finding,
    })
}

/// What holds more at a place. What Hyper-V's switch throws away before the receiver sees it, for want of a buffer of the VMBus, no counter of either
/// host tells: of such a receiver "on the way" begins there.
fn knob(place: LossPlace, receiver: Option<&PacketPath>) -> String {
    let by_vmbus = receiver.is_some_and(|path| path.kind == PacketPathKind::Synthetic);
    if place != LossPlace::Between || !by_vmbus {
        return place.knob().to_owned();
    }
    format!(
        "the receiver's VMBus receive buffer (ethtool -G NIC rx N), or a virtual function (SR-IOV) past its virtual switch; else {}",
        place.knob()
    )
}

#[cfg(test)]
mod tests {
    use pathproof_model::evidence::{NicCounts, SoftnetCounts};
    use pathproof_model::{Environment, LossCounts, LossFlow, Nic, Node, StepKind, Tool};

    use super::*;

    /// What a path that passes so many packets a second makes of a rate; the sender has its own limit.
    fn passes(limit: u32, sender: u32) -> impl Fn(u32) -> RateTrial {
        move |packets_per_s| {
            let sent = u64::from(packets_per_s.min(sender));
            RateTrial { packets_per_s, asked: packets_per_s.into(), sent, received: sent.min(limit.into()) }
        }
    }

    fn searched(most: u32, path: impl Fn(u32) -> RateTrial) -> Vec<RateTrial> {
        let mut trials = vec![];
        while let Some(next) = rate(&trials, most) {
            assert!(trials.len() < TRIALS_MAX && (LEAST..=most).contains(&next), "{trials:?}");
            trials.push(path(next));
        }
        trials
    }

    #[test]
    fn any_limit_is_found_within_three_percent_and_by_few_trials() {
        for limit in [60, 90, 999, 1000, 1001, 4000, 65_500, 99_000] {
            let trials = searched(100_000, passes(limit, u32::MAX));
            let (held, lost) = sides(&trials);
            let (held, lost) = (held.unwrap(), lost.unwrap());
            assert_eq!(lost.1, Came::Lost);
            // One packet in a thousand is no limit.
            assert!(held <= limit + limit / 999 + 1 && lost.0 > limit, "{held} {limit} {lost:?}");
            assert!(f64::from(lost.0) <= f64::from(held) * NEAR * 1.01 + 2.0, "{held} {lost:?}");
            assert!(trials.len() <= 26, "{limit}: {}", trials.len());
        }
    }

    #[test]
    fn a_path_without_a_limit_a_sender_that_cannot_and_a_path_that_always_loses_end_the_search() {
        let trials = searched(100_000, passes(u32::MAX, u32::MAX));
        assert_eq!((sides(&trials), trials.len()), ((Some(100_000), None), 8));
        let (held, gave_up) = sides(&searched(100_000, passes(u32::MAX, 30_000)));
        assert!(held.is_some_and(|held| (29_000..31_000).contains(&held)), "{held:?}");
        assert_eq!(gave_up.unwrap().1, Came::Unsent);
        let (held, lost) =
            sides(&searched(100_000, |rate| RateTrial { received: 0, ..passes(0, rate)(rate) }));
        assert_eq!((held, lost), (None, Some((LEAST, Came::Lost))));
    }

    #[test]
    fn one_trial_of_a_host_that_was_kept_from_reading_is_tried_again() {
        let stumbles = std::cell::Cell::new(true);
        let path = passes(4000, u32::MAX);
        let trials = searched(100_000, |rate| {
            let trial = path(rate);
            let stumble = rate == 2000 && stumbles.replace(false);
            RateTrial { received: if stumble { trial.received - 500 } else { trial.received }, ..trial }
        });
        let (held, lost) = sides(&trials);
        assert!(held.unwrap() <= 4000 && lost.unwrap().0 > 4000, "{held:?} {lost:?}");
    }

    /// A document of a search over a path of 4000 packets a second.
    fn document(evidence: impl Fn(u64) -> Vec<Evidence>, overflowed: impl Fn(u64) -> u64) -> ResultDoc {
        let search = LossSpec {
            probe: LossProbe::Rate,
            packets_per_s: 10_000,
            time_ns: 1_000_000_000,
            ..LossSpec::default()
        };
        let search = LossSpec { direction: Direction::Out, ..search };
        let mut doc = ResultDoc::new(Tool::default(), "");
        while let Some(spec) = next(&search, &doc) {
            let trial = passes(4000, u32::MAX)(spec.packets_per_s);
            let small = LossCounts { sent: trial.sent, received: trial.received, ..LossCounts::default() };
            let address = |last| std::net::IpAddr::from([10, 9, 0, last]);
            let path = LossPath {
                local_nic: "eth0".into(),
                remote_nic: "eth1".into(),
                local_address: address(1),
                remote_address: address(2),
                direction: Direction::Out,
                by_echo: false,
                small_ip_bytes: 88,
                full_ip_bytes: 1500,
                reason: None,
                flows: vec![LossFlow { answered: true, small, ..LossFlow::default() }],
                marks: vec![],
                overflowed: overflowed(trial.sent - trial.received),
                delay_variation_ns: None,
                first_router: None,
                last_router: None,
                questions_heard: None,
                changed: None,
                shares: None,
            };
            let mut step = Step::new(StepKind::Loss, "packet rate");
            step.follows_up = Some(FollowUp::Search);
            step.detail.loss = Some(vec![path]);
            step.evidence = evidence(trial.sent - trial.received);
            step.spec = Some(StepSpec::Loss(spec));
            doc.steps.push(step);
        }
        doc
    }

    fn host(node: NodeId, missed: u64, backlog: u64) -> Evidence {
        let counts = NicCounts { receive_missed: Some(missed), ..NicCounts::still() };
        let nic = pathproof_model::evidence::NicActivity { nic: "eth1".into(), counts };
        Evidence {
            node,
            nics: Some(vec![nic]),
            queues: Some(vec![]),
            softnet: Some(SoftnetCounts { dropped: Some(backlog), ..SoftnetCounts::still() }),
            ..Evidence::default()
        }
    }

    fn told(
        evidence: impl Fn(u64) -> Vec<Evidence>,
        overflowed: impl Fn(u64) -> u64,
    ) -> (Option<LossPlace>, String) {
        let rates = found(&document(evidence, overflowed));
        assert_eq!(rates.len(), 1, "the other way was not asked for");
        let lossy = rates[0].lossy_packets_per_s.unwrap();
        assert!((3990..4130).contains(&lossy), "{lossy}");
        assert_eq!(rates[0].ceiling_packets_per_s, Some(4000));
        let findings = rate_findings(&rates);
        (rates[0].place, format!("{} {}", findings[0].evidence, findings[0].next))
    }

    #[test]
    fn the_counter_that_accounts_for_what_was_lost_names_the_knob_and_none_names_the_path() {
        let both = |missed, backlog| vec![host(NodeId::CLIENT, 0, 0), host(NodeId::SERVER, missed, backlog)];
        let (place, words) = told(|lost| both(lost, 0), |_| 0);
        assert!(place == Some(LossPlace::ReceiverRing) && words.contains("ethtool -G"), "{words}");
        let (place, words) = told(|lost| both(lost / 10, lost), |_| 0);
        assert!(place == Some(LossPlace::ReceiverBacklog) && words.contains("netdev_max_backlog"), "{words}");
        let (place, words) = told(|_| both(0, 0), |lost| lost);
        assert!(place == Some(LossPlace::ReceiverSocket) && words.contains("rmem_max"), "{words}");
        // A tenth of it explains nothing.
        let (place, words) = told(|lost| both(lost / 10, 0), |_| 0);
        assert!(place == Some(LossPlace::Between) && words.contains("on the way"), "{words}");
        // Hyper-V's switch loses what the VMBus has no buffer for, and the guest does not see it.
        let mut doc = document(|_| both(0, 0), |_| 0);
        let nic = |name: &str, driver: &str| Nic {
            name: name.into(),
            driver: Some(driver.into()),
            kind: Some("ethernet".into()),
            ..Nic::default()
        };
        let with =
            |nic| Some(Environment { nics: vec![nic], is_guest: Some(true), ..Environment::default() });
        doc.nodes = vec![
            Node::here(with(nic("eth0", "virtio_net"))),
            Node::agent("b", with(nic("eth1", "hv_netvsc"))),
        ];
        let rates = found(&doc);
        let kind = |path: &Option<PacketPath>| path.as_ref().map(|path| path.kind);
        assert_eq!(kind(&rates[0].sender_path), Some(PacketPathKind::Virtio));
        assert_eq!(kind(&rates[0].receiver_path), Some(PacketPathKind::Synthetic));
        let limit = rate_findings(&rates).remove(0);
        let said = "on the way; they come to the receiver by eth1 (VMBus to the virtual switch)";
        assert!(limit.evidence.ends_with(said), "{limit:?}");
        assert!(limit.next.contains("VMBus receive buffer") && limit.next.contains("SR-IOV"), "{limit:?}");
        // Of a host that tells nothing the path is not accused.
        let (place, words) = told(|_| vec![], |_| 0);
        assert!(place.is_none() && words.contains("no counter tells"), "{words}");
    }
}
