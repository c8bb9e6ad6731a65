//! A processor as what bounds a rate: a connection is served by one thread and one queue at each end, and several by several.

use pathproof_model::told;
use pathproof_model::units::BitsPerSecond;
use pathproof_model::{Direction, Finding, NodeId, ResultDoc, Step};

use super::super::whose;
use super::{between, is_looped, pair};

/// A processor that is busy for so much of its time has nothing to spare.
const FULL: f64 = 0.9;
/// Several connections that carry so many times as much carry clearly more.
const MORE: f64 = 1.5;

/// A processor that had nothing to spare while a step ran.
pub struct FullCore {
    /// Whose.
    pub node: NodeId,
    /// For how much of its time it was busy.
    pub share: f64,
    /// That in words.
    pub said: String,
}

/// The fullest processor of a step that one of its threads, or work on packets, took nearly all of.
pub fn full_core(step: &Step) -> Option<FullCore> {
    // Who spins while it waits is busy with nothing.
    let spins = step.spec.as_ref().and_then(|spec| spec.traffic()).is_none_or(|traffic| traffic.busy_poll);
    let threads = step.lanes.iter().filter(|lane| !spins && lane.window_ns > 0);
    let threads = threads.filter_map(|lane| {
        let share = lane.cpu_ns? as f64 / lane.window_ns as f64;
        Some((lane.end.node(), share, "the thread of a connection kept a processor busy for"))
    });
    let packets = step.evidence.iter().filter_map(|one| {
        let share = one.host.as_ref()?.busiest_cpu_softirq_share?;
        Some((one.node, share, "work on packets kept one processor busy for"))
    });
    let all = threads.chain(packets).filter(|(_, share, _)| *share >= FULL);
    let (node, share, how) = all.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let share = share.min(1.0);
    let said = format!("at {} {how} {:.0} % of its time", whose(node), share * 100.0);
    Some(FullCore { node, share, said })
}

/// One connection that a processor bounds: several, which more of them serve, carry clearly more.
pub(super) fn finding(doc: &ResultDoc, way: Direction) -> Option<Finding> {
    let (alone, several) = pair(doc, way)?;
    // Over another pair of NICs it is another path.
    let other = between(alone.0).is_none() || between(alone.0) != between(several.0);
    let times = several.1 as f64 / alone.1.max(1) as f64;
    if other || is_looped(alone.0) || times < MORE {
        return None;
    }
    let core = full_core(alone.0)?;
    let said = format!(
        "{}: one connection carries {} and {} together {} ({times:.1} times as much), and while the one ran {}: a processor bounds one \
         connection, and not the path",
        way.name(),
        BitsPerSecond(alone.1),
        super::lanes(several.0),
        BitsPerSecond(several.1),
        core.said
    );
    let finding = Finding::new("HOST-CORE-BOUND", said)
        .with("one_bits_per_s", alone.1)
        .with("several_bits_per_s", several.1)
        .with("core_share", core.share);
    Some(finding.tell(told::NODE, core.node).tell(told::DIRECTION, way))
}

#[cfg(test)]
mod tests {
    use super::super::tests::stream;
    use super::*;
    use pathproof_model::{End, Evidence, HostLoad, StepSpec, Tool};

    fn told(alone: Step, several: Step) -> Option<Finding> {
        let steps = vec![alone, several];
        finding(&ResultDoc { steps, ..ResultDoc::new(Tool::default(), "") }, Direction::Out)
    }

    fn busy(share: f64) -> Step {
        let mut step = stream(20_000, 1, 1000);
        step.lanes[0].cpu_ns = Some((share * 1e9) as u64);
        step
    }

    #[test]
    fn a_thread_that_had_no_time_left_bounds_its_connection_where_several_carry_more() {
        let found = told(busy(0.97), stream(60_000, 4, 1000)).unwrap();
        assert_eq!((found.code.as_str(), found.told(told::NODE)), ("HOST-CORE-BOUND", Some(NodeId::CLIENT)));
        assert!(
            found.evidence.contains("at this host the thread") && found.evidence.contains("97 %"),
            "{found:?}"
        );
        // It had time left, several carry no more, and who spins is always busy.
        assert_eq!(told(busy(0.8), stream(60_000, 4, 1000)), None);
        assert_eq!(told(busy(0.97), stream(21_000, 4, 1000)), None);
        let mut spins = busy(1.0);
        spins.spec.as_mut().and_then(StepSpec::traffic_mut).unwrap().busy_poll = true;
        assert_eq!(told(spins, stream(60_000, 4, 1000)), None);
    }

    #[test]
    fn a_processor_that_packets_took_is_told_with_its_host() {
        let mut step = busy(0.3);
        let load = |share| HostLoad { busiest_cpu_softirq_share: Some(share), ..HostLoad::default() };
        let of = |node, share| Evidence { node, host: Some(load(share)), ..Evidence::default() };
        step.evidence = vec![of(NodeId::CLIENT, 0.5), of(NodeId::SERVER, 0.96)];
        let found = told(step.clone(), stream(60_000, 4, 1000)).unwrap();
        assert!(found.evidence.contains("at the peer work on packets"), "{}", found.evidence);
        step.evidence.pop();
        assert_eq!(told(step, stream(60_000, 4, 1000)), None);
    }

    #[test]
    fn the_fullest_is_named() {
        let mut step = busy(0.95);
        let lane = pathproof_model::LaneResult {
            end: End::Server,
            cpu_ns: Some(990_000_000),
            ..step.lanes[0].clone()
        };
        step.lanes.push(lane);
        assert_eq!(full_core(&step).unwrap().node, NodeId::SERVER);
    }
}
