//! Both directions at once, and all NICs at once, against each of them alone.

use pathproof_model::code;
use pathproof_model::judge::nics_together;
use pathproof_model::judge::repeats::is_thrown_away;
use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{
    Direction, Finding, FollowUp, NodeId, Outcome, ResultDoc, Severity, Step, TrafficSpec, both_ways,
};

use super::nics;
use super::rates::{AFTER_A_BURST, short, short_streams_tell, told_as_fallen};
use super::slow::only_nic;
use super::{Rule, whose};

/// Below this share of the sum it is a finding; the built-in limit of the verdict is the same.
const SHARE_MIN: f64 = 0.65;

pub(super) const RULES: &[Rule] = &[
    Rule { codes: &[code!("PATH-SHARED")], find: ways_share },
    Rule { codes: &[code!("PATH-SHARED")], find: |doc| nics_share(doc).into_iter().collect() },
    Rule { codes: &[code!("PATH-RATE-LIMIT")], find: ways_fell },
];

/// Both ways at once carry little of what each of them does alone.
fn ways_share(doc: &ResultDoc) -> Vec<Finding> {
    // What throws away above a rate leaves TCP more or less of it each time, one way or both.
    let short = both_ways(doc)
        .into_iter()
        .filter(|both| both.falls_short(SHARE_MIN) && !is_thrown_away(doc, both.step));
    let finding = |both: pathproof_model::BothWays<'_>| {
        let ([out, inward], [out_alone, in_alone]) = (both.together, both.alone);
        let said = format!("{}: {}", both.step.name, both.words());
        // Whether it is a link in half duplex: a port in half duplex counts what collides there.
        let found = match collisions(doc, both.step) {
            Some(counted) if !counted.is_empty() => {
                let said = format!("{said}; meanwhile {}, so that link is in half duplex", counted.join(" and "));
                Finding::new("PATH-SHARED", said)
            }
            Some(_) => Finding::new("PATH-SHARED", said).against(
                "the NICs of both hosts counted no collision: if a link is in half duplex, only a port at its other end sees it",
            ),
            None => Finding::new("PATH-SHARED", said).open(&[code!("NIC-HALF-DUPLEX")]),
        };
        let found = match only_nic(doc, both.step) {
            Some(nic) => found.tell(told::NIC, nic),
            None => found,
        };
        found
            .with("share", both.share())
            .with("out_bits_per_s", out)
            .with("in_bits_per_s", inward)
            .with("out_alone_bits_per_s", out_alone)
            .with("in_alone_bits_per_s", in_alone)
    };
    short.map(finding).collect()
}

/// Both ways at once carry little of what each of them did before, and alone one of them carries as little by now: its own rate fell.
fn ways_fell(doc: &ResultDoc) -> Vec<Finding> {
    let low = both_ways(doc).into_iter().filter(|both| both.share() < SHARE_MIN);
    let told = low.filter_map(|both| {
        // Where several connections carried less than the one before them, that is told already.
        let (way, now) = both.fell().filter(|(way, _)| !told_as_fallen(doc, *way))?;
        let said = format!(
            "{}: {}, and {} alone {} after that: the rate fell, as where a burst is let through and what follows is held back, and nothing is known \
             to be shared",
            both.step.name,
            both.words(),
            way.name(),
            BitsPerSecond(now)
        );
        let finding = Finding::new("PATH-RATE-LIMIT", said).with("bits_per_s", now);
        let mut finding = finding.tell(told::DIRECTION, way).with_severity(Severity::Error);
        finding.meaning = "Either the path carries much for a moment and little after it, so that a short test shows the moment and a migration the rest; or \
                           somebody else came to use it."
            .into();
        Some(finding.with_next(AFTER_A_BURST))
    });
    told.collect()
}

/// The stream that asks again where both ways at once carried little of what each way does alone: both once more, because somebody else may have
/// used the path just then, and then the weaker way alone, because its rate may have fallen meanwhile.
pub(super) fn another_stream(doc: &ResultDoc) -> Option<TrafficSpec> {
    if !short_streams_tell(doc) {
        return None;
    }
    let planned = both_ways(doc).into_iter().filter(|both| both.step.follows_up.is_none());
    let both = planned.into_iter().find(|both| both.falls_short(SHARE_MIN))?;
    let lanes = |step: &Step| Some(step.spec.as_ref()?.traffic()?.lanes);
    let asked = |way: Direction| {
        doc.steps.iter().any(|step| {
            step.follows_up == Some(FollowUp::Cause)
                && step.kind.traits().bulk
                && step.direction == Some(way)
                && lanes(step) == lanes(both.step)
        })
    };
    let direction = [Direction::Both, both.weaker()].into_iter().find(|direction| !asked(*direction))?;
    let spec = short((both.step, both.together.into_iter().min()?))?;
    Some(TrafficSpec { direction, ..spec })
}

/// The NICs in use that counted collisions during a step, in words; `None` where that is not known of both hosts.
fn collisions(doc: &ResultDoc, step: &Step) -> Option<Vec<String>> {
    /// Fewer are chance, or a driver that counts something else there.
    const FEW: u64 = 10;
    let used = nics::used(doc);
    let mut found = Vec::new();
    for node in [NodeId::CLIENT, NodeId::SERVER] {
        let evidence = step.evidence(node)?;
        let own: Vec<&String> = used.iter().filter(|(owner, _)| *owner == node).map(|(_, nic)| nic).collect();
        if own.is_empty() {
            return None;
        }
        for nic in own {
            let collided = evidence.nic(nic)?.collisions?;
            if collided >= FEW {
                found.push(format!("{nic} of {} counted {collided} collisions", whose(node)));
            }
        }
    }
    Some(found)
}

/// NICs that carry alone what all of them carry together: behind them lies one link, one port or one bus.
fn nics_share(doc: &ResultDoc) -> Option<Finding> {
    /// As the built-in limit of the verdict.
    const SUM_SHARE_MIN: f64 = 0.8;
    /// All together are no more than the best alone and a little.
    const MORE: f64 = 1.3;
    let told = doc.steps.iter().find_map(|step| {
        let check = nics_together(step, SUM_SHARE_MIN).filter(|check| check.outcome == Outcome::Fail)?;
        let alone = step.detail.alone.as_ref()?;
        let rates: Option<Vec<u64>> = alone.each.iter().map(|nic| nic.goodput_bits_per_s).collect();
        let (best, least) = (*rates.as_ref()?.iter().max()?, *rates.as_ref()?.iter().min()?);
        let together = step.total(|part| part.goodput_bits_per_s)?;
        // One that is slow by itself explains a sum that is not reached.
        let alike = least as f64 * 2.0 >= best as f64;
        (alike && (together as f64) < best as f64 * MORE).then_some((step, check))
    });
    let (step, check) = told?;
    let said = format!(
        "{}: {}: each alone is as fast as all, so they share something on the way",
        step.name, check.text
    );
    let each = step.detail.alone.iter().flat_map(|sum| &sum.each);
    let nics: Vec<String> = each.map(|one| one.nic.clone()).collect();
    Some(Finding::new("PATH-SHARED", said).tell(told::NICS, nics).with_next(
        "Look where the ways of the NICs meet: an uplink between two switches, a port of a switch, a slot of the host, a limit of a virtual machine.",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;
    use pathproof_model::{Flow, StepKind, StepSpec, Summary, Tool};

    fn findings(doc: &ResultDoc) -> Vec<Finding> {
        all(RULES, doc)
    }

    fn stream(direction: Direction, rates: &[u64]) -> Step {
        let flow = |rate: &u64| Flow {
            summary: Summary { goodput_bits_per_s: Some(*rate), ..Summary::default() },
            ..Flow::default()
        };
        let spec = TrafficSpec { direction, ..TrafficSpec::default() };
        let mut step = Step {
            over: Some("tcp".into()),
            direction: Some(direction),
            spec: Some(StepSpec::Stream(spec)),
            ..Step::new(StepKind::Stream, direction.name())
        };
        step.with_flows(rates.iter().map(flow).collect());
        step
    }

    #[test]
    fn nics_that_together_carry_what_one_does_share_something() {
        use pathproof_model::{AloneNic, AloneSum};
        let found = |together: u64, second: u64| {
            let mut step = stream(Direction::Out, &[together]);
            let nic = |rate| AloneNic { nic: "n".into(), goodput_bits_per_s: Some(rate) };
            let sum = 94_400_000 + second;
            step.detail.alone = Some(AloneSum {
                each: vec![nic(94_400_000), nic(second)],
                sum_bits_per_s: Some(sum),
                share_of_sum: Some(together as f64 / sum as f64),
                ..AloneSum::default()
            });
            findings(&ResultDoc { steps: vec![step], ..ResultDoc::new(Tool::default(), "") })
        };
        // As run over two switches with one uplink of 100 Mbit/s between them.
        let shared = found(94_100_000, 95_900_000);
        assert!(shared[0].code == "PATH-SHARED" && shared[0].evidence.contains("together"), "{shared:?}");
        assert_eq!(found(180_000_000, 95_900_000), []);
        // A NIC that is slow by itself is another matter.
        assert_eq!(found(60_000_000, 20_000_000), []);
    }

    #[test]
    fn a_medium_that_both_directions_share_is_named_with_its_figures() {
        let found = |together: [u64; 2]| {
            let alone = [stream(Direction::Out, &[100_000_000]), stream(Direction::In, &[90_000_000])];
            let steps = alone.into_iter().chain([stream(Direction::Both, &together)]).collect();
            findings(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") })
        };
        let shared = found([50_000_000, 45_000_000]);
        assert_eq!(shared[0].code, "PATH-SHARED");
        assert!(shared[0].evidence.contains("50 % of 100.0 Mbit/s and 90.0 Mbit/s alone"), "{shared:?}");
        assert_eq!(found([90_000_000, 60_000_000]), []);
        assert_eq!(shared[0].open, ["NIC-HALF-DUPLEX"], "nobody counted collisions");
    }

    #[test]
    fn a_stream_both_ways_that_carried_little_is_asked_again_once_and_the_better_counts() {
        let document = |together: [u64; 2], again: Option<[u64; 2]>| {
            let alone = [stream(Direction::Out, &[100_000_000]), stream(Direction::In, &[90_000_000])];
            let again = again.map(|rates| {
                let asked = stream(Direction::Both, &rates);
                Step { follows_up: Some(FollowUp::Cause), ..asked }
            });
            let steps = alone.into_iter().chain([stream(Direction::Both, &together)]).chain(again).collect();
            ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") }
        };
        let low = [50_000_000, 45_000_000];
        let next = another_stream(&document(low, None)).unwrap();
        assert!(next.direction == Direction::Both && next.time_ns <= 600_000_000, "{next:?}");
        assert_eq!(another_stream(&document([95_000_000, 85_000_000], None)), None);
        // Then the way that lost most, alone.
        let next = another_stream(&document(low, Some(low))).unwrap();
        assert_eq!((next.direction, next.lanes), (Direction::Out, TrafficSpec::default().lanes));
        let alone = |rate: u64| {
            let mut doc = document(low, Some(low));
            let step = stream(Direction::Out, &[rate]);
            doc.steps.push(Step { follows_up: Some(FollowUp::Cause), ..step });
            assert_eq!(another_stream(&doc), None);
            findings(&doc).remove(0)
        };
        // It carries more without the other way, or its rate fell before both were tried.
        assert_eq!(alone(96_000_000).code, "PATH-SHARED");
        let fell = alone(52_000_000);
        assert_eq!((fell.code.as_str(), fell.severity), ("PATH-RATE-LIMIT", Severity::Error));
        assert!(fell.evidence.contains("out alone 52.0 Mbit/s after that: the rate fell"), "{fell:?}");
        assert_eq!(fell.told(told::DIRECTION), Some(Direction::Out));
        let found = |again| findings(&document(low, Some(again)));
        assert!(found([40_000_000; 2])[0].evidence.contains("the better of 2 tries"));
        assert_eq!(found([95_000_000, 85_000_000]), []);
    }

    #[test]
    fn what_collided_says_that_the_link_is_in_half_duplex_and_nothing_that_did_speaks_against_it() {
        use pathproof_model::{
            Environment, Evidence, LaneResult, Nic, NicActivity, NicAddress, NicCounts, Node, Waited,
        };
        let host = |address: &str| {
            let address = NicAddress { address: address.parse().unwrap(), prefix_len: 24 };
            let nic = Nic { name: "e0".into(), addresses: vec![address], ..Nic::default() };
            Some(Environment { nics: vec![nic], ..Environment::default() })
        };
        let found = |collided: Option<u64>| {
            let alone = [stream(Direction::Out, &[100_000_000]), stream(Direction::In, &[90_000_000])];
            let mut both = stream(Direction::Both, &[50_000_000, 45_000_000]);
            both.lanes = vec![LaneResult {
                local: Some("192.0.2.1:5".into()),
                remote: Some("192.0.2.2:7797".into()),
                scheduled: Some(Waited { waited_ns: 0, of_ns: 1_000_000_000 }),
                ..LaneResult::default()
            }];
            let counts = NicCounts { collisions: collided, ..NicCounts::still() };
            let nics = Some(vec![NicActivity { nic: "e0".into(), counts }]);
            both.evidence = [NodeId::CLIENT, NodeId::SERVER]
                .map(|node| Evidence { node, nics: nics.clone(), ..Evidence::default() })
                .into();
            let steps = alone.into_iter().chain([both]).collect();
            let mut doc = ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") };
            doc.nodes = vec![Node::here(host("192.0.2.1")), Node::agent("b", host("192.0.2.2"))];
            findings(&doc).remove(0)
        };
        let half = found(Some(4000));
        let says = "meanwhile e0 of this host counted 4000 collisions and e0 of the peer counted 4000 collisions, so that link is in half duplex";
        assert!(half.evidence.ends_with(says), "{half:?}");
        assert!(half.against.is_empty() && half.open.is_empty());
        assert!(found(Some(0)).against.contains("no collision"));
        assert_eq!(found(None).open, ["NIC-HALF-DUPLEX"]);
    }
}
