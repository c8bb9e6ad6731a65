//! One direction against the other.

use std::collections::BTreeMap;

use pathproof_model::code;
use pathproof_model::judge::repeats::is_thrown_away;
use pathproof_model::judge::{could_explain_rate, held_by_end, held_by_network};
use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Direction, Finding, NodeId, ResultDoc, Step};

use super::rates::{Shaper, is_flat, own_shaper};
use super::{Rule, lost, planned, whose};

/// From this factor on the two directions are not the same path; hosts that are busy with other things stay below it.
const FACTOR: f64 = 4.0;
/// From this one on they differ by more than chance, where it is clear that no host made it.
const NOTABLE: f64 = 2.5;

pub(super) const RULES: &[Rule] = &[Rule { codes: &[code!("PATH-ASYMMETRIC")], find: findings }];

fn findings(doc: &ResultDoc) -> Vec<Finding> {
    // The best of each direction, by transport and lanes: a stream alone, unpaced, with no NIC taken down. One lane may be bound by a
    // limit that several are not.
    let mut best: BTreeMap<(&str, u32), [Option<Rate<'_>>; 2]> = BTreeMap::new();
    for step in planned(doc).filter(|step| step.error.is_none() && step.detail.failover.is_none()) {
        let free = step.spec.as_ref().and_then(|spec| spec.traffic()).filter(|traffic| traffic.is_free());
        let rate = step.summary.goodput_bits_per_s.filter(|rate| *rate > 0);
        let (Some(traffic), Some(over), Some(bits_per_s)) = (free, step.over.as_deref(), rate) else {
            continue;
        };
        let way = match step.direction {
            Some(Direction::Out) => 0,
            Some(Direction::In) => 1,
            _ => continue,
        };
        let known = &mut best.entry((over, traffic.lanes)).or_default()[way];
        *known = better(*known, Some(Rate { bits_per_s, step }));
    }
    // What the transport carries at its best is what counts, where both ways were tried with as many lanes.
    let mut differ: BTreeMap<&str, [Option<Rate<'_>>; 2]> = BTreeMap::new();
    for ((over, _), [out, inward]) in
        best.into_iter().filter(|(_, [out, inward])| out.is_some() && inward.is_some())
    {
        let known = differ.entry(over).or_default();
        *known = [better(known[0], out), better(known[1], inward)];
    }
    differ.into_iter().filter_map(|(over, [out, inward])| asymmetric(doc, over, out?, inward?)).collect()
}

#[derive(Clone, Copy)]
struct Rate<'a> {
    bits_per_s: u64,
    step: &'a Step,
}

fn better<'a>(one: Option<Rate<'a>>, other: Option<Rate<'a>>) -> Option<Rate<'a>> {
    one.into_iter().chain(other).max_by_key(|rate| rate.bits_per_s)
}

fn asymmetric(doc: &ResultDoc, over: &str, out: Rate<'_>, inward: Rate<'_>) -> Option<Finding> {
    let (way, slow, fast) = if out.bits_per_s < inward.bits_per_s {
        (Direction::Out, out, inward)
    } else {
        (Direction::In, inward, out)
    };
    let name = way.name();
    let (least, most) = (slow.bits_per_s as f64, fast.bits_per_s as f64);
    let factor = most / least;
    // A lane that waits for a processor is slow on every path.
    let by_host = || could_explain_rate(slow.step, least, most / FACTOR);
    let told = if factor < FACTOR { factor >= NOTABLE && is_clear(doc, slow, fast, way) } else { !by_host() };
    if !told {
        return None;
    }
    let own = own_shaper(doc, slow.step, way);
    let held = held_by_end(slow.step).filter(|_| own.is_none());
    let why = own.as_ref().map(|own| own.said.clone()).or_else(|| Some(held?.words()));
    let said = format!(
        "{over}: {name} is {factor:.1} times slower than the other way ({} out, {} in){}",
        BitsPerSecond(out.bits_per_s),
        BitsPerSecond(inward.bits_per_s),
        why.map_or_else(String::new, |why| format!("; {why}"))
    );
    let finding = Finding::new("PATH-ASYMMETRIC", said).with("factor", factor).tell(told::SLOWER, way);
    Some(match (&own, held) {
        (Some(own), _) => finding.with_commands(Shaper::LEAD, &own.removal),
        (None, Some(held)) => by_end(finding.tell(told::HELD_BY_END, true), way, held.by_window),
        (None, None) => finding,
    })
}

/// Whether two rates that differ by a little are the path's: both are flat, the kernel says that the network held the slower one, nothing makes TCP
/// slow that way, and nobody said what either way is to carry.
fn is_clear(doc: &ResultDoc, slow: Rate<'_>, fast: Rate<'_>, way: Direction) -> bool {
    let limits = doc.criteria.as_ref().map(|criteria| &criteria.throughput);
    let declared = limits.is_some_and(|limits| limits.goodput_min_bits_per_s.is_some());
    let flat = is_flat(slow.step) && is_flat(fast.step) && held_by_network(slow.step);
    flat && !declared && !lost(doc, Some(way)) && !is_thrown_away(doc, slow.step)
}

/// What it means that an end holds the slower way, and what to do.
fn by_end(finding: Finding, way: Direction, by_window: bool) -> Finding {
    let at_receiver = by_window == (way == Direction::Out);
    let at = whose(if at_receiver { NodeId::SERVER } else { NodeId::CLIENT });
    let setting = if by_window { "net.ipv4.tcp_rmem" } else { "net.ipv4.tcp_wmem" };
    let mut finding = finding.with_next(format!(
        "Raise the last number of {setting} at {at} to at least twice the rate of the other way times the round trip (where windows do not \
         scale, fix that first: TCP-OPTIONS), and measure again: what the path carries that way is not known yet.",
    ));
    finding.meaning =
        "One direction carries a small part of what the other does, because an end lets too little of it be on the way.".into();
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::{
        ErrorKind, FlowSpec, LaneResult, StepError, StepKind, StepSpec, Tool, TrafficSpec, Waited,
    };

    fn document(rates: &[(Direction, u64)]) -> ResultDoc {
        let mut doc = ResultDoc::new(Tool::default(), "");
        for (direction, rate) in rates {
            let mut step = Step::new(StepKind::Stream, "s");
            step.spec = Some(StepSpec::Stream(TrafficSpec::default()));
            (step.over, step.direction) = (Some("tcp".into()), Some(*direction));
            step.summary.goodput_bits_per_s = Some(*rate);
            doc.steps.push(step);
        }
        doc
    }

    #[test]
    fn four_times_slower_is_named_with_its_way_and_less_is_not() {
        let found = findings(&document(&[(Direction::Out, 4_000_000), (Direction::In, 1_000_000)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].told(told::SLOWER), Some(Direction::In));
        assert!(found[0].evidence.contains("in is 4.0 times slower"), "{}", found[0].evidence);
        assert_eq!(findings(&document(&[(Direction::Out, 3_900_000), (Direction::In, 1_000_000)])), vec![]);
    }

    #[test]
    fn a_third_is_told_where_both_ways_are_flat_and_nobody_declared_it() {
        use super::super::tests::sender;
        use pathproof_model::evidence::ConnectionCounts;
        use pathproof_model::series::Series;
        use pathproof_model::{Criteria, LaneRole};
        // As run over a wire that carries 300 Mbit/s out and 95 in.
        let flat = |rate: u64, second_half: u64, busy_ms: u64| {
            let mut doc = document(&[(Direction::Out, 286_000_000), (Direction::In, rate)]);
            for (step, half) in doc.steps.iter_mut().zip([1000, second_half]) {
                let counts =
                    ConnectionCounts { busy_ns: Some(busy_ms * 1_000_000), ..ConnectionCounts::still() };
                step.lanes = vec![LaneResult { window_ns: 1_000_000_000, ..sender(counts) }];
                let bytes = (0..10).map(|n| Some(1000 * if n < 5 { 1000 } else { half })).collect();
                step.series = vec![Series {
                    role: LaneRole::Receive,
                    width_ns: 100_000_000,
                    end_ns: 1_000_000_000,
                    received_bytes: bytes,
                    ..Series::default()
                }];
            }
            doc
        };
        let told = findings(&flat(95_000_000, 1000, 1000)).remove(0);
        assert_eq!(told.told(told::SLOWER), Some(Direction::In));
        assert!(told.evidence.contains("in is 3.0 times slower"), "{}", told.evidence);
        // Less of a difference, a rate that grows, and connections that ran dry because their hosts were busy.
        let others = [(120_000_000, 1000, 1000), (95_000_000, 3000, 1000), (95_000_000, 1000, 700)];
        for (rate, second_half, busy_ms) in others {
            assert_eq!(findings(&flat(rate, second_half, busy_ms)), vec![], "{rate} {second_half} {busy_ms}");
        }
        let mut declared = flat(95_000_000, 1000, 1000);
        let mut criteria = Criteria::default();
        criteria.expect(Some(90_000_000), None);
        declared.criteria = Some(criteria);
        assert_eq!(findings(&declared), vec![]);
    }

    #[test]
    fn the_best_of_each_way_counts_and_what_was_paced_cut_or_silent_does_not() {
        let rates = [(Direction::Out, 8_000_000), (Direction::In, 1_000_000), (Direction::In, 7_000_000)];
        assert_eq!(findings(&document(&rates)), vec![]);
        assert_eq!(findings(&document(&[(Direction::Out, 8_000_000), (Direction::In, 0)])), vec![]);
        assert_eq!(findings(&document(&[(Direction::Out, 8_000_000)])), vec![]);
        let mut fewer = document(&[(Direction::Out, 8_000_000), (Direction::In, 1_000_000)]);
        fewer.steps[0].spec.as_mut().and_then(StepSpec::traffic_mut).unwrap().lanes = 4;
        assert_eq!(findings(&fewer), vec![], "four lanes out and one in are two questions");
        let mut beside = document(&[(Direction::Out, 8_000_000), (Direction::In, 1_000_000)]);
        beside.steps[1].spec.as_mut().and_then(StepSpec::traffic_mut).unwrap().beside =
            vec![FlowSpec::default()];
        assert_eq!(findings(&beside), vec![], "another flow had its part of the path");
        let mut failed = document(&[(Direction::Out, 8_000_000), (Direction::In, 1_000_000)]);
        failed.steps[1].error = Some(StepError::new(ErrorKind::Unsupported, "lost".into()));
        assert_eq!(findings(&failed), vec![]);
        let mut paced = document(&[(Direction::Out, 8_000_000), (Direction::In, 1_000_000)]);
        paced.steps[1].spec = Some(StepSpec::Stream(TrafficSpec {
            rate_bits_per_s: Some(1_000_000),
            ..TrafficSpec::default()
        }));
        assert_eq!(findings(&paced), vec![]);
    }

    #[test]
    fn a_window_that_holds_the_slower_way_is_named_and_no_policer_is_looked_for() {
        use super::super::tests::sender;
        use pathproof_model::evidence::ConnectionCounts;
        // As counted over a path of 20 ms whose receiver takes 80 512 bytes.
        let found = |held_ms: u64| {
            let mut doc = document(&[(Direction::Out, 127_700_000), (Direction::In, 2_280_000_000)]);
            let counts = ConnectionCounts {
                busy_ns: Some(1_472_000_000),
                rtt_min_ns: Some(20_032_000),
                receive_window_limited_ns: Some(held_ms * 1_000_000),
                ..ConnectionCounts::still()
            };
            doc.steps[0].lanes = vec![sender(counts); 4];
            findings(&doc).remove(0)
        };
        let window = found(476);
        assert!(window.evidence.contains("waited for the receive window of the other end"), "{window:?}");
        assert!(window.next.contains("net.ipv4.tcp_rmem at the peer"), "{}", window.next);
        assert!(!window.next.contains("policer") && !window.next.contains("duplex"), "{}", window.next);
        assert_eq!(window.told(told::HELD_BY_END), Some(true));
        let open = found(50);
        assert!(open.next.contains("rate limit or policer"), "{}", open.next);
        assert_eq!(open.told(told::HELD_BY_END), None);
    }

    #[test]
    fn lanes_that_waited_for_a_processor_accuse_no_path() {
        let mut busy = document(&[(Direction::Out, 2_000_000), (Direction::In, 9_000_000)]);
        let scheduled = Some(Waited { waited_ns: 700, of_ns: 1000 });
        busy.steps[0].lanes = vec![LaneResult { scheduled, ..LaneResult::default() }];
        assert_eq!(findings(&busy), vec![]);
        // Not any amount less, though.
        busy.steps[0].summary.goodput_bits_per_s = Some(100_000);
        assert_eq!(findings(&busy).len(), 1);
    }
}
