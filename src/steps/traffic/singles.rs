//! What several NICs carry together, against what each carries alone: the short steps that find out, and their sum.

use pathproof_model::{
    AloneNic, AloneSum, Direction, End, Finding, FollowUp, NicShare, NodeId, ResultDoc, Step, StepKind,
    StepSpec, TrafficSpec,
};

use pathproof_engine::channels::packet_path::is_tunnel;
use pathproof_model::judge::one_way_alone;
use pathproof_model::units::BitsPerSecond;

use crate::lane_options::{self, CONSTRAIN};
use crate::registry::{TRANSPORTS, manners};

/// A NIC whose part of the bytes differs by more than this from its part of the sum did not share as it could.
const IMBALANCE_MAX: f64 = 0.10;

/// The window of each.
pub fn time_ns(striped: &TrafficSpec) -> u64 {
    (striped.time_ns / 2).min(2_000_000_000).max(striped.time_ns.min(500_000_000))
}

/// One short step for each NIC that a striped stream used, where it asked for them.
pub fn steps(striped: &Step) -> Vec<StepSpec> {
    let Some(spec @ StepSpec::Stream(traffic)) = &striped.spec else { return vec![] };
    let nics = match striped.lanes.iter().find(|lane| lane.end == End::Client) {
        Some(lane) if traffic.singles && striped.error.is_none() && lane.nics.len() > 1 => &lane.nics,
        _ => return vec![],
    };
    let alone = |nic: &String| {
        let mut spec = spec.clone();
        if let StepSpec::Stream(traffic) = &mut spec {
            traffic.singles = false;
            traffic.beside.clear();
            CONSTRAIN.write(&mut traffic.options, vec![nic.clone()]);
            traffic.time_ns = time_ns(traffic);
        }
        spec
    };
    nics.iter().map(alone).collect()
}

/// How long a pair that no step of the plan went over is tried.
const PAIR_NS: u64 = 400_000_000;
/// Warming up and cooling down of such a try.
const AROUND_PAIR_NS: u64 = 100_000_000;

/// One short step both ways for each of `nics`, which lie beside the NIC that the streams of a check went over.
pub fn beside(doc: &ResultDoc, nics: &[String]) -> Vec<StepSpec> {
    let streams = doc.steps.iter().filter(|step| step.kind == StepKind::Stream && step.follows_up.is_none());
    let plain = |step: &Step| step.spec.as_ref().and_then(StepSpec::traffic).is_some_and(|t| !t.singles);
    let carried = streams
        .clone()
        .any(|step| step.error.is_none() && step.lanes.iter().any(|lane| lane.connection.is_some()));
    // What a machine sends itself goes over no NIC.
    if !carried || doc.is_against_itself() || !streams.clone().all(plain) {
        return vec![];
    }
    nics.iter().filter_map(|nic| both_ways_over(vec![nic.clone()])).collect()
}

/// One short step both ways held to these NICs, by the transport whose lanes can be.
fn both_ways_over(nics: Vec<String>) -> Option<StepSpec> {
    let over = TRANSPORTS.iter().find(|over| manners(over).several_nics)?;
    let mut traffic = TrafficSpec {
        over: (*over).into(),
        direction: Direction::Both,
        time_ns: PAIR_NS,
        warmup_ns: AROUND_PAIR_NS,
        cooldown_ns: AROUND_PAIR_NS / 2,
        ..TrafficSpec::default()
    };
    CONSTRAIN.write(&mut traffic.options, nics);
    Some(StepSpec::Stream(traffic))
}

/// The NICs that a stream is held to; none where it may use all.
pub fn held_to(traffic: &TrafficSpec) -> Vec<String> {
    let read = lane_options::read(&traffic.over, &traffic.options);
    read.ok().and_then(|options| options.given(&CONSTRAIN)).unwrap_or_default()
}

/// The step like that which was made with exactly these NICs, whatever became of it.
fn made_over(doc: &ResultDoc, nics: &[String]) -> Option<usize> {
    let Some(StepSpec::Stream(asked)) = both_ways_over(nics.to_vec()) else { return None };
    doc.steps.iter().position(|step| {
        let made = step.spec.as_ref().and_then(StepSpec::traffic);
        step.follows_up == Some(FollowUp::Alone)
            && made.is_some_and(|made| {
                (&made.over, &made.options, made.direction) == (&asked.over, &asked.options, asked.direction)
            })
    })
}

/// What a step carried in both directions, where each carried something.
fn carried(step: &Step) -> Option<u64> {
    let each: Vec<u64> =
        step.parts().iter().map(|(_, part)| part.goodput_bits_per_s).collect::<Option<_>>()?;
    (step.error.is_none() && each.iter().all(|rate| *rate > 0)).then(|| each.iter().sum())
}

/// The NICs of a check that carry something, the one called `own` first: those are what can be held against one another.
fn that_carry(doc: &ResultDoc, own: &str, nics: &[String]) -> Vec<String> {
    let alone = |nic: &&String| {
        let at = made_over(doc, std::slice::from_ref(*nic))?;
        carried(&doc.steps[at])
    };
    let mut all = vec![own.to_owned()];
    all.extend(nics.iter().filter(|nic| alone(nic).is_some()).cloned());
    all
}

/// Those of them of which no two go by one NIC, the first of each: VLANs of a NIC share it, and so do a tunnel and what carries it, whatever lies behind.
fn apart(doc: &ResultDoc, nics: Vec<String>) -> Vec<String> {
    /// A VLAN of a VLAN of a bundle is rare already.
    const DEEP: usize = 4;
    let Some(host) = doc.environment(NodeId::CLIENT) else { return nics };
    let named = |name: &str| host.nics.iter().find(|nic| nic.name == name);
    let bottom = |name: &str| {
        let mut name = name.to_owned();
        for _ in 0..DEEP {
            match named(&name).and_then(|nic| nic.parent.clone()) {
                Some(parent) => name = parent,
                None => break,
            }
        }
        name
    };
    let is_packed = |name: &String| named(name).is_some_and(is_tunnel);
    // What the session itself goes by in packets of another NIC is held against nothing.
    if nics.first().is_some_and(is_packed) {
        return vec![];
    }
    let mut apart: Vec<(String, String)> = vec![];
    for nic in nics {
        let below = bottom(&nic);
        if !is_packed(&nic) && apart.iter().all(|(_, taken)| *taken != below) {
            apart.push((nic, below));
        }
    }
    apart.into_iter().map(|(nic, _)| nic).collect()
}

/// The steps both ways that were made with exactly these NICs, whatever became of them.
fn all_over<'a>(doc: &'a ResultDoc, nics: &[String]) -> Vec<&'a Step> {
    let both_ways = |step: &&Step| {
        let traffic = step.spec.as_ref().and_then(StepSpec::traffic);
        traffic.is_some_and(|traffic| traffic.direction == Direction::Both)
    };
    doc.steps.iter().filter(both_ways).filter(|step| nics_of(step) == nics).collect()
}

/// The next short step that tells what the NICs which [`beside`] tried carry together with the one called `own`: that one alone in the
/// same way, then all of them.
pub fn together(doc: &ResultDoc, own: &str, nics: &[String]) -> Option<StepSpec> {
    let all = apart(doc, that_carry(doc, own, nics));
    if all.len() < 2 {
        return None;
    }
    let next = [vec![own.to_owned()], all];
    next.into_iter().find(|nics| made_over(doc, nics).is_none()).and_then(both_ways_over)
}

/// The same once more, where they carried together less than a healthy path would.
pub fn together_again(doc: &ResultDoc, own: &str, nics: &[String]) -> Option<StepSpec> {
    let all = apart(doc, that_carry(doc, own, nics));
    let tried: Vec<&Step> = doc.steps.iter().filter(|step| is_together(step)).collect();
    let [once] = tried[..] else { return None };
    carries_little(doc, once, &all).filter(|little| *little).and_then(|_| both_ways_over(all))
}

/// Whether NICs carried together in a step less than a healthy path would let them, by what each carries alone.
fn carries_little(doc: &ResultDoc, step: &Step, nics: &[String]) -> Option<bool> {
    /// As the built-in limit of the verdict.
    const SUM_SHARE_MIN: f64 = 0.8;
    let alone = |nic: &String| carried(&doc.steps[made_over(doc, std::slice::from_ref(nic))?]);
    let sum: u64 = nics.iter().map(alone).sum::<Option<u64>>()?;
    Some((carried(step)? as f64) < sum as f64 * SUM_SHARE_MIN)
}

/// The next two of three NICs and more that are tried together, where all of them came to little twice: those that fell most first, and a pair that came
/// to little once more. Who shares something with whom is known by that: over a stripe one that waits holds up the others.
pub fn pair_of(doc: &ResultDoc, own: &str, nics: &[String]) -> Option<StepSpec> {
    /// Of four NICs these are all.
    const PAIRS_MAX: usize = 6;
    let all = apart(doc, that_carry(doc, own, nics));
    // How often they were tried, and whether they carried little each time of which that is known.
    let tried = |nics: &[String]| {
        let made = all_over(doc, nics);
        let known: Vec<bool> = made.iter().filter_map(|step| carries_little(doc, step, nics)).collect();
        (made.len(), !known.is_empty() && known.iter().all(|little| *little))
    };
    let (often, came_to_little) = tried(&all);
    if all.len() < 3 || often < 2 || !came_to_little {
        return None;
    }
    let first = *all_over(doc, &all).first()?;
    for pair in pairs_of(doc, first, &all).into_iter().take(PAIRS_MAX) {
        match tried(&pair) {
            (0, _) | (1, true) => return both_ways_over(pair),
            // It is known by now who shares something.
            (_, true) => return None,
            (_, false) => {}
        }
    }
    None
}

/// Every two of these NICs, those first that fell most in a step with all of them against what each carries alone.
fn pairs_of(doc: &ResultDoc, together: &Step, nics: &[String]) -> Vec<Vec<String>> {
    let shares = || together.detail.nics.iter().flatten().filter(|share| share.end == End::Client);
    let part = |nic: &String| {
        let own = shares().find(|share| share.nic == *nic);
        let bytes = own.map_or(0, |share| share.lane_sent_bytes.saturating_add(share.lane_received_bytes));
        let alone = made_over(doc, std::slice::from_ref(nic)).and_then(|at| carried(&doc.steps[at]));
        bytes as f64 / alone.unwrap_or(1).max(1) as f64
    };
    let mut pairs: Vec<(f64, Vec<String>)> = vec![];
    for (at, one) in nics.iter().enumerate() {
        let others = nics.iter().skip(at + 1);
        pairs.extend(others.map(|other| (part(one) + part(other), vec![one.clone(), other.clone()])));
    }
    pairs.sort_by(|one, other| one.0.total_cmp(&other.0));
    pairs.into_iter().map(|(_, pair)| pair).collect()
}

/// The NICs that a step which no plan asked for was held to; none of another step.
fn nics_of(step: &Step) -> Vec<String> {
    let traffic = step.spec.as_ref().and_then(StepSpec::traffic);
    traffic.filter(|_| step.follows_up == Some(FollowUp::Alone)).map(held_to).unwrap_or_default()
}

/// Whether several NICs carried together in a step that no plan asked for.
fn is_together(step: &Step) -> bool {
    step.detail.alone.is_none() && nics_of(step).len() > 1
}

/// Puts what each carried by itself into the step in which all carried together, the better one of two, and says what that shows; and into
/// the better step of each two of them that were tried together.
pub fn sum_up_together(doc: &mut ResultDoc) -> Vec<Finding> {
    let mut groups: Vec<Vec<String>> = vec![];
    for step in doc.steps.iter().filter(|step| is_together(step)) {
        let nics = nics_of(step);
        if !groups.contains(&nics) {
            groups.push(nics);
        }
    }
    let mut first = None;
    for nics in groups {
        let tried = doc.steps.iter().enumerate();
        let tried = tried.filter(|(_, step)| is_together(step) && nics_of(step) == nics);
        let Some((at, _)) = tried.max_by_key(|(_, step)| carried(step)) else { continue };
        let alone: Vec<Step> = nics
            .iter()
            .filter_map(|nic| Some(doc.steps[made_over(doc, std::slice::from_ref(nic))?].clone()))
            .collect();
        if alone.len() == nics.len() && doc.steps[at].error.is_none() {
            sum_up(&mut doc.steps[at], &alone);
        }
        // How two of them divided what is theirs says nothing that all of them do not.
        first = first.or(Some(at));
    }
    first.map_or_else(Vec::new, |at| findings(doc, at))
}

/// The next of the short steps that tell why such a NIC carries little both ways at once: one way alone.
pub fn each_way(doc: &ResultDoc) -> Option<StepSpec> {
    let (step, way) = one_way_alone(doc)?;
    let mut spec = step.spec.clone()?;
    spec.traffic_mut()?.direction = way;
    Some(spec)
}

/// The next short step over another NIC that one which carried somewhat less can be held against.
pub fn alike(doc: &ResultDoc) -> Option<StepSpec> {
    let (mut asked, nic) = pathproof_engine::diagnose::slow_like(doc)?;
    CONSTRAIN.write(&mut asked.options, vec![nic]);
    let made = doc.steps.iter().any(|step| {
        let like = step.spec.as_ref().and_then(StepSpec::traffic);
        let is_like = |like: &TrafficSpec| {
            (&like.over, &like.options, like.direction) == (&asked.over, &asked.options, asked.direction)
        };
        step.follows_up == Some(FollowUp::Alone) && like.is_some_and(is_like)
    });
    (!made).then_some(StepSpec::Stream(asked))
}

/// What those take.
pub fn beside_ns(nics: u64) -> u64 {
    nics.saturating_mul(PAIR_NS + 2 * AROUND_PAIR_NS + super::AROUND_NS)
}

/// Puts the sum of `alone`, as [`steps`] made them, into `striped`.
pub fn sum_up(striped: &mut Step, alone: &[Step]) {
    let nic = |step: &Step| Some(CONSTRAIN.typed(&step.spec.as_ref()?.traffic()?.options)?.to_owned());
    let goodput = |step: &Step| step.total(|flow| flow.goodput_bits_per_s).filter(|_| step.error.is_none());
    let each: Vec<AloneNic> = alone
        .iter()
        .map(|step| AloneNic { nic: nic(step).unwrap_or_default(), goodput_bits_per_s: goodput(step) })
        .collect();
    let sum = each.iter().map(|one| one.goodput_bits_per_s).sum::<Option<u64>>().filter(|sum| *sum > 0);
    let share_of_sum = match (striped.total(|flow| flow.goodput_bits_per_s), sum) {
        (Some(together), Some(sum)) => Some(together as f64 / sum as f64),
        _ => None,
    };
    let imbalance = sum.and_then(|sum| imbalance(striped.detail.nics.as_deref()?, &each, sum));
    striped.detail.alone = Some(AloneSum { each, sum_bits_per_s: sum, share_of_sum, imbalance });
}

/// How far the NIC that is furthest off was from the part that its speed alone suggests.
fn imbalance(nics: &[NicShare], each: &[AloneNic], sum: u64) -> Option<f64> {
    let carried = |nic: &NicShare| nic.lane_sent_bytes + nic.lane_received_bytes;
    let ours = || nics.iter().filter(|nic| nic.end == End::Client);
    let total: u64 = ours().map(carried).sum();
    let off = |one: &AloneNic| {
        let own: u64 = ours().filter(|nic| nic.nic == one.nic).map(carried).sum();
        let part = one.goodput_bits_per_s? as f64 / sum as f64;
        Some((own as f64 / total as f64 - part).abs())
    };
    let worst = each.iter().map(off).collect::<Option<Vec<f64>>>()?;
    worst.into_iter().reduce(f64::max).filter(|_| total > 0)
}

/// What the comparison shows that somebody should be told.
pub fn findings(doc: &ResultDoc, at: usize) -> Vec<Finding> {
    let Some(step) = doc.steps.get(at).filter(|step| step.kind == StepKind::Stream) else { return vec![] };
    let Some(alone) = &step.detail.alone else { return vec![] };
    let off = alone.imbalance.filter(|off| *off > IMBALANCE_MAX);
    let finding = off.map(|off| {
        let each: Vec<String> = alone
            .each
            .iter()
            .map(|one| {
                let rate = one.goodput_bits_per_s.map_or_else(|| "unknown".into(), |rate| BitsPerSecond(rate).to_string());
                format!("{} {rate}", one.nic)
            })
            .collect();
        let evidence = format!(
            "{}: a NIC carried a part of the bytes that is {:.0} % of the whole away from its part of what all carry \
             alone ({})",
            step.name,
            off * 100.0,
            each.join(", ")
        );
        Finding { step: Some(at), ..Finding::new("CHANNEL-IMBALANCE", evidence) }
    });
    finding.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pathproof_model::LaneResult;

    fn striped(carried: [u64; 2]) -> Step {
        let mut step = Step::new(StepKind::Stream, "multi stream");
        let mut spec = TrafficSpec { over: "multi".into(), time_ns: 4_000_000_000, ..TrafficSpec::default() };
        spec.singles = true;
        step.spec = Some(StepSpec::Stream(spec));
        let names = ["e1", "e2"].map(String::from);
        step.lanes.push(LaneResult { end: End::Client, nics: names.to_vec(), ..LaneResult::default() });
        step.summary.goodput_bits_per_s = Some(1400);
        let share = |(nic, bytes): (String, u64)| NicShare {
            end: End::Client,
            nic,
            lane_sent_bytes: bytes,
            ..NicShare::default()
        };
        step.detail.nics = Some(names.into_iter().zip(carried).map(share).collect());
        step
    }

    fn doc(carried: [u64; 2], rates: [Option<u64>; 2]) -> ResultDoc {
        let mut first = striped(carried);
        let alone: Vec<Step> = steps(&first)
            .into_iter()
            .zip(rates)
            .map(|(spec, rate)| {
                let mut step = Step::new(StepKind::Stream, "alone");
                (step.spec, step.summary.goodput_bits_per_s) = (Some(spec), rate);
                step
            })
            .collect();
        sum_up(&mut first, &alone);
        ResultDoc {
            steps: vec![first],
            ..ResultDoc::new(pathproof_model::Tool::default(), "2026-01-01T00:00:00Z")
        }
    }

    #[test]
    fn each_nic_runs_alone_for_a_shorter_time_and_asks_for_no_more() {
        let specs = steps(&striped([1, 1]));
        assert_eq!(specs.len(), 2);
        let traffic = specs[1].traffic().unwrap();
        assert_eq!(traffic.options.iter().collect::<Vec<_>>(), [(&"constrain".into(), &"e2".into())]);
        assert!(!traffic.singles);
        assert_eq!(traffic.time_ns, 2_000_000_000);
    }

    #[test]
    fn the_sum_and_the_part_of_each_are_held_against_the_singles() {
        let even = doc([1000, 500], [Some(1000), Some(500)]);
        let alone = even.steps[0].detail.alone.as_ref().unwrap();
        assert_eq!((alone.sum_bits_per_s, alone.imbalance), (Some(1500), Some(0.0)));
        assert!((alone.share_of_sum.unwrap() - 1400.0 / 1500.0).abs() < 1e-9);
        assert!(findings(&even, 0).is_empty());
        let uneven = doc([1000, 1000], [Some(1000), Some(500)]);
        assert_eq!(findings(&uneven, 0)[0].code, "CHANNEL-IMBALANCE");
        let unknown = doc([1000, 500], [Some(1000), None]);
        let alone = unknown.steps[0].detail.alone.as_ref().unwrap();
        assert_eq!((alone.sum_bits_per_s, alone.share_of_sum, alone.imbalance), (None, None, None));
    }

    fn both_ways(nics: &[&str], rates: [u64; 2]) -> Step {
        let nics: Vec<String> = nics.iter().map(|nic| (*nic).to_owned()).collect();
        let mut step = Step::new(StepKind::Stream, nics.join(" and "));
        (step.follows_up, step.spec) = (Some(FollowUp::Alone), both_ways_over(nics));
        let flow = |rate| pathproof_model::Flow {
            summary: pathproof_model::Summary { goodput_bits_per_s: Some(rate), ..Default::default() },
            ..Default::default()
        };
        step.with_flows(rates.map(flow).into());
        step
    }

    #[test]
    fn nics_that_carry_something_run_together_after_the_one_of_the_plan_ran_alike() {
        let nics = ["e1", "e2"].map(String::from);
        let mut doc = ResultDoc::new(pathproof_model::Tool::default(), "");
        let next = |doc: &ResultDoc| {
            let spec = together(doc, "e0", &nics)?;
            CONSTRAIN.typed(&spec.traffic()?.options).map(str::to_owned)
        };
        assert_eq!(next(&doc), None, "nothing is known of the others");
        // One way of the second carries nothing: it is left out.
        doc.steps = vec![both_ways(&["e1"], [500, 500]), both_ways(&["e2"], [500, 0])];
        assert_eq!(next(&doc).as_deref(), Some("e0"));
        doc.steps.push(both_ways(&["e0"], [500, 400]));
        assert_eq!(next(&doc).as_deref(), Some("e0+e1"));
        doc.steps.push(both_ways(&["e0", "e1"], [500, 450]));
        assert_eq!(next(&doc), None);
        sum_up_together(&mut doc);
        let alone = doc.steps[3].detail.alone.clone().expect("it was held against each alone");
        assert_eq!((alone.sum_bits_per_s, alone.share_of_sum), (Some(1900), Some(0.5)));
        // What is short by itself accuses no path, and is no pass: nothing here shows what the limit was.
        let check = pathproof_model::judge::nics_together(&doc.steps[3], 0.8).expect("it is told");
        assert_eq!(check.outcome, pathproof_model::Outcome::Inconclusive);
        // It was asked again where it fell short, once; the better try counts.
        doc.steps[3].detail.alone = None;
        let again = |doc: &ResultDoc| together_again(doc, "e0", &nics).is_some();
        assert!(again(&doc));
        doc.steps.push(both_ways(&["e0", "e1"], [900, 850]));
        assert!(!again(&doc));
        sum_up_together(&mut doc);
        assert!(doc.steps[3].detail.alone.is_none() && doc.steps[4].detail.alone.is_some());
    }

    #[test]
    fn of_three_nics_each_two_are_tried_where_all_of_them_came_to_little_twice() {
        let nics = ["e1", "e2"].map(String::from);
        let mut doc = ResultDoc::new(pathproof_model::Tool::default(), "");
        let next = |doc: &ResultDoc| pair_of(doc, "e0", &nics).map(|spec| held_to(spec.traffic().unwrap()));
        doc.steps = ["e0", "e1", "e2"].map(|nic| both_ways(&[nic], [500, 500])).into();
        // As over two switches with one uplink between them for the second and the third.
        let mut all = both_ways(&["e0", "e1", "e2"], [1000, 1000]);
        let share =
            |(nic, bytes): (&str, u64)| NicShare { lane_sent_bytes: bytes, ..NicShare::of(End::Client, nic) };
        all.detail.nics = Some([("e0", 500), ("e1", 250), ("e2", 240)].map(share).into());
        doc.steps.push(all.clone());
        assert_eq!(next(&doc), None, "it is asked again first");
        doc.steps.push(all.clone());
        let pair = |one: &str, other: &str| Some(vec![one.to_owned(), other.to_owned()]);
        assert_eq!(next(&doc), pair("e1", "e2"), "those that fell most");
        doc.steps.push(both_ways(&["e1", "e2"], [500, 490]));
        assert_eq!(next(&doc), pair("e1", "e2"), "what came to little is asked again");
        doc.steps.push(both_ways(&["e1", "e2"], [510, 490]));
        assert_eq!(next(&doc), None);
        let at: Vec<Option<usize>> = sum_up_together(&mut doc).iter().map(|one| one.step).collect();
        assert_eq!(at, [Some(4)], "how all of them divided it is said, and nothing of a pair");
        let share_at = |at: usize| doc.steps[at].detail.alone.as_ref().and_then(|sum| sum.share_of_sum);
        assert_eq!((share_at(5), share_at(6)), (None, Some(0.5)));
        assert!(share_at(3).is_none() && share_at(4).is_some(), "of the two with all of them one");
        // Two that carry their sum are no answer: the next two.
        let mut other = doc.clone();
        other.steps.truncate(5);
        other.steps.iter_mut().for_each(|step| step.detail.alone = None);
        other.steps.push(both_ways(&["e1", "e2"], [990, 980]));
        assert_eq!(next(&other), pair("e0", "e2"));
        // Two NICs have no other pair.
        let two = ["e1".to_owned()];
        assert_eq!(pair_of(&other, "e0", &two), None);
    }

    #[test]
    fn nics_that_go_by_one_nic_are_not_held_against_one_another() {
        use pathproof_model::{Environment, Nic, Node};
        let kept = |all: &[&str]| {
            let nic = |(name, kind, parent): (&str, &str, Option<&str>)| Nic {
                name: name.into(),
                kind: Some(kind.into()),
                parent: parent.map(Into::into),
                ..Nic::default()
            };
            let nics = [
                ("eth0", "ethernet", None),
                ("eth0.10", "vlan", Some("eth0")),
                ("eth0.20", "vlan", Some("eth0")),
                ("eth1", "ethernet", None),
                ("wg0", "wireguard", None),
            ];
            let host = Environment { nics: nics.map(nic).into(), ..Environment::default() };
            let mut doc = ResultDoc::new(pathproof_model::Tool::default(), "");
            doc.nodes = vec![Node::here(Some(host))];
            apart(&doc, all.iter().map(|name| (*name).to_owned()).collect())
        };
        assert_eq!(kept(&["eth0.10", "eth0.20", "eth1", "wg0"]), ["eth0.10", "eth1"]);
        assert_eq!(kept(&["eth0", "eth0.20"]), ["eth0"]);
        assert_eq!(kept(&["wg0", "eth0", "eth1"]), [""; 0], "its packets go by one of them");
    }
}
